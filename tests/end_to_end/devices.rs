//! Goal of this test: the modem's ports may appear late, be locked, be several, or be on a device server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;

use qssl_modem_emulator::test_server::{Behaviour, ServerOptions, TestServer};

use qssl_test_common::harness::{
    Ended, Gate, MODES, Modem, Running, Site, Tunnel, connect, curl, digest, echo, free_address, identity,
    patterned_file, program, read_to_end, rounds, run, sha256_hex, temporary_directory, tunnel_command,
};

#[test]
fn a_device_that_appears_later_is_waited_for_and_that_is_said_once() {
    let directory = temporary_directory();
    let link = directory.path().join("modem");
    let link = link.to_str().expect("temporary paths are text");
    let server = echo_server();
    let tunnel = Tunnel::verified(&[link], &[]);
    let said = tunnel.wait_for("waiting for it");
    assert!(said.contains(&format!("{link}: no such device")), "{said}");
    // A client that connects in the meantime is served when the modem appears.
    let mut client = connect(tunnel.address());
    client.write_all(b"early").expect("the tunnel takes it");
    let _modem = Modem::start(server.address(), &format!("--link {link}"));
    tunnel.wait_until_ready();
    let mut answer = [0; 5];
    client.read_exact(&mut answer).expect("the server answers");
    assert_eq!(&answer, b"early");
    let log = tunnel.log();
    assert_eq!(log.matches("waiting for it").count(), 1, "{log}");
}

#[test]
fn listen_does_not_wait_where_that_is_not_wanted() {
    let arguments =
        ["listen", "127.0.0.1:0", "--to", "server.test:443", "--insecure", "-d", "/nonexistent/modem"];
    let finished = run(tunnel_command(&arguments).arg("--no-wait"));
    assert_eq!(finished.status, 7, "{}", finished.stderr);
    assert!(finished.stderr.contains("/nonexistent/modem: no such device"), "{}", finished.stderr);
}

#[test]
fn a_file_that_is_no_tty_is_called_so() {
    let directory = temporary_directory();
    let file = directory.path().join("file");
    fs::write(&file, "").expect("the directory is ours");
    let file = file.to_str().expect("temporary paths are text");
    let finished = run(&mut tunnel_command(&["connect", "server.test:443", "--insecure", "-d", file]));
    assert_eq!(finished.status, 7, "{}", finished.stderr);
    assert!(finished.stderr.contains("not a serial device"), "{}", finished.stderr);
}

#[test]
fn two_ports_of_one_modem_carry_all_its_sockets() {
    let server = echo_server();
    let directory = temporary_directory();
    let path =
        |name: &str| directory.path().join(name).to_str().expect("temporary paths are text").to_owned();
    let (first, second) = (path("first"), path("second"));
    let _modem = Modem::start(server.address(), &format!("--link {first} --link {second}"));
    for mode in MODES {
        let tunnel = Tunnel::verified(&[&first, &second], &["--mode", mode, "-vv"]);
        // In transparent mode one port is kept for commands.
        let count = if mode == "transparent" { 1 } else { 12 };
        let mut clients: Vec<TcpStream> = (0..count).map(|_| connect(tunnel.address())).collect();
        for _ in 0..5 {
            for client in &mut clients {
                echo(client, mode.repeat(1000).as_bytes());
            }
        }
        let log = tunnel.log();
        assert_eq!(log.matches(": open after ").count(), count, "a line for each connection: {log}");
        let said = |line: &&str| line.contains(" > ") || line.contains(" < ");
        let names = |line: &&str| line.contains(&first) || line.contains(&second);
        let unnamed: Vec<&str> = log.lines().filter(said).filter(|line| !names(line)).collect();
        assert!(log.lines().any(|line| said(&line)) && unnamed.is_empty(), "{mode}: whose is {unnamed:?}");
    }
}

#[test]
fn the_loss_of_one_port_leaves_the_other() {
    let server = echo_server();
    let modem = Modem::start(server.address(), "--tcp 127.0.0.1:0 --tcp 127.0.0.1:0");
    let address_of = |port: usize| {
        let device = modem.device(port);
        device.trim_start_matches("tcp://").parse().expect("an address")
    };
    for lost in 0..2 {
        let gates = [Gate::open(address_of(0)), Gate::open(address_of(1))];
        let devices = gates.each_ref().map(|gate| format!("tcp://{}", gate.address()));
        let tunnel = Tunnel::verified(&[&devices[0], &devices[1]], &[]);
        tunnel.wait_for_count("open", 2);
        echo(&mut connect(tunnel.address()), b"before");
        gates[lost].shut();
        tunnel.wait_for("port lost");
        for _ in 0..3 {
            echo(&mut connect(tunnel.address()), b"afterwards");
        }
    }
}

#[test]
fn behind_a_real_ser2net_in_every_mode() {
    let bytes = 1024 * 1024 * rounds(1, 16) as u64;
    for mode in MODES {
        let site = Site::new(Behaviour::Http, "");
        let ser2net = Ser2net::start(&site.modem.device(0));
        let tunnel = Tunnel::verified(&[&ser2net.device], &["--mode", mode]);
        let directory = temporary_directory();
        let file = patterned_file(directory.path(), bytes);
        let answer = run(curl(&tunnel, "/").arg("--upload-file").arg(file)).expect_success();
        assert_eq!(answer.text().trim(), digest(bytes), "{mode}: {}", tunnel.log());
        let body = run(&mut curl(&tunnel, &format!("/bytes/{bytes}"))).expect_success().stdout;
        assert_eq!(sha256_hex(&body), digest(bytes), "{mode}: {}", tunnel.log());
    }
}

/// The bytes that ser2net, its tty and the network hold when a modem reboots still reach it, in command mode. Megabytes
/// of a client's payload were echoed, and its lines were executed as commands.
#[test]
fn behind_a_real_ser2net_a_reboot_in_mid_upload_runs_no_line_of_it() {
    const REBOOT_AT_BYTES: u64 = 20_000;
    // Half a second at this baud rate, and the two buffers of a pseudoterminal, make half of this limit.
    const ON_ITS_WAY_MAX_BYTES: usize = 40_960;
    let site = Site::new(
        Behaviour::Digest { bytes: u64::MAX },
        "--baud 115200 --boot-time 500ms --quirk everything_echoed",
    );
    let ser2net = Ser2net::start(&site.modem.device(0));
    let tunnel = Tunnel::verified(&[&ser2net.device], &["--mode", "transparent"]);
    let shown = || site.modem.embedded.with_modem(|modem, _, _| modem.message_indications());
    tunnel.wait_until_ready();
    let before = shown();
    let mut client = connect(tunnel.address());
    let mut writer = client.try_clone().expect("a descriptor is free");
    let writing = thread::spawn(move || {
        let plain: Vec<u8> = {
            let length = REBOOT_AT_BYTES as usize + ON_ITS_WAY_MAX_BYTES;
            b"no line of this is a command\r\n".iter().copied().cycle().take(length).collect()
        };
        let commands = b"\r\nAT+CNMI=1,0,0,0,1\r\n".repeat(1_000);
        let mut result = writer.write_all(&plain);
        while result.is_ok() {
            result = writer.write_all(&commands);
        }
        result
    });
    site.server.wait_for(|records| records.iter().any(|record| record.received_bytes >= REBOOT_AT_BYTES));
    site.modem.embedded.with_modem(|modem, _, now| modem.reboot(now)).expect("the modem runs");
    let (count, _, ended) = read_to_end(&mut client);
    let written = writing.join().expect("it ends with its connection");
    // The system reports a reset only once: to the reader, or to the writer if that is faster.
    let is_reset = ended == Ended::Reset
        || written.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
    assert!(count == 0 && is_reset, "the server has said nothing, {ended:?}: {}", tunnel.log());
    tunnel.wait_for_count("ready after", 2);
    assert_eq!(shown(), before, "a line of the payload was run: {}", tunnel.log());

    connect(tunnel.address()).write_all(b"again").expect("the tunnel takes it");
    site.server.wait_for(|records| records.len() == 2 && records[1].received_bytes >= 5);
}

/// udev sets the group of a device a moment after the kernel has made it: every replug caused a warning.
#[test]
fn a_device_that_has_no_group_for_a_moment_is_no_reason_to_warn() {
    let site = Site::new(Behaviour::Echo, "");
    let device = fs::canonicalize(site.modem.device(0)).expect("it is there");
    let allow = |mode| fs::set_permissions(&device, fs::Permissions::from_mode(mode)).expect("it is ours");
    for comes in [true, false] {
        allow(0o000);
        let device = site.modem.device(0);
        let mut command =
            tunnel_command(&["listen", "127.0.0.1:0", "--to", "server.test:443", "--insecure", "-vv"]);
        command.args(["-d", &device]);
        if rustix::process::geteuid().is_root() {
            // Permissions do not stop root.
            command.uid(NOBODY).gid(NOBODY);
        }
        let tunnel = Running::start(&mut command);
        tunnel.wait_for("permission denied");
        let warned = "permission denied: ";
        let is_warning = |line: &str| line.contains(warned) && line.contains("waiting for it");
        if comes {
            allow(0o666);
            tunnel.log.wait_for("readiness", |line| line.ends_with("ready").then_some(()));
            let log = tunnel.log();
            assert!(!log.lines().any(is_warning), "{log}");
        } else {
            // If the device stays forbidden, the user must be warned.
            tunnel.log.wait_for("a warning", |line| is_warning(line).then_some(()));
        }
    }
}

#[test]
fn a_device_server_that_dies_resets_clients_and_is_waited_for() {
    let site = Site::new(Behaviour::Echo, "");
    let ser2net = Ser2net::start(&site.modem.device(0));
    let tunnel = Tunnel::verified(&[&ser2net.device], &[]);
    let mut client = connect(tunnel.address());
    echo(&mut client, b"hello");
    let again = ser2net.restart();
    assert_eq!(read_to_end(&mut client).2, Ended::Reset, "{}", tunnel.log());
    echo(&mut connect(tunnel.address()), b"hello again");
    drop(again);
}

/// ser2net, a common device server, in front of one tty.
struct Ser2net {
    device: String,
    configuration: tempfile::NamedTempFile,
    process: Running,
}

impl Ser2net {
    fn start(tty: &str) -> Ser2net {
        let address = free_address();
        let text = format!(
            "%YAML 1.1\n---\nconnection: &modem\n  accepter: telnet(rfc2217),tcp,{},{}\n  \
             connector: serialdev,{tty},115200n81,local\n  options:\n    kickolduser: true\n    chardelay: false\n",
            address.ip(),
            address.port()
        );
        let configuration = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(configuration.path(), text).expect("the file is ours");
        let process = Ser2net::run(&configuration);
        // Not waited for: the tunnel tries until it connects.
        Ser2net { device: format!("rfc2217://{address}"), configuration, process }
    }

    fn run(configuration: &tempfile::NamedTempFile) -> Running {
        let mut command = Command::new(program("ser2net"));
        Running::start(command.args(["-n", "-d", "-u", "-c"]).arg(configuration.path()))
    }

    fn restart(self) -> Ser2net {
        let Ser2net { device, configuration, process } = self;
        drop(process);
        let process = Ser2net::run(&configuration);
        Ser2net { device, configuration, process }
    }
}

fn echo_server() -> TestServer {
    let identity = Some(identity().clone());
    let options = ServerOptions { identity, behaviour: Behaviour::Echo, ..ServerOptions::default() };
    TestServer::start(options).expect("the server starts")
}

/// A user without any rights.
const NOBODY: u32 = 65_534;
