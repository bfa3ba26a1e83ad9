//! Which port's URCs count for a socket, and how many of its bytes each port has carried.

use std::time::{Duration, Instant};

/// Which port's URCs count for a socket, and how many of its bytes each port has carried.
#[derive(Debug, Default)]
pub struct Listening {
    /// The channel by which the module last pushed bytes of it; before that, the one where they are expected.
    port: Option<usize>,
    /// The bytes that each channel has carried since the socket was opened, copies included.
    carried: Vec<u64>,
    /// The channels, a bit each, that were streams meanwhile: what was pushed then has not come by them.
    lacking: u32,
    /// When the first of them came.
    since: Option<Instant>,
    /// The channels by which any URC of it has come, a bit each, and when the first did.
    spoke: u32,
    spoke_at: Option<Instant>,
    /// Another channel has carried more than this one: what comes there may be no copy.
    behind: Option<Behind>,
}

/// Another port is ahead of the one that is listened to. Ports that carry copies are seldom equally far, so what counts
/// is how long the same bytes take to arrive here as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The bytes that the other port had carried.
    bytes: u64,
    /// When they had come.
    pub since: Instant,
}

/// What the next bytes of another port are, once the port that was listened to carries no URCs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// The next bytes.
    Next,
    /// Bytes that have come already.
    Copy,
    /// Later bytes, perhaps: those before them were taken for copies, or have not come at all, and are lost.
    Gap,
}

impl Listening {
    /// The channel whose URCs count; `None`: any.
    pub fn port(&self) -> Option<usize> {
        self.port
    }

    /// The URCs of a new socket are expected on this channel, while these, a bit each, are streams.
    pub fn expect(&mut self, port: Option<usize>, streams: u32) {
        *self = Listening { port, lacking: streams, ..Listening::default() };
    }

    /// All that was pushed by the channel `before` has been read, and what follows comes by `port`.
    pub fn moved(&mut self, before: usize, port: usize) {
        if self.port == Some(before) {
            self.expect(Some(port), self.lacking);
        }
    }

    /// This channel is a stream: what is pushed meanwhile does not come by it.
    pub fn is_left_out_on(&mut self, port: usize) {
        self.lacking |= 1 << port;
    }

    /// Whether what comes by this channel, which is not the one that is listened to, may not be the next bytes.
    pub fn lacks(&self, port: usize) -> bool {
        self.lacking & (1 << port) != 0 && self.port != Some(port)
    }

    /// `bytes` bytes come by this channel. `counts`: they are no copy of what comes by another.
    pub fn pushed(&mut self, port: usize, bytes: usize, counts: bool, now: Instant) {
        if counts && bytes > 0 {
            self.port = Some(port);
        }
        self.spoke |= 1 << port;
        self.spoke_at.get_or_insert(now);
        if bytes > 0 {
            self.since.get_or_insert(now);
        }
        if self.carried.len() <= port {
            self.carried.resize(port + 1, 0);
        }
        self.carried[port] = self.carried[port].saturating_add(bytes as u64);
        let (counted, most) = (self.bytes(), self.carried.iter().copied().max().unwrap_or(0));
        self.behind = match self.behind {
            Some(behind) if counted < behind.bytes => Some(behind),
            _ => (counted < most).then_some(Behind { bytes: most, since: now }),
        };
    }

    /// Whether this channel has carried nothing until so long after the first bytes that what comes there is no copy.
    pub fn are_late_copies(&self, port: usize, now: Instant) -> bool {
        let carried = self.carried.get(port).copied().unwrap_or(0);
        carried == 0 && self.since.is_some_and(|since| since + COPIES_MAX < now)
    }

    /// Whether no URC has come by this channel until so long after the first one that it carries no copies.
    pub fn is_left_out(&self, port: usize, now: Instant) -> bool {
        self.spoke & (1 << port) == 0 && self.spoke_at.is_some_and(|first| first + COPIES_MAX < now)
    }

    /// What the next bytes on this channel are, where every channel carries the same.
    pub fn takeover(&self, port: usize) -> Takeover {
        if self.lacks(port) {
            return Takeover::Gap;
        }
        let carried = self.carried.get(port).copied().unwrap_or(0);
        match carried.cmp(&self.bytes()) {
            std::cmp::Ordering::Equal => Takeover::Next,
            std::cmp::Ordering::Less => Takeover::Copy,
            std::cmp::Ordering::Greater => Takeover::Gap,
        }
    }

    /// The bytes that have come by the channel that is listened to.
    pub fn bytes(&self) -> u64 {
        self.port.and_then(|port| self.carried.get(port)).copied().unwrap_or(0)
    }

    /// Another port has carried more than the one that is listened to.
    pub fn behind(&self) -> Option<Behind> {
        self.behind
    }

    /// The missing bytes may wait in the port, which is not read: the time for them begins anew.
    pub fn waits_for_port(&mut self, now: Instant) {
        self.behind = self.behind.map(|behind| Behind { since: now, ..behind });
    }

    /// The missing bytes are not waited for any more.
    pub fn give_up(&mut self) {
        self.behind = None;
    }
}

/// Copies begin to come by the other ports within this time.
const COPIES_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    #[test]
    fn another_port_takes_over_at_the_byte_at_which_the_first_one_ceased() {
        let mut listening = Listening::default();
        listening.expect(Some(0), 0);
        listening.pushed(0, 100, true, now());
        for (carried, next) in
            [(0, Takeover::Copy), (60, Takeover::Copy), (40, Takeover::Next), (1, Takeover::Gap)]
        {
            listening.pushed(1, carried, false, now());
            assert_eq!(listening.takeover(1), next, "{listening:?}");
        }
    }

    #[test]
    fn a_port_is_left_out_when_others_have_spoken_for_long() {
        let (start, later) = (now(), now() + Duration::from_secs(3));
        let mut listening = Listening::default();
        listening.expect(Some(0), 0);
        assert!(!listening.is_left_out(1, later), "nothing has come at all");
        listening.pushed(0, 0, true, start);
        assert!(!listening.is_left_out(1, start), "a copy may still come");
        assert!(listening.is_left_out(1, later));
        listening.pushed(1, 0, false, start);
        assert!(!listening.is_left_out(1, later));
    }

    #[test]
    fn a_port_is_behind_when_it_does_not_carry_what_another_had_carried() {
        let start = now();
        let at = |step| start + Duration::from_millis(100) * step;
        let mut listening = Listening::default();
        listening.expect(Some(1), 0);
        let late = |listening: &Listening, now| {
            listening.behind().is_some_and(|behind| now >= behind.since + Duration::from_secs(5))
        };
        // Always three bytes later than the other, for 20 s.
        for step in 0..200 {
            listening.pushed(0, 1, false, at(step));
            listening.pushed(1, usize::from(step >= 3), true, at(step));
            assert!(!late(&listening, at(step)), "after {step} steps");
        }
        assert!(listening.behind().is_some());
        // The last three are lost.
        assert!(late(&listening, at(260)));
        listening.pushed(1, 3, true, at(261));
        assert!(listening.behind().is_none());
        listening.moved(1, 0);
        assert_eq!((listening.port(), listening.bytes()), (Some(0), 0));
    }
}
