//! Plays a recording back: sends what a modem once sent to a host that sends the same commands.
//!
//! The notation is that of transcripts: `>` the host, `<` the modem, `@ +1.250s` a pause, `#` a remark, `[n]
//! text` n bytes of payload. A host that starts afresh does not send exactly what was recorded. So each of its
//! lines is searched for from the present position on, then from the beginning, and the modem's lines after it
//! are sent. A line that is not in the recording is answered with `OK`. Payload that was left out of the
//! recording is filled in.

mod line;

pub use line::ReplayLine;

use std::time::{Duration, Instant};

use crate::mux::frame::LONGEST_INFORMATION_BYTES;
use crate::mux::state::CHANNELS;

/// A recording and the position in it. It does no I/O, and time is an argument.
#[derive(Debug)]
pub struct Replay {
    steps: Vec<ReplayStep>,
    /// The channel that its first line names, from 1.
    channel: Option<u8>,
    /// AT+CMUX was sent and not refused: most bytes of payload in a frame.
    entered: Option<usize>,
    /// The next step.
    position: usize,
    line: Vec<u8>,
    /// The port is a stream: what the host sends is payload.
    is_stream: bool,
    /// This many bytes of the host's payload are still to come.
    payload_left: usize,
    /// The modem's next line is not sent before this time.
    not_before: Option<Instant>,
    output: Vec<u8>,
    unknown_lines: u64,
}

/// A line of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ReplayStep {
    Host(String),
    HostPayload(usize),
    Modem(Vec<u8>),
    /// `CONNECT` after which the port is a stream.
    Stream,
    Pause(Duration),
}

impl Replay {
    /// Reads a recording.
    ///
    /// # Errors
    /// The number, from 1, of the first line that is not in the notation.
    pub fn new(text: &str) -> Result<Replay, usize> {
        let mut replay = Replay::empty();
        for (index, line) in text.lines().enumerate() {
            add_steps(line, &mut replay.steps).ok_or(index + 1)?;
        }
        replay.channel = text.lines().next().and_then(channel_in);
        Ok(replay)
    }

    /// Without a recording: every line is answered with `OK`.
    fn empty() -> Replay {
        Replay {
            steps: Vec::new(),
            channel: None,
            entered: None,
            position: 0,
            line: Vec::new(),
            is_stream: false,
            payload_left: 0,
            not_before: None,
            output: Vec::new(),
            unknown_lines: 0,
        }
    }

    /// The channel of a multiplexer that this is a recording of, from 1, if its first line names one.
    pub fn channel(&self) -> Option<u8> {
        self.channel
    }

    /// The host has sent these bytes.
    pub fn received(&mut self, bytes: &[u8], now: Instant) {
        for &byte in bytes {
            if self.payload_left > 0 {
                self.payload_left -= 1;
                if self.payload_left == 0 {
                    self.play(now);
                }
                continue;
            }
            match byte {
                b'\r' if !self.is_stream => {
                    let line = std::mem::take(&mut self.line);
                    self.line_came(&String::from_utf8_lossy(&line), now);
                }
                b'\n' if self.line.is_empty() => {}
                _ => self.line.push(byte),
            }
            if self.line.ends_with(b"+++") && self.is_stream {
                self.line.clear();
                self.line_came("+++", now);
            }
            if self.line.len() > LINE_LIMIT_BYTES {
                self.line.clear();
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

    /// When [`Replay::deadline_passed`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.not_before
    }

    /// A pause may be over.
    pub fn deadline_passed(&mut self, now: Instant) {
        if self.not_before.is_some_and(|at| at <= now) {
            self.not_before = None;
            self.position += 1;
            self.play(now);
        }
    }

    /// How many lines of the host were not in the recording.
    pub fn unknown_lines(&self) -> u64 {
        self.unknown_lines
    }

    fn line_came(&mut self, line: &str, now: Instant) {
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        let said = |step: &ReplayStep| matches!(step, ReplayStep::Host(text) if text == line);
        let ahead = self.steps[self.position..].iter().position(said).map(|index| self.position + index);
        let found = ahead.or_else(|| self.steps.iter().position(said));
        self.entered = frame_bytes(line).filter(|_| found.is_none_or(|index| !self.is_refused(index)));
        match found {
            Some(index) => {
                self.is_stream = false;
                self.not_before = None;
                self.position = index + 1;
                self.play(now);
            }
            // Data mode has no lines, so a line that matches nothing is payload.
            None if self.is_stream => {}
            None => {
                log::info!("not in the recording: {line}");
                self.unknown_lines += 1;
                self.output.extend_from_slice(b"\r\nOK\r\n");
            }
        }
    }

    /// Whether the answer to this line of the host is an error.
    fn is_refused(&self, index: usize) -> bool {
        let answer = self.steps[index + 1..].iter().take_while(|step| !matches!(step, ReplayStep::Host(_)));
        answer
            .into_iter()
            .any(|step| matches!(step, ReplayStep::Modem(text) if text.windows(5).any(|it| it == b"ERROR")))
    }

    /// Sends the modem's lines up to the next one of the host.
    fn play(&mut self, now: Instant) {
        while let Some(step) = self.steps.get(self.position) {
            match step {
                ReplayStep::Host(_) => return,
                ReplayStep::HostPayload(_) if self.is_stream => {}
                ReplayStep::HostPayload(length) => {
                    self.payload_left = *length;
                    self.position += 1;
                    return;
                }
                ReplayStep::Modem(bytes) => self.output.extend_from_slice(bytes),
                ReplayStep::Stream => {
                    self.output.extend_from_slice(b"\r\nCONNECT\r\n");
                    self.is_stream = true;
                    self.line.clear();
                }
                ReplayStep::Pause(pause) => {
                    // A pause before a line of the host is not waited for: the host keeps its own time.
                    if matches!(
                        self.steps.get(self.position + 1),
                        Some(ReplayStep::Modem(_) | ReplayStep::Stream)
                    ) {
                        self.not_before = Some(now + *pause);
                        return;
                    }
                }
            }
            self.position += 1;
        }
    }
}

/// The channel in the first line of a recording: `# qssl-tunnel 0.1.0, EG800Q on /dev/ttyS1 channel 2, on request`.
fn channel_in(line: &str) -> Option<u8> {
    let (_, number) = line.strip_prefix('#')?.rsplit_once(" channel ")?;
    number.split(',').next()?.parse().ok().filter(|number| (1..=CHANNELS as u8).contains(number))
}

/// The fourth value of a line that enters the multiplexer.
fn frame_bytes(line: &str) -> Option<usize> {
    let values = line.strip_prefix("AT+CMUX=").filter(|values| *values != "?")?;
    let named = values.split(',').nth(3).and_then(|value| value.trim().parse().ok());
    Some(
        named
            .filter(|count| *count > 0)
            .map_or(FRAME_BYTES, |count: usize| count.min(LONGEST_INFORMATION_BYTES)),
    )
}

/// Adds the steps of a line of a recording; `None` if the line is not in the notation.
fn add_steps(line: &str, steps: &mut Vec<ReplayStep>) -> Option<()> {
    let Some((sign, text)) = line.split_at_checked(1) else { return Some(()) };
    let text = text.strip_prefix(' ').unwrap_or(text);
    match sign {
        "#" => {}
        "@" => {
            let seconds: f64 = text.strip_prefix('+')?.strip_suffix('s')?.parse().ok()?;
            steps.push(ReplayStep::Pause(Duration::try_from_secs_f64(seconds).ok()?.min(LONGEST_PAUSE)));
        }
        ">" => steps.push(match payload(text) {
            Some((length, _)) => ReplayStep::HostPayload(length),
            None => ReplayStep::Host(text.to_owned()),
        }),
        "<" => {
            let is_upload = steps.iter().rev().find_map(|step| match step {
                ReplayStep::Host(text) => Some(text.to_ascii_uppercase().contains("+QFUPL=")),
                _ => None,
            });
            let is_download = steps.iter().rev().find_map(|step| match step {
                ReplayStep::Host(text) => Some(text.to_ascii_uppercase().contains("+QFDWL=")),
                _ => None,
            });
            steps.push(match payload(text) {
                Some((length, content)) => ReplayStep::Modem(made_up(content, length)),
                None if text == ">" => ReplayStep::Modem(b"\r\n> ".to_vec()),
                None if text.starts_with("CONNECT")
                    && is_upload != Some(true)
                    && is_download != Some(true) =>
                {
                    ReplayStep::Stream
                }
                None => {
                    let mut bytes = b"\r\n".to_vec();
                    bytes.extend(unescaped(text));
                    bytes.extend_from_slice(b"\r\n");
                    ReplayStep::Modem(bytes)
                }
            });
        }
        _ => return None,
    }
    Some(())
}

/// `[n]` or `[n] text`: the length, and the bytes if they were recorded.
fn payload(text: &str) -> Option<(usize, Vec<u8>)> {
    let (length, rest) = text.strip_prefix('[')?.split_once(']')?;
    let length = length.parse().ok().filter(|length| *length <= PAYLOAD_LIMIT_BYTES)?;
    Some((length, unescaped(rest.strip_prefix(' ').unwrap_or(rest))))
}

/// `length` bytes, beginning with those that are known.
fn made_up(mut content: Vec<u8>, length: usize) -> Vec<u8> {
    content.resize(length, b'.');
    content
}

/// C escapes as bytes; what is no escape stays as it is.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let Some((&code, tail)) = rest.split_first() else { break };
        rest = tail;
        match code {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'x' => {
                let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                if let Some(value) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                    bytes.push(value);
                    rest = &rest[2..];
                }
            }
            other => bytes.push(other),
        }
    }
    bytes
}

/// Most bytes of payload in a frame where AT+CMUX does not name it.
const FRAME_BYTES: usize = 127;
/// A longer line of the host is not a line.
const LINE_LIMIT_BYTES: usize = 4096;
/// More than any message announces.
const PAYLOAD_LIMIT_BYTES: usize = 1 << 20;
/// Longer pauses of a recording are cut to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    const RECORDING: &str = "# source: a test\n> ATE0\n< OK\n> AT+QSSLOPEN=1,1,4,\"a\",443,1\n< OK\n@ +2.000s\n\
        < +QSSLOPEN: 4,0\n@ +9.000s\n> AT+QSSLSEND=4,5\n< >\n> [5]\n< SEND OK\n< +QSSLURC: \"recv\",4,4\n< [4] \\r\\nOK\n\
        < +QSSLURC: \"recv\",4,3\n< [3]\n";

    /// The answer to these bytes, without waiting for pauses.
    fn said(replay: &mut Replay, host: &[u8]) -> String {
        replay.received(host, start());
        while let Some(deadline) = replay.next_deadline() {
            replay.deadline_passed(deadline);
        }
        let text = String::from_utf8_lossy(replay.output()).into_owned();
        replay.written(text.len());
        text
    }

    #[test]
    fn a_conversation_is_had_again() {
        for size in [1, 100] {
            let mut replay = Replay::new(RECORDING).expect("it is one");
            let mut talk =
                |host: &[u8]| host.chunks(size).map(|piece| said(&mut replay, piece)).collect::<String>();
            assert_eq!(talk(b"ATE0\r"), "\r\nOK\r\n");
            assert_eq!(talk(b"AT+QSSLOPEN=1,1,4,\"a\",443,1\r"), "\r\nOK\r\n\r\n+QSSLOPEN: 4,0\r\n");
            assert_eq!(talk(b"AT+QSSLSEND=4,5\r"), "\r\n> ");
            let rest = "\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",4,4\r\n\r\nOK\r\n+QSSLURC: \"recv\",4,3\r\n...";
            assert_eq!(talk(b"AT\r\r\r"), rest, "payload is counted and not looked at");
            assert_eq!(talk(b"AT+NEW\r"), "\r\nOK\r\n");
            assert_eq!(talk(b"ATE0\r"), "\r\nOK\r\n", "from the beginning again");
            assert_eq!(replay.unknown_lines(), 1);
        }
    }

    #[test]
    fn a_pause_of_the_modem_is_kept() {
        let mut replay = Replay::new(RECORDING).expect("it is one");
        replay.received(b"AT+QSSLOPEN=1,1,4,\"a\",443,1\r", start());
        assert_eq!(replay.output(), b"\r\nOK\r\n");
        assert_eq!(replay.next_deadline(), Some(start() + Duration::from_secs(2)));
        replay.deadline_passed(start() + Duration::from_secs(1));
        assert_eq!(replay.output(), b"\r\nOK\r\n");
    }

    #[test]
    fn data_mode_is_left_with_the_escape() {
        let recording = "> ATO\n< CONNECT\n> [3]\n< [2] hi\n> +++\n< OK\n> AT\n< OK\n";
        let mut replay = Replay::new(recording).expect("it is one");
        assert_eq!(said(&mut replay, b"ATO\r"), "\r\nCONNECT\r\nhi");
        assert_eq!(said(&mut replay, b"anything\r\n"), "");
        assert_eq!(said(&mut replay, b"+++"), "\r\nOK\r\n");
        assert_eq!(said(&mut replay, b"AT\r"), "\r\nOK\r\n");
    }

    #[test]
    fn what_is_no_recording_is_named_by_its_line() {
        assert_eq!(Replay::new("> AT\nhello\n").err(), Some(2));
        assert_eq!(Replay::new("@ soon\n").err(), Some(1));
        assert!(Replay::new("").is_ok());
    }
}
