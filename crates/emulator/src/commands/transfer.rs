//! Bytes of a socket by command, for both services: sends, reads, and how much went each way.

use crate::at_port::{Payload, PayloadEnd};
use crate::commands::{Answer, Call, CommandOutcome, Failure, line};
use crate::delivery::payload_text;
use crate::execution::from_hex;
use crate::modem::{LONGEST_SEND_BYTES, Modem};
use crate::parser::Parameter;
use crate::result_code::socket as code;
use crate::socket::{AccessMode, End, Service, SocketState};

impl Modem {
    /// `AT+QSSLSEND=<clientID>[,<length>]`, or AT+QISEND. A socket that cannot take data is an ERROR before the prompt.
    pub(crate) fn begin_send(&mut self, service: Service, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let longest = LONGEST_SEND_BYTES as u32;
        let end = match parameters.optional_number(1, 1..=longest)? {
            Some(length) => PayloadEnd::Length(length as usize),
            None => PayloadEnd::Mark,
        };
        self.payload(service, list, end, Vec::new()).map(CommandOutcome::Prompt)
    }

    /// `AT+QISENDEX=<connectID>,"<hexadecimal digits>"`: no prompt.
    pub(crate) fn send_in_command(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let bytes = from_hex(parameters.text(1)?.as_bytes()).ok_or(Failure::Error)?;
        if bytes.is_empty() || bytes.len() > LONGEST_SEND_IN_COMMAND_BYTES {
            return Err(Failure::Error);
        }
        self.payload(Service::Plain, list, PayloadEnd::InCommand, bytes).map(CommandOutcome::Send)
    }

    fn payload(
        &self,
        service: Service,
        list: &[Parameter],
        end: PayloadEnd,
        bytes: Vec<u8>,
    ) -> Result<Payload, Failure> {
        let socket = self.connected(service, list)?;
        if socket.access == AccessMode::Transparent {
            return Err(Failure::Socket(code::NOT_ALLOWED));
        }
        Ok(Payload { service, connection: socket.connection, bytes, end })
    }

    /// `AT+QISEND=<connectID>,0`: how many bytes the host has sent, how many of them the server has acknowledged, and
    /// how many it has not. An ERROR for a connection that is not up or was cut (TCP/IP application note, AT+QISEND).
    pub(crate) fn sent_counts(&mut self, list: &[Parameter], call: &mut Call) -> Answer {
        self.parameters(list).at_most(2)?;
        let socket = self.named_socket(Service::Plain, list)?.ok_or(Failure::Socket(code::CLOSED))?;
        if !matches!(socket.state, SocketState::Connected | SocketState::Ended { how: End::Closed, .. }) {
            return Err(Failure::Socket(code::CLOSED));
        }
        let under_way = call.network.unacknowledged(socket.connection, call.now);
        let (total, left) = (socket.sent_total, (socket.outgoing.len() + under_way) as u64);
        self.session.last_error = code::OK;
        line(format!("+QISEND: {total},{},{left}", total.saturating_sub(left)))
    }

    /// `AT+QSSLRECV=<clientID>,<length>`, or `AT+QIRD=<connectID>[,<length>]`. What was received before an orderly end can
    /// be read after it.
    pub(crate) fn read_received(&mut self, service: Service, list: &[Parameter]) -> Answer {
        let quirks = &self.config.quirks;
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let lowest = if quirks.unread_query || service == Service::Plain { 0 } else { 1 };
        let highest = if quirks.long_reads { u32::MAX } else { LONGEST_RECEIVE_BYTES as u32 };
        let wanted = match (parameters.optional_number(1, lowest..=highest)?, service) {
            (Some(wanted), _) => wanted,
            (None, Service::Plain) => LONGEST_RECEIVE_BYTES as u32,
            (None, Service::Tls) => return Err(Failure::Error),
        };
        let cut_loses_unread = self.cut_loses_unread();
        let socket = self.named_socket(service, list)?.ok_or(Failure::Socket(code::CLOSED))?;
        let connection = socket.connection;
        match socket.state {
            SocketState::Connected | SocketState::Ended { how: End::Closed, .. } => {}
            SocketState::Ended { how: End::Cut, .. } if !cut_loses_unread => {}
            _ => return Err(Failure::Socket(code::CLOSED)),
        }
        if socket.access != AccessMode::Buffer {
            return Err(Failure::Socket(code::NOT_ALLOWED));
        }
        let format = self.session.data_format;
        let short_tail = self.config.quirks.receive_tail_short;
        let header = service.names().receive;
        let socket = self.socket_of_mut(connection).ok_or(Failure::Socket(code::CLOSED))?;
        if wanted == 0 {
            let (total, unread) = (socket.received_total, socket.incoming.len() as u64);
            return line(format!("{header}: {total},{},{unread}", total - unread));
        }
        let bytes = socket.incoming.take((wanted as usize).min(LONGEST_RECEIVE_BYTES));
        socket.announced &= !bytes.is_empty();
        self.session.last_error = code::OK;
        if bytes.is_empty() {
            return line(format!("{header}: 0"));
        }
        let separator = if format.one_line { "," } else { "\r\n" };
        let mut answer = format!("\r\n{header}: {}{separator}", bytes.len()).into_bytes();
        answer.extend(payload_text(&bytes, format.hex_to_host));
        if !short_tail {
            answer.extend(b"\r\n");
        }
        Ok(CommandOutcome::Raw(answer))
    }
}

/// Most bytes of one AT+QSSLRECV or AT+QIRD (both manuals).
const LONGEST_RECEIVE_BYTES: usize = 1_500;
/// Most bytes of one AT+QISENDEX: 512 digits (TCP/IP application note).
const LONGEST_SEND_IN_COMMAND_BYTES: usize = 256;
