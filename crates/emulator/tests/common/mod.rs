//! The real network under test, and the poll that drives it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};
use qssl_modem_emulator::network::real::{Mapping, RealNetwork};
use qssl_modem_emulator::network::{ConnectionId, ConnectionState, Network, OpenFailure, OpenRequest};

pub struct Bench {
    poll: Poll,
    pub network: RealNetwork,
    /// How many connections were begun.
    pub opened: u64,
}

impl Bench {
    /// A network in which this port of these hosts is the server.
    pub fn new(hosts: &[&str], port: u16, server: SocketAddr) -> Bench {
        let mapping = |host: &&str| Mapping { host: (*host).to_owned(), port, address: server };
        let poll = Poll::new().expect("a poll");
        let waker = Waker::new(poll.registry(), Token(0)).expect("a waker");
        let registry = poll.registry().try_clone().expect("a registry");
        let mappings = hosts.iter().map(mapping).collect();
        let network = RealNetwork::new(registry, Arc::new(waker), 1, mappings);
        Bench { poll, network, opened: 0 }
    }

    pub fn start(&mut self, request: OpenRequest) -> ConnectionId {
        self.opened += 1;
        let id = ConnectionId(self.opened);
        self.network.open(id, request, now());
        id
    }

    pub fn outcome(&mut self, id: ConnectionId) -> Result<ConnectionId, OpenFailure> {
        self.until(|network| match network.state(id, now()) {
            ConnectionState::Opening => None,
            ConnectionState::Open { .. } => Some(Ok(id)),
            ConnectionState::Failed(failure) => Some(Err(failure)),
        })
    }

    /// Turns the poll until `question` is answered.
    pub fn until<T>(&mut self, mut question: impl FnMut(&mut RealNetwork) -> Option<T>) -> T {
        let give_up = now() + Duration::from_secs(60);
        loop {
            if let Some(answer) = question(&mut self.network) {
                return answer;
            }
            assert!(now() < give_up, "nothing came within 60 s");
            let mut events = Events::with_capacity(64);
            let due = self.network.next_deadline().map(|deadline| deadline.saturating_duration_since(now()));
            // What the kernel of the server acknowledges is no event.
            let patience = Duration::from_millis(20).min(due.unwrap_or(Duration::MAX));
            self.poll.poll(&mut events, Some(patience)).expect("polling works");
            for event in &events {
                if !self.network.handle_event(event, now()) {
                    self.network.woken(now());
                }
            }
            self.network.deadline_passed(now());
        }
    }
}

pub fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "real sockets live in real time")]
    Instant::now()
}
