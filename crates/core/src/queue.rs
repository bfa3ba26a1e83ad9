//! What waits in a connection: bytes, or datagrams, which keep their boundaries.

use std::collections::VecDeque;

use crate::byte_queue::ByteQueue;
use crate::settings::Transport;

/// A bounded first-in, first-out queue of one of the two kinds.
#[derive(Debug)]
pub enum Queue {
    /// Of a stream: what is appended can leave in other pieces.
    Bytes(ByteQueue),
    /// Each leaves as it came, or is dropped whole.
    Datagrams(DatagramQueue),
}

/// How much may wait in a queue.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many bytes of a stream.
    pub bytes: usize,
    /// How many datagrams.
    pub datagrams: usize,
}

/// A bounded queue of datagrams. The last may still be coming.
#[derive(Debug)]
pub struct DatagramQueue {
    /// How many may wait.
    most: usize,
    /// The whole ones, then what has come of the last.
    bytes: ByteQueue,
    /// The lengths of the whole ones.
    lengths: VecDeque<usize>,
    coming: Coming,
    /// How many whole ones have come.
    received: u64,
    /// How many were dropped because there was no room.
    dropped: u64,
}

/// What of an announced datagram is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coming {
    Nothing,
    Kept {
        length: usize,
        left: usize,
    },
    /// There was no room for it.
    Dropped {
        left: usize,
    },
}

impl Queue {
    /// A queue of what connections of this kind carry.
    pub fn of(transport: &Transport, limits: Limits) -> Self {
        match transport.carries_datagrams() {
            true => Queue::datagrams(limits.datagrams),
            false => Queue::bytes(limits.bytes),
        }
    }

    /// A queue of bytes with this limit.
    pub fn bytes(limit_bytes: usize) -> Self {
        Queue::Bytes(ByteQueue::new(limit_bytes))
    }

    /// A queue of at most so many datagrams.
    pub fn datagrams(most: usize) -> Self {
        Queue::Datagrams(DatagramQueue {
            most,
            bytes: ByteQueue::new(DATAGRAM_BYTES_MAX),
            lengths: VecDeque::new(),
            coming: Coming::Nothing,
            received: 0,
            dropped: 0,
        })
    }

    /// Whether what is in it keeps its boundaries.
    pub fn keeps_boundaries(&self) -> bool {
        matches!(self, Queue::Datagrams(_))
    }

    /// What can leave at once: all bytes, or the first datagram.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Queue::Bytes(queue) => queue.as_slice(),
            Queue::Datagrams(queue) => &queue.bytes.as_slice()[..queue.first()],
        }
    }

    /// How much one command carries that takes at most so many bytes. A datagram is never split.
    pub fn next_piece(&self, most: usize) -> usize {
        match self {
            Queue::Bytes(queue) => queue.len().min(most),
            Queue::Datagrams(queue) => queue.first(),
        }
    }

    /// How many bytes are queued.
    pub fn len(&self) -> usize {
        match self {
            Queue::Bytes(queue) => queue.len(),
            Queue::Datagrams(queue) => queue.bytes.len(),
        }
    }

    /// Whether nothing can leave.
    pub fn is_empty(&self) -> bool {
        match self {
            Queue::Bytes(queue) => queue.is_empty(),
            Queue::Datagrams(queue) => queue.lengths.is_empty(),
        }
    }

    /// How many datagrams can leave.
    pub fn whole_datagrams(&self) -> usize {
        match self {
            Queue::Bytes(_) => 0,
            Queue::Datagrams(queue) => queue.lengths.len(),
        }
    }

    /// How many bytes can still be appended, or how long the next datagram may be.
    pub fn room(&self) -> usize {
        match self {
            Queue::Bytes(queue) => queue.room(),
            Queue::Datagrams(queue) => queue.room(),
        }
    }

    /// How many bytes may come that cannot be held back. What finds no room among datagrams is dropped.
    pub fn room_for_pushed(&self) -> usize {
        match self {
            Queue::Bytes(queue) => queue.room(),
            Queue::Datagrams(_) => usize::MAX,
        }
    }

    /// How many whole datagrams have come, and how many found no room.
    pub fn datagram_counts(&self) -> (u64, u64) {
        match self {
            Queue::Bytes(_) => (0, 0),
            Queue::Datagrams(queue) => (queue.received, queue.dropped),
        }
    }

    /// Appends as many bytes as there is room for, or the whole datagram if there is room for it. Returns how many bytes
    /// that were.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        match self {
            Queue::Bytes(queue) => queue.append(bytes),
            Queue::Datagrams(queue) if queue.room() < bytes.len() => 0,
            Queue::Datagrams(queue) => {
                queue.begins(bytes.len());
                queue.came(bytes);
                bytes.len()
            }
        }
    }

    /// The next `length` bytes that come are one datagram, where there are datagrams. Returns whether that can be: one that
    /// has begun must have come whole.
    pub fn begins(&mut self, length: usize) -> bool {
        match self {
            Queue::Bytes(_) => true,
            Queue::Datagrams(queue) => queue.begins(length),
        }
    }

    /// Bytes came from the modem. Returns how many there was room for.
    pub fn came(&mut self, bytes: &[u8]) -> usize {
        match self {
            Queue::Bytes(queue) => queue.append(bytes),
            Queue::Datagrams(queue) => {
                queue.came(bytes);
                bytes.len()
            }
        }
    }

    /// Removes the oldest `count` bytes, or the first datagram, which has as many.
    pub fn consume(&mut self, count: usize) {
        match self {
            Queue::Bytes(queue) => queue.consume(count),
            Queue::Datagrams(queue) => {
                debug_assert_eq!(count, queue.first(), "a datagram leaves whole");
                let first = queue.lengths.pop_front().unwrap_or(0);
                queue.bytes.consume(first);
            }
        }
    }

    /// Takes everything, and leaves an empty queue of the same kind.
    pub fn take(&mut self) -> Queue {
        let empty = match self {
            Queue::Bytes(queue) => Queue::bytes(queue.limit_bytes()),
            Queue::Datagrams(queue) => Queue::datagrams(queue.most),
        };
        std::mem::replace(self, empty)
    }

    /// Removes everything and gives the memory back.
    pub fn reset(&mut self) {
        match self {
            Queue::Bytes(queue) => queue.reset(),
            Queue::Datagrams(queue) => {
                queue.bytes.reset();
                queue.lengths = VecDeque::new();
                queue.coming = Coming::Nothing;
            }
        }
    }
}

impl DatagramQueue {
    fn first(&self) -> usize {
        self.lengths.front().copied().unwrap_or(0)
    }

    fn room(&self) -> usize {
        if self.lengths.len() < self.most { self.bytes.room() } else { 0 }
    }

    fn begins(&mut self, length: usize) -> bool {
        if self.coming != Coming::Nothing {
            return false;
        }
        self.coming = match length {
            0 => Coming::Nothing,
            _ if length <= self.room() => Coming::Kept { length, left: length },
            _ => {
                self.dropped += 1;
                Coming::Dropped { left: length }
            }
        };
        true
    }

    fn came(&mut self, bytes: &[u8]) {
        match &mut self.coming {
            // The rest of one that is not wanted any more.
            Coming::Nothing => {}
            Coming::Dropped { left } => {
                *left = left.saturating_sub(bytes.len());
                if *left == 0 {
                    self.coming = Coming::Nothing;
                }
            }
            Coming::Kept { length, left } => {
                *left -= self.bytes.append(&bytes[..bytes.len().min(*left)]);
                if *left == 0 {
                    self.lengths.push_back(*length);
                    self.received += 1;
                    self.coming = Coming::Nothing;
                }
            }
        }
    }
}

/// The most datagrams that wait to be sent.
pub const DATAGRAMS_UP_MAX: usize = 8;

/// The most datagrams that wait for a client, which takes them at once. One read of a port may bring many.
pub const DATAGRAMS_DOWN_MAX: usize = 512;

/// The most bytes in them, each way.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &mut Queue) -> Vec<Vec<u8>> {
        let next = |queue: &mut Queue| {
            let first = Some(queue.as_slice().to_vec()).filter(|first| !first.is_empty())?;
            queue.consume(first.len());
            Some(first)
        };
        std::iter::from_fn(|| next(queue)).collect()
    }

    #[test]
    fn datagrams_leave_as_they_came_and_bytes_do_not() {
        let (mut bytes, mut datagrams) = (Queue::bytes(100), Queue::datagrams(8));
        for queue in [&mut bytes, &mut datagrams] {
            queue.append(b"one");
            queue.append(b"three");
        }
        assert_eq!((bytes.next_piece(4), datagrams.next_piece(1)), (4, 3));
        assert_eq!(taken(&mut bytes), [b"onethree"]);
        assert_eq!(taken(&mut datagrams), [&b"one"[..], b"three"]);
        assert_eq!((datagrams.is_empty(), datagrams.len()), (true, 0));
    }

    #[test]
    fn one_that_comes_in_pieces_is_one_and_is_not_seen_before_it_is_whole() {
        let mut queue = Queue::datagrams(8);
        assert!(queue.begins(5));
        queue.came(b"ab");
        assert!(queue.is_empty() && queue.as_slice().is_empty());
        assert!(!queue.begins(3), "two cannot come at once");
        queue.came(b"cde");
        assert!(queue.begins(1));
        assert_eq!(queue.whole_datagrams(), 1);
        queue.came(b"f");
        assert_eq!(queue.whole_datagrams(), 2);
        assert_eq!(taken(&mut queue), [&b"abcde"[..], b"f"]);
        assert_eq!(queue.datagram_counts(), (2, 0));
    }

    #[test]
    fn what_finds_no_room_is_dropped_whole() {
        let mut queue = Queue::datagrams(8);
        for number in 0..8_u8 {
            assert_eq!(queue.append(&[number; 10]), 10);
        }
        assert_eq!((queue.room(), queue.append(b"x")), (0, 0));
        assert!(queue.begins(4) && queue.came(b"ab") == 2);
        queue.consume(10);
        queue.came(b"cd");
        assert!(queue.begins(2));
        queue.came(b"ef");
        assert_eq!(queue.datagram_counts().1, 1);
        assert_eq!(taken(&mut queue).last().expect("it has room again"), b"ef");

        let mut long = Queue::datagrams(8);
        assert_eq!(long.append(&[0; DATAGRAM_BYTES_MAX]), DATAGRAM_BYTES_MAX);
        assert_eq!(long.append(&[0]), 0);
    }

    #[test]
    fn what_comes_of_one_after_a_reset_is_nothing() {
        let mut queue = Queue::datagrams(8);
        queue.begins(4);
        queue.came(b"ab");
        queue.reset();
        queue.came(b"cd");
        assert_eq!((queue.is_empty(), queue.len()), (true, 0));
        assert!(queue.begins(1));
    }
}
