//! A simulated client: the bytes it has written, the bytes its kernel holds for it, and how it leaves.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use qssl_core::relay::ClientId;
use qssl_modem_emulator::network::simulated::pattern;

use super::wiring::{Client, Leaves, Reads, Sends};

/// A client and its state.
#[derive(Debug)]
pub struct Actor {
    plan: Client,
    seed: u64,
    /// Another modem serves it ([`crate::fleet`]).
    pub is_elsewhere: bool,
    /// Its id in the core, once it has been accepted.
    pub id: Option<ClientId>,
    accepted_at: Option<Instant>,
    /// The core has said that its connection is open.
    pub is_open: bool,
    /// How many bytes the core has taken.
    pub sent: u64,
    /// Bytes that the core has written to it and that it has not read.
    inbox: VecDeque<u8>,
    /// The last write did not fit in full.
    was_full: bool,
    /// What it has read, in order.
    pub received: Vec<u8>,
    /// Each read: its time, and the sum of the bytes read by then.
    pub progress: Vec<(Instant, u64)>,
    /// Whether the core was informed that it will send nothing more.
    pub finish_told: bool,
    /// How many bytes it had written when it closed both directions.
    written_at_close: Option<u64>,
    /// The core has shut down its direction.
    pub shut: bool,
    /// How it ended, from its own point of view.
    pub outcome: Option<Outcome>,
    /// When that was.
    pub ended_at: Option<Instant>,
    /// Whether it saw the end of file before it closed.
    pub saw_end: bool,
}

/// How a client ended, from its own point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It saw an end of file, and was closed in order.
    Eof,
    /// It saw a reset.
    Reset,
    /// It left before it saw anything.
    Left,
}

impl Actor {
    /// A client that has not connected yet.
    pub fn new(plan: Client, seed: u64) -> Self {
        Actor {
            plan,
            seed,
            is_elsewhere: false,
            id: None,
            accepted_at: None,
            is_open: false,
            sent: 0,
            inbox: VecDeque::new(),
            was_full: false,
            received: Vec::new(),
            progress: Vec::new(),
            finish_told: false,
            written_at_close: None,
            shut: false,
            outcome: None,
            ended_at: None,
            saw_end: false,
        }
    }

    /// The seed of its pattern.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        self.accepted_at.is_some() && self.outcome.is_none()
    }

    /// Whether it waits to be accepted.
    pub fn is_knocking(&self, start: Instant, now: Instant) -> bool {
        !self.is_elsewhere && self.accepted_at.is_none() && self.has_come(start, now)
    }

    /// Whether its time has come to connect.
    pub fn has_come(&self, start: Instant, now: Instant) -> bool {
        self.comes_at(start) <= now
    }

    /// When it connects.
    pub fn comes_at(&self, start: Instant) -> Instant {
        start + self.plan.at
    }

    /// When it was accepted.
    pub fn accepted_at(&self) -> Option<Instant> {
        self.accepted_at
    }

    /// It was accepted.
    pub fn accepted(&mut self, id: ClientId, now: Instant) {
        self.id = Some(id);
        self.accepted_at = Some(now);
    }

    /// How many bytes it writes in all.
    fn total(&self) -> u64 {
        match &self.plan.sends {
            Sends::Nothing => 0,
            Sends::Pattern(bytes) => *bytes,
            Sends::Drip { total, .. } => *total,
            Sends::Steps(steps) => steps.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
        }
    }

    /// How many bytes it has written by now, in all. A client that has closed writes no more.
    fn written(&self, now: Instant) -> u64 {
        let Some(since) = self.accepted_at else { return 0 };
        let passed = now.saturating_duration_since(since);
        self.written_at_close.unwrap_or_else(|| match &self.plan.sends {
            Sends::Nothing => 0,
            Sends::Pattern(bytes) => *bytes,
            Sends::Drip { bytes, every, total } => {
                let times = (passed.as_nanos() / every.as_nanos().max(1)) as u64;
                times.saturating_mul(*bytes).min(*total)
            }
            Sends::Steps(steps) => {
                steps.iter().filter(|(at, _)| *at <= passed).map(|(_, bytes)| bytes.len() as u64).sum()
            }
        })
    }

    /// What it sends from one offset to another, as far as the core has taken it.
    pub fn sent_bytes(&self, from: usize, to: usize) -> Vec<u8> {
        let to = to.min(self.sent as usize);
        self.bytes(from as u64, to.saturating_sub(from))
    }

    fn bytes(&self, from: u64, count: usize) -> Vec<u8> {
        match &self.plan.sends {
            Sends::Steps(steps) => {
                let mut skipped = from as usize;
                let rest = steps.iter().flat_map(|(_, bytes)| {
                    let skip = skipped.min(bytes.len());
                    skipped -= skip;
                    &bytes[skip..]
                });
                rest.take(count).copied().collect()
            }
            _ => pattern(self.seed, from, count),
        }
    }

    /// Takes what can be read from it, up to `limit`; empty where a read would block.
    pub fn read(&mut self, limit: usize, now: Instant) -> Vec<u8> {
        let count = (self.written(now) - self.sent).min(limit as u64);
        let bytes = self.bytes(self.sent, count as usize);
        self.sent += count;
        bytes
    }

    /// Whether a read would report the end.
    pub fn has_finished(&self, now: Instant) -> bool {
        let Some(since) = self.accepted_at else { return false };
        let passed = now.saturating_duration_since(since);
        let all_written = self.written(now) == self.total();
        let finishes = match self.plan.leaves {
            Leaves::HalfCloses => all_written,
            Leaves::HalfClosesAfter(time) => all_written && passed >= time,
            _ => self.written_at_close.is_some(),
        };
        finishes && self.sent == self.written(now)
    }

    /// Takes bytes that are written to it, as many as its kernel has room for.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let room = self.plan.buffer_bytes - self.inbox.len();
        if self.was_full && room < self.plan.room_min_bytes {
            return 0;
        }
        let count = bytes.len().min(room);
        self.was_full = count < bytes.len();
        self.inbox.extend(&bytes[..count]);
        count
    }

    /// How many bytes its kernel holds for it.
    pub fn unread(&self) -> usize {
        self.inbox.len()
    }

    /// Lets it read, see the end, and leave, as planned. Returns whether it did anything.
    pub fn act(&mut self, now: Instant) -> bool {
        let Some(since) = self.accepted_at else { return false };
        if self.outcome.is_some() {
            return false;
        }
        let passed = now.saturating_duration_since(since);
        let count = match self.plan.reads {
            _ if self.has_closed() => 0,
            Reads::All => self.inbox.len(),
            Reads::Nothing => 0,
            Reads::After(time) => {
                if passed >= time {
                    self.inbox.len()
                } else {
                    0
                }
            }
            Reads::Drip(bytes, every) => self.dripped(passed, bytes, every),
            Reads::Until(time, bytes) => self.dripped(passed.min(time), bytes, SECOND),
        };
        self.received.extend(self.inbox.drain(..count));
        if count > 0 {
            self.progress.push((now, self.received.len() as u64));
        }
        let mut did = count > 0;
        if self.shut && self.inbox.is_empty() && !self.saw_end && !self.has_closed() {
            self.saw_end = true;
            did = true;
        }
        let closes = match self.plan.leaves {
            Leaves::AtTheEnd | Leaves::HalfCloses | Leaves::HalfClosesAfter(_) => self.saw_end,
            Leaves::WhenSent => self.written(now) == self.total() || self.saw_end,
            Leaves::WhenRead(bytes) => self.received.len() as u64 >= bytes || self.saw_end,
            Leaves::After(time) => passed >= time || self.saw_end,
            Leaves::ResetsAfter(_) | Leaves::Never => false,
        };
        if closes && !self.has_closed() {
            self.written_at_close = Some(self.written(now));
            did = true;
        }
        did
    }

    /// How many bytes a client reads now that reads `bytes` per interval and was accepted this long ago.
    fn dripped(&self, passed: Duration, bytes: usize, every: Duration) -> usize {
        let allowed = (passed.as_nanos() / every.as_nanos().max(1)) as u64 * bytes as u64;
        (allowed.saturating_sub(self.received.len() as u64) as usize).min(self.inbox.len())
    }

    /// Whether it has closed both directions.
    pub fn has_closed(&self) -> bool {
        self.written_at_close.is_some()
    }

    /// Whether its reset is due: the plan says so, or it closed with bytes unread, or bytes came after that.
    pub fn breaks(&self, now: Instant) -> bool {
        let passed = self.accepted_at.map(|since| now.saturating_duration_since(since));
        let resets = matches!((self.plan.leaves, passed),
            (Leaves::ResetsAfter(time), Some(passed)) if passed >= time);
        self.outcome.is_none() && (resets || self.has_closed() && !self.inbox.is_empty())
    }

    /// Whether the host can see that the client is gone.
    pub fn is_seen_gone(&self) -> bool {
        self.plan.is_seen_leaving && self.has_closed()
    }

    /// The core has ended its connection.
    pub fn ended(&mut self, outcome: Outcome, now: Instant) {
        if outcome == Outcome::Eof && !self.has_closed() {
            let rest = std::mem::take(&mut self.inbox);
            self.received.extend(rest);
        }
        let left = self.has_closed() && !self.saw_end;
        self.outcome = Some(if left { Outcome::Left } else { outcome });
        self.ended_at = Some(now);
    }

    /// When it next does something without input, later than now.
    pub fn next_deadline(&self, start: Instant, now: Instant) -> Option<Instant> {
        let Some(since) = self.accepted_at else {
            return Some(self.comes_at(start)).filter(|at| !self.is_elsewhere && *at > now);
        };
        if self.outcome.is_some() || self.has_closed() {
            return None;
        }
        let interval = |every: Duration| {
            let every = every.as_nanos().max(1) as u64;
            let passed = now.saturating_duration_since(since).as_nanos() as u64;
            since + Duration::from_nanos((passed / every + 1) * every)
        };
        let sends = match &self.plan.sends {
            Sends::Drip { every, total, .. } if self.written(now) < *total => Some(interval(*every)),
            Sends::Steps(steps) => steps.iter().map(|(at, _)| since + *at).filter(|at| *at > now).min(),
            _ => None,
        };
        let reads = match self.plan.reads {
            Reads::After(time) => Some(since + time),
            Reads::Drip(_, every) if !self.inbox.is_empty() => Some(interval(every)),
            Reads::Until(time, _) if now < since + time => Some(interval(SECOND)),
            _ => None,
        };
        let leaves = match self.plan.leaves {
            Leaves::HalfClosesAfter(time) | Leaves::After(time) | Leaves::ResetsAfter(time) => {
                Some(since + time)
            }
            _ => None,
        };
        [sends, reads, leaves].into_iter().flatten().filter(|at| *at > now).min()
    }
}

const SECOND: Duration = Duration::from_secs(1);
