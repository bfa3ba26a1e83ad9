//! The modem's side of its network: outcomes of opens, bytes both ways, ends and closes.

use std::net::SocketAddr;
use std::time::Instant;

use crate::at_port::{Mode, Wait};
use crate::modem::Modem;
use crate::network::{Arrival, Close, ConnectionId, ConnectionState, Network, Received, Transport};
use crate::result_code::{open_failure, socket as code};
use crate::socket::{AccessMode, End, Service, Socket, SocketState};

impl Modem {
    /// Does what is due for every connection; true if anything happened.
    pub(crate) fn poll_connections(&mut self, now: Instant, network: &mut dyn Network) -> bool {
        for connection in std::mem::take(&mut self.doomed) {
            network.close(connection, Close::Abort, now);
        }
        let mut moved = self.poll_look_up(now, network);
        let mut index = 0;
        while let Some(socket) = self.session.sockets.get(index) {
            let connection = socket.connection;
            moved |= match socket.state {
                SocketState::Opening { silent: true, .. } => false,
                SocketState::Opening { told_at, .. } if told_at > now => false,
                SocketState::Opening { given_up_at, predetermined, .. } => {
                    self.poll_opening(connection, predetermined, now >= given_up_at, now, network)
                }
                SocketState::Connected if socket.transport != Transport::Tcp => {
                    self.pump_datagrams(connection, now, network)
                }
                SocketState::Connected => self.pump(connection, now, network),
                SocketState::Ended { how: End::Closed, .. } => self.pump_out(connection, now, network),
                SocketState::Ended { how: End::Cut, .. } => false,
                SocketState::Closing { until, answers } => {
                    self.poll_closing(connection, until, answers, now, network)
                }
            };
            if self.session.sockets.get(index).is_some_and(|socket| socket.connection == connection) {
                index += 1;
            }
        }
        moved
    }

    fn poll_opening(
        &mut self,
        connection: ConnectionId,
        predetermined: Option<u16>,
        too_late: bool,
        now: Instant,
        network: &mut dyn Network,
    ) -> bool {
        let outcome = match predetermined {
            Some(code) => Err(code),
            None => match network.state(connection, now) {
                ConnectionState::Opening if too_late => Err(code::TIMEOUT),
                ConnectionState::Opening => return false,
                ConnectionState::Open { remote, local_port } => Ok((remote, local_port)),
                ConnectionState::Failed(failure) => Err(open_failure(&failure)),
            },
        };
        let Some(socket) = self.socket_of_mut(connection) else { return false };
        let code = match outcome {
            Ok((remote, local_port)) => {
                socket.state = SocketState::Connected;
                if socket.transport != Transport::UdpService {
                    socket.remote = Some(remote);
                }
                socket.local_port = local_port;
                self.counters.opened += 1;
                code::OK
            }
            Err(code) => {
                socket.state = SocketState::Ended { how: End::Cut, told: true };
                if std::mem::replace(&mut socket.linked, false) {
                    network.close(connection, Close::Abort, now);
                }
                code
            }
        };
        self.tell_open_result(connection, code, now, network);
        true
    }

    /// Reports to the host how an open went, in the way that its command and its port ask for.
    fn tell_open_result(
        &mut self,
        connection: ConnectionId,
        code: u16,
        now: Instant,
        network: &mut dyn Network,
    ) {
        let Some(socket) = self.socket_of(connection) else { return };
        let text = format!("{}: {},{code}", socket.service.names().open, socket.id);
        let port = socket.port;
        let waiting = self.ports.iter().position(|port| port.connection() == Some(connection));
        let waits = waiting.map(|waiting| (waiting, self.ports[waiting].mode.clone()));
        match waits {
            Some((waiting, Mode::Waiting(Wait::Open(_)))) => {
                self.session.last_error = code;
                if code == code::OK {
                    self.enter_data_mode(waiting, connection);
                } else {
                    self.ports[waiting].mode = Mode::Command;
                    self.ports[waiting].error();
                }
            }
            Some((waiting, _)) => {
                self.session.last_error = code;
                self.ports[waiting].mode = Mode::Command;
                self.ports[waiting].emit(format!("\r\n{text}\r\n").as_bytes());
                self.ports[waiting].ok();
            }
            None => {
                if code == code::OK || !self.config.quirks.urc_failures_forgotten {
                    self.session.last_error = code;
                }
                self.open_result_urc(port, &text);
            }
        }
        if code != code::OK && !self.config.quirks.failed_open_keeps_socket {
            self.free(connection, Close::Abort, now, network);
        }
    }

    /// Moves bytes both ways.
    fn pump(&mut self, connection: ConnectionId, now: Instant, network: &mut dyn Network) -> bool {
        let mut moved = self.pump_out(connection, now, network);
        let limit = self.config.receive_buffer_bytes;
        let mut buffer = [0; 4_096];
        loop {
            let Some(socket) = self.socket_of_mut(connection) else { return moved };
            let room = limit.saturating_sub(socket.incoming.len()).min(buffer.len());
            if room == 0 {
                return moved;
            }
            match network.receive(connection, &mut buffer[..room], now) {
                Received::Bytes(count) => {
                    socket.arrived(&buffer[..count.min(room)], None);
                    self.announce(connection);
                }
                Received::Nothing => return moved,
                Received::Ended => self.connection_ended(connection, End::Closed),
                Received::Broken => self.connection_ended(connection, End::Cut),
            }
            moved = true;
            if self.socket_of(connection).is_none_or(|socket| socket.state != SocketState::Connected) {
                return moved;
            }
        }
    }

    /// Moves datagrams both ways. Nothing stops who sends them: what finds no room is dropped.
    fn pump_datagrams(&mut self, connection: ConnectionId, now: Instant, network: &mut dyn Network) -> bool {
        let mut moved = self.pump_out(connection, now, network);
        let is_tls = self.socket_of(connection).is_some_and(|socket| socket.service == Service::Tls);
        while self.socket_of(connection).is_some_and(|socket| socket.state == SocketState::Connected) {
            match network.receive_datagram(connection, now) {
                Arrival::Datagram(bytes, from) => self.datagram_arrived(connection, &bytes, from),
                Arrival::Nothing => break,
                Arrival::Ended if is_tls && self.config.quirks.dtls_close_untold => break,
                Arrival::Ended => self.connection_ended(connection, End::Closed),
                Arrival::Broken => self.connection_ended(connection, End::Cut),
            }
            moved = true;
        }
        moved
    }

    fn datagram_arrived(&mut self, connection: ConnectionId, bytes: &[u8], from: SocketAddr) {
        let (most_bytes, most) = (self.config.receive_buffer_bytes, self.config.receive_buffer_datagrams);
        let tells_empty = self.config.quirks.empty_datagrams_told;
        let Some(socket) = self.socket_of_mut(connection) else { return };
        // Assumed: an empty datagram is nothing to a module.
        if bytes.is_empty() {
            if tells_empty && socket.access == AccessMode::Push {
                let (opener, text) =
                    (socket.port, format!("{}: \"recv\",{},0", socket.service.names().urc, socket.id));
                self.socket_urc(opener, &text);
            } else if tells_empty {
                self.announce(connection);
            }
            return;
        }
        let has_room =
            socket.incoming.len() + bytes.len() <= most_bytes && socket.incoming.datagrams() < most;
        if bytes.len() > LONGEST_DATAGRAM_BYTES || !has_room {
            self.counters.datagrams_dropped += 1;
            return;
        }
        socket.arrived(bytes, Some(from).filter(|_| socket.transport == Transport::UdpService));
        self.announce(connection);
    }

    /// Reports an arrival in buffer mode: once until a read returns 0 bytes, or each time by a quirk.
    fn announce(&mut self, connection: ConnectionId) {
        let each = self.config.quirks.receive_urc_per_arrival;
        let with_length = self.session.data_format.length_announced;
        let Some(socket) = self.socket_of_mut(connection) else { return };
        if socket.access == AccessMode::Buffer && (!socket.announced || each) {
            socket.announced = true;
            let length = match with_length {
                true => format!(",{}", socket.incoming.len()),
                false => String::new(),
            };
            let text = format!("{}: \"recv\",{}{length}", socket.service.names().urc, socket.id);
            let opener = socket.port;
            self.socket_urc(opener, &text);
        }
    }

    fn pump_out(&mut self, connection: ConnectionId, now: Instant, network: &mut dyn Network) -> bool {
        let Some(socket) = self.socket_of_mut(connection) else { return false };
        let mut moved = false;
        while let Some((bytes, to)) = socket.outgoing.front() {
            let count = match socket.transport {
                Transport::Tcp => network.send(connection, bytes, now),
                Transport::Udp | Transport::UdpService => {
                    if network.send_datagram(connection, bytes, to, now) { bytes.len() } else { 0 }
                }
            };
            if count == 0 {
                break;
            }
            socket.outgoing.consume(count);
            moved = true;
        }
        // With nothing new and nothing unacknowledged, the answer would be 0 again.
        if moved || socket.unsent > 0 {
            socket.unsent = network.unsent(connection, now);
        }
        moved
    }

    /// Closes as soon as everything was sent, or the time is over. What still arrives is dropped.
    fn poll_closing(
        &mut self,
        connection: ConnectionId,
        until: Instant,
        answers: Option<usize>,
        now: Instant,
        network: &mut dyn Network,
    ) -> bool {
        let linked = self.socket_of(connection).is_some_and(|socket| socket.linked);
        if linked {
            self.pump_out(connection, now, network);
        }
        let cut = !linked || self.drop_arrivals(connection, now, network);
        let Some(socket) = self.socket_of(connection) else { return false };
        let sent = socket.send_buffer_used() == 0;
        let text = format!("{}: {},0", socket.service.names().close, socket.id);
        if !sent && !cut && now < until {
            return false;
        }
        let how = if sent && !cut { Close::Orderly } else { Close::Abort };
        self.free(connection, how, now, network);
        if let Some(port) = answers {
            self.urc_by(port, &text);
        }
        true
    }

    /// Drops what has arrived, up to the end if there is one. Whether that is a cut.
    fn drop_arrivals(&self, connection: ConnectionId, now: Instant, network: &mut dyn Network) -> bool {
        if self.socket_of(connection).is_some_and(|socket| socket.transport != Transport::Tcp) {
            return loop {
                match network.receive_datagram(connection, now) {
                    Arrival::Datagram(..) => {}
                    Arrival::Nothing | Arrival::Ended => break false,
                    Arrival::Broken => break true,
                }
            };
        }
        let mut dropped = [0; 4_096];
        loop {
            match network.receive(connection, &mut dropped, now) {
                Received::Bytes(_) => {}
                Received::Nothing | Received::Ended => return false,
                Received::Broken => return true,
            }
        }
    }

    /// The socket's number is free again. With the last socket of an SSL context the module releases the
    /// context (manuals, AT+QSSLCLOSE); whether it forgets its settings is a quirk.
    pub(crate) fn free(
        &mut self,
        connection: ConnectionId,
        how: Close,
        now: Instant,
        network: &mut dyn Network,
    ) {
        let sockets = &mut self.session.sockets;
        let Some(index) = sockets.iter().position(|socket| socket.connection == connection) else { return };
        let Socket { linked, ssl_context, .. } = sockets.remove(index);
        let released =
            ssl_context.filter(|_| !sockets.iter().any(|socket| socket.ssl_context == ssl_context));
        if linked {
            network.close(connection, how, now);
        }
        if let Some(released) = released
            && self.config.quirks.context_forgotten_on_last_close
        {
            self.session.ssl.forget(released, &self.config);
        }
        self.detach_ports(connection);
    }

    /// Ends a connection for the host, without involving the network.
    pub(crate) fn cut_connection(&mut self, connection: ConnectionId, now: Instant) {
        let Some(socket) = self.socket_of_mut(connection) else { return };
        let was_linked = std::mem::replace(&mut socket.linked, false);
        match &mut socket.state {
            SocketState::Opening { told_at, predetermined, .. } => {
                *predetermined = Some(code::PDP_BROKEN);
                *told_at = (*told_at).min(now);
            }
            SocketState::Connected => self.connection_ended(connection, End::Cut),
            SocketState::Ended { .. } => {}
            SocketState::Closing { until, .. } => *until = now,
        }
        if was_linked {
            self.doomed.push(connection);
        }
    }

    /// Cuts all connections of a PDP context.
    pub(crate) fn cut_connections(&mut self, context: u8, now: Instant) {
        let sockets = self.session.sockets.iter().filter(|socket| socket.pdp_context == context);
        let connections: Vec<ConnectionId> = sockets.map(|socket| socket.connection).collect();
        for connection in connections {
            self.cut_connection(connection, now);
        }
    }
}

impl Socket {
    /// Received bytes go into the buffer; what was held there goes with them.
    fn arrived(&mut self, bytes: &[u8], from: Option<SocketAddr>) {
        self.incoming.push(bytes, from);
        self.received_total += bytes.len() as u64;
        self.held = false;
    }
}

/// Longest datagram that a module takes from its network; assumed, as the longest read.
const LONGEST_DATAGRAM_BYTES: usize = 1_500;
