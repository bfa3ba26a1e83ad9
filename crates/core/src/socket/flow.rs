//! How received bytes come out of the module, and when a socket is switched between push and buffer mode.

use std::time::{Duration, Instant};

use super::FarEnd;

/// How received bytes come out of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// They are pushed.
    Push,
    /// They should be pushed, and yet some wait to be read: a `recv` URC came without a length.
    Announced,
    /// They were pushed; the switch to buffer mode is due or in flight.
    ToBuffer(Why),
    /// They wait to be read.
    Buffer {
        /// Whether a read may yield some.
        readable: bool,
    },
    /// All of them have been read; the switch back to push mode is due or in flight.
    ToPush {
        /// A `recv` URC came meanwhile: some may be left in the module.
        readable: bool,
    },
    /// They are the bytes of this channel.
    Transparent {
        /// The channel.
        channel: usize,
    },
}

/// Why a socket is switched to buffer mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its client reads too slowly, or texts are shown that could look like its bytes. It goes on pushing if that ends.
    Wanted,
    /// Bytes were announced just before the switch to push mode. The module may hold them until more come.
    BytesAreLeft,
    /// An earlier switch was not answered, and may have been made: some bytes may wait to be read.
    Unanswered,
}

/// What a switch of mode depends on, beside the socket itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switching {
    /// The module has not refused AT+QISWTMD.
    pub is_possible: bool,
    /// Pushed bytes reach us, and no other program's text can look like them.
    pub pushes_count: bool,
    /// Other programs have texts shown that could look like payload.
    pub texts_are_shown: bool,
    /// How often a socket is read without a URC; `None`: URCs are enough.
    pub poll_interval: Option<Duration>,
    /// For how long a socket must be silent, even so, before the module is asked whether it is still
    /// connected.
    pub silence_max: Option<Duration>,
}

/// How a usual module switches, for tests.
#[cfg(test)]
pub(crate) fn test_switching() -> Switching {
    Switching {
        is_possible: true,
        pushes_count: true,
        texts_are_shown: false,
        poll_interval: None,
        silence_max: None,
    }
}

/// What a switch of mode depends on in the socket itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// How many bytes wait for the client.
    pub waiting_bytes: usize,
    /// A command about it is in flight.
    pub is_busy: bool,
    /// A switch may be asked for now.
    pub can_switch: bool,
    /// Its tunnel is in push mode.
    pub wants_push: bool,
}

/// The pause after a switch of mode that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchAgain {
    /// When the next may be asked for.
    pub at: Instant,
    /// The pause, doubled each time.
    pause: Duration,
}

impl SwitchAgain {
    /// After a refusal, with the pause before it.
    pub(super) fn after(before: Option<SwitchAgain>, now: Instant) -> SwitchAgain {
        let pause = before.map_or(SWITCH_PAUSE_MIN, |again| again.pause * 2).min(SWITCH_PAUSE_MAX);
        SwitchAgain { at: now + pause, pause }
    }
}

impl Flow {
    /// Whether bytes can come without being asked for.
    pub fn is_pushing(self) -> bool {
        matches!(
            self,
            Flow::Push | Flow::Announced | Flow::ToBuffer(_) | Flow::ToPush { .. } | Flow::Transparent { .. }
        )
    }

    /// Whether its bytes are those of a channel.
    pub fn is_stream(self) -> bool {
        matches!(self, Flow::Transparent { .. })
    }

    /// Whether AT+QSSLRECV may give something.
    pub fn is_readable(self) -> bool {
        matches!(self, Flow::Announced | Flow::Buffer { readable: true })
    }

    /// Whether a switch of mode is due or in flight.
    pub fn is_switching(self) -> bool {
        matches!(self, Flow::ToBuffer(_) | Flow::ToPush { .. })
    }

    /// How long it may be silent before it is read, or asked about, without a URC.
    pub(super) fn silence_max(self, switching: &Switching) -> Option<Duration> {
        match self {
            Flow::Buffer { readable: false } => switching.poll_interval.or(switching.silence_max),
            Flow::Push => switching.silence_max,
            _ => None,
        }
    }

    /// The URC `recv` without a length: something waits to be read.
    pub(super) fn announced(&mut self) {
        match self {
            Flow::Buffer { readable } | Flow::ToPush { readable } => *readable = true,
            // It does not push after all: what waits is read.
            Flow::Push => *self = Flow::Announced,
            Flow::Announced | Flow::ToBuffer(_) | Flow::Transparent { .. } => {}
        }
    }

    /// Something may wait in the module unannounced.
    pub(super) fn read_unasked(&mut self) {
        if let Flow::Buffer { readable } = self {
            *readable = true;
        }
    }

    /// A read gave nothing: everything has been read, unless more was announced meanwhile.
    pub(super) fn read_empty(&mut self, announced_again: bool) {
        match self {
            Flow::Buffer { readable } => *readable = announced_again,
            Flow::Announced if !announced_again => *self = Flow::Push,
            _ => {}
        }
    }

    /// A read was refused: it pushes, and cannot be read. Returns whether that explains it.
    pub(super) fn read_refused(&mut self) -> bool {
        let was_announced = *self == Flow::Announced;
        if was_announced {
            *self = Flow::ToBuffer(Why::BytesAreLeft);
        }
        was_announced
    }

    /// A pushing socket is switched to buffer mode while its client reads too slowly, and back. Once other programs have
    /// texts shown that could look like payload, it is switched for good.
    pub(super) fn adjust(&mut self, load: Load, far_end: FarEnd, switching: &Switching) {
        let is_relieved = load.waiting_bytes <= INCOMING_LOW_BYTES && far_end.takes_bytes() && !load.is_busy;
        let is_full = load.waiting_bytes >= INCOMING_HIGH_BYTES;
        match self {
            Flow::Push if load.can_switch && (is_full || switching.texts_are_shown) && !far_end.is_over() => {
                *self = Flow::ToBuffer(Why::Wanted);
            }
            Flow::ToBuffer(Why::Wanted) if is_relieved && !switching.texts_are_shown => {
                *self = Flow::Push;
            }
            Flow::Buffer { readable: false }
                if is_relieved && load.wants_push && load.can_switch && switching.pushes_count =>
            {
                *self = Flow::ToPush { readable: false };
            }
            _ => {}
        }
    }

    /// The switch to buffer mode was not answered: it may have been made.
    pub(super) fn switch_unanswered(&mut self) {
        if let Flow::ToBuffer(why) = self {
            *why = Why::Unanswered;
        }
    }

    /// The switch that was due was answered.
    pub(super) fn switched(&mut self, worked: bool) {
        *self = match (*self, worked) {
            // Bytes may wait in the module without a `recv` URC: they are read unasked.
            (Flow::ToBuffer(_), true) | (Flow::ToBuffer(Why::Unanswered), false) => {
                Flow::Buffer { readable: true }
            }
            (Flow::ToBuffer(Why::Wanted | Why::BytesAreLeft), false) => Flow::Push,
            (Flow::ToPush { readable: true }, true) => Flow::ToBuffer(Why::BytesAreLeft),
            (Flow::ToPush { readable: false }, true) => Flow::Push,
            (Flow::ToPush { .. }, false) => Flow::Buffer { readable: true },
            (flow, _) => flow,
        };
    }
}

/// Above this many waiting bytes a pushing socket is switched to buffer mode.
pub(super) const INCOMING_HIGH_BYTES: usize = 32 * 1024;

/// Below this many waiting bytes it may be switched back.
const INCOMING_LOW_BYTES: usize = 4 * 1024;

/// The pauses before the next switch of mode when one was refused.
const SWITCH_PAUSE_MIN: Duration = Duration::from_secs(1);
const SWITCH_PAUSE_MAX: Duration = Duration::from_secs(16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_that_may_have_been_made_is_followed_by_a_read_and_one_that_was_not_leaves_all_as_it_was() {
        let read = Flow::Buffer { readable: true };
        for (flow, worked, after) in [
            (Flow::ToBuffer(Why::Wanted), true, read),
            (Flow::ToBuffer(Why::Wanted), false, Flow::Push),
            (Flow::ToBuffer(Why::BytesAreLeft), true, read),
            (Flow::ToBuffer(Why::BytesAreLeft), false, Flow::Push),
            (Flow::ToBuffer(Why::Unanswered), true, read),
            (Flow::ToBuffer(Why::Unanswered), false, read),
            (Flow::ToPush { readable: false }, true, Flow::Push),
            (Flow::ToPush { readable: true }, true, Flow::ToBuffer(Why::BytesAreLeft)),
            (Flow::ToPush { readable: false }, false, read),
            (Flow::Push, true, Flow::Push),
        ] {
            let mut switched = flow;
            switched.switched(worked);
            assert_eq!(switched, after, "{flow:?}, worked: {worked}");
        }
    }

    #[test]
    fn what_was_announced_is_read_until_a_read_gives_nothing() {
        for (flow, announced, empty) in [
            (Flow::Push, Flow::Announced, Flow::Push),
            (
                Flow::Buffer { readable: false },
                Flow::Buffer { readable: true },
                Flow::Buffer { readable: false },
            ),
        ] {
            let mut now = flow;
            now.announced();
            assert_eq!(now, announced, "{flow:?}");
            assert!(now.is_readable());
            let mut again = now;
            again.read_empty(true);
            assert!(again.is_readable(), "{flow:?}: announced again meanwhile");
            now.read_empty(false);
            assert_eq!(now, empty, "{flow:?}");
        }
    }

    #[test]
    fn a_socket_is_switched_by_what_waits_for_its_client_and_by_what_others_have_shown() {
        let switching = |pushes_count, texts_are_shown| Switching {
            is_possible: true,
            pushes_count,
            texts_are_shown,
            poll_interval: None,
            silence_max: None,
        };
        let (alone, shown) = (switching(true, false), switching(false, true));
        let load =
            |waiting_bytes, is_busy| Load { waiting_bytes, is_busy, can_switch: true, wants_push: true };
        let (empty, full) = (load(0, false), load(INCOMING_HIGH_BYTES, false));
        let (to_buffer, to_push) = (Flow::ToBuffer(Why::Wanted), Flow::ToPush { readable: false });
        let (late, left) = (Flow::ToBuffer(Why::Unanswered), Flow::ToBuffer(Why::BytesAreLeft));
        let (read, unread) = (Flow::Buffer { readable: false }, Flow::Buffer { readable: true });
        for (flow, load, far_end, switching, after) in [
            (Flow::Push, empty, FarEnd::There, alone, Flow::Push),
            (Flow::Push, full, FarEnd::There, alone, to_buffer),
            (Flow::Push, empty, FarEnd::There, shown, to_buffer),
            (Flow::Push, full, FarEnd::Gone, alone, Flow::Push),
            (Flow::Push, Load { can_switch: false, ..full }, FarEnd::There, alone, Flow::Push),
            (Flow::Announced, full, FarEnd::There, alone, Flow::Announced),
            (to_buffer, empty, FarEnd::There, alone, Flow::Push),
            (to_buffer, load(0, true), FarEnd::There, alone, to_buffer),
            (to_buffer, empty, FarEnd::There, shown, to_buffer),
            (to_buffer, full, FarEnd::There, alone, to_buffer),
            (late, empty, FarEnd::There, alone, late),
            (left, empty, FarEnd::There, alone, left),
            (read, empty, FarEnd::There, alone, to_push),
            (read, load(0, true), FarEnd::There, alone, read),
            (read, full, FarEnd::There, alone, read),
            (read, empty, FarEnd::Gone, alone, read),
            (read, empty, FarEnd::There, shown, read),
            (read, Load { wants_push: false, ..empty }, FarEnd::There, alone, read),
            (unread, empty, FarEnd::There, alone, unread),
        ] {
            let mut adjusted = flow;
            adjusted.adjust(load, far_end, &switching);
            assert_eq!(adjusted, after, "{flow:?} {load:?} {far_end:?} {switching:?}");
        }
    }

    #[test]
    fn a_refused_read_shows_that_it_pushes_only_where_something_was_announced() {
        let mut announced = Flow::Announced;
        assert!(announced.read_refused());
        assert_eq!(announced, Flow::ToBuffer(Why::BytesAreLeft), "what was announced is fetched");
        for flow in [Flow::Push, Flow::Buffer { readable: true }, Flow::ToBuffer(Why::Wanted)] {
            let mut refused = flow;
            assert!(!refused.read_refused());
            assert_eq!(refused, flow);
        }
    }
}
