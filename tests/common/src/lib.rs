//! What the tests and benches of the program share.
//!
//! | module | what it is |
//! |---|---|
//! | [`harness`] | the program end to end: modems with ports, servers, clients, other programs |
//! | [`packaging`] | the tools of the system, the files that are shipped, the Debian package |
//! | [`qemu`] | a virtual machine |
//! | [`in_memory`] | core and emulated modem in one thread, to measure the core |
//! | [`world`] | servers without cost, for measurements without the network |

pub mod harness;
pub mod in_memory;
pub mod packaging;
pub mod qemu;
pub mod world;

use std::path::{Path, PathBuf};

/// The top of the checkout.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("this crate is in tests/common")
}

/// The program under test, which cargo builds before the tests of its package.
///
/// # Panics
/// If it is missing.
pub fn program_under_test() -> PathBuf {
    let file = std::env::var_os("CARGO_BIN_EXE_qssl-tunnel").map_or_else(beside_the_test, PathBuf::from);
    assert!(file.is_file(), "{} is missing: cargo build --workspace --all-features", file.display());
    file
}

/// The program next to the tests, which are in target/PROFILE/deps. An older cargo, or a test that is started by hand,
/// sets no variable with the path.
fn beside_the_test() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a file");
    let profile = test.parent().and_then(Path::parent).expect("cargo puts it into folders");
    profile.join("qssl-tunnel")
}
