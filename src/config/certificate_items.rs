//! Names of the checks that "ignorecertitem" can switch off (EG800Q manual, 2.2.1).

use std::fmt;
use std::str::FromStr;

use super::{GrammarError, nearest};

/// One value of `--ignore-certificate`: one bit of "ignorecertitem", or all bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateItem(pub u32);

impl FromStr for CertificateItem {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        if let Some((_, bit)) = ITEMS.iter().find(|(name, _)| *name == text) {
            return Ok(CertificateItem(*bit));
        }
        let names = || ITEMS.iter().map(|(name, _)| *name);
        Err(GrammarError::new(match nearest(text, names()) {
            Some(name) => format!("no such check: did you mean {name}?"),
            None => format!("no such check: one of {}", names().collect::<Vec<_>>().join(", ")),
        }))
    }
}

impl fmt::Display for CertificateItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&names_of(self.0).join(","))
    }
}

/// The names that add up to `sum`, the value of "ignorecertitem".
pub fn names_of(sum: u32) -> Vec<&'static str> {
    if sum == ALL {
        return vec!["all"];
    }
    ITEMS.iter().filter(|(_, bit)| *bit != ALL && sum & bit != 0).map(|(name, _)| *name).collect()
}

/// The bit for an expired certificate.
pub const EXPIRED: u32 = 1;
/// The bit for a name that is not the server's.
pub const COMMON_NAME: u32 = qssl_core::settings::IGNORE_COMMON_NAME;
/// The bit for a certificate that no configured authority has issued.
pub const UNTRUSTED: u32 = 8;
/// Every check, the manual's 1048575.
pub const ALL: u32 = 1_048_575;

/// Name and bit. They are mbedTLS's X.509 verify flags.
pub const ITEMS: &[(&str, u32)] = &[
    ("expired", EXPIRED),
    ("common-name", COMMON_NAME),
    ("untrusted", UNTRUSTED),
    ("other", 256),
    ("key-usage", 2048),
    ("extended-key-usage", 4096),
    ("ns-cert-type", 8192),
    ("bad-key-algorithm", 32_768),
    ("bad-key", 65_536),
    ("all", ALL),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_one_bit_and_all_is_all() {
        for (name, bit) in ITEMS {
            assert_eq!(name.parse(), Ok(CertificateItem(*bit)));
            assert_eq!(CertificateItem(*bit).to_string(), *name);
            assert!(bit.is_power_of_two() || *name == "all");
        }
        assert_eq!(names_of(1 + 4 + 65_536), ["expired", "common-name", "bad-key"]);
        assert!(names_of(0).is_empty());
    }

    #[test]
    fn a_misspelt_name_gets_the_nearest() {
        let error = "comon-name".parse::<CertificateItem>().unwrap_err();
        assert_eq!(error.to_string(), "no such check: did you mean common-name?");
        assert!("4".parse::<CertificateItem>().is_err());
    }
}
