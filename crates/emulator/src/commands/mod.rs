//! All commands: the file that knows each, and the possible outcomes of a command.

pub(crate) mod access_modes;
pub(crate) mod files;
pub(crate) mod general;
pub(crate) mod mux;
pub(crate) mod network_tests;
pub(crate) mod open_files;
pub(crate) mod pdp;
pub(crate) mod plain_sockets;
pub(crate) mod sim_and_network;
pub(crate) mod sockets;
pub(crate) mod ssl_config;
pub(crate) mod tls_sockets;
pub(crate) mod transfer;

use std::time::Instant;

use crate::at_port::{Payload, Upload, Wait};
use crate::modem::Modem;
use crate::network::{ConnectionId, Network};
use crate::parser::{Command, Invalid, Kind, Parameter, Parameters};

/// A command that is to be carried out now.
pub(crate) struct Call<'a> {
    pub(crate) port: usize,
    pub(crate) command: &'a Command,
    pub(crate) now: Instant,
    pub(crate) network: &'a mut dyn Network,
}

/// The outcome of a command that did not fail.
#[derive(Debug)]
pub(crate) enum CommandOutcome {
    /// Lines of information, perhaps none; then the next command of the line, or OK.
    Done(Vec<String>),
    /// The same with information that has its own frame.
    Raw(Vec<u8>),
    /// The send prompt, then payload.
    Prompt(Payload),
    /// The result of a send whose payload is there.
    Send(Payload),
    /// CONNECT, then a file.
    Upload(Upload),
    /// CONNECT, then the stream of a connection.
    Stream(ConnectionId),
    /// The port is blocked for now.
    Wait(Wait),
}

/// How a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// ERROR
    Error,
    /// +CME ERROR with this number.
    Cme(u16),
    /// ERROR of a socket command, with this result code for AT+QIGETERROR.
    Socket(u16),
    /// NO CARRIER
    NoCarrier,
}

/// The result of a command.
pub(crate) type Answer = Result<CommandOutcome, Failure>;

impl From<Invalid> for Failure {
    fn from(_: Invalid) -> Failure {
        Failure::Error
    }
}

impl Modem {
    /// Carries out one command. A command that no file knows is answered with ERROR.
    pub(crate) fn run(&mut self, call: &mut Call) -> Answer {
        self.given_answer(call)
            .or_else(|| general::run(self, call))
            .or_else(|| mux::run(self, call))
            .or_else(|| sim_and_network::run(self, call))
            .or_else(|| pdp::run(self, call))
            .or_else(|| network_tests::run(self, call))
            .or_else(|| files::run(self, call))
            .or_else(|| open_files::run(self, call))
            .or_else(|| ssl_config::run(self, call))
            .or_else(|| tls_sockets::run(self, call))
            .or_else(|| access_modes::run(self, call))
            .or_else(|| plain_sockets::run(self, call))
            .unwrap_or(Err(Failure::Error))
    }

    /// The answer to a test command where the module's own is known.
    fn given_answer(&self, call: &Call) -> Option<Answer> {
        let lines = self.config.facts.test_answers.get(&call.command.name)?;
        (call.command.kind == Kind::Test).then(|| Ok(CommandOutcome::Done(lines.clone())))
    }

    pub(crate) fn parameters<'a>(&self, list: &'a [Parameter]) -> Parameters<'a> {
        Parameters { list, quoted_numbers: self.config.quirks.quoted_numbers }
    }
}

/// Just OK.
pub(crate) fn ok() -> Answer {
    Ok(CommandOutcome::Done(Vec::new()))
}

/// One line of information.
pub(crate) fn line(text: impl Into<String>) -> Answer {
    Ok(CommandOutcome::Done(vec![text.into()]))
}
