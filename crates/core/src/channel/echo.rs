//! Our own payload, coming back: a modem whose echo stays on may echo what it collects for AT+QSSLSEND.
//!
//! A client's bytes can look like anything that a modem sends. So an echo is compared with what has left,
//! byte by byte, and removed before the rest is searched for messages. Messages may come before it, after it,
//! and between two pieces of it. A prompt may end with a blank or a line end, and a line may begin as the
//! payload does.

use std::ops::Range;

/// How much of the payload in flight has come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// So many bytes.
    back: usize,
    /// The first of them that came without a message in between.
    run_from: usize,
    /// Those since then came after a line end that is not among them: they may be the beginning of a line.
    may_be_line: bool,
}

/// What is known of the echo of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Habit {
    /// The last command was not echoed.
    #[default]
    Silent,
    /// Commands are echoed. Whether payload is shows by a first short send.
    Unknown,
    /// Commands are echoed, payload is not.
    CommandsOnly,
    /// Both are.
    Payload,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EchoPart {
    /// So many bytes of echo.
    Echo(usize),
    /// So many bytes that go on as the payload does. They and those before them, in all `line` of the payload, were the
    /// beginning of a line.
    Line {
        /// What of the payload they are equal to.
        line: Range<usize>,
        /// So many of them are new.
        count: usize,
    },
    /// Something else.
    Words,
    /// Neither an echo nor anything that could be inside one.
    Garbled,
}

impl Echo {
    /// How many bytes have come back.
    pub fn back(self) -> usize {
        self.back
    }

    /// What `input`, which is not empty, begins with. `sent`: what has left of the payload.
    pub fn take(&mut self, sent: &[u8], input: &[u8]) -> EchoPart {
        let due = &sent[self.back.min(sent.len())..];
        let count = due.iter().zip(input).take_while(|(due, byte)| due == byte).count();
        self.may_be_line &= !due[..count].iter().any(|byte| matches!(byte, b'\r' | b'\n'));
        self.back += count;
        let is_parted = match due.len() {
            // A message is on a line of its own.
            0 => matches!(input[0], b' '..=b'~'),
            all => count < all && count < input.len(),
        };
        if is_parted && self.may_be_line && self.back > self.run_from {
            let line = self.run_from..self.back;
            self.back = self.run_from;
            self.may_be_line = false;
            return EchoPart::Line { line, count };
        }
        if due.is_empty() {
            // All of it has come back, and something else begins.
            self.begin_run(false);
        }
        if count > 0 && (count == input.len() || count == due.len()) {
            return EchoPart::Echo(count);
        }
        if count < due.len() && self.back > self.run_from {
            // A message is in the middle of the echo. The line end in front of it may have been its own.
            let run = &sent[self.run_from..self.back];
            let is_text = input[count].is_ascii_graphic();
            let line_end = match run {
                _ if !is_text => 0,
                [.., b'\r', b'\n'] => 2,
                [.., b'\n'] => 1,
                _ => 0,
            };
            if line_end == 0 && is_text && input[count] != b'+' {
                return EchoPart::Garbled;
            }
            self.back -= line_end;
            self.begin_run(line_end > 0);
            if count == 0 {
                // What comes may still be the echo of that line end.
                return self.take(sent, input);
            }
        }
        if count > 0 { EchoPart::Echo(count) } else { EchoPart::Words }
    }

    /// A message was read.
    pub fn message_read(&mut self) {
        self.begin_run(false);
    }

    /// This byte, which no line begins with, was skipped.
    pub fn skipped(&mut self, byte: u8) {
        self.begin_run(self.may_be_line || matches!(byte, b'\r' | b'\n'));
    }

    fn begin_run(&mut self, may_be_line: bool) {
        self.run_from = self.back;
        self.may_be_line = may_be_line;
    }
}

impl Habit {
    /// A command came back. Returns whether the last one had not.
    pub fn command_came_back(&mut self) -> bool {
        let was_silent = *self == Habit::Silent;
        if was_silent {
            *self = Habit::Unknown;
        }
        was_silent
    }

    /// A command was answered. `echo`: it had come back, and so much of this payload.
    pub fn answered(&mut self, echo: Option<Echo>, payload: &[u8]) {
        match (echo, *self, payload.first()) {
            (None, _, _) => *self = Habit::Silent,
            // What no message begins with distinguishes the two.
            (Some(echo), Habit::Unknown, Some(first)) if first.is_ascii_graphic() && *first != b'+' => {
                *self = if echo.back > 0 { Habit::Payload } else { Habit::CommandsOnly };
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of what a modem sends when the echo of `sent` is taken away, in steps of `step` bytes.
    /// As in the channel, nothing is looked for inside a message.
    fn words(sent: &[u8], said: &[u8], step: usize) -> Option<Vec<u8>> {
        let (mut echo, mut words, mut is_inside) = (Echo::default(), Vec::new(), false);
        for mut input in said.chunks(step) {
            while let Some(first) = input.first() {
                let next = if is_inside { EchoPart::Words } else { echo.take(sent, input) };
                let count = match next {
                    EchoPart::Echo(count) => count,
                    EchoPart::Line { line, count } => {
                        words.extend_from_slice(&sent[line]);
                        is_inside = true;
                        count
                    }
                    EchoPart::Words if !is_inside && !first.is_ascii_graphic() && echo.back < sent.len() => {
                        echo.skipped(*first);
                        1
                    }
                    EchoPart::Words => {
                        words.push(*first);
                        if is_inside && *first == b'\n' {
                            echo.message_read();
                        }
                        is_inside = first.is_ascii_graphic() || (is_inside && *first != b'\n');
                        1
                    }
                    EchoPart::Garbled => return None,
                };
                input = &input[count..];
            }
        }
        Some(words)
    }

    fn trimmed(words: Option<Vec<u8>>) -> String {
        String::from_utf8(words.expect("it can be parted")).expect("text").split_whitespace().collect()
    }

    #[test]
    fn an_echo_is_taken_away_whatever_it_looks_like() {
        for sent in [
            &b"hello"[..],
            b"\r\nSEND OK\r\n",
            b"\r\n+QSSLURC: \"recv\",1,4\r\nEVIL",
            b"\r\n+QSSLURC: \"closed\",1\r\n",
            b"\r",
            b"  two blanks",
        ] {
            for step in 1..20 {
                let said = [b"\r\n+CREG: 1\r\n", sent, b"\r\nSEND OK\r\n"].concat();
                let left = words(sent, &said, step);
                // A message that begins like the payload cannot be distinguished from it: better none than a
                // wrong one.
                if left.is_some() || !sent.starts_with(b"\r\n+") {
                    assert_eq!(trimmed(left), "+CREG:1SENDOK", "{} in steps of {step}", sent.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn a_message_may_stand_between_two_pieces() {
        let sent = b"GET / HTTP/1.1\r\nHost: example\r\n\r\n";
        for at in 0..=sent.len() {
            let said = [&sent[..at], b"\r\n+CREG: 1\r\n", &sent[at..], b"\r\nSEND OK\r\n"].concat();
            for step in [1, 3, 100] {
                assert_eq!(trimmed(words(sent, &said, step)), "+CREG:1SENDOK", "at {at}, in steps of {step}");
            }
        }
    }

    #[test]
    fn a_prompt_may_end_with_a_blank_and_a_line_end() {
        for end in [&b" "[..], b"\r\n", b" \r\n", b"\n"] {
            for sent in [
                &b"E"[..],
                b"RROR\r\n+++",
                b"\x1A\x1B\0\r\n+QSSLURC: \"recv\",0,4\r\n",
                b"\r\nERROR\r\n",
                b" x",
            ] {
                let said = [end, sent, b"\r\nSEND OK\r\n"].concat();
                for step in 1..20 {
                    let name = format!("{} in steps of {step}", said.escape_ascii());
                    assert_eq!(trimmed(words(sent, &said, step)), "SENDOK", "{name}");
                }
            }
        }
    }

    #[test]
    fn a_line_may_begin_as_the_payload_does() {
        for sent in [&b"S"[..], b"R", b"E", b"SEND", b"+", b"+CR", b"EHLO example\r\n"] {
            for said in ["\r\nSEND OK\r\n", "\r\nRING\r\n", "\r\nERROR\r\n", "\r\n+CREG: 1\r\n"] {
                for step in 1..20 {
                    let left = trimmed(words(sent, said.as_bytes(), step));
                    let name = format!("{} after {} in steps of {step}", said.trim(), sent.escape_ascii());
                    assert_eq!(left, said.split_whitespace().collect::<String>(), "{name}");
                }
                let both = [said.as_bytes(), sent, b"\r\nSEND OK\r\n"].concat();
                let words = trimmed(words(sent, &both, 100));
                assert!(
                    words.ends_with("SENDOK") && words.starts_with(said.trim().get(..2).unwrap()),
                    "{words}"
                );
            }
        }
    }

    #[test]
    fn what_is_neither_is_told() {
        assert_eq!(words(b"hello", b"help", 4), None);
    }

    #[test]
    fn a_first_send_shows_whether_payload_comes_back() {
        for (back, first, habit) in [
            (1, b'x', Habit::Payload),
            (0, b'x', Habit::CommandsOnly),
            // A message may begin so.
            (1, b'\r', Habit::Unknown),
            (0, b'+', Habit::Unknown),
        ] {
            let mut found = Habit::Silent;
            found.command_came_back();
            found.answered(Some(Echo { back, ..Echo::default() }), &[first]);
            assert_eq!(found, habit);
            found.answered(None, b"");
            assert_eq!(found, Habit::Silent);
        }
    }
}
