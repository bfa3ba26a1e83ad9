//! What is known of the server's side of an open socket.
//!
//! ```text
//!            `closed`, or a refused send             not connected, `closed` has come
//!   There ────────────────────────────────► Unconfirmed ─────────────────────────────────► Gone
//!     ▲          connected, no send refused    │ ▲ │ not connected, no `closed` yet
//!     └────────────────────────────────────────┘ │ └──► AwaitingClosed
//!                                                └────────────┘ `closed`
//! ```
//! Where the `closed` may have been another program's, `Emptying` comes before `Gone`, until nothing more is pushed.
//!
//! An end needs two witnesses: the URC `closed`, which comes after everything that was pushed, and the module's own
//! state of the socket (AT+QSSLSTATE). In push mode the state is asked for on the port that pushes.

use std::time::{Duration, Instant};

use crate::failure::Cut;

/// What is known of the far end of an open socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FarEnd {
    /// The server is connected, as far as is known.
    There,
    /// A sign says that it may have closed: the module is asked whether the socket is connected.
    Unconfirmed {
        /// The sign.
        sign: Sign,
        /// The question to the module.
        question: Question,
    },
    /// The module has reported both, but a `closed` that did not fit came before: it may still push. It is
    /// asked until nothing has come between two answers.
    Emptying {
        /// Something came since it was asked last.
        pushed: bool,
        /// The question to the module.
        question: Question,
    },
    /// The module reports that the socket is not connected, and has not sent `closed` yet, which comes after
    /// what it still pushes.
    AwaitingClosed {
        /// When `closed` is no longer waited for.
        until: Instant,
        /// Why the stream is broken in that case.
        cut: Cut,
    },
    /// The module has reported both. What it still holds is read.
    Gone,
}

/// A sign that the server may have closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The URC `closed`.
    Closed,
    /// AT+QSSLSEND was answered with ERROR.
    RefusedSend,
    /// Both of them.
    Both,
    /// No sign at all, but a `closed` would not reach us.
    Silence,
}

/// What the module reports about one of our connections when it is asked (AT+QSSLSTATE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// It is connected.
    Connected,
    /// It is not.
    Ended,
    /// `OK` and nothing else: it may be the end of another program's text, or the answer to an earlier command whose
    /// place such a text has taken.
    Forgeable,
    /// The number belongs to another program by now.
    Another,
    /// The module refuses the question, or does not list what it was asked for.
    Unclear,
}

/// A question to the module that may be asked several times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// How often it was answered.
    pub answers: u32,
    /// When to ask again; `None`: at once.
    pub again_at: Option<Instant>,
}

/// What an answer about an unconfirmed far end means for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it is. `is_first`: a `closed` was contradicted for the first time.
    GoesOn {
        /// Whether that is worth a line of the log.
        is_first: bool,
    },
    /// The server has closed, by both witnesses.
    Gone,
    /// The server has closed, and `closed` was sent by a port that is not ours, or not at all. What waits in
    /// the module can be read.
    GoneWithoutClosed,
    /// What waits in the module can be read, and `closed` is awaited.
    ReadOn,
    /// `closed` is awaited, and may have been sent by a port that is not ours.
    WithoutClosed,
    /// It is broken.
    Broken(Cut),
}

impl FarEnd {
    /// That of a connection whose `closed` came before the result of its open: it may be another's, as one that the
    /// module's answer has contradicted.
    pub(super) fn unconfirmed() -> Self {
        FarEnd::Unconfirmed { sign: Sign::Closed, question: Question { answers: 1, again_at: None } }
    }

    /// Whether bytes are sent to the server. After the first answer that contradicts a `closed`, sending goes on.
    pub fn takes_bytes(self) -> bool {
        match self {
            FarEnd::There => true,
            FarEnd::Unconfirmed { sign: Sign::Silence, .. } => true,
            FarEnd::Unconfirmed { sign, question } => sign == Sign::Closed && question.answers > 0,
            FarEnd::Emptying { .. } | FarEnd::AwaitingClosed { .. } | FarEnd::Gone => false,
        }
    }

    /// Whether something speaks against it, other than that nothing has come for a while.
    pub fn has_sign(self) -> bool {
        !matches!(self, FarEnd::There | FarEnd::Unconfirmed { sign: Sign::Silence, .. })
    }

    /// Whether the module has reported that the socket is not connected.
    pub fn is_over(self) -> bool {
        matches!(self, FarEnd::AwaitingClosed { .. } | FarEnd::Gone)
    }

    /// `closed` may have been sent by a port that is not ours: the module is asked.
    pub(super) fn ask(&mut self) {
        if *self == FarEnd::There {
            *self = FarEnd::Unconfirmed { sign: Sign::Silence, question: Question::default() };
        }
    }

    /// It has ended, and nothing is promised of how.
    pub(super) fn is_over_now(&mut self) {
        *self = FarEnd::Gone;
    }

    /// The module was asked beside a stream: the answer is about the stream, whose channel decides.
    pub(super) fn asked_beside(&mut self) {
        *self = FarEnd::There;
    }

    /// `closed` does not come. After a while the stream counts as broken, unless `closed` may wait in a port that is
    /// not read.
    pub(super) fn closed_stays_away(&mut self, is_unread: bool, now: Instant) -> Result<(), Cut> {
        let FarEnd::AwaitingClosed { until, cut } = self else { return Ok(()) };
        if is_unread {
            *until = now + CLOSED_WAIT;
        }
        if *until <= now { Err(*cut) } else { Ok(()) }
    }

    /// The URC `closed`. It may be another's whatever was known before, so the module is asked after it.
    pub(super) fn closed(&mut self, now: Instant) {
        match self {
            FarEnd::There => {
                *self = FarEnd::Unconfirmed { sign: Sign::Closed, question: Question::default() };
            }
            FarEnd::Unconfirmed { sign, question } => {
                question.hasten(now);
                *sign = match *sign {
                    Sign::RefusedSend | Sign::Both => Sign::Both,
                    Sign::Closed | Sign::Silence => Sign::Closed,
                };
            }
            FarEnd::AwaitingClosed { cut, .. } => {
                let sign = if *cut == Cut::SendRefused { Sign::Both } else { Sign::Closed };
                *self = FarEnd::Unconfirmed { sign, question: Question::default() };
            }
            FarEnd::Emptying { question, .. } => {
                // The pause after the next answer is the shortest again.
                question.answers = 0;
                question.hasten(now);
            }
            FarEnd::Gone => {}
        }
    }

    /// AT+QSSLSEND was answered with ERROR. What the server sent before it closed may still be under way.
    pub(super) fn send_refused(&mut self) {
        match self {
            FarEnd::There | FarEnd::Unconfirmed { sign: Sign::Silence, .. } => {
                *self = FarEnd::Unconfirmed { sign: Sign::RefusedSend, question: Question::default() };
            }
            FarEnd::Unconfirmed { sign: sign @ Sign::Closed, .. } => *sign = Sign::Both,
            FarEnd::Unconfirmed { .. }
            | FarEnd::Emptying { .. }
            | FarEnd::AwaitingClosed { .. }
            | FarEnd::Gone => {}
        }
    }

    /// Something came for the socket: its `closed` is still to come.
    pub(super) fn received(&mut self, now: Instant) {
        match self {
            FarEnd::AwaitingClosed { until, .. } => *until = now + CLOSED_WAIT,
            FarEnd::Emptying { pushed, .. } => *pushed = true,
            // Nothing comes after a `closed` that is its own.
            FarEnd::Unconfirmed { sign: Sign::Closed | Sign::Both, question } => {
                question.answers = question.answers.max(1)
            }
            FarEnd::There | FarEnd::Unconfirmed { .. } | FarEnd::Gone => {}
        }
    }

    /// The module was asked for the socket's state. `is_pushed`: what comes from the server comes by itself.
    pub(super) fn answered(&mut self, witness: Witness, is_pushed: bool, now: Instant) -> Verdict {
        let verdict = self.verdict(witness, is_pushed, now);
        if matches!(verdict, Verdict::Gone | Verdict::GoneWithoutClosed) {
            *self = FarEnd::Gone;
        }
        verdict
    }

    fn verdict(&mut self, witness: Witness, is_pushed: bool, now: Instant) -> Verdict {
        let goes_on = Verdict::GoesOn { is_first: false };
        if let FarEnd::Emptying { pushed, question } = self {
            return match witness {
                Witness::Ended if std::mem::take(pushed) => {
                    question.repeat(u32::MAX, now);
                    goes_on
                }
                Witness::Ended => Verdict::Gone,
                Witness::Connected | Witness::Forgeable | Witness::Another | Witness::Unclear => {
                    Verdict::Broken(Cut::ClosedUncertain)
                }
            };
        }
        let FarEnd::Unconfirmed { sign, question } = self else { return goes_on };
        match (witness, *sign) {
            (Witness::Another, _) => Verdict::Broken(Cut::NumberTaken),
            (Witness::Connected, Sign::Closed) => {
                let is_first = question.answers == 0;
                if !question.repeat(FOREIGN_CLOSED_ANSWERS, now) {
                    *self = FarEnd::There;
                }
                Verdict::GoesOn { is_first }
            }
            (Witness::Connected, Sign::RefusedSend | Sign::Both) => {
                match question.repeat(CONNECTED_ANSWERS_MAX, now) {
                    true => goes_on,
                    false => Verdict::Broken(Cut::SendRefused),
                }
            }
            (Witness::Ended, Sign::RefusedSend) => {
                *self = FarEnd::AwaitingClosed { until: now + CLOSED_WAIT, cut: Cut::SendRefused };
                Verdict::ReadOn
            }
            // What was pushed may have left by a port that is not ours, as `closed` did.
            (Witness::Ended, Sign::Silence) if is_pushed => {
                *self = FarEnd::AwaitingClosed { until: now + CLOSED_WAIT, cut: Cut::UrcsMissed };
                Verdict::WithoutClosed
            }
            (Witness::Ended, Sign::Silence) => Verdict::GoneWithoutClosed,
            (Witness::Connected | Witness::Unclear, Sign::Silence) => {
                *self = FarEnd::There;
                goes_on
            }
            // Another's `closed` has come; what is pushed may not be read to its end.
            (Witness::Ended, Sign::Closed | Sign::Both) if question.answers > 0 && is_pushed => {
                let mut question = Question::default();
                question.repeat(u32::MAX, now);
                *self = FarEnd::Emptying { pushed: false, question };
                goes_on
            }
            (Witness::Ended, Sign::Closed | Sign::Both) => Verdict::Gone,
            (Witness::Forgeable, Sign::Silence) => Verdict::Broken(Cut::Forgeable),
            (Witness::Forgeable | Witness::Unclear, Sign::Closed) => Verdict::Broken(Cut::ClosedUncertain),
            (Witness::Forgeable | Witness::Unclear, Sign::RefusedSend | Sign::Both) => {
                Verdict::Broken(Cut::SendRefused)
            }
        }
    }
}

impl Question {
    /// Whether it is to be asked now.
    pub fn is_due(self, now: Instant) -> bool {
        self.again_at.is_none_or(|at| at <= now)
    }

    /// It was answered, and is asked again after a pause that doubles. Returns whether that makes sense: no more than
    /// `answers_max` times in all.
    pub(super) fn repeat(&mut self, answers_max: u32, now: Instant) -> bool {
        self.again_at = Some(now + QUESTION_PAUSE * (1 << self.answers.min(QUESTION_DOUBLINGS_MAX)));
        self.answers += 1;
        self.answers < answers_max
    }

    /// There is a new reason to ask.
    fn hasten(&mut self, now: Instant) {
        let soonest = now + QUESTION_PAUSE;
        self.again_at = self.again_at.map(|at| at.min(soonest));
    }
}

/// The pause before AT+QSSLSTATE is asked again, doubled each time: a module may send `closed` before its
/// state changes.
const QUESTION_PAUSE: Duration = Duration::from_millis(500);
const QUESTION_DOUBLINGS_MAX: u32 = 6;

/// After this many answers that the socket is connected, a `closed` counts as another program's. They take about a
/// minute.
const FOREIGN_CLOSED_ANSWERS: u32 = 8;

/// After this many such answers, a refused send, or the end of a stream that was seen in data mode, is a cut. They take
/// some seconds.
pub(super) const CONNECTED_ANSWERS_MAX: u32 = 4;

/// How long `closed` may stay away when the module has reported that the socket is not connected and pushes
/// nothing more.
const CLOSED_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    fn unconfirmed(sign: Sign, answers: u32) -> FarEnd {
        FarEnd::Unconfirmed { sign, question: Question { answers, again_at: None } }
    }

    #[test]
    fn what_speaks_against_it_adds_up() {
        let now = now();
        for (before, closed, refused) in [
            (FarEnd::There, unconfirmed(Sign::Closed, 0), unconfirmed(Sign::RefusedSend, 0)),
            (unconfirmed(Sign::Silence, 0), unconfirmed(Sign::Closed, 0), unconfirmed(Sign::RefusedSend, 0)),
            (unconfirmed(Sign::Closed, 1), unconfirmed(Sign::Closed, 1), unconfirmed(Sign::Both, 1)),
            (
                unconfirmed(Sign::RefusedSend, 1),
                unconfirmed(Sign::Both, 1),
                unconfirmed(Sign::RefusedSend, 1),
            ),
            (unconfirmed(Sign::Both, 2), unconfirmed(Sign::Both, 2), unconfirmed(Sign::Both, 2)),
            (FarEnd::Gone, FarEnd::Gone, FarEnd::Gone),
        ] {
            let (mut after_closed, mut after_refused) = (before, before);
            after_closed.closed(now);
            after_refused.send_refused();
            assert_eq!((after_closed, after_refused), (closed, refused), "{before:?}");
        }
    }

    #[test]
    fn a_closed_that_comes_while_a_server_that_has_closed_still_pushes_is_anothers() {
        let now = now();
        let mut far_end = unconfirmed(Sign::RefusedSend, 0);
        assert_eq!(far_end.answered(Witness::Ended, true, now), Verdict::ReadOn);
        far_end.closed(now);
        assert_eq!(far_end, unconfirmed(Sign::Both, 0), "the module is asked once more");
        let mut own = far_end;
        assert_eq!(own.answered(Witness::Ended, true, now), Verdict::Gone);
        far_end.received(now);
        assert_eq!(far_end.answered(Witness::Ended, true, now), Verdict::GoesOn { is_first: false });
        far_end.closed(now);
        assert_eq!(far_end.answered(Witness::Ended, true, now), Verdict::Gone, "nothing more was pushed");
    }

    #[test]
    fn the_modules_answer_decides_by_what_was_seen_before() {
        use Verdict::{Broken, GoesOn, Gone, ReadOn, WithoutClosed};
        use Witness::{Another, Connected, Ended, Forgeable, Unclear};
        let now = now();
        let goes_on = GoesOn { is_first: false };
        for (sign, answers, witness, verdict) in [
            (Sign::Closed, 0, Ended, Gone),
            (Sign::Closed, 0, Connected, GoesOn { is_first: true }),
            (Sign::Closed, 1, Connected, goes_on),
            (Sign::Closed, 1, Ended, goes_on),
            (Sign::Closed, 0, Unclear, Broken(Cut::ClosedUncertain)),
            (Sign::Closed, 0, Forgeable, Broken(Cut::ClosedUncertain)),
            (Sign::Both, 0, Ended, Gone),
            (Sign::Both, 0, Unclear, Broken(Cut::SendRefused)),
            (Sign::RefusedSend, 0, Connected, goes_on),
            (Sign::RefusedSend, CONNECTED_ANSWERS_MAX - 1, Connected, Broken(Cut::SendRefused)),
            (Sign::RefusedSend, 0, Ended, ReadOn),
            (Sign::RefusedSend, 0, Unclear, Broken(Cut::SendRefused)),
            (Sign::Silence, 0, Ended, WithoutClosed),
            (Sign::Silence, 0, Connected, goes_on),
            (Sign::Silence, 0, Unclear, goes_on),
            (Sign::Silence, 0, Forgeable, Broken(Cut::Forgeable)),
            (Sign::Closed, 0, Another, Broken(Cut::NumberTaken)),
        ] {
            let mut far_end = unconfirmed(sign, answers);
            assert_eq!(far_end.answered(witness, true, now), verdict, "{sign:?} {answers} {witness:?}");
        }
        let mut foreign = unconfirmed(Sign::Closed, FOREIGN_CLOSED_ANSWERS - 1);
        foreign.answered(Connected, true, now);
        assert_eq!(foreign, FarEnd::There, "that `closed` was another program's text");
    }

    #[test]
    fn where_a_foreign_closed_came_first_the_end_is_believed_once_nothing_more_is_pushed() {
        let now = now();
        let mut far_end = unconfirmed(Sign::Closed, 1);
        assert_eq!(far_end.answered(Witness::Ended, true, now), Verdict::GoesOn { is_first: false });
        assert!(matches!(far_end, FarEnd::Emptying { pushed: false, .. }));
        far_end.received(now);
        assert_eq!(far_end.answered(Witness::Ended, true, now), Verdict::GoesOn { is_first: false });
        assert_eq!(far_end.answered(Witness::Ended, true, now), Verdict::Gone);
        let mut read = unconfirmed(Sign::Closed, 1);
        assert_eq!(
            read.answered(Witness::Ended, false, now),
            Verdict::Gone,
            "in buffer mode it is read to 0"
        );
        let mut silent = unconfirmed(Sign::Silence, 0);
        assert_eq!(silent.answered(Witness::Ended, false, now), Verdict::GoneWithoutClosed);
    }
}
