//! Frames of the multiplexer's basic option (3GPP TS 27.010 5.2), from bytes and to bytes.
//!
//! `F9 | address | control | length, 1 or 2 octets | information | FCS | F9`; one flag may stand between two frames.

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The channel, 0 to 63; 0 carries messages about the others.
    pub(crate) dlci: u8,
    /// The C/R bit of the address.
    pub(crate) command: bool,
    pub(crate) kind: Kind,
    /// The P/F bit of the control octet.
    pub(crate) poll: bool,
    /// At most 32767 bytes.
    pub(crate) information: Vec<u8>,
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Opens a channel.
    Sabm,
    /// Agrees to SABM or DISC.
    Ua,
    /// There is no such channel.
    Dm,
    /// Closes a channel.
    Disc,
    /// Carries bytes; its FCS covers the header alone.
    Uih,
    /// Carries bytes; its FCS covers them as well.
    Ui,
}

/// What the decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Frame(Frame),
    /// The header of a frame of this channel that is longer than the limit. The search goes on after its flag.
    TooLong {
        dlci: u8,
    },
    /// A flag that no frame follows: garbage, a wrong FCS, bytes lost inside. The search goes on after it.
    Garbled,
}

/// Finds frames in what the host sends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decoder {
    /// From the flag of a frame that is not complete yet, if it is not empty.
    bytes: Vec<u8>,
}

impl Frame {
    /// The bytes of the frame, flags included.
    pub(crate) fn encoded(&self) -> Vec<u8> {
        let count = self.information.len();
        let mut bytes = Vec::with_capacity(count + LONGEST_FRAMING_BYTES);
        let control = self.kind.control() | if self.poll { POLL } else { 0 };
        bytes.extend([FLAG, self.dlci << 2 | u8::from(self.command) << 1 | EA, control]);
        if count <= 127 {
            bytes.push((count as u8) << 1 | EA);
        } else {
            bytes.extend([(count << 1) as u8, (count >> 7) as u8]);
        }
        let header_end = bytes.len();
        bytes.extend_from_slice(&self.information);
        let covered = if self.kind == Kind::Ui { bytes.len() } else { header_end };
        let check = check(&bytes[1..covered]);
        bytes.extend([check, FLAG]);
        bytes
    }
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Sabm, Kind::Ua, Kind::Dm, Kind::Disc, Kind::Uih, Kind::Ui];

    /// The control octet with P/F clear.
    fn control(self) -> u8 {
        match self {
            Kind::Sabm => 0x2F,
            Kind::Ua => 0x63,
            Kind::Dm => 0x0F,
            Kind::Disc => 0x43,
            Kind::Uih => 0xEF,
            Kind::Ui => 0x03,
        }
    }

    fn has_information(self) -> bool {
        matches!(self, Kind::Uih | Kind::Ui)
    }
}

impl Decoder {
    /// Adds what has arrived; [`Decoder::next`] is then to be called until it finds nothing.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, of at most `longest` bytes of information; `None` until more bytes come. Then no more than
    /// one frame of that length is held.
    pub(crate) fn next(&mut self, longest: usize) -> Option<Found> {
        let Some(flag) = self.bytes.iter().position(|byte| *byte == FLAG) else {
            self.bytes.clear();
            return None;
        };
        // Of several flags the last one begins the frame.
        let flags = self.bytes[flag..].iter().take_while(|byte| **byte == FLAG).count();
        self.bytes.drain(..flag + flags - 1);
        match read(&self.bytes[1..], longest) {
            Read::Incomplete => None,
            Read::Garbled => {
                self.bytes.drain(..1);
                Some(Found::Garbled)
            }
            Read::TooLong { dlci } => {
                self.bytes.drain(..1);
                Some(Found::TooLong { dlci })
            }
            Read::Frame(frame, count) => {
                // The closing flag stays: it may open the next frame.
                self.bytes.drain(..1 + count);
                Some(Found::Frame(frame))
            }
        }
    }

    /// What has arrived after the last frame, without its closing flag.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.bytes);
        if rest.first() == Some(&FLAG) {
            rest.remove(0);
        }
        rest
    }
}

/// What the bytes after a flag are.
enum Read {
    Incomplete,
    Garbled,
    TooLong {
        dlci: u8,
    },
    /// A frame, and the number of its bytes between the flags.
    Frame(Frame, usize),
}

fn read(bytes: &[u8], longest: usize) -> Read {
    let Some(&address) = bytes.first() else { return Read::Incomplete };
    if address & EA == 0 {
        return Read::Garbled;
    }
    let Some(&control) = bytes.get(1) else { return Read::Incomplete };
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.control() == control & !POLL) else {
        return Read::Garbled;
    };
    let Some(&first) = bytes.get(2) else { return Read::Incomplete };
    let low = usize::from(first >> 1);
    let (length, header_bytes) = match first & EA {
        0 => match bytes.get(3) {
            Some(high) => (low | usize::from(*high) << 7, 4),
            None => return Read::Incomplete,
        },
        _ => (low, 3),
    };
    if length > 0 && !kind.has_information() {
        return Read::Garbled;
    }
    if length > longest {
        return Read::TooLong { dlci: address >> 2 };
    }
    let end = header_bytes + length;
    let (Some(&check_octet), Some(&closing)) = (bytes.get(end), bytes.get(end + 1)) else {
        return Read::Incomplete;
    };
    let covered = if kind == Kind::Ui { end } else { header_bytes };
    if check_octet != check(&bytes[..covered]) || closing != FLAG {
        return Read::Garbled;
    }
    let frame = Frame {
        dlci: address >> 2,
        command: address & COMMAND != 0,
        kind,
        poll: control & POLL != 0,
        information: bytes[header_bytes..end].to_vec(),
    };
    Read::Frame(frame, end + 1)
}

/// The frame check sequence: CRC-8 with the reflected polynomial E0, inverted (TS 27.010 5.2.1.6).
fn check(bytes: &[u8]) -> u8 {
    let mut crc = 0xFF_u8;
    for byte in bytes {
        crc ^= byte;
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xE0 } else { 0 };
        }
    }
    !crc
}

pub(crate) const FLAG: u8 = 0xF9;
/// The last octet of a field has this bit.
pub(crate) const EA: u8 = 0x01;
const COMMAND: u8 = 0x02;
const POLL: u8 = 0x10;
/// Flags, address, control, length and FCS.
const LONGEST_FRAMING_BYTES: usize = 7;
/// What fits into a length of 15 bits.
pub(crate) const LONGEST_INFORMATION_BYTES: usize = 32_767;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(dlci: u8, kind: Kind, poll: bool, information: &[u8]) -> Frame {
        Frame { dlci, command: true, kind, poll, information: information.to_vec() }
    }

    /// What a decoder finds when the bytes come in pieces of this size, without garbage.
    fn frames(bytes: &[u8], piece_bytes: usize) -> Vec<Frame> {
        let mut decoder = Decoder::default();
        let mut found = Vec::new();
        for piece in bytes.chunks(piece_bytes) {
            decoder.push(piece);
            while let Some(next) = decoder.next(127) {
                if let Found::Frame(frame) = next {
                    found.push(frame);
                }
            }
        }
        found
    }

    #[test]
    fn every_frame_is_read_as_it_was_written() {
        for kind in Kind::ALL {
            for poll in [false, true] {
                for dlci in [0, 1, 4, 63] {
                    let longest = if kind.has_information() { 127 } else { 0 };
                    for count in [0, 1, longest] {
                        let written = frame(dlci, kind, poll, &vec![0xF9; count.min(longest)]);
                        assert_eq!(frames(&written.encoded(), 1), [written]);
                    }
                }
            }
        }
    }

    #[test]
    fn a_length_above_127_takes_two_octets() {
        let long = frame(2, Kind::Uih, false, &[b'x'; 1_460]);
        let bytes = long.encoded();
        assert_eq!(bytes[..5], [0xF9, 0x0B, 0xEF, 0x68, 0x0B]);
        assert_eq!(bytes[bytes.len() - 2..], [0x71, 0xF9]);
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        assert_eq!(decoder.next(1_460), Some(Found::Frame(long)));
        decoder.push(&bytes);
        assert_eq!(decoder.next(1_459), Some(Found::TooLong { dlci: 2 }));
    }

    #[test]
    fn one_flag_may_stand_between_two_frames() {
        let (first, second) = (frame(1, Kind::Uih, false, b"AT"), frame(2, Kind::Sabm, true, b""));
        let mut bytes = first.encoded();
        bytes.pop();
        bytes.extend(second.encoded());
        for piece_bytes in 1..bytes.len() {
            assert_eq!(frames(&bytes, piece_bytes), [first.clone(), second.clone()]);
        }
    }

    #[test]
    fn after_a_wrong_check_the_search_goes_on_at_the_byte_after_the_flag() {
        // A frame whose length reaches over the next one: what it swallows is found all the same.
        let good = frame(1, Kind::Uih, false, b"AT\r");
        let mut bytes = vec![0xF9, 0x07, 0xEF, 60 << 1 | 1];
        bytes.extend(good.encoded());
        bytes.resize(80, b'.');
        assert_eq!(frames(&bytes, 1), std::slice::from_ref(&good));
        // Bytes lost inside a frame: the one after it is found.
        let mut bytes = frame(1, Kind::Uih, false, b"0123456789").encoded();
        bytes.drain(5..8);
        bytes.extend(good.encoded());
        bytes.extend(good.encoded());
        assert_eq!(frames(&bytes, 1), [good.clone(), good]);
    }

    #[test]
    fn no_garbage_hides_a_frame_or_grows_the_decoder() {
        let good = frame(3, Kind::Uih, false, b"found");
        let mut decoder = Decoder::default();
        let mut number = 1_u32;
        for round in 0..2_000 {
            for _ in 0..round % 300 {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let byte = (number >> 24) as u8;
                decoder.push(&[if byte < 64 { FLAG } else { byte }]);
                while decoder.next(127).is_some() {}
                assert!(decoder.bytes.len() <= 127 + LONGEST_FRAMING_BYTES);
            }
            // As many flags as a frame is long end every one that is not complete.
            decoder.push(&[FLAG; 127 + LONGEST_FRAMING_BYTES]);
            while decoder.next(127).is_some() {}
            decoder.push(&good.encoded());
            assert_eq!(decoder.next(127), Some(Found::Frame(good.clone())), "round {round}");
        }
    }
}
