//! Option values that need no grammar of their own: texts, hosts and numbers for AT commands.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use qssl_core::settings::target;

use super::GrammarError;
use qssl_core::at::{AtText, PdpContextId};

/// A text of 1–[`LONGEST_TEXT`] characters for an AT command.
///
/// # Errors
/// Names the character that would break out of the command, or the length.
pub fn at_text(text: &str) -> Result<AtText, GrammarError> {
    match text.len() {
        0 => Err(GrammarError::new("the text is empty")),
        1..=LONGEST_TEXT => AtText::new(text).map_err(|error| GrammarError::new(error.to_string())),
        _ => Err(GrammarError::new(format!("longer than {LONGEST_TEXT} characters"))),
    }
}

/// A host name or address for an AT command, without a port.
///
/// # Errors
/// Names what cannot be in a host name.
pub fn host(text: &str) -> Result<AtText, GrammarError> {
    target::host(text)
}

/// The number of a PDP context, 1–16 (AT+QICSGP). Some modules have only 15.
///
/// # Errors
/// Names the range.
pub fn pdp_context(text: &str) -> Result<PdpContextId, GrammarError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits).and_then(PdpContextId::new);
    number.ok_or_else(|| GrammarError::new("not a PDP context: 1-16"))
}

/// A parser for whole numbers of this range.
pub fn whole<N>(range: RangeInclusive<N>) -> impl Fn(&str) -> Result<N, GrammarError> + Clone
where
    N: FromStr + PartialOrd + Display + Clone,
{
    move |text| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && range.contains(number));
        let (least, most) = (range.start(), range.end());
        number.ok_or_else(|| GrammarError::new(format!("not a whole number from {least} to {most}")))
    }
}

/// The longest identity, key and application protocol (EG800Q manual, 2.2.1), in characters.
pub const LONGEST_TEXT: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_breaks_out_of_the_command_names_the_character() {
        assert_eq!(
            at_text("a\"").unwrap_err().to_string(),
            "'\"' at position 2 is not allowed in an AT command"
        );
        assert!(at_text("").is_err());
        assert!(at_text(&"a".repeat(256)).is_err());
        assert_eq!(at_text("internet").expect("a text").as_str(), "internet");
    }

    #[test]
    fn a_pdp_context_is_one_that_some_module_has() {
        assert_eq!(pdp_context("16").expect("a number").number(), 16);
        for text in ["0", "17", "", "+1", "-1", "a", "4294967296"] {
            assert!(pdp_context(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_number_out_of_range_or_none_names_the_range() {
        let baud = whole(300_u32..=4_000_000);
        assert_eq!((baud("300"), baud("4000000")), (Ok(300), Ok(4_000_000)));
        for text in ["299", "4000001", "", "+300", "-300", "x", "1e3", "99999999999999999999"] {
            let error = baud(text).unwrap_err().to_string();
            assert_eq!(error, "not a whole number from 300 to 4000000", "{text:?}");
        }
    }
}
