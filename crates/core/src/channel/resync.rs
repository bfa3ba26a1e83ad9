//! Getting a modem to answer, whatever state its last user left it in.
//!
//! ```text
//!   Quiet ──► Asking ──OK──► Settling ──quiet──► awake
//!               │ silent        │ unconfirmed      ▲
//!               │               └──► Marking ──────┘
//!               ▼                      │ silent
//!   Guard ──► Escaped ──► Asking   (it was in data mode: +++)
//!               │ silent
//!               ▼
//!   Filling ──► Asking             (it was waiting for the payload of a send: ESC, Ctrl-Z, then filler)
//!               │ silent
//!               ▼
//!   AT+IFC=0,0 ──► Asking          (it waits for RTS that is not wired; UARTs only)
//!               │ silent
//!               ▼
//!   next speed ──► Asking          (it had another baud rate; UARTs only)
//!               │ silent
//!               ▼
//!   without RTS/CTS ──► Asking     (to name that as the cause; UARTs only)
//! ```
//! A modem that never pauses, or that was in data mode when its port was lost, is escaped first. All of it is plain
//! data, and time is an argument.

use std::time::{Duration, Instant};

/// Where the attempt is.
#[derive(Debug)]
pub struct Resync {
    step: ResyncStep,
    remedy: Remedy,
    /// Asks left before the next remedy.
    asks_left: u32,
    /// When the step is over if nothing happens.
    due: Instant,
    /// When waiting for quiet has lasted long enough.
    patience_ends: Instant,
    /// A UART has a speed and modem lines worth trying.
    is_uart: bool,
    configured_baud: u32,
    baud: u32,
    /// Something has been asked.
    has_asked: bool,
    /// Answers to earlier questions may be under way.
    has_late_answers: bool,
    /// The last question, whose answer no earlier question has, was refused once.
    was_refused: bool,
    /// How often in a row `AT` was answered with an error.
    refusals: u32,
    /// What cannot be parsed has come in it.
    has_leftovers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResyncStep {
    Quiet,
    Asking {
        /// It was answered with an error.
        refused: bool,
    },
    Settling,
    /// Asked for something that no earlier question had for an answer.
    Marking(Mark),
    Guard,
    Escaped,
    Filling,
}

/// The answer that no earlier question had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Awaited,
    /// An error has come: perhaps the modem does not know the question.
    Refused,
    /// It has come, and its `OK` is next.
    Seen,
    /// The `OK` has come too.
    Answered,
}

/// What has been tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remedy {
    None,
    Escape,
    /// A key that ends a send of any length.
    Key(usize),
    Filler,
    /// The modem's flow control alone.
    ModemFlowControl,
    Speed(usize),
    NoFlowControl,
}

/// What a modem had to do without before it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// Nothing.
    Nothing,
    /// Its own RTS/CTS: AT+IFC=0,0.
    Modem,
    /// The host's as well.
    Host,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResyncEffect {
    /// Nothing before [`Resync::deadline`].
    Wait,
    /// Send these bytes, a question to a modem that takes commands.
    Ask(&'static [u8]),
    /// Send these bytes, an escape from data mode.
    Escape(&'static [u8]),
    /// Send these bytes, which end a send that somebody else has begun.
    Cancel(&'static [u8]),
    /// Send the filler: [`FILLER`] once.
    Fill,
    /// Set the port to this speed.
    SetBaud(u32),
    /// Switch off RTS/CTS on the port.
    DropFlowControl,
    /// It answers, at this speed.
    Awake {
        /// The speed it was found at.
        baud: u32,
        /// It only answered without that.
        without: Without,
    },
    /// Everything was tried.
    Silent,
}

impl Resync {
    /// Whether what cannot be parsed has come in it.
    pub fn has_leftovers(&self) -> bool {
        self.has_leftovers
    }

    /// What cannot be parsed has come. Returns whether it is the first of it.
    pub fn leftovers_came(&mut self) -> bool {
        !std::mem::replace(&mut self.has_leftovers, true)
    }

    /// Begins with waiting for quiet. `has_late_answers`: answers to what was asked before may be under way.
    pub fn new(is_uart: bool, baud: u32, has_late_answers: bool, now: Instant) -> Self {
        Resync {
            step: ResyncStep::Quiet,
            remedy: Remedy::None,
            asks_left: ASKS_AT_FIRST,
            due: now + QUIET,
            patience_ends: now + QUIET_MAX,
            is_uart,
            configured_baud: baud,
            baud,
            has_asked: false,
            has_late_answers,
            was_refused: false,
            refusals: 0,
            has_leftovers: false,
        }
    }

    /// The same for a modem that has answered `AT` with an error this often in a row.
    pub fn after_refusals(self, refusals: u32) -> Self {
        Resync { refusals, ..self }
    }

    /// How often in a row `AT` was answered with an error.
    pub fn refusals(&self) -> u32 {
        self.refusals
    }

    /// For a modem that was in data mode when it last answered: `AT` would be payload.
    pub fn in_data_mode(is_uart: bool, baud: u32, now: Instant) -> Self {
        let resync = Resync::new(is_uart, baud, true, now);
        Resync { step: ResyncStep::Guard, remedy: Remedy::Escape, due: now + GUARD, ..resync }
    }

    /// Whether anything has been asked.
    pub fn has_asked(&self) -> bool {
        self.has_asked
    }

    /// When [`Resync::deadline_passed`] is due.
    pub fn deadline(&self) -> Instant {
        self.due
    }

    /// Bytes arrived, whatever they are: it is not quiet.
    pub fn bytes_received(&mut self, now: Instant) {
        if matches!(self.step, ResyncStep::Quiet | ResyncStep::Settling) {
            self.due = (now + QUIET).min(self.patience_ends);
        }
    }

    /// The line was busy for this long, which is not counted against the modem.
    pub fn line_was_busy(&mut self, wire_time: Duration) {
        if matches!(self.step, ResyncStep::Marking(mark) if mark != Mark::Answered) {
            self.due = (self.due + wire_time).min(self.patience_ends);
        }
    }

    /// `OK` arrived.
    pub fn ok_received(&mut self, now: Instant) {
        if let ResyncStep::Asking { .. } = self.step {
            // An OK may be late, of an older command; the one that was asked for then still follows.
            self.step = ResyncStep::Settling;
            self.due = now + QUIET;
            self.patience_ends = now + QUIET_MAX;
        } else if self.step == ResyncStep::Escaped && now + (ESCAPE_WAIT - ESCAPE_OK_NOT_BEFORE) >= self.due {
            // It may be late too, of an `AT` before the escape: the modem is asked once more.
            self.due = self.due.min(now + QUIET);
        } else if self.step == ResyncStep::Marking(Mark::Seen) {
            self.step = ResyncStep::Marking(Mark::Answered);
            self.due = now;
        }
    }

    /// A line of an answer arrived.
    pub fn line_received(&mut self, line: &str) {
        if let ResyncStep::Marking(mark @ (Mark::Awaited | Mark::Refused)) = &mut self.step
            && line.starts_with(MARK_ANSWER)
        {
            *mark = Mark::Seen;
        }
    }

    /// An error or another result arrived: the modem answers, and may have been in the middle of something.
    pub fn other_result_received(&mut self, now: Instant) {
        match &mut self.step {
            ResyncStep::Asking { refused: refused @ false } => {
                *refused = true;
                self.due = now + refused_pause(self.refusals);
                self.refusals = self.refusals.saturating_add(1);
            }
            ResyncStep::Marking(mark @ (Mark::Awaited | Mark::Seen)) => *mark = Mark::Refused,
            _ => {}
        }
    }

    /// The step is over. What is sent takes `wire_time` per byte to leave.
    pub fn deadline_passed(&mut self, now: Instant, wire_time: impl Fn(usize) -> Duration) -> ResyncEffect {
        if now < self.due {
            return ResyncEffect::Wait;
        }
        match self.step {
            // Quiet or not, late answers may still be under way.
            ResyncStep::Settling if self.has_late_answers || self.patience_ends <= now => {
                self.step = ResyncStep::Marking(Mark::Awaited);
                self.due = now + MARK_WAIT;
                self.patience_ends = now + MARK_WAIT_MAX;
                ResyncEffect::Ask(MARK)
            }
            ResyncStep::Settling | ResyncStep::Marking(Mark::Answered) => self.awake(),
            // One error may be late as well.
            ResyncStep::Marking(Mark::Refused) if std::mem::replace(&mut self.was_refused, true) => {
                self.awake()
            }
            ResyncStep::Guard => {
                self.step = ResyncStep::Escaped;
                self.has_asked = true;
                self.due = now + ESCAPE_WAIT;
                ResyncEffect::Escape(b"+++")
            }
            // A line that never pauses may carry payload. Anything can be read in that, and `AT` would be payload too.
            ResyncStep::Quiet if self.remedy == Remedy::None && self.patience_ends <= now => {
                self.next_remedy(now, wire_time)
            }
            ResyncStep::Quiet | ResyncStep::Escaped | ResyncStep::Filling => self.ask(now),
            // It takes commands and refuses this one. What follows is for a modem that takes none.
            ResyncStep::Asking { refused: true }
                if self.remedy == Remedy::Escape && self.refusals > ASKS_AT_FIRST =>
            {
                ResyncEffect::Silent
            }
            ResyncStep::Asking { .. } | ResyncStep::Marking(_) if self.asks_left > 0 => self.ask(now),
            ResyncStep::Asking { .. } | ResyncStep::Marking(_) => self.next_remedy(now, wire_time),
        }
    }

    fn awake(&self) -> ResyncEffect {
        let without = match self.remedy {
            Remedy::ModemFlowControl => Without::Modem,
            Remedy::NoFlowControl => Without::Host,
            _ => Without::Nothing,
        };
        ResyncEffect::Awake { baud: self.baud, without }
    }

    fn ask(&mut self, now: Instant) -> ResyncEffect {
        self.step = ResyncStep::Asking { refused: false };
        self.has_late_answers |= std::mem::replace(&mut self.has_asked, true);
        self.asks_left = self.asks_left.saturating_sub(1);
        self.due = now + ANSWER_WAIT;
        ResyncEffect::Ask(b"AT\r")
    }

    fn next_remedy(&mut self, now: Instant, wire_time: impl Fn(usize) -> Duration) -> ResyncEffect {
        self.asks_left = ASKS_PER_REMEDY;
        self.remedy = match self.remedy {
            Remedy::None => Remedy::Escape,
            Remedy::Escape => Remedy::Key(0),
            Remedy::Key(index) if index + 1 < KEYS.len() => Remedy::Key(index + 1),
            Remedy::Key(_) => Remedy::Filler,
            Remedy::Filler if self.is_uart => Remedy::ModemFlowControl,
            Remedy::ModemFlowControl => Remedy::Speed(0),
            Remedy::Speed(index) if index + 1 < BAUDS.len() => Remedy::Speed(index + 1),
            Remedy::Speed(_) => Remedy::NoFlowControl,
            Remedy::Filler | Remedy::NoFlowControl => return ResyncEffect::Silent,
        };
        match self.remedy {
            Remedy::None => ResyncEffect::Silent,
            Remedy::Escape => {
                self.step = ResyncStep::Guard;
                self.due = now + GUARD;
                ResyncEffect::Wait
            }
            Remedy::Key(index) => {
                self.step = ResyncStep::Filling;
                self.asks_left = ASKS_PER_KEY;
                self.due = now + QUIET;
                ResyncEffect::Cancel(KEYS[index])
            }
            Remedy::ModemFlowControl => {
                self.step = ResyncStep::Asking { refused: false };
                self.asks_left = ASKS_PER_KEY;
                self.due = now + ANSWER_WAIT;
                ResyncEffect::Ask(NO_FLOW_CONTROL)
            }
            Remedy::Filler => {
                self.step = ResyncStep::Filling;
                self.due = now + wire_time(FILLER.len()) + ANSWER_WAIT;
                ResyncEffect::Fill
            }
            Remedy::Speed(index) => {
                self.step = ResyncStep::Quiet;
                self.due = now;
                self.baud = BAUDS[index];
                ResyncEffect::SetBaud(self.baud)
            }
            Remedy::NoFlowControl => {
                self.step = ResyncStep::Quiet;
                self.due = now;
                self.baud = self.configured_baud;
                ResyncEffect::DropFlowControl
            }
        }
    }
}

/// The pause after an error to `AT` that follows `refusals` others in a row.
fn refused_pause(refusals: u32) -> Duration {
    let doubled = 1_u32.checked_shl(refusals).and_then(|times| REFUSED_PAUSE_MIN.checked_mul(times));
    doubled.map_or(REFUSED_PAUSE_MAX, |pause| pause.min(REFUSED_PAUSE_MAX))
}

/// The filler for a modem that waits for the payload of a send: as many bytes as it can be waiting for. To
/// any other modem they are empty command lines.
pub const FILLER: [u8; 1500] = [b'\r'; 1500];

/// Without a byte for this long, the modem is quiet.
const QUIET: Duration = Duration::from_millis(100);

/// After this time the next step begins even if the modem is never quiet.
const QUIET_MAX: Duration = Duration::from_secs(3);

/// How long the answer to one `AT` may take.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// A question whose answer is not `OK` alone, and how that begins.
const MARK: &[u8] = b"AT+CMEE?\r";
const MARK_ANSWER: &str = "+CMEE:";

/// How long the answer to [`MARK`] may take: alone, and with the line's time for everything before it.
const MARK_WAIT: Duration = Duration::from_secs(5);
const MARK_WAIT_MAX: Duration = Duration::from_secs(60);

/// `AT`s before the first remedy; a module that has just got power needs several.
const ASKS_AT_FIRST: u32 = 3;

/// After an error to `AT` the next question comes no sooner. The pause is doubled with each further one.
const REFUSED_PAUSE_MIN: Duration = Duration::from_millis(500);
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(30);

/// ESC drops what was typed, Ctrl-Z sends it: both end a send without an announced length (QSSLSEND in both manuals).
const KEYS: [&[u8]; 2] = [b"\x1B", b"\x1A"];

/// `AT`s after each of them.
const ASKS_PER_KEY: u32 = 1;

/// Sent without waiting, to a modem that may hold its answers back until RTS is on.
const NO_FLOW_CONTROL: &[u8] = b"AT+IFC=0,0\r";

/// `AT`s after each remedy.
const ASKS_PER_REMEDY: u32 = 2;

/// No byte before and after `+++`; real modules want a little more than the manual's second.
const GUARD: Duration = Duration::from_millis(1_200);

/// How long the `OK` of an escape takes, at most and at least.
const ESCAPE_WAIT: Duration = Duration::from_millis(1_500);
const ESCAPE_OK_NOT_BEFORE: Duration = Duration::from_millis(900);

/// The speeds that modems are found at, the most common first.
const BAUDS: [u32; 6] = [115_200, 921_600, 460_800, 230_400, 57_600, 9_600];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    /// What is sent to a modem that never answers, in order.
    fn offers(is_uart: bool) -> Vec<String> {
        let mut time = now();
        let mut resync = Resync::new(is_uart, 115_200, false, time);
        let mut all = Vec::new();
        loop {
            time = resync.deadline();
            match resync.deadline_passed(time, |_| Duration::ZERO) {
                ResyncEffect::Wait => {}
                ResyncEffect::Ask(bytes) | ResyncEffect::Escape(bytes) | ResyncEffect::Cancel(bytes) => {
                    all.push(bytes.escape_ascii().to_string())
                }
                ResyncEffect::Silent => return all,
                other => all.push(format!("{other:?}")),
            }
        }
    }

    #[test]
    fn a_silent_modem_is_offered_every_remedy_in_the_protocols_order() {
        let usb = offers(false);
        let at = "AT\\r";
        assert_eq!(usb, [at, at, at, "+++", at, at, "\\x1b", at, "\\x1a", at, "Fill", at, at]);
        let uart = offers(true);
        assert_eq!(uart[..usb.len()], usb);
        assert_eq!(uart[usb.len()..usb.len() + 3], ["AT+IFC=0,0\\r", at, "SetBaud(115200)"]);
        assert_eq!(uart[uart.len() - 3], "DropFlowControl");
    }

    #[test]
    fn a_modem_that_refuses_every_at_is_reported_as_soon_as_a_silent_one() {
        let start = now();
        let mut resync = Resync::new(true, 115_200, false, start);
        loop {
            let time = resync.deadline();
            match resync.deadline_passed(time, |_| Duration::ZERO) {
                ResyncEffect::Ask(_) => resync.other_result_received(time),
                ResyncEffect::Silent => break assert!(time - start <= Duration::from_secs(15)),
                _ => {}
            }
        }
    }

    #[test]
    fn a_modem_that_was_in_data_mode_is_escaped_before_it_is_asked() {
        let mut time = now();
        let mut resync = Resync::in_data_mode(false, 115_200, time);
        resync.ok_received(time);
        time = resync.deadline();
        assert_eq!(resync.deadline_passed(time, |_| Duration::ZERO), ResyncEffect::Escape(b"+++"));
        resync.ok_received(time + Duration::from_millis(870));
        assert_eq!(resync.deadline(), time + ESCAPE_WAIT, "that OK was payload");
        time = resync.deadline();
        assert_eq!(resync.deadline_passed(time, |_| Duration::ZERO), ResyncEffect::Ask(b"AT\r"));
    }

    #[test]
    fn a_modem_that_never_pauses_is_escaped_before_anything_in_it_is_believed() {
        let mut time = now();
        let mut resync = Resync::new(false, 115_200, false, time);
        let end = time + QUIET_MAX;
        while time < end {
            assert_eq!(resync.deadline_passed(time, |_| Duration::ZERO), ResyncEffect::Wait);
            resync.ok_received(time);
            resync.bytes_received(time);
            time += QUIET / 2;
        }
        assert_eq!(resync.deadline_passed(end, |_| Duration::ZERO), ResyncEffect::Wait, "the guard time");
        resync.bytes_received(end);
        assert_eq!(resync.deadline_passed(end + GUARD, |_| Duration::ZERO), ResyncEffect::Escape(b"+++"));
    }

    #[test]
    fn on_a_line_that_is_never_quiet_late_answers_are_not_taken_for_those_of_what_comes_next() {
        let mut time = now();
        let mut resync = Resync::new(false, 115_200, false, time);
        time = resync.deadline();
        assert_eq!(resync.deadline_passed(time, |_| Duration::ZERO), ResyncEffect::Ask(b"AT\r"));
        resync.ok_received(time);
        let end = time + QUIET_MAX;
        while time < end {
            assert_eq!(resync.deadline_passed(time, |_| Duration::ZERO), ResyncEffect::Wait);
            resync.bytes_received(time);
            time += QUIET / 2;
        }
        assert_eq!(resync.deadline_passed(end, |_| Duration::ZERO), ResyncEffect::Ask(b"AT+CMEE?\r"));
        resync.ok_received(end);
        assert_eq!(resync.deadline_passed(end, |_| Duration::ZERO), ResyncEffect::Wait, "that OK was late");
        resync.line_received("+CMEE: 1");
        assert_eq!(
            resync.deadline_passed(end, |_| Duration::ZERO),
            ResyncEffect::Wait,
            "its own is still to come"
        );
        resync.ok_received(end);
        let awake = resync.deadline_passed(end, |_| Duration::ZERO);
        assert_eq!(awake, ResyncEffect::Awake { baud: 115_200, without: Without::Nothing });
    }

    /// A modem that has answered, late perhaps, and is asked for the mark now.
    fn marking(mut resync: Resync, asks: u32) -> (Resync, Instant) {
        let mut time = resync.deadline();
        for _ in 0..asks {
            time = resync.deadline();
            assert_eq!(resync.deadline_passed(time, |_| Duration::ZERO), ResyncEffect::Ask(b"AT\r"));
        }
        resync.ok_received(time);
        time += QUIET;
        assert_eq!(resync.deadline_passed(time, |_| Duration::ZERO), ResyncEffect::Ask(MARK));
        (resync, time)
    }

    #[test]
    fn an_ok_that_may_be_an_earlier_questions_is_followed_by_what_only_the_last_one_has_for_an_answer() {
        let never_answered = Resync::new(false, 115_200, false, now());
        let command_given_up = Resync::new(false, 115_200, true, now());
        for (resync, asks) in [(never_answered, 2), (command_given_up, 1)] {
            let (mut resync, mut time) = marking(resync, asks);
            time += Duration::from_secs(1);
            resync.ok_received(time);
            assert_eq!(
                resync.deadline_passed(time, |_| Duration::ZERO),
                ResyncEffect::Wait,
                "that OK was late"
            );
            resync.line_received("+CMEE: 2");
            resync.ok_received(time);
            let awake = resync.deadline_passed(time, |_| Duration::ZERO);
            assert_eq!(awake, ResyncEffect::Awake { baud: 115_200, without: Without::Nothing });
        }
    }

    #[test]
    fn the_time_that_the_line_needs_for_what_is_pushed_meanwhile_is_not_the_modems() {
        let (mut resync, time) = marking(Resync::new(true, 9_600, true, now()), 1);
        let pushed = Duration::from_secs(4);
        resync.line_was_busy(pushed);
        assert_eq!(resync.deadline(), time + MARK_WAIT + pushed);
        for _ in 0..100 {
            resync.line_was_busy(pushed);
        }
        assert_eq!(resync.deadline(), time + MARK_WAIT_MAX, "but it does not go on for ever");
        resync.line_received("+CMEE: 1");
        resync.ok_received(time + pushed);
        resync.line_was_busy(pushed);
        assert_eq!(resync.deadline(), time + pushed, "once it has come, nothing is waited for");
    }

    #[test]
    fn a_modem_that_does_not_answer_unmistakably_is_asked_again_and_one_that_cannot_is_believed() {
        let (mut resync, time) = marking(Resync::new(false, 115_200, true, now()), 1);
        resync.ok_received(time);
        assert_eq!(resync.deadline_passed(time + MARK_WAIT, |_| Duration::ZERO), ResyncEffect::Ask(b"AT\r"));
        let (mut resync, time) = marking(Resync::new(false, 115_200, true, now()), 1);
        resync.other_result_received(time);
        assert_eq!(
            resync.deadline_passed(time, |_| Duration::ZERO),
            ResyncEffect::Wait,
            "it may be late as well"
        );
        let time = time + MARK_WAIT;
        assert_eq!(resync.deadline_passed(time, |_| Duration::ZERO), ResyncEffect::Ask(b"AT\r"));
        resync.ok_received(time);
        assert_eq!(resync.deadline_passed(time + QUIET, |_| Duration::ZERO), ResyncEffect::Ask(MARK));
        resync.other_result_received(time + QUIET);
        let awake = resync.deadline_passed(time + QUIET + MARK_WAIT, |_| Duration::ZERO);
        assert_eq!(awake, ResyncEffect::Awake { baud: 115_200, without: Without::Nothing });
    }

    #[test]
    fn a_late_answer_is_not_taken_for_the_last_word() {
        let start = now();
        let mut resync = Resync::new(false, 115_200, false, start);
        let mut time = resync.deadline();
        assert_eq!(resync.deadline_passed(time, |_| Duration::ZERO), ResyncEffect::Ask(b"AT\r"));
        resync.ok_received(time);
        time += QUIET / 2;
        resync.bytes_received(time);
        assert_eq!(resync.deadline_passed(time + QUIET / 2, |_| Duration::ZERO), ResyncEffect::Wait);
        let awake = resync.deadline_passed(time + QUIET, |_| Duration::ZERO);
        assert_eq!(awake, ResyncEffect::Awake { baud: 115_200, without: Without::Nothing });
    }
}
