//! A socket on its way to being free: AT+QSSLCLOSE, and the question whether the number is free.

use std::time::{Duration, Instant};

use super::opening::{OpenClosed, REPEAT_PAUSE};
use super::{Phase, Socket};
use crate::at::CommandSet;
use crate::profile::CloseTime;

/// A socket that is being closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The timeout of AT+QSSLCLOSE, where the module takes one; 0 drops what it has not sent yet.
    timeout_seconds: u16,
    /// The server closed first, and the client waits to learn whether that was an end or a cut.
    confirms_eof: bool,
    /// How often it was refused.
    tries: u32,
    /// The channel that is to close it, once its opener's close was refused: the module may have opened it by another, in an
    /// earlier try.
    by: Option<usize>,
    /// Its open was given up without a result: until then, the module may still be at it, and end it by itself.
    opening_until: Option<Instant>,
    /// An earlier run has left the number open in this set as well: that is closed next.
    also_open: Option<CommandSet>,
}

/// Whether the data session is active: how far that question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionQuestion {
    /// It is due.
    Due,
    /// It has been sent.
    Asked,
}

/// Which time AT+QSSLCLOSE may be given.
#[derive(Clone, Copy, Debug)]
pub struct CloseForm {
    /// What the module takes.
    pub time: CloseTime,
    /// The timeout of an orderly close in seconds, as far as the module takes it.
    pub orderly_seconds: u16,
}

/// What the answer to AT+QSSLCLOSE means for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseAnswer {
    /// Nothing.
    Nothing,
    /// An open that is under way cannot be ended.
    OpenGoesOn,
    /// The open that was under way has been ended.
    OpenEnded {
        /// When the open began.
        since: Instant,
    },
    /// Refused. `was_eof`: its client waits to learn whether its stream ended or was cut.
    Refused {
        /// How often.
        tries: u32,
        /// Whether the client's end can no longer be confirmed.
        was_eof: bool,
        /// Whether the module may still be opening it, and free it by itself.
        may_be_opening: bool,
    },
    /// Done. `never_timed`: only the form without a time worked.
    Closed {
        /// The module has no time.
        never_timed: bool,
    },
}

/// What an answer to AT+QSSLSTATE means for a number that is to become free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Not asked for that, or it is asked again.
    Nothing,
    /// It is closed once more: the module does not free it.
    ClosedAgain,
    /// It is free, and other channels have yet to show that nothing more comes of it.
    FreeHere,
    /// It is free, and every channel has shown that.
    Free,
}

impl Closing {
    fn new(timeout_seconds: u16, confirms_eof: bool, also_open: Option<CommandSet>) -> Self {
        Closing { timeout_seconds, confirms_eof, tries: 0, by: None, opening_until: None, also_open }
    }

    /// Whether the client waits to learn how its stream ended.
    pub fn confirms_eof(&self) -> bool {
        self.confirms_eof
    }

    /// Whether it was refused.
    pub(super) fn was_refused(self) -> bool {
        self.tries > 0
    }

    pub(super) fn forget_client(&mut self) {
        self.confirms_eof = false;
    }

    /// Whether the form with a time was refused (`timed`), and nothing shows that the module takes one: the next try is
    /// the form without.
    fn has_other_form(self, timed: bool, form: CloseForm) -> bool {
        let next = Closing { tries: self.tries + 1, ..self };
        timed && form.time == CloseTime::Unknown && next.command(form).1.is_none()
    }

    /// How a socket is closed: for how many seconds the command may block its port, and the time that it is given. The
    /// form without a time is for modules that take none. A module that takes one would end a broken stream in order.
    pub(super) fn command(self, form: CloseForm) -> (u16, Option<u16>) {
        let without_time = match form.time {
            CloseTime::Never => true,
            CloseTime::Unknown => self.tries % 2 == 1,
            CloseTime::UpTo(_) => self.tries >= TIMED_CLOSES && self.tries % 2 == 1,
        };
        match without_time {
            true => (form.orderly_seconds.max(1), None),
            false => (self.timeout_seconds, Some(self.timeout_seconds)),
        }
    }
}

impl Socket {
    /// AT+QSSLCLOSE is next. `confirms_eof`: the server closed first.
    pub(super) fn begin_closing(&mut self, confirms_eof: bool) {
        if self.is_in_use() {
            let confirms_eof = confirms_eof && self.is_attached();
            self.phase = Phase::Closing(Closing::new(0, confirms_eof, self.also_open()));
        }
    }

    /// AT+QSSLCLOSE is next, and no client waits for its result.
    pub(super) fn close(&mut self, timeout_seconds: u16) {
        self.phase = Phase::Closing(Closing::new(timeout_seconds, false, self.also_open()));
    }

    /// AT+QSSLCLOSE is next, after an open without a result. A module that does not close what it is still opening refuses
    /// that until it has given the open up.
    pub(super) fn close_opening(&mut self, now: Instant) {
        self.begin_closing(false);
        if let Phase::Closing(closing) = &mut self.phase {
            closing.opening_until = Some(now + OPENING_MAX);
        }
    }

    /// An earlier run has left it open in the set `first`, and perhaps in `also_open`: both are closed.
    pub(super) fn close_left_open(&mut self, first: CommandSet, also_open: Option<CommandSet>) {
        self.set = first;
        self.phase = Phase::Closing(Closing::new(0, false, also_open));
    }

    /// The set in which it is to be closed after this one.
    fn also_open(&self) -> Option<CommandSet> {
        match &self.phase {
            Phase::Closing(Closing { also_open, .. }) | Phase::Checking { also_open, .. } => *also_open,
            _ => None,
        }
    }

    /// AT+QSSLSTATE is next, on these channels.
    pub(super) fn check(&mut self, channels: u32) {
        let also_open = self.also_open();
        self.phase = Phase::Checking { channels, again_at: None, tries: 0, refused: None, also_open };
    }

    /// A new connection may use its number.
    pub(super) fn becomes_free(&mut self) {
        self.phase = Phase::Free;
    }

    /// Whether it was opened by this channel, or the one that it was opened by takes no commands: some modules close a
    /// socket only by that. `speaking`: the channels on which URCs can be on their way.
    pub(super) fn is_best_closed_by(&self, port: usize, speaking: u32) -> bool {
        let by = match &self.phase {
            Phase::Closing(Closing { by: Some(by), .. }) => Some(*by),
            _ => self.opened_by,
        };
        by.is_none_or(|by| by == port || speaking & (1 << by) == 0)
    }

    /// Whether this channel may have to close it before its client learns how it ended: some modules close a socket only by
    /// the one that opened it.
    pub fn end_may_need(&self, port: usize) -> bool {
        let Phase::Closing(closing) = &self.phase else { return false };
        closing.confirms_eof && self.opened_by == Some(port)
    }

    /// AT+QSSLCLOSE was answered on this channel; `timed`: it named a time. `speaking`: the channels on which URCs can be
    /// on their way.
    pub fn close_answered(
        &mut self,
        port: usize,
        is_refused: bool,
        timed: bool,
        form: CloseForm,
        speaking: u32,
        now: Instant,
    ) -> CloseAnswer {
        let is_by_opener = self.is_best_closed_by(port, speaking);
        match &mut self.phase {
            Phase::Opening(opening) => match opening.close_answered(is_refused, now) {
                OpenClosed::GoesOn => CloseAnswer::OpenGoesOn,
                OpenClosed::Ended => {
                    self.check(speaking);
                    CloseAnswer::OpenEnded { since: self.opening_since }
                }
                OpenClosed::Again => CloseAnswer::Nothing,
            },
            // It is tried again by the channel that opened it.
            Phase::Closing(closing) if is_refused && !is_by_opener && closing.tries == 0 => {
                closing.tries += 1;
                CloseAnswer::Nothing
            }
            // Before its client learns of an end that cannot be confirmed, the other form is tried.
            Phase::Closing(closing)
                if is_refused && closing.confirms_eof && closing.has_other_form(timed, form) =>
            {
                closing.tries += 1;
                CloseAnswer::Nothing
            }
            Phase::Closing(closing) if is_refused => {
                let was_eof = std::mem::take(&mut closing.confirms_eof);
                closing.tries += 1;
                // Its answer now settles whether that was about something else.
                let other_form = timed && closing.command(form).1.is_none();
                if !other_form {
                    closing.by = (port + 1..32).chain(0..port).find(|next| speaking & (1 << next) != 0);
                }
                let closing = *closing;
                let doublings = closing.tries.min(CLOSE_PAUSES_MAX);
                let again_at = (!other_form).then(|| now + REPEAT_PAUSE * 2_u32.pow(doublings) / 2);
                self.phase = Phase::Checking {
                    channels: speaking,
                    again_at,
                    tries: 0,
                    refused: Some(closing),
                    also_open: closing.also_open,
                };
                let may_be_opening = closing.opening_until.is_some_and(|until| now < until);
                CloseAnswer::Refused { tries: closing.tries, was_eof, may_be_opening }
            }
            Phase::Closing(closing) => {
                let never_timed = !timed && closing.tries > 0 && form.time == CloseTime::Unknown;
                match closing.confirms_eof && self.is_attached() {
                    true => self.phase = Phase::ConfirmingEof(SessionQuestion::Due),
                    false => self.check(speaking),
                }
                CloseAnswer::Closed { never_timed }
            }
            _ => CloseAnswer::Nothing,
        }
    }

    /// How far the question is on which the end of this client depends: whether the data session is active.
    pub fn session_question(&self) -> Option<SessionQuestion> {
        match self.phase {
            Phase::ConfirmingEof(question) => Some(question),
            _ => None,
        }
    }

    /// The question whether the data session is active leaves for this client's end, if it is due.
    pub fn eof_asked(&mut self) {
        if let Phase::ConfirmingEof(question) = &mut self.phase {
            *question = SessionQuestion::Asked;
        }
    }

    /// The answer to that question is lost.
    pub fn eof_unanswered(&mut self) {
        if let Phase::ConfirmingEof(question) = &mut self.phase {
            *question = SessionQuestion::Due;
        }
    }

    /// That question was answered. Returns whether this socket's client waited for it.
    pub fn eof_answered(&mut self, speaking: u32) -> bool {
        let waited = self.session_question() == Some(SessionQuestion::Asked);
        if waited {
            self.check(speaking);
        }
        waited
    }

    /// AT+QSSLSTATE was answered on this channel: whether the number is in use in the module.
    pub fn check_answered(&mut self, port: usize, is_in_use: bool, speaking: u32, now: Instant) -> Checked {
        let Phase::Checking { channels, again_at, tries, refused, also_open } = &mut self.phase else {
            return Checked::Nothing;
        };
        if is_in_use {
            if let Some(closing) = refused.take() {
                self.phase = Phase::Closing(closing);
                return Checked::Nothing;
            }
            *tries += 1;
            if *tries >= CHECK_TRIES {
                self.close(0);
                return Checked::ClosedAgain;
            }
            *again_at = Some(now + CHECK_PAUSE);
            return Checked::Nothing;
        }
        *channels &= !(1 << port);
        if *channels & speaking != 0 {
            return Checked::FreeHere;
        }
        if let Some(set) = *also_open {
            self.close_left_open(set, None);
            return Checked::Nothing;
        }
        self.clear();
        self.becomes_free();
        self.free_since = now;
        Checked::Free
    }
}

/// A refused close is repeated after REPEAT_PAUSE. The pause is doubled this many times.
const CLOSE_PAUSES_MAX: u32 = 6;

/// How much longer a module may be opening a connection that was given up: the manuals' 150 s, from the end of
/// `--connect-timeout`, which the negotiation may take.
const OPENING_MAX: Duration = Duration::from_secs(150);

/// How often a module that has a close time refuses it before the form without is tried.
const TIMED_CLOSES: u32 = 3;

/// How often AT+QSSLSTATE is asked after AT+QSSLCLOSE until the socket is free, and the pause in between.
const CHECK_TRIES: u32 = 20;
const CHECK_PAUSE: Duration = Duration::from_millis(500);
