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
            _ => answer.lines.iter().filter(|line| !line.is_empty()).for_each(|line| self.line("< ", line)),
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
        answer.lines().filter(|line| !line.trim().is_empty()).for_each(|line| self.line("< ", line));
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
            Some(server) => text.replace(server.as_str(), "server.example"),
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

#[cfg(test)]
mod tests {
    use super::*;

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
