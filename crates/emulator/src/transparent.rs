//! Data mode: the port is the stream of one connection, until `+++`, DTR or the connection ends it.
//!
//! `+++` is an escape if silence of at least the guard time surrounds it and its three characters arrive within
//! that time (EC20 manual 1.3). What may be an escape is held back; an escape never reaches the server.

use std::time::Instant;

use crate::at_port::{Carrier, Escape, Mode, Reach};
use crate::config::{Family, PortName};
use crate::modem::Modem;
use crate::network::{Close, ConnectionId, Network};
use crate::socket::{AccessMode, End, SocketState};

impl Modem {
    /// Whether a port can be a stream: the EC20's USB AT port cannot.
    pub(crate) fn can_be_transparent(&self, port: usize) -> bool {
        self.config.family != Family::Ec20 || self.ports[port].name != PortName::UsbAt
    }

    /// Sends CONNECT; from now on the port is the stream of this connection.
    pub(crate) fn enter_data_mode(&mut self, port: usize, connection: ConnectionId) {
        if let Some(socket) = self.socket_of_mut(connection) {
            socket.switch(AccessMode::Transparent, false);
            socket.port = port;
        }
        let state = &mut self.ports[port];
        state.connect();
        state.mode = Mode::Data { connection, escape: Escape::None };
        state.carrier = Carrier::Up(connection);
    }

    /// Bytes from the host in data mode: payload, or a part of an escape.
    pub(crate) fn data_from_host(&mut self, port: usize, bytes: &[u8], now: Instant) {
        let guard = self.config.escape_guard;
        let state = &mut self.ports[port];
        let quiet = state.last_byte_at.is_none_or(|last| now.saturating_duration_since(last) >= guard);
        let Mode::Data { connection, escape } = &mut state.mode else { return };
        let (held, first_at) = match *escape {
            Escape::None => (0, now),
            Escape::Begun { count, first_at } => (count, first_at),
            Escape::Complete { .. } => (3, now),
        };
        let connection = *connection;
        let may_go_on = held > 0 || quiet;
        let pluses = bytes.iter().all(|byte| *byte == b'+');
        match usize::from(held) + bytes.len() {
            count @ 1..=2 if may_go_on && pluses => {
                *escape = Escape::Begun { count: count as u8, first_at };
            }
            3 if may_go_on && pluses && held < 3 => *escape = Escape::Complete { last_at: now },
            _ => {
                *escape = Escape::None;
                self.payload_from_host(connection, &b"+++"[..usize::from(held)]);
                self.payload_from_host(connection, bytes);
            }
        }
    }

    /// Takes payload into the socket's buffer; what finds no room is lost.
    fn payload_from_host(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let Some(socket) = self.socket_of(connection) else { return };
        let slack = match self.ports[socket.port].reach {
            Reach::Channel { .. } => CHANNEL_SLACK_BYTES,
            Reach::Line | Reach::Mux(_) => 0,
        };
        let limit = self.config.send_buffer_bytes + slack;
        let Some(socket) = self.socket_of_mut(connection) else { return };
        if socket.state != SocketState::Connected {
            return;
        }
        let count = bytes.len().min(limit.saturating_sub(socket.send_buffer_used()));
        socket.queue(&bytes[..count], None);
        self.counters.bytes_lost_without_flow_control += (bytes.len() - count) as u64;
    }

    /// What may have been an escape is payload.
    pub(crate) fn escape_was_payload(&mut self, port: usize) {
        let Mode::Data { connection, escape } = &mut self.ports[port].mode else { return };
        let held = match std::mem::replace(escape, Escape::None) {
            Escape::None => 0,
            Escape::Begun { count, .. } => usize::from(count),
            Escape::Complete { .. } => 3,
        };
        let connection = *connection;
        self.payload_from_host(connection, &b"+++"[..held]);
    }

    /// Silence has completed an escape.
    pub(crate) fn escaped(&mut self, port: usize) {
        if self.faults.missed_escapes > 0 {
            self.faults.missed_escapes -= 1;
            if self.config.quirks.missed_escape_is_payload {
                self.escape_was_payload(port);
            } else if let Mode::Data { escape, .. } = &mut self.ports[port].mode {
                *escape = Escape::None;
            }
            return;
        }
        self.leave_data_mode(port);
    }

    /// Back to commands with OK; the connection stays, in buffer mode.
    fn leave_data_mode(&mut self, port: usize) {
        let Mode::Data { connection, .. } = self.ports[port].mode else { return };
        self.ports[port].mode = Mode::Command;
        self.session.last_transparent = Some(connection);
        if let Some(socket) = self.socket_of_mut(connection) {
            socket.switch(AccessMode::Buffer, false);
        }
        self.ports[port].ok();
    }

    /// The host has dropped DTR: AT&D0 ignores it, AT&D1 returns to commands, AT&D2 hangs up.
    pub(crate) fn dtr_dropped(&mut self, port: usize, now: Instant, network: &mut dyn Network) {
        let Mode::Data { connection, .. } = self.ports[port].mode else { return };
        match self.ports[port].settings.dtr {
            1 => {
                self.escape_was_payload(port);
                self.leave_data_mode(port);
            }
            2 => self.hang_up(port, connection, now, network),
            _ => {}
        }
    }

    /// Ends the connection whose stream a port is.
    pub(crate) fn hang_up(
        &mut self,
        port: usize,
        connection: ConnectionId,
        now: Instant,
        network: &mut dyn Network,
    ) {
        if let Some(socket) = self.socket_of_mut(connection) {
            socket.linked = false;
            network.close(connection, Close::Orderly, now);
        }
        self.connection_ended(connection, End::Cut);
        if let Some(socket) = self.socket_of_mut(connection) {
            socket.incoming.clear();
            socket.state = SocketState::Ended { how: End::Cut, told: true };
        }
        self.leave_with_no_carrier(port);
    }
}

/// What the send buffer of a channel's stream takes beyond its limit: what is under way when the module sets FC.
const CHANNEL_SLACK_BYTES: usize = 16_384;

#[cfg(test)]
mod tests {
    use crate::network::simulated::{Behaviour, Ending, Plan, Reads, pattern};
    use crate::testing::{Bench, milliseconds, seconds};
    use crate::{Config, Family, PortName, Quirks};

    /// A transparent connection whose server sends nothing by itself.
    fn streaming(config: Config) -> Bench {
        let mut bench = Bench::with(config, Plan::new(Behaviour::sink())).get_online();
        bench.open(0, 2);
        bench
    }

    fn received(bench: &Bench) -> &[u8] {
        &bench.network.records()[0].received
    }

    /// Types parts with a pause before each. Returns whether the modem left data mode.
    fn escapes(parts: &[(u64, &[u8])], after: u64) -> (bool, Vec<u8>) {
        let mut bench = streaming(Config::default());
        for (pause, part) in parts {
            bench.pass(milliseconds(*pause));
            bench.type_bytes(part);
        }
        bench.pass(milliseconds(after));
        let left = bench.output() == "\r\nOK\r\n";
        (left, received(&bench).to_vec())
    }

    #[test]
    fn bytes_pass_both_ways_as_they_are() {
        let mut bench = streaming(Config::default());
        bench.type_bytes(b"AT\r\nOK\r\n\x1A\x1B\x00");
        assert_eq!(received(&bench), b"AT\r\nOK\r\n\x1A\x1B\x00");
        bench.say(0, b"\r\nNO CARRIER\r\n+QSSLURC: \"recv\",1,5\r\n");
        assert_eq!(bench.output(), "\r\nNO CARRIER\r\n+QSSLURC: \"recv\",1,5\r\n");
    }

    #[test]
    fn three_pluses_between_two_silences_of_a_second_leave_data_mode() {
        assert_eq!(escapes(&[(1_000, b"+++")], 1_000), (true, vec![]));
        assert_eq!(escapes(&[(1_000, b"+"), (500, b"+"), (499, b"+")], 1_000), (true, vec![]));
        assert_eq!(escapes(&[(0, b"data"), (1_000, b"++"), (100, b"+")], 1_000), (true, b"data".to_vec()));
        assert_eq!(escapes(&[(1_000, b"+"), (1_500, b"+++")], 1_000), (true, b"+".to_vec()));
    }

    #[test]
    fn anything_else_is_payload() {
        for (parts, after, payload) in [
            (&[(999, &b"+++"[..])][..], 1_000, &b"+++"[..]),
            (&[(0, b"x"), (999, b"+++")], 5_000, b"x+++"),
            (&[(1_000, b"+++"), (999, b"x")], 5_000, b"+++x"),
            (&[(1_000, b"++++")], 5_000, b"++++"),
            (&[(1_000, b"+++"), (10, b"+")], 5_000, b"++++"),
            (&[(1_000, b"++")], 5_000, b"++"),
            (&[(1_000, b"+"), (600, b"+"), (600, b"+")], 5_000, b"+++"),
            (&[(1_000, b"x+++")], 5_000, b"x+++"),
            (&[(1_000, b"++"), (10, b"x")], 5_000, b"++x"),
            (&[(1_000, b"++"), (10, b"+x")], 5_000, b"+++x"),
        ] {
            assert_eq!(escapes(parts, after), (false, payload.to_vec()), "{parts:?}");
        }
    }

    #[test]
    fn the_silence_behind_the_pluses_is_a_whole_second() {
        assert_eq!(escapes(&[(1_000, b"+++")], 999), (false, vec![]));
    }

    #[test]
    fn what_arrives_during_an_escape_is_delivered_before_its_ok() {
        let mut bench = streaming(Config::default());
        bench.pass(seconds(1));
        bench.type_bytes(b"+++");
        bench.pass(milliseconds(500));
        bench.say(0, b"late");
        bench.pass(milliseconds(500));
        assert_eq!(bench.output(), "late\r\nOK\r\n");
    }

    #[test]
    fn after_an_escape_the_socket_is_in_buffer_mode_and_both_ways_lead_back() {
        let mut bench = streaming(Config::default());
        bench.pass(seconds(1));
        bench.type_bytes(b"+++");
        bench.pass(seconds(1));
        assert_eq!(bench.output(), "\r\nOK\r\n");
        assert!(bench.ask("AT+QSSLSTATE=0").contains(",2,1,0,0,\"uart1\",1\r\n"));
        assert_eq!(bench.send(0, b"one"), "\r\nSEND OK\r\n");
        bench.say(0, b"unread");
        assert_eq!(bench.output(), "\r\n+QSSLURC: \"recv\",0\r\n");
        assert_eq!(bench.ask("ATO"), "\r\nCONNECT\r\nunread");
        bench.type_bytes(b"two");
        bench.pass(seconds(1));
        bench.type_bytes(b"+++");
        bench.pass(seconds(1));
        assert_eq!(bench.output(), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+QISWTMD=0,2"), "\r\nCONNECT\r\n");
        bench.type_bytes(b"three");
        assert_eq!(received(&bench), b"onetwothree");
    }

    #[test]
    fn without_a_connection_to_return_to_there_is_no_carrier() {
        let mut bench = Bench::online(Config::default());
        assert_eq!(bench.ask("ATO"), "\r\nNO CARRIER\r\n");
        bench.open(0, 0);
        assert_eq!(bench.ask("ATO"), "\r\nNO CARRIER\r\n");
    }

    #[test]
    fn a_missed_escape_leaves_the_port_in_data_mode() {
        for (is_payload, payload) in [(false, &b""[..]), (true, b"+++")] {
            let quirks = Quirks { missed_escape_is_payload: is_payload, ..Quirks::strict() };
            let mut bench = streaming(Config { quirks, ..Config::default() });
            bench.modem.miss_next_escapes(1);
            for output in ["", "\r\nOK\r\n"] {
                bench.pass(seconds(1));
                bench.type_bytes(b"+++");
                bench.pass(seconds(1));
                assert_eq!(bench.output(), output);
            }
            assert_eq!(received(&bench), payload);
        }
    }

    #[test]
    fn dropping_dtr_does_what_at_d_says() {
        for (setting, output, state) in [
            ("AT&D0", "", ",2,1,0,2,\"uart1\",1\r\n"),
            ("AT&D1", "\r\nOK\r\n", ",2,1,0,0,\"uart1\",1\r\n"),
            ("AT&D2", "\r\nNO CARRIER\r\n", ",4,1,0,2,\"uart1\",1\r\n"),
        ] {
            let ports = vec![PortName::Uart1, PortName::Uart2];
            let mut bench = Bench::online(Config { ports, ..Config::default() });
            bench.ask(setting);
            bench.open(0, 2);
            bench.type_bytes(b"abc");
            bench.output();
            bench.lines(0, false, true);
            assert_eq!(bench.output(), output, "{setting}");
            bench.lines(0, true, true);
            assert_eq!(bench.output(), "", "{setting}");
            assert!(bench.ask_on(1, "AT+QSSLSTATE=0").contains(state), "{setting}");
            assert_eq!(bench.network.records()[0].received, b"abc", "{setting}");
        }
    }

    #[test]
    fn the_end_of_the_connection_is_no_carrier_behind_its_last_byte() {
        let mut bench = Bench::with(Config::default(), Plan::new(Behaviour::source(5_000, 9))).get_online();
        bench.type_bytes(b"AT+QSSLOPEN=1,1,0,\"a.example\",443,2\r");
        let mut expected = b"\r\nCONNECT\r\n".to_vec();
        expected.extend(pattern(9, 0, 5_000));
        expected.extend(b"\r\nNO CARRIER\r\n");
        assert_eq!(bench.output_bytes(0), expected);
        assert!(bench.ask("AT+QSSLSTATE=0").contains(",4,1,0,2,\"uart1\",1\r\n"));
        assert_eq!(bench.ask("AT+QSSLCLOSE=0,0"), "\r\nOK\r\n");
    }

    #[test]
    fn dcd_falls_when_the_last_byte_has_left_and_not_before() {
        let mut bench = streaming(Config::default());
        assert!(bench.modem.modem_lines(0).dcd);
        bench.host_reads(0, false);
        bench.say(0, b"last");
        bench.network.end(0, Ending::Cut, bench.now);
        bench.look();
        assert_eq!(bench.modem.output(0), b"last\r\nNO CARRIER\r\n");
        bench.modem.written(0, 3, bench.now);
        assert!(bench.modem.modem_lines(0).dcd);
        bench.modem.written(0, 1, bench.now);
        assert!(!bench.modem.modem_lines(0).dcd);
    }

    #[test]
    fn dcd_is_always_up_under_at_c0_and_stays_up_while_a_connection_is_kept() {
        let mut bench = streaming(Config::default());
        bench.pass(seconds(1));
        bench.type_bytes(b"+++");
        bench.pass(seconds(1));
        assert!(bench.modem.modem_lines(0).dcd);
        bench.ask("AT+QSSLCLOSE=0");
        assert!(!bench.modem.modem_lines(0).dcd);
        bench.ask("AT&C0");
        assert!(bench.modem.modem_lines(0).dcd);
    }

    #[test]
    fn the_ec20s_usb_at_port_has_no_transparent_mode() {
        let ports = vec![PortName::UsbAt, PortName::UsbModem];
        let mut bench = Bench::online(Config { family: Family::Ec20, ports, ..Config::default() });
        assert_eq!(bench.ask("AT+QSSLOPEN=1,1,0,\"a.example\",443,2"), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT+QIGETERROR"), "\r\n+QIGETERROR: 572,operation not allowed\r\n\r\nOK\r\n");
        bench.open(0, 0);
        assert_eq!(bench.ask("AT+QISWTMD=0,2"), "\r\nERROR\r\n");
        assert_eq!(bench.ask_on(1, "AT+QISWTMD=0,2"), "\r\nCONNECT\r\n");
    }

    #[test]
    fn a_full_send_buffer_lowers_cts_and_raises_it_again() {
        let every = milliseconds(10);
        let slow = Behaviour { reads: Reads::Drip { bytes: 500, every }, ..Behaviour::sink() };
        let plan = Plan::new(slow).window(1_000);
        let config = Config { send_buffer_bytes: 2_000, ..Config::default() };
        let mut bench = Bench::with(config, plan).get_online();
        bench.ask("AT+IFC=2,2");
        bench.open(0, 2);
        let all = pattern(2, 0, 30_000);
        let mut rest = &all[..];
        let mut stops = 0;
        while !rest.is_empty() {
            let count = bench.modem.wants_bytes(0).min(rest.len());
            bench.type_bytes(&rest[..count]);
            stops += usize::from(!bench.modem.modem_lines(0).cts);
            rest = &rest[count..];
            bench.pass(every);
        }
        bench.pass(seconds(9));
        assert!(stops > 0);
        assert_eq!(received(&bench), all);
        assert_eq!(bench.modem.counters().bytes_lost_without_flow_control, 0);
    }

    #[test]
    fn without_flow_control_what_finds_no_room_is_lost_and_counted() {
        let plan = Plan::new(Behaviour::deaf()).window(1_000);
        let config = Config { send_buffer_bytes: 2_000, ..Config::default() };
        let mut bench = Bench::with(config, plan).get_online();
        bench.open(0, 2);
        bench.type_bytes(&[b'x'; 2_000]);
        bench.type_bytes(&[b'x'; 1_500]);
        assert_eq!(bench.modem.counters().bytes_lost_without_flow_control, 500);
    }

    #[test]
    fn a_host_that_does_not_read_stops_the_server_and_gets_every_byte_later() {
        let plan = Plan::new(Behaviour::source(200_000, 4)).window(8_000);
        let mut bench = Bench::with(Config::default(), plan).get_online();
        bench.host_reads(0, false);
        bench.type_bytes(b"AT+QSSLOPEN=1,1,0,\"a.example\",443,2\r");
        bench.pass(seconds(60));
        assert!(bench.modem.output(0).len() <= 2_048);
        assert!(bench.network.records()[0].said_bytes < 30_000);
        bench.host_reads(0, true);
        bench.look();
        let output = bench.output_bytes(0);
        assert_eq!(output[11..200_011], pattern(4, 0, 200_000));
    }

    #[test]
    fn a_reboot_speaks_into_the_stream() {
        let mut bench = streaming(Config::default());
        bench.modem.reboot(bench.now);
        bench.pass(seconds(4));
        assert!(bench.output().starts_with("\r\nRDY\r\n"));
        assert!(!bench.modem.modem_lines(0).dcd);
        assert_eq!(bench.network.open_connections(), 0);
    }

    #[test]
    fn a_close_from_another_port_ends_the_stream() {
        let ports = vec![PortName::Uart1, PortName::Uart2];
        let mut bench = Bench::online(Config { ports, ..Config::default() });
        bench.open(0, 2);
        assert_eq!(bench.ask_on(1, "AT+QISWTMD=0,0"), "\r\nERROR\r\n");
        assert_eq!(bench.ask_on(1, "AT+QSSLSEND=0,5"), "\r\nERROR\r\n");
        assert_eq!(bench.ask_on(1, "AT+QSSLCLOSE=0"), "\r\nOK\r\n");
        assert_eq!(bench.output(), "\r\nNO CARRIER\r\n");
    }

    #[test]
    fn a_transparent_open_blocks_its_port_and_fails_with_error() {
        use crate::network::OpenFailure;
        use crate::network::simulated::Opening;
        let plan = Plan::new(Behaviour::sink()).opening(Opening::Fails(seconds(3), OpenFailure::Refused));
        let mut bench = Bench::with(Config::default(), plan).get_online();
        assert_eq!(bench.ask("AT+QSSLOPEN=1,1,0,\"a.example\",443,2"), "");
        assert_eq!(bench.ask("AT"), "");
        bench.pass(seconds(3));
        assert_eq!(bench.output(), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT+QIGETERROR"), "\r\n+QIGETERROR: 566,Socket connection failed\r\n\r\nOK\r\n");
        assert!(bench.modem.sockets_in_use().is_empty());
    }
}
