//! What can be seen of a line's channels from outside, as plain data.

use std::time::Instant;

use super::{SharedPort, SharedPortState};
use crate::cmux::{CHANNELS_MAX, DlciNumber, DlciState, Mux, V24};
use crate::modem::Modem;

/// A line that carries several channels (CMUX), at one moment. Counts begin anew with each multiplexer.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Multiplexer {
    /// How much a frame carries at most, in bytes (N1).
    pub frame_bytes: usize,
    /// Frames to the module.
    pub frames_out: u64,
    /// Frames from the module.
    pub frames_in: u64,
    /// Frames that did not count: a wrong check sum, or no flag at the end.
    pub bad_frames: u64,
    /// Bytes from the module in which there was no frame.
    pub garbage_bytes: u64,
    /// For how long the module has held the data of all channels (FCoff).
    pub held_seconds: f64,
    /// The channels, the first one for commands and URCs.
    pub channels: Vec<LineChannel>,
}

/// A channel of a line, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct LineChannel {
    /// Its number (DLCI), from 1.
    pub number: u8,
    /// closed, opening, closing, or as a port: waking, command, data.
    pub state: String,
    /// The V.24 lines that are shown to the module: DTR, RTS, FC.
    pub lines_out: Vec<String>,
    /// The V.24 lines that the module shows: DSR, CTS, RI, DCD, FC.
    pub lines_in: Vec<String>,
    /// For how long the module has held its data (FC, or CTS off).
    pub held_by_module_seconds: f64,
    /// For how long the module was held (FC), because a client did not read.
    pub held_by_us_seconds: f64,
}

impl SharedPort {
    /// Its channels, while it has several.
    pub fn report(&self, modem: &Modem, now: Instant) -> Option<Multiplexer> {
        let SharedPortState::Muxed(mux) = &self.state else { return None };
        let counters = mux.counters(now);
        Some(Multiplexer {
            frame_bytes: mux.frame_size(),
            frames_out: counters.frames_out,
            frames_in: counters.frames_in,
            bad_frames: counters.bad_fcs,
            garbage_bytes: counters.garbage_bytes,
            held_seconds: counters.stopped.as_secs_f64(),
            channels: DlciNumber::first(CHANNELS_MAX).map(|dlci| channel(mux, dlci, modem, now)).collect(),
        })
    }

    /// The speed of the line in bit/s while it has several channels, if it is a UART.
    pub fn baud(&self) -> Option<u32> {
        (matches!(self.state, SharedPortState::Muxed(_)) && self.facts.is_uart).then_some(self.baud)
    }
}

fn channel(mux: &Mux, number: DlciNumber, modem: &Modem, now: Instant) -> LineChannel {
    let dlci = mux.dlci(number);
    let state = match dlci.state() {
        DlciState::Closed => "closed".to_owned(),
        DlciState::Opening(_) => "opening".to_owned(),
        DlciState::Open(_) => modem.port_state(number.index()).to_string(),
        DlciState::Closing(_) => "closing".to_owned(),
    };
    let held = dlci.held(now);
    LineChannel {
        number: number.get(),
        state,
        lines_out: dlci.our_lines().map_or_else(Vec::new, |lines| set(lines, ["DTR", "RTS"])),
        lines_in: dlci.lines().map_or_else(Vec::new, |lines| set(lines, OF_THE_MODEM)),
        held_by_module_seconds: held.by_module.as_secs_f64(),
        held_by_us_seconds: held.by_us.as_secs_f64(),
    }
}

/// What the modem calls RTC and RTR.
const OF_THE_MODEM: [&str; 2] = ["DSR", "CTS"];

/// The lines of the modem that are set, for people.
pub(super) fn lines_in(lines: V24) -> String {
    let set = set(lines, OF_THE_MODEM);
    if set.is_empty() { "none".to_owned() } else { set.join(" ") }
}

/// The lines that are set. RTC and RTR are called by the side that shows them.
fn set(lines: V24, [rtc, rtr]: [&str; 2]) -> Vec<String> {
    [
        (rtc, lines.rtc()),
        (rtr, lines.rtr()),
        ("RI", lines.ring()),
        ("DCD", lines.dcd()),
        ("FC", lines.flow_is_off()),
    ]
    .into_iter()
    .filter(|(_, is_set)| *is_set)
    .map(|(name, _)| name.to_owned())
    .collect()
}
