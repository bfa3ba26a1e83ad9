//! Ways to any server: a tunnel with its own modem, or stunnel.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::process::{Running, program};
use super::site::{Modem, certificate_file, free_address, temporary_directory};
use super::tunnel::Tunnel;

/// A tunnel with its modem.
pub struct Through {
    /// The tunnel.
    pub tunnel: Tunnel,
    _modem: Modem,
}

impl Through {
    /// A tunnel on a free loopback port to this server, which has a certificate for `server.test`.
    pub fn new(server: SocketAddr, mode: &str) -> Through {
        let modem = Modem::start(server, "");
        let device = modem.device(0);
        Through { tunnel: Tunnel::verified(&[&device], &["--mode", mode]), _modem: modem }
    }
}

/// stunnel as a TLS client, for comparison.
pub struct Stunnel {
    /// Where it listens.
    pub address: SocketAddr,
    _process: Running,
    _directory: TempDir,
}

impl Stunnel {
    /// Starts one in front of this server.
    pub fn start(server: SocketAddr) -> Stunnel {
        let directory = temporary_directory();
        let address = free_address();
        let file = directory.path().join("stunnel.conf");
        let configuration = format!(
            "foreground = yes\npid =\nsyslog = no\n[differential]\nclient = yes\naccept = {address}\n\
             connect = {server}\nCAfile = {}\nverifyChain = yes\nsslVersionMax = TLSv1.2\n",
            certificate_file()
        );
        fs::write(&file, configuration).expect("the directory is ours");
        let process = Running::start(Command::new(program("stunnel4")).arg(file));
        process
            .log
            .wait_for("stunnel's readiness", |line| line.contains("Configuration successful").then_some(()));
        Stunnel { address, _process: process, _directory: directory }
    }
}
