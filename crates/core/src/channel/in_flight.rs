//! A command on its way: what was sent, who wants its answer, how far it is, and what has been answered so
//! far.

use std::time::Duration;

use super::deadline::Deadline;
use super::echo::Echo;
use crate::at::{Command, SocketId};

/// The command that was sent and not yet answered.
#[derive(Debug)]
pub struct InFlight {
    /// The command.
    pub command: Command,
    /// Who wants its answer.
    pub origin: Origin,
    /// How far it is.
    pub stage: CommandStage,
    /// The command line has come back, and so much of its payload.
    pub(super) echo: Option<Echo>,
    /// The line had been quiet: a module that slept may have woken by it, and lost it.
    pub may_have_woken: bool,
    pub(super) patience: Patience,
    /// When it counts as silent.
    pub(super) deadline: Deadline,
}

/// How long answers may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// `--command-timeout`
    pub usual: Duration,
    /// `--send-timeout`: SEND OK once the payload has left.
    pub send: Duration,
}

/// Names a command that came from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserCommand(pub u64);

/// Who wants the answer of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The channel's own wire settings.
    Wire,
    /// The set-up of the data session.
    Session,
    /// The settings of an SSL context, by its place in the list.
    Context(usize),
    /// The question whether the data session is active.
    Judge,
    /// The question why the open of this socket was refused.
    Reason(SocketId),
    /// The socket that the command names.
    Socket,
    /// No one in particular: it only shows that the modem still answers.
    Liveness,
    /// The recovery ladder: AT+CFUN=1,1.
    Reboot,
    /// Somebody outside.
    User(UserCommand),
}

impl InFlight {
    /// How much of the payload of a send has left.
    pub fn payload_sent(&self) -> usize {
        match (self.stage, &self.command) {
            (CommandStage::Payload(sent), Command::Send { .. }) => sent,
            (CommandStage::AfterPayload, Command::Send { length, .. }) => *length,
            _ => 0,
        }
    }

    /// Whether some of it may still come back.
    pub fn owes_echo(&self) -> bool {
        self.echo.is_some_and(|echo| echo.back() < self.payload_sent())
    }

    /// Whether this line of the modem may repeat a secret of the command.
    pub fn is_secret(&self) -> bool {
        matches!(&self.command, Command::Line(line) if line.secret)
    }
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandStage {
    /// Its final result is awaited.
    Result,
    /// The prompt, or the `CONNECT` of an upload, is awaited: no payload has left.
    Prompt,
    /// The payload is leaving; so many bytes of it have.
    Payload(usize),
    /// The whole payload has left.
    AfterPayload,
}

/// The information lines of an answer, and what came with it.
#[derive(Debug, Default)]
pub struct Answer {
    /// Information lines that belong to the command, at most [`ANSWER_LINES_MAX`].
    pub lines: Vec<String>,
    /// The length in the `+QSSLRECV` header.
    pub received: Option<usize>,
    /// A header came that does not fit the read: another one, or more than was asked for.
    pub contradicts: bool,
    /// The bytes of a downloaded file.
    pub file: Vec<u8>,
    /// A `recv` URC for the socket being read came while the read was under way.
    pub receivable_again: bool,
    /// A text of another program, whose end is unknown, came meanwhile or before: lines of the answer may be
    /// missing.
    pub has_gaps: bool,
}

impl Answer {
    /// Adds a line, if it belongs to the answer of the command in flight.
    pub fn take_line(&mut self, in_flight: Option<&InFlight>, line: &str) -> bool {
        let belongs = in_flight.is_some_and(|it| {
            // AT+GSN and its like answer with a bare line.
            let bare = matches!(it.command, Command::Line(_)) && !line.starts_with('+');
            bare || line.starts_with(it.command.answer_prefix())
        });
        if belongs && self.lines.len() < ANSWER_LINES_MAX {
            self.lines.push(line.to_owned());
        }
        belongs
    }
}

/// The most information lines kept of one answer.
const ANSWER_LINES_MAX: usize = 128;
