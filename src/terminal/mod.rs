//! What an output can show: its width, whether it takes more than ASCII, and which characters must not reach it. And the
//! signals by which a terminal or a user ends a process.

pub(crate) mod screen;
pub(crate) mod upload_bar;

use std::borrow::Cow;
use std::env;
use std::ffi::OsString;
use std::os::fd::AsFd;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The width of a terminal in columns; `None` if `output` is no terminal, or the width is unknown.
pub fn width(output: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(output).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col).max(NARROWEST_COLUMNS))
}

/// The signals that end a process in order: it puts back what it has changed. Under nohup(1) a process outlives its
/// terminal, so SIGHUP stays ignored there.
pub fn ending_signals() -> Vec<i32> {
    let mut signals = vec![SIGTERM, SIGINT];
    if !is_hangup_ignored() {
        signals.push(SIGHUP);
    }
    signals
}

/// Whether this process was started with SIGHUP ignored, as by nohup(1).
fn is_hangup_ignored() -> bool {
    // Without /proc the signal is obeyed.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 << (SIGHUP - 1) != 0)
}

/// Whether the terminal of the environment can erase a line.
pub fn can_erase() -> bool {
    env::var_os("TERM").is_some_and(|name| !name.is_empty() && name != "dumb")
}

/// Whether the locale of the environment has characters beyond ASCII. The C locale has none.
pub fn takes_unicode() -> bool {
    is_utf8(["LC_ALL", "LC_CTYPE", "LANG"].map(env::var_os))
}

/// As locale(7): the first of these variables that is set and not empty counts.
fn is_utf8(variables: [Option<OsString>; 3]) -> bool {
    let set = variables.into_iter().flatten().find(|value| !value.is_empty());
    let locale = set.map(|value| value.to_string_lossy().to_lowercase()).unwrap_or_default();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// An error and its causes, each shown once: many errors have the text of their cause in their own.
pub fn in_full(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// The text on one line, without characters that a terminal would act on, or that would change the order of the
/// text. All text from a modem, a network, a file or a client is shown through this function.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if is_printable(c) => line.push(c),
            c if c.is_ascii() => line.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => line.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(line)
}

/// The same for JSON, whose meaning stays the same. JSON escapes some of these characters itself, and can have the
/// others only in strings.
pub fn printable_json(json: String) -> String {
    // Line ends between values are part of the JSON.
    let is_plain = |c: char| is_printable(c) || c == '\n';
    if json.chars().all(is_plain) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_plain(c) {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

/// JSON for people, as serde_json's own: a line for each value, and two blanks for each level. One serialiser for both
/// forms takes less room in the program than two.
///
/// # Errors
/// The value cannot be serialised.
pub fn indented_json(value: &(impl serde::Serialize + ?Sized)) -> serde_json::Result<String> {
    serde_json::to_string(value).map(|json| printable_json(indented(&json)))
}

fn indented(json: &str) -> String {
    let mut lines = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let begin_line = |lines: &mut String, depth: usize| {
        lines.push('\n');
        lines.extend(std::iter::repeat_n("  ", depth));
    };
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            _ if in_string => {
                in_string = is_escaped || c != '"';
                is_escaped = c == '\\' && !is_escaped;
                lines.push(c);
            }
            '{' | '[' => {
                lines.push(c);
                match chars.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => lines.push(end),
                    None => {
                        depth += 1;
                        begin_line(&mut lines, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                begin_line(&mut lines, depth);
                lines.push(c);
            }
            ',' => {
                lines.push(c);
                begin_line(&mut lines, depth);
            }
            ':' => lines.push_str(": "),
            _ => {
                in_string = c == '"';
                lines.push(c);
            }
        }
    }
    lines
}

/// Whether this is neither a control character (C0, DEL, C1) nor a character that ends a line, changes the direction
/// of text, or is invisible.
pub fn is_printable(c: char) -> bool {
    !(c.is_control()
        || matches!(
            c,
            '\u{AD}'
                | '\u{61C}'
                | '\u{180E}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}'
                | '\u{FFF9}'..='\u{FFFB}'
                | '\u{E0000}'..='\u{E007F}'
        ))
}

/// The text for a locale that may have only ASCII.
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
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

/// How many columns of a terminal this takes: two for each ideograph and emoji, none for an accent that is combined with the
/// letter before it.
pub fn columns_of(text: &str) -> usize {
    text.chars().map(columns_of_one).sum()
}

/// The same for a character; rare ones may differ.
pub fn columns_of_one(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36F}' | '\u{591}'..='\u{5BD}' | '\u{64B}'..='\u{65F}' | '\u{E34}'..='\u{E3A}' => 0,
        '\u{E47}'..='\u{E4E}' | '\u{1AB0}'..='\u{1AFF}' | '\u{1DC0}'..='\u{1DFF}' => 0,
        '\u{20D0}'..='\u{20FF}' | '\u{FE00}'..='\u{FE0F}' | '\u{FE20}'..='\u{FE2F}' => 0,
        '\u{1100}'..='\u{115F}' | '\u{2E80}'..='\u{A4CF}' | '\u{AC00}'..='\u{D7A3}' => 2,
        '\u{F900}'..='\u{FAFF}' | '\u{FE30}'..='\u{FE6F}' | '\u{FF00}'..='\u{FF60}' => 2,
        '\u{FFE0}'..='\u{FFE6}' | '\u{1F300}'..='\u{1F64F}' | '\u{1F680}'..='\u{1FAFF}' => 2,
        '\u{20000}'..='\u{3FFFD}' => 2,
        _ => 1,
    }
}

/// The smallest width that is used, even if a terminal reports less.
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

    const NASTY: &str = "a\x1b[2Jb\u{9b}2Jc\x7fd\ne\tf\r\u{202E}g\u{2066}h\u{2028}i\u{200B}j\u{E0041}é✓";

    #[test]
    fn a_cause_is_said_once() {
        let cause = || std::io::Error::from_raw_os_error(2);
        let bound = crate::clients::listener::BindError::Io { name: "unix:/x".into(), source: cause() };
        let error = anyhow::Error::from(bound).context("control socket");
        assert_eq!(
            in_full(&error),
            "control socket: unix:/x: cannot listen: No such file or directory (os error 2)"
        );
        let error = anyhow::Error::from(cause()).context("cannot write /x");
        assert_eq!(in_full(&error), "cannot write /x: No such file or directory (os error 2)");
    }

    #[test]
    fn nothing_that_a_terminal_acts_on_is_printed() {
        assert_eq!(
            printable(NASTY),
            "a\\x1b[2Jb\\u{9b}2Jc\\x7fd\\ne\\tf\\r\\u{202e}g\\u{2066}h\\u{2028}i\\u{200b}j\\u{e0041}é✓"
        );
        assert!(matches!(printable("C:\\ é ✓"), Cow::Borrowed(_)), "what is printable stays as it is");
    }

    #[test]
    fn json_means_the_same_and_has_nothing_raw() {
        let json = indented_json(&[NASTY]).expect("a string");
        assert!(json.chars().all(|c| is_printable(c) || c == '\n'), "{json:?}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&json).expect("JSON")[0], NASTY);
    }

    #[test]
    fn json_is_indented_as_serde_json_does_it() {
        let text = r#"{"a":[],"b":{},"c":[1,-2.5e3,null,true,["\\",",:[]{}","\"}"]],"d":{"e\\\"":{"f":""}},"g":"é"}"#;
        let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let pretty = serde_json::to_string_pretty(&value).expect("JSON");
        assert_eq!(indented_json(&value).expect("JSON"), pretty);
        assert_eq!(indented_json(&[0_u8; 0]).expect("JSON"), "[]");
    }

    #[test]
    fn the_c_locale_gets_ascii() {
        assert_eq!(shown("✓ 2 × a → b…", true), "✓ 2 × a → b…");
        assert_eq!(shown("✓ 2 × é → b…", false), "+ 2 x ? -> b...");
    }

    #[test]
    fn columns_are_not_characters() {
        for (text, columns) in
            [("", 0), ("a→█", 3), ("中国移动", 8), ("e\u{301}", 1), ("한글", 4), ("🙂", 2), ("é", 1)]
        {
            assert_eq!(columns_of(text), columns, "{text}");
        }
    }

    #[test]
    fn lines_break_between_words_and_are_indented() {
        assert_eq!(wrapped("one two three", Some(11), "- ", "  "), "- one two\n  three");
        assert_eq!(wrapped("one two three", None, "- ", "  "), "- one two three");
        assert_eq!(wrapped("/a/path/that/is/long", Some(8), "- ", "  "), "- /a/path/that/is/long");
        // Ids, options and program names have hyphens.
        assert_eq!(wrapped("[tls-failed] --no-sni", Some(14), "- ", "  "), "- [tls-failed]\n  --no-sni");
    }
}
