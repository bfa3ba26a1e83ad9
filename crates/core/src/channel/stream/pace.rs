//! How far ahead of its line a stream is written on a device server.
//!
//! A tty takes some kilobytes and then no more. A connection to a device server takes megabytes, all of which still go
//! to the modem after it has rebooted, as commands. So no more is written than the line carries in [`AHEAD`], by its
//! speed and by what the port knows to be on its way.

use std::time::{Duration, Instant};

/// The allowance of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bits per second.
    baud: u32,
    /// When everything written has left the line, if it carries as much as its speed promises.
    free_at: Instant,
    /// What may be written, in bytes.
    room: usize,
    asked_at: Instant,
}

impl Pace {
    /// Nothing is on its way to a line of this speed.
    pub fn new(baud: u32, now: Instant) -> Self {
        let mut pace = Pace { baud, free_at: now, room: 0, asked_at: now };
        pace.room = pace.window();
        pace
    }

    /// The speed of the line, in bits per second.
    pub fn baud(&self) -> u32 {
        self.baud
    }

    /// When everything written has left the line, by its speed.
    pub fn free_at(&self) -> Instant {
        self.free_at
    }

    /// How many of `count` bytes may be written: all of them, or at least a piece of useful size.
    pub fn allows(&self, count: usize) -> usize {
        if self.room < count.min(self.piece()) { 0 } else { self.room.min(count) }
    }

    /// `count` bytes were written.
    pub fn written(&mut self, count: usize, now: Instant) {
        self.room = self.room.saturating_sub(count);
        self.free_at = self.free_at.max(now) + self.time_of(count);
    }

    /// When the port is to be asked what is on its way, for more to be written.
    pub fn due(&self) -> Instant {
        let ahead = self.time_of(self.window() - self.piece());
        let by_speed = self.free_at.checked_sub(ahead).unwrap_or(self.asked_at);
        by_speed.max(self.asked_at + self.time_of(self.piece()))
    }

    /// The port is being asked.
    pub fn asked(&mut self, now: Instant) {
        self.asked_at = now;
    }

    /// The port knows of `bytes` bytes on their way; there may be more where it cannot see them.
    pub fn queue_answered(&mut self, bytes: usize, now: Instant) {
        let by_speed = self.bytes_in(self.free_at.saturating_duration_since(now));
        self.room = self.window().saturating_sub(bytes.max(by_speed));
    }

    /// The most that may be on its way, in bytes.
    fn window(&self) -> usize {
        self.bytes_in(AHEAD).clamp(AHEAD_MIN_BYTES, AHEAD_MAX_BYTES)
    }

    /// The smallest piece that is written: no wake-up for a single byte, and more than a run of `+` that may be held
    /// back.
    fn piece(&self) -> usize {
        (self.window() / PIECES).max(PIECE_MIN_BYTES)
    }

    fn time_of(&self, bytes: usize) -> Duration {
        Duration::from_micros(bytes as u64 * 10_000_000 / u64::from(self.baud.max(1)))
    }

    fn bytes_in(&self, time: Duration) -> usize {
        let bytes = time.as_micros() * u128::from(self.baud) / 10_000_000;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// The line needs at most this long for what is on its way to the modem.
const AHEAD: Duration = Duration::from_millis(500);
/// The least and the most that may be on its way. Less than is kept of what was sent, so that an echo of all of it is
/// recognised.
const AHEAD_MIN_BYTES: usize = 128;
const AHEAD_MAX_BYTES: usize = 16 * 1024;

/// The window is written in this many pieces.
const PIECES: usize = 10;
const PIECE_MIN_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    /// What is written in `seconds` to a line that carries this many bytes per second, and the most that
    /// is ahead.
    fn write(baud: u32, carries: u64, seconds: u64, port_knows: bool) -> (u64, u64) {
        let start = now();
        let (mut pace, mut at) = (Pace::new(baud, start), start);
        let (mut written, mut most_ahead) = (0, 0);
        while at < start + Duration::from_secs(seconds) {
            let count = pace.allows(1_000_000);
            pace.written(count, at);
            written += count as u64;
            let carried = (at - start).as_micros() as u64 * carries / 1_000_000;
            let ahead = written.saturating_sub(carried);
            most_ahead = most_ahead.max(ahead);
            if count == 0 {
                at = at.max(pace.due());
                pace.asked(at);
                let carried = (at - start).as_micros() as u64 * carries / 1_000_000;
                let ahead = written.saturating_sub(carried);
                pace.queue_answered(if port_knows { ahead as usize } else { 0 }, at);
            }
        }
        (written, most_ahead)
    }

    #[test]
    fn a_line_is_kept_busy_and_never_more_than_half_a_second_ahead() {
        for baud in [300, 9_600, 115_200, 921_600, 8_000_000] {
            let carries = u64::from(baud / 10);
            for port_knows in [false, true] {
                let (written, ahead) = write(baud, carries, 20, port_knows);
                assert!(written >= carries * 20, "{baud}: {written}");
                assert!(ahead <= (carries / 2).max(128) + 1, "{baud}: {ahead}");
            }
        }
    }

    #[test]
    fn a_line_that_carries_less_than_its_speed_gets_no_more_ahead_where_the_port_knows() {
        for carries in [0, 100, 5_000] {
            let (written, ahead) = write(115_200, carries, 20, true);
            assert!(ahead <= 5_760, "{ahead}");
            assert!(written >= carries * 20);
        }
    }
}
