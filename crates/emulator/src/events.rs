//! Whether the modem runs, and what is to happen by itself.

/// Whether the modem runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    Off,
    Booting,
    On,
}

/// Something that happens by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It goes down, and comes up again if it is to.
    PowerDown { restart: bool },
    /// It is up.
    Booted,
    /// A URC without its frame.
    Urc(String),
    /// SEND OK after SEND FAIL, on this port.
    LateSendOk(usize),
    /// What another program has it send, with its frame.
    Foreign(Vec<u8>),
    /// What other programs have it send is due, the text of this number.
    Others(usize),
    /// The registration may have changed.
    Registration,
    /// The network reports the time, in seconds since 1970.
    Clock(i64),
}
