//! Connections that are opened ahead of their clients (`--warm`).
//!
//! ```text
//!    due            open           nothing to read         a client comes
//!   ─────► Opening ─────► Unread ─────────────────► Ready ───────────────► the client's
//!             │ │           │ │                       │                         ▲
//!             │ └───────────│─┴───── a client comes, and none is ready ─────────┘
//!             ▼ failed      ▼                         ▼ the server has closed or said something, too old, in the way
//!            gone         closed                    closed
//! ```
//! Each is given to one client or to none, and is not known here from then on. How many there are is the tunnel's
//! setting. When they are opened depends on how the last ones fared ([`Trying`]): what fails, or does not last until a
//! client comes, is tried again one at a time and after growing pauses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Client;
use super::report::account_of;
use super::{Action, ClientId, Ending, Relay};
use crate::at::SocketId;
use crate::modem::{Ahead, GiveUp, Holder, OpenFailure};
use crate::recovery::Backoff;
use crate::settings::{Mode, Tunnel};

/// The connections ahead of all tunnels that want some.
#[derive(Debug, Default)]
pub(super) struct Warm {
    tunnels: Vec<Keeper>,
    /// A budget is spent: none is opened.
    is_barred: bool,
    /// A client has just got one, and what it sends goes before the next open.
    head_start_until: Option<Instant>,
    /// When it was last decided what is due.
    last_look: Option<Instant>,
    /// Chance decides by this how long pauses are.
    seed: u64,
}

/// Those of one tunnel.
#[derive(Debug)]
struct Keeper {
    tunnel: Arc<Tunnel>,
    kept: Vec<Kept>,
    trying: Trying,
    backoff: Backoff,
    /// When a failure was last worth a warning.
    warned_at: Option<Instant>,
}

/// A connection that no client has.
#[derive(Clone, Copy, Debug)]
struct Kept {
    socket: SocketId,
    /// When its open began.
    begun: Instant,
    stage: Stage,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    /// It is open, and whether the server has said something already shows when it is read.
    Unread(Opened),
    Ready(Opened),
}

/// How one came to be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opened {
    /// Since when.
    since: Instant,
    /// How often the settings of its SSL context had been found wrong by then.
    generation: u32,
}

/// How further ones are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trying {
    /// As many at once as are missing.
    Freely,
    /// One at a time.
    Carefully {
        /// When the last one failed. What failed as well and had begun before says nothing new.
        failed_at: Instant,
        /// The next one is not opened before this time.
        again_at: Instant,
        /// The last one was open and did not last: that another one opens shows nothing.
        was_open: bool,
    },
}

/// Why one that was open is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WarmEnd {
    /// It is as old as it may become, or there are newer ones.
    Old,
    /// The server seems to have closed it.
    ServerClosed,
    /// The server has said something, which no client may get, or more than is kept.
    ServerSpoke,
    /// The settings that it was opened by are no longer in effect.
    SettingsChanged,
}

/// A connection for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is open.
    Open(SocketId),
    /// It is being opened, and will be open before one that is begun now.
    Opening(SocketId),
}

impl Warm {
    /// For these tunnels. Those of other tunnels must have been taken out before.
    pub fn configure(&mut self, tunnels: &[Arc<Tunnel>]) {
        let mut old = std::mem::take(&mut self.tunnels);
        for tunnel in tunnels.iter().filter(|tunnel| is_wanted_by(tunnel)) {
            let known = old.iter().position(|keeper| Arc::ptr_eq(&keeper.tunnel, tunnel));
            let keeper = known.map_or_else(|| Keeper::new(tunnel, self.seed), |index| old.swap_remove(index));
            self.tunnels.push(keeper);
        }
        debug_assert!(old.iter().all(|keeper| keeper.kept.is_empty()), "taken out before");
    }

    /// Chance decides by this how long pauses are.
    pub fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
        self.tunnels.iter_mut().for_each(|keeper| keeper.backoff.set_seed(seed));
    }

    /// From now on none is opened, or as many as are wanted. Returns whether that is a change.
    pub fn bar(&mut self, is_barred: bool) -> bool {
        std::mem::replace(&mut self.is_barred, is_barred) != is_barred
    }

    // Questions.

    /// Whether any tunnel wants some.
    pub fn is_used(&self) -> bool {
        !self.tunnels.is_empty()
    }

    /// Whether this one is kept.
    pub fn keeps(&self, socket: SocketId) -> bool {
        self.tunnels.iter().any(|keeper| keeper.kept.iter().any(|kept| kept.socket == socket))
    }

    /// How many of this tunnel are ready.
    pub fn ready_count(&self, tunnel: &Arc<Tunnel>) -> usize {
        let is_ready = |kept: &&Kept| matches!(kept.stage, Stage::Ready(_));
        self.keeper(tunnel).map_or(0, |keeper| keeper.kept.iter().filter(is_ready).count())
    }

    /// When something is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let again = self.tunnels.iter().filter_map(|keeper| match keeper.trying {
            Trying::Carefully { again_at, .. } => Some(again_at),
            Trying::Freely => None,
        });
        let ages = self.tunnels.iter().flat_map(|keeper| {
            let (renewal, end) = (keeper.renewal_age(), keeper.tunnel.limits.warm.max_age);
            let open = keeper.kept.iter().filter_map(Kept::opened);
            open.flat_map(move |open| [open.since + renewal, open.since + end]).chain(keeper.next_turn())
        });
        // What was due then and was not done waits for something else, not for the time.
        let own = again.chain(ages).chain(self.head_start_until);
        own.filter(|at| self.last_look.is_none_or(|look| *at > look)).min()
    }

    /// The connection that a client of this tunnel gets, if there is one for it.
    pub fn find(
        &self,
        tunnel: &Arc<Tunnel>,
        ahead: impl Fn(SocketId) -> Ahead,
        now: Instant,
    ) -> Option<Found> {
        let keeper = self.keeper(tunnel)?;
        let found = keeper.kept.iter().filter_map(|kept| {
            let ahead = ahead(kept.socket);
            let is_young = now.saturating_duration_since(kept.begun) <= TAKEN_OPENING_MAX;
            let (rank, found) = match kept.stage {
                Stage::Ready(_) if ahead.is_fresh => (0, Found::Open(kept.socket)),
                Stage::Unread(_) if ahead.is_held => (1, Found::Open(kept.socket)),
                Stage::Opening if ahead.is_held && is_young && keeper.trying == Trying::Freely => {
                    (2, Found::Opening(kept.socket))
                }
                _ => return None,
            };
            // The oldest would have to be replaced first.
            keeper.verdict(kept, ahead, now).is_none().then_some((rank, kept.begun, found))
        });
        found.min_by_key(|(rank, begun, _)| (*rank, *begun)).map(|(_, _, found)| found)
    }

    /// The tunnel whose next connection is due.
    pub fn due(&self, now: Instant) -> impl Iterator<Item = &Arc<Tunnel>> {
        let may_open = !self.is_barred && self.head_start_until.is_none_or(|until| until <= now);
        let is_due = move |keeper: &&Keeper| may_open && keeper.wants_another(now);
        self.tunnels.iter().filter(is_due).map(|keeper| &keeper.tunnel)
    }

    fn keeper(&self, tunnel: &Arc<Tunnel>) -> Option<&Keeper> {
        self.tunnels.iter().find(|keeper| Arc::ptr_eq(&keeper.tunnel, tunnel))
    }

    /// The keeper of this one, and its index there.
    fn index_of(&mut self, socket: SocketId) -> Option<(&mut Keeper, usize)> {
        self.tunnels.iter_mut().find_map(|keeper| {
            let index = keeper.kept.iter().position(|kept| kept.socket == socket)?;
            Some((keeper, index))
        })
    }

    // What happened.

    /// An open of this tunnel has begun.
    pub fn begun(&mut self, tunnel: &Arc<Tunnel>, socket: SocketId, now: Instant) {
        let keeper = self.tunnels.iter_mut().find(|keeper| Arc::ptr_eq(&keeper.tunnel, tunnel));
        if let Some(keeper) = keeper {
            keeper.kept.push(Kept { socket, begun: now, stage: Stage::Opening });
        }
    }

    /// A connection is open. Returns its tunnel.
    pub fn opened(&mut self, socket: SocketId, generation: u32, now: Instant) -> Option<&Arc<Tunnel>> {
        let (keeper, index) = self.index_of(socket)?;
        keeper.kept[index].stage = Stage::Unread(Opened { since: now, generation });
        keeper.works(false);
        Some(&keeper.tunnel)
    }

    /// A connection could not be opened.
    pub fn open_failed(&mut self, socket: SocketId, failure: &OpenFailure, now: Instant) {
        let Some((keeper, kept)) = self.take_out(socket) else { return };
        let level = match failure {
            // The modem's own troubles are in the log already.
            OpenFailure::Lost(_) => log::Level::Debug,
            _ => log::Level::Warn,
        };
        if let Some(level) = keeper.failed(kept, level, now) {
            let (tunnel, server) = (&keeper.tunnel.name, keeper.server());
            let cause = super::probe::cause(failure);
            log::log!(
                level,
                "{tunnel}: cannot open a connection to {server} ahead (--warm): {cause}; trying again after pauses"
            );
        }
    }

    /// A connection has ended by a fault of the modem.
    pub fn ended(&mut self, socket: SocketId, now: Instant) {
        if let Some((keeper, kept)) = self.take_out(socket) {
            keeper.failed(kept, log::Level::Debug, now);
        }
    }

    /// A client gets this connection.
    pub fn given(&mut self, found: Found, now: Instant) {
        let (Found::Open(socket) | Found::Opening(socket)) = found;
        // Many clients do not put it off for ever.
        self.head_start_until.get_or_insert(now + HEAD_START);
        if let Some((keeper, kept)) = self.take_out(socket)
            && kept.opened().is_some()
        {
            keeper.works(true);
        }
    }

    /// Looks which connections have been read.
    pub fn note_read(&mut self, ahead: impl Fn(SocketId) -> Ahead) {
        for kept in self.tunnels.iter_mut().flat_map(|keeper| &mut keeper.kept) {
            if let Stage::Unread(opened) = kept.stage
                && ahead(kept.socket).is_fresh
            {
                kept.stage = Stage::Ready(opened);
            }
        }
    }

    /// Looks whether this connection may still be given to a client. Returns whether it is to be closed; it is not known
    /// here from then on.
    pub fn must_close(&mut self, socket: SocketId, ahead: Ahead, now: Instant) -> bool {
        let Some((keeper, index)) = self.index_of(socket) else { return false };
        let Some(why) = keeper.verdict(&keeper.kept[index], ahead, now) else { return false };
        let kept = keeper.kept.swap_remove(index);
        keeper.dropped(kept, why, now);
        true
    }

    /// The connection that can best be done without, to make room. It is not known here from then on.
    pub fn give_room(&mut self) -> Option<SocketId> {
        let all = self.tunnels.iter().flat_map(|keeper| &keeper.kept);
        // One that is open is closed sooner than one that is being opened.
        let socket = all.min_by_key(|kept| (kept.opened().is_none(), kept.begun))?.socket;
        self.take_out(socket)?;
        Some(socket)
    }

    /// Those that are not for one of these tunnels. They are not known here from then on.
    pub fn take_others(&mut self, tunnels: &[Arc<Tunnel>]) -> Vec<SocketId> {
        let is_other =
            |keeper: &&mut Keeper| !tunnels.iter().any(|tunnel| Arc::ptr_eq(tunnel, &keeper.tunnel));
        let others = self.tunnels.iter_mut().filter(is_other);
        others.flat_map(|keeper| std::mem::take(&mut keeper.kept)).map(|kept| kept.socket).collect()
    }

    /// What is due by now has been done.
    pub fn looked(&mut self, now: Instant) {
        self.last_look = Some(now);
        self.head_start_until = self.head_start_until.filter(|until| *until > now);
    }

    fn take_out(&mut self, socket: SocketId) -> Option<(&mut Keeper, Kept)> {
        let (keeper, index) = self.index_of(socket)?;
        let kept = keeper.kept.swap_remove(index);
        Some((keeper, kept))
    }
}

impl Relay {
    /// Whether any tunnel wants connections that are opened ahead (`--warm`).
    pub fn opens_ahead(&self) -> bool {
        self.warm.is_used()
    }

    /// [`crate::Input::OpenAhead`].
    pub(super) fn open_ahead(&mut self, is_allowed: bool, now: Instant) {
        if self.warm.bar(!is_allowed) {
            self.settle(now);
        }
    }

    /// The connection that a client of this tunnel gets of those that were opened ahead.
    pub(super) fn found_ahead(&self, tunnel: &Arc<Tunnel>, now: Instant) -> Option<Found> {
        self.warm.find(tunnel, |socket| self.modem.ahead(socket), now)
    }

    /// Gives it to the client, which no longer waits.
    pub(super) fn give_ahead(&mut self, id: ClientId, found: Found, now: Instant) {
        self.warm.given(found, now);
        let (Found::Open(socket) | Found::Opening(socket)) = found;
        self.modem.take(socket, now);
        self.attach(id, socket, now);
        let Some(client) = self.clients[id.0].as_mut().filter(|_| found == Found::Open(socket)) else {
            return;
        };
        client.opened(now);
        self.actions.push_back(Action::ClientOpened(id));
        account_of(&mut self.accounts, client.tunnel()).counters.served_warm += 1;
        log::info!("{}: socket {socket} was open already (--warm)", client.between());
    }

    /// A socket is open that no client waits for.
    pub(super) fn opened_ahead(&mut self, socket: SocketId, now: Instant) {
        let generation = self.modem.ahead(socket).generation;
        if let Some(tunnel) = self.warm.opened(socket, generation, now) {
            log::debug!("{}: socket {socket} is open ahead of its client", tunnel.name);
            account_of(&mut self.accounts, tunnel).opened(tunnel);
        }
    }

    /// Closes what no client may have or others need.
    pub(super) fn clear_ahead(&mut self, now: Instant) {
        if !self.warm.is_used() {
            return;
        }
        if self.ending != Ending::Not {
            self.close_ahead_but(&[], now);
        }
        self.warm.note_read(|socket| self.modem.ahead(socket));
        for socket in SocketId::all() {
            if !self.warm.keeps(socket) {
                continue;
            }
            let ahead = self.modem.ahead(socket);
            if self.warm.must_close(socket, ahead, now) {
                self.close_ahead([socket], now);
            }
        }
        self.make_room(now);
    }

    /// Opens what is missing once nobody waits.
    pub(super) fn fill_ahead(&mut self, now: Instant) {
        if !self.warm.is_used() {
            return;
        }
        while let Some(tunnel) = self.due_ahead(now) {
            let Some(target) = &tunnel.target else { break };
            let Some(socket) = self.modem.open(&tunnel, target, Holder::Ahead, now) else { break };
            self.warm.begun(&tunnel, socket, now);
        }
        self.warm.looked(now);
    }

    /// The tunnel of the connection that is to be opened now.
    fn due_ahead(&self, now: Instant) -> Option<Arc<Tunnel>> {
        let is_busy = !self.waiting.is_empty() || self.modem.has_open_due();
        if self.ending != Ending::Not || is_busy || self.modem.refuses_closes() {
            return None;
        }
        self.warm.due(now).find(|tunnel| self.modem.can_open(tunnel)).cloned()
    }

    /// Where clients wait because all numbers are in use, because a stream needs the port, or because the module opens one
    /// connection at a time, connections that no client has are in the way.
    fn make_room(&mut self, now: Instant) {
        self.close_ahead_of(self.modem.in_the_way_of_open(), now);
        if self.waiting.is_empty() || !self.modem.is_up() {
            return;
        }
        let is_for_stream = |client: &Client| client.tunnel().mode == Mode::Transparent;
        if self.waiting.iter().filter_map(|id| self.get(*id)).any(is_for_stream) {
            self.close_ahead_of(self.modem.in_the_way_of_stream(), now);
        }
        while let Some(to_come) = self.modem.numbers_to_come()
            && to_come < self.waiting.len()
            && let Some(socket) = self.warm.give_room()
        {
            self.close_ahead([socket], now);
        }
    }

    /// Whether each client that waits will soon have a number that was used ahead of clients.
    pub(super) fn has_made_room(&self) -> bool {
        let suffices = |to_come| to_come >= self.waiting.len();
        self.warm.is_used() && self.modem.is_up() && self.modem.numbers_to_come().is_some_and(suffices)
    }

    /// Closes those of these sockets that are kept.
    fn close_ahead_of(&mut self, mut sockets: Vec<SocketId>, now: Instant) {
        sockets.retain(|socket| self.warm.take_out(*socket).is_some());
        self.close_ahead(sockets, now);
    }

    /// Closes those that are not for one of these tunnels.
    pub(super) fn close_ahead_but(&mut self, tunnels: &[Arc<Tunnel>], now: Instant) {
        let others = self.warm.take_others(tunnels);
        self.close_ahead(others, now);
    }

    /// Closes sockets that are not kept any more. Nothing is sent on them, so nothing is waited for.
    fn close_ahead(&mut self, sockets: impl IntoIterator<Item = SocketId>, now: Instant) {
        for socket in sockets {
            self.modem.give_up(socket, GiveUp::Abort, now);
        }
    }
}

impl Keeper {
    fn new(tunnel: &Arc<Tunnel>, seed: u64) -> Self {
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        backoff.set_seed(seed);
        Keeper { tunnel: tunnel.clone(), kept: Vec::new(), trying: Trying::Freely, backoff, warned_at: None }
    }

    fn server(&self) -> String {
        self.tunnel.server().map_or_else(String::new, |server| server.to_string())
    }

    /// The age at which another one is opened in its index: it serves until that is open.
    fn renewal_age(&self) -> Duration {
        let max_age = self.tunnel.limits.warm.max_age;
        max_age - RENEWAL_TIME_MAX.min(max_age / 4)
    }

    /// When the oldest is replaced even if it is younger than that: one after the other, so that they do not all become
    /// old at once, where numbers are missing for as many new ones. `None`: some are still being opened, or replaced.
    fn next_turn(&self) -> Option<Instant> {
        let count = self.tunnel.limits.warm.count;
        let is_whole = self.kept.len() == count && self.kept.iter().all(|kept| kept.opened().is_some());
        let last_begun = self.kept.iter().map(|kept| kept.begun).max().filter(|_| is_whole)?;
        Some(last_begun + self.renewal_age() / u32::try_from(count).ok()?)
    }

    /// How many are ready that were opened after this one.
    fn newer_count(&self, kept: &Kept) -> usize {
        let order = |kept: &Kept| kept.opened().map(|opened| (opened.since, kept.socket));
        let is_newer = |other: &&Kept| matches!(other.stage, Stage::Ready(_)) && order(other) > order(kept);
        self.kept.iter().filter(is_newer).count()
    }

    fn wants_another(&self, now: Instant) -> bool {
        let may_try = match self.trying {
            Trying::Freely => true,
            Trying::Carefully { again_at, .. } => {
                again_at <= now && self.kept.iter().all(|kept| kept.opened().is_some())
            }
        };
        let is_young =
            |kept: &&Kept| kept.opened().is_none_or(|opened| now < opened.since + self.renewal_age());
        let is_turn = || self.next_turn().is_some_and(|at| at <= now);
        may_try && (self.kept.iter().filter(is_young).count() < self.tunnel.limits.warm.count || is_turn())
    }

    /// Why this one may not be given to a client any more.
    fn verdict(&self, kept: &Kept, ahead: Ahead, now: Instant) -> Option<WarmEnd> {
        let Opened { since, generation } = kept.opened()?;
        let warm = &self.tunnel.limits.warm;
        let kept_bytes = if warm.server_first { KEPT_BYTES_MAX } else { 0 };
        if ahead.is_ending {
            Some(WarmEnd::ServerClosed)
        } else if ahead.said_bytes > kept_bytes {
            Some(WarmEnd::ServerSpoke)
        } else if ahead.generation != generation {
            Some(WarmEnd::SettingsChanged)
        } else if now >= since + warm.max_age || self.newer_count(kept) >= warm.count {
            Some(WarmEnd::Old)
        } else {
            None
        }
    }

    /// One that was open is closed.
    fn dropped(&mut self, kept: Kept, why: WarmEnd, now: Instant) {
        let what = match why {
            // One whose turn has come early has shown nothing.
            WarmEnd::Old if kept.open_for(now) < self.tunnel.limits.warm.max_age / 2 => return,
            WarmEnd::Old => return self.works(true),
            WarmEnd::SettingsChanged => {
                let (name, socket) = (&self.tunnel.name, kept.socket);
                return log::debug!(
                    "{name}: the TLS settings of the connection on socket {socket} have changed"
                );
            }
            WarmEnd::ServerClosed => {
                let seconds = kept.open_for(now).as_secs();
                format!("closed a connection opened ahead after {seconds} s: set --warm-max-age below that")
            }
            WarmEnd::ServerSpoke => {
                let advice = match self.tunnel.limits.warm.server_first {
                    true => "more than is kept",
                    false => "see --warm-server-first",
                };
                format!("speaks first, so a connection opened ahead is thrown away: {advice}")
            }
        };
        if let Some(level) = self.failed(kept, log::Level::Warn, now) {
            log::log!(level, "{}: {} {what}", self.tunnel.name, self.server());
        }
    }

    /// One was opened, or one that was open (`has_lasted`) has lasted until a client came or until it was old: if what
    /// failed before is that, it works again.
    fn works(&mut self, has_lasted: bool) {
        if let Trying::Carefully { was_open, .. } = self.trying
            && was_open != has_lasted
        {
            return;
        }
        self.trying = Trying::Freely;
        self.backoff.reset();
    }

    /// One has failed. Returns the level of the line that is due for it, which is a warning once in a while.
    fn failed(&mut self, kept: Kept, level: log::Level, now: Instant) -> Option<log::Level> {
        if let Trying::Carefully { failed_at, .. } = self.trying
            && kept.begun <= failed_at
        {
            return None;
        }
        let again_at = now + self.backoff.next();
        self.trying = Trying::Carefully { failed_at: now, again_at, was_open: kept.opened().is_some() };
        let is_news = level == log::Level::Warn
            && self.warned_at.is_none_or(|at| now.saturating_duration_since(at) >= WARNING_INTERVAL);
        if is_news {
            self.warned_at = Some(now);
        }
        Some(if is_news { log::Level::Warn } else { log::Level::Debug })
    }
}

impl Kept {
    fn opened(&self) -> Option<Opened> {
        match self.stage {
            Stage::Opening => None,
            Stage::Unread(opened) | Stage::Ready(opened) => Some(opened),
        }
    }

    fn open_for(&self, now: Instant) -> Duration {
        self.opened().map_or(Duration::ZERO, |opened| now.saturating_duration_since(opened.since))
    }
}

/// Whether connections of this tunnel can be opened ahead, and are wanted. A stream would occupy its port, and a client
/// that names its server does so when it comes.
fn is_wanted_by(tunnel: &Tunnel) -> bool {
    tunnel.limits.warm.count > 0 && tunnel.mode != Mode::Transparent && tunnel.target.is_some()
}

/// How much of what a server says before its client comes is kept, in bytes.
const KEPT_BYTES_MAX: usize = 4 * 1024;

/// How long before its time a connection is replaced: as long as an open usually takes at most.
const RENEWAL_TIME_MAX: Duration = Duration::from_secs(15);

/// An open that has taken longer than this is not given to a client: one of its own may be faster.
const TAKEN_OPENING_MAX: Duration = Duration::from_secs(15);

/// How long the next open is put off when a client has got a connection.
const HEAD_START: Duration = Duration::from_millis(200);

/// The pauses after failures.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// How long failures of a tunnel go on without another warning.
const WARNING_INTERVAL: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::at::ResultCode;
    use crate::settings::{Limits, test_tunnel};
    use crate::test_clock::now;

    const FRESH: Ahead =
        Ahead { is_held: true, is_fresh: true, is_ending: false, said_bytes: 0, generation: 7 };
    const REFUSED: OpenFailure = OpenFailure::Code(ResultCode(566));
    const SECOND: Duration = Duration::from_secs(1);

    fn tunnel(count: usize, server_first: bool) -> Arc<Tunnel> {
        let warm = crate::settings::Warm { count, server_first, ..Default::default() };
        let limits = Limits { warm, ..Limits::default() };
        Arc::new(Tunnel { limits, ..test_tunnel() })
    }

    fn id(number: usize) -> SocketId {
        SocketId::all().nth(number).expect("there are twelve")
    }

    /// With so many open ones, numbered from 0.
    fn warm(tunnel: &Arc<Tunnel>, ready: usize, now: Instant) -> Warm {
        let mut warm = Warm::default();
        warm.configure(std::slice::from_ref(tunnel));
        for number in 0..ready {
            warm.begun(tunnel, id(number), now);
            assert!(warm.opened(id(number), FRESH.generation, now).is_some());
        }
        warm.note_read(|_| FRESH);
        warm
    }

    #[test]
    fn what_speaks_against_one_closes_it_and_keeps_it_from_clients() {
        let (begin, old) = (now(), Duration::from_secs(50));
        for (ahead, age, server_first, is_given, is_closed) in [
            (FRESH, Duration::ZERO, false, true, false),
            (FRESH, old - SECOND, false, true, false),
            (FRESH, old, false, false, true),
            (Ahead { is_ending: true, is_fresh: false, ..FRESH }, SECOND, false, false, true),
            (Ahead { said_bytes: 1, ..FRESH }, SECOND, false, false, true),
            (Ahead { said_bytes: 1, ..FRESH }, SECOND, true, true, false),
            (Ahead { said_bytes: KEPT_BYTES_MAX, ..FRESH }, SECOND, true, true, false),
            (Ahead { said_bytes: KEPT_BYTES_MAX + 1, ..FRESH }, SECOND, true, false, true),
            (Ahead { generation: 8, ..FRESH }, SECOND, false, false, true),
            // What waits in the module is not known yet.
            (Ahead { is_fresh: false, ..FRESH }, SECOND, false, false, false),
        ] {
            let tunnel = tunnel(1, server_first);
            let mut warm = warm(&tunnel, 1, begin);
            let now = begin + age;
            let found = warm.find(&tunnel, |_| ahead, now);
            assert_eq!(found, is_given.then_some(Found::Open(id(0))), "{ahead:?}, {age:?}");
            assert_eq!(warm.must_close(id(0), ahead, now), is_closed, "{ahead:?}, {age:?}");
            assert_eq!(warm.keeps(id(0)), !is_closed, "{ahead:?}, {age:?}");
        }
    }

    #[test]
    fn the_oldest_is_given_first_each_once_and_then_one_that_is_being_opened() {
        let (begin, tunnel) = (now(), tunnel(3, false));
        let mut warm = warm(&tunnel, 2, begin);
        warm.begun(&tunnel, id(2), begin);
        let given: Vec<_> = std::iter::from_fn(|| {
            let found = warm.find(&tunnel, |_| FRESH, begin + SECOND)?;
            warm.given(found, begin + SECOND);
            Some(found)
        })
        .collect();
        assert_eq!(given, [Found::Open(id(0)), Found::Open(id(1)), Found::Opening(id(2))]);
        warm.begun(&tunnel, id(3), begin);
        assert_eq!(warm.find(&tunnel, |_| FRESH, begin + TAKEN_OPENING_MAX + SECOND), None, "it hangs");
        let other = self::tunnel(3, false);
        assert_eq!(warm.find(&other, |_| FRESH, begin), None, "equal settings are another tunnel");
    }

    #[test]
    fn one_that_was_not_read_yet_is_given_if_there_is_no_better_and_is_not_counted() {
        let (begin, tunnel) = (now(), tunnel(2, false));
        let mut warm = warm(&tunnel, 0, begin);
        warm.begun(&tunnel, id(0), begin);
        warm.opened(id(0), FRESH.generation, begin);
        let unread = Ahead { is_fresh: false, ..FRESH };
        warm.note_read(|_| unread);
        assert_eq!(warm.ready_count(&tunnel), 0);
        assert_eq!(warm.find(&tunnel, |_| unread, begin), Some(Found::Open(id(0))));
        warm.note_read(|_| FRESH);
        assert_eq!(warm.ready_count(&tunnel), 1);
        assert_eq!(warm.find(&tunnel, |_| unread, begin), None, "something was announced later");
    }

    #[test]
    fn each_is_replaced_before_its_time_and_goes_when_the_next_is_there() {
        let (begin, tunnel) = (now(), tunnel(1, false));
        let mut warm = warm(&tunnel, 1, begin);
        assert_eq!(warm.due(begin + SECOND).count(), 0);
        let renewal = warm.next_deadline().expect("it grows old");
        assert!(renewal < begin + Duration::from_secs(50), "{:?}", renewal - begin);
        assert_eq!(warm.due(renewal).count(), 1);
        warm.begun(&tunnel, id(1), renewal);
        assert_eq!(warm.due(renewal).count(), 0);
        assert!(!warm.must_close(id(0), FRESH, renewal), "it serves meanwhile");
        warm.opened(id(1), FRESH.generation, renewal);
        assert!(!warm.must_close(id(0), FRESH, renewal), "the next is not ready");
        warm.note_read(|_| FRESH);
        assert!(warm.must_close(id(0), FRESH, renewal));
        assert_eq!([warm.keeps(id(0)), warm.keeps(id(1))], [false, true]);
    }

    #[test]
    fn what_fails_is_tried_one_at_a_time_after_growing_pauses_until_it_works() {
        let (begin, tunnel) = (now(), tunnel(3, false));
        let mut warm = warm(&tunnel, 0, begin);
        (0..3).for_each(|number| warm.begun(&tunnel, id(number), begin));
        let mut at = begin;
        (0..3).for_each(|number| warm.open_failed(id(number), &REFUSED, begin));
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert_eq!(warm.due(at).count(), 0, "not at once");
            warm.looked(at);
            let next = warm.next_deadline().expect("it is tried again");
            pauses.push(next - at);
            at = next;
            assert_eq!(warm.due(at).count(), 1);
            warm.begun(&tunnel, id(0), at);
            assert_eq!(warm.due(at).count(), 0, "one at a time");
            warm.open_failed(id(0), &REFUSED, at + SECOND);
            at += SECOND;
        }
        // Three that fail together count once.
        assert!(pauses[0] <= PAUSE_MIN, "{pauses:?}");
        assert!(pauses.windows(2).all(|pair| pair[1] > pair[0]), "{pauses:?}");
        let next = at + PAUSE_MAX;
        warm.begun(&tunnel, id(0), next);
        warm.opened(id(0), FRESH.generation, next);
        assert_eq!(warm.due(next).count(), 1, "it works again");
    }

    #[test]
    fn that_one_opens_is_no_success_where_the_last_did_not_last() {
        let (begin, tunnel) = (now(), tunnel(1, false));
        let mut warm = warm(&tunnel, 1, begin);
        assert!(warm.must_close(id(0), Ahead { is_ending: true, ..FRESH }, begin + SECOND));
        let again = begin + PAUSE_MIN + SECOND;
        warm.begun(&tunnel, id(0), again);
        warm.opened(id(0), FRESH.generation, again);
        assert!(warm.must_close(id(0), Ahead { is_ending: true, ..FRESH }, again + SECOND));
        assert_eq!(warm.due(again + SECOND + PAUSE_MIN).count(), 0, "the pause has grown");
        let later = again + PAUSE_MAX;
        warm.begun(&tunnel, id(0), later);
        warm.opened(id(0), FRESH.generation, later);
        let found = warm.find(&tunnel, |_| FRESH, later).expect("it is fresh");
        warm.given(found, later);
        assert_eq!(warm.due(later + HEAD_START).count(), 1, "a client has got one");
    }

    #[test]
    fn room_is_made_of_open_ones_first_and_none_is_opened_while_a_budget_is_spent() {
        let (begin, tunnel) = (now(), tunnel(3, false));
        let mut warm = warm(&tunnel, 0, begin);
        warm.begun(&tunnel, id(0), begin);
        warm.begun(&tunnel, id(1), begin + SECOND);
        warm.opened(id(1), FRESH.generation, begin + SECOND);
        assert_eq!([warm.give_room(), warm.give_room(), warm.give_room()], [Some(id(1)), Some(id(0)), None]);
        assert!(warm.bar(true));
        assert_eq!(warm.due(begin).count(), 0);
        assert!(warm.bar(false));
        assert_eq!(warm.due(begin).count(), 1);
    }
}
