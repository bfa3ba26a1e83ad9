//! Several modems in one simulated time: each is a simulation of its own, and clients go to one of them as in the event
//! loop.

use std::time::{Duration, Instant};

use qssl_core::fleet::{self, Condition, Facts, Policy};
use qssl_core::relay::ClientId;

use crate::Simulation;
use crate::wiring::{Fault, Wiring};

/// Modems that serve the same clients.
pub struct Fleet {
    /// The modems. Each has all clients; of those that are at another modem it has an empty actor.
    pub modems: Vec<Simulation>,
    policy: Policy,
    /// The modem that each client is at.
    pub at: Vec<Option<usize>>,
}

impl Fleet {
    /// Begins a run with so many modems of this wiring.
    pub fn start(wiring: &Wiring, count: usize, policy: Policy) -> Fleet {
        let mut modems: Vec<Simulation> = (0..count).map(|_| wiring.start_quietly()).collect();
        for (position, modem) in modems.iter_mut().enumerate() {
            modem.relay.is_one_of(count, position);
            modem.clients.iter_mut().for_each(|client| client.is_elsewhere = true);
        }
        Fleet { at: vec![None; modems[0].clients.len()], modems, policy }
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        self.modems[0].now
    }

    /// Lets this much time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now() + time;
        self.settle();
        while self.pass(end) {
            self.settle();
        }
    }

    /// Runs until `goal` is reached, and fails if that takes longer than `limit`. Returns how long it took.
    pub fn run_until(&mut self, what: &str, limit: Duration, goal: impl Fn(&Fleet) -> bool) -> Duration {
        let (begin, end) = (self.now(), self.now() + limit);
        self.settle();
        while !goal(self) {
            assert!(self.pass(end), "{what}: not within {limit:?}");
            self.settle();
        }
        self.now() - begin
    }

    /// How many bytes a client has received, wherever it is.
    pub fn received(&self, client: usize) -> usize {
        self.modems.iter().map(|modem| modem.clients[client].received.len()).sum()
    }

    /// How many bytes the server of a client has read, by all modems.
    pub fn read(&self, client: usize) -> usize {
        self.modems.iter().map(|modem| modem.fars[client].memory().read.len()).sum()
    }

    /// Something happens to one of them.
    pub fn inject(&mut self, modem: usize, fault: Fault) {
        if let Fault::LosePort(..) = fault {
            // Clients are moved before the loss would end them.
            let own = Facts { condition: Condition::PortGone, ..self.facts(modem) };
            self.move_clients(modem, own);
        }
        self.modems[modem].inject(fault);
        self.settle();
    }

    fn facts(&self, modem: usize) -> Facts {
        let Simulation { relay, now, .. } = &self.modems[modem];
        let counters = relay.modem().counters();
        relay.facts(counters.wire_bytes_out + counters.wire_bytes_in, *now)
    }

    fn settle(&mut self) {
        self.modems.iter_mut().for_each(Simulation::settle);
        while self.route() {
            self.modems.iter_mut().for_each(Simulation::settle);
        }
    }

    /// Gives clients that knock to a modem, and moves those that another one serves sooner. Returns whether there were any.
    fn route(&mut self) -> bool {
        let all = || (0..self.modems.len()).map(|modem| (modem, self.facts(modem)));
        let knocks = |client: &usize| {
            let Simulation { clients, start, now, .. } = &self.modems[0];
            self.at[*client].is_none() && clients[*client].has_come(*start, *now)
        };
        if let Some(client) = (0..self.at.len()).find(knocks)
            && let Some(modem) = fleet::choose(self.policy, all())
        {
            self.at[client] = Some(modem);
            self.modems[modem].clients[client].is_elsewhere = false;
            return true;
        }
        let facts: Vec<Facts> = all().map(|(_, facts)| facts).collect();
        facts.into_iter().enumerate().fold(false, |moved, (modem, own)| self.move_clients(modem, own) | moved)
    }

    fn move_clients(&mut self, modem: usize, own: Facts) -> bool {
        let is_failing = own.condition != Condition::Serving;
        let movable: Vec<ClientId> = self.modems[modem].relay.movable(is_failing).map(|(id, _)| id).collect();
        let mut moved = false;
        for id in movable {
            let others = (0..self.modems.len()).filter(|other| *other != modem);
            let others: Vec<_> = others.map(|other| (other, self.facts(other))).collect();
            let Some(to) = fleet::moves_to(self.policy, own, others) else { continue };
            let now = self.now();
            let is_it = |client: &crate::Actor| client.id == Some(id) && client.is_connected();
            let index = self.modems[modem].clients.iter().position(is_it).expect("it is at this modem");
            let Some(withdrawn) = self.modems[modem].relay.withdraw(id, now) else { continue };
            let tunnel = self.modems[to].relay.tunnels()[index].clone();
            let new = self.modems[to].relay.take_over(withdrawn, &tunnel, now);
            let [one, other] = self.modems.get_disjoint_mut([modem, to]).expect("they are two");
            std::mem::swap(&mut one.clients[index], &mut other.clients[index]);
            other.clients[index].id = Some(new);
            self.at[index] = Some(to);
            moved = true;
        }
        moved
    }

    /// Moves time to the next deadline of any modem, but not beyond `end`. Returns whether there is any time left.
    fn pass(&mut self, end: Instant) -> bool {
        let now = self.now();
        let own = self.modems.iter().filter_map(|modem| modem.next_deadline()).map(|(due, _)| due);
        let first = &self.modems[0];
        let waiting = (0..self.at.len()).filter(|client| self.at[*client].is_none());
        let come = waiting.map(|client| first.clients[client].comes_at(first.start)).filter(|at| *at > now);
        let silent = self.modems.iter().filter_map(|modem| modem.relay.silent_at()).filter(|at| *at > now);
        let due = own.chain(come).chain(silent).min().unwrap_or(end).min(end);
        self.modems.iter_mut().for_each(|modem| {
            modem.pass(due);
        });
        due < end
    }
}
