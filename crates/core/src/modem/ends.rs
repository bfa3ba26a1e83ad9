//! How streams end: the far end's close, a client that gives up, and every way to be cut.
//!
//! A socket's client hears of its end once: as an end of file if nothing known speaks against it, as a cut
//! otherwise. `closed` alone ends nothing: other programs speak on our port too, and the far ends of their
//! connections. The module is asked for the state of the socket first.

use std::time::Instant;

use super::socket::{CONNECTED_ANSWERS_MAX, FOREIGN_CLOSED_ANSWERS, FarEnd, Question, Sign, UNHEARD_WAIT};
use super::{
    Closing, Cut, End, Event, Flow, GiveUp, Modem, Open, OpenFailure, OpenStage, Outcome, Phase, Socket,
    SocketId, settings,
};

impl Modem {
    /// The `closed` URC.
    pub(super) fn far_end_closed(&mut self, id: SocketId, now: Instant) {
        match &mut self.sockets[id.index()].phase {
            // A stream has its own words for that, and asks for itself.
            Phase::Open(Open { flow: Flow::Transparent { .. } | Flow::Suspected { .. }, .. }) => {}
            Phase::Open(open) => match &mut open.far_end {
                FarEnd::There => {
                    open.far_end = FarEnd::Doubted { sign: Sign::Closed, question: Question::default() };
                }
                FarEnd::Doubted { sign, question } => {
                    question.hasten(now);
                    *sign = match *sign {
                        Sign::RefusedSend | Sign::Both => Sign::Both,
                        Sign::Closed | Sign::Silence => Sign::Closed,
                    };
                }
                FarEnd::Unheard { .. } | FarEnd::Emptying { .. } => self.far_end_gone(id),
                FarEnd::Gone => {}
            },
            Phase::Opening(opening) if !matches!(opening.stage, OpenStage::Due) => {
                // The open's own URC is still awaited; it left by another port, or later.
                opening.closed = true;
            }
            _ => {}
        }
    }

    /// AT+QSSLSEND was answered with ERROR. None of its bytes is sent again. What the far end said before it closed
    /// may still be under way.
    pub(super) fn send_refused(&mut self, id: SocketId) {
        let Phase::Open(Open { far_end, .. }) = &mut self.sockets[id.index()].phase else { return };
        match far_end {
            FarEnd::There | FarEnd::Doubted { sign: Sign::Silence, .. } => {
                *far_end = FarEnd::Doubted { sign: Sign::RefusedSend, question: Question::default() };
            }
            FarEnd::Doubted { sign: sign @ Sign::Closed, .. } => *sign = Sign::Both,
            FarEnd::Doubted { .. } | FarEnd::Emptying { .. } | FarEnd::Unheard { .. } | FarEnd::Gone => {}
        }
    }

    /// The answer to AT+QSSLSTATE about a socket whose far end is in doubt.
    pub(super) fn doubt_answered(&mut self, id: SocketId, outcome: &Outcome, lines: &[String], now: Instant) {
        let witness = self.witness(id, outcome, lines);
        let Phase::Open(open) = &mut self.sockets[id.index()].phase else { return };
        if let FarEnd::Emptying { pushed, question } = &mut open.far_end {
            match witness {
                Witness::Ended if std::mem::take(pushed) => {
                    question.repeat(u32::MAX, now);
                }
                Witness::Ended => self.far_end_gone(id),
                Witness::Connected | Witness::Unclear => self.break_off(id, Cut::ClosedUncertain),
            }
            return;
        }
        let FarEnd::Doubted { sign, question } = &mut open.far_end else { return };
        match (witness, *sign) {
            (Witness::Connected, Sign::Closed) => {
                if question.answers == 0 {
                    log::warn!(
                        "the modem says that socket {id} was closed and that it is connected; its stream goes on \
                         (does another program use the modem?)"
                    );
                }
                if !question.repeat(FOREIGN_CLOSED_ANSWERS, now) {
                    open.far_end = FarEnd::There;
                }
            }
            (Witness::Connected, Sign::RefusedSend | Sign::Both) => {
                if !question.repeat(CONNECTED_ANSWERS_MAX, now) {
                    self.break_off(id, Cut::SendRefused);
                }
            }
            (Witness::Ended, Sign::RefusedSend) => {
                open.far_end = FarEnd::Unheard { until: now + UNHEARD_WAIT };
                if let Flow::Buffer { readable } = &mut open.flow {
                    *readable = true;
                }
            }
            (Witness::Connected | Witness::Unclear, Sign::Silence) => open.far_end = FarEnd::There,
            // Another's `closed` was heard; what is pushed may not be read to its end.
            (Witness::Ended, Sign::Closed | Sign::Both)
                if question.answers > 0 && !matches!(open.flow, Flow::Buffer { .. }) =>
            {
                let mut question = Question::default();
                question.repeat(u32::MAX, now);
                open.far_end = FarEnd::Emptying { pushed: false, question };
            }
            (Witness::Ended, Sign::Closed | Sign::Both | Sign::Silence) => self.far_end_gone(id),
            (Witness::Unclear, Sign::Closed) => self.break_off(id, Cut::ClosedUncertain),
            (Witness::Unclear, Sign::RefusedSend | Sign::Both) => self.break_off(id, Cut::SendRefused),
        }
    }

    /// The answer to AT+QSSLSTATE about a socket whose stream ended in data mode.
    pub(super) fn end_answered(&mut self, id: SocketId, outcome: &Outcome, lines: &[String], now: Instant) {
        let witness = self.witness(id, outcome, lines);
        let socket = &mut self.sockets[id.index()];
        let Phase::Confirming(question) = &mut socket.phase else { return };
        match witness {
            Witness::Ended => self.begin_closing(id, true),
            Witness::Connected if question.repeat(CONNECTED_ANSWERS_MAX, now) => {}
            Witness::Connected | Witness::Unclear => {
                self.break_off(id, Cut::CarrierLost);
            }
        }
    }

    /// What an answer to AT+QSSLSTATE=\<id> says of our connection.
    pub(super) fn witness(&self, id: SocketId, outcome: &Outcome, lines: &[String]) -> Witness {
        if *outcome != Outcome::Ok {
            return Witness::Unclear;
        }
        let ours = self.tunnels[self.sockets[id.index()].tunnel].target.port;
        match lines.iter().filter_map(|line| remote_state(line)).find(|(of, _, _)| *of == id) {
            None | Some((_, _, FREE)) => Witness::Ended,
            // Another program has closed ours and taken its number.
            Some((_, port, _)) if port != ours => Witness::Unclear,
            Some((_, _, CONNECTED)) => Witness::Connected,
            Some((_, _, CLOSING | CLOSING_OF_OLD)) => Witness::Ended,
            Some(_) => Witness::Unclear,
        }
    }

    /// Nothing was heard of a socket that is not connected: its end was never said.
    pub(super) fn end_unheard(&mut self, id: SocketId, now: Instant) {
        let is_unread = (0..self.channels.len())
            .any(|port| self.channels[port].is_open() && self.wants_port_bytes(port) == 0);
        let Phase::Open(Open { far_end: FarEnd::Unheard { until }, .. }) =
            &mut self.sockets[id.index()].phase
        else {
            return;
        };
        if is_unread {
            // It may wait in the port.
            *until = now + UNHEARD_WAIT;
        } else if *until <= now {
            self.break_off(id, Cut::SendRefused);
        }
    }

    /// Something came for a socket: its `closed` is still to come.
    pub(super) fn heard_of(&mut self, id: SocketId, now: Instant) {
        let Phase::Open(open) = &mut self.sockets[id.index()].phase else { return };
        match &mut open.far_end {
            FarEnd::Unheard { until } => *until = now + UNHEARD_WAIT,
            FarEnd::Emptying { pushed, .. } => *pushed = true,
            // Nothing comes after a `closed` that is its own.
            FarEnd::Doubted { sign: Sign::Closed | Sign::Both, question } => {
                question.answers = question.answers.max(1)
            }
            FarEnd::There | FarEnd::Doubted { .. } | FarEnd::Gone => {}
        }
    }

    /// The far end has closed, by both witnesses.
    fn far_end_gone(&mut self, id: SocketId) {
        let Phase::Open(open) = &mut self.sockets[id.index()].phase else { return };
        open.far_end = FarEnd::Gone;
        match open.flow {
            Flow::Push => self.begin_closing(id, true),
            // Received bytes can still wait in the module: read to 0 first, unasked.
            Flow::Buffer { .. } => open.flow = Flow::Buffer { readable: true },
            Flow::Announced | Flow::ToBuffer { .. } | Flow::ToPush { .. } => {}
            Flow::Transparent { .. } | Flow::Suspected { .. } => {}
        }
    }

    /// AT+QSSLCLOSE is next. `judge`: the far end closed first.
    pub(super) fn begin_closing(&mut self, id: SocketId, judge: bool) {
        let socket = &mut self.sockets[id.index()];
        if matches!(socket.phase, Phase::Foreign | Phase::Unknown | Phase::Free) {
            return;
        }
        socket.phase =
            Phase::Closing(Closing { timeout_seconds: 0, judge: judge && socket.joined, tries: 0 });
    }

    /// The socket is no longer wanted: whatever its phase, it ends up free.
    pub(super) fn retire(&mut self, id: SocketId, how: GiveUp) {
        let releasing = self.releasing.is_some();
        let close_timeout = self.close_timeout(id);
        let socket = &mut self.sockets[id.index()];
        let in_flight = socket.busy.is_some();
        if !in_flight && how == GiveUp::Abort {
            socket.outgoing.reset();
        }
        socket.incoming.reset();
        match &mut socket.phase {
            Phase::Opening(opening) => match opening.stage {
                // The modem knows nothing of it yet.
                OpenStage::Due => {
                    socket.clear();
                    socket.phase = Phase::Free;
                }
                OpenStage::Again { .. } if !in_flight => begin(socket, 0),
                OpenStage::CloseFirst | OpenStage::Proving { .. } => begin(socket, 0),
                _ if releasing => begin(socket, 0),
                OpenStage::Awaited { .. } => opening.stage = OpenStage::Abandoned { refused_at: None },
                // The number comes back when the modem has answered.
                _ => {}
            },
            Phase::Open(Open { flow: Flow::Transparent { channel }, .. }) => {
                let channel = *channel;
                self.leave_data_mode(channel, id, how);
            }
            Phase::Open(open) => {
                let timeout = match how {
                    GiveUp::Orderly if open.far_end.takes_bytes() => close_timeout,
                    _ => 0,
                };
                begin(socket, timeout);
            }
            Phase::Confirming(_) => begin(socket, 0),
            Phase::Closing(closing) => closing.judge = false,
            Phase::Judging { .. } => {
                let channels = self.speaking_channels();
                self.sockets[id.index()].phase =
                    Phase::Checking { channels, again_at: None, tries: 0, refused: None };
            }
            Phase::Unknown | Phase::Foreign | Phase::Free | Phase::Checking { .. } => {}
        }

        fn begin(socket: &mut Socket, timeout_seconds: u16) {
            socket.phase = Phase::Closing(Closing { timeout_seconds, judge: false, tries: 0 });
        }
    }

    /// The stream is broken, and its socket is given back.
    pub(super) fn break_off(&mut self, id: SocketId, cut: Cut) {
        self.cut(id, cut);
        self.retire(id, GiveUp::Abort);
    }

    /// The stream is broken: its client hears so, if it has not heard otherwise.
    pub(super) fn cut(&mut self, id: SocketId, cut: Cut) {
        let socket = &mut self.sockets[id.index()];
        let opening = matches!(socket.phase, Phase::Opening(_));
        if opening && std::mem::take(&mut socket.joined) {
            self.events.push_back(Event::OpenFailed(id, OpenFailure::Lost(cut)));
        } else {
            self.end(id, End::Cut(cut));
        }
    }

    pub(super) fn end(&mut self, id: SocketId, end: End) {
        let socket = &mut self.sockets[id.index()];
        if !std::mem::take(&mut socket.joined) {
            return;
        }
        let strict = self.tunnels[socket.tunnel].limits.on_closed == settings::OnClosed::Reset;
        let end = match end {
            End::Eof if strict => End::Cut(Cut::ClosedUncertain),
            // All of a stream comes before its end, by each port that carries it.
            End::Eof if socket.listening.is_behind() => End::Cut(Cut::Unheard),
            end => end,
        };
        self.events.push_back(Event::Ended(id, end));
    }

    /// The timeout of an orderly AT+QSSLCLOSE in seconds, as far as the module takes it.
    pub(super) fn close_timeout(&self, id: SocketId) -> u16 {
        let timeout = self.tunnels[self.sockets[id.index()].tunnel].limits.close_timeout;
        self.profile.close_time.at_most(timeout.as_secs()).unwrap_or(0)
    }

    /// More came than there was room for: the line has no flow control that we can use, or the modem pushed
    /// more than it announced.
    pub(super) fn overflowed(&mut self, id: SocketId) {
        self.break_off(id, Cut::ClientStalled);
    }
}

/// What the module says of one of our connections when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Witness {
    /// It is connected.
    Connected,
    /// It is not.
    Ended,
    /// The module refuses the question, or the number is somebody else's by now.
    Unclear,
}

/// Number, remote port and state of a socket in a line of AT+QSSLSTATE.
fn remote_state(line: &str) -> Option<(SocketId, u16, u8)> {
    let mut all = crate::at::fields(line.strip_prefix("+QSSLSTATE:")?);
    let id = all.number().and_then(SocketId::new)?;
    let port = all.nth(2)?.parse().ok()?;
    Some((id, port, all.nth(1)?.parse().ok()?))
}

/// States of AT+QSSLSTATE (both manuals, 2.1.6 and 2.2.6); 3 is closing in old firmware.
const FREE: u8 = 0;
const CONNECTED: u8 = 2;
const CLOSING: u8 = 4;
const CLOSING_OF_OLD: u8 = 3;
