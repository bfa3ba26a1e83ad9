//! Data mode: the port is the stream of one connection, until `+++`, DTR or the connection ends it.
//!
//! `+++` counts if it is surrounded by silence of at least the guard time and its three characters come
//! within it (EC20 manual 1.3). While it might be one it is held back; an escape never reaches the far end.

use std::time::Instant;

use crate::at_port::{Carrier, Escape, Mode};
use crate::config::{Family, PortName};
use crate::modem::Modem;
use crate::network::{Close, ConnectionId, Network};
use crate::socket::{AccessMode, End, State};

impl Modem {
    /// Whether a port can be a stream: the EC20's USB AT port cannot.
    pub(crate) fn can_be_transparent(&self, port: usize) -> bool {
        self.config.family != Family::Ec20 || self.ports[port].name != PortName::UsbAt
    }

    /// CONNECT, and from now on the port carries this connection and nothing else.
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
        let limit = self.config.send_buffer_bytes;
        let Some(socket) = self.socket_of_mut(connection) else { return };
        if socket.state != State::Connected {
            return;
        }
        let count = bytes.len().min(limit.saturating_sub(socket.send_buffer_used()));
        socket.outgoing.push(&bytes[..count]);
        self.counters.bytes_lost_without_flow_control += (bytes.len() - count) as u64;
    }

    /// What looked like an escape was none: it is payload.
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

    /// An escape was completed by silence.
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

    /// The host dropped DTR: ignored under AT&D0, back to commands under AT&D1, hang up under AT&D2.
    pub(crate) fn dtr_dropped(&mut self, port: usize, now: Instant, network: &mut dyn Network) {
        let Mode::Data { connection, .. } = self.ports[port].mode else { return };
        match self.ports[port].settings.dtr {
            1 => {
                self.escape_was_payload(port);
                self.leave_data_mode(port);
            }
            2 => {
                if let Some(socket) = self.socket_of_mut(connection) {
                    socket.linked = false;
                    network.close(connection, Close::Orderly, now);
                }
                self.connection_ended(connection, End::Cut);
                if let Some(socket) = self.socket_of_mut(connection) {
                    socket.incoming.clear();
                    socket.state = State::Ended { how: End::Cut, told: true };
                }
                self.leave_with_no_carrier(port);
            }
            _ => {}
        }
    }
}
