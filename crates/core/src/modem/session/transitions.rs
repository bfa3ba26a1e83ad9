//! How the set-up comes out: up, failed for now, lost again, and at the end released.

use std::time::Instant;

use super::{Doubt, Step, UNANSWERED_MAX};
use crate::at::SocketId;
use crate::channel::{Channel, Origin};
use crate::error::Kind;
use crate::failure::{Cut, Failure};
use crate::modem::{Event, Modem};
use crate::settings::Wait;

impl Modem {
    /// A step of the set-up was not answered; the channel is being brought back, and the step is repeated. A port that
    /// was lost or a modem that rebooted would have answered no other command either.
    pub(in crate::modem) fn session_unanswered(&mut self, port: usize, cut: Cut, now: Instant) {
        if self.session.asked != self.session.step {
            return;
        }
        let step = self.session.step;
        match step {
            Step::Restore { .. } => self.session_restored(),
            Step::Deactivate => {
                self.session.go(Step::Ended);
                self.events.push_back(Event::Released);
            }
            Step::Activate | Step::TearDown => {
                // It was inactive before, so whatever comes of this is ours.
                self.session.activated |= self.session.step == Step::Activate;
                let message = "no data session: the modem did not answer its activation".to_owned();
                self.session_failed(Failure::new(Kind::NoDataSession, message), false, now);
            }
            // It cannot be read, whatever is there.
            Step::Compare => self.compared(None, &[]),
            // It may be carried out all the same, and late.
            Step::Upload | Step::DeleteFile => self.session.go(Step::ListFiles),
            _ if cut == Cut::Silent && step.is_optional() && self.session.missed(step) >= UNANSWERED_MAX => {
                log::warn!("{} does not answer that at all; going on without it", self.profile.name);
                self.skip_step(port, now);
            }
            _ => {}
        }
    }

    /// The attempt failed. `final_word`: another attempt cannot end differently.
    pub(in crate::modem) fn session_failed(&mut self, failure: Failure, final_word: bool, now: Instant) {
        if std::mem::take(&mut self.session.refreshing) {
            log::error!("{failure}; tunnels that need it cannot connect until that is fixed");
            self.session.go(Step::Up);
            let lacking: Vec<_> =
                self.contexts.iter().filter(|it| !it.files_stand).map(|context| Some(context.id)).collect();
            self.refuse_opens(|socket| lacking.contains(&socket.ssl()), &failure.message, now);
            return;
        }
        self.session.failures += 1;
        let pause = self.session.backoff.next();
        if self.session.step != Step::Unwanted {
            self.session.step = Step::Failed;
            self.session.not_before = Some(now + pause);
        }
        let gives_up = final_word
            || match self.settings.wait {
                Wait::Forever => false,
                Wait::Not => true,
                Wait::Limited { time, retries } => {
                    time.is_some_and(|time| now.saturating_duration_since(self.session.down_since) >= time)
                        || retries.is_some_and(|retries| self.session.failures > retries)
                }
            };
        if gives_up {
            self.events.push_back(Event::GaveUp(failure));
        } else {
            if self.session.said.as_deref() != Some(&failure.message) {
                log::warn!("{failure}; trying again");
                self.session.said = Some(failure.message);
            }
        }
    }

    /// The session is gone: every stream is cut, and the set-up begins again at `step`.
    pub(in crate::modem) fn session_lost(&mut self, cut: Cut, step: Step, now: Instant) {
        if self.session.step == Step::Ended || self.session.step == Step::Deactivate {
            return;
        }
        let served = self.session.is_serving();
        self.session.refreshing = false;
        if served {
            log::warn!("{cut}; every connection is reset");
            self.session.down_since = now;
            self.session.failures = 0;
            self.session.backoff.reset();
            self.session.said = None;
            self.events.push_back(Event::Down);
        }
        for socket in SocketId::all() {
            self.cut(socket, cut);
            self.sockets[socket.index()].session_lost();
        }
        for channel in &mut self.channels {
            channel.disown();
        }
        for context in &mut self.contexts {
            context.forget();
        }
        self.session.address = None;
        self.session.doubt = Doubt::None;
        // Nothing of the set-up is left out because it was not reached: the module's identity, the SSL contexts
        // that follow from it, the format on the wire.
        let is_known = !matches!(
            self.session.step,
            Step::Down
                | Step::Identity
                | Step::Model
                | Step::Keys { .. }
                | Step::Shared { .. }
                | Step::UrcPort { .. }
                | Step::WireFormat { .. }
                | Step::Failed
        );
        let step = if self.take_next_settings() || !is_known { Step::Down } else { step };
        if self.session.step != Step::Unwanted {
            self.session.go(step);
        }
    }

    /// Every SSL context that was not written yet has been.
    pub(in crate::modem) fn contexts_written(&mut self, now: Instant) {
        if self.session.step != Step::Contexts {
            return;
        }
        self.session.go(Step::Up);
        self.session.has_stood = true;
        if std::mem::take(&mut self.session.refreshing) {
            return;
        }
        self.session.failures = 0;
        self.session.backoff.reset();
        self.session.said = None;
        let took = now.saturating_duration_since(self.session.down_since);
        log::info!("{} ready after {:.1} s", self.profile.name, took.as_secs_f64());
        self.events.push_back(Event::Up);
    }

    /// Whether a command of the set-up has not been answered yet.
    pub(super) fn session_in_flight(&self) -> bool {
        let of_session =
            |channel: &Channel| channel.in_flight().is_some_and(|it| it.origin == Origin::Session);
        self.channels.iter().any(of_session)
    }

    /// What was found in the modem has been put back, as far as it takes it.
    pub(super) fn session_restored(&mut self) {
        self.session.found.forget();
        self.session.go(Step::Contexts);
        self.session_release();
    }

    /// Begins the end: settings are put back, and the data session is deactivated if we activated it.
    pub(in crate::modem) fn session_release(&mut self) {
        match self.session.step {
            Step::Ended | Step::Deactivate | Step::Restore { .. } => {}
            // Whether there is something to be deactivated shows when the modem has answered.
            Step::Activate if self.session_in_flight() => {}
            _ if self.has_commander() && !self.session.found.lines().is_empty() => {
                self.session.go(Step::Restore { alone: None });
            }
            _ if self.session.activated
                && !self.session.found_active
                && self.channels.iter().any(Channel::is_open) =>
            {
                self.session.go(Step::Deactivate);
            }
            _ => {
                self.session.go(Step::Ended);
                self.events.push_back(Event::Released);
            }
        }
    }
}
