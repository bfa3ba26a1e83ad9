//! The event loop: it waits, reads the clock, and moves bytes between the system and the core.
//!
//! ```text
//!   wait for events or the deadline ──► set ready flags ──► Input to the core ──► drain ──┐
//!        ▲                                                                                │
//!        └─── nothing left to move, nothing left to do; or the turn's budget is spent ◄───┘
//! ```
//! mio is edge-triggered: an event only sets a flag, and the flag stays until the system reports that it
//! would block. `drain` moves bytes and does actions until neither has work; then, and only then, the loop
//! sleeps. A turn has a budget (`TURN_ROUNDS`, `TURN_BYTES`), so that a peer that sends without pause does not
//! delay the clock, signals or other peers. Each round does a bounded piece of work: one read and one write
//! for each port and client, one client for each listener, some actions, some requests. When the budget is
//! used up, the flags are still set: the loop looks at events and the clock without sleeping, and goes on.

// This code reads the clock; the core gets the time as an argument.
#![allow(clippy::disallowed_methods)]

mod clients;
mod commanded;
mod control;
mod daemon;
mod fleet;
mod greetings;
mod ports;
mod reload;
mod status;
mod unit;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::low_level::signal_name;

use crate::clients::peer::peer_is_gone;
use crate::clients::stream::ClientStream;
use crate::config::{Configuration, MODEMS_MAX, PORTS_MAX};
use crate::daemon::exit_status::ExitStatus;
use crate::daemon::logging;
use crate::ports::Port;
use crate::terminal::ending_signals;
use crate::terminal::upload_bar::UploadBar;
use clients::ListenerSlot;
use commanded::{OPENED_MAX, Outside};
use daemon::Daemon;
use greetings::Greeting;
use qssl_core::Kind;
use qssl_core::at::CommandSet;
use qssl_core::modem::{self, Failure};
use qssl_core::relay::{Action, CLIENTS_MAX, ClientId, WAITING_MAX};
use qssl_core::{ClientInput, Input, PortInput};
use qssl_proxy::RequestOutcome;
use unit::ModemUnit;

pub use commanded::Commanded;
pub use daemon::DaemonOptions;

/// Runs this configuration until its end.
///
/// # Errors
/// The loop cannot be set up: no epoll, an address that cannot be listened on, or a requested control socket that
/// cannot be made. Failures of the modem or of clients are handled, or end in an exit status.
pub fn run(configuration: Configuration, options: DaemonOptions) -> anyhow::Result<ExitStatus> {
    let mut signals = ending_signals();
    signals.push(SIGUSR1);
    if options.reload.is_some() && !signals.contains(&SIGHUP) {
        signals.push(SIGHUP);
    }
    let mut event_loop = EventLoop::new(configuration, &signals)?;
    event_loop.become_daemon(options)?;
    event_loop.say_ready();
    let status = event_loop.run();
    if let Ok(status) = status
        && let Some(failure) = event_loop.failure(status)
    {
        log::error!("{failure}");
    }
    event_loop.close_daemon();
    status
}

struct EventLoop {
    poll: Poll,
    configuration: Configuration,
    /// The modems: those of the start in the order of the configuration, then those that came with a reload.
    modems: Vec<ModemUnit>,
    listeners: Vec<ListenerSlot>,
    greetings: Vec<Option<Greeting>>,
    signals: Vec<SignalSlot>,
    /// Bytes from ports and clients are read into this buffer.
    buffer: Box<[u8]>,
    now: Instant,
    /// Bytes that were moved in this turn.
    moved_bytes: usize,
    /// The budget of the last turn was not enough: the loop must not sleep.
    is_unfinished: bool,
    stopped: Option<Kind>,
    /// Set where [`Commanded`] waits for the answers to its commands.
    outside: Option<Outside>,
    /// What a daemon has besides a modem and clients.
    daemon: Option<Daemon>,
}

/// A signal that is caught: it arrives as a byte.
struct SignalSlot {
    signal: i32,
    receiver: UnixStream,
    /// Bytes may have come.
    ready: bool,
}

impl EventLoop {
    fn new(configuration: Configuration, signals: &[i32]) -> anyhow::Result<Self> {
        let now = Instant::now();
        let poll = Poll::new().context("cannot wait for events")?;
        crate::clients::peer::prepare();
        let mut modems = Vec::new();
        for configured in &configuration.modems {
            modems.push(ModemUnit::new(&configuration, configured, now)?);
        }
        count_modems(&mut modems);
        let mut event_loop = EventLoop {
            modems,
            listeners: Vec::new(),
            greetings: Vec::new(),
            signals: Vec::new(),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            poll,
            configuration,
            now,
            moved_bytes: 0,
            is_unfinished: false,
            stopped: None,
            outside: None,
            daemon: None,
        };
        event_loop.catch_signals(signals)?;
        event_loop.listen()?;
        Ok(event_loop)
    }

    fn run(&mut self) -> anyhow::Result<Kind> {
        let mut events = Events::with_capacity(128);
        let mut bar = None;
        loop {
            self.drain();
            match self.modems.iter().find_map(|unit| unit.relay.modem().upload_progress()) {
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

    /// Sleeps until an event or a deadline, at the latest until `until`, and handles it.
    fn turn(&mut self, events: &mut Events, until: Option<Instant>) -> anyhow::Result<()> {
        let deadline = self.next_deadline();
        let wake_at = deadline.into_iter().chain(until).min();
        let timeout = match self.is_unfinished {
            true => Some(Duration::ZERO),
            false => wake_at.map(|wake_at| wake_at.saturating_duration_since(Instant::now())),
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result.context("cannot wait for events")?,
        }
        self.now = Instant::now();
        for event in &*events {
            self.mark(event);
        }
        self.take_signals();
        if deadline.is_some_and(|deadline| deadline <= self.now) {
            for unit in self.modems.iter_mut().filter(|unit| unit.status().is_none()) {
                let _scope = unit.scope();
                unit.relay.handle(Input::Deadline, self.now);
            }
            logging::sum_up(self.now);
            for slot in &mut self.listeners {
                slot.paused_until = slot.paused_until.filter(|until| *until > self.now);
            }
            self.end_greetings();
        }
        self.move_clients();
        self.look_after_daemon();
        Ok(())
    }

    /// What made the modem unusable, if that is why the loop stopped with this status.
    fn failure(&self, status: Kind) -> Option<Failure> {
        let mut failures = self.modems.iter().filter_map(ModemUnit::failure);
        failures.find(|failure| failure.kind == status).cloned()
    }

    /// A modem has ended. When all have, the process ends.
    fn modem_is_over(&mut self, modem: usize) {
        if self.modems.iter().any(|unit| unit.status().is_none()) {
            if self.modems[modem].is_gone() {
                log::info!("this modem is no longer used");
            }
            if let Some(failure) = self.modems[modem].failure() {
                log::error!("{failure}; this modem is given up, the others go on");
            }
            return self.leave_modem(modem);
        }
        // One that was given up says nothing of how the others have ended.
        let configured = || self.modems.iter().filter(|unit| unit.is_configured());
        let usable = || configured().filter(|unit| unit.failure().is_none()).filter_map(ModemUnit::status);
        let worst = usable().find(|status| *status != Kind::Done);
        let last = [&self.modems[modem]].into_iter().chain(configured()).find(|unit| unit.is_configured());
        self.stopped = worst.or_else(|| usable().next()).or(last.and_then(ModemUnit::status));
    }

    fn next_deadline(&self) -> Option<Instant> {
        let listeners = self.listeners.iter().filter_map(|slot| slot.paused_until);
        let others = self
            .daemon_deadline()
            .into_iter()
            .chain(logging::next_summary())
            .chain(self.greetings_deadline());
        let running = self.modems.iter().filter(|unit| unit.status().is_none());
        listeners
            .chain(running.filter_map(|unit| unit.relay.next_deadline()))
            .chain(others)
            .chain(self.moves_due())
            .min()
    }

    /// Notes what an event reports.
    fn mark(&mut self, event: &mio::event::Event) {
        match Source::of(event.token()) {
            Source::Port(modem, index) => {
                let slot = self.modems.get_mut(modem).and_then(|unit| unit.ports.get_mut(index));
                let Some(slot) = slot else { return };
                slot.hung_up |= event.is_read_closed() || event.is_error();
                slot.readable |= event.is_readable() || slot.hung_up;
                let connected = slot.connected;
                if event.is_writable() {
                    self.port_writable(modem, index);
                }
                if !connected {
                    let _scope = self.modems[modem].scope();
                    self.finish_connecting(modem, index);
                }
            }
            Source::Signal(index) => {
                if let Some(slot) = self.signals.get_mut(index) {
                    slot.ready = true;
                }
            }
            Source::Control(index) => {
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
            Source::Metrics(index) => {
                let Some(server) = self.daemon.as_mut().and_then(|daemon| daemon.metrics.as_mut()) else {
                    return;
                };
                let readable = event.is_readable() || event.is_read_closed() || event.is_error();
                server.mark(index, readable, event.is_writable());
            }
            Source::Listener(index) => {
                if let Some(slot) = self.listeners.get_mut(index) {
                    slot.ready = true;
                }
            }
            Source::Greeting(index) => {
                if let Some(Some(greeting)) = self.greetings.get_mut(index) {
                    greeting.readable = true;
                }
            }
            Source::Client(modem, index) => {
                let slot = self.modems.get_mut(modem).and_then(|unit| unit.clients.get_mut(index));
                let Some(Some(slot)) = slot else { return };
                slot.readable |= event.is_readable() || event.is_read_closed();
                slot.writable |= event.is_writable();
                if event.is_error() {
                    // The client may not be read at this time; its reset must be noticed all the same.
                    self.client_lost(modem, index);
                }
            }
        }
    }

    /// Moves bytes and does actions until neither has work, or the turn's budget is spent.
    fn drain(&mut self) {
        self.moved_bytes = 0;
        for _ in 0..TURN_ROUNDS {
            self.is_unfinished = self.round();
            if !self.is_unfinished || self.stopped.is_some() || self.moved_bytes >= TURN_BYTES {
                return;
            }
        }
    }

    /// Does a bounded piece of work for each port, listener and client. Returns whether there was any.
    fn round(&mut self) -> bool {
        let mut moved = self.do_actions();
        if self.stopped.is_some() {
            return moved;
        }
        for modem in 0..self.modems.len() {
            let _scope = self.modems[modem].scope();
            for index in 0..self.modems[modem].ports.len() {
                // A command that follows a message from the modem leaves before anything else is done.
                moved |= self.read_port(modem, index);
                moved |= self.write_port(modem, index);
            }
        }
        for index in 0..self.listeners.len() {
            moved |= self.accept(index);
        }
        for index in 0..self.greetings.len() {
            moved |= self.read_greeting(index);
        }
        for modem in 0..self.modems.len() {
            let _scope = self.modems[modem].scope();
            for index in 0..self.modems[modem].clients.len() {
                moved |= self.write_client(modem, index);
                moved |= self.read_client(modem, index);
            }
        }
        moved | self.serve_control() | self.serve_metrics()
    }

    /// Does what the core asks for. Returns whether there was anything.
    fn do_actions(&mut self) -> bool {
        (0..self.modems.len()).fold(false, |moved, modem| self.do_actions_of(modem) | moved)
    }

    fn do_actions_of(&mut self, modem: usize) -> bool {
        let _scope = self.modems[modem].scope();
        for count in 0..ROUND_ACTIONS {
            let unit = &mut self.modems[modem];
            if unit.status().is_some() {
                return count > 0;
            }
            let Some(action) = unit.relay.poll_action() else { return count > 0 };
            self.act(modem, action);
        }
        true
    }

    fn act(&mut self, modem: usize, action: Action) {
        let unit = &mut self.modems[modem];
        match action {
            Action::Modem(action) => self.act_on_modem(modem, action),
            Action::FinishClient(ClientId(index)) => {
                let Some(Some(slot)) = unit.clients.get_mut(index) else { return };
                // The client may be gone already; the next read shows that.
                let _ = slot.stream.shutdown_write();
                if matches!(slot.stream, ClientStream::Datagrams(_)) {
                    self.drop_client(modem, index);
                }
            }
            Action::CloseClient(ClientId(index)) => {
                if let Some(mut slot) = self.drop_client(modem, index) {
                    slot.stream.end_in_order();
                }
            }
            Action::ClientOpened(id) => self.request_decided(modem, id, RequestOutcome::Open),
            Action::ClientNotOpened(id, why) => self.request_decided(modem, id, greetings::outcome(&why)),
            Action::ResetClient { client: ClientId(index), rest } => {
                if let Some(mut slot) = self.drop_client(modem, index) {
                    if slot.end_request() {
                        return;
                    }
                    if !rest.is_empty() {
                        // The stream is broken; what came in order before that still goes to the client.
                        let _ = slot.stream.write(&rest);
                    }
                    slot.stream.abort();
                }
            }
            Action::LookForClient(id) => {
                let gone = match unit.clients.get(id.0) {
                    Some(Some(slot)) => peer_is_gone(&slot.stream),
                    _ => None,
                };
                if gone == Some(true) {
                    unit.relay.handle(Input::Client(id, ClientInput::Gone), self.now);
                }
            }
            Action::AskClient(id) => {
                let slot = unit.clients.get(id.0).and_then(Option::as_ref);
                let queued = slot.map_or(0, |slot| slot.stream.send_queue());
                unit.relay.handle(Input::Client(id, ClientInput::Queue(queued)), self.now);
            }
            Action::Ready => log::info!("ready"),
            Action::Answered(id, answer) => match &mut self.outside {
                Some(outside) => outside.answered = Some((id, answer)),
                None => self.control_answered(modem, id, answer),
            },
            Action::OpenedOutside(set, id, result) => {
                self.opened_outside(modem, set, id.index() as u8, result)
            }
            Action::Stop(status) => {
                unit.is_over(status);
                self.modem_is_over(modem);
            }
        }
    }

    fn opened_outside(&mut self, modem: usize, set: CommandSet, id: u8, result: u16) {
        self.control_opened(modem, id, result);
        if let Some(outside) = &mut self.outside
            && outside.opened.len() < OPENED_MAX
        {
            outside.opened.push((set, id, result));
        }
    }

    fn act_on_modem(&mut self, modem: usize, action: modem::Action) {
        let unit = &mut self.modems[modem];
        match action {
            modem::Action::OpenPort(index) => self.open_port(modem, index),
            modem::Action::ClosePort(index) => self.close_port(modem, index),
            modem::Action::SetBaud(index, baud) => {
                if let Some(port) = &mut unit.ports[index].port
                    && let Err(error) = port.set_baud(baud)
                {
                    log::debug!("{}: cannot set {baud} baud: {error}", port.name());
                }
            }
            modem::Action::SetDtr(index, high) => {
                if let Some(port) = &mut unit.ports[index].port
                    && let Err(error) = port.set_dtr(high)
                {
                    log::debug!("{}: cannot set DTR: {error}", port.name());
                }
            }
            modem::Action::RememberPin => self.remember_pin(modem),
            modem::Action::NetworkAnswered => self.network_answered(),
            modem::Action::SetFlowControl(index, on) => self.reopen_with_flow_control(modem, index, on),
            modem::Action::AskQueue(index) => {
                let queued = unit.ports[index].port.as_mut().map_or(0, Port::output_queued);
                unit.relay.handle(Input::Port(index, PortInput::Queue(queued)), self.now);
            }
            modem::Action::AskLines(index) => {
                if let Some(lines) = unit.ports[index].port.as_mut().and_then(|port| port.lines().ok()) {
                    unit.relay.handle(Input::Port(index, PortInput::Lines { dcd: lines.dcd }), self.now);
                }
            }
            modem::Action::NextDevice(index) => unit.ports[index].finder.next_candidate(),
            modem::Action::RunResetCommand => {
                if let Some(command) = &unit.configured.reset_command {
                    run_reset_command(command);
                }
            }
            modem::Action::TellTime => {
                unit.relay.handle(Input::HostClock(unix_seconds()), self.now);
            }
        }
    }

    // Signals.

    fn catch_signals(&mut self, signals: &[i32]) -> anyhow::Result<()> {
        for &signal in signals {
            let (mut receiver, sender) = UnixStream::pair().context("cannot catch signals")?;
            let token = Source::Signal(self.signals.len()).token();
            self.poll.registry().register(&mut receiver, token, Interest::READABLE)?;
            signal_hook::low_level::pipe::register(signal, std::os::unix::net::UnixStream::from(sender))
                .context("cannot catch signals")?;
            self.signals.push(SignalSlot { signal, receiver, ready: false });
        }
        Ok(())
    }

    /// Handles the signals that came. Only SIGTERM and SIGINT count twice: the first lets connections end, and the
    /// second ends them at once.
    fn take_signals(&mut self) {
        for index in 0..self.signals.len() {
            let SignalSlot { signal, receiver, ready } = &mut self.signals[index];
            if !*ready {
                continue;
            }
            let mut bytes = [0; 64];
            let count = receiver.read(&mut bytes).unwrap_or(0);
            *ready = count == bytes.len();
            self.is_unfinished |= *ready;
            let signal = *signal;
            let most = if matches!(signal, SIGTERM | SIGINT) { 2 } else { 1 };
            for _ in 0..count.min(most) {
                self.signal(signal);
            }
        }
    }

    fn signal(&mut self, signal: i32) {
        match signal {
            SIGUSR1 => return self.log_statistics(),
            // Where no configuration can be reloaded, SIGHUP means that the terminal is gone.
            SIGHUP if self.daemon.as_ref().is_some_and(|daemon| daemon.reload.is_some()) => {
                return self.reload();
            }
            _ => {}
        }
        match &mut self.outside {
            Some(outside) => outside.signal = Some(signal as u8),
            None => {
                let is_idle =
                    |unit: &ModemUnit| unit.relay.client_count() == 0 && unit.relay.state() != "draining";
                let mut running = self.modems.iter().filter(|unit| unit.status().is_none());
                if running.all(is_idle) {
                    log::info!("{}: stopping", signal_name(signal).unwrap_or("signal"));
                }
                // One that leaves drains already, and a second signal would cut its connections.
                let is_second = self.is_draining();
                let is_told =
                    |unit: &&mut ModemUnit| unit.status().is_none() && (is_second || unit.is_configured());
                for unit in self.modems.iter_mut().filter(is_told) {
                    let _scope = unit.scope();
                    unit.relay.handle(Input::Shutdown { signal: signal as u8 }, self.now);
                }
                self.drop_greetings();
            }
        }
        // A client that connects from now on is refused at once instead of waiting in the backlog.
        self.listeners.clear();
        self.say_stopping();
    }
}

/// There are so many modems: each knows which of them it is, and no number of a client is used again.
fn count_modems(modems: &mut [ModemUnit]) {
    let (count, first) = (modems.len(), modems.iter().map(|unit| unit.relay.next_number()).max());
    for (position, unit) in modems.iter_mut().enumerate() {
        unit.is_one_of(count, position, first.unwrap_or(1));
    }
}

/// Starts the user's reset command; its output goes where our own output goes.
fn run_reset_command(command: &str) {
    let started = std::process::Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(std::process::Stdio::null())
        .spawn();
    match started {
        Ok(mut child) => {
            // Reaped on its own thread: the command may take long, and the loop must not wait for it.
            std::thread::spawn(move || match child.wait() {
                Ok(status) if status.success() => log::info!("--reset-command has ended"),
                Ok(status) => log::warn!("--reset-command failed: {status}"),
                Err(error) => log::warn!("--reset-command: {error}"),
            });
        }
        Err(error) => log::error!("--reset-command cannot be started: {error} [{}]", Kind::Failed),
    }
}

/// A random number: hash maps get their keys from the system in this way.
fn by_chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The host's clock, in seconds since 1970.
fn unix_seconds() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX)
}

/// What an event comes from.
enum Source {
    /// Of this modem.
    Port(usize, usize),
    Signal(usize),
    /// 0 is the control socket itself, its connections follow.
    Control(usize),
    /// The listening sockets come first.
    Metrics(usize),
    Listener(usize),
    /// Of this modem.
    Client(usize, usize),
    Greeting(usize),
}

impl Source {
    fn token(&self) -> Token {
        Token(match self {
            Source::Port(modem, index) => modem * PORTS_MAX + index,
            Source::Signal(index) => FIRST_SIGNAL + index,
            Source::Control(index) => FIRST_CONTROL + index,
            Source::Metrics(index) => FIRST_METRICS + index,
            Source::Client(modem, index) => FIRST_CLIENT + modem * CLIENTS_MAX + index,
            Source::Greeting(index) => FIRST_GREETING + index,
            Source::Listener(index) => FIRST_LISTENER + index,
        })
    }

    fn of(Token(number): Token) -> Self {
        match number {
            FIRST_LISTENER.. => Source::Listener(number - FIRST_LISTENER),
            FIRST_GREETING.. => Source::Greeting(number - FIRST_GREETING),
            FIRST_CLIENT.. => {
                let number = number - FIRST_CLIENT;
                Source::Client(number / CLIENTS_MAX, number % CLIENTS_MAX)
            }
            FIRST_METRICS.. => Source::Metrics(number - FIRST_METRICS),
            FIRST_CONTROL.. => Source::Control(number - FIRST_CONTROL),
            FIRST_SIGNAL.. => Source::Signal(number - FIRST_SIGNAL),
            _ => Source::Port(number / PORTS_MAX, number % PORTS_MAX),
        }
    }
}

const FIRST_SIGNAL: usize = MODEMS_MAX * PORTS_MAX;
const FIRST_CONTROL: usize = FIRST_SIGNAL + 100;
const FIRST_METRICS: usize = FIRST_CONTROL + 100;
const FIRST_CLIENT: usize = FIRST_METRICS + 100;
const FIRST_GREETING: usize = FIRST_CLIENT + MODEMS_MAX * CLIENTS_MAX;
/// Clients that have not named their server yet are among those that wait.
const FIRST_LISTENER: usize = FIRST_GREETING + WAITING_MAX;

/// The most that one read of a port or a client takes, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// The budget of a turn, in rounds and in moved bytes: some milliseconds of work at most.
const TURN_ROUNDS: usize = 16;
const TURN_BYTES: usize = 64 * 1024;

/// How many of the core's actions are done in a round.
const ROUND_ACTIONS: usize = 256;

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;
    use crate::config::{self, Control, Process};

    /// A loop in the middle of a flood: its modem is a device server that sends `words` without pause. A byte that is
    /// written into the socket is SIGTERM.
    fn under_a_flood(scheme: &str, words: &'static [u8]) -> (EventLoop, UnixStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut hears = stream.try_clone().expect("a descriptor");
            std::thread::spawn(move || io::copy(&mut hears, &mut io::sink()));
            let words = words.repeat(FLOOD_BYTES / words.len());
            // When the test is over, nobody reads them.
            let _ = stream.write_all(&words);
        });
        let device = format!("{scheme}://{address}").parse().expect("a device");
        let configuration = Configuration {
            modems: vec![config::Modem::on(vec![device])],
            tunnels: Vec::new(),
            process: Process { control: Control::Off, ..Process::default() },
        };
        let mut event_loop = EventLoop::new(configuration, &[]).expect("nothing that could be missing");
        let (mut receiver, sender) = UnixStream::pair().expect("there are descriptors");
        let registry = event_loop.poll.registry();
        let token = Source::Signal(0).token();
        registry.register(&mut receiver, token, Interest::READABLE).expect("it is a socket");
        event_loop.signals.push(SignalSlot { signal: SIGTERM, receiver, ready: false });
        let mut events = Events::with_capacity(8);
        for _ in 0..100 {
            event_loop.drain();
            if event_loop.is_unfinished {
                return (event_loop, sender);
            }
            event_loop.turn(&mut events, None).expect("waiting works");
        }
        panic!("each turn ended although {scheme} was flooded with {}", words.escape_ascii());
    }

    /// Without a budget, one turn would take most of it.
    const FLOOD_BYTES: usize = 16 * 1024 * 1024;

    #[test]
    fn a_signal_is_obeyed_in_the_next_turn_whatever_floods_the_port() {
        let floods: [(&str, &[u8]); 5] = [
            ("tcp", b"\r\n+QIND: \"x\"\r\n"),
            ("tcp", b"OK\r\n"),
            ("rfc2217", b"\r\n+QIND: \"x\"\r\n"),
            ("rfc2217", b"OK\r\n"),
            ("rfc2217", &[255, 241]),
        ];
        for (scheme, words) in floods {
            let (mut event_loop, mut signal) = under_a_flood(scheme, words);
            let mut events = Events::with_capacity(8);
            signal.write_all(b"x").expect("it is read");
            event_loop.turn(&mut events, None).expect("waiting works");
            event_loop.drain();
            let words = words.escape_ascii();
            assert_eq!(event_loop.stopped, Some(Kind::Done), "{scheme}, {words}");
            assert!(event_loop.moved_bytes < TURN_BYTES + BUFFER_BYTES, "{scheme}, {words}");
        }
    }

    #[test]
    fn a_reset_command_is_run_by_the_shell() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (begun, done) = (directory.path().join("begun"), directory.path().join("done"));
        run_reset_command(&format!("echo > {} && mv {0} {}", begun.display(), done.display()));
        let until = Instant::now() + std::time::Duration::from_secs(60);
        while !done.exists() {
            assert!(Instant::now() < until, "it never ran");
            std::thread::yield_now();
        }
    }
}
