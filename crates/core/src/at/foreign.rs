//! What other programs have the modem send on our port: how far it reaches, so that nothing in it is taken
//! for a message.
//!
//! The server of another connection, or the sender of an SMS, chooses these bytes. Payload with an announced
//! length is skipped by its length; free text by its line end, and where it may hold line ends itself, by the
//! empty line before the next message.

use std::net::IpAddr;

use super::fields;

/// What follows a line that is not about our sockets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// This many bytes after the line's end.
    Payload(usize),
    /// This many bytes after the first byte of the line's end: payload that began in the line.
    Rest(usize),
    Text(Text),
    /// A length that no module announces.
    Impossible,
}

/// Free text, and how much of its end has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    /// Bytes that belong to it whatever they are: the header gave its length.
    owed: usize,
    /// What its quotes show about its end.
    quotes: Quotes,
    /// When it is over.
    until: Until,
    /// How much of its end has been seen.
    end: TextEnd,
    /// Bytes so far.
    taken: usize,
    /// It is the answer to a command: its lines are wanted.
    pub(super) is_answer: bool,
}

/// What quotes show about the end of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotes {
    /// Nothing.
    Plain,
    /// It ends outside of quoted strings.
    Paired {
        /// A string is open.
        is_open: bool,
    },
    /// It ends with a quote, and can hold others.
    Last {
        /// The byte before was one.
        is_behind: bool,
    },
}

/// When a text is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// At its line end: its length was given, or nothing else can follow.
    LineEnd,
    /// At the first line end before an empty line: it can hold line ends itself.
    EmptyLine,
    /// Likewise, or at once if it is empty: some headers have none.
    EmptyLineOrNothing,
}

/// How much of the end of a text has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextEnd {
    /// The CR of the header; its LF is not text.
    HeaderCr,
    Nothing,
    Cr,
    CrLf,
    /// A line end, and the CR of an empty line.
    LineCr,
}

/// What a byte of text was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ForeignStep {
    /// A byte of it.
    Inside,
    /// The end of one of its lines.
    LineEnd,
    /// Neither: an LF after a CR.
    Between,
    /// Its last byte.
    Over,
    /// It has no end.
    Endless,
}

impl Text {
    fn new(until: Until, end: TextEnd) -> Text {
        Text { owed: 0, quotes: Quotes::Plain, until, end, taken: 0, is_answer: false }
    }

    /// It may be over: nothing of it need follow.
    pub(super) fn may_be_over(&self) -> bool {
        self.end == TextEnd::CrLf
    }

    /// Takes a byte.
    pub(super) fn take(&mut self, byte: u8) -> ForeignStep {
        if self.end == TextEnd::HeaderCr {
            self.end = TextEnd::Nothing;
            if byte == b'\n' {
                return ForeignStep::Between;
            }
        }
        if self.owed > 0 {
            self.owed -= 1;
            self.taken += 1;
            return ForeignStep::Inside;
        }
        match (self.end, byte) {
            (TextEnd::LineCr, b'\n') => return ForeignStep::Over,
            (TextEnd::Cr | TextEnd::CrLf, b'\r') => {
                self.end = TextEnd::LineCr;
                return ForeignStep::Between;
            }
            (TextEnd::Cr, b'\n') => {
                let is_empty = self.taken == 0 && self.until == Until::EmptyLineOrNothing;
                if is_empty || self.until == Until::LineEnd {
                    return ForeignStep::Over;
                }
                self.end = TextEnd::CrLf;
                return ForeignStep::Between;
            }
            (_, b'\r') if self.quotes.allow_end() => {
                self.end = TextEnd::Cr;
                return ForeignStep::LineEnd;
            }
            _ => {}
        }
        self.end = TextEnd::Nothing;
        self.quotes.take(byte);
        self.taken += 1;
        if self.taken > TEXT_MAX { ForeignStep::Endless } else { ForeignStep::Inside }
    }
}

impl Quotes {
    fn allow_end(self) -> bool {
        matches!(self, Quotes::Plain | Quotes::Paired { is_open: false } | Quotes::Last { is_behind: true })
    }

    fn take(&mut self, byte: u8) {
        match self {
            Quotes::Plain => {}
            Quotes::Paired { is_open } => *is_open ^= byte == b'"',
            Quotes::Last { is_behind } => *is_behind = byte == b'"',
        }
    }
}

/// What follows `line`, which was ended by `terminator`, or has become too long where that is `None`. `is_ours`: it is a
/// URC of one of our connections.
pub(super) fn follows(line: &[u8], terminator: Option<u8>, is_ours: bool) -> Option<Follows> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, values) = (&line[..colon], line[colon + 1..].trim_ascii_start());
    let start = line.len() - values.len();
    let end = match terminator {
        Some(b'\r') => TextEnd::HeaderCr,
        _ => TextEnd::Nothing,
    };
    let text = |until| Some(Follows::Text(Text::new(until, end)));
    let runs_on =
        |quotes| Some(Follows::Text(Text { quotes, ..Text::new(Until::LineEnd, TextEnd::Nothing) }));
    match name {
        b"+QIURC" | b"+QSSLURC" if !is_ours => received(values),
        b"+QMTRECV" => published(line, start, terminator),
        b"+CMT" => {
            let owed = characters(values);
            Some(Follows::Text(Text { owed, ..Text::new(Until::EmptyLine, end) }))
        }
        b"+CBM" => text(Until::EmptyLine),
        // In text mode it has none.
        b"+CDS" => text(Until::EmptyLineOrNothing),
        b"+CMGR" | b"+CMGL" if !values.starts_with(b"(") => {
            Some(Follows::Text(Text { is_answer: true, ..Text::new(Until::EmptyLineOrNothing, end) }))
        }
        b"+CUSD" if terminator.is_some() && has_no_text_or_all(values) => None,
        b"+CUSD" => runs_on(Quotes::Paired { is_open: true }),
        _ if SINGLE_LINES.iter().any(|single| name.starts_with(single)) => match terminator {
            Some(_) => None,
            None => runs_on(Quotes::Plain),
        },
        _ if name.starts_with(b"+") => {
            let is_open = line.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
            let is_text = is_open || terminator.is_none();
            runs_on(Quotes::Paired { is_open }).filter(|_| is_text)
        }
        _ => None,
    }
}

/// `2` · `0,"5 EUR",15`, but not `0,"5 EUR`: the number of its alphabet follows a whole text. Quotes in it are not doubled.
fn has_no_text_or_all(values: &[u8]) -> bool {
    let Some(quote) = values.iter().rposition(|byte| *byte == b'"') else { return true };
    let alphabet = values[quote + 1..].strip_prefix(b",").unwrap_or_default();
    !alphabet.is_empty() && alphabet.iter().all(u8::is_ascii_digit)
}

/// Whether `line` begins another program's text whose end cannot be distinguished from a message inside it.
pub fn begins_text(line: &str) -> bool {
    let Some((name, values)) = line.split_once(':') else { return false };
    match name {
        // Without a topic it only announces.
        "+QMTRECV" => values.contains('"'),
        "+CMT" | "+CBM" | "+CDS" => true,
        _ => false,
    }
}

/// How many bytes of `after` belong to what another program has the modem send, where `line`, which has its
/// end, begins that.
pub fn foreign_length(line: &[u8], after: &[u8]) -> usize {
    let Some((&terminator, text)) = line.split_last() else { return 0 };
    match follows(text, Some(terminator), false) {
        Some(Follows::Payload(length)) => {
            let line_feed = usize::from(terminator == b'\r' && after.starts_with(b"\n"));
            after.len().min(line_feed + length)
        }
        Some(Follows::Rest(length)) => after.len().min(length),
        Some(Follows::Text(mut text)) => {
            let end = after
                .iter()
                .position(|byte| matches!(text.take(*byte), ForeignStep::Over | ForeignStep::Endless));
            end.map_or(after.len(), |end| end + 1)
        }
        Some(Follows::Impossible) | None => 0,
    }
}

/// Whether the line is the end of one that announced payload: its head was lost, and whose payload follows is not
/// known.
pub(super) fn has_lost_its_head(line: &str) -> bool {
    let announces = |rest: &str| {
        let mut all = fields(rest);
        all.number::<u8>().is_some() && all.number::<u32>().is_some_and(|length| length > 0)
    };
    HEADS.iter().any(|head| (1..head.len()).any(|cut| line.strip_prefix(&head[cut..]).is_some_and(announces)))
}

/// `"recv",5,52` · `"recv",5,4,"192.0.2.7",5683` · `"recv",5,4,ABCD`, but not `"recv",5`
fn received(values: &[u8]) -> Option<Follows> {
    let mut parts = values.splitn(4, |byte| *byte == b',');
    (parts.next()?.trim_ascii() == b"\"recv\"").then_some(())?;
    parts.next()?;
    let length = std::str::from_utf8(parts.next()?).ok()?.trim();
    let length = match length.parse::<usize>() {
        Ok(0) => return None,
        Ok(length) if length <= LENGTH_MAX => length,
        _ => return Some(Follows::Impossible),
    };
    match parts.next() {
        None => Some(Follows::Payload(length)),
        Some(address) if is_address(address) => Some(Follows::Payload(length)),
        // "viewmode": payload is in the same line.
        Some(begun) => length.checked_sub(begun.len() + 1).map(Follows::Rest),
    }
}

/// The number of the socket in `+QSSLURC: "recv",5,4,AB`, and how many bytes of the payload that its line begins are
/// missing. In `+QSSLRECV: 4,AB` there is no number. `None`: the line begins none.
pub(super) fn begun_payload(line: &[u8], is_reading: bool) -> Option<(Option<u32>, usize)> {
    let head = |head: &str| line.strip_prefix(head.as_bytes());
    let is_number = |text: &[u8]| std::str::from_utf8(text).ok()?.trim().parse::<u32>().ok();
    let (number, rest) = match HEADS.iter().find_map(|it| head(it)) {
        Some(rest) => {
            let comma = rest.iter().position(|byte| *byte == b',')?;
            (Some(is_number(&rest[..comma])?), &rest[comma + 1..])
        }
        None => (None, ANSWERS.iter().find_map(|it| head(it)).filter(|_| is_reading)?),
    };
    let comma = rest.iter().position(|byte| *byte == b',')?;
    let length = usize::try_from(is_number(&rest[..comma])?).ok().filter(|length| *length <= LENGTH_MAX)?;
    let begun = &rest[comma + 1..];
    (!is_address(begun)).then(|| (number, length.saturating_sub(begun.len())))
}

/// `"192.0.2.7",5683`
fn is_address(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    let mut all = fields(text);
    let address = all.next().is_some_and(|address| address.parse::<IpAddr>().is_ok());
    address && all.number::<u16>().is_some() && all.rest().is_none()
}

/// `0,0,"topic","payload"` · `0,0,"topic",7,"payload"`, but not `0,1`. The payload can hold quotes and line ends.
fn published(line: &[u8], start: usize, terminator: Option<u8>) -> Option<Follows> {
    let values = &line[start..];
    let topic = values.iter().position(|byte| *byte == b'"')?;
    let is_behind =
        values.ends_with(b"\"") && values[topic..].iter().filter(|byte| **byte == b'"').count() > 3;
    let end = match terminator {
        Some(b'\r') if is_behind => TextEnd::Cr,
        _ => TextEnd::Nothing,
    };
    let text = Text { quotes: Quotes::Last { is_behind }, ..Text::new(Until::EmptyLine, end) };
    let Some((length, begun)) = announced(&values[topic + 1..]) else { return Some(Follows::Text(text)) };
    // The closing quote is counted; so is the byte that ended the line, if it is one of the payload.
    let missing = (length + 1).checked_sub(begun)?;
    let owed = missing.saturating_sub(usize::from(terminator.is_some()));
    match missing {
        0 => None,
        _ => Some(Follows::Text(Text { owed, ..Text::new(Until::LineEnd, TextEnd::Nothing) })),
    }
}

/// The length in `topic",7,"pay`, and how much of the payload is there.
fn announced(behind_quote: &[u8]) -> Option<(usize, usize)> {
    let topic = behind_quote.windows(2).position(|pair| pair == b"\",")?;
    let rest = &behind_quote[topic + 2..];
    let digits = rest.iter().position(|byte| *byte == b',')?;
    let length = std::str::from_utf8(&rest[..digits]).ok()?.trim().parse::<usize>().ok()?;
    let payload = rest[digits + 1..].strip_prefix(b"\"")?;
    (length <= LENGTH_MAX).then_some((length, payload.len()))
}

/// How many characters the text of an SMS has at least, where its header gives it (AT+CSDH=1).
fn characters(values: &[u8]) -> usize {
    let all = String::from_utf8_lossy(values);
    let length = fields(&all).nth(9).and_then(|length| length.parse::<usize>().ok());
    length.unwrap_or(0).min(SMS_CHARACTERS_MAX)
}

/// The most bytes of payload that are skipped.
const LENGTH_MAX: usize = 16_384;

/// The longest text, in bytes; MQTT payload is the longest known one.
const TEXT_MAX: usize = 16_384;

/// The longest single SMS, in characters.
const SMS_CHARACTERS_MAX: usize = 160;

/// What the names of lines begin with that end with their line, whatever their quotes are: no string in them can hold a
/// line end, but one can hold a quote (the name of an operator or a caller), or be cut off. Those of 3GPP TS 27.007 and
/// 27.005 are of this kind, but for the texts that [`follows`] knows.
const SINGLE_LINES: [&[u8]; 18] = [
    b"+C", b"+QCCID", b"+QCFG", b"+QCSQ", b"+QENG", b"+QF", b"+QHTTP", b"+QI", b"+QLTS", b"+QMT", b"+QNITZ",
    b"+QNTP", b"+QNW", b"+QPIN", b"+QSPN", b"+QSSL", b"+QURC", b"+QUSIM",
];

/// What comes before the numbers where payload of a socket is announced.
pub(super) const HEADS: [&str; 2] = ["+QSSLURC: \"recv\",", "+QIURC: \"recv\","];

/// What comes before the number in the answer to a read.
const ANSWERS: [&str; 2] = ["+QSSLRECV: ", "+QIRD: "];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_line_is_skipped_to_its_end_and_no_further() {
        for (line, after, length) in [
            ("+QIURC: \"recv\",5,4\r", "\nABCD\r\nOK", 5),
            ("+QIURC: \"recv\",5,4\n", "ABCD\r\nOK", 4),
            ("+QIURC: \"recv\",5\r", "\n\r\nOK", 0),
            ("+CMTI: \"SM\",3\r", "\n\r\nOK", 0),
            // The line end before the next message is not distinguished from the empty line that ends a text.
            ("+CMT: \"+49\",,\"26/11/26\"\r", "\nhello\r\n\r\nOK", 10),
            ("+CUSD: 0,\"a\r", "\nb\",15\r\n\r\nOK", 8),
            ("+CUSD: 0,\"5\" screens\r", "\n\"b\",1\r\n\",15\r\n\r\nOK", 14),
            ("+CUSD: 0,\"5\" screens\",15\r", "\n\r\nOK", 0),
            ("+CUSD: 2\r", "\n\r\nOK", 0),
            ("+CMTI: \"ME,3\r", "\n\r\nOK", 0),
            ("+CLIP: \"+49\",145,\"A\"B\",,\"\",0\r", "\n\r\nOK", 0),
            ("+CNAP: \"Joe\"s\"\r", "\n\r\nOK", 0),
            ("+CGEV: \"x\r", "\n\r\nOK", 0),
            ("+COPS: 0,0,\"O\"2\",7\r", "\n\r\nOK", 0),
            ("+QSPN: \"O\"2\"\r", "\n\r\nOK", 0),
            ("+QCOAPURC: \"a\r", "\nb\"\r\n\r\nOK", 5),
        ] {
            assert_eq!(foreign_length(line.as_bytes(), after.as_bytes()), length, "{line}");
        }
    }
}
