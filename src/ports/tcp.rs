//! A TCP connection as a port, made without waiting.
//!
//! It is used raw for `tcp://`, and below the Telnet framing of `rfc2217`. A name can have several addresses; they
//! are tried one after the other until one answers. The system's name look-up blocks until a name server answers, so
//! it runs on a separate thread.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc;
use std::time::Duration;

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::{OpenError, ioctl, retry_interrupted};
use crate::config::Target;

/// An idle connection is probed after this time, and given up after four more such intervals without an answer,
/// so that a device server without power is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A connection that is made or is being made.
#[derive(Debug)]
pub struct Connection {
    stage: Stage,
    name: String,
    /// Addresses that have not been tried.
    rest: VecDeque<SocketAddr>,
    /// Where to register the next attempt.
    registration: Option<(Registry, Token)>,
}

#[derive(Debug)]
enum Stage {
    LookingUp(Lookup),
    Stream { stream: TcpStream, is_connected: bool },
}

/// A name that is being looked up.
#[derive(Debug)]
struct Lookup {
    result: mpsc::Receiver<(io::Result<Vec<SocketAddr>>, std::os::unix::net::UnixStream)>,
    /// Becomes readable with the result.
    bell: UnixStream,
}

impl Lookup {
    fn begin(look_up: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static) -> io::Result<Lookup> {
        let (bell, mut ringer) = std::os::unix::net::UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let bell = UnixStream::from_std(bell);
        // A copy keeps this end open until the result is taken: its close would be taken for the end of the port.
        let other_end = ringer.try_clone()?;
        let (sender, result) = mpsc::channel();
        std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
            let found = look_up();
            // The other side may be gone.
            if sender.send((found, other_end)).is_ok() {
                let _ = ringer.write(b"!");
            }
        })?;
        Ok(Lookup { result, bell })
    }

    fn result(&self) -> Option<io::Result<Vec<SocketAddr>>> {
        match self.result.try_recv() {
            Ok((found, _)) => Some(found),
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Disconnected) => Some(Err(io::ErrorKind::NotFound.into())),
        }
    }
}

impl Stage {
    fn connecting(stream: TcpStream) -> Stage {
        Stage::Stream { stream, is_connected: false }
    }

    fn source(&mut self) -> &mut dyn mio::event::Source {
        match self {
            Stage::LookingUp(lookup) => &mut lookup.bell,
            Stage::Stream { stream, .. } => stream,
        }
    }
}

impl Connection {
    /// Begins to connect to `server`; `scheme` is used only for the name in messages.
    ///
    /// # Errors
    /// [`OpenError::Unreachable`] if the system refuses the address at once.
    pub fn open(scheme: &str, server: &Target) -> Result<Connection, OpenError> {
        let name = format!("{scheme}://{server}");
        let unreachable = |source| OpenError::Unreachable { name: name.clone(), source };
        let stage = match server.host.as_str().parse::<IpAddr>() {
            Ok(address) => TcpStream::connect(SocketAddr::new(address, server.port)).map(Stage::connecting),
            Err(_) => {
                let (host, port) = (server.host.clone(), server.port);
                let look_up = move || Ok((host.as_str(), port).to_socket_addrs()?.collect());
                Lookup::begin(look_up).map(Stage::LookingUp)
            }
        };
        let stage = stage.map_err(unreachable)?;
        Ok(Connection { stage, name, rest: VecDeque::new(), registration: None })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.registration = Some((registry.try_clone()?, token));
        registry.register(self.stage.source(), token, Interest::READABLE | Interest::WRITABLE)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.registration = None;
        registry.deregister(self.stage.source())
    }

    pub(super) fn finish_connecting(&mut self) -> io::Result<bool> {
        loop {
            let error = match &mut self.stage {
                Stage::Stream { is_connected: true, .. } => return Ok(true),
                Stage::LookingUp(lookup) => {
                    let Some(found) = lookup.result() else { return Ok(false) };
                    self.rest = found?.into();
                    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
                }
                Stage::Stream { stream, is_connected } => match (stream.take_error()?, stream.peer_addr()) {
                    (Some(error), _) => error,
                    (None, Ok(_)) => {
                        *is_connected = true;
                        set_options(stream)?;
                        return Ok(true);
                    }
                    (None, Err(error)) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
                    (None, Err(error)) => error,
                },
            };
            if self.rest.is_empty() {
                return Err(error);
            }
            let next = Stage::connecting(connect_first(&mut self.rest)?);
            let mut before = std::mem::replace(&mut self.stage, next);
            if let Some((registry, token)) = &self.registration {
                registry.deregister(before.source())?;
                registry.register(self.stage.source(), *token, Interest::READABLE | Interest::WRITABLE)?;
            }
        }
    }

    fn stream(&mut self) -> io::Result<&mut TcpStream> {
        match (self.finish_connecting()?, &mut self.stage) {
            (true, Stage::Stream { stream, .. }) => Ok(stream),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = self.stream()?;
        match retry_interrupted(|| stream.read(buffer))? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server has closed the connection")),
            count => {
                // Device servers send the modem's output in small pieces and, unless configured otherwise,
                // delay the next piece until the last is acknowledged (Nagle): a late acknowledgement would
                // make every answer take 40 ms. The system resets this option, so it is set every time.
                let _ = rustix::net::sockopt::set_tcp_quickack(&*stream, true);
                Ok(count)
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stream = self.stream()?;
        retry_interrupted(|| stream.write(bytes))
    }

    pub(super) fn output_queued(&self) -> usize {
        match &self.stage {
            Stage::LookingUp(_) => 0,
            Stage::Stream { stream, .. } => ioctl::output_queued(stream).unwrap_or(0),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    // Commands are small, and each waits for its answer.
    stream.set_nodelay(true)?;
    let keepalive =
        socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(4);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Begins to connect to the first address that is not refused at once.
fn connect_first(addresses: &mut VecDeque<SocketAddr>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    while let Some(address) = addresses.pop_front() {
        match TcpStream::connect(address) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::super::{Port, PortSettings};
    use super::*;
    use crate::config::Device;
    use mio::{Events, Poll};
    use std::net::TcpListener;

    const SETTINGS: PortSettings = PortSettings { baud: 115_200, flow_control: None };

    fn server(port: u16) -> Target {
        format!("127.0.0.1:{port}").parse().expect("an address and a port")
    }

    /// Waits for mio until `step` has a result.
    fn wait<T>(poll: &mut Poll, mut step: impl FnMut() -> Option<T>) -> T {
        let mut events = Events::with_capacity(8);
        loop {
            if let Some(result) = step() {
                return result;
            }
            poll.poll(&mut events, None).unwrap();
        }
    }

    #[test]
    fn bytes_pass_as_they_are_and_the_end_is_a_lost_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        let mut poll = Poll::new().unwrap();
        let mut port = Port::open(&Device::Tcp(server(number)), &SETTINGS).unwrap();
        port.register(poll.registry(), Token(1)).unwrap();
        assert_eq!(port.name(), format!("tcp://127.0.0.1:{number}"));

        wait(&mut poll, || port.finish_connecting().unwrap().then_some(()));
        let (mut modem, _) = listener.accept().unwrap();
        assert_eq!(port.write(b"AT\xff\r").unwrap(), 4);
        let mut received = [0; 4];
        modem.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"AT\xff\r");
        modem.write_all(b"OK").unwrap();
        drop(modem);

        let mut buffer = [0; 16];
        let count = wait(&mut poll, || port.read(&mut buffer).ok());
        assert_eq!(&buffer[..count], b"OK");
        let error = wait(&mut poll, || {
            port.read(&mut buffer).err().filter(|error| error.kind() != io::ErrorKind::WouldBlock)
        });
        assert!(error.to_string().contains("port lost: the server has closed the connection"), "{error}");
        assert!(port.lines().is_err());
    }

    #[test]
    fn a_refused_connection_is_told_with_its_address() {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut poll = Poll::new().unwrap();
        let message = match Port::open(&Device::Tcp(server(unused)), &SETTINGS) {
            Err(error) => error.to_string(),
            Ok(mut port) => {
                port.register(poll.registry(), Token(1)).unwrap();
                let source = wait(&mut poll, || port.finish_connecting().err());
                OpenError::Unreachable { name: port.name().to_owned(), source }.to_string()
            }
        };
        let name = format!("tcp://127.0.0.1:{unused}: ");
        assert!(message.starts_with(&name) && message.matches(&name).count() == 1, "{message}");
        assert!(message.contains("refused"), "{message}");
    }

    #[test]
    fn the_next_address_is_tried_when_the_first_refuses() {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut rest = VecDeque::from([unused, listener.local_addr().unwrap()]);
        let stage = Stage::connecting(connect_first(&mut rest).unwrap());
        let mut connection = Connection { stage, name: "tcp://test".to_owned(), rest, registration: None };
        let mut poll = Poll::new().unwrap();
        connection.register(poll.registry(), Token(1)).unwrap();
        wait(&mut poll, || connection.finish_connecting().unwrap().then_some(()));
        assert_eq!(connection.write(b"AT\r").unwrap(), 3);
    }

    #[test]
    fn a_name_server_that_does_not_answer_holds_nobody_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, asked) = mpsc::channel();
        let lookup = Lookup::begin(move || asked.recv().map_err(io::Error::other)).unwrap();
        let mut connection = Connection {
            stage: Stage::LookingUp(lookup),
            name: "tcp://test".to_owned(),
            rest: VecDeque::new(),
            registration: None,
        };
        let mut poll = Poll::new().unwrap();
        connection.register(poll.registry(), Token(1)).unwrap();
        assert!(!connection.finish_connecting().unwrap());
        assert_eq!(connection.write(b"AT").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        answer.send(vec![address]).unwrap();
        wait(&mut poll, || connection.finish_connecting().unwrap().then_some(()));
        assert_eq!(connection.write(b"AT\r").unwrap(), 3);
    }

    #[test]
    fn a_name_is_looked_up_and_one_that_does_not_exist_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        let mut poll = Poll::new().unwrap();
        for (host, exists) in [("localhost", true), ("does-not-exist.invalid", false)] {
            let server = format!("{host}:{number}").parse().expect("a name and a port");
            let mut connection = Connection::open("tcp", &server).unwrap();
            connection.register(poll.registry(), Token(1)).unwrap();
            let connected = wait(&mut poll, || match connection.finish_connecting() {
                Ok(false) => None,
                result => Some(result.is_ok()),
            });
            assert_eq!(connected, exists, "{host}");
        }
    }
}
