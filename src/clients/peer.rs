//! The peer of a client's connection, and whether it still exists.
//!
//! A client that has sent everything (we have read the end of file) may wait for a reply, or may have closed
//! the connection: on the wire both look the same. But the peer is usually on this host, and then the kernel
//! knows: a Unix socket is hung up, and the TCP socket of a client that has closed belongs to no process. This
//! frees a socket of the modem a minute earlier.

use std::cell::OnceCell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use nix::libc;

use mio::net::TcpStream;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::clients::stream::ClientStream;

/// The other end of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Its address; an IPv4 address also if it came in through an IPv6 socket.
    At(SocketAddr),
    /// A process on this host.
    Unix,
    /// The process that started us.
    Stdio,
}

impl Peer {
    /// The peer at `address`. An IPv4-mapped IPv6 address becomes IPv4, as `--allow` and messages need it.
    pub fn at(address: SocketAddr) -> Peer {
        Peer::At(canonical(address))
    }

    /// The address for `--allow`; `None` for a peer that is not on a network.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::At(address) => Some(address.ip()),
            Peer::Unix | Peer::Stdio => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::At(address) => address.fmt(f),
            Peer::Unix => f.write_str("unix"),
            Peer::Stdio => f.write_str("stdio"),
        }
    }
}

/// The process and the user that connected, or began to listen, at the other end of a Unix socket (unix(7),
/// SO_PEERCRED). A process that is not visible in our PID namespace is 0.
pub fn credentials(socket: impl AsFd) -> Option<(i32, u32)> {
    // Not rustix's function: its type cannot hold the process 0.
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    // SAFETY: the descriptor is open, and the kernel writes at most `size` bytes, which `credentials` has.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut size,
        )
    };
    (result == 0).then_some((credentials.pid, credentials.uid))
}

/// The user at the other end of a Unix socket, if the system reports it.
pub fn user_of(stream: &ClientStream) -> Option<u32> {
    match stream {
        ClientStream::Unix(client) => credentials(client.stream()).map(|(_, uid)| uid),
        ClientStream::Tcp(_) | ClientStream::Stdio(_) | ClientStream::Datagrams(_) => None,
    }
}

/// Whether the peer of a half-closed client has closed the connection. Call it after the end of file has been
/// read, and before our own direction has ended. It needs one query to the kernel (or reads /proc/net/tcp if
/// there is no sock_diag), so do not call it on every turn of the loop.
///
/// `None`: it cannot be known, as for a TCP peer on another host, a terminal, or a sender of datagrams.
pub fn peer_is_gone(stream: &ClientStream) -> Option<bool> {
    match stream {
        ClientStream::Tcp(stream) => tcp_peer_is_gone(stream),
        ClientStream::Unix(client) => has_hung_up(client.stream()),
        ClientStream::Stdio(stdio) => {
            // Only the reader of standard output matters: without it the stream is useless.
            let (_, output) = stdio.fds();
            match has_hung_up(output?) {
                Some(true) => Some(true),
                Some(false) | None => None,
            }
        }
        ClientStream::Datagrams(_) => None,
    }
}

fn tcp_peer_is_gone(stream: &TcpStream) -> Option<bool> {
    let peer = canonical(stream.peer_addr().ok()?);
    if !peer.ip().is_loopback() {
        return None;
    }
    // If a firewall rule redirects the connection, the peer's socket has the original address.
    let local = match peer {
        SocketAddr::V4(_) => rustix::net::sockopt::ip_original_dst(stream).map(SocketAddr::V4),
        SocketAddr::V6(_) => rustix::net::sockopt::ipv6_original_dst(stream).map(SocketAddr::V6),
    };
    let local = match local {
        Ok(original) => original,
        Err(_) => canonical(stream.local_addr().ok()?),
    };
    let found = ask_kernel(peer, local).or_else(|_| read_table(peer, local)).ok()?;
    Some(found == Found::Nobodys)
}

/// The result of looking up the peer's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// A process has it.
    Held,
    /// No process has it: the kernel is closing it, or it does not exist.
    Nobodys,
}

/// Looks up one TCP socket by its addresses through sock_diag(7). This is a hash look-up in the kernel, whatever
/// the number of sockets.
fn ask_kernel(local: SocketAddr, remote: SocketAddr) -> io::Result<Found> {
    with_diag_socket(|socket| {
        let mut answer = [0_u8; 512];
        // Discard what an earlier query may have left.
        while rustix::net::recv(socket, &mut answer, RecvFlags::DONTWAIT).is_ok() {}
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(socket, &diag_request(local, remote), SendFlags::empty(), &kernel)?;
        // The kernel has answered when `sendto` returns, so this need not wait.
        let (_, length) = rustix::net::recv(socket, &mut answer, RecvFlags::DONTWAIT)?;
        diag_answer(answer.get(..length).unwrap_or(&answer))
    })
}

thread_local! {
    /// The socket for queries to the kernel. It stays open: otherwise, when descriptors have run out, clients that
    /// are gone could not be found, and no client would be accepted before a time-out.
    static DIAG_SOCKET: OnceCell<OwnedFd> = const { OnceCell::new() };
}

fn with_diag_socket<T>(ask: impl FnOnce(&OwnedFd) -> io::Result<T>) -> io::Result<T> {
    DIAG_SOCKET.with(|cell| {
        if let Some(socket) = cell.get() {
            return ask(socket);
        }
        let (family, kind, flags) = (AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC);
        let socket = rustix::net::socket_with(family, kind, flags, Some(netlink::SOCK_DIAG))?;
        ask(cell.get_or_init(|| socket))
    })
}

/// Opens the socket that [`peer_is_gone`] needs, while descriptors are available.
pub fn prepare() {
    if let Err(error) = with_diag_socket(|_| Ok(())) {
        log::debug!("sockets cannot be looked up through sock_diag: {error}");
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2` (linux/netlink.h, linux/inet_diag.h), in host byte order
/// except for ports and addresses.
fn diag_request(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let family = u8::try_from(family.as_raw()).expect("both families are below 256");
    let mut request = Vec::with_capacity(DIAG_REQUEST_BYTES);
    request.extend_from_slice(&72_u32.to_ne_bytes()); // nlmsg_len: DIAG_REQUEST_BYTES
    request.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    request.extend_from_slice(&[0; 8]); // sequence number, port id
    request.extend_from_slice(&[family, IPPROTO_TCP, 0, 0]);
    request.extend_from_slice(&u32::MAX.to_ne_bytes()); // in whatever state
    request.extend_from_slice(&local.port().to_be_bytes());
    request.extend_from_slice(&remote.port().to_be_bytes());
    request.extend_from_slice(&diag_address(local.ip()));
    request.extend_from_slice(&diag_address(remote.ip()));
    request.extend_from_slice(&LOOPBACK_INDEX.to_ne_bytes());
    request.extend_from_slice(&[0xff; 8]); // no cookie
    debug_assert_eq!(request.len(), DIAG_REQUEST_BYTES);
    request
}

fn diag_address(address: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match address {
        IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes = address.octets(),
    }
    bytes
}

/// `struct nlmsghdr` and then `struct inet_diag_msg`, or an error number.
fn diag_answer(answer: &[u8]) -> io::Result<Found> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let word = |start: usize| -> io::Result<[u8; 4]> {
        answer.get(start..start + 4).and_then(|bytes| bytes.try_into().ok()).ok_or_else(short)
    };
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).ok_or_else(short)?;
    match u16::from_ne_bytes(kind) {
        SOCK_DIAG_BY_FAMILY => {
            let state = *answer.get(17).ok_or_else(short)?;
            let inode = u32::from_ne_bytes(word(84)?);
            // A listener is reported only if no connection was found.
            Ok(if inode == 0 || state == TCP_LISTEN { Found::Nobodys } else { Found::Held })
        }
        NLMSG_ERROR => match -i32::from_ne_bytes(word(16)?) {
            ENOENT => Ok(Found::Nobodys),
            number => Err(io::Error::from_raw_os_error(number)),
        },
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Searches /proc/net/tcp: for kernels without sock_diag, and for units that forbid netlink.
fn read_table(local: SocketAddr, remote: SocketAddr) -> io::Result<Found> {
    let v6 = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if local.is_ipv4() {
        let table = BufReader::new(File::open("/proc/net/tcp")?);
        if let Some(found) = find_in_table(table, local, remote)? {
            return Ok(found);
        }
    }
    // An IPv4 connection of an IPv6 socket is listed here.
    match File::open("/proc/net/tcp6") {
        Ok(file) => {
            let found = find_in_table(BufReader::new(file), v6(local), v6(remote))?;
            Ok(found.unwrap_or(Found::Nobodys))
        }
        Err(_) if local.is_ipv4() => Ok(Found::Nobodys),
        Err(error) => Err(error),
    }
}

/// The columns are: number, local address, remote address, state, queues, timer, retransmissions, user,
/// timeout, inode.
fn find_in_table(
    mut table: impl io::BufRead,
    local: SocketAddr,
    remote: SocketAddr,
) -> io::Result<Option<Found>> {
    let wanted = format!(" {} {} ", table_address(local), table_address(remote));
    let mut line = String::new();
    loop {
        line.clear();
        if table.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.contains(&wanted) {
            let inode = line.split_ascii_whitespace().nth(9).ok_or(io::ErrorKind::InvalidData)?;
            return Ok(Some(if inode == "0" { Found::Nobodys } else { Found::Held }));
        }
    }
}

/// An address as the kernel prints it: words of 32 bits in host byte order, then the port.
fn table_address(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut text = String::with_capacity(37);
    for word in octets.chunks_exact(4) {
        let word: [u8; 4] = word.try_into().expect("chunks_exact gives four bytes");
        text.push_str(&format!("{:08X}", u32::from_ne_bytes(word)));
    }
    text.push_str(&format!(":{:04X}", address.port()));
    text
}

/// Whether the other end is closed in both directions (Unix socket) or has no reader any more (pipe).
fn has_hung_up(fd: impl AsFd) -> Option<bool> {
    let fd = fd.as_fd();
    // No events are requested: a hang-up and an error are always reported.
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&at_once))).ok()?;
    Some(fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

const DIAG_REQUEST_BYTES: usize = 72;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const IPPROTO_TCP: u8 = 6;
const TCP_LISTEN: u8 = 10;
const ENOENT: i32 = 2;
/// The loopback interface is the first of every network namespace. Naming it also finds sockets that are
/// bound to it.
const LOOPBACK_INDEX: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener};

    /// A client accepted at `listen` that connected to `connect`, and its other end.
    fn tcp_pair(listen: &str, connect: &str) -> (std::net::TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind((listen, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = std::net::TcpStream::connect((connect, port)).unwrap();
        (listener.accept().unwrap().0, peer)
    }

    fn client(accepted: std::net::TcpStream) -> ClientStream {
        accepted.set_nonblocking(true).unwrap();
        ClientStream::tcp(TcpStream::from_std(accepted))
    }

    #[test]
    fn a_half_closed_tcp_peer_is_told_from_a_closed_one() {
        for (listen, connect) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")] {
            let (mut accepted, mut peer) = tcp_pair(listen, connect);
            peer.write_all(b"request").unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            accepted.read_to_end(&mut Vec::new()).unwrap();
            let client = client(accepted);
            assert_eq!(peer_is_gone(&client), Some(false), "half-closed, {connect} to {listen}");
            drop(peer);
            assert_eq!(peer_is_gone(&client), Some(true), "closed, {connect} to {listen}");
        }
    }

    /// What the kernel and its table report, which must be the same.
    fn by_both(local: SocketAddr, remote: SocketAddr) -> Found {
        let found = ask_kernel(local, remote).unwrap();
        assert_eq!(read_table(local, remote).unwrap(), found);
        found
    }

    #[test]
    fn the_kernel_and_the_table_agree() {
        for (listen, connect) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")] {
            let (_accepted, peer) = tcp_pair(listen, connect);
            let (local, remote) = (peer.local_addr().unwrap(), peer.peer_addr().unwrap());
            assert_eq!(by_both(local, remote), Found::Held);
            drop(peer);
            assert_eq!(by_both(local, remote), Found::Nobodys);
        }
    }

    #[test]
    fn a_socket_that_was_reset_is_nobodys() {
        let (accepted, peer) = tcp_pair("127.0.0.1", "127.0.0.1");
        let (local, remote) = (peer.local_addr().unwrap(), peer.peer_addr().unwrap());
        client(accepted).abort();
        drop(peer);
        assert_eq!(by_both(local, remote), Found::Nobodys);
    }

    #[test]
    fn a_unix_peer_that_hangs_up_is_gone() {
        let (accepted, peer) = std::os::unix::net::UnixStream::pair().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let client = ClientStream::unix(mio::net::UnixStream::from_std(accepted));
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer_is_gone(&client), Some(false));
        drop(peer);
        assert_eq!(peer_is_gone(&client), Some(true));
    }

    #[test]
    fn a_pipe_without_reader_is_gone() {
        let (input, _writer) = io::pipe().unwrap();
        let (reader, output) = io::pipe().unwrap();
        let stdio = crate::clients::stream::Stdio::from_fds(input.into(), output.into()).unwrap();
        let client = ClientStream::Stdio(stdio);
        assert_eq!(peer_is_gone(&client), None);
        drop(reader);
        assert_eq!(peer_is_gone(&client), Some(true));
    }

    #[test]
    fn nonsense_from_the_kernel_is_an_error_and_no_verdict() {
        for length in 0..88 {
            let mut answer = vec![0; length];
            if length >= 6 {
                answer[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
            }
            assert!(diag_answer(&answer).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn an_address_in_ipv6_clothes_is_shown_and_matched_as_ipv4() {
        let peer = Peer::at("[::ffff:192.0.2.7]:4711".parse().unwrap());
        assert_eq!(peer.to_string(), "192.0.2.7:4711");
        assert_eq!(peer.ip(), Some("192.0.2.7".parse().unwrap()));
    }
}
