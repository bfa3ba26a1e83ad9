//! Bytes from the host: command lines, payload, files, and the stream of data mode.
//!
//! What arrives while a command is being carried out is dropped and counted, as in real modules, or waits by a quirk.
//! Payload sent before its prompt is lost, and the announced length is never reached.

use std::time::{Duration, Instant};

use crate::at_port::{Mode, Payload, PayloadEnd, Port, Reach, Upload};
use crate::events::Power;
use crate::modem::{ASLEEP_AFTER, INPUT_LIMIT_BYTES, LONGEST_SEND_BYTES, Modem};
use crate::network::Network;

impl Modem {
    /// Takes all of the bytes, carrying out what they complete.
    pub(crate) fn take_input(&mut self, port: usize, bytes: &[u8], now: Instant, network: &mut dyn Network) {
        let mut rest = bytes;
        let mut unframed;
        let state = &mut self.ports[port];
        if state.takes_payload() {
            // After the prompt every byte counts as payload, except the late LF of a host that ends its lines so.
            let is_recent = state.prompted_at.is_some_and(|at| now < at + LINE_FEED_TIME);
            state.after_return &= state.ends_with_line_feed && is_recent && !state.in_data_mode();
        }
        while !rest.is_empty() {
            if self.power != Power::On {
                self.counters.bytes_dropped_while_busy += rest.len() as u64;
                return;
            }
            if let Reach::Mux(_) = self.ports[port].reach {
                // What comes after the end of the multiplexer is for the line itself.
                unframed = self.take_frames(port, rest, now, network);
                self.ports[port].last_byte_at = Some(now);
                rest = &unframed;
                continue;
            }
            let count = self.take_some(port, rest, now);
            self.ports[port].last_byte_at = Some(now);
            self.carry_out(port, now, network);
            self.take_queued(port, now, network);
            rest = &rest[count..];
        }
    }

    /// Takes what was typed while a command was carried out, once the port reads commands again; true if there was any.
    /// What came before a prompt is no payload.
    pub(crate) fn take_queued(&mut self, port: usize, now: Instant, network: &mut dyn Network) -> bool {
        let state = &mut self.ports[port];
        if state.queued_input.is_empty() || !matches!(state.mode, Mode::Command) && !state.takes_payload() {
            return false;
        }
        let queued = std::mem::take(&mut state.queued_input);
        if state.takes_payload() {
            self.counters.bytes_dropped_while_busy += queued.len() as u64;
        } else {
            self.take_input(port, &queued, now, network);
        }
        true
    }

    /// Takes at least one byte, and no more than the port's present mode can take.
    fn take_some(&mut self, port: usize, bytes: &[u8], now: Instant) -> usize {
        let state = &mut self.ports[port];
        if std::mem::take(&mut state.after_return) {
            let is_line_feed = bytes[0] == LF;
            if !state.takes_payload() {
                state.ends_with_line_feed = is_line_feed;
            }
            if is_line_feed && self.config.quirks.line_feed_dropped {
                return 1;
            }
        }
        match &mut state.mode {
            Mode::Command => self.read_command_line(port, bytes, now),
            Mode::Executing { .. } | Mode::Waiting(_) | Mode::Sending { .. } => {
                if self.config.quirks.early_payload_kept {
                    let room = LONGEST_SEND_BYTES.saturating_sub(state.early_payload.len());
                    state.early_payload.extend_from_slice(&bytes[..room.min(bytes.len())]);
                } else if self.config.quirks.input_queued {
                    let room = INPUT_LIMIT_BYTES.saturating_sub(state.queued_input.len());
                    let count = room.min(bytes.len());
                    state.queued_input.extend_from_slice(&bytes[..count]);
                    self.counters.bytes_lost_without_flow_control += (bytes.len() - count) as u64;
                } else {
                    self.counters.bytes_dropped_while_busy += bytes.len() as u64;
                }
                bytes.len()
            }
            Mode::Payload(payload) => {
                let (count, complete) = payload.take(bytes);
                self.echo_payload(port, &bytes[..count]);
                if complete {
                    self.payload_complete(port, now);
                }
                count
            }
            Mode::Upload(upload) => {
                let (count, acknowledgements) = upload.take(bytes, now);
                for _ in 0..acknowledgements {
                    state.emit(b"A");
                }
                count
            }
            Mode::Data { .. } => {
                self.data_from_host(port, bytes, now);
                bytes.len()
            }
        }
    }

    fn echo_payload(&mut self, port: usize, bytes: &[u8]) {
        if let Mode::Payload(payload) = &self.ports[port].mode
            && self.is_echoed(port, payload)
        {
            self.ports[port].emit(bytes);
        }
    }

    /// Reads up to the end of a command line, and begins to carry it out.
    fn read_command_line(&mut self, port: usize, bytes: &[u8], now: Instant) -> usize {
        let limit = self.config.command_line_limit_bytes;
        // Where URCs may come before the echo, the echo waits for the end of the line.
        let echo_waits = self.config.quirks.urc_before_echo;
        // What passes on any channel keeps the whole line awake.
        let line = match self.ports[port].reach {
            Reach::Channel { line, .. } => line,
            Reach::Line | Reach::Mux(_) => port,
        };
        let asleep = self.config.quirks.sleeps && self.ports[line].is_quiet_for(ASLEEP_AFTER, now);
        let state = &mut self.ports[port];
        state.wakes |= asleep;
        if state.wakes {
            let end = bytes.iter().position(|byte| *byte == CR);
            state.wakes = end.is_none();
            return end.map_or(bytes.len(), |end| end + 1);
        }
        let echoes_everything = self.config.quirks.everything_echoed && state.settings.echo;
        let echo_at_once = state.settings.echo && !echo_waits && !echoes_everything;
        for (index, &byte) in bytes.iter().enumerate() {
            if echoes_everything {
                state.emit(&[byte]);
            }
            let kept = match state.line.len() {
                0 if matches!(byte, b'A' | b'a') => true,
                0 => {
                    state.at_line_start = matches!(byte, CR | LF);
                    false
                }
                1 if matches!(byte, b'T' | b't') => true,
                // A/ repeats the last line (V.250 5.2.4).
                1 if byte == b'/' && state.at_line_start => {
                    if echo_at_once {
                        state.emit(b"/");
                    }
                    state.line.clone_from(&state.last_line);
                    self.begin_command_line(port, now);
                    return index + 1;
                }
                1 => {
                    // Another A may begin the AT.
                    if !matches!(byte, b'A' | b'a') {
                        state.line.clear();
                    }
                    state.at_line_start = matches!(byte, CR | LF);
                    false
                }
                _ if byte == CR => {
                    if echo_at_once {
                        state.emit(b"\r");
                    }
                    state.after_return = true;
                    state.at_line_start = true;
                    self.begin_command_line(port, now);
                    return index + 1;
                }
                _ if byte == BACKSPACE => {
                    state.line.pop();
                    if echo_at_once {
                        state.emit(&[BACKSPACE]);
                    }
                    false
                }
                // Other control characters are ignored (V.250 5.2.2).
                _ => byte >= b' ',
            };
            if kept {
                if state.line.len() < limit + PREFIX.len() {
                    state.line.push(byte);
                } else {
                    state.line_too_long = true;
                }
                if echo_at_once {
                    state.emit(&[byte]);
                }
            }
        }
        bytes.len()
    }
}

impl Port {
    /// Whether bytes are payload, of a send, a file or a stream.
    fn takes_payload(&self) -> bool {
        matches!(self.mode, Mode::Payload(_) | Mode::Upload(_) | Mode::Data { .. })
    }
}

impl Payload {
    /// Takes what belongs to the payload; the second value is whether that was its end.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        match self.end {
            PayloadEnd::Length(length) => {
                let count = bytes.len().min(length - self.bytes.len());
                self.bytes.extend_from_slice(&bytes[..count]);
                (count, self.bytes.len() == length)
            }
            PayloadEnd::InCommand => (0, true),
            PayloadEnd::Mark | PayloadEnd::Cancelled => {
                let end = bytes.iter().position(|byte| matches!(*byte, CTRL_Z | ESC));
                // One byte above the limit is kept, to show that the payload was too long.
                let room = (LONGEST_SEND_BYTES + 1).saturating_sub(self.bytes.len());
                let count = end.unwrap_or(bytes.len());
                self.bytes.extend_from_slice(&bytes[..count.min(room)]);
                match end {
                    None => (count, false),
                    Some(end) => {
                        if bytes[end] == ESC {
                            self.end = PayloadEnd::Cancelled;
                        }
                        (end + 1, true)
                    }
                }
            }
        }
    }
}

impl Upload {
    /// Takes what belongs to the file; the second value is how many more acknowledgements are due.
    fn take(&mut self, bytes: &[u8], now: Instant) -> (usize, usize) {
        let acknowledged_before = self.bytes.len() / ACKNOWLEDGED_BYTES;
        let count = bytes.len().min(self.size - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..count]);
        self.due = if self.bytes.len() == self.size { now } else { now + self.timeout };
        let acknowledgements = match self.acknowledged {
            true => self.bytes.len() / ACKNOWLEDGED_BYTES - acknowledged_before,
            false => 0,
        };
        (count, acknowledgements)
    }
}

const PREFIX: &[u8] = b"AT";
const CR: u8 = b'\r';
const LF: u8 = b'\n';
const BACKSPACE: u8 = 0x08;
const CTRL_Z: u8 = 0x1A;
const ESC: u8 = 0x1B;
/// How long after the prompt a LF can still belong to the command line.
const LINE_FEED_TIME: Duration = Duration::from_millis(50);
/// Bytes of an upload that get one acknowledgement, if they are enabled.
const ACKNOWLEDGED_BYTES: usize = 1_024;
