//! The commands of TLS sockets: open, send, receive, close, state.

use crate::commands::sockets::Open;
use crate::commands::{Answer, Call, Failure, line, ok};
use crate::modem::Modem;
use crate::parser::{Kind, Parameter};
use crate::result_code::socket as code;
use crate::socket::{AccessMode, Service};

pub(crate) fn run(modem: &mut Modem, call: &mut Call) -> Option<Answer> {
    let contexts = modem.config.pdp_contexts();
    let limits = &modem.config.facts.limits;
    let (socket, ssl_context) = (limits.last_socket(), limits.last_ssl_context());
    let (send_bytes, read_bytes) = (limits.send_bytes, limits.read_bytes);
    let answer = match (call.command.name.as_str(), &call.command.kind) {
        ("QSSLOPEN", Kind::Test) => {
            let ranges = format!("(1-{contexts}),(0-{ssl_context}),(0-{socket})");
            line(format!("+QSSLOPEN: {ranges},<serveraddr>,<server_port>[,(0-2)]"))
        }
        ("QSSLOPEN", Kind::Write(list)) => modem.tls_open(list, call),
        ("QSSLSEND", Kind::Test) => line(format!("+QSSLSEND: (0-{socket})[,(1-{send_bytes})]")),
        ("QSSLSEND", Kind::Write(list)) => modem.begin_send(Service::Tls, list),
        ("QSSLRECV", Kind::Test) => line(format!("+QSSLRECV: (0-{socket}),(1-{read_bytes})")),
        ("QSSLRECV", Kind::Write(list)) => modem.read_received(Service::Tls, list),
        ("QSSLCLOSE", Kind::Test) if modem.config.quirks.close_without_time => {
            line(format!("+QSSLCLOSE: (0-{socket})"))
        }
        ("QSSLCLOSE", Kind::Test) => line(format!("+QSSLCLOSE: (0-{socket}),(0-65535)")),
        ("QSSLCLOSE", Kind::Write(list)) => modem.close_named(Service::Tls, list, call),
        ("QSSLSTATE", Kind::Test) => ok(),
        ("QSSLSTATE", Kind::Execute) => modem.states(modem.sockets(Service::Tls)),
        ("QSSLSTATE", Kind::Write(list)) => modem.tls_state(list),
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
        let limits = &self.config.facts.limits;
        let ssl_context = parameters.small(1, 0..=limits.last_ssl_context())?;
        let open = Open {
            service: Service::Tls,
            transport: self.session.ssl.transport(ssl_context),
            local_port: 0,
            pdp_context: parameters.small(0, 1..=self.config.pdp_contexts())?,
            ssl_context: Some(ssl_context),
            id: parameters.small(2, 0..=limits.last_socket())?,
            host,
            port: u16::try_from(parameters.number(4, 1..=65_535)?).map_err(|_| Failure::Error)?,
            access: access(parameters.optional_small(5, 0..=2)?)?,
        };
        if host.is_empty() {
            return Err(Failure::Error);
        }
        self.open(&open, call)
    }

    /// `AT+QSSLSTATE=<clientID>`: nothing but OK for a free socket.
    fn tls_state(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        let typed = self.config.quirks.typed_state_query && parameters.len() == 2;
        parameters.at_most(if typed { 2 } else { 1 })?;
        let id = parameters.small(usize::from(typed), 0..=self.config.facts.limits.last_socket())?;
        match self.socket(Service::Tls, id) {
            Some(socket) => self.states([socket]),
            None if self.config.quirks.free_sockets_listed => {
                line(format!("+QSSLSTATE: {id},\"SSLClient\",\"0.0.0.0\",0,0,0,1,{id},0,\"uart1\",0"))
            }
            None => ok(),
        }
    }
}

/// The access mode of a number; buffer if there is none.
pub(crate) fn access(number: Option<u8>) -> Result<AccessMode, Failure> {
    AccessMode::from_number(number.unwrap_or(0)).ok_or(Failure::Error)
}

#[cfg(test)]
mod tests {
    use crate::network::Close;
    use crate::network::simulated::{Behaviour, Ending, Plan, Reads, pattern};
    use crate::testing::{Bench, milliseconds, seconds};
    use crate::{Config, Family, PortName, Quirks};
    use std::time::Duration;

    fn bench() -> Bench {
        Bench::online(Config::default())
    }

    fn with(quirks: Quirks) -> Bench {
        Bench::online(Config { quirks, ..Config::default() })
    }

    fn facing(behaviour: Behaviour, config: Config) -> Bench {
        Bench::with(config, Plan::new(behaviour)).get_online()
    }

    #[test]
    fn test_commands_answer_as_the_manuals_print_them() {
        let mut ec20 = Bench::online(Config { family: Family::Ec20, ..Config::default() });
        assert_eq!(
            ec20.ask("AT+QSSLOPEN=?"),
            "\r\n+QSSLOPEN: (1-16),(0-5),(0-11),<serveraddr>,<server_port>[,(0-2)]\r\n\r\nOK\r\n"
        );
        assert_eq!(ec20.ask("AT+QSSLSEND=?"), "\r\n+QSSLSEND: (0-11)[,(1-1460)]\r\n\r\nOK\r\n");
        assert_eq!(ec20.ask("AT+QSSLRECV=?"), "\r\n+QSSLRECV: (0-11),(1-1500)\r\n\r\nOK\r\n");
        assert_eq!(ec20.ask("AT+QSSLCLOSE=?"), "\r\n+QSSLCLOSE: (0-11),(0-65535)\r\n\r\nOK\r\n");
        assert_eq!(ec20.ask("AT+QSSLSTATE=?"), "\r\nOK\r\n");
        assert!(bench().ask("AT+QSSLOPEN=?").starts_with("\r\n+QSSLOPEN: (1-15),"));
    }

    #[test]
    fn the_manuals_example_of_buffer_mode_byte_by_byte() {
        let mut bench = bench();
        bench.open(4, 0);
        assert_eq!(
            bench.ask("AT+QSSLSTATE"),
            "\r\n+QSSLSTATE: 4,\"SSLClient\",\"192.0.2.2\",443,49153,2,1,4,0,\"uart1\",1\r\n\r\nOK\r\n"
        );
        assert_eq!(bench.send(4, b"Test data from SSL"), "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",4\r\n");
        assert_eq!(bench.ask("AT+QSSLRECV=4,1500"), "\r\n+QSSLRECV: 18\r\nTest data from SSL\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QSSLRECV=4,1500"), "\r\n+QSSLRECV: 0\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QSSLCLOSE=4"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QSSLSTATE"), "\r\nOK\r\n");
        assert_eq!(bench.network.records()[0].closed, Some(Close::Orderly));
    }

    #[test]
    fn the_manuals_example_of_push_mode_byte_by_byte() {
        let mut bench = bench();
        bench.open(4, 1);
        assert_eq!(bench.ask("AT+QSSLSEND=4"), "\r\n> ");
        bench.type_bytes(b"Test data from SSL\x1A");
        assert_eq!(bench.output(), "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",4,18\r\nTest data from SSL");
    }

    #[test]
    fn the_variable_form_is_cancelled_by_escape_and_the_fixed_one_is_not() {
        let mut bench = bench();
        bench.open(4, 0);
        bench.ask("AT+QSSLSEND=4");
        bench.type_bytes(b"abc\x1B");
        assert_eq!(bench.output(), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIGETERROR"), "\r\n+QIGETERROR: 571,Cancel send\r\n\r\nOK\r\n");
        assert_eq!(bench.send(4, b"a\x1B\x1Ab"), "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",4\r\n");
        assert_eq!(bench.network.records()[0].received, b"a\x1B\x1Ab");
        bench.ask("AT+QSSLSEND=4");
        bench.type_bytes(&[b'x'; 1461]);
        bench.type_bytes(b"\x1A");
        assert_eq!(bench.output(), "\r\nERROR\r\n");
    }

    #[test]
    fn what_is_sent_before_the_prompt_never_counts() {
        let mut bench = Bench::online(Config { prompt_latency: milliseconds(8), ..Config::default() });
        bench.open(0, 0);
        bench.type_bytes(b"AT+QSSLSEND=0,5\r\nabc");
        assert_eq!(bench.output(), "");
        bench.pass(milliseconds(8));
        assert_eq!(bench.output(), "\r\n> ");
        bench.type_bytes(b"hello");
        assert_eq!(bench.output(), "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0\r\n");
        assert_eq!(bench.modem.counters().bytes_dropped_while_busy, 4);
        assert_eq!(bench.network.records()[0].received, b"hello");
    }

    #[test]
    fn a_line_feed_behind_the_command_is_payload_when_the_prompt_is_quicker() {
        for (dropped, received) in [(false, &b"\nhell"[..]), (true, b"hello")] {
            let mut bench = with(Quirks { line_feed_dropped: dropped, ..Quirks::strict() });
            bench.open(0, 0);
            bench.type_bytes(b"AT+QSSLSEND=0,5\r\nhello");
            assert_eq!(bench.network.records()[0].received, received);
        }
    }

    #[test]
    fn a_send_takes_its_latency_and_the_time_of_its_bytes() {
        let mut bench = Bench::online(Config {
            send_latency: milliseconds(16),
            send_latency_per_byte: Duration::from_micros(10),
            ..Config::default()
        });
        bench.open(0, 1);
        assert_eq!(bench.send(0, &[b'x'; 100]), "");
        bench.pass(milliseconds(17) - Duration::from_nanos(1));
        assert_eq!(bench.output(), "");
        bench.pass(Duration::from_nanos(1));
        assert!(bench.output().starts_with("\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0,100\r\n"));
    }

    #[test]
    fn a_full_send_buffer_takes_nothing_of_the_send_that_does_not_fit() {
        let plan = Plan::new(Behaviour::deaf()).window(1_000);
        let config = Config { send_buffer_bytes: 2_000, ..Config::default() };
        let mut bench = Bench::with(config, plan).get_online();
        bench.open(0, 0);
        assert_eq!(bench.send(0, &[1; 1_460]), "\r\nSEND OK\r\n");
        assert_eq!(bench.send(0, &[2; 1_460]), "\r\nSEND OK\r\n");
        assert_eq!(bench.send(0, &[3; 81]), "\r\nSEND FAIL\r\n");
        assert_eq!(bench.send(0, &[3; 80]), "\r\nSEND OK\r\n");
        let counters = bench.modem.counters();
        assert_eq!((counters.send_oks, counters.send_fails), (3, 1));
    }

    #[test]
    fn nothing_is_lost_or_doubled_through_failed_sends() {
        let every = milliseconds(10);
        let slow = Behaviour { reads: Reads::Drip { bytes: 100, every }, ..Behaviour::sink() };
        let plan = Plan::new(slow).window(500);
        let config = Config { send_buffer_bytes: 1_460, ..Config::default() };
        let mut bench = Bench::with(config, plan).get_online();
        bench.open(0, 0);
        let all = pattern(1, 0, 20_000);
        for chunk in all.chunks(700) {
            while bench.send(0, chunk) != "\r\nSEND OK\r\n" {
                bench.pass(every);
            }
        }
        bench.pass(seconds(9));
        assert!(bench.modem.counters().send_fails > 0);
        assert_eq!(bench.network.records()[0].received, all);
    }

    #[test]
    fn parameters_out_of_range_and_free_sockets_are_errors() {
        let mut bench = bench();
        bench.open(0, 0);
        for refused in [
            "AT+QSSLOPEN=0,1,1,\"a.example\",443,0",
            "AT+QSSLOPEN=16,1,1,\"a.example\",443,0",
            "AT+QSSLOPEN=1,6,1,\"a.example\",443,0",
            "AT+QSSLOPEN=1,1,12,\"a.example\",443,0",
            "AT+QSSLOPEN=1,1,1,a.example,443,0",
            "AT+QSSLOPEN=1,1,1,\"a.example\",65536,0",
            "AT+QSSLOPEN=1,1,1,\"a.example\",443,3",
            "AT+QSSLOPEN=2,1,1,\"a.example\",443,0",
            "AT+QSSLSEND=0,0",
            "AT+QSSLSEND=0,1461",
            "AT+QSSLSEND=1,5",
            "AT+QSSLSEND=12,5",
            "AT+QSSLRECV=0,0",
            "AT+QSSLRECV=0,1501",
            "AT+QSSLRECV=0",
            "AT+QSSLRECV=1,5",
            "AT+QSSLCLOSE=12",
            "AT+QSSLCLOSE=0,65536",
            "AT+QSSLCLOSE=1",
            "AT+QSSLSTATE=12",
            "AT+QSSLSTATE=1,0",
            "AT+QISWTMD=1,0",
            "AT+QISWTMD=0,3",
        ] {
            assert_eq!(bench.ask(refused), "\r\nERROR\r\n", "{refused}");
        }
        assert_eq!(bench.modem.sockets_in_use(), [0]);
    }

    #[test]
    fn a_receive_urc_is_an_edge_until_the_buffer_was_read_empty() {
        let mut bench = facing(Behaviour::sink(), Config::default());
        bench.open(0, 0);
        bench.say(0, b"abc");
        assert_eq!(bench.output(), "\r\n+QSSLURC: \"recv\",0\r\n");
        bench.say(0, b"def");
        assert_eq!(bench.output(), "");
        assert_eq!(bench.ask("AT+QSSLRECV=0,6"), "\r\n+QSSLRECV: 6\r\nabcdef\r\n\r\nOK\r\n");
        bench.say(0, b"ghi");
        assert_eq!(bench.output(), "");
        assert_eq!(bench.ask("AT+QSSLRECV=0,2"), "\r\n+QSSLRECV: 2\r\ngh\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QSSLRECV=0,2"), "\r\n+QSSLRECV: 1\r\ni\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QSSLRECV=0,2"), "\r\n+QSSLRECV: 0\r\n\r\nOK\r\n");
        bench.say(0, b"j");
        assert_eq!(bench.output(), "\r\n+QSSLURC: \"recv\",0\r\n");
    }

    #[test]
    fn what_came_before_an_orderly_end_can_be_read_after_it() {
        let mut bench = facing(Behaviour::source(3_000, 5), Config::default());
        assert_eq!(
            bench.ask("AT+QSSLOPEN=1,1,0,\"a.example\",443,0"),
            "\r\nOK\r\n\r\n+QSSLOPEN: 0,0\r\n\r\n+QSSLURC: \"recv\",0\r\n\r\n+QSSLURC: \"closed\",0\r\n"
        );
        let mut read = Vec::new();
        for count in [1_500, 1_500, 0] {
            bench.type_bytes(b"AT+QSSLRECV=0,1500\r");
            let answer = bench.output_bytes(0);
            let head = format!("\r\n+QSSLRECV: {count}\r\n");
            assert_eq!(&answer[..head.len()], head.as_bytes());
            read.extend_from_slice(&answer[head.len()..head.len() + count]);
        }
        assert_eq!(read, pattern(5, 0, 3_000));
        assert!(bench.ask("AT+QSSLSTATE=0").contains(",4,1,0,0,\"uart1\",1\r\n"));
        assert_eq!(bench.ask("AT+QSSLSEND=0,5"), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT+QSSLCLOSE=0,0"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QSSLSTATE=0"), "\r\nOK\r\n");
    }

    #[test]
    fn unread_bytes_of_a_cut_connection_are_an_error_on_the_eg800q_only() {
        for (family, answer) in
            [(Family::Eg800q, "\r\nERROR\r\n"), (Family::Ec20, "\r\n+QSSLRECV: 4\r\nlost\r\n\r\nOK\r\n")]
        {
            let mut bench = facing(Behaviour::sink(), Config { family, ..Config::default() });
            bench.open(0, 0);
            bench.say(0, b"lost");
            bench.network.end(0, Ending::Cut, bench.now);
            bench.look();
            assert_eq!(bench.output(), "\r\n+QSSLURC: \"recv\",0\r\n\r\n+QSSLURC: \"closed\",0\r\n");
            assert_eq!(bench.ask("AT+QSSLRECV=0,1500"), answer);
        }
    }

    #[test]
    fn a_socket_that_ends_while_its_payload_comes_is_an_error_behind_the_last_byte() {
        let mut bench = bench();
        bench.open(0, 1);
        assert_eq!(bench.ask("AT+QSSLSEND=0,10"), "\r\n> ");
        bench.type_bytes(b"12345");
        bench.modem.close_socket(0, bench.now);
        bench.look();
        assert_eq!(bench.output(), "");
        bench.type_bytes(b"67890");
        assert_eq!(bench.output(), "\r\nERROR\r\n\r\n+QSSLURC: \"closed\",0\r\n");
    }

    #[test]
    fn a_close_waits_for_what_is_unsent_and_gives_up_at_its_timeout() {
        let mut bench = Bench::with(Config::default(), Plan::new(Behaviour::deaf()).window(10));
        bench.ask("ATE0;+QIACT=1");
        bench.output();
        bench.open(0, 0);
        bench.send(0, b"more than ten bytes");
        assert_eq!(bench.ask("AT+QSSLCLOSE=0,3"), "");
        bench.pass(milliseconds(2_999));
        assert_eq!(bench.output(), "");
        bench.pass(milliseconds(1));
        assert_eq!(bench.output(), "\r\nOK\r\n");
        assert_eq!(bench.network.records()[0].closed, Some(Close::Abort));
    }

    #[test]
    fn a_close_without_timeout_drops_what_is_unsent() {
        let plan = Plan::new(Behaviour::sink()).latency(seconds(1));
        let mut bench = Bench::with(Config::default(), plan).get_online();
        bench.open(0, 0);
        bench.send(0, b"dropped");
        assert_eq!(bench.ask("AT+QSSLCLOSE=0,0"), "\r\nOK\r\n");
        let record = &bench.network.records()[0];
        assert_eq!((record.closed, record.received.as_slice()), (Some(Close::Abort), &b""[..]));
    }

    #[test]
    fn the_close_time_mode_makes_the_timeout_milliseconds() {
        let mut bench = Bench::with(Config::default(), Plan::new(Behaviour::deaf()).window(1));
        bench.ask("ATE0;+QIACT=1");
        bench.output();
        bench.ask("AT+QSSLCFG=\"closetimemode\",1,1");
        bench.open(0, 0);
        bench.send(0, b"unsent");
        assert_eq!(bench.ask("AT+QSSLCLOSE=0,30"), "");
        bench.pass(milliseconds(30));
        assert_eq!(bench.output(), "\r\nOK\r\n");
    }

    #[test]
    fn state_names_the_port_of_the_open_and_lists_in_order() {
        let ports = vec![PortName::UsbAt, PortName::UsbModem];
        let mut bench = Bench::online(Config { ports, ..Config::default() });
        bench.open(7, 1);
        bench.ask_on(1, "AT+QSSLOPEN=1,0,2,\"10.0.0.9\",8883,0");
        assert_eq!(
            bench.ask("AT+QSSLSTATE"),
            "\r\n+QSSLSTATE: 2,\"SSLClient\",\"10.0.0.9\",8883,49154,2,1,2,0,\"usbmodem\",0\r\n\
             +QSSLSTATE: 7,\"SSLClient\",\"192.0.2.2\",443,49153,2,1,7,1,\"usbat\",1\r\n\r\nOK\r\n"
        );
    }

    #[test]
    fn twelve_sockets_carry_their_own_bytes() {
        let mut bench = bench();
        for id in 0..12 {
            bench.open(id, 0);
        }
        for id in 0..12 {
            bench.send(id, &pattern(id.into(), 0, 100));
        }
        for (id, record) in (0..12).zip(bench.network.records()) {
            assert_eq!(record.received, pattern(id, 0, 100));
        }
    }

    #[test]
    fn drivers_find_their_own_ways_of_asking_in_the_field() {
        let mut bench = Bench::with(
            Config { quirks: Quirks::field(), ..Config::default() },
            Plan::new(Behaviour::sink()),
        );
        bench.ask("ATE0;+QIACT=1");
        bench.output();
        bench.open(3, 0);
        bench.say(0, b"abcdef");
        bench.output();
        bench.ask("AT+QSSLRECV=3,2");
        assert_eq!(bench.ask("AT+QSSLRECV=3,0"), "\r\n+QSSLRECV: 6,2,4\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QSSLRECV=3,4096"), "\r\n+QSSLRECV: 4\r\ncdef\r\n\r\nOK\r\n");
        assert!(bench.ask("AT+QSSLSTATE=1,3").starts_with("\r\n+QSSLSTATE: 3,\"SSLClient\","));
        assert_eq!(bench.ask("AT+QSSLCFG=\"ciphersuite\",1,\"0X0035\""), "\r\nOK\r\n");
        bench.type_bytes(b"AT+QSSLCLOSE=9\r\n");
        assert_eq!(bench.output(), "\r\nOK\r\n");
    }
}
