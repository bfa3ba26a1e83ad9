//! Whether the modem runs, and the events that happen without input.

/// Whether the modem runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    Off,
    Booting,
    On,
}

/// Something that happens without input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The modem goes down, and boots again if `restart` is set.
    PowerDown { restart: bool },
    /// The boot is over.
    Booted,
    /// A URC without its frame.
    Urc(String),
    /// SEND OK after SEND FAIL, on this port.
    LateSendOk(usize),
    /// Bytes that another program makes the modem send, with their frame.
    Foreign(Vec<u8>),
    /// The text of this number is due, which other programs make the modem send.
    Others(usize),
    /// The registration may have changed.
    Registration,
    /// The network reports the time, in seconds since 1970.
    Clock(i64),
}
