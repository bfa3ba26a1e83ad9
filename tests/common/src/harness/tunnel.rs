//! The program under test, started as a user starts it.

use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;
use std::process::Command;

use tempfile::TempDir;

use super::MODES;
use super::process::Running;
use super::site::{NAME, certificate_file, temporary_directory};
use crate::program_under_test;

/// `qssl-tunnel` with these arguments and an empty environment.
pub fn tunnel_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program_under_test());
    command.env_clear().env("LANG", "C.UTF-8").args(arguments);
    command
}

/// A running `qssl-tunnel`. Dropping it kills it.
pub struct Tunnel {
    running: Running,
}

impl Tunnel {
    /// Starts `qssl-tunnel listen` on a free loopback port, or at the address in the arguments, and waits until it
    /// listens. Give the LISTEN arguments first.
    pub fn listen(arguments: &[&str]) -> Tunnel {
        let has_address = arguments.first().is_some_and(|first| !first.starts_with('-'));
        let address: &[&str] = if has_address { &[] } else { &["127.0.0.1:0"] };
        let arguments = [&["listen"], address, arguments].concat();
        Tunnel::start(&mut tunnel_command(&arguments))
    }

    /// Starts this command, and waits until it listens.
    pub fn start(command: &mut Command) -> Tunnel {
        let tunnel = Tunnel { running: Running::start(command) };
        tunnel.wait_for("listening on");
        tunnel
    }

    /// A tunnel through these ports to `server.test`, authenticated.
    pub fn verified(devices: &[&str], arguments: &[&str]) -> Tunnel {
        let devices = devices.iter().flat_map(|device| ["-d", device]);
        let usual = ["--to", "server.test:443", "--ca", certificate_file()].into_iter();
        Tunnel::listen(&usual.chain(devices).chain(arguments.iter().copied()).collect::<Vec<_>>())
    }

    /// A daemon with these lines of `[modem]`, and a tunnel to `server.test` of each of [`MODES`] in their order. It needs
    /// the directory as long as it runs.
    pub fn of_every_mode(modem: &str, arguments: &[&str]) -> (Tunnel, TempDir) {
        let directory = temporary_directory();
        let configuration = directory.path().join("tunnels.toml");
        let ca = certificate_file();
        let tunnels = MODES.map(|mode| {
            format!(
                "[[tunnel]]\nname = \"{mode}\"\nlisten = \"127.0.0.1:0\"\nto = \"{NAME}:443\"\nca = \"{ca}\"\nmode = \"{mode}\"\n"
            )
        });
        fs::write(&configuration, format!("[modem]\n{modem}\n{}", tunnels.concat()))
            .expect("the directory is ours");
        let mut command = tunnel_command(&["run"]);
        command.args(arguments).arg("--config").arg(&configuration).env("TMPDIR", directory.path());
        let tunnel = Tunnel::start(&mut command);
        tunnel.wait_for_count("listening on", MODES.len());
        (tunnel, directory)
    }

    /// The first address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address_of(0)
    }

    /// The first address on which the tunnel of this number listens.
    pub fn address_of(&self, number: usize) -> SocketAddr {
        self.wait_for_count("listening on", number + 1);
        let log = self.log();
        let mut lists = log.lines().filter_map(|line| line.split_once("listening on "));
        let (_, list) = lists.nth(number).expect("it was waited for");
        let first = list.split([',', ' ']).next().map(|first| first.trim_start_matches("udp:"));
        let address = first.and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("no address in {list:?}"))
    }

    /// Waits until the modem can be used.
    pub fn wait_until_ready(&self) {
        self.log.wait_for("readiness", |line| line.ends_with("ready").then_some(()));
    }
}

impl Deref for Tunnel {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}
