//! Recordings on pseudoterminals.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use mio::{Events, Poll, Token, Waker};

use super::pty::Pty;
use super::{clock, watch_signals};
use crate::cli::Options;
use crate::replay::{Replay, ReplayLine};

/// Recordings with their ports, ready to be played.
pub struct Player {
    poll: Poll,
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    signals: Option<UnixStream>,
    ports: Vec<(Pty, ReplayLine)>,
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
    /// Reads the recordings that `--replay` names and makes their pseudoterminals, with the links if there are any. If one
    /// is of a channel, they all share a line.
    ///
    /// # Errors
    /// A file cannot be read or is not a recording, or there is no pseudoterminal.
    pub fn new(options: &Options, files: &[PathBuf]) -> anyhow::Result<Player> {
        let recordings = files.iter().map(|file| recording(file)).collect::<anyhow::Result<Vec<Replay>>>()?;
        let lines: Vec<ReplayLine> = match recordings.iter().any(|recording| recording.channel().is_some()) {
            true => vec![ReplayLine::new(recordings)],
            false => recordings.into_iter().map(|recording| ReplayLine::new([recording])).collect(),
        };
        let poll = Poll::new().context("no poll")?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).context("no waker")?);
        let mut ports = Vec::new();
        for (index, line) in lines.into_iter().enumerate() {
            let pty = Pty::new(options.link.get(index).map(PathBuf::as_path), USUAL_BAUD)?;
            pty.register(poll.registry(), [Token(2 * index), Token(2 * index + 1)])?;
            ports.push((pty, line));
        }
        Ok(Player { poll, waker, stop: Arc::default(), signals: None, ports })
    }

    /// Where the host finds them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.ports.iter().map(|(pty, _)| pty.path())
    }

    /// Ends [`Player::run`] on the signals that end the program, so that the links are removed.
    ///
    /// # Errors
    /// The system refuses a signal handler.
    pub fn heed_signals(&mut self) -> anyhow::Result<()> {
        self.signals = Some(watch_signals(&super::ending(&self.stop), self.poll.registry(), SIGNALS)?);
        Ok(())
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
            for (pty, line) in &mut self.ports {
                play(pty, line, &mut buffer);
            }
            let deadline = self.ports.iter().filter_map(|(_, line)| line.next_deadline()).min();
            let timeout = deadline.map(|at| at.saturating_duration_since(clock()));
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result.context("waiting failed")?,
            }
            for event in &events {
                match event.token() {
                    // A signal has set the flag.
                    WAKER | SIGNALS => {}
                    Token(number) if number % 2 == 1 => self.ports[number / 2].0.host_closed(),
                    Token(_) => {}
                }
            }
        }
        Ok(())
    }
}

fn recording(file: &Path) -> anyhow::Result<Replay> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Replay::new(&text).map_err(|line| {
        anyhow::anyhow!("{}:{line}: no line of a recording: it begins with > < @ or #", file.display())
    })
}

/// Reads and writes what can be read and written now.
fn play(pty: &mut Pty, line: &mut ReplayLine, buffer: &mut [u8]) {
    loop {
        line.deadline_passed(clock());
        let read = pty.read(buffer);
        if let Ok(count) = read {
            line.received(&buffer[..count], clock());
        }
        let output = line.output();
        let wrote = if output.is_empty() { Ok(0) } else { pty.write(output) };
        if let Ok(count) = wrote {
            line.written(count);
        }
        if !matches!(read, Ok(1..)) && !matches!(wrote, Ok(1..)) {
            return;
        }
    }
}

const WAKER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);

/// A pseudoterminal has no speed, but it reports one.
const USUAL_BAUD: u32 = 115_200;
