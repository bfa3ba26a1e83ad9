//! Whose turn it is: start-time fair queueing over the flows of one modem.
//!
//! Each socket has two flows, up and down. Backlogged flows take turns by bytes and messages. A flow that has
//! had less than its share is owed up to [`CREDIT_BYTES`] of it, and so goes before the backlogged ones
//! whenever it has something, more than once in their round too; a flow that wants more than a share has no
//! credit. Connections that are opened ahead of clients are one flow: each costs as much as the longest message.

use crate::at::{CHUNK_MAX, SOCKET_COUNT, SocketId};

/// Which way a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// AT+QSSLSEND
    Up,
    /// AT+QSSLRECV
    Down,
}

/// How much each flow has had.
#[derive(Debug, Default)]
pub struct FairQueue {
    /// The latest start tag of a flow that was served, in bytes.
    virtual_time: u64,
    /// A count of services, so that equals take turns.
    services: u64,
    /// By socket and way.
    flows: [[Flow; 2]; SOCKET_COUNT],
    /// The connections that are opened ahead.
    ahead: Flow,
}

/// What one flow has had.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    /// Where its last service ended, in bytes of virtual time.
    finish: u64,
    last_service: u64,
}

impl FairQueue {
    /// Orders flows: the smallest goes first.
    pub fn rank(&self, socket: SocketId, way: Way) -> (u64, u64) {
        self.rank_of(self.flows[socket.index()][way as usize])
    }

    /// The rank of the next connection that is opened ahead.
    pub fn rank_ahead(&self) -> (u64, u64) {
        self.rank_of(self.ahead)
    }

    /// The flow is served with a message of `bytes` bytes.
    pub fn served(&mut self, socket: SocketId, way: Way, bytes: usize) {
        let (socket, way) = (socket.index(), way as usize);
        self.flows[socket][way] = self.serve(self.flows[socket][way], bytes);
    }

    /// A connection is opened ahead.
    pub fn served_ahead(&mut self) {
        self.ahead = self.serve(self.ahead, CHUNK_MAX);
    }

    /// The socket has a new user, who does not inherit the old one's account.
    pub fn forget(&mut self, socket: SocketId) {
        for flow in &mut self.flows[socket.index()] {
            flow.finish = 0;
        }
    }

    fn rank_of(&self, flow: Flow) -> (u64, u64) {
        let owed = self.virtual_time.saturating_sub(CREDIT_BYTES);
        (flow.finish.max(owed), flow.last_service)
    }

    /// The flow after this service.
    fn serve(&mut self, flow: Flow, bytes: usize) -> Flow {
        let (start, _) = self.rank_of(flow);
        self.virtual_time = self.virtual_time.max(start);
        self.services += 1;
        Flow { finish: start + bytes as u64 + MESSAGE_COST_BYTES, last_service: self.services }
    }
}

/// What a message costs besides its bytes: 34 to 46 of dialogue (PROTOCOL section 8), and the module's own time,
/// about as much as 200 take at 115200 baud. Without it a flow of single bytes would hardly let others pass.
const MESSAGE_COST_BYTES: u64 = 256;

/// The most that a flow is owed for the time when it had nothing: one message.
const CREDIT_BYTES: u64 = CHUNK_MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_are_opened_ahead_take_turns_with_messages() {
        let flow = (SocketId::new(0).expect("a number"), Way::Up);
        for (chunk, messages_min) in [(CHUNK_MAX, 99), (100, 380)] {
            let mut queue = FairQueue::default();
            let (mut opened, mut messages) = (0, 0);
            while opened < 100 {
                if queue.rank_ahead() < queue.rank(flow.0, flow.1) {
                    queue.served_ahead();
                    opened += 1;
                } else {
                    queue.served(flow.0, flow.1, chunk);
                    messages += 1;
                }
            }
            assert!(messages >= messages_min, "{messages} messages of {chunk} bytes");
        }
    }

    fn next(queue: &FairQueue, flows: &[(SocketId, Way)]) -> (SocketId, Way) {
        *flows.iter().min_by_key(|(socket, way)| queue.rank(*socket, *way)).expect("some flow")
    }

    #[test]
    fn backlogged_flows_get_the_same_of_the_line() {
        let flows: Vec<_> = SocketId::all().map(|socket| (socket, Way::Up)).collect();
        let mut queue = FairQueue::default();
        let mut bytes = [0usize; SOCKET_COUNT];
        for _ in 0..10_000 {
            let (socket, way) = next(&queue, &flows);
            // Sockets with small chunks take more turns.
            let chunk = if socket.index() % 2 == 0 { 1460 } else { 100 };
            queue.served(socket, way, chunk);
            bytes[socket.index()] += chunk + MESSAGE_COST_BYTES as usize;
        }
        let (least, most) = (bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
        assert!(most - least <= 2 * (1460 + MESSAGE_COST_BYTES as usize), "{bytes:?}");
    }

    #[test]
    fn a_sparse_flow_goes_before_the_backlogged_ones() {
        let bulk: Vec<_> = SocketId::all().skip(1).map(|socket| (socket, Way::Up)).collect();
        let sparse = (SocketId::new(0).unwrap(), Way::Up);
        let mut queue = FairQueue::default();
        for round in 0..1000 {
            // Twice in a round of the eleven, too; in the very first one no flow has had anything.
            if round > 11 && round % 5 == 4 {
                let all: Vec<_> = bulk.iter().copied().chain([sparse]).collect();
                assert_eq!(next(&queue, &all), sparse);
                queue.served(sparse.0, sparse.1, 64);
            }
            let (socket, way) = next(&queue, &bulk);
            queue.served(socket, way, 1460);
        }
    }
}
