//! One AT conversation: a port, at most one command in flight, and the bytes that wait to leave.
//!
//! ```text
//!           port opened             answers                     CONNECT
//!  Closed ─────────────► Resync ───────────────► Command ───────────────► Data
//!    ▲                     ▲                        │ a command was silent   │ left data mode
//!    │ port lost           └────────────────────────┴────────────────────────┘
//! ```

mod deadline;
mod echo;
mod in_flight;
mod receiving;
pub mod resync;
pub mod stream;
pub mod wire_settings;

use std::time::{Duration, Instant};

use crate::at::{Command, Decoder, Expects, SocketId};
use crate::cmux::CHANNELS_MAX;
use crate::recorder::{Recorder, Side};
use deadline::{Deadline, LINE_BUSY_MAX};
pub use echo::Habit;
pub use in_flight::{Answer, CommandStage, InFlight, Origin, Patience, UserCommand};
pub use receiving::{Answered, ChannelEvent, EchoTaken};
use resync::{Resync, ResyncEffect};
use stream::{Ended, Left, Stream};
use wire_settings::WireSettings;

/// A channel: its state, what is in flight on it, and what waits for its port.
#[derive(Debug)]
pub struct Channel {
    /// Where in the diagram it is.
    state: ChannelState,
    /// Finds messages in what the port received.
    decoder: Decoder,
    /// The part of the answer that has arrived.
    answer: Answer,
    /// Where the payload that the decoder yields belongs.
    payload_for: Destination,
    line: Line,
    /// The line has carried at least this many bits per second.
    carried_baud: u32,
    /// The speed at which the modem last answered. A stream can be escaped only at that speed.
    answered_at: Option<u32>,
    wire: WireSettings,
    /// When a byte last came, or the port was opened.
    last_received: Instant,
    /// When bytes last came after a pause in which the module may have booted.
    pause_ended: Instant,
    /// How often in a row bytes came after such a pause that are no text, while nothing was asked.
    noises: u32,
    /// When a command last left.
    last_said: Instant,
    /// The send whose fate is settled when the channel answers again.
    unprompted: Option<Unprompted>,
    /// How often in a row `AT` was answered with an error.
    refusals: u32,
    /// How often in a row it answered only when its flow control was off.
    times_deaf: u32,
    /// The port was lost in data mode, or is in it unseen, and the modem has not answered since.
    was_stream: bool,
    /// Commands that were given up on it may still be answered.
    owes_answers: bool,
    /// The socket whose stream may still be active here: its end was seen, not confirmed.
    unconfirmed: Option<SocketId>,
    recorder: Recorder,
    /// Whether the modem echoes, as far as its echo cannot be switched off.
    habit: Habit,
    in_flight: Option<InFlight>,
    output: Vec<u8>,
    output_written: usize,
    /// Since when the port is deliberately not read.
    paused_since: Option<Instant>,
    /// When an announced payload whose next byte does not come is given up.
    payload_deadline: Option<Deadline>,
}

/// The line between the port and the modem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its speed in bit/s.
    pub baud: u32,
    /// It has a speed, which may not be the modem's.
    pub is_uart: bool,
    /// Bytes take time at that speed, which is not counted against the modem.
    pub is_paced: bool,
    /// Other channels have it too, by turns: a pause of one is none of the module, and a module that boots ends them all.
    pub is_shared: bool,
}

/// The state of a channel.
#[derive(Debug)]
pub enum ChannelState {
    /// Its port is not open.
    Closed,
    /// A resync brings the modem back to answering.
    Resync(Resync),
    /// It takes commands.
    Command,
    /// It is the stream of one socket.
    Data(Box<Stream>),
}

/// A send whose prompt did not come before a resync. None of its payload has left. A module that waits for the payload
/// all the same takes what the resync sends instead; nothing wrong reaches the server unless that fills the payload up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unprompted {
    /// The socket, whose bytes wait.
    socket: SocketId,
    /// How many more bytes such a module waits for.
    left: usize,
}

/// Whose payload it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    /// It is dropped: of a socket that is not open, or of an answer that came too late.
    Nobody,
    /// This socket's.
    Socket(SocketId),
    /// The answer's own, as in AT+QFDWL.
    Answer,
}

impl Channel {
    /// A channel whose port is not open.
    /// `recorder_bytes`: how much of its conversation it remembers.
    pub fn new(baud: u32, recorder_bytes: usize, now: Instant) -> Self {
        Channel {
            state: ChannelState::Closed,
            decoder: Decoder::new(),
            answer: Answer::default(),
            payload_for: Destination::Nobody,
            line: Line { baud, is_uart: false, is_paced: false, is_shared: false },
            carried_baud: 0,
            answered_at: None,
            wire: WireSettings::new(),
            last_received: now,
            pause_ended: now,
            noises: 0,
            last_said: now,
            unprompted: None,
            owes_answers: false,
            unconfirmed: None,
            recorder: Recorder::new(recorder_bytes),
            refusals: 0,
            times_deaf: 0,
            was_stream: false,
            habit: Habit::default(),
            in_flight: None,
            output: Vec::new(),
            output_written: 0,
            paused_since: None,
            payload_deadline: None,
        }
    }

    // Its state.

    /// Where in the diagram it is.
    pub fn state(&self) -> &ChannelState {
        &self.state
    }

    /// Whether the rest of announced payload has been away for so long that the module may have booted.
    pub fn payload_pauses(&self, now: Instant) -> bool {
        let is_announced = self.decoder.payload_left() > 0 && !self.decoder.is_inside_foreign();
        is_announced && self.may_have_booted_since(now)
    }

    /// Whether the module may have booted since it sent what came last: nothing has come for long, or that itself came
    /// at the end of a long pause, and may have been held in it. What answers a command is no older than that.
    fn may_have_booted_since(&self, now: Instant) -> bool {
        let is_answer = self.answer.received.is_some();
        if is_answer && now.saturating_duration_since(self.last_said) < PAUSE_MIN {
            return false;
        }
        let is_held = self.last_received.saturating_duration_since(self.pause_ended) < HELD_MAX;
        is_held || now.saturating_duration_since(self.last_received) >= PAUSE_MIN
    }

    /// Whether its port is open.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, ChannelState::Closed)
    }

    /// Whether it takes commands, one after the other.
    pub fn takes_commands(&self) -> bool {
        matches!(self.state, ChannelState::Command)
    }

    /// Whether the modem's words can come by it, URCs among them.
    pub fn speaks(&self) -> bool {
        matches!(self.state, ChannelState::Command | ChannelState::Resync(_))
    }

    /// The stream that it is.
    pub fn stream(&self) -> Option<&Stream> {
        match &self.state {
            ChannelState::Data(stream) => Some(stream),
            _ => None,
        }
    }

    /// The same, for what happens to it.
    pub fn stream_mut(&mut self) -> Option<&mut Stream> {
        match &mut self.state {
            ChannelState::Data(stream) => Some(stream),
            _ => None,
        }
    }

    /// The socket whose stream may still be active here.
    pub fn unconfirmed(&self) -> Option<SocketId> {
        self.unconfirmed
    }

    /// The line's speed in bit/s.
    pub fn baud(&self) -> u32 {
        self.line.baud
    }

    /// The speed that the line has at least, as seen so far, in bit/s.
    pub fn baud_at_least(&self) -> u32 {
        self.line.baud.max(self.carried_baud)
    }

    /// The speed that the modem answered at last, in bit/s.
    pub fn answered_at(&self) -> Option<u32> {
        self.answered_at
    }

    /// The settings of its wire format.
    pub fn wire(&self) -> &WireSettings {
        &self.wire
    }

    /// The same, for what comes of them.
    pub fn wire_mut(&mut self) -> &mut WireSettings {
        &mut self.wire
    }

    /// When a byte last came, or the port was opened.
    pub fn last_received(&self) -> Instant {
        self.last_received
    }

    /// How often in a row `AT` was answered with an error.
    pub fn refusals(&self) -> u32 {
        self.refusals
    }

    /// What passes, for logs and for finding out what went wrong.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The same, to be set up.
    pub fn recorder_mut(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// Whether the modem echoes.
    pub fn habit(&self) -> Habit {
        self.habit
    }

    /// The socket that payload is under way to.
    pub fn payload_for(&self) -> Option<SocketId> {
        match self.payload_for {
            Destination::Socket(id) => Some(id),
            Destination::Answer | Destination::Nobody => None,
        }
    }

    /// How much of announced payload has not come, in bytes.
    pub fn payload_left(&self) -> usize {
        self.decoder.payload_left()
    }

    // The transitions of the diagram.

    /// Its port is open: a resync begins, and then the wire settings are made.
    pub fn port_opened(&mut self, line: Line, now: Instant) {
        self.forget();
        self.last_received = now;
        self.line = line;
        self.carried_baud = 0;
        self.wire.begin_anew();
        self.begin_resync(now);
    }

    /// It was one of several channels of a line, and is opened anew: whatever stream it was, it takes commands.
    pub fn forget_stream(&mut self) {
        self.was_stream = false;
    }

    /// More has become known of its line.
    pub fn line_changed(&mut self, is_uart: bool, is_paced: bool) {
        self.line = Line { is_uart, is_paced, ..self.line };
    }

    /// Its port is closed. Returns the command that was in flight.
    pub fn port_closed(&mut self) -> Option<InFlight> {
        let in_flight = self.forget();
        self.was_stream |= self.stream().is_some();
        self.state = ChannelState::Closed;
        in_flight
    }

    /// It did not answer, or sent what cannot be framed: a resync begins. What the modem still sends keeps its framing,
    /// unless that is what has been lost (`unframed`). Returns the command that was in flight.
    pub fn bring_back(&mut self, unframed: bool, now: Instant) -> Option<InFlight> {
        let in_flight = if unframed { self.forget() } else { self.abandon() };
        self.begin_resync(now);
        in_flight
    }

    /// It may be in data mode, although no `CONNECT` was seen: a resync begins with the escape.
    pub fn leave_unseen_stream(&mut self, now: Instant) {
        self.was_stream = true;
        self.begin_resync(now);
    }

    /// The modem has rebooted: it has forgotten its settings and what it was asked. Returns the command that was in
    /// flight.
    pub fn rebooted(&mut self, now: Instant) -> Option<InFlight> {
        self.was_stream = false;
        let in_flight = self.forget();
        self.owes_answers = false;
        self.wire.begin_anew();
        // `RDY` was readable, so the speed is right.
        self.begin_resync(now);
        in_flight
    }

    /// The resync failed, and the port stays open: the next one begins at `at`, at this speed.
    pub fn begin_over(&mut self, baud: u32, at: Instant) {
        let resync = Resync::new(self.line.is_uart, baud, true, at);
        self.state = ChannelState::Resync(resync.after_refusals(self.refusals));
    }

    /// Whether a modem has answered here since the port was opened.
    pub fn has_answered(&self) -> bool {
        self.answered_at.is_some()
    }

    /// Its port is opened anew, perhaps with another device: forgets the modem. Returns whether it had answered.
    pub fn forget_modem(&mut self) -> bool {
        self.answered_at.take().is_some()
    }

    /// Another device is tried.
    pub fn forget_refusals(&mut self) {
        self.refusals = 0;
    }

    /// The modem goes on at another speed, as it was set.
    pub fn speed_set(&mut self, baud: u32, now: Instant) {
        self.line.baud = baud;
        self.wire.all_made();
        self.begin_resync(now);
    }

    /// The modem is looked for at this speed.
    pub fn set_baud(&mut self, baud: u32) {
        self.line.baud = baud;
    }

    /// What the resync has to do now.
    pub fn resync_due(&mut self, now: Instant) -> ResyncEffect {
        let baud = self.line.baud;
        let ChannelState::Resync(resync) = &mut self.state else { return ResyncEffect::Wait };
        if resync.deadline() > now {
            return ResyncEffect::Wait;
        }
        let next = resync.deadline_passed(now, |count| wire_time(count, baud));
        self.refusals = resync.refusals();
        next
    }

    /// The modem answers at this speed. Returns whether it had another speed before, which shows that it has rebooted.
    pub fn answers(&mut self, baud: u32) -> bool {
        self.line.baud = baud;
        self.was_stream = false;
        self.refusals = 0;
        self.unconfirmed = None;
        self.owes_answers = false;
        let before = self.answered_at.replace(baud);
        // Its settings may have been under way when it rebooted.
        let had_speed = before.is_some() || self.wire.are_made();
        // It may have rebooted without a message during the resync: echo is on then, and flow control off.
        self.wire.go_on();
        self.state = ChannelState::Command;
        had_speed && before != Some(baud)
    }

    /// `CONNECT`: the channel is this stream from now on.
    pub fn becomes(&mut self, stream: Stream) {
        self.decoder.reset();
        self.state = ChannelState::Data(Box::new(stream));
    }

    /// The modem has answered the escape: the channel takes commands again. A channel whose stream was no
    /// longer wanted had been given up, and its resync goes on.
    pub fn leave_stream(&mut self, now: Instant) -> Option<Left> {
        let left = self.stream_mut()?.take_left();
        self.decoder.reset();
        match left.socket {
            Some(_) => self.state = ChannelState::Command,
            None => self.begin_resync(now),
        }
        Some(left)
    }

    /// The stream is over, as far as can be known. `owes_answers`: the escapes may be answered yet.
    pub fn stream_is_over(&mut self, owes_answers: bool, now: Instant) -> Option<Ended> {
        let ended = self.stream_mut()?.take_ended();
        self.owes_answers |= owes_answers;
        self.decoder.reset();
        self.begin_resync(now);
        Some(ended)
    }

    /// It is uncertain whether the stream of this socket is over.
    pub fn leaves_unconfirmed(&mut self, id: SocketId) {
        self.unconfirmed = Some(id);
    }

    /// That is certain now, or settled in another way.
    pub fn take_unconfirmed(&mut self) -> Option<SocketId> {
        self.unconfirmed.take()
    }

    /// A resync begins, at the present speed.
    fn begin_resync(&mut self, now: Instant) {
        let Line { is_uart, baud, .. } = self.line;
        let resync = match self.was_stream {
            true => Resync::in_data_mode(is_uart, baud, now),
            false => Resync::new(is_uart, baud, self.owes_answers, now),
        };
        self.state = ChannelState::Resync(resync.after_refusals(self.refusals));
    }

    /// Whether what cannot be parsed has come in this resync, before any answer.
    pub fn has_leftovers(&self) -> bool {
        matches!(&self.state, ChannelState::Resync(resync) if resync.has_leftovers())
    }

    /// What cannot be parsed has come. If the modem has answered nothing since its port was opened, that is the rest of
    /// payload from before, or noise, and returned is whether it is the first of it.
    pub fn leftovers_came(&mut self) -> Option<bool> {
        match &mut self.state {
            ChannelState::Resync(resync) if self.wire.are_to_come() => Some(resync.leftovers_came()),
            _ => None,
        }
    }

    // Commands and their answers.

    /// Whether a command may be sent now: nothing is in flight, and nothing waits to leave.
    pub fn is_idle(&self) -> bool {
        self.takes_commands() && self.in_flight.is_none() && self.output.is_empty()
    }

    /// Whether only noise comes: the module may have rebooted, and have another speed.
    pub fn hears_noise(&self) -> bool {
        self.noises >= NOISES_MAX
    }

    /// Whether a module that sleeps when its line is quiet may sleep now: it loses the command that wakes it.
    pub fn may_be_asleep(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_received.max(self.last_said)) >= AWAKE_MIN
    }

    /// Since when an answer is awaited that comes within `usual`, or nothing is known of a modem that has answered before.
    /// What was read since then does not count.
    pub fn asked_since(&self, usual: Duration) -> Option<Instant> {
        let is_asked = match &self.state {
            ChannelState::Resync(_) => self.has_answered(),
            ChannelState::Command => {
                let is_soon = |it: &InFlight| it.command.patience(usual) <= usual;
                self.paused_since.is_none() && self.in_flight.as_ref().is_some_and(is_soon)
            }
            ChannelState::Closed | ChannelState::Data(_) => false,
        };
        is_asked.then_some(self.last_said)
    }

    /// The command in flight.
    pub fn in_flight(&self) -> Option<&InFlight> {
        self.in_flight.as_ref()
    }

    /// Whether the command in flight is of this kind.
    pub fn is_asking(&self, what: impl Fn(&Command) -> bool) -> bool {
        self.in_flight.as_ref().is_some_and(|it| what(&it.command))
    }

    /// Whether the command in flight was sent for such a purpose.
    pub fn is_asking_for(&self, origin: impl Fn(Origin) -> bool) -> bool {
        self.in_flight.as_ref().is_some_and(|it| origin(it.origin))
    }

    /// The modem has answered a command, with flow control if that is on.
    pub fn flow_control_works(&mut self) {
        self.times_deaf = 0;
    }

    /// The modem has answered when its flow control was switched off. Returns whether that has happened too often to be
    /// chance: a modem that was only slow answers again with flow control.
    pub fn seems_deaf(&mut self) -> bool {
        self.times_deaf = self.times_deaf.saturating_add(1);
        self.times_deaf >= TIMES_DEAF_MAX
    }

    /// Sends `command`.
    pub fn start(&mut self, command: Command, origin: Origin, patience: Patience, now: Instant) {
        assert!(self.in_flight.is_none(), "one command in flight per channel");
        self.recorder.line(Side::Host, &command, now);
        command.encode(&mut self.output);
        self.decoder.expect_echo(self.output.trim_ascii_end());
        if command.expects() == Expects::Prompt {
            self.decoder.expect_prompt(true);
        }
        self.answer = Answer { has_gaps: self.decoder.is_inside_foreign(), ..Answer::default() };
        let (may_have_woken, wire_time) = (self.may_be_asleep(now), self.wire_time(self.output.len()));
        self.in_flight = Some(InFlight::new(command, origin, patience, may_have_woken, wire_time, now));
        self.last_said = now;
    }

    /// Sends bytes that are no command: filler, an escape, an `AT` that wakes.
    pub fn send_raw(&mut self, bytes: &[u8], now: Instant) {
        let line = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        match std::str::from_utf8(line) {
            Ok(line) if line.bytes().all(|byte| byte.is_ascii_graphic()) => {
                self.recorder.line(Side::Host, line, now);
            }
            _ => self.recorder.payload(Side::Host, bytes, 0, now),
        }
        self.decoder.expect_echo(line);
        self.output.extend_from_slice(bytes);
    }

    /// What waits for the port. `outgoing`: what a socket has to send.
    pub fn output<'a>(&'a self, outgoing: impl Fn(SocketId) -> &'a [u8]) -> &'a [u8] {
        if !self.output.is_empty() {
            return &self.output[self.output_written..];
        }
        match (&self.state, &self.in_flight) {
            (ChannelState::Data(stream), _) => stream.output(stream.socket().map_or(&[], outgoing)),
            (_, Some(in_flight)) => in_flight.payload_left(outgoing),
            (_, None) => &[],
        }
    }

    /// The port took `count` bytes of what [`Channel::output`] showed. Returns the socket whose stream they belong to.
    pub fn written<'a>(
        &mut self,
        count: usize,
        outgoing: impl Fn(SocketId) -> &'a [u8],
        now: Instant,
    ) -> Option<SocketId> {
        if !self.output.is_empty() {
            self.output_written += count;
            if self.output_written == self.output.len() {
                self.output.clear();
                self.output_written = 0;
            }
        } else if let ChannelState::Data(stream) = &mut self.state {
            let id = stream.socket()?;
            let bytes = &outgoing(id)[..count];
            let baud = stream.line_baud().unwrap_or(self.line.baud);
            self.recorder.payload(Side::Host, bytes, 0, now);
            stream.sent(bytes, now, wire_time(count, baud));
            return Some(id);
        } else if let Some(in_flight) = &self.in_flight
            && let CommandStage::Payload(sent) = in_flight.stage()
        {
            let length = in_flight.command.payload_length();
            match &in_flight.command {
                Command::Send { socket, .. } => {
                    let bytes = &outgoing(*socket)[sent..sent + count];
                    self.recorder.payload(Side::Host, bytes, length - sent - count, now);
                }
                _ => self.recorder.file(Side::Host, count, length - sent - count, now),
            }
            let wire_time = self.wire_time(length);
            if let Some(in_flight) = &mut self.in_flight {
                in_flight.payload_written(count, wire_time, now);
            }
        }
        None
    }

    /// The prompt was seen: the payload is due.
    fn prompted(&mut self, now: Instant) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.prompted(now);
        }
    }

    /// Gives up the command in flight without an answer: the rest of it is not sent, and its payload is no longer
    /// taken.
    fn abandon(&mut self) -> Option<InFlight> {
        self.output.clear();
        self.output_written = 0;
        self.payload_for = Destination::Nobody;
        let has_asked = matches!(&self.state, ChannelState::Resync(resync) if resync.has_asked());
        self.owes_answers |= has_asked || self.in_flight.is_some();
        self.decoder.expect_prompt(false);
        self.in_flight.take()
    }

    /// The prompt of this send did not come. When the channel answers, it shows whether the send was received. A module
    /// that waits for the payload all the same waits for `length` bytes.
    pub fn leaves_unprompted(&mut self, socket: SocketId, length: usize) {
        self.unprompted = Some(Unprompted { socket, left: length });
        self.decoder.expect_prompt(true);
    }

    /// The send whose prompt did not come is settled now.
    pub fn take_unprompted(&mut self) -> Option<SocketId> {
        let Unprompted { socket, .. } = self.unprompted.take()?;
        self.decoder.expect_prompt(false);
        Some(socket)
    }

    /// `count` bytes, or an unknown number, are about to be sent that a module may take for the payload of a send.
    /// Returns whether they could fill it up.
    pub fn may_fill(&mut self, count: Option<usize>) -> bool {
        let Some(unprompted) = &mut self.unprompted else { return false };
        match count.and_then(|count| unprompted.left.checked_sub(count)) {
            Some(left @ 1..) => {
                unprompted.left = left;
                false
            }
            _ => true,
        }
    }

    /// Whether an announced payload has not come in time.
    pub fn payload_overdue(&self, now: Instant) -> bool {
        self.payload_deadline.is_some_and(|deadline| deadline.due() <= now)
    }

    /// Whether payload that was announced has not all come.
    pub fn awaits_payload(&self) -> bool {
        self.payload_deadline.is_some()
    }

    /// So many bytes of payload are announced.
    fn announced(&mut self, length: usize, now: Instant) {
        let delay_max = LINE_BUSY_MAX + 2 * self.wire_time(length);
        self.payload_deadline = Some(Deadline::new(PAYLOAD_WAIT, delay_max, now));
    }

    /// Whether what comes is taken for a text of another program.
    pub fn is_inside_text(&self) -> bool {
        self.decoder.is_inside_text()
    }

    /// Gives up the rest of another program's text that has not come in time: what comes next is ours. Returns whether
    /// there was such a text.
    pub fn give_up_foreign(&mut self, now: Instant) -> bool {
        let is_given_up = self.payload_overdue(now) && self.decoder.give_up_foreign();
        if is_given_up {
            self.payload_deadline = None;
        }
        is_given_up
    }

    /// Payload after a pause that could have been the beginning of what a module sends that has booted, and
    /// was not. Whether there is some.
    pub fn settle_late_payload(&mut self, now: Instant) -> bool {
        let is_settled = self.payload_overdue(now) && self.decoder.settle_late_payload();
        if is_settled {
            self.payload_deadline = None;
        }
        is_settled
    }

    /// Gives up a payload whose rest does not come: it would hide the answer to the next question. Returns the socket
    /// that it was for. Half a line hides nothing: an answer begins with a line end, and the line may go on.
    pub fn drop_half_payload(&mut self, now: Instant) -> Option<SocketId> {
        let is_awaited = self.decoder.payload_left() > 0 || self.decoder.is_inside_foreign();
        if !is_awaited || self.last_received + PAYLOAD_PAUSE_MAX > now {
            return None;
        }
        self.decoder.reset();
        self.payload_deadline = None;
        let socket = self.payload_for();
        self.payload_for = Destination::Nobody;
        socket
    }

    /// The data session is lost: the number of the socket whose stream this is, or may be, goes to another client, while
    /// the stream may still have to be left.
    pub fn disown(&mut self) {
        self.unconfirmed = None;
        if let ChannelState::Data(data) = &mut self.state {
            data.disown();
        }
    }

    /// Forgets everything that was under way, as when the port is lost.
    pub fn forget(&mut self) -> Option<InFlight> {
        self.decoder.reset();
        self.payload_deadline = None;
        self.paused_since = None;
        self.unconfirmed = None;
        self.abandon()
    }

    /// Bytes have arrived, and are about to be decoded. After a pause in announced payload its rest may come, or what a
    /// module sends that has booted, in frames of no channel if there are several; until then no answer could come.
    pub fn bytes_come(&mut self, now: Instant) {
        let pause = now.saturating_duration_since(self.last_received);
        if self.line.is_uart && self.is_idle() && pause >= PAUSE_MIN && self.payload_deadline.is_none() {
            // Until they turn out to be text.
            self.noises = self.noises.saturating_add(1);
        }
        if self.may_have_booted_since(now) && self.payload_deadline.is_some() {
            if !self.line.is_shared {
                self.decoder.resumes();
            }
            if let Some(in_flight) = &mut self.in_flight {
                in_flight.deadline.line_was_busy(pause, now);
            }
        }
    }

    /// Bytes have come that are not a stream's: a resync waits until none do.
    pub fn words_come(&mut self, now: Instant) {
        if let ChannelState::Resync(resync) = &mut self.state {
            resync.bytes_received(now);
        }
    }

    /// Bytes have arrived: what they took of the line's time is not counted against the modem.
    pub fn bytes_taken(&mut self, count: usize, now: Instant) {
        let pause = now.saturating_duration_since(self.last_received);
        self.last_received = now;
        if pause >= PAUSE_MIN {
            self.pause_ended = now;
        }
        if self.line.is_paced {
            // An answer waits after what its own channel has to send, and each of the others has its turn meanwhile.
            let turns = if self.line.is_shared { CHANNELS_MAX as u32 } else { 1 };
            let line_time = self.wire_time(count) * turns;
            if let Some(in_flight) = &mut self.in_flight {
                in_flight.deadline.line_was_busy(line_time, now);
            }
            if let ChannelState::Resync(resync) = &mut self.state {
                resync.line_was_busy(line_time.min(pause));
            }
        }
        let is_announced = self.decoder.payload_left() > 0 || self.decoder.is_inside_header();
        if self.decoder.is_inside_foreign() {
            let wait = match self.decoder.foreign_may_be_over() {
                true => FOREIGN_TEXT_PAUSE,
                false => FOREIGN_WAIT,
            };
            self.payload_deadline = Some(Deadline::new(wait, LINE_BUSY_MAX, now));
            return;
        }
        if self.decoder.late_payload_is_open() {
            self.payload_deadline = Some(Deadline::new(BOOT_WORDS_WAIT, LINE_BUSY_MAX, now));
            return;
        }
        match &mut self.payload_deadline {
            Some(deadline) if is_announced => deadline.renew(PAYLOAD_WAIT, now),
            None if is_announced => self.announced(0, now),
            deadline => *deadline = None,
        }
    }

    /// The port is, or is no longer, deliberately left unread; deadlines do not run meanwhile.
    pub fn set_paused(&mut self, paused: bool, now: Instant) {
        match (paused, self.paused_since) {
            (true, None) => self.paused_since = Some(now),
            (false, Some(since)) => {
                let pause = now.saturating_duration_since(since);
                if let Some(in_flight) = &mut self.in_flight {
                    in_flight.deadline.stood_still(pause);
                }
                if let Some(deadline) = &mut self.payload_deadline {
                    deadline.stood_still(pause);
                }
                self.paused_since = None;
            }
            _ => {}
        }
    }

    /// When the command in flight, or an unfinished payload, counts as silent.
    pub fn deadline(&self) -> Option<Instant> {
        if self.paused_since.is_some() {
            return None;
        }
        let in_flight = self.in_flight.as_ref().map(|in_flight| match &self.payload_deadline {
            // No answer can come before the rest of the payload.
            Some(_) => in_flight.deadline.latest(),
            None => in_flight.deadline.due(),
        });
        in_flight.into_iter().chain(self.payload_deadline.map(|deadline| deadline.due())).min()
    }

    /// How long `count` bytes take on the line.
    pub fn wire_time(&self, count: usize) -> Duration {
        wire_time(count, self.line.baud)
    }
}

/// How long `count` bytes take at `baud` bit/s.
fn wire_time(count: usize, baud: u32) -> Duration {
    Duration::from_micros(count as u64 * 10_000_000 / u64::from(baud.max(1)))
}

/// After this many times it is not chance.
const TIMES_DEAF_MAX: u32 = 2;

/// A payload without a byte for this long does not hold up the question whether the modem answers.
const PAYLOAD_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long nothing must come after a line of text that another program has the modem send, for the text to
/// be over: a module sends it without a pause.
const FOREIGN_TEXT_PAUSE: Duration = Duration::from_millis(500);

/// How long we wait for the next byte of what another program has the modem send: nothing is lost with it but
/// an answer that it hides.
const FOREIGN_WAIT: Duration = Duration::from_millis(2_500);

/// What we wait for the next byte of an announced payload, or of what announces it: device servers and their networks
/// make pauses of several seconds.
const PAYLOAD_WAIT: Duration = Duration::from_secs(15);

/// A module does not sleep sooner: AT+QSCLK=1 takes 5 s.
const AWAKE_MIN: Duration = Duration::from_secs(4);

/// How often in a row noise comes on a quiet line before the module is asked whether it answers.
const NOISES_MAX: u32 = 3;

/// In a shorter pause no module has booted.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// What was held in a pause comes within this time once it is over.
const HELD_MAX: Duration = Duration::from_millis(100);

/// The rest of what a module sends that has booted follows its first bytes within this time.
const BOOT_WORDS_WAIT: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
