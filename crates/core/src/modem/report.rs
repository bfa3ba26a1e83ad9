//! What can be seen of a modem from outside, as plain data, and the queue of commands from outside.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::{Modem, PortFacts, SetupStep, UserCommand};
use crate::channel::{Channel, ChannelState};
use crate::error::Kind;
use crate::failure::Failure;
use crate::recorder::{Recorder, Side};

/// A modem at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Its ports in the order of the configuration.
    pub ports: Vec<PortReport>,
    /// What the set-up of the data session does, or why it waits; "up" when sockets can be opened.
    pub session: String,
    /// The data session's address.
    pub address: Option<String>,
    /// How many sockets are in each state: free, foreign, opening, open, warm (open ahead of a client),
    /// closing, unknown.
    pub sockets: BTreeMap<String, usize>,
    /// Commands from outside that wait for their turn.
    pub waiting_commands: usize,
}

/// A port at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortReport {
    /// Its name; empty until it was first opened.
    pub name: String,
    /// Its state.
    pub state: PortState,
    /// Its speed in bit/s, if it is open and has one.
    pub baud: Option<u32>,
}

/// What a port carries. Shown as the words of `status --json` and Prometheus, which scripts read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortState {
    /// It is not open: "closed".
    #[default]
    Closed,
    /// The channel is brought to where it takes commands: "waking", from before this was called a resync.
    Resync,
    /// Commands and their answers: "command".
    Command,
    /// The bytes of a stream: "data".
    Data,
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PortState::Closed => "closed",
            PortState::Resync => "waking",
            PortState::Command => "command",
            PortState::Data => "data",
        })
    }
}

impl Modem {
    /// Its state.
    pub fn report(&self) -> Report {
        let report = |(port, facts): (usize, &PortFacts)| PortReport {
            name: facts.name.clone(),
            state: self.port_state(port),
            baud: (self.channels[port].is_open() && facts.is_uart).then(|| self.channels[port].baud()),
        };
        let mut sockets = BTreeMap::new();
        for socket in self.sockets.iter() {
            *sockets.entry(socket.phase_name().to_owned()).or_default() += 1;
        }
        Report {
            ports: self.ports.iter().map(|port| &port.facts).enumerate().map(report).collect(),
            session: self.session_in_words(),
            address: self.setup.address().map(ToString::to_string),
            sockets,
            waiting_commands: self.user_commands.len(),
        }
    }

    /// What a port carries now.
    pub fn port_state(&self, port: usize) -> PortState {
        match self.channels[port].state() {
            ChannelState::Closed => PortState::Closed,
            ChannelState::Resync(_) => PortState::Resync,
            ChannelState::Command => PortState::Command,
            ChannelState::Data(_) => PortState::Data,
        }
    }

    /// Whether the rest of announced payload is awaited on a port, before which no answer can come.
    pub fn awaits_payload(&self, port: usize) -> bool {
        self.channels[port].awaits_payload()
    }

    /// What passed on this port.
    pub fn recorder(&self, port: usize) -> Option<&Recorder> {
        self.channels.get(port).map(Channel::recorder)
    }

    /// A line passed on this port while it belonged to no channel yet.
    pub fn record(&mut self, port: usize, side: Side, line: &str, now: Instant) {
        if let Some(channel) = self.channels.get_mut(port) {
            channel.recorder_mut().line(side, line, now);
        }
    }

    /// Something happened to the channel of this port that is no line of its conversation.
    pub(crate) fn remark(&mut self, port: usize, text: &str, now: Instant) {
        if let Some(channel) = self.channels.get_mut(port) {
            channel.recorder_mut().remark(text, now);
        }
    }

    /// [`crate::Input::RecordPayload`].
    pub(crate) fn record_payload(&mut self, wanted: bool) {
        for channel in &mut self.channels {
            channel.recorder_mut().record_payload(wanted);
        }
    }

    /// [`crate::Input::CancelCommand`]: takes it out of the queue.
    pub(crate) fn cancel_command(&mut self, command: UserCommand) {
        self.user_commands.retain(|(id, _)| *id != command);
    }

    /// Every open port is the stream of a connection: commands have to wait for its end.
    pub fn is_all_data(&self) -> bool {
        let mut open = self.channels.iter().filter(|channel| channel.is_open()).peekable();
        open.peek().is_some() && open.all(|channel| channel.stream().is_some())
    }

    /// Whether any of its ports is open.
    pub(crate) fn has_open_port(&self) -> bool {
        self.channels.iter().any(Channel::is_open)
    }

    /// When it counts as silent if nothing comes until then, because an answer is awaited that comes soon from a module
    /// that is well.
    pub(crate) fn silent_at(&self) -> Option<Instant> {
        let usual = self.settings.command_timeout;
        let asked = self.channels.iter().filter_map(|channel| channel.asked_since(usual)).min()?;
        let open = self.channels.iter().filter(|channel| channel.is_open());
        let heard = open.map(Channel::last_received).max()?;
        Some(asked.max(heard) + SILENCE_SUSPICIOUS)
    }

    /// Why no socket can be opened now.
    pub(crate) fn why_not_ready(&self) -> Failure {
        let has_port = self.has_open_port();
        match self.setup.reason_for_waiting() {
            Some(reason) if has_port => reason.clone(),
            _ => {
                let kind = if has_port { Kind::Failed } else { Kind::PortUnavailable };
                Failure::new(kind, format!("still {}", self.session_in_words()))
            }
        }
    }

    /// What the set-up of the data session does, or why it waits; "up" when sockets can be opened.
    pub fn session_in_words(&self) -> String {
        if !self.has_open_port() {
            return "waiting for the port".into();
        }
        if let Some(reason) = self.setup.reason_for_waiting() {
            return format!("waiting: {}", reason.message);
        }
        match self.setup.step() {
            SetupStep::Up => "up",
            SetupStep::Unwanted => "not wanted",
            SetupStep::Down | SetupStep::Failed => "waiting for the modem",
            SetupStep::Sim | SetupStep::EnterPin { .. } => "asking for the SIM",
            SetupStep::Registration(_) => "asking for the registration",
            SetupStep::PdpState
            | SetupStep::Apn { .. }
            | SetupStep::Activate { .. }
            | SetupStep::TearDown
            | SetupStep::Address
            | SetupStep::OtherAddress => "activating the data session",
            SetupStep::ListFiles | SetupStep::DeleteFile | SetupStep::Space | SetupStep::Upload => {
                "storing certificates"
            }
            SetupStep::Deactivate | SetupStep::Ended => "released",
            _ => "setting up the modem",
        }
        .into()
    }
}

/// How long a module may be silent although it was asked, until another modem is preferred to it. Its connections are not
/// touched before `--command-timeout`.
const SILENCE_SUSPICIOUS: Duration = Duration::from_secs(2);
