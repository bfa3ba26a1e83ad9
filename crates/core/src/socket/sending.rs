//! Sending: what has been taken, and the pause after SEND FAIL.

use std::time::{Duration, Instant};

use super::{Phase, Socket};
use crate::failure::Cut;

/// The pause after SEND FAIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backoff {
    /// When to send again.
    pub(super) at: Instant,
    /// The pause, doubled each time.
    pause: Duration,
    /// The first of these SEND FAILs in a row.
    since: Instant,
    /// The last failed send, while the module may have taken its bytes after all: until it has answered a command that
    /// was sent after the time in which `SEND OK` can follow.
    failed: Option<FailedSend>,
}

/// A send that was answered with SEND FAIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedSend {
    /// The channel of the command.
    pub port: usize,
    /// Its bytes.
    pub length: usize,
    /// When it failed.
    at: Instant,
}

impl FailedSend {
    /// The answer to a command that is sent on its channel after this time shows that no `SEND OK` follows.
    pub fn settles_at(&self) -> Instant {
        self.at + SEND_OK_LATE_MAX
    }
}

impl Backoff {
    /// What remains of it for the number's next connection: a `SEND OK` that may still come belongs to the old one.
    pub(super) fn of_next_connection(self) -> Option<Backoff> {
        self.failed.map(|failed| Backoff {
            at: failed.at + BACKOFF_MIN,
            pause: BACKOFF_MIN,
            since: failed.at,
            failed: Some(FailedSend { length: 0, ..failed }),
        })
    }
}

impl Socket {
    /// Whether AT+QSSLSEND may be sent for it now.
    pub fn wants_to_send(&self, now: Instant) -> bool {
        self.busy.is_none()
            && !self.outgoing.is_empty()
            && self.backoff.is_none_or(|backoff| backoff.at <= now && backoff.failed.is_none())
            && self.open().is_some_and(|open| open.far_end().takes_bytes() && !open.flow().is_stream())
    }

    /// `SEND OK`: the module has taken `length` bytes.
    pub fn sent(&mut self, length: usize, now: Instant) {
        if length > 0 {
            self.outgoing.consume(length);
            self.sent_bytes += length as u64;
            match self.is_attached() {
                true => self.sends += 1,
                false => self.late_bytes += length as u64,
            }
        }
        self.backoff = None;
        self.delivery_begins(now);
    }

    /// `length` bytes have left in its stream.
    pub fn stream_sent(&mut self, length: usize) {
        self.outgoing.consume(length);
        self.sent_bytes += length as u64;
    }

    /// SEND FAIL: nothing was taken, unless SEND OK follows soon. An error, once this has gone on for too long.
    pub fn send_failed(&mut self, port: usize, length: usize, now: Instant) -> Result<(), Cut> {
        let (pause, since) = match self.backoff {
            None => (BACKOFF_MIN, now),
            Some(backoff) => ((backoff.pause * 2).min(BACKOFF_MAX), backoff.since),
        };
        let failed = Some(FailedSend { port, length, at: now });
        self.backoff = Some(Backoff { at: now + pause, pause, since, failed });
        match now.saturating_duration_since(since) >= SEND_STUCK_LIMIT {
            true => Err(Cut::SendStuck),
            false => Ok(()),
        }
    }

    /// AT+QSSLSEND was answered with ERROR. None of its bytes is sent again. What the server sent before it closed
    /// may still be under way.
    pub fn send_refused(&mut self) {
        if let Phase::Open(open) = &mut self.phase {
            open.send_refused();
        }
    }

    /// Drops unsent bytes that are not wanted any more.
    pub fn drop_unwanted_bytes(&mut self) {
        if !self.is_attached() && self.open().is_none() {
            self.outgoing.reset();
        }
    }

    /// The failed send on this channel whose bytes may have been taken after all. Its length is 0 if the bytes are not
    /// wanted any more, and so no longer kept.
    pub fn send_just_failed(&self, port: usize) -> Option<FailedSend> {
        let failed = self.backoff?.failed.filter(|it| it.port == port)?;
        let is_kept = self.outgoing.len() >= failed.length;
        Some(FailedSend { length: if is_kept { failed.length } else { 0 }, ..failed })
    }

    /// From when on an answer on its channel settles a failed send: a stream may wait for that.
    pub(super) fn failed_send_settles_at(&self) -> Option<Instant> {
        Some(self.backoff?.failed?.settles_at())
    }

    /// Whether the same bytes are sent again as soon as this channel answers. If a `SEND OK` is under way, it arrives
    /// before that answer, however slow the line is.
    pub fn awaits_send_ok(&self, port: usize, now: Instant) -> bool {
        let is_due =
            |backoff: &Backoff| backoff.at <= now && backoff.failed.is_some_and(|it| it.port == port);
        self.open().is_some() && !self.outgoing.is_empty() && self.backoff.is_some_and(|it| is_due(&it))
    }

    /// Whether answers to other commands matter to it: a send has failed.
    pub fn waits_after_failed_send(&self) -> bool {
        self.backoff.is_some()
    }

    /// The module has answered a command that was sent on this channel at `asked_at`. If that took long, it was busy,
    /// and what it had to do before may still be to be done: it is asked once more, for some time.
    pub fn answered_on(&mut self, port: usize, asked_at: Instant, now: Instant) {
        let is_late = |failed: &FailedSend| {
            now.saturating_duration_since(asked_at) > SEND_OK_LATE_MAX
                && asked_at < failed.at + STANDS_STILL_MAX
        };
        if let Some(backoff) = &mut self.backoff {
            backoff.failed.take_if(|it| it.port == port && it.settles_at() <= asked_at && !is_late(it));
        }
    }
}

/// SEND OK can follow SEND FAIL within this time: then the bytes were taken. The line's time comes on top.
const SEND_OK_LATE_MAX: Duration = Duration::from_millis(500);

/// After a failed send, a module whose answers come late is asked again for this long.
const STANDS_STILL_MAX: Duration = Duration::from_secs(10);

/// The pause before the same bytes are sent again, doubled each time.
pub(super) const BACKOFF_MIN: Duration = SEND_OK_LATE_MAX;
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// After SEND FAILs without progress for this long the stream counts as broken.
pub const SEND_STUCK_LIMIT: Duration = Duration::from_secs(120);
