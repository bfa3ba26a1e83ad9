//! A witness on a port, between core and line. It sees what the core writes and receives, and takes the rules of
//! the conversation from docs/PROTOCOL.md, not from the core.
//!
//! While a command is in flight, only its payload is written, after the prompt, and no more of it than was
//! announced. No command is in flight for longer than it may take. After one was given up, the modem must answer
//! `AT` before anything else is sent. Anything in the received bytes that could be a result or a prompt counts as
//! one, even in payload, so that no fault is reported wrongly.

use std::time::{Duration, Instant};

use qssl_core::modem::PortState;

/// The witness of one port.
pub struct Witness {
    /// The line alters words, so that what the modem meant cannot be known.
    is_blind: bool,
    /// Other bytes that come in take time on the line.
    is_paced: bool,
    state: State,
    /// The command line so far.
    line: Vec<u8>,
    /// The end of what the core has received since the last command line; it may be the beginning of a word.
    tail: Vec<u8>,
    checked_at: Instant,
    /// The core did not read the port at that time.
    was_unread: bool,
    /// The core awaited the rest of announced payload at that time.
    awaited_payload: bool,
    read_at: Instant,
    /// The speed by which deadlines include the time on the line, in bit/s.
    baud: u32,
    limits: Limits,
    /// What it has seen; a witness that has seen nothing proves nothing.
    pub seen: Seen,
}

/// How long commands may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most commands: `--command-timeout`.
    pub command: Duration,
    /// An open in transparent mode.
    pub stream_open: Duration,
}

/// How much a witness has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Command lines.
    pub commands: u64,
    /// Payloads that were announced and written in full.
    pub payloads: u64,
    /// Commands that were given up.
    pub given_up: u64,
}

#[derive(Debug)]
enum State {
    /// A resync is under way; `answered`: the modem has answered since `AT` was last written.
    Asking { answered: bool },
    /// Nothing is in flight.
    Idle,
    /// A command line has left.
    InFlight(InFlight),
    /// A possible result came while payload was due: payload or the next command may follow.
    Unsure,
}

#[derive(Debug)]
struct InFlight {
    line: String,
    /// When the modem has taken too long.
    due: Instant,
    /// The same, whatever other bytes come meanwhile.
    latest: Instant,
    /// Announced payload that has not been written.
    left: usize,
    /// The prompt that it waits for.
    prompt: &'static [u8],
    prompted: bool,
    answered: bool,
}

impl Witness {
    /// A witness of a port that is not open yet.
    pub fn new(is_blind: bool, is_paced: bool, baud: u32, limits: Limits, now: Instant) -> Self {
        Witness {
            is_blind,
            is_paced,
            state: State::Asking { answered: false },
            line: Vec::new(),
            tail: Vec::new(),
            checked_at: now,
            was_unread: false,
            awaited_payload: false,
            read_at: now,
            baud,
            limits,
            seen: Seen::default(),
        }
    }

    /// The core writes bytes. `state`: what the port carries as far as the core knows.
    pub fn host_writes(&mut self, bytes: &[u8], state: PortState, now: Instant) {
        self.follow(state);
        match state {
            _ if self.is_blind => {}
            PortState::Command => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    rest = &rest[self.written(rest, now)..];
                }
            }
            PortState::Resync => {
                let wakes = bytes.iter().all(|byte| b"AT\r+CME?IF=0,\x1A\x1B".contains(byte));
                assert!(wakes, "to a modem that must answer first: {}", bytes.escape_ascii());
                self.line.extend_from_slice(bytes);
                let whole = self.line.iter().rposition(|byte| *byte == b'\r').map_or(0, |at| at + 1);
                self.line.drain(..whole);
                if self.line == b"+++" {
                    self.line.clear();
                }
                self.state = State::Asking { answered: false };
                self.tail.clear();
            }
            _ => {}
        }
    }

    /// Handles a part of the written bytes, and returns its length.
    fn written(&mut self, bytes: &[u8], now: Instant) -> usize {
        if let State::InFlight(it) = &mut self.state {
            match (it.prompted && it.left > 0, it.answered) {
                (false, false) => {
                    panic!("{} is written while {} is in flight", bytes.escape_ascii(), it.line)
                }
                (true, true) => self.state = State::Unsure,
                (false, true) => self.state = State::Idle,
                (true, false) => {
                    let count = it.left.min(bytes.len());
                    it.left -= count;
                    let limit = if it.line.starts_with("AT+QFUPL") { FILE } else { AFTER_PAYLOAD };
                    it.due = now + limit + wire_time(PAYLOAD_MAX, self.baud);
                    it.latest = it.due + BUSY_MAX;
                    self.seen.payloads += u64::from(it.left == 0);
                    return count;
                }
            }
        }
        let is_line = bytes.starts_with(b"AT") && bytes.ends_with(b"\r");
        if matches!(self.state, State::Unsure) && !is_line {
            return bytes.len();
        }
        let Some(end) = bytes.iter().position(|byte| *byte == b'\r') else {
            self.line.extend_from_slice(bytes);
            return bytes.len();
        };
        self.line.extend_from_slice(&bytes[..end]);
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if let State::Asking { answered } = self.state {
            if matches!(line.as_str(), "" | "AT" | "AT+CMEE?" | "AT+IFC=0,0") {
                // This is the rest of the resync, which had not left when the answer came.
                return end + 1;
            }
            assert!(answered, "{line} to a modem that has not answered AT");
        }
        assert!(line.starts_with("AT"), "{line} is no command");
        self.seen.commands += 1;
        self.tail.clear();
        let limit = self.limit(&line);
        let due = now + limit + wire_time(line.len() + 1, self.baud);
        let (left, prompt) = payload(&line);
        let (prompted, answered, latest) = (false, false, due + BUSY_MAX);
        self.state = State::InFlight(InFlight { line, due, latest, left, prompt, prompted, answered });
        self.read_at = self.read_at.max(now);
        end + 1
    }

    /// The core receives bytes from the modem.
    pub fn host_reads(&mut self, bytes: &[u8], now: Instant) {
        let pause = now.saturating_duration_since(self.read_at);
        self.read_at = now;
        self.tail.extend_from_slice(bytes);
        // A line end may have lost its CR or its LF.
        let line_ends = self.tail.iter().enumerate().filter(|(_, byte)| matches!(byte, b'\r' | b'\n'));
        for after in line_ends.map(|(at, _)| &self.tail[at + 1..]) {
            match &mut self.state {
                State::Asking { answered } => *answered |= after.starts_with(b"OK\r"),
                State::InFlight(it) => {
                    let ends = |word: &&[u8]| *word != it.prompt && after.starts_with(word);
                    it.answered |= RESULTS.iter().any(ends);
                    it.prompted |= after.starts_with(it.prompt);
                }
                State::Idle | State::Unsure => {}
            }
        }
        if let State::InFlight(it) = &mut self.state {
            // Other bytes put the deadline off by the time that they needed, and never by more than has passed.
            let busy = match (self.awaited_payload, self.is_paced) {
                (true, _) => pause,
                (false, true) => wire_time(bytes.len(), self.baud).min(pause),
                (false, false) => Duration::ZERO,
            };
            it.due = (it.due + busy).min(it.latest);
        }
        let more = self.tail.len().saturating_sub(WORDS_MAX);
        self.tail.drain(..more);
    }

    /// Time has passed. `is_unread`: the core leaves the port unread, and the command's time stands still.
    /// `awaits_payload`: the rest of announced payload comes first. `next_deadline`: the core's next deadline.
    pub fn check(
        &mut self,
        state: PortState,
        is_unread: bool,
        awaits_payload: bool,
        next_deadline: Option<Instant>,
        now: Instant,
    ) {
        self.follow(state);
        let passed = now - self.checked_at;
        self.checked_at = now;
        let was_unread = std::mem::replace(&mut self.was_unread, is_unread);
        self.awaited_payload = awaits_payload;
        let State::InFlight(it) = &mut self.state else { return };
        if was_unread {
            it.due += passed;
            it.latest += passed;
            self.read_at += passed;
        }
        let due = if awaits_payload { it.latest } else { it.due };
        if !it.answered && !is_unread {
            assert!(due >= now, "{} is in flight for {:?} too long", it.line, now - due);
            let late = next_deadline.map(|at| at.saturating_duration_since(due));
            assert_eq!(late, Some(Duration::ZERO), "{} may be in flight for that much longer", it.line);
        }
    }

    /// Follows the state of the port: in data mode everything is payload; a command that the core no longer waits
    /// for was given up.
    fn follow(&mut self, state: PortState) {
        match (state, &self.state) {
            (PortState::Command, _) | (_, State::Asking { .. }) if state != PortState::Data => {}
            (PortState::Data, _) => self.state = State::Idle,
            (_, before) => {
                self.seen.given_up += u64::from(matches!(before, State::InFlight(it) if !it.answered));
                self.line.clear();
                self.tail.clear();
                self.state = State::Asking { answered: false };
            }
        }
    }

    /// How long the modem may take for a command.
    fn limit(&self, line: &str) -> Duration {
        let (name, values) = line.split_once('=').unwrap_or((line, ""));
        let quick = self.limits.command;
        let last = values.rsplit(',').next().and_then(|value| value.parse::<u64>().ok());
        match (name, last) {
            ("AT+QSSLCLOSE" | "AT+QICLOSE", _) if !values.contains(',') => quick + Duration::from_secs(10),
            ("AT+QSSLCLOSE" | "AT+QICLOSE", Some(timeout)) => quick + Duration::from_secs(timeout),
            ("AT+QSSLOPEN" | "AT+QIOPEN", Some(2)) => quick + self.limits.stream_open,
            ("AT+QISWTMD", _) => SWITCH.max(quick),
            ("AT+QIACT", Some(_)) => Duration::from_secs(150),
            ("AT+QIDEACT", Some(_)) => Duration::from_secs(40),
            ("AT+QNTP", _) => Duration::from_secs(10),
            ("AT+QFUPL" | "AT+QFDWL", _) => FILE,
            _ => quick,
        }
    }
}

/// How much payload a command announces, and the prompt that it waits for.
fn payload(line: &str) -> (usize, &'static [u8]) {
    let mut values = line.split(['=', ',']).skip(2);
    let length = values.next().and_then(|length| length.parse().ok());
    match (line.split('=').next(), length) {
        (Some("AT+QSSLSEND" | "AT+QISEND"), Some(length)) => (length, b">"),
        (Some("AT+QFUPL"), Some(length)) => (length, b"CONNECT"),
        _ => (0, b">"),
    }
}

fn wire_time(count: usize, baud: u32) -> Duration {
    Duration::from_micros(count as u64 * 10_000_000 / u64::from(baud))
}

/// The words that end a command, after a line end.
const RESULTS: [&[u8]; 7] =
    [b"OK\r", b"ERROR\r", b"+CME ERROR:", b"SEND OK\r", b"SEND FAIL\r", b"CONNECT", b"NO CARRIER\r"];
/// The most bytes that may be the beginning of one of them.
const WORDS_MAX: usize = 12;
/// How long the result of a send may take (PROTOCOL section 7).
const AFTER_PAYLOAD: Duration = Duration::from_secs(60);
/// How long a switch of mode may take (PROTOCOL section 3).
const SWITCH: Duration = Duration::from_secs(20);
/// By how much other bytes may put a command's deadline off.
const BUSY_MAX: Duration = Duration::from_secs(30);
/// How long it may take to store or read a file.
const FILE: Duration = Duration::from_secs(15);
/// The most bytes that a send announces.
const PAYLOAD_MAX: usize = 1_460;
