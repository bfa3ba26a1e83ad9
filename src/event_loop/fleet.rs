//! Several modems in one loop: which of them a new client goes to, and clients that go from one that fails to another.

use std::sync::Arc;
use std::time::Instant;

use super::{EventLoop, ModemUnit};
use crate::config::Policy;
use qssl_core::fleet::{self, Condition, Facts};
use qssl_core::relay::{Action, ClientId};
use qssl_core::settings::Tunnel;
use qssl_core::{ClientInput, Input};

impl EventLoop {
    /// The modem that a new client of this tunnel goes to, and the tunnel as this modem has it; `None`: none is left.
    pub(super) fn modem_for(&self, tunnel: &Tunnel) -> Option<(usize, Arc<Tunnel>)> {
        let modem = match self.modems.len() {
            1 => self.modems[0].status().is_none().then_some(0),
            _ => {
                let (policy, order) = self.modems_of(tunnel);
                fleet::choose(policy, order.into_iter().map(|modem| (modem, self.facts(modem))))
            }
        }?;
        Some((modem, self.modems[modem].tunnel(tunnel)?))
    }

    /// The position of the modem with this name.
    pub(super) fn modem_called(&self, name: &str) -> Option<usize> {
        self.modems.iter().position(|unit| unit.configured.name == name && unit.is_configured())
    }

    /// The modems that may serve this tunnel, in order, and how one of them is chosen.
    fn modems_of(&self, tunnel: &Tunnel) -> (Policy, Vec<usize>) {
        let mut tunnels = self.configuration.tunnels.iter();
        match tunnels.find(|configured| configured.settings.name == tunnel.name) {
            Some(configured) => {
                let names = self.configuration.modems_of(configured);
                let order = names.into_iter().filter_map(|name| self.modem_called(name));
                (configured.modems.policy, order.collect())
            }
            None => (Policy::default(), Vec::new()),
        }
    }

    fn facts(&self, modem: usize) -> Facts {
        self.modems[modem].facts(self.now)
    }

    /// When clients may have to go to another modem although nothing happens.
    pub(super) fn moves_due(&self) -> Option<Instant> {
        if self.modems.len() == 1 {
            return None;
        }
        let waits = |unit: &&ModemUnit| unit.status().is_none() && unit.relay.movable(true).next().is_some();
        let due = self.modems.iter().filter(waits).filter_map(|unit| unit.relay.silent_at());
        due.filter(|at| *at > self.now).min()
    }

    /// Clients that have no connection go from modems that cannot open one to others that can.
    pub(super) fn move_clients(&mut self) {
        for modem in 0..self.modems.len() {
            if self.modems.len() > 1 && self.modems[modem].status().is_none() {
                let own = self.facts(modem);
                self.move_clients_of(modem, own);
            }
        }
    }

    /// The last port of this modem is about to be reported as lost, which would end the clients whose connections are not
    /// open yet.
    pub(super) fn rescue_clients_of(&mut self, modem: usize) {
        if self.modems.len() > 1 && !self.modems[modem].is_connected() {
            self.move_clients_of(modem, Facts { condition: Condition::PortGone, ..self.facts(modem) });
        }
    }

    fn move_clients_of(&mut self, modem: usize, own: Facts) {
        if own.can_open() {
            return;
        }
        let is_failing = own.condition != Condition::Serving;
        let movable: Vec<ClientId> = self.modems[modem].relay.movable(is_failing).map(|(id, _)| id).collect();
        for id in movable {
            let Some(tunnel) = self.modems[modem].relay.client(id).map(|(_, tunnel)| tunnel.clone()) else {
                continue;
            };
            let (policy, order) = self.modems_of(&tunnel);
            let others = order.into_iter().filter(|other| *other != modem);
            let others = others.map(|other| (other, self.facts(other)));
            if let Some(to) = fleet::moves_to(policy, own, others) {
                self.move_client(modem, id, to, &tunnel);
            }
        }
    }

    /// Clients of a modem that takes no more go to any that is left.
    pub(super) fn leave_to_others(&mut self, modem: usize) {
        self.move_clients_of(modem, Facts { condition: Condition::GivenUp, ..self.facts(modem) });
    }

    /// The same, and the others are reset: it has ended.
    pub(super) fn leave_modem(&mut self, modem: usize) {
        self.leave_to_others(modem);
        self.modems[modem].relay.reset_all("its modem was given up", self.now);
        while let Some(action) = self.modems[modem].relay.poll_action() {
            if matches!(action, Action::CloseClient(_) | Action::ResetClient { .. }) {
                self.act(modem, action);
            }
        }
        for index in 0..self.modems[modem].ports.len() {
            self.close_port(modem, index);
        }
        self.modem_answers_no_more(modem);
    }

    fn move_client(&mut self, from: usize, id: ClientId, to: usize, tunnel: &Tunnel) {
        let Some(tunnel) = self.modems[to].tunnel(tunnel) else { return };
        // What is to be done there for an old client must not be done to this one.
        let Some(withdrawn) = self.modems[from].relay.withdraw(id, self.now) else { return };
        let slot = self.drop_client(from, id.0);
        let new = self.modems[to].relay.take_over(withdrawn, &tunnel, self.now);
        let _scope = self.modems[to].scope();
        let peer = self.modems[to].relay.client(new).map_or("", |(peer, _)| peer);
        log::info!("{peer} comes from {}, which cannot serve it now", self.modems[from].configured.name);
        match slot {
            Some(slot) => self.place_slot(to, new, slot),
            None => self.modems[to].relay.handle(Input::Client(new, ClientInput::Lost), self.now),
        }
    }
}
