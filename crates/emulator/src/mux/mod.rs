//! The multiplexer (AT+CMUX, 3GPP TS 27.010, basic option): a UART that carries four AT conversations.
//!
//! Each channel has a port of its own, with its own interpreter, settings and data mode. The ports of channels come
//! after the physical ones in `Modem::ports`; a physical port that carries a multiplexer has no conversation itself.
//!
//! What neither the standard nor Quectel's manuals define is decided here: AT+CMUX does not change the speed of the
//! UART, `"cmux/urcport"` 0 means every open channel, a URC that finds no open channel waits for one, and DISC of
//! channel 0 does what CLD does.

mod frame;
mod receiving;
mod sending;
#[cfg(test)]
mod tests;

use std::time::Instant;

use crate::at_port::{Mode, Port, Reach, Wait};
use crate::commands::general::MUX_URC_KEYS;
use crate::config::PortName;
use crate::modem::{Modem, ModemLines};
use crate::mux::frame::{Decoder, LONGEST_INFORMATION_BYTES};
use crate::network::{Close, Network};

/// A UART that is multiplexed.
///
/// ```text
///         AT+CMUX, OK            SABM 0          CLD, DISC 0
/// (a line) ─────────► Entered ──────────► Open ──────────────► (a line)
///                        │                  │ a frame that is too long, by a quirk
///                        │                  └──► Frozen
///                        └── a boot ends each of them ──► (a line)
/// ```
#[derive(Clone, Debug)]
pub(crate) struct Mux {
    pub(crate) settings: MuxSettings,
    state: State,
    decoder: Decoder,
    /// The index of the port of channel 1; the others follow.
    first_port: usize,
    channels: [Channel; CHANNELS],
    /// Most bytes of payload in a frame, by channel: as AT+CMUX set it, or less by PN.
    longest: [usize; CHANNELS],
    /// FCoff of the host: nothing is sent but messages.
    all_held: bool,
    /// The channel that was served last; the next turn is another's.
    served: usize,
    /// Frames with payload so far.
    payload_frames: usize,
}

/// How far a multiplexer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Channel 0 is not open. Before `listens_at` nothing is read.
    Entered {
        listens_at: Instant,
    },
    Open,
    /// It answers nothing until a boot.
    Frozen,
}

/// The values of AT+CMUX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MuxSettings {
    /// 0 UIH frames, 1 UI, 2 I; UIH are sent in any case.
    pub(crate) subset: u32,
    /// 1 to 8 for 9600 to 921600 baud; kept and shown, without effect.
    pub(crate) port_speed: u32,
    /// N1: most bytes of information in a frame.
    pub(crate) longest: u32,
    /// T1 in 10 ms
    pub(crate) acknowledgement_time: u32,
    /// N2
    pub(crate) retransmissions: u32,
    /// T2 in 10 ms
    pub(crate) response_time: u32,
    /// T3 in seconds
    pub(crate) wake_up_time: u32,
    /// k
    pub(crate) window: u32,
}

/// One channel of a multiplexer.
///
/// ```text
///         SABM            DISC, DM, the end of the multiplexer
/// Closed ──────► Open ─────────────────────────────────────────► Closed
/// ```
#[derive(Clone, Debug)]
enum Channel {
    Closed,
    Open(OpenChannel),
}

/// What an open channel has besides its port.
#[derive(Clone, Debug)]
struct OpenChannel {
    /// The V.24 octet that the host was told last.
    told: Option<u8>,
    /// The host's answer to the last MSC, where data waits for it.
    answer: MscAnswer,
    /// FC of the host: no payload is sent to it.
    held_by_host: bool,
    /// FC of the module.
    hold: HostHold,
    /// RI is asserted until then.
    rings_until: Option<Instant>,
    /// A URC has cleared RTC and RTR, until the host's next MSC or TEST.
    lines_cleared: bool,
}

/// Why the host is to send no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostHold {
    None,
    /// There is no room, until there is enough again.
    Full,
    /// A fault, until TEST.
    UntilTest,
}

/// What has become of an MSC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MscAnswer {
    NotAwaited,
    /// Without an answer it is sent again at `due`, at most `repeats` times more.
    Awaited {
        due: Instant,
        repeats: u32,
    },
}

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

impl Default for MuxSettings {
    /// The EC25's.
    fn default() -> MuxSettings {
        MuxSettings {
            subset: 0,
            port_speed: 5,
            longest: 127,
            acknowledgement_time: 10,
            retransmissions: 3,
            response_time: 30,
            wake_up_time: 10,
            window: 2,
        }
    }
}

impl OpenChannel {
    fn new() -> OpenChannel {
        OpenChannel {
            told: None,
            answer: MscAnswer::NotAwaited,
            held_by_host: false,
            hold: HostHold::None,
            rings_until: None,
            lines_cleared: false,
        }
    }
}

impl Mux {
    /// The index of a channel's port.
    fn port(&self, dlci: u8) -> usize {
        self.first_port + usize::from(dlci) - 1
    }

    /// The ports of all channels, open or not.
    pub(crate) fn ports(&self) -> std::ops::Range<usize> {
        self.first_port..self.first_port + CHANNELS
    }

    fn channel(&self, dlci: u8) -> Option<&OpenChannel> {
        match self.channels.get(usize::from(dlci).wrapping_sub(1)) {
            Some(Channel::Open(channel)) => Some(channel),
            _ => None,
        }
    }

    fn channel_mut(&mut self, dlci: u8) -> Option<&mut OpenChannel> {
        match self.channels.get_mut(usize::from(dlci).wrapping_sub(1)) {
            Some(Channel::Open(channel)) => Some(channel),
            _ => None,
        }
    }

    fn is_open(&self, dlci: u8) -> bool {
        self.channel(dlci).is_some()
    }

    /// When something is to be done without input.
    pub(crate) fn due(&self) -> Option<Instant> {
        let open = (1..=LAST_CHANNEL).filter_map(|dlci| self.channel(dlci));
        let times = open.flat_map(|channel| {
            let again = match channel.answer {
                MscAnswer::Awaited { due, .. } => Some(due),
                MscAnswer::NotAwaited => None,
            };
            again.into_iter().chain(channel.rings_until)
        });
        if self.state == State::Frozen { None } else { times.min() }
    }
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
            state: State::Entered { listens_at: now + pause },
            decoder: Decoder::default(),
            first_port,
            channels: [const { Channel::Closed }; CHANNELS],
            longest: [longest; CHANNELS],
            all_held: false,
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

    /// The conversations that stand for a port now: itself, or the URC channels of its multiplexer, or the line if
    /// its multiplexer has ended. Without an open channel it is the line itself, whose URCs wait.
    pub(crate) fn conversations(&self, port: usize) -> Vec<usize> {
        let line = match self.ports[port].reach {
            Reach::Channel { .. } if self.has_conversation(port) => return vec![port],
            Reach::Channel { line, .. } => line,
            Reach::Line | Reach::Mux(_) => port,
        };
        let Some(mux) = self.mux_of(line) else { return vec![line] };
        let wanted = match self.mux_urc_channel() {
            0 => 1..=LAST_CHANNEL,
            dlci => dlci..=dlci,
        };
        let open: Vec<usize> = wanted.filter(|dlci| mux.is_open(*dlci)).map(|dlci| mux.port(dlci)).collect();
        if open.is_empty() { vec![line] } else { open }
    }

    /// The channel of AT+QCFG="cmux/urcport"; 0 for all.
    fn mux_urc_channel(&self) -> u8 {
        let kept = MUX_URC_KEYS.iter().find_map(|key| self.session.kept.get(*key));
        let kept = kept.filter(|_| !self.config.quirks.mux_urcs_everywhere);
        let first = kept.and_then(|value| value.split(',').next());
        first.and_then(|number| number.trim_matches('"').parse().ok()).unwrap_or(0)
    }

    /// The port of channel 1 beside this one, if it is open and another.
    pub(crate) fn first_channel_beside(&self, port: usize) -> Option<usize> {
        let Reach::Channel { line, dlci } = self.ports[port].reach else { return None };
        let mux = self.mux_of(line).filter(|mux| mux.is_open(1) && dlci != 1)?;
        Some(mux.port(1))
    }
}

/// The channels with a conversation.
pub(crate) const CHANNELS: usize = 4;
const LAST_CHANNEL: u8 = CHANNELS as u8;

/// How long a module that needs a pause reads nothing after the OK to AT+CMUX.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
