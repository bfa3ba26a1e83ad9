//! Files that options name: bounded reading, and secrets, which are read only from files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Secret;
use super::values::LONGEST_TEXT;
use qssl_core::at::AtText;

/// Reads all of `path`, if it has at most `limit_bytes`.
///
/// # Errors
/// Reports, without the file's name, why it cannot be read.
pub(crate) fn read_limited(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit_bytes + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > limit_bytes => Err(format!("larger than {limit_bytes} bytes")),
        Ok(_) => Ok(bytes),
        Err(error) => Err(in_words(&error)),
    }
}

/// A system error in the style of our messages: lower case, without the number.
fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// Reads a secret of 1–255 characters. One trailing newline is not part of it.
///
/// # Errors
/// Names the file and what is wrong, never its content.
pub(super) fn read(path: &Path) -> Result<Secret, String> {
    let named = |reason: String| format!("{}: {reason}", path.display());
    let mut bytes = read_limited(path, LONGEST_SECRET_FILE_BYTES).map_err(named)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| named("not text".to_owned()))?;
    match text.len() {
        0 => Err(named("empty".to_owned())),
        1..=LONGEST_TEXT => {
            let broken =
                |position: usize| named(format!("character {position} is not allowed in an AT command"));
            AtText::new(text).map(Secret).map_err(|error| broken(error.position))
        }
        _ => Err(named(format!("longer than {LONGEST_TEXT} characters"))),
    }
}

/// Reads the PIN of a SIM: 4–8 digits.
///
/// # Errors
/// As [`read`].
pub(super) fn read_pin(path: &Path) -> Result<Secret, String> {
    let pin = read(path)?;
    let text = pin.0.as_str();
    match (4..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(pin),
        false => Err(format!("{}: a PIN has 4 to 8 digits", path.display())),
    }
}

/// Far above any secret, so that a wrong file is not reported as a long secret.
const LONGEST_SECRET_FILE_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn file(name: &str, content: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("qssl-tunnel-secret-{}-{name}", std::process::id()));
        std::fs::write(&path, content).expect("the temporary directory is writable");
        path
    }

    fn secret(name: &str, content: &[u8]) -> Result<String, String> {
        let path = file(name, content);
        let secret = read(&path).map(|secret| secret.0.as_str().to_owned());
        std::fs::remove_file(&path).expect("it was just written");
        secret.map_err(|error| error.replace(&format!("{}", path.display()), "FILE"))
    }

    #[test]
    fn exactly_one_trailing_newline_is_not_part_of_a_secret() {
        assert_eq!(secret("lf", b"hunter2\n").as_deref(), Ok("hunter2"));
        assert_eq!(secret("crlf", b"hunter2\r\n").as_deref(), Ok("hunter2"));
        assert_eq!(secret("none", b" hunter2 ").as_deref(), Ok(" hunter2 "));
        assert_eq!(
            secret("two", b"hunter2\n\n"),
            Err("FILE: character 8 is not allowed in an AT command".to_owned())
        );
    }

    #[test]
    fn a_message_never_shows_the_secret() {
        let error = secret("quote", b"hunter\"2").unwrap_err();
        assert_eq!(error, "FILE: character 7 is not allowed in an AT command");
        assert_eq!(secret("empty", b"\n"), Err("FILE: empty".to_owned()));
        assert_eq!(secret("binary", b"\xff\xfe"), Err("FILE: not text".to_owned()));
        assert_eq!(secret("long", &[b'a'; 256]), Err("FILE: longer than 255 characters".to_owned()));
        assert_eq!(secret("huge", &[b'a'; 5000]), Err("FILE: larger than 4096 bytes".to_owned()));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(Path::new("/nonexistent/pin")).unwrap_err();
        assert_eq!(error, "/nonexistent/pin: no such file or directory");
    }

    #[test]
    fn a_pin_is_four_to_eight_digits() {
        let path = file("pin", b"1234\n");
        assert_eq!(read_pin(&path).expect("a PIN").0.as_str(), "1234");
        for bad in [&b"123"[..], b"123456789", b"12a4", b"12 34"] {
            std::fs::write(&path, bad).expect("the file is writable");
            assert!(read_pin(&path).unwrap_err().ends_with("a PIN has 4 to 8 digits"));
        }
        std::fs::remove_file(&path).expect("it was just written");
    }
}
