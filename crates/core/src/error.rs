//! Kinds of failure and of endings: how programs distinguish them. What happened in a particular case is in
//! the message beside it.

use std::fmt;

/// Why a connection, or everything, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it should.
    Done,
    /// A failure that has no kind of its own.
    Failed,
    /// A setting that this module cannot follow.
    Usage,
    /// Another program holds the port.
    PortLocked,
    /// The port is missing or cannot be opened.
    PortUnavailable,
    /// The modem refused a setting that is needed.
    SetUpFailed,
    /// The SIM is missing, locked, or refused the PIN.
    SimFailed,
    /// The modem is not registered in the network.
    NoRegistration,
    /// The data session (PDP context) could not be set up.
    NoDataSession,
    /// The modem could not resolve the host name.
    DnsFailed,
    /// The connection was refused or timed out.
    ConnectFailed,
    /// The TLS handshake failed or the server was not authenticated.
    TlsFailed,
    /// The modem does not answer.
    ModemSilent,
    /// The modem was unplugged, rebooted or stopped answering.
    ModemLost,
    /// The connection broke before its end.
    StreamCut,
    /// Connections were still open when the time for their ends was over.
    DrainTimeout,
    /// The signal with this number ended the process before it had drained.
    Signal(u8),
}

impl Kind {
    /// The stable name in logs, JSON and messages.
    pub fn id(self) -> &'static str {
        match self {
            Kind::Done => "done",
            Kind::Failed => "failed",
            Kind::Usage => "usage",
            Kind::PortLocked => "port-locked",
            Kind::PortUnavailable => "port-unavailable",
            Kind::SetUpFailed => "set-up-failed",
            Kind::SimFailed => "sim-failed",
            Kind::NoRegistration => "no-registration",
            Kind::NoDataSession => "no-data-session",
            Kind::DnsFailed => "dns-failed",
            Kind::ConnectFailed => "connect-failed",
            Kind::TlsFailed => "tls-failed",
            Kind::ModemSilent => "modem-silent",
            Kind::ModemLost => "modem-lost",
            Kind::StreamCut => "stream-cut",
            Kind::DrainTimeout => "drain-timeout",
            Kind::Signal(_) => "signal",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
