//! The command line: the clap definition and nothing else.
//!
//! Help, manual pages and completions are generated from it, and the configuration file takes its keys and
//! their types from it (`config::file`), so that an option exists in one place. Nearly everything is optional
//! here: defaults and the rules between options are applied by the checks of `config`, for the command line
//! and the file alike. A test compares the defaults that help texts name with the real ones.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolishValueParser, NonEmptyStringValueParser};
use clap::error::ErrorKind;
use clap::{
    ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum, ValueHint,
};

use crate::config::ca::CaSource;
use crate::config::certificate_items::CertificateItem;
use crate::config::choice::choice;
use crate::config::cipher;
use crate::config::values::{at_text, host, pdp_context, whole};
use crate::config::{
    AllowedTarget, ApnAuth, Budget, Cidr, Cmux, Control, Device, FlowControl, Listen, Mode, OnClosed, OpenOn,
    PdpType, Protocol, Recovery, Server, TlsVersion, WhenFull, duration, ranges,
};
use qssl_core::at::{AtText, IdSet, PdpContextId};
use qssl_core::settings::Cipher;

/// Bridges local TCP to TLS connections made inside a Quectel cellular modem
///
/// Clients connect to a local address. For each client the modem opens a TLS connection of its own
/// (AT+QSSLOPEN, sent over the serial port), and the program carries the bytes both ways. UDP is bridged to DTLS in the
/// same way.
#[derive(Clone, Debug, Parser)]
#[command(name = "qssl-tunnel", bin_name = "qssl-tunnel", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Listen locally and connect every client to a TLS server through the modem
    Listen(Box<ListenArgs>),
    /// Connect standard input and output to a TLS server through the modem
    Connect(Box<ConnectArgs>),
    /// Run the tunnels of a configuration file
    Run(Box<RunArgs>),
    /// Show the state of a running daemon and its modem
    Status(Box<StatusArgs>),
    /// Send one AT command to the modem, between the commands of a running daemon
    At(Box<AtArgs>),
    /// Find out why a modem does not connect, step by step
    Doctor(Box<DoctorArgs>),
    /// Measure the module at hand, and write what was found to a module file
    ///
    /// It takes less than a minute, and some five minutes with HOST:PORT. What is changed for a measurement is put back,
    /// also after Ctrl-C. At the end a table shows what the module's manual says, what the tunnel does about it, what was
    /// measured, and whether the tunnel copes with that. qssl-modem-emulator --module FILE then behaves like this module.
    Survey(Box<SurveyArgs>),
    /// Manage the certificates and keys that are stored in the modem
    Cert(Box<CertArgs>),
    /// Show a verified transfer through the embedded modem and a local TLS server
    #[cfg(feature = "emulator")]
    Demo(DemoArgs),
    /// Not in this build: print how to get it
    #[cfg(not(feature = "emulator"))]
    #[command(hide = true)]
    Demo(MissingDemo),
}

/// The arguments of `demo` in a build without the embedded modem, which are ignored.
#[cfg(not(feature = "emulator"))]
#[derive(Args, Clone, Debug)]
pub struct MissingDemo {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<String>,
}

/// Arguments of `listen`.
#[derive(Args, Clone, Debug)]
#[command(after_help = ENVIRONMENT, after_long_help = "\
Every option can be set in the environment: --connect-timeout as QSSL_TUNNEL_CONNECT_TIMEOUT.

Examples:
  qssl-tunnel listen 8443 --to example.org:443 --ca 'system:ISRG Root X1'
  curl --connect-to example.org:80:127.0.0.1:8443 http://example.org/

  qssl-tunnel listen 1883 --to broker.example:8883 --ca broker-ca.pem -d /dev/ttyUSB2
  mosquitto_pub -h 127.0.0.1 -t greeting -m hello

  qssl-tunnel listen unix:/run/web.sock,mode=0660,group=web --to [2001:db8::1]:443 --insecure

  qssl-tunnel listen udp:5684 --to dtls://coap.example:5684 --ca coap-ca.pem
  coap-client coap://127.0.0.1:5684/time")]
pub struct ListenArgs {
    /// Where clients connect: PORT (loopback), ADDRESS:PORT, udp:PORT, unix:/PATH or systemd:NAME
    ///
    /// A port alone listens on 127.0.0.1 and ::1 only. Any other address must be given, such as 0.0.0.0:8443
    /// for all. udp:PORT and udp:ADDRESS:PORT take datagrams, for a target dtls:// or udp://. unix:/path may be followed by ,mode=0600 ,owner=NAME and ,group=NAME; the mode is 0660
    /// by default. systemd:NAME takes the socket that systemd passes under this name. May be given several times.
    #[arg(required = true, value_name = "LISTEN")]
    pub listen: Vec<Listen>,

    /// Server that the modem connects to: HOST:PORT with TLS, tcp://HOST:PORT without; needed unless --dynamic is given
    ///
    /// An IPv6 address is given in brackets. dtls://HOST:PORT carries datagrams with TLS, udp://HOST:PORT without. Over
    /// tcp:// and udp:// nothing is encrypted unless the client does it.
    #[arg(long, value_name = "HOST:PORT", env = "QSSL_TUNNEL_TO", hide_env = true, value_hint = ValueHint::Hostname)]
    pub to: Option<Server>,

    /// Whether clients choose their targets.
    #[command(flatten)]
    pub dynamic: DynamicOptions,

    /// How a connection is carried and ended.
    #[command(flatten)]
    pub stream: StreamOptions,
    /// Who is served, and for how long.
    #[command(flatten)]
    pub clients: ClientOptions,
    /// TLS settings.
    #[command(flatten)]
    pub tls: TlsOptions,
    /// The modem.
    #[command(flatten)]
    pub modem: ModemOptions,
    /// The process.
    #[command(flatten)]
    pub process: ProcessOptions,
    /// Logging.
    #[command(flatten)]
    pub logging: LoggingOptions,
}

/// Arguments of `connect`.
#[derive(Args, Clone, Debug)]
#[command(after_help = ENVIRONMENT, after_long_help = "\
Every option can be set in the environment: --connect-timeout as QSSL_TUNNEL_CONNECT_TIMEOUT.

Examples:
  printf 'GET / HTTP/1.0\\r\\nHost: example.org\\r\\n\\r\\n' |
      qssl-tunnel connect example.org:443 --ca 'system:ISRG Root X1'

  ssh -o ProxyCommand='qssl-tunnel connect %h:443 --ca front.pem' gateway.example

Where a daemon has the modem, connect goes through its tunnel to the server, with that tunnel's settings.")]
pub struct ConnectArgs {
    /// Server that the modem connects to: HOST:PORT with TLS, tcp://HOST:PORT without
    ///
    /// An IPv6 address is given in brackets. Over tcp:// nothing is encrypted unless the client does it.
    #[arg(value_name = "HOST:PORT", value_hint = ValueHint::Hostname)]
    pub to: Server,

    /// How the connection is carried and ended.
    #[command(flatten)]
    pub stream: StreamOptions,
    /// TLS settings.
    #[command(flatten)]
    pub tls: TlsOptions,
    /// The modem.
    #[command(flatten)]
    pub modem: ModemOptions,
    /// The process.
    #[command(flatten)]
    pub process: ProcessOptions,
    /// Logging.
    #[command(flatten)]
    pub logging: LoggingOptions,
}

/// Arguments of `run`. The options here, and their environment variables, override the file.
#[derive(Args, Clone, Debug)]
#[command(after_help = ENVIRONMENT, after_long_help = "\
Every option can be set in the environment: --connect-timeout as QSSL_TUNNEL_CONNECT_TIMEOUT.

Examples:
  qssl-tunnel run --check
  qssl-tunnel run --config /etc/qssl-tunnel.toml -d /dev/ttyUSB3 -v")]
pub struct RunArgs {
    /// Configuration file, see qssl-tunnel.toml(5) [default: /etc/qssl-tunnel.toml]
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_CONFIG", hide_env = true, value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Check the configuration, print what is in effect, and end
    ///
    /// The output is TOML, defaults included, with secrets masked. With --quiet there is no output. Nothing
    /// is opened.
    #[arg(long, env = "QSSL_TUNNEL_CHECK", hide_env = true, value_parser = BoolishValueParser::new())]
    pub check: bool,

    /// The modem.
    #[command(flatten)]
    pub modem: ModemOptions,
    /// The process.
    #[command(flatten)]
    pub process: ProcessOptions,
    /// Logging.
    #[command(flatten)]
    pub logging: LoggingOptions,
}

/// Arguments of `status`.
#[derive(Args, Clone, Debug)]
#[command(after_help = CONTROL_IN_ENVIRONMENT, after_long_help = "\
Every option can be set in the environment: --control as QSSL_TUNNEL_CONTROL.

Examples:
  qssl-tunnel status
  qssl-tunnel status --watch
  qssl-tunnel status --prometheus > /var/lib/node_exporter/qssl-tunnel.prom")]
pub struct StatusArgs {
    /// Print JSON
    #[arg(long, conflicts_with = "prometheus", env = "QSSL_TUNNEL_JSON", hide_env = true, value_parser = BoolishValueParser::new())]
    pub json: bool,

    /// Print metrics for Prometheus
    #[arg(long, env = "QSSL_TUNNEL_PROMETHEUS", hide_env = true, value_parser = BoolishValueParser::new())]
    pub prometheus: bool,

    /// Show the status again and again, with rates; on a terminal as a screen with keys
    ///
    /// The screen is drawn every second until q is pressed. It shows when the daemon does not answer, and goes on when it
    /// is back. Where standard output is no terminal, and with --json and --prometheus, the whole status is printed every
    /// two seconds. NO_COLOR in the environment switches colours off.
    #[arg(long, env = "QSSL_TUNNEL_WATCH", hide_env = true, value_parser = BoolishValueParser::new())]
    pub watch: bool,

    /// Also fail unless the daemon serves clients: the health check of a container
    ///
    /// The exit status is 1 while the modem cannot open connections, while the daemon drains, and without a daemon.
    #[arg(long, conflicts_with = "watch", env = "QSSL_TUNNEL_EXIT_CODE", hide_env = true, value_parser = BoolishValueParser::new())]
    pub exit_code: bool,

    /// Reset the connection with this ID, as the table shows it
    #[arg(long, value_name = "ID", value_parser = whole(1..=u64::MAX), conflicts_with_all = ["json", "prometheus", "watch"],
        env = "QSSL_TUNNEL_KILL", hide_env = true)]
    pub kill: Option<u64>,

    /// Write the daemon's flight recording to FILE instead: the latest traffic on the modem's port
    ///
    /// Secrets are masked and payload is left out. If the modem has several ports, the further ones are
    /// written to FILE.1 and so on.
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_DUMP_RECORDER", hide_env = true, value_hint = ValueHint::FilePath)]
    pub dump_recorder: Option<PathBuf>,

    /// From now on record the bytes of payload (true), or only their number (false)
    #[arg(long, value_name = "true|false", env = "QSSL_TUNNEL_RECORD_PAYLOAD", hide_env = true, value_parser = BoolishValueParser::new())]
    pub record_payload: Option<bool>,

    /// Control socket of the daemon to ask, or none: open the port [default: the running daemon's, if there is one]
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_CONTROL", hide_env = true, value_hint = ValueHint::FilePath)]
    pub control: Option<PathBuf>,

    /// The modem.
    #[command(flatten)]
    pub modem: ModemOptions,
    /// Logging.
    #[command(flatten)]
    pub logging: LoggingOptions,
}

/// Arguments of `at`.
#[derive(Args, Clone, Debug)]
#[command(after_help = CONTROL_IN_ENVIRONMENT, after_long_help = "\
Every option can be set in the environment: --control as QSSL_TUNNEL_CONTROL.

Examples:
  qssl-tunnel at AT+CSQ
  qssl-tunnel at 'AT+QPING=1,\"example.org\"' --timeout 30s")]
pub struct AtArgs {
    /// The command, such as AT+CSQ
    #[arg(value_name = "COMMAND")]
    pub command: String,

    /// Send the command even if it is not known to be a mere query, with or without a daemon
    #[arg(long, env = "QSSL_TUNNEL_FORCE", hide_env = true, value_parser = BoolishValueParser::new())]
    pub force: bool,

    /// How long the modem may take to answer, 1s-600s; 0 is 600s [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, env = "QSSL_TUNNEL_TIMEOUT", hide_env = true)]
    pub timeout: Option<Duration>,

    /// Control socket of the daemon to ask, or none: open the port [default: the running daemon's, if there is one]
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_CONTROL", hide_env = true, value_hint = ValueHint::FilePath)]
    pub control: Option<PathBuf>,

    /// Which modem.
    #[command(flatten)]
    pub which: WhichModem,

    /// The modem.
    #[command(flatten)]
    pub modem: ModemOptions,
    /// Logging.
    #[command(flatten)]
    pub logging: LoggingOptions,
}

/// Arguments of `doctor`.
#[derive(Args, Clone, Debug)]
#[command(after_help = ENVIRONMENT, after_long_help = "\
Every option can be set in the environment: --connect-timeout as QSSL_TUNNEL_CONNECT_TIMEOUT.

Examples:
  qssl-tunnel doctor
  qssl-tunnel doctor example.org:443 --ca 'system:ISRG Root X1' -d /dev/ttyUSB2
  qssl-tunnel doctor --config /etc/qssl-tunnel.toml")]
pub struct DoctorArgs {
    /// Server to connect to in the end, without a client: TCP first, then TLS unless it is tcp://HOST:PORT
    ///
    /// dtls:// and udp:// can be given as well; a plain server of datagrams cannot be examined, except for its name.
    /// If TLS fails, settings are changed one at a time to find the one that makes the difference. If the
    /// modem's clock is wrong, it is set, as a tunnel does; everything else is restored afterwards. If a
    /// daemon has a tunnel to this server and no TLS option is given, that tunnel's settings are examined; or
    /// else those of a tunnel with --dynamic, and whether its --allow-target allows the server.
    #[arg(value_name = "HOST:PORT", value_hint = ValueHint::Hostname)]
    pub to: Option<Server>,

    /// Configuration file of run with the settings of the modem, and of the tunnel to HOST:PORT
    ///
    /// Without HOST:PORT the server of its first tunnel that has one is examined. Options override the file: with a TLS
    /// option, all TLS settings come from the command line.
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_CONFIG", hide_env = true, value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Print the findings as JSON
    #[arg(long, env = "QSSL_TUNNEL_JSON", hide_env = true, value_parser = BoolishValueParser::new())]
    pub json: bool,

    /// How long opening a connection may take, TLS handshake included [default: 60s]
    #[arg(short = 'w', long, value_name = "TIME", value_parser = duration::parse,
        env = "QSSL_TUNNEL_CONNECT_TIMEOUT", hide_env = true)]
    pub connect_timeout: Option<Duration>,

    /// Control socket of the daemon to ask, or none: open the port [default: the running daemon's, if there is one]
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_CONTROL", hide_env = true, value_hint = ValueHint::FilePath)]
    pub control: Option<PathBuf>,

    /// Which modem.
    #[command(flatten)]
    pub which: WhichModem,

    /// TLS settings.
    #[command(flatten)]
    pub tls: TlsOptions,
    /// The modem.
    #[command(flatten)]
    pub modem: ModemOptions,
    /// Logging.
    #[command(flatten)]
    pub logging: LoggingOptions,
}

/// What `cert` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CertAction {
    /// store FILE, a certificate or a key in PEM, and print its name there
    Put,
    /// list the files, and the tunnels that they belong to
    List,
    /// print the file called NAME
    Get,
    /// remove the file called NAME
    Remove,
    /// remove the files that this program has stored and no tunnel uses
    Prune,
    /// check FILE, or else every certificate in the modem
    Check,
}

/// Arguments of `survey`.
#[derive(Args, Clone, Debug)]
#[command(after_help = CONTROL_IN_ENVIRONMENT, after_long_help = "\
Every option can be set in the environment: --output as QSSL_TUNNEL_OUTPUT.

Examples:
  qssl-tunnel survey -o report.toml
  qssl-tunnel survey echo.example:4433 --ca cert.pem -o report.toml -d /dev/ttyUSB2

Without a module, in two terminals; the server is on this machine, as in the README:
  qssl-modem-emulator --link ./modem --clock host --map echo.example:4433=127.0.0.1:4433
  qssl-tunnel survey echo.example:4433 -o report.toml -d ./modem")]
pub struct SurveyArgs {
    /// TLS server of yours that returns what it receives, to measure connections and payload as well
    ///
    /// The README has the commands that start one. A few connections are opened and closed: with TLS, without, and one to
    /// port 1, where no server should listen. Then payload is sent in each access mode, which shows latencies, the longest
    /// sends and reads, throughput, SEND FAIL, switches between the modes, +++, loss of DTR (under AT&D1, which is put back)
    /// and ATO. At the end the server is asked to end connections in three ways. The data session is activated if it is not active, and deactivated afterwards. Stop
    /// the daemon before: this needs the modem for itself.
    #[arg(value_name = "HOST:PORT", value_hint = ValueHint::Hostname)]
    pub to: Option<Server>,

    /// The module file to write, or - for standard output; the dialogue goes beside it, as .txt
    ///
    /// It has what the module answers about itself, its limits, TLS settings, latencies and habits, each with the command
    /// that showed it, and a list of what is unknown. For this a small file is stored and removed, and settings of an
    /// unused SSL context are written and put back. Where no daemon has the port, the echo is turned on and off, and the
    /// multiplexer is entered and left. Numbers of SIM card and module, telephone numbers, addresses, names of files and the
    /// server's name are left out or masked in both files. After a failure only the dialogue is written. With - the table
    /// goes to standard error, and there is no dialogue.
    #[arg(short, long, required = true, value_name = "FILE", env = "QSSL_TUNNEL_OUTPUT", hide_env = true, value_hint = ValueHint::FilePath)]
    pub output: PathBuf,

    /// The most data that the connections may cost, such as 300kB [default: 1MB]
    ///
    /// Everything takes some 500 kB. Each connection counts as 10 kB, and payload counts both ways with a fifth more for
    /// what TLS and TCP add. What would cost more is left out, and the end of the output tells so.
    #[arg(long, value_name = "SIZE", env = "QSSL_TUNNEL_BUDGET", hide_env = true)]
    pub budget: Option<Budget>,

    /// Certificate of the authority that has signed the server's, in PEM, to try what the module verifies
    ///
    /// With this authority the connection must succeed. With an authority that has signed nothing, under the server's
    /// address instead of its name, and with the module's clock in 2049 it must fail. Both authorities are removed from the
    /// module again, and its clock is put back.
    #[arg(long, value_name = "FILE", requires = "to", env = "QSSL_TUNNEL_CA", hide_env = true, value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,

    /// Control socket of the daemon to ask, or none: open the port [default: the running daemon's, if there is one]
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_CONTROL", hide_env = true, value_hint = ValueHint::FilePath)]
    pub control: Option<PathBuf>,

    /// Which modem.
    #[command(flatten)]
    pub which: WhichModem,

    /// The modem.
    #[command(flatten)]
    pub modem: ModemOptions,
    /// Logging.
    #[command(flatten)]
    pub logging: LoggingOptions,
}

/// Arguments of `cert`.
#[derive(Args, Clone, Debug)]
#[command(after_help = CONTROL_IN_ENVIRONMENT, after_long_help = "\
Every option can be set in the environment: --config as QSSL_TUNNEL_CONFIG.

Examples:
  qssl-tunnel cert list
  qssl-tunnel cert put broker-ca.pem -d /dev/ttyUSB2
  qssl-tunnel cert check client.pem --key client.key")]
pub struct CertArgs {
    /// What to do
    #[arg(value_enum, value_name = "ACTION")]
    pub action: CertAction,

    /// The file to put or check, or the name to get or remove
    #[arg(value_name = "FILE|NAME", value_hint = ValueHint::FilePath)]
    pub file: Option<String>,

    /// For check: the private key that should belong to the certificate
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_KEY", hide_env = true, value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,

    /// For get: write to FILE instead of standard output
    #[arg(short, long, value_name = "FILE", env = "QSSL_TUNNEL_OUTPUT", hide_env = true, value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,

    /// For list and check: print JSON
    #[arg(long, env = "QSSL_TUNNEL_JSON", hide_env = true, value_parser = BoolishValueParser::new())]
    pub json: bool,

    /// For list and prune: the configuration with the tunnels that use the files [default:
    /// /etc/qssl-tunnel.toml]
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_CONFIG", hide_env = true, value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Control socket of the daemon to ask, or none: open the port [default: the running daemon's, if there is one]
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_CONTROL", hide_env = true, value_hint = ValueHint::FilePath)]
    pub control: Option<PathBuf>,

    /// Which modem.
    #[command(flatten)]
    pub which: WhichModem,

    /// The modem.
    #[command(flatten)]
    pub modem: ModemOptions,
    /// Logging.
    #[command(flatten)]
    pub logging: LoggingOptions,
}

/// Arguments of `demo`.
#[cfg(feature = "emulator")]
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// End after the transfer instead of going on for tests by hand
    #[arg(long, env = "QSSL_TUNNEL_ONCE", hide_env = true, value_parser = BoolishValueParser::new())]
    pub once: bool,

    /// Logging.
    #[command(flatten)]
    pub logging: LoggingOptions,
}

/// Whether clients choose their targets, and which.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Proxy options")]
pub struct DynamicOptions {
    /// Let each client name its own target, in this protocol, instead of --to
    ///
    /// Names are passed to the modem as they are; nothing is looked up on this machine. An open proxy gives
    /// access to the operator's private network, at your cost. So --allow-target is required, and --allow too if other
    /// machines can connect.
    #[arg(long, value_parser = choice::<Protocol>(), value_name = "PROTOCOL", env = "QSSL_TUNNEL_DYNAMIC", hide_env = true)]
    pub dynamic: Option<Protocol>,

    /// A target that clients may choose: example.org:443, '*.example.org:80,443' or '*:443'; may be repeated
    ///
    /// The pattern * stands for every name and address, *.NAME for every name below NAME, 10.0.0.0/8 for a network.
    /// Ports are separated by commas; 8000-8100 is a range. Names are compared as text; they are not resolved.
    #[arg(long, value_name = "PATTERN:PORTS", env = "QSSL_TUNNEL_ALLOW_TARGET", hide_env = true)]
    pub allow_target: Vec<AllowedTarget>,

    /// File with the users of the proxy, a line USER:PASSWORD each; without it, anyone who can connect may use it
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_PROXY_USER_FILE", hide_env = true, value_hint = ValueHint::FilePath)]
    pub proxy_user_file: Option<PathBuf>,

    /// Connect to the targets by the modem's TLS, with the TLS options, instead of plain TCP
    #[arg(long, env = "QSSL_TUNNEL_DYNAMIC_TLS", hide_env = true, value_parser = BoolishValueParser::new())]
    pub dynamic_tls: bool,
}

/// How a connection is carried and ended.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Connection options")]
pub struct StreamOptions {
    /// How the modem hands over what it receives [default: push]
    ///
    /// push needs the fewest commands. With buffer, a slow client slows down only its own server. transparent
    /// carries one connection per port, or per channel of --cmux, without any commands around the data.
    #[arg(long, value_parser = choice::<Mode>(), value_name = "MODE", env = "QSSL_TUNNEL_MODE", hide_env = true)]
    pub mode: Option<Mode>,

    /// How long opening a connection may take, TLS handshake included [default: 60s]
    #[arg(short = 'w', long, value_name = "TIME", value_parser = duration::parse,
        env = "QSSL_TUNNEL_CONNECT_TIMEOUT", hide_env = true)]
    pub connect_timeout: Option<Duration>,

    /// How long a reply may go on after the client's half-close, from its last byte [default: 60s]
    ///
    /// A half-close itself cannot be passed on to the server: no AT command sends it.
    #[arg(short = 't', long, value_name = "TIME", value_parser = duration::parse,
        env = "QSSL_TUNNEL_HALF_CLOSE_TIMEOUT", hide_env = true)]
    pub half_close_timeout: Option<Duration>,

    /// Reset a connection that has carried no data for this long [default: off, 60s for datagrams]
    ///
    /// A session of datagrams has no other end of its own: at most 24h may be given for it. The next datagram of the
    /// client begins a new one.
    #[arg(short = 'T', long, value_name = "TIME", value_parser = duration::parse,
        env = "QSSL_TUNNEL_IDLE_TIMEOUT", hide_env = true)]
    pub idle_timeout: Option<Duration>,

    /// Reset a connection that is this old [default: off]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, env = "QSSL_TUNNEL_LIFETIME", hide_env = true)]
    pub lifetime: Option<Duration>,

    /// How long the modem may take to close a connection, 0-65535 whole seconds [default: 10s]
    ///
    /// 0 closes at once; bytes that the module has not sent by then may be lost.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, env = "QSSL_TUNNEL_CLOSE_TIMEOUT", hide_env = true)]
    pub close_timeout: Option<Duration>,

    /// How the end of a connection is passed on when the modem reports `closed` [default: eof]
    ///
    /// The modem does not distinguish a regular end from a cut. eof gives an end of file unless something
    /// known contradicts it; reset treats every end as a cut.
    #[arg(long, value_parser = choice::<OnClosed>(), value_name = "HOW", env = "QSSL_TUNNEL_ON_CLOSED", hide_env = true)]
    pub on_closed: Option<OnClosed>,
}

/// Who is served, and for how long.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Client options")]
pub struct ClientOptions {
    /// Serve clients from this network only; may be repeated or separated by commas [default: all]
    #[arg(long, value_name = "CIDR", value_delimiter = ',', env = "QSSL_TUNNEL_ALLOW", hide_env = true)]
    pub allow: Vec<Cidr>,

    /// Serve at most this many clients of the tunnel at once, waiting ones included [default: no limit]
    #[arg(long, value_name = "NUMBER", value_parser = whole(1_u32..=65_536),
        env = "QSSL_TUNNEL_MAX_CLIENTS", hide_env = true)]
    pub max_clients: Option<u32>,

    /// What happens to a new client when all connections of the modem are in use [default: wait]
    ///
    /// evict ends the session of datagrams that has been idle longest, of any tunnel, and never a stream.
    #[arg(long, value_parser = choice::<WhenFull>(), value_name = "HOW", env = "QSSL_TUNNEL_WHEN_FULL", hide_env = true)]
    pub when_full: Option<WhenFull>,

    /// How long a client waits for a free connection [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, env = "QSSL_TUNNEL_QUEUE_TIMEOUT", hide_env = true)]
    pub queue_timeout: Option<Duration>,

    /// How long a client may hold up the others by not reading [default: 60s]
    ///
    /// A client that reads slowly is not affected: what it takes from the kernel counts, as far as the kernel
    /// reports it.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, env = "QSSL_TUNNEL_STALL_TIMEOUT", hide_env = true)]
    pub stall_timeout: Option<Duration>,

    /// When the modem's connection is opened [default: accept]
    ///
    /// first-byte avoids the handshake for clients that never send, such as port scans. It does not suit
    /// protocols in which the server speaks first.
    #[arg(long, value_parser = choice::<OpenOn>(), value_name = "WHEN", env = "QSSL_TUNNEL_OPEN_ON", hide_env = true)]
    pub open_on: Option<OpenOn>,

    /// Reset a client that has sent nothing by then [default: off]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, env = "QSSL_TUNNEL_FIRST_BYTE_TIMEOUT", hide_env = true)]
    pub first_byte_timeout: Option<Duration>,

    /// Keep this many connections open ahead, 0-11: the next clients get them at once [default: 0]
    ///
    /// Each saves one client the handshake. It costs the data of a handshake whenever it is replaced, which happens each
    /// time one is used or has become too old, and it occupies a connection of the modem until a client of another tunnel
    /// needs that. All tunnels together must leave at least one of --sockets
    /// free. Not in transparent mode, and not with --dynamic.
    #[arg(long, value_name = "NUMBER", value_parser = whole(0_u32..=11), env = "QSSL_TUNNEL_WARM", hide_env = true)]
    pub warm: Option<u32>,

    /// How old a connection that was opened ahead may become before it is replaced [default: 50s]
    ///
    /// Set it below the time after which the server closes idle connections, from 5s on. The one that replaces it is
    /// opened some seconds before.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, env = "QSSL_TUNNEL_WARM_MAX_AGE", hide_env = true)]
    pub warm_max_age: Option<Duration>,

    /// Keep what the server sends on a connection opened ahead, up to 4096 bytes, for its client
    ///
    /// Without it, such a connection is thrown away. It suits servers that greet their clients and then wait.
    #[arg(long, env = "QSSL_TUNNEL_WARM_SERVER_FIRST", hide_env = true, value_parser = BoolishValueParser::new())]
    pub warm_server_first: bool,
}

/// TLS settings of the modem's connections.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "TLS options")]
pub struct TlsOptions {
    /// Authenticate the server against this certificate authority; may be repeated [default: system]
    ///
    /// FILE is PEM and is uploaded to the modem once. system:NAME picks one root from this machine's trust
    /// store by its common name or organisation; system is the whole store, for which few modules have room.
    #[arg(long, value_name = "FILE|system:NAME", env = "QSSL_TUNNEL_CA", hide_env = true, value_hint = ValueHint::FilePath)]
    pub ca: Vec<CaSource>,

    /// Do not authenticate the server: anyone on the way can read and alter everything
    #[arg(long, env = "QSSL_TUNNEL_INSECURE", hide_env = true, value_parser = BoolishValueParser::new())]
    pub insecure: bool,

    /// Client certificate, PEM; needs --key
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_CERT", hide_env = true, value_hint = ValueHint::FilePath)]
    pub cert: Option<PathBuf>,

    /// Private key of the client certificate, PEM; needs --cert
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_KEY", hide_env = true, value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,

    /// File with the password of an encrypted --key
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_KEY_PASSWORD_FILE", hide_env = true, value_hint = ValueHint::FilePath)]
    pub key_password_file: Option<PathBuf>,

    /// TLS version; with dtls:// one of 1.0, 1.2 and any [default: 1.2]
    #[arg(long, value_parser = choice::<TlsVersion>(), value_name = "VERSION", env = "QSSL_TUNNEL_TLS_VERSION", hide_env = true)]
    pub tls_version: Option<TlsVersion>,

    /// The one cipher suite to offer, by registered name or code, or any [default: any]
    ///
    /// Such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or 0XC02F.
    #[arg(long, value_parser = cipher::parse, value_name = "NAME|0XCODE|any", env = "QSSL_TUNNEL_CIPHER", hide_env = true)]
    pub cipher: Option<Cipher>,

    /// Send the server the host name (SNI); an error if the module cannot [default: if the module can]
    #[arg(long, env = "QSSL_TUNNEL_SNI", hide_env = true, value_parser = BoolishValueParser::new())]
    pub sni: bool,

    /// Do not send the server the host name (SNI)
    #[arg(long, env = "QSSL_TUNNEL_NO_SNI", hide_env = true, value_parser = BoolishValueParser::new())]
    pub no_sni: bool,

    /// Application protocol to ask for (ALPN), 1-255 characters
    #[arg(long, value_name = "NAME", value_parser = at_text, env = "QSSL_TUNNEL_ALPN", hide_env = true)]
    pub alpn: Option<AtText>,

    /// Identity of a pre-shared key, 1-255 characters; needs --psk-key-file
    ///
    /// A pre-shared key does not replace --ca: the server decides which of the two is used.
    #[arg(long, value_name = "ID", value_parser = at_text, env = "QSSL_TUNNEL_PSK_IDENTITY", hide_env = true)]
    pub psk_identity: Option<AtText>,

    /// File with the pre-shared key, 1-255 characters; needs --psk-identity
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_PSK_KEY_FILE", hide_env = true, value_hint = ValueHint::FilePath)]
    pub psk_key_file: Option<PathBuf>,

    /// Resume earlier TLS sessions, which saves most of the handshake
    #[arg(long, env = "QSSL_TUNNEL_SESSION_RESUMPTION", hide_env = true, value_parser = BoolishValueParser::new())]
    pub session_resumption: bool,

    /// Allow TLS renegotiation
    #[arg(long, env = "QSSL_TUNNEL_RENEGOTIATION", hide_env = true, value_parser = BoolishValueParser::new())]
    pub renegotiation: bool,

    /// Check the validity dates of certificates [default: unless --insecure]
    #[arg(long, env = "QSSL_TUNNEL_CHECK_TIME", hide_env = true, value_parser = BoolishValueParser::new())]
    pub check_time: bool,

    /// Do not check the validity dates of certificates
    #[arg(long, env = "QSSL_TUNNEL_NO_CHECK_TIME", hide_env = true, value_parser = BoolishValueParser::new())]
    pub no_check_time: bool,

    /// Switch off one check of the server's certificate; may be repeated or separated by commas
    ///
    /// One of expired, common-name, untrusted, other, key-usage, extended-key-usage, ns-cert-type,
    /// bad-key-algorithm, bad-key, all.
    #[arg(
        long,
        value_name = "ITEM",
        value_delimiter = ',',
        env = "QSSL_TUNNEL_IGNORE_CERTIFICATE",
        hide_env = true
    )]
    pub ignore_certificate: Vec<CertificateItem>,

    /// Do not verify certificate chains of more than one level
    #[arg(long, env = "QSSL_TUNNEL_IGNORE_CHAIN", hide_env = true, value_parser = BoolishValueParser::new())]
    pub ignore_chain: bool,

    /// Do not verify the signatures of certificates
    #[arg(long, env = "QSSL_TUNNEL_IGNORE_SIGNATURE", hide_env = true, value_parser = BoolishValueParser::new())]
    pub ignore_signature: bool,

    /// Refused: the target says it, dtls://
    #[arg(long, hide = true, env = "QSSL_TUNNEL_DTLS", hide_env = true, value_parser = BoolishValueParser::new())]
    pub dtls: bool,

    /// Refused: --tls-version is for DTLS too
    #[arg(long, hide = true, value_name = "VERSION", env = "QSSL_TUNNEL_DTLS_VERSION", hide_env = true)]
    pub dtls_version: Option<String>,
}

/// Which of several modems.
#[derive(Args, Clone, Debug, Default)]
pub struct WhichModem {
    /// Which modem, by its name, where the daemon or the configuration has several
    #[arg(
        id = "which_modem",
        long = "modem",
        value_name = "NAME",
        env = "QSSL_TUNNEL_MODEM",
        hide_env = true
    )]
    pub name: Option<String>,
}

/// The modem, its ports, and its data session.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Modem options")]
pub struct ModemOptions {
    /// Port of the modem; may be repeated for several ports of one modem [default: auto]
    ///
    /// A tty path (/dev/ttyUSB2) or a pattern (/dev/ttyUSB*, the first that answers AT); auto for the port of the
    /// only Quectel modem that answers AT; usb:2c7c:0125 or usb:2c7c:0125,if=2; imei:NUMBER; rfc2217://HOST:PORT for a modem on a
    /// serial device server; tcp://HOST:PORT for raw bytes; emulator, or emulator:OPTIONS, in builds that
    /// have it.
    #[arg(short, long, value_name = "DEVICE", env = "QSSL_TUNNEL_DEVICE", hide_env = true, value_hint = ValueHint::FilePath)]
    pub device: Vec<Device>,

    /// Speed of a UART in bits per second; USB ports ignore it [default: 115200]
    ///
    /// On a device server (rfc2217://, tcp://) it also paces uploads: no more is sent ahead than a line at
    /// this speed carries in half a second. If the modem's port there is faster, give its speed.
    #[arg(short, long, value_name = "BAUD", value_parser = whole(300_u32..=4_000_000),
        env = "QSSL_TUNNEL_BAUD", hide_env = true)]
    pub baud: Option<u32>,

    /// Flow control on the serial line [default: rtscts on UARTs]
    #[arg(long, value_parser = choice::<FlowControl>(), value_name = "HOW", env = "QSSL_TUNNEL_FLOW_CONTROL", hide_env = true)]
    pub flow_control: Option<FlowControl>,

    /// Several channels on one UART (CMUX, 3GPP TS 27.010) [default: off]
    ///
    /// With it, commands, sends and up to three transparent connections run beside one another on a single
    /// UART, and opening and closing a transparent connection need no pauses. It helps where one UART carries
    /// several connections, or commands beside transfers; USB modems have several ports instead. It works on a
    /// tty and through rfc2217:// and tcp://. "auto" leaves a single connection that is not transparent without
    /// it. It was tested with the emulated modem and the Linux kernel's multiplexer, not with real modules:
    /// try "auto" on yours.
    #[arg(long, value_parser = choice::<Cmux>(), value_name = "WHEN", env = "QSSL_TUNNEL_CMUX", hide_env = true)]
    pub cmux: Option<Cmux>,

    /// Bytes of payload in a CMUX frame, between 64 and 1509 [default: 512, or 127 if the modem refuses it]
    ///
    /// Long frames leave more of the line for payload, short ones let the answer to a command pass sooner. The
    /// tunnel sends no longer ones than this. A modem that refuses the number can still send up to 127.
    #[arg(long, value_name = "BYTES", value_parser = whole(64_u16..=1_509), env = "QSSL_TUNNEL_CMUX_FRAME", hide_env = true)]
    pub cmux_frame: Option<u16>,

    /// Connections of the modem (clientID) that may be used, such as 0-5,7 [default: 0-11]
    #[arg(long, value_name = "RANGE", value_parser = ranges::sockets, env = "QSSL_TUNNEL_SOCKETS", hide_env = true)]
    pub sockets: Option<IdSet>,

    /// SSL contexts of the modem that may be used, such as 1,3-5 [default: 0-5]
    #[arg(long, value_name = "RANGE", value_parser = ranges::ssl_contexts, env = "QSSL_TUNNEL_SSL_CONTEXTS", hide_env = true)]
    pub ssl_contexts: Option<IdSet>,

    /// File with the PIN of the SIM, 4-8 digits; not tried again if refused
    ///
    /// The module is asked first how many attempts are left (AT+QPINC, AT+CPINR), and the last one is not
    /// used. If the module does not report a number, the PIN is entered all the same, exactly once: a wrong
    /// PIN uses up an attempt, which may be the last. The state directory records that a PIN was refused.
    /// Without one it is forgotten when the program ends, and the next start tries the PIN again.
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_SIM_PIN_FILE", hide_env = true, value_hint = ValueHint::FilePath)]
    pub sim_pin_file: Option<PathBuf>,

    /// Access point name [default: the modem's setting]
    ///
    /// With this option this program sets up the data session: a session that is already active, but through
    /// which no traffic gets, is deactivated and set up again. Without the option this is done only to a
    /// session that this program has activated.
    #[arg(long, value_name = "NAME", value_parser = at_text, env = "QSSL_TUNNEL_APN", hide_env = true)]
    pub apn: Option<AtText>,

    /// User name at the access point; needs --apn
    #[arg(long, value_name = "NAME", value_parser = at_text, env = "QSSL_TUNNEL_APN_USER", hide_env = true)]
    pub apn_user: Option<AtText>,

    /// File with the password at the access point; needs --apn-user
    #[arg(long, value_name = "FILE", env = "QSSL_TUNNEL_APN_PASSWORD_FILE", hide_env = true, value_hint = ValueHint::FilePath)]
    pub apn_password_file: Option<PathBuf>,

    /// How user name and password are sent [default: pap with --apn-user, else none]
    #[arg(long, value_parser = choice::<ApnAuth>(), value_name = "HOW", env = "QSSL_TUNNEL_APN_AUTH", hide_env = true)]
    pub apn_auth: Option<ApnAuth>,

    /// Number of the data session (PDP context), 1-16 [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = pdp_context, env = "QSSL_TUNNEL_PDP_CONTEXT", hide_env = true)]
    pub pdp_context: Option<PdpContextId>,

    /// Addresses of the data session; needs --apn [default: ipv4]
    #[arg(long, value_parser = choice::<PdpType>(), value_name = "TYPE", env = "QSSL_TUNNEL_PDP_TYPE", hide_env = true)]
    pub pdp_type: Option<PdpType>,

    /// Name server for the modem, one or two separated by a comma [default: the network's]
    #[arg(long, value_name = "ADDR[,ADDR]", value_delimiter = ',', env = "QSSL_TUNNEL_DNS", hide_env = true)]
    pub dns: Vec<std::net::IpAddr>,

    /// Set the modem's clock from this NTP server [default: from this machine's clock]
    ///
    /// If the server does not answer within 15 s, the modem's clock is set from this machine's clock.
    #[arg(long, value_name = "HOST", value_parser = host, env = "QSSL_TUNNEL_NTP", hide_env = true, value_hint = ValueHint::Hostname)]
    pub ntp: Option<AtText>,

    /// How far recovery from a fault may go [default: session]
    #[arg(long, value_parser = choice::<Recovery>(), value_name = "STEP", env = "QSSL_TUNNEL_RECOVERY", hide_env = true)]
    pub recovery: Option<Recovery>,

    /// Run this command when nothing else brings the modem back, such as a command that cycles its power
    ///
    /// It is given to /bin/sh -c, and nothing waits for its end. Needs --recovery reboot. If it has not
    /// helped, it is run again, at first after a minute, later after half an hour at most.
    #[arg(long, value_name = "COMMAND", value_parser = NonEmptyStringValueParser::new(), env = "QSSL_TUNNEL_RESET_COMMAND", hide_env = true, value_hint = ValueHint::CommandString)]
    pub reset_command: Option<String>,

    /// Run --reset-command also when the modem's port has been away for this long; 0 is never [default: 60s]
    ///
    /// A modem whose USB side has failed does not come back by itself. After the first run the pauses grow,
    /// up to half an hour.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, env = "QSSL_TUNNEL_RESET_AFTER", hide_env = true)]
    pub reset_after: Option<Duration>,

    /// In buffer mode, read a silent connection this often; 0 is never [default: 5s where it is not certain
    /// which of the modem's ports is in use, else never]
    ///
    /// The modem sends unsolicited result codes by one of its ports only.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, env = "QSSL_TUNNEL_POLL_INTERVAL", hide_env = true)]
    pub poll_interval: Option<Duration>,

    /// Ask the modem about its cell, one question a minute when it has nothing else to do
    ///
    /// status and metrics then show RSRP, RSRQ, SINR, band, technology and temperature as well. A question that the
    /// module refuses twice is not asked again. Nothing is asked while the only port is the stream of a connection.
    #[arg(long, env = "QSSL_TUNNEL_RADIO", hide_env = true, value_parser = BoolishValueParser::new())]
    pub radio: bool,

    /// The same as --radio; and show which cell and which modem it is (IMEI)
    #[arg(long, env = "QSSL_TUNNEL_RADIO_IDENTITY", hide_env = true, value_parser = BoolishValueParser::new())]
    pub radio_identity: bool,

    /// Give up at the first failure instead of waiting for device, SIM and network
    #[arg(long, env = "QSSL_TUNNEL_NO_WAIT", hide_env = true, value_parser = BoolishValueParser::new())]
    pub no_wait: bool,

    /// Give up when the modem has been unusable for this long [default: never]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, env = "QSSL_TUNNEL_RETRY_FOR", hide_env = true)]
    pub retry_for: Option<Duration>,

    /// Give up after this many further attempts [default: never]
    #[arg(long, value_name = "NUMBER", value_parser = whole(0..=u32::MAX), env = "QSSL_TUNNEL_MAX_RETRIES", hide_env = true)]
    pub max_retries: Option<u32>,

    /// How often an idle modem is asked whether it still answers; 0 is never [default: 60s]
    ///
    /// The modem is also asked about a connection that was silent for this long: a modem that has rebooted
    /// without a message may no longer report what arrives for the connection, or that it has ended. With 0
    /// such a client waits without limit, unless --idle-timeout or --lifetime ends the connection. The
    /// questions use the serial port only; nothing is sent over the air.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, env = "QSSL_TUNNEL_LIVENESS_INTERVAL", hide_env = true)]
    pub liveness_interval: Option<Duration>,

    /// How long the modem may take to answer an ordinary command [default: 5s]
    ///
    /// Commands that wait for the network have limits of their own. If the modem does not answer in time, the
    /// port is resynchronised. Between 1s and 10min.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, env = "QSSL_TUNNEL_COMMAND_TIMEOUT", hide_env = true)]
    pub command_timeout: Option<Duration>,

    /// How long the modem may take to confirm the bytes of a send command [default: 60s]
    ///
    /// Some modules confirm only what the server has acknowledged. A connection whose bytes are not confirmed
    /// in time is reset. Between 1s and 10min.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, env = "QSSL_TUNNEL_SEND_TIMEOUT", hide_env = true)]
    pub send_timeout: Option<Duration>,
}

/// The process as a whole.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Process options")]
pub struct ProcessOptions {
    /// How long connections may still run after SIGTERM or SIGINT; a second signal ends them at once [default: 30s]
    ///
    /// Clients that wait for a modem that is not ready are reset at once, because none of their data has been
    /// sent.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, env = "QSSL_TUNNEL_SHUTDOWN_TIMEOUT", hide_env = true)]
    pub shutdown_timeout: Option<Duration>,

    /// Make the control socket here, or none
    ///
    /// PATH has a slash in it, and may be followed by ,mode=0660 ,owner=NAME and ,group=NAME; without these only its owner may use
    /// it. By default run makes it as $RUNTIME_DIRECTORY/control. Without that variable, root's is
    /// /run/qssl-tunnel/control, and that of other users is $XDG_RUNTIME_DIR/qssl-tunnel/control. By default
    /// listen makes none. connect goes through the tunnel of the daemon whose socket is here, or at the
    /// default path; with none it opens the modem's port itself.
    #[arg(long, value_name = "PATH|none", env = "QSSL_TUNNEL_CONTROL", hide_env = true, value_hint = ValueHint::FilePath)]
    pub control: Option<Control>,

    /// Keep data usage and flight recordings in this directory; by default run uses $STATE_DIRECTORY
    ///
    /// A loss of power may cost up to a minute of the counted data; with --monthly-budget it costs less. A daemon
    /// that is killed loses at most a second of it, if $RUNTIME_DIRECTORY, or else the directory of the control
    /// socket, is in memory (a tmpfs, as /run): new counts are kept there until they are in the state directory.
    #[arg(long, value_name = "DIRECTORY", env = "QSSL_TUNNEL_STATE_DIRECTORY", hide_env = true, value_hint = ValueHint::DirPath)]
    pub state_directory: Option<PathBuf>,

    /// Serve metrics for Prometheus over HTTP: PORT (loopback), ADDRESS:PORT or unix:/PATH
    ///
    /// They are at /metrics, and are those of status --prometheus. There is no encryption and no password: anyone who can
    /// connect can read them. unix:/path may be followed by ,mode=0600 ,owner=NAME and ,group=NAME.
    #[arg(long, value_name = "LISTEN", env = "QSSL_TUNNEL_METRICS", hide_env = true)]
    pub metrics: Option<Listen>,

    /// Warn when this much has been carried in a calendar month, or stop: 500MB, 2GB,stop
    ///
    /// Payload in both directions and 7 kB for each TLS handshake are counted. With a state directory the
    /// count goes on after a restart; after a loss of power, at most a thousandth of the volume, or what
    /// passed in the last five seconds, is not counted. With ,stop further clients are reset until the month
    /// is over. While the host's clock is not set, data counts for the
    /// last month that is known.
    #[arg(long, value_name = "VOLUME[,stop]", env = "QSSL_TUNNEL_MONTHLY_BUDGET", hide_env = true)]
    pub monthly_budget: Option<Budget>,

    /// Print the traffic of clients in hexadecimal to standard error
    #[arg(short = 'x', long, env = "QSSL_TUNNEL_HEX_DUMP", hide_env = true, value_parser = BoolishValueParser::new())]
    pub hex_dump: bool,

    /// Record what clients send in FILE, raw
    #[arg(short = 'r', long, value_name = "FILE", env = "QSSL_TUNNEL_RECORD_UP", hide_env = true, value_hint = ValueHint::FilePath)]
    pub record_up: Option<PathBuf>,

    /// Record what servers send in FILE, raw
    #[arg(short = 'R', long, value_name = "FILE", env = "QSSL_TUNNEL_RECORD_DOWN", hide_env = true, value_hint = ValueHint::FilePath)]
    pub record_down: Option<PathBuf>,

    /// Do without the sandbox that the process enters after its start, where the kernel has Landlock
    ///
    /// In it the process can open ports, files in the directories of its configuration, certificates, keys and state,
    /// and make its sockets, but nothing else. There is none with --reset-command, which starts other programs.
    #[arg(long, env = "QSSL_TUNNEL_NO_SANDBOX", hide_env = true, value_parser = BoolishValueParser::new())]
    pub no_sandbox: bool,
}

/// Logging.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Logging")]
pub struct LoggingOptions {
    /// Log commands and answers; if given twice, the whole transcript without payload
    #[arg(short, long, action = ArgAction::Count, env = "QSSL_TUNNEL_VERBOSE", hide_env = true)]
    pub verbose: u8,

    /// Log warnings and errors only
    #[arg(short, long, env = "QSSL_TUNNEL_QUIET", hide_env = true, value_parser = BoolishValueParser::new())]
    pub quiet: bool,
}

/// One sentence for all options, in place of a note at each.
const ENVIRONMENT: &str =
    "Every option can be set in the environment: --connect-timeout as QSSL_TUNNEL_CONNECT_TIMEOUT.";

/// The same for commands that have no such option.
const CONTROL_IN_ENVIRONMENT: &str =
    "Every option can be set in the environment: --control as QSSL_TUNNEL_CONTROL.";

/// One line that shows what is wrong with the arguments, made from the several lines that clap would print.
///
/// Only for errors: the texts of `--help` and `--version` have the same type and must be printed whole.
pub fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing: `qssl-tunnel --help` lists them".to_owned();
    }
    let text = error.render().to_string();
    let said = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said =
        said.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let mut line = said.collect::<Vec<_>>().join(" ");
    line = line.trim_start_matches("error: ").to_owned();
    let line = line.replace("  tip: ", " tip: ").replace(" tip: ", "; ");
    // Leave out clap's advice to pass an unknown option as a value: it would be a listening address.
    match line.split_once("; to pass '") {
        Some((said, _)) => said.to_owned(),
        None => line,
    }
}

/// The message, with the variable if the option was set in the environment: a user who did not type the option
/// would not find it.
pub fn with_variable(message: String) -> String {
    let is_set = |variable: &OsStr| std::env::var_os(variable).is_some();
    match variable_of(&message, std::env::args_os(), is_set) {
        Some(variable) => format!("{message}; it comes from {variable} in the environment"),
        None => message,
    }
}

/// The variable of the first option in this message, if it is set and the option was not typed.
fn variable_of(
    message: &str,
    typed: impl Iterator<Item = OsString>,
    is_set: impl Fn(&OsStr) -> bool,
) -> Option<String> {
    let (_, rest) = message.split_once("--")?;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(rest.len());
    let long = &rest[..end];
    let command = command();
    let mut all = command.get_subcommands().flat_map(clap::Command::get_arguments);
    let option = all.find(|arg| arg.get_long() == Some(long))?;
    let variable = option.get_env().filter(|variable| is_set(variable))?;
    let is_it = |word: OsString| {
        let word = word.to_string_lossy().into_owned();
        let is_short = |short| word.starts_with('-') && !word.starts_with("--") && word.contains(short);
        word.strip_prefix("--").is_some_and(|name| name.split('=').next() == Some(long))
            || option.get_short().is_some_and(is_short)
    };
    (!typed.into_iter().any(is_it)).then(|| variable.to_string_lossy().into_owned())
}

/// The command line of this process.
///
/// # Errors
/// Help, version, or what is wrong: [`one_line`] puts that into words.
pub fn parse() -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches()?)
}

/// [`Cli`] with two changes: a negative number is a value, not an option, and the short help of `at`, `cert` and
/// `status` leaves out most modem options.
fn command() -> clap::Command {
    Cli::command().mut_subcommands(|subcommand| {
        let only_asks = matches!(subcommand.get_name(), "at" | "cert" | "status");
        subcommand.mut_args(|arg| {
            let is_aside = only_asks
                && arg.get_help_heading() == Some("Modem options")
                && !matches!(arg.get_long(), Some("device" | "baud"));
            let takes_value = arg.get_action().takes_values();
            let arg = if is_aside { arg.hide_short_help(true) } else { arg };
            if takes_value { arg.allow_negative_numbers(true) } else { arg }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_the_environment_has_set_names_its_variable() {
        let variable = |message: &str, typed: &[&str], set: &str| {
            variable_of(message, typed.iter().map(OsString::from), |variable| variable == set)
        };
        let (message, baud) = ("invalid value 'x' for '--baud <BAUD>': no number", "QSSL_TUNNEL_BAUD");
        assert_eq!(variable(message, &["listen", "-v"], baud).as_deref(), Some(baud));
        assert_eq!(
            variable("--ca: a: no such file", &[], "QSSL_TUNNEL_CA").as_deref(),
            Some("QSSL_TUNNEL_CA")
        );
        for typed in ["--baud", "--baud=x", "-b", "-bx"] {
            assert_eq!(variable(message, &["listen", typed], baud), None, "{typed}");
        }
        assert_eq!(variable(message, &[], "QSSL_TUNNEL_DEVICE"), None, "it is not set");
        assert_eq!(variable("LISTEN: 1 is given twice", &[], baud), None);
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_has_its_environment_variable() {
        for subcommand in Cli::command().get_subcommands() {
            for option in subcommand.get_arguments().filter(|arg| !arg.is_positional()) {
                let long = option.get_long().expect("every option has a long name");
                let name = format!("QSSL_TUNNEL_{}", long.to_uppercase().replace('-', "_"));
                assert_eq!(option.get_env().and_then(|env| env.to_str()), Some(name.as_str()), "--{long}");
            }
        }
    }

    /// A variable gives its value to the parser of its option, as if that took one.
    #[test]
    fn every_switch_can_be_set_in_the_environment_by_1_and_0() {
        for subcommand in Cli::command().get_subcommands() {
            let is_switch = |option: &&clap::Arg| {
                option.get_env().is_some()
                    && option.get_possible_values().iter().any(|value| value.matches("true", false))
            };
            let switches: Vec<_> = subcommand.get_arguments().filter(is_switch).collect();
            for option in switches {
                let alone = clap::Arg::new("switch").long("switch").num_args(1);
                let parser =
                    clap::Command::new("x").arg(alone.value_parser(option.get_value_parser().clone()));
                for (value, expected) in
                    [("1", true), ("yes", true), ("on", true), ("0", false), ("no", false)]
                {
                    let words = ["x".to_owned(), format!("--switch={value}")];
                    let name = option.get_id();
                    let matches = parser.clone().try_get_matches_from(words);
                    let matches = matches.unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert_eq!(matches.get_one::<bool>("switch"), Some(&expected), "{name}={value}");
                }
            }
        }
    }

    #[test]
    fn a_value_that_is_none_is_answered_by_what_is_wanted() {
        for subcommand in Cli::command().get_subcommands() {
            for option in subcommand.get_arguments().filter(|arg| !arg.is_positional()) {
                let name = option.get_long().expect("every option has a long name");
                for value in ["x", "-1", "99999999999999999999"] {
                    let words = [
                        "qssl-tunnel".to_owned(),
                        subcommand.get_name().to_owned(),
                        format!("--{name}={value}"),
                    ];
                    let Err(error) = command().try_get_matches_from(words) else { continue };
                    let said = one_line(&error);
                    let is_std = |words: &&str| said.contains(*words);
                    let found = ["digit", "too large", "too small", "is not in", "parse"]
                        .iter()
                        .find(|words| is_std(words));
                    assert_eq!(found, None, "{said}");
                }
            }
        }
    }

    #[test]
    fn help_shows_no_value_of_the_environment() {
        for subcommand in Cli::command().get_subcommands() {
            for option in subcommand.get_arguments().filter(|arg| arg.get_env().is_some()) {
                assert!(option.is_hide_env_set(), "{}", option.get_id());
            }
        }
    }

    #[test]
    fn short_letters_are_those_that_neighbours_taught() {
        let command = Cli::command();
        let listen = command.find_subcommand("listen").expect("listen exists");
        let long_of = |short| {
            let option = listen.get_arguments().find(|arg| arg.get_short() == Some(short));
            option.and_then(|arg| arg.get_long()).unwrap_or("none")
        };
        let letters = ['d', 'b', 't', 'T', 'w', 'v', 'q', 'x', 'r', 'R'].map(long_of);
        let names =
            ["device", "baud", "half-close-timeout", "idle-timeout", "connect-timeout", "verbose", "quiet"];
        assert_eq!(letters[..7], names);
        assert_eq!(letters[7..], ["hex-dump", "record-up", "record-down"]);
    }

    #[test]
    fn a_negative_number_is_a_wrong_value_and_no_option() {
        let args = ["qssl-tunnel", "listen", "1", "--to", "a:1", "-t", "-5"];
        let error = one_line(&command().try_get_matches_from(args).unwrap_err());
        assert!(error.starts_with("invalid value '-5' for '--half-close-timeout <TIME>'"), "{error}");
        assert!(!error.contains("-- -5"), "{error}");
    }

    #[test]
    fn short_help_of_what_only_asks_is_short() {
        for name in ["at", "cert", "status"] {
            let mut command = command();
            command.build();
            let help = command.find_subcommand_mut(name).expect("it exists").render_help().to_string();
            assert!(help.contains("--device") && help.contains("--control"), "{help}");
            assert!(!help.contains("--apn"), "{help}");
            assert!(!help.contains("--connect-timeout"), "not an option of {name}: {help}");
            assert!(help.lines().count() < 45, "{help}");
            let at = |text| help.find(text).unwrap_or(usize::MAX);
            let order = ["--control", "--device", "--baud", "--quiet"].map(at);
            assert!(order.is_sorted(), "what matters first: {help}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        let said = |args: &[&str]| {
            let args = ["qssl-tunnel", "listen"].iter().chain(args);
            one_line(&Cli::try_parse_from(args).unwrap_err())
        };
        assert_eq!(
            said(&["localhost:1", "--to", "a:1"]),
            "invalid value 'localhost:1' for '<LISTEN>...': for loopback give the port alone: 1"
        );
        assert_eq!(
            said(&["1", "--to", "a:1", "--mode", "pull"]),
            "invalid value 'pull' for '--mode <MODE>' [possible values: buffer, push, transparent]"
        );
        assert_eq!(said(&["--to", "a:1"]), "the following required arguments were not provided: <LISTEN>...");
        let unknown = said(&["1", "--to", "a:1", "--devcie", "x"]);
        assert_eq!(unknown, "unexpected argument '--devcie' found; a similar argument exists: '--device'");
        assert_eq!(said(&["1", "--to", "a:1", "--bogus"]), "unexpected argument '--bogus' found");
    }
}
