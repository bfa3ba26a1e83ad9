//! What the unit tests share: a beginning of time, and a modem with a simulated world around it.

use std::time::Instant;

/// The beginning of a test's time; tests only ever add to it.
#[allow(clippy::disallowed_methods)]
pub(crate) fn start() -> Instant {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
