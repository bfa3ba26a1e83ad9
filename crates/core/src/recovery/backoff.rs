//! Pauses between attempts: each twice as long as the one before, up to a limit, and never quite the same.
//!
//! What failed because the network was gone fails for every device at once, and all of them would come back at the
//! same moment: chance shortens each pause by up to a quarter.

use std::time::Duration;

/// A row of pauses.
#[derive(Debug)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    /// Pauses since the last success.
    count: u32,
    /// The state of the random number generator.
    chance: u64,
}

impl Backoff {
    /// The first pause is about `least`, and none is longer than `most`.
    pub fn new(least: Duration, most: Duration) -> Self {
        Backoff { least, most, count: 0, chance: 0 }
    }

    /// Two with the same seed take the same pauses.
    pub fn set_seed(&mut self, seed: u64) {
        self.chance = seed;
    }

    /// An attempt has succeeded: the next pause is the first one again.
    pub fn reset(&mut self) {
        self.count = 0;
    }

    /// The next pause.
    pub fn next(&mut self) -> Duration {
        let doubled = self.least.saturating_mul(1 << self.count.min(LIMIT_OF_DOUBLINGS));
        self.count = self.count.saturating_add(1);
        let pause = doubled.min(self.most);
        pause - pause / 4 * self.part() / u32::from(u16::MAX)
    }

    /// 0 to 65,535 by chance: the next number of a linear congruential generator (Knuth's MMIX), of which the high
    /// bits are good.
    fn part(&mut self) -> u32 {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 48) as u32
    }
}

/// More are beyond every limit, and the factor still fits.
const LIMIT_OF_DOUBLINGS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_secs(5);
    const MOST: Duration = Duration::from_secs(120);

    fn pauses(seed: u64) -> Vec<Duration> {
        let mut backoff = Backoff::new(LEAST, MOST);
        backoff.set_seed(seed);
        (0..40).map(|_| backoff.next()).collect()
    }

    #[test]
    fn pauses_double_up_to_their_limit_and_chance_only_shortens_them() {
        for seed in 0..100 {
            for (count, pause) in pauses(seed).into_iter().enumerate() {
                let full = MOST.min(LEAST * (1 << count.min(10)));
                assert!(pause <= full && pause >= full / 4 * 3, "seed {seed}, pause {count}: {pause:?}");
            }
        }
    }

    #[test]
    fn devices_do_not_come_back_together_and_a_seed_repeats_itself() {
        let mut firsts: Vec<Duration> = (0..100).map(|seed| pauses(seed)[1]).collect();
        firsts.sort_unstable();
        firsts.dedup();
        assert!(firsts.len() > 90, "{firsts:?}");
        assert_eq!(pauses(7), pauses(7));
    }

    #[test]
    fn success_begins_anew() {
        let mut backoff = Backoff::new(LEAST, MOST);
        for _ in 0..10 {
            backoff.next();
        }
        backoff.reset();
        assert!(backoff.next() <= LEAST);
    }
}
