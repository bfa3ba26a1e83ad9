//! A readable record of what passed on a port: `>` the host, `<` the modem, `@` the time since the last line,
//! `[n]` n bytes of payload.
//!
//! Payload is distinguished from text by what was announced (AT+QSSLSEND, +QSSLRECV, the recv URC, AT+QFUPL).
//! Data mode begins with CONNECT, and its end is recognised by OK or NO CARRIER. The record is a log; it checks
//! nothing. As a dialogue (`-v`) its lines have the time since the start and the port's name instead of pauses.

use std::io::Write;
use std::time::{Duration, Instant};

/// One port's transcript.
pub(super) struct Transcript {
    output: Box<dyn Write + Send>,
    form: Form,
    host: Side,
    modem: Side,
    /// What the modem's next prompt or CONNECT means after the host's last command.
    announced: Announced,
    last_line: Option<Instant>,
}

/// What a line looks like.
enum Form {
    /// Recorded, to be played back: pauses are lines of their own.
    Recorded,
    /// Shown among those of other ports.
    Shown { port: &'static str, start: Instant },
}

/// One direction: text up to a line end, or payload.
#[derive(Default)]
struct Side {
    text: Vec<u8>,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Lines,
    /// This many bytes are still to come.
    Payload(usize),
    /// Until Ctrl+Z or ESC.
    Terminated,
    /// Data mode.
    Stream,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Announced {
    #[default]
    Nothing,
    /// After the prompt.
    Send(Option<usize>),
    /// After CONNECT.
    Upload(usize),
}

impl Transcript {
    pub(super) fn new(output: Box<dyn Write + Send>) -> Self {
        Transcript::with_form(output, Form::Recorded)
    }

    /// The dialogue on this port, to be read while it goes on.
    pub(super) fn shown(output: Box<dyn Write + Send>, port: &'static str, start: Instant) -> Self {
        Transcript::with_form(output, Form::Shown { port, start })
    }

    fn with_form(output: Box<dyn Write + Send>, form: Form) -> Self {
        Transcript {
            output,
            form,
            host: Side::default(),
            modem: Side::default(),
            announced: Announced::Nothing,
            last_line: None,
        }
    }

    /// Bytes that reached the modem.
    pub(super) fn host(&mut self, bytes: &[u8], now: Instant) {
        let mut rest = bytes;
        while let Some((&byte, tail)) = rest.split_first() {
            match self.host.mode {
                Mode::Lines => {
                    rest = tail;
                    match byte {
                        b'\r' => self.command(now),
                        b'\n' if self.host.text.is_empty() => {}
                        _ => self.collect('>', byte, now),
                    }
                }
                Mode::Payload(missing) => {
                    let (payload, tail) = rest.split_at(missing.min(rest.len()));
                    rest = tail;
                    self.host.text.extend_from_slice(payload);
                    self.host.mode = Mode::Payload(missing - payload.len());
                    if missing == payload.len() {
                        self.host.mode = Mode::Lines;
                        let text = std::mem::take(&mut self.host.text);
                        self.line('>', &payload_text(&text), now);
                    }
                }
                Mode::Terminated => {
                    rest = tail;
                    self.host.text.push(byte);
                    if matches!(byte, CTRL_Z | ESC) {
                        self.host.mode = Mode::Lines;
                        let text = std::mem::take(&mut self.host.text);
                        self.line('>', &payload_text(&text), now);
                    }
                }
                Mode::Stream => {
                    self.line('>', &payload_text(rest), now);
                    rest = &[];
                }
            }
        }
    }

    /// Bytes that left for the host.
    pub(super) fn modem(&mut self, bytes: &[u8], now: Instant) {
        let mut rest = bytes;
        while let Some((&byte, tail)) = rest.split_first() {
            match self.modem.mode {
                Mode::Stream => {
                    if let Some(words) = LEAVING.iter().find(|words| rest.ends_with(words.as_bytes())) {
                        let payload = &rest[..rest.len() - words.len()];
                        if !payload.is_empty() {
                            self.line('<', &payload_text(payload), now);
                        }
                        self.line('<', words.trim(), now);
                        self.host.mode = Mode::Lines;
                        self.modem.mode = Mode::Lines;
                    } else {
                        self.line('<', &payload_text(rest), now);
                    }
                    rest = &[];
                }
                Mode::Payload(missing) => {
                    let (payload, tail) = rest.split_at(missing.min(rest.len()));
                    rest = tail;
                    self.modem.text.extend_from_slice(payload);
                    self.modem.mode = Mode::Payload(missing - payload.len());
                    if missing == payload.len() {
                        self.modem.mode = Mode::Lines;
                        let text = std::mem::take(&mut self.modem.text);
                        self.line('<', &payload_text(&text), now);
                    }
                }
                Mode::Lines | Mode::Terminated => {
                    rest = tail;
                    match byte {
                        b'\n' => self.answer(now),
                        _ => self.collect('<', byte, now),
                    }
                    if self.modem.text.as_slice() == b"> " {
                        self.prompt(now);
                    }
                }
            }
        }
    }

    fn command(&mut self, now: Instant) {
        let text = std::mem::take(&mut self.host.text);
        let text = text_of(&text);
        if text.is_empty() {
            return;
        }
        self.line('>', &text, now);
        let upper = text.to_ascii_uppercase();
        let parameters = |name: &str| upper.rsplit_once(name).map(|(_, values)| values);
        self.announced = if let Some(values) = parameters("+QSSLSEND=").or_else(|| parameters("+QISEND=")) {
            Announced::Send(number_at(values, 1))
        } else if let Some(values) = parameters("+QFUPL=") {
            number_at(values, 1).map_or(Announced::Nothing, Announced::Upload)
        } else {
            Announced::Nothing
        };
    }

    fn answer(&mut self, now: Instant) {
        let text = std::mem::take(&mut self.modem.text);
        // An echoed command ends with a CR of its own.
        let text = text_of(text.trim_ascii_end());
        // Some firmware ends its prompt with a line end.
        if text == ">" {
            return self.prompt(now);
        }
        if text.is_empty() {
            return;
        }
        self.line('<', &text, now);
        let pushed = |name: &str| text.strip_prefix(name).and_then(|rest| rest.strip_prefix(": \"recv\","));
        if let Some(values) = text.strip_prefix("+QSSLRECV: ").or_else(|| text.strip_prefix("+QIRD: ")) {
            // The sender of a datagram can follow; two further numbers are counts, and nothing comes after them.
            let length = values.split(",\"").next().unwrap_or(values);
            self.modem.mode = payload_of(length.parse().ok());
        } else if let Some(values) = pushed("+QSSLURC").or_else(|| pushed("+QIURC")) {
            self.modem.mode = payload_of(number_at(values, 1));
        } else if text == "CONNECT" {
            match self.announced {
                Announced::Upload(size) => self.host.mode = payload_of(Some(size)),
                _ => (self.host.mode, self.modem.mode) = (Mode::Stream, Mode::Stream),
            }
            self.announced = Announced::Nothing;
        }
    }

    fn prompt(&mut self, now: Instant) {
        self.modem.text.clear();
        self.line('<', ">", now);
        if let Announced::Send(size) = self.announced {
            self.host.mode = if size.is_some() { payload_of(size) } else { Mode::Terminated };
            self.announced = Announced::Nothing;
        }
    }

    fn collect(&mut self, sign: char, byte: u8, now: Instant) {
        let side = if sign == '>' { &mut self.host } else { &mut self.modem };
        side.text.push(byte);
        if side.text.len() >= LINE_LIMIT_BYTES {
            let text = std::mem::take(&mut side.text);
            self.line(sign, &text_of(&text), now);
        }
    }

    fn line(&mut self, sign: char, text: &str, now: Instant) {
        let pause = self.last_line.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last_line = Some(now);
        let lines = match self.form {
            Form::Recorded if pause >= WORTH_MENTIONING => {
                format!("@ +{:.3}s\n{sign} {text}\n", pause.as_secs_f64())
            }
            Form::Recorded => format!("{sign} {text}\n"),
            Form::Shown { port, start } => {
                let time = now.saturating_duration_since(start).as_secs_f64();
                format!("{time:9.3} {port} {sign} {text}\n")
            }
        };
        if let Err(error) = self.output.write_all(lines.as_bytes()) {
            log::warn!("transcript cannot be written: {error}");
            self.output = Box::new(std::io::sink());
        }
    }
}

/// Shorter pauses are not recorded.
const WORTH_MENTIONING: Duration = Duration::from_millis(10);
/// A line without end is cut here.
const LINE_LIMIT_BYTES: usize = 4096;
/// Payload up to this length is shown after its length.
const SHOWN_PAYLOAD_BYTES: usize = 64;
const CTRL_Z: u8 = 0x1A;
const ESC: u8 = 0x1B;
/// The answers that end data mode, when they are at the end of what arrived together.
const LEAVING: [&str; 2] = ["\r\nOK\r\n", "\r\nNO CARRIER\r\n"];

fn payload_of(count: Option<usize>) -> Mode {
    match count {
        Some(count) if count > 0 => Mode::Payload(count),
        _ => Mode::Lines,
    }
}

fn payload_text(payload: &[u8]) -> String {
    if payload.len() > SHOWN_PAYLOAD_BYTES {
        return format!("[{}]", payload.len());
    }
    format!("[{}] {}", payload.len(), text_of(payload))
}

/// Text in which everything unprintable is a C escape.
fn text_of(bytes: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'\'' | b'"' => char::from(*byte).to_string(),
        _ => byte.escape_ascii().to_string(),
    };
    bytes.iter().map(escape).collect()
}

/// The number at a position of a list separated by commas.
fn number_at(values: &str, position: usize) -> Option<usize> {
    values.split([',', ';']).nth(position)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::testing::start;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no test panics while writing").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Plays a dialogue in pieces of `size` and returns the transcript.
    fn written(dialogue: &[(char, &[u8])], size: usize) -> String {
        let page = Page::default();
        let mut transcript = Transcript::new(Box::new(page.clone()));
        for (sign, bytes) in dialogue {
            for piece in bytes.chunks(size) {
                match sign {
                    '>' => transcript.host(piece, start()),
                    _ => transcript.modem(piece, start()),
                }
            }
        }
        let text = page.0.lock().expect("no test panics while writing").clone();
        String::from_utf8(text).expect("a transcript is text")
    }

    #[test]
    fn payload_that_looks_like_an_answer_is_payload() {
        let dialogue: [(char, &[u8]); 6] = [
            ('>', b"AT+QSSLSEND=4,8\r"),
            ('<', b"\r\n> "),
            ('>', b"\r\nOK\r\n> "),
            ('<', b"\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",4,6\r\n\r\nOK\r\n"),
            ('>', b"AT+QSSLRECV=4,1500\r"),
            ('<', b"\r\n+QSSLRECV: 2\r\n> \r\n\r\nOK\r\n"),
        ];
        let expected = "> AT+QSSLSEND=4,8\n< >\n> [8] \\r\\nOK\\r\\n> \n< SEND OK\n< +QSSLURC: \"recv\",4,6\n\
                        < [6] \\r\\nOK\\r\\n\n> AT+QSSLRECV=4,1500\n< +QSSLRECV: 2\n< [2] > \n< OK\n";
        for size in [1, 2, 3, 7, 1000] {
            assert_eq!(written(&dialogue, size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn datagrams_are_payload_and_counts_are_not() {
        let dialogue: [(char, &[u8]); 6] = [
            ('>', b"AT+QISEND=2,4,\"192.0.2.7\",7\r"),
            ('<', b"\r\n> "),
            ('>', b"AT\r\n"),
            ('<', b"\r\nSEND OK\r\n\r\n+QIURC: \"recv\",2,4,\"192.0.2.7\",7\r\n\r\n> "),
            ('>', b"AT+QIRD=2,0\r"),
            ('<', b"\r\n+QIRD: 4,4,0\r\n\r\nOK\r\n\r\n+QIRD: 2,\"192.0.2.7\",7\r\n> \r\n\r\nOK\r\n"),
        ];
        let expected = "> AT+QISEND=2,4,\"192.0.2.7\",7\n< >\n> [4] AT\\r\\n\n< SEND OK\n\
                        < +QIURC: \"recv\",2,4,\"192.0.2.7\",7\n< [4] \\r\\n> \n> AT+QIRD=2,0\n< +QIRD: 4,4,0\n< OK\n\
                        < +QIRD: 2,\"192.0.2.7\",7\n< [2] > \n< OK\n";
        for size in [1, 2, 3, 7, 1000] {
            assert_eq!(written(&dialogue, size), expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_line_that_is_shown_has_time_and_port() {
        let page = Page::default();
        let mut transcript = Transcript::shown(Box::new(page.clone()), "uart1", start());
        let time = |millis| start() + Duration::from_millis(millis);
        transcript.host(b"AT\r", time(0));
        transcript.modem(b"\r\nOK\r\n", time(12_500));
        let text = page.0.lock().expect("no test panics while writing").clone();
        assert_eq!(String::from_utf8_lossy(&text), "    0.000 uart1 > AT\n   12.500 uart1 < OK\n");
    }

    #[test]
    fn data_mode_ends_with_the_modems_words() {
        let dialogue: [(char, &[u8]); 5] = [
            ('>', b"ATO\r"),
            ('<', b"\r\nCONNECT\r\n"),
            ('>', b"hello"),
            ('<', b"world\r\nNO CARRIER\r\n"),
            ('>', b"AT\r"),
        ];
        let expected = "> ATO\n< CONNECT\n> [5] hello\n< [5] world\n< NO CARRIER\n> AT\n";
        assert_eq!(written(&dialogue, 1000), expected);
    }
}
