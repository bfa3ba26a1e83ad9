//! Recordings of the traffic of clients: `-x` prints it in hexadecimal, and `-r` and `-R` write the two directions to
//! files unchanged.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use qssl_core::counted;

use crate::config::Process;
use crate::daemon::data_usage;

/// Where traffic is printed and recorded.
#[derive(Debug, Default)]
pub struct Capture {
    prints: bool,
    up: Option<File>,
    down: Option<File>,
}

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a client to its server.
    Up,
    /// From a server to its client.
    Down,
}

impl Capture {
    /// Makes or empties the files that the options name.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn new(process: &Process) -> anyhow::Result<Capture> {
        let create = |path: &Option<std::path::PathBuf>| path.as_deref().map(create).transpose();
        Ok(Capture {
            prints: process.hex_dump,
            up: create(&process.record_up)?,
            down: create(&process.record_down)?,
        })
    }

    /// Records bytes between the client called `peer` and its server.
    pub fn passed(&mut self, way: Way, peer: &str, bytes: &[u8]) {
        let file = match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        };
        if let Some(open) = file
            && let Err(error) = open.write_all(bytes)
        {
            log::warn!("the recording ends here: it cannot be written: {error}");
            *file = None;
        }
        // Printed last, so that what is on the screen is already in the file.
        if self.prints {
            // Nothing can be done where standard error is closed.
            let _ = std::io::stderr().lock().write_all(hex_dump(way, peer, bytes).as_bytes());
        }
    }

    /// Whether [`Capture::passed`] does anything.
    pub fn is_wanted(&self) -> bool {
        self.prints || self.up.is_some() || self.down.is_some()
    }
}

fn create(path: &Path) -> anyhow::Result<File> {
    data_usage::private(path).with_context(|| format!("cannot write {}", path.display()))
}

/// `> PEER: 18 bytes` (`<` towards the client), then lines of sixteen bytes: offset, hexadecimal, text.
fn hex_dump(way: Way, peer: &str, bytes: &[u8]) -> String {
    let sign = match way {
        Way::Up => '>',
        Way::Down => '<',
    };
    let mut out = format!("{sign} {peer}: {}\n", counted(bytes.len(), "byte"));
    for (index, row) in bytes.chunks(ROW_BYTES).enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(out, "{sign} {:08x} ", index * ROW_BYTES);
        for column in 0..ROW_BYTES {
            let gap = if column == ROW_BYTES / 2 { "  " } else { " " };
            let _ = match row.get(column) {
                Some(byte) => write!(out, "{gap}{byte:02x}"),
                None => write!(out, "{gap}  "),
            };
        }
        let shown = |byte: &u8| if (0x20..0x7F).contains(byte) { char::from(*byte) } else { '.' };
        let text: String = row.iter().map(shown).collect();
        let _ = writeln!(out, "  |{text}|");
    }
    out
}

const ROW_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_rows_of_sixteen() {
        let shown = hex_dump(Way::Up, "127.0.0.1:5000", b"GET / HTTP/1.0\r\n\r\n");
        assert_eq!(
            shown,
            "> 127.0.0.1:5000: 18 bytes\n\
             > 00000000  47 45 54 20 2f 20 48 54  54 50 2f 31 2e 30 0d 0a  |GET / HTTP/1.0..|\n\
             > 00000010  0d 0a                                             |..|\n"
        );
        assert_eq!(
            hex_dump(Way::Down, "a", b"\xff"),
            format!("< a: 1 byte\n< 00000000  ff{}  |.|\n", " ".repeat(46))
        );
    }

    #[test]
    fn the_two_directions_are_recorded_as_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let process =
            Process { record_up: Some(file("up")), record_down: Some(file("down")), ..Process::default() };
        let mut capture = Capture::new(&process).unwrap();
        assert!(capture.is_wanted() && !Capture::default().is_wanted());
        capture.passed(Way::Up, "a", b"one");
        capture.passed(Way::Down, "a", b"two");
        capture.passed(Way::Up, "b", b"\0three");
        assert_eq!(std::fs::read(file("up")).unwrap(), b"one\0three");
        assert_eq!(std::fs::read(file("down")).unwrap(), b"two");
    }

    #[test]
    fn recordings_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let (new, old) = (directory.path().join("new"), directory.path().join("old"));
        std::fs::write(&old, "before").unwrap();
        std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o644)).unwrap();
        let process =
            Process { record_up: Some(new.clone()), record_down: Some(old.clone()), ..Process::default() };
        Capture::new(&process).unwrap();
        for file in [new, old] {
            let metadata = std::fs::metadata(&file).unwrap();
            assert_eq!((metadata.permissions().mode() & 0o777, metadata.len()), (0o600, 0), "{file:?}");
        }
        let process = Process { record_up: Some("/dev/null".into()), ..Process::default() };
        assert!(Capture::new(&process).is_ok(), "what is no file is written to as it is");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let process = Process { record_up: Some("/nonexistent/up".into()), ..Process::default() };
        let error = Capture::new(&process).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/up"), "{error}");
    }
}
