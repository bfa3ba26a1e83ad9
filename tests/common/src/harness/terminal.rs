//! A program on a terminal of its own, as a user sees it: what it drew last, the keys, the size, and the modes of the terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::ops::Deref;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use rustix::fs::{Mode, OFlags, open};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use super::PATIENCE;
use super::process::{Running, program};
use super::pty::Pty;

/// A terminal, and the program that runs on it. Dropping it kills the program.
pub struct Terminal {
    pty: Pty,
    shared: Arc<(Mutex<Vec<u8>>, Condvar)>,
    running: Running,
}

impl Terminal {
    /// Starts this command on a new terminal of this size, which becomes its controlling one.
    pub fn start(command: &Command, columns: u16, rows: u16) -> Terminal {
        let pty = Pty::new();
        let end = || -> File {
            open(pty.path(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it is ours").into()
        };
        set_size(&pty, columns, rows);
        let mut session = Command::new(program("setsid"));
        session.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        session.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let running = Running::start_on(session.stdin(end()).stdout(end()).stderr(end()));
        // Nothing of this process keeps the program's end open.
        drop(session);
        let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let (for_thread, mut output) = (Arc::clone(&shared), pty.end());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Fails when the program has ended.
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                for_thread.0.lock().unwrap_or_else(PoisonError::into_inner).extend(&buffer[..count]);
                for_thread.1.notify_all();
            }
        });
        Terminal { pty, shared, running }
    }

    /// Waits until the whole output is of this kind.
    ///
    /// # Panics
    /// With the output, if that takes too long.
    pub fn wait_for_output(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let text = |output: &Vec<u8>| String::from_utf8_lossy(output).into_owned();
        let output = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.1.wait_timeout_while(output, PATIENCE, |output| !is_so(&text(output)));
        let (output, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        let text = text(&output);
        assert!(!timeout.timed_out(), "{what} never came to be:\n{}", text.replace('\x1b', "^"));
        text
    }

    /// Waits until the last whole frame is of this kind, and returns its lines without attributes.
    pub fn wait_for_frame(&self, what: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let is_so = |frame: Vec<String>| !frame.is_empty() && is_so(&frame);
        frame(&self.wait_for_output(what, |output| is_so(frame(output))))
    }

    /// Presses keys.
    pub fn press(&self, keys: &[u8]) {
        self.pty.end().write_all(keys).expect("the terminal takes keys");
    }

    /// Changes the size of the terminal.
    pub fn resize(&self, columns: u16, rows: u16) {
        set_size(&self.pty, columns, rows);
    }

    /// The modes of the terminal, for a comparison.
    pub fn modes(&self) -> String {
        let Termios { input_modes, output_modes, control_modes, local_modes, .. } =
            tcgetattr(self.pty.end()).expect("it is a terminal");
        format!("{input_modes:?} {output_modes:?} {control_modes:?} {local_modes:?}")
    }
}

impl Deref for Terminal {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

fn set_size(pty: &Pty, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(pty.end(), size).expect("it is a terminal");
}

/// The lines of the last frame that is whole: what stands between the begin and the end of a synchronized update.
fn frame(output: &str) -> Vec<String> {
    let Some((before, _)) = output.rsplit_once("\x1b[?2026l") else { return Vec::new() };
    let Some((_, frame)) = before.rsplit_once("\x1b[?2026h\x1b[H") else { return Vec::new() };
    let mut parts = frame.split("\x1b[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).map_or(part.len(), |end| end + 1);
        text += &part[end..];
    }
    // The terminal adds another CR.
    text.split('\n').map(|line| line.trim_end_matches('\r').to_owned()).collect()
}
