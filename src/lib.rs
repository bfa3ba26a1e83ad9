//! Bridges local TCP to TLS connections made inside a Quectel cellular modem.

pub mod at;
pub mod buffer;
pub mod cli;
pub mod client_io;
pub mod config;
pub mod control;
pub mod conversation;
#[cfg(feature = "emulator")]
pub mod demo;
pub mod dump;
pub mod event_loop;
pub mod exit_status;
pub mod listener;
pub mod logging;
pub mod modem;
pub mod notify;
pub mod peer;
pub mod port;
pub mod recorder;
pub mod relay;
pub mod status;
pub mod trust;
pub mod volume;
