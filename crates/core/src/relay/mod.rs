//! Clients attached to sockets: waiting for one, half-closes, ends, and every limit of time.
//!
//! The event loop holds the [`Relay`]: it reports what happened, moves the bytes that are offered, and does the actions
//! that are asked for. The modem is inside.

mod client;
mod probe;
mod reconfigure;
mod report;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::at::{Command, ResultCode, SOCKET_COUNT, SocketId};
use crate::cmux::CHANNELS_MAX;
use crate::counted;
use crate::error::Kind;
use crate::input::{ClientInput, Input};
use crate::modem::{
    self, Carried, Cut, End, Event, Failure, GiveUp, Modem, OUTGOING_LIMIT_BYTES, OpenFailure,
    SEND_STUCK_LIMIT, UserAnswer, UserCommand,
};
use crate::settings::{OpenOn, Settings, Tunnel, WhenFull};
use crate::shared_port::SharedPort;
pub use crate::shared_port::{LineChannel, Multiplexer};
use client::{Client, ClientState, Stall, Taken};
use probe::Probe;

pub use client::ClientId;
use report::{Account, account_of};
pub use report::{Connection, Moved, TunnelCounters, TunnelReport};

/// The core: one modem, its tunnels, and their clients.
#[derive(Debug)]
pub struct Relay {
    modem: Modem,
    /// The port, where its line carries several channels: each is a port of the modem.
    shared_port: Option<SharedPort>,
    settings: Settings,
    clients: Vec<Option<Client>>,
    /// How many clients there have been.
    accepted_clients: u64,
    /// Clients without a socket, in the order of their arrival.
    waiting: VecDeque<ClientId>,
    /// The client of each socket.
    client_of: [Option<ClientId>; SOCKET_COUNT],
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
        status: Kind,
        until: Instant,
    },
    Over,
}

/// What the event loop must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Something at a port or with the clock.
    Modem(modem::Action),
    /// No more bytes will be written to this client: shut down that direction.
    FinishClient(ClientId),
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
    /// A plain TCP connection, asked for by a command from outside, came to be (0) or not.
    TcpOpened(u8, u16),
    /// A TLS connection, asked for by a command from outside, came to be (0) or not.
    TlsOpened(u8, u16),
    /// The answer to a command that came from outside.
    Answered(UserCommand, UserAnswer),
    /// End the process with this status.
    Stop(Kind),
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
            accepted_clients: 0,
            waiting: VecDeque::new(),
            client_of: [None; SOCKET_COUNT],
            actions: VecDeque::new(),
            ending: Ending::Not,
            last_end: Kind::Done,
            was_up: false,
            failure: None,
            probe: None,
            accounts,
            session_since: now,
        };
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

    /// Whether this tunnel accepts another client; the rest waits in the kernel's backlog.
    pub fn wants_clients(&self, tunnel: &Arc<Tunnel>) -> bool {
        let limit = tunnel.limits.max_clients;
        let is_its = |client: &&Client| Arc::ptr_eq(&client.tunnel, tunnel);
        let of_tunnel = || self.clients.iter().flatten().filter(is_its).count();
        // Actions for an old client must not reach a new one with the same id.
        self.ending == Ending::Not
            && self.actions.is_empty()
            && self.waiting.len() < LINE_MAX
            && self.client_count() < CLIENTS_MAX
            && limit.is_none_or(|limit| of_tunnel() < limit)
    }

    /// How many bytes this client may send now.
    pub fn wants_client_bytes(&self, client: ClientId) -> usize {
        let Some(client) = self.get(client) else { return 0 };
        if client.finished {
            return 0;
        }
        match client.state {
            ClientState::Silent => client.early.room(),
            ClientState::Waiting => 0,
            // While the port is busy, room comes in small pieces. What is queued lasts until there is more.
            ClientState::Attached { socket, .. } => match self.modem.room(socket) {
                room if room < CLIENT_READ_MIN_BYTES => 0,
                room => room,
            },
            ClientState::Ending { .. } | ClientState::Lingering => DISCARD_BYTES,
        }
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
        let clients = self.clients.iter().flatten().filter_map(|client| self.client_deadline(client));
        let ending = match self.ending {
            Ending::Draining { until } | Ending::Releasing { until, .. } => Some(until),
            Ending::Not | Ending::Over => None,
        };
        let reclaim = self.reclaimable().map(|(_, at)| at);
        let reclaim = reclaim.into_iter().chain(self.probe.map(|probe| probe.until));
        let shared = self.shared_port.as_ref().and_then(SharedPort::next_deadline);
        clients.chain(ending).chain(reclaim).chain(shared).chain(self.modem.next_deadline()).min()
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
            Input::HostClock(unix_seconds) => self.modem.host_clock(unix_seconds, now),
            Input::Deadline => self.deadline_passed(now),
            Input::Shutdown { signal } => self.shutdown(signal, now),
        }
    }

    // What happened to clients.

    /// A client was accepted.
    pub fn client_accepted(&mut self, tunnel: &Arc<Tunnel>, peer: String, now: Instant) -> ClientId {
        let free = self.clients.iter().position(Option::is_none);
        let id = ClientId(free.unwrap_or(self.clients.len()));
        if free.is_none() {
            self.clients.push(None);
        }
        self.accepted_clients += 1;
        let mut client = Client::new(self.accepted_clients, tunnel.clone(), peer, now);
        account_of(&mut self.accounts, tunnel).counters.accepted += 1;
        match tunnel.limits.open_on {
            OpenOn::FirstByte => client.state = ClientState::Silent,
            OpenOn::Accept => self.waiting.push_back(id),
        }
        self.clients[id.0] = Some(client);
        self.settle(now);
        if tunnel.limits.when_full == WhenFull::Reset && self.waiting.contains(&id) {
            account_of(&mut self.accounts, tunnel).counters.refused += 1;
            self.reset(id, "all sockets are busy (--when-full reset)", Kind::Failed, now);
        }
        self.settle(now);
        id
    }

    /// The client sent bytes, no more than [`Relay::wants_client_bytes`] allowed.
    pub fn client_received(&mut self, id: ClientId, bytes: &[u8], now: Instant) {
        let Some(client) = self.clients.get_mut(id.0).and_then(Option::as_mut) else { return };
        client.last_byte = now;
        client.silent_since = None;
        match &mut client.state {
            ClientState::Silent => {
                let taken = client.early.append(bytes);
                debug_assert_eq!(taken, bytes.len(), "no more than wanted");
                client.state = ClientState::Waiting;
                self.waiting.push_back(id);
            }
            ClientState::Attached { socket, .. } => {
                let taken = self.modem.send(*socket, bytes, now);
                // The server may have closed in this turn.
                client.undelivered += (bytes.len() - taken) as u64;
            }
            ClientState::Waiting | ClientState::Ending { .. } | ClientState::Lingering => {
                client.undelivered += bytes.len() as u64;
            }
        }
        self.settle(now);
    }

    /// The client will send nothing more; it may still read.
    fn client_finished(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients.get_mut(id.0).and_then(Option::as_mut) else { return };
        if client.finished {
            return;
        }
        client.finished = true;
        client.last_byte = now;
        client.look_at = Some(now + LOOK_AGAIN_MIN);
        self.actions.push_back(Action::LookForClient(id));
        match client.state {
            ClientState::Lingering => self.conclude(id, now),
            ClientState::Silent => self.close(id, "the client left without a word", now),
            _ => {}
        }
        self.settle(now);
    }

    /// The client is gone: it has closed both directions.
    fn client_gone(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients.get_mut(id.0).and_then(Option::as_mut) else { return };
        client.gone = true;
        client.look_at = None;
        match client.state {
            ClientState::Ending { .. } => {
                self.close(id, "the client closed before it had read everything", now)
            }
            ClientState::Lingering => self.close(id, FAR_END_CLOSED, now),
            ClientState::Silent | ClientState::Waiting | ClientState::Attached { .. } => {}
        }
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
            |client: &Option<Client>| client.as_ref().is_some_and(|client| client.number == number);
        let Some(index) = self.clients.iter().position(has_number) else { return false };
        self.cut_off(ClientId(index), "ended by status --kill", now);
        self.settle(now);
        true
    }

    /// Bytes for this client.
    pub fn client_output(&self, id: ClientId) -> &[u8] {
        match self.get(id).map(|client| &client.state) {
            Some(ClientState::Attached { socket, .. }) => self.modem.received(*socket),
            Some(ClientState::Ending { rest }) => rest.as_slice(),
            _ => &[],
        }
    }

    /// The client took `count` bytes of [`Relay::client_output`].
    pub fn client_written(&mut self, id: ClientId, count: usize, now: Instant) {
        let Some(client) = self.clients.get_mut(id.0).and_then(Option::as_mut) else { return };
        client.down_bytes += count as u64;
        account_of(&mut self.accounts, &client.tunnel).moved_down(count);
        client.last_byte = now;
        match &mut client.state {
            ClientState::Attached { socket, .. } => self.modem.consume(*socket, count, now),
            ClientState::Ending { rest } => rest.consume(count),
            ClientState::Silent | ClientState::Waiting | ClientState::Lingering => {}
        }
        self.conclude(id, now);
        self.settle(now);
    }

    /// How many of the bytes that were written to the client its system still holds; 0 where that is unknown.
    fn client_queue(&mut self, id: ClientId, bytes: usize, now: Instant) {
        let Some(client) = self.clients.get_mut(id.0).and_then(Option::as_mut) else { return };
        let taken = Taken { at: now, bytes: client.down_bytes.saturating_sub(bytes as u64) };
        let before = std::mem::replace(&mut client.taken, taken);
        // Once all of it is taken, it is unknown since when.
        if bytes > 0 && taken.bytes > before.bytes {
            client.last_byte = now;
            if let Some(stall) = &mut client.stall {
                stall.moved = now;
            }
        }
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
        if self.probe.is_some_and(|probe| probe.until <= now) {
            self.end_probe(false, now);
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
            Ending::Releasing { status, until } if until <= now => {
                log::warn!("the modem could not be left as it was found");
                self.stop(status);
            }
            _ => {}
        }
        self.settle(now);
    }

    /// Puts a command from outside in line; its answer comes as [`Action::Answered`]. `None`: too many wait.
    pub fn command(&mut self, command: Command, now: Instant) -> Option<UserCommand> {
        let id = self.modem.command(command, now);
        self.settle(now);
        id
    }

    /// SIGTERM or SIGINT: serve the clients that are there, then end. `signal` is its number.
    fn shutdown(&mut self, signal: u8, now: Instant) {
        match self.ending {
            Ending::Not => {
                self.ending = Ending::Draining { until: now + self.settings.shutdown_timeout };
                self.reset_unserved(now);
                if self.client_count() > 0 {
                    let connections = counted(self.client_count(), "connection");
                    log::info!("draining {connections} (again to stop at once)");
                }
            }
            Ending::Draining { .. } | Ending::Releasing { .. } => {
                self.reset_all("stopped", now);
                self.stop(Kind::Signal(signal));
            }
            Ending::Over => {}
        }
        self.settle(now);
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
        if waits && is_stop { None } else { self.actions.pop_front() }
    }

    // Inside.

    fn get(&self, id: ClientId) -> Option<&Client> {
        self.clients.get(id.0)?.as_ref()
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
            self.modem.want_sockets(!self.waiting.is_empty(), now);
            for index in 0..SOCKET_COUNT {
                if let Some(id) = self.client_of[index] {
                    self.look_after(id, now);
                }
            }
            self.reset_unserved(now);
            if matches!(self.ending, Ending::Draining { .. }) && self.client_count() == 0 {
                let status = if self.settings.is_single { self.last_end } else { Kind::Done };
                self.begin_release(status, now);
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
            shared.leave(now);
        }
        shared.settle(&mut self.modem, now)
    }

    fn event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Up => {
                self.session_since = now;
                if !std::mem::replace(&mut self.was_up, true) {
                    self.actions.push_back(Action::Ready);
                }
            }
            Event::Down => self.session_since = now,
            Event::Opened(socket) => {
                let Some(id) = self.client_of[socket.index()] else { return };
                if let Some(Client { state: ClientState::Attached { open, .. }, tunnel, .. }) =
                    &mut self.clients[id.0]
                {
                    *open = true;
                    account_of(&mut self.accounts, tunnel).opened();
                }
                if let Some(client) = self.get(id) {
                    let seconds = now.saturating_duration_since(client.since).as_secs_f64();
                    log::info!("{}: open after {seconds:.1} s, socket {socket}", self.between(client));
                }
            }
            Event::OpenFailed(socket, failure) => {
                let Some(id) = self.client_of[socket.index()].take() else { return };
                if self.begin_probe(id, &failure, now) {
                    return;
                }
                let mut reason = format!("cannot connect: {}", probe::cause(&failure));
                if failure == OpenFailure::Code(ResultCode::NO_MEMORY) {
                    reason.push_str(&self.memory_advice(id));
                } else {
                    reason.push_str(&self.see_doctor(id));
                }
                self.reset(id, &reason, failure.status(), now);
            }
            Event::Ended(socket, end) => self.socket_ended(socket, end, now),
            Event::SentLate { tunnel, bytes } => {
                account_of(&mut self.accounts, &tunnel).moved_up(bytes as u64)
            }
            Event::GaveUp(failure) => {
                self.reset_all("the modem cannot be used", now);
                self.stop(failure.status);
                self.failure = Some(failure);
            }
            Event::TlsOpened(id, result) => {
                self.actions.push_back(Action::TlsOpened(id.index() as u8, result));
            }
            Event::TcpOpened(id, result) => {
                if !self.probe_opened(id, result, now) {
                    self.actions.push_back(Action::TcpOpened(id, result));
                }
            }
            Event::Answered(id, answer) => {
                if !self.probe_answered(id, &answer, now) {
                    self.actions.push_back(Action::Answered(id, answer));
                }
            }
            Event::Released => {
                if let Ending::Releasing { status, .. } = self.ending {
                    self.stop(status);
                }
            }
        }
    }

    /// Attaches the first waiting client to a socket, if there is one for it. Returns whether it did.
    fn serve_waiting(&mut self, now: Instant) -> bool {
        let Some(place) = self
            .waiting
            .iter()
            .position(|id| self.get(*id).is_some_and(|client| self.modem.can_open(&client.tunnel)))
        else {
            return false;
        };
        let id = self.waiting[place];
        let Some(client) = self.clients[id.0].as_mut() else { return false };
        let Some(socket) = self.modem.open(&client.tunnel, now) else { return false };
        self.waiting.remove(place);
        client.state = ClientState::Attached { socket, open: false, carried: Carried::default() };
        client.last_byte = now;
        client.silent_since = client.silent_since.map(|_| now);
        self.client_of[socket.index()] = Some(id);
        let early = std::mem::replace(&mut client.early, crate::byte_queue::ByteQueue::new(0));
        let taken = self.modem.send(socket, early.as_slice(), now);
        debug_assert_eq!(taken, early.len(), "an empty socket has room for what a client may send early");
        true
    }

    /// The socket has ended: its last bytes are moved to the client.
    fn socket_ended(&mut self, socket: SocketId, end: End, now: Instant) {
        let Some(id) = self.client_of[socket.index()].take() else { return };
        self.note_carried(id, now);
        let unsent = self.modem.unsent(socket) as u64;
        let rest = self.modem.take_rest(socket);
        let Some(client) = self.clients[id.0].as_mut() else { return };
        client.undelivered += unsent;
        client.stall = None;
        let gone = client.gone;
        client.state = ClientState::Ending { rest };
        match end {
            End::Cut(cut) => {
                let status = match cut {
                    Cut::ShuttingDown => Kind::DrainTimeout,
                    Cut::PortLost | Cut::Rebooted | Cut::Silent => Kind::ModemLost,
                    _ => Kind::StreamCut,
                };
                self.reset(id, &cut.to_string(), status, now);
            }
            End::Eof if gone && client.undelivered > 0 => self.end_with_loss(id, now),
            End::Eof if gone => self.close(id, "both sides closed", now),
            End::Eof => self.conclude(id, now),
        }
    }

    /// Ends a client whose stream ended in order, once it has taken all bytes.
    fn conclude(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients[id.0].as_mut() else { return };
        match &client.state {
            ClientState::Ending { rest } if rest.is_empty() => {
                client.state = ClientState::Lingering;
                client.last_byte = now;
                self.actions.push_back(Action::FinishClient(id));
                if client.finished {
                    self.conclude(id, now);
                }
            }
            ClientState::Lingering if client.finished => {
                if client.undelivered > 0 {
                    self.end_with_loss(id, now);
                } else {
                    self.close(id, FAR_END_CLOSED, now);
                }
            }
            _ => {}
        }
    }

    /// Ends a client that has read everything, but whose own last bytes the module did not take.
    fn end_with_loss(&mut self, id: ClientId, now: Instant) {
        let lost = self.get(id).map_or(0, |client| client.undelivered);
        let reason = format!("the far end closed and did not take the last {lost} bytes of the client");
        self.reset(id, &reason, Kind::StreamCut, now);
    }

    /// Counts what the module has taken from an attached client and given to it: that is movement too.
    fn note_carried(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.clients[id.0].as_mut() else { return };
        let ClientState::Attached { socket, carried, .. } = &mut client.state else { return };
        let (before, after) = (*carried, self.modem.carried(*socket));
        if before == after {
            return;
        }
        *carried = after;
        client.last_byte = after.line_free_at.map_or(now, |at| at.max(now));
        let taken = after.up_bytes.saturating_sub(before.up_bytes);
        client.up_bytes += taken;
        account_of(&mut self.accounts, &client.tunnel).moved_up(taken);
    }

    /// Does what an attached client's state and that of its socket call for.
    fn look_after(&mut self, id: ClientId, now: Instant) {
        self.note_carried(id, now);
        let loses = self.modem.loses_unread_bytes();
        let Some(client) = self.clients[id.0].as_mut() else { return };
        let ClientState::Attached { socket, .. } = client.state else { return };
        let holds_up = self.modem.holds_up_port(socket);
        match (holds_up, client.stall) {
            (true, None) => client.stall = Some(Stall { since: now, moved: now }),
            (false, Some(_)) => client.stall = None,
            _ => {}
        }
        if holds_up && (loses || client.gone) {
            return self.cut_off(id, "the client does not read", now);
        }
        // A client that has closed fully frees its socket as soon as its bytes are out.
        if client.gone && client.finished && self.modem.unsent(socket) == 0 {
            self.leave_socket(socket, GiveUp::Orderly, now);
            self.close(id, "the client closed", now);
        }
    }

    fn leave_socket(&mut self, socket: SocketId, how: GiveUp, now: Instant) {
        if let Some(id) = self.client_of[socket.index()].take() {
            self.note_carried(id, now);
        }
        self.modem.give_up(socket, how, now);
    }

    /// The half-closed client that has been quiet longest, and when its socket may be taken back for those
    /// who wait. A client that left while its connection was being opened is one too, even if it had sent something.
    fn reclaimable(&self) -> Option<(ClientId, Instant)> {
        if self.waiting.is_empty() {
            return None;
        }
        self.client_of
            .iter()
            .flatten()
            .filter_map(|id| Some((*id, self.get(*id)?)))
            .filter(|(_, client)| match client.state {
                ClientState::Attached { open: false, .. } if client.gone => true,
                ClientState::Attached { socket, .. } => client.finished && self.modem.unsent(socket) == 0,
                _ => false,
            })
            .map(|(id, client)| (id, client.last_byte + RECLAIM_AFTER))
            .min_by_key(|(_, at)| *at)
    }

    /// Takes back the socket of a client that has been quiet since long before `at`, as far as that is known.
    fn reclaim(&mut self, id: ClientId, at: Instant, now: Instant) {
        let Some(client) = self.get(id) else { return };
        if client.taken.at < at {
            self.actions.push_back(Action::AskClient(id));
            return;
        }
        let reason = match client.gone {
            true => "the client left before there was a connection, and others wait",
            false => "half-closed and quiet while others wait",
        };
        if let Some(socket) = client.socket() {
            self.leave_socket(socket, GiveUp::Orderly, now);
        }
        self.reset(id, reason, Kind::StreamCut, now);
    }

    /// When something is due for this client.
    fn client_deadline(&self, client: &Client) -> Option<Instant> {
        self.client_limits(client).map(|(at, _)| at).chain(client.look_at).chain(asks_at(client)).min()
    }

    /// The limits of time that hold for this client now, and what each is called.
    fn client_limits<'a>(&'a self, client: &'a Client) -> impl Iterator<Item = (Instant, &'static str)> + 'a {
        let limits = &client.tunnel.limits;
        let limit =
            |from: Instant, length: Duration, reason| (!length.is_zero()).then(|| (from + length, reason));
        // A client that waits in the queue is not read from, and may have sent something.
        let listens = matches!(client.state, ClientState::Silent | ClientState::Attached { .. });
        let first_byte = client
            .silent_since
            .filter(|_| listens && !client.finished)
            .and_then(|since| limit(since, limits.first_byte_timeout, SILENT));
        let by_state = match &client.state {
            ClientState::Silent => None,
            ClientState::Waiting => limit(client.since, limits.queue_timeout, WAITED),
            // Its upload goes out first, for as long as that moves.
            ClientState::Attached { open: true, carried: Carried { is_sending: true, .. }, .. }
                if client.finished =>
            {
                limit(
                    client.last_byte,
                    UNSENT_LIMIT,
                    "half-closed, and nothing of the rest is taken any more",
                )
            }
            ClientState::Attached { open: true, .. } if client.finished => {
                limit(client.last_byte, limits.half_close_timeout, HALF_CLOSED)
            }
            ClientState::Attached { open: true, .. } => {
                limit(client.last_byte, limits.idle_timeout, "idle (--idle-timeout)")
            }
            ClientState::Attached { .. } => None,
            ClientState::Ending { .. } => {
                limit(client.last_byte, limits.stall_timeout, "the client does not read")
            }
            ClientState::Lingering => match self.ending {
                Ending::Not => limit(client.last_byte, LINGER, LINGERED),
                _ => limit(client.last_byte, LINGER_AT_THE_END, LINGERED),
            },
        };
        let stall = client.stall.and_then(|stall| {
            let is_stuck = client.socket().is_some_and(|socket| self.modem.holds_up_its_relief(socket));
            // A client that reads slowly is not spared where all others wait until it has read everything.
            let (from, length) = match is_stuck {
                true => (stall.since, limits.stall_timeout.min(RELIEF_MAX)),
                false => (stall.moved, limits.stall_timeout),
            };
            limit(from, length, "the client does not read and holds up others (--stall-timeout)")
        });
        let lifetime = limit(client.since, limits.lifetime, "too old (--lifetime)");
        by_state.into_iter().chain(first_byte).chain(stall).chain(lifetime)
    }

    /// Does what is due for this client.
    fn client_due(&mut self, id: ClientId, now: Instant) {
        let Some(client) = self.get(id) else { return };
        let over = self.client_limits(client).find(|(at, _)| *at <= now);
        let looks = client.look_at.is_some_and(|at| at <= now);
        let may_have_moved =
            matches!(client.state, ClientState::Attached { .. } | ClientState::Ending { .. });
        if asks_at(client).is_some_and(|at| at <= now)
            || may_have_moved && over.is_some_and(|(at, _)| client.taken.at < at)
        {
            self.actions.push_back(Action::AskClient(id));
            return;
        }
        if let Some((_, reason)) = over {
            if reason == LINGERED {
                return match client.undelivered {
                    0 => self.close(id, FAR_END_CLOSED, now),
                    _ => self.end_with_loss(id, now),
                };
            }
            if let Some(socket) = client.socket() {
                // To the server a client that has sent everything has ended in order; only its answer is not waited for.
                let how = if reason == HALF_CLOSED { GiveUp::Orderly } else { GiveUp::Abort };
                self.leave_socket(socket, how, now);
            }
            if reason == WAITED && !self.modem.is_up() {
                let cause = self.cause_of_waiting();
                let reason = format!("the modem was not ready in time (--queue-timeout): {cause}");
                return self.reset(id, &reason, Kind::StreamCut, now);
            }
            return self.reset(id, reason, Kind::StreamCut, now);
        }
        if looks && let Some(client) = self.clients[id.0].as_mut() {
            let quiet = now.saturating_duration_since(client.last_byte);
            client.look_at = Some(now + quiet.clamp(LOOK_AGAIN_MIN, LOOK_AGAIN_MAX));
            self.actions.push_back(Action::LookForClient(id));
        }
        self.conclude(id, now);
    }

    /// Ends a client in order.
    fn close(&mut self, id: ClientId, reason: &str, now: Instant) {
        self.leave(id, reason, Kind::Done, now);
    }

    /// Closes a client that has no more to expect.
    fn leave(&mut self, id: ClientId, reason: &str, status: Kind, now: Instant) {
        let Some(client) = self.remove(id) else { return };
        self.actions.push_back(Action::CloseClient(id));
        log::info!("{}", self.account(&client, reason, now));
        self.ended(status, now);
    }

    /// Resets a client, so that it does not take this for an end.
    fn reset(&mut self, id: ClientId, reason: &str, status: Kind, now: Instant) {
        let Some(client) = self.remove(id) else { return };
        log::warn!("{} [{status}]", self.account(&client, reason, now));
        account_of(&mut self.accounts, &client.tunnel).counters.resets += 1;
        let rest = match client.state {
            ClientState::Ending { rest } => rest.as_slice().to_vec(),
            _ => Vec::new(),
        };
        self.actions.push_back(Action::ResetClient { client: id, rest });
        self.ended(status, now);
    }

    fn remove(&mut self, id: ClientId) -> Option<Client> {
        self.waiting.retain(|waiting| *waiting != id);
        self.probe = self.probe.filter(|probe| probe.client != id);
        self.clients.get_mut(id.0).and_then(Option::take)
    }

    /// The one line that is logged at the end of a connection.
    fn account(&self, client: &Client, reason: &str, now: Instant) -> String {
        let seconds = now.saturating_duration_since(client.since).as_secs_f64();
        let (up, down) = (client.up_bytes, client.down_bytes);
        let carried = match (up, down) {
            (0, 0) => String::new(),
            _ => format!("{up} bytes up, {down} down, "),
        };
        format!("{}: {carried}{seconds:.1} s: {reason}", self.between(client))
    }

    /// Who is connected to what.
    fn between(&self, client: &Client) -> String {
        format!("{} to {}", client.peer, client.tunnel.target)
    }

    /// A client has ended. With `connect` that is the end of everything.
    fn ended(&mut self, status: Kind, now: Instant) {
        self.last_end = status;
        if self.settings.is_single && self.ending == Ending::Not {
            self.ending = Ending::Draining { until: now + self.settings.shutdown_timeout };
        }
    }

    fn reset_all(&mut self, reason: &str, now: Instant) {
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
        if !matches!(self.ending, Ending::Draining { .. }) || self.modem.is_serving() {
            return;
        }
        for index in 0..self.clients.len() {
            let id = ClientId(index);
            if self
                .get(id)
                .is_some_and(|client| matches!(client.state, ClientState::Silent | ClientState::Waiting))
            {
                let reason =
                    format!("shutting down, and the modem is not ready: {}", self.cause_of_waiting());
                self.reset(id, &reason, Kind::StreamCut, now);
            }
        }
    }

    /// What the modem waits for, in words.
    fn cause_of_waiting(&self) -> String {
        let state = self.modem.session_in_words();
        state.strip_prefix("waiting: ").unwrap_or(&state).to_owned()
    }

    fn begin_release(&mut self, status: Kind, now: Instant) {
        let drained_by = match self.ending {
            Ending::Draining { until } => until.max(now),
            _ => now,
        };
        let until = (drained_by + RELEASE_EXTRA).min(now + RELEASE_LIMIT);
        self.ending = Ending::Releasing { status, until };
        self.modem.release(now, until);
    }

    fn stop(&mut self, status: Kind) {
        self.ending = Ending::Over;
        self.actions.push_back(Action::Stop(status));
    }
}

/// When to ask how much a client has taken that does not take all at once.
fn asks_at(client: &Client) -> Option<Instant> {
    match (&client.state, client.stall) {
        (ClientState::Ending { .. }, _) | (_, Some(_)) => Some(client.taken.at + ASK_EVERY),
        _ => None,
    }
}

/// The most clients that wait for a socket; further ones wait in the kernel's backlog.
const LINE_MAX: usize = 64;

/// The most clients at all.
pub const CLIENTS_MAX: usize = 512;

/// A read of less is not worth its system call, in bytes; a full queue holds this and more.
const CLIENT_READ_MIN_BYTES: usize = OUTGOING_LIMIT_BYTES / 2;

/// How much is read at once of a client whose bytes go nowhere any more.
const DISCARD_BYTES: usize = 4 * 1024;

/// How often it is asked how much a client has taken that is slow to read.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How long a half-closed client must have been quiet before its socket is taken back for those who wait.
const RECLAIM_AFTER: Duration = Duration::from_secs(5);

/// For this long, a client that does not read may hold up the answer that would let the others go on without it.
const RELIEF_MAX: Duration = Duration::from_secs(1);

/// How long a client may take to close after it has been given the end.
const LINGER: Duration = Duration::from_secs(10);

/// The same once the process is to end: what was written is with the client's system by then.
const LINGER_AT_THE_END: Duration = Duration::from_secs(1);

/// How long nothing of what a half-closed client has sent may be taken.
const UNSENT_LIMIT: Duration = SEND_STUCK_LIMIT;

/// How often to look whether a half-closed client has closed fully: the longer it is quiet, the less often.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(100);
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(5);

/// How long it may take to leave the modem as it was found: at most, and at most after --shutdown-timeout.
const RELEASE_LIMIT: Duration = Duration::from_secs(45);
const RELEASE_EXTRA: Duration = Duration::from_secs(5);

const FAR_END_CLOSED: &str = "the far end closed";
const SILENT: &str = "the client sent nothing in time (--first-byte-timeout)";
const WAITED: &str = "no free socket in time (--queue-timeout)";
const HALF_CLOSED: &str = "half-closed and quiet (--half-close-timeout)";
const LINGERED: &str = "the far end closed and the client stayed";
