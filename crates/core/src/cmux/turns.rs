//! Whose turn it is to send a frame.

use super::CHANNELS_MAX;

/// Whose turn it is: start-time fair queueing, by bytes on the line. Who had nothing to send for a while is owed a frame,
/// so a command waits for one frame at most.
#[derive(Debug, Default)]
pub struct Turns {
    /// The latest start of a frame.
    virtual_time: u64,
    /// Where the last frame of each ended.
    finish: [u64; CHANNELS_MAX],
    /// A count of frames, so that equals take turns.
    frames: u64,
    last_frame: [u64; CHANNELS_MAX],
}

impl Turns {
    /// Orders the channels: the smallest goes first. `credit`: what is owed at most, in bytes.
    pub fn rank(&self, index: usize, credit: u64) -> (u64, u64) {
        (self.finish[index].max(self.virtual_time.saturating_sub(credit)), self.last_frame[index])
    }

    /// A frame of `bytes` bytes, flags included, is sent.
    pub fn served(&mut self, index: usize, bytes: usize, credit: u64) {
        let (start, _) = self.rank(index, credit);
        self.virtual_time = self.virtual_time.max(start);
        self.finish[index] = start + bytes as u64;
        self.frames += 1;
        self.last_frame[index] = self.frames;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_silent_goes_first_and_who_is_not_gets_the_same_share_whatever_its_frames() {
        let mut turns = Turns::default();
        let mut bytes = [0; CHANNELS_MAX];
        let frames = [27, 519, 100, 519];
        for round in 0..10_000 {
            let is_ready = |index: &usize| *index > 0 || round % 40 == 39;
            let index =
                (0..CHANNELS_MAX).filter(is_ready).min_by_key(|index| turns.rank(*index, 519)).unwrap();
            assert_eq!(index == 0, is_ready(&0), "round {round}: the first channel goes first");
            turns.served(index, frames[index], 519);
            bytes[index] += frames[index];
        }
        let (least, most) = (bytes[1..].iter().min().unwrap(), bytes[1..].iter().max().unwrap());
        assert!(most - least <= 2 * 519, "{bytes:?}");
    }
}
