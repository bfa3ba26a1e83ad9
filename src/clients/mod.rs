//! Clients: listening sockets, streams, and who the peers are.

pub mod listener;
pub mod peer;
pub mod stream;
