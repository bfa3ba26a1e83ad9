//! The only file that waits, reads the clock, or moves bytes between the system and the heart.
//!
//! ```text
//!   wait for events or the deadline ──► set ready flags ──► say what happened ──► drain ──┐
//!        ▲                                                                                │
//!        └────────────── nothing left to move, nothing left to do ◄───────────────────────┘
//! ```
//! mio is edge-triggered: an event only sets a flag, and the flag stays until the system says that it would
//! block. `drain` moves bytes and does actions until neither has work; then, and only then, the loop sleeps.

// The one place where time is not an argument.
#![allow(clippy::disallowed_methods)]

mod control;
mod daemon;
mod reload;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use crate::at::Command;
use crate::client_io::{ClientStream, Stdio};
use crate::config::{Configuration, Device, Listen, Wait};
use crate::dump::Way;
use crate::exit_status::ExitStatus;
use crate::listener::{AcceptError, Listener};
use crate::modem::{self, Failure, PortFacts, UserAnswer, UserCommand};
use crate::peer::{Peer, peer_is_gone};
use crate::port::discover::Host;
use crate::port::finder::Finder;
use crate::port::{OpenError, Port, PortKind, PortSettings};
use crate::relay::{Action, CLIENTS_MAX, ClientId, Relay};
use crate::upload_bar::UploadBar;
use daemon::Daemon;

pub use daemon::{Life, Reload, usual_control_path};

/// Runs this configuration until its end.
///
/// # Errors
/// What keeps the loop itself from working: no epoll, an address that cannot be listened on. Everything
/// that concerns the modem or clients ends in an exit status or is dealt with on the way.
pub fn run(configuration: Configuration) -> anyhow::Result<ExitStatus> {
    run_daemon(configuration, Life::default())
}

/// The same, for a process that can be steered from outside.
///
/// # Errors
/// As [`run`], and a control socket that was asked for and cannot be made.
pub fn run_daemon(configuration: Configuration, life: Life) -> anyhow::Result<ExitStatus> {
    let mut event_loop = EventLoop::new(configuration, &[SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    event_loop.become_daemon(life)?;
    event_loop.say_ready();
    let status = event_loop.run();
    event_loop.close_daemon();
    status
}

/// A modem that only answers commands: no tunnels, no data session, the port and its wire settings alone.
pub struct Commanded {
    event_loop: EventLoop,
    events: Events,
}

impl Commanded {
    /// Nothing is opened before the first command. `configuration` has no tunnels.
    ///
    /// # Errors
    /// What keeps the loop itself from working.
    pub fn new(configuration: Configuration) -> anyhow::Result<Self> {
        debug_assert!(configuration.tunnels.is_empty(), "tunnels would set up a data session");
        let mut event_loop = EventLoop::new(configuration, &[SIGTERM, SIGINT])?;
        event_loop.outside = Some(Outside::default());
        Ok(Commanded { event_loop, events: Events::with_capacity(16) })
    }

    /// Waits until the modem answers.
    ///
    /// # Errors
    /// The port cannot be opened, the modem is silent, or a signal came.
    pub fn wait_until_ready(&mut self) -> anyhow::Result<Result<(), Failure>> {
        self.wait(None, |event_loop| event_loop.relay.modem().takes_commands().then_some(()))
            .map(|ready| ready.map(|_| ()))
    }

    /// Says a command and waits for its answer, telling of the progress of an upload: bytes that have left, and
    /// bytes in all.
    ///
    /// # Errors
    /// As [`Commanded::wait_until_ready`]. That the modem does not answer this command is an answer without an
    /// outcome.
    pub fn ask(
        &mut self,
        command: Command,
        progress: &mut dyn FnMut(usize, usize),
    ) -> anyhow::Result<Result<UserAnswer, Failure>> {
        if let Err(failure) = self.wait_until_ready()? {
            return Ok(Err(failure));
        }
        let now = Instant::now();
        self.event_loop.now = now;
        let Some(id) = self.event_loop.relay.command(command, now) else {
            let message = "too many commands wait for the modem";
            return Ok(Err(Failure::new(ExitStatus::Failed, message)));
        };
        let answer = self.wait(None, |event_loop| {
            if let Some((done, all)) = event_loop.relay.modem().upload_progress() {
                progress(done, all);
            }
            let outside = event_loop.outside.as_mut()?;
            outside.answered.take_if(|(answered, _)| *answered == id).map(|(_, answer)| answer)
        })?;
        Ok(answer.map(|answer| answer.expect("without a time limit only an answer ends the wait")))
    }

    /// The result of an open that was asked for: of a TLS connection, or of a plain TCP connection. `None`: it
    /// did not come within `limit`.
    ///
    /// # Errors
    /// As [`Commanded::wait_until_ready`].
    pub fn await_open(
        &mut self,
        is_tls: bool,
        id: u8,
        limit: Duration,
    ) -> anyhow::Result<Result<Option<u16>, Failure>> {
        let until = Instant::now() + limit;
        self.wait(Some(until), |event_loop| {
            let opened = &mut event_loop.outside.as_mut()?.opened;
            let place = opened.iter().position(|open| (open.0, open.1) == (is_tls, id))?;
            Some(opened.remove(place).2)
        })
    }

    /// Turns the loop over for so long.
    ///
    /// # Errors
    /// As [`Commanded::wait_until_ready`].
    pub fn pause(&mut self, time: Duration) -> anyhow::Result<Result<(), Failure>> {
        let until = Instant::now() + time;
        self.wait(Some(until), |_| None::<()>).map(|waited| waited.map(|_| ()))
    }

    /// The ports that are open.
    pub fn port_names(&self) -> Vec<String> {
        let ports = self.event_loop.ports.iter().filter_map(|slot| slot.port.as_ref());
        ports.map(|port| port.name().to_owned()).collect()
    }

    /// Results that came so far are of earlier opens.
    pub fn forget_opens(&mut self) {
        if let Some(outside) = &mut self.event_loop.outside {
            outside.opened.clear();
        }
    }

    /// Turns the loop over until `find` finds something; `None` when `until` has come.
    fn wait<T>(
        &mut self,
        until: Option<Instant>,
        mut find: impl FnMut(&mut EventLoop) -> Option<T>,
    ) -> anyhow::Result<Result<Option<T>, Failure>> {
        loop {
            self.event_loop.drain();
            if let Some(found) = find(&mut self.event_loop) {
                return Ok(Ok(Some(found)));
            }
            if let Some(status) = self.event_loop.stopped {
                return Ok(Err(self.event_loop.why_stopped(status)));
            }
            // Taken, so that what must be put back can still be said after it.
            if let Some(signal) = self.event_loop.outside.as_mut().and_then(|it| it.signal.take()) {
                return Ok(Err(Failure::new(ExitStatus::Signal(signal), "stopped by a signal")));
            }
            if until.is_some_and(|until| until <= Instant::now()) {
                return Ok(Ok(None));
            }
            self.event_loop.turn(&mut self.events, until)?;
        }
    }
}

/// What commands from outside wait for.
#[derive(Default)]
struct Outside {
    answered: Option<(UserCommand, UserAnswer)>,
    /// Whether it is TLS, the number, and the result.
    opened: Vec<(bool, u8, u16)>,
    /// One that came, and nobody has heard of yet.
    signal: Option<u8>,
}

struct EventLoop {
    poll: Poll,
    relay: Relay,
    configuration: Configuration,
    ports: Vec<PortSlot>,
    listeners: Vec<ListenerSlot>,
    clients: Vec<Option<ClientSlot>>,
    signals: Vec<(i32, UnixStream)>,
    #[cfg(feature = "emulator")]
    emulator: Option<qssl_modem_emulator::driver::Embedded>,
    /// What is read goes through here once.
    buffer: Box<[u8]>,
    now: Instant,
    stopped: Option<ExitStatus>,
    /// Why the port was given up.
    port_failure: Option<String>,
    /// Somebody waits for the answers to commands from outside.
    outside: Option<Outside>,
    /// What there is besides a modem and clients.
    daemon: Option<Daemon>,
}

/// A port of the modem.
struct PortSlot {
    finder: Finder,
    port: Option<Port>,
    /// Bytes can be carried; a network port first has to connect.
    connected: bool,
    readable: bool,
    writable: bool,
    /// What the heart has been told of it.
    kind: PortKind,
    /// What was said last about why it cannot be opened: it is said once.
    said: Option<String>,
    attempts: u32,
    first_attempt: Instant,
}

/// A listening socket.
struct ListenerSlot {
    listener: Listener,
    /// What it was made from.
    listen: Listen,
    /// The place of its tunnel.
    tunnel: usize,
    /// Clients may be waiting in the kernel.
    ready: bool,
    /// Out of descriptors: not before this time.
    paused_until: Option<Instant>,
}

/// A client's connection.
struct ClientSlot {
    stream: ClientStream,
    readable: bool,
    writable: bool,
    /// Reading or writing never blocks, so no event will ever say so.
    always_readable: bool,
    always_writable: bool,
}

impl EventLoop {
    fn new(configuration: Configuration, signals: &[i32]) -> anyhow::Result<Self> {
        let now = Instant::now();
        let poll = Poll::new().context("cannot wait for events")?;
        let mut event_loop = EventLoop {
            relay: Relay::new(configuration.clone(), now),
            ports: Vec::new(),
            listeners: Vec::new(),
            clients: Vec::new(),
            signals: Vec::new(),
            #[cfg(feature = "emulator")]
            emulator: None,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            poll,
            configuration,
            now,
            stopped: None,
            port_failure: None,
            outside: None,
            daemon: None,
        };
        event_loop.relay.modem_mut().set_seed(by_chance());
        event_loop.catch_signals(signals)?;
        event_loop.start_emulator()?;
        event_loop.listen()?;
        for device in event_loop.configuration.modem.devices.clone() {
            event_loop.ports.push(PortSlot::new(device, now));
        }
        Ok(event_loop)
    }

    fn run(&mut self) -> anyhow::Result<ExitStatus> {
        let mut events = Events::with_capacity(128);
        let mut bar = None;
        loop {
            self.drain();
            match self.relay.modem().upload_progress() {
                Some((done, all)) => {
                    bar.get_or_insert_with(|| UploadBar::new("certificates")).show(done, all);
                }
                None => bar = None,
            }
            if let Some(status) = self.stopped {
                return Ok(status);
            }
            self.turn(&mut events, None)?;
        }
    }

    /// Sleeps until something happens or is due, at the latest until `until`, and notes it.
    fn turn(&mut self, events: &mut Events, until: Option<Instant>) -> anyhow::Result<()> {
        let deadline = self.next_deadline();
        let wake_at = deadline.into_iter().chain(until).min();
        let timeout = wake_at.map(|wake_at| wake_at.saturating_duration_since(Instant::now()));
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result.context("cannot wait for events")?,
        }
        self.now = Instant::now();
        for event in &*events {
            self.mark(event);
        }
        if deadline.is_some_and(|deadline| deadline <= self.now) {
            self.relay.deadline_passed(self.now);
            for slot in &mut self.listeners {
                slot.paused_until = slot.paused_until.filter(|until| *until > self.now);
            }
        }
        self.look_after_daemon();
        Ok(())
    }

    /// In words, for whoever waits for the modem.
    fn why_stopped(&self, status: ExitStatus) -> Failure {
        match (self.relay.failure(), &self.port_failure) {
            (Some(failure), _) => failure.clone(),
            (None, Some(message)) => Failure::new(status, message),
            (None, None) => Failure::new(status, "stopped"),
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let listeners = self.listeners.iter().filter_map(|slot| slot.paused_until);
        listeners.chain(self.relay.next_deadline()).chain(self.daemon_deadline()).min()
    }

    /// Notes what an event says.
    fn mark(&mut self, event: &mio::event::Event) {
        match Place::of(event.token()) {
            Place::Port(index) => {
                let Some(slot) = self.ports.get_mut(index) else { return };
                slot.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                slot.writable |= event.is_writable();
                if !slot.connected {
                    self.finish_connecting(index);
                }
            }
            Place::Signal(index) => self.signalled(index),
            Place::Control(index) => {
                let Some(server) = self.daemon.as_mut().and_then(|daemon| daemon.control.as_mut()) else {
                    return;
                };
                match index.checked_sub(1) {
                    None => server.mark_listener(),
                    Some(index) => {
                        let gone = event.is_error() || (event.is_read_closed() && event.is_write_closed());
                        server.mark(index, event.is_readable(), event.is_writable(), gone);
                    }
                }
            }
            Place::Listener(index) => {
                if let Some(slot) = self.listeners.get_mut(index) {
                    slot.ready = true;
                }
            }
            Place::Client(index) => {
                let Some(Some(slot)) = self.clients.get_mut(index) else { return };
                slot.readable |= event.is_readable() || event.is_read_closed();
                slot.writable |= event.is_writable();
                if event.is_error() {
                    // Nobody may be reading from it just now: a reset must be noticed all the same.
                    self.drop_client(index);
                    self.relay.client_lost(ClientId(index), self.now);
                }
            }
        }
    }

    /// Moves bytes and does actions until neither has work.
    fn drain(&mut self) {
        loop {
            let mut moved = false;
            while let Some(action) = self.relay.poll_action() {
                self.act(action);
                moved = true;
                if self.stopped.is_some() {
                    return;
                }
            }
            for index in 0..self.ports.len() {
                moved |= self.write_port(index);
                moved |= self.read_port(index);
            }
            for index in 0..self.listeners.len() {
                moved |= self.accept(index);
            }
            for index in 0..self.clients.len() {
                moved |= self.write_client(index);
                moved |= self.read_client(index);
            }
            moved |= self.serve_control();
            if !moved {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Modem(action) => self.act_on_modem(action),
            Action::FinishClient(ClientId(index)) => {
                if let Some(Some(slot)) = self.clients.get_mut(index) {
                    // It may be gone already, which the next read tells.
                    let _ = slot.stream.shutdown_write();
                }
            }
            Action::CloseClient(ClientId(index)) => {
                self.drop_client(index);
            }
            Action::ResetClient { client: ClientId(index), rest } => {
                if let Some(mut slot) = self.drop_client(index) {
                    if !rest.is_empty() {
                        // The stream is broken; what came in order before that is still the client's.
                        let _ = slot.stream.write(&rest);
                    }
                    slot.stream.abort();
                }
            }
            Action::LookForClient(id) => {
                let gone = match self.clients.get(id.0) {
                    Some(Some(slot)) => peer_is_gone(&slot.stream),
                    _ => None,
                };
                if gone == Some(true) {
                    self.relay.client_gone(id, self.now);
                }
            }
            Action::Ready => log::info!("ready"),
            Action::Answered(id, answer) => match &mut self.outside {
                Some(outside) => outside.answered = Some((id, answer)),
                None => self.control_answered(id, answer),
            },
            Action::TcpOpened(id, result) => self.opened_outside(false, id, result),
            Action::TlsOpened(id, result) => self.opened_outside(true, id, result),
            Action::Stop(status) => self.stopped = Some(status),
        }
    }

    fn opened_outside(&mut self, is_tls: bool, id: u8, result: u16) {
        self.control_opened(id, result);
        if let Some(outside) = &mut self.outside
            && outside.opened.len() < OPENED_MAX
        {
            outside.opened.push((is_tls, id, result));
        }
    }

    fn act_on_modem(&mut self, action: modem::Action) {
        match action {
            modem::Action::OpenPort(index) => self.open_port(index),
            modem::Action::ClosePort(index) => self.close_port(index),
            modem::Action::SetBaud(index, baud) => {
                if let Some(port) = &mut self.ports[index].port
                    && let Err(error) = port.set_baud(baud)
                {
                    log::debug!("{}: cannot set {baud} baud: {error}", port.name());
                }
            }
            modem::Action::SetDtr(index, high) => {
                if let Some(port) = &mut self.ports[index].port
                    && let Err(error) = port.set_dtr(high)
                {
                    log::debug!("{}: cannot set DTR: {error}", port.name());
                }
            }
            modem::Action::DropFlowControl(index) => self.reopen_without_flow_control(index),
            modem::Action::AskQueue(index) => {
                let queued = self.ports[index].port.as_ref().map_or(0, Port::output_queued);
                self.relay.port_queue(index, queued, self.now);
            }
            modem::Action::AskLines(index) => {
                if let Some(lines) = self.ports[index].port.as_mut().and_then(|port| port.lines().ok()) {
                    self.relay.port_lines(index, lines.dcd, self.now);
                }
            }
            modem::Action::NextDevice(index) => self.ports[index].finder.next_candidate(),
            modem::Action::RunResetCommand => {
                if let Some(command) = &self.configuration.modem.reset_command {
                    run_reset_command(command);
                }
            }
            modem::Action::TellTime => {
                self.relay.host_clock(unix_seconds(), self.now);
            }
        }
    }

    // Ports.

    fn open_port(&mut self, index: usize) {
        let settings = PortSettings {
            baud: self.configuration.modem.baud,
            flow_control: self.configuration.modem.flow_control,
        };
        let result = self.open_device(index, &settings);
        let slot = &mut self.ports[index];
        slot.attempts += 1;
        let registered = result.and_then(|mut port| {
            port.register(self.poll.registry(), Token(index))
                .map_err(|source| OpenError::Io { name: port.name().to_owned(), source })?;
            Ok(port)
        });
        match registered {
            Ok(port) => {
                slot.port = Some(port);
                slot.connected = false;
                // A tty that became ready before it was registered gets no edge of its own.
                slot.readable = true;
                slot.writable = true;
                self.finish_connecting(index);
            }
            Err(error) => self.open_failed(index, &error),
        }
    }

    #[cfg(feature = "emulator")]
    fn open_device(&mut self, index: usize, settings: &PortSettings) -> Result<Port, OpenError> {
        if let (Device::Emulator(_), Some(emulator)) = (self.ports[index].finder.device(), &self.emulator) {
            let is_emulated = |slot: &&PortSlot| matches!(slot.finder.device(), Device::Emulator(_));
            let place = self.ports[..index].iter().filter(is_emulated);
            if let Some(path) = emulator.paths().get(place.count()) {
                return Port::open_path(path, settings);
            }
        }
        self.ports[index].finder.open(settings)
    }

    #[cfg(not(feature = "emulator"))]
    fn open_device(&mut self, index: usize, settings: &PortSettings) -> Result<Port, OpenError> {
        self.ports[index].finder.open(settings)
    }

    #[cfg(feature = "emulator")]
    fn start_emulator(&mut self) -> anyhow::Result<()> {
        use qssl_modem_emulator::{cli::Options, driver};
        let devices = self.configuration.modem.devices.iter();
        let emulated: Vec<&str> = devices
            .filter_map(|device| match device {
                Device::Emulator(options) => Some(options.as_str()),
                _ => None,
            })
            .collect();
        let Some(text) = emulated.iter().find(|text| !text.is_empty()).or(emulated.first()) else {
            return Ok(());
        };
        let options = Options::parse_text(text).context("--device emulator")?;
        self.emulator = Some(driver::spawn(options, emulated.len())?);
        Ok(())
    }

    #[cfg(not(feature = "emulator"))]
    fn start_emulator(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// A tty is connected at once; the network takes a moment.
    fn finish_connecting(&mut self, index: usize) {
        let slot = &mut self.ports[index];
        let Some(port) = &mut slot.port else { return };
        match port.finish_connecting() {
            Ok(false) => {}
            Ok(true) => {
                slot.connected = true;
                slot.said = None;
                slot.attempts = 0;
                slot.kind = port.kind();
                let facts = facts(port);
                self.relay.port_opened(index, facts, self.now);
                self.count_port_open();
            }
            Err(error) => {
                let name = port.name().to_owned();
                self.close_port(index);
                self.open_failed(index, &OpenError::Unreachable { name, source: error });
            }
        }
    }

    /// The reason is said once; whether that is the end is the configuration's choice.
    fn open_failed(&mut self, index: usize, error: &OpenError) {
        let status = match error {
            OpenError::Locked { .. } | OpenError::Busy { .. } => ExitStatus::PortLocked,
            _ => ExitStatus::PortUnavailable,
        };
        let slot = &mut self.ports[index];
        if slot.attempts == 1 {
            slot.first_attempt = self.now;
        }
        let gives_up = match self.configuration.modem.wait {
            Wait::Forever => false,
            Wait::Not => true,
            Wait::Limited { time, retries } => {
                let waited = self.now.saturating_duration_since(slot.first_attempt);
                time.is_some_and(|time| waited >= time) || retries.is_some_and(|most| slot.attempts > most)
            }
        };
        let text = error.to_string();
        if gives_up {
            log::error!("{text} [{status}]");
            self.stopped = Some(status);
            self.port_failure = Some(text);
            return;
        }
        if slot.said.as_ref() != Some(&text) {
            log::warn!("{text}; waiting for it");
            slot.said = Some(text);
        }
        self.relay.port_failed(index, self.now);
    }

    fn close_port(&mut self, index: usize) {
        let slot = &mut self.ports[index];
        if let Some(mut port) = slot.port.take() {
            // Closing takes it out of epoll in any case.
            let _ = port.deregister(self.poll.registry());
        }
        slot.connected = false;
        slot.readable = false;
        slot.writable = false;
    }

    /// Opened anew, the port has the same facts but no RTS/CTS.
    fn reopen_without_flow_control(&mut self, index: usize) {
        self.close_port(index);
        let settings = PortSettings {
            baud: self.configuration.modem.baud,
            flow_control: Some(crate::config::FlowControl::None),
        };
        let opened = self.open_device(index, &settings).and_then(|mut port| {
            port.register(self.poll.registry(), Token(index))
                .map_err(|source| OpenError::Io { name: port.name().to_owned(), source })?;
            Ok(port)
        });
        let slot = &mut self.ports[index];
        match opened {
            Ok(port) => {
                slot.port = Some(port);
                slot.connected = true;
                slot.readable = true;
                slot.writable = true;
            }
            Err(error) => {
                log::debug!("{error}");
                self.relay.port_lost(index, self.now);
            }
        }
    }

    fn write_port(&mut self, index: usize) -> bool {
        let slot = &mut self.ports[index];
        let Some(port) = &mut slot.port else { return false };
        if !slot.connected || !slot.writable {
            return false;
        }
        if let Err(error) = port.flush() {
            return self.port_lost(index, &error);
        }
        let output = self.relay.port_output(index);
        if output.is_empty() {
            return false;
        }
        match port.write(output) {
            Ok(count) => {
                self.relay.port_written(index, count, self.now);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                slot.writable = false;
                false
            }
            Err(error) => self.port_lost(index, &error),
        }
    }

    fn read_port(&mut self, index: usize) -> bool {
        let wanted = self.relay.wants_port_bytes(index).min(self.buffer.len());
        let slot = &mut self.ports[index];
        let Some(port) = &mut slot.port else { return false };
        if !slot.connected || !slot.readable || wanted == 0 {
            return false;
        }
        let result = port.read(&mut self.buffer[..wanted]);
        if port.write_may_continue() {
            slot.writable = true;
        }
        let kind = port.kind();
        if kind != slot.kind {
            slot.kind = kind;
            self.relay.port_facts(index, facts(port), self.now);
        }
        let dcd = match self.relay.wants_port_lines(index) {
            true => port.lines().ok().map(|lines| lines.dcd),
            false => None,
        };
        if let Some(dcd) = dcd {
            self.relay.port_lines(index, dcd, self.now);
        }
        match result {
            Ok(count) => {
                self.relay.port_received(index, &self.buffer[..count], self.now);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                slot.readable = false;
                false
            }
            Err(error) => self.port_lost(index, &error),
        }
    }

    fn port_lost(&mut self, index: usize, error: &io::Error) -> bool {
        log::warn!("{error}");
        // Closed at once, so that a device that comes back gets its old name.
        self.close_port(index);
        self.relay.port_lost(index, self.now);
        true
    }

    // Clients.

    fn listen(&mut self) -> anyhow::Result<()> {
        for (tunnel, settings) in self.configuration.tunnels.clone().iter().enumerate() {
            let first = self.listeners.len();
            for listen in &settings.listen {
                if *listen == Listen::Stdio {
                    let stdio = Stdio::take().context("cannot use standard input and output")?;
                    self.add_client(tunnel, ClientStream::Stdio(stdio), Peer::Stdio);
                    continue;
                }
                let bound = Listener::bind(listen)?;
                for warning in bound.warnings {
                    log::warn!("{warning}");
                }
                for mut listener in bound.listeners {
                    let token = Place::Listener(self.listeners.len()).token();
                    listener.register(self.poll.registry(), token).context("cannot wait for clients")?;
                    let listen = listen.clone();
                    let slot = ListenerSlot { listener, listen, tunnel, ready: true, paused_until: None };
                    self.listeners.push(slot);
                }
            }
            let own: Vec<&str> = self.listeners[first..].iter().map(|slot| slot.listener.name()).collect();
            if !own.is_empty() {
                log::info!("listening on {} for {}", own.join(", "), settings.target);
            }
        }
        Ok(())
    }

    fn accept(&mut self, index: usize) -> bool {
        let slot = &mut self.listeners[index];
        if !slot.ready || slot.paused_until.is_some() || !self.relay.wants_clients(slot.tunnel) {
            return false;
        }
        let tunnel = slot.tunnel;
        match slot.listener.accept() {
            Ok(None) => {
                slot.ready = false;
                false
            }
            Ok(Some((stream, peer))) => {
                if self.is_spent() {
                    log::warn!("{peer} is reset: the month's budget is spent (--monthly-budget)");
                    self.relay.client_refused(tunnel);
                    stream.abort();
                    return true;
                }
                let allow = &self.relay.tunnel(tunnel).allow;
                let allowed = allow.is_empty()
                    || peer.ip().is_none_or(|ip| allow.iter().any(|network| network.contains(ip)));
                if allowed {
                    self.add_client(tunnel, stream, peer);
                } else {
                    log::warn!("{peer} may not connect (--allow); reset");
                    self.relay.client_refused(tunnel);
                    stream.abort();
                }
                true
            }
            Err(AcceptError::Exhausted { name, source }) => {
                log::warn!("{name}: cannot accept clients for now: {source}");
                slot.paused_until = Some(self.now + ACCEPT_PAUSE);
                false
            }
            Err(error) => {
                log::error!("{error} [{}]", ExitStatus::Failed);
                slot.paused_until = Some(self.now + ACCEPT_PAUSE);
                false
            }
        }
    }

    fn add_client(&mut self, tunnel: usize, mut stream: ClientStream, peer: Peer) {
        let id = self.relay.client_accepted(tunnel, peer.to_string(), self.now);
        let token = Place::Client(id.0).token();
        let always = match stream.register(self.poll.registry(), token) {
            Ok(always) => always,
            Err(error) => {
                log::warn!("{peer}: cannot wait for it: {error}");
                self.relay.client_lost(id, self.now);
                return;
            }
        };
        if self.clients.len() <= id.0 {
            self.clients.resize_with(id.0 + 1, || None);
        }
        self.clients[id.0] = Some(ClientSlot {
            stream,
            // What was ready before it was registered gets an event as well: epoll tells the present state.
            readable: always.read,
            writable: always.write,
            always_readable: always.read,
            always_writable: always.write,
        });
    }

    fn drop_client(&mut self, index: usize) -> Option<ClientSlot> {
        let mut slot = self.clients.get_mut(index)?.take()?;
        // Closing takes it out of epoll in any case.
        let _ = slot.stream.deregister(self.poll.registry());
        Some(slot)
    }

    fn write_client(&mut self, index: usize) -> bool {
        let Some(slot) = &mut self.clients[index] else { return false };
        if !slot.writable {
            return false;
        }
        let output = self.relay.client_output(ClientId(index));
        if output.is_empty() {
            return false;
        }
        match slot.stream.write(output) {
            Ok(count) => {
                if let Some(daemon) = self.daemon.as_mut().filter(|daemon| daemon.dump.is_wanted()) {
                    let peer = self.relay.client(ClientId(index)).map_or("", |(peer, _)| peer);
                    daemon.dump.passed(Way::Down, peer, &output[..count]);
                }
                self.relay.client_written(ClientId(index), count, self.now);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                slot.writable = slot.always_writable;
                false
            }
            Err(_) => self.client_lost(index),
        }
    }

    fn read_client(&mut self, index: usize) -> bool {
        let Some(slot) = &mut self.clients[index] else { return false };
        if !slot.readable {
            return false;
        }
        let wanted = self.relay.wants_client_bytes(ClientId(index)).min(self.buffer.len());
        if wanted == 0 {
            return false;
        }
        match slot.stream.read(&mut self.buffer[..wanted]) {
            Ok(0) => {
                slot.readable = false;
                slot.always_readable = false;
                self.relay.client_finished(ClientId(index), self.now);
                true
            }
            Ok(count) => {
                if let Some(daemon) = self.daemon.as_mut().filter(|daemon| daemon.dump.is_wanted()) {
                    let peer = self.relay.client(ClientId(index)).map_or("", |(peer, _)| peer);
                    daemon.dump.passed(Way::Up, peer, &self.buffer[..count]);
                }
                self.relay.client_received(ClientId(index), &self.buffer[..count], self.now);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                slot.readable = slot.always_readable;
                false
            }
            Err(_) => self.client_lost(index),
        }
    }

    fn client_lost(&mut self, index: usize) -> bool {
        self.drop_client(index);
        self.relay.client_lost(ClientId(index), self.now);
        true
    }

    // Signals.

    fn catch_signals(&mut self, signals: &[i32]) -> anyhow::Result<()> {
        for &signal in signals {
            let (mut receiver, sender) = UnixStream::pair().context("cannot catch signals")?;
            let token = Place::Signal(self.signals.len()).token();
            self.poll.registry().register(&mut receiver, token, Interest::READABLE)?;
            signal_hook::low_level::pipe::register(signal, std::os::unix::net::UnixStream::from(sender))
                .context("cannot catch signals")?;
            self.signals.push((signal, receiver));
        }
        Ok(())
    }

    fn signalled(&mut self, index: usize) {
        let Some((signal, receiver)) = self.signals.get_mut(index) else { return };
        let signal = *signal;
        let mut bytes = [0; 16];
        // One byte a signal; two that come together are two.
        let mut count = 0;
        while let Ok(more @ 1..) = receiver.read(&mut bytes) {
            count += more;
        }
        for _ in 0..count {
            self.signal(signal);
        }
    }

    fn signal(&mut self, signal: i32) {
        match signal {
            SIGUSR1 => return self.log_statistics(),
            // Where standard input is the client, there is a terminal, and it is gone.
            SIGHUP if !self.serves_stdio() => return self.reload(),
            _ => {}
        }
        match &mut self.outside {
            Some(outside) => outside.signal = Some(signal as u8),
            None => self.relay.shutdown(signal as u8, self.now),
        }
        // Whoever connects from now on is refused at once instead of hanging in the backlog.
        self.listeners.clear();
        self.say_stopping();
    }

    fn serves_stdio(&self) -> bool {
        self.configuration.tunnels.iter().any(|tunnel| tunnel.listen.contains(&Listen::Stdio))
    }

    fn is_spent(&self) -> bool {
        self.daemon.as_ref().is_some_and(|daemon| daemon.volume.is_spent(unix_seconds()))
    }
}

impl PortSlot {
    fn new(device: Device, now: Instant) -> Self {
        PortSlot {
            finder: Finder::new(device, Host::this()),
            port: None,
            connected: false,
            readable: false,
            writable: false,
            kind: PortKind::default(),
            said: None,
            attempts: 0,
            first_attempt: now,
        }
    }
}

/// Starts the user's reset command; what it says goes where our own words go.
fn run_reset_command(command: &str) {
    let started = std::process::Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(std::process::Stdio::null())
        .spawn();
    match started {
        Ok(mut child) => {
            // Reaped on a thread of its own: it may take its time, and nothing here waits for it.
            std::thread::spawn(move || match child.wait() {
                Ok(status) if status.success() => log::info!("--reset-command has ended"),
                Ok(status) => log::warn!("--reset-command failed: {status}"),
                Err(error) => log::warn!("--reset-command: {error}"),
            });
        }
        Err(error) => log::error!("--reset-command cannot be started: {error} [{}]", ExitStatus::Failed),
    }
}

/// What the heart is told of a port.
fn facts(port: &Port) -> PortFacts {
    let kind = port.kind();
    PortFacts {
        name: port.name().to_owned(),
        is_uart: kind.is_uart,
        has_dcd: kind.has_dcd,
        dcd_is_live: matches!(port, Port::Serial(_)),
        has_dtr: kind.has_dtr,
        at_port: match kind.usb_interface {
            Some(2) => Some("usbat"),
            Some(3) => Some("usbmodem"),
            Some(_) => None,
            None => kind.is_uart.then_some("uart1"),
        },
    }
}

/// A number that no other device has: hash maps get theirs from the system in this way.
fn by_chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The host's clock, in seconds since 1970.
fn unix_seconds() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX)
}

/// What a token stands for.
enum Place {
    Port(usize),
    Signal(usize),
    /// 0 is the control socket itself, its connections follow.
    Control(usize),
    Listener(usize),
    Client(usize),
}

impl Place {
    fn token(&self) -> Token {
        Token(match self {
            Place::Port(index) => *index,
            Place::Signal(index) => FIRST_SIGNAL + index,
            Place::Control(index) => FIRST_CONTROL + index,
            Place::Client(index) => FIRST_CLIENT + index,
            Place::Listener(index) => FIRST_LISTENER + index,
        })
    }

    fn of(Token(number): Token) -> Self {
        match number {
            FIRST_LISTENER.. => Place::Listener(number - FIRST_LISTENER),
            FIRST_CLIENT.. => Place::Client(number - FIRST_CLIENT),
            FIRST_CONTROL.. => Place::Control(number - FIRST_CONTROL),
            FIRST_SIGNAL.. => Place::Signal(number - FIRST_SIGNAL),
            _ => Place::Port(number),
        }
    }
}

const FIRST_SIGNAL: usize = 1_000;
const FIRST_CONTROL: usize = 1_500;
const FIRST_CLIENT: usize = 2_000;
const FIRST_LISTENER: usize = FIRST_CLIENT + CLIENTS_MAX;

/// One read of a port or a client, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// Results of opens from outside that nobody has asked for yet; the most that one modem can have under way.
const OPENED_MAX: usize = 24;

/// The pause after running out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
