//! Commands to a modem, and their answers, for `doctor`, `cert`, `at` and `status`.
//!
//! If a daemon runs, the commands go through its control socket, and the daemon sends them between those of its
//! tunnels. Otherwise the port is opened here, and only its wire format is set up. Callers use both in the same way.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cli::{ModemOptions, WhichModem};
use crate::config::{Configuration, Process};
use crate::daemon::control::{self, Client, ControlError, Reply, Request, StoredFile};
use crate::daemon::exit_status;
use crate::daemon::status;
use crate::event_loop::Commanded;
use crate::ports::{Port, holder};
use crate::terminal::in_full;
use qssl_core::Kind;
use qssl_core::at::{Command, CommandSet, Line, USUAL_PATIENCE};
use qssl_core::modem::{CommandOutcome, Failure, Profile, UserAnswer};

/// A conversation with one modem.
pub struct Conversation {
    way: Way,
    /// The daemon or the ports, for messages.
    name: String,
}

enum Way {
    Port {
        modem: Box<Commanded>,
        /// The paths at which no daemon was found, if the user named neither a port nor a daemon.
        sought: Vec<PathBuf>,
    },
    Daemon(Client),
}

/// The bytes of the port.
pub struct Wire<'a>(&'a mut Commanded);

impl Wire<'_> {
    /// Writes these bytes.
    ///
    /// # Errors
    /// As [`Conversation::wait_until_ready`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write(bytes).map_err(internal)?
    }

    /// What has arrived: nothing only if nothing has come until then.
    ///
    /// # Errors
    /// As [`Conversation::wait_until_ready`].
    pub fn read(&mut self, until: Instant) -> Result<Vec<u8>, Failure> {
        self.0.read(until).map_err(internal)?
    }

    /// The port, for its lines.
    pub fn port(&mut self) -> Option<&mut Port> {
        self.0.port()
    }
}

/// How to reach the modem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// `--control`: only through this daemon.
    pub control: Option<PathBuf>,
    /// The user named a port: no daemon is looked for.
    pub device_is_given: bool,
    /// Otherwise, a daemon is looked for at these paths.
    pub usual_paths: Vec<PathBuf>,
    /// `--modem`: which of several modems.
    pub modem: Option<String>,
}

impl Access {
    /// As the options and the environment set it.
    pub fn new(control: Option<&Path>, modem: &ModemOptions) -> Self {
        // As for a daemon, `none` means no control socket.
        let is_off = control == Some(Path::new("none"));
        Access {
            control: control.filter(|_| !is_off).map(Path::to_owned),
            device_is_given: is_off || !modem.device.is_empty(),
            usual_paths: control::usual_paths(),
            modem: None,
        }
    }

    /// The same for this one of several modems.
    pub fn of_modem(self, which: &WhichModem) -> Self {
        Access { modem: which.name.clone(), ..self }
    }

    /// Connects to the daemon, if there is one to use. Returns the path of its control socket as well.
    ///
    /// # Errors
    /// The named daemon does not answer, or this user may not use the control socket of the running one.
    pub fn daemon(&self) -> Result<Option<(Client, PathBuf)>, Failure> {
        if let Some(path) = &self.control {
            let client = Client::connect(path).map_err(|error| unexpected(Err(error)))?;
            return Ok(Some((client, path.clone())));
        }
        if self.device_is_given {
            return Ok(None);
        }
        for path in &self.usual_paths {
            match Client::connect(path) {
                Ok(client) => return Ok(Some((client, path.clone()))),
                // A daemon runs, but this user may not use it. Opening the port would only report that it is
                // locked.
                Err(ControlError::NoDaemon { source, .. })
                    if source.kind() == io::ErrorKind::PermissionDenied =>
                {
                    let message =
                        format!("{}: not allowed: ask as the user or group of the daemon", path.display());
                    return Err(Failure::new(Kind::Failed, message));
                }
                Err(_) => {}
            }
        }
        Ok(None)
    }
}

impl Conversation {
    /// Begins a conversation through the daemon that `access` names or that runs, or else with the modem on its
    /// port, which is opened at the first command.
    ///
    /// # Errors
    /// The daemon cannot be used, or the event loop cannot be set up.
    pub fn open(configuration: &Configuration, access: &Access) -> Result<Self, Failure> {
        if let Some((mut client, path)) = access.daemon()? {
            client
                .catch_signals()
                .map_err(|error| Failure::new(Kind::Failed, format!("cannot catch signals: {error}")))?;
            if let Some(name) = &access.modem {
                let request = Request::Modem { name: name.clone() };
                match client.ask(&request, LATENCY + control::TURN_LIMIT) {
                    Ok(Reply::Done) => {}
                    other => return Err(unexpected(other)),
                }
            }
            let name = format!("through the daemon at {}", path.display());
            return Ok(Conversation { way: Way::Daemon(client), name });
        }
        if let Some(name) = access.modem.as_ref().filter(|name| **name != configuration.modem().name) {
            let message = format!("no daemon runs that could have a modem {name}: name its port, -d DEVICE");
            return Err(Failure::new(Kind::Usage, message));
        }
        let name =
            configuration.modem().devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let configuration =
            Configuration { tunnels: Vec::new(), process: Process::default(), ..configuration.clone() };
        let modem = Box::new(Commanded::new(configuration).map_err(internal)?);
        let sought = if access.device_is_given { Vec::new() } else { access.usual_paths.clone() };
        let way = Way::Port { modem, sought };
        Ok(Conversation { way, name })
    }

    /// Whether the user named a port or a daemon.
    pub fn is_named(&self) -> bool {
        matches!(&self.way, Way::Port { sought, .. } if sought.is_empty())
    }

    /// The open ports, or the daemon.
    pub fn name(&self) -> String {
        let ports = match &self.way {
            Way::Port { modem, .. } => modem.port_names(),
            Way::Daemon(_) => Vec::new(),
        };
        if ports.is_empty() { self.name.clone() } else { ports.join(", ") }
    }

    /// Waits for this time.
    ///
    /// # Errors
    /// As [`Conversation::wait_until_ready`].
    pub fn pause(&mut self, time: Duration) -> Result<(), Failure> {
        match &mut self.way {
            Way::Port { modem, .. } => modem.pause(time).map_err(internal)?,
            Way::Daemon(client) => client.pause(time).map_err(|error| unexpected(Err(error))),
        }
    }

    /// Whether the modem is shared with a daemon and its tunnels.
    pub fn is_shared(&self) -> bool {
        matches!(self.way, Way::Daemon(_))
    }

    /// The tunnels of a daemon; none without a daemon.
    ///
    /// # Errors
    /// The daemon is gone.
    pub fn tunnels(&mut self) -> Result<Vec<status::Tunnel>, Failure> {
        let Way::Daemon(client) = &mut self.way else { return Ok(Vec::new()) };
        match client.ask(&Request::Status, LATENCY + control::TURN_LIMIT) {
            Ok(Reply::Status { status }) => Ok(status.tunnels),
            other => Err(unexpected(other)),
        }
    }

    /// The files of a daemon's tunnels in the modem; none without a daemon.
    ///
    /// # Errors
    /// The daemon is gone.
    pub fn stored_files(&mut self) -> Result<Vec<StoredFile>, Failure> {
        let Way::Daemon(client) = &mut self.way else { return Ok(Vec::new()) };
        match client.ask(&Request::StoredFiles, LATENCY + control::TURN_LIMIT) {
            Ok(Reply::StoredFiles { files }) => Ok(files),
            other => Err(unexpected(other)),
        }
    }

    /// Waits until the modem answers.
    ///
    /// # Errors
    /// The port cannot be opened, the modem is silent, or a signal came.
    pub fn wait_until_ready(&mut self) -> Result<(), Failure> {
        match &mut self.way {
            Way::Port { modem, sought } => modem
                .wait_until_ready()
                .map_err(internal)?
                .map_err(|failure| nor_a_daemon(failure, sought, holder::other_tunnels)),
            Way::Daemon(_) => self.ask(Command::line("AT")).map(|_| ()),
        }
    }

    /// What the modem reports that it is.
    ///
    /// # Errors
    /// As [`Conversation::ask`].
    pub fn identify(&mut self) -> Result<Profile, Failure> {
        let mut profile = Profile::unknown();
        profile.learn_identity(&self.ask(Command::line("ATI"))?.lines);
        if profile.identity_is_incomplete() {
            let model = self.ask(Command::line("AT+CGMM;+CGMR"))?;
            if model.outcome == Some(CommandOutcome::Ok) {
                profile.learn_identity(&model.lines);
            }
        }
        Ok(profile)
    }

    /// Sends a command and waits for its answer. A daemon refuses a command that would break its tunnels.
    ///
    /// # Errors
    /// No answer can come: the port, the modem or the daemon is gone, or a signal came. If the modem does not answer
    /// this one command, the answer has no outcome.
    pub fn ask(&mut self, command: Command) -> Result<UserAnswer, Failure> {
        self.say(command, false, &mut |_, _| ())
    }

    /// The same, even if a daemon would refuse the command: for commands that do not affect tunnels.
    ///
    /// # Errors
    /// As [`Conversation::ask`].
    pub fn insist(&mut self, command: Command) -> Result<UserAnswer, Failure> {
        self.say(command, true, &mut |_, _| ())
    }

    /// [`Conversation::insist`], with reports on the progress of an upload: bytes sent, and bytes in total.
    ///
    /// # Errors
    /// As [`Conversation::ask`].
    pub fn upload(
        &mut self,
        command: Command,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<UserAnswer, Failure> {
        self.say(command, true, progress)
    }

    fn say(
        &mut self,
        command: Command,
        force: bool,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<UserAnswer, Failure> {
        match &mut self.way {
            Way::Port { modem, sought } => modem
                .ask(command, progress)
                .map_err(internal)?
                .map_err(|failure| nor_a_daemon(failure, sought, holder::other_tunnels)),
            Way::Daemon(client) => {
                let limit = command.patience(USUAL_PATIENCE) + control::TURN_LIMIT + LATENCY;
                match client.ask(&request(&command, force), limit) {
                    Ok(Reply::Answer { outcome, lines, content }) => {
                        let file = control::from_hex(&content).unwrap_or_default();
                        Ok(UserAnswer { outcome: Some(outcome), lines, file })
                    }
                    Err(ControlError::Refused { id, .. }) if id == Kind::ModemSilent.id() => {
                        Ok(UserAnswer { outcome: None, lines: Vec::new(), file: Vec::new() })
                    }
                    other => Err(unexpected(other)),
                }
            }
        }
    }

    /// The result of an open that was just sent: 0, or the modem's result code. `None`: it did not come within
    /// `limit`, 1–600 s.
    ///
    /// # Errors
    /// As [`Conversation::ask`].
    pub fn await_open(&mut self, set: CommandSet, id: u8, limit: Duration) -> Result<Option<u16>, Failure> {
        match &mut self.way {
            Way::Port { modem, .. } => modem.await_open(set, id, limit).map_err(internal)?,
            Way::Daemon(client) => {
                let timeout_seconds = seconds(limit);
                match client.ask(&Request::AwaitOpen { timeout_seconds }, limit + LATENCY) {
                    Ok(Reply::Opened { code, .. }) => Ok(Some(code)),
                    Err(ControlError::Refused { id, .. }) if id == "timeout" => Ok(None),
                    other => Err(unexpected(other)),
                }
            }
        }
    }

    /// The port itself, for what no command shows; `None` through a daemon, which has it. No command may be under way.
    pub fn line(&mut self) -> Option<Wire<'_>> {
        match &mut self.way {
            Way::Port { modem, .. } => Some(Wire(modem)),
            Way::Daemon(_) => None,
        }
    }

    /// Opens the port, where no daemon has it. Only [`Conversation::line`] uses it until [`Conversation::release`].
    ///
    /// # Errors
    /// As [`Conversation::wait_until_ready`].
    pub fn open_held(&mut self) -> Result<(), Failure> {
        let Way::Port { modem, sought } = &mut self.way else { return Ok(()) };
        let opened = modem.open_held().map_err(internal)?;
        opened.map_err(|failure| nor_a_daemon(failure, sought, holder::other_tunnels))
    }

    /// Commands go over the port from now on.
    pub fn release(&mut self) {
        if let Way::Port { modem, .. } = &mut self.way {
            modem.release();
        }
    }

    /// How often the modem has rebooted; 0 through a daemon, which does not tell.
    pub fn reboots(&self) -> u64 {
        match &self.way {
            Way::Port { modem, .. } => modem.reboots(),
            Way::Daemon(_) => 0,
        }
    }

    /// Discards the results that came so far: they belong to earlier opens.
    pub fn forget_opens(&mut self) {
        if let Way::Port { modem, .. } = &mut self.way {
            modem.forget_opens();
        }
    }
}

fn request(command: &Command, force: bool) -> Request {
    let line = |text: String, patience| Request::At {
        command: text,
        force,
        timeout_seconds: Some(seconds(patience)),
    };
    match command {
        Command::Line(Line { text, .. }) => line(text.clone(), command.patience(USUAL_PATIENCE)),
        Command::Upload { name, content } => {
            Request::Upload { name: name.to_string(), content: control::to_hex(content) }
        }
        Command::Download { name, size } => Request::Download { name: name.to_string(), size: *size },
        other => {
            let mut bytes = Vec::new();
            other.encode(&mut bytes);
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            line(text, other.patience(USUAL_PATIENCE))
        }
    }
}

/// The failure for a reply that is not the expected one.
fn unexpected(reply: Result<Reply, ControlError>) -> Failure {
    match reply {
        Ok(_) => Failure::new(Kind::Failed, "unexpected reply from the daemon"),
        Err(ControlError::Refused { id, message }) => {
            Failure::new(exit_status::with_id(&id).unwrap_or(Kind::Failed), message)
        }
        Err(error @ ControlError::Interrupted { signal }) => {
            Failure::new(Kind::Signal(signal), error.to_string())
        }
        Err(error) => Failure::new(Kind::Failed, error.to_string()),
    }
}

/// If no modem was found, extends the message: it names where a daemon was looked for, or the `others`, which are
/// tunnels that run here and use a port.
fn nor_a_daemon(failure: Failure, sought: &[PathBuf], others: impl FnOnce() -> Vec<String>) -> Failure {
    if failure.kind != Kind::PortUnavailable || sought.is_empty() {
        return failure;
    }
    let paths: Vec<String> = sought.iter().map(|path| path.display().to_string()).collect();
    let Failure { kind, message } = failure;
    let others = others().join(", ");
    if !others.is_empty() {
        let way_out = "start it with --control PATH and give that here as well, or name a port: -d";
        return Failure::new(kind, format!("{message}, but {others}: {way_out}"));
    }
    Failure::new(
        kind,
        format!(
            "{message}; no daemon answers at {} either (--control names another socket)",
            paths.join(" or ")
        ),
    )
}

fn internal(error: anyhow::Error) -> Failure {
    Failure::new(Kind::Failed, in_full(&error))
}

fn seconds(time: Duration) -> u16 {
    time.as_secs().clamp(1, 600) as u16
}

/// How much longer a daemon may take than the modem.
const LATENCY: Duration = Duration::from_secs(5);

/// How long a module may take to send close_notify and to hear the server's.
pub const CLOSE_SECONDS: u64 = 3;

/// The code for a refusal without a reason.
pub const UNKNOWN_ERROR: u16 = 550;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_no_daemon_of_that_name() {
        let access = Access::new(Some(Path::new("none")), &ModemOptions::default());
        assert!(access.control.is_none() && access.device_is_given);
        assert!(access.daemon().expect("nothing is asked").is_none());
    }

    #[test]
    fn where_no_modem_is_found_it_is_said_where_a_daemon_was_looked_for() {
        let sought = [PathBuf::from("/run/user/1000/qssl-tunnel/control"), "/run/qssl-tunnel/control".into()];
        let missing = || Failure::new(Kind::PortUnavailable, "no Quectel modem found");
        assert_eq!(
            nor_a_daemon(missing(), &sought, Vec::new).message,
            "no Quectel modem found; no daemon answers at /run/user/1000/qssl-tunnel/control or \
             /run/qssl-tunnel/control either (--control names another socket)"
        );
        assert_eq!(nor_a_daemon(missing(), &[], Vec::new), missing(), "the port was named");
        let others = || vec!["qssl-tunnel (pid 7) uses /dev/ttyS0".to_owned()];
        assert_eq!(
            nor_a_daemon(missing(), &sought, others).message,
            "no Quectel modem found, but qssl-tunnel (pid 7) uses /dev/ttyS0: start it with --control PATH and give \
             that here as well, or name a port: -d"
        );
        let silent = || Failure::new(Kind::ModemSilent, "silent");
        assert_eq!(nor_a_daemon(silent(), &sought, Vec::new), silent());
    }

    #[test]
    fn a_daemons_error_keeps_its_exit_status() {
        let refused = |id: &str| ControlError::Refused { id: id.into(), message: "why".into() };
        assert_eq!(unexpected(Err(refused("port-unavailable"))).kind, Kind::PortUnavailable);
        assert_eq!(unexpected(Err(refused("busy"))).kind, Kind::Failed);
        assert_eq!(unexpected(Err(refused("busy"))).message, "why");
    }

    #[test]
    fn every_command_has_its_request() {
        let patience = Duration::from_secs(150);
        assert_eq!(
            request(&Command::patient_line("AT+QIACT=1", patience), false),
            Request::At { command: "AT+QIACT=1".into(), force: false, timeout_seconds: Some(150) }
        );
        let close = Command::Close {
            set: CommandSet::Ssl,
            socket: qssl_core::at::SocketId::new(3).expect("0-11"),
            timeout_seconds: Some(0),
        };
        assert_eq!(
            request(&close, true),
            Request::At { command: "AT+QSSLCLOSE=3,0".into(), force: true, timeout_seconds: Some(5) }
        );
    }
}
