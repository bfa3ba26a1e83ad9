//! What a socket needs from the modem now, and how soon: the scheduler compares ranks and knows no phases.

use std::time::{Duration, Instant};

use super::{CloseForm, FarEnd, Flow, OpenStage, Phase, Socket};
use crate::at::{AccessMode, Command, CommandSet, SocketId};

/// What a socket must know of its modem to decide what it needs.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The channel that would carry the command.
    pub port: usize,
    /// The channels on which URCs can still be on their way, a bit each.
    pub speaking: u32,
    /// Clients wait for a socket.
    pub is_wanted: bool,
    /// Which time AT+QSSLCLOSE may be given.
    pub close: CloseForm,
    /// Whether AT+QSSLCLOSE ends an open that is under way, as far as is known.
    pub closes_opening: Option<bool>,
    /// It is not known yet whether the stream of this socket is over.
    pub is_unconfirmed: bool,
    /// Now.
    pub now: Instant,
}

/// A command about a socket; the smallest rank goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// 0: others wait for it; 1: it frees the number; 2: it asks; 3: it may block its port.
    pub rank: u32,
    /// What to send.
    pub ask: Ask,
}

/// What to send about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// AT+QSSLSTATE
    State,
    /// AT+QISEND=\<id>,0
    SentCounts,
    /// AT+QISWTMD
    Switch(AccessMode),
    /// AT+QSSLCLOSE, with its time in seconds.
    Close(Option<u16>),
}

impl Ask {
    /// As a command about this socket.
    pub fn command(self, set: CommandSet, socket: SocketId) -> Command {
        match self {
            Ask::State => Command::State { set, socket },
            Ask::SentCounts => Command::SentCounts { socket },
            Ask::Switch(mode) => Command::SwitchMode { socket, mode },
            Ask::Close(timeout_seconds) => Command::Close { set, socket, timeout_seconds },
        }
    }
}

impl Socket {
    /// The command about it, other than one that carries its bytes or opens it, that is due on this channel.
    pub fn need(&self, view: &View) -> Option<Need> {
        if self.busy.is_some() {
            return None;
        }
        let (port, now) = (view.port, view.now);
        // On another channel, the answer could overtake pushed bytes.
        let is_in_order = || self.is_in_order(port, view.speaking);
        let close_at_once = || Ask::Close(view.close.time.at_most(0));
        let (rank, ask) = match &self.phase {
            // Where the server seems to have closed, the end waits for it.
            Phase::Open(open) if self.delivery.is_due(now) && !open.flow().is_stream() => {
                (if open.far_end() == FarEnd::There { 2 } else { 0 }, Ask::SentCounts)
            }
            Phase::Open(open) => match (open.far_end(), open.flow()) {
                (FarEnd::Unconfirmed { question, .. }, flow)
                    if question.is_due(now) && (!flow.is_pushing() || flow.is_stream() || is_in_order()) =>
                {
                    (0, Ask::State)
                }
                (FarEnd::Emptying { question, .. }, _) if question.is_due(now) && is_in_order() => {
                    (0, Ask::State)
                }
                (_, Flow::ToBuffer(_)) if is_in_order() => (0, Ask::Switch(AccessMode::Buffer)),
                (_, Flow::ToPush { .. }) => (0, Ask::Switch(AccessMode::Push)),
                _ => return None,
            },
            // Closed on another channel, it would look as if the server had ended it.
            Phase::ConfirmingEnd(_) if view.is_unconfirmed => return None,
            Phase::ConfirmingEnd(question) if question.is_due(now) => (0, Ask::State),
            Phase::Closing(closing) if closing.confirms_eof() && view.is_unconfirmed => return None,
            // Some modules close a socket only by the channel that opened it.
            Phase::Closing(closing)
                if closing.was_refused() && !self.is_best_closed_by(port, view.speaking) =>
            {
                return None;
            }
            Phase::Closing(closing) => {
                let (seconds, timeout_seconds) = closing.command(view.close);
                // A close that may block its port goes last.
                (if seconds == 0 { 1 } else { 3 }, Ask::Close(timeout_seconds))
            }
            Phase::Opening(opening) => match opening.stage() {
                OpenStage::Awaited { is_told_of, .. }
                    if is_told_of || self.poll_at.is_some_and(|at| at <= now) =>
                {
                    (2, Ask::State)
                }
                OpenStage::CloseFirst => (1, close_at_once()),
                // Its client has left. A module that has refused such a close is asked again only when a client waits
                // for a socket.
                OpenStage::Abandoned { refused_at: None }
                    if view.is_wanted || view.closes_opening != Some(false) =>
                {
                    (1, close_at_once())
                }
                OpenStage::Abandoned { refused_at: Some(at) }
                    if view.is_wanted && at + ABANDONED_PAUSE <= now =>
                {
                    (1, close_at_once())
                }
                _ => return None,
            },
            // Where no channel is left to be asked, any will do.
            Phase::Checking { channels, again_at, .. }
                if (channels & (1 << port) != 0 || channels & view.speaking == 0)
                    && again_at.is_none_or(|at| at <= now) =>
            {
                (2, Ask::State)
            }
            _ => return None,
        };
        Some(Need { rank, ask })
    }

    /// Whether a command about it is due that a module which sleeps must not lose.
    pub fn must_wake(&self) -> bool {
        self.open().is_some_and(|open| open.flow().is_switching()) || self.wants_to_receive() > 0
    }

    /// Whether what is read on this port cannot overtake what was pushed before by another. `speaking`: the channels on
    /// which URCs can be on their way.
    pub fn reads_in_order(&self, port: usize, speaking: u32) -> bool {
        self.open().is_none_or(|open| open.flow() != Flow::Announced) || self.is_in_order(port, speaking)
    }

    /// Whether what is answered on this port cannot overtake what was pushed before by another.
    fn is_in_order(&self, port: usize, speaking: u32) -> bool {
        self.listening.port().is_none_or(|on| on == port || speaking & (1 << on) == 0)
    }

    /// Whether this port has just refused its open without a reason.
    pub fn was_refused_on(&self, port: usize) -> bool {
        self.opening().is_some_and(|opening| opening.stage() == OpenStage::Refused { port })
    }

    /// Whether its open is due on a channel that takes opens. `others_open`: others are being opened.
    pub fn open_is_due(&self, others_open: impl Fn() -> bool, now: Instant) -> bool {
        self.busy.is_none()
            && self.opening().is_some_and(|opening| match opening.stage() {
                OpenStage::Due => true,
                OpenStage::Again { at, alone } => at <= now && !(alone && others_open()),
                _ => false,
            })
    }

    /// Whether the module has refused its open as busy: the next is due once no other is under way.
    pub fn waits_to_be_alone(&self) -> bool {
        self.opening().is_some_and(|opening| matches!(opening.stage(), OpenStage::Again { alone: true, .. }))
    }

    /// When something is due. `waits` drops times that had passed when the socket was last looked at.
    pub fn deadline(&self, is_wanted: bool, waits: impl Fn(Instant) -> Option<Instant>) -> Option<Instant> {
        let settled = self.failed_send_settles_at().and_then(&waits);
        self.phase_deadline(is_wanted, waits).into_iter().chain(settled).min()
    }

    fn phase_deadline(&self, is_wanted: bool, waits: impl Fn(Instant) -> Option<Instant>) -> Option<Instant> {
        match &self.phase {
            Phase::Opening(opening) => {
                let deadline = opening.deadline();
                let own = match opening.stage() {
                    OpenStage::Again { at, .. } => Some(at),
                    OpenStage::Awaited { .. } => self.poll_at,
                    OpenStage::Abandoned { refused_at } => {
                        refused_at.filter(|_| is_wanted).map(|at| at + ABANDONED_PAUSE)
                    }
                    OpenStage::Refused { .. } | OpenStage::Proving { .. } => None,
                    OpenStage::Due | OpenStage::InFlight { .. } | OpenStage::CloseFirst => return None,
                };
                own.and_then(waits).into_iter().chain(deadline).min()
            }
            Phase::Open(open) => {
                let question = match open.far_end() {
                    FarEnd::AwaitingClosed { until, .. } => return Some(until),
                    FarEnd::Unconfirmed { question, .. } | FarEnd::Emptying { question, .. } => {
                        question.again_at
                    }
                    FarEnd::There | FarEnd::Gone => None,
                };
                let backoff = self.backoff.filter(|_| !self.outgoing.is_empty());
                let all = [
                    question,
                    self.switch_again.map(|again| again.at),
                    backoff.map(|backoff| backoff.at),
                    self.poll_at,
                ];
                all.into_iter().flatten().chain(self.delivery.deadline()).filter_map(waits).min()
            }
            Phase::ConfirmingEnd(question) => question.again_at.and_then(waits),
            Phase::Checking { again_at, .. } => again_at.and_then(waits),
            _ => None,
        }
    }
}

/// How long after a refusal AT+QSSLCLOSE of an abandoned open is tried again, if a client waits for a socket.
const ABANDONED_PAUSE: Duration = Duration::from_secs(5);
