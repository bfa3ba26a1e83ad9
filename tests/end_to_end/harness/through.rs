//! A tunnel to somebody else's server: a modem of its own, and the tunnel in front.

use std::net::SocketAddr;

use super::site::{Modem, certificate_file};
use super::tunnel::Tunnel;

/// A tunnel, and the modem that must live as long.
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
        let arguments =
            ["--to", "server.test:443", "--ca", certificate_file(), "-d", &device, "--mode", mode];
        Through { tunnel: Tunnel::listen(&arguments), _modem: modem }
    }
}
