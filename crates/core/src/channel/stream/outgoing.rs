//! What may be written to a stream: everything but a `+` that would complete an escape, and on a port of a device
//! server no more than the line carries in about half a second.
//!
//! The bytes on the line never end in `+++` before a pause, or the modem would take them for the escape.

use std::time::{Duration, Instant};

use super::pace::Pace;
use super::words::{ENDS, ENDS_AND_OK, Ends};

/// The state of the line, as far as it decides what may be written next.
#[derive(Debug)]
pub struct Outgoing {
    /// `+`es at the end of what is on the line.
    line_pluses: usize,
    /// When `+`es that would make an escape were last sent with a pause between them: a modem that was busy then does
    /// not see the pause.
    may_have_escaped: Option<Instant>,
    /// Whether everything written has left the tty.
    drained: Drained,
    /// When all of it has left the line, by its speed; at most [`LINE_AHEAD_MAX`] after the last byte was written.
    line_free_at: Option<Instant>,
    /// On a device server.
    pace: Option<Pace>,
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

impl Outgoing {
    /// Nothing is on the line.
    pub fn new(pace: Option<Pace>, now: Instant) -> Self {
        Outgoing {
            line_pluses: 0,
            may_have_escaped: None,
            drained: Drained::Since(now),
            line_free_at: None,
            pace,
        }
    }

    /// How many of the `pending` bytes may be written now.
    ///
    /// The rest is a `+` or two that would complete `+++` at the end of the line.
    pub fn sendable(&self, pending: &[u8]) -> usize {
        let trailing = pending.iter().rev().take_while(|byte| **byte == b'+').count();
        let on_line = if trailing == pending.len() { self.line_pluses } else { 0 };
        let run = on_line + trailing;
        if !(ESCAPE_PLUSES..=RUN_NO_MODEM_ESCAPES_ON).contains(&run) {
            pending.len()
        } else {
            pending.len() - (run - (ESCAPE_PLUSES - 1)).min(trailing)
        }
    }

    /// How many of `count` bytes may be written, so that not too many are on their way.
    pub fn allowed(&self, count: usize) -> usize {
        self.pace.map_or(count, |pace| pace.allows(count))
    }

    /// When the port is to be asked what is on its way, because `pending` bytes wait for that.
    pub fn pace_due(&self, pending: &[u8]) -> Option<Instant> {
        let is_held = |pace: &Pace| !pending.is_empty() && pace.allows(pending.len()) == 0;
        self.pace.filter(is_held).map(|pace| pace.due())
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

    /// When what was written has left the line, as far as its speed shows.
    pub fn line_free_at(&self) -> Option<Instant> {
        self.line_free_at
    }

    /// These bytes went to the port, which needs `wire_time` to send them.
    pub fn sent(&mut self, bytes: &[u8], now: Instant, wire_time: Duration) {
        let trailing = bytes.iter().rev().take_while(|byte| **byte == b'+').count();
        self.line_pluses = if trailing == bytes.len() { self.line_pluses + trailing } else { trailing };
        if trailing == 0 && self.may_have_escaped.is_some_and(|since| since + BUSY_MAX < now) {
            self.may_have_escaped = None;
        }
        if let Some(pace) = &mut self.pace {
            pace.written(bytes.len(), now);
        }
        self.drained = Drained::AskAt(now + wire_time);
        let begins = self.line_free_at.map_or(now, |at| at.max(now));
        self.line_free_at = Some((begins + wire_time).min(now + LINE_AHEAD_MAX));
    }

    /// When the port is to be asked whether everything has left it.
    pub fn ask_at(&self) -> Option<Instant> {
        match self.drained {
            Drained::AskAt(at) => Some(at),
            Drained::Asked | Drained::Since(_) => None,
        }
    }

    /// From now on the port is to be asked.
    pub fn ask_soon(&mut self, now: Instant) {
        if let Drained::AskAt(at) = &mut self.drained {
            *at = (*at).min(now);
        }
    }

    /// Whether the port is to be asked now. It is then taken to have been asked.
    pub fn asks(&mut self, now: Instant) -> bool {
        let is_due = self.ask_at().is_some_and(|at| at <= now);
        if is_due {
            self.drained = Drained::Asked;
        }
        is_due
    }

    /// The port holds `bytes` bytes that have not left yet. Returns whether this answers the question if all have left.
    pub fn queue_answered(&mut self, bytes: usize, now: Instant, wire_time: Duration) -> bool {
        if let Some(pace) = &mut self.pace {
            pace.queue_answered(bytes, now);
        }
        let is_answer = self.drained == Drained::Asked;
        if is_answer {
            // A device server does not tell what it still holds; by the speed of its line it is known.
            let free_at = self.pace.map_or(now, |pace| pace.free_at());
            self.drained = match bytes {
                0 if free_at <= now => Drained::Since(now),
                0 => Drained::AskAt(free_at),
                _ => Drained::AskAt(now + wire_time.clamp(ASK_AGAIN_MIN, ASK_AGAIN_MAX)),
            };
        }
        is_answer
    }

    /// Since when nothing is in the port.
    pub fn drained_since(&self) -> Option<Instant> {
        match self.drained {
            Drained::Since(since) => Some(since),
            Drained::AskAt(_) | Drained::Asked => None,
        }
    }

    /// When the line will have been quiet for the guard time.
    pub fn guarded_until(&self, now: Instant) -> Instant {
        self.drained_since().map_or(now + GUARD, |since| now.max(since + GUARD))
    }

    /// The line may have been quiet for longer than a guard time: what follows begins anew.
    pub fn pause_passed(&mut self, now: Instant) {
        if self.drained_since().is_some_and(|since| since + GUARD <= now) && self.line_pluses > 0 {
            self.line_pluses = 0;
            self.may_have_escaped = Some(now);
        }
    }

    /// Whether `+`es of payload may have been an escape to a modem that was busy.
    pub fn may_have_escaped(&self) -> bool {
        self.may_have_escaped.is_some()
    }

    /// What the modem may send when it leaves data mode by itself, or for an escape that it was not meant to
    /// see.
    pub fn ends(&self) -> Ends {
        if self.may_have_escaped() { &ENDS_AND_OK } else { &ENDS }
    }
}

/// Without a byte on the line for this long, an escape may begin or end; a little more than the manuals' 1 s.
pub const GUARD: Duration = Duration::from_millis(1_200);

/// The escape is so many `+` between two pauses (both manuals, 1.3).
const ESCAPE_PLUSES: usize = 3;

/// A run of more `+` than this, without a pause in it, is no escape; payload of nothing but `+` would
/// otherwise be very slow.
const RUN_NO_MODEM_ESCAPES_ON: usize = 16;

/// A tty holds some seconds of the slowest lines; for a port that has no speed this is unknown.
const LINE_AHEAD_MAX: Duration = Duration::from_secs(10);

/// A modem that was busy for so long has been reset by then.
pub const BUSY_MAX: Duration = Duration::from_secs(60);

/// When a port is asked again how much it has left. On a device server the speed shows little about when that
/// will be: the line may be faster, and so is the network.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(1);
pub const ASK_AGAIN_MAX: Duration = Duration::from_millis(100);
