//! The line between the core and one port of the modem: a tty with its buffers, and the faults of the line.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use qssl_modem_emulator::line::Line;

use super::chance::Chance;
use super::wiring::Port;

/// A line, both ways.
pub struct Wire {
    /// The properties of the port.
    pub port: Port,
    /// The core has it open.
    pub is_open: bool,
    /// It cannot be opened before then.
    pub missing_until: Option<Instant>,
    /// RTS and CTS are in effect on the host's side.
    pub host_flow_control: bool,
    /// What the tty has not sent yet.
    waiting: VecDeque<u8>,
    up: Line,
    down: Line,
    host_baud: u32,
    modem_baud: u32,
    chance: Chance,
    /// Nothing is shown to the host before then.
    late_until: Option<Instant>,
    /// A fault has held it up: words can have stopped half-way for longer than the core waits for their rest.
    pub was_held: bool,
    /// It now loses and alters bytes, as its port is set.
    pub is_disturbed: bool,
    /// Bytes that were lost, and that were altered, since the last read of these counts.
    pub lost: u32,
    pub wrong: u32,
    /// The level of DCD that the host can see.
    pub dcd: bool,
    /// How much of the modem's output was searched for `NO CARRIER`, and where the last one is.
    looked_at: usize,
    words: Option<usize>,
    /// A level that the host will see when the bytes ahead of it have arrived.
    dcd_due: Option<(Instant, bool)>,
}

impl Wire {
    /// A line that is not open.
    pub fn new(port: Port, host_baud: u32, modem_baud: u32, seed: u64) -> Self {
        let speed = |baud| if port.paced { baud } else { 0 };
        Wire {
            is_open: false,
            missing_until: None,
            host_flow_control: true,
            waiting: VecDeque::new(),
            up: Line::new(speed(host_baud), TTY_BYTES),
            down: Line::new(speed(modem_baud), port.unread_bytes()),
            host_baud,
            modem_baud,
            chance: Chance::new(seed),
            late_until: None,
            was_held: false,
            is_disturbed: false,
            lost: 0,
            wrong: 0,
            dcd: false,
            dcd_due: None,
            looked_at: 0,
            words: None,
            port,
        }
    }

    /// Drops everything that is under way, and closes the line.
    pub fn cut(&mut self) {
        let speed = |baud| if self.port.paced { baud } else { 0 };
        self.waiting.clear();
        self.up = Line::new(speed(self.host_baud), TTY_BYTES);
        self.down = Line::new(speed(self.modem_baud), self.port.unread_bytes());
        self.late_until = None;
        self.is_open = false;
    }

    /// The host writes; returns how many bytes the tty takes.
    pub fn host_writes(&mut self, bytes: &[u8]) -> usize {
        let holds = self.port.server.map_or(TTY_BYTES, |server| server.holds_bytes);
        let count = bytes.len().min(holds - self.waiting.len());
        self.waiting.extend(&bytes[..count]);
        count
    }

    /// How many bytes have not been sent yet, as far as the host can know.
    pub fn queued(&self, now: Instant) -> usize {
        let is_known = self.port.server.is_none_or(|server| server.tells);
        if is_known { self.on_its_way(now) } else { 0 }
    }

    /// How many bytes have not reached the modem.
    pub fn on_its_way(&self, now: Instant) -> usize {
        self.waiting.len() + under_way(&self.up, TTY_BYTES, now)
    }

    /// The host changes its speed.
    pub fn set_host_baud(&mut self, baud: u32, now: Instant) {
        self.host_baud = baud;
        if self.port.paced {
            self.up.set_baud(baud, now);
        }
    }

    /// Lets the tty transmit, as far as the modem takes bytes.
    pub fn transmit(&mut self, modem_takes: usize, cts_is_off: bool, now: Instant) -> bool {
        if (self.port.without_cts || cts_is_off) && self.host_flow_control {
            return false;
        }
        let ahead = TTY_BYTES - self.up.room();
        let count =
            self.waiting.len().min(modem_takes.saturating_sub(ahead)).min(WINDOW_BYTES.saturating_sub(ahead));
        if count == 0 {
            return false;
        }
        let bytes: Vec<u8> = self.waiting.drain(..count).collect();
        self.up.push(&bytes, now);
        true
    }

    /// Nothing is shown to the host before then.
    pub fn hold(&mut self, until: Instant) {
        self.late_until = self.late_until.max(Some(until));
        self.was_held = true;
    }

    /// What has arrived at the modem.
    pub fn take_for_modem(&mut self, now: Instant) -> Vec<u8> {
        let mut bytes = self.up.arrived(now).to_vec();
        self.up.consume(bytes.len());
        if self.port.is_uart && self.host_baud != self.modem_baud {
            garble(&mut bytes);
        }
        bytes
    }

    /// How much of the modem's output may leave in one piece: DCD falls between the last payload and the words
    /// after it.
    pub fn piece(&mut self, output: &[u8]) -> usize {
        if output.len() < self.looked_at {
            (self.looked_at, self.words) = (0, None);
        }
        let from = self.looked_at.saturating_sub(NO_CARRIER.len() - 1);
        let found = output[from..].windows(NO_CARRIER.len()).rposition(|window| window == NO_CARRIER);
        self.words = found.map(|at| from + at).or(self.words);
        self.looked_at = output.len();
        self.words.filter(|at| *at > 0).unwrap_or(output.len())
    }

    /// This much of that output has left.
    pub fn took(&mut self, count: usize) {
        self.looked_at -= count;
        self.words = self.words.and_then(|at| at.checked_sub(count));
    }

    /// Takes bytes from the modem onto the line. Returns how many were taken, and how many of those found no
    /// room at the host and are lost.
    pub fn modem_writes(
        &mut self,
        bytes: &[u8],
        baud: u32,
        held_by_rts: bool,
        now: Instant,
    ) -> (usize, usize) {
        if bytes.is_empty() {
            return (0, 0);
        }
        if !self.is_open {
            return (bytes.len(), 0);
        }
        self.set_modem_baud(baud, now);
        let on_the_way = under_way(&self.down, self.port.unread_bytes(), now);
        let count = match self.port.paced {
            true => bytes.len().min(WINDOW_BYTES.saturating_sub(on_the_way)),
            false => bytes.len(),
        };
        let taken = self.down.push(&bytes[..count], now);
        match held_by_rts {
            true => (taken, 0),
            false => {
                let lost = count - taken;
                self.lost += lost as u32;
                (count, lost)
            }
        }
    }

    /// The speed that takes effect once the host has read what was sent before.
    pub fn set_modem_baud(&mut self, baud: u32, now: Instant) {
        if baud != self.modem_baud && self.down.is_empty() {
            self.modem_baud = baud;
            if self.port.paced {
                self.down.set_baud(baud, now);
            }
        }
    }

    /// What the host can read now, at most `limit` bytes.
    pub fn take_for_host(&mut self, limit: usize, now: Instant) -> Vec<u8> {
        if self.late_until.is_some_and(|until| until > now) {
            return Vec::new();
        }
        let mut count = self.down.arrived(now).len().min(limit);
        if self.port.splits && count > 0 {
            count = match self.chance.below(4) {
                0 => 1,
                1 => self.chance.within(1..=count.min(8) as u64) as usize,
                2 => self.chance.within(1..=count as u64) as usize,
                _ => count,
            };
            if self.chance.once_in(3) {
                self.late_until = Some(now + Duration::from_micros(self.chance.below(15_000)));
            }
        }
        let mut bytes = self.down.arrived(now)[..count].to_vec();
        self.down.consume(count);
        if self.port.is_uart && self.host_baud != self.modem_baud {
            garble(&mut bytes);
        }
        if self.is_disturbed && self.port.loses_one_of > 0 {
            let before = bytes.len();
            bytes.retain(|_| !self.chance.once_in(self.port.loses_one_of));
            self.lost += (before - bytes.len()) as u32;
        }
        if self.is_disturbed && self.port.alters_one_of > 0 {
            for byte in &mut bytes {
                if self.chance.once_in(self.port.alters_one_of) {
                    *byte ^= 1 << self.chance.below(8);
                    self.wrong += 1;
                }
            }
        }
        bytes
    }

    /// The modem's DCD; the host sees it when the bytes before it have arrived.
    pub fn set_dcd(&mut self, level: bool, now: Instant) {
        if let Some((at, level)) = self.dcd_due
            && at <= now
        {
            self.dcd = level;
            self.dcd_due = None;
        }
        let known = self.dcd_due.map_or(self.dcd, |(_, level)| level);
        if known != level {
            let at = self.down.deadline_for(usize::MAX).map_or(now, |at| at.max(now));
            self.dcd_due = Some((at, level));
            if at <= now {
                self.dcd = level;
                self.dcd_due = None;
            }
        }
    }

    /// When something next arrives that the modem or the host waits for.
    pub fn next_deadline(&self, host_reads: bool, now: Instant) -> Option<Instant> {
        let up = self.up.deadline_for(self.up.arrived(now).len() + STEP_BYTES);
        let down = match host_reads {
            true => self.down.deadline_for(self.down.arrived(now).len() + STEP_BYTES),
            false => None,
        };
        let late = self.late_until.filter(|_| host_reads && !self.down.arrived(now).is_empty());
        let dcd = self.dcd_due.map(|(at, _)| at);
        [up, down, late, dcd].into_iter().flatten().filter(|at| *at > now).min()
    }
}

fn under_way(line: &Line, limit_bytes: usize, now: Instant) -> usize {
    limit_bytes - line.room() - line.arrived(now).len()
}

/// Turns bytes into what is read at the wrong speed.
fn garble(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = byte.rotate_left(3) | 0x80;
    }
}

const NO_CARRIER: &[u8] = b"\r\nNO CARRIER\r\n";
/// What a tty holds in each direction.
pub const TTY_BYTES: usize = 4_096;
/// Bytes that are still sent after flow control stops the line.
const WINDOW_BYTES: usize = 128;
/// A UART reports its bytes in portions of this many.
const STEP_BYTES: usize = 64;
