//! Durations as users type them: a number of seconds, or `500ms`, `30s`, `5min`, `2h`, `1d`; 0 is off.

use std::time::Duration;

use super::GrammarError;

/// The longest duration that is accepted. No deadline can overflow with it.
pub const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Reads a duration.
///
/// # Errors
/// Shows what a duration looks like, or reports that it is negative or above [`LONGEST`].
pub fn parse(text: &str) -> Result<Duration, GrammarError> {
    if text.starts_with('-') {
        return Err(GrammarError::new("a duration cannot be negative; 0 switches the limit off"));
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds_each = match unit {
        _ if number.is_empty() => return Err(shape()),
        "" | "s" => 1000,
        "ms" => 1,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "m" => return Err(GrammarError::new("`m` could be read in two ways: write `min` or `ms`")),
        _ => return Err(shape()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(milliseconds_each))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| GrammarError::new("longer than 3650d, the most there is"))
}

/// Writes `duration` in the largest unit that holds it without a remainder. [`parse`] reads it back,
/// down to milliseconds.
pub fn format(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let (each, unit) = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"), (1, "ms")]
        .into_iter()
        .find(|(each, _)| milliseconds >= *each && milliseconds.is_multiple_of(*each))
        .unwrap_or((1000, "s"));
    format!("{}{unit}", milliseconds / each)
}

fn shape() -> GrammarError {
    GrammarError::new("not a duration: a number of seconds, or 500ms, 30s, 5min, 2h, 1d; 0 is off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_seconds_and_units_are_what_they_say() {
        for (text, seconds) in
            [("0", 0), ("30", 30), ("30s", 30), ("5min", 300), ("2h", 7200), ("1d", 86_400)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "-1", "1.5", "1 s", "5m", "5M", "1e3", "∞", "30 ", "+3", "0x10", "ms"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn overflow_is_refused_and_not_wrapped() {
        for text in ["3651d", "18446744073709551615", "99999999999999999999d", "213503982335d"] {
            assert_eq!(
                parse(text).unwrap_err().to_string(),
                "longer than 3650d, the most there is",
                "{text}"
            );
        }
        assert_eq!(parse("3650d"), Ok(LONGEST));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["0s", "1ms", "1500ms", "90s", "5min", "25h", "7d"] {
            assert_eq!(format(parse(text).expect("a duration")), text);
        }
    }
}
