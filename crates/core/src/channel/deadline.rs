//! A deadline that what comes in meanwhile may put off, but not for ever.
//!
//! An answer that comes after other bytes on a slow line is not late. Such bytes count for the time that they
//! needed on the line, never for more than the time that has passed, and there is a hard limit for all of it:
//! a module that sends without pause and has lost the answer is noticed.

use std::time::{Duration, Instant};

/// When something counts as missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    due: Instant,
    /// It is not put off beyond this.
    latest: Instant,
    /// Time before this has been counted.
    counted: Instant,
}

impl Deadline {
    /// In `wait` from now; other bytes on the line can put it off by `delay_max` in all.
    pub fn new(wait: Duration, delay_max: Duration, now: Instant) -> Self {
        let due = now + wait;
        Deadline { due, latest: due + delay_max, counted: now }
    }

    /// When it passes.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// When it passes whatever else comes.
    pub fn latest(&self) -> Instant {
        self.latest
    }

    /// Something has come that kept the line busy for `line_time`.
    pub fn line_was_busy(&mut self, line_time: Duration, now: Instant) {
        let passed = now.saturating_duration_since(self.counted);
        self.counted = now;
        self.due = (self.due + line_time.min(passed)).min(self.latest);
    }

    /// It begins anew, in `wait` from now, under the same limit.
    pub fn renew(&mut self, wait: Duration, now: Instant) {
        self.due = (now + wait).min(self.latest);
    }

    /// So much time does not count, as the host did not read.
    pub fn stood_still(&mut self, time: Duration) {
        self.due += time;
        self.latest += time;
        self.counted += time;
    }
}

/// By how much other bytes on the line can put off the answer to a command, and the rest of announced
/// payload: what a module has ready to send takes no longer, at any speed.
pub const LINE_BUSY_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_line_puts_it_off_by_time_that_has_passed_and_not_beyond_the_limit() {
        let start = now();
        let mut deadline = Deadline::new(5 * SECOND, 30 * SECOND, start);
        deadline.line_was_busy(100 * SECOND, start + SECOND);
        assert_eq!(deadline.due(), start + 6 * SECOND, "one second has passed");
        deadline.line_was_busy(SECOND, start + 3 * SECOND);
        assert_eq!(deadline.due(), start + 7 * SECOND, "the line was idle for one second of two");
        for second in 4..100 {
            deadline.line_was_busy(SECOND, start + second * SECOND);
        }
        assert_eq!(deadline.due(), start + 35 * SECOND);
        deadline.stood_still(7 * SECOND);
        assert_eq!(deadline.due(), start + 42 * SECOND, "what was not read cannot have come");
    }
}
