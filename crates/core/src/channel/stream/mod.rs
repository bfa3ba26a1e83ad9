//! Transparent mode: the channel is the stream of one socket, and the only words left are escapes.
//!
//! ```text
//!              leave() or a suspicion
//!   Flowing ───────────────────────────► Draining ──► Guard ──► Escaped ──OK──► left
//!      ▲  │ DCD dropped                                 ▲        │    │ missed
//!      │  └───────────► HungUp ──► ended                └────────│────┘ (three times, then lost)
//!      │                                                         └► Asked ──► left, ended, or lost
//!      └── the suspicion was wrong
//! ```
//! Where the stream may go on, the socket's state is asked for before anything that is held counts as payload: an `OK`
//! can stand in a text of another program.
//!
//! Up, the bytes on the line never end in `+++` before a pause, or the modem would take them for the escape.
//! Down, `NO CARRIER` may be payload or the end of it; what looks like it is held back until that is known.
//! Where the port has a DCD line, that line knows.

mod pace;
mod sent;

use std::time::{Duration, Instant};

use crate::at::answers::{Answer, SocketState, SocketStatus};
use crate::at::{SocketId, foreign_length};
pub use pace::Pace;
use sent::Sent;

/// A channel in data mode.
#[derive(Debug)]
pub struct Stream {
    /// The socket whose stream it is; `None` if nobody wants the stream.
    pub socket: Option<SocketId>,
    /// The client broke off: the far end must not hear of an end in order.
    aborted: bool,
    /// The LF that ends `CONNECT` has not come yet.
    line_feed_due: bool,
    stage: Stage,
    /// Why it is being left.
    reason: Reason,
    /// `+`es at the end of what is on the line.
    line_pluses: usize,
    /// When `+`es that would make an escape were last sent with a pause between them: a modem that was busy then does
    /// not see the pause.
    may_have_escaped: Option<Instant>,
    /// Received and not yet known to be payload.
    held: Vec<u8>,
    /// What there is of the modem's words in that.
    verdict: Verdict,
    /// Since when the oldest of `held` waits; of a whole terminator, when the last byte came.
    held_since: Instant,
    /// Since when a whole terminator is held.
    suspected_since: Option<Instant>,
    /// The end of what was delivered, as far as it begins a terminator: `held` goes on from here.
    delivered_tail: Vec<u8>,
    /// The last bytes that came before `delivered_tail`.
    context: Vec<u8>,
    /// What was sent last.
    sent: Sent,
    /// Since then the port is deliberately not read.
    paused_since: Option<Instant>,
    /// DCD was asked for what is held.
    lines_asked: bool,
    dcd: Dcd,
    /// DCD is read as it stands, not as it was last reported.
    dcd_is_live: bool,
    has_dtr: bool,
    /// How much was held when the first `+++` left.
    escaped_from: Option<usize>,
    /// Whether everything written has left the tty, and since when.
    drained: Drained,
    /// When all of it has left the line, by its speed; at most [`LINE_AHEAD_MAX`] after the last byte was written.
    line_free_at: Option<Instant>,
    /// Behind a device server.
    pace: Option<Pace>,
    /// When it was last asked who echoes.
    echo_asked_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Flowing,
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
    /// At the latest at this time: who keeps talking holds up nobody.
    HungUp {
        until: Instant,
        latest: Instant,
    },
}

/// What DCD says of this stream. On many boards it is not wired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dcd {
    /// It has not been on since `CONNECT`, and says nothing.
    Unproven,
    On,
    /// It was on, and has dropped.
    Off,
}

/// Why data mode is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client is done.
    Done,
    /// Something that looks like `NO CARRIER` arrived: is the socket still connected?
    Suspicion,
    /// What was sent comes back: does the far end echo, or a modem that has booted?
    Echo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    /// Bytes were written; the tty is asked at this time whether they have left.
    AskAt(Instant),
    /// Asked, not answered.
    Asked,
    /// Nothing is in the tty since then.
    Since(Instant),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing before the deadline.
    Wait,
    /// Ask the port how many bytes it has not sent yet.
    AskQueue,
    /// Ask the port for its DCD line.
    AskLines,
    /// Send the escape.
    SendEscape,
    /// Ask for the state of this socket.
    AskState(SocketId),
    /// Set DTR.
    SetDtr(bool),
    /// What was held back is payload now: [`Stream::deliverable`].
    Deliver,
    /// The modem is in command mode, the socket in buffer mode; the rest of what was held is what
    /// [`Stream::take_left`] gives.
    Left(Reason),
    /// The modem left data mode by itself: the connection is gone.
    Ended,
    /// Every escape was missed.
    Lost,
}

impl Stream {
    /// The channel has just answered `CONNECT`.
    pub fn new(
        socket: Option<SocketId>,
        dcd_is_live: bool,
        has_dtr: bool,
        pace: Option<Pace>,
        now: Instant,
    ) -> Self {
        Stream {
            socket,
            aborted: false,
            line_feed_due: true,
            stage: Stage::Flowing,
            reason: Reason::Done,
            line_pluses: 0,
            may_have_escaped: None,
            held: Vec::new(),
            verdict: Verdict::default(),
            held_since: now,
            suspected_since: None,
            delivered_tail: Vec::new(),
            context: Vec::new(),
            sent: Sent::new(now),
            paused_since: None,
            lines_asked: false,
            dcd: Dcd::Unproven,
            dcd_is_live,
            has_dtr,
            escaped_from: None,
            drained: Drained::Since(now),
            line_free_at: None,
            pace,
            echo_asked_at: None,
        }
    }

    /// The stream goes on, and it was asked then who echoes.
    pub fn set_echo_asked(&mut self, at: Option<Instant>) {
        self.echo_asked_at = at;
    }

    /// The client broke off.
    pub fn abort(&mut self) {
        self.aborted = true;
    }

    /// Its socket is given to another client: nobody wants it.
    pub fn disown(&mut self) {
        self.socket = None;
        self.aborted = true;
    }

    /// The LF of `CONNECT\r\n` is not payload.
    pub fn skip_line_feed<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match std::mem::take(&mut self.line_feed_due) {
            true => bytes.strip_prefix(b"\n").unwrap_or(bytes),
            false => bytes,
        }
    }

    /// What of the `pending` bytes may be written now.
    pub fn output<'a>(&self, pending: &'a [u8]) -> &'a [u8] {
        let allowed = &pending[..self.allowed(pending.len())];
        &allowed[..self.sendable(allowed)]
    }

    /// Whether payload may leave. While it is unsure whether the modem still listens, nothing does.
    pub fn is_flowing(&self) -> bool {
        self.stage == Stage::Flowing && !self.is_suspicious()
    }

    /// How many of the `pending` bytes may be written now.
    ///
    /// The rest is a `+` or two that would complete `+++` at the end of the line.
    pub fn sendable(&self, pending: &[u8]) -> usize {
        if !self.is_flowing() {
            return 0;
        }
        let trailing = pending.iter().rev().take_while(|byte| **byte == b'+').count();
        let on_line = if trailing == pending.len() { self.line_pluses } else { 0 };
        let run = on_line + trailing;
        if !(ESCAPE_PLUSES..=RUN_NO_MODEM_ESCAPES_ON).contains(&run) {
            pending.len()
        } else {
            pending.len() - (run - (ESCAPE_PLUSES - 1)).min(trailing)
        }
    }

    /// How many of so many bytes may be on their way.
    pub fn allowed(&self, count: usize) -> usize {
        self.pace.map_or(count, |pace| pace.allows(count))
    }

    /// When the port is to be asked what is on its way, because `pending` bytes wait for that.
    pub fn pace_due(&self, pending: &[u8]) -> Option<Instant> {
        let is_held = !pending.is_empty() && self.is_flowing();
        self.pace.filter(|pace| is_held && pace.allows(pending.len()) == 0).map(|pace| pace.due())
    }

    /// The port is being asked for that.
    pub fn pace_asked(&mut self, now: Instant) {
        if let Some(pace) = &mut self.pace {
            pace.asked(now);
        }
    }

    /// The speed of the line in bits per second, where that is not the port's.
    pub fn line_baud(&self) -> Option<u32> {
        self.pace.map(|pace| pace.baud())
    }

    /// These bytes went to the port, which needs `wire_time` to send them.
    pub fn sent(&mut self, bytes: &[u8], now: Instant, wire_time: Duration) {
        let trailing = bytes.iter().rev().take_while(|byte| **byte == b'+').count();
        self.line_pluses = if trailing == bytes.len() { self.line_pluses + trailing } else { trailing };
        if trailing == 0 && self.may_have_escaped.is_some_and(|since| since + BUSY_MAX < now) {
            self.may_have_escaped = None;
        }
        self.sent.push(bytes, now);
        if let Some(pace) = &mut self.pace {
            pace.written(bytes.len(), now);
        }
        self.drained = Drained::AskAt(now + wire_time);
        let begins = self.line_free_at.map_or(now, |at| at.max(now));
        self.line_free_at = Some((begins + wire_time).min(now + LINE_AHEAD_MAX));
    }

    /// When what was written has left the line, as far as its speed tells.
    pub fn line_free_at(&self) -> Option<Instant> {
        self.line_free_at
    }

    /// The port has so many bytes that have not left yet.
    pub fn queue_answered(&mut self, bytes: usize, now: Instant, wire_time: Duration) {
        if let Some(pace) = &mut self.pace {
            pace.queue_answered(bytes, now);
        }
        if self.drained == Drained::Asked {
            self.drained = if bytes == 0 {
                Drained::Since(now)
            } else {
                Drained::AskAt(now + wire_time.clamp(ASK_AGAIN_MIN, ASK_AGAIN_MAX))
            };
            if let Stage::Draining { since, least } = &mut self.stage
                && bytes < *least
            {
                *since = now;
                *least = bytes;
            }
        }
    }

    /// Takes received bytes, and gives back in `payload` what is known to be payload.
    pub fn received(&mut self, bytes: &[u8], now: Instant, payload: &mut impl FnMut(&[u8])) {
        match self.stage {
            Stage::HungUp { latest, .. } => {
                // Payload that waited in the tty, the modem's words, or what a modem that boots says at another
                // speed: known when all of it has come.
                self.held.extend_from_slice(bytes);
                self.judge();
                let is_full = self.held.len() > HELD_LIMIT_BYTES / 2;
                if is_full && self.is_suspicious() {
                    // Other sockets push behind the end without a pause.
                    self.stage = Stage::HungUp { until: now, latest };
                    return;
                }
                self.stage = Stage::HungUp { until: latest.min(now + HANG_UP_TAIL), latest };
                if is_full {
                    self.give_out(self.held.len() - WORDS_MAX, payload);
                }
            }
            Stage::Flowing => {
                self.sent.forget_old(now);
                let echoed = self.sent.heard(bytes);
                self.part(bytes, now, payload);
                match (self.dcd_tells_payload(), self.is_suspicious()) {
                    // DCD tells an end from payload; only a whole match waits for it.
                    (true, false) => {
                        payload(&self.held);
                        self.delivered_tail.append(&mut self.held);
                        self.verdict = Verdict::default();
                    }
                    // Where other sockets push, it is never quiet, and more comes than can be looked through.
                    (false, true)
                        if self.held.len() > ECHO_HELD_MAX
                            || (self.held.len() > SUSPICION_BYTES && !self.verdict.is_more_than_lines) =>
                    {
                        self.begin_draining(Reason::Suspicion, now);
                    }
                    _ => {}
                }
                let is_due = self.echo_asked_at.is_none_or(|at| at + ECHO_ASKED_EVERY <= now);
                if echoed >= ECHO_DOUBTED_BYTES && is_due && self.is_flowing() {
                    self.echo_asked_at = Some(now);
                    self.begin_draining(Reason::Echo, now);
                }
            }
            Stage::Draining { .. } | Stage::Guard { .. } | Stage::Escaped { .. } | Stage::Asked { .. } => {
                self.held.extend_from_slice(bytes);
                self.judge();
                self.held_since = now;
                if let Stage::Escaped { since, by_dtr: false, from, .. } = &mut self.stage
                    && now < *since + OK_NOT_BEFORE
                {
                    *from = self.held.len();
                }
                if self.reason != Reason::Suspicion {
                    // Everything is payload but a possible end, and a possible `OK` with all that follows it.
                    let most = self.held.len().saturating_sub(self.verdict.words.max(HELD_WHILE_LEAVING));
                    let answer = self.answer_may_begin_at().or(self.asked_at()).unwrap_or(usize::MAX);
                    self.give_out(most.min(answer), payload);
                }
            }
        }
        self.hang_up_if_dropped(now);
    }

    /// The first `count` bytes of what is held are payload.
    fn give_out(&mut self, count: usize, payload: &mut impl FnMut(&[u8])) {
        if count == 0 {
            return;
        }
        payload(&self.held[..count]);
        let given: Vec<u8> = self.delivered_tail.drain(..).chain(self.held.drain(..count)).collect();
        self.passed(&given);
        self.judge();
        self.escaped_from = self.escaped_from.map(|from| from.saturating_sub(count));
        match &mut self.stage {
            Stage::Escaped { from, .. } => *from = from.saturating_sub(count),
            Stage::Asked { ok_at, from, .. } => {
                *from -= count;
                *ok_at = ok_at.map(|at| at - count);
            }
            Stage::Flowing | Stage::Draining { .. } | Stage::Guard { .. } | Stage::HungUp { .. } => {}
        }
    }

    /// These bytes came, and none of them begins what is held.
    fn passed(&mut self, bytes: &[u8]) {
        self.context.extend_from_slice(&bytes[bytes.len().saturating_sub(CONTEXT_BYTES)..]);
        let more = self.context.len().saturating_sub(CONTEXT_BYTES);
        self.context.drain(..more);
    }

    /// Parts what came into payload and what may be the modem's words, which is held back.
    fn part(&mut self, bytes: &[u8], now: Instant, payload: &mut impl FnMut(&[u8])) {
        if self.delivered_tail.is_empty()
            && self.held.is_empty()
            && self.words_in(bytes, self.most()).is_none()
        {
            self.passed(bytes);
            self.suspected_since = None;
            return payload(bytes);
        }
        let delivered = self.delivered_tail.len();
        let mut all = std::mem::take(&mut self.delivered_tail);
        let waited = !self.held.is_empty();
        all.append(&mut self.held);
        all.extend_from_slice(bytes);
        let begins_at = self.words_in(&all, self.most()).map_or(all.len(), |(begins_at, _)| begins_at);
        self.passed(&all[..begins_at]);
        payload(&all[delivered..begins_at.max(delivered)]);
        self.delivered_tail = all[begins_at.min(delivered)..delivered].to_vec();
        self.held = all[begins_at.max(delivered)..].to_vec();
        self.judge();
        let goes_on = self.suspected_since.filter(|_| begins_at == 0);
        self.suspected_since = self.is_suspicious().then(|| goes_on.unwrap_or(now));
        if !waited || begins_at > 0 || self.is_suspicious() {
            self.held_since = now;
            self.lines_asked = false;
        }
    }

    /// The port is, or is no longer, deliberately left unread: what follows the end of the stream is still
    /// in it.
    pub fn set_paused(&mut self, paused: bool, now: Instant) {
        if let Stage::HungUp { until, latest } = &mut self.stage
            && let Some(since) = self.paused_since
            && !paused
        {
            *latest += now.saturating_duration_since(since);
            *until = (*until).max((now + HANG_UP_TAIL).min(*latest));
        }
        if let (Stage::Asked { since, .. }, Some(_), false) = (&mut self.stage, self.paused_since, paused) {
            *since = now;
        }
        self.paused_since = paused.then(|| self.paused_since.unwrap_or(now));
    }

    /// Whether the modem's answer to an escape may wait unread.
    pub fn is_paused(&self) -> bool {
        self.paused_since.is_some()
    }

    /// Whether an `OK` came at last, perhaps for an earlier escape.
    pub fn holds_ok(&self) -> bool {
        ends_in_ok(&self.held).is_some()
    }

    /// How many more bytes can be held back.
    pub fn room(&self) -> usize {
        HELD_LIMIT_BYTES.saturating_sub(self.held.len())
    }

    /// How many bytes are held back.
    pub fn held_len(&self) -> usize {
        self.held.len()
    }

    /// How DCD stands, or was reported to stand.
    pub fn dcd_changed(&mut self, dcd: bool, now: Instant) {
        self.dcd = match (dcd, self.dcd) {
            (true, _) => Dcd::On,
            (false, Dcd::Unproven) => Dcd::Unproven,
            (false, Dcd::On | Dcd::Off) => Dcd::Off,
        };
        self.hang_up_if_dropped(now);
    }

    /// A report may be late, and be about an earlier stream: it needs the modem's words beside it.
    fn hang_up_if_dropped(&mut self, now: Instant) {
        let holds_words = || TERMINATORS.iter().any(|words| find(&self.held, words).is_some());
        if self.dcd == Dcd::Off
            && !matches!(self.stage, Stage::HungUp { .. })
            && (self.dcd_is_live || self.is_suspicious() || holds_words())
        {
            self.stage = Stage::HungUp { until: now + HANG_UP_TAIL, latest: now + HANG_UP_MAX };
        }
    }

    /// Whether the modem's words are payload as long as DCD is on. It stays on when data mode was left by an escape,
    /// and after a reboot where AT&C0 is the default; then what is echoed shows that.
    fn dcd_tells_payload(&self) -> bool {
        self.dcd == Dcd::On && self.dcd_is_live && self.may_have_escaped.is_none() && !self.verdict.is_echoed
    }

    /// Looks through what is held, whenever that has changed.
    fn judge(&mut self) {
        self.verdict = Verdict::default();
        if self.held.is_empty() {
            return;
        }
        let all = [&self.delivered_tail[..], &self.held].concat();
        let Some((start, Match::Whole)) = self.words_in(&all, all.len()) else { return };
        let mut terminators = self.terminators().iter();
        let length =
            terminators.find(|terminator| all[start..].starts_with(terminator)).map_or(0, |it| it.len());
        let after = &all[start + length..];
        let is_more_than_lines = !is_all_unsolicited(after);
        let is_echoed = is_more_than_lines && self.sent.compare(after, is_unsolicited).echoed >= ECHO_BYTES;
        let words = (all.len() - start).min(self.held.len());
        self.verdict = Verdict { words, is_more_than_lines, is_echoed };
    }

    /// Where in `all` what may be the modem's words begins, in the last `most` bytes: a terminator, and after it
    /// nothing but what a modem may say then.
    fn words_in(&self, all: &[u8], most: usize) -> Option<(usize, Match)> {
        let from = all.len().saturating_sub(most);
        let returns = (from..all.len()).filter(|at| all[*at] == b'\r');
        for start in returns {
            let rest = &all[start..];
            match self.terminators().iter().find(|terminator| rest.starts_with(terminator)) {
                Some(terminator)
                    if self.may_be_the_end(&all[..start], terminator, &rest[terminator.len()..]) =>
                {
                    return Some((start, Match::Whole));
                }
                Some(_) => {}
                None if self.terminators().iter().any(|terminator| terminator.starts_with(rest)) => {
                    return Some((start, Match::Part));
                }
                None => {}
            }
        }
        None
    }

    /// Whether a terminator may be the modem's, by what came before and after it.
    fn may_be_the_end(&self, before: &[u8], terminator: &[u8], after: &[u8]) -> bool {
        if is_all_unsolicited(after) {
            return true;
        }
        if !self.sent.may_explain(after, is_unsolicited) {
            return false;
        }
        // A far end that echoes has been sent its words as well, and what stands before them.
        let mut echoed = [&self.context[..], before].concat();
        echoed.drain(..echoed.len().saturating_sub(CONTEXT_BYTES));
        let is_known = echoed.len() >= CONTEXT_BYTES / 2;
        echoed.extend_from_slice(terminator);
        !(is_known && self.sent.contains(&echoed))
    }

    /// How far back the modem's words are looked for: echo of what was sent may follow them.
    fn most(&self) -> usize {
        if self.sent.is_empty() { WORDS_MAX } else { usize::MAX }
    }

    /// What the modem may say when it leaves data mode by itself, or for an escape that it was not meant to see.
    fn terminators(&self) -> &'static [&'static [u8]] {
        if self.may_have_escaped.is_some() { &TERMINATORS_AND_OK } else { &TERMINATORS }
    }

    /// The client is done and everything it sent has been written.
    pub fn leave(&mut self, now: Instant) {
        if self.stage == Stage::Flowing {
            self.begin_draining(Reason::Done, now);
        }
    }

    /// When [`Stream::deadline_passed`] is due. `wants_drain`: a `+` waits in the socket.
    pub fn deadline(&self, holds_plus: bool) -> Option<Instant> {
        let ask = match self.drained {
            Drained::AskAt(at) if holds_plus || self.is_draining() => Some(at),
            Drained::Since(since) if holds_plus && self.stage == Stage::Flowing => Some(since + GUARD),
            _ => None,
        };
        let stage = match self.stage {
            Stage::Flowing if self.held.is_empty() => None,
            Stage::Flowing if self.is_suspicious() && !self.dcd_tells_payload() => Some(self.doubted_at()),
            Stage::Flowing => Some(self.held_since + HOLD),
            Stage::Draining { since, .. } => match self.drained {
                Drained::Since(since) => Some(since),
                _ => Some(since + DRAIN_LIMIT),
            },
            Stage::HungUp { .. } if self.is_paused() => None,
            Stage::Guard { until, .. } | Stage::HungUp { until, .. } => Some(until),
            Stage::Escaped { .. } if self.answer_at().is_some() => Some(self.answered_at()),
            Stage::Escaped { since, .. } => Some(since + self.escape_wait()),
            Stage::Asked { since, ok_at, .. } => match self.state_answer() {
                Some(StateAnswer::TakesCommands) => Some(self.takes_commands_at(since)),
                Some(_) => Some(since),
                None if self.may_wait_unread() => None,
                None => Some(since + state_wait(ok_at)),
            },
        };
        ask.into_iter().chain(stage).min()
    }

    /// Something is due.
    pub fn deadline_passed(&mut self, now: Instant, holds_plus: bool) -> Next {
        if let Drained::AskAt(at) = self.drained
            && at <= now
            && (holds_plus || self.is_draining())
        {
            self.drained = Drained::Asked;
            return Next::AskQueue;
        }
        if let Drained::Since(since) = self.drained
            && holds_plus
            && self.stage == Stage::Flowing
            && since + GUARD <= now
            && self.line_pluses > 0
        {
            // The line has been quiet for longer than a guard time: what follows begins anew.
            self.line_pluses = 0;
            self.may_have_escaped = Some(now);
        }
        match self.stage {
            Stage::Flowing if self.held.is_empty() => Next::Wait,
            Stage::Flowing if self.is_suspicious() && !self.dcd_tells_payload() => {
                if self.doubted_at() > now {
                    return Next::Wait;
                }
                self.begin_draining(Reason::Suspicion, now);
                match self.drained {
                    Drained::Since(_) => self.begin_escape(now, 1),
                    _ => Next::Wait,
                }
            }
            // DCD may have dropped with the words themselves, or before `CONNECT` had been read.
            Stage::Flowing if self.held_since + HOLD <= now && self.is_suspicious() && !self.lines_asked => {
                self.lines_asked = true;
                self.held_since = now;
                Next::AskLines
            }
            Stage::Flowing if self.held_since + HOLD <= now => Next::Deliver,
            Stage::Flowing => Next::Wait,
            Stage::Draining { since, .. } => match self.drained {
                Drained::Since(_) => self.begin_escape(now, 1),
                // The far end takes nothing any more, and so the modem does not either.
                _ if since + DRAIN_LIMIT <= now => self.begin_escape(now, 1),
                _ => Next::Wait,
            },
            Stage::Guard { until, tries } if until <= now => {
                self.escaped_from.get_or_insert(self.held.len());
                self.stage = Stage::Escaped { since: now, tries, by_dtr: false, from: self.held.len() };
                Next::SendEscape
            }
            Stage::Guard { .. } => Next::Wait,
            Stage::Escaped { since, tries, by_dtr, .. } => {
                if let Some(answer) = self.answer_at() {
                    return match (self.answered_at() <= now, self.reason, self.socket) {
                        (false, ..) => Next::Wait,
                        // It may stand in a text of another program, and the stream may have ended before.
                        (true, Reason::Suspicion | Reason::Echo, Some(id)) => {
                            let from = self.held.len();
                            self.stage = Stage::Asked { since: now, tries, ok_at: Some(answer), from };
                            Next::AskState(id)
                        }
                        (true, ..) => Next::Left(self.reason),
                    };
                }
                if since + self.escape_wait() > now {
                    return Next::Wait;
                }
                if by_dtr {
                    // The pin may not be wired: fall back on the characters.
                    self.has_dtr = false;
                    self.stage = Stage::Guard { until: self.guarded_until(now), tries: 1 };
                    return Next::SetDtr(true);
                }
                // Where the port is left unread, the escape may have been answered.
                if let (Reason::Suspicion | Reason::Echo, 1, Some(id), false) =
                    (self.reason, tries, self.socket, self.is_paused())
                {
                    self.stage = Stage::Asked { since: now, tries, ok_at: None, from: self.held.len() };
                    return Next::AskState(id);
                }
                if tries >= ESCAPE_TRIES { Next::Lost } else { self.begin_escape(now, tries + 1) }
            }
            Stage::Asked { since, ok_at, .. } => match self.state_answer() {
                // Where payload may have been an escape, this does not tell whether `OK` was payload.
                Some(StateAnswer::Connected { .. }) if self.may_have_escaped.is_some() && ok_at.is_none() => {
                    Next::Lost
                }
                Some(StateAnswer::Connected { .. }) => Next::Left(self.reason),
                Some(StateAnswer::NotConnected) => Next::Ended,
                // It may be the late answer to the escape, and that to the question still comes.
                Some(StateAnswer::TakesCommands) if self.takes_commands_at(since) <= now => Next::Lost,
                None if self.may_wait_unread() => Next::Wait,
                None if since + state_wait(ok_at) <= now => Next::Lost,
                Some(StateAnswer::TakesCommands) | None => Next::Wait,
            },
            Stage::HungUp { until, .. } if until <= now && !self.is_paused() => Next::Ended,
            Stage::HungUp { .. } => Next::Wait,
        }
    }

    /// What was held back and is payload after all.
    pub fn deliverable(&mut self) -> Vec<u8> {
        self.lines_asked = false;
        self.delivered_tail.extend_from_slice(&self.held);
        if matches!(self.words_in(&self.delivered_tail, self.delivered_tail.len()), Some((_, Match::Whole))) {
            // DCD has shown that it was none.
            let delivered_tail = std::mem::take(&mut self.delivered_tail);
            self.passed(&delivered_tail);
        }
        self.verdict = Verdict::default();
        std::mem::take(&mut self.held)
    }

    /// What was held back when the modem left data mode by itself.
    pub fn take_ended(&mut self) -> Ended {
        let delivered = self.delivered_tail.len();
        let has_missed_escape = self.has_missed_escape();
        let mut all = std::mem::take(&mut self.delivered_tail);
        all.append(&mut self.held);
        self.verdict = Verdict::default();
        let escaped_from = self.escaped_from.map(|from| all.len().min(delivered + from));
        let asked_from = self.asked_at().map(|at| at + delivered);
        // It may have been the escape's, and then the words were payload.
        let is_answered = matches!(self.stage, Stage::Asked { ok_at: Some(_), .. });
        let is_answered_late =
            asked_from.is_none() && escaped_from.is_some_and(|from| ends_in_ok(&all[from..]).is_some());
        // The answer to the question that showed the end is no part of it, nor is what others were told meanwhile.
        let after = all.split_off(asked_from.unwrap_or(all.len()));
        let mut is_missing_words =
            Lines { bytes: &after, at: 0 }.any(|(_, line)| line.starts_with(SOCKET_URC));
        let tail = self.words_in(&all, all.len()).map_or(all.len(), |(start, _)| start);
        let first = self.terminators().iter().filter_map(|terminator| find(&all[tail..], terminator)).min();
        let Some(first) = first.map(|at| tail + at) else {
            // Without the modem's words nothing shows that the rest is payload.
            return Ended {
                socket: self.socket,
                payload: Vec::new(),
                words: Vec::new(),
                certain: false,
                escape_missed: false,
                is_missing_words,
            };
        };
        let mut words = all.split_off(first);
        let last = self.terminators().iter().filter_map(|terminator| find_last(&words, terminator)).max();
        // Echo is not to be heard as words.
        let spoken = spoken(&words);
        let is_echoed = spoken < words.len();
        words.truncate(spoken);
        let boots = &TERMINATORS[1..];
        if boots.iter().any(|boot| words.starts_with(boot))
            && let Some(earlier) = boots.iter().filter_map(|boot| find(&all, boot)).min()
        {
            // It may have booted before, and then this is the echo of what was on its way to it.
            all.truncate(earlier);
        }
        let is_whole = self.terminators().iter().any(|terminator| words.starts_with(terminator));
        let ends = ends(&words, self.terminators());
        let last_end = ends.last().copied().unwrap_or(0);
        let is_ambiguous = last.is_some_and(|last| last > last_end);
        if is_ambiguous {
            // An end in what a socket is pushed: either that is payload, or the stream's far end has written both an end
            // and the words of a push, to have what follows taken for another's.
            is_missing_words = true;
            let whole = self.terminators().iter().find(|terminator| words.starts_with(terminator));
            words.truncate(whole.map_or(0, |terminator| terminator.len()));
        } else {
            // What is behind the last end is the modem's own in any case; before it, a line may be payload.
            words.drain(..last_end);
        }
        // Of two ends in a row the first may have been payload; and what was delivered cannot be taken back.
        let certain = is_whole
            && !is_echoed
            && !is_answered
            && ends.len() == 1
            && all.len() >= delivered
            && !words.starts_with(OK);
        // The modem was in data mode still when the escape came, or does not answer in command mode.
        let is_unanswered = self.reason != Reason::Done && has_missed_escape && asked_from.is_none();
        let escape_missed =
            is_answered_late || is_unanswered || escaped_from.is_some_and(|from| all.len() >= from);
        let payload = all.split_off(delivered.min(all.len()));
        Ended {
            socket: self.socket,
            payload,
            words,
            certain: certain && !is_ambiguous,
            escape_missed,
            is_missing_words,
        }
    }

    /// What was held back when data mode was left by an escape, parted into payload before the `OK` and the
    /// modem's own words from there on.
    pub fn take_left(&mut self) -> Left {
        let escape_missed = self.has_missed_escape();
        let answer = match self.state_answer() {
            Some(StateAnswer::Connected { answer, .. }) => Some(answer),
            _ => self.answer_at(),
        };
        self.delivered_tail.clear();
        self.verdict = Verdict::default();
        let mut held = std::mem::take(&mut self.held);
        let words = answer.map_or(Vec::new(), |at| held.split_off(at));
        Left {
            socket: self.socket,
            is_aborted: self.aborted,
            echo_asked_at: self.echo_asked_at,
            escape_missed,
            payload: held,
            words,
        }
    }

    /// Whether an escape before the last one was not answered: it may have become payload.
    pub fn has_missed_escape(&self) -> bool {
        match self.stage {
            Stage::Escaped { tries, .. } => tries > 1,
            Stage::Asked { tries, .. } => {
                let answer = self.state_answer();
                tries > 1 || !matches!(answer, Some(StateAnswer::Connected { was_escaped: true, .. }))
            }
            Stage::Flowing | Stage::Draining { .. } | Stage::Guard { .. } | Stage::HungUp { .. } => false,
        }
    }

    /// What a modem that was asked for the state of the socket has answered.
    fn state_answer(&self) -> Option<StateAnswer> {
        let Stage::Asked { ok_at: early_ok, from, .. } = self.stage else { return None };
        let (mut state, mut late_ok, mut is_done) = (None, None, false);
        for (at, line) in (Lines { bytes: &self.held[from..], at: 0 }) {
            let at = from + at.saturating_sub(2);
            let Some(text) = line.strip_suffix(b"\r") else { continue };
            match (text, state) {
                (b"OK", None) => late_ok = late_ok.or(Some(at)),
                (b"OK", Some(_)) => is_done = true,
                (b"ERROR", None) => is_done = true,
                (_, None) if text.starts_with(CME_ERROR) => is_done = true,
                (_, None) if text.starts_with(STATE) => state = Some((at, text)),
                _ => {}
            }
        }
        let Some((state_at, line)) = state else {
            return (is_done || late_ok.is_some()).then_some(StateAnswer::TakesCommands);
        };
        if !is_done {
            return None;
        }
        let is_connected =
            |of: SocketStatus<'_>| Some(of.id) == self.socket && of.state == SocketState::Connected;
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
            Stage::Asked { ok_at, from, .. } => Some(ok_at.unwrap_or(from)),
            _ => None,
        }
    }

    /// Whether the answer to a question may wait in a port that is left unread, and not because too much is held.
    fn may_wait_unread(&self) -> bool {
        self.is_paused() && self.room() > 0
    }

    /// What the answer to an escape may take, before something else is tried.
    fn escape_wait(&self) -> Duration {
        match (&self.stage, self.reason) {
            (Stage::Escaped { by_dtr: true, .. }, _) => DTR_WAIT,
            (Stage::Escaped { tries: 1, .. }, Reason::Suspicion | Reason::Echo) if self.socket.is_some() => {
                ASK_AFTER
            }
            _ => ESCAPE_WAIT,
        }
    }

    /// When the `OK` that came is believed: after a moment of quiet, or if quiet does not come.
    fn answered_at(&self) -> Instant {
        let quiet = self.held_since + OK_QUIET;
        match self.stage {
            Stage::Escaped { since, .. } => quiet.min(since + ESCAPE_WAIT + QUIET_MAX),
            _ => quiet,
        }
    }

    /// When no other answer to the question for the state, asked then, is waited for.
    fn takes_commands_at(&self, asked: Instant) -> Instant {
        (self.held_since + LATE_STATE).max(asked).min(asked + STATE_WAIT + QUIET_MAX)
    }

    fn is_draining(&self) -> bool {
        matches!(self.stage, Stage::Draining { .. })
    }

    /// Where in what is held the `OK` of the escape begins: the last thing that came, and not one that was payload.
    fn answer_at(&self) -> Option<usize> {
        let Stage::Escaped { from, .. } = self.stage else { return None };
        ends_in_ok(&self.held[from..]).map(|at| from + at)
    }

    /// The same, where the last line is not whole yet.
    fn answer_may_begin_at(&self) -> Option<usize> {
        let Stage::Escaped { from, .. } = self.stage else { return None };
        let mut places = oks(&self.held[from..]).map(|at| from + at);
        places.find(|at| is_all_unsolicited(&self.held[at + OK.len()..]))
    }

    fn begin_draining(&mut self, reason: Reason, now: Instant) {
        self.reason = reason;
        self.stage = Stage::Draining { since: now, least: usize::MAX };
        if let Drained::AskAt(at) = &mut self.drained {
            *at = (*at).min(now);
        }
    }

    fn begin_escape(&mut self, now: Instant, tries: u32) -> Next {
        if self.has_dtr && tries == 1 {
            self.stage = Stage::Escaped { since: now, tries, by_dtr: true, from: self.held.len() };
            return Next::SetDtr(false);
        }
        let until = if tries == 1 { self.guarded_until(now) } else { now + GUARD };
        self.stage = Stage::Guard { until, tries };
        Next::Wait
    }

    /// When the line will have been quiet for the guard time.
    fn guarded_until(&self, now: Instant) -> Instant {
        match self.drained {
            Drained::Since(since) => now.max(since + GUARD),
            Drained::AskAt(_) | Drained::Asked => now + GUARD,
        }
    }

    /// When the whole terminator that is held is to be settled.
    fn doubted_at(&self) -> Instant {
        (self.held_since + SUSPICION_QUIET)
            .min(self.suspected_since.unwrap_or(self.held_since) + SUSPICION_MAX)
    }

    /// Whether a whole terminator is held, or at least its end, and nothing but unsolicited lines behind it.
    pub fn is_suspicious(&self) -> bool {
        self.verdict.words > 0
    }
}

/// What there is of the modem's words in what is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Verdict {
    /// How many bytes may be a whole terminator, or the end of one, and what a modem may say after it.
    words: usize,
    /// Not all of that are lines that a modem says unasked.
    is_more_than_lines: bool,
    /// Some of it is what was just sent.
    is_echoed: bool,
}

/// What is left when data mode was left by an escape.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    /// The socket whose stream it was.
    pub socket: Option<SocketId>,
    /// Its client broke off.
    pub is_aborted: bool,
    /// When it was last asked who echoes.
    pub echo_asked_at: Option<Instant>,
    /// An escape before the last one was not answered: it may have become payload.
    pub escape_missed: bool,
    /// Payload that was held back.
    pub payload: Vec<u8>,
    /// The modem's own words, from the `OK` on.
    pub words: Vec<u8>,
}

/// What is left when the modem has left data mode by itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// The socket whose stream it was.
    pub socket: Option<SocketId>,
    /// Payload that was held back.
    pub payload: Vec<u8>,
    /// The modem's own words, from the last end on.
    pub words: Vec<u8>,
    /// It is certain which is which.
    pub certain: bool,
    /// The words came behind an escape, which may have become payload, or an answer to one came too late.
    pub escape_missed: bool,
    /// What other sockets were told here is not in the words.
    pub is_missing_words: bool,
}

/// Whether bytes are the modem's words: a terminator, and behind it nothing but unsolicited lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    /// They are the beginning of a terminator.
    Part,
    /// They are a whole terminator at least.
    Whole,
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

/// What the answer to the question for the socket's state may take.
fn state_wait(ok_at: Option<usize>) -> Duration {
    if ok_at.is_some() { STATE_WAIT_ESCAPED } else { STATE_WAIT }
}

/// Whether nothing but unsolicited lines is there.
fn is_all_unsolicited(bytes: &[u8]) -> bool {
    Lines { bytes, at: 0 }.all(|(_, line)| is_unsolicited(line))
}

/// How many bytes of these are the modem's lines, from the first on.
fn spoken(words: &[u8]) -> usize {
    let mut lines = Lines { bytes: words, at: 0 };
    lines.find(|(_, line)| !is_unsolicited(line)).map_or(words.len(), |(at, _)| at)
}

/// The lines that a modem says, each with its place and its CR or LF. Payload that it pushes is left out, and what
/// follows the lines of other programs.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<(usize, &'a [u8])> {
        let (at, rest) = (self.at, &self.bytes[self.at..]);
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let line = &rest[..end.map_or(rest.len(), |end| end + 1)];
        self.at += line.len();
        if let Some(length) = pushed_length(line) {
            let line_feed = usize::from(self.bytes[self.at..].starts_with(b"\n"));
            self.at = self.bytes.len().min((self.at + line_feed).saturating_add(length));
        } else if end.is_some() {
            self.at += foreign_length(line, &self.bytes[self.at..]);
        }
        (!line.is_empty()).then_some((at, line))
    }
}

/// `+QSSLURC: "recv",4,18`
fn pushed_length(line: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(line.strip_suffix(b"\r")?).ok()?;
    let (_, length) = line.strip_prefix("+QSSLURC: \"recv\",")?.split_once(',')?;
    length.parse().ok()
}

/// Where in `words` it is said that data mode is over: where the line end before that line begins.
fn ends(words: &[u8], terminators: &[&[u8]]) -> Vec<usize> {
    let is_end = |line: &[u8]| {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        terminators.iter().any(|terminator| &terminator[2..terminator.len() - 2] == text)
    };
    Lines { bytes: words, at: 0 }
        .filter(|(_, line)| is_end(line))
        .map(|(at, _)| at.saturating_sub(2))
        .collect()
}

/// Whether this is an unsolicited line, or the beginning of one.
fn is_unsolicited(line: &[u8]) -> bool {
    let ended = line.ends_with(b"\r") || line.ends_with(b"\n");
    let text = &line[..line.len() - usize::from(ended)];
    // Noise may precede a line.
    let noise = text.iter().take_while(|byte| !(0x21..0x7F).contains(*byte)).count();
    let text = &text[noise..];
    let ends = TERMINATORS.iter().map(|terminator| &terminator[2..terminator.len() - 2]);
    let mut words = ends.chain(RESULTS).chain(UNSOLICITED);
    text.is_empty()
        || text[0] == b'+'
        || words.any(|word| if ended { text == word } else { word.starts_with(text) })
}

/// Where `\r\nOK\r\n` begins, if only whole lines of URCs and what they announce follow it.
fn ends_in_ok(held: &[u8]) -> Option<usize> {
    let is_urc = |line: &[u8]| match line.strip_suffix(b"\r").or(line.strip_suffix(b"\n")) {
        Some(text) => text.is_empty() || text[0] == b'+' || UNSOLICITED.contains(&text),
        None => false,
    };
    oks(held).find(|at| Lines { bytes: &held[at + OK.len()..], at: 0 }.all(|(_, line)| is_urc(line)))
}

/// Where `\r\nOK\r\n` is.
fn oks(held: &[u8]) -> impl Iterator<Item = usize> {
    held.windows(OK.len()).enumerate().filter(|(_, window)| *window == OK).map(|(at, _)| at)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn find_last(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).rposition(|window| window == what)
}

const OK: &[u8] = b"\r\nOK\r\n";
const CME_ERROR: &[u8] = b"+CME ERROR:";
const STATE: &[u8] = b"+QSSLSTATE:";
const SOCKET_URC: &[u8] = b"+QSSLURC:";

/// What the modem says when data mode ends by itself, with the connection or with everything.
const TERMINATORS: [&[u8]; 4] =
    [b"\r\nNO CARRIER\r\n", b"\r\nRDY\r\n", b"\r\nPOWERED DOWN\r\n", b"\r\nNORMAL POWER DOWN\r\n"];

const TERMINATORS_AND_OK: [&[u8]; 5] = [TERMINATORS[0], TERMINATORS[1], TERMINATORS[2], TERMINATORS[3], OK];

/// What the modem says to payload that reaches it behind the end and looks like a command to it.
const RESULTS: [&[u8]; 2] = [b"OK", b"ERROR"];

/// Unsolicited lines without a `+`.
const UNSOLICITED: [&[u8]; 6] = [b"RING", b"PB DONE", b"SMS DONE", b"SMS Ready", b"Call Ready", b"APP RDY"];

/// The escape is so many `+` between two pauses (both manuals, 1.3).
const ESCAPE_PLUSES: usize = 3;

/// A run of more `+` than this, without a pause in it, is nobody's escape; payload of nothing but `+` would
/// otherwise crawl.
const RUN_NO_MODEM_ESCAPES_ON: usize = 16;

/// The most bytes that are taken for a terminator and the unsolicited lines behind it.
const WORDS_MAX: usize = 8 * 1_024;

/// So many bytes of lines after a whole terminator that nobody waits for quiet.
const SUSPICION_BYTES: usize = 256;

/// The same, where some of it may be echo: more than can be under way to the modem.
const ECHO_HELD_MAX: usize = 28 * 1024;

/// So much that was sent and comes back after the modem's words is no chance.
const ECHO_BYTES: usize = 32;

/// So much that was sent and comes back without a gap may be a modem that has booted without a word.
const ECHO_DOUBTED_BYTES: usize = 2 * 1024;

/// A far end that echoes is interrupted no more often for that.
const ECHO_ASKED_EVERY: Duration = Duration::from_secs(300);

/// So many bytes before the words of an end show whether a far end echoes them.
const CONTEXT_BYTES: usize = 16;

/// Without a byte on the line for this long, an escape may begin or end; a little more than the manuals' 1 s.
const GUARD: Duration = Duration::from_millis(1_200);

/// What the `OK` of `+++` may take, its guard time included: up to 3 s in the field.
const ESCAPE_WAIT: Duration = Duration::from_millis(3_500);

/// What the `OK` may take after DTR has dropped.
const DTR_WAIT: Duration = Duration::from_millis(700);

/// Where the end of a stream is doubted, the socket's state is asked for so long after the first escape: most modems
/// have answered that by then. One that has missed it gets the question as payload, but its stream is broken anyway.
const ASK_AFTER: Duration = Duration::from_millis(1_400);

/// What the answer may take, together with [`ASK_AFTER`] as long as that of an escape.
const STATE_WAIT: Duration = Duration::from_millis(2_100);

/// The same after an `OK`: as long as that of any short command.
const STATE_WAIT_ESCAPED: Duration = Duration::from_secs(5);

/// How long after an `OK` that may be the escape's the state may follow.
const LATE_STATE: Duration = Duration::from_millis(300);

/// The modem waits for its own guard time, a second or a little more, before it answers `+++`.
const OK_NOT_BEFORE: Duration = Duration::from_millis(900);

/// A tty holds some seconds of the slowest lines; of a port that has no speed nothing of the kind can be told.
const LINE_AHEAD_MAX: Duration = Duration::from_secs(10);

/// How long nothing of what was written may leave the port before data mode is left all the same.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// A modem that is busy for so long has been reset since.
const BUSY_MAX: Duration = Duration::from_secs(60);

/// When a port is asked again how much it has left. Behind a device server the speed says little about when
/// that will be: the line may be faster, and so is the network.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(1);
const ASK_AGAIN_MAX: Duration = Duration::from_millis(100);

/// How often `+++` is tried.
const ESCAPE_TRIES: u32 = 3;

/// How long the beginning of a terminator is held back.
const HOLD: Duration = Duration::from_millis(100);

/// How long after a whole terminator the quiet must last before it is settled whether it was one.
const SUSPICION_QUIET: Duration = Duration::from_millis(300);

/// And how long that may be put off by what goes on coming: nothing is sent meanwhile, and a line carries what may be
/// echoed in less.
const SUSPICION_MAX: Duration = Duration::from_secs(6);

/// How long what goes on coming may put off the end of an escape.
const QUIET_MAX: Duration = Duration::from_secs(1);

/// How long after `OK` the quiet must last before it is believed.
const OK_QUIET: Duration = Duration::from_millis(100);

/// What still arrives after DCD has dropped: the modem's words.
const HANG_UP_TAIL: Duration = Duration::from_millis(200);

/// How long it may go on arriving, the time left out in which the port is not read.
const HANG_UP_MAX: Duration = Duration::from_secs(10);

/// What is held back while leaving on the client's side: an `OK` and some URCs.
const HELD_WHILE_LEAVING: usize = 512;

/// The most that is ever held back, in bytes.
pub const HELD_LIMIT_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock;

    fn mode(has_dcd: bool) -> (Stream, Instant) {
        let now = test_clock::now();
        let mut mode = Stream::new(SocketId::new(0), true, false, None, now);
        if has_dcd {
            mode.dcd_changed(true, now);
        }
        (mode, now)
    }

    /// Everything that reaches the line, with the time since the start, until `pending` is gone.
    fn line(mode: &mut Stream, mut now: Instant, mut pending: &[u8]) -> Vec<(Duration, Vec<u8>)> {
        let start = now;
        let mut all = Vec::new();
        while !pending.is_empty() {
            let count = mode.sendable(pending);
            if count > 0 {
                mode.sent(&pending[..count], now, Duration::from_millis(1));
                all.push((now - start, pending[..count].to_vec()));
                pending = &pending[count..];
                continue;
            }
            now = mode.deadline(true).expect("something is due while a + waits");
            if mode.deadline_passed(now, true) == Next::AskQueue {
                mode.queue_answered(0, now, Duration::ZERO);
            }
        }
        all
    }

    #[test]
    fn no_burst_on_the_line_ends_in_three_pluses() {
        for payload in [&b"+++"[..], b"++++", b"+++++++", b"x+++", b"+++x", b"abc++++++", b"++", b"+"] {
            let (mut mode, now) = mode(false);
            let bursts = line(&mut mode, now, payload);
            let joined: Vec<u8> = bursts.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
            assert_eq!(joined, payload, "nothing lost, nothing added");
            // Bytes without a pause of a second between them are one burst.
            let mut burst: Vec<u8> = Vec::new();
            let mut last = Duration::ZERO;
            for (at, bytes) in bursts {
                if at - last >= Duration::from_secs(1) {
                    burst.clear();
                }
                burst.extend_from_slice(&bytes);
                assert!(!burst.ends_with(b"+++"), "{payload:?}: {burst:?}");
                last = at;
            }
        }
    }

    #[test]
    fn pluses_in_the_middle_of_payload_are_not_held_back() {
        let (mode, _) = mode(false);
        assert_eq!(mode.sendable(b"a+++b"), 5);
        assert_eq!(mode.sendable(b"a+++"), 3);
        assert_eq!(mode.sendable(&[b'+'; 1000]), 1000);
    }

    fn receive(mode: &mut Stream, bytes: &[u8], now: Instant) -> Vec<u8> {
        let mut got = Vec::new();
        mode.received(bytes, now, &mut |payload| got.extend_from_slice(payload));
        got
    }

    #[test]
    fn no_carrier_inside_payload_is_payload() {
        let payload = b"before\r\nNO CARRIER\r\nafter\r\nNO CARRIE and more";
        for split in 0..payload.len() {
            let (mut mode, now) = mode(false);
            let mut got = receive(&mut mode, &payload[..split], now);
            got.extend(receive(&mut mode, &payload[split..], now));
            assert_eq!(got, payload, "split at {split}");
        }
    }

    #[test]
    fn the_beginning_of_a_terminator_waits_a_tenth_of_a_second() {
        let (mut mode, now) = mode(false);
        assert_eq!(receive(&mut mode, b"text\r\n", now), b"text");
        assert_eq!(mode.deadline(false), Some(now + HOLD));
        assert_eq!(mode.deadline_passed(now + HOLD, false), Next::Deliver);
        assert_eq!(mode.deliverable(), b"\r\n");
    }

    #[test]
    fn a_whole_terminator_and_quiet_is_settled_by_escaping() {
        let (mut mode, now) = mode(false);
        assert_eq!(receive(&mut mode, b"text\r\nNO CARRIER\r\n", now), b"text");
        assert!(!mode.is_flowing(), "while unsure nothing is sent");
        let now = now + SUSPICION_QUIET;
        assert_eq!(mode.deadline_passed(now, false), Next::Wait);
        assert_eq!(mode.deadline_passed(now + GUARD, false), Next::SendEscape);
        receive(&mut mode, b"\r\nOK\r\n", now + GUARD * 2);
        let asked = now + GUARD * 2 + OK_QUIET;
        assert_eq!(mode.deadline_passed(asked, false), ask());
        receive(&mut mode, CARRIED, asked);
        assert_eq!(mode.deadline_passed(asked, false), Next::Left(Reason::Suspicion));
        assert!(!mode.has_missed_escape());
        let left = mode.take_left();
        assert_eq!((left.payload, left.words), (b"\r\nNO CARRIER\r\n".to_vec(), [OK, CARRIED].concat()));
    }

    /// What asks for the state of the socket of these tests.
    fn ask() -> Next {
        Next::AskState(SocketId::new(0).expect("it is one"))
    }

    const CARRIED: &[u8] =
        b"\r\n+QSSLSTATE: 0,\"SSLClient\",\"192.0.2.1\",443,0,2,1,0,0,\"uart1\",0\r\n\r\nOK\r\n";

    const CLOSING: &[u8] =
        b"\r\n+QSSLSTATE: 0,\"SSLClient\",\"192.0.2.1\",443,0,4,1,0,2,\"uart1\",0\r\n\r\nOK\r\n";

    /// Anybody can send it.
    const SMS: &[u8] = b"\r\n+CMT: \"+490000000\",,\"26/11/26,17:00:00+04\"\r\n> \r\nOK\r\n";

    /// A stream whose end is doubted, where a text of another program holds an `OK` after the escape, and when the
    /// socket's state was asked for.
    fn asked_after_a_text(by_dtr: bool) -> (Stream, Instant) {
        let now = test_clock::now();
        let mut mode = Stream::new(SocketId::new(0), true, by_dtr, None, now);
        assert_eq!(receive(&mut mode, b"x\r\nNO CARRIER\r\n", now), b"x");
        let mut now = now + SUSPICION_QUIET;
        if by_dtr {
            assert_eq!(mode.deadline_passed(now, false), Next::SetDtr(false));
        } else {
            assert_eq!(mode.deadline_passed(now, false), Next::Wait);
            now += GUARD;
            assert_eq!(mode.deadline_passed(now, false), Next::SendEscape);
            now += OK_NOT_BEFORE;
        }
        assert_eq!(receive(&mut mode, SMS, now), b"");
        let asked = now + OK_QUIET;
        assert_eq!(mode.deadline_passed(asked, false), ask());
        (mode, asked)
    }

    #[test]
    fn an_ok_in_a_text_of_another_program_makes_no_payload_of_an_end() {
        for by_dtr in [false, true] {
            let (mut mode, asked) = asked_after_a_text(by_dtr);
            receive(&mut mode, CLOSING, asked);
            assert_eq!(mode.deadline_passed(asked, false), Next::Ended);
            let ended = mode.take_ended();
            assert_eq!(ended.payload, b"");
            assert!(!ended.certain, "the `OK` may have been the escape's");
            assert!(!ended.is_missing_words);

            // Another socket is told something before the answer.
            let (mut mode, asked) = asked_after_a_text(by_dtr);
            receive(&mut mode, b"\r\n+QSSLURC: \"recv\",4,2\r\nhi", asked);
            receive(&mut mode, CLOSING, asked);
            assert_eq!(mode.deadline_passed(asked, false), Next::Ended);
            assert!(mode.take_ended().is_missing_words);

            // A socket that the module does not know.
            let (mut mode, asked) = asked_after_a_text(by_dtr);
            receive(&mut mode, OK, asked);
            assert_eq!(mode.deadline_passed(asked + LATE_STATE, false), Next::Lost);
            assert_eq!(mode.take_ended().payload, b"");

            // No answer.
            let (mut mode, asked) = asked_after_a_text(by_dtr);
            assert_eq!(mode.deadline(false), Some(asked + STATE_WAIT_ESCAPED));
            assert_eq!(mode.deadline_passed(asked + STATE_WAIT_ESCAPED, false), Next::Lost);
            assert_eq!(mode.take_ended().payload, b"");
        }
    }

    #[test]
    fn an_end_and_a_push_in_the_payload_do_not_give_the_real_end_to_another_socket() {
        let said = b"\r\nNO CARRIER\r\n\r\n+QSSLURC: \"recv\",0,4\r\n\r\nNO CARRIER\r\n";
        let (mut mode, now) = mode(false);
        mode.sent(b"any request", now, Duration::ZERO);
        receive(&mut mode, said, now);
        let ended = mode.take_ended();
        assert_eq!(ended.words, b"\r\nNO CARRIER\r\n", "nothing is pushed to socket 0");
        assert!(!ended.certain && ended.is_missing_words);
    }

    #[test]
    fn the_state_of_the_socket_is_not_read_in_what_others_have_the_modem_say() {
        let pushed = format!("\r\n+QSSLURC: \"recv\",3,{}\r\n", CARRIED.len());
        let message = format!(
            "\r\n+CMT: \"+490000000\",,\"26/11/26,17:00:00+04\",145,0,0,0,,145,{}\r\n",
            CARRIED.len()
        );
        for header in [pushed, message] {
            let (mut mode, asked) = asked_after_a_text(false);
            receive(&mut mode, &[header.as_bytes(), CARRIED, b"\r\n"].concat(), asked);
            assert_eq!(mode.deadline_passed(asked, false), Next::Wait, "{header}");
            receive(&mut mode, CLOSING, asked);
            assert_eq!(mode.deadline_passed(asked, false), Next::Ended, "{header}");
        }
    }

    #[test]
    fn the_state_of_the_socket_is_waited_for_while_the_port_is_left_unread() {
        let (mut mode, asked) = asked_after_a_text(false);
        mode.set_paused(true, asked);
        assert_eq!(mode.deadline(false), None);
        let read_again = asked + STATE_WAIT_ESCAPED * 2;
        assert_eq!(mode.deadline_passed(read_again, false), Next::Wait);
        mode.set_paused(false, read_again);
        assert_eq!(mode.deadline(false), Some(read_again + STATE_WAIT_ESCAPED));
        // Where the port is unread because too much is held, it would be for ever.
        receive(&mut mode, &vec![b'x'; HELD_LIMIT_BYTES], read_again);
        mode.set_paused(true, read_again);
        assert_eq!(mode.deadline_passed(read_again + STATE_WAIT_ESCAPED, false), Next::Lost);
    }

    #[test]
    fn nothing_that_follows_the_ok_of_an_escape_is_payload_however_much_it_is() {
        let (mut mode, now) = mode(false);
        mode.leave(now);
        assert_eq!(mode.deadline_passed(now, false), Next::Wait);
        assert_eq!(mode.deadline_passed(now + GUARD, false), Next::SendEscape);
        let mut got = receive(&mut mode, &[b'd'; 2_000], now + GUARD);
        let words = [OK, &b"\r\n+QSSLURC: \"recv\",0\r\n".repeat(100)].concat();
        for piece in words.chunks(7) {
            got.extend(receive(&mut mode, piece, now + GUARD * 2));
        }
        assert_eq!(mode.deadline_passed(now + GUARD * 2 + OK_QUIET, false), Next::Left(Reason::Done));
        let Left { payload, words: heard, .. } = mode.take_left();
        got.extend(payload);
        assert_eq!(got, [b'd'; 2_000]);
        assert_eq!(heard, words);
    }

    #[test]
    fn with_dcd_nothing_but_a_whole_terminator_is_held() {
        let (mut mode, now) = mode(true);
        assert_eq!(receive(&mut mode, b"text\r\nNO CAR", now), b"text\r\nNO CAR");
        assert_eq!(receive(&mut mode, b"x\r\nNO CARRIER\r\n", now), b"x");
        mode.dcd_changed(false, now);
        assert_eq!(mode.deadline_passed(now + HANG_UP_TAIL, false), Next::Ended);
        let words = b"\r\nNO CARRIER\r\n".to_vec();
        assert_eq!(
            mode.take_ended(),
            Ended {
                socket: SocketId::new(0),
                payload: Vec::new(),
                words,
                certain: true,
                escape_missed: false,
                is_missing_words: false
            }
        );
    }

    #[test]
    fn a_dcd_that_has_not_been_on_says_nothing() {
        let (mut mode, now) = mode(false);
        mode.dcd_changed(false, now);
        assert_eq!(mode.deadline(false), None, "it is no end");
        assert!(mode.is_flowing());
        // And no proof that it is not.
        assert_eq!(receive(&mut mode, b"x\r\nNO CARRIER\r\n", now), b"x");
        assert_eq!(mode.deadline_passed(now + SUSPICION_QUIET, false), Next::Wait);
        assert_eq!(mode.deadline_passed(now + SUSPICION_QUIET + GUARD, false), Next::SendEscape);
    }

    #[test]
    fn a_late_report_of_dcd_ends_nothing_without_the_modems_words() {
        let now = test_clock::now();
        let mut mode = Stream::new(SocketId::new(0), false, false, None, now);
        // Of the stream before.
        mode.dcd_changed(true, now);
        mode.dcd_changed(false, now);
        assert!(mode.is_flowing());
        assert_eq!(mode.deadline(false), None, "it is no end");
        mode.dcd_changed(true, now);
        // On may be what was before as well.
        assert_eq!(receive(&mut mode, b"x\r\nNO CARRIER\r\n", now), b"x");
        assert_eq!(mode.deadline(false), Some(now + SUSPICION_QUIET));
        mode.dcd_changed(false, now);
        assert_eq!(mode.deadline_passed(now + HANG_UP_TAIL, false), Next::Ended);
        assert!(mode.take_ended().certain);
    }

    #[test]
    fn data_that_arrives_while_escaping_is_delivered() {
        let (mut mode, now) = mode(false);
        mode.leave(now);
        assert_eq!(mode.deadline_passed(now, false), Next::Wait);
        assert_eq!(mode.deadline_passed(now + GUARD, false), Next::SendEscape);
        let mut got = receive(&mut mode, b"late \r\nOK\r\n data", now + GUARD);
        got.extend(receive(&mut mode, b"\r\nOK\r\n\r\n+QSSLURC: \"recv\",0\r\n", now + GUARD * 2));
        assert_eq!(mode.deadline_passed(now + GUARD * 2 + OK_QUIET, false), Next::Left(Reason::Done));
        let Left { payload, words, .. } = mode.take_left();
        got.extend(payload);
        assert_eq!(got, b"late \r\nOK\r\n data");
        assert_eq!(words, b"\r\nOK\r\n\r\n+QSSLURC: \"recv\",0\r\n");
    }

    #[test]
    fn what_other_sockets_are_pushed_behind_the_end_is_not_payload_of_this_one() {
        let pushed: Vec<u8> = (0..200_u8)
            .flat_map(|byte| [&b"\r\n+QSSLURC: \"recv\",3,4\r\nab\r"[..], &[byte]].concat())
            .chain(*b"\r\n")
            .collect();
        let all = [&b"x\r\nNO CARRIER\r\n"[..], &pushed].concat();
        for step in [1, 7, 64, all.len()] {
            let (mut mode, now) = mode(false);
            let mut got = Vec::new();
            for piece in all.chunks(step) {
                got.extend(receive(&mut mode, piece, now));
                // No quiet comes, and it is settled all the same.
                mode.deadline_passed(now, false);
            }
            assert_eq!(got, b"x", "in steps of {step}");
            assert!(!mode.is_flowing());
            assert!(mode.deadline(false).is_some_and(|due| due <= now + GUARD));
            let ended = mode.take_ended();
            assert!(ended.payload.is_empty() && ended.certain);
            assert_eq!(ended.words, all[1..]);
        }
    }

    #[test]
    fn an_end_while_it_is_left_and_what_follows_is_kept_apart_from_payload() {
        let pushed = b"\r\n+QSSLURC: \"recv\",3,4\r\nab\rc".repeat(100);
        let all = [&b"last\r\nNO CARRIER\r\n"[..], &pushed, b"\r\n"].concat();
        for step in [1, 7, 700, all.len()] {
            let (mut mode, now) = mode(false);
            mode.leave(now);
            let mut got = Vec::new();
            for piece in all.chunks(step) {
                got.extend(receive(&mut mode, piece, now));
            }
            assert!(mode.is_suspicious(), "in steps of {step}");
            let ended = mode.take_ended();
            assert!(ended.certain);
            assert_eq!([got, ended.payload].concat(), b"last");
            assert_eq!(ended.words, all[4..]);
        }
    }

    #[test]
    fn an_ok_behind_pluses_that_a_busy_modem_may_have_seen_without_their_pause_is_settled_by_escaping() {
        for has_dcd in [false, true] {
            let (mut mode, now) = mode(has_dcd);
            assert_eq!(receive(&mut mode, b"\r\nOK\r\n.", now), b"\r\nOK\r\n.");
            line(&mut mode, now, b"+++");
            let now = now + Duration::from_secs(5);
            mode.drained = Drained::Since(now);
            assert_eq!(receive(&mut mode, b"\r\nOK\r\n", now), b"");
            assert!(!mode.is_flowing());
            let now = now + SUSPICION_QUIET;
            assert_eq!(mode.deadline_passed(now, false), Next::Wait);
            let escaped = now + GUARD;
            assert_eq!(mode.deadline_passed(escaped, false), Next::SendEscape);
            // It was the modem's.
            assert!(!mode.take_ended().certain);
        }
        // Long ago.
        let (mut mode, now) = mode(false);
        line(&mut mode, now, b"+++");
        let now = now + BUSY_MAX * 2;
        mode.sent(b"x", now, Duration::ZERO);
        assert_eq!(receive(&mut mode, b"\r\nOK\r\n.", now), b"\r\nOK\r\n.");
    }

    #[test]
    fn while_dcd_is_on_no_look_alike_however_long_interrupts_the_stream() {
        let (mut mode, now) = mode(true);
        let mut all = b"x\r\nNO CARRIER\r\n".to_vec();
        all.extend(b"\r\n+QSSLURC: \"recv\",3\r\n".repeat(20));
        let mut got = receive(&mut mode, &all, now);
        assert_eq!(mode.deadline_passed(now + HOLD, false), Next::AskLines);
        mode.dcd_changed(true, now + HOLD);
        assert_eq!(mode.deadline_passed(now + HOLD * 2, false), Next::Deliver);
        got.extend(mode.deliverable());
        assert_eq!(got, all);
        assert!(mode.is_flowing());
    }

    #[test]
    fn words_that_follow_the_end_are_not_payload() {
        let words = b"\r\nNO CARRIER\r\n\r\n+QIURC: \"pdpdeact\",1\r\n";
        for split in 0..words.len() {
            let (mut mode, now) = mode(false);
            assert_eq!(receive(&mut mode, &words[..split], now), b"");
            assert_eq!(receive(&mut mode, &words[split..], now), b"");
            assert_eq!(
                mode.take_ended(),
                Ended {
                    socket: SocketId::new(0),
                    payload: Vec::new(),
                    words: words.to_vec(),
                    certain: true,
                    escape_missed: false,
                    is_missing_words: false
                }
            );
        }
        let (mut mode, now) = mode(false);
        assert_eq!(receive(&mut mode, b"\r\nNO CARRIER\r\n+x\r\npayload", now).len(), 25);
    }

    #[test]
    fn a_carriage_return_that_was_delivered_long_ago_makes_no_end_uncertain() {
        let (mut mode, now) = mode(true);
        assert_eq!(receive(&mut mode, b"one\r", now), b"one\r");
        assert_eq!(receive(&mut mode, b"two", now), b"two");
        receive(&mut mode, b"\r\nNO CARRIER\r\n", now);
        mode.dcd_changed(false, now);
        assert!(mode.take_ended().certain);
    }

    #[test]
    fn words_whose_head_was_delivered_as_payload_are_an_uncertain_end() {
        let (mut mode, now) = mode(false);
        assert_eq!(receive(&mut mode, b"x\r\nNO CARR", now), b"x");
        assert_eq!(mode.deadline_passed(now + HOLD, false), Next::Deliver);
        assert_eq!(mode.deliverable(), b"\r\nNO CARR");
        assert_eq!(receive(&mut mode, b"IER\r\n", now + HOLD), b"");
        assert!(!mode.is_flowing(), "it may be an end all the same");
        assert!(!mode.take_ended().certain);
    }

    #[test]
    fn of_two_ends_in_a_row_nobody_knows_which_was_payload() {
        let (mut mode, now) = mode(false);
        let text = b"\r\nNO CARRIER\r\n\r\nNO CARRIER\r\n";
        assert_eq!(receive(&mut mode, text, now), b"");
        assert!(!mode.take_ended().certain);
    }

    #[test]
    fn an_end_behind_an_escape_shows_that_it_was_missed() {
        let (mut mode, now) = mode(false);
        receive(&mut mode, b"\r\nNO CARRIER\r\n", now);
        let escaped = now + SUSPICION_QUIET + GUARD;
        assert_eq!(mode.deadline_passed(now + SUSPICION_QUIET, false), Next::Wait);
        assert_eq!(mode.deadline_passed(escaped, false), Next::SendEscape);
        receive(&mut mode, b"payload\r\nNO CARRIER\r\n", escaped + ESCAPE_WAIT);
        let ended = mode.take_ended();
        assert_eq!(ended.payload, b"\r\nNO CARRIER\r\npayload");
        assert!(ended.certain && ended.escape_missed, "the far end may have got `+++`");
    }

    #[test]
    fn a_doubted_end_is_none_while_neither_escape_nor_question_is_answered() {
        let (mut mode, now) = mode(false);
        receive(&mut mode, b"\r\nNO CARRIER\r\n", now);
        let escaped = now + SUSPICION_QUIET + GUARD;
        assert_eq!(mode.deadline_passed(now + SUSPICION_QUIET, false), Next::Wait);
        assert_eq!(mode.deadline_passed(escaped, false), Next::SendEscape);
        let asked = escaped + ASK_AFTER;
        assert_eq!(mode.deadline_passed(asked, false), Next::AskState(SocketId::new(0).expect("it is one")));
        assert_eq!(mode.deadline_passed(asked + STATE_WAIT / 2, false), Next::Wait);
        assert_eq!(mode.deadline_passed(asked + STATE_WAIT, false), Next::Lost);
    }

    #[test]
    fn what_a_modem_echoes_between_two_reboots_is_not_payload() {
        let (mut mode, now) = mode(false);
        assert_eq!(receive(&mut mode, b"x\r\nPOWERED DOWN\r\n", now), b"x");
        let escaped = now + SUSPICION_QUIET + GUARD;
        assert_eq!(mode.deadline_passed(now + SUSPICION_QUIET, false), Next::Wait);
        assert_eq!(mode.deadline_passed(escaped, false), Next::SendEscape);
        receive(&mut mode, b"\r\nRDY\r\n\r\n+CFUN: 1\r\na\r\n+CPIN: READY\r\nAA", escaped);
        receive(&mut mode, b"\r\nPOWERED DOWN\r\n\r\nRDY\r\n", escaped);
        let ended = mode.take_ended();
        assert!(ended.payload.is_empty() && !ended.certain, "{ended:?}");
        assert_eq!(ended.words, b"\r\nRDY\r\n");
    }

    #[test]
    fn an_end_inside_the_payload_is_not_taken_for_the_end_when_dcd_has_dropped() {
        let (mut mode, now) = mode(true);
        mode.dcd_changed(false, now);
        let mut got = receive(&mut mode, b"a\r\nNO CARRIER\r\nb", now);
        got.extend(receive(&mut mode, b"c\r\nNO CARRIER\r\n", now));
        assert_eq!(mode.deadline_passed(now + HANG_UP_TAIL, false), Next::Ended);
        let ended = mode.take_ended();
        got.extend(ended.payload);
        assert_eq!(got, b"a\r\nNO CARRIER\r\nbc");
        assert!(ended.certain);
    }

    #[test]
    fn an_end_is_not_believed_while_the_port_is_left_unread() {
        let (mut mode, now) = mode(true);
        mode.dcd_changed(false, now);
        mode.set_paused(true, now);
        assert_eq!(mode.deadline(false), None);
        assert_eq!(mode.deadline_passed(now + HANG_UP_TAIL, false), Next::Wait);
        mode.set_paused(false, now + HANG_UP_TAIL);
        assert_eq!(mode.deadline_passed(now + HANG_UP_TAIL, false), Next::Wait);
        assert_eq!(mode.deadline_passed(now + HANG_UP_TAIL * 2, false), Next::Ended);
    }

    #[test]
    fn an_ok_in_the_payload_is_not_taken_for_the_answer_to_the_escape() {
        let (mut mode, now) = mode(false);
        receive(&mut mode, b"\r\nNO CARRIER\r\n\r\nOK\r\n", now);
        let escaped = now + SUSPICION_QUIET + GUARD;
        assert_eq!(mode.deadline_passed(now + SUSPICION_QUIET, false), Next::Wait);
        assert_eq!(mode.deadline_passed(escaped, false), Next::SendEscape);
        assert_eq!(mode.deadline_passed(escaped + OK_QUIET, false), Next::Wait, "it came before");
        let early = escaped + Duration::from_millis(870);
        receive(&mut mode, b"\r\nOK\r\n", early);
        receive(&mut mode, b"\r\n+CREG: 1\r\n", early + OK_QUIET);
        assert_eq!(mode.deadline_passed(early + OK_QUIET * 2, false), Next::Wait, "it came too early");
        receive(&mut mode, b"\r\nOK\r\n", early + OK_QUIET * 2);
        let asked = early + OK_QUIET * 3;
        assert_eq!(mode.deadline_passed(asked, false), ask());
        receive(&mut mode, CARRIED, asked);
        assert_eq!(mode.deadline_passed(asked, false), Next::Left(Reason::Suspicion));
        assert_eq!(mode.take_left().payload, b"\r\nNO CARRIER\r\n\r\nOK\r\n\r\nOK\r\n\r\n+CREG: 1\r\n");
    }

    #[test]
    fn what_a_modem_says_by_itself_behind_the_ok_of_an_escape_does_not_hide_it() {
        for behind in [
            &b"\r\nRING\r\n"[..],
            b"\r\n+QSSLOPEN: 3,0\r\n\r\n+QSSLURC: \"recv\",3,1\r\n<",
            b"\r\n+QSSLURC: \"recv\",3,6\r\n\r\nOK\r\n\r\n+QSSLURC: \"closed\",3\r\n",
        ] {
            let (mut mode, now) = mode(false);
            mode.leave(now);
            assert_eq!(mode.deadline_passed(now, false), Next::Wait);
            assert_eq!(mode.deadline_passed(now + GUARD, false), Next::SendEscape);
            let words = [OK, behind].concat();
            let mut got = receive(&mut mode, b"last", now + GUARD);
            got.extend(receive(&mut mode, &words, now + GUARD * 2));
            let left = mode.deadline_passed(now + GUARD * 2 + OK_QUIET, false);
            assert_eq!(left, Next::Left(Reason::Done), "{}", behind.escape_ascii());
            let Left { payload, words: heard, .. } = mode.take_left();
            assert_eq!([got, payload].concat(), b"last");
            assert_eq!(heard, words);
        }
    }

    #[test]
    fn a_long_queue_is_waited_for_as_long_as_it_shrinks() {
        let (mut mode, now) = mode(false);
        mode.sent(b"payload", now, Duration::from_secs(100));
        mode.leave(now);
        let mut at = now;
        for bytes in (1..=300).rev() {
            assert_eq!(mode.deadline_passed(at, false), Next::AskQueue, "{bytes} bytes");
            mode.queue_answered(bytes, at, Duration::from_secs(100));
            let due = mode.deadline(false).expect("it is to be asked again");
            assert!(due <= at + ASK_AGAIN_MAX, "not only when a slow line would be done");
            at += Duration::from_secs(1);
        }
        assert_eq!(mode.deadline_passed(at, false), Next::AskQueue);
        mode.queue_answered(0, at, Duration::ZERO);
        assert_eq!(mode.deadline_passed(at, false), Next::Wait);
        assert_eq!(mode.deadline_passed(at + GUARD, false), Next::SendEscape);
    }

    /// When a peer that says this every 50 ms is done with: the time and what is next.
    fn settled_beside(mode: &mut Stream, says: &[u8], mut now: Instant) -> Option<(Instant, Next)> {
        let until = now + Duration::from_secs(60);
        while now < until {
            receive(mode, says, now);
            now += Duration::from_millis(50);
            if mode.deadline(false).is_some_and(|due| due <= now) {
                let next = mode.deadline_passed(now, false);
                if !matches!(next, Next::Wait | Next::AskQueue) {
                    return Some((now, next));
                }
            }
        }
        None
    }

    #[test]
    fn a_peer_that_keeps_sending_holds_up_no_end() {
        for says in [&b"x"[..], b"\r\n+CREG: 1\r\n"] {
            let (mut mode, now) = mode(true);
            mode.dcd_changed(false, now);
            let (at, next) = settled_beside(&mut mode, says, now).expect("it comes to an end");
            assert_eq!(next, Next::Ended);
            assert!(at <= now + HANG_UP_MAX + HANG_UP_TAIL);
        }
    }

    #[test]
    fn a_peer_that_keeps_sending_holds_up_no_doubt_and_no_escape() {
        let (mut mode, now) = mode(false);
        receive(&mut mode, b"\r\nNO CARRIER\r\n", now);
        let (at, next) = settled_beside(&mut mode, b"\n", now).expect("it is escaped");
        assert_eq!(next, Next::SendEscape);
        assert!(at <= now + SUSPICION_MAX + GUARD * 2);
        let now = at + OK_NOT_BEFORE;
        receive(&mut mode, OK, now);
        let (at, next) = settled_beside(&mut mode, b"\r\nRING\r\n", now).expect("it is left");
        assert_eq!(next, ask());
        assert!(at <= now + ESCAPE_WAIT + QUIET_MAX);
    }

    #[test]
    fn a_far_end_that_takes_nothing_does_not_hold_the_port_for_ever() {
        let (mut mode, now) = mode(false);
        mode.sent(b"payload", now, Duration::ZERO);
        mode.leave(now);
        assert_eq!(mode.deadline_passed(now, false), Next::AskQueue);
        mode.queue_answered(7, now, Duration::ZERO);
        assert_eq!(mode.deadline_passed(now + DRAIN_LIMIT, false), Next::AskQueue);
        mode.queue_answered(7, now + DRAIN_LIMIT, Duration::from_secs(1));
        assert_eq!(mode.deadline_passed(now + DRAIN_LIMIT, false), Next::Wait);
        assert_eq!(mode.deadline_passed(now + DRAIN_LIMIT + GUARD, false), Next::SendEscape);
    }
}
