//! A working tunnel in about a hundred lines: `minimal LISTEN TARGET MODEM`, with the modem on a TCP serial server.
//!
//! ```text
//! qssl-modem-emulator --tcp 127.0.0.1:7000
//! cargo run -p qssl-core --example minimal 127.0.0.1:8443 example.org:443 127.0.0.1:7000
//! ```
//! The server is not authenticated here (`Authentication::Insecure`), so this is for learning, not for use.

#![expect(clippy::disallowed_methods, reason = "an event loop is where the clock is read")]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use qssl_core::settings::{Authentication, Tls, Tunnel};
use qssl_core::{Action, ClientId, ClientInput, Input, ModemAction, PortFacts, PortInput, Relay, Settings};

/// Events only wake the loop, which then tries every stream: one token is enough.
const WAKE: Token = Token(0);

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, target, device] = &arguments[..] else {
        return Err("usage: minimal LISTEN TARGET MODEM".into());
    };
    let tunnel = Arc::new(Tunnel::new("minimal", target.parse()?, Tls::new(Authentication::Insecure)));
    let mut relay = Relay::new(Settings { tunnels: vec![tunnel.clone()], ..Settings::default() }, now());
    let mut poll = Poll::new()?;
    let both = Interest::READABLE | Interest::WRITABLE;
    let mut listener = TcpListener::bind(listen.parse()?)?;
    poll.registry().register(&mut listener, WAKE, Interest::READABLE)?;
    let mut port: Option<TcpStream> = None;
    let mut clients: BTreeMap<ClientId, TcpStream> = BTreeMap::new();
    let (mut events, mut buffer) = (Events::with_capacity(64), [0; 4096]);
    loop {
        // Moves everything that can move, and only then waits.
        let mut moved = true;
        while std::mem::take(&mut moved) {
            while let Some(action) = relay.poll_action() {
                moved = true;
                match action {
                    Action::Modem(ModemAction::OpenPort(index)) => {
                        let stream = std::net::TcpStream::connect(device)?;
                        stream.set_nonblocking(true)?;
                        poll.registry().register(port.insert(TcpStream::from_std(stream)), WAKE, both)?;
                        let facts = PortFacts { name: device.clone(), is_remote: true, ..Default::default() };
                        relay.handle(Input::Port(index, PortInput::Opened(facts)), now());
                    }
                    Action::Modem(ModemAction::ClosePort(_)) => port = None,
                    Action::Modem(ModemAction::AskQueue(index)) => {
                        relay.handle(Input::Port(index, PortInput::Queue(0)), now());
                    }
                    Action::Modem(ModemAction::TellTime) => {
                        let unix = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
                        relay.handle(Input::HostClock(unix.try_into()?), now());
                    }
                    Action::FinishClient(id) => {
                        // The client may be gone already; the next read shows that.
                        let _ = clients.get(&id).map(|stream| stream.shutdown(Shutdown::Write));
                    }
                    Action::CloseClient(id) => drop(clients.remove(&id)),
                    Action::ResetClient { client, rest } => {
                        if let Some(mut stream) = clients.remove(&client) {
                            let _ = stream.write(&rest);
                            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                        }
                    }
                    Action::AskClient(id) => relay.handle(Input::Client(id, ClientInput::Queue(0)), now()),
                    Action::Ready => println!("ready"),
                    Action::Stop(kind) => return Err(kind.to_string().into()),
                    _ => {}
                }
            }
            while let Ok((mut stream, peer)) = listener.accept() {
                poll.registry().register(&mut stream, WAKE, both)?;
                clients.insert(relay.client_accepted(&tunnel, peer.to_string(), now()), stream);
                moved = true;
            }
            if let Some(stream) = &mut port {
                if let Some(count) = write(stream, relay.port_output(0))? {
                    relay.port_written(0, count, now());
                    moved = true;
                }
                if let Some(count) = read(stream, &mut buffer, relay.wants_port_bytes(0))? {
                    if count == 0 {
                        return Err("the modem is gone".into());
                    }
                    relay.port_received(0, &buffer[..count], now());
                    moved = true;
                }
            }
            clients.retain(|&id, stream| {
                if let Ok(Some(count)) = write(stream, relay.client_output(id)) {
                    relay.client_written(id, count, now());
                    moved = true;
                }
                let result = read(stream, &mut buffer, relay.wants_client_bytes(id));
                moved |= !matches!(result, Ok(None));
                match result {
                    Ok(None) => {}
                    Ok(Some(0)) => relay.handle(Input::Client(id, ClientInput::Finished), now()),
                    Ok(Some(count)) => relay.client_received(id, &buffer[..count], now()),
                    Err(_) => relay.handle(Input::Client(id, ClientInput::Lost), now()),
                }
                result.is_ok()
            });
        }
        poll.poll(&mut events, relay.next_deadline().map(|at| at.saturating_duration_since(now())))?;
        if relay.next_deadline().is_some_and(|at| at <= now()) {
            relay.handle(Input::Deadline, now());
        }
    }
}

/// Reads at most `wanted` bytes; `None` if there is nothing to read now.
fn read(stream: &mut TcpStream, buffer: &mut [u8], wanted: usize) -> Result<Option<usize>> {
    let wanted = wanted.min(buffer.len());
    if wanted == 0 { Ok(None) } else { unless_blocked(stream.read(&mut buffer[..wanted])) }
}

/// Writes what there is room for; `None` if there is nothing to write, or no room.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<Option<usize>> {
    if bytes.is_empty() { Ok(None) } else { unless_blocked(stream.write(bytes)) }
}

fn unless_blocked<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}

fn now() -> Instant {
    Instant::now()
}
