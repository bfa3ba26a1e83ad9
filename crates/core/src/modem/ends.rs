//! How streams end: the server closes, the client gives up, or the stream is cut.
//!
//! A client is given the end of its socket once: as an end of file if nothing known contradicts it, as a cut otherwise.
//! `closed` alone ends nothing, since other programs, and the servers of their connections, can make it appear on our
//! port. The module is asked for the state of the socket first.

use std::time::Instant;

use super::{
    CommandOutcome, Cut, Ending, GiveUp, Modem, ModemEvent, OpenFailure, SocketEnd, SocketId, Told, Witness,
    settings,
};
use crate::at::answers::{Answer, SocketState, SocketStatus};

impl Modem {
    /// What an answer to AT+QSSLSTATE=\<id> shows about our connection.
    pub(super) fn witness(&self, id: SocketId, outcome: &CommandOutcome, lines: &[String]) -> Witness {
        if *outcome != CommandOutcome::Ok {
            return Witness::Unclear;
        }
        let set = self.sockets[id.index()].set();
        let Some(socket) = SocketStatus::all(lines).find(|it| (it.set, it.id) == (set, id)) else {
            return match self.setup.found().texts.are_shown() {
                true => Witness::Forgeable,
                false => Witness::Ended,
            };
        };
        match socket.state {
            SocketState::Free => Witness::Ended,
            _ if self.sockets[id.index()].is_another(&socket) => Witness::Another,
            _ if socket.remote_port.is_none_or(|port| port == 0) => Witness::Unclear,
            SocketState::Connected => Witness::Connected,
            SocketState::Closing => Witness::Ended,
            SocketState::Opening | SocketState::Unknown => Witness::Unclear,
        }
    }

    /// The module has reported that a socket is not connected, but has not sent `closed`.
    pub(super) fn end_where_closed_stays_away(&mut self, id: SocketId, now: Instant) {
        let is_unread = (0..self.channels.len())
            .any(|port| self.channels[port].is_open() && self.wants_port_bytes(port) == 0);
        if let Err(cut) = self.sockets[id.index()].closed_stays_away(is_unread, now) {
            if cut == Cut::UrcsMissed {
                self.closed_was_missed();
            }
            self.break_off(id, cut);
        }
    }

    /// The socket is no longer wanted: whatever its phase, it ends up free.
    pub(super) fn close_or_free(&mut self, id: SocketId, how: GiveUp) {
        let ending = Ending {
            is_releasing: self.releasing.is_some(),
            close_timeout_seconds: self.close_timeout(id),
            speaking: self.speaking_channels(),
        };
        // What its client has sent was not given to the server yet.
        let how = if self.sockets[id.index()].is_opening() { GiveUp::Abort } else { how };
        if let Some(channel) = self.sockets[id.index()].close_or_free(how, ending) {
            self.leave_data_mode(channel, id, how);
        }
    }

    /// The stream is broken, and its socket is closed.
    pub(super) fn break_off(&mut self, id: SocketId, cut: Cut) {
        self.cut(id, cut);
        self.close_or_free(id, GiveUp::Abort);
    }

    /// Another program has closed our connection and opened its own under the same number, which is not ours to close.
    pub(super) fn number_is_taken(&mut self, id: SocketId) {
        self.cut(id, Cut::NumberTaken);
        self.sockets[id.index()].taken_by_another();
        self.context_perhaps_released(id);
    }

    /// The stream is broken: its client is given a cut, unless it was given an end before.
    pub(super) fn cut(&mut self, id: SocketId, cut: Cut) {
        match self.sockets[id.index()].detach() {
            Some(Told::OpenFailed) => self.tell_open_failed(id, OpenFailure::Lost(cut)),
            Some(Told::Ended) => self.tell_end(id, SocketEnd::Cut(cut)),
            None => {}
        }
    }

    /// The stream has ended, by all that is known.
    pub(super) fn end(&mut self, id: SocketId, end: SocketEnd) {
        if self.sockets[id.index()].detach().is_some() {
            self.tell_end(id, end);
        }
    }

    fn tell_end(&mut self, id: SocketId, end: SocketEnd) {
        let socket = &self.sockets[id.index()];
        let is_strict =
            socket.tunnel().is_some_and(|tunnel| tunnel.limits.on_closed == settings::OnClosed::Reset);
        let end = match end {
            SocketEnd::Eof if socket.carries_datagrams() => end,
            SocketEnd::Eof if is_strict => SocketEnd::Cut(Cut::ClosedUncertain),
            // Every port that carries a stream carries all of it before its end.
            SocketEnd::Eof if socket.listening.behind().is_some() => {
                self.routing.bytes_are_missing();
                SocketEnd::Cut(Cut::UrcsMissed)
            }
            end => end,
        };
        self.events.push_back(ModemEvent::Ended(id, end));
    }

    /// The timeout of an orderly AT+QSSLCLOSE in seconds, as far as the module takes it.
    pub(super) fn close_timeout(&self, id: SocketId) -> u16 {
        let tunnel = self.sockets[id.index()].tunnel();
        let seconds = tunnel.map_or(0, |tunnel| tunnel.limits.close_timeout.as_secs());
        self.setup.profile().close_time.at_most(seconds).unwrap_or(0)
    }

    /// More came than there was room for: the line has no flow control that we can use, or the modem pushed
    /// more than it announced.
    pub(super) fn overflowed(&mut self, id: SocketId) {
        let cut = match self.sockets[id.index()].is_opening() {
            true => Cut::TooMuchTooSoon,
            false => Cut::ClientStalled,
        };
        self.break_off(id, cut);
    }
}
