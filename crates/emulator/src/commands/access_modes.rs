//! Commands that change how a socket's data reaches the host: its access mode, and the form of payload.

use crate::commands::general::written;
use crate::commands::tls_sockets::access;
use crate::commands::{Answer, Call, CommandOutcome, Failure, line, ok};
use crate::config::Family;
use crate::modem::Modem;
use crate::network::{ConnectionId, Transport};
use crate::parser::{Kind, Parameter};
use crate::result_code::socket as code;
use crate::socket::{AccessMode, Service, SocketState};

pub(crate) fn run(modem: &mut Modem, call: &mut Call) -> Option<Answer> {
    let answer = match (call.command.name.as_str(), &call.command.kind) {
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
    /// `AT+QISWTMD=<clientID>,<mode>`: CONNECT for transparent mode, else OK.
    fn switch_mode(&mut self, list: &[Parameter], port: usize) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let access = access(Some(parameters.small(1, 0..=2)?))?;
        if !self.config.facts.limits.has_mode(access) {
            return Err(Failure::Socket(code::NOT_SUPPORTED));
        }
        // Two connections of different services can have the same number, and no manual says which one is meant.
        // Assumed: the TLS one, unless its number is free.
        let service = match self.named_socket(Service::Tls, list)? {
            Some(_) => Service::Tls,
            None => Service::Plain,
        };
        let socket = self.connected(service, list)?;
        let connection = socket.connection;
        if access == AccessMode::Transparent && socket.transport != Transport::Tcp {
            return Err(Failure::Socket(code::NOT_SUPPORTED));
        }
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

    /// Makes a port the stream of a connection, unless a port already is.
    fn stream_on(&mut self, port: usize, connection: ConnectionId) -> Answer {
        let carried = self.ports.iter().any(|other| other.connection() == Some(connection));
        if carried || !self.can_be_transparent(port) {
            return Err(Failure::Socket(code::NOT_ALLOWED));
        }
        self.session.last_error = code::OK;
        Ok(CommandOutcome::Stream(connection))
    }

    /// ATO: back to the connection that left transparent mode last.
    pub(crate) fn return_to_stream(&mut self, port: usize) -> Answer {
        let last = self.session.last_transparent.and_then(|connection| self.socket_of(connection));
        let alive = last.filter(|socket| socket.state == SocketState::Connected);
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
            "recvind" => vec![&mut format.length_announced],
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

#[cfg(test)]
mod tests {
    use crate::network::simulated::{Behaviour, Plan};
    use crate::testing::Bench;
    use crate::{Config, Family, Quirks};

    fn facing(behaviour: Behaviour, config: Config) -> Bench {
        Bench::with(config, Plan::new(behaviour)).get_online()
    }

    #[test]
    fn leftovers_of_a_switch_to_buffer_are_read_unasked_and_pushed_on_the_way_back() {
        for (held, pushed) in [(false, "\r\n+QSSLURC: \"recv\",0,3\r\nabc"), (true, "")] {
            let quirks = Quirks { leftovers_held: held, ..Quirks::strict() };
            let mut bench = facing(Behaviour::sink(), Config { quirks, ..Config::default() });
            bench.open(0, 1);
            assert_eq!(bench.ask("AT+QISWTMD=0,0"), "\r\nOK\r\n");
            bench.say(0, b"abc");
            assert_eq!(bench.output(), "\r\n+QSSLURC: \"recv\",0\r\n");
            assert_eq!(bench.ask("AT+QISWTMD=0,1"), format!("\r\nOK\r\n{pushed}"));
            bench.say(0, b"de");
            let all =
                if held { "\r\n+QSSLURC: \"recv\",0,5\r\nabcde" } else { "\r\n+QSSLURC: \"recv\",0,2\r\nde" };
            assert_eq!(bench.output(), all);
        }
    }

    #[test]
    fn bytes_that_a_switch_to_buffer_finds_are_not_announced() {
        let mut bench = facing(Behaviour::sink(), Config::default());
        bench.open(0, 1);
        bench.host_reads(0, false);
        bench.say(0, &[b'x'; 9_000]);
        bench.type_bytes(b"AT+QISWTMD=0,0\r");
        bench.host_reads(0, true);
        let output = bench.output();
        assert!(output.ends_with("\r\nOK\r\n"));
        assert!(!output.contains("\"recv\",0\r\n"));
        bench.say(0, b"more");
        assert_eq!(bench.output(), "");
        assert!(bench.ask("AT+QSSLRECV=0,1500").starts_with("\r\n+QSSLRECV: 1500\r\n"));
    }

    #[test]
    fn other_forms_of_payload_are_as_they_were_set() {
        let mut bench = facing(Behaviour::sink(), Config::default());
        bench.open(0, 1);
        assert_eq!(bench.ask("AT+QICFG=\"viewmode\",1;+QICFG=\"dataformat\",1,1"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QICFG=\"dataformat\""), "\r\n+QICFG: \"dataformat\",1,1\r\n\r\nOK\r\n");
        bench.say(0, b"Hi");
        assert_eq!(bench.output(), "\r\n+QSSLURC: \"recv\",0,2,4869\r\n");
        assert_eq!(bench.ask("AT+QICFG=\"sendinfo\",1"), "\r\nOK\r\n");
        assert_eq!(bench.send(0, b"4F6B"), "\r\nOK\r\n\r\n+QISEND: 0,0,2\r\n");
        assert_eq!(bench.send(0, b"4F6"), "\r\nERROR\r\n");
        assert_eq!(bench.network.records()[0].received, b"Ok");
        assert_eq!(bench.ask("AT+QICFG=\"close/mode\",1"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QSSLCLOSE=0"), "\r\nOK\r\n\r\n+QSSLCLOSE: 0,0\r\n");
        let mut ec20 = Bench::online(Config { family: Family::Ec20, ..Config::default() });
        assert_eq!(ec20.ask("AT+QICFG=\"sendinfo\",0"), "\r\nERROR\r\n");
    }
}
