//! What the modem says unasked, and received data: which port it leaves by, and when it may.
//!
//! In a strict modem a URC never stands inside an answer, between a command and its result, or inside an
//! echo; it waits for the seam. Pushed data obeys the same rule and leaves whole messages at a time.

use std::fmt::Write;

use crate::at_port::{Carrier, Mode};
use crate::config::PortName;
use crate::modem::Modem;
use crate::network::ConnectionId;
use crate::session::UrcPort;
use crate::socket::{AccessMode, End, State};

impl Modem {
    /// Says something unasked by the URC port.
    pub(crate) fn urc(&mut self, text: &str) {
        let framed = format!("\r\n{text}\r\n");
        let targets = self.urc_targets();
        if targets.is_empty() {
            self.counters.urcs_lost += 1;
        }
        for port in targets {
            self.queue_urc(port, framed.as_bytes());
        }
    }

    /// The result of an open, by the port of its command or by the URC port.
    pub(crate) fn open_result_urc(&mut self, port: usize, text: &str) {
        let head = if self.config.quirks.open_result_without_empty_line { "" } else { "\r\n" };
        let framed = format!("{head}{text}\r\n");
        let targets = match self.config.quirks.open_result_on_urc_port {
            true => self.urc_targets(),
            false => vec![port],
        };
        for port in targets {
            self.queue_urc(port, framed.as_bytes());
        }
    }

    /// Something said to one port, as soon as it may be.
    pub(crate) fn urc_by(&mut self, port: usize, text: &str) {
        self.queue_urc(port, format!("\r\n{text}\r\n").as_bytes());
    }

    fn queue_urc(&mut self, port: usize, framed: &[u8]) {
        let urcs = &mut self.ports[port].urcs;
        if urcs.len() < URCS_LIMIT {
            let cut = std::mem::take(&mut self.faults.urc_head_lost).min(framed.len());
            urcs.push_back(framed[cut..].to_vec());
        } else {
            self.counters.urcs_lost += 1;
        }
    }

    /// The ports that URCs leave by; none if there is no port of that name.
    fn urc_targets(&self) -> Vec<usize> {
        match self.session.urc_port {
            UrcPort::All => (0..self.ports.len()).collect(),
            UrcPort::One(name) => self.first_port_named(name).into_iter().collect(),
        }
    }

    fn first_port_named(&self, name: PortName) -> Option<usize> {
        self.ports.iter().position(|port| port.name == name)
    }

    /// Whether something unasked may stand at this point of the port's output.
    fn seam_open(&self, port: usize) -> bool {
        let state = &self.ports[port];
        let quirks = &self.config.quirks;
        match state.mode {
            Mode::Command => state.line.is_empty() || !state.settings.echo || quirks.urc_before_echo,
            Mode::Executing { .. } | Mode::Waiting(_) => quirks.urc_before_answer,
            Mode::Payload(_) | Mode::Sending { .. } => quirks.urc_before_send_result,
            Mode::Upload(_) | Mode::Data { .. } => false,
        }
    }

    fn has_room(&self, port: usize) -> bool {
        self.ports[port].output.len() < self.config.port_buffer_bytes
    }

    /// Puts all waiting URCs into the output.
    pub(crate) fn emit_urcs(&mut self, port: usize) -> bool {
        let state = &mut self.ports[port];
        let any = !state.urcs.is_empty();
        while let Some(urc) = state.urcs.pop_front() {
            if !state.emit(&urc) {
                self.counters.urcs_lost += 1;
            }
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

    /// Tells of ended connections, in push mode once all they received has left. A transparent one tells
    /// by its own port.
    fn tell_ends(&mut self) -> bool {
        let mut texts = Vec::new();
        for socket in &mut self.session.sockets {
            let State::Ended { told, .. } = &mut socket.state else { continue };
            let ready = match socket.access {
                AccessMode::Buffer => true,
                AccessMode::Push => socket.incoming.is_empty(),
                AccessMode::Transparent => false,
            };
            if ready && !*told {
                *told = true;
                texts.push(format!("{}: \"closed\",{}", socket.service.urc(), socket.id));
            }
        }
        for text in &texts {
            self.urc(text);
        }
        !texts.is_empty()
    }

    /// Fills the output of a port in data mode; behind the last byte of an ended connection comes
    /// NO CARRIER.
    fn stream(&mut self, port: usize, connection: ConnectionId) -> bool {
        let room = self.config.port_buffer_bytes.saturating_sub(self.ports[port].output.len());
        let Some(socket) = self.socket_of_mut(connection) else { return false };
        let bytes = socket.incoming.take(room);
        if let State::Ended { told, .. } = &mut socket.state
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

    /// The stream of a port is over: DCD falls behind its last byte, and NO CARRIER follows.
    pub(crate) fn leave_with_no_carrier(&mut self, port: usize) {
        let state = &mut self.ports[port];
        state.mode = Mode::Command;
        state.carrier_falls_behind_output();
        state.no_carrier();
    }

    /// Pushes received data, sockets taking turns, while the URC port takes it.
    fn push(&mut self) -> bool {
        let waiting = self.session.sockets.iter().any(|socket| socket.has_something_to_push());
        if !waiting {
            return false;
        }
        let targets = self.urc_targets();
        let mut moved = false;
        loop {
            let free = |port: &usize| {
                self.seam_open(*port) && self.has_room(*port) && self.ports[*port].urcs.is_empty()
            };
            // With several ports each gets everything, except one that is a stream.
            let commanded: Vec<usize> =
                targets.iter().copied().filter(|port| !self.ports[*port].in_data_mode()).collect();
            if !commanded.iter().all(free) || (commanded.is_empty() && !targets.is_empty()) {
                return moved;
            }
            let Some((message, payload_bytes)) = self.next_pushed_message() else { return moved };
            moved = true;
            if commanded.is_empty() {
                self.counters.pushed_bytes_lost += payload_bytes as u64;
            }
            for port in commanded {
                self.ports[port].emit(&message);
            }
        }
    }

    fn next_pushed_message(&mut self) -> Option<(Vec<u8>, usize)> {
        let limit = self.config.push_limit_bytes;
        let format = self.session.data_format;
        let last = self.session.pushed_last;
        let sockets = &mut self.session.sockets;
        // The one after the last in order of their numbers, which never repeat.
        let ready = sockets.iter().filter(|socket| socket.has_something_to_push());
        let next = ready
            .map(|socket| socket.connection)
            .min_by_key(|connection| (last.is_some_and(|last| *connection <= last), *connection))?;
        self.session.pushed_last = Some(next);
        let socket = sockets.iter_mut().find(|socket| socket.connection == next)?;
        let bytes = socket.incoming.take(limit);
        let mut message = Vec::with_capacity(bytes.len() + 32);
        let separator = if format.one_line { "," } else { "\r\n" };
        let (name, id) = (socket.service.urc(), socket.id);
        message.extend(format!("\r\n{name}: \"recv\",{id},{}{separator}", bytes.len()).as_bytes());
        message.extend(payload_text(&bytes, format.hex_to_host));
        if format.one_line || self.config.quirks.push_ends_with_line_end {
            message.extend(b"\r\n");
        }
        Some((message, bytes.len()))
    }

    /// A connection has ended.
    pub(crate) fn connection_ended(&mut self, connection: ConnectionId, how: End) {
        let Some(socket) = self.socket_of_mut(connection) else { return };
        socket.state = State::Ended { how, told: false };
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
        let alive = matches!(self.state, State::Connected | State::Ended { .. });
        alive && self.access == AccessMode::Push && !self.held && !self.incoming.is_empty()
    }
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

/// URCs that wait for a seam of one port; further ones are lost.
const URCS_LIMIT: usize = 256;
