//! The program under test, started as a user starts it.

use std::net::SocketAddr;
use std::process::Command;

use rustix::process::Signal;

use super::process::Running;
use super::site::certificate_file;
use crate::program_under_test;

/// `qssl-tunnel` with these arguments and an empty environment.
pub fn tunnel_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program_under_test());
    command.env_clear().env("LANG", "C.UTF-8").args(arguments);
    command
}

/// A running `qssl-tunnel listen`. Dropping it kills it.
pub struct Tunnel {
    running: Running,
}

impl Tunnel {
    /// Starts `qssl-tunnel listen` on a free loopback port, or wherever the arguments say, and waits until it
    /// listens. Give the LISTEN arguments first.
    pub fn listen(arguments: &[&str]) -> Tunnel {
        let has_address = arguments.first().is_some_and(|first| !first.starts_with('-'));
        let address: &[&str] = if has_address { &[] } else { &["127.0.0.1:0"] };
        let arguments = [&["listen"], address, arguments].concat();
        let tunnel = Tunnel { running: Running::start(&mut tunnel_command(&arguments)) };
        tunnel.wait_for("listening on");
        tunnel
    }

    /// A tunnel through these ports to `server.test`, authenticated.
    pub fn verified(devices: &[&str], arguments: &[&str]) -> Tunnel {
        let devices = devices.iter().flat_map(|device| ["-d", device]);
        let usual = ["--to", "server.test:443", "--ca", certificate_file()].into_iter();
        Tunnel::listen(&usual.chain(devices).chain(arguments.iter().copied()).collect::<Vec<_>>())
    }

    /// The first address on which it listens.
    pub fn address(&self) -> SocketAddr {
        let line = self.wait_for("listening on");
        let (_, list) = line.split_once("listening on ").expect("the line was looked for by this");
        let address = list.split([',', ' ']).next().and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("no address in {line:?}"))
    }

    /// Waits for a line with this in it.
    pub fn wait_for(&self, text: &str) -> String {
        self.running.log.wait_for(text, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// Waits until so many lines had this in them.
    pub fn wait_for_count(&self, text: &str, count: usize) {
        self.running.log.wait_for_lines(text, count, |line| line.contains(text));
    }

    /// Waits until the modem can be used.
    pub fn wait_until_ready(&self) {
        self.running.log.wait_for("readiness", |line| line.ends_with("ready").then_some(()));
    }

    /// Everything it has said so far.
    pub fn log(&self) -> String {
        self.running.log.so_far()
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Waits for its end: exit status, and everything it has said.
    pub fn wait(mut self) -> (i32, String) {
        self.running.wait()
    }
}
