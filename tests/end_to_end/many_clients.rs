//! Goal of this test: twelve clients are served at once, and further ones wait for their turn, in order and not
//! forever. Clients that have left leave no resources in use.

#![allow(clippy::disallowed_methods, reason = "how long twelve opens take is what is tested")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use qssl_modem_emulator::test_server::{Behaviour, ClientEnd, Record};
use socket2::SockRef;

use qssl_test_common::harness::{
    Ended, Gate, Modem, Site, Tunnel, connect, digest, echo, patterned_bytes, read_to_end, rounds,
};

#[test]
fn twelve_clients_share_the_modem_and_the_thirteenth_waits() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&[]);
    let mut clients: Vec<TcpStream> = (0..12).map(|_| connect(tunnel.address())).collect();
    site.server.wait_for(|records| shaken_hands(records) == 12);

    let mut thirteenth = connect(tunnel.address());
    thirteenth.write_all(b"thirteenth").expect("the tunnel accepts it");
    for round in 0..10 {
        for (number, client) in clients.iter_mut().enumerate() {
            let question = format!("client {number} in round {round}: ").repeat(100);
            echo(client, question.as_bytes());
        }
    }
    assert_eq!(site.server.records().len(), 12, "no socket is left for the thirteenth");

    drop(clients.pop());
    let mut answer = [0; 10];
    thirteenth.read_exact(&mut answer).expect("it is its turn now");
    assert_eq!(&answer, b"thirteenth");
    for client in &mut clients {
        echo(client, b"still here");
    }
}

#[test]
fn twelve_handshakes_of_two_seconds_take_two_seconds() {
    let site = Site::new(Behaviour::Echo, "--open-latency 2s");
    let tunnel = site.tunnel(&[]);
    tunnel.wait_until_ready();
    let began = Instant::now();
    let _clients: Vec<TcpStream> = (0..12).map(|_| connect(tunnel.address())).collect();
    site.server.wait_for(|records| shaken_hands(records) == 12);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(12), "one after the other, not at once: {took:?}");
}

#[test]
fn a_client_too_many_is_reset_after_the_queue_timeout() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&["--sockets", "3", "--queue-timeout", "500ms"]);
    tunnel.wait_until_ready();
    let mut served = connect(tunnel.address());
    echo(&mut served, b"served");
    let mut waiting = connect(tunnel.address());
    assert_eq!(read_to_end(&mut waiting).2, Ended::Reset);
    tunnel.wait_for("no free socket in time (--queue-timeout)");
    echo(&mut served, b"undisturbed");
}

#[test]
fn a_client_too_many_is_reset_at_once_where_that_is_wanted() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&["--sockets", "3", "--when-full", "reset", "--queue-timeout", "0"]);
    tunnel.wait_until_ready();
    let mut served = connect(tunnel.address());
    echo(&mut served, b"served");
    let mut refused = connect(tunnel.address());
    assert_eq!(read_to_end(&mut refused).2, Ended::Reset);
    tunnel.wait_for("--when-full reset");
    echo(&mut served, b"undisturbed");
}

#[test]
fn without_the_bytes_of_one_client_reaching_another() {
    const ROUNDS: usize = 5;
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&[]);
    let address = tunnel.address();
    // More clients than sockets, each with its own bytes, and each several times.
    let clients = (0..20_u8).map(|number| {
        std::thread::spawn(move || {
            for _ in 0..ROUNDS {
                let sent = vec![number; 30_000];
                echo(&mut connect(address), &sent);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.join().expect("every client gets its own bytes back");
    }
    let served = site.server.wait_for(|records| records.iter().all(|record| record.over));
    assert_eq!(served.len(), 20 * ROUNDS, "{}", tunnel.log());
}

#[test]
fn churn_by_six_threads_leaves_exact_counts_and_no_descriptor_behind() {
    const THREADS: usize = 6;
    let turns = rounds(12, 200);
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&[]);
    tunnel.wait_until_ready();
    let address = tunnel.address();
    let before = descriptors(&tunnel);
    let churning = (0..THREADS).map(|thread| {
        std::thread::spawn(move || {
            let mut carried = 0;
            for turn in 0..turns {
                let sent = vec![(thread * turns + turn) as u8; 1 + (thread * 977 + turn * 3_331) % 9_000];
                echo(&mut connect(address), &sent);
                carried += sent.len() as u64;
            }
            carried
        })
    });
    let carried = churning.collect::<Vec<_>>().into_iter();
    let carried: u64 = carried.map(|thread| thread.join().expect("every client is served")).sum();
    let served = site.server.wait_for(|records| records.iter().all(|record| record.over));
    assert_eq!(served.len(), THREADS * turns);
    assert_eq!(served.iter().map(|record| record.received_bytes).sum::<u64>(), carried);
    tunnel.wait_for_count("the client closed", THREADS * turns);
    let up: u64 = tunnel.log().lines().filter_map(bytes_up).sum();
    assert_eq!(up, carried, "what the log says of all of them together");
    wait_for_descriptors(&tunnel, before);
}

#[test]
fn every_socket_is_usable_again_after_resets_abandoned_clients_and_contention() {
    let site = Site::new(Behaviour::Echo, "--open-latency 50ms");
    let tunnel = site.tunnel(&[]);
    tunnel.wait_until_ready();
    let before = descriptors(&tunnel);
    for turn in 0..rounds(4, 60) {
        // More clients than sockets, which leave in different ways.
        let crowd: Vec<TcpStream> = (0..20).map(|_| connect(tunnel.address())).collect();
        for (number, mut client) in crowd.into_iter().enumerate() {
            match (number + turn) % 4 {
                0 => {
                    SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("it is a socket");
                }
                // The clients that wait are served in turn.
                1 => echo(&mut client, b"in turn"),
                2 => {
                    // The client may have been dropped already in favour of waiting ones.
                    let _ = client.write_all(&[b'x'; 20_000]);
                }
                _ => client.shutdown(Shutdown::Write).expect("it is connected"),
            }
        }
    }
    let mut all: Vec<TcpStream> = (0..12).map(|_| connect(tunnel.address())).collect();
    for client in &mut all {
        echo(client, b"all at once");
    }
    for client in &mut all {
        echo(client, b"and again");
    }
    drop(all);
    wait_for_descriptors(&tunnel, before);
}

#[test]
fn all_sockets_expire_at_once_and_serve_again() {
    let rounds = rounds(2, 3);
    for mode in ["push", "buffer"] {
        let site = Site::new(Behaviour::Echo, "");
        let tunnel = site.tunnel(&["--mode", mode, "--lifetime", "5s"]);
        tunnel.wait_until_ready();
        let before = descriptors(&tunnel);
        for round in 1..=rounds {
            let mut clients: Vec<_> = (0..12).map(|_| connect(tunnel.address())).collect();
            for client in &mut clients {
                echo(client, b"hello");
            }
            for client in &mut clients {
                assert_eq!(read_to_end(client).2, Ended::Reset, "{mode}, round {round}");
            }
            tunnel.wait_for("too old (--lifetime)");
        }
        wait_for_descriptors(&tunnel, before);
        let records = site.server.wait_for(|records| records.iter().all(|record| record.over));
        assert_eq!(shaken_hands(&records), 12 * rounds, "{mode}: {}", tunnel.log());
    }
}

#[test]
fn a_backend_that_flaps_is_served_whenever_it_is_there() {
    let server = Site::new(Behaviour::Echo, "");
    let gate = Gate::open(server.server.address());
    let modem = Modem::start(gate.address(), "");
    let tunnel = Tunnel::verified(&[&modem.device(0)], &[]);
    tunnel.wait_until_ready();
    for turn in 0..rounds(5, 50) {
        let mut up = connect(tunnel.address());
        echo(&mut up, b"up");
        gate.shut();
        // Its server is gone, so an end or a reset must come.
        read_to_end(&mut up);
        for _ in 0..3 {
            let refused = read_to_end(&mut connect(tunnel.address()));
            assert_eq!((refused.0, refused.2), (0, Ended::Reset), "in turn {turn}");
        }
        gate.reopen();
    }
}

#[test]
fn a_half_close_while_most_of_the_echo_is_under_way_loses_none_of_it() {
    let bytes = rounds(4, 64) as u64 * 1024 * 1024;
    for mode in ["push", "buffer"] {
        let site = Site::new(Behaviour::Echo, "");
        let tunnel = site.tunnel(&["--mode", mode, "--half-close-timeout", "3s"]);
        let mut client = connect(tunnel.address());
        let mut writer = client.try_clone().expect("descriptors are not used up");
        let writing = std::thread::spawn(move || {
            writer.write_all(&patterned_bytes(bytes)).expect("the tunnel takes it");
            writer.shutdown(Shutdown::Write).expect("it is connected");
        });
        let (count, sha256, ended) = read_to_end(&mut client);
        writing.join().expect("writing does not panic");
        // The server does not see the half-close, so the connection ends by the time-out.
        assert_eq!((count, sha256, ended), (bytes, digest(bytes), Ended::Reset), "{mode}: {}", tunnel.log());
        let served = site.server.wait_for(|records| records.iter().all(|record| record.over));
        assert_eq!(
            (served[0].received_bytes, served[0].client_end),
            (bytes, Some(ClientEnd::Orderly)),
            "{mode}"
        );
    }
}

/// The number of bytes up in the line about a connection's end.
fn bytes_up(line: &str) -> Option<u64> {
    let before =
        ["bytes", "byte"].iter().find_map(|unit| Some(line.split_once(&format!(" {unit} up, "))?.0))?;
    before.rsplit(' ').next()?.parse().ok()
}

fn descriptors(tunnel: &Tunnel) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", tunnel.id())).expect("it runs").count()
}

fn wait_for_descriptors(tunnel: &Tunnel, count: usize) {
    for _ in 0..1_800 {
        if descriptors(tunnel) == count {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    panic!("{} descriptors, not {count}: {}", descriptors(tunnel), tunnel.log());
}

fn shaken_hands(records: &[Record]) -> usize {
    records.iter().filter(|record| matches!(record.handshake, Some(Ok(_)))).count()
}
