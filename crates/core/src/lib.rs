//! TLS connections made inside a Quectel cellular modem, as a sans-IO core: no I/O, no clock, no threads.
//!
//! Clients come in on the left, the modem is spoken to on the right, and whoever uses this crate carries the bytes and
//! tells the time. `qssl-tunnel` is such a program; its event loop is the one place there that waits.
//!
//! ```text
//!    clients                     the heart: no I/O, no clock, no threads                              modem
//!                 ┌────────────────────────────────────────────────────────────────────────────┐
//!   TCP  ───────► │ Relay           Modem                                                      │
//!   Unix          │  Client ─attached─ Socket ── needs ──► next_command ──► Channel ──► Command  │ ───► Port ───► UART, USB,
//!   stdio ◄────── │  waiting line     outgoing (bounded)  (the only        Message ◄── Decoder │ ◄───           RFC 2217, TCP,
//!                 │  half-close       incoming (bounded)   scheduler)      Stream            │                emulator
//!                 └────────────────────────────────────────────────────────────────────────────┘
//!                              ▲ now              │ next_deadline, poll_action
//!                          ┌───┴──────────────────▼───┐
//!                          │        event_loop        │   mio::Poll, one thread
//!                          └──────────────────────────┘
//! ```
//!
//! # Words
//!
//! *Client*: a local connection that we accepted. *Tunnel*: listening addresses, their target, mode and TLS
//! settings. *Port*: a way to reach the modem. *Channel*: one AT conversation, on one port. *Socket*: one TLS
//! connection in the modem (Quectel's `clientID`). *Profile*: what this module can do. *Command*: what we say.
//! *Message*: what the modem says.
//!
//! # Code map
//!
//! Calls go one way: relay → modem → socket → at. Facts come back as return values and polled outputs. What happens comes in
//! as [`Input`], bytes as slices; what is to be done is [`relay::Relay::poll_action`].
//!
//! | module | what it is |
//! |---|---|
//! | [`at`] | The language of the modem: command → bytes, bytes → message |
//! | [`byte_queue`] | A byte queue with a limit |
//! | `channel` | One AT conversation on a port: the command in flight, bringing it back to answering, and what it is as a stream |
//! | [`error`] | Kinds of failure and of endings: how one is told from another by programs |
//! | `failure` | Why the modem cannot do what it was asked: words for people and an exit status for scripts |
//! | `fair_queue` | Whose turn it is: start-time fair queueing over the flows of one modem |
//! | `input` | What can happen to the core, beside bytes that move: the one entrance, for event loop, simulation and fuzzing alike |
//! | [`modem`] | One modem: its channels and sockets, the data session that carries them, and what is said next |
//! | `profile` | What this module can do: learnt from its own answers, with the manuals' tables as the fallback |
//! | [`recorder`] | The flight recorder: the last that passed on a port, kept in memory as readable text |
//! | `recovery` | When a modem that does not work is helped, and by how much: the ladder and its pauses |
//! | [`relay`] | Clients attached to sockets: the waiting line, half-closes, ends, and every limit of time |
//! | [`settings`] | What the core takes: tunnels, the modem, TLS, limits |
//! | `socket` | One socket: a TLS connection in the modem, from the moment its number is given out until it is known to be free again |
//!
//! # Invariants
//!
//! - Calls into the heart take the time as an argument. After each, bytes and actions are drained until
//!   neither has work; then, and only then, the loop sleeps until `next_deadline`.
//! - One command is in flight per channel, and each has a deadline. Data follows only a prompt, exactly as
//!   many bytes as announced.
//! - Payload is framed by its announced length and by nothing else.
//! - Bytes leave a socket's outgoing queue only when the module has said `SEND OK`. After `SEND FAIL` the same
//!   bytes are sent again; after anything else the stream is broken, and nothing is sent again.
//! - A client reads an end of file only if the modem said `closed` and confirmed it when asked, nothing known speaks
//!   against it, and every byte that came was delivered. Every other end is a reset.
//! - A socket's number is given out again only when the modem has said on every channel that it is free.
//! - Every queue, line, wait and retry has a named limit.

pub mod at;
pub mod byte_queue;
mod channel;
pub mod error;
mod failure;
mod fair_queue;
mod input;
pub mod modem;
mod profile;
pub mod recorder;
mod recovery;
pub mod relay;
pub mod settings;
mod socket;
#[cfg(test)]
mod test_clock;

pub use input::{ClientInput, Input, PortInput};

/// `1 client`, `2 clients`.
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
