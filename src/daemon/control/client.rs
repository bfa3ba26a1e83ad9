//! The other side of the control socket: one question, one answer, and a limit of time for both.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::RecvFlags;

use super::{Reply, Request};

/// A connection to a daemon. It blocks.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

/// Why a daemon could not be asked.
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
    /// It was there and is not any more, or takes too long.
    #[error("the daemon at {} went away: {source}", path.display())]
    Lost {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It answers something else than this version of the protocol.
    #[error("the daemon at {} is of another version: {source}", path.display())]
    Foreign {
        /// The socket's path.
        path: PathBuf,
        /// What is wrong with the reply.
        source: serde_json::Error,
    },
    /// It did not do it.
    #[error("{message}")]
    Refused {
        /// The id of the error, see [`Reply::Error`].
        id: String,
        /// The daemon's words.
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
            Ok(stream) => Ok(Client { stream, path: path.to_owned() }),
            Err(source) => Err(ControlError::NoDaemon { path: path.to_owned(), source }),
        }
    }

    /// Asks, and waits for the reply at most `limit`.
    ///
    /// # Errors
    /// All but [`ControlError::NoDaemon`]; [`Reply::Error`] comes as [`ControlError::Refused`].
    pub fn ask(&mut self, request: &Request, limit: Duration) -> Result<Reply, ControlError> {
        let line = self.exchange(request, limit).map_err(|source| self.lost(source))?;
        match serde_json::from_str(&line) {
            Ok(Reply::Error { id, message }) => Err(ControlError::Refused { id, message }),
            Ok(reply) => Ok(reply),
            Err(source) => Err(ControlError::Foreign { path: self.path.clone(), source }),
        }
    }

    fn exchange(&mut self, request: &Request, limit: Duration) -> io::Result<String> {
        if self.stream.buffer().is_empty() && is_closed(self.stream.get_ref()) {
            // It drops a connection that has asked nothing for a while.
            self.stream = open(&self.path)?;
        }
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        let stream = self.stream.get_mut();
        stream.set_read_timeout(Some(limit))?;
        let written = stream.write_all(line.as_bytes());
        let mut reply = Vec::new();
        let read = (&mut self.stream).take(REPLY_LIMIT_BYTES).read_until(b'\n', &mut reply);
        if reply.pop() != Some(b'\n') {
            // A daemon that is busy replies without having read.
            written?;
            read?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        String::from_utf8(reply).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    fn lost(&self, source: io::Error) -> ControlError {
        ControlError::Lost { path: self.path.clone(), source }
    }
}

fn open(path: &Path) -> io::Result<BufReader<UnixStream>> {
    let stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(WRITE_LIMIT))?;
    Ok(BufReader::new(stream))
}

/// Whether the daemon has closed the connection. What it sends unasked stays to be read.
fn is_closed(stream: &UnixStream) -> bool {
    let mut byte = [0];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    rustix::net::recv(stream, &mut byte, flags).is_ok_and(|(_, count)| count == 0)
}

/// How long the daemon may take to read a request.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// More than the longest reply: a flight recorder whose every byte is escaped.
const REPLY_LIMIT_BYTES: u64 = 8 * 1024 * 1024;
