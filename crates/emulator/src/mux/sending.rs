//! What a multiplexer sends: answers and messages at once, payload by turns, and the lines of its channels.
//!
//! The next frame with payload is made only when the line has taken the last one. So an answer on one channel
//! waits for one frame of another, and not for what that one still has.

use std::time::{Duration, Instant};

use crate::at_port::{Mode, Reach};
use crate::modem::{ANSWERS_LIMIT_BYTES, Modem, ModemLines};
use crate::mux::frame::{EA, FLAG, Frame, Kind, LONGEST_INFORMATION_BYTES};
use crate::mux::state::{CHANNELS, HostHold, LAST_CHANNEL, MscAnswer, MuxState};
use crate::network::Network;

impl Modem {
    /// UA or DM. The F bit is that of the question.
    pub(super) fn send_answer(&mut self, line: usize, dlci: u8, kind: Kind, poll: bool) {
        let poll = poll && !self.config.quirks.mux_final_never;
        self.send_frame(line, Frame { dlci, command: true, kind, poll, information: Vec::new() });
    }

    /// SABM, which some modules send themselves.
    pub(super) fn send_command(&mut self, line: usize, dlci: u8, kind: Kind) {
        self.send_frame(line, Frame { dlci, command: false, kind, poll: true, information: Vec::new() });
    }

    /// The answer to a message.
    pub(super) fn send_message(&mut self, line: usize, kind: u8, value: &[u8], poll: bool) {
        let mut information = vec![kind];
        match value.len() {
            count @ 0..128 => information.push((count as u8) << 1 | EA),
            count => information.extend([(count << 1) as u8, (count >> 6) as u8 | EA]),
        }
        information.extend_from_slice(value);
        let poll = poll && self.config.quirks.mux_final_in_kind;
        self.send_information(line, 0, information, poll);
    }

    /// UIH. A module's C/R bit is clear in them (TS 27.010 5.2.1.2).
    fn send_information(&mut self, line: usize, dlci: u8, information: Vec<u8>, poll: bool) {
        let command = self.config.quirks.mux_command_bit_set;
        let poll = poll || self.config.quirks.mux_final_always;
        self.send_frame(line, Frame { dlci, command, kind: Kind::Uih, poll, information });
    }

    /// Puts a frame on the line, with the faults that are set.
    fn send_frame(&mut self, line: usize, frame: Frame) {
        let mut bytes = frame.encoded();
        let faults = &mut self.faults;
        // Where the checksum is a flag as well, one lost byte shows nowhere.
        let is_noticed = bytes[bytes.len() - 2] != FLAG;
        if is_noticed && !frame.information.is_empty() && faults.frame_bytes_lost > 0 {
            let first = bytes.len() - 2 - frame.information.len();
            let count = std::mem::take(&mut faults.frame_bytes_lost).min(frame.information.len());
            bytes.drain(first..first + count);
        }
        if faults.spoiled_frames > 0 {
            faults.spoiled_frames -= 1;
            let check = bytes.len() - 2;
            bytes[check] ^= 0x55;
        }
        if let Some(length) = faults.frame_length.take() {
            let octets = if frame.information.len() > 127 { 2 } else { 1 };
            bytes.splice(3..3 + octets, [(length << 1) as u8, (length >> 7) as u8]);
        }
        self.counters.mux_frames_sent += 1;
        self.ports[line].emit(&bytes);
    }

    /// Does what all multiplexers have to do: FC, MSC, and the next frame; true if anything was sent.
    pub(crate) fn run_muxes(&mut self, now: Instant) -> bool {
        let mut moved = false;
        for line in 0..self.config.ports.len() {
            if self.mux_of(line).is_some_and(|mux| mux.state != MuxState::Frozen) {
                moved |= self.show_lines(line, now);
                moved |= self.fill(line, now);
            }
        }
        moved
    }

    /// Sends an MSC for every channel whose lines have changed, or whose last one was not answered in time.
    fn show_lines(&mut self, line: usize, now: Instant) -> bool {
        let mut moved = false;
        for dlci in 1..=LAST_CHANNEL {
            let Some(port) = self.mux_of(line).filter(|mux| mux.is_open(dlci)).map(|mux| mux.port(dlci))
            else {
                continue;
            };
            let is_full = self.is_full(port);
            let carries = self.ports[port].dcd() && !self.config.quirks.mux_carrier_never;
            let awaits = self.config.quirks.mux_awaits_msc_answer;
            let retransmissions = self.mux_of(line).map_or(0, |mux| mux.settings.retransmissions);
            let Some(channel) = self.channel_mut(line, dlci) else { continue };
            channel.hold = match (channel.hold, is_full) {
                (HostHold::UntilTest, _) => HostHold::UntilTest,
                (_, Some(true)) => HostHold::Full,
                (_, Some(false)) => HostHold::None,
                (hold, None) => hold,
            };
            channel.rings_until = channel.rings_until.filter(|until| *until > now);
            let mut v24 = EA;
            for (bit, is_set) in [
                (FC, channel.hold != HostHold::None),
                (RTC | RTR, !channel.lines_cleared),
                (IC, channel.rings_until.is_some()),
                (DV, carries),
            ] {
                v24 |= if is_set { bit } else { 0 };
            }
            let is_new = channel.told != Some(v24);
            let repeats = match channel.answer {
                _ if is_new => Some(retransmissions),
                MscAnswer::Awaited { due, repeats } if due <= now => repeats.checked_sub(1),
                MscAnswer::Awaited { .. } | MscAnswer::NotAwaited => continue,
            };
            channel.answer = match repeats {
                Some(repeats) if awaits => MscAnswer::Awaited { due: now + MSC_ANSWER_TIME, repeats },
                _ => MscAnswer::NotAwaited,
            };
            if is_new || repeats.is_some() {
                channel.told = Some(v24);
                self.send_lines(line, dlci, v24);
                moved = true;
            }
        }
        moved
    }

    /// Sends an MSC in the form of this module.
    fn send_lines(&mut self, line: usize, dlci: u8, v24: u8) {
        let mut value = vec![dlci << 2 | ADDRESS_COMMAND | EA, v24];
        if self.config.quirks.mux_long_msc {
            value.resize(8, EA);
        } else if self.config.quirks.mux_msc_with_break {
            value.push(EA);
        }
        let mut information = vec![MSC | MESSAGE_COMMAND, (value.len() as u8) << 1 | EA];
        information.extend(value);
        self.send_information(line, 0, information, false);
    }

    /// Whether a channel must stop the host, or may let it go on; `None` between the two marks.
    fn is_full(&self, port: usize) -> Option<bool> {
        let state = &self.ports[port];
        let (used, limit) = match state.mode {
            Mode::Data { connection, .. } => {
                let used = self.socket_of(connection).map_or(0, |socket| socket.send_buffer_used());
                (used, self.config.send_buffer_bytes)
            }
            _ => (state.output.len(), ANSWERS_LIMIT_BYTES),
        };
        // Far below the mark that stops the host, so that it does not stop and go on with every frame.
        let release = limit / 3;
        if used >= limit {
            Some(true)
        } else if used <= release {
            Some(false)
        } else {
            None
        }
    }

    /// Makes the next frame when the line has taken the last one; true if it made one.
    pub(crate) fn fill(&mut self, line: usize, now: Instant) -> bool {
        let mut moved = false;
        while self.ports[line].output.is_empty() {
            let Some(dlci) = self.next_turn(line) else { break };
            self.send_payload(line, dlci, now);
            moved = true;
        }
        moved
    }

    /// The channel whose turn it is; `None` if no channel may send or has anything.
    fn next_turn(&self, line: usize) -> Option<u8> {
        let mux = self.mux_of(line).filter(|mux| mux.state == MuxState::Open && !mux.all_held)?;
        let turns = (1..=CHANNELS).map(|step| ((mux.served + step - 1) % CHANNELS + 1) as u8);
        turns.into_iter().find(|dlci| {
            let Some(channel) = mux.channel(*dlci) else { return false };
            let port = &self.ports[mux.port(*dlci)];
            let held_by_rts = port.settings.rts_flow && !port.rts;
            let waits = matches!(channel.answer, MscAnswer::Awaited { .. });
            !port.output.is_empty() && !channel.held_by_host && !held_by_rts && !waits
        })
    }

    /// One frame of a channel's output. A carrier that falls with it is shown after it.
    fn send_payload(&mut self, line: usize, dlci: u8, now: Instant) {
        let exceeds = self.config.quirks.mux_exceeds_frame_length;
        let Some(mux) = self.mux_of_mut(line) else { return };
        mux.served = usize::from(dlci);
        mux.payload_frames = mux.payload_frames.wrapping_add(1);
        let more = if exceeds { mux.payload_frames % (MOST_EXCESS_BYTES + 1) } else { 0 };
        let most = (mux.longest[usize::from(dlci) - 1] + more).min(LONGEST_INFORMATION_BYTES);
        let port = mux.port(dlci);
        let output = self.ports[port].output.as_slice();
        let information = output[..output.len().min(most)].to_vec();
        self.ports[port].written(information.len());
        self.ports[port].last_left_at = Some(now);
        self.send_information(line, dlci, information, false);
        self.show_lines(line, now);
    }

    /// Sends all that the channels have, such as the last words before a power-down, as far as the host lets them.
    pub(crate) fn flush_muxes(&mut self, now: Instant) {
        for line in 0..self.config.ports.len() {
            while let Some(dlci) = self.next_turn(line) {
                self.send_payload(line, dlci, now);
            }
        }
    }

    /// A URC leaves by a channel: where modules clear RTC and RTR with their ring indicator, they do it now.
    pub(crate) fn ring(&mut self, port: usize, urc: &[u8]) {
        let Reach::Channel { line, dlci } = self.ports[port].reach else { return };
        if !self.config.quirks.mux_ring_clears_lines {
            return;
        }
        let begins = |text: &str| urc.strip_prefix(b"\r\n").unwrap_or(urc).starts_with(text.as_bytes());
        let key = match () {
            () if begins("RING") => "urc/ri/ring",
            () if begins("+CMT") => "urc/ri/smsincoming",
            () => "urc/ri/other",
        };
        let is_off = self.session.kept.get(key).is_some_and(|value| value.starts_with("\"off\""));
        let until = self.looked_at + RING_PULSE;
        if !is_off && let Some(channel) = self.channel_mut(line, dlci) {
            channel.rings_until = Some(until);
            channel.lines_cleared = true;
        }
    }

    /// TEST has come, or the faults are over: FC and the lines of the channels are as they should be.
    pub(crate) fn release_stuck_channels(&mut self, line: usize) {
        for dlci in 1..=LAST_CHANNEL {
            if let Some(channel) = self.channel_mut(line, dlci) {
                channel.lines_cleared = false;
                if channel.hold == HostHold::UntilTest {
                    channel.hold = HostHold::Full;
                }
            }
        }
    }

    /// FC of a channel stays set until TEST; false if the channel is not open.
    pub(crate) fn close_channel_unasked(
        &mut self,
        line: usize,
        dlci: u8,
        by_disc: bool,
        now: Instant,
        network: &mut dyn Network,
    ) -> bool {
        let is_open = self.mux_of(line).is_some_and(|mux| mux.is_open(dlci));
        if is_open {
            self.close_channel(line, dlci, now, network);
            match by_disc {
                true => self.send_command(line, dlci, Kind::Disc),
                false => self.send_answer(line, dlci, Kind::Dm, false),
            }
        }
        is_open
    }

    pub(crate) fn stick_channel(&mut self, line: usize, dlci: u8) -> bool {
        let channel = self.channel_mut(line, dlci);
        channel.map(|channel| channel.hold = HostHold::UntilTest).is_some()
    }
}

/// The lines of a V.24 octet.
pub(super) fn lines(v24: u8) -> ModemLines {
    let is_set = |bit| v24 & bit != 0;
    ModemLines { dcd: is_set(DV), cts: is_set(RTR), dsr: is_set(RTC), ri: is_set(IC) }
}

/// Types of messages, without their C/R bit (TS 27.010 5.4.6.3).
pub(crate) const MSC: u8 = 0xE1;
pub(crate) const CLD: u8 = 0xC1;
pub(super) const TEST: u8 = 0x21;
pub(super) const PSC: u8 = 0x41;
pub(super) const FC_ON: u8 = 0xA1;
pub(super) const FC_OFF: u8 = 0x61;
pub(super) const NSC: u8 = 0x11;
pub(super) const PN: u8 = 0x81;
pub(super) const RPN: u8 = 0x91;
pub(super) const RLS: u8 = 0x51;
pub(super) const SNC: u8 = 0xD1;
const MESSAGE_COMMAND: u8 = 0x02;
/// The bit beside the channel's number in a message, always set.
pub(crate) const ADDRESS_COMMAND: u8 = 0x02;

/// Bits of the V.24 octet.
pub(super) const FC: u8 = 0x02;
pub(crate) const RTC: u8 = 0x04;
pub(crate) const RTR: u8 = 0x08;
const IC: u8 = 0x40;
pub(crate) const DV: u8 = 0x80;

/// How long a module that waits for the answer to an MSC waits before it sends the MSC again.
const MSC_ANSWER_TIME: Duration = Duration::from_secs(1);
/// How long a URC asserts RI, as AT+QCFG="urc/ri/other" has it by default.
const RING_PULSE: Duration = Duration::from_millis(120);
/// By how much a frame is longer than N1 at most, where a module exceeds it.
const MOST_EXCESS_BYTES: usize = 64;
