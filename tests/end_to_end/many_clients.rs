//! Goal of this test: twelve clients are served at once, and one more waits its turn, in order and not for
//! ever.

#![allow(clippy::disallowed_methods, reason = "how long twelve opens take is what is tested")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use qssl_modem_emulator::test_server::{Behaviour, Record};

use crate::harness::{Ended, Site, connect, read_to_end};

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
            assert_eq!(echo(client, question.as_bytes()), question.as_bytes());
        }
    }
    assert_eq!(site.server.records().len(), 12, "no socket is left for the thirteenth");

    drop(clients.pop());
    let mut answer = [0; 10];
    thirteenth.read_exact(&mut answer).expect("it is its turn now");
    assert_eq!(&answer, b"thirteenth");
    for client in &mut clients {
        assert_eq!(echo(client, b"still here"), b"still here");
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
    let mut served = connect(tunnel.address());
    assert_eq!(echo(&mut served, b"served"), b"served");
    let mut waiting = connect(tunnel.address());
    assert_eq!(read_to_end(&mut waiting).2, Ended::Reset);
    tunnel.wait_for("no free socket in time (--queue-timeout)");
    assert_eq!(echo(&mut served, b"undisturbed"), b"undisturbed");
}

#[test]
fn a_client_too_many_is_reset_at_once_where_that_is_wanted() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&["--sockets", "3", "--when-full", "reset", "--queue-timeout", "0"]);
    tunnel.wait_until_ready();
    let mut served = connect(tunnel.address());
    assert_eq!(echo(&mut served, b"served"), b"served");
    let mut refused = connect(tunnel.address());
    assert_eq!(read_to_end(&mut refused).2, Ended::Reset);
    tunnel.wait_for("--when-full reset");
    assert_eq!(echo(&mut served, b"undisturbed"), b"undisturbed");
}

#[test]
fn without_the_bytes_of_one_client_reaching_another() {
    const ROUNDS: usize = 5;
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&[]);
    let address = tunnel.address();
    // More clients than sockets, each with bytes of its own, each several times.
    let clients = (0..20_u8).map(|number| {
        std::thread::spawn(move || {
            for _ in 0..ROUNDS {
                let sent = vec![number; 30_000];
                assert_eq!(echo(&mut connect(address), &sent), sent);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.join().expect("every client gets its own bytes back");
    }
    let served = site.server.wait_for(|records| records.iter().all(|record| record.over));
    assert_eq!(served.len(), 20 * ROUNDS, "{}", tunnel.log());
}

fn echo(client: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    client.write_all(bytes).expect("the tunnel takes it");
    let mut answer = vec![0; bytes.len()];
    client.read_exact(&mut answer).expect("the server answers");
    answer
}

fn shaken_hands(records: &[Record]) -> usize {
    records.iter().filter(|record| matches!(record.handshake, Some(Ok(_)))).count()
}
