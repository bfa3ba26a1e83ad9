//! A web server that takes TLS 1.3 and nothing else: what no module offers.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::process::{Running, program};
use super::site::{free_address, identity};

/// `openssl s_server` with the good certificate, and the files of a folder.
pub struct Tls13Server {
    /// Where it listens.
    pub address: SocketAddr,
    _process: Running,
}

impl Tls13Server {
    /// Serves the files of this folder, and puts its certificate and key there.
    pub fn start(folder: &Path) -> Tls13Server {
        let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
        fs::write(&certificate, identity().certificate_pem()).expect("the folder can be written");
        fs::write(&key, identity().key_pem()).expect("the folder can be written");
        let address = free_address();
        let mut server = Command::new(program("openssl"));
        server.current_dir(folder).args(["s_server", "-tls1_3", "-WWW", "-accept", &address.to_string()]);
        let process = Running::start(server.arg("-cert").arg(&certificate).arg("-key").arg(&key));
        process.wait_for("ACCEPT");
        Tls13Server { address, _process: process }
    }
}
