//! The clients' side of the loop: they are accepted, read, written and dropped.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::daemon::Daemon;
use super::greetings::Requested;
use super::{EventLoop, ModemUnit, Source, unix_seconds};
use crate::clients::listener::{AcceptError, Listener};
use crate::clients::peer::Peer;
use crate::clients::stream::{ClientStream, DatagramPeer, Stdio};
use crate::config::{self, Cidr, Dynamic, Listen};
use crate::daemon::capture::Way;
use qssl_core::Kind;
use qssl_core::settings::Tunnel;
use qssl_core::{ClientId, ClientInput, Input, Relay};
use qssl_proxy::RequestOutcome;

/// A listening socket, or one to which datagrams come.
pub(super) struct ListenerSlot {
    pub listener: Listener,
    /// What it was made from.
    pub listen: Listen,
    /// What its clients are for; each modem has it by its name.
    pub tunnel: Arc<Tunnel>,
    /// `--allow` of its tunnel.
    pub allow: Vec<Cidr>,
    /// `--dynamic` of its tunnel.
    pub dynamic: Option<Arc<Dynamic>>,
    /// Clients, or datagrams, may be waiting in the kernel.
    pub ready: bool,
    /// Accepting has failed: it is not tried again before this time.
    pub paused_until: Option<Instant>,
    /// When descriptors ran out; no client has been accepted since.
    pub exhausted_since: Option<Instant>,
    /// How many of the clients that wait in the kernel are counted as refused already.
    pub counted_waiting: usize,
}

impl ListenerSlot {
    /// Clients may be waiting already.
    pub(super) fn new(listener: Listener, listen: Listen, wanted: &config::Tunnel) -> Self {
        ListenerSlot {
            listener,
            listen,
            tunnel: wanted.settings.clone(),
            allow: wanted.allow.clone(),
            dynamic: wanted.dynamic.clone(),
            ready: true,
            paused_until: None,
            exhausted_since: None,
            counted_waiting: 0,
        }
    }

    /// How many clients wait that are not counted yet, when none can be accepted.
    fn newly_waiting(&mut self) -> usize {
        // Without a descriptor the kernel does not look whether anyone waits. Of a Unix socket it does not say so either.
        let waiting = self.listener.waiting().unwrap_or(1);
        let before = std::mem::replace(&mut self.counted_waiting, waiting);
        waiting.saturating_sub(before)
    }
}

/// A client's connection.
pub(super) struct ClientSlot {
    pub stream: ClientStream,
    pub readable: bool,
    pub writable: bool,
    /// Reading or writing never blocks, so no event will ever report it.
    pub always_readable: bool,
    pub always_writable: bool,
    /// It has named its server itself, and its request is not over.
    pub requested: Option<Requested>,
}

impl ClientSlot {
    /// The client is about to be reset. Where its request was not granted, it gets the answer to that instead: returns
    /// whether that is so.
    pub(super) fn end_request(&mut self) -> bool {
        let Some(mut requested) = self.requested.take() else { return false };
        // An answer that was begun is that it is open.
        if requested.is_granted() {
            return false;
        }
        requested.decided(RequestOutcome::Failed);
        let _ = self.stream.write(requested.unwritten().unwrap_or_default());
        let _ = self.stream.shutdown_write();
        self.stream.end_in_order();
        true
    }
}

impl EventLoop {
    pub(super) fn listen(&mut self) -> anyhow::Result<()> {
        for wanted in &self.configuration.tunnels.clone() {
            let tunnel = &wanted.settings;
            let first = self.listeners.len();
            for listen in &wanted.listen {
                if *listen == Listen::Stdio {
                    let stdio = Stdio::take().context("cannot use standard input and output")?;
                    if let Some((modem, tunnel)) = self.modem_for(tunnel) {
                        self.add_client(modem, &tunnel, ClientStream::Stdio(stdio), Peer::Stdio);
                    }
                    continue;
                }
                let bound = Listener::bind(listen, tunnel.carries_datagrams())?;
                for warning in bound.warnings {
                    log::warn!("{warning}");
                }
                for mut listener in bound.listeners {
                    let token = Source::Listener(self.listeners.len()).token();
                    listener.register(self.poll.registry(), token).context("cannot wait for clients")?;
                    let listen = listen.clone();
                    let slot = ListenerSlot::new(listener, listen, wanted);
                    self.listeners.push(slot);
                }
            }
            let own: Vec<&str> = self.listeners[first..].iter().map(|slot| slot.listener.name()).collect();
            if !own.is_empty() {
                log::info!("listening on {} for {}", own.join(", "), config::destination(&wanted.settings));
            }
        }
        Ok(())
    }

    /// Takes a client of this listener, or datagrams. Returns whether there was anything.
    pub(super) fn accept(&mut self, index: usize) -> bool {
        if let Some(socket) = self.listeners[index].listener.datagrams() {
            let socket = socket.clone();
            return self.read_datagrams(index, &socket);
        }
        let slot = &self.listeners[index];
        if !slot.ready || slot.paused_until.is_some() {
            return false;
        }
        let chosen = self.modem_for(&slot.tunnel);
        if chosen.as_ref().is_some_and(|(modem, of_modem)| !self.wants_clients(*modem, of_modem)) {
            return false;
        }
        let slot = &mut self.listeners[index];
        let tunnel = slot.tunnel.clone();
        match slot.listener.accept() {
            Ok(None) => {
                slot.ready = false;
                slot.counted_waiting = 0;
                false
            }
            Ok(Some((stream, peer))) => {
                // Clients are accepted in order, so those that are counted come first.
                slot.counted_waiting = slot.counted_waiting.saturating_sub(1);
                if let Some(since) = slot.exhausted_since.take() {
                    let seconds = self.now.saturating_duration_since(since).as_secs_f64();
                    log::info!("{}: clients are accepted again after {seconds:.1} s", slot.listener.name());
                }
                let granted = match self.refusal(index, &peer) {
                    Some(why) => Err(why),
                    None => chosen.ok_or("is not served: every modem that its tunnel may use was given up"),
                };
                match (granted, self.listeners[index].dynamic.clone()) {
                    (Err(why), _) => {
                        log::warn!("{peer} {why}; reset");
                        self.count_refused(&tunnel, 1);
                        stream.abort();
                    }
                    (Ok(_), Some(dynamic)) => self.greet(&tunnel, &dynamic, stream, peer),
                    (Ok((modem, of_modem)), None) => self.add_client(modem, &of_modem, stream, peer),
                }
                true
            }
            Err(error @ AcceptError::Exhausted { .. }) => {
                if slot.exhausted_since.is_none() {
                    slot.exhausted_since = Some(self.now);
                    log::warn!("{error}");
                }
                slot.paused_until = Some(self.now + ACCEPT_PAUSE);
                let waiting = slot.newly_waiting();
                self.count_refused(&tunnel, waiting);
                false
            }
            Err(error) => {
                log::error!("{error} [{}]", Kind::Failed);
                slot.paused_until = Some(self.now + ACCEPT_PAUSE);
                false
            }
        }
    }

    /// Why this peer may have no connection, in words that follow its name.
    fn refusal(&self, index: usize, peer: &Peer) -> Option<&'static str> {
        if self.daemon.as_ref().is_some_and(|daemon| daemon.data_usage.is_spent(unix_seconds())) {
            return Some("is not served: the month's budget is spent (--monthly-budget)");
        }
        let allow = &self.listeners[index].allow;
        let allowed =
            allow.is_empty() || peer.ip().is_none_or(|ip| allow.iter().any(|network| network.contains(ip)));
        (!allowed).then_some("may not connect (--allow)")
    }

    /// Reads datagrams that came to this listener. Returns whether there was one.
    fn read_datagrams(&mut self, index: usize, socket: &Rc<UdpSocket>) -> bool {
        for count in 0..ROUND_DATAGRAMS {
            if !self.listeners.get(index).is_some_and(|slot| slot.ready) {
                return count > 0;
            }
            match socket.recv_from(&mut self.buffer) {
                Ok((bytes, from)) => {
                    self.moved_bytes += bytes;
                    self.datagram_came(index, socket, from, bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.listeners[index].ready = false
                }
                // That of an earlier datagram, which this read has taken away. It ends nothing.
                Err(error) => log::debug!("{}: {error}", self.listeners[index].listener.name()),
            }
        }
        true
    }

    /// A datagram is in the buffer. One from a new address begins a session.
    fn datagram_came(&mut self, index: usize, socket: &Rc<UdpSocket>, from: SocketAddr, bytes: usize) {
        // Before a new client may have the ID of an old one, what is to be done for that one is done.
        self.do_actions();
        let is_its = |slot: &Option<ClientSlot>| match slot.as_ref().map(|slot| &slot.stream) {
            Some(ClientStream::Datagrams(peer)) => peer.address == from && Rc::ptr_eq(&peer.socket, socket),
            _ => false,
        };
        let known = |unit: &ModemUnit| unit.clients.iter().position(is_its);
        let found = self.modems.iter().enumerate().find_map(|(modem, unit)| Some((modem, known(unit)?)));
        let (modem, id) = match found {
            Some((modem, index)) => (modem, ClientId(index)),
            None => {
                let Some(slot) = self.listeners.get(index) else { return };
                let (tunnel, peer) = (slot.tunnel.clone(), Peer::at(from));
                if let Some(why) = self.refusal(index, &peer) {
                    log::warn!("{peer} {why}; its datagram is dropped");
                    return self.count_refused_datagram(&tunnel);
                }
                let chosen = self.modem_for(&tunnel);
                let wants = |(modem, tunnel): &(usize, Arc<Tunnel>)| self.wants_clients(*modem, tunnel);
                let Some((modem, of_modem)) = chosen.filter(wants) else {
                    return self.count_refused_datagram(&tunnel);
                };
                let _scope = self.modems[modem].scope();
                let relay = &mut self.modems[modem].relay;
                let id = relay.client_accepted(&of_modem, peer.to_string(), self.now);
                if relay.client(id).is_none() {
                    // It found no room (--when-full reset).
                    return relay.datagram_refused(&of_modem);
                }
                let stream = DatagramPeer { socket: socket.clone(), address: from };
                self.add_slot(modem, id, ClientStream::Datagrams(stream), None);
                (modem, id)
            }
        };
        let relay = &mut self.modems[modem].relay;
        capture(&mut self.daemon, relay, id, Way::Up, &self.buffer[..bytes]);
        relay.client_received(id, &self.buffer[..bytes], self.now);
    }

    fn add_client(&mut self, modem: usize, tunnel: &Arc<Tunnel>, stream: ClientStream, peer: Peer) {
        let _scope = self.modems[modem].scope();
        let id = self.modems[modem].relay.client_accepted(tunnel, peer.to_string(), self.now);
        self.add_slot(modem, id, stream, None);
    }

    /// So many clients of this tunnel are turned away.
    pub(super) fn count_refused(&mut self, tunnel: &Tunnel, count: usize) {
        if let Some((unit, tunnel)) = self.modems.iter_mut().find_map(|unit| unit.with_tunnel(tunnel)) {
            unit.relay.clients_refused(&tunnel, count);
        }
    }

    fn count_refused_datagram(&mut self, tunnel: &Tunnel) {
        if let Some((unit, tunnel)) = self.modems.iter_mut().find_map(|unit| unit.with_tunnel(tunnel)) {
            unit.relay.datagram_refused(&tunnel);
        }
    }

    /// Waits for what a client of the core does.
    pub(super) fn add_slot(
        &mut self,
        modem: usize,
        id: ClientId,
        stream: ClientStream,
        requested: Option<Requested>,
    ) {
        let slot = ClientSlot {
            stream,
            readable: false,
            writable: false,
            always_readable: false,
            always_writable: false,
            requested,
        };
        self.place_slot(modem, id, slot);
    }

    /// The same for a client that may have been waited for already.
    pub(super) fn place_slot(&mut self, modem: usize, id: ClientId, mut slot: ClientSlot) {
        let token = Source::Client(modem, id.0).token();
        let unit = &mut self.modems[modem];
        let always = match slot.stream.register(self.poll.registry(), token) {
            Ok(always) => always,
            Err(error) => {
                let peer = unit.relay.client(id).map_or("", |(peer, _)| peer);
                log::warn!("{peer}: cannot wait for it: {error}");
                unit.relay.handle(Input::Client(id, ClientInput::Lost), self.now);
                return;
            }
        };
        // What was ready before it was registered gets an event as well: epoll reports the present state.
        (slot.always_readable, slot.always_writable) = (always.read, always.write);
        slot.readable |= always.read;
        slot.writable |= always.write;
        if unit.clients.len() <= id.0 {
            unit.clients.resize_with(id.0 + 1, || None);
        }
        unit.clients[id.0] = Some(slot);
    }

    pub(super) fn drop_client(&mut self, modem: usize, index: usize) -> Option<ClientSlot> {
        let mut slot = self.modems[modem].clients.get_mut(index)?.take()?;
        // Closing removes it from epoll in any case.
        let _ = slot.stream.deregister(self.poll.registry());
        Some(slot)
    }

    /// A socket to which datagrams came is closed: its sessions end in order.
    pub(super) fn end_sessions(&mut self, listener: &Listener) {
        let Some(closed) = listener.datagrams() else { return };
        let is_its = |slot: &Option<ClientSlot>| match slot.as_ref().map(|slot| &slot.stream) {
            Some(ClientStream::Datagrams(peer)) => Rc::ptr_eq(&peer.socket, closed),
            _ => false,
        };
        for modem in 0..self.modems.len() {
            for index in 0..self.modems[modem].clients.len() {
                if is_its(&self.modems[modem].clients[index]) {
                    self.drop_client(modem, index);
                    let gone = Input::Client(ClientId(index), ClientInput::Gone);
                    self.modems[modem].relay.handle(gone, self.now);
                }
            }
        }
    }

    pub(super) fn write_client(&mut self, modem: usize, index: usize) -> bool {
        let unit = &mut self.modems[modem];
        let Some(slot) = &mut unit.clients[index] else { return false };
        if !slot.writable {
            return false;
        }
        if let Some(requested) = &mut slot.requested {
            let Some(answer) = requested.unwritten() else { return false };
            if !answer.is_empty() {
                return match slot.stream.write(answer) {
                    Ok(count) => {
                        requested.written(count);
                        true
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        slot.writable = slot.always_writable;
                        false
                    }
                    Err(_) => self.client_lost(modem, index),
                };
            }
        }
        let output = unit.relay.client_output(ClientId(index));
        if output.is_empty() {
            return false;
        }
        match slot.stream.write(output) {
            Ok(count) => {
                capture(&mut self.daemon, &unit.relay, ClientId(index), Way::Down, &output[..count]);
                self.moved_bytes += count;
                unit.relay.client_written(ClientId(index), count, self.now);
                true
            }
            Err(error) if matches!(slot.stream, ClientStream::Datagrams(_)) => {
                log::debug!("a datagram is dropped: {error}");
                unit.relay.handle(Input::Client(ClientId(index), ClientInput::NotDelivered), self.now);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                slot.writable = slot.always_writable;
                false
            }
            Err(_) => self.client_lost(modem, index),
        }
    }

    pub(super) fn read_client(&mut self, modem: usize, index: usize) -> bool {
        let unit = &mut self.modems[modem];
        let Some(slot) = &mut unit.clients[index] else { return false };
        if let Some(requested) = &mut slot.requested {
            let wanted = unit.relay.wants_client_bytes(ClientId(index));
            let early = requested.take_early(wanted);
            if requested.is_over() {
                slot.requested = None;
            }
            if !early.is_empty() {
                capture(&mut self.daemon, &unit.relay, ClientId(index), Way::Up, &early);
                unit.relay.client_received(ClientId(index), &early, self.now);
                return true;
            }
        }
        let unit = &mut self.modems[modem];
        let Some(slot) = &mut unit.clients[index] else { return false };
        if !slot.readable || slot.requested.as_ref().is_some_and(Requested::has_early) {
            return false;
        }
        let wanted = unit.relay.wants_client_bytes(ClientId(index)).min(self.buffer.len());
        if wanted == 0 {
            return false;
        }
        match slot.stream.read(&mut self.buffer[..wanted]) {
            Ok(0) => {
                slot.readable = false;
                slot.always_readable = false;
                unit.relay.handle(Input::Client(ClientId(index), ClientInput::Finished), self.now);
                true
            }
            Ok(count) => {
                capture(&mut self.daemon, &unit.relay, ClientId(index), Way::Up, &self.buffer[..count]);
                self.moved_bytes += count;
                unit.relay.client_received(ClientId(index), &self.buffer[..count], self.now);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                slot.readable = slot.always_readable;
                false
            }
            Err(_) => self.client_lost(modem, index),
        }
    }

    pub(super) fn client_lost(&mut self, modem: usize, index: usize) -> bool {
        self.drop_client(modem, index);
        self.modems[modem].relay.handle(Input::Client(ClientId(index), ClientInput::Lost), self.now);
        true
    }
}

/// Records bytes of a client, if a recording is wanted.
fn capture(daemon: &mut Option<Daemon>, relay: &Relay, client: ClientId, way: Way, bytes: &[u8]) {
    if let Some(daemon) = daemon.as_mut().filter(|daemon| daemon.capture.is_wanted()) {
        let peer = relay.client(client).map_or("", |(peer, _)| peer);
        daemon.capture.passed(way, peer, bytes);
    }
}

/// How many datagrams of a listener are read in a round.
const ROUND_DATAGRAMS: usize = 16;

/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
