//! A port whose line carries several channels (CMUX): to the modem, each channel is a port.
//!
//! ```text
//!          opened              answers, or nothing does          wire settings made
//!  Closed ────────► Probing ──────────────────────────► Plain ───────────────────────► Starting
//!    ▲                 │ frames are answered             ▲ ▲                             │   │
//!    │                 └──► Leaving ─────────────────────┘ └────── refused ──────────────┘   │ started
//!    │ lost                 (CLD)                          │                                 ▼
//!    └── from anywhere                                     └── left, lost ── Leaving ◄──── Muxed
//!
//!  Plain, as a stream ── lost ──► Closed ── opened ──► Plain
//! ```
//! The modem code treats each channel as a port. It asks whether the port shares its line (`Sharing::Shared`) only to
//! decide when a stream may begin, how it is left, by which port URCs leave, and whether unread bytes are lost. In
//! `Plain`, the first channel has the line alone.

mod report;
mod starting;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::byte_queue::ByteQueue;
use crate::cmux::{CHANNELS_MAX, DlciNumber, FLAG, Lost, Mux, MuxEvent, V24};
use crate::counted;
use crate::input::PortInput;
use crate::modem::{Action, Modem, PortFacts, PortState, Sharing};
use crate::recorder::Side;
use crate::settings::{self, Cmux};
pub use report::{LineChannel, Multiplexer};
use starting::{Changed, SPEEDS, Starting, StartingEffect};

/// A port that may carry several channels.
#[derive(Debug)]
pub struct SharedPort {
    state: SharedPortState,
    /// Whether a module that does not answer AT+CMUX=? is asked all the same.
    insists: bool,
    /// The most bytes of payload in a frame, if that was set.
    frame_bytes: Option<u16>,
    /// What the port is.
    facts: PortFacts,
    /// The speed of the line in bit/s.
    baud: u32,
    /// The speed at which the port is opened.
    opened_baud: u32,
    /// Whether RTS/CTS are as the user wants, and not off.
    has_flow_control: bool,
    /// The speeds at which a module that still has several channels is still to be looked for.
    untried: Vec<u32>,
    /// Whether the last search for the module found nothing, neither commands nor frames.
    last_search: Search,
    /// Bytes that arrived and were not taken yet.
    input: ByteQueue,
    /// The settings that were changed for the channels, to be put back at the end.
    changed: Vec<Changed>,
    /// How often in a row the mode was entered, and no frame was answered.
    failures: u32,
    /// What the program has to do.
    actions: VecDeque<Action>,
    /// When something last happened.
    now: Instant,
}

/// How the last search for the module ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    /// It has answered, or was not looked for yet.
    Answered,
    /// Nothing did, at the speed of the port.
    InVain,
}

/// How the line is in use.
#[derive(Debug)]
enum SharedPortState {
    /// The port is not open.
    Closed(MayBe),
    /// Finds out whether a module still has several channels from an earlier run; at the end, whether it takes commands.
    Probing(Probe, Then),
    /// The first channel has the line alone.
    Plain,
    /// The dialogue that begins the mode.
    Starting(Starting, Vec<u8>, Then),
    /// The line carries several channels.
    Muxed(Box<Mux>),
    /// The mode is being left.
    Leaving(Box<Mux>, Then),
}

/// What the line of a port that is not open may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MayBe {
    /// Several channels from an earlier run, or one that takes commands.
    Channels,
    /// A stream, as it was when the port was lost: what is sent may be payload.
    Stream,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The modem uses the line, or its channels.
    Begin,
    /// The program ends.
    End,
}

/// Whether a module is in the mode.
#[derive(Debug)]
enum Probe {
    /// `AT` was sent.
    Plain {
        /// How often.
        tries: u32,
        /// When the answer counts as missing.
        due: Instant,
        /// Bytes to send.
        output: Vec<u8>,
        /// The last bytes that arrived.
        tail: Vec<u8>,
    },
    /// Frames were sent.
    Framed(Box<Mux>),
}

impl SharedPort {
    /// A port that is not open yet; `None` where one channel is wanted.
    pub fn new(settings: &settings::Modem, ports: usize, now: Instant) -> Option<Self> {
        (settings.cmux != Cmux::Off && ports == 1).then(|| SharedPort {
            state: SharedPortState::Closed(MayBe::Channels),
            insists: settings.cmux == Cmux::On,
            frame_bytes: settings.cmux_frame,
            facts: PortFacts::default(),
            baud: settings.baud,
            opened_baud: settings.baud,
            has_flow_control: true,
            untried: Vec::new(),
            last_search: Search::Answered,
            input: ByteQueue::new(READ_BYTES),
            changed: Vec::new(),
            failures: if settings.cmux == Cmux::Leave { FAILURES_MAX } else { 0 },
            actions: VecDeque::new(),
            now,
        })
    }

    // Bytes.

    /// How many bytes the port may deliver now.
    pub fn wants_bytes(&self, modem: &Modem) -> usize {
        match &self.state {
            SharedPortState::Closed(_) => 0,
            SharedPortState::Plain => modem.wants_port_bytes(FIRST),
            SharedPortState::Probing(..) | SharedPortState::Starting(..) | SharedPortState::Leaving(..) => {
                self.input.room()
            }
            // What did not fit waits for a client to read.
            SharedPortState::Muxed(_) if !self.input.is_empty() => 0,
            SharedPortState::Muxed(_) => self.input.room(),
        }
    }

    /// Bytes came out of the port, no more than [`SharedPort::wants_bytes`] allowed.
    pub fn received(&mut self, bytes: &[u8], modem: &mut Modem, now: Instant) {
        if let SharedPortState::Plain = self.state {
            modem.port_received(FIRST, bytes, now);
        } else {
            self.input.append(bytes);
        }
        self.settle(modem, now);
    }

    /// Bytes that wait to leave by the port.
    pub fn output<'a>(&'a self, modem: &'a Modem) -> &'a [u8] {
        match &self.state {
            SharedPortState::Closed(_) => &[],
            SharedPortState::Plain => modem.port_output(FIRST),
            SharedPortState::Probing(Probe::Plain { output, .. }, _)
            | SharedPortState::Starting(_, output, _) => output,
            SharedPortState::Probing(Probe::Framed(mux), _)
            | SharedPortState::Muxed(mux)
            | SharedPortState::Leaving(mux, _) => mux.output(),
        }
    }

    /// The port took `count` bytes of [`SharedPort::output`].
    pub fn written(&mut self, count: usize, modem: &mut Modem, now: Instant) {
        match &mut self.state {
            SharedPortState::Closed(_) => {}
            SharedPortState::Plain => modem.port_written(FIRST, count, now),
            SharedPortState::Probing(Probe::Plain { output, .. }, _)
            | SharedPortState::Starting(_, output, _) => drop(output.drain(..count)),
            SharedPortState::Probing(Probe::Framed(mux), _)
            | SharedPortState::Muxed(mux)
            | SharedPortState::Leaving(mux, _) => {
                mux.written(count, now);
            }
        }
        self.settle(modem, now);
    }

    /// Whether one channel has the line alone.
    pub fn is_plain(&self) -> bool {
        matches!(self.state, SharedPortState::Plain)
    }

    // What happens at the port.

    /// Something happened at the port.
    pub fn happened(&mut self, input: PortInput, modem: &mut Modem, now: Instant) {
        match (&mut self.state, input) {
            (_, PortInput::Opened(facts)) => {
                self.keep_changed();
                self.facts = facts;
                self.baud = self.opened_baud;
                self.has_flow_control = true;
                self.untried.clear();
                if self.last_search == Search::InVain && (self.facts.is_uart || self.facts.is_remote) {
                    self.untried.extend(SPEEDS.into_iter().filter(|baud| *baud != self.baud));
                }
                modem.reclaim(FIRST);
                match self.state {
                    // It is escaped first, and asked then.
                    SharedPortState::Closed(MayBe::Stream) => self.become_plain(modem, now),
                    _ => self.probe(Then::Begin, modem, now),
                }
            }
            (_, PortInput::Lost) => {
                self.keep_changed();
                self.state = match self.state {
                    SharedPortState::Plain if modem.port_state(FIRST) == PortState::Data => {
                        SharedPortState::Closed(MayBe::Stream)
                    }
                    _ => SharedPortState::Closed(MayBe::Channels),
                };
                self.end_channels(modem, now);
                // While the line belonged to no channel, the modem has lost none.
                modem.port(FIRST, PortInput::Failed { is_missing: false }, now);
            }
            (_, PortInput::Facts(facts)) => {
                self.facts = facts;
                if let SharedPortState::Plain = self.state {
                    modem.port(FIRST, PortInput::Facts(self.facts_of_line()), now);
                }
            }
            (SharedPortState::Muxed(_), PortInput::Garbled { lost, wrong }) => {
                log::debug!("{}: {} lost, {wrong} wrong", self.facts.name, counted(lost, "byte"));
                self.line_damaged(modem, now);
            }
            (SharedPortState::Muxed(_), PortInput::Overrun) => self.line_damaged(modem, now),
            (SharedPortState::Plain | SharedPortState::Closed(_), input) => modem.port(FIRST, input, now),
            // The lines of the port mean nothing while it carries frames.
            (
                _,
                PortInput::Lines { .. }
                | PortInput::Queue(_)
                | PortInput::Garbled { .. }
                | PortInput::Overrun
                | PortInput::Failed { .. },
            ) => {}
        }
        self.settle(modem, now);
    }

    /// When [`SharedPort::deadline_passed`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.state {
            SharedPortState::Closed(_) | SharedPortState::Plain => None,
            SharedPortState::Probing(Probe::Plain { due, .. }, _) => Some(*due),
            SharedPortState::Starting(starting, ..) => Some(starting.deadline()),
            SharedPortState::Probing(Probe::Framed(mux), _)
            | SharedPortState::Muxed(mux)
            | SharedPortState::Leaving(mux, _) => mux.next_deadline(),
        }
    }

    /// Something is due.
    pub fn deadline_passed(&mut self, modem: &mut Modem, now: Instant) {
        self.now = now;
        match &mut self.state {
            SharedPortState::Closed(_) | SharedPortState::Plain => {}
            SharedPortState::Probing(Probe::Plain { tries, due, output, .. }, then) if *due <= now => {
                match *then {
                    _ if *tries < ASKS => {
                        *tries += 1;
                        *due = now + ASK_WAIT;
                        output.extend_from_slice(ASK);
                        record(modem, Side::Host, ASK, now);
                    }
                    Then::Begin => self.probe_by_frames(now),
                    Then::End => self.state = SharedPortState::Closed(MayBe::Channels),
                }
            }
            SharedPortState::Probing(Probe::Plain { .. }, _) => {}
            SharedPortState::Starting(starting, ..) => {
                let next = starting.due(now);
                self.started(next, modem, now);
            }
            SharedPortState::Probing(Probe::Framed(mux), _)
            | SharedPortState::Muxed(mux)
            | SharedPortState::Leaving(mux, _) => {
                mux.deadline_passed(now);
            }
        }
        self.settle(modem, now);
    }

    // What the program has to do.

    /// The next of it.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The program is about to end: the module is to leave the mode, and has its settings back.
    pub fn leave(&mut self, modem: &mut Modem, now: Instant) {
        match std::mem::replace(&mut self.state, SharedPortState::Closed(MayBe::Channels)) {
            SharedPortState::Muxed(mux) => self.leave_by(mux, Then::End, now),
            // It may be about to enter the mode.
            SharedPortState::Starting(starting, output, _) => {
                self.state = SharedPortState::Starting(starting, output, Then::End);
            }
            SharedPortState::Plain if !self.changed.is_empty() => self.probe(Then::End, modem, now),
            other => self.state = other,
        }
    }

    /// Whether nothing is left to be done before the program ends.
    pub fn has_left(&self) -> bool {
        !matches!(
            self.state,
            SharedPortState::Leaving(..)
                | SharedPortState::Probing(_, Then::End)
                | SharedPortState::Starting(.., Then::End)
        )
    }

    // Inside.

    /// Moves bytes between the line and the channels, and does what the modem asks for, until nothing is left to do.
    /// Returns whether there was anything.
    pub fn settle(&mut self, modem: &mut Modem, now: Instant) -> bool {
        self.now = now;
        let mut has_moved = false;
        loop {
            let mut moves = self.take_input(modem, now);
            if self.mux_mut().is_some_and(Mux::take_damage) {
                self.line_damaged(modem, now);
            }
            while let Some(action) = modem.poll_action() {
                self.act(action, modem, now);
                moves = true;
            }
            moves |= self.move_bytes(modem, now) || self.begin(modem, now);
            while let Some(event) = self.mux_mut().and_then(Mux::poll_event) {
                self.happened_in_mux(event, modem, now);
                moves = true;
            }
            if !moves {
                return has_moved;
            }
            has_moved = true;
        }
    }

    fn mux_mut(&mut self) -> Option<&mut Mux> {
        match &mut self.state {
            SharedPortState::Probing(Probe::Framed(mux), _)
            | SharedPortState::Muxed(mux)
            | SharedPortState::Leaving(mux, _) => Some(mux),
            SharedPortState::Closed(_)
            | SharedPortState::Probing(Probe::Plain { .. }, _)
            | SharedPortState::Plain
            | SharedPortState::Starting(..) => None,
        }
    }

    /// Gives the bytes that arrived to the channel, the frames or the dialogue that they are for. Returns whether any were
    /// taken.
    fn take_input(&mut self, modem: &mut Modem, now: Instant) -> bool {
        let bytes = self.input.as_slice();
        if bytes.is_empty() {
            return false;
        }
        let count = match &mut self.state {
            SharedPortState::Closed(_) => bytes.len(),
            SharedPortState::Plain => {
                let count = modem.wants_port_bytes(FIRST).min(bytes.len());
                modem.port_received(FIRST, &bytes[..count], now);
                count
            }
            SharedPortState::Probing(Probe::Plain { .. }, Then::Begin) if bytes.contains(&FLAG) => {
                // In a frame of an earlier run, where an answer is not one to our command.
                let count = bytes.len();
                self.input.consume(count);
                self.probe_by_frames(now);
                return true;
            }
            SharedPortState::Probing(Probe::Plain { tail, .. }, then) => {
                let then = *then;
                tail.extend_from_slice(bytes);
                let answer =
                    ANSWERS.iter().find(|answer| tail.windows(answer.len()).any(|it| it == **answer));
                if let Some(answer) = answer {
                    record(modem, Side::Modem, answer, now);
                }
                tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
                let count = bytes.len();
                self.input.consume(count);
                match then {
                    Then::Begin if answer.is_some() => {
                        self.module_answers();
                        self.become_plain(modem, now);
                    }
                    Then::End if answer.is_some() => self.state = SharedPortState::Closed(MayBe::Channels),
                    _ => {}
                }
                return true;
            }
            SharedPortState::Starting(starting, ..) => {
                let mut lines = Vec::new();
                let next = starting.received(bytes, &mut lines, now);
                for line in lines {
                    record(modem, Side::Modem, line.as_bytes(), now);
                }
                let count = bytes.len();
                self.input.consume(count);
                self.started(next, modem, now);
                return true;
            }
            SharedPortState::Probing(Probe::Framed(mux), _)
            | SharedPortState::Muxed(mux)
            | SharedPortState::Leaving(mux, _) => {
                match mux.is_framed() {
                    // A frame at a time: what a channel is sent must not overtake what came before on another.
                    true => {
                        let end = bytes.iter().position(|byte| *byte == FLAG);
                        let count = mux.received(&bytes[..end.map_or(bytes.len(), |end| end + 1)], now);
                        modem.line_was_busy(count, mux.turns_bytes());
                        count
                    }
                    // It was left or lost in the middle of this.
                    false => bytes.len(),
                }
            }
        };
        self.input.consume(count);
        count > 0
    }

    /// Moves bytes between the channels and their frames. Returns whether there were any.
    fn move_bytes(&mut self, modem: &mut Modem, now: Instant) -> bool {
        let SharedPortState::Muxed(mux) = &mut self.state else { return false };
        let mut moves = false;
        for dlci in DlciNumber::first(CHANNELS_MAX) {
            let channel = dlci.index();
            let count = mux.incoming(dlci).len().min(modem.wants_port_bytes(channel));
            if count > 0 {
                modem.port_received(channel, &mux.incoming(dlci)[..count], now);
                mux.consume(dlci, count, now);
                moves = true;
            }
            let count = modem.port_output(channel).len().min(mux.room(dlci));
            if count > 0 {
                mux.send_bytes(dlci, &modem.port_output(channel)[..count], now);
                modem.port_written(channel, count, now);
                moves = true;
            }
        }
        moves
    }

    // From state to state.

    /// Is the module in command mode, or still in the mode of an earlier run?
    fn probe(&mut self, then: Then, modem: &mut Modem, now: Instant) {
        let output = match then {
            Then::End if !self.changed.is_empty() => {
                let lines: Vec<String> = self.changed.drain(..).map(|setting| setting.line()).collect();
                format!("AT{}\r", lines.join(";")).into_bytes()
            }
            _ => ASK.to_vec(),
        };
        record(modem, Side::Host, &output, now);
        let due = now + ASK_WAIT;
        self.state = SharedPortState::Probing(Probe::Plain { tries: 1, due, output, tail: Vec::new() }, then);
    }

    fn probe_by_frames(&mut self, now: Instant) {
        // A module can hold CTS off while it has channels of an earlier run.
        if self.may_drop_flow_control() {
            self.set_flow_control(false);
        }
        let mut mux = self.new_mux(FRAME_BYTES_MIN, now);
        mux.probe(now);
        self.state = SharedPortState::Probing(Probe::Framed(mux), Then::Begin);
    }

    fn new_mux(&self, frame_bytes: u16, now: Instant) -> Box<Mux> {
        let mut mux = Mux::new(usize::from(frame_bytes), CHANNELS_MAX, self.baud, now);
        if self.facts.is_paced {
            mux.pace();
        }
        Box::new(mux)
    }

    /// The first channel has the line alone.
    fn become_plain(&mut self, modem: &mut Modem, now: Instant) {
        self.set_flow_control(true);
        self.state = SharedPortState::Plain;
        modem.port(FIRST, PortInput::Opened(self.facts_of_line()), now);
    }

    /// What the dialogue that begins the mode has changed is put back at the end.
    fn keep_changed(&mut self) {
        if let SharedPortState::Starting(starting, ..) = &mut self.state {
            for setting in starting.take_changed() {
                if !self.changed.iter().any(|known| known.is_same_key(&setting)) {
                    self.changed.push(setting);
                }
            }
        }
    }

    /// What follows in the dialogue that begins the mode.
    fn started(&mut self, next: StartingEffect, modem: &mut Modem, now: Instant) {
        if next == StartingEffect::Wait {
            return;
        }
        let SharedPortState::Starting(_, output, then) = &mut self.state else { return };
        let then = *then;
        match next {
            StartingEffect::Wait => {}
            StartingEffect::Send(text) if then == Then::Begin => {
                record(modem, Side::Host, text.as_bytes(), now);
                output.extend_from_slice(text.as_bytes());
            }
            StartingEffect::Started(frame_bytes) => {
                self.keep_changed();
                let mut mux = self.new_mux(frame_bytes, now);
                mux.open(now);
                match then {
                    Then::Begin => self.state = SharedPortState::Muxed(mux),
                    Then::End => self.leave_by(mux, Then::End, now),
                }
            }
            StartingEffect::Send(_) | StartingEffect::Refused => {
                self.keep_changed();
                if then == Then::End {
                    return self.probe(Then::End, modem, now);
                }
                match self.insists {
                    true => log::warn!(
                        "the modem on {} refuses AT+CMUX: going on with one channel",
                        self.facts.name
                    ),
                    false => {
                        log::info!("the modem on {} has no CMUX: going on with one channel", self.facts.name)
                    }
                }
                self.failures = FAILURES_MAX;
                self.become_plain(modem, now);
            }
        }
    }

    /// Begins the mode as soon as the modem has made its settings on the line. Returns whether it did.
    fn begin(&mut self, modem: &mut Modem, now: Instant) -> bool {
        let is_ready = matches!(self.state, SharedPortState::Plain) && modem.is_line_ready(FIRST);
        if is_ready {
            modem.hand_over(FIRST);
            let (starting, text) = Starting::new(self.baud, self.frame_bytes, self.insists, now);
            record(modem, Side::Host, text.as_bytes(), now);
            self.module_answers();
            self.state = SharedPortState::Starting(starting, text.as_bytes().to_vec(), Then::Begin);
        }
        is_ready
    }

    /// The search for the module is over.
    fn module_answers(&mut self) {
        self.last_search = Search::Answered;
        self.untried.clear();
    }

    fn set_baud(&mut self, baud: u32) {
        if self.baud != baud {
            self.baud = baud;
            self.actions.push_back(Action::SetBaud(FIRST, baud));
        }
    }

    /// Whether the port has RTS/CTS that can be switched off. A device server would have to be connected to anew.
    fn may_drop_flow_control(&self) -> bool {
        let PortFacts { is_uart, is_remote, lacks_flow_control, .. } = self.facts;
        self.has_flow_control && is_uart && !is_remote && !lacks_flow_control
    }

    /// The port is opened anew for that, at the speed that it always has at first.
    fn set_flow_control(&mut self, on: bool) {
        if self.has_flow_control != on {
            self.has_flow_control = on;
            self.facts.lacks_flow_control = !on;
            self.actions.push_back(Action::SetFlowControl(FIRST, on));
            let baud = std::mem::replace(&mut self.baud, self.opened_baud);
            self.set_baud(baud);
        }
    }

    fn leave_by(&mut self, mut mux: Box<Mux>, then: Then, now: Instant) {
        mux.leave(now);
        self.state = match mux.is_framed() {
            true => SharedPortState::Leaving(mux, then),
            false => SharedPortState::Closed(MayBe::Channels),
        };
    }

    /// The line has lost bytes, or carried wrong ones.
    fn line_damaged(&mut self, modem: &mut Modem, now: Instant) {
        modem.remark(FIRST, "a frame, or what was between frames, is damaged", now);
        self.tell_channels(&PortInput::Garbled { lost: 1, wrong: 0 }, modem, now);
    }

    /// Every channel is gone.
    fn end_channels(&mut self, modem: &mut Modem, now: Instant) {
        self.tell_channels(&PortInput::Lost, modem, now);
        while let Some(action) = modem.poll_action() {
            // That closes a channel, not the line.
            if !matches!(action, Action::ClosePort(_)) {
                self.act(action, modem, now);
            }
        }
    }

    fn tell_channels(&self, input: &PortInput, modem: &mut Modem, now: Instant) {
        for channel in 0..CHANNELS_MAX {
            modem.port(channel, input.clone(), now);
        }
    }

    fn happened_in_mux(&mut self, event: MuxEvent, modem: &mut Modem, now: Instant) {
        match event {
            MuxEvent::Found => {
                if let SharedPortState::Probing(Probe::Framed(mux), _) =
                    std::mem::replace(&mut self.state, SharedPortState::Closed(MayBe::Channels))
                {
                    log::info!(
                        "the modem on {} still has several channels, of an earlier run",
                        self.facts.name
                    );
                    self.module_answers();
                    self.leave_by(mux, Then::Begin, now);
                }
            }
            MuxEvent::NotFound => match self.untried.pop() {
                Some(baud) => {
                    self.set_baud(baud);
                    self.probe_by_frames(now);
                }
                None => {
                    self.set_baud(self.opened_baud);
                    self.last_search = Search::InVain;
                    self.become_plain(modem, now);
                }
            },
            MuxEvent::Opened(dlci) => {
                modem.remark(dlci.index(), "the channel is open", now);
                modem.port(dlci.index(), PortInput::Opened(self.facts_of(dlci)), now);
            }
            MuxEvent::Closed(dlci) => {
                modem.remark(dlci.index(), "the channel is closed", now);
                modem.port(dlci.index(), PortInput::Lost, now);
                // Where the modem closed it, it is opened again all the same.
                modem.port(dlci.index(), PortInput::Failed { is_missing: false }, now);
            }
            MuxEvent::Lines(dlci, lines) => {
                modem.remark(dlci.index(), &format!("lines of the modem: {}", report::lines_in(lines)), now);
                modem.port(dlci.index(), PortInput::Lines { dcd: lines.dcd() }, now);
            }
            MuxEvent::Running => {
                self.failures = 0;
                log::info!("{} carries {CHANNELS_MAX} channels (CMUX)", self.facts.name);
            }
            MuxEvent::Overrun(dlci) => {
                modem.port(dlci.index(), PortInput::Garbled { lost: 1, wrong: 0 }, now)
            }
            MuxEvent::Text(text) => log::debug!("{} outside of frames: {text:?}", self.facts.name),
            MuxEvent::Left => self.left(modem, now),
            MuxEvent::Lost(why) => self.lost(why, modem, now),
        }
    }

    /// The module takes commands again.
    fn left(&mut self, modem: &mut Modem, now: Instant) {
        match &self.state {
            SharedPortState::Leaving(_, Then::Begin) => {
                self.set_baud(self.opened_baud);
                self.become_plain(modem, now);
            }
            SharedPortState::Leaving(_, Then::End) => self.probe(Then::End, modem, now),
            _ => {}
        }
    }

    fn lost(&mut self, why: Lost, modem: &mut Modem, now: Instant) {
        log::warn!("{}: its channels (CMUX) are lost: {why}; opening them again", self.facts.name);
        modem.remark(FIRST, &format!("the channels are lost: {why}"), now);
        if matches!(self.state, SharedPortState::Leaving(_, Then::End)) {
            self.state = SharedPortState::Closed(MayBe::Channels);
            return;
        }
        modem.reclaim(FIRST);
        self.end_channels(modem, now);
        match why {
            Lost::NoAnswer | Lost::Refused => {
                self.failures += 1;
                self.probe(Then::Begin, modem, now);
            }
            Lost::Silent => self.probe(Then::Begin, modem, now),
            // It takes commands.
            Lost::Rebooted | Lost::Echo | Lost::LeftByModule => self.become_plain(modem, now),
        }
    }

    /// Does what the modem asks for at one of its ports, or has the program do it.
    fn act(&mut self, action: Action, modem: &mut Modem, now: Instant) {
        let channel = match &action {
            Action::OpenPort(channel)
            | Action::ClosePort(channel)
            | Action::SetBaud(channel, _)
            | Action::SetDtr(channel, _)
            | Action::SetFlowControl(channel, _)
            | Action::AskQueue(channel)
            | Action::AskLines(channel)
            | Action::NextDevice(channel) => *channel,
            Action::TellTime | Action::RunResetCommand | Action::RememberPin | Action::NetworkAnswered => {
                return self.actions.push_back(action);
            }
        };
        let SharedPortState::Muxed(mux) = &mut self.state else {
            return self.act_on_line(action, channel);
        };
        let Some(dlci) = DlciNumber::first(CHANNELS_MAX).nth(channel) else { return };
        match action {
            Action::OpenPort(_) => mux.open_channel(dlci, now),
            Action::ClosePort(_) => mux.close_channel(dlci, now),
            Action::SetDtr(_, on) => mux.set_dtr(dlci, on, now),
            Action::AskQueue(_) => {
                modem.port(channel, PortInput::Queue(mux.unsent(dlci)), now);
            }
            Action::AskLines(_) => {
                let dcd = mux.dlci(dlci).lines().is_some_and(V24::dcd);
                modem.port(channel, PortInput::Lines { dcd }, now);
            }
            Action::NextDevice(_) => {
                self.state = SharedPortState::Closed(MayBe::Channels);
                self.actions.push_back(Action::NextDevice(FIRST));
            }
            // A channel has no speed and no flow control of its own.
            _ => {}
        }
    }

    /// The same while the line has one channel.
    fn act_on_line(&mut self, action: Action, channel: usize) {
        if channel != FIRST {
            return;
        }
        match action {
            Action::OpenPort(_) if !matches!(self.state, SharedPortState::Closed(_)) => {}
            Action::SetBaud(_, baud) => {
                self.baud = baud;
                self.actions.push_back(action);
            }
            Action::ClosePort(_) if matches!(self.state, SharedPortState::Plain) => {
                self.state = SharedPortState::Closed(MayBe::Channels);
                self.actions.push_back(action);
            }
            // The modem no longer has the line, or not yet.
            Action::ClosePort(_) => {}
            action => self.actions.push_back(action),
        }
    }

    /// The line, as a port of one channel.
    fn facts_of_line(&self) -> PortFacts {
        let is_line = self.facts.is_uart || self.facts.is_remote;
        let is_tried = (is_line || self.insists) && self.failures < FAILURES_MAX;
        let sharing = if is_tried { Sharing::Wanted } else { Sharing::Only };
        PortFacts { sharing, ..self.facts.clone() }
    }

    /// A channel, as a port.
    fn facts_of(&self, dlci: DlciNumber) -> PortFacts {
        PortFacts {
            name: format!("{} channel {}", self.facts.name, dlci.get()),
            is_uart: false,
            is_remote: false,
            has_dcd: true,
            dcd_is_live: false,
            has_dtr: true,
            // A channel of its own can be stopped.
            drops_unread: false,
            sharing: Sharing::Shared,
            ..self.facts.clone()
        }
    }
}

/// The channel that has the line alone, where there is one.
const FIRST: usize = 0;

/// The most that is read at once, in bytes.
pub(crate) const READ_BYTES: usize = 2 * 1024;

/// A line of the dialogue passed, while the line belonged to no channel.
fn record(modem: &mut Modem, side: Side, line: &[u8], now: Instant) {
    modem.record(FIRST, side, String::from_utf8_lossy(line).trim(), now);
}

/// Asks a module that takes commands.
const ASK: &[u8] = b"AT\r";

/// Its answers, also to an earlier command.
const ANSWERS: [&[u8]; 2] = [b"\r\nOK\r\n", b"ERROR\r\n"];

/// How often it is asked, and for how long each time.
const ASKS: u32 = 2;
const ASK_WAIT: Duration = Duration::from_millis(300);

/// How often entering the mode fails before the line keeps one channel.
const FAILURES_MAX: u32 = 2;

/// How many of the last bytes are searched for an answer.
const TAIL_BYTES: usize = 32;

/// Frames of this size are taken by every module; a probe needs no longer ones.
const FRAME_BYTES_MIN: u16 = 31;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    /// A port that was opened, and its modem.
    fn opened(now: Instant) -> (SharedPort, Modem) {
        let settings = settings::Modem { cmux: Cmux::On, ..settings::Modem::default() };
        let mut port = SharedPort::new(&settings, 1, now).expect("several channels are wanted");
        let ports = vec![settings::Port::default(); CHANNELS_MAX];
        let mut modem = Modem::new(ports, settings, Vec::new(), now);
        port.happened(PortInput::Opened(PortFacts::default()), &mut modem, now);
        assert_eq!(port.output(&modem), ASK);
        (port, modem)
    }

    /// A port, its modem, and the time.
    struct Bench {
        port: SharedPort,
        modem: Modem,
        now: Instant,
    }

    impl Bench {
        fn opened() -> Bench {
            let now = now();
            let (port, modem) = opened(now);
            Bench { port, modem, now }
        }

        fn hears(&mut self, bytes: &[u8]) {
            self.port.received(bytes, &mut self.modem, self.now);
        }

        /// What leaves, as text.
        fn sent(&mut self) -> String {
            let bytes = self.port.output(&self.modem).to_vec();
            self.port.written(bytes.len(), &mut self.modem, self.now);
            String::from_utf8_lossy(&bytes).into_owned()
        }

        /// The module answers commands until the port is in this state.
        fn answers_until(&mut self, state: &str) {
            while self.state() != state {
                if self.sent().is_empty() {
                    self.now = self.modem.next_deadline().expect("the modem waits for something");
                    self.modem.deadline_passed(self.now);
                    self.port.settle(&mut self.modem, self.now);
                } else {
                    self.hears(b"\r\nOK\r\n");
                }
            }
        }

        /// Deadlines pass, but none of the modem's, until the state changes or nothing is due within a minute.
        fn waits(&mut self) {
            let (before, end) = (self.state(), self.now + Duration::from_secs(60));
            while let Some(due) = self.port.next_deadline().filter(|due| *due < end)
                && self.state() == before
            {
                self.now = self.now.max(due);
                self.sent();
                self.port.deadline_passed(&mut self.modem, self.now);
            }
        }

        fn state(&self) -> &'static str {
            match &self.port.state {
                SharedPortState::Closed(_) => "closed",
                SharedPortState::Probing(Probe::Plain { .. }, Then::Begin) => "asked",
                SharedPortState::Probing(Probe::Plain { .. }, Then::End) => "asked at the end",
                SharedPortState::Probing(Probe::Framed(_), _) => "asked by frames",
                SharedPortState::Plain => "plain",
                SharedPortState::Starting(..) => "starting",
                SharedPortState::Muxed(_) => "muxed",
                SharedPortState::Leaving(..) => "leaving",
            }
        }
    }

    #[test]
    fn each_event_leads_from_each_state_to_the_one_that_the_diagram_shows() {
        let asked = Bench::opened;
        let closed = || {
            let mut bench = Bench::opened();
            bench.port.happened(PortInput::Lost, &mut bench.modem, bench.now);
            bench
        };
        let by_frames = || {
            let mut bench = Bench::opened();
            bench.waits();
            bench
        };
        let plain = || {
            let mut bench = Bench::opened();
            bench.hears(b"\r\nOK\r\n");
            bench
        };
        let starting = || {
            let mut bench = plain();
            bench.answers_until("starting");
            bench
        };
        let muxed = || {
            let mut bench = starting();
            while bench.state() == "starting" {
                bench.sent();
                bench.hears(b"\r\nOK\r\n");
                bench.waits();
            }
            bench
        };
        let leaving = || {
            let mut bench = muxed();
            bench.port.leave(&mut bench.modem, bench.now);
            bench
        };
        type Change = fn(&mut Bench);
        let opened: Change = |it| {
            it.port.happened(PortInput::Opened(PortFacts::default()), &mut it.modem, it.now);
        };
        let lost: Change = |it| it.port.happened(PortInput::Lost, &mut it.modem, it.now);
        let answer: Change = |it| it.hears(b"\r\nOK\r\n");
        let silence: Change = Bench::waits;
        let end: Change = |it| it.port.leave(&mut it.modem, it.now);
        type Row<'a> = (&'static str, &'a dyn Fn() -> Bench, [&'static str; 5]);
        let rows: [Row<'_>; 7] = [
            ("closed", &closed, ["asked", "closed", "closed", "closed", "closed"]),
            ("asked", &asked, ["asked", "closed", "plain", "asked by frames", "asked"]),
            (
                "asked by frames",
                &by_frames,
                ["asked", "closed", "asked by frames", "plain", "asked by frames"],
            ),
            ("plain", &plain, ["asked", "closed", "plain", "plain", "plain"]),
            ("starting", &starting, ["asked", "closed", "starting", "muxed", "starting"]),
            ("muxed", &muxed, ["asked", "closed", "muxed", "asked", "leaving"]),
            ("leaving", &leaving, ["asked", "closed", "leaving", "asked at the end", "leaving"]),
        ];
        for (state, make, expected) in rows {
            for (change, after) in [opened, lost, answer, silence, end].into_iter().zip(expected) {
                let mut bench = make();
                assert_eq!(bench.state(), state);
                change(&mut bench);
                assert_eq!(bench.state(), after, "from {state}");
            }
        }
    }

    #[test]
    fn an_answer_counts_if_it_is_in_no_frame() {
        let now = now();
        let (mut port, mut modem) = opened(now);
        port.received(b"AT\r\r\nOK\r\n", &mut modem, now);
        assert!(port.is_plain());

        // Frames for an earlier run arrive whole, or from their middle on.
        for framed in [&b"\xF9\x05\xEF\x0D\r\nOK\r\n\x46\xF9"[..], b"\n\r\nOK\r\n\x46\xF9\x05"] {
            let (mut port, mut modem) = opened(now);
            port.received(framed, &mut modem, now);
            assert!(!port.is_plain(), "{framed:?}");
            assert!(port.output(&modem).starts_with(&[FLAG, FLAG]), "it is asked by frames");
        }
    }
}
