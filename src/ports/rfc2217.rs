//! A modem on a serial device server: Telnet with COM port control (RFC 2217), as ser2net implements it.
//!
//! [`Telnet`] is the framing without any I/O; [`Rfc2217`] uses it on a connection. Our options and settings are
//! sent at once, without waiting for the server's consent: TCP keeps the order, so the speed is set before the
//! first command arrives, and a server that does not know an option skips it. Answers to settings are not
//! awaited either; many servers send none to SET-CONTROL.
//!
//! Marks show what the server has passed on: TIMING-MARK (RFC 860) is sent between the bytes of the payload, and
//! the server answers it, yes or no, when it has come to this point. As the server reads no more than it can pass
//! on, this shows how much its buffers and those of the network hold. A server that does not answer the first two
//! marks gets no more.
//!
//! Binary mode is requested in both directions (RFC 856), so that CR is a byte like any other; 0xFF is doubled.

use std::collections::VecDeque;
use std::io;

use mio::{Registry, Token};

use super::tcp::Connection;
use super::{Lines, OpenError, PortKind, PortSettings, unsupported};
use crate::config::{FlowControl, Target};

/// How much payload is escaped in one call; it is at most twice as long afterwards.
const WRITE_BYTES_MAX: usize = 16 * 1024;

/// How many bytes may wait for the connection. Escaped payload fits. A server that causes more answers than it
/// reads exceeds this, and its connection is given up.
const PENDING_BYTES_MAX: usize = 64 * 1024;

/// Marks at the beginning, which show whether the server answers each.
const FIRST_MARKS: u64 = 2;

/// How many marks may be unanswered.
const OPEN_MARKS_MAX: usize = 64;

/// How much of a subnegotiation is kept. RFC 2217 needs 6 bytes, except for SIGNATURE, which is ignored.
const SUBNEGOTIATION_BYTES_MAX: usize = 16;

/// The connection to a device server.
#[derive(Debug)]
pub struct Rfc2217 {
    connection: Connection,
    telnet: Telnet,
    flow_control: FlowControl,
    /// Bytes for the server that have not left.
    pending: Vec<u8>,
    marks: Marks,
    /// The last requested speed, and the number of requests.
    baud: u32,
    baud_requests: u64,
    has_warned: bool,
    may_continue: bool,
}

impl Rfc2217 {
    /// Begins to connect, and prepares the settings: 8N1, `baud`, RTS/CTS unless configured otherwise, and DTR
    /// on.
    ///
    /// # Errors
    /// As `Connection::open`.
    pub fn open(server: &Target, settings: &PortSettings) -> Result<Rfc2217, OpenError> {
        let connection = Connection::open("rfc2217", server)?;
        // A device server has a UART.
        let flow_control = settings.flow_control.unwrap_or(FlowControl::RtsCts);
        let mut pending = Vec::new();
        let telnet = Telnet::new(settings.baud, flow_control, &mut pending);
        Ok(Rfc2217 {
            connection,
            telnet,
            flow_control,
            pending,
            marks: Marks::default(),
            baud: settings.baud,
            baud_requests: 1,
            has_warned: false,
            may_continue: false,
        })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.connection.register(registry, token)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.connection.deregister(registry)
    }

    pub(super) fn finish_connecting(&mut self) -> io::Result<bool> {
        let is_connected = self.connection.finish_connecting()?;
        if is_connected {
            self.flush()?;
        }
        Ok(is_connected)
    }

    /// Returns 0 if only Telnet commands came; more bytes may follow.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.connection.read(buffer)?;
        let was_suspended = self.telnet.is_suspended;
        let payload = self.telnet.received(&mut buffer[..count], &mut self.pending);
        self.may_continue |= was_suspended && !self.telnet.is_suspended;
        if self.pending.len() > PENDING_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the server negotiates without end: is it a Telnet server with RFC 2217",
            ));
        }
        self.warn_once();
        self.flush()?;
        Ok(payload)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        if !self.pending.is_empty() || self.telnet.is_suspended || !self.connection.finish_connecting()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = bytes.len().min(WRITE_BYTES_MAX);
        escape(&bytes[..count], &mut self.pending);
        self.marks.written += count as u64;
        self.flush()?;
        Ok(count)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        let result = loop {
            if sent == self.pending.len() {
                break Ok(());
            }
            match self.connection.write(&self.pending[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.pending.drain(..sent);
        result
    }

    pub(super) fn write_may_continue(&mut self) -> bool {
        std::mem::take(&mut self.may_continue)
    }

    pub(super) fn set_baud(&mut self, baud: u32) -> io::Result<()> {
        self.com_port()?;
        self.baud = baud;
        self.baud_requests += 1;
        self.command(|output| set_baud(baud, output))
    }

    pub(super) fn set_dtr(&mut self, high: bool) -> io::Result<()> {
        self.com_port()?;
        let value = if high { CONTROL_DTR_ON } else { CONTROL_DTR_OFF };
        self.command(|output| subnegotiate(SET_CONTROL, &[value], output))
    }

    pub(super) fn lines(&self) -> io::Result<Lines> {
        self.com_port()?;
        self.telnet.lines.ok_or_else(|| unsupported("the device server has not reported its lines"))
    }

    pub(super) fn output_queued(&mut self) -> usize {
        self.marks.answered(self.telnet.marks_answered);
        let is_due = self.marks.is_due() && self.pending.len() <= PENDING_BYTES_MAX;
        if is_due && self.command(|output| output.extend_from_slice(&[IAC, DO, TIMING_MARK])).is_ok() {
            self.marks.asked();
        }
        match self.marks.unpassed() {
            Some(bytes) => bytes,
            None => self.pending.len() + self.connection.output_queued(),
        }
    }

    pub(super) fn flow_control(&self) -> FlowControl {
        match self.telnet.flow_control {
            Some(CONTROL_FLOW_HARDWARE) | None => self.flow_control,
            Some(_) => FlowControl::None,
        }
    }

    pub(super) fn kind(&self) -> PortKind {
        PortKind {
            is_uart: true,
            has_dcd: self.telnet.lines.is_some(),
            has_dtr: self.telnet.com_port == Agreement::Agreed,
            at_port: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.connection.name()
    }

    /// Queues a command after the payload that was written before it.
    fn command(&mut self, append: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        if self.pending.len() > PENDING_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the device server does not take commands"));
        }
        append(&mut self.pending);
        self.flush()
    }

    fn com_port(&self) -> io::Result<()> {
        match self.telnet.com_port {
            Agreement::Refused => Err(unsupported("the device server has no COM port control (RFC 2217)")),
            Agreement::Asked | Agreement::Agreed => Ok(()),
        }
    }

    fn warn_once(&mut self) {
        if self.has_warned {
            return;
        }
        let name = self.connection.name();
        self.has_warned = true;
        if self.telnet.com_port == Agreement::Refused {
            log::warn!("{name}: the server refuses COM port control: speed and lines stay as they are");
        } else if self.telnet.sends_binary == Agreement::Refused
            || self.telnet.takes_binary == Agreement::Refused
        {
            log::warn!("{name}: the server refuses binary mode: bytes 0x0d and 0x00 may get changed");
        } else if let Some(baud) = self.telnet.baud
            && baud != self.baud
            && self.telnet.baud_answers >= self.baud_requests
        {
            log::warn!("{name}: the server has set {baud} baud instead of {}", self.baud);
        } else {
            self.has_warned = false;
        }
    }
}

/// How much of the payload the server has passed on.
#[derive(Debug, Default)]
struct Marks {
    /// Bytes of payload so far, and how many of them the server has passed on.
    written: u64,
    passed: u64,
    /// The position of each unanswered mark: the number of payload bytes before it.
    open: VecDeque<u64>,
    answers: u64,
}

impl Marks {
    /// Takes the number of marks answered so far, including the first two.
    fn answered(&mut self, count: u64) {
        for _ in self.answers.max(FIRST_MARKS)..count {
            self.passed = self.open.pop_front().unwrap_or(self.passed);
        }
        self.answers = count;
    }

    /// Whether another mark would give new information.
    fn is_due(&self) -> bool {
        let marked = self.open.back().copied().unwrap_or(self.passed);
        self.is_supported() && self.written > marked && self.open.len() < OPEN_MARKS_MAX
    }

    fn asked(&mut self) {
        self.open.push_back(self.written);
    }

    /// Bytes that the server may still hold.
    fn unpassed(&self) -> Option<usize> {
        self.is_supported().then(|| (self.written - self.passed) as usize)
    }

    fn is_supported(&self) -> bool {
        self.answers >= FIRST_MARKS
    }
}

/// Telnet framing for one connection, without I/O: takes received bytes, and returns the payload and the answers
/// that are due.
#[derive(Debug)]
pub struct Telnet {
    state: TelnetState,
    subnegotiation: Vec<u8>,
    com_port: Agreement,
    /// Ours: what we send is binary.
    sends_binary: Agreement,
    /// The server's: what it sends is binary.
    takes_binary: Agreement,
    sends_without_go_ahead: Agreement,
    takes_without_go_ahead: Agreement,
    lines: Option<Lines>,
    /// The speed that the server reports as set, in bits per second.
    baud: Option<u32>,
    /// How often it has reported a speed: an answer to an earlier request shows nothing about the last one.
    baud_answers: u64,
    /// The flow control that the server reports as set, as in SET-CONTROL.
    flow_control: Option<u8>,
    /// How many marks the server has answered.
    marks_answered: u64,
    /// The server has requested that no payload is sent for now.
    is_suspended: bool,
}

/// The state of an option that we have requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreement {
    Asked,
    Agreed,
    Refused,
}

/// The position in the received byte stream.
///
/// ```text
///   Payload ──IAC──► Command ──WILL WONT DO DONT──► Option ──► Payload
///                       │ └──SB──► Subnegotiation ──IAC──► SubnegotiationCommand ──SE──► Payload
///                       └──IAC (payload 0xFF) or others──► Payload
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TelnetState {
    Payload,
    Command,
    Option(u8),
    Subnegotiation,
    SubnegotiationCommand,
}

impl Telnet {
    /// Begins a connection: the first bytes to send are appended to `output`.
    pub fn new(baud: u32, flow_control: FlowControl, output: &mut Vec<u8>) -> Telnet {
        output.extend_from_slice(&[IAC, WILL, COM_PORT]);
        output.extend_from_slice(&[IAC, WILL, BINARY, IAC, DO, BINARY]);
        output.extend_from_slice(&[IAC, WILL, SUPPRESS_GO_AHEAD, IAC, DO, SUPPRESS_GO_AHEAD]);
        set_baud(baud, output);
        subnegotiate(SET_DATASIZE, &[8], output);
        subnegotiate(SET_PARITY, &[PARITY_NONE], output);
        subnegotiate(SET_STOPSIZE, &[STOPSIZE_1], output);
        let flow = match flow_control {
            FlowControl::RtsCts => CONTROL_FLOW_HARDWARE,
            FlowControl::None => CONTROL_FLOW_NONE,
        };
        subnegotiate(SET_CONTROL, &[flow], output);
        subnegotiate(SET_CONTROL, &[CONTROL_DTR_ON], output);
        subnegotiate(SET_MODEMSTATE_MASK, &[0xff], output);
        for _ in 0..FIRST_MARKS {
            output.extend_from_slice(&[IAC, DO, TIMING_MARK]);
        }
        Telnet {
            state: TelnetState::Payload,
            subnegotiation: Vec::with_capacity(SUBNEGOTIATION_BYTES_MAX),
            com_port: Agreement::Asked,
            sends_binary: Agreement::Asked,
            takes_binary: Agreement::Asked,
            sends_without_go_ahead: Agreement::Asked,
            takes_without_go_ahead: Agreement::Asked,
            lines: None,
            baud: None,
            baud_answers: 0,
            flow_control: None,
            marks_answered: 0,
            is_suspended: false,
        }
    }

    /// Takes received bytes. Moves the payload among them to the front of `bytes`, and returns its length. Appends
    /// answers to the server to `output`, at most three bytes for each three received.
    pub fn received(&mut self, bytes: &mut [u8], output: &mut Vec<u8>) -> usize {
        let mut payload = 0;
        let mut position = 0;
        while position < bytes.len() {
            if self.state == TelnetState::Payload {
                // The usual case in one move: everything up to the next command.
                let rest = &bytes[position..];
                let run = rest.iter().position(|byte| *byte == IAC).unwrap_or(rest.len());
                bytes.copy_within(position..position + run, payload);
                payload += run;
                position += run;
                if position == bytes.len() {
                    break;
                }
            }
            let byte = bytes[position];
            position += 1;
            if self.step(byte, output) {
                bytes[payload] = IAC;
                payload += 1;
            }
        }
        payload
    }

    /// Takes one byte that is not plain payload. Returns true if it completes an escaped 0xFF.
    fn step(&mut self, byte: u8, output: &mut Vec<u8>) -> bool {
        match (self.state, byte) {
            (TelnetState::Payload, _) => self.state = TelnetState::Command,
            (TelnetState::Command, IAC) => {
                self.state = TelnetState::Payload;
                return true;
            }
            (TelnetState::Command, WILL | WONT | DO | DONT) => self.state = TelnetState::Option(byte),
            (TelnetState::Command, SB) => {
                self.subnegotiation.clear();
                self.state = TelnetState::Subnegotiation;
            }
            // NOP, GA and the like require no action.
            (TelnetState::Command, _) => self.state = TelnetState::Payload,
            (TelnetState::Option(verb), option) => {
                self.negotiated(verb, option, output);
                self.state = TelnetState::Payload;
            }
            (TelnetState::Subnegotiation, IAC) => self.state = TelnetState::SubnegotiationCommand,
            (TelnetState::Subnegotiation, _) => self.keep(byte),
            (TelnetState::SubnegotiationCommand, IAC) => {
                self.keep(byte);
                self.state = TelnetState::Subnegotiation;
            }
            (TelnetState::SubnegotiationCommand, SE) => {
                self.subnegotiated();
                self.state = TelnetState::Payload;
            }
            // The server broke off the subnegotiation: this byte is a command.
            (TelnetState::SubnegotiationCommand, _) => {
                self.state = TelnetState::Command;
                return self.step(byte, output);
            }
        }
        false
    }

    fn keep(&mut self, byte: u8) {
        if self.subnegotiation.len() < SUBNEGOTIATION_BYTES_MAX {
            self.subnegotiation.push(byte);
        }
    }

    /// Handles WILL, WONT, DO and DONT. As RFC 854 requires, only a change is answered, so that two sides do not
    /// acknowledge each other's acknowledgements forever.
    fn negotiated(&mut self, verb: u8, option: u8, output: &mut Vec<u8>) {
        if option == TIMING_MARK && matches!(verb, WILL | WONT) {
            self.marks_answered += 1;
            return;
        }
        let (is_agreed, yes, no) = match verb {
            DO | DONT => (verb == DO, WILL, WONT),
            _ => (verb == WILL, DO, DONT),
        };
        let agreement = match (verb, option) {
            (DO | DONT, COM_PORT) => Some(&mut self.com_port),
            (DO | DONT, BINARY) => Some(&mut self.sends_binary),
            (DO | DONT, SUPPRESS_GO_AHEAD) => Some(&mut self.sends_without_go_ahead),
            (_, BINARY) => Some(&mut self.takes_binary),
            (_, SUPPRESS_GO_AHEAD) => Some(&mut self.takes_without_go_ahead),
            _ => None,
        };
        match (agreement, is_agreed) {
            (Some(state @ Agreement::Asked), _) => {
                *state = if is_agreed { Agreement::Agreed } else { Agreement::Refused };
            }
            (Some(Agreement::Agreed), true) | (Some(Agreement::Refused), false) => {}
            (Some(state @ Agreement::Refused), true) => {
                *state = Agreement::Agreed;
                output.extend_from_slice(&[IAC, yes, option]);
            }
            (Some(state @ Agreement::Agreed), false) => {
                *state = Agreement::Refused;
                output.extend_from_slice(&[IAC, no, option]);
            }
            (None, true) => output.extend_from_slice(&[IAC, no, option]),
            (None, false) => {}
        }
    }

    fn subnegotiated(&mut self) {
        match self.subnegotiation[..] {
            [COM_PORT, ANSWER_BAUDRATE, a, b, c, d] => {
                self.baud = Some(u32::from_be_bytes([a, b, c, d]));
                self.baud_answers += 1;
            }
            [COM_PORT, NOTIFY_MODEMSTATE, state] => {
                self.lines = Some(Lines {
                    dcd: state & 0x80 != 0,
                    ri: state & 0x40 != 0,
                    dsr: state & 0x20 != 0,
                    cts: state & 0x10 != 0,
                });
            }
            [COM_PORT, ANSWER_CONTROL, flow @ CONTROL_FLOW_NONE..=CONTROL_FLOW_HARDWARE] => {
                self.flow_control = Some(flow);
            }
            [COM_PORT, ANSWER_SUSPEND] => self.is_suspended = true,
            [COM_PORT, ANSWER_RESUME] => self.is_suspended = false,
            _ => {}
        }
    }
}

/// Appends `payload` to `output` with every 0xFF doubled.
pub fn escape(payload: &[u8], output: &mut Vec<u8>) {
    for run in payload.split_inclusive(|byte| *byte == IAC) {
        output.extend_from_slice(run);
        if run.last() == Some(&IAC) {
            output.push(IAC);
        }
    }
}

fn set_baud(baud: u32, output: &mut Vec<u8>) {
    subnegotiate(SET_BAUDRATE, &baud.to_be_bytes(), output);
}

fn subnegotiate(command: u8, value: &[u8], output: &mut Vec<u8>) {
    output.extend_from_slice(&[IAC, SB, COM_PORT, command]);
    escape(value, output);
    output.extend_from_slice(&[IAC, SE]);
}

// RFC 854, 855
const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const SE: u8 = 240;
// RFC 856, 858, 860, 2217
const BINARY: u8 = 0;
const SUPPRESS_GO_AHEAD: u8 = 3;
const TIMING_MARK: u8 = 6;
const COM_PORT: u8 = 44;
// RFC 2217, client to server; the server's answers are 100 higher.
const SET_BAUDRATE: u8 = 1;
const SET_DATASIZE: u8 = 2;
const SET_PARITY: u8 = 3;
const SET_STOPSIZE: u8 = 4;
const SET_CONTROL: u8 = 5;
const SET_MODEMSTATE_MASK: u8 = 11;
const ANSWER_BAUDRATE: u8 = 101;
const NOTIFY_MODEMSTATE: u8 = 107;
const ANSWER_CONTROL: u8 = 105;
const ANSWER_SUSPEND: u8 = 108;
const ANSWER_RESUME: u8 = 109;
const PARITY_NONE: u8 = 1;
const STOPSIZE_1: u8 = 1;
const CONTROL_FLOW_NONE: u8 = 1;
const CONTROL_FLOW_HARDWARE: u8 = 3;
const CONTROL_DTR_ON: u8 = 8;
const CONTROL_DTR_OFF: u8 = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    fn telnet() -> Telnet {
        Telnet::new(115_200, FlowControl::None, &mut Vec::new())
    }

    /// The payload and the answers when `input` arrives in two pieces, cut at `split`.
    fn receive(telnet: &mut Telnet, input: &[u8], split: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut payload, mut output) = (Vec::new(), Vec::new());
        for piece in [&input[..split], &input[split..]] {
            let mut piece = piece.to_vec();
            let count = telnet.received(&mut piece, &mut output);
            payload.extend_from_slice(&piece[..count]);
        }
        (payload, output)
    }

    #[test]
    fn payload_commands_and_answers_are_the_same_however_the_input_is_cut() {
        let input = [
            b"\r\nO".as_slice(),
            &[IAC, DO, COM_PORT, IAC, WILL, 1, IAC, IAC, b'K', IAC, 241],
            &[IAC, SB, COM_PORT, NOTIFY_MODEMSTATE, 0xb0, IAC, SE, IAC, IAC, IAC, IAC],
            &[IAC, SB, COM_PORT, ANSWER_BAUDRATE, 0, 0, 0x25, 0x80, IAC, SE],
            &[IAC, SB, 24, 1, IAC, SE, IAC, DO, 31, b'!'],
        ]
        .concat();
        for split in 0..=input.len() {
            let mut telnet = telnet();
            let (payload, output) = receive(&mut telnet, &input, split);
            assert_eq!(payload, b"\r\nO\xffK\xff\xff!", "cut at {split}");
            assert_eq!(output, [IAC, DONT, 1, IAC, WONT, 31], "cut at {split}");
            assert_eq!(telnet.com_port, Agreement::Agreed);
            assert_eq!(telnet.lines, Some(Lines { dcd: true, cts: true, dsr: true, ri: false }));
            assert_eq!(telnet.baud, Some(9600));
        }
    }

    #[test]
    fn escaped_payload_comes_back_whole() {
        let all: Vec<u8> = (0..=255).chain([255, 255, 240, 255]).collect();
        let mut wire = Vec::new();
        escape(&all, &mut wire);
        assert_eq!(wire.len(), all.len() + 4);
        for split in 0..=wire.len() {
            assert_eq!(receive(&mut telnet(), &wire, split).0, all, "cut at {split}");
        }
    }

    #[test]
    fn a_speed_with_the_byte_255_in_it_is_escaped() {
        let mut output = Vec::new();
        set_baud(0x0000_ff00, &mut output);
        assert_eq!(output, [IAC, SB, COM_PORT, SET_BAUDRATE, 0, 0, 255, 255, 0, IAC, SE]);
    }

    #[test]
    fn settings_stand_before_the_first_payload_and_say_what_was_asked_for() {
        let mut output = Vec::new();
        Telnet::new(921_600, FlowControl::RtsCts, &mut output);
        let has = |bytes: &[u8]| output.windows(bytes.len()).any(|window| window == bytes);
        assert!(output.starts_with(&[IAC, WILL, COM_PORT]));
        assert!(has(&[IAC, SB, COM_PORT, SET_BAUDRATE, 0, 0x0e, 0x10, 0, IAC, SE]));
        assert!(has(&[IAC, SB, COM_PORT, SET_CONTROL, CONTROL_FLOW_HARDWARE, IAC, SE]));
        assert!(has(&[IAC, DO, BINARY]) && has(&[IAC, WILL, BINARY]));
    }

    #[test]
    fn a_server_without_flow_control_says_so() {
        let mut telnet = telnet();
        receive(&mut telnet, &[IAC, SB, COM_PORT, ANSWER_CONTROL, CONTROL_DTR_ON, IAC, SE], 0);
        assert_eq!(telnet.flow_control, None);
        receive(&mut telnet, &[IAC, SB, COM_PORT, ANSWER_CONTROL, CONTROL_FLOW_NONE, IAC, SE], 3);
        assert_eq!(telnet.flow_control, Some(CONTROL_FLOW_NONE));
    }

    #[test]
    fn marks_tell_what_the_server_has_passed_on() {
        let mut marks = Marks { written: 700, ..Marks::default() };
        assert!(!marks.is_due() && marks.unpassed().is_none(), "the first two have no answer");
        marks.answered(2);
        assert!(marks.is_due());
        marks.asked();
        assert!(!marks.is_due());
        marks.written = 1_000;
        assert_eq!(marks.unpassed(), Some(1_000));
        marks.answered(3);
        assert_eq!(marks.unpassed(), Some(300));
        // Answers without a mark show nothing.
        marks.answered(9);
        assert_eq!(marks.unpassed(), Some(300));
    }

    #[test]
    fn consent_is_not_acknowledged_again_and_refusal_is_noticed() {
        let mut telnet = telnet();
        let (_, output) = receive(&mut telnet, &[IAC, DO, BINARY, IAC, DO, BINARY, IAC, DONT, COM_PORT], 4);
        assert_eq!(output, b"");
        assert_eq!((telnet.sends_binary, telnet.com_port), (Agreement::Agreed, Agreement::Refused));
        let (_, output) = receive(&mut telnet, &[IAC, DONT, BINARY, IAC, DO, COM_PORT], 0);
        assert_eq!(output, [IAC, WONT, BINARY, IAC, WILL, COM_PORT]);
    }

    #[test]
    fn an_endless_subnegotiation_takes_no_memory_and_a_broken_one_ends() {
        let mut telnet = telnet();
        let mut input = vec![7; 100_000];
        input[..2].copy_from_slice(&[IAC, SB]);
        assert_eq!(receive(&mut telnet, &input, 50).0, b"");
        assert!(telnet.subnegotiation.capacity() <= 4 * SUBNEGOTIATION_BYTES_MAX);
        let (payload, output) = receive(&mut telnet, &[IAC, WILL, 1, b'x'], 1);
        assert_eq!((payload, output), (b"x".to_vec(), vec![IAC, DONT, 1]));
    }

    /// Goal of this test: the whole port against a server on a real connection, including a pause that
    /// the server asks for, which must neither lose bytes nor leave the writer stuck.
    #[test]
    fn a_server_on_a_connection_is_spoken_to_and_its_pause_respected() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap().to_string().parse().unwrap();
        let settings = PortSettings { baud: 115_200, flow_control: None };
        let mut port = Rfc2217::open(&server, &settings).unwrap();
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(8);
        port.register(poll.registry(), Token(1)).unwrap();
        assert!(port.lines().is_err());
        while !port.finish_connecting().unwrap() {
            poll.poll(&mut events, None).unwrap();
        }
        let (mut server, _) = listener.accept().unwrap();
        let mut greeting = Vec::new();
        Telnet::new(115_200, FlowControl::RtsCts, &mut greeting);
        let mut received = vec![0; greeting.len()];
        server.read_exact(&mut received).unwrap();
        assert_eq!(received, greeting);

        let mut read = |port: &mut Rfc2217, wanted: &[u8]| {
            let (mut all, mut buffer) = (Vec::new(), [0; 64]);
            while all.len() < wanted.len() {
                match port.read(&mut buffer) {
                    Ok(count) => all.extend_from_slice(&buffer[..count]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        poll.poll(&mut events, None).unwrap();
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(all, wanted);
        };
        server.write_all(&[IAC, DO, COM_PORT, IAC, SB, COM_PORT, ANSWER_SUSPEND, IAC, SE, b'1']).unwrap();
        read(&mut port, b"1");
        assert_eq!(port.write(b"AT\r").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(!port.write_may_continue());
        server.write_all(&[IAC, SB, COM_PORT, ANSWER_RESUME, IAC, SE]).unwrap();
        server.write_all(&[IAC, SB, COM_PORT, NOTIFY_MODEMSTATE, 0x80, IAC, SE, b'2']).unwrap();
        read(&mut port, b"2");
        assert!(port.write_may_continue());
        assert!(!port.write_may_continue());
        assert!(port.lines().unwrap().dcd);
        assert_eq!(port.write(b"a\xffb").unwrap(), 3);
        port.set_dtr(false).unwrap();
        let mut received = [0; 11];
        server.read_exact(&mut received).unwrap();
        let dtr_off = [IAC, SB, COM_PORT, SET_CONTROL, CONTROL_DTR_OFF, IAC, SE];
        assert_eq!(received[..], [b"a\xff\xffb".as_slice(), &dtr_off].concat());
    }
}
