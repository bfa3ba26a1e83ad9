//! What the modem says of the mobile network: SIM, registration, PDP context, and the sockets that are left over.

use std::time::{Duration, Instant};

use super::Step;
use crate::at::Outcome;
use crate::at::Refusal;
use crate::at::{AtText, Line, SOCKET_COUNT, SocketId, fields};
use crate::counted;
use crate::error::Kind;
use crate::failure::Failure;
use crate::modem::Modem;
use crate::settings::{self, ApnAuth, PdpType, Wait};

impl Modem {
    pub(super) fn pdp_state_answered(&mut self, lines: &[String]) {
        self.session.address = self.pdp_address(lines);
        let (pdp, is_active) = (&self.settings.pdp, self.session.address.is_some());
        self.session.found_active |= is_active && !self.session.activated;
        // With --apn it is set up as we are told to, whoever has activated it.
        let is_ours = self.session.activated || pdp.apn.is_some();
        let rebuild = std::mem::take(&mut self.session.rebuild);
        if rebuild && is_active && !is_ours {
            log::warn!(
                "PDP context {0} was active before this program came, and may be in use by others: it is left as it \
                 is; --apn lets it be set up anew, AT+QIDEACT={0} deactivates it",
                pdp.context
            );
        }
        let next = match (is_active, &pdp.apn) {
            (true, _) if rebuild && is_ours => Step::TearDown,
            (true, Some(_)) if !self.session.activated => Step::ActiveApn,
            (true, _) => Step::Messages,
            (false, Some(_)) => Step::Apn,
            (false, None) => Step::Activate,
        };
        self.go_or_skip(next);
    }

    /// A context that was found active may have been set up with another access point, by an earlier run perhaps.
    pub(super) fn active_apn_answered(&mut self, lines: &[String]) {
        let wanted = self.settings.pdp.apn.as_ref().map_or("", AtText::as_str);
        match access_point(lines) {
            Some(active) if !active.is_empty() && !active.eq_ignore_ascii_case(wanted) => {
                log::warn!(
                    "PDP context {} is active with the access point {active:?} and not that of --apn: setting it up \
                     anew",
                    self.settings.pdp.context
                );
                self.session.go(Step::TearDown);
            }
            _ => self.session.go(Step::Messages),
        }
    }

    pub(super) fn activation_refused(&mut self, reason: &str, now: Instant) {
        let message = format!(
            "no data session: the modem refused to activate PDP context {} ({reason}): check --apn, the SIM's data \
             plan and the signal",
            self.settings.pdp.context
        );
        self.session_failed(Failure::new(Kind::NoDataSession, message), false, now);
    }

    pub(super) fn sim_answered(&mut self, outcome: &Outcome, lines: &[String], now: Instant) {
        let state = lines.iter().find_map(|line| sim_state(line));
        match (state, outcome) {
            (Some("READY"), _) => self.session.go(Step::Registration(0)),
            (Some("SIM PIN"), _) if self.settings.sim_pin.is_some() => self.session.go(Step::PinAttempts(0)),
            (Some("SIM PIN"), _) => {
                let message = match self.session.pin_refused {
                    true => {
                        "the SIM has refused the PIN of --sim-pin-file before, and it is not tried again: give the right \
                         one"
                    }
                    false => "the SIM wants a PIN: give --sim-pin-file",
                };
                self.session_failed(Failure::new(Kind::SimFailed, message), true, now);
            }
            (Some("SIM PUK"), _) => {
                let message = "the SIM is locked after wrong PINs and wants its PUK: unlock it by hand (qssl-tunnel at \
                               --force 'AT+CPIN=\"PUK\",\"NEW PIN\"'), or in a telephone";
                self.session_failed(Failure::new(Kind::SimFailed, message), false, now);
            }
            (Some(state), _) => {
                let message = format!("the SIM cannot be used: it says {state:?}");
                self.session_failed(Failure::new(Kind::SimFailed, message), false, now);
            }
            // A module that cannot say it may have one all the same: registration tells.
            (None, Outcome::Refused(Refusal::Plain)) => self.session.go(Step::Registration(0)),
            (None, Outcome::Refused(refusal)) => {
                let busy = matches!(refusal, Refusal::Cme(error) if error.number() == Some(14));
                let waited = now.saturating_duration_since(self.session.down_since);
                if busy && waited < REGISTRATION_PATIENCE {
                    self.session.wait("the SIM is busy".into(), now + POLL);
                } else {
                    let message = format!("the SIM cannot be used: {refusal}");
                    self.session_failed(Failure::new(Kind::SimFailed, message), false, now);
                }
            }
            (None, _) => self.session.wait("the modem says nothing of its SIM".into(), now + POLL),
        }
    }

    /// A module that cannot say how many attempts are left is trusted to have more than one: a PIN that was refused
    /// is never tried again.
    pub(super) fn pin_attempts_answered(&mut self, index: usize, lines: &[String], now: Instant) {
        match pin_attempts(lines) {
            None if index + 1 < PIN_ATTEMPTS.len() => self.session.go(Step::PinAttempts(index + 1)),
            Some(attempts) if attempts < PIN_ATTEMPTS_MIN => {
                let message = format!(
                    "the SIM has {} left for its PIN, and the last one is not used: enter the PIN by hand \
                     (qssl-tunnel at --force 'AT+CPIN=\"…\"'), or unlock the SIM in a telephone",
                    counted(usize::from(attempts), "attempt")
                );
                self.session_failed(Failure::new(Kind::SimFailed, message), true, now);
            }
            _ => self.session.go(Step::EnterPin),
        }
    }

    /// The PIN is not tried again: the SIM has refused it, now or when an earlier process tried it.
    pub fn forbid_pin(&mut self) {
        self.settings.sim_pin = None;
        self.session.pin_refused = true;
    }

    pub(super) fn registration_answered(&mut self, index: usize, lines: &[String], now: Instant) {
        let state = registration_state(lines);
        // LTE-only modules say 0 for the services that they do not have: a search or a denial stands beside that.
        let so_far = self.session.registration.filter(|_| index > 0);
        let state_of_note = state.map(|state| if matches!(state, 2 | 3) { state } else { 0 });
        self.session.registration = so_far.into_iter().chain(state_of_note).max();
        match state {
            Some(1 | 5) => return self.session.go(Step::Leftovers),
            _ if index + 1 < REGISTRATION.len() => {
                return self.session.go(Step::Registration(index + 1));
            }
            _ => {}
        }
        let denied = self.session.registration == Some(3);
        let words = match self.session.registration {
            Some(3) => "the network denied the registration",
            Some(2) => "the modem searches for a network",
            Some(_) => "the modem is not registered in a network",
            // It is asked again after a pause that grows.
            None => {
                let message =
                    "the modem does not tell whether it is registered (AT+CREG?, AT+CGREG?, AT+CEREG?)";
                let failure = Failure::new(Kind::NoRegistration, message);
                return self.session_failed(failure, false, now);
            }
        };
        let waited = now.saturating_duration_since(self.session.down_since);
        if self.settings.wait != Wait::Forever && (denied || waited > REGISTRATION_PATIENCE) {
            let message = format!("{words}: check antenna, SIM and coverage");
            self.session_failed(Failure::new(Kind::NoRegistration, message), false, now);
            return;
        }
        self.session.go(Step::Registration(0));
        self.session.wait(words.into(), now + POLL);
    }

    /// Lines of AT+QSSLSTATE: sockets that an earlier run left open are closed if they are ours.
    pub(super) fn leftovers(&mut self, lines: &[String]) {
        let mut open = [false; SOCKET_COUNT];
        for line in lines {
            let Some(rest) = line.strip_prefix("+QSSLSTATE:") else { continue };
            let mut all = fields(rest);
            let Some(id) = all.number().and_then(SocketId::new) else { continue };
            let state: u8 = all.nth(4).and_then(|state| state.parse().ok()).unwrap_or(2);
            open[id.index()] = state != 0;
        }
        for id in SocketId::all() {
            let ours = self.settings.sockets.contains(id.index())
                && self.profile.sockets.contains(id.index() as u32);
            if self.sockets[id.index()].found(ours, open[id.index()]) {
                log::info!("socket {id} was left open by an earlier run; closing it");
            }
        }
    }

    /// `+QIACT: <context>,<state>,<type>,"<address>"` of our context, if it is active.
    pub(in crate::modem) fn pdp_address(&self, lines: &[String]) -> Option<String> {
        lines.iter().find_map(|line| {
            let mut all = fields(line.strip_prefix("+QIACT:")?);
            let context: u8 = all.number()?;
            let state: u8 = all.number()?;
            let address = all.nth(1)?;
            (context == self.settings.pdp.context.number() && state == 1 && !address.is_empty())
                .then(|| address.to_owned())
        })
    }
}

/// `+CPIN: <state>`
pub(super) fn sim_state(line: &str) -> Option<&str> {
    line.strip_prefix("+CPIN:").map(str::trim)
}

/// `+CEREG: <n>,<stat>[,…]`, and likewise of the other services.
pub(super) fn registration_state(lines: &[String]) -> Option<u8> {
    lines.iter().find_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let mut fields = fields(rest);
        fields.next().filter(|_| name.ends_with("REG"))?;
        fields.number()
    })
}

/// How many attempts the SIM leaves for its PIN, in the answer to one of [`PIN_ATTEMPTS`]: `+QPINC: "SC",<for the
/// PIN>,<for the PUK>`, `+CPINR: SIM PIN,<for it>[,<at most>]`. More than any SIM has is not believed.
pub fn pin_attempts(lines: &[String]) -> Option<u8> {
    let told = lines.iter().find_map(|line| match line.strip_prefix("+QPINC:") {
        Some(values) => fields(values).nth(1)?.parse().ok(),
        None => {
            let mut all = fields(line.strip_prefix("+CPINR:")?);
            all.next().filter(|code| *code == "SIM PIN")?;
            all.number()
        }
    });
    told.filter(|attempts| *attempts <= ATTEMPTS_MAX)
}

/// The access point's name in `+QICSGP: [<context>,]<type>,"<apn>","<user>","<password>",<auth>`.
pub fn access_point(lines: &[String]) -> Option<&str> {
    let values = lines.iter().find_map(|line| line.strip_prefix("+QICSGP:"))?;
    let with_context = fields(values).count() > 5;
    fields(values).nth(if with_context { 2 } else { 1 })
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

/// LTE, packet-switched, circuit-switched.
pub(super) const REGISTRATION: [&str; 3] = ["AT+CEREG?", "AT+CGREG?", "AT+CREG?"];

/// How often SIM and registration are asked about.
const POLL: Duration = Duration::from_secs(2);

/// What asks for the attempts that are left: Quectel's own command, and that of 3GPP 27.007.
pub const PIN_ATTEMPTS: [&str; 2] = ["AT+QPINC=\"SC\"", "AT+CPINR=\"SIM PIN\""];

/// ETSI TS 102 221 has four bits for the number.
const ATTEMPTS_MAX: u8 = 15;

/// With fewer attempts left no PIN is entered: the last one is the user's.
pub const PIN_ATTEMPTS_MIN: u8 = 2;

/// How long a registration may take where nobody waits for ever.
const REGISTRATION_PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attempts_for_a_pin_are_read_from_either_answer() {
        let attempts = |text: &str| pin_attempts(&[text.to_owned()]);
        assert_eq!(attempts("+QPINC: \"SC\",3,10"), Some(3));
        assert_eq!(attempts("+CPINR: SIM PIN,1,3"), Some(1));
        assert_eq!(attempts("+CPINR: SIM PIN,0"), Some(0));
        assert_eq!(attempts("+CPINR: \"SIM PIN\",2"), Some(2));
        for text in
            ["+CPINR: SIM PUK,10,10", "+CPINR: SIM PIN", "+CPINR: SIM PIN,-1", "+QPINC: \"SC\",255,255", "3"]
        {
            assert_eq!(attempts(text), None, "{text}");
        }
        let all = ["+CPINR: SIM PUK,10,10", "+CPINR: SIM PIN,1,3"].map(str::to_owned);
        assert_eq!(pin_attempts(&all), Some(1), "every code may be listed");
    }

    #[test]
    fn an_access_point_is_read_with_and_without_the_number_of_its_context() {
        let line = |text: &str| vec![text.to_owned()];
        assert_eq!(access_point(&line("+QICSGP: 1,\"UNINET\",\"\",\"\",1")), Some("UNINET"));
        assert_eq!(access_point(&line("+QICSGP: 1,1,\"UNINET\",\"\",\"\",1")), Some("UNINET"));
        assert_eq!(access_point(&line("+QICSGP: 1,\"\",\"\",\"\",0")), Some(""));
        assert_eq!(access_point(&line("+QICSGP")), None);
    }
}
