//! A TCP connection as a port, made without waiting.
//!
//! Used raw for `tcp://` and below the Telnet framing of `rfc2217`. A name can stand for several
//! addresses; they are tried one after the other until one answers.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::{OpenError, ioctl};
use crate::config::HostPort;

/// An idle connection is probed after this time and given up after four more such times without an
/// answer, so that a device server that has lost its power is noticed.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A connection that stands or is being made.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    name: String,
    is_connected: bool,
    /// Addresses that have not been tried.
    rest: VecDeque<SocketAddr>,
    /// Where to register the next attempt.
    registration: Option<(Registry, Token)>,
}

impl Connection {
    /// Begins to connect to `server`; `scheme` is only for the name in messages.
    ///
    /// # Errors
    /// [`OpenError::Unreachable`] when the name has no address or the system refuses all of them at once.
    pub fn open(scheme: &str, server: &HostPort) -> Result<Connection, OpenError> {
        let name = match server.host.contains(':') {
            true => format!("{scheme}://[{}]:{}", server.host, server.port),
            false => format!("{scheme}://{}:{}", server.host, server.port),
        };
        let unreachable = |source| OpenError::Unreachable { name: name.clone(), source };
        let addresses = (server.host.as_str(), server.port).to_socket_addrs().map_err(unreachable)?;
        let mut rest: VecDeque<SocketAddr> = addresses.collect();
        let stream = connect_first(&mut rest).map_err(unreachable)?;
        Ok(Connection { stream, name, is_connected: false, rest, registration: None })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.registration = Some((registry.try_clone()?, token));
        registry.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.registration = None;
        registry.deregister(&mut self.stream)
    }

    pub(super) fn finish_connecting(&mut self) -> io::Result<bool> {
        while !self.is_connected {
            let error = match self.stream.take_error()? {
                Some(error) => error,
                None => match self.stream.peer_addr() {
                    Ok(_) => break,
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
                    Err(error) => error,
                },
            };
            if self.rest.is_empty() {
                return Err(error);
            }
            // Closing the old stream ends its registration.
            self.stream = connect_first(&mut self.rest)?;
            if let Some((registry, token)) = &self.registration {
                registry.register(&mut self.stream, *token, Interest::READABLE | Interest::WRITABLE)?;
            }
        }
        if !self.is_connected {
            self.is_connected = true;
            // Commands are small and each waits for its answer.
            self.stream.set_nodelay(true)?;
            let keepalive =
                socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(4);
            socket2::SockRef::from(&self.stream).set_tcp_keepalive(&keepalive)?;
        }
        Ok(true)
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.finish_connecting()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match retry_interrupted(|| self.stream.read(buffer))? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server has closed the connection")),
            count => {
                // Device servers send what the modem says in small pieces and, unless told otherwise, hold
                // the next piece back until the last is acknowledged (Nagle): a late acknowledgement would
                // make every answer take 40 ms. The system forgets this setting, hence every time.
                let _ = rustix::net::sockopt::set_tcp_quickack(&self.stream, true);
                Ok(count)
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.finish_connecting()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        retry_interrupted(|| self.stream.write(bytes))
    }

    pub(super) fn output_queued(&self) -> usize {
        ioctl::output_queued(&self.stream).unwrap_or(0)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Begins to connect to the first address that is not refused on the spot.
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

fn retry_interrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Port, PortSettings};
    use super::*;
    use crate::config::Device;
    use mio::{Events, Poll};
    use std::net::TcpListener;

    const SETTINGS: PortSettings = PortSettings { baud: 115_200, flow_control: None };

    fn server(port: u16) -> HostPort {
        HostPort { host: "127.0.0.1".to_owned(), port }
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
        let stream = connect_first(&mut rest).unwrap();
        let mut connection = Connection {
            stream,
            name: "tcp://test".to_owned(),
            is_connected: false,
            rest,
            registration: None,
        };
        let mut poll = Poll::new().unwrap();
        connection.register(poll.registry(), Token(1)).unwrap();
        wait(&mut poll, || connection.finish_connecting().unwrap().then_some(()));
        assert_eq!(connection.write(b"AT\r").unwrap(), 3);
    }
}
