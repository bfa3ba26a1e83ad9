//! What the core takes: tunnels, the modem, TLS, limits. Plain data, complete and in range; the program that
//! makes it has checked it, and nothing in this crate checks it again.
//!
//! The options that the comments name are those of the program `qssl-tunnel`. Everything has a default but what a
//! tunnel leads to and whom it trusts:
//!
//! ```
//! use std::sync::Arc;
//!
//! use qssl_core::Settings;
//! use qssl_core::settings::{AtText, Authentication, Mode, Pem, Tls, Tunnel};
//!
//! # fn from(ca: Vec<Pem>) -> Result<Settings, Box<dyn std::error::Error>> {
//! let tls = Tls::new(Authentication::Authorities(ca));
//! let tunnel = Tunnel { mode: Mode::Buffer, ..Tunnel::new("web", "example.org:443".parse()?, tls) };
//! let mut settings = Settings { tunnels: vec![Arc::new(tunnel)], ..Settings::default() };
//! settings.modem.pdp.apn = Some(AtText::new("internet")?);
//! # Ok(settings)
//! # }
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::at::{CommandSet, SOCKET_COUNT, SSL_CONTEXT_COUNT, USUAL_PATIENCE};

mod cipher;
#[doc(hidden)]
pub mod target;

pub use crate::at::{AtText, AtTextError, IdSet, PdpContextId};
pub use cipher::{CIPHERS, Cipher};
pub use target::{GrammarError, Scheme, Server, Target};

/// Everything that a [`Relay`](crate::relay::Relay) is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The ports of the one modem, at least one. A port is known by its index here.
    pub ports: Vec<Port>,
    /// The modem and its data session.
    pub modem: Modem,
    /// What clients are connected to.
    pub tunnels: Vec<Arc<Tunnel>>,
    /// `--shutdown-timeout`: how long connections may take to end after a signal.
    pub shutdown_timeout: Duration,
    /// `connect`: the first client is the only one, and its end is the end.
    pub is_single: bool,
}

impl Default for Settings {
    /// One port, and no tunnel yet.
    fn default() -> Self {
        Settings {
            ports: vec![Port::default()],
            modem: Modem::default(),
            tunnels: Vec::new(),
            shutdown_timeout: Duration::from_secs(30),
            is_single: false,
        }
    }
}

/// A way to reach the modem, as far as the core needs to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// There are several candidates, which the caller opens in turn; one that never answers is left for the next.
    pub has_candidates: bool,
    /// Which modem may be there.
    pub identity: Identity,
}

/// Which modem a port may lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// Whichever is there.
    #[default]
    Any,
    /// One of Quectel's, which ATI shows (`auto`).
    Quectel,
    /// The one with this number, which AT+GSN reports (`imei:…`).
    Imei(String),
}

/// The modem, its ports, and its data session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modem {
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
    /// `--reset-command`: whether the caller can reset the modem by other means than AT commands
    /// ([`RunResetCommand`](crate::ModemAction::RunResetCommand)). Used when everything else has failed and `recovery` allows a reboot.
    pub has_reset_command: bool,
    /// `--reset-after`: for how long the modem's ports may be away before
    /// [`RunResetCommand`](crate::ModemAction::RunResetCommand) is asked for; zero is for ever.
    pub reset_after: Duration,
    /// `--poll-interval`: how often a silent socket in buffer mode is read; zero is never, `None` 5 s
    /// where it is not certain that URCs reach us.
    pub poll_interval: Option<Duration>,
    /// `--no-wait`: give up at start instead of waiting for the device, SIM or network.
    pub wait: Wait,
    /// `--liveness-interval`: how often an idle modem is asked whether it still answers, and about a silent
    /// socket; zero is never.
    pub liveness_interval: Duration,
    /// `--command-timeout`: how long the modem may take to answer a command that needs no network.
    pub command_timeout: Duration,
    /// `--send-timeout`: how long it may take to confirm that it has taken bytes.
    pub send_timeout: Duration,
    /// `--radio`, `--radio-identity`: what is asked about the cell.
    pub radio: Radio,
    /// `--cmux`: whether one port carries several channels.
    pub cmux: Cmux,
    /// `--cmux-frame`: the most bytes of payload in a frame; `None`: 512 where the module takes that, else 127.
    pub cmux_frame: Option<u16>,
}

/// What the modem is asked about its cell, beside the traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Radio {
    /// Nothing.
    #[default]
    Off,
    /// `--radio`: one question a minute: signal, band, technology, operator, registration, temperature.
    On,
    /// `--radio-identity`: the same; and which cell and which modem it is, is shown as well.
    Identity,
}

/// `--cmux`: whether one port carries several channels (CMUX, 3GPP TS 27.010).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cmux {
    /// On a UART whose module lists AT+CMUX.
    Auto,
    /// Wherever the module does not refuse it.
    On,
    /// Never. A module that still has several channels of an earlier run leaves them.
    Leave,
    /// Never.
    #[default]
    Off,
}

/// The data session (PDP context) that carries the sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdp {
    /// `--pdp-context`, 1 by default.
    pub context: PdpContextId,
    /// `--pdp-type`.
    pub kind: PdpType,
    /// `--apn`: `None` leaves the modem's setting.
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
    /// IPv4 alone
    Ipv4,
    /// IPv6 alone
    Ipv6,
    /// both
    Ipv4v6,
}

/// `--apn-auth`: the `authentication` of AT+QICSGP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApnAuth {
    /// no user and password
    None,
    /// user and password in clear
    Pap,
    /// challenge and response
    Chap,
}

/// `--flow-control`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowControl {
    /// RTS/CTS on both sides (CRTSCTS and AT+IFC=2,2)
    RtsCts,
    /// off on both sides (AT+IFC=0,0)
    None,
}

/// `--recovery`: the highest step of the recovery ladder that may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// A target, with the mode and the TLS settings of its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The name in logs and status: from the configuration file, else the first listening address.
    pub name: String,
    /// The server that the modem connects to; `None`: each client names its own (`--dynamic`).
    pub target: Option<Target>,
    /// `--mode`.
    pub mode: Mode,
    /// What the modem's connections to it are.
    pub transport: Transport,
    /// Limits and habits.
    pub limits: Limits,
}

impl Tunnel {
    /// A tunnel to a TLS server, in the usual mode, with the usual limits.
    pub fn new(name: impl Into<String>, target: Target, tls: Tls) -> Self {
        let transport = Transport::Tls(tls);
        Tunnel {
            name: name.into(),
            target: Some(target),
            mode: Mode::default(),
            transport,
            limits: Limits::default(),
        }
    }

    /// The server that the modem connects to, and how; `None`: each client names its own.
    pub fn server(&self) -> Option<Server> {
        self.target.clone().map(|target| self.server_at(target))
    }

    /// This target as a server of the tunnel.
    pub fn server_at(&self, target: Target) -> Server {
        Server { scheme: self.transport.scheme(), target }
    }

    /// The TLS settings, if the modem's connections have TLS.
    pub fn tls(&self) -> Option<&Tls> {
        self.transport.tls()
    }

    /// Whether clients of `old` that are not connected yet may wait for this tunnel instead. What they sent must not
    /// lose its encryption, and a client must get the server that it has named, or none if it has named none.
    pub fn is_heir_of(&self, old: &Tunnel) -> bool {
        self.name == old.name
            && self.transport.scheme() == old.transport.scheme()
            && self.target.is_some() == old.target.is_some()
    }

    /// Whether messages keep their boundaries, so that each client is a datagram session.
    pub fn carries_datagrams(&self) -> bool {
        self.transport.carries_datagrams()
    }
}

/// A tunnel for tests that look at one of its settings.
#[cfg(test)]
pub(crate) fn test_tunnel() -> Tunnel {
    Tunnel::new("test", "a:1".parse().expect("a target"), Tls::new(Authentication::Insecure))
}

/// `--mode`: the access mode of a tunnel's sockets (both manuals, 1.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// the module keeps received bytes until they are read (mode 0)
    Buffer,
    /// the module sends received bytes as they come (mode 1)
    #[default]
    Push,
    /// the port becomes the stream of one connection (mode 2)
    Transparent,
}

/// What the modem's connections are: the scheme of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "there is one for each tunnel, and few tunnels")]
pub enum Transport {
    /// `HOST:PORT`: TLS over TCP.
    Tls(Tls),
    /// `tcp://HOST:PORT`: plain TCP, which anyone in between can read and change.
    Tcp,
    /// `dtls://HOST:PORT`: TLS for datagrams, over UDP.
    Dtls(Tls),
    /// `udp://HOST:PORT`: plain datagrams, which anyone in between can read and change.
    Udp,
}

impl Transport {
    /// The TLS settings, if there is TLS.
    pub fn tls(&self) -> Option<&Tls> {
        match self {
            Transport::Tls(tls) | Transport::Dtls(tls) => Some(tls),
            Transport::Tcp | Transport::Udp => None,
        }
    }

    /// The scheme of its targets.
    pub fn scheme(&self) -> Scheme {
        match self {
            Transport::Tls(_) => Scheme::Tls,
            Transport::Tcp => Scheme::Tcp,
            Transport::Dtls(_) => Scheme::Dtls,
            Transport::Udp => Scheme::Udp,
        }
    }

    /// Whether messages keep their boundaries.
    pub fn carries_datagrams(&self) -> bool {
        self.scheme().carries_datagrams()
    }

    /// Whether one of these tunnels has plain connections.
    pub(crate) fn any_is_plain(tunnels: &[Arc<Tunnel>]) -> bool {
        tunnels.iter().any(|tunnel| tunnel.transport.command_set() == CommandSet::Ip)
    }

    /// The AT commands of such a connection.
    pub(crate) fn command_set(&self) -> CommandSet {
        match self {
            Transport::Tls(_) | Transport::Dtls(_) => CommandSet::Ssl,
            Transport::Tcp | Transport::Udp => CommandSet::Ip,
        }
    }
}

/// TLS settings, of streams or of datagrams: the rows of both manuals' AT+QSSLCFG tables.
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
    /// Every setting but the authentication at its default. There is no default for that one: the maker of a
    /// [`Tls`] must state whom it trusts.
    pub fn new(authentication: Authentication) -> Self {
        Tls {
            version: TlsVersion::Tls12,
            cipher: Cipher::ANY.0,
            authentication,
            client: None,
            sni: None,
            alpn: None,
            psk: None,
            session_resumption: false,
            renegotiation: false,
            check_time: None,
            ignore_certificate_items: 0,
            ignore_chain: false,
            ignore_signature: false,
        }
    }

    /// Whether the validity dates of certificates are looked at.
    pub fn checks_time(&self) -> bool {
        self.check_time.unwrap_or(self.authentication != Authentication::Insecure)
    }
}

/// `--tls-version`: the value of "sslversion". DTLS has versions of its own: 1.2 like TLS, and 1.0, which is TLS 1.1 for
/// datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// SSL 3.0, long broken
    Ssl3,
    /// TLS 1.0
    Tls10,
    /// TLS 1.1
    Tls11,
    /// TLS 1.2
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
    /// whole trust store, which is used when no `--ca` is given.
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
    /// `--warm`, off.
    pub warm: Warm,
}

/// `--warm`: connections that are opened ahead of their clients. A tunnel in transparent mode, or without a target, has
/// none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warm {
    /// How many are kept open.
    pub count: usize,
    /// `--warm-max-age`, 50 s: one that no client has got by then is replaced. Never zero.
    pub max_age: Duration,
    /// `--warm-server-first`: what the server says before its client comes is kept for the client.
    pub server_first: bool,
}

impl Default for Warm {
    fn default() -> Self {
        Warm { count: 0, max_age: Duration::from_secs(50), server_first: false }
    }
}

/// `--when-full`: what happens to a new client when all sockets are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// it waits
    Wait,
    /// it is reset
    Reset,
    /// the datagram session that has been idle longest makes room for it, if there is one; else it waits
    Evict,
}

/// `--on-closed`: how a client learns of a `closed` URC, which does not distinguish an end from a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnClosed {
    /// as an end of file, if nothing known contradicts it
    Eof,
    /// as a reset
    Reset,
}

/// `--open-on`: when the modem's socket is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenOn {
    /// when the client is accepted
    Accept,
    /// when the client has sent its first byte
    FirstByte,
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

/// [`Pem::source`] of the certificates of the host's whole trust store.
pub const WHOLE_STORE: &str = "system";

/// The bit of [`Tls::ignore_certificate_items`] for a name that is not the server's.
pub const IGNORE_COMMON_NAME: u32 = 4;

impl Default for Modem {
    fn default() -> Self {
        Modem {
            baud: 115_200,
            flow_control: None,
            sockets: IdSet::first(SOCKET_COUNT),
            ssl_contexts: IdSet::first(SSL_CONTEXT_COUNT),
            sim_pin: None,
            pdp: Pdp::default(),
            ntp: None,
            recovery: Recovery::Session,
            has_reset_command: false,
            reset_after: Duration::from_secs(60),
            poll_interval: None,
            wait: Wait::Forever,
            liveness_interval: Duration::from_secs(60),
            command_timeout: USUAL_PATIENCE,
            send_timeout: Duration::from_secs(60),
            radio: Radio::Off,
            cmux: Cmux::Off,
            cmux_frame: None,
        }
    }
}

impl Default for Pdp {
    fn default() -> Self {
        Pdp {
            context: PdpContextId::new(1).expect("every module has PDP context 1"),
            kind: PdpType::Ipv4,
            apn: None,
            user: None,
            password: None,
            auth: ApnAuth::None,
            dns: Vec::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect_timeout: Duration::from_secs(60),
            half_close_timeout: Duration::from_secs(60),
            idle_timeout: Duration::ZERO,
            lifetime: Duration::ZERO,
            first_byte_timeout: Duration::ZERO,
            queue_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(10),
            when_full: WhenFull::Wait,
            on_closed: OnClosed::Eof,
            open_on: OpenOn::Accept,
            max_clients: None,
            warm: Warm::default(),
        }
    }
}
