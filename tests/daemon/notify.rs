//! Goal of this test: the service manager gets notifications of readiness, states, reloads, the watchdog and the end,
//! over a real datagram socket.

use std::os::unix::net::UnixDatagram;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::daemon::{Daemon, tunnel};
use qssl_test_common::harness::{PATIENCE, Site, temporary_directory};

struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    fn new() -> Manager {
        let directory = temporary_directory();
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("the directory is ours");
        socket.set_read_timeout(Some(PATIENCE)).expect("the limit is not zero");
        Manager { socket, directory }
    }

    /// Waits for a message with this beginning. Returns all messages up to it.
    fn wait_for(&self, begin: &str) -> Vec<String> {
        let mut heard = Vec::new();
        let mut datagram = [0; 4096];
        loop {
            let length = match self.socket.recv(&mut datagram) {
                Ok(length) => length,
                Err(error) => panic!("{begin} never came ({error}): {heard:?}"),
            };
            let message = String::from_utf8_lossy(&datagram[..length]).into_owned();
            heard.push(message.clone());
            if message.starts_with(begin) {
                return heard;
            }
        }
    }
}

#[test]
fn a_life_is_told() {
    let site = Site::new(Behaviour::Echo, "");
    let manager = Manager::new();
    let path = manager.directory.path().join("notify");
    let daemon = Daemon::with(&site, &tunnel("web", ""), "", |command| {
        command.env("NOTIFY_SOCKET", path).env("WATCHDOG_USEC", "200000");
    });
    let start = manager.wait_for("STATUS=up");
    assert_eq!(start[0], "READY=1", "ready when it listens, before the modem is");
    assert!(start.iter().any(|message| message.starts_with("STATUS=waiting")), "{start:?}");
    manager.wait_for("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1");

    daemon.signal(Signal::HUP);
    let reload = manager.wait_for("RELOADING=1");
    let monotonic = reload.last().and_then(|message| message.split_once("MONOTONIC_USEC="));
    assert!(monotonic.is_some_and(|(_, usec)| usec.parse::<u64>().is_ok()), "{reload:?}");
    manager.wait_for("READY=1");

    daemon.signal(Signal::TERM);
    manager.wait_for("STOPPING=1");
    daemon.ends_with(0);
}
