//! What the server has acknowledged of what a plain connection has sent: AT+QISEND=\<id>,0. Of a TLS connection no command
//! tells that.
//!
//! ```text
//!   Known ──── sent ───► Due ── all acknowledged ──► Known
//!                         │ ▲
//!                         └─┘ asked, not all: again after a pause
//!   any ── refused ──► Untold
//! ```

use std::time::{Duration, Instant};

use super::Socket;
use crate::at::CommandSet;
use crate::at::answers::SentCounts;

/// What is known of the delivery of what was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivery {
    /// So many bytes have been acknowledged, as last told.
    bytes: Option<u64>,
    question: DeliveryQuestion,
}

/// Whether the module is to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum DeliveryQuestion {
    /// Nothing has been sent since everything was acknowledged.
    #[default]
    Known,
    /// It is asked at this time, and after a longer pause once more.
    Due {
        at: Instant,
        pause: Duration,
        /// Until when the client, which is done, waits for the answer.
        waits_until: Option<Instant>,
    },
    /// The module does not tell it.
    Untold,
}

impl Delivery {
    fn sent(&mut self, now: Instant) {
        if self.question == DeliveryQuestion::Known {
            self.question =
                DeliveryQuestion::Due { at: now + PAUSE_MIN, pause: PAUSE_MIN, waits_until: None };
        }
    }

    /// The question is due at once.
    pub(super) fn ask_now(&mut self, now: Instant) {
        if let DeliveryQuestion::Due { at, .. } = &mut self.question {
            *at = now;
        }
    }

    /// The client is done. Returns whether it waits, for a limited time, until everything has been acknowledged.
    fn settles(&mut self, limit: Duration, now: Instant) -> bool {
        let DeliveryQuestion::Due { at, pause, waits_until } = &mut self.question else { return false };
        if waits_until.is_none() {
            (*at, *pause) = (now, SETTLING_PAUSE);
        }
        *waits_until.get_or_insert(now + limit) > now
    }

    /// AT+QISEND=\<id>,0 was answered; `sent`: what has been sent by now.
    fn answered(&mut self, counts: Option<SentCounts>, sent: u64, now: Instant) {
        let Some(SentCounts { acknowledged }) = counts else {
            self.question = DeliveryQuestion::Untold;
            return;
        };
        let known = acknowledged.min(sent);
        self.bytes = Some(self.bytes.map_or(known, |before| before.max(known)));
        if self.bytes >= Some(sent) {
            self.question = DeliveryQuestion::Known;
        } else if let DeliveryQuestion::Due { at, pause, .. } = &mut self.question {
            *pause = (*pause * 2).min(PAUSE_MAX);
            *at = now + *pause;
        }
    }

    pub(super) fn is_due(self, now: Instant) -> bool {
        matches!(self.question, DeliveryQuestion::Due { at, .. } if at <= now)
    }

    /// When it is due, or the client no longer waits.
    pub(super) fn deadline(self) -> impl Iterator<Item = Instant> {
        let (at, until) = match self.question {
            DeliveryQuestion::Due { at, waits_until, .. } => (Some(at), waits_until),
            DeliveryQuestion::Known | DeliveryQuestion::Untold => (None, None),
        };
        at.into_iter().chain(until)
    }
}

impl Socket {
    /// What the server has acknowledged of what was sent, as far as the module has told.
    pub fn delivered_bytes(&self) -> Option<u64> {
        self.delivery.bytes
    }

    /// More was sent by a command.
    pub(super) fn delivery_begins(&mut self, now: Instant) {
        // Nobody acknowledges datagrams.
        if self.set == CommandSet::Ip && !self.carries_datagrams() {
            self.delivery.sent(now);
        }
    }

    /// Its client is done. Returns whether it waits, for no longer than `limit`, until the server has acknowledged
    /// everything.
    pub fn awaits_delivery(&mut self, limit: Duration, now: Instant) -> bool {
        self.is_calm() && self.delivery.settles(limit, now)
    }

    /// AT+QISEND=\<id>,0 was answered.
    pub fn delivery_answered(&mut self, counts: Option<SentCounts>, now: Instant) {
        self.delivery.answered(counts, self.sent_bytes, now);
    }
}

/// After the first byte, and after each answer, doubled each time.
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The first pause after an answer where a client waits for it.
const SETTLING_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_clock::now;

    fn told(acknowledged: u64) -> Option<SentCounts> {
        Some(SentCounts { acknowledged })
    }

    #[test]
    fn it_is_asked_after_a_pause_that_grows_until_all_is_acknowledged() {
        let start = now();
        let mut delivery = Delivery::default();
        assert_eq!(delivery.deadline().next(), None, "nothing was sent");
        delivery.sent(start);
        let mut asked = Vec::new();
        for acknowledged in [0, 10, 20, 30, 40, 100] {
            let at = delivery.deadline().next().expect("it is due");
            assert!(!delivery.is_due(at - Duration::from_millis(1)) && delivery.is_due(at));
            delivery.answered(told(acknowledged), 100, at);
            asked.push((at - start).as_secs());
        }
        assert_eq!(asked, [2, 6, 14, 30, 60, 90]);
        assert_eq!((delivery.bytes, delivery.deadline().next()), (Some(100), None));
    }

    #[test]
    fn a_client_that_is_done_waits_for_a_limited_time() {
        let (start, limit) = (now(), Duration::from_secs(10));
        let mut delivery = Delivery::default();
        assert!(!delivery.settles(limit, start), "nothing was sent");
        delivery.sent(start);
        assert!(delivery.settles(limit, start) && delivery.is_due(start));
        delivery.answered(told(1), 100, start);
        assert!(delivery.settles(limit, start + limit - Duration::from_millis(1)));
        assert!(!delivery.settles(limit, start + limit), "the server takes nothing");
        delivery.answered(told(100), 100, start + limit);
        assert!(!delivery.settles(limit, start));
    }

    #[test]
    fn what_the_module_says_is_limited_to_what_was_sent_and_never_falls() {
        let start = now();
        let mut delivery = Delivery::default();
        delivery.sent(start);
        delivery.answered(told(50), 100, start);
        delivery.answered(told(20), 100, start);
        assert_eq!(delivery.bytes, Some(50));
        delivery.answered(told(u64::MAX), 100, start);
        assert_eq!(delivery.bytes, Some(100));
    }

    #[test]
    fn a_module_that_refuses_the_question_is_not_asked_again() {
        let start = now();
        let mut delivery = Delivery::default();
        delivery.sent(start);
        delivery.answered(None, 100, start);
        delivery.sent(start);
        assert_eq!((delivery.bytes, delivery.deadline().next()), (None, None));
        assert!(!delivery.settles(Duration::from_secs(10), start));
    }
}
