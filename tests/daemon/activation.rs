//! Goal of this test: a socket that systemd passes is served (the real systemd-socket-activate does it here), and
//! its file stays systemd's.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use crate::daemon::tunnel;
use crate::harness::{Running, Site, connect, free_address, program, temporary_directory};

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

#[test]
fn a_configuration_names_its_sockets_and_their_files_are_left_alone() {
    let site = Site::new(Behaviour::Echo, "");
    let directory = temporary_directory();
    let path = directory.path().join("web.sock");
    let configuration = directory.path().join("run.toml");
    let address = free_address();
    let [first, second] =
        ["first", "second"].map(|name| tunnel(name, "").replace("127.0.0.1:0", &format!("systemd:{name}")));
    let head = format!("[modem]\ndevice = \"{}\"\n[process]\ncontrol = \"none\"\n", site.modem.device(0));
    fs::write(&configuration, head + &first + &second).expect("the directory is ours");
    let mut command = Command::new(program("systemd-socket-activate"));
    command.env_clear().arg(format!("--listen={address}")).arg("--listen").arg(&path);
    command.args(["--fdname=second:first", env!("CARGO_BIN_EXE_qssl-tunnel"), "run", "--config"]);
    let mut running = Running::start(command.arg(&configuration));
    running.log.wait_for("the activator listens", |line| line.contains(".sock").then_some(()));
    let mut unix = UnixStream::connect(&path).expect("the activator listens");
    unix.write_all(b"hello").expect("the tunnel reads");
    unix.read_exact(&mut [0; 5]).expect("the server echoes");
    let mut tcp = connect(address);
    tcp.write_all(b"hello").expect("the tunnel reads");
    tcp.read_exact(&mut [0; 5]).expect("the server echoes");
    let log = running.log.so_far();
    assert!(log.contains(&format!("listening on unix:{}", path.display())), "{log}");

    // The activator has become the daemon.
    drop((unix, tcp));
    running.signal(Signal::TERM);
    let (status, log) = running.wait();
    assert_eq!(status, 0, "{log}");
    assert!(path.exists(), "it is not ours to remove");
}
