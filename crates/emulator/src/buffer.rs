//! What waits in a socket: a stream of bytes, or datagrams, which keep their boundaries.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::network::Transport;
use crate::queue::Queue;
use crate::quirks::ShortRead;

/// Bytes waiting, first in first out; its users keep it within their limits.
#[derive(Clone, Debug)]
pub(crate) enum Buffer {
    Stream(Queue),
    Datagrams { waiting: VecDeque<Piece>, bytes: usize },
}

/// A part of a stream, or a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    /// Where it goes to or comes from, if that is not the same for all.
    pub(crate) peer: Option<SocketAddr>,
}

impl Buffer {
    pub(crate) fn new(transport: Transport) -> Buffer {
        match transport {
            Transport::Tcp => Buffer::Stream(Queue::default()),
            Transport::Udp | Transport::UdpService => {
                Buffer::Datagrams { waiting: VecDeque::new(), bytes: 0 }
            }
        }
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        match self {
            Buffer::Stream(queue) => queue.len(),
            Buffer::Datagrams { bytes, .. } => *bytes,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many datagrams wait.
    pub(crate) fn datagrams(&self) -> usize {
        match self {
            Buffer::Stream(_) => 0,
            Buffer::Datagrams { waiting, .. } => waiting.len(),
        }
    }

    /// Adds bytes, which are one datagram where there are datagrams. There are no empty ones.
    pub(crate) fn push(&mut self, added: &[u8], peer: Option<SocketAddr>) {
        match self {
            Buffer::Stream(queue) => queue.push(added),
            Buffer::Datagrams { .. } if added.is_empty() => {}
            Buffer::Datagrams { waiting, bytes } => {
                *bytes += added.len();
                waiting.push_back(Piece { bytes: added.to_vec(), peer });
            }
        }
    }

    /// The first datagram, or all of a stream; `None` if nothing waits.
    pub(crate) fn front(&self) -> Option<(&[u8], Option<SocketAddr>)> {
        match self {
            Buffer::Stream(queue) => Some((queue.as_slice(), None)).filter(|(bytes, _)| !bytes.is_empty()),
            Buffer::Datagrams { waiting, .. } => {
                waiting.front().map(|piece| (piece.bytes.as_slice(), piece.peer))
            }
        }
    }

    /// Drops bytes off the front of a stream, or of the first datagram.
    pub(crate) fn consume(&mut self, count: usize) {
        match self {
            Buffer::Stream(queue) => drop(queue.consume(count)),
            Buffer::Datagrams { waiting, bytes } => {
                let Some(first) = waiting.front_mut() else { return };
                let count = count.min(first.bytes.len());
                *bytes -= count;
                first.bytes.drain(..count);
                if first.bytes.is_empty() {
                    waiting.pop_front();
                }
            }
        }
    }

    /// Takes one message: at most so many bytes of a stream, or a whole datagram. It is empty if nothing waits.
    pub(crate) fn take_message(&mut self, stream_limit: usize) -> Piece {
        let limit = match self {
            Buffer::Stream(_) => stream_limit,
            Buffer::Datagrams { .. } => usize::MAX,
        };
        self.read(limit, ShortRead::KeepsRest)
    }

    /// Takes at most so many bytes of a stream, or of the first datagram. It is empty if nothing waits.
    pub(crate) fn read(&mut self, limit: usize, short_read: ShortRead) -> Piece {
        let Some((bytes, peer)) = self.front() else { return Piece { bytes: Vec::new(), peer: None } };
        let piece = Piece { bytes: bytes[..limit.min(bytes.len())].to_vec(), peer };
        let consumed = match (&self, short_read) {
            (Buffer::Datagrams { .. }, ShortRead::DropsRest) => bytes.len(),
            _ => piece.bytes.len(),
        };
        self.consume(consumed);
        piece
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Buffer::Stream(queue) => queue.clear(),
            Buffer::Datagrams { waiting, bytes } => {
                waiting.clear();
                *bytes = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(buffer: &mut Buffer, limit: usize, short_read: ShortRead) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| Some(buffer.read(limit, short_read).bytes).filter(|bytes| !bytes.is_empty()))
            .collect()
    }

    #[test]
    fn a_stream_is_joined_and_datagrams_never_are() {
        for (transport, read) in
            [(Transport::Tcp, [&b"abcde"[..]].as_slice()), (Transport::Udp, [&b"abc"[..], b"de"].as_slice())]
        {
            let mut buffer = Buffer::new(transport);
            buffer.push(b"abc", None);
            buffer.push(b"", None);
            buffer.push(b"de", None);
            assert_eq!(buffer.len(), 5);
            assert_eq!(pieces(&mut buffer, 9, ShortRead::KeepsRest), read, "{transport:?}");
            assert!(buffer.is_empty() && buffer.datagrams() == 0);
        }
    }

    #[test]
    fn the_rest_of_a_datagram_that_is_read_in_part_stays_or_is_dropped() {
        for (short_read, read) in [
            (ShortRead::KeepsRest, [&b"ab"[..], b"c", b"de"].as_slice()),
            (ShortRead::DropsRest, [&b"ab"[..], b"de"].as_slice()),
        ] {
            let mut buffer = Buffer::new(Transport::UdpService);
            buffer.push(b"abc", None);
            buffer.push(b"de", None);
            assert_eq!(pieces(&mut buffer, 2, short_read), read, "{short_read:?}");
            assert_eq!(buffer.len(), 0);
        }
    }

    #[test]
    fn a_message_is_a_whole_datagram_or_a_part_of_a_stream() {
        for (transport, message) in [(Transport::Tcp, &b"ab"[..]), (Transport::Udp, b"abc")] {
            let mut buffer = Buffer::new(transport);
            buffer.push(b"abc", None);
            assert_eq!(buffer.take_message(2).bytes, message);
        }
    }
}
