//! A Quectel cellular modem with real TLS behind it, for testing without one.

pub mod network;
