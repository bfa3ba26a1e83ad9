//! One AT conversation: a port, at most one command in flight, and the bytes that wait to leave.
//!
//! ```text
//!           port opened             answers                     CONNECT
//!  Closed ─────────────► Resync ───────────────► Command ───────────────► Data
//!    ▲                     ▲                        │ a command was silent   │ left data mode
//!    │ port lost           └────────────────────────┴────────────────────────┘
//! ```

mod deadline;
pub mod echo;
pub mod resync;
pub mod stream;

use std::time::{Duration, Instant};

use crate::at::{Command, Decoder, Expects, Outcome, SocketId};
use crate::recorder::{Recorder, Side};
use deadline::Deadline;
use echo::{Echo, Habit};
use resync::Resync;
use stream::Stream;

/// A channel: how it stands, what is in flight on it, and what waits for its port.
#[derive(Debug)]
pub struct Channel {
    /// Where in the diagram it is.
    pub state: ChannelState,
    /// Finds messages in what the port received.
    pub decoder: Decoder,
    /// The part of the answer that has arrived.
    pub answer: Answer,
    /// Where the payload that the decoder yields belongs.
    pub payload_for: Destination,
    /// The line's speed in bit/s.
    pub baud: u32,
    /// Bytes take time at that speed, which is not counted against the modem.
    pub is_paced: bool,
    /// The line was seen to carry so many bits per second at least.
    pub carried_baud: u32,
    /// The speed that the modem answered at last: carrying a stream, it can be escaped only there.
    pub answered_at: Option<u32>,
    /// The wire settings that must still be made on this channel, by their place in the list; `None` once
    /// all are made.
    pub wire_step: Option<usize>,
    /// When a byte last came, or the port was opened.
    pub last_heard: Instant,
    /// When a command last left.
    last_said: Instant,
    /// The send whose fate is settled when the channel answers again.
    pub unprompted: Option<Unprompted>,
    /// How often in a row `AT` was answered with an error.
    pub refusals: u32,
    /// How often in a row it answered only when its flow control was off.
    pub times_deaf: u32,
    /// Wire settings that were not answered since they last were, by their place in the list.
    pub wire_unanswered: [u32; WIRE_SETTINGS_MAX],
    /// The port was lost in data mode, and the modem has not answered since.
    pub was_stream: bool,
    /// What was given up on it may still be answered.
    pub owes_answers: bool,
    /// In data mode: the LF that ends `CONNECT` has not come yet.
    pub line_feed_due: bool,
    /// The stream that it carried, until it is certain whether it does no longer.
    pub unconfirmed: Option<SocketId>,
    /// What passes, for logs and for whoever has to find out what went wrong.
    pub recorder: Recorder,
    /// Whether the modem echoes, as far as its echo cannot be switched off.
    pub habit: Habit,
    pub(super) in_flight: Option<InFlight>,
    output: Vec<u8>,
    output_written: usize,
    /// Since when the port is deliberately not read.
    paused_since: Option<Instant>,
    /// When an announced payload whose next byte does not come is given up.
    payload_deadline: Option<Deadline>,
}

/// What a channel is good for at the moment.
#[derive(Debug)]
pub enum ChannelState {
    /// Its port is not open.
    Closed,
    /// It is being brought to answer.
    Resync(Resync),
    /// It takes commands.
    Command,
    /// It is the stream of one socket.
    Data(Box<Stream>),
}

/// The command that was sent and not yet answered.
#[derive(Debug)]
pub struct InFlight {
    /// The command.
    pub command: Command,
    /// Who wants its answer.
    pub origin: Origin,
    /// How far it is.
    pub stage: Stage,
    /// The command line has come back, and so much of its payload.
    pub echo: Option<Echo>,
    /// The line had been quiet: a module that slept may have woken by it, and lost it.
    pub may_have_woken: bool,
    patience: Patience,
    /// When it counts as silent.
    deadline: Deadline,
}

/// What answers may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// `--command-timeout`
    pub usual: Duration,
    /// `--send-timeout`: SEND OK once the payload has left.
    pub send: Duration,
}

/// A send whose prompt did not come, on a channel that is being brought back: nothing of it has left, and as long as
/// what is said there cannot fill it up, nothing wrong has either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprompted {
    /// The socket, whose bytes wait.
    pub socket: SocketId,
    /// A module that waits for the payload all the same waits for so many more bytes.
    pub left: usize,
}

/// Names a command that came from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserCommand(pub u64);

/// Who wants the answer of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The channel's own wire settings.
    Wire,
    /// The set-up of the data session.
    Session,
    /// The settings of an SSL context, by its place in the list.
    Context(usize),
    /// The question whether the data session stands.
    Judge,
    /// The question why the open of this socket was refused.
    Reason(SocketId),
    /// The socket that the command names.
    Socket,
    /// Nobody: it only shows that the modem still answers.
    Liveness,
    /// The recovery ladder: AT+CFUN=1,1.
    Reboot,
    /// Somebody outside.
    User(UserCommand),
}

impl InFlight {
    /// How much of the payload of a send has left.
    pub fn payload_sent(&self) -> usize {
        match (self.stage, &self.command) {
            (Stage::Payload(sent), Command::Send { .. }) => sent,
            (Stage::AfterPayload, Command::Send { length, .. }) => *length,
            _ => 0,
        }
    }

    /// Whether some of it may still come back.
    pub fn owes_echo(&self) -> bool {
        self.echo.is_some_and(|echo| echo.back() < self.payload_sent())
    }

    /// Whether this line of the modem may repeat a secret of the command.
    pub fn is_secret(&self) -> bool {
        matches!(&self.command, Command::Line(line) if line.secret)
    }
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its final result is awaited.
    Result,
    /// The prompt, or the `CONNECT` of an upload, is awaited: no payload has left.
    Prompt,
    /// The payload is leaving; so many bytes of it have.
    Payload(usize),
    /// The whole payload has left.
    AfterPayload,
}

/// The information lines of an answer, and what came with it.
#[derive(Debug, Default)]
pub struct Answer {
    /// Information lines that belong to the command, at most [`ANSWER_LINES_MAX`].
    pub lines: Vec<String>,
    /// The length in the `+QSSLRECV` header.
    pub received: Option<usize>,
    /// A header came that does not fit the read: another one, or more than was asked for.
    pub contradicts: bool,
    /// The bytes of a downloaded file.
    pub file: Vec<u8>,
    /// A `recv` URC for the socket being read came while the read was under way.
    pub receivable_again: bool,
    /// A text of another program came meanwhile or before, whose end nothing tells: lines of the answer may be missing.
    pub has_gaps: bool,
}

impl Answer {
    /// Adds a line, if it belongs to the answer of the command in flight.
    pub fn take_line(&mut self, in_flight: Option<&InFlight>, line: &str) -> bool {
        let belongs = in_flight.is_some_and(|it| {
            // AT+GSN and its like answer with a bare line.
            let bare = matches!(it.command, Command::Line(_)) && !line.starts_with('+');
            bare || line.starts_with(it.command.answer_prefix())
        });
        if belongs && self.lines.len() < ANSWER_LINES_MAX {
            self.lines.push(line.to_owned());
        }
        belongs
    }
}

/// Whose payload it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Nobody's: of a socket that is not open, or of an answer that came too late.
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
            baud,
            is_paced: false,
            carried_baud: 0,
            answered_at: None,
            wire_step: Some(0),
            last_heard: now,
            last_said: now,
            unprompted: None,
            owes_answers: false,
            line_feed_due: false,
            unconfirmed: None,
            recorder: Recorder::new(recorder_bytes),
            refusals: 0,
            times_deaf: 0,
            wire_unanswered: [0; WIRE_SETTINGS_MAX],
            was_stream: false,
            habit: Habit::default(),
            in_flight: None,
            output: Vec::new(),
            output_written: 0,
            paused_since: None,
            payload_deadline: None,
        }
    }

    /// Whether a command may be sent now: nothing is in flight, nothing waits to leave, no message is half
    /// received that would hide the answer's beginning.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, ChannelState::Command) && self.in_flight.is_none() && self.output.is_empty()
    }

    /// Whether its port is open.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, ChannelState::Closed)
    }

    /// Whether a module that sleeps when its line is quiet may sleep now: it loses the command that wakes it.
    pub fn may_be_asleep(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_heard.max(self.last_said)) >= AWAKE_MIN
    }

    /// When the last command left.
    pub fn last_said(&self) -> Instant {
        self.last_said
    }

    /// The command in flight.
    pub fn in_flight(&self) -> Option<&InFlight> {
        self.in_flight.as_ref()
    }

    /// Sends `command`.
    pub fn start(&mut self, command: Command, origin: Origin, patience: Patience, now: Instant) {
        assert!(self.in_flight.is_none(), "one command in flight per channel");
        self.recorder.line(Side::Host, &command, now);
        command.encode(&mut self.output);
        self.decoder.expect_echo(self.output.trim_ascii_end());
        let stage = match command.expects() {
            Expects::Prompt => {
                self.decoder.expect_prompt(true);
                Stage::Prompt
            }
            Expects::ConnectThenUpload | Expects::ConnectThenDownload(_) => Stage::Prompt,
            Expects::Result | Expects::ConnectThenData => Stage::Result,
        };
        self.answer.lines.clear();
        self.answer.file.clear();
        self.answer.received = None;
        self.answer.contradicts = false;
        self.answer.receivable_again = false;
        self.answer.has_gaps = self.decoder.is_inside_foreign();
        let wait = command.patience(patience.usual) + self.wire_time(self.output.len());
        let deadline = Deadline::new(wait, LINE_BUSY_MAX, now);
        let may_have_woken = self.may_be_asleep(now);
        self.in_flight =
            Some(InFlight { command, origin, stage, echo: None, patience, may_have_woken, deadline });
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

    /// Command bytes that wait for the port.
    pub fn output(&self) -> &[u8] {
        &self.output[self.output_written..]
    }

    /// The port took `count` bytes of what [`Channel::output`] showed.
    pub fn output_written(&mut self, count: usize) {
        self.output_written += count;
        if self.output_written == self.output.len() {
            self.output.clear();
            self.output_written = 0;
        }
    }

    /// The prompt was seen: the payload is due.
    pub fn prompted(&mut self, now: Instant) {
        if let Some(in_flight) = &mut self.in_flight
            && in_flight.stage == Stage::Prompt
        {
            in_flight.stage = Stage::Payload(0);
            in_flight.deadline =
                Deadline::new(in_flight.command.patience(in_flight.patience.usual), LINE_BUSY_MAX, now);
        }
    }

    /// The port took `count` bytes of payload, of `length` in all.
    pub fn payload_written(&mut self, count: usize, length: usize, now: Instant) {
        let wire_time = self.wire_time(length);
        if let Some(in_flight) = &mut self.in_flight
            && let Stage::Payload(sent) = in_flight.stage
        {
            let all_sent = sent + count;
            debug_assert!(all_sent <= length, "no more than announced");
            let wait = wire_time
                + match in_flight.command {
                    Command::Send { .. } => in_flight.patience.send,
                    _ => in_flight.command.patience(in_flight.patience.usual),
                };
            if all_sent == length {
                in_flight.stage = Stage::AfterPayload;
                in_flight.deadline = Deadline::new(wait, LINE_BUSY_MAX, now);
            } else {
                if sent == 0 {
                    in_flight.deadline = Deadline::new(wait, LINE_BUSY_MAX + wire_time, now);
                }
                in_flight.stage = Stage::Payload(all_sent);
                in_flight.deadline.renew(wait, now);
            }
        }
    }

    /// A final result arrived. `Some` if it ends the command in flight, which is then no longer in flight.
    pub fn concluded(&mut self, result: Outcome) -> Option<(InFlight, Outcome)> {
        let in_flight = self.in_flight.as_ref()?;
        let expects = in_flight.command.expects();
        let payload_left = in_flight.stage == Stage::AfterPayload;
        let ends = match (&result, expects) {
            (Outcome::Refused(_), _) => true,
            (Outcome::SendOk, Expects::Prompt) => payload_left,
            (Outcome::SendFail, Expects::Prompt) => true,
            (Outcome::Ok, Expects::Result) => true,
            (Outcome::Ok, Expects::ConnectThenUpload | Expects::ConnectThenDownload(_)) => payload_left,
            (Outcome::Connect | Outcome::NoCarrier, Expects::ConnectThenData) => true,
            // Some modules say OK before the CONNECT of a transparent open; anything else here answers
            // something that nobody asked.
            _ => false,
        };
        if !ends {
            log::debug!(target: "at", "ignored a result that ends nothing: {result:?}");
            return None;
        }
        self.decoder.expect_prompt(false);
        self.in_flight.take().map(|in_flight| (in_flight, result))
    }

    /// The answer to the command in flight is there. Its bytes did not exist before the command was sent, so the line
    /// has carried them since then.
    pub fn answer_is_whole(&mut self, now: Instant) {
        if self.in_flight.is_none() || self.owes_answers {
            return;
        }
        let lines: usize = self.answer.lines.iter().map(String::len).sum();
        let bits = 10 * (lines + self.answer.file.len()) as u128;
        let micros = now.saturating_duration_since(self.last_said).as_micros().max(1);
        let baud = u32::try_from(bits * 1_000_000 / micros).unwrap_or(u32::MAX);
        self.carried_baud = self.carried_baud.max(baud);
    }

    /// A command came back.
    pub fn echoed(&mut self) {
        if let Some(in_flight) = &mut self.in_flight
            && in_flight.echo.is_none()
        {
            in_flight.echo = Some(Echo::default());
            self.habit.command_came_back();
        }
    }

    /// Whether the payload in flight may come back.
    pub fn may_echo_payload(&self) -> bool {
        matches!(self.habit, Habit::Unknown | Habit::Payload) && !self.decoder.is_inside_message()
    }

    /// What `input` begins with, beside the payload in flight, which is the beginning of `outgoing`.
    pub fn take_echo(&mut self, outgoing: &[u8], input: &[u8]) -> echo::Next {
        let Some(in_flight) = &mut self.in_flight else { return echo::Next::Words };
        let sent = in_flight.payload_sent();
        let echo = in_flight.echo.as_mut().filter(|_| !input.is_empty());
        echo.map_or(echo::Next::Words, |echo| echo.take(&outgoing[..sent], input))
    }

    /// Skips a byte before what is still to come back, if it belongs to no line. Whether there was one.
    pub fn skip_before_echo(&mut self, input: &mut &[u8]) -> bool {
        let Some(&first) = input.first() else { return false };
        let is_skipped = self.owes_echo() && self.decoder.skip_before_echo(input);
        if let (true, Some(InFlight { echo: Some(echo), .. })) = (is_skipped, &mut self.in_flight) {
            echo.skipped(first);
        }
        is_skipped
    }

    /// Whether more of the payload in flight is still to come back: whoever does not know what it is takes it for the
    /// modem's words.
    pub fn owes_echo(&self) -> bool {
        self.habit != Habit::CommandsOnly && self.in_flight.as_ref().is_some_and(InFlight::owes_echo)
    }

    /// `CONNECT` of a file command arrived.
    pub fn connected(&mut self, now: Instant) -> bool {
        let Some(in_flight) = &mut self.in_flight else { return false };
        if in_flight.stage != Stage::Prompt {
            return false;
        }
        match in_flight.command.expects() {
            Expects::ConnectThenUpload => {
                self.prompted(now);
                true
            }
            Expects::ConnectThenDownload(size) => {
                in_flight.stage = Stage::AfterPayload;
                self.payload_for = Destination::Answer;
                self.decoder.expect_raw(size);
                self.announced(size, now);
                true
            }
            _ => false,
        }
    }

    /// Takes the command in flight away without an answer.
    pub fn abandon(&mut self) -> Option<InFlight> {
        let has_asked = matches!(&self.state, ChannelState::Resync(resync) if resync.has_asked());
        self.owes_answers |= has_asked || self.in_flight.is_some();
        self.decoder.expect_prompt(false);
        self.in_flight.take()
    }

    /// Gives up what was under way, to be brought to answer anew. What the modem still says keeps its
    /// framing, unless that is what has been lost.
    pub fn give_up(&mut self, unframed: bool) -> Option<InFlight> {
        if unframed {
            return self.forget();
        }
        self.output.clear();
        self.output_written = 0;
        self.payload_for = Destination::Nobody;
        self.abandon()
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
    pub fn announced(&mut self, length: usize, now: Instant) {
        let delay_max = LINE_BUSY_MAX + 2 * self.wire_time(length);
        self.payload_deadline = Some(Deadline::new(PAYLOAD_WAIT, delay_max, now));
    }

    /// What another program has the modem say, and what has not come in time, is given up: nobody waits for it, and
    /// what comes next is ours. Whether that was so.
    pub fn give_up_foreign(&mut self, now: Instant) -> bool {
        let is_given_up = self.payload_overdue(now) && self.decoder.give_up_foreign();
        if is_given_up {
            self.payload_deadline = None;
        }
        is_given_up
    }

    /// Payload behind a pause that could have begun what a module says that has booted, and did not. Whether there is some.
    pub fn settle_late_payload(&mut self, now: Instant) -> bool {
        let is_settled = self.payload_overdue(now) && self.decoder.settle_late_payload();
        if is_settled {
            self.payload_deadline = None;
        }
        is_settled
    }

    /// A payload that no longer comes would hide the answer to the next question; the socket that it was for is
    /// given back. Half a line hides nothing: an answer begins with a line end, and the line may go on.
    pub fn drop_half_payload(&mut self, now: Instant) -> Option<SocketId> {
        let is_awaited = self.decoder.payload_left() > 0 || self.decoder.is_inside_foreign();
        if !is_awaited || self.last_heard + PAYLOAD_PAUSE_MAX > now {
            return None;
        }
        self.decoder.reset();
        self.payload_deadline = None;
        match std::mem::replace(&mut self.payload_for, Destination::Nobody) {
            Destination::Socket(id) => Some(id),
            Destination::Answer | Destination::Nobody => None,
        }
    }

    /// The data session is lost: the number of the socket whose stream this is, or may be, goes to another client, while
    /// the stream may still have to be left.
    pub fn disown(&mut self) {
        self.unconfirmed = None;
        if let ChannelState::Data(data) = &mut self.state {
            data.socket = None;
            data.aborted = true;
        }
    }

    /// Forgets everything that was under way, as when the port is lost.
    pub fn forget(&mut self) -> Option<InFlight> {
        self.decoder.reset();
        self.output.clear();
        self.output_written = 0;
        self.payload_for = Destination::Nobody;
        self.payload_deadline = None;
        self.paused_since = None;
        self.unconfirmed = None;
        self.abandon()
    }

    /// Bytes arrive, and have not been looked at. Behind a pause in announced payload its rest may come, or what a
    /// module says that has booted; until then no answer could come.
    pub fn hears(&mut self, now: Instant) {
        let pause = now.saturating_duration_since(self.last_heard);
        if pause >= PAUSE_MIN && self.payload_deadline.is_some() {
            self.decoder.resumes();
            if let Some(in_flight) = &mut self.in_flight {
                in_flight.deadline.line_was_busy(pause, now);
            }
        }
    }

    /// Bytes have arrived: what they took of the line's time is not counted against the modem.
    pub fn heard(&mut self, count: usize, now: Instant) {
        let pause = now.saturating_duration_since(self.last_heard);
        self.last_heard = now;
        if self.is_paced {
            let line_time = self.wire_time(count);
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
        if self.decoder.late_payload_may_be_whole() {
            self.payload_deadline = Some(Deadline::new(BOOT_WORDS_WAIT, LINE_BUSY_MAX, now));
            return;
        }
        match &mut self.payload_deadline {
            Some(deadline) if is_announced => deadline.renew(PAYLOAD_WAIT, now),
            None if is_announced => self.announced(0, now),
            deadline => *deadline = None,
        }
    }

    /// The port is, or is no longer, deliberately left unread; deadlines stand still meanwhile.
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
        let bits = count as u64 * 10;
        Duration::from_micros(bits * 1_000_000 / u64::from(self.baud.max(1)))
    }
}

/// After so many times that is no chance.
pub const TIMES_DEAF_MAX: u32 = 2;

/// There are fewer wire settings than this.
pub const WIRE_SETTINGS_MAX: usize = 16;

/// The most information lines kept of one answer.
pub const ANSWER_LINES_MAX: usize = 128;

/// A payload without a byte for this long does not hold up the question whether the modem answers.
const PAYLOAD_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long nothing need come after a line of text that another program has the modem say, for the text to be over: a
/// module says it in one go.
const FOREIGN_TEXT_PAUSE: Duration = Duration::from_millis(500);

/// What we wait for the next byte of what another program has the modem say: nothing is lost with it but an answer
/// that it hides.
const FOREIGN_WAIT: Duration = Duration::from_millis(2_500);

/// What we wait for the next byte of an announced payload, or of what announces it: device servers and their networks
/// make pauses of several seconds.
const PAYLOAD_WAIT: Duration = Duration::from_secs(15);

/// A module does not sleep sooner: AT+QSCLK=1 takes 5 s.
const AWAKE_MIN: Duration = Duration::from_secs(4);

/// Behind a shorter pause no module has booted.
const PAUSE_MIN: Duration = Duration::from_millis(500);

/// The rest of what a module says that has booted follows its first bytes within this time.
const BOOT_WORDS_WAIT: Duration = Duration::from_millis(500);

/// By how much other bytes on the line can put off the answer to a command, and the rest of announced payload: what a
/// module has ready to say takes no longer, at any speed.
const LINE_BUSY_MAX: Duration = Duration::from_secs(30);
