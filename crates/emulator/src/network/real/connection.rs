//! One connection of the real network, from the first address to the last byte.
//!
//! ```text
//! Resolving ──► Connecting ──► Handshaking ──► Open ──► (closed by the core: Departure)
//!     └──────────────┴──────────────┴──► Failed
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use openssl::ssl::{ErrorCode, SslSession, SslStream};
use rustix::net::sockopt;

use super::tls::{Objection, Preparation, SessionSlot, error_text, handshake, handshake_text};
use crate::network::{ConnectionState, OpenFailure, Received};

/// A connection that the core holds.
pub(super) struct Connection {
    token: Token,
    stage: Stage,
    /// When the stage must be over; `None` once the connection is open or has failed.
    deadline: Option<Instant>,
    /// Whether a read or a write is worth a system call: set by events, cleared by "would block".
    readable: bool,
    writable: bool,
    /// Bytes taken from the core that are not in the kernel yet; at most one TLS record.
    pending: Vec<u8>,
    /// Bytes that count as taken although the kernel refused them, because the connection is broken.
    refused_bytes: usize,
    /// How the server's stream ended, once it has ended.
    end: Option<Received>,
}

enum Stage {
    Resolving(Option<Preparation>, Duration),
    Connecting {
        stream: TcpStream,
        remote: SocketAddr,
        /// Addresses to try when this one does not answer.
        others: Vec<SocketAddr>,
        preparation: Option<Preparation>,
        negotiate: Duration,
    },
    Handshaking {
        stream: SslStream<TcpStream>,
        objection: Objection,
        session_slot: Option<SessionSlot>,
    },
    Open {
        stream: Stream,
        remote: IpAddr,
        local_port: u16,
    },
    Failed(OpenFailure),
}

/// A session that [`Connection::advance`] brought besides a new stage.
pub(super) type NewSession = Option<(SessionSlot, SslSession)>;

impl Connection {
    /// A connection whose name is being looked up. Plain TCP without a preparation.
    pub(super) fn resolving(
        token: Token,
        preparation: Option<Preparation>,
        negotiate: Duration,
        now: Instant,
    ) -> Self {
        Connection {
            token,
            stage: Stage::Resolving(preparation, negotiate),
            deadline: Some(now + CONNECT_TIMEOUT),
            readable: false,
            writable: false,
            pending: Vec::new(),
            refused_bytes: 0,
            end: None,
        }
    }

    /// A connection that failed before anything was sent.
    pub(super) fn failed(token: Token, failure: OpenFailure, now: Instant) -> Self {
        let mut connection = Connection::resolving(token, None, Duration::ZERO, now);
        connection.fail(failure);
        connection
    }

    /// The name has been looked up; an empty list means that it has no address.
    pub(super) fn resolved(&mut self, addresses: Vec<SocketAddr>, registry: &Registry) {
        // In any other stage the opening has timed out meanwhile.
        if !matches!(self.stage, Stage::Resolving(..)) {
            return;
        }
        if addresses.is_empty() {
            return self.fail(OpenFailure::Dns);
        }
        let placeholder = Stage::Failed(OpenFailure::Refused);
        if let Stage::Resolving(preparation, negotiate) = std::mem::replace(&mut self.stage, placeholder) {
            self.connect(addresses, preparation, negotiate, registry);
        }
    }

    /// Something happened on the socket.
    pub(super) fn ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Takes the opening as far as it goes, and writes what is pending.
    pub(super) fn advance(&mut self, registry: &Registry, now: Instant) -> NewSession {
        if matches!(self.stage, Stage::Connecting { .. }) {
            self.finish_connect(registry, now);
        }
        if matches!(self.stage, Stage::Handshaking { .. }) {
            return self.finish_handshake();
        }
        self.flush();
        None
    }

    /// Ends an opening that took too long.
    pub(super) fn deadline_passed(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.fail(OpenFailure::TimedOut);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn state(&self) -> ConnectionState {
        match &self.stage {
            Stage::Resolving(..) | Stage::Connecting { .. } | Stage::Handshaking { .. } => {
                ConnectionState::Opening
            }
            Stage::Open { remote, local_port, .. } => {
                ConnectionState::Open { remote: *remote, local_port: *local_port }
            }
            Stage::Failed(failure) => ConnectionState::Failed(failure.clone()),
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            self.flush();
            let Stage::Open { stream, .. } = &mut self.stage else { return taken };
            if !self.pending.is_empty() {
                return taken;
            }
            let chunk = &bytes[taken..bytes.len().min(taken + RECORD_BYTES)];
            if !self.writable {
                // After a write that would block, OpenSSL needs the same bytes again. The core does not promise
                // that, so a chunk that has to wait is kept here.
                self.pending.extend_from_slice(chunk);
                return taken + chunk.len();
            }
            match stream.write(chunk) {
                Ok(count) => taken += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.writable = false;
                    self.pending.extend_from_slice(chunk);
                    return taken + chunk.len();
                }
                // A read will report the error. Until then the bytes count as taken, as in a modem.
                Err(_) => {
                    self.refused_bytes += chunk.len();
                    taken += chunk.len();
                }
            }
        }
        taken
    }

    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        if let Some(end) = self.end {
            return end;
        }
        let Stage::Open { stream, .. } = &mut self.stage else { return Received::Nothing };
        if !self.readable || buffer.is_empty() {
            return Received::Nothing;
        }
        let end = match stream.read(buffer) {
            Ok(Some(count)) => return Received::Bytes(count),
            Ok(None) => Received::Ended,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                return Received::Nothing;
            }
            Err(error) => {
                log::debug!("connection broken: {error}");
                Received::Broken
            }
        };
        self.end = Some(end);
        end
    }

    /// Bytes that could not be sent yet. Bytes under way are not counted, although they are not acknowledged
    /// yet: on loopback, acknowledgements come up to 40 ms late, which no radio link would cause. Under TLS the
    /// kernel's part counts records, a little more than the bytes in them.
    pub(super) fn unsent(&self) -> usize {
        let Stage::Open { stream, .. } = &self.stage else { return 0 };
        self.pending.len() + not_sent(stream.tcp())
    }

    /// Bytes that the server's side has not acknowledged. Under TLS the kernel's part counts records.
    pub(super) fn unacknowledged(&self) -> usize {
        let Stage::Open { stream, .. } = &self.stage else { return 0 };
        self.pending.len() + self.refused_bytes + not_acknowledged(stream.tcp())
    }

    /// Gives up the connection: at once, with RST.
    pub(super) fn abort(self) {
        let tcp = match &self.stage {
            Stage::Connecting { stream, .. } => stream,
            Stage::Handshaking { stream, .. } => stream.get_ref(),
            Stage::Open { stream, .. } => stream.tcp(),
            Stage::Resolving(..) | Stage::Failed(_) => return,
        };
        // A failure does no harm: the connection then ends with FIN.
        let _ = sockopt::set_socket_linger(tcp, Some(Duration::ZERO));
    }

    /// Closes the connection in order; the departure holds what is left to do.
    pub(super) fn depart(self, now: Instant) -> Option<Departure> {
        let Stage::Open { stream, .. } = self.stage else { return None };
        let departure = Departure {
            stream,
            pending: self.pending,
            stage: Leaving::Flushing,
            discarded_bytes: 0,
            deadline: now + DEPARTURE_TIMEOUT,
        };
        Some(departure)
    }

    fn fail(&mut self, failure: OpenFailure) {
        self.stage = Stage::Failed(failure);
        self.deadline = None;
    }

    /// Tries addresses until one of them does not fail at once.
    fn connect(
        &mut self,
        mut addresses: Vec<SocketAddr>,
        preparation: Option<Preparation>,
        negotiate: Duration,
        registry: &Registry,
    ) {
        let mut failure = OpenFailure::Refused;
        while !addresses.is_empty() {
            let remote = addresses.remove(0);
            match begin(remote, self.token, registry) {
                Ok(stream) => {
                    self.stage =
                        Stage::Connecting { stream, remote, others: addresses, preparation, negotiate };
                    return;
                }
                Err(error) => failure = connect_failure(&error),
            }
        }
        self.fail(failure);
    }

    fn finish_connect(&mut self, registry: &Registry, now: Instant) {
        let Stage::Connecting { stream, .. } = &self.stage else { return };
        let outcome = match stream.take_error() {
            Ok(None) => stream.peer_addr().map(|_| ()),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        match &outcome {
            Err(error) if error.kind() == ErrorKind::NotConnected => return, // Still under way.
            Err(error) => log::debug!("tcp connection failed: {error}"),
            Ok(()) => {}
        }
        let placeholder = Stage::Failed(OpenFailure::Refused);
        let Stage::Connecting { stream, remote, others, preparation, negotiate } =
            std::mem::replace(&mut self.stage, placeholder)
        else {
            return;
        };
        match (outcome, preparation) {
            (Err(error), preparation) => {
                drop(stream);
                self.fail(connect_failure(&error));
                if !others.is_empty() {
                    self.deadline = Some(now + CONNECT_TIMEOUT);
                    self.connect(others, preparation, negotiate, registry);
                }
            }
            (Ok(()), None) => self.opened(Stream::Plain(stream), remote.ip()),
            (Ok(()), Some(Preparation { ssl, objection, session_slot })) => match SslStream::new(ssl, stream)
            {
                Ok(stream) => {
                    self.deadline = Some(now + negotiate);
                    self.stage = Stage::Handshaking { stream, objection, session_slot };
                }
                Err(error) => self.fail(OpenFailure::Setting(error_text(&error))),
            },
        }
    }

    fn finish_handshake(&mut self) -> NewSession {
        let Stage::Handshaking { stream, objection, .. } = &mut self.stage else { return None };
        if let Err(failure) = handshake(stream, objection)? {
            self.fail(failure);
            return None;
        }
        let placeholder = Stage::Failed(OpenFailure::Refused);
        let Stage::Handshaking { stream, session_slot, .. } = std::mem::replace(&mut self.stage, placeholder)
        else {
            return None;
        };
        let session = stream.ssl().session().map(ToOwned::to_owned);
        let remote = match stream.get_ref().peer_addr() {
            Ok(address) => address.ip(),
            Err(_) => {
                self.fail(OpenFailure::Handshake("server closed the connection".into()));
                return None;
            }
        };
        self.opened(Stream::Tls(Box::new(stream)), remote);
        session_slot.zip(session)
    }

    fn opened(&mut self, stream: Stream, remote: IpAddr) {
        let local_port = stream.tcp().local_addr().map_or(0, |address| address.port());
        self.stage = Stage::Open { stream, remote, local_port };
        self.deadline = None;
        // Bytes may have arrived after the handshake without another event.
        self.readable = true;
        self.writable = true;
    }

    fn flush(&mut self) {
        let Stage::Open { stream, .. } = &mut self.stage else { return };
        if self.writable && !write_pending(stream, &mut self.pending) {
            self.writable = false;
        }
    }
}

/// A connection that the core has closed in order and that still has to finish its end.
///
/// ```text
/// Flushing ──► Notifying (close_notify) ──► AwaitingEnd (FIN sent, reading until the server's)
/// ```
pub(super) struct Departure {
    stream: Stream,
    pending: Vec<u8>,
    stage: Leaving,
    discarded_bytes: usize,
    /// When to give up.
    pub(super) deadline: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Flushing,
    Notifying,
    AwaitingEnd,
}

impl Departure {
    /// Does what can be done now; true when all is done.
    pub(super) fn advance(&mut self) -> bool {
        if self.stage == Leaving::Flushing && write_pending(&mut self.stream, &mut self.pending) {
            self.stage = Leaving::Notifying;
        }
        if self.stage == Leaving::Notifying && self.stream.notify_close() {
            self.stage = Leaving::AwaitingEnd;
        }
        // Closing with unread bytes in the kernel would send RST, and that could destroy what the server
        // has not read yet.
        self.discard()
    }

    fn discard(&mut self) -> bool {
        let mut buffer = [0; RECORD_BYTES];
        while self.discarded_bytes < DISCARD_LIMIT_BYTES {
            match self.stream.tcp_mut().read(&mut buffer) {
                Ok(0) => return self.stage == Leaving::AwaitingEnd,
                Ok(count) => self.discarded_bytes += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        // A server that does not stop sending gets RST.
        true
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref(),
        }
    }

    fn tcp_mut(&mut self) -> &mut TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_mut(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.ssl_write(bytes).map_err(io_error),
        }
    }

    /// `None` at an orderly end: close_notify, or FIN where there is no TLS. FIN without close_notify is an
    /// error.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Stream::Plain(stream) => stream.read(buffer).map(|count| Some(count).filter(|count| *count > 0)),
            Stream::Tls(stream) => match stream.ssl_read(buffer) {
                Ok(count) => Ok(Some(count)),
                Err(error) if error.code() == ErrorCode::ZERO_RETURN => Ok(None),
                Err(error) => Err(io_error(error)),
            },
        }
    }

    /// Sends close_notify and FIN; false when the kernel has no room for them yet.
    fn notify_close(&mut self) -> bool {
        if let Stream::Tls(stream) = self
            && let Err(error) = stream.shutdown()
            && error.code() == ErrorCode::WANT_WRITE
        {
            return false;
        }
        // A failure means that the server is gone; a read will show it.
        let _ = self.tcp().shutdown(std::net::Shutdown::Write);
        true
    }
}

/// Plaintext in one TLS record, bytes.
const RECORD_BYTES: usize = 16_384;
/// The kernel's buffers, in bytes each way: small, as a modem's are, but large enough for a fast line.
const SOCKET_BUFFER_BYTES: usize = 65_536;
/// Both manuals' limit for the part of opening that is not negotiation (AT+QSSLOPEN).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(150);
/// How much a server may still send into a closed connection.
const DISCARD_LIMIT_BYTES: usize = 1 << 20;
/// How long a closed connection may take to finish.
const DEPARTURE_TIMEOUT: Duration = Duration::from_secs(30);

fn begin(remote: SocketAddr, token: Token, registry: &Registry) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(remote)?;
    stream.set_nodelay(true)?;
    sockopt::set_socket_recv_buffer_size(&stream, SOCKET_BUFFER_BYTES)?;
    sockopt::set_socket_send_buffer_size(&stream, SOCKET_BUFFER_BYTES)?;
    registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

/// Writes from the front; true when nothing is left, or nothing can ever be written again.
fn write_pending(stream: &mut Stream, pending: &mut Vec<u8>) -> bool {
    while !pending.is_empty() {
        match stream.write(pending) {
            Ok(count) => drop(pending.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => pending.clear(),
        }
    }
    true
}

fn not_sent(tcp: &TcpStream) -> usize {
    // SIOCOUTQNSD, the same number on every architecture (linux/sockios.h).
    queue_length::<0x894B>(tcp)
}

fn not_acknowledged(tcp: &TcpStream) -> usize {
    /// SIOCOUTQ, which has the number of TIOCOUTQ (asm/sockios.h, asm/ioctls.h).
    const SIOCOUTQ: rustix::ioctl::Opcode = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
        0x7472
    } else if cfg!(any(target_arch = "powerpc", target_arch = "powerpc64", target_arch = "sparc64")) {
        0x4004_7473
    } else {
        0x5411
    };
    queue_length::<SIOCOUTQ>(tcp)
}

/// The length of a queue of the kernel, in bytes; `OPCODE` is SIOCOUTQNSD or SIOCOUTQ.
fn queue_length<const OPCODE: rustix::ioctl::Opcode>(tcp: &TcpStream) -> usize {
    // SAFETY: both write one int to their argument.
    let getter = unsafe { rustix::ioctl::Getter::<OPCODE, std::ffi::c_int>::new() };
    // SAFETY: `tcp` is a TCP socket, and there the number means that.
    let count = unsafe { rustix::ioctl::ioctl(tcp, getter) };
    count.ok().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}

fn connect_failure(error: &io::Error) -> OpenFailure {
    match error.kind() {
        ErrorKind::TimedOut => OpenFailure::TimedOut,
        _ => OpenFailure::Refused,
    }
}

/// "Would block" stays what it is; everything else is the end of the stream.
fn io_error(error: openssl::ssl::Error) -> io::Error {
    match error.code() {
        ErrorCode::WANT_READ | ErrorCode::WANT_WRITE => ErrorKind::WouldBlock.into(),
        _ => error.into_io_error().unwrap_or_else(|error| io::Error::other(handshake_text(&error))),
    }
}
