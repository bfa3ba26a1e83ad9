//! Goal of this test: whatever a modem does to its connections, their clients are reset, no byte is wrong, and
//! the daemon serves the next clients by itself.

use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use qssl_modem_emulator::test_server::{Behaviour, fill_pattern};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::daemon::{Daemon, SOCKS_GREETED, SOCKS_GREETING, SOCKS_REQUEST, proxy, socks_reply, tunnel};
use qssl_test_common::harness::{
    Ended, Modem, PATIENCE, Pty, Running, Site, connect, program, read_to_end, run, temporary_directory,
};

#[test]
fn at_the_end_clients_that_named_their_targets_learn_that_the_modem_is_not_ready() {
    let site = Site::new(Behaviour::Echo, "--registration-denied");
    let daemon = Daemon::launch(&site, &proxy("web", ""), "", |_| ());
    daemon.wait_for("denied");
    let asked = |request: &[u8]| {
        let mut client = connect(daemon.address());
        client.write_all(request).expect("it is read");
        client
    };
    let by_socks = asked(&[SOCKS_GREETING, SOCKS_REQUEST].concat());
    let by_http = asked(b"CONNECT server.test:443 HTTP/1.1\r\n\r\n");
    daemon.wait_until("both wait", |status| status.counts().waiting_clients == 2);
    daemon.signal(rustix::process::Signal::TERM);
    let answer = |mut client: TcpStream| {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("the proxy closes in order");
        answer
    };
    let (unreachable, unready) = (socks_reply(3), "HTTP/1.1 503 The modem is not ready\r\n");
    assert_eq!(answer(by_socks), [&SOCKS_GREETED[..], &unreachable].concat(), "{}", daemon.log());
    assert!(answer(by_http).starts_with(unready.as_bytes()), "{}", daemon.log());
    daemon.ends_with(0);
}

#[test]
fn unplugged_and_plugged_in_under_another_name() {
    let directory = temporary_directory();
    let name = |number: u8| directory.path().join(format!("ttyUSB{number}"));
    let mut site = Site::new(Behaviour::Echo, &format!("--link {}", name(2).display()));
    let pattern = directory.path().join("ttyUSB*");
    let daemon = Daemon::on(pattern.to_str().expect("text"), "", &tunnel("web", ""), "", |_| ());
    daemon.wait_for("ready");
    let tty = fs::canonicalize(name(2)).expect("it is plugged in");
    assert!(has_open(&daemon, &tty));

    let clients = Clients::start(daemon.address(), 12);
    let server = site.server.address();
    // One statement: the old device is removed before the new one is found.
    site.modem = Modem::start(server, "");
    clients.all_end_in_a_reset(&daemon);
    daemon.wait_for("no such device");
    assert!(!has_open(&daemon, &tty), "a descriptor that stays open keeps the name taken");

    site.modem = Modem::start(server, &format!("--link {}", name(5).display()));
    daemon.wait_for_count("ready after", 2);
    let again = Clients::start(daemon.address(), 12);
    again.all_end_in_order();
    let status = daemon.status();
    assert!(status.ports[0].name.ends_with("ttyUSB5"), "{:?}", status.ports);
    assert_eq!((status.counts().modem.port_opens, status.tunnels[0].counters.resets), (2, 12));
}

#[test]
fn without_a_sim_it_stays_up_and_says_why() {
    let site = Site::new(Behaviour::Echo, "--no-sim");
    let daemon = Daemon::launch(&site, &tunnel("web", ""), "", |_| ());
    daemon.wait_for("the SIM cannot be used");
    let status = daemon.wait_until("a reason", |status| {
        status.modem.session.as_ref().is_some_and(|words| words.contains("SIM"))
    });
    assert_eq!(status.state, "waiting");
    let said = daemon.log().matches("the SIM cannot be used").count();
    assert!(said <= 2, "{}", daemon.log());
    daemon.signal(rustix::process::Signal::TERM);
    daemon.ends_with(0);
}

#[test]
fn a_reboot_in_mid_transfer() {
    let site = Site::new(Behaviour::Echo, "--boot-time 500ms");
    let daemon = Daemon::start(&site);
    let clients = Clients::start(daemon.address(), 12);
    site.modem.embedded.with_modem(|modem, _, now| modem.reboot(now)).expect("the modem runs");
    clients.all_end_in_a_reset(&daemon);
    daemon.wait_for("the modem rebooted; every connection is reset");
    daemon.wait_for_count("ready after", 2);
    Clients::start(daemon.address(), 12).all_end_in_order();
    assert_eq!(daemon.status().counts().modem.reboots, 1, "{}", daemon.log());
}

#[test]
fn a_data_session_that_is_lost_in_mid_transfer() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let clients = Clients::start(daemon.address(), 12);
    site.modem.embedded.with_modem(|modem, _, now| modem.drop_pdp(1, now)).expect("the modem runs");
    clients.all_end_in_a_reset(&daemon);
    daemon.wait_for("the data session was lost; every connection is reset");
    daemon.wait_for_count("ready after", 2);
    Clients::start(daemon.address(), 12).all_end_in_order();
    let status = daemon.status();
    assert_eq!((status.counts().modem.reboots, status.counts().modem.port_opens), (0, 1), "{}", daemon.log());
}

#[test]
fn a_data_session_that_claims_to_stand_and_carries_nothing_is_rebuilt() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    Clients::start(daemon.address(), 1).all_end_in_order();
    site.modem.embedded.with_modem(|modem, _, now| modem.wear_out_pdp(1, now)).expect("the modem runs");
    // The daemon detects it from failed opens; how many it needs is not tested.
    for _ in 0..3 {
        assert_eq!(read_to_end(&mut connect(daemon.address())).2, Ended::Reset, "{}", daemon.log());
    }
    daemon.wait_for("the data session is reported active, but no traffic gets through");
    daemon.wait_for_count("ready after", 2);
    Clients::start(daemon.address(), 1).all_end_in_order();
}

#[test]
fn a_module_that_refuses_every_open_is_rebooted_where_that_is_allowed() {
    let site =
        Site::new(Behaviour::Source { bytes: 100 }, "--quirk opens-until-degraded=20 --boot-time 500ms");
    let device = site.modem.device(0);
    let daemon = Daemon::on(&device, "recovery = \"reboot\"", &tunnel("web", ""), "", |_| ());
    daemon.wait_for("ready");
    // Twice, because the count begins again after the reboot.
    for round in 1..=2 {
        assert_eq!(fetch_until_reset(&daemon), 20, "{}", daemon.log());
        for _ in 0..2 {
            assert_eq!(read_to_end(&mut connect(daemon.address())).2, Ended::Reset);
        }
        daemon.wait_for_count("the module refuses every open with 552", round);
        daemon.wait_for_count("> AT+CFUN=1,1", round);
        daemon.wait_for_count("ready after", round + 1);
    }
    assert_eq!(read_to_end(&mut connect(daemon.address())).0, 100);
    assert_eq!(daemon.status().counts().modem.reboots, 2);
}

#[test]
fn a_module_that_only_a_reboot_would_cure_is_named_where_that_is_not_allowed() {
    let site = Site::new(Behaviour::Source { bytes: 100 }, "--quirk opens-until-degraded=20");
    let daemon = Daemon::start(&site);
    assert_eq!(fetch_until_reset(&daemon), 20, "{}", daemon.log());
    for _ in 0..10 {
        // The reset can come before connect() returns.
        match TcpStream::connect(daemon.address()) {
            Ok(mut client) => assert_eq!(read_to_end(&mut client).2, Ended::Reset),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    daemon.wait_for("the module refuses every open with 552");
    daemon.wait_for("--recovery reboot");
    assert!(!daemon.log().contains("> AT+CFUN=1,1"), "{}", daemon.log());
}

#[test]
fn another_program_on_the_port_is_named_and_outwaited() {
    let site = Site::new(Behaviour::Echo, "");
    let device = site.modem.device(0);
    let mut other = Command::new(program("flock"));
    let other = Running::start(other.args(["--no-fork", &device, "sh", "-c", "echo locked; exec sleep 600"]));
    other.log.wait_for("the lock", |line| (line == "locked").then_some(()));
    let daemon = Daemon::on(&device, "", &tunnel("web", ""), "", |_| ());
    let said = daemon.wait_for("locked by");
    assert!(said.contains(&format!("{device}: locked by ")), "{said}");
    // The emulated modem has the other end open, and is named as well.
    assert!(said.contains(&format!("sleep (pid {})", other.id())), "{said}");
    let mut early = connect(daemon.address());
    early.write_all(b"early").expect("the tunnel takes it");

    drop(other);
    early.read_exact(&mut [0; 5]).expect("the port is ours now");
    assert_eq!(daemon.log().matches("locked by").count(), 1, "{}", daemon.log());
}

#[test]
fn a_port_that_does_not_answer_is_left_free_and_the_next_one_taken() {
    let directory = temporary_directory();
    let name = |number: u8| directory.path().join(format!("ttyUSB{number}"));
    let silent = Pty::new();
    symlink(silent.path(), name(0)).expect("the directory is ours");
    let _site = Site::new(Behaviour::Echo, &format!("--link {}", name(1).display()));
    let pattern = directory.path().join("ttyUSB*");
    let daemon = Daemon::on(pattern.to_str().expect("text"), "", &tunnel("web", ""), "", |_| ());
    daemon.wait_for("ready");
    assert!(silent.received().contains("AT\r"), "the silent port was to be asked first: {}", daemon.log());
    assert!(!has_open(&daemon, silent.path()), "{}", daemon.log());
    run(Command::new(program("flock")).args(["--nonblock", "--no-fork"]).arg(silent.path()).arg("true"))
        .expect_success();
}

#[test]
fn what_a_module_cannot_do_is_said_once() {
    let site = Site::new(Behaviour::Echo, "--family ec20 --boot-time 500ms");
    let daemon = Daemon::start(&site);
    site.modem.embedded.with_modem(|modem, _, now| modem.reboot(now)).expect("the modem runs");
    daemon.wait_for_count("ready after", 2);
    let log = daemon.log();
    assert_eq!(log.matches("does not compare the server's certificate with its name").count(), 1, "{log}");
}

/// How many clients in sequence get their bytes before one is reset.
fn fetch_until_reset(daemon: &Daemon) -> u32 {
    let mut count = 0;
    while read_to_end(&mut connect(daemon.address())).2 == Ended::InOrder {
        count += 1;
        assert!(count < 1000, "{}", daemon.log());
    }
    count
}

/// Whether the daemon has this file open.
fn has_open(daemon: &Daemon, file: &Path) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.id())).expect("it runs");
    descriptors.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == file))
}

/// Clients that each send their own pattern and check the echo, until they are stopped.
struct Clients {
    threads: Vec<JoinHandle<Ended>>,
    /// How many bytes each sends before it leaves.
    stop: Arc<AtomicU64>,
}

impl Clients {
    /// Starts `count` clients, and waits until each is in the middle of its transfer.
    fn start(address: SocketAddr, count: u64) -> Clients {
        let progress: Vec<Arc<AtomicU64>> = (0..count).map(|_| Arc::default()).collect();
        let stop = Arc::new(AtomicU64::new(u64::MAX));
        let threads = progress.iter().zip(0..).map(|(got, number)| {
            let (got, stop) = (Arc::clone(got), Arc::clone(&stop));
            thread::spawn(move || echo_until_the_end(connect(address), number * 1_000_003, &got, &stop))
        });
        let clients = Clients { threads: threads.collect(), stop };
        for (thread, got) in clients.threads.iter().zip(&progress) {
            while got.load(Ordering::Relaxed) < 10_000 {
                assert!(!thread.is_finished(), "it ended before anything went wrong");
                thread::yield_now();
            }
        }
        clients
    }

    fn all_end_in_a_reset(self, daemon: &Daemon) {
        for thread in self.threads {
            let ended = thread.join().expect("every byte was right");
            assert_eq!(ended, Ended::Reset, "{}", daemon.log());
        }
    }

    /// Stops the clients: each sends no more, and gets back all that it has sent.
    fn all_end_in_order(self) {
        self.stop.store(0, Ordering::Relaxed);
        for thread in self.threads {
            assert_eq!(thread.join().expect("every byte was right"), Ended::InOrder);
        }
    }
}

/// One client: it gets back what it has sent, or the test fails. It stops sending after `stop` bytes, and leaves when
/// it has received everything.
fn echo_until_the_end(stream: TcpStream, offset: u64, got: &AtomicU64, stop: &AtomicU64) -> Ended {
    stream.set_nonblocking(true).expect("a socket");
    let mut sent = 0;
    let (mut bytes, mut expected) = ([0; 4096], [0; 4096]);
    let limit = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    loop {
        let received = got.load(Ordering::Relaxed);
        let stops = sent >= stop.load(Ordering::Relaxed);
        if stops && received == sent {
            return Ended::InOrder;
        }
        // Not too many bytes under way, so that the client can end soon.
        let writes = !stops && sent - received < 100_000;
        let interest = if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let ready = poll(&mut [PollFd::new(&stream, interest)], Some(&limit));
        assert_ne!(ready, Ok(0), "nothing moves");
        // Read first: an end of file must be seen before the error of a late write.
        match (&stream).read(&mut bytes) {
            Ok(0) => panic!("an end that nobody made, after {received} bytes of {sent}"),
            Ok(count) => {
                fill_pattern(offset + received, &mut expected[..count]);
                assert!(bytes[..count] == expected[..count], "wrong bytes after {received}");
                got.fetch_add(count as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Ended::Reset,
        }
        if writes {
            fill_pattern(offset + sent, &mut bytes);
            match (&stream).write(&bytes) {
                Ok(count) => sent += count as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Ended::Reset,
            }
        }
    }
}
