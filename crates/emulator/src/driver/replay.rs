//! A recording on a pseudoterminal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use mio::{Events, Poll, Token, Waker};

use super::clock;
use super::pty::Pty;
use crate::cli::Options;
use crate::replay::Replay;

/// A recording with its port, ready to be played.
pub struct Player {
    poll: Poll,
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    pty: Pty,
    replay: Replay,
}

/// Ends a [`Player`] that runs on another thread.
#[derive(Clone)]
pub struct Stop {
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
}

impl Stop {
    /// Lets [`Player::run`] return.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        // Failing means that it has ended.
        let _ = self.waker.wake();
    }
}

impl Player {
    /// Reads the recording that `--replay` names and makes the pseudoterminal, with the link if there is one.
    ///
    /// # Errors
    /// The file cannot be read or is not a recording, or there is no pseudoterminal.
    pub fn new(options: &Options, file: &Path) -> anyhow::Result<Player> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let replay = Replay::new(&text).map_err(|line| {
            anyhow::anyhow!("{}:{line}: no line of a recording: it begins with > < @ or #", file.display())
        })?;
        let poll = Poll::new().context("no poll")?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).context("no waker")?);
        let pty = Pty::new(options.link.first().map(PathBuf::as_path), USUAL_BAUD)?;
        pty.register(poll.registry(), [LINE, WATCH])?;
        Ok(Player { poll, waker, stop: Arc::default(), pty, replay })
    }

    /// Where the host finds it.
    pub fn path(&self) -> &Path {
        self.pty.path()
    }

    /// A handle that ends it.
    pub fn stopper(&self) -> Stop {
        Stop { waker: Arc::clone(&self.waker), stop: Arc::clone(&self.stop) }
    }

    /// Plays until it is stopped.
    ///
    /// # Errors
    /// Only when waiting itself fails.
    pub fn run(&mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(8);
        let mut buffer = [0; 4096];
        while !self.stop.load(Ordering::Acquire) {
            loop {
                self.replay.deadline_passed(clock());
                let read = self.pty.read(&mut buffer);
                if let Ok(count) = read {
                    self.replay.received(&buffer[..count], clock());
                }
                let output = self.replay.output();
                let wrote = if output.is_empty() { Ok(0) } else { self.pty.write(output) };
                if let Ok(count) = wrote {
                    self.replay.written(count);
                }
                if !matches!(read, Ok(1..)) && !matches!(wrote, Ok(1..)) {
                    break;
                }
            }
            let timeout = self.replay.next_deadline().map(|at| at.saturating_duration_since(clock()));
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result.context("waiting failed")?,
            }
            if events.iter().any(|event| event.token() == WATCH) {
                self.pty.host_closed();
            }
        }
        Ok(())
    }
}

const WAKER: Token = Token(0);
const LINE: Token = Token(1);
const WATCH: Token = Token(2);

/// A pseudoterminal has no speed, but it reports one.
const USUAL_BAUD: u32 = 115_200;
