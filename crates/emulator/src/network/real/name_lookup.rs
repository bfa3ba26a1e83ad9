//! Resolves host names on threads of their own, because the system's resolver blocks.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use mio::Waker;

use crate::network::ConnectionId;

/// The look-ups under way.
pub(super) struct NameLookup {
    waker: Arc<Waker>,
    sender: Sender<LookupOutcome>,
    outcomes: Receiver<LookupOutcome>,
    running: usize,
}

/// The result of a look-up; no addresses means that the name could not be resolved.
pub(super) struct LookupOutcome {
    pub(super) id: ConnectionId,
    pub(super) addresses: Vec<SocketAddr>,
}

impl NameLookup {
    pub(super) fn new(waker: Arc<Waker>) -> Self {
        let (sender, outcomes) = channel();
        NameLookup { waker, sender, outcomes, running: 0 }
    }

    /// Begins a look-up. False when too many are under way already.
    pub(super) fn start(&mut self, id: ConnectionId, host: String, port: u16) -> bool {
        if self.running >= LOOKUPS_AT_ONCE {
            return false;
        }
        let (sender, waker) = (self.sender.clone(), Arc::clone(&self.waker));
        let look_up = move || {
            let addresses = match (host.as_str(), port).to_socket_addrs() {
                Ok(addresses) => addresses.collect(),
                Err(error) => {
                    log::debug!("name {host:?} not resolved: {error}");
                    Vec::new()
                }
            };
            // Both fail only when the network is gone, and then the result is not wanted.
            if sender.send(LookupOutcome { id, addresses }).is_ok() {
                let _ = waker.wake();
            }
        };
        let started = std::thread::Builder::new().name("name look-up".into()).spawn(look_up).is_ok();
        self.running += usize::from(started);
        started
    }

    /// The next look-up that has ended.
    pub(super) fn finished(&mut self) -> Option<LookupOutcome> {
        let outcome = self.outcomes.try_recv().ok()?;
        self.running -= 1;
        Some(outcome)
    }
}

/// A resolver may take half a minute for a name, and the modem may give up and try again meanwhile.
const LOOKUPS_AT_ONCE: usize = 32;
