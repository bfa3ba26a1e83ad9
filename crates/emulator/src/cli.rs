//! The emulator's command line, which is also the text after `emulator:` in the tunnel's device address.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{Config, PortName, Registration, Sim, TimeService};
use crate::control::Action;
use crate::module::{self, Module};
use crate::network::real::Mapping;
use crate::quirks::{Quirks, ShortRead};

/// The program: a modem that runs, or a word to one that does.
#[derive(Debug, Parser)]
#[command(
    name = "qssl-modem-emulator",
    version,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true
)]
pub struct Program {
    /// The modem.
    #[command(flatten)]
    pub options: Options,
    /// What is done instead of being one.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does besides being a modem.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Have a running modem do something: faults, network, power
    Ctl(Ctl),
}

/// `ctl`.
#[derive(Debug, Args)]
pub struct Ctl {
    /// The socket of the running modem's --control.
    #[arg(long, value_name = "PATH", env = "QSSL_MODEM_EMULATOR_CONTROL")]
    pub control: PathBuf,
    /// What it does.
    #[command(subcommand)]
    pub action: Action,
}

/// A Quectel cellular modem with real TLS.
///
/// Prints where its ports are, one per line, and runs until it is interrupted. SIGUSR1 prints what was done
/// and what was lost. Durations are seconds, or have a unit: 500ms, 2s, 5min.
///
/// The ports uart1 and uart2 can be multiplexed by AT+CMUX (3GPP TS 27.010, basic option, four channels).
#[derive(Clone, Debug, Parser)]
#[command(name = "qssl-modem-emulator", version, disable_help_subcommand = true)]
pub struct Options {
    /// The manual to follow: the module ec20 or eg800q.
    #[arg(long, value_enum, default_value_t = FamilyName::Eg800q, conflicts_with = "module")]
    pub family: FamilyName,
    /// Be the module that a file describes, or one of these: bg770a-gl, bg95-m3, bg96, ec20, ec25, ec801e, eg25-g,
    /// eg800k, eg800q. Its latencies, limits and habits hold where no other option sets them.
    #[arg(long, value_name = "FILE|NAME")]
    pub module: Option<String>,
    /// Print every value of the module with its source, and what is unknown, and end.
    #[arg(long)]
    pub show: bool,
    /// Make a pseudoterminal and this symbolic link to it; may be repeated. Without any port option there is
    /// one pseudoterminal without a link.
    #[arg(long, value_name = "PATH")]
    pub link: Vec<PathBuf>,
    /// Make a port that is reached by RFC 2217; may be repeated.
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub rfc2217: Vec<SocketAddr>,
    /// Make a port that is reached by plain TCP; may be repeated.
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    pub tcp: Vec<SocketAddr>,
    /// The modem's name for a port: usbat, usbmodem, uart1 or uart2; repeated in the order of the ports
    /// (links, rfc2217, tcp). Default: uart1, usbmodem, usbat, uart2.
    #[arg(long, value_name = "NAME", value_parser = port_name)]
    pub port_name: Vec<PortName>,
    /// Let bytes take as long as on a UART of this speed; 0 is without limit. USB ports take no time. With
    /// hardware flow control (AT+IFC=2,2) a host that does not read holds the modem, without it bytes are
    /// lost and counted; without limit nothing is ever lost.
    #[arg(long, value_name = "BAUD", value_parser = whole::<u32>, default_value = "0")]
    pub baud: u32,
    /// Lose bytes when the host has set another speed than the modem, as a UART does. Needs --baud.
    #[arg(long)]
    pub check_speed: bool,

    /// From a command to its answer.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub command_latency: Option<Duration>,
    /// From AT+QSSLSEND or AT+QISEND to its prompt.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub prompt_latency: Option<Duration>,
    /// From the last byte of payload to SEND OK.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub send_latency: Option<Duration>,
    /// From AT+QSSLRECV or AT+QIRD to its answer.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub receive_latency: Option<Duration>,
    /// The least time that an open takes.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub open_latency: Option<Duration>,
    /// From a reset to RDY. Default: the module's, or 4 s.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub boot_time: Option<Duration>,
    /// Let other programs on the same modem have it send something at this interval: pushed payload, SMS, MQTT.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub others_speak: Option<Duration>,
    /// Bytes a socket takes before SEND FAIL. Default: the module's, or 10,240.
    #[arg(long, value_name = "BYTES", value_parser = whole::<usize>)]
    pub send_buffer: Option<usize>,
    /// Bytes a socket holds for the host before the server is stopped. Default: the module's, or 10,240.
    #[arg(long, value_name = "BYTES", value_parser = whole::<usize>)]
    pub receive_buffer: Option<usize>,
    /// Bytes of the file storage, the module's own files included. Default: the module's, or 286,720.
    #[arg(long, value_name = "BYTES", value_parser = whole::<usize>)]
    pub storage: Option<usize>,

    /// Send connections to HOST:PORT to another address; may be repeated. The host at the port is shown HOST, or for a name
    /// an address of 192.0.2.0/24, with the PORT that it has asked for.
    #[arg(long, value_name = "HOST:PORT=ADDR:PORT", value_parser = mapping)]
    pub map: Vec<Mapping>,
    /// Let every name look-up fail.
    #[arg(long)]
    pub dns_fails: bool,

    /// How AT+QNTP is answered.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = TimeServiceName::Answers)]
    pub time_service: TimeServiceName,
    /// From AT+QNTP to its result.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0")]
    pub time_latency: Duration,

    /// Model, and after a space the revision, for ATI, AT+CGMM and AT+CGMR.
    #[arg(long, value_name = "TEXT")]
    pub identity: Option<String>,
    /// Serial number of the module for AT+GSN: 15 digits.
    #[arg(long, value_name = "DIGITS", value_parser = imei)]
    pub imei: Option<String>,
    /// Number of the subscriber for AT+CIMI: 6 to 15 digits.
    #[arg(long, value_name = "DIGITS", value_parser = imsi)]
    pub imsi: Option<String>,
    /// Number of the SIM card for AT+QCCID: 18 to 20 digits.
    #[arg(long, value_name = "DIGITS", value_parser = iccid)]
    pub iccid: Option<String>,
    /// Name of the network for AT+COPS?: 1 to 32 characters, without quotes.
    #[arg(long, value_name = "NAME", value_parser = operator)]
    pub operator: Option<String>,
    /// Signal for AT+CSQ, and converted for AT+CESQ, AT+QCSQ and AT+QENG: 0 to 31, or 99 for unknown.
    #[arg(long, value_name = "LEVEL", value_parser = signal)]
    pub signal: Option<u8>,
    /// Register with a network that is not the SIM card's own.
    #[arg(long, conflicts_with = "registration_denied")]
    pub roaming: bool,
    /// State of the SIM card. One that wants its PIN takes that of --sim-pin, or 1234.
    #[arg(long, value_enum, value_name = "STATE", conflicts_with = "no_sim")]
    pub sim: Option<SimName>,
    /// The SIM card requires this PIN: 4 to 8 digits.
    #[arg(long, value_name = "PIN", value_parser = pin, conflicts_with = "no_sim")]
    pub sim_pin: Option<String>,
    /// There is no SIM card.
    #[arg(long)]
    pub no_sim: bool,
    /// From a usable SIM to the registration.
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "registration_denied")]
    pub registration_after: Option<Duration>,
    /// Never register: the network refuses.
    #[arg(long)]
    pub registration_denied: bool,
    /// The access point without which no context is activated.
    #[arg(long, value_name = "APN")]
    pub required_apn: Option<String>,
    /// Address of PDP context 1 when it is first activated; later ones count up from it.
    #[arg(long, value_name = "IPV4", value_parser = ipv4)]
    pub address: Option<Ipv4Addr>,
    /// Let the network activate PDP context 1 by itself, as soon as the modem is registered.
    #[arg(long)]
    pub context_active: bool,
    /// Begin with a boot: nothing is answered before RDY, which comes after --boot-time. Without it the modem is up from
    /// the beginning.
    #[arg(long)]
    pub cold_boot: bool,
    /// The modem's clock at the beginning: `unset`, `host`, or seconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = starting_clock, default_value = "unset")]
    pub clock: StartingClock,

    /// Follow the manuals strictly; this is the default.
    #[arg(long, conflicts_with = "field")]
    pub strict: bool,
    /// Act as modules in the field commonly do, where the manuals are stricter.
    #[arg(long)]
    pub field: bool,
    /// Switch on one deviation from the manuals, or give it a value; `--quirk help` lists them. Those of AT+CMUX
    /// begin with mux-. May be repeated.
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub quirk: Vec<String>,

    /// Never answer a command line with TEXT in it; may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub mute: Vec<String>,

    /// Make a Unix socket by which `qssl-modem-emulator ctl` reaches this modem while it runs.
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// Record what passes on the ports; for a second port `.1` is added to the name, and so on.
    #[arg(long, value_name = "FILE")]
    pub transcript: Option<PathBuf>,
    /// Play back a transcript, such as a flight recording, instead of being a modem; of the other options only
    /// --link counts. May be repeated: recordings of channels (CMUX) share a line, others have a port each.
    #[arg(long, value_name = "FILE")]
    pub replay: Vec<PathBuf>,
    /// Show the dialogue on standard error, each line with seconds since the start and the port's name: `>` the host, `<` the
    /// modem. Payload is shown as its length in brackets, with its bytes where they are few. Twice to log what happens inside as well.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// `--family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FamilyName {
    /// EC20 SSL AT Commands Manual, 2015.
    Ec20,
    /// EG800Q and EG91xQ SSL Application Note, 2024.
    Eg800q,
}

/// `--sim`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimName {
    /// Usable.
    Ready,
    /// It wants a PIN.
    Pin,
    /// It wants its PUK, which no command gives it.
    Puk,
    /// There is no card.
    Absent,
    /// It does not work.
    Failed,
    /// It stays busy.
    Busy,
}

/// `--time-service`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TimeServiceName {
    /// The network reports the time.
    Answers,
    /// It fails with a result code.
    Fails,
    /// It never gets an answer.
    Silent,
}

/// `--clock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartingClock {
    /// Not set, as in a module that has never received the network's time.
    Unset,
    /// As this machine's.
    Host,
    /// Seconds since 1970.
    Seconds(i64),
}

impl Options {
    /// Reads options from one line, such as `--family ec20 --baud 115200`. Words are separated by blanks,
    /// and there is no quoting.
    ///
    /// # Errors
    /// What the program itself would report about the same words.
    pub fn parse_text(text: &str) -> anyhow::Result<Options> {
        let words = std::iter::once("qssl-modem-emulator").chain(text.split_whitespace());
        Options::try_parse_from(words).map_err(|error| {
            let text = error.render().to_string();
            // The mistake and the possible values, without usage and hints.
            let said = text.lines().map(str::trim).take_while(|line| !line.is_empty());
            let line = said.collect::<Vec<_>>().join(" ");
            anyhow::anyhow!("{}", line.trim_start_matches("error: ").to_owned())
        })
    }

    /// The modem that these options describe, with this many ports.
    ///
    /// # Errors
    /// More ports than there are names for, an unknown quirk, a buffer too small.
    pub fn config(&self, ports: usize, host_seconds: i64) -> anyhow::Result<Config> {
        let mut defaults = Config { quirks: self.quirk_set(), ..Config::default() };
        self.read_module(&mut defaults)?;
        let send_buffer_bytes = self.send_buffer.unwrap_or(defaults.send_buffer_bytes);
        if send_buffer_bytes < LEAST_SEND_BUFFER_BYTES {
            bail!("--send-buffer must be at least {LEAST_SEND_BUFFER_BYTES}, one full send");
        }
        if self.check_speed && self.baud == 0 {
            bail!("--check-speed needs --baud, the speed of the line");
        }
        let receive_buffer_bytes = self.receive_buffer.unwrap_or(defaults.receive_buffer_bytes);
        if receive_buffer_bytes == 0 {
            bail!("--receive-buffer must be at least 1");
        }
        let storage_bytes = self.storage.unwrap_or(defaults.storage_bytes);
        if storage_bytes < defaults.storage_occupied_bytes {
            bail!(
                "--storage must be at least {}, which the module takes for itself",
                defaults.storage_occupied_bytes
            );
        }
        let facts = &mut defaults.facts;
        if self.identity.is_some() {
            facts.product_lines = None;
        }
        // A latency that an option sets does not vary.
        let spreads = &mut facts.spreads;
        let set = |given: Option<Duration>, own: Duration, spread: &mut Duration| match given {
            Some(time) => {
                *spread = Duration::ZERO;
                time
            }
            None => own,
        };
        Ok(Config {
            ports: self.port_names(ports, &facts.ports)?,
            quirks: self.quirks(defaults.quirks)?,
            identity: self.identity.clone().or(defaults.identity),
            imei: self.imei.clone().unwrap_or(defaults.imei),
            imsi: self.imsi.clone().unwrap_or(defaults.imsi),
            iccid: self.iccid.clone().unwrap_or(defaults.iccid),
            operator: self.operator.clone().unwrap_or(defaults.operator),
            signal: self.signal.unwrap_or(defaults.signal),
            sim: self.sim_card()?,
            registration: match self.registration_after.unwrap_or_default() {
                _ if self.registration_denied => Registration::Denied,
                time if self.roaming => Registration::RoamingAfter(time),
                time => Registration::After(time),
            },
            pdp_address: self.address.unwrap_or(defaults.pdp_address),
            booted: !self.cold_boot,
            required_apn: self.required_apn.clone(),
            dns_fails: self.dns_fails,
            time_service: match self.time_service {
                TimeServiceName::Answers => TimeService::Answers,
                TimeServiceName::Fails => TimeService::Fails,
                TimeServiceName::Silent => TimeService::Silent,
            },
            time_latency: self.time_latency,
            mute: self.mute.clone(),
            send_buffer_bytes,
            receive_buffer_bytes,
            storage_bytes,
            clock: match self.clock {
                StartingClock::Unset => defaults.clock,
                StartingClock::Host => Some(host_seconds),
                StartingClock::Seconds(seconds) => Some(seconds),
            },
            baud: if self.baud > 0 { self.baud } else { defaults.baud },
            command_latency: set(self.command_latency, defaults.command_latency, &mut spreads.command),
            prompt_latency: set(self.prompt_latency, defaults.prompt_latency, &mut spreads.prompt),
            send_latency: set(self.send_latency, defaults.send_latency, &mut spreads.send),
            receive_latency: set(self.receive_latency, defaults.receive_latency, &mut spreads.receive),
            open_latency: set(self.open_latency, defaults.open_latency, &mut spreads.open),
            others_speak_every: self.others_speak,
            boot_time: set(self.boot_time, defaults.boot_time, &mut spreads.boot),
            ..defaults
        })
    }

    /// Makes `config` the module that is asked for.
    ///
    /// # Errors
    /// There is no such module, or its file is wrong.
    pub fn read_module(&self, config: &mut Config) -> anyhow::Result<Module> {
        let family = match self.family {
            FamilyName::Ec20 => "ec20",
            FamilyName::Eg800q => "eg800q",
        };
        module::read(self.module.as_deref().unwrap_or(family), config)
    }

    fn sim_card(&self) -> anyhow::Result<Sim> {
        let pin = || Sim::Pin(self.sim_pin.clone().unwrap_or_else(|| USUAL_PIN.into()));
        Ok(match self.sim {
            None if self.no_sim => Sim::Absent,
            None if self.sim_pin.is_none() => Sim::Ready,
            None | Some(SimName::Pin) => pin(),
            Some(_) if self.sim_pin.is_some() => {
                bail!("--sim-pin is for a card that wants its PIN (--sim pin)")
            }
            Some(SimName::Ready) => Sim::Ready,
            Some(SimName::Puk) => Sim::Puk,
            Some(SimName::Absent) => Sim::Absent,
            Some(SimName::Failed) => Sim::Failed,
            Some(SimName::Busy) => Sim::Busy,
        })
    }

    fn port_names(&self, ports: usize, possible: &[PortName]) -> anyhow::Result<Vec<PortName>> {
        if self.port_name.len() > ports {
            bail!("{} port names (--port-name) are too many, number of ports: {ports}", self.port_name.len());
        }
        let mut names = self.port_name.clone();
        if let Some(name) = names.iter().find(|name| !possible.contains(name)) {
            bail!("the module has no port {}", name.name());
        }
        let usual: Vec<PortName> = USUAL_NAMES.into_iter().filter(|name| possible.contains(name)).collect();
        for &name in &usual {
            if names.len() < ports && !names.contains(&name) {
                names.push(name);
            }
        }
        if names.len() < ports {
            bail!("a modem has at most {} ports, {ports} are asked for", usual.len());
        }
        Ok(names)
    }

    /// The set that the module's own habits change.
    fn quirk_set(&self) -> Quirks {
        if self.field { Quirks::field() } else { Quirks::strict() }
    }

    fn quirks(&self, mut quirks: Quirks) -> anyhow::Result<Quirks> {
        quirks.context_active |= self.context_active;
        for text in &self.quirk {
            let (name, value) = text.split_once('=').unwrap_or((text, "on"));
            let name_in_code = name.replace('-', "_");
            match name_in_code.as_str() {
                number if Quirks::has_number(number) => {
                    let value = value.parse().with_context(|| format!("--quirk {name} needs a number"))?;
                    quirks.set_number(number, value);
                }
                "short_read" => {
                    quirks.short_read = match value {
                        "keeps-rest" => ShortRead::KeepsRest,
                        "drops-rest" => ShortRead::DropsRest,
                        _ => bail!("--quirk {name} is keeps-rest or drops-rest, not {value:?}"),
                    }
                }
                _ => {
                    let on = match value {
                        "on" => true,
                        "off" => false,
                        _ => bail!("--quirk {name} is either on or off, not {value:?}"),
                    };
                    if !quirks.set(name, on) {
                        bail!("no quirk is called {name:?}, see --quirk help");
                    }
                }
            }
        }
        Ok(quirks)
    }

    /// Every quirk and what it does, one per line; `None` unless `--quirk help` was given.
    pub fn quirk_list(&self) -> Option<String> {
        if !self.quirk.iter().any(|name| name == "help") {
            return None;
        }
        Some(quirks_in_words().map(|(name, meaning)| format!("{name}\n    {meaning}\n")).collect())
    }
}

/// What `--quirk` takes, and what it does.
pub fn quirks_in_words() -> impl Iterator<Item = (String, &'static str)> {
    let numbers = Quirks::NUMBERS.map(|(name, meaning)| (format!("{name}=N"), meaning));
    let short_read =
        ("short_read=drops-rest".to_owned(), "AT+QIRD of a part of a datagram loses the rest of it.");
    let switches = Quirks::SWITCHES.iter().map(|(name, meaning)| ((*name).to_owned(), *meaning));
    let all = switches.chain(numbers).chain([short_read]);
    all.map(|(name, meaning)| (name.replace('_', "-"), meaning.trim()))
}

/// The names that ports get when none is given.
const USUAL_NAMES: [PortName; 4] = [PortName::Uart1, PortName::UsbModem, PortName::UsbAt, PortName::Uart2];
/// One full AT+QSSLSEND.
const LEAST_SEND_BUFFER_BYTES: usize = 1460;

/// Of a SIM card that wants one, if none is given.
const USUAL_PIN: &str = "1234";

fn digits(text: &str, lengths: RangeInclusive<usize>, wanted: &str) -> Result<String, String> {
    let fits = lengths.contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
    if fits { Ok(text.into()) } else { Err(format!("write {wanted} digits")) }
}

fn imei(text: &str) -> Result<String, String> {
    digits(text, 15..=15, "15")
}

fn imsi(text: &str) -> Result<String, String> {
    digits(text, 6..=15, "6 to 15")
}

fn iccid(text: &str) -> Result<String, String> {
    digits(text, 18..=20, "18 to 20")
}

fn pin(text: &str) -> Result<String, String> {
    digits(text, 4..=8, "4 to 8")
}

fn operator(text: &str) -> Result<String, String> {
    let fits = (1..=32).contains(&text.chars().count());
    let is_plain = !text.contains(|c: char| c == '"' || c.is_control());
    if fits && is_plain { Ok(text.into()) } else { Err("write 1 to 32 characters, without quotes".into()) }
}

pub(crate) fn signal(text: &str) -> Result<u8, String> {
    let level = text.parse().ok().filter(|level| is_signal(*level));
    level.ok_or_else(|| "write 0 to 31, or 99 for unknown".into())
}

/// Whether AT+CSQ has this level.
pub(crate) fn is_signal(level: u8) -> bool {
    matches!(level, 0..=31 | 99)
}

fn ipv4(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| "write an IPv4 address, such as 10.7.157.1".into())
}

fn port_name(text: &str) -> Result<PortName, String> {
    PortName::from_name(text).ok_or_else(|| "not one of usbat, usbmodem, uart1, uart2".into())
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "min" => 60.0,
        _ => return Err("not a time, write 500ms, 2s, 5min or plain seconds".into()),
    };
    let number: f64 = number.parse().map_err(|_| "not a time, write 500ms, 2s, 5min or plain seconds")?;
    let time = Duration::try_from_secs_f64(number * factor).map_err(|_| "too long a time")?;
    if time > LONGEST_TIME { Err("longer than a day".into()) } else { Ok(time) }
}

/// No latency is longer.
pub(crate) const LONGEST_TIME: Duration = Duration::from_secs(86_400);

fn whole<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "not a whole number, or too large a one".into())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write ADDR:PORT, with a numeric address".into())
}

fn mapping(text: &str) -> Result<Mapping, String> {
    let (from, to) = text.split_once('=').ok_or("write HOST:PORT=ADDR:PORT")?;
    let (host, port) = from.rsplit_once(':').ok_or("write HOST:PORT before the equals sign")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("the host before the equals sign is missing".into());
    }
    let port = port.parse().map_err(|_| "the port before the equals sign is not one of 0 to 65535")?;
    let address = to.parse().map_err(|_| "write ADDR:PORT after the equals sign, with a numeric address")?;
    Ok(Mapping { host: host.to_owned(), port, address })
}

/// A time that AT+CCLK can show.
pub(crate) fn clock_seconds(text: &str) -> Result<i64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0..=LAST_SECOND).contains(seconds));
    seconds.ok_or_else(|| "write seconds since 1970, up to the year 9999".into())
}

/// The end of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

fn starting_clock(text: &str) -> Result<StartingClock, String> {
    match text {
        "unset" => Ok(StartingClock::Unset),
        "host" => Ok(StartingClock::Host),
        _ => clock_seconds(text)
            .map(StartingClock::Seconds)
            .map_err(|_| "write unset, host, or seconds since 1970, up to the year 9999".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Family;

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }

    #[test]
    fn a_line_of_text_is_read_like_arguments() {
        let options =
            Options::parse_text("--family ec20  --baud 115200 --send-latency 16ms --quirk leftovers-held");
        let config = options.expect("the text is right").config(2, 0).expect("the options are right");
        assert_eq!(config.family, Family::Ec20);
        assert_eq!(config.baud, 115_200);
        assert_eq!(config.send_latency, Duration::from_millis(16));
        assert_eq!(config.ports, [PortName::Uart1, PortName::UsbModem]);
        assert_eq!(config.quirks, Quirks { leftovers_held: true, ..Quirks::strict() });
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        let message = |text| Options::parse_text(text).expect_err("the text is wrong").to_string();
        assert_eq!(message("--bauds 1"), "unexpected argument '--bauds' found");
        assert!(
            message("--map x=1").contains("write HOST:PORT before the equals sign"),
            "{}",
            message("--map x=1")
        );
        assert_eq!(
            message("--family ec99"),
            "invalid value 'ec99' for '--family <FAMILY>' [possible values: ec20, eg800q]"
        );
        let quirk = Options::parse_text("--quirk flies").expect("any name is read");
        let error = quirk.config(1, 0).expect_err("there is no such quirk").to_string();
        assert_eq!(error, "no quirk is called \"flies\", see --quirk help");
        let check = Options::parse_text("--check-speed").expect("it is read").config(1, 0);
        let error = check.expect_err("the line has no speed").to_string();
        assert_eq!(error, "--check-speed needs --baud, the speed of the line");
        let many = Options::parse_text("").expect("nothing is right").config(5, 0);
        assert_eq!(
            many.expect_err("too many ports").to_string(),
            "a modem has at most 4 ports, 5 are asked for"
        );
    }

    #[test]
    fn a_modem_has_the_identity_and_the_state_that_its_options_give() {
        let config = |text| Options::parse_text(text).and_then(|options| options.config(1, 0));
        let given = config(
            "--imei 861234567890123 --imsi 262011234567890 --iccid 8949012345678901234 --operator Example --signal 9 \
             --roaming --registration-after 3 --sim busy --cold-boot --address 100.64.0.9 --context-active",
        )
        .expect("the options are right");
        assert_eq!((given.imei.as_str(), given.imsi.as_str()), ("861234567890123", "262011234567890"));
        assert_eq!((given.iccid.as_str(), given.operator.as_str()), ("8949012345678901234", "Example"));
        assert_eq!((given.signal, given.sim), (9, Sim::Busy));
        assert_eq!(given.registration, Registration::RoamingAfter(Duration::from_secs(3)));
        assert_eq!(given.pdp_address, Ipv4Addr::new(100, 64, 0, 9));
        assert!(!given.booted && given.quirks.context_active);
        for (text, sim) in [
            ("", Sim::Ready),
            ("--sim pin", Sim::Pin("1234".into())),
            ("--sim-pin 9876", Sim::Pin("9876".into())),
            ("--sim pin --sim-pin 9876", Sim::Pin("9876".into())),
            ("--sim puk", Sim::Puk),
            ("--no-sim", Sim::Absent),
        ] {
            assert_eq!(config(text).expect("the options are right").sim, sim, "{text}");
        }
        for (text, error) in [
            ("--imei 12345", "write 15 digits"),
            ("--imsi 26201x", "write 6 to 15 digits"),
            ("--iccid 1", "write 18 to 20 digits"),
            ("--sim-pin 12", "write 4 to 8 digits"),
            ("--signal 32", "write 0 to 31, or 99 for unknown"),
            ("--operator \"", "write 1 to 32 characters, without quotes"),
            ("--address 10.1", "write an IPv4 address, such as 10.7.157.1"),
            ("--sim wet", "[possible values: ready, pin, puk, absent, failed, busy]"),
            ("--sim puk --sim-pin 1234", "--sim-pin is for a card that wants its PIN (--sim pin)"),
            ("--roaming --registration-denied", "cannot be used with"),
            ("--check-speed", "--check-speed needs --baud, the speed of the line"),
        ] {
            let message = config(text).expect_err(text).to_string();
            assert!(message.contains(error) && !message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("0.25s"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5min"), Ok(Duration::from_secs(300)));
        for wrong in ["", "ms", "-1", "1h", "1e99", "99999999", "1.2.3"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_mapping_keeps_name_and_port_apart() {
        let expected = Mapping {
            host: "2001:db8::1".into(),
            port: 443,
            address: "127.0.0.1:8443".parse().expect("an address"),
        };
        assert_eq!(mapping("[2001:db8::1]:443=127.0.0.1:8443"), Ok(expected));
        for wrong in ["", "a:443", "a=127.0.0.1:1", ":1=127.0.0.1:1", "a:x=127.0.0.1:1", "a:1=localhost:1"] {
            assert!(mapping(wrong).is_err(), "{wrong:?}");
        }
    }
}
