//! What a process has besides a modem and clients: the service manager, the control socket, data usage, recordings.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{EventLoop, ModemUnit, Source, unix_seconds};
use crate::config::{self, Checked, ConfigError, Device, Process};
use crate::daemon::capture::Capture;
use crate::daemon::control::server::Server;
use crate::daemon::data_usage::{self, DataUsage};
use crate::daemon::logging;
use crate::daemon::metrics;
use crate::daemon::notify::Notifier;
use crate::daemon::sandbox::{self, Sandbox};
use crate::daemon::sim_pin;
use crate::daemon::status;
use crate::terminal::in_full;
use qssl_core::Input;
use qssl_core::modem::UserCommand;

/// What the command that starts a daemon passes to it.
#[derive(Default)]
pub struct DaemonOptions {
    /// Reads the configuration again; `None` where there is no file to read.
    pub reload: Option<Reload>,
    /// Where the control socket is made if the configuration does not set it; `None`: nowhere.
    pub default_control_path: Option<PathBuf>,
    /// Where state is kept if the configuration does not set it; `None`: nowhere.
    pub default_state_directory: Option<PathBuf>,
    /// A directory in memory that outlives a killed process; `None`: that of the control socket.
    pub runtime_directory: Option<PathBuf>,
    /// Whether the process enters a sandbox if nothing speaks against it.
    pub sandbox: bool,
    /// The files that `reload` reads.
    pub files: Vec<PathBuf>,
}

/// Reads the configuration again.
pub type Reload = Box<dyn Fn() -> Result<Checked, ConfigError>>;

pub(super) struct Daemon {
    pub started: Instant,
    pub notifier: Notifier,
    /// When the next watchdog message to the service manager is due, if it expects any.
    watchdog_at: Option<Instant>,
    pub control: Option<Server>,
    /// In a box, because it is taken out while it serves.
    pub metrics: Option<Box<metrics::Server>>,
    /// Commands of control connections that are not answered yet, each with the modem that it is for.
    pub commands: Vec<(usize, UserCommand)>,
    pub data_usage: DataUsage,
    pub capture: Capture,
    pub reload: Option<Reload>,
    /// When a reload that the core could not take is tried again.
    pub reload_at: Option<Instant>,
    state_directory: Option<PathBuf>,
    /// The sandbox that it is in.
    pub sandbox: Option<Sandbox>,
}

impl Daemon {
    /// A PIN that the SIM has refused before is not tried again.
    pub fn look_at_pin(&self, unit: &mut ModemUnit, now: Instant) {
        let modem = &unit.configured;
        // A tunnel without such a directory must not try what the service was refused.
        let mut directories = self.state_directory.iter().cloned().chain(sim_pin::usual_directories());
        if modem
            .settings
            .sim_pin
            .as_ref()
            .is_some_and(|pin| directories.any(|it| sim_pin::is_refused(&it, &modem.name, pin.0.as_str())))
        {
            unit.relay.handle(Input::ForbidPin, now);
        }
    }
}

impl EventLoop {
    /// Makes this loop a daemon: it gets the service manager, the control socket, data usage and recordings.
    ///
    /// # Errors
    /// A requested control socket or that of the metrics cannot be made, or a recording cannot be written.
    pub(super) fn become_daemon(&mut self, options: DaemonOptions) -> anyhow::Result<()> {
        let process = &self.configuration.process;
        let state_directory = process.state_directory.clone().or(options.default_state_directory);
        let notifier = Notifier::from_env();
        let control = self.make_control_socket(process, options.default_control_path.as_deref())?;
        let metrics = process.metrics.as_ref().map(|listen| self.make_metrics(listen)).transpose()?;
        let mut data_usage = DataUsage::open(state_directory.as_deref(), process.monthly_budget);
        let interim = interim_path(options.runtime_directory, control.as_ref());
        let interim_directory = interim.as_deref().map(sandbox::directory);
        if let Some(path) = interim {
            data_usage.keep_interim(path, self.now);
        }
        let daemon = Daemon {
            started: self.now,
            watchdog_at: notifier.watchdog_interval().map(|_| self.now),
            notifier,
            control,
            metrics,
            commands: Vec::new(),
            data_usage,
            capture: Capture::new(process)?,
            reload: options.reload,
            reload_at: None,
            state_directory,
            sandbox: None,
        };
        for unit in &mut self.modems {
            daemon.look_at_pin(unit, self.now);
        }
        self.daemon = Some(daemon);
        if options.sandbox {
            self.enter_sandbox(&options.files, interim_directory);
        }
        Ok(())
    }

    /// Gives up whatever is not needed from now on. Where that cannot be done, the process goes on without it.
    fn enter_sandbox(&mut self, files: &[PathBuf], interim_directory: Option<PathBuf>) {
        let configuration = &self.configuration;
        let mut devices = configuration.modems.iter().flat_map(|modem| &modem.devices);
        let has_emulator = devices.any(|device| matches!(device, Device::Emulator(_)));
        let Some(daemon) = &mut self.daemon else { return };
        // The embedded modem reads files and connects to servers.
        if configuration.process.no_sandbox || has_emulator {
            return;
        }
        if configuration.modems.iter().any(|modem| modem.reset_command.is_some()) {
            return log::info!("no sandbox: --reset-command starts other programs");
        }
        let mut sandbox = Sandbox::new(configuration, files);
        // Without a state directory, the flight recorder is written there.
        sandbox.write.push(daemon.state_directory.clone().unwrap_or_else(std::env::temp_dir));
        sandbox.write.extend(interim_directory);
        sandbox.sockets.extend(daemon.control.as_ref().map(|control| sandbox::directory(control.path())));
        sandbox.listens_anew = daemon.reload.is_some();
        match sandbox.enter() {
            Ok(true) => {
                log::debug!("in a sandbox");
                daemon.sandbox = Some(sandbox);
            }
            Ok(false) => log::debug!("no sandbox: the kernel has no Landlock"),
            Err(error) => log::debug!("no sandbox: {error}"),
        }
    }

    /// Keeps that the SIM has refused the PIN: neither this process nor the next may try it again.
    pub(super) fn remember_pin(&self, modem: usize) {
        let directory = self.daemon.as_ref().and_then(|daemon| daemon.state_directory.as_deref());
        let modem = &self.modems[modem].configured;
        let Some((pin, directory)) = modem.settings.sim_pin.as_ref().zip(directory) else { return };
        if let Err(error) = sim_pin::remember(directory, &modem.name, pin.0.as_str()) {
            log::warn!("{}: cannot keep that the PIN was refused: {error}", directory.display());
        }
    }

    fn make_control_socket(
        &self,
        process: &Process,
        default_path: Option<&Path>,
    ) -> anyhow::Result<Option<Server>> {
        let Some(listen) = process.control.listen(default_path) else { return Ok(None) };
        let is_default = process.control == crate::config::Control::Default;
        if is_default && let Some(directory) = default_path.and_then(Path::parent) {
            // If this fails, `bind` fails as well, and its error is logged.
            let _ = std::fs::create_dir_all(directory);
        }
        let bound = Server::bind(&listen).map_err(anyhow::Error::from).and_then(|mut server| {
            server.register(self.poll.registry(), Source::Control(0).token())?;
            Ok(server)
        });
        match bound {
            Ok(server) => {
                log::info!("control socket at {}", server.path().display());
                Ok(Some(server))
            }
            Err(error) if is_default => {
                log::warn!("no control socket, so status and at cannot ask this daemon: {}", in_full(&error));
                Ok(None)
            }
            Err(error) => Err(error.context("control socket")),
        }
    }

    fn make_metrics(&self, listen: &config::Listen) -> anyhow::Result<Box<metrics::Server>> {
        let mut server = metrics::Server::bind(listen).context("metrics")?;
        server.register(self.poll.registry(), |index| Source::Metrics(index).token())?;
        Ok(Box::new(server))
    }

    /// Serves the metrics. Returns whether there was something to do.
    pub(super) fn serve_metrics(&mut self) -> bool {
        let Some(mut server) = self.daemon.as_mut().and_then(|daemon| daemon.metrics.take()) else {
            return false;
        };
        let registry = self.poll.registry();
        let mut moved = server.accept(registry, |index| Source::Metrics(index).token(), self.now);
        moved |= server.turn(|format| status::metrics(&self.status(), format));
        if let Some(daemon) = &mut self.daemon {
            daemon.metrics = Some(server);
        }
        moved
    }

    /// Notifies the service manager that the daemon listens, or that a reload has ended.
    pub(super) fn say_ready(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.notifier.ready();
        }
    }

    /// Does what is due besides clients and modem, after every turn.
    pub(super) fn look_after_daemon(&mut self) {
        self.control_due();
        let now = self.now;
        for unit in &mut self.modems {
            let counters = unit.relay.modem().counters();
            unit.gauge.note(counters.wire_bytes_out, counters.wire_bytes_in, now);
        }
        let Some(daemon) = &mut self.daemon else { return };
        if let Some(metrics) = &mut daemon.metrics {
            metrics.end_overdue(now);
        }
        let mut running = self.modems.iter().filter(|unit| unit.status().is_none());
        if daemon.watchdog_at.is_some_and(|at| at <= now) {
            daemon.watchdog_at = daemon.notifier.watchdog_interval().map(|interval| now + interval);
            if running.all(|unit| keeps_deadlines(unit.relay.next_deadline(), now)) {
                daemon.notifier.watchdog();
            }
        }
        if daemon.notifier.has_manager() {
            daemon.notifier.status(&in_one_line(&self.modems));
        }
        for modem in 0..self.modems.len() {
            self.look_after_modem(modem);
        }
        if let Some(daemon) = &mut self.daemon {
            daemon.data_usage.write_due(now);
        }
        if self.daemon.as_ref().and_then(|daemon| daemon.reload_at).is_some_and(|at| at <= now) {
            self.reload();
        }
    }

    /// The same for one modem.
    fn look_after_modem(&mut self, modem: usize) {
        let (now, unit) = (self.now, &mut self.modems[modem]);
        let Some(daemon) = &mut self.daemon else { return };
        let counters = unit.relay.modem().counters();
        let recoveries = counters.resyncs + counters.reboots;
        daemon.data_usage.add(unit.relay.take_moved(), unix_seconds(), now);
        if unit.relay.opens_ahead() {
            unit.relay.handle(Input::OpenAhead(!daemon.data_usage.is_spent(unix_seconds())), now);
        }
        if recoveries > std::mem::replace(&mut unit.recoveries, recoveries)
            && unit.recorded_at.is_none_or(|at| now.saturating_duration_since(at) >= RECORD_INTERVAL)
        {
            unit.recorded_at = Some(now);
            self.write_transcripts(modem, "after a failure of the modem", log::Level::Warn);
        }
    }

    /// When [`EventLoop::look_after_daemon`] has something to do.
    pub(super) fn daemon_deadline(&self) -> Option<Instant> {
        let daemon = self.daemon.as_ref()?;
        let control = daemon.control.as_ref().and_then(Server::next_deadline);
        let metrics = daemon.metrics.as_ref().and_then(|metrics| metrics.next_deadline());
        [daemon.watchdog_at, control, metrics, daemon.data_usage.next_deadline(), daemon.reload_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Writes what must be kept, at the end.
    pub(super) fn close_daemon(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.notifier.stopping();
            for unit in &mut self.modems {
                daemon.data_usage.add(unit.relay.take_moved(), unix_seconds(), self.now);
            }
            daemon.data_usage.write(self.now);
        }
    }

    /// Notifies the service manager that draining has begun.
    pub(super) fn say_stopping(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.notifier.stopping();
        }
    }

    /// SIGUSR1: logs one block of statistics, and writes the flight recorder.
    pub(super) fn log_statistics(&mut self) {
        for line in status::table(&self.status(), None).lines().filter(|line| !line.is_empty()) {
            log::info!(target: logging::STATISTICS, "{line}");
        }
        for modem in 0..self.modems.len() {
            self.write_transcripts(modem, "on request", log::Level::Info);
        }
    }

    /// Writes the flight recorder into the state directory, or else into the directory for temporary files, with
    /// the process ID in its name. The previous file is kept. `level` is that of the line that reports it.
    fn write_transcripts(&self, modem: usize, reason: &str, level: log::Level) {
        let Some(daemon) = &self.daemon else { return };
        let (directory, name) = match &daemon.state_directory {
            Some(directory) => (directory.clone(), RECORD_NAME.to_owned()),
            None => (std::env::temp_dir(), format!("qssl-tunnel-{}-{RECORD_NAME}", std::process::id())),
        };
        // Those of further modems have their numbers.
        let name = if modem == 0 { name } else { name.replace(".txt", &format!("-{}.txt", modem + 1)) };
        for (index, port) in self.transcripts(modem, reason).into_iter().enumerate() {
            let name = if index == 0 { name.clone() } else { format!("{name}.{index}") };
            let path = directory.join(&name);
            // There may be no previous file.
            let _ = std::fs::rename(&path, directory.join(format!("{name}.old")));
            match data_usage::replace(&path, port.text.as_bytes()) {
                Ok(()) => log::log!(level, "flight recorder of {} written to {}", port.port, path.display()),
                Err(error) => log::warn!("flight recorder cannot be written to {}: {error}", path.display()),
            }
        }
    }
}

/// Where data usage is kept that the state directory does not have yet. Beside a control socket the file has its name,
/// because the daemons of one user may have theirs in one directory.
fn interim_path(runtime_directory: Option<PathBuf>, control: Option<&Server>) -> Option<PathBuf> {
    let beside = |control: &Server| {
        let mut path = control.path().as_os_str().to_owned();
        path.push(".");
        path.push(data_usage::INTERIM_NAME);
        PathBuf::from(path)
    };
    let path = runtime_directory
        .map(|directory| directory.join(data_usage::INTERIM_NAME))
        .or_else(|| control.map(beside))?;
    path.parent().is_some_and(data_usage::is_in_memory).then_some(path)
}

/// For `systemctl status`: whether clients are served, and what the modem does.
fn one_line(state: &str, session: &str) -> String {
    match (state, session) {
        ("up", _) => "up".into(),
        ("waiting", session) if session.starts_with("waiting") => session.into(),
        (state, session) => format!("{state}: {session}"),
    }
}

/// The same of all modems, each with its name where there are several.
fn in_one_line(units: &[ModemUnit]) -> String {
    let line = |unit: &ModemUnit| match unit.status() {
        Some(_) => "given up".to_owned(),
        None => one_line(unit.relay.state(), &unit.relay.modem().session_in_words()),
    };
    let units: Vec<&ModemUnit> = units.iter().filter(|unit| !unit.is_gone()).collect();
    match &units[..] {
        [unit] => line(unit),
        units => {
            let all = units.iter().map(|unit| format!("{} {}", unit.configured.name, line(unit)));
            all.collect::<Vec<_>>().join("; ")
        }
    }
}

/// Whether the core keeps its deadlines. It always has one while it waits for something, such as the next step of
/// the recovery ladder. One that is long overdue shows that no step is taken.
fn keeps_deadlines(next_deadline: Option<Instant>, now: Instant) -> bool {
    next_deadline.is_none_or(|deadline| now.saturating_duration_since(deadline) <= OVERDUE_MAX)
}

/// How busy the ports were in the last minute, from counts of bytes.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// The time, and the counts of bytes out and in. Samples are at least a second apart, oldest first.
    samples: VecDeque<(Instant, u64, u64)>,
}

impl Gauge {
    fn note(&mut self, out: u64, back: u64, now: Instant) {
        match self.samples.back() {
            Some((at, ..)) if now.saturating_duration_since(*at) < SAMPLE_INTERVAL => {}
            Some((_, last_out, last_back)) if (*last_out, *last_back) == (out, back) => {}
            _ => self.samples.push_back((now, out, back)),
        }
        // One sample from before the window has the counts at its beginning.
        while self.samples.get(1).is_some_and(|(at, ..)| now.saturating_duration_since(*at) > WINDOW) {
            self.samples.pop_front();
        }
    }

    /// The bytes that passed in that time, both ways.
    pub fn bytes(&self) -> u64 {
        let sum = |sample: Option<&(Instant, u64, u64)>| sample.map_or(0, |(_, out, back)| out + back);
        sum(self.samples.back()) - sum(self.samples.front())
    }

    /// The shares of `bauds` that were used out and back.
    pub fn utilisation(&self, bauds: u64, now: Instant) -> Option<[f64; 2]> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let window = now.saturating_duration_since(first.0).min(WINDOW).max(SAMPLE_INTERVAL).as_secs_f64();
        // Ten bits per byte: start, eight, stop.
        let capacity = bauds as f64 / 10.0 * window;
        let share = |then: u64, now: u64| (now.saturating_sub(then) as f64 / capacity).clamp(0.0, 1.0);
        let stale = now.saturating_duration_since(last.0) > WINDOW;
        match (bauds, stale) {
            (0, _) => None,
            (_, true) => Some([0.0, 0.0]),
            _ => Some([share(first.1, last.1), share(first.2, last.2)]),
        }
    }
}

const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(60);

/// How overdue a deadline may be before the process counts as hung.
const OVERDUE_MAX: Duration = Duration::from_secs(60);

/// How often at most the flight recorder of a modem that keeps failing is written.
const RECORD_INTERVAL: Duration = Duration::from_secs(600);

const RECORD_NAME: &str = "flight-recorder.txt";

#[cfg(test)]
mod tests {
    use qssl_core::settings;

    use super::*;
    use qssl_core::{Input, PortInput};

    #[allow(clippy::disallowed_methods, reason = "a moment to count from; no test depends on which")]
    fn start() -> Instant {
        Instant::now()
    }

    /// A daemon with a modem that never answers, after it has sent its first command.
    fn beside_a_silent_modem(modem: &std::net::TcpListener) -> EventLoop {
        let address = modem.local_addr().expect("it is bound");
        let device = format!("tcp://{address}").parse().expect("a device");
        let target = "server.test:443".parse().expect("a target");
        let tls = config::Tls::new(config::Authentication::Insecure);
        let settings = settings::Tunnel::new("web", target, tls);
        let configuration = config::Configuration {
            modems: vec![config::Modem::on(vec![device])],
            tunnels: vec![config::Tunnel {
                listen: Vec::new(),
                allow: Vec::new(),
                dynamic: None,
                modems: config::Modems::default(),
                settings: settings.into(),
            }],
            process: Process { control: config::Control::Off, ..Process::default() },
        };
        let mut event_loop = EventLoop::new(configuration, &[]).expect("nothing that could be missing");
        event_loop.become_daemon(DaemonOptions::default()).expect("nothing was asked for");
        let mut events = mio::Events::with_capacity(8);
        while event_loop.modems[0].relay.modem().counters().wire_bytes_out == 0 {
            event_loop.drain();
            event_loop.turn(&mut events, None).expect("waiting works");
        }
        event_loop
    }

    #[test]
    fn the_watchdog_is_fed_unless_a_deadline_of_the_conversation_is_long_overdue() {
        let modem = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let mut event_loop = beside_a_silent_modem(&modem);
        let manager = tempfile::tempdir().expect("a temporary directory");
        let path = manager.path().join("notify");
        let manager = std::os::unix::net::UnixDatagram::bind(&path).expect("the directory is ours");
        manager.set_nonblocking(true).expect("a socket");
        let daemon = event_loop.daemon.as_mut().expect("it is one");
        daemon.notifier = Notifier::from_variables(Some(path.as_os_str()), Some("2000000".as_ref()), None)
            .expect("a socket");
        let asked = event_loop.modems[0].relay.next_deadline().expect("an answer is waited for");

        // Whether the watchdog message is sent when it is due at this time.
        let fed_at = |event_loop: &mut EventLoop, at: Instant| {
            event_loop.now = at;
            event_loop.daemon.as_mut().expect("it is one").watchdog_at = Some(at);
            event_loop.look_after_daemon();
            let mut datagram = [0; 100];
            let mut fed = false;
            while let Ok(length) = manager.recv(&mut datagram) {
                fed |= &datagram[..length] == b"WATCHDOG=1";
            }
            fed
        };
        let after = |seconds| asked + Duration::from_secs(seconds);
        assert!((0..=60).all(|seconds| fed_at(&mut event_loop, after(seconds))));
        assert!(
            !(61..600).any(|seconds| fed_at(&mut event_loop, after(seconds))),
            "nothing is done any more"
        );

        // With a silent modem the messages go on, as long as each step of the recovery is taken.
        let mut at = asked;
        let mut steps = 0;
        while at < asked + Duration::from_secs(3600) {
            event_loop.modems[0].relay.handle(Input::Deadline, at);
            let output = event_loop.modems[0].relay.port_output(0).len();
            event_loop.modems[0].relay.port_written(0, output, at);
            while let Some(action) = event_loop.modems[0].relay.poll_action() {
                if matches!(action, qssl_core::relay::Action::Modem(qssl_core::modem::Action::OpenPort(0))) {
                    event_loop.modems[0].relay.handle(
                        Input::Port(0, PortInput::Opened(qssl_core::modem::PortFacts::default())),
                        at,
                    );
                }
            }
            assert!(fed_at(&mut event_loop, at), "after {:?}", at.duration_since(asked));
            at = event_loop.modems[0].relay.next_deadline().expect("there is always a next step").max(at);
            steps += 1;
            assert!(steps < 100_000, "it spins");
        }
    }

    #[test]
    fn utilisation_is_of_the_last_minute() {
        let start = start();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut gauge = Gauge::default();
        gauge.note(0, 0, at(0));
        for second in 1..=60 {
            gauge.note(second * 11_520, second * 1_152, at(second));
        }
        let [out, back] = gauge.utilisation(115_200, at(60)).unwrap();
        assert!((out - 1.0).abs() < 0.02 && (back - 0.1).abs() < 0.01, "{out} {back}");
        assert_eq!(gauge.utilisation(0, at(60)), None);
        for second in 61..=600 {
            gauge.note(60 * 11_520, 60 * 1_152, at(second));
        }
        assert_eq!(gauge.utilisation(115_200, at(600)), Some([0.0, 0.0]));
        assert!(gauge.samples.len() < 70);
    }

    #[test]
    fn the_service_manager_is_told_what_is_waited_for() {
        assert_eq!(one_line("up", "up"), "up");
        assert_eq!(one_line("waiting", "waiting for the port"), "waiting for the port");
        assert_eq!(one_line("waiting", "asking for the SIM"), "waiting: asking for the SIM");
        assert_eq!(one_line("draining", "up"), "draining: up");
    }
}
