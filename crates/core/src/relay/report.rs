//! What can be seen of the tunnels from outside, as plain data.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ClientId, Ending, Relay};
use crate::settings::Tunnel;

/// What a tunnel has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct TunnelCounters {
    /// Clients accepted since the start.
    pub accepted: u64,
    /// Clients turned away by `--allow`, `--when-full reset` or a spent budget, those of `--dynamic` that did not name a
    /// target of `--allow-target` in time or had no valid password, and clients that found all file descriptors in use
    /// and had to wait: each once; of a Unix socket the first of each shortage.
    pub refused: u64,
    /// Connections opened since the start.
    pub opens: u64,
    /// Clients that got a connection that had been opened ahead.
    pub served_warm: u64,
    /// Connections that were reset since the start.
    pub resets: u64,
    /// Payload from clients that the module has taken since the start.
    pub up_bytes: u64,
    /// Payload to clients since the start.
    pub down_bytes: u64,
    /// Of datagrams, how many it has carried since the start, up and down, and how many it has dropped, by cause: empty
    /// (no payload), long (more than the module takes in one send), full (the queue of the session), unsent (when the
    /// session ended, or with an unknown result), undelivered (to the client), refused (no room for a session, or not
    /// allowed), unread (the host's kernel had no room for them). Without any where it carries streams.
    #[cfg_attr(feature = "serde", serde(with = "by_name"))]
    pub datagrams: Option<Datagrams>,
}

/// Datagrams that a tunnel or a session carried, and those that it dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// From clients, taken by the module.
    pub up: u64,
    /// Delivered to clients.
    pub down: u64,
    /// Neither, by cause.
    pub dropped: Dropped,
}

/// Datagrams that were dropped, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// From clients, without payload: no module sends such.
    pub empty: u64,
    /// From clients, longer than the module takes in one send.
    pub long: u64,
    /// In either direction, where the queue of the session was full.
    pub full: u64,
    /// From clients, not sent before the session ended, or sent with an unknown result.
    pub unsent: u64,
    /// For clients, not taken by the host's network, or left when the session ended.
    pub undelivered: u64,
    /// From addresses for which there was no session, and no room for one.
    pub refused: u64,
    /// From clients, for which the host's kernel had no room: more came than was read. What counts is the listening
    /// socket, so the core does not know of them.
    pub unread: u64,
}

/// What the same tunnel has done on another modem is added.
impl std::ops::AddAssign for TunnelCounters {
    fn add_assign(&mut self, other: TunnelCounters) {
        for (sum, more) in [
            (&mut self.accepted, other.accepted),
            (&mut self.refused, other.refused),
            (&mut self.opens, other.opens),
            (&mut self.served_warm, other.served_warm),
            (&mut self.resets, other.resets),
            (&mut self.up_bytes, other.up_bytes),
            (&mut self.down_bytes, other.down_bytes),
        ] {
            *sum += more;
        }
        if let Some(datagrams) = other.datagrams {
            *self.datagrams.get_or_insert_default() += datagrams;
        }
    }
}

impl std::ops::AddAssign for Datagrams {
    fn add_assign(&mut self, other: Datagrams) {
        self.up += other.up;
        self.down += other.down;
        for ((_, count), (_, more)) in self.dropped.causes().into_iter().zip(other.dropped.by_cause()) {
            *count += more;
        }
    }
}

impl From<Dropped> for Datagrams {
    fn from(dropped: Dropped) -> Datagrams {
        Datagrams { dropped, ..Datagrams::default() }
    }
}

impl Dropped {
    /// Each cause in a word, and how many it dropped.
    pub fn by_cause(&self) -> [(&'static str, u64); 7] {
        let mut counts = *self;
        counts.causes().map(|(cause, count)| (cause, *count))
    }

    fn causes(&mut self) -> [(&'static str, &mut u64); 7] {
        [
            ("empty", &mut self.empty),
            ("long", &mut self.long),
            ("full", &mut self.full),
            ("unsent", &mut self.unsent),
            ("undelivered", &mut self.undelivered),
            ("refused", &mut self.refused),
            ("unread", &mut self.unread),
        ]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_cause().iter().map(|(_, count)| count).sum()
    }
}

/// [`TunnelCounters::datagrams`] as one map: `up`, `down`, and the causes.
#[cfg(feature = "serde")]
mod by_name {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Datagrams;

    pub fn serialize<S: Serializer>(counts: &Option<Datagrams>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = BTreeMap::new();
        if let Some(Datagrams { up, down, dropped }) = counts {
            all.extend(dropped.by_cause());
            all.extend([("up", *up), ("down", *down)]);
        }
        all.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Datagrams>, D::Error> {
        let all = BTreeMap::<String, u64>::deserialize(deserializer)?;
        let of = |name: &str| all.get(name).copied().unwrap_or_default();
        let mut counts = Datagrams { up: of("up"), down: of("down"), ..Datagrams::default() };
        for (cause, count) in counts.dropped.causes() {
            *count = of(cause);
        }
        Ok((!all.is_empty()).then_some(counts))
    }
}

/// Payload that a tunnel moved, and what its connections cost besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes from clients that the module has taken.
    pub up_bytes: u64,
    /// Bytes to clients.
    pub down_bytes: u64,
    /// TLS handshakes.
    pub opens: u64,
}

/// A tunnel at one moment.
#[derive(Clone, Debug)]
pub struct TunnelReport<'a> {
    /// Its settings, by which clients are accepted for it.
    pub settings: &'a Arc<Tunnel>,
    /// What it has done.
    pub counters: TunnelCounters,
    /// How many clients are in each state: silent, waiting, opening, open, ending.
    pub clients: BTreeMap<String, usize>,
    /// How many connections are open ahead of their clients.
    pub warm: usize,
}

/// A client's connection at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Connection {
    /// Counts the connections of the daemon, from 1; `--kill` takes it.
    pub id: u64,
    /// The tunnel's name.
    pub tunnel: String,
    /// Who the client is.
    pub peer: String,
    /// The server that it is for, as `--to` would have it.
    pub server: String,
    /// silent, waiting, opening, open, ending.
    pub state: String,
    /// How long ago the client was accepted.
    pub age_seconds: f64,
    /// Payload from the client that the module has taken.
    pub up_bytes: u64,
    /// What of that the server has acknowledged at least: the module's last answer, up to 30 s old. `None`: it was not asked
    /// yet, or the connection is TLS, of which no module tells it.
    pub delivered_bytes: Option<u64>,
    /// Payload to the client.
    pub down_bytes: u64,
    /// The modem that carries it, where there are several; the caller of the core knows their names.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "String::is_empty"))]
    pub modem: String,
}

/// A tunnel and what it has done, under all the settings that it has had.
#[derive(Debug)]
pub(super) struct Account {
    pub tunnel: Arc<Tunnel>,
    pub counters: TunnelCounters,
    /// What has not been taken by [`Relay::take_moved`] yet.
    untold: Moved,
}

impl Account {
    pub fn new(tunnel: &Arc<Tunnel>) -> Self {
        let datagrams = tunnel.carries_datagrams().then(Datagrams::default);
        let counters = TunnelCounters { datagrams, ..TunnelCounters::default() };
        Account { tunnel: tunnel.clone(), counters, untold: Moved::default() }
    }

    /// Datagrams went their way, or were dropped.
    pub fn count(&mut self, datagrams: Datagrams) {
        if let Some(counts) = &mut self.counters.datagrams {
            *counts += datagrams;
        }
    }

    /// A connection was opened, of this tunnel as it is now or was before.
    pub fn opened(&mut self, tunnel: &Tunnel) {
        self.counters.opens += 1;
        self.untold.opens += u64::from(tunnel.tls().is_some());
    }

    /// The tunnel has other settings from now on.
    pub fn moves_to(mut self, tunnel: &Arc<Tunnel>) -> Self {
        self.counters.datagrams =
            tunnel.carries_datagrams().then(|| self.counters.datagrams.unwrap_or_default());
        self.tunnel = tunnel.clone();
        self
    }

    pub fn moved_up(&mut self, bytes: u64) {
        self.counters.up_bytes += bytes;
        self.untold.up_bytes += bytes;
    }

    pub fn moved_down(&mut self, bytes: usize) {
        self.counters.down_bytes += bytes as u64;
        self.untold.down_bytes += bytes as u64;
    }
}

/// What the tunnel of this name has done. One that is no longer configured, and for which events still come, has an
/// account too.
pub(super) fn account_of<'a>(accounts: &'a mut Vec<Account>, tunnel: &Arc<Tunnel>) -> &'a mut Account {
    let is_it =
        |account: &Account| Arc::ptr_eq(&account.tunnel, tunnel) || account.tunnel.name == tunnel.name;
    let index = accounts.iter().position(is_it).unwrap_or_else(|| {
        accounts.push(Account::new(tunnel));
        accounts.len() - 1
    });
    &mut accounts[index]
}

impl Relay {
    /// The tunnels in the order of the configuration.
    pub fn tunnels(&self) -> &[Arc<Tunnel>] {
        &self.settings.tunnels
    }

    /// How they are, in the same order.
    pub fn tunnel_reports(&self) -> Vec<TunnelReport<'_>> {
        let configured = self.accounts.iter().take(self.settings.tunnels.len());
        configured
            .map(|Account { tunnel, counters, .. }| TunnelReport {
                settings: tunnel,
                counters: *counters,
                clients: self.clients_of(tunnel),
                warm: self.warm.ready_count(tunnel),
            })
            .collect()
    }

    /// How many clients came through the tunnel of this name.
    pub fn clients_through(&self, name: &str) -> usize {
        self.clients.iter().flatten().filter(|client| client.tunnel().name == name).count()
    }

    /// How many clients of this tunnel are in each state, also under settings that it had before.
    fn clients_of(&self, tunnel: &Arc<Tunnel>) -> BTreeMap<String, usize> {
        let mut clients = BTreeMap::new();
        for client in self.clients.iter().flatten().filter(|client| client.tunnel().name == tunnel.name) {
            *clients.entry(client.state_name().to_owned()).or_default() += 1;
        }
        clients
    }

    /// The clients, the oldest first.
    pub fn connections(&self, now: Instant) -> Vec<Connection> {
        let mut clients: Vec<_> = self.clients.iter().flatten().collect();
        crate::sort_few(&mut clients, |one, other| one.number() < other.number());
        clients
            .into_iter()
            .map(|client| Connection {
                id: client.number(),
                tunnel: client.tunnel().name.clone(),
                peer: client.peer().to_owned(),
                server: client.server().to_string(),
                state: client.state_name().to_owned(),
                age_seconds: client.age(now).as_secs_f64(),
                up_bytes: client.up_bytes(),
                delivered_bytes: client.delivered_bytes(),
                down_bytes: client.down_bytes(),
                modem: String::new(),
            })
            .collect()
    }

    /// Chance decides by this how long pauses between attempts are.
    pub fn set_seed(&mut self, seed: u64) {
        self.modem.set_seed(seed);
        self.warm.set_seed(seed);
    }

    /// So many clients of this tunnel were turned away before they were accepted, or had to wait for a descriptor.
    pub fn clients_refused(&mut self, tunnel: &Arc<Tunnel>, count: usize) {
        account_of(&mut self.accounts, tunnel).counters.refused += count as u64;
    }

    /// How many clients wait for a socket.
    pub fn waiting_clients(&self) -> usize {
        self.waiting.len()
    }

    /// What clients meet: waiting, up or draining. While files or settings are looked at again, connections go on, and
    /// a new one comes soon.
    pub fn state(&self) -> &'static str {
        match (self.ending, self.modem.is_serving()) {
            (Ending::Not, true) => "up",
            (Ending::Not, false) => "waiting",
            _ => "draining",
        }
    }

    /// How long the data session has been up, or down.
    pub fn session_age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.session_since)
    }

    /// What was moved since this was last asked, by tunnel; nothing is reported twice.
    pub fn take_moved(&mut self) -> Vec<(String, Moved)> {
        let moved = self.accounts.iter_mut().filter(|account| account.untold != Moved::default());
        moved.map(|account| (account.tunnel.name.clone(), std::mem::take(&mut account.untold))).collect()
    }

    /// Who this client is, and its tunnel.
    pub fn client(&self, id: ClientId) -> Option<(&str, &Arc<Tunnel>)> {
        self.get(id).map(|client| (client.peer(), client.tunnel()))
    }
}
