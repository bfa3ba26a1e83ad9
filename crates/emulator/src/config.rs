//! What the emulated modem is: its family, ports, SIM, network, memory and speed, as plain data.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::facts::Facts;
use crate::quirks::Quirks;

/// Everything about a modem that is decided before it is switched on.
///
/// The default is an EG800Q with one UART and a SIM without PIN. It is registered, has no latency anywhere, and
/// its clock is not set, as in a module that has never received the network's time.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which manual it follows.
    pub family: Family,
    /// Its ports, in the order of the port numbers of `Modem`; at least one. Of several with one name the
    /// first gets that name's URCs.
    pub ports: Vec<PortName>,
    /// Where it differs from the manual.
    pub quirks: Quirks,
    /// A command line with one of these in it is never answered.
    pub mute: Vec<String>,
    /// Model, and after a space the firmware revision, for ATI, AT+CGMM and AT+CGMR; `None` for the
    /// family's own.
    pub identity: Option<String>,
    /// Serial number, 15 digits.
    pub imei: String,
    /// Subscriber, up to 15 digits.
    pub imsi: String,
    /// Number of the SIM card, up to 20 digits.
    pub iccid: String,
    /// State of the SIM card.
    pub sim: Sim,
    /// Whether and when it registers.
    pub registration: Registration,
    /// Name of the network in AT+COPS.
    pub operator: String,
    /// First figure of AT+CSQ: 0 to 31, 99 unknown.
    pub signal: u8,
    /// What it measures besides.
    pub cell: Cell,
    /// The access point without which no context is activated; `None` accepts any, even an empty one.
    pub required_apn: Option<String>,
    /// Address of PDP context 1 when it is first activated; later activations and the other contexts count up from it.
    pub pdp_address: Ipv4Addr,
    /// Whether all name look-ups fail.
    pub dns_fails: bool,
    /// How AT+QNTP ends.
    pub time_service: TimeService,
    /// From AT+QNTP to its result.
    pub time_latency: Duration,
    /// Bytes a socket takes from the host before SEND FAIL; not less than one full send, 1460.
    pub send_buffer_bytes: usize,
    /// Bytes a socket holds for the host before the server is stopped; at least 1.
    pub receive_buffer_bytes: usize,
    /// Datagrams a socket holds for the host; `receive_buffer_bytes` counts as well, and what does not fit is dropped.
    pub receive_buffer_datagrams: usize,
    /// Most bytes of a stream in one pushed message, 1 to 16,384.
    pub push_limit_bytes: usize,
    /// Bytes of output above which the modem hands no more received data to a port.
    pub port_buffer_bytes: usize,
    /// Longest command line in bytes, without its CR.
    pub command_line_limit_bytes: usize,
    /// Size of the file storage UFS.
    pub storage_bytes: usize,
    /// Bytes of it that are taken by the module itself.
    pub storage_occupied_bytes: usize,
    /// Size of the file storage RAM.
    pub ram_storage_bytes: usize,
    /// The clock at power-up in seconds since 1970; `None` is a clock never set, 1980-01-06.
    pub clock: Option<i64>,
    /// Speed of a UART after boot, in baud.
    pub baud: u32,
    /// Whether the modem is up when it is made; otherwise it boots then, and sends RDY when the boot is over.
    pub booted: bool,
    /// From the end of a command line to its answer, where none of the others applies.
    pub command_latency: Duration,
    /// From AT+QSSLSEND or AT+QISEND to its prompt.
    pub prompt_latency: Duration,
    /// From the last byte of payload to SEND OK.
    pub send_latency: Duration,
    /// Added to `send_latency` for every byte of payload.
    pub send_latency_per_byte: Duration,
    /// From AT+QSSLRECV or AT+QIRD to its answer.
    pub receive_latency: Duration,
    /// The least time from AT+QSSLOPEN or AT+QIOPEN to its outcome.
    pub open_latency: Duration,
    /// The least time from AT+QSSLCLOSE or AT+QICLOSE to its answer.
    pub close_latency: Duration,
    /// From AT+QIACT or AT+QIDEACT to the answer.
    pub activation_latency: Duration,
    /// How often another program, whose MQTT client is connected, makes the modem send something; `None`: there is
    /// no other program.
    pub others_speak_every: Option<Duration>,
    /// From the reset to RDY.
    pub boot_time: Duration,
    /// Silence that must surround +++, and the longest time the three may take.
    pub escape_guard: Duration,
    /// What else is particular to the module.
    pub facts: Facts,
}

impl Config {
    /// How many PDP contexts there are, numbered from 1.
    pub(crate) fn pdp_contexts(&self) -> u8 {
        self.facts.limits.pdp_contexts.unwrap_or(self.family.pdp_contexts())
    }
}

/// What a modem measures of its cell, besides the first figure of AT+CSQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// In dBm; `None`: 28 dB below what AT+CSQ says.
    pub rsrp: Option<i32>,
    /// In dB.
    pub rsrq: i32,
    /// In dB.
    pub sinr: i32,
    /// The LTE band.
    pub band: u8,
    /// In degrees Celsius; `None`: AT+QTEMP is refused.
    pub temperature: Option<i32>,
}

impl Default for Cell {
    fn default() -> Cell {
        Cell { rsrp: None, rsrq: -11, sinr: 12, band: 3, temperature: Some(34) }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            family: Family::Eg800q,
            ports: vec![PortName::Uart1],
            quirks: Quirks::strict(),
            mute: Vec::new(),
            identity: None,
            imei: "490154203237518".into(),
            imsi: "001010123456789".into(),
            iccid: "89860000000000000007".into(),
            sim: Sim::Ready,
            registration: Registration::After(Duration::ZERO),
            operator: "Emulated".into(),
            signal: 28,
            cell: Cell::default(),
            required_apn: None,
            pdp_address: Ipv4Addr::new(10, 7, 157, 1),
            dns_fails: false,
            time_service: TimeService::Answers,
            time_latency: Duration::ZERO,
            send_buffer_bytes: 10_240,
            receive_buffer_bytes: 10_240,
            receive_buffer_datagrams: 32,
            push_limit_bytes: 1_460,
            port_buffer_bytes: 2_048,
            command_line_limit_bytes: 1_024,
            storage_bytes: 286_720,
            storage_occupied_bytes: 106_496,
            ram_storage_bytes: 131_072,
            clock: None,
            baud: 115_200,
            booted: true,
            command_latency: Duration::ZERO,
            prompt_latency: Duration::ZERO,
            send_latency: Duration::ZERO,
            send_latency_per_byte: Duration::ZERO,
            receive_latency: Duration::ZERO,
            open_latency: Duration::ZERO,
            close_latency: Duration::ZERO,
            activation_latency: Duration::ZERO,
            others_speak_every: None,
            boot_time: Duration::from_secs(4),
            escape_guard: Duration::from_secs(1),
            facts: Facts::default(),
        }
    }
}

/// Which of the two manuals the modem follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Family {
    /// EC20 SSL AT Commands Manual, 2015.
    Ec20,
    /// EG800Q and EG91xQ SSL Application Note, 2024.
    #[default]
    Eg800q,
}

impl Family {
    /// How many PDP contexts its manual has.
    fn pdp_contexts(self) -> u8 {
        match self {
            Family::Ec20 => 16,
            Family::Eg800q => 15,
        }
    }

    /// A model and a firmware revision.
    pub(crate) fn identity(self) -> (&'static str, &'static str) {
        match self {
            Family::Ec20 => ("EC20F", "EC20EFAR02A04M4G"),
            Family::Eg800q => ("EG800Q", "EG800QEULCR01A05M04"),
        }
    }
}

/// A port of the modem, as AT+QSSLSTATE and AT+QURCCFG name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortName {
    /// USB AT port; on the EC20 without transparent mode.
    UsbAt,
    /// USB modem port.
    UsbModem,
    /// Main UART.
    Uart1,
    /// Auxiliary UART.
    Uart2,
}

impl PortName {
    /// All of them.
    pub const ALL: [PortName; 4] = [PortName::UsbAt, PortName::UsbModem, PortName::Uart1, PortName::Uart2];

    /// The name in commands and answers.
    pub fn name(self) -> &'static str {
        match self {
            PortName::UsbAt => "usbat",
            PortName::UsbModem => "usbmodem",
            PortName::Uart1 => "uart1",
            PortName::Uart2 => "uart2",
        }
    }

    /// The port of that name.
    pub fn from_name(name: &str) -> Option<PortName> {
        PortName::ALL.into_iter().find(|port| port.name() == name)
    }
}

/// The SIM card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sim {
    /// Usable.
    Ready,
    /// Wants this PIN, and the PUK after three wrong ones.
    Pin(String),
    /// Wants its PUK, which this modem does not take.
    Puk,
    /// Not inserted: CME error 10.
    Absent,
    /// It does not work: CME error 13.
    Failed,
    /// It stays busy: CME error 14.
    Busy,
}

/// How the mobile network treats the modem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Registered at home, this long after the SIM became usable.
    After(Duration),
    /// The same, roaming.
    RoamingAfter(Duration),
    /// Refused.
    Denied,
    /// No network is found.
    Searching,
}

/// How AT+QNTP ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TimeService {
    /// The network reports the time.
    #[default]
    Answers,
    /// It fails with a result code.
    Fails,
    /// It never gets an answer.
    Silent,
}
