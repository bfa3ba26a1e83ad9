//! What can happen to the core, beside bytes that move: the one entrance, for event loop, simulation and fuzzing alike.

use crate::modem::PortFacts;
use crate::relay::ClientId;

/// What happened. [`crate::Relay::handle`] takes it; bytes and new clients have functions of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// At this port, by its place in [`crate::settings::Settings::ports`].
    Port(usize, PortInput),
    /// At this client, which may be gone already.
    Client(ClientId, ClientInput),
    /// The host's clock, in seconds since 1970: the answer to [`crate::ModemAction::TellTime`].
    HostClock(i64),
    /// [`crate::Relay::next_deadline`] has come.
    Deadline,
    /// SIGTERM or SIGINT: present clients are served, then the process ends; a second signal ends it at once.
    Shutdown {
        /// The signal's number, for the exit status.
        signal: u8,
    },
}

/// What happened at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortInput {
    /// It is open.
    Opened(PortFacts),
    /// It could not be opened; it is tried again later.
    Failed {
        /// There is no such device, or none of the candidates answers.
        is_missing: bool,
    },
    /// It is gone.
    Lost,
    /// More has become known of it: a device server reports its lines when it answers.
    Facts(PortFacts),
    /// The state of its DCD: the answer to [`crate::ModemAction::AskLines`], or a change.
    Lines {
        /// On.
        dcd: bool,
    },
    /// How many bytes its tty has not sent yet: the answer to [`crate::ModemAction::AskQueue`].
    Queue(usize),
    /// The host's UART counted bytes that it lost, or received wrongly, by the time of what is received next.
    Garbled {
        /// Lost.
        lost: u32,
        /// Received wrongly.
        wrong: u32,
    },
}

/// What happened at a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientInput {
    /// It will send nothing more; it may still read.
    Finished,
    /// The client has closed both directions.
    Gone,
    /// The connection to it broke.
    Lost,
    /// How many of the bytes that were written to it its system still holds; 0 where that is unknown.
    Queue(usize),
}
