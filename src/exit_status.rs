//! The exit statuses: one table of numbers, stable short ids, and meanings.
//!
//! The program, its logs, and the manual page all read it, so that a script can rely on the number and a
//! person can look up the id.

use std::fmt;
use std::process::ExitCode;

use qssl_core::error::Kind;

/// Why the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// 0
    Done,
    /// 1
    Failed,
    /// 2
    Usage,
    /// 6
    PortLocked,
    /// 7
    PortUnavailable,
    /// 8
    SetUpFailed,
    /// 9
    SimFailed,
    /// 10
    NoRegistration,
    /// 11
    NoDataSession,
    /// 12
    DnsFailed,
    /// 13
    ConnectFailed,
    /// 14
    TlsFailed,
    /// 15
    ModemSilent,
    /// 16
    ModemLost,
    /// 17
    StreamCut,
    /// 124
    DrainTimeout,
    /// 128 + the number of the signal that ended the process before it had drained.
    Signal(u8),
}

/// A row of the table in the manual page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The status; [`ExitStatus::Signal`] has no row of its own.
    pub status: ExitStatus,
    /// What the shell sees.
    pub number: u8,
    /// The stable name in logs, JSON and messages.
    pub id: &'static str,
    /// One line for people.
    pub meaning: &'static str,
}

impl ExitStatus {
    /// What the shell sees, 0–255.
    pub fn number(self) -> u8 {
        match self {
            ExitStatus::Signal(signal) => 128u8.saturating_add(signal),
            other => other.row().number,
        }
    }

    /// The stable name in logs, JSON and messages.
    pub fn id(self) -> &'static str {
        match self {
            ExitStatus::Signal(_) => SIGNAL_ID,
            other => other.row().id,
        }
    }

    /// One line for people.
    pub fn meaning(self) -> &'static str {
        match self {
            ExitStatus::Signal(_) => SIGNAL_MEANING,
            other => other.row().meaning,
        }
    }

    fn row(self) -> &'static Row {
        TABLE
            .iter()
            .find(|row| row.status == self)
            .expect("every status but Signal has a row, as a test shows")
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl From<Kind> for ExitStatus {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Done => ExitStatus::Done,
            Kind::Failed => ExitStatus::Failed,
            Kind::Usage => ExitStatus::Usage,
            Kind::PortLocked => ExitStatus::PortLocked,
            Kind::PortUnavailable => ExitStatus::PortUnavailable,
            Kind::SetUpFailed => ExitStatus::SetUpFailed,
            Kind::SimFailed => ExitStatus::SimFailed,
            Kind::NoRegistration => ExitStatus::NoRegistration,
            Kind::NoDataSession => ExitStatus::NoDataSession,
            Kind::DnsFailed => ExitStatus::DnsFailed,
            Kind::ConnectFailed => ExitStatus::ConnectFailed,
            Kind::TlsFailed => ExitStatus::TlsFailed,
            Kind::ModemSilent => ExitStatus::ModemSilent,
            Kind::ModemLost => ExitStatus::ModemLost,
            Kind::StreamCut => ExitStatus::StreamCut,
            Kind::DrainTimeout => ExitStatus::DrainTimeout,
            Kind::Signal(number) => ExitStatus::Signal(number),
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> ExitCode {
        ExitCode::from(status.number())
    }
}

/// Every status but the signals, in the order of its number.
pub const TABLE: &[Row] = &[
    row(ExitStatus::Done, 0, "done", "done, or drained after a signal"),
    row(ExitStatus::Failed, 1, "failed", "a failure that has no number of its own"),
    row(ExitStatus::Usage, 2, "usage", "an option, an argument or the configuration file is wrong"),
    row(ExitStatus::PortLocked, 6, "port-locked", "another program holds the port"),
    row(ExitStatus::PortUnavailable, 7, "port-unavailable", "the port is missing or cannot be opened"),
    row(ExitStatus::SetUpFailed, 8, "set-up-failed", "the modem refused a setting that is needed"),
    row(ExitStatus::SimFailed, 9, "sim-failed", "the SIM is missing, locked, or refused the PIN"),
    row(ExitStatus::NoRegistration, 10, "no-registration", "the network did not take the modem in"),
    row(
        ExitStatus::NoDataSession,
        11,
        "no-data-session",
        "the data session (PDP context) could not be set up",
    ),
    row(ExitStatus::DnsFailed, 12, "dns-failed", "the modem could not resolve the host name"),
    row(ExitStatus::ConnectFailed, 13, "connect-failed", "the connection was refused or timed out"),
    row(
        ExitStatus::TlsFailed,
        14,
        "tls-failed",
        "the TLS handshake failed or the server was not authenticated",
    ),
    row(ExitStatus::ModemSilent, 15, "modem-silent", "the modem does not answer"),
    row(ExitStatus::ModemLost, 16, "modem-lost", "the modem was unplugged, rebooted or stopped answering"),
    row(ExitStatus::StreamCut, 17, "stream-cut", "the connection broke before its end"),
    row(
        ExitStatus::DrainTimeout,
        124,
        "drain-timeout",
        "connections were still open when the shutdown time-out ended",
    ),
];

/// The id of every [`ExitStatus::Signal`].
pub const SIGNAL_ID: &str = "signal";
/// The meaning of every [`ExitStatus::Signal`].
pub const SIGNAL_MEANING: &str = "a second signal ended it before it had drained";

/// Ids that only replies of the control socket have, and their meanings: no process ends with them.
pub const REPLY_IDS: &[(&str, &str)] = &[
    ("bad-request", "the request to the daemon makes no sense"),
    ("refused", "the command would break the daemon's tunnels"),
    ("busy", "the only port is in data mode, or too many commands wait"),
    ("timeout", "the modem did not come to the command in time"),
];

/// Whether this is the id of some error.
pub fn is_known(id: &str) -> bool {
    id == SIGNAL_ID || TABLE.iter().any(|row| row.id == id) || REPLY_IDS.iter().any(|(known, _)| *known == id)
}

const fn row(status: ExitStatus, number: u8, id: &'static str, meaning: &'static str) -> Row {
    Row { status, number, id, meaning }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_scripts_rely_on() {
        let numbers: Vec<u8> = TABLE.iter().map(|row| row.number).collect();
        assert_eq!(numbers, [0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 124]);
        for row in TABLE {
            assert_eq!(row.status.number(), row.number);
            assert_eq!(TABLE.iter().filter(|other| other.id == row.id).count(), 1, "{}", row.id);
        }
        assert_eq!(ExitStatus::StreamCut.number(), 17);
        assert_eq!(ExitStatus::DrainTimeout.number(), 124);
    }

    #[test]
    fn a_signal_is_128_and_its_number() {
        assert_eq!(ExitStatus::Signal(15).number(), 143);
        assert_eq!(ExitStatus::Signal(2).number(), 130);
        assert_eq!(ExitStatus::Signal(255).number(), 255);
        assert_eq!(ExitStatus::Signal(15).id(), "signal");
    }

    #[test]
    fn ids_are_lower_case_words_joined_by_hyphens() {
        for id in TABLE.iter().map(|row| row.id).chain(REPLY_IDS.iter().map(|(id, _)| *id)) {
            assert!(id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{id}");
            assert!(is_known(id));
        }
        assert!(!is_known("Failed"));
        assert_eq!(ExitStatus::TlsFailed.to_string(), "tls-failed");
        assert_eq!(ExitStatus::NoRegistration.to_string(), "no-registration");
    }
}
