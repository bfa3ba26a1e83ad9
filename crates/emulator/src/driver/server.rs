//! A serial port of the modem that is reached by TCP: raw, or with the COM port option of RFC 2217.
//!
//! It serves one client at a time, as a real port does; a second one is turned away. What the modem sends while
//! no client is connected is lost.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::Context;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use super::PortLocation;
use super::telnet::{Request, Telnet, escape};
use crate::modem::ModemLines;

/// A listening port and its client.
pub(super) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    protocol: Protocol,
    client_token: Token,
    client: Option<Client>,
    lines: ModemLines,
}

/// How bytes are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// As they are.
    Raw,
    /// Telnet with the COM port option.
    Rfc2217,
}

struct Client {
    stream: TcpStream,
    telnet: Option<Telnet>,
    /// Bytes ready for the network, escaped, that it has not taken yet.
    outgoing: Vec<u8>,
    /// Payload that did not fit into the caller's buffer.
    incoming: Vec<u8>,
    requests: Vec<Request>,
    suspended: bool,
}

impl Server {
    /// Listens, with tokens for the listener and for the client.
    pub(super) fn bind(
        address: SocketAddr,
        protocol: Protocol,
        registry: &Registry,
        tokens: [Token; 2],
    ) -> anyhow::Result<Self> {
        let mut listener =
            TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let [listener_token, client_token] = tokens;
        registry.register(&mut listener, listener_token, Interest::READABLE)?;
        Ok(Server { listener, address, protocol, client_token, client: None, lines: ModemLines::default() })
    }

    /// Where it listens.
    pub(super) fn location(&self) -> PortLocation {
        match self.protocol {
            Protocol::Raw => PortLocation::Tcp(self.address),
            Protocol::Rfc2217 => PortLocation::Rfc2217(self.address),
        }
    }

    /// Whether the protocol transmits DTR and RTS; raw TCP does not.
    pub(super) fn carries_lines(&self) -> bool {
        self.protocol == Protocol::Rfc2217
    }

    /// DTR and RTS as the client last asked for them.
    pub(super) fn host_lines(&self) -> (bool, bool) {
        let telnet = self.client.as_ref().and_then(|client| client.telnet.as_ref());
        telnet.map_or((false, false), Telnet::host_lines)
    }

    /// Accepts all waiting connections; true when one of them is now the client.
    pub(super) fn accept(&mut self, registry: &Registry, baud: u32) -> bool {
        let mut connected = false;
        loop {
            match self.listener.accept() {
                Ok((_, peer)) if self.client.is_some() => {
                    log::warn!("{peer} turned away, the port {} has a client already", self.address);
                }
                Ok((mut stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    if let Err(error) = registry.register(&mut stream, self.client_token, interest) {
                        log::warn!("{peer} turned away: {error}");
                        continue;
                    }
                    log::info!("{peer} connected to the port {}", self.address);
                    let telnet = (self.protocol == Protocol::Rfc2217).then(|| Telnet::new(baud, self.lines));
                    self.client = Some(Client {
                        stream,
                        telnet,
                        outgoing: Vec::new(),
                        incoming: Vec::new(),
                        requests: Vec::new(),
                        suspended: false,
                    });
                    connected = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    if error.kind() != ErrorKind::WouldBlock {
                        log::warn!("port {} cannot accept: {error}", self.address);
                    }
                    return connected;
                }
            }
        }
    }

    /// Reads payload; 0 when there were only requests. Fails once with "not connected" when the client has gone.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(client) = &mut self.client else { return Err(ErrorKind::WouldBlock.into()) };
        let outcome = client.read(buffer);
        match outcome {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(self.lose_client(&error)),
            outcome => outcome,
        }
    }

    /// Writes payload. Without a client, all of it is taken and lost.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(client) = &mut self.client else { return Ok(bytes.len()) };
        match client.write(bytes) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(self.lose_client(&error)),
            outcome => outcome,
        }
    }

    /// Sends what is ready. There may be Telnet answers even when there is no payload.
    pub(super) fn flush(&mut self) {
        if let Some(client) = &mut self.client {
            // A client that has gone is noticed by the next read.
            let _ = client.flush();
        }
    }

    /// What the client has asked for since the last call.
    pub(super) fn requests(&mut self) -> Vec<Request> {
        self.client.as_mut().map(|client| std::mem::take(&mut client.requests)).unwrap_or_default()
    }

    /// Reports the modem's lines to the client.
    pub(super) fn set_lines(&mut self, lines: ModemLines) {
        if lines == self.lines {
            return;
        }
        self.lines = lines;
        if let Some(client) = &mut self.client
            && let Some(telnet) = &mut client.telnet
        {
            telnet.set_lines(lines);
            self.flush();
        }
    }

    fn lose_client(&mut self, error: &io::Error) -> io::Error {
        self.client = None;
        log::info!("the client of port {} has gone: {error}", self.address);
        ErrorKind::NotConnected.into()
    }
}

impl Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(telnet) = &mut self.telnet else {
            return match self.stream.read(buffer)? {
                0 => Err(ErrorKind::UnexpectedEof.into()),
                count => Ok(count),
            };
        };
        // Decoded payload is never longer than its encoding, so a full buffer fits.
        while self.incoming.is_empty() {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            telnet.received(&buffer[..count], &mut self.incoming, &mut self.requests);
            self.outgoing.append(telnet.replies());
            for request in &self.requests {
                match request {
                    Request::Suspend(suspended) => self.suspended = *suspended,
                    Request::PurgeTowardsModem => self.incoming.clear(),
                    _ => {}
                }
            }
            if self.outgoing.len() > OUTGOING_LIMIT_BYTES {
                return Err(io::Error::other("client asks and does not read the answers"));
            }
            if !self.requests.is_empty() {
                break;
            }
        }
        let _ = self.flush();
        let count = self.incoming.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.incoming[..count]);
        self.incoming.drain(..count);
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        if !self.outgoing.is_empty() || self.suspended {
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.telnet.is_none() {
            return self.stream.write(bytes);
        }
        let chunk = &bytes[..bytes.len().min(CHUNK_BYTES)];
        escape(chunk, &mut self.outgoing);
        self.flush()?;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(telnet) = &mut self.telnet {
            self.outgoing.append(telnet.replies());
        }
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Most payload bytes escaped at once.
const CHUNK_BYTES: usize = 4096;
/// Most bytes of answers that wait for the client to read them.
const OUTGOING_LIMIT_BYTES: usize = 65_536;
