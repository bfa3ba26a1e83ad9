//! An emulated Quectel cellular modem with real TLS, for testing without hardware.
//!
//! The core is a state machine without I/O, clock or threads: bytes go in by [`Modem::received`], come out
//! by [`Modem::output`], time is an argument, and the world beyond the antenna is a [`network::Network`]
//! that the caller gives. With [`network::simulated`] it runs in simulated time.
//!
//! It is an independent reading of the manuals and shares no code with the tunnel it tests, so that one
//! misreading cannot hide on both sides. By default it is strict: what the manuals refuse is an error, and
//! what they leave open is documented where it is decided. What real modules do differently is a switch in
//! [`Quirks`].
//!
//! Where to look:
//! - [`modem`]: the parts, the interface, the order in which things happen; [`config`], [`quirks`], [`facts`]; `module`:
//!   files about modules
//! - `at_port`, `input`, `parser`, `execution`: a port, from bytes to commands and back to answers
//! - `commands`: what each command does
//! - `mux`: a UART that carries four conversations (AT+CMUX)
//! - `socket`, `connections`, `delivery`, `transparent`: connections, and how their bytes reach the host
//! - `session`, `ssl_settings`: what a reboot resets; `power`, `events`: boot, power-down, and scheduled events
//! - `interventions`, `faults`: what a test can do to a modem, and the faults that it sets; `control`: what a user can
//! - `store`, `time`, `result_code`, `buffer`, `queue`: files, clock, numbers and words, bytes
//! - [`mod@line`], [`network`]: a serial line and the world beyond the antenna

mod at_port;
mod buffer;
#[cfg(feature = "program")]
pub mod cli;
mod commands;
pub mod config;
mod connections;
#[cfg(feature = "program")]
pub mod control;
mod delivery;
#[cfg(feature = "program")]
pub mod driver;
mod events;
mod execution;
pub mod facts;
mod faults;
mod input;
mod interventions;
pub mod line;
pub mod modem;
#[cfg(feature = "program")]
pub mod module;
mod mux;
pub mod network;
mod parser;
mod power;
mod queue;
pub mod quirks;
pub mod replay;
mod result_code;
mod session;
mod socket;
mod ssl_settings;
mod store;
#[cfg(feature = "openssl")]
pub mod test_server;
#[cfg(test)]
mod testing;
mod time;
mod transparent;

pub use config::{Cell, Config, Family, PortName, Registration, Sim, TimeService};
pub use modem::{Counters, FlowControl, Modem, ModemLines};
pub use mux::{ChannelView, MuxView};
pub use quirks::Quirks;
