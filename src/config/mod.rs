//! What the user wants, checked: plain data that the rest of the program reads and never doubts.
//!
//! The command line and the configuration file both end here, in one [`Configuration`]. Everything in it
//! is in range and every text is safe to put into an AT command, so nothing behind this module checks again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::at::{AtText, IdSet, PdpContextId};

/// A complete, checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The modem and how it is reached.
    pub modem: Modem,
    /// The tunnels; at least one.
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
    /// `--no-wait`: give up at start instead of waiting for the device, SIM or network.
    pub wait: Wait,
    /// `--liveness-interval`: how often an idle modem is asked whether it still answers; zero is never.
    pub liveness_interval: Duration,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PdpType {
    /// 1
    Ipv4,
    /// 2
    Ipv6,
    /// 3
    Ipv4v6,
}

/// `--apn-auth`: the `authentication` of AT+QICSGP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApnAuth {
    /// 0
    None,
    /// 1
    Pap,
    /// 2
    Chap,
}

/// A way to reach the modem, as typed after `--device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A tty.
    Path(PathBuf),
    /// A pattern with `*`, `?` or `[`: the first match in sorted order.
    Glob(String),
    /// `auto`: the AT port of the one Quectel modem in sysfs.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowControl {
    /// RTS/CTS on both sides: CRTSCTS and AT+IFC=2,2.
    RtsCts,
    /// AT+IFC=0,0.
    None,
}

/// `--recovery`: the highest step of the recovery ladder that may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recovery {
    /// Drain and resynchronise the conversation.
    Resync,
    /// Close and open the port again.
    Port,
    /// Rebuild the data session.
    Session,
    /// AT+CFUN=1,1, then the reset command.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Mode 0: the module keeps received bytes until they are read.
    Buffer,
    /// Mode 1: the module sends received bytes as they come.
    Push,
    /// Mode 2: the port becomes the stream.
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

/// `--tls-version`: the value of "sslversion".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 0
    Ssl3,
    /// 1
    Tls10,
    /// 2
    Tls11,
    /// 3
    Tls12,
    /// 4
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
    /// Where it came from, for messages: a file name or `system:NAME`.
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
    /// `-t/--half-close-timeout`, 60 s from the last byte.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits in line.
    Wait,
    /// It is reset.
    Reset,
}

/// `--on-closed`: how a client learns of a `closed` URC, which does not tell an end from a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnClosed {
    /// As an end of file, if nothing known speaks against it.
    Eof,
    /// As a reset.
    Reset,
}

/// `--open-on`: when the modem's socket is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenOn {
    /// When the client is accepted.
    Accept,
    /// When the client has sent its first byte.
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
    /// `--control`: where the control socket is made; `None` is no control socket.
    pub control: Option<PathBuf>,
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

/// A limit on the data volume of a calendar month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes on the wire in both directions.
    pub bytes: u64,
    /// Stop accepting clients when it is spent, rather than only warn.
    pub stop: bool,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pem({}, {} bytes)", self.source, self.bytes.len())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
