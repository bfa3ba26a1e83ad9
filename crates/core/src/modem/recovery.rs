//! When the modem does not behave: silence, nonsense, reboots, lost ports, and the way back up.
//!
//! What was in flight is settled first, as far as anything is known of it. Then a resync brings the channel back, and
//! the recovery ladder decides whether that is enough.

use std::time::Instant;

use super::schedule::is_urc_port;
use super::{
    Action, Channel, ChannelState, Command, CommandOutcome, CommandStage, Cut, FILLER, Failure, InFlight,
    Kind, Modem, ModemEvent, OpenFailure, Origin, REOPEN_PAUSE, RebootSign, Refusal, ResyncEffect, Rung,
    SetupStep, Sharing, Socket, SocketId, UserAnswer, UserCommand, Without, settings,
};
use crate::at::{AccessMode, Expects};
use crate::counted;

impl Modem {
    /// The channel did not answer, or sent what cannot be framed: what was in flight on it is settled, and a resync
    /// begins.
    pub(super) fn channel_silent(&mut self, port: usize, cut: Cut, now: Instant) {
        self.settle_unprompted(port, false);
        let is_excused = self.channels[port].in_flight().is_some_and(|it| self.is_excused(it));
        let rung = match cut {
            Cut::Silent if is_excused => Rung::Resync,
            Cut::Silent | Cut::Garbled | Cut::Unfinished => self.ladder.strike(false, now),
            _ => Rung::Resync,
        };
        if cut == Cut::Garbled {
            self.setup.format_is_doubted(now);
        }
        let payload_for = self.channels[port].payload_for();
        // The rest of an echo, which still comes, would be taken for the modem's words.
        let unframed =
            matches!(cut, Cut::Garbled | Cut::Unfinished | Cut::LineError) || self.channels[port].owes_echo();
        if cut == Cut::Unfinished {
            log::warn!(
                "{} stopped in the middle of announced data, {} before its end; resynchronising",
                self.ports[port].facts.name,
                counted(self.channels[port].payload_left(), "byte")
            );
        }
        let in_flight = self.channels[port].bring_back(unframed, now);
        let may_be_stream =
            unframed && in_flight.as_ref().is_some_and(|it| it.command.expects() == Expects::ConnectThenData);
        self.counters.resyncs += 1;
        if let Some(id) = payload_for {
            self.break_off(id, cut);
        }
        if unframed {
            self.cut_all(cut);
        }
        self.cut_failed_sends(port);
        if let Some(in_flight) = in_flight {
            if cut == Cut::Silent && in_flight.may_have_woken {
                self.may_sleep = true;
                log::debug!(
                    "{} did not answer {}, it may have slept",
                    self.ports[port].facts.name,
                    in_flight.command
                );
            } else if cut == Cut::Silent {
                log::warn!(
                    "{} did not answer {}; resynchronising",
                    self.ports[port].facts.name,
                    in_flight.command
                );
            }
            self.unanswered(port, in_flight, cut, now);
        }
        // What goes on sending like this and has never answered is no AT port, or its modem has another speed.
        if cut == Cut::Garbled && rung > Rung::Resync && !self.channels[port].has_answered() {
            return self.silent(port, no_modem(&self.ports[port].facts.name), now);
        }
        if may_be_stream && self.ports[port].facts.sharing == Sharing::Shared {
            // Its payload could answer what a resync asks.
            self.open_anew(port, now);
        }
        self.climb(rung, port, now);
    }

    /// In another program's text there is what looks like pushed data. If that is the module's own, the text was cut off
    /// and hides whatever is pushed until it is given up.
    pub(super) fn push_in_text(&mut self, port: usize) {
        let is_pushed_to = |id: &SocketId| self.sockets[id.index()].may_be_pushed_to();
        let pushing: Vec<SocketId> = SocketId::all().filter(is_pushed_to).collect();
        if !pushing.is_empty() {
            let name = &self.ports[port].facts.name;
            log::warn!(
                "{name}: what looks like pushed data came inside a text of another program; every connection in push \
                 mode is reset"
            );
        }
        for id in pushing {
            self.break_off(id, Cut::Forgeable);
        }
    }

    /// The host's UART counted bytes of this port that it lost, or received wrongly, by the time of what is
    /// received next. Whose they were is not known.
    pub(super) fn port_garbled(&mut self, port: usize, lost: u32, wrong: u32, now: Instant) {
        if self.lost_bytes(port, now) {
            log::warn!(
                "{}: {} lost on the line, {wrong} received wrongly: check RTS and CTS \
                 (--flow-control rtscts) and the wires, or lower --baud",
                self.ports[port].facts.name,
                counted(lost, "byte")
            );
        }
    }

    /// More has waited unread in this port than its driver surely keeps.
    pub(super) fn port_overrun(&mut self, port: usize, now: Instant) {
        if self.lost_bytes(port, now) {
            log::warn!(
                "{}: the modem sent faster than it was read, and this port's driver drops what it cannot keep: use \
                 --mode buffer where that happens again",
                self.ports[port].facts.name
            );
        }
    }

    /// Bytes that this port carried to the host are, or may be, missing. Returns whether somebody may have lost some.
    fn lost_bytes(&mut self, port: usize, now: Instant) -> bool {
        match self.channels[port].state() {
            ChannelState::Closed => return false,
            // While the speed of a modem is being found, bytes are received wrongly.
            ChannelState::Resync(_) if !self.sockets.iter().any(Socket::is_attached) => return false,
            ChannelState::Resync(_) => self.cut_all(Cut::LineError),
            ChannelState::Command => self.channel_silent(port, Cut::LineError, now),
            ChannelState::Data(data) => {
                // A stream that nobody wants any more has nothing to lose.
                let Some(id) = data.socket().filter(|id| self.sockets[id.index()].is_attached()) else {
                    return false;
                };
                self.break_off(id, Cut::LineError);
            }
        }
        // That the data session is lost may be what was damaged.
        if self.setup.is_serving() {
            self.setup.becomes_unconfirmed();
        }
        true
    }

    /// It is unknown whose bytes went missing, and what still comes may look like anything.
    fn cut_all(&mut self, cut: Cut) {
        for id in SocketId::all() {
            if self.sockets[id.index()].is_attached() {
                self.break_off(id, cut);
            }
        }
    }

    /// A `SEND OK` after SEND FAIL can no longer come on this port, or cannot be distinguished from another's.
    pub(super) fn cut_failed_sends(&mut self, port: usize) {
        for id in SocketId::all() {
            if self.sockets[id.index()].send_just_failed(port).is_some_and(|send| send.length > 0) {
                self.break_off(id, Cut::SendUncertain);
            }
        }
    }

    /// Takes a rung of the recovery ladder, beyond the resynchronisation that is under way.
    pub(super) fn climb(&mut self, rung: Rung, port: usize, now: Instant) {
        self.say_rung(rung, now);
        match rung {
            Rung::Resync => {}
            Rung::Port => self.reopen(port, now),
            // Opens fail in the same way after a reboot that was not seen, with which the port of URCs is
            // lost.
            Rung::Session => {
                self.setup.rebuild_is_due();
                self.session_lost(Cut::SessionLost, SetupStep::Down, now);
            }
            Rung::Reboot => {
                self.reboot.is_due();
                self.session_lost(Cut::SessionLost, SetupStep::Down, now);
            }
            Rung::ResetCommand => {
                self.actions.push_back(Action::RunResetCommand);
                self.reopen(port, now);
            }
        }
    }

    fn say_rung(&self, rung: Rung, now: Instant) {
        match rung {
            Rung::Resync => {}
            Rung::Port => log::warn!("recovery: {rung}"),
            _ => {
                let pause = self.ladder.pause(now).as_secs();
                log::warn!(
                    "recovery: {rung}; the next step that cuts connections comes after {pause} s or later"
                );
            }
        }
    }

    /// Closes the port, to open it again after a pause.
    pub(super) fn reopen(&mut self, port: usize, now: Instant) {
        self.close_channel(port, Cut::Silent, now);
        self.ports[port].opens_after_pause(now);
        if !self.channels.iter().any(Channel::is_open) {
            self.forget_network(now);
            self.session_lost(Cut::Silent, SetupStep::Down, now);
        }
    }

    /// A command will never have its answer; the modem may carry it out all the same, and late.
    pub(super) fn unanswered(&mut self, port: usize, in_flight: InFlight, cut: Cut, now: Instant) {
        self.change_given_up(port, &in_flight.command);
        if let Origin::Context(index) = in_flight.origin {
            self.setup.context_interrupted(index);
        }
        match in_flight.origin {
            Origin::Liveness | Origin::Reboot => {}
            // A lost port or a reboot is no fault of the command.
            Origin::Wire | Origin::Context(_) if cut != Cut::Silent => {}
            Origin::Wire => self.wire_unanswered(port, &in_flight.command),
            Origin::Context(index) => {
                if self.setup.context_unanswered(index) {
                    let refused = CommandOutcome::Refused(Refusal::Plain);
                    self.context_answered(index, &refused, &[], now);
                }
            }
            Origin::User(id) => self.user_unanswered(id, &in_flight.command),
            Origin::Radio(question) => {
                // Otherwise it is no fault of the question, which is due again.
                if cut == Cut::Silent && !in_flight.may_have_woken && self.radio.unanswered(question) {
                    self.actions.push_back(Action::NetworkAnswered);
                }
            }
            Origin::Session => {
                self.set_up(Some(port), now, |setup, given| setup.not_answered(given, cut, now));
            }
            Origin::Reason(id) => self.reason_answered(id, &[], now),
            Origin::ConfirmSession => self.confirmation_is_lost(),
            Origin::Socket => {
                let Some(id) = in_flight.command.socket() else { return };
                if let (Command::Send { length, .. }, CommandStage::Prompt, Cut::Silent) =
                    (&in_flight.command, in_flight.stage(), cut)
                {
                    // Nothing has left. Whether the module waits for it all the same shows when it is asked.
                    return self.channels[port].leaves_unprompted(id, *length);
                }
                self.sockets[id.index()].command_unanswered(&in_flight.command, port);
                if matches!(in_flight.command, Command::Close { .. }) {
                    self.context_perhaps_forgotten(id);
                }
                match in_flight.command {
                    // Before the prompt nothing has left, but filler may follow: the stream cannot go on.
                    Command::Send { .. } => self.break_off(id, Cut::SendUncertain),
                    Command::Receive { .. } => {
                        self.break_off(id, Cut::ReceiveFailed);
                    }
                    Command::Open { mode: AccessMode::Transparent, .. }
                        if self.sockets[id.index()].is_opening() =>
                    {
                        let failure = match cut {
                            Cut::Silent => OpenFailure::TimedOut,
                            cut => OpenFailure::Lost(cut),
                        };
                        self.open_failed(id, failure, now);
                    }
                    Command::Open { .. } => {
                        let answer = self.sockets[id.index()].await_result();
                        self.open_answer_settled(id, answer, now);
                    }
                    Command::SwitchMode { mode: AccessMode::Buffer, .. } => {
                        self.sockets[id.index()].switch_unanswered();
                    }
                    // These are simply due again.
                    _ => {}
                }
            }
        }
    }

    /// A command from outside has no answer, and may have been carried out.
    fn user_unanswered(&mut self, id: UserCommand, command: &Command) {
        self.setup.changed_from_outside(command);
        let answer = UserAnswer { outcome: None, lines: Vec::new(), file: Vec::new() };
        self.events.push_back(ModemEvent::Answered(id, answer));
    }

    /// The answer to the question whether the data session is active is lost.
    pub(super) fn confirmation_is_lost(&mut self) {
        self.setup.confirmation_unanswered();
        self.sockets.iter_mut().for_each(Socket::eof_unanswered);
    }

    /// A send whose prompt did not come was never received, if the module answers `AT` instead of taking it
    /// for payload. Otherwise the stream is broken before anything else can become part of it.
    pub(super) fn settle_unprompted(&mut self, port: usize, was_not_received: bool) {
        let Some(id) = self.channels[port].take_unprompted() else { return };
        self.sockets[id.index()].command_done();
        if !was_not_received {
            self.sockets[id.index()].carrier_unanswered(port);
            self.break_off(id, Cut::SendUncertain);
        }
        self.sockets[id.index()].drop_unwanted_bytes();
    }

    /// The bytes of this question, or an unknown number, are about to be sent to a module that may wait for the payload
    /// of a send.
    fn beware_of_filling(&mut self, port: usize, question: Option<usize>) {
        if self.channels[port].may_fill(question) {
            self.settle_unprompted(port, false);
        }
    }

    /// Whether a command that was not answered is no sign of a fault: another try, or doing without it, settles that.
    fn is_excused(&self, in_flight: &InFlight) -> bool {
        let is_optional = match in_flight.origin {
            Origin::Session => self.setup.step().is_optional(),
            Origin::Wire | Origin::Context(_) | Origin::Radio(_) => true,
            _ => false,
        };
        is_optional || in_flight.may_have_woken
    }

    /// When a channel answers again, the commands that were given up on it have been carried out. They may have opened
    /// sockets that have become free meanwhile.
    pub(super) fn close_what_came_late(&mut self) {
        let answering = self.commanding_channels();
        self.sockets.change(Socket::awaits_channels, |socket| socket.channels_answer(answering));
        self.setup.settle_late_changes(answering);
        self.urc_ports_answer(answering);
    }

    /// This command on this channel was given up. What it changes may still be changed, and late.
    fn change_given_up(&mut self, port: usize, command: &Command) {
        self.setup.file_change_given_up(port, command);
        if is_urc_port(command) {
            self.routing.given_up(port, command);
        }
    }

    /// The modem has rebooted: nothing that it knew is left. But another program's text can look like `RDY`, so what it
    /// was asked may still be carried out until it answers again.
    pub(super) fn rebooted(&mut self, sign: RebootSign, now: Instant) {
        if self.reboot.shows(sign, now) {
            self.counters.reboots += 1;
        }
        self.ladder.rebooted();
        for port in 0..self.channels.len() {
            if !self.channels[port].is_open() {
                continue;
            }
            self.settle_unprompted(port, false);
            if self.channels[port].stream().is_some() {
                self.actions.push_back(Action::SetDtr(port, true));
            }
            if let Some(in_flight) = self.channels[port].rebooted(now) {
                self.change_given_up(port, &in_flight.command);
                if let Origin::User(id) = in_flight.origin {
                    self.user_unanswered(id, &in_flight.command);
                }
                if let Some(id) = in_flight.command.socket() {
                    self.sockets[id.index()].command_unanswered(&in_flight.command, port);
                }
            }
        }
        self.session_lost(Cut::Rebooted, SetupStep::Down, now);
        self.setup.context_gone();
    }

    /// The modem may have rebooted without a message: the data session is asked about, and a set-up that is under way
    /// begins anew.
    pub(super) fn echo_is_back(&mut self, port: usize, now: Instant) {
        self.wire_settings_are_gone();
        self.channels[port].wire_mut().begin_anew();
        if self.setup.is_serving() {
            self.setup.becomes_unconfirmed();
        } else if self.releasing.is_none() {
            self.setup.lost(SetupStep::Down, true, now);
        }
    }

    /// The wire format of every channel is set anew, its flow control included.
    pub(super) fn wire_settings_are_gone(&mut self) {
        for channel in self.channels.iter_mut().filter(|channel| channel.is_open()) {
            channel.wire_mut().go_on();
        }
    }

    /// The port is gone, and with it whatever was under way there.
    pub(super) fn close_channel(&mut self, port: usize, cut: Cut, now: Instant) {
        let broken = self.channels[port].payload_for();
        let data_socket = self.channels[port].stream().and_then(|stream| stream.socket());
        self.end_unconfirmed(port, cut);
        self.settle_unprompted(port, false);
        self.cut_failed_sends(port);
        let in_flight = self.channels[port].port_closed();
        self.routing.port_closed(port, self.channels.iter().position(Channel::is_open));
        for id in broken.into_iter().chain(data_socket) {
            self.cut(id, cut);
            self.sockets[id.index()].port_lost(port);
        }
        if let Some(in_flight) = in_flight {
            self.unanswered(port, in_flight, cut, now);
        }
        // URCs that were on their way out of this port are lost with it.
        if self.channels.iter().any(Channel::is_open) {
            for id in SocketId::all() {
                // Bytes of one that is being opened can come before the result of its open.
                if self.sockets[id.index()].is_told_by_urcs() {
                    self.break_off(id, cut);
                }
            }
        }
        self.actions.push_back(Action::ClosePort(port));
    }

    /// The modem did not answer as it would in command mode: the stream may go on, with `AT` in it.
    pub(super) fn end_unconfirmed(&mut self, port: usize, cut: Cut) {
        if let Some(id) = self.channels[port].take_unconfirmed()
            && self.sockets[id.index()].confirms_end()
        {
            self.break_off(id, cut);
        }
    }

    /// Whether it is not known yet if the stream of this socket is over.
    pub(super) fn is_unconfirmed(&self, id: SocketId) -> bool {
        self.channels.iter().any(|channel| channel.unconfirmed() == Some(id))
    }

    pub(super) fn resync_deadline(&mut self, port: usize, now: Instant) {
        if self.reboot.quiet_until().is_some() {
            return;
        }
        let next = self.channels[port].resync_due(now);
        let refusals = self.channels[port].refusals();
        match &next {
            ResyncEffect::Wait => return,
            ResyncEffect::Ask(bytes) => self.beware_of_filling(port, Some(bytes.len())),
            ResyncEffect::Awake { without: Without::Nothing, .. } => self.settle_unprompted(port, true),
            _ => self.beware_of_filling(port, None),
        }
        match next {
            ResyncEffect::Wait => {}
            next @ (ResyncEffect::Ask(bytes) | ResyncEffect::Escape(bytes)) => {
                if matches!(next, ResyncEffect::Escape(_)) {
                    self.end_unconfirmed(port, Cut::Silent);
                }
                self.channels[port].send_raw(bytes, now);
                if let Some(id) = self.channels[port].drop_half_payload(now) {
                    self.break_off(id, Cut::Silent);
                }
            }
            ResyncEffect::Fill => self.channels[port].send_raw(&FILLER, now),
            ResyncEffect::Cancel(bytes) => self.channels[port].send_raw(bytes, now),
            ResyncEffect::SetBaud(baud) => {
                // What comes meanwhile cannot be read.
                self.cut_all(Cut::Silent);
                self.channels[port].set_baud(baud);
                self.actions.push_back(Action::SetBaud(port, baud));
            }
            ResyncEffect::DropFlowControl => {
                self.channels[port].set_baud(self.settings.baud);
                self.actions.push_back(Action::SetBaud(port, self.settings.baud));
                self.actions.push_back(Action::SetFlowControl(port, false));
            }
            ResyncEffect::Awake { without: Without::Host, .. } => self.silent_with_flow_control(port, now),
            ResyncEffect::Awake { without: Without::Modem, .. } if self.seems_deaf(port) => {
                self.silent_with_flow_control(port, now);
            }
            ResyncEffect::Awake { baud, .. } => {
                self.reboot.answers();
                self.setup.modem_answers();
                let has_rebooted = self.channels[port].answers(baud) && baud != self.settings.baud;
                self.absence.answers();
                if has_rebooted {
                    // It forgets its speed only then; its `RDY` came at the wrong one.
                    log::warn!("the modem has rebooted: it is back at {baud} baud");
                    self.counters.reboots += 1;
                    self.ladder.rebooted();
                    self.session_lost(Cut::Rebooted, SetupStep::Down, now);
                    self.setup.context_gone();
                }
            }
            ResyncEffect::Silent if self.channels[port].has_leftovers() => {
                self.silent(port, no_modem(&self.ports[port].facts.name), now);
            }
            ResyncEffect::Silent => {
                let name = &self.ports[port].facts.name;
                let message = match refusals {
                    0 => format!(
                        "the modem on {name} does not answer: check that it has power, that this is its AT port, and \
                         that no other program (ModemManager?) uses it"
                    ),
                    _ => format!(
                        "the modem on {name} answers AT with ERROR ({}): check that this is its AT port, and switch \
                         it off and on",
                        counted(refusals, "time")
                    ),
                };
                self.silent(port, Failure::new(Kind::ModemSilent, message), now);
            }
        }
    }

    /// Whether the modem waits for lines that are not there.
    fn seems_deaf(&mut self, port: usize) -> bool {
        self.channels[port].seems_deaf() && self.wants_flow_control(port)
    }

    /// The modem answers as soon as its flow control is off: it waited for lines that are not there.
    fn silent_with_flow_control(&mut self, port: usize, now: Instant) {
        let message = format!(
            "the modem on {} answers only without hardware flow control: wire RTS and CTS, or give \
             --flow-control none",
            self.ports[port].facts.name
        );
        self.silent(port, Failure::new(Kind::ModemSilent, message), now);
    }

    /// No port of the modem can be opened: the user's own means are due when that lasts.
    pub(super) fn port_stays_away(&mut self, now: Instant) {
        let may_reset = self.settings.has_reset_command && self.releasing.is_none();
        if may_reset && self.absence.wants_reset(self.settings.reset_after, now) {
            log::warn!("recovery: the modem's ports do not come back: running --reset-command");
            self.actions.push_back(Action::RunResetCommand);
        }
    }

    /// Nothing brings this channel back: its port is opened anew.
    pub(super) fn silent(&mut self, port: usize, failure: Failure, now: Instant) {
        // If it has answered before, the modem is silent. Otherwise this may not be its AT port.
        let has_answered = self.channels[port].forget_modem();
        let is_next_due = !has_answered && self.ports[port].settings.has_candidates;
        if is_next_due {
            log::info!("{} does not answer AT; trying the next port", self.ports[port].facts.name);
            self.channels[port].forget_refusals();
            self.actions.push_back(Action::NextDevice(port));
        }
        let rung = match is_next_due {
            true => Rung::Port,
            false => self.ladder.strike(true, now),
        };
        if rung == Rung::Resync && self.settings.recovery == settings::Recovery::Resync {
            self.channels[port].begin_over(self.settings.baud, now + REOPEN_PAUSE);
            self.session_lost(Cut::Silent, SetupStep::Down, now);
            return self.session_failed(failure, false, now);
        }
        if rung == Rung::ResetCommand {
            self.say_rung(rung, now);
            self.actions.push_back(Action::RunResetCommand);
        }
        self.reopen(port, now);
        let is_any_open = self.channels.iter().any(Channel::is_open);
        match is_any_open {
            // Whether none of the candidates answers shows when there is no next one.
            _ if is_next_due => {}
            true => log::warn!("{failure}"),
            false => self.session_failed(failure, false, now),
        }
        if !is_any_open && self.releasing.is_some() {
            self.session_release(now);
        }
    }
}

/// What goes on sending what cannot be parsed, and has never answered.
fn no_modem(name: &str) -> Failure {
    let message = format!(
        "{name} sends what is not of a modem and does not answer: check that this is its AT port, and --baud"
    );
    Failure::new(Kind::ModemSilent, message)
}
