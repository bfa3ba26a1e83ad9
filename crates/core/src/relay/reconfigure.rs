//! A new configuration for tunnels that are in use: connections of tunnels that are unchanged, and those that are
//! open under old settings, live on.

use std::time::Instant;

use super::client::State;
use super::report::TunnelCounters;
use super::{Client, ClientId, Ending, Relay};
use crate::error::Kind;
use crate::modem::Reluctance;
use crate::settings::{Settings, Tunnel};

impl Relay {
    /// Takes this configuration in place of the present one. Returns the place of each of its tunnels, in order;
    /// a tunnel that is unchanged keeps its place. Clients of a tunnel that is changed go on under the old
    /// settings if they have a socket, else they wait under the new ones. Those of a tunnel that is gone go on if
    /// they have a socket, else they are reset.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub fn reconfigure(&mut self, new: Settings, now: Instant) -> Result<Vec<usize>, Reluctance> {
        if self.ending != Ending::Not {
            return Err(Reluctance::Never("the daemon is about to end".into()));
        }
        let mut tunnels = self.settings.tunnels.clone();
        let mut taken: Vec<bool> = (0..tunnels.len()).map(|place| self.has_sockets(place)).collect();
        let unchanged = places_of_unchanged(&tunnels, &new.tunnels);
        for place in unchanged.iter().flatten() {
            taken[*place] = true;
        }
        let mut fresh = Vec::new();
        let order: Vec<usize> = new
            .tunnels
            .iter()
            .zip(unchanged)
            .map(|(tunnel, unchanged)| {
                unchanged.unwrap_or_else(|| {
                    let place = taken.iter().position(|taken| !taken).unwrap_or(tunnels.len());
                    match place < tunnels.len() {
                        true => (tunnels[place], taken[place]) = (tunnel.clone(), true),
                        false => {
                            tunnels.push(tunnel.clone());
                            taken.push(true);
                        }
                    }
                    fresh.push(place);
                    place
                })
            })
            .collect();
        let retired = (0..tunnels.len()).map(|place| !order.contains(&place)).collect();
        let mut modem = new.modem.clone();
        if modem.sim_pin == self.settings.modem.sim_pin && self.modem.has_dropped_pin() {
            modem.sim_pin = None;
        }
        self.modem.reconfigure(modem, tunnels.clone(), retired, now)?;

        self.move_waiting_clients(&tunnels, &order, now);
        self.counters.resize(tunnels.len(), TunnelCounters::default());
        for place in fresh {
            self.counters[place] = TunnelCounters::default();
        }
        self.settings = Settings { tunnels, ..new };
        self.order = order.clone();
        self.settle(now);
        Ok(order)
    }

    /// Whether there are clients here that must keep the settings they have.
    fn has_sockets(&self, place: usize) -> bool {
        let of_place = |client: &&Client| client.tunnel == place;
        let keeps = |client: &Client| !matches!(client.state, State::Silent | State::Waiting);
        self.clients.iter().flatten().filter(of_place).any(keeps) || self.modem.uses_tunnel(place)
    }

    /// Clients without a socket go where their tunnel is now.
    fn move_waiting_clients(&mut self, tunnels: &[Tunnel], order: &[usize], now: Instant) {
        for index in 0..self.clients.len() {
            let Some(client) = &mut self.clients[index] else { continue };
            if !matches!(client.state, State::Silent | State::Waiting) {
                continue;
            }
            let old = &self.settings.tunnels[client.tunnel];
            match order.iter().find(|place| tunnels[**place].name == old.name) {
                Some(place) => client.tunnel = *place,
                None => {
                    let reason = "its tunnel is no longer configured";
                    self.reset(ClientId(index), reason, Kind::StreamCut, now);
                }
            }
        }
    }
}

/// For each new tunnel the place of an old one that is the same; no place twice.
fn places_of_unchanged(old: &[Tunnel], new: &[Tunnel]) -> Vec<Option<usize>> {
    let mut taken = vec![false; old.len()];
    let mut place = |tunnel: &Tunnel| {
        let place = (0..old.len()).find(|place| !taken[*place] && old[*place] == *tunnel)?;
        taken[place] = true;
        Some(place)
    };
    new.iter().map(&mut place).collect()
}
