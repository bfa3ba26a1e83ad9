//! A process to which systemd has passed sockets, and which cannot serve them.
//!
//! A client that waits on such a socket makes systemd start the service again at once. With a configuration that is
//! refused every start fails, and after some twenty starts within two seconds systemd closes the socket for good.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clients::listener::{self, Listener};

/// Resets every client that connects to the sockets that systemd has passed, for `TURNING_AWAY`: no waiting
/// client is left to start the service again, and clients that come one after the other start it once in that
/// time. Returns at once where no socket was passed.
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
        // An interruption is a turn of the loop like any other.
        let _ = poll(&mut waiting, Some(&timeout));
        for listener in &listeners {
            turn_away(listener);
        }
    }
}

fn turn_away(listener: &Listener) {
    for _ in 0..CLIENTS_MAX {
        match listener.accept() {
            Ok(Some((client, _))) => client.abort(),
            _ => return,
        }
    }
}

/// How long clients are turned away. Below one second, of which [`Timespec`] holds the nanoseconds.
const TURNING_AWAY: Duration = Duration::from_millis(999);

/// The most clients of one socket that are turned away before the clock is looked at.
const CLIENTS_MAX: usize = 1024;
