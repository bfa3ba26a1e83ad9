//! The findings of the doctor, one per check: each as a line with ✓ or ✗ at once, or all as JSON at the end.

use std::io::{self, Write};

use serde::Serialize;

use crate::daemon::exit_status::ExitStatus;
use crate::terminal::{self, indented_json, printable};

/// The checks in their order, by their names in lines and JSON.
pub const CHECKS: &[&str] = &[
    "port",
    "modem",
    "identity",
    "sim",
    "signal",
    "registration",
    "session",
    "dns",
    "clock",
    "certificates",
    "tcp",
    "tls",
];

/// The checks that need a server.
const SERVER_CHECKS: [&str; 2] = ["tcp", "tls"];

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check.
    pub check: &'static str,
    /// Whether it passed.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The stable id of the exit status, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'static str>,
}

/// Whether a check passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It passed.
    Ok,
    /// Something is wrong.
    Failed,
    /// The check could not be made.
    Skipped,
}

/// How a report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As JSON, at the end.
    Json,
    /// As text, each finding at once.
    Text {
        /// The columns of the terminal; `None` breaks no lines.
        width: Option<usize>,
        /// Whether more than ASCII can be shown.
        unicode: bool,
        /// Whether a line can be erased, so that progress can be shown.
        progress: bool,
    },
}

/// The findings so far, and where they are shown.
pub struct Report<'a> {
    out: &'a mut dyn Write,
    form: Form,
    /// The last line of the terminal shows the progress.
    has_progress: bool,
    findings: Vec<Finding>,
    first_failure: Option<ExitStatus>,
    error: Option<io::Error>,
}

impl<'a> Report<'a> {
    /// An empty report.
    pub fn new(out: &'a mut dyn Write, form: Form) -> Self {
        Report { out, form, has_progress: false, findings: Vec::new(), first_failure: None, error: None }
    }

    /// Adds a check that passed.
    pub fn ok(&mut self, check: &'static str, seen: impl Into<String>) {
        self.add(Finding { check, verdict: Verdict::Ok, seen: seen.into(), advice: None, id: None });
    }

    /// Adds a check that failed; `advice` may be empty if `seen` is enough.
    pub fn failed(
        &mut self,
        check: &'static str,
        status: ExitStatus,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.first_failure.get_or_insert(status);
        let advice = Some(advice.into()).filter(|advice| !advice.is_empty());
        let (verdict, id) = (Verdict::Failed, Some(status.id()));
        self.add(Finding { check, verdict, seen: seen.into(), advice, id });
    }

    /// Adds a check that could not be made.
    pub fn skipped(&mut self, check: &'static str, why: impl Into<String>) {
        self.add(Finding::skipped(check, &why.into()));
    }

    /// Whether this check was made and passed.
    pub fn is_ok(&self, check: &str) -> bool {
        self.findings.iter().any(|finding| finding.check == check && finding.verdict == Verdict::Ok)
    }

    /// The check that comes next.
    pub fn next(&self) -> &'static str {
        let done = |check: &str| self.findings.iter().any(|finding| finding.check == check);
        CHECKS.iter().find(|check| !done(check)).unwrap_or(&"tls")
    }

    /// Adds the remaining checks as skipped: one line for all, since they have the same reason.
    pub fn skip_rest(&mut self, has_server: bool, why: &str) {
        let is_left = |check: &&&'static str| {
            (has_server || !SERVER_CHECKS.contains(check))
                && !self.findings.iter().any(|finding| finding.check == **check)
        };
        let left: Vec<&'static str> = CHECKS.iter().filter(is_left).copied().collect();
        match left.as_slice() {
            [] => {}
            [check] => self.skipped(check, why),
            checks => {
                let seen = format!("{}: {why}", checks.join(", "));
                self.show(|width| line(Verdict::Skipped, NOT_TRIED, &seen, width));
                self.findings.extend(checks.iter().map(|check| Finding::skipped(check, why)));
            }
        }
    }

    /// The exit status: that of the first failure.
    ///
    /// # Errors
    /// The report could not be written.
    pub fn end(self) -> io::Result<ExitStatus> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.form == Form::Json {
            writeln!(self.out, "{}", indented_json(&self.findings)?)?;
        }
        Ok(self.first_failure.unwrap_or(ExitStatus::Done))
    }

    /// Shows the progress, only on a terminal and until the next finding.
    pub fn progress(&mut self, text: &str) {
        if let Form::Text { width: Some(width), unicode, progress: true } = self.form {
            let shown: String = terminal::shown(&printable(text), unicode).chars().take(width - 1).collect();
            // The examination goes on even if the terminal cannot be written.
            let _ = write!(self.out, "\r\x1b[K{shown}").and_then(|()| self.out.flush());
            self.has_progress = true;
        }
    }

    fn add(&mut self, finding: Finding) {
        self.show(|width| finding.lines(width));
        self.findings.push(finding);
    }

    /// Shows lines, if the report is text; `lines` wraps them to the width it gets.
    fn show(&mut self, lines: impl FnOnce(Option<usize>) -> String) {
        if std::mem::take(&mut self.has_progress) {
            let _ = write!(self.out, "\r\x1b[K");
        }
        if let Form::Text { width, unicode, .. } = self.form
            && self.error.is_none()
        {
            let text = terminal::shown(&lines(width), unicode);
            let shown = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
            self.error = shown.err();
        }
    }
}

impl Finding {
    /// The check could not be made.
    fn skipped(check: &'static str, why: &str) -> Finding {
        let seen = format!("{NOT_TRIED}: {why}");
        Finding { check, verdict: Verdict::Skipped, seen, advice: None, id: None }
    }

    /// The name of the check and what was seen, and on separate lines what to do about it.
    fn lines(&self, width: Option<usize>) -> String {
        let id = self.id.map_or(String::new(), |id| format!(" [{id}]"));
        let mut lines = line(self.verdict, self.check, &format!("{}{id}", self.seen), width);
        if let Some(advice) = &self.advice {
            lines.push('\n');
            lines.push_str(&terminal::wrapped(&printable(advice), width, ADVICE_HEAD, ADVICE_INDENT));
        }
        lines
    }
}

/// A mark, a name, and the text about it.
fn line(verdict: Verdict, name: &str, seen: &str, width: Option<usize>) -> String {
    let mark = match verdict {
        Verdict::Ok => '✓',
        Verdict::Failed => '✗',
        Verdict::Skipped => '–',
    };
    terminal::wrapped(&printable(seen), width, &format!("{mark} {name:<12}  "), SEEN_INDENT)
}

/// The name in the line for several checks that could not be made.
const NOT_TRIED: &str = "not tried";

/// Aligns with `seen` above: the width of a mark, the longest name of a check, and spaces.
const SEEN_INDENT: &str = "                ";
const ADVICE_HEAD: &str = "                → ";
const ADVICE_INDENT: &str = "                  ";

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Form = Form::Text { width: None, unicode: true, progress: false };

    fn shown(form: Form, find: impl FnOnce(&mut Report<'_>)) -> (String, ExitStatus) {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, form);
        find(&mut report);
        let status = report.end().expect("memory takes every write");
        (String::from_utf8(out).expect("text"), status)
    }

    #[test]
    fn the_first_failure_decides_the_exit_status() {
        let (text, status) = shown(WIDE, |report| {
            report.ok("port", "/dev/ttyUSB2");
            report.failed("sim", ExitStatus::SimFailed, "requires a PIN", "give --sim-pin-file");
            report.failed("registration", ExitStatus::NoRegistration, "not registered", "");
            report.skipped("tcp", "no data session");
        });
        assert_eq!(status, ExitStatus::SimFailed);
        assert_eq!(
            text,
            "✓ port          /dev/ttyUSB2\n\
             ✗ sim           requires a PIN [sim-failed]\n                → give --sim-pin-file\n\
             ✗ registration  not registered [no-registration]\n\
             – tcp           not tried: no data session\n"
        );
    }

    #[test]
    fn checks_that_could_not_be_made_for_one_reason_are_one_line() {
        let (text, _) = shown(WIDE, |report| {
            report.failed("port", ExitStatus::PortUnavailable, "/dev/ttyUSB2: no such device", "");
            report.skip_rest(false, "there is no port");
        });
        let all = "modem, identity, sim, signal, registration, session, dns, clock, certificates";
        assert_eq!(
            text,
            format!(
                "✗ port          /dev/ttyUSB2: no such device [port-unavailable]\n\
                 – not tried     {all}: there is no port\n"
            )
        );
    }

    #[test]
    fn lines_fit_the_terminal_and_the_locale() {
        let form = Form::Text { width: Some(50), unicode: false, progress: true };
        let (text, _) = shown(form, |report| {
            let seen = "the server's certificate is for another name";
            report.failed(
                "tls",
                ExitStatus::TlsFailed,
                seen,
                "connect to the name in the certificate, or ignore it",
            );
        });
        assert_eq!(
            text,
            "x tls           the server's certificate is for\n                another name [tls-failed]\n                \
             -> connect to the name in the\n                  certificate, or ignore it\n"
        );
    }

    #[test]
    fn json_has_every_check_once_and_none_of_a_server_that_was_not_named() {
        let (text, status) = shown(Form::Json, |report| {
            report.failed("port", ExitStatus::PortLocked, "held by another", "");
            assert_eq!(report.next(), "modem");
            report.skip_rest(false, "no port");
        });
        assert_eq!(status, ExitStatus::PortLocked);
        let parsed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let findings = parsed.as_array().expect("an array");
        assert_eq!(findings.len(), CHECKS.len() - 2);
        assert_eq!(findings[0]["id"], "port-locked");
        assert_eq!(findings[0]["verdict"], "failed");
        assert_eq!(findings[1]["seen"], "not tried: no port");
    }
}
