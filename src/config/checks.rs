//! Turns options into a checked configuration: applies defaults and the rules between options, and reads the
//! files that options name.
//!
//! The command line and the file have the same rules. Only the names of options and positions in complaints
//! differ.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use qssl_core::{counted, settings};

use super::ca::CaSource;
use super::certificate_items::{self, names_of};
use super::file::{FileOptions, Section};
use super::{
    ApnAuth, Authentication, Checked, ClientCertificate, Cmux, ConfigError, Configuration, Credentials,
    DEFAULT_MODEM_NAME, Device, Dynamic, Environment, Limits, Listen, MODEMS_MAX, Mode, Modem, Modems,
    OpenOn, PORTS_MAX, Pdp, Pem, Process, Psk, Recovery, Scheme, Secret, Server, Tls, TlsVersion, Transport,
    Tunnel, Verbosity, Wait, Warm, file, secret,
};
use crate::cli::{
    ClientOptions, ConnectArgs, DoctorArgs, DynamicOptions, ListenArgs, LoggingOptions, ModemOptions,
    ProcessOptions, RunArgs, StreamOptions, TlsOptions,
};
use crate::config::trust::{Certificate, PrivateKey, STORES, TrustStore, Validity};

/// The configuration of `listen`: one tunnel.
///
/// # Errors
/// One line that names the option.
pub fn from_listen(args: &ListenArgs, environment: &Environment) -> Result<Checked, ConfigError> {
    of_command_line(&args.logging, environment, |checks| {
        no_collisions(&args.listen, &[])?;
        takes_what_is_carried(&args.listen, args.to.as_ref())?;
        let dynamic = checks.dynamic(&args.dynamic, args.to.as_ref(), &args.listen, &args.clients)?;
        let settings = Arc::new(settings::Tunnel {
            name: tunnel_name(&args.listen),
            target: args.to.as_ref().map(|server| server.target.clone()),
            mode: args.stream.mode.unwrap_or_default(),
            transport: match &args.to {
                Some(server) => checks.transport(server, &args.tls, None)?,
                None => checks.dynamic_transport(&args.dynamic, &args.tls, None)?,
            },
            limits: checks.limits(args.to.as_ref(), &args.stream, &args.clients)?,
        });
        let allow = args.clients.allow.clone();
        let tunnel =
            Tunnel { listen: args.listen.clone(), allow, dynamic, modems: Modems::default(), settings };
        checks.configuration(&args.modem, Wait::Forever, vec![tunnel], checks.process(&args.process)?)
    })
}

/// The configuration of `connect`: one tunnel that listens on standard input and output. It does not wait for
/// the modem unless `--retry-for` or `--max-retries` is given, and a slow reader never times out.
///
/// # Errors
/// One line that names the option.
pub fn from_connect(args: &ConnectArgs, environment: &Environment) -> Result<Checked, ConfigError> {
    of_command_line(&args.logging, environment, |checks| {
        if args.to.scheme.carries_datagrams() {
            let reason = "standard input has no datagrams: listen on udp:PORT instead";
            return Err(Complaint::new("to", reason));
        }
        let limits = checks.limits(Some(&args.to), &args.stream, &ClientOptions::default())?;
        let settings = Arc::new(settings::Tunnel {
            name: tunnel_name(&[Listen::Stdio]),
            target: Some(args.to.target.clone()),
            mode: args.stream.mode.unwrap_or_default(),
            transport: checks.transport(&args.to, &args.tls, None)?,
            // There are no other clients to wait for; only the options about waiting for the modem apply.
            limits: Limits { stall_timeout: Duration::ZERO, queue_timeout: Duration::ZERO, ..limits },
        });
        let tunnel = Tunnel {
            listen: vec![Listen::Stdio],
            allow: Vec::new(),
            dynamic: None,
            modems: Modems::default(),
            settings,
        };
        checks.configuration(&args.modem, Wait::Not, vec![tunnel], checks.process(&args.process)?)
    })
}

/// What `doctor` examines: the modem, and the server, if one is given, as a tunnel without a listener. Like
/// `connect`, it does not wait for the modem unless an option requests it. A file has the settings of the modem, and those
/// of the server, unless options have them.
///
/// # Errors
/// One line that names the option, or the file and the position in it.
pub fn from_doctor(args: &DoctorArgs, environment: &Environment) -> Result<Checked, ConfigError> {
    if args.config.is_none() {
        return doctor_command_line(args, environment);
    }
    let run = RunArgs {
        config: args.config.clone(),
        check: false,
        modem: args.modem.clone(),
        process: ProcessOptions::default(),
        logging: args.logging.clone(),
    };
    let mut checked = read_file(&run, environment, Wait::Not)?;
    let modems = std::mem::take(&mut checked.configuration.modems);
    let names = modems.iter().map(|modem| &*modem.name).collect::<Vec<_>>().join(", ");
    let is_it =
        |modem: &Modem| args.which.name.as_ref().map_or(modems.len() == 1, |name| modem.name == *name);
    checked.configuration.modems = modems.iter().filter(|modem| is_it(modem)).cloned().collect();
    let Some(name) = checked.configuration.modems.first().map(|modem| modem.name.clone()) else {
        return Err(ConfigError(format!("--modem: give one of {names}")));
    };
    let is_meant = |tunnel: &Tunnel| match &args.to {
        _ if !tunnel.may_use(&name) => false,
        Some(to) => args.tls == TlsOptions::default() && tunnel.settings.server().as_ref() == Some(to),
        None => tunnel.settings.target.is_some(),
    };
    let tunnels = std::mem::take(&mut checked.configuration.tunnels);
    let found = tunnels.into_iter().find(is_meant).map(|mut tunnel| {
        if let Some(limit) = args.connect_timeout {
            Arc::make_mut(&mut tunnel.settings).limits.connect_timeout = limit;
        }
        tunnel
    });
    checked.configuration.tunnels = match found {
        Some(tunnel) => vec![tunnel],
        None => doctor_command_line(args, environment)?.configuration.tunnels,
    };
    checked.configuration.process = Process::default();
    Ok(checked)
}

fn doctor_command_line(args: &DoctorArgs, environment: &Environment) -> Result<Checked, ConfigError> {
    let stream = StreamOptions { connect_timeout: args.connect_timeout, ..StreamOptions::default() };
    of_command_line(&args.logging, environment, |checks| {
        let tunnel = |to: &Server| {
            let settings = Arc::new(settings::Tunnel {
                name: to.to_string(),
                target: Some(to.target.clone()),
                mode: Mode::Buffer,
                transport: checks.transport(to, &args.tls, None)?,
                limits: checks.limits(Some(to), &stream, &ClientOptions::default())?,
            });
            Ok(Tunnel {
                listen: Vec::new(),
                allow: Vec::new(),
                dynamic: None,
                modems: Modems::default(),
                settings,
            })
        };
        let tunnels = args.to.as_ref().map(tunnel).transpose()?.into_iter().collect();
        checks.configuration(&args.modem, Wait::Not, tunnels, Process::default())
    })
}

/// The configuration of a command that needs only the modem: it has no tunnels. It does not wait for the modem
/// unless an option requests it.
///
/// # Errors
/// One line that names the option.
pub fn from_modem(
    modem: &ModemOptions,
    logging: &LoggingOptions,
    environment: &Environment,
) -> Result<Checked, ConfigError> {
    of_command_line(logging, environment, |checks| {
        checks.configuration(modem, Wait::Not, Vec::new(), Process::default())
    })
}

/// The configuration from a command line. `make` reads all options except those about logging.
fn of_command_line(
    logging: &LoggingOptions,
    environment: &Environment,
    make: impl FnOnce(&mut Checks<'_>) -> Result<Configuration, Complaint>,
) -> Result<Checked, ConfigError> {
    let mut checks = Checks::new(environment, Style::CommandLine);
    let configuration = make(&mut checks).map_err(Complaint::on_command_line)?;
    let verbosity = checks.verbosity(logging).map_err(Complaint::on_command_line)?;
    Ok(Checked { configuration, verbosity, warnings: checks.warnings, files: Vec::new() })
}

/// The time limit of an answer. It cannot be switched off.
fn answer_timeout(
    option: &'static str,
    given: Option<Duration>,
    default: Duration,
) -> Result<Duration, Complaint> {
    let timeout = given.unwrap_or(default);
    match ANSWER_TIMEOUTS.contains(&timeout) {
        true => Ok(timeout),
        false => Err(Complaint::new(option, "must be between 1s and 10min".to_owned())),
    }
}

/// The least of `--warm-max-age`: a connection is replaced by a handshake, which takes seconds.
const SHORTEST_WARM_AGE: Duration = Duration::from_secs(5);

/// The range of `--command-timeout` and `--send-timeout`.
const ANSWER_TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// The configuration of `run`, from the file that `args` names.
///
/// # Errors
/// One line that names the file and the position in it, or the option.
pub fn from_run(args: &RunArgs, environment: &Environment) -> Result<Checked, ConfigError> {
    read_file(args, environment, Wait::Forever)
}

/// The same; `wait`: whether the modem is waited for if neither the file nor an option says it.
fn read_file(args: &RunArgs, environment: &Environment, wait: Wait) -> Result<Checked, ConfigError> {
    let path = args.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH));
    let name = path.display().to_string();
    let bytes = secret::read_limited(path, LARGEST_CONFIG_BYTES)
        .map_err(|why| ConfigError(format!("{name}: {why}")))?;
    let text = String::from_utf8(bytes).map_err(|_| ConfigError(format!("{name}: not text in UTF-8")))?;
    let mut checked = of_text(&name, &text, args, environment, wait)?;
    checked.files.push(path.to_owned());
    Ok(checked)
}

/// The configuration from `text`, the content of the file called `name`. The options in `args` for modem,
/// process and logging override the file.
///
/// # Errors
/// As [`from_run`].
pub fn from_text(
    name: &str,
    text: &str,
    args: &RunArgs,
    environment: &Environment,
) -> Result<Checked, ConfigError> {
    of_text(name, text, args, environment, Wait::Forever)
}

fn of_text(
    name: &str,
    text: &str,
    args: &RunArgs,
    environment: &Environment,
    wait: Wait,
) -> Result<Checked, ConfigError> {
    let file = file::parse(name, text)?;
    let mut checks = Checks::new(environment, Style::File);
    let (modems, options) = checks.modems(&args.modem, &file, wait)?;
    let process = process_over(&args.process, &file.process.options.process);
    let process = checks
        .process(&process)
        .map_err(|complaint| complaint.over(checks.process(&args.process).err(), &file.process))?;
    let logging = logging_over(&args.logging, &file.process.options.logging);
    let verbosity = checks
        .verbosity(&logging)
        .map_err(|complaint| complaint.over(checks.verbosity(&args.logging).err(), &file.process))?;
    let tunnels = checks.tunnels(&file, &modems)?;
    for (modem, section) in modems.iter().zip(&file.modems) {
        checks
            .leave_room(modem, &tunnels)
            .map_err(|(index, complaint)| complaint.at(&file.tunnels[index]))?;
        if !tunnels.iter().any(|tunnel| tunnel.may_use(&modem.name)) {
            checks.warnings.push(format!("{}: no tunnel may use the modem {}", section.location, modem.name));
        }
    }
    let configuration = Configuration { modems, tunnels, process };
    let files = files(&options, &file, environment);
    Ok(Checked { configuration, verbosity, warnings: checks.warnings, files })
}

/// The files that are named, and the trust stores.
fn files(modems: &[ModemOptions], file: &FileOptions, environment: &Environment) -> Vec<PathBuf> {
    let tunnels = || file.tunnels.iter().map(|tunnel| &tunnel.options);
    let mut files: Vec<PathBuf> = STORES.iter().map(PathBuf::from).collect();
    files.extend(environment.ssl_cert_file.clone());
    let of_modems = modems.iter().flat_map(|modem| [&modem.sim_pin_file, &modem.apn_password_file]);
    files.extend(of_modems.flatten().cloned());
    files.extend(tunnels().filter_map(|tunnel| tunnel.dynamic.proxy_user_file.clone()));
    let profiles = file.tls.values().map(|profile| &profile.options);
    for tls in profiles.chain(tunnels().map(|tunnel| &tunnel.tls)) {
        let named = [&tls.cert, &tls.key, &tls.key_password_file, &tls.psk_key_file];
        files.extend(named.into_iter().flatten().cloned());
        files.extend(tls.ca.iter().filter_map(|source| match source {
            CaSource::File(path) => Some(path.clone()),
            CaSource::Named(_) | CaSource::Whole => None,
        }));
    }
    files
}

/// An option that is wrong, and the reason.
struct Complaint {
    option: &'static str,
    reason: String,
}

impl Complaint {
    fn new(option: &'static str, reason: impl Into<String>) -> Self {
        Complaint { option, reason: reason.into() }
    }

    fn on_command_line(self) -> ConfigError {
        match self.option {
            "listen" => ConfigError(format!("LISTEN: {}", self.reason)),
            option => ConfigError(format!("--{option}: {}", self.reason)),
        }
    }

    /// The error about a section of the file together with the command line. `alone` is the complaint about the
    /// command line without the file: a mistake there is not blamed on the file.
    fn over<A>(self, alone: Option<Complaint>, section: &Section<A>) -> ConfigError {
        match alone.is_some_and(|alone| alone.option == self.option) {
            true => self.on_command_line(),
            false => self.at(section),
        }
    }

    /// The error about a section of the file. An option that is not in the section came from the command line or
    /// the environment, or is missing.
    fn at<A>(self, section: &Section<A>) -> ConfigError {
        match section.location_of(self.option) {
            Some(location) => ConfigError(format!("{location}: {}: {}", self.option, self.reason)),
            None if section.allows_overrides => self.on_command_line(),
            None => ConfigError(format!("{}: {}: {}", section.location, self.option, self.reason)),
        }
    }
}

/// How messages write the names of options.
#[derive(Clone, Copy)]
enum Style {
    CommandLine,
    File,
}

struct Checks<'a> {
    environment: &'a Environment,
    style: Style,
    warnings: Vec<String>,
    /// Read at most once, and only if it is needed.
    store: Option<TrustStore>,
}

impl<'a> Checks<'a> {
    fn new(environment: &'a Environment, style: Style) -> Self {
        Checks { environment, style, warnings: Vec::new(), store: None }
    }

    /// The name of an option as the user writes it.
    fn option(&self, name: &str) -> String {
        match self.style {
            Style::CommandLine => format!("--{name}"),
            Style::File => format!("`{name}`"),
        }
    }

    /// Complains if `option` is given without the one it needs.
    fn needs(&self, given: bool, option: &'static str, needed: bool, other: &str) -> Result<(), Complaint> {
        match given && !needed {
            true => Err(Complaint::new(option, format!("needs {}", self.option(other)))),
            false => Ok(()),
        }
    }

    /// Complains if two options that contradict each other are both given.
    fn excludes(
        &self,
        given: bool,
        option: &'static str,
        excluded: bool,
        other: &str,
    ) -> Result<(), Complaint> {
        match given && excluded {
            true => {
                Err(Complaint::new(option, format!("contradicts {}: give one of them", self.option(other))))
            }
            false => Ok(()),
        }
    }

    /// A configuration with one modem.
    fn configuration(
        &self,
        options: &ModemOptions,
        default_wait: Wait,
        tunnels: Vec<Tunnel>,
        process: Process,
    ) -> Result<Configuration, Complaint> {
        let modem = self.modem(DEFAULT_MODEM_NAME, options, default_wait)?;
        self.leave_room(&modem, &tunnels).map_err(|(_, complaint)| complaint)?;
        Ok(Configuration { modems: vec![modem], tunnels, process })
    }

    /// The modems of a file, and their options in effect. What the command line says about a modem overrides the file's,
    /// where the file has one.
    fn modems(
        &self,
        args: &ModemOptions,
        file: &FileOptions,
        wait: Wait,
    ) -> Result<(Vec<Modem>, Vec<ModemOptions>), ConfigError> {
        let (mut modems, mut all): (Vec<Modem>, Vec<ModemOptions>) = (Vec::new(), Vec::new());
        if file.modems.len() > MODEMS_MAX {
            let location = &file.modems[MODEMS_MAX].location;
            return Err(ConfigError(format!("{location}: more than {MODEMS_MAX} modems")));
        }
        if file.modems.len() > 1 && *args != ModemOptions::default() {
            let message = "options of the command line or environment about a modem do not say which one of the file they \
                           are for: put them into its [[modem]]";
            return Err(ConfigError(message.to_owned()));
        }
        for section in &file.modems {
            let options = modem_over(args, &section.options.modem);
            let name = section.options.head.name.as_deref().unwrap_or(DEFAULT_MODEM_NAME);
            let made = self.modem(name, &options, wait).and_then(|modem| {
                self.differs(&modem, section.options.head.name.is_some(), &modems, file.modems.len())?;
                Ok(modem)
            });
            let alone = || self.modem(name, args, wait).err();
            modems.push(made.map_err(|complaint| complaint.over(alone(), section))?);
            all.push(options);
        }
        Ok((modems, all))
    }

    /// Complains if one of several modems cannot be told from earlier ones.
    fn differs(
        &self,
        modem: &Modem,
        is_named: bool,
        earlier: &[Modem],
        count: usize,
    ) -> Result<(), Complaint> {
        if count == 1 {
            return Ok(());
        }
        if !is_named {
            return Err(Complaint::new("name", "is missing: each of several modems needs one"));
        }
        if earlier.iter().any(|other| other.name == modem.name) {
            return Err(Complaint::new("name", format!("another modem is called {}", modem.name)));
        }
        if modem.devices.contains(&Device::Auto) {
            let reason = "auto takes the only modem that there is: name the ports of each of several modems";
            return Err(Complaint::new("device", reason));
        }
        let shared = |other: &Modem| {
            let of_other = |device: &&Device| other.devices.contains(device);
            modem
                .devices
                .iter()
                .filter(|device| !matches!(device, Device::Emulator(_)))
                .find(of_other)
                .cloned()
        };
        match earlier.iter().find_map(|other| Some((shared(other)?, &other.name))) {
            Some((device, other)) => {
                Err(Complaint::new("device", format!("{device} is given to the modem {other} as well")))
            }
            None => Ok(()),
        }
    }

    fn modem(&self, name: &str, options: &ModemOptions, default_wait: Wait) -> Result<Modem, Complaint> {
        for (index, device) in options.device.iter().enumerate() {
            if device.is_one_port() && options.device[..index].contains(device) {
                return Err(Complaint::new("device", format!("{device} is given twice")));
            }
        }
        if options.cmux == Some(Cmux::On) && options.device.len() > 1 {
            let message = format!("needs a single {}", self.option("device"));
            return Err(Complaint::new("cmux", message));
        }
        if options.cmux_frame.is_some() && options.cmux.unwrap_or_default() == Cmux::Off {
            let message = format!("needs {} to be auto or on", self.option("cmux"));
            return Err(Complaint::new("cmux-frame", message));
        }
        if options.reset_command.is_some() && options.recovery != Some(Recovery::Reboot) {
            let message = format!("needs {} to be reboot", self.option("recovery"));
            return Err(Complaint::new("reset-command", message));
        }
        if options.device.len() > PORTS_MAX {
            return Err(Complaint::new("device", format!("a modem has at most {PORTS_MAX} ports")));
        }
        let devices = if options.device.is_empty() { vec![Device::Auto] } else { options.device.clone() };
        let (name, reset_command) = (name.to_owned(), options.reset_command.clone());
        Ok(Modem { name, devices, reset_command, settings: self.modem_settings(options, default_wait)? })
    }

    fn modem_settings(
        &self,
        options: &ModemOptions,
        default_wait: Wait,
    ) -> Result<settings::Modem, Complaint> {
        let defaults = settings::Modem::default();
        Ok(settings::Modem {
            baud: options.baud.unwrap_or(defaults.baud),
            flow_control: options.flow_control,
            cmux: options.cmux.unwrap_or_default(),
            cmux_frame: options.cmux_frame,
            sockets: options.sockets.unwrap_or(defaults.sockets),
            ssl_contexts: options.ssl_contexts.unwrap_or(defaults.ssl_contexts),
            sim_pin: read_by(&options.sim_pin_file, "sim-pin-file", secret::read_pin)?,
            pdp: self.pdp(options)?,
            ntp: options.ntp.clone(),
            recovery: options.recovery.unwrap_or(defaults.recovery),
            has_reset_command: defaults.has_reset_command,
            reset_after: options.reset_after.unwrap_or(defaults.reset_after),
            poll_interval: options.poll_interval,
            radio: match (options.radio, options.radio_identity) {
                (_, true) => settings::Radio::Identity,
                (true, false) => settings::Radio::On,
                (false, false) => settings::Radio::Off,
            },
            wait: self.wait(options, default_wait)?,
            liveness_interval: options.liveness_interval.unwrap_or(defaults.liveness_interval),
            command_timeout: answer_timeout(
                "command-timeout",
                options.command_timeout,
                defaults.command_timeout,
            )?,
            send_timeout: answer_timeout("send-timeout", options.send_timeout, defaults.send_timeout)?,
        })
    }

    fn pdp(&self, options: &ModemOptions) -> Result<Pdp, Complaint> {
        let defaults = Pdp::default();
        let has_user = options.apn_user.is_some();
        self.needs(options.pdp_type.is_some(), "pdp-type", options.apn.is_some(), "apn")?;
        self.needs(has_user, "apn-user", options.apn.is_some(), "apn")?;
        self.needs(options.apn_password_file.is_some(), "apn-password-file", has_user, "apn-user")?;
        let authenticates = options.apn_auth.is_some_and(|auth| auth != ApnAuth::None);
        self.needs(authenticates, "apn-auth", has_user, "apn-user")?;
        if options.dns.len() > MOST_NAME_SERVERS {
            return Err(Complaint::new(
                "dns",
                format!("a modem takes at most {MOST_NAME_SERVERS} name servers"),
            ));
        }
        let auth = options.apn_auth.unwrap_or(if has_user { ApnAuth::Pap } else { defaults.auth });
        Ok(Pdp {
            context: options.pdp_context.unwrap_or(defaults.context),
            kind: options.pdp_type.unwrap_or(defaults.kind),
            apn: options.apn.clone(),
            user: options.apn_user.clone(),
            password: read_by(&options.apn_password_file, "apn-password-file", secret::read)?,
            auth,
            dns: options.dns.clone(),
        })
    }

    fn wait(&self, options: &ModemOptions, default: Wait) -> Result<Wait, Complaint> {
        self.excludes(options.no_wait, "no-wait", options.retry_for.is_some(), "retry-for")?;
        self.excludes(options.no_wait, "no-wait", options.max_retries.is_some(), "max-retries")?;
        let time = options.retry_for.filter(|time| !time.is_zero());
        Ok(match (options.no_wait, options.retry_for, options.max_retries) {
            (true, _, _) => Wait::Not,
            (false, None, None) => default,
            (false, _, retries) if time.is_some() || retries.is_some() => Wait::Limited { time, retries },
            (false, _, _) => Wait::Forever,
        })
    }

    fn limits(
        &self,
        server: Option<&Server>,
        stream: &StreamOptions,
        clients: &ClientOptions,
    ) -> Result<Limits, Complaint> {
        let mut defaults = Limits::default();
        if server.is_some_and(|server| server.scheme.carries_datagrams()) {
            no_stream_options(stream, clients)?;
            defaults.idle_timeout = USUAL_SESSION;
        }
        let close_timeout = stream.close_timeout.unwrap_or(defaults.close_timeout);
        if close_timeout.subsec_nanos() != 0 || close_timeout > LONGEST_CLOSE_TIMEOUT {
            return Err(Complaint::new("close-timeout", "0-65535 whole seconds"));
        }
        Ok(Limits {
            connect_timeout: stream.connect_timeout.unwrap_or(defaults.connect_timeout),
            half_close_timeout: stream.half_close_timeout.unwrap_or(defaults.half_close_timeout),
            idle_timeout: stream.idle_timeout.unwrap_or(defaults.idle_timeout),
            lifetime: stream.lifetime.unwrap_or(defaults.lifetime),
            first_byte_timeout: clients.first_byte_timeout.unwrap_or(defaults.first_byte_timeout),
            queue_timeout: clients.queue_timeout.unwrap_or(defaults.queue_timeout),
            stall_timeout: clients.stall_timeout.unwrap_or(defaults.stall_timeout),
            close_timeout,
            when_full: clients.when_full.unwrap_or(defaults.when_full),
            on_closed: stream.on_closed.unwrap_or(defaults.on_closed),
            open_on: clients.open_on.unwrap_or(defaults.open_on),
            max_clients: clients.max_clients.map(|count| count as usize),
            warm: self.warm(stream.mode.unwrap_or_default(), clients)?,
        })
    }

    /// The connections that are opened ahead.
    fn warm(&self, mode: Mode, options: &ClientOptions) -> Result<Warm, Complaint> {
        let defaults = Warm::default();
        let count = options.warm.map_or(defaults.count, |count| count as usize);
        self.needs(options.warm_max_age.is_some(), "warm-max-age", options.warm.is_some(), "warm")?;
        self.needs(options.warm_server_first, "warm-server-first", options.warm.is_some(), "warm")?;
        if count > 0 && mode == Mode::Transparent {
            return Err(Complaint::new(
                "warm",
                "a transparent connection occupies its port, so none can be opened ahead: give another mode",
            ));
        }
        let max_age = options.warm_max_age.unwrap_or(defaults.max_age);
        if max_age < SHORTEST_WARM_AGE {
            return Err(Complaint::new("warm-max-age", "must be 5s or more"));
        }
        Ok(Warm { count, max_age, server_first: options.warm_server_first })
    }

    /// Complains where connections opened ahead would occupy all numbers: one is needed to replace them, and for other
    /// clients. Names the tunnel, too.
    fn leave_room(&self, modem: &Modem, tunnels: &[Tunnel]) -> Result<(), (usize, Complaint)> {
        let (mut ahead, all) = (0, modem.settings.sockets.count());
        let of_modem = tunnels.iter().enumerate().filter(|(_, tunnel)| tunnel.may_use(&modem.name));
        for (index, tunnel) in of_modem {
            let count = tunnel.settings.limits.warm.count;
            ahead += count;
            if count > 0 && ahead >= all {
                let reason = format!(
                    "opened ahead, {} would leave none of the {all} of {} free: all tunnels together may keep {}",
                    counted(ahead, "connection"),
                    self.option("sockets"),
                    all - 1
                );
                return Err((index, Complaint::new("warm", reason)));
            }
        }
        Ok(())
    }

    fn process(&self, options: &ProcessOptions) -> Result<Process, Complaint> {
        let defaults = Process::default();
        if options.record_up.is_some() && options.record_up == options.record_down {
            return Err(Complaint::new("record-down", "the two directions need a file each"));
        }
        if !matches!(options.metrics, None | Some(Listen::Tcp(_) | Listen::Unix { .. })) {
            return Err(Complaint::new("metrics", "they are served at a port, ADDRESS:PORT or unix:/path"));
        }
        Ok(Process {
            shutdown_timeout: options.shutdown_timeout.unwrap_or(defaults.shutdown_timeout),
            hex_dump: options.hex_dump,
            record_up: options.record_up.clone(),
            record_down: options.record_down.clone(),
            metrics: options.metrics.clone(),
            no_sandbox: options.no_sandbox,
            control: options.control.clone().unwrap_or_default(),
            state_directory: options.state_directory.clone(),
            monthly_budget: options.monthly_budget,
        })
    }

    fn verbosity(&self, options: &LoggingOptions) -> Result<Verbosity, Complaint> {
        self.excludes(options.quiet, "quiet", options.verbose > 0, "verbose")?;
        Ok(match (options.quiet, options.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, 1) => Verbosity::Commands,
            (false, _) => Verbosity::Transcript,
        })
    }

    /// What the modem's connections to this server are. `whose` names them in warnings where there can be several.
    fn transport(
        &mut self,
        server: &Server,
        options: &TlsOptions,
        whose: Option<&str>,
    ) -> Result<Transport, Complaint> {
        if has_tls(server) {
            return over(server, self.tls(options, whose)?);
        }
        if *options != TlsOptions::default() {
            return Err(Complaint::new("to", NO_TLS));
        }
        let whose = whose.map(|whose| format!("{whose}: ")).unwrap_or_default();
        self.warnings.push(format!(
            "{whose}{server} has no TLS: anybody on the way can read and alter everything, unless the client encrypts it"
        ));
        Ok(if server.scheme == Scheme::Udp { Transport::Udp } else { Transport::Tcp })
    }

    /// How clients name their targets, if the tunnel has none.
    fn dynamic(
        &self,
        options: &DynamicOptions,
        server: Option<&Server>,
        listen: &[Listen],
        clients: &ClientOptions,
    ) -> Result<Option<Arc<Dynamic>>, Complaint> {
        let Some(protocol) = options.dynamic else {
            if server.is_none() {
                return Err(Complaint::new(
                    "to",
                    format!("is missing: give it, or {}", self.option("dynamic")),
                ));
            }
            self.needs(!options.allow_target.is_empty(), "allow-target", false, "dynamic")?;
            self.needs(options.proxy_user_file.is_some(), "proxy-user-file", false, "dynamic")?;
            self.needs(options.dynamic_tls, "dynamic-tls", false, "dynamic")?;
            return Ok(None);
        };
        self.excludes(true, "dynamic", server.is_some(), "to")?;
        self.needs(true, "dynamic", !options.allow_target.is_empty(), "allow-target")?;
        if clients.warm.is_some_and(|count| count > 0) {
            let reason = format!(
                "clients of {} name their servers, so none can be opened ahead",
                self.option("dynamic")
            );
            return Err(Complaint::new("warm", reason));
        }
        if clients.open_on == Some(OpenOn::FirstByte) {
            let reason = format!("clients of {} send nothing before its answer", self.option("dynamic"));
            return Err(Complaint::new("open-on", reason));
        }
        let is_open = |listen: &&Listen| match listen {
            Listen::Tcp(at) | Listen::Udp(at) => at.is_open(),
            // Any address may come from there.
            Listen::Systemd(_) => true,
            Listen::Unix { .. } | Listen::Stdio => false,
        };
        if let Some(open) = listen.iter().find(is_open).filter(|_| clients.allow.is_empty()) {
            let reason = format!(
                "other machines can connect to {open}: list who may with {} NETWORK",
                self.option("allow")
            );
            return Err(Complaint::new("dynamic", reason));
        }
        let users = read_by(&options.proxy_user_file, "proxy-user-file", |path| {
            let named = |reason: String| format!("{}: {reason}", path.display());
            let bytes = secret::read_limited(path, LARGEST_USER_FILE_BYTES).map_err(named)?;
            let text = String::from_utf8(bytes).map_err(|_| named("not text".to_owned()))?;
            Credentials::parse(&text).map_err(|error| named(error.to_string()))
        })?;
        let (allowed, users) = (options.allow_target.clone(), users.map(Arc::new));
        Ok(Some(Arc::new(Dynamic { protocol, allowed, users })))
    }

    /// What the modem's connections to targets that clients name are.
    fn dynamic_transport(
        &mut self,
        options: &DynamicOptions,
        tls: &TlsOptions,
        whose: Option<&str>,
    ) -> Result<Transport, Complaint> {
        if options.dynamic_tls {
            return self.tls(tls, whose).map(Transport::Tls);
        }
        if *tls != TlsOptions::default() {
            return Err(Complaint::new(
                "dynamic",
                format!("TLS options need {}", self.option("dynamic-tls")),
            ));
        }
        let whose = whose.map(|whose| format!("{whose}: ")).unwrap_or_default();
        self.warnings.push(format!(
            "{whose}{} makes plain TCP connections: anybody on the way can read and alter everything, unless the client \
             encrypts it",
            self.option("dynamic")
        ));
        Ok(Transport::Tcp)
    }

    /// TLS settings; `whose` names them in warnings where there can be several.
    fn tls(&mut self, options: &TlsOptions, whose: Option<&str>) -> Result<Tls, Complaint> {
        if options.dtls || options.dtls_version.is_some() {
            let option = if options.dtls { "dtls" } else { "dtls-version" };
            let version = self.option("tls-version");
            let reason = format!("give dtls://HOST:PORT as the target, and the version as {version}");
            return Err(Complaint::new(option, reason));
        }
        self.excludes(options.sni, "sni", options.no_sni, "no-sni")?;
        self.excludes(options.check_time, "check-time", options.no_check_time, "no-check-time")?;
        self.needs(options.cert.is_some(), "cert", options.key.is_some(), "key")?;
        self.needs(options.key.is_some(), "key", options.cert.is_some(), "cert")?;
        self.needs(options.key_password_file.is_some(), "key-password-file", options.key.is_some(), "key")?;
        let (has_identity, has_key) = (options.psk_identity.is_some(), options.psk_key_file.is_some());
        self.needs(has_identity, "psk-identity", has_key, "psk-key-file")?;
        self.needs(has_key, "psk-key-file", has_identity, "psk-identity")?;

        let items = options.ignore_certificate.iter().fold(0, |sum, item| sum | item.0);
        let dates_count = !options.no_check_time && items & certificate_items::EXPIRED == 0;
        let first_warning = self.warnings.len();
        let authentication = self.authentication(options, dates_count)?;
        if authentication != Authentication::Insecure {
            self.warn_of_checks_switched_off(options, items);
        }
        let tls = Tls {
            version: options.tls_version.unwrap_or(TlsVersion::Tls12),
            cipher: options.cipher.unwrap_or(settings::Cipher::ANY).0,
            client: self.client_certificate(options, dates_count)?,
            sni: flag(options.sni, options.no_sni),
            alpn: options.alpn.clone(),
            psk: self.psk(options)?,
            session_resumption: options.session_resumption,
            renegotiation: options.renegotiation,
            check_time: flag(options.check_time, options.no_check_time),
            ignore_certificate_items: items,
            ignore_chain: options.ignore_chain,
            ignore_signature: options.ignore_signature,
            authentication,
        };
        if let Some(whose) = whose {
            self.warnings[first_warning..]
                .iter_mut()
                .for_each(|warning| *warning = format!("{whose}: {warning}"));
        }
        Ok(tls)
    }

    fn authentication(
        &mut self,
        options: &TlsOptions,
        dates_count: bool,
    ) -> Result<Authentication, Complaint> {
        self.excludes(options.insecure, "insecure", !options.ca.is_empty(), "ca")?;
        if options.insecure {
            let option = self.option("insecure");
            self.warnings.push(format!(
                "{option}: the server is not authenticated, anybody on the way can read and alter everything"
            ));
            return Ok(Authentication::Insecure);
        }
        let whole = [CaSource::Whole];
        let sources = if options.ca.is_empty() { &whole[..] } else { &options.ca[..] };
        let mut authorities: Vec<Pem> = Vec::new();
        for source in sources {
            for authority in self.authorities(source, dates_count)? {
                if !authorities.iter().any(|known| known.bytes == authority.bytes) {
                    authorities.push(authority);
                }
            }
        }
        match authorities.is_empty() {
            true => Err(Complaint::new(
                "ca",
                "every certificate of the trust store has expired: is the clock right?",
            )),
            false => Ok(Authentication::Authorities(authorities)),
        }
    }

    fn authorities(&mut self, source: &CaSource, dates_count: bool) -> Result<Vec<Pem>, Complaint> {
        let name = source.to_string();
        let certificates = match source {
            CaSource::Whole => {
                let clock = self.clock().filter(|_| dates_count);
                return Ok(self.store()?.authorities(clock));
            }
            CaSource::Named(root) => {
                let found = self.store()?.find(root).cloned();
                vec![found.map_err(|error| Complaint::new("ca", format!("{name}: {error}")))?]
            }
            CaSource::File(path) => {
                let text = read_pem(path, "ca")?;
                Certificate::all(&text).map_err(|error| Complaint::new("ca", format!("{name}: {error}")))?
            }
        };
        for certificate in &certificates {
            self.check_dates(certificate, "ca", &name, dates_count)?;
            if !certificate.is_authority {
                let who = certificate.name();
                self.warnings.push(format!(
                    "{name}: {who} is not a certificate authority, so it can vouch for no server but itself"
                ));
            }
        }
        Ok(certificates.iter().map(|certificate| certificate.to_pem(name.clone())).collect())
    }

    fn store(&mut self) -> Result<&TrustStore, Complaint> {
        let store = match self.store.take() {
            Some(store) => store,
            None => TrustStore::read(self.environment.ssl_cert_file.as_deref())
                .map_err(|error| Complaint::new("ca", error.to_string()))?,
        };
        Ok(self.store.insert(store))
    }

    fn client_certificate(
        &mut self,
        options: &TlsOptions,
        dates_count: bool,
    ) -> Result<Option<ClientCertificate>, Complaint> {
        let (Some(certificate_path), Some(key_path)) = (&options.cert, &options.key) else { return Ok(None) };
        let (certificate_name, key_name) = (certificate_path.display(), key_path.display());
        let text = read_pem(certificate_path, "cert")?;
        let chain = Certificate::all(&text)
            .map_err(|error| Complaint::new("cert", format!("{certificate_name}: {error}")))?;
        let own = chain.first().expect("there is at least one certificate, else it would be an error");
        self.check_dates(own, "cert", &certificate_name.to_string(), dates_count)?;
        let key = PrivateKey::read(&read_pem(key_path, "key")?)
            .map_err(|error| Complaint::new("key", format!("{key_name}: {error}")))?;
        let key_password = read_by(&options.key_password_file, "key-password-file", secret::read)?;
        match (key.is_encrypted, key_password.is_some()) {
            (true, false) => self.needs(true, "key", false, "key-password-file")?,
            (false, true) => self
                .warnings
                .push(format!("{key_name}: the key is not encrypted, its password is not needed")),
            _ => {}
        }
        match key.belongs_to(own) {
            Some(true) => {}
            Some(false) => {
                let whose = own.name();
                let reason = format!("{key_name}: does not belong to {certificate_name} ({whose})");
                return Err(Complaint::new("key", reason));
            }
            None => self
                .warnings
                .push(format!("{key_name}: whether it belongs to {certificate_name} cannot be determined")),
        }
        let bytes = chain.into_iter().flat_map(|certificate| certificate.pem.into_bytes()).collect();
        Ok(Some(ClientCertificate {
            certificate: Pem { source: certificate_name.to_string(), bytes },
            key: Pem { source: key_name.to_string(), bytes: key.pem.into_bytes() },
            key_password,
        }))
    }

    fn psk(&self, options: &TlsOptions) -> Result<Option<Psk>, Complaint> {
        let key: Option<Secret> = read_by(&options.psk_key_file, "psk-key-file", secret::read)?;
        Ok(options.psk_identity.clone().zip(key).map(|(identity, key)| Psk { identity, key }))
    }

    fn check_dates(
        &mut self,
        certificate: &Certificate,
        option: &'static str,
        file: &str,
        dates_count: bool,
    ) -> Result<(), Complaint> {
        let Some(now) = self.clock() else { return Ok(()) };
        let who = certificate.name();
        match certificate.validity(now) {
            Validity::Valid => {}
            Validity::Expired if dates_count => {
                let reason = format!("{file}: {who} expired on {}", certificate.last_day());
                return Err(Complaint::new(option, reason));
            }
            Validity::Expired => {
                self.warnings.push(format!("{file}: {who} expired on {}", certificate.last_day()));
            }
            Validity::NotYet => {
                self.warnings.push(format!("{file}: {who} is not valid before {}", certificate.first_day()));
            }
            Validity::EndsSoon(days) => {
                let last = certificate.last_day();
                let days = counted(days, "day");
                self.warnings.push(format!("{file}: {who} expires in {days}, on {last}"));
            }
        }
        Ok(())
    }

    fn warn_of_checks_switched_off(&mut self, options: &TlsOptions, items: u32) {
        if items != 0 {
            let option = self.option("ignore-certificate");
            let names = names_of(items).join(", ");
            self.warnings.push(format!("{option}: the server's certificate is not checked for: {names}"));
        }
        for (given, name) in
            [(options.ignore_chain, "ignore-chain"), (options.ignore_signature, "ignore-signature")]
        {
            if given {
                let option = self.option(name);
                self.warnings.push(format!("{option}: the server is only half authenticated"));
            }
        }
    }

    /// The host's clock, unless it was never set.
    fn clock(&self) -> Option<i64> {
        Some(self.environment.unix_seconds).filter(|now| *now >= START_OF_2024)
    }

    fn tunnels(&mut self, file: &FileOptions, modems: &[Modem]) -> Result<Vec<Tunnel>, ConfigError> {
        let mut profiles: Vec<(&str, Tls)> = Vec::new();
        for (name, section) in &file.tls {
            let tls = self.tls(&section.options, Some(&format!("tls.{name}")));
            profiles.push((name, tls.map_err(|complaint| complaint.at(section))?));
            if !file.tunnels.iter().any(|tunnel| tunnel.options.head.tls.as_ref() == Some(name)) {
                self.warnings.push(format!("{}: no tunnel uses [tls.{name}]", section.location));
            }
        }
        let mut tunnels: Vec<Tunnel> = Vec::new();
        for section in &file.tunnels {
            let tunnel = modems_of(section, modems)
                .and_then(|modems| self.tunnel(section, &profiles, &tunnels, modems))
                .map_err(|complaint| complaint.at(section))?;
            tunnels.push(tunnel);
        }
        Ok(tunnels)
    }

    fn tunnel(
        &mut self,
        section: &Section<file::TunnelSection>,
        profiles: &[(&str, Tls)],
        earlier: &[Tunnel],
        modems: Modems,
    ) -> Result<Tunnel, Complaint> {
        let options = &section.options;
        let server = options.head.to.clone();
        let listen = options.head.listen.clone();
        if listen.is_empty() {
            return Err(Complaint::new("listen", "is missing"));
        }
        no_collisions(&listen, earlier)?;
        takes_what_is_carried(&listen, server.as_ref())?;
        let name = options.head.name.clone().unwrap_or_else(|| tunnel_name(&listen));
        if earlier.iter().any(|tunnel| tunnel.settings.name == name) {
            return Err(Complaint::new("name", format!("another tunnel is called {name}")));
        }
        let dynamic = self.dynamic(&options.dynamic, server.as_ref(), &listen, &options.clients)?;
        let has_tls = match &server {
            Some(server) => has_tls(server),
            None => options.dynamic.dynamic_tls,
        };
        let transport = match &options.head.tls {
            Some(_) if !has_tls => return Err(Complaint::new("tls", NO_TLS)),
            Some(wanted) => {
                if let Some(key) = file::tls_keys().into_iter().find(|key| section.location_of(key).is_some())
                {
                    return Err(Complaint::new(
                        "tls",
                        format!("excludes `{key}` here: put it into [tls.{wanted}]"),
                    ));
                }
                let known = profiles.iter().find(|(name, _)| name == wanted);
                let known = known.map(|(_, tls)| tls.clone()).ok_or_else(|| {
                    let nearest = super::nearest(wanted, profiles.iter().map(|(name, _)| *name));
                    let hint = nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
                    Complaint::new("tls", format!("there is no [tls.{wanted}]{hint}"))
                })?;
                match &server {
                    Some(server) => over(server, known)?,
                    None => Transport::Tls(known),
                }
            }
            None => {
                let whose = format!("tunnel {name}");
                match &server {
                    Some(server) => self.transport(server, &options.tls, Some(&whose))?,
                    None => self.dynamic_transport(&options.dynamic, &options.tls, Some(&whose))?,
                }
            }
        };
        let settings = Arc::new(settings::Tunnel {
            limits: self.limits(server.as_ref(), &options.stream, &options.clients)?,
            mode: options.stream.mode.unwrap_or_default(),
            name,
            target: server.map(|server| server.target),
            transport,
        });
        Ok(Tunnel { listen, allow: options.clients.allow.clone(), dynamic, modems, settings })
    }
}

/// Which of these modems may serve the tunnel.
fn modems_of(section: &Section<file::TunnelSection>, modems: &[Modem]) -> Result<Modems, Complaint> {
    let head = &section.options.head;
    let known = || modems.iter().map(|modem| &*modem.name);
    if head.modems.is_empty() && section.location_of("modems").is_some() {
        return Err(Complaint::new("modems", "names none: leave it out, and all may serve the tunnel"));
    }
    for (index, name) in head.modems.iter().enumerate() {
        if head.modems[..index].contains(name) {
            return Err(Complaint::new("modems", format!("{name} is given twice")));
        }
        if !known().any(|known| known == name) {
            let nearest = super::nearest(name, known());
            let hint = nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            return Err(Complaint::new("modems", format!("no [[modem]] is called {name}{hint}")));
        }
    }
    Ok(Modems { names: head.modems.clone(), policy: head.policy.unwrap_or_default() })
}

/// Why an option about TLS has no place in a tunnel.
const NO_TLS: &str = "a plain connection has no TLS: leave out the TLS options";

/// Whether the modem's connections to it have TLS.
fn has_tls(server: &Server) -> bool {
    matches!(server.scheme, Scheme::Tls | Scheme::Dtls)
}

/// TLS over what this server takes.
fn over(server: &Server, tls: Tls) -> Result<Transport, Complaint> {
    match (server.scheme, tls.version) {
        (Scheme::Dtls, TlsVersion::Ssl3 | TlsVersion::Tls11) => {
            Err(Complaint::new("tls-version", "DTLS has the versions 1.0, 1.2 and any"))
        }
        (Scheme::Dtls, _) => Ok(Transport::Dtls(tls)),
        _ => Ok(Transport::Tls(tls)),
    }
}

/// Complains about an address to which something else comes than what the tunnel carries.
fn takes_what_is_carried(listen: &[Listen], server: Option<&Server>) -> Result<(), Complaint> {
    let datagrams_to = server.filter(|server| server.scheme.carries_datagrams());
    let is_other = |listen: &&Listen| {
        listen.carries_datagrams().is_some_and(|datagrams| datagrams != datagrams_to.is_some())
    };
    let Some(other) = listen.iter().find(is_other) else { return Ok(()) };
    let reason = match datagrams_to {
        Some(server) => format!("{other} takes streams, and {server} datagrams: listen on udp:PORT"),
        None => format!("{other} takes datagrams, and the target streams: give dtls:// or udp://HOST:PORT"),
    };
    Err(Complaint::new("listen", reason))
}

/// Complains about options that have no meaning for datagrams.
fn no_stream_options(stream: &StreamOptions, clients: &ClientOptions) -> Result<(), Complaint> {
    if stream.mode == Some(Mode::Transparent) {
        return Err(Complaint::new("mode", "a transparent port has no datagrams: give push or buffer"));
    }
    let given = [
        ("half-close-timeout", stream.half_close_timeout.is_some()),
        ("on-closed", stream.on_closed.is_some()),
        ("stall-timeout", clients.stall_timeout.is_some()),
        ("open-on", clients.open_on.is_some()),
        ("first-byte-timeout", clients.first_byte_timeout.is_some()),
        ("warm", clients.warm.is_some_and(|count| count > 0)),
    ];
    if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
        return Err(Complaint::new(option, "has no effect on datagrams: leave it out"));
    }
    match stream.idle_timeout {
        Some(time) if time.is_zero() || time > LONGEST_SESSION => Err(Complaint::new(
            "idle-timeout",
            "for datagrams above 0 and at most 24h: their sessions have no other end",
        )),
        _ => Ok(()),
    }
}

/// Complains about an address that is listened on twice.
fn no_collisions(listen: &[Listen], earlier: &[Tunnel]) -> Result<(), Complaint> {
    for (index, address) in listen.iter().enumerate() {
        if listen[..index].iter().any(|other| address.collides_with(other)) {
            return Err(Complaint::new("listen", format!("{address} is given twice")));
        }
        let taken =
            earlier.iter().find(|tunnel| tunnel.listen.iter().any(|other| address.collides_with(other)));
        if let Some(tunnel) = taken {
            return Err(Complaint::new(
                "listen",
                format!("{address} is taken by the tunnel {}", tunnel.settings.name),
            ));
        }
    }
    Ok(())
}

/// The name of a tunnel for which none is given.
fn tunnel_name(listen: &[Listen]) -> String {
    listen.first().map(Listen::to_string).unwrap_or_default()
}

/// The value of two opposite flags; `None` if neither is given.
fn flag(on: bool, off: bool) -> Option<bool> {
    (on || off).then_some(on)
}

fn read_by<T>(
    path: &Option<PathBuf>,
    option: &'static str,
    read: impl Fn(&Path) -> Result<T, String>,
) -> Result<Option<T>, Complaint> {
    path.as_deref().map(read).transpose().map_err(|reason| Complaint::new(option, reason))
}

fn read_pem(path: &Path, option: &'static str) -> Result<Vec<u8>, Complaint> {
    let named = |reason| Complaint::new(option, format!("{}: {reason}", path.display()));
    secret::read_limited(path, LARGEST_PEM_BYTES).map_err(named)
}

/// The modem options of the command line, or else of the file. The options about waiting belong together: one
/// of them on the command line replaces all of those in the file.
fn modem_over(args: &ModemOptions, file: &ModemOptions) -> ModemOptions {
    let (args, file) = (args.clone(), file.clone());
    let waits = if args.no_wait || args.retry_for.is_some() || args.max_retries.is_some() {
        (args.no_wait, args.retry_for, args.max_retries)
    } else {
        (file.no_wait, file.retry_for, file.max_retries)
    };
    ModemOptions {
        device: if args.device.is_empty() { file.device } else { args.device },
        baud: args.baud.or(file.baud),
        flow_control: args.flow_control.or(file.flow_control),
        cmux: args.cmux.or(file.cmux),
        cmux_frame: args.cmux_frame.or(file.cmux_frame),
        sockets: args.sockets.or(file.sockets),
        ssl_contexts: args.ssl_contexts.or(file.ssl_contexts),
        sim_pin_file: args.sim_pin_file.or(file.sim_pin_file),
        apn: args.apn.or(file.apn),
        apn_user: args.apn_user.or(file.apn_user),
        apn_password_file: args.apn_password_file.or(file.apn_password_file),
        apn_auth: args.apn_auth.or(file.apn_auth),
        pdp_context: args.pdp_context.or(file.pdp_context),
        pdp_type: args.pdp_type.or(file.pdp_type),
        dns: if args.dns.is_empty() { file.dns } else { args.dns },
        ntp: args.ntp.or(file.ntp),
        recovery: args.recovery.or(file.recovery),
        reset_command: args.reset_command.or(file.reset_command),
        reset_after: args.reset_after.or(file.reset_after),
        poll_interval: args.poll_interval.or(file.poll_interval),
        radio: args.radio || file.radio,
        radio_identity: args.radio_identity || file.radio_identity,
        no_wait: waits.0,
        retry_for: waits.1,
        max_retries: waits.2,
        liveness_interval: args.liveness_interval.or(file.liveness_interval),
        command_timeout: args.command_timeout.or(file.command_timeout),
        send_timeout: args.send_timeout.or(file.send_timeout),
    }
}

fn process_over(args: &ProcessOptions, file: &ProcessOptions) -> ProcessOptions {
    let (args, file) = (args.clone(), file.clone());
    ProcessOptions {
        shutdown_timeout: args.shutdown_timeout.or(file.shutdown_timeout),
        hex_dump: args.hex_dump || file.hex_dump,
        record_up: args.record_up.or(file.record_up),
        record_down: args.record_down.or(file.record_down),
        metrics: args.metrics.or(file.metrics),
        no_sandbox: args.no_sandbox || file.no_sandbox,
        control: args.control.or(file.control),
        state_directory: args.state_directory.or(file.state_directory),
        monthly_budget: args.monthly_budget.or(file.monthly_budget),
    }
}

fn logging_over(args: &LoggingOptions, file: &LoggingOptions) -> LoggingOptions {
    if args.verbose > 0 || args.quiet { args.clone() } else { file.clone() }
}

/// The file that `run` reads without `--config`.
pub(crate) const DEFAULT_PATH: &str = "/etc/qssl-tunnel.toml";

/// For how long a session of datagrams may be silent, unless an option says otherwise, and at most.
const USUAL_SESSION: Duration = Duration::from_secs(60);
const LONGEST_SESSION: Duration = Duration::from_secs(24 * 3600);
/// The limit of AT+QSSLCLOSE (both manuals).
const LONGEST_CLOSE_TIMEOUT: Duration = Duration::from_secs(65_535);
/// AT+QIDNSCFG takes a primary and a secondary server.
const MOST_NAME_SERVERS: usize = 2;
const LARGEST_CONFIG_BYTES: u64 = 1 << 20;
const LARGEST_PEM_BYTES: u64 = 1 << 20;
const LARGEST_USER_FILE_BYTES: u64 = 1 << 16;
/// A clock before 2024-01-01 was never set; in seconds since 1970.
const START_OF_2024: i64 = 1_704_067_200;

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::{Cli, Command};

    const ROOT: &str = "tests/config_files/certificates/root.pem";

    fn certificate(name: &str) -> String {
        format!("tests/config_files/certificates/{name}")
    }

    /// 2100-01-01.
    fn environment() -> Environment {
        let store = certificate("store.pem");
        Environment { unix_seconds: 4_102_444_800, ssl_cert_file: Some(store.into()) }
    }

    fn checked_in(environment: &Environment, args: &[&str]) -> Result<Checked, String> {
        let args = ["qssl-tunnel"].iter().chain(args);
        let checked = match Cli::try_parse_from(args).map_err(|error| crate::cli::one_line(&error))?.command {
            Command::Listen(args) => from_listen(&args, environment),
            Command::Connect(args) => from_connect(&args, environment),
            other => panic!("not a subcommand of these tests: {other:?}"),
        };
        checked.map_err(|error| error.to_string())
    }

    fn checked(args: &[&str]) -> Result<Checked, String> {
        checked_in(&environment(), args)
    }

    fn listen(args: &[&str]) -> Result<Checked, String> {
        checked(&[&["listen", "8443", "--to", "example.org:443"], args].concat())
    }

    fn error(args: &[&str]) -> String {
        listen(args).expect_err("it should be refused")
    }

    #[test]
    fn every_default_that_a_help_text_names_is_the_one_in_effect() {
        let mut typed: Vec<String> = Vec::new();
        let command = Cli::command();
        let listen_command = command.find_subcommand("listen").expect("listen exists");
        for option in listen_command.get_arguments() {
            let help = option.get_help().map(ToString::to_string).unwrap_or_default();
            let Some((_, default)) = help.rsplit_once("[default: ") else { continue };
            let default = default.trim_end_matches(']');
            let long = option.get_long().expect("only options have defaults");
            let in_words = [
                "if the module can",
                "unless --insecure",
                "the modem's setting",
                "the network's",
                "never",
                "all",
            ];
            match default {
                "off" if long == "cmux" => typed.push("--cmux=off".to_owned()),
                "off" => typed.push(format!("--{long}=0")),
                "no limit"
                | "rtscts on UARTs"
                | "pap with --apn-user, else none"
                | "from this machine's clock"
                | "off, 60s for datagrams"
                | "512, or 127 if the modem refuses it"
                | "5s where it is not certain which of the modem's ports is in use, else never" => {}
                "ipv4" => typed.extend(["--apn=internet".to_owned(), "--pdp-type=ipv4".to_owned()]),
                default if in_words.contains(&default) => {}
                default => typed.push(format!("--{long}={default}")),
            }
        }
        assert!(typed.len() > 20, "defaults were found: {typed:?}");
        let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
        assert_eq!(
            listen(&typed).expect("defaults are valid"),
            listen(&["--apn=internet"]).expect("a configuration")
        );
    }

    #[test]
    fn the_server_is_authenticated_unless_the_user_typed_otherwise() {
        let authentication = |args: &[&str]| {
            listen(args).expect("a configuration").configuration.tunnels[0]
                .settings
                .tls()
                .expect("TLS")
                .authentication
                .clone()
        };
        let sources = |args: &[&str]| match authentication(args) {
            Authentication::Authorities(authorities) => {
                authorities.into_iter().map(|pem| pem.source).collect::<Vec<_>>()
            }
            Authentication::Insecure => Vec::new(),
        };
        assert_eq!(sources(&[]), ["system", "system"]);
        assert_eq!(sources(&["--ca", ROOT]), [ROOT]);
        assert_eq!(sources(&["--ca", "system:second root ca"]), ["system:second root ca"]);
        assert_eq!(sources(&["--ca", ROOT, "--ca", "system:Example Root CA"]), [ROOT]);
        assert_eq!(authentication(&["--insecure"]), Authentication::Insecure);
        let warnings = listen(&["--insecure"]).expect("a configuration").warnings;
        assert!(warnings[0].starts_with("--insecure: the server is not authenticated"), "{warnings:?}");
        let plain = checked(&["listen", "8443", "--to", "tcp://a:1"]).expect("a configuration");
        assert_eq!(plain.configuration.tunnels[0].settings.transport, Transport::Tcp);
        assert!(
            plain.warnings[0].starts_with("tcp://a:1 has no TLS: anybody on the way"),
            "{:?}",
            plain.warnings
        );
    }

    #[test]
    fn auto_wants_several_channels_where_they_are_useful() {
        for (args, wanted) in [
            (&["listen", "8443", "--to", "h:443"][..], Cmux::Auto),
            (&["connect", "h:443"], Cmux::Leave),
            (&["connect", "h:443", "--mode", "transparent"], Cmux::Auto),
        ] {
            let args = [args, &["--insecure", "-d", "/dev/ttyS1", "--cmux", "auto"]].concat();
            let mut configuration = checked(&args).expect("it is right").configuration;
            assert_eq!(configuration.settings(configuration.modem()).modem.cmux, wanted, "{args:?}");
            configuration.tunnels.clear();
            assert_eq!(
                configuration.settings(configuration.modem()).modem.cmux,
                Cmux::Leave,
                "commands alone need none"
            );
        }
    }

    #[test]
    fn options_that_contradict_or_need_each_other_are_named() {
        assert_eq!(error(&["--insecure", "--ca", ROOT]), "--insecure: contradicts --ca: give one of them");
        assert_eq!(error(&["--sni", "--no-sni"]), "--sni: contradicts --no-sni: give one of them");
        assert_eq!(error(&["--cert", "c.pem"]), "--cert: needs --key");
        assert_eq!(error(&["--key", "k.pem"]), "--key: needs --cert");
        assert_eq!(error(&["--psk-identity", "me"]), "--psk-identity: needs --psk-key-file");
        assert_eq!(error(&["--apn-user", "me"]), "--apn-user: needs --apn");
        assert_eq!(error(&["--apn-auth", "pap"]), "--apn-auth: needs --apn-user");
        assert_eq!(
            error(&["--no-wait", "--retry-for", "5"]),
            "--no-wait: contradicts --retry-for: give one of them"
        );
        assert_eq!(error(&["-q", "-v"]), "--quiet: contradicts --verbose: give one of them");
        assert_eq!(
            error(&["--dns", "1.1.1.1,8.8.8.8,9.9.9.9"]),
            "--dns: a modem takes at most 2 name servers"
        );
        assert_eq!(
            error(&["-r", "same", "-R", "same"]),
            "--record-down: the two directions need a file each"
        );
        assert_eq!(error(&["-d", "/dev/a", "-d", "/dev/a"]), "--device: /dev/a is given twice");
        assert_eq!(error(&["--close-timeout", "500ms"]), "--close-timeout: 0-65535 whole seconds");
        assert_eq!(error(&["--close-timeout", "65536"]), "--close-timeout: 0-65535 whole seconds");
        for option in ["--dtls", "--dtls-version=1"] {
            let reason = "give dtls://HOST:PORT as the target, and the version as --tls-version";
            assert_eq!(error(&[option]), format!("{}: {reason}", option.trim_end_matches("=1")));
        }
        for options in [&["--insecure"][..], &["--ca", ROOT], &["--alpn", "mqtt"], &["--no-sni"]] {
            let args = [&["listen", "8443", "--to", "tcp://a:1"], options].concat();
            assert_eq!(
                checked(&args).unwrap_err(),
                "--to: a plain connection has no TLS: leave out the TLS options"
            );
        }
        let twice = checked(&["listen", "8443", "[::1]:8443", "--to", "a:1", "--insecure"]);
        assert_eq!(twice.unwrap_err(), "LISTEN: [::1]:8443 is given twice");
    }

    #[test]
    fn datagrams_have_a_listener_limits_and_a_target_of_their_own() {
        let datagrams = |args: &[&str]| {
            let args = [&["listen", "udp:5684", "--to", "dtls://a:5684", "--insecure"], args].concat();
            Ok::<_, String>(checked(&args)?.configuration.tunnels[0].settings.clone())
        };
        let usual = datagrams(&[]).expect("a configuration");
        assert!(matches!(&usual.transport, Transport::Dtls(tls) if tls.version == TlsVersion::Tls12));
        assert_eq!((usual.name.as_str(), usual.limits.idle_timeout), ("udp:5684", USUAL_SESSION));
        let day = datagrams(&["--idle-timeout", "24h", "--when-full", "evict"]).expect("a configuration");
        assert_eq!(day.limits.idle_timeout, LONGEST_SESSION);
        for option in [
            "--half-close-timeout=5",
            "--on-closed=reset",
            "--stall-timeout=5",
            "--open-on=accept",
            "--first-byte-timeout=5",
            "--warm=1",
        ] {
            let name = option.split('=').next().expect("an option");
            let said = format!("{name}: has no effect on datagrams: leave it out");
            assert_eq!(datagrams(&[option]).unwrap_err(), said);
        }
        for (options, said) in [
            (["--mode", "transparent"], "--mode: a transparent port has no datagrams: give push or buffer"),
            (["--tls-version", "1.1"], "--tls-version: DTLS has the versions 1.0, 1.2 and any"),
            (
                ["--idle-timeout", "25h"],
                "--idle-timeout: for datagrams above 0 and at most 24h: their sessions have no other end",
            ),
            (
                ["--idle-timeout", "0"],
                "--idle-timeout: for datagrams above 0 and at most 24h: their sessions have no other end",
            ),
        ] {
            assert_eq!(datagrams(&options).unwrap_err(), said);
        }
        for (args, said) in [
            (
                &["listen", "udp:1", "8443", "--to", "dtls://a:1", "--insecure"][..],
                "LISTEN: 8443 takes streams, and dtls://a:1 datagrams: listen on udp:PORT",
            ),
            (
                &["listen", "udp:1", "--to", "tcp://a:1"],
                "LISTEN: udp:1 takes datagrams, and the target streams: give dtls:// or udp://HOST:PORT",
            ),
            (
                &["listen", "udp:1", "--dynamic", "auto", "--allow-target", "*:1"],
                "LISTEN: udp:1 takes datagrams, and the target streams: give dtls:// or udp://HOST:PORT",
            ),
            (
                &["listen", "udp:1", "--to", "udp://a:1", "--insecure"],
                "--to: a plain connection has no TLS: leave out the TLS options",
            ),
            (&["connect", "udp://a:1"], "--to: standard input has no datagrams: listen on udp:PORT instead"),
        ] {
            assert_eq!(checked(args).unwrap_err(), said);
        }
        let plain =
            checked(&["listen", "udp:1", "systemd:coap", "--to", "udp://a:1"]).expect("a configuration");
        assert_eq!(plain.configuration.tunnels[0].settings.transport, Transport::Udp);
        assert!(
            plain.warnings[0].starts_with("udp://a:1 has no TLS: anybody on the way"),
            "{:?}",
            plain.warnings
        );
    }

    #[test]
    fn a_file_that_cannot_work_is_found_before_it_is_uploaded() {
        let (rsa, key) = (certificate("client-rsa.pem"), certificate("key-ec-sec1.pem"));
        let (encrypted, old) = (certificate("key-ec-encrypted.pem"), certificate("old.pem"));
        let ec = certificate("client-ec.pem");
        assert_eq!(error(&["--ca", "/nonexistent.pem"]), "--ca: /nonexistent.pem: no such file or directory");
        assert_eq!(error(&["--ca", "tests"]), "--ca: tests: is a directory");
        assert_eq!(error(&["--ca", &key]), format!("--ca: {key}: holds a EC PRIVATE KEY, not a CERTIFICATE"));
        assert_eq!(error(&["--ca", &old]), format!("--ca: {old}: Class 2 Authority expired on 2010-01-01"));
        assert_eq!(
            error(&["--ca", "system:nobody"]),
            format!("--ca: system:nobody: no root of this name in {}", certificate("store.pem"))
        );
        assert_eq!(
            error(&["--cert", &rsa, "--key", &key]),
            format!("--key: {key}: does not belong to {rsa} (client one)")
        );
        assert_eq!(error(&["--cert", &ec, "--key", &encrypted]), "--key: needs --key-password-file");
    }

    #[test]
    fn an_expired_authority_is_only_a_warning_where_dates_do_not_count() {
        let old = certificate("old.pem");
        let expected = format!("{old}: Class 2 Authority expired on 2010-01-01");
        for switch in ["--no-check-time", "--ignore-certificate=expired"] {
            let warnings = listen(&["--ca", &old, switch]).expect("a configuration").warnings;
            assert!(warnings.contains(&expected), "{warnings:?}");
        }
    }

    #[test]
    fn a_clock_that_was_never_set_judges_no_certificate() {
        let unset = Environment { unix_seconds: 0, ..environment() };
        let old = certificate("old.pem");
        let checked = checked_in(&unset, &["listen", "1", "--to", "a:1", "--ca", &old]);
        assert_eq!(checked.expect("a configuration").warnings, Vec::<String>::new());
    }

    #[test]
    fn a_certificate_that_is_about_to_expire_or_is_no_authority_is_warned_about() {
        let soon = Environment { unix_seconds: 4_733_510_400 - 12 * 24 * 3600, ..environment() };
        let checked =
            checked_in(&soon, &["listen", "1", "--to", "a:1", "--ca", ROOT]).expect("a configuration");
        assert_eq!(checked.warnings, [format!("{ROOT}: Example Root CA expires in 12 days, on 2120-01-01")]);
        let leaf = certificate("client-ec.pem");
        assert_eq!(
            listen(&["--ca", &leaf]).expect("a configuration").warnings,
            [format!(
                "{leaf}: client two is not a certificate authority, so it can vouch for no server but itself"
            )]
        );
    }

    #[test]
    fn a_client_certificate_comes_with_its_own_key() {
        let (certificate, key) = (certificate("client-ec.pem"), certificate("key-ec-pkcs8.pem"));
        let checked = listen(&["--cert", &certificate, "--key", &key]).expect("a configuration");
        let client = checked.configuration.tunnels[0]
            .settings
            .tls()
            .and_then(|tls| tls.client.clone())
            .expect("a client certificate");
        assert_eq!(client.certificate.bytes, std::fs::read(&certificate).expect("the file exists"));
        assert_eq!(client.key.bytes, std::fs::read(&key).expect("the file exists"));
        assert_eq!(checked.warnings, Vec::<String>::new());
    }

    #[test]
    fn connect_waits_for_nothing_unless_told_to() {
        let wait = |args: &[&str]| {
            let args = [&["connect", "example.org:443", "--ca", ROOT], args].concat();
            checked(&args).expect("a configuration").configuration.modem().settings.wait
        };
        let minute = Some(Duration::from_secs(60));
        assert_eq!(wait(&[]), Wait::Not);
        assert_eq!(wait(&["--retry-for", "1min"]), Wait::Limited { time: minute, retries: None });
        assert_eq!(wait(&["--max-retries", "3"]), Wait::Limited { time: None, retries: Some(3) });
        assert_eq!(wait(&["--retry-for", "0"]), Wait::Forever);
        assert_eq!(listen(&[]).expect("a configuration").configuration.modem().settings.wait, Wait::Forever);
        let connect = checked(&["connect", "a:1", "--ca", ROOT]).expect("a configuration").configuration;
        assert_eq!(connect.tunnels[0].listen, [Listen::Stdio]);
        assert_eq!(connect.tunnels[0].settings.limits.stall_timeout, Duration::ZERO);
        assert_eq!(connect.tunnels[0].settings.limits.queue_timeout, Duration::ZERO);
    }

    #[test]
    fn checks_of_the_certificate_that_are_off_are_warned_about() {
        let args = ["--ca", ROOT, "--ignore-certificate", "common-name,expired", "--ignore-chain"];
        let checked = listen(&args).expect("a configuration");
        assert_eq!(checked.configuration.tunnels[0].settings.tls().expect("TLS").ignore_certificate_items, 5);
        assert_eq!(
            checked.warnings,
            [
                "--ignore-certificate: the server's certificate is not checked for: expired, common-name",
                "--ignore-chain: the server is only half authenticated"
            ]
        );
    }
}
