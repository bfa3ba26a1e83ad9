//! A byte queue with a limit.
//!
//! Bytes are appended at the back and leave at the front; what is queued is always one contiguous slice,
//! so a chunk of it can be written to a port or a client without being copied together first.

/// A bounded first-in, first-out queue of bytes.
///
/// The limit is in bytes. Nothing is ever dropped: [`ByteQueue::append`] takes no more than there is room
/// for, and returns how much that was.
#[derive(Debug)]
pub struct ByteQueue {
    bytes: Vec<u8>,
    /// Index of the first byte that is still queued.
    start: usize,
    limit_bytes: usize,
    /// How much memory is taken at a time; 0: as much again as there is.
    step_bytes: usize,
}

impl ByteQueue {
    /// An empty queue that will hold at most `limit_bytes`. Memory is taken when the first byte arrives.
    pub fn new(limit_bytes: usize) -> Self {
        ByteQueue { bytes: Vec::new(), start: 0, limit_bytes, step_bytes: 0 }
    }

    /// The same, but its memory grows by `step_bytes` at a time. For queues whose memory has a limit as well: never more
    /// than a step beyond what was queued at once.
    pub fn with_step(limit_bytes: usize, step_bytes: usize) -> Self {
        ByteQueue { step_bytes, ..ByteQueue::new(limit_bytes) }
    }

    /// Everything that is queued, oldest byte first.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// How many bytes are queued.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes can still be appended.
    pub fn room(&self) -> usize {
        self.limit_bytes - self.len()
    }

    /// Appends as many of `bytes` as there is room for, and returns how many that were.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        if self.start > 0 && self.bytes.len() + count > self.bytes.capacity() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        if self.step_bytes > 0 && self.bytes.len() + count > self.bytes.capacity() {
            self.bytes.reserve_exact(count.next_multiple_of(self.step_bytes));
        }
        self.bytes.extend_from_slice(&bytes[..count]);
        count
    }

    /// Removes the oldest `count` bytes.
    ///
    /// # Panics
    /// If fewer than `count` bytes are queued: the caller can only consume what it has seen in
    /// [`ByteQueue::as_slice`].
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "more bytes consumed than were queued");
        self.start += count;
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// How many bytes it holds at most.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// How many bytes of memory it has taken.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Removes everything and gives the memory back.
    pub fn reset(&mut self) {
        self.bytes = Vec::new();
        self.start = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_no_more_than_its_limit_and_loses_nothing() {
        let mut queue = ByteQueue::new(8);
        assert_eq!(queue.append(b"abcdef"), 6);
        assert_eq!(queue.append(b"ghijkl"), 2);
        assert_eq!(queue.room(), 0);
        queue.consume(5);
        assert_eq!(queue.append(b"ijkl"), 4);
        assert_eq!(queue.as_slice(), b"fghijkl");
        queue.consume(7);
        assert!(queue.is_empty());
        assert_eq!(queue.append(b"123456789"), 8);
    }

    #[test]
    fn memory_stays_near_the_limit_however_much_passes_through() {
        let mut queue = ByteQueue::new(1000);
        for _ in 0..10_000 {
            queue.append(&[7; 700]);
            queue.consume(queue.len() - 1);
        }
        assert!(queue.bytes.capacity() <= 2048, "capacity {}", queue.bytes.capacity());
    }

    #[test]
    fn memory_in_steps_stays_within_a_step_of_what_was_queued() {
        let mut queue = ByteQueue::with_step(10_000, 512);
        for _ in 0..1000 {
            queue.append(&[7; 700]);
            queue.consume(queue.len().saturating_sub(4000));
        }
        assert!((4700..4700 + 1024).contains(&queue.capacity()), "capacity {}", queue.capacity());
        queue.reset();
        assert_eq!(queue.capacity(), 0);
    }
}
