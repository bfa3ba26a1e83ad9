//! One client: a local connection that we accepted, from then until it is closed or reset.
//!
//! ```text
//!   Silent ──first byte──► Waiting ──socket free──► Attached ──socket ended──► Ending ──delivered──► Lingering
//!   (--open-on first-byte)                            │                        │ cut                  │
//!                                                     └────── reset ◄──────────┴──────────────────────┘
//! ```

use std::sync::Arc;
use std::time::Instant;

use crate::at::SocketId;
use crate::byte_queue::ByteQueue;
use crate::modem::Carried;
use crate::settings::Tunnel;

/// Names a client as long as it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub usize);

/// A client.
#[derive(Debug)]
pub struct Client {
    /// Counts the clients of a process, from 1: what `status` shows and `--kill` takes.
    pub number: u64,
    /// The tunnel that it came through.
    pub tunnel: Arc<Tunnel>,
    /// Its address or process, for logs.
    pub peer: String,
    /// Where in the diagram it is.
    pub state: ClientState,
    /// It has sent its last byte.
    pub finished: bool,
    /// It has closed both directions: it would not read what is written to it.
    pub gone: bool,
    /// How many bytes of it could not be delivered: it must not end cleanly.
    pub undelivered: u64,
    /// What it sent before it had a socket.
    pub early: ByteQueue,
    /// Bytes from it that the module has taken.
    pub up_bytes: u64,
    /// Bytes that were written to it.
    pub down_bytes: u64,
    /// When it was accepted.
    pub since: Instant,
    /// Since when its first byte is listened for; `None`: it has come.
    pub silent_since: Option<Instant>,
    /// When a byte last moved, on either side of the tunnel.
    pub last_byte: Instant,
    /// It holds up a port by not reading.
    pub stall: Option<Stall>,
    /// What it had taken when its system was last asked.
    pub taken: Taken,
    /// When to look whether it is still there.
    pub look_at: Option<Instant>,
}

/// The state of a client.
#[derive(Debug)]
pub enum ClientState {
    /// It has not sent anything, and gets a socket when it does.
    Silent,
    /// It waits for a socket.
    Waiting,
    /// It has one; `open` once bytes flow.
    Attached {
        /// The socket.
        socket: SocketId,
        /// The socket is open.
        open: bool,
        /// What the module had taken and given when that was last looked at.
        carried: Carried,
    },
    /// The stream has ended in order; this is still to be written to the client.
    Ending {
        /// What is left.
        rest: ByteQueue,
    },
    /// It has been given the end, and has not closed yet.
    Lingering,
}

/// A client that holds up a port.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    /// Since when.
    pub since: Instant,
    /// When it was last seen to have taken bytes from its system, or `since`.
    pub moved: Instant,
}

/// How much a client has taken of what was written to it; its system holds the rest.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// When the system was asked.
    pub at: Instant,
    /// What was written less what the system still held.
    pub bytes: u64,
}

impl Client {
    /// A client that has just been accepted.
    pub fn new(number: u64, tunnel: Arc<Tunnel>, peer: String, now: Instant) -> Self {
        Client {
            number,
            tunnel,
            peer,
            state: ClientState::Waiting,
            finished: false,
            gone: false,
            undelivered: 0,
            early: ByteQueue::new(EARLY_LIMIT_BYTES),
            up_bytes: 0,
            down_bytes: 0,
            since: now,
            silent_since: Some(now),
            last_byte: now,
            stall: None,
            taken: Taken { at: now, bytes: 0 },
            look_at: None,
        }
    }

    /// The socket that it is attached to.
    pub fn socket(&self) -> Option<SocketId> {
        match self.state {
            ClientState::Attached { socket, .. } => Some(socket),
            _ => None,
        }
    }
}

/// What a client may send before it has a socket, in bytes.
const EARLY_LIMIT_BYTES: usize = 4 * 1024;
