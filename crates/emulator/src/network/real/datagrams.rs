//! UDP sockets of the real network, plain or with DTLS.
//!
//! ```text
//! Resolving ──► Handshaking ──► Open
//!     │  └───────────│───────────▲
//!     └──────────────┴──► Failed
//! ```

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use openssl::ssl::SslStream;
use rustix::net::sockopt;

use super::connection::NewSession;
use super::dtls::{self, DatagramIo};
use super::tls::{Objection, Preparation, SessionSlot, error_text, handshake};
use crate::network::{Close, ConnectionState, OpenFailure};

/// A UDP socket that the core holds.
pub(super) struct DatagramSocket {
    token: Token,
    local_port: u16,
    stage: Stage,
    /// When the stage must be over; `None` once the socket is open or has failed.
    deadline: Option<Instant>,
    /// Whether a read or a write is worth a system call: set by events, cleared by "would block".
    readable: bool,
    writable: bool,
    /// Datagrams that may be read before others get their turn.
    turn: usize,
}

enum Stage {
    /// With the time that a handshake may take.
    Resolving(Option<Preparation>, Duration),
    Handshaking {
        stream: SslStream<DatagramIo>,
        objection: Objection,
        session_slot: Option<SessionSlot>,
        peers: Peers,
        /// When to check whether a flight has to be sent again.
        look_again: Instant,
    },
    Open(Carrier, Peers),
    Failed(OpenFailure),
}

enum Carrier {
    Plain(UdpSocket),
    Dtls(Box<SslStream<DatagramIo>>),
}

/// Both ends of a socket.
#[derive(Clone, Copy)]
struct Peers {
    /// `None` of a service, which has many.
    server: Option<SocketAddr>,
    local_port: u16,
}

/// The outcome of a read.
pub(super) enum Outcome {
    Datagram(Vec<u8>),
    Nothing,
    /// DTLS: close_notify.
    Ended,
    /// DTLS: an alert.
    Broken,
}

/// The outcome of a read, with the sender of a datagram.
pub(super) enum Read {
    Datagram(Vec<u8>, SocketAddr),
    Nothing,
    /// There may be more, after others had their turn.
    TurnOver,
    Ended,
    Broken,
}

impl DatagramSocket {
    /// A socket to one server, whose name is being looked up. Our port is 0 where the kernel chooses it. Plain without a
    /// preparation.
    pub(super) fn resolving(
        token: Token,
        local_port: u16,
        preparation: Option<Preparation>,
        negotiate: Duration,
        now: Instant,
    ) -> DatagramSocket {
        DatagramSocket {
            token,
            local_port,
            stage: Stage::Resolving(preparation, negotiate),
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
        let mut socket = DatagramSocket::resolving(token, local_port, None, Duration::ZERO, now);
        socket.open(None, registry, now);
        socket
    }

    /// A socket that failed before anything was sent.
    pub(super) fn failed(token: Token, failure: OpenFailure, now: Instant) -> DatagramSocket {
        let mut socket = DatagramSocket::resolving(token, 0, None, Duration::ZERO, now);
        socket.fail(failure);
        socket
    }

    /// The name has been looked up; an empty list means that it has no address.
    pub(super) fn resolved(&mut self, addresses: &[SocketAddr], registry: &Registry, now: Instant) {
        // In any other stage the opening has timed out meanwhile.
        match (&self.stage, addresses.first()) {
            (Stage::Resolving(..), Some(first)) => self.open(Some(*first), registry, now),
            (Stage::Resolving(..), None) => self.fail(OpenFailure::Dns),
            _ => {}
        }
    }

    fn open(&mut self, server: Option<SocketAddr>, registry: &Registry, now: Instant) {
        let (socket, local_port) = match begin(server, self.local_port, self.token, registry) {
            Ok(begun) => begun,
            Err(error) => {
                log::debug!("udp socket not opened: {error}");
                let bind = matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied);
                return self.fail(if bind { OpenFailure::Bind } else { OpenFailure::Refused });
            }
        };
        let peers = Peers { server, local_port };
        let placeholder = Stage::Failed(OpenFailure::Refused);
        match std::mem::replace(&mut self.stage, placeholder) {
            Stage::Resolving(Some(Preparation { ssl, objection, session_slot }), negotiate) => {
                match dtls::start(ssl, socket) {
                    Ok(stream) => {
                        let look_again = now + RETRANSMISSION_LOOK;
                        self.stage =
                            Stage::Handshaking { stream, objection, session_slot, peers, look_again };
                        self.deadline = Some(now + negotiate);
                    }
                    Err(error) => self.fail(OpenFailure::Setting(error_text(&error))),
                }
            }
            _ => {
                self.stage = Stage::Open(Carrier::Plain(socket), peers);
                self.deadline = None;
            }
        }
    }

    fn fail(&mut self, failure: OpenFailure) {
        self.stage = Stage::Failed(failure);
        self.deadline = None;
    }

    /// Takes a handshake as far as it goes.
    pub(super) fn advance(&mut self) -> NewSession {
        let Stage::Handshaking { stream, objection, .. } = &mut self.stage else { return None };
        if let Err(failure) = handshake(stream, objection)? {
            self.fail(failure);
            return None;
        }
        let placeholder = Stage::Failed(OpenFailure::Refused);
        let Stage::Handshaking { stream, session_slot, peers, .. } =
            std::mem::replace(&mut self.stage, placeholder)
        else {
            return None;
        };
        let session = stream.ssl().session().map(ToOwned::to_owned);
        self.stage = Stage::Open(Carrier::Dtls(Box::new(stream)), peers);
        self.deadline = None;
        session_slot.zip(session)
    }

    /// When something is to be done without an event.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let look_again = match &self.stage {
            Stage::Handshaking { look_again, .. } => Some(*look_again),
            Stage::Resolving(..) | Stage::Open(..) | Stage::Failed(_) => None,
        };
        self.deadline.into_iter().chain(look_again).min()
    }

    /// Ends an opening that took too long, sends lost flights again, and gives the socket another turn.
    pub(super) fn deadline_passed(&mut self, now: Instant) {
        self.turn = TURN_DATAGRAMS;
        if let Stage::Handshaking { stream, look_again, .. } = &mut self.stage
            && *look_again <= now
        {
            *look_again = now + RETRANSMISSION_LOOK;
            dtls::retransmit(stream);
        }
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
            Stage::Resolving(..) | Stage::Handshaking { .. } => ConnectionState::Opening,
            Stage::Open(_, peers) => ConnectionState::Open {
                remote: peers.server.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |server| server.ip()),
                local_port: peers.local_port,
            },
            Stage::Failed(failure) => ConnectionState::Failed(failure.clone()),
        }
    }

    /// Sends one datagram to the server, or to this address; false while the kernel has no room for it.
    pub(super) fn send(&mut self, bytes: &[u8], to: Option<SocketAddr>) -> bool {
        let Stage::Open(carrier, peers) = &mut self.stage else { return true };
        if !self.writable {
            return false;
        }
        let is_taken = match (carrier, peers.server, to) {
            (Carrier::Dtls(stream), ..) => dtls::write(stream, bytes),
            (Carrier::Plain(socket), Some(_), _) => is_taken(socket.send(bytes)),
            (Carrier::Plain(socket), None, Some(to)) => is_taken(socket.send_to(bytes, to)),
            (Carrier::Plain(_), None, None) => true,
        };
        self.writable = is_taken;
        is_taken
    }

    /// Takes a received datagram. What does not fit the buffer is cut, and still longer than any that a module takes.
    pub(super) fn receive(&mut self) -> Read {
        let Stage::Open(carrier, peers) = &mut self.stage else { return Read::Nothing };
        let mut buffer = [0; BUFFER_BYTES];
        while self.readable {
            if self.turn == 0 {
                return Read::TurnOver;
            }
            self.turn -= 1;
            match (&mut *carrier, peers.server) {
                (Carrier::Plain(socket), _) => match socket.recv_from(&mut buffer) {
                    Ok((count, from)) => return Read::Datagram(buffer[..count].to_vec(), from),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                    // Assumed: a module does not report that a port of the server is closed (ICMP).
                    Err(error) => log::debug!("datagram not received: {error}"),
                },
                (Carrier::Dtls(stream), Some(server)) => match dtls::read(stream) {
                    Outcome::Datagram(bytes) => return Read::Datagram(bytes, server),
                    Outcome::Nothing => self.readable = false,
                    Outcome::Ended => return Read::Ended,
                    Outcome::Broken => return Read::Broken,
                },
                (Carrier::Dtls(_), None) => return Read::Nothing,
            }
        }
        Read::Nothing
    }

    /// Closes the socket; in order with close_notify where there is DTLS.
    pub(super) fn close(self, how: Close) {
        if let (Stage::Open(Carrier::Dtls(mut stream), _), Close::Orderly) = (self.stage, how) {
            // A failure means that the server hears nothing, as it may anyway.
            let _ = stream.shutdown();
        }
    }
}

/// The error of an earlier datagram can come with a send; either way one is lost, as datagrams may be.
fn is_taken(outcome: io::Result<usize>) -> bool {
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => {
            log::debug!("datagram not sent: {error}");
            true
        }
        Ok(_) => true,
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
/// How often to ask OpenSSL whether a flight of a handshake has to be sent again: its timers begin at 1 s.
const RETRANSMISSION_LOOK: Duration = Duration::from_millis(100);
/// Longer than the longest datagram that the core takes.
const BUFFER_BYTES: usize = 2_048;
/// What the kernel holds while the modem is busy.
const SOCKET_BUFFER_BYTES: usize = 262_144;
/// Datagrams that one socket may read before others get their turn.
const TURN_DATAGRAMS: usize = 64;
