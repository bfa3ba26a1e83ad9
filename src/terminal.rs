//! What the place that text is printed to can show: how wide it is, and whether it takes more than ASCII.

use std::env;
use std::ffi::OsString;
use std::os::fd::AsFd;

/// The width of a terminal in columns; `None` where this is none, or it does not know.
pub fn width(output: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(output).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col).max(NARROWEST_COLUMNS))
}

/// Whether the locale of the environment has characters beyond ASCII. The C locale has not.
pub fn takes_unicode() -> bool {
    is_utf8(["LC_ALL", "LC_CTYPE", "LANG"].map(env::var_os))
}

/// As locale(7): the first of these variables that is set and not empty counts.
fn is_utf8(variables: [Option<OsString>; 3]) -> bool {
    let set = variables.into_iter().flatten().find(|value| !value.is_empty());
    let locale = set.map(|value| value.to_string_lossy().to_lowercase()).unwrap_or_default();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// The text for a person, in a locale that may have ASCII only.
pub fn shown(text: &str, unicode: bool) -> String {
    if unicode || text.is_ascii() {
        return text.to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '✓' => plain.push('+'),
            '✗' => plain.push('x'),
            '–' | '─' => plain.push('-'),
            '═' => plain.push('='),
            '×' => plain.push('x'),
            '→' => plain.push_str("->"),
            '►' => plain.push('>'),
            '…' => plain.push_str("..."),
            c if c.is_ascii() => plain.push(c),
            _ => plain.push('?'),
        }
    }
    plain
}

/// `text` in lines of at most `width` columns, broken between words. The first line begins with `first`, the others
/// with `indent`. Without a width it is one line.
pub fn wrapped(text: &str, width: Option<usize>, first: &str, indent: &str) -> String {
    let options = textwrap::Options::new(width.unwrap_or(usize::MAX))
        .initial_indent(first)
        .subsequent_indent(indent)
        .break_words(false);
    textwrap::fill(text, options)
}

/// Terminals that claim to be narrower are not believed.
const NARROWEST_COLUMNS: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_decides_about_the_locale() {
        let locale = |all: [&str; 3]| is_utf8(all.map(|value| Some(value.into())));
        assert!(locale(["", "", "de_DE.UTF-8"]));
        assert!(locale(["C.utf8", "C", "C"]));
        assert!(!locale(["C", "", "de_DE.UTF-8"]));
        assert!(!locale(["POSIX", "", ""]));
        assert!(!is_utf8([None, None, None]));
    }

    #[test]
    fn the_c_locale_gets_ascii() {
        assert_eq!(shown("✓ 2 × a → b…", true), "✓ 2 × a → b…");
        assert_eq!(shown("✓ 2 × é → b…", false), "+ 2 x ? -> b...");
    }

    #[test]
    fn lines_break_between_words_and_are_indented() {
        assert_eq!(wrapped("one two three", Some(11), "- ", "  "), "- one two\n  three");
        assert_eq!(wrapped("one two three", None, "- ", "  "), "- one two three");
        assert_eq!(wrapped("/a/path/that/is/long", Some(8), "- ", "  "), "- /a/path/that/is/long");
    }
}
