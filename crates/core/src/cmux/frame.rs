//! Frames of TS 27.010, basic option: written whole, read byte by byte.
//!
//! ```text
//!  F9 | address | control | length, 1 or 2 octets | information | FCS | F9
//! ```
//! One flag may be enough between two frames. The information may hold flags, so only the length shows where a frame ends,
//! and a wrong length would swallow what follows. So a frame counts only if its FCS is right and a flag follows, and
//! after a frame that does not count, the search goes on at the byte after its first flag.

use crate::byte_queue::ByteQueue;

/// Begins and ends a frame.
pub const FLAG: u8 = 0xF9;

/// How many bytes a frame has besides its information, at most: two flags, address, control, two octets of length, FCS.
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
    /// Text between two frames: nothing that came since the last one can be the remains of a damaged one.
    Outside(&'a [u8]),
}

impl Kind {
    fn parse(control: u8) -> Option<Kind> {
        Some(match control & !POLL {
            0x2F => Kind::Sabm,
            0x63 => Kind::Ua,
            0x0F => Kind::Dm,
            0x43 => Kind::Disc,
            0xEF => Kind::Uih,
            0x03 => Kind::Ui,
            _ => return None,
        })
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
/// the information is longer than the length field can hold.
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
    position: Position,
    /// Bytes that were taken and may be looked at again: those since the flag of a frame that is not whole, or those
    /// of a frame that turned out to be none.
    held: Vec<u8>,
    /// Index of the first of them that is still of use.
    start: usize,
    counters: DecoderCounters,
}

/// What a decoder has counted.
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
enum Position {
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
    /// How many bytes come before a flag, or all. Between frames: how many are text.
    Outside(usize),
    /// Neither a flag nor text.
    NoText,
    /// This many flags.
    Flags(usize),
    /// Unknown until this many bytes have arrived.
    More(usize),
    /// No frame begins here.
    NoFrame,
    /// A frame begins here that is too long to be one.
    TooLong,
    /// A frame that does not count.
    Bad,
    Frame {
        dlci: u8,
        kind: Kind,
        header: usize,
        length: usize,
    },
}

impl Decoder {
    /// Takes frames with information of up to `limit_bytes`. That is also what it holds at most, and a header.
    pub fn new(limit_bytes: usize) -> Self {
        Decoder { limit_bytes: limit_bytes.min(LENGTH_MAX), ..Decoder::default() }
    }

    /// What it has counted.
    pub fn counters(&self) -> DecoderCounters {
        self.counters
    }

    /// Whether it holds the beginning of what may become a frame.
    pub fn is_inside_frame(&self) -> bool {
        self.start < self.held.len()
    }

    /// Whether a good frame is to be waited for: it is inside of one, or what came last was none.
    pub fn is_out_of_step(&self) -> bool {
        self.is_inside_frame() || matches!(self.position, Position::Garbage | Position::GarbageFlag)
    }

    /// How many bytes it holds.
    pub fn held_bytes(&self) -> usize {
        self.held.len() - self.start
    }

    /// How many bytes of memory it has taken.
    pub fn memory_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// What was held is not the beginning of a frame, as the rest never came. What it hides is found by the next
    /// [`Decoder::decode`].
    pub fn give_up_frame(&mut self) {
        if self.is_inside_frame() {
            self.counters.bad_fcs += 1;
            self.position = Position::Garbage;
        }
    }

    /// Forgets what was held, as a new conversation begins.
    pub fn begin_anew(&mut self) {
        self.held = Vec::new();
        self.start = 0;
        self.position = Position::Outside;
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
            match look(bytes, self.position, self.limit_bytes) {
                Look::Outside(count) if self.position == Position::Outside => {
                    return Some(Piece::Outside(self.take(is_held, count, input)));
                }
                Look::Outside(count) => {
                    self.counters.garbage_bytes += count as u64;
                    self.skip(is_held, count, input);
                }
                Look::Flags(count) => {
                    self.skip(is_held, count, input);
                    self.position = match self.position {
                        Position::Outside | Position::Flag => Position::Flag,
                        Position::Garbage | Position::GarbageFlag => Position::GarbageFlag,
                    };
                }
                Look::More(count) => {
                    self.hold(count, input);
                    if self.held_bytes() < count {
                        return None;
                    }
                }
                // These bytes are looked at again, from the first after the flag.
                Look::NoFrame if self.position == Position::Flag => self.position = Position::Outside,
                Look::NoFrame | Look::NoText | Look::TooLong => self.position = Position::Garbage,
                Look::Bad => {
                    self.counters.bad_fcs += 1;
                    self.position = Position::Garbage;
                }
                Look::Frame { dlci, kind, header, length } => {
                    self.counters.frames += 1;
                    // The flag at its end may be the one that begins the next.
                    self.position = Position::Flag;
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
fn look(bytes: &[u8], position: Position, limit_bytes: usize) -> Look {
    let flags = bytes.iter().take_while(|byte| **byte == FLAG).count();
    if flags > 0 {
        return Look::Flags(flags);
    }
    let until = |is_end: fn(&u8) -> bool| bytes.iter().position(is_end).unwrap_or(bytes.len());
    match position {
        Position::Garbage => return Look::Outside(until(|byte| *byte == FLAG)),
        Position::Outside => {
            return match until(|byte| !is_text(*byte)) {
                0 => Look::NoText,
                count => Look::Outside(count),
            };
        }
        Position::Flag | Position::GarbageFlag => {}
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

/// Whether a module sends it as text, or a line without power shows it.
fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\r' | b'\n' | 0)
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

#[cfg(test)]
mod tests {
    use super::super::tests::{Chance, frame, hex};
    use super::*;

    /// What a decoder finds, as text; the bytes come in pieces of these lengths.
    fn found(bytes: &[u8], limit_bytes: usize, steps: &[usize]) -> Vec<String> {
        let mut decoder = Decoder::new(limit_bytes);
        let (mut all, mut outside) = (Vec::new(), Vec::new());
        let mut rest = bytes;
        for step in steps.iter().cycle() {
            let mut piece = &rest[..rest.len().min(*step)];
            rest = &rest[piece.len()..];
            collect(&mut decoder, &mut piece, &mut all, &mut outside);
            assert!(piece.is_empty(), "bytes were left");
            assert!(
                decoder.held_bytes() <= limit_bytes + OVERHEAD_BYTES,
                "{} bytes are held",
                decoder.held_bytes()
            );
            assert!(decoder.held.capacity() <= limit_bytes + OVERHEAD_BYTES);
            if rest.is_empty() {
                break;
            }
        }
        while decoder.is_inside_frame() {
            decoder.give_up_frame();
            collect(&mut decoder, &mut &[][..], &mut all, &mut outside);
        }
        all.extend(text(&mut outside));
        all.push(format!("{:?}", decoder.counters()));
        all
    }

    fn collect(decoder: &mut Decoder, piece: &mut &[u8], all: &mut Vec<String>, outside: &mut Vec<u8>) {
        while let Some(piece) = decoder.decode(piece) {
            match piece {
                Piece::Outside(bytes) => outside.extend_from_slice(bytes),
                Piece::Frame(frame) => {
                    all.extend(text(outside));
                    let information = frame.information.escape_ascii();
                    all.push(format!("{:?} {} {information}", frame.kind, frame.dlci));
                }
            }
        }
    }

    fn text(outside: &mut Vec<u8>) -> Option<String> {
        let text = format!("outside {}", outside.escape_ascii());
        (!std::mem::take(outside).is_empty()).then_some(text)
    }

    fn frames_of(bytes: &[u8], limit_bytes: usize, step: usize) -> Vec<String> {
        found(bytes, limit_bytes, &[step])
            .into_iter()
            .filter(|it| !it.starts_with("DecoderCounters"))
            .collect()
    }

    #[test]
    fn frames_of_the_host_are_written_as_those_that_real_implementations_write_and_take() {
        let pattern: Vec<u8> = (0..1460).map(|index| index as u8).collect();
        for (dlci, kind, poll, information, expected) in [
            (0, Kind::Sabm, Poll::Set, &b""[..], "f9033f011cf9"),
            (1, Kind::Sabm, Poll::Set, b"", "f9073f01def9"),
            (2, Kind::Sabm, Poll::Set, b"", "f90b3f0159f9"),
            (3, Kind::Sabm, Poll::Set, b"", "f90f3f019bf9"),
            (4, Kind::Sabm, Poll::Set, b"", "f9133f0196f9"),
            (0, Kind::Disc, Poll::Set, b"", "f9035301fdf9"),
            (1, Kind::Disc, Poll::Set, b"", "f90753013ff9"),
            (2, Kind::Disc, Poll::Set, b"", "f90b5301b8f9"),
            (1, Kind::Uih, Poll::Clear, b"AT", "f907ef05415430f9"),
            (1, Kind::Uih, Poll::Clear, b"AT\r", "f907ef0741540dd3f9"),
            (2, Kind::Uih, Poll::Clear, b"\r\n", "f90bef050d0ab7f9"),
            (0, Kind::Uih, Poll::Clear, &[0xC3, 1], "f903ef05c301f2f9"),
            (0, Kind::Uih, Poll::Clear, &[0xC1, 1], "f903ef05c101f2f9"),
            (0, Kind::Uih, Poll::Clear, &[0xE3, 5, 7, 0x0D], "f903ef09e305070dfbf9"),
            (0, Kind::Uih, Poll::Clear, &[0xE3, 5, 7, 0x8D], "f903ef09e305078dfbf9"),
            (0, Kind::Uih, Poll::Clear, b"\x23\x07abc", "f903ef0b230761626318f9"),
            (0, Kind::Uih, Poll::Clear, &[0x43, 1], "f903ef054301f2f9"),
            (0, Kind::Uih, Poll::Clear, &[0x63, 1], "f903ef056301f2f9"),
            (0, Kind::Uih, Poll::Clear, &[0xA3, 1], "f903ef05a301f2f9"),
        ] {
            let mut output = ByteQueue::new(4096);
            assert!(encode(dlci, kind, poll, information, &mut output));
            assert_eq!(hex(output.as_slice()), expected);
        }
        let mut output = ByteQueue::new(4096);
        assert!(encode(2, Kind::Uih, Poll::Clear, &pattern, &mut output));
        let written = output.as_slice();
        assert_eq!(hex(&written[..5]), "f90bef680b", "a length of two octets");
        assert_eq!(&written[5..1465], pattern);
        assert_eq!(hex(&written[1465..]), "71f9");
    }

    #[test]
    fn a_frame_is_written_whole_or_not_at_all() {
        let mut output = ByteQueue::new(20);
        assert!(encode(1, Kind::Uih, Poll::Clear, b"abcd", &mut output));
        let before = output.as_slice().to_vec();
        assert!(!encode(1, Kind::Uih, Poll::Clear, b"efgh", &mut output));
        assert_eq!(output.as_slice(), before);
        assert!(!encode(1, Kind::Uih, Poll::Clear, &[0; LENGTH_MAX + 1], &mut ByteQueue::new(100_000)));
    }

    #[test]
    fn frames_of_real_modules_are_read_byte_by_byte() {
        for (bytes, expected) in [
            ("f9037301d7f9", "Ua 0 "),
            ("f907730115f9", "Ua 1 "),
            ("f90b730192f9", "Ua 2 "),
            ("f90f730150f9", "Ua 3 "),
            ("f91373015df9", "Ua 4 "),
            ("f9033f011cf9", "Sabm 0 "),
            ("f90753013ff9", "Disc 1 "),
            ("f9071f01f4f9", "Dm 1 "),
            ("f907ef05415430f9", "Uih 1 AT"),
            ("f901ef09e105070d9af9", r"Uih 0 \xe1\x05\x07\r"),
            ("f903ef09e305078dfbf9", r"Uih 0 \xe3\x05\x07\x8d"),
            ("f901ef0b210761626379f9", r"Uih 0 !\x07abc"),
            ("f901ef05410193f9", r"Uih 0 A\x01"),
            ("f901ef05610193f9", r"Uih 0 a\x01"),
            ("f901ef05a10193f9", r"Uih 0 \xa1\x01"),
            ("f903ef05c101f2f9", r"Uih 0 \xc1\x01"),
        ] {
            let bytes: Vec<u8> = (0..bytes.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).expect("hex"))
                .collect();
            assert_eq!(frames_of(&bytes, 191, 1), [expected]);
            assert_eq!(frames_of(&bytes, 191, 100), [expected]);
        }
    }

    #[test]
    fn both_values_of_pf_and_cr_and_any_number_of_flags_are_taken() {
        for poll in [0, POLL] {
            for kind in [Kind::Sabm, Kind::Ua, Kind::Dm, Kind::Disc, Kind::Uih, Kind::Ui] {
                for command in [0, COMMAND] {
                    let one = frame(3 << 2 | command | EA, kind as u8 | poll, b"x\xF9y");
                    for (between, name) in [(&one[1..], "one flag"), (&one[..], "two"), (&[FLAG; 9], "many")]
                    {
                        let bytes = [&one[..], between, &one[1..]].concat();
                        let expected = format!(r"{kind:?} 3 x\xf9y");
                        let all = frames_of(&bytes, 191, 2);
                        assert!(all.len() >= 2 && all.iter().all(|it| *it == expected), "{name}: {all:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_fcs_of_ui_covers_the_information_and_that_of_uih_does_not() {
        for (control, expected) in [(Kind::Ui as u8, 0), (Kind::Uih as u8, 1)] {
            let mut bytes = frame(0x07, control, b"abc");
            bytes[5] ^= 1;
            assert_eq!(frames_of(&bytes, 191, 1).len(), expected);
        }
    }

    #[test]
    fn a_frame_may_be_longer_than_agreed_and_one_beyond_the_limit_is_skipped_at_once() {
        for (length, is_taken) in [(127, true), (128, true), (191, true), (192, false), (20_000, false)] {
            let bytes = frame(0x07, 0xEF, &vec![b'x'; length]);
            // Nothing but the header has come of it when the next frame does.
            let after = [&bytes[..6], &frame(0x0B, 0xEF, b"next")[..]].concat();
            match is_taken {
                true => assert_eq!(frames_of(&bytes, 191, 1), [format!("Uih 1 {}", "x".repeat(length))]),
                false => {
                    let mut decoder = Decoder::new(191);
                    let (mut all, mut outside) = (Vec::new(), Vec::new());
                    collect(&mut decoder, &mut &after[..], &mut all, &mut outside);
                    assert_eq!(all, ["Uih 2 next"], "length {length}");
                    assert!(outside.is_empty(), "it is no text");
                }
            }
        }
    }

    #[test]
    fn a_session_means_the_same_however_it_is_split() {
        let mut damaged = frame(0x0B, 0xEF, b"damaged \r\nRDY\r\n \xF9 more");
        damaged.remove(9);
        let session = [
            &b"\r\nOK\r\n"[..],
            &frame(0x03, 0x73, b""),
            &frame(0x07, 0xEF, b"\xF9\xF9\x07\xEF")[1..],
            &[FLAG; 5],
            &damaged,
            &frame(0x0B, 0xFF, &[0xF9; 150]),
            &frame(0x0B, 0xEF, &[7; 190])[..40],
            &frame(0x01, 0xEF, b"\xE1\x05\x07\x0D"),
            b"\r\nRDY\r\n\r\n+CFUN: 1\r\n",
            &frame(0x0F, 0x13, b"ui"),
        ]
        .concat();
        let whole = found(&session, 191, &[session.len()]);
        assert_eq!(
            whole.iter().filter(|it| it.contains("RDY")).count(),
            1,
            "not that of the damaged frame: {whole:?}"
        );
        assert!(whole.contains(&"Ui 3 ui".to_owned()), "{whole:?}");
        for split in 1..session.len() {
            assert_eq!(found(&session, 191, &[split, session.len()]), whole, "split at {split}");
            assert_eq!(found(&session, 191, &[split]), whole, "in steps of {split}");
        }
    }

    #[test]
    fn whatever_byte_is_lost_or_changed_only_its_own_frame_is() {
        let bytes =
            [frame(0x07, 0xEF, b"first"), frame(0x0B, 0xEF, b"second"), frame(0x0F, 0xEF, b"third")].concat();
        for at in 0..bytes.len() {
            let mut lost = bytes.clone();
            lost.remove(at);
            for changed in [None, Some(0x00), Some(0xF9), Some(bytes[at] ^ 0x40)] {
                let damaged = changed.map_or(lost.clone(), |byte| {
                    let mut damaged = bytes.clone();
                    damaged[at] = byte;
                    damaged
                });
                let all = frames_of(&damaged, 191, 1);
                let intact = ["Uih 1 first", "Uih 2 second", "Uih 3 third"]
                    .into_iter()
                    .filter(|frame| all.iter().any(|it| it == frame));
                assert!(intact.count() >= 2, "byte {at}, {changed:?}: {all:?}");
            }
        }
    }

    #[test]
    fn a_good_frame_after_two_frames_of_garbage_is_found() {
        let seed = 27_010;
        let mut chance = Chance::new(seed);
        let good = frame(0x0B, 0xEF, b"a good frame");
        let mut accidents = 0;
        for run in 0..20_000 {
            let mut bytes = Vec::new();
            for _ in 0..2 {
                let length = chance.below(250);
                let mut garbage: Vec<u8> = match chance.below(3) {
                    0 => frame(0x07, 0xEF, &vec![b'x'; length]),
                    1 => (0..length)
                        .map(|_| *chance.pick(&[0xF9, 0x03, 0x07, 0xEF, 0x03, 0x11, 0x01, 0xFF]))
                        .collect(),
                    _ => (0..length).map(|_| chance.below(256) as u8).collect(),
                };
                if !garbage.is_empty() {
                    let at = chance.below(garbage.len());
                    garbage[at] = chance.below(256) as u8;
                    let at = chance.below(garbage.len());
                    garbage.drain(at..(at + chance.below(5)).min(garbage.len()));
                }
                bytes.extend(garbage);
            }
            bytes.extend(&good);
            // Either more comes, or the rest is given up.
            if chance.below(2) == 0 {
                bytes.extend([0; 200]);
            }
            let all = frames_of(&bytes, 191, 1 + chance.below(300));
            // Garbage that is a frame by accident may cover it, once in some ten thousand.
            if !all.contains(&"Uih 2 a good frame".to_owned()) {
                accidents += 1;
                assert!(all.iter().any(|it| !it.starts_with("outside")), "seed {seed}, run {run}: {all:?}");
            }
        }
        assert!(accidents <= 5, "seed {seed}: {accidents} good frames were covered");
    }

    #[test]
    fn looking_again_and_again_ends() {
        // Every flag begins what could be a frame that ends at the end of this.
        for control in [0xEF, 0x03] {
            let dense: Vec<u8> = [0xF9, 0x03, control, 0xFC, 0x02].repeat(4000);
            let all = found(&dense, 1573, &[64]);
            assert!(all.last().is_some_and(|it| it.contains("frames: 0,")), "{all:?}");
        }
    }
}
