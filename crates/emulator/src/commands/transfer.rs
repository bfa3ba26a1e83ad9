//! Bytes of a socket by command, for both services: sends, reads, and how much went each way.

use std::net::{IpAddr, SocketAddr};

use crate::at_port::{Payload, PayloadEnd};
use crate::buffer::Piece;
use crate::commands::{Answer, Call, CommandOutcome, Failure, line};
use crate::delivery::{payload_text, peer_text};
use crate::modem::Modem;
use crate::network::Transport;
use crate::parser::{Parameter, from_hex};
use crate::result_code::socket as code;
use crate::socket::{AccessMode, End, Service, SocketState};

impl Modem {
    /// `AT+QSSLSEND=<clientID>[,<length>]`, or AT+QISEND. A socket that cannot take data is an ERROR before the prompt.
    pub(crate) fn begin_send(&mut self, service: Service, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(if service == Service::Tls { 2 } else { 4 })?;
        let longest = u32::try_from(self.config.facts.limits.send_bytes).unwrap_or(u32::MAX);
        let end = match parameters.optional_number(1, 1..=longest)? {
            Some(length) => PayloadEnd::Length(length as usize),
            None => PayloadEnd::Mark,
        };
        let to = self.destination(service, list, end)?;
        let payload = self.payload(service, list, end, Vec::new())?;
        Ok(CommandOutcome::Prompt(Payload { to, ..payload }))
    }

    /// Where a send goes that names it: `AT+QISEND=<connectID>,<length>,"<address>",<port>` of a UDP service.
    fn destination(
        &self,
        service: Service,
        list: &[Parameter],
        end: PayloadEnd,
    ) -> Result<Option<SocketAddr>, Failure> {
        let parameters = self.parameters(list);
        if self.connected(service, list)?.transport != Transport::UdpService {
            parameters.at_most(2)?;
            return Ok(None);
        }
        let address = parameters.text(2)?.parse::<IpAddr>().map_err(|_| Failure::Error)?;
        let port = u16::try_from(parameters.number(3, 1..=65_535)?).map_err(|_| Failure::Error)?;
        match end {
            PayloadEnd::Length(_) => Ok(Some(SocketAddr::new(address, port))),
            // The application note has a UDP service only with a length.
            PayloadEnd::Mark | PayloadEnd::InCommand | PayloadEnd::Cancelled => Err(Failure::Error),
        }
    }

    /// `AT+QISENDEX=<connectID>,"<hexadecimal digits>"`: no prompt.
    pub(crate) fn send_in_command(&mut self, list: &[Parameter]) -> Answer {
        let parameters = self.parameters(list);
        parameters.at_most(2)?;
        let bytes = from_hex(parameters.text(1)?.as_bytes()).ok_or(Failure::Error)?;
        if bytes.is_empty() || bytes.len() > LONGEST_SEND_IN_COMMAND_BYTES {
            return Err(Failure::Error);
        }
        if self.connected(Service::Plain, list)?.transport == Transport::UdpService {
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
        Ok(Payload { service, connection: socket.connection, to: None, bytes, end })
    }

    /// `AT+QISEND=<connectID>,0`: how many bytes the host has sent, how many of them the server has acknowledged, and
    /// how many it has not. UDP acknowledges nothing; assumed: what has left counts. An ERROR for a connection that is not up or was cut (TCP/IP application note, AT+QISEND).
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
        let longest = self.config.facts.limits.read_bytes;
        let longest_number = u32::try_from(longest).unwrap_or(u32::MAX);
        let highest = if quirks.long_reads { u32::MAX } else { longest_number };
        let wanted = match (parameters.optional_number(1, lowest..=highest)?, service) {
            (Some(wanted), _) => wanted,
            (None, Service::Plain) => longest_number,
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
        let (short_tail, short_read) = (self.config.quirks.receive_tail_short, self.config.quirks.short_read);
        let is_joined = self.config.quirks.read_datagrams_joined;
        let header = service.names().receive;
        let socket = self.socket_of_mut(connection).ok_or(Failure::Socket(code::CLOSED))?;
        if wanted == 0 {
            let (total, unread) = (socket.received_total, socket.incoming.len() as u64);
            return line(format!("{header}: {total},{},{unread}", total - unread));
        }
        let wanted = (wanted as usize).min(longest);
        let Piece { mut bytes, peer } = socket.incoming.read(wanted, short_read);
        while is_joined && socket.incoming.front().is_some_and(|(next, _)| bytes.len() + next.len() <= wanted)
        {
            bytes.extend(socket.incoming.read(wanted, short_read).bytes);
        }
        socket.announced &= !bytes.is_empty();
        self.session.last_error = code::OK;
        if bytes.is_empty() {
            return line(format!("{header}: 0"));
        }
        let separator = if format.one_line { "," } else { "\r\n" };
        let mut answer = format!("\r\n{header}: {}{}{separator}", bytes.len(), peer_text(peer)).into_bytes();
        answer.extend(payload_text(&bytes, format.hex_to_host));
        if !short_tail {
            answer.extend(b"\r\n");
        }
        Ok(CommandOutcome::Raw(answer))
    }
}

/// Most bytes of one AT+QISENDEX: 512 digits (TCP/IP application note).
const LONGEST_SEND_IN_COMMAND_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use crate::network::simulated::{DatagramBehaviour, DatagramPlan, DatagramSays, Ending, pattern};
    use crate::network::{Close, Transport};
    use crate::quirks::ShortRead;
    use crate::testing::{Bench, milliseconds, seconds};
    use crate::{Config, Family, PortName, Quirks};

    const ERROR: &str = "\r\nERROR\r\n";

    /// A modem whose connection 2 is open to a server of datagrams.
    fn udp(behaviour: DatagramBehaviour, mode: u8, config: Config) -> Bench {
        let mut bench = Bench::online(config);
        bench.network.plan_datagrams("a.example", 5683, DatagramPlan::new(behaviour));
        let opened = bench.ask(&format!("AT+QIOPEN=1,2,\"UDP\",\"a.example\",5683,0,{mode}"));
        assert_eq!(opened, "\r\nOK\r\n\r\n+QIOPEN: 2,0\r\n");
        bench
    }

    fn echoing(mode: u8) -> Bench {
        udp(DatagramBehaviour::echo(), mode, Config::default())
    }

    /// A modem whose connection 2 is a UDP service at port 3030.
    fn service(mode: u8) -> Bench {
        let mut bench = Bench::online(Config::default());
        let opened = bench.ask(&format!("AT+QIOPEN=1,2,\"UDP SERVICE\",\"127.0.0.1\",0,3030,{mode}"));
        assert_eq!(opened, "\r\nOK\r\n\r\n+QIOPEN: 2,0\r\n");
        bench
    }

    fn send(bench: &mut Bench, rest: &str, payload: &[u8]) -> String {
        assert_eq!(bench.ask(&format!("AT+QISEND=2,{}{rest}", payload.len())), "\r\n> ");
        bench.type_bytes(payload);
        bench.output()
    }

    fn say(bench: &mut Bench, from: &str, bytes: &[u8]) {
        let from: SocketAddr = from.parse().expect("an address");
        bench.network.say_datagram(0, from, bytes, bench.now);
        bench.look();
    }

    #[test]
    fn one_send_is_one_datagram_and_one_datagram_is_one_read() {
        let mut bench = echoing(0);
        assert_eq!(send(&mut bench, "", b"first"), "\r\nSEND OK\r\n\r\n+QIURC: \"recv\",2\r\n");
        assert_eq!(send(&mut bench, "", b"second"), "\r\nSEND OK\r\n");
        assert_eq!(bench.network.records()[0].received_datagrams, [&b"first"[..], b"second"]);
        assert_eq!(bench.ask("AT+QIRD=2,0"), "\r\n+QIRD: 11,0,11\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIRD=2,1500"), "\r\n+QIRD: 5\r\nfirst\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIRD=2"), "\r\n+QIRD: 6\r\nsecond\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIRD=2,1500"), "\r\n+QIRD: 0\r\n\r\nOK\r\n");
        assert_eq!(send(&mut bench, "", b"x"), "\r\nSEND OK\r\n\r\n+QIURC: \"recv\",2\r\n");
        assert_eq!(bench.ask("AT+QISEND=2,0"), "\r\n+QISEND: 12,12,0\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QICLOSE=2"), "\r\nOK\r\n");
        assert_eq!(bench.network.open_connections(), 0);
    }

    #[test]
    fn a_long_send_leaves_in_parts_by_a_quirk() {
        let quirks = Quirks { sent_datagrams_split: true, ..Quirks::strict() };
        let mut bench = udp(DatagramBehaviour::sink(), 0, Config { quirks, ..Config::default() });
        for length in [512, 1_025] {
            assert_eq!(send(&mut bench, "", &vec![b'x'; length]), "\r\nSEND OK\r\n");
        }
        let lengths = bench.network.records()[0].received_datagrams.iter().map(Vec::len);
        assert!(lengths.eq([512, 512, 512, 1]));
    }

    #[test]
    fn one_datagram_is_one_pushed_message_however_long() {
        let config = Config { push_limit_bytes: 100, ..Config::default() };
        let mut bench = udp(DatagramBehaviour::sink(), 1, config);
        bench.host_reads(0, false);
        for (seed, length) in [(0, 1_460), (1, 1), (2, 1_500)] {
            say(&mut bench, "192.0.2.2:5683", &pattern(seed, 0, length));
        }
        bench.host_reads(0, true);
        let mut expected = Vec::new();
        for (seed, length) in [(0, 1_460), (1, 1), (2, 1_500)] {
            expected.extend(format!("\r\n+QIURC: \"recv\",2,{length}\r\n").bytes());
            expected.extend(pattern(seed, 0, length));
        }
        assert_eq!(bench.output_bytes(0), expected);
    }

    #[test]
    fn the_variable_form_and_the_one_in_the_command_are_one_datagram_each() {
        let mut bench = echoing(1);
        bench.ask("AT+QISEND=2");
        bench.type_bytes(b"one\x1A");
        bench.ask("AT+QISENDEX=2,\"4142\"");
        bench.ask("AT+QISEND=2");
        bench.type_bytes(b"\x1A");
        assert_eq!(bench.network.records()[0].received_datagrams, [&b"one"[..], b"AB"]);
    }

    #[test]
    fn a_read_of_a_part_leaves_the_rest_or_drops_it_by_a_quirk() {
        for (short_read, second) in [(ShortRead::KeepsRest, "cde"), (ShortRead::DropsRest, "next")] {
            let quirks = Quirks { short_read, ..Quirks::strict() };
            let mut bench = udp(DatagramBehaviour::sink(), 0, Config { quirks, ..Config::default() });
            say(&mut bench, "192.0.2.2:5683", b"abcde");
            say(&mut bench, "192.0.2.2:5683", b"next");
            bench.output();
            assert_eq!(bench.ask("AT+QIRD=2,2"), "\r\n+QIRD: 2\r\nab\r\n\r\nOK\r\n");
            let answer = format!("\r\n+QIRD: {}\r\n{second}\r\n\r\nOK\r\n", second.len());
            assert_eq!(bench.ask("AT+QIRD=2,1500"), answer);
        }
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_what_is_empty_is_nothing() {
        let config = Config { receive_buffer_bytes: 1_000, receive_buffer_datagrams: 3, ..Config::default() };
        let mut bench = udp(DatagramBehaviour::sink(), 0, config);
        for (length, dropped) in [(0, 0), (900, 0), (101, 1), (50, 1), (50, 1), (0, 1), (1, 2), (1_501, 3)] {
            say(&mut bench, "192.0.2.2:5683", &vec![b'x'; length]);
            assert_eq!(bench.modem.counters().datagrams_dropped, dropped, "after {length}");
        }
        assert_eq!(
            bench.ask("AT+QIRD=2,0"),
            "\r\n+QIURC: \"recv\",2\r\n\r\n+QIRD: 1000,0,1000\r\n\r\nOK\r\n"
        );
        for length in [900, 50, 50, 0] {
            assert!(bench.ask("AT+QIRD=2,1500").starts_with(&format!("\r\n+QIRD: {length}\r\n")));
        }
    }

    #[test]
    fn a_service_names_the_address_of_each_datagram() {
        let mut bench = service(0);
        assert_eq!(
            bench.ask("AT+QISTATE=1,2"),
            "\r\n+QISTATE: 2,\"UDP SERVICE\",\"10.7.157.1\",0,3030,2,1,2,0,\"uart1\"\r\n\r\nOK\r\n"
        );
        let sent = send(&mut bench, ",\"192.0.2.7\",5683", b"hello");
        assert_eq!(sent, "\r\nSEND OK\r\n\r\n+QIURC: \"recv\",2\r\n");
        say(&mut bench, "198.51.100.9:7", b"hi");
        assert_eq!(bench.ask("AT+QIRD=2"), "\r\n+QIRD: 5,\"192.0.2.7\",5683\r\nhello\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIRD=2"), "\r\n+QIRD: 2,\"198.51.100.9\",7\r\nhi\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QIRD=2"), "\r\n+QIRD: 0\r\n\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QISWTMD=2,1"), "\r\nOK\r\n");
        say(&mut bench, "[2001:db8::1]:53", b"ABCD");
        assert_eq!(bench.output(), "\r\n+QIURC: \"recv\",2,4,\"2001:db8::1\",53\r\nABCD");
        bench.ask("AT+QICFG=\"viewmode\",1");
        say(&mut bench, "198.51.100.9:7", b"hi");
        assert_eq!(bench.output(), "\r\n+QIURC: \"recv\",2,2,\"198.51.100.9\",7,hi\r\n");
    }

    #[test]
    fn parameters_that_do_not_fit_the_kind_of_connection_are_errors() {
        let mut bench = service(0);
        for refused in [
            "AT+QISEND=2",
            "AT+QISEND=2,5",
            "AT+QISEND=2,5,\"192.0.2.7\"",
            "AT+QISEND=2,5,\"a.example\",80",
            "AT+QISEND=2,5,\"192.0.2.7\",0",
            "AT+QISEND=2,5,\"192.0.2.7\",65536",
            "AT+QISEND=2,1461,\"192.0.2.7\",7",
            "AT+QISEND=2,5,\"192.0.2.7\",7,1",
            "AT+QISENDEX=2,\"41\"",
            "AT+QISWTMD=2,2",
            "AT+QIOPEN=1,3,\"UDP\",\"a.example\",0",
            "AT+QIOPEN=1,3,\"UDP\",\"a.example\",80,0,2",
            "AT+QIOPEN=1,3,\"UDP SERVICE\",\"127.0.0.1\",0,3031,2",
            "AT+QIOPEN=1,3,\"TCP LISTENER\",\"127.0.0.1\",0,3031,0",
        ] {
            assert_eq!(bench.ask(refused), ERROR, "{refused}");
        }
        let taken = bench.ask("AT+QIOPEN=1,3,\"UDP SERVICE\",\"127.0.0.1\",0,3030,0");
        assert_eq!(taken, "\r\nOK\r\n\r\n+QIOPEN: 3,556\r\n");
        assert_eq!(bench.ask("AT+QIGETERROR"), "\r\n+QIGETERROR: 556,Socket bind failed\r\n\r\nOK\r\n");
        let mut bench = echoing(0);
        assert_eq!(bench.ask("AT+QISEND=2,5,\"192.0.2.7\",7"), ERROR, "it has one server");
        assert!(
            bench
                .ask("AT+QISTATE=1,2")
                .contains(": 2,\"UDP\",\"192.0.2.2\",5683,49153,2,1,2,0,\"uart1\"\r\n")
        );
    }

    #[test]
    fn a_source_and_losses_are_the_same_for_the_same_seed() {
        let says = DatagramSays::Source { datagrams: 200, bytes: 40, every: milliseconds(10) };
        let behaviour = DatagramBehaviour { says, ..DatagramBehaviour::sink() };
        let run = |seed, late| {
            let behaviour = behaviour.clone().losing(100, seed).late(late, milliseconds(35), seed);
            let mut bench = udp(behaviour, 1, Config { family: Family::Ec20, ..Config::default() });
            // The first may be lost.
            for _ in 0..9 {
                send(&mut bench, "", b"begin");
            }
            bench.pass(seconds(3));
            bench.output_bytes(0)
        };
        let heads = |output: &[u8]| output.windows(7).filter(|window| window == b"+QIURC:").count();
        let (first, second, third) = (run(1, 0), run(1, 0), run(2, 0));
        assert!(first == second && first != third);
        assert!((150..200).contains(&heads(&first)), "{}", heads(&first));
        assert!(run(1, 300) != first, "some overtake others");
    }

    #[test]
    fn a_lost_data_session_ends_them() {
        let mut bench = echoing(1);
        bench.modem.drop_pdp(1, bench.now);
        bench.look();
        assert_eq!(bench.output(), "\r\n+QIURC: \"pdpdeact\",1\r\n\r\n+QIURC: \"closed\",2\r\n");
        assert_eq!(bench.ask("AT+QISEND=2,5"), ERROR);
        assert_eq!(bench.network.open_connections(), 0);
    }

    #[test]
    fn dtls_keeps_its_records_apart_and_ends_as_tls_does() {
        for mode in [0, 1] {
            let mut bench = Bench::online(Config::default());
            bench.ask("AT+QSSLCFG=\"dtls\",1,1;+QSSLCFG=\"dtlsversion\",1,1");
            assert_eq!(bench.ask("AT+QSSLOPEN=1,1,0,\"a.example\",5684,2"), ERROR, "it cannot be a stream");
            bench.open(0, mode);
            let request = &bench.network.records()[0].request;
            assert_eq!(request.transport, Transport::Udp);
            assert_eq!(request.tls.as_ref().map(|tls| tls.dtls_version), Some(1));
            let first = bench.send(0, b"first");
            let second = bench.send(0, b"second");
            if mode == 0 {
                assert_eq!(first, "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0\r\n");
                assert_eq!(bench.ask("AT+QSSLRECV=0,1500"), "\r\n+QSSLRECV: 5\r\nfirst\r\n\r\nOK\r\n");
                assert_eq!(bench.ask("AT+QSSLRECV=0,1500"), "\r\n+QSSLRECV: 6\r\nsecond\r\n\r\nOK\r\n");
            } else {
                assert_eq!(first, "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0,5\r\nfirst");
                assert_eq!(second, "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0,6\r\nsecond");
            }
            assert!(bench.ask("AT+QSSLSTATE=0").contains(": 0,\"SSLClient\",\"192.0.2.2\",443,"));
            bench.network.end(0, Ending::Closed, bench.now);
            bench.look();
            assert_eq!(bench.output(), "\r\n+QSSLURC: \"closed\",0\r\n");
            assert_eq!(bench.ask("AT+QSSLCLOSE=0"), "\r\nOK\r\n");
        }
    }

    #[test]
    fn a_close_of_dtls_changes_nothing_by_a_quirk() {
        let quirks = Quirks { dtls_close_untold: true, ..Quirks::strict() };
        let mut bench = Bench::online(Config { quirks, ..Config::default() });
        bench.ask("AT+QSSLCFG=\"dtls\",1,1");
        bench.open(0, 1);
        let before = bench.ask("AT+QSSLSTATE=0");
        bench.network.end(0, Ending::Closed, bench.now);
        bench.look();
        assert_eq!(bench.output(), "");
        assert_eq!(bench.ask("AT+QSSLSTATE=0"), before);
        assert_eq!(bench.send(0, b"nobody answers"), "\r\nSEND OK\r\n");
        assert_eq!(bench.network.records()[0].received_datagrams, [b""; 0]);
    }

    #[test]
    fn the_server_hears_of_the_end_of_dtls_unless_it_is_to_be_at_once() {
        for (close, how) in [("AT+QSSLCLOSE=0,3", Close::Orderly), ("AT+QSSLCLOSE=0,0", Close::Abort)] {
            let mut bench = Bench::online(Config::default());
            bench.ask("AT+QSSLCFG=\"dtls\",1,1");
            bench.open(0, 0);
            bench.send(0, b"an answer that nobody reads");
            assert_eq!(bench.ask(close), "\r\nOK\r\n");
            assert_eq!(bench.network.records()[0].closed, Some(how));
        }
    }

    #[test]
    fn datagrams_leave_by_the_urc_port_beside_streams() {
        let ports = vec![PortName::UsbModem, PortName::UsbAt];
        let mut bench = udp(DatagramBehaviour::echo(), 1, Config { ports, ..Config::default() });
        bench.open(2, 1);
        send(&mut bench, "", b"ping");
        assert_eq!(bench.send(2, b"pong"), "\r\nSEND OK\r\n");
        assert_eq!(bench.heard_on(1), "\r\n+QIURC: \"recv\",2,4\r\nping\r\n+QSSLURC: \"recv\",2,4\r\npong");
    }
}
