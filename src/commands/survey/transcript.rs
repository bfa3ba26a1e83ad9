//! The dialogue of a survey, in the notation of the flight recorder, without what is personal.

use std::time::Duration;

use super::module_file::masked;
use crate::terminal::printable;
use qssl_core::at::{Command, Line};
use qssl_core::modem::{CommandOutcome, UserAnswer};

/// The dialogue so far.
#[derive(Debug, Default)]
pub struct Transcript {
    text: String,
    /// The name of the server, which is left out.
    pub server: Option<String>,
}

impl Transcript {
    /// Begins with this remark.
    pub fn begin(&mut self, remark: &str) {
        self.text = format!("# {remark}\n");
    }

    /// Adds a command and its answer, which has taken this time.
    pub fn add(&mut self, command: &Command, answer: &UserAnswer, time: Duration) {
        self.line("> ", &command.to_string());
        self.text.push_str(&format!("@ +{:.3}s\n", time.as_secs_f64()));
        let is_ok = answer.outcome == Some(CommandOutcome::Ok);
        match command {
            Command::Upload { content, .. } if is_ok => {
                self.text.push_str(&format!("< CONNECT\n> [{}]\n", content.len()));
            }
            Command::Download { .. } if is_ok => {
                self.text.push_str(&format!("< CONNECT\n< [{}]\n", answer.file.len()));
            }
            _ => {}
        }
        match command {
            Command::Line(Line { secret: true, .. }) => {
                self.text.push_str("# what was answered is left out\n")
            }
            _ => self.answer(&command.to_string(), answer.lines.iter().map(String::as_str)),
        }
        match &answer.outcome {
            Some(outcome) => self.line("< ", &outcome.to_string()),
            None => self.text.push_str("# no answer\n"),
        }
    }

    /// Adds a line and its answer, byte by byte.
    pub fn exchange(&mut self, line: &str, answer: &[u8], time: Duration) {
        self.line("> ", line);
        self.text.push_str(&format!("@ +{:.3}s\n", time.as_secs_f64()));
        let answer = String::from_utf8_lossy(answer);
        self.answer(line, answer.lines());
    }

    /// Adds what was heard after a command. Messages that a tunnel does not know may be personal, such as an SMS with its
    /// text in the lines after it.
    fn answer<'a>(&mut self, command: &str, lines: impl Iterator<Item = &'a str>) {
        let name = command.trim_start_matches("AT+");
        let name = &name[..name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len())];
        let mut is_known = true;
        for line in lines.filter(|line| !line.trim().is_empty()) {
            let message = line.strip_prefix('+').and_then(|line| line.split_once(':'));
            match message {
                Some((told, _)) => is_known = told == name || MESSAGES.contains(&told),
                None if ENDS.contains(&line.trim()) => is_known = true,
                None => {}
            }
            match is_known {
                true => self.line("< ", line),
                false => self.remark("a line that is no answer is left out"),
            }
        }
    }

    /// Adds a send.
    pub fn sent(&mut self, command: &str, bytes: usize, is_ok: bool, time: Duration) {
        self.line("> ", command);
        let end = if is_ok { "SEND OK" } else { "SEND FAIL" };
        self.text.push_str(&format!("@ +{:.3}s\n< >\n> [{bytes}]\n< {end}\n", time.as_secs_f64()));
    }

    /// Adds a read; `None`: it was refused.
    pub fn fetched(&mut self, command: &str, bytes: Option<usize>, time: Duration) {
        self.line("> ", command);
        self.text.push_str(&format!("@ +{:.3}s\n", time.as_secs_f64()));
        self.text.push_str(&match bytes {
            None => "< ERROR\n".to_owned(),
            Some(0) => "< +QSSLRECV: 0\n< OK\n".to_owned(),
            Some(bytes) => format!("< +QSSLRECV: {bytes}\n< [{bytes}]\n< OK\n"),
        });
    }

    /// Adds what is neither a command nor an answer.
    pub fn remark(&mut self, remark: &str) {
        self.text.push_str(&format!("# {remark}\n"));
    }

    fn line(&mut self, direction: &str, text: &str) {
        let text = match &self.server {
            Some(server) => without(text, server),
            None => text.to_owned(),
        };
        let text = format!("{direction}{}", printable(&masked(&text)));
        log::trace!("survey: {text}");
        self.text.push_str(&text);
        self.text.push('\n');
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// What a tunnel knows besides the answer to its command.
const MESSAGES: [&str; 6] = ["QSSLURC", "QIURC", "QSSLOPEN", "QIOPEN", "CME ERROR", "CMS ERROR"];
const ENDS: [&str; 6] = ["OK", "ERROR", "CONNECT", "NO CARRIER", "SEND OK", "SEND FAIL"];

/// The text without this name, where it is a word of its own.
fn without(text: &str, name: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        shown.push_str(if word.eq_ignore_ascii_case(name) { "server.example" } else { word });
        let mut others = after.chars();
        shown.extend(others.next());
        rest = others.as_str();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_are_no_answer_are_left_out() {
        let mut transcript = Transcript::default();
        let heard = b"\r\n+CMT: \"01512345\",,\r\nHello Mrs Miller\r\n\r\n+QSSLSTATE: 11,\"10.1.2.3:443\"\r\n\r\nOK\r\n";
        transcript.exchange("AT+QSSLSTATE=11", heard, Duration::ZERO);
        let left_out = "# a line that is no answer is left out\n";
        assert_eq!(
            transcript.text(),
            format!(
                "> AT+QSSLSTATE=11\n@ +0.000s\n{left_out}{left_out}< +QSSLSTATE: 11,\"xx.x.x.x:443\"\n< OK\n"
            )
        );
    }

    #[test]
    fn a_short_name_of_a_server_is_left_out_only_as_a_word() {
        assert_eq!(
            without("AT+CREG=\"vm\",VM,avm,vm.x", "vm"),
            "AT+CREG=\"server.example\",server.example,avm,vm.x"
        );
    }

    #[test]
    fn names_numbers_and_secrets_are_left_out() {
        let answer = |lines: &[&str]| UserAnswer {
            outcome: Some(CommandOutcome::Ok),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            file: Vec::new(),
        };
        let mut transcript = Transcript { server: Some("their.example".into()), ..Transcript::default() };
        transcript.begin("X");
        let open = Command::line("AT+QSSLOPEN=1,5,11,\"their.example\",443,0");
        transcript.add(&open, &answer(&[]), Duration::from_millis(20));
        transcript.add(&Command::line("AT+QIACT?"), &answer(&["+QIACT: 1,1,1,\"10.0.0.1\""]), Duration::ZERO);
        let key = Command::secret_line("AT+QSSLCFG=\"clientkey\",5");
        transcript.add(&key, &answer(&["+QSSLCFG: \"clientkey\",5,\"a\",\"password\""]), Duration::ZERO);
        assert_eq!(
            transcript.text(),
            "# X\n> AT+QSSLOPEN=1,5,11,\"server.example\",443,0\n@ +0.020s\n< OK\n\
             > AT+QIACT?\n@ +0.000s\n< +QIACT: 1,1,1,\"xx.x.x.x\"\n< OK\n\
             > AT+QSSLCFG=***\n@ +0.000s\n# what was answered is left out\n< OK\n"
        );
    }
}
