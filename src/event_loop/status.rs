//! The status of the daemon, put together from its modems, tunnels and clients.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{EventLoop, ModemUnit, unix_seconds};
use crate::config::{self, Mode};
use crate::daemon::logging;
use crate::daemon::status::{self, Counts, Status};
use qssl_core::modem::Profile;
use qssl_core::relay::TunnelCounters;

impl EventLoop {
    /// What `qssl-tunnel status` shows.
    pub(super) fn status(&mut self) -> Status {
        let configured = self.configuration.modems.iter().filter_map(|modem| self.modem_called(&modem.name));
        let leaving = |modem: &usize| !self.modems[*modem].is_configured() && !self.modems[*modem].is_gone();
        let shown: Vec<usize> = configured.chain((0..self.modems.len()).filter(leaving)).collect();
        let Some(daemon) = &mut self.daemon else { return Status::default() };
        let (now, today) = (self.now, unix_seconds());
        for unit in &mut self.modems {
            // What was moved in this turn counts as well.
            daemon.data_usage.add(unit.relay.take_moved(), today, now);
        }
        let (mut modems, mut connections) = (Vec::new(), Vec::new());
        for unit in shown.iter().map(|modem| &self.modems[*modem]) {
            modems.push(unit.report(now));
            for mut connection in unit.relay.connections(now) {
                if shown.len() > 1 {
                    connection.modem.clone_from(&unit.configured.name);
                }
                connections.push(connection);
            }
        }
        qssl_core::sort_few(&mut connections, |one, other| {
            one.age_seconds > other.age_seconds || one.age_seconds == other.age_seconds && one.id < other.id
        });
        let (mut sockets, mut ports, mut counts) = (BTreeMap::new(), Vec::new(), Counts::default());
        for (index, modem) in modems.iter().enumerate() {
            for (state, count) in &modem.sockets {
                *sockets.entry(state.clone()).or_default() += count;
            }
            ports.extend(modem.ports.iter().cloned());
            let of_modem = modem.counts();
            match index {
                0 => counts = of_modem,
                _ => {
                    counts.modem += &of_modem.modem;
                    counts.waiting_clients += of_modem.waiting_clients;
                    counts.waiting_commands += of_modem.waiting_commands;
                }
            }
        }
        for gone in self.modems.iter().filter(|unit| unit.is_gone()) {
            // None of its opens are among the last.
            let open_seconds = counts.modem.open_seconds;
            counts.modem += gone.relay.modem().counters();
            counts.modem.open_seconds = open_seconds;
        }
        let used = daemon.data_usage.used(today);
        counts.budget =
            used.map(|(budget, used_bytes)| status::Budget { limit_bytes: budget.bytes, used_bytes });
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: Some(now.saturating_duration_since(daemon.started).as_secs_f64()),
            state: state_of(&modems).to_owned(),
            modem: modems[0].modem.clone(),
            ports,
            sockets,
            tunnels: self
                .configuration
                .tunnels
                .iter()
                .map(|tunnel| self.tunnel_status(tunnel, today))
                .collect(),
            connections,
            counters: Some(counts),
            events: logging::events(),
            name: String::new(),
            modems,
        }
    }

    /// A tunnel, and what it has done on all modems.
    fn tunnel_status(&self, tunnel: &config::Tunnel, today: i64) -> status::Tunnel {
        let settings = &tunnel.settings;
        let own = || self.listeners.iter().filter(|slot| slot.tunnel.name == settings.name);
        let allowed = tunnel.dynamic.as_ref().map_or(&[][..], |dynamic| &dynamic.allowed);
        let usage = self.daemon.as_ref().map(|daemon| daemon.data_usage.of_tunnel(&settings.name, today));
        let (today_bytes, month_bytes) = usage.unwrap_or_default();
        let mut status = status::Tunnel {
            name: settings.name.clone(),
            listen: own().map(|slot| slot.listener.name().to_owned()).collect(),
            target: config::destination(settings),
            allow_target: allowed.iter().map(ToString::to_string).collect(),
            mode: mode_in_words(settings.mode).to_owned(),
            today_bytes,
            month_bytes,
            ..status::Tunnel::default()
        };
        for unit in &self.modems {
            let reports = unit.relay.tunnel_reports();
            let Some(report) = reports.into_iter().find(|report| report.settings.name == settings.name)
            else {
                continue;
            };
            let context = || unit.relay.modem().ssl_context_of(report.settings);
            status.ssl_context = status.ssl_context.or_else(|| Some(context()?.index() as u32));
            for (state, count) in report.clients {
                *status.clients.entry(state).or_default() += count;
            }
            status.warm += report.warm;
            status.counters += report.counters;
        }
        if let TunnelCounters { datagrams: Some(datagrams), .. } = &mut status.counters {
            datagrams.dropped.unread = own().map(|slot| slot.listener.unread_datagrams()).sum();
        }
        status
    }
}

impl ModemUnit {
    fn report(&self, now: Instant) -> Status {
        let (configured, modem) = (&self.configured, self.relay.modem());
        let report = modem.report();
        let line_baud = self.relay.line_baud();
        let bauds: u64 =
            report.ports.iter().filter_map(|port| port.baud).chain(line_baud).map(u64::from).sum();
        let utilisation = self.gauge.utilisation(bauds, now);
        let ports = report.ports.iter().zip(&self.ports).map(|(port, slot)| status::Port {
            name: match port.name.is_empty() {
                true => slot.finder.device().to_string(),
                false => port.name.clone(),
            },
            state: port.state.to_string(),
            baud: port.baud,
            overruns: slot.port.as_ref().and_then(|port| port.line_counters().map(|line| line.lost)),
            utilisation: port.baud.and(utilisation),
            multiplexer: None,
        });
        let mut ports: Vec<status::Port> = ports.collect();
        if let (Some(multiplexer), [line]) = (self.relay.multiplexer(now), &mut ports[..]) {
            line.name = self.ports[0].finder.device().to_string();
            line.state = "channels".to_owned();
            line.baud = line_baud;
            line.utilisation = line_baud.and(utilisation);
            line.multiplexer = Some(multiplexer);
        }
        let module = &modem.profile().name;
        let (facts, answered_at) = modem.network();
        let ago = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
        let cell = (configured.settings.radio != config::Radio::Off).then(|| facts.cell.clone());
        Status {
            name: configured.name.clone(),
            state: if self.status().is_some() { status::GIVEN_UP } else { self.relay.state() }.to_owned(),
            modem: status::Modem {
                module: (module != &Profile::unknown().name).then(|| module.clone()),
                heard_seconds_ago: answered_at.map(ago),
                oldest_seconds_ago: modem.oldest_network_fact().map(ago),
                address: report.address,
                session: Some(match self.failure() {
                    Some(failure) => failure.to_string(),
                    None => report.session,
                }),
                session_seconds: Some(self.relay.session_age(now).as_secs_f64()),
                radio: cell,
                ..status::Modem::of(facts)
            },
            ports,
            sockets: report.sockets,
            counters: Some(Counts {
                modem: modem.counters().clone(),
                waiting_clients: self.relay.waiting_clients(),
                waiting_commands: report.waiting_commands,
                budget: None,
            }),
            ..Status::default()
        }
    }
}

/// What clients meet: up where one of the modems is. One that drains may be about to leave the others.
fn state_of(modems: &[Status]) -> &str {
    let states = ["up", "waiting", "draining"];
    let is = |state: &&str| modems.iter().any(|modem| modem.state == *state);
    states.into_iter().find(is).unwrap_or("waiting")
}

fn mode_in_words(mode: Mode) -> &'static str {
    match mode {
        Mode::Buffer => "buffer",
        Mode::Push => "push",
        Mode::Transparent => "transparent",
    }
}
