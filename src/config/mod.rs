//! What the user wants, checked: plain data that the rest of the program reads and never doubts.
//!
//! The command line and the configuration file both end here, in one [`Configuration`]. Everything in it
//! is in range and every text is safe to put into an AT command, so nothing behind this module checks again.
//!
//! The way there: `cli` has the options as clap read them; `file` reads the same options from TOML; each
//! small grammar has a file of its own; `checks` turns options into the types below, for both alike.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::at::{AtText, IdSet, PdpContextId};
use crate::terminal::printable;

mod budget;
pub mod ca;
pub mod certificate_items;
mod checks;
pub mod cidr;
pub mod cipher;
mod control;
mod defaults;
pub mod device;
pub mod duration;
pub mod file;
mod grammar;
pub mod listen;
pub mod ranges;
mod render;
pub(crate) mod secret;
pub mod target;
pub mod values;

pub(crate) use checks::DEFAULT_PATH;
pub use checks::{from_connect, from_doctor, from_listen, from_modem, from_run, from_text};
pub use grammar::GrammarError;
pub(crate) use grammar::nearest;

/// A configuration, and what its maker has to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What to do.
    pub configuration: Configuration,
    /// How much to log, from the command line, else from the file.
    pub verbosity: Verbosity,
    /// What the user should know at start, one line each; to be logged as warnings.
    pub warnings: Vec<String>,
}

/// What the checks need to know of the machine; passed in, so that they can be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The host's clock, in seconds since 1970. A clock that is plainly unset (before 2024) judges no
    /// certificate.
    pub unix_seconds: i64,
    /// The environment's SSL_CERT_FILE: the host's trust store, if not where distributions put it.
    pub ssl_cert_file: Option<PathBuf>,
}

/// Why there is no configuration: one line, with the option or with file, line and column in front. The
/// exit status is 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", printable(.0))]
pub struct ConfigError(String);

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// `-q`: warnings and errors.
    Quiet,
    /// Start, readiness, one line a connection.
    Normal,
    /// `-v`: commands and answers as well.
    Commands,
    /// `-vv`: the whole transcript, payload as `[n]`, secrets masked.
    Transcript,
}

/// A complete, checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The modem and how it is reached.
    pub modem: Modem,
    /// The tunnels; at least one, but for commands that are about the modem alone.
    pub tunnels: Vec<Tunnel>,
    /// What concerns the process as a whole.
    pub process: Process,
}

/// The modem, its ports, and its data session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modem {
    /// `--device`: the ports of this one modem, in the order given; at least one.
    pub devices: Vec<Device>,
    /// `--baud`: bits per second on a UART. USB ports ignore it.
    pub baud: u32,
    /// `--flow-control`: `None` means RTS/CTS on UARTs and none elsewhere.
    pub flow_control: Option<FlowControl>,
    /// `--sockets`: the socket numbers that are ours.
    pub sockets: IdSet,
    /// `--ssl-contexts`: the SSL contexts that are ours.
    pub ssl_contexts: IdSet,
    /// `--sim-pin-file`: read when the SIM asks for it; tried once, never again if refused.
    pub sim_pin: Option<Secret>,
    /// The data session.
    pub pdp: Pdp,
    /// `--ntp`: set the modem's clock from this server instead of from the host's clock.
    pub ntp: Option<AtText>,
    /// `--recovery`: how far the recovery ladder may climb.
    pub recovery: Recovery,
    /// `--reset-command`: run when everything else has failed and `recovery` allows a reboot.
    pub reset_command: Option<String>,
    /// `--reset-after`: for how long the modem's ports may be away before `reset_command` is run; zero is for ever.
    pub reset_after: Duration,
    /// `--poll-interval`: how often a socket in buffer mode of which nothing is heard is read; zero is never, `None` 5 s
    /// where it is not certain that URCs reach us.
    pub poll_interval: Option<Duration>,
    /// `--no-wait`: give up at start instead of waiting for the device, SIM or network.
    pub wait: Wait,
    /// `--liveness-interval`: how often an idle modem is asked whether it still answers; zero is never.
    pub liveness_interval: Duration,
    /// `--command-timeout`: how long the modem may take to answer a command that needs no network.
    pub command_timeout: Duration,
    /// `--send-timeout`: how long it may take to confirm that it has taken bytes.
    pub send_timeout: Duration,
}

/// The data session (PDP context) that carries the sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdp {
    /// `--pdp-context`, 1 by default.
    pub context: PdpContextId,
    /// `--pdp-type`.
    pub kind: PdpType,
    /// `--apn`: `None` leaves what the modem has.
    pub apn: Option<AtText>,
    /// `--apn-user`.
    pub user: Option<AtText>,
    /// `--apn-password-file`.
    pub password: Option<Secret>,
    /// `--apn-auth`.
    pub auth: ApnAuth,
    /// `--dns`: one or two addresses; empty leaves what the network gives.
    pub dns: Vec<std::net::IpAddr>,
}

/// `--pdp-type`: the `context_type` of AT+QICSGP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PdpType {
    /// IPv4 alone
    Ipv4,
    /// IPv6 alone
    Ipv6,
    /// both
    Ipv4v6,
}

/// `--apn-auth`: the `authentication` of AT+QICSGP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ApnAuth {
    /// no user and password
    None,
    /// user and password in clear
    Pap,
    /// challenge and response
    Chap,
}

/// A way to reach the modem, as typed after `--device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A tty.
    Path(PathBuf),
    /// A pattern with `*`, `?` or `[`: the first match in sorted order.
    Glob(String),
    /// `auto`: of the ttys of the one Quectel modem in sysfs, the first that answers AT.
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
    /// `imei:…`: the Quectel modem that answers AT+GSN with this number.
    Imei(String),
    /// `rfc2217://host:port`: a serial device server that speaks Telnet COM-port control.
    Rfc2217(HostPort),
    /// `tcp://host:port`: raw bytes.
    Tcp(HostPort),
    /// `emulator[:OPTIONS]`: the embedded modem, OPTIONS being those of `qssl-modem-emulator`.
    Emulator(String),
}

/// A host and a port on the host's own network (not the modem's).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// 1–65535.
    pub port: u16,
}

/// `--flow-control`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FlowControl {
    /// RTS/CTS on both sides (CRTSCTS and AT+IFC=2,2)
    #[value(name = "rtscts")]
    RtsCts,
    /// off on both sides (AT+IFC=0,0)
    None,
}

/// `--recovery`: the highest step of the recovery ladder that may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Recovery {
    /// drain and resynchronise the conversation
    Resync,
    /// close the port and open it again
    Port,
    /// rebuild the data session
    Session,
    /// reboot the modem, which also cuts whatever else uses it
    Reboot,
}

/// What to do while the modem cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Wait for ever.
    Forever,
    /// `--no-wait`: the first failure ends the process with its exit status.
    Not,
    /// `--retry-for` and `--max-retries`: give up when either limit is reached.
    Limited {
        /// Total time.
        time: Option<Duration>,
        /// Attempts after the first.
        retries: Option<u32>,
    },
}

/// A listening address or several, their target, mode and TLS settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The name in logs and status: from the configuration file, else the first listening address.
    pub name: String,
    /// Where clients connect.
    pub listen: Vec<Listen>,
    /// The TLS server that the modem connects to.
    pub target: Target,
    /// `--mode`.
    pub mode: Mode,
    /// TLS settings of the modem's connection.
    pub tls: Tls,
    /// Limits and habits.
    pub limits: Limits,
    /// `--allow`: who may connect; empty allows everybody who reaches the address.
    pub allow: Vec<Cidr>,
}

/// Where a tunnel listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A bare port: 127.0.0.1 and ::1; one of the two missing on the host is a warning.
    Loopback(u16),
    /// An address typed out.
    Address(SocketAddr),
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

/// A TLS server as the modem is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: AtText,
    /// 1–65535.
    pub port: u16,
}

/// `--mode`: the access mode of a tunnel's sockets (both manuals, 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// the module keeps received bytes until they are read (mode 0)
    Buffer,
    /// the module sends received bytes as they come (mode 1)
    Push,
    /// the port becomes the stream of one connection (mode 2)
    Transparent,
}

/// TLS settings: the rows of both manuals' AT+QSSLCFG tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `--tls-version`: "sslversion".
    pub version: TlsVersion,
    /// `--cipher`: "ciphersuite"; 0xFFFF is any.
    pub cipher: u16,
    /// Who is authenticated: "seclevel", "cacert", "cacertex".
    pub authentication: Authentication,
    /// `--cert`, `--key`: "clientcert", "clientkey".
    pub client: Option<ClientCertificate>,
    /// `--sni`, `--no-sni`: `None` is on wherever the module has it.
    pub sni: Option<bool>,
    /// `--alpn`.
    pub alpn: Option<AtText>,
    /// `--psk-identity`, `--psk-key-file`.
    pub psk: Option<Psk>,
    /// `--session-resumption`: "session_cache".
    pub session_resumption: bool,
    /// `--renegotiation`.
    pub renegotiation: bool,
    /// `--check-time`, `--no-check-time`: "ignorelocaltime" inverted; `None` checks if there is a CA.
    pub check_time: Option<bool>,
    /// `--ignore-certificate`: the sum for "ignorecertitem".
    pub ignore_certificate_items: u32,
    /// `--ignore-chain`: "ignoremulticertchainverify".
    pub ignore_chain: bool,
    /// `--ignore-signature`: "ignoreinvalidcertsign".
    pub ignore_signature: bool,
}

impl Tls {
    /// Whether the validity dates of certificates are looked at.
    pub fn checks_time(&self) -> bool {
        self.check_time.unwrap_or(self.authentication != Authentication::Insecure)
    }
}

/// `--tls-version`: the value of "sslversion".
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsVersion {
    /// SSL 3.0, long broken
    Ssl3,
    /// TLS 1.0
    #[value(name = "1.0")]
    Tls10,
    /// TLS 1.1
    #[value(name = "1.1")]
    Tls11,
    /// TLS 1.2
    #[value(name = "1.2")]
    Tls12,
    /// whichever of these the server takes
    Any,
}

/// Whether and how the server is authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// `--insecure`: seclevel 0.
    Insecure,
    /// seclevel 1 (2 with a client certificate), against these certificate authorities, one PEM
    /// certificate each. Never empty.
    Authorities(Vec<Pem>),
}

/// A PEM file's content, checked on the host to be what it claims.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// Where it came from, for messages: a file name, `system:NAME`, or `system` alone for the host's
    /// whole trust store, which is what stands in when no `--ca` is given.
    pub source: String,
    /// The PEM text that is uploaded.
    pub bytes: Vec<u8>,
}

/// A client certificate with its key (seclevel 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate.
    pub certificate: Pem,
    /// Its private key.
    pub key: Pem,
    /// `--key-password-file`.
    pub key_password: Option<Secret>,
}

/// A pre-shared key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Psk {
    /// `--psk-identity`, 0–255 characters.
    pub identity: AtText,
    /// The key, 0–255 characters.
    pub key: Secret,
}

/// A text that must never be shown: its `Debug` is `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub AtText);

/// Limits and habits of a tunnel. A duration of zero switches its limit off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `-w/--connect-timeout`, 60 s: how long an open may take; sets "negotiatetime".
    pub connect_timeout: Duration,
    /// `-t/--half-close-timeout`, 60 s from the last byte that moved, once everything was handed over.
    pub half_close_timeout: Duration,
    /// `-T/--idle-timeout`, off.
    pub idle_timeout: Duration,
    /// `--lifetime`, off: a connection is reset when it is this old.
    pub lifetime: Duration,
    /// `--first-byte-timeout`, off: a client that has sent nothing by then is reset.
    pub first_byte_timeout: Duration,
    /// `--queue-timeout`, 30 s: how long a client waits for a free socket.
    pub queue_timeout: Duration,
    /// `--stall-timeout`, 60 s: how long a client may hold up others by not reading.
    pub stall_timeout: Duration,
    /// `--close-timeout`, 10 s: the timeout of AT+QSSLCLOSE, 0–65535 s.
    pub close_timeout: Duration,
    /// `--when-full`.
    pub when_full: WhenFull,
    /// `--on-closed`.
    pub on_closed: OnClosed,
    /// `--open-on`.
    pub open_on: OpenOn,
    /// `--max-clients`: connections of this tunnel at once, waiting ones included; `None` is no limit of
    /// its own.
    pub max_clients: Option<usize>,
}

/// `--when-full`: what a client meets when all sockets are busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhenFull {
    /// it waits in line
    Wait,
    /// it is reset
    Reset,
}

/// `--on-closed`: how a client learns of a `closed` URC, which does not tell an end from a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnClosed {
    /// as an end of file, if nothing known speaks against it
    Eof,
    /// as a reset
    Reset,
}

/// `--open-on`: when the modem's socket is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OpenOn {
    /// when the client is accepted
    Accept,
    /// when the client has sent its first byte
    FirstByte,
}

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The address, with all bits behind the prefix zero.
    pub address: std::net::IpAddr,
    /// 0–32 or 0–128.
    pub prefix: u8,
}

/// What concerns the process as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// `--shutdown-timeout`, 30 s.
    pub shutdown_timeout: Duration,
    /// `--control`: where the control socket is made.
    pub control: Control,
    /// `--state-directory`: what is kept over restarts.
    pub state_directory: Option<PathBuf>,
    /// `--monthly-budget`: bytes a month, and what happens then.
    pub monthly_budget: Option<Budget>,
    /// `-x`: print traffic as hex.
    pub hex_dump: bool,
    /// `-r`: record what clients sent.
    pub record_up: Option<PathBuf>,
    /// `-R`: record what far ends sent.
    pub record_down: Option<PathBuf>,
}

/// `--control`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Control {
    /// Nothing was said: `run` has a control socket in the usual place, others have none.
    #[default]
    Default,
    /// `none`
    Off,
    /// Here, which is a [`Listen::Unix`].
    At(Listen),
}

/// A limit on the data volume of a calendar month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Payload in both directions and an estimate for each TLS handshake.
    pub bytes: u64,
    /// Stop accepting clients when it is spent, rather than only warn.
    pub stop: bool,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({}, {} bytes)", self.source, self.bytes.len())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
