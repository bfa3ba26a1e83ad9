//! The ports of the emulated modem, used as programs on the host use them.
//!
//! One kind of port a file, one test binary, so that it links once.

#![cfg(feature = "program")]

mod control;
mod dialogue;
mod host;
mod plain;
mod pty;
mod replay;
mod rfc2217;
