//! Listening TCP and Unix sockets, and UDP sockets to which datagrams come, our own or passed by systemd.
//!
//! This code binds sockets and accepts clients. It reads nothing from them and never waits.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use mio::net::{TcpListener, UnixListener};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::libc;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::clients::peer::{Peer, credentials};
use crate::clients::stream::ClientStream;
use crate::config::{At, Listen};

/// How many connections the kernel queues until they are accepted. If the queue is full, it ignores the SYN of a
/// client, which tries again.
const BACKLOG: i32 = 128;

/// The mode of a socket file unless one is given: its owner and group may connect.
const USUAL_MODE: u32 = 0o660;

/// How many attempts are made to find a port that is free in both address families.
const FREE_PORT_ATTEMPTS_MAX: u32 = 16;

/// How many connections that were lost before they were accepted are skipped in one call.
const LOST_CONNECTIONS_MAX: u32 = BACKLOG as u32;

/// A listening socket, or one to which datagrams come.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    name: String,
    /// Our own socket file, which is removed when this is dropped.
    _file: Option<SocketFile>,
}

/// The result for one [`Listen`]: at least one listener, unless it is [`Listen::Stdio`].
#[derive(Debug, Default)]
pub struct Bound {
    /// The sockets, all listening.
    pub listeners: Vec<Listener>,
    /// Warnings for the user, one line each.
    pub warnings: Vec<String>,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
    /// Its clients answer through it as well.
    Udp(Rc<UdpSocket>),
}

impl Listener {
    /// Binds and listens.
    ///
    /// - A loopback port is bound on 127.0.0.1 and ::1; if the host lacks one of the two, that is a
    ///   warning. Port 0 takes a free port, the same in both.
    /// - A socket file on which no process listens any more is replaced. Mode and owner are set before the
    ///   first client can connect, and the file is removed when the listener is dropped.
    /// - A socket from systemd is used as it is. It can be bound again after it was dropped. Whether it must be one for
    ///   datagrams is what `carries_datagrams` states; the other addresses show it themselves.
    /// - Standard input and output have no listener: the result is empty.
    ///
    /// # Errors
    /// See [`BindError`]. Sockets that were bound before the failing one are closed again.
    pub fn bind(listen: &Listen, carries_datagrams: bool) -> Result<Bound, BindError> {
        match listen {
            Listen::Tcp(at) => bind_network(*at, Type::STREAM),
            Listen::Udp(at) => bind_network(*at, Type::DGRAM),
            Listen::Unix { path, mode, owner, group } => {
                let listener = bind_unix(path, *mode, owner.as_deref(), group.as_deref())?;
                Ok(Bound { listeners: vec![listener], warnings: Vec::new() })
            }
            Listen::Systemd(name) => {
                let passed = sd_notify::listen_fds_with_names()
                    .map_err(|source| passed_wrong(name, carries_datagrams, source))?;
                take_passed(name, carries_datagrams, passed)
            }
            Listen::Stdio => Ok(Bound::default()),
        }
    }

    /// Registers for an event under `token` when clients come.
    ///
    /// # Errors
    /// Those of epoll.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.kind {
            Kind::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Kind::Unix(listener) => registry.register(listener, token, Interest::READABLE),
            Kind::Udp(socket) => {
                registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)
            }
        }
    }

    /// Undoes [`Listener::register`].
    ///
    /// # Errors
    /// Those of epoll.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match &mut self.kind {
            Kind::Tcp(listener) => registry.deregister(listener),
            Kind::Unix(listener) => registry.deregister(listener),
            Kind::Udp(socket) => registry.deregister(&mut SourceFd(&socket.as_raw_fd())),
        }
    }

    /// Accepts one client; `None` if no more wait, and where datagrams come. Clients that were gone before they were
    /// accepted are skipped.
    ///
    /// # Errors
    /// After [`AcceptError::Exhausted`] the caller must pause and try again: the client still waits in the kernel,
    /// and no new event will come for it.
    pub fn accept(&self) -> Result<Option<(ClientStream, Peer)>, AcceptError> {
        for _ in 0..LOST_CONNECTIONS_MAX {
            let accepted = match &self.kind {
                Kind::Tcp(listener) => {
                    listener.accept().map(|(stream, address)| (ClientStream::tcp(stream), Peer::at(address)))
                }
                Kind::Unix(listener) => {
                    listener.accept().map(|(stream, _)| (ClientStream::unix(stream), Peer::Unix))
                }
                Kind::Udp(_) => return Ok(None),
            };
            let error = match accepted {
                Ok(client) => return Ok(Some(client)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => error,
            };
            match Errno::from_io_error(&error) {
                Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    return Err(AcceptError::Exhausted { name: self.name.clone(), source: error });
                }
                // Errors of the new connection (accept(2)), which is gone. The next one may work.
                Some(
                    Errno::INTR
                    | Errno::CONNABORTED
                    | Errno::NETDOWN
                    | Errno::PROTO
                    | Errno::NOPROTOOPT
                    | Errno::HOSTDOWN
                    | Errno::NONET
                    | Errno::HOSTUNREACH
                    | Errno::OPNOTSUPP
                    | Errno::NETUNREACH
                    | Errno::PERM,
                ) => {}
                _ => return Err(AcceptError::Failed { name: self.name.clone(), source: error }),
            }
        }
        // The caller must try again later, as for a lack of resources.
        let source = io::Error::other("connections are lost as fast as they come in");
        Err(AcceptError::Exhausted { name: self.name.clone(), source })
    }

    /// The socket, where datagrams come. It never blocks.
    pub fn datagrams(&self) -> Option<&Rc<UdpSocket>> {
        match &self.kind {
            Kind::Udp(socket) => Some(socket),
            Kind::Tcp(_) | Kind::Unix(_) => None,
        }
    }

    /// How many datagrams the kernel has dropped because the socket had no room for them; 0 where it does not report
    /// that.
    pub fn unread_datagrams(&self) -> u64 {
        match &self.kind {
            Kind::Udp(socket) => dropped_by_kernel(socket.as_fd()).unwrap_or(0),
            Kind::Tcp(_) | Kind::Unix(_) => 0,
        }
    }

    /// How many clients wait in the kernel to be accepted; `None` if the kernel does not report it, as for a Unix
    /// socket.
    pub fn waiting(&self) -> Option<usize> {
        match &self.kind {
            Kind::Tcp(listener) => accept_queue(listener.as_fd()).ok(),
            Kind::Unix(_) | Kind::Udp(_) => None,
        }
    }

    /// The address in the notation of LISTEN: `127.0.0.1:8443`, `udp:127.0.0.1:5684`,
    /// `unix:/run/tunnel.sock`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address on the network; `None` for a Unix socket. With port 0 this shows the chosen port.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(listener) => listener.local_addr().ok(),
            Kind::Udp(socket) => socket.local_addr().ok(),
            Kind::Unix(_) => None,
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Tcp(listener) => listener.as_fd(),
            Kind::Unix(listener) => listener.as_fd(),
            Kind::Udp(socket) => socket.as_fd(),
        }
    }
}

/// The clients in the accept queue of a listening TCP socket: tcpi_unacked of TCP_INFO. No library offers this for
/// listeners.
fn accept_queue(listener: BorrowedFd<'_>) -> io::Result<usize> {
    // `struct tcp_info` (linux/tcp.h): eight bytes, five words, of which the last is tcpi_unacked.
    let [.., unacked]: [u32; 7] = words_of_option(listener, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    Ok(usize::try_from(unacked).unwrap_or(0))
}

/// SK_MEMINFO_DROPS of SO_MEMINFO (linux/sock_diag.h): what a socket had no room for.
fn dropped_by_kernel(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let [.., drops]: [u32; 9] = words_of_option(socket, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
    Ok(drops.into())
}

/// The first words of an option of a socket.
fn words_of_option<const N: usize>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<[u32; N]> {
    let mut words = [0_u32; N];
    let mut size = libc::socklen_t::try_from(size_of_val(&words)).expect("some bytes");
    // SAFETY: the descriptor is open, and the kernel writes at most `size` bytes, which `words` has.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, words.as_mut_ptr().cast(), &raw mut size)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    if usize::try_from(size).unwrap_or(0) < size_of_val(&words) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(words)
}

/// Why a client could not be accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The process or the system has run out of descriptors or memory.
    #[error(
        "{name}: cannot accept clients for now: {source}: raise the limit of open files or lower --max-clients"
    )]
    Exhausted {
        /// The listener.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The listener itself no longer works.
    #[error("{name}: cannot accept clients: {source}")]
    Failed {
        /// The listener.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
}

/// Why an address could not be listened on, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program listens there.
    #[error("{0}: already in use: stop the program that listens there or choose another port")]
    InUse(String),
    /// Ports below 1024 are reserved for root.
    #[error("{0}: permission denied: take a port above 1023 or give the program CAP_NET_BIND_SERVICE")]
    Denied(String),
    /// The address is not one of this host.
    #[error("{0}: this host has no such address: choose one that `ip address` shows")]
    NotOurs(String),
    /// A program is listening on the socket file.
    #[error("{}: {holder} listens on this socket: stop it or choose another path", .path.display())]
    Live {
        /// The socket file.
        path: PathBuf,
        /// The program, as far as the system reports it.
        holder: String,
    },
    /// The path is taken by something that is not a socket.
    #[error("{}: exists and is not a socket: remove it or choose another path", .0.display())]
    NotASocket(PathBuf),
    /// No such user or group.
    #[error("{}: no such {what}: {name}", .path.display())]
    NoAccount {
        /// The socket file.
        path: PathBuf,
        /// "user" or "group".
        what: &'static str,
        /// The name as given.
        name: String,
    },
    /// systemd has passed no socket at all.
    #[error(
        "systemd:{name}: systemd has passed no socket: start the socket unit (systemctl enable --now \
         qssl-tunnel.socket), which listens and starts the service"
    )]
    NonePassed {
        /// The name as given.
        name: String,
    },
    /// systemd has passed no socket of this name.
    #[error(
        "systemd:{name}: no such socket was passed ({passed}): look at FileDescriptorName= in the socket unit"
    )]
    NotPassed {
        /// The name as given.
        name: String,
        /// The names that were passed.
        passed: String,
    },
    /// What systemd has passed cannot be used.
    #[error("systemd:{name}: {source}: {needed}")]
    Passed {
        /// The name as given.
        name: String,
        /// What the tunnel needs.
        needed: &'static str,
        /// What is wrong.
        source: io::Error,
    },
    /// Anything else.
    #[error("{name}: cannot listen: {source}")]
    Io {
        /// The address or path.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
}

/// Binds one address, or loopback in both families.
fn bind_network(at: At, kind: Type) -> Result<Bound, BindError> {
    let port = match at {
        At::Loopback(port) => port,
        At::Address(address) => {
            let listener = bind_address(address, kind, false)?;
            return Ok(Bound { listeners: vec![listener], warnings: Vec::new() });
        }
    };
    for attempt in 1.. {
        let mut bound = Bound::default();
        let mut number = port;
        let mut result = Ok(());
        for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            match bind_address(SocketAddr::new(address, number), kind, true) {
                Ok(listener) => {
                    number = listener.local_address().map_or(number, |address| address.port());
                    bound.listeners.push(listener);
                }
                Err(BindError::NotOurs(name)) => {
                    bound
                        .warnings
                        .push(format!("{name}: this host has no such address: not listening there"));
                }
                Err(error) => result = Err(error),
            }
        }
        match result {
            // A free port of one family may be taken in the other: try another one.
            Err(BindError::InUse(_)) if port == 0 && attempt < FREE_PORT_ATTEMPTS_MAX => {}
            Err(error) => return Err(error),
            Ok(()) if bound.listeners.is_empty() => {
                return Err(BindError::NotOurs(format!("127.0.0.1:{port} and [::1]:{port}")));
            }
            Ok(()) => return Ok(bound),
        }
    }
    unreachable!("the last attempt returns")
}

fn bind_address(address: SocketAddr, kind: Type, is_v6_only: bool) -> Result<Listener, BindError> {
    let try_bind = || -> io::Result<Kind> {
        let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), None)?;
        if address.is_ipv6() && is_v6_only {
            socket.set_only_v6(true)?;
        }
        if kind == Type::DGRAM {
            socket.bind(&address.into())?;
            return Ok(Kind::Udp(Rc::new(socket.into())));
        }
        // Old connections in TIME_WAIT must not prevent a restart.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Kind::Tcp(TcpListener::from_std(socket.into())))
    };
    let kind = try_bind().map_err(|source| {
        let name = address.to_string();
        match Errno::from_io_error(&source) {
            Some(Errno::ADDRINUSE) => BindError::InUse(name),
            Some(Errno::ACCESS) => BindError::Denied(name),
            Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT) => BindError::NotOurs(name),
            _ => BindError::Io { name, source },
        }
    })?;
    let mut listener = Listener { kind, name: String::new(), _file: None };
    listener.name = network_name(&listener, listener.local_address().unwrap_or(address));
    Ok(listener)
}

/// A network address in the notation of LISTEN.
fn network_name(listener: &Listener, address: SocketAddr) -> String {
    match listener.datagrams() {
        Some(_) => Listen::Udp(At::Address(address)).to_string(),
        None => address.to_string(),
    }
}

fn bind_unix(
    path: &Path,
    mode: Option<u32>,
    owner: Option<&str>,
    group: Option<&str>,
) -> Result<Listener, BindError> {
    let name = format!("unix:{}", path.display());
    let io_error = |source: io::Error| BindError::Io { name: name.clone(), source };
    let owner = owner.map(|owner| user_id(path, owner)).transpose()?;
    let group = group.map(|group| group_id(path, group)).transpose()?;
    remove_stale(path)?;

    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(io_error)?;
    let address = SockAddr::unix(path).map_err(io_error)?;
    let mode = Mode::from_raw_mode(mode.unwrap_or(USUAL_MODE));
    // The file is made with its mode. A later chmod(2) of the path could reach another file, and it may be forbidden
    // after a change of owner.
    rustix::fs::fchmod(&socket, mode).map_err(|error| io_error(error.into()))?;
    let bound = with_umask(Mode::empty(), || socket.bind(&address));
    bound.map_err(|error| match Errno::from_io_error(&error) {
        // Another program has bound the path since the check.
        Some(Errno::ADDRINUSE) => live(path, None),
        _ => io_error(error),
    })?;
    // From here on, the file is removed if anything fails.
    let file = SocketFile(FileId::at(path).map_err(io_error)?);
    if owner.is_some() || group.is_some() {
        file.0.give_to(owner, group).map_err(io_error)?;
    }
    socket.listen(BACKLOG).map_err(io_error)?;
    if !file.0.is_there() {
        // Between bind and listen it looks like a stale file, and another program has replaced it.
        return Err(live(path, None));
    }
    let listener = UnixListener::from_std(socket.into());
    Ok(Listener { kind: Kind::Unix(listener), name, _file: Some(file) })
}

/// Masks the mode of files that `make` creates with `mask` instead of the umask. The umask belongs to the whole
/// process, so `make` must be short.
fn with_umask<T>(mask: Mode, make: impl FnOnce() -> T) -> T {
    let before = rustix::process::umask(mask);
    let made = make();
    rustix::process::umask(before);
    made
}

fn live(path: &Path, pid: Option<i32>) -> BindError {
    let holder = pid.filter(|pid| *pid > 0).map_or("another program".to_owned(), |pid| {
        match fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) => format!("{} (pid {pid})", name.trim_end()),
            Err(_) => format!("pid {pid}"),
        }
    });
    BindError::Live { path: path.to_owned(), holder }
}

/// Removes an old socket file on which no process listens.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let io_error = |source| BindError::Io { name: format!("unix:{}", path.display()), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    let stale = FileId::at(path).map_err(io_error)?;
    // Non-blocking, so that a program with a full backlog does not block us. It does listen.
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(io_error)?;
    match socket.connect(&SockAddr::unix(path).map_err(io_error)?) {
        // Only the file that was checked: another program may have replaced it.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => match stale.is_there() {
            true => fs::remove_file(path).map_err(io_error),
            false => Ok(()),
        },
        result => {
            let pid = result.ok().and_then(|()| credentials(&socket)).map(|(pid, _)| pid);
            Err(live(path, pid))
        }
    }
}

/// A socket file that is removed on drop, unless another file has replaced it.
#[derive(Debug)]
struct SocketFile(FileId);

/// The file at a path, by device and inode.
#[derive(Debug)]
struct FileId {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl FileId {
    fn at(path: &Path) -> io::Result<FileId> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(FileId { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }

    /// Whether the path still leads to it.
    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode))
    }

    /// Changes its owner and group. The file is opened first, and changed only if it is this one: another user
    /// who may write to the directory could put another file there.
    fn give_to(&self, owner: Option<u32>, group: Option<u32>) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = rustix::fs::open(&self.path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&held)?;
        if (stat.st_dev, stat.st_ino, stat.st_nlink) != (self.device, self.inode, 1)
            || !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_socket()
        {
            return Err(io::Error::other("the socket file was exchanged while it was made"));
        }
        let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
        Ok(rustix::fs::chownat(&held, "", owner, group, AtFlags::EMPTY_PATH)?)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.0.is_there() {
            // If this fails, the file is stale, and is replaced at the next start.
            let _ = fs::remove_file(&self.0.path);
        }
    }
}

fn user_id(path: &Path, name: &str) -> Result<u32, BindError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match nix::unistd::User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) | Err(_) => {
            Err(BindError::NoAccount { path: path.to_owned(), what: "user", name: name.to_owned() })
        }
    }
}

fn group_id(path: &Path, name: &str) -> Result<u32, BindError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    match nix::unistd::Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) | Err(_) => {
            Err(BindError::NoAccount { path: path.to_owned(), what: "group", name: name.to_owned() })
        }
    }
}

/// Takes the sockets called `name` that systemd has passed. They are duplicated, because the originals must stay
/// open while the process runs: a reload may need them again.
fn take_passed(
    name: &str,
    carries_datagrams: bool,
    passed: impl Iterator<Item = (std::os::fd::RawFd, String)>,
) -> Result<Bound, BindError> {
    let mut bound = Bound::default();
    let mut names = Vec::new();
    for (fd, passed_name) in passed {
        if passed_name == name {
            // SAFETY: sd_notify has just set a flag on this descriptor, so it is open, and nothing in this
            // process closes descriptors that it has not opened itself.
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            let listener = inherit(name, fd)
                .and_then(|listener| match listener.datagrams().is_some() == carries_datagrams {
                    true => Ok(listener),
                    false => Err(unsuitable("it is of the other kind")),
                })
                .map_err(|source| passed_wrong(name, carries_datagrams, source))?;
            bound.listeners.push(listener);
        }
        names.push(passed_name);
    }
    if bound.listeners.is_empty() {
        let name = name.to_owned();
        return Err(match names.is_empty() {
            true => BindError::NonePassed { name },
            false => BindError::NotPassed { name, passed: names.join(", ") },
        });
    }
    Ok(bound)
}

/// Every listening socket that systemd has passed.
pub(crate) fn all_passed() -> Vec<Listener> {
    let Ok(passed) = sd_notify::listen_fds_with_names() else { return Vec::new() };
    // SAFETY: as in take_passed.
    passed.filter_map(|(fd, name)| inherit(&name, unsafe { BorrowedFd::borrow_raw(fd) }).ok()).collect()
}

fn inherit(name: &str, fd: BorrowedFd<'_>) -> io::Result<Listener> {
    let socket: OwnedFd = rustix::io::fcntl_dupfd_cloexec(fd, 3)?;
    let unsuitable = || unsuitable("it is not a listening stream socket, and none for datagrams");
    let is_listening = rustix::net::sockopt::socket_acceptconn(&socket).map_err(|_| unsuitable())?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    let socket = Socket::from(socket);
    let address = socket.local_addr()?;
    let kind = match (address.domain(), socket.r#type()?) {
        (Domain::IPV4 | Domain::IPV6, Type::STREAM) if is_listening => {
            Kind::Tcp(TcpListener::from_std(socket.into()))
        }
        (Domain::UNIX, Type::STREAM) if is_listening => Kind::Unix(UnixListener::from_std(socket.into())),
        (Domain::IPV4 | Domain::IPV6, Type::DGRAM) => Kind::Udp(Rc::new(socket.into())),
        _ => return Err(unsuitable()),
    };
    let mut listener = Listener { kind, name: String::new(), _file: None };
    listener.name = match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => network_name(&listener, address),
        (None, Some(path)) => format!("unix:{}", path.display()),
        (None, None) => format!("systemd:{name}"),
    };
    Ok(listener)
}

fn unsuitable(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// A socket from systemd that the tunnel cannot use.
fn passed_wrong(name: &str, carries_datagrams: bool, source: io::Error) -> BindError {
    let needed = match carries_datagrams {
        true => "a socket for datagrams is needed (ListenDatagram=)",
        false => "a listening stream socket is needed (ListenStream=, Accept=no)",
    };
    BindError::Passed { name: name.to_owned(), needed, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;

    /// A separate path for each test, removed at the end.
    struct TestPath(PathBuf);

    impl TestPath {
        fn new(test: &str) -> TestPath {
            TestPath(std::env::temp_dir().join(format!("qssl-listener-{}-{test}", std::process::id())))
        }

        fn listen(&self) -> Listen {
            Listen::Unix { path: self.0.clone(), mode: Some(0o660), owner: None, group: None }
        }
    }

    impl Drop for TestPath {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn tcp(address: &str) -> Listen {
        Listen::Tcp(At::Address(address.parse().unwrap()))
    }

    fn only(bound: Bound) -> Listener {
        let mut listeners = bound.listeners;
        assert_eq!(listeners.len(), 1);
        listeners.remove(0)
    }

    #[test]
    fn a_bare_port_is_loopback_in_both_families_and_nowhere_else() {
        let bound = Listener::bind(&Listen::Tcp(At::Loopback(0)), false).unwrap();
        assert_eq!(bound.warnings, [""; 0]);
        let [v4, v6] = &bound.listeners[..] else { panic!("two listeners expected") };
        let port = v4.local_address().unwrap().port();
        assert_eq!(v4.name(), format!("127.0.0.1:{port}"));
        assert_eq!(v6.name(), format!("[::1]:{port}"));
        for (listener, host) in [(v4, "127.0.0.1"), (v6, "::1")] {
            assert!(listener.accept().unwrap().is_none());
            let peer = TcpStream::connect((host, port)).unwrap();
            let (_, from) = listener.accept().unwrap().unwrap();
            assert_eq!(from, Peer::at(peer.local_addr().unwrap()));
        }
    }

    #[test]
    fn datagrams_come_to_a_bare_port_in_both_families_too() {
        let bound = Listener::bind(&Listen::Udp(At::Loopback(0)), true).unwrap();
        let [v4, v6] = &bound.listeners[..] else { panic!("two sockets expected") };
        let address = v4.local_address().unwrap();
        assert_eq!(v4.name(), format!("udp:127.0.0.1:{}", address.port()));
        assert_eq!(v6.name(), format!("udp:[::1]:{}", address.port()));
        assert!(v4.accept().unwrap().is_none());
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(b"hello", address).unwrap();
        let socket = v4.datagrams().unwrap();
        assert_eq!(socket.recv_from(&mut [0; 8]).unwrap(), (5, peer.local_addr().unwrap()));
        assert_eq!(socket.recv_from(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let error = Listener::bind(&Listen::Udp(At::Address(address)), true).unwrap_err();
        assert!(matches!(error, BindError::InUse(_)), "{error}");
    }

    #[test]
    fn half_of_a_port_that_is_taken_is_no_mere_warning() {
        let other = std::net::TcpListener::bind("[::1]:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let error = Listener::bind(&Listen::Tcp(At::Loopback(port)), false).unwrap_err();
        assert!(matches!(&error, BindError::InUse(name) if *name == format!("[::1]:{port}")), "{error}");
    }

    #[test]
    fn a_port_can_be_taken_again_right_after_its_connections_ended() {
        let listener = only(Listener::bind(&tcp("127.0.0.1:0"), false).unwrap());
        let address = listener.local_address().unwrap();
        let mut peer = TcpStream::connect(address).unwrap();
        // We end first, in order, so TIME_WAIT is on our side.
        let (mut client, _) = listener.accept().unwrap().unwrap();
        client.end_in_order();
        drop(client);
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
        drop(peer);
        drop(listener);
        Listener::bind(&Listen::Tcp(At::Address(address)), false).unwrap();
    }

    #[test]
    fn an_address_of_another_host_is_named_as_such() {
        let error = Listener::bind(&tcp("192.0.2.1:8443"), false).unwrap_err();
        assert!(error.to_string().starts_with("192.0.2.1:8443: this host has no such address"), "{error}");
    }

    #[test]
    fn a_socket_file_is_made_with_its_mode_used_and_removed() {
        let path = TestPath::new("made");
        let listener = only(Listener::bind(&path.listen(), false).unwrap());
        assert_eq!(fs::metadata(&path.0).unwrap().permissions().mode() & 0o777, 0o660);
        let mut peer = UnixStream::connect(&path.0).unwrap();
        peer.write_all(b"hello").unwrap();
        let (mut client, from) = listener.accept().unwrap().unwrap();
        assert_eq!((from, from.ip()), (Peer::Unix, None));
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 5);
        drop(listener);
        assert!(!path.0.exists());
    }

    #[test]
    fn a_file_that_was_put_in_the_place_of_the_socket_is_not_given_away() {
        let path = TestPath::new("exchanged");
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let give = |made: &FileId| made.give_to(Some(uid), Some(gid));
        let _first = std::os::unix::net::UnixListener::bind(&path.0).unwrap();
        let made = FileId::at(&path.0).unwrap();
        give(&made).unwrap();
        let aside = TestPath::new("aside");
        fs::rename(&path.0, &aside.0).unwrap();
        fs::write(&path.0, "precious").unwrap();
        assert!(give(&made).is_err(), "another file");
        fs::remove_file(&path.0).unwrap();
        std::os::unix::fs::symlink(&aside.0, &path.0).unwrap();
        assert!(give(&made).is_err(), "a link to it");
        fs::remove_file(&path.0).unwrap();
        fs::hard_link(&aside.0, &path.0).unwrap();
        assert!(give(&made).is_err(), "it has another name besides");
    }

    #[test]
    fn who_listens_on_a_socket_is_named() {
        let path = TestPath::new("named");
        let _live = only(Listener::bind(&path.listen(), false).unwrap());
        let error = Listener::bind(&path.listen(), false).unwrap_err().to_string();
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
    }

    #[test]
    fn a_stale_socket_file_is_replaced_a_live_one_and_others_are_not() {
        let path = TestPath::new("stale");
        drop(std::os::unix::net::UnixListener::bind(&path.0).unwrap());
        assert!(path.0.exists());
        let live = only(Listener::bind(&path.listen(), false).unwrap());
        assert!(matches!(Listener::bind(&path.listen(), false), Err(BindError::Live { .. })));
        assert!(path.0.exists());
        drop(live);
        fs::write(&path.0, "precious").unwrap();
        assert!(matches!(Listener::bind(&path.listen(), false), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read(&path.0).unwrap(), b"precious");
    }

    #[test]
    fn the_file_of_a_successor_is_left_alone() {
        let path = TestPath::new("successor");
        let first = only(Listener::bind(&path.listen(), false).unwrap());
        fs::remove_file(&path.0).unwrap();
        let _second = only(Listener::bind(&path.listen(), false).unwrap());
        drop(first);
        UnixStream::connect(&path.0).unwrap();
    }

    #[test]
    fn accounts_are_found_by_name_and_number() {
        let path = TestPath::new("accounts");
        assert_eq!(user_id(&path.0, "root").unwrap(), 0);
        assert_eq!(group_id(&path.0, "4711").unwrap(), 4711);
        let error = user_id(&path.0, "nobody-of-that-name").unwrap_err();
        assert!(error.to_string().ends_with("no such user: nobody-of-that-name"), "{error}");
    }

    #[test]
    fn passed_sockets_are_picked_by_name_and_never_removed() {
        let path = TestPath::new("passed");
        let unix = std::os::unix::net::UnixListener::bind(&path.0).unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let file = fs::File::open("/dev/null").unwrap();
        let passed = || {
            [(unix.as_raw_fd(), "a"), (tcp.as_raw_fd(), "b"), (file.as_raw_fd(), "c"), (tcp.as_raw_fd(), "a")]
                .map(|(fd, name)| (fd, name.to_owned()))
                .into_iter()
        };
        let bound = take_passed("a", false, passed()).unwrap();
        let address = tcp.local_addr().unwrap();
        let names: Vec<&str> = bound.listeners.iter().map(Listener::name).collect();
        assert_eq!(names, [format!("unix:{}", path.0.display()), address.to_string()]);
        let _peer = TcpStream::connect(address).unwrap();
        assert!(bound.listeners[0].accept().unwrap().is_none());
        assert!(bound.listeners[1].accept().unwrap().is_some());
        drop(bound);
        assert!(path.0.exists());
        assert_eq!(take_passed("b", false, passed()).unwrap().listeners.len(), 1);
        let error = take_passed("c", false, passed()).unwrap_err();
        assert!(error.to_string().contains("not a listening stream socket"), "{error}");
        let error = take_passed("d", false, passed()).unwrap_err();
        assert!(error.to_string().contains("(a, b, c, a)"), "{error}");
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let passed = || [(udp.as_raw_fd(), "u".to_owned())].into_iter();
        let bound = take_passed("u", true, passed()).unwrap();
        assert_eq!(only(bound).name(), format!("udp:{}", udp.local_addr().unwrap()));
        let error = take_passed("u", false, passed()).unwrap_err();
        assert!(
            error.to_string().ends_with("a listening stream socket is needed (ListenStream=, Accept=no)")
        );
        let stream = [(tcp.as_raw_fd(), "b".to_owned())].into_iter();
        let error = take_passed("b", true, stream).unwrap_err().to_string();
        assert!(error.ends_with("a socket for datagrams is needed (ListenDatagram=)"), "{error}");
        let connected = TcpStream::connect(address).unwrap();
        let error =
            take_passed("e", false, [(connected.as_raw_fd(), "e".to_owned())].into_iter()).unwrap_err();
        assert!(matches!(error, BindError::Passed { .. }), "{error}");
    }
}
