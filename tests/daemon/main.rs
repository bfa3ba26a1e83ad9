//! A running daemon, seen and steered from outside: end to end on the emulated modem.
//!
//! One behaviour a file, one test binary, so that it links once.

mod daemon;

mod activation;
mod at;
mod budget;
mod certificate_files;
mod connect;
mod escapes;
mod flood;
mod growth;
mod limits;
mod notify;
mod outages;
mod recorder;
mod reload;
mod replay;
mod status;
mod traffic;
