//! Goal of this test: memory is bounded with as many clients as the modem has sockets, all of them busy, and does
//! not grow with the bytes that they carry.

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

/// Sends so many bytes to the echo through all of them at once, each as fast as it can, and reads what comes back.
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
    /// The most that was ever resident, program included.
    peak_kib: u64,
    /// What is resident now and no part of any file: heap and stack.
    own_kib: u64,
}

impl Memory {
    fn of(tunnel: &Tunnel) -> Memory {
        Memory { peak_kib: of_process(tunnel.id(), "VmHWM"), own_kib: of_process(tunnel.id(), "RssAnon") }
    }
}

/// Enough to fill every queue once, over all clients.
const LITTLE_BYTES: usize = 4_000_000;
const MANY_BYTES: usize = 40_000_000;
const PIECE_BYTES: usize = 16 * 1024;

/// Less than three bytes for each message carried in between.
const GROWTH_KIB: u64 = 128;

/// Queues and stack, and with no optimisation a good deal more of both.
const OWN_KIB: u64 = 3 * 1_024;

/// The limit of docs/BENCH.md. Without optimisation, or with OpenSSL, the program itself is larger than that.
const RELEASE_KIB: u64 = 5 * 1_024;
