//! What the tests share: a modem with its ports, the servers that it reaches, and the program under test.
//!
//! Everything is real except the modem: processes, pseudoterminals, sockets on loopback, TLS by OpenSSL. Nothing
//! here sleeps: a wait ends with the awaited event, and [`PATIENCE`] only keeps a broken test from hanging.

mod clients;
mod datagrams;
mod gate;
mod log;
mod nginx;
mod process;
mod pty;
mod script;
mod serial_line;
mod site;
mod terminal;
mod through;
mod tls_1_3;
mod tunnel;

use std::time::Duration;

use qssl_core::Kind;
use qssl_core::at::Command;
use qssl_core::modem::Failure;
use qssl_core::settings;
use qssl_tunnel::commands::modem_access::{Access, Conversation};
use qssl_tunnel::config::{self, Configuration, Process};

pub use self::clients::{
    Ended, SetAtTheEnd, connect, connect_unless_reset, curl, curl_at, digest, echo, patterned_bytes,
    patterned_file, read_to_end, sha256_hex,
};
pub use self::datagrams::{UdpEcho, datagrams_to, echo_datagram};
pub use self::gate::Gate;
pub use self::nginx::{Nginx, PAGE};
pub use self::process::{Finished, Running, program, run, run_with_input};
pub use self::pty::Pty;
pub use self::script::{FarEnd, Step, Told, play_client};
pub use self::serial_line::{Cut, Passed, SerialLine};
pub use self::site::{
    EG800Q, Modem, NAME, Site, authority, certificate_file, free_address, identity, temporary_directory,
};
pub use self::terminal::Terminal;
pub use self::through::{Stunnel, Through};
pub use self::tls_1_3::Tls13Server;
pub use self::tunnel::{Tunnel, tunnel_command};

/// The limit of every wait.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The payload of tests that move much: 4 MiB, and 16 MiB under `./check --long`.
pub fn much_bytes() -> u64 {
    rounds(4, 16) as u64 * 1024 * 1024
}

/// How long a lock can outlive its port.
const LOCKED_TRIES: u32 = 500;
const LOCKED_PAUSE: Duration = Duration::from_millis(20);

/// The access modes of the manuals.
pub const MODES: [&str; 3] = ["push", "buffer", "transparent"];

/// The number of rounds: for seconds in an ordinary run, for minutes under `./check --long`.
pub fn rounds(ordinary: usize, long: usize) -> usize {
    if std::env::var_os("QSSL_TUNNEL_LONG_TESTS").is_some_and(|value| value == "1") { long } else { ordinary }
}

/// The modem's answers to these lines, through the program's own conversation on its first port.
pub fn ask(modem: &Modem, lines: &[&str]) -> Vec<String> {
    let configuration = Configuration {
        modems: vec![config::Modem {
            settings: settings::Modem { wait: settings::Wait::Not, ..Default::default() },
            ..config::Modem::on(vec![modem.device(0).parse().expect("a device")])
        }],
        tunnels: Vec::new(),
        process: Process::default(),
    };
    let access = Access { device_is_given: true, ..Access::default() };
    let ask_all = || -> Result<Vec<String>, Failure> {
        let mut conversation = Conversation::open(&configuration, &access)?;
        let answers = lines.iter().map(|line| Ok(conversation.ask(Command::line(*line))?.lines));
        Ok(answers.collect::<Result<Vec<_>, Failure>>()?.concat())
    };
    // A program that another thread has just started holds all descriptors of this process until it runs: the lock of
    // a port that was closed meanwhile is still held.
    for _ in 0..LOCKED_TRIES {
        match ask_all() {
            Err(failure) if failure.kind == Kind::PortLocked => std::thread::park_timeout(LOCKED_PAUSE),
            answers => return answers.expect("it answers"),
        }
    }
    ask_all().expect("the port is free")
}
