//! A moment to count from, for tests: none depends on which.

use std::time::Instant;

/// Now.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Instant {
    Instant::now()
}
