//! Clients attached to sockets: waiting for one, half-closes, ends, and every limit of time.
//!
//! The event loop holds the [`Relay`]: it reports what happened, moves the bytes that are offered, and does the actions
//! that are asked for. The modem is inside.

mod client;
mod handover;
mod probe;
mod reconfigure;
mod report;
mod warm;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::at::{Command, CommandSet, ResultCode, SOCKET_COUNT, SocketId};
use crate::cmux::CHANNELS_MAX;
use crate::counted;
use crate::error::Kind;
use crate::input::{ClientInput, Input};
use crate::modem::{
    self, Cut, Failure, GiveUp, Holder, Modem, ModemEvent, OpenFailure, SocketEnd, UserAnswer, UserCommand,
};
use crate::settings::{Settings, Target, Tunnel, WhenFull};
use crate::shared_port::SharedPort;
pub use crate::shared_port::{LineChannel, Multiplexer};
use client::{Client, ClientEffect, Destination, Limit, Taken, View};
use handover::Place;
use probe::Probe;

pub use crate::input::ClientId;
pub use handover::Withdrawn;
use report::{Account, account_of};
pub use report::{Connection, Datagrams, Dropped, Moved, TunnelCounters, TunnelReport};
use warm::Warm;

/// The core: one modem, its tunnels, and their clients.
#[derive(Debug)]
pub struct Relay {
    modem: Modem,
    /// The port, where its line carries several channels: each is a port of the modem.
    shared_port: Option<SharedPort>,
    settings: Settings,
    clients: Vec<Option<Client>>,
    /// Which of several modems it is.
    place: Place,
    /// Clients without a socket, in the order of their arrival.
    waiting: VecDeque<ClientId>,
    /// Datagram sessions that have ended, as long as the program does not know it: datagrams may still come for them.
    over: Vec<(ClientId, Arc<Tunnel>)>,
    /// The client of each socket.
    client_of: [Option<ClientId>; SOCKET_COUNT],
    /// Connections that are opened ahead of their clients.
    warm: Warm,
    actions: VecDeque<Action>,
    ending: Ending,
    /// How the last client ended, for `connect`.
    last_end: Kind,
    was_up: bool,
    /// Why the modem was given up.
    failure: Option<Failure>,
    /// `connect`: the cause of a failed open is being looked for.
    probe: Option<Probe>,
    /// What each tunnel has done: the configured ones in order, then removed ones that still have clients.
    accounts: Vec<Account>,
    /// When the data session came up, or went down.
    session_since: Instant,
}

/// Whether the end of the process has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Not,
    /// Clients are served until they end or this time comes.
    Draining {
        until: Instant,
    },
    /// The modem is being left as it was found; this is the status that is due then.
    Releasing {
        kind: Kind,
        until: Instant,
    },
    Over,
}

/// Why a client gets no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// The modem could not open it.
    Failed(OpenFailure),
    /// All sockets are in use.
    NoFreeSocket,
    /// The modem is not ready.
    NotReady,
}

/// What the event loop must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Something at a port or with the clock.
    Modem(modem::Action),
    /// No more bytes will be written to this client: shut down that direction.
    FinishClient(ClientId),
    /// Its connection is open.
    ClientOpened(ClientId),
    /// Its connection cannot be opened. It is reset next.
    ClientNotOpened(ClientId, NotOpened),
    /// Close it in order.
    CloseClient(ClientId),
    /// Write what of `rest` can be written at once, then reset it.
    ResetClient {
        /// The client.
        client: ClientId,
        /// What had come for it before the stream broke.
        rest: Vec<u8>,
    },
    /// Answer with [`ClientInput::Gone`] if the client is gone.
    LookForClient(ClientId),
    /// Answer with [`ClientInput::Queue`]: how much of what was written to it is still held for it.
    AskClient(ClientId),
    /// Sockets can be opened now.
    Ready,
    /// A connection that was asked for by a command from outside came to be (0) or not.
    OpenedOutside(CommandSet, SocketId, u16),
    /// The answer to a command that came from outside.
    Answered(UserCommand, UserAnswer),
    /// End the process with this status.
    Stop(Kind),
}

impl Action {
    /// The client that it is about.
    fn client(&self) -> Option<ClientId> {
        match self {
            Action::FinishClient(id)
            | Action::ClientOpened(id)
            | Action::ClientNotOpened(id, _)
            | Action::CloseClient(id)
            | Action::ResetClient { client: id, .. }
            | Action::LookForClient(id)
            | Action::AskClient(id) => Some(*id),
            Action::Modem(_)
            | Action::Ready
            | Action::OpenedOutside(..)
            | Action::Answered(..)
            | Action::Stop(_) => None,
        }
    }
}

impl Relay {
    /// A relay whose ports are not open yet.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let accounts = settings.tunnels.iter().map(Account::new).collect();
        let shared_port = SharedPort::new(&settings.modem, settings.ports.len(), now);
        let channels = match (&shared_port, &settings.ports[..]) {
            (Some(_), [port]) => vec![port.clone(); CHANNELS_MAX],
            (_, ports) => ports.to_vec(),
        };
        let modem = Modem::new(channels, settings.modem.clone(), settings.tunnels.clone(), now);
        let mut relay = Relay {
            modem,
            shared_port,
            settings,
            clients: Vec::new(),
            place: Place::default(),
            waiting: VecDeque::new(),
            over: Vec::new(),
            client_of: [None; SOCKET_COUNT],
            warm: Warm::default(),
            actions: VecDeque::new(),
            ending: Ending::Not,
            last_end: Kind::Done,
            was_up: false,
            failure: None,
            probe: None,
            accounts,
            session_since: now,
        };
        relay.warm.configure(&relay.settings.tunnels);
        relay.settle(now);
        relay
    }

    // Questions.

    /// The modem, to look at.
    pub fn modem(&self) -> &Modem {
        &self.modem
    }

    /// Why the modem was given up, if it was.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// How many clients there are.
    pub fn client_count(&self) -> usize {
        self.clients.iter().flatten().count()
    }

    /// Whether this tunnel accepts another client; the rest waits in the kernel's backlog. While there are actions to be done
    /// it does not.
    pub fn wants_clients(&self, tunnel: &Arc<Tunnel>) -> bool {
        self.wants_clients_beside(tunnel, std::iter::empty())
    }

    /// The same where clients of these tunnels have connected that will be accepted once they have named their servers
    /// ([`Relay::client_accepted_for`]).
    pub fn wants_clients_beside<'a>(
        &self,
        tunnel: &Arc<Tunnel>,
        coming: impl Iterator<Item = &'a Arc<Tunnel>> + Clone,
    ) -> bool {
        let limit = tunnel.limits.max_clients;
        // Silent clients of a proxy keep no others waiting.
        let about_to_wait = if tunnel.target.is_none() { coming.clone().count() } else { 0 };
        let of_tunnel = || {
            let known =
                self.clients.iter().flatten().map(Client::tunnel).filter(|of| Arc::ptr_eq(of, tunnel));
            known.count() + coming.clone().filter(|of| Arc::ptr_eq(of, tunnel)).count()
        };
        let makes_room =
            || tunnel.limits.when_full == WhenFull::Evict && self.idlest_session(Some(tunnel)).is_some();
        // Actions for an old client must not reach a new one with the same id.
        self.ending == Ending::Not
            && self.actions.is_empty()
            && self.waiting.len() + about_to_wait < WAITING_MAX
            && self.client_count() + coming.clone().count() < CLIENTS_MAX
            && limit.is_none_or(|limit| of_tunnel() < limit || makes_room())
    }

    /// How many bytes this client may send now.
    pub fn wants_client_bytes(&self, client: ClientId) -> usize {
        self.get(client).map_or(0, |client| client.wants_bytes(|socket| self.modem.room(socket)))
    }

    /// How many bytes the port may deliver now.
    pub fn wants_port_bytes(&self, port: usize) -> usize {
        match &self.shared_port {
            Some(shared) => shared.wants_bytes(&self.modem),
            None => self.modem.wants_port_bytes(port),
        }
    }

    /// Whether the port's DCD line matters now.
    pub fn wants_port_lines(&self, port: usize) -> bool {
        // Channels of a line have lines of their own.
        self.shared_port.as_ref().is_none_or(SharedPort::is_plain) && self.modem.wants_port_lines(port)
    }

    /// The channels of the line, where one line carries several.
    pub fn multiplexer(&self, now: Instant) -> Option<Multiplexer> {
        self.shared_port.as_ref().and_then(|shared| shared.report(&self.modem, now))
    }

    /// The speed of that line in bit/s, if it is a UART.
    pub fn line_baud(&self) -> Option<u32> {
        self.shared_port.as_ref().and_then(SharedPort::baud)
    }

    /// When [`Input::Deadline`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let clients = self.clients.iter().flatten().filter_map(|client| client.deadline(self.view(client)));
        let ending = match self.ending {
            Ending::Draining { until } | Ending::Releasing { until, .. } => Some(until),
            Ending::Not | Ending::Over => None,
        };
        let reclaim = self.reclaimable().map(|(_, at)| at);
        let reclaim = reclaim.into_iter().chain(self.probe.map(|probe| probe.until));
        let shared = self.shared_port.as_ref().and_then(SharedPort::next_deadline);
        let warm = self.warm.next_deadline();
        clients.chain(ending).chain(reclaim).chain(shared).chain(warm).chain(self.modem.next_deadline()).min()
    }

    // What happened.

    /// Something happened, now.
    pub fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Port(port, input) => {
                match &mut self.shared_port {
                    Some(shared) => shared.happened(input, &mut self.modem, now),
                    None => self.modem.port(port, input, now),
                }
                self.settle(now);
            }
            Input::Client(id, ClientInput::Finished) => self.client_finished(id, now),
            Input::Client(id, ClientInput::Gone) => self.client_gone(id, now),
            Input::Client(id, ClientInput::Lost) => self.client_lost(id, now),
            Input::Client(id, ClientInput::Queue(bytes)) => self.client_queue(id, bytes, now),
            Input::Client(id, ClientInput::NotDelivered) => self.datagram_not_delivered(id, now),
            Input::HostClock(unix_seconds) => self.modem.host_clock(unix_seconds, now),
            Input::Deadline => self.deadline_passed(now),
            Input::OpenAhead(is_allowed) => self.open_ahead(is_allowed, now),
            Input::ForbidPin => self.modem.forbid_pin(),
            Input::AskNetwork => self.modem.ask_network(now),
            Input::RecordPayload(wanted) => self.modem.record_payload(wanted),
            Input::CancelCommand(command) => self.modem.cancel_command(command),
            Input::Shutdown { signal } => self.shutdown(signal, now),
        }
    }

    // What happened to clients.

    /// A client was accepted.
    ///
    /// # Panics
    /// If clients of this tunnel name their servers themselves: [`Relay::client_accepted_for`] is for those.
    pub fn client_accepted(&mut self, tunnel: &Arc<Tunnel>, peer: String, now: Instant) -> ClientId {
        let target = tunnel.target.clone().expect("the tunnel has a target");
        self.client_accepted_for(tunnel, target, peer, now)
    }

    /// A client has connected, and has named its server.
    pub fn client_accepted_for(
        &mut self,
        tunnel: &Arc<Tunnel>,
        target: Target,
        peer: String,
        now: Instant,
    ) -> ClientId {
        let client = Client::new(self.place.number(), tunnel.clone(), target, peer, now);
        let id = self.take_in(client);
        account_of(&mut self.accounts, tunnel).counters.accepted += 1;
        self.keep_to_limit(tunnel, now);
        self.settle(now);
        let is_full = tunnel.limits.when_full == WhenFull::Reset && self.waiting.contains(&id);
        if is_full && !self.has_made_room() {
            account_of(&mut self.accounts, tunnel).counters.refused += 1;
            self.no_socket(id, "all sockets are busy (--when-full reset)", Kind::Failed, now);
        }
        self.settle(now);
        id
    }

    fn take_in(&mut self, client: Client) -> ClientId {
        let id = self.free_client_id();
        if id.0 == self.clients.len() {
            self.clients.push(None);
        }
        if client.is_waiting() {
            self.waiting.push_back(id);
        }
        self.clients[id.0] = Some(client);
        id
    }

    /// A number that no client has. What is still to be done to the one that had it must not be done to the next.
    fn free_client_id(&self) -> ClientId {
        let is_pending = |id| self.actions.iter().any(|action| action.client() == Some(id));
        let mut free = (0..self.clients.len()).filter(|index| self.clients[*index].is_none()).map(ClientId);
        free.find(|id| !is_pending(*id)).unwrap_or(ClientId(self.clients.len()))
    }

    /// The client sent bytes, no more than [`Relay::wants_client_bytes`] allowed. In a tunnel that carries datagrams they
    /// are one datagram, which may come at any time.
    pub fn client_received(&mut self, id: ClientId, bytes: &[u8], now: Instant) {
        if self.get(id).is_some_and(Client::is_session) {
            self.datagram_received(id, bytes, now);
            return self.settle(now);
        }
        if let Some((_, tunnel)) = self.over.iter().find(|(over, _)| *over == id) {
            account_of(&mut self.accounts, tunnel).count(Dropped { unsent: 1, ..Dropped::default() }.into());
        }
        let Some(client) = self.clients.get_mut(id.0).and_then(Option::as_mut) else { return };
        match client.received(bytes, now) {
            Destination::Kept => self.waiting.push_back(id),
            Destination::Socket(socket) => {
                let taken = self.modem.send(socket, bytes, now);
                // The server may have closed in this turn.
                client.not_delivered(bytes.len() - taken);
            }
            Destination::Nowhere => {}
        }
        self.settle(now);
    }

    /// The client will send nothing more; it may still read.
    fn client_finished(&mut self, id: ClientId, now: Instant) {
        let Some(effect) = self.get_mut(id).and_then(|client| client.finished(now)) else { return };
        self.actions.push_back(Action::LookForClient(id));
        self.follow(id, effect, now);
        self.settle(now);
    }

    /// The client is gone: it has closed both directions.
    fn client_gone(&mut self, id: ClientId, now: Instant) {
        let Some(effect) = self.get_mut(id).map(Client::gone) else { return };
        self.follow(id, effect, now);
        self.settle(now);
    }

    /// The connection to the client broke.
    fn client_lost(&mut self, id: ClientId, now: Instant) {
        if let Some(client) = self.get(id) {
            if let Some(socket) = client.socket() {
                self.leave_socket(socket, GiveUp::Abort, now);
            }
            // It left by itself, and there is no client to report to.
            self.leave(id, "the client broke off", Kind::StreamCut, now);
        }
        self.settle(now);
    }

    /// Resets the client with this number. False: there is none.
    pub fn kill(&mut self, number: u64, now: Instant) -> bool {
        let has_number =
            |client: &Option<Client>| client.as_ref().is_some_and(|client| client.number() == number);
        let Some(index) = self.clients.iter().position(has_number) else { return false };
        self.cut_off(ClientId(index), "ended by status --kill", now);
        self.settle(now);
        true
    }

    /// Bytes for this client, or a datagram.
    pub fn client_output(&self, id: ClientId) -> &[u8] {
        let Some(client) = self.get(id) else { return &[] };
        client.socket().map_or(client.rest(), |socket| self.modem.received(socket))
    }

    /// The client took `count` bytes of [`Relay::client_output`].
    pub fn client_written(&mut self, id: ClientId, count: usize, now: Instant) {
        let Some(client) = self.clients.get_mut(id.0).and_then(Option::as_mut) else { return };
        account_of(&mut self.accounts, client.tunnel()).moved_down(count);
        let effect = client.written(count, now);
        if client.is_session() {
            self.count_datagrams(id, Datagrams { down: 1, ..Datagrams::default() });
        }
        self.output_taken(id, effect, count, now);
        self.settle(now);
    }

    /// So many bytes of [`Relay::client_output`] are gone.
    fn output_taken(
        &mut self,
        id: ClientId,
        effect: Result<SocketId, ClientEffect>,
        count: usize,
        now: Instant,
    ) {
        match effect {
            Ok(socket) => self.modem.consume(socket, count, now),
            Err(effect) => self.follow(id, effect, now),
        }
    }

    /// The datagram of [`Relay::client_output`] could not be given to the client, and is dropped.
    fn datagram_not_delivered(&mut self, id: ClientId, now: Instant) {
        let length = self.client_output(id).len();
        if length == 0 || !self.get(id).is_some_and(Client::is_session) {
            return;
        }
        self.count_datagrams(id, Dropped { undelivered: 1, ..Dropped::default() }.into());
        if let Some(effect) = self.get_mut(id).map(|client| client.output_taken(length, now)) {
            self.output_taken(id, effect, length, now);
        }
        self.settle(now);
    }

    /// A datagram from an address without a session came where [`Relay::wants_clients`] is false, and was dropped.
    pub fn datagram_refused(&mut self, tunnel: &Arc<Tunnel>) {
        account_of(&mut self.accounts, tunnel).count(Dropped { refused: 1, ..Dropped::default() }.into());
    }

    /// A datagram came from a client.
    fn datagram_received(&mut self, id: ClientId, bytes: &[u8], now: Instant) {
        let Some(client) = self.clients.get_mut(id.0).and_then(Option::as_mut) else { return };
        let most = self.modem.datagram_max(&client.tunnel().transport);
        let dropped =
            client.datagram_received(bytes, most, |socket| self.modem.send(socket, bytes, now) > 0, now);
        self.count_datagrams(id, dropped.into());
    }

    /// Counts datagrams of a session, and of its tunnel.
    fn count_datagrams(&mut self, id: ClientId, datagrams: Datagrams) {
        let Some(client) = self.clients.get_mut(id.0).and_then(Option::as_mut) else { return };
        client.count(datagrams);
        account_of(&mut self.accounts, client.tunnel()).count(datagrams);
    }

    /// A session is over: what of it is neither sent nor delivered is dropped.
    fn count_what_is_left(&mut self, id: ClientId) {
        if let Some(left) = self.get_mut(id).map(Client::left) {
            self.count_datagrams(id, left.into());
        }
    }

    /// The open session that has been idle longest, of all or of this tunnel.
    fn idlest_session(&self, of: Option<&Arc<Tunnel>>) -> Option<ClientId> {
        let sessions = self.client_of.iter().flatten().filter_map(|id| {
            let client = self.get(*id)?;
            let counts = of.is_none_or(|tunnel| Arc::ptr_eq(client.tunnel(), tunnel));
            client.idle_since().filter(|_| counts).map(|since| (since, *id))
        });
        sessions.min_by_key(|(since, _)| *since).map(|(_, id)| id)
    }

    /// A tunnel that makes room has a client more than it may have.
    fn keep_to_limit(&mut self, tunnel: &Arc<Tunnel>, now: Instant) {
        let Some(limit) = tunnel.limits.max_clients.filter(|_| tunnel.limits.when_full == WhenFull::Evict)
        else {
            return;
        };
        let is_its = |client: &&Client| Arc::ptr_eq(client.tunnel(), tunnel);
        if self.clients.iter().flatten().filter(is_its).count() > limit
            && let Some(idlest) = self.idlest_session(Some(tunnel))
        {
            self.end_session(idlest, EVICTED, now);
        }
    }

    /// A client waits that may take the socket of the session that has been idle longest. Returns whether one was ended.
    fn evict(&mut self, now: Instant) -> bool {
        let may_evict = |id: &ClientId| {
            self.get(*id).is_some_and(|client| client.tunnel().limits.when_full == WhenFull::Evict)
        };
        let wanted = self.waiting.iter().filter(|id| may_evict(id)).count();
        // Where some are free, it is not sockets that are missing.
        let is_short = || self.modem.numbers_to_come().is_some_and(|to_come| to_come < wanted);
        if wanted == 0 || !self.modem.is_up() || !is_short() {
            return false;
        }
        let Some(idlest) = self.idlest_session(None) else { return false };
        self.end_session(idlest, EVICTED, now);
        true
    }

    /// Ends a session in order.
    fn end_session(&mut self, id: ClientId, reason: &str, now: Instant) {
        if let Some(socket) = self.get(id).and_then(Client::socket) {
            self.leave_socket(socket, GiveUp::Orderly, now);
        }
        self.leave(id, reason, Kind::Done, now);
    }

    /// How many of the bytes that were written to the client its system still holds; 0 where that is unknown.
    fn client_queue(&mut self, id: ClientId, bytes: usize, now: Instant) {
        let Some(client) = self.get_mut(id) else { return };
        client.queue(bytes, now);
        self.client_due(id, now);
        self.settle(now);
    }

    // What happened to ports.

    /// Bytes came out of the port.
    pub fn port_received(&mut self, port: usize, bytes: &[u8], now: Instant) {
        match &mut self.shared_port {
            Some(shared) => shared.received(bytes, &mut self.modem, now),
            None => self.modem.port_received(port, bytes, now),
        }
        self.settle(now);
    }

    /// Bytes that wait to leave by this port.
    pub fn port_output(&self, port: usize) -> &[u8] {
        match &self.shared_port {
            Some(shared) => shared.output(&self.modem),
            None => self.modem.port_output(port),
        }
    }

    /// The port took `count` bytes of [`Relay::port_output`].
    pub fn port_written(&mut self, port: usize, count: usize, now: Instant) {
        match &mut self.shared_port {
            Some(shared) => shared.written(count, &mut self.modem, now),
            None => self.modem.port_written(port, count, now),
        }
        self.settle(now);
    }

    // What happened besides.

    /// Something is due.
    fn deadline_passed(&mut self, now: Instant) {
        self.modem.deadline_passed(now);
        if let Some(shared) = &mut self.shared_port {
            shared.deadline_passed(&mut self.modem, now);
        }
        self.settle(now);
        let must_end = matches!(self.ending, Ending::Draining { until } if until <= now);
        if self.probe.is_some_and(|probe| probe.until <= now || must_end) {
            self.probe_is_late(now);
            self.settle(now);
        }
        for index in 0..self.clients.len() {
            self.client_due(ClientId(index), now);
        }
        if let Some((id, at)) = self.reclaimable()
            && at <= now
        {
            self.reclaim(id, at, now);
        }
        match self.ending {
            Ending::Draining { until } if until <= now => {
                log::warn!("{} did not end in time: resetting", counted(self.client_count(), "connection"));
                self.reset_all("shutting down", now);
                self.begin_release(Kind::DrainTimeout, now);
            }
            Ending::Releasing { kind, until } if until <= now => {
                log::warn!("time ran out before the modem's settings were restored");
                self.stop(kind);
            }
            _ => {}
        }
        self.settle(now);
    }

    /// Queues a command from outside; its answer comes as [`Action::Answered`]. `None`: too many wait.
    pub fn command(&mut self, command: Command, now: Instant) -> Option<UserCommand> {
        let id = self.modem.command(command, now);
        self.settle(now);
        id
    }

    /// SIGTERM or SIGINT: serve the clients that are there, then end. `signal` is its number.
    fn shutdown(&mut self, signal: u8, now: Instant) {
        match self.ending {
            Ending::Not => self.drain(" (a second signal stops at once)", now),
            Ending::Draining { .. } | Ending::Releasing { .. } => {
                self.reset_all("stopped", now);
                self.stop(Kind::Signal(signal));
            }
            Ending::Over => {}
        }
        self.settle(now);
    }

    /// Clients that have no connection are served as long as the modem serves; the connections may go on for a while.
    fn drain(&mut self, what_stops: &str, now: Instant) {
        self.ending = Ending::Draining { until: now + self.settings.shutdown_timeout };
        self.reset_unserved(now);
        if self.client_count() > 0 {
            let connections = counted(self.client_count(), "connection");
            let unacknowledged: u64 = self.clients.iter().flatten().map(Client::unacknowledged_bytes).sum();
            let of_plain = match unacknowledged {
                0 => String::new(),
                bytes => format!("; servers may not have acknowledged {}", counted(bytes, "byte")),
            };
            log::info!("waiting for {connections} to end{what_stops}{of_plain}");
        }
    }

    /// The next thing that the event loop must do.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = match &mut self.shared_port {
            Some(shared) => shared.poll_action(),
            None => self.modem.poll_action(),
        };
        if let Some(action) = action {
            return Some(Action::Modem(action));
        }
        // The process ends when the module has left the mode.
        let waits = self.shared_port.as_ref().is_some_and(|shared| !shared.has_left());
        let is_stop = matches!(self.actions.front(), Some(Action::Stop(_)));
        let action = if waits && is_stop { None } else { self.actions.pop_front() };
        if let Some(Action::CloseClient(id) | Action::ResetClient { client: id, .. }) = &action {
            self.over.retain(|(over, _)| over != id);
        }
        action
    }

    // Inside.

    fn get(&self, id: ClientId) -> Option<&Client> {
        self.clients.get(id.0)?.as_ref()
    }

    fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients.get_mut(id.0)?.as_mut()
    }

    /// Draws the consequences of a change, until nothing changes any more.
    fn settle(&mut self, now: Instant) {
        loop {
            while let Some(event) = self.modem.poll_event() {
                self.event(event, now);
            }
            if self.serve_waiting(now) {
                continue;
            }
            // A connection that no client has gives way before a session.
            self.clear_ahead(now);
            if self.evict(now) {
                continue;
            }
            self.fill_ahead(now);
            self.modem.want_sockets(!self.waiting.is_empty(), now);
            let changed = self.modem.take_changed();
            for index in 0..SOCKET_COUNT {
                if let Some(id) = self.client_of[index]
                    && (changed.contains(index) || self.get(id).is_some_and(Client::is_gone))
                {
                    self.look_after(id, now);
                }
            }
            self.reset_unserved(now);
            let is_drained = self.client_count() == 0 && self.probe.is_none();
            if matches!(self.ending, Ending::Draining { .. }) && is_drained {
                let kind = if self.settings.is_single { self.last_end } else { Kind::Done };
                self.begin_release(kind, now);
            }
            // What was just done may have results already.
            match self.modem.poll_event() {
                Some(event) => self.event(event, now),
                None if !self.settle_shared_port(now) => break,
                None => {}
            }
        }
    }

    /// Brings the bytes of the channels to their line and back. Returns whether that may have consequences.
    fn settle_shared_port(&mut self, now: Instant) -> bool {
        let Some(shared) = &mut self.shared_port else { return false };
        if self.ending == Ending::Over {
            shared.leave(&mut self.modem, now);
        }
        shared.settle(&mut self.modem, now)
    }

    fn event(&mut self, event: ModemEvent, now: Instant) {
        match event {
            ModemEvent::Up => {
                self.session_since = now;
                if !std::mem::replace(&mut self.was_up, true) {
                    self.actions.push_back(Action::Ready);
                }
            }
            ModemEvent::Down => self.session_since = now,
            ModemEvent::Opened(socket) => {
                let Some(id) = self.client_of[socket.index()] else {
                    return self.opened_ahead(socket, now);
                };
                let Some(client) = self.clients[id.0].as_mut() else { return };
                client.opened(now);
                self.actions.push_back(Action::ClientOpened(id));
                account_of(&mut self.accounts, client.tunnel()).opened(client.tunnel());
                let seconds = client.age(now).as_secs_f64();
                log::info!("{}: open after {seconds:.1} s, socket {socket}", client.between());
            }
            ModemEvent::OpenFailed(socket, failure) => {
                let Some(id) = self.client_of[socket.index()].take() else {
                    return self.warm.open_failed(socket, &failure, now);
                };
                self.actions.push_back(Action::ClientNotOpened(id, NotOpened::Failed(failure.clone())));
                if self.begin_probe(id, &failure, now) {
                    return;
                }
                if failure == OpenFailure::Code(ResultCode::NO_MEMORY) {
                    self.advise_on_memory(id);
                }
                self.open_failed(id, &probe::cause(&failure), failure.kind(), now);
            }
            ModemEvent::Ended(socket, end) => self.socket_ended(socket, end, now),
            ModemEvent::SentLate { tunnel, bytes } => {
                let account = account_of(&mut self.accounts, &tunnel);
                account.moved_up(bytes as u64);
                if let Some(datagrams) = &mut account.counters.datagrams {
                    // It was counted when its session ended.
                    datagrams.up += 1;
                    datagrams.dropped.unsent = datagrams.dropped.unsent.saturating_sub(1);
                }
            }
            ModemEvent::GaveUp(failure) => {
                // Another modem may serve those that have no connection.
                let (has_others, why) = (self.place.has_others(), "the modem cannot be used");
                if !has_others {
                    self.serve_nobody(now);
                }
                for index in 0..self.clients.len() {
                    let is_unserved = self.clients[index].as_ref().is_some_and(Client::is_unserved);
                    if !(has_others && is_unserved) {
                        self.cut_off(ClientId(index), why, now);
                    }
                }
                self.stop(failure.kind);
                self.failure = Some(failure);
            }
            ModemEvent::OpenedOutside(set, id, result) => {
                if set != CommandSet::Ip || !self.probe_opened(id, result, now) {
                    self.actions.push_back(Action::OpenedOutside(set, id, result));
                }
            }
            ModemEvent::Answered(id, answer) => {
                if !self.probe_answered(id, &answer, now) {
                    self.actions.push_back(Action::Answered(id, answer));
                }
            }
            ModemEvent::Released => {
                if let Ending::Releasing { kind, .. } = self.ending {
                    self.stop(kind);
                }
            }
        }
    }

    /// Attaches the first waiting client to a socket, if there is one for it. Returns whether it did.
    fn serve_waiting(&mut self, now: Instant) -> bool {
        let can_be_served = |client: &Client| {
            self.found_ahead(client.tunnel(), now).is_some() || self.modem.can_open(client.tunnel())
        };
        let Some(index) = self.waiting.iter().position(|id| self.get(*id).is_some_and(can_be_served)) else {
            return false;
        };
        let id = self.waiting[index];
        let Some(tunnel) = self.get(id).map(|client| client.tunnel().clone()) else { return false };
        if let Some(found) = self.found_ahead(&tunnel, now) {
            self.waiting.remove(index);
            self.give_ahead(id, found, now);
            return true;
        }
        let Some(client) = self.clients[id.0].as_mut() else { return false };
        let Some(socket) = self.modem.open(&tunnel, client.target(), Holder::Client, now) else {
            return false;
        };
        self.waiting.remove(index);
        self.attach(id, socket, now);
        true
    }

    fn attach(&mut self, id: ClientId, socket: SocketId, now: Instant) {
        let Some(client) = self.clients[id.0].as_mut() else { return };
        let mut early = client.attached_to(socket, now);
        self.client_of[socket.index()] = Some(id);
        if early.keeps_boundaries() {
            while !early.is_empty() {
                self.datagram_received(id, early.as_slice(), now);
                early.consume(early.as_slice().len());
            }
            return;
        }
        let taken = self.modem.send(socket, early.as_slice(), now);
        debug_assert_eq!(taken, early.len(), "an empty socket has room for what a client may send early");
    }

    /// The socket has ended: its last bytes are moved to the client.
    fn socket_ended(&mut self, socket: SocketId, end: SocketEnd, now: Instant) {
        let Some(id) = self.client_of[socket.index()].take() else {
            return self.warm.ended(socket, now);
        };
        self.note_carried(id, now);
        let unsent = self.modem.unsent(socket);
        let rest = self.modem.take_rest(socket);
        let Some(client) = self.get_mut(id) else { return };
        let effect = client.stream_ended(end, rest, unsent, now);
        self.follow(id, effect, now);
    }

    /// Does what follows for a client.
    fn follow(&mut self, id: ClientId, effect: ClientEffect, now: Instant) {
        match effect {
            ClientEffect::Nothing => {}
            ClientEffect::Finish => {
                self.actions.push_back(Action::FinishClient(id));
                if let Some(effect) = self.get(id).map(Client::given_the_end) {
                    self.follow(id, effect, now);
                }
            }
            ClientEffect::Close(reason) => self.leave(id, reason, Kind::Done, now),
            ClientEffect::ResetWithLoss(lost) => {
                let lost = counted(lost, "byte");
                let reason = format!(
                    "the server closed the connection and did not take the last {lost} of the client"
                );
                self.reset(id, &reason, Kind::StreamCut, now);
            }
            ClientEffect::ResetCut(cut) => {
                let kind = match cut {
                    Cut::ShuttingDown => Kind::DrainTimeout,
                    Cut::PortLost | Cut::Rebooted | Cut::Silent => Kind::ModemLost,
                    _ => Kind::StreamCut,
                };
                self.reset(id, &cut.to_string(), kind, now);
            }
            ClientEffect::Over(limit) => self.limit_over(id, limit, now),
            ClientEffect::Ask => self.actions.push_back(Action::AskClient(id)),
            ClientEffect::Look => self.actions.push_back(Action::LookForClient(id)),
        }
    }

    /// The client has reached a limit of time.
    fn limit_over(&mut self, id: ClientId, limit: Limit, now: Instant) {
        if matches!(limit, Limit::Idle | Limit::ShuttingDown) && self.get(id).is_some_and(Client::is_session)
        {
            return self.end_session(id, &limit.to_string(), now);
        }
        if let Some(socket) = self.get(id).and_then(Client::socket) {
            // To the server a client that has sent everything has ended in order; only its answer is not waited for.
            let how = if limit == Limit::HalfClosed { GiveUp::Orderly } else { GiveUp::Abort };
            self.leave_socket(socket, how, now);
        }
        match limit {
            Limit::Queue => self.no_socket(id, &limit.to_string(), Kind::StreamCut, now),
            _ => self.reset(id, &limit.to_string(), Kind::StreamCut, now),
        }
    }

    /// Counts what the module has taken from an attached client and given to it.
    fn note_carried(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients[id.0].as_mut() else { return };
        client.note_delivered(|socket| self.modem.delivered_bytes(socket));
        let Taken { bytes, datagrams } = client.carried(|socket| self.modem.carried(socket), now);
        if bytes > 0 {
            account_of(&mut self.accounts, client.tunnel()).moved_up(bytes);
        }
        if datagrams != Datagrams::default() {
            self.count_datagrams(id, datagrams);
        }
    }

    /// Does what an attached client's state and that of its socket call for.
    fn look_after(&mut self, id: ClientId, now: Instant) {
        self.note_carried(id, now);
        let Some(client) = self.clients[id.0].as_mut() else { return };
        let Some(socket) = client.socket() else { return };
        let holds_up = self.modem.holds_up_port(socket);
        client.set_holds_up_port(holds_up, now);
        let is_gone = client.is_gone();
        if holds_up && (is_gone || self.modem.loses_unread_bytes()) {
            return self.cut_off(id, "the client does not read", now);
        }
        // A client that has closed fully frees its socket as soon as its bytes are out.
        if is_gone && self.modem.unsent(socket) == 0 && !self.modem.awaits_delivery(socket, now) {
            self.leave_socket(socket, GiveUp::Orderly, now);
            self.leave(id, "the client closed", Kind::Done, now);
        }
    }

    fn leave_socket(&mut self, socket: SocketId, how: GiveUp, now: Instant) {
        if let Some(id) = self.client_of[socket.index()].take() {
            self.note_carried(id, now);
        }
        self.modem.give_up(socket, how, now);
    }

    /// The half-closed client that has been quiet longest, and when its socket may be taken back for those
    /// who wait.
    fn reclaimable(&self) -> Option<(ClientId, Instant)> {
        if self.waiting.is_empty() || self.has_made_room() {
            return None;
        }
        let is_sent = |socket| self.modem.unsent(socket) == 0;
        let attached = self.client_of.iter().flatten().filter_map(|id| Some((*id, self.get(*id)?)));
        attached
            .filter(|(_, client)| client.is_reclaimable(is_sent))
            .map(|(id, client)| (id, client.reclaimable_at()))
            .min_by_key(|(_, at)| *at)
    }

    /// Takes back the socket of a client that has been quiet since long before `at`, as far as that is known.
    fn reclaim(&mut self, id: ClientId, at: Instant, now: Instant) {
        let Some(client) = self.get(id) else { return };
        if !client.was_quiet_until(at) {
            self.actions.push_back(Action::AskClient(id));
            return;
        }
        let reason = match client.is_gone() {
            true => "the client left before there was a connection, and others wait",
            false => "half-closed and quiet while others wait",
        };
        if let Some(socket) = client.socket() {
            self.leave_socket(socket, GiveUp::Orderly, now);
        }
        self.reset(id, reason, Kind::StreamCut, now);
    }

    /// What the limits of this client depend on, beside the client.
    fn view(&self, client: &Client) -> View {
        let socket = client.socket().filter(|_| client.holds_up_port());
        View {
            is_draining: self.ending != Ending::Not,
            hides_relief: socket.is_some_and(|socket| self.modem.holds_up_its_relief(socket)),
            open_due_since: client.opening().and_then(|socket| self.modem.open_due_since(socket)),
        }
    }

    /// Does what is due for this client.
    fn client_due(&mut self, id: ClientId, now: Instant) {
        let Some(view) = self.get(id).map(|client| self.view(client)) else { return };
        let Some(client) = self.get_mut(id) else { return };
        let effect = client.due(view, now);
        self.follow(id, effect, now);
    }

    /// Closes a client that has no more to expect.
    fn leave(&mut self, id: ClientId, reason: &str, kind: Kind, now: Instant) {
        self.count_what_is_left(id);
        let Some(client) = self.remove(id, now) else { return };
        self.actions.push_back(Action::CloseClient(id));
        log::info!("{}", client.account(reason, now));
        self.ended(kind, now);
    }

    /// Resets a client, so that it does not take this for an end.
    fn reset(&mut self, id: ClientId, reason: &str, kind: Kind, now: Instant) {
        self.count_what_is_left(id);
        if let Some(line) = self.get(id).map(|client| client.account(reason, now)) {
            self.reset_with(id, &line, kind, now);
        }
    }

    /// The same with a line of its own in the log.
    fn reset_with(&mut self, id: ClientId, line: &str, kind: Kind, now: Instant) {
        self.count_what_is_left(id);
        let Some(client) = self.remove(id, now) else { return };
        log::warn!("{line} [{kind}]");
        account_of(&mut self.accounts, client.tunnel()).counters.resets += 1;
        let rest = if client.is_session() { Vec::new() } else { client.rest().to_vec() };
        self.actions.push_back(Action::ResetClient { client: id, rest });
        self.ended(kind, now);
    }

    fn remove(&mut self, id: ClientId, now: Instant) -> Option<Client> {
        self.waiting.retain(|waiting| *waiting != id);
        self.leave_probe(id, now);
        let client = self.clients.get_mut(id.0).and_then(Option::take)?;
        if client.is_session() {
            self.over.push((id, client.tunnel().clone()));
        }
        Some(client)
    }

    /// A client has ended. With `connect` that is the end of everything.
    fn ended(&mut self, kind: Kind, now: Instant) {
        self.last_end = kind;
        if self.settings.is_single && self.ending == Ending::Not {
            self.ending = Ending::Draining { until: now + self.settings.shutdown_timeout };
        }
    }

    /// Breaks off all connections, and resets their clients and those that wait.
    pub fn reset_all(&mut self, reason: &str, now: Instant) {
        for index in 0..self.clients.len() {
            self.cut_off(ClientId(index), reason, now);
        }
    }

    /// Breaks off the client's connection, and resets the client.
    fn cut_off(&mut self, id: ClientId, reason: &str, now: Instant) {
        if let Some(socket) = self.get(id).and_then(Client::socket) {
            self.leave_socket(socket, GiveUp::Abort, now);
        }
        self.reset(id, reason, Kind::StreamCut, now);
    }

    /// Once the process is to end, a client without a socket waits for no modem that is not ready: nothing of the client
    /// has been sent, and it may be served elsewhere.
    fn reset_unserved(&mut self, now: Instant) {
        if matches!(self.ending, Ending::Draining { .. }) && !self.modem.is_serving() {
            self.serve_nobody(now);
        }
    }

    /// Resets the clients without a socket: the modem is not ready.
    fn serve_nobody(&mut self, now: Instant) {
        for index in 0..self.clients.len() {
            let id = ClientId(index);
            if self.get(id).is_some_and(Client::is_unserved) {
                self.not_served(id, now);
            }
        }
    }

    fn begin_release(&mut self, kind: Kind, now: Instant) {
        let drained_by = match self.ending {
            Ending::Draining { until } => until.max(now),
            _ => now,
        };
        let until = (drained_by + RELEASE_EXTRA).min(now + RELEASE_LIMIT);
        self.ending = Ending::Releasing { kind, until };
        self.modem.release(now, until);
    }

    fn stop(&mut self, kind: Kind) {
        self.ending = Ending::Over;
        self.actions.push_back(Action::Stop(kind));
    }
}

const EVICTED: &str = "idle longest, closed to make room (--when-full evict)";

/// The most clients that wait for a socket; further ones wait in the kernel's backlog.
pub const WAITING_MAX: usize = 64;

/// The most clients at all.
pub const CLIENTS_MAX: usize = 512;

/// How long it may take to leave the modem as it was found: at most, and at most after --shutdown-timeout.
const RELEASE_LIMIT: Duration = Duration::from_secs(45);
const RELEASE_EXTRA: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
