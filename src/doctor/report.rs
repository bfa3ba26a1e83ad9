//! What the doctor found: one finding a check, as a line with ✓ or ✗ at once, or as JSON in the end.

use std::io::{self, Write};

use serde::Serialize;

use crate::exit_status::ExitStatus;

/// The checks in their order, by the names that lines and JSON have.
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

/// The checks that need a server to talk to.
const SERVER_CHECKS: [&str; 2] = ["tcp", "tls"];

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check.
    pub check: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// Where it failed: the stable id of the exit status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'static str>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All is well.
    Ok,
    /// Something is wrong.
    Failed,
    /// It could not be made.
    Skipped,
}

/// The findings so far, and where they are shown.
pub struct Report<'a> {
    out: &'a mut dyn Write,
    is_json: bool,
    findings: Vec<Finding>,
    first_failure: Option<ExitStatus>,
    error: Option<io::Error>,
}

impl<'a> Report<'a> {
    /// An empty report.
    pub fn new(out: &'a mut dyn Write, is_json: bool) -> Self {
        Report { out, is_json, findings: Vec::new(), first_failure: None, error: None }
    }

    /// All is well.
    pub fn ok(&mut self, check: &'static str, seen: impl Into<String>) {
        self.add(Finding { check, verdict: Verdict::Ok, seen: seen.into(), advice: None, id: None });
    }

    /// Something is wrong; `advice` may be empty where `seen` says it all.
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

    /// The check could not be made.
    pub fn skipped(&mut self, check: &'static str, why: impl Into<String>) {
        let (verdict, seen) = (Verdict::Skipped, format!("not tried: {}", why.into()));
        self.add(Finding { check, verdict, seen, advice: None, id: None });
    }

    /// Whether this check was made and all is well.
    pub fn is_ok(&self, check: &str) -> bool {
        self.findings.iter().any(|finding| finding.check == check && finding.verdict == Verdict::Ok)
    }

    /// The check that comes next.
    pub fn next(&self) -> &'static str {
        let done = |check: &str| self.findings.iter().any(|finding| finding.check == check);
        CHECKS.iter().find(|check| !done(check)).unwrap_or(&"tls")
    }

    /// Whatever was not checked yet cannot be.
    pub fn skip_rest(&mut self, has_server: bool, why: &str) {
        for check in CHECKS {
            let wanted = has_server || !SERVER_CHECKS.contains(check);
            if wanted && !self.findings.iter().any(|finding| finding.check == *check) {
                self.skipped(check, why);
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
        if self.is_json {
            serde_json::to_writer_pretty(&mut *self.out, &self.findings)?;
            writeln!(self.out)?;
        }
        Ok(self.first_failure.unwrap_or(ExitStatus::Done))
    }

    fn add(&mut self, finding: Finding) {
        if !self.is_json && self.error.is_none() {
            let shown = writeln!(self.out, "{}", line(&finding)).and_then(|()| self.out.flush());
            self.error = shown.err();
        }
        self.findings.push(finding);
    }
}

fn line(finding: &Finding) -> String {
    let mark = match finding.verdict {
        Verdict::Ok => '✓',
        Verdict::Failed => '✗',
        Verdict::Skipped => '–',
    };
    let Finding { check, seen, advice, id, .. } = finding;
    let mut line = format!("{mark} {check:<12}  {seen}");
    if let Some(advice) = advice {
        line.push_str(&format!("; {advice}"));
    }
    if let Some(id) = id {
        line.push_str(&format!(" [{id}]"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(is_json: bool, find: impl FnOnce(&mut Report<'_>)) -> (String, ExitStatus) {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, is_json);
        find(&mut report);
        let status = report.end().expect("memory takes every write");
        (String::from_utf8(out).expect("text"), status)
    }

    #[test]
    fn the_first_failure_decides_the_exit_status() {
        let (text, status) = shown(false, |report| {
            report.ok("port", "/dev/ttyUSB2");
            report.failed("sim", ExitStatus::SimFailed, "wants a PIN", "give --sim-pin-file");
            report.failed("registration", ExitStatus::NoRegistration, "not registered", "");
            report.skipped("tcp", "no data session");
        });
        assert_eq!(status, ExitStatus::SimFailed);
        assert_eq!(
            text,
            "✓ port          /dev/ttyUSB2\n\
             ✗ sim           wants a PIN; give --sim-pin-file [sim-failed]\n\
             ✗ registration  not registered [no-registration]\n\
             – tcp           not tried: no data session\n"
        );
    }

    #[test]
    fn json_has_every_check_once_and_none_of_a_server_that_was_not_named() {
        let (text, status) = shown(true, |report| {
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
