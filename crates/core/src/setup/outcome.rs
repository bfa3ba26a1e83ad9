//! How the set-up ends: up, failed for now, lost again, and released at the end.

use std::time::Instant;

use super::network::Activation;
use super::{Confirmation, Given, Pause, Session, SetUp, SetupEffect, SetupStep, UNANSWERED_MAX};
use crate::error::Kind;
use crate::failure::{Cut, Failure};
use crate::settings::Wait;

impl SetUp {
    /// A step of the set-up was not answered; a resync is under way, and the step is repeated. A port that was lost or
    /// a modem that rebooted would have answered no other command either.
    pub fn not_answered(&mut self, given: &Given<'_>, cut: Cut, now: Instant) {
        if self.asked != self.step {
            return;
        }
        let step = self.step;
        match step {
            SetupStep::Restore { .. } => self.restored(given),
            SetupStep::Deactivate => {
                self.go(SetupStep::Ended);
                self.effects.push_back(SetupEffect::Released);
            }
            SetupStep::Activate { .. } | SetupStep::TearDown => {
                // It was inactive before, so an active session is ours.
                if matches!(self.step, SetupStep::Activate { .. }) {
                    self.activation.activated();
                }
                let message = "no data session: the modem did not answer its activation".to_owned();
                self.failed(given, Failure::new(Kind::NoDataSession, message), false, now);
            }
            // Whether it was refused shows in how many attempts are left.
            SetupStep::EnterPin { .. } => self.go(SetupStep::Sim),
            // The file cannot be read.
            SetupStep::Compare => self.compared(None, &[]),
            // It may be carried out all the same, and late.
            SetupStep::Upload | SetupStep::DeleteFile => self.go(SetupStep::ListFiles),
            _ if cut == Cut::Silent && step.is_optional() && self.missed(step) >= UNANSWERED_MAX => {
                log::warn!(
                    "{} does not answer this step of the set-up; going on without it",
                    self.profile.name
                );
                self.skip_step(given, now);
            }
            _ => {}
        }
    }

    /// The attempt failed. `final_word`: another attempt cannot end differently.
    pub fn failed(&mut self, given: &Given<'_>, failure: Failure, final_word: bool, now: Instant) {
        if self.is_serving() && !self.is_up() {
            log::error!("{failure}; tunnels that need it cannot connect until that is fixed");
            self.go(SetupStep::Up);
            let lacking = self.contexts.iter().filter(|it| !it.files_stand()).map(|it| it.id).collect();
            self.effects.push_back(SetupEffect::RefuseOpens(lacking));
            return;
        }
        self.session.ends();
        self.failures += 1;
        let pause = self.backoff.next();
        if self.step != SetupStep::Unwanted {
            self.go(SetupStep::Failed);
            self.pause = match failure.kind {
                Kind::ModemSilent => Pause::UntilAnswer(now + pause),
                _ => Pause::Until(now + pause),
            };
        }
        let gives_up = final_word
            || match given.settings.wait {
                Wait::Forever => false,
                Wait::Not => true,
                Wait::Limited { time, retries } => {
                    time.is_some_and(|time| now.saturating_duration_since(self.down_since) >= time)
                        || retries.is_some_and(|retries| self.failures > retries)
                }
            };
        if gives_up {
            self.effects.push_back(SetupEffect::GaveUp(failure));
        } else if self.said.as_ref() != Some(&failure) {
            log::warn!("{failure}; trying again");
            self.said = Some(failure);
        }
    }

    /// The session is gone, and the set-up begins again at `step`; from the first one where settings have changed.
    pub fn lost(&mut self, step: SetupStep, begins_anew: bool, now: Instant) {
        if self.is_serving() {
            self.down_since = now;
            self.failures = 0;
            self.backoff.reset();
            self.said = None;
        }
        self.session.ends();
        for context in &mut self.contexts {
            context.forget();
        }
        self.address = None;
        self.confirmation = Confirmation::Settled;
        // Nothing of the set-up is left out because it was not reached: the module's identity, the SSL contexts
        // that follow from it, the format on the wire.
        let is_known = !matches!(
            self.step,
            SetupStep::Down
                | SetupStep::Identity
                | SetupStep::Model
                | SetupStep::Keys { .. }
                | SetupStep::Shared { .. }
                | SetupStep::UrcPort { .. }
                | SetupStep::DataFormat { .. }
                | SetupStep::LookAtFormat { .. }
                | SetupStep::Failed
        );
        if self.step != SetupStep::Unwanted {
            self.go(if begins_anew || !is_known { SetupStep::Down } else { step });
        }
    }

    /// Every SSL context that was not written yet has been.
    pub fn contexts_written(&mut self, now: Instant) {
        if self.step != SetupStep::Contexts {
            return;
        }
        self.go(SetupStep::Up);
        if self.is_serving() {
            return;
        }
        self.session = Session::Stands;
        self.failures = 0;
        self.backoff.reset();
        self.said = None;
        let took = now.saturating_duration_since(self.down_since);
        log::info!("{} ready after {:.1} s", self.profile.name, took.as_secs_f64());
        self.effects.push_back(SetupEffect::Up);
    }

    /// What was found in the modem has been put back, as far as it takes it.
    pub(super) fn restored(&mut self, given: &Given<'_>) {
        self.found.forget();
        self.go(SetupStep::Contexts);
        self.release(given);
    }

    /// Begins the end: settings are put back, and the data session is deactivated if we activated it.
    pub fn release(&mut self, given: &Given<'_>) {
        self.session.ends();
        match self.step {
            SetupStep::Ended | SetupStep::Deactivate | SetupStep::Restore { .. } => {}
            // Whether there is something to be deactivated shows when the modem has answered.
            SetupStep::Activate { .. } if given.is_asking => {}
            _ if given.has_commander && !self.found.lines().is_empty() => {
                self.go(SetupStep::Restore { alone: None });
            }
            _ if self.activation == Activation::Ours && given.is_open => {
                self.go(SetupStep::Deactivate);
            }
            _ => {
                self.go(SetupStep::Ended);
                self.effects.push_back(SetupEffect::Released);
            }
        }
    }
}
