//! Bridges local TCP to TLS connections made inside a Quectel cellular modem.

pub mod at;
pub mod buffer;
pub mod config;
