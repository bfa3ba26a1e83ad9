//! One socket: a TLS connection in the modem, from the moment its number is taken until the modem confirms that it is
//! free.
//!
//! ```text
//!            begin             result 0, CONNECT        stream ended
//!   Free ──────────► Opening ──────────────────► Open ───────────────► ConfirmingEnd
//!    ▲ ▲                │ │ failed, given up       │ far end gone         │ has ended,
//!    │ └─ not sent yet ─┘ │                        │ and read, given up   │ given up
//!    │                    ▼                        │                      │
//!    │                 Closing ◄───────────────────┴──────────────────────┘
//!    │ in use nowhere   ▲ │ │ the far end had closed, and its client waits
//!    │                  │ │ └──────────► ConfirmingEof ─┐
//!    │           in use │ ▼ answered                    │ answered, given up
//!    └──────────────── Checking ◄───────────────────────┘
//!
//!   Unknown ── AT+QSSLSTATE ──► Free; Closing if it is open; Foreign if it is not ours
//!   Free ── lend ──► Foreign ── take_back ──► Checking
//!   Open, ConfirmingEnd ── another's by now ──► Foreign
//!   Free, Checking ── late result 0 ──► Closing       Opening ── abandoned, closed ──► Checking
//!   Open and later ── port lost ──► Closing           any but Foreign ── session lost ──► Unknown
//! ```
//! `ConfirmingEnd` asks AT+QSSLSTATE where the end of a stream was seen in data mode. `ConfirmingEof` asks
//! whether the data session is active, since its loss closes sockets as well. `Checking` asks
//! AT+QSSLSTATE=\<id> on every channel: the modem has then reported that the number is free, and no late URC
//! of the old connection can be on its way on any channel.
//!
//! Every transition is a method of [`Socket`]. It takes what happened and returns what follows for others: what the
//! client learns, that the stream is broken ([`Cut`]), or nothing. Each phase is assigned in one file: `Opening` in
//! [`opening`], `Open` in [`open`], `ConfirmingEnd` in [`stream`], those from `Closing` to `Free` in [`closing`], and
//! the two in which it is not ours here. What an open socket knows of the server's side is in [`far_end`], how its bytes
//! arrive is in [`flow`].

mod closing;
mod delivery;
mod far_end;
mod flow;
pub mod listening;
mod need;
mod open;
mod opening;
mod sending;
mod stream;

use std::sync::Arc;
use std::time::Instant;

pub use closing::{Checked, CloseAnswer, CloseForm, SessionQuestion};
pub use far_end::Witness;
pub use flow::Switching;
#[cfg(test)]
pub(crate) use flow::test_switching;
pub use need::View;
pub use opening::{OpenAnswer, OpenResult, Opener, UrcOpened};
pub use sending::{FailedSend, SEND_STUCK_LIMIT};

use crate::at::answers::{SocketState, SocketStatus};
use crate::at::{CHUNK_MAX, Command, CommandOutcome, CommandSet, READ_MAX, SslContextId};
use crate::failure::Cut;
use crate::queue::{DATAGRAMS_DOWN_MAX, DATAGRAMS_UP_MAX, Limits, Queue};
use crate::settings::{Mode, Target, Tunnel};
use closing::Closing;
use delivery::Delivery;
use far_end::{CONNECTED_ANSWERS_MAX, FarEnd, Question};
use flow::{Flow, Load, SwitchAgain};
use listening::Listening;
use open::Open;
use opening::{OpenStage, Opening};
use sending::Backoff;

/// A socket and what waits in it.
#[derive(Debug)]
pub struct Socket {
    /// Where in the diagram it is.
    phase: Phase,
    /// The tunnel it was last opened for.
    tunnel: Option<Arc<Tunnel>>,
    /// The server that it was last opened to.
    target: Option<Target>,
    /// How its bytes are carried: as its tunnel has it, or in buffer mode once data mode had to be left.
    mode: Option<Mode>,
    /// For whom it is open.
    holder: Holder,
    /// The channel with a command about this socket in flight.
    busy: Option<usize>,
    /// The channels (a bit each) on which a command about it was given up. Until they answer again, the modem may still
    /// carry it out.
    unanswered: u32,
    /// The channels, a bit each, on which a send or a read of this number was given up. The module may still wait for
    /// payload there, or may still read: that would add to the bytes of the number's next connection, or take from them.
    late_carriers: u32,
    /// The channels (a bit each) that took no commands when its open left, or have been streams since, and have not
    /// answered since. Bytes that come by them may have been pushed for the number's previous connection, or others may be
    /// missing before them.
    stale: u32,
    /// Which port's URCs count for it.
    pub listening: Listening,
    /// The channel that it was opened by.
    opened_by: Option<usize>,
    /// Its tunnel is in push mode, but it was opened in buffer mode or switched to it: nothing is pushed.
    only_announces: bool,
    /// How the module lists its connection, where it was asked.
    listed: Option<Listed>,
    /// If it is silent until then, it is read without a URC, or the module is asked whether it is open.
    poll_at: Option<Instant>,
    /// From the client, to be sent. What is in flight stays here until `SEND OK`.
    pub outgoing: Queue,
    /// From the server, for the client.
    pub incoming: Queue,
    /// The commands of its connection, or of the last one. A number is used for one set at a time, as AT+QISWTMD and ATO
    /// name a number alone.
    set: CommandSet,
    /// The SSL context that it was opened on.
    ssl: Option<SslContextId>,
    /// After SEND FAIL: when the same bytes are sent again.
    backoff: Option<Backoff>,
    /// After a refused switch of mode: when the next may be asked for.
    switch_again: Option<SwitchAgain>,
    /// Bytes that the module has taken since the socket was opened.
    sent_bytes: u64,
    /// Of those, taken by a send that was answered once the client was done with it.
    late_bytes: u64,
    /// In so many sends, each of which is a datagram where it carries datagrams.
    sends: u64,
    /// What is known of their delivery.
    delivery: Delivery,
    /// Bytes that have arrived since the socket was opened.
    received_bytes: u64,
    /// When it last became free.
    free_since: Instant,
    /// When its last open began.
    opening_since: Instant,
}

/// The state of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The modem has not reported its state yet; no client may use it.
    Unknown,
    /// For other programs (`--sockets`), or in use by one and not ours to close.
    Foreign,
    /// Ready for a new connection.
    Free,
    /// AT+QSSLOPEN is due, in flight, or its URC is awaited.
    Opening(Opening),
    /// Bytes flow.
    Open(Open),
    /// Its stream ended in data mode: AT+QSSLSTATE is due or in flight, then AT+QSSLCLOSE.
    ConfirmingEnd(Question),
    /// AT+QSSLCLOSE is due or in flight.
    Closing(Closing),
    /// The server seems to have closed in order: the module is asked whether the data session is active.
    ConfirmingEof(SessionQuestion),
    /// AT+QSSLSTATE is due or in flight on these channels (a bit each).
    Checking {
        /// Channels that have not answered yet.
        channels: u32,
        /// When to ask again, where the modem reported that it is not free yet.
        again_at: Option<Instant>,
        /// How often it was not free yet.
        tries: u32,
        /// The close that was refused, and is due again where the number turns out not to be free.
        refused: Option<Closing>,
        /// The set in which an earlier run has left it open as well: it is closed there once it is free in this one.
        also_open: Option<CommandSet>,
    },
}

/// What the module lists of a connection that distinguishes it from others to the same server (AT+QSSLSTATE). 0, or no
/// address, where it does not know.
#[derive(Debug)]
struct Listed {
    address: String,
    local_port: u16,
    ssl: Option<SslContextId>,
}

impl Listed {
    fn of(listed: &SocketStatus<'_>) -> Self {
        let address = listed.address.filter(|address| !UNKNOWN_ADDRESSES.contains(address));
        Listed {
            address: address.unwrap_or_default().to_owned(),
            local_port: listed.local_port.unwrap_or(0),
            ssl: listed.ssl,
        }
    }

    /// Whether the two cannot be one connection.
    fn differs(&self, other: &Listed) -> bool {
        let is_other_address =
            ![&self.address, &other.address].iter().any(|it| it.is_empty()) && self.address != other.address;
        let is_other_port =
            self.local_port != 0 && other.local_port != 0 && self.local_port != other.local_port;
        let is_other_context = self.ssl.zip(other.ssl).is_some_and(|(ours, its)| ours != its);
        is_other_address || is_other_port || is_other_context
    }
}

/// What a module lists for a server that it does not know, or no longer.
const UNKNOWN_ADDRESSES: [&str; 3] = ["", "0.0.0.0", "::"];

/// For whom a socket is opened, and open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// For nobody; if it was opened ahead, it is no longer wanted.
    Nobody,
    /// For a client that is done with it.
    Left,
    /// For a client.
    Client,
    /// For a client that is still to come (`--warm`).
    Ahead,
}

/// What a client learns whose socket is lost, if it has learnt of no end yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Its connection was not opened.
    OpenFailed,
    /// Its stream ended.
    Ended,
}

/// What follows from [`Socket::adjust_flow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjusted {
    /// Nothing.
    GoesOn,
    /// Its datagrams have ended, and all of them were read: it is closed.
    IsOver,
}

/// What an answer to AT+QSSLRECV means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// No client waits for it, or in push mode there was nothing to be read.
    Nothing,
    /// So many bytes came, or none.
    Bytes(usize),
}

/// What AT+QSSLSTATE has shown beyond the socket itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witnessed {
    /// Nothing.
    Nothing,
    /// A `closed` was contradicted for the first time.
    Contradicted,
    /// It has ended, and no `closed` has come: URCs may leave by a port that is not ours.
    WithoutClosed,
    /// What this channel asked about its stream: whether it is connected, if that is known.
    Beside {
        /// The channel.
        channel: usize,
        /// Whether it is connected.
        is_connected: Option<bool>,
    },
}

/// How a socket is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// Everything was handed over; the module may take its time to send it.
    Orderly,
    /// What is unsent is dropped.
    Abort,
}

/// What giving a socket up depends on, beside the socket itself.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// The end of the process is near.
    pub is_releasing: bool,
    /// The timeout of an orderly AT+QSSLCLOSE in seconds.
    pub close_timeout_seconds: u16,
    /// The channels on which URCs can still be on their way, a bit each.
    pub speaking: u32,
}

impl Socket {
    /// A socket that the modem has not been asked about, or that is not ours.
    pub fn new(is_ours: bool, now: Instant) -> Self {
        Socket {
            phase: if is_ours { Phase::Unknown } else { Phase::Foreign },
            tunnel: None,
            target: None,
            mode: None,
            holder: Holder::Nobody,
            busy: None,
            unanswered: 0,
            late_carriers: 0,
            stale: 0,
            listening: Listening::default(),
            opened_by: None,
            only_announces: false,
            listed: None,
            poll_at: None,
            outgoing: Queue::bytes(OUTGOING_LIMIT_BYTES),
            incoming: Queue::bytes(INCOMING_LIMIT_BYTES),
            set: CommandSet::Ssl,
            ssl: None,
            backoff: None,
            switch_again: None,
            sent_bytes: 0,
            late_bytes: 0,
            sends: 0,
            delivery: Delivery::default(),
            received_bytes: 0,
            free_since: now,
            opening_since: now,
        }
    }

    // Questions.

    /// Where in the diagram it is, in a word for people.
    pub fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::Unknown => "unknown",
            Phase::Foreign => "foreign",
            Phase::Free => "free",
            Phase::Opening(_) => "opening",
            Phase::Open(_) if self.is_ahead() => "warm",
            Phase::Open(_) => "open",
            Phase::ConfirmingEnd(_)
            | Phase::Closing(_)
            | Phase::ConfirmingEof(_)
            | Phase::Checking { .. } => "closing",
        }
    }

    /// Whether the relay still wants events of it.
    pub fn is_attached(&self) -> bool {
        matches!(self.holder, Holder::Client | Holder::Ahead)
    }

    /// Whether it is open, or being opened, for a client that is still to come.
    pub fn is_ahead(&self) -> bool {
        self.holder == Holder::Ahead
    }

    /// Whether it is, or was last, for a client: what becomes of it shows how clients fare.
    pub fn is_of_client(&self) -> bool {
        matches!(self.holder, Holder::Client | Holder::Left)
    }

    /// The channel with a command about it in flight.
    pub fn busy(&self) -> Option<usize> {
        self.busy
    }

    /// The channel that it was opened by.
    pub fn opened_by(&self) -> Option<usize> {
        self.opened_by
    }

    /// The commands of its connection, or of the last one.
    pub fn set(&self) -> CommandSet {
        self.set
    }

    /// The SSL context that it was opened on.
    pub fn ssl(&self) -> Option<SslContextId> {
        self.ssl
    }

    /// The tunnel that it was last opened for.
    pub fn tunnel(&self) -> Option<&Arc<Tunnel>> {
        self.tunnel.as_ref()
    }

    /// The server that it was last opened to.
    pub fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// How its bytes are carried, if it was ever opened.
    pub fn mode(&self) -> Option<Mode> {
        self.mode
    }

    /// When its last open began.
    pub fn opening_since(&self) -> Instant {
        self.opening_since
    }

    /// Its tunnel is in push mode and it is in buffer mode: nothing is pushed.
    pub fn only_announces(&self) -> bool {
        self.only_announces
    }

    /// Whether payload may come without being asked for, and somebody waits for it.
    pub fn may_be_pushed_to(&self) -> bool {
        self.is_attached() && self.mode() == Some(Mode::Push) && !self.only_announces
    }

    /// Whether a new connection may use its number.
    pub fn is_free(&self) -> bool {
        matches!(self.phase, Phase::Free) && self.late_carriers == 0
    }

    /// The order in which free sockets are used: the longest free first; last those for which a command that was given
    /// up may still be carried out.
    pub fn readiness(&self) -> (bool, Instant) {
        (self.unanswered != 0, self.free_since)
    }

    /// Whether it is ours and not free: opening, open, or on its way to being free.
    pub fn is_in_use(&self) -> bool {
        !matches!(self.phase, Phase::Free | Phase::Foreign | Phase::Unknown)
    }

    /// Bytes that the module has taken of its client since the socket was opened, but for those that it took once the
    /// client was done with the socket: they are told one by one.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes - self.late_bytes
    }

    /// In how many sends those were.
    pub fn sends(&self) -> u64 {
        self.sends
    }

    /// Whether what it carries keeps its boundaries.
    pub fn carries_datagrams(&self) -> bool {
        self.incoming.keeps_boundaries()
    }

    /// Bytes that have arrived since the socket was opened.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Whether its client's bytes are carried by commands, or will be.
    pub fn needs_commands(&self) -> bool {
        self.is_attached() && (self.is_open() || self.is_opening()) && self.mode != Some(Mode::Transparent)
    }

    /// Whether bytes flow.
    pub fn is_open(&self) -> bool {
        self.open().is_some()
    }

    /// Whether bytes flow in both directions, as far as is known.
    pub fn is_open_both_ways(&self) -> bool {
        self.open().is_some_and(|open| open.far_end().takes_bytes())
    }

    /// Whether it is open, and something speaks against its server.
    pub fn is_open_unconfirmed(&self) -> bool {
        self.open().is_some_and(|open| open.far_end() != FarEnd::There)
    }

    /// Whether it is open, and nothing about it is under way.
    pub fn is_calm(&self) -> bool {
        self.open().is_some_and(|open| {
            matches!(open.flow(), Flow::Push | Flow::Buffer { .. }) && open.far_end() == FarEnd::There
        })
    }

    /// Whether it is as it was when it was opened, as far as is known: connected, and nothing waits to be read. What may
    /// have been said shows when the module is asked, and until then it is not.
    pub fn is_fresh(&self) -> bool {
        self.is_calm() && !self.open().is_some_and(|open| open.flow().is_readable())
    }

    /// Whether it is open, and its server seems to have closed, confirmed or not.
    pub fn is_ending(&self) -> bool {
        self.open().is_some_and(|open| open.far_end().has_sign())
    }

    /// Whether its number will soon be free.
    pub fn is_becoming_free(&self) -> bool {
        match &self.phase {
            Phase::Closing(closing) => !closing.was_refused(),
            Phase::Checking { refused, .. } => refused.is_none(),
            Phase::ConfirmingEnd(_) | Phase::ConfirmingEof(_) => true,
            _ => false,
        }
    }

    /// Whether the module has refused to close it, and has not done so since.
    pub fn resists_closing(&self) -> bool {
        match &self.phase {
            Phase::Closing(closing) => closing.was_refused(),
            Phase::Checking { refused, .. } => refused.is_some(),
            _ => false,
        }
    }

    /// Whether what the modem has to report about it comes as URCs, and not in a stream.
    pub fn is_told_by_urcs(&self) -> bool {
        match (&self.phase, self.mode) {
            (Phase::Open(open), _) => !open.flow().is_stream(),
            (Phase::Opening(opening), mode) => mode != Some(Mode::Transparent) && opening.is_spoken_of(),
            _ => false,
        }
    }

    /// Whether URCs of it leave by this port. `every_port`: they leave by each port, in copies.
    pub fn is_told_by(&self, port: usize, every_port: bool) -> bool {
        let is_in_module = match &self.phase {
            Phase::Open(open) => !open.flow().is_stream(),
            Phase::Opening(opening) => opening.stage() != OpenStage::Due,
            _ => false,
        };
        let leaves_here =
            self.listening.port() == Some(port) || (self.opened_by == Some(port) && !every_port);
        is_in_module && self.is_attached() && leaves_here && self.mode != Some(Mode::Transparent)
    }

    /// Its state, if it is open.
    fn open(&self) -> Option<&Open> {
        match &self.phase {
            Phase::Open(open) => Some(open),
            _ => None,
        }
    }

    /// Whether it is being opened.
    pub fn is_opening(&self) -> bool {
        self.opening().is_some()
    }

    /// Whether it is being opened, and what may be its end has come already.
    pub fn may_have_ended(&self) -> bool {
        self.opening().is_some_and(Opening::is_closed)
    }

    /// Whether it is being opened, and the modem works on that, as far as is known.
    pub fn is_opening_in_modem(&self) -> bool {
        self.opening().is_some_and(Opening::is_under_way)
    }

    /// Whether it is open in the modem, and given to its client or not yet.
    pub fn is_open_in_modem(&self) -> bool {
        self.is_open() || self.opening().is_some_and(Opening::is_proving)
    }

    /// Whether it is being opened, and waits until the settings of its SSL context are known to be in effect.
    pub fn waits_for_context(&self) -> bool {
        self.opening().is_some_and(Opening::waits_for_context)
    }

    /// Its state, if it is being opened.
    fn opening(&self) -> Option<&Opening> {
        match &self.phase {
            Phase::Opening(opening) => Some(opening),
            _ => None,
        }
    }

    /// Whether AT+QSSLCLOSE is due or in flight, or would end its open.
    pub fn is_being_closed(&self) -> bool {
        match &self.phase {
            Phase::Closing(_) => true,
            Phase::Opening(opening) => {
                matches!(opening.stage(), OpenStage::CloseFirst | OpenStage::Abandoned { .. })
            }
            _ => false,
        }
    }

    /// Whether its client waits to learn how its stream ended.
    pub fn confirms_end(&self) -> bool {
        match &self.phase {
            Phase::ConfirmingEnd(_) => true,
            Phase::Closing(closing) => closing.confirms_eof(),
            _ => false,
        }
    }

    /// Whether bytes can come unasked.
    pub fn is_pushing(&self) -> bool {
        match &self.phase {
            Phase::Open(open) => open.flow().is_pushing(),
            Phase::Opening(_) => true,
            _ => false,
        }
    }

    /// Whether what the modem sends about this number can be about its connection.
    pub fn is_spoken_of(&self) -> bool {
        self.is_attached() && self.opening().is_none_or(Opening::is_spoken_of)
    }

    /// What may be sent of the bytes from its client: nothing before it is known by which settings it was opened.
    pub fn sendable(&self) -> &[u8] {
        if self.is_opening() { &[] } else { self.outgoing.as_slice() }
    }

    /// Whether the relay may still hand over bytes.
    pub fn takes_bytes(&self) -> bool {
        self.is_attached()
            && match &self.phase {
                Phase::Opening(_) => true,
                Phase::Open(open) => open.far_end().takes_bytes(),
                _ => false,
            }
    }

    /// How many bytes an AT+QSSLRECV should ask for now; 0 is none.
    pub fn wants_to_receive(&self) -> usize {
        let readable = self.open().is_some_and(|open| open.flow().is_readable());
        if !readable || self.busy.is_some() {
            return 0;
        }
        let most = if self.carries_datagrams() { READ_MAX } else { CHUNK_MAX };
        // Small reads cost as much of the line's time as full ones: wait for room for a full one.
        if self.incoming.room() >= most { most } else { 0 }
    }

    // Commands about it.

    /// A command about it leaves on this channel.
    pub fn command_sent(&mut self, port: usize) {
        self.busy = Some(port);
    }

    /// The command about it was answered, or is known not to be carried out.
    pub fn command_done(&mut self) {
        self.busy = None;
    }

    /// The command about it on this channel was given up: it may still be carried out.
    pub fn command_unanswered(&mut self, command: &Command, port: usize) {
        if let Command::Send { .. } | Command::Receive { .. } = command {
            return self.carrier_unanswered(port);
        }
        self.busy = None;
        self.unanswered |= 1 << port;
    }

    /// The same of a send or a read: until the channel answers again, it may still carry bytes.
    pub fn carrier_unanswered(&mut self, port: usize) {
        self.busy = None;
        self.unanswered |= 1 << port;
        self.late_carriers |= 1 << port;
    }

    /// Whether anything depends on a channel that does not answer.
    pub fn awaits_channels(&self) -> bool {
        self.stale | self.late_carriers | self.unanswered != 0
    }

    /// These channels (a bit each) answer again, so every command that was given up on them has been carried out by
    /// now. It may have opened a socket that has become free meanwhile.
    pub fn channels_answer(&mut self, answering: u32) {
        self.stale &= !answering;
        self.late_carriers &= !answering;
        let late = self.unanswered & answering;
        if late == 0 || matches!(self.phase, Phase::Unknown) {
            return;
        }
        self.unanswered &= !late;
        match &mut self.phase {
            Phase::Free => self.close(0),
            Phase::Checking { channels, .. } => *channels |= late,
            _ => {}
        }
    }

    // Receiving.

    /// Whether bytes that are pushed by this channel may be for the number's previous connection.
    pub fn may_be_stale(&self, port: usize) -> bool {
        self.stale & (1 << port) != 0 && self.listening.port() != Some(port)
    }

    /// The URC `recv` without a length.
    pub fn announced(&mut self) {
        match &mut self.phase {
            Phase::Open(open) => open.announced(),
            Phase::Opening(opening) => opening.told_of(),
            _ => {}
        }
    }

    /// So many bytes came for it.
    pub fn count_received(&mut self, count: usize) {
        self.received_bytes += count as u64;
    }

    /// Bytes came for it: its `closed` is still to come. An error, if it seemed to have come: what follows is lost.
    pub fn received(&mut self, now: Instant) -> Result<(), Cut> {
        match &mut self.phase {
            Phase::Open(open) => {
                self.poll_at = None;
                open.received(now);
                Ok(())
            }
            Phase::Opening(opening) => {
                opening.told_of();
                Ok(())
            }
            Phase::Closing(closing) if closing.confirms_eof() => Err(Cut::ClosedUncertain),
            Phase::ConfirmingEof(_) => Err(Cut::ClosedUncertain),
            _ => Ok(()),
        }
    }

    /// The answer to AT+QSSLRECV: `length` bytes, if it gave a number. `announced_again`: a `recv` URC came
    /// meanwhile.
    pub fn receive_answered(
        &mut self,
        length: Option<usize>,
        announced_again: bool,
        outcome: &CommandOutcome,
        now: Instant,
    ) -> Result<Received, Cut> {
        let Phase::Open(open) = &mut self.phase else { return Ok(Received::Nothing) };
        let mut received = open.receive_answered(length, announced_again, outcome, now);
        if received.is_err() && self.incoming.keeps_boundaries() && open.is_gone() {
            // Nobody was promised the last datagrams.
            open.read_empty();
            received = Ok(Received::Nothing);
        }
        self.close_if_read();
        received
    }

    /// When its flow is adjusted although nothing has happened to it.
    pub fn flow_due_at(&self) -> Option<Instant> {
        self.poll_at.into_iter().chain(self.switch_again.map(|again| again.at)).min()
    }

    /// Switches a pushing socket to buffer mode while its client reads too slowly, and back. Once other programs have
    /// texts shown that could look like payload, it is switched for good. One of datagrams that is over is closed.
    pub fn adjust_flow(&mut self, switching: &Switching, now: Instant) -> Adjusted {
        if matches!(self.phase, Phase::Free) {
            return Adjusted::GoesOn;
        }
        if self.awaits_open() {
            let interval = switching.poll_interval.map(|interval| now + interval);
            self.poll_at = self.poll_at.or(interval);
        }
        let load = Load {
            waiting_bytes: self.incoming.len(),
            is_busy: self.busy.is_some(),
            can_switch: switching.is_possible && self.switch_again.is_none_or(|again| again.at <= now),
            wants_push: self.mode() == Some(Mode::Push),
        };
        let Phase::Open(open) = &mut self.phase else { return Adjusted::GoesOn };
        let soonest = open.silence_max(switching).map(|silence| now + silence);
        self.poll_at = match (soonest, self.poll_at) {
            (Some(_), Some(at)) if at <= now => {
                open.was_silent();
                None
            }
            (Some(soonest), at) => Some(at.map_or(soonest, |at| at.min(soonest))),
            (None, _) => None,
        };
        open.adjust(load, switching);
        self.only_announces &= !matches!(open.flow(), Flow::ToPush { .. });
        self.close_if_over()
    }

    /// AT+QISWTMD was answered, on the channel that pushes its bytes (`by_its_port`) or on another.
    pub fn mode_switched(&mut self, worked: bool, by_its_port: bool, now: Instant) {
        self.switch_again = (!worked).then(|| SwitchAgain::after(self.switch_again, now));
        let Phase::Open(open) = &mut self.phase else { return };
        // On the same port, everything that was pushed has come before the answer.
        self.only_announces |= worked && by_its_port && matches!(open.flow(), Flow::ToBuffer(_));
        open.mode_switched(worked);
        self.close_if_read();
    }

    /// The switch to buffer mode was not answered: it may have been made.
    pub fn switch_unanswered(&mut self) {
        if let Phase::Open(open) = &mut self.phase {
            open.switch_unanswered();
        }
    }

    /// URCs went to a port that is not ours: pushed bytes are lost, bytes that wait in the module are not.
    pub fn urcs_were_elsewhere(&mut self) -> Result<(), Cut> {
        match &mut self.phase {
            Phase::Open(open) => open.urcs_were_elsewhere(),
            _ => Ok(()),
        }
    }

    // The far end.

    /// The URC `closed`.
    pub fn closed(&mut self, now: Instant) {
        // Before the module forgets it.
        self.delivery.ask_now(now);
        match &mut self.phase {
            Phase::Open(open) if self.incoming.keeps_boundaries() => open.is_over(),
            Phase::Open(open) => open.closed(now),
            Phase::Opening(opening) => opening.closed(),
            _ => {}
        }
    }

    /// AT+QSSLSTATE was answered about a socket whose far end is unconfirmed, or whose stream ended in data mode.
    pub fn witnessed(&mut self, witness: Witness, now: Instant) -> Result<Witnessed, Cut> {
        match &mut self.phase {
            Phase::Open(open) if witness == Witness::Another && !open.flow().is_stream() => {
                return Err(Cut::NumberTaken);
            }
            // Nothing is promised of how datagrams end.
            Phase::Open(open) if self.incoming.keeps_boundaries() => open.witnessed_over(witness),
            Phase::Open(open) => {
                let witnessed = open.witnessed(witness, now)?;
                self.close_if_read();
                return Ok(witnessed);
            }
            Phase::ConfirmingEnd(question) => match witness {
                Witness::Another => return Err(Cut::NumberTaken),
                Witness::Ended => self.begin_closing(true),
                Witness::Connected if question.repeat(CONNECTED_ANSWERS_MAX, now) => {}
                Witness::Connected | Witness::Forgeable | Witness::Unclear => return Err(Cut::CarrierLost),
            },
            _ => {}
        }
        Ok(Witnessed::Nothing)
    }

    /// `closed` does not come. After a while the stream counts as broken, unless `closed` may wait in a port that is
    /// not read.
    pub fn closed_stays_away(&mut self, is_unread: bool, now: Instant) -> Result<(), Cut> {
        match &mut self.phase {
            Phase::Open(open) => open.closed_stays_away(is_unread, now),
            _ => Ok(()),
        }
    }

    // The client.

    /// Detaches its client, which learns of an end or a failed open, and of nothing after that. `None`: it has no
    /// client.
    pub fn detach(&mut self) -> Option<Told> {
        let told = match self.opening() {
            Some(_) => Told::OpenFailed,
            None => Told::Ended,
        };
        self.let_go().then_some(told)
    }

    /// The relay wants no more events of it. Returns whether it did until now.
    fn let_go(&mut self) -> bool {
        let was_attached = self.is_attached();
        self.holder = match self.holder {
            Holder::Client | Holder::Left => Holder::Left,
            Holder::Ahead | Holder::Nobody => Holder::Nobody,
        };
        was_attached
    }

    /// It was opened ahead, and a client has come. One that is still being opened gets all the time that the client would
    /// have given to an open of its own.
    pub fn taken(&mut self, now: Instant) {
        debug_assert!(self.is_ahead(), "no client gets a socket that another one had");
        self.holder = Holder::Client;
        let waited = now.saturating_duration_since(self.opening_since);
        if let Phase::Opening(opening) = &mut self.phase {
            opening.extend(waited);
        }
    }

    /// The socket is no longer wanted: whatever its phase, it ends up free. Returns the channel whose stream it is, which
    /// has to be left first.
    pub fn close_or_free(&mut self, how: GiveUp, ending: Ending) -> Option<usize> {
        let in_flight = self.busy.is_some();
        if !in_flight && how == GiveUp::Abort {
            self.outgoing.reset();
        }
        self.incoming.reset();
        match &mut self.phase {
            Phase::Opening(opening) => match opening.given_up(in_flight, ending.is_releasing) {
                opening::GivenUp::Free => {
                    self.clear();
                    self.becomes_free();
                }
                opening::GivenUp::Close => self.close(0),
                opening::GivenUp::Leave(channel) => {
                    self.becomes_stream(channel);
                    return Some(channel);
                }
                // The number becomes free when the modem has answered.
                opening::GivenUp::Wait => {}
            },
            Phase::Open(open) => {
                if let Flow::Transparent { channel } = open.flow() {
                    return Some(channel);
                }
                let timeout_seconds = match how {
                    GiveUp::Orderly if open.far_end().takes_bytes() => ending.close_timeout_seconds,
                    _ => 0,
                };
                self.close(timeout_seconds);
            }
            Phase::ConfirmingEnd(_) => self.close(0),
            Phase::Closing(closing) => closing.forget_client(),
            Phase::ConfirmingEof(_) => self.check(ending.speaking),
            Phase::Unknown | Phase::Foreign | Phase::Free | Phase::Checking { .. } => {}
        }
        None
    }

    /// Empties it for the next connection.
    fn clear(&mut self) {
        self.outgoing.reset();
        self.incoming.reset();
        self.backoff = self.backoff.and_then(Backoff::of_next_connection);
        self.switch_again = None;
        self.listening = Listening::default();
        self.opened_by = None;
        self.only_announces = false;
        self.listed = None;
        self.poll_at = None;
        self.holder = Holder::Nobody;
        self.sent_bytes = 0;
        self.late_bytes = 0;
        self.sends = 0;
        self.delivery = Delivery::default();
        self.received_bytes = 0;
    }

    // Whose it is.

    /// The module was asked which sockets are open: `open` are the sets in which this number is. Returns whether an
    /// earlier run has left it open.
    pub fn found(&mut self, is_ours: bool, mut open: impl Iterator<Item = CommandSet>) -> bool {
        if self.is_attached() || self.stream().is_some() {
            return false;
        }
        match (is_ours, open.next()) {
            (false, _) => self.phase = Phase::Foreign,
            // The command in flight may still open it: no other client may get that connection.
            (true, None) if self.busy.is_some() => self.close(0),
            (true, None) => self.becomes_free(),
            (true, Some(first)) => {
                self.close_left_open(first, open.next());
                return true;
            }
        }
        false
    }

    /// A command from outside is about to open it.
    pub fn lend(&mut self, set: CommandSet) {
        if matches!(self.phase, Phase::Free) {
            self.phase = Phase::Foreign;
            self.set = set;
        }
    }

    /// Another program has closed our connection and opened its own under the number.
    pub fn taken_by_another(&mut self) {
        self.clear();
        self.phase = Phase::Foreign;
    }

    /// The module has listed a connection of this number. If it is ours, this is how it is listed.
    pub fn is_listed(&mut self, listed: &SocketStatus<'_>) {
        let is_ours = listed.set == self.set && self.is_open() && !self.is_another(listed);
        if is_ours && listed.state == SocketState::Connected && self.listed.is_none() {
            self.listed = Some(Listed::of(listed));
        }
    }

    /// Whether the module lists another connection under this number than ours, by what it is known to list.
    pub fn is_another(&self, listed: &SocketStatus<'_>) -> bool {
        let is_other_server = || {
            self.target
                .as_ref()
                .zip(listed.remote_port)
                .is_some_and(|(ours, port)| port != 0 && port != ours.port)
        };
        // A module may list 0 where it does not know.
        let is_other_context =
            || self.ssl.zip(listed.ssl).is_some_and(|(ours, its)| its.index() != 0 && its != ours);
        is_other_server()
            || is_other_context()
            || self.listed.as_ref().is_some_and(|ours| ours.differs(&Listed::of(listed)))
    }

    /// A command from outside has closed it: it is ours again once these channels have reported so.
    pub fn take_back(&mut self, speaking: u32) {
        if matches!(self.phase, Phase::Foreign) {
            self.check(speaking);
        }
    }

    /// The data session is lost: what became of the socket is unknown.
    pub fn session_lost(&mut self) {
        if self.phase != Phase::Foreign {
            self.phase = Phase::Unknown;
        }
        if self.busy.is_none() {
            self.outgoing.reset();
        }
    }

    /// The port is lost, in the middle of payload for this socket or with its stream.
    pub fn port_lost(&mut self, port: usize) {
        // A send on another port goes on, and its payload must stay.
        if self.busy.is_none_or(|by| by == port) {
            self.outgoing.reset();
        }
        self.close(0);
    }

    /// It is free, and no longer holds its SSL context.
    pub fn release_context(&mut self) {
        self.ssl = None;
    }
}

/// What waits to be sent, per socket, in bytes: several chunks, so that a full one is ready at any time.
pub const OUTGOING_LIMIT_BYTES: usize = 32 * 1024;

const OUTGOING_LIMITS: Limits = Limits { bytes: OUTGOING_LIMIT_BYTES, datagrams: DATAGRAMS_UP_MAX };

/// What waits for a client, per socket, in bytes.
/// Above the limit at which a socket is switched to buffer mode there is room for what a module still pushes until it has switched to buffer mode.
pub const INCOMING_LIMIT_BYTES: usize = 160 * 1024;
const INCOMING_LIMITS: Limits = Limits { bytes: INCOMING_LIMIT_BYTES, datagrams: DATAGRAMS_DOWN_MAX };

#[cfg(test)]
mod tests;
