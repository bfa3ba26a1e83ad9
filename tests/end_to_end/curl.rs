//! Goal of this test: curl fetches pages through the tunnel from common servers, nginx and openssl s_server, in every
//! access mode.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use qssl_test_common::harness::{
    MODES, Nginx, PAGE, Running, Through, curl, digest, identity, patterned_file, program, rounds, run,
    sha256_hex, temporary_directory,
};

#[test]
fn nginx_in_every_mode() {
    let nginx = Nginx::start();
    for mode in MODES {
        let tunnel = Through::new(nginx.address, mode);
        // Two requests on one connection, as browsers make them.
        let pages = run(curl(&tunnel.tunnel, "/page.html").arg("http://server.test:443/page.html"));
        assert_eq!(pages.expect_success().text(), PAGE.repeat(2), "{mode}");
        let account = tunnel.tunnel.wait_for("bytes up");
        assert!(account.contains("the client closed"), "{mode}: {account}");
    }
}

#[test]
fn nginx_keeps_a_connection_for_many_requests_in_every_mode() {
    let requests = rounds(50, 5_000);
    let nginx = Nginx::start();
    for mode in MODES {
        let through = Through::new(nginx.address, mode);
        let mut command = curl(&through.tunnel, "/page.html");
        // curl expands the range of numbers itself.
        command.arg(format!("http://server.test:443/page.html?[2-{requests}]"));
        let pages = run(command.args(["--write-out", "%{stderr}%{num_connects}\n"])).expect_success();
        assert_eq!(pages.text(), PAGE.repeat(requests), "{mode}");
        let connects: u32 = pages.stderr.lines().filter_map(|line| line.parse::<u32>().ok()).sum();
        assert_eq!(connects, 1, "{mode}: {}", through.tunnel.log());
    }
}

#[test]
fn downloads_from_nginx_in_every_mode() {
    const BYTES: u64 = 4 * 1024 * 1024;
    let nginx = Nginx::start();
    let file = patterned_file(nginx.root(), BYTES);
    let path = format!("/{}", file.file_name().and_then(|name| name.to_str()).expect("it is text"));
    for mode in MODES {
        let through = Through::new(nginx.address, mode);
        for round in 0..rounds(1, 60) {
            let page = run(&mut curl(&through.tunnel, &path)).expect_success().stdout;
            assert_eq!(sha256_hex(&page), digest(BYTES), "{mode}, round {round}");
        }
    }
}

#[test]
fn openssl_s_server_in_every_mode() {
    let server = SServer::start();
    for mode in MODES {
        let tunnel = Through::new(server.address, mode);
        let page = run(&mut curl(&tunnel.tunnel, "/page.html"));
        assert_eq!(page.expect_success().text(), PAGE, "{mode}");
        let account = tunnel.tunnel.wait_for("bytes up");
        assert!(account.contains("the server closed the connection"), "{mode}: {account}");
    }
}

struct SServer {
    address: SocketAddr,
    _process: Running,
    _directory: TempDir,
}

impl SServer {
    fn start() -> SServer {
        let directory = temporary_directory();
        fs::write(directory.path().join("chain.pem"), identity().chain_pem()).expect("the directory is ours");
        fs::write(directory.path().join("key.pem"), identity().key_pem()).expect("the directory is ours");
        fs::write(directory.path().join("page.html"), PAGE).expect("the directory is ours");
        let mut command = Command::new(program("openssl"));
        command.args("s_server -WWW -accept 127.0.0.1:0 -cert chain.pem -key key.pem".split(' '));
        let process = Running::start(command.current_dir(&directory));
        let address = process.log.wait_for("where it listens", |line| {
            line.strip_prefix("ACCEPT ").and_then(|address| address.trim().parse().ok())
        });
        SServer { address, _process: process, _directory: directory }
    }
}
