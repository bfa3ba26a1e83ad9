//! What the tests and benches of the program share.
//!
//! | module | what it is |
//! |---|---|
//! | [`harness`] | the program end to end: modems with ports, servers, clients, other programs |
//! | [`packaging`] | the tools of the system, the files that are shipped, the Debian package |
//! | [`in_memory`] | core and emulated modem in one thread, to count what the core takes |
//! | [`world`] | servers that cost nothing, for figures in which the network must not show |

pub mod harness;
pub mod in_memory;
pub mod packaging;
pub mod world;

use std::path::{Path, PathBuf};

/// The top of the checkout.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("this crate is in tests/common")
}

/// The program under test, which cargo builds before the tests of its package.
///
/// # Panics
/// When it is missing.
pub fn program_under_test() -> PathBuf {
    let file = std::env::var_os("CARGO_BIN_EXE_qssl-tunnel").map_or_else(beside_the_test, PathBuf::from);
    assert!(file.is_file(), "{} is missing: cargo build --workspace --all-features", file.display());
    file
}

/// Where cargo puts programs, from where it puts tests: target/PROFILE/deps. An older cargo, or a test that is started
/// by hand, has no variable that names it.
fn beside_the_test() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a file");
    let profile = test.parent().and_then(Path::parent).expect("cargo puts it into folders");
    profile.join("qssl-tunnel")
}
