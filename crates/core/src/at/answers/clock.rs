//! The modem's clock.

use std::fmt;

use super::{Answer, text};

/// `+CCLK: "yy/MM/dd,hh:mm:ss±zz"`; the year has two or four digits, the zone counts quarter hours (PROTOCOL section 5;
/// 3GPP TS 27.007, 8.15). Written as AT+CCLK takes it, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock(time::OffsetDateTime);

impl Clock {
    /// The time so many seconds after 1970 began; `None` beyond the year 9999.
    pub fn at(unix_seconds: i64) -> Option<Self> {
        time::OffsetDateTime::from_unix_timestamp(unix_seconds).ok().map(Clock)
    }

    /// Seconds since 1970.
    pub fn unix_seconds(self) -> i64 {
        self.0.unix_timestamp()
    }
}

impl Answer<'_> for Clock {
    fn of(line: &str) -> Option<Self> {
        let (date, time) = text(line, "+CCLK")?.trim_matches('"').split_once(',')?;
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
        Clock::at(local.assume_utc().unix_timestamp() - i64::from(zone) * 15 * 60)
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Clock(time) = self;
        let (year, month, day) = (time.year() % 100, u8::from(time.month()), time.day());
        let (hour, minute, second) = time.to_hms();
        write!(f, "{year:02}/{month:02}/{day:02},{hour:02}:{minute:02}:{second:02}+00")
    }
}

/// What 3GPP TS 27.007, 8.15 gives AT+CCLK; no place on earth is further from UTC than 14 hours.
const ZONE_QUARTER_HOURS: std::ops::RangeInclusive<i8> = -96..=96;

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<i64> {
        Clock::of(&format!("+CCLK: {text}")).map(Clock::unix_seconds)
    }

    #[test]
    fn the_modems_clock_in_all_its_shapes() {
        // 2026-08-07 13:54:02 at UTC+8
        assert_eq!(seconds(" \"26/08/07,13:54:02+32\""), Some(1_786_082_042));
        assert_eq!(seconds("\"2026/08/07,05:54:02+00\""), Some(1_786_082_042));
        assert_eq!(seconds("\"80/01/06,00:00:03+00\""), Some(315_964_803));
        for bad in
            ["", "26/13/07,13:54:02+32", "26/08/07", "26/08/07,25:00:00", "a/b/c,d:e:f+99999999999999999999"]
        {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_number_beyond_its_range_is_no_time() {
        assert_eq!(seconds("26/11/26,17:00:00-96"), Some(1_795_798_800));
        for bad in [
            "26/11/26,17:00:00-10248191152060862",
            "26/11/26,17:00:00+10248191152060862",
            "26/11/26,17:00:00-97",
            "26/11/26,17:00:00--128",
            "2147483647/11/26,17:00:00+00",
            "-2147483648/11/26,17:00:00+00",
            "26/11/26,17:00:256+00",
            "9999/12/31,23:59:59-96",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        assert_eq!(Clock::at(i64::MAX), None);
    }

    #[test]
    fn a_clock_is_read_as_it_is_written() {
        let clock = Clock::at(1_786_082_042).expect("a time");
        assert_eq!(clock.to_string(), "26/08/07,05:54:02+00");
        assert_eq!(Clock::of(&format!("+CCLK: \"{clock}\"")), Some(clock));
    }
}
