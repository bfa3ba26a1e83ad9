//! Measures the rate of a stream of bytes at its receiver.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Counts the bytes that arrive.
#[derive(Debug)]
pub struct Meter {
    skip: u64,
    total: u64,
    seen: u64,
    began: Option<(Instant, u64)>,
    result: Sender<Rate>,
}

/// The result of a meter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// How many bytes.
    pub bytes: u64,
    /// In how much time.
    pub time: Duration,
}

impl Rate {
    /// In byte/s.
    pub fn per_second(self) -> f64 {
        self.bytes as f64 / self.time.as_secs_f64()
    }
}

impl Meter {
    /// A meter for `total` bytes that lets at least `skip` of them pass before it measures the rest, from the end of
    /// one piece to the end of the last.
    pub fn new(skip: u64, total: u64) -> (Meter, Receiver<Rate>) {
        let (result, receiver) = channel();
        (Meter { skip, total, seen: 0, began: None, result }, receiver)
    }

    /// Counts bytes that have arrived.
    pub fn saw(&mut self, count: usize) {
        self.seen += count as u64;
        match self.began {
            None if self.seen >= self.skip => self.began = Some((Instant::now(), self.seen)),
            Some((at, from)) if self.seen >= self.total => {
                // The waiting thread may have given up.
                let _ = self.result.send(Rate { bytes: self.seen - from, time: at.elapsed() });
                self.skip = u64::MAX;
                self.began = None;
            }
            _ => {}
        }
    }
}
