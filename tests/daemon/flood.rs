//! Goal of this test: a peer that sends to the daemon without pause, on a port or on the control socket, delays
//! neither signals nor other peers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use qssl_modem_emulator::test_server::Behaviour;
use qssl_tunnel::daemon::control::{Reply, Request};
use rustix::process::Signal;

use crate::daemon::{Daemon, tunnel};
use qssl_test_common::harness::{Modem, Pty, Site, run, temporary_directory, tunnel_command};

/// The limit for a reply of the control socket, which takes several turns of the loop.
const STATUS_MAX: Duration = Duration::from_secs(5);
/// The longest wait for a reply. It is above the limit, so that a failure shows the real time.
const PATIENCE: Duration = Duration::from_secs(20);

/// A device server that sends `words` to each client repeatedly, as fast as they are read, and ignores what it
/// receives. Returns its address and the count of the bytes sent.
fn talker(words: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    let said = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&said);
    std::thread::spawn(move || {
        let words = words.repeat(1 + 65_536 / words.len());
        for stream in listener.incoming() {
            let (mut stream, count) = (stream.expect("a connection"), Arc::clone(&count));
            let (words, mut hears) = (words.clone(), stream.try_clone().expect("a descriptor"));
            std::thread::spawn(move || std::io::copy(&mut hears, &mut std::io::sink()));
            std::thread::spawn(move || {
                while let Ok(more) = stream.write(&words) {
                    count.fetch_add(more, Ordering::Relaxed);
                }
            });
        }
    });
    (address, said)
}

/// The same on a serial device.
fn talking_tty(words: &'static [u8]) -> (Pty, Arc<AtomicUsize>) {
    let tty = Pty::new();
    let said = Arc::new(AtomicUsize::new(0));
    let (mut speaks, mut hears, count) = (tty.end(), tty.end(), Arc::clone(&said));
    std::thread::spawn(move || std::io::copy(&mut hears, &mut std::io::sink()));
    std::thread::spawn(move || {
        let words = words.repeat(1 + 4096 / words.len());
        while let Ok(more) = speaks.write(&words) {
            count.fetch_add(more, Ordering::Relaxed);
        }
    });
    (tty, said)
}

/// Asserts that during the flood the status is shown, and SIGTERM ends the daemon. That SIGTERM is obeyed in the next
/// turn of the loop, which is short, is tested in `src/event_loop/mod.rs`; how long that takes here depends on the
/// machine.
#[allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn is_steered(daemon: Daemon, what: &str) {
    let asked_at = Instant::now();
    let reply = daemon.control().ask(&Request::Status, PATIENCE);
    let answered = asked_at.elapsed();
    assert!(matches!(reply, Ok(Reply::Status { .. })), "{what}: {reply:?}");
    assert!(answered < STATUS_MAX, "{what}: status in {answered:?}");
    daemon.signal(Signal::TERM);
    daemon.ends_with(0);
}

#[test]
fn a_modem_that_talks_without_pause_keeps_nobody_waiting() {
    let floods: [(&str, &str, &[u8]); 5] = [
        ("tcp", "lines", b"\r\n+QIND: \"x\"\r\n"),
        ("tcp", "results", b"OK\r\n"),
        ("tcp", "one line without end", b"x"),
        ("rfc2217", "lines", b"\r\n+QIND: \"x\"\r\n"),
        ("rfc2217", "commands of Telnet", &[255, 241]),
    ];
    for (scheme, words, bytes) in floods {
        let (address, said) = talker(bytes);
        keeps_nobody_waiting(&format!("{scheme}://{address}"), &said, words);
    }
    for (words, bytes) in [("lines", b"\r\n+QIND: \"x\"\r\n".as_slice()), ("results", b"\r\nOK\r\n")] {
        let (tty, said) = talking_tty(bytes);
        keeps_nobody_waiting(tty.path().to_str().expect("device paths are text"), &said, words);
    }
}

/// Starts a daemon on this device, and steers it once much has been said.
fn keeps_nobody_waiting(device: &str, said: &AtomicUsize, words: &str) {
    let daemon = Daemon::on(device, "", &tunnel("web", ""), "", |command| {
        command.env("RUST_LOG", "info");
    });
    while said.load(Ordering::Relaxed) < 4 * 1024 * 1024 {
        std::thread::yield_now();
    }
    is_steered(daemon, &format!("{words} from {device}"));
}

#[test]
fn a_control_client_that_asks_without_pause_keeps_nobody_waiting() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let replied = Arc::new(AtomicUsize::new(0));
    for question in ["{\"request\":\"status\"}\n", "nonsense\n"] {
        let mut asks = UnixStream::connect(daemon.path("control")).expect("the daemon has a control socket");
        let (mut hears, replied) = (asks.try_clone().expect("a descriptor"), Arc::clone(&replied));
        std::thread::spawn(move || {
            let questions = question.repeat(1000);
            while asks.write_all(questions.as_bytes()).is_ok() {}
        });
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok(count @ 1..) = hears.read(&mut buffer) {
                replied.fetch_add(count, Ordering::Relaxed);
            }
        });
    }
    while replied.load(Ordering::Relaxed) < 1024 * 1024 {
        std::thread::yield_now();
    }
    is_steered(daemon, "questions");
}

/// `at` asked such a port for ever, and a pattern never went on to the next match.
#[test]
fn a_port_that_sends_without_a_line_end_is_no_at_port() {
    let directory = temporary_directory();
    let name = |number: u8| directory.path().join(format!("ttyUSB{number}"));
    let (tty, _said) = talking_tty(b"x");
    symlink(tty.path(), name(0)).expect("the directory is ours");
    let at = |device: &Path| {
        let device = device.to_str().expect("text");
        run(&mut tunnel_command(&["at", "ATI", "--control", "none", "--device", device]))
    };
    let alone = at(&name(0));
    assert_eq!(alone.status, 15, "{}", alone.stderr);
    assert!(alone.stderr.contains("check that this is its AT port"), "{}", alone.stderr);
    let modem = Modem::with_options(&format!("--link {}", name(1).display()));
    let pattern = directory.path().join("ttyUSB*");
    assert!(at(&pattern).expect_success().text().starts_with("Quectel"));
    drop(modem);
    let none = at(&pattern);
    assert_eq!(none.status, 7, "{}", none.stderr);
    assert!(none.stderr.contains("1 port asked, and the modem answers on none"), "{}", none.stderr);
}
