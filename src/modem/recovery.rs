//! The recovery ladder: what is tried when a modem misbehaves, mildest first.
//!
//! ```text
//!   Resync ──► Port ──► Session ──► Reboot ──► ResetCommand
//!   drain,     close,   rebuild     AT+CFUN    the user's
//!   ask again  open     the PDP     =1,1       own means
//!              again    context
//! ```
//! A strike is a sign that something is wrong. Each rung gets a few strikes before the next one is climbed;
//! a socket that opens, or a long time without a strike, leads back down. `--recovery` says how far up it
//! may go: a reboot also cuts whatever else uses the module.
//!
//! A data session that claims to be active and carries nothing shows by its opens. One server that is down, or
//! a name that does not exist, looks the same, so connections that stand are not cut for it before nothing at all
//! has come from the network for a while.

use std::time::{Duration, Instant};

use crate::at::ResultCode;
use crate::config::Recovery;

use super::failure::OpenFailure;

/// A step of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// Drain and resynchronise the conversation.
    Resync,
    /// Close the port and open it again.
    Port,
    /// Tear down the data session, if it is ours, and set it up again.
    Session,
    /// AT+CFUN=1,1
    Reboot,
    /// `--reset-command`
    ResetCommand,
}

/// Where on the ladder we are.
#[derive(Debug)]
pub struct Ladder {
    highest: Rung,
    rung: Rung,
    /// Strikes on this rung.
    strikes: u32,
    last_strike: Option<Instant>,
    /// Opens in a row that failed with 552 (invalid parameter).
    invalid_opens: u32,
    /// Opens in a row that failed in a way that a dead data session would explain.
    dead_opens: u32,
    /// When the first of those was.
    dead_since: Option<Instant>,
    /// A socket has been opened since the last reboot.
    has_worked: bool,
}

impl Ladder {
    /// At the foot; `has_reset_command`: there is a rung above the reboot.
    pub fn new(recovery: Recovery, has_reset_command: bool) -> Self {
        let highest = match recovery {
            Recovery::Resync => Rung::Resync,
            Recovery::Port => Rung::Port,
            Recovery::Session => Rung::Session,
            Recovery::Reboot if has_reset_command => Rung::ResetCommand,
            Recovery::Reboot => Rung::Reboot,
        };
        Ladder {
            highest,
            rung: Rung::Resync,
            strikes: 0,
            last_strike: None,
            invalid_opens: 0,
            dead_opens: 0,
            dead_since: None,
            has_worked: false,
        }
    }

    /// Something is wrong: which rung is due.
    pub fn strike(&mut self, now: Instant) -> Rung {
        if self.last_strike.is_some_and(|at| now.saturating_duration_since(at) > MEMORY) {
            self.descend();
        }
        self.last_strike = Some(now);
        if self.strikes >= STRIKES_PER_RUNG {
            self.climb_to(self.rung.next());
        }
        self.strikes += 1;
        self.rung
    }

    /// A socket was opened: all is well.
    pub fn worked(&mut self) {
        self.has_worked = true;
        self.invalid_opens = 0;
        self.heard();
        self.descend();
    }

    /// Bytes came from a far end: the data session is alive.
    pub fn heard(&mut self) {
        self.dead_opens = 0;
        self.dead_since = None;
    }

    /// The module has rebooted: what it answered before says nothing about it now.
    pub fn rebooted(&mut self) {
        self.has_worked = false;
        self.invalid_opens = 0;
        self.heard();
    }

    /// An open failed while others stood or not. `Some`: it was one too many of its kind; the rung that is due,
    /// and why.
    pub fn open_failed(
        &mut self,
        failure: &OpenFailure,
        others_stand: bool,
        now: Instant,
    ) -> Option<(Rung, &'static str)> {
        let code = match failure {
            OpenFailure::Code(code) => Some(*code),
            OpenFailure::Refused(refusal) => refusal.result_code(),
            OpenFailure::TimedOut => Some(ResultCode::TIMED_OUT),
            OpenFailure::Lost(_) => return None,
        };
        match code {
            Some(ResultCode::INVALID_PARAMETER) if self.has_worked => self.invalid_opens += 1,
            Some(ResultCode::PDP_BROKEN | ResultCode::PDP_OPEN_FAILED | ResultCode::DNS_FAILED)
            | Some(ResultCode::TIMED_OUT) => {
                self.dead_opens += 1;
                self.dead_since.get_or_insert(now);
            }
            _ => {
                self.invalid_opens = 0;
                self.heard();
            }
        }
        let silence = self.dead_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let (least, why) = if self.invalid_opens >= FAILED_OPENS_MAX {
            self.invalid_opens = 0;
            (
                Rung::Reboot,
                "the module refuses every open with 552 although opens have worked: it needs a reboot",
            )
        } else if self.dead_opens >= FAILED_OPENS_MAX && (!others_stand || silence >= SILENCE) {
            self.heard();
            (Rung::Session, "the data session claims to be active and carries nothing")
        } else {
            return None;
        };
        self.last_strike = Some(now);
        self.climb_to(self.rung.max(least));
        self.strikes += 1;
        Some((self.rung, why))
    }

    fn climb_to(&mut self, rung: Rung) {
        let rung = rung.min(self.highest);
        if rung != self.rung {
            self.rung = rung;
            self.strikes = 0;
        }
    }

    fn descend(&mut self) {
        self.rung = Rung::Resync;
        self.strikes = 0;
    }
}

impl Rung {
    fn next(self) -> Rung {
        match self {
            Rung::Resync => Rung::Port,
            Rung::Port => Rung::Session,
            Rung::Session => Rung::Reboot,
            Rung::Reboot | Rung::ResetCommand => Rung::ResetCommand,
        }
    }
}

impl std::fmt::Display for Rung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Rung::Resync => "resynchronising",
            Rung::Port => "opening the port again",
            Rung::Session => "rebuilding the data session",
            Rung::Reboot => "rebooting the module (AT+CFUN=1,1)",
            Rung::ResetCommand => "running --reset-command",
        })
    }
}

/// Strikes that a rung gets before the next one is climbed.
const STRIKES_PER_RUNG: u32 = 2;

/// Opens in a row that may fail in the same suspicious way.
const FAILED_OPENS_MAX: u32 = 3;

/// How long nothing may come from any far end before connections that stand are given up for failed opens: longer
/// than the keep-alives of most protocols.
const SILENCE: Duration = Duration::from_secs(120);

/// Strikes further apart than this have nothing to do with each other.
const MEMORY: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods)]
    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn each_rung_gets_two_strikes_and_none_above_the_allowed_one_is_taken() {
        let now = now();
        let mut ladder = Ladder::new(Recovery::Session, true);
        let rungs: Vec<Rung> = (0..8).map(|_| ladder.strike(now)).collect();
        use Rung::{Port, Resync, Session};
        assert_eq!(rungs, [Resync, Resync, Port, Port, Session, Session, Session, Session]);
        let mut ladder = Ladder::new(Recovery::Reboot, false);
        assert_eq!((0..20).map(|_| ladder.strike(now)).max(), Some(Rung::Reboot));
    }

    #[test]
    fn success_or_a_long_quiet_time_lead_back_down() {
        let now = now();
        let mut ladder = Ladder::new(Recovery::Reboot, true);
        for _ in 0..4 {
            ladder.strike(now);
        }
        ladder.worked();
        assert_eq!(ladder.strike(now), Rung::Resync);
        for _ in 0..4 {
            ladder.strike(now);
        }
        assert_eq!(ladder.strike(now + MEMORY + MEMORY), Rung::Resync);
    }

    #[test]
    fn a_module_that_answers_552_after_having_worked_is_rebooted() {
        let now = now();
        let failure = OpenFailure::Code(ResultCode::INVALID_PARAMETER);
        let mut ladder = Ladder::new(Recovery::Reboot, false);
        for _ in 0..10 {
            assert_eq!(
                ladder.open_failed(&failure, false, now),
                None,
                "it has never worked: the fault may be ours"
            );
        }
        ladder.worked();
        assert_eq!(ladder.open_failed(&failure, false, now), None);
        assert_eq!(ladder.open_failed(&failure, false, now), None);
        assert_eq!(ladder.open_failed(&failure, false, now).map(|(rung, _)| rung), Some(Rung::Reboot));
        let refused = OpenFailure::Code(ResultCode::CONNECT_FAILED);
        assert_eq!(
            (0..10).find_map(|_| ladder.open_failed(&refused, false, now)),
            None,
            "a far end may be down"
        );
    }

    #[test]
    fn one_name_that_cannot_be_resolved_does_not_cost_the_others_their_connections() {
        let now = now();
        let failure = OpenFailure::Code(ResultCode::DNS_FAILED);
        let fails = |ladder: &mut Ladder, others_stand, after: u64| {
            let at = now + Duration::from_secs(after);
            ladder.open_failed(&failure, others_stand, at).map(|(rung, _)| rung)
        };
        let mut ladder = Ladder::new(Recovery::Reboot, false);
        assert_eq!((0..100).find_map(|second| fails(&mut ladder, true, second)), None);
        ladder.heard();
        assert_eq!((100..219).find_map(|second| fails(&mut ladder, true, second)), None);
        assert_eq!(fails(&mut ladder, true, 220), Some(Rung::Session), "nothing has come for two minutes");
        let mut alone = Ladder::new(Recovery::Reboot, false);
        assert_eq!((0..3).find_map(|second| fails(&mut alone, false, second)), Some(Rung::Session));
    }
}
