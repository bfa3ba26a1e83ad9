//! The recovery ladder: what is tried when a modem misbehaves, mildest first.
//!
//! ```text
//!   Resync ──► Port ──► Session ──► Reboot ──► ResetCommand
//!   drain,     close,   rebuild     AT+CFUN    the user's
//!   ask again  open     the PDP     =1,1       own means
//!              again    context
//! ```
//! A strike is a sign that something is wrong. Each rung gets a few strikes before the next one is climbed; a
//! socket that opens, or a long time without a strike, leads back down. `--recovery` sets how far up it may
//! go: a reboot also cuts whatever else uses the module. What cuts connections, from Session on, is taken
//! with growing pauses; what strikes in a pause only has the milder steps.
//!
//! A data session that is reported active, but through which no traffic gets, is recognised by its opens. One
//! server that is down, or a name that does not exist, looks the same, so open connections are not cut for it
//! before nothing at all has come from the network for a while.

mod backoff;
mod reboot;

use std::time::{Duration, Instant};

use crate::at::ResultCode;
use crate::settings::Recovery;

use crate::failure::OpenFailure;
pub use backoff::Backoff;
pub use reboot::{Reboot, RebootSign};

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

/// Whether the ports of a modem are there, for `--reset-command`: one whose USB side has died does not come back by
/// itself.
///
/// ```text
///   Present ──none can be opened──► Away ──┐ the limit has passed: the command is run, and the
///      ▲                             │ ▲   │ next limit is twice as long
///      └─────────answers─────────────┘ └───┘
/// ```
#[derive(Debug, Default)]
pub enum Absence {
    /// It has answered, or nothing is known yet.
    #[default]
    Present,
    /// None of them can be opened, or none of them answers: the modem may have died before the start.
    Away {
        /// Since when, or when the command was last run.
        since: Instant,
        /// How often it was run.
        resets: u32,
    },
}

impl Absence {
    /// The modem answers.
    pub fn answers(&mut self) {
        *self = Absence::Present;
    }

    /// No port can be opened. Returns whether the reset command is due: after `limit`, then after pauses twice as long
    /// each.
    pub fn wants_reset(&mut self, limit: Duration, now: Instant) -> bool {
        match self {
            Absence::Present => {
                *self = Absence::Away { since: now, resets: 0 };
                false
            }
            Absence::Away { since, resets } => {
                let pause = limit.saturating_mul(1 << (*resets).min(ABSENCE_DOUBLINGS_MAX));
                let pause = pause.min(ABSENCE_PAUSE_MAX.max(limit));
                let is_due = !limit.is_zero() && now.saturating_duration_since(*since) >= pause;
                if is_due {
                    *since = now;
                    *resets += 1;
                }
                is_due
            }
        }
    }
}

/// How often the pause between two runs of the reset command is doubled for ports that stay away.
const ABSENCE_DOUBLINGS_MAX: u32 = 5;
const ABSENCE_PAUSE_MAX: Duration = Duration::from_secs(1_800);

/// The present rung.
#[derive(Debug)]
pub struct Ladder {
    highest: Rung,
    rung: Rung,
    /// Strikes on this rung.
    strikes: u32,
    last_strike: Option<Instant>,
    /// Opens in a row that failed with 552 (invalid parameter).
    invalid_opens: u32,
    /// Opens in a row whose socket was in use (563), and still was when it had been closed.
    taken_opens: u32,
    /// Opens in a row that failed in a way that a dead data session would explain.
    dead_opens: u32,
    /// When the first of those was.
    dead_since: Option<Instant>,
    /// For how long opens hung that were ended because their clients had left, since one counted as failed.
    hung: Duration,
    /// How often the data session was rebuilt since a socket was opened, because closes are refused.
    close_rebuilds: u32,
    /// A socket has been opened since the last reboot.
    has_worked: bool,
    /// Between two steps that cut connections.
    backoff: Backoff,
    /// The next of these steps is not taken before this time.
    costly_from: Option<Instant>,
}

impl Ladder {
    /// At the foot; `has_reset_command`: there is a rung above the reboot.
    pub fn new(recovery: Recovery, has_reset_command: bool) -> Self {
        Ladder {
            highest: highest(recovery, has_reset_command),
            rung: Rung::Resync,
            strikes: 0,
            last_strike: None,
            invalid_opens: 0,
            taken_opens: 0,
            dead_opens: 0,
            dead_since: None,
            hung: Duration::ZERO,
            close_rebuilds: 0,
            has_worked: false,
            backoff: Backoff::new(PAUSE_MIN, PAUSE_MAX),
            costly_from: None,
        }
    }

    /// Pauses are drawn with this seed.
    pub fn set_seed(&mut self, seed: u64) {
        self.backoff.set_seed(seed);
    }

    /// From now on it may climb to this rung.
    pub fn allow(&mut self, recovery: Recovery, has_reset_command: bool) {
        self.highest = highest(recovery, has_reset_command);
        self.rung = self.rung.min(self.highest);
    }

    /// Something is wrong: which rung is due. A modem that is silent cannot be given commands, so what is
    /// left there is the port and the reset command.
    pub fn strike(&mut self, is_silent: bool, now: Instant) -> Rung {
        if self.last_strike.is_some_and(|at| now.saturating_duration_since(at) > MEMORY) {
            self.descend();
            if self.costly_from.is_none_or(|from| from <= now) {
                self.backoff.reset();
            }
        }
        self.last_strike = Some(now);
        let mut rung = if self.strikes < STRIKES_PER_RUNG { self.rung } else { self.rung.next() };
        if is_silent && matches!(rung, Rung::Session | Rung::Reboot) {
            rung = if self.highest == Rung::ResetCommand { Rung::ResetCommand } else { Rung::Port };
        }
        self.take(rung, now).unwrap_or(Rung::Port)
    }

    /// Takes a rung, or the highest one allowed. `None`: it cuts connections, and the last one that did is not long
    /// enough ago.
    fn take(&mut self, rung: Rung, now: Instant) -> Option<Rung> {
        let rung = rung.min(self.highest);
        if rung >= Rung::Session {
            if self.costly_from.is_some_and(|from| now < from) {
                return None;
            }
            self.costly_from = Some(now + self.backoff.next());
        }
        if rung != self.rung {
            self.rung = rung;
            self.strikes = 0;
        }
        self.strikes += 1;
        Some(rung)
    }

    /// For how long from now nothing is done that cuts connections.
    pub fn pause(&self, now: Instant) -> Duration {
        self.costly_from.map_or(Duration::ZERO, |from| from.saturating_duration_since(now))
    }

    /// A socket was opened: all is well.
    pub fn worked(&mut self) {
        self.has_worked = true;
        self.invalid_opens = 0;
        self.taken_opens = 0;
        self.close_rebuilds = 0;
        self.traffic_came_through();
        self.descend();
        // The last step has helped.
        self.backoff.reset();
        self.costly_from = None;
    }

    /// Bytes came from a server: traffic gets through the data session.
    pub fn traffic_came_through(&mut self) {
        self.dead_opens = 0;
        self.dead_since = None;
        self.hung = Duration::ZERO;
    }

    /// The module has rebooted: what it answered before shows nothing about its present state.
    pub fn rebooted(&mut self) {
        self.has_worked = false;
        self.taken_opens = 0;
        self.invalid_opens = 0;
        self.traffic_came_through();
    }

    /// An open failed while others were open or not. `Some`: it was one too many of its kind; the rung that
    /// is due, and why.
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
            OpenFailure::Lost(_) | OpenFailure::Untrusted(_) => return None,
        };
        match code {
            Some(ResultCode::INVALID_PARAMETER) if self.has_worked => self.invalid_opens += 1,
            Some(ResultCode::PDP_BROKEN | ResultCode::PDP_OPEN_FAILED | ResultCode::DNS_FAILED)
            | Some(ResultCode::TIMED_OUT) => {
                self.dead_opens += 1;
                self.dead_since.get_or_insert(now);
            }
            Some(ResultCode::IDENTITY_IN_USE) => self.taken_opens += 1,
            _ => {
                self.invalid_opens = 0;
                self.taken_opens = 0;
                self.traffic_came_through();
            }
        }
        let silence = self.dead_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if self.invalid_opens >= FAILED_OPENS_MAX {
            self.invalid_opens = 0;
            let (rung, why) = match self.highest {
                Rung::Reboot | Rung::ResetCommand => (
                    Rung::Reboot,
                    "the module refuses every open with 552 although opens have worked: it needs a reboot",
                ),
                _ => (
                    // This harms no client, though it is unlikely to help.
                    if others_stand { Rung::Resync } else { Rung::Session },
                    "the module refuses every open with 552 although opens have worked: it needs a reboot, which \
                     --recovery reboot would allow",
                ),
            };
            self.last_strike = Some(now);
            Some((self.take(rung.max(self.rung), now).unwrap_or(Rung::Resync), why))
        } else if self.dead_opens >= FAILED_OPENS_MAX && (!others_stand || silence >= SILENCE) {
            let rung = if self.strikes < STRIKES_PER_RUNG { self.rung } else { self.rung.next() };
            let rung = self.take(rung.max(Rung::Session), now)?;
            self.traffic_came_through();
            self.last_strike = Some(now);
            Some((rung, "the data session is reported active, but no traffic gets through"))
        } else if self.taken_opens >= FAILED_OPENS_MAX && !others_stand {
            let (rung, _) = self.close_refused(now)?;
            self.taken_opens = 0;
            Some((rung, "the module refuses every open with 563: it closes no connection any more"))
        } else {
            None
        }
    }

    /// An open was ended after it had hung for this long, because its client had left. Impatient clients must not hide
    /// that no traffic gets through: such times add up, and count as an open that timed out.
    pub fn open_abandoned(
        &mut self,
        hung: Duration,
        others_stand: bool,
        now: Instant,
    ) -> Option<(Rung, &'static str)> {
        self.hung = self.hung.saturating_add(hung);
        if self.hung < HUNG_OPEN {
            return None;
        }
        self.hung = Duration::ZERO;
        self.open_failed(&OpenFailure::TimedOut, others_stand, now)
    }

    /// AT+QSSLCLOSE was refused once too often, and no socket is left for those who wait. What a new data session has
    /// not freed, only a reboot frees: that follows at once.
    pub fn close_refused(&mut self, now: Instant) -> Option<(Rung, &'static str)> {
        if self.highest < Rung::Session {
            return None;
        }
        let why = match self.highest >= Rung::Reboot {
            true => "the module closes no connection any more (AT+QSSLCLOSE is refused)",
            false => {
                "the module closes no connection any more (AT+QSSLCLOSE is refused): if a new data session does not \
                 free them, it needs a reboot, which --recovery reboot would allow"
            }
        };
        if self.close_rebuilds == 1 && self.highest >= Rung::Reboot {
            self.costly_from = None;
        }
        let rung = if self.strikes < STRIKES_PER_RUNG { self.rung } else { self.rung.next() };
        let least = if self.close_rebuilds == 0 { Rung::Session } else { Rung::Reboot };
        let rung = self.take(rung.max(least), now)?;
        self.close_rebuilds = self.close_rebuilds.saturating_add(1);
        self.last_strike = Some(now);
        Some((rung, why))
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

fn highest(recovery: Recovery, has_reset_command: bool) -> Rung {
    match recovery {
        Recovery::Resync => Rung::Resync,
        Recovery::Port => Rung::Port,
        Recovery::Session => Rung::Session,
        Recovery::Reboot if has_reset_command => Rung::ResetCommand,
        Recovery::Reboot => Rung::Reboot,
    }
}

/// Strikes that a rung gets before the next one is climbed.
const STRIKES_PER_RUNG: u32 = 2;

/// Opens in a row that may fail in the same suspicious way.
const FAILED_OPENS_MAX: u32 = 3;

/// How long opens that were abandoned must have hung together to count as one that timed out.
const HUNG_OPEN: Duration = Duration::from_secs(60);

/// How long nothing may come from any server before open connections are given up for failed opens: longer
/// than the keep-alives of most protocols.
const SILENCE: Duration = Duration::from_secs(120);

/// Strikes further apart than this have nothing to do with each other.
const MEMORY: Duration = Duration::from_secs(600);

/// Between two steps that cut connections: a module takes half a minute to boot and to register again.
const PAUSE_MIN: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(1800);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    /// The rungs that a modem climbs that strikes every 20 s, without those that a pause allows only mild steps in.
    fn climbed(ladder: &mut Ladder, is_silent: bool, count: u32) -> Vec<Rung> {
        let now = now();
        let rungs = (0..count).map(|turn| ladder.strike(is_silent, now + turn * Duration::from_secs(20)));
        let mut rungs: Vec<Rung> = rungs.collect();
        rungs.dedup();
        rungs
    }

    #[test]
    fn the_reset_command_is_run_after_pauses_that_double_up_to_half_an_hour_until_the_modem_answers() {
        let start = now();
        let minutes = |count: u32| count * Duration::from_secs(60);
        let mut absence = Absence::default();
        // Looked at every minute.
        let runs = |absence: &mut Absence, until: u32| -> Vec<u32> {
            (0..until).filter(|minute| absence.wants_reset(minutes(1), start + minutes(*minute))).collect()
        };
        assert_eq!(runs(&mut absence, 130), [1, 3, 7, 15, 31, 61, 91, 121]);
        absence.answers();
        assert_eq!(runs(&mut absence, 4), [1, 3], "it begins with the shortest again");
        // A limit above half an hour is kept to.
        let mut absence = Absence::default();
        let hours: Vec<u32> =
            (0..10).filter(|hour| absence.wants_reset(minutes(120), start + minutes(60 * hour))).collect();
        assert_eq!(hours, [2, 4, 6, 8]);
        // `--reset-after 0` switches it off.
        let mut absence = Absence::default();
        assert!((0..200).all(|minute| !absence.wants_reset(Duration::ZERO, start + minutes(minute))));
    }

    #[test]
    fn each_rung_gets_two_strikes_and_none_above_the_allowed_one_is_taken() {
        use Rung::{Port, Reboot, ResetCommand, Resync, Session};
        let now = now();
        let mut ladder = Ladder::new(Recovery::Session, true);
        let rungs: Vec<Rung> = (0..5).map(|_| ladder.strike(false, now)).collect();
        assert_eq!(rungs, [Resync, Resync, Port, Port, Session]);
        let mut ladder = Ladder::new(Recovery::Reboot, false);
        let rungs = climbed(&mut ladder, false, 100);
        assert_eq!(rungs[..8], [Resync, Port, Session, Port, Session, Port, Reboot, Port]);
        assert!(!rungs.contains(&ResetCommand));
    }

    #[test]
    fn what_cuts_connections_is_taken_with_growing_pauses() {
        let now = now();
        let mut ladder = Ladder::new(Recovery::Reboot, false);
        let at = |second: u32| now + second * Duration::from_secs(1);
        let costly: Vec<u32> = (0..36_000)
            .step_by(10)
            .filter(|second| ladder.strike(false, at(*second)) >= Rung::Session)
            .collect();
        let pauses: Vec<u32> = costly.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses[0] <= 60 && pauses.iter().all(|pause| *pause <= 1810), "{pauses:?}");
        assert!(pauses.len() < 30 && *pauses.last().expect("ten hours") > 1200, "{pauses:?}");
    }

    #[test]
    fn a_silent_modem_is_not_asked_to_reboot_and_has_time_to_boot_after_a_reset_command() {
        use Rung::{Port, ResetCommand, Resync};
        let rungs = climbed(&mut Ladder::new(Recovery::Reboot, true), true, 50);
        assert_eq!(rungs[..5], [Resync, Port, ResetCommand, Port, ResetCommand]);
        let rungs = climbed(&mut Ladder::new(Recovery::Reboot, false), true, 50);
        assert_eq!(rungs, [Resync, Port]);
    }

    #[test]
    fn success_or_a_long_quiet_time_lead_back_down() {
        let now = now();
        let mut ladder = Ladder::new(Recovery::Reboot, true);
        for _ in 0..4 {
            ladder.strike(false, now);
        }
        ladder.worked();
        assert_eq!(ladder.strike(false, now), Rung::Resync);
        for _ in 0..4 {
            ladder.strike(false, now);
        }
        assert_eq!(ladder.strike(false, now + MEMORY + MEMORY), Rung::Resync);
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
            "a server may be down"
        );
    }

    #[test]
    fn where_no_reboot_is_allowed_552_does_not_cost_the_others_their_connections() {
        let now = now();
        let failure = OpenFailure::Code(ResultCode::INVALID_PARAMETER);
        let mut ladder = Ladder::new(Recovery::Session, false);
        ladder.worked();
        let rungs = (0..9).filter_map(|_| ladder.open_failed(&failure, true, now));
        let rungs: Vec<Rung> = rungs.map(|(rung, _)| rung).collect();
        assert_eq!(rungs, [Rung::Resync; 3], "it is only named");
        let alone = (0..9).filter_map(|_| ladder.open_failed(&failure, false, now));
        let alone: Vec<Rung> = alone.map(|(rung, _)| rung).collect();
        assert_eq!(alone, [Rung::Session, Rung::Resync, Rung::Resync]);
    }

    #[test]
    fn opens_that_impatient_clients_leave_add_up_to_ones_that_timed_out() {
        let now = now();
        let mut ladder = Ladder::new(Recovery::Session, false);
        let second = |second: u32| now + second * Duration::from_secs(1);
        let hung = Duration::from_secs(5);
        let climbs =
            (0..36).map(|turn| ladder.open_abandoned(hung, false, second(5 * turn)).map(|(rung, _)| rung));
        let climbs: Vec<usize> = climbs.enumerate().filter_map(|(turn, it)| it.map(|_| turn)).collect();
        assert_eq!(climbs, [35], "the third minute of nothing is one too many");
    }

    #[test]
    fn closes_that_are_refused_lead_up_from_the_data_session_on_as_far_as_allowed() {
        let climbed = |highest| {
            let (now, mut ladder) = (now(), Ladder::new(highest, false));
            let rungs =
                (0..720_u32).filter_map(|turn| ladder.close_refused(now + turn * Duration::from_secs(5)));
            let mut rungs: Vec<Rung> = rungs.map(|(rung, _)| rung).collect();
            rungs.dedup();
            rungs
        };
        assert_eq!(climbed(Recovery::Reboot), [Rung::Session, Rung::Reboot]);
        assert_eq!(climbed(Recovery::Session), [Rung::Session]);
        assert_eq!(climbed(Recovery::Port), []);
    }

    #[test]
    fn connections_that_a_new_data_session_has_not_freed_lead_to_a_reboot_at_once() {
        let (now, mut ladder) = (now(), Ladder::new(Recovery::Reboot, false));
        let mut refused = |after| ladder.close_refused(now + after).map(|(rung, _)| rung);
        assert_eq!(refused(Duration::ZERO), Some(Rung::Session));
        assert_eq!(refused(Duration::from_secs(20)), Some(Rung::Reboot));
        assert_eq!(refused(Duration::from_secs(40)), None, "the next reboot waits");
        let mut without = Ladder::new(Recovery::Session, false);
        let (rung, why) = without.close_refused(now).expect("a step");
        assert!(rung == Rung::Session && why.contains("--recovery reboot"), "{why}");
        assert_eq!(without.close_refused(now + Duration::from_secs(20)), None);
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
        ladder.traffic_came_through();
        assert_eq!((100..219).find_map(|second| fails(&mut ladder, true, second)), None);
        assert_eq!(fails(&mut ladder, true, 220), Some(Rung::Session), "nothing has come for two minutes");
        let mut alone = Ladder::new(Recovery::Reboot, false);
        assert_eq!((0..3).find_map(|second| fails(&mut alone, false, second)), Some(Rung::Session));
    }
}
