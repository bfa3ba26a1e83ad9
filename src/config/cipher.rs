//! Cipher suites: the names and codes of both manuals (1.1), as the IANA registry spells them.
//!
//! A code that is not in the table is taken as well, since modules of other families have more; whether
//! this module has it, its own answer to AT+QSSLCFG=? decides.

use std::fmt;
use std::str::FromStr;

use super::{GrammarError, nearest};

/// The value of `--cipher`: one code, or [`Cipher::ANY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cipher(pub u16);

impl Cipher {
    /// 0XFFFF: whatever the module supports.
    pub const ANY: Cipher = Cipher(0xFFFF);

    /// The registered name, if the table has it.
    pub fn name(self) -> Option<&'static str> {
        CIPHERS.iter().find(|(code, _)| *code == self.0).map(|(_, name)| *name)
    }
}

impl FromStr for Cipher {
    type Err = GrammarError;

    fn from_str(text: &str) -> Result<Self, GrammarError> {
        if text.eq_ignore_ascii_case("any") {
            return Ok(Cipher::ANY);
        }
        if let Some(digits) = text.strip_prefix("0X").or_else(|| text.strip_prefix("0x")) {
            let is_code = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            return u16::from_str_radix(digits, 16)
                .ok()
                .filter(|_| is_code)
                .map(Cipher)
                .ok_or_else(|| GrammarError::new("a cipher suite's code has four hex digits: 0XC02F"));
        }
        if let Some((code, _)) = CIPHERS.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)) {
            return Ok(Cipher(*code));
        }
        let upper = text.to_ascii_uppercase();
        Err(GrammarError::new(match nearest(&upper, CIPHERS.iter().map(|(_, name)| *name)) {
            Some(name) => format!("no cipher suite of these modules: did you mean {name}?"),
            None => "no cipher suite of these modules: give `any`, a code such as 0XC02F, or a name such as \
                     TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
                .to_owned(),
        }))
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self, self.name()) {
            (Cipher::ANY, _) => f.write_str("any"),
            (_, Some(name)) => f.write_str(name),
            (Cipher(code), None) => write!(f, "0X{code:04X}"),
        }
    }
}

/// Code and name. The first six are all that EC20 has; the last one is in no manual, yet EG25-G lists it.
pub const CIPHERS: &[(u16, &str)] = &[
    (0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    (0x002F, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    (0x0005, "TLS_RSA_WITH_RC4_128_SHA"),
    (0x0004, "TLS_RSA_WITH_RC4_128_MD5"),
    (0x000A, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x003D, "TLS_RSA_WITH_AES_256_CBC_SHA256"),
    (0xC002, "TLS_ECDH_ECDSA_WITH_RC4_128_SHA"),
    (0xC003, "TLS_ECDH_ECDSA_WITH_3DES_EDE_CBC_SHA"),
    (0xC004, "TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xC005, "TLS_ECDH_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xC007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"),
    (0xC008, "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA"),
    (0xC009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xC00A, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xC00C, "TLS_ECDH_RSA_WITH_RC4_128_SHA"),
    (0xC00D, "TLS_ECDH_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0xC00E, "TLS_ECDH_RSA_WITH_AES_128_CBC_SHA"),
    (0xC00F, "TLS_ECDH_RSA_WITH_AES_256_CBC_SHA"),
    (0xC011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA"),
    (0xC012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0xC013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    (0xC014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    (0xC023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    (0xC024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    (0xC025, "TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA256"),
    (0xC026, "TLS_ECDH_ECDSA_WITH_AES_256_CBC_SHA384"),
    (0xC027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0xC028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    (0xC029, "TLS_ECDH_RSA_WITH_AES_128_CBC_SHA256"),
    (0xC02A, "TLS_ECDH_RSA_WITH_AES_256_CBC_SHA384"),
    (0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0xC030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_mean_the_same_suite() {
        for (code, name) in CIPHERS {
            assert_eq!(name.parse(), Ok(Cipher(*code)));
            assert_eq!(name.to_lowercase().parse(), Ok(Cipher(*code)));
            assert_eq!(format!("0X{code:04X}").parse(), Ok(Cipher(*code)));
            assert_eq!(CIPHERS.iter().filter(|(c, n)| c == code || n == name).count(), 1, "{name}");
        }
        assert_eq!("0xc02f".parse(), Ok(Cipher(0xC02F)));
        assert_eq!("any".parse(), Ok(Cipher::ANY));
        assert_eq!("0XFFFF".parse(), Ok(Cipher::ANY));
    }

    #[test]
    fn a_module_may_have_codes_that_no_manual_lists() {
        assert_eq!("0X1301".parse(), Ok(Cipher(0x1301)));
        assert_eq!(Cipher(0x1301).to_string(), "0X1301");
    }

    #[test]
    fn a_misspelt_name_gets_the_nearest() {
        let error = "TLS_ECDHE_RSA_WITH_AES128_GCM_SHA256".parse::<Cipher>().unwrap_err().to_string();
        assert!(error.ends_with("did you mean TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256?"), "{error}");
        for text in ["", "0X", "0XC02", "0XC02F0", "0X+C02", "C02F", "best"] {
            assert!(text.parse::<Cipher>().is_err(), "{text:?}");
        }
    }
}
