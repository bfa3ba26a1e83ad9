//! Why the modem cannot do what it was asked: words for people, and the kind for scripts.

use crate::at::{Refusal, ResultCode};
use crate::error::Kind;

/// A failure that ends the process where waiting is not wanted, and is logged and retried otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} [{kind}]")]
pub struct Failure {
    /// The kind, for scripts.
    pub kind: Kind,
    /// Who is to blame, what happened, and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with its kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Failure { kind, message: message.into() }
    }
}

/// Why a socket could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenFailure {
    /// The modem reported it with this code.
    Code(ResultCode),
    /// The modem refused without a code.
    Refused(Refusal),
    /// No answer within `--connect-timeout`.
    TimedOut,
    /// The modem was lost, rebooted or lost its data session meanwhile.
    Lost(Cut),
    /// Its TLS settings or files are not as they must be.
    Untrusted(Distrust),
}

impl OpenFailure {
    /// The kind of failure.
    pub fn kind(&self) -> Kind {
        let code = match self {
            OpenFailure::Code(_) | OpenFailure::Refused(_) => self.code(),
            OpenFailure::TimedOut => Some(ResultCode::TIMED_OUT),
            OpenFailure::Lost(Cut::SessionLost) => Some(ResultCode::PDP_BROKEN),
            OpenFailure::Lost(_) => return Kind::ModemLost,
            OpenFailure::Untrusted(_) => return Kind::SetUpFailed,
        };
        match code {
            Some(ResultCode::DNS_FAILED | ResultCode::DNS_BUSY) => Kind::DnsFailed,
            Some(ResultCode::CONNECT_FAILED | ResultCode::TIMED_OUT) => Kind::ConnectFailed,
            Some(ResultCode::PDP_BROKEN | ResultCode::PDP_OPEN_FAILED | ResultCode(573)) => {
                Kind::NoDataSession
            }
            _ => Kind::Failed,
        }
    }
}

impl OpenFailure {
    /// The result code, where the modem gave one.
    fn code(&self) -> Option<ResultCode> {
        match self {
            OpenFailure::Code(code) => Some(*code),
            OpenFailure::Refused(refusal) => refusal.result_code(),
            OpenFailure::TimedOut | OpenFailure::Lost(_) | OpenFailure::Untrusted(_) => None,
        }
    }

    /// Whether the module reports that there is no data session.
    pub(crate) fn contradicts_session(&self) -> bool {
        matches!(self.code(), Some(ResultCode::PDP_BROKEN | ResultCode::PDP_OPEN_FAILED))
    }

    /// Whether a certificate or key that has vanished from the module would show in this way, or a wrong clock.
    pub(crate) fn may_be_lost_files(&self) -> bool {
        matches!(self.code(), Some(ResultCode::INVALID_PARAMETER | ResultCode::CONNECT_FAILED))
    }

    /// The cause without the advice, for counters.
    pub(crate) fn in_short(&self) -> String {
        match (self.code(), self) {
            (Some(code), _) => format!("{} {}", code.0, code.words()),
            (None, OpenFailure::TimedOut) => "no answer in time".into(),
            (None, OpenFailure::Untrusted(distrust)) => distrust.in_words().into(),
            (None, _) => self.to_string(),
        }
    }
}

impl std::fmt::Display for OpenFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenFailure::Code(code) => code.fmt(f),
            OpenFailure::Refused(refusal) => refusal.fmt(f),
            OpenFailure::TimedOut => f.write_str("no answer in time (see --connect-timeout)"),
            OpenFailure::Lost(cut) => cut.fmt(f),
            OpenFailure::Untrusted(distrust) => f.write_str(distrust.in_words()),
        }
    }
}

/// What is wrong with the TLS settings of a socket; the log has had the setting or the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// A setting or a file cannot be made what it must be.
    NotAsWanted,
    /// By which settings it was opened is not known.
    Changed,
}

impl Distrust {
    fn in_words(self) -> &'static str {
        match self {
            Distrust::NotAsWanted => "TLS settings not as wanted",
            Distrust::Changed => "TLS settings may have changed meanwhile",
        }
    }
}

/// Why a stream is broken. A client never takes one of these for an end of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The port is gone.
    PortLost,
    /// The modem rebooted.
    Rebooted,
    /// The modem stopped answering, and a resync was needed.
    Silent,
    /// The modem sent something that cannot be framed.
    Garbled,
    /// Data came in a form that another program has set (AT+QICFG).
    OtherForm,
    /// Another program has closed the connection and opened its own under the same number.
    NumberTaken,
    /// Payload was pushed after another program's text, and may be a part of that.
    Forgeable,
    /// The module's URCs left by a port that is not in use here.
    UrcsMissed,
    /// The modem stopped in the middle of what it had announced.
    Unfinished,
    /// The line lost or altered bytes on their way to the host.
    LineError,
    /// The data session (PDP context) was lost or came back with another address.
    SessionLost,
    /// An AT+QSSLSEND was refused or not answered after its bytes had gone out: their fate is unknown.
    SendUncertain,
    /// The modem refused an AT+QSSLSEND: the connection is gone.
    SendRefused,
    /// Every AT+QSSLSEND failed with SEND FAIL for too long.
    SendStuck,
    /// An AT+QSSLRECV failed before it reported that nothing is left.
    ReceiveFailed,
    /// The client did not read, and its buffer is full or holds up others.
    ClientStalled,
    /// More came than there is room for while the connection was not yet confirmed, and no client could take it.
    TooMuchTooSoon,
    /// The server closed, and `--on-closed reset` is in force or AT+QSSLCLOSE failed.
    ClosedUncertain,
    /// The connection ended in data mode, and how cannot be known.
    CarrierLost,
    /// The process is shutting down.
    ShuttingDown,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Cut::PortLost => "the port is gone",
            Cut::Rebooted => "the modem rebooted",
            Cut::Silent => "the modem stopped answering",
            Cut::Garbled => "the modem sent bytes that cannot be parsed",
            Cut::OtherForm => "another program has changed the form of the modem's data (AT+QICFG)",
            Cut::NumberTaken => "another program uses the number of this connection's socket (see --sockets)",
            Cut::Forgeable => "what was pushed may be part of a text that another program received",
            Cut::UrcsMissed => "the modem sent pushed data on another of its ports",
            Cut::Unfinished => "the modem stopped in the middle of data",
            Cut::LineError => "bytes were lost on the serial line",
            Cut::SessionLost => "the data session was lost",
            Cut::SendUncertain => "a send was not confirmed, its bytes may be lost",
            Cut::SendRefused => "the modem refused a send, the connection is gone",
            Cut::SendStuck => "the modem's send buffer stayed full",
            Cut::ReceiveFailed => "a receive failed before the end",
            Cut::ClientStalled => "the client did not read",
            Cut::TooMuchTooSoon => {
                "the modem sent more than there is room for before the connection was confirmed"
            }
            Cut::ClosedUncertain => "the server closed the connection, cleanly or not",
            Cut::CarrierLost => "the connection was lost",
            Cut::ShuttingDown => "shutting down",
        })
    }
}
