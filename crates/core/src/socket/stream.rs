//! Transparent mode, the socket's side: when its bytes begin and cease to be those of a channel. What those bytes mean is
//! `channel/stream/`; what follows for others is `modem/transparent.rs`.

use super::flow::INCOMING_HIGH_BYTES;
use super::{FarEnd, Flow, Phase, Question, Socket};
use crate::settings::Mode;

impl Socket {
    /// The channel answered `CONNECT`: it is this socket's stream. Its client gets it by [`Socket::opened`]. Without one, it
    /// is left.
    pub fn stream_begins(&mut self, channel: usize) {
        let is_attached = self.is_attached();
        match &mut self.phase {
            Phase::Opening(opening) if is_attached => opening.connected(channel),
            _ => self.becomes_stream(channel),
        }
    }

    /// This channel is its stream: its client's, or one that is left.
    pub(super) fn becomes_stream(&mut self, channel: usize) {
        let may_be_over = self.may_have_ended();
        self.becomes_open(Flow::Transparent { channel }, FarEnd::There);
        if may_be_over {
            // Its channel waits for that answer.
            self.ask_beside();
        }
    }

    /// The channel whose stream it is.
    pub fn stream(&self) -> Option<usize> {
        match self.open()?.flow() {
            Flow::Transparent { channel } => Some(channel),
            _ => None,
        }
    }

    /// So much waits for its client that a pushing socket would be switched to buffer mode.
    pub fn reads_slowly(&self) -> bool {
        self.incoming.len() >= INCOMING_HIGH_BYTES
    }

    /// Its stream may be over: the module is asked on another channel.
    pub fn ask_beside(&mut self) {
        match &mut self.phase {
            Phase::Open(open) => open.ask_beside(),
            // As soon as it is known whether its client may have it.
            Phase::Opening(opening) => opening.closed(),
            _ => {}
        }
    }

    /// Data mode was left, and what looked like the end was payload. The escape has put the socket in buffer mode, and
    /// it stays there. `speaks_by`: the channel by which its URCs will come.
    pub fn stream_goes_on(&mut self, speaks_by: Option<usize>) {
        self.mode = Some(Mode::Buffer);
        self.listening.expect(speaks_by, 0);
        // Bytes that came meanwhile wait in the module, unannounced.
        self.becomes_open(Flow::Buffer { readable: true }, FarEnd::There);
    }

    /// Data mode was left, and the stream does not go on.
    pub fn stream_left(&mut self, timeout_seconds: u16) {
        self.close(timeout_seconds);
    }

    /// The stream ended in data mode. If its client waits, the module is asked whether that is so.
    pub fn stream_ended(&mut self) {
        self.outgoing.reset();
        match self.is_attached() {
            true => self.phase = Phase::ConfirmingEnd(Question::default()),
            false => self.close(0),
        }
    }
}
