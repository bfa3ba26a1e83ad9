//! Recordings on one line: that of the line itself, or one for each channel of a multiplexer (AT+CMUX).
//!
//! ```text
//!          AT+CMUX in the first recording, not refused
//!   Plain ─────────────────────────────────────────────► Framed
//!     ▲                CLD, or DISC of channel 0            │
//!     └─────────────────────────────────────────────────────┘
//! ```
//! The frames are those of the emulated modem. A channel's recording knows nothing of them.

use std::time::Instant;

use super::Replay;
use crate::mux::frame::{Decoder, EA, Found, Frame, Kind};
use crate::mux::receiving::{COMMAND, LONGEST_MESSAGE_BYTES, message};
use crate::mux::sending::{ADDRESS_COMMAND, CLD, DV, MSC, RTC, RTR};
use crate::mux::state::{CHANNELS, LAST_CHANNEL};

/// The recordings of a line. It does no I/O, and time is an argument.
#[derive(Debug)]
pub struct ReplayLine {
    /// By channel, from 1; the first is also that of the line without a multiplexer.
    channels: [Replay; CHANNELS],
    framing: Framing,
    output: Vec<u8>,
}

#[derive(Debug)]
enum Framing {
    Plain,
    Framed {
        decoder: Decoder,
        /// Most bytes of payload in a frame.
        longest: usize,
        /// The V.24 octet that the host was told last of each channel, if that is open.
        told: [Option<u8>; CHANNELS],
    },
}

impl ReplayLine {
    /// What these recordings have. One without a channel's name is that of the first channel; a channel without a recording
    /// answers every line with `OK`.
    pub fn new(recordings: impl IntoIterator<Item = Replay>) -> Self {
        let mut channels = std::array::from_fn(|_| Replay::empty());
        for recording in recordings {
            let index = usize::from(recording.channel().unwrap_or(1)) - 1;
            channels[index] = recording;
        }
        ReplayLine { channels, framing: Framing::Plain, output: Vec::new() }
    }

    /// The host has sent these bytes.
    pub fn received(&mut self, bytes: &[u8], now: Instant) {
        match &mut self.framing {
            Framing::Plain => {
                self.channels[0].received(bytes, now);
                self.collect();
                if let Some(longest) = self.channels[0].entered.take() {
                    let (decoder, told) = (Decoder::default(), [None; CHANNELS]);
                    self.framing = Framing::Framed { decoder, longest, told };
                }
            }
            Framing::Framed { decoder, longest, .. } => {
                let limit = LONGEST_MESSAGE_BYTES.max(*longest);
                decoder.push(bytes);
                while let Framing::Framed { decoder, .. } = &mut self.framing
                    && let Some(found) = decoder.next(limit)
                {
                    if let Found::Frame(frame) = found {
                        self.take(&frame, now);
                    }
                }
                self.collect();
            }
        }
    }

    /// The bytes that wait to be sent.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// This many bytes of the output have been sent.
    pub fn written(&mut self, count: usize) {
        self.output.drain(..count);
    }

    /// When [`ReplayLine::deadline_passed`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.channels.iter().filter_map(Replay::next_deadline).min()
    }

    /// A pause may be over.
    pub fn deadline_passed(&mut self, now: Instant) {
        for channel in &mut self.channels {
            channel.deadline_passed(now);
        }
        self.collect();
    }

    fn take(&mut self, frame: &Frame, now: Instant) {
        let Framing::Framed { told, .. } = &mut self.framing else { return };
        let Frame { dlci, kind, poll, .. } = *frame;
        let index = usize::from(dlci).wrapping_sub(1);
        match kind {
            Kind::Sabm | Kind::Disc if dlci > LAST_CHANNEL => {
                self.send(dlci, true, Kind::Dm, poll, Vec::new())
            }
            Kind::Sabm | Kind::Disc => {
                if let Some(told) = told.get_mut(index) {
                    *told = (kind == Kind::Sabm).then_some(0);
                } else if kind == Kind::Disc {
                    self.framing = Framing::Plain;
                }
                self.send(dlci, true, Kind::Ua, poll, Vec::new());
            }
            Kind::Uih | Kind::Ui if dlci == 0 => self.take_messages(&frame.information),
            Kind::Uih | Kind::Ui if told.get(index).is_some_and(Option::is_some) => {
                self.channels[index].received(&frame.information, now);
            }
            Kind::Uih | Kind::Ui => self.send(dlci, true, Kind::Dm, true, Vec::new()),
            Kind::Ua | Kind::Dm => {}
        }
    }

    /// Each message is agreed to, and CLD ends the multiplexer.
    fn take_messages(&mut self, mut rest: &[u8]) {
        while let Some((octet, value, after)) = message(rest) {
            rest = after;
            if octet & COMMAND == 0 {
                continue;
            }
            let mut information = vec![octet & !COMMAND, (value.len().min(127) as u8) << 1 | EA];
            information.extend(value.iter().take(127));
            self.send(0, false, Kind::Uih, false, information);
            if octet & !COMMAND == CLD {
                self.framing = Framing::Plain;
            }
        }
    }

    /// Brings what the recordings send to the line, channel by channel, and with it whether each is a stream.
    fn collect(&mut self) {
        let Framing::Framed { longest, told, .. } = &self.framing else {
            let (line, channel) = (&mut self.output, &mut self.channels[0]);
            line.extend_from_slice(channel.output());
            return channel.written(channel.output().len());
        };
        let (longest, told) = (*longest, *told);
        for (index, told) in told.into_iter().enumerate() {
            let Some(told) = told else { continue };
            let dlci = index as u8 + 1;
            let channel = &mut self.channels[index];
            let v24 = EA | RTC | RTR | if channel.is_stream { DV } else { 0 };
            let bytes = channel.output().to_vec();
            channel.written(bytes.len());
            for piece in bytes.chunks(longest) {
                self.send(dlci, false, Kind::Uih, false, piece.to_vec());
            }
            if told != v24 {
                let lines = vec![MSC | COMMAND, 2 << 1 | EA, dlci << 2 | ADDRESS_COMMAND | EA, v24];
                self.send(0, false, Kind::Uih, false, lines);
                if let Framing::Framed { told, .. } = &mut self.framing {
                    told[index] = Some(v24);
                }
            }
        }
    }

    fn send(&mut self, dlci: u8, command: bool, kind: Kind, poll: bool, information: Vec<u8>) {
        self.output.extend(Frame { dlci, command, kind, poll, information }.encoded());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    const FIRST: &str = "# qssl-tunnel 0.1.0, EG800Q on /dev/ttyS1 channel 1, on request\n> AT+CMUX=0,0,5,31\n< OK\n\
        > ATE0\n< OK\n> AT+CSQ\n< +CSQ: 20,99, and more than fits into one frame of 31\n< OK\n";
    const THIRD: &str = "# qssl-tunnel 0.1.0, EG800Q on /dev/ttyS1 channel 3, on request\n> ATO\n< CONNECT\n< [2] hi\n\
        < NO CARRIER\n";

    fn line() -> ReplayLine {
        ReplayLine::new([FIRST, THIRD].map(|text| Replay::new(text).expect("a recording")))
    }

    fn frame(dlci: u8, kind: Kind, information: &[u8]) -> Vec<u8> {
        Frame { dlci, command: true, kind, poll: kind != Kind::Uih, information: information.to_vec() }
            .encoded()
    }

    /// What comes back: plain bytes, or the channel, kind and information of each frame.
    fn answers(line: &mut ReplayLine, bytes: &[u8]) -> Vec<(u8, Kind, String)> {
        line.received(bytes, start());
        let mut decoder = Decoder::default();
        decoder.push(line.output());
        line.written(line.output().len());
        let mut found = Vec::new();
        while let Some(next) = decoder.next(200) {
            if let Found::Frame(frame) = next {
                found.push((
                    frame.dlci,
                    frame.kind,
                    String::from_utf8_lossy(&frame.information).into_owned(),
                ));
            }
        }
        found
    }

    #[test]
    fn each_channel_has_its_recording() {
        let mut line = line();
        line.received(b"AT+CMUX=0,0,5,31\r", start());
        assert_eq!(line.output(), b"\r\nOK\r\n");
        line.written(line.output().len());
        for dlci in 0..=4 {
            let answer = answers(&mut line, &frame(dlci, Kind::Sabm, b""));
            assert_eq!(answer[0], (dlci, Kind::Ua, String::new()));
        }
        let texts = |found: Vec<(u8, Kind, String)>, dlci| {
            let of = found.into_iter().filter(|(of, ..)| *of == dlci);
            of.map(|(.., text)| text).collect::<Vec<_>>()
        };
        let signal = texts(answers(&mut line, &frame(1, Kind::Uih, b"AT+CSQ\r")), 1);
        assert!(signal.len() > 1 && signal.iter().all(|piece| piece.len() <= 31), "{signal:?}");
        assert_eq!(signal.concat(), "\r\n+CSQ: 20,99, and more than fits into one frame of 31\r\n\r\nOK\r\n");
        let stream = answers(&mut line, &frame(3, Kind::Uih, b"ATO\r"));
        assert_eq!(texts(stream, 3).concat(), "\r\nCONNECT\r\nhi\r\nNO CARRIER\r\n");
        assert_eq!(texts(answers(&mut line, &frame(4, Kind::Uih, b"AT+NEW\r")), 4).concat(), "\r\nOK\r\n");
    }

    #[test]
    fn the_line_is_plain_again_after_close_down() {
        let mut line = line();
        line.received(b"AT+CMUX=0,0,5,31\r", start());
        answers(&mut line, &frame(0, Kind::Sabm, b""));
        let closed = answers(&mut line, &frame(0, Kind::Uih, &[CLD | COMMAND, EA]));
        assert_eq!(closed.len(), 1, "{closed:?}");
        line.received(b"ATE0\r", start());
        assert_eq!(line.output(), b"\r\nOK\r\n");
    }

    #[test]
    fn a_refused_mode_is_not_entered() {
        let mut line = ReplayLine::new([Replay::new("> AT+CMUX=0,0,5,512\n< ERROR\n").expect("a recording")]);
        line.received(b"AT+CMUX=0,0,5,512\rAT\r", start());
        assert_eq!(line.output(), b"\r\nERROR\r\n\r\nOK\r\n");
    }
}
