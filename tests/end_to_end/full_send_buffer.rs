//! Goal of this test: a server that reads slowly makes the modem answer SEND FAIL repeatedly, and still every byte
//! arrives once and in order.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use qssl_modem_emulator::test_server::{Behaviour, ServerOptions, TestServer};

use qssl_test_common::harness::{Gate, Modem, Tunnel, connect, digest, identity, patterned_bytes, rounds};

#[test]
fn a_storm_of_send_fail_loses_and_doubles_nothing_in_push_mode() {
    storm("push");
}

#[test]
fn a_storm_of_send_fail_loses_and_doubles_nothing_in_buffer_mode() {
    storm("buffer");
}

fn storm(mode: &str) {
    const STEP_BYTES: u64 = 512 * 1024;
    let bytes = rounds(4, 8) as u64 * 1024 * 1024;
    let server = TestServer::start(ServerOptions {
        identity: Some(identity().clone()),
        behaviour: Behaviour::Digest { bytes },
        ..ServerOptions::default()
    });
    let server = server.expect("the server starts");
    let gate = Gate::closed(server.address());
    // Enough for the handshake.
    gate.pass(16_384);
    let modem = Modem::start(gate.address(), "--send-buffer 1460");
    let device = modem.device(0);
    let tunnel = Tunnel::verified(&[&device], &["--mode", mode, "-v"]);
    let mut client = connect(tunnel.address());
    let mut sender = client.try_clone().expect("descriptors are not used up");
    let sending = std::thread::spawn(move || {
        sender.write_all(&patterned_bytes(bytes)).expect("the tunnel takes it in the end");
        sender.shutdown(Shutdown::Write).expect("it stands");
    });
    let steps = bytes / STEP_BYTES - 4;
    for step in 0..steps {
        tunnel.wait_for_count("SEND FAIL", step as usize + 1);
        gate.pass(STEP_BYTES);
    }
    gate.pass(u64::MAX);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{mode}: {error}"));
    sending.join().expect("everything was taken");
    assert_eq!(answer.trim(), digest(bytes), "{mode}");
}
