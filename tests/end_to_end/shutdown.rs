//! Goal of this test: SIGTERM, SIGINT and the end of the terminal let clients finish and leave the modem as it was found, a second one
//! cuts, and the exit status says which it was.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use crate::harness::{Ended, Running, Site, Tunnel, connect, read_to_end};

#[test]
fn sigterm_without_clients_ends_at_once_and_closes_the_data_session() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&["-v"]);
    tunnel.wait_until_ready();
    tunnel.signal(Signal::TERM);
    let (status, log) = tunnel.wait();
    assert_eq!(status, 0, "{log}");
    assert!(log.contains("AT+QIDEACT=1"), "the session was ours: {log}");
}

#[test]
fn sigterm_before_the_modem_is_there_ends_at_once() {
    let tunnel = Tunnel::listen(&["--to", "server.test:443", "--insecure", "-d", "/nonexistent/modem"]);
    tunnel.wait_for("waiting for it");
    tunnel.signal(Signal::TERM);
    let (status, log) = tunnel.wait();
    assert_eq!(status, 0, "{log}");
}

#[test]
fn sigterm_lets_a_client_finish() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&[]);
    let (mut client, address) = (connect(tunnel.address()), tunnel.address());
    assert_eq!(echo(&mut client), *b"ping");
    tunnel.signal(Signal::TERM);
    tunnel.wait_for("draining 1 connection");
    assert_eq!(echo(&mut client), *b"ping");
    assert!(TcpStream::connect(address).is_err(), "new clients are refused while draining");
    assert_eq!(echo(&mut client), *b"ping");
    drop(client);
    let (status, log) = tunnel.wait();
    assert_eq!(status, 0, "{log}");
}

#[test]
fn a_second_signal_cuts() {
    for (signal, expected) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let site = Site::new(Behaviour::Echo, "");
        let tunnel = site.tunnel(&[]);
        let mut client = connect(tunnel.address());
        assert_eq!(echo(&mut client), *b"ping");
        tunnel.signal(signal);
        tunnel.wait_for("draining 1 connection");
        tunnel.signal(signal);
        assert_eq!(read_to_end(&mut client).2, Ended::Reset);
        assert_eq!(tunnel.wait().0, expected);
    }
}

#[test]
fn listen_ends_with_its_terminal() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&[]);
    let mut client = connect(tunnel.address());
    assert_eq!(echo(&mut client), *b"ping");
    tunnel.signal(Signal::HUP);
    tunnel.wait_for("draining 1 connection");
    assert_eq!(echo(&mut client), *b"ping");
    drop(client);
    let (status, log) = tunnel.wait();
    assert_eq!(status, 0, "{log}");
}

#[test]
fn under_nohup_listen_outlives_its_terminal() {
    let mut command = Command::new("sh");
    command.env_clear().args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_qssl-tunnel")]);
    command.args([
        "listen",
        "127.0.0.1:0",
        "--to",
        "server.test:443",
        "--insecure",
        "-d",
        "/nonexistent/modem",
    ]);
    let mut running = Running::start(&mut command);
    running.log.wait_for("waiting for it", |line| line.contains("waiting for it").then_some(()));
    running.signal(Signal::HUP);
    // Signals of different kinds are served in no order; this one is answered with a table.
    running.signal(Signal::USR1);
    running.log.wait_for("statistics", |line| line.contains("TUNNEL").then_some(()));
    running.signal(Signal::TERM);
    let (status, log) = running.wait();
    assert_eq!(status, 0, "{log}");
}

#[test]
fn draining_ends_with_the_shutdown_timeout() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&["--shutdown-timeout", "500ms"]);
    let mut client = connect(tunnel.address());
    assert_eq!(echo(&mut client), *b"ping");
    tunnel.signal(Signal::TERM);
    assert_eq!(read_to_end(&mut client).2, Ended::Reset);
    let (status, log) = tunnel.wait();
    assert_eq!(status, 124, "{log}");
}

fn echo(client: &mut TcpStream) -> [u8; 4] {
    client.write_all(b"ping").expect("the tunnel takes it");
    let mut answer = [0; 4];
    client.read_exact(&mut answer).expect("the server answers");
    answer
}
