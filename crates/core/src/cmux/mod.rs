//! The multiplexer: up to four channels on one serial line (TS 27.010, basic option), the host's side.
//!
//! ```text
//!   bytes of the line ──► Decoder ──► DLCI 0: messages ──► Mux: states, TEST, flow control of all
//!                            │        DLCI 1-4 ──► Dlci: state, V.24 lines, flow control, queues ──► a channel's bytes
//!                            └ outside frames ──► Text: the words of a module that has reset
//! ```
//! It does not depend on modems or channels: it turns the bytes of one line into bytes and lines of DLCIs, and back.
//! Nothing here does I/O, and time is an argument.
//!
//! A module that has reset takes commands and sends back what it gets. So nothing that could be an echo of ours counts
//! as a sign of life, and after words of a reset no data leaves before the module has answered.

mod dlci;
mod frame;
mod message;
mod receiving;
#[cfg(test)]
mod tests;
mod text;
mod turns;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::byte_queue::ByteQueue;
use dlci::{Attempt, DlciEffect, NotOpened, Opening};
pub use dlci::{
    CHANNELS_MAX, Dlci, DlciNumber, DlciState, HOLD_MARK_BYTES, HeldTimes, INCOMING_LIMIT_BYTES,
    RELEASE_MARK_BYTES,
};
pub use frame::{Decoder, DecoderCounters, FLAG, Frame, Kind, OVERHEAD_BYTES, Piece};
use frame::{Poll, encode};
pub use message::V24;
use message::{Message, Type};
use text::Text;
use turns::Turns;

/// The multiplexer of one line.
#[derive(Debug)]
pub struct Mux {
    state: MuxState,
    /// N1 in bytes, as the module accepted it, or less: no frame to it carries more.
    frame_size: usize,
    /// How many DLCIs are opened, from 1 on.
    channels: usize,
    dlcis: [Dlci; CHANNELS_MAX],
    turns: Turns,
    decoder: Decoder,
    text: Text,
    pause: Pause,
    /// Since when the line is not read because a user does not read.
    stalled_since: Option<Instant>,
    /// The module takes no data at all since then.
    stopped_since: Option<Instant>,
    output: ByteQueue,
    /// How many bytes have left the output so far.
    left_bytes: u64,
    /// How many that will be when the last frame of each DLCI has left.
    framed_until: [u64; CHANNELS_MAX],
    line: LineTime,
    events: VecDeque<MuxEvent>,
    /// The bad frames and the garbage that [`Mux::take_damage`] has told of.
    damage_told: u64,
    /// The last TEST.
    test: [u8; 3],
    counters: MuxCounters,
}

/// The state of a multiplexer.
///
/// ```text
///            open()             UA 0                every DLCI is open or refused
///  Plain ─────────────► Opening ─────► Channels ─────────────────────────────────► Running
///   │ ▲                  ▲  │ no answer    │ none is open                             │
///   │ │ silence          │  │ refused      │ CLD           reset, silence, echo, CLD  │
///   │ │                  │  └──────────────┴──────────► Lost ◄────────────────────────┘
///   ▼ │         answer   │ open()
///  Probing ───────────► Found
///
///  any of these but Plain and Lost ── leave() ──► Closing ── CLD answered, or 1 s ──► Plain
/// ```
/// `Lost` takes open() and probe() as `Plain` does. In both, the line is the caller's.
#[derive(Clone, Copy, Debug)]
pub enum MuxState {
    /// The line carries no frames.
    Plain,
    /// The module was asked whether it is in multiplexer mode.
    Probing(Attempt),
    /// The module is in multiplexer mode; the state of its DLCIs is unknown.
    Found,
    /// DLCI 0 is being opened.
    Opening(Opening),
    /// DLCI 1 and the others are being opened, one after the other.
    Channels {
        /// The index of the next one, from 0.
        next: usize,
    },
    /// The channels carry bytes.
    Running(Running),
    /// The mode is being left.
    Closing {
        /// When it counts as left, with or without an answer.
        due: Instant,
    },
    /// The module is not in multiplexer mode any more, or never was.
    Lost(Lost),
}

/// What a running multiplexer knows.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    last_frame: LastFrame,
    question: Option<LifeSign>,
}

/// When a good frame came last, since all channels were opened.
#[derive(Clone, Copy, Debug)]
enum LastFrame {
    /// None has come: the module may have rebooted meanwhile. Silence counts from then.
    None(Instant),
    At(Instant),
}

/// The module was asked for a sign of life: TEST, and the lines of a DLCI.
#[derive(Clone, Copy, Debug)]
struct LifeSign {
    sent: u8,
    due: Instant,
    why: Why,
}

/// Why the module was asked, the graver the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// Nothing arrived for some time.
    Silence,
    /// Bytes came that fit nothing.
    Garbage,
    /// Text came outside of frames.
    Text,
    /// The module sent the words of a reset.
    Reboot,
}

/// Why a multiplexer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// SABM was not answered.
    NoAnswer,
    /// The module refused to open DLCI 0, or every channel.
    Refused,
    /// The module sent the words of a reset, and then no frame.
    Rebooted,
    /// The module does not answer TEST.
    Silent,
    /// The module echoes: it takes commands.
    Echo,
    /// The module left the mode: CLD, or DISC on DLCI 0.
    LeftByModule,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lost::NoAnswer => "the modem does not answer SABM",
            Lost::Refused => "the modem refuses to open them",
            Lost::Rebooted => "the modem has rebooted",
            Lost::Silent => "the modem does not answer TEST",
            Lost::Echo => "the modem takes commands again",
            Lost::LeftByModule => "the modem has closed them",
        })
    }
}

/// What the user must be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MuxEvent {
    /// A probe was answered: the module is in multiplexer mode. [`Mux::open`] or [`Mux::leave`] is next.
    Found,
    /// A probe was not answered. The line is the caller's again.
    NotFound,
    /// A DLCI is open.
    Opened(DlciNumber),
    /// A DLCI is closed, by either side, or could not be opened. What came before is still in [`Mux::incoming`].
    Closed(DlciNumber),
    /// The module shows other lines.
    Lines(DlciNumber, V24),
    /// Every channel is open, but for those that are closed.
    Running,
    /// The module sent more than there was room for, although FC held it, and the user did not read for
    /// two seconds. What waited is dropped, and so is what comes: the stream is broken until the DLCI is closed.
    Overrun(DlciNumber),
    /// A line of text came outside of frames.
    Text(String),
    /// It was left. The line is the caller's again.
    Left,
    /// It is lost. The line is the caller's again.
    Lost(Lost),
}

/// What has passed since the multiplexer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MuxCounters {
    /// Frames to the module.
    pub frames_out: u64,
    /// Frames from it.
    pub frames_in: u64,
    /// Frames that did not count: a wrong FCS, or no flag at the end.
    pub bad_fcs: u64,
    /// Bytes in which there was no frame.
    pub garbage_bytes: u64,
    /// Frames of our own that were not sent for lack of room: the line does not move.
    pub unsent: u64,
    /// Answers to our own questions since the multiplexer was opened.
    pub answers: u64,
    /// For how long FCoff held the data of all channels.
    pub stopped: Duration,
}

/// What is known of the line's time.
#[derive(Clone, Copy, Debug)]
struct LineTime {
    /// How long a byte takes.
    byte: Duration,
    /// When the bytes that were written have left.
    free_at: Instant,
    /// Whether data waits for that.
    is_paced: bool,
}

/// A frame whose rest does not come, or garbage that no frame follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    None,
    /// It lasts until then.
    Until(Instant),
    /// The time is over. If the host was suspended, the rest may have arrived: the line is read once more before then.
    Over(Instant),
}

impl Mux {
    /// A line that carries no frames yet. `frame_size`: N1 in bytes, as the module accepted it, or less, at least 8 and at most
    /// [`FRAME_SIZE_MAX`]. `channels`:
    /// how many it opens, 1 to 4. `baud`: the line's speed, or one that it has at least; answers may take as long as
    /// it needs.
    pub fn new(frame_size: usize, channels: usize, baud: u32, now: Instant) -> Self {
        let frame_size = frame_size.clamp(FRAME_SIZE_MIN, FRAME_SIZE_MAX);
        let frame_max = frame_size + OVERHEAD_BYTES;
        Mux {
            state: MuxState::Plain,
            frame_size,
            channels: channels.clamp(1, CHANNELS_MAX),
            dlcis: std::array::from_fn(|_| Dlci::new(frame_size)),
            turns: Turns::default(),
            decoder: Decoder::new(frame_size.max(FRAME_SIZE_DEFAULT) + LONGER_MAX_BYTES),
            text: Text::default(),
            pause: Pause::None,
            stalled_since: None,
            stopped_since: None,
            output: ByteQueue::with_step(frame_max.max(PROBE_FLAGS) + CONTROL_LIMIT_BYTES, 512),
            left_bytes: 0,
            framed_until: [0; CHANNELS_MAX],
            line: LineTime {
                byte: Duration::from_secs(10) / baud.max(BAUD_MIN),
                free_at: now,
                is_paced: false,
            },
            events: VecDeque::new(),
            damage_told: 0,
            test: *b"q\0\0",
            counters: MuxCounters::default(),
        }
    }

    /// The line has the speed that it was made with: data is framed only when what was written has nearly left, so that a
    /// command of another channel has only one frame in front of it.
    pub fn pace(&mut self) {
        self.line.is_paced = true;
    }

    // What it knows.

    /// Where in the diagram it is.
    pub fn state(&self) -> &MuxState {
        &self.state
    }

    /// Whether what the line receives goes to [`Mux::received`].
    pub fn is_framed(&self) -> bool {
        !matches!(self.state, MuxState::Plain | MuxState::Lost(_))
    }

    /// Whether the channels carry bytes.
    pub fn is_running(&self) -> bool {
        matches!(self.state, MuxState::Running(_))
    }

    /// Whether the module has opened the multiplexer, and perhaps not every DLCI.
    fn has_channels(&self) -> bool {
        matches!(self.state, MuxState::Channels { .. } | MuxState::Running(_))
    }

    /// A DLCI, for its state and its lines.
    pub fn dlci(&self, dlci: DlciNumber) -> &Dlci {
        &self.dlcis[dlci.index()]
    }

    /// N1 in bytes.
    pub fn frame_size(&self) -> usize {
        self.frame_size
    }

    /// What has passed.
    pub fn counters(&self, now: Instant) -> MuxCounters {
        let decoder = self.decoder.counters();
        let stopped = self.stopped_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        MuxCounters {
            frames_in: decoder.frames,
            bad_fcs: decoder.bad_fcs,
            garbage_bytes: decoder.garbage_bytes,
            stopped: self.counters.stopped + stopped,
            ..self.counters
        }
    }

    /// Whether bytes of a running line were lost or wrong since the last call. Nothing shows whose they were. To be asked
    /// before anything is consumed.
    pub fn take_damage(&mut self) -> bool {
        let counters = self.decoder.counters();
        let damage = counters.bad_fcs + counters.garbage_bytes;
        let before = std::mem::replace(&mut self.damage_told, damage);
        self.is_running() && damage > before
    }

    /// What happened. To be called until there is nothing more, after everything else.
    pub fn poll_event(&mut self) -> Option<MuxEvent> {
        self.events.pop_front()
    }

    /// How many bytes of memory its queues have taken.
    pub fn memory_bytes(&self) -> usize {
        let dlcis: usize = self.dlcis.iter().map(Dlci::memory_bytes).sum();
        dlcis + self.output.capacity() + self.decoder.memory_bytes()
    }

    // Coming and going.

    /// The module is in multiplexer mode, as `AT+CMUX` was sent or a probe was answered: its DLCIs are opened. Does
    /// nothing while the multiplexer is on its way or running.
    pub fn open(&mut self, now: Instant) {
        if !matches!(self.state, MuxState::Plain | MuxState::Found | MuxState::Lost(_)) {
            return;
        }
        let was_found = matches!(self.state, MuxState::Found);
        self.begin_anew(now);
        self.counters.answers = 0;
        if was_found {
            // Which DLCIs are open, and for which program, is unknown.
            self.disconnect_all();
        }
        self.send(0, Kind::Sabm, Poll::Set, &[]);
        self.state = MuxState::Opening(Opening::new(self.answer_due(now)));
    }

    /// Whether the module is in multiplexer mode is to be found out: enough flags to end any frame, TEST, and an `AT` on
    /// channel 1, twice, and SABM on DLCI 0 at last. Does nothing while the multiplexer is on its way or running.
    pub fn probe(&mut self, now: Instant) {
        if matches!(self.state, MuxState::Plain | MuxState::Found | MuxState::Lost(_)) {
            self.begin_anew(now);
            self.send_probe();
            self.state = MuxState::Probing(Attempt::new(self.due_in(PROBE_WAIT, now)));
        }
    }

    /// The multiplexer is left: DISC on every channel, CLD, and at most a second. What waits to be sent is dropped.
    pub fn leave(&mut self, now: Instant) {
        if !self.is_framed() || matches!(self.state, MuxState::Closing { .. }) {
            return;
        }
        let was_found = matches!(self.state, MuxState::Found);
        self.end_all(now);
        if was_found {
            // CLD counts only once DLCI 0 is open, and the program that began the mode may not have opened it.
            self.send(0, Kind::Sabm, Poll::Set, &[]);
        }
        self.disconnect_all();
        self.send_message(Message::command(Type::CloseDown, &[]));
        self.state = MuxState::Closing { due: self.due_in(LEAVE_WAIT, now) };
    }

    /// A closed DLCI is opened. [`MuxEvent::Opened`] or [`MuxEvent::Closed`] follows.
    pub fn open_channel(&mut self, dlci: DlciNumber, now: Instant) {
        if self.has_channels() && dlci.index() < self.channels {
            let due = self.answer_due(now);
            let effect = self.dlcis[dlci.index()].open(due);
            self.apply(dlci, effect, now);
        }
    }

    /// An open DLCI is closed. What waits to be sent on it is dropped, and so is what still comes. [`MuxEvent::Closed`]
    /// follows.
    pub fn close_channel(&mut self, dlci: DlciNumber, now: Instant) {
        if self.has_channels() {
            let due = self.answer_due(now);
            let effect = self.dlcis[dlci.index()].close(due, now);
            self.apply(dlci, effect, now);
        }
    }

    /// DTR of an open DLCI. It is set when a DLCI is opened.
    pub fn set_dtr(&mut self, dlci: DlciNumber, is_set: bool, now: Instant) {
        let due = self.message_due(now);
        let effect = self.dlcis[dlci.index()].set_dtr(is_set, due);
        self.apply(dlci, effect, now);
    }

    // Bytes of the line.

    /// Takes bytes that the line received, and returns how many.
    ///
    /// If it takes fewer than it was given, and [`Mux::is_framed`], a user's queue is full or events wait: consume what
    /// can be consumed, poll the events, and give it the rest. If it takes none even then, the rest has to wait for a
    /// [`Mux::consume`]. If not [`Mux::is_framed`], the rest is the caller's.
    pub fn received(&mut self, bytes: &[u8], now: Instant) -> usize {
        if !self.is_framed() {
            return 0;
        }
        let total = self.incoming_bytes();
        for dlci in DlciNumber::first(self.channels) {
            let waiting = self.incoming(dlci).len();
            if waiting >= HOLD_MARK_BYTES || total >= HOLD_TOTAL_BYTES && waiting >= RELEASE_MARK_BYTES {
                let due = self.message_due(now);
                let effect = self.dlcis[dlci.index()].hold(due, now);
                self.apply(dlci, effect, now);
            }
        }
        let mut input = bytes;
        self.decode(&mut input, now);
        let count = bytes.len() - input.len();
        if self.is_framed() {
            let is_stalled = !input.is_empty() && !self.has_room();
            self.stalled_since = is_stalled.then(|| self.stalled_since.filter(|_| count == 0).unwrap_or(now));
            self.pause = match self.decoder.is_out_of_step() && !is_stalled {
                true if count == 0 => self.pause,
                true => Pause::Until(now + PAUSE_MAX),
                false => Pause::None,
            };
        }
        self.fill_output(now);
        count
    }

    /// What is to be sent on the line. It also holds what is left of an answer after the multiplexer was left.
    pub fn output(&self) -> &[u8] {
        self.output.as_slice()
    }

    /// This many bytes of [`Mux::output`] were sent. To be called before anything else happens to the multiplexer.
    ///
    /// # Panics
    /// If there were fewer.
    pub fn written(&mut self, count: usize, now: Instant) {
        self.output.consume(count);
        self.left_bytes += count as u64;
        let latest = now + self.line.takes(AHEAD_MAX_BYTES);
        self.line.free_at = (self.line.free_at.max(now) + self.line.takes(count)).min(latest);
        self.fill_output(now);
    }

    // Bytes of a DLCI.

    /// How many bytes the line carries at most until every DLCI of a module that takes turns has had its own: a longest frame
    /// each.
    pub fn turns_bytes(&self) -> usize {
        self.channels * (self.frame_size + LONGER_MAX_BYTES + OVERHEAD_BYTES)
    }

    /// What came on a DLCI and was not consumed.
    pub fn incoming(&self, dlci: DlciNumber) -> &[u8] {
        self.dlcis[dlci.index()].incoming()
    }

    /// The user took this many bytes of [`Mux::incoming`].
    ///
    /// # Panics
    /// If there were fewer.
    pub fn consume(&mut self, dlci: DlciNumber, count: usize, now: Instant) {
        let due = self.message_due(now);
        let effect = self.dlcis[dlci.index()].consume(count, due, now);
        self.apply(dlci, effect, now);
        if self.has_room() {
            self.stalled_since = None;
        }
    }

    /// How many bytes have to leave before all that was sent on a DLCI has: its own, and those of frames before its last.
    pub fn unsent(&self, dlci: DlciNumber) -> usize {
        let framed = self.framed_until[dlci.index()].saturating_sub(self.left_bytes);
        self.dlci(dlci).unsent() + framed as usize
    }

    /// How many bytes [`Mux::send`] takes for a DLCI.
    pub fn room(&self, dlci: DlciNumber) -> usize {
        self.dlcis[dlci.index()].room()
    }

    /// Bytes to be sent on a DLCI. Returns how many it took.
    pub fn send_bytes(&mut self, dlci: DlciNumber, bytes: &[u8], now: Instant) -> usize {
        let count = self.dlcis[dlci.index()].send(bytes);
        self.fill_output(now);
        count
    }

    // Time.

    /// When [`Mux::deadline_passed`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let state = match &self.state {
            MuxState::Plain | MuxState::Lost(_) => return None,
            MuxState::Found | MuxState::Channels { .. } => None,
            MuxState::Probing(attempt) => Some(attempt.due()),
            MuxState::Opening(opening) => Some(opening.due()),
            MuxState::Running(running) => Some(running.next_deadline()),
            MuxState::Closing { due } => Some(*due),
        };
        let pause = match self.pause {
            Pause::None => None,
            Pause::Until(until) | Pause::Over(until) => Some(until),
        };
        let stall = self.stalled_since.map(|since| since + STALL_MAX);
        let has_data = self.output.is_empty() && self.dlcis.iter().any(|dlci| !dlci.next_frame().is_empty());
        let data = self.data_due().filter(|_| has_data && self.may_send_data());
        let dlcis = self.dlcis.iter().filter_map(Dlci::next_deadline);
        dlcis.chain(state).chain(pause).chain(stall).chain(data).min()
    }

    /// Time has passed. Nothing happens before [`Mux::next_deadline`].
    pub fn deadline_passed(&mut self, now: Instant) {
        self.end_stall(now);
        self.end_pause(now);
        let (due, message_due) = (self.answer_due(now), self.message_due(now));
        for dlci in DlciNumber::first(self.channels) {
            let effect = self.dlcis[dlci.index()].deadline_passed(due, message_due, now);
            self.apply(dlci, effect, now);
        }
        match &mut self.state {
            MuxState::Probing(attempt) if attempt.due() <= now => {
                let mut attempt = *attempt;
                match attempt.sent() {
                    1 => self.send_probe(),
                    // Where DLCI 0 was never opened, some modules answer to nothing else.
                    2 => self.send(0, Kind::Sabm, Poll::Set, &[]),
                    _ => return self.end(MuxState::Plain, MuxEvent::NotFound, now),
                }
                attempt.repeat(self.due_in(PROBE_WAIT, now));
                self.state = MuxState::Probing(attempt);
            }
            MuxState::Opening(opening) if opening.due() <= now => match opening.repeat(due) {
                Ok(()) => self.send(0, Kind::Sabm, Poll::Set, &[]),
                Err(NotOpened::Refused) => self.lose(Lost::Refused, now),
                Err(NotOpened::NoAnswer) => self.lose(Lost::NoAnswer, now),
            },
            MuxState::Running(running) if running.next_deadline() <= now => match running.question {
                None => self.ask(Why::Silence, now),
                Some(question) => self.not_answered(question, now),
            },
            MuxState::Closing { due } if *due <= now => self.end(MuxState::Plain, MuxEvent::Left, now),
            _ => {}
        }
        self.continue_opening(now);
        self.fill_output(now);
    }

    // Its transitions.

    /// The next channel is opened, or all are.
    fn continue_opening(&mut self, now: Instant) {
        while let MuxState::Channels { next } = self.state {
            if self.dlcis.iter().any(|dlci| matches!(dlci.state(), DlciState::Opening(_))) {
                return;
            }
            if let Some(dlci) = DlciNumber::first(self.channels).nth(next) {
                self.state = MuxState::Channels { next: next + 1 };
                let due = self.answer_due(now);
                let effect = self.dlcis[dlci.index()].open(due);
                self.apply(dlci, effect, now);
            } else if self.dlcis.iter().any(Dlci::waits_for_lines) {
                return;
            } else if self.dlcis.iter().any(Dlci::is_open) {
                self.state = MuxState::Running(Running { last_frame: LastFrame::None(now), question: None });
                self.events.push_back(MuxEvent::Running);
            } else {
                self.lose(Lost::Refused, now);
            }
        }
    }

    /// The module is asked for a sign of life, if it is not being asked.
    fn ask(&mut self, why: Why, now: Instant) {
        let MuxState::Running(running) = &self.state else { return };
        if running.question.is_some_and(|question| question.why >= why) {
            return;
        }
        self.send_question(LifeSign { sent: 1, due: now, why }, now);
    }

    fn not_answered(&mut self, question: LifeSign, now: Instant) {
        let MuxState::Running(running) = &mut self.state else { return };
        match question.why {
            Why::Reboot => self.lose(Lost::Rebooted, now),
            _ if question.sent < TESTS_MAX => {
                self.send_question(LifeSign { sent: question.sent + 1, ..question }, now);
            }
            // A module that sends text in place of frames takes commands, even if it has never answered such a question:
            // it may have rebooted before it could.
            Why::Text => self.lose(Lost::Silent, now),
            // The same after damage, where text is not told from the remains of frames.
            Why::Garbage if matches!(running.last_frame, LastFrame::None(_)) => self.lose(Lost::Silent, now),
            _ if self.counters.answers > 0 => self.lose(Lost::Silent, now),
            // It has never answered such a question, so its silence has no meaning.
            Why::Silence | Why::Garbage => {
                running.last_frame.starts_again(now);
                running.question = None;
            }
        }
    }

    fn send_question(&mut self, question: LifeSign, now: Instant) {
        let [_, high, low] = self.test;
        let [high, low] = u16::from_be_bytes([high, low]).wrapping_add(1).to_be_bytes();
        self.test = [self.test[0], high, low];
        self.send_message(Message::command(Type::Test, &self.test.clone()));
        let due = self.due_in(TEST_WAIT, now);
        // Some modules do not know TEST.
        if (question.sent > 1 || question.why == Why::Reboot)
            && let Some(dlci) = DlciNumber::first(self.channels).find(|dlci| self.dlci(*dlci).is_open())
        {
            let effect = self.dlcis[dlci.index()].show_again(due);
            self.apply(dlci, effect, now);
        }
        if let MuxState::Running(running) = &mut self.state {
            running.question = Some(LifeSign { due, ..question });
        }
    }

    /// CLD, or DISC on DLCI 0.
    fn module_left(&mut self, now: Instant) {
        match self.state {
            MuxState::Closing { .. } => self.end(MuxState::Plain, MuxEvent::Left, now),
            _ => self.lose(Lost::LeftByModule, now),
        }
    }

    fn lose(&mut self, why: Lost, now: Instant) {
        self.end(MuxState::Lost(why), MuxEvent::Lost(why), now);
    }

    /// The line carries no frames any more. What came on the DLCIs can still be consumed.
    fn end(&mut self, state: MuxState, event: MuxEvent, now: Instant) {
        self.end_all(now);
        // Payload must not reach a module that takes commands.
        self.drop_output();
        self.state = state;
        self.events.push_back(event);
    }

    fn end_all(&mut self, now: Instant) {
        for dlci in &mut self.dlcis {
            dlci.end(now);
        }
        self.end_stop(now);
        self.text = Text::default();
        self.pause = Pause::None;
        self.stalled_since = None;
    }

    /// A new conversation begins.
    fn begin_anew(&mut self, now: Instant) {
        self.end_all(now);
        self.decoder.begin_anew();
        self.turns = Turns::default();
        for dlci in &mut self.dlcis {
            dlci.begin_anew(self.frame_size);
        }
    }

    fn end_stop(&mut self, now: Instant) {
        if let Some(since) = self.stopped_since.take() {
            self.counters.stopped += now.saturating_duration_since(since);
        }
    }

    /// A user has not read for too long, and the module did not stop: its stream is given up for the sake of the others.
    fn end_stall(&mut self, now: Instant) {
        if self.stalled_since.is_none_or(|since| now < since + STALL_MAX) {
            return;
        }
        self.stalled_since = None;
        let Some(dlci) = DlciNumber::first(self.channels).max_by_key(|dlci| self.incoming(*dlci).len())
        else {
            return;
        };
        let due = self.message_due(now);
        let effect = self.dlcis[dlci.index()].overrun(due, now);
        self.apply(dlci, effect, now);
        self.events.push_back(MuxEvent::Overrun(dlci));
    }

    /// The rest of a frame has not come: it has lost bytes, and may hide a good one. Or garbage was all that came.
    fn end_pause(&mut self, now: Instant) {
        match self.pause {
            Pause::Until(until) if until <= now => self.pause = Pause::Over(now + READ_ONCE_MORE),
            Pause::Over(until) if until <= now => {
                self.pause = Pause::None;
                while self.decoder.is_inside_frame() && self.may_decode() {
                    self.decoder.give_up_frame();
                    self.decode(&mut &[][..], now);
                }
                self.ask(Why::Garbage, now);
            }
            _ => {}
        }
    }

    /// Does what a DLCI needs.
    fn apply(&mut self, dlci: DlciNumber, effect: Option<DlciEffect>, now: Instant) {
        let number = dlci.get();
        match effect {
            None => return,
            Some(DlciEffect::Sabm) => self.send(number, Kind::Sabm, Poll::Set, &[]),
            Some(DlciEffect::Ua) => self.send(number, Kind::Ua, Poll::Set, &[]),
            Some(DlciEffect::Dm) => self.send(number, Kind::Dm, Poll::Set, &[]),
            Some(DlciEffect::Disc { is_polled }) => {
                self.send(number, Kind::Disc, if is_polled { Poll::Set } else { Poll::Clear }, &[]);
            }
            Some(DlciEffect::Lines(lines)) => self.send_lines(dlci, lines),
            Some(DlciEffect::AskAlive) => self.ask(Why::Silence, now),
            Some(DlciEffect::Opened(lines)) => {
                self.send_lines(dlci, lines);
                self.events.push_back(MuxEvent::Opened(dlci));
            }
            Some(DlciEffect::Closed) => self.events.push_back(MuxEvent::Closed(dlci)),
            Some(DlciEffect::ClosedByModule) => {
                self.send(number, Kind::Ua, Poll::Set, &[]);
                self.events.push_back(MuxEvent::Closed(dlci));
            }
            Some(DlciEffect::Changed(lines)) => self.events.push_back(MuxEvent::Lines(dlci, lines)),
        }
        self.fill_output(now);
    }

    // Frames to the module.

    fn send_lines(&mut self, dlci: DlciNumber, lines: V24) {
        let values = message::modem_status_values(dlci.get(), lines);
        self.send_message(Message::command(Type::ModemStatus, &values));
    }

    fn send_message(&mut self, message: Message<'_>) {
        let information = message.emit();
        if information.len() <= self.frame_size {
            self.send(0, Kind::Uih, Poll::Clear, &information);
        } else {
            self.counters.unsent += 1;
        }
    }

    fn drop_output(&mut self) {
        self.left_bytes += self.output.len() as u64;
        self.output.reset();
    }

    fn send_probe(&mut self) {
        self.drop_output();
        self.output.append(&[FLAG; PROBE_FLAGS]);
        self.send_message(Message::command(Type::Test, &self.test.clone()));
        self.send(1, Kind::Uih, Poll::Clear, PROBE_COMMAND);
    }

    /// DISC on every channel, which nothing waits for.
    fn disconnect_all(&mut self) {
        for dlci in DlciNumber::first(self.channels) {
            self.send(dlci.get(), Kind::Disc, Poll::Set, &[]);
        }
    }

    /// A frame that is not data. It goes before data, after the frame that is on its way.
    fn send(&mut self, dlci: u8, kind: Kind, poll: Poll, information: &[u8]) {
        if encode(dlci, kind, poll, information, &mut self.output) {
            self.counters.frames_out += 1;
        } else {
            // All that matters is sent again.
            self.counters.unsent += 1;
        }
    }

    /// Data is framed, never more ahead than one longest frame, so that a command need not wait for more.
    fn fill_output(&mut self, now: Instant) {
        let frame_max = self.frame_size + OVERHEAD_BYTES;
        while self.may_send_data() && self.data_due().is_none_or(|due| due <= now) {
            let ready = (0..self.channels).filter(|index| !self.dlcis[*index].next_frame().is_empty());
            let rank = |index: &usize| self.turns.rank(*index, self.dlcis[*index].unsent(), self.frame_size);
            let Some(index) = ready.min_by_key(rank) else { return };
            let bytes = self.dlcis[index].next_frame();
            let count = bytes.len();
            let is_ahead = !self.output.is_empty()
                && (self.line.is_paced || self.output.len() + count + OVERHEAD_BYTES > frame_max);
            if is_ahead || !encode(index as u8 + 1, Kind::Uih, Poll::Clear, bytes, &mut self.output) {
                return;
            }
            self.turns.served(index, self.dlcis[index].unsent(), count + OVERHEAD_BYTES, self.frame_size);
            self.dlcis[index].framed(count);
            self.framed_until[index] = self.left_bytes + self.output.len() as u64;
            self.counters.frames_out += 1;
        }
    }

    /// When data may be framed.
    fn data_due(&self) -> Option<Instant> {
        if self.line.is_paced { self.line.free_at.checked_sub(AHEAD) } else { None }
    }

    fn may_send_data(&self) -> bool {
        let MuxState::Running(running) = &self.state else { return false };
        let has_reset = running.question.is_some_and(|question| question.why == Why::Reboot);
        self.stopped_since.is_none() && !has_reset
    }

    // Room and time.

    /// Whether a frame can be taken, whatever it is.
    fn may_decode(&self) -> bool {
        self.is_framed() && self.has_room() && self.events.len() < EVENTS_MAX
    }

    /// Whether a frame of any channel finds room, and none has reached the mark at which its module is held.
    fn has_room(&self) -> bool {
        let frame_max = self.frame_size.max(FRAME_SIZE_DEFAULT) + LONGER_MAX_BYTES;
        self.incoming_bytes() + frame_max <= INCOMING_TOTAL_BYTES
            && self.dlcis.iter().all(|dlci| dlci.may_take(frame_max))
    }

    /// How many bytes wait for the users of all channels.
    fn incoming_bytes(&self) -> usize {
        self.dlcis.iter().map(|dlci| dlci.incoming().len()).sum()
    }

    /// When the answer to a frame that is sent now is due: SABM or DISC.
    fn answer_due(&self, now: Instant) -> Instant {
        self.due_in(T1, now)
    }

    /// When the answer to a message that is sent now is due: MSC.
    fn message_due(&self, now: Instant) -> Instant {
        self.due_in(T2, now)
    }

    /// `wait` after what is to be sent has left, and with a frame in front of the answer.
    fn due_in(&self, wait: Duration, now: Instant) -> Instant {
        let bytes = self.output.len() + self.frame_size + OVERHEAD_BYTES;
        self.line.free_at.max(now) + self.line.takes(bytes) + wait
    }
}

impl LastFrame {
    /// Since when none has come.
    fn silent_since(self) -> Instant {
        match self {
            LastFrame::None(since) | LastFrame::At(since) => since,
        }
    }

    /// The silence until now has no meaning.
    fn starts_again(&mut self, now: Instant) {
        match self {
            LastFrame::None(since) | LastFrame::At(since) => *since = now,
        }
    }
}

impl Running {
    fn next_deadline(&self) -> Instant {
        self.question.map_or(self.last_frame.silent_since() + SILENCE_MAX, |question| question.due)
    }
}

impl LineTime {
    fn takes(&self, bytes: usize) -> Duration {
        self.byte * u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// A smaller N1 has no room for the multiplexer's own messages.
const FRAME_SIZE_MIN: usize = 8;

/// The frames of a module that refuses a smaller N1 are as long as this, in bytes.
const FRAME_SIZE_DEFAULT: usize = 127;

/// The largest N1 to ask a module for, in bytes: frames of this length find room in every queue.
pub const FRAME_SIZE_MAX: usize = 2048;

const _: () = assert!(HOLD_MARK_BYTES + FRAME_SIZE_MAX + LONGER_MAX_BYTES <= INCOMING_LIMIT_BYTES);

/// T1: how long the answer to a frame may take, in addition to its time on the line.
const T1: Duration = Duration::from_millis(100);

/// T2: the same for a message, which a frame of DLCI 0 carries.
const T2: Duration = Duration::from_millis(300);

/// TEST is sent after this time without a byte.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How long its answer may take, in addition to its time on the line.
const TEST_WAIT: Duration = Duration::from_secs(1);

/// After this many missed answers in a row, the module is lost.
const TESTS_MAX: u8 = 3;

/// After this time CLD counts as answered, in addition to its time on the line.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// How long the answer to a probe may take, in addition to its time on the line.
const PROBE_WAIT: Duration = Duration::from_millis(300);

/// This many flags end any frame that the module may be waiting for: N1 1509 and the rest of a frame.
const PROBE_FLAGS: usize = 1516;

/// What a probe sends on channel 1.
const PROBE_COMMAND: &[u8] = b"AT\r";

/// Frames of the module may be longer than N1 by this: some modules send such.
const LONGER_MAX_BYTES: usize = 64;

/// The most bytes that wait for the users of all channels: three streams that are held, and what arrives before the
/// module stops them.
const INCOMING_TOTAL_BYTES: usize = 52 * 1024;

/// From so many on, the module is held on every channel of which more waits than the mark at which it is released: as much
/// again may be on its way.
const HOLD_TOTAL_BYTES: usize = INCOMING_TOTAL_BYTES / 2;

/// How long the line is left unread because one user does not read.
const STALL_MAX: Duration = Duration::from_secs(2);

/// The longest pause between the bytes of a frame. Device servers make pauses, but shorter ones.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long the event loop may take to read what arrived while the host was suspended.
const READ_ONCE_MORE: Duration = Duration::from_millis(50);

/// The most bytes of control frames that wait to be sent, in addition to a frame of data.
const CONTROL_LIMIT_BYTES: usize = 1024;

/// On a line of known speed, the next frame of data is written so long before the last one has left.
const AHEAD: Duration = Duration::from_millis(5);

/// So much can wait in the kernel or a device server after it was written.
const AHEAD_MAX_BYTES: usize = 8 * 1024;

/// The slowest line, in bit/s.
const BAUD_MIN: u32 = 300;

/// The line is not read while this many events wait.
const EVENTS_MAX: usize = 64;

/// Lines of text are not reported while this many events wait.
const TEXT_EVENTS_MAX: usize = 32;
