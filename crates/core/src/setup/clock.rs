//! The modem's clock, by which certificates are checked: set by the network's time or by the host's.

use std::time::{Duration, Instant};

use super::{Given, SetUp, SetupStep};
use crate::at::ResultCode;
use crate::at::answers::{Answer, Clock};

/// How far AT+QNTP is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetworkTime {
    /// It was asked for; the URC is awaited.
    Awaited,
    /// The URC came, with 0 or the reason why the clock was not set.
    Told(u16),
}

impl SetUp {
    /// The host's clock, in seconds since 1970. If it has jumped, the modem's is looked at again: returns
    /// whether that is due.
    pub fn host_clock_told(&mut self, given: &Given<'_>, unix_seconds: i64, now: Instant) -> bool {
        let expected = self.host_seconds(now);
        self.set_host_clock(unix_seconds, now);
        self.look_at_host_clock = Some(now + LOOK_INTERVAL);
        let tolerance = CLOCK_TOLERANCE_SECONDS.unsigned_abs();
        let jumped = expected.is_some_and(|expected| expected.abs_diff(unix_seconds) > tolerance);
        let due = jumped && self.checks_time() && self.is_up();
        if due {
            log::info!("the host's clock has jumped; checking the modem's");
            self.look_after_trust(given);
        }
        due
    }

    /// When the host's clock is looked at next.
    pub fn host_clock_due(&self) -> Option<Instant> {
        self.look_at_host_clock.filter(|_| self.is_up() && self.checks_time())
    }

    /// Whether the dates of any server's certificate are checked.
    pub(super) fn checks_time(&self) -> bool {
        self.contexts.iter().any(|context| context.tls.checks_time())
    }

    /// `+QNTP: <err>`, which comes some time after the OK, or before it.
    pub fn network_time_told(&mut self, given: &Given<'_>, result: u16) {
        if self.step != SetupStep::Ntp || self.network_time != Some(NetworkTime::Awaited) {
            return;
        }
        self.network_time = Some(NetworkTime::Told(result));
        if result != 0
            && let Some(server) = &given.settings.ntp
        {
            log::warn!("the time server {server} of --ntp did not set the clock: {}", ResultCode(result));
        }
        if !given.is_asking {
            self.go(SetupStep::Clock);
        }
    }

    pub(super) fn clock_answered(&mut self, given: &Given<'_>, lines: &[String], now: Instant) {
        let modem = Clock::first(lines).map(Clock::unix_seconds);
        let host = self.unix_seconds(now);
        let is_set = self.network_time.take() == Some(NetworkTime::Told(0));
        match ClockFinding::of(modem, host) {
            ClockFinding::Right => {
                if is_set && host.is_some() {
                    log::info!("the modem's clock was set by the time server");
                }
                self.go_or_skip(given, SetupStep::ListFiles);
            }
            ClockFinding::Behind => {
                log::info!("setting the modem's clock from the host's");
                self.go(SetupStep::SetClock);
            }
            ClockFinding::Unknown => {
                log::warn!(
                    "neither the modem's clock nor the host's is set: certificates will look expired or not yet \
                     valid (--ntp sets the modem's)"
                );
                self.go_or_skip(given, SetupStep::ListFiles);
            }
        }
    }
}

/// Whether the modem's clock can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockFinding {
    /// It is plausible.
    Right,
    /// It is earlier than the host's, or was never set: it is set from the host's.
    Behind,
    /// Neither clock was ever set.
    Unknown,
}

impl ClockFinding {
    /// Chooses between the modem's clock and the host's, in seconds since 1970. Of two that are plausible the
    /// later is right: setting one back would make expired certificates look valid.
    pub fn of(modem: Option<i64>, host: Option<i64>) -> Self {
        let plausible = |clock: &i64| PLAUSIBLE_UNIX_SECONDS.contains(clock);
        match (modem.filter(plausible), host.filter(plausible)) {
            (Some(modem), Some(host)) if modem.saturating_add(CLOCK_TOLERANCE_SECONDS) >= host => {
                ClockFinding::Right
            }
            (_, Some(_)) => ClockFinding::Behind,
            (Some(_), None) => ClockFinding::Right,
            (None, None) => ClockFinding::Unknown,
        }
    }
}

/// A host without a battery for its clock starts in 1970: trust nothing before 2025 or after 2100.
pub const PLAUSIBLE_UNIX_SECONDS: std::ops::Range<i64> = 1_735_689_600..4_102_444_800;

/// Validity dates are checked by the day; a minute is near enough.
pub const CLOCK_TOLERANCE_SECONDS: i64 = 60;

/// How often the host's clock is looked at for a jump.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
