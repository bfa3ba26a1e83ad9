//! A reboot of the modem, from the moment it is due until the modem answers again.
//!
//! ```text
//!   None ──due──► Due ──AT+CFUN=1,1 leaves──► None
//!    ▲             │ it has rebooted by itself
//!    │             ▼
//!    └─answers── UnderWay (nothing is sent until `quiet_until`)
//! ```

use std::time::{Duration, Instant};

/// Whether the modem is to reboot, or has, and has not answered since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reboot {
    /// Neither.
    #[default]
    None,
    /// AT+CFUN=1,1 is due on the next channel that takes commands.
    Due,
    /// It has reported that it reboots, or was made to, and has answered nothing since.
    UnderWay {
        /// Nothing is sent to it before this time, if that is still to come.
        quiet_until: Option<Instant>,
    },
}

/// How a reboot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebootSign {
    /// It goes down: `POWERED DOWN`, or `OK` to AT+CFUN=1,1.
    GoesDown,
    /// It has come up: `RDY`.
    IsUp,
}

impl Reboot {
    /// The ladder has come to it.
    pub fn is_due(&mut self) {
        if *self == Reboot::None {
            *self = Reboot::Due;
        }
    }

    /// Whether AT+CFUN=1,1 is to be sent now: once.
    pub fn take_due(&mut self) -> bool {
        let is_due = *self == Reboot::Due;
        if is_due {
            *self = Reboot::None;
        }
        is_due
    }

    /// The modem shows that it reboots. Returns whether this is the first sign of it: several signs report the same
    /// reboot.
    pub fn shows(&mut self, sign: RebootSign, now: Instant) -> bool {
        let is_first = !matches!(self, Reboot::UnderWay { .. });
        let pause = match sign {
            RebootSign::GoesDown => BOOT_PAUSE,
            RebootSign::IsUp => READY_PAUSE,
        };
        *self = Reboot::UnderWay { quiet_until: Some(now + pause) };
        is_first
    }

    /// Until when nothing is sent.
    pub fn quiet_until(&self) -> Option<Instant> {
        match self {
            Reboot::UnderWay { quiet_until } => *quiet_until,
            Reboot::None | Reboot::Due => None,
        }
    }

    /// Something may have come due.
    pub fn deadline_passed(&mut self, now: Instant) {
        if let Reboot::UnderWay { quiet_until } = self
            && quiet_until.is_some_and(|until| until <= now)
        {
            *quiet_until = None;
        }
    }

    /// The modem answers.
    pub fn answers(&mut self) {
        if matches!(self, Reboot::UnderWay { .. }) {
            *self = Reboot::None;
        }
    }
}

/// A module sends nothing sensible for some seconds after `POWERED DOWN`, and for a moment after `RDY`.
const BOOT_PAUSE: Duration = Duration::from_secs(10);
const READY_PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    #[test]
    fn a_reboot_is_asked_for_once_and_over_when_the_modem_answers() {
        let mut reboot = Reboot::default();
        assert!(!reboot.take_due());
        reboot.is_due();
        assert!(reboot.take_due() && !reboot.take_due());
        let start = now();
        assert!(reboot.shows(RebootSign::GoesDown, start), "the first sign");
        assert_eq!(reboot.quiet_until(), Some(start + BOOT_PAUSE));
        assert!(!reboot.shows(RebootSign::IsUp, start), "the same reboot");
        assert_eq!(reboot.quiet_until(), Some(start + READY_PAUSE));
        reboot.is_due();
        assert!(!reboot.take_due(), "it reboots already");
        reboot.deadline_passed(start + READY_PAUSE);
        assert_eq!(reboot.quiet_until(), None);
        assert!(!reboot.shows(RebootSign::IsUp, start + READY_PAUSE), "it has not answered since");
        reboot.answers();
        assert_eq!(reboot, Reboot::None);
    }

    #[test]
    fn a_modem_that_reboots_by_itself_need_not_be_told_to() {
        let mut reboot = Reboot::default();
        reboot.is_due();
        reboot.answers();
        assert_eq!(reboot, Reboot::Due, "an answer does not reboot it");
        assert!(reboot.shows(RebootSign::IsUp, now()));
        assert!(!reboot.take_due());
    }
}
