//! Far ends without cost: the network of the emulator's core, for measurements without the network.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use qssl_modem_emulator::network::{
    Arrival, Close, ConnectionId, ConnectionState, Network, OpenRequest, Received,
};

/// What the servers that the modem reaches do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FarEnd {
    /// They read everything.
    Sink,
    /// They send as many bytes as the test requests.
    Source,
    /// They send what they read.
    Echo,
}

/// Servers that always accept connections at once.
#[derive(Debug)]
pub struct World {
    far_end: FarEnd,
    /// The bytes that each echoing server still has to send.
    connections: BTreeMap<ConnectionId, VecDeque<u8>>,
    /// The datagrams that echoing servers still have to send, and to whom.
    datagrams: VecDeque<(ConnectionId, Vec<u8>)>,
    /// How many bytes all sources together still have to send.
    pub to_say: u64,
    /// How many bytes sinks have read.
    pub read: u64,
    /// How many connections were opened.
    pub opened: u64,
}

impl World {
    /// A world with such servers.
    pub fn new(far_end: FarEnd) -> World {
        let (connections, datagrams) = (BTreeMap::new(), VecDeque::new());
        World { far_end, connections, datagrams, to_say: 0, read: 0, opened: 0 }
    }
}

impl Network for World {
    fn open(&mut self, id: ConnectionId, _request: OpenRequest, _now: Instant) {
        self.connections.insert(id, VecDeque::new());
        self.opened += 1;
    }

    fn state(&mut self, _id: ConnectionId, _now: Instant) -> ConnectionState {
        ConnectionState::Open { remote: SERVER, local_port: 49_152 }
    }

    fn send(&mut self, id: ConnectionId, bytes: &[u8], _now: Instant) -> usize {
        match self.far_end {
            FarEnd::Sink | FarEnd::Source => self.read += bytes.len() as u64,
            FarEnd::Echo => self.connections.entry(id).or_default().extend(bytes),
        }
        bytes.len()
    }

    fn receive(&mut self, id: ConnectionId, buffer: &mut [u8], _now: Instant) -> Received {
        let count = match self.far_end {
            FarEnd::Sink => 0,
            FarEnd::Source => {
                let count = buffer.len().min(usize::try_from(self.to_say).unwrap_or(usize::MAX));
                self.to_say -= count as u64;
                count
            }
            FarEnd::Echo => {
                let to_say = self.connections.entry(id).or_default();
                let count = to_say.len().min(buffer.len());
                for (place, byte) in buffer.iter_mut().zip(to_say.drain(..count)) {
                    *place = byte;
                }
                count
            }
        };
        if count > 0 { Received::Bytes(count) } else { Received::Nothing }
    }

    fn send_datagram(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        _to: Option<SocketAddr>,
        _now: Instant,
    ) -> bool {
        match self.far_end {
            FarEnd::Sink | FarEnd::Source => self.read += bytes.len() as u64,
            FarEnd::Echo => self.datagrams.push_back((id, bytes.to_vec())),
        }
        true
    }

    fn receive_datagram(&mut self, id: ConnectionId, _now: Instant) -> Arrival {
        let first = self.datagrams.iter().position(|(to, _)| *to == id);
        match first.and_then(|first| self.datagrams.remove(first)) {
            Some((_, bytes)) => Arrival::Datagram(bytes, SocketAddr::new(SERVER, 5_684)),
            None => Arrival::Nothing,
        }
    }

    fn unsent(&mut self, _id: ConnectionId, _now: Instant) -> usize {
        0
    }

    fn close(&mut self, id: ConnectionId, _how: Close, _now: Instant) {
        self.connections.remove(&id);
    }

    fn time(&mut self, _server: &str, _now: Instant) -> Option<i64> {
        None
    }

    fn next_deadline(&self) -> Option<Instant> {
        None
    }
}

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
