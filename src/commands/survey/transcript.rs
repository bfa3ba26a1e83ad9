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
    /// Name and port of the server, which are left out.
    pub server: Option<(String, u16)>,
    /// The command at the end of the text, its answer, and how often both have come again.
    last: (String, String),
    repeated: usize,
}

impl Transcript {
    /// Begins with the module's name and how it was reached.
    pub fn begin(&mut self, name: &str, way: &str) {
        let mut beginning = format!("{BEGINNING} with {name}, {way}.\n");
        if self.server.is_some() {
            beginning.push_str(&format!("# {SERVER}:{SERVER_PORT} stands for the server.\n"));
        }
        self.text.insert_str(0, &beginning);
    }

    /// Whether this is the text of a transcript.
    pub fn is_one(text: &[u8]) -> bool {
        text.starts_with(BEGINNING.as_bytes())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Adds a command and its answer, which has taken this time.
    pub fn add(&mut self, command: &Command, answer: &UserAnswer, time: Duration) {
        let is_ok = answer.outcome == Some(CommandOutcome::Ok);
        let mut shown = match command {
            Command::Upload { content, .. } if is_ok => format!("< CONNECT\n> [{}]\n", content.len()),
            Command::Download { .. } if is_ok => format!("< CONNECT\n< [{}]\n", answer.file.len()),
            _ => String::new(),
        };
        match command {
            Command::Line(Line { secret: true, .. }) => shown.push_str("# what was answered is left out\n"),
            _ => self.answer(&command.to_string(), answer.lines.iter().map(String::as_str), &mut shown),
        }
        match &answer.outcome {
            Some(outcome) => self.line("< ", &outcome.to_string(), &mut shown),
            None => shown.push_str("# no answer\n"),
        }
        self.entry(&command.to_string(), shown, time);
    }

    /// Adds a line and its answer, byte by byte.
    pub fn exchange(&mut self, line: &str, answer: &[u8], time: Duration) {
        let mut shown = String::new();
        let answer = String::from_utf8_lossy(answer);
        self.answer(line, answer.lines(), &mut shown);
        self.entry(line, shown, time);
    }

    /// Adds a command and the lines that follow it. What is the same again is counted.
    fn entry(&mut self, command: &str, answer: String, time: Duration) {
        let mut asked = String::new();
        self.line("> ", command, &mut asked);
        for line in asked.lines().chain(answer.lines()) {
            log::trace!("survey: {line}");
        }
        let last = (asked, answer);
        if self.last == last {
            self.repeated += 1;
            return;
        }
        self.end_repetition();
        self.text.push_str(&format!("{}@ +{:.3}s\n{}", last.0, time.as_secs_f64(), last.1));
        self.last = last;
    }

    fn end_repetition(&mut self) {
        let repeated = std::mem::take(&mut self.repeated);
        if repeated > 0 {
            self.text.push_str(&format!("# the same {} more\n", qssl_core::counted(repeated, "time")));
        }
        self.last = Default::default();
    }

    /// Adds what was heard after a command. Messages that a tunnel does not know may be personal, such as an SMS with its
    /// text in the lines after it.
    fn answer<'a>(&self, command: &str, lines: impl Iterator<Item = &'a str>, to: &mut String) {
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
                true => self.line("< ", line, to),
                false => to.push_str("# a line that is no answer is left out\n"),
            }
        }
    }

    /// Adds a send.
    pub fn sent(&mut self, command: &str, bytes: usize, is_ok: bool, time: Duration) {
        let end = if is_ok { "SEND OK" } else { "SEND FAIL" };
        self.entry(command, format!("< >\n> [{bytes}]\n< {end}\n"), time);
    }

    /// Adds a read; `None`: it was refused.
    pub fn fetched(&mut self, command: &str, bytes: Option<usize>, time: Duration) {
        let answer = match bytes {
            None => "< ERROR\n".to_owned(),
            Some(0) => "< +QSSLRECV: 0\n< OK\n".to_owned(),
            Some(bytes) => format!("< +QSSLRECV: {bytes}\n< [{bytes}]\n< OK\n"),
        };
        self.entry(command, answer, time);
    }

    /// Adds what is neither a command nor an answer.
    pub fn remark(&mut self, remark: &str) {
        self.end_repetition();
        self.text.push_str(&format!("# {remark}\n"));
    }

    fn line(&self, direction: &str, text: &str, to: &mut String) {
        let mut text = without_files(text);
        if let Some((host, port)) = &self.server {
            text = without(&text, host);
            text = without_port(&text, *port);
        }
        to.push_str(&format!("{direction}{}\n", printable(&masked(&text))));
    }

    /// All of it.
    pub fn text(&mut self) -> &str {
        self.end_repetition();
        &self.text
    }
}

/// How it begins.
const BEGINNING: &str = "# Dialogue of qssl-tunnel survey";

/// What stands for the server.
const SERVER: &str = "server.example";
const SERVER_PORT: u16 = 443;

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
        shown.push_str(if word.eq_ignore_ascii_case(name) { SERVER } else { word });
        let mut others = after.chars();
        shown.extend(others.next());
        rest = others.as_str();
    }
    shown
}

/// The text without this port, which follows a name or an address in quotes.
fn without_port(text: &str, port: u16) -> String {
    let place = format!("\",{port}");
    let mut parts = text.split(&place);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.starts_with(|c: char| c.is_ascii_digit()) {
            true => shown.push_str(&place),
            false => shown.push_str(&format!("\",{SERVER_PORT}")),
        }
        shown.push_str(part);
    }
    shown
}

/// A line without the names of the user's files: those of AT+QFLST, and what a setting takes as a file. Letters and digits
/// become `x`.
fn without_files(text: &str) -> String {
    let is_setting = text.contains("QSSLCFG") && FILE_SETTINGS.iter().any(|key| text.contains(key));
    if !is_setting && !text.starts_with("+QFLST:") {
        return text.to_owned();
    }
    // Every second part is in quotes. The first of a setting is its key.
    let kept = if is_setting { 1 } else { 0 };
    let parts = text.split('"').enumerate().map(|(index, part)| match index % 2 == 1 && index / 2 >= kept {
        true => without_name(part),
        false => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("\"")
}

/// The name of a file. The storage before it stays, and so do names of this program.
fn without_name(name: &str) -> String {
    let own = name.rfind([':', '/']).map_or(0, |end| end + 1);
    let (place, own) = name.split_at(own);
    if own.starts_with(OWN_NAMES) {
        return name.to_owned();
    }
    let hidden = own.chars().map(|c| if c.is_alphanumeric() { 'x' } else { c });
    place.chars().chain(hidden).collect()
}

/// How the names of files begin that this program stores: neither they nor a survey's tell anything.
const OWN_NAMES: &str = "qt-";

/// Settings whose value names a file.
const FILE_SETTINGS: [&str; 3] = ["\"cacert\"", "\"clientcert\"", "\"clientkey\""];

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
        let mut transcript =
            Transcript { server: Some(("their.example".into(), 4433)), ..Transcript::default() };
        transcript.begin("X", "directly");
        let open = Command::line("AT+QSSLOPEN=1,5,11,\"their.example\",4433,0");
        transcript.add(&open, &answer(&[]), Duration::from_millis(20));
        transcript.add(&Command::line("AT+QIACT?"), &answer(&["+QIACT: 1,1,1,\"10.0.0.1\""]), Duration::ZERO);
        let key = Command::secret_line("AT+QSSLCFG=\"clientkey\",5");
        transcript.add(&key, &answer(&["+QSSLCFG: \"clientkey\",5,\"a\",\"password\""]), Duration::ZERO);
        assert_eq!(
            transcript.text(),
            "# Dialogue of qssl-tunnel survey with X, directly.\n# server.example:443 stands for the server.\n\
             > AT+QSSLOPEN=1,5,11,\"server.example\",443,0\n@ +0.020s\n< OK\n\
             > AT+QIACT?\n@ +0.000s\n< +QIACT: 1,1,1,\"xx.x.x.x\"\n< OK\n\
             > AT+QSSLCFG=***\n@ +0.000s\n# what was answered is left out\n< OK\n"
        );
    }
    #[test]
    fn names_of_files_and_the_port_of_the_server_are_left_out() {
        for (line, shown) in [
            ("+QFLST: \"UFS:miller-home.pem\",1200", "+QFLST: \"UFS:xxxxxx-xxxx.xxx\",1200"),
            ("+QFLST: \"security/qt-survey.txt\",53", "+QFLST: \"security/qt-survey.txt\",53"),
            ("+QSSLCFG: \"cacert\",5,\"miller.pem\"", "+QSSLCFG: \"cacert\",5,\"xxxxxx.xxx\""),
            ("AT+QSSLCFG=\"clientcert\",5,\"a.pem\"", "AT+QSSLCFG=\"clientcert\",5,\"x.xxx\""),
            ("+QSSLCFG: \"seclevel\",5,\"0\"", "+QSSLCFG: \"seclevel\",5,\"0\""),
        ] {
            assert_eq!(without_files(line), shown);
        }
        assert_eq!(
            without_port("+QSSLSTATE: 1,\"x\",4433,\"y\",44330", 4433),
            "+QSSLSTATE: 1,\"x\",443,\"y\",44330"
        );
    }

    #[test]
    fn what_comes_again_is_counted() {
        let mut transcript = Transcript::default();
        for time in [5, 6, 7] {
            transcript.exchange("AT", b"\r\nOK\r\n", Duration::from_millis(time));
        }
        transcript.exchange("ATI", b"\r\nOK\r\n", Duration::ZERO);
        let expected = "> AT\n@ +0.005s\n< OK\n# the same 2 times more\n> ATI\n@ +0.000s\n< OK\n";
        assert_eq!(transcript.text(), expected);
    }
}
