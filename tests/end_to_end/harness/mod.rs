//! What the tests share: a modem with its ports, servers behind it, the tunnel's own program in front.
//!
//! Everything is real but the radio: processes, pseudoterminals, sockets on loopback, TLS by OpenSSL. Nothing
//! here sleeps; waiting ends with what is waited for, and [`PATIENCE`] only keeps a broken test from hanging.

mod clients;
mod gate;
mod log;
mod nginx;
mod process;
mod script;
mod site;
mod through;
mod tunnel;

use std::time::Duration;

pub use self::clients::{
    Ended, connect, curl, curl_at, digest, patterned_bytes, patterned_file, read_to_end, sha256_hex,
};
pub use self::gate::Gate;
pub use self::nginx::{Nginx, PAGE};
pub use self::process::{Finished, Running, program, run, run_with_input};
pub use self::script::{FarEnd, Step, Told, play_client};
pub use self::site::{
    Modem, NAME, Site, authority, certificate_file, free_address, identity, temporary_directory,
};
pub use self::through::{Stunnel, Through};
pub use self::tunnel::{Tunnel, tunnel_command};

/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// What the tests with much payload move: 16 MiB.
pub const MUCH_BYTES: u64 = 16 * 1024 * 1024;

/// The access modes of the manuals.
pub const MODES: [&str; 3] = ["push", "buffer", "transparent"];

/// How often something is done: seconds of it in an ordinary run, minutes under `./check --long`.
pub fn rounds(ordinary: usize, long: usize) -> usize {
    if std::env::var_os("QSSL_TUNNEL_LONG_TESTS").is_some_and(|value| value == "1") { long } else { ordinary }
}
