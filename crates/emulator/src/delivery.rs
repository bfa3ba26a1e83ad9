//! URCs and received data: the port they leave by, and when they may.
//!
//! In a strict modem a URC is never inside an answer, between a command and its result, or inside an
//! echo; it waits for a seam, a point outside of these. Pushed data obeys the same rule and leaves in whole
//! messages.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::at_port::{Carrier, Mode};
use crate::buffer::Piece;
use crate::config::PortName;
use crate::modem::Modem;
use crate::network::ConnectionId;
use crate::session::UrcPort;
use crate::socket::{AccessMode, End, SocketState};

impl Modem {
    /// Sends a URC by the URC port.
    pub(crate) fn urc(&mut self, text: &str) {
        self.urc_framed(format!("\r\n{text}\r\n").as_bytes());
    }

    /// The same with bytes that have their frame.
    pub(crate) fn urc_framed(&mut self, framed: &[u8]) {
        let targets = self.urc_targets();
        self.urc_to(&targets, framed);
    }

    /// Sends a URC about a socket that was opened on `opener`.
    pub(crate) fn socket_urc(&mut self, opener: usize, text: &str) {
        let targets = self.socket_urc_targets(opener);
        self.urc_to(&targets, format!("\r\n{text}\r\n").as_bytes());
    }

    fn urc_to(&mut self, targets: &[usize], framed: &[u8]) {
        if targets.is_empty() {
            self.counters.urcs_lost += 1;
        }
        for port in targets {
            self.queue_urc(*port, framed);
        }
    }

    /// The result of an open, by the port of its command or by the URC port.
    pub(crate) fn open_result_urc(&mut self, port: usize, text: &str) {
        let head = if self.config.quirks.open_result_without_empty_line { "" } else { "\r\n" };
        let framed = format!("{head}{text}\r\n");
        let targets = match self.config.quirks.open_result_on_urc_port {
            true => self.socket_urc_targets(port),
            false => self.conversations(port),
        };
        for port in targets {
            self.queue_urc(port, framed.as_bytes());
        }
    }

    /// Sends something by one port, as soon as it may be sent.
    pub(crate) fn urc_by(&mut self, port: usize, text: &str) {
        let targets = self.conversations(port);
        self.urc_to(&targets, format!("\r\n{text}\r\n").as_bytes());
    }

    fn queue_urc(&mut self, port: usize, framed: &[u8]) {
        let urcs = &mut self.ports[port].urcs;
        if urcs.len() < URCS_LIMIT {
            let cut = std::mem::take(&mut self.faults.urc_head_lost).min(framed.len());
            urcs.push_back(framed[cut..].to_vec());
        } else if !urcs.iter().any(|waiting| waiting == framed) {
            // A copy of one that waits would report nothing more.
            self.counters.urcs_lost += 1;
        }
    }

    /// The ports that URCs leave by; none if there is no port of that name.
    fn urc_targets(&self) -> Vec<usize> {
        let lines = match self.session.urc_port {
            _ if self.config.quirks.urcs_by_every_port => 0..self.config.ports.len(),
            UrcPort::All => 0..self.config.ports.len(),
            UrcPort::One(name) => self.first_port_named(name).map_or(0..0, |port| port..port + 1),
        };
        lines.flat_map(|line| self.conversations(line)).collect()
    }

    /// The ports by which URCs and data leave for a socket that was opened on `opener`.
    fn socket_urc_targets(&self, opener: usize) -> Vec<usize> {
        match self.config.quirks.urcs_by_opener {
            true => self.conversations(opener),
            false => self.urc_targets(),
        }
    }

    fn first_port_named(&self, name: PortName) -> Option<usize> {
        self.ports.iter().position(|port| port.name == name)
    }

    /// Whether a URC may come at this point of the port's output.
    fn seam_open(&self, port: usize) -> bool {
        let state = &self.ports[port];
        let quirks = &self.config.quirks;
        match state.mode {
            _ if !self.has_conversation(port) => false,
            Mode::Command => state.line.is_empty() || !state.settings.echo || quirks.urc_before_echo,
            Mode::Executing { .. } | Mode::Waiting(_) => quirks.urc_before_answer,
            // What is being echoed is not interrupted.
            Mode::Payload(ref payload) if self.is_echoed(port, payload) => false,
            Mode::Payload(_) | Mode::Sending { .. } => quirks.urc_before_send_result,
            Mode::Upload(_) | Mode::Data { .. } => false,
        }
    }

    fn has_room(&self, port: usize) -> bool {
        self.ports[port].output.len() < self.config.port_buffer_bytes
    }

    /// Puts all waiting URCs into the output.
    pub(crate) fn emit_urcs(&mut self, port: usize) -> bool {
        let any = !self.ports[port].urcs.is_empty();
        while let Some(urc) = self.ports[port].urcs.pop_front() {
            if !self.ports[port].emit(&urc) {
                self.counters.urcs_lost += 1;
            }
            self.ring(port, &urc);
        }
        any
    }

    /// Moves URCs and received data to the ports as far as they may go; true if anything went.
    pub(crate) fn deliver(&mut self) -> bool {
        let mut moved = self.tell_ends();
        for port in 0..self.ports.len() {
            if self.seam_open(port) && self.has_room(port) {
                moved |= self.emit_urcs(port);
            }
            if let Mode::Data { connection, .. } = self.ports[port].mode {
                moved |= self.stream(port, connection);
            }
        }
        moved |= self.push();
        moved
    }

    /// Reports ended connections, in push mode once all they received has left. A transparent one is reported
    /// by its own port.
    fn tell_ends(&mut self) -> bool {
        let mut texts = Vec::new();
        for socket in &mut self.session.sockets {
            let SocketState::Ended { told, .. } = &mut socket.state else { continue };
            let ready = match socket.access {
                AccessMode::Buffer => true,
                AccessMode::Push => socket.incoming.is_empty(),
                AccessMode::Transparent => false,
            };
            if ready && !*told {
                *told = true;
                texts
                    .push((socket.port, format!("{}: \"closed\",{}", socket.service.names().urc, socket.id)));
            }
        }
        for (opener, text) in &texts {
            self.socket_urc(*opener, text);
        }
        !texts.is_empty()
    }

    /// Fills the output of a port in data mode; after the last byte of an ended connection comes NO CARRIER.
    fn stream(&mut self, port: usize, connection: ConnectionId) -> bool {
        let room = self.config.port_buffer_bytes.saturating_sub(self.ports[port].output.len());
        let Some(socket) = self.socket_of_mut(connection) else { return false };
        let bytes = socket.incoming.take_message(room).bytes;
        if let SocketState::Ended { told, .. } = &mut socket.state
            && socket.incoming.is_empty()
        {
            *told = true;
            self.ports[port].emit(&bytes);
            self.leave_with_no_carrier(port);
            return true;
        }
        self.ports[port].emit(&bytes);
        !bytes.is_empty()
    }

    /// The stream of a port is over: DCD falls after its last byte, and NO CARRIER follows.
    pub(crate) fn leave_with_no_carrier(&mut self, port: usize) {
        let state = &mut self.ports[port];
        state.mode = Mode::Command;
        state.carrier_falls_behind_output();
        let quirks = &self.config.quirks;
        let is_told_there = quirks.mux_end_told_on_first || quirks.mux_end_told_on_first_only;
        match self.first_channel_beside(port).filter(|_| is_told_there) {
            Some(first) => {
                if !self.config.quirks.mux_end_told_on_first_only {
                    self.ports[port].no_carrier();
                }
                self.queue_urc(first, b"\r\nNO CARRIER\r\n");
            }
            None => self.ports[port].no_carrier(),
        }
    }

    /// The ports that get the pushed data of a socket that was opened on `opener`; `None` if they cannot take it now.
    fn push_targets(&self, opener: usize) -> Option<Vec<usize>> {
        let free =
            |port: &usize| self.seam_open(*port) && self.has_room(*port) && self.ports[*port].urcs.is_empty();
        let targets = self.socket_urc_targets(opener);
        // Each of several ports gets everything, except one that is a stream.
        let commanded: Vec<usize> =
            targets.iter().copied().filter(|port| !self.ports[*port].in_data_mode()).collect();
        let is_held = commanded.is_empty() && !targets.is_empty();
        (!is_held && commanded.iter().all(free)).then_some(commanded)
    }

    /// Pushes received data, sockets taking turns, while the URC port takes it.
    fn push(&mut self) -> bool {
        let mut moved = false;
        loop {
            let waiting = self.session.sockets.iter().filter(|socket| socket.has_something_to_push());
            let openers: Vec<usize> = waiting.map(|socket| socket.port).collect();
            let free: Vec<usize> =
                openers.into_iter().filter(|opener| self.push_targets(*opener).is_some()).collect();
            let Some((opener, message, payload_bytes)) = self.next_pushed_message(&free) else {
                return moved;
            };
            let commanded = self.push_targets(opener).unwrap_or_default();
            moved = true;
            if commanded.is_empty() {
                self.counters.pushed_bytes_lost += payload_bytes as u64;
            }
            for port in commanded {
                self.ports[port].emit(&message);
                self.ring(port, &message);
            }
        }
    }

    /// The next message of a socket that was opened on one of `openers`: that port, the message, its payload in bytes.
    fn next_pushed_message(&mut self, openers: &[usize]) -> Option<(usize, Vec<u8>, usize)> {
        let limit = self.config.push_limit_bytes;
        let format = self.session.data_format;
        let last = self.session.pushed_last;
        let sockets = &mut self.session.sockets;
        // The socket after the last one, in the order of connection numbers, which never repeat.
        let ready = sockets.iter().filter(|socket| socket.has_something_to_push());
        let next = ready
            .filter(|socket| openers.contains(&socket.port))
            .map(|socket| socket.connection)
            .min_by_key(|connection| (last.is_some_and(|last| *connection <= last), *connection))?;
        self.session.pushed_last = Some(next);
        let socket = sockets.iter_mut().find(|socket| socket.connection == next)?;
        let Piece { mut bytes, peer } = socket.incoming.take_message(limit);
        while self.config.quirks.pushed_datagrams_joined && socket.incoming.datagrams() > 0 {
            bytes.extend(socket.incoming.take_message(limit).bytes);
        }
        let mut message = Vec::with_capacity(bytes.len() + 32);
        let separator = if format.one_line { "," } else { "\r\n" };
        let (name, id, peer) = (socket.service.names().urc, socket.id, peer_text(peer));
        message.extend(format!("\r\n{name}: \"recv\",{id},{}{peer}{separator}", bytes.len()).as_bytes());
        message.extend(payload_text(&bytes, format.hex_to_host));
        if format.one_line || self.config.quirks.push_ends_with_line_end {
            message.extend(b"\r\n");
        }
        Some((socket.port, message, bytes.len()))
    }

    /// A connection has ended.
    pub(crate) fn connection_ended(&mut self, connection: ConnectionId, how: End) {
        let Some(socket) = self.socket_of_mut(connection) else { return };
        socket.state = SocketState::Ended { how, told: false };
        socket.held = false;
        if how == End::Cut {
            socket.outgoing.clear();
        }
        for port in &mut self.ports {
            port.carrier_lost(connection);
        }
    }

    /// No port is the stream of this connection any more, or waits for it.
    pub(crate) fn detach_ports(&mut self, connection: ConnectionId) {
        for port in 0..self.ports.len() {
            if self.ports[port].connection() == Some(connection) {
                if self.ports[port].in_data_mode() {
                    self.leave_with_no_carrier(port);
                } else {
                    self.ports[port].mode = Mode::Command;
                    self.ports[port].error();
                }
            } else if self.ports[port].carrier == Carrier::Up(connection) {
                self.ports[port].carrier = Carrier::Down;
            }
        }
    }
}

impl crate::socket::Socket {
    fn has_something_to_push(&self) -> bool {
        let alive = matches!(self.state, SocketState::Connected | SocketState::Ended { .. });
        alive && self.access == AccessMode::Push && !self.held && !self.incoming.is_empty()
    }
}

/// The sender of a datagram where a header names it: `,"<address>",<port>`.
pub(crate) fn peer_text(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(String::new, |peer| format!(",\"{}\",{}", peer.ip(), peer.port()))
}

/// Payload as the host wants it: as it is, or as hexadecimal digits.
pub(crate) fn payload_text(bytes: &[u8], hex: bool) -> Vec<u8> {
    if !hex {
        return bytes.to_vec();
    }
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02X}").expect("a string takes all that is written to it");
    }
    text.into_bytes()
}

/// Most URCs that wait on one port; further ones are lost.
const URCS_LIMIT: usize = 256;

#[cfg(test)]
mod tests {
    use crate::network::simulated::{Behaviour, Plan, pattern};
    use crate::testing::{Bench, milliseconds, seconds};
    use crate::{Config, PortName, Quirks};

    fn facing_speakers(config: Config) -> Bench {
        Bench::with(config, Plan::new(Behaviour::sink())).get_online()
    }

    fn three_ports() -> Vec<PortName> {
        vec![PortName::Uart1, PortName::UsbAt, PortName::UsbModem]
    }

    #[test]
    fn a_direct_push_from_the_field_byte_by_byte() {
        let mut bench = Bench::online(Config::default());
        bench.open(4, 1);
        assert_eq!(
            bench.send(4, b"NuModem-P5-PUSH\n"),
            "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",4,16\r\nNuModem-P5-PUSH\n"
        );
    }

    #[test]
    fn urcs_leave_by_the_usb_at_port_until_told_otherwise() {
        let mut bench = facing_speakers(Config { ports: three_ports(), ..Config::default() });
        bench.open(0, 0);
        bench.say(0, b"x");
        assert_eq!(bench.heard_on(1), "\r\n+QSSLURC: \"recv\",0\r\n");
        assert_eq!(bench.ask("AT+QURCCFG=\"urcport\""), "\r\n+QURCCFG: \"urcport\",\"usbat\"\r\n\r\nOK\r\n");
        bench.ask("AT+QURCCFG=\"urcport\",\"usbmodem\";+QISWTMD=0,1");
        bench.say(0, b"y");
        assert_eq!(bench.heard_on(2), "\r\n+QSSLURC: \"recv\",0,1\r\nx\r\n+QSSLURC: \"recv\",0,1\r\ny");
        assert_eq!((bench.heard_on(0), bench.heard_on(1)), (String::new(), String::new()));
    }

    #[test]
    fn urcs_for_a_port_that_is_not_there_are_never_seen() {
        let mut bench = facing_speakers(Config::default());
        assert_eq!(bench.ask("AT+QURCCFG=\"urcport\",\"usbat\""), "\r\nOK\r\n");
        bench.open(0, 1);
        bench.say(0, b"lost");
        bench.modem.close_socket(0, bench.now);
        bench.look();
        assert_eq!(bench.output(), "");
        let counters = bench.modem.counters();
        assert_eq!((counters.urcs_lost, counters.pushed_bytes_lost), (1, 4));
    }

    #[test]
    fn all_ports_get_urcs_when_all_are_named() {
        let mut bench = facing_speakers(Config { ports: three_ports(), ..Config::default() });
        bench.ask("AT+QURCCFG=\"urcport\",\"all\"");
        bench.open(0, 1);
        bench.say(0, b"x");
        for port in 0..3 {
            assert_eq!(bench.heard_on(port), "\r\n+QSSLURC: \"recv\",0,1\r\nx");
        }
    }

    #[test]
    fn quirks_choose_other_ports_than_the_setting() {
        for (quirk, told, output) in
            [("urcs_by_opener", "all", [true, false]), ("urcs_by_every_port", "usbat", [true; 2])]
        {
            let mut config = Config { ports: vec![PortName::Uart1, PortName::UsbAt], ..Config::default() };
            config.quirks.set(quirk, true);
            let mut bench = facing_speakers(config);
            bench.ask(&format!("AT+QURCCFG=\"urcport\",\"{told}\""));
            bench.open(0, 1);
            bench.say(0, b"x");
            for (port, hears) in output.into_iter().enumerate() {
                let expected = if hears { "\r\n+QSSLURC: \"recv\",0,1\r\nx" } else { "" };
                assert_eq!(bench.heard_on(port), expected, "{quirk}, port {port}");
            }
        }
    }

    #[test]
    fn urcs_wait_for_the_end_of_a_command_and_of_a_payload() {
        let latency = milliseconds(10);
        let config = Config { command_latency: latency, send_latency: latency, ..Config::default() };
        let mut bench = Bench::with(config, Plan::new(Behaviour::sink()));
        for command in ["ATE0\r", "AT+QIACT=1\r", "AT+QSSLOPEN=1,1,0,\"a.example\",443,1\r"] {
            bench.type_bytes(command.as_bytes());
            bench.pass(latency);
        }
        bench.output();
        bench.type_bytes(b"AT+CSQ\r");
        bench.say(0, b"one");
        assert_eq!(bench.output(), "");
        bench.pass(milliseconds(10));
        assert_eq!(bench.output(), "\r\n+CSQ: 28,99\r\n\r\nOK\r\n\r\n+QSSLURC: \"recv\",0,3\r\none");
        bench.type_bytes(b"AT+QSSLSEND=0,4\r");
        assert_eq!(bench.output(), "\r\n> ");
        bench.type_bytes(b"ab");
        bench.say(0, b"two");
        bench.type_bytes(b"cd");
        assert_eq!(bench.output(), "");
        bench.pass(milliseconds(10));
        assert_eq!(bench.output(), "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0,3\r\ntwo");
    }

    #[test]
    fn quirks_open_the_other_seams() {
        let quirks = Quirks {
            urc_before_echo: true,
            urc_before_answer: true,
            urc_before_send_result: true,
            ..Quirks::strict()
        };
        let config = Config { quirks, command_latency: milliseconds(10), ..Config::default() };
        let mut bench = Bench::with(config, Plan::new(Behaviour::sink()));
        for command in ["AT+QIACT=1\r", "AT+QSSLOPEN=1,1,0,\"a.example\",443,1\r"] {
            bench.type_bytes(command.as_bytes());
            bench.pass(milliseconds(10));
        }
        bench.output();
        bench.type_bytes(b"AT+C");
        bench.say(0, b"one");
        bench.type_bytes(b"SQ\r");
        bench.say(0, b"two");
        bench.pass(milliseconds(10));
        assert_eq!(
            bench.output(),
            "\r\n+QSSLURC: \"recv\",0,3\r\noneAT+CSQ\r\r\n+QSSLURC: \"recv\",0,3\r\ntwo\
             \r\n+CSQ: 28,99\r\n\r\nOK\r\n"
        );
        bench.type_bytes(b"AT+QSSLSEND=0,4\r");
        bench.type_bytes(b"ab");
        bench.output();
        bench.say(0, b"six");
        bench.type_bytes(b"cd");
        assert_eq!(bench.output(), "\r\n+QSSLURC: \"recv\",0,3\r\nsix\r\nSEND OK\r\n");
    }

    #[test]
    fn a_urc_inside_an_answer_comes_only_by_a_quirk() {
        for (inside, output) in [
            (false, "\r\nQuectel\r\nEC25\r\nRevision: X\r\n\r\nOK\r\n\r\nRING\r\n"),
            (true, "\r\nQuectel\r\n\r\nRING\r\nEC25\r\nRevision: X\r\n\r\nOK\r\n"),
        ] {
            let quirks = Quirks { urc_inside_answer: inside, ..Quirks::strict() };
            let identity = Some("EC25 X".into());
            let latency = milliseconds(10);
            let mut bench =
                Bench::new(Config { quirks, identity, command_latency: latency, ..Config::default() });
            bench.type_bytes(b"ATE0\r");
            bench.pass(latency);
            bench.output();
            bench.type_bytes(b"ATI\r");
            bench.modem.inject_urc("RING", bench.now);
            bench.pass(latency);
            assert_eq!(bench.output(), output);
        }
    }

    #[test]
    fn a_copy_of_a_urc_that_waits_is_none_that_is_lost() {
        let mut bench = Bench::new(Config { command_latency: milliseconds(10), ..Config::default() });
        bench.type_bytes(b"AT\r");
        for _ in 0..=super::URCS_LIMIT {
            bench.modem.urc("+QSSLURC: \"recv\",0");
        }
        assert_eq!(bench.modem.counters().urcs_lost, 0);
        bench.modem.urc("+QSSLURC: \"closed\",0");
        assert_eq!(bench.modem.counters().urcs_lost, 1);
        bench.pass(milliseconds(10));
        assert_eq!(bench.output().matches("recv").count(), super::URCS_LIMIT);
    }

    #[test]
    fn a_urc_can_lose_its_head() {
        let mut bench = facing_speakers(Config::default());
        bench.open(11, 0);
        bench.modem.cut_next_urc(6);
        bench.say(0, b"x");
        assert_eq!(bench.output(), "LURC: \"recv\",11\r\n");
    }

    #[test]
    fn pushed_messages_are_limited_and_sockets_take_turns() {
        let mut bench = facing_speakers(Config { push_limit_bytes: 1_000, ..Config::default() });
        bench.open(0, 1);
        bench.open(1, 1);
        bench.host_reads(0, false);
        bench.say(0, &pattern(0, 0, 6_000));
        bench.say(1, &pattern(1, 0, 6_000));
        bench.host_reads(0, true);
        let mut output = &bench.output_bytes(0)[..];
        let mut order = Vec::new();
        let mut got = [Vec::new(), Vec::new()];
        while !output.is_empty() {
            let id = usize::from(output[19] - b'0');
            assert_eq!(&output[..27], format!("\r\n+QSSLURC: \"recv\",{id},1000\r\n").as_bytes());
            got[id].extend_from_slice(&output[27..1_027]);
            order.push(id);
            output = &output[1_027..];
        }
        assert_eq!(got, [pattern(0, 0, 6_000), pattern(1, 0, 6_000)]);
        // Two of the first fill the port before the second has anything.
        assert_eq!(order, [0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 1]);
    }

    #[test]
    fn a_pushed_message_ends_with_a_line_end_only_by_a_quirk() {
        let quirks = Quirks { push_ends_with_line_end: true, ..Quirks::strict() };
        let mut bench = facing_speakers(Config { quirks, ..Config::default() });
        bench.open(0, 1);
        bench.say(0, b"abc");
        assert_eq!(bench.output(), "\r\n+QSSLURC: \"recv\",0,3\r\nabc\r\n");
    }

    #[test]
    fn a_host_that_does_not_read_stops_the_server_of_a_push_socket() {
        let plan = Plan::new(Behaviour::source(300_000, 8)).window(8_000);
        let mut bench = Bench::with(Config::default(), plan).get_online();
        bench.host_reads(0, false);
        bench.type_bytes(b"AT+QSSLOPEN=1,1,0,\"a.example\",443,1\r");
        bench.pass(seconds(60));
        assert!(bench.modem.output(0).len() < 2_048 + 1_500);
        assert!(bench.network.records()[0].said_bytes < 30_000);
        bench.host_reads(0, true);
        bench.look();
        let output = bench.output_bytes(0);
        assert!(output.ends_with(b"\r\n+QSSLURC: \"closed\",0\r\n"));
        assert_eq!(bench.network.records()[0].said_bytes, 300_000);
    }

    #[test]
    fn what_nobody_takes_without_flow_control_is_counted() {
        let mut bench = facing_speakers(Config::default());
        bench.open(0, 1);
        bench.host_reads(0, false);
        bench.say(0, b"abc");
        bench.modem.overrun(0, 10, bench.now);
        assert_eq!(bench.modem.counters().bytes_lost_without_flow_control, 10);
        bench.host_reads(0, true);
        assert_eq!(bench.output(), ": \"recv\",0,3\r\nabc");
    }
}
