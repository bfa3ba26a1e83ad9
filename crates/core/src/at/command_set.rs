//! The two sets of AT commands that carry connections: what differs between them, as a table.
//!
//! Everything else is alike: the prompt of a send and its results, the header of a read, the states of a socket, the
//! forms of the URCs, the access modes and AT+QISWTMD.

/// Which commands a connection is opened, carried and closed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommandSet {
    /// AT+QSSL…: TLS connections (both manuals, chapter 2). Its numbers are called `clientID`.
    #[default]
    Ssl,
    /// AT+QI…: plain TCP connections (TCP/IP application note). Its numbers are called `connectID`.
    Ip,
}

/// The names of a set: each is that of a command, of its answer, or of a URC.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    /// Opens a connection; the URC with the result has the same name.
    pub open: &'static str,
    /// Sends bytes.
    pub send: &'static str,
    /// Reads bytes that wait in the module.
    pub receive: &'static str,
    /// Closes a connection.
    pub close: &'static str,
    /// Reports the state of connections.
    pub state: &'static str,
    /// What comes between the name of the state command and the number of one connection.
    pub state_of_one: &'static str,
    /// Reports bytes and ends.
    pub urc: &'static str,
}

impl CommandSet {
    /// Both.
    pub const ALL: [CommandSet; 2] = [CommandSet::Ssl, CommandSet::Ip];

    /// Its names.
    pub fn names(self) -> &'static Names {
        match self {
            CommandSet::Ssl => &SSL,
            CommandSet::Ip => &IP,
        }
    }
}

const SSL: Names = Names {
    open: "+QSSLOPEN",
    send: "+QSSLSEND",
    receive: "+QSSLRECV",
    close: "+QSSLCLOSE",
    state: "+QSSLSTATE",
    state_of_one: "=",
    urc: "+QSSLURC",
};

const IP: Names = Names {
    open: "+QIOPEN",
    send: "+QISEND",
    receive: "+QIRD",
    close: "+QICLOSE",
    state: "+QISTATE",
    state_of_one: "=1,",
    urc: "+QIURC",
};
