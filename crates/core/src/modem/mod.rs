//! One modem: its channels and sockets, the data session that carries them, and which command is next.
//!
//! The relay asks for sockets and hands over bytes; the event loop brings the bytes of the ports and passes
//! the time. In between, `run` decides what each channel sends next. It is the only function that does, and
//! it is called after every change.

mod answers;
mod counters;
mod ends;
mod outside;
mod port;
mod reconfigure;
mod recovery;
mod report;
mod schedule;
mod set_up;
mod sockets;
mod transparent;
mod urc_routing;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::at::{CommandOutcome, Refusal};
pub use crate::channel::UserCommand;
pub(crate) use crate::failure::{Cut, Distrust};
pub use crate::failure::{Failure, OpenFailure};
pub(crate) use crate::profile::Family;
pub use crate::profile::{DIRECTORIES, Profile, QUESTIONS};
pub use crate::setup::ssl_context;
pub use crate::setup::{
    Address, CLOCK_TOLERANCE_SECONDS, ClockFinding, PIN_ATTEMPTS, PIN_ATTEMPTS_MIN, PLAUSIBLE_UNIX_SECONDS,
    REGISTRATION, access_point_line, activation, address_questions, deactivation,
};
pub(crate) use crate::socket::{GiveUp, Holder, SEND_STUCK_LIMIT};
pub use crate::socket::{INCOMING_LIMIT_BYTES, OUTGOING_LIMIT_BYTES};
pub use counters::Counters;
pub use reconfigure::Reluctance;
pub use report::{PortReport, PortState, Report};

use crate::at::{Command, CommandSet, IdSet, Numbers, SOCKET_COUNT, SocketId, Urc};
use crate::channel::resync::{FILLER, ResyncEffect, Without};
use crate::channel::stream::{READ_MIN_BYTES, Stream};
use crate::channel::{
    Answered, Channel, ChannelEvent, ChannelState, CommandStage, EchoTaken, InFlight, Line, Origin,
};
use crate::counted;
use crate::error::Kind;
use crate::fair_queue::{FairQueue, Way};
use crate::input::PortInput;
pub use crate::input::{PortFacts, Sharing};
use crate::queue::Queue;
use crate::radio::{Facts, Radio};
use crate::recorder::LIMIT_BYTES;
use crate::recovery::{Absence, Ladder, Reboot, RebootSign, Rung};
use crate::settings::{self, Mode};
use crate::setup::ssl_context::SslContext;
use crate::setup::{Confirmation, SetUp, SetupStep, Texts};
use crate::socket::{Ending, FailedSend, OpenAnswer, OpenResult, Received, Socket, Told, UrcOpened, Witness};
use counters::OpenTimes;
use port::{Port, REOPEN_PAUSE};
use sockets::Sockets;
use urc_routing::Routing;

/// A modem.
#[derive(Debug)]
pub struct Modem {
    settings: settings::Modem,
    tunnels: Vec<Arc<settings::Tunnel>>,
    /// Settings that hold from the next data session on.
    next_settings: Option<settings::Modem>,
    channels: Vec<Channel>,
    ports: Vec<Port>,
    sockets: Sockets,
    setup: SetUp,
    fair: FairQueue,
    events: VecDeque<ModemEvent>,
    actions: VecDeque<Action>,
    /// The process is ending: no further sockets and ports. Sockets that are not free by this time end with the data
    /// session.
    releasing: Option<Instant>,
    /// Clients wait for a socket.
    is_wanted: bool,
    /// What the module cannot do for the tunnels, as it was logged.
    warned: Vec<String>,
    /// A command that came after a quiet time was lost: the module sleeps, and `AT` has to wake it.
    may_sleep: bool,
    routing: Routing,
    /// Commands from outside, waiting for their turn.
    user_commands: VecDeque<(UserCommand, Command)>,
    /// What it is asked about its cell, and what it has answered.
    radio: Radio,
    ladder: Ladder,
    /// When it was last decided what is sent next.
    last_run: Instant,
    reboot: Reboot,
    /// What becomes of a modem whose ports stay away.
    absence: Absence,
    next_user_command: u64,
    counters: Counters,
    open_times: OpenTimes,
}

/// What the relay must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModemEvent {
    /// Sockets can be opened.
    Up,
    /// Sockets can no longer be opened; every socket has ended.
    Down,
    /// The socket carries bytes now.
    Opened(SocketId),
    /// The socket could not be opened.
    OpenFailed(SocketId, OpenFailure),
    /// No more bytes will come. The last ones are in [`Modem::received`].
    Ended(SocketId, SocketEnd),
    /// The module has taken bytes of a client that is done with its socket.
    SentLate {
        /// Its tunnel.
        tunnel: Arc<settings::Tunnel>,
        /// How many.
        bytes: usize,
    },
    /// The modem is given up: waiting longer is not wanted, or cannot help.
    GaveUp(Failure),
    /// After [`Modem::release`]: the modem is as it was found.
    Released,
    /// `+QSSLOPEN: <id>,<err>` or `+QIOPEN: <id>,<err>` of a connection that no tunnel opens: one that was asked for from
    /// outside came to be (0) or not.
    OpenedOutside(CommandSet, SocketId, u16),
    /// A command from outside is done.
    Answered(UserCommand, UserAnswer),
}

/// The answer to a command from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAnswer {
    /// How it ended; `None`: the modem did not answer.
    pub outcome: Option<CommandOutcome>,
    /// Its information lines.
    pub lines: Vec<String>,
    /// The bytes of a downloaded file.
    pub file: Vec<u8>,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketEnd {
    /// The server closed, and nothing known shows that it has not sent everything.
    Eof,
    /// The stream is broken.
    Cut(Cut),
}

/// What the event loop must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open this port and answer with [`PortInput::Opened`] or [`PortInput::Failed`].
    OpenPort(usize),
    /// Close this port; no [`PortInput::Lost`] is due.
    ClosePort(usize),
    /// Set its speed, in bit/s.
    SetBaud(usize, u32),
    /// Set DTR.
    SetDtr(usize, bool),
    /// Switch off RTS/CTS, or have them as the user wants again.
    SetFlowControl(usize, bool),
    /// Answer with [`PortInput::Queue`]: how many bytes its tty has not sent yet.
    AskQueue(usize),
    /// Answer with [`PortInput::Lines`]: the state of its DCD.
    AskLines(usize),
    /// Answer with [`crate::Input::HostClock`].
    TellTime,
    /// The modem on this port is not the one that was meant: the next candidate is due.
    NextDevice(usize),
    /// Run `--reset-command`.
    RunResetCommand,
    /// The SIM has refused the PIN: no later process may try it again.
    RememberPin,
    /// What [`crate::Input::AskNetwork`] wanted to know is answered, or cannot be.
    NetworkAnswered,
}

/// What a socket has carried since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Bytes that the module has taken.
    pub up_bytes: u64,
    /// Bytes that have come from the server.
    pub down_bytes: u64,
    /// Datagrams that the module has taken.
    pub up_datagrams: u64,
    /// Datagrams that have come, and were kept.
    pub down_datagrams: u64,
    /// Datagrams that have come, and found no room.
    pub full_datagrams: u64,
    /// There are bytes that have not left yet.
    pub is_sending: bool,
    /// Of a stream: when the last that left is with the module.
    pub line_free_at: Option<Instant>,
}

/// A socket that was opened ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ahead {
    /// It is open or being opened, and for a client that is still to come.
    pub is_held: bool,
    /// It is open, nothing speaks against its server, and nothing waits to be read.
    pub is_fresh: bool,
    /// Its server seems to have closed.
    pub is_ending: bool,
    /// How much its server has said.
    pub said_bytes: usize,
    /// How often the settings of its SSL context have been found wrong.
    pub generation: u32,
}

impl Modem {
    /// A modem whose ports are not open yet.
    pub(crate) fn new(
        ports: Vec<settings::Port>,
        settings: settings::Modem,
        tunnels: Vec<Arc<settings::Tunnel>>,
        now: Instant,
    ) -> Self {
        let count = ports.len();
        Modem {
            channels: (0..count).map(|_| Channel::new(settings.baud, LIMIT_BYTES / count, now)).collect(),
            ports: ports.into_iter().map(Port::new).collect(),
            sockets: Sockets::new(
                (0..SOCKET_COUNT).map(|index| Socket::new(settings.sockets.contains(index), now)).collect(),
            ),
            setup: SetUp::new(!tunnels.is_empty(), now),
            fair: FairQueue::default(),
            events: VecDeque::new(),
            actions: (0..count).map(Action::OpenPort).collect(),
            releasing: None,
            is_wanted: false,
            warned: Vec::new(),
            may_sleep: false,
            routing: Routing::new(count),
            user_commands: VecDeque::new(),
            radio: Radio::new(settings.radio, now),
            ladder: Ladder::new(settings.recovery, settings.has_reset_command),
            reboot: Reboot::default(),
            absence: Absence::default(),
            last_run: now,
            next_user_command: 0,
            counters: Counters::default(),
            open_times: OpenTimes::default(),
            next_settings: None,
            settings,
            tunnels,
        }
    }

    /// Chance decides by this how long pauses between attempts are.
    pub(crate) fn set_seed(&mut self, seed: u64) {
        self.ladder.set_seed(seed);
        self.setup.set_seed(seed.rotate_left(32));
    }

    // Questions.

    /// Whether sockets can be opened at present.
    pub fn is_up(&self) -> bool {
        self.setup.is_up()
    }

    /// Whether sockets may be open, and further ones can be opened at present or as soon as their settings are written.
    pub fn is_serving(&self) -> bool {
        self.setup.is_serving()
    }

    /// Whether a command from outside would be sent now or soon: a channel answers, and has its settings.
    pub fn takes_commands(&self) -> bool {
        self.channels.iter().any(|channel| channel.takes_commands() && channel.wire().are_made())
    }

    /// How much of the file that is being uploaded has left, and how much there is, in bytes.
    pub fn upload_progress(&self) -> Option<(usize, usize)> {
        self.channels.iter().find_map(|channel| channel.in_flight()?.upload_progress())
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// It counts on from these.
    pub(crate) fn counts_on_from(&mut self, before: Counters) {
        self.counters = before;
    }

    /// What the modem has reported about its network, and when it last answered a question about it.
    pub fn network(&self) -> (&Facts, Option<Instant>) {
        (self.radio.facts(), self.radio.answered_at())
    }

    /// When the oldest of these facts was reported.
    pub fn oldest_network_fact(&self) -> Option<Instant> {
        self.radio.oldest_at()
    }

    /// Whether answers to [`crate::Input::AskNetwork`] are awaited.
    pub fn is_asked_about_network(&self) -> bool {
        self.radio.pressing().is_some()
    }

    /// What is known of the module.
    pub fn profile(&self) -> &Profile {
        self.setup.profile()
    }

    /// Whether a socket for this tunnel could be opened now.
    pub(crate) fn can_open(&self, tunnel: &settings::Tunnel) -> bool {
        if !self.is_up() || self.releasing.is_some() || self.free_socket().is_none() {
            return false;
        }
        match tunnel.mode {
            Mode::Transparent => self.port_for_transparent().is_some(),
            Mode::Push | Mode::Buffer => {
                (0..self.channels.len()).any(|port| self.channels[port].takes_commands())
            }
        }
    }

    /// How many bytes the port may deliver now; 0 leaves them in the port, so that its flow control stops
    /// the modem.
    pub fn wants_port_bytes(&self, port: usize) -> usize {
        let room = match self.channels[port].state() {
            ChannelState::Closed => 0,
            // What has been pushed by the other port comes first.
            _ if self.awaits_urcs(port) => 0,
            ChannelState::Data(data) => {
                let socket_room =
                    data.socket().map_or(usize::MAX, |id| self.sockets[id.index()].incoming.room());
                socket_room.saturating_sub(data.held_len()).min(data.room())
            }
            ChannelState::Resync(_) | ChannelState::Command => self
                .sockets
                .iter()
                // What is pushed to one that is being opened must not keep the answers from being read.
                .filter(|socket| socket.is_attached() && socket.is_pushing() && !socket.is_opening())
                .map(|socket| socket.incoming.room_for_pushed())
                .min()
                .map(|room| room.min(INCOMING_LIMIT_BYTES))
                .unwrap_or(INCOMING_LIMIT_BYTES),
        };
        // Less than this is not worth a system call, and a client that reads soon makes more room.
        if room < READ_MIN_BYTES { 0 } else { room }
    }

    /// Whether the port's DCD line matters now: in data mode it distinguishes an end from payload.
    pub(crate) fn wants_port_lines(&self, port: usize) -> bool {
        self.ports[port].facts.has_dcd && self.channels[port].stream().is_some()
    }

    /// The client of this socket does not read, and holds up a port by that.
    pub(crate) fn holds_up_port(&self, socket: SocketId) -> bool {
        let socket = &self.sockets[socket.index()];
        socket.is_attached() && socket.is_pushing() && socket.incoming.room_for_pushed() < READ_MIN_BYTES
    }

    /// The client of this socket does not read, and what it has not read hides that the module no longer pushes:
    /// nothing but its bytes can come before the answer to the switch of mode.
    pub(crate) fn holds_up_its_relief(&self, id: SocketId) -> bool {
        let socket = &self.sockets[id.index()];
        let switches =
            |command: &Command| matches!(command, Command::SwitchMode { socket, .. } if *socket == id);
        let is_switched = |port: usize| self.channels[port].is_asking(switches);
        self.holds_up_port(id) && socket.busy().is_some_and(is_switched)
    }

    /// Whether bytes that the port cannot deliver are lost: the line has no flow control.
    pub(crate) fn loses_unread_bytes(&self) -> bool {
        self.settings.flow_control == Some(settings::FlowControl::None)
            || self
                .ports
                .iter()
                .any(|port| port.facts.lacks_flow_control && port.facts.sharing != Sharing::Shared)
    }

    /// Whether RTS and CTS hold both sides of a port.
    fn wants_flow_control(&self, port: usize) -> bool {
        self.settings.flow_control != Some(settings::FlowControl::None)
            && !self.ports[port].facts.lacks_flow_control
    }

    /// When [`Modem::deadline_passed`] is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        // What was due at the last run and did not happen waits for something else, not for the time.
        let waits = |at: Instant| (at > self.last_run).then_some(at);
        let channels = self.channels.iter().filter_map(|channel| match channel.state() {
            ChannelState::Closed => None,
            ChannelState::Resync(_) if self.reboot.quiet_until().is_some() => None,
            ChannelState::Resync(resync) => Some(resync.deadline()),
            ChannelState::Command => channel.deadline().or(self.liveness_due(channel).and_then(waits)),
            ChannelState::Data(data) => {
                let pace = data.pace_due(self.pending(data));
                data.deadline(self.holds_plus(data)).into_iter().chain(pace).min()
            }
        });
        let sockets = self.sockets.iter().filter_map(|socket| socket.deadline(self.is_wanted, waits));
        let reopen = self.ports.iter().filter_map(Port::reopen_at).filter(|_| self.releasing.is_none());
        let session = self.setup.deadline().and_then(waits).filter(|_| self.has_commander());
        let name = self.next_name_due().and_then(waits).filter(|_| self.setup.is_up());
        let releasing = self.releasing.and_then(waits);
        let radio = self.radio.next_at().and_then(waits).filter(|_| self.has_commander());
        let missed = self.next_missed().and_then(waits);
        channels
            .chain(sockets)
            .chain(reopen)
            .chain(session)
            .chain(name)
            .chain(missed)
            .chain(radio)
            .chain(self.reboot.quiet_until())
            .chain(releasing)
            .chain(self.setup.host_clock_due())
            .min()
    }

    // What happened to the ports.

    /// Something happened at a port.
    pub(crate) fn port(&mut self, port: usize, input: PortInput, now: Instant) {
        self.sockets.all_may_have_changed();
        match input {
            PortInput::Opened(facts) => self.port_opened(port, facts, now),
            PortInput::Failed { is_missing } => self.port_failed(port, is_missing, now),
            PortInput::Lost => self.port_lost(port, now),
            PortInput::Facts(facts) => self.port_facts(port, facts, now),
            PortInput::Lines { dcd } => self.port_lines(port, dcd, now),
            PortInput::Queue(bytes) => self.port_queue(port, bytes, now),
            PortInput::Garbled { lost, wrong } => self.port_garbled(port, lost, wrong, now),
            PortInput::Overrun => self.port_overrun(port, now),
        }
    }

    fn port_opened(&mut self, port: usize, facts: PortFacts, now: Instant) {
        log::info!("port {} open", facts.name);
        self.counters.port_opens += 1;
        let baud = match self.channels[port].answered_at() {
            Some(baud) if facts.is_uart => baud,
            _ => self.settings.baud,
        };
        if baud != self.settings.baud {
            self.actions.push_back(Action::SetBaud(port, baud));
        }
        if self.channels.len() > 1 {
            self.channels[port].recorder_mut().set_label(&facts.name);
        }
        let line = Line {
            baud,
            is_uart: facts.is_uart,
            is_paced: facts.is_paced,
            is_shared: facts.sharing == Sharing::Shared,
        };
        match facts.sharing {
            Sharing::Shared => self.channels[port].forget_stream(),
            Sharing::Alone | Sharing::Only | Sharing::Wanted => self.routing.port_opened(port),
        }
        self.channels[port].port_opened(line, now);
        self.ports[port].opened(facts);
        self.run(now);
    }

    /// Whether there are other ports than the one that is open, now or later.
    pub(super) fn has_several_ports(&self) -> bool {
        self.channels.len() > 1 && self.ports.iter().all(|port| port.facts.sharing != Sharing::Only)
    }

    /// Whether the line of this port can carry several channels from now on: the modem answers, and nothing is under way.
    pub(crate) fn is_line_ready(&self, port: usize) -> bool {
        let channel = &self.channels[port];
        self.ports[port].facts.sharing == Sharing::Wanted && channel.is_idle() && channel.wire().are_made()
    }

    /// The line of this port will carry several channels: each is opened as a port.
    pub(crate) fn hand_over(&mut self, port: usize) {
        debug_assert!(self.is_line_ready(port), "nothing is under way");
        self.channels[port].port_closed();
        self.reclaim(port);
    }

    /// The line of this port belongs to no channel for a while. Then one is opened, or the port has failed.
    pub(crate) fn reclaim(&mut self, port: usize) {
        self.ports[port].handed_over();
        // As a channel it has another name, which stays the same however often it is opened.
        self.routing.port_opened(port);
    }

    /// The port could not be opened; it is tried again later. `is_missing`: there is no such device, or nothing of
    /// what there is answers.
    fn port_failed(&mut self, port: usize, is_missing: bool, now: Instant) {
        self.ports[port].opens_after_pause(now);
        if is_missing && !self.channels.iter().any(Channel::is_open) {
            self.port_stays_away(now);
        }
    }

    /// The port is gone.
    fn port_lost(&mut self, port: usize, now: Instant) {
        if !self.channels[port].is_open() {
            return;
        }
        self.close_channel(port, Cut::PortLost, now);
        if !self.ports[port].is_handed_over() {
            self.ports[port].opens_after_pause(now);
        }
        if !self.channels.iter().any(Channel::is_open) {
            self.forget_network(now);
            self.session_lost(Cut::PortLost, SetupStep::Down, now);
            if self.releasing.is_some() {
                self.session_release(now);
            }
        }
        self.run(now);
    }

    /// More has become known of an open port: a device server reports its lines when it answers.
    fn port_facts(&mut self, port: usize, facts: PortFacts, now: Instant) {
        let known = &self.ports[port].facts;
        let differs = facts.has_dtr && !known.has_dtr || facts.lacks_flow_control != known.lacks_flow_control;
        if differs && self.channels[port].is_open() {
            // The settings depend on it (AT&D1, AT+IFC), and may have been written already.
            self.channels[port].wire_mut().begin_anew();
        }
        self.channels[port].line_changed(facts.is_uart, facts.is_paced);
        self.ports[port].facts = facts;
        self.run(now);
    }

    /// A modem line of the port changed.
    fn port_lines(&mut self, port: usize, dcd: bool, now: Instant) {
        if let Some(data) = self.channels[port].stream_mut() {
            data.dcd_changed(dcd, now);
        }
    }

    /// The answer to [`Action::AskQueue`].
    fn port_queue(&mut self, port: usize, bytes: usize, now: Instant) {
        let wire_time = self.channels[port].wire_time(bytes);
        if let Some(data) = self.channels[port].stream_mut() {
            data.queue_answered(bytes, now, wire_time);
        }
        self.run(now);
    }

    /// The host's clock, in seconds since 1970: the answer to [`Action::TellTime`].
    pub(crate) fn host_clock(&mut self, unix_seconds: i64, now: Instant) {
        if self.set_up(None, now, |setup, given| setup.host_clock_told(given, unix_seconds, now)) {
            self.run(now);
        }
    }

    /// Bytes came out of the port, no more than [`Modem::wants_port_bytes`] allowed.
    pub(crate) fn port_received(&mut self, port: usize, bytes: &[u8], now: Instant) {
        self.counters.wire_bytes_in += bytes.len() as u64;
        self.channels[port].give_up_foreign(now);
        self.settle_late_payload(port, now);
        self.channels[port].bytes_come(now);
        let mut input = bytes;
        while !input.is_empty() {
            if self.channels[port].stream().is_some() {
                self.data_received(port, input, now);
                break;
            }
            if !self.channels[port].is_open() {
                break;
            }
            self.channels[port].words_come(now);
            self.decode(port, &mut input, now);
        }
        self.channels[port].bytes_taken(bytes.len(), now);
        self.run(now);
    }

    /// Bytes that wait to leave by this port.
    pub(crate) fn port_output(&self, port: usize) -> &[u8] {
        self.channels[port].output(|id| self.sockets[id.index()].sendable())
    }

    /// The port took `count` bytes of [`Modem::port_output`].
    pub(crate) fn port_written(&mut self, port: usize, count: usize, now: Instant) {
        self.counters.wire_bytes_out += count as u64;
        let sockets = &self.sockets;
        let outgoing = |id: SocketId| sockets[id.index()].sendable();
        if let Some(id) = self.channels[port].written(count, outgoing, now) {
            self.sockets[id.index()].stream_sent(count);
            self.counters.sent_bytes += count as u64;
        }
        self.run(now);
    }

    /// Something is due.
    pub(crate) fn deadline_passed(&mut self, now: Instant) {
        self.reboot.deadline_passed(now);
        if self.setup.host_clock_due().is_some_and(|due| due <= now) {
            self.setup.host_clock_asked();
            self.actions.push_back(Action::TellTime);
        }
        for port in 0..self.channels.len() {
            if self.releasing.is_none() && self.ports[port].takes_reopening(now) {
                self.actions.push_back(Action::OpenPort(port));
            }
            match self.channels[port].state() {
                ChannelState::Closed => {}
                ChannelState::Resync(_) => self.resync_deadline(port, now),
                ChannelState::Command => {
                    self.channels[port].give_up_foreign(now);
                    self.settle_late_payload(port, now);
                    if self.channels[port].deadline().is_some_and(|deadline| deadline <= now) {
                        // An announced payload that does not come leaves nothing to go by.
                        let unframed = self.channels[port].payload_overdue(now);
                        let cut = if unframed { Cut::Unfinished } else { Cut::Silent };
                        self.channel_silent(port, cut, now);
                    }
                }
                ChannelState::Data(_) => self.data_deadline(port, now),
            }
        }
        self.break_missed(now);
        for id in SocketId::all() {
            self.end_where_closed_stays_away(id, now);
            if self.sockets[id.index()].open_is_overdue(now) {
                self.open_failed(id, OpenFailure::TimedOut, now);
            }
        }
        self.run(now);
    }

    // What the relay wants.

    /// Begins a connection of this tunnel to this server, on the socket that has been free longest.
    pub(crate) fn open(
        &mut self,
        tunnel: &Arc<settings::Tunnel>,
        target: &settings::Target,
        holder: Holder,
        now: Instant,
    ) -> Option<SocketId> {
        if !self.can_open(tunnel) {
            return None;
        }
        let id = self.free_socket()?;
        let ssl = self.ssl_context_of(tunnel);
        if ssl.is_none() && tunnel.tls().is_some() {
            return None;
        }
        self.sockets[id.index()].begin(tunnel.clone(), target.clone(), ssl, holder, now);
        self.fair.forget(id);
        self.run(now);
        Some(id)
    }

    /// What is known of a socket that was opened ahead.
    pub(crate) fn ahead(&self, id: SocketId) -> Ahead {
        let socket = &self.sockets[id.index()];
        Ahead {
            is_held: socket.is_ahead(),
            is_fresh: socket.is_ahead() && socket.is_fresh(),
            is_ending: socket.is_ending(),
            said_bytes: socket.incoming.len(),
            generation: self.context_of(id).map_or(0, SslContext::generation),
        }
    }

    /// A client has come for a socket that was opened ahead.
    pub(crate) fn take(&mut self, id: SocketId, now: Instant) {
        self.sockets[id.index()].taken(now);
        self.run(now);
    }

    /// Since when the open of this socket waits for a port that it can have to itself; `None`: it does not, or has left.
    pub(crate) fn open_due_since(&self, id: SocketId) -> Option<Instant> {
        let socket = &self.sockets[id.index()];
        (self.is_for_stream(id) && socket.open_is_to_leave()).then(|| socket.opening_since())
    }

    /// Whether no connection of ours has this number, and none of another program as far as is known.
    pub(crate) fn is_free(&self, id: SocketId) -> bool {
        self.sockets[id.index()].is_free()
    }

    /// How many connections could be opened now, in place of those without a client as well.
    pub(crate) fn free_sockets(&self) -> usize {
        self.sockets.iter().filter(|socket| socket.is_free() || socket.is_ahead()).count()
    }

    /// How many numbers will be free soon; `None`: some are free now.
    pub(crate) fn numbers_to_come(&self) -> Option<usize> {
        let is_full = self.free_socket().is_none();
        is_full.then(|| self.sockets.iter().filter(|socket| socket.is_becoming_free()).count())
    }

    /// Whether the open of a client's connection has still to leave. A stream could not begin once others are open.
    pub(crate) fn has_open_due(&self) -> bool {
        self.sockets.iter().any(|socket| socket.is_of_client() && socket.waits_for_context())
    }

    /// Sockets that are being opened ahead while a client's open waits until no other is under way: the module takes one at
    /// a time.
    pub(crate) fn in_the_way_of_open(&self) -> Vec<SocketId> {
        if !self.sockets.iter().any(|socket| socket.is_of_client() && socket.waits_to_be_alone()) {
            return Vec::new();
        }
        let is_in_the_way =
            |socket: &Socket| socket.is_ahead() && socket.is_opening() && !socket.is_open_in_modem();
        SocketId::all().filter(|id| is_in_the_way(&self.sockets[id.index()])).collect()
    }

    /// Whether each further connection could cost a number for good: the module refuses to close one.
    pub(crate) fn refuses_closes(&self) -> bool {
        self.sockets.iter().any(Socket::resists_closing)
    }

    /// How many bytes [`Modem::send`] takes now.
    pub(crate) fn room(&self, socket: SocketId) -> usize {
        let socket = &self.sockets[socket.index()];
        if socket.takes_bytes() { socket.outgoing.room() } else { 0 }
    }

    /// The longest datagram that a send of such a connection carries.
    pub(crate) fn datagram_max(&self, transport: &settings::Transport) -> usize {
        self.send_max(transport.command_set())
    }

    /// Hands over bytes for the server, or a datagram, and returns how many bytes were taken.
    pub(crate) fn send(&mut self, socket: SocketId, bytes: &[u8], now: Instant) -> usize {
        let socket = &mut self.sockets[socket.index()];
        let taken = if socket.takes_bytes() { socket.outgoing.append(bytes) } else { 0 };
        self.run(now);
        taken
    }

    /// How many bytes have not been taken by the module yet.
    pub fn unsent(&self, socket: SocketId) -> usize {
        self.sockets[socket.index()].outgoing.len()
    }

    /// What has come from the server, once it is known that it is the right one.
    pub fn received(&self, socket: SocketId) -> &[u8] {
        let socket = &self.sockets[socket.index()];
        // What was pushed can come by another port than the result of the open, and before it.
        if socket.is_opening() { &[] } else { socket.incoming.as_slice() }
    }

    /// The client took `count` of [`Modem::received`].
    pub(crate) fn consume(&mut self, socket: SocketId, count: usize, now: Instant) {
        self.sockets[socket.index()].incoming.consume(count);
        self.run(now);
    }

    /// Takes what has come and was not consumed, at [`ModemEvent::Ended`].
    pub(crate) fn take_rest(&mut self, socket: SocketId) -> Queue {
        self.sockets[socket.index()].incoming.take()
    }

    /// The client is done with the socket; no more events come for it.
    pub(crate) fn give_up(&mut self, socket: SocketId, how: GiveUp, now: Instant) {
        // The client is not told: it gave up itself.
        let _ = self.sockets[socket.index()].detach();
        self.close_or_free(socket, how);
        self.run(now);
    }

    /// Whether the open of this socket is due, or in flight without any answer: nothing of its client has been sent.
    pub(crate) fn is_open_unanswered(&self, socket: SocketId) -> bool {
        self.sockets[socket.index()].open_is_unanswered()
    }

    /// Takes the socket from its client, whose connection another modem opens. Returns what the client has sent; `None`: its
    /// open was answered.
    pub(crate) fn take_back(&mut self, socket: SocketId, now: Instant) -> Option<Queue> {
        if !self.is_open_unanswered(socket) {
            return None;
        }
        let queued = self.sockets[socket.index()].outgoing.take();
        self.give_up(socket, GiveUp::Abort, now);
        Some(queued)
    }

    /// Queues a command from outside, after what the tunnels need at once. `None`: the queue is full.
    pub(crate) fn command(&mut self, command: Command, now: Instant) -> Option<UserCommand> {
        if self.user_commands.len() >= USER_COMMANDS_MAX {
            return None;
        }
        let id = UserCommand(self.next_user_command);
        self.next_user_command += 1;
        self.user_commands.push_back((id, command));
        self.run(now);
        Some(id)
    }

    /// [`crate::Input::AskNetwork`].
    pub(crate) fn ask_network(&mut self, now: Instant) {
        let can_answer = self.takes_commands() && !self.is_all_data();
        if can_answer && self.radio.press(now) {
            self.run(now);
        } else {
            self.actions.push_back(Action::NetworkAnswered);
        }
    }

    /// Another modem may be there next.
    fn forget_network(&mut self, now: Instant) {
        if self.radio.forget(now) {
            self.actions.push_back(Action::NetworkAnswered);
        }
    }

    /// Leaves the modem as it was found; [`ModemEvent::Released`] reports when that is done. After `until`, nothing more is
    /// done.
    pub(crate) fn release(&mut self, now: Instant, until: Instant) {
        self.releasing = Some(until.checked_sub(DEACTIVATION_TIME).unwrap_or(now).max(now));
        for id in SocketId::all() {
            if self.sockets[id.index()].is_attached() {
                self.break_off(id, Cut::ShuttingDown);
            } else if self.sockets[id.index()].is_opening() {
                self.close_or_free(id, GiveUp::Abort);
            }
        }
        self.run(now);
    }

    /// Whether clients wait for a socket. If so, sockets that are only kept for a while are given up.
    pub(crate) fn want_sockets(&mut self, wanted: bool, now: Instant) {
        if std::mem::replace(&mut self.is_wanted, wanted) != wanted {
            self.run(now);
        }
    }

    /// The sockets whose clients have to be looked after: something may have changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> IdSet {
        self.sockets.take_clients()
    }

    /// What has been carried for the client of this socket.
    pub(crate) fn carried(&self, id: SocketId) -> Carried {
        let socket = &self.sockets[id.index()];
        let line_free_at = self.channels.iter().find_map(|channel| match channel.state() {
            ChannelState::Data(data) if data.socket() == Some(id) => data.line_free_at(),
            _ => None,
        });
        let (down_datagrams, full_datagrams) = socket.incoming.datagram_counts();
        Carried {
            up_bytes: socket.sent_bytes(),
            down_bytes: socket.received_bytes(),
            up_datagrams: socket.sends(),
            down_datagrams,
            full_datagrams,
            is_sending: !socket.outgoing.is_empty(),
            line_free_at,
        }
    }

    /// What the server has acknowledged of what was sent for the client of this socket, as far as it is known.
    pub(crate) fn delivered_bytes(&self, id: SocketId) -> Option<u64> {
        self.sockets[id.index()].delivered_bytes()
    }

    /// The client of this socket is done, and everything it sent was taken. Returns whether it waits until the server has
    /// acknowledged that.
    pub(crate) fn awaits_delivery(&mut self, id: SocketId, now: Instant) -> bool {
        let limit = Duration::from_secs(self.close_timeout(id).into());
        let waits = self.sockets[id.index()].awaits_delivery(limit, now);
        if waits {
            self.run(now);
        }
        waits
    }

    // What came of it.

    /// The next thing that the relay must know.
    pub(crate) fn poll_event(&mut self) -> Option<ModemEvent> {
        self.events.pop_front()
    }

    /// The next thing that the event loop must do.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    // Inside.

    /// After bytes that could begin the words of a module that has booted, no more of these words have come: the bytes
    /// were payload.
    fn settle_late_payload(&mut self, port: usize, now: Instant) {
        if self.channels[port].settle_late_payload(now) {
            self.decode(port, &mut &[][..], now);
        }
    }

    /// Decodes messages from the front of `input` until it is used up or the channel changes state.
    fn decode(&mut self, port: usize, input: &mut &[u8], now: Instant) {
        let channel = &mut self.channels[port];
        if let Some(id) = channel.may_echo() {
            match channel.take_echo(self.sockets[id.index()].outgoing.as_slice(), input) {
                EchoTaken::Nothing => {}
                EchoTaken::Some => return,
                EchoTaken::Garbled => {
                    let name = &self.ports[port].facts.name;
                    log::warn!("{name} echoed payload, but not the bytes that it was sent");
                    return self.channel_silent(port, Cut::Garbled, now);
                }
            }
        }
        let numbers = Numbers { announcing: self.announcing_sockets(), plain: self.plain_sockets() };
        let (mut overflowed, mut contradicted) = (None, None);
        let event = self.channels[port].receive(input, numbers, now, &mut |id, bytes| {
            let socket = &mut self.sockets[id.index()];
            // However long ago it was announced: more may follow it.
            if let Err(cut) = socket.received(now) {
                contradicted = Some((id, cut));
            }
            count_received(socket, &mut self.counters, &mut self.ladder, bytes.len());
            // A broken connection keeps what came before; there would be a gap between the two.
            if socket.is_attached() && socket.incoming.came(bytes) < bytes.len() {
                overflowed = Some(id);
            }
        });
        if let Some(id) = overflowed {
            self.overflowed(id);
        }
        if let Some((id, cut)) = contradicted {
            self.break_off(id, cut);
        }
        match event {
            ChannelEvent::Nothing => {}
            ChannelEvent::Header(id, length) => {
                if self.sockets[id.index()].is_attached() && self.begins_to_come(id, length) {
                    self.channels[port].payload_is_for(Some(id));
                }
            }
            // It has received the command after all, and may have taken what came after it for payload.
            ChannelEvent::Prompt => self.settle_unprompted(port, false),
            ChannelEvent::EchoAgain => self.echo_is_back(port, now),
            ChannelEvent::OthersLine(line) => {
                self.setup.others_said(&line);
                if self.channels[port].is_inside_text() {
                    self.sockets.change(Socket::awaits_open, |socket| socket.text_came(now));
                }
            }
            ChannelEvent::PushInText => self.push_in_text(port),
            ChannelEvent::Malformed(text) => {
                let name = &self.ports[port].facts.name;
                match self.channels[port].leftovers_came() {
                    // Nothing is lost with it.
                    Some(true) => {
                        log::info!("{name}: dropped what came before the modem's first answer: {text:?}")
                    }
                    Some(false) => {}
                    None => {
                        log::warn!("{name}: the modem sent bytes that cannot be parsed: {text:?}");
                        self.channel_silent(port, Cut::Garbled, now);
                    }
                }
            }
            ChannelEvent::Urc(urc) => self.urc(port, urc, now),
            ChannelEvent::Answered(answered) => {
                let Answered { in_flight, outcome, answer, asked_at } = answered;
                let outgoing = in_flight.command.socket().map(|id| &self.sockets[id.index()].outgoing);
                let outgoing = outgoing.map_or(&[][..], Queue::as_slice);
                self.channels[port].learn_habit(&in_flight, &outcome, outgoing);
                self.answered(port, in_flight, outcome, answer, now);
                self.sockets.change(Socket::waits_after_failed_send, |socket| {
                    socket.answered_on(port, asked_at, now);
                });
            }
            ChannelEvent::UnwantedStream => self.connected_unwanted(port, now),
            ChannelEvent::StreamOver => {
                self.end_unconfirmed(port, Cut::CarrierLost);
                // It may as well be the end of another channel's.
                self.streams_may_be_over(None, now);
            }
            ChannelEvent::StreamOverElsewhere => self.streams_may_be_over(None, now),
            ChannelEvent::SendOk => self.sent_after_all(port, now),
        }
    }

    /// Something unsolicited. It may come out of any channel, whichever its socket's commands go to.
    fn urc(&mut self, port: usize, urc: Urc, now: Instant) {
        // The port whose copies count carries the same.
        if matches!(urc, Urc::PdpDeactivated(_) | Urc::NetworkTime(_)) && self.routing.carries_copies(port) {
            return;
        }
        let before = match urc {
            Urc::Pushed(_, Some(id), _) | Urc::Receivable(_, id) | Urc::Closed(_, id)
                if self.sockets[id.index()].is_spoken_of() =>
            {
                let before = self.sockets[id.index()].listening.port();
                if !self.is_listened_to(port, id, urc, now) {
                    if let Urc::Pushed(..) = urc {
                        self.channels[port].payload_is_for(None);
                    }
                    return;
                }
                before.filter(|before| *before != port)
            }
            _ => None,
        };
        match urc {
            Urc::Pushed(_, id, length) => {
                let mut known = id.filter(|id| self.sockets[id.index()].is_spoken_of());
                if let Some(id) = known
                    && self.earlier_pushes_are_held(before)
                {
                    self.break_off(id, Cut::Garbled);
                    known = None;
                }
                // Sockets in buffer mode are known by then: a `recv` with a length only announces there.
                if let Some(id) = known.filter(|_| length > 0)
                    && self.setup.found().texts == Texts::Came
                {
                    self.break_off(id, Cut::Forgeable);
                    known = None;
                }
                if known.is_none() && length > 0 {
                    log::debug!(
                        "payload of {} for a socket that is not open is dropped",
                        counted(length, "byte")
                    );
                }
                if let Some(id) = known
                    && let Err(cut) = self.sockets[id.index()].received(now)
                {
                    self.break_off(id, cut);
                    known = None;
                }
                let known = known.filter(|id| length > 0 && self.begins_to_come(*id, length));
                self.channels[port].payload_is_for(known);
            }
            Urc::InOneLine(_, id) => {
                self.channels[port].payload_is_for(None);
                self.setup.format_is_doubted(now);
                if self.sockets[id.index()].is_spoken_of() {
                    self.break_off(id, Cut::OtherForm);
                }
            }
            Urc::Receivable(_, id) => {
                self.sockets[id.index()].announced();
                self.channels.iter_mut().for_each(|channel| channel.receivable(id));
            }
            Urc::Closed(_, id) => {
                self.sockets[id.index()].closed(now);
                self.streams_may_be_over(Some(id), now);
            }
            Urc::Opened(set, id, result) if set != self.sockets[id.index()].set() => {
                self.events.push_back(ModemEvent::OpenedOutside(set, id, result));
            }
            Urc::Opened(set, id, result) => {
                if result != 0 {
                    // Its open may have been given up long ago.
                    self.context_perhaps_forgotten(id);
                }
                match self.sockets[id.index()].urc_opened(result) {
                    UrcOpened::Another => self.events.push_back(ModemEvent::OpenedOutside(set, id, result)),
                    UrcOpened::Late => {
                        log::warn!("socket {id} came up long after its open had been given up; closing it");
                    }
                    UrcOpened::Result => self.open_settled(id, result, now),
                    UrcOpened::Nothing => {}
                }
            }
            Urc::PdpDeactivated(context) => {
                if context == self.settings.pdp.context.number() && self.setup.has_address() {
                    match self.may_be_payload_of_others(port) {
                        true => self.setup.becomes_unconfirmed(),
                        false => self.session_lost(Cut::SessionLost, SetupStep::Sim, now),
                    }
                }
            }
            Urc::NetworkTime(result) => {
                self.set_up(Some(port), now, |setup, given| setup.network_time_told(given, result));
            }
            // A module that boots has left the mode, and says so outside of frames.
            Urc::Ready if self.ports[port].facts.sharing == Sharing::Shared => {}
            Urc::PoweredDown if self.may_be_payload_of_others(port) => self.setup.becomes_unconfirmed(),
            Urc::PoweredDown | Urc::Ready => {
                let resync = matches!(self.channels[port].state(), ChannelState::Resync(_));
                // Where it serves, the lost session is reported instead.
                if (urc == Urc::PoweredDown || !resync)
                    && (!self.setup.is_serving() || self.setup.is_ending())
                {
                    log::warn!("the modem reboots");
                }
                let is_up = urc == Urc::Ready;
                self.rebooted(if is_up { RebootSign::IsUp } else { RebootSign::GoesDown }, now);
            }
        }
    }

    /// Whether URCs leave by another channel of this line: what looks like one here may be the payload of a stream that has
    /// just been left.
    fn may_be_payload_of_others(&self, port: usize) -> bool {
        self.ports[port].facts.sharing == Sharing::Shared
            && self.routing.only_port().is_some_and(|only| only != port)
    }

    /// So many bytes follow for this socket. If they cannot be told from a datagram that has not come whole, its
    /// connection is broken.
    fn begins_to_come(&mut self, id: SocketId, length: usize) -> bool {
        let begins = self.sockets[id.index()].incoming.begins(length);
        if !begins {
            self.break_off(id, Cut::Garbled);
        }
        begins
    }

    /// Whether what a socket was pushed before may still be held on the other port that it came by until now,
    /// after what looks like the end of the stream that this port has become: it would be overtaken.
    fn earlier_pushes_are_held(&self, before: Option<usize>) -> bool {
        before.is_some_and(|before| self.channels[before].stream().is_some_and(Stream::is_suspicious))
    }

    /// What waits to be written to this stream.
    fn pending(&self, data: &Stream) -> &[u8] {
        data.socket().map_or(&[][..], |id| self.sockets[id.index()].sendable())
    }

    /// Whether a `+` at the end waits in the socket of this stream for the line to be quiet.
    fn holds_plus(&self, data: &Stream) -> bool {
        let pending = self.pending(data);
        !pending.is_empty() && data.is_flowing() && data.sendable(pending) == 0
    }

    /// When an idle, silent channel is asked whether it still answers.
    fn liveness_due(&self, channel: &Channel) -> Option<Instant> {
        let interval = self.settings.liveness_interval;
        (self.setup.is_up() && channel.is_idle() && !interval.is_zero())
            .then(|| channel.last_received() + interval)
    }

    /// The socket that has been free longest. One for which a command that was given up may still be carried out comes
    /// last.
    fn free_socket(&self) -> Option<SocketId> {
        let free = SocketId::all().filter(|id| self.sockets[id.index()].is_free());
        free.min_by_key(|id| self.sockets[id.index()].readiness())
    }

    /// Every waiting command from outside is refused.
    fn refuse_user_commands(&mut self) {
        while let Some((id, _)) = self.user_commands.pop_front() {
            let answer = UserAnswer { outcome: None, lines: Vec::new(), file: Vec::new() };
            self.events.push_back(ModemEvent::Answered(id, answer));
        }
    }

    /// The channels that take commands, a bit each.
    fn commanding_channels(&self) -> u32 {
        self.channels_that(Channel::takes_commands)
    }

    /// The sockets that are not in push mode and will not be, a bit each: nothing is pushed to them.
    fn announcing_sockets(&self) -> u16 {
        let never_pushes = |socket: &Socket| {
            let stays_in_buffer_mode = socket.only_announces() && self.setup.found().texts.are_shown();
            socket.is_in_use() && (socket.mode() != Some(Mode::Push) || stays_in_buffer_mode)
        };
        let all = self.sockets.iter().enumerate().filter(|(_, socket)| never_pushes(socket));
        all.fold(0, |bits, (index, _)| bits | 1 << index)
    }

    /// The numbers of our plain connections, a bit each.
    fn plain_sockets(&self) -> u16 {
        let is_plain = |socket: &Socket| socket.is_in_use() && socket.set() == CommandSet::Ip;
        let plain = self.sockets.iter().enumerate().filter(|(_, socket)| is_plain(socket));
        plain.fold(0, |bits, (index, _)| bits | 1 << index)
    }

    /// The channels on which URCs can still be on their way, a bit each.
    fn speaking_channels(&self) -> u32 {
        self.channels_that(Channel::speaks)
    }

    fn channels_that(&self, are: impl Fn(&Channel) -> bool) -> u32 {
        let matching = self.channels.iter().enumerate().filter(|(_, channel)| are(channel));
        matching.fold(0, |bits, (port, _)| bits | 1 << port)
    }

    fn has_commander(&self) -> bool {
        self.commanding_channels() != 0
    }

    /// The SSL context that this socket was opened on.
    fn context_of(&self, id: SocketId) -> Option<&SslContext> {
        let ssl = self.sockets[id.index()].ssl();
        self.setup.contexts().iter().find(|context| Some(context.id) == ssl)
    }
}

/// `count` bytes of payload have come for this socket, which shows that traffic gets through.
fn count_received(socket: &mut Socket, counters: &mut Counters, ladder: &mut Ladder, count: usize) {
    socket.count_received(count);
    counters.received_bytes += count as u64;
    ladder.traffic_came_through();
}

/// Commands from outside that may wait.
const USER_COMMANDS_MAX: usize = 16;

/// How much of the time for stopping is kept for the data session.
const DEACTIVATION_TIME: Duration = Duration::from_secs(2);
