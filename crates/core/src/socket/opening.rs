//! A socket that is being opened: AT+QSSLOPEN, its result, and what becomes of it when its client leaves.
//!
//! ```text
//!   Due ──► InFlight ──OK──► Awaited ──URC 0──► (Proving) ──► open      CONNECT: InFlight ──► Proving
//!    ▲         │ ERROR          │ client left
//!    │         ▼                ▼
//!   Again ◄─ Refused        Abandoned ──► closed
//!    ▲
//!   CloseFirst (the number is taken)
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{FarEnd, Flow, Holder, INCOMING_LIMITS, OUTGOING_LIMITS, Phase, Socket};
use crate::at::{AccessMode, CommandOutcome, ResultCode, SslContextId};
use crate::failure::OpenFailure;
use crate::queue::Queue;
use crate::settings::{Mode, Target, Tunnel};

/// A socket that is being opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What is next.
    stage: OpenStage,
    /// When the server counts as unreachable; set when the command leaves.
    deadline: Option<Instant>,
    /// The one repetition after 563, 564 or 568 has been used up.
    is_repeated: bool,
    closed: ClosedUrc,
}

/// How far an open is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenStage {
    /// The command is due as soon as the SSL context's settings are known to be in effect.
    Due,
    /// In flight; the URC may come before the command's own `OK`.
    InFlight {
        /// The URC's result, if it came first.
        result: Option<u16>,
        /// How often the SSL context's settings had been found wrong by then.
        generation: u32,
    },
    /// The URC is awaited.
    Awaited {
        /// How often the SSL context's settings had been found wrong when it left.
        generation: u32,
        /// What the module sends of open sockets has come of it: its result may have been taken for another program's text,
        /// and the module is asked.
        is_told_of: bool,
    },
    /// The same, and the client has left: AT+QSSLCLOSE is due or in flight.
    Abandoned {
        /// When that was refused; it is due again only when a client waits for a socket.
        refused_at: Option<Instant>,
    },
    /// It is open, and nothing of it is given to the client before the SSL context's settings have been read again, nor
    /// anything of the client to the server.
    Proving {
        /// How often the SSL context's settings had been found wrong when it left.
        generation: u32,
        /// The channel that is its stream.
        stream: Option<usize>,
    },
    /// Refused without a reason, which is to be asked for on the same channel.
    Refused {
        /// The channel.
        port: usize,
    },
    /// The number is taken (563): close it first.
    CloseFirst,
    /// The open is repeated at this time.
    Again {
        /// When.
        at: Instant,
        /// Only while no other open is under way (564, 568).
        alone: bool,
    },
}

/// What the answer to AT+QSSLOPEN means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenAnswer {
    /// Nothing yet.
    Pending,
    /// This is the result: 0, or why not.
    Result(u16),
    /// It failed.
    Failed(OpenFailure),
}

/// What the result of an open means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenResult {
    /// It is open. First it is checked by which settings.
    Proving,
    /// It is open, and its client may have it.
    Open,
    /// It is tried once more.
    Again,
    /// It failed.
    Failed(OpenFailure),
    /// It was not being opened.
    Nothing,
}

/// What the URC `+QSSLOPEN` means for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrcOpened {
    /// It is not ours: a user's command asked for it.
    Another,
    /// It opened long after its open had been given up, and is closed.
    Late,
    /// The result of its open.
    Result,
    /// Nothing follows now.
    Nothing,
}

/// What becomes of an open that is given up.
pub(super) enum GivenUp {
    Free,
    Close,
    Wait,
    /// This channel is its stream, which has to be left first.
    Leave(usize),
}

/// What the answer to AT+QSSLCLOSE means for an open.
pub(super) enum OpenClosed {
    /// It cannot be ended.
    GoesOn,
    /// It has been ended.
    Ended,
    /// The number was taken; the open is tried again.
    Again,
}

/// How a socket is opened.
#[derive(Clone, Copy, Debug)]
pub struct Opener {
    /// The channel of the command.
    pub port: usize,
    /// The channel by which URCs of it are expected; `None`: any.
    pub speaks_by: Option<usize>,
    /// How often the SSL context's settings had been found wrong.
    pub generation: u32,
    /// How long it may take.
    pub patience: Duration,
    /// What is pushed comes to us, and no other program's text can look like it.
    pub pushes_count: bool,
    /// The channels, a bit each, that are streams, closed, or asked whether they answer, as after a reboot.
    pub unanswering: u32,
    /// Those of them that are streams.
    pub streams: u32,
}

/// Whether the URC `closed` came while it was being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClosedUrc {
    No,
    /// Before the open's own result: it can overtake that on another port, or be another's.
    BeforeResult,
    /// While it was not given to its client yet.
    AfterResult,
}

impl Opening {
    pub(super) fn new() -> Self {
        Opening { stage: OpenStage::Due, deadline: None, is_repeated: false, closed: ClosedUrc::No }
    }

    /// How far it is.
    pub fn stage(&self) -> OpenStage {
        self.stage
    }

    /// It is tried once more.
    fn repeat(&mut self, stage: OpenStage) {
        *self = Opening { stage, deadline: self.deadline, is_repeated: true, closed: ClosedUrc::No };
    }

    /// It may take so much longer.
    pub(super) fn extend(&mut self, by: Duration) {
        self.deadline = self.deadline.map(|deadline| deadline + by);
    }

    /// When the server counts as unreachable.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The URC `closed` came before the open's own: that one left by another port, or is late. Or its stream may be over
    /// already.
    pub(super) fn closed(&mut self) {
        self.told_of();
        self.closed = match (self.stage, self.closed) {
            (OpenStage::Due, closed) => closed,
            (OpenStage::Proving { .. }, _) => ClosedUrc::AfterResult,
            (_, ClosedUrc::AfterResult) => ClosedUrc::AfterResult,
            (_, ClosedUrc::No | ClosedUrc::BeforeResult) => ClosedUrc::BeforeResult,
        };
    }

    /// A URC came that the module sends only of a socket that is open: `recv` or `closed`.
    pub(super) fn told_of(&mut self) {
        if let OpenStage::Awaited { is_told_of, .. } = &mut self.stage {
            *is_told_of = true;
        }
    }

    /// Whether the modem works on it, as far as is known.
    pub fn is_under_way(&self) -> bool {
        matches!(
            self.stage,
            OpenStage::InFlight { .. } | OpenStage::Awaited { .. } | OpenStage::Abandoned { .. }
        )
    }

    /// Whether a URC with its number can be about it. Before its open has been sent, such a URC is about another
    /// connection, or forged.
    pub fn is_spoken_of(&self) -> bool {
        self.is_under_way() || self.is_proving()
    }

    /// Whether it is open in the modem, and not given to its client yet.
    pub fn is_proving(&self) -> bool {
        matches!(self.stage, OpenStage::Proving { .. })
    }

    /// The channel that is its stream, while it is not given to its client yet.
    pub(super) fn stream(&self) -> Option<usize> {
        match self.stage {
            OpenStage::Proving { stream, .. } => stream,
            _ => None,
        }
    }

    /// Whether it may have ended already.
    pub(super) fn is_closed(&self) -> bool {
        self.closed != ClosedUrc::No
    }

    /// `CONNECT`: it is open, and this channel is its stream.
    pub(super) fn connected(&mut self, channel: usize) {
        if let OpenStage::InFlight { generation, .. } = self.stage {
            self.stage = OpenStage::Proving { generation, stream: Some(channel) };
        }
    }

    /// Whether it waits until the settings of its SSL context are known to be in effect.
    pub fn waits_for_context(&self) -> bool {
        matches!(self.stage, OpenStage::Due | OpenStage::Again { .. } | OpenStage::Proving { .. })
    }

    pub(super) fn given_up(&mut self, in_flight: bool, is_releasing: bool) -> GivenUp {
        match self.stage {
            // The modem knows nothing of it yet.
            OpenStage::Due => GivenUp::Free,
            OpenStage::Again { .. } if !in_flight => GivenUp::Close,
            OpenStage::Proving { stream: Some(channel), .. } => GivenUp::Leave(channel),
            OpenStage::CloseFirst | OpenStage::Proving { stream: None, .. } => GivenUp::Close,
            _ if is_releasing => GivenUp::Close,
            OpenStage::Awaited { .. } => {
                self.stage = OpenStage::Abandoned { refused_at: None };
                GivenUp::Wait
            }
            _ => GivenUp::Wait,
        }
    }

    /// AT+QSSLCLOSE was answered.
    pub(super) fn close_answered(&mut self, is_refused: bool, now: Instant) -> OpenClosed {
        match self.stage {
            OpenStage::Abandoned { .. } if is_refused => {
                self.stage = OpenStage::Abandoned { refused_at: Some(now) };
                OpenClosed::GoesOn
            }
            OpenStage::Abandoned { .. } => OpenClosed::Ended,
            _ => {
                self.stage = OpenStage::Again { at: now + REPEAT_PAUSE, alone: false };
                OpenClosed::Again
            }
        }
    }
}

impl Socket {
    /// Takes its number for a connection of this tunnel to this server.
    pub fn begin(
        &mut self,
        tunnel: Arc<Tunnel>,
        target: Target,
        ssl: Option<SslContextId>,
        holder: Holder,
        now: Instant,
    ) {
        self.clear();
        self.holder = holder;
        self.outgoing = Queue::of(&tunnel.transport, OUTGOING_LIMITS);
        self.incoming = Queue::of(&tunnel.transport, INCOMING_LIMITS);
        self.set = tunnel.transport.command_set();
        self.ssl = ssl;
        self.mode = Some(tunnel.mode);
        self.target = Some(target);
        self.tunnel = Some(tunnel);
        self.opening_since = now;
        self.phase = Phase::Opening(Opening::new());
    }

    /// Whether its open has not left yet.
    pub fn open_is_to_leave(&self) -> bool {
        self.opening().is_some_and(|opening| opening.stage == OpenStage::Due && opening.deadline.is_none())
    }

    /// Whether its open is due, or has been sent and nothing has been heard of it.
    pub fn open_is_unanswered(&self) -> bool {
        self.opening().is_some_and(|opening| {
            matches!(opening.stage, OpenStage::Due | OpenStage::InFlight { result: None, .. })
        })
    }

    /// Whether the result of its open is to come by URC.
    pub fn awaits_open(&self) -> bool {
        self.opening().is_some_and(|opening| matches!(opening.stage, OpenStage::Awaited { .. }))
    }

    /// AT+QSSLOPEN leaves. Returns the mode to ask for.
    pub fn open_sent(&mut self, opener: Opener, now: Instant) -> AccessMode {
        if let Phase::Opening(opening) = &mut self.phase {
            opening.stage = OpenStage::InFlight { result: None, generation: opener.generation };
            opening.deadline = Some(opening.deadline.unwrap_or(now + opener.patience));
        }
        self.listening.expect(opener.speaks_by, opener.streams);
        self.opened_by = Some(opener.port);
        self.stale = opener.unanswering;
        // Bytes that are pushed to a port that is not ours are lost; bytes that wait in the module are not.
        self.only_announces = self.mode() == Some(Mode::Push) && !opener.pushes_count;
        match self.mode() {
            Some(Mode::Transparent) => AccessMode::Transparent,
            Some(Mode::Push) if !self.only_announces => AccessMode::Push,
            Some(Mode::Push | Mode::Buffer) | None => AccessMode::Buffer,
        }
    }

    /// AT+QSSLOPEN was answered, with anything but `CONNECT`.
    pub fn open_answered(&mut self, port: usize, outcome: CommandOutcome) -> OpenAnswer {
        let Phase::Opening(opening) = &mut self.phase else { return OpenAnswer::Pending };
        match outcome {
            CommandOutcome::Ok => self.await_result(),
            CommandOutcome::Refused(refusal) => match refusal.result_code() {
                Some(code) => OpenAnswer::Result(code.0),
                None if refusal == crate::at::Refusal::Plain => {
                    opening.stage = OpenStage::Refused { port };
                    OpenAnswer::Pending
                }
                None => OpenAnswer::Failed(OpenFailure::Refused(refusal)),
            },
            _ => OpenAnswer::Failed(OpenFailure::Refused(crate::at::Refusal::Plain)),
        }
    }

    /// The modem has taken the open, or may have; its result comes by URC, unless it has come already.
    pub fn await_result(&mut self) -> OpenAnswer {
        let is_attached = self.is_attached();
        let Phase::Opening(opening) = &mut self.phase else { return OpenAnswer::Pending };
        if let OpenStage::InFlight { result, generation } = opening.stage {
            if let Some(result) = result {
                return OpenAnswer::Result(result);
            }
            opening.stage = match is_attached {
                true => OpenStage::Awaited { generation, is_told_of: false },
                false => OpenStage::Abandoned { refused_at: None },
            };
        }
        OpenAnswer::Pending
    }

    /// Whether it was refused without a reason, which was asked for.
    pub fn awaits_reason(&self) -> bool {
        self.opening().is_some_and(|opening| matches!(opening.stage, OpenStage::Refused { .. }))
    }

    /// The URC `+QSSLOPEN`.
    pub fn urc_opened(&mut self, result: u16) -> UrcOpened {
        if result == 0 && matches!(self.phase, Phase::Free | Phase::Checking { .. }) {
            self.close(0);
            return UrcOpened::Late;
        }
        let Phase::Opening(opening) = &mut self.phase else { return UrcOpened::Another };
        match opening.stage {
            OpenStage::InFlight { generation, .. } => {
                opening.stage = OpenStage::InFlight { result: Some(result), generation };
                UrcOpened::Nothing
            }
            OpenStage::Awaited { .. } | OpenStage::Abandoned { .. } => UrcOpened::Result,
            OpenStage::Due
            | OpenStage::CloseFirst
            | OpenStage::Again { .. }
            | OpenStage::Proving { .. }
            | OpenStage::Refused { .. } => UrcOpened::Nothing,
        }
    }

    /// The result of an open in push or buffer mode, or the reason of a refusal. `is_guarded`: its trust depends on
    /// settings that others could change.
    pub fn open_result(&mut self, result: u16, is_guarded: bool, now: Instant) -> OpenResult {
        let (code, is_attached) = (ResultCode(result), self.is_attached());
        let Phase::Opening(opening) = &mut self.phase else { return OpenResult::Nothing };
        if result == 0 {
            return match opening.stage {
                OpenStage::InFlight { generation, .. } | OpenStage::Awaited { generation, .. }
                    if is_guarded && is_attached =>
                {
                    // By which settings it was opened can only be checked afterwards.
                    opening.stage = OpenStage::Proving { generation, stream: None };
                    OpenResult::Proving
                }
                _ => OpenResult::Open,
            };
        }
        if !is_attached || opening.is_repeated {
            return OpenResult::Failed(OpenFailure::Code(code));
        }
        let stage = if code == ResultCode::IDENTITY_IN_USE {
            OpenStage::CloseFirst
        } else if code.is_busy() {
            OpenStage::Again { at: now + REPEAT_PAUSE, alone: true }
        } else {
            return OpenResult::Failed(OpenFailure::Code(code));
        };
        opening.repeat(stage);
        OpenResult::Again
    }

    /// Its result has not come, and the module is closing it: whether it was open is not known. It is opened once more.
    pub fn opens_again(&mut self) {
        let is_attached = self.is_attached();
        if let Phase::Opening(opening) = &mut self.phase
            && matches!(opening.stage, OpenStage::Awaited { .. })
            && is_attached
            && !opening.is_repeated
        {
            opening.repeat(OpenStage::CloseFirst);
        }
    }

    /// How often the settings of its SSL context had been found wrong when its open left, if they are still to be
    /// checked.
    pub fn proving(&self) -> Option<u32> {
        match self.opening()?.stage {
            OpenStage::Proving { generation, .. } => Some(generation),
            _ => None,
        }
    }

    /// How often the settings of its SSL context had been found wrong when its open left, while that is in flight.
    pub fn open_generation(&self) -> Option<u32> {
        match self.opening()?.stage {
            OpenStage::InFlight { generation, .. } => Some(generation),
            _ => None,
        }
    }

    /// It is open by the right settings: bytes flow.
    pub fn opened(&mut self, now: Instant) {
        let Phase::Opening(opening) = &self.phase else { return };
        if let Some(channel) = opening.stream() {
            return self.becomes_stream(channel);
        }
        let closed = opening.closed;
        let flow = match self.mode() {
            Some(Mode::Push | Mode::Transparent) if !self.only_announces => Flow::Push,
            _ => Flow::Buffer { readable: true },
        };
        let far_end = match closed {
            ClosedUrc::BeforeResult => FarEnd::unconfirmed(),
            ClosedUrc::No | ClosedUrc::AfterResult => FarEnd::There,
        };
        self.becomes_open(flow, far_end);
        if closed != ClosedUrc::No {
            self.closed(now);
        }
    }

    /// A text of another program has begun. The result of the open may come straight after it, and be taken for more of it.
    pub fn text_came(&mut self, now: Instant) {
        if self.awaits_open() {
            let at = now + TEXT_WAIT;
            self.poll_at = Some(self.poll_at.map_or(at, |due| due.min(at)));
        }
    }

    /// It was asked whether it is open, as its URC may have left by a port that is not ours, or have been taken for another
    /// program's text. Returns whether a URC of it had come that only one that is open has.
    pub fn open_was_asked(&mut self) -> bool {
        self.poll_at = None;
        match &mut self.phase {
            Phase::Opening(Opening { stage: OpenStage::Awaited { is_told_of, .. }, .. }) => {
                std::mem::take(is_told_of)
            }
            _ => false,
        }
    }

    /// Its open failed: the number has to be closed all the same, after its stream was left. `has_result`: the module has
    /// given it up. Returns whether its client waits for that.
    pub fn open_failed(&mut self, has_result: bool, now: Instant) -> bool {
        self.incoming.reset();
        let waits = self.let_go();
        match self.opening().and_then(Opening::stream) {
            Some(channel) => self.becomes_stream(channel),
            None if has_result => self.begin_closing(false),
            None => self.close_opening(now),
        }
        waits
    }

    /// Whether its open has taken too long, and nothing of it is in flight.
    pub fn open_is_overdue(&self, now: Instant) -> bool {
        self.opening().is_some_and(|opening| {
            opening.deadline.is_some_and(|deadline| deadline <= now)
                && !matches!(
                    opening.stage,
                    OpenStage::Due | OpenStage::InFlight { .. } | OpenStage::CloseFirst
                )
        })
    }
}

/// How long after another program's text the module is asked about an open whose result may be hidden in it: that is over by
/// then.
const TEXT_WAIT: Duration = Duration::from_secs(1);

/// The pause before an open that was refused as busy, or whose number was taken, is tried once more.
pub(super) const REPEAT_PAUSE: Duration = Duration::from_secs(1);
