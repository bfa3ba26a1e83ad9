//! Goal of this test: the DTLS settings of the modem have their real effect on the wire, seen from a real server: its
//! versions, verification, lost flights, and records that stay apart.

#![cfg(feature = "openssl")]

mod common;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Bench, now};
use openssl::pkey::PKey;
use openssl::ssl::{ErrorCode, Ssl, SslContext, SslMethod, SslStream, SslVersion};
use openssl::x509::X509;
use qssl_modem_emulator::network::{
    Arrival, Close, ConnectionId, Network, OpenFailure, OpenRequest, TlsParameters, Transport,
};
use qssl_modem_emulator::test_server::{Authority, CertificateRequest};

const HOST: &str = "server.example";

/// A connected UDP socket of the server: each read and each write is one datagram.
#[derive(Debug)]
struct Datagrams(UdpSocket);

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }
}

impl Write for Datagrams {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A server for one client, which echoes each record until one is `end` or the client closes. It loses the first
/// `losses` datagrams. Its thread returns the version and the lengths of the records.
struct Server {
    authority: Authority,
    address: SocketAddr,
    thread: JoinHandle<Option<(String, Vec<usize>)>>,
}

impl Server {
    fn start(version: SslVersion, losses: usize) -> Server {
        let authority = Authority::new("test root").expect("a root");
        let identity = authority.issue(&CertificateRequest::server(HOST)).expect("a certificate");
        let mut context = SslContext::builder(SslMethod::dtls_server()).expect("a context");
        context.set_security_level(0);
        context.set_min_proto_version(Some(version)).expect("a version");
        context.set_max_proto_version(Some(version)).expect("a version");
        let certificate = X509::from_pem(&identity.certificate_pem()).expect("a certificate");
        let key = PKey::private_key_from_pem(&identity.key_pem()).expect("a key");
        context.set_certificate(&certificate).expect("a certificate");
        context.set_private_key(&key).expect("a key");
        let context = context.build();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let address = socket.local_addr().expect("an address");
        let thread = std::thread::spawn(move || serve(&context, socket, losses));
        Server { authority, address, thread }
    }

    fn seen(self) -> (String, Vec<usize>) {
        self.thread.join().expect("the server ends").expect("the handshake succeeds")
    }
}

fn serve(context: &SslContext, socket: UdpSocket, losses: usize) -> Option<(String, Vec<usize>)> {
    let mut buffer = [0; 16_384];
    for _ in 0..losses {
        socket.recv(&mut buffer).ok()?;
    }
    let (_, client) = socket.peek_from(&mut buffer).ok()?;
    socket.connect(client).ok()?;
    let mut ssl = Ssl::new(context).ok()?;
    ssl.set_mtu(1_400).ok()?;
    let mut stream: SslStream<Datagrams> = ssl.accept(Datagrams(socket)).ok()?;
    let version = stream.ssl().version_str().to_owned();
    let mut lengths = Vec::new();
    loop {
        match stream.ssl_read(&mut buffer) {
            Ok(count) if buffer[..count] == *b"end" => {
                stream.shutdown().ok()?;
                return Some((version, lengths));
            }
            Ok(count) => {
                lengths.push(count);
                stream.ssl_write(&buffer[..count]).ok()?;
            }
            Err(error) if error.code() == ErrorCode::ZERO_RETURN => return Some((version, lengths)),
            Err(_) => return None,
        }
    }
}

struct World {
    bench: Bench,
    /// The connection that was opened.
    id: ConnectionId,
}

impl World {
    fn open(server: SocketAddr, tls: TlsParameters) -> Result<World, OpenFailure> {
        let mut bench = Bench::new(&[HOST], 5684, server);
        let transport = Transport::Udp;
        let request = OpenRequest { host: HOST.into(), port: 5684, tls: Some(tls), transport, local_port: 0 };
        let id = bench.start(request);
        bench.outcome(id)?;
        Ok(World { bench, id })
    }

    fn send(&mut self, record: &[u8]) {
        let id = self.id;
        self.bench.until(|network| network.send_datagram(id, record, None, now()).then_some(()));
    }

    fn arrival(&mut self) -> Arrival {
        let id = self.id;
        self.bench.until(|network| {
            Some(network.receive_datagram(id, now())).filter(|arrival| *arrival != Arrival::Nothing)
        })
    }
}

fn parameters(version: u8, authority: &Authority) -> TlsParameters {
    TlsParameters {
        version: 3,
        dtls_version: version,
        cipher_suites: vec![0x0035, 0x002F, 0xC013, 0xC014, 0xC027, 0xC02F],
        security_level: 1,
        authorities: vec![authority.pem()],
        client_certificate: None,
        client_key: None,
        client_key_password: None,
        sni: true,
        alpn: String::new(),
        psk: None,
        session_cache: None,
        renegotiation: false,
        check_time: None,
        check_host: true,
        ignore_items: 0,
        ignore_chain: false,
        ignore_signature: false,
        negotiate_seconds: 10,
    }
}

#[test]
fn records_stay_apart_both_ways_until_the_server_closes() {
    let server = Server::start(SslVersion::DTLS1_2, 0);
    let mut world = World::open(server.address, parameters(1, &server.authority)).expect("it opens");
    let lengths = [1_460, 1, 700];
    for length in lengths {
        world.send(&vec![length as u8; length]);
    }
    for length in lengths {
        assert_eq!(world.arrival(), Arrival::Datagram(vec![length as u8; length], server.address));
    }
    world.send(b"end");
    assert_eq!(world.arrival(), Arrival::Ended);
    assert_eq!(server.seen(), ("DTLSv1.2".to_owned(), lengths.to_vec()));
}

#[test]
fn each_version_setting_offers_that_version() {
    for (version, setting, name) in [
        (SslVersion::DTLS1, 0, "DTLSv1"),
        (SslVersion::DTLS1, 2, "DTLSv1"),
        (SslVersion::DTLS1_2, 1, "DTLSv1.2"),
        (SslVersion::DTLS1_2, 2, "DTLSv1.2"),
    ] {
        let server = Server::start(version, 0);
        let mut world =
            World::open(server.address, parameters(setting, &server.authority)).expect("it opens");
        world.send(b"end");
        assert_eq!(server.seen().0, name, "setting {setting}");
    }
}

#[test]
fn the_server_hears_of_an_orderly_close() {
    let server = Server::start(SslVersion::DTLS1_2, 0);
    let mut world = World::open(server.address, parameters(2, &server.authority)).expect("it opens");
    world.send(b"hello");
    assert_eq!(world.arrival(), Arrival::Datagram(b"hello".to_vec(), server.address));
    world.bench.network.close(world.id, Close::Orderly, now());
    assert_eq!(server.seen(), ("DTLSv1.2".to_owned(), vec![5]));
}

#[test]
fn a_lost_flight_is_sent_again() {
    let server = Server::start(SslVersion::DTLS1_2, 1);
    let mut world =
        World::open(server.address, parameters(2, &server.authority)).expect("it opens after a second");
    world.send(b"end");
    assert_eq!(world.arrival(), Arrival::Ended);
    assert_eq!(server.seen().0, "DTLSv1.2");
}

#[test]
fn a_server_of_another_version_or_authority_is_refused() {
    let server = Server::start(SslVersion::DTLS1_2, 0);
    let outcome = World::open(server.address, parameters(0, &server.authority)).err();
    assert!(matches!(outcome, Some(OpenFailure::Handshake(_))), "{outcome:?}");
    let server = Server::start(SslVersion::DTLS1_2, 0);
    let stranger = Authority::new("another root").expect("a root");
    let outcome = World::open(server.address, parameters(1, &stranger)).err();
    assert!(matches!(outcome, Some(OpenFailure::Verification(_))), "{outcome:?}");
}

#[test]
fn a_silent_server_is_given_up_after_the_negotiation_time() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = silent.local_addr().expect("an address");
    let authority = Authority::new("test root").expect("a root");
    let tls = TlsParameters { negotiate_seconds: 2, ..parameters(2, &authority) };
    assert_eq!(World::open(address, tls).err(), Some(OpenFailure::TimedOut));
    let mut buffer = [0; 2_048];
    silent.set_nonblocking(true).expect("it can be set");
    let flights = std::iter::from_fn(|| silent.recv(&mut buffer).ok()).count();
    assert!(flights >= 2, "{flights} flights: the first was sent again after a second");
}
