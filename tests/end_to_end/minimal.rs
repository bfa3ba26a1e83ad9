//! Goal of this test: the example of qssl-core is a working tunnel, with nothing of the program around it.

use std::process::Command;

use qssl_modem_emulator::test_server::Behaviour;
use qssl_test_common::harness::{Running, Site, connect, echo, free_address, patterned_bytes};
use qssl_test_common::program_under_test;

#[test]
fn the_example_of_the_core_serves_two_clients_at_once() {
    let example = program_under_test().with_file_name("examples").join("minimal");
    assert!(example.is_file(), "{} is missing: cargo build -p qssl-core --examples", example.display());
    let site = Site::new(Behaviour::Echo, "--tcp 127.0.0.1:0");
    let (listen, device) = (free_address(), site.modem.device(0));
    let mut command = Command::new(example);
    command.args([&listen.to_string(), "server.test:443", device.trim_start_matches("tcp://")]);
    let minimal = Running::start(&mut command);
    minimal.wait_for("ready");
    let (mut one, mut other) = (connect(listen), connect(listen));
    for client in [&mut one, &mut other] {
        echo(client, &patterned_bytes(20_000));
    }
    drop(one);
    echo(&mut other, b"the first client has left");
}
