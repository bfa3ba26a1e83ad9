//! Which received bytes of a stream are payload, and which may be the modem's words.
//!
//! `NO CARRIER` may be payload or the end; what looks like it is held back until that is known. Where the
//! port has a DCD line, DCD shows it. Otherwise the tunnel waits for a pause, and then asks for the socket's
//! state.

use std::time::{Duration, Instant};

use super::sent::Sent;
use super::words::{self, ENDS, Ends, Lines, OK, find, find_last, is_all_unsolicited, is_unsolicited};
use super::{Ended, Reason};
use crate::at::SocketId;

/// The received bytes of a stream that may be payload or the modem's words.
#[derive(Debug)]
pub struct Incoming {
    /// Received and not yet known to be payload.
    held: Vec<u8>,
    /// How much of the modem's words is in that.
    verdict: Verdict,
    /// Since when the oldest of `held` waits; of a whole end, when the last byte came.
    held_since: Instant,
    /// How much later that was made by what came on other channels of the line since a byte last came here.
    others_turns: Duration,
    /// Since when a whole end is held.
    suspected_since: Option<Instant>,
    /// The end of what was delivered, as far as it begins the words of an end: `held` goes on from here.
    delivered_tail: Vec<u8>,
    /// The last bytes that came before `delivered_tail`.
    context: Vec<u8>,
    /// What was sent last.
    sent: Sent,
    /// DCD was asked for what is held.
    lines_asked: bool,
    dcd: Dcd,
    /// DCD is read at this moment, not as it was last reported.
    dcd_is_live: bool,
}

/// What DCD shows about this stream. On many boards it is not wired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dcd {
    /// It has not been on since `CONNECT`, and shows nothing.
    Unproven,
    On,
    /// It was on, and has dropped.
    Off,
}

/// How much of the modem's words is in what is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Verdict {
    /// How many bytes may be a whole end, or the end of one, and what a modem may send after it.
    words: usize,
    /// Not all of that are unsolicited lines of a modem.
    is_more_than_lines: bool,
    /// Some of it is what was just sent.
    is_echoed: bool,
}

/// Whether bytes are the modem's words: an end, and after it nothing but unsolicited lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    /// They are the beginning of an end.
    Part,
    /// They are a whole end at least.
    Whole,
}

/// What is due with what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// DCD may have dropped with the words themselves, or before `CONNECT` had been read: it is asked for.
    AskLines,
    /// It is payload.
    Deliver,
    /// It looks like the end, and must be settled.
    Settle,
}

/// What other channels have shown of a stream's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Nothing.
    Nothing,
    /// The socket is not connected.
    State,
    /// The same, and the words of the end have come there.
    Told,
}

/// What became of the escapes of a stream that is over.
#[derive(Clone, Copy, Debug)]
pub struct Escapes {
    /// How much was held at the first escape of any kind: an `OK` after that answers it. An end after that may be the
    /// escape's doing: `+++` may have become payload, and DTR may have hung up.
    pub from: Option<usize>,
    /// Where in what is held the modem's own words begin, once the state of the socket was asked for.
    pub asked_from: Option<usize>,
    /// An `OK` may have been the answer, and then the words of the end were payload.
    pub may_be_answered: bool,
    /// The modem was in data mode still when it came, or does not answer in command mode.
    pub is_unanswered: bool,
}

impl Incoming {
    /// Nothing has come.
    pub fn new(dcd_is_live: bool, now: Instant) -> Self {
        Incoming {
            held: Vec::new(),
            verdict: Verdict::default(),
            held_since: now,
            others_turns: Duration::ZERO,
            suspected_since: None,
            delivered_tail: Vec::new(),
            context: Vec::new(),
            sent: Sent::new(now),
            lines_asked: false,
            dcd: Dcd::Unproven,
            dcd_is_live,
        }
    }

    /// What is held back.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// When the last byte of it came, where that matters.
    pub fn held_since(&self) -> Instant {
        self.held_since
    }

    /// How many more bytes can be held back; less than is worth reading is none.
    pub fn room(&self) -> usize {
        let room = HELD_LIMIT_BYTES.saturating_sub(self.held.len());
        if room < READ_MIN_BYTES { 0 } else { room }
    }

    /// Whether a whole end is held, or the last part of one, and nothing but unsolicited lines after it.
    pub fn is_suspicious(&self) -> bool {
        self.verdict.words > 0
    }

    /// These bytes were sent.
    pub fn sent(&mut self, bytes: &[u8], now: Instant) {
        self.sent.push(bytes, now);
    }

    /// The state of DCD, or the last one reported. Returns whether it has just dropped.
    pub fn dcd_changed(&mut self, dcd: bool) -> bool {
        let was_on = self.dcd == Dcd::On;
        self.dcd = match (dcd, self.dcd) {
            (true, _) => Dcd::On,
            (false, Dcd::Unproven) => Dcd::Unproven,
            (false, Dcd::On | Dcd::Off) => Dcd::Off,
        };
        was_on && !dcd
    }

    /// Whether DCD was on, and has dropped.
    pub fn dcd_is_off(&self) -> bool {
        self.dcd == Dcd::Off
    }

    /// The socket is connected, whatever DCD shows.
    pub fn dcd_is_wrong(&mut self) {
        if self.dcd == Dcd::Off {
            self.dcd = Dcd::Unproven;
        }
    }

    /// Whether DCD shows that the stream is over. A report may be late, and be about an earlier stream: it
    /// needs the modem's words beside it.
    pub fn has_hung_up(&self) -> bool {
        let holds_words = || ENDS.iter().any(|words| find(&self.held, words).is_some());
        self.dcd == Dcd::Off && (self.dcd_is_live || self.is_suspicious() || holds_words())
    }

    /// Whether the modem's words are payload as long as DCD is on. It stays on when data mode was left by an escape, and
    /// after a reboot where AT&C0 is the default; then what is echoed shows that.
    fn dcd_tells_payload(&self, may_have_escaped: bool) -> bool {
        self.dcd == Dcd::On && self.dcd_is_live && !may_have_escaped && !self.verdict.is_echoed
    }

    /// Takes bytes of a stream that flows, and gives `payload` what is known to be that. Why the modem must be asked at
    /// once, if so.
    pub fn received(
        &mut self,
        bytes: &[u8],
        may_have_escaped: bool,
        ends: Ends,
        now: Instant,
        payload: &mut impl FnMut(&[u8]),
    ) -> Option<Reason> {
        self.sent.forget_old(now);
        let echoed = self.sent.came_back(bytes);
        self.part(bytes, ends, now, payload);
        match (self.dcd_tells_payload(may_have_escaped), self.is_suspicious()) {
            // DCD distinguishes an end from payload; only a whole match waits for it.
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
                return Some(Reason::Suspicion);
            }
            _ => {}
        }
        (echoed >= ECHO_SUSPICIOUS_BYTES && !self.is_suspicious()).then_some(Reason::Echo)
    }

    /// The line carried something for `time`. The rest of what begins an end waits in the modem until it is this channel's
    /// turn, for `turns` at most.
    pub fn line_was_busy(&mut self, time: Duration, turns: Duration) {
        if !self.held.is_empty() && !self.is_suspicious() {
            let more = time.min(turns.saturating_sub(self.others_turns));
            self.others_turns += more;
            self.held_since += more;
        }
    }

    /// Takes bytes of which nothing is known yet.
    pub fn hold(&mut self, bytes: &[u8], ends: Ends) {
        self.held.extend_from_slice(bytes);
        self.look_through(ends);
    }

    /// The same, of a stream that is being left: it is not quiet.
    pub fn hold_unquiet(&mut self, bytes: &[u8], ends: Ends, now: Instant) {
        self.hold(bytes, ends);
        self.held_since = now;
    }

    /// Whether so much is held that it is more than the modem's last words.
    pub fn is_half_full(&self) -> bool {
        self.held.len() > HELD_LIMIT_BYTES / 2
    }

    /// How much of what is held is payload, whether it is followed by the modem's words or not.
    pub fn surely_payload(&self) -> usize {
        self.held.len().saturating_sub(WORDS_MAX)
    }

    /// The same of a stream that the client is done with: all but a possible end.
    pub fn payload_but_for(&self, held_bytes: usize) -> usize {
        self.held.len().saturating_sub(self.verdict.words.max(held_bytes))
    }

    /// The first `count` bytes of what is held are payload.
    pub fn give_out(&mut self, count: usize, ends: Ends, payload: &mut impl FnMut(&[u8])) {
        payload(&self.held[..count]);
        let given: Vec<u8> = self.delivered_tail.drain(..).chain(self.held.drain(..count)).collect();
        self.passed(&given);
        self.look_through(ends);
    }

    /// When [`Incoming::due`] is due for a stream that flows.
    pub fn deadline(&self, may_have_escaped: bool) -> Option<Instant> {
        match self.is_suspicious() && !self.dcd_tells_payload(may_have_escaped) {
            _ if self.held.is_empty() => None,
            true => Some(self.settled_at()),
            false => Some(self.held_since + HOLD),
        }
    }

    /// What is due with what is held of a stream that flows.
    pub fn due(&mut self, may_have_escaped: bool, ends: Ends, now: Instant) -> Due {
        if self.deadline(may_have_escaped).is_none_or(|at| at > now) {
            return Due::Nothing;
        }
        if !self.is_suspicious() {
            return if self.holds_half_an_end(ends) { Due::Settle } else { Due::Deliver };
        }
        if !self.dcd_tells_payload(may_have_escaped) {
            return Due::Settle;
        }
        if self.lines_asked {
            return Due::Deliver;
        }
        self.lines_asked = true;
        self.held_since = now;
        Due::AskLines
    }

    /// Whether so much of an end is held that payload is unlikely to stop there: a module that loses its power does not
    /// finish it.
    fn holds_half_an_end(&self, ends: Ends) -> bool {
        let all = [&self.delivered_tail[..], &self.held].concat();
        let Some((start, Match::Part)) = self.words_in(&all, all.len(), ends) else { return false };
        let part = &all[start..];
        ends.iter().any(|words| words.starts_with(part) && 2 * part.len() >= words.len())
    }

    /// The first `known` bytes of what was held back are payload after all, and what of the rest is known to be that.
    pub fn deliverable(&mut self, known: usize, ends: Ends, now: Instant) -> Vec<u8> {
        let rest = self.held.split_off(known.min(self.held.len()));
        self.lines_asked = false;
        self.delivered_tail.extend_from_slice(&self.held);
        let mut all = std::mem::take(&mut self.delivered_tail);
        // A whole end is known to be none. Only the beginning of one may go on.
        self.delivered_tail = match self.words_in(&all, all.len(), ends) {
            Some((start, Match::Part)) => all.split_off(start),
            Some((_, Match::Whole)) | None => Vec::new(),
        };
        self.passed(&all);
        self.verdict = Verdict::default();
        let mut payload = std::mem::take(&mut self.held);
        if !rest.is_empty() {
            self.part(&rest, ends, now, &mut |bytes| payload.extend_from_slice(bytes));
        }
        payload
    }

    /// Data mode was left by an escape: payload, and from `answer` on the modem's own words.
    pub fn take_left(&mut self, answer: Option<usize>) -> (Vec<u8>, Vec<u8>) {
        self.delivered_tail.clear();
        self.verdict = Verdict::default();
        let mut held = std::mem::take(&mut self.held);
        let words = answer.map_or(Vec::new(), |at| held.split_off(at));
        (held, words)
    }

    /// The modem left data mode by itself: what is payload, and what are its words, by what became of the escapes.
    /// `shown`: what other channels have shown.
    pub fn take_ended(
        &mut self,
        socket: Option<SocketId>,
        escapes: Escapes,
        shown: Shown,
        terminators: Ends,
    ) -> Ended {
        let is_confirmed = shown != Shown::Nothing;
        let delivered = self.delivered_tail.len();
        // More may wait for room in the port.
        let is_all = !is_confirmed || self.room() > 0;
        let mut all = std::mem::take(&mut self.delivered_tail);
        all.append(&mut self.held);
        self.verdict = Verdict::default();
        let asked_from = escapes.asked_from.map(|at| at + delivered);
        let escaped_from = escapes.from.map(|from| all.len().min(delivered + from));
        let is_answered_late = asked_from.is_none()
            && escaped_from.is_some_and(|from| words::ends_in_ok(&all[from..]).is_some());
        // What follows an answer to an escape are the modem's own words, even if it reboots then.
        let answered_at = escaped_from.and_then(|from| find(&all[from..], OK).map(|at| from + at));
        // The answer to the question that showed the end is no part of it, nor is what was sent for other
        // sockets meanwhile.
        let after = all.split_off(asked_from.unwrap_or(all.len()));
        // Where the end came only then, the words before it were payload.
        let has_ended_later = ENDS.iter().any(|end| find(&after, end).is_some());
        let mut is_missing_words =
            Lines::of(&after).any(|(_, line)| SOCKET_URCS.iter().any(|urc| line.starts_with(urc)));
        let tail = self.words_in(&all, all.len(), terminators).map_or(all.len(), |(start, _)| start);
        let first = terminators.iter().filter_map(|terminator| find(&all[tail..], terminator)).min();
        let Some(first) = first.map(|at| tail + at) else {
            // Without the modem's words nothing shows that the rest is payload, unless they come by another channel. URCs
            // that waited for the end of the stream can follow it even then, and what the modem answers to bytes that
            // were still on their way to the server.
            let answers = [&b"\r\n+"[..], OK, b"\r\nERROR\r\n", b"\r\n> "];
            let urcs = answers.iter().filter_map(|answer| find(&all, answer)).min();
            all.truncate(urcs.unwrap_or(all.len()));
            return Ended {
                socket,
                payload: if is_confirmed { all.split_off(delivered.min(all.len())) } else { Vec::new() },
                words: Vec::new(),
                certain: is_confirmed && is_all && urcs.is_none(),
                escape_missed: false,
                is_missing_words,
            };
        };
        let mut words = all.split_off(first);
        let last = terminators.iter().filter_map(|terminator| find_last(&words, terminator)).max();
        // Echo must not be taken for the modem's words.
        let spoken = words::spoken(&words);
        let is_echoed = spoken < words.len();
        words.truncate(spoken);
        let boots = &ENDS[1..];
        if boots.iter().any(|boot| words.starts_with(boot))
            && let Some(earlier) = boots.iter().filter_map(|boot| find(&all, boot)).min()
        {
            // It may have booted before, and then this is the echo of what was on its way to it.
            all.truncate(earlier);
        }
        let is_whole = terminators.iter().any(|terminator| words.starts_with(terminator));
        let ends = words::ends(&words, terminators);
        let last_end = ends.last().copied().unwrap_or(0);
        let is_ambiguous = last.is_some_and(|last| last > last_end);
        if is_ambiguous {
            // An end in what a socket is pushed: either that is payload, or the stream's server has written both an end
            // and the words of a push, to have what follows taken for another's.
            is_missing_words = true;
            let whole = terminators.iter().find(|terminator| words.starts_with(terminator));
            words.truncate(whole.map_or(0, |terminator| terminator.len()));
        } else {
            // What follows the last end is the modem's own in any case; before it, a line may be payload.
            words.drain(..last_end);
        }
        // Frames keep noise away: where another channel has shown the end, noise after one here is payload, and so may
        // that end be.
        let is_noisy = is_confirmed
            && Lines::of(&words).any(|(_, line)| !matches!(line.first(), Some(b'\r' | b'\n' | 0x21..0x7F)));
        // A module that has told the end by another channel may tell it there alone: then what looks like it here is
        // payload. The end and nothing else is taken for the module's, as some tell it by both.
        let is_doubled = shown == Shown::Told && words != ENDS[0];
        // Of two ends in a row the first may have been payload; and what was delivered cannot be taken back.
        let certain = is_whole
            && !is_noisy
            && !is_doubled
            && is_all
            && !is_echoed
            && !escapes.may_be_answered
            && !has_ended_later
            && ends.len() == 1
            && all.len() >= delivered
            && !words.starts_with(OK);
        let answered_at = answered_at.filter(|at| *at < all.len());
        let escape_missed = answered_at.is_some()
            || is_answered_late
            || escapes.is_unanswered
            || escaped_from.is_some_and(|from| all.len() >= from);
        all.truncate(answered_at.unwrap_or(all.len()));
        let payload = all.split_off(delivered.min(all.len()));
        Ended { socket, payload, words, certain: certain && !is_ambiguous, escape_missed, is_missing_words }
    }

    /// Divides received bytes into payload and what may be the modem's words, which is held back.
    fn part(&mut self, bytes: &[u8], ends: Ends, now: Instant, payload: &mut impl FnMut(&[u8])) {
        if self.delivered_tail.is_empty()
            && self.held.is_empty()
            && self.words_in(bytes, self.most(), ends).is_none()
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
        let begins_at = self.words_in(&all, self.most(), ends).map_or(all.len(), |(begins_at, _)| begins_at);
        self.passed(&all[..begins_at]);
        payload(&all[delivered..begins_at.max(delivered)]);
        self.delivered_tail = all[begins_at.min(delivered)..delivered].to_vec();
        self.held = all[begins_at.max(delivered)..].to_vec();
        self.others_turns = Duration::ZERO;
        self.look_through(ends);
        let goes_on = self.suspected_since.filter(|_| begins_at == 0);
        self.suspected_since = self.is_suspicious().then(|| goes_on.unwrap_or(now));
        if !waited || begins_at > 0 || self.is_suspicious() {
            self.held_since = now;
            self.lines_asked = false;
        }
    }

    /// These bytes came, and none of them begins what is held.
    fn passed(&mut self, bytes: &[u8]) {
        self.context.extend_from_slice(&bytes[bytes.len().saturating_sub(CONTEXT_BYTES)..]);
        let more = self.context.len().saturating_sub(CONTEXT_BYTES);
        self.context.drain(..more);
    }

    /// Looks through what is held, whenever that has changed.
    fn look_through(&mut self, ends: Ends) {
        self.verdict = Verdict::default();
        if self.held.is_empty() {
            return;
        }
        let all = [&self.delivered_tail[..], &self.held].concat();
        let Some((start, Match::Whole)) = self.words_in(&all, all.len(), ends) else { return };
        let whole = ends.iter().find(|terminator| all[start..].starts_with(terminator));
        let after = &all[start + whole.map_or(0, |it| it.len())..];
        let is_more_than_lines = !is_all_unsolicited(after);
        let is_echoed = is_more_than_lines && self.sent.compare(after, is_unsolicited).echoed >= ECHO_BYTES;
        let words = (all.len() - start).min(self.held.len());
        self.verdict = Verdict { words, is_more_than_lines, is_echoed };
    }

    /// Where in `all` what may be the modem's words begins, in the last `most` bytes: an end, and after it
    /// nothing but what a modem may send then.
    fn words_in(&self, all: &[u8], most: usize, ends: Ends) -> Option<(usize, Match)> {
        let from = all.len().saturating_sub(most);
        let returns = (from..all.len()).filter(|at| all[*at] == b'\r');
        for start in returns {
            let rest = &all[start..];
            match ends.iter().find(|terminator| rest.starts_with(terminator)) {
                Some(terminator)
                    if self.may_be_the_end(&all[..start], terminator, &rest[terminator.len()..]) =>
                {
                    return Some((start, Match::Whole));
                }
                Some(_) => {}
                None if ends.iter().any(|terminator| terminator.starts_with(rest)) => {
                    return Some((start, Match::Part));
                }
                None => {}
            }
        }
        None
    }

    /// Whether the words of an end may be the modem's, by what came before and after them.
    fn may_be_the_end(&self, before: &[u8], terminator: &[u8], after: &[u8]) -> bool {
        if is_all_unsolicited(after) {
            return true;
        }
        if !self.sent.may_explain(after, is_unsolicited) {
            return false;
        }
        // A server that echoes has been sent its words as well, and what comes before them.
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

    /// When the whole end that is held is to be settled.
    fn settled_at(&self) -> Instant {
        (self.held_since + SUSPICION_QUIET)
            .min(self.suspected_since.unwrap_or(self.held_since) + SUSPICION_MAX)
    }
}

const SOCKET_URCS: [&[u8]; 2] = [b"+QSSLURC:", b"+QIURC:"];

/// The most bytes that are taken for an end and the unsolicited lines after it.
const WORDS_MAX: usize = 8 * 1_024;

/// With so many bytes of lines after a whole end, the quiet is not waited for.
const SUSPICION_BYTES: usize = 256;

/// The same, where some of it may be echo: more than can be under way to the modem.
const ECHO_HELD_MAX: usize = 28 * 1024;

/// If so many sent bytes come back after the modem's words, that is no coincidence.
const ECHO_BYTES: usize = 32;

/// If so many sent bytes come back without a gap, the modem may have booted without a message.
const ECHO_SUSPICIOUS_BYTES: usize = 2 * 1024;

/// How many bytes before the words of an end are compared to find out whether a server echoes them.
const CONTEXT_BYTES: usize = 16;

/// How long the beginning of an end is held back while nothing comes.
pub const HOLD: Duration = Duration::from_millis(100);

/// How long after a whole end the quiet must last before it is settled whether it was one.
pub const SUSPICION_QUIET: Duration = Duration::from_millis(300);

/// How long further received bytes may delay that: nothing is sent meanwhile, and a line carries what may be
/// echoed in less.
pub const SUSPICION_MAX: Duration = Duration::from_secs(6);

/// The most that is ever held back, in bytes.
pub const HELD_LIMIT_BYTES: usize = 32 * 1024;

/// A read of less is not worth its system call, in bytes.
pub const READ_MIN_BYTES: usize = 512;
