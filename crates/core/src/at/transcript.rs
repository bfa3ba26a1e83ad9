//! The notation for what passed on a line: `>` the host, `<` the modem, `@` the time, `#` a remark.
//!
//! ```text
//! # a remark, naming the source
//! > AT+QSSLSEND=4,15            a command: CR follows
//! < >                           the prompt: CR LF before it, nothing but a space after it
//! > [15] NuModem-P5-SSL\n       payload: its length and, where it is known, what it is
//! < SEND OK                     a line of the modem: CR LF before and after it
//! < AT+CPIN?                    an echoed command: CR after it
//! @ +0.4s                       time that passed
//! "\r\n+QSSLRECV: 0\r\n"        exactly these bytes of the modem; `> "..."` exactly these of the host
//! ```
//! Field notes, the flight recorder and the tests all use it, so what happened somewhere becomes a test by
//! being copied.

use std::time::Duration;

/// What passed on a line, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// One entry for each line that is no remark.
    pub entries: Vec<Entry>,
}

/// A line of a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the file, from 1.
    pub line: usize,
    /// What it contains.
    pub event: Event,
}

/// What a line contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The host sent this.
    Host(Bytes),
    /// The modem sent this.
    Modem(Bytes),
    /// This much time passed.
    Pause(Duration),
}

/// Bytes that are known, or only their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// These.
    Exact(Vec<u8>),
    /// This many; payload that was left out.
    Any(usize),
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct TranscriptError {
    /// Its number, from 1.
    pub line: usize,
    /// Why it cannot be read.
    pub reason: &'static str,
}

impl Transcript {
    /// Reads a transcript.
    ///
    /// # Errors
    /// Names the first line that is none, and why.
    pub fn parse(text: &str) -> Result<Transcript, TranscriptError> {
        let mut entries = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let wrong = |reason| TranscriptError { line: number, reason };
            let event = match line.as_bytes().first() {
                None | Some(b'#') => continue,
                Some(b'"') => Event::Modem(Bytes::Exact(unquoted(line).map_err(wrong)?)),
                Some(b'@') => {
                    Event::Pause(pause(line[1..].trim()).ok_or(wrong("no time, such as `@ +0.4s`"))?)
                }
                Some(b'>') => {
                    Event::Host(host(line[1..].strip_prefix(' ').unwrap_or(&line[1..])).map_err(wrong)?)
                }
                Some(b'<') => {
                    Event::Modem(modem(line[1..].strip_prefix(' ').unwrap_or(&line[1..])).map_err(wrong)?)
                }
                Some(_) => return Err(wrong("neither `>`, `<`, `@`, `#` nor a quoted string")),
            };
            entries.push(Entry { line: number, event });
        }
        Ok(Transcript { entries })
    }
}

impl Bytes {
    /// How many bytes.
    pub fn count(&self) -> usize {
        match self {
            Bytes::Exact(bytes) => bytes.len(),
            Bytes::Any(length) => *length,
        }
    }

    /// The bytes, made up where only their number is known.
    pub fn made_up(&self) -> Vec<u8> {
        match self {
            Bytes::Exact(bytes) => bytes.clone(),
            Bytes::Any(length) => (0..*length).map(|index| (index * 7 + index / 256) as u8).collect(),
        }
    }
}

fn host(text: &str) -> Result<Bytes, &'static str> {
    if text.starts_with('"') {
        return unquoted(text).map(Bytes::Exact);
    }
    if let Some(payload) = payload(text)? {
        return Ok(payload);
    }
    let mut bytes = unescaped(text)?;
    // The escape out of data mode is no command line.
    if text != "+++" {
        bytes.push(b'\r');
    }
    Ok(Bytes::Exact(bytes))
}

fn modem(text: &str) -> Result<Bytes, &'static str> {
    if text.starts_with('"') {
        return unquoted(text).map(Bytes::Exact);
    }
    if let Some(payload) = payload(text)? {
        return Ok(payload);
    }
    if text.trim_end() == ">" {
        return Ok(Bytes::Exact(b"\r\n> ".to_vec()));
    }
    let said = unescaped(text)?;
    let is_echo = said.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"AT"));
    let mut bytes = if is_echo { Vec::new() } else { b"\r\n".to_vec() };
    bytes.extend_from_slice(&said);
    bytes.extend_from_slice(if is_echo { b"\r" } else { b"\r\n" });
    Ok(Bytes::Exact(bytes))
}

/// `[15] NuModem-P5-SSL\n`, `[1939] (a remark)`, `[1460]`
fn payload(text: &str) -> Result<Option<Bytes>, &'static str> {
    let Some((length, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        return Ok(None);
    };
    let length: usize = length.parse().map_err(|_| "the length of a payload is no number")?;
    if length > PAYLOAD_MAX {
        return Err("the payload is longer than any");
    }
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    if rest.is_empty() || rest.starts_with('(') {
        return Ok(Some(Bytes::Any(length)));
    }
    let bytes = unescaped(rest)?;
    if bytes.len() != length {
        return Err("the payload has not the length that is given");
    }
    Ok(Some(Bytes::Exact(bytes)))
}

fn pause(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s')?, 1.0),
    };
    Duration::try_from_secs_f64(number.trim().parse::<f64>().ok()? * unit).ok()
}

fn unquoted(text: &str) -> Result<Vec<u8>, &'static str> {
    let inner = text.trim_end().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    unescaped(inner.ok_or("a quoted string without its end")?)
}

/// C escapes: `\r`, `\n`, `\t`, `\0`, `\\`, `\"`, `\xE0`.
fn unescaped(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (&escape, after) = rest.split_first().ok_or("a backslash at the end")?;
        rest = after;
        bytes.push(match escape {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' | b'"' | b'\'' => escape,
            b'x' => {
                let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                rest = rest.get(2..).unwrap_or_default();
                byte.ok_or("`\\x` wants two hexadecimal digits")?
            }
            _ => return Err("an unknown escape after the backslash"),
        });
    }
    Ok(bytes)
}

/// The longest payload that a transcript may announce, in bytes.
const PAYLOAD_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<Event> {
        Transcript::parse(text).unwrap().entries.into_iter().map(|entry| entry.event).collect()
    }

    fn exact(bytes: &[u8]) -> Bytes {
        Bytes::Exact(bytes.to_vec())
    }

    #[test]
    fn every_kind_of_line() {
        let text = "# remark\n\n> AT+QSSLSEND=4,15\n< >\n> [15] NuModem-P5-SSL\\n\n< SEND OK\n@ +0.4s\n\
                    < AT+CPIN?\n\"\\r\\n+QSSLRECV: 0\\r\\n\"\n> [3]\n> +++\n";
        assert_eq!(
            events(text),
            [
                Event::Host(exact(b"AT+QSSLSEND=4,15\r")),
                Event::Modem(exact(b"\r\n> ")),
                Event::Host(exact(b"NuModem-P5-SSL\n")),
                Event::Modem(exact(b"\r\nSEND OK\r\n")),
                Event::Pause(Duration::from_millis(400)),
                Event::Modem(exact(b"AT+CPIN?\r")),
                Event::Modem(exact(b"\r\n+QSSLRECV: 0\r\n")),
                Event::Host(Bytes::Any(3)),
                Event::Host(exact(b"+++")),
            ]
        );
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for (text, line) in
            [("hello", 1), ("# x\n> [3] abcd", 2), ("@ soon", 1), ("\"open", 1), ("< \\q", 1), ("> [x]", 1)]
        {
            assert_eq!(Transcript::parse(text).unwrap_err().line, line, "{text}");
        }
        assert!(Transcript::parse("> [99999999999]").is_err());
        assert!(Transcript::parse("@ +1e300s").is_err());
        assert!(Transcript::parse("< \\x4").is_err());
    }
}
