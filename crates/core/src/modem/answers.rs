//! What the answers to commands mean for sockets: the edges of the diagram in `socket`.
//!
//! Each answer settles what was in flight and leaves the socket in the phase from which the scheduler sees
//! what is due next.

use std::time::{Duration, Instant};

use super::{
    Action, Address, Command, CommandOutcome, CommandStage, Confirmation, Cut, FailedSend, GiveUp, InFlight,
    Modem, ModemEvent, OpenAnswer, OpenFailure, OpenResult, Origin, RebootSign, Received, Refusal, Rung,
    SetupStep, Socket, SocketEnd, SocketId, UserAnswer, Way,
};
use crate::at::answers::{Answer, LastError, SentCounts, SocketState, SocketStatus};
use crate::at::{AccessMode, Expects};
use crate::channel::Habit;
use crate::radio::is_without_network;
use crate::socket::{Checked, CloseAnswer, CloseForm, Witnessed};

impl Modem {
    /// A command has its answer.
    pub(super) fn answered(
        &mut self,
        port: usize,
        in_flight: InFlight,
        outcome: CommandOutcome,
        answer: crate::channel::Answer,
        now: Instant,
    ) {
        // A bare `OK` would mean that there is no such socket, or no data session.
        let is_question =
            matches!(in_flight.command, Command::State { .. }) || in_flight.origin == Origin::ConfirmSession;
        if is_question && outcome == CommandOutcome::Ok && answer.lines.is_empty() && answer.has_gaps {
            return self.asked_in_vain(&in_flight);
        }
        let begins_stream = in_flight.command.expects() == Expects::ConnectThenData;
        if begins_stream && outcome != CommandOutcome::Connect && answer.has_gaps {
            return self.stream_may_have_begun(port, in_flight, now);
        }
        if in_flight.origin != Origin::Wire {
            self.channels[port].flow_control_works();
        }
        match in_flight.origin {
            Origin::Wire => self.wire_answered(port, &in_flight.command, &outcome, &answer.lines, now),
            Origin::Session => {
                self.setup.has_answered();
                self.set_up(Some(port), now, |setup, given| setup.answered(given, outcome, answer, now));
            }
            Origin::Liveness => {}
            Origin::Reboot => match outcome {
                CommandOutcome::Ok => self.rebooted(RebootSign::GoesDown, now),
                _ => log::warn!("the modem refuses to reboot"),
            },
            Origin::Context(index) => {
                self.context_answered(index, &outcome, &answer.lines, now);
            }
            Origin::ConfirmSession => {
                let stands = match &outcome {
                    CommandOutcome::Ok => {
                        let address = Address::of(self.settings.pdp.context, &answer.lines);
                        address.is_some() && address.as_ref() == self.setup.address()
                    }
                    // A module that never reports it: only a refused open shows that the session is lost.
                    CommandOutcome::Refused(_) if self.setup.address().is_none() => {
                        self.setup.confirmation() != Confirmation::Asked
                    }
                    _ => false,
                };
                self.session_answered_for(stands, now);
            }
            Origin::Radio(question) => {
                // A module that does not report its address could not confirm the session.
                let is_confirmed = self.setup.is_serving() && self.setup.address().is_some();
                if is_confirmed && is_without_network(&answer.lines) {
                    self.setup.becomes_unconfirmed();
                }
                if self.radio.answered(question, &outcome, &answer.lines, now) {
                    self.actions.push_back(Action::NetworkAnswered);
                }
            }
            Origin::Reason(id) => self.reason_answered(id, &answer.lines, now),
            Origin::Socket => self.socket_answered(port, in_flight, outcome, &answer, now),
            Origin::User(id) => {
                self.take_socket_back(&in_flight.command);
                self.setup.changed_from_outside(&in_flight.command);
                let answer = UserAnswer { outcome: Some(outcome), lines: answer.lines, file: answer.file };
                self.events.push_back(ModemEvent::Answered(id, answer));
            }
        }
    }

    /// The `CONNECT` of a stream may have been taken for another program's text, and payload for the answer: the next
    /// command could be payload too.
    fn stream_may_have_begun(&mut self, port: usize, in_flight: InFlight, now: Instant) {
        log::warn!(
            "another program's text came to {} while a stream was opened; leaving data mode, in case it was",
            self.ports[port].facts.name
        );
        self.counters.resyncs += 1;
        self.channels[port].leave_unseen_stream(now);
        self.unanswered(port, in_flight, Cut::Garbled, now);
    }

    /// The answer to a question may have been taken for another program's text: it is due again.
    fn asked_in_vain(&mut self, in_flight: &InFlight) {
        log::debug!("the answer to {} may be incomplete; asking again", in_flight.command);
        match in_flight.command.socket() {
            Some(id) => self.sockets[id.index()].command_done(),
            None => self.confirmation_is_lost(),
        }
    }

    /// A command about a socket has its answer.
    pub(super) fn socket_answered(
        &mut self,
        port: usize,
        in_flight: InFlight,
        outcome: CommandOutcome,
        answer: &crate::channel::Answer,
        now: Instant,
    ) {
        let Some(id) = in_flight.command.socket() else { return };
        self.sockets[id.index()].command_done();
        match in_flight.command {
            Command::Send { length, .. } => {
                let is_cut_short = matches!(outcome, CommandOutcome::Refused(_))
                    && in_flight.owes_echo()
                    && self.channels[port].habit() == Habit::Payload;
                self.send_answered(id, length, in_flight.stage(), outcome, port, now);
                if is_cut_short {
                    // The rest of the echo would be taken for the modem's words.
                    self.channel_silent(port, Cut::Garbled, now);
                }
            }
            Command::Receive { .. } => {
                // What was dropped because it contradicts what came before it may have been the client's.
                let received = answer.received.filter(|_| !answer.contradicts);
                let again = answer.receivable_again;
                if received.is_none() && outcome == CommandOutcome::Ok {
                    self.setup.format_is_doubted(now);
                }
                self.receive_answered(id, received, again, outcome, now);
            }
            Command::Open { .. } => self.open_answered(port, id, outcome, now),
            Command::Close { timeout_seconds, .. } => {
                self.close_answered(port, id, timeout_seconds, outcome, now)
            }
            Command::State { .. } => self.state_answered(port, id, &outcome, &answer.lines, now),
            Command::SentCounts { .. } => {
                let counts = SentCounts::first(&answer.lines).filter(|_| outcome == CommandOutcome::Ok);
                self.sockets[id.index()].delivery_answered(counts, now);
            }
            Command::SwitchMode { .. } => self.switch_answered(port, id, outcome, now),
            _ => {}
        }
    }

    pub(super) fn send_answered(
        &mut self,
        id: SocketId,
        length: usize,
        stage: CommandStage,
        outcome: CommandOutcome,
        port: usize,
        now: Instant,
    ) {
        let socket = &mut self.sockets[id.index()];
        match outcome {
            CommandOutcome::SendOk => {
                socket.sent(length, now);
                self.counters.sent_bytes += length as u64;
                self.fair.served(id, Way::Up, length);
                if let Some(tunnel) = socket.tunnel().filter(|_| !socket.is_attached()) {
                    self.events.push_back(ModemEvent::SentLate { tunnel: tunnel.clone(), bytes: length });
                }
            }
            CommandOutcome::SendFail => {
                self.counters.send_fails += 1;
                self.fair.served(id, Way::Up, 0);
                if let Err(cut) = socket.send_failed(port, length, now) {
                    self.break_off(id, cut);
                }
            }
            // In place of `SEND OK` (AT+QICFG="sendinfo"): no manual lists what its code can be.
            CommandOutcome::Ok => {
                self.setup.format_is_doubted(now);
                self.break_off(id, Cut::OtherForm);
            }
            _ => {
                // Another form of payload may be asked for (AT+QICFG="dataformat").
                if stage == CommandStage::AfterPayload {
                    self.setup.format_is_doubted(now);
                }
                match socket.carries_datagrams() {
                    true => self.break_off(id, Cut::SendRefused),
                    false => socket.send_refused(),
                }
                if matches!(stage, CommandStage::Payload(_)) {
                    // It stopped taking payload half-way: the rest would be read as commands.
                    self.channel_silent(port, Cut::SendUncertain, now);
                }
            }
        }
        self.sockets[id.index()].drop_unwanted_bytes();
    }

    /// SEND OK while no payload has left that it could be the answer to: soon after SEND FAIL it reports that
    /// the bytes were taken after all. Whose they were must be certain.
    pub(super) fn sent_after_all(&mut self, port: usize, now: Instant) {
        let failed = |socket: &Socket| socket.send_just_failed(port);
        let failed: Vec<(SocketId, FailedSend)> =
            SocketId::all().filter_map(|id| Some((id, failed(&self.sockets[id.index()])?))).collect();
        match failed[..] {
            [(id, send)] => {
                log::debug!("socket {id}: SEND OK after SEND FAIL, so the bytes were taken");
                self.send_answered(
                    id,
                    send.length,
                    CommandStage::AfterPayload,
                    CommandOutcome::SendOk,
                    port,
                    now,
                );
            }
            _ => {
                let kept = failed.iter().filter(|(_, send)| send.length > 0);
                kept.for_each(|(id, _)| self.break_off(*id, Cut::SendUncertain));
            }
        }
    }

    pub(super) fn receive_answered(
        &mut self,
        id: SocketId,
        received: Option<usize>,
        receivable_again: bool,
        outcome: CommandOutcome,
        now: Instant,
    ) {
        match self.sockets[id.index()].receive_answered(received, receivable_again, &outcome, now) {
            Ok(Received::Bytes(count)) => self.fair.served(id, Way::Down, count),
            Ok(Received::Nothing) => {}
            Err(cut) => self.break_off(id, cut),
        }
    }

    pub(super) fn open_answered(&mut self, port: usize, id: SocketId, outcome: CommandOutcome, now: Instant) {
        if outcome == CommandOutcome::Connect {
            // Wanted or not, the channel is a stream from now on.
            return self.connected(port, id, now);
        }
        if outcome != CommandOutcome::Ok {
            self.context_perhaps_forgotten(id);
        }
        let answer = self.sockets[id.index()].open_answered(port, outcome);
        self.open_answer_settled(id, answer, now);
    }

    /// The answer to an open, or what takes its place.
    pub(super) fn open_answer_settled(&mut self, id: SocketId, answer: OpenAnswer, now: Instant) {
        match answer {
            OpenAnswer::Pending => {}
            OpenAnswer::Result(result) => self.open_settled(id, result, now),
            OpenAnswer::Failed(failure) => self.open_failed(id, failure, now),
        }
    }

    /// AT+QIGETERROR after a bare ERROR: in transparent mode the only way to learn the reason. Without an
    /// answer, or with one that is no reason, the refusal remains all that is known.
    pub(super) fn reason_answered(&mut self, id: SocketId, lines: &[String], now: Instant) {
        if !self.sockets[id.index()].awaits_reason() {
            return;
        }
        match LastError::reason(lines).map(|code| code.0).filter(|code| (550..=574).contains(code)) {
            Some(code) => self.open_settled(id, code, now),
            None => self.open_failed(id, OpenFailure::Refused(Refusal::Plain), now),
        }
    }

    /// The result of an open in push or buffer mode, or the reason of a refusal.
    pub(super) fn open_settled(&mut self, id: SocketId, result: u16, now: Instant) {
        let socket = &mut self.sockets[id.index()];
        let ssl = socket.ssl();
        let context = self.setup.contexts_mut().iter_mut().find(|context| Some(context.id) == ssl);
        let guarded = context.filter(|context| context.is_guarded());
        match (socket.open_result(result, guarded.is_some(), now), guarded) {
            (OpenResult::Proving, Some(context)) => context.becomes_unconfirmed(),
            (OpenResult::Open | OpenResult::Proving, _) => self.now_open(id, now),
            (OpenResult::Failed(failure), _) => self.open_failed(id, failure, now),
            (OpenResult::Again, _) => {
                log::debug!("socket {id} could not be opened ({result}); trying once more")
            }
            (OpenResult::Nothing, _) => {}
        }
    }

    /// It is open by the right settings: its client may have it.
    pub(super) fn now_open(&mut self, id: SocketId, now: Instant) {
        let socket = &mut self.sockets[id.index()];
        if !socket.is_opening() {
            return;
        }
        socket.opened(now);
        self.opened(id, now);
    }

    /// A socket is open, in whatever mode.
    pub(super) fn opened(&mut self, id: SocketId, now: Instant) {
        let socket = &self.sockets[id.index()];
        self.ladder.worked();
        let took = now.saturating_duration_since(socket.opening_since());
        self.counters.opens += 1;
        self.counters.open_seconds = Some(self.open_times.add(took));
        if socket.is_attached() {
            self.events.push_back(ModemEvent::Opened(id));
        } else {
            self.close_or_free(id, GiveUp::Abort);
        }
    }

    /// Its client, which has been detached, learns that its open failed.
    pub(super) fn tell_open_failed(&mut self, id: SocketId, failure: OpenFailure) {
        self.counters.open_failed(&failure);
        self.events.push_back(ModemEvent::OpenFailed(id, failure));
    }

    pub(super) fn open_failed(&mut self, id: SocketId, failure: OpenFailure, now: Instant) {
        let others_stand = self.connections_stand();
        if failure.contradicts_session() && self.setup.is_serving() {
            self.setup.becomes_unconfirmed();
        }
        let socket = &mut self.sockets[id.index()];
        // One that was opened ahead failed nobody: the ladder is for what clients meet.
        let climbs = match socket.is_of_client() {
            true => self.ladder.open_failed(&failure, others_stand, now),
            false => None,
        };
        let ssl = socket.ssl();
        let tells_of_trust = failure.may_be_lost_files();
        let waits = socket.open_failed(failure != OpenFailure::TimedOut, now);
        if let Some(channel) = socket.stream() {
            self.leave_data_mode(channel, id, GiveUp::Abort);
        }
        if waits {
            self.tell_open_failed(id, failure);
        }
        let needs_files = |context: &&super::SslContext| {
            Some(context.id) == ssl && (!context.files.is_empty() || context.is_guarded())
        };
        if tells_of_trust && climbs.is_none() && self.setup.contexts().iter().any(|it| needs_files(&it)) {
            self.set_up(None, now, |setup, given| setup.look_after_trust(given));
        }
        self.climb_for(climbs, now);
    }

    pub(super) fn close_answered(
        &mut self,
        port: usize,
        id: SocketId,
        timeout_seconds: Option<u16>,
        outcome: CommandOutcome,
        now: Instant,
    ) {
        self.context_perhaps_forgotten(id);
        let (form, speaking) = (self.close_form(id), self.speaking_channels());
        let (is_refused, timed) = (outcome != CommandOutcome::Ok, timeout_seconds.is_some());
        let is_of_client = self.sockets[id.index()].is_of_client();
        match self.sockets[id.index()].close_answered(port, is_refused, timed, form, speaking, now) {
            CloseAnswer::Nothing => {}
            CloseAnswer::OpenGoesOn => {
                self.setup.profile_mut().has_closed_opening(false);
            }
            CloseAnswer::OpenEnded { since } => {
                self.setup.profile_mut().has_closed_opening(true);
                if is_of_client {
                    self.open_abandoned(now.saturating_duration_since(since), now);
                }
            }
            CloseAnswer::Refused { tries, was_eof, may_be_opening } => {
                if was_eof {
                    self.cut(id, Cut::ClosedUncertain);
                }
                // The number may become free by itself: nobody's connection is cut for it.
                if !(may_be_opening && self.connections_stand()) {
                    self.close_refused(id, tries, now);
                }
            }
            CloseAnswer::Closed { never_timed: true } => self.setup.profile_mut().has_closed_without_time(),
            CloseAnswer::Closed { never_timed: false } => {}
        }
    }

    /// Which time AT+QSSLCLOSE may be given for this socket's end.
    pub(super) fn close_form(&self, id: SocketId) -> CloseForm {
        CloseForm { time: self.setup.profile().close_time, orderly_seconds: self.close_timeout(id) }
    }

    /// AT+QSSLCLOSE is refused again and again. Its socket is lost until the modem changes its mind; once that keeps
    /// clients from being served, the recovery ladder is climbed.
    fn close_refused(&mut self, id: SocketId, tries: u32, now: Instant) {
        if tries == CLOSES_REFUSED_MAX {
            log::warn!("the modem refuses to close socket {id} (AT+QSSLCLOSE); it stays in use there");
        }
        let is_needed = self.is_wanted || !self.sockets.iter().any(Socket::is_attached);
        if tries < CLOSES_REFUSED_MAX
            || self.releasing.is_some()
            || !is_needed
            || self.free_socket().is_some()
        {
            return;
        }
        let climbs = self.ladder.close_refused(now);
        self.climb_for(climbs, now);
    }

    /// Whether there are connections of clients that the recovery ladder would cut.
    fn connections_stand(&self) -> bool {
        self.sockets.iter().any(|socket| socket.is_open_both_ways() && !socket.is_ahead())
    }

    /// Takes the step of the recovery ladder that has come due, if one has.
    fn climb_for(&mut self, step: Option<(Rung, &'static str)>, now: Instant) {
        if let Some((rung, why)) = step {
            log::warn!("{why}");
            let port = (0..self.channels.len()).find(|port| self.channels[*port].is_open()).unwrap_or(0);
            self.climb(rung, port, now);
        }
    }

    /// An open whose client left was ended before its time. The time that it hung counts as if it had timed out.
    fn open_abandoned(&mut self, hung: Duration, now: Instant) {
        let climbs = self.ladder.open_abandoned(hung, self.connections_stand(), now);
        self.climb_for(climbs, now);
    }

    /// The data session is active, or not, now that these servers have closed.
    pub(super) fn session_answered_for(&mut self, stands: bool, now: Instant) {
        self.setup.confirmed();
        let speaking = self.speaking_channels();
        for id in SocketId::all() {
            if !self.sockets[id.index()].eof_answered(speaking) {
                continue;
            }
            if stands {
                self.end(id, SocketEnd::Eof);
            } else {
                self.cut(id, Cut::SessionLost);
            }
        }
        if !stands && self.setup.is_serving() {
            // No URC reported it: the modem may have rebooted unseen, and what was set on the wire and for
            // URCs is gone.
            self.wire_settings_are_gone();
            self.session_lost(Cut::SessionLost, SetupStep::Down, now);
        }
    }

    pub(super) fn state_answered(
        &mut self,
        port: usize,
        id: SocketId,
        outcome: &CommandOutcome,
        lines: &[String],
        now: Instant,
    ) {
        let witness = self.witness(id, outcome, lines);
        let set = self.sockets[id.index()].set();
        self.missed_open_answered(id, witness, lines, now);
        self.learn_connections(lines);
        match self.sockets[id.index()].witnessed(witness, now) {
            Ok(Witnessed::Nothing) => {}
            Ok(Witnessed::WithoutClosed) => self.closed_was_missed(),
            Ok(Witnessed::Beside { channel, is_connected }) => {
                // A module that has stalled can take `+++` for an escape, wherever it was cut: what then came by the channel
                // may be its words.
                let has_escaped = SocketStatus::all(lines).any(|listed| {
                    (listed.set, listed.id) == (set, id)
                        && listed.mode.is_some_and(|mode| mode != AccessMode::Transparent)
                });
                let is_connected = is_connected.filter(|is_connected| !(*is_connected && has_escaped));
                self.stream_told_beside(channel, is_connected, now);
            }
            Ok(Witnessed::Contradicted) => log::warn!(
                "the modem reported socket {id} as closed and then as connected; its stream goes on \
                 (does another program use the modem?)"
            ),
            Err(Cut::NumberTaken) => self.number_is_taken(id),
            Err(cut) => self.break_off(id, cut),
        }
        let mut states =
            SocketStatus::all(lines).filter(|it| (it.set, it.id) == (set, id)).map(|it| it.state);
        let is_in_use = states.any(|state| state != SocketState::Free);
        let speaking = self.speaking_channels();
        match self.sockets[id.index()].check_answered(port, is_in_use, speaking, now) {
            Checked::Nothing => {}
            Checked::ClosedAgain => log::warn!("the modem does not free socket {id}; closing it again"),
            // Where the other channels say the same of it later, that shows nothing new of the context.
            Checked::FreeHere | Checked::Free => self.context_perhaps_released(id),
        }
    }

    /// A socket may have been closed, or its open have failed, and it may be the last of its context: the module may put
    /// the context's settings back (both manuals, 2.1.5 and 2.2.5), whether or not the number counts as free yet.
    pub(super) fn context_perhaps_forgotten(&mut self, id: SocketId) {
        let ssl = self.sockets[id.index()].ssl();
        let is_held = |(index, socket): (usize, &Socket)| {
            index != id.index() && socket.ssl() == ssl && socket.is_open_in_modem()
        };
        if self.sockets.iter().enumerate().any(is_held) {
            return;
        }
        for context in self.setup.contexts_mut().iter_mut().filter(|context| Some(context.id) == ssl) {
            context.perhaps_forgotten();
        }
    }

    /// The socket's number is free.
    pub(super) fn context_perhaps_released(&mut self, id: SocketId) {
        self.context_perhaps_forgotten(id);
        self.sockets[id.index()].release_context();
    }

    pub(super) fn switch_answered(
        &mut self,
        port: usize,
        id: SocketId,
        outcome: CommandOutcome,
        now: Instant,
    ) {
        let worked = outcome == CommandOutcome::Ok;
        let closed = self.sockets[id.index()].is_open_unconfirmed();
        // A socket whose far end has closed can be refused anything.
        if (worked || !closed) && self.setup.profile_mut().has_switched_mode(worked) {
            log::warn!(
                "{} cannot switch a socket's mode (AT+QISWTMD): a client that does not read can hold up others",
                self.setup.profile().name
            );
        }
        // Until it is known which port pushes its bytes, it may be the one that has opened it.
        let leaves_ports_out = self.leaves_ports_out();
        let socket = &mut self.sockets[id.index()];
        let by_its_port = socket.listening.port().is_none_or(|on| on == port)
            && (!leaves_ports_out || socket.opened_by() == Some(port));
        socket.mode_switched(worked, by_its_port, now);
    }
}

/// How often a close is refused before the module counts as one that frees nothing.
const CLOSES_REFUSED_MAX: u32 = 4;
