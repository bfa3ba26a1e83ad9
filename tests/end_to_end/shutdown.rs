//! Goal of this test: after SIGTERM, SIGINT or the end of the terminal, clients can finish, and the modem is left as it
//! was. A second signal cuts the connections. The exit status shows which was the case.

#![allow(clippy::disallowed_methods, reason = "how long stopping takes is what is tested")]

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use qssl_test_common::harness::{
    Ended, MODES, Modem, PATIENCE, Running, Site, Tunnel, certificate_file, connect, digest, echo,
    patterned_bytes, read_to_end, rounds,
};

#[test]
fn sigterm_without_clients_ends_at_once_and_closes_the_data_session() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&["-v"]);
    tunnel.wait_until_ready();
    tunnel.signal(Signal::TERM);
    let log = tunnel.ends_with(0);
    assert!(log.contains("AT+QIDEACT=1"), "the session was ours: {log}");
    assert!(log.contains("SIGTERM: stopping"), "{log}");
    assert!(!log.contains(" to end (a second"), "there is nothing to drain: {log}");
}

#[test]
fn sigterm_before_the_modem_is_there_ends_at_once() {
    let tunnel = Tunnel::listen(&["--to", "server.test:443", "--insecure", "-d", "/nonexistent/modem"]);
    tunnel.wait_for("waiting for it");
    tunnel.signal(Signal::TERM);
    tunnel.ends_with(0);
}

/// The device server neither accepts nor refuses connections.
#[test]
fn sigterm_while_the_connection_to_a_device_server_hangs_ends_at_once() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    rustix::net::listen(&server, 0).expect("a shorter queue");
    let address = server.local_addr().expect("its address");
    let connects = || TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok();
    let waiting: Vec<TcpStream> = std::iter::from_fn(connects).take(9).collect();
    assert!(waiting.len() < 9, "the queue has no end");
    let device = format!("tcp://{address}");
    let tunnel = Tunnel::listen(&["--to", "server.test:443", "--insecure", "-d", &device]);
    let peer = format!(":{:04X} 02 ", address.port());
    let started = Instant::now();
    while !std::fs::read_to_string("/proc/net/tcp").expect("the table of sockets").contains(&peer) {
        assert!(started.elapsed() < PATIENCE, "it does not connect");
        std::thread::yield_now();
    }
    let stopped = Instant::now();
    tunnel.signal(Signal::TERM);
    let log = tunnel.ends_with(0);
    let took = stopped.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}: {log}");
}

#[test]
fn sigterm_lets_a_client_finish() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&[]);
    let (mut client, address) = (connect(tunnel.address()), tunnel.address());
    echo(&mut client, b"ping");
    tunnel.signal(Signal::TERM);
    tunnel.wait_for("waiting for 1 connection to end");
    echo(&mut client, b"ping");
    assert!(TcpStream::connect(address).is_err(), "new clients are refused while draining");
    echo(&mut client, b"ping");
    drop(client);
    tunnel.ends_with(0);
}

#[test]
fn a_second_signal_cuts() {
    for (signal, expected) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let site = Site::new(Behaviour::Echo, "");
        let tunnel = site.tunnel(&[]);
        let mut client = connect(tunnel.address());
        echo(&mut client, b"ping");
        tunnel.signal(signal);
        tunnel.wait_for("waiting for 1 connection to end");
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
    echo(&mut client, b"ping");
    tunnel.signal(Signal::HUP);
    tunnel.wait_for("waiting for 1 connection to end");
    echo(&mut client, b"ping");
    drop(client);
    tunnel.ends_with(0);
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
    let running = Running::start(&mut command);
    running.wait_for("waiting for it");
    running.signal(Signal::HUP);
    // Signals of different kinds are handled in any order. This one logs a table.
    running.signal(Signal::USR1);
    running.wait_for("TUNNEL");
    running.signal(Signal::TERM);
    running.ends_with(0);
}

#[test]
fn draining_ends_with_the_shutdown_timeout() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&["--shutdown-timeout", "500ms"]);
    let mut client = connect(tunnel.address());
    echo(&mut client, b"ping");
    tunnel.signal(Signal::TERM);
    assert_eq!(read_to_end(&mut client).2, Ended::Reset);
    tunnel.ends_with(124);
}

#[test]
fn what_is_still_moving_on_several_connections_goes_on_to_its_end() {
    let bytes = rounds(1_000_000, 20_000_000) as u64;
    for mode in ["push", "buffer"] {
        let (delay, response) = (Duration::ZERO, patterned_bytes(bytes));
        let site = Site::new(Behaviour::Respond { request_bytes: 1, delay, response }, "");
        let tunnel = site.tunnel(&["--mode", mode, "--shutdown-timeout", "170s"]);
        let mut clients: Vec<TcpStream> = (0..6).map(|_| connect(tunnel.address())).collect();
        // A modem without a limit of speed would push more than there is room for to one that is still being opened.
        tunnel.wait_for_count("open after", 6);
        for client in &mut clients {
            client.write_all(b"?").expect("the tunnel takes it");
        }
        // In the middle of the transfer: the client does not read on before the signal was handled.
        for client in &mut clients {
            client.peek(&mut [0]).expect("the server sends");
        }
        tunnel.signal(Signal::TERM);
        tunnel.wait_for("waiting for 6 connections to end");
        let reading = clients.into_iter().map(|mut client| {
            std::thread::spawn(move || {
                let seen = read_to_end(&mut client);
                drop(client);
                seen
            })
        });
        for reader in reading.collect::<Vec<_>>() {
            let seen = reader.join().expect("reading does not panic");
            assert_eq!(seen, (bytes, digest(bytes), Ended::InOrder), "{mode}: {}", tunnel.log());
        }
        tunnel.ends_with(0);
    }
}

#[test]
fn an_open_that_hangs_delays_nothing_whether_its_client_waits_or_has_left() {
    // The kernel accepts the connection, but no TLS answer ever comes.
    let dead = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let address = dead.local_addr().expect("a bound socket has an address");
    for mode in MODES {
        for leaves in [false, true] {
            let modem = Modem::start(address, "");
            let device = modem.device(0);
            let usual = ["--to", "server.test:443", "--ca", certificate_file(), "-d", &device, "-v"];
            let tunnel =
                Tunnel::listen(&[&usual[..], &["--mode", mode, "--shutdown-timeout", "1s"]].concat());
            let client = connect(tunnel.address());
            tunnel.wait_for("AT+QSSLOPEN=");
            let client = (!leaves).then_some(client);
            let begin = Instant::now();
            tunnel.signal(Signal::TERM);
            let (_, log) = tunnel.wait();
            let took = begin.elapsed();
            assert!(
                took < Duration::from_secs(1 + 5 + SLACK_SECONDS),
                "{mode}, leaves: {leaves}: {took:?}\n{log}"
            );
            drop(client);
        }
    }
}

/// Additional time for a busy machine.
const SLACK_SECONDS: u64 = 8;
