//! A tunnel to somebody else's server: a modem of its own, and the tunnel in front.

use std::net::SocketAddr;

use super::site::Modem;
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
        Through { tunnel: Tunnel::verified(&[&device], &["--mode", mode]), _modem: modem }
    }
}
