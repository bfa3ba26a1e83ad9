//! A terminal that shows one screen, drawn anew in its place. It is left as it was found: at the end, and before a panic
//! or a stop.

use std::io;
use std::sync::OnceLock;

use rustix::stdio::{stdin, stdout};
use rustix::termios::{InputModes, LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Standard output as a screen, with keys from standard input. Dropping it leaves the screen.
#[derive(Debug)]
pub struct Screen(());

impl Screen {
    /// Changes to the terminal's other screen, without a cursor, and makes each key readable at once, without an echo.
    /// Where standard input is no terminal, it is left alone.
    ///
    /// # Errors
    /// The terminal cannot be written.
    pub fn open() -> io::Result<Screen> {
        BEFORE.get_or_init(|| tcgetattr(stdin()).ok());
        // A release build aborts after this, without dropping anything.
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            report(panic);
        }));
        let screen = Screen(());
        screen.enter()?;
        Ok(screen)
    }

    /// Changes to the screen again, after a stop.
    ///
    /// # Errors
    /// As [`Screen::open`].
    pub fn enter(&self) -> io::Result<()> {
        if let Some(Some(before)) = BEFORE.get() {
            let mut modes = before.clone();
            // Signals by keys stay.
            modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN);
            modes.input_modes.remove(InputModes::IXON | InputModes::ICRNL);
            tcsetattr(stdin(), OptionalActions::Now, &modes)?;
        }
        write_all(ENTER.as_bytes())
    }

    /// Leaves the screen for a while.
    pub fn leave(&self) {
        leave();
    }

    /// Columns and lines.
    pub fn size(&self) -> (usize, usize) {
        let size = tcgetwinsize(stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or(USUAL_SIZE, |size| (usize::from(size.ws_col), usize::from(size.ws_row)))
    }

    /// Draws these lines from the top, over what was there. It is one write, which the terminal shows at once if it can.
    ///
    /// # Errors
    /// As [`Screen::open`].
    pub fn draw(&self, lines: &[String]) -> io::Result<()> {
        write_all([BEGIN, &lines.join("\r\n"), END].concat().as_bytes())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// Nothing more can be done where this fails.
fn leave() {
    let _ = write_all(LEAVE.as_bytes());
    if let Some(Some(before)) = BEFORE.get() {
        let _ = tcsetattr(stdin(), OptionalActions::Now, before);
    }
}

/// Past the buffer of the standard library, which would write line by line.
fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = rustix::io::retry_on_intr(|| rustix::io::write(stdout(), bytes))?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// How standard input was; `None` if it is no terminal.
static BEFORE: OnceLock<Option<Termios>> = OnceLock::new();

/// The other screen, empty, without a cursor, and without line breaks of the terminal's own.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Nothing is shown until the end, by terminals that know this (DECSET 2026); to the top.
const BEGIN: &str = "\x1b[?2026h\x1b[H";
/// What is below is erased.
const END: &str = "\x1b[0m\x1b[J\x1b[?2026l";

const USUAL_SIZE: (usize, usize) = (80, 24);
