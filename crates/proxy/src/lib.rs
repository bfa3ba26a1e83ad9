//! What a client says that chooses its target itself: SOCKS5 (RFC 1928 and 1929) or HTTP CONNECT (RFC 9110, 9.3.6).
//! No I/O, no clock.
//!
//! ```text
//!   client ── bytes ──► Handshake::receive ──► Then::Request(target)   the caller opens a connection to it
//!          ◄── answer ──┘              │       Then::Refused           the caller closes after the answer
//!          ◄── Handshake::reply(outcome), once it is decided whether that connection is open
//! ```
//!
//! Written here and not by a library, because none for both protocols does without I/O, and the wire formats are small. The
//! fuzz target `proxy` cuts them into any pieces.
//!
//! A name is passed on as it is: nothing is looked up here. Bytes that follow the request are the client's payload, and
//! are kept for [`Handshake::take_early`].

mod allowed;
mod credentials;
mod http;
mod socks5;

use std::fmt;
use std::sync::Arc;

pub use allowed::{AllowedTarget, AllowedTargetError};
pub use credentials::{Credentials, CredentialsError};
use qssl_core::settings::Target;

/// Which protocol clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// SOCKS5
    Socks5,
    /// HTTP CONNECT
    Http,
    /// whichever the first byte shows
    Auto,
}

/// What follows from what was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeStep {
    /// To be sent to the client now; may be empty.
    pub answer: Vec<u8>,
    /// What is next.
    pub then: Then,
}

/// What is next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// More bytes are needed.
    More,
    /// The client wants a connection to this target. [`Handshake::reply`] answers it.
    Request(Target),
    /// The client is refused, for this reason: lower case, no full stop.
    Refused(&'static str),
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The connection is open.
    Open,
    /// The target is not allowed.
    NotAllowed,
    /// Its name is unknown, or no way leads to it.
    HostUnreachable,
    /// There is no network.
    NetworkUnreachable,
    /// The server refused the connection, or its TLS.
    Refused,
    /// No answer came in time.
    TimedOut,
    /// No connection is free.
    Busy,
    /// The modem is not ready.
    NotReady,
    /// Anything else.
    Failed,
}

/// The beginning of a client's connection, until its request is answered. `Debug` shows how much is held, but not what:
/// a password can be in it.
pub struct Handshake {
    state: HandshakeState,
    /// Received, and not used yet.
    held: Vec<u8>,
    /// Who may use the proxy; `None`: anyone.
    credentials: Option<Arc<Credentials>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandshakeState {
    /// Nothing has been received: the first byte shows the protocol.
    Unknown,
    Socks5(socks5::Stage),
    Http,
    /// The request came.
    Asked(Spoken),
    /// The client was refused: nothing more is read.
    Over,
}

/// The protocol of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Socks5,
    Http,
}

impl Handshake {
    /// A client from which nothing has been received.
    pub fn new(protocol: Protocol, credentials: Option<Arc<Credentials>>) -> Self {
        let state = match protocol {
            Protocol::Socks5 => HandshakeState::Socks5(socks5::Stage::Greeting),
            Protocol::Http => HandshakeState::Http,
            Protocol::Auto => HandshakeState::Unknown,
        };
        Handshake { state, held: Vec::new(), credentials }
    }

    /// How many bytes [`Handshake::receive`] takes now; 0 once the client has asked or was refused.
    pub fn room(&self) -> usize {
        match self.state {
            HandshakeState::Asked(_) | HandshakeState::Over => 0,
            _ => HELD_MAX_BYTES - self.held.len(),
        }
    }

    /// Bytes came, no more than [`Handshake::room`].
    pub fn receive(&mut self, bytes: &[u8]) -> HandshakeStep {
        let bytes = &bytes[..bytes.len().min(self.room())];
        let length = self.held.len() + bytes.len();
        if length > self.held.capacity() {
            // A vector that grows by itself may double beyond the limit.
            let capacity = (2 * length).min(HELD_MAX_BYTES);
            self.held.reserve_exact(capacity - self.held.len());
        }
        self.held.extend_from_slice(bytes);
        let mut answer = Vec::new();
        let then = self.advance(&mut answer);
        if matches!(then, Then::Refused(_)) {
            self.state = HandshakeState::Over;
            self.held = Vec::new();
        }
        HandshakeStep { answer, then }
    }

    fn advance(&mut self, answer: &mut Vec<u8>) -> Then {
        if self.state == HandshakeState::Unknown {
            self.state = match self.held.first() {
                None => return Then::More,
                Some(&socks5::VERSION) => HandshakeState::Socks5(socks5::Stage::Greeting),
                Some(byte) if byte.is_ascii_alphabetic() => HandshakeState::Http,
                Some(_) => return Then::Refused("it speaks neither SOCKS5 nor HTTP"),
            };
        }
        let credentials = self.credentials.as_deref();
        let heard = match &mut self.state {
            HandshakeState::Socks5(stage) => stage.hear(&mut self.held, credentials, answer),
            HandshakeState::Http => http::hear(&mut self.held, credentials, answer),
            HandshakeState::Unknown | HandshakeState::Asked(_) | HandshakeState::Over => return Then::More,
        };
        match heard {
            // What is held can never become a request.
            Then::More if self.held.len() >= HELD_MAX_BYTES => {
                if self.state == HandshakeState::Http {
                    http::answer(http::Status::TooLarge, answer);
                }
                Then::Refused("its request is too long")
            }
            Then::Request(target) => {
                self.state = HandshakeState::Asked(match self.state {
                    HandshakeState::Socks5(_) => Spoken::Socks5,
                    _ => Spoken::Http,
                });
                Then::Request(target)
            }
            heard => heard,
        }
    }

    /// The answer to the request.
    pub fn reply(&self, outcome: RequestOutcome) -> Vec<u8> {
        let mut answer = Vec::new();
        match self.state {
            HandshakeState::Asked(Spoken::Socks5) => socks5::reply(outcome, &mut answer),
            HandshakeState::Asked(Spoken::Http) => http::reply(outcome, &mut answer),
            _ => {}
        }
        answer
    }

    /// What the client has sent after its request: the first bytes of its connection.
    pub fn take_early(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Handshake { state, held, credentials } = self;
        f.debug_struct("Handshake")
            .field("state", state)
            .field("held_bytes", &held.len())
            .field("credentials", credentials)
            .finish()
    }
}

/// The most bytes that are held of a client: a request, and payload that follows it at once.
pub const HELD_MAX_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests;
