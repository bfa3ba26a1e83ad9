//! A new configuration for tunnels that are in use: connections of unchanged tunnels, and those that are open under old
//! settings, go on.

use std::sync::Arc;
use std::time::Instant;

use super::report::Account;
use super::{ClientId, Ending, Relay};
use crate::error::Kind;
use crate::modem::Reluctance;
use crate::settings::{Settings, Target, Tunnel};

impl Relay {
    /// Takes this configuration in place of the present one. A tunnel that is unchanged stays the one that it is, with
    /// its counters: [`Relay::tunnels`] has the new list. Clients of a tunnel that is changed go on under the old
    /// settings if they have a socket, else they wait under the new ones. Those of a tunnel that is gone, or of another
    /// kind than before, go on if they have a socket, else they are reset; and so is a client that named its server and
    /// for which `may_have` has become false.
    ///
    /// # Errors
    /// [`Reluctance::Never`]: nothing has changed. [`Reluctance::NotNow`]: the same, but connections that were opened ahead
    /// for tunnels that are gone or changed are being closed.
    pub fn reconfigure(
        &mut self,
        mut new: Settings,
        may_have: impl Fn(&Tunnel, &Target) -> bool,
        now: Instant,
    ) -> Result<(), Reluctance> {
        if self.ending != Ending::Not {
            return Err(Reluctance::Never("the daemon is about to end".into()));
        }
        for tunnel in &mut new.tunnels {
            // A tunnel that was changed and is changed back while a client holds it is the same again.
            let held = self.clients.iter().flatten().map(|client| client.tunnel());
            let mut known = self.settings.tunnels.iter().chain(held);
            if let Some(unchanged) = known.find(|known| *known == tunnel).cloned() {
                *tunnel = unchanged;
            }
        }
        let mut modem = new.modem.clone();
        if modem.sim_pin == self.settings.modem.sim_pin && self.modem.has_dropped_pin() {
            modem.sim_pin = None;
        }
        if let Err(reluctance) = self.modem.reconfigure(modem, new.tunnels.clone(), now) {
            let mut tunnels = self.settings.tunnels.clone();
            if reluctance == Reluctance::NotNow {
                // Those of tunnels that are to go would hold their SSL contexts.
                tunnels.retain(|tunnel| new.tunnels.iter().any(|new| Arc::ptr_eq(new, tunnel)));
                self.close_ahead_but(&tunnels, now);
            }
            self.warm.configure(&tunnels);
            return Err(reluctance);
        }

        self.close_ahead_but(&new.tunnels, now);
        self.warm.configure(&new.tunnels);
        self.move_waiting_clients(&new.tunnels, may_have, now);
        self.settings = new;
        self.rearrange_accounts();
        self.settle(now);
        Ok(())
    }

    /// What [`Relay::reconfigure`] would return, without any effect.
    ///
    /// # Errors
    /// The same.
    pub fn can_reconfigure(&self, new: &Settings) -> Result<(), Reluctance> {
        if self.ending != Ending::Not {
            return Err(Reluctance::Never("the daemon is about to end".into()));
        }
        self.modem.contexts_for(&new.tunnels).map(|_| ())
    }

    /// Clients without a socket go where their tunnel is now.
    fn move_waiting_clients(
        &mut self,
        tunnels: &[Arc<Tunnel>],
        may_have: impl Fn(&Tunnel, &Target) -> bool,
        now: Instant,
    ) {
        for index in 0..self.clients.len() {
            let Some(client) = &mut self.clients[index] else { continue };
            if !client.is_unserved() {
                continue;
            }
            let reason = match tunnels.iter().find(|tunnel| tunnel.is_heir_of(client.tunnel())) {
                Some(heir) if heir.target.is_some() || may_have(heir, client.target()) => {
                    client.moves_to(heir);
                    continue;
                }
                Some(_) => "it may not have its target any more",
                None => "its tunnel is no longer configured, or has become another",
            };
            self.reset(ClientId(index), reason, Kind::StreamCut, now);
        }
    }

    /// The configured tunnels come first, each with what it did under earlier settings. Others are kept as long as they have
    /// clients.
    pub(super) fn rearrange_accounts(&mut self) {
        let mut old = std::mem::take(&mut self.accounts);
        for tunnel in &self.settings.tunnels {
            let known = old.iter().position(|account| account.tunnel.name == tunnel.name);
            let account = known.map(|index| old.swap_remove(index).moves_to(tunnel));
            self.accounts.push(account.unwrap_or_else(|| Account::new(tunnel)));
        }
        let has_clients = |account: &Account| {
            self.clients.iter().flatten().any(|client| client.tunnel().name == account.tunnel.name)
        };
        old.retain(has_clients);
        self.accounts.append(&mut old);
    }
}
