//! SIGHUP: the configuration is read again, and unchanged tunnels go on as they are.

use std::time::Duration;

use super::{EventLoop, ListenerSlot, ModemUnit, Source, count_modems};
use crate::clients::listener::Listener;
use crate::config::{Configuration, Listen, MODEMS_MAX, Process, Tunnel};
use crate::daemon::notify::monotonic_usec;
use crate::daemon::sandbox::Sandbox;
use crate::terminal::in_full;
use qssl_core::Kind;
use qssl_core::modem::Reluctance;
use qssl_core::settings::{self, Target};

/// What became of a new configuration.
enum Reload {
    /// It is in effect.
    Done,
    /// The modem is busy; it is read again soon.
    Later,
}

impl EventLoop {
    /// Reads the configuration again and applies it, as a whole or not at all.
    pub(super) fn reload(&mut self) {
        let is_draining = self.is_draining();
        let Some(daemon) = &mut self.daemon else { return };
        let is_repeated = daemon.reload_at.take().is_some();
        if is_draining {
            if !is_repeated {
                log::info!("ignoring SIGHUP: draining");
            }
            return;
        }
        let Some(reload) = &daemon.reload else { return };
        daemon.notifier.reloading(monotonic_usec());
        match reload() {
            Ok(checked) => match self.reconfigure(checked.configuration) {
                Ok(Reload::Done) => checked.warnings.iter().for_each(|warning| log::warn!("{warning}")),
                Ok(Reload::Later) if is_repeated => {}
                Ok(Reload::Later) => log::info!("the modem is busy: the new configuration waits for it"),
                Err(why) => self.refuse(&why),
            },
            Err(error) => self.refuse(&error.to_string()),
        }
        self.say_ready();
    }

    fn refuse(&self, why: &str) {
        let is_denied = why.to_ascii_lowercase().contains("permission denied");
        let hint = match is_denied && self.is_confined() {
            true => {
                " (the sandbox allows what the configuration named at the start: restart, or use --no-sandbox)"
            }
            false => "",
        };
        log::error!("{why}{hint}; the old configuration stays [{}]", Kind::Usage);
    }

    /// Whether the end of the process has begun. Where all that runs is a modem that leaves, there is still somebody who
    /// listens.
    pub(super) fn is_draining(&self) -> bool {
        let mut running = self.modems.iter().filter(|unit| unit.status().is_none());
        self.listeners.is_empty() && running.all(|unit| unit.relay.state() == "draining")
    }

    fn is_confined(&self) -> bool {
        self.sandbox().is_some()
    }

    fn sandbox(&self) -> Option<&Sandbox> {
        self.daemon.as_ref()?.sandbox.as_ref()
    }

    fn reconfigure(&mut self, new: Configuration) -> Result<Reload, String> {
        if new.modems.iter().any(|modem| modem.reset_command.is_some()) && self.is_confined() {
            return Err("reset-command: the sandbox runs no other program: restart".to_owned());
        }
        let joining = self.joining_modems(&new)?;
        // Which of the new tunnels each listening socket goes to; the others are closed.
        let heirs: Vec<Option<usize>> = self.listeners.iter().map(|slot| self.heir(slot, &new)).collect();
        // New addresses first: one that cannot be bound fails while nothing has changed.
        let (mut bound, mut warnings) = (Vec::new(), Vec::new());
        for (position, tunnel) in new.tunnels.iter().enumerate() {
            for listen in &tunnel.listen {
                let mut inherited = self.listeners.iter().zip(&heirs);
                let is_inherited =
                    inherited.any(|(slot, heir)| *heir == Some(position) && slot.listen == *listen);
                if is_inherited || *listen == Listen::Stdio {
                    continue;
                }
                let made = Listener::bind(listen, tunnel.settings.carries_datagrams())
                    .map_err(|error| error.to_string())?;
                warnings.extend(made.warnings);
                bound.extend(made.listeners.into_iter().map(|listener| (position, listen.clone(), listener)));
            }
        }
        let old: Vec<String> =
            self.configuration.tunnels.iter().map(|tunnel| tunnel.settings.name.clone()).collect();
        let unchanged: usize =
            self.configuration.tunnels.iter().filter(|tunnel| new.tunnels.contains(tunnel)).count();
        if let Some(daemon) = &mut self.daemon {
            // Tunnels that are about to go have moved some of it.
            for unit in &mut self.modems {
                daemon.data_usage.add(unit.relay.take_moved(), super::unix_seconds(), self.now);
            }
        }
        if let Some(reload) = self.reconfigure_modems(&new)? {
            return Ok(reload);
        }
        self.say_what_waits(&new);
        warnings.iter().for_each(|warning| log::warn!("{warning}"));
        self.rearrange_listeners(&new, &heirs, bound);
        self.move_greetings(&new);
        let added = new.tunnels.iter().filter(|tunnel| !old.contains(&tunnel.settings.name)).count();
        let gone = old
            .iter()
            .filter(|name| !new.tunnels.iter().any(|tunnel| tunnel.settings.name == **name))
            .count();
        let changed = new.tunnels.len() - added - unchanged.min(new.tunnels.len() - added);
        log::info!(
            "configuration reloaded: tunnels: {unchanged} unchanged, {changed} changed, {added} added, {gone} removed"
        );
        if let Some(daemon) = &mut self.daemon {
            daemon.data_usage.set_budget(new.process.monthly_budget);
        }
        self.configuration = new;
        self.rearrange_modems(joining);
        Ok(Reload::Done)
    }

    /// The modems that were not configured until now.
    fn joining_modems(&self, new: &Configuration) -> Result<Vec<ModemUnit>, String> {
        let joining = new.modems.iter().filter(|modem| self.modem_called(&modem.name).is_none());
        let mut units = Vec::new();
        for modem in joining {
            let alone = Configuration {
                modems: vec![modem.clone()],
                tunnels: Vec::new(),
                process: Process::default(),
            };
            if self.sandbox().is_some_and(|sandbox| !sandbox.reaches(&Sandbox::new(&alone, &[]))) {
                let name = &modem.name;
                return Err(format!(
                    "modem {name}: its device is outside of the sandbox: this needs a restart"
                ));
            }
            units.push(ModemUnit::new(new, modem, self.now).map_err(|error| in_full(&error))?);
        }
        let is_new = |unit: &&ModemUnit| !self.modems.iter().any(|known| known.is_called(unit));
        if self.modems.len() + units.iter().filter(is_new).count() > MODEMS_MAX {
            return Err(format!(
                "more than {MODEMS_MAX} modems since the start: this change needs a restart"
            ));
        }
        Ok(units)
    }

    /// Modems that are not configured any more leave, and these join.
    fn rearrange_modems(&mut self, joining: Vec<ModemUnit>) {
        for mut unit in joining {
            log::info!("{} joins", unit.configured.name);
            if let Some(daemon) = &self.daemon {
                daemon.look_at_pin(&mut unit, self.now);
            }
            match self.modems.iter_mut().find(|known| known.is_called(&unit)) {
                Some(known) => {
                    let gone = std::mem::replace(known, unit);
                    known.goes_on_from(gone);
                }
                None => self.modems.push(unit),
            }
        }
        count_modems(&mut self.modems);
        for modem in 0..self.modems.len() {
            let unit = &mut self.modems[modem];
            match self.configuration.modem_called(&unit.configured.name) {
                _ if !unit.is_configured() => {}
                Some(configured) => unit.is_now(configured),
                None => self.modem_leaves(modem),
            }
        }
    }

    /// Its clients go to other modems if nothing of them has been sent; the others end as in a shutdown.
    fn modem_leaves(&mut self, modem: usize) {
        let unit = &mut self.modems[modem];
        let _scope = unit.scope();
        let is_used = unit.status().is_none();
        unit.leaves();
        if !is_used {
            return;
        }
        log::info!("not configured any more: it takes no further clients");
        self.leave_to_others(modem);
        self.modems[modem].relay.leaves(self.now);
    }

    /// Gives each modem its part, once none of them would refuse. `Some`: nothing has changed.
    fn reconfigure_modems(&mut self, new: &Configuration) -> Result<Option<Reload>, String> {
        let (before, after, now) = (&self.configuration, new, self.now);
        let may_have = |tunnel: &settings::Tunnel, target: &Target| {
            let both = before.dynamic(&tunnel.name).zip(after.dynamic(&tunnel.name));
            both.is_some_and(|(old, new)| new.greets_like(old) && new.allows(target))
        };
        // One that has just left, and is configured again, is awaited.
        let is_new = |unit: &ModemUnit| new.modem_called(&unit.configured.name).is_some();
        let mut is_busy =
            self.modems.iter().any(|unit| unit.status().is_none() && !unit.is_configured() && is_new(unit));
        let in_use = self.modems.iter_mut().filter(|unit| unit.status().is_none() && unit.is_configured());
        let part = |unit: &ModemUnit| {
            let modem = new.modem_called(&unit.configured.name)?;
            Some(new.settings(modem))
        };
        let mut all: Vec<_> = in_use.filter_map(|unit| Some((part(unit)?, unit))).collect();
        for (settings, unit) in &all {
            match unit.relay.can_reconfigure(settings) {
                Ok(()) => {}
                Err(Reluctance::Never(why)) => return Err(why),
                Err(Reluctance::NotNow) => is_busy = true,
            }
        }
        for (settings, unit) in &mut all {
            if is_busy && unit.relay.can_reconfigure(settings).is_ok() {
                continue;
            }
            match unit.relay.reconfigure(settings.clone(), may_have, now) {
                Ok(()) => {}
                Err(Reluctance::Never(why)) => return Err(why),
                Err(Reluctance::NotNow) => is_busy = true,
            }
        }
        if is_busy && let Some(daemon) = &mut self.daemon {
            daemon.reload_at = Some(now + RELOAD_PAUSE);
        }
        Ok(is_busy.then_some(Reload::Later))
    }

    /// The position of the new tunnel that takes over this listening socket.
    fn heir(&self, slot: &ListenerSlot, new: &Configuration) -> Option<usize> {
        let name = &slot.tunnel.name;
        // Sockets with port 0 all have the same setting, so the tunnel's name decides.
        let any_port = match &slot.listen {
            Listen::Tcp(at) | Listen::Udp(at) => at.port() == 0,
            _ => false,
        };
        let takes_over = |tunnel: &Tunnel| {
            tunnel.listen.contains(&slot.listen)
                && (tunnel.settings.name == *name || !any_port)
                && tunnel.settings.carries_datagrams() == slot.tunnel.carries_datagrams()
        };
        new.tunnels.iter().position(takes_over)
    }

    /// Gives the listening sockets that are still wanted to the new tunnels, and closes the others.
    fn rearrange_listeners(
        &mut self,
        new: &Configuration,
        heirs: &[Option<usize>],
        bound: Vec<(usize, Listen, Listener)>,
    ) {
        let mut kept = Vec::new();
        for (mut slot, heir) in std::mem::take(&mut self.listeners).into_iter().zip(heirs) {
            // Closing removes a socket from epoll in any case; the kept ones get another token.
            let _ = slot.listener.deregister(self.poll.registry());
            if let Some(heir) = heir {
                slot.tunnel = new.tunnels[*heir].settings.clone();
                slot.allow.clone_from(&new.tunnels[*heir].allow);
                slot.dynamic.clone_from(&new.tunnels[*heir].dynamic);
                kept.push(slot);
            } else {
                log::info!("{} takes no more clients", slot.listener.name());
                self.end_sessions(&slot.listener);
            }
        }
        for (position, listen, listener) in bound {
            log::info!("listening on {}", listener.name());
            kept.push(ListenerSlot::new(listener, listen, &new.tunnels[position]));
        }
        for (index, slot) in kept.iter_mut().enumerate() {
            // A client that came in the meantime caused an event only for the old token.
            slot.ready = true;
            if let Err(error) = slot.listener.register(self.poll.registry(), Source::Listener(index).token())
            {
                log::error!(
                    "cannot wait for clients of {}: {error} [{}]",
                    slot.listener.name(),
                    Kind::Failed
                );
                self.stopped = Some(Kind::Failed);
            }
        }
        self.listeners = kept;
    }

    /// Logs which changes are not in force yet.
    fn say_what_waits(&self, new: &Configuration) {
        let names = |all: &[(&'static str, bool)]| -> String {
            let differing = all.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name);
            differing.collect::<Vec<_>>().join(", ")
        };
        let modem_count = new.modems.len();
        let (old, now) = (&self.configuration.process, &new.process);
        let of_process = [
            ("control", old.control != now.control),
            ("metrics", old.metrics != now.metrics),
            ("state-directory", old.state_directory != now.state_directory),
            ("hex-dump", old.hex_dump != now.hex_dump),
            ("no-sandbox", old.no_sandbox != now.no_sandbox),
            ("record-up", old.record_up != now.record_up),
            ("record-down", old.record_down != now.record_down),
        ];
        let say = |what: String, until: &str| {
            if !what.is_empty() {
                log::warn!("{what}: the change waits for {until}");
            }
        };
        for new in &new.modems {
            let Some(unit) = self.modem_called(&new.name).map(|modem| &self.modems[modem]) else { continue };
            let _scope = unit.scope();
            let old = &unit.configured;
            let (before, after) = (&old.settings, &new.settings);
            let restart = [
                ("device", old.devices != new.devices),
                ("baud", before.baud != after.baud),
                ("flow-control", before.flow_control != after.flow_control),
                ("cmux", (before.cmux, before.cmux_frame) != (after.cmux, after.cmux_frame)),
            ];
            let session = [
                ("sockets", before.sockets != after.sockets),
                ("ssl-contexts", before.ssl_contexts != after.ssl_contexts),
                ("sim-pin-file", before.sim_pin != after.sim_pin),
                ("apn and data session", before.pdp != after.pdp),
                ("ntp", before.ntp != after.ntp),
            ];
            match modem_count {
                1 => say(names(&[&restart[..], &of_process].concat()), "a restart"),
                _ => say(names(&restart), "a restart"),
            }
            say(names(&session), "the next data session");
        }
        if modem_count > 1 {
            say(names(&of_process), "a restart");
        }
    }
}

/// A reload that the core cannot take now is tried again after this time.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);
