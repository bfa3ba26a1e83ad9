//! A Quectel cellular modem with real TLS behind it, for testing without one.
//!
//! The core is a state machine without I/O, clock or threads: bytes go in by [`Modem::received`], come out
//! by [`Modem::output`], time is an argument, and the world beyond the antenna is a [`network::Network`]
//! that the caller gives. With [`network::simulated`] it runs in simulated time.
//!
//! It is an independent reading of the manuals and shares no code with the tunnel it tests, so that one
//! misreading cannot hide on both sides. By default it is strict: what the manuals refuse is an error, and
//! what they leave open is documented where it is decided. What real modules do differently is a switch in
//! [`Quirks`].

mod at_port;
#[cfg(feature = "program")]
pub mod cli;
mod commands;
pub mod config;
mod connections;
mod delivery;
#[cfg(feature = "program")]
pub mod driver;
mod execution;
mod faults;
mod input;
pub mod line;
pub mod modem;
pub mod network;
mod parser;
mod power;
mod queue;
pub mod quirks;
mod result_code;
mod session;
mod socket;
mod store;
#[cfg(feature = "openssl")]
pub mod test_server;
#[cfg(test)]
mod testing;
mod time;
mod transparent;

pub use config::{Config, Family, PortName, Registration, Sim};
pub use modem::{Counters, FlowControl, Modem, ModemLines};
pub use quirks::Quirks;
