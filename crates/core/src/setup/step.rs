//! The steps of the set-up, each named after its command.

use super::found::Reports;
#[cfg(doc)]
use super::{found::SHARED, network::PIN_ATTEMPTS};
#[cfg(doc)]
use crate::profile::QUESTIONS;

/// A step of the set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupStep {
    /// There are no tunnels, so nothing is set up: commands come from outside alone.
    Unwanted,
    /// No channel answers yet.
    Down,
    /// ATI
    Identity,
    /// AT+CGMM and AT+CGMR, where ATI reported too little
    Model,
    /// AT+QSSLCFG=?, AT+QSSLOPEN=?, …: all in one line, or one of [`QUESTIONS`] alone
    Keys {
        /// The one, where the module does not take them joined.
        alone: Option<usize>,
    },
    /// [`SHARED`]: all in one line, or one alone
    Shared {
        /// The one, where the module does not take them joined, or lacks one.
        alone: Option<usize>,
    },
    /// AT+QURCCFG="urcport",…: `all` first, then the port that is assumed to be ours.
    UrcPort {
        /// `all` was refused.
        all_refused: bool,
    },
    /// AT+QICFG="viewmode",… (how answers show payload): all in one line, or one setting alone
    DataFormat {
        /// The one, where the module does not take them joined, or lacks one.
        alone: Option<usize>,
    },
    /// AT+QICFG="viewmode", … again in an active session: all in one line, or one alone
    LookAtFormat {
        /// The one, where the module does not take them joined, or lacks one.
        alone: Option<usize>,
    },
    /// SIM, registration, leftovers and PDP context asked for in one line: where all is well nothing more is
    /// asked of them
    Glance,
    /// AT+CPIN?
    Sim,
    /// One of [`PIN_ATTEMPTS`]: how many attempts are left for the PIN?
    PinAttempts(usize),
    /// AT+CPIN="…"
    EnterPin {
        /// How many attempts are left for it, where the module counts them.
        attempts: Option<u8>,
    },
    /// AT+CEREG?, AT+CGREG?, AT+CREG?
    Registration(usize),
    /// AT+QSSLSTATE, and AT+QISTATE? for plain connections
    Leftovers,
    /// AT+QIACT?
    PdpState,
    /// AT+QICSGP=, of a context that was found active: is it the access point of --apn?
    ActiveApn,
    /// AT+QICSGP
    Apn {
        /// The PDP context was deactivated for it.
        after_tear_down: bool,
    },
    /// AT+QIACT=
    Activate {
        /// The PDP context was deactivated before: a refusal counts.
        after_tear_down: bool,
    },
    /// AT+QIGETERROR, where that was refused with ERROR and no more
    ActivationRefused,
    /// AT+QIDEACT=, then again
    TearDown,
    /// AT+QIACT?, for the address
    Address,
    /// AT+CGPADDR=, for the address, where that is refused
    OtherAddress,
    /// AT+CNMI?
    Messages,
    /// AT+CNMI=, where SMS would be shown
    KeepMessages(Reports),
    /// AT+QMTCONN?: does another program use MQTT
    Mqtt,
    /// AT+QIDNSCFG
    Dns,
    /// AT+QNTP, whose result comes unasked: it is waited for in the same step
    Ntp,
    /// AT+CCLK?
    Clock,
    /// AT+CCLK="…"
    SetClock,
    /// AT+CCLK? again, and only that, in an active session
    LookAtClock,
    /// AT+QFLST="*"
    ListFiles,
    /// AT+QFDWL: has a file that has our name our content too?
    Compare,
    /// AT+QFDEL of a file that has our name and not our content
    DeleteFile,
    /// AT+QFLDS="UFS"
    Space,
    /// AT+QFUPL
    Upload,
    /// AT+QSSLCFG for each context
    Contexts,
    /// Sockets can be opened.
    Up,
    /// What was found is put back at the end: all in one line, or one setting alone
    Restore {
        /// The one, where the module does not take them joined.
        alone: Option<usize>,
    },
    /// AT+QIDEACT at the end
    Deactivate,
    /// All is as we found it.
    Ended,
    /// The attempt failed; the next one begins after a pause.
    Failed,
}

impl SetupStep {
    /// Whether a module that does not answer its command at all can carry sockets: it is as if it refused it.
    pub fn is_optional(self) -> bool {
        matches!(
            self,
            SetupStep::Model
                | SetupStep::Keys { .. }
                | SetupStep::Shared { .. }
                | SetupStep::UrcPort { .. }
                | SetupStep::DataFormat { .. }
                | SetupStep::LookAtFormat { .. }
                | SetupStep::Messages
                | SetupStep::KeepMessages(_)
                | SetupStep::Mqtt
                | SetupStep::Glance
                | SetupStep::ActivationRefused
                | SetupStep::OtherAddress
                | SetupStep::Dns
                | SetupStep::Clock
                | SetupStep::SetClock
                | SetupStep::Space
        )
    }
}
