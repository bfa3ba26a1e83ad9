//! What has happened on a modem since the start, for status and statistics.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::failure::OpenFailure;

/// Counts since the start; bytes are payload unless they are called wire bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sockets opened.
    pub opens: u64,
    /// Opens that failed, by the cause in words.
    pub open_failures: BTreeMap<String, u64>,
    /// Payload bytes that the module has taken.
    pub sent_bytes: u64,
    /// Payload bytes that have come.
    pub received_bytes: u64,
    /// Bytes written to ports.
    pub wire_bytes_out: u64,
    /// Bytes read from ports.
    pub wire_bytes_in: u64,
    /// SEND FAIL answers.
    pub send_fails: u64,
    /// How often a channel had to be brought back.
    pub resyncs: u64,
    /// Reboots of the module that were seen.
    pub reboots: u64,
    /// The durations of the last opens, oldest first, at most [`OPEN_TIMES_MAX`].
    open_times: Vec<Duration>,
}

impl Counters {
    pub(super) fn opened(&mut self, took: Duration) {
        self.opens += 1;
        if self.open_times.len() == OPEN_TIMES_MAX {
            self.open_times.remove(0);
        }
        self.open_times.push(took);
    }

    pub(super) fn open_failed(&mut self, failure: &OpenFailure) {
        let cause = failure.in_short();
        if self.open_failures.len() < FAILURE_CAUSES_MAX || self.open_failures.contains_key(&cause) {
            *self.open_failures.entry(cause).or_default() += 1;
        }
    }

    /// The time that this share (0–1) of the last opens took at most; `None` before the first.
    pub fn open_time(&self, share: f64) -> Option<Duration> {
        let mut times = self.open_times.clone();
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        times.get((last as f64 * share.clamp(0.0, 1.0)).round() as usize).copied()
    }
}

/// How many opens the quantiles are taken from.
pub const OPEN_TIMES_MAX: usize = 64;

/// How many causes of failure are told apart.
const FAILURE_CAUSES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_last_opens() {
        let mut counters = Counters::default();
        assert_eq!(counters.open_time(0.5), None);
        for seconds in 0..100 {
            counters.opened(Duration::from_secs(seconds));
        }
        assert_eq!(counters.open_time(0.0), Some(Duration::from_secs(36)));
        assert_eq!(counters.open_time(1.0), Some(Duration::from_secs(99)));
        assert_eq!(counters.opens, 100);
    }
}
