//! The modem's words that can come in a stream: the lines that end it, and those that may follow such an end.

use crate::at::foreign_length;

/// The words that can end a stream.
pub type Ends = &'static [&'static [u8]];

/// Whether nothing but unsolicited lines is there.
pub fn is_all_unsolicited(bytes: &[u8]) -> bool {
    Lines::of(bytes).all(|(_, line)| is_unsolicited(line))
}

/// How many bytes of these are the modem's lines, from the first on.
pub fn spoken(words: &[u8]) -> usize {
    let mut lines = Lines::of(words);
    lines.find(|(_, line)| !is_unsolicited(line)).map_or(words.len(), |(at, _)| at)
}

/// The lines that a modem sends, each with its place and its CR or LF. Payload that it pushes is left out,
/// and what follows the lines of other programs.
pub struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    /// Those in `bytes`.
    pub fn of(bytes: &'a [u8]) -> Self {
        Lines { bytes, at: 0 }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<(usize, &'a [u8])> {
        let (at, rest) = (self.at, &self.bytes[self.at..]);
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let line = &rest[..end.map_or(rest.len(), |end| end + 1)];
        self.at += line.len();
        if let Some(length) = pushed_length(line) {
            let line_feed = usize::from(self.bytes[self.at..].starts_with(b"\n"));
            self.at = self.bytes.len().min((self.at + line_feed).saturating_add(length));
        } else if end.is_some() {
            self.at += foreign_length(line, &self.bytes[self.at..]);
        }
        (!line.is_empty()).then_some((at, line))
    }
}

/// `+QSSLURC: "recv",4,18`
fn pushed_length(line: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(line.strip_suffix(b"\r")?).ok()?;
    let (_, length) = line.strip_prefix("+QSSLURC: \"recv\",")?.split_once(',')?;
    length.parse().ok()
}

/// Where in `words` the line begins that ends data mode, with the line end before it.
pub fn ends(words: &[u8], of: &[&[u8]]) -> Vec<usize> {
    let is_end = |line: &[u8]| {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        of.iter().any(|terminator| &terminator[2..terminator.len() - 2] == text)
    };
    Lines::of(words).filter(|(_, line)| is_end(line)).map(|(at, _)| at.saturating_sub(2)).collect()
}

/// Whether this is an unsolicited line, or the beginning of one.
pub fn is_unsolicited(line: &[u8]) -> bool {
    let ended = line.ends_with(b"\r") || line.ends_with(b"\n");
    let text = &line[..line.len() - usize::from(ended)];
    // Noise may precede a line.
    let noise = text.iter().take_while(|byte| !(0x21..0x7F).contains(*byte)).count();
    let text = &text[noise..];
    let ends = ENDS.iter().map(|terminator| &terminator[2..terminator.len() - 2]);
    let mut words = ends.chain(RESULTS).chain(UNSOLICITED);
    text.is_empty()
        || text[0] == b'+'
        || words.any(|word| if ended { text == word } else { word.starts_with(text) })
}

/// Where `\r\nOK\r\n` begins, if only whole lines of URCs and what they announce follow it.
pub fn ends_in_ok(held: &[u8]) -> Option<usize> {
    let is_urc = |line: &[u8]| match line.strip_suffix(b"\r").or(line.strip_suffix(b"\n")) {
        Some(text) => text.is_empty() || text[0] == b'+' || UNSOLICITED.contains(&text),
        None => false,
    };
    oks(held).find(|at| Lines::of(&held[at + OK.len()..]).all(|(_, line)| is_urc(line)))
}

/// Where `\r\nOK\r\n` is.
pub fn oks(held: &[u8]) -> impl Iterator<Item = usize> {
    held.windows(OK.len()).enumerate().filter(|(_, window)| *window == OK).map(|(at, _)| at)
}

/// Where it is for the first time.
pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Where it is for the last time.
pub fn find_last(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).rposition(|window| window == what)
}

/// `\r\nOK\r\n`
pub const OK: &[u8] = b"\r\nOK\r\n";

/// What the modem sends when data mode ends by itself, with the connection or with everything.
pub const ENDS: [&[u8]; 4] =
    [b"\r\nNO CARRIER\r\n", b"\r\nRDY\r\n", b"\r\nPOWERED DOWN\r\n", b"\r\nNORMAL POWER DOWN\r\n"];

/// The same where an `OK` may answer `+`es of payload.
pub const ENDS_AND_OK: [&[u8]; 5] = [ENDS[0], ENDS[1], ENDS[2], ENDS[3], OK];

/// What the modem answers to payload that reaches it after the end and looks like a command to it.
const RESULTS: [&[u8]; 2] = [b"OK", b"ERROR"];

/// Unsolicited lines without a `+`.
const UNSOLICITED: [&[u8]; 6] = [b"RING", b"PB DONE", b"SMS DONE", b"SMS Ready", b"Call Ready", b"APP RDY"];
