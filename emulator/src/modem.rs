//! The modem: its ports, and the order in which things happen.

use std::time::Instant;

use crate::config::Config;
use crate::network::Network;

/// One emulated modem.
///
/// After every call that changes something, drain [`Modem::output`] of every port, apply
/// [`Modem::modem_lines`], and ask [`Modem::next_deadline`] again. The network's own deadline is the
/// caller's to watch: when it passes, call [`Modem::network_changed`].
pub struct Modem {
    config: Config,
    outputs: Vec<Vec<u8>>,
}

/// The lines a modem drives, true for asserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ModemLines {
    /// Data carrier detect: a transparent connection is up (AT&C1), or always (AT&C0).
    pub dcd: bool,
    /// Clear to send: the modem takes bytes.
    pub cts: bool,
    /// Data set ready: the modem is on.
    pub dsr: bool,
    /// Ring indicator: never asserted.
    pub ri: bool,
}

/// Hardware flow control as AT+IFC set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FlowControl {
    /// The host holds the modem by RTS.
    pub rts: bool,
    /// The modem holds the host by CTS.
    pub cts: bool,
}

/// What happened since the modem was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes lost on the line because one side did not hold the other: host bytes that found no room, and
    /// modem bytes that the host did not take.
    pub bytes_lost_without_flow_control: u64,
    /// Host bytes that came while a command was being carried out, and were dropped.
    pub bytes_dropped_while_busy: u64,
    /// URCs that found no port or no room.
    pub urcs_lost: u64,
    /// Sockets asked for.
    pub opens: u64,
    /// Sockets that came up.
    pub opened: u64,
    /// Sends answered with SEND OK.
    pub send_oks: u64,
    /// Sends answered with SEND FAIL.
    pub send_fails: u64,
    /// Boots, the first one included.
    pub boots: u64,
}

impl Modem {
    /// A modem with power on: up, or booting if the configuration says so.
    pub fn new(config: Config, now: Instant) -> Modem {
        let _ = now;
        let outputs = config.ports.iter().map(|_| Vec::new()).collect();
        Modem { config, outputs }
    }

    /// Bytes from the host have arrived on a port. What exceeds [`Modem::wants_bytes`] is lost and counted.
    pub fn received(&mut self, port: usize, bytes: &[u8], now: Instant, network: &mut dyn Network) {
        let _ = (port, bytes, now, network);
    }

    /// The bytes ready to leave by a port; empty while the host holds the modem by RTS.
    pub fn output(&self, port: usize) -> &[u8] {
        &self.outputs[port]
    }

    /// The line took so many of the bytes of [`Modem::output`].
    pub fn written(&mut self, port: usize, count: usize, now: Instant) {
        let _ = (now, self.outputs[port].drain(..count));
    }

    /// The line had to transmit so many bytes that nobody took: without flow control they are gone.
    pub fn overrun(&mut self, port: usize, count: usize, now: Instant) {
        self.written(port, count, now);
    }

    /// Room for host bytes; 0 when the modem holds CTS down.
    pub fn wants_bytes(&self, port: usize) -> usize {
        let _ = port;
        self.config.command_line_limit_bytes
    }

    /// Flow control in force on a port.
    pub fn flow_control(&self, port: usize) -> FlowControl {
        let _ = port;
        FlowControl::default()
    }

    /// Speed in force on a port, in baud. It changes when the OK to AT+IPR has been written.
    pub fn baud(&self, port: usize) -> u32 {
        let _ = port;
        self.config.baud
    }

    /// The host's lines: DTR acts as AT&D says, RTS holds the output under AT+IFC=2. Both are asserted at
    /// first.
    pub fn host_lines(&mut self, port: usize, dtr: bool, rts: bool, now: Instant, network: &mut dyn Network) {
        let _ = (port, dtr, rts, now, network);
    }

    /// The modem's lines.
    pub fn modem_lines(&self, port: usize) -> ModemLines {
        let _ = port;
        ModemLines { dcd: false, cts: true, dsr: true, ri: false }
    }

    /// Something may have happened in the network: the modem looks after its connections.
    pub fn network_changed(&mut self, now: Instant, network: &mut dyn Network) {
        let _ = (now, network);
    }

    /// The time of [`Modem::next_deadline`] has come.
    pub fn deadline_passed(&mut self, now: Instant, network: &mut dyn Network) {
        let _ = (now, network);
    }

    /// When something happens next by itself; `None` when nothing is due. It can lie in the past, after a
    /// call without a network that left work for it.
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        Counters::default()
    }
}
