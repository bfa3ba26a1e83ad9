//! What the host sends to a multiplexer: frames, and the messages of channel 0 (TS 27.010 5.3 and 5.4.6).

use std::time::Instant;

use crate::modem::Modem;
use crate::mux::frame::{EA, Found, Frame, Kind, LONGEST_INFORMATION_BYTES};
use crate::mux::sending;
use crate::mux::state::{LAST_CHANNEL, MscAnswer, MuxState};
use crate::network::Network;

impl Modem {
    /// Takes bytes of the host. Returns those that came after the end of the multiplexer.
    pub(crate) fn take_frames(
        &mut self,
        line: usize,
        bytes: &[u8],
        now: Instant,
        network: &mut dyn Network,
    ) -> Vec<u8> {
        let Some(mux) = self.mux_of_mut(line) else { return bytes.to_vec() };
        match mux.state {
            MuxState::Frozen => return Vec::new(),
            MuxState::Entered { listens_at } if now < listens_at => return Vec::new(),
            MuxState::Entered { .. } | MuxState::Open => {}
        }
        mux.decoder.push(bytes);
        loop {
            let Some(mux) = self.mux_of_mut(line) else { return Vec::new() };
            if mux.state == MuxState::Frozen {
                return Vec::new();
            }
            // A message must fit, however short the frames with payload are.
            let longest = mux.longest.into_iter().max().unwrap_or(0).max(LONGEST_MESSAGE_BYTES);
            match mux.decoder.next(longest) {
                None => return Vec::new(),
                Some(Found::Garbled) => self.counters.mux_flags_without_frame += 1,
                Some(Found::TooLong { dlci }) => self.too_long(line, dlci),
                Some(Found::Frame(frame)) => {
                    self.counters.mux_frames_taken += 1;
                    if let Some(rest) = self.take_frame(line, frame, now, network) {
                        return rest;
                    }
                }
            }
        }
    }

    /// A frame from the host is longer than N1: it is dropped, or freezes the multiplexer by a quirk.
    fn too_long(&mut self, line: usize, dlci: u8) {
        self.counters.mux_frames_too_long += 1;
        let freezes = self.config.quirks.mux_freezes_on_long_frame;
        // Garbage is rarely the header of a frame of an open channel.
        if let Some(mux) = self.mux_of_mut(line).filter(|mux| freezes && mux.is_open(dlci)) {
            mux.state = MuxState::Frozen;
        }
    }

    /// Takes one frame; returns the bytes after it if it ends the multiplexer.
    fn take_frame(
        &mut self,
        line: usize,
        frame: Frame,
        now: Instant,
        network: &mut dyn Network,
    ) -> Option<Vec<u8>> {
        let Frame { dlci, kind, poll, .. } = frame;
        let mux = self.mux_of(line)?;
        let is_open = if dlci == 0 { mux.state == MuxState::Open } else { mux.is_open(dlci) };
        // No channel is opened before channel 0 (TS 27.010 5.8.1).
        let can_open = dlci == 0 || (dlci <= LAST_CHANNEL && mux.state == MuxState::Open);
        let is_response = matches!(kind, Kind::Ua | Kind::Dm);
        if self.config.quirks.mux_wants_command_bit && !frame.command && !is_response {
            return None;
        }
        match kind {
            Kind::Sabm if !can_open => self.send_answer(line, dlci, Kind::Dm, poll),
            Kind::Sabm => {
                match self.mux_of_mut(line) {
                    Some(mux) if dlci == 0 => mux.state = MuxState::Open,
                    _ if is_open => {}
                    _ => self.open_channel(line, dlci),
                }
                self.send_answer(line, dlci, Kind::Ua, poll);
                if self.config.quirks.mux_answers_sabm_twice {
                    self.send_answer(line, dlci, Kind::Ua, poll);
                }
                if self.config.quirks.mux_sends_sabm && !is_open {
                    self.send_command(line, dlci, Kind::Sabm);
                }
            }
            Kind::Disc if poll && self.config.quirks.mux_wants_poll_clear => {}
            Kind::Disc if !is_open => self.send_answer(line, dlci, Kind::Dm, poll),
            Kind::Disc if dlci == 0 => {
                self.send_answer(line, 0, Kind::Ua, poll);
                return Some(self.leave_mux(line, now, network));
            }
            Kind::Disc => {
                self.close_channel(line, dlci, now, network);
                self.send_answer(line, dlci, Kind::Ua, poll);
            }
            Kind::Dm if dlci != 0 => self.close_channel(line, dlci, now, network),
            Kind::Ua | Kind::Dm => {}
            Kind::Uih | Kind::Ui if !is_open => self.send_answer(line, dlci, Kind::Dm, true),
            Kind::Uih | Kind::Ui if dlci == 0 => return self.take_messages(line, &frame, now, network),
            Kind::Uih | Kind::Ui if frame.information.len() > mux.longest[usize::from(dlci) - 1] => {
                self.too_long(line, dlci);
            }
            Kind::Uih | Kind::Ui => {
                let port = mux.port(dlci);
                self.take_input(port, &frame.information, now, network);
            }
        }
        None
    }

    /// Takes the messages of a frame of channel 0; returns the bytes after it if one ends the multiplexer.
    fn take_messages(
        &mut self,
        line: usize,
        frame: &Frame,
        now: Instant,
        network: &mut dyn Network,
    ) -> Option<Vec<u8>> {
        let mut rest = &frame.information[..];
        while let Some((octet, value, after)) = message(rest) {
            rest = after;
            if octet & COMMAND == 0 {
                self.take_response(line, octet, value);
                continue;
            }
            match octet & !COMMAND {
                sending::CLD if frame.poll && self.config.quirks.mux_wants_poll_clear => {}
                sending::CLD => {
                    if !self.config.quirks.mux_close_down_unanswered {
                        self.send_message(line, sending::CLD, &[], frame.poll);
                    }
                    return Some(self.leave_mux(line, now, network));
                }
                kind => self.take_command(line, kind, value, frame.poll, now, network),
            }
        }
        None
    }

    /// A message of the host that wants an answer.
    fn take_command(
        &mut self,
        line: usize,
        kind: u8,
        value: &[u8],
        poll: bool,
        now: Instant,
        network: &mut dyn Network,
    ) {
        match kind {
            sending::MSC => {
                self.send_message(line, kind, value, poll);
                if let [dlci, v24, ..] = value {
                    self.host_lines_of_channel(line, dlci >> 2, *v24, now, network);
                }
            }
            sending::FC_ON | sending::FC_OFF => {
                self.send_message(line, kind, value, poll);
                if let Some(mux) = self.mux_of_mut(line) {
                    mux.all_held = kind == sending::FC_OFF;
                }
            }
            sending::TEST => {
                self.send_message(line, kind, value, poll);
                self.release_stuck_channels(line);
            }
            sending::PN => {
                let agreed = self.negotiated(line, value);
                self.send_message(line, kind, &agreed, poll);
            }
            sending::RPN => {
                let settings = match value {
                    // A question: 115200 baud, 8N1, no flow control.
                    [dlci] => vec![*dlci, 7, 3, 0, 0x11, 0x13, 0, 0],
                    _ => value.to_vec(),
                };
                self.send_message(line, kind, &settings, poll);
            }
            sending::PSC | sending::RLS | sending::SNC => self.send_message(line, kind, value, poll),
            _ => self.send_message(line, sending::NSC, &[kind | COMMAND], poll),
        }
    }

    fn take_response(&mut self, line: usize, kind: u8, value: &[u8]) {
        if let (sending::MSC, [dlci, ..]) = (kind, value)
            && let Some(channel) = self.channel_mut(line, dlci >> 2)
        {
            channel.answer = MscAnswer::NotAwaited;
        }
    }

    /// MSC: the host's lines of one channel.
    fn host_lines_of_channel(
        &mut self,
        line: usize,
        dlci: u8,
        v24: u8,
        now: Instant,
        network: &mut dyn Network,
    ) {
        let Some(channel) = self.channel_mut(line, dlci) else { return };
        channel.held_by_host = v24 & sending::FC != 0;
        channel.lines_cleared = false;
        let Some(port) = self.mux_of(line).map(|mux| mux.port(dlci)) else { return };
        let state = &mut self.ports[port];
        let dtr = v24 & sending::RTC != 0;
        let dropped = state.dtr && !dtr;
        state.dtr = dtr;
        state.rts = v24 & sending::RTR != 0;
        if dropped {
            self.dtr_dropped(port, now, network);
        }
    }

    /// PN: what the host asks for, with N1 no longer than AT+CMUX set it, and what this module does not have as 0:
    /// other frames than UIH, convergence layers, error recovery.
    fn negotiated(&mut self, line: usize, value: &[u8]) -> Vec<u8> {
        let (Some(mux), &[dlci, _, priority, time, low, high, _, _]) = (self.mux_of_mut(line), value) else {
            return value.to_vec();
        };
        let most = (mux.settings.longest as usize).min(LONGEST_INFORMATION_BYTES);
        let asked = usize::from(low) | usize::from(high) << 8;
        let agreed = if asked == 0 { most } else { asked.min(most) };
        if let Some(longest) = mux.longest.get_mut(usize::from(dlci & 0x3F).wrapping_sub(1)) {
            *longest = agreed;
        }
        let [low, high, ..] = agreed.to_le_bytes();
        vec![dlci, 0, priority, time, low, high, 0, 0]
    }
}

/// The first message: its type, its value, and what follows.
pub(crate) fn message(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let low = usize::from(first >> 1);
    let (count, rest) = match (first & EA, rest.split_first()) {
        (0, Some((second, rest))) if second & EA != 0 => (low | usize::from(second >> 1) << 7, rest),
        (0, _) => return None,
        _ => (low, rest),
    };
    // No message has a type of two octets.
    let (value, rest) = rest.split_at_checked(count).filter(|_| kind & EA != 0)?;
    Some((kind, value, rest))
}

/// The C/R bit of a message's type.
pub(crate) const COMMAND: u8 = 0x02;
/// Messages of this length are taken whatever N1 is: a TEST of 127 octets.
pub(crate) const LONGEST_MESSAGE_BYTES: usize = 129;
