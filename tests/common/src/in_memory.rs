//! The core in memory: bytes move between client and emulated modem without system calls or a serial line.
//!
//! The cost of the core is measured separately: [`in_core`] shows whether the core is running.

#![allow(clippy::disallowed_methods, reason = "what the core takes is measured")]

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qssl_core::at::IdSet;
use qssl_core::modem::{self, PortFacts};
use qssl_core::relay::{Action, ClientId, Relay};
use qssl_core::settings::{self, Authentication, Mode, Settings, Tls, Tunnel};
use qssl_core::{ClientInput, Input, PortInput};
use qssl_modem_emulator as emulator;
use qssl_modem_emulator::PortName;

use crate::world::{FarEnd, World};

thread_local! {
    static IN_CORE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside the core.
pub fn in_core() -> bool {
    IN_CORE.get()
}

/// Core and modem, with clients that always read.
pub struct Rig {
    relay: Relay,
    modem: emulator::Modem,
    world: World,
    /// The name of the modem's port.
    at_port: &'static str,
    now: Instant,
    clients: Vec<ClientId>,
    buffer: Vec<u8>,
    /// Bytes that all clients together have received.
    received: u64,
    /// Time that the core has taken so far.
    pub spent: Duration,
}

impl Rig {
    /// A rig with this many clients, whose connections in this mode are open.
    pub fn new(mode: Mode, far_end: FarEnd, clients: usize) -> Rig {
        let port = (PortName::UsbModem, "usbmodem");
        Rig::on(port, settings::Modem::default(), mode, far_end, clients)
    }

    /// The same with one client on a UART, which has one channel, or several.
    pub fn on_uart(cmux: settings::Cmux, mode: Mode, far_end: FarEnd) -> Rig {
        let modem = settings::Modem { cmux, ..settings::Modem::default() };
        let rig = Rig::on((PortName::Uart1, "uart1"), modem, mode, far_end, 1);
        assert_eq!(rig.modem.mux(0).is_some(), cmux == settings::Cmux::On);
        rig
    }

    fn on(
        (port, at_port): (PortName, &'static str),
        modem: settings::Modem,
        mode: Mode,
        far_end: FarEnd,
        clients: usize,
    ) -> Rig {
        let now = Instant::now();
        let target = "server.test:443".parse().expect("a target");
        let tunnel = Tunnel::new("bench", target, Tls::new(Authentication::Insecure));
        let settings = Settings {
            modem: settings::Modem { sockets: IdSet::first(12), ..modem },
            tunnels: vec![Arc::new(Tunnel { mode, ..tunnel })],
            ..Settings::default()
        };
        let modem = emulator::Config { ports: vec![port], ..emulator::Config::default() };
        let mut rig = Rig {
            relay: Relay::new(settings, now),
            modem: emulator::Modem::new(modem, now),
            world: World::new(far_end),
            at_port,
            now,
            clients: Vec::new(),
            buffer: vec![b'.'; 64 * 1024],
            received: 0,
            spent: Duration::ZERO,
        };
        for number in 0..clients {
            let tunnel = rig.relay.tunnels()[0].clone();
            let id = rig.relay.client_accepted(&tunnel, format!("client {number}"), now);
            rig.clients.push(id);
        }
        while rig.world.opened < clients as u64 {
            rig.step(&mut 0);
        }
        while rig.step(&mut 0) {}
        rig
    }

    /// Sends this many bytes up, divided among all clients.
    pub fn send(&mut self, bytes: u64) {
        let mut left = bytes;
        let until = self.world.read + bytes;
        while self.world.read < until {
            self.step(&mut left);
        }
    }

    /// Receives this many bytes from sources.
    pub fn receive(&mut self, bytes: u64) {
        let until = self.received + bytes;
        self.world.to_say += bytes;
        self.modem.network_changed(self.now, &mut self.world);
        while self.received < until {
            self.step(&mut 0);
        }
    }

    /// Ends one client in order, and connects another one.
    pub fn exchange_a_client(&mut self) {
        let now = self.now;
        let id = self.clients.remove(0);
        let opened = self.world.opened;
        self.timed(|relay| {
            relay.handle(Input::Client(id, ClientInput::Finished), now);
            relay.handle(Input::Client(id, ClientInput::Gone), now);
        });
        let tunnel = self.relay.tunnels()[0].clone();
        let id = self.timed(|relay| relay.client_accepted(&tunnel, String::new(), now));
        self.clients.push(id);
        while self.world.opened == opened {
            self.step(&mut 0);
        }
        while self.step(&mut 0) {}
    }

    /// Moves all bytes that can move; `to_send` is what clients still have to send. If nothing moves, advances the
    /// time and returns false.
    fn step(&mut self, to_send: &mut u64) -> bool {
        let mut moved = false;
        let now = self.now;
        while let Some(action) = self.timed(Relay::poll_action) {
            moved = true;
            match action {
                Action::Modem(modem::Action::OpenPort(port)) => {
                    let facts = PortFacts { at_port: Some(self.at_port), ..PortFacts::default() };
                    self.timed(|relay| relay.handle(Input::Port(port, PortInput::Opened(facts)), now));
                }
                Action::Modem(modem::Action::TellTime) => {
                    self.timed(|relay| relay.handle(Input::HostClock(HOST_CLOCK), now));
                }
                Action::Modem(modem::Action::AskQueue(port)) => {
                    self.timed(|relay| relay.handle(Input::Port(port, PortInput::Queue(0)), now));
                }
                Action::AskClient(client) => {
                    self.timed(|relay| relay.handle(Input::Client(client, ClientInput::Queue(0)), now))
                }
                Action::Stop(status) => panic!("the core stopped: {status}"),
                _ => {}
            }
        }
        let output = self.relay.port_output(0);
        if !output.is_empty() {
            let count = output.len().min(self.modem.wants_bytes(0));
            self.modem.received(0, &output[..count], now, &mut self.world);
            self.timed(|relay| relay.port_written(0, count, now));
            moved |= count > 0;
        }
        let output = self.modem.output(0);
        let count = output.len().min(self.relay.wants_port_bytes(0));
        if count > 0 {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer[..count].copy_from_slice(&output[..count]);
            self.modem.written(0, count, now);
            self.timed(|relay| relay.port_received(0, &buffer[..count], now));
            self.buffer = buffer;
            moved = true;
        }
        for index in 0..self.clients.len() {
            let id = self.clients[index];
            let count = self.relay.client_output(id).len();
            if count > 0 {
                self.received += count as u64;
                self.timed(|relay| relay.client_written(id, count, now));
                moved = true;
            }
            let count = self.relay.wants_client_bytes(id).min(*to_send as usize).min(CLIENT_BYTES);
            if count > 0 {
                *to_send -= count as u64;
                let buffer = std::mem::take(&mut self.buffer);
                self.timed(|relay| relay.client_received(id, &buffer[..count], now));
                self.buffer = buffer;
                moved = true;
            }
        }
        if !moved {
            self.now += Duration::from_millis(1);
            let now = self.now;
            if self.modem.next_deadline().is_some_and(|at| at <= now) {
                self.modem.deadline_passed(now, &mut self.world);
            }
            if self.relay.next_deadline().is_some_and(|at| at <= now) {
                self.timed(|relay| relay.handle(Input::Deadline, now));
            }
        }
        moved
    }

    fn timed<T>(&mut self, act: impl FnOnce(&mut Relay) -> T) -> T {
        let begin = Instant::now();
        IN_CORE.set(true);
        let result = act(&mut self.relay);
        IN_CORE.set(false);
        self.spent += begin.elapsed();
        result
    }
}

/// Seconds since 1970.
const HOST_CLOCK: i64 = 1_790_000_000;

/// What a client sends in one write.
const CLIENT_BYTES: usize = 4 * 1024;
