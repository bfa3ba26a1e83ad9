//! The end of a process that cannot serve the sockets that systemd has passed to it.
//!
//! A client that waits on such a socket makes systemd start the service again at once. If the configuration is invalid,
//! every start fails, and after about twenty starts within two seconds systemd closes the socket permanently.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clients::listener::{self, Listener};

/// Resets every client that connects to the sockets that systemd has passed, and drops datagrams, for `TURNING_AWAY`. Then no waiting
/// client starts the service again at once, and clients that keep connecting start it only once in that time.
/// Returns at once if no socket was passed.
#[allow(clippy::disallowed_methods, reason = "the process is about to end: there is no event loop")]
pub fn turn_clients_away() {
    let listeners = listener::all_passed();
    let until = Instant::now() + TURNING_AWAY;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if listeners.is_empty() || left.is_zero() {
            return;
        }
        let mut waiting: Vec<PollFd<'_>> =
            listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)).collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
        // After an interruption the loop goes on.
        let _ = poll(&mut waiting, Some(&timeout));
        for listener in &listeners {
            turn_away(listener);
        }
    }
}

fn turn_away(listener: &Listener) {
    for _ in 0..CLIENTS_MAX {
        if let Some(socket) = listener.datagrams() {
            match socket.recv_from(&mut []) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                _ => continue,
            }
        }
        match listener.accept() {
            Ok(Some((client, _))) => client.abort(),
            _ => return,
        }
    }
}

/// How long clients are turned away. It is below one second, so that nanoseconds alone can express it.
const TURNING_AWAY: Duration = Duration::from_millis(999);

/// The most clients or datagrams of one socket that are turned away before the clock is read again.
const CLIENTS_MAX: usize = 1024;
