//! The PIN that a SIM has refused, kept over restarts as a salted hash. Without it, the next processes would try the
//! PIN a second and a third time, and the SIM would lock itself.

use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::config::{DEFAULT_MODEM_NAME, MODEMS_MAX};
use crate::daemon::data_usage;

/// Where daemons keep it: the directories that the environment names, then that of the service.
pub fn usual_directories() -> Vec<PathBuf> {
    let named = ["QSSL_TUNNEL_STATE_DIRECTORY", "STATE_DIRECTORY"];
    let named = named.into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    named.chain([PathBuf::from("/var/lib/qssl-tunnel")]).collect()
}

/// Whether this PIN was refused by the SIM of this modem, or by that of a modem without a name.
pub fn is_refused(state_directory: &Path, modem: &str, pin: &str) -> bool {
    let Ok(text) = std::fs::read_to_string(state_directory.join(FILE_NAME)) else { return false };
    let is_it = |salt: &str, hash: &str| {
        [DEFAULT_MODEM_NAME, modem].iter().any(|modem| hash == hash_of(salt, modem, pin))
    };
    text.lines().filter_map(|line| line.split_once(' ')).any(|(salt, hash)| is_it(salt, hash.trim()))
}

/// Records that the SIM of this modem has refused the PIN.
///
/// # Errors
/// The file cannot be written.
pub fn remember(state_directory: &Path, modem: &str, pin: &str) -> io::Result<()> {
    let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    let salt = format!("{:016x}{:016x}", random(), random());
    let path = state_directory.join(FILE_NAME);
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    // The last ones of other modems stay.
    let from = known.lines().count().saturating_sub(MODEMS_MAX - 1);
    let mut lines: String = known.lines().skip(from).flat_map(|line| [line, "\n"]).collect();
    lines += &format!("{salt} {}\n", hash_of(&salt, modem, pin));
    data_usage::replace(&path, lines.as_bytes())
}

fn hash_of(salt: &str, modem: &str, pin: &str) -> String {
    let hash = Sha256::new().chain_update(salt).chain_update(pin);
    let hash = match modem {
        DEFAULT_MODEM_NAME => hash,
        name => hash.chain_update(" ").chain_update(name),
    };
    let hash = hash.finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

const FILE_NAME: &str = "refused-pin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_pin_is_known_again_and_cannot_be_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let is_refused = |modem, pin| is_refused(directory.path(), modem, pin);
        assert!(!is_refused("a", "1234"));
        remember(directory.path(), "a", "1234").expect("it is ours");
        assert!(is_refused("a", "1234") && !is_refused("a", "4321"));
        assert!(!is_refused("b", "1234"), "another SIM may have it");
        remember(directory.path(), "b", "4321").expect("it is ours");
        assert!(is_refused("a", "1234") && is_refused("b", "4321"));
        remember(directory.path(), DEFAULT_MODEM_NAME, "0000").expect("it is ours");
        assert!(is_refused("a", "0000"), "its SIM may be in the modem that is called a now");
        let text = std::fs::read_to_string(directory.path().join(FILE_NAME)).expect("it was written");
        assert!(!text.contains("1234 ") && text.lines().all(|line| line.len() > 90), "{text}");
        assert_eq!(text.lines().count(), 3);
    }
}
