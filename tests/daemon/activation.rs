//! Goal of this test: a socket that systemd passes is served (here by the real systemd-socket-activate), and its
//! file is not removed. A daemon that cannot serve it leaves no waiting client that would start it again.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use crate::daemon::tunnel;
use qssl_test_common::harness::{
    Ended, Running, Site, connect, free_address, program, read_to_end, run, temporary_directory,
    tunnel_command,
};

#[test]
fn a_socket_of_systemd_is_listened_on() {
    let site = Site::new(Behaviour::Echo, "");
    let device = site.modem.device(0);
    let address = free_address();
    let mut command = Command::new(program("systemd-socket-activate"));
    command.env_clear().arg(format!("--listen={address}")).arg("--fdname=web");
    command.args([env!("CARGO_BIN_EXE_qssl-tunnel"), "listen", "systemd:web"]).args(site.usual(&device));
    let running = Running::start(&mut command);
    running.wait_for("Listening on");
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
    let running = Running::start(command.arg(&configuration));
    running.wait_for(".sock");
    let mut unix = UnixStream::connect(&path).expect("the activator listens");
    unix.write_all(b"hello").expect("the tunnel reads");
    unix.read_exact(&mut [0; 5]).expect("the server echoes");
    let mut tcp = connect(address);
    tcp.write_all(b"hello").expect("the tunnel reads");
    tcp.read_exact(&mut [0; 5]).expect("the server echoes");
    let log = running.log();
    assert!(log.contains(&format!("listening on unix:{}", path.display())), "{log}");

    // The activator has become the daemon.
    drop((unix, tcp));
    running.signal(Signal::TERM);
    running.ends_with(0);
    assert!(path.exists(), "it is not ours to remove");
}

#[test]
fn clients_are_turned_away_while_the_configuration_is_wrong() {
    let directory = temporary_directory();
    let configuration = directory.path().join("run.toml");
    fs::write(&configuration, "[[tunnel]]\nlisten = \"systemd:web\"\n").expect("the directory is ours");
    // Like systemd, the test keeps the socket open after the end of the daemon.
    let socket = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = socket.local_addr().expect("it is bound");
    let mut waiting = connect(address);
    let inherited = rustix::io::dup(&socket).expect("a descriptor is free");
    let mut command = Command::new("bash");
    command.env_clear().env("PATH", "/usr/bin:/bin").arg("-c");
    let descriptor = inherited.as_raw_fd();
    command.arg(format!("exec 3<&{descriptor} env LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web \"$@\""));
    command.args(["bash", env!("CARGO_BIN_EXE_qssl-tunnel"), "run", "--config"]).arg(&configuration);
    let running = Running::start(&mut command);
    assert_eq!(read_to_end(&mut waiting).2, Ended::Reset);
    running.ends_with(2);

    let _next = connect(address);
    socket.accept().expect("the next client waits for the next start");
}

#[test]
fn a_service_that_was_started_without_its_socket_says_what_to_start() {
    let mut command = tunnel_command(&["listen", "systemd:web", "--to", "server.test:443", "--insecure"]);
    let finished = run(&mut command);
    assert_eq!(finished.status, 1, "{}", finished.stderr);
    assert!(finished.stderr.contains("start the socket unit"), "{}", finished.stderr);
}
