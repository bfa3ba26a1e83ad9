//! The progress of an upload to the modem: a bar, if standard error is a terminal.

use std::io::{self, IsTerminal as _, Write as _};

use crate::terminal::printable;

/// The bar of one upload, or of several in sequence. Dropping it erases the bar.
#[derive(Debug)]
pub struct UploadBar {
    what: String,
    is_shown: bool,
    /// What was drawn last.
    drawn: Option<(usize, usize)>,
}

impl UploadBar {
    /// Nothing is drawn yet. `what` is shown before the bar.
    pub fn new(what: &str) -> Self {
        UploadBar { what: printable(what).into_owned(), is_shown: io::stderr().is_terminal(), drawn: None }
    }

    /// Shows that `done` bytes of `all` were sent.
    pub fn show(&mut self, done: usize, all: usize) {
        if self.is_shown && self.drawn.replace((done, all)) != Some((done, all)) {
            // An upload goes on even if the terminal cannot be written.
            let _ = write!(io::stderr(), "\r{}", bar(&self.what, done, all));
        }
    }
}

impl Drop for UploadBar {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn bar(what: &str, done: usize, all: usize) -> String {
    let filled = (done * CELLS).checked_div(all).unwrap_or(CELLS).min(CELLS);
    let (full, empty) = ("#".repeat(filled), ".".repeat(CELLS - filled));
    format!("{what} [{full}{empty}] {done} of {all} bytes")
}

const CELLS: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_when_all_has_left() {
        assert_eq!(bar("a", 0, 10), format!("a [{}] 0 of 10 bytes", ".".repeat(30)));
        assert_eq!(bar("a", 10, 10), format!("a [{}] 10 of 10 bytes", "#".repeat(30)));
        assert!(bar("a", 0, 0).contains(&"#".repeat(30)));
    }
}
