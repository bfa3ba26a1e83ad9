//! The modem's own clock, and how it is written.
//!
//! AT+CCLK gives local time and the zone in quarters of an hour (3GPP TS 27.007 8.15). A clock never set
//! starts at 1980-01-06, the beginning of GPS time.

use std::time::Instant;

/// 1980-01-06 00:00:00 UTC in seconds since 1970.
pub(crate) const NEVER_SET: i64 = 315_964_800;

/// A clock that runs with the caller's time.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    set_at: Instant,
    seconds: i64,
    /// Zone in quarters of an hour, −96 to 96.
    zone: i32,
}

impl Clock {
    pub(crate) fn new(seconds: Option<i64>, now: Instant) -> Clock {
        Clock { set_at: now, seconds: seconds.unwrap_or(NEVER_SET), zone: 0 }
    }

    /// Seconds since 1970, UTC.
    pub(crate) fn seconds(&self, now: Instant) -> i64 {
        let elapsed = now.saturating_duration_since(self.set_at).as_secs();
        self.seconds.saturating_add(i64::try_from(elapsed).unwrap_or(i64::MAX))
    }

    /// Sets the clock to seconds since 1970, UTC; the zone stays.
    pub(crate) fn set(&mut self, seconds: i64, now: Instant) {
        self.seconds = seconds;
        self.set_at = now;
    }

    /// Sets the clock from `yy/MM/dd,hh:mm:ss±zz`, the zone being optional; false if it is no such time.
    pub(crate) fn set_local(&mut self, text: &str, now: Instant) -> bool {
        let Some((local, zone)) = parse(text) else { return false };
        let zone = zone.unwrap_or(self.zone);
        self.zone = zone;
        self.set(local - i64::from(zone) * QUARTER, now);
        true
    }

    /// Local time as `yy/MM/dd,hh:mm:ss±zz`, or with all four digits of the year.
    pub(crate) fn local_text(&self, now: Instant, four_digit_year: bool) -> String {
        let local = self.seconds(now) + i64::from(self.zone) * QUARTER;
        let (year, month, day) = civil_date(local.div_euclid(DAY));
        let second = local.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let year =
            if four_digit_year { format!("{year:04}") } else { format!("{:02}", year.rem_euclid(100)) };
        format!("{year}/{month:02}/{day:02},{hour:02}:{minute:02}:{second:02}{:+03}", self.zone)
    }
}

/// Local seconds since 1970 and the zone of `yy/MM/dd,hh:mm:ss±zz`. Two digits of a year from 70 on are of
/// the last century.
fn parse(text: &str) -> Option<(i64, Option<i32>)> {
    let (date, time) = text.split_once(',')?;
    let mut date = date.split('/');
    let year = date.next()?;
    let (month, day) = (number(date.next()?, 2)?, number(date.next()?, 2)?);
    let year = match year.len() {
        2 => match number(year, 2)? {
            year @ 70.. => 1900 + year,
            year => 2000 + year,
        },
        _ => number(year, 4)?,
    };
    let (time, zone) = match time.find(['+', '-']) {
        Some(at) => {
            let quarters = i32::try_from(number(&time[at + 1..], 2)?).ok()?;
            (&time[..at], Some(if time[at..].starts_with('-') { -quarters } else { quarters }))
        }
        None => (time, None),
    };
    let mut time = time.split(':');
    let (hour, minute, second) =
        (number(time.next()?, 2)?, number(time.next()?, 2)?, number(time.next()?, 2)?);
    let in_range = (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && zone.is_none_or(|zone| (-96..=96).contains(&zone))
        && date.next().is_none()
        && time.next().is_none();
    in_range.then(|| (days_since_1970(year, month, day) * DAY + hour * 3600 + minute * 60 + second, zone))
}

fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|digit| digit.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar; months are counted from March so that the leap day is last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let days_before_month = (month_from_march * 153 + 2) / 5;
    let days_before_year = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    days_before_year + days_before_month + day - 1 - DAYS_TO_1970
}

/// Year, month and day, by the inverse of `days_since_1970`.
fn civil_date(days: i64) -> (i64, i64, i64) {
    // The estimate is never too late for the dates of this clock; the loop steps forward to the right year.
    let mut year = 1970 + days.div_euclid(366) - 1;
    while days_since_1970(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut day = days - days_since_1970(year, 1, 1);
    let mut month = 1;
    while day >= days_of_month(year, month) {
        day -= days_of_month(year, month);
        month += 1;
    }
    (year, month, day + 1)
}

const DAY: i64 = 86_400;
const QUARTER: i64 = 900;
/// From 1 March of the year 0 to 1970.
const DAYS_TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;
    use std::time::Duration;

    #[test]
    fn a_clock_never_set_shows_1980() {
        let clock = Clock::new(None, start());
        assert_eq!(clock.local_text(start(), false), "80/01/06,00:00:00+00");
    }

    #[test]
    fn local_time_and_zone_come_back_as_they_were_set_and_run_on() {
        let mut clock = Clock::new(None, start());
        assert!(clock.set_local("26/08/07,13:54:02+32", start()));
        assert_eq!(clock.seconds(start()), 1_786_082_042);
        let later = start() + Duration::from_secs(58);
        assert_eq!(clock.local_text(later, false), "26/08/07,13:55:00+32");
        assert_eq!(clock.local_text(later, true), "2026/08/07,13:55:00+32");
        assert!(clock.set_local("2024/02/29,23:59:59-04", later));
        assert_eq!(clock.local_text(later + Duration::from_secs(1), false), "24/03/01,00:00:00-04");
    }

    #[test]
    fn impossible_times_are_refused() {
        let mut clock = Clock::new(None, start());
        for text in [
            "",
            "26/08/07",
            "26/13/07,00:00:00",
            "26/02/29,00:00:00",
            "26/08/07,24:00:00+00",
            "26/08/07,00:00:00+97",
            "26/8/7,00:00:00",
            "226/08/07,00:00:00",
            "26/08/07,00:00:00+é",
        ] {
            assert!(!clock.set_local(text, start()), "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_the_inverse_of_itself() {
        for days in -DAYS_TO_1970 / 4..DAYS_TO_1970 / 4 {
            let (year, month, day) = civil_date(days);
            assert_eq!(days_since_1970(year, month, day), days);
        }
        assert_eq!(civil_date(NEVER_SET / DAY), (1980, 1, 6));
    }
}
