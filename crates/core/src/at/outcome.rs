//! How a command ended, and how it was refused.

use std::fmt;
use std::str::FromStr;

use super::decoder::message;
use super::{CmeError, Final, Message, ResultCode};

/// How a command ended. It is written and parsed as the modem sends it: `OK`, `+CME ERROR: 10`.
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

impl CommandOutcome {
    /// Whether the modem did what it was asked.
    pub fn is_done(&self) -> bool {
        matches!(self, CommandOutcome::Ok | CommandOutcome::SendOk | CommandOutcome::Connect)
    }
}

impl fmt::Display for CommandOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = match self {
            CommandOutcome::Ok => Final::Ok,
            CommandOutcome::SendOk => Final::SendOk,
            CommandOutcome::SendFail => Final::SendFail,
            CommandOutcome::Connect => Final::Connect,
            CommandOutcome::NoCarrier => Final::NoCarrier,
            CommandOutcome::Refused(Refusal::Plain) => Final::Error,
            CommandOutcome::Refused(Refusal::Cme(error)) => Final::CmeError(&error.0),
        };
        result.fmt(f)
    }
}

impl FromStr for CommandOutcome {
    type Err = NoResult;

    fn from_str(line: &str) -> Result<Self, NoResult> {
        match message(line.as_bytes()) {
            (Message::Final(result), _) => Ok(result.into()),
            _ => Err(NoResult),
        }
    }
}

/// The line is no final result of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a final result")]
pub struct NoResult;

/// How the modem refused a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `ERROR`
    Plain,
    /// `+CME ERROR: …`
    Cme(CmeError),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_written_as_the_modem_sends_it_and_read_back() {
        let cme = |text: &str| CommandOutcome::Refused(Refusal::Cme(CmeError(text.into())));
        let all = [
            (CommandOutcome::Ok, "OK", true),
            (CommandOutcome::SendOk, "SEND OK", true),
            (CommandOutcome::Connect, "CONNECT", true),
            (CommandOutcome::SendFail, "SEND FAIL", false),
            (CommandOutcome::NoCarrier, "NO CARRIER", false),
            (CommandOutcome::Refused(Refusal::Plain), "ERROR", false),
            (cme("10"), "+CME ERROR: 10", false),
            (cme("SIM failure"), "+CME ERROR: SIM failure", false),
        ];
        for (outcome, text, is_done) in all {
            assert_eq!(outcome.to_string(), text);
            assert_eq!(text.parse(), Ok(outcome.clone()), "{text}");
            assert_eq!(outcome.is_done(), is_done, "{text}");
        }
    }

    #[test]
    fn other_ways_to_write_a_result_are_read() {
        assert_eq!("CONNECT 115200".parse(), Ok(CommandOutcome::Connect));
        let refused = CommandOutcome::Refused(Refusal::Cme(CmeError("500".into())));
        assert_eq!("+CMS ERROR: 500".parse(), Ok(refused));
        for line in ["", "RDY", "+CSQ: 23,99", "AT"] {
            assert_eq!(line.parse::<CommandOutcome>(), Err(NoResult), "{line:?}");
        }
    }
}
