//! Boot, power-down, and scheduled events.

use std::time::{Duration, Instant};

use crate::config::{Family, Sim};
use crate::events::{Event, Power};
use crate::modem::Modem;
use crate::session::Session;
use crate::store::DriveName;

impl Modem {
    /// Adds an event after those of the same time.
    pub(crate) fn schedule(&mut self, at: Instant, event: Event) {
        let index = self.events.partition_point(|(other, _)| *other <= at);
        self.events.insert(index, (at, event));
    }

    /// Power comes on.
    pub(crate) fn power_up(&mut self, now: Instant) {
        if self.config.booted && self.counters.boots == 0 {
            self.booted(now);
        } else {
            self.power = Power::Booting;
            let time = self.draws.around(self.config.boot_time, self.config.facts.spreads.boot);
            self.schedule(now + time, Event::Booted);
        }
    }

    /// Everything volatile is gone: connections, settings, half-read commands.
    pub(crate) fn power_lost(&mut self) {
        self.power = Power::Off;
        let linked = self.session.sockets.iter().filter(|socket| socket.linked);
        self.doomed.extend(linked.map(|socket| socket.connection));
        self.session = Session::new(&self.config);
        self.store.remove_all(DriveName::Ram);
        self.events.clear();
        self.faults.power_lost();
        for port in &mut self.ports {
            port.reset(&self.config);
        }
    }

    /// Carries out the events whose time has come.
    pub(crate) fn happen(&mut self, now: Instant) -> bool {
        let mut moved = false;
        while self.events.first().is_some_and(|(at, _)| *at <= now) {
            let (due, event) = self.events.remove(0);
            moved = true;
            match event {
                Event::PowerDown { restart } => self.go_down(restart, now),
                Event::Booted => self.booted(now),
                Event::Urc(text) => self.urc(&text),
                Event::LateSendOk(port) => self.late_send_ok(port),
                Event::Foreign(bytes) => self.urc_framed(&bytes),
                Event::Others(next) => {
                    self.urc_framed(OTHERS[next % OTHERS.len()].as_bytes());
                    self.schedule_others(next + 1, due);
                }
                Event::Registration => {
                    self.tell_registration(now);
                    self.attach(now);
                }
                Event::Clock(seconds) => self.clock.set(seconds, due),
            }
        }
        moved
    }

    fn go_down(&mut self, restart: bool, now: Instant) {
        // A multiplexer lasts until the power is off.
        for port in 0..self.ports.len() {
            if self.has_conversation(port) {
                self.ports[port].emit(b"\r\nPOWERED DOWN\r\n");
            }
        }
        self.flush_muxes(now);
        self.power_lost();
        if restart {
            self.power_up(now);
        }
    }

    fn booted(&mut self, now: Instant) {
        let first = self.counters.boots == 0;
        self.counters.boots += 1;
        self.power = Power::On;
        self.schedule_others(0, now);
        if self.session.sim_usable {
            self.search_network(now);
        }
        if first && self.config.booted {
            self.session.registration_told = self.registration_status(now);
            return;
        }
        if self.config.quirks.boots_silently {
            return;
        }
        for port in &mut self.ports[..self.config.ports.len()] {
            port.emit(b"\r\nRDY\r\n");
        }
        let sim = match &self.config.sim {
            Sim::Ready => "+CPIN: READY",
            Sim::Pin(_) if self.wrong_pins >= PIN_ATTEMPTS => "+CPIN: SIM PUK",
            Sim::Puk => "+CPIN: SIM PUK",
            Sim::Pin(_) => "+CPIN: SIM PIN",
            Sim::Absent => "+CPIN: NOT INSERTED",
            Sim::Failed | Sim::Busy => "+CPIN: NOT READY",
        };
        let mut urcs = vec![(0, "+CFUN: 1"), (200, sim)];
        if self.config.sim == Sim::Ready {
            urcs.extend([(400, "+QUSIM: 1"), (800, "+QIND: SMS DONE")]);
            if self.config.family == Family::Ec20 {
                urcs.push((1_200, "+QIND: PB DONE"));
            }
        }
        for (milliseconds, text) in urcs {
            self.schedule(now + Duration::from_millis(milliseconds), Event::Urc(text.into()));
        }
    }

    /// Schedules the next text that other programs make the modem send, if that is configured.
    fn schedule_others(&mut self, next: usize, now: Instant) {
        if let Some(every) = self.config.others_speak_every.filter(|every| !every.is_zero()) {
            self.schedule(now + every, Event::Others(next));
        }
    }

    /// The modem begins to search for its network.
    pub(crate) fn search_network(&mut self, now: Instant) {
        self.session.searching_since = Some(now);
        self.schedule_registration(now);
    }
}

/// Texts that other programs on the same modem make it send.
const OTHERS: [&str; 6] = [
    "\r\n+QIURC: \"recv\",5,52\r\n\r\n+QSSLURC: \"closed\",0\r\n\r\n+QSSLURC: \"recv\",0,4\r\nBADX",
    "\r\n+QIURC: \"recv\",5,4,\"192.0.2.7\",5683\r\nABCD",
    "\r\n+QIURC: \"recv\",5\r\n",
    "\r\n+CMT: \"+490000000\",,\"26/11/26,17:00:00+04\"\r\n+QSSLURC: \"closed\",0\r\n",
    "\r\n+QMTRECV: 0,0,\"alerts\",\"{\r\n+QSSLURC: \"closed\",0\r\n}\"\r\n",
    "\r\n+CUSD: 0,\"balance:\r\n+QSSLURC: \"closed\",0\r\n\",15\r\n",
];

/// Wrong PINs after which the SIM wants its PUK.
pub(crate) const PIN_ATTEMPTS: u8 = 3;
