//! The modem's side of the loop: ports are opened, closed, read and written.

use std::io;
use std::time::{Duration, Instant};

use super::{EventLoop, Source};
use crate::config::{Device, FlowControl, Wait};
use crate::ports::discover::Host;
use crate::ports::finder::Finder;
use crate::ports::{LineCounters, OpenError, Port, PortKind, PortSettings};
use qssl_core::Kind;
use qssl_core::modem::{Failure, PortFacts};
use qssl_core::{Input, PortInput};

/// A port of the modem.
pub(super) struct PortSlot {
    pub finder: Finder,
    pub port: Option<Port>,
    /// Bytes can be moved; a network port must connect first.
    pub connected: bool,
    pub readable: bool,
    /// An event has reported its end: reading goes on until the end is read.
    pub hung_up: bool,
    pub writable: bool,
    /// Events show when it is writable.
    awaits_room: bool,
    /// The kind that the core was last given.
    pub kind: PortKind,
    flow_control: FlowControl,
    /// What its UART had counted when it was last read.
    line: Option<LineCounters>,
    /// The last logged reason why it cannot be opened: a reason is logged once.
    pub said: Option<String>,
    /// Since when its permissions forbid opening it.
    denied_since: Option<Instant>,
    pub attempts: u32,
    pub first_attempt: Instant,
}

impl EventLoop {
    pub(super) fn open_port(&mut self, modem: usize, index: usize) {
        let opened =
            self.open_and_register(modem, index, self.modems[modem].configured.settings.flow_control);
        let unit = &mut self.modems[modem];
        let slot = &mut unit.ports[index];
        slot.attempts += 1;
        match opened {
            Ok(port) => {
                slot.line = port.line_counters();
                slot.port = Some(port);
                slot.connected = false;
                // Tried without an event: the first read and write show whether they would block.
                slot.readable = true;
                slot.writable = true;
                self.finish_connecting(modem, index);
            }
            Err(error) => self.open_failed(modem, index, &error),
        }
    }

    fn open_and_register(
        &mut self,
        modem: usize,
        index: usize,
        flow_control: Option<FlowControl>,
    ) -> Result<Port, OpenError> {
        let settings = PortSettings { baud: self.modems[modem].configured.settings.baud, flow_control };
        let mut port = self.open_device(modem, index, &settings)?;
        port.register(self.poll.registry(), Source::Port(modem, index).token())
            .map_err(|source| OpenError::Io { name: port.name().to_owned(), source })?;
        Ok(port)
    }

    #[cfg(feature = "emulator")]
    fn open_device(
        &mut self,
        modem: usize,
        index: usize,
        settings: &PortSettings,
    ) -> Result<Port, OpenError> {
        let unit = &mut self.modems[modem];
        if let (Device::Emulator(_), Some(emulator)) = (unit.ports[index].finder.device(), &unit.emulator) {
            let is_emulated = |slot: &&PortSlot| matches!(slot.finder.device(), Device::Emulator(_));
            let before = unit.ports[..index].iter().filter(is_emulated);
            if let Some(path) = emulator.paths().get(before.count()) {
                return Port::open_path(path, settings);
            }
        }
        self.modems[modem].ports[index].finder.open(settings)
    }

    #[cfg(not(feature = "emulator"))]
    fn open_device(
        &mut self,
        modem: usize,
        index: usize,
        settings: &PortSettings,
    ) -> Result<Port, OpenError> {
        self.modems[modem].ports[index].finder.open(settings)
    }

    /// A tty is connected at once; a network port takes a moment.
    pub(super) fn finish_connecting(&mut self, modem: usize, index: usize) {
        let unit = &mut self.modems[modem];
        let slot = &mut unit.ports[index];
        let Some(port) = &mut slot.port else { return };
        match port.finish_connecting() {
            Ok(false) => {}
            Ok(true) => {
                slot.connected = true;
                slot.said = None;
                slot.denied_since = None;
                slot.attempts = 0;
                slot.kind = port.kind();
                slot.flow_control = port.flow_control();
                let facts = facts(port);
                unit.relay.handle(Input::Port(index, PortInput::Opened(facts)), self.now);
            }
            Err(error) => {
                let name = port.name().to_owned();
                self.close_port(modem, index);
                self.open_failed(modem, index, &OpenError::Unreachable { name, source: error });
            }
        }
    }

    /// Logs the reason once. The configuration decides whether this ends the process.
    pub(super) fn open_failed(&mut self, modem: usize, index: usize, error: &OpenError) {
        let status = match error {
            OpenError::Locked { .. } | OpenError::Busy { .. } => Kind::PortLocked,
            _ => Kind::PortUnavailable,
        };
        let unit = &mut self.modems[modem];
        let slot = &mut unit.ports[index];
        if slot.attempts == 1 {
            slot.first_attempt = self.now;
        }
        let gives_up = match unit.configured.settings.wait {
            Wait::Forever => false,
            Wait::Not => true,
            Wait::Limited { time, retries } => {
                let waited = self.now.saturating_duration_since(slot.first_attempt);
                time.is_some_and(|time| waited >= time) || retries.is_some_and(|most| slot.attempts > most)
            }
        };
        let text = error.to_string();
        if gives_up {
            unit.gives_up(Failure::new(status, text));
            return self.modem_is_over(modem);
        }
        // The device of a modem that was plugged in a moment ago may have no group yet.
        let denied_since = match error {
            OpenError::Denied { .. } => *slot.denied_since.get_or_insert(self.now),
            _ => {
                slot.denied_since = None;
                self.now
            }
        };
        let is_settling = matches!(error, OpenError::Denied { .. })
            && self.now.saturating_duration_since(denied_since) < DENIED_GRACE;
        if is_settling {
            log::debug!("{text}; it may have no group yet");
        } else if slot.said.as_ref() != Some(&text) {
            log::warn!("{text}; waiting for it");
            slot.said = Some(text);
        }
        let is_missing = matches!(
            error,
            OpenError::Missing { .. } | OpenError::NoModem { .. } | OpenError::NoneAnswers { .. }
        );
        unit.relay.handle(Input::Port(index, PortInput::Failed { is_missing }), self.now);
    }

    pub(super) fn close_port(&mut self, modem: usize, index: usize) {
        let unit = &mut self.modems[modem];
        let slot = &mut unit.ports[index];
        if let Some(mut port) = slot.port.take() {
            // Closing removes it from epoll in any case.
            let _ = port.deregister(self.poll.registry());
        }
        slot.connected = false;
        slot.readable = false;
        slot.hung_up = false;
        slot.writable = false;
        slot.awaits_room = false;
    }

    /// Opens the port again without RTS/CTS, or with them where they are wanted; the other facts stay the same.
    pub(super) fn reopen_with_flow_control(&mut self, modem: usize, index: usize, on: bool) {
        self.close_port(modem, index);
        let wanted = self.modems[modem].configured.settings.flow_control;
        let opened = self.open_and_register(modem, index, if on { wanted } else { Some(FlowControl::None) });
        let unit = &mut self.modems[modem];
        let slot = &mut unit.ports[index];
        match opened {
            Ok(port) => {
                slot.port = Some(port);
                slot.connected = true;
                slot.readable = true;
                slot.writable = true;
            }
            Err(error) => {
                log::debug!("{error}");
                unit.relay.handle(Input::Port(index, PortInput::Lost), self.now);
            }
        }
    }

    pub(super) fn write_port(&mut self, modem: usize, index: usize) -> bool {
        let unit = &mut self.modems[modem];
        let slot = &mut unit.ports[index];
        let Some(port) = &mut slot.port else { return false };
        let is_held = self.outside.as_ref().is_some_and(|outside| outside.is_held);
        if !slot.connected || !slot.writable || is_held {
            return false;
        }
        if let Err(error) = port.flush() {
            return self.port_lost(modem, index, &error);
        }
        let output = unit.relay.port_output(index);
        if output.is_empty() {
            return false;
        }
        match port.write(output) {
            Ok(count) => {
                self.moved_bytes += count;
                let is_full = count < output.len() && port.short_is_last();
                unit.relay.port_written(index, count, self.now);
                if is_full {
                    self.port_full(modem, index);
                }
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.port_full(modem, index);
                false
            }
            Err(error) => self.port_lost(modem, index, &error),
        }
    }

    fn port_full(&mut self, modem: usize, index: usize) {
        self.modems[modem].ports[index].writable = false;
        self.await_room(modem, index, true);
    }

    /// Bytes can be written. If that was known already, events that show it are no longer needed.
    pub(super) fn port_writable(&mut self, modem: usize, index: usize) {
        if std::mem::replace(&mut self.modems[modem].ports[index].writable, true) {
            self.await_room(modem, index, false);
        }
    }

    fn await_room(&mut self, modem: usize, index: usize, is_awaited: bool) {
        let unit = &mut self.modems[modem];
        let slot = &mut unit.ports[index];
        let Some(port) = &mut slot.port else { return };
        if slot.awaits_room == is_awaited {
            return;
        }
        slot.awaits_room = is_awaited;
        if let Err(error) =
            port.await_room(self.poll.registry(), Source::Port(modem, index).token(), is_awaited)
        {
            self.port_lost(modem, index, &error);
        }
    }

    pub(super) fn read_port(&mut self, modem: usize, index: usize) -> bool {
        let unit = &mut self.modems[modem];
        let wanted = unit.relay.wants_port_bytes(index).min(self.buffer.len());
        let slot = &mut unit.ports[index];
        let Some(port) = &mut slot.port else { return false };
        if !slot.connected || !slot.readable || wanted == 0 {
            return false;
        }
        let result = port.read(&mut self.buffer[..wanted]);
        if port.write_may_continue() {
            slot.writable = true;
        }
        let (kind, flow_control) = (port.kind(), port.flow_control());
        if kind != slot.kind || flow_control != slot.flow_control {
            (slot.kind, slot.flow_control) = (kind, flow_control);
            unit.relay.handle(Input::Port(index, PortInput::Facts(facts(port))), self.now);
        }
        let dcd = match unit.relay.wants_port_lines(index) {
            true => port.lines().ok().map(|lines| lines.dcd),
            false => None,
        };
        if let Some(dcd) = dcd {
            unit.relay.handle(Input::Port(index, PortInput::Lines { dcd }), self.now);
        }
        // Counted after the read, so that no gap in these bytes is missed.
        let line = slot.line.and_then(|_| port.line_counters());
        if let (Some(before), Some(now)) = (std::mem::replace(&mut slot.line, line), line)
            && before != now
        {
            let (lost, wrong) = (now.lost.wrapping_sub(before.lost), now.wrong.wrapping_sub(before.wrong));
            unit.relay.handle(Input::Port(index, PortInput::Garbled { lost, wrong }), self.now);
        }
        if port.may_have_dropped() {
            unit.relay.handle(Input::Port(index, PortInput::Overrun), self.now);
        }
        match result {
            // No bytes for the core, but perhaps more to read.
            Ok(0) => true,
            Ok(count) => {
                // A hang-up is noticed only by reading on.
                slot.readable = count == wanted || slot.hung_up || !port.short_is_last();
                self.moved_bytes += count;
                unit.relay.port_received(index, &self.buffer[..count], self.now);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                slot.readable = false;
                false
            }
            Err(error) => self.port_lost(modem, index, &error),
        }
    }

    pub(super) fn port_lost(&mut self, modem: usize, index: usize, error: &io::Error) -> bool {
        log::warn!("{error}");
        // Closed at once, so that a device that comes back gets its old name.
        self.close_port(modem, index);
        self.rescue_clients_of(modem);
        self.modems[modem].relay.handle(Input::Port(index, PortInput::Lost), self.now);
        true
    }
}

impl PortSlot {
    pub fn new(device: Device, now: Instant) -> Self {
        PortSlot {
            finder: Finder::new(device, Host::this()),
            port: None,
            connected: false,
            readable: false,
            hung_up: false,
            writable: false,
            awaits_room: false,
            kind: PortKind::default(),
            flow_control: FlowControl::None,
            line: None,
            said: None,
            denied_since: None,
            attempts: 0,
            first_attempt: now,
        }
    }
}

/// How long permissions may be missing: udev sets the group of a device a moment after the kernel has made it.
const DENIED_GRACE: Duration = Duration::from_secs(5);

/// What the core is given about a port.
fn facts(port: &Port) -> PortFacts {
    let kind = port.kind();
    PortFacts {
        name: port.name().to_owned(),
        is_uart: kind.is_uart,
        is_paced: kind.is_uart || matches!(port, Port::Tcp(_)),
        is_remote: !matches!(port, Port::Serial(_)),
        has_dcd: kind.has_dcd,
        dcd_is_live: matches!(port, Port::Serial(_)),
        has_dtr: kind.has_dtr,
        sharing: qssl_core::modem::Sharing::Alone,
        lacks_flow_control: kind.is_uart && port.flow_control() == FlowControl::None,
        drops_unread: port.drops_unread(),
        // On a device server it may be any port of the modem.
        at_port: match port {
            Port::Serial(_) => kind.at_port.or(kind.is_uart.then_some("uart1")),
            Port::Rfc2217(_) | Port::Tcp(_) => None,
        },
    }
}
