//! `qssl-tunnel status --watch` on a terminal: a screen of its own, with keys, until it is quit.
//!
//! One thread asks the daemon, so that keys and signals are served whatever the daemon does. `view` has what is shown, `line`
//! how a line of it is put together, and `terminal::screen` the terminal.

mod line;
mod view;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpid, kill_process};
use rustix::stdio::stdin;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};

use self::line::Look;
use self::view::View;
use super::status;
use crate::daemon::control::{self, Client};
use crate::daemon::exit_status::ExitStatus;
use crate::daemon::status::Status;
use crate::terminal::screen::Screen;
use crate::terminal::takes_unicode;

/// What the daemon answered last, until it is taken.
type Answer = Arc<Mutex<Option<Result<Status, String>>>>;

/// Shows the status of the daemon at `path` until `q` or a signal ends it. The daemon may go and come back meanwhile.
///
/// # Errors
/// The daemon does not answer at the start, or the terminal cannot be used.
#[allow(
    clippy::disallowed_methods,
    reason = "an edge: the daemon has the event loop, and this waits for keys"
)]
pub fn run(mut client: Client, path: &Path) -> anyhow::Result<ExitStatus> {
    let mut view = View::new(status::asked(&mut client)?, Instant::now());
    let mut signals = control::caught(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT])?;
    let (mut answered, answering) = UnixStream::pair()?;
    let answer = Answer::default();
    let asking = (path.to_owned(), Arc::clone(&answer));
    std::thread::Builder::new().spawn(move || ask(client, asking, answering))?;
    let screen = Screen::open()?;
    let mut has_keys = true;
    loop {
        let (columns, rows) = screen.size();
        let look = Look { columns, rows, unicode: takes_unicode(), colour: has_colours() };
        screen.draw(&view.lines(&look, Instant::now()))?;

        let mut sources = vec![PollFd::new(&answered, PollFlags::IN)];
        sources.extend(signals.iter().map(|(_, receiver)| PollFd::new(receiver, PollFlags::IN)));
        let keys = stdin();
        sources.extend(has_keys.then(|| PollFd::from_borrowed_fd(keys, PollFlags::IN)));
        // A caught signal interrupts this call, and then its byte can be read.
        let _ = poll(&mut sources, Some(&REDRAWN_AFTER));
        let [has_answer, .., key] = &sources[..] else { unreachable!("there are signals") };
        let (has_answer, has_key) = (!has_answer.revents().is_empty(), has_keys && !key.revents().is_empty());
        if has_answer {
            answered.read_exact(&mut [0])?;
            match answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(Ok(status)) => view.learn(status, Instant::now()),
                Some(Err(why)) => view.learn_trouble(why),
                None => {}
            }
        }
        for (signal, receiver) in &mut signals {
            if receiver.read(&mut [0]).is_err() {
                continue;
            }
            match *signal {
                SIGWINCH => {}
                SIGTSTP => {
                    screen.leave();
                    // Goes on here with SIGCONT.
                    kill_process(getpid(), Signal::STOP)?;
                }
                SIGCONT => screen.enter()?,
                signal => return Ok(ExitStatus::Signal(u8::try_from(signal).unwrap_or(0))),
            }
        }
        if has_key {
            let mut bytes = [0; 64];
            let count = rustix::io::retry_on_intr(|| rustix::io::read(stdin(), &mut bytes)).unwrap_or(0);
            has_keys = count > 0;
            if keys_of(bytes.get(..count).unwrap_or_default()).any(|key| view.key(key)) {
                return Ok(ExitStatus::Done);
            }
        }
    }
}

/// What was typed, without the keys that are sequences, such as arrows: an escape, `[` or `O`, and all up to a letter.
fn keys_of(typed: &[u8]) -> impl Iterator<Item = u8> {
    let mut bytes = typed.iter().copied();
    std::iter::from_fn(move || {
        loop {
            match bytes.next()? {
                0x1B if matches!(bytes.next(), Some(b'[' | b'O')) => {
                    bytes.find(|byte| (0x40..=0x7E).contains(byte));
                }
                0x1B => {}
                key => return Some(key),
            }
        }
    })
}

/// Asks again and again, and connects again where that fails. Ends with the process.
#[allow(clippy::disallowed_methods, reason = "a thread of its own, which lets time pass between two looks")]
fn ask(client: Client, (path, answer): (PathBuf, Answer), mut answering: UnixStream) {
    let mut client = Some(client);
    loop {
        std::thread::sleep(ASKED_AFTER);
        let asked = match client.take().map_or_else(|| Client::connect(&path), Ok) {
            Ok(mut connected) => status::asked(&mut connected).inspect(|_| client = Some(connected)),
            Err(error) => Err(error.into()),
        };
        let asked = asked.map_err(|error| crate::terminal::in_full(&error));
        *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        if answering.write_all(&[0]).is_err() {
            return;
        }
    }
}

/// Unless the user does not want any (no-color.org).
fn has_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

const ASKED_AFTER: Duration = Duration::from_secs(1);

/// So that the age of the last answer grows.
const REDRAWN_AFTER: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_are_no_letters() {
        let keys = |typed: &[u8]| String::from_utf8(keys_of(typed).collect()).expect("ASCII");
        assert_eq!(keys(b"n\x1b[Ar\x1bOPt\x1b[15;2~q"), "nrtq");
        assert_eq!((keys(b"\x1b"), keys(b"\x1b[1;"), keys(b"\x1bq")), Default::default());
    }
}
