//! One port of the modem: its settings, its current work, and the output that waits to leave.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use crate::config::{Config, PortName};
use crate::mux::state::{Mux, MuxSettings};
use crate::network::ConnectionId;
use crate::parser::Command;
use crate::queue::Queue;
use crate::socket::Service;
use crate::store::FileName;

/// One port.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) name: PortName,
    pub(crate) reach: Reach,
    pub(crate) settings: Settings,
    /// What AT&W has stored, which a boot and ATZ bring back.
    pub(crate) profile: Settings,
    pub(crate) mode: Mode,
    /// Bytes on their way to the host.
    pub(crate) output: Queue,
    /// URCs that wait until they may be sent (see `delivery`).
    pub(crate) urcs: VecDeque<Vec<u8>>,
    /// The command line so far, with its AT.
    pub(crate) line: Vec<u8>,
    pub(crate) line_too_long: bool,
    /// The last command line, with its AT, which A/ repeats.
    pub(crate) last_line: Vec<u8>,
    /// Whether nothing that is no command came since the last end of a line.
    pub(crate) at_line_start: bool,
    /// Whether the last byte was the CR of a command line.
    pub(crate) after_return: bool,
    /// Whether the host ended its last command line with CR LF, as far as that could be seen.
    pub(crate) ends_with_line_feed: bool,
    /// When the modem last asked for payload: by the send prompt, or by CONNECT for a file.
    pub(crate) prompted_at: Option<Instant>,
    /// Payload that came before its prompt, where a quirk keeps it.
    pub(crate) early_payload: Vec<u8>,
    /// What came while a command was carried out, where a quirk keeps it.
    pub(crate) queued_input: Vec<u8>,
    /// Bytes that came while the modem was stalled.
    pub(crate) stalled_input: Vec<u8>,
    pub(crate) last_byte_at: Option<Instant>,
    /// When a byte last left.
    pub(crate) last_left_at: Option<Instant>,
    /// Whether a command line has woken the modem: the rest of that line is lost.
    pub(crate) wakes: bool,
    pub(crate) dtr: bool,
    pub(crate) rts: bool,
    pub(crate) carrier: Carrier,
    /// A speed that comes into force when the answer to AT+IPR has left.
    pub(crate) next_baud: Option<u32>,
    /// What comes before then is not read, by a quirk.
    pub(crate) deaf_until: Option<Instant>,
    /// A multiplexer that begins when AT+CMUX has been answered.
    pub(crate) next_mux: Option<MuxSettings>,
}

/// How a port reaches the host.
#[derive(Clone, Debug)]
pub(crate) enum Reach {
    /// It is a line of its own.
    Line,
    /// It is a line, and its bytes are the frames of a multiplexer.
    Mux(Box<Mux>),
    /// It is a channel of the multiplexer on that line, whenever there is one.
    Channel { line: usize, dlci: u8 },
}

/// The settings of one port that commands change; a boot resets them.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// ATE
    pub(crate) echo: bool,
    /// ATV
    pub(crate) verbose: bool,
    /// ATQ
    pub(crate) quiet: bool,
    /// AT+CMEE: 0 ERROR, 1 number, 2 text
    pub(crate) error_form: u8,
    /// AT&D: what the loss of DTR does, 0 to 2
    pub(crate) dtr: u8,
    /// AT&C: 0 DCD always, 1 DCD only while a transparent connection is up
    pub(crate) dcd: u8,
    /// First parameter of AT+IFC: whether the host stops the modem by RTS
    pub(crate) rts_flow: bool,
    /// Second parameter: whether the modem stops the host by CTS
    pub(crate) cts_flow: bool,
    pub(crate) baud: u32,
    /// ATS0, ATS3 and so on; kept and shown, without effect
    pub(crate) registers: [u8; 13],
}

/// What a port is busy with.
///
/// ```text
///            CR                 prompt             last byte
/// Command ────────► Executing ────────► Payload ────────────► Sending
///    ▲                │  │ │ CONNECT                             │
///    │   OK, ERROR    │  │ └────────► Upload, Data ──► OK, …     │ SEND OK
///    └────────────────┘  └► Waiting ──► OK, CONNECT              │
///    └───────────────────────────────────────────────────────────┘
/// ```
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// Reads a command line.
    Command,
    /// Carries out a command line: the first of `commands` is due, or the final OK if there is none.
    Executing { commands: VecDeque<Command>, due: Instant },
    /// Carries out a command whose end does not depend on the time alone.
    Waiting(Wait),
    /// Collects the payload of a send.
    Payload(Payload),
    /// Has the payload, and hands it to the socket when it is due.
    Sending { payload: Payload, due: Instant },
    /// Collects a file.
    Upload(Upload),
    /// Is the stream of a connection.
    Data { connection: ConnectionId, escape: Escape },
}

/// What a blocked port waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// A transparent open: CONNECT or ERROR.
    Open(ConnectionId),
    /// An open whose result comes before its OK.
    OpenBeforeOk(ConnectionId),
    /// The end of a connection: OK.
    Close(ConnectionId),
}

/// The payload of a send.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub(crate) service: Service,
    /// The connection that the socket had when the command came.
    pub(crate) connection: ConnectionId,
    /// Where a datagram of a UDP service goes.
    pub(crate) to: Option<SocketAddr>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: PayloadEnd,
}

/// How a payload ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadEnd {
    /// After this many bytes.
    Length(usize),
    /// With Ctrl+Z, or with ESC, which cancels.
    Mark,
    /// It was given in the command, in hexadecimal digits.
    InCommand,
    /// It was cancelled.
    Cancelled,
}

/// What is on its way into a file of the modem.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) target: UploadTarget,
    pub(crate) size: usize,
    pub(crate) bytes: Vec<u8>,
    pub(crate) timeout: std::time::Duration,
    /// When the wait for a further byte is over.
    pub(crate) due: Instant,
    /// Whether each 1,024 bytes are acknowledged with an A.
    pub(crate) acknowledged: bool,
}

/// Where an upload goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UploadTarget {
    /// It becomes this file.
    File(FileName),
    /// It is written into an open file, named by its handle.
    Handle(u32),
}

/// How much of `+++` was seen in data mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escape {
    None,
    /// One or two after enough silence; they are payload if the rest is not there by `first_at` plus guard.
    Begun {
        count: u8,
        first_at: Instant,
    },
    /// All three; they are an escape if nothing follows until `last_at` plus guard.
    Complete {
        last_at: Instant,
    },
}

/// The carrier that DCD shows under AT&C1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Down,
    Up(ConnectionId),
    /// It falls when this many bytes of output have left, which include the last payload.
    FallingAfter(usize),
}

impl Port {
    pub(crate) fn new(name: PortName, config: &Config) -> Port {
        Port {
            name,
            reach: Reach::Line,
            settings: Settings::new(config),
            profile: Settings::new(config),
            mode: Mode::Command,
            output: Queue::default(),
            urcs: VecDeque::new(),
            line: Vec::new(),
            line_too_long: false,
            last_line: b"AT".to_vec(),
            at_line_start: true,
            after_return: false,
            ends_with_line_feed: false,
            prompted_at: None,
            early_payload: Vec::new(),
            queued_input: Vec::new(),
            stalled_input: Vec::new(),
            last_byte_at: None,
            last_left_at: None,
            wakes: false,
            dtr: true,
            rts: true,
            carrier: Carrier::Down,
            next_baud: None,
            deaf_until: None,
            next_mux: None,
        }
    }

    /// Resets what a reboot resets, a multiplexer too. What is on its way to the host stays on a line; the end of a
    /// channel drops it.
    pub(crate) fn reset(&mut self, config: &Config) {
        let old = std::mem::replace(self, Port::new(self.name, config));
        self.settings = old.profile.clone();
        self.profile = old.profile;
        if let Reach::Channel { .. } = old.reach {
            self.reach = old.reach;
            return;
        }
        self.output = old.output;
        self.dtr = old.dtr;
        self.rts = old.rts;
    }

    /// Whether no byte has passed for this long.
    pub(crate) fn is_quiet_for(&self, time: std::time::Duration, now: Instant) -> bool {
        let last = self.last_byte_at.max(self.last_left_at);
        last.is_some_and(|last| now.saturating_duration_since(last) >= time)
    }

    /// Adds to the output; false if it had to be dropped because the host does not read.
    pub(crate) fn emit(&mut self, bytes: &[u8]) -> bool {
        let fits = self.output.len() <= OUTPUT_LIMIT_BYTES;
        if fits {
            self.output.push(bytes);
        }
        fits
    }

    /// A final result such as OK: as words, as a number, or not at all.
    pub(crate) fn final_result(&mut self, words: &str, number: u8) {
        if self.settings.quiet {
            return;
        }
        let text = match self.settings.verbose {
            true => format!("\r\n{words}\r\n"),
            false => format!("{number}\r"),
        };
        self.emit(text.as_bytes());
    }

    pub(crate) fn ok(&mut self) {
        self.final_result("OK", 0);
    }

    pub(crate) fn connect(&mut self) {
        self.final_result("CONNECT", 1);
    }

    pub(crate) fn no_carrier(&mut self) {
        self.final_result("NO CARRIER", 3);
    }

    pub(crate) fn error(&mut self) {
        self.final_result("ERROR", 4);
    }

    /// A CME error in the form that AT+CMEE asks for.
    pub(crate) fn cme_error(&mut self, code: u16, text: &str, always_text: bool) {
        match self.settings.error_form {
            0 => self.error(),
            1 if !always_text => self.final_result(&format!("+CME ERROR: {code}"), 4),
            _ => self.final_result(&format!("+CME ERROR: {text}"), 4),
        }
    }

    /// The connection whose stream this port is, or whose opening it waits for.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match self.mode {
            Mode::Data { connection, .. } => Some(connection),
            Mode::Waiting(Wait::Open(connection) | Wait::OpenBeforeOk(connection)) => Some(connection),
            _ => None,
        }
    }

    pub(crate) fn in_data_mode(&self) -> bool {
        matches!(self.mode, Mode::Data { .. })
    }

    /// The line took bytes of the output.
    pub(crate) fn written(&mut self, count: usize) {
        let count = self.output.consume(count);
        if let Carrier::FallingAfter(rest) = self.carrier {
            self.carrier = match rest.saturating_sub(count) {
                0 => Carrier::Down,
                rest => Carrier::FallingAfter(rest),
            };
        }
        if self.output.is_empty()
            && let Some(baud) = self.next_baud.take()
        {
            self.settings.baud = baud;
        }
    }

    pub(crate) fn carrier_falls_behind_output(&mut self) {
        self.carrier = match self.output.len() {
            0 => Carrier::Down,
            waiting => Carrier::FallingAfter(waiting),
        };
    }

    /// Whether DCD is asserted.
    pub(crate) fn dcd(&self) -> bool {
        self.settings.dcd == 0 || self.carrier != Carrier::Down
    }
}

impl Settings {
    /// As after a boot or AT&F.
    pub(crate) fn new(config: &Config) -> Settings {
        Settings {
            echo: true,
            verbose: true,
            quiet: false,
            error_form: 1,
            dtr: 2,
            dcd: 1,
            rts_flow: false,
            cts_flow: false,
            baud: config.baud,
            registers: [0, 0, 0, 13, 10, 8, 2, 0, 2, 6, 14, 0, 50],
        }
    }
}

/// With more output than this waiting, nothing is added. Only a host that never reads reaches this limit.
const OUTPUT_LIMIT_BYTES: usize = 1 << 20;
