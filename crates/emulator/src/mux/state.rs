//! The state of a multiplexer. A port holds it; what is done with it are methods of the modem, which holds the ports.

use std::time::Instant;

use crate::mux::frame::Decoder;

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
    pub(super) state: MuxState,
    pub(super) decoder: Decoder,
    /// The index of the port of channel 1; the others follow.
    pub(super) first_port: usize,
    pub(super) channels: [Channel; CHANNELS],
    /// Most bytes of payload in a frame, by channel: as AT+CMUX set it, or less by PN.
    pub(super) longest: [usize; CHANNELS],
    /// FCoff of the host: nothing is sent but messages.
    pub(super) all_held: bool,
    /// CTS stays off until the mode ends.
    pub(super) holds_cts_off: bool,
    /// The channel that was served last; the next turn is another's.
    pub(super) served: usize,
    /// Frames with payload so far.
    pub(super) payload_frames: usize,
}

/// How far a multiplexer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MuxState {
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
pub struct MuxSettings {
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
pub(super) enum Channel {
    Closed,
    Open(OpenChannel),
}

/// What an open channel has besides its port.
#[derive(Clone, Debug)]
pub(super) struct OpenChannel {
    /// The V.24 octet that the host was told last.
    pub(super) told: Option<u8>,
    /// The host's answer to the last MSC, where data waits for it.
    pub(super) answer: MscAnswer,
    /// FC of the host: no payload is sent to it.
    pub(super) held_by_host: bool,
    /// FC of the module.
    pub(super) hold: HostHold,
    /// RI is asserted until then.
    pub(super) rings_until: Option<Instant>,
    /// A URC has cleared RTC and RTR, until the host's next MSC or TEST.
    pub(super) lines_cleared: bool,
}

/// Why the host is to send no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostHold {
    None,
    /// There is no room, until there is enough again.
    Full,
    /// A fault, until TEST.
    UntilTest,
}

/// What has become of an MSC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MscAnswer {
    NotAwaited,
    /// Without an answer it is sent again at `due`, at most `repeats` times more.
    Awaited {
        due: Instant,
        repeats: u32,
    },
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
    pub(super) fn new() -> OpenChannel {
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
    pub(super) fn port(&self, dlci: u8) -> usize {
        self.first_port + usize::from(dlci) - 1
    }

    /// The ports of all channels, open or not.
    pub(crate) fn ports(&self) -> std::ops::Range<usize> {
        self.first_port..self.first_port + CHANNELS
    }

    pub(super) fn channel(&self, dlci: u8) -> Option<&OpenChannel> {
        match self.channels.get(usize::from(dlci).wrapping_sub(1)) {
            Some(Channel::Open(channel)) => Some(channel),
            _ => None,
        }
    }

    pub(super) fn channel_mut(&mut self, dlci: u8) -> Option<&mut OpenChannel> {
        match self.channels.get_mut(usize::from(dlci).wrapping_sub(1)) {
            Some(Channel::Open(channel)) => Some(channel),
            _ => None,
        }
    }

    pub(super) fn is_open(&self, dlci: u8) -> bool {
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
        if self.state == MuxState::Frozen { None } else { times.min() }
    }
}

/// The channels with a conversation.
pub(crate) const CHANNELS: usize = 4;
pub(crate) const LAST_CHANNEL: u8 = CHANNELS as u8;
