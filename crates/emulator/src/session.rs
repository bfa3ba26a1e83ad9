//! The state that a reboot resets: sockets, contexts, settings, registration.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::config::{Config, PortName, Sim};
use crate::network::ConnectionId;
use crate::socket::Socket;
use crate::ssl_settings::SslSettings;
use crate::store::FileName;

/// All volatile state except that of the ports.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) sockets: Vec<Socket>,
    /// By number less one.
    pub(crate) pdp_contexts: Vec<PdpContext>,
    pub(crate) ssl: SslSettings,
    pub(crate) urc_port: UrcPort,
    /// The code of AT+QIGETERROR.
    pub(crate) last_error: u16,
    /// The connection that left transparent mode last, for ATO.
    pub(crate) last_transparent: Option<ConnectionId>,
    /// Sockets opened since the boot.
    pub(crate) opens: u32,
    /// A fault: every close is refused.
    pub(crate) closes_refused: bool,
    /// The connection whose data was pushed last; the next turn is another's.
    pub(crate) pushed_last: Option<ConnectionId>,
    /// AT+CFUN: 0, 1 or 4
    pub(crate) functionality: u8,
    pub(crate) sim_usable: bool,
    /// Since when the modem searches for a network.
    pub(crate) searching_since: Option<Instant>,
    /// AT+CREG, AT+CGREG and AT+CEREG: 0 no URC, 1 URC, 2 URC with location
    pub(crate) registration_urcs: [u8; 3],
    /// The state that was last reported by URC.
    pub(crate) registration_told: u8,
    pub(crate) data_format: DataFormat,
    /// AT+QISDE: whether the payload of AT+QISEND is echoed.
    pub(crate) sends_echoed: bool,
    /// AT+CNMI
    pub(crate) message_indications: [u8; 5],
    /// AT+QIDNSGIP or AT+QPING under way.
    pub(crate) look_up: Option<LookUp>,
    /// Files that AT+QFOPEN has opened.
    pub(crate) open_files: Vec<OpenFile>,
    /// Whether the network has activated a context since the modem registered, where it does so by itself.
    pub(crate) attached: bool,
    /// Values of AT+QCFG by key, AT+CTZU, AT+CTZR and the like: kept and shown, without effect.
    pub(crate) kept: BTreeMap<String, String>,
}

/// One PDP context.
#[derive(Clone, Debug, Default)]
pub(crate) struct PdpContext {
    pub(crate) settings: Option<PdpSettings>,
    /// Its address while it is active.
    pub(crate) address: Option<Ipv4Addr>,
    /// It is reported active, but no traffic gets through.
    pub(crate) worn_out: bool,
    pub(crate) activations: u8,
    pub(crate) name_servers: Vec<String>,
}

/// AT+QICSGP.
#[derive(Clone, Debug)]
pub(crate) struct PdpSettings {
    pub(crate) kind: u8,
    pub(crate) apn: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) authentication: u8,
}

/// A name that is being looked up for a command.
#[derive(Clone, Debug)]
pub(crate) struct LookUp {
    pub(crate) id: ConnectionId,
    pub(crate) purpose: LookUpPurpose,
}

/// What a name is looked up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookUpPurpose {
    /// AT+QIDNSGIP: its addresses.
    Addresses,
    /// AT+QPING: this many requests, each with this time for its answer. `answered` is whether the data session carries
    /// them.
    Ping { count: u8, timeout: Duration, answered: bool },
}

/// A file that AT+QFOPEN has opened.
#[derive(Clone, Debug)]
pub(crate) struct OpenFile {
    pub(crate) handle: u32,
    pub(crate) name: FileName,
    /// Mode of AT+QFOPEN; 2 is read-only.
    pub(crate) mode: u8,
    pub(crate) position: usize,
}

/// AT+QICFG: the form of payload and results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct DataFormat {
    /// "viewmode": payload after its header on one line
    pub(crate) one_line: bool,
    /// "dataformat": payload of sends is hexadecimal
    pub(crate) hex_to_modem: bool,
    /// "dataformat": received payload is hexadecimal
    pub(crate) hex_to_host: bool,
    /// "sendinfo": +QISEND instead of SEND OK
    pub(crate) send_info: bool,
    /// "recvind": the URC of buffer mode shows how much waits
    pub(crate) length_announced: bool,
    /// "close/mode": a close is answered before it is done
    pub(crate) close_later: bool,
}

/// AT+QURCCFG="urcport".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UrcPort {
    One(PortName),
    All,
}

impl Session {
    pub(crate) fn new(config: &Config) -> Session {
        let has = |port| config.ports.contains(&port);
        // The SSL manuals do not define this default: usbat if the modem has it, else uart1, else the first port.
        let urc_port = [PortName::UsbAt, PortName::Uart1].into_iter().find(|port| has(*port));
        Session {
            sockets: Vec::new(),
            pdp_contexts: vec![PdpContext::default(); usize::from(config.pdp_contexts())],
            ssl: SslSettings::new(config),
            urc_port: UrcPort::One(urc_port.unwrap_or(config.ports[0])),
            last_error: 0,
            last_transparent: None,
            opens: 0,
            closes_refused: false,
            pushed_last: None,
            functionality: 1,
            sim_usable: config.sim == Sim::Ready,
            searching_since: None,
            registration_urcs: [0; 3],
            registration_told: 0,
            data_format: DataFormat::default(),
            sends_echoed: true,
            message_indications: [2, if config.quirks.messages_shown { 2 } else { 1 }, 0, 0, 0],
            look_up: None,
            open_files: Vec::new(),
            attached: false,
            kept: BTreeMap::new(),
        }
    }

    /// The channel of AT+QCFG="cmux/urcport"; 0 for all.
    pub(crate) fn mux_urc_channel(&self) -> u8 {
        let kept = MUX_URC_KEYS.iter().find_map(|key| self.kept.get(*key));
        let first = kept.and_then(|value| value.split(',').next());
        first.and_then(|number| number.trim_matches('"').parse().ok()).unwrap_or(0)
    }
}

/// The channel of a multiplexer's URCs: the usual key, and the BG770A's.
pub(crate) const MUX_URC_KEYS: [&str; 2] = ["cmux/urcport", "emux/urcport"];
