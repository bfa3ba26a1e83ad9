//! What the unit tests share: a start time, and a modem with a simulated network.

use std::time::{Duration, Instant};

use crate::config::Config;
use crate::modem::Modem;
use crate::network::Network;
use crate::network::simulated::{Behaviour, Plan, Simulated};

/// The start time of every test; tests only add to it.
#[allow(clippy::disallowed_methods)]
pub(crate) fn start() -> Instant {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// A modem and a host that reads everything at once by default.
pub(crate) struct Bench {
    pub(crate) modem: Modem,
    pub(crate) network: Simulated,
    pub(crate) now: Instant,
    /// What each port has sent since its bytes were last taken.
    output: Vec<Vec<u8>>,
    /// Ports whose host does not read.
    deaf: Vec<bool>,
}

impl Bench {
    /// A modem whose servers echo.
    pub(crate) fn new(config: Config) -> Bench {
        Bench::with(config, Plan::new(Behaviour::echo()))
    }

    pub(crate) fn with(config: Config, plan: Plan) -> Bench {
        let ports = config.ports.len();
        Bench {
            modem: Modem::new(config, start()),
            network: Simulated::new(start(), plan),
            now: start(),
            output: vec![Vec::new(); ports],
            deaf: vec![false; ports],
        }
    }

    /// A modem with echo off.
    pub(crate) fn without_echo(config: Config) -> Bench {
        let mut bench = Bench::new(config);
        bench.ask("ATE0");
        bench
    }

    /// A modem with echo off and a data session.
    pub(crate) fn online(config: Config) -> Bench {
        Bench::new(config).get_online()
    }

    pub(crate) fn get_online(mut self) -> Bench {
        for port in 0..self.output.len() {
            assert_eq!(self.ask_on(port, "ATE0"), "ATE0\r\r\nOK\r\n");
        }
        assert_eq!(self.ask("AT+QIACT=1"), "\r\nOK\r\n");
        self
    }

    /// Whether the host of a port reads what the modem sends.
    pub(crate) fn host_reads(&mut self, port: usize, reads: bool) {
        self.deaf[port] = !reads;
        self.drain();
    }

    pub(crate) fn type_on(&mut self, port: usize, bytes: &[u8]) {
        self.modem.received(port, bytes, self.now, &mut self.network);
        self.drain();
    }

    pub(crate) fn type_bytes(&mut self, bytes: &[u8]) {
        self.type_on(0, bytes);
    }

    /// What a port has sent since the last call.
    pub(crate) fn output_bytes(&mut self, port: usize) -> Vec<u8> {
        std::mem::take(&mut self.output[port])
    }

    pub(crate) fn heard_on(&mut self, port: usize) -> String {
        String::from_utf8_lossy(&self.output_bytes(port)).into_owned()
    }

    pub(crate) fn output(&mut self) -> String {
        self.heard_on(0)
    }

    /// Sends a command and returns what the port answers at once.
    pub(crate) fn ask_on(&mut self, port: usize, command: &str) -> String {
        self.type_on(port, command.as_bytes());
        self.type_on(port, b"\r");
        self.heard_on(port)
    }

    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.ask_on(0, command)
    }

    /// Opens a TLS socket to `a.example:443`, which must succeed at once.
    pub(crate) fn open(&mut self, id: u8, mode: u8) {
        let answer = self.ask(&format!("AT+QSSLOPEN=1,1,{id},\"a.example\",443,{mode}"));
        let expected = match mode {
            2 => "\r\nCONNECT\r\n".into(),
            _ => format!("\r\nOK\r\n\r\n+QSSLOPEN: {id},0\r\n"),
        };
        assert_eq!(answer, expected);
    }

    /// Sends payload by AT+QSSLSEND and returns the result.
    pub(crate) fn send(&mut self, id: u8, payload: &[u8]) -> String {
        assert_eq!(self.ask(&format!("AT+QSSLSEND={id},{}", payload.len())), "\r\n> ");
        self.type_bytes(payload);
        self.output()
    }

    /// Makes a server send these bytes.
    pub(crate) fn say(&mut self, record: usize, bytes: &[u8]) {
        self.network.say(record, bytes, self.now);
        self.look();
    }

    /// Lets the modem check its connections.
    pub(crate) fn look(&mut self) {
        self.modem.network_changed(self.now, &mut self.network);
        self.drain();
    }

    /// Lets time pass, stopping at everything that is due.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = self.modem.next_deadline().into_iter().chain(self.network.next_deadline()).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            self.network.advance(self.now);
            self.modem.deadline_passed(self.now, &mut self.network);
            self.drain();
        }
        self.now = end;
    }

    pub(crate) fn lines(&mut self, port: usize, dtr: bool, rts: bool) {
        self.modem.host_lines(port, dtr, rts, self.now, &mut self.network);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            let mut moved = false;
            for port in 0..self.output.len() {
                let output = self.modem.output(port);
                if self.deaf[port] || output.is_empty() {
                    continue;
                }
                moved = true;
                let count = output.len();
                self.output[port].extend_from_slice(output);
                self.modem.written(port, count, self.now);
            }
            if self.modem.next_deadline().is_some_and(|due| due <= self.now) {
                self.modem.deadline_passed(self.now, &mut self.network);
            } else if !moved {
                break;
            }
        }
    }
}

/// Seconds.
pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Milliseconds.
pub(crate) fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}
