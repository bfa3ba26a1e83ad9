//! A working tunnel in about a hundred lines: `minimal LISTEN TARGET MODEM`, with the modem on a TCP serial
//! server.
//!
//! ```text
//! qssl-modem-emulator --tcp 127.0.0.1:7000
//! cargo run -p qssl-core --example minimal 127.0.0.1:8443 example.org:443 127.0.0.1:7000
//! ```
//! The server is not authenticated here (`Authentication::Insecure`), so this is for learning, not for use.

#![expect(clippy::disallowed_methods, reason = "an event loop is where the clock is read")]

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use qssl_core::settings::{Authentication, Tls, Tunnel};
use qssl_core::{Action, ClientId, ClientInput, Input, ModemAction, PortFacts, PortInput, Relay, Settings};

const LISTENER: Token = Token(usize::MAX);
const PORT: Token = Token(usize::MAX - 1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, target, device] = &arguments[..] else {
        return Err("usage: minimal LISTEN TARGET MODEM".into());
    };
    let tunnel = Arc::new(Tunnel::new("minimal", target.parse()?, Tls::new(Authentication::Insecure)));
    let settings = Settings { tunnels: vec![tunnel.clone()], ..Settings::default() };
    let mut relay = Relay::new(settings, now());
    let mut poll = Poll::new()?;
    let both = Interest::READABLE | Interest::WRITABLE;
    let mut listener = TcpListener::bind(listen.parse()?)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut port: Option<TcpStream> = None;
    let mut clients: Vec<Option<TcpStream>> = Vec::new();
    let mut events = Events::with_capacity(64);
    let mut buffer = [0; 4096];
    loop {
        // Moves everything that can move, and only then waits.
        let mut moved = true;
        while std::mem::take(&mut moved) {
            while let Some(action) = relay.poll_action() {
                moved = true;
                match action {
                    Action::Modem(ModemAction::OpenPort(index)) => {
                        let stream = std::net::TcpStream::connect(device.as_str())?;
                        stream.set_nonblocking(true)?;
                        let mut stream = TcpStream::from_std(stream);
                        poll.registry().register(&mut stream, PORT, both)?;
                        port = Some(stream);
                        let facts =
                            PortFacts { name: device.clone(), is_remote: true, ..PortFacts::default() };
                        relay.handle(Input::Port(index, PortInput::Opened(facts)), now());
                    }
                    Action::Modem(ModemAction::ClosePort(_)) => port = None,
                    Action::Modem(ModemAction::AskQueue(index)) => {
                        relay.handle(Input::Port(index, PortInput::Queue(0)), now())
                    }
                    Action::Modem(ModemAction::TellTime) => {
                        let unix = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
                        relay.handle(Input::HostClock(i64::try_from(unix)?), now());
                    }
                    Action::FinishClient(ClientId(index)) => {
                        // The client may be gone already; the next read shows that.
                        let _ = clients[index].as_ref().map(|stream| stream.shutdown(Shutdown::Write));
                    }
                    Action::CloseClient(ClientId(index)) => clients[index] = None,
                    Action::ResetClient { client: ClientId(index), rest } => {
                        if let Some(mut stream) = clients[index].take() {
                            let _ = stream.write(&rest);
                            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
                        }
                    }
                    Action::AskClient(client) => {
                        relay.handle(Input::Client(client, ClientInput::Queue(0)), now())
                    }
                    Action::Ready => println!("ready"),
                    Action::Stop(kind) => return Err(kind.to_string().into()),
                    _ => {}
                }
            }
            if let Some(stream) = &mut port {
                let wanted = relay.wants_port_bytes(0).min(buffer.len());
                match tried(|| stream.read(&mut buffer[..wanted])).filter(|_| wanted > 0) {
                    Some(Ok(count @ 1..)) => {
                        relay.port_received(0, &buffer[..count], now());
                        moved = true;
                    }
                    Some(_) => return Err("the modem is gone".into()),
                    None => {}
                }
                let output = relay.port_output(0);
                if let Some(Ok(count)) = tried(|| stream.write(output)).filter(|_| !output.is_empty()) {
                    relay.port_written(0, count, now());
                    moved = true;
                }
            }
            while let Some(Ok((mut stream, peer))) = tried(|| listener.accept()) {
                let id = relay.client_accepted(&tunnel, peer.to_string(), now());
                poll.registry().register(&mut stream, Token(id.0), both)?;
                clients.resize_with(clients.len().max(id.0 + 1), || None);
                clients[id.0] = Some(stream);
            }
            for (index, slot) in clients.iter_mut().enumerate() {
                let (id, Some(stream)) = (ClientId(index), &mut *slot) else { continue };
                let output = relay.client_output(id);
                if let Some(Ok(count)) = tried(|| stream.write(output)).filter(|_| !output.is_empty()) {
                    relay.client_written(id, count, now());
                    moved = true;
                }
                let wanted = relay.wants_client_bytes(id).min(buffer.len());
                if wanted > 0 {
                    match tried(|| stream.read(&mut buffer[..wanted])) {
                        Some(Ok(0)) => relay.handle(Input::Client(id, ClientInput::Finished), now()),
                        Some(Ok(count)) => relay.client_received(id, &buffer[..count], now()),
                        Some(Err(_)) => {
                            *slot = None;
                            relay.handle(Input::Client(id, ClientInput::Lost), now());
                        }
                        None => continue,
                    }
                    moved = true;
                }
            }
        }
        poll.poll(&mut events, relay.next_deadline().map(|at| at.saturating_duration_since(now())))?;
        if relay.next_deadline().is_some_and(|at| at <= now()) {
            relay.handle(Input::Deadline, now());
        }
    }
}

/// `None` if it would block.
fn tried<T>(mut io: impl FnMut() -> std::io::Result<T>) -> Option<std::io::Result<T>> {
    match io() {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        done => Some(done),
    }
}

fn now() -> Instant {
    Instant::now()
}
