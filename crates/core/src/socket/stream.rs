//! Transparent mode, the socket's side: when its bytes begin and cease to be those of a channel. What those bytes mean is
//! `channel/stream/`; what follows for others is `modem/transparent.rs`.

use super::{FarEnd, Flow, Open, Phase, Question, Settling, Socket};
use crate::failure::Cut;

impl Socket {
    /// The channel answered `CONNECT`: it is this socket's stream.
    pub fn stream_begins(&mut self, channel: usize) {
        self.phase = Phase::Open(Open { flow: Flow::Transparent { channel }, far_end: FarEnd::There });
    }

    /// Data mode was left, and what looked like the end was payload.
    pub fn stream_suspected(&mut self, channel: usize) {
        let flow = Flow::Suspected { channel, stage: Settling::Read };
        self.phase = Phase::Open(Open { flow, far_end: FarEnd::There });
    }

    /// Data mode was left, and the stream does not go on.
    pub fn stream_left(&mut self, timeout_seconds: u16) {
        self.close(timeout_seconds);
    }

    /// The stream ended in data mode: that is asked about, if its client waits.
    pub fn stream_ended(&mut self) {
        self.outgoing.reset();
        match self.is_attached {
            true => self.phase = Phase::ConfirmingEnd(Question::default()),
            false => self.close(0),
        }
    }

    /// Whether it is being asked why a stream could not be resumed.
    pub fn is_settling(&self) -> bool {
        let asks = |flow| matches!(flow, Flow::Suspected { stage: Settling::AskWhyNot, .. });
        self.open().is_some_and(|open| asks(open.flow))
    }

    /// Still connected, and no stream any more: it is broken. Otherwise it ended meanwhile, like any that is in buffer
    /// mode.
    pub fn suspicion_settled(&mut self, is_connected: bool) -> Result<(), Cut> {
        if is_connected {
            self.stream_not_resumed();
            return Err(Cut::CarrierLost);
        }
        // Received bytes can still wait in the module: read to 0, then close.
        self.phase = Phase::Open(Open { flow: Flow::Buffer { readable: true }, far_end: FarEnd::Gone });
        if self.outgoing.is_empty() {
            return Ok(());
        }
        self.outgoing.reset();
        Err(Cut::CarrierLost)
    }

    /// The way back into data mode was refused.
    pub fn resume_refused(&mut self) -> Result<(), Cut> {
        match &mut self.phase {
            // The far end may have closed in this very moment.
            Phase::Open(Open { flow: Flow::Suspected { stage, .. }, .. }) => {
                *stage = Settling::AskWhyNot;
                Ok(())
            }
            _ => {
                self.stream_not_resumed();
                Err(Cut::CarrierLost)
            }
        }
    }

    fn stream_not_resumed(&mut self) {
        self.outgoing.reset();
        if self.open().is_some() {
            self.close(0);
        }
    }
}
