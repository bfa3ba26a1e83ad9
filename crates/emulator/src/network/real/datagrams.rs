//! UDP sockets of the real network.
//!
//! ```text
//! Resolving ──► Open
//!     └──► Failed
//! ```

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use rustix::net::sockopt;

use crate::network::{ConnectionState, OpenFailure};

/// A UDP socket that the core holds.
pub(super) struct DatagramSocket {
    token: Token,
    local_port: u16,
    stage: Stage,
    /// When the look-up must be over; `None` once it is.
    pub(super) deadline: Option<Instant>,
    /// Whether a read or a write is worth a system call: set by events, cleared by "would block".
    readable: bool,
    writable: bool,
    /// Datagrams that may be read before others get their turn.
    turn: usize,
}

enum Stage {
    Resolving,
    Open { socket: UdpSocket, server: Option<SocketAddr>, local_port: u16 },
    Failed(OpenFailure),
}

/// The outcome of a read.
pub(super) enum Read {
    Datagram(Vec<u8>, SocketAddr),
    Nothing,
    /// There may be more, after others had their turn.
    TurnOver,
}

impl DatagramSocket {
    /// A socket to one server, whose name is being looked up. Our port is 0 where the kernel chooses it.
    pub(super) fn resolving(token: Token, local_port: u16, now: Instant) -> DatagramSocket {
        DatagramSocket {
            token,
            local_port,
            stage: Stage::Resolving,
            deadline: Some(now + RESOLVE_TIMEOUT),
            readable: true,
            writable: true,
            turn: TURN_DATAGRAMS,
        }
    }

    /// A socket that anyone can send to.
    pub(super) fn service(
        token: Token,
        local_port: u16,
        registry: &Registry,
        now: Instant,
    ) -> DatagramSocket {
        let mut socket = DatagramSocket::resolving(token, local_port, now);
        socket.open(None, registry);
        socket
    }

    /// The name has been looked up; an empty list means that it has no address.
    pub(super) fn resolved(&mut self, addresses: &[SocketAddr], registry: &Registry) {
        match (&self.stage, addresses.first()) {
            (Stage::Resolving, Some(first)) => self.open(Some(*first), registry),
            (Stage::Resolving, None) => self.fail(OpenFailure::Dns),
            (Stage::Open { .. } | Stage::Failed(_), _) => {}
        }
    }

    fn open(&mut self, server: Option<SocketAddr>, registry: &Registry) {
        match begin(server, self.local_port, self.token, registry) {
            Ok((socket, local_port)) => {
                self.stage = Stage::Open { socket, server, local_port };
                self.deadline = None;
            }
            Err(error) => {
                log::debug!("udp socket not opened: {error}");
                let bind = matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied);
                self.fail(if bind { OpenFailure::Bind } else { OpenFailure::Refused });
            }
        }
    }

    fn fail(&mut self, failure: OpenFailure) {
        self.stage = Stage::Failed(failure);
        self.deadline = None;
    }

    /// Ends a look-up that took too long, and gives the socket another turn.
    pub(super) fn deadline_passed(&mut self, now: Instant) {
        self.turn = TURN_DATAGRAMS;
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.fail(OpenFailure::TimedOut);
        }
    }

    /// Something happened on the socket.
    pub(super) fn ready(&mut self, readable: bool, writable: bool) {
        self.turn = TURN_DATAGRAMS;
        self.readable |= readable;
        self.writable |= writable;
    }

    pub(super) fn state(&self) -> ConnectionState {
        match &self.stage {
            Stage::Resolving => ConnectionState::Opening,
            Stage::Open { server, local_port, .. } => ConnectionState::Open {
                remote: server.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |server| server.ip()),
                local_port: *local_port,
            },
            Stage::Failed(failure) => ConnectionState::Failed(failure.clone()),
        }
    }

    /// Sends one datagram to the server, or to this address; false while the kernel has no room for it.
    pub(super) fn send(&mut self, bytes: &[u8], to: Option<SocketAddr>) -> bool {
        let Stage::Open { socket, server, .. } = &self.stage else { return true };
        if !self.writable {
            return false;
        }
        let outcome = match (server, to) {
            (Some(_), _) => socket.send(bytes),
            (None, Some(to)) => socket.send_to(bytes, to),
            (None, None) => return true,
        };
        match outcome {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.writable = false;
                false
            }
            // The error of an earlier datagram can come here; either way one is lost, as datagrams may be.
            Err(error) => {
                log::debug!("datagram not sent: {error}");
                true
            }
            Ok(_) => true,
        }
    }

    /// Takes a received datagram. What does not fit the buffer is cut, and still longer than any that a module takes.
    pub(super) fn receive(&mut self) -> Read {
        let Stage::Open { socket, .. } = &self.stage else { return Read::Nothing };
        let mut buffer = [0; BUFFER_BYTES];
        while self.readable {
            if self.turn == 0 {
                return Read::TurnOver;
            }
            self.turn -= 1;
            match socket.recv_from(&mut buffer) {
                Ok((count, from)) => return Read::Datagram(buffer[..count].to_vec(), from),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                // Assumed: a module does not report that a port of the server is closed (ICMP).
                Err(error) => log::debug!("datagram not received: {error}"),
            }
        }
        Read::Nothing
    }
}

fn begin(
    server: Option<SocketAddr>,
    local_port: u16,
    token: Token,
    registry: &Registry,
) -> io::Result<(UdpSocket, u16)> {
    let any = match server {
        Some(SocketAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Some(SocketAddr::V4(_)) | None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let mut socket = UdpSocket::bind(SocketAddr::new(any, local_port))?;
    if let Some(server) = server {
        socket.connect(server)?;
    }
    sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER_BYTES)?;
    registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
    let local_port = socket.local_addr()?.port();
    Ok((socket, local_port))
}

/// As long as for TCP.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(150);
/// Longer than the longest datagram that the core takes.
const BUFFER_BYTES: usize = 2_048;
/// What the kernel holds while the modem is busy.
const SOCKET_BUFFER_BYTES: usize = 262_144;
/// Datagrams that one socket may read before others get their turn.
const TURN_DATAGRAMS: usize = 64;
