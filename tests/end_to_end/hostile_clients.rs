//! Goal of this test: thousands of clients that never send, or that reset at once, are removed, while another client
//! is served without loss or delay.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use qssl_modem_emulator::test_server::Behaviour;
use socket2::SockRef;

use qssl_test_common::harness::{
    Ended, SetAtTheEnd, Site, Tunnel, connect, connect_unless_reset, read_to_end,
};

/// A client that connected first. It sends and gets echoes while the hostile clients run.
struct Served {
    rounds: AtomicU64,
    is_over: AtomicBool,
}

impl Served {
    /// Runs `worst` at the same time. `worst` can query the number of echoes so far.
    fn beside(address: SocketAddr, worst: impl FnOnce(&dyn Fn() -> u64)) {
        let served = Served { rounds: AtomicU64::new(0), is_over: AtomicBool::new(false) };
        let mut stream = connect(address);
        served.ask(&mut stream);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !served.is_over.load(Ordering::Relaxed) {
                    served.ask(&mut stream);
                }
            });
            let _over = SetAtTheEnd(&served.is_over);
            worst(&|| served.rounds.load(Ordering::Relaxed));
        });
    }

    fn ask(&self, stream: &mut TcpStream) {
        let round = self.rounds.load(Ordering::Relaxed);
        let question = format!("question {round}: ").repeat(40);
        stream.write_all(question.as_bytes()).expect("the tunnel takes it");
        let mut answer = vec![0; question.len()];
        stream.read_exact(&mut answer).expect("it is answered");
        assert_eq!(answer, question.as_bytes());
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }
}

fn wait_for_progress(tunnel: &Tunnel, rounds: &dyn Fn() -> u64) {
    let before = rounds();
    for _ in 0..600 {
        if rounds() > before {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    panic!("the client that was there first is not served any more:\n{}", tunnel.log());
}

#[test]
fn ten_thousand_that_never_send() {
    // Fewer at once than the tunnel accepts, and fewer than the limit of descriptors.
    const AT_ONCE: usize = 400;
    const TURNS: usize = 25;
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&["--open-on", "first-byte", "--first-byte-timeout", "200ms"]);
    tunnel.wait_until_ready();
    Served::beside(tunnel.address(), |rounds| {
        for turn in 0..TURNS {
            let mut silent: Vec<TcpStream> =
                (0..AT_ONCE).filter_map(|_| connect_unless_reset(tunnel.address())).collect();
            for client in &mut silent {
                let (count, _, ended) = read_to_end(client);
                assert_eq!((count, ended), (0, Ended::Reset), "in turn {turn}");
            }
            wait_for_progress(&tunnel, rounds);
        }
    });
    tunnel.wait_for("nothing in time (--first-byte-timeout)");
    let lines = tunnel.log().matches("--first-byte-timeout").count();
    assert!(lines < 100, "a flood is summed up, not logged line by line: {lines}");
    assert_eq!(site.server.records().len(), 1, "no handshake was wasted on them");
}

#[test]
fn storms_of_connects_and_resets() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&[]);
    tunnel.wait_until_ready();
    Served::beside(tunnel.address(), |rounds| {
        for turn in 0..20 {
            for number in 0..100 {
                // It may have been reset already, because there are too many.
                let Some(mut client) = connect_unless_reset(tunnel.address()) else { continue };
                if number % 3 == 0 {
                    let _ = client.write_all(b"never mind");
                }
                SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("it is a socket");
            }
            if turn % 5 == 0 {
                wait_for_progress(&tunnel, rounds);
            }
        }
        wait_for_progress(&tunnel, rounds);
    });
    // A client that connects afterwards is served like any other.
    let mut client = connect(tunnel.address());
    client.write_all(b"afterwards").expect("the tunnel takes it");
    let mut answer = [0; 10];
    client.read_exact(&mut answer).unwrap_or_else(|error| panic!("{error}: {}", tunnel.log()));
    assert_eq!(&answer, b"afterwards");
}
