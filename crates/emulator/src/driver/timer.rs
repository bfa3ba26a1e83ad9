//! A timer with the kernel's resolution: mio's own time-outs are whole milliseconds, and at 921600 baud a
//! millisecond is 92 bytes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// A timer that wakes a poll.
pub(super) struct Timer {
    descriptor: OwnedFd,
    set_for: Option<Instant>,
}

impl Timer {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&descriptor.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Timer { descriptor, set_for: None })
    }

    /// Wakes the poll at `deadline`, or not at all.
    pub(super) fn set(&mut self, deadline: Option<Instant>, now: Instant) -> io::Result<()> {
        if deadline == self.set_for {
            return Ok(());
        }
        self.set_for = deadline;
        let remaining = match deadline {
            // Zero would switch the timer off.
            Some(deadline) => deadline.saturating_duration_since(now).max(Duration::from_nanos(1)),
            None => Duration::ZERO,
        };
        let it_value =
            Timespec::try_from(remaining).map_err(|_| io::Error::other("deadline out of range"))?;
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Itimerspec { it_interval, it_value };
        timerfd_settime(self.descriptor.as_fd(), TimerfdTimerFlags::empty(), &value)?;
        Ok(())
    }

    /// The timer has woken the poll: it is no longer set.
    pub(super) fn rang(&mut self) {
        self.set_for = None;
    }
}
