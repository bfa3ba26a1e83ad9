//! A network in simulated time: deterministic, without threads, and without randomness but what a plan's seed decides.
//!
//! Each connection of a stream has a latency and a bounded window in each direction, so that what a server does not
//! read stops the modem, and what the modem does not take stops the server.

mod datagrams;
mod far_end;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

pub use datagrams::{DatagramBehaviour, DatagramPlan, DatagramSays};
pub use far_end::{Behaviour, Ending, Ends, FarEnd, Reads, Says, pattern, pattern_byte};

use self::datagrams::{DatagramLink, PORT_TAKEN};
use super::{
    Arrival, Close, ConnectionId, ConnectionState, Network, OpenFailure, OpenRequest, Received, Transport,
};

/// How connections to one server behave.
pub struct Plan {
    /// How opening ends.
    pub opening: Opening,
    /// How long a byte takes, each way.
    pub latency: Duration,
    /// Most bytes under way or unread, each way.
    pub window_bytes: usize,
    /// Makes the server of a connection, given how many connections there were before it in all.
    pub far_end: Box<dyn FnMut(usize) -> Box<dyn FarEnd> + Send>,
}

/// How opening a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It comes up after this time.
    Opens(Duration),
    /// It fails after this time.
    Fails(Duration, OpenFailure),
    /// There is never an answer.
    Never,
}

/// What happened on one connection.
#[derive(Clone, Debug)]
pub struct Record {
    /// What was requested.
    pub request: OpenRequest,
    /// The bytes that the server has read, if they are kept.
    pub received: Vec<u8>,
    /// The datagrams that servers have received, if they are kept.
    pub received_datagrams: Vec<Vec<u8>>,
    /// How many bytes those were, kept or not.
    pub received_bytes: u64,
    /// How many bytes the server has sent.
    pub said_bytes: u64,
    /// How the modem ended it.
    pub closed: Option<Close>,
}

/// The network.
pub struct Simulated {
    now: Instant,
    plans: BTreeMap<(String, u16), Plan>,
    otherwise: Plan,
    links: BTreeMap<ConnectionId, Link>,
    datagram_plans: BTreeMap<(String, u16), DatagramPlan>,
    datagram_links: BTreeMap<ConnectionId, DatagramLink>,
    records: Vec<Record>,
    keep_bytes: bool,
    keep_datagrams: bool,
    /// Seconds since 1970 at an instant.
    time: Option<(Instant, i64)>,
    look_ups: BTreeMap<ConnectionId, IpAddr>,
}

impl Plan {
    /// Connections that come up at once, without latency, with a window of 64 KiB, to servers with this
    /// behaviour.
    pub fn new(behaviour: Behaviour) -> Plan {
        Plan {
            opening: Opening::Opens(Duration::ZERO),
            latency: Duration::ZERO,
            window_bytes: 65_536,
            far_end: Box::new(move |_| behaviour.clone().start()),
        }
    }

    /// The same with another opening.
    pub fn opening(self, opening: Opening) -> Plan {
        Plan { opening, ..self }
    }

    /// The same with another latency.
    pub fn latency(self, latency: Duration) -> Plan {
        Plan { latency, ..self }
    }

    /// The same with another window.
    pub fn window(self, window_bytes: usize) -> Plan {
        Plan { window_bytes, ..self }
    }
}

impl Simulated {
    /// A network in which every name resolves and every server does as `otherwise` describes.
    pub fn new(now: Instant, otherwise: Plan) -> Simulated {
        Simulated {
            now,
            plans: BTreeMap::new(),
            otherwise,
            links: BTreeMap::new(),
            datagram_plans: BTreeMap::new(),
            datagram_links: BTreeMap::new(),
            records: Vec::new(),
            keep_bytes: true,
            keep_datagrams: true,
            time: None,
            look_ups: BTreeMap::new(),
        }
    }

    /// Sets how new connections to this server behave.
    pub fn plan(&mut self, host: &str, port: u16, plan: Plan) {
        self.plans.insert((host.into(), port), plan);
    }

    /// Sets how datagrams of this server behave, for sockets that do not know it yet; `host` is an address for those
    /// of a UDP service.
    pub fn plan_datagrams(&mut self, host: &str, port: u16, plan: DatagramPlan) {
        self.datagram_plans.insert((host.into(), port), plan);
    }

    /// Whether records keep the bytes that servers read; they do by default.
    pub fn keep_bytes(&mut self, keep: bool) {
        (self.keep_bytes, self.keep_datagrams) = (keep, keep);
    }

    /// The same of datagrams alone.
    pub fn keep_datagrams(&mut self, keep: bool) {
        self.keep_datagrams = keep;
    }

    /// The time that the network reports, in seconds since 1970.
    pub fn set_time(&mut self, seconds: i64, now: Instant) {
        self.time = Some((now, seconds));
    }

    /// All connections so far, in the order of their opens.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// How many connections are neither closed nor failed.
    pub fn open_connections(&self) -> usize {
        self.links.len() + self.datagram_links.len()
    }

    /// Makes the server of a connection, named by its index in [`Simulated::records`], send bytes in addition
    /// to those of its behaviour.
    pub fn say(&mut self, record: usize, bytes: &[u8], now: Instant) {
        if let Some(link) = self.links.values_mut().find(|link| link.record == record) {
            link.to_say.extend(bytes);
        }
        self.advance(now);
    }

    /// Makes `from` send a datagram to a socket, named by its index in [`Simulated::records`].
    pub fn say_datagram(&mut self, record: usize, from: SocketAddr, bytes: &[u8], now: Instant) {
        let latency = self.datagram_plan(&from.ip().to_string(), from.port()).latency;
        if let Some(link) = self.datagram_links.values_mut().find(|link| link.record == record) {
            link.say(from, bytes, latency, now);
        }
        self.advance(now);
    }

    fn datagram_plan(&self, host: &str, port: u16) -> DatagramPlan {
        let plan = self.datagram_plans.get(&(host.into(), port));
        plan.cloned().unwrap_or_else(|| DatagramPlan::new(DatagramBehaviour::echo()))
    }

    /// Makes the server of a connection end it after the bytes that it has sent.
    pub fn end(&mut self, record: usize, how: Ending, now: Instant) {
        if let Some(link) = self.links.values_mut().find(|link| link.record == record) {
            link.told_to_end = Some(how);
        }
        if let Some(link) = self.datagram_links.values_mut().find(|link| link.record == record) {
            link.end(how, now);
        }
        self.advance(now);
    }

    /// Brings everything up to this time. Every call by the modem does this as well.
    pub fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        for link in self.links.values_mut() {
            link.advance(self.now, &mut self.records, self.keep_bytes);
        }
        for link in self.datagram_links.values_mut() {
            link.advance(self.now, &mut self.records, self.keep_datagrams);
        }
    }

    fn link(&mut self, id: ConnectionId, now: Instant) -> Option<&mut Link> {
        self.now = self.now.max(now);
        let link = self.links.get_mut(&id)?;
        link.advance(self.now, &mut self.records, self.keep_bytes);
        Some(link)
    }
}

impl Simulated {
    fn open_datagrams(&mut self, id: ConnectionId, request: &OpenRequest, record: usize, now: Instant) {
        let server = match request.transport {
            Transport::UdpService => None,
            Transport::Tcp | Transport::Udp => Some(SocketAddr::new(address_of(&request.host), request.port)),
        };
        let asked = Some(request.local_port).filter(|port| *port != 0);
        let is_taken =
            asked.is_some_and(|asked| self.datagram_links.values().any(|link| link.local_port == asked));
        let opening = match (is_taken, server) {
            (true, _) => PORT_TAKEN,
            (false, Some(_)) => self.datagram_plan(&request.host, request.port).opening,
            (false, None) => Opening::Opens(Duration::ZERO),
        };
        let port = asked.unwrap_or(port_of(id));
        self.datagram_links.insert(id, DatagramLink::new(opening, now, server, port, record));
    }
}

/// The address of a server that is given by name or address.
fn address_of(host: &str) -> IpAddr {
    host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)))
}

/// The port that the network chooses for a connection.
fn port_of(id: ConnectionId) -> u16 {
    49_152 + (id.0 % 16_384) as u16
}

impl Network for Simulated {
    fn open(&mut self, id: ConnectionId, request: OpenRequest, now: Instant) {
        self.now = self.now.max(now);
        let order = self.records.len();
        self.records.push(Record {
            request: request.clone(),
            received: Vec::new(),
            received_datagrams: Vec::new(),
            received_bytes: 0,
            said_bytes: 0,
            closed: None,
        });
        if request.transport != Transport::Tcp {
            self.open_datagrams(id, &request, order, now);
            return;
        }
        let plan = self.plans.get_mut(&(request.host.clone(), request.port)).unwrap_or(&mut self.otherwise);
        let (remote, local_port) = (address_of(&request.host), port_of(id));
        let link = Link {
            outcome: plan.opening.clone(),
            asked_at: now,
            remote,
            local_port,
            latency: plan.latency,
            up: Pipe::new(plan.window_bytes),
            acknowledgements: VecDeque::new(),
            down: Pipe::new(plan.window_bytes),
            far: (plan.far_end)(order),
            started: false,
            to_say: VecDeque::new(),
            told_to_end: None,
            ended: None,
            record: order,
        };
        self.links.insert(id, link);
    }

    fn state(&mut self, id: ConnectionId, now: Instant) -> ConnectionState {
        if let Some(link) = self.datagram_links.get(&id) {
            return link.state(now);
        }
        match self.link(id, now) {
            None => ConnectionState::Failed(OpenFailure::Refused),
            Some(link) => link.state(now),
        }
    }

    fn send(&mut self, id: ConnectionId, bytes: &[u8], now: Instant) -> usize {
        let Some(link) = self.link(id, now) else { return 0 };
        let count = bytes.len().min(link.up.room());
        link.up.push(&bytes[..count], now + link.latency);
        link.await_acknowledgement(count, now);
        count
    }

    fn receive(&mut self, id: ConnectionId, buffer: &mut [u8], now: Instant) -> Received {
        let Some(link) = self.link(id, now) else { return Received::Broken };
        let bytes = link.down.take(buffer.len(), now);
        if !bytes.is_empty() {
            buffer[..bytes.len()].copy_from_slice(&bytes);
            return Received::Bytes(bytes.len());
        }
        match link.ended {
            Some((at, how)) if at <= now && link.down.is_empty() => match how {
                Ending::Closed => Received::Ended,
                Ending::Cut => Received::Broken,
            },
            _ => Received::Nothing,
        }
    }

    fn send_datagram(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        to: Option<SocketAddr>,
        now: Instant,
    ) -> bool {
        self.now = self.now.max(now);
        let Some(link) = self.datagram_links.get(&id) else { return true };
        let request = &self.records[link.record].request;
        let host = match (request.transport, to) {
            (Transport::UdpService, Some(to)) => (to.ip().to_string(), to.port()),
            _ => (request.host.clone(), request.port),
        };
        let plan = self.datagram_plan(&host.0, host.1);
        if let Some(link) = self.datagram_links.get_mut(&id)
            && let Some(to) = link.destination(to)
        {
            link.send(to, bytes, || plan, now);
            link.advance(now, &mut self.records, self.keep_datagrams);
        }
        true
    }

    fn receive_datagram(&mut self, id: ConnectionId, now: Instant) -> Arrival {
        self.now = self.now.max(now);
        let Some(link) = self.datagram_links.get_mut(&id) else { return Arrival::Broken };
        link.advance(self.now, &mut self.records, self.keep_datagrams);
        link.receive(self.now)
    }

    fn unsent(&mut self, id: ConnectionId, now: Instant) -> usize {
        self.link(id, now).map_or(0, |link| link.up.under_way(now))
    }

    fn unacknowledged(&mut self, id: ConnectionId, now: Instant) -> usize {
        self.link(id, now).map_or(0, |link| {
            let missing = link.acknowledgements.iter().filter(|(at, _)| *at > now);
            missing.map(|(_, count)| count).sum()
        })
    }

    /// An orderly close still delivers what is under way; an abort drops it.
    fn close(&mut self, id: ConnectionId, how: Close, now: Instant) {
        self.now = self.now.max(now);
        if let Some(mut link) = self.datagram_links.remove(&id) {
            link.arrive(&mut self.records[link.record], self.keep_datagrams);
            self.records[link.record].closed = Some(how);
        }
        let Some(mut link) = self.links.remove(&id) else { return };
        if how == Close::Orderly && link.started {
            let rest = link.up.take(usize::MAX, now + link.latency);
            let record = &mut self.records[link.record];
            record.received_bytes += rest.len() as u64;
            if self.keep_bytes {
                record.received.extend(rest);
            }
        }
        self.records[link.record].closed = Some(how);
    }

    fn look_up(&mut self, id: ConnectionId, host: &str, _now: Instant) {
        self.look_ups.insert(id, address_of(host));
    }

    fn looked_up(&mut self, id: ConnectionId, _now: Instant) -> Option<Vec<IpAddr>> {
        Some(self.look_ups.remove(&id).into_iter().collect())
    }

    fn time(&mut self, _server: &str, now: Instant) -> Option<i64> {
        let (at, seconds) = self.time?;
        let passed = i64::try_from(now.saturating_duration_since(at).as_secs()).ok()?;
        Some(seconds.saturating_add(passed))
    }

    fn next_deadline(&self) -> Option<Instant> {
        let streams = self.links.values().filter_map(|link| link.next_deadline(self.now));
        let datagrams = self.datagram_links.values().filter_map(|link| link.next_deadline(self.now));
        streams.chain(datagrams).min()
    }
}

/// One connection.
struct Link {
    outcome: Opening,
    asked_at: Instant,
    remote: IpAddr,
    local_port: u16,
    latency: Duration,
    up: Pipe,
    /// When acknowledgements come, and of how many bytes each.
    acknowledgements: VecDeque<(Instant, usize)>,
    down: Pipe,
    far: Box<dyn FarEnd>,
    started: bool,
    to_say: VecDeque<u8>,
    told_to_end: Option<Ending>,
    /// When the modem's side learns of the end, and which kind of end it is.
    ended: Option<(Instant, Ending)>,
    record: usize,
}

impl Link {
    fn state(&self, now: Instant) -> ConnectionState {
        let passed = |time: Duration| now >= self.asked_at + time;
        match &self.outcome {
            Opening::Opens(time) if passed(*time) => {
                ConnectionState::Open { remote: self.remote, local_port: self.local_port }
            }
            Opening::Fails(time, failure) if passed(*time) => ConnectionState::Failed(failure.clone()),
            _ => ConnectionState::Opening,
        }
    }

    /// The server's side acknowledges what has arrived, whether the server reads it or not.
    fn await_acknowledgement(&mut self, count: usize, now: Instant) {
        while self.acknowledgements.front().is_some_and(|(at, _)| *at <= now) {
            self.acknowledgements.pop_front();
        }
        let at = now + 2 * self.latency;
        match self.acknowledgements.back_mut() {
            Some((last, bytes)) if *last == at => *bytes += count,
            _ => self.acknowledgements.push_back((at, count)),
        }
    }

    fn advance(&mut self, now: Instant, records: &mut [Record], keep_bytes: bool) {
        if !matches!(self.state(now), ConnectionState::Open { .. }) {
            return;
        }
        if !self.started {
            self.started = true;
            self.far.opened(now);
        }
        let record = &mut records[self.record];
        while self.ended.is_none() {
            let mut moved = false;
            let read = self.up.take(self.far.wants(now), now);
            if !read.is_empty() {
                moved = true;
                record.received_bytes += read.len() as u64;
                if keep_bytes {
                    record.received.extend_from_slice(&read);
                }
                self.far.received(&read, now);
            }
            let by_hand = self.to_say.len().min(self.down.room());
            let mut said: Vec<u8> = self.to_say.drain(..by_hand).collect();
            said.extend(self.far.send(self.down.room() - said.len(), now));
            if !said.is_empty() {
                moved = true;
                record.said_bytes += said.len() as u64;
                self.down.push(&said, now + self.latency);
            }
            let told = self.told_to_end.filter(|_| self.to_say.is_empty());
            if let Some(how) = told.or_else(|| self.far.ending(now)) {
                self.ended = Some((now + self.latency, how));
            }
            if !moved {
                break;
            }
        }
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let later = |at: &Instant| *at > now;
        if !self.started {
            return match &self.outcome {
                Opening::Opens(time) | Opening::Fails(time, _) => Some(self.asked_at + *time).filter(later),
                Opening::Never => None,
            };
        }
        let far = self.far.next_deadline(now).filter(|_| self.ended.is_none());
        let ended = self.ended.map(|(at, _)| at);
        let pipes = [self.up.next_arrival(now), self.down.next_arrival(now)];
        pipes.into_iter().chain([far, ended]).flatten().filter(later).min()
    }
}

/// One direction of a connection.
struct Pipe {
    chunks: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    window_bytes: usize,
}

impl Pipe {
    fn new(window_bytes: usize) -> Pipe {
        Pipe { chunks: VecDeque::new(), bytes: 0, window_bytes }
    }

    fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn room(&self) -> usize {
        self.window_bytes.saturating_sub(self.bytes)
    }

    fn push(&mut self, bytes: &[u8], arrives: Instant) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        match self.chunks.back_mut() {
            Some((last, chunk)) if *last == arrives => chunk.extend_from_slice(bytes),
            _ => self.chunks.push_back((arrives, bytes.to_vec())),
        }
    }

    /// Takes what has arrived, up to a limit.
    fn take(&mut self, limit: usize, now: Instant) -> Vec<u8> {
        let mut taken = Vec::new();
        while let Some((arrives, chunk)) = self.chunks.front_mut() {
            let count = chunk.len().min(limit - taken.len());
            if *arrives > now || count == 0 {
                break;
            }
            taken.extend(chunk.drain(..count));
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
        self.bytes -= taken.len();
        taken
    }

    /// Bytes that have not arrived.
    fn under_way(&self, now: Instant) -> usize {
        self.chunks.iter().filter(|(arrives, _)| *arrives > now).map(|(_, chunk)| chunk.len()).sum()
    }

    fn next_arrival(&self, now: Instant) -> Option<Instant> {
        self.chunks.iter().map(|(arrives, _)| *arrives).find(|arrives| *arrives > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    fn open(network: &mut Simulated) -> ConnectionId {
        let id = ConnectionId(network.records().len() as u64);
        network.open(
            id,
            OpenRequest {
                host: "a.example".into(),
                port: 443,
                tls: None,
                transport: Transport::Tcp,
                local_port: 0,
            },
            start(),
        );
        id
    }

    #[test]
    fn bytes_take_their_latency_each_way() {
        let second = Duration::from_secs(1);
        let mut network = Simulated::new(start(), Plan::new(Behaviour::echo()).latency(second));
        let id = open(&mut network);
        assert_eq!(network.send(id, b"hello", start()), 5);
        assert_eq!(network.unsent(id, start()), 5);
        assert_eq!(network.next_deadline(), Some(start() + second));
        let mut buffer = [0; 9];
        assert_eq!(network.receive(id, &mut buffer, start() + second), Received::Nothing);
        assert_eq!(network.unsent(id, start() + second), 0);
        assert_eq!(network.next_deadline(), Some(start() + second * 2));
        assert_eq!(network.receive(id, &mut buffer, start() + second * 2), Received::Bytes(5));
        assert_eq!(&buffer[..5], b"hello");
        assert_eq!(network.records()[0].received, b"hello");
    }

    #[test]
    fn a_server_that_does_not_read_stops_the_sender() {
        let mut network = Simulated::new(start(), Plan::new(Behaviour::deaf()).window(1_000));
        let id = open(&mut network);
        assert_eq!(network.send(id, &[0; 1_460], start()), 1_000);
        assert_eq!(network.send(id, &[0; 460], start() + Duration::from_secs(9)), 0);
    }

    #[test]
    fn the_end_comes_behind_the_last_byte_however_slowly_it_is_read() {
        let mut network = Simulated::new(start(), Plan::new(Behaviour::source(2_500, 3)).window(1_000));
        let id = open(&mut network);
        let mut got = Vec::new();
        let mut buffer = [0; 700];
        while let Received::Bytes(count) = network.receive(id, &mut buffer, start()) {
            got.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(got, pattern(3, 0, 2_500));
        assert_eq!(network.receive(id, &mut buffer, start()), Received::Ended);
    }

    #[test]
    fn a_failing_open_fails_when_its_time_has_come() {
        let second = Duration::from_secs(1);
        let opening = Opening::Fails(second, OpenFailure::Dns);
        let mut network = Simulated::new(start(), Plan::new(Behaviour::sink()).opening(opening));
        let id = open(&mut network);
        assert_eq!(network.state(id, start()), ConnectionState::Opening);
        assert_eq!(network.next_deadline(), Some(start() + second));
        assert_eq!(network.state(id, start() + second), ConnectionState::Failed(OpenFailure::Dns));
    }

    #[test]
    fn what_is_said_by_hand_is_heard_before_an_end_by_hand() {
        let mut network = Simulated::new(start(), Plan::new(Behaviour::sink()));
        let id = open(&mut network);
        network.say(0, b"bye", start());
        network.end(0, Ending::Cut, start());
        let mut buffer = [0; 9];
        assert_eq!(network.receive(id, &mut buffer, start()), Received::Bytes(3));
        assert_eq!(network.receive(id, &mut buffer, start()), Received::Broken);
    }
}
