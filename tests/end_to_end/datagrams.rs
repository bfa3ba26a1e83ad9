//! Goal of this test: what a client sends in a datagram reaches the server as one datagram, and back, whatever its
//! size; sessions do not mix, and what cannot be carried is dropped and counted. Servers are a UDP echo and OpenSSL's
//! own DTLS server.

use std::collections::VecDeque;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{ChildStdin, Command};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use qssl_test_common::harness::{
    EG800Q, Modem, PATIENCE, Running, Tunnel, UdpEcho, certificate_file, datagrams_to, echo_datagram,
    identity, patterned_bytes, program, rounds, run, temporary_directory, tunnel_command,
};

/// The longest that a module takes in one send.
const LONGEST: usize = 1_460;

/// What fills up in the beginning, as the flight recorder does. Of 90,000 sessions, three bytes each would be more.
const GROWTH_KIB: u64 = 256;

fn site() -> (UdpEcho, Modem) {
    let server = UdpEcho::start();
    let modem = Modem::with_options(&format!("--map server.test:7={}", server.address));
    (server, modem)
}

fn tunnel(modem: &Modem, options: &[&str]) -> Tunnel {
    let device = modem.device(0);
    let usual = ["udp:127.0.0.1:0", "--to", "udp://server.test:7", "-d", &device];
    Tunnel::listen(&[&usual[..], options].concat())
}

/// A tunnel that can be asked, and the path of its control socket.
fn tunnel_with_status(modem: &Modem, folder: &Path, options: &[&str]) -> (Tunnel, String) {
    let control = folder.join("control").to_str().expect("text").to_owned();
    let tunnel = tunnel(modem, &[&["--control", control.as_str()], options].concat());
    (tunnel, control)
}

/// What status has of the datagrams of its tunnel, without zeros.
#[track_caller]
fn counted(control: &str) -> String {
    let asked = run(&mut tunnel_command(&["status", "--json", "--control", control])).expect_success();
    let status: serde_json::Value = serde_json::from_slice(&asked.stdout).expect("JSON");
    let counts = status["tunnels"][0]["datagrams"].as_object().expect("it carries datagrams").clone();
    let some = counts.into_iter().filter(|(_, count)| *count != 0);
    some.map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

/// `./check --long` has a million of them.
#[test]
fn every_size_keeps_its_boundaries_in_twelve_sessions_at_once() {
    let rounds = rounds(1, 343);
    for mode in ["push", "buffer"] {
        let (server, modem) = site();
        let folder = temporary_directory();
        let (tunnel, control) = tunnel_with_status(&modem, folder.path(), &["--mode", mode]);
        let address = tunnel.address();
        let client = |number: usize| {
            thread::spawn(move || {
                let client = datagrams_to(address);
                for round in 0..rounds {
                    for size in (1..=LONGEST).filter(|size| size % 12 == number) {
                        let mut bytes = patterned_bytes(size as u64);
                        bytes[0] = number as u8;
                        // None is taken for that of another round.
                        bytes[size / 2] ^= round as u8;
                        echo_datagram(&client, &bytes);
                    }
                }
            })
        };
        let clients: Vec<_> = (0..12).map(client).collect();
        for client in clients {
            client.join().unwrap_or_else(|_| panic!("{mode}: {}", tunnel.log()));
        }
        assert_eq!(server.client_count(), 12, "{mode}: one socket of the module for each client");
        let all = rounds * LONGEST;
        assert_eq!(counted(&control), format!("{all} down, {all} up"), "{mode}: none was lost");
        tunnel.signal(Signal::TERM);
        tunnel.ends_with(0);
    }
}

/// Each new client takes the socket of the one that was idle longest. `./check --long` has 100,000 of them.
#[test]
fn sessions_one_after_the_other_take_no_more_memory() {
    let (_server, modem) = site();
    let folder = temporary_directory();
    let (tunnel, control) = tunnel_with_status(&modem, folder.path(), &["--when-full", "evict"]);
    let address = tunnel.address();
    let sessions = rounds(600, 100_000);
    // A port that is in use is given to no other, so each client begins a session.
    let mut clients = VecDeque::new();
    let mut early_kib = 0;
    for number in 0..sessions {
        if clients.len() == 12 {
            clients.pop_front();
        }
        let client = datagrams_to(address);
        echo_datagram(&client, &number.to_be_bytes());
        clients.push_back(client);
        if number == sessions / 10 {
            early_kib = own_kib(&tunnel);
        }
    }
    let late_kib = own_kib(&tunnel);
    println!("{sessions} sessions: {early_kib} KiB after a tenth of them, {late_kib} KiB after all");
    assert!(late_kib <= early_kib + GROWTH_KIB, "{early_kib} KiB after a tenth, {late_kib} KiB after all");
    assert_eq!(counted(&control), format!("{sessions} down, {sessions} up"));
}

/// Resident memory of the tunnel that is not part of a file.
fn own_kib(tunnel: &Tunnel) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", tunnel.id())).expect("it runs");
    let value = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux reports it");
    value.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn what_cannot_be_carried_is_dropped_and_counted_by_cause() {
    let (_server, modem) = site();
    let folder = temporary_directory();
    let (tunnel, control) = tunnel_with_status(&modem, folder.path(), &[]);
    tunnel.wait_for("has no TLS: anybody on the way can read and alter everything");
    let client = datagrams_to(tunnel.address());
    echo_datagram(&client, b"first");
    client.send(b"").expect("the tunnel reads");
    client.send(&[1; LONGEST + 1]).expect("the tunnel reads");
    client.send(&[2; 60_000]).expect("the tunnel reads");
    echo_datagram(&client, &[3; LONGEST]);
    assert_eq!(counted(&control), "2 down, 1 empty, 2 long, 2 up");
    let table = run(&mut tunnel_command(&["status", "--control", &control])).expect_success().text();
    let table = table.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(table.contains("2 datagrams up, 2 down; dropped: 1 empty, 2 long"), "{table}");
}

#[test]
fn what_the_kernel_has_no_room_for_is_counted() {
    const COUNT: usize = 2_000;
    let (_server, modem) = site();
    let folder = temporary_directory();
    let (tunnel, control) = tunnel_with_status(&modem, folder.path(), &[]);
    let client = datagrams_to(tunnel.address());
    echo_datagram(&client, b"first");
    tunnel.signal(Signal::STOP);
    for _ in 0..COUNT {
        client.send(&[1; LONGEST]).expect("the kernel takes or drops it");
    }
    tunnel.signal(Signal::CONT);
    let counts = || -> Vec<(usize, String)> {
        let counted = counted(&control);
        let of_cause = |words: &str| {
            let (count, cause) = words.split_once(' ').expect("a count and its cause");
            (count.parse().expect("a number"), cause.to_owned())
        };
        counted.split(", ").map(of_cause).filter(|(_, cause)| cause != "down").collect()
    };
    // None is missing when everything that the kernel has kept is read.
    for _ in 0..PATIENCE.as_secs() * 10 {
        if counts().iter().map(|(count, _)| count).sum::<usize>() > COUNT {
            break;
        }
        thread::park_timeout(Duration::from_millis(100));
    }
    let counts = counts();
    assert_eq!(counts.iter().map(|(count, _)| count).sum::<usize>(), COUNT + 1, "{counts:?}");
    assert!(counts.iter().any(|(count, cause)| cause == "unread" && *count > COUNT / 2), "{counts:?}");
}

#[test]
fn a_client_that_is_gone_harms_no_other() {
    let (_server, modem) = site();
    let tunnel = tunnel(&modem, &[]);
    let patient = datagrams_to(tunnel.address());
    for round in 0..20_u8 {
        // The answer comes to a port that is closed, and ICMP reports that to the tunnel's socket.
        datagrams_to(tunnel.address()).send(&[round; 10]).expect("the tunnel reads");
        echo_datagram(&patient, &[round; 100]);
    }
}

#[test]
fn the_session_that_was_idle_longest_makes_room() {
    let (server, modem) = site();
    let tunnel = tunnel(&modem, &["--when-full", "evict", "--sockets", "0-2"]);
    let clients: Vec<UdpSocket> = (0..5).map(|_| datagrams_to(tunnel.address())).collect();
    for round in 0..3_u8 {
        for client in &clients {
            echo_datagram(client, &[round; 20]);
        }
    }
    assert_eq!(server.client_count(), 15, "each had to make room for the next but two");
}

#[test]
fn a_client_too_many_is_refused_and_its_datagram_counted() {
    let (server, modem) = site();
    let folder = temporary_directory();
    let options = ["--when-full", "reset", "--sockets", "3"];
    let (tunnel, control) = tunnel_with_status(&modem, folder.path(), &options);
    tunnel.wait_until_ready();
    let served = datagrams_to(tunnel.address());
    echo_datagram(&served, b"first");
    datagrams_to(tunnel.address()).send(b"one too many").expect("the tunnel reads");
    tunnel.wait_for("all sockets are busy (--when-full reset)");
    echo_datagram(&served, b"second");
    assert_eq!(counted(&control), "2 down, 1 refused, 2 up");
    assert_eq!(server.client_count(), 1);
}

#[test]
fn a_silent_session_ends_and_the_next_datagram_begins_another() {
    let (server, modem) = site();
    let tunnel = tunnel(&modem, &["--idle-timeout", "1s"]);
    let client = datagrams_to(tunnel.address());
    echo_datagram(&client, b"before");
    tunnel.wait_for("--idle-timeout");
    echo_datagram(&client, b"after");
    assert_eq!(server.client_count(), 2);
}

#[test]
fn a_network_that_may_not_connect_is_dropped() {
    let (server, modem) = site();
    let folder = temporary_directory();
    let (tunnel, control) = tunnel_with_status(&modem, folder.path(), &["--allow", "192.0.2.0/24"]);
    datagrams_to(tunnel.address()).send(b"hello").expect("the tunnel reads");
    tunnel.wait_for("may not connect (--allow); its datagram is dropped");
    assert_eq!(counted(&control), "1 refused");
    assert_eq!(server.client_count(), 0);
}

#[test]
fn a_socket_of_systemd_for_datagrams_is_used() {
    let (_server, modem) = site();
    let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let address = address.expect("loopback has free ports");
    let mut command = Command::new(program("systemd-socket-activate"));
    command.env_clear().args(["--datagram", &format!("--listen={address}"), "--fdname=echo"]);
    command.args([env!("CARGO_BIN_EXE_qssl-tunnel"), "listen", "systemd:echo"]);
    let running = Running::start(command.args(["--to", "udp://server.test:7", "-d", &modem.device(0)]));
    running.wait_for("Listening on");
    echo_datagram(&datagrams_to(address), b"hello");
    assert!(running.log().contains(&format!("listening on udp:{address} for udp://server.test:7")));
}

#[test]
fn a_reload_ends_the_sessions_of_what_is_gone_and_no_others() {
    let (server, modem) = site();
    let folder = temporary_directory();
    let file = folder.path().join("run.toml");
    let head = format!("[modem]\ndevice = {:?}\n[process]\ncontrol = 'none'\n", modem.device(0));
    let one = |name: &str| {
        format!("[[tunnel]]\nname = '{name}'\nlisten = 'udp:127.0.0.1:0'\nto = 'udp://server.test:7'\n")
    };
    fs::write(&file, format!("{head}{}{}", one("kept"), one("gone"))).expect("the folder can be written");
    let tunnel = Tunnel::start(&mut tunnel_command(&["run", "--config", file.to_str().expect("text")]));
    let kept = datagrams_to(tunnel.address_of(0));
    let gone = datagrams_to(tunnel.address_of(1));
    echo_datagram(&kept, b"one");
    echo_datagram(&gone, b"two");
    fs::write(&file, format!("{head}{}", one("kept"))).expect("the folder can be written");
    tunnel.signal(Signal::HUP);
    tunnel.wait_for("configuration reloaded");
    let ended = tunnel.wait_for("the client closed");
    assert!(ended.contains(&gone.local_addr().expect("it is bound").to_string()), "{ended}");
    echo_datagram(&kept, b"three");
    assert_eq!(server.client_count(), 2, "the session goes on");
}

/// A server of OpenSSL with this certificate, its input, and a tunnel to it through a modem.
fn openssl_behind_a_tunnel(certificate: &Path, key: &Path) -> (Running, ChildStdin, Modem, Tunnel) {
    let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let address = address.expect("loopback has free ports");
    let mut server = Command::new(program("openssl"));
    server.args(["s_server", "-dtls1_2", "-quiet", "-accept", &address.to_string()]);
    let (server, says) = Running::start_with_input(server.arg("-cert").arg(certificate).arg("-key").arg(key));
    let modem = Modem::with_options(&format!("{EG800Q} --map server.test:5684={address}"));
    let device = modem.device(0);
    let usual = ["udp:127.0.0.1:0", "--to", "dtls://server.test:5684", "-d", &device];
    let tunnel = Tunnel::listen(&[&usual[..], &["--ca", certificate_file()]].concat());
    (server, says, modem, tunnel)
}

#[test]
fn openssl_gets_and_gives_whole_records() {
    let folder = temporary_directory();
    let (certificate, key) = (folder.path().join("server.pem"), folder.path().join("server.key"));
    fs::write(&certificate, identity().certificate_pem()).expect("the folder can be written");
    fs::write(&key, identity().key_pem()).expect("the folder can be written");
    let (server, mut says, _modem, tunnel) = openssl_behind_a_tunnel(&certificate, &key);
    let client = datagrams_to(tunnel.address());
    for round in 0..3 {
        client.send(format!("question {round}\n").as_bytes()).expect("the tunnel reads");
        server.wait_for(&format!("question {round}"));
        says.write_all(format!("answer {round}\n").as_bytes()).expect("it reads");
        let mut buffer = [0; 100];
        let count = client.recv(&mut buffer).expect("the server has answered");
        assert_eq!(&buffer[..count], format!("answer {round}\n").as_bytes());
    }
}

#[test]
fn a_server_that_nobody_vouches_for_gets_nothing() {
    let folder = temporary_directory();
    let (certificate, key) = (folder.path().join("server.pem"), folder.path().join("server.key"));
    let mut make = Command::new(program("openssl"));
    make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=server.test", "-days", "9"]);
    run(make.arg("-keyout").arg(&key).arg("-out").arg(&certificate)).expect_success();
    let (server, _says, _modem, tunnel) = openssl_behind_a_tunnel(&certificate, &key);
    let client = datagrams_to(tunnel.address());
    client.set_read_timeout(Some(Duration::from_millis(1))).expect("the limit is not zero");
    client.send(b"secret").expect("the tunnel reads");
    tunnel.wait_for("cannot connect: 566");
    assert!(!server.log().contains("secret"), "{}", server.log());
    assert!(client.recv(&mut [0; 10]).is_err());
}
