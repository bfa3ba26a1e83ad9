//! A running daemon, queried and controlled from outside: end to end with the emulated modem.
//!
//! Each file tests one behaviour. They are one test binary, which links once.

mod daemon;

mod activation;
mod at;
mod budget;
mod certificate_files;
mod channels;
mod connect;
mod escapes;
mod fleet;
mod flood;
mod growth;
mod limits;
mod metrics;
mod notify;
mod outages;
mod recorder;
mod reload;
mod replay;
mod sandbox;
mod status;
mod traffic;
mod warm;
mod watch;
