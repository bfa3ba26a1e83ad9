//! What has happened on a modem since the start, for status and statistics.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::failure::OpenFailure;

/// Counts since the start.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Counters {
    /// Connections opened.
    pub opens: u64,
    /// Opens that failed, by their cause.
    pub open_failures: BTreeMap<String, u64>,
    /// How long opens took, of the last 64: median, 90th percentile and maximum.
    pub open_seconds: Option<[f64; 3]>,
    /// Payload that the module has taken.
    pub sent_bytes: u64,
    /// Payload received.
    pub received_bytes: u64,
    /// Everything written to ports.
    pub wire_bytes_out: u64,
    /// Everything read from ports.
    pub wire_bytes_in: u64,
    /// SEND FAIL answers.
    pub send_fails: u64,
    /// How often a port had to be resynchronised.
    pub resyncs: u64,
    /// How often a port was opened.
    pub port_opens: u64,
    /// Reboots of the module that were seen.
    pub reboots: u64,
}

/// Those of another modem are added. How long opens took cannot be.
impl std::ops::AddAssign<&Counters> for Counters {
    fn add_assign(&mut self, other: &Counters) {
        for (cause, count) in &other.open_failures {
            *self.open_failures.entry(cause.clone()).or_default() += count;
        }
        self.open_seconds = None;
        for (sum, more) in [
            (&mut self.opens, other.opens),
            (&mut self.sent_bytes, other.sent_bytes),
            (&mut self.received_bytes, other.received_bytes),
            (&mut self.wire_bytes_out, other.wire_bytes_out),
            (&mut self.wire_bytes_in, other.wire_bytes_in),
            (&mut self.send_fails, other.send_fails),
            (&mut self.resyncs, other.resyncs),
            (&mut self.port_opens, other.port_opens),
            (&mut self.reboots, other.reboots),
        ] {
            *sum += more;
        }
    }
}

impl Counters {
    pub(super) fn open_failed(&mut self, failure: &OpenFailure) {
        let cause = failure.in_short();
        if self.open_failures.len() < FAILURE_CAUSES_MAX || self.open_failures.contains_key(&cause) {
            *self.open_failures.entry(cause).or_default() += 1;
        }
    }
}

/// The durations of the last opens, oldest first, at most [`OPEN_TIMES_MAX`].
#[derive(Debug, Default)]
pub(super) struct OpenTimes(VecDeque<Duration>);

impl OpenTimes {
    /// One more took this long: what half of the last took at most, what nine tenths, and what all, in seconds.
    pub fn add(&mut self, took: Duration) -> [f64; 3] {
        if self.0.len() == OPEN_TIMES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(took);
        let mut times = Vec::from(self.0.clone());
        crate::sort_few(&mut times, |one, other| one < other);
        let last = times.len() - 1;
        [0.5, 0.9, 1.0].map(|share| times[(last as f64 * share).round() as usize].as_secs_f64())
    }
}

/// How many opens the quantiles are taken from.
const OPEN_TIMES_MAX: usize = 64;

/// How many causes of failure are distinguished.
const FAILURE_CAUSES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_last_opens() {
        let mut times = OpenTimes::default();
        assert_eq!(times.add(Duration::ZERO), [0.0; 3]);
        let last = (1..100).map(|seconds| times.add(Duration::from_secs(seconds))).last();
        assert_eq!(last, Some([68.0, 93.0, 99.0]), "of 36 to 99");
    }
}
