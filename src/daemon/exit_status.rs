//! The exit statuses: one table of numbers, stable short ids, and meanings.
//!
//! The program, its logs, and the manual page use the same table, so that scripts can rely on the number and
//! users can look up the id.

use std::process::ExitCode;

/// Why the process ended: one of the core's kinds of failures and endings.
pub use qssl_core::Kind as ExitStatus;

/// A row of the table in the manual page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The status; [`ExitStatus::Signal`] has no row of its own.
    pub status: ExitStatus,
    /// What the shell sees.
    pub number: u8,
    /// One line for users.
    pub meaning: &'static str,
}

impl Row {
    /// The stable name in logs, JSON and messages.
    pub fn id(&self) -> &'static str {
        self.status.id()
    }
}

/// What the shell sees, 0–255.
pub fn number(status: ExitStatus) -> u8 {
    match status {
        ExitStatus::Signal(signal) => 128u8.saturating_add(signal),
        other => row_of(other).number,
    }
}

/// One line for users.
pub fn meaning(status: ExitStatus) -> &'static str {
    match status {
        ExitStatus::Signal(_) => SIGNAL_MEANING,
        other => row_of(other).meaning,
    }
}

/// The value that `main` returns.
pub fn code(status: ExitStatus) -> ExitCode {
    ExitCode::from(number(status))
}

/// The status with this id; `None` if no process ends with it, or if it is that of all signals.
pub fn with_id(id: &str) -> Option<ExitStatus> {
    TABLE.iter().find(|row| row.id() == id).map(|row| row.status)
}

fn row_of(status: ExitStatus) -> &'static Row {
    TABLE.iter().find(|row| row.status == status).expect("every status but Signal has a row, as a test shows")
}

/// Every status except signals, in the order of its number.
pub const TABLE: &[Row] = &[
    row(ExitStatus::Done, 0, "done, or drained after a signal"),
    row(ExitStatus::Failed, 1, "a failure that has no number of its own"),
    row(ExitStatus::Usage, 2, "an option, an argument or the configuration file is wrong"),
    row(ExitStatus::PortLocked, 6, "another program holds the port"),
    row(ExitStatus::PortUnavailable, 7, "the port is missing or cannot be opened"),
    row(ExitStatus::SetUpFailed, 8, "the modem refused a setting that is needed"),
    row(ExitStatus::SimFailed, 9, "the SIM is missing, locked, or refused the PIN"),
    row(ExitStatus::NoRegistration, 10, "the modem is not registered in the network"),
    row(ExitStatus::NoDataSession, 11, "the data session (PDP context) could not be set up"),
    row(ExitStatus::DnsFailed, 12, "the modem could not resolve the host name"),
    row(ExitStatus::ConnectFailed, 13, "the connection was refused or timed out"),
    row(ExitStatus::TlsFailed, 14, "the TLS handshake failed or the server was not authenticated"),
    row(ExitStatus::ModemSilent, 15, "the modem does not answer"),
    row(ExitStatus::ModemLost, 16, "the modem was unplugged, rebooted or stopped answering"),
    row(ExitStatus::StreamCut, 17, "the connection broke before its end"),
    row(ExitStatus::DrainTimeout, 124, "connections were still open when the shutdown time-out ended"),
];

/// The id of every [`ExitStatus::Signal`].
pub const SIGNAL_ID: &str = "signal";
/// The meaning of every [`ExitStatus::Signal`].
pub const SIGNAL_MEANING: &str = "a second signal ended it before it had drained";

/// Ids that only replies of the control socket have, with their meanings. No process ends with them.
pub const REPLY_IDS: &[(&str, &str)] = &[
    ("bad-request", "the request is invalid"),
    ("refused", "the command would break the daemon's tunnels"),
    ("busy", "the only port is in data mode, or too many commands wait"),
    ("timeout", "the command was not sent in time"),
];

/// Whether this is the id of some error.
pub fn is_known(id: &str) -> bool {
    id == SIGNAL_ID || with_id(id).is_some() || REPLY_IDS.iter().any(|(known, _)| *known == id)
}

const fn row(status: ExitStatus, number: u8, meaning: &'static str) -> Row {
    Row { status, number, meaning }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_scripts_rely_on() {
        let numbers: Vec<u8> = TABLE.iter().map(|row| row.number).collect();
        assert_eq!(numbers, [0, 1, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 124]);
        for row in TABLE {
            assert_eq!(number(row.status), row.number);
            assert_eq!(TABLE.iter().filter(|other| other.id() == row.id()).count(), 1, "{}", row.id());
        }
        assert_eq!(number(ExitStatus::StreamCut), 17);
        assert_eq!(number(ExitStatus::DrainTimeout), 124);
    }

    #[test]
    fn a_signal_is_128_and_its_number() {
        assert_eq!(number(ExitStatus::Signal(15)), 143);
        assert_eq!(number(ExitStatus::Signal(2)), 130);
        assert_eq!(number(ExitStatus::Signal(255)), 255);
        assert_eq!(ExitStatus::Signal(15).id(), "signal");
    }

    #[test]
    fn ids_are_lower_case_words_joined_by_hyphens() {
        for id in TABLE.iter().map(|row| row.id()).chain(REPLY_IDS.iter().map(|(id, _)| *id)) {
            assert!(id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{id}");
            assert!(is_known(id));
        }
        assert!(!is_known("Failed"));
        assert_eq!(ExitStatus::TlsFailed.to_string(), "tls-failed");
        assert_eq!(ExitStatus::NoRegistration.to_string(), "no-registration");
    }
}
