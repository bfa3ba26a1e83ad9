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
    usage: PortUse,
}

/// How a port is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PortUse {
    /// It is open, or being opened.
    Open,
    /// It is closed, and opened again at this time.
    Closed { reopen_at: Instant },
    /// Its line belongs to no channel: what the module is in is found out, or it is made to carry several channels.
    HandedOver,
}

impl Port {
    pub(super) fn new(settings: settings::Port) -> Self {
        Port { settings, facts: PortFacts::default(), usage: PortUse::Open }
    }

    pub(super) fn opened(&mut self, facts: PortFacts) {
        self.facts = facts;
        self.usage = PortUse::Open;
    }

    /// It could not be opened, is gone, or was closed because nothing answers on it.
    pub(super) fn opens_after_pause(&mut self, now: Instant) {
        self.usage = PortUse::Closed { reopen_at: now + REOPEN_PAUSE };
    }

    /// It was closed although the modem is well.
    pub(super) fn opens_at_once(&mut self, now: Instant) {
        self.usage = PortUse::Closed { reopen_at: now };
    }

    /// Its line belongs to no channel.
    pub(super) fn handed_over(&mut self) {
        self.usage = PortUse::HandedOver;
    }

    pub(super) fn is_handed_over(&self) -> bool {
        self.usage == PortUse::HandedOver
    }

    pub(super) fn reopen_at(&self) -> Option<Instant> {
        match self.usage {
            PortUse::Closed { reopen_at } => Some(reopen_at),
            PortUse::Open | PortUse::HandedOver => None,
        }
    }

    /// Whether to open it now. From then on it is being opened.
    pub(super) fn takes_reopening(&mut self, now: Instant) -> bool {
        let is_due = self.reopen_at().is_some_and(|at| at <= now);
        if is_due {
            self.usage = PortUse::Open;
        }
        is_due
    }
}

/// How long a port stays closed before it is opened again.
pub(super) const REOPEN_PAUSE: Duration = Duration::from_secs(1);
