//! The sockets of the modem, and which of them have to be looked at.
//!
//! Most of what is looked at after each event follows from the state of one socket. With twelve connections, eleven of
//! which are idle, looking at all of them costs more than the event. So a socket that is borrowed for a change is marked
//! twice: for the modem, which adjusts its flow, and for the relay, which looks after its client.

use std::ops::{Deref, Index, IndexMut};
use std::time::Instant;

use crate::at::{IdSet, SocketId};
use crate::socket::{Adjusted, Socket, Switching};

/// All sockets, by their number.
#[derive(Debug)]
pub(super) struct Sockets {
    all: Vec<Socket>,
    /// Those that may have changed since their flows were adjusted.
    flows: IdSet,
    /// Those that may have changed since the relay looked after their clients.
    clients: IdSet,
    /// By what flows were adjusted last.
    adjusted_by: Option<Switching>,
    /// No flow is due before this time although nothing has happened to its socket.
    flow_due_at: Option<Instant>,
}

impl Sockets {
    /// All of these have to be looked at.
    pub(super) fn new(all: Vec<Socket>) -> Self {
        let (flows, clients) = (IdSet::empty(), IdSet::empty());
        let mut sockets = Sockets { all, flows, clients, adjusted_by: None, flow_due_at: None };
        sockets.all_may_have_changed();
        sockets
    }

    /// Something has changed that all of them depend on.
    pub(super) fn all_may_have_changed(&mut self) {
        self.flows = IdSet::first(self.all.len());
        self.clients = self.flows;
    }

    /// All, for a change.
    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Socket> {
        self.all_may_have_changed();
        self.all.iter_mut()
    }

    /// Changes those of which this is true.
    pub(super) fn change(&mut self, is_meant: impl Fn(&Socket) -> bool, mut change: impl FnMut(&mut Socket)) {
        for index in 0..self.all.len() {
            if is_meant(&self.all[index]) {
                change(&mut self[index]);
            }
        }
    }

    /// Those whose flow has to be adjusted.
    pub(super) fn take_flows(&mut self, switching: &Switching, now: Instant) -> IdSet {
        let mut due = std::mem::replace(&mut self.flows, IdSet::empty());
        if self.adjusted_by.replace(*switching) != Some(*switching) {
            due = IdSet::first(self.all.len());
        }
        if self.flow_due_at.is_some_and(|at| at <= now) {
            for (index, socket) in self.all.iter().enumerate() {
                if socket.flow_due_at().is_some_and(|at| at <= now) {
                    due.insert(index);
                }
            }
            self.flow_due_at = self.all.iter().filter_map(Socket::flow_due_at).min();
        }
        due
    }

    /// Adjusts the flow of one of them, which is not adjusted again for what it becomes by that.
    pub(super) fn adjust_flow(&mut self, id: SocketId, switching: &Switching, now: Instant) -> Adjusted {
        let socket = &mut self.all[id.index()];
        if socket.flow_due_at().is_some_and(|at| at <= now) {
            // Once it has been silent, the next silence begins.
            self.flows.insert(id.index());
        }
        self.clients.insert(id.index());
        let adjusted = socket.adjust_flow(switching, now);
        self.flow_due_at = self.flow_due_at.into_iter().chain(socket.flow_due_at()).min();
        adjusted
    }

    /// Those whose clients have to be looked after.
    pub(super) fn take_clients(&mut self) -> IdSet {
        std::mem::replace(&mut self.clients, IdSet::empty())
    }
}

impl Deref for Sockets {
    type Target = [Socket];

    fn deref(&self) -> &[Socket] {
        &self.all
    }
}

impl Index<usize> for Sockets {
    type Output = Socket;

    fn index(&self, index: usize) -> &Socket {
        &self.all[index]
    }
}

impl IndexMut<usize> for Sockets {
    fn index_mut(&mut self, index: usize) -> &mut Socket {
        self.flows.insert(index);
        self.clients.insert(index);
        &mut self.all[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::test_switching;
    use crate::test_clock::now;

    fn numbers(ids: IdSet) -> Vec<usize> {
        (0..3).filter(|index| ids.contains(*index)).collect()
    }

    #[test]
    fn what_is_borrowed_for_a_change_is_looked_at_once_by_both() {
        let mut sockets = Sockets::new((0..3).map(|_| Socket::new(true, now())).collect());
        let flows = |sockets: &mut Sockets| numbers(sockets.take_flows(&test_switching(), now()));
        assert_eq!((flows(&mut sockets), numbers(sockets.take_clients())), (vec![0, 1, 2], vec![0, 1, 2]));
        assert_eq!((flows(&mut sockets), numbers(sockets.take_clients())), (vec![], vec![]));
        assert!(!sockets[1].is_open_both_ways(), "to read one is no change");
        assert_eq!(flows(&mut sockets), [0; 0]);
        let _ = &mut sockets[1];
        sockets.change(|_| false, |_| ());
        assert_eq!((flows(&mut sockets), numbers(sockets.take_clients())), (vec![1], vec![1]));
        sockets.iter_mut().for_each(|_| ());
        assert_eq!((flows(&mut sockets), numbers(sockets.take_clients())), (vec![0, 1, 2], vec![0, 1, 2]));
    }

    #[test]
    fn another_way_of_switching_has_all_flows_adjusted() {
        let mut sockets = Sockets::new((0..3).map(|_| Socket::new(true, now())).collect());
        sockets.take_flows(&test_switching(), now());
        let other = Switching { texts_are_shown: true, ..test_switching() };
        assert_eq!(numbers(sockets.take_flows(&other, now())), [0, 1, 2]);
        assert_eq!(numbers(sockets.take_flows(&other, now())), [0; 0]);
    }
}
