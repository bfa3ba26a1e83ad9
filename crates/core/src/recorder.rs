//! The flight recorder: the last messages on a port, kept in memory as readable text.
//!
//! The notation is that of tests/transcripts: `>` the host, `<` the modem, `@ +1.250s` a pause, `#` a remark,
//! `[n]` so many bytes of payload. It is the only code that sees the whole conversation: what is logged under
//! `-v` and `-vv` (targets `at` and `wire`) is logged here. Secrets are masked before they get here, numbers
//! that identify a modem, a SIM or a person are masked here, and payload is left out unless somebody asks for
//! it.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use crate::counted;

/// The last lines of one port's conversation. Once it is full it takes no more memory from the system.
#[derive(Debug)]
pub struct Recorder {
    /// Begins every logged line: the port's name where there are several, and a space.
    label: String,
    /// Whole lines with their line ends, in ASCII.
    kept: VecDeque<u8>,
    limit_bytes: usize,
    /// What is being put together: a text, and the lines that come of it.
    text: String,
    entry: String,
    last_line: Option<Instant>,
    /// Payload whose rest is still to come.
    unfinished: Option<Unfinished>,
    records_payload: bool,
}

/// Who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// We.
    Host,
    /// The modem.
    Modem,
}

#[derive(Debug)]
struct Unfinished {
    side: Side,
    length: usize,
    /// What it consists of, escaped, if that is wanted.
    text: String,
    /// How many bytes of it `text` has.
    recorded: usize,
}

impl Recorder {
    /// Keeps at most `limit_bytes` of text.
    pub fn new(limit_bytes: usize) -> Self {
        Recorder {
            label: String::new(),
            kept: VecDeque::new(),
            limit_bytes,
            text: String::new(),
            entry: String::new(),
            last_line: None,
            unfinished: None,
            records_payload: false,
        }
    }

    /// From now on logged lines begin with this name, for where several ports are logged.
    pub(crate) fn set_label(&mut self, port: &str) {
        self.label = format!("{port} ");
    }

    /// From now on record what payload consists of, or only how much there is.
    pub fn record_payload(&mut self, wanted: bool) {
        self.records_payload = wanted;
    }

    /// A line was sent: a command without its secrets, or a line of the modem.
    pub fn line(&mut self, side: Side, text: impl fmt::Display, now: Instant) {
        let mut shown = std::mem::take(&mut self.text);
        shown.clear();
        // Writing to a String cannot fail.
        let _ = write!(Masking(&mut shown), "{text}");
        mask_end(&mut shown);
        unmistakable(&mut shown);
        log::debug!(target: "at", "{}{} {shown}", self.label, side.sign());
        self.add(side, &shown, now);
        self.text = shown;
    }

    /// A line of the modem that may belong to the answer of a command; of a secret one, only its name is kept.
    pub fn answer(&mut self, text: &str, secret: bool, now: Instant) {
        match text.split_once(':').filter(|_| secret) {
            Some((name, _)) => self.line(Side::Modem, format_args!("{name}: ***"), now),
            None if secret => self.line(Side::Modem, "***", now),
            None => self.line(Side::Modem, text, now),
        }
    }

    /// Something happened to the channel that is no line of its conversation.
    pub fn remark(&mut self, text: impl fmt::Display, now: Instant) {
        log::trace!(target: "wire", "{}# {text}", self.label);
        self.write('#', text, now);
    }

    /// The prompt was seen.
    pub fn prompt(&mut self, now: Instant) {
        log::trace!(target: "wire", "{}< >", self.label);
        self.add(Side::Modem, ">", now);
    }

    /// A piece of payload passed; `left` bytes of the same message are still to come.
    pub fn payload(&mut self, side: Side, bytes: &[u8], left: usize, now: Instant) {
        if self.unfinished.as_ref().is_some_and(|it| it.side != side) {
            self.finish(now);
        }
        let records = self.records_payload;
        let unfinished =
            self.unfinished.get_or_insert(Unfinished { side, length: 0, text: String::new(), recorded: 0 });
        unfinished.length += bytes.len();
        if records {
            escape(bytes, &mut unfinished.text);
            unfinished.recorded += bytes.len();
        }
        if left == 0 {
            self.finish(now);
        }
    }

    /// A piece of a file passed: it may be a key, so what is in it is never recorded.
    pub fn file(&mut self, side: Side, count: usize, left: usize, now: Instant) {
        let records = std::mem::take(&mut self.records_payload);
        self.payload(side, &[], left.max(1), now);
        self.records_payload = records;
        if let Some(unfinished) = &mut self.unfinished {
            unfinished.length += count;
        }
        if left == 0 {
            self.finish(now);
        }
    }

    /// Everything that is kept, oldest first; empty or whole lines.
    pub fn text(&self) -> String {
        let mut text: String = self.kept.iter().copied().map(char::from).collect();
        if let Some(unfinished) = &self.unfinished {
            let _ = writeln!(text, "# then {} of payload, unfinished", counted(unfinished.length, "byte"));
        }
        text
    }

    fn finish(&mut self, now: Instant) {
        let Some(Unfinished { side, length, mut text, recorded }) = self.unfinished.take() else { return };
        log::trace!(target: "wire", "{}{} [{length}]", self.label, side.sign());
        // A part of it would be read as the whole.
        if recorded == length && length > 0 {
            unmistakable(&mut text);
            self.write(side.sign(), format_args!("[{length}] {text}"), now);
        } else {
            self.write(side.sign(), format_args!("[{length}]"), now);
        }
    }

    fn add(&mut self, side: Side, text: &str, now: Instant) {
        // A message of the other side cannot be inside a payload, one of the same side ends a broken one.
        if self.unfinished.as_ref().is_some_and(|it| it.side == side) {
            self.finish(now);
        }
        self.write(side.sign(), text, now);
    }

    fn write(&mut self, sign: char, text: impl fmt::Display, now: Instant) {
        let pause = self.last_line.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last_line = Some(now);
        self.entry.clear();
        if pause >= WORTH_MENTIONING {
            let _ = writeln!(self.entry, "@ +{:.3}s", pause.as_secs_f64());
        }
        let _ = writeln!(self.entry, "{sign} {text}");
        self.keep();
    }

    /// Keeps the entry, in the place of the oldest lines.
    fn keep(&mut self) {
        if self.kept.capacity() == 0 {
            // The system gives it page by page, as it is filled.
            self.kept.reserve_exact(self.limit_bytes);
        }
        let room = self.limit_bytes.saturating_sub(self.entry.len());
        while self.kept.len() > room {
            let end = self.kept.iter().position(|byte| *byte == b'\n');
            self.kept.drain(..end.map_or(self.kept.len(), |end| end + 1));
        }
        if self.entry.len() <= self.limit_bytes {
            self.kept.extend(self.entry.as_bytes());
        }
    }
}

impl Side {
    fn sign(self) -> char {
        match self {
            Side::Host => '>',
            Side::Modem => '<',
        }
    }
}

/// Adds bytes, everything that is not printable as a C escape; quotes stay as they are.
fn escape(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        match byte {
            b'"' | b'\'' => out.push(char::from(*byte)),
            byte => out.extend(byte.escape_ascii().map(char::from)),
        }
    }
}

/// Makes the text one that a reader of transcripts takes for nothing else: no payload, no quotation, no prompt, no
/// remark on a payload.
fn unmistakable(text: &mut String) {
    if let [first @ (b'[' | b'"' | b'('), ..] | [first @ b'>'] = text.as_bytes() {
        let escaped = format!("\\x{first:02x}");
        text.replace_range(..1, &escaped);
    }
}

/// Escapes what is written to it, and masks the numbers in it that identify somebody: IMEI, IMSI and ICCID are the
/// only ones of so many digits in a modem's words.
struct Masking<'a>(&'a mut String);

impl fmt::Write for Masking<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if !byte.is_ascii_digit() {
                mask_end(self.0);
            }
            escape(&[byte], self.0);
        }
        Ok(())
    }
}

/// Masks a number that identifies somebody at the end.
fn mask_end(text: &mut String) {
    let digits = text.bytes().rev().take_while(u8::is_ascii_digit).count();
    if digits >= IDENTITY_DIGITS {
        text.truncate(text.len() - digits);
        text.push_str("***");
    }
}

/// What is kept in all, in bytes.
pub const LIMIT_BYTES: usize = 256 * 1024;

/// Shorter pauses are not written down.
const WORTH_MENTIONING: Duration = Duration::from_millis(10);

/// An IMSI may have 14 digits, an IMEI has 15, an ICCID 19 or 20.
const IDENTITY_DIGITS: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::at::transcript::{Bytes, Event, Transcript};
    use crate::test_clock::now;

    #[test]
    fn a_conversation_is_written_in_the_notation_of_transcripts() {
        let start = now();
        let mut recorder = Recorder::new(1000);
        recorder.line(Side::Host, "AT+QSSLSEND=4,18", start);
        recorder.prompt(start + Duration::from_millis(9));
        recorder.payload(Side::Host, b"0123456789", 8, start + Duration::from_millis(9));
        recorder.payload(Side::Host, b"01234567", 0, start + Duration::from_millis(9));
        recorder.line(Side::Modem, "SEND OK", start + Duration::from_millis(1259));
        assert_eq!(recorder.text(), "> AT+QSSLSEND=4,18\n< >\n> [18]\n@ +1.250s\n< SEND OK\n");
    }

    #[test]
    fn payload_is_shown_only_when_asked_for() {
        let now = now();
        let mut recorder = Recorder::new(1000);
        recorder.payload(Side::Modem, b"secret", 0, now);
        recorder.record_payload(true);
        recorder.payload(Side::Modem, b"\r\nOK\r\n", 1, now);
        recorder.payload(Side::Modem, b"\\", 0, now);
        assert_eq!(recorder.text(), "< [6]\n< [7] \\r\\nOK\\r\\n\\\\\n");
    }

    #[test]
    fn what_looks_like_the_notation_is_read_back_as_it_was_said() {
        let now = now();
        let mut recorder = Recorder::new(1000);
        let lines = ["[4] abcd", "[x]", "\"open", ">", "(remark)", "\\q"];
        lines.iter().for_each(|line| recorder.line(Side::Modem, line, now));
        recorder.payload(Side::Modem, b"unrecorded", 8, now);
        recorder.record_payload(true);
        recorder.payload(Side::Modem, b"recorded", 0, now);
        recorder.payload(Side::Modem, b"(remark)", 0, now);
        let text = recorder.text();
        let transcript = Transcript::parse(&text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
        let said = |bytes: &[u8]| Event::Modem(Bytes::Exact(bytes.to_vec()));
        let mut expected: Vec<Event> =
            lines.iter().map(|line| said(format!("\r\n{line}\r\n").as_bytes())).collect();
        expected.extend([Event::Modem(Bytes::Any(18)), said(b"(remark)")]);
        let events: Vec<Event> = transcript.entries.into_iter().map(|entry| entry.event).collect();
        assert_eq!(events, expected, "{text}");
    }

    #[test]
    fn what_is_in_a_file_is_never_recorded() {
        let now = now();
        let mut recorder = Recorder::new(1000);
        recorder.record_payload(true);
        recorder.file(Side::Host, 100, 28, now);
        recorder.file(Side::Host, 28, 0, now);
        recorder.payload(Side::Modem, b"x", 0, now);
        assert_eq!(recorder.text(), "> [128]\n< [1] x\n");
    }

    #[test]
    fn the_answer_to_a_secret_command_is_masked() {
        let now = now();
        let mut recorder = Recorder::new(1000);
        recorder.answer("+QICSGP: 1,\"net\",\"user\",\"password\",1", true, now);
        recorder.answer("password", true, now);
        recorder.answer("+CSQ: 28,99", false, now);
        assert_eq!(recorder.text(), "< +QICSGP: ***\n< ***\n< +CSQ: 28,99\n");
    }

    #[test]
    fn payload_that_is_cut_short_does_not_swallow_what_follows() {
        let now = now();
        let mut recorder = Recorder::new(1000);
        recorder.payload(Side::Modem, b"abc", 7, now);
        assert_eq!(recorder.text(), "# then 3 bytes of payload, unfinished\n");
        recorder.line(Side::Modem, "RDY", now);
        assert_eq!(recorder.text(), "< [3]\n< RDY\n");
    }

    #[test]
    fn the_oldest_lines_make_room_for_new_ones() {
        let now = now();
        let mut recorder = Recorder::new(64);
        for number in 0..1000 {
            recorder.line(Side::Host, format!("AT+X={number}"), now);
            assert!(recorder.text().len() <= 64);
        }
        let text = recorder.text();
        assert!(text.ends_with("> AT+X=998\n> AT+X=999\n") && text.starts_with("> AT+X="), "{text}");
        recorder.line(Side::Host, "x".repeat(100), now);
        assert_eq!(recorder.text(), "", "a line that is longer than everything is not kept");
    }

    #[test]
    fn numbers_that_identify_somebody_are_masked() {
        let now = now();
        let mut recorder = Recorder::new(1000);
        recorder.line(Side::Modem, "861536030196001", now);
        recorder.line(Side::Modem, "+QCCID: 89860025128306012474", now);
        recorder.line(Side::Modem, "+QIACT: 1,1,1,\"10.7.157.1\"", now);
        recorder.line(Side::Modem, "+CCLK: \"26/08/07,13:54:02+32\"", now);
        assert_eq!(
            recorder.text(),
            "< ***\n< +QCCID: ***\n< +QIACT: 1,1,1,\"10.7.157.1\"\n< +CCLK: \"26/08/07,13:54:02+32\"\n"
        );
    }
}
