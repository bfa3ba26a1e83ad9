//! Goal of this test: a socket that systemd passes is served (here by the real systemd-socket-activate), and its
//! file is not removed. A daemon that cannot serve it leaves no waiting client that would start it again, and no client
//! is refused while a daemon is restarted.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::IntoRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use crate::daemon::tunnel;
use qssl_test_common::harness::{
    Ended, PATIENCE, Running, Site, connect, free_address, program, read_to_end, run, temporary_directory,
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
    let running = Running::start(&mut with_socket(&socket, &configuration));
    assert_eq!(read_to_end(&mut waiting).2, Ended::Reset);
    running.ends_with(2);

    let _next = connect(address);
    socket.accept().expect("the next client waits for the next start");
}

/// The socket outlives each process, so a client that comes between two of them waits for the next.
#[test]
fn no_client_is_refused_while_the_service_is_restarted() {
    let site = Site::new(Behaviour::Echo, "");
    let directory = temporary_directory();
    let configuration = directory.path().join("run.toml");
    let head = format!("[modem]\ndevice = \"{}\"\n[process]\ncontrol = \"none\"\n", site.modem.device(0));
    let section = tunnel("web", "").replace("127.0.0.1:0", "systemd:web");
    fs::write(&configuration, head + &section).expect("the directory is ours");
    let socket = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = socket.local_addr().expect("it is bound");

    let answered = AtomicUsize::new(0);
    let next = |count: &AtomicUsize| count.fetch_add(1, Ordering::SeqCst);
    let (begun, restarts) = (AtomicUsize::new(0), 3);
    thread::scope(|scope| {
        let clients = [(); AT_ONCE].map(|()| {
            scope.spawn(|| {
                while next(&begun) < CLIENTS {
                    let mut client = TcpStream::connect(address).expect("it is not refused");
                    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                    client.write_all(b"hello").expect("the tunnel reads");
                    let mut echo = [0; 5];
                    client.read_exact(&mut echo).expect("the server echoes");
                    assert_eq!(&echo, b"hello");
                    next(&answered);
                }
            })
        });
        let go_on = || clients.iter().any(|client| !client.is_finished());
        for restart in 1..=restarts {
            let running = Running::start(&mut with_socket(&socket, &configuration));
            let some = CLIENTS * restart / (restarts + 1);
            while answered.load(Ordering::SeqCst) < some && go_on() {
                thread::park_timeout(PAUSE);
            }
            running.signal(Signal::TERM);
            running.ends_with(0);
        }
        let _last = Running::start(&mut with_socket(&socket, &configuration));
        for client in clients {
            client.join().expect("each of its clients is served");
        }
    });
}

/// As systemd starts it.
fn with_socket(socket: &TcpListener, configuration: &Path) -> Command {
    let inherited = rustix::io::dup(socket).expect("a descriptor is free").into_raw_fd();
    let mut command = Command::new("bash");
    command.env_clear().env("PATH", "/usr/bin:/bin").arg("-c");
    command.arg(format!("exec 3<&{inherited} env LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web \"$@\""));
    command.args(["bash", env!("CARGO_BIN_EXE_qssl-tunnel"), "run", "--config"]).arg(configuration);
    command
}

/// Clients in all, and at once: no more than the modem has sockets, so that none waits for one.
const CLIENTS: usize = 1_000;
const AT_ONCE: usize = 10;
const PAUSE: Duration = Duration::from_millis(5);

#[test]
fn a_service_that_was_started_without_its_socket_says_what_to_start() {
    let mut command = tunnel_command(&["listen", "systemd:web", "--to", "server.test:443", "--insecure"]);
    let finished = run(&mut command);
    assert_eq!(finished.status, 1, "{}", finished.stderr);
    assert!(finished.stderr.contains("start the socket unit"), "{}", finished.stderr);
}
