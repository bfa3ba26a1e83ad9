//! The commands of TLS sockets, and those that change their access mode or the form of their payload.

use std::time::Duration;

use crate::at_port::{Payload, PayloadEnd};
use crate::commands::general::written;
use crate::commands::sockets::Open;
use crate::commands::{Answer, Call, Failure, Outcome, line, ok};
use crate::config::Family;
use crate::delivery::payload_text;
use crate::modem::{LONGEST_SEND_BYTES, Modem};
use crate::network::ConnectionId;
use crate::parser::{Kind, Parameter};
use crate::result_code::socket as code;
use crate::socket::{AccessMode, End, Service, Socket, State};

pub(crate) fn run(modem: &mut Modem, call: &mut Call) -> Option<Answer> {
    let contexts = modem.config.family.pdp_contexts();
    let answer = match (call.command.name.as_str(), &call.command.kind) {
        ("QSSLOPEN", Kind::Test) => {
            line(format!("+QSSLOPEN: (1-{contexts}),(0-5),(0-11),<serveraddr>,<server_port>[,(0-2)]"))
        }
        ("QSSLOPEN", Kind::Write(list)) => modem.tls_open(list, call),
        ("QSSLSEND", Kind::Test) => line("+QSSLSEND: (0-11)[,(1-1460)]"),
        ("QSSLSEND", Kind::Write(list)) => modem.tls_send(list),
        ("QSSLRECV", Kind::Test) => line("+QSSLRECV: (0-11),(1-1500)"),
        ("QSSLRECV", Kind::Write(list)) => modem.tls_receive(list),
        ("QSSLCLOSE", Kind::Test) => line("+QSSLCLOSE: (0-11),(0-65535)"),
        ("QSSLCLOSE", Kind::Write(list)) => modem.tls_close(list, call),
        ("QSSLSTATE", Kind::Test) => ok(),
        ("QSSLSTATE", Kind::Execute) => {
            let sockets = modem.sockets(Service::Tls).into_iter();
            let lines = sockets.map(|socket| format!("+QSSLSTATE: {}", modem.state_line(socket)));
            Ok(Outcome::Done(lines.collect()))
        }
        ("QSSLSTATE", Kind::Write(list)) => modem.tls_state(list),
        ("QISWTMD", Kind::Test) => line("+QISWTMD: (0-11),(0-2)"),
        ("QISWTMD", Kind::Write(list)) => modem.switch_mode(list, call.port),
        ("QICFG", Kind::Write(list)) => modem.data_format(list),
        _ => return None,
    };
    Some(answer.map_err(|failure| match failure {
        Failure::Error => Failure::Socket(code::INVALID_PARAMETER),
        other => other,
    }))
}

impl Modem {
    /// `AT+QSSLOPEN=<PDP>,<SSL ctx>,<clientID>,"<host>",<port>[,<mode>]`; without a mode: buffer.
    fn tls_open(&mut self, list: &[Parameter], call: &mut Call) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(6)?;
        let host = parameters.text(3)?;
        let open = Open {
            service: Service::Tls,
            pdp_context: parameters.small(0, 1..=self.config.family.pdp_contexts())?,
            ssl_context: parameters.small(1, 0..=5)?,
            id: parameters.small(2, 0..=11)?,
            host,
            port: u16::try_from(parameters.number(4, 1..=65_535)?).map_err(|_| Failure::Error)?,
            access: access(parameters.optional_small(5, 0..=2)?)?,
        };
        if host.is_empty() {
            return Err(Failure::Error);
        }
        self.open(&open, call)
    }

    fn tls_socket(&self, list: &[Parameter]) -> Result<Option<&Socket>, Failure> {
        Ok(self.socket(Service::Tls, self.parameters(list).small(0, 0..=11)?))
    }

    /// The connection of a socket that can carry data.
    fn connected(&self, list: &[Parameter]) -> Result<&Socket, Failure> {
        let socket = self.tls_socket(list)?.filter(|socket| socket.state == State::Connected);
        socket.ok_or(Failure::Socket(code::CLOSED))
    }

    /// `AT+QSSLSEND=<clientID>[,<length>]`. A socket that cannot take data is an ERROR before the prompt.
    fn tls_send(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let longest = LONGEST_SEND_BYTES as u32;
        let end = match parameters.optional_number(1, 1..=longest)? {
            Some(length) => PayloadEnd::Length(length as usize),
            None => PayloadEnd::Mark,
        };
        let socket = self.connected(list)?;
        if socket.access == AccessMode::Transparent {
            return Err(Failure::Socket(code::NOT_ALLOWED));
        }
        Ok(Outcome::Prompt(Payload { connection: socket.connection, bytes: Vec::new(), end }))
    }

    /// `AT+QSSLRECV=<clientID>,<length>`. What was received before an orderly end can be read after it.
    fn tls_receive(&mut self, list: &[Parameter]) -> Answer {
        let quirks = self.config.quirks.clone();
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let lowest = if quirks.unread_query { 0 } else { 1 };
        let highest = if quirks.long_reads { u32::MAX } else { 1_500 };
        let wanted = parameters.number(1, lowest..=highest)?;
        let cut_loses_unread = self.cut_loses_unread();
        let socket = self.tls_socket(list)?.ok_or(Failure::Socket(code::CLOSED))?;
        let connection = socket.connection;
        match socket.state {
            State::Connected | State::Ended { how: End::Closed, .. } => {}
            State::Ended { how: End::Cut, .. } if !cut_loses_unread => {}
            _ => return Err(Failure::Socket(code::CLOSED)),
        }
        if socket.access != AccessMode::Buffer {
            return Err(Failure::Socket(code::NOT_ALLOWED));
        }
        if wanted == 0 {
            let (total, unread) = (socket.received_total, socket.incoming.len() as u64);
            return line(format!("+QSSLRECV: {total},{},{unread}", total - unread));
        }
        let format = self.session.data_format;
        let socket = self.socket_of_mut(connection).ok_or(Failure::Socket(code::CLOSED))?;
        let bytes = socket.incoming.take((wanted as usize).min(LONGEST_RECEIVE_BYTES));
        self.session.last_error = code::OK;
        if bytes.is_empty() {
            if let Some(socket) = self.socket_of_mut(connection) {
                socket.announced = false;
            }
            return line("+QSSLRECV: 0");
        }
        let separator = if format.one_line { "," } else { "\r\n" };
        let mut answer = format!("\r\n+QSSLRECV: {}{separator}", bytes.len()).into_bytes();
        answer.extend(payload_text(&bytes, format.hex_to_host));
        if !quirks.receive_tail_short {
            answer.extend(b"\r\n");
        }
        Ok(Outcome::Raw(answer))
    }

    /// `AT+QSSLCLOSE=<clientID>[,<timeout>]`, 10 s by default.
    fn tls_close(&mut self, list: &[Parameter], call: &mut Call) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let timeout = parameters.optional_number(1, 0..=65_535)?.unwrap_or(DEFAULT_CLOSE_TIMEOUT);
        let Some(socket) = self.tls_socket(list)? else {
            return match self.config.quirks.closing_free_socket_is_ok {
                true => ok(),
                false => Err(Failure::Socket(code::CLOSED)),
            };
        };
        let (connection, context) = (socket.connection, socket.ssl_context);
        let timeout = match self.session.ssl.closes_in_milliseconds(context) {
            true => Duration::from_millis(timeout.into()),
            false => Duration::from_secs(timeout.into()),
        };
        self.close(connection, timeout, call)
    }

    /// `AT+QSSLSTATE=<clientID>`: nothing but OK for a free socket.
    fn tls_state(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        let typed = self.config.quirks.typed_state_query && parameters.len() == 2;
        parameters.at_most(if typed { 2 } else { 1 })?;
        let id = parameters.small(usize::from(typed), 0..=11)?;
        match self.socket(Service::Tls, id) {
            Some(socket) => line(format!("+QSSLSTATE: {}", self.state_line(socket))),
            None if self.config.quirks.free_sockets_listed => {
                line(format!("+QSSLSTATE: {id},\"SSLClient\",\"0.0.0.0\",0,0,0,1,{id},0,\"uart1\",0"))
            }
            None => ok(),
        }
    }

    /// `AT+QISWTMD=<clientID>,<mode>`: CONNECT for transparent mode, else OK.
    fn switch_mode(&mut self, list: &[Parameter], port: usize) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let access = access(Some(parameters.small(1, 0..=2)?))?;
        let socket = self.connected(list)?;
        let connection = socket.connection;
        if access == AccessMode::Transparent {
            return self.stream_on(port, connection);
        }
        if socket.access == AccessMode::Transparent || self.config.quirks.mode_switch_refused {
            return Err(Failure::Socket(code::NOT_ALLOWED));
        }
        let leftovers_held = self.config.quirks.leftovers_held;
        if let Some(socket) = self.socket_of_mut(connection) {
            socket.switch(access, leftovers_held);
        }
        self.session.last_error = code::OK;
        ok()
    }

    /// Makes a port the stream of a connection, unless another one is already.
    fn stream_on(&mut self, port: usize, connection: ConnectionId) -> Answer {
        let carried = self.ports.iter().any(|other| other.connection() == Some(connection));
        if carried || !self.can_be_transparent(port) {
            return Err(Failure::Socket(code::NOT_ALLOWED));
        }
        self.session.last_error = code::OK;
        Ok(Outcome::Stream(connection))
    }

    /// ATO: back to the connection that left transparent mode last.
    pub(crate) fn return_to_stream(&mut self, port: usize) -> Answer {
        let last = self.session.last_transparent.and_then(|connection| self.socket_of(connection));
        let alive = last.filter(|socket| socket.state == State::Connected);
        let connection = alive.map(|socket| socket.connection).ok_or(Failure::NoCarrier)?;
        if self.config.quirks.return_unreliable {
            return Err(Failure::NoCarrier);
        }
        self.stream_on(port, connection).map_err(|_| Failure::NoCarrier)
    }

    /// AT+QICFG: the form of payload and results. The last two keys are not the EC20's.
    fn data_format(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        let key = parameters.text(0)?;
        let asked = parameters.len() == 1;
        let own = self.config.family == Family::Eg800q;
        let format = &mut self.session.data_format;
        let values: Vec<&mut bool> = match key {
            "viewmode" => vec![&mut format.one_line],
            "dataformat" => vec![&mut format.hex_to_modem, &mut format.hex_to_host],
            "sendinfo" if own => vec![&mut format.send_info],
            "close/mode" if own => vec![&mut format.close_later],
            _ => return Err(Failure::Error),
        };
        if asked {
            let shown: Vec<Parameter> =
                values.iter().map(|value| Parameter::Bare(u8::from(**value).to_string())).collect();
            return line(format!("+QICFG: \"{key}\",{}", written(&shown)));
        }
        parameters.at_most(1 + values.len())?;
        let mut wanted = Vec::new();
        for index in 0..values.len() {
            wanted.push(parameters.small(1 + index, 0..=1)? == 1);
        }
        for (value, wanted) in values.into_iter().zip(wanted) {
            *value = wanted;
        }
        ok()
    }
}

/// The access mode of a number; buffer if there is none.
fn access(number: Option<u8>) -> Result<AccessMode, Failure> {
    AccessMode::from_number(number.unwrap_or(0)).ok_or(Failure::Error)
}

const DEFAULT_CLOSE_TIMEOUT: u32 = 10;
/// Most bytes of one AT+QSSLRECV (both manuals).
const LONGEST_RECEIVE_BYTES: usize = 1_500;
