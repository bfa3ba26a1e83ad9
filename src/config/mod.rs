//! The checked configuration: plain data that the rest of the program reads and does not check again.
//!
//! The command line and the configuration file both end here, in one [`Configuration`]. Everything in it is
//! in range and every text is safe to put into an AT command.
//!
//! `cli` has the options as clap parsed them, and `file` reads the same options from TOML. Each small grammar
//! has a file of its own. `checks` turns options of both sources into the types below.
//!
//! File and command line are parsed apart, and merged option by option. If clap got one list of words, those of the file
//! would override environment variables, although it must be the other way round, and repeated options would add up
//! instead of replacing the file's. Only after a complaint, the values of the file are parsed one by one, and the command
//! line is checked alone, so that an error names either file and line or the option, whichever is to blame.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use qssl_core::settings::{self, Settings};
pub use qssl_core::settings::{
    ApnAuth, Authentication, ClientCertificate, Cmux, FlowControl, GrammarError, Limits, Mode, OnClosed,
    OpenOn, Pdp, PdpType, Pem, Psk, Radio, Recovery, Scheme, Secret, Server, Target, Tls, TlsVersion,
    Transport, Wait, Warm, WhenFull,
};

pub use qssl_core::fleet::Policy;
pub use qssl_proxy::{AllowedTarget, Credentials, Protocol};

use crate::terminal::printable;

mod budget;
pub(crate) mod ca;
pub(crate) mod certificate_items;
mod checks;
pub(crate) mod choice;
mod cidr;
pub(crate) mod cipher;
mod control;
mod defaults;
mod device;
pub(crate) mod duration;
pub mod file;
mod grammar;
mod listen;
pub(crate) mod ranges;
mod render;
pub(crate) mod secret;
pub(crate) mod trust;
pub(crate) mod values;

pub(crate) use checks::DEFAULT_PATH;
pub use checks::{from_connect, from_doctor, from_listen, from_modem, from_run, from_text};
pub(crate) use grammar::nearest;

/// A configuration, and the warnings about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The configuration.
    pub configuration: Configuration,
    /// How much to log: from the command line, or else from the file.
    pub verbosity: Verbosity,
    /// Warnings to log at start, one line each.
    pub warnings: Vec<String>,
    /// What `run` reads: the file, and those that it names.
    pub files: Vec<PathBuf>,
}

/// What the checks need to know about the host. It is an argument, so that they can be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The host's clock, in seconds since 1970. If it was never set (before 2024), no certificate is checked
    /// against it.
    pub unix_seconds: i64,
    /// The environment variable SSL_CERT_FILE: the host's trust store, if it is not where distributions put it.
    pub ssl_cert_file: Option<PathBuf>,
}

/// Why the configuration is invalid: one line that begins with the option, or with file, line and column. The
/// exit status is 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", printable(.0))]
pub struct ConfigError(String);

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// `-q`: warnings and errors.
    Quiet,
    /// Start, readiness, and one line per connection.
    Normal,
    /// `-v`: commands and answers as well.
    Commands,
    /// `-vv`: the whole transcript, payload as `[n]`, secrets masked.
    Transcript,
}

/// A complete, checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The modems: at least one.
    pub modems: Vec<Modem>,
    /// The tunnels: at least one, except for commands that need only the modem.
    pub tunnels: Vec<Tunnel>,
    /// Options of the process as a whole.
    pub process: Process,
}

/// A modem, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modem {
    /// Its name in logs and status.
    pub name: String,
    /// `--device`: its ports, in the order given; at least one.
    pub devices: Vec<Device>,
    /// `--reset-command`: run when everything else has failed and `recovery` allows a reboot.
    pub reset_command: Option<String>,
    /// The modem and its data session.
    pub settings: settings::Modem,
}

impl Modem {
    /// A modem without options, on these devices.
    pub fn on(devices: Vec<Device>) -> Modem {
        let name = DEFAULT_MODEM_NAME.to_owned();
        Modem { name, devices, reset_command: None, settings: settings::Modem::default() }
    }
}

/// The most modems of a configuration.
pub const MODEMS_MAX: usize = 32;

/// The most ports of a modem.
pub const PORTS_MAX: usize = 32;

/// The name of a modem that was given none.
pub const DEFAULT_MODEM_NAME: &str = "modem";

impl Configuration {
    /// The modem of a command that has one.
    pub fn modem(&self) -> &Modem {
        &self.modems[0]
    }

    /// The modem with this name.
    pub fn modem_called(&self, name: &str) -> Option<&Modem> {
        self.modems.iter().find(|modem| modem.name == name)
    }

    /// How clients of the tunnel with this name choose their targets, if they do.
    pub fn dynamic(&self, name: &str) -> Option<&Arc<Dynamic>> {
        self.tunnels.iter().find(|tunnel| tunnel.settings.name == name)?.dynamic.as_ref()
    }

    /// The names of the modems that may serve this tunnel, in its order.
    pub fn modems_of<'a>(&'a self, tunnel: &'a Tunnel) -> Vec<&'a str> {
        match tunnel.modems.names.is_empty() {
            true => self.modems.iter().map(|modem| &*modem.name).collect(),
            false => tunnel.modems.names.iter().map(String::as_str).collect(),
        }
    }

    /// The part that the core of this modem takes.
    pub fn settings(&self, modem: &Modem) -> Settings {
        let port = |device: &Device| settings::Port {
            has_candidates: device.has_candidates(),
            identity: match device {
                Device::Imei(number) => settings::Identity::Imei(number.clone()),
                Device::Auto => settings::Identity::Quectel,
                _ => settings::Identity::Any,
            },
        };
        let of_modem = self.tunnels.iter().filter(|tunnel| tunnel.may_use(&modem.name));
        let is_single = of_modem.clone().any(|tunnel| tunnel.listen.contains(&Listen::Stdio));
        let has_streams = of_modem.clone().any(|tunnel| tunnel.settings.mode == settings::Mode::Transparent);
        let cmux = match modem.settings.cmux {
            settings::Cmux::Off => settings::Cmux::Off,
            // A few commands need no channels, and the next program would have to find the module in that mode.
            _ if self.tunnels.is_empty() => settings::Cmux::Leave,
            // One connection has no use for a second channel, unless it is a stream.
            settings::Cmux::Auto if is_single && !has_streams => settings::Cmux::Leave,
            cmux => cmux,
        };
        let has_reset_command = modem.reset_command.is_some();
        Settings {
            ports: modem.devices.iter().map(port).collect(),
            modem: settings::Modem { has_reset_command, cmux, ..modem.settings.clone() },
            tunnels: of_modem.map(|tunnel| tunnel.settings.clone()).collect(),
            shutdown_timeout: self.process.shutdown_timeout,
            is_single,
        }
    }
}

/// Where the clients of a tunnel are connected to, in words.
pub fn destination(tunnel: &settings::Tunnel) -> String {
    tunnel.server().map_or_else(|| "targets that clients name".to_owned(), |server| server.to_string())
}

/// Where clients connect, which of them may, and what they are connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Where clients connect.
    pub listen: Vec<Listen>,
    /// `--allow`: the networks that clients may connect from; empty allows all.
    pub allow: Vec<Cidr>,
    /// `--dynamic`: how clients name their targets, where the tunnel has none.
    pub dynamic: Option<Arc<Dynamic>>,
    /// Which modems may serve it.
    pub modems: Modems,
    /// The target, and how it is reached.
    pub settings: Arc<settings::Tunnel>,
}

impl Tunnel {
    /// Whether the modem with this name may serve it.
    pub fn may_use(&self, modem: &str) -> bool {
        self.modems.names.is_empty() || self.modems.names.iter().any(|name| name == modem)
    }
}

/// The modems that may serve a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modems {
    /// Their names, in order; without any, all may.
    pub names: Vec<String>,
    /// Which of them a new client goes to.
    pub policy: Policy,
}

/// How clients name their targets, and which they may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dynamic {
    /// `--dynamic`.
    pub protocol: Protocol,
    /// `--allow-target`: at least one.
    pub allowed: Vec<AllowedTarget>,
    /// `--proxy-user-file`: who may use it; `None`: anyone who can connect.
    pub users: Option<Arc<Credentials>>,
}

impl Dynamic {
    /// Whether clients may name this target.
    pub fn allows(&self, target: &Target) -> bool {
        self.allowed.iter().any(|allowed| allowed.allows(target))
    }

    /// Whether clients are let in as under `old`.
    pub fn greets_like(&self, old: &Dynamic) -> bool {
        (self.protocol, &self.users) == (old.protocol, &old.users)
    }
}

/// A way to reach the modem, as typed after `--device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A tty.
    Path(PathBuf),
    /// A pattern with `*`, `?` or `[`: the first match in sorted order.
    Glob(String),
    /// `auto`: the first tty that answers AT, of the one Quectel modem in sysfs.
    Auto,
    /// `usb:2c7c:0125[,if=2]`.
    Usb {
        /// USB vendor id.
        vendor: u16,
        /// USB product id.
        product: u16,
        /// USB interface number; `None` takes the AT port of the family.
        interface: Option<u8>,
    },
    /// `imei:…`: the Quectel modem that answers `AT+GSN` with this number.
    Imei(String),
    /// `rfc2217://host:port`: a serial device server that speaks Telnet COM-port control.
    Rfc2217(Target),
    /// `tcp://host:port`: raw bytes.
    Tcp(Target),
    /// `emulator[:OPTIONS]`: the embedded modem, OPTIONS being those of `qssl-modem-emulator`.
    Emulator(String),
}

/// Where a tunnel listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A port or an address: streams, over TCP.
    Tcp(At),
    /// The same after `udp:`: datagrams.
    Udp(At),
    /// `unix:/path[,mode=0660][,owner=NAME][,group=NAME]`.
    Unix {
        /// Where the socket file is made.
        path: PathBuf,
        /// Permission bits.
        mode: Option<u32>,
        /// User name or number.
        owner: Option<String>,
        /// Group name or number.
        group: Option<String>,
    },
    /// `systemd:NAME`: a socket passed by systemd under this name (LISTEN_FDNAMES).
    Systemd(String),
    /// Standard input and output, for `connect`.
    Stdio,
}

/// Where on the network a tunnel listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A port alone: 127.0.0.1 and ::1. If the host lacks one of the two, that is a warning.
    Loopback(u16),
    /// An address with a port.
    Address(SocketAddr),
}

/// A network: an address and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The address, with all bits after the prefix zero.
    pub address: std::net::IpAddr,
    /// 0–32 or 0–128.
    pub prefix: u8,
}

/// Options of the process as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// `--shutdown-timeout`, 30 s.
    pub shutdown_timeout: Duration,
    /// `--control`: where the control socket is made.
    pub control: Control,
    /// `--state-directory`: what is kept over restarts.
    pub state_directory: Option<PathBuf>,
    /// `--monthly-budget`: bytes per month, and what happens when they are spent.
    pub monthly_budget: Option<Budget>,
    /// `-x`: print traffic as hex.
    pub hex_dump: bool,
    /// `-r`: record what clients sent.
    pub record_up: Option<PathBuf>,
    /// `-R`: record what servers sent.
    pub record_down: Option<PathBuf>,
    /// `--metrics`: where they are served over HTTP, a [`Listen::Tcp`] or [`Listen::Unix`].
    pub metrics: Option<Listen>,
    /// `--no-sandbox`: stay outside of it.
    pub no_sandbox: bool,
}

/// `--control`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Control {
    /// Not given: `run` has a control socket at the default path, other commands have none.
    #[default]
    Default,
    /// `none`
    Off,
    /// At this [`Listen::Unix`].
    At(Listen),
}

/// A limit on the data volume of a calendar month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Payload in both directions and an estimate for each TLS handshake.
    pub bytes: u64,
    /// Whether to stop accepting clients when it is spent, instead of only warning.
    pub stop: bool,
}
