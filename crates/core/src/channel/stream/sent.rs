//! What has just been sent in data mode, to recognise it if it is echoed.
//!
//! A modem that has rebooted is in command mode with echo on, and echoes what was still on its way to it. The line is
//! then never quiet after its words. A server may echo as well, but then the words of an end were among what it was
//! sent.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The end of what was sent.
#[derive(Debug)]
pub struct Sent {
    bytes: VecDeque<u8>,
    last: Instant,
    echo: Echo,
}

/// How what is received follows what was sent.
#[derive(Debug, Default)]
struct Echo {
    /// Where in `bytes` it goes on.
    next: Option<usize>,
    /// How many bytes were equal without a gap.
    run: usize,
    /// The last bytes that were received.
    tail: Vec<u8>,
    /// Bytes received since it was last looked for.
    unsearched: usize,
}

/// What was received, compared with what was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Bytes that were sent, in the same order.
    pub echoed: usize,
    /// Bytes that are neither that nor lines that a modem sends.
    pub other: usize,
}

impl Sent {
    /// Nothing yet.
    pub fn new(now: Instant) -> Self {
        Sent { bytes: VecDeque::new(), last: now, echo: Echo::default() }
    }

    /// These bytes went to the port.
    pub fn push(&mut self, bytes: &[u8], now: Instant) {
        self.last = now;
        let bytes = &bytes[bytes.len().saturating_sub(SENT_KEPT_BYTES)..];
        let more = (self.bytes.len() + bytes.len()).saturating_sub(SENT_KEPT_BYTES);
        self.bytes.drain(..more);
        self.echo.next = self.echo.next.and_then(|next| next.checked_sub(more));
        self.bytes.extend(bytes);
    }

    /// Forgets what was sent so long ago that it is no longer on its way.
    pub fn forget_old(&mut self, now: Instant) {
        if self.last + UNDER_WAY_MAX < now {
            self.bytes.clear();
            self.echo.next = None;
        }
    }

    /// These bytes were received. Returns how many of the last ones were sent, without a gap.
    pub fn came_back(&mut self, bytes: &[u8]) -> usize {
        let Sent { bytes: sent, echo, .. } = self;
        if sent.is_empty() {
            return 0;
        }
        if let Some(next) = echo.next
            && bytes.len() <= sent.len() - next
            && sent.range(next..next + bytes.len()).eq(bytes)
        {
            echo.next = Some(next + bytes.len());
            echo.run += bytes.len();
            return echo.run;
        }
        (echo.next, echo.run) = (None, 0);
        echo.unsearched += bytes.len();
        echo.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(ECHO_HEAD_BYTES)..]);
        let more = echo.tail.len().saturating_sub(ECHO_HEAD_BYTES);
        echo.tail.drain(..more);
        if echo.unsearched < SEARCH_EVERY_BYTES || echo.tail.len() < ECHO_HEAD_BYTES {
            return 0;
        }
        echo.unsearched = 0;
        // Of bytes that were sent several times, the earliest that may still be on their way count.
        let sent = sent.make_contiguous();
        let from = sent.len().saturating_sub(ECHO_LAG_MAX_BYTES);
        let found = sent[from..].windows(ECHO_HEAD_BYTES).position(|window| window == echo.tail);
        echo.next = found.map(|at| from + at + ECHO_HEAD_BYTES);
        echo.run = if found.is_some() { ECHO_HEAD_BYTES } else { 0 };
        echo.run
    }

    /// Whether nothing was sent lately.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether these bytes were sent, one after the other.
    pub fn contains(&self, what: &[u8]) -> bool {
        let (front, back) = self.bytes.as_slices();
        if back.is_empty() {
            return front.windows(what.len()).any(|window| window == what);
        }
        let all: Vec<u8> = self.bytes.iter().copied().collect();
        all.windows(what.len()).any(|window| window == what)
    }

    /// Whether all of `received`, which came after what may be the end of a stream, may come from a modem: its lines, echo
    /// of what was sent, and answers to commands that it saw in that. `is_word`: whether modems send such a line, or
    /// one that begins so.
    pub fn may_explain(&self, received: &[u8], is_word: impl Fn(&[u8]) -> bool) -> bool {
        if self.bytes.is_empty() {
            return false;
        }
        let sent: Vec<u8> = self.bytes.iter().copied().collect();
        let most = OTHER_MAX_BYTES + commands(&sent) * ANSWER_BYTES;
        compare(&sent, received, most, is_word).other <= most
    }

    /// Compares `received` with what was sent.
    pub fn compare(&self, received: &[u8], is_word: impl Fn(&[u8]) -> bool) -> Comparison {
        let sent: Vec<u8> = self.bytes.iter().copied().collect();
        compare(&sent, received, usize::MAX, is_word)
    }
}

/// Stops when there is more that is not explained than `most`.
fn compare(sent: &[u8], received: &[u8], most: usize, is_word: impl Fn(&[u8]) -> bool) -> Comparison {
    let index = Index::new(sent);
    let mut comparison = Comparison::default();
    // Echo goes on after what was echoed last, or further on: a busy modem loses some of what it is sent.
    let mut from = 0;
    let mut at = 0;
    while at < received.len() && comparison.other <= most {
        let rest = &received[at..];
        let run = common(rest, &sent[from..]);
        let goes_on = from > 0 && (run >= RUN_MIN_BYTES || (run > 0 && run == rest.len()));
        let found = match rest.get(..RUN_MIN_BYTES) {
            _ if goes_on => Some(from),
            Some(head) if index.may_contain(head) => {
                sent[from..].windows(RUN_MIN_BYTES).position(|window| window == head).map(|skip| from + skip)
            }
            _ => None,
        };
        if let Some(found) = found {
            let run = common(rest, &sent[found..]);
            comparison.echoed += run;
            from = found + run;
            at += run;
            continue;
        }
        let begins_line = at == 0 || matches!(received[at - 1], b'\r' | b'\n');
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let line = &rest[..end.map_or(rest.len(), |end| end + 1)];
        if begins_line && is_word(line) {
            at += line.len();
        } else {
            comparison.other += 1;
            at += 1;
        }
    }
    comparison
}

fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// How many command lines a modem finds in these bytes.
fn commands(bytes: &[u8]) -> usize {
    let lines = bytes.split(|byte| *byte == b'\r');
    lines.filter(|line| line.windows(2).any(|pair| pair.eq_ignore_ascii_case(b"AT"))).count()
}

/// Which bytes a run can begin with, so that few searches are in vain.
struct Index {
    bits: Vec<u64>,
}

impl Index {
    fn new(bytes: &[u8]) -> Self {
        let mut index = Index { bits: vec![0; INDEX_BITS / 64] };
        for window in bytes.windows(HASHED_BYTES) {
            let bit = Index::bit(window);
            index.bits[bit / 64] |= 1 << (bit % 64);
        }
        index
    }

    fn may_contain(&self, head: &[u8]) -> bool {
        head.windows(HASHED_BYTES).all(|window| {
            let bit = Index::bit(window);
            self.bits[bit / 64] & (1 << (bit % 64)) != 0
        })
    }

    fn bit(window: &[u8]) -> usize {
        let number = window.iter().fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
        (number.wrapping_mul(0x9E37_79B1) >> 14) as usize % INDEX_BITS
    }
}

/// How many of the sent bytes are kept: more than is under way on a line.
const SENT_KEPT_BYTES: usize = 24 * 1024;

/// An echo is recognised by this many bytes. It is looked for each time this many have come, among this many that were
/// sent.
const ECHO_HEAD_BYTES: usize = 16;
const SEARCH_EVERY_BYTES: usize = 512;
const ECHO_LAG_MAX_BYTES: usize = 22 * 1024;

/// While a modem boots, what it was sent may wait on the line for this long.
const UNDER_WAY_MAX: Duration = Duration::from_secs(30);

/// Fewer equal bytes in a row may be a coincidence.
const RUN_MIN_BYTES: usize = 8;

/// More unexplained bytes than this are the beginning of something else than an end.
const OTHER_MAX_BYTES: usize = 512;

/// How many bytes the answer to a command may have beyond known lines.
const ANSWER_BYTES: usize = 128;

const INDEX_BITS: usize = 1 << 18;
const HASHED_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    fn sent(bytes: &[u8]) -> Sent {
        let mut sent = Sent::new(now());
        sent.push(bytes, sent.last);
        sent
    }

    fn noise(seed: u32, count: usize) -> Vec<u8> {
        let mut state = seed;
        let step = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..count).map(step).collect()
    }

    fn nothing(_: &[u8]) -> bool {
        false
    }

    #[test]
    fn an_echo_is_known_wherever_it_begins_and_whatever_is_lost_of_it() {
        let all = noise(1, 20_000);
        let sent = sent(&all);
        assert_eq!(sent.compare(&all[7_000..9_000], nothing), Comparison { echoed: 2_000, other: 0 });
        let gaps = [&all[100..300], &all[320..500], &all[9_000..9_100]].concat();
        assert_eq!(sent.compare(&gaps, nothing), Comparison { echoed: 480, other: 0 });
    }

    #[test]
    fn an_echo_is_followed_in_any_pieces() {
        for all in [noise(1, 9_000), b"text that repeats itself\r\n".repeat(400)] {
            for piece in [1, 7, 64, 3_000] {
                let mut sent = sent(&all[..4_000]);
                sent.push(&all[4_000..], sent.last);
                let mut run = 0;
                for bytes in all[100..6_000].chunks(piece) {
                    run = sent.came_back(bytes);
                }
                assert!(run > 2_000, "{run} in pieces of {piece}");
                assert_eq!(sent.came_back(b"an answer"), 0);
            }
        }
        let mut sent = sent(&noise(1, 9_000));
        assert!(noise(2, 9_000).chunks(64).all(|bytes| sent.came_back(bytes) == 0));
    }

    #[test]
    fn payload_of_a_server_is_no_echo() {
        let sent = sent(&noise(1, 20_000));
        let received = noise(2, 2_000);
        assert_eq!(sent.compare(&received, nothing), Comparison { echoed: 0, other: 2_000 });
        assert!(!sent.may_explain(&received, nothing));
        assert!(sent.may_explain(&received[..500], nothing), "it is too early to tell");
    }

    #[test]
    fn a_modems_lines_between_echoed_ones_are_explained() {
        let sent = sent(&b"upload\r\nAT+NOTHING\r\nupload".repeat(50));
        let received = b"upload\r\nAT+NOTHING\r\r\nERROR\r\n\nupload".repeat(50);
        let is_word = |line: &[u8]| matches!(line, b"\r" | b"\n" | b"ERROR\r");
        assert!(sent.compare(&received, is_word).echoed > 1_000);
        assert!(sent.may_explain(&received, is_word));
    }

    #[test]
    fn what_was_sent_long_ago_explains_nothing() {
        let mut sent = sent(b"upload and more");
        assert!(sent.may_explain(b"upload", nothing) && sent.contains(b"and more"));
        sent.forget_old(sent.last + UNDER_WAY_MAX * 2);
        assert!(!sent.may_explain(b"upload", nothing) && !sent.contains(b"and more"));
    }
}
