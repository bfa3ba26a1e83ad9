//! How a command ended, and how it was refused.

use super::{CmeError, Final, ResultCode};

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandOutcome {
    /// `OK`
    Ok,
    /// `SEND OK`
    SendOk,
    /// `SEND FAIL`
    SendFail,
    /// `CONNECT`, and the port is in data mode.
    Connect,
    /// `NO CARRIER`
    NoCarrier,
    /// An error.
    Refused(Refusal),
}

impl From<Final<'_>> for CommandOutcome {
    fn from(result: Final<'_>) -> Self {
        match result {
            Final::Ok => CommandOutcome::Ok,
            Final::SendOk => CommandOutcome::SendOk,
            Final::SendFail => CommandOutcome::SendFail,
            Final::Connect => CommandOutcome::Connect,
            Final::NoCarrier => CommandOutcome::NoCarrier,
            Final::Error => CommandOutcome::Refused(Refusal::Plain),
            Final::CmeError(text) => CommandOutcome::Refused(Refusal::Cme(CmeError(text.to_owned()))),
        }
    }
}

/// How the modem refused a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `ERROR`
    Plain,
    /// `+CME ERROR: …`
    Cme(CmeError),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Plain => f.write_str("ERROR"),
            Refusal::Cme(error) => error.fmt(f),
        }
    }
}

impl Refusal {
    /// The result code, where the modem gave one.
    pub fn result_code(&self) -> Option<ResultCode> {
        match self {
            Refusal::Plain => None,
            Refusal::Cme(error) => error.result_code(),
        }
    }
}
