//! The multiplexer (AT+CMUX, 3GPP TS 27.010, basic option): a UART that carries four AT conversations.
//!
//! Each channel has a port of its own, with its own interpreter, settings and data mode. The ports of channels come
//! after the physical ones in `Modem::ports`; a physical port that carries a multiplexer has no conversation itself.
//!
//! What neither the standard nor Quectel's manuals define is decided here: AT+CMUX does not change the speed of the
//! UART, `"cmux/urcport"` 0 means every open channel, a URC that finds no open channel waits for one, and DISC of
//! channel 0 does what CLD does.

pub(crate) mod frame;
pub(crate) mod receiving;
pub(crate) mod sending;
pub(crate) mod state;
#[cfg(test)]
mod tests;

use std::time::Instant;

use crate::at_port::{Mode, Port, Reach, Wait};
use crate::config::PortName;
use crate::modem::{Modem, ModemLines};
use crate::mux::frame::{Decoder, LONGEST_INFORMATION_BYTES};
use crate::mux::state::{CHANNELS, Channel, HostHold, LAST_CHANNEL, Mux, MuxSettings, MuxState, OpenChannel};
use crate::network::{Close, Network};

/// What a test can see of a multiplexer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MuxView {
    /// N1: most bytes of information in a frame.
    pub longest_bytes: usize,
    /// Channels 1 to 4; `None` for a closed one.
    pub channels: [Option<ChannelView>; CHANNELS],
}

/// What a test can see of an open channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelView {
    /// The lines that the module's last MSC showed: DV, RTR, RTC and IC.
    pub lines: ModemLines,
    /// DTR as the host's last MSC set it; asserted at first.
    pub dtr: bool,
    /// RTS as the host's last MSC set it; asserted at first.
    pub rts: bool,
    /// Whether the channel is the stream of a connection.
    pub is_stream: bool,
    /// The module stops the host by FC.
    pub holds_host: bool,
    /// The host stops the module by FC.
    pub held_by_host: bool,
    /// Bytes that wait to leave, not yet in a frame.
    pub waiting_bytes: usize,
}

impl Modem {
    /// Whether a port is a UART, which alone can be multiplexed.
    pub(crate) fn can_be_multiplexed(&self, port: usize) -> bool {
        matches!(self.ports[port].name, PortName::Uart1 | PortName::Uart2)
    }

    /// The multiplexer that a physical port carries.
    pub(crate) fn mux_of(&self, line: usize) -> Option<&Mux> {
        match &self.ports[line].reach {
            Reach::Mux(mux) => Some(mux),
            Reach::Line | Reach::Channel { .. } => None,
        }
    }

    fn mux_of_mut(&mut self, line: usize) -> Option<&mut Mux> {
        match &mut self.ports[line].reach {
            Reach::Mux(mux) => Some(mux),
            Reach::Line | Reach::Channel { .. } => None,
        }
    }

    fn channel_mut(&mut self, line: usize, dlci: u8) -> Option<&mut OpenChannel> {
        self.mux_of_mut(line)?.channel_mut(dlci)
    }

    /// What a test can see of the multiplexer of a physical port; `None` while there is none.
    pub fn mux(&self, port: usize) -> Option<MuxView> {
        let mux = self.mux_of(port)?;
        let channels = std::array::from_fn(|index| {
            let Channel::Open(channel) = &mux.channels[index] else { return None };
            let state = &self.ports[mux.first_port + index];
            Some(ChannelView {
                lines: sending::lines(channel.told.unwrap_or_default()),
                dtr: state.dtr,
                rts: state.rts,
                is_stream: state.in_data_mode(),
                holds_host: channel.hold != HostHold::None,
                held_by_host: channel.held_by_host,
                waiting_bytes: state.output.len(),
            })
        });
        let longest_bytes = (mux.settings.longest as usize).min(LONGEST_INFORMATION_BYTES);
        Some(MuxView { longest_bytes, channels })
    }

    /// Whether CTS of a port stays off, by a quirk: a host without flow control is heard.
    pub fn holds_cts_off(&self, port: usize) -> bool {
        self.mux_of(port).is_some_and(|mux| mux.holds_cts_off)
    }

    /// A host has opened the line, which may have channels of an earlier one.
    pub(crate) fn hold_cts_off(&mut self, port: usize) {
        if let Some(mux) = self.mux_of_mut(port) {
            mux.holds_cts_off = true;
        }
    }

    /// The answer to AT+CMUX has left: the port is multiplexed from now on.
    pub(crate) fn enter_mux(&mut self, line: usize, settings: MuxSettings, now: Instant) {
        let is_first = |port: &Port| matches!(port.reach, Reach::Channel { line: on, dlci: 1 } if on == line);
        let known = self.ports.iter().position(is_first);
        let first_port = known.unwrap_or(self.ports.len());
        if known.is_none() {
            let name = self.ports[line].name;
            for dlci in 1..=LAST_CHANNEL {
                let mut port = Port::new(name, &self.config);
                port.reach = Reach::Channel { line, dlci };
                self.ports.push(port);
            }
        }
        let pause = if self.config.quirks.mux_needs_pause { PAUSE } else { std::time::Duration::ZERO };
        let longest = (settings.longest as usize).min(LONGEST_INFORMATION_BYTES);
        self.ports[line].reach = Reach::Mux(Box::new(Mux {
            settings,
            state: MuxState::Entered { listens_at: now + pause },
            decoder: Decoder::default(),
            first_port,
            channels: [const { Channel::Closed }; CHANNELS],
            longest: [longest; CHANNELS],
            all_held: false,
            holds_cts_off: false,
            served: 0,
            payload_frames: 0,
        }));
    }

    /// The port is a line again. Returns what the host has sent since.
    fn leave_mux(&mut self, line: usize, now: Instant, network: &mut dyn Network) -> Vec<u8> {
        for dlci in 1..=LAST_CHANNEL {
            self.close_channel(line, dlci, now, network);
        }
        match std::mem::replace(&mut self.ports[line].reach, Reach::Line) {
            Reach::Mux(mut mux) => mux.decoder.take_rest(),
            Reach::Line | Reach::Channel { .. } => Vec::new(),
        }
    }

    /// SABM: the channel has a conversation, with the settings of a boot.
    fn open_channel(&mut self, line: usize, dlci: u8) {
        let baud = self.ports[line].settings.baud;
        let config = &self.config;
        let Reach::Mux(mux) = &mut self.ports[line].reach else { return };
        mux.channels[usize::from(dlci) - 1] = Channel::Open(OpenChannel::new());
        let port = mux.port(dlci);
        let state = &mut self.ports[port];
        state.reset(config);
        (state.dtr, state.rts) = (true, true);
        state.settings.baud = baud;
        if self.conversations(line).contains(&port) {
            let waiting = std::mem::take(&mut self.ports[line].urcs);
            self.ports[port].urcs.extend(waiting);
        }
    }

    /// The channel has no conversation any more. What it carried is closed as DTR closes it under AT&D2.
    fn close_channel(&mut self, line: usize, dlci: u8, now: Instant, network: &mut dyn Network) {
        let Some(mux) = self.mux_of(line).filter(|mux| mux.is_open(dlci)) else { return };
        let port = mux.port(dlci);
        match self.ports[port].mode {
            Mode::Data { connection, .. } => self.hang_up(port, connection, now, network),
            Mode::Waiting(Wait::Open(connection)) => self.free(connection, Close::Abort, now, network),
            _ => {}
        }
        self.counters.urcs_lost += self.ports[port].urcs.len() as u64;
        self.ports[port].reset(&self.config);
        if let Some(mux) = self.mux_of_mut(line) {
            mux.channels[usize::from(dlci) - 1] = Channel::Closed;
        }
    }

    /// Whether a port has an AT conversation: not the line of a multiplexer, and no closed channel.
    pub(crate) fn has_conversation(&self, port: usize) -> bool {
        match self.ports[port].reach {
            Reach::Line => true,
            Reach::Mux(_) => false,
            Reach::Channel { line, dlci } => self.mux_of(line).is_some_and(|mux| mux.is_open(dlci)),
        }
    }

    /// The conversations that a port consists of now: itself, or the URC channels of its multiplexer, or the line if
    /// its multiplexer has ended. Without an open channel it is the line itself, whose URCs wait.
    pub(crate) fn conversations(&self, port: usize) -> Vec<usize> {
        let line = match self.ports[port].reach {
            Reach::Channel { .. } if self.has_conversation(port) => return vec![port],
            Reach::Channel { line, .. } => line,
            Reach::Line | Reach::Mux(_) => port,
        };
        let Some(mux) = self.mux_of(line) else { return vec![line] };
        let chosen = if self.config.quirks.mux_urcs_everywhere { 0 } else { self.session.mux_urc_channel() };
        let wanted = match chosen {
            0 => 1..=LAST_CHANNEL,
            dlci => dlci..=dlci,
        };
        let open: Vec<usize> = wanted.filter(|dlci| mux.is_open(*dlci)).map(|dlci| mux.port(dlci)).collect();
        if open.is_empty() { vec![line] } else { open }
    }

    /// The port of channel 1 beside this one, if it is open and another.
    pub(crate) fn first_channel_beside(&self, port: usize) -> Option<usize> {
        let Reach::Channel { line, dlci } = self.ports[port].reach else { return None };
        let mux = self.mux_of(line).filter(|mux| mux.is_open(1) && dlci != 1)?;
        Some(mux.port(1))
    }
}

/// How long a module that needs a pause reads nothing after the OK to AT+CMUX.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
