//! Numbers and texts of AT commands, checked once at the edge, so that no other code has to check them.

use std::fmt;

/// The number of a TLS connection in the modem: Quectel's `clientID`, 0–11 (both manuals, AT+QSSLOPEN).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(u8);

/// The number of a set of TLS settings in the modem: Quectel's `sslctxID`, 0–5 (both manuals, AT+QSSLCFG).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SslContextId(u8);

/// The number of a data session: 1–16 on EC20, 1–15 on EG800Q and EG91xQ (both manuals, AT+QSSLOPEN).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PdpContextId(u8);

/// How many sockets a modem has.
pub const SOCKET_COUNT: usize = 12;
/// How many SSL contexts a modem has.
pub const SSL_CONTEXT_COUNT: usize = 6;

impl SocketId {
    /// The socket with this number, if there is one.
    pub fn new(number: u32) -> Option<Self> {
        (number < SOCKET_COUNT as u32).then_some(SocketId(number as u8))
    }

    /// All sockets, in order.
    pub fn all() -> impl DoubleEndedIterator<Item = SocketId> {
        (0..SOCKET_COUNT as u8).map(SocketId)
    }

    /// An index into a table of [`SOCKET_COUNT`] entries.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl SslContextId {
    /// The SSL context with this number, if there is one.
    pub fn new(number: u32) -> Option<Self> {
        (number < SSL_CONTEXT_COUNT as u32).then_some(SslContextId(number as u8))
    }

    /// All SSL contexts, in order.
    pub fn all() -> impl DoubleEndedIterator<Item = SslContextId> {
        (0..SSL_CONTEXT_COUNT as u8).map(SslContextId)
    }

    /// An index into a table of [`SSL_CONTEXT_COUNT`] entries.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl PdpContextId {
    /// The PDP context with this number, if any module has one.
    pub fn new(number: u32) -> Option<Self> {
        (1..=16).contains(&number).then_some(PdpContextId(number as u8))
    }

    /// The number as the modem writes it.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SslContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for PdpContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that may be used between quotes in an AT command: no quote, CR, LF, semicolon or other control
/// character, so it can neither end the string nor the command line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AtText(String);

/// A character that would break out of a quoted AT string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{character:?} at position {position} is not allowed in an AT command")]
pub struct AtTextError {
    /// The character in question.
    pub character: char,
    /// Its place, counted in characters from 1.
    pub position: usize,
}

impl AtText {
    /// Checks `text`.
    ///
    /// # Errors
    /// Names the first character that is a quote, a semicolon, a control character or not ASCII.
    pub fn new(text: impl Into<String>) -> Result<Self, AtTextError> {
        let text = text.into();
        let bad = |c: &char| matches!(c, '"' | ';') || c.is_control() || !c.is_ascii();
        match text.chars().enumerate().find(|(_, c)| bad(c)) {
            Some((index, character)) => Err(AtTextError { character, position: index + 1 }),
            None => Ok(AtText(text)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AtText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of socket numbers or SSL context numbers that are ours to use, as given with `--sockets` and
/// `--ssl-contexts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdSet(u16);

impl IdSet {
    /// The numbers 0 to `count` - 1, at most 16.
    pub fn first(count: usize) -> Self {
        IdSet(((1u32 << count.min(16)) - 1) as u16)
    }

    /// The set without any number.
    pub fn empty() -> Self {
        IdSet(0)
    }

    /// Adds `number` (0–15).
    pub fn insert(&mut self, number: usize) {
        assert!(number < 16, "ids are below 16");
        self.0 |= 1 << number;
    }

    /// Whether `number` is in the set.
    pub fn contains(self, number: usize) -> bool {
        number < 16 && self.0 & (1 << number) != 0
    }

    /// How many numbers it has, at most 16.
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_from_the_wire_never_becomes_an_index_out_of_bounds() {
        assert_eq!(SocketId::new(11).map(SocketId::index), Some(11));
        assert_eq!(SocketId::new(12), None);
        assert_eq!(SslContextId::new(6), None);
        assert_eq!(PdpContextId::new(0), None);
        assert_eq!(PdpContextId::new(17), None);
    }

    #[test]
    fn nothing_that_breaks_out_of_quotes_is_a_text() {
        for bad in ["a\"b", "a;b", "a\rb", "a\nb", "a\0b", "a\x1ab", "ü"] {
            assert!(AtText::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(AtText::new("ab\"c").unwrap_err().position, 3);
        assert!(AtText::new("iot.example-1.net").is_ok());
    }
}
