//! A modem among several: how it is, for the choice of one, and clients that go to another one.

use std::sync::Arc;
use std::time::Instant;

use super::client::Client;
use super::{ClientId, Ending, Relay};
use crate::fleet::{Condition, Facts};
use crate::settings::Tunnel;

/// A client that has left a modem, of which nothing has been sent: another modem may serve it.
#[derive(Debug)]
pub struct Withdrawn(Client);

impl Withdrawn {
    /// The tunnel that it came through.
    pub fn tunnel(&self) -> &Tunnel {
        self.0.tunnel()
    }
}

impl Relay {
    /// How this modem is, for a choice among several. `load_bytes`: what passed its ports lately.
    pub fn facts(&self, load_bytes: u64, now: Instant) -> Facts {
        let is_silent = || self.silent_at().is_some_and(|at| at <= now);
        let condition = if self.ending != Ending::Not {
            Condition::GivenUp
        } else if !self.modem.has_open_port() {
            Condition::PortGone
        } else if is_silent() {
            Condition::Silent
        } else if self.modem.is_serving() {
            Condition::Serving
        } else {
            Condition::Starting
        };
        let free_sockets = self.modem.free_sockets().saturating_sub(self.waiting.len());
        Facts { condition, free_sockets, load_bytes }
    }

    /// When an answer that is awaited counts as overdue, and the modem as silent ([`Condition::Silent`]).
    pub fn silent_at(&self) -> Option<Instant> {
        self.modem.silent_at()
    }

    /// This modem is the one at `position` of `count`. Its clients get numbers that no client of another modem has, and when
    /// it is given up, the caller has those that it could not serve go to another ([`Relay::movable`]).
    pub fn is_one_of(&mut self, count: usize, position: usize) {
        self.place = Place { next: position as u64 + 1, count: count as u64 };
    }

    /// The number of its next client.
    pub fn next_number(&self) -> u64 {
        self.place.next
    }

    /// Its next client has this number at least.
    pub fn number_from(&mut self, first: u64) {
        let Place { next, count } = self.place;
        self.place.next = next + first.saturating_sub(next).div_ceil(count) * count;
    }

    /// It is the modem that `before` was, which has ended: what was counted goes on, and so do the numbers of clients.
    pub fn goes_on_from(&mut self, before: Relay) {
        self.place = before.place;
        self.modem.counts_on_from(before.modem.counters().clone());
        self.accounts = before.accounts;
        self.rearrange_accounts();
    }

    /// It is not one of them any more: its connections end as in a shutdown, and then it.
    pub fn leaves(&mut self, now: Instant) {
        if self.ending == Ending::Not {
            self.drain("", now);
            self.settle(now);
        }
    }

    /// The clients that another modem could serve, with their tunnels: those that never had a connection, and, where this
    /// modem `is_failing`, those whose open it has not answered. Nothing of them has been sent.
    pub fn movable(&self, is_failing: bool) -> impl Iterator<Item = (ClientId, &Arc<Tunnel>)> {
        self.clients.iter().enumerate().filter_map(move |(index, client)| {
            let client = client.as_ref().filter(|client| match client.opening() {
                Some(socket) => is_failing && self.modem.is_open_unanswered(socket),
                None => client.is_unserved(),
            })?;
            Some((ClientId(index), client.tunnel()))
        })
    }

    /// Takes one of [`Relay::movable`] away. Its id is free then.
    pub fn withdraw(&mut self, id: ClientId, now: Instant) -> Option<Withdrawn> {
        let client = self.get(id)?;
        let queued = match client.opening() {
            Some(socket) => {
                let queued = self.modem.take_back(socket, now)?;
                self.client_of[socket.index()] = None;
                Some(queued)
            }
            None if client.is_unserved() => None,
            None => return None,
        };
        self.waiting.retain(|waiting| *waiting != id);
        let mut client = self.clients[id.0].take()?;
        if let Some(queued) = queued {
            client.detached(queued);
        }
        self.settle(now);
        Some(Withdrawn(client))
    }

    /// Takes over a client that has left another modem, for this tunnel.
    pub fn take_over(&mut self, withdrawn: Withdrawn, tunnel: &Arc<Tunnel>, now: Instant) -> ClientId {
        let Withdrawn(mut client) = withdrawn;
        client.moves_to(tunnel);
        let id = self.take_in(client);
        self.settle(now);
        id
    }
}

/// Which of several modems this is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The number of its next client.
    next: u64,
    /// How many modems there are.
    count: u64,
}

impl Place {
    /// Whether there are others.
    pub fn has_others(self) -> bool {
        self.count > 1
    }

    /// The number of a new client.
    pub fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += self.count;
        number
    }
}

impl Default for Place {
    fn default() -> Self {
        Place { next: 1, count: 1 }
    }
}
