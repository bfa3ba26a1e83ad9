//! A channel that is one socket's bytes (transparent mode): the only words left are escapes.
//!
//! | room | what is decided there |
//! |---|---|
//! | `outgoing` | What may be written: never `+++` before a pause, never more than the line carries soon |
//! | `incoming` | What is payload, and what may be the modem's words and is held back |
//! | `leaving` | How it is left, and what shows that it is over |
//! | `words` | The modem's words that can come in a stream |

mod incoming;
mod leaving;
mod outgoing;
mod pace;
mod sent;
mod words;

use std::time::{Duration, Instant};

pub use incoming::READ_MIN_BYTES;
use incoming::{Due, Incoming};
pub use leaving::Exit;
use leaving::{Leaving, Manner};
use outgoing::Outgoing;
pub use pace::Pace;

use crate::at::SocketId;

/// A channel in data mode.
#[derive(Debug)]
pub struct Stream {
    /// The socket whose stream it is; `None` if the stream is not wanted any more.
    socket: Option<SocketId>,
    /// The client broke off: the server must not see an end in order.
    is_aborted: bool,
    /// The LF that ends `CONNECT` has not come yet.
    line_feed_due: bool,
    outgoing: Outgoing,
    incoming: Incoming,
    leaving: Leaving,
}

/// Why data mode is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client is done.
    Done,
    /// Something that looks like `NO CARRIER` arrived: is the socket still connected?
    Suspicion,
    /// What was sent comes back: does the server echo, or a modem that has booted?
    Echo,
    /// Its client reads slowly, and the port may not stop the modem. In buffer mode the tunnel can.
    Crowded,
}

impl Reason {
    /// Whether the connection goes on after it.
    pub fn goes_on(self) -> bool {
        self != Reason::Done
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEffect {
    /// Nothing before the deadline.
    Wait,
    /// Ask the port how many bytes it has not sent yet.
    AskQueue,
    /// Ask the port for its DCD line.
    AskLines,
    /// Send the escape.
    SendEscape,
    /// Ask for the state of this socket.
    AskState(SocketId),
    /// Ask another channel for the state of this socket, and give the answer to [`Stream::told_beside`].
    AskBeside(SocketId),
    /// The stream cannot be left: open its channel anew, and close the socket by another one.
    Abandon,
    /// Set DTR.
    SetDtr(bool),
    /// So many bytes of what was held back are payload: [`Stream::deliverable`].
    Deliver(usize),
    /// The modem is in command mode, the socket in buffer mode; the rest of what was held is what
    /// [`Stream::take_left`] gives.
    Left(Reason),
    /// The modem left data mode by itself: the connection is gone.
    Ended,
    /// Every escape was missed.
    Lost,
}

impl Stream {
    /// The channel has just answered `CONNECT`.
    pub fn new(
        socket: Option<SocketId>,
        dcd_is_live: bool,
        exit: Exit,
        pace: Option<Pace>,
        now: Instant,
    ) -> Self {
        Stream {
            socket,
            is_aborted: false,
            line_feed_due: true,
            outgoing: Outgoing::new(pace, now),
            incoming: Incoming::new(dcd_is_live, now),
            leaving: Leaving::new(exit),
        }
    }

    /// The socket whose stream it is; `None` if the stream is not wanted any more.
    pub fn socket(&self) -> Option<SocketId> {
        self.socket
    }

    /// Whether the client broke off.
    pub fn is_aborted(&self) -> bool {
        self.is_aborted
    }

    /// The client broke off.
    pub fn abort(&mut self) {
        self.is_aborted = true;
    }

    /// Its socket is lost, and may be given to another client: the stream is not wanted any more.
    pub fn disown(&mut self) {
        self.socket = None;
        self.is_aborted = true;
        self.leaving.goes_on();
    }

    // What may be written.

    /// Whether payload may leave. While it is unsure whether the modem still listens, nothing does.
    pub fn is_flowing(&self) -> bool {
        self.leaving.manner() == Manner::Flowing && !self.is_suspicious()
    }

    /// What of the `pending` bytes may be written now.
    pub fn output<'a>(&self, pending: &'a [u8]) -> &'a [u8] {
        let allowed = &pending[..self.outgoing.allowed(pending.len())];
        &allowed[..self.sendable(allowed)]
    }

    /// How many of the `pending` bytes may be written now, if none are under way.
    pub fn sendable(&self, pending: &[u8]) -> usize {
        if self.is_flowing() { self.outgoing.sendable(pending) } else { 0 }
    }

    /// When the port is to be asked what is on its way, because `pending` bytes wait for that.
    pub fn pace_due(&self, pending: &[u8]) -> Option<Instant> {
        self.outgoing.pace_due(pending).filter(|_| self.is_flowing())
    }

    /// The port is being asked for that.
    pub fn pace_asked(&mut self, now: Instant) {
        self.outgoing.pace_asked(now);
    }

    /// The speed of the line in bits per second, where that is not the port's.
    pub fn line_baud(&self) -> Option<u32> {
        self.outgoing.line_baud()
    }

    /// When what was written has left the line, as far as its speed shows.
    pub fn line_free_at(&self) -> Option<Instant> {
        self.outgoing.line_free_at()
    }

    /// These bytes went to the port, which needs `wire_time` to send them.
    pub fn sent(&mut self, bytes: &[u8], now: Instant, wire_time: Duration) {
        self.outgoing.sent(bytes, now, wire_time);
        self.incoming.sent(bytes, now);
    }

    /// The port holds `bytes` bytes that have not left yet.
    pub fn queue_answered(&mut self, bytes: usize, now: Instant, wire_time: Duration) {
        if self.outgoing.queue_answered(bytes, now, wire_time) {
            self.leaving.queue_is(bytes, now);
        }
    }

    // What comes.

    /// The LF of `CONNECT\r\n` is not payload.
    pub fn skip_line_feed<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match std::mem::take(&mut self.line_feed_due) {
            true => bytes.strip_prefix(b"\n").unwrap_or(bytes),
            false => bytes,
        }
    }

    /// Takes received bytes, and gives back in `payload` what is known to be payload.
    pub fn received(&mut self, bytes: &[u8], now: Instant, payload: &mut impl FnMut(&[u8])) {
        let ends = self.outgoing.ends();
        match self.leaving.manner() {
            Manner::Flowing => {
                let escaped = self.outgoing.may_have_escaped();
                let suspicion = self.incoming.received(bytes, escaped, ends, now, payload);
                // A modem that boots ends the channel itself, and echoes nothing on it.
                let counts = |reason: &Reason| self.leaving.exit() != Exit::Beside || *reason != Reason::Echo;
                if let Some(reason) = suspicion.filter(counts) {
                    self.leaving.begin(reason, &mut self.outgoing, now);
                }
            }
            Manner::Leaving => {
                self.incoming.hold_unquiet(bytes, ends, now);
                self.leaving.more_is_held(self.incoming.held().len(), now);
                if self.leaving.reason() != Reason::Suspicion {
                    // Everything is payload but a possible end, and a possible `OK` with all that follows it.
                    let most = self.incoming.payload_but_for(HELD_WHILE_LEAVING);
                    let answer = self.leaving.answer_may_begin_at(&self.incoming);
                    self.give_out(most.min(answer.unwrap_or(usize::MAX)), payload);
                }
            }
            Manner::HungUp => {
                // Payload that waited in the tty, the modem's words, or what a modem that boots sends at
                // another speed: known when all of it has come.
                self.incoming.hold(bytes, ends);
                let is_full = self.incoming.is_half_full();
                // Other sockets push after the end without a pause.
                let are_all = is_full && self.incoming.is_suspicious();
                self.leaving.last_words_come(are_all, now);
                if is_full && !are_all {
                    self.give_out(self.incoming.surely_payload(), payload);
                }
            }
        }
        self.hang_up_if_dropped(now);
    }

    /// The line carried something for `time`; all of its channels have their turns within `turns`.
    pub fn line_was_busy(&mut self, time: Duration, turns: Duration) {
        if self.leaving.manner() == Manner::Flowing {
            self.incoming.line_was_busy(time, turns);
        }
    }

    /// The state of DCD, or the last one reported.
    pub fn dcd_changed(&mut self, dcd: bool, now: Instant) {
        if self.incoming.dcd_changed(dcd) {
            self.leaving.another_sign_came();
        }
        self.hang_up_if_dropped(now);
    }

    /// The port is, or is no longer, deliberately left unread.
    pub fn set_paused(&mut self, paused: bool, now: Instant) {
        self.leaving.set_paused(paused, now);
    }

    /// Whether the modem's answer to an escape may wait unread.
    pub fn is_paused(&self) -> bool {
        self.leaving.is_paused()
    }

    /// Whether the words of an end are held.
    pub fn is_suspicious(&self) -> bool {
        self.incoming.is_suspicious()
    }

    /// Whether an `OK` came at last, perhaps for an earlier escape.
    pub fn holds_ok(&self) -> bool {
        words::ends_in_ok(self.incoming.held()).is_some()
    }

    /// How many more bytes can be held back.
    pub fn room(&self) -> usize {
        self.incoming.room()
    }

    /// How many bytes are held back.
    pub fn held_len(&self) -> usize {
        self.incoming.held().len()
    }

    /// What was held back and is payload after all, by [`StreamEffect::Deliver`].
    pub fn deliverable(&mut self, known: usize, now: Instant) -> Vec<u8> {
        self.incoming.deliverable(known, self.outgoing.ends(), now)
    }

    // How it is left.

    /// The client is done and everything it sent has been written.
    pub fn leave(&mut self, now: Instant) {
        self.leaving.begin(Reason::Done, &mut self.outgoing, now);
    }

    /// Its client reads more slowly than the modem sends, and the port may not stop the modem.
    pub fn leave_crowded(&mut self, now: Instant) {
        self.leaving.begin(Reason::Crowded, &mut self.outgoing, now);
    }

    /// When [`Stream::deadline_passed`] is due. `holds_plus`: a `+` waits in the socket.
    pub fn deadline(&self, holds_plus: bool) -> Option<Instant> {
        let is_flowing = self.leaving.manner() == Manner::Flowing;
        let ask = self.outgoing.ask_at().filter(|_| holds_plus || self.leaving.is_draining());
        let pause = self.outgoing.drained_since().map(|since| since + outgoing::GUARD);
        let stage = match is_flowing {
            true => self.incoming.deadline(self.outgoing.may_have_escaped()),
            false => self.leaving.deadline(self.socket, &self.incoming, &self.outgoing),
        };
        ask.into_iter().chain(pause.filter(|_| holds_plus && is_flowing)).chain(stage).min()
    }

    /// Something is due.
    pub fn deadline_passed(&mut self, now: Instant, holds_plus: bool) -> StreamEffect {
        if (holds_plus || self.leaving.is_draining()) && self.outgoing.asks(now) {
            return StreamEffect::AskQueue;
        }
        if self.leaving.manner() == Manner::Flowing {
            if holds_plus {
                self.outgoing.pause_passed(now);
            }
            match self.incoming.due(self.outgoing.may_have_escaped(), self.outgoing.ends(), now) {
                Due::Nothing => return StreamEffect::Wait,
                Due::AskLines => return StreamEffect::AskLines,
                Due::Deliver => return StreamEffect::Deliver(self.incoming.held().len()),
                Due::Settle => self.leaving.begin(Reason::Suspicion, &mut self.outgoing, now),
            }
        }
        self.leaving.due(self.socket, &self.incoming, &self.outgoing, now)
    }

    /// What was held back when data mode was left by an escape, parted into payload before the `OK` and the
    /// modem's own words from there on.
    pub fn take_left(&mut self) -> Left {
        let answer = self.leaving.left_at(self.socket, &self.incoming);
        let escape_missed = self.leaving.has_missed_escape(self.socket, &self.incoming);
        let unsure_from = self.leaving.unsure_from(self.socket, &self.incoming);
        let (mut payload, words) = self.incoming.take_left(answer);
        payload.truncate(unsure_from.unwrap_or(usize::MAX));
        Left { socket: self.socket, is_aborted: self.is_aborted, escape_missed, payload, words }
    }

    /// What was held back when the modem left data mode by itself.
    pub fn take_ended(&mut self) -> Ended {
        let escapes = self.leaving.escapes(self.socket, &self.incoming);
        let shown = self.leaving.shown();
        self.incoming.take_ended(self.socket, escapes, shown, self.outgoing.ends())
    }

    /// Another channel has reported something that may be the end of this stream.
    pub fn may_be_over(&mut self, now: Instant) {
        if self.leaving.exit() == Exit::Beside {
            self.leaving.told_beside(now);
        }
    }

    /// The answer to [`StreamEffect::AskBeside`]: whether the socket is connected, or `None` if that is not known.
    /// `turn`: for how long other channels may have the line before it is this one's turn.
    pub fn told_beside(&mut self, is_connected: Option<bool>, turn: Duration, now: Instant) -> StreamEffect {
        if !self.leaving.is_asking_beside() {
            return StreamEffect::Wait;
        }
        match is_connected {
            Some(true) if self.leaving.asks_once_more(now) => StreamEffect::Wait,
            Some(true) => {
                self.incoming.dcd_is_wrong();
                StreamEffect::Deliver(self.leaving.goes_on())
            }
            Some(false) => {
                // After the words of the end nothing follows; if they are payload, the next of it is close.
                let tail = leaving::HANG_UP_TAIL + if self.is_suspicious() { Duration::ZERO } else { turn };
                self.leaving.is_over(tail, now);
                StreamEffect::Wait
            }
            None if self.leaving.asks_again(now) => StreamEffect::Wait,
            None => StreamEffect::Abandon,
        }
    }

    /// The first `count` bytes of what is held are payload.
    fn give_out(&mut self, count: usize, payload: &mut impl FnMut(&[u8])) {
        if count > 0 {
            self.incoming.give_out(count, self.outgoing.ends(), payload);
            self.leaving.given_out(count);
        }
    }

    fn hang_up_if_dropped(&mut self, now: Instant) {
        match self.leaving.exit() {
            Exit::Beside if self.incoming.dcd_is_off() => self.leaving.may_be_over(now),
            Exit::Beside => {}
            Exit::Escape | Exit::Dtr if self.incoming.has_hung_up() => self.leaving.hang_up(now),
            Exit::Escape | Exit::Dtr => {}
        }
    }
}

/// What is left when data mode was left by an escape.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    /// The socket whose stream it was.
    pub socket: Option<SocketId>,
    /// Its client broke off.
    pub is_aborted: bool,
    /// An escape before the last one was not answered: it may have become payload.
    pub escape_missed: bool,
    /// Payload that was held back.
    pub payload: Vec<u8>,
    /// The modem's own words, from the `OK` on.
    pub words: Vec<u8>,
}

/// What is left when the modem has left data mode by itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// The socket whose stream it was.
    pub socket: Option<SocketId>,
    /// Payload that was held back.
    pub payload: Vec<u8>,
    /// The modem's own words, from the last end on.
    pub words: Vec<u8>,
    /// It is certain which is which.
    pub certain: bool,
    /// The words came after an escape, which may have become payload, or an answer to one came too late.
    pub escape_missed: bool,
    /// What was sent for other sockets here is not in the words.
    pub is_missing_words: bool,
}

/// What is held back while leaving on the client's side: an `OK` and some URCs.
const HELD_WHILE_LEAVING: usize = 512;

#[cfg(test)]
mod tests;
