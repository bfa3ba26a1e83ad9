//! Goal of this test: a tunnel that was killed in the middle of a transfer and started again can use the modem,
//! whatever was interrupted: it takes over the port, ends a send or data mode, closes the old socket, and serves a new
//! client, in every access mode. The clients of the killed tunnel are reset, whatever has killed it.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use qssl_test_common::harness::{
    Ended, MODES, PATIENCE, Site, Tunnel, connect, curl, digest, patterned_bytes, read_to_end, rounds, run,
    sha256_hex, temporary_directory,
};

/// After this many bytes, a transfer is in its middle.
const SOME_BYTES: u64 = 500_000;

#[test]
fn in_the_middle_of_an_upload_in_every_mode() {
    for mode in MODES {
        let site = Site::new(Behaviour::Http, "");
        killed_while_uploading(&site, mode);
        has_the_modem_back(&site, mode);
    }
}

#[test]
fn in_the_middle_of_a_download_in_every_mode() {
    for mode in MODES {
        // At the speed of a UART: gigabytes of random payload contain any text, even `OK`.
        let site = Site::new(Behaviour::Http, "--baud 921600");
        let tunnel = site.tunnel(&["--mode", mode, "-b", "921600"]);
        let mut client = connect(tunnel.address());
        client
            .write_all(b"GET /bytes/1000000000 HTTP/1.1\r\nHost: server.test\r\n\r\n")
            .expect("it is taken");
        client.read_exact(&mut vec![0; 100_000]).expect("the server sends");
        kill(tunnel);
        has_the_modem_back(&site, mode);
    }
}

#[test]
fn with_a_send_that_has_got_half_of_its_bytes() {
    for mode in ["push", "buffer"] {
        let site = Site::new(Behaviour::Http, "");
        killed_while_uploading(&site, mode);
        // A process may be killed between two writes of one chunk. Its socket is number 0.
        let mut port =
            OpenOptions::new().read(true).write(true).open(site.modem.device(0)).expect("it is free");
        // The process may also have been killed before the payload of its last send, which empty lines complete.
        port.write_all(&[b'\r'; 1460]).expect("the modem reads");
        port.write_all(b"AT+QSSLSEND=0,1460\r").expect("the modem reads");
        let mut heard = Vec::new();
        while !heard.ends_with(b"> ") {
            let mut byte = [0];
            port.read_exact(&mut byte).expect("the modem prompts");
            heard.push(byte[0]);
        }
        port.write_all(&[b'x'; 700]).expect("the modem reads");
        drop(port);
        has_the_modem_back(&site, mode);
    }
}

#[test]
fn several_times_in_a_row() {
    let site = Site::new(Behaviour::Http, "");
    for round in 0..rounds(4, 10) {
        killed_while_uploading(&site, MODES[round % MODES.len()]);
    }
    has_the_modem_back(&site, "push");
}

#[test]
fn its_clients_are_reset_in_every_mode() {
    for mode in MODES {
        let site = Site::new(Behaviour::Http, "--baud 921600");
        let tunnel = site.tunnel(&["--mode", mode, "-b", "921600"]);
        let clients = downloading(&tunnel, if mode == "transparent" { 1 } else { 12 });
        kill(tunnel);
        assert_all_reset(clients);
    }
}

#[test]
fn clients_that_only_read_are_reset_too() {
    let site = Site::new(Behaviour::Source { bytes: 1_000_000_000 }, "--baud 921600");
    let tunnel = site.tunnel(&["-b", "921600"]);
    let clients = (0..6).map(|_| {
        let mut client = connect(tunnel.address());
        client.read_exact(&mut [0; 5_000]).expect("the server sends");
        client
    });
    let clients: Vec<TcpStream> = clients.collect();
    kill(tunnel);
    assert_all_reset(clients);
}

#[test]
fn clients_of_a_unix_socket_are_reset_once_they_have_sent_something() {
    let site = Site::new(Behaviour::Http, "--baud 921600");
    let directory = temporary_directory();
    let path = directory.path().join("web");
    let device = site.modem.device(0);
    let listen = format!("unix:{}", path.display());
    let usual = site.usual(&device);
    let tunnel = Tunnel::listen(&[&[listen.as_str()], &usual[..], &["-b", "921600"]].concat());
    let clients = (0..4).map(|_| {
        let mut client = UnixStream::connect(&path).expect("the tunnel listens");
        client.set_read_timeout(Some(PATIENCE)).expect("the limit is not zero");
        ask(&mut client);
        client
    });
    let clients: Vec<UnixStream> = clients.collect();
    kill(tunnel);
    assert_all_reset(clients);
}

/// The kernel kills it by the memory limit of a cgroup if one can be made, or else by a limit of processor time.
#[test]
fn its_clients_are_reset_when_the_kernel_kills_it() {
    // Without a limit of speed, it soon takes the second of processor time.
    let site = Site::new(Behaviour::Http, "");
    let tunnel = site.tunnel(&[]);
    let clients = downloading(&tunnel, 12);
    let limited = MemoryLimit::on(tunnel.id());
    if limited.is_none() {
        eprintln!("no cgroup can be made here: the limit of processor time kills it instead");
        let pid = i32::try_from(tunnel.id()).ok().and_then(Pid::from_raw);
        prlimit(pid, Resource::Cpu, Rlimit { current: Some(1), maximum: Some(1) }).expect("it is our child");
    }
    assert_all_reset(clients);
    assert_eq!(tunnel.wait().0, 137);
}

/// A cgroup with very little memory that contains one process.
struct MemoryLimit(PathBuf);

impl MemoryLimit {
    /// `None`: no cgroup can be made on this machine.
    fn on(process: u32) -> Option<MemoryLimit> {
        let name = format!("qssl-tunnel-test-{}", std::process::id());
        let versions = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        versions.iter().find_map(|(root, limit)| {
            let directory = Path::new(root).join(&name);
            fs::create_dir(&directory).ok()?;
            let group = MemoryLimit(directory);
            fs::write(group.0.join(limit), "65536").ok()?;
            fs::write(group.0.join("cgroup.procs"), process.to_string()).ok()?;
            Some(group)
        })
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // The cgroup is empty by now. If this fails, only an empty directory stays.
        let _ = fs::remove_dir(&self.0);
    }
}

/// This many clients in the middle of a download.
fn downloading(tunnel: &Tunnel, count: usize) -> Vec<TcpStream> {
    let clients = (0..count).map(|_| {
        let mut client = connect(tunnel.address());
        ask(&mut client);
        client
    });
    clients.collect()
}

fn ask(client: &mut (impl Read + Write)) {
    client.write_all(b"GET /bytes/1000000000 HTTP/1.1\r\nHost: server.test\r\n\r\n").expect("it is taken");
    client.read_exact(&mut [0; 3_000]).expect("the server sends");
}

#[track_caller]
fn assert_all_reset(mut clients: Vec<impl Read>) {
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(read_to_end(client).2, Ended::Reset, "client {number}");
    }
}

fn killed_while_uploading(site: &Site, mode: &str) {
    let before = site.server.records().len();
    let tunnel = site.tunnel(&["--mode", mode]);
    let mut client: TcpStream = connect(tunnel.address());
    client
        .write_all(b"PUT / HTTP/1.1\r\nHost: server.test\r\nContent-Length: 1000000000\r\n\r\n")
        .expect("it is taken");
    // The thread ends with the tunnel.
    let uploading = thread::spawn(move || while client.write_all(&patterned_bytes(65_536)).is_ok() {});
    site.server
        .wait_for(|records| records.get(before).is_some_and(|record| record.received_bytes >= SOME_BYTES));
    kill(tunnel);
    uploading.join().expect("writing does not panic");
}

fn kill(tunnel: Tunnel) {
    tunnel.signal(Signal::KILL);
    assert_eq!(tunnel.wait().0, 137);
}

fn has_the_modem_back(site: &Site, mode: &str) {
    const BYTES: u64 = 100_000;
    let tunnel = site.tunnel(&["--mode", mode]);
    let page = run(&mut curl(&tunnel, &format!("/bytes/{BYTES}"))).expect_success().stdout;
    assert_eq!(sha256_hex(&page), digest(BYTES), "{mode}: {}", tunnel.log());
    // The last record is that of the new connection.
    site.server.wait_for(|records| records[..records.len() - 1].iter().all(|record| record.over));
}
