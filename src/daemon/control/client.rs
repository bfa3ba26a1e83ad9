//! The client's side of the control socket: one request, one reply, and time limits for both.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;

use super::{Reply, Request};
use crate::terminal::ending_signals;

/// A connection to a daemon. It blocks.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
    /// Signals that are caught, each with the socket on which it arrives as a byte.
    signals: Vec<(i32, UnixStream)>,
}

/// Why a request to a daemon failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No process listens there.
    #[error("no daemon answers at {}: {source}", path.display())]
    NoDaemon {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon has ended, or takes too long.
    #[error("the daemon at {} went away: {source}", path.display())]
    Lost {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A signal came before the reply.
    #[error("stopped by a signal")]
    Interrupted {
        /// Its number.
        signal: u8,
    },
    /// Its reply does not belong to this version of the protocol.
    #[error("the daemon at {} is of another version: {source}", path.display())]
    Foreign {
        /// The socket's path.
        path: PathBuf,
        /// What is wrong with the reply.
        source: serde_json::Error,
    },
    /// The daemon did not do what was requested.
    #[error("{message}")]
    Refused {
        /// The id of the error, see [`Reply::Error`].
        id: String,
        /// The daemon's message.
        message: String,
    },
}

impl Client {
    /// Connects to the daemon whose control socket is at `path`.
    ///
    /// # Errors
    /// [`ControlError::NoDaemon`]
    pub fn connect(path: &Path) -> Result<Client, ControlError> {
        match open(path) {
            Ok(stream) => Ok(Client { stream, path: path.to_owned(), signals: Vec::new() }),
            Err(source) => Err(ControlError::NoDaemon { path: path.to_owned(), source }),
        }
    }

    /// Makes the signals that end a process end a wait instead of the process, so that requests that restore settings can still be
    /// sent after them.
    ///
    /// # Errors
    /// The signals cannot be caught.
    pub fn catch_signals(&mut self) -> io::Result<()> {
        self.signals = caught(&ending_signals())?;
        Ok(())
    }

    /// Waits for this time.
    ///
    /// # Errors
    /// [`ControlError::Interrupted`]
    pub fn pause(&mut self, time: Duration) -> Result<(), ControlError> {
        self.wait(false, time).map(|_| ())
    }

    /// Sends a request, and waits for its reply at most `limit`.
    ///
    /// # Errors
    /// All except [`ControlError::NoDaemon`]. A [`Reply::Error`] becomes [`ControlError::Refused`].
    pub fn ask(&mut self, request: &Request, limit: Duration) -> Result<Reply, ControlError> {
        self.send(request, limit).map_err(|source| self.lost(source))?;
        match self.wait(true, limit) {
            Ok(true) => {}
            Ok(false) => return Err(self.lost(io::ErrorKind::TimedOut.into())),
            Err(interrupted) => {
                // The reply to this request may still come. It must not be taken for the reply to another one.
                self.stream = open(&self.path).map_err(|source| self.lost(source))?;
                return Err(interrupted);
            }
        }
        let line = self.receive().map_err(|source| self.lost(source))?;
        // From bytes, as the server reads: one reader takes less room in the program than two.
        match serde_json::from_slice(line.as_bytes()) {
            Ok(Reply::Error { id, message }) => Err(ControlError::Refused { id, message }),
            Ok(reply) => Ok(reply),
            Err(source) => Err(ControlError::Foreign { path: self.path.clone(), source }),
        }
    }

    fn send(&mut self, request: &Request, limit: Duration) -> io::Result<()> {
        if self.stream.buffer().is_empty() && is_closed(self.stream.get_ref()) {
            // The daemon closes a connection that has sent no request for a while.
            self.stream = open(&self.path)?;
        }
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        let stream = self.stream.get_mut();
        stream.set_read_timeout(Some(limit))?;
        match stream.write_all(line.as_bytes()) {
            // A busy daemon replies without reading the request.
            Err(_) if !is_closed(stream) => Ok(()),
            written => written,
        }
    }

    fn receive(&mut self) -> io::Result<String> {
        let mut reply = Vec::new();
        (&mut self.stream).take(REPLY_LIMIT_BYTES).read_until(b'\n', &mut reply)?;
        if reply.pop() != Some(b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        String::from_utf8(reply).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Waits until the daemon replies (if `for_reply`) or the time is over. Returns whether a reply is ready, or an
    /// error if a signal comes first.
    #[allow(
        clippy::disallowed_methods,
        reason = "the daemon has the event loop: here only a reply can be waited for"
    )]
    fn wait(&mut self, for_reply: bool, time: Duration) -> Result<bool, ControlError> {
        if for_reply && !self.stream.buffer().is_empty() {
            return Ok(true);
        }
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut sources: Vec<PollFd<'_>> =
                self.signals.iter().map(|(_, receiver)| PollFd::new(receiver, PollFlags::IN)).collect();
            let stream = self.stream.get_ref().as_fd();
            if for_reply {
                sources.push(PollFd::from_borrowed_fd(stream, PollFlags::IN));
            }
            let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 3_600, tv_nsec: 0 });
            // A caught signal interrupts this call, and then its byte can be read.
            let _ = poll(&mut sources, Some(&timeout));
            let has_replied = for_reply && sources.last().is_some_and(|it| !it.revents().is_empty());
            for (signal, receiver) in &mut self.signals {
                if receiver.read(&mut [0]).is_ok() {
                    return Err(ControlError::Interrupted { signal: u8::try_from(*signal).unwrap_or(0) });
                }
            }
            if has_replied || left.is_zero() {
                return Ok(has_replied);
            }
        }
    }

    fn lost(&self, source: io::Error) -> ControlError {
        ControlError::Lost { path: self.path.clone(), source }
    }
}

/// Catches these signals: each then arrives as a byte on its socket, which does not block.
///
/// # Errors
/// There are no more descriptors.
pub fn caught(signals: &[i32]) -> io::Result<Vec<(i32, UnixStream)>> {
    let catch = |signal: &i32| {
        let (receiver, sender) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(*signal, sender)?;
        receiver.set_nonblocking(true)?;
        Ok((*signal, receiver))
    };
    signals.iter().map(catch).collect()
}

fn open(path: &Path) -> io::Result<BufReader<UnixStream>> {
    let stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(WRITE_LIMIT))?;
    Ok(BufReader::new(stream))
}

/// Whether the daemon has closed the connection. Bytes that it sent are not consumed.
fn is_closed(stream: &UnixStream) -> bool {
    let mut byte = [0];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    rustix::net::recv(stream, &mut byte, flags).is_ok_and(|(_, count)| count == 0)
}

/// How long the daemon may take to read a request.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// More than the longest reply, which is a flight recorder whose bytes are all escaped.
const REPLY_LIMIT_BYTES: u64 = 8 * 1024 * 1024;
