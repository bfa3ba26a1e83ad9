//! Faults that are set for a modem: what goes wrong next, and how often.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Faults that are set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Outcomes of the next opens.
    pub(crate) opens: VecDeque<OpenFault>,
    pub(crate) failing_sends: u32,
    /// The next sends are answered with SEND FAIL, and this much later with SEND OK.
    pub(crate) sends_late: VecDeque<Duration>,
    /// The next results are lost.
    pub(crate) lost_results: u32,
    pub(crate) refused_closes: u32,
    pub(crate) missed_escapes: u32,
    pub(crate) spoiled_uploads: u32,
    /// This many settings of SSL contexts are answered with OK and not stored.
    pub(crate) lost_settings: u32,
    pub(crate) answer_delay: Duration,
    /// Bytes cut off the head of the next URC.
    pub(crate) urc_head_lost: usize,
    /// This many frames of a multiplexer leave with a wrong FCS.
    pub(crate) spoiled_frames: u32,
    /// The next frame of a multiplexer has this in its length field.
    pub(crate) frame_length: Option<u16>,
    /// Bytes that are lost at the beginning of the information of the next frame that has any.
    pub(crate) frame_bytes_lost: usize,
    /// The modem does nothing until then.
    pub(crate) stalled_until: Option<Instant>,
}

/// How an open goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenFault {
    /// It fails with this result code.
    Code(u16),
    /// It never gets an answer.
    Silence,
}

impl Faults {
    pub(crate) fn power_lost(&mut self) {
        self.stalled_until = None;
    }
}
