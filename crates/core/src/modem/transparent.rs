//! The modem's side of transparent mode: which port a stream gets, and what leaving it means.

use std::time::{Duration, Instant};

use super::{
    Action, Channel, Cut, Distrust, Failure, Family, GiveUp, Modem, OpenFailure, Sharing, Socket,
    count_received,
};
use crate::at::{Command, IdSet, SOCKET_COUNT, SocketId};
use crate::channel::stream::{Exit, Pace, Reason, Stream, StreamEffect};
use crate::error::Kind;
use crate::settings::Mode;

/// What is known of the settings by which a stream was opened.
enum Trust {
    /// They have been in effect since its open left.
    Stood,
    /// The module may have put them back, and they have not been read since.
    Unconfirmed,
    /// They were found to be other than wanted.
    Changed,
}

impl Modem {
    /// The port that the next transparent stream gets: the last one that can, so that the first stays for
    /// commands; the only one if no other use needs it.
    pub(super) fn port_for_transparent(&self) -> Option<usize> {
        self.port_for_stream_beside(IdSet::first(SOCKET_COUNT))
    }

    /// Sockets opened ahead that keep the next stream from beginning, as few as possible: none where closing them all
    /// would not help.
    pub(crate) fn in_the_way_of_stream(&self) -> Vec<SocketId> {
        let mut ahead: Vec<SocketId> = Vec::new();
        let mut kept = IdSet::empty();
        for id in SocketId::all() {
            match self.sockets[id.index()].is_ahead() {
                true => ahead.push(id),
                false => kept.insert(id.index()),
            }
        }
        if self.port_for_stream_beside(kept).is_none() {
            return Vec::new();
        }
        ahead.retain(|id| {
            let mut with_it = kept;
            with_it.insert(id.index());
            let can_stay = self.port_for_stream_beside(with_it).is_some();
            if can_stay {
                kept = with_it;
            }
            !can_stay
        });
        ahead
    }

    /// The port that the next stream would get if there were only these sockets.
    fn port_for_stream_beside(&self, sockets: IdSet) -> Option<usize> {
        let takers = (0..self.channels.len()).filter(|port| self.channels[*port].takes_commands());
        let commanding = takers.clone().count();
        let others = self.among(sockets).any(Socket::needs_commands);
        // Where several channels share a line, another one shows the end of a stream.
        let needs_none = |port: usize| self.ports[port].facts.sharing != Sharing::Shared;
        let only_transparent = !others
            && takers.clone().all(needs_none)
            && self.tunnels.iter().all(|tunnel| tunnel.mode == Mode::Transparent);
        if commanding == 1 && (self.has_several_ports() || others) && !only_transparent {
            return None;
        }
        let is_needed_for_urcs = |port| commanding > 1 && self.carries_urcs_of(sockets, port);
        let last = takers.rev().find(|port| {
            self.can_be_transparent(*port)
                && !is_needed_for_urcs(*port)
                && self.send_ok_may_follow(*port).is_none()
        });
        // The first is no stream because of that: it is waited for.
        last.filter(|port| !self.sockets.iter().any(|socket| socket.end_may_need(*port)))
    }

    /// Whether `SEND OK` may still follow a SEND FAIL on this port, and until when at the most: in a stream it would be
    /// payload, and the same bytes would be sent again.
    pub(super) fn send_ok_may_follow(&self, port: usize) -> Option<Instant> {
        let failed = self.sockets.iter().filter_map(|socket| socket.send_just_failed(port));
        failed.map(|send| send.settles_at()).max()
    }

    /// The port that URCs leave by is the only one that can be a stream, and another could carry them: they are moved
    /// before sockets depend on it.
    pub(super) fn urcs_stand_in_the_way(&self, port: usize) -> bool {
        self.routing.only_port() == Some(port)
            && self.tunnels.iter().any(|tunnel| tunnel.mode == Mode::Transparent)
            && self.can_be_transparent(port)
            && (0..self.channels.len()).all(|other| {
                other == port || !self.channels[other].is_open() || !self.can_be_transparent(other)
            })
    }

    fn can_be_transparent(&self, port: usize) -> bool {
        !(self.setup.profile().family == Family::Ec20 && self.name_of(port) == Some("usbat"))
    }

    /// A tunnel that wants transparent mode needs a port that has it.
    pub(super) fn check_transparent_ports(&self) -> Result<(), Failure> {
        let Some(tunnel) = self.tunnels.iter().find(|tunnel| tunnel.mode == Mode::Transparent) else {
            return Ok(());
        };
        let open = (0..self.channels.len()).filter(|port| self.channels[*port].is_open());
        if !open.clone().any(|port| self.can_be_transparent(port)) {
            return Err(Failure::new(
                Kind::Usage,
                format!(
                    "{}: {} has no transparent mode on its USB AT port: give --device its USB modem port \
                     (interface 3) or its UART, or another --mode",
                    tunnel.name,
                    self.setup.profile().name
                ),
            ));
        }
        if self.loses_unread_bytes() && open.clone().any(|port| self.ports[port].facts.is_uart) {
            log::warn!(
                "{}: transparent mode without hardware flow control: bytes lost on the line cannot be noticed",
                tunnel.name
            );
        }
        Ok(())
    }

    /// `CONNECT`: the channel is the stream now. Its client gets it once it is known that the settings of its SSL context
    /// have not changed since its open left. Where they may have, it waits until they have been read by another channel.
    pub(super) fn connected(&mut self, port: usize, id: SocketId, now: Instant) {
        let trust = self.trust_in_open(id);
        let can_be_read =
            (0..self.channels.len()).any(|other| other != port && self.channels[other].speaks());
        self.enter_data_mode(port, Some(id), now);
        if self.sockets[id.index()].may_have_ended() {
            self.streams_may_be_over(Some(id), now);
        }
        let socket = &mut self.sockets[id.index()];
        socket.stream_begins(port);
        match trust {
            _ if !socket.is_attached() => self.opened(id, now),
            Trust::Stood => self.now_open(id, now),
            Trust::Unconfirmed if can_be_read => {}
            Trust::Unconfirmed | Trust::Changed => {
                self.open_failed(id, OpenFailure::Untrusted(Distrust::Changed), now);
            }
        }
    }

    /// What is known of the settings of this socket's SSL context since its open left.
    fn trust_in_open(&self, id: SocketId) -> Trust {
        let Some(context) = self.context_of(id).filter(|context| context.is_guarded()) else {
            return Trust::Stood;
        };
        if self.sockets[id.index()].open_generation() != Some(context.generation()) {
            return Trust::Changed;
        }
        if context.may_be_forgotten() { Trust::Unconfirmed } else { Trust::Stood }
    }

    /// The stream ended before it was known by which settings it was opened: its client never gets it.
    fn unproven_ends(&mut self, id: SocketId) {
        if self.sockets[id.index()].is_opening() && self.sockets[id.index()].detach().is_some() {
            self.sockets[id.index()].outgoing.reset();
            self.tell_open_failed(id, OpenFailure::Untrusted(Distrust::Changed));
        }
    }

    /// `CONNECT` of a command that had been given up, perhaps by an earlier run of this program: what comes is a
    /// server's payload, whatever it looks like, until the stream is left.
    pub(super) fn connected_unwanted(&mut self, port: usize, now: Instant) {
        log::warn!(
            "{} entered data mode for an open that was given up; leaving data mode",
            self.ports[port].facts.name
        );
        self.end_unconfirmed(port, Cut::Silent);
        let in_flight = self.channels[port].forget();
        self.enter_data_mode(port, None, now);
        if let Some(in_flight) = in_flight {
            self.unanswered(port, in_flight, Cut::Silent, now);
        }
    }

    fn enter_data_mode(&mut self, port: usize, id: Option<SocketId>, now: Instant) {
        self.cut_failed_sends(port);
        let facts = &self.ports[port].facts;
        if facts.has_dcd {
            self.actions.push_back(Action::AskLines(port));
        }
        let channel = &mut self.channels[port];
        let pace = facts.is_remote.then(|| Pace::new(channel.baud_at_least(), now));
        let exit = match (facts.sharing, facts.has_dtr) {
            (Sharing::Shared, _) => Exit::Beside,
            (Sharing::Alone | Sharing::Only | Sharing::Wanted, true) => Exit::Dtr,
            (Sharing::Alone | Sharing::Only | Sharing::Wanted, false) => Exit::Escape,
        };
        channel.becomes(Stream::new(id, facts.dcd_is_live, exit, pace, now));
        // A module that sends what it pushes by every port leaves this one out as long as it is a stream.
        self.sockets.iter_mut().for_each(|socket| socket.listening.is_left_out_on(port));
    }

    pub(super) fn data_received(&mut self, port: usize, bytes: &[u8], now: Instant) {
        let id = self.channels[port].stream().and_then(|stream| stream.socket());
        let mut overflowed = false;
        self.channels[port].stream_received(bytes, now, &mut |payload| {
            let Some(id) = id else { return };
            let socket = &mut self.sockets[id.index()];
            count_received(socket, &mut self.counters, &mut self.ladder, payload.len());
            overflowed |= socket.is_attached() && socket.incoming.append(payload) < payload.len();
        });
        if let Some(id) = id.filter(|_| overflowed) {
            self.overflowed(id);
        }
    }

    /// `count` bytes came on a line that channels share, for any of them: by their turns, a channel's next bytes come after
    /// `turns_bytes` at most.
    pub(crate) fn line_was_busy(&mut self, count: usize, turns_bytes: usize) {
        for channel in &mut self.channels {
            let (time, turns) = (channel.wire_time(count), channel.wire_time(turns_bytes));
            if let Some(stream) = channel.stream_mut() {
                stream.line_was_busy(time, turns);
            }
        }
    }

    /// Once the client is done and everything it sent has been written, data mode is left.
    pub(super) fn leave_if_drained(&mut self, port: usize, now: Instant) {
        let paused = self.wants_port_bytes(port) == 0;
        if let Some(data) = self.channels[port].stream_mut() {
            data.set_paused(paused, now);
            let socket = data.socket().map(|id| &self.sockets[id.index()]);
            match socket {
                Some(socket) if socket.is_attached() || !socket.outgoing.is_empty() => {
                    // A device server may have such a driver as well.
                    let facts = &self.ports[port].facts;
                    if (facts.drops_unread || facts.is_remote) && socket.reads_slowly() {
                        data.leave_crowded(now);
                    }
                }
                _ => data.leave(now),
            }
        }
    }

    /// The client is gone. What it sent is written first, unless it is to be dropped.
    pub(super) fn leave_data_mode(&mut self, port: usize, id: SocketId, how: GiveUp) {
        if let Some(data) = self.channels[port].stream_mut()
            && how == GiveUp::Abort
        {
            data.abort();
            self.sockets[id.index()].outgoing.reset();
        }
    }

    pub(super) fn data_deadline(&mut self, port: usize, now: Instant) {
        let Some(data) = self.channels[port].stream() else { return };
        let holds = self.holds_plus(data);
        let asks_for_room = data.pace_due(self.pending(data)).is_some_and(|due| due <= now);
        let Some(data) = self.channels[port].stream_mut() else { return };
        if asks_for_room {
            data.pace_asked(now);
            self.actions.push_back(Action::AskQueue(port));
        }
        if data.deadline(holds).is_none_or(|deadline| deadline > now) {
            return;
        }
        let next = data.deadline_passed(now, holds);
        self.stream_due(port, next, now);
    }

    /// Does what is due with a stream.
    fn stream_due(&mut self, port: usize, next: StreamEffect, now: Instant) {
        let Some(data) = self.channels[port].stream_mut() else { return };
        let id = data.socket();
        match next {
            StreamEffect::Wait => {}
            StreamEffect::AskBeside(id) => self.sockets[id.index()].ask_beside(),
            StreamEffect::Abandon => self.abandon_stream(port, now),
            StreamEffect::AskQueue => self.actions.push_back(Action::AskQueue(port)),
            StreamEffect::AskLines => self.actions.push_back(Action::AskLines(port)),
            StreamEffect::SendEscape => self.channels[port].send_raw(b"+++", now),
            StreamEffect::AskState(id) => {
                self.actions.push_back(Action::SetDtr(port, true));
                let set = self.sockets[id.index()].set();
                let mut line = Vec::new();
                Command::State { set, socket: id }.encode(&mut line);
                self.channels[port].send_raw(&line, now);
            }
            StreamEffect::SetDtr(on) => self.actions.push_back(Action::SetDtr(port, on)),
            StreamEffect::Deliver(known) => {
                let bytes = data.deliverable(known, now);
                if let Some(id) = id {
                    self.deliver(id, &bytes);
                }
            }
            StreamEffect::Left(reason) => self.data_mode_left(port, reason, now),
            StreamEffect::Ended => self.data_mode_ended(port, true, false, now),
            StreamEffect::Lost => {
                // No escape was answered with OK: the modem was in command mode already, so the words were its own. If
                // it was only silent, it is still in data mode, and answers AT only after an escape. Or its answer
                // comes after what is held and cannot be read on: then nothing is trusted until that is known.
                let is_read = !data.is_paused();
                if id.is_none() && data.holds_ok() {
                    self.end_unconfirmed(port, Cut::CarrierLost);
                }
                self.data_mode_ended(port, is_read, true, now);
                // Only now, because a later end would show that these words were payload.
                if let Some(id) = id {
                    self.channels[port].leaves_unconfirmed(id);
                }
            }
        }
    }

    /// Another channel has reported what may be the end of the stream of this socket, or of any.
    pub(super) fn streams_may_be_over(&mut self, id: Option<SocketId>, now: Instant) {
        for stream in self.channels.iter_mut().filter_map(Channel::stream_mut) {
            if id.is_none() || stream.socket() == id {
                stream.may_be_over(now);
            }
        }
        if id.is_none() && self.ports.iter().any(|port| port.facts.sharing == Sharing::Shared) {
            // It may be the end of one whose `CONNECT` still waits for its channel's turn.
            let is_next =
                |socket: &&mut Socket| socket.is_opening() && socket.mode() == Some(Mode::Transparent);
            self.sockets.iter_mut().filter(is_next).for_each(Socket::ask_beside);
        }
    }

    /// Another channel was asked whether the socket of this channel's stream is connected.
    pub(super) fn stream_told_beside(&mut self, port: usize, is_connected: Option<bool>, now: Instant) {
        let channel = &mut self.channels[port];
        let turn = Duration::from_micros(TURN_BITS * 1_000_000 / u64::from(channel.baud_at_least().max(1)));
        let Some(stream) = channel.stream_mut() else { return };
        let next = stream.told_beside(is_connected, turn, now);
        self.stream_due(port, next, now);
    }

    /// The stream cannot be left: its channel is opened anew, and its socket is closed by another channel.
    fn abandon_stream(&mut self, port: usize, now: Instant) {
        let Some(stream) = self.channels[port].stream() else { return };
        let is_aborted = stream.is_aborted();
        if let Some(id) = stream.socket() {
            self.cut(id, Cut::Silent);
            let timeout_seconds = if is_aborted { 0 } else { self.close_timeout(id) };
            self.sockets[id.index()].stream_left(timeout_seconds);
        }
        log::debug!("{} does not leave its stream; opening it anew", self.ports[port].facts.name);
        self.open_anew(port, now);
    }

    /// One of several channels of a line is closed and opened: whatever it was, it takes commands then.
    pub(super) fn open_anew(&mut self, port: usize, now: Instant) {
        self.channels[port].port_closed();
        self.actions.push_back(Action::ClosePort(port));
        self.ports[port].opens_at_once(now);
    }

    /// The modem answered the escape with `OK`: the channel takes commands, the socket is in buffer mode.
    fn data_mode_left(&mut self, port: usize, reason: Reason, now: Instant) {
        self.end_unconfirmed(port, Cut::CarrierLost);
        let Some(left) = self.channels[port].leave_stream(now) else { return };
        self.actions.push_back(Action::SetDtr(port, true));
        let id = left.socket;
        if let Some(id) = id {
            self.unproven_ends(id);
            // There would be no `OK` if the modem had left data mode before, so what looked like its words was payload.
            self.deliver(id, &left.payload);
            let socket = &self.sockets[id.index()];
            // The client may have left while the end was unconfirmed.
            let goes_on = reason.goes_on() && (socket.is_attached() || !socket.outgoing.is_empty());
            match goes_on {
                true if left.escape_missed => {
                    // What became of the escapes before this one is unknown: they may be in the stream.
                    self.cut(id, Cut::Silent);
                    self.sockets[id.index()].outgoing.reset();
                    self.sockets[id.index()].stream_left(0);
                }
                true => {
                    let why = match reason {
                        Reason::Crowded => "its client reads slowly, and this port may not stop the modem",
                        _ => "what looked like the end was payload",
                    };
                    log::debug!("socket {id}: {why}; it goes on in buffer mode");
                    let speaks_by = self.speaks_by(port);
                    self.sockets[id.index()].stream_goes_on(speaks_by);
                }
                false => {
                    let timeout_seconds = if left.is_aborted { 0 } else { self.close_timeout(id) };
                    self.sockets[id.index()].stream_left(timeout_seconds);
                }
            }
        }
        if self.ports[port].facts.sharing == Sharing::Shared {
            // What looked like the answer may have been payload, and what follows it as well. Once the channel is open
            // again, everything that comes by it is the module's own.
            return self.open_anew(port, now);
        }
        self.receive_words(port, &left.words, now);
    }

    /// The connection is gone: `NO CARRIER`, or DCD dropped. `is_believed`: what is held are the modem's words.
    /// `owes_answers`: escapes may be answered yet.
    fn data_mode_ended(&mut self, port: usize, is_believed: bool, owes_answers: bool, now: Instant) {
        let Some(ended) = self.channels[port].stream_is_over(owes_answers, now) else { return };
        let id = ended.socket;
        // The end may have come during the escape.
        self.actions.push_back(Action::SetDtr(port, true));
        if !is_believed {
            self.enter_data_mode(port, None, now);
        }
        if let Some(id) = id {
            self.unproven_ends(id);
            self.deliver(id, &ended.payload);
            let unsent = !self.sockets[id.index()].outgoing.is_empty();
            if !ended.certain || ended.escape_missed || unsent {
                self.cut(id, Cut::CarrierLost);
                // The module may have rebooted, and its RDY been lost or taken for payload.
                self.setup.becomes_unconfirmed();
            }
            self.sockets[id.index()].stream_ended();
        }
        let is_shared = self.ports[port].facts.sharing == Sharing::Shared;
        if !ended.certain || ended.is_missing_words || !is_believed {
            // Bytes that were pushed here for others may have been taken for this stream's payload, or are dropped with
            // the rest.
            for other in SocketId::all().filter(|other| Some(*other) != id) {
                let socket = &mut self.sockets[other.index()];
                let is_told_here = match socket.listening.port() {
                    Some(on) => on == port,
                    // The channels of a line are told apart: URCs leave by the first one, or by the one that opened it.
                    None if is_shared => {
                        let leaves_here = self.routing.only_port().is_none_or(|only| only == port);
                        leaves_here || socket.opened_by() == Some(port)
                    }
                    None => true,
                };
                if !socket.is_attached() || !is_told_here {
                    continue;
                }
                if socket.is_pushing() || !is_believed || socket.urcs_were_elsewhere().is_err() {
                    self.break_off(other, Cut::Garbled);
                }
            }
        }
        match is_believed {
            // Where the end is in doubt, so is everything after it, and the payload of one client must not end what others
            // have on the same line.
            true if is_shared && !ended.certain => self.open_anew(port, now),
            true => self.receive_words(port, &ended.words, now),
            false => {}
        }
    }

    /// Words of the modem that followed the payload.
    fn receive_words(&mut self, port: usize, words: &[u8], now: Instant) {
        let mut input = words;
        while !input.is_empty() {
            self.decode(port, &mut input, now);
        }
    }

    fn deliver(&mut self, id: SocketId, bytes: &[u8]) {
        let socket = &mut self.sockets[id.index()];
        if socket.is_attached() {
            count_received(socket, &mut self.counters, &mut self.ladder, bytes.len());
            let taken = socket.incoming.append(bytes);
            debug_assert_eq!(taken, bytes.len(), "wants_port_bytes leaves room for what is held");
        }
    }
}

/// What the other channels of a line send at most before it is a channel's turn: a longest frame each, in bits.
const TURN_BITS: u64 = 3 * (2_048 + 64 + 7) * 10;
