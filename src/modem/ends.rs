//! How streams end: the far end's close, a client that gives up, and every way to be cut.
//!
//! A socket's client hears of its end once: as an end of file if nothing known speaks against it, as a cut
//! otherwise.

use super::{
    Closing, Cut, End, Event, Flow, GiveUp, Modem, Open, OpenFailure, OpenStage, Phase, Socket, SocketId,
    config,
};

impl Modem {
    /// The `closed` URC, or its equal in data mode.
    pub(super) fn far_end_closed(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id.index()];
        match &mut socket.phase {
            Phase::Open(open) => {
                open.far_end_closed = true;
                match open.flow {
                    Flow::Push => self.begin_closing(id, true),
                    // Received bytes can still wait in the module: read to 0 first, unasked.
                    Flow::Buffer { .. } => open.flow = Flow::Buffer { readable: true },
                    Flow::ToBuffer { .. } | Flow::ToPush { .. } => {}
                    Flow::Transparent { .. } | Flow::Suspected { .. } => {}
                }
            }
            Phase::Opening(opening) if !matches!(opening.stage, OpenStage::Due) => {
                // The open's own URC is still awaited; it left by another port, or later.
                opening.closed = true;
            }
            _ => {}
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
        let releasing = self.releasing;
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
                OpenStage::CloseFirst => begin(socket, 0),
                // The number comes back when the modem has answered.
                _ if !releasing => {}
                _ => begin(socket, 0),
            },
            Phase::Open(Open { flow: Flow::Transparent { channel }, .. }) => {
                let channel = *channel;
                self.leave_data_mode(channel, id, how);
            }
            Phase::Open(open) => {
                let timeout = match how {
                    GiveUp::Orderly if !open.far_end_closed => close_timeout,
                    _ => 0,
                };
                begin(socket, timeout);
            }
            Phase::Closing(closing) => closing.judge = false,
            Phase::Judging { .. } => {
                let channels = self.speaking_channels();
                self.sockets[id.index()].phase = Phase::Checking { channels, again_at: None, tries: 0 };
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
        let strict = self.tunnels[socket.tunnel].limits.on_closed == config::OnClosed::Reset;
        let end = if end == End::Eof && strict { End::Cut(Cut::ClosedUncertain) } else { end };
        self.events.push_back(Event::Ended(id, end));
    }

    /// The timeout of an orderly AT+QSSLCLOSE in seconds, as far as the module takes it.
    pub(super) fn close_timeout(&self, id: SocketId) -> u16 {
        let timeout = self.tunnels[self.sockets[id.index()].tunnel].limits.close_timeout;
        timeout.as_secs().min(self.profile.close_timeout_max.into()) as u16
    }

    /// More came than there was room for: the line has no flow control that we can use, or the modem pushed
    /// more than it announced.
    pub(super) fn overflowed(&mut self, id: SocketId) {
        self.break_off(id, Cut::ClientStalled);
    }
}
