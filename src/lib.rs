//! Bridges local TCP to TLS connections made inside a Quectel cellular modem.
//!
//! This crate is the program: everything that touches the system. The AT conversation, the scheduling and the
//! relay are in [`qssl_core`], which does no I/O. A drawing of the whole is there.
//!
//! # Code map
//!
//! Calls go one way: main → commands → event_loop → (clients, qssl_core, ports, daemon). Facts come back as return values and polled outputs.
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`] | The command line: the clap definition and nothing else |
//! | `clients` | Clients: listening sockets, streams, and who the peers are |
//! | [`commands`] | The subcommands of `qssl-tunnel`, with a file for each |
//! | [`config`] | The checked configuration: plain data that the rest of the program reads and does not check again |
//! | [`daemon`] | What a service has besides modem and clients: control, status, metrics, service manager, data usage, log, exit status |
//! | `event_loop` | The event loop: it waits, reads the clock, and moves bytes between the system and the core |
//! | `main` | Arguments → command → exit status, nothing else |
//! | [`ports`] | Ports: the ways to reach the modem, with non-blocking bytes and a few control lines |
//! | [`terminal`] | What an output can show: its width, whether it takes more than ASCII, and which characters must not reach it |

pub mod cli;
mod clients;
pub mod commands;
pub mod config;
pub mod daemon;
mod event_loop;
pub mod ports;
pub mod terminal;
