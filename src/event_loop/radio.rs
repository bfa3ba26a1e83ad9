//! What the modem reports about its network, as the status shows it.

use std::time::{Duration, Instant};

use crate::daemon::status;
use qssl_core::modem::{UserAnswer, UserCommand};

/// What the modem reported about its network. It is queried only when a status is requested.
#[derive(Debug, Default)]
pub(super) struct Radio {
    pub known: status::Modem,
    pub answered_at: Option<Instant>,
    asked: Vec<UserCommand>,
}

impl Radio {
    /// Whether the last answer is recent.
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.answered_at.is_some_and(|at| now.saturating_duration_since(at) < AGE_MAX)
    }

    /// Whether answers are awaited.
    pub fn is_being_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Notes a command whose answer is awaited.
    pub fn is_asked(&mut self, id: UserCommand) {
        self.asked.push(id);
    }

    /// Takes the answer to one of [`status::NETWORK_QUESTIONS`]; returns whether it was one.
    pub fn answered(&mut self, id: UserCommand, answer: &UserAnswer, now: Instant) -> bool {
        let Some(index) = self.asked.iter().position(|asked| *asked == id) else { return false };
        self.asked.remove(index);
        self.known.learn(&answer.lines);
        if answer.outcome.is_some() {
            self.answered_at = Some(now);
        }
        true
    }
}

/// The modem is queried about its network at most this often, and only when a status is requested.
const AGE_MAX: Duration = Duration::from_secs(60);
