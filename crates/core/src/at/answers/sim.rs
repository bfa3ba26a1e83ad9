//! The SIM and its PIN.

use super::{Answer, text, values};

/// `+CPIN: <state>` (PROTOCOL section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimState<'a> {
    /// `READY`
    Ready,
    /// `SIM PIN`: it wants its PIN.
    WantsPin,
    /// `SIM PUK`: wrong PINs have locked it.
    WantsPuk,
    /// Another state, in the modem's words.
    Other(&'a str),
}

impl<'a> Answer<'a> for SimState<'a> {
    fn of(line: &'a str) -> Option<Self> {
        Some(match text(line, "+CPIN")? {
            "READY" => SimState::Ready,
            "SIM PIN" => SimState::WantsPin,
            "SIM PUK" => SimState::WantsPuk,
            other => SimState::Other(other),
        })
    }
}

/// How many attempts the SIM leaves for its PIN: `+QPINC: "SC",<for the PIN>,<for the PUK>` as Quectel has
/// it, or `+CPINR: SIM PIN,<for it>[,<at most>]` of 3GPP TS 27.007, 8.65. A number that no SIM has is
/// ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinAttempts(pub u8);

impl Answer<'_> for PinAttempts {
    fn of(line: &str) -> Option<Self> {
        let attempts = match values(line, "+QPINC") {
            Some(mut all) => all.nth(1)?.parse().ok()?,
            None => {
                let mut all = values(line, "+CPINR")?;
                all.next().filter(|code| *code == "SIM PIN")?;
                all.number()?
            }
        };
        (attempts <= ATTEMPTS_MAX).then_some(PinAttempts(attempts))
    }
}

/// ETSI TS 102 221 has four bits for the number.
const ATTEMPTS_MAX: u8 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sim_is_ready_or_wants_a_code_or_has_another_state() {
        for (line, wanted) in [
            ("+CPIN: READY", Some(SimState::Ready)),
            ("+CPIN:READY ", Some(SimState::Ready)),
            ("+CPIN: SIM PIN", Some(SimState::WantsPin)),
            ("+CPIN: SIM PUK", Some(SimState::WantsPuk)),
            ("+CPIN: SIM PIN2", Some(SimState::Other("SIM PIN2"))),
            ("+CPIN: NOT READY", Some(SimState::Other("NOT READY"))),
            ("+CPINR: SIM PIN,3", None),
        ] {
            assert_eq!(SimState::of(line), wanted, "{line}");
        }
    }

    #[test]
    fn the_attempts_for_a_pin_are_read_from_either_answer() {
        for (line, attempts) in [
            ("+QPINC: \"SC\",3,10", Some(3)),
            ("+CPINR: SIM PIN,1,3", Some(1)),
            ("+CPINR: SIM PIN,0", Some(0)),
            ("+CPINR: \"SIM PIN\",2", Some(2)),
            ("+CPINR: SIM PUK,10,10", None),
            ("+CPINR: SIM PIN", None),
            ("+CPINR: SIM PIN,-1", None),
            ("+QPINC: \"SC\",255,255", None),
            ("3", None),
        ] {
            assert_eq!(PinAttempts::of(line), attempts.map(PinAttempts), "{line}");
        }
        let all = ["+CPINR: SIM PUK,10,10", "+CPINR: SIM PIN,1,3"].map(str::to_owned);
        assert_eq!(PinAttempts::first(&all), Some(PinAttempts(1)), "every code may be listed");
    }
}
