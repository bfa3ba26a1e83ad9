//! The world beyond the modem's antenna, as its core sees it.
//!
//! The core opens connections and moves their bytes and datagrams. The caller chooses the network: `simulated` for tests in
//! simulated time, `real` for OpenSSL, TCP and UDP.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

#[cfg(feature = "openssl")]
pub mod real;
pub mod simulated;

/// Names one connection. The core never uses a number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Connections, and the few other services a modem uses of its network.
///
/// Nothing here blocks. The caller drives the network and then calls `Modem::network_changed`, upon which the
/// core asks about its connections again.
pub trait Network {
    /// Starts a connection; its outcome is seen through [`Network::state`].
    fn open(&mut self, id: ConnectionId, request: OpenRequest, now: Instant);

    /// How far the connection is.
    fn state(&mut self, id: ConnectionId, now: Instant) -> ConnectionState;

    /// Hands bytes to the connection and returns how many it took; 0 when its send buffer is full.
    fn send(&mut self, id: ConnectionId, bytes: &[u8], now: Instant) -> usize;

    /// Takes received bytes. What is not taken stays in the connection, whose receive window then fills up
    /// and stops the server.
    fn receive(&mut self, id: ConnectionId, buffer: &mut [u8], now: Instant) -> Received;

    /// Hands over one datagram of a [`Transport`] that has them, to the server or, of a service, to this address; false
    /// while there is no room for it. A network without datagrams loses it.
    fn send_datagram(
        &mut self,
        _id: ConnectionId,
        _bytes: &[u8],
        _to: Option<SocketAddr>,
        _now: Instant,
    ) -> bool {
        true
    }

    /// Takes a received datagram. Those that are not taken may be dropped.
    fn receive_datagram(&mut self, _id: ConnectionId, _now: Instant) -> Arrival {
        Arrival::Nothing
    }

    /// How many bytes were handed over and still take room in the send buffer.
    fn unsent(&mut self, id: ConnectionId, now: Instant) -> usize;

    /// How many bytes of a TCP connection were handed over and have not yet been acknowledged by the server's side.
    fn unacknowledged(&mut self, id: ConnectionId, now: Instant) -> usize {
        self.unsent(id, now)
    }

    /// Ends the connection: orderly (close_notify, FIN) or at once (RST). The id is forgotten.
    fn close(&mut self, id: ConnectionId, how: Close, now: Instant);

    /// Starts to look up a name, which may be an address; [`Network::looked_up`] shows what was found. The id is one of its
    /// own.
    fn look_up(&mut self, _id: ConnectionId, _host: &str, _now: Instant) {}

    /// The addresses that a look-up has found, none if it failed; `None` while it is under way. The id is forgotten with
    /// the result. A network without names finds none.
    fn looked_up(&mut self, _id: ConnectionId, _now: Instant) -> Option<Vec<IpAddr>> {
        Some(Vec::new())
    }

    /// The time now in seconds since 1970, for AT+QNTP and AT+QLTS; `None` where there is no such service.
    fn time(&mut self, server: &str, now: Instant) -> Option<i64>;

    /// The earliest time at which something may happen without an event; `None` if there is none.
    fn next_deadline(&self) -> Option<Instant>;
}

/// The kind of connection to make.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    /// Name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The TLS settings in force at this moment; `None` asks for a plain connection.
    pub tls: Option<TlsParameters>,
    /// What carries it.
    pub transport: Transport,
    /// Our port of datagrams; 0 lets the network choose.
    pub local_port: u16,
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Transport {
    /// A stream of bytes.
    #[default]
    Tcp,
    /// Datagrams to and from one server.
    Udp,
    /// Datagrams to and from anyone; host and port of the request mean nothing.
    UdpService,
}

/// The settings of an SSL context, with the contents of its files and the modem's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsParameters {
    /// Value of "sslversion": 0 SSL 3.0, 1 TLS 1.0, 2 TLS 1.1, 3 TLS 1.2, 4 all.
    pub version: u8,
    /// Value of "dtlsversion", which counts over datagrams: 0 DTLS 1.0, 1 DTLS 1.2, 2 all.
    pub dtls_version: u8,
    /// The suites to offer, by their registered codes; never empty ("all" is spelled out by the core).
    pub cipher_suites: Vec<u16>,
    /// Value of "seclevel".
    pub security_level: u8,
    /// Contents of the CA files.
    pub authorities: Vec<Vec<u8>>,
    /// Contents of the client certificate file.
    pub client_certificate: Option<Vec<u8>>,
    /// Contents of the client key file.
    pub client_key: Option<Vec<u8>>,
    /// Password of the client key.
    pub client_key_password: Option<String>,
    /// Whether to send the server's name.
    pub sni: bool,
    /// The protocol to offer; empty for none.
    pub alpn: String,
    /// Identity and key.
    pub psk: Option<(String, String)>,
    /// Which SSL context this is, so that sessions are resumed within it only; `None` switches resumption
    /// off.
    pub session_cache: Option<u8>,
    /// Whether renegotiation by the server is allowed.
    pub renegotiation: bool,
    /// The modem's own clock, in seconds since 1970, against which validity is checked; `None` ignores
    /// validity dates.
    pub check_time: Option<i64>,
    /// Whether the certificate's name must be the host's (the common-name item of "ignorecertitem" where
    /// the family has it).
    pub check_host: bool,
    /// Value of "ignorecertitem".
    pub ignore_items: u32,
    /// Value of "ignoremulticertchainverify".
    pub ignore_chain: bool,
    /// Value of "ignoreinvalidcertsign".
    pub ignore_signature: bool,
    /// Value of "negotiatetime".
    pub negotiate_seconds: u16,
}

/// How far a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Name look-up, TCP or TLS handshake under way.
    Opening,
    /// Ready for bytes. The addresses are for AT+QSSLSTATE.
    Open {
        /// The server's address.
        remote: IpAddr,
        /// Our port.
        local_port: u16,
    },
    /// It was not established.
    Failed(OpenFailure),
}

/// Why a connection was not established.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenFailure {
    /// The name could not be resolved.
    Dns,
    /// TCP was refused or reset.
    Refused,
    /// Our port is taken, or not allowed.
    Bind,
    /// TCP or TLS took too long.
    TimedOut,
    /// The handshake failed; the text shows how.
    Handshake(String),
    /// The server's certificate was not accepted; the text is the reason.
    Verification(String),
    /// A setting cannot be used (a file that is not a certificate, a key that does not fit).
    Setting(String),
}

/// The outcome of a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// This many bytes were put into the buffer; at least one.
    Bytes(usize),
    /// There are no bytes at present.
    Nothing,
    /// The server closed in order, and everything it sent has been taken.
    Ended,
    /// The connection broke, and everything that could still be read has been taken.
    Broken,
}

/// The outcome of a receive of datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// One datagram, perhaps empty, and who sent it.
    Datagram(Vec<u8>, SocketAddr),
    /// There is none at present.
    Nothing,
    /// The server has ended the connection, which only DTLS has.
    Ended,
    /// The connection broke.
    Broken,
}

/// How to end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Send what is unsent, then close_notify and FIN.
    Orderly,
    /// Drop what is unsent and reset.
    Abort,
}
