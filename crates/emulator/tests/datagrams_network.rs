//! Goal of this test: datagrams of the real network keep their boundaries and their senders, and acknowledgements of
//! plain TCP are the kernel's, seen from real sockets.

#![cfg(feature = "openssl")]

mod common;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use common::{Bench, now};
use qssl_modem_emulator::network::{
    Arrival, Close, ConnectionId, ConnectionState, Network, OpenFailure, OpenRequest, Transport,
};

const HOST: &str = "server.example";
const ADDRESS: &str = "192.0.2.7";
const PORT: u16 = 5683;

/// A network in which [`HOST`] and [`ADDRESS`] are this address.
fn bench(server: SocketAddr) -> Bench {
    Bench::new(&[ADDRESS, HOST], PORT, server)
}

fn open(
    bench: &mut Bench,
    host: &str,
    transport: Transport,
    local_port: u16,
) -> Result<ConnectionId, OpenFailure> {
    let id = bench.start(OpenRequest { host: host.into(), port: PORT, tls: None, transport, local_port });
    bench.outcome(id)
}

fn datagram(bench: &mut Bench, id: ConnectionId) -> (Vec<u8>, SocketAddr) {
    bench.until(|network| match network.receive_datagram(id, now()) {
        Arrival::Datagram(bytes, from) => Some((bytes, from)),
        Arrival::Nothing => None,
        end => panic!("{end:?} of a UDP socket"),
    })
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
    let mut bench = bench(address);
    let id = open(&mut bench, HOST, Transport::Udp, 0).expect("it opens");
    for length in [1, 1_460, 7, 1_000] {
        let payload = vec![length as u8; length];
        assert!(bench.network.send_datagram(id, &payload, None, now()));
        let (received, from) = next(&server);
        assert_eq!(received, payload);
        server.send_to(&received, from).expect("it is sent");
        server.send_to(b"", from).expect("it is sent");
        let known: SocketAddr = (Ipv4Addr::new(192, 0, 2, 7), PORT).into();
        assert_eq!(datagram(&mut bench, id), (payload, known));
        assert_eq!(datagram(&mut bench, id), (Vec::new(), known), "an empty datagram is one");
    }
    assert_eq!(bench.network.receive_datagram(id, now()), Arrival::Nothing);
}

#[test]
fn a_server_that_is_not_there_does_not_end_the_socket() {
    let (gone, address) = server();
    drop(gone);
    let mut bench = bench(address);
    let id = open(&mut bench, HOST, Transport::Udp, 0).expect("it opens");
    for _ in 0..3 {
        assert!(bench.network.send_datagram(id, b"anyone?", None, now()));
        assert_eq!(bench.network.receive_datagram(id, now()), Arrival::Nothing);
    }
    let Ok(back) = UdpSocket::bind(address) else { return };
    back.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    // The first send only takes the error of those before.
    let refused = bench.network.send_datagram(id, b"again", None, now());
    assert!(refused && bench.network.send_datagram(id, b"again", None, now()));
    assert_eq!(next(&back).0, b"again");
}

#[test]
fn more_datagrams_than_a_turn_has_all_arrive() {
    let (server, address) = server();
    let mut bench = bench(address);
    let id = open(&mut bench, HOST, Transport::Udp, 0).expect("it opens");
    bench.network.send_datagram(id, b"begin", None, now());
    let (_, client) = next(&server);
    for number in 0..150u8 {
        server.send_to(&[number], client).expect("it is sent");
    }
    let received: Vec<u8> = (0..150).map(|_| datagram(&mut bench, id).0[0]).collect();
    assert_eq!(received, (0..150).collect::<Vec<u8>>());
}

#[test]
fn a_service_hears_from_anyone_and_answers_whom_it_wants() {
    let (first, address) = server();
    let (second, other) = server();
    let mut bench = bench(address);
    let id = open(&mut bench, "0.0.0.0", Transport::UdpService, 0).expect("it opens");
    let ConnectionState::Open { local_port, .. } = bench.network.state(id, now()) else {
        panic!("it is not open")
    };
    first.send_to(b"from the first", (Ipv4Addr::LOCALHOST, local_port)).expect("it is sent");
    let mapped: SocketAddr = (Ipv4Addr::new(192, 0, 2, 7), PORT).into();
    assert_eq!(
        datagram(&mut bench, id),
        (b"from the first".to_vec(), mapped),
        "by the address that it is mapped from"
    );
    second.send_to(b"from the second", (Ipv4Addr::LOCALHOST, local_port)).expect("it is sent");
    assert_eq!(datagram(&mut bench, id), (b"from the second".to_vec(), other));
    for (to, server) in [(mapped, &first), (other, &second)] {
        assert!(bench.network.send_datagram(id, b"answer", Some(to), now()));
        let (answer, from) = next(server);
        assert_eq!((answer.as_slice(), from.port()), (&b"answer"[..], local_port));
    }
    assert_eq!(open(&mut bench, "0.0.0.0", Transport::UdpService, local_port), Err(OpenFailure::Bind));
    bench.network.close(id, Close::Orderly, now());
    assert!(open(&mut bench, "0.0.0.0", Transport::UdpService, local_port).is_ok());
}

#[test]
fn bytes_of_tcp_are_acknowledged_when_the_server_has_taken_them() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let mut bench = bench(listener.local_addr().expect("an address"));
    let id = open(&mut bench, HOST, Transport::Tcp, 0).expect("it opens");
    let (mut stream, _) = listener.accept().expect("a connection");
    assert_eq!(bench.network.send(id, b"hello", now()), 5);
    bench.until(|network| (network.unacknowledged(id, now()) == 0).then_some(()));
    // A server that does not read acknowledges what its kernel has room for, and no more.
    let mut sent = 5;
    while sent < 32 << 20 {
        match bench.network.send(id, &[7; 16_384], now()) {
            0 => break,
            count => sent += count,
        }
    }
    assert!(sent < 32 << 20 && bench.network.unacknowledged(id, now()) > 0);
    let mut read = 0;
    let mut buffer = [0; 65_536];
    bench.until(|network| {
        stream.set_nonblocking(true).expect("it can be set");
        while let Ok(count) = stream.read(&mut buffer) {
            read += count;
        }
        (read == sent && network.unacknowledged(id, now()) == 0).then_some(())
    });
}
