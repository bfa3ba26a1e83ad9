//! Cipher suites as users type them after `--cipher`: a registered name, a code such as `0XC02F`, or `any`.
//!
//! A code that is not in the table is accepted as well, since modules of other families have more suites. The
//! module's answer to `AT+QSSLCFG=?` decides whether it has this one.

use qssl_core::settings::{CIPHERS, Cipher};

use super::{GrammarError, nearest};

/// Reads the value of `--cipher`.
///
/// # Errors
/// Names the suite that was probably meant, or shows the forms of a suite.
pub fn parse(text: &str) -> Result<Cipher, GrammarError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_mean_the_same_suite() {
        for (code, name) in CIPHERS {
            assert_eq!(parse(name), Ok(Cipher(*code)));
            assert_eq!(parse(&name.to_lowercase()), Ok(Cipher(*code)));
            assert_eq!(parse(&format!("0X{code:04X}")), Ok(Cipher(*code)));
            assert_eq!(CIPHERS.iter().filter(|(c, n)| c == code || n == name).count(), 1, "{name}");
        }
        assert_eq!(parse("0xc02f"), Ok(Cipher(0xC02F)));
        assert_eq!(parse("any"), Ok(Cipher::ANY));
        assert_eq!(parse("0XFFFF"), Ok(Cipher::ANY));
    }

    #[test]
    fn a_module_may_have_codes_that_no_manual_lists() {
        assert_eq!(parse("0X1301"), Ok(Cipher(0x1301)));
        assert_eq!(Cipher(0x1301).to_string(), "0X1301");
    }

    #[test]
    fn a_misspelt_name_gets_the_nearest() {
        let error = parse("TLS_ECDHE_RSA_WITH_AES128_GCM_SHA256").unwrap_err().to_string();
        assert!(error.ends_with("did you mean TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256?"), "{error}");
        for text in ["", "0X", "0XC02", "0XC02F0", "0X+C02", "C02F", "best"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
