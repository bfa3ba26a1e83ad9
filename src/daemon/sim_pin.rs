//! The PIN that a SIM has refused, kept over restarts as a salted hash. Without it, the next processes would try the
//! PIN a second and a third time, and the SIM would lock itself.

use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::daemon::data_usage;

/// Where daemons keep it: the directories that the environment names, then that of the service.
pub fn usual_directories() -> Vec<PathBuf> {
    let named = ["QSSL_TUNNEL_STATE_DIRECTORY", "STATE_DIRECTORY"];
    let named = named.into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    named.chain([PathBuf::from("/var/lib/qssl-tunnel")]).collect()
}

/// Whether this PIN is the one that was refused.
pub fn is_refused(state_directory: &Path, pin: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(state_directory.join(FILE_NAME)) else { return false };
    text.split_once(' ').is_some_and(|(salt, hash)| hash.trim() == hash_of(salt, pin))
}

/// Records that the PIN was refused.
///
/// # Errors
/// The file cannot be written.
pub fn remember(state_directory: &Path, pin: &str) -> io::Result<()> {
    let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    let salt = format!("{:016x}{:016x}", random(), random());
    let line = format!("{salt} {}\n", hash_of(&salt, pin));
    data_usage::replace(&state_directory.join(FILE_NAME), line.as_bytes())
}

fn hash_of(salt: &str, pin: &str) -> String {
    let hash = Sha256::new().chain_update(salt).chain_update(pin).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

const FILE_NAME: &str = "refused-pin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_pin_is_known_again_and_cannot_be_read() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(!is_refused(directory.path(), "1234"));
        remember(directory.path(), "1234").expect("it is ours");
        assert!(is_refused(directory.path(), "1234") && !is_refused(directory.path(), "4321"));
        let text = std::fs::read_to_string(directory.path().join(FILE_NAME)).expect("it was written");
        assert!(!text.contains("1234 ") && text.len() > 90, "{text}");
    }
}
