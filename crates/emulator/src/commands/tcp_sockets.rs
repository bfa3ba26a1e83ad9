//! The commands of plain TCP sockets: open, send, receive, close, state. Of MQTT, whether a client is connected.

use std::time::Duration;

use crate::commands::sockets::Open;
use crate::commands::{Answer, Call, CommandOutcome, Failure, line, ok};
use crate::modem::{LONGEST_SEND_BYTES, Modem};
use crate::parser::{Kind, Parameter};
use crate::result_code::socket as code;
use crate::socket::{AccessMode, Service, SocketState};

pub(crate) fn run(modem: &mut Modem, call: &mut Call) -> Option<Answer> {
    let contexts = modem.config.family.pdp_contexts();
    let answer = match (call.command.name.as_str(), &call.command.kind) {
        ("QIOPEN", Kind::Test) => line(format!(
            "+QIOPEN: (1-{contexts}),(0-11),\"TCP\",<IP_address>/<domain_name>,<remote_port>,<local_port>,(0-2)"
        )),
        ("QIOPEN", Kind::Write(list)) => modem.tcp_open(list, call),
        ("QISEND", Kind::Test) => line("+QISEND: (0-11)[,(0-1460)]"),
        ("QISEND", Kind::Write(list)) => modem.tcp_send(list, call),
        ("QIRD", Kind::Test) => line("+QIRD: (0-11),(0-1500)"),
        ("QIRD", Kind::Write(list)) => modem.receive(Service::Tcp, list),
        ("QICLOSE", Kind::Test) => line("+QICLOSE: (0-11),(0-65535)"),
        ("QICLOSE", Kind::Write(list)) => modem.tcp_close(list, call),
        ("QISTATE", Kind::Test) => ok(),
        ("QISTATE", Kind::Read | Kind::Execute) => modem.tcp_states(None),
        ("QISTATE", Kind::Write(list)) => modem.tcp_state(list),
        // The MQTT client of the other program is connected.
        ("QMTCONN", Kind::Read) if modem.config.others_speak_every.is_some() => line("+QMTCONN: 0,3"),
        ("QMTCONN", Kind::Read) => ok(),
        _ => return None,
    };
    Some(answer.map_err(|failure| match failure {
        Failure::Error => Failure::Socket(code::INVALID_PARAMETER),
        other => other,
    }))
}

impl Modem {
    /// `AT+QIOPEN=<PDP>,<connectID>,"TCP","<host>",<port>[,<local port>[,<mode>]]`
    fn tcp_open(&mut self, list: &[Parameter], call: &mut Call) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(7)?;
        let host = parameters.text(3)?;
        if host.is_empty() || parameters.text(2)? != "TCP" {
            return Err(Failure::Error);
        }
        parameters.optional_number(5, 0..=65_535)?;
        let access = AccessMode::from_number(parameters.optional_small(6, 0..=2)?.unwrap_or(0));
        let open = Open {
            service: Service::Tcp,
            pdp_context: parameters.small(0, 1..=self.config.family.pdp_contexts())?,
            ssl_context: NO_SSL_CONTEXT,
            id: parameters.small(1, 0..=11)?,
            host,
            port: u16::try_from(parameters.number(4, 1..=65_535)?).map_err(|_| Failure::Error)?,
            access: access.ok_or(Failure::Error)?,
        };
        self.open(&open, call)
    }

    /// `AT+QISEND=<connectID>[,<length>]`; with a length of 0 the counters: sent, acknowledged, not acknowledged.
    fn tcp_send(&mut self, list: &[Parameter], call: &mut Call) -> Answer {
        if self.parameters(list).optional_number(1, 0..=LONGEST_SEND_BYTES as u32)? != Some(0) {
            return self.begin_send(Service::Tcp, list);
        }
        let socket = self.named_socket(Service::Tcp, list)?.ok_or(Failure::Socket(code::CLOSED))?;
        let (total, waiting, connection) = (socket.sent_total, socket.outgoing.len(), socket.connection);
        let open = matches!(socket.state, SocketState::Connected | SocketState::Closing { .. });
        let under_way = if open { call.network.unsent(connection, call.now) } else { socket.unsent };
        let left = (waiting + under_way) as u64;
        line(format!("+QISEND: {total},{},{left}", total.saturating_sub(left)))
    }

    fn tcp_close(&mut self, list: &[Parameter], call: &mut Call) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let id = parameters.small(0, 0..=11)?;
        let seconds = parameters.optional_number(1, 0..=65_535)?.unwrap_or(10);
        match self.socket(Service::Tcp, id).map(|socket| socket.connection) {
            Some(connection) => self.close(connection, Duration::from_secs(seconds.into()), call),
            // QICLOSE of a free number is harmless on real modules.
            None => ok(),
        }
    }

    /// `AT+QISTATE=0,<PDP>` or `AT+QISTATE=1,<connectID>`
    fn tcp_state(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        match parameters.small(0, 0..=1)? {
            0 => {
                let context = parameters.small(1, 1..=self.config.family.pdp_contexts())?;
                self.tcp_states(Some(context))
            }
            _ => {
                let id = parameters.small(1, 0..=11)?;
                let socket = self.socket(Service::Tcp, id);
                let lines = socket.map(|socket| format!("+QISTATE: {}", self.state_line(socket)));
                Ok(CommandOutcome::Done(lines.into_iter().collect()))
            }
        }
    }

    fn tcp_states(&self, context: Option<u8>) -> Answer {
        let sockets = self.sockets(Service::Tcp).into_iter();
        let listed = sockets.filter(|socket| context.is_none_or(|context| socket.pdp_context == context));
        let lines = listed.map(|socket| format!("+QISTATE: {}", self.state_line(socket)));
        Ok(CommandOutcome::Done(lines.collect()))
    }
}

/// A number that no SSL context has.
const NO_SSL_CONTEXT: u8 = u8::MAX;

#[cfg(test)]
mod tests {
    use crate::Config;
    use crate::network::simulated::{Behaviour, Plan};
    use crate::testing::Bench;

    /// A modem with connection 3 of AT+QIOPEN open in this mode.
    fn bench(mode: u8) -> Bench {
        let mut bench = Bench::online(Config::default());
        let opened = bench.ask(&format!("AT+QIOPEN=1,3,\"TCP\",\"a.example\",80,0,{mode}"));
        assert_eq!(opened, "\r\nOK\r\n\r\n+QIOPEN: 3,0\r\n");
        bench
    }

    #[test]
    fn bytes_are_sent_and_read_as_the_application_note_prints_it() {
        let mut bench = bench(0);
        assert_eq!(bench.ask("AT+QISEND=3,5"), "\r\n> ");
        bench.type_bytes(b"hello");
        assert_eq!(bench.heard(), "\r\nSEND OK\r\n\r\n+QIURC: \"recv\",3\r\n");
        assert_eq!(bench.ask("AT+QIRD=3,1500"), "\r\n+QIRD: 5\r\nhello\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIRD=3,1500"), "\r\n+QIRD: 0\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIRD=3,0"), "\r\n+QIRD: 5,5,0\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QISEND=3,0"), "\r\n+QISEND: 5,5,0\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QSSLSEND=3,5"), "\r\nERROR\r\n", "its number is none of AT+QSSLOPEN");
        assert_eq!(bench.ask("AT+QICLOSE=3,0"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QISEND=3,0"), "\r\nERROR\r\n");
    }

    #[test]
    fn what_arrives_is_pushed_with_its_length() {
        let mut bench = bench(1);
        bench.ask("AT+QISEND=3,2");
        bench.type_bytes(b"hi");
        assert_eq!(bench.heard(), "\r\nSEND OK\r\n\r\n+QIURC: \"recv\",3,2\r\nhi");
        assert_eq!(bench.ask("AT+QIRD=3,10"), "\r\nERROR\r\n");
    }

    #[test]
    fn what_a_server_has_no_room_for_is_not_acknowledged() {
        let plan = Plan::new(Behaviour::deaf()).window(100);
        let mut bench = Bench::with(Config::default(), plan).get_online();
        bench.ask("AT+QIOPEN=1,3,\"TCP\",\"a.example\",80,0,0");
        bench.ask("AT+QISEND=3,400");
        bench.type_bytes(&[7; 400]);
        assert_eq!(bench.heard(), "\r\nSEND OK\r\n");
        assert_eq!(bench.ask("AT+QISEND=3,0"), "\r\n+QISEND: 400,100,300\r\n\r\nOK\r\n");
    }
}
