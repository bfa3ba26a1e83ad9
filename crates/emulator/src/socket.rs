//! One connection of the modem as the host sees it: its number, its state, and its two buffers.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::buffer::Buffer;
use crate::network::{ConnectionId, Transport};

/// One connection, from its open to its close.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    pub(crate) service: Service,
    /// The host's number for it, 0 to 11.
    pub(crate) id: u8,
    pub(crate) connection: ConnectionId,
    pub(crate) transport: Transport,
    pub(crate) pdp_context: u8,
    /// Only TLS has one.
    pub(crate) ssl_context: Option<u8>,
    pub(crate) access: AccessMode,
    /// Index of the port it was opened on, or whose stream it is.
    pub(crate) port: usize,
    pub(crate) remote_port: u16,
    /// The server's address, once known; of a UDP service the modem's own.
    pub(crate) remote: Option<IpAddr>,
    pub(crate) local_port: u16,
    pub(crate) state: SocketState,
    /// Whether the network knows the connection.
    pub(crate) linked: bool,
    /// From the host, not yet taken by the network.
    pub(crate) outgoing: Buffer,
    /// Bytes that the network had taken and the server had not, at the last check.
    pub(crate) unsent: usize,
    /// From the server, not yet taken by the host.
    pub(crate) incoming: Buffer,
    /// All bytes that were ever put into `incoming`.
    pub(crate) received_total: u64,
    /// All bytes that were ever put into `outgoing`.
    pub(crate) sent_total: u64,
    /// Whether the bytes in `incoming` were announced to the host. It is announced again only after a read of 0 bytes.
    pub(crate) announced: bool,
    /// Whether `incoming` waits for the next arrival.
    pub(crate) held: bool,
}

/// The commands that a connection belongs to. Each service has numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// AT+QSSLOPEN and its relatives: with TLS.
    Tls,
    /// AT+QIOPEN and its relatives: without TLS (TCP/IP application notes).
    Plain,
}

/// How a service begins its answers and URCs.
pub(crate) struct Names {
    /// The result of an open.
    pub(crate) open: &'static str,
    /// Received bytes that the host has read.
    pub(crate) receive: &'static str,
    /// The result of a close that was answered before.
    pub(crate) close: &'static str,
    /// A line about one socket.
    pub(crate) state: &'static str,
    /// Arrivals and ends.
    pub(crate) urc: &'static str,
}

/// How received data reaches the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessMode {
    Buffer,
    Push,
    Transparent,
}

/// The state of a connection.
///
/// ```text
/// Opening ──► Connected ──► Ended ──► (free)
///    │            └───────► Closing ────▲
///    └─► (free), or Ended where a quirk keeps failed opens
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketState {
    /// Under way. Its outcome, once known, is reported no sooner than `told_at`; without an outcome it is given
    /// up at `given_up_at`. A silent one is never reported. A `predetermined` one fails with that code, whatever
    /// the network reports.
    Opening {
        told_at: Instant,
        given_up_at: Instant,
        silent: bool,
        predetermined: Option<u16>,
    },
    Connected,
    /// Ended. `told`: whether a URC has reported it to the host.
    Ended {
        how: End,
        told: bool,
    },
    /// Closing by AT+QSSLCLOSE; at `until` the rest is dropped. `answers` is the port that gets the late result
    /// if closing is asynchronous.
    Closing {
        until: Instant,
        answers: Option<usize>,
    },
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The server closed in order.
    Closed,
    /// It was cut.
    Cut,
}

impl Service {
    pub(crate) fn names(self) -> &'static Names {
        match self {
            Service::Tls => &TLS_NAMES,
            Service::Plain => &PLAIN_NAMES,
        }
    }
}

const TLS_NAMES: Names = Names {
    open: "+QSSLOPEN",
    receive: "+QSSLRECV",
    close: "+QSSLCLOSE",
    state: "+QSSLSTATE",
    urc: "+QSSLURC",
};

const PLAIN_NAMES: Names =
    Names { open: "+QIOPEN", receive: "+QIRD", close: "+QICLOSE", state: "+QISTATE", urc: "+QIURC" };

impl AccessMode {
    pub(crate) fn number(self) -> u8 {
        match self {
            AccessMode::Buffer => 0,
            AccessMode::Push => 1,
            AccessMode::Transparent => 2,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<AccessMode> {
        [AccessMode::Buffer, AccessMode::Push, AccessMode::Transparent].get(usize::from(number)).copied()
    }
}

impl Socket {
    /// The number of the state in AT+QSSLSTATE.
    pub(crate) fn state_number(&self, closing: u8) -> u8 {
        match self.state {
            SocketState::Opening { .. } => 1,
            SocketState::Connected => 2,
            SocketState::Ended { .. } | SocketState::Closing { .. } => closing,
        }
    }

    /// The name of its kind in AT+QSSLSTATE and AT+QISTATE.
    pub(crate) fn kind_name(&self) -> &'static str {
        match (self.service, self.transport) {
            (Service::Tls, _) => "SSLClient",
            (Service::Plain, Transport::Tcp) => "TCP",
            (Service::Plain, Transport::Udp) => "UDP",
            (Service::Plain, Transport::UdpService) => "UDP SERVICE",
        }
    }

    /// Takes bytes of the host, for this address if each datagram has its own.
    pub(crate) fn queue(&mut self, bytes: &[u8], to: Option<SocketAddr>) {
        self.outgoing.push(bytes, to);
        self.sent_total += bytes.len() as u64;
    }

    /// Bytes of the send buffer in use.
    pub(crate) fn send_buffer_used(&self) -> usize {
        self.outgoing.len() + self.unsent
    }

    /// Changes how data reaches the host. Bytes that are already in the buffer are not announced; if
    /// leftovers are held, they wait for the next arrival.
    pub(crate) fn switch(&mut self, access: AccessMode, leftovers_held: bool) {
        self.access = access;
        self.announced = access == AccessMode::Buffer && !self.incoming.is_empty();
        self.held = access == AccessMode::Push && leftovers_held && !self.incoming.is_empty();
    }
}
