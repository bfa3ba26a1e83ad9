//! Which device answers.

use super::Answer;

/// The number in the answer to `AT+GSN`, the IMEI of a modem. It comes alone, in quotes, or after the command's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialNumber<'a>(pub &'a str);

impl<'a> Answer<'a> for SerialNumber<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let number = line.rsplit(':').next().unwrap_or(line).trim().trim_matches('"');
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then_some(SerialNumber(number))
    }
}

/// A line of `ATI` that names Quectel as the maker, also within the name of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeByQuectel;

impl Answer<'_> for MadeByQuectel {
    fn of(line: &str) -> Option<Self> {
        line.to_ascii_lowercase().contains("quectel").then_some(MadeByQuectel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_comes_in_three_forms() {
        for (line, wanted) in [
            ("866834041234567", Some("866834041234567")),
            ("\"866834041234567\"", Some("866834041234567")),
            ("+GSN: 866834041234567", Some("866834041234567")),
            ("+GSN: \"866834041234567\"", Some("866834041234567")),
            ("866834041234567X", None),
            ("+GSN: ", None),
            ("RDY", None),
        ] {
            assert_eq!(SerialNumber::of(line).map(|number| number.0), wanted, "{line}");
        }
    }

    #[test]
    fn quectel_is_named_in_any_letters() {
        for line in ["Quectel", "QUECTEL", "Quectel_Ltd", "Quectel_EG800Q"] {
            assert_eq!(MadeByQuectel::of(line), Some(MadeByQuectel), "{line}");
        }
        assert_eq!(MadeByQuectel::of("SIMCOM INCORPORATED"), None);
    }
}
