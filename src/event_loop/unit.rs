//! A modem of the loop: its core, its ports, and the clients that it serves.

use std::sync::Arc;
use std::time::Instant;

use super::clients::ClientSlot;
use super::daemon::Gauge;
use super::ports::PortSlot;
#[cfg(feature = "emulator")]
use crate::config::Device;
use crate::config::{self, Configuration};
use crate::daemon::logging::Scope;
use qssl_core::Kind;
use qssl_core::fleet::{Condition, Facts};
use qssl_core::modem::Failure;
use qssl_core::relay::Relay;
use qssl_core::settings::Tunnel;

/// A modem, and what belongs to it alone. It stays where it is in the list of the loop.
pub(super) struct ModemUnit {
    /// Its part of the configuration, with what belongs to its open ports as it was when they were opened.
    pub configured: config::Modem,
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
///
/// ```text
///   Not ──its core has ended────► Over            Not ──its port was given up──► PortGivenUp
///   Not ──not configured any more──► Leaving ──drained──► Gone ──configured again──► another unit
/// ```
enum End {
    /// It is.
    Not,
    /// It is not configured any more: it takes no clients, and those that it has end as in a shutdown.
    Leaving,
    /// It was not configured any more, and has ended.
    Gone,
    /// Its core has ended, with this status.
    Over(Kind),
    /// Its port was given up.
    PortGivenUp(Failure),
}

impl ModemUnit {
    /// A modem of this configuration, whose ports are not open yet.
    pub fn new(
        configuration: &Configuration,
        configured: &config::Modem,
        now: Instant,
    ) -> anyhow::Result<Self> {
        let mut relay = Relay::new(configuration.settings(configured), now);
        relay.set_seed(super::by_chance());
        Ok(ModemUnit {
            configured: configured.clone(),
            log_name: None,
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

    /// It is the one at `position` of `count`, and its next client has this number at least.
    pub fn is_one_of(&mut self, count: usize, position: usize, first: u64) {
        self.relay.is_one_of(count, position);
        self.relay.number_from(first);
        if count > 1 && self.log_name.is_none() {
            self.log_name = Some(Box::leak(self.configured.name.clone().into_boxed_str()));
        }
    }

    /// It was configured before as this one, which is gone: what is counted goes on.
    pub fn goes_on_from(&mut self, before: ModemUnit) {
        self.log_name = before.log_name;
        self.recoveries = before.recoveries;
        self.relay.goes_on_from(before.relay);
    }

    /// What is logged from now on is about this modem.
    pub fn scope(&self) -> Scope {
        Scope::new(self.log_name)
    }

    /// The core has ended.
    pub fn is_over(&mut self, status: Kind) {
        self.end = match self.end {
            End::Leaving | End::Gone => End::Gone,
            End::Not | End::Over(_) | End::PortGivenUp(_) => End::Over(status),
        };
    }

    /// The port is not waited for any longer.
    pub fn gives_up(&mut self, failure: Failure) {
        self.end = match self.end {
            End::Leaving | End::Gone => End::Gone,
            End::Not | End::Over(_) | End::PortGivenUp(_) => End::PortGivenUp(failure),
        };
    }

    /// It is not configured any more.
    pub fn leaves(&mut self) {
        self.end = match self.end {
            End::Not | End::Leaving => End::Leaving,
            End::Gone | End::Over(_) | End::PortGivenUp(_) => End::Gone,
        };
    }

    /// The configuration has this for it now. What belongs to its open ports stays.
    pub fn is_now(&mut self, new: &config::Modem) {
        let old = std::mem::replace(&mut self.configured, new.clone());
        self.configured.devices = old.devices;
        let (now, before) = (&mut self.configured.settings, old.settings);
        (now.baud, now.flow_control) = (before.baud, before.flow_control);
        (now.cmux, now.cmux_frame) = (before.cmux, before.cmux_frame);
    }

    /// Whether it has the name of this one.
    pub fn is_called(&self, other: &ModemUnit) -> bool {
        self.configured.name == other.configured.name
    }

    /// Whether it is configured.
    pub fn is_configured(&self) -> bool {
        !matches!(self.end, End::Leaving | End::Gone)
    }

    /// Whether it is neither configured nor in use.
    pub fn is_gone(&self) -> bool {
        matches!(self.end, End::Gone)
    }

    /// The status that it has ended with.
    pub fn status(&self) -> Option<Kind> {
        match &self.end {
            End::Not | End::Leaving => None,
            End::Gone => Some(Kind::Done),
            End::Over(status) => Some(*status),
            End::PortGivenUp(failure) => Some(failure.kind),
        }
    }

    /// What made it unusable.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.end {
            End::PortGivenUp(failure) => Some(failure),
            End::Gone => None,
            End::Not | End::Leaving | End::Over(_) => self.relay.failure(),
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
