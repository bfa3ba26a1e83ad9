//! Bridges local TCP to TLS connections made inside a Quectel cellular modem.
//!
//! This crate is the program: everything that touches the system. The AT conversation, the scheduling and the relay are
//! in [`qssl_core`], which does no I/O; the drawing of the whole stands there.
//!
//! # Code map
//!
//! Calls go one way: event_loop → qssl_core. Facts come back as return values and polled outputs.
//!
//! | module | what it is |
//! |---|---|
//! | [`activation`] | A process to which systemd has passed sockets, and which cannot serve them |
//! | [`certificates`] | `qssl-tunnel cert`: the certificates and keys that are stored in the modem |
//! | [`cli`] | The command line: the clap definition and nothing else |
//! | [`client_io`] | The client's side as bytes: a TCP or Unix connection that was accepted, or standard input and output |
//! | [`config`] | What the user wants, checked: plain data that the rest of the program reads and never doubts |
//! | [`control`] | The control socket: how other programs see and steer a running daemon |
//! | [`conversation`] | Commands and answers with a modem from outside the tunnels, as `doctor`, `cert` and `at` need them |
//! | `demo` | `qssl-tunnel demo`: a verified tunnel with everything it needs on this machine, and a transfer through it |
//! | [`doctor`] | `qssl-tunnel doctor`: why a modem does not connect, step by step from the port to TLS |
//! | [`dump`] | The traffic of clients as seen by people and tools: `-x` prints it in hexadecimal, `-r` and `-R` record the two directions as they are |
//! | [`event_loop`] | The only place that waits, reads the clock, or moves bytes between the system and the heart |
//! | [`exit_status`] | The exit statuses: one table of numbers, stable short ids, and meanings |
//! | [`inquiry`] | `qssl-tunnel status` and `qssl-tunnel at`: questions to a running daemon, or to the modem itself where none runs; and `qssl-tunnel connect` where a daemon has a tunnel to the server |
//! | [`listener`] | Where clients come in: listening TCP and Unix sockets, our own or passed by systemd |
//! | [`logging`] | Log lines on standard error: `2026-11-21T10:00:00.123Z info  message`, or `<6>message` where standard error is the journal, which has a clock and levels of its own |
//! | `main` | Arguments → configuration → run → exit status, nothing else |
//! | [`notify`] | Tells the service manager how the daemon is: the datagrams of sd_notify(3), which systemd and others read from the socket that NOTIFY_SOCKET names |
//! | [`peer`] | Who is at the other end of a client's connection, and whether it is still there |
//! | [`port`] | Ports: the ways to reach the modem, each as non-blocking bytes with a few lines beside them |
//! | [`sim_pin`] | The PIN that a SIM has refused, kept over restarts as a salted hash: a second try by the next process, and a third, would lock the SIM |
//! | [`status`] | How the daemon and its modem are, as plain data: what `qssl-tunnel status` shows |
//! | [`terminal`] | What the place that text is printed to can show: how wide it is, whether it takes more than ASCII, and what must not reach it |
//! | [`trust`] | Certificates and keys as far as they can be judged on the host: PEM, dates, names, and the host's own trust store |
//! | [`upload_bar`] | How far an upload to the modem is: a bar, if standard error is a terminal |
//! | [`volume`] | How much each tunnel has carried on each day, kept over restarts, and the budget of a calendar month |

pub mod activation;
pub mod certificates;
pub mod cli;
pub mod client_io;
pub mod config;
pub mod control;
pub mod conversation;
#[cfg(feature = "emulator")]
pub mod demo;
pub mod doctor;
pub mod dump;
pub mod event_loop;
pub mod exit_status;
pub mod inquiry;
pub mod listener;
pub mod logging;
pub mod notify;
pub mod peer;
pub mod port;
pub mod sim_pin;
pub mod status;
pub mod terminal;
pub mod trust;
pub mod upload_bar;
pub mod volume;
