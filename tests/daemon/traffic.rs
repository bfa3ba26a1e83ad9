//! Goal of this test: `-x` prints the traffic, `-r` and `-R` record the two directions.

use std::fs;
use std::io::{Read as _, Write as _};

use qssl_modem_emulator::test_server::Behaviour;

use qssl_test_common::harness::{Site, connect, temporary_directory};

#[test]
fn both_directions_are_printed_and_recorded() {
    let site = Site::new(Behaviour::Echo, "");
    let directory = temporary_directory();
    let (up, down) = (directory.path().join("up"), directory.path().join("down"));
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let tunnel = site.tunnel(&["-x", "-r", &text(&up), "-R", &text(&down)]);
    let mut client = connect(tunnel.address());
    client.write_all(b"hello\n").expect("the tunnel reads");
    client.read_exact(&mut [0; 6]).expect("the server echoes");
    tunnel.wait_for("< 00000000  68 65 6c 6c 6f 0a");
    assert!(tunnel.log().contains("> 00000000  68 65 6c 6c 6f 0a"), "{}", tunnel.log());
    assert_eq!(fs::read(&up).expect("it was written"), b"hello\n");
    assert_eq!(fs::read(&down).expect("it was written"), b"hello\n");
}
