//! Goal of this test: CoAP as libcoap speaks it (GET, observe, block-wise transfers) works through `udp://` and
//! `dtls://`, whose DTLS the module does with a pre-shared key or with a certificate.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

use qssl_test_common::harness::{
    EG800Q, Finished, Modem, Running, Tunnel, certificate_file, identity, program, run, temporary_directory,
};

/// The pre-shared key of the server.
const KEY: &str = "correct horse battery staple";

/// A server of libcoap at two ports: CoAP over UDP, and over DTLS at the next one.
struct CoapServer {
    port: u16,
    _process: Running,
}

impl CoapServer {
    fn start(folder: &Path) -> CoapServer {
        let port = two_free_ports();
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        fs::write(&certificate, identity().certificate_pem()).expect("the folder can be written");
        fs::write(&key, identity().key_pem()).expect("the folder can be written");
        let mut server = Command::new(program("coap-server-openssl"));
        server.args(["-A", "127.0.0.1", "-p", &port.to_string(), "-d", "10", "-n", "-k", KEY]);
        let process = Running::start(server.arg("-c").arg(&certificate).arg("-j").arg(&key));
        CoapServer { port, _process: process }
    }
}

/// A port of UDP that is free, and the next one too.
fn two_free_ports() -> u16 {
    let port_of = |socket: UdpSocket| socket.local_addr().expect("it is bound").port();
    let free = |_| {
        let first = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let port = port_of(first);
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port.checked_add(1)?)).ok().map(|_| port)
    };
    (0..100).find_map(free).expect("two ports are free beside each other")
}

/// A request to the tunnel, which speaks CoAP without security.
fn request(tunnel: SocketAddr, path: &str, arguments: &[&str]) -> Finished {
    let mut client = Command::new(program("coap-client-openssl"));
    client.args(["-B", "60"]).args(arguments).arg(format!("coap://{tunnel}{path}"));
    run(&mut client).expect_success()
}

/// Everything that clients of CoAP do, through a tunnel to this target.
fn coap_works(folder: &Path, modem: &Modem, to: &str, options: &[&str]) {
    let device = modem.device(0);
    let arguments = [&["udp:127.0.0.1:0", "--to", to, "-d", &device], options].concat();
    let tunnel = Tunnel::listen(&arguments);
    let page = request(tunnel.address(), "/", &[]);
    assert!(page.text().contains("This is a test server made with libcoap"), "{to}: {page:?}");

    let observed = request(tunnel.address(), "/time", &["-s", "3"]).text();
    let times = observed.matches(':').count() / 2;
    assert!(times >= 3, "{to}: the time of at least three seconds: {observed}");

    let (sent, received) = (folder.join("sent"), folder.join("received"));
    let text = "A resource that does not fit one datagram. ".repeat(120);
    fs::write(&sent, &text).expect("the folder can be written");
    let (from, into) = (sent.to_str().expect("text"), received.to_str().expect("text"));
    request(tunnel.address(), "/example_data", &["-m", "put", "-b", "128", "-f", from]);
    request(tunnel.address(), "/example_data", &["-b", "512", "-o", into]);
    let received = fs::read_to_string(&received).expect("the client has written it");
    assert!(received == text, "{to}: {} bytes, not {}", received.len(), text.len());
    tunnel.signal(rustix::process::Signal::TERM);
    tunnel.ends_with(0);
}

fn site() -> (tempfile::TempDir, CoapServer, Modem) {
    let folder = temporary_directory();
    let server = CoapServer::start(folder.path());
    let modem = Modem::with_options(&format!(
        "{EG800Q} --map server.test:5683=127.0.0.1:{} --map server.test:5684=127.0.0.1:{}",
        server.port,
        server.port + 1
    ));
    (folder, server, modem)
}

#[test]
fn plain_coap_in_both_modes() {
    let (folder, _server, modem) = site();
    for mode in ["push", "buffer"] {
        coap_works(folder.path(), &modem, "udp://server.test:5683", &["--mode", mode]);
    }
}

#[test]
fn coap_over_dtls_with_a_certificate() {
    let (folder, _server, modem) = site();
    coap_works(folder.path(), &modem, "dtls://server.test:5684", &["--ca", certificate_file()]);
}

#[test]
fn coap_over_dtls_with_a_pre_shared_key() {
    let (folder, _server, modem) = site();
    let key = folder.path().join("key");
    fs::write(&key, KEY).expect("the folder can be written");
    let key = key.to_str().expect("text");
    let options = ["--insecure", "--psk-identity", "sensor 12", "--psk-key-file", key, "--mode", "buffer"];
    coap_works(folder.path(), &modem, "dtls://server.test:5684", &options);
}
