//! One port of the modem: what the event loop found when it opened it, and when it is tried again.

use std::time::{Duration, Instant};

use crate::input::PortFacts;
use crate::settings;

/// A port, beside the channel that it carries.
#[derive(Debug)]
pub(super) struct Port {
    pub settings: settings::Port,
    /// As it was last opened.
    pub facts: PortFacts,
    /// When it is opened again, if it is not open and nothing is under way.
    reopen_at: Option<Instant>,
}

impl Port {
    pub(super) fn new(settings: settings::Port) -> Self {
        Port { settings, facts: PortFacts::default(), reopen_at: None }
    }

    pub(super) fn opened(&mut self, facts: PortFacts) {
        self.facts = facts;
        self.reopen_at = None;
    }

    /// It could not be opened, is gone, or was closed because nothing answers on it.
    pub(super) fn opens_after_pause(&mut self, now: Instant) {
        self.reopen_at = Some(now + REOPEN_PAUSE);
    }

    /// It was closed although the modem is well.
    pub(super) fn opens_at_once(&mut self, now: Instant) {
        self.reopen_at = Some(now);
    }

    pub(super) fn reopen_at(&self) -> Option<Instant> {
        self.reopen_at
    }

    /// Whether to open it now. From then on it is being opened.
    pub(super) fn takes_reopening(&mut self, now: Instant) -> bool {
        self.reopen_at.take_if(|at| *at <= now).is_some()
    }
}

/// How long a port stays closed before it is opened again.
pub(super) const REOPEN_PAUSE: Duration = Duration::from_secs(1);
