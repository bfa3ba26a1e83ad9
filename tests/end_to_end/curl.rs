//! Goal of this test: curl fetches pages through the tunnel from the servers that people run, nginx and
//! openssl s_server, in every access mode.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{
    Modem, Running, Tunnel, certificate_file, curl, free_address, identity, program, run, temporary_directory,
};

const PAGE: &str = "the page of server.test\n";

#[test]
fn nginx_in_every_mode() {
    let nginx = Nginx::start();
    for mode in ["push", "buffer", "transparent"] {
        let tunnel = Through::new(nginx.address, mode);
        // Two requests on one connection, as browsers do it.
        let pages = run(curl(&tunnel.tunnel, "/page.html").arg("http://server.test:443/page.html"));
        assert_eq!(pages.expect_success().text(), PAGE.repeat(2), "{mode}");
        let account = tunnel.tunnel.wait_for("bytes up");
        assert!(account.contains("the client closed"), "{mode}: {account}");
    }
}

#[test]
fn openssl_s_server_in_every_mode() {
    let server = SServer::start();
    for mode in ["push", "buffer", "transparent"] {
        let tunnel = Through::new(server.address, mode);
        let page = run(&mut curl(&tunnel.tunnel, "/page.html"));
        assert_eq!(page.expect_success().text(), PAGE, "{mode}");
        let account = tunnel.tunnel.wait_for("bytes up");
        assert!(account.contains("the far end closed"), "{mode}: {account}");
    }
}

/// A tunnel to a server, and the modem in between.
struct Through {
    tunnel: Tunnel,
    _modem: Modem,
}

impl Through {
    fn new(server: SocketAddr, mode: &str) -> Through {
        let modem = Modem::start(server, "");
        let device = modem.device(0);
        let arguments =
            ["--to", "server.test:443", "--ca", certificate_file(), "-d", &device, "--mode", mode];
        Through { tunnel: Tunnel::listen(&arguments), _modem: modem }
    }
}

struct Nginx {
    address: SocketAddr,
    _process: Running,
    _directory: TempDir,
}

impl Nginx {
    fn start() -> Nginx {
        let directory = temporary_directory();
        let root = directory.path();
        fs::write(root.join("chain.pem"), identity().chain_pem()).expect("the directory is ours");
        fs::write(root.join("key.pem"), identity().key_pem()).expect("the directory is ours");
        fs::write(root.join("page.html"), PAGE).expect("the directory is ours");
        let address = free_address();
        let root_text = root.display();
        let configuration = format!(
            "daemon off;
            master_process off;
            pid {root_text}/pid;
            error_log stderr notice;
            events {{ worker_connections 64; }}
            http {{
                access_log off;
                client_body_temp_path {root_text}/body;
                proxy_temp_path {root_text}/proxy;
                fastcgi_temp_path {root_text}/fastcgi;
                uwsgi_temp_path {root_text}/uwsgi;
                scgi_temp_path {root_text}/scgi;
                server {{
                    listen {address} ssl;
                    server_name server.test;
                    ssl_certificate {root_text}/chain.pem;
                    ssl_certificate_key {root_text}/key.pem;
                    ssl_protocols TLSv1.2;
                    root {root_text};
                }}
            }}"
        );
        let file = root.join("nginx.conf");
        fs::write(&file, configuration).expect("the directory is ours");
        let mut command = Command::new(program("nginx"));
        command.args(["-e", "stderr", "-p"]).arg(root).arg("-c").arg(file);
        let process = Running::start(&mut command);
        // The first thing it says after it listens.
        process.log.wait_for("nginx's version", |line| line.contains(": nginx/").then_some(()));
        Nginx { address, _process: process, _directory: directory }
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
