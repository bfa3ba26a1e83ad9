//! The stream of a client: an accepted TCP or Unix connection, standard input and output, or the datagrams to one
//! address.
//!
//! All are non-blocking, for edge-triggered events of mio: reads and writes are repeated until they return
//! `WouldBlock`.

use std::fs::File;
use std::io::{self, IoSliceMut, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use mio::net::{TcpStream, UnixStream};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvFlags};
use socket2::{SockRef, TcpKeepalive};

use crate::ports::{ioctl, retry_interrupted};

/// A silent TCP client is probed after this time. After `KEEPALIVE_PROBES` probes without an answer, one every
/// `KEEPALIVE_INTERVAL`, it is lost. Probes do not reach the modem.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// The bytes of a client.
#[derive(Debug)]
pub enum ClientStream {
    /// An accepted TCP connection.
    Tcp(TcpStream),
    /// An accepted connection of a Unix socket.
    Unix(UnixClient),
    /// Standard input and output.
    Stdio(Stdio),
    /// Datagrams through the socket that they came to. What comes from this address is read there, too.
    Datagrams(DatagramPeer),
}

/// An address that has sent datagrams. It has no descriptor of its own.
#[derive(Debug)]
pub struct DatagramPeer {
    /// The listening socket.
    pub socket: Rc<UdpSocket>,
    /// As the socket has it.
    pub address: SocketAddr,
}

impl ClientStream {
    /// A TCP client, with TCP_NODELAY, SO_KEEPALIVE, and SO_LINGER of 0 s. Until [`ClientStream::end_in_order`]
    /// is called, closing it is a reset, however the process ends. If the system refuses these options, the client
    /// is served without them.
    pub fn tcp(stream: TcpStream) -> ClientStream {
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_IDLE)
            .with_interval(KEEPALIVE_INTERVAL)
            .with_retries(KEEPALIVE_PROBES);
        let result = stream.set_nodelay(true).and(SockRef::from(&stream).set_tcp_keepalive(&keepalive));
        if let Err(error) = result {
            log::debug!("client: keep-alive cannot be set: {error}");
        }
        if let Err(error) = SockRef::from(&stream).set_linger(Some(Duration::ZERO)) {
            log::warn!(
                "client: SO_LINGER cannot be set, so it is not reset if this process is killed: {error}"
            );
        }
        ClientStream::Tcp(stream)
    }

    /// A client of a Unix socket. From its first byte on, closing it is a reset until
    /// [`ClientStream::end_in_order`] is called.
    pub fn unix(stream: UnixStream) -> ClientStream {
        ClientStream::Unix(UnixClient { stream, guard: Guard::Set { holds: false } })
    }

    /// Registers for readable and writable events under `token`.
    ///
    /// Returns the directions for which no event will ever come because they never block, as for a regular file.
    /// They are always ready.
    ///
    /// # Errors
    /// Those of epoll.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<AlwaysReady> {
        let interests = Interest::READABLE | Interest::WRITABLE;
        match self {
            ClientStream::Tcp(stream) => registry.register(stream, token, interests)?,
            ClientStream::Unix(client) => registry.register(&mut client.stream, token, interests)?,
            ClientStream::Stdio(stdio) => return stdio.register(registry, token),
            // A datagram that finds no room is lost.
            ClientStream::Datagrams(_) => return Ok(AlwaysReady { read: false, write: true }),
        }
        Ok(AlwaysReady::default())
    }

    /// Undoes [`ClientStream::register`].
    ///
    /// # Errors
    /// Those of epoll.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            ClientStream::Tcp(stream) => registry.deregister(stream),
            ClientStream::Unix(client) => registry.deregister(&mut client.stream),
            ClientStream::Stdio(stdio) => stdio.deregister(registry),
            ClientStream::Datagrams(_) => Ok(()),
        }
    }

    /// Reads what the client has sent; 0 means that it will send no more.
    ///
    /// # Errors
    /// `WouldBlock` if nothing can be read now. Every other error means that the client is lost.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        retry_interrupted(|| match self {
            ClientStream::Tcp(stream) => stream.read(buffer),
            ClientStream::Unix(client) => client.read(buffer),
            ClientStream::Stdio(stdio) => Ok(rustix::io::read(&stdio.input.fd, &mut *buffer)?),
            ClientStream::Datagrams(_) => Err(io::ErrorKind::WouldBlock.into()),
        })
    }

    /// Writes to the client, and returns how many bytes were taken: of a datagram, all.
    ///
    /// # Errors
    /// `WouldBlock` if none can be taken now. Every other error means that the client reads no more, except that a
    /// datagram that was not sent says nothing about the next.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        retry_interrupted(|| match self {
            ClientStream::Tcp(stream) => stream.write(bytes),
            ClientStream::Unix(client) => client.stream.write(bytes),
            ClientStream::Stdio(stdio) => match &stdio.output {
                Some(output) => Ok(rustix::io::write(&output.fd, bytes)?),
                None => Err(io::ErrorKind::BrokenPipe.into()),
            },
            ClientStream::Datagrams(peer) => peer.socket.send_to(bytes, peer.address),
        })
    }

    /// From now on, closing the connection is an orderly end: everything was written.
    pub fn end_in_order(&mut self) {
        match self {
            // An error means that the connection is gone already.
            ClientStream::Tcp(stream) => drop(SockRef::from(&*stream).set_linger(None)),
            ClientStream::Unix(client) => client.let_go(),
            ClientStream::Stdio(_) | ClientStream::Datagrams(_) => {}
        }
    }

    /// Shows the client that nothing more will come, after what was written. It can go on sending.
    ///
    /// # Errors
    /// `NotConnected` if the client is gone.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        self.end_in_order();
        match self {
            ClientStream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            ClientStream::Unix(client) => client.stream.shutdown(Shutdown::Write),
            ClientStream::Stdio(stdio) => stdio.shutdown_write(),
            ClientStream::Datagrams(_) => Ok(()),
        }
    }

    /// Ends the connection in a way that cannot be mistaken for an orderly end. On TCP this is RST, which also
    /// discards what the client has not received yet (see [`ClientStream::send_queue`]). The client of a Unix
    /// socket reads what was written, and then ECONNRESET, if it has ever sent a byte. Standard output, and a Unix
    /// socket whose client has sent nothing, can only be closed.
    pub fn abort(self) {
        if let ClientStream::Tcp(stream) = &self {
            // An error means that the connection is gone already.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// How many written bytes the client's system has not acknowledged (TCP; a FIN that is under way counts as one
    /// byte), or the client has not read (Unix; counted as memory, and therefore more than the bytes). 0 for
    /// standard output.
    pub fn send_queue(&self) -> usize {
        match self {
            ClientStream::Tcp(stream) => ioctl::output_queued(stream).unwrap_or(0),
            ClientStream::Unix(client) => ioctl::output_queued(&client.stream).unwrap_or(0),
            ClientStream::Stdio(_) | ClientStream::Datagrams(_) => 0,
        }
    }
}

/// A client of a Unix socket.
///
/// Unix sockets have no SO_LINGER, and a close looks like an end of file to the other end, however the process
/// ended. But the kernel reports ECONNRESET to the other end if bytes of it were still unread. So the last byte
/// that the client has sent is read, but stays in the kernel until the connection ends in order.
#[derive(Debug)]
pub struct UnixClient {
    stream: UnixStream,
    guard: Guard,
}

/// What a close of a Unix socket means to its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    /// A reset, if `holds`: the first unread byte has been returned by `read` already.
    Set { holds: bool },
    /// An end of file.
    Off,
}

impl UnixClient {
    /// Its socket, for queries to the kernel.
    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Guard::Set { holds } = self.guard else { return self.stream.read(buffer) };
        let held = usize::from(holds);
        let mut found = self.receive(held, buffer, RecvFlags::PEEK)?;
        if holds && found == held {
            if !self.has_finished()? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // Nothing comes after its end, but bytes may have come just before it.
            found = self.receive(held, buffer, RecvFlags::PEEK)?;
        }
        let fresh = found.saturating_sub(held);
        if fresh == 0 {
            return Ok(0);
        }
        let mut taken = 0;
        while taken < found - 1 {
            let held = held.saturating_sub(taken);
            let rest = taken.saturating_sub(usize::from(holds))..fresh - 1;
            taken += match self.receive(held, &mut buffer[rest], RecvFlags::empty())? {
                0 => break,
                count => count,
            };
        }
        self.guard = Guard::Set { holds: true };
        Ok(fresh)
    }

    /// Receives `held` bytes, which are discarded, and then as many as the buffer takes.
    fn receive(&self, held: usize, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
        let mut known = [0];
        let mut parts = [IoSliceMut::new(&mut known[..held]), IoSliceMut::new(buffer)];
        let flags = flags | RecvFlags::DONTWAIT;
        let received =
            rustix::net::recvmsg(&self.stream, &mut parts, &mut RecvAncillaryBuffer::default(), flags)?;
        Ok(received.bytes)
    }

    /// Whether the client has ended its direction.
    fn has_finished(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&at_once)))?;
        Ok(fds[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR))
    }

    /// Consumes the byte that was held back.
    fn let_go(&mut self) {
        if self.guard == (Guard::Set { holds: true }) {
            // The byte can be read, because nothing else reads.
            let _ = self.receive(1, &mut [], RecvFlags::empty());
        }
        self.guard = Guard::Off;
    }
}

/// Directions for which mio gives no events because they never block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlwaysReady {
    /// Reading never blocks.
    pub read: bool,
    /// Writing never blocks.
    pub write: bool,
}

/// Standard input and output, taken over from the process.
///
/// O_NONBLOCK belongs to the open file, which the shell and others share, and not to the descriptor. So
/// terminals and pipes are opened again, which gives us an open file of our own. If this is not possible, as
/// for sockets, the flag is set, and cleared when this is dropped.
#[derive(Debug)]
pub struct Stdio {
    input: Stream,
    /// `None` after [`Stdio::shutdown_write`].
    output: Option<Stream>,
}

impl Stdio {
    /// Takes over the standard input and output of the process. They are replaced by /dev/null, so that a stray
    /// message cannot get into the stream, and so that closing ours is the end for the reader.
    ///
    /// # Errors
    /// `EBADF` if the process was started with one of them closed.
    pub fn take() -> io::Result<Stdio> {
        // Numbers from 3 on: the first three keep their meaning.
        let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        Stdio::from_fds(input, output)
    }

    /// A stream that reads from one descriptor and writes to the other.
    ///
    /// # Errors
    /// Those of fcntl.
    pub fn from_fds(input: OwnedFd, output: OwnedFd) -> io::Result<Stdio> {
        let input = Stream::open(input, OFlags::RDONLY)?;
        let output = Stream::open(output, OFlags::WRONLY)?;
        Ok(Stdio { input, output: Some(output) })
    }

    /// The descriptor that is read, and the one that is written while it is open.
    pub(crate) fn fds(&self) -> (BorrowedFd<'_>, Option<BorrowedFd<'_>>) {
        (self.input.fd.as_fd(), self.output.as_ref().map(|output| output.fd.as_fd()))
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<AlwaysReady> {
        let read = self.input.register(registry, token, Interest::READABLE)?;
        let write = match &mut self.output {
            Some(output) => output.register(registry, token, Interest::WRITABLE)?,
            None => false,
        };
        Ok(AlwaysReady { read, write })
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.input.deregister(registry)?;
        self.output.as_mut().map_or(Ok(()), |output| output.deregister(registry))
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let Some(output) = &self.output else { return Ok(()) };
        match output.kind {
            // The same socket may be our input, so it stays open and non-blocking.
            FileType::Socket => Ok(rustix::net::shutdown(&output.fd, rustix::net::Shutdown::Write)?),
            // A terminal or a file can only be closed.
            _ => {
                self.output = None;
                Ok(())
            }
        }
    }
}

/// One direction of [`Stdio`].
#[derive(Debug)]
struct Stream {
    fd: OwnedFd,
    kind: FileType,
    /// The original flags of the shared open file, if we have changed them.
    restore: Option<OFlags>,
    is_registered: bool,
}

impl Stream {
    fn open(fd: OwnedFd, access: OFlags) -> io::Result<Stream> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
        if matches!(kind, FileType::Fifo | FileType::CharacterDevice) {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            if let Ok(own) = rustix::fs::open(path, flags, Mode::empty()) {
                return Ok(Stream { fd: own, kind, restore: None, is_registered: false });
            }
        }
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        let restore = if flags.contains(OFlags::NONBLOCK) { None } else { Some(flags) };
        rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
        Ok(Stream { fd, kind, restore, is_registered: false })
    }

    /// Returns whether no events will come because this never blocks.
    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<bool> {
        match registry.register(&mut SourceFd(&self.fd.as_raw_fd()), token, interest) {
            Ok(()) => {
                self.is_registered = true;
                Ok(false)
            }
            // epoll returns this for a regular file or /dev/null.
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        if !std::mem::take(&mut self.is_registered) {
            return Ok(());
        }
        registry.deregister(&mut SourceFd(&self.fd.as_raw_fd()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(flags) = self.restore {
            // An error cannot be reported here.
            let _ = rustix::fs::fcntl_setfl(&self.fd, flags);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::Poll;
    use std::net::TcpListener;

    /// An accepted client and its other end.
    fn tcp_pair() -> (ClientStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        (ClientStream::tcp(TcpStream::from_std(accepted)), peer)
    }

    #[test]
    fn a_half_close_lets_the_other_direction_live() {
        let (mut client, mut peer) = tcp_pair();
        client.write(b"reply").unwrap();
        client.shutdown_write().unwrap();
        let mut reply = String::new();
        peer.read_to_string(&mut reply).unwrap();
        assert_eq!(reply, "reply");
        peer.write_all(b"more").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(client.read(&mut buffer).unwrap(), 4);
    }

    #[test]
    fn an_abort_is_a_reset_for_the_client() {
        let (client, mut peer) = tcp_pair();
        client.abort();
        assert_eq!(peer.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn what_the_client_has_not_taken_is_visible_before_a_reset() {
        let (mut client, mut peer) = tcp_pair();
        assert_eq!(client.send_queue(), 0);
        let mut written = 0;
        while let Ok(count) = client.write(&[7; 65536]) {
            written += count;
        }
        assert!(client.send_queue() > 0);
        let mut received = vec![0; written];
        peer.read_exact(&mut received).unwrap();
        let (mut unix, _peer) = UnixStream::pair().unwrap();
        unix.write_all(b"x").unwrap();
        assert!(ClientStream::unix(unix).send_queue() > 0);
    }

    /// What the other end of a closed connection reads: the number of bytes, and the error.
    fn read_by(mut peer: impl io::Read) -> (usize, Option<io::ErrorKind>) {
        let mut all = Vec::new();
        let error = peer.read_to_end(&mut all).err();
        (all.len(), error.map(|error| error.kind()))
    }

    fn unix_pair() -> (ClientStream, std::os::unix::net::UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (ClientStream::unix(UnixStream::from_std(ours)), theirs)
    }

    #[test]
    fn a_connection_that_is_dropped_in_the_middle_was_reset() {
        let (mut client, mut peer) = tcp_pair();
        peer.write_all(b"request").unwrap();
        assert_eq!(client.read(&mut [0; 64]).unwrap(), 7);
        drop(client);
        assert_eq!(read_by(peer), (0, Some(io::ErrorKind::ConnectionReset)));

        let (mut client, mut peer) = unix_pair();
        peer.write_all(b"request").unwrap();
        assert_eq!(client.read(&mut [0; 64]).unwrap(), 7);
        client.write(b"half of").unwrap();
        drop(client);
        assert_eq!(read_by(peer), (7, Some(io::ErrorKind::ConnectionReset)));
    }

    #[test]
    fn a_connection_that_was_ended_in_order_has_an_end_whoever_drops_it() {
        let (mut client, mut peer) = tcp_pair();
        peer.write_all(b"request").unwrap();
        assert_eq!(client.read(&mut [0; 64]).unwrap(), 7);
        client.write(b"reply").unwrap();
        client.shutdown_write().unwrap();
        drop(client);
        assert_eq!(read_by(peer), (5, None));

        let (mut client, mut peer) = unix_pair();
        peer.write_all(b"request").unwrap();
        assert_eq!(client.read(&mut [0; 64]).unwrap(), 7);
        client.write(b"reply").unwrap();
        client.shutdown_write().unwrap();
        drop(client);
        assert_eq!(read_by(peer), (5, None));
    }

    #[test]
    fn the_byte_that_is_held_back_is_given_out_once_and_hides_no_end() {
        for size in [1, 2, 3, 7, 4_096] {
            let (mut client, mut peer) = unix_pair();
            let mut buffer = vec![0; size];
            let mut all = Vec::new();
            for word in ["a", "bc", "d", "efghijkl", "m"] {
                peer.write_all(word.as_bytes()).unwrap();
                let before = all.len();
                while all.len() < before + word.len() {
                    let count = client.read(&mut buffer).unwrap();
                    assert!(count > 0, "no end yet");
                    all.extend_from_slice(&buffer[..count]);
                }
                let error = client.read(&mut buffer).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "with {size} bytes");
            }
            peer.write_all(b"!").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            assert_eq!(client.read(&mut buffer).unwrap(), 1);
            all.push(buffer[0]);
            assert_eq!(client.read(&mut buffer).unwrap(), 0);
            assert_eq!(client.read(&mut buffer).unwrap(), 0);
            assert_eq!(all, b"abcdefghijklm!");
            client.write(b"reply").unwrap();
            client.shutdown_write().unwrap();
            assert_eq!(client.read(&mut buffer).unwrap(), 0);
            assert_eq!(read_by(peer), (5, None));
        }
    }

    #[test]
    fn tcp_clients_are_probed_and_not_delayed() {
        let (client, _peer) = tcp_pair();
        let ClientStream::Tcp(stream) = &client else { unreachable!("made by tcp_pair") };
        assert!(stream.nodelay().unwrap());
        assert!(SockRef::from(stream).keepalive().unwrap());
    }

    #[test]
    fn pipes_do_not_block_while_the_shell_keeps_its_flags() {
        let (input, mut writer) = io::pipe().unwrap();
        let (mut reader, output) = io::pipe().unwrap();
        let (shell_input, shell_output) = (input.try_clone().unwrap(), output.try_clone().unwrap());
        let mut client = ClientStream::Stdio(Stdio::from_fds(input.into(), output.into()).unwrap());
        for fd in [shell_input.as_fd(), shell_output.as_fd()] {
            assert!(!rustix::fs::fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK));
        }
        let mut buffer = [0; 8];
        assert_eq!(client.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        writer.write_all(b"in").unwrap();
        assert_eq!(client.read(&mut buffer).unwrap(), 2);
        drop(writer);
        assert_eq!(client.read(&mut buffer).unwrap(), 0);

        drop(shell_output);
        client.write(b"out").unwrap();
        client.shutdown_write().unwrap();
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        assert_eq!(all, "out");
        assert_eq!(client.write(b"late").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn one_socket_for_both_directions_ends_one_at_a_time_and_gets_its_flags_back() {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let kept = ours.try_clone().unwrap();
        let both = ours.try_clone().unwrap();
        let mut client = ClientStream::Stdio(Stdio::from_fds(ours.into(), both.into()).unwrap());
        let mut poll = Poll::new().unwrap();
        let ready = client.register(poll.registry(), Token(0)).unwrap();
        assert_eq!(ready, AlwaysReady::default());
        client.shutdown_write().unwrap();
        assert_eq!(theirs.read(&mut [0; 8]).unwrap(), 0);
        theirs.write_all(b"on").unwrap();
        let mut events = mio::Events::with_capacity(8);
        while !events.iter().any(|event| event.is_readable()) {
            poll.poll(&mut events, None).unwrap();
        }
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 2);
        assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        client.deregister(poll.registry()).unwrap();
        drop(client);
        assert!(!rustix::fs::fcntl_getfl(&kept).unwrap().contains(OFlags::NONBLOCK));
    }

    #[test]
    fn a_file_is_read_to_its_end_without_events() {
        let regular = File::open(std::env::current_exe().unwrap()).unwrap();
        let null = File::options().write(true).open("/dev/null").unwrap();
        let mut client = ClientStream::Stdio(Stdio::from_fds(regular.into(), null.into()).unwrap());
        let poll = Poll::new().unwrap();
        let ready = client.register(poll.registry(), Token(0)).unwrap();
        assert_eq!(ready, AlwaysReady { read: true, write: true });
        assert_eq!(client.read(&mut [0; 64]).unwrap(), 64);
        client.deregister(poll.registry()).unwrap();
    }
}
