//! Goal of this test: when certificate and key files are swapped, regenerated or broken on disk, running transfers lose
//! no byte. SIGHUP uses valid files for new connections, and otherwise keeps the old ones.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use qssl_modem_emulator::test_server::{
    Authority, Behaviour, CertificateRequest, Identity, KeyKind, ServerOptions, TestServer,
};

use crate::daemon::Daemon;
use qssl_test_common::harness::{
    Gate, Modem, NAME, SetAtTheEnd, connect, run, temporary_directory, tunnel_command,
};

/// An authority, a server that requires a client certificate of this authority, and such a certificate.
struct Generation {
    authority: Authority,
    client: Identity,
    server: TestServer,
}

impl Generation {
    fn new(key: KeyKind) -> Generation {
        let authority = Authority::new("an authority that changes").expect("OpenSSL makes a root");
        let identity = authority.issue(&CertificateRequest::server(NAME)).expect("OpenSSL signs");
        let client = CertificateRequest::client("a client").with_key(key);
        let client = authority.issue(&client).expect("OpenSSL signs");
        let options = ServerOptions {
            identity: Some(identity),
            client_authority: Some(authority.certificate().clone()),
            behaviour: Behaviour::Echo,
            ..ServerOptions::default()
        };
        Generation { authority, client, server: TestServer::start(options).expect("the server starts") }
    }

    /// A generation, and a directory with its files.
    fn written(key: KeyKind) -> (Generation, tempfile::TempDir) {
        let (generation, directory) = (Generation::new(key), temporary_directory());
        generation.write(directory.path());
        (generation, directory)
    }

    /// The content of the files of the configuration.
    fn files(&self) -> [(&'static str, Vec<u8>); 3] {
        [("ca", self.authority.pem()), ("cert", self.client.chain_pem()), ("key", self.client.key_pem())]
    }

    fn write(&self, directory: &Path) {
        for (option, content) in self.files() {
            fs::write(file(directory, option), content).expect("the directory is ours");
        }
    }
}

fn file(directory: &Path, option: &str) -> PathBuf {
    directory.join(format!("{option}.pem"))
}

fn tunnel(directory: &Path) -> String {
    let mut text = format!("[[tunnel]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nto = \"{NAME}:443\"\n");
    for option in ["ca", "cert", "key"] {
        text += &format!("{option} = {:?}\n", file(directory, option));
    }
    text
}

/// Whether a new client is served.
fn is_served(address: SocketAddr) -> bool {
    let mut client = connect(address);
    // The client may be reset before this is written.
    let _ = client.write_all(b"hello");
    let mut echo = [0; 5];
    client.read_exact(&mut echo).is_ok() && echo == *b"hello"
}

/// Sends blocks and reads them back until `ends` is set. Returns the number of bytes.
fn goes_on(client: &mut TcpStream, ends: &AtomicBool) -> usize {
    let block: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    let mut count = 0;
    while !ends.load(Ordering::Relaxed) {
        client.write_all(&block).expect("the transfer goes on");
        let mut echo = vec![0; block.len()];
        client.read_exact(&mut echo).expect("the transfer goes on");
        assert!(echo == block, "other bytes after {count}");
        count += block.len();
    }
    count
}

/// Runs `act` during transfers, which end in order afterwards.
fn beside_transfers(address: SocketAddr, act: impl FnOnce()) {
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            let ends = &ends;
            let mut client = connect(address);
            // The client is connected before anything changes.
            client.write_all(b"x").and_then(|()| client.read_exact(&mut [0])).expect("the server echoes");
            scope.spawn(move || assert!(goes_on(&mut client, ends) > 0, "nothing moved"));
        }
        let _end = SetAtTheEnd(&ends);
        act();
    });
}

/// A daemon whose tunnel uses the files in `directory`, and its modem, which reaches `server`.
fn started(server: SocketAddr, directory: &Path) -> (Modem, Daemon) {
    let modem = Modem::start(server, "");
    let daemon = Daemon::on(&modem.device(0), "", &tunnel(directory), "", |_| ());
    daemon.wait_for("ready");
    (modem, daemon)
}

#[test]
fn everything_is_regenerated() {
    let (old, new) = (Generation::new(KeyKind::Ec), Generation::new(KeyKind::Ed25519));
    let directory = temporary_directory();
    old.write(directory.path());
    let gate = Gate::open(old.server.address());
    let (_modem, daemon) = started(gate.address(), directory.path());
    beside_transfers(daemon.address(), || {
        gate.redirect(new.server.address());
        new.write(directory.path());
        assert!(!is_served(daemon.address()), "the files are read at SIGHUP: {}", daemon.log());
        daemon.reload("0 unchanged, 1 changed, 0 added, 0 removed");
        assert!(is_served(daemon.address()), "{}", daemon.log());
        // Back to the old files, which the modem still has.
        gate.redirect(old.server.address());
        old.write(directory.path());
        daemon.reload("0 unchanged, 1 changed, 0 added, 0 removed");
        assert!(is_served(daemon.address()), "{}", daemon.log());
    });
    assert_eq!(daemon.status().tunnels[0].counters.resets, 1, "{}", daemon.log());
}

#[test]
fn a_listing_through_the_daemon_says_whose_each_file_is() {
    let (generation, directory) = Generation::written(KeyKind::Ec);
    let (_modem, daemon) = started(generation.server.address(), directory.path());
    assert!(is_served(daemon.address()), "{}", daemon.log());
    let listing = daemon.tool(&["cert", "list"]).expect_success().text();
    for (option, end) in [("ca", ".pem"), ("cert", ".pem"), ("key", ".key")] {
        let whose = format!("(tunnel web: {})", file(directory.path(), option).display());
        let line = listing.lines().find(|line| line.ends_with(&whose));
        let line = line.unwrap_or_else(|| panic!("{whose} is not listed: {listing}"));
        assert!(line.contains("  qt-") && line.contains(end), "{line}");
    }
    // Files that the daemon's tunnels need are not removed as unused.
    assert_eq!(daemon.tool(&["cert", "prune"]).expect_success().text(), "");
    assert_eq!(daemon.tool(&["cert", "list"]).expect_success().text(), listing);
    assert!(is_served(daemon.address()), "{}", daemon.log());
}

#[test]
fn one_file_alone_is_swapped() {
    // The same authority signs a new client certificate; first the certificate changes, and then the key.
    let (generation, directory) = Generation::written(KeyKind::Rsa);
    let (_modem, daemon) = started(generation.server.address(), directory.path());
    beside_transfers(daemon.address(), || {
        let renewed =
            generation.authority.issue(&CertificateRequest::client("renewed")).expect("OpenSSL signs");
        fs::write(file(directory.path(), "cert"), renewed.chain_pem()).expect("the directory is ours");
        // Half of the change is refused: the key still belongs to the old certificate.
        daemon.reload("does not belong to");
        assert!(is_served(daemon.address()), "{}", daemon.log());
        fs::write(file(directory.path(), "key"), renewed.key_pem()).expect("the directory is ours");
        daemon.reload("0 unchanged, 1 changed, 0 added, 0 removed");
        assert!(is_served(daemon.address()), "{}", daemon.log());
    });
    let last = generation.server.records().pop().and_then(|record| record.handshake).expect("it was served");
    assert_eq!(last.expect("in order").client_name.as_deref(), Some("renewed"));
}

#[test]
fn what_is_broken_changes_nothing_until_it_is_repaired() {
    let (generation, directory) = Generation::written(KeyKind::Ec);
    let (_modem, daemon) = started(generation.server.address(), directory.path());
    beside_transfers(daemon.address(), || {
        for (option, content) in generation.files() {
            let path = file(directory.path(), option);
            let label = if option == "key" { "PRIVATE KEY" } else { "CERTIFICATE" };
            for breaks in BREAKS {
                fs::remove_file(&path).expect("it is there");
                breaks.apply(&path, &content);
                let before = daemon.log().lines().count();
                let log = daemon.reload("the old configuration stays");
                let said: Vec<&str> = log
                    .lines()
                    .skip(before)
                    .filter(|line| line.contains(" error ") || line.contains(" warn "))
                    .collect();
                let [line] = said[..] else { panic!("{option}, {breaks:?}: one line, not {said:#?}") };
                let reason = breaks.reason(label);
                assert!(line.contains(path.to_str().expect("text")), "{option}, {breaks:?}: {line}");
                assert!(line.contains(&reason), "{option}, {breaks:?}: {reason:?} is not said: {line}");
                assert!(line.len() < 250, "{line}");
                assert!(is_served(daemon.address()), "{option}, {breaks:?}: {}", daemon.log());

                breaks.clear(&path);
                fs::write(&path, &content).expect("the directory is ours");
                daemon.reload("1 unchanged, 0 changed, 0 added, 0 removed");
                assert!(is_served(daemon.address()), "{option}, {breaks:?}: {}", daemon.log());
            }
        }
    });
    assert_eq!(daemon.status().tunnels[0].counters.resets, 0, "{}", daemon.log());
}

/// How a file is broken.
#[derive(Clone, Copy, Debug)]
enum Break {
    Empty,
    Truncated,
    Garbage,
    /// The lines are complete, but their content is damaged.
    Damaged,
    Missing,
    /// A link to itself, which no user can read, not even root.
    Unreadable,
    Directory,
}

const BREAKS: [Break; 7] = [
    Break::Empty,
    Break::Truncated,
    Break::Garbage,
    Break::Damaged,
    Break::Missing,
    Break::Unreadable,
    Break::Directory,
];

impl Break {
    fn apply(self, path: &Path, content: &[u8]) {
        let done = match self {
            Break::Empty => fs::write(path, b""),
            Break::Truncated => fs::write(path, &content[..content.len() / 2]),
            Break::Garbage => fs::write(path, (0..=255).cycle().take(5_000).collect::<Vec<u8>>()),
            Break::Damaged => {
                let text = String::from_utf8(content.to_vec()).expect("PEM is text");
                let (head, rest) = text.split_once('\n').expect("PEM has lines");
                fs::write(path, format!("{head}\nAAAA{rest}"))
            }
            Break::Missing => Ok(()),
            Break::Unreadable => symlink(path, path),
            Break::Directory => fs::create_dir(path),
        };
        done.expect("the directory is ours");
    }

    fn clear(self, path: &Path) {
        match self {
            Break::Missing => {}
            Break::Directory => fs::remove_dir(path).expect("it is empty"),
            _ => fs::remove_file(path).expect("it was made"),
        }
    }

    fn reason(self, label: &str) -> String {
        match self {
            Break::Empty | Break::Garbage => format!("no {label} in it"),
            Break::Truncated => "cut off".to_owned(),
            Break::Damaged => "damaged".to_owned(),
            Break::Missing => "no such file".to_owned(),
            Break::Unreadable => "symbolic links".to_owned(),
            Break::Directory => "directory".to_owned(),
        }
    }
}

#[test]
fn a_file_that_was_broken_at_the_start_is_named_and_nothing_runs() {
    let (_, directory) = Generation::written(KeyKind::Ec);
    fs::write(file(directory.path(), "ca"), b"").expect("the directory is ours");
    let config = directory.path().join("run.toml");
    fs::write(&config, tunnel(directory.path())).expect("the directory is ours");
    let mut command = tunnel_command(&["run", "-d", "/dev/ttyNONE9", "--config"]);
    let finished = run(command.arg(&config));
    assert_eq!(finished.status, 2, "{}", finished.stderr);
    assert!(
        finished.stderr.contains("ca.pem") && finished.stderr.contains("no CERTIFICATE"),
        "{}",
        finished.stderr
    );
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
}
