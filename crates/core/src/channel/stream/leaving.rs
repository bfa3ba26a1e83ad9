//! How a stream is left, and what shows that it is over.
//!
//! ```text
//!              leave() or a suspicion
//!   Flowing ───────────────────────────► Draining ──► Guard ──► Escaped ──OK──► left
//!      ▲  │ DCD dropped                                 ▲        │    │ missed
//!      │  └───────────► HungUp ──► ended                └────────│────┘ (three times, then lost)
//!      │                                                         └► Asked ──► left, ended, or lost
//!      └── the suspicion was wrong
//! ```
//! On a channel that shares its line with others, there is no escape by `+++`: `Flowing ──► Beside ──► ended, or Flowing`
//! asks another channel, and a leave by DTR that is not answered gives the channel up. Elsewhere, where the stream may go
//! on, the socket's state is asked for before anything that is held counts as
//! payload: an `OK` can be in a text of another program.

use std::time::{Duration, Instant};

use super::incoming::{Escapes, Incoming, Shown};
use super::outgoing::{GUARD, Outgoing};
use super::words::{Lines, OK, ends_in_ok, find, is_all_unsolicited, oks};
use super::{Reason, StreamEffect};
use crate::at::SocketId;
use crate::at::answers::{Answer, SocketState, SocketStatus};

/// How far a stream is from command mode.
#[derive(Debug)]
pub struct Leaving {
    stage: Stage,
    /// Why it is being left.
    reason: Reason,
    /// How much was held when the first `+++` left.
    pluses_from: Option<usize>,
    /// The same of the first escape of any kind, by DTR or `+++`.
    escaped_from: Option<usize>,
    exit: Exit,
    /// When another channel was last asked.
    asked_beside: Option<Instant>,
    /// Since then the port is deliberately not read.
    paused_since: Option<Instant>,
}

/// By what a stream is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By `+++`: the port has nothing but the stream.
    Escape,
    /// By DTR, and if that has no effect, by `+++`.
    Dtr,
    /// By DTR alone. The line has other channels, and one of them answers what has become of the socket.
    Beside,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Flowing,
    /// Another channel is asked what has become of the socket.
    Beside {
        question: AskBeside,
        /// How often it was asked in vain.
        tries: u32,
        /// The words of an end have come by another channel.
        is_told: bool,
    },
    /// Since the port last had fewer bytes than the `least` it had before.
    Draining {
        since: Instant,
        least: usize,
    },
    Guard {
        until: Instant,
        tries: u32,
    },
    Escaped {
        since: Instant,
        /// Since then the answer can be read: later where the port was left unread.
        awaited_since: Instant,
        tries: u32,
        by_dtr: bool,
        from: usize,
    },
    /// The stream may go on, and the first escape was answered by what may be another program's text, or not in time:
    /// the socket's state was asked for, which only a modem in command mode answers.
    Asked {
        since: Instant,
        tries: u32,
        /// Where in what is held the `OK` of the escape begins, if it has come.
        ok_at: Option<usize>,
        /// Where the answer can begin.
        from: usize,
    },
    /// At the latest at this time, so that a peer that keeps sending holds up nothing.
    HungUp {
        until: Instant,
        latest: Instant,
        /// How long nothing may come before all has.
        tail: Duration,
        /// What other channels have shown.
        shown: Shown,
    },
}

/// How far a question to another channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskBeside {
    /// It is due at this time.
    At(Instant),
    /// It has been asked.
    Asked {
        /// How much was held then. The answer tells nothing of what has come since.
        held: usize,
    },
    /// The same, and then came another sign of an end, which the answer may not know of.
    AskedTooSoon,
}

/// The stage of the leave, as far as it decides what happens to received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// They are divided into payload and what is held.
    Flowing,
    /// They are held; an escape is under way, or about to be.
    Leaving,
    /// They are held: the modem's last words, or payload that waited in the port.
    HungUp,
}

/// What the modem answers when it is asked for the state of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StateAnswer {
    /// It takes commands, and carries the connection: it was no end.
    Connected {
        /// Where in what is held its answers begin.
        answer: usize,
        /// The escape was answered as well, late.
        was_escaped: bool,
    },
    /// It takes commands, and the connection is gone.
    NotConnected,
    /// It takes commands; perhaps it has no such socket.
    TakesCommands,
}

impl Leaving {
    /// A stream that is not being left.
    pub fn new(exit: Exit) -> Self {
        Leaving {
            stage: Stage::Flowing,
            reason: Reason::Done,
            pluses_from: None,
            escaped_from: None,
            exit,
            asked_beside: None,
            paused_since: None,
        }
    }

    /// What happens to received bytes.
    pub fn manner(&self) -> Manner {
        match self.stage {
            Stage::Flowing => Manner::Flowing,
            Stage::HungUp { .. } => Manner::HungUp,
            Stage::Beside { .. }
            | Stage::Draining { .. }
            | Stage::Guard { .. }
            | Stage::Escaped { .. }
            | Stage::Asked { .. } => Manner::Leaving,
        }
    }

    /// Whether the leave waits until everything written has left the port.
    pub fn is_draining(&self) -> bool {
        matches!(self.stage, Stage::Draining { .. })
    }

    /// Why it is being left.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether the modem's answer to an escape may wait unread.
    pub fn is_paused(&self) -> bool {
        self.paused_since.is_some()
    }

    /// The port is, or is no longer, deliberately left unread: what follows the end of the stream is still
    /// in it.
    pub fn set_paused(&mut self, paused: bool, now: Instant) {
        if let Stage::HungUp { until, latest, tail, .. } = &mut self.stage
            && let Some(since) = self.paused_since
            && !paused
        {
            *latest += now.saturating_duration_since(since);
            *until = (*until).max((now + *tail).min(*latest));
        }
        if let (Stage::Asked { since, .. } | Stage::Escaped { awaited_since: since, .. }, Some(_), false) =
            (&mut self.stage, self.paused_since, paused)
        {
            *since = now;
        }
        self.paused_since = paused.then(|| self.paused_since.unwrap_or(now));
    }

    /// The stream is to be left, or the modem is to be asked what was received.
    pub fn begin(&mut self, reason: Reason, outgoing: &mut Outgoing, now: Instant) {
        if self.manner() != Manner::Flowing {
            return;
        }
        self.reason = reason;
        if self.exit == Exit::Beside && self.reason.goes_on() {
            self.ask_beside(now);
        } else {
            self.stage = Stage::Draining { since: now, least: usize::MAX };
            outgoing.ask_soon(now);
        }
    }

    /// By what the stream is left.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// DCD or another channel shows that the stream may be over. What still comes is waited for, then another channel is
    /// asked.
    pub fn may_be_over(&mut self, now: Instant) {
        match &mut self.stage {
            Stage::Flowing => {
                self.reason = Reason::Suspicion;
                self.ask_beside(now + HANG_UP_TAIL);
            }
            Stage::Beside { question: AskBeside::At(at), .. } => *at = (*at).max(now + HANG_UP_TAIL),
            _ => {}
        }
    }

    /// Asks another channel at this time, and at most once in a while: payload can look like an end again and again.
    fn ask_beside(&mut self, at: Instant) {
        let soonest = self.asked_beside.map_or(at, |asked| asked + ASK_BESIDE_PAUSE);
        let question = AskBeside::At(at.max(soonest));
        self.stage = Stage::Beside { question, tries: 0, is_told: false };
    }

    /// Whether another channel has been asked, and has not answered.
    pub fn is_asking_beside(&self) -> bool {
        matches!(
            self.stage,
            Stage::Beside { question: AskBeside::Asked { .. } | AskBeside::AskedTooSoon, .. }
        )
    }

    /// There is another sign of an end.
    pub fn another_sign_came(&mut self) {
        if let Stage::Beside { question: question @ AskBeside::Asked { .. }, .. } = &mut self.stage {
            *question = AskBeside::AskedTooSoon;
        }
    }

    /// It has answered that the socket is connected. Returns whether it is asked again, since there was a sign of an end
    /// after the question.
    pub fn asks_once_more(&mut self, now: Instant) -> bool {
        let Stage::Beside { question: question @ AskBeside::AskedTooSoon, .. } = &mut self.stage else {
            return false;
        };
        *question = AskBeside::At(now + ASK_BESIDE_PAUSE);
        true
    }

    /// It has answered that the socket is connected, or its answer is of no use any more: the stream is as before. Returns
    /// how much of what is held was there before the question, and is payload if it has answered.
    pub fn goes_on(&mut self) -> usize {
        let Stage::Beside { question, .. } = self.stage else { return 0 };
        self.stage = Stage::Flowing;
        match question {
            AskBeside::Asked { held } => held,
            AskBeside::At(_) | AskBeside::AskedTooSoon => 0,
        }
    }

    /// It has not answered, or not clearly. Returns whether it is asked again.
    pub fn asks_again(&mut self, now: Instant) -> bool {
        let Stage::Beside { question, tries, .. } = &mut self.stage else { return false };
        *tries += 1;
        *question = AskBeside::At(now + ASK_BESIDE_PAUSE);
        *tries < ASKS_BESIDE_MAX
    }

    /// DCD shows that it is over.
    pub fn hang_up(&mut self, now: Instant) {
        if self.manner() != Manner::HungUp {
            let (until, latest) = (now + HANG_UP_TAIL, now + HANG_UP_MAX);
            let shown = Shown::Nothing;
            self.stage = Stage::HungUp { until, latest, tail: HANG_UP_TAIL, shown };
        }
    }

    /// Another channel has answered that the socket is not connected. Its answer may have overtaken payload, which waits
    /// in the module for this channel's turn: the stream is over when nothing has come for `tail`.
    pub fn is_over(&mut self, tail: Duration, now: Instant) {
        let is_told = matches!(self.stage, Stage::Beside { is_told: true, .. });
        let shown = if is_told { Shown::Told } else { Shown::State };
        self.stage = Stage::HungUp { until: now + tail, latest: now + OVERTAKEN_MAX, tail, shown };
    }

    /// The words of an end have come by another channel.
    pub fn told_beside(&mut self, now: Instant) {
        self.another_sign_came();
        self.may_be_over(now);
        match &mut self.stage {
            Stage::Beside { is_told, .. } => *is_told = true,
            Stage::HungUp { shown: shown @ Shown::State, .. } => *shown = Shown::Told,
            _ => {}
        }
    }

    /// What other channels have shown of its end.
    pub fn shown(&self) -> Shown {
        match self.stage {
            Stage::HungUp { shown, .. } => shown,
            _ => Shown::Nothing,
        }
    }

    /// The modem's last words come, or are all there.
    pub fn last_words_come(&mut self, are_all: bool, now: Instant) {
        let is_confirmed = self.shown() != Shown::Nothing;
        if let Stage::HungUp { until, latest, tail, .. } = &mut self.stage {
            *until = if are_all && !is_confirmed { now } else { (*latest).min(now + *tail) };
        }
    }

    /// The port still holds this many bytes.
    pub fn queue_is(&mut self, bytes: usize, now: Instant) {
        if let Stage::Draining { since, least } = &mut self.stage
            && bytes < *least
        {
            *since = now;
            *least = bytes;
        }
    }

    /// More is held, `held` bytes in all. The modem waits for its own guard time before it answers: bytes that came
    /// earlier are no answer.
    pub fn more_is_held(&mut self, held: usize, now: Instant) {
        if let Stage::Escaped { since, by_dtr: false, from, .. } = &mut self.stage
            && now < *since + OK_NOT_BEFORE
        {
            *from = held;
        }
    }

    /// The first `count` bytes of what is held were delivered.
    pub fn given_out(&mut self, count: usize) {
        self.pluses_from = self.pluses_from.map(|from| from.saturating_sub(count));
        self.escaped_from = self.escaped_from.map(|from| from.saturating_sub(count));
        match &mut self.stage {
            Stage::Escaped { from, .. } => *from = from.saturating_sub(count),
            Stage::Asked { ok_at, from, .. } => {
                *from -= count;
                *ok_at = ok_at.map(|at| at - count);
            }
            Stage::Beside { question: AskBeside::Asked { held }, .. } => *held = held.saturating_sub(count),
            Stage::Flowing
            | Stage::Beside { .. }
            | Stage::Draining { .. }
            | Stage::Guard { .. }
            | Stage::HungUp { .. } => {}
        }
    }

    /// Where in what is held the `OK` of the escape begins, if it has come. What is pushed for other sockets
    /// after it may be incomplete.
    fn answer_begins_at(&self, incoming: &Incoming) -> Option<usize> {
        self.answer_at(incoming).or_else(|| self.answer_may_begin_at(incoming))
    }

    /// Where in what is held an answer of the modem begins, or may begin.
    pub fn answer_may_begin_at(&self, incoming: &Incoming) -> Option<usize> {
        match self.stage {
            Stage::Escaped { from, .. } => {
                let held = incoming.held();
                let mut places = oks(&held[from..]).map(|at| from + at);
                places.find(|at| is_all_unsolicited(&held[at + OK.len()..]))
            }
            _ => self.asked_at(),
        }
    }

    /// When [`Leaving::due`] is due. Not while it flows.
    pub fn deadline(
        &self,
        socket: Option<SocketId>,
        incoming: &Incoming,
        outgoing: &Outgoing,
    ) -> Option<Instant> {
        match self.stage {
            Stage::Flowing => None,
            Stage::Beside { question: AskBeside::At(at), .. } => Some(at),
            Stage::Beside { question: AskBeside::Asked { .. } | AskBeside::AskedTooSoon, .. } => None,
            Stage::Draining { since, .. } => Some(outgoing.drained_since().unwrap_or(since + DRAIN_LIMIT)),
            Stage::HungUp { .. } if self.may_wait_unread(incoming) => None,
            Stage::Guard { until, .. } | Stage::HungUp { until, .. } => Some(until),
            Stage::Escaped { .. } if self.answer_begins_at(incoming).is_some() => {
                Some(self.answered_at(incoming))
            }
            Stage::Escaped { .. } if self.may_wait_unread(incoming) => None,
            Stage::Escaped { awaited_since, .. } => Some(awaited_since + self.escape_wait(socket)),
            Stage::Asked { since, ok_at, .. } => match self.state_answer(socket, incoming) {
                Some(StateAnswer::TakesCommands) => Some(takes_commands_at(since, incoming)),
                Some(_) => Some(since),
                None if self.may_wait_unread(incoming) => None,
                None => Some(since + state_wait(ok_at)),
            },
        }
    }

    /// What is due.
    pub fn due(
        &mut self,
        socket: Option<SocketId>,
        incoming: &Incoming,
        outgoing: &Outgoing,
        now: Instant,
    ) -> StreamEffect {
        match self.stage {
            Stage::Flowing => StreamEffect::Wait,
            Stage::Beside { question: AskBeside::At(at), tries, is_told } if at <= now => match socket {
                Some(id) => {
                    let question = AskBeside::Asked { held: incoming.held().len() };
                    self.stage = Stage::Beside { question, tries, is_told };
                    self.asked_beside = Some(now);
                    StreamEffect::AskBeside(id)
                }
                // Nobody waits to learn what it was.
                None => StreamEffect::Abandon,
            },
            Stage::Beside { .. } => StreamEffect::Wait,
            // The server may take nothing any more, and so the modem does not either.
            Stage::Draining { since, .. }
                if outgoing.drained_since().is_some() || since + DRAIN_LIMIT <= now =>
            {
                self.begin_escape(1, incoming, outgoing, now)
            }
            Stage::Draining { .. } => StreamEffect::Wait,
            Stage::Guard { until, tries } if until <= now => {
                let from = incoming.held().len();
                self.pluses_from.get_or_insert(from);
                self.escaped_from.get_or_insert(from);
                self.stage = Stage::Escaped { since: now, awaited_since: now, tries, by_dtr: false, from };
                StreamEffect::SendEscape
            }
            Stage::Guard { .. } => StreamEffect::Wait,
            Stage::Escaped { awaited_since, tries, by_dtr, .. } => {
                if let Some(answer) = self.answer_begins_at(incoming) {
                    return match (self.answered_at(incoming) <= now, self.reason.goes_on(), socket) {
                        (false, ..) => StreamEffect::Wait,
                        // It may be in a text of another program, and the stream may have ended before.
                        (true, true, Some(id)) => {
                            let from = incoming.held().len();
                            self.stage = Stage::Asked { since: now, tries, ok_at: Some(answer), from };
                            StreamEffect::AskState(id)
                        }
                        (true, ..) => StreamEffect::Left(self.reason),
                    };
                }
                if awaited_since + self.escape_wait(socket) > now || self.may_wait_unread(incoming) {
                    return StreamEffect::Wait;
                }
                if self.exit == Exit::Beside {
                    return StreamEffect::Abandon;
                }
                if by_dtr {
                    // The pin may not be wired: fall back on the characters.
                    self.exit = Exit::Escape;
                    self.stage = Stage::Guard { until: outgoing.guarded_until(now), tries: 1 };
                    return StreamEffect::SetDtr(true);
                }
                // Where the port is left unread, the escape may have been answered.
                if let (true, 1, Some(id), false) = (self.reason.goes_on(), tries, socket, self.is_paused()) {
                    let from = incoming.held().len();
                    self.stage = Stage::Asked { since: now, tries, ok_at: None, from };
                    return StreamEffect::AskState(id);
                }
                match tries >= ESCAPE_TRIES {
                    true => StreamEffect::Lost,
                    false => self.begin_escape(tries + 1, incoming, outgoing, now),
                }
            }
            Stage::Asked { since, ok_at, .. } => match self.state_answer(socket, incoming) {
                // Where payload may have been an escape, this does not show whether `OK` was payload.
                Some(StateAnswer::Connected { .. }) if outgoing.may_have_escaped() && ok_at.is_none() => {
                    StreamEffect::Lost
                }
                Some(StateAnswer::Connected { .. }) => StreamEffect::Left(self.reason),
                Some(StateAnswer::NotConnected) => StreamEffect::Ended,
                // It may be the late answer to the escape, and that to the question still comes.
                Some(StateAnswer::TakesCommands) if takes_commands_at(since, incoming) <= now => {
                    StreamEffect::Lost
                }
                None if self.may_wait_unread(incoming) => StreamEffect::Wait,
                None if since + state_wait(ok_at) <= now => StreamEffect::Lost,
                Some(StateAnswer::TakesCommands) | None => StreamEffect::Wait,
            },
            Stage::HungUp { until, .. } if until <= now && !self.may_wait_unread(incoming) => {
                StreamEffect::Ended
            }
            Stage::HungUp { .. } => StreamEffect::Wait,
        }
    }

    /// Where in what is held the modem's own words begin, if the escape was answered.
    pub fn left_at(&self, socket: Option<SocketId>, incoming: &Incoming) -> Option<usize> {
        match self.state_answer(socket, incoming) {
            Some(StateAnswer::Connected { answer, .. }) => Some(answer),
            _ => self.answer_begins_at(incoming),
        }
    }

    /// The first of the bytes that are held which may not be payload: the escape was not answered, and nothing shows
    /// where the modem's words begin.
    pub fn unsure_from(&self, socket: Option<SocketId>, incoming: &Incoming) -> Option<usize> {
        match self.state_answer(socket, incoming) {
            Some(StateAnswer::Connected { was_escaped: false, .. }) => {
                // DTR may have been answered late, before `+++` left.
                let late =
                    self.escaped_from.and_then(|from| Some(from + find(&incoming.held()[from..], OK)?));
                late.into_iter().chain(self.pluses_from).min()
            }
            _ => None,
        }
    }

    /// Whether an escape before the last one was not answered: it may have become payload.
    pub fn has_missed_escape(&self, socket: Option<SocketId>, incoming: &Incoming) -> bool {
        match self.stage {
            Stage::Escaped { tries, .. } => tries > 1,
            Stage::Asked { tries, .. } => {
                let answer = self.state_answer(socket, incoming);
                tries > 1 || !matches!(answer, Some(StateAnswer::Connected { was_escaped: true, .. }))
            }
            Stage::Flowing
            | Stage::Beside { .. }
            | Stage::Draining { .. }
            | Stage::Guard { .. }
            | Stage::HungUp { .. } => false,
        }
    }

    /// What became of the escapes.
    pub fn escapes(&self, socket: Option<SocketId>, incoming: &Incoming) -> Escapes {
        let asked_from = self.asked_at();
        Escapes {
            from: self.escaped_from,
            asked_from,
            may_be_answered: matches!(self.stage, Stage::Asked { ok_at: Some(_), .. }),
            is_unanswered: self.reason.goes_on()
                && asked_from.is_none()
                && self.has_missed_escape(socket, incoming),
        }
    }

    fn begin_escape(
        &mut self,
        tries: u32,
        incoming: &Incoming,
        outgoing: &Outgoing,
        now: Instant,
    ) -> StreamEffect {
        if self.exit != Exit::Escape && tries == 1 {
            self.escaped_from.get_or_insert(incoming.held().len());
            let from = incoming.held().len();
            self.stage = Stage::Escaped { since: now, awaited_since: now, tries, by_dtr: true, from };
            return StreamEffect::SetDtr(false);
        }
        let until = if tries == 1 { outgoing.guarded_until(now) } else { now + GUARD };
        self.stage = Stage::Guard { until, tries };
        StreamEffect::Wait
    }

    /// What a modem that was asked for the state of the socket has answered.
    fn state_answer(&self, socket: Option<SocketId>, incoming: &Incoming) -> Option<StateAnswer> {
        let Stage::Asked { ok_at: early_ok, from, .. } = self.stage else { return None };
        let (mut state, mut late_ok, mut is_done) = (None, None, false);
        let held = &incoming.held()[from..];
        for (at, line) in Lines::of(held) {
            // Its line feed, if it comes later, must not be read as what follows the words before the answer.
            if !held[at + line.len()..].starts_with(b"\n") {
                continue;
            }
            let at = from + at.saturating_sub(2);
            let Some(text) = line.strip_suffix(b"\r") else { continue };
            match (text, state) {
                (b"OK", None) => late_ok = late_ok.or(Some(at)),
                (b"OK", Some(_)) => is_done = true,
                (b"ERROR", None) => is_done = true,
                (_, None) if text.starts_with(CME_ERROR) => is_done = true,
                (_, None) if STATES.iter().any(|state| text.starts_with(state)) => state = Some((at, text)),
                _ => {}
            }
        }
        let Some((state_at, line)) = state else {
            return (is_done || late_ok.is_some()).then_some(StateAnswer::TakesCommands);
        };
        if !is_done {
            return None;
        }
        let is_connected = |of: SocketStatus<'_>| Some(of.id) == socket && of.state == SocketState::Connected;
        if !std::str::from_utf8(line).ok().and_then(SocketStatus::of).is_some_and(is_connected) {
            return Some(StateAnswer::NotConnected);
        }
        let escaped_at = early_ok.or(late_ok);
        let answer = escaped_at.unwrap_or(state_at);
        Some(StateAnswer::Connected { answer, was_escaped: escaped_at.is_some() })
    }

    /// Where in what is held the modem's own words begin, once the state of the socket was asked for.
    fn asked_at(&self) -> Option<usize> {
        match self.stage {
            Stage::Asked { ok_at: Some(at), .. } | Stage::Asked { ok_at: None, from: at, .. } => Some(at),
            _ => None,
        }
    }

    /// Whether the answer to a question may wait in a port that is left unread, and not because too much is held.
    fn may_wait_unread(&self, incoming: &Incoming) -> bool {
        self.is_paused() && incoming.room() > 0
    }

    /// How long the answer to an escape may take before something else is tried.
    fn escape_wait(&self, socket: Option<SocketId>) -> Duration {
        match (&self.stage, self.reason) {
            (Stage::Escaped { by_dtr: true, .. }, _) => DTR_WAIT,
            (Stage::Escaped { tries: 1, .. }, reason) if reason.goes_on() && socket.is_some() => ASK_AFTER,
            _ => ESCAPE_WAIT,
        }
    }

    /// Where in what is held the `OK` of the escape begins: the last thing that came, and not one that was payload.
    fn answer_at(&self, incoming: &Incoming) -> Option<usize> {
        let Stage::Escaped { from, .. } = self.stage else { return None };
        ends_in_ok(&incoming.held()[from..]).map(|at| from + at)
    }

    /// When the `OK` that came counts: after a moment of quiet, or if quiet does not come.
    fn answered_at(&self, incoming: &Incoming) -> Instant {
        let quiet = incoming.held_since() + OK_QUIET;
        match self.stage {
            Stage::Escaped { since, by_dtr, .. } => {
                let from = if by_dtr { since } else { since + OK_COUNTS_FROM };
                quiet.max(from).min(since + ESCAPE_WAIT + QUIET_MAX)
            }
            _ => quiet,
        }
    }
}

/// When no other answer to the question for the state, asked then, is waited for.
fn takes_commands_at(asked: Instant, incoming: &Incoming) -> Instant {
    (incoming.held_since() + LATE_STATE).max(asked).min(asked + STATE_WAIT + QUIET_MAX)
}

/// How long the answer to the question for the socket's state may take.
fn state_wait(ok_at: Option<usize>) -> Duration {
    if ok_at.is_some() { STATE_WAIT_ESCAPED } else { STATE_WAIT }
}

const CME_ERROR: &[u8] = b"+CME ERROR:";
const STATES: [&[u8]; 2] = [b"+QSSLSTATE:", b"+QISTATE:"];

/// How long the `OK` of `+++` may take, its guard time included: up to 3 s in the field.
pub const ESCAPE_WAIT: Duration = Duration::from_millis(3_500);

/// How long the `OK` may take after DTR has dropped.
const DTR_WAIT: Duration = Duration::from_millis(700);

/// Where the end of a stream is unconfirmed, the socket's state is asked for so long after the first escape:
/// most modems have answered that by then. One that has missed it gets the question as payload, but its
/// stream is broken anyway.
pub const ASK_AFTER: Duration = Duration::from_millis(1_400);

/// How long the answer may take: together with [`ASK_AFTER`] as long as that of an escape.
pub const STATE_WAIT: Duration = Duration::from_millis(2_100);

/// The same after an `OK`: as long as that of any short command.
pub const STATE_WAIT_ESCAPED: Duration = Duration::from_secs(5);

/// How long after an `OK` that may be the escape's the state may follow.
pub const LATE_STATE: Duration = Duration::from_millis(300);

/// The modem waits for its own guard time, a second or a little more, before it answers `+++`.
pub const OK_NOT_BEFORE: Duration = Duration::from_millis(900);

/// A command before the modem's guard time is over would undo `+++`, and become payload. So an `OK` counts only then: an
/// earlier one may be payload.
pub const OK_COUNTS_FROM: Duration = Duration::from_millis(1_150);

/// How long nothing of what was written may leave the port before data mode is left all the same.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// How often `+++` is tried.
const ESCAPE_TRIES: u32 = 3;

/// How long further received bytes may delay the end of an escape.
pub const QUIET_MAX: Duration = Duration::from_secs(1);

/// How long after `OK` the quiet must last before the `OK` counts.
pub const OK_QUIET: Duration = Duration::from_millis(100);

/// Another channel is asked at most once in this time what has become of the socket of a stream.
const ASK_BESIDE_PAUSE: Duration = Duration::from_secs(1);

/// How often it is asked in vain before the stream is given up.
const ASKS_BESIDE_MAX: u32 = 3;

/// How long payload may go on arriving after another channel has shown the end: the rest of what the module held.
const OVERTAKEN_MAX: Duration = Duration::from_secs(60);

/// What still arrives after DCD has dropped: the modem's words.
pub const HANG_UP_TAIL: Duration = Duration::from_millis(200);

/// How long they may go on arriving, not counting the time in which the port is not read.
pub const HANG_UP_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    const AT: &str = "asks beside soon";
    const ASKED: &str = "asked beside";
    const ASKED_TOO_SOON: &str = "asked beside too soon";

    fn name(stage: &Stage) -> &'static str {
        match stage {
            Stage::Flowing => "flowing",
            Stage::Beside { question: AskBeside::At(_), .. } => AT,
            Stage::Beside { question: AskBeside::Asked { .. }, .. } => ASKED,
            Stage::Beside { question: AskBeside::AskedTooSoon, .. } => ASKED_TOO_SOON,
            Stage::Draining { .. } => "draining",
            Stage::Guard { .. } => "guard",
            Stage::Escaped { .. } => "escaped",
            Stage::Asked { .. } => "asked",
            Stage::HungUp { .. } => "hung up",
        }
    }

    fn stages() -> [Stage; 9] {
        let (now, shown) = (now(), Shown::Nothing);
        let beside = |question| Stage::Beside { question, tries: 0, is_told: false };
        [
            Stage::Flowing,
            beside(AskBeside::At(now)),
            beside(AskBeside::Asked { held: 0 }),
            beside(AskBeside::AskedTooSoon),
            Stage::Draining { since: now, least: 0 },
            Stage::Guard { until: now, tries: 1 },
            Stage::Escaped { since: now, awaited_since: now, tries: 1, by_dtr: false, from: 0 },
            Stage::Asked { since: now, tries: 1, ok_at: None, from: 0 },
            Stage::HungUp { until: now, latest: now, tail: HANG_UP_TAIL, shown },
        ]
    }

    type Event = fn(&mut Leaving, Instant);
    /// From which stage to which.
    type Changes = &'static [(&'static str, &'static str)];

    #[test]
    fn each_event_leads_from_each_stage_to_the_one_that_follows() {
        // What follows from the stages in which it has an effect; the others stay.
        let rows: [(&str, Exit, Event, Changes); 11] = [
            (
                "the client is done",
                Exit::Beside,
                |leaving, now| leaving.begin(Reason::Done, &mut Outgoing::new(None, now), now),
                &[("flowing", "draining")],
            ),
            (
                "a suspicion",
                Exit::Escape,
                |leaving, now| leaving.begin(Reason::Suspicion, &mut Outgoing::new(None, now), now),
                &[("flowing", "draining")],
            ),
            (
                "its client reads slowly, and nothing stops the modem",
                Exit::Dtr,
                |leaving, now| leaving.begin(Reason::Crowded, &mut Outgoing::new(None, now), now),
                &[("flowing", "draining")],
            ),
            (
                "a suspicion on a line with other channels",
                Exit::Beside,
                |leaving, now| leaving.begin(Reason::Suspicion, &mut Outgoing::new(None, now), now),
                &[("flowing", AT)],
            ),
            (
                "DCD drops on a line with other channels",
                Exit::Beside,
                Leaving::may_be_over,
                &[("flowing", AT)],
            ),
            (
                "another sign of an end",
                Exit::Beside,
                |leaving, _| leaving.another_sign_came(),
                &[(ASKED, ASKED_TOO_SOON)],
            ),
            (
                "the words of an end on another channel",
                Exit::Beside,
                Leaving::told_beside,
                &[("flowing", AT), (ASKED, ASKED_TOO_SOON)],
            ),
            (
                "no answer on the other channel",
                Exit::Beside,
                |leaving, now| {
                    leaving.asks_again(now);
                },
                &[(ASKED, AT), (ASKED_TOO_SOON, AT)],
            ),
            (
                "still connected, by the other channel",
                Exit::Beside,
                |leaving, _| {
                    leaving.goes_on();
                },
                &[(AT, "flowing"), (ASKED, "flowing"), (ASKED_TOO_SOON, "flowing")],
            ),
            (
                "DCD drops",
                Exit::Dtr,
                Leaving::hang_up,
                &[
                    ("flowing", "hung up"),
                    (AT, "hung up"),
                    (ASKED, "hung up"),
                    (ASKED_TOO_SOON, "hung up"),
                    ("draining", "hung up"),
                    ("guard", "hung up"),
                    ("escaped", "hung up"),
                    ("asked", "hung up"),
                ],
            ),
            (
                "still connected, after a sign that came later than the question",
                Exit::Beside,
                |leaving, now| {
                    leaving.asks_once_more(now);
                },
                &[(ASKED_TOO_SOON, AT)],
            ),
        ];
        for (event, exit, happens, changes) in rows {
            for stage in stages() {
                let from = name(&stage);
                let to = changes.iter().find(|(stage, _)| *stage == from).map_or(from, |(_, to)| *to);
                let mut leaving = Leaving { stage, ..Leaving::new(exit) };
                happens(&mut leaving, now());
                assert_eq!(name(&leaving.stage), to, "{event}, when {from}");
            }
        }
    }

    /// Another channel is asked three times, and then the stream is given up by its owner.
    #[test]
    fn a_question_to_another_channel_is_repeated_twice() {
        let mut leaving = Leaving::new(Exit::Beside);
        leaving.may_be_over(now());
        let repeated: Vec<bool> = (0..ASKS_BESIDE_MAX).map(|_| leaving.asks_again(now())).collect();
        assert_eq!(repeated, [true, true, false]);
    }
}
