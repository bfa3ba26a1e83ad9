//! What each channel sends next: the only code that chooses a command.
//!
//! In order: the channel's own settings, the reason of an open just refused, the set-up of the session, the
//! question whether the session is active, switches of mode (they free memory), closes and checks of sockets
//! whose clients are gone, settings of SSL contexts, opens, and then bytes, sparse flows first. Questions about the cell
//! come last.

use std::time::{Duration, Instant};

use super::{Modem, Port, Sharing, SocketEnd};
use crate::at::answers::{Answer, MadeByQuectel, SerialNumber};
use crate::at::{CHUNK_MAX, Command, CommandOutcome, CommandSet, READ_MAX, Security, SocketId};
use crate::channel::Habit;
use crate::channel::wire_settings::{self, ASK_MAKER, ASK_SERIAL_NUMBER, SPEED, is_needed};
use crate::channel::{Channel, Origin, Patience};
use crate::fair_queue::Way;
use crate::radio::Question;
use crate::settings::{self, Mode};
use crate::setup::ssl_context::negotiate_seconds;
use crate::setup::{Confirmation, SetupStep};
use crate::socket::{Adjusted, Opener, SessionQuestion, Socket, Switching, View};

impl Modem {
    /// Gives every idle channel its next command. Called after every change.
    pub(super) fn run(&mut self, now: Instant) {
        self.last_run = now;
        self.adjust_flows(now);
        self.close_what_came_late();
        self.notice_release(now);
        if !self.channels.iter().any(Channel::is_open) && !self.ports.iter().any(Port::is_handed_over) {
            self.refuse_user_commands();
        }
        // Where pushed payload comes out, prompt and result of a send come only after it: that port comes
        // last.
        let patience = Patience { usual: self.settings.command_timeout, send: self.settings.send_timeout };
        let last = self.routing.port().unwrap_or(0);
        let count = self.channels.len();
        for port in (0..count).map(|turn| (last + 1 + turn) % count) {
            self.leave_if_drained(port, now);
            self.channels[port].set_paused(false, now);
            let reading_stops = self.channels[port].is_open() && self.wants_port_bytes(port) == 0;
            self.channels[port].set_paused(reading_stops, now);
            if !self.channels[port].is_idle() || self.reboot.quiet_until().is_some() {
                continue;
            }
            // No answer can come before the rest, and where the module has booted, echo and answer would look like it.
            if !reading_stops && self.channels[port].payload_pauses(now) {
                continue;
            }
            if self.must_wake(port, now) {
                self.channels[port].start(
                    Command::patient_line("AT", WAKING_WAIT),
                    Origin::Liveness,
                    patience,
                    now,
                );
                continue;
            }
            if let Some((command, origin)) = self.next_command(port, now) {
                if origin == Origin::Socket
                    && let Some(socket) = command.socket()
                {
                    self.sockets[socket.index()].command_sent(port);
                }
                self.channels[port].start(command, origin, patience, now);
            }
        }
    }

    /// Whether the next command could be one that must not be lost, and the module may sleep: `AT` wakes it.
    fn must_wake(&self, port: usize, now: Instant) -> bool {
        let channel = &self.channels[port];
        // If it were lost again and again, each time on another port that has fallen asleep meanwhile, nothing would
        // get done.
        let is_anything_due = || {
            !self.setup.is_up()
                || !self.user_commands.is_empty()
                || self.radio_question(now).is_some()
                || self.setup.confirmation() == Confirmation::Due
                || self.sockets.iter().any(|socket| socket.session_question() == Some(SessionQuestion::Due))
                || self.socket_command(port, now).is_some()
        };
        let is_due = |id: &SocketId| {
            let socket = &self.sockets[id.index()];
            let length = socket.outgoing.len().clamp(1, self.send_max(socket.set()));
            let command = Command::Send { set: socket.set(), socket: *id, length };
            socket.must_wake() || socket.wants_to_send(now) && command.must_arrive()
        };
        channel.wire().are_made()
            && channel.may_be_asleep(now)
            && (self.may_sleep && is_anything_due()
                || self.setup.is_up()
                    && (self.open_due(port, now).is_some() || SocketId::all().any(|id| is_due(&id))))
    }

    fn next_command(&mut self, port: usize, now: Instant) -> Option<(Command, Origin)> {
        if !self.channels[port].wire().are_made() {
            let lines = self.wire_settings(port).lines();
            if let Some(line) = self.channels[port].wire_mut().next(&lines) {
                return Some((Command::line(line), Origin::Wire));
            }
        }
        // Its line is about to carry several channels.
        if self.ports[port].facts.sharing == Sharing::Wanted {
            return None;
        }
        let serves = |channel: &Channel| channel.takes_commands() && channel.wire().are_made();
        let is_first = self.channels.iter().position(serves) == Some(port);
        if let Some(id) = self.refused_open(port) {
            return Some((Command::line("AT+QIGETERROR"), Origin::Reason(id)));
        }
        if let Some((id, command)) = self.user_commands.pop_front() {
            self.lend_socket(&command);
            return Some((command, Origin::User(id)));
        }
        if let Some(question) = self.radio.pressing().filter(|_| !self.is_asking_radio()) {
            return Some(self.ask_radio(question, now));
        }
        if self.reboot.take_due() {
            return Some((Command::line("AT+CFUN=1,1"), Origin::Reboot));
        }
        if self.releasing.is_none() {
            self.setup.look_at_format(now);
        }
        if !self.setup.is_up() && self.setup.step() != SetupStep::Contexts {
            if !is_first || self.is_setting_up() {
                return None;
            }
            return match self.setup_command(port, now) {
                Some(command) => Some((command, Origin::Session)),
                // It waits, for the network perhaps.
                None => self.radio_question(now).map(|question| self.ask_radio(question, now)),
            };
        }
        if let Some(command) = self.urc_port_command(port).or_else(|| self.name_question(now)) {
            return Some((command, Origin::Wire));
        }
        if let Some(command) = self.confirm_session_command() {
            return Some((command, Origin::ConfirmSession));
        }
        // A stream begins once an answer shows that SEND OK would have come before.
        if self.stream_is_due() && self.send_ok_may_follow(port).is_some_and(|settles_at| settles_at <= now) {
            return Some((Command::line("AT"), Origin::Liveness));
        }
        if let Some(command) = self.socket_command(port, now) {
            return Some((command, Origin::Socket));
        }
        let context_busy = self
            .channels
            .iter()
            .any(|channel| channel.is_asking_for(|origin| matches!(origin, Origin::Context(_))));
        let due = self.open_due(port, now);
        let ssl = due.and_then(|id| self.sockets[id.index()].ssl());
        if let Some(ssl) = ssl {
            let is_up = self.setup.is_up();
            let context = self.setup.contexts_mut().iter_mut().find(|context| context.id == ssl)?;
            if !context.files_stand() && !context_busy && is_up {
                self.set_up(Some(port), now, |setup, given| setup.look_after_trust(given));
                let command = self.setup_command(port, now)?;
                return Some((command, Origin::Session));
            }
            if !context_busy && context.is_stale(now) {
                context.becomes_unconfirmed();
            }
        }
        if !context_busy {
            if let Some(command) = self.context_command() {
                return Some(command);
            }
            self.setup.contexts_written(now);
            self.follow_set_up(Some(port), now);
        }
        if let Some(id) = due.filter(|id| self.context_stands_for(*id)) {
            if self.is_for_stream(id)
                && let Some(aside) = self.urcs_moved_aside(port)
            {
                return Some((aside, Origin::Wire));
            }
            return Some((self.open_command(port, id, now)?, Origin::Socket));
        }
        if self.sockets.iter().any(|socket| socket.awaits_send_ok(port, now)) {
            return Some((Command::line("AT"), Origin::Liveness));
        }
        if let Some(command) = self.byte_command(port, now) {
            return Some((command, Origin::Socket));
        }
        if let Some(question) = self.radio_question(now) {
            return Some(self.ask_radio(question, now));
        }
        let is_quiet = self.liveness_due(&self.channels[port]).is_some_and(|due| due <= now);
        (is_quiet || self.channels[port].hears_noise()).then(|| (Command::line("AT"), Origin::Liveness))
    }

    /// The question about the cell whose turn it is, where nothing else is due. What a waiting client needs is due next.
    fn radio_question(&self, now: Instant) -> Option<Question> {
        let is_due = self.radio.next_at().is_some_and(|at| at <= now);
        let is_in_the_way = self.is_wanted || self.releasing.is_some() || self.is_asking_radio();
        self.radio.in_turn().filter(|_| is_due && !is_in_the_way)
    }

    fn ask_radio(&mut self, question: Question, now: Instant) -> (Command, Origin) {
        self.radio.sent(now);
        let command = match question.is_for_registration() {
            // One that is in a 2G or 3G network is registered for another service than LTE.
            true => self.setup.registration_question(),
            false => question.command(),
        };
        (command, Origin::Radio(question))
    }

    fn is_asking_radio(&self) -> bool {
        self.channels.iter().any(|channel| channel.is_asking_for(|it| matches!(it, Origin::Radio(_))))
    }

    /// The socket whose open this channel has just refused without a reason: the answer to AT+QIGETERROR
    /// is about the last command, so nothing may be sent in between.
    fn refused_open(&self, port: usize) -> Option<SocketId> {
        SocketId::all().find(|id| self.sockets[id.index()].was_refused_on(port))
    }

    /// What the settings that fix the wire format of a channel depend on.
    fn wire_settings(&self, port: usize) -> wire_settings::Wanted {
        let facts = &self.ports[port].facts;
        let transparent = self.tunnels.iter().any(|tunnel| tunnel.mode == Mode::Transparent);
        let speed = self.settings.baud;
        wire_settings::Wanted {
            flow_control: self.wants_flow_control(port),
            dtr_leaves_data_mode: transparent && facts.has_dtr,
            identity: match self.ports[port].settings.identity {
                settings::Identity::Imei(_) => Some(ASK_SERIAL_NUMBER),
                settings::Identity::Quectel => Some(ASK_MAKER),
                settings::Identity::Any => None,
            },
            baud: (facts.is_uart && self.channels[port].baud() != speed).then_some(speed),
        }
    }

    /// The answer to a wire setting. Older modules refuse some; only the echo and the texts matter, and
    /// nothing depends on those either.
    pub(super) fn wire_answered(
        &mut self,
        port: usize,
        command: &Command,
        outcome: &CommandOutcome,
        lines: &[String],
        now: Instant,
    ) {
        if let CommandOutcome::Refused(refusal) = outcome {
            log::debug!("{} refused {command}: {refusal}", self.ports[port].facts.name);
        }
        self.channels[port].wire_mut().answer_came();
        if let Command::Line(line) = command
            && self.is_another_device(port, &line.text, outcome, lines)
        {
            self.actions.push_back(super::Action::NextDevice(port));
            return self.reopen(port, now);
        }
        if self.name_answered(command, lines) {
            return;
        }
        if is_urc_port(command) {
            // Whether or not it has such a setting: there is no other port to try.
            let mut ports = std::iter::once(port).chain(0..self.channels.len());
            let named = ports.find(|port| self.leave_by(*port) == *command).unwrap_or(port);
            let (before, told) = (self.routing.only_port(), self.urcs_told().to_owned());
            let name = self.name_of(named).unwrap_or("uart1").to_owned();
            let were_elsewhere = before == Some(named) && told != name && !self.urcs_have_reached_us();
            self.urcs_leave_by(named, &name);
            if were_elsewhere {
                self.urcs_were_elsewhere(&told, named);
            }
            if named != port {
                self.urcs_moved(port, named);
            }
            return;
        }
        if *outcome == CommandOutcome::Ok
            && let Command::Line(line) = command
            && line.text.starts_with(SPEED)
        {
            // It was answered at the old speed; the next byte is at the new one.
            let baud = self.settings.baud;
            self.actions.push_back(super::Action::SetBaud(port, baud));
            return self.channels[port].speed_set(baud, now);
        }
        self.channels[port].wire_mut().answered(*outcome == CommandOutcome::Ok);
    }

    /// Whether the answer to this line shows that the device on this port is not the one that is meant. `auto` means a
    /// Quectel modem; one that does not give its maker's name at all may be one.
    fn is_another_device(&self, port: usize, line: &str, outcome: &CommandOutcome, lines: &[String]) -> bool {
        let name = &self.ports[port].facts.name;
        match (line, &self.ports[port].settings.identity) {
            (ASK_SERIAL_NUMBER, settings::Identity::Imei(wanted)) => {
                let is_another = !SerialNumber::all(lines).any(|number| number.0 == wanted);
                if is_another {
                    log::debug!("{name} is another modem");
                }
                is_another
            }
            (ASK_MAKER, settings::Identity::Quectel)
                if *outcome == CommandOutcome::Ok && !lines.is_empty() =>
            {
                let is_another = MadeByQuectel::first(lines).is_none();
                if is_another {
                    log::info!(
                        "{name} answers AT but is no Quectel modem (ATI: {}); trying the next",
                        lines.join(", ")
                    );
                }
                is_another
            }
            _ => false,
        }
    }

    /// A wire setting was not answered. What can be done without is not sent for ever: all but the question
    /// which modem it is, and its speed.
    pub(super) fn wire_unanswered(&mut self, port: usize, command: &Command) {
        if is_urc_port(command) || matches!(command, Command::Line(line) if is_needed(&line.text)) {
            return;
        }
        if self.channels[port].wire_mut().not_answered() {
            log::warn!(
                "{} does not answer {command} at all; going on without it",
                self.ports[port].facts.name
            );
        }
    }

    /// The port that URCs leave by is lost, or has become a stream: they leave by this one from now on. Only
    /// one port is set so, or what is pushed by the first could be overtaken by what is pushed by the next.
    fn urc_port_command(&self, port: usize) -> Option<Command> {
        // AT+QURCCFG does not distinguish the channels of a line.
        let is_shared = self.ports[port].facts.sharing == Sharing::Shared;
        if self.is_misrouted(port) && (!is_shared || self.urcs_told().is_empty()) {
            return Some(self.leave_by(port));
        }
        if is_shared {
            return None;
        }
        if self.urcs_stand_in_the_way(port)
            && let Some(aside) = self.urcs_moved_aside(port)
        {
            return Some(aside);
        }
        let gone = self.routing.only_port()?;
        let is_told = |channel: &Channel| channel.is_asking(is_urc_port);
        (!self.channels[gone].speaks() && !self.channels.iter().any(is_told)).then(|| self.leave_by(port))
    }

    /// URCs do not leave by a port that is about to become a stream, but by the first other one that takes
    /// commands. The command is sent on the port that they move from: its `OK` comes after all that was
    /// pushed by it.
    fn urcs_moved_aside(&self, port: usize) -> Option<Command> {
        if self.routing.only_port() != Some(port) || self.ports[port].facts.sharing == Sharing::Shared {
            return None;
        }
        let is_other = |other: &usize| {
            *other != port && self.channels[*other].takes_commands() && self.name_of(*other).is_some()
        };
        (0..self.channels.len()).find(is_other).map(|other| self.leave_by(other))
    }

    pub(super) fn leave_by(&self, port: usize) -> Command {
        Command::line(format!("{URC_PORT}\"{}\"", self.name_of(port).unwrap_or("uart1")))
    }

    /// Whether URCs are being moved to this port from another, whose last ones may not have been read yet.
    pub(super) fn awaits_urcs(&self, port: usize) -> bool {
        let others = self.channels.iter().enumerate().filter(|(other, _)| *other != port);
        let mut commands = others.filter_map(|(_, channel)| Some(&channel.in_flight()?.command));
        commands.any(|command| is_urc_port(command) && *command == self.leave_by(port))
    }

    /// Asks whether the data session is still active, now that a server has closed, or an open was refused without
    /// it.
    fn confirm_session_command(&mut self) -> Option<Command> {
        let confirmation = self.setup.confirmation();
        let of_an_end = |wanted| self.sockets.iter().any(|socket| socket.session_question() == Some(wanted));
        let asked = confirmation == Confirmation::Asked || of_an_end(SessionQuestion::Asked);
        let due = confirmation == Confirmation::Due || of_an_end(SessionQuestion::Due);
        if asked || !due {
            return None;
        }
        self.setup.confirmation_asked();
        self.sockets.iter_mut().for_each(Socket::eof_asked);
        Some(self.setup.address_question(self.settings.pdp.context))
    }

    /// Questions, switches of mode, closes and checks.
    fn socket_command(&self, port: usize, now: Instant) -> Option<Command> {
        let speaking = self.speaking_channels();
        let need = |id: SocketId| {
            let view = View {
                port,
                speaking,
                is_wanted: self.is_wanted,
                close: self.close_form(id),
                closes_opening: self.setup.profile().closes_opening,
                is_unconfirmed: self.is_unconfirmed(id),
                now,
            };
            self.sockets[id.index()].need(&view).map(|need| (id, need))
        };
        let used = SocketId::all().filter(|id| self.sockets[id.index()].is_in_use());
        let (id, need) = used.filter_map(need).min_by_key(|(_, need)| need.rank)?;
        Some(need.ask.command(self.sockets[id.index()].set(), id))
    }

    /// Whether the open of a socket that becomes a stream is due.
    fn stream_is_due(&self) -> bool {
        SocketId::all().any(|id| self.is_for_stream(id) && self.sockets[id.index()].waits_for_context())
    }

    /// Whether the settings of this socket's SSL context are known to be in effect.
    fn context_stands_for(&self, id: SocketId) -> bool {
        let Some(context) = self.context_of(id) else {
            return self.sockets[id.index()].set() == CommandSet::Ip;
        };
        let is_being_closed = |socket: &Socket| {
            socket.ssl() == Some(context.id) && socket.busy().is_some() && socket.is_being_closed()
        };
        // With the last one that is closed the module may put the context's settings back, and what a stream was opened
        // by cannot be asked afterwards.
        let is_changing =
            context.is_guarded() && self.is_for_stream(id) && self.sockets.iter().any(is_being_closed);
        context.stands() && context.files_stand() && !context.is_stale(self.last_run) && !is_changing
    }

    /// The socket whose open is next on this channel, once the settings of its SSL context are in effect. One that a
    /// client waits for comes first, then one whose settings already are.
    fn open_due(&self, port: usize, now: Instant) -> Option<SocketId> {
        let is_under_way = |other: SocketId| self.sockets[other.index()].is_opening_in_modem();
        let others_open = |id: SocketId| SocketId::all().any(|other| other != id && is_under_way(other));
        let opener = self.opener();
        let is_due = |id: &SocketId| {
            let port_fits = match self.is_for_stream(*id) {
                true => self.port_for_transparent() == Some(port),
                false => opener.is_none_or(|opener| opener == port),
            };
            port_fits && self.sockets[id.index()].open_is_due(|| others_open(*id), now)
        };
        let is_ahead = |id: &SocketId| self.sockets[id.index()].is_ahead();
        let due = SocketId::all().filter(|_| self.channels[port].takes_commands()).filter(is_due);
        let first = due.min_by_key(|id| (is_ahead(id), !self.context_stands_for(*id)));
        // One that no client waits for takes turns with the bytes that wait.
        first.filter(|id| {
            let least = || self.flows_that_wait(now).map(|(id, way)| self.fair.rank(id, way)).min();
            !is_ahead(id) || least().is_none_or(|least| self.fair.rank_ahead() < least)
        })
    }

    /// The flows that have something to be sent or read.
    fn flows_that_wait(&self, now: Instant) -> impl Iterator<Item = (SocketId, Way)> {
        SocketId::all().flat_map(|id| [(id, Way::Up), (id, Way::Down)]).filter(move |(id, way)| {
            let socket = &self.sockets[id.index()];
            match way {
                Way::Up => socket.wants_to_send(now),
                Way::Down => socket.wants_to_receive() > 0,
            }
        })
    }

    pub(super) fn is_for_stream(&self, id: SocketId) -> bool {
        self.sockets[id.index()].mode() == Some(Mode::Transparent)
    }

    fn open_command(&mut self, port: usize, id: SocketId, now: Instant) -> Option<Command> {
        let pushes_count = self.pushes_count();
        let speaks_by = self.speaks_by(port);
        let unanswering = self.channels_that(|channel| !channel.takes_commands());
        let streams = self.channels_that(|channel| channel.stream().is_some());
        let (security, generation) = match self.sockets[id.index()].set() {
            CommandSet::Ssl => {
                let context = self.context_of(id)?;
                (Security::Tls(context.id), context.generation())
            }
            CommandSet::Ip if self.sockets[id.index()].carries_datagrams() => (Security::PlainDatagrams, 0),
            CommandSet::Ip => (Security::Plain, 0),
        };
        let socket = &mut self.sockets[id.index()];
        let (tunnel, target) = (socket.tunnel()?.clone(), socket.target()?.clone());
        let timeout = tunnel.limits.connect_timeout;
        let patience = match timeout.is_zero() {
            true => std::time::Duration::from_secs(OPEN_MAX_SECONDS),
            false => timeout.max(std::time::Duration::from_secs(1)),
        };
        let opener = Opener { port, speaks_by, generation, patience, pushes_count, unanswering, streams };
        let is_ahead = socket.is_ahead();
        let mode = socket.open_sent(opener, now);
        if is_ahead {
            self.fair.served_ahead();
        }
        let negotiate = std::time::Duration::from_secs(negotiate_seconds(timeout));
        Some(Command::Open {
            socket: id,
            pdp: self.settings.pdp.context,
            security,
            host: target.host,
            port: target.port,
            mode,
            patience: patience.max(negotiate),
        })
    }

    /// A send or a receive: the flow that has had the least of the line comes first.
    fn byte_command(&mut self, port: usize, now: Instant) -> Option<Command> {
        let speaking = self.speaking_channels();
        let is_in_order = |(id, way): &(SocketId, Way)| {
            *way == Way::Up || self.sockets[id.index()].reads_in_order(port, speaking)
        };
        let waiting = self.flows_that_wait(now).filter(is_in_order);
        let (id, way) = waiting.min_by_key(|(id, way)| self.fair.rank(*id, *way))?;
        let socket = &self.sockets[id.index()];
        Some(match way {
            Way::Up => {
                // A short one shows whether a modem that echoes commands echoes payload too.
                let most = if self.channels[port].habit() == Habit::Unknown {
                    1
                } else {
                    self.send_max(socket.set())
                };
                Command::Send { set: socket.set(), socket: id, length: socket.outgoing.next_piece(most) }
            }
            Way::Down => Command::Receive {
                set: socket.set(),
                socket: id,
                length: socket.wants_to_receive().min(match socket.set() {
                    CommandSet::Ssl => self.setup.profile().receive_max,
                    CommandSet::Ip => READ_MAX,
                }),
            },
        })
    }

    /// The most bytes that a send of these commands takes.
    pub(super) fn send_max(&self, set: CommandSet) -> usize {
        match set {
            CommandSet::Ssl => self.setup.profile().send_max,
            CommandSet::Ip => CHUNK_MAX,
        }
    }

    /// Sockets are switched between push and buffer mode, and read unasked where URCs may not reach us.
    fn adjust_flows(&mut self, now: Instant) {
        let switching = Switching {
            is_possible: self.setup.profile().switches_mode != Some(false),
            pushes_count: self.pushes_count(),
            texts_are_shown: self.setup.found().texts.are_shown(),
            poll_interval: self.poll_interval(),
            silence_max: Some(self.settings.liveness_interval).filter(|interval| !interval.is_zero()),
        };
        let due = self.sockets.take_flows(&switching, now);
        for id in SocketId::all().filter(|id| due.contains(id.index())) {
            if self.sockets.adjust_flow(id, &switching, now) == Adjusted::IsOver {
                self.end(id, SocketEnd::Eof);
            }
        }
    }

    /// At the end, once every socket is free, the session is released.
    fn notice_release(&mut self, now: Instant) {
        let Some(until) = self.releasing else { return };
        if !matches!(self.setup.step(), SetupStep::Up | SetupStep::Contexts | SetupStep::LookAtFormat { .. })
        {
            return self.session_release(now);
        }
        // What the module refuses to close stays open whether it is waited for or not.
        let busy = self.sockets.iter().any(|socket| socket.is_in_use() && !socket.resists_closing());
        if !busy || until <= now {
            self.session_release(now);
        }
    }
}

pub(super) fn is_urc_port(command: &Command) -> bool {
    matches!(command, Command::Line(line) if line.text.starts_with(URC_PORT))
}

/// How long the `AT` may take that wakes a module, if it sleeps.
const WAKING_WAIT: Duration = Duration::from_secs(1);

/// AT+QURCCFG: the port that URCs leave by.
const URC_PORT: &str = "AT+QURCCFG=\"urcport\",";

/// How long an open may take where `--connect-timeout` is off: the manuals' 150 s and the longest
/// negotiation.
const OPEN_MAX_SECONDS: u64 = 450;
