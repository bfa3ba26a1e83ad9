//! Frames of TS 27.010, basic option: written whole, read byte by byte.
//!
//! ```text
//!  F9 | address | control | length, 1 or 2 octets | information | FCS | F9
//! ```
//! One flag may stand between two frames. The information may hold flags, so only the length shows where a frame ends,
//! and a wrong length would swallow what follows. So a frame counts only if its FCS is right and a flag follows, and
//! after one that does not count the search goes on at the byte after its first flag.

use crate::byte_queue::ByteQueue;

/// Begins and ends a frame.
pub const FLAG: u8 = 0xF9;

/// What a frame takes beside its information, at most: two flags, address, control, two octets of length, FCS.
pub const OVERHEAD_BYTES: usize = 7;

/// The largest length that its field can hold (TS 27.010, 5.2.1.5).
pub const LENGTH_MAX: usize = 32_767;

/// The kind of a frame, which is its control octet without the P/F bit (TS 27.010, 5.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Opens a DLCI.
    Sabm = 0x2F,
    /// Confirms SABM or DISC.
    Ua = 0x63,
    /// The DLCI is closed.
    Dm = 0x0F,
    /// Closes a DLCI.
    Disc = 0x43,
    /// Information, the FCS over the header alone.
    Uih = 0xEF,
    /// Information, the FCS over it as well.
    Ui = 0x03,
}

/// A frame that was received: its FCS is right and a flag follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its DLCI, 0-63.
    pub dlci: u8,
    /// Its kind. P/F and C/R are ignored: modules send them as they like.
    pub kind: Kind,
    /// What it carries, not longer than the decoder's limit.
    pub information: &'a [u8],
}

/// What the decoder found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// Bytes between two frames that cannot be the remains of a damaged one.
    Outside(&'a [u8]),
}

impl Kind {
    fn parse(control: u8) -> Option<Kind> {
        [Kind::Sabm, Kind::Ua, Kind::Dm, Kind::Disc, Kind::Uih, Kind::Ui]
            .into_iter()
            .find(|kind| *kind as u8 == control & !POLL)
    }

    /// Whether the host sends it as a response, which has C/R clear (TS 27.010, 5.2.1.2).
    fn is_response(self) -> bool {
        matches!(self, Kind::Ua | Kind::Dm)
    }
}

/// P/F: set on all that is answered and on the answers, clear on information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Clear.
    Clear,
    /// Set.
    Set,
}

/// Appends a frame of the host to `output`. Returns false, and appends nothing, if there is no room for all of it, or if
/// the information is longer than a length can tell.
#[must_use]
pub fn encode(dlci: u8, kind: Kind, poll: Poll, information: &[u8], output: &mut ByteQueue) -> bool {
    let length = information.len();
    if length > LENGTH_MAX || output.room() < length + OVERHEAD_BYTES {
        return false;
    }
    let address = (dlci & DLCI_MAX) << 2 | if kind.is_response() { 0 } else { COMMAND } | EA;
    let control = kind as u8 | if poll == Poll::Set { POLL } else { 0 };
    let low = (length as u8) << 1;
    let header = [FLAG, address, control, low | EA, 0];
    let long = [FLAG, address, control, low, (length >> 7) as u8];
    let header = if length <= SHORT_MAX { &header[..4] } else { &long };
    let mut sum = checksum(START, &header[1..]);
    if kind == Kind::Ui {
        sum = checksum(sum, information);
    }
    for part in [header, information, &[!sum, FLAG]] {
        output.append(part);
    }
    true
}

/// Finds frames in what the line carries. It can be interrupted at every byte.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The longest information that is taken, in bytes.
    limit_bytes: usize,
    place: Place,
    /// Bytes that were taken and may be looked at again: those since the flag of a frame that is not whole, or those
    /// of a frame that turned out to be none.
    held: Vec<u8>,
    /// Index of the first of them that is still of use.
    start: usize,
    counters: DecoderCounters,
}

/// What a decoder has met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecoderCounters {
    /// Good frames.
    pub frames: u64,
    /// Frames whose FCS was wrong, or that no flag followed.
    pub bad_fcs: u64,
    /// Bytes that belonged to no good frame and to no text between frames. Flags are not counted.
    pub garbage_bytes: u64,
}

/// Where in the stream the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Between frames.
    #[default]
    Outside,
    /// After a flag that ended a good frame, or that came between frames.
    Flag,
    /// In the remains of what was no frame: nothing before the next good frame is text.
    Garbage,
    /// After a flag in there.
    GarbageFlag,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// So many bytes before a flag, or all.
    Outside(usize),
    /// So many flags.
    Flags(usize),
    /// Unknown before so many bytes are there.
    More(usize),
    /// No frame begins here.
    NoFrame,
    /// A frame begins here that is too long to be one.
    TooLong,
    /// A frame that does not count.
    Bad,
    Frame { dlci: u8, kind: Kind, header: usize, length: usize },
}

impl Decoder {
    /// Takes frames with information of up to `limit_bytes`. That is also what it holds at most, and a header.
    pub fn new(limit_bytes: usize) -> Self {
        Decoder { limit_bytes: limit_bytes.min(LENGTH_MAX), ..Decoder::default() }
    }

    /// What it has met.
    pub fn counters(&self) -> DecoderCounters {
        self.counters
    }

    /// Whether it holds the beginning of what may become a frame.
    pub fn is_inside_frame(&self) -> bool {
        self.start < self.held.len()
    }

    /// How many bytes it holds.
    pub fn held_bytes(&self) -> usize {
        self.held.len() - self.start
    }

    /// What was held is not the beginning of a frame, as the rest never came. What it hides is found by the next
    /// [`Decoder::decode`].
    pub fn give_up_frame(&mut self) {
        if self.is_inside_frame() {
            self.counters.bad_fcs += 1;
            self.place = Place::Garbage;
        }
    }

    /// Forgets what was held, as a new conversation begins.
    pub fn begin_anew(&mut self) {
        self.held = Vec::new();
        self.start = 0;
        self.place = Place::Outside;
    }

    /// Takes bytes from the front of `input` until it has found something. Without a result all of them are taken.
    pub fn decode<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Option<Piece<'a>> {
        loop {
            if self.start == self.held.len() {
                self.held.clear();
                self.start = 0;
            }
            let is_held = !self.held.is_empty();
            let bytes = if is_held { &self.held[self.start..] } else { *input };
            if bytes.is_empty() {
                return None;
            }
            match look(bytes, self.place, self.limit_bytes) {
                Look::Outside(count) if self.place == Place::Outside => {
                    return Some(Piece::Outside(self.take(is_held, count, input)));
                }
                Look::Outside(count) => {
                    self.counters.garbage_bytes += count as u64;
                    self.skip(is_held, count, input);
                }
                Look::Flags(count) => {
                    self.skip(is_held, count, input);
                    self.place = match self.place {
                        Place::Outside | Place::Flag => Place::Flag,
                        Place::Garbage | Place::GarbageFlag => Place::GarbageFlag,
                    };
                }
                Look::More(count) => {
                    self.hold(count, input);
                    if self.held_bytes() < count {
                        return None;
                    }
                }
                // These bytes are looked at again, from the first after the flag.
                Look::NoFrame if self.place == Place::Flag => self.place = Place::Outside,
                Look::NoFrame | Look::TooLong => self.place = Place::Garbage,
                Look::Bad => {
                    self.counters.bad_fcs += 1;
                    self.place = Place::Garbage;
                }
                Look::Frame { dlci, kind, header, length } => {
                    self.counters.frames += 1;
                    // The flag at its end may be the one that begins the next.
                    self.place = Place::Flag;
                    let frame = self.take(is_held, header + length + 2, input);
                    let information = &frame[header..header + length];
                    return Some(Piece::Frame(Frame { dlci, kind, information }));
                }
            }
        }
    }

    /// The next `count` bytes are what was looked for.
    fn take<'a, 'i: 'a>(&'a mut self, is_held: bool, count: usize, input: &mut &'i [u8]) -> &'a [u8] {
        let bytes = *input;
        self.skip(is_held, count, input);
        if is_held { &self.held[self.start - count..self.start] } else { &bytes[..count] }
    }

    /// The next `count` bytes are done with.
    fn skip(&mut self, is_held: bool, count: usize, input: &mut &[u8]) {
        if is_held {
            self.start += count;
        } else {
            *input = &input[count..];
        }
    }

    /// Holds up to `count` bytes in all.
    fn hold(&mut self, count: usize, input: &mut &[u8]) {
        if self.held.capacity() < self.start + count {
            self.held.drain(..self.start);
            self.start = 0;
            self.held.reserve_exact(count.saturating_sub(self.held.len()));
        }
        let missing = count.saturating_sub(self.held_bytes()).min(input.len());
        let (more, rest) = input.split_at(missing);
        self.held.extend_from_slice(more);
        *input = rest;
    }
}

/// What `bytes`, which are not empty, begin with.
fn look(bytes: &[u8], place: Place, limit_bytes: usize) -> Look {
    let flags = bytes.iter().take_while(|byte| **byte == FLAG).count();
    if flags > 0 {
        return Look::Flags(flags);
    }
    if matches!(place, Place::Outside | Place::Garbage) {
        return Look::Outside(bytes.iter().position(|byte| *byte == FLAG).unwrap_or(bytes.len()));
    }
    if bytes[0] & EA == 0 {
        return Look::NoFrame;
    }
    let Some(&control) = bytes.get(1) else { return Look::More(2) };
    let Some(kind) = Kind::parse(control) else { return Look::NoFrame };
    let Some(&low) = bytes.get(2) else { return Look::More(3) };
    let (header, length) = match (low & EA, bytes.get(3)) {
        (0, None) => return Look::More(4),
        (0, Some(high)) => (4, usize::from(*high) << 7 | usize::from(low >> 1)),
        _ => (3, usize::from(low >> 1)),
    };
    if length > limit_bytes {
        return Look::TooLong;
    }
    let whole = header + length + 2;
    let Some(frame) = bytes.get(..whole) else { return Look::More(whole) };
    let summed = if kind == Kind::Ui { header + length } else { header };
    // The flag first: it costs less than the sum over a long UI frame.
    if frame[whole - 1] != FLAG || !checksum(START, &frame[..summed]) != frame[whole - 2] {
        return Look::Bad;
    }
    Look::Frame { dlci: bytes[0] >> 2, kind, header, length }
}

/// The sum of TS 27.010, 5.2.1.6, continued over `bytes`. It is sent inverted.
fn checksum(sum: u8, bytes: &[u8]) -> u8 {
    bytes.iter().fold(sum, |sum, byte| CHECKSUMS[usize::from(sum ^ byte)])
}

/// What a byte makes of the sum: the polynomial x^8 + x^2 + x + 1, reflected.
const CHECKSUMS: [u8; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut sum = index as u8;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 0 { sum >> 1 } else { sum >> 1 ^ 0xE0 };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
};

/// The sum before the first byte.
const START: u8 = 0xFF;

/// The last octet of a field.
const EA: u8 = 0x01;

/// C/R in an address: a command of the host.
const COMMAND: u8 = 0x02;

/// P/F in a control octet.
const POLL: u8 = 0x10;

const DLCI_MAX: u8 = 63;

/// The largest length that one octet can hold.
const SHORT_MAX: usize = 127;
