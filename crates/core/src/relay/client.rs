//! One client: a local connection that we accepted, from then until it is closed or reset.
//!
//! ```text
//!   Silent ──first byte──► Waiting ──socket free──► Opening ──► Open
//!   (--open-on first-byte)                             │          │ stream ended in order
//!                                                      └────┬─────┘
//!                                                           ▼
//!                                                        Ending ──everything written──► Lingering
//! ```
//! A client can be reset in each state. Closing it in order needs one of two: it was given the end and has closed
//! itself, or it has closed both directions.
//!
//! A datagram session is a client as well. It is never silent: it begins with a datagram. It closes nothing, and when it
//! is over and its last datagrams are delivered, it is closed at once.
//!
//! Every transition is a method of [`Client`]. It takes what happened and returns what follows for the relay
//! ([`ClientEffect`]).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::report::{Datagrams, Dropped};
use crate::at::SocketId;
use crate::counted;
use crate::failure::Cut;
use crate::modem::{Carried, OUTGOING_LIMIT_BYTES, SEND_STUCK_LIMIT, SocketEnd};
use crate::queue::{DATAGRAMS_UP_MAX, Limits, Queue};
use crate::settings::{OpenOn, Server, Target, Tunnel};

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    /// Counts the clients of a process, from 1: what `status` shows and `--kill` takes.
    number: u64,
    /// The tunnel that it came through.
    tunnel: Arc<Tunnel>,
    /// The server that it is for.
    target: Target,
    /// Its address or process, for logs.
    peer: String,
    /// Where in the diagram it is.
    state: ClientState,
    /// How much of its connection it has closed.
    closed: ClientClosed,
    /// How many bytes of it could not be delivered: it must not end cleanly.
    undelivered: u64,
    /// What it sent before it had a socket.
    early: Queue,
    /// Bytes from it that the module has taken.
    up_bytes: u64,
    /// What of that the server has acknowledged, as far as it is known.
    delivered_bytes: Option<u64>,
    /// Bytes that were written to it.
    down_bytes: u64,
    /// What a session has carried and dropped.
    datagrams: Datagrams,
    /// Datagrams that its socket was given to send, and those that came for it, as far as it is not settled what became
    /// of them.
    unsettled: Unsettled,
    /// When it was accepted.
    since: Instant,
    /// Since when its first byte is listened for; `None`: it has come.
    silent_since: Option<Instant>,
    /// When a byte last moved, on either side of the tunnel.
    last_byte: Instant,
    /// It holds up a port by not reading.
    stall: Option<Stall>,
    /// What it had taken when its system was last asked.
    taken: Read,
}

/// The state of a client.
#[derive(Debug)]
enum ClientState {
    /// It has not sent anything, and gets a socket when it does.
    Silent,
    /// It waits for a socket.
    Waiting,
    /// Its socket is being opened.
    Opening(Attached),
    /// Bytes flow.
    Open(Attached),
    /// The stream has ended in order; this is still to be written to the client.
    Ending { rest: Queue },
    /// It has been given the end, and has not closed yet.
    Lingering,
}

/// A client's socket.
#[derive(Clone, Copy, Debug)]
struct Attached {
    socket: SocketId,
    /// What the module had taken and given when that was last looked at.
    carried: Carried,
}

/// How much of its connection a client has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientClosed {
    Nothing,
    /// It has sent its last byte, and may still read.
    Sending {
        /// When to look whether it is still there.
        look_at: Instant,
    },
    /// Both directions: it would not read what is written to it.
    Both,
}

/// A client that holds up a port.
#[derive(Clone, Copy, Debug)]
struct Stall {
    since: Instant,
    /// When it was last seen to have taken bytes from its system, or `since`.
    moved: Instant,
}

/// How much a client has read of what was written to it; its system holds the rest.
#[derive(Clone, Copy, Debug)]
struct Read {
    /// When the system was asked.
    at: Instant,
    /// What was written less what the system still held.
    bytes: u64,
}

/// Datagrams of a session of which it is not settled yet what becomes of them.
#[derive(Clone, Copy, Debug, Default)]
struct Unsettled {
    /// From it, given to its socket.
    up: u64,
    /// For it, come to its socket.
    down: u64,
}

/// What the module has taken of a client since it was last asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    pub bytes: u64,
    pub datagrams: Datagrams,
}

/// What the relay must do for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientEffect {
    Nothing,
    /// Shut down the direction to it.
    Finish,
    /// Close it in order, for this reason.
    Close(&'static str),
    /// Reset it: the server closed without so many of its last bytes.
    ResetWithLoss(u64),
    /// Reset it: its stream is broken.
    ResetCut(Cut),
    /// Break off its connection, and reset it.
    Over(Limit),
    /// Ask how much of what was written to it its system still holds.
    Ask,
    /// Look whether it is still there.
    Look,
}

/// Where the bytes of a client go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// They are kept until it has a socket. From now on it waits for one.
    Kept,
    /// To this socket.
    Socket(SocketId),
    /// They cannot be delivered any more.
    Nowhere,
}

/// A limit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    FirstByte,
    Queue,
    Unsent,
    HalfClosed,
    Idle,
    Unread,
    Linger,
    HoldsUp,
    Lifetime,
    ShuttingDown,
}

/// What the limits of a client depend on, beside the client itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// The process is to end.
    pub is_draining: bool,
    /// What it has not read hides that the module no longer pushes, so that all others wait for it.
    pub hides_relief: bool,
    /// Since when the open of its socket waits for a port to have to itself.
    pub open_due_since: Option<Instant>,
}

impl Client {
    /// A client that has just been accepted, for this server.
    pub fn new(number: u64, tunnel: Arc<Tunnel>, target: Target, peer: String, now: Instant) -> Self {
        Client {
            state: match tunnel.limits.open_on {
                OpenOn::FirstByte if !tunnel.carries_datagrams() => ClientState::Silent,
                OpenOn::FirstByte | OpenOn::Accept => ClientState::Waiting,
            },
            early: Queue::of(&tunnel.transport, EARLY_LIMITS),
            number,
            tunnel,
            target,
            peer,
            closed: ClientClosed::Nothing,
            undelivered: 0,
            up_bytes: 0,
            delivered_bytes: None,
            down_bytes: 0,
            datagrams: Datagrams::default(),
            unsettled: Unsettled::default(),
            since: now,
            silent_since: Some(now),
            last_byte: now,
            stall: None,
            taken: Read { at: now, bytes: 0 },
        }
    }

    // Questions.

    /// Counts the clients of a process, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The tunnel that it came through.
    pub fn tunnel(&self) -> &Arc<Tunnel> {
        &self.tunnel
    }

    /// The server that it is for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The same, and how the modem connects to it.
    pub fn server(&self) -> Server {
        self.tunnel.server_at(self.target.clone())
    }

    /// Its address or process, for logs.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Bytes from it that the module has taken.
    pub fn up_bytes(&self) -> u64 {
        self.up_bytes
    }

    /// What of that the server has acknowledged, as far as it is known.
    pub fn delivered_bytes(&self) -> Option<u64> {
        self.delivered_bytes
    }

    /// How many of its bytes the module has taken and the server has not acknowledged, as far as that is told.
    pub fn unacknowledged_bytes(&self) -> u64 {
        self.delivered_bytes.map_or(0, |bytes| self.up_bytes.saturating_sub(bytes))
    }

    /// Bytes that were written to it.
    pub fn down_bytes(&self) -> u64 {
        self.down_bytes
    }

    /// Whether it is a datagram session.
    pub fn is_session(&self) -> bool {
        self.tunnel.carries_datagrams()
    }

    /// When anything last moved, if it is a session that is open.
    pub fn idle_since(&self) -> Option<Instant> {
        let is_open = matches!(self.state, ClientState::Open(_));
        (is_open && self.is_session()).then_some(self.last_byte)
    }

    /// How long ago it was accepted.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// Where in the diagram it is, in a word for people.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            ClientState::Silent => "silent",
            ClientState::Waiting => "waiting",
            ClientState::Opening(_) => "opening",
            ClientState::Open(_) => "open",
            ClientState::Ending { .. } | ClientState::Lingering => "ending",
        }
    }

    /// The socket that it is attached to.
    pub fn socket(&self) -> Option<SocketId> {
        self.attached().map(|attached| attached.socket)
    }

    fn attached(&self) -> Option<&Attached> {
        match &self.state {
            ClientState::Opening(attached) | ClientState::Open(attached) => Some(attached),
            _ => None,
        }
    }

    /// The socket that is being opened for it.
    pub fn opening(&self) -> Option<SocketId> {
        match &self.state {
            ClientState::Opening(attached) => Some(attached.socket),
            _ => None,
        }
    }

    /// Whether it waits for a socket.
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, ClientState::Waiting)
    }

    /// Whether it never had a socket: nothing of it has been sent.
    pub fn is_unserved(&self) -> bool {
        matches!(self.state, ClientState::Silent | ClientState::Waiting)
    }

    /// Whether it has closed both directions.
    pub fn is_gone(&self) -> bool {
        self.closed == ClientClosed::Both
    }

    fn has_finished(&self) -> bool {
        self.closed != ClientClosed::Nothing
    }

    /// Whether it holds up a port by not reading.
    pub fn holds_up_port(&self) -> bool {
        self.stall.is_some()
    }

    /// How many bytes it may send now, where its socket has room for `room` bytes.
    pub fn wants_bytes(&self, room: impl Fn(SocketId) -> usize) -> usize {
        if self.has_finished() {
            return 0;
        }
        match &self.state {
            ClientState::Silent => self.early.room(),
            ClientState::Waiting => 0,
            // While the port is busy, room comes in small pieces. What is queued lasts until there is more.
            ClientState::Opening(Attached { socket, .. }) | ClientState::Open(Attached { socket, .. }) => {
                Some(room(*socket)).filter(|room| *room >= READ_MIN_BYTES).unwrap_or(0)
            }
            ClientState::Ending { .. } | ClientState::Lingering => DISCARD_BYTES,
        }
    }

    /// What is left of a stream that has ended.
    pub fn rest(&self) -> &[u8] {
        match &self.state {
            ClientState::Ending { rest } => rest.as_slice(),
            _ => &[],
        }
    }

    /// Whether its socket may be taken back for those who wait, once it has been quiet for long. A client that left
    /// while its connection was being opened is such a one, even if it had sent something.
    pub fn is_reclaimable(&self, is_sent: impl Fn(SocketId) -> bool) -> bool {
        match &self.state {
            ClientState::Opening(_) if self.is_gone() => true,
            ClientState::Opening(attached) | ClientState::Open(attached) => {
                self.has_finished() && is_sent(attached.socket)
            }
            _ => false,
        }
    }

    /// When that would be, if no byte moves until then.
    pub fn reclaimable_at(&self) -> Instant {
        self.last_byte + RECLAIM_AFTER
    }

    /// Whether it was quiet until then, as far as is known from its system.
    pub fn was_quiet_until(&self, at: Instant) -> bool {
        self.taken.at >= at
    }

    /// Who is connected to what.
    pub fn between(&self) -> String {
        format!("{} to {}", self.peer, self.server())
    }

    /// The one line that is logged at the end of a connection.
    pub fn account(&self, reason: &str, now: Instant) -> String {
        let carried = match (self.up_bytes, self.down_bytes) {
            _ if self.is_session() => self.datagrams_carried(),
            (0, 0) => String::new(),
            (up, down) => {
                // The last answer: more may have been acknowledged since then.
                let delivered = self.delivered_bytes.map_or(String::new(), |bytes| {
                    let at_least = if bytes < up { "at least " } else { "" };
                    format!(" ({at_least}{bytes} delivered)")
                });
                format!("{} up{delivered}, {down} down, ", counted(up, "byte"))
            }
        };
        let (client, seconds) = (self.between(), self.age(now).as_secs_f64());
        format!("{client}: {carried}{seconds:.1} s: {reason}")
    }

    /// The same of a session: what it carried, and what was dropped by cause.
    fn datagrams_carried(&self) -> String {
        let Datagrams { up, down, dropped } = self.datagrams;
        let mut carried = String::new();
        for (count, bytes, way) in [(up, self.up_bytes, "up"), (down, self.down_bytes, "down")] {
            if up + down > 0 {
                carried += &format!("{} ({}) {way}, ", counted(count, "datagram"), counted(bytes, "byte"));
            }
        }
        for (cause, count) in dropped.by_cause().into_iter().filter(|(_, count)| *count > 0) {
            carried += &format!("{count} dropped ({cause}), ");
        }
        carried
    }

    // What the client did.

    /// It sent a datagram; one longer than `most` bytes fits into no send. `send` gives it to its socket, if that has
    /// room. Returns what was dropped.
    pub fn datagram_received(
        &mut self,
        bytes: &[u8],
        most: usize,
        send: impl FnOnce(SocketId) -> bool,
        now: Instant,
    ) -> Dropped {
        self.last_byte = now;
        self.silent_since = None;
        let mut dropped = Dropped::default();
        if bytes.is_empty() {
            dropped.empty = 1;
        } else if bytes.len() > most {
            dropped.long = 1;
        } else {
            match &self.state {
                ClientState::Opening(attached) | ClientState::Open(attached) => match send(attached.socket) {
                    true => self.unsettled.up += 1,
                    false => dropped.full = 1,
                },
                ClientState::Waiting => dropped.full = u64::from(self.early.append(bytes) == 0),
                ClientState::Silent | ClientState::Ending { .. } | ClientState::Lingering => {
                    dropped.unsent = 1;
                }
            }
        }
        dropped
    }

    /// Datagrams of it went their way, or were dropped.
    pub fn count(&mut self, datagrams: Datagrams) {
        self.datagrams += datagrams;
        self.unsettled.up = self.unsettled.up.saturating_sub(datagrams.up);
        self.unsettled.down =
            self.unsettled.down.saturating_sub(datagrams.down + datagrams.dropped.undelivered);
    }

    /// It is over: what was neither sent nor delivered.
    pub fn left(&mut self) -> Dropped {
        let Unsettled { up, down } = std::mem::take(&mut self.unsettled);
        let early = self.early.take().whole_datagrams();
        Dropped { unsent: up + early as u64, undelivered: down, ..Dropped::default() }
    }

    /// It sent bytes, no more than [`Client::wants_bytes`] allowed.
    pub fn received(&mut self, bytes: &[u8], now: Instant) -> Destination {
        self.last_byte = now;
        self.silent_since = None;
        match &self.state {
            ClientState::Silent => {
                let taken = self.early.append(bytes);
                debug_assert_eq!(taken, bytes.len(), "no more than wanted");
                self.state = ClientState::Waiting;
                Destination::Kept
            }
            ClientState::Opening(attached) | ClientState::Open(attached) => {
                Destination::Socket(attached.socket)
            }
            ClientState::Waiting | ClientState::Ending { .. } | ClientState::Lingering => {
                self.not_delivered(bytes.len());
                Destination::Nowhere
            }
        }
    }

    /// So many of its bytes were not taken: the server may have closed in this turn.
    pub fn not_delivered(&mut self, count: usize) {
        self.undelivered += count as u64;
    }

    /// It will send nothing more; it may still read. `None`: that is known.
    pub fn finished(&mut self, now: Instant) -> Option<ClientEffect> {
        if self.has_finished() || self.is_session() {
            return None;
        }
        self.closed = ClientClosed::Sending { look_at: now + LOOK_AGAIN_MIN };
        self.last_byte = now;
        Some(match self.state {
            ClientState::Lingering => self.ends_in_order(),
            ClientState::Silent => ClientEffect::Close(LEFT_SILENT),
            _ => ClientEffect::Nothing,
        })
    }

    /// It has closed both directions.
    pub fn gone(&mut self) -> ClientEffect {
        self.closed = ClientClosed::Both;
        match self.state {
            ClientState::Silent => ClientEffect::Close(LEFT_SILENT),
            ClientState::Ending { .. } => {
                ClientEffect::Close("the client closed before it had read everything")
            }
            ClientState::Lingering => ClientEffect::Close(SERVER_CLOSED),
            _ => ClientEffect::Nothing,
        }
    }

    /// It took `count` bytes that were for it. Returns the socket that they came from, or what follows.
    pub fn written(&mut self, count: usize, now: Instant) -> Result<SocketId, ClientEffect> {
        self.down_bytes += count as u64;
        self.output_taken(count, now)
    }

    /// So many bytes that were for it are gone. Returns the socket that they came from, or what follows.
    pub fn output_taken(&mut self, count: usize, now: Instant) -> Result<SocketId, ClientEffect> {
        self.last_byte = now;
        match &mut self.state {
            ClientState::Opening(attached) | ClientState::Open(attached) => Ok(attached.socket),
            ClientState::Ending { rest } => {
                rest.consume(count);
                Err(self.delivered(now))
            }
            ClientState::Silent | ClientState::Waiting | ClientState::Lingering => Err(ClientEffect::Nothing),
        }
    }

    /// So many of the bytes that were written to it its system still holds; 0 where that is unknown.
    pub fn queue(&mut self, bytes: usize, now: Instant) {
        let taken = Read { at: now, bytes: self.down_bytes.saturating_sub(bytes as u64) };
        let before = std::mem::replace(&mut self.taken, taken);
        // Once all of it is taken, it is unknown since when.
        if bytes > 0 && taken.bytes > before.bytes {
            self.last_byte = now;
            if let Some(stall) = &mut self.stall {
                stall.moved = now;
            }
        }
    }

    /// It has no socket, and its tunnel has other settings from now on.
    pub fn moves_to(&mut self, tunnel: &Arc<Tunnel>) {
        debug_assert!(self.is_unserved(), "a socket keeps the settings that it was opened with");
        self.tunnel = tunnel.clone();
        if let Some(target) = &tunnel.target {
            self.target = target.clone();
        }
    }

    // What its socket did.

    /// It has a socket, which is being opened. Returns what it has sent before.
    pub fn attached_to(&mut self, socket: SocketId, now: Instant) -> Queue {
        self.state = ClientState::Opening(Attached { socket, carried: Carried::default() });
        self.last_byte = now;
        self.silent_since = self.silent_since.map(|_| now);
        self.early.take()
    }

    /// Its socket is taken from it, whose open came to nothing. `queued`: what it has sent.
    pub fn detached(&mut self, queued: Queue) {
        self.state = ClientState::Waiting;
        self.early = queued;
        // They are counted again where they are queued next.
        self.unsettled = Unsettled::default();
    }

    /// Its socket is open.
    pub fn opened(&mut self, now: Instant) {
        if let ClientState::Opening(attached) = self.state {
            self.state = ClientState::Open(attached);
            // While it waited for that, it was not idle.
            self.last_byte = now;
        }
    }

    /// What the server has acknowledged until now, as far as it is known.
    pub fn note_delivered(&mut self, bytes: impl Fn(SocketId) -> Option<u64>) {
        if let ClientState::Opening(attached) | ClientState::Open(attached) = &self.state {
            self.delivered_bytes = bytes(attached.socket);
        }
    }

    /// What its socket has carried until now: that is movement too. Returns how many bytes more the module has taken.
    pub fn carried(&mut self, after: impl Fn(SocketId) -> Carried, now: Instant) -> Taken {
        let (ClientState::Opening(attached) | ClientState::Open(attached)) = &mut self.state else {
            return Taken::default();
        };
        let after = after(attached.socket);
        if after == attached.carried {
            return Taken::default();
        }
        let before = std::mem::replace(&mut attached.carried, after);
        self.last_byte = after.line_free_at.map_or(now, |at| at.max(now));
        let bytes = after.up_bytes.saturating_sub(before.up_bytes);
        self.up_bytes += bytes;
        let mut datagrams = Datagrams::default();
        if self.tunnel.carries_datagrams() {
            datagrams.up = after.up_datagrams.saturating_sub(before.up_datagrams);
            datagrams.dropped.full = after.full_datagrams.saturating_sub(before.full_datagrams);
            self.unsettled.down += after.down_datagrams.saturating_sub(before.down_datagrams);
        }
        Taken { bytes, datagrams }
    }

    /// Whether it holds up a port by not reading, from now on or as before.
    pub fn set_holds_up_port(&mut self, holds_up: bool, now: Instant) {
        self.stall = holds_up.then(|| self.stall.unwrap_or(Stall { since: now, moved: now }));
    }

    /// Its stream has ended: `rest` is still to be written to it, and `unsent` bytes of it were not taken.
    pub fn stream_ended(&mut self, end: SocketEnd, rest: Queue, unsent: usize, now: Instant) -> ClientEffect {
        // Datagrams are counted instead.
        self.not_delivered(if self.is_session() { 0 } else { unsent });
        self.stall = None;
        self.state = ClientState::Ending { rest };
        match end {
            SocketEnd::Cut(cut) => ClientEffect::ResetCut(cut),
            SocketEnd::Eof if self.is_gone() && self.undelivered == 0 => {
                ClientEffect::Close("both sides closed")
            }
            SocketEnd::Eof if self.is_gone() => self.ends_in_order(),
            SocketEnd::Eof => self.delivered(now),
        }
    }

    /// Gives it the end of its stream, once it has taken all bytes.
    fn delivered(&mut self, now: Instant) -> ClientEffect {
        match &self.state {
            ClientState::Ending { rest } if rest.is_empty() && rest.keeps_boundaries() => {
                ClientEffect::Close("the connection was closed")
            }
            ClientState::Ending { rest } if rest.is_empty() => {
                self.state = ClientState::Lingering;
                self.last_byte = now;
                ClientEffect::Finish
            }
            _ => ClientEffect::Nothing,
        }
    }

    /// The end of its stream has been passed on.
    pub fn given_the_end(&self) -> ClientEffect {
        if self.has_finished() { self.ends_in_order() } else { ClientEffect::Nothing }
    }

    /// It has read everything. Only if all its own bytes were taken is it closed.
    fn ends_in_order(&self) -> ClientEffect {
        match self.undelivered {
            0 => ClientEffect::Close(SERVER_CLOSED),
            lost => ClientEffect::ResetWithLoss(lost),
        }
    }

    // Time.

    /// When something is due for it.
    pub fn deadline(&self, view: View) -> Option<Instant> {
        self.limits(view).map(|(at, _)| at).chain(self.looks_at()).chain(self.asks_at()).min()
    }

    /// What is due for it now.
    pub fn due(&mut self, view: View, now: Instant) -> ClientEffect {
        let over = self.limits(view).find(|(at, _)| *at <= now);
        // The system holds nothing of a session for long.
        let may_have_moved = !self.is_session()
            && (self.attached().is_some() || matches!(self.state, ClientState::Ending { .. }));
        if self.asks_at().is_some_and(|at| at <= now)
            || may_have_moved && over.is_some_and(|(at, _)| !self.was_quiet_until(at))
        {
            return ClientEffect::Ask;
        }
        match over {
            Some((_, Limit::Linger)) => return self.ends_in_order(),
            Some((_, limit)) => return ClientEffect::Over(limit),
            None => {}
        }
        match &mut self.closed {
            ClientClosed::Sending { look_at } if *look_at <= now => {
                let quiet = now.saturating_duration_since(self.last_byte);
                *look_at = now + quiet.clamp(LOOK_AGAIN_MIN, LOOK_AGAIN_MAX);
                ClientEffect::Look
            }
            _ => ClientEffect::Nothing,
        }
    }

    /// The limits of time that hold for it now.
    fn limits(&self, view: View) -> impl Iterator<Item = (Instant, Limit)> + '_ {
        let limits = &self.tunnel.limits;
        let limit =
            |from: Instant, length: Duration, limit| (!length.is_zero()).then(|| (from + length, limit));
        // A client that waits in the queue is not read from, and may have sent something.
        let listens = matches!(self.state, ClientState::Silent) || self.attached().is_some();
        let first_byte = self
            .silent_since
            .filter(|_| listens && !self.has_finished())
            .and_then(|since| limit(since, limits.first_byte_timeout, Limit::FirstByte));
        let by_state = match &self.state {
            ClientState::Silent => None,
            // It has a socket, but no port to be its stream: that may carry another for hours.
            ClientState::Opening(_) => {
                view.open_due_since.and_then(|since| limit(since, limits.queue_timeout, Limit::Queue))
            }
            ClientState::Waiting => limit(self.since, limits.queue_timeout, Limit::Queue),
            // Its upload goes out first, for as long as that moves.
            ClientState::Open(Attached { carried, .. }) if self.has_finished() && carried.is_sending => {
                limit(self.last_byte, UNSENT_LIMIT, Limit::Unsent)
            }
            ClientState::Open(_) if self.has_finished() => {
                limit(self.last_byte, limits.half_close_timeout, Limit::HalfClosed)
            }
            ClientState::Open(_) if self.is_session() && view.is_draining => {
                limit(self.last_byte, LINGER_AT_THE_END, Limit::ShuttingDown)
            }
            ClientState::Open(_) => limit(self.last_byte, limits.idle_timeout, Limit::Idle),
            ClientState::Ending { .. } => limit(self.last_byte, limits.stall_timeout, Limit::Unread),
            ClientState::Lingering => {
                let length = if view.is_draining { LINGER_AT_THE_END } else { LINGER };
                limit(self.last_byte, length, Limit::Linger)
            }
        };
        let stall = self.stall.and_then(|stall| {
            // A client that reads slowly is not spared where all others wait until it has read everything.
            let (from, length) = match view.hides_relief {
                true => (stall.since, limits.stall_timeout.min(RELIEF_MAX)),
                false => (stall.moved, limits.stall_timeout),
            };
            limit(from, length, Limit::HoldsUp)
        });
        let lifetime = limit(self.since, limits.lifetime, Limit::Lifetime);
        by_state.into_iter().chain(first_byte).chain(stall).chain(lifetime)
    }

    fn looks_at(&self) -> Option<Instant> {
        match self.closed {
            ClientClosed::Sending { look_at } => Some(look_at),
            ClientClosed::Nothing | ClientClosed::Both => None,
        }
    }

    /// When to ask how much it has taken, if it does not take all at once.
    fn asks_at(&self) -> Option<Instant> {
        let is_ending = matches!(self.state, ClientState::Ending { .. }) && !self.is_session();
        let is_slow = self.stall.is_some() || is_ending;
        is_slow.then(|| self.taken.at + ASK_EVERY)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::FirstByte => "the client sent nothing in time (--first-byte-timeout)",
            Limit::Queue => "no free socket in time (--queue-timeout)",
            Limit::Unsent => "half-closed, and the modem takes no more of its data",
            Limit::HalfClosed => "half-closed and quiet (--half-close-timeout)",
            Limit::Idle => "idle (--idle-timeout)",
            Limit::Unread => "the client does not read",
            Limit::Linger => "the server closed the connection and the client stayed",
            Limit::HoldsUp => "the client does not read and holds up others (--stall-timeout)",
            Limit::Lifetime => "too old (--lifetime)",
            Limit::ShuttingDown => "shutting down",
        })
    }
}

/// What a client may send before it has a socket.
const EARLY_LIMITS: Limits = Limits { bytes: 4 * 1024, datagrams: DATAGRAMS_UP_MAX };

/// A read of less is not worth its system call, in bytes; a full queue holds this and more.
const READ_MIN_BYTES: usize = OUTGOING_LIMIT_BYTES / 2;

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

const SERVER_CLOSED: &str = "the server closed the connection";
const LEFT_SILENT: &str = "the client left without sending anything";

#[cfg(test)]
mod tests;
