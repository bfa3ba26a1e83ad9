//! Whose turn it is to send a frame.

use super::CHANNELS_MAX;

/// Whose turn it is. Channels with much to send take turns of a chunk of payload: if two sends took turns frame by frame,
/// both would wait for their answers at nearly the same time. Little goes before that, so that a command waits for one
/// frame, but only some frames of it in a row.
#[derive(Debug, Default)]
pub struct Turns {
    /// A count of frames.
    frames: u64,
    last_frame: [u64; CHANNELS_MAX],
    turn: Option<Turn>,
    /// How many frames in a row have gone before a channel with much to send.
    passed: u32,
}

/// The channel whose turn it is.
#[derive(Clone, Copy, Debug)]
struct Turn {
    index: usize,
    /// What it has sent in this turn, in bytes.
    sent: usize,
}

/// The order of the channels: the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    has_to_wait: bool,
    has_no_turn: bool,
    last_frame: u64,
}

impl Turns {
    /// The rank of a channel with so many bytes waiting, of which a frame carries `frame_size`.
    pub fn rank(&self, index: usize, waiting: usize, frame_size: usize) -> Rank {
        Rank {
            has_to_wait: !is_little(waiting, frame_size) || self.passed >= PASSED_MAX,
            has_no_turn: self.turn.is_none_or(|turn| turn.index != index || turn.sent >= TURN_BYTES),
            last_frame: self.last_frame[index],
        }
    }

    /// A frame of `bytes` bytes, flags included, is sent of what waits.
    pub fn served(&mut self, index: usize, waiting: usize, bytes: usize, frame_size: usize) {
        self.frames += 1;
        self.last_frame[index] = self.frames;
        match &mut self.turn {
            Some(turn) if turn.index == index && turn.sent < TURN_BYTES => {
                turn.sent += bytes;
                self.passed = 0;
            }
            // It does not end the turn of another channel.
            _ if is_little(waiting, frame_size) && self.passed < PASSED_MAX => self.passed += 1,
            turn => {
                *turn = Some(Turn { index, sent: bytes });
                self.passed = 0;
            }
        }
    }
}

fn is_little(waiting: usize, frame_size: usize) -> bool {
    waiting <= frame_size.min(LITTLE_BYTES)
}

/// So much is little: nearly all commands are shorter.
const LITTLE_BYTES: usize = 256;

/// So many frames of little go before much: a command of each channel.
const PASSED_MAX: u32 = CHANNELS_MAX as u32;

/// A turn ends after so much: a chunk of payload, and what its frames add at the smallest usual size.
const TURN_BYTES: usize = 1_536;

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_SIZE: usize = 512;

    fn next(turns: &mut Turns, waiting: [usize; CHANNELS_MAX], frames: [usize; CHANNELS_MAX]) -> usize {
        let ready = (0..CHANNELS_MAX).filter(|index| waiting[*index] > 0);
        let index = ready.min_by_key(|index| turns.rank(*index, waiting[*index], FRAME_SIZE)).unwrap();
        turns.served(index, waiting[index], frames[index], FRAME_SIZE);
        index
    }

    #[test]
    fn little_goes_first_and_who_has_much_gets_the_same_share_whatever_its_frames() {
        let mut turns = Turns::default();
        let mut bytes = [0; CHANNELS_MAX];
        let frames = [27, 519, 100, 519];
        for round in 0..10_000 {
            let has_command = round % 40 == 39;
            let index = next(&mut turns, [if has_command { 20 } else { 0 }, 2_000, 2_000, 2_000], frames);
            assert_eq!(index == 0, has_command, "round {round}: the command goes first");
            bytes[index] += frames[index];
        }
        let (least, most) = (bytes[1..].iter().min().unwrap(), bytes[1..].iter().max().unwrap());
        assert!(*least as f64 >= 0.75 * *most as f64, "{bytes:?}");
    }

    #[test]
    fn a_chunk_of_payload_is_sent_in_one_turn_and_a_command_does_not_end_it() {
        let mut turns = Turns::default();
        let mut next = |waiting| next(&mut turns, waiting, [27, 519, 519, 519]);
        let first = next([0, 1_460, 1_460, 0]);
        let order = [
            next([20, 948, 948, 0]),
            next([0, 948, 948, 0]),
            next([0, 436, 436, 0]),
            next([0, 0, 1_460, 0]),
            next([0, 1_460, 948, 0]),
        ];
        let other = 3 - first;
        assert_eq!(order, [0, first, first, other, other]);
    }

    #[test]
    fn little_without_an_end_leaves_a_part_of_the_line_to_much() {
        let mut turns = Turns::default();
        let sent: Vec<usize> =
            (0..100).map(|_| next(&mut turns, [20, 20, 20, 2_000], [27, 27, 27, 519])).collect();
        let much = sent.iter().filter(|index| **index == 3).count();
        assert!(much >= 100 / (PASSED_MAX as usize + 1), "{sent:?}");
    }
}
