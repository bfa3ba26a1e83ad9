//! A monthly data volume as users type it: `500MB`, `2GB,stop`, `1073741824`.

use std::fmt;
use std::str::FromStr;

use super::{Budget, GrammarError};

impl FromStr for Budget {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        let (size, stop) = match text.split_once(',') {
            None => (text, false),
            Some((size, "warn")) => (size, false),
            Some((size, "stop")) => (size, true),
            Some(_) => return Err(GrammarError::new("after the comma write warn or stop")),
        };
        let digits = size.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = size.split_at(digits);
        let each = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, each)| *each);
        let (Some(each), false) = (each, number.is_empty()) else {
            return Err(GrammarError::new("not a volume: a number of bytes, or 500kB, 500MB, 2GB, 512MiB"));
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(each));
        match bytes {
            Some(bytes @ 1..) => Ok(Budget { bytes, stop }),
            Some(0) => Err(GrammarError::new("a budget of nothing would stop everything")),
            None => Err(GrammarError::new("more bytes than can be counted")),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, each): &&(&str, u64)| self.bytes.is_multiple_of(*each);
        let (unit, each) =
            UNITS.iter().filter(whole).max_by_key(|(_, each)| *each).copied().unwrap_or(("", 1));
        write!(f, "{}{unit}", self.bytes / each)?;
        if self.stop { f.write_str(",stop") } else { Ok(()) }
    }
}

const UNITS: [(&str, u64); 7] = [
    ("", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("kiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_read_and_written_alike() {
        for (text, bytes, stop) in [
            ("500MB", 500_000_000, false),
            ("2GB,stop", 2_000_000_000, true),
            ("1kB", 1000, false),
            ("512MiB", 512 << 20, false),
            ("1001", 1001, false),
        ] {
            let budget: Budget = text.parse().unwrap();
            assert_eq!((budget.bytes, budget.stop), (bytes, stop), "{text}");
            assert_eq!(budget.to_string(), text);
        }
        assert_eq!("1GB,warn".parse::<Budget>().unwrap().to_string(), "1GB");
    }

    #[test]
    fn what_is_no_volume_is_refused() {
        for text in [
            "",
            "0",
            "0GB",
            "MB",
            "-1",
            "1.5GB",
            "1mb",
            "1GB,",
            "1GB,halt",
            "1 GB",
            "99999999999GB",
            "1GB,stop,stop",
        ] {
            assert!(text.parse::<Budget>().is_err(), "{text}");
        }
    }
}
