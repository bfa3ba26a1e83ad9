//! Far ends of simulated connections: what they read, what they send, and how they end, as plain data.

use std::time::{Duration, Instant};

/// The other end of a simulated connection. It keeps only its own timing: the network calls it at the times
/// that matter.
pub trait FarEnd: Send {
    /// The connection is up.
    fn opened(&mut self, now: Instant);
    /// How many bytes it can read now.
    fn wants(&self, now: Instant) -> usize;
    /// Bytes that it wanted.
    fn received(&mut self, bytes: &[u8], now: Instant);
    /// What it sends now, at most `room` bytes.
    fn send(&mut self, room: usize, now: Instant) -> Vec<u8>;
    /// Whether it ends the connection after what it sent.
    fn ending(&self, now: Instant) -> Option<Ending>;
    /// When it next does something without input, later than now.
    fn next_deadline(&self, now: Instant) -> Option<Instant>;
}

/// How a server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// close_notify and FIN.
    Closed,
    /// Reset, or an end without close_notify.
    Cut,
}

/// A server as plain data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// What it reads.
    pub reads: Reads,
    /// What it sends.
    pub says: Says,
    /// When it ends the connection.
    pub ends: Ends,
    /// How it does so.
    pub how: Ending,
}

/// What a server reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Everything.
    All,
    /// Nothing, ever.
    Nothing,
    /// This many bytes each time the interval has passed.
    Drip {
        /// Bytes each time.
        bytes: usize,
        /// The interval.
        every: Duration,
    },
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// Nothing.
    Nothing,
    /// What it reads.
    Echo,
    /// These bytes, once, as soon as the connection is up.
    Text(Vec<u8>),
    /// These bytes, at these times after the connection came up, in order.
    Steps(Vec<(Duration, Vec<u8>)>),
    /// The first bytes of the pattern of a seed, as fast as they are taken.
    Pattern {
        /// How many.
        bytes: u64,
        /// Which pattern.
        seed: u64,
    },
    /// A part of the pattern each time the interval has passed.
    Drip {
        /// Bytes each time.
        bytes: u64,
        /// The interval.
        every: Duration,
        /// How many in all.
        total: u64,
        /// Which pattern.
        seed: u64,
    },
    /// A response from the pattern for each request of this many bytes, some time later.
    Reply {
        /// Size of a request.
        request_bytes: u64,
        /// Size of its response.
        response_bytes: u64,
        /// From the request's last byte to the response.
        after: Duration,
        /// Which pattern; it goes on from one response to the next.
        seed: u64,
    },
}

/// When a server ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Never by itself.
    Never,
    /// When it has read this many bytes, and sent its answers to them.
    AfterReading(u64),
    /// When it has sent this many bytes.
    AfterSaying(u64),
    /// This long after the connection came up.
    After(Duration),
}

impl Behaviour {
    /// Reads everything and sends nothing.
    pub fn sink() -> Behaviour {
        Behaviour { reads: Reads::All, says: Says::Nothing, ends: Ends::Never, how: Ending::Closed }
    }

    /// Sends what it reads.
    pub fn echo() -> Behaviour {
        Behaviour { says: Says::Echo, ..Behaviour::sink() }
    }

    /// Sends this many bytes of a pattern and closes.
    pub fn source(bytes: u64, seed: u64) -> Behaviour {
        let says = Says::Pattern { bytes, seed };
        Behaviour { says, ends: Ends::AfterSaying(bytes), ..Behaviour::sink() }
    }

    /// Never reads.
    pub fn deaf() -> Behaviour {
        Behaviour { reads: Reads::Nothing, ..Behaviour::sink() }
    }

    /// Starts a server with this behaviour.
    pub fn start(self) -> Box<dyn FarEnd> {
        let text = match &self.says {
            Says::Text(text) => text.clone(),
            Says::Steps(steps) => steps.iter().flat_map(|(_, bytes)| bytes.clone()).collect(),
            _ => Vec::new(),
        };
        Box::new(Actor {
            behaviour: self,
            opened_at: None,
            read: 0,
            said: 0,
            to_say: text,
            replies: Vec::new(),
        })
    }
}

/// The byte of a pattern at an offset. Each seed has its own pattern, which never repeats in practice.
pub fn pattern_byte(seed: u64, offset: u64) -> u8 {
    // splitmix64 of the block of eight bytes that the offset lies in.
    let mut block = seed.wrapping_add((offset / 8).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    block = (block ^ (block >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    block = (block ^ (block >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    block ^= block >> 31;
    block.to_le_bytes()[(offset % 8) as usize]
}

/// A part of a pattern.
pub fn pattern(seed: u64, offset: u64, count: usize) -> Vec<u8> {
    (offset..).take(count).map(|offset| pattern_byte(seed, offset)).collect()
}

/// A server that follows a behaviour.
struct Actor {
    behaviour: Behaviour,
    opened_at: Option<Instant>,
    read: u64,
    said: u64,
    /// Echo and text that wait for room; echo is bounded because nothing more is read meanwhile.
    to_say: Vec<u8>,
    /// Times, and how many bytes of the pattern may have been sent in all from each on.
    replies: Vec<(Instant, u64)>,
}

impl Actor {
    /// How many intervals have passed since the connection came up.
    fn intervals(&self, every: Duration, now: Instant) -> u64 {
        let Some(opened_at) = self.opened_at else { return 0 };
        let passed = now.saturating_duration_since(opened_at).as_nanos();
        u64::try_from(passed / every.as_nanos().max(1)).unwrap_or(u64::MAX)
    }

    fn next_interval(&self, every: Duration, now: Instant) -> Option<Instant> {
        let next = u128::from(self.intervals(every, now)) + 1;
        let nanoseconds = u64::try_from(every.as_nanos().max(1) * next).ok()?;
        self.opened_at.map(|opened_at| opened_at + Duration::from_nanos(nanoseconds))
    }

    /// How many bytes of its pattern or its steps it may have sent by now, in all.
    fn allowed(&self, now: Instant) -> u64 {
        match &self.behaviour.says {
            Says::Steps(steps) => {
                let is_due = |at: Duration| self.opened_at.is_some_and(|opened_at| now >= opened_at + at);
                let due = steps.iter().filter(|(at, _)| is_due(*at));
                due.map(|(_, bytes)| bytes.len() as u64).sum()
            }
            Says::Nothing | Says::Echo | Says::Text(_) => 0,
            Says::Pattern { bytes, .. } => *bytes,
            Says::Drip { bytes, every, total, .. } => {
                self.intervals(*every, now).saturating_mul(*bytes).min(*total)
            }
            Says::Reply { .. } => {
                let due = self.replies.iter().filter(|(at, _)| *at <= now);
                due.map(|(_, allowed)| *allowed).max().unwrap_or(0)
            }
        }
    }

    fn is_silent(&self, now: Instant) -> bool {
        let replies_due = self.replies.last().map_or(0, |(_, allowed)| *allowed);
        self.to_say.is_empty() && self.said >= self.allowed(now).max(replies_due)
    }
}

impl FarEnd for Actor {
    fn opened(&mut self, now: Instant) {
        self.opened_at = Some(now);
    }

    fn wants(&self, now: Instant) -> usize {
        match self.behaviour.reads {
            // Nothing more is read while an echo waits to be sent.
            _ if self.behaviour.says == Says::Echo && !self.to_say.is_empty() => 0,
            Reads::All => usize::MAX,
            Reads::Nothing => 0,
            Reads::Drip { bytes, every } => {
                let allowed = self.intervals(every, now).saturating_mul(bytes as u64);
                usize::try_from(allowed.saturating_sub(self.read)).unwrap_or(usize::MAX)
            }
        }
    }

    fn received(&mut self, bytes: &[u8], now: Instant) {
        let before = self.read;
        self.read += bytes.len() as u64;
        match &self.behaviour.says {
            Says::Echo => self.to_say.extend_from_slice(bytes),
            Says::Reply { request_bytes, response_bytes, after, .. } => {
                let requests = self.read / (*request_bytes).max(1);
                if requests > before / (*request_bytes).max(1) {
                    // Entries that have been sent in full are no longer needed.
                    let said = self.said;
                    self.replies.retain(|(_, allowed)| *allowed > said);
                    self.replies.push((now + *after, requests.saturating_mul(*response_bytes)));
                }
            }
            _ => {}
        }
    }

    fn send(&mut self, room: usize, now: Instant) -> Vec<u8> {
        if !self.to_say.is_empty() {
            let count = match self.behaviour.says {
                Says::Steps(_) => room.min(self.allowed(now).saturating_sub(self.said) as usize),
                _ => room.min(self.to_say.len()),
            };
            self.said += count as u64;
            return self.to_say.drain(..count).collect();
        }
        let seed = match &self.behaviour.says {
            Says::Pattern { seed, .. } | Says::Drip { seed, .. } | Says::Reply { seed, .. } => *seed,
            Says::Nothing | Says::Echo | Says::Text(_) | Says::Steps(_) => return Vec::new(),
        };
        let count = self.allowed(now).saturating_sub(self.said).min(room as u64);
        let bytes = pattern(seed, self.said, count as usize);
        self.said += count;
        bytes
    }

    fn ending(&self, now: Instant) -> Option<Ending> {
        let over = match self.behaviour.ends {
            Ends::Never => false,
            Ends::AfterReading(bytes) => self.read >= bytes && self.is_silent(now),
            Ends::AfterSaying(bytes) => self.said >= bytes,
            Ends::After(time) => self.opened_at.is_some_and(|opened_at| now >= opened_at + time),
        };
        over.then_some(self.behaviour.how)
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let reads = match self.behaviour.reads {
            Reads::Drip { every, .. } => self.next_interval(every, now),
            Reads::All | Reads::Nothing => None,
        };
        let says = match &self.behaviour.says {
            Says::Drip { every, total, .. } if self.said < *total => self.next_interval(*every, now),
            Says::Steps(steps) => {
                let times =
                    steps.iter().filter_map(|(at, _)| self.opened_at.map(|opened_at| opened_at + *at));
                times.filter(|at| *at > now).min()
            }
            Says::Reply { .. } => self.replies.iter().map(|(at, _)| *at).filter(|at| *at > now).min(),
            _ => None,
        };
        let ends = match (self.behaviour.ends, self.opened_at) {
            (Ends::After(time), Some(opened_at)) => Some(opened_at + time).filter(|at| *at > now),
            _ => None,
        };
        [reads, says, ends].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    #[test]
    fn a_pattern_can_be_read_from_any_offset() {
        let whole = pattern(7, 0, 100);
        assert_eq!(pattern(7, 13, 40), whole[13..53]);
        assert_ne!(pattern(8, 0, 100), whole);
    }

    #[test]
    fn a_reply_follows_each_complete_request_after_its_time() {
        let second = Duration::from_secs(1);
        let says = Says::Reply { request_bytes: 10, response_bytes: 3, after: second, seed: 1 };
        let mut far = Behaviour { says, ..Behaviour::sink() }.start();
        far.opened(start());
        far.received(&[0; 19], start());
        assert_eq!(far.send(100, start()), b"");
        assert_eq!(far.next_deadline(start()), Some(start() + second));
        far.received(&[0; 1], start() + second / 2);
        assert_eq!(far.send(100, start() + second), pattern(1, 0, 3));
        assert_eq!(far.send(100, start() + second * 2), pattern(1, 3, 3));
    }

    #[test]
    fn a_drip_says_no_more_than_its_intervals_allow() {
        let says = Says::Drip { bytes: 4, every: Duration::from_secs(1), total: 6, seed: 1 };
        let mut far = Behaviour { says, ends: Ends::AfterSaying(6), ..Behaviour::sink() }.start();
        far.opened(start());
        assert_eq!(far.send(100, start()), b"");
        assert_eq!(far.send(100, start() + Duration::from_secs(1)).len(), 4);
        assert_eq!(far.ending(start() + Duration::from_secs(1)), None);
        assert_eq!(far.send(100, start() + Duration::from_secs(9)).len(), 2);
        assert_eq!(far.ending(start() + Duration::from_secs(9)), Some(Ending::Closed));
    }
}
