//! The modem in the real world: one thread that waits on ports, network and clock, and moves bytes between
//! them and the core.
//!
//! [`Driver`] is the loop; [`spawn`] runs it on a thread of its own, for programs that embed a modem.

use std::fmt;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Context;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token, Waker};

use self::control::ControlSocket;
use self::port::{Environment, Link, Pace, Port};
use self::pty::Pty;
use self::server::{Protocol, Server};
use self::timer::Timer;
use self::transcript::Transcript;
use crate::cli::Options;
use crate::config::PortName;
use crate::control::Action;
use crate::modem::{Counters, Modem};
use crate::network::Network;
use crate::network::real::RealNetwork;

pub use self::control::ask;
pub use self::port::Losses;
pub use self::replay::{Player, Stop};

mod control;
mod port;
mod pty;
mod replay;
mod server;
mod telnet;
mod timer;
mod transcript;

/// A modem with its ports, ready to run.
pub struct Driver {
    poll: Poll,
    timer: Timer,
    modem: Modem,
    network: RealNetwork,
    ports: Vec<Port>,
    buffer: Vec<u8>,
    stop: Arc<AtomicBool>,
    report_wanted: Arc<AtomicBool>,
    signals: Option<UnixStream>,
    handle: Handle,
    tasks: Receiver<Task>,
    /// `--control`; kept, because the socket is removed with it.
    _control: Option<ControlSocket>,
    /// Until when the pseudoterminals are gone.
    unplugged_until: Option<Instant>,
}

/// Reaches a [`Driver`] from another thread.
#[derive(Clone)]
struct Handle {
    waker: Arc<Waker>,
    tasks: Sender<Task>,
}

/// Where a host finds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortLocation {
    /// A pseudoterminal, or the link to it.
    Path(PathBuf),
    /// RFC 2217.
    Rfc2217(SocketAddr),
    /// Bytes as they are.
    Tcp(SocketAddr),
}

/// What a modem has done, to be shown to the user.
#[derive(Clone, Debug)]
pub struct Report {
    /// The core's counters.
    pub counters: Counters,
    /// By port, what was lost between core and host.
    pub losses: Vec<Losses>,
}

/// A modem running on a thread of its own. Dropping it stops the thread and removes its ports.
pub struct Embedded {
    paths: Vec<PathBuf>,
    locations: Vec<PortLocation>,
    handle: Handle,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

type Task = Box<dyn FnOnce(&mut Driver, Instant) + Send>;

/// Starts a modem with at least `ports` pseudoterminals on a thread of its own.
///
/// # Errors
/// [`Driver::new`] fails, or the thread cannot be started.
pub fn spawn(options: Options, ports: usize) -> anyhow::Result<Embedded> {
    let mut driver = Driver::new(&options, ports)?;
    let locations = driver.locations();
    let mut embedded = Embedded {
        paths: driver.ports.iter().filter_map(|port| port.link().path().map(Path::to_owned)).collect(),
        locations,
        handle: driver.handle.clone(),
        stop: Arc::clone(&driver.stop),
        thread: None,
    };
    let run = move || {
        if let Err(error) = driver.run() {
            log::error!("the emulated modem stopped: {error:#}");
        }
    };
    let thread = std::thread::Builder::new().name("modem emulator".into()).spawn(run);
    embedded.thread = Some(thread.context("no thread for the emulated modem")?);
    Ok(embedded)
}

impl Embedded {
    /// The pseudoterminals, to be opened like any tty.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// All ports, in the order of their numbers.
    pub fn locations(&self) -> &[PortLocation] {
        &self.locations
    }

    /// Runs an action on the modem between two events and returns its result; `None` when the modem has
    /// stopped.
    pub fn with_modem<T: Send + 'static>(
        &self,
        action: impl FnOnce(&mut Modem, &mut dyn Network, Instant) -> T + Send + 'static,
    ) -> Option<T> {
        self.handle.with_driver(|driver, now| action(&mut driver.modem, &mut driver.network, now))
    }

    /// What was done so far; `None` when the modem has stopped.
    pub fn report(&self) -> Option<Report> {
        self.handle.with_driver(|driver, _| driver.report())
    }
}

impl Handle {
    /// Runs an action between two events and returns its result; `None` when the loop has ended.
    fn with_driver<T: Send + 'static>(
        &self,
        action: impl FnOnce(&mut Driver, Instant) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, answer) = channel();
        let task: Task = Box::new(move |driver, now| {
            // The receiver is gone if this fails.
            let _ = sender.send(action(driver, now));
        });
        self.tasks.send(task).ok()?;
        self.waker.wake().ok()?;
        answer.recv().ok()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // The loop sees the flag when it wakes; failing means that it has ended.
        let _ = self.handle.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Driver {
    /// Makes the ports: the links, then RFC 2217, then raw TCP, and further pseudoterminals up to
    /// `least_ptys`; one if nothing else is asked for.
    ///
    /// # Errors
    /// A port or a transcript cannot be created.
    pub fn new(options: &Options, least_ptys: usize) -> anyhow::Result<Driver> {
        let poll = Poll::new().context("no poll")?;
        let registry = poll.registry();
        let waker = Arc::new(Waker::new(registry, WAKER).context("no waker")?);
        let timer = Timer::new(registry, TIMER).context("no timer")?;

        let servers = options.rfc2217.len() + options.tcp.len();
        let ptys = options.link.len().max(least_ptys).max(usize::from(servers == 0));
        let config = options.config(ptys + servers, unix_seconds())?;
        let mut links = Vec::new();
        for number in 0..ptys {
            let link = options.link.get(number).map(PathBuf::as_path);
            links.push(Link::Pty(Pty::new(link, config.baud)?));
        }
        let addresses = options.rfc2217.iter().map(|address| (*address, Protocol::Rfc2217));
        for (address, protocol) in
            addresses.chain(options.tcp.iter().map(|address| (*address, Protocol::Raw)))
        {
            let server = Server::bind(address, protocol, registry, port_tokens(links.len()))?;
            links.push(Link::Server(Box::new(server)));
        }

        let start = clock();
        let mut ports = Vec::new();
        for (number, link) in links.into_iter().enumerate() {
            link.register(registry, port_tokens(number))?;
            let is_uart = matches!(config.ports[number], PortName::Uart1 | PortName::Uart2);
            let pace = match options.baud {
                baud if baud > 0 && is_uart => Pace::Serial { baud, check_speed: options.check_speed },
                _ => Pace::None,
            };
            let mut transcripts = Vec::from_iter(transcript(options, number)?);
            if options.verbose > 0 {
                let name = config.ports[number].name();
                transcripts.push(Transcript::shown(Box::new(io::stderr()), name, start));
            }
            ports.push(Port::new(number, link, pace, transcripts));
        }

        let network_registry = registry.try_clone().context("no registry")?;
        let network =
            RealNetwork::new(network_registry, Arc::clone(&waker), NETWORK_TOKENS, options.map.clone());
        let (task_sender, tasks) = channel();
        let handle = Handle { waker, tasks: task_sender };
        let control = match &options.control {
            Some(path) => Some(ControlSocket::serve(path, handle.clone())?),
            None => None,
        };
        Ok(Driver {
            poll,
            timer,
            modem: Modem::new(config, start),
            network,
            ports,
            buffer: vec![0; BUFFER_BYTES],
            stop: Arc::default(),
            report_wanted: Arc::default(),
            signals: None,
            handle,
            tasks,
            _control: control,
            unplugged_until: None,
        })
    }

    /// Where the ports are, in the order of their numbers.
    pub fn locations(&self) -> Vec<PortLocation> {
        self.ports.iter().map(|port| port.link().location()).collect()
    }

    /// Ends the loop on SIGINT, SIGTERM and, unless it was ignored before, SIGHUP; logs a report on SIGUSR1.
    ///
    /// # Errors
    /// The system refuses a signal handler.
    pub fn heed_signals(&mut self) -> anyhow::Result<()> {
        let mut flags = ending(&self.stop);
        flags.push((signal_hook::consts::SIGUSR1, &self.report_wanted));
        self.signals = Some(watch_signals(&flags, self.poll.registry(), SIGNALS)?);
        Ok(())
    }

    /// What was done so far.
    pub fn report(&self) -> Report {
        Report {
            counters: self.modem.counters(),
            losses: self.ports.iter().map(|port| port.losses).collect(),
        }
    }

    /// Does what a user asks for by `--control`, and returns what there is to say about it.
    fn control(&mut self, action: &Action, now: Instant) -> Result<String, String> {
        if !action.is_in_range() {
            return Err("a value is out of its range: qssl-modem-emulator ctl has it in its help".into());
        }
        match action {
            Action::Status => Ok(self.status(now)),
            Action::Unplug { time } => {
                // All of them, not only up to the first.
                let unplugged = self.ports.iter_mut().map(Port::unplug).filter(|is_gone| *is_gone).count();
                if unplugged == 0 {
                    return Err("there is no pseudoterminal to take away".into());
                }
                self.modem.reboot(now);
                self.modem.stall(now + *time);
                self.unplugged_until = Some(now + *time);
                Ok(String::new())
            }
            _ => action.apply(&mut self.modem, self.ports.len(), now),
        }
    }

    fn status(&self, now: Instant) -> String {
        let mut lines = vec![if self.modem.is_up() { "up".to_owned() } else { "not up".to_owned() }];
        for (number, location) in self.locations().iter().enumerate() {
            lines.push(format!("port {number} at {location}"));
        }
        let contexts = (1..=24).filter(|context| self.modem.pdp_active(*context));
        lines.push(format!("active PDP contexts: {}", listed(contexts)));
        lines.push(format!("TLS sockets in use: {}", listed(self.modem.sockets_in_use())));
        lines.push(format!("plain sockets in use: {}", listed(self.modem.plain_sockets_in_use())));
        lines.push(format!("clock: {} s since 1970", self.modem.clock(now)));
        lines.push(self.report().to_string());
        lines.join("\n")
    }

    /// Gives the pseudoterminals back, once the modem is plugged in again.
    fn plug_in(&mut self, now: Instant) {
        if self.unplugged_until.take_if(|until| *until <= now).is_none() {
            return;
        }
        for (number, port) in self.ports.iter_mut().enumerate() {
            if let Err(error) = port.plug_in(self.poll.registry(), port_tokens(number)) {
                log::error!("port {number} does not come back: {error:#}");
            }
        }
        self.modem.reboot(now);
    }

    /// Runs until it is stopped.
    ///
    /// # Errors
    /// Only when waiting itself fails.
    pub fn run(&mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(EVENTS_AT_ONCE);
        loop {
            // Deadlines count from the time at which the ports were handled: what has arrived since then is still
            // to be handled.
            let now = clock();
            let deadline = if self.settle(now) { self.next_deadline(now) } else { Some(now) };
            self.timer.set(deadline, clock()).context("the timer cannot be set")?;
            if let Err(error) = self.poll.poll(&mut events, None)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Err(error).context("waiting failed");
            }
            for event in &events {
                self.handle_event(event);
            }
            if self.stop.load(Ordering::Acquire) {
                return Ok(());
            }
            if self.report_wanted.swap(false, Ordering::AcqRel) {
                eprintln!("{}", self.report());
            }
        }
    }

    /// Handles ports and deadlines until none of them has anything to do, or it is time to look at events
    /// again; true when all is settled.
    ///
    /// All rounds use one time: with a running clock, a line would always have another byte.
    fn settle(&mut self, now: Instant) -> bool {
        self.plug_in(now);
        for _ in 0..ROUNDS_BETWEEN_EVENTS {
            let mut moved = false;
            if self.network.next_deadline().is_some_and(|deadline| deadline <= now) {
                self.network.deadline_passed(now);
                self.modem.network_changed(now, &mut self.network);
                moved = true;
            }
            if self.modem.next_deadline().is_some_and(|deadline| deadline <= now) {
                self.modem.deadline_passed(now, &mut self.network);
                moved = true;
            }
            let mut environment = Environment {
                modem: &mut self.modem,
                network: &mut self.network,
                buffer: &mut self.buffer,
                now,
            };
            for port in &mut self.ports {
                moved |= port.pump(&mut environment);
            }
            if !moved {
                return true;
            }
        }
        false
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let lines = self.ports.iter().filter_map(|port| port.next_deadline(&self.modem, now));
        lines
            .chain(self.modem.next_deadline())
            .chain(self.network.next_deadline())
            .chain(self.unplugged_until)
            .min()
    }

    fn handle_event(&mut self, event: &mio::event::Event) {
        let now = clock();
        match event.token() {
            TIMER => self.timer.rang(),
            WAKER => {
                self.network.woken(now);
                while let Ok(task) = self.tasks.try_recv() {
                    task(self, now);
                }
                self.modem.network_changed(now, &mut self.network);
            }
            SIGNALS => {
                if let Some(signals) = &mut self.signals {
                    // Only drained: the flags show which signals they were.
                    while signals.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
                }
            }
            Token(number) if number < NETWORK_TOKENS => {
                let (number, part) = ((number - PORT_TOKENS) / 2, (number - PORT_TOKENS) % 2);
                let Some(port) = self.ports.get_mut(number) else { return };
                let mut environment = Environment {
                    modem: &mut self.modem,
                    network: &mut self.network,
                    buffer: &mut self.buffer,
                    now,
                };
                if !port.link_changed(part, self.poll.registry(), &mut environment) {
                    let gone = event.is_error() || event.is_read_closed();
                    port.ready(event.is_readable() || gone, event.is_writable());
                }
            }
            _ => {
                if self.network.handle_event(event, now) {
                    self.modem.network_changed(now, &mut self.network);
                }
            }
        }
    }
}

impl fmt::Display for PortLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortLocation::Path(path) => write!(formatter, "{}", path.display()),
            PortLocation::Rfc2217(address) => write!(formatter, "rfc2217://{address}"),
            PortLocation::Tcp(address) => write!(formatter, "tcp://{address}"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = &self.counters;
        write!(
            formatter,
            "sockets asked for {}, opened {}; sends done {}, failed {}; boots {}; bytes dropped while busy {}, \
             lost without flow control {}; urcs lost {}",
            counters.opens,
            counters.opened,
            counters.send_oks,
            counters.send_fails,
            counters.boots,
            counters.bytes_dropped_while_busy,
            counters.bytes_lost_without_flow_control
                + self.losses.iter().map(|losses| losses.not_taken_bytes).sum::<u64>(),
            counters.urcs_lost,
        )?;
        let wrong_speed: u64 = self.losses.iter().map(|losses| losses.wrong_speed_bytes).sum();
        if wrong_speed > 0 {
            write!(formatter, "; bytes at a wrong speed {wrong_speed}")?;
        }
        if counters.datagrams_dropped > 0 {
            write!(formatter, "; datagrams dropped {}", counters.datagrams_dropped)?;
        }
        if counters.mux_frames_taken > 0 {
            write!(
                formatter,
                "; frames taken {}, sent {}, too long {}, flags without a frame {}",
                counters.mux_frames_taken,
                counters.mux_frames_sent,
                counters.mux_frames_too_long,
                counters.mux_flags_without_frame,
            )?;
        }
        Ok(())
    }
}

/// The signals that end the program, and what they set. Under nohup(1) it outlives its terminal.
fn ending(stop: &Arc<AtomicBool>) -> Vec<(i32, &Arc<AtomicBool>)> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut flags = vec![(SIGINT, stop), (SIGTERM, stop)];
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let (_, ignored) = status.split_once("SigIgn:").unwrap_or_default();
    let ignored = ignored.split_whitespace().next().and_then(|mask| u64::from_str_radix(mask, 16).ok());
    if ignored.is_none_or(|mask| mask >> (SIGHUP - 1) & 1 == 0) {
        flags.push((SIGHUP, stop));
    }
    flags
}

/// Lets signals set their flags, and wake the poll.
fn watch_signals(
    flags: &[(i32, &Arc<AtomicBool>)],
    registry: &Registry,
    token: Token,
) -> anyhow::Result<UnixStream> {
    let (receiver, sender) = UnixStream::pair()?;
    receiver.set_nonblocking(true)?;
    for (signal, flag) in flags {
        // First the flag, then the byte that makes the loop look at it.
        signal_hook::flag::register(*signal, Arc::clone(flag))?;
        signal_hook::low_level::pipe::register(*signal, sender.try_clone()?)?;
    }
    registry.register(&mut SourceFd(&receiver.as_raw_fd()), token, Interest::READABLE)?;
    Ok(receiver)
}

const WAKER: Token = Token(0);
const TIMER: Token = Token(1);
const SIGNALS: Token = Token(2);
/// Two tokens for each port follow: a pseudoterminal and its watch, or a listener and its client.
const PORT_TOKENS: usize = 16;
/// The connections' tokens follow.
const NETWORK_TOKENS: usize = 1024;
/// A fast host and a fast server can keep a modem busy for ever, and other events must get their turn.
const ROUNDS_BETWEEN_EVENTS: usize = 64;
const EVENTS_AT_ONCE: usize = 256;
const BUFFER_BYTES: usize = 16_384;

fn port_tokens(number: usize) -> [Token; 2] {
    [Token(PORT_TOKENS + 2 * number), Token(PORT_TOKENS + 2 * number + 1)]
}

/// Numbers in words.
fn listed(numbers: impl IntoIterator<Item = u8>) -> String {
    let words: Vec<String> = numbers.into_iter().map(|number| number.to_string()).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// A file for each port: the name given for the first one, with `.1`, `.2` and so on for the others.
fn transcript(options: &Options, number: usize) -> anyhow::Result<Option<Transcript>> {
    let Some(path) = &options.transcript else { return Ok(None) };
    let mut name = path.clone().into_os_string();
    if number > 0 {
        name.push(format!(".{number}"));
    }
    let file = std::fs::File::create(&name)
        .with_context(|| format!("cannot write the transcript {}", Path::new(&name).display()))?;
    Ok(Some(Transcript::new(Box::new(file))))
}

#[allow(clippy::disallowed_methods, reason = "this loop is the edge where time comes from")]
fn clock() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "this loop is the edge where time comes from")]
fn unix_seconds() -> i64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX))
}
