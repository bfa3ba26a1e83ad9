//! What the answers to commands mean for sockets: the edges of the diagram in `socket`.
//!
//! Each answer settles what was in flight and leaves the socket in the phase from which the scheduler sees
//! what is due next.

use std::time::{Duration, Instant};

use super::echo::Habit;
use super::socket::FarEnd;
use super::{
    AccessMode, BOOT_PAUSE, CHECK_PAUSE, CHECK_TRIES, CLOSE_PAUSES_MAX, CLOSES_REFUSED_MAX, CloseTime,
    Closing, Command, Cut, Doubt, End, Event, FailedSend, Flow, GiveUp, InFlight, Mode, Modem, Open,
    OpenFailure, OpenStage, Opening, Origin, Outcome, Phase, REPEAT_PAUSE, Refusal, ResultCode, Rung,
    Settling, SocketId, Stage, Step, TIMED_CLOSES, UserAnswer, Way, error_of, state_of,
};

impl Modem {
    /// A command has its answer.
    pub(super) fn answered(&mut self, port: usize, in_flight: InFlight, outcome: Outcome, now: Instant) {
        let lines = std::mem::take(&mut self.channels[port].answer.lines);
        if in_flight.origin != Origin::Wire {
            // Flow control works, if it is on.
            self.channels[port].times_deaf = 0;
        }
        match in_flight.origin {
            Origin::Wire => self.wire_answered(port, &in_flight.command, &outcome, &lines, now),
            Origin::Session => {
                self.session.has_answered();
                self.session_answered(port, outcome, lines, now);
            }
            Origin::Liveness => {}
            Origin::Reboot => match outcome {
                Outcome::Ok => {
                    self.rebooted(now);
                    self.booting_until = Some(now + BOOT_PAUSE);
                }
                _ => log::warn!("the modem refuses to reboot"),
            },
            Origin::Context(index) => {
                self.session.contexts_unanswered = 0;
                self.context_answered(index, &outcome, &lines, now);
            }
            Origin::Judge => {
                let stands = match &outcome {
                    Outcome::Ok => {
                        let address = self.pdp_address(&lines);
                        address.is_some() && address == self.session.address
                    }
                    // A module that never tells: only a refused open speaks against the session.
                    Outcome::Refused(_) if self.session.address.is_none() => {
                        self.session.doubt != Doubt::Asked
                    }
                    _ => false,
                };
                self.judged(stands, now);
            }
            Origin::Reason(id) => self.reason_answered(id, &lines, now),
            Origin::Socket => self.socket_answered(port, in_flight, outcome, &lines, now),
            Origin::User(id) => {
                self.take_socket_back(&in_flight.command);
                let file = std::mem::take(&mut self.channels[port].answer.file);
                let answer = UserAnswer { outcome: Some(outcome), lines, file };
                self.events.push_back(Event::Answered(id, answer));
            }
        }
    }

    /// A command about a socket has its answer.
    pub(super) fn socket_answered(
        &mut self,
        port: usize,
        in_flight: InFlight,
        outcome: Outcome,
        lines: &[String],
        now: Instant,
    ) {
        let Some(id) = in_flight.command.socket() else { return };
        self.sockets[id.index()].busy = None;
        match in_flight.command {
            Command::Send { length, .. } => {
                let is_cut_short = matches!(outcome, Outcome::Refused(_))
                    && in_flight.owes_echo()
                    && self.channels[port].habit == Habit::Payload;
                self.send_answered(id, length, in_flight.stage, outcome, port, now);
                if is_cut_short {
                    // What still comes back would be taken for the modem's words.
                    self.channel_silent(port, Cut::Garbled, now);
                }
            }
            Command::Receive { .. } => {
                let answer = &mut self.channels[port].answer;
                // What was dropped because it contradicts what came before it may have been the client's.
                let received = answer.received.take().filter(|_| !answer.contradicts);
                let again = answer.receivable_again;
                self.receive_answered(id, received, again, outcome, now);
            }
            Command::Open { mode, .. } => self.open_answered(port, id, mode, outcome, now),
            Command::Close { timeout_seconds, .. } => self.close_answered(id, timeout_seconds, outcome, now),
            Command::State { .. } => self.state_answered(port, id, &outcome, lines, now),
            Command::SwitchMode { mode, .. } => self.switch_answered(port, id, mode, outcome, now),
            _ => {}
        }
    }

    pub(super) fn send_answered(
        &mut self,
        id: SocketId,
        length: usize,
        stage: Stage,
        outcome: Outcome,
        port: usize,
        now: Instant,
    ) {
        let socket = &mut self.sockets[id.index()];
        match outcome {
            Outcome::SendOk => {
                socket.outgoing.consume(length);
                socket.sent_bytes += length as u64;
                self.counters.sent_bytes += length as u64;
                socket.backoff = None;
                self.fair.served(id, Way::Up, length);
                if !socket.joined {
                    self.events.push_back(Event::SentLate { tunnel: socket.tunnel, bytes: length });
                }
            }
            Outcome::SendFail => {
                self.counters.send_fails += 1;
                self.fair.served(id, Way::Up, 0);
                if socket.send_failed(port, length, now) {
                    self.break_off(id, Cut::SendStuck);
                }
            }
            _ => {
                self.send_refused(id);
                if matches!(stage, Stage::Payload(_)) {
                    // It stopped taking payload half-way: what still leaves would be read as commands.
                    self.channel_silent(port, Cut::SendUncertain, now);
                }
            }
        }
        let socket = &mut self.sockets[id.index()];
        if !socket.joined && !matches!(socket.phase, Phase::Open(_)) {
            socket.outgoing.reset();
        }
    }

    /// SEND OK while no payload has left that it could be the answer to: soon after SEND FAIL it says that the bytes
    /// were taken after all. Whose they were must be certain.
    pub(super) fn sent_after_all(&mut self, port: usize, now: Instant) {
        let failed = |socket: &super::Socket| socket.send_just_failed(port);
        let failed: Vec<(SocketId, FailedSend)> =
            SocketId::all().filter_map(|id| Some((id, failed(&self.sockets[id.index()])?))).collect();
        match failed[..] {
            [(id, send)] => {
                log::debug!("socket {id}: SEND OK after SEND FAIL, so the bytes were taken");
                self.send_answered(id, send.length, Stage::AfterPayload, Outcome::SendOk, port, now);
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
        outcome: Outcome,
        now: Instant,
    ) {
        let Phase::Open(open) = &mut self.sockets[id.index()].phase else { return };
        match (outcome, received) {
            (Outcome::Ok, Some(0)) => {
                self.fair.served(id, Way::Down, 0);
                match &mut open.flow {
                    Flow::Buffer { readable } => *readable = receivable_again,
                    flow @ Flow::Announced if !receivable_again => *flow = Flow::Push,
                    Flow::Suspected { stage, .. } if !receivable_again => *stage = Settling::Resume,
                    _ => {}
                }
                if open.far_end == FarEnd::Gone && !receivable_again {
                    self.begin_closing(id, true);
                }
            }
            (Outcome::Ok, Some(count)) => {
                self.fair.served(id, Way::Down, count);
                self.heard_of(id, now);
            }
            // In push mode there is nothing to be read.
            (Outcome::Refused(_), None) if open.flow == Flow::Announced => {
                open.flow = Flow::Push;
                if open.far_end == FarEnd::Gone {
                    self.begin_closing(id, true);
                }
            }
            _ => {
                self.break_off(id, Cut::ReceiveFailed);
            }
        }
    }

    pub(super) fn open_answered(
        &mut self,
        port: usize,
        id: SocketId,
        mode: AccessMode,
        outcome: Outcome,
        now: Instant,
    ) {
        if outcome == Outcome::Connect {
            // Wanted or not, the channel is a stream from now on.
            return self.connected(port, id, now);
        }
        if outcome != Outcome::Ok {
            self.context_perhaps_forgotten(id);
        }
        let Phase::Opening(opening) = &mut self.sockets[id.index()].phase else { return };
        match (outcome, mode) {
            (Outcome::Ok, _) => match opening.stage {
                OpenStage::InFlight { result: Some(result), .. } => self.open_settled(id, result, now),
                _ => self.await_open(id),
            },
            (Outcome::Refused(refusal), _) => match refusal.result_code() {
                Some(code) => self.open_settled(id, code.0, now),
                None if refusal == Refusal::Plain => opening.stage = OpenStage::Refused { port },
                None => self.open_failed(id, OpenFailure::Refused(refusal), now),
            },
            (_, _) => self.open_failed(id, OpenFailure::Refused(Refusal::Plain), now),
        }
    }

    /// AT+QIGETERROR after a bare ERROR: in transparent mode the only way to learn the reason. Without an
    /// answer, or with one that is no reason, the refusal remains all that is known.
    pub(super) fn reason_answered(&mut self, id: SocketId, lines: &[String], now: Instant) {
        let Phase::Opening(Opening { stage: OpenStage::Refused { .. }, .. }) = self.sockets[id.index()].phase
        else {
            return;
        };
        match lines.iter().find_map(|line| error_of(line)).filter(|code| (550..=574).contains(code)) {
            Some(code) => self.open_settled(id, code, now),
            None => self.open_failed(id, OpenFailure::Refused(Refusal::Plain), now),
        }
    }

    /// The result of an open in push or buffer mode, or the reason of a refusal.
    pub(super) fn open_settled(&mut self, id: SocketId, result: u16, now: Instant) {
        let code = ResultCode(result);
        if result != 0 {
            self.context_perhaps_forgotten(id);
        }
        let socket = &mut self.sockets[id.index()];
        let Phase::Opening(opening) = &mut socket.phase else { return };
        if result == 0 {
            let ssl = socket.ssl;
            let context = self.contexts.iter_mut().find(|context| Some(context.id) == ssl);
            let guarded = context.filter(|context| context.is_guarded() && socket.joined);
            match (guarded, opening.stage) {
                (
                    Some(context),
                    OpenStage::InFlight { generation, .. } | OpenStage::Awaited { generation },
                ) => {
                    // By which settings it was opened only shows afterwards.
                    context.doubt();
                    opening.stage = OpenStage::Proving { generation };
                }
                _ => self.now_open(id, now),
            }
        } else if socket.joined && !opening.repeated && code == ResultCode::IDENTITY_IN_USE {
            log::debug!("socket {id} is taken in the modem; closing it and trying once more");
            opening.repeated = true;
            opening.closed = false;
            opening.stage = OpenStage::CloseFirst;
        } else if socket.joined && !opening.repeated && code.is_busy() {
            opening.repeated = true;
            opening.closed = false;
            opening.stage = OpenStage::Again { at: now + REPEAT_PAUSE, alone: true };
        } else {
            self.open_failed(id, OpenFailure::Code(code), now);
        }
    }

    /// It is open by the right settings: its client may have it.
    pub(super) fn now_open(&mut self, id: SocketId, now: Instant) {
        let socket = &self.sockets[id.index()];
        let Phase::Opening(opening) = &socket.phase else { return };
        let flow = match self.tunnels[socket.tunnel].mode {
            Mode::Buffer => Flow::Buffer { readable: true },
            Mode::Push if socket.only_announces => Flow::Buffer { readable: true },
            Mode::Push | Mode::Transparent => Flow::Push,
        };
        let closed = opening.closed;
        self.opened(id, flow, now);
        if closed {
            self.far_end_closed(id, now);
        }
    }

    /// A socket is open, in whatever mode.
    pub(super) fn opened(&mut self, id: SocketId, flow: Flow, now: Instant) {
        let socket = &mut self.sockets[id.index()];
        socket.phase = Phase::Open(Open { flow, far_end: FarEnd::There });
        self.ladder.worked();
        self.counters.opened(now.saturating_duration_since(socket.opening_since));
        if socket.joined {
            self.events.push_back(Event::Opened(id));
        } else {
            self.retire(id, GiveUp::Abort);
        }
    }

    pub(super) fn open_failed(&mut self, id: SocketId, failure: OpenFailure, now: Instant) {
        let others_stand = self.connections_stand();
        if failure.doubts_session() && self.session.is_serving() {
            self.session.doubt.arises();
        }
        let climbs = self.ladder.open_failed(&failure, others_stand, now);
        let socket = &mut self.sockets[id.index()];
        let ssl = socket.ssl;
        socket.incoming.reset();
        let tells_of_trust = failure.may_be_lost_files();
        if std::mem::take(&mut socket.joined) {
            self.counters.open_failed(&failure);
            self.events.push_back(Event::OpenFailed(id, failure));
        }
        self.begin_closing(id, false);
        let needs_files = |context: &&super::SslContext| {
            Some(context.id) == ssl && (!context.files.is_empty() || context.is_guarded())
        };
        if tells_of_trust && climbs.is_none() && self.contexts.iter().any(|it| needs_files(&it)) {
            self.look_after_trust();
        }
        self.climb_for(climbs, now);
    }

    pub(super) fn close_answered(
        &mut self,
        id: SocketId,
        timeout_seconds: Option<u16>,
        outcome: Outcome,
        now: Instant,
    ) {
        self.context_perhaps_forgotten(id);
        let channels = self.speaking_channels();
        let refused = outcome != Outcome::Ok;
        let socket = &mut self.sockets[id.index()];
        match &mut socket.phase {
            Phase::Opening(Opening { stage: stage @ OpenStage::Abandoned { .. }, .. }) if refused => {
                *stage = OpenStage::Abandoned { refused_at: Some(now) };
                self.profile.closes_opening.get_or_insert(false);
            }
            Phase::Opening(Opening { stage: OpenStage::Abandoned { .. }, .. }) => {
                self.profile.closes_opening = Some(true);
                let hung = now.saturating_duration_since(socket.opening_since);
                socket.phase = Phase::Checking { channels, again_at: None, tries: 0, refused: None };
                self.open_abandoned(hung, now);
            }
            Phase::Opening(opening) => {
                opening.stage = OpenStage::Again { at: now + REPEAT_PAUSE, alone: false };
            }
            Phase::Closing(closing) if refused => {
                let judge = std::mem::take(&mut closing.judge);
                closing.tries += 1;
                let closing = *closing;
                if judge {
                    self.cut(id, Cut::ClosedUncertain);
                }
                // What it says now settles whether that was about something else.
                let other_form = timeout_seconds.is_some() && self.close_command(id, closing).1.is_none();
                let pause =
                    (!other_form).then(|| REPEAT_PAUSE * 2_u32.pow(closing.tries.min(CLOSE_PAUSES_MAX)) / 2);
                let again_at = pause.map(|pause| now + pause);
                self.sockets[id.index()].phase =
                    Phase::Checking { channels, again_at, tries: 0, refused: Some(closing) };
                self.close_refused(id, closing.tries, now);
            }
            Phase::Closing(closing) => {
                if timeout_seconds.is_none()
                    && closing.tries > 0
                    && self.profile.close_time == CloseTime::Unknown
                {
                    self.profile.close_time = CloseTime::Never;
                }
                if closing.judge && socket.joined {
                    socket.phase = Phase::Judging { asked: false };
                    return;
                }
                socket.phase = Phase::Checking { channels, again_at: None, tries: 0, refused: None };
            }
            _ => {}
        }
    }

    /// What is said to close a socket: how long it may block its port, and what the command says of that. The form
    /// without a time is for modules that have none: with it, one that has would end in order what is broken off.
    pub(super) fn close_command(&self, id: SocketId, closing: Closing) -> (u16, Option<u16>) {
        let without_time = match self.profile.close_time {
            CloseTime::Never => true,
            CloseTime::Unknown => closing.tries % 2 == 1,
            CloseTime::UpTo(_) => closing.tries >= TIMED_CLOSES && closing.tries % 2 == 1,
        };
        match without_time {
            true => (self.close_timeout(id).max(1), None),
            false => (closing.timeout_seconds, Some(closing.timeout_seconds)),
        }
    }

    /// AT+QSSLCLOSE is refused again and again. Its socket is lost until the modem changes its mind; once that keeps
    /// clients from being served, the recovery ladder is climbed.
    fn close_refused(&mut self, id: SocketId, tries: u32, now: Instant) {
        if tries == CLOSES_REFUSED_MAX {
            log::warn!("the modem refuses to close socket {id} (AT+QSSLCLOSE); it stays in use there");
        }
        let is_needed = self.is_wanted || !self.sockets.iter().any(|socket| socket.joined);
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

    /// Whether there are connections that the recovery ladder would cut.
    fn connections_stand(&self) -> bool {
        let stands =
            |socket: &super::Socket| matches!(&socket.phase, Phase::Open(open) if open.far_end.takes_bytes());
        self.sockets.iter().any(stands)
    }

    /// Takes the step of the recovery ladder that has come due, if one has.
    fn climb_for(&mut self, step: Option<(Rung, &'static str)>, now: Instant) {
        if let Some((rung, why)) = step {
            log::warn!("{why}");
            let port = (0..self.channels.len()).find(|port| self.channels[*port].is_open()).unwrap_or(0);
            self.climb(rung, port, now);
        }
    }

    /// An open whose client left was ended before its time. What it hung counts as if it had timed out.
    fn open_abandoned(&mut self, hung: Duration, now: Instant) {
        let climbs = self.ladder.open_abandoned(hung, self.connections_stand(), now);
        self.climb_for(climbs, now);
    }

    /// The modem has taken the open; its result comes by URC.
    pub(super) fn await_open(&mut self, id: SocketId) {
        let socket = &mut self.sockets[id.index()];
        let Phase::Opening(opening) = &mut socket.phase else { return };
        if let OpenStage::InFlight { generation, .. } = opening.stage {
            opening.stage = match socket.joined {
                true => OpenStage::Awaited { generation },
                false => OpenStage::Abandoned { refused_at: None },
            };
        }
    }

    /// The data session stands, or not, now that these far ends have closed.
    pub(super) fn judged(&mut self, stands: bool, now: Instant) {
        self.session.doubt = Doubt::None;
        let channels = self.speaking_channels();
        for id in SocketId::all() {
            if self.sockets[id.index()].phase != (Phase::Judging { asked: true }) {
                continue;
            }
            if stands {
                self.end(id, End::Eof);
            } else {
                self.cut(id, Cut::SessionLost);
            }
            self.sockets[id.index()].phase =
                Phase::Checking { channels, again_at: None, tries: 0, refused: None };
        }
        if !stands && self.session.is_serving() {
            // No URC told of it: the modem may have rebooted unseen, and what was set on the wire and for URCs is gone.
            self.session_lost(Cut::SessionLost, Step::Down, now);
        }
    }

    pub(super) fn state_answered(
        &mut self,
        port: usize,
        id: SocketId,
        outcome: &Outcome,
        lines: &[String],
        now: Instant,
    ) {
        self.unheard_open_answered(id, outcome, lines, now);
        self.doubt_answered(id, outcome, lines, now);
        self.end_answered(id, outcome, lines, now);
        if let Some(connected) = self.suspicion_answered(id, lines) {
            return self.suspicion_settled(id, connected);
        }
        let socket = &mut self.sockets[id.index()];
        let Phase::Checking { channels, again_at, tries, refused } = &mut socket.phase else { return };
        let open = lines
            .iter()
            .any(|line| state_of(line).is_some_and(|(line_id, state)| line_id == id && state != 0));
        if open {
            if let Some(closing) = refused.take() {
                socket.phase = Phase::Closing(closing);
                return;
            }
            *tries += 1;
            if *tries >= CHECK_TRIES {
                log::warn!("the modem does not free socket {id}; closing it again");
                socket.phase = Phase::Closing(Closing { timeout_seconds: 0, judge: false, tries: 0 });
            } else {
                *again_at = Some(now + CHECK_PAUSE);
            }
            return;
        }
        *channels &= !(1 << port);
        let left = *channels;
        let present = self.speaking_channels();
        let socket = &mut self.sockets[id.index()];
        if left & present == 0 {
            socket.clear();
            socket.phase = Phase::Free;
            socket.free_since = now;
            self.context_perhaps_released(id);
        }
    }

    /// A socket may have been closed, or its open have failed, and it may be the last of its context: the module may put
    /// the context's settings back (both manuals, 2.1.5 and 2.2.5), whether or not the number counts as free yet.
    pub(super) fn context_perhaps_forgotten(&mut self, id: SocketId) {
        let ssl = self.sockets[id.index()].ssl;
        let is_held = |(index, socket): (usize, &super::Socket)| {
            index != id.index() && socket.ssl == ssl && matches!(socket.phase, Phase::Open(_))
        };
        if self.sockets.iter().enumerate().any(is_held) {
            return;
        }
        for context in self.contexts.iter_mut().filter(|context| Some(context.id) == ssl) {
            context.doubt();
        }
    }

    /// The socket's number is free.
    pub(super) fn context_perhaps_released(&mut self, id: SocketId) {
        self.context_perhaps_forgotten(id);
        self.sockets[id.index()].ssl = None;
    }

    pub(super) fn switch_answered(
        &mut self,
        port: usize,
        id: SocketId,
        mode: AccessMode,
        outcome: Outcome,
        now: Instant,
    ) {
        if mode == AccessMode::Transparent {
            return self.resume_answered(port, id, outcome, now);
        }
        let worked = outcome == Outcome::Ok;
        let closed = matches!(self.sockets[id.index()].phase, Phase::Open(Open { far_end, .. }) if far_end != FarEnd::There);
        // Whose far end has closed can be refused anything.
        if worked || !closed {
            if !worked && self.profile.switches_mode.is_none() {
                log::warn!(
                    "{} cannot switch a socket's mode (AT+QISWTMD): a client that does not read can hold up others",
                    self.profile.name
                );
            }
            // What worked once is not unlearnt by one failure.
            self.profile.switches_mode = Some(worked || self.profile.switches_mode == Some(true));
        }
        let socket = &mut self.sockets[id.index()];
        socket.switched(worked, now);
        let by_its_port = socket.listening.port().is_none_or(|on| on == port);
        let Phase::Open(open) = &mut socket.phase else { return };
        // By the same port, what was pushed before has come before the answer.
        socket.only_announces |= worked && by_its_port && matches!(open.flow, Flow::ToBuffer { .. });
        open.flow = match (open.flow, worked) {
            // Bytes may lie inside without a `recv` URC: read unasked.
            (Flow::ToBuffer { .. }, true) | (Flow::ToBuffer { unanswered: true }, false) => {
                Flow::Buffer { readable: true }
            }
            (Flow::ToBuffer { unanswered: false }, false) => Flow::Push,
            // Something came between the last read and the switch, and may be held until more comes.
            (Flow::ToPush { readable: true }, true) => Flow::ToBuffer { unanswered: false },
            (Flow::ToPush { readable: false }, true) => Flow::Push,
            (Flow::ToPush { .. }, false) => Flow::Buffer { readable: true },
            (flow, _) => flow,
        };
        if open.far_end == FarEnd::Gone && open.flow == Flow::Push {
            self.begin_closing(id, true);
        }
    }
}
