//! Goal of this test: a socket that systemd passes is served (the real systemd-socket-activate does it here).

use std::io::{Read as _, Write as _};
use std::process::Command;

use qssl_modem_emulator::test_server::Behaviour;

use crate::harness::{Running, Site, connect, free_address, program};

#[test]
fn a_socket_of_systemd_is_listened_on() {
    let site = Site::new(Behaviour::Echo, "");
    let device = site.modem.device(0);
    let address = free_address();
    let mut command = Command::new(program("systemd-socket-activate"));
    command.env_clear().arg(format!("--listen={address}")).arg("--fdname=web");
    command.args([env!("CARGO_BIN_EXE_qssl-tunnel"), "listen", "systemd:web"]).args(site.usual(&device));
    let running = Running::start(&mut command);
    running.log.wait_for("the activator listens", |line| line.contains("Listening on").then_some(()));
    let mut client = connect(address);
    client.write_all(b"hello").expect("the tunnel reads");
    let mut echo = [0; 5];
    client.read_exact(&mut echo).expect("the server echoes");
    assert_eq!(&echo, b"hello");
}
