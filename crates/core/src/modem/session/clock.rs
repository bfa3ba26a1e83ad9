//! The modem's clock, by which certificates are judged: set by the network's time or by the host's.

use std::time::{Duration, Instant};

use super::Step;
use crate::at::ResultCode;
use crate::modem::Modem;

/// How far AT+QNTP is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetworkTime {
    /// Asked for; the URC is awaited.
    Awaited,
    /// It came, with 0 or the reason why the clock was not set.
    Told(u16),
}

impl Modem {
    /// The host's clock, in seconds since 1970. If it has jumped, the modem's is looked at again: returns
    /// whether that is due.
    pub(in crate::modem) fn host_clock_told(&mut self, unix_seconds: i64, now: Instant) -> bool {
        let expected = self.session.host_seconds(now);
        self.session.set_host_clock(unix_seconds, now);
        self.session.look_at_host_clock = Some(now + LOOK_INTERVAL);
        let tolerance = CLOCK_TOLERANCE_SECONDS.unsigned_abs();
        let jumped = expected.is_some_and(|expected| expected.abs_diff(unix_seconds) > tolerance);
        let due = jumped && self.checks_time() && self.session.is_up();
        if due {
            log::info!("the host's clock has jumped; looking at the modem's");
            self.look_after_trust();
        }
        due
    }

    /// When the host's clock is looked at next.
    pub(in crate::modem) fn host_clock_due(&self) -> Option<Instant> {
        self.session.look_at_host_clock.filter(|_| self.session.is_up() && self.checks_time())
    }

    /// Whether the dates of any server's certificate are checked.
    pub(super) fn checks_time(&self) -> bool {
        self.contexts.iter().any(|context| context.tls.checks_time())
    }

    /// `+QNTP: <err>`, which comes some time after the OK, or before it.
    pub(in crate::modem) fn network_time_told(&mut self, result: u16) {
        if self.session.step != Step::Ntp || self.session.network_time != Some(NetworkTime::Awaited) {
            return;
        }
        self.session.network_time = Some(NetworkTime::Told(result));
        if result != 0
            && let Some(server) = &self.settings.ntp
        {
            log::warn!("the time server {server} of --ntp did not set the clock: {}", ResultCode(result));
        }
        if !self.session_in_flight() {
            self.session.go(Step::Clock);
        }
    }

    pub(super) fn clock_answered(&mut self, lines: &[String], now: Instant) {
        let modem = lines.iter().find_map(|line| unix_seconds(line.strip_prefix("+CCLK:")?));
        let host = self.session.unix_seconds(now);
        let is_set = self.session.network_time.take() == Some(NetworkTime::Told(0));
        match (modem, host) {
            // Of two that are plausible the later wins: whoever sets one back has expired certificates look valid.
            (Some(modem), Some(host))
                if PLAUSIBLE_UNIX_SECONDS.contains(&modem)
                    && modem.saturating_add(CLOCK_TOLERANCE_SECONDS) >= host =>
            {
                if is_set {
                    log::info!("the modem's clock was set by the time server");
                }
                self.go_or_skip(Step::ListFiles);
            }
            (_, Some(_)) => {
                log::info!("setting the modem's clock from the host's");
                self.session.go(Step::SetClock);
            }
            (Some(modem), _) if PLAUSIBLE_UNIX_SECONDS.contains(&modem) => self.go_or_skip(Step::ListFiles),
            _ => {
                log::warn!(
                    "neither the modem's clock nor the host's is set: certificates will look expired or not yet \
                     valid (--ntp sets the modem's)"
                );
                self.go_or_skip(Step::ListFiles);
            }
        }
    }
}

/// Seconds since 1970 of `"yy/MM/dd,hh:mm:ss±zz"`; the year has two or four digits, the zone counts quarter
/// hours (PROTOCOL section 5).
pub fn unix_seconds(text: &str) -> Option<i64> {
    let text = text.trim().trim_matches('"');
    let (date, time) = text.split_once(',')?;
    let mut date = date.split('/');
    let year = match date.next()?.parse::<u16>().ok()? {
        year @ 0..70 => 2000 + year,
        year @ 70..100 => 1900 + year,
        year => year,
    };
    let month: u8 = date.next()?.parse().ok()?;
    let day: u8 = date.next()?.parse().ok()?;
    let zone_at = time.find(['+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone_at);
    let zone: i8 = if zone.is_empty() { 0 } else { zone.parse().ok()? };
    if !ZONE_QUARTER_HOURS.contains(&zone) {
        return None;
    }
    let mut parts = time.split(':').map(|part| part.parse::<u8>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let month = time::Month::try_from(month).ok()?;
    let date = time::Date::from_calendar_date(year.into(), month, day).ok()?;
    let local = date.with_hms(hour, minute, second).ok()?;
    Some(local.assume_utc().unix_timestamp() - i64::from(zone) * 15 * 60)
}

/// What 3GPP TS 27.007, 8.15 gives AT+CCLK; no place on earth is further from UTC than 14 hours.
const ZONE_QUARTER_HOURS: std::ops::RangeInclusive<i8> = -96..=96;

/// The time as AT+CCLK takes it, in UTC.
pub fn clock_text(unix_seconds: i64) -> Option<String> {
    let time = time::OffsetDateTime::from_unix_timestamp(unix_seconds).ok()?;
    let (year, month, day) = (time.year() % 100, u8::from(time.month()), time.day());
    let (hour, minute, second) = time.to_hms();
    Some(format!("{year:02}/{month:02}/{day:02},{hour:02}:{minute:02}:{second:02}+00"))
}

/// A host without a battery for its clock starts in 1970: believe nothing before 2025 or after 2100.
pub const PLAUSIBLE_UNIX_SECONDS: std::ops::Range<i64> = 1_735_689_600..4_102_444_800;

/// Validity dates are checked by the day; a minute is near enough.
const CLOCK_TOLERANCE_SECONDS: i64 = 60;

/// How often the host's clock is looked at for a jump.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modems_clock_in_all_its_shapes() {
        // 2026-08-07 13:54:02 at UTC+8
        assert_eq!(unix_seconds(" \"26/08/07,13:54:02+32\""), Some(1_786_082_042));
        assert_eq!(unix_seconds("\"2026/08/07,05:54:02+00\""), Some(1_786_082_042));
        assert_eq!(unix_seconds("\"80/01/06,00:00:03+00\""), Some(315_964_803));
        for bad in
            ["", "26/13/07,13:54:02+32", "26/08/07", "26/08/07,25:00:00", "a/b/c,d:e:f+99999999999999999999"]
        {
            assert_eq!(unix_seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_number_beyond_its_range_is_no_time() {
        assert_eq!(unix_seconds("26/11/26,17:00:00-96"), Some(1_795_798_800));
        for bad in [
            "26/11/26,17:00:00-10248191152060862",
            "26/11/26,17:00:00+10248191152060862",
            "26/11/26,17:00:00-97",
            "26/11/26,17:00:00--128",
            "2147483647/11/26,17:00:00+00",
            "-2147483648/11/26,17:00:00+00",
            "26/11/26,17:00:256+00",
        ] {
            assert_eq!(unix_seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_clock_is_written_as_the_modem_takes_it() {
        assert_eq!(clock_text(1_786_082_042).unwrap(), "26/08/07,05:54:02+00");
    }
}
