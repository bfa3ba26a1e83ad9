//! The commands of plain sockets (TCP/IP application notes of EC2x, EG9x and BG96): open, send, read, close, state. Of MQTT,
//! whether a client is connected.

use crate::commands::sockets::Open;
use crate::commands::tls_sockets::access;
use crate::commands::{Answer, Call, Failure, line, ok};
use crate::modem::Modem;
use crate::network::Transport;
use crate::parser::{Kind, Parameter};
use crate::result_code::socket as code;
use crate::socket::Service;

pub(crate) fn run(modem: &mut Modem, call: &mut Call) -> Option<Answer> {
    let contexts = modem.config.pdp_contexts();
    let answer = match (call.command.name.as_str(), &call.command.kind) {
        ("QIOPEN", Kind::Test) => line(format!(
            "+QIOPEN: (1-{contexts}),(0-11),\"TCP/UDP/UDP SERVICE\",<IP_address>/<domain_name>,<remote_port>,<local_port>,(0-2)"
        )),
        ("QIOPEN", Kind::Write(list)) => modem.plain_open(list, call),
        ("QISEND", Kind::Test) => line("+QISEND: (0-11),(0-1460)"),
        ("QISEND", Kind::Write(list)) if asks_for_counts(list) => modem.sent_counts(list, call),
        ("QISEND", Kind::Write(list)) => modem.begin_send(Service::Plain, list),
        ("QISENDEX", Kind::Test) => line("+QISENDEX: (0-11),<hex_string>"),
        ("QISENDEX", Kind::Write(list)) => modem.send_in_command(list),
        ("QISDE", Kind::Test) => line("+QISDE: (0,1)"),
        ("QISDE", Kind::Read) => line(format!("+QISDE: {}", u8::from(modem.session.sends_echoed))),
        ("QISDE", Kind::Write(list)) => modem.set_send_echo(list),
        ("QIRD", Kind::Test) => line("+QIRD: (0-11),(0-1500)"),
        ("QIRD", Kind::Write(list)) => modem.read_received(Service::Plain, list),
        ("QICLOSE", Kind::Test) => line("+QICLOSE: (0-11),(0-65535)"),
        ("QICLOSE", Kind::Write(list)) => modem.close_named(Service::Plain, list, call),
        ("QISTATE", Kind::Test) => ok(),
        ("QISTATE", _) if modem.config.quirks.plain_sockets_unlisted => ok(),
        ("QISTATE", Kind::Read | Kind::Execute) => modem.states(modem.sockets(Service::Plain)),
        ("QISTATE", Kind::Write(list)) => modem.plain_states(list),
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

/// Whether the length of a send is 0, which sends nothing.
fn asks_for_counts(list: &[Parameter]) -> bool {
    matches!(list.get(1), Some(Parameter::Bare(length)) if length.bytes().all(|digit| digit == b'0'))
}

impl Modem {
    /// `AT+QIOPEN=<PDP>,<connectID>,"<service>","<host>",<port>[,<local port>[,<mode>]]`; without a mode: buffer. The local
    /// port of TCP is read, and the network chooses one all the same. Host and port of a UDP service mean nothing.
    fn plain_open(&mut self, list: &[Parameter], call: &mut Call) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(7)?;
        let (host, text) = (parameters.text(3)?, parameters.text(2)?);
        let (transport, host, lowest_port) = match text {
            "TCP" => (Transport::Tcp, host, 1),
            "UDP" => (Transport::Udp, host, 1),
            "UDP SERVICE" => (Transport::UdpService, "0.0.0.0", 0),
            _ => return Err(Failure::Error),
        };
        if host.is_empty() {
            return Err(Failure::Error);
        }
        let port = |number| u16::try_from(number).map_err(|_| Failure::Error);
        let open = Open {
            service: Service::Plain,
            transport,
            pdp_context: parameters.small(0, 1..=self.config.pdp_contexts())?,
            ssl_context: None,
            id: parameters.small(1, 0..=self.config.facts.limits.last_socket())?,
            host,
            port: port(parameters.number(4, lowest_port..=65_535)?)?,
            local_port: port(parameters.optional_number(5, 0..=65_535)?.unwrap_or(0))?,
            access: access(parameters.optional_small(6, 0..=2)?)?,
        };
        self.open(&open, call)
    }

    fn set_send_echo(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(1)?;
        self.session.sends_echoed = parameters.small(0, 0..=1)? == 1;
        ok()
    }

    /// `AT+QISTATE=0,<PDP>` or `AT+QISTATE=1,<connectID>`: nothing but OK where there is no connection.
    fn plain_states(&self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        if parameters.small(0, 0..=1)? == 1 {
            let last = self.config.facts.limits.last_socket();
            return self.states(self.socket(Service::Plain, parameters.small(1, 0..=last)?));
        }
        let context = parameters.small(1, 1..=self.config.pdp_contexts())?;
        let sockets = self.sockets(Service::Plain).into_iter();
        self.states(sockets.filter(|socket| socket.pdp_context == context))
    }
}

#[cfg(test)]
mod tests {
    use crate::network::Close;
    use crate::network::simulated::{Behaviour, Ending, Plan, pattern};
    use crate::testing::{Bench, milliseconds, seconds};
    use crate::{Config, Family, PortName, Quirks};

    const CLOSED: &str = "\r\n+QIGETERROR: 567,Socket has been closed\r\n\r\nOK\r\n";

    fn facing(behaviour: Behaviour) -> Bench {
        Bench::with(Config::default(), Plan::new(behaviour)).get_online()
    }

    /// Opens connection 3 in this mode.
    fn open(bench: &mut Bench, mode: u8) {
        let opened = bench.ask(&format!("AT+QIOPEN=1,3,\"TCP\",\"a.example\",80,0,{mode}"));
        let expected = if mode == 2 { "\r\nCONNECT\r\n" } else { "\r\nOK\r\n\r\n+QIOPEN: 3,0\r\n" };
        assert_eq!(opened, expected);
    }

    /// A modem whose connection 3 is open in this mode, to a server that echoes.
    fn bench(mode: u8) -> Bench {
        let mut bench = Bench::online(Config::default());
        open(&mut bench, mode);
        bench
    }

    fn send(bench: &mut Bench, payload: &[u8]) -> String {
        assert_eq!(bench.ask(&format!("AT+QISEND=3,{}", payload.len())), "\r\n> ");
        bench.type_bytes(payload);
        bench.output()
    }

    #[test]
    fn test_commands_answer_as_the_application_note_prints_them() {
        let mut bench = Bench::online(Config { family: Family::Ec20, ..Config::default() });
        for (name, values) in [
            ("QISEND", "(0-11),(0-1460)"),
            ("QISENDEX", "(0-11),<hex_string>"),
            ("QIRD", "(0-11),(0-1500)"),
            ("QICLOSE", "(0-11),(0-65535)"),
            ("QISDE", "(0,1)"),
            ("QISWTMD", "(0-11),(0-2)"),
        ] {
            let answer = format!("\r\n+{name}: {values}\r\n\r\nOK\r\n");
            assert_eq!(bench.ask(&format!("AT+{name}=?")), answer);
        }
        assert_eq!(bench.ask("AT+QISTATE=?"), "\r\nOK\r\n");
        assert!(bench.ask("AT+QIOPEN=?").starts_with("\r\n+QIOPEN: (1-16),(0-11),\"TCP"));
    }

    #[test]
    fn bytes_are_sent_and_read_as_the_application_note_prints_it() {
        let mut bench = bench(0);
        assert_eq!(send(&mut bench, b"hello"), "\r\nSEND OK\r\n\r\n+QIURC: \"recv\",3\r\n");
        assert_eq!(bench.ask("AT+QIRD=3,2"), "\r\n+QIRD: 2\r\nhe\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIRD=3,0"), "\r\n+QIRD: 5,2,3\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIRD=3"), "\r\n+QIRD: 3\r\nllo\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIRD=3,1500"), "\r\n+QIRD: 0\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QISEND=3,0"), "\r\n+QISEND: 5,5,0\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QSSLSEND=3,5"), "\r\nERROR\r\n", "its number is none of AT+QSSLOPEN");
        assert_eq!(bench.ask("AT+QICLOSE=3,0"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QISEND=3,0"), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT+QIGETERROR"), CLOSED);
    }

    #[test]
    fn what_arrives_is_pushed_with_its_length() {
        let mut bench = bench(1);
        assert_eq!(send(&mut bench, b"hi"), "\r\nSEND OK\r\n\r\n+QIURC: \"recv\",3,2\r\nhi");
        assert_eq!(bench.ask("AT+QIRD=3,10"), "\r\nERROR\r\n");
    }

    #[test]
    fn the_variable_form_ends_with_control_z_and_is_cancelled_by_escape() {
        let mut bench = bench(1);
        bench.ask("AT+QISEND=3");
        bench.type_bytes(b"hello\x1A");
        assert_eq!(bench.output(), "\r\nSEND OK\r\n\r\n+QIURC: \"recv\",3,5\r\nhello");
        bench.ask("AT+QISEND=3");
        bench.type_bytes(b"hello\x1B");
        assert_eq!(bench.output(), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIGETERROR"), "\r\n+QIGETERROR: 571,Cancel send\r\n\r\nOK\r\n");
        assert_eq!(bench.network.records()[0].received, b"hello");
    }

    #[test]
    fn bytes_can_be_sent_in_the_command_itself() {
        let mut bench = bench(0);
        let answer = "\r\nSEND OK\r\n\r\n+QIURC: \"recv\",3\r\n";
        assert_eq!(bench.ask("AT+QISENDEX=3,\"48690D0a\""), answer);
        assert_eq!(bench.network.records()[0].received, b"Hi\r\n");
        let long = format!("AT+QISENDEX=3,\"{}\"", "00".repeat(257));
        for refused in ["AT+QISENDEX=3,\"486\"", "AT+QISENDEX=3,\"xy\"", "AT+QISENDEX=3,\"\"", &long] {
            assert_eq!(bench.ask(refused), "\r\nERROR\r\n", "{refused}");
        }
    }

    #[test]
    fn payload_is_echoed_with_commands_unless_that_is_switched_off() {
        let mut bench = bench(0);
        bench.ask("AT+QISEND=3,2");
        bench.type_bytes(b"ab");
        assert!(bench.output().starts_with("\r\nSEND OK\r\n"), "with ATE0 nothing is echoed");
        bench.ask("ATE1");
        bench.ask("AT+QISEND=3,2");
        bench.type_bytes(b"ab");
        assert!(bench.output().starts_with("ab\r\nSEND OK\r\n"));
        assert_eq!(bench.ask("AT+QISDE=0"), "AT+QISDE=0\r\r\nOK\r\n");
        bench.ask("AT+QISEND=3,2");
        bench.type_bytes(b"ab");
        assert!(bench.output().starts_with("\r\nSEND OK\r\n"));
    }

    #[test]
    fn a_full_send_buffer_takes_nothing_of_the_send_that_does_not_fit() {
        let plan = Plan::new(Behaviour::deaf()).window(1_000);
        let config = Config { send_buffer_bytes: 2_000, ..Config::default() };
        let mut bench = Bench::with(config, plan).get_online();
        open(&mut bench, 0);
        assert_eq!(send(&mut bench, &[1; 1_460]), "\r\nSEND OK\r\n");
        assert_eq!(send(&mut bench, &[2; 1_460]), "\r\nSEND OK\r\n");
        assert_eq!(send(&mut bench, &[3; 81]), "\r\nSEND FAIL\r\n");
        assert_eq!(bench.ask("AT+QISEND=3,0"), "\r\n+QISEND: 2920,1000,1920\r\n\r\nOK\r\n");
        bench.ask("AT+QICFG=\"sendinfo\",1");
        assert_eq!(send(&mut bench, &[3; 81]), "\r\nOK\r\n\r\n+QISEND: 3,558,81\r\n");
        assert_eq!(send(&mut bench, &[3; 80]), "\r\nOK\r\n\r\n+QISEND: 3,0,80\r\n");
    }

    #[test]
    fn bytes_are_acknowledged_when_they_have_arrived_and_the_answer_is_back() {
        let plan = Plan::new(Behaviour::sink()).latency(milliseconds(100));
        let mut bench = Bench::with(Config::default(), plan).get_online();
        bench.ask("AT+QIOPEN=1,3,\"TCP\",\"a.example\",80");
        send(&mut bench, b"first");
        bench.pass(milliseconds(150));
        send(&mut bench, b"second");
        assert_eq!(bench.ask("AT+QISEND=3,0"), "\r\n+QISEND: 11,0,11\r\n\r\nOK\r\n");
        bench.pass(milliseconds(50));
        assert_eq!(bench.ask("AT+QISEND=3,0"), "\r\n+QISEND: 11,5,6\r\n\r\nOK\r\n");
        bench.pass(milliseconds(150));
        assert_eq!(bench.ask("AT+QISEND=3,0"), "\r\n+QISEND: 11,11,0\r\n\r\nOK\r\n");
    }

    #[test]
    fn an_end_leaves_what_is_unread_and_a_cut_is_an_error_for_the_counts() {
        let mut bench = facing(Behaviour::sink());
        open(&mut bench, 0);
        send(&mut bench, b"sent");
        bench.say(0, b"unread");
        bench.network.end(0, Ending::Closed, bench.now);
        bench.look();
        assert_eq!(bench.output(), "\r\n+QIURC: \"recv\",3\r\n\r\n+QIURC: \"closed\",3\r\n");
        assert_eq!(bench.ask("AT+QIRD=3,1500"), "\r\n+QIRD: 6\r\nunread\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QISEND=3,0"), "\r\n+QISEND: 4,4,0\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QISEND=3,1"), "\r\nERROR\r\n");
        assert!(bench.ask("AT+QISTATE=1,3").contains(",80,49153,4,1,3,0,\"uart1\"\r\n"));
        assert_eq!(bench.ask("AT+QICLOSE=3"), "\r\nOK\r\n");
        open(&mut bench, 1);
        bench.modem.close_plain_socket(3, bench.now);
        bench.look();
        assert_eq!(bench.output(), "\r\n+QIURC: \"closed\",3\r\n");
        assert_eq!(bench.ask("AT+QISEND=3,0"), "\r\nERROR\r\n");
        assert_eq!(bench.modem.plain_sockets_in_use(), [3]);
    }

    #[test]
    fn a_lost_data_session_is_told_and_ends_its_connections() {
        let mut bench = bench(1);
        bench.modem.drop_pdp(1, bench.now);
        bench.look();
        assert_eq!(bench.output(), "\r\n+QIURC: \"pdpdeact\",1\r\n\r\n+QIURC: \"closed\",3\r\n");
    }

    #[test]
    fn a_close_waits_for_what_is_unsent_and_gives_up_at_its_timeout() {
        let mut bench = Bench::with(Config::default(), Plan::new(Behaviour::deaf()).window(10)).get_online();
        open(&mut bench, 0);
        send(&mut bench, b"more than ten bytes");
        assert_eq!(bench.ask("AT+QICLOSE=3,3"), "");
        bench.pass(milliseconds(2_999));
        assert_eq!(bench.output(), "");
        bench.pass(milliseconds(1));
        assert_eq!(bench.output(), "\r\nOK\r\n");
        assert_eq!(bench.network.records()[0].closed, Some(Close::Abort));
        bench.ask("AT+QICFG=\"close/mode\",1");
        open(&mut bench, 0);
        assert_eq!(bench.ask("AT+QICLOSE=3"), "\r\nOK\r\n\r\n+QICLOSE: 3,0\r\n");
        assert_eq!(bench.ask("AT+QICLOSE=3"), "\r\nOK\r\n", "a free number is harmless");
    }

    #[test]
    fn state_lists_all_or_those_of_a_context_or_one() {
        let mut bench = Bench::online(Config::default());
        bench.ask("AT+QIACT=2");
        bench.ask("AT+QIOPEN=2,7,\"TCP\",\"10.0.0.9\",8883,0,1");
        open(&mut bench, 0);
        let three = "+QISTATE: 3,\"TCP\",\"192.0.2.2\",80,49154,2,1,3,0,\"uart1\"\r\n";
        let seven = "+QISTATE: 7,\"TCP\",\"10.0.0.9\",8883,49153,2,2,7,1,\"uart1\"\r\n";
        for ask in ["AT+QISTATE", "AT+QISTATE?"] {
            assert_eq!(bench.ask(ask), format!("\r\n{three}{seven}\r\nOK\r\n"));
        }
        for (ask, line) in [("0,1", three), ("0,2", seven), ("1,3", three), ("1,7", seven)] {
            assert_eq!(bench.ask(&format!("AT+QISTATE={ask}")), format!("\r\n{line}\r\nOK\r\n"));
        }
        assert_eq!(bench.ask("AT+QISTATE=1,4"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QISTATE=0,3"), "\r\nOK\r\n");
        for refused in ["AT+QISTATE=3", "AT+QISTATE=1,12", "AT+QISTATE=0,16", "AT+QISTATE=2,0"] {
            assert_eq!(bench.ask(refused), "\r\nERROR\r\n", "{refused}");
        }
    }

    #[test]
    fn a_stream_is_left_by_three_pluses_and_taken_up_again_both_ways() {
        let mut bench = facing(Behaviour::sink());
        open(&mut bench, 2);
        bench.type_bytes(b"one");
        bench.pass(seconds(1));
        bench.type_bytes(b"+++");
        bench.pass(seconds(1));
        assert_eq!(bench.output(), "\r\nOK\r\n");
        bench.say(0, b"unread");
        assert_eq!(bench.output(), "\r\n+QIURC: \"recv\",3\r\n");
        assert_eq!(bench.ask("AT+QISEND=3,0"), "\r\n+QISEND: 3,3,0\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("ATO"), "\r\nCONNECT\r\nunread");
        bench.type_bytes(b"two");
        bench.pass(seconds(1));
        bench.type_bytes(b"+++");
        bench.pass(seconds(1));
        assert_eq!(bench.output(), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QISWTMD=3,2"), "\r\nCONNECT\r\n");
        bench.network.end(0, Ending::Closed, bench.now);
        bench.look();
        assert_eq!(bench.output(), "\r\nNO CARRIER\r\n");
        assert_eq!(bench.network.records()[0].received, b"onetwo");
    }

    #[test]
    fn a_number_without_its_service_is_the_tls_connections_while_there_is_one() {
        let mut bench = bench(0);
        bench.open(3, 0);
        assert_eq!(bench.ask("AT+QISWTMD=3,1"), "\r\nOK\r\n");
        assert!(bench.ask("AT+QSSLSTATE=3").contains(",2,1,3,1,\"uart1\",1\r\n"));
        assert!(bench.ask("AT+QISTATE=1,3").contains(",2,1,3,0,\"uart1\"\r\n"));
        bench.ask("AT+QSSLCLOSE=3");
        assert_eq!(bench.ask("AT+QISWTMD=3,1"), "\r\nOK\r\n");
        assert!(bench.ask("AT+QISTATE=1,3").contains(",2,1,3,1,\"uart1\"\r\n"));
    }

    #[test]
    fn leftovers_of_a_switch_are_treated_as_those_of_tls() {
        for (held, pushed) in [(false, "\r\n+QIURC: \"recv\",3,3\r\nabc"), (true, "")] {
            let quirks = Quirks { leftovers_held: held, ..Quirks::strict() };
            let config = Config { quirks, ..Config::default() };
            let mut bench = Bench::with(config, Plan::new(Behaviour::sink())).get_online();
            open(&mut bench, 1);
            bench.ask("AT+QISWTMD=3,0");
            bench.say(0, b"abc");
            assert_eq!(bench.output(), "\r\n+QIURC: \"recv\",3\r\n");
            assert_eq!(bench.ask("AT+QISWTMD=3,1"), format!("\r\nOK\r\n{pushed}"));
        }
    }

    #[test]
    fn other_forms_of_payload_are_as_they_were_set() {
        let mut bench = bench(1);
        bench.ask("AT+QICFG=\"viewmode\",1;+QICFG=\"dataformat\",1,1");
        let answer = "\r\nSEND OK\r\n\r\n+QIURC: \"recv\",3,2,4869\r\n";
        assert_eq!(send(&mut bench, b"4869"), answer);
        assert_eq!(bench.ask("AT+QISENDEX=3,\"4869\""), answer, "its digits are hexadecimal in any case");
        bench.ask("AT+QISWTMD=3,0;+QICFG=\"recvind\",1");
        assert_eq!(send(&mut bench, b"4869"), "\r\nSEND OK\r\n\r\n+QIURC: \"recv\",3,2\r\n");
        assert_eq!(bench.ask("AT+QIRD=3,1500"), "\r\n+QIRD: 2,4869\r\n\r\nOK\r\n");
    }

    #[test]
    fn parameters_out_of_range_and_free_numbers_are_errors() {
        let mut bench = bench(0);
        for refused in [
            "AT+QIOPEN=0,1,\"TCP\",\"a.example\",80",
            "AT+QIOPEN=1,12,\"TCP\",\"a.example\",80",
            "AT+QIOPEN=1,1,\"SCTP\",\"a.example\",80",
            "AT+QIOPEN=1,1,\"TCP\",\"\",80",
            "AT+QIOPEN=1,1,\"TCP\",\"a.example\",0",
            "AT+QIOPEN=1,1,\"TCP\",\"a.example\",65536",
            "AT+QIOPEN=1,1,\"TCP\",\"a.example\",80,65536",
            "AT+QIOPEN=1,1,\"TCP\",\"a.example\",80,0,3",
            "AT+QIOPEN=1,1,\"TCP\",\"a.example\",80,0,0,0",
            "AT+QIOPEN=2,1,\"TCP\",\"a.example\",80,0,0",
            "AT+QISEND=3,1461",
            "AT+QISEND=3,0,0",
            "AT+QISEND=1,0",
            "AT+QISEND=1,5",
            "AT+QISEND=12,5",
            "AT+QIRD=3,1501",
            "AT+QIRD=1,5",
            "AT+QIRD=3,1,1",
            "AT+QICLOSE=12",
            "AT+QICLOSE=3,65536",
            "AT+QISWTMD=1,0",
            "AT+QISDE=2",
            "AT+QISDE=0,0",
        ] {
            assert_eq!(bench.ask(refused), "\r\nERROR\r\n", "{refused}");
        }
        assert_eq!(bench.modem.plain_sockets_in_use(), [3]);
    }

    #[test]
    fn an_open_fails_by_urc_and_a_number_in_use_is_563() {
        let mut bench = bench(0);
        let again = bench.ask("AT+QIOPEN=1,3,\"TCP\",\"a.example\",80");
        assert_eq!(again, "\r\nOK\r\n\r\n+QIOPEN: 3,563\r\n");
        bench.modem.dns_fails(true);
        let unknown = bench.ask("AT+QIOPEN=1,4,\"TCP\",\"a.example\",80");
        assert_eq!(unknown, "\r\nOK\r\n\r\n+QIOPEN: 4,565\r\n");
        assert_eq!(bench.ask("AT+QIGETERROR"), "\r\n+QIGETERROR: 565,DNS parse failed\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QISTATE=1,4"), "\r\nOK\r\n");
    }

    #[test]
    fn latencies_are_those_of_the_same_commands_of_tls() {
        let mut bench = Bench::online(Config {
            prompt_latency: milliseconds(8),
            receive_latency: milliseconds(9),
            close_latency: milliseconds(10),
            ..Config::default()
        });
        open(&mut bench, 0);
        for (command, latency, end) in
            [("AT+QISEND=3,1", 8, "> "), ("AT+QIRD=3,9", 9, "OK\r\n"), ("AT+QICLOSE=3", 10, "OK\r\n")]
        {
            assert_eq!(bench.ask(command), "");
            bench.pass(milliseconds(latency));
            assert!(bench.output().ends_with(end), "{command}");
            bench.type_bytes(b"x");
            bench.output();
        }
    }

    #[test]
    fn all_twenty_four_connections_of_both_services_carry_their_own_bytes() {
        let ports = vec![PortName::UsbAt, PortName::UsbModem];
        let mut bench = Bench::online(Config { ports, ..Config::default() });
        for id in 0..12 {
            bench.open(id, 1);
            bench.ask(&format!("AT+QIOPEN=1,{id},\"TCP\",\"a.example\",80,0,1"));
        }
        for id in 0..12 {
            for (command, seed) in [("QSSLSEND", id), ("QISEND", 100 + id)] {
                bench.ask(&format!("AT+{command}={id},50"));
                bench.type_bytes(&pattern(seed, 0, 50));
                assert!(bench.output_bytes(0).ends_with(&pattern(seed, 0, 50)));
            }
        }
        for (id, records) in (0..12).zip(bench.network.records().chunks(2)) {
            assert_eq!(records[0].received, pattern(id, 0, 50));
            assert_eq!(records[1].received, pattern(100 + id, 0, 50));
        }
    }
}
