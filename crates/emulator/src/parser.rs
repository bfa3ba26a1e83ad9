//! Parses a command line, without its AT and its CR, into commands and their parameters.
//!
//! Names are not case-sensitive, and blanks outside of quotes are ignored (V.250). Extended commands are
//! separated by `;`; basic ones may follow each other directly. What cannot be parsed becomes an unknown
//! command, so that the commands before it are still carried out.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// One command of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// In capitals, without `+`: `QSSLOPEN`, `&D`, `E`, `S0`. Empty if it could not be parsed.
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// The form of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `AT+X`
    Execute,
    /// `AT+X?`
    Read,
    /// `AT+X=?`
    Test,
    /// `AT+X=…`, and for basic commands the number after the letter.
    Write(Vec<Parameter>),
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parameter {
    Omitted,
    Bare(String),
    Quoted(String),
}

/// A parameter is missing, of the wrong type, or out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// Parses a command line.
pub(crate) fn parse(line: &[u8]) -> VecDeque<Command> {
    let mut commands = VecDeque::new();
    // No command that this modem knows has text that is not UTF-8.
    let Ok(line) = std::str::from_utf8(line) else {
        return VecDeque::from([Command::unreadable()]);
    };
    let mut rest = line.trim_matches(' ');
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix([';', ' ']) {
            rest = after;
            continue;
        }
        match next_command(rest) {
            Some((command, after)) => {
                commands.push_back(command);
                rest = after;
            }
            None => {
                commands.push_back(Command::unreadable());
                break;
            }
        }
    }
    commands
}

fn next_command(text: &str) -> Option<(Command, &str)> {
    if let Some(text) = text.strip_prefix('+') {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let (kind, rest) = kind_of(rest)?;
        let at_separator = rest.is_empty() || rest.starts_with(';');
        // An extended name has at least three letters, so it cannot be confused with the name of a basic command.
        let named = name.len() >= 3 && name.bytes().take(3).all(|letter| letter.is_ascii_alphabetic());
        (named && at_separator).then(|| (Command { name: name.to_ascii_uppercase(), kind }, rest))
    } else {
        let length = if text.starts_with('&') { 2 } else { 1 };
        let name = text.get(..length).filter(|name| name.ends_with(|c: char| c.is_ascii_alphabetic()))?;
        let (number, rest) = split_digits(&text[length..]);
        if name.eq_ignore_ascii_case("S") && !number.is_empty() {
            let (kind, rest) = match rest.as_bytes().first() {
                Some(b'?') => (Kind::Read, &rest[1..]),
                Some(b'=') => {
                    let (value, rest) = split_digits(&rest[1..]);
                    (Kind::Write(vec![Parameter::Bare(value.into())]), rest)
                }
                _ => return None,
            };
            return Some((Command { name: format!("S{number}"), kind }, rest));
        }
        let kind = match number {
            "" => Kind::Execute,
            number => Kind::Write(vec![Parameter::Bare(number.into())]),
        };
        Some((Command { name: name.to_ascii_uppercase(), kind }, rest))
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn kind_of(text: &str) -> Option<(Kind, &str)> {
    let text = text.trim_start_matches(' ');
    if let Some(rest) = text.strip_prefix('?') {
        return Some((Kind::Read, rest));
    }
    let Some(text) = text.strip_prefix('=') else {
        return Some((Kind::Execute, text));
    };
    if let Some(rest) = text.strip_prefix('?') {
        return Some((Kind::Test, rest));
    }
    let mut parameters = Vec::new();
    let mut rest = text;
    loop {
        let (parameter, after) = next_parameter(rest)?;
        parameters.push(parameter);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Some((Kind::Write(parameters), after)),
        }
    }
}

fn next_parameter(text: &str) -> Option<(Parameter, &str)> {
    let text = text.trim_start_matches(' ');
    if let Some(text) = text.strip_prefix('"') {
        let (value, rest) = text.split_once('"')?;
        let rest = rest.trim_start_matches(' ');
        let at_separator = rest.is_empty() || rest.starts_with([',', ';']);
        return at_separator.then(|| (Parameter::Quoted(value.into()), rest));
    }
    let (value, rest) = text.split_at(text.find([',', ';']).unwrap_or(text.len()));
    let value = value.replace(' ', "");
    if value.contains('"') {
        return None;
    }
    let parameter = if value.is_empty() { Parameter::Omitted } else { Parameter::Bare(value) };
    Some((parameter, rest))
}

impl Command {
    fn unreadable() -> Command {
        Command { name: String::new(), kind: Kind::Execute }
    }

    pub(crate) fn is_write(&self, name: &str) -> bool {
        self.name == name && matches!(self.kind, Kind::Write(_))
    }
}

/// The parameters of a write command, read with the strictness of this modem.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameters<'a> {
    pub(crate) list: &'a [Parameter],
    /// Whether a number may be in quotes.
    pub(crate) quoted_numbers: bool,
}

impl<'a> Parameters<'a> {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn at_most(&self, count: usize) -> Result<(), Invalid> {
        if self.len() <= count { Ok(()) } else { Err(Invalid) }
    }

    /// A parameter that may be left out.
    pub(crate) fn optional_number(
        &self,
        index: usize,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, Invalid> {
        let text = match self.list.get(index) {
            None | Some(Parameter::Omitted) => return Ok(None),
            Some(Parameter::Quoted(text)) if self.quoted_numbers => text,
            Some(Parameter::Quoted(_)) => return Err(Invalid),
            Some(Parameter::Bare(text)) => text,
        };
        if text.is_empty() || !text.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(Invalid);
        }
        let number = text.parse().map_err(|_| Invalid)?;
        if range.contains(&number) { Ok(Some(number)) } else { Err(Invalid) }
    }

    pub(crate) fn number(&self, index: usize, range: RangeInclusive<u32>) -> Result<u32, Invalid> {
        self.optional_number(index, range)?.ok_or(Invalid)
    }

    /// Like `number`, for ranges within a byte.
    pub(crate) fn small(&self, index: usize, range: RangeInclusive<u8>) -> Result<u8, Invalid> {
        let number = self.number(index, (*range.start()).into()..=(*range.end()).into())?;
        u8::try_from(number).map_err(|_| Invalid)
    }

    pub(crate) fn optional_small(
        &self,
        index: usize,
        range: RangeInclusive<u8>,
    ) -> Result<Option<u8>, Invalid> {
        match self.list.get(index) {
            None | Some(Parameter::Omitted) => Ok(None),
            Some(_) => self.small(index, range).map(Some),
        }
    }

    /// Text, which must be in quotes.
    pub(crate) fn text(&self, index: usize) -> Result<&'a str, Invalid> {
        match self.list.get(index) {
            Some(Parameter::Quoted(text)) => Ok(text),
            _ => Err(Invalid),
        }
    }

    pub(crate) fn optional_text(&self, index: usize) -> Result<Option<&'a str>, Invalid> {
        match self.list.get(index) {
            None | Some(Parameter::Omitted) => Ok(None),
            Some(_) => self.text(index).map(Some),
        }
    }

    /// A code such as 0X0035; in quotes only if numbers may be.
    pub(crate) fn code(&self, index: usize) -> Result<u16, Invalid> {
        let text = match self.list.get(index) {
            Some(Parameter::Bare(text)) => text,
            Some(Parameter::Quoted(text)) if self.quoted_numbers => text,
            _ => return Err(Invalid),
        };
        let digits = text.strip_prefix("0X").or_else(|| text.strip_prefix("0x")).ok_or(Invalid)?;
        if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Invalid);
        }
        u16::from_str_radix(digits, 16).map_err(|_| Invalid)
    }
}

/// The bytes of hexadecimal digits; `None` if they are no such digits.
pub(crate) fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    digits.chunks(2).map(|pair| u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &str) -> Vec<(String, Kind)> {
        parse(line.as_bytes()).into_iter().map(|command| (command.name, command.kind)).collect()
    }

    fn bare(text: &str) -> Parameter {
        Parameter::Bare(text.into())
    }

    #[test]
    fn the_manuals_open_command_with_a_blank_is_read() {
        let quoted = Parameter::Quoted("220.180.239.201".into());
        assert_eq!(
            names("+qsslopen= 1,1,4,\"220.180.239.201\",8011,2"),
            [(
                "QSSLOPEN".into(),
                Kind::Write(vec![bare("1"), bare("1"), bare("4"), quoted, bare("8011"), bare("2")])
            )]
        );
    }

    #[test]
    fn basic_and_extended_commands_share_a_line() {
        assert_eq!(
            names("E0V1&D2;+CSQ;+CREG?;S0=0"),
            [
                ("E".into(), Kind::Write(vec![bare("0")])),
                ("V".into(), Kind::Write(vec![bare("1")])),
                ("&D".into(), Kind::Write(vec![bare("2")])),
                ("CSQ".into(), Kind::Execute),
                ("CREG".into(), Kind::Read),
                ("S0".into(), Kind::Write(vec![bare("0")])),
            ]
        );
    }

    #[test]
    fn separators_in_quotes_separate_nothing() {
        assert_eq!(
            names("+CPIN=\"12;34,5\";+CSQ=?"),
            [
                ("CPIN".into(), Kind::Write(vec![Parameter::Quoted("12;34,5".into())])),
                ("CSQ".into(), Kind::Test),
            ]
        );
    }

    #[test]
    fn omitted_parameters_keep_their_places() {
        assert_eq!(
            names("+XYZ=1,,\"\","),
            [(
                "XYZ".into(),
                Kind::Write(vec![
                    bare("1"),
                    Parameter::Omitted,
                    Parameter::Quoted(String::new()),
                    Parameter::Omitted
                ])
            )]
        );
    }

    #[test]
    fn what_cannot_be_read_is_an_unknown_command_behind_the_readable_ones() {
        for line in [
            "+CSQ;+XYZ=\"open",
            "+CSQ;+XYZ=\"a\"b",
            "+CSQ;?",
            "+CSQ;+",
            "+CSQ;+XYZ=1?\"",
            "+CSQ;+E0",
            "+CSQ;+S12?",
            "+CSQ;&",
            "+CSQ;&é",
        ] {
            let commands = parse(line.as_bytes());
            assert_eq!(commands.front().map(|command| command.name.as_str()), Some("CSQ"), "{line}");
            assert_eq!(commands.back(), Some(&Command::unreadable()), "{line}");
        }
        assert_eq!(parse(b"+CSQ\xFF"), [Command::unreadable()]);
    }

    #[test]
    fn numbers_stay_in_their_ranges() {
        let list =
            [bare("11"), bare("12"), bare("-1"), bare("99999999999999999999"), Parameter::Quoted("3".into())];
        let strict = Parameters { list: &list, quoted_numbers: false };
        assert_eq!(strict.small(0, 0..=11), Ok(11));
        for index in 1..=5 {
            assert_eq!(strict.small(index, 0..=11), Err(Invalid), "parameter {index}");
        }
        assert_eq!(Parameters { list: &list, quoted_numbers: true }.small(4, 0..=11), Ok(3));
    }

    #[test]
    fn codes_are_four_hexadecimal_digits() {
        let list = [bare("0X003D"), bare("0xc02f"), bare("0X35"), bare("0035"), bare("0X+123")];
        let parameters = Parameters { list: &list, quoted_numbers: false };
        assert_eq!(parameters.code(0), Ok(0x3D));
        assert_eq!(parameters.code(1), Ok(0xC02F));
        for index in 2..=5 {
            assert_eq!(parameters.code(index), Err(Invalid), "parameter {index}");
        }
    }
}
