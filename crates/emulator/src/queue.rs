//! A byte queue whose content is one slice; its users keep it within their limits.

/// Bytes waiting, first in first out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    bytes: Vec<u8>,
    start: usize,
}

impl Queue {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        // Consumed bytes are removed only when they are the larger part, so that a byte is moved at most once on
        // average.
        if self.start > self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes bytes off the front, all of them if there are fewer; returns how many.
    pub(crate) fn consume(&mut self, count: usize) -> usize {
        let count = count.min(self.len());
        self.start += count;
        if self.start == self.bytes.len() {
            self.clear();
        }
        count
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_they_came() {
        let mut queue = Queue::default();
        let mut left = Vec::new();
        for round in 0u8..=255 {
            queue.push(&[round, round, round]);
            left.extend_from_slice(&queue.as_slice()[..2]);
            queue.consume(2);
        }
        left.extend_from_slice(queue.as_slice());
        queue.consume(1000);
        let expected: Vec<u8> = (0u8..=255).flat_map(|round| [round; 3]).collect();
        assert_eq!(left, expected);
        assert!(queue.is_empty());
    }
}
