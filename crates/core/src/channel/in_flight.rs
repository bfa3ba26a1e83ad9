//! A command on its way: what was sent, who wants its answer, how far it is, and what has been answered so
//! far.

use std::time::{Duration, Instant};

use super::deadline::{Deadline, LINE_BUSY_MAX};
use super::echo::Echo;
use crate::at::{Command, Expects, SocketId};
use crate::radio::Question;

/// The command that was sent and not yet answered.
#[derive(Debug)]
pub struct InFlight {
    /// The command.
    pub command: Command,
    /// Who wants its answer.
    pub origin: Origin,
    /// How far it is.
    stage: CommandStage,
    /// The command line has come back, and so much of its payload.
    pub(super) echo: Option<Echo>,
    /// The line had been quiet: a module that slept may have woken by it, and lost it.
    pub may_have_woken: bool,
    patience: Patience,
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
    /// The settings of an SSL context, by its index in the list.
    Context(usize),
    /// The question whether the data session is active.
    ConfirmSession,
    /// The question why the open of this socket was refused.
    Reason(SocketId),
    /// The socket that the command names.
    Socket,
    /// No one in particular: it only shows that the modem still answers.
    Liveness,
    /// The recovery ladder: AT+CFUN=1,1.
    Reboot,
    /// A question about the network or the cell.
    Radio(Question),
    /// Somebody outside.
    User(UserCommand),
}

/// What `CONNECT` begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    /// The payload of an upload is due.
    Upload,
    /// So many bytes of a file follow.
    Download(usize),
}

impl InFlight {
    /// A command that leaves now, and takes `wire_time` for that.
    pub(super) fn new(
        command: Command,
        origin: Origin,
        patience: Patience,
        may_have_woken: bool,
        wire_time: Duration,
        now: Instant,
    ) -> Self {
        let stage = match command.expects() {
            Expects::Prompt | Expects::ConnectThenUpload | Expects::ConnectThenDownload(_) => {
                CommandStage::Prompt
            }
            Expects::Result | Expects::ConnectThenData => CommandStage::Result,
        };
        let wait = command.patience(patience.usual) + wire_time;
        let deadline = Deadline::new(wait, LINE_BUSY_MAX, now);
        InFlight { command, origin, stage, echo: None, may_have_woken, patience, deadline }
    }

    /// Whether this line takes the place of `SEND OK`, as another program has the module send it (AT+QICFG="sendinfo").
    pub fn is_sent_in_another_form(&self, line: &str) -> bool {
        matches!(self.command, Command::Send { .. })
            && self.stage() == CommandStage::AfterPayload
            && line.starts_with("+QISEND: ")
    }

    /// How far it is.
    pub fn stage(&self) -> CommandStage {
        self.stage
    }

    /// How much of the file that it uploads has left, and how much there is, in bytes.
    pub fn upload_progress(&self) -> Option<(usize, usize)> {
        let Command::Upload { content, .. } = &self.command else { return None };
        match self.stage {
            CommandStage::Payload(sent) => Some((sent, content.len())),
            CommandStage::AfterPayload => Some((content.len(), content.len())),
            CommandStage::Result | CommandStage::Prompt => None,
        }
    }

    /// What of its payload waits to leave. `outgoing`: what a socket has to send.
    pub(super) fn payload_left<'a>(&'a self, outgoing: impl Fn(SocketId) -> &'a [u8]) -> &'a [u8] {
        let CommandStage::Payload(sent) = self.stage else { return &[] };
        match &self.command {
            Command::Send { socket, length, .. } => &outgoing(*socket)[sent..*length],
            Command::Upload { content, .. } => &content[sent..],
            _ => &[],
        }
    }

    /// The prompt was seen: the payload is due.
    pub(super) fn prompted(&mut self, now: Instant) {
        if self.stage == CommandStage::Prompt {
            self.stage = CommandStage::Payload(0);
            self.deadline = Deadline::new(self.command.patience(self.patience.usual), LINE_BUSY_MAX, now);
        }
    }

    /// `CONNECT` came. `None`: it is not about a file.
    pub(super) fn connected(&mut self, now: Instant) -> Option<Transfer> {
        if self.stage != CommandStage::Prompt {
            return None;
        }
        match self.command.expects() {
            Expects::ConnectThenUpload => {
                self.prompted(now);
                Some(Transfer::Upload)
            }
            Expects::ConnectThenDownload(size) => {
                self.stage = CommandStage::AfterPayload;
                Some(Transfer::Download(size))
            }
            Expects::Prompt | Expects::Result | Expects::ConnectThenData => None,
        }
    }

    /// The port took `count` bytes of payload, all of which needs `wire_time` on the line.
    pub(super) fn payload_written(&mut self, count: usize, wire_time: Duration, now: Instant) {
        let CommandStage::Payload(sent) = self.stage else { return };
        let (all_sent, length) = (sent + count, self.command.payload_length());
        debug_assert!(all_sent <= length, "no more than announced");
        let wait = wire_time
            + match self.command {
                Command::Send { .. } => self.patience.send,
                _ => self.command.patience(self.patience.usual),
            };
        if all_sent == length {
            self.stage = CommandStage::AfterPayload;
            self.deadline = Deadline::new(wait, LINE_BUSY_MAX, now);
        } else {
            if sent == 0 {
                self.deadline = Deadline::new(wait, LINE_BUSY_MAX + wire_time, now);
            }
            self.stage = CommandStage::Payload(all_sent);
            self.deadline.renew(wait, now);
        }
    }

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
    /// The payload is being written: how many bytes of it have left.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    fn in_flight(command: Command) -> InFlight {
        let patience = Patience { usual: Duration::from_secs(5), send: Duration::from_secs(20) };
        InFlight::new(command, Origin::Socket, patience, false, Duration::ZERO, now())
    }

    fn send(length: usize) -> Command {
        Command::Send {
            set: crate::at::CommandSet::Ssl,
            socket: SocketId::all().next().expect("there are sockets"),
            length,
        }
    }

    #[test]
    fn payload_leaves_after_the_prompt_alone_and_is_counted_until_all_of_it_has_left() {
        let now = now();
        let bytes = [7; 10];
        let mut sent = in_flight(send(10));
        assert_eq!((sent.stage(), sent.payload_left(|_| &bytes)), (CommandStage::Prompt, &[][..]));
        assert_eq!(sent.connected(now), None, "a send has a prompt");
        sent.prompted(now);
        assert_eq!(sent.payload_left(|_| &bytes).len(), 10);
        sent.payload_written(4, Duration::ZERO, now);
        sent.prompted(now);
        assert_eq!(sent.payload_left(|_| &bytes).len(), 6, "a second prompt begins nothing anew");
        sent.payload_written(6, Duration::ZERO, now);
        assert_eq!((sent.stage(), sent.payload_sent()), (CommandStage::AfterPayload, 10));
        assert_eq!(sent.deadline.due(), now + Duration::from_secs(20), "--send-timeout for SEND OK");
    }

    #[test]
    fn a_prompt_or_connect_means_nothing_to_a_command_that_awaits_neither() {
        let now = now();
        let mut line = in_flight(Command::line("AT"));
        line.prompted(now);
        assert_eq!(line.connected(now), None);
        line.payload_written(1, Duration::ZERO, now);
        assert_eq!(line.stage(), CommandStage::Result);
    }
}
