//! One socket: a TLS connection in the modem, from the moment its number is given out until it is known to
//! be free again.
//!
//! ```text
//!            begin             opened(0)              far end gone, all read
//!   Free ──────────► Opening ───────────► Open ─────────────────────────┐
//!    ▲                  │ failed            │ given up by the relay      │
//!    │                  ▼                   ▼                            ▼
//!    └──── Checking ◄────────────────── Closing ◄──────────── (cause: far end) ◄── Confirming
//!              ▲                            │ far end had closed: does the data session stand?
//!              └──────────── Judging ◄──────┘
//!
//!            `closed`, or a refused send            not connected, `closed` was heard
//!   There ────────────────────────────────► Doubted ─────────────────────────────────► Gone
//!     ▲          connected, no send refused    │ not connected, `closed` not heard       ▲
//!     └────────────────────────────────────────┤                                         │ `closed`
//!                                              └───────────► Unheard ────────────────────┘
//! ```
//! Where the `closed` may have been another's, `Gone` is reached by `Emptying`: until nothing more is pushed.
//!
//! The lower diagram is [`FarEnd`]: an end needs two witnesses, the URC `closed`, which comes after everything that
//! was pushed, and the module's own state of the socket. `Confirming` asks for the second where the end of a stream
//! was seen in data mode.
//!
//! `Checking` asks AT+QSSLSTATE=\<id> on every channel: the modem then has said that the number is free, and
//! no late URC of the old connection can be on its way on any channel.

use std::time::{Duration, Instant};

use super::port_names::Listening;
use crate::at::SslContextId;
use crate::byte_queue::ByteQueue;

/// A socket and what waits in it.
#[derive(Debug)]
pub struct Socket {
    /// Where in the diagram it is.
    pub phase: Phase,
    /// The tunnel it was last opened for.
    pub tunnel: usize,
    /// Whether the relay still wants to hear of it.
    pub joined: bool,
    /// The channel with a command about this socket in flight.
    pub busy: Option<usize>,
    /// The channels (a bit each) that were given up with a command about it unanswered: until they answer again
    /// it may still be carried out.
    pub unanswered: u32,
    /// By which channel it is spoken of.
    pub(super) listening: Listening,
    /// The channel that it was opened by.
    pub opened_by: Option<usize>,
    /// Its tunnel is in push mode and it is in buffer mode, opened so or switched to it: nothing is pushed to it.
    pub only_announces: bool,
    /// Where URCs may not reach us: when it is read unasked, or asked whether it is open.
    pub poll_at: Option<Instant>,
    /// From the client, to be sent. What is in flight stays here until `SEND OK`.
    pub outgoing: ByteQueue,
    /// From the far end, for the client.
    pub incoming: ByteQueue,
    /// The SSL context that it was opened on.
    pub ssl: Option<SslContextId>,
    /// After SEND FAIL: when the same bytes are sent again.
    pub backoff: Option<Backoff>,
    /// After a refused switch of mode: when the next may be asked for.
    pub switch_again: Option<SwitchAgain>,
    /// Of a stream in which what was sent comes back: when it was last asked who echoes.
    pub echo_asked_at: Option<Instant>,
    /// Bytes that the module has taken since the socket was opened.
    pub sent_bytes: u64,
    /// Bytes that have arrived since the socket was opened.
    pub received_bytes: u64,
    /// When it was last given back.
    pub free_since: Instant,
    /// When it was last given out.
    pub opening_since: Instant,
}

/// Where a socket is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The modem has not said yet; nobody may use it.
    Unknown,
    /// Somebody else's (`--sockets`), or taken by somebody else and not ours to close.
    Foreign,
    /// Ready to be given out.
    Free,
    /// AT+QSSLOPEN is due, in flight, or its URC is awaited.
    Opening(Opening),
    /// Bytes flow.
    Open(Open),
    /// Its stream ended in data mode: AT+QSSLSTATE is due or in flight, then AT+QSSLCLOSE.
    Confirming(Question),
    /// AT+QSSLCLOSE is due or in flight.
    Closing(Closing),
    /// The far end closed in what may be good order: the data session is being asked about.
    Judging {
        /// Whether the question has left already.
        asked: bool,
    },
    /// AT+QSSLSTATE is due or in flight on these channels (a bit each).
    Checking {
        /// Channels that have not answered yet.
        channels: u32,
        /// When to ask again, where the modem said that it is not free yet.
        again_at: Option<Instant>,
        /// How often it was not free yet.
        tries: u32,
        /// The close that was refused, and is due again where the number turns out not to be free.
        refused: Option<Closing>,
    },
}

/// A socket that is being opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What is next.
    pub stage: OpenStage,
    /// When the far end counts as unreachable; set when the command leaves.
    pub deadline: Option<Instant>,
    /// The one repetition after 563, 564 or 568 has been used up.
    pub repeated: bool,
    /// `closed` came already: it can overtake the open's own URC on another port.
    pub closed: bool,
}

/// How far an open is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenStage {
    /// The command is due as soon as the SSL context's settings are known to stand.
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
    },
    /// The same, and the client has left: AT+QSSLCLOSE is due or in flight.
    Abandoned {
        /// When that was refused; it is due again only when somebody waits for a socket.
        refused_at: Option<Instant>,
    },
    /// It is open, and nothing of it is given to the client before the SSL context's settings have been read again.
    Proving {
        /// How often the SSL context's settings had been found wrong when it left.
        generation: u32,
    },
    /// Refused without a reason, which is to be asked for on the same channel.
    Refused {
        /// The channel.
        port: usize,
    },
    /// The number is taken (563): close it first.
    CloseFirst,
    /// Once more, at this time.
    Again {
        /// When.
        at: Instant,
        /// Only while no other open is under way (564, 568).
        alone: bool,
    },
}

/// An open socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// How received bytes come.
    pub flow: Flow,
    /// What is known of its far end.
    pub far_end: FarEnd,
}

/// What is known of the far end of an open socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FarEnd {
    /// Nothing speaks against its being there.
    There,
    /// Something does: the module is asked whether the socket is connected.
    Doubted {
        /// What it was.
        sign: Sign,
        /// The question to the module.
        question: Question,
    },
    /// The module has said both, but a `closed` that did not fit came before: it may still push. It is asked until
    /// nothing has come between two answers.
    Emptying {
        /// Something came since it was asked last.
        pushed: bool,
        /// The question to the module.
        question: Question,
    },
    /// The module says that the socket is not connected, and has not said `closed` yet, which comes after what it
    /// still pushes.
    Unheard {
        /// When it no longer counts as being on its way.
        until: Instant,
    },
    /// The module has said both. What it still holds is read.
    Gone,
}

/// What speaks against a far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The URC `closed`.
    Closed,
    /// AT+QSSLSEND was answered with ERROR.
    RefusedSend,
    /// Both of them.
    Both,
    /// Nothing but that `closed` would not be heard.
    Silence,
}

/// A question to the module that may be asked several times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// How often it was answered.
    pub answers: u32,
    /// When to ask again; `None`: at once.
    pub again_at: Option<Instant>,
}

/// How received bytes come out of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// By themselves.
    Push,
    /// They should come by themselves, and something waits to be read all the same: a `recv` URC came without a length.
    Announced,
    /// They came by themselves; the switch to buffer mode is due or in flight. `unanswered`: it has been given up
    /// before, and may have been made.
    ToBuffer {
        /// Whether they may wait to be read.
        unanswered: bool,
    },
    /// They wait to be read. `readable`: there may be some.
    Buffer {
        /// Whether a read may give something.
        readable: bool,
    },
    /// Read to the end; the switch back to push mode is due or in flight. `readable`: a `recv` URC came
    /// meanwhile, so something may be left inside.
    ToPush {
        /// Whether something may be left inside.
        readable: bool,
    },
    /// They are the bytes of this channel.
    Transparent {
        /// The channel.
        channel: usize,
    },
    /// They were; data mode was left to find out whether `NO CARRIER` was payload.
    Suspected {
        /// The channel, whose stream it becomes again if it was.
        channel: usize,
        /// What is next.
        stage: Settling,
    },
}

/// Back to a stream after `NO CARRIER` was payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settling {
    /// What came meanwhile is read to the end.
    Read,
    /// Back into data mode, with AT+QISWTMD.
    Resume,
    /// That was refused: AT+QSSLSTATE is due.
    AskWhyNot,
}

/// A socket that is being closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The timeout of AT+QSSLCLOSE, where the module takes one; 0 drops what it has not sent yet.
    pub timeout_seconds: u16,
    /// The far end closed first, and the client waits to hear whether that was an end or a cut.
    pub judge: bool,
    /// How often it was refused.
    pub tries: u32,
}

/// The pause after SEND FAIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// When to send again.
    pub at: Instant,
    /// The pause, doubled each time.
    pub pause: Duration,
    /// The first of these SEND FAILs in a row.
    pub since: Instant,
    /// The send that failed last, as long as it may have been taken after all: until the module has answered something
    /// that it was asked later than `SEND OK` can come.
    pub failed: Option<FailedSend>,
}

/// A send that was answered with SEND FAIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedSend {
    /// The channel of the command.
    pub port: usize,
    /// Its bytes.
    pub length: usize,
    /// When it failed.
    pub at: Instant,
}

/// The pause after a switch of mode that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchAgain {
    /// When the next may be asked for.
    pub at: Instant,
    /// The pause, doubled each time.
    pause: Duration,
}

impl Socket {
    /// A switch of mode was refused or not.
    pub fn switched(&mut self, worked: bool, now: Instant) {
        let pause = self.switch_again.map_or(SWITCH_PAUSE_MIN, |again| again.pause * 2).min(SWITCH_PAUSE_MAX);
        self.switch_again = (!worked).then_some(SwitchAgain { at: now + pause, pause });
    }

    /// Whether a switch of mode may be asked for.
    pub fn may_switch(&self, now: Instant) -> bool {
        self.switch_again.is_none_or(|again| again.at <= now)
    }

    /// A socket that the modem has not been asked about.
    pub fn new(now: Instant) -> Self {
        Socket {
            phase: Phase::Unknown,
            tunnel: 0,
            joined: false,
            busy: None,
            unanswered: 0,
            listening: Listening::default(),
            opened_by: None,
            only_announces: false,
            poll_at: None,
            echo_asked_at: None,
            outgoing: ByteQueue::new(OUTGOING_LIMIT_BYTES),
            incoming: ByteQueue::new(INCOMING_LIMIT_BYTES),
            ssl: None,
            backoff: None,
            switch_again: None,
            sent_bytes: 0,
            received_bytes: 0,
            free_since: now,
            opening_since: now,
        }
    }

    /// Whether bytes can come without being asked for.
    pub fn is_pushing(&self) -> bool {
        matches!(
            self.phase,
            Phase::Open(Open {
                flow: Flow::Push
                    | Flow::Announced
                    | Flow::ToBuffer { .. }
                    | Flow::ToPush { .. }
                    | Flow::Transparent { .. },
                ..
            })
        ) || matches!(self.phase, Phase::Opening(_))
    }

    /// Whether the result of its open is to come by URC.
    pub fn awaits_open(&self) -> bool {
        matches!(&self.phase, Phase::Opening(opening) if matches!(opening.stage, OpenStage::Awaited { .. }))
    }

    /// Whether what the modem says of this number can be about its connection: before its open has left, whatever names
    /// it is about another one, or forged.
    pub fn is_spoken_of(&self) -> bool {
        self.joined
            && match &self.phase {
                Phase::Opening(opening) => match opening.stage {
                    OpenStage::InFlight { .. }
                    | OpenStage::Awaited { .. }
                    | OpenStage::Abandoned { .. }
                    | OpenStage::Proving { .. } => true,
                    OpenStage::Due
                    | OpenStage::Refused { .. }
                    | OpenStage::CloseFirst
                    | OpenStage::Again { .. } => false,
                },
                _ => true,
            }
    }

    /// Whether the relay may still hand over bytes.
    pub fn takes_bytes(&self) -> bool {
        self.joined
            && match &self.phase {
                Phase::Opening(_) => true,
                Phase::Open(open) => open.far_end.takes_bytes(),
                _ => false,
            }
    }

    /// Whether an AT+QSSLSEND is worth while now.
    pub fn wants_to_send(&self, now: Instant) -> bool {
        self.busy.is_none()
            && !self.outgoing.is_empty()
            && self.backoff.is_none_or(|backoff| backoff.at <= now && backoff.failed.is_none())
            && matches!(&self.phase, Phase::Open(Open { far_end, flow })
                if far_end.takes_bytes() && !matches!(flow, Flow::Transparent { .. } | Flow::Suspected { .. }))
    }

    /// How many bytes an AT+QSSLRECV should ask for now; 0 is none.
    pub fn wants_to_receive(&self) -> usize {
        let readable = matches!(
            self.phase,
            Phase::Open(Open {
                flow: Flow::Announced
                    | Flow::Buffer { readable: true }
                    | Flow::Suspected { stage: Settling::Read, .. },
                ..
            })
        );
        if !readable || self.busy.is_some() {
            return 0;
        }
        // Small reads cost as much of the line's time as full ones: wait for room for a full one.
        if self.incoming.room() >= crate::at::CHUNK_MAX { crate::at::CHUNK_MAX } else { 0 }
    }

    /// SEND FAIL: nothing was taken, unless SEND OK follows soon. Returns whether this has gone on for too long.
    pub fn send_failed(&mut self, port: usize, length: usize, now: Instant) -> bool {
        let (pause, since) = match self.backoff {
            None => (BACKOFF_MIN, now),
            Some(backoff) => ((backoff.pause * 2).min(BACKOFF_MAX), backoff.since),
        };
        let failed = Some(FailedSend { port, length, at: now });
        self.backoff = Some(Backoff { at: now + pause, pause, since, failed });
        now.saturating_duration_since(since) >= SEND_STUCK_LIMIT
    }

    /// The send on this channel that failed, and may have been taken after all; of no length if its bytes are no longer
    /// kept, as nobody waits for them.
    pub fn send_just_failed(&self, port: usize) -> Option<FailedSend> {
        let failed = self.backoff?.failed.filter(|it| it.port == port)?;
        let is_kept = self.outgoing.len() >= failed.length;
        Some(FailedSend { length: if is_kept { failed.length } else { 0 }, ..failed })
    }

    /// Whether only an answer on this channel is missing before the same bytes are sent again: `SEND OK`, if it came,
    /// is on its way in front of that, however long the line takes.
    pub fn awaits_send_ok(&self, port: usize, now: Instant) -> bool {
        let is_due =
            |backoff: &Backoff| backoff.at <= now && backoff.failed.is_some_and(|it| it.port == port);
        matches!(self.phase, Phase::Open(_))
            && !self.outgoing.is_empty()
            && self.backoff.is_some_and(|it| is_due(&it))
    }

    /// The module has answered on this channel what it was asked then.
    pub fn answered_on(&mut self, port: usize, asked_at: Instant) {
        if let Some(backoff) = &mut self.backoff {
            backoff.failed.take_if(|it| it.port == port && it.at + SEND_OK_LATE_MAX <= asked_at);
        }
    }

    /// Empties it for the next connection.
    pub fn clear(&mut self) {
        self.outgoing.reset();
        self.incoming.reset();
        // `SEND OK` may still come, and is no other socket's.
        let failed = self.backoff.and_then(|backoff| backoff.failed);
        self.backoff = failed.map(|failed| Backoff {
            at: failed.at + BACKOFF_MIN,
            pause: BACKOFF_MIN,
            since: failed.at,
            failed: Some(FailedSend { length: 0, ..failed }),
        });
        self.switch_again = None;
        self.listening = Listening::default();
        self.opened_by = None;
        self.only_announces = false;
        self.poll_at = None;
        self.echo_asked_at = None;
        self.joined = false;
        self.sent_bytes = 0;
        self.received_bytes = 0;
    }
}

impl FarEnd {
    /// Whether bytes are sent to it. A `closed` that the module did not confirm when it was first asked keeps
    /// nothing back.
    pub fn takes_bytes(self) -> bool {
        match self {
            FarEnd::There => true,
            FarEnd::Doubted { sign: Sign::Silence, .. } => true,
            FarEnd::Doubted { sign, question } => sign == Sign::Closed && question.answers > 0,
            FarEnd::Emptying { .. } | FarEnd::Unheard { .. } | FarEnd::Gone => false,
        }
    }

    /// `closed` may have been said where nobody listens.
    pub fn is_to_be_asked(&mut self) {
        if *self == FarEnd::There {
            *self = FarEnd::Doubted { sign: Sign::Silence, question: Question::default() };
        }
    }

    /// Whether the module has said that the socket is not connected.
    pub fn is_over(self) -> bool {
        matches!(self, FarEnd::Unheard { .. } | FarEnd::Gone)
    }
}

impl Question {
    /// Whether it is to be asked now.
    pub fn is_due(self, now: Instant) -> bool {
        self.again_at.is_none_or(|at| at <= now)
    }

    /// It was answered, and is asked again after a pause that doubles. Returns whether that makes sense: no more than
    /// `answers_max` times in all.
    pub fn repeat(&mut self, answers_max: u32, now: Instant) -> bool {
        self.again_at = Some(now + QUESTION_PAUSE * (1 << self.answers.min(QUESTION_DOUBLINGS_MAX)));
        self.answers += 1;
        self.answers < answers_max
    }

    /// There is a new reason to ask.
    pub fn hasten(&mut self, now: Instant) {
        let soonest = now + QUESTION_PAUSE;
        self.again_at = self.again_at.map(|at| at.min(soonest));
    }
}

/// What waits to be sent, per socket, in bytes: some chunks, so that there is always a full one.
pub const OUTGOING_LIMIT_BYTES: usize = 32 * 1024;

/// What waits for a client, per socket, in bytes.
/// Above `INCOMING_HIGH_BYTES` there is room for what a module still pushes until it has switched to buffer mode.
pub const INCOMING_LIMIT_BYTES: usize = 160 * 1024;

/// Above this many waiting bytes a pushing socket is switched to buffer mode.
pub const INCOMING_HIGH_BYTES: usize = 32 * 1024;

/// Below this many waiting bytes it may be switched back.
pub const INCOMING_LOW_BYTES: usize = 4 * 1024;

/// SEND OK can follow SEND FAIL within this time: then the bytes were taken. The line's time comes on top.
const SEND_OK_LATE_MAX: Duration = Duration::from_millis(500);

const BACKOFF_MIN: Duration = SEND_OK_LATE_MAX;
/// The pause before AT+QSSLSTATE is asked again, doubled each time: a module may say `closed` before its state changes.
const QUESTION_PAUSE: Duration = Duration::from_millis(500);
const QUESTION_DOUBLINGS_MAX: u32 = 6;

/// Answers that the socket is connected after which a `closed` counts as foreign: within about a minute.
pub const FOREIGN_CLOSED_ANSWERS: u32 = 8;

/// The same after which a refused send, or the end of a stream that was seen in data mode, is a cut: within some seconds.
pub const CONNECTED_ANSWERS_MAX: u32 = 4;

/// How long `closed` may stay away when the module has said that the socket is not connected and pushes nothing more.
pub const UNHEARD_WAIT: Duration = Duration::from_secs(10);

/// The pauses before the next switch of mode when one was refused.
const SWITCH_PAUSE_MIN: Duration = Duration::from_secs(1);
const SWITCH_PAUSE_MAX: Duration = Duration::from_secs(16);

const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// After SEND FAILs without progress for this long the stream counts as broken.
pub const SEND_STUCK_LIMIT: Duration = Duration::from_secs(120);
