//! Servers with throw-away certificates, and an emulated modem that reaches them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::LazyLock;

use qssl_modem_emulator::cli::Options;
use qssl_modem_emulator::driver::{Embedded, PortLocation, spawn};
use qssl_modem_emulator::test_server::{
    Authority, Behaviour, CertificateRequest, Identity, ServerOptions, TestServer,
};
use tempfile::TempDir;

use super::tunnel::Tunnel;

/// The server's name in the tunnel; the modem maps it to loopback.
pub const NAME: &str = "server.test";

static AUTHORITY: LazyLock<Authority> =
    LazyLock::new(|| Authority::new("end to end root").expect("OpenSSL makes a root"));

static IDENTITY: LazyLock<Identity> =
    LazyLock::new(|| AUTHORITY.issue(&CertificateRequest::server(NAME)).expect("OpenSSL signs"));

static DIRECTORY: LazyLock<TempDir> = LazyLock::new(temporary_directory);

/// The authority that has signed all good certificates.
pub fn authority() -> &'static Authority {
    &AUTHORITY
}

/// A good certificate for [`NAME`], with its key.
pub fn identity() -> &'static Identity {
    &IDENTITY
}

/// The authority's certificate as a file.
pub fn certificate_file() -> &'static str {
    static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
        let file = DIRECTORY.path().join("root.pem");
        fs::write(&file, AUTHORITY.pem()).expect("the temporary directory can be written");
        file
    });
    FILE.to_str().expect("temporary paths are text")
}

/// An empty directory that is removed with the test.
pub fn temporary_directory() -> TempDir {
    tempfile::Builder::new().prefix("qssl-tunnel-test-").tempdir().expect("a temporary directory")
}

/// An address of loopback that was just free, for programs that cannot choose one themselves.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address")
}

/// An emulated modem.
pub struct Modem {
    /// The running modem, to inspect and disturb.
    pub embedded: Embedded,
}

/// The options of a modem that must be of this family: an EC20 has no DTLS, fewer cipher suites and TLS settings, and keeps
/// what was not read of a connection that is cut.
pub const EG800Q: &str = "--family eg800q";

impl Modem {
    /// A modem with one pseudoterminal, or with the ports in the options. It maps `NAME:443` to `server`.
    pub fn start(server: SocketAddr, options: &str) -> Modem {
        Modem::with_options(&format!("--map {NAME}:443={server} {options}"))
    }

    /// A modem with these options; of the family QSSL_TUNNEL_FAMILY if they name neither family nor module.
    pub fn with_options(options: &str) -> Modem {
        let family = std::env::var("QSSL_TUNNEL_FAMILY")
            .ok()
            .filter(|_| !["--family", "--module"].iter().any(|option| options.contains(option)));
        let options = match family {
            Some(family) => format!("--family {family} {options}"),
            None => options.to_owned(),
        };
        let options = Options::parse_text(&options).expect("the options are right");
        Modem { embedded: spawn(options, 0).expect("the modem starts") }
    }

    /// Its port, for `-d`.
    pub fn device(&self, port: usize) -> String {
        match &self.embedded.locations()[port] {
            PortLocation::Path(path) => path.to_str().expect("device paths are text").to_owned(),
            PortLocation::Rfc2217(address) => format!("rfc2217://{address}"),
            PortLocation::Tcp(address) => format!("tcp://{address}"),
        }
    }
}

/// One server, one modem that reaches it as `server.test:443`.
pub struct Site {
    /// The modem.
    pub modem: Modem,
    /// The server.
    pub server: TestServer,
}

impl Site {
    /// A server with a good certificate that behaves like this, and a modem with these options.
    pub fn new(behaviour: Behaviour, modem_options: &str) -> Site {
        Site::with_server(ServerOptions { behaviour, ..ServerOptions::default() }, modem_options)
    }

    /// The same with more options of the server; its certificate is the good one unless another is given.
    pub fn with_server(server: ServerOptions, modem_options: &str) -> Site {
        let identity = server.identity.clone().unwrap_or_else(|| identity().clone());
        Site::with_options(ServerOptions { identity: Some(identity), ..server }, modem_options)
    }

    /// The same with exactly this server.
    pub fn with_options(server: ServerOptions, modem_options: &str) -> Site {
        let server = TestServer::start(server).expect("the server starts");
        let modem = Modem::start(server.address(), modem_options);
        Site { modem, server }
    }

    /// A tunnel from a free loopback port through the modem's first port to the server, authenticated.
    pub fn tunnel(&self, arguments: &[&str]) -> Tunnel {
        Tunnel::verified(&[&self.modem.device(0)], arguments)
    }

    /// The options for target, authority and device.
    pub fn usual<'a>(&self, device: &'a str) -> [&'a str; 6] {
        ["--to", "server.test:443", "--ca", certificate_file(), "-d", device]
    }
}
