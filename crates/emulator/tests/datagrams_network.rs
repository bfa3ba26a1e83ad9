//! Goal of this test: datagrams of the real network keep their boundaries and their senders, and acknowledgements of
//! plain TCP are the kernel's, seen from real sockets.

#![cfg(feature = "openssl")]

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use qssl_modem_emulator::network::real::{Mapping, RealNetwork};
use qssl_modem_emulator::network::{
    Arrival, Close, ConnectionId, ConnectionState, Network, OpenFailure, OpenRequest, Transport,
};

const HOST: &str = "server.example";
const ADDRESS: &str = "192.0.2.7";
const PORT: u16 = 5683;

/// The network under test and its poll.
struct World {
    poll: Poll,
    network: RealNetwork,
    opened: u64,
}

impl World {
    /// A world in which [`HOST`] and [`ADDRESS`] are this address.
    fn new(server: SocketAddr) -> World {
        let mapping = |host: &str| Mapping { host: host.into(), port: PORT, address: server };
        let poll = Poll::new().expect("a poll");
        let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
        let registry = poll.registry().try_clone().expect("a registry");
        let mappings = vec![mapping(ADDRESS), mapping(HOST)];
        let network = RealNetwork::new(registry, Arc::new(waker), 1, mappings);
        World { poll, network, opened: 0 }
    }

    fn open(
        &mut self,
        host: &str,
        transport: Transport,
        local_port: u16,
    ) -> Result<ConnectionId, OpenFailure> {
        self.opened += 1;
        let id = ConnectionId(self.opened);
        let request = OpenRequest { host: host.into(), port: PORT, tls: None, transport, local_port };
        self.network.open(id, request, now());
        self.until(|network| match network.state(id, now()) {
            ConnectionState::Opening => None,
            ConnectionState::Open { .. } => Some(Ok(id)),
            ConnectionState::Failed(failure) => Some(Err(failure)),
        })
    }

    /// Turns the poll until `question` is answered.
    fn until<T>(&mut self, mut question: impl FnMut(&mut RealNetwork) -> Option<T>) -> T {
        let give_up = now() + Duration::from_secs(30);
        loop {
            if let Some(answer) = question(&mut self.network) {
                return answer;
            }
            assert!(now() < give_up, "nothing came within 30 s");
            let mut events = Events::with_capacity(64);
            let due = self.network.next_deadline().map(|deadline| deadline.saturating_duration_since(now()));
            let patience = Duration::from_millis(20).min(due.unwrap_or(Duration::MAX));
            self.poll.poll(&mut events, Some(patience)).expect("polling works");
            for event in &events {
                if !self.network.handle_event(event, now()) {
                    self.network.woken(now());
                }
            }
            self.network.deadline_passed(now());
        }
    }

    fn datagram(&mut self, id: ConnectionId) -> (Vec<u8>, SocketAddr) {
        self.until(|network| match network.receive_datagram(id, now()) {
            Arrival::Datagram(bytes, from) => Some((bytes, from)),
            Arrival::Nothing => None,
            end => panic!("{end:?} of a UDP socket"),
        })
    }
}

fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "real sockets live in real time")]
    Instant::now()
}

/// A UDP socket of a server, which waits at most 30 s.
fn server() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

fn next(server: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2_048];
    let (count, from) = server.recv_from(&mut buffer).expect("a datagram comes");
    (buffer[..count].to_vec(), from)
}

#[test]
fn one_send_is_one_datagram_both_ways() {
    let (server, address) = server();
    let mut world = World::new(address);
    let id = world.open(HOST, Transport::Udp, 0).expect("it opens");
    for length in [1, 1_460, 7, 1_000] {
        let payload = vec![length as u8; length];
        assert!(world.network.send_datagram(id, &payload, None, now()));
        let (received, from) = next(&server);
        assert_eq!(received, payload);
        server.send_to(&received, from).expect("it is sent");
        server.send_to(b"", from).expect("it is sent");
        let known: SocketAddr = (Ipv4Addr::new(192, 0, 2, 7), PORT).into();
        assert_eq!(world.datagram(id), (payload, known));
        assert_eq!(world.datagram(id), (Vec::new(), known), "an empty datagram is one");
    }
    assert_eq!(world.network.receive_datagram(id, now()), Arrival::Nothing);
}

#[test]
fn a_server_that_is_not_there_does_not_end_the_socket() {
    let (gone, address) = server();
    drop(gone);
    let mut world = World::new(address);
    let id = world.open(HOST, Transport::Udp, 0).expect("it opens");
    for _ in 0..3 {
        assert!(world.network.send_datagram(id, b"anyone?", None, now()));
        assert_eq!(world.network.receive_datagram(id, now()), Arrival::Nothing);
    }
    let Ok(back) = UdpSocket::bind(address) else { return };
    back.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    // The first send only takes the error of those before.
    let refused = world.network.send_datagram(id, b"again", None, now());
    assert!(refused && world.network.send_datagram(id, b"again", None, now()));
    assert_eq!(next(&back).0, b"again");
}

#[test]
fn more_datagrams_than_a_turn_has_all_arrive() {
    let (server, address) = server();
    let mut world = World::new(address);
    let id = world.open(HOST, Transport::Udp, 0).expect("it opens");
    world.network.send_datagram(id, b"begin", None, now());
    let (_, client) = next(&server);
    for number in 0..150u8 {
        server.send_to(&[number], client).expect("it is sent");
    }
    let received: Vec<u8> = (0..150).map(|_| world.datagram(id).0[0]).collect();
    assert_eq!(received, (0..150).collect::<Vec<u8>>());
}

#[test]
fn a_service_hears_from_anyone_and_answers_whom_it_wants() {
    let (first, address) = server();
    let (second, other) = server();
    let mut world = World::new(address);
    let id = world.open("0.0.0.0", Transport::UdpService, 0).expect("it opens");
    let ConnectionState::Open { local_port, .. } = world.network.state(id, now()) else {
        panic!("it is not open")
    };
    first.send_to(b"from the first", (Ipv4Addr::LOCALHOST, local_port)).expect("it is sent");
    let mapped: SocketAddr = (Ipv4Addr::new(192, 0, 2, 7), PORT).into();
    assert_eq!(
        world.datagram(id),
        (b"from the first".to_vec(), mapped),
        "by the address that it is mapped from"
    );
    second.send_to(b"from the second", (Ipv4Addr::LOCALHOST, local_port)).expect("it is sent");
    assert_eq!(world.datagram(id), (b"from the second".to_vec(), other));
    for (to, server) in [(mapped, &first), (other, &second)] {
        assert!(world.network.send_datagram(id, b"answer", Some(to), now()));
        let (answer, from) = next(server);
        assert_eq!((answer.as_slice(), from.port()), (&b"answer"[..], local_port));
    }
    assert_eq!(world.open("0.0.0.0", Transport::UdpService, local_port), Err(OpenFailure::Bind));
    world.network.close(id, Close::Orderly, now());
    assert!(world.open("0.0.0.0", Transport::UdpService, local_port).is_ok());
}

#[test]
fn bytes_of_tcp_are_acknowledged_when_the_server_has_taken_them() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let mut world = World::new(listener.local_addr().expect("an address"));
    let id = world.open(HOST, Transport::Tcp, 0).expect("it opens");
    let (mut stream, _) = listener.accept().expect("a connection");
    assert_eq!(world.network.send(id, b"hello", now()), 5);
    world.until(|network| (network.unacknowledged(id, now()) == 0).then_some(()));
    // A server that does not read acknowledges what its kernel has room for, and no more.
    let mut sent = 5;
    while sent < 32 << 20 {
        match world.network.send(id, &[7; 16_384], now()) {
            0 => break,
            count => sent += count,
        }
    }
    assert!(sent < 32 << 20 && world.network.unacknowledged(id, now()) > 0);
    let mut read = 0;
    let mut buffer = [0; 65_536];
    world.until(|network| {
        stream.set_nonblocking(true).expect("it can be set");
        while let Ok(count) = stream.read(&mut buffer) {
            read += count;
        }
        (read == sent && network.unacknowledged(id, now()) == 0).then_some(())
    });
}
