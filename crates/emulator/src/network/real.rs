//! The real network: TCP, UDP, name look-up and OpenSSL, without ever blocking.
//!
//! The driver's poll watches the sockets; events come in through [`RealNetwork::handle_event`], and the core
//! then asks as it would ask any [`Network`].

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::event::Event;
use mio::{Registry, Token, Waker};

use self::connection::{Connection, Departure};
use self::datagrams::{DatagramSocket, Read};
use self::name_lookup::NameLookup;
use self::tls::{Preparation, SessionCache};
use super::{
    Arrival, Close, ConnectionId, ConnectionState, Network, OpenFailure, OpenRequest, Received, Transport,
};

mod cipher_suites;
mod connection;
mod datagrams;
mod dtls;
mod name_lookup;
pub(crate) mod tls;
mod verification;

/// Maps one host and port to another address.
///
/// The TLS name stays the requested one. The modem's host does not learn the other address: it is shown the requested
/// one, and for a name an address of 192.0.2.0/24, by which it can connect as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The requested name or address, in upper or lower case.
    pub host: String,
    /// The requested port.
    pub port: u16,
    /// The address to connect to instead.
    pub address: SocketAddr,
}

/// Connections of this machine: TCP and UDP, with TLS and without.
pub struct RealNetwork {
    registry: Registry,
    first_token: usize,
    mappings: Vec<Mapping>,
    names: NameLookup,
    sessions: SessionCache,
    connections: BTreeMap<ConnectionId, Connection>,
    datagrams: BTreeMap<ConnectionId, DatagramSocket>,
    /// Connections that the core has closed and that still have to finish.
    departures: BTreeMap<ConnectionId, Departure>,
    /// The addresses that the modem's host is shown for mapped connections.
    shown: BTreeMap<ConnectionId, IpAddr>,
    /// Look-ups for the modem's host; `None` while one is under way.
    look_ups: BTreeMap<ConnectionId, Option<Vec<IpAddr>>>,
    /// When to check again whether the last bytes have left, which no event reports, or to read more datagrams; `None`
    /// while the core does not wait for that.
    look_again: Option<Instant>,
}

impl RealNetwork {
    /// A network whose sockets are registered with `registry` under tokens from `first_token` up.
    ///
    /// `waker` is the poll's waker: after it woke the poll, call [`RealNetwork::woken`].
    pub fn new(registry: Registry, waker: Arc<Waker>, first_token: usize, mappings: Vec<Mapping>) -> Self {
        RealNetwork {
            registry,
            first_token,
            mappings,
            names: NameLookup::new(waker),
            sessions: SessionCache::default(),
            connections: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            departures: BTreeMap::new(),
            shown: BTreeMap::new(),
            look_ups: BTreeMap::new(),
            look_again: None,
        }
    }

    /// Handles an event of the poll; false when it does not belong to this network.
    pub fn handle_event(&mut self, event: &Event, now: Instant) -> bool {
        let Some(number) = event.token().0.checked_sub(self.first_token) else { return false };
        let id = ConnectionId(number as u64);
        // A read or a write will report an error.
        let error = event.is_error();
        let readable = error || event.is_readable() || event.is_read_closed();
        let writable = error || event.is_writable() || event.is_write_closed();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.ready(readable, writable);
            if let Some((slot, session)) = connection.advance(&self.registry, now) {
                self.sessions.store(&slot, &session);
            }
        } else if let Some(socket) = self.datagrams.get_mut(&id) {
            socket.ready(readable, writable);
            if let Some((slot, session)) = socket.advance() {
                self.sessions.store(&slot, &session);
            }
        } else if let Some(departure) = self.departures.get_mut(&id)
            && departure.advance()
        {
            self.departures.remove(&id);
        }
        true
    }

    /// Takes the results of name look-ups.
    pub fn woken(&mut self, now: Instant) {
        while let Some(outcome) = self.names.finished() {
            if let Some(connection) = self.connections.get_mut(&outcome.id) {
                connection.resolved(outcome.addresses, &self.registry);
            } else if let Some(socket) = self.datagrams.get_mut(&outcome.id) {
                socket.resolved(&outcome.addresses, &self.registry, now);
                socket.advance();
            } else if let Some(found) = self.look_ups.get_mut(&outcome.id) {
                *found = Some(outcome.addresses.iter().map(SocketAddr::ip).collect());
            }
        }
    }

    /// Ends what has taken too long. Call it when [`Network::next_deadline`] has passed.
    pub fn deadline_passed(&mut self, now: Instant) {
        for connection in self.connections.values_mut() {
            connection.deadline_passed(now);
        }
        for socket in self.datagrams.values_mut() {
            socket.deadline_passed(now);
        }
        self.departures.retain(|_, departure| departure.deadline > now);
        if self.look_again.is_some_and(|time| time <= now) {
            self.look_again = None;
        }
    }

    /// The address that the modem's host is shown for a host with a mapping: its own if it is one.
    fn stand_in(&self, host: &str) -> Option<IpAddr> {
        let index = self.mappings.iter().position(|mapping| mapping.host.eq_ignore_ascii_case(host))?;
        let number = u8::try_from(index % 254 + 1).unwrap_or(u8::MAX);
        Some(host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))))
    }

    /// The name that a stand-in is for; any other host is itself.
    fn name_of<'a>(&'a self, host: &'a str) -> &'a str {
        let address = host.parse::<IpAddr>().ok();
        let is_meant = |mapping: &&Mapping| address.is_some() && self.stand_in(&mapping.host) == address;
        self.mappings.iter().find(is_meant).map_or(host, |mapping| &mapping.host)
    }

    fn mapped(&self, host: &str, port: u16) -> Option<SocketAddr> {
        let host = self.name_of(host);
        let mapping = self
            .mappings
            .iter()
            .find(|mapping| mapping.port == port && mapping.host.eq_ignore_ascii_case(host));
        mapping.map(|mapping| mapping.address)
    }

    /// The address that the host knows a sender by.
    fn unmapped(&self, address: SocketAddr) -> SocketAddr {
        let mut names = self.mappings.iter().filter(|mapping| mapping.address == address);
        let known = names.find_map(|mapping| Some(SocketAddr::new(mapping.host.parse().ok()?, mapping.port)));
        known.unwrap_or(address)
    }

    /// Where a host and a port lead without a look-up.
    fn literal(&self, host: &str, port: u16) -> Option<SocketAddr> {
        let literal = host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port));
        self.mapped(host, port).or(literal)
    }

    fn open_datagrams(&mut self, id: ConnectionId, token: Token, request: &OpenRequest, now: Instant) {
        if request.transport == Transport::UdpService {
            let socket = DatagramSocket::service(token, request.local_port, &self.registry, now);
            self.datagrams.insert(id, socket);
            return;
        }
        let (host, port) = (bare(&request.host), request.port);
        let (preparation, negotiate) = match self.prepare(request) {
            Ok(prepared) => prepared,
            Err(failure) => {
                self.datagrams.insert(id, DatagramSocket::failed(token, failure, now));
                return;
            }
        };
        let mut socket = DatagramSocket::resolving(token, request.local_port, preparation, negotiate, now);
        match self.literal(host, port) {
            Some(address) => socket.resolved(&[address], &self.registry, now),
            None if self.names.start(id, host.to_owned(), port) => {}
            None => socket.resolved(&[], &self.registry, now),
        }
        // Nothing of the handshake can be over yet.
        socket.advance();
        self.datagrams.insert(id, socket);
    }

    /// What a handshake needs, if there is one, and how long it may take.
    fn prepare(&mut self, request: &OpenRequest) -> Result<(Option<Preparation>, Duration), OpenFailure> {
        let Some(parameters) = &request.tls else { return Ok((None, Duration::ZERO)) };
        let negotiate = Duration::from_secs(parameters.negotiate_seconds.into());
        let (host, port) = (bare(&request.host), request.port);
        let preparation = self.sessions.prepare(host, port, request.transport, parameters)?;
        Ok((Some(preparation), negotiate))
    }
}

impl Network for RealNetwork {
    fn open(&mut self, id: ConnectionId, request: OpenRequest, now: Instant) {
        let token = Token(self.first_token + id.0 as usize);
        let (host, port) = (bare(&request.host), request.port);
        if self.mapped(host, port).is_some()
            && let Some(address) = self.stand_in(self.name_of(host))
        {
            self.shown.insert(id, address);
        }
        if request.transport != Transport::Tcp {
            self.open_datagrams(id, token, &request, now);
            return;
        }
        let host = self.name_of(host).to_owned();
        let (preparation, negotiate) = match self.prepare(&request) {
            Ok(prepared) => prepared,
            Err(failure) => {
                self.connections.insert(id, Connection::failed(token, failure, now));
                return;
            }
        };
        let mut connection = Connection::resolving(token, preparation, negotiate, now);
        match self.literal(&host, port) {
            Some(address) => connection.resolved(vec![address], &self.registry),
            None => {
                if !self.names.start(id, host, port) {
                    connection.resolved(Vec::new(), &self.registry);
                }
            }
        }
        self.connections.insert(id, connection);
    }

    fn state(&mut self, id: ConnectionId, _now: Instant) -> ConnectionState {
        let state = match (self.connections.get(&id), self.datagrams.get(&id)) {
            (Some(connection), _) => connection.state(),
            (None, Some(socket)) => socket.state(),
            (None, None) => ConnectionState::Failed(OpenFailure::Refused),
        };
        match (state, self.shown.get(&id)) {
            (ConnectionState::Open { local_port, .. }, Some(remote)) => {
                ConnectionState::Open { remote: *remote, local_port }
            }
            (state, _) => state,
        }
    }

    fn send(&mut self, id: ConnectionId, bytes: &[u8], _now: Instant) -> usize {
        self.connections.get_mut(&id).map_or(0, |connection| connection.send(bytes))
    }

    fn receive(&mut self, id: ConnectionId, buffer: &mut [u8], _now: Instant) -> Received {
        self.connections.get_mut(&id).map_or(Received::Broken, |connection| connection.receive(buffer))
    }

    fn send_datagram(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        to: Option<SocketAddr>,
        _now: Instant,
    ) -> bool {
        let to = to.map(|to| self.mapped(&to.ip().to_string(), to.port()).unwrap_or(to));
        self.datagrams.get_mut(&id).is_none_or(|socket| socket.send(bytes, to))
    }

    fn receive_datagram(&mut self, id: ConnectionId, now: Instant) -> Arrival {
        let Some(socket) = self.datagrams.get_mut(&id) else { return Arrival::Broken };
        match socket.receive() {
            Read::Datagram(bytes, from) => Arrival::Datagram(bytes, self.unmapped(from)),
            Read::Nothing => Arrival::Nothing,
            Read::Ended => Arrival::Ended,
            Read::Broken => Arrival::Broken,
            Read::TurnOver => {
                self.look_again = Some(now);
                Arrival::Nothing
            }
        }
    }

    fn unsent(&mut self, id: ConnectionId, now: Instant) -> usize {
        let unsent = self.connections.get(&id).map_or(0, Connection::unsent);
        if unsent > 0 && self.look_again.is_none() {
            self.look_again = Some(now + UNSENT_INTERVAL);
        }
        unsent
    }

    fn unacknowledged(&mut self, id: ConnectionId, _now: Instant) -> usize {
        self.connections.get(&id).map_or(0, Connection::unacknowledged)
    }

    fn close(&mut self, id: ConnectionId, how: Close, now: Instant) {
        self.shown.remove(&id);
        if let Some(socket) = self.datagrams.remove(&id) {
            socket.close(how);
        }
        let Some(connection) = self.connections.remove(&id) else { return };
        match how {
            Close::Abort => connection.abort(),
            Close::Orderly => {
                if let Some(mut departure) = connection.depart(now)
                    && !departure.advance()
                {
                    self.departures.insert(id, departure);
                }
            }
        }
    }

    fn look_up(&mut self, id: ConnectionId, host: &str, _now: Instant) {
        let host = bare(host);
        let known = self.stand_in(host).or_else(|| host.parse().ok()).map(|address| vec![address]);
        let is_begun = known.is_some() || self.names.start(id, host.to_owned(), 0);
        self.look_ups.insert(id, if is_begun { known } else { Some(Vec::new()) });
    }

    fn looked_up(&mut self, id: ConnectionId, _now: Instant) -> Option<Vec<IpAddr>> {
        let found = self.look_ups.get(&id)?.clone()?;
        self.look_ups.remove(&id);
        Some(found)
    }

    /// The time of this machine, whatever the server.
    fn time(&mut self, _server: &str, _now: Instant) -> Option<i64> {
        #[allow(clippy::disallowed_methods, reason = "this is the network's time service")]
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(elapsed.as_secs()).ok()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let openings = self.connections.values().filter_map(Connection::deadline);
        let departures = self.departures.values().map(|departure| departure.deadline);
        let look_ups = self.datagrams.values().filter_map(DatagramSocket::deadline);
        openings.chain(look_ups).chain(departures).chain(self.look_again).min()
    }
}

/// An address of IPv6 can be in brackets.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// How often to check whether the server has taken more.
const UNSENT_INTERVAL: Duration = Duration::from_millis(10);
