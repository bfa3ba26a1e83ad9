//! A modem of the loop: its core, its ports, and the clients that it serves.

use std::sync::Arc;
use std::time::Instant;

use super::clients::ClientSlot;
use super::daemon::Gauge;
use super::ports::PortSlot;
use crate::config::Configuration;
#[cfg(feature = "emulator")]
use crate::config::Device;
use crate::daemon::logging::Scope;
use qssl_core::Kind;
use qssl_core::fleet::{Condition, Facts};
use qssl_core::modem::Failure;
use qssl_core::relay::Relay;
use qssl_core::settings::Tunnel;

/// A modem, and what belongs to it alone. It stays where it is in the list of the configuration.
pub(super) struct ModemUnit {
    /// Its name in logs, if it is one of several. It lives as long as the process.
    log_name: Option<&'static str>,
    pub relay: Relay,
    pub ports: Vec<PortSlot>,
    /// Its clients, by the number that its core gave each.
    pub clients: Vec<Option<ClientSlot>>,
    pub gauge: Gauge,
    end: End,
    /// Resyncs and reboots up to the last turn: when there are more, the flight recorder is written.
    pub recoveries: u64,
    pub recorded_at: Option<Instant>,
    #[cfg(feature = "emulator")]
    pub emulator: Option<qssl_modem_emulator::driver::Embedded>,
}

/// Whether a modem is still in use.
enum End {
    /// It is.
    Not,
    /// Its core has ended, with this status.
    Over(Kind),
    /// Its port was given up.
    PortGivenUp(Failure),
}

impl ModemUnit {
    /// A modem of this configuration, whose ports are not open yet.
    pub fn new(configuration: &Configuration, index: usize, now: Instant) -> anyhow::Result<Self> {
        let configured = &configuration.modems[index];
        let mut relay = Relay::new(configuration.settings(configured), now);
        relay.set_seed(super::by_chance());
        relay.is_one_of(configuration.modems.len(), index);
        let is_alone = configuration.modems.len() == 1;
        let log_name = (!is_alone).then(|| &*Box::leak(configured.name.clone().into_boxed_str()));
        Ok(ModemUnit {
            log_name,
            relay,
            ports: configured.devices.iter().map(|device| PortSlot::new(device.clone(), now)).collect(),
            clients: Vec::new(),
            gauge: Gauge::default(),
            end: End::Not,
            recoveries: 0,
            recorded_at: None,
            #[cfg(feature = "emulator")]
            emulator: start_emulator(&configured.devices)?,
        })
    }

    /// What is logged from now on is about this modem.
    pub fn scope(&self) -> Scope {
        Scope::new(self.log_name)
    }

    /// The core has ended.
    pub fn is_over(&mut self, status: Kind) {
        self.end = End::Over(status);
    }

    /// The port is not waited for any longer.
    pub fn gives_up(&mut self, failure: Failure) {
        self.end = End::PortGivenUp(failure);
    }

    /// The status that it has ended with.
    pub fn status(&self) -> Option<Kind> {
        match &self.end {
            End::Not => None,
            End::Over(status) => Some(*status),
            End::PortGivenUp(failure) => Some(failure.kind),
        }
    }

    /// What made it unusable.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.end {
            End::PortGivenUp(failure) => Some(failure),
            End::Not | End::Over(_) => self.relay.failure(),
        }
    }

    /// How it is, for a choice among several.
    pub fn facts(&self, now: Instant) -> Facts {
        let facts = self.relay.facts(self.gauge.bytes(), now);
        match self.status() {
            Some(_) => Facts { condition: Condition::GivenUp, ..facts },
            None => facts,
        }
    }

    /// The tunnel as this modem has it, if it may serve it.
    pub fn tunnel(&self, tunnel: &Tunnel) -> Option<Arc<Tunnel>> {
        self.relay.tunnels().iter().find(|known| known.name == tunnel.name).cloned()
    }

    /// The same, and the modem.
    pub fn with_tunnel(&mut self, tunnel: &Tunnel) -> Option<(&mut Self, Arc<Tunnel>)> {
        let tunnel = self.tunnel(tunnel)?;
        Some((self, tunnel))
    }

    /// Whether one of its ports is open.
    pub fn is_connected(&self) -> bool {
        self.ports.iter().any(|slot| slot.connected)
    }
}

/// Starts the embedded modem, if one of these devices is it.
#[cfg(feature = "emulator")]
fn start_emulator(devices: &[Device]) -> anyhow::Result<Option<qssl_modem_emulator::driver::Embedded>> {
    use qssl_modem_emulator::{cli::Options, driver};
    let emulated: Vec<&str> = devices
        .iter()
        .filter_map(|device| match device {
            Device::Emulator(options) => Some(options.as_str()),
            _ => None,
        })
        .collect();
    let Some(text) = emulated.iter().find(|text| !text.is_empty()).or(emulated.first()) else {
        return Ok(None);
    };
    let options = Options::parse_text(text)
        .and_then(|options| options.config(emulated.len(), 0).map(|_| options))
        .map_err(|error| {
            Failure::new(Kind::Usage, format!("--device emulator: {}", crate::terminal::in_full(&error)))
        })?;
    Ok(Some(driver::spawn(options, emulated.len())?))
}
