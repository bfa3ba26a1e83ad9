//! What can happen to the core, beside bytes that move: the one entrance, for event loop, simulation and fuzzing alike.

use crate::modem::UserCommand;

/// What happened. [`crate::Relay::handle`] takes it. Bytes have functions of their own, as they are borrowed; so have new
/// clients, commands and a new configuration, which have a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// At this port, by its index in [`crate::settings::Settings::ports`].
    Port(usize, PortInput),
    /// At this client, which may be gone already.
    Client(ClientId, ClientInput),
    /// The host's clock, in seconds since 1970: the answer to [`crate::ModemAction::TellTime`].
    HostClock(i64),
    /// [`crate::Relay::next_deadline`] has come.
    Deadline,
    /// From now on connections may be opened ahead of their clients, or none may, since a budget is spent. Those that are
    /// open are for clients all the same.
    OpenAhead(bool),
    /// The PIN is not tried: the SIM has refused it when an earlier process tried it.
    ForbidPin,
    /// Somebody wants to know signal, operator and registration now. If they were not reported lately, the modem is asked, and
    /// [`crate::ModemAction::NetworkAnswered`] follows.
    AskNetwork,
    /// From now on the recorder keeps what payload consists of, or only how much there is.
    RecordPayload(bool),
    /// Nobody waits for the answer to this command any more. One that is in flight is answered all the same.
    CancelCommand(UserCommand),
    /// SIGTERM or SIGINT: present clients are served, then the process ends; a second signal ends it at once.
    Shutdown {
        /// The signal's number, which the program's end names.
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
    /// More has waited unread than its driver surely keeps: bytes may be missing before what is received next.
    Overrun,
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
    /// The datagram of [`crate::Relay::client_output`] could not be given to it.
    NotDelivered,
    /// How many of the bytes that were written to it its system still holds; 0 where that is unknown.
    Queue(usize),
}

/// Names a client as long as it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub usize);

/// What a port is, as the event loop found when it opened it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortFacts {
    /// Its name in messages.
    pub name: String,
    /// It has a speed and modem lines that matter.
    pub is_uart: bool,
    /// Its bytes take the time of a line of the set speed: a UART, here or on a device server.
    pub is_paced: bool,
    /// A device server is in between. What it and the network hold cannot be seen from here, and can be much.
    pub is_remote: bool,
    /// A DCD line that can be read.
    pub has_dcd: bool,
    /// DCD is read at this moment, not as a device server last reported it.
    pub dcd_is_live: bool,
    /// A DTR line that can be set.
    pub has_dtr: bool,
    /// Nothing stops the modem when the host does not read: RTS/CTS is not wanted, or the driver has none.
    pub lacks_flow_control: bool,
    /// Its driver takes everything the modem sends, and drops what it cannot keep: [`PortInput::Overrun`].
    pub drops_unread: bool,
    /// Whether it has its line alone.
    pub sharing: Sharing,
    /// What the modem calls this port, where that is known: "usbat", "usbmodem" or "uart1".
    pub at_port: Option<&'static str>,
}

/// Whether a port has its line alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// It has.
    #[default]
    Alone,
    /// It has, and there is no other port: the line was to carry several channels, and does not.
    Only,
    /// It has until its wire settings are made; then the line is to carry several channels.
    Wanted,
    /// It is one of several channels of a line: a stream on it is not left by `+++`, and another channel answers what has
    /// become of it.
    Shared,
}
