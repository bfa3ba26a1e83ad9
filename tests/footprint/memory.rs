//! Goal of this test: memory is bounded with as many busy clients as the modem has sockets, and does not grow with the
//! bytes that they move.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use qssl_modem_emulator::test_server::Behaviour;

use crate::of_process;
use qssl_test_common::harness::{Site, Tunnel, connect, echo};

#[test]
fn twelve_busy_clients_take_little_memory_however_much_they_carry() {
    for mode in ["push", "buffer"] {
        let site = Site::new(Behaviour::Echo, "");
        let tunnel = site.tunnel(&["--mode", mode]);
        let mut clients: Vec<TcpStream> = (0..12).map(|_| connect(tunnel.address())).collect();
        for client in &mut clients {
            echo(client, b"Is anybody there?");
        }
        busy(&clients, LITTLE_BYTES);
        let few = Memory::of(&tunnel);
        busy(&clients, MANY_BYTES);
        let many = Memory::of(&tunnel);
        println!("{mode}: {few:?}, {many:?}");
        assert!(many.peak_kib <= few.peak_kib + GROWTH_KIB, "{mode}: {few:?}, {many:?}");
        assert!(many.own_kib <= OWN_KIB, "{mode}: {many:?}");
        if !cfg!(debug_assertions) && !cfg!(feature = "emulator") {
            assert!(many.peak_kib <= RELEASE_KIB, "{mode}: {many:?}");
        }
    }
}

/// Sends this many bytes to the echo through all clients at once, each at full speed, and reads them back.
fn busy(clients: &[TcpStream], bytes: usize) {
    let pieces = bytes / clients.len() / PIECE_BYTES;
    thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(move || {
                for _ in 0..pieces {
                    client.write_all(&[b'.'; PIECE_BYTES]).expect("the tunnel reads");
                }
            });
            scope.spawn(move || {
                for _ in 0..pieces {
                    client.read_exact(&mut [0; PIECE_BYTES]).expect("the server echoes");
                }
            });
        }
    });
}

#[derive(Debug)]
struct Memory {
    /// The peak of resident memory, including the program.
    peak_kib: u64,
    /// Resident memory now that is not part of a file: heap and stack.
    own_kib: u64,
}

impl Memory {
    fn of(tunnel: &Tunnel) -> Memory {
        Memory { peak_kib: of_process(tunnel.id(), "VmHWM"), own_kib: of_process(tunnel.id(), "RssAnon") }
    }
}

/// Enough to fill every queue once, divided among all clients.
const LITTLE_BYTES: usize = 4_000_000;
const MANY_BYTES: usize = 40_000_000;
const PIECE_BYTES: usize = 16 * 1024;

/// Less than three bytes for each message between the two measurements.
const GROWTH_KIB: u64 = 128;

/// Queues and stack, which are much larger without optimisation.
const OWN_KIB: u64 = 3 * 1_024;

/// The limit in docs/BENCH.md. Without optimisation, or with OpenSSL, the program itself is larger.
const RELEASE_KIB: u64 = 5 * 1_024;
