//! Whose turn it is to send a frame.

use super::CHANNELS_MAX;

/// Whose turn it is. Little goes first, so that a command waits for one frame at most. A channel with more keeps its turn
/// for a chunk of payload: if two sends took turns frame by frame, both would wait for their answers at nearly the same
/// time. Beyond that: start-time fair queueing, by bytes on the line.
#[derive(Debug, Default)]
pub struct Turns {
    /// The latest start of a frame.
    virtual_time: u64,
    /// Where the last frame of each ended.
    finish: [u64; CHANNELS_MAX],
    /// A count of frames, so that equals take turns.
    frames: u64,
    last_frame: [u64; CHANNELS_MAX],
    turn: Option<Turn>,
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
    has_much: bool,
    has_no_turn: bool,
    start: u64,
    last_frame: u64,
}

impl Turns {
    /// The rank of a channel with so many bytes waiting.
    pub fn rank(&self, index: usize, waiting: usize) -> Rank {
        Rank {
            has_much: waiting > LITTLE_BYTES,
            has_no_turn: self.turn.is_none_or(|turn| turn.index != index || turn.sent >= TURN_BYTES),
            start: self.start(index),
            last_frame: self.last_frame[index],
        }
    }

    /// A frame of `bytes` bytes, flags included, is sent of the bytes that wait.
    pub fn served(&mut self, index: usize, waiting: usize, bytes: usize) {
        let start = self.start(index);
        self.virtual_time = self.virtual_time.max(start);
        self.finish[index] = start + bytes as u64;
        self.frames += 1;
        self.last_frame[index] = self.frames;
        let turn = self.turn.filter(|turn| turn.index == index && turn.sent < TURN_BYTES);
        match turn {
            Some(turn) => self.turn = Some(Turn { index, sent: turn.sent + bytes }),
            // A command between the frames of another channel does not end that one's turn.
            None if waiting <= LITTLE_BYTES => {}
            None => self.turn = Some(Turn { index, sent: bytes }),
        }
    }

    fn start(&self, index: usize) -> u64 {
        self.finish[index].max(self.virtual_time.saturating_sub(OWED_MAX_BYTES))
    }
}

/// So much is little: most commands are shorter. Who sends little again and again gets in front of others, but uses less
/// of the line than they do: what does not fit on the line becomes more.
const LITTLE_BYTES: usize = 64;

/// A turn ends after so much: a chunk of payload, and what its frames add at the smallest usual size.
const TURN_BYTES: usize = 1_536;

/// So much a channel is owed at most after a silence. What it waited during the turns of the others must be in it.
const OWED_MAX_BYTES: u64 = 4 * TURN_BYTES as u64;

#[cfg(test)]
mod tests {
    use super::*;

    fn next(turns: &mut Turns, waiting: [usize; CHANNELS_MAX], frame: usize) -> usize {
        let ready = (0..CHANNELS_MAX).filter(|index| waiting[*index] > 0);
        let index = ready.min_by_key(|index| turns.rank(*index, waiting[*index])).unwrap();
        turns.served(index, waiting[index], frame.min(waiting[index] + 7));
        index
    }

    #[test]
    fn little_goes_first_and_who_has_more_gets_the_same_share_whatever_its_frames() {
        let mut turns = Turns::default();
        let mut bytes = [0; CHANNELS_MAX];
        let frames = [27, 519, 100, 519];
        for round in 0..10_000 {
            let has_command = round % 40 == 39;
            let waiting = [if has_command { 20 } else { 0 }, 2_000, 2_000, 2_000];
            let ready = (0..CHANNELS_MAX).filter(|index| waiting[*index] > 0);
            let index = ready.min_by_key(|index| turns.rank(*index, waiting[*index])).unwrap();
            assert_eq!(index == 0, has_command, "round {round}: the command goes first");
            turns.served(index, waiting[index], frames[index]);
            bytes[index] += frames[index];
        }
        let (least, most) = (bytes[1..].iter().min().unwrap(), bytes[1..].iter().max().unwrap());
        assert!(most - least <= 2 * TURN_BYTES + 519, "{bytes:?}");
    }

    #[test]
    fn a_chunk_of_payload_is_sent_in_one_turn_and_a_command_does_not_end_it() {
        let mut turns = Turns::default();
        let first = next(&mut turns, [0, 1_460, 1_460, 0], 519);
        let order = [
            next(&mut turns, [20, 948, 948, 0], 519),
            next(&mut turns, [0, 948, 948, 0], 519),
            next(&mut turns, [0, 436, 436, 0], 519),
            next(&mut turns, [0, 0, 1_460, 0], 519),
            next(&mut turns, [0, 1_460, 948, 0], 519),
        ];
        let other = 3 - first;
        assert_eq!(order, [0, first, first, other, other]);
    }
}
