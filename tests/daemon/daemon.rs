//! `qssl-tunnel run` with its own configuration file, control socket and directory.

use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use qssl_tunnel::daemon::control::{Client, ControlError, Reply, Request};
use qssl_tunnel::daemon::status::Status;
use rustix::process::Signal;
use tempfile::TempDir;

use qssl_test_common::harness::{
    Finished, PATIENCE, Site, Tunnel, certificate_file, connect, echo, run, temporary_directory,
    tunnel_command,
};

/// A running daemon. Dropping it kills it.
pub struct Daemon {
    tunnel: Tunnel,
    directory: TempDir,
    /// The lines of `[modem]`, or `[[modem]]` sections.
    modem: String,
}

impl Daemon {
    /// Starts a daemon with one tunnel called `web`, from a free port to the site's server.
    pub fn start(site: &Site) -> Daemon {
        Daemon::with(site, &tunnel("web", ""), "", |_| ())
    }

    /// Starts a daemon with these `[[tunnel]]` sections and lines of `[process]`; `prepare` changes its command.
    pub fn with(site: &Site, tunnels: &str, process: &str, prepare: impl FnOnce(&mut Command)) -> Daemon {
        let daemon = Daemon::launch(site, tunnels, process, prepare);
        daemon.wait_for("ready");
        daemon
    }

    /// The same, without waiting for the modem.
    pub fn launch(site: &Site, tunnels: &str, process: &str, prepare: impl FnOnce(&mut Command)) -> Daemon {
        Daemon::on(&site.modem.device(0), "", tunnels, process, prepare)
    }

    /// The same on this device, with further lines of `[modem]`.
    pub fn on(
        device: &str,
        modem: &str,
        tunnels: &str,
        process: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> Daemon {
        Daemon::of_modems(format!("device = \"{device}\"\n{modem}"), tunnels, process, prepare)
    }

    /// The same with the lines of `[modem]`, or with these `[[modem]]` sections.
    pub fn of_modems(
        modem: String,
        tunnels: &str,
        process: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> Daemon {
        let directory = temporary_directory();
        fs::write(directory.path().join("run.toml"), text(&directory, &modem, tunnels, process))
            .expect("the directory is ours");
        let mut command = tunnel_command(&["run", "-v", "--config"]);
        command.arg(directory.path().join("run.toml")).env("TMPDIR", directory.path());
        prepare(&mut command);
        Daemon { tunnel: Tunnel::start(&mut command), directory, modem }
    }

    /// Writes other `[[tunnel]]` sections to the file, without a reload.
    pub fn rewrite(&self, tunnels: &str, process: &str) {
        self.rewrite_whole(&text(&self.directory, &self.modem, tunnels, process));
    }

    /// Replaces the whole file, without a reload.
    pub fn rewrite_whole(&self, text: &str) {
        fs::write(self.path("run.toml"), text).expect("the directory is ours");
    }

    /// Sends SIGHUP, and waits until the log has `says` once more.
    pub fn reload(&self, says: &str) -> String {
        let before = self.log().matches(says).count();
        self.signal(Signal::HUP);
        self.wait_for_count(says, before + 1);
        self.log()
    }

    /// A file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A connection to its control socket.
    pub fn control(&self) -> Client {
        Client::connect(&self.path("control")).expect("the daemon has a control socket")
    }

    /// Sends a request on a new connection.
    pub fn ask(&self, request: &Request) -> Result<Reply, ControlError> {
        self.control().ask(request, PATIENCE)
    }

    /// Its status.
    pub fn status(&self) -> Status {
        self.status_of(self.ask(&Request::Status))
    }

    fn status_of(&self, reply: Result<Reply, ControlError>) -> Status {
        match reply {
            Ok(Reply::Status { status }) => *status,
            other => panic!("{other:?}\n{}", self.log()),
        }
    }

    /// Runs `qssl-tunnel` with these arguments and this daemon's control socket.
    pub fn tool(&self, arguments: &[&str]) -> Finished {
        let mut command = tunnel_command(arguments);
        run(command.arg("--control").arg(self.path("control")))
    }

    /// A client sends so many bytes to a server that echoes, and gets them back.
    pub fn echoes(&self, bytes: usize) {
        echo(&mut connect(self.address()), &vec![1; bytes]);
    }

    /// Waits until the status is as expected. It can only be polled, so this repeats the request.
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        self.wait_over(&mut self.control(), what, is_so)
    }

    /// The same over one connection, which needs no descriptor of its own.
    pub fn wait_over(&self, control: &mut Client, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let mut tries = PATIENCE.as_millis() / PAUSE.as_millis();
        loop {
            let status = self.status_of(control.ask(&Request::Status, PATIENCE));
            if is_so(&status) {
                return status;
            }
            tries -= 1;
            assert!(tries > 0, "{what} never came to be: {status:#?}\n{}", self.log());
            rustix::event::poll(&mut [], Some(&timespec(PAUSE))).expect("nothing is waited for but time");
        }
    }
}

impl Deref for Daemon {
    type Target = Tunnel;

    fn deref(&self) -> &Tunnel {
        &self.tunnel
    }
}

/// A `[[tunnel]]` section, and further lines for it.
pub fn tunnel(name: &str, more: &str) -> String {
    let ca = certificate_file();
    format!(
        "[[tunnel]]\nname = \"{name}\"\nlisten = \"127.0.0.1:0\"\nto = \"server.test:443\"\nca = \"{ca}\"\n{more}\n"
    )
}

/// A `[[tunnel]]` section whose clients name their targets, which the modem gives TLS, and further lines for it.
pub fn proxy(name: &str, more: &str) -> String {
    let allowed = if more.contains("allow-target") { "" } else { "allow-target = \"*:443\"" };
    let dynamic = format!("dynamic = \"auto\"\ndynamic-tls = true\n{allowed}");
    tunnel(name, more).replace("to = \"server.test:443\"", &dynamic)
}

/// A client of [`proxy`] begins.
pub const SOCKS_GREETING: &[u8] = b"\x05\x01\0";

/// It names the site's server.
pub const SOCKS_REQUEST: &[u8] = b"\x05\x01\0\x03\x0bserver.test\x01\xbb";

/// The answer to a greeting.
pub const SOCKS_GREETED: [u8; 2] = *b"\x05\0";

/// The answer to a request, with this code.
pub fn socks_reply(code: u8) -> [u8; 10] {
    [5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

fn text(directory: &TempDir, modem: &str, tunnels: &str, process: &str) -> String {
    let path = directory.path().display();
    let place =
        if process.contains("control =") { String::new() } else { format!("control = \"{path}/control\"\n") };
    let head = if modem.starts_with("[[modem]]") { "" } else { "[modem]\n" };
    format!("{head}{modem}\n[process]\n{place}{process}\n{tunnels}")
}

fn timespec(time: Duration) -> rustix::event::Timespec {
    rustix::event::Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

const PAUSE: Duration = Duration::from_millis(20);
