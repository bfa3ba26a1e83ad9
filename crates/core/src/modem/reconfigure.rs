//! New tunnels and settings for a modem that is in use: what is unchanged goes on as it is.

use std::sync::Arc;
use std::time::Instant;

use super::{Modem, Socket};
use crate::at::SslContextId;
use crate::channel::Origin;
use crate::settings;
use crate::setup::SetupStep;
use crate::setup::ssl_context::{CaStorage, SslContext};

/// Why new tunnels are not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reluctance {
    /// The modem is busy with its files, or with closing what is in the way: try again a moment later.
    NotNow,
    /// The reason, in words.
    Never(String),
}

impl Modem {
    /// Takes these tunnels in place of the ones it has. Sockets of the old ones go on as they are. Settings of the modem
    /// that need a new data session wait for it.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub(crate) fn reconfigure(
        &mut self,
        settings: settings::Modem,
        tunnels: Vec<Arc<settings::Tunnel>>,
        now: Instant,
    ) -> Result<(), Reluctance> {
        let contexts = self.contexts_for(&tunnels)?;
        self.change_contexts(contexts);
        self.sockets.all_may_have_changed();
        self.tunnels = tunnels;
        if !self.tunnels.is_empty() {
            self.setup.is_wanted(now);
        }
        self.settings.wait = settings.wait;
        self.settings.liveness_interval = settings.liveness_interval;
        self.settings.recovery = settings.recovery;
        self.settings.has_reset_command = settings.has_reset_command;
        self.settings.reset_after = settings.reset_after;
        self.settings.poll_interval = settings.poll_interval;
        self.settings.radio = settings.radio;
        self.radio.configure(settings.radio);
        self.ladder.allow(settings.recovery, settings.has_reset_command);
        self.next_settings = (self.settings != settings).then_some(settings);
        if let Some(next) = &mut self.next_settings {
            // These belong to the open ports.
            next.baud = self.settings.baud;
            next.flow_control = self.settings.flow_control;
        }
        self.run(now);
        Ok(())
    }

    /// How the authorities of all tunnels are given to the module.
    pub(super) fn authorities(&self) -> CaStorage {
        CaStorage::of(&self.tunnels, self.setup.profile(), self.owns_chain())
    }

    /// A new session begins: settings that waited for it hold now. Returns whether there were any.
    pub(super) fn take_next_settings(&mut self) -> bool {
        match self.next_settings.take() {
            Some(settings) => {
                self.settings = settings;
                true
            }
            None => false,
        }
    }

    /// The SIM has refused the PIN, so it is not tried again.
    pub(crate) fn has_dropped_pin(&self) -> bool {
        self.settings.sim_pin.is_none()
    }

    /// Whether so many SSL contexts are enough for these tunnels, and for clients that go on under settings that none of
    /// them has, once the sockets without clients are closed.
    fn contexts_will_do(&self, tunnels: &[Arc<settings::Tunnel>], count: usize) -> bool {
        let settings = |tunnel: &Arc<settings::Tunnel>| {
            tunnel.tls().map(|tls| (tunnel.transport.scheme(), tls.clone(), tunnel.limits.connect_timeout))
        };
        let mut needed: Vec<_> = Vec::new();
        for settings in tunnels.iter().filter_map(settings) {
            if !needed.contains(&settings) {
                needed.push(settings);
            }
        }
        let stays = |context: &&SslContext| {
            let has_client = |socket: &&Socket| socket.is_attached() && !socket.is_ahead();
            let mut held = self.sockets.iter().filter(has_client).map(Socket::ssl);
            held.any(|ssl| ssl == Some(context.id)) && !tunnels.iter().any(|tunnel| context.fits(tunnel))
        };
        needed.len() + self.setup.contexts().iter().filter(stays).count() <= count
    }

    /// The SSL contexts that change with these tunnels, with their places in the list.
    ///
    /// # Errors
    /// As [`Modem::reconfigure`].
    pub(crate) fn contexts_for(
        &self,
        tunnels: &[Arc<settings::Tunnel>],
    ) -> Result<Vec<(usize, SslContext)>, Reluctance> {
        // Before the module has reported what it can do there are no contexts, and later steps make them. Plain tunnels have
        // none at all.
        if self.setup.contexts().is_empty() && !self.setup.is_up() {
            return Ok(Vec::new());
        }
        let setting_up = matches!(
            self.setup.step(),
            SetupStep::ListFiles
                | SetupStep::Compare
                | SetupStep::DeleteFile
                | SetupStep::Space
                | SetupStep::Upload
                | SetupStep::LookAtClock
                | SetupStep::LookAtFormat { .. }
        );
        if setting_up {
            return Err(Reluctance::NotNow);
        }
        let authorities = CaStorage::of(tunnels, self.setup.profile(), self.owns_chain());
        if authorities != self.authorities() {
            return Err(Reluctance::Never(
                "the authorities of --ca are stored in the module for all tunnels alike (cacertex): this change \
                 needs a restart"
                    .into(),
            ));
        }
        let ours: Vec<SslContextId> = SslContextId::all()
            .filter(|id| self.settings.ssl_contexts.contains(id.index()))
            .filter(|id| self.setup.profile().ssl_contexts.contains(id.index() as u32))
            .collect();
        // Which contexts must stay as they are.
        let mut kept: Vec<bool> = (0..self.setup.contexts().len())
            .map(|index| {
                let context = &self.setup.contexts()[index];
                self.sockets.iter().any(|socket| socket.ssl() == Some(context.id))
                    || self
                        .channels
                        .iter()
                        .any(|channel| channel.is_asking_for(|origin| origin == Origin::Context(index)))
                    || tunnels.iter().any(|tunnel| context.fits(tunnel))
            })
            .collect();
        let mut made: Vec<(usize, SslContext)> = Vec::new();
        for tunnel in tunnels {
            let Some(tls) = tunnel.tls() else { continue };
            let mut present = self.setup.contexts().iter().zip(&kept).filter(|(_, kept)| **kept);
            if present.any(|(context, _)| context.fits(tunnel))
                || made.iter().any(|(_, context)| context.fits(tunnel))
            {
                continue;
            }
            let (index, id) = match kept.iter().position(|kept| !kept) {
                Some(index) if index < self.setup.contexts().len() => {
                    (index, self.setup.contexts()[index].id)
                }
                _ => {
                    let taken = |id: &SslContextId| {
                        self.setup
                            .contexts()
                            .iter()
                            .chain(made.iter().map(|(_, it)| it))
                            .any(|it| it.id == *id)
                    };
                    let Some(id) = ours.iter().find(|id| !taken(id)) else {
                        if self.contexts_will_do(tunnels, ours.len()) {
                            return Err(Reluctance::NotNow);
                        }
                        return Err(Reluctance::Never(format!(
                            "the tunnels need more than the {} SSL contexts of {}, connections under the old settings \
                             included: give some the same TLS options, or try again when those have ended",
                            ours.len(),
                            self.setup.profile().name
                        )));
                    };
                    (kept.len(), *id)
                }
            };
            let (scheme, timeout) = (tunnel.transport.scheme(), tunnel.limits.connect_timeout);
            let context = SslContext::new(id, scheme, tls, timeout, self.setup.profile(), authorities)
                .map_err(|failure| Reluctance::Never(failure.message))?;
            match index < kept.len() {
                true => kept[index] = true,
                false => kept.push(true),
            }
            made.push((index, context));
        }
        Ok(made)
    }

    fn change_contexts(&mut self, made: Vec<(usize, SslContext)>) {
        let files_needed = made.iter().any(|(_, context)| !context.files.is_empty());
        for (index, context) in made {
            match self.setup.contexts_mut().get_mut(index) {
                Some(place) => *place = context,
                None => self.setup.contexts_mut().push(context),
            }
        }
        if files_needed && self.setup.is_up() {
            self.setup.contexts_changed();
        }
    }
}
