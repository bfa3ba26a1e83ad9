//! Datagrams in simulated time: sockets of the modem, and servers as plain data. Which datagrams are lost or late is drawn
//! by the seed of the server, and by nothing else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Ending, Opening, Record, pattern};
use crate::network::{Arrival, ConnectionState, OpenFailure};

/// How the datagrams of one server behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramPlan {
    /// How opening ends.
    pub opening: Opening,
    /// How long a datagram takes, each way.
    pub latency: Duration,
    /// The server and the way to it.
    pub behaviour: DatagramBehaviour,
}

/// A server of datagrams, and the way to it, as plain data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramBehaviour {
    /// What it sends.
    pub says: DatagramSays,
    /// Of a thousand datagrams, each way, so many are lost.
    pub lost_of_1000: u16,
    /// Of a thousand datagrams, each way, so many take longer by `late_by`, so that later ones overtake them.
    pub late_of_1000: u16,
    /// How much longer those take.
    pub late_by: Duration,
    /// Of a thousand datagrams, each way, so many arrive twice, the second time later by `late_by`.
    pub twice_of_1000: u16,
    /// Decides which datagrams are lost, late or doubled, and is the seed of the pattern that is sent.
    pub seed: u64,
}

/// What a server of datagrams sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatagramSays {
    /// Nothing.
    Nothing,
    /// Each datagram that it receives.
    Echo,
    /// Parts of a pattern, one after the other, from the first datagram that it receives on.
    Source {
        /// How many datagrams.
        datagrams: u64,
        /// Bytes in each.
        bytes: usize,
        /// From one to the next; zero sends all at once.
        every: Duration,
    },
    /// The first datagram that it receives, with the number of each behind it in eight bytes: what CoAP calls observe.
    Notifies {
        /// How many datagrams, the first at once.
        datagrams: u64,
        /// From one to the next.
        every: Duration,
    },
}

impl DatagramPlan {
    /// Sockets that are up at once, without latency, to servers with this behaviour.
    pub fn new(behaviour: DatagramBehaviour) -> DatagramPlan {
        DatagramPlan { opening: Opening::Opens(Duration::ZERO), latency: Duration::ZERO, behaviour }
    }

    /// The same with another latency.
    pub fn latency(self, latency: Duration) -> DatagramPlan {
        DatagramPlan { latency, ..self }
    }
}

impl DatagramBehaviour {
    /// Sends nothing; nothing is lost or late.
    pub fn sink() -> DatagramBehaviour {
        let says = DatagramSays::Nothing;
        DatagramBehaviour {
            says,
            lost_of_1000: 0,
            late_of_1000: 0,
            late_by: Duration::ZERO,
            twice_of_1000: 0,
            seed: 0,
        }
    }

    /// Sends each datagram back; nothing is lost or late.
    pub fn echo() -> DatagramBehaviour {
        DatagramBehaviour { says: DatagramSays::Echo, ..DatagramBehaviour::sink() }
    }

    /// The same with losses: so many of a thousand each way, drawn by this seed.
    pub fn losing(self, lost_of_1000: u16, seed: u64) -> DatagramBehaviour {
        DatagramBehaviour { lost_of_1000, seed, ..self }
    }

    /// The same with late datagrams: so many of a thousand each way, later by this, drawn by this seed.
    pub fn late(self, late_of_1000: u16, late_by: Duration, seed: u64) -> DatagramBehaviour {
        DatagramBehaviour { late_of_1000, late_by, seed, ..self }
    }

    /// The same with doubled datagrams: so many of a thousand each way, the second later by this, drawn by this seed.
    pub fn doubling(self, twice_of_1000: u16, late_by: Duration, seed: u64) -> DatagramBehaviour {
        DatagramBehaviour { twice_of_1000, late_by, seed, ..self }
    }
}

/// One socket of the modem, and those that it exchanges datagrams with.
pub(super) struct DatagramLink {
    opening: Opening,
    asked_at: Instant,
    /// The only peer, if there is only one.
    server: Option<SocketAddr>,
    pub(super) local_port: u16,
    peers: BTreeMap<SocketAddr, Peer>,
    up: UnderWay,
    down: UnderWay,
    /// When the modem's side learns of the end, and which kind of end it is.
    ended: Option<(Instant, Ending)>,
    pub(super) record: usize,
}

/// A server, and what was drawn for it.
struct Peer {
    plan: DatagramPlan,
    draws: u64,
    said: u64,
    /// Its first datagram, and when it received it.
    first: Option<(Instant, Vec<u8>)>,
}

/// Datagrams of one direction by the time of their arrival, and in the order of their sending. The address is the
/// peer's.
#[derive(Default)]
struct UnderWay {
    datagrams: BTreeMap<(Instant, u64), (SocketAddr, Vec<u8>)>,
    sent: u64,
}

impl DatagramLink {
    pub(super) fn new(
        opening: Opening,
        asked_at: Instant,
        server: Option<SocketAddr>,
        local_port: u16,
        record: usize,
    ) -> DatagramLink {
        DatagramLink {
            opening,
            asked_at,
            server,
            local_port,
            peers: BTreeMap::new(),
            up: UnderWay::default(),
            down: UnderWay::default(),
            ended: None,
            record,
        }
    }

    pub(super) fn state(&self, now: Instant) -> ConnectionState {
        let has_passed = |time: Duration| now >= self.asked_at + time;
        match &self.opening {
            Opening::Opens(time) if has_passed(*time) => {
                let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
                let remote = self.server.unwrap_or(unspecified).ip();
                ConnectionState::Open { remote, local_port: self.local_port }
            }
            Opening::Fails(time, failure) if has_passed(*time) => ConnectionState::Failed(failure.clone()),
            _ => ConnectionState::Opening,
        }
    }

    /// The address that a datagram to `to` goes to; `None` if it goes nowhere.
    pub(super) fn destination(&self, to: Option<SocketAddr>) -> Option<SocketAddr> {
        self.server.or(to)
    }

    /// The modem sends a datagram to a peer, which `plan` describes if it is a new one.
    pub(super) fn send(
        &mut self,
        to: SocketAddr,
        bytes: &[u8],
        plan: impl FnOnce() -> DatagramPlan,
        now: Instant,
    ) {
        // A server that has closed hears nothing more.
        if self.ended.is_some() || !self.peers.contains_key(&to) && self.peers.len() >= PEERS_LIMIT {
            return;
        }
        let peer = self.peers.entry(to).or_insert_with(|| Peer::new(plan()));
        for arrives in peer.arrivals(now) {
            self.up.push(arrives, to, bytes.to_vec());
        }
    }

    /// A peer sends a datagram, whatever its behaviour; it is neither lost nor late.
    pub(super) fn say(&mut self, from: SocketAddr, bytes: &[u8], latency: Duration, now: Instant) {
        self.down.push(now + latency, from, bytes.to_vec());
    }

    pub(super) fn end(&mut self, how: Ending, now: Instant) {
        self.ended.get_or_insert((now, how));
    }

    pub(super) fn receive(&mut self, now: Instant) -> Arrival {
        if let Some((from, bytes)) = self.down.take(now) {
            return Arrival::Datagram(bytes, from);
        }
        match self.ended {
            Some((at, Ending::Closed)) if at <= now => Arrival::Ended,
            Some((at, Ending::Cut)) if at <= now => Arrival::Broken,
            _ => Arrival::Nothing,
        }
    }

    pub(super) fn advance(&mut self, now: Instant, records: &mut [Record], keep_bytes: bool) {
        let record = &mut records[self.record];
        while let Some((from, bytes)) = self.up.take(now) {
            record.received_bytes += bytes.len() as u64;
            let Some(peer) = self.peers.get_mut(&from) else { continue };
            peer.first.get_or_insert_with(|| (now, bytes.clone()));
            if peer.plan.behaviour.says == DatagramSays::Echo {
                record.said_bytes += bytes.len() as u64;
                for arrives in peer.arrivals(now) {
                    self.down.push(arrives, from, bytes.clone());
                }
            }
            if keep_bytes {
                record.received_datagrams.push(bytes);
            }
        }
        for (from, peer) in &mut self.peers {
            while peer.next_of_source().is_some_and(|due| due <= now) {
                let bytes = peer.next_part();
                record.said_bytes += bytes.len() as u64;
                for arrives in peer.arrivals(now) {
                    self.down.push(arrives, *from, bytes.clone());
                }
            }
        }
    }

    /// The modem closes its socket: what is under way to servers arrives all the same.
    pub(super) fn arrive(&mut self, record: &mut Record, keep_bytes: bool) {
        for (_, bytes) in std::mem::take(&mut self.up).datagrams.into_values() {
            record.received_bytes += bytes.len() as u64;
            if keep_bytes {
                record.received_datagrams.push(bytes);
            }
        }
    }

    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let opened = match &self.opening {
            Opening::Opens(time) | Opening::Fails(time, _) => Some(self.asked_at + *time),
            Opening::Never => None,
        };
        let sources = self.peers.values().filter_map(Peer::next_of_source);
        let arrivals = [self.up.next_arrival(), self.down.next_arrival(), opened];
        arrivals.into_iter().flatten().chain(sources).filter(|at| *at > now).min()
    }
}

impl Peer {
    fn new(plan: DatagramPlan) -> Peer {
        Peer { plan, draws: 0, said: 0, first: None }
    }

    /// When a datagram that is sent now arrives: not at all if it is lost, or twice.
    fn arrivals(&mut self, now: Instant) -> impl Iterator<Item = Instant> + use<> {
        let DatagramBehaviour { lost_of_1000, late_of_1000, late_by, twice_of_1000, .. } =
            self.plan.behaviour;
        let (is_lost, is_late) = (self.draw(lost_of_1000), self.draw(late_of_1000));
        let is_double = twice_of_1000 > 0 && self.draw(twice_of_1000);
        let late = if is_late { late_by } else { Duration::ZERO };
        let first = now + self.plan.latency + late;
        let second = is_double.then(|| first + late_by);
        Some(first).into_iter().chain(second).filter(move |_| !is_lost)
    }

    /// True in so many of a thousand cases.
    fn draw(&mut self, of_1000: u16) -> bool {
        let bytes = pattern(self.plan.behaviour.seed ^ DRAWS, self.draws * 8, 8);
        self.draws += 1;
        let drawn = bytes.iter().fold(0, |drawn: u64, byte| drawn << 8 | u64::from(*byte));
        drawn % 1_000 < of_1000.into()
    }

    /// When the next datagram is due that answers none.
    fn next_of_source(&self) -> Option<Instant> {
        let (DatagramSays::Source { datagrams, every, .. } | DatagramSays::Notifies { datagrams, every }) =
            self.plan.behaviour.says
        else {
            return None;
        };
        let passed = u32::try_from(self.said).unwrap_or(u32::MAX);
        let (started_at, _) = self.first.as_ref().filter(|_| self.said < datagrams)?;
        started_at.checked_add(every.checked_mul(passed)?)
    }

    fn next_part(&mut self) -> Vec<u8> {
        let part = match (&self.plan.behaviour.says, &self.first) {
            (DatagramSays::Source { bytes, .. }, _) => {
                pattern(self.plan.behaviour.seed, self.said * *bytes as u64, *bytes)
            }
            (DatagramSays::Notifies { .. }, Some((_, first))) => {
                [&first[..], &self.said.to_be_bytes()].concat()
            }
            _ => Vec::new(),
        };
        self.said += 1;
        part
    }
}

impl UnderWay {
    /// What finds no room is lost.
    fn push(&mut self, arrives: Instant, peer: SocketAddr, bytes: Vec<u8>) {
        if self.datagrams.len() < UNDER_WAY_LIMIT {
            self.sent += 1;
            self.datagrams.insert((arrives, self.sent), (peer, bytes));
        }
    }

    fn take(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        let first = self.datagrams.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    fn next_arrival(&self) -> Option<Instant> {
        self.datagrams.first_key_value().map(|((arrives, _), _)| *arrives)
    }
}

/// A port that another socket of the modem has.
pub(super) const PORT_TAKEN: Opening = Opening::Fails(Duration::ZERO, OpenFailure::Bind);

/// Most datagrams of one socket under way, each way.
const UNDER_WAY_LIMIT: usize = 1_024;
/// Most servers that one socket exchanges datagrams with.
const PEERS_LIMIT: usize = 256;
/// Keeps the draws of a seed apart from its pattern.
const DRAWS: u64 = 0x6C6F_7373_2064_7277;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    const SERVER: ([u8; 4], u16) = ([192, 0, 2, 7], 7);

    /// What comes back of so many datagrams that are sent a millisecond apart, in the order of arrival.
    fn echoes(behaviour: DatagramBehaviour, count: u8) -> Vec<u8> {
        let server = SocketAddr::from(SERVER);
        let mut link = DatagramLink::new(Opening::Opens(Duration::ZERO), start(), Some(server), 49_152, 0);
        let request = crate::network::OpenRequest {
            host: "192.0.2.7".into(),
            port: 7,
            tls: None,
            transport: crate::network::Transport::Udp,
            local_port: 0,
        };
        let mut records = [Record {
            request,
            received: Vec::new(),
            received_datagrams: Vec::new(),
            received_bytes: 0,
            said_bytes: 0,
            closed: None,
        }];
        let mut back = Vec::new();
        for step in 0..400 {
            let now = start() + Duration::from_millis(step);
            if let Some(number) = u8::try_from(step).ok().filter(|number| *number < count) {
                let plan = DatagramPlan::new(behaviour.clone()).latency(Duration::from_millis(10));
                link.send(server, &[number], || plan, now);
            }
            link.advance(now, &mut records, true);
            while let Arrival::Datagram(bytes, from) = link.receive(now) {
                assert_eq!(from, server);
                back.extend(bytes);
            }
        }
        assert_eq!(link.next_deadline(start() + Duration::from_secs(1)), None);
        back
    }

    #[test]
    fn without_a_chance_of_loss_all_come_back_in_order() {
        assert_eq!(echoes(DatagramBehaviour::echo(), 200), (0..200).collect::<Vec<u8>>());
    }

    #[test]
    fn losses_are_as_many_as_was_asked_and_depend_on_the_seed_alone() {
        let losing = |seed| echoes(DatagramBehaviour::echo().losing(100, seed), 200);
        assert_eq!(losing(5), losing(5));
        assert_ne!(losing(5), losing(6));
        // One of ten each way.
        assert!((140..185).contains(&losing(5).len()), "{}", losing(5).len());
        assert!(losing(5).is_sorted());
        assert!(echoes(DatagramBehaviour::echo().losing(1_000, 5), 200).is_empty());
    }

    #[test]
    fn doubled_ones_come_twice_and_none_is_lost() {
        let late_by = Duration::from_millis(5);
        let doubled = echoes(DatagramBehaviour::echo().doubling(100, late_by, 5), 200);
        // One of ten each way.
        assert!((225..280).contains(&doubled.len()), "{}", doubled.len());
        let mut all = doubled;
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, (0..200).collect::<Vec<u8>>());
    }

    #[test]
    fn late_ones_are_overtaken_and_none_is_lost() {
        let mut late = echoes(DatagramBehaviour::echo().late(200, Duration::from_millis(5), 5), 200);
        assert!(!late.is_sorted());
        late.sort_unstable();
        assert_eq!(late, (0..200).collect::<Vec<u8>>());
    }
}
