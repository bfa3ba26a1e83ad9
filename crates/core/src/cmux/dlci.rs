//! One DLCI: whether it is open, its V.24 lines, its flow control both ways, and its queues.
//!
//! Every method takes what happened and returns what is to be done. The multiplexer knows when an answer is due, and
//! passes it in as `due`.

use std::time::{Duration, Instant};

use super::message::V24;
use crate::byte_queue::ByteQueue;

/// A DLCI that can be a channel: 1 to [`CHANNELS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DlciNumber(u8);

impl DlciNumber {
    /// The first channel, which is for commands and URCs.
    pub const FIRST: DlciNumber = DlciNumber(1);

    /// The DLCI of this number, if it is one of a channel.
    pub fn new(number: u8) -> Option<Self> {
        (1..=CHANNELS_MAX as u8).contains(&number).then_some(DlciNumber(number))
    }

    /// The first `count` of them.
    pub fn first(count: usize) -> impl Iterator<Item = DlciNumber> {
        (1..=count.min(CHANNELS_MAX) as u8).map(DlciNumber)
    }

    /// Its number on the wire, 1 to [`CHANNELS_MAX`].
    pub fn get(self) -> u8 {
        self.0
    }

    /// Its index among the channels, from 0.
    pub fn index(self) -> usize {
        usize::from(self.0) - 1
    }
}

/// A DLCI.
#[derive(Debug)]
pub struct Dlci {
    state: DlciState,
    /// Bytes from the module. They outlast the state: what came before the end is still delivered.
    incoming: ByteQueue,
    /// Bytes to the module.
    outgoing: ByteQueue,
    /// N1 of this DLCI, in bytes.
    frame_size: usize,
    /// Times of earlier holds.
    held: HeldTimes,
}

/// The state of a DLCI.
///
/// ```text
///            open()              UA                 close()              UA, DM, no answer
///  Closed ───────────► Opening ──────────► Open ───────────────► Closing ───────────────► Closed
///    │                    │ refused,        ▲ │ DISC, DM
///    │                    │ no answer       │ └─────────────────► Closed
///    │                    └──► Closed       │
///    └──────────────SABM of the module──────┘
/// ```
#[derive(Debug)]
pub enum DlciState {
    /// Not in use.
    Closed,
    /// SABM is on its way.
    Opening(Opening),
    /// It carries bytes.
    Open(Open),
    /// DISC is on its way.
    Closing(Attempt),
}

/// An open that is under way.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    attempt: Attempt,
    /// DM came after the last SABM. It may be the answer to something older.
    refused: bool,
    /// How often the module's own SABM was answered meanwhile. If that SABM was our own, as an echo, as many UA come
    /// back, and they do not count.
    echoes_max: u8,
}

/// Something that is sent again until it is answered.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// How often it was sent.
    sent: u8,
    /// When it counts as not answered.
    due: Instant,
}

/// What an open DLCI knows.
#[derive(Debug)]
pub struct Open {
    /// The lines that we show.
    ours: V24,
    /// They were sent, and not answered yet.
    unanswered: Option<Attempt>,
    /// The lines that the module showed last.
    theirs: Option<V24>,
    sending: Sending,
    taking: Taking,
}

/// Whether the module takes our data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Free,
    /// FC is set.
    FlowOff {
        since: Instant,
        /// The module may have lost sight of it, and is asked then.
        ask: Instant,
    },
    /// RTR went off. Modules do that by mistake, so it counts only until then.
    NotReady {
        since: Instant,
        until: Instant,
    },
}

/// Whether we take the module's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    All,
    /// FC is set.
    Holding {
        since: Instant,
    },
    /// What comes is dropped: the module did not stop in time, and the stream is broken.
    Dropping,
}

/// For how long the flow control of a DLCI held data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldTimes {
    /// Ours, by the module.
    pub by_module: Duration,
    /// The module's, by us.
    pub by_us: Duration,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DlciEffect {
    /// Send SABM.
    Sabm,
    /// Send UA.
    Ua,
    /// Send DM.
    Dm,
    /// Send DISC, with P/F set or clear: some modules answer only one of them.
    Disc {
        /// P/F.
        is_polled: bool,
    },
    /// Send MSC.
    Lines(V24),
    /// Find out whether the module is still alive.
    AskAlive,
    /// It is open: report that and send MSC.
    Opened(V24),
    /// It is closed: report that.
    Closed,
    /// The same, and send UA.
    ClosedByModule,
    /// Report the module's lines.
    Changed(V24),
}

impl Attempt {
    /// The first.
    pub fn new(due: Instant) -> Self {
        Attempt { sent: 1, due }
    }

    /// When it counts as not answered.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// How often it was sent.
    pub fn sent(&self) -> u8 {
        self.sent
    }

    /// One more, to be answered by `due`; false: it was the last.
    pub fn repeat(&mut self, due: Instant) -> bool {
        let may_repeat = self.sent <= REPEATS_MAX;
        if may_repeat {
            *self = Attempt { sent: self.sent + 1, due };
        }
        may_repeat
    }
}

impl Opening {
    /// The first SABM was sent.
    pub fn new(due: Instant) -> Self {
        Opening { attempt: Attempt::new(due), refused: false, echoes_max: 0 }
    }

    /// When the SABM counts as not answered.
    pub fn due(&self) -> Instant {
        self.attempt.due
    }

    /// The module sent SABM, and it is answered.
    pub fn sabm(&mut self) {
        self.echoes_max = self.echoes_max.saturating_add(1);
    }

    /// UA came. Whether it is the answer.
    pub fn ua(&mut self) -> bool {
        let is_answer = self.echoes_max == 0;
        self.echoes_max = self.echoes_max.saturating_sub(1);
        is_answer
    }

    /// DM came.
    pub fn dm(&mut self) {
        self.refused = true;
    }

    /// The SABM was not answered. Whether it is sent again, to be answered by `again`.
    pub fn repeat(&mut self, again: Instant) -> Result<(), NotOpened> {
        if self.refused && self.attempt.sent >= REFUSALS_MIN {
            return Err(NotOpened::Refused);
        }
        self.refused = false;
        if self.attempt.repeat(again) { Ok(()) } else { Err(NotOpened::NoAnswer) }
    }
}

/// Why a DLCI could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// DM.
    Refused,
    /// Nothing came.
    NoAnswer,
}

impl Dlci {
    /// A closed one, for frames of up to `frame_size` bytes.
    pub fn new(frame_size: usize) -> Self {
        Dlci {
            state: DlciState::Closed,
            incoming: ByteQueue::with_step(INCOMING_LIMIT_BYTES, STEP_BYTES),
            outgoing: ByteQueue::with_step(
                (2 * frame_size).min(OUTGOING_LIMIT_BYTES.max(frame_size)),
                STEP_BYTES,
            ),
            frame_size,
            held: HeldTimes::default(),
        }
    }

    // What it knows.

    /// Its state.
    pub fn state(&self) -> &DlciState {
        &self.state
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        matches!(self.state, DlciState::Open(_))
    }

    /// The lines that the module showed last.
    pub fn lines(&self) -> Option<V24> {
        self.open_state().and_then(|open| open.theirs)
    }

    /// The lines that we show.
    pub fn our_lines(&self) -> Option<V24> {
        self.open_state().map(|open| open.ours)
    }

    /// Whether lines that we sent are not answered.
    pub fn waits_for_lines(&self) -> bool {
        self.open_state().is_some_and(|open| open.unanswered.is_some())
    }

    /// For how long data was held.
    pub fn held(&self, now: Instant) -> HeldTimes {
        let mut held = self.held;
        if let Some(open) = self.open_state() {
            held.by_module += open.sending.lasted(now);
            held.by_us += open.taking.lasted(now);
        }
        held
    }

    /// What came and was not consumed.
    pub fn incoming(&self) -> &[u8] {
        self.incoming.as_slice()
    }

    /// What the next frame carries, if the module takes it.
    pub fn next_frame(&self) -> &[u8] {
        match &self.state {
            DlciState::Open(Open { sending: Sending::Free, .. }) => {
                let outgoing = self.outgoing.as_slice();
                &outgoing[..outgoing.len().min(self.frame_size)]
            }
            _ => &[],
        }
    }

    /// How many bytes of memory its queues have taken.
    pub fn memory_bytes(&self) -> usize {
        self.incoming.capacity() + self.outgoing.capacity()
    }

    /// How many bytes wait to be framed.
    pub fn unsent(&self) -> usize {
        self.outgoing.len()
    }

    /// How many bytes [`Dlci::send`] takes.
    pub fn room(&self) -> usize {
        if self.is_open() { self.outgoing.room() } else { 0 }
    }

    /// Whether it can take a frame of `frame_max` bytes, and, as long as the module is not held, is below the mark.
    pub fn may_take(&self, frame_max: usize) -> bool {
        match self.open_state().map(|open| open.taking) {
            Some(Taking::All) => self.incoming.len() < HOLD_MARK_BYTES && self.incoming.room() >= frame_max,
            Some(Taking::Holding { .. }) => self.incoming.room() >= frame_max,
            Some(Taking::Dropping) | None => true,
        }
    }

    /// When [`Dlci::deadline_passed`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        match &self.state {
            DlciState::Closed => None,
            DlciState::Opening(opening) => Some(opening.due()),
            DlciState::Closing(attempt) => Some(attempt.due),
            DlciState::Open(open) => {
                let held_until = match open.sending {
                    Sending::FlowOff { ask: until, .. } | Sending::NotReady { until, .. } => Some(until),
                    Sending::Free => None,
                };
                open.unanswered.map(|attempt| attempt.due).into_iter().chain(held_until).min()
            }
        }
    }

    // What happens to it.

    /// It is opened: bytes of an earlier conversation are dropped.
    pub fn open(&mut self, due: Instant) -> Option<DlciEffect> {
        if !matches!(self.state, DlciState::Closed) {
            return None;
        }
        self.incoming.reset();
        self.state = DlciState::Opening(Opening::new(due));
        Some(DlciEffect::Sabm)
    }

    /// It is closed. What waits to leave is dropped.
    pub fn close(&mut self, due: Instant, now: Instant) -> Option<DlciEffect> {
        if !matches!(self.state, DlciState::Open(_) | DlciState::Opening(_)) {
            return None;
        }
        self.leave_open(now);
        self.state = DlciState::Closing(Attempt::new(due));
        Some(DlciEffect::Disc { is_polled: true })
    }

    /// The multiplexer is left or lost.
    pub fn end(&mut self, now: Instant) {
        self.leave_open(now);
        self.state = DlciState::Closed;
    }

    /// SABM of the module.
    pub fn sabm(&mut self, due: Instant) -> [Option<DlciEffect>; 2] {
        match &mut self.state {
            DlciState::Opening(opening) => opening.sabm(),
            DlciState::Closed => return [Some(DlciEffect::Ua), self.opened(due)],
            DlciState::Open(_) | DlciState::Closing(_) => {}
        }
        [Some(DlciEffect::Ua), None]
    }

    /// UA.
    pub fn ua(&mut self, due: Instant) -> Option<DlciEffect> {
        match &mut self.state {
            DlciState::Opening(opening) => {
                if opening.ua() {
                    self.opened(due)
                } else {
                    None
                }
            }
            DlciState::Closing(_) => self.closed(),
            DlciState::Open(_) | DlciState::Closed => None,
        }
    }

    /// DM.
    pub fn dm(&mut self, now: Instant) -> Option<DlciEffect> {
        match &mut self.state {
            DlciState::Opening(opening) => {
                opening.dm();
                None
            }
            DlciState::Open(_) => {
                self.leave_open(now);
                self.closed()
            }
            DlciState::Closing(_) => self.closed(),
            DlciState::Closed => None,
        }
    }

    /// DISC of the module.
    pub fn disc(&mut self, now: Instant) -> Option<DlciEffect> {
        match &self.state {
            DlciState::Closed => Some(DlciEffect::Ua),
            // It crossed our own SABM, which is answered after it.
            DlciState::Opening(_) => Some(DlciEffect::Ua),
            DlciState::Open(_) | DlciState::Closing(_) => {
                self.leave_open(now);
                self.closed();
                Some(DlciEffect::ClosedByModule)
            }
        }
    }

    /// Data came. The caller has made sure of [`Dlci::may_take`].
    pub fn data(&mut self, bytes: &[u8]) -> Option<DlciEffect> {
        let DlciState::Open(open) = &self.state else {
            // While it is being opened or closed the module may have sent it before it knew.
            return matches!(self.state, DlciState::Closed).then_some(DlciEffect::Dm);
        };
        if open.taking != Taking::Dropping {
            self.incoming.append(bytes);
        }
        None
    }

    /// The module shows its lines.
    pub fn lines_came(&mut self, lines: V24, now: Instant) -> Option<DlciEffect> {
        let DlciState::Open(open) = &mut self.state else { return None };
        let before = open.theirs.replace(lines);
        let was_ready = before.is_none_or(V24::rtr);
        let sending = match open.sending {
            before @ Sending::FlowOff { .. } if lines.flow_is_off() => before,
            _ if lines.flow_is_off() => Sending::FlowOff { since: now, ask: now + FLOW_OFF_ASK },
            before @ Sending::NotReady { .. } if !lines.rtr() => before,
            // It counts once: lines that are repeated do not hold data again.
            _ if !lines.rtr() && was_ready => Sending::NotReady { since: now, until: now + NOT_READY_MAX },
            _ => Sending::Free,
        };
        if sending != open.sending {
            self.held.by_module += open.sending.lasted(now);
            open.sending = sending;
        }
        (before != Some(lines)).then_some(DlciEffect::Changed(lines))
    }

    /// The module answered MSC with these lines.
    pub fn lines_answered(&mut self, lines: V24) {
        if let DlciState::Open(open) = &mut self.state {
            // The answer to earlier lines does not end the repetition of the last.
            if lines.octet() == open.ours.octet() {
                open.unanswered = None;
            }
        }
    }

    /// DTR is set or clear. Nothing happens on a DLCI that is not open: it opens with DTR set.
    pub fn set_dtr(&mut self, is_set: bool, due: Instant) -> Option<DlciEffect> {
        let DlciState::Open(open) = &mut self.state else { return None };
        let lines = open.ours.with_rtc(is_set);
        (lines != open.ours).then(|| open.show(lines, due))
    }

    /// The lines are sent once more.
    pub fn show_again(&mut self, due: Instant) -> Option<DlciEffect> {
        let DlciState::Open(open) = &mut self.state else { return None };
        Some(open.show(open.ours, due))
    }

    /// Bytes to be sent. Returns how many it took.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        if self.is_open() { self.outgoing.append(bytes) } else { 0 }
    }

    /// This many bytes of [`Dlci::next_frame`] are in a frame.
    pub fn framed(&mut self, count: usize) {
        self.outgoing.consume(count);
    }

    /// The user had the chance to consume, and too much waits: the module is held.
    pub fn hold(&mut self, due: Instant, now: Instant) -> Option<DlciEffect> {
        let DlciState::Open(open) = &mut self.state else { return None };
        if open.taking != Taking::All {
            return None;
        }
        open.taking = Taking::Holding { since: now };
        Some(open.show(open.ours.with_flow_off(true), due))
    }

    /// The user took `count` bytes.
    ///
    /// # Panics
    /// If fewer were in [`Dlci::incoming`].
    pub fn consume(&mut self, count: usize, due: Instant, now: Instant) -> Option<DlciEffect> {
        self.incoming.consume(count);
        if self.incoming.is_empty() && self.incoming.capacity() > KEPT_BYTES {
            self.incoming.reset();
        }
        let DlciState::Open(open) = &mut self.state else { return None };
        if !matches!(open.taking, Taking::Holding { .. }) || self.incoming.len() >= RELEASE_MARK_BYTES {
            return None;
        }
        self.held.by_us += open.taking.lasted(now);
        open.taking = Taking::All;
        Some(open.show(open.ours.with_flow_off(false), due))
    }

    /// What waits is dropped, and what comes until it is closed: the module did not stop, and the user does not read.
    pub fn overrun(&mut self, due: Instant, now: Instant) -> Option<DlciEffect> {
        self.incoming.reset();
        let DlciState::Open(open) = &mut self.state else { return None };
        self.held.by_us += open.taking.lasted(now);
        open.taking = Taking::Dropping;
        Some(open.show(open.ours.with_flow_off(false), due))
    }

    /// A new conversation begins: bytes of earlier ones are dropped.
    pub fn begin_anew(&mut self, frame_size: usize) {
        self.state = DlciState::Closed;
        self.incoming.reset();
        self.outgoing.reset();
        self.frame_size = frame_size;
    }

    /// A smaller N1 was agreed on.
    pub fn limit_frame_size(&mut self, frame_size: usize) {
        self.frame_size = self.frame_size.min(frame_size.max(1));
    }

    /// The deadline has passed. `again` and `message_again`: when the answer to a frame and to a message that is sent now is
    /// due.
    pub fn deadline_passed(
        &mut self,
        again: Instant,
        message_again: Instant,
        now: Instant,
    ) -> Option<DlciEffect> {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        match &mut self.state {
            DlciState::Closed => None,
            DlciState::Opening(opening) => match opening.repeat(again) {
                Ok(()) => Some(DlciEffect::Sabm),
                Err(_) => self.closed(),
            },
            DlciState::Closing(attempt) => {
                let is_polled = attempt.sent.is_multiple_of(2);
                if attempt.repeat(again) { Some(DlciEffect::Disc { is_polled }) } else { self.closed() }
            }
            DlciState::Open(open) => {
                match &mut open.sending {
                    Sending::NotReady { until, .. } if *until <= now => {
                        self.held.by_module += open.sending.lasted(now);
                        open.sending = Sending::Free;
                        return Some(DlciEffect::AskAlive);
                    }
                    Sending::FlowOff { ask, .. } if *ask <= now => {
                        *ask = now + FLOW_OFF_ASK;
                        return Some(DlciEffect::AskAlive);
                    }
                    _ => {}
                }
                let attempt = open.unanswered.as_mut()?;
                if attempt.repeat(message_again) {
                    return Some(DlciEffect::Lines(open.ours));
                }
                // Some modules never answer MSC.
                open.unanswered = None;
                None
            }
        }
    }

    // Its transitions.

    fn opened(&mut self, due: Instant) -> Option<DlciEffect> {
        let ours = V24::HOST;
        self.state = DlciState::Open(Open {
            ours,
            unanswered: Some(Attempt::new(due)),
            theirs: None,
            sending: Sending::Free,
            taking: Taking::All,
        });
        Some(DlciEffect::Opened(ours))
    }

    fn closed(&mut self) -> Option<DlciEffect> {
        self.state = DlciState::Closed;
        Some(DlciEffect::Closed)
    }

    /// What only an open one has is over.
    fn leave_open(&mut self, now: Instant) {
        self.held = self.held(now);
        self.outgoing.reset();
    }

    fn open_state(&self) -> Option<&Open> {
        match &self.state {
            DlciState::Open(open) => Some(open),
            _ => None,
        }
    }
}

impl Open {
    /// Other lines are shown.
    fn show(&mut self, lines: V24, due: Instant) -> DlciEffect {
        self.ours = lines;
        self.unanswered = Some(Attempt::new(due));
        DlciEffect::Lines(lines)
    }
}

impl Sending {
    fn lasted(self, now: Instant) -> Duration {
        match self {
            Sending::Free => Duration::ZERO,
            Sending::FlowOff { since, .. } | Sending::NotReady { since, .. } => {
                now.saturating_duration_since(since)
            }
        }
    }
}

impl Taking {
    fn lasted(self, now: Instant) -> Duration {
        match self {
            Taking::All | Taking::Dropping => Duration::ZERO,
            Taking::Holding { since } => now.saturating_duration_since(since),
        }
    }
}

/// How many channels a module has.
pub const CHANNELS_MAX: usize = 4;

/// N2: how often something that is not answered is sent again.
pub const REPEATS_MAX: u8 = 3;

/// DM counts as a refusal only from this SABM on: the first may have been the answer to something older.
const REFUSALS_MIN: u8 = 2;

/// The module is held when this many bytes wait for the user.
pub const HOLD_MARK_BYTES: usize = 16 * 1024;

/// The module is released when fewer bytes than this wait.
pub const RELEASE_MARK_BYTES: usize = 6 * 1024;

const _: () =
    assert!(RELEASE_MARK_BYTES < HOLD_MARK_BYTES / 2, "a module that was held must be released in time");

/// The limit of the queue from the module: the mark, and what arrives before the module stops.
pub const INCOMING_LIMIT_BYTES: usize = HOLD_MARK_BYTES + 8 * 1024;

/// An empty queue keeps at most this much memory.
const KEPT_BYTES: usize = 4 * 1024;

/// The memory of a queue grows in steps of this size.
const STEP_BYTES: usize = 512;

/// The limit of the queue to the module: two frames, but not more than this unless a frame is longer.
const OUTGOING_LIMIT_BYTES: usize = 2 * 1024;

/// How long RTR that is off holds data.
pub const NOT_READY_MAX: Duration = Duration::from_secs(2);

/// A module that has held a channel for so long is asked whether it is still there. FC itself may last for ever: a server
/// need not read.
const FLOW_OFF_ASK: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    const WAIT: Duration = Duration::from_millis(100);

    fn dlci(state: &str) -> Dlci {
        let (mut dlci, now) = (Dlci::new(127), now());
        if state != "closed" {
            dlci.open(now + WAIT);
        }
        if state == "open" {
            dlci.ua(now + WAIT);
        }
        if state == "closing" {
            dlci.close(now + WAIT, now);
        }
        assert_eq!(name(&dlci), state);
        dlci
    }

    fn name(dlci: &Dlci) -> &'static str {
        match dlci.state() {
            DlciState::Closed => "closed",
            DlciState::Opening(_) => "opening",
            DlciState::Open(_) => "open",
            DlciState::Closing(_) => "closing",
        }
    }

    #[test]
    fn every_event_has_its_effect_in_every_state() {
        type Event = fn(&mut Dlci) -> Vec<DlciEffect>;
        let open: Event = |it| it.open(now() + WAIT).into_iter().collect();
        let close: Event = |it| it.close(now() + WAIT, now()).into_iter().collect();
        let sabm: Event = |it| it.sabm(now() + WAIT).into_iter().flatten().collect();
        let ua: Event = |it| it.ua(now() + WAIT).into_iter().collect();
        let dm: Event = |it| it.dm(now()).into_iter().collect();
        let disc: Event = |it| it.disc(now()).into_iter().collect();
        let data: Event = |it| it.data(b"abc").into_iter().collect();
        let lines: Event = |it| it.lines_came(V24::from(0x8D), now()).into_iter().collect();
        let dtr: Event = |it| it.set_dtr(false, now() + WAIT).into_iter().collect();
        let (no, opened) = (Vec::new, || DlciEffect::Opened(V24::HOST));
        let disc_sent = || vec![DlciEffect::Disc { is_polled: true }];
        for (state, event, effects, then) in [
            ("closed", open, vec![DlciEffect::Sabm], "opening"),
            ("closed", close, no(), "closed"),
            ("closed", sabm, vec![DlciEffect::Ua, opened()], "open"),
            ("closed", ua, no(), "closed"),
            ("closed", dm, no(), "closed"),
            ("closed", disc, vec![DlciEffect::Ua], "closed"),
            ("closed", data, vec![DlciEffect::Dm], "closed"),
            ("closed", lines, no(), "closed"),
            ("closed", dtr, no(), "closed"),
            ("opening", open, no(), "opening"),
            ("opening", close, disc_sent(), "closing"),
            ("opening", sabm, vec![DlciEffect::Ua], "opening"),
            ("opening", ua, vec![opened()], "open"),
            ("opening", dm, no(), "opening"),
            ("opening", disc, vec![DlciEffect::Ua], "opening"),
            ("opening", data, no(), "opening"),
            ("opening", lines, no(), "opening"),
            ("opening", dtr, no(), "opening"),
            ("open", open, no(), "open"),
            ("open", close, disc_sent(), "closing"),
            ("open", sabm, vec![DlciEffect::Ua], "open"),
            ("open", ua, no(), "open"),
            ("open", dm, vec![DlciEffect::Closed], "closed"),
            ("open", disc, vec![DlciEffect::ClosedByModule], "closed"),
            ("open", data, no(), "open"),
            ("open", lines, vec![DlciEffect::Changed(V24::from(0x8D))], "open"),
            ("open", dtr, vec![DlciEffect::Lines(V24::HOST.with_rtc(false))], "open"),
            ("closing", open, no(), "closing"),
            ("closing", close, no(), "closing"),
            ("closing", sabm, vec![DlciEffect::Ua], "closing"),
            ("closing", ua, vec![DlciEffect::Closed], "closed"),
            ("closing", dm, vec![DlciEffect::Closed], "closed"),
            ("closing", disc, vec![DlciEffect::ClosedByModule], "closed"),
            ("closing", data, no(), "closing"),
            ("closing", lines, no(), "closing"),
            ("closing", dtr, no(), "closing"),
        ] {
            let mut dlci = dlci(state);
            assert_eq!((event(&mut dlci), name(&dlci)), (effects, then), "when {state}");
        }
    }

    #[test]
    fn what_is_not_answered_is_repeated_three_times() {
        for (state, ends_as) in [("opening", "closed"), ("closing", "closed"), ("open", "open")] {
            let mut dlci = dlci(state);
            let mut effects = Vec::new();
            while let Some(deadline) = dlci.next_deadline() {
                assert_eq!(
                    dlci.deadline_passed(deadline + WAIT, deadline + WAIT, deadline - WAIT / 2),
                    None,
                    "too early"
                );
                effects.extend(dlci.deadline_passed(deadline + WAIT, deadline + WAIT, deadline));
            }
            let disc = |is_polled| DlciEffect::Disc { is_polled };
            let expected = match state {
                "opening" => vec![DlciEffect::Sabm, DlciEffect::Sabm, DlciEffect::Sabm, DlciEffect::Closed],
                "closing" => vec![disc(false), disc(true), disc(false), DlciEffect::Closed],
                _ => vec![DlciEffect::Lines(V24::HOST); 3],
            };
            assert_eq!((effects, name(&dlci)), (expected, ends_as));
        }
    }

    #[test]
    fn a_number_is_one_of_a_channel_or_none() {
        let numbers: Vec<u8> = (0..=255).filter_map(DlciNumber::new).map(DlciNumber::get).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        assert_eq!(DlciNumber::first(200).map(DlciNumber::index).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(DlciNumber::first(1).collect::<Vec<_>>(), [DlciNumber::FIRST]);
    }
}
