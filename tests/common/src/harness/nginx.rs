//! nginx, in an ordinary configuration.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::process::{Running, program};
use super::site::{free_address, identity, temporary_directory};

/// The content of `/page.html`.
pub const PAGE: &str = "the page of server.test\n";

/// nginx with TLS 1.2 and the good certificate, and the files of a directory.
pub struct Nginx {
    /// Where it listens.
    pub address: SocketAddr,
    _process: Running,
    directory: TempDir,
}

impl Nginx {
    /// A server whose directory contains only the page.
    pub fn start() -> Nginx {
        Nginx::with("")
    }

    /// The same with further lines in its `server` section.
    pub fn with(lines: &str) -> Nginx {
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
                    keepalive_requests 100000;
                    root {root_text};
                    {lines}
                }}
            }}"
        );
        let file = root.join("nginx.conf");
        fs::write(&file, configuration).expect("the directory is ours");
        let mut command = Command::new(program("nginx"));
        command.args(["-e", "stderr", "-p"]).arg(root).arg("-c").arg(file);
        let process = Running::start(&mut command);
        // The first line that it prints after it listens.
        process.wait_for(": nginx/");
        Nginx { address, _process: process, directory }
    }
    /// The directory whose files it serves.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }
}
