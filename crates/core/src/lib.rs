//! TLS connections made inside a Quectel cellular modem, as a sans-IO core: no I/O, no clock, no threads.
//!
//! Clients are on the left, the modem is on the right, and the program that uses this crate carries the bytes
//! and passes the time. `qssl-tunnel` is such a program; `examples/minimal.rs` is one in some hundred lines.
//!
//! ```text
//!    clients                     the core: no I/O, no clock, no threads                               modem
//!                 ┌────────────────────────────────────────────────────────────────────────────┐
//!   TCP  ───────► │ Relay           Modem                                                      │
//!   Unix          │  Client ─attached─ Socket ── needs ──► next_command ──► Channel ──► Command  │ ───► Port ───► UART, USB,
//!   stdio ◄────── │  waiting          outgoing (bounded)  (the only        Message ◄── Decoder │ ◄───           RFC 2217, TCP,
//!                 │  half-close       incoming (bounded)   scheduler)      Stream            │                emulator
//!                 └────────────────────────────────────────────────────────────────────────────┘
//!                              ▲ now              │ next_deadline, poll_action
//!                          ┌───┴──────────────────▼───┐
//!                          │        event_loop        │   mio::Poll, one thread
//!                          └──────────────────────────┘
//! ```
//!
//! # How it is used
//!
//! A program makes one [`Relay`] from its [`Settings`], and then goes round in a loop:
//!
//! 1. What happened is passed on: [`Relay::handle`] takes an [`Input`], [`Relay::client_accepted`] a new client.
//! 2. Bytes are moved. What a port or a client sends goes to [`Relay::port_received`] and [`Relay::client_received`],
//!    at most as many bytes as [`Relay::wants_port_bytes`] and [`Relay::wants_client_bytes`] allow. What is to be sent
//!    is in [`Relay::port_output`] and [`Relay::client_output`]; [`Relay::port_written`] and [`Relay::client_written`]
//!    take how much of it was.
//! 3. What [`Relay::poll_action`] asks for is done: an [`Action`], of which a [`ModemAction`] concerns ports and clock.
//! 4. When neither bytes nor actions are left, the program sleeps until something happens or [`Relay::next_deadline`]
//!    comes, which is an [`Input`] as well.
//!
//! In a tunnel that carries datagrams ([`settings::Tunnel::carries_datagrams`]), a client is an address that sent one. What is
//! passed to [`Relay::client_received`] is one datagram, at any time, and so is what is in [`Relay::client_output`].
//!
//! ```
//! # use std::time::Instant;
//! use qssl_core::{Action, Input, ModemAction, PortFacts, PortInput, Relay, Settings};
//!
//! let mut now = Instant::now();
//! let mut relay = Relay::new(Settings::default(), now);
//! assert_eq!(relay.poll_action(), Some(Action::Modem(ModemAction::OpenPort(0))));
//! relay.handle(Input::Port(0, PortInput::Opened(PortFacts::default())), now);
//! // The port has to be quiet before the modem is asked; here time passes as fast as it is given.
//! while relay.port_output(0).is_empty() {
//!     now = relay.next_deadline().expect("something is waited for");
//!     relay.handle(Input::Deadline, now);
//! }
//! assert_eq!(relay.port_output(0), b"AT\r");
//! ```
//!
//! # Words
//!
//! *Client*: a local connection that we accepted. *Tunnel*: listening addresses, their target, mode and TLS settings.
//! *Datagram session*: a client whose messages keep their boundaries. *Port*: a way to reach the modem. *Channel*: one AT
//! conversation, on a whole port or on one channel of a line with several (CMUX). *Socket*: one connection in the modem
//! (Quectel's `clientID` or `connectID`). *Stream*: a connection that has a channel to itself, in transparent mode.
//! *Profile*: what this module can do. *Command*: what we send. *Message*: what the modem sends.
//!
//! # Code map
//!
//! Calls go one way: relay → modem → socket → at. Facts come back as return values and polled outputs.
//!
//! | module | what it is |
//! |---|---|
//! | [`at`] | The language of the modem: command → bytes, bytes → message |
//! | `byte_queue` | A byte queue with a limit |
//! | `channel` | One AT conversation: a port, at most one command in flight, and the bytes that wait to leave |
//! | [`cmux`] | The multiplexer: up to four channels on one serial line (TS 27.010, basic option), the host's side |
//! | `error` | Kinds of failure and of endings: how programs distinguish them |
//! | `failure` | Why the modem cannot do what it was asked: words for people, and the kind for scripts |
//! | `fair_queue` | Whose turn it is: start-time fair queueing over the flows of one modem |
//! | [`fleet`] | Several modems side by side: which of them a new client goes to |
//! | `input` | What can happen to the core, beside bytes that move: the one entrance, for event loop, simulation and fuzzing alike |
//! | [`modem`] | One modem: its channels and sockets, the data session that carries them, and which command is next |
//! | `profile` | What this module can do: learnt from its own answers, with the manuals' tables as the fallback |
//! | `queue` | What waits in a connection: bytes, or datagrams, which keep their boundaries |
//! | [`radio`] | What a modem reports about its network and its cell: which questions there are, when the next may be asked, and what is known |
//! | [`recorder`] | The flight recorder: the last messages on a port, kept in memory as readable text |
//! | `recovery` | The recovery ladder: what is tried when a modem misbehaves, mildest first |
//! | [`relay`] | Clients attached to sockets: waiting for one, half-closes, ends, and every limit of time |
//! | [`settings`] | What the core takes: tunnels, the modem, TLS, limits |
//! | `setup` | From a modem that answers to a data session that carries sockets: one step after another |
//! | `shared_port` | A port whose line carries several channels (CMUX): to the modem, each channel is a port |
//! | `socket` | One socket: a TLS connection in the modem, from the moment its number is taken until the modem confirms that it is free |
//!
//! # Invariants
//!
//! - Calls into the core take the time as an argument. After each, bytes and actions are drained until
//!   neither has work; then, and only then, the loop sleeps until `next_deadline`.
//! - One command is in flight per channel, and each has a deadline. Data follows only a prompt, exactly as
//!   many bytes as announced.
//! - Payload is framed by its announced length and by nothing else.
//! - A datagram is carried whole or not at all, and never twice. What is dropped is counted by cause.
//! - Bytes leave a socket's outgoing queue only when the module has answered `SEND OK`. After `SEND FAIL` the
//!   same bytes are sent again; after anything else the stream is broken, and nothing is sent again.
//! - A client reads an end of file only if the modem confirmed, when asked, that the socket is not connected, nothing
//!   known contradicts it, and every byte that came was delivered. Every other end is a reset.
//! - A socket's number is given out again only when the modem has reported on every channel that it is free.
//! - Every queue, line, wait and retry has a named limit.

// What is hidden here is for the other crates of this project, which look further in than a user needs to.
#[doc(hidden)]
pub mod at;
mod byte_queue;
mod channel;
#[doc(hidden)]
pub mod cmux;
mod error;
mod failure;
mod fair_queue;
#[doc(hidden)]
pub mod fleet;
mod input;
#[doc(hidden)]
pub mod modem;
mod profile;
mod queue;
#[doc(hidden)]
pub mod radio;
#[doc(hidden)]
pub mod recorder;
mod recovery;
#[doc(hidden)]
pub mod relay;
pub mod settings;
mod setup;
mod shared_port;
mod socket;
#[cfg(test)]
mod test_clock;

pub use error::Kind;
pub use failure::Failure;
pub use input::{ClientId, ClientInput, Input, PortFacts, PortInput};
pub use modem::Action as ModemAction;
pub use relay::{Action, Relay};
pub use settings::Settings;

/// `1 client`, `2 clients`.
#[doc(hidden)]
pub fn counted<N: std::fmt::Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Sorts a few items, in place: `is_before` says whether the first of two comes before the second. The library's sorts are
/// quick for many items, and take 3 KB of code for each type.
#[doc(hidden)]
pub fn sort_few<T>(items: &mut [T], is_before: impl Fn(&T, &T) -> bool) {
    for end in 1..items.len() {
        let mut at = end;
        while at > 0 && is_before(&items[at], &items[at - 1]) {
            items.swap(at, at - 1);
            at -= 1;
        }
    }
}
