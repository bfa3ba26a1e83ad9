//! One direction of a serial line: each byte takes the time of ten bits.
//!
//! The times are computed from the beginning of each busy period in whole numbers, so that they are exact
//! to the nanosecond however long it lasts. Rate 0 is a line without delay.

use std::time::{Duration, Instant};

use crate::queue::Queue;

/// One direction of a line.
#[derive(Clone, Debug)]
pub struct Line {
    baud: u32,
    limit_bytes: usize,
    bytes: Queue,
    /// How many bytes at the front had arrived before the busy period.
    ready: usize,
    /// Since when bytes follow each other without a gap.
    busy_since: Option<Instant>,
    /// Bytes of the busy period that were taken off the line.
    consumed: u64,
}

impl Line {
    /// A line of this many baud, where 0 means without delay. It holds at most `limit_bytes`, in transit and
    /// arrived together.
    pub fn new(baud: u32, limit_bytes: usize) -> Line {
        Line { baud, limit_bytes, bytes: Queue::default(), ready: 0, busy_since: None, consumed: 0 }
    }

    /// Changes the speed for what has not arrived by now and for what is pushed later; a byte in the middle
    /// of its transmission begins again.
    pub fn set_baud(&mut self, baud: u32, now: Instant) {
        if baud != self.baud {
            self.begin_busy_period(now);
            self.baud = baud;
        }
    }

    /// Starts the transmission of bytes and returns how many there was room for.
    pub fn push(&mut self, bytes: &[u8], now: Instant) -> usize {
        let count = bytes.len().min(self.room());
        if count == 0 {
            return 0;
        }
        if self.transmitter_idle(now) {
            self.begin_busy_period(now);
        }
        self.bytes.push(&bytes[..count]);
        count
    }

    /// How many more bytes can be pushed.
    pub fn room(&self) -> usize {
        self.limit_bytes.saturating_sub(self.bytes.len())
    }

    /// The bytes that have arrived and were not taken off yet.
    pub fn arrived(&self, now: Instant) -> &[u8] {
        &self.bytes.as_slice()[..self.arrived_count(now)]
    }

    /// Takes arrived bytes off the line.
    pub fn consume(&mut self, count: usize) {
        let count = self.bytes.consume(count);
        let ready = count.min(self.ready);
        self.ready -= ready;
        self.consumed += (count - ready) as u64;
    }

    /// When the next byte arrives; `None` when nothing is in transit at `now`.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let arrived = self.arrived_count(now);
        if arrived == self.bytes.len() { None } else { self.deadline_for(arrived + 1) }
    }

    /// When `count` bytes, or all if there are fewer, will have arrived at the end of the line; `None` when it
    /// is empty. The time can lie in the past. With it a caller need not wake up for every byte.
    pub fn deadline_for(&self, count: usize) -> Option<Instant> {
        let count = count.min(self.bytes.len()).saturating_sub(self.ready) as u64;
        let since = self.busy_since.filter(|_| !self.bytes.is_empty())?;
        Some(since + duration(self.consumed + count, self.baud))
    }

    /// Whether nothing is in transit and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn begin_busy_period(&mut self, now: Instant) {
        self.ready = self.arrived_count(now);
        self.consumed = 0;
        self.busy_since = Some(now);
    }

    /// Whether the end of the last byte has passed.
    fn transmitter_idle(&self, now: Instant) -> bool {
        let in_period = self.consumed + (self.bytes.len() - self.ready) as u64;
        self.busy_since.is_none_or(|since| since + duration(in_period, self.baud) <= now)
    }

    fn arrived_count(&self, now: Instant) -> usize {
        let Some(since) = self.busy_since else { return 0 };
        let transmitted = transmitted(now.saturating_duration_since(since), self.baud);
        let arrived = usize::try_from(transmitted.saturating_sub(self.consumed)).unwrap_or(usize::MAX);
        self.ready + arrived.min(self.bytes.len() - self.ready)
    }
}

/// How long the transmission of these bytes takes, rounded up to the nanosecond.
fn duration(bytes: u64, baud: u32) -> Duration {
    if baud == 0 {
        return Duration::ZERO;
    }
    let nanoseconds = (u128::from(bytes) * NANOSECONDS_BITS).div_ceil(u128::from(baud));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// How many whole bytes were transmitted in that time.
fn transmitted(time: Duration, baud: u32) -> u64 {
    if baud == 0 {
        return u64::MAX;
    }
    u64::try_from(time.as_nanos() * u128::from(baud) / NANOSECONDS_BITS).unwrap_or(u64::MAX)
}

/// Nanoseconds in a second times the ten bits of a byte: start, eight, stop.
const NANOSECONDS_BITS: u128 = 10_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    #[test]
    fn a_byte_arrives_after_ten_bits_and_not_a_nanosecond_before() {
        let mut line = Line::new(115_200, 100);
        line.push(b"ab", start());
        let first = start() + Duration::from_nanos(86_806);
        assert_eq!(line.next_deadline(start()), Some(first));
        assert_eq!(line.arrived(first - Duration::from_nanos(1)), b"");
        assert_eq!(line.arrived(first), b"a");
        assert_eq!(line.next_deadline(first), Some(start() + Duration::from_nanos(173_612)));
    }

    #[test]
    fn a_thousand_seconds_of_traffic_do_not_drift() {
        let mut line = Line::new(115_200, 1_000);
        let mut now = start();
        let mut sent = 0u64;
        let mut arrived = 0u64;
        while arrived < 11_520_000 {
            sent += line.push(&[0; 700], now) as u64;
            now = line.deadline_for(350).expect("bytes were pushed");
            let count = line.arrived(now).len();
            line.consume(count);
            arrived += count as u64;
        }
        assert_eq!(now - start(), duration(arrived, 115_200));
        assert!(sent >= arrived);
    }

    #[test]
    fn a_line_that_was_idle_starts_anew() {
        let mut line = Line::new(9_600, 100);
        line.push(b"a", start());
        let later = start() + Duration::from_secs(5);
        line.push(b"b", later);
        assert_eq!(line.arrived(later), b"a");
        assert_eq!(line.arrived(later + duration(1, 9_600)), b"ab");
        line.consume(1);
        assert_eq!(line.arrived(later + duration(1, 9_600)), b"b");
    }

    #[test]
    fn what_does_not_fit_is_not_taken() {
        let mut line = Line::new(0, 3);
        assert_eq!(line.push(b"abcd", start()), 3);
        assert_eq!(line.arrived(start()), b"abc");
        assert_eq!(line.next_deadline(start()), None);
        line.consume(2);
        assert_eq!(line.push(b"d", start()), 1);
        assert_eq!(line.arrived(start()), b"cd");
    }

    #[test]
    fn a_change_of_speed_keeps_what_has_arrived() {
        let mut line = Line::new(9_600, 100);
        line.push(b"abcd", start());
        let now = start() + duration(2, 9_600);
        line.set_baud(115_200, now);
        assert_eq!(line.arrived(now), b"ab");
        assert_eq!(line.arrived(now + duration(2, 115_200)), b"abcd");
    }
}
