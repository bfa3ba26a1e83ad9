//! What the modem reports about the mobile network: SIM, registration, PDP context, and the sockets that are
//! left over.

use std::time::{Duration, Instant};

use super::{Address, Given, SetUp, SetupEffect, SetupStep};
use crate::at::answers::{
    AccessPoint, Answer, PinAttempts, Registration, SimState, SocketState, SocketStatus,
};
use crate::at::{AtText, Command, CommandOutcome, Line, PdpContextId, Refusal};
use crate::counted;
use crate::error::Kind;
use crate::failure::Failure;
use crate::settings::{self, ApnAuth, PdpType, Wait};

/// Who activated the PDP context: it is left at the end as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    /// Nobody, as far as is known.
    Unknown,
    /// Others: it was active when we came.
    Others,
    /// We did.
    Ours,
    /// We did, after it had been found active: it is ours to be torn down, and is left active at the end.
    Again,
}

impl Activation {
    /// The module reports that it is active.
    pub(super) fn found_active(&mut self) {
        if *self == Activation::Unknown {
            *self = Activation::Others;
        }
    }

    /// We have activated it, or may have.
    pub(super) fn activated(&mut self) {
        *self = match self {
            Activation::Unknown | Activation::Ours => Activation::Ours,
            Activation::Others | Activation::Again => Activation::Again,
        };
    }

    /// It is no longer active: we have deactivated it, or the modem has rebooted.
    pub(super) fn context_gone(&mut self) {
        *self = Activation::Unknown;
    }

    /// Whether it was last activated by us.
    pub(super) fn is_ours(self) -> bool {
        matches!(self, Activation::Ours | Activation::Again)
    }
}

/// What the SIM has shown of the PIN that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pin {
    /// Nothing bad.
    Untried,
    /// It was entered with so many attempts left, where the module counts them, and its answer has not come.
    Entered { attempts: Option<u8> },
    /// It has refused it.
    Refused,
}

impl SetUp {
    pub(super) fn pdp_state_answered(&mut self, given: &Given<'_>, lines: &[String]) {
        self.address = Address::of(given.settings.pdp.context, lines);
        let (pdp, is_active) = (&given.settings.pdp, self.address.is_some());
        if is_active {
            self.activation.found_active();
        }
        // With --apn it is set up as configured, whichever program has activated it.
        let is_ours = self.activation.is_ours() || pdp.apn.is_some();
        let rebuild = std::mem::take(&mut self.rebuild);
        if rebuild && is_active && !is_ours {
            log::warn!(
                "PDP context {0} was active before this program started, and may be in use by others: it is left as it \
                 is; --apn lets it be set up anew, AT+QIDEACT={0} deactivates it",
                pdp.context
            );
        }
        let next = match (is_active, &pdp.apn) {
            (true, _) if rebuild && is_ours => SetupStep::TearDown,
            (true, Some(_)) if !self.activation.is_ours() => SetupStep::ActiveApn,
            (true, _) => SetupStep::Messages,
            (false, _) => given.activation_step(false),
        };
        self.go_or_skip(given, next);
    }

    /// A context that was found active may have been set up with another access point, by an earlier run perhaps.
    pub(super) fn active_apn_answered(&mut self, given: &Given<'_>, lines: &[String]) {
        let wanted = given.settings.pdp.apn.as_ref();
        match wanted.and_then(|wanted| AccessPoint::other_than(wanted, lines)) {
            Some(active) => {
                log::warn!(
                    "PDP context {} is active with the access point {active:?} and not that of --apn: setting it up \
                     anew",
                    given.settings.pdp.context
                );
                self.go(SetupStep::TearDown);
            }
            None => self.go(SetupStep::Messages),
        }
    }

    pub(super) fn activation_refused(&mut self, given: &Given<'_>, reason: &str, now: Instant) {
        let message = format!(
            "no data session: the modem refused to activate PDP context {} ({reason}): check --apn, the SIM's data \
             plan and the signal",
            given.settings.pdp.context
        );
        self.failed(given, Failure::new(Kind::NoDataSession, message), false, now);
    }

    pub(super) fn sim_answered(
        &mut self,
        given: &Given<'_>,
        outcome: &CommandOutcome,
        lines: &[String],
        now: Instant,
    ) {
        match (SimState::first(lines), outcome) {
            (Some(SimState::Ready), _) => {
                self.pin_was_right();
                self.go(SetupStep::Registration(0));
            }
            (Some(SimState::WantsPin), _) if given.settings.sim_pin.is_some() => {
                self.go(SetupStep::PinAttempts(0))
            }
            (Some(SimState::WantsPin), _) => {
                let message = match self.pin {
                    Pin::Refused => {
                        "the SIM has refused the PIN of --sim-pin-file before, and it is not tried again: give the right \
                         one"
                    }
                    _ => "the SIM requires a PIN: give --sim-pin-file",
                };
                self.failed(given, Failure::new(Kind::SimFailed, message), true, now);
            }
            (Some(SimState::WantsPuk), _) => {
                let message = "the SIM is locked after wrong PINs and requires its PUK: unlock it by hand (qssl-tunnel at \
                               --force 'AT+CPIN=\"PUK\",\"NEW PIN\"'), or in a telephone";
                self.failed(given, Failure::new(Kind::SimFailed, message), false, now);
            }
            (Some(SimState::Other(state)), _) => {
                let message = format!("the SIM cannot be used: it reports {state:?}");
                self.failed(given, Failure::new(Kind::SimFailed, message), false, now);
            }
            // A module that cannot report it may have one all the same: registration shows it.
            (None, CommandOutcome::Refused(Refusal::Plain)) => self.go(SetupStep::Registration(0)),
            (None, CommandOutcome::Refused(refusal)) => {
                let busy = matches!(refusal, Refusal::Cme(error) if error.number() == Some(14));
                let waited = now.saturating_duration_since(self.down_since);
                if busy && waited < REGISTRATION_PATIENCE {
                    self.wait(Failure::new(Kind::SimFailed, "the SIM is busy"), now + POLL);
                } else {
                    let message = format!("the SIM cannot be used: {refusal}");
                    self.failed(given, Failure::new(Kind::SimFailed, message), false, now);
                }
            }
            (None, _) => {
                let reason = "the modem does not report the state of its SIM";
                self.wait(Failure::new(Kind::SimFailed, reason), now + POLL);
            }
        }
    }

    /// A module that cannot report how many attempts are left is trusted to have more than one: a PIN that
    /// was refused is never tried again.
    pub(super) fn pin_attempts_answered(
        &mut self,
        given: &Given<'_>,
        index: usize,
        lines: &[String],
        now: Instant,
    ) {
        let attempts = PinAttempts::first(lines).map(|PinAttempts(attempts)| attempts);
        match (attempts, self.pin) {
            (None, _) if index + 1 < PIN_ATTEMPTS.len() => self.go(SetupStep::PinAttempts(index + 1)),
            // As many as before it was entered: it has not reached the SIM.
            (attempts, Pin::Entered { attempts: before }) if before.is_none() || attempts < before => {
                self.pin_was_refused(given, "its answer was lost", now);
            }
            (Some(attempts), _) if attempts < PIN_ATTEMPTS_MIN => {
                let message = format!(
                    "the SIM has {} left for its PIN, and the last one is not used: enter the PIN by hand \
                     (qssl-tunnel at --force 'AT+CPIN=\"…\"'), or unlock the SIM in a telephone",
                    counted(usize::from(attempts), "attempt")
                );
                self.failed(given, Failure::new(Kind::SimFailed, message), true, now);
            }
            (attempts, _) => self.go(SetupStep::EnterPin { attempts }),
        }
    }

    /// The SIM has refused the PIN when an earlier process tried it.
    pub fn pin_is_refused(&mut self) {
        self.pin = Pin::Refused;
    }

    /// It is being entered. `attempts`: how many were left before, where the module counts them.
    pub(super) fn pin_is_entered(&mut self, attempts: Option<u8>) {
        self.pin = Pin::Entered { attempts };
    }

    /// The SIM is ready, or has taken its PIN: if that was entered, it was the right one.
    pub(super) fn pin_was_right(&mut self) {
        if let Pin::Entered { .. } = self.pin {
            self.pin = Pin::Untried;
        }
    }

    /// A second try could lock the SIM.
    pub(super) fn pin_was_refused(&mut self, given: &Given<'_>, reason: &str, now: Instant) {
        self.pin = Pin::Refused;
        self.effects.push_back(SetupEffect::ForgetPin);
        let message = format!("the SIM refused the PIN of --sim-pin-file ({reason})");
        self.failed(given, Failure::new(Kind::SimFailed, message), true, now);
    }

    pub(super) fn registration_answered(
        &mut self,
        given: &Given<'_>,
        index: usize,
        lines: &[String],
        now: Instant,
    ) {
        let state = Registration::first(lines);
        let so_far = self.registration.filter(|_| index > 0);
        self.registration = so_far.max(state);
        match state {
            Some(state) if state.is_registered() => {
                self.service = index;
                return self.go(SetupStep::Leftovers);
            }
            _ if index + 1 < REGISTRATION.len() => {
                return self.go(SetupStep::Registration(index + 1));
            }
            _ => {}
        }
        let denied = self.registration == Some(Registration::Denied);
        let words = match self.registration {
            Some(Registration::Denied) => "the network denied the registration",
            Some(Registration::Searching) => "the modem searches for a network",
            Some(_) => "the modem is not registered in a network",
            // The question is repeated after a growing pause.
            None => {
                let message =
                    "the modem does not report whether it is registered (AT+CREG?, AT+CGREG?, AT+CEREG?)";
                let failure = Failure::new(Kind::NoRegistration, message);
                return self.failed(given, failure, false, now);
            }
        };
        let waited = now.saturating_duration_since(self.down_since);
        if given.settings.wait != Wait::Forever && (denied || waited > REGISTRATION_PATIENCE) {
            let message = format!("{words}: check antenna, SIM and coverage");
            self.failed(given, Failure::new(Kind::NoRegistration, message), false, now);
            return;
        }
        self.go(SetupStep::Registration(0));
        self.wait(Failure::new(Kind::NoRegistration, words), now + POLL);
    }

    /// Lines of AT+QSSLSTATE and AT+QISTATE: which sockets are in use.
    pub(super) fn leftovers(&mut self, lines: &[String]) {
        let open = SocketStatus::all(lines).filter(|socket| socket.state != SocketState::Free);
        self.effects.push_back(SetupEffect::Leftovers(open.map(|socket| (socket.set, socket.id)).collect()));
    }

    /// The question whether the modem is registered for the service that it was registered for.
    pub fn registration_question(&self) -> Command {
        Command::line(REGISTRATION[self.service])
    }

    /// The question whether the data session still has its address.
    pub fn address_question(&self, id: PdpContextId) -> Command {
        let [listed, asked] = address_questions(id);
        Command::line(match self.address {
            Some(Address::Asked(_)) => asked,
            Some(Address::Listed(_)) | None => listed,
        })
    }
}

/// AT+QICSGP for this access point.
pub fn access_point_line(pdp: &settings::Pdp) -> Line {
    let kind = match pdp.kind {
        PdpType::Ipv4 => 1,
        PdpType::Ipv6 => 2,
        PdpType::Ipv4v6 => 3,
    };
    let auth = match pdp.auth {
        ApnAuth::None => 0,
        ApnAuth::Pap => 1,
        ApnAuth::Chap => 2,
    };
    let text = |text: &Option<AtText>| text.as_ref().map_or(String::new(), AtText::to_string);
    let password = pdp.password.as_ref().map_or("", |secret| secret.0.as_str());
    let (context, apn, user) = (pdp.context, text(&pdp.apn), text(&pdp.user));
    let text = format!("AT+QICSGP={context},{kind},\"{apn}\",\"{user}\",\"{password}\",{auth}");
    Line { text, patience: None, secret: pdp.password.is_some() }
}

/// The questions for the address in a context: Quectel's own, and 3GPP's for a module that refuses the first.
pub fn address_questions(context: PdpContextId) -> [String; 2] {
    ["AT+QIACT?".to_owned(), format!("AT+CGPADDR={context}")]
}

/// AT+QIACT (PROTOCOL section 7).
pub fn activation(context: PdpContextId) -> Command {
    Command::patient_line(format!("AT+QIACT={context}"), Duration::from_secs(150))
}

/// AT+QIDEACT (PROTOCOL section 7).
pub fn deactivation(context: PdpContextId) -> Command {
    Command::patient_line(format!("AT+QIDEACT={context}"), Duration::from_secs(40))
}

/// LTE, packet-switched, circuit-switched.
pub const REGISTRATION: [&str; 3] = ["AT+CEREG?", "AT+CGREG?", "AT+CREG?"];

/// How often SIM and registration are asked about.
const POLL: Duration = Duration::from_secs(2);

/// What asks for the attempts that are left: Quectel's own command, and that of 3GPP 27.007.
pub const PIN_ATTEMPTS: [&str; 2] = ["AT+QPINC=\"SC\"", "AT+CPINR=\"SIM PIN\""];

/// With fewer attempts left no PIN is entered: the last one is the user's.
pub const PIN_ATTEMPTS_MIN: u8 = 2;

/// How long a registration may take where the wait has a limit.
const REGISTRATION_PATIENCE: Duration = Duration::from_secs(60);
