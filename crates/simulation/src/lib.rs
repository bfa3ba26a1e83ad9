//! Core, line and modem in one simulated time: does what the event loop does, without I/O.
//!
//! ```text
//!   actors ◄──► Relay (the core) ◄──► Wire ◄──► Modem (the emulator) ◄──► Simulated network ◄──► Far
//! ```
//! After each change everything that can move is moved; then time jumps to the next deadline of any part.
//! What must always hold is checked after every step, so that tests need not check it.

mod actor;
pub mod by_hand;
mod chance;
pub mod datagrams;
mod far;
pub mod figures;
pub mod fleet;
pub mod material;
pub mod trace;
mod wire;
pub mod wiring;
mod witness;

use std::sync::Arc;
use std::time::{Duration, Instant};

use qssl_core::Kind;
use qssl_core::at::SocketId;
use qssl_core::modem::{
    self, CommandOutcome, INCOMING_LIMIT_BYTES, OUTGOING_LIMIT_BYTES, PortFacts, PortState,
};
use qssl_core::relay::{Action, ClientId, Relay};
use qssl_core::settings::{self, Identity, Mode, Settings, Tunnel};
use qssl_core::{ClientInput, Input, PortInput};
use qssl_modem_emulator as emulator;
use qssl_modem_emulator::PortName;
use qssl_modem_emulator::network::simulated::{Plan, Simulated};
use qssl_modem_emulator::network::{Close, Network, TlsParameters, simulated};

pub use actor::{Actor, Outcome};
pub use chance::Chance;
use datagrams::{Addresses, DatagramTunnel};
pub use far::Far;
use wire::Wire;
use wiring::{Fault, Port, Security, Wiring};
use witness::{Seen, Witness};

/// What the host's clock shows at the start, in seconds since 1970.
pub const HOST_CLOCK: i64 = 1_790_000_000;

/// A run.
pub struct Simulation {
    wiring: Wiring,
    start: Instant,
    /// The time now.
    pub now: Instant,
    /// The core.
    pub relay: Relay,
    /// The modem.
    pub modem: emulator::Modem,
    network: Simulated,
    wires: Vec<Wire>,
    witnesses: Vec<Witness>,
    /// The clients, in the order of the wiring's connections.
    pub clients: Vec<Actor>,
    /// Their servers.
    pub fars: Vec<Far>,
    /// The addresses that send datagrams.
    pub addresses: Addresses,
    /// How many bytes of each connection were compared already: read by the server, received by the client.
    compared: Vec<(usize, usize)>,
    /// The connections where an escape reached the server as payload while the client knew of no end.
    spoiled: Vec<bool>,
    /// The clients that may miss bytes, because their port lost some for lack of room and does not count losses.
    met_overrun: Vec<bool>,
    faults: Vec<(Instant, Fault)>,
    /// How many opens have been checked, and what is wrong with the TLS settings of each connection's last one.
    opens_seen: usize,
    weak: Vec<Option<String>>,
    /// By how many seconds the host's clock has jumped.
    pub host_clock_ahead: i64,
    /// When the last command of another program took or takes effect.
    meddled_at: Option<Instant>,
    /// The end of the last stall: commands sent during it take effect then.
    stalled_until: Instant,
    /// When the core reported that sockets can be opened, each time.
    pub ready_at: Vec<Instant>,
    /// When the core asked to run the user's reset command, each time.
    pub reset_commands: Vec<Instant>,
    /// The answers to commands from outside; `None`: the modem did not answer.
    pub answers: Vec<Option<CommandOutcome>>,
    /// The status that it ended with.
    pub stopped: Option<Kind>,
    /// Bytes from the host to the modem and back, per port.
    pub carried: Vec<(u64, u64)>,
    /// Everything that the host sent, in order, one entry per write.
    pub host_said: Vec<Vec<u8>>,
    /// The modem's counters when the core was ready for the first time.
    counters_when_ready: Option<emulator::Counters>,
    idle_steps: u32,
    steps: u64,
}

impl Wiring {
    /// Begins the run.
    pub fn start(&self) -> Simulation {
        Simulation::new(self.clone(), true)
    }

    /// Begins the run without keeping its trace.
    pub fn start_quietly(&self) -> Simulation {
        Simulation::new(self.clone(), false)
    }
}

impl Simulation {
    fn new(mut wiring: Wiring, traced: bool) -> Self {
        trace::begin(traced);
        trace::at(Duration::ZERO);
        if wiring.faults.iter().any(|(_, fault)| matches!(fault, Fault::OtherProgram(_))) {
            wiring.modem.ports.push(PortName::Uart2);
        }
        let start = base();
        let fars: Vec<Far> = wiring.connections.iter().map(|_| Far::default()).collect();
        for connection in &wiring.connections {
            if let Some(tunnel) = connection.through {
                fars[tunnel].keep_conversations();
            }
        }
        for (far, _) in fars.iter().zip(&wiring.connections).filter(|(_, it)| it.limits.warm.count > 0) {
            far.keep_conversations();
        }
        let mut network = Simulated::new(start, Plan::new(simulated::Behaviour::sink()));
        network.keep_bytes(false);
        network.set_time(HOST_CLOCK, start);
        for (index, connection) in wiring.connections.iter().enumerate() {
            let (far, behaviour) = (fars[index].clone(), connection.far_end.clone());
            let plan = Plan {
                opening: connection.opening.clone(),
                latency: connection.latency,
                window_bytes: connection.window_bytes,
                far_end: Box::new(move |_| far.start(behaviour.clone())),
            };
            network.plan(Wiring::host(index).as_str(), SERVER_PORT, plan);
        }
        for (number, tunnel) in wiring.datagrams.iter().enumerate() {
            let host = DatagramTunnel::host(number);
            network.plan_datagrams(host.as_str(), datagrams::SERVER_PORT, tunnel.plan.clone());
        }
        network.keep_datagrams(true);
        let mut modem = emulator::Modem::new(wiring.modem.clone(), start);
        let mut now = start;
        for bytes in &wiring.typed_before {
            modem.received(0, bytes, now, &mut network);
            // The other program waits 3 s and takes everything that the modem sends.
            let until = now + Duration::from_secs(3);
            while now < until {
                let due = modem.next_deadline().into_iter().chain(network.next_deadline()).min();
                now = due.map_or(until, |due| due.clamp(now + Duration::from_micros(1), until));
                network.advance(now);
                modem.deadline_passed(now, &mut network);
                for port in 0..wiring.ports.len() {
                    let count = modem.output(port).len();
                    modem.written(port, count, now);
                }
            }
        }
        let wires = wiring.ports.iter().enumerate().map(|(index, port)| {
            let modem_baud = modem.baud(index);
            Wire::new(port.clone(), wiring.settings.baud, modem_baud, wiring.seed ^ index as u64)
        });
        let wires = wires.collect();
        let longest = wiring.connections.iter().map(|it| it.limits.connect_timeout).max().unwrap_or_default();
        let no_limit = wiring.connections.iter().any(|it| it.limits.connect_timeout.is_zero());
        let stream_open =
            if no_limit { Duration::from_secs(450) } else { longest.max(Duration::from_secs(10)) };
        // Deadlines include the line's time, and a modem that boots may use a lower speed.
        let baud = wiring.settings.baud.min(wiring.modem.baud);
        let limits = witness::Limits { command: wiring.settings.command_timeout, stream_open };
        // It does not read frames.
        let is_framed = wiring.settings.cmux != settings::Cmux::Off;
        let is_blind = |port: &Port| port.alters_unseen() || is_framed;
        let witness = |port: &Port| Witness::new(is_blind(port), port.is_uart, baud, limits, now);
        let witnesses = wiring.ports.iter().map(witness).collect();
        let clients = wiring.connections.iter().enumerate();
        let clients =
            clients.map(|(index, it)| Actor::new(it.client.clone(), 1_000 + index as u64)).collect();
        let mut relay = Relay::new(settings(&wiring), now);
        relay.set_seed(wiring.seed);
        let faults = wiring.faults.iter().map(|(at, fault)| (now + *at, fault.clone())).collect();
        Simulation {
            start: now,
            now,
            relay,
            modem,
            network,
            wires,
            witnesses,
            clients,
            addresses: Addresses::new(&wiring.datagrams, fars.len()),
            compared: vec![(0, 0); fars.len()],
            spoiled: vec![false; fars.len()],
            met_overrun: vec![false; fars.len()],
            opens_seen: 0,
            weak: vec![None; fars.len()],
            host_clock_ahead: 0,
            meddled_at: None,
            stalled_until: now,
            fars,
            faults,
            ready_at: Vec::new(),
            reset_commands: Vec::new(),
            answers: Vec::new(),
            stopped: None,
            carried: vec![(0, 0); wiring.ports.len()],
            host_said: Vec::new(),
            counters_when_ready: None,
            idle_steps: 0,
            steps: 0,
            wiring,
        }
    }

    // Running.

    /// Lets this much time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while self.pass(end) {
            self.settle();
        }
    }

    /// Runs until `goal` is reached, and fails if that takes longer than `limit`. Returns how long it took.
    pub fn run_until(&mut self, what: &str, limit: Duration, goal: impl Fn(&Simulation) -> bool) -> Duration {
        let (begin, end) = (self.now, self.now + limit);
        self.settle();
        while !goal(self) {
            assert!(self.pass(end), "{what}: not within {limit:?}");
            self.settle();
        }
        self.now - begin
    }

    /// Runs until the core is ready for connections.
    pub fn run_until_ready(&mut self) -> Duration {
        self.run_until("the core is ready", Duration::from_secs(120), |sim| sim.relay.modem().is_up())
    }

    /// Runs until every client has ended, and then until every socket is free again.
    pub fn run_to_the_end(&mut self, limit: Duration) {
        self.run_until("every client ends", limit, |sim| {
            sim.clients.iter().all(|client| client.outcome.is_some()) && sim.addresses.are_done()
        });
        // Those that are open ahead are closed as they become old, and not replaced.
        if self.relay.opens_ahead() {
            self.relay.handle(Input::OpenAhead(false), self.now);
        }
        // A module that refuses to close an opening socket gives it up itself, after 150 s and negotiatetime.
        let patience = if self.wiring.modem.quirks.close_of_opening_refused { 300 } else { 200 };
        self.run_until("every socket is given back", Duration::from_secs(patience), |sim| {
            let modem = &sim.modem;
            modem.sockets_in_use().is_empty()
                && modem.plain_sockets_in_use().is_empty()
                && sim.relay.client_count() == 0
        });
        let is_lossless = |tunnel: &DatagramTunnel| tunnel.plan.behaviour.lost_of_1000 == 0;
        let are_lossless = self.wiring.faults.is_empty() && self.wiring.datagrams.iter().all(is_lossless);
        self.addresses.settle(&self.relay, self.network.records(), are_lossless);
    }

    /// Checks what must hold in a run without faults: no bytes were dropped or lost anywhere.
    pub fn assert_nothing_swallowed(&self) {
        let before = self.counters_when_ready.expect("the core was ready");
        let after = self.modem.counters();
        assert_eq!(
            after.bytes_dropped_while_busy, before.bytes_dropped_while_busy,
            "bytes before a prompt or result"
        );
        assert_eq!(
            after.bytes_lost_without_flow_control, before.bytes_lost_without_flow_control,
            "bytes lost"
        );
        assert_eq!(after.pushed_bytes_lost, before.pushed_bytes_lost, "pushed bytes lost");
        assert_eq!(after.urcs_lost, before.urcs_lost, "urcs lost");
    }

    /// Checks that everything was delivered in both directions, and that the client was not reset.
    pub fn assert_complete(&self, connection: usize) {
        let (client, far) = (&self.clients[connection], self.fars[connection].memory());
        assert_eq!(client.received.len(), far.said.len(), "connection {connection}: down");
        assert_eq!(client.sent, far.read.len() as u64, "connection {connection}: up");
        assert_ne!(client.outcome, Some(Outcome::Reset), "connection {connection}");
    }

    /// Checks the clients of a tunnel whose server may have several connections at once: each connection has heard one
    /// client, or nobody, and each client has heard the server of its own connection, and everything it said if the end
    /// was in order. Clients that send tell them apart by their bytes.
    pub fn assert_own_conversations(&self, tunnel: usize) {
        let clients = self.clients.iter().enumerate().zip(&self.wiring.connections);
        let clients = clients
            .filter(|((index, _), it)| it.through.unwrap_or(*index) == tunnel)
            .map(|(client, _)| client);
        let mut conversations = self.fars[tunnel].memory().conversations.clone();
        for (index, client) in clients.filter(|(_, client)| client.sent > 0) {
            let sent = client.sent_bytes(0, client.sent as usize);
            let own = conversations.iter().position(|it| !it.read.is_empty() && sent.starts_with(&it.read));
            let Some(own) = own else {
                assert!(
                    client.received.is_empty(),
                    "client {index} has heard a server that it was not joined to"
                );
                assert_ne!(client.outcome, Some(Outcome::Eof), "client {index}: nothing of it arrived");
                continue;
            };
            let own = conversations.swap_remove(own);
            assert!(own.said.starts_with(&client.received), "client {index} has heard what was not for it");
            if client.outcome == Some(Outcome::Eof) {
                assert_eq!(
                    (own.read.len(), own.said.len()),
                    (sent.len(), client.received.len()),
                    "client {index}"
                );
            }
        }
        for rest in conversations {
            assert!(rest.read.is_empty(), "a connection has heard what no client sent to it alone");
        }
    }

    /// Checks that no connection to this server has heard two clients.
    pub fn assert_nothing_mixed(&self, tunnel: usize) {
        for conversation in self.fars[tunnel].memory().conversations.iter().filter(|it| !it.read.is_empty()) {
            let is_by = |client: &Actor| {
                is_filled_up(&conversation.read, &client.sent_bytes(0, client.sent as usize))
            };
            assert!(
                self.clients.iter().any(is_by),
                "tunnel {tunnel}: a connection has heard what no client alone has sent: {}",
                trace::shown(&conversation.read)
            );
        }
    }

    /// Checks that each client of a tunnel whose server may have several connections at once has read what one of them
    /// said, in order, and has read an end of file only after all of it. Reboots excuse some of it, so runs with them are
    /// not checked.
    pub fn assert_heard_one(&self, tunnel: usize) {
        if self.modem.counters().boots > 1 || self.wiring.ports.iter().any(Port::alters_unseen) {
            return;
        }
        let is_excused = self.can_end_unseen() || self.can_be_ended_by_another();
        let conversations = &self.fars[tunnel].memory().conversations;
        for (index, client) in self.clients.iter().enumerate() {
            if self.wiring.connections[index].through.unwrap_or(index) != tunnel || self.met_overrun[index] {
                continue;
            }
            let is_ended = client.saw_end && client.outcome != Some(Outcome::Reset) && !is_excused;
            let sent = client.sent_bytes(0, client.sent as usize);
            let is_its_own = |it: &far::Conversation| {
                let is_over = it.has_ended && it.said.len() == client.received.len();
                it.said.starts_with(&client.received)
                    && is_filled_up(&it.read, &sent)
                    && (is_over || !is_ended)
            };
            let is_silent = client.received.is_empty() && !is_ended;
            let same = |it: &far::Conversation| {
                let both = it.said.iter().zip(&client.received);
                (both.take_while(|(said, received)| said == received).count(), it.said.len(), it.read.len())
            };
            assert!(
                is_silent || conversations.iter().any(is_its_own),
                "client {index} of tunnel {tunnel} has read {} bytes, with an end: {is_ended}, and sent {}; its servers \
                 (bytes alike, said, read): {:?}",
                client.received.len(),
                sent.len(),
                conversations.iter().map(same).collect::<Vec<_>>()
            );
        }
    }

    /// How the client of a connection ended.
    pub fn outcome(&self, connection: usize) -> Option<Outcome> {
        self.clients[connection].outcome
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// SIGTERM.
    pub fn shutdown(&mut self) {
        self.relay.handle(Input::Shutdown { signal: 15 }, self.now);
        self.drain();
    }

    /// Injects a fault now.
    pub fn inject(&mut self, fault: Fault) {
        self.go_wrong(fault);
        self.drain();
    }

    /// The log messages that are shown without `-v`.
    pub fn logged(&self) -> Vec<String> {
        trace::logged()
    }

    /// The TLS settings that were in effect in the modem at each open, in order.
    pub fn settings_at_opens(&self) -> Vec<TlsParameters> {
        self.network.records().iter().filter_map(|record| record.request.tls.clone()).collect()
    }

    /// How the modem closed the last connection to the server of this one.
    pub fn server_saw(&self, connection: usize) -> Option<Close> {
        let host = Wiring::host(connection);
        let mut records = self.network.records().iter().rev();
        records.find(|record| record.request.host == host.as_str())?.closed
    }

    /// How many bytes from the host have not reached the modem yet.
    pub fn on_its_way(&self, port: usize) -> usize {
        self.wires[port].on_its_way(self.now)
    }

    /// Whether RTS and CTS are in effect on the host's side of a port.
    pub fn host_flow_control(&self, port: usize) -> bool {
        self.wires[port].host_flow_control
    }

    /// How many writes of the host begin like this.
    pub fn said(&self, beginning: &str) -> usize {
        self.host_said.iter().filter(|line| line.starts_with(beginning.as_bytes())).count()
    }

    /// The sum of what the witnesses of all ports have seen.
    pub fn seen(&self) -> Seen {
        self.witnesses.iter().fold(Seen::default(), |sum, witness| Seen {
            commands: sum.commands + witness.seen.commands,
            payloads: sum.payloads + witness.seen.payloads,
            given_up: sum.given_up + witness.seen.given_up,
        })
    }

    // One step.

    /// Moves what can be moved, and checks what must always hold.
    fn settle(&mut self) {
        self.drain();
        self.check();
    }

    /// Moves time to the next deadline, but not beyond `end`. Returns whether there is any time left.
    fn pass(&mut self, end: Instant) -> bool {
        if self.stopped.is_some() {
            self.now = end;
            return false;
        }
        self.steps += 1;
        assert!(self.steps < STEPS_MAX, "the run does not end");
        let Some((due, whose)) = self.next_deadline().filter(|(due, _)| *due <= end) else {
            self.now = end;
            trace::at(self.elapsed());
            return false;
        };
        if due <= self.now {
            self.idle_steps += 1;
            assert!(
                self.idle_steps < IDLE_STEPS_MAX,
                "{whose} spins: its deadline passes and nothing comes of it"
            );
        } else {
            self.idle_steps = 0;
        }
        self.now = self.now.max(due);
        trace::at(self.elapsed());
        self.network.advance(self.now);
        self.modem.network_changed(self.now, &mut self.network);
        while self.faults.iter().any(|(at, _)| *at <= self.now) {
            let index = self.faults.iter().position(|(at, _)| *at <= self.now).expect("one is due");
            let (_, fault) = self.faults.remove(index);
            self.go_wrong(fault);
        }
        if self.relay.next_deadline().is_some_and(|due| due <= self.now) {
            self.relay.handle(Input::Deadline, self.now);
        }
        true
    }

    fn next_deadline(&self) -> Option<(Instant, &'static str)> {
        let relay = self.relay.next_deadline().map(|due| (due, "the core"));
        let modem = self.modem.next_deadline().map(|due| (due, "the modem"));
        let network = self.network.next_deadline().map(|due| (due, "the network"));
        let wires = self.wires.iter().enumerate().filter_map(|(port, wire)| {
            wire.next_deadline(self.relay.wants_port_bytes(port) > 0, self.now).map(|due| (due, "a line"))
        });
        let clients = self
            .clients
            .iter()
            .filter_map(|client| client.next_deadline(self.start, self.now).map(|due| (due, "a client")));
        let faults = self.faults.iter().map(|(at, _)| (*at, "a fault"));
        let addresses = self.addresses.next_deadline(self.start, self.now).map(|due| (due, "an address"));
        wires
            .chain(addresses)
            .chain(clients)
            .chain(faults)
            .chain(relay)
            .chain(modem)
            .chain(network)
            .min_by_key(|(due, _)| *due)
    }

    /// Moves everything that can be moved.
    fn drain(&mut self) {
        let mut rounds = 0;
        loop {
            let mut moved = self.act();
            for port in 0..self.wires.len() {
                moved |= self.move_port(port);
            }
            for index in 0..self.clients.len() {
                moved |= self.move_client(index);
            }
            moved |= self.addresses.act(&mut self.relay, self.start, self.now);
            for port in self.wires.len()..self.wiring.modem.ports.len() {
                // The other program reads everything that the modem sends.
                let count = self.modem.output(port).len();
                self.modem.written(port, count, self.now);
            }
            if self.modem.next_deadline().is_some_and(|due| due <= self.now) {
                self.modem.deadline_passed(self.now, &mut self.network);
            }
            if !moved {
                break;
            }
            rounds += 1;
            assert!(rounds < DRAIN_ROUNDS_MAX, "things move for ever without any time passing");
        }
    }

    fn act(&mut self) -> bool {
        let mut acted = false;
        while let Some(action) = self.relay.poll_action() {
            acted = true;
            trace::note(|| format!("   action {action:?}"));
            match action {
                Action::Modem(action) => self.act_on_port(action),
                Action::FinishClient(id) => {
                    if let Some(client) = self.client(id) {
                        client.shut = true;
                    }
                }
                Action::CloseClient(id) => self.end_client(id, Outcome::Eof),
                Action::ResetClient { client: id, rest } => {
                    if let Some(client) = self.client(id) {
                        client.write(&rest);
                    }
                    let now = self.now;
                    if let Some(client) = self.client(id) {
                        client.act(now);
                    }
                    self.end_client(id, Outcome::Reset);
                }
                Action::ClientOpened(id) => {
                    if let Some(client) = self.client(id) {
                        assert!(!client.is_open, "its connection is opened twice");
                        client.is_open = true;
                    }
                }
                Action::ClientNotOpened(id, why) => {
                    let is_open = self.client(id).is_some_and(|client| client.is_open);
                    assert!(!is_open, "its connection was open, and now is not: {why:?}");
                }
                Action::LookForClient(id) if self.client(id).is_some_and(|client| client.is_seen_gone()) => {
                    self.relay.handle(Input::Client(id, ClientInput::Gone), self.now);
                }
                Action::AskClient(id) => {
                    let unread = self.client(id).map_or(0, |client| client.unread());
                    self.relay.handle(Input::Client(id, ClientInput::Queue(unread)), self.now);
                }
                Action::Ready => {
                    self.ready_at.push(self.now);
                    self.counters_when_ready.get_or_insert(self.modem.counters());
                }
                Action::Answered(_, answer) => self.answers.push(answer.outcome),
                Action::Stop(status) => self.stopped = Some(status),
                // Answers to questions that are never asked here.
                _ => {}
            }
        }
        acted
    }

    /// What the host knows about a port.
    fn port_facts(&self, port: usize) -> PortFacts {
        let wire = &self.wires[port];
        PortFacts {
            name: format!("port{port}"),
            is_uart: wire.port.is_uart,
            is_paced: wire.port.is_uart,
            is_remote: wire.port.server.is_some(),
            has_dcd: wire.port.has_dcd,
            dcd_is_live: wire.port.server.is_none(),
            sharing: qssl_core::modem::Sharing::Alone,
            has_dtr: wire.port.has_dtr,
            lacks_flow_control: wire.port.lacks_flow_control,
            drops_unread: wire.port.keeps_unread.is_some(),
            at_port: match wire.port.is_named {
                true => Some(wire.port.believed.unwrap_or(wire.port.name.name())),
                false => None,
            },
        }
    }

    fn act_on_port(&mut self, action: modem::Action) {
        match action {
            modem::Action::OpenPort(port) => {
                let wire = &mut self.wires[port];
                if wire.missing_until.is_some_and(|until| until > self.now) {
                    self.relay.handle(Input::Port(port, PortInput::Failed { is_missing: true }), self.now);
                    return;
                }
                wire.is_open = true;
                wire.host_flow_control = !wire.port.lacks_flow_control;
                wire.set_host_baud(self.wiring.settings.baud, self.now);
                if wire.port.has_dtr || wire.port.without_rts {
                    let rts = !wire.port.without_rts;
                    self.modem.host_lines(port, true, rts, self.now, &mut self.network);
                }
                self.relay.handle(Input::Port(port, PortInput::Opened(self.port_facts(port))), self.now);
            }
            modem::Action::ClosePort(port) => self.wires[port].cut(),
            modem::Action::SetBaud(port, baud) => self.wires[port].set_host_baud(baud, self.now),
            modem::Action::SetDtr(port, on) if self.wires[port].port.has_dtr => {
                let rts = !self.wires[port].port.without_rts;
                self.modem.host_lines(port, on, rts, self.now, &mut self.network);
            }
            modem::Action::SetFlowControl(port, on) => {
                let wire = &mut self.wires[port];
                wire.host_flow_control = on && !wire.port.lacks_flow_control;
            }
            modem::Action::AskQueue(port) => {
                let queued = self.wires[port].queued(self.now);
                self.relay.handle(Input::Port(port, PortInput::Queue(queued)), self.now);
            }
            modem::Action::AskLines(port) => {
                let level = self.modem.modem_lines(port).dcd;
                self.wires[port].set_dcd(level, self.now);
                self.relay
                    .handle(Input::Port(port, PortInput::Lines { dcd: self.wires[port].dcd }), self.now);
            }
            modem::Action::TellTime => {
                let passed = self.elapsed().as_secs() as i64;
                self.relay.handle(Input::HostClock(HOST_CLOCK + self.host_clock_ahead + passed), self.now);
            }
            modem::Action::RunResetCommand => self.reset_commands.push(self.now),
            // Each port has one device, so there are no further candidates.
            _ => {}
        }
    }

    fn move_port(&mut self, port: usize) -> bool {
        let mut moved = false;
        let wire = &mut self.wires[port];
        if wire.is_open {
            let output = self.relay.port_output(port);
            let count = wire.host_writes(output);
            if count > 0 {
                let bytes = output[..count].to_vec();
                self.witnesses[port].host_writes(&bytes, self.relay.modem().port_state(port), self.now);
                trace::note(|| format!("{port} > {}", trace::shown(&bytes)));
                self.carried[port].0 += count as u64;
                self.host_said.push(bytes);
                self.relay.port_written(port, count, self.now);
                moved = true;
            }
        }
        let wire = &mut self.wires[port];
        moved |= wire.transmit(self.modem.wants_bytes(port), self.modem.holds_cts_off(port), self.now);
        let bytes = wire.take_for_modem(self.now);
        if !bytes.is_empty() {
            let before = self.modem.counters().bytes_dropped_while_busy;
            self.modem.received(port, &bytes, self.now, &mut self.network);
            let dropped = self.modem.counters().bytes_dropped_while_busy - before;
            if dropped > 0 {
                trace::note(|| format!("{port}   the modem was busy and dropped {dropped} bytes"));
            }
            moved = true;
        }
        let wire = &mut self.wires[port];
        wire.set_dcd(self.modem.modem_lines(port).dcd, self.now);
        let baud = self.modem.baud(port);
        // What a host does not read stays in a USB device, whatever AT+IFC sets, where the host's driver leaves it there.
        let held = match wire.port.is_uart {
            true => self.modem.flow_control(port).rts,
            false => wire.port.keeps_unread.is_none(),
        };
        let output = self.modem.output(port);
        let piece = wire.piece(output);
        let (taken, lost) = wire.modem_writes(&output[..piece], baud, held, self.now);
        wire.took(taken);
        if lost > 0 {
            self.modem.written(port, taken - lost, self.now);
            self.modem.overrun(port, lost, self.now);
            self.overran(port);
        } else if taken > 0 {
            self.modem.written(port, taken, self.now);
        }
        moved |= taken > 0;
        let wire = &mut self.wires[port];
        wire.set_modem_baud(self.modem.baud(port), self.now);
        wire.set_dcd(self.modem.modem_lines(port).dcd, self.now);
        let wanted = if wire.is_open { self.relay.wants_port_bytes(port) } else { 0 };
        let bytes = wire.take_for_host(wanted, self.now);
        // That a driver may have dropped bytes shows by how many are read.
        let (lost, wrong) = match wire.port.keeps_unread.is_some() && bytes.is_empty() {
            true => (0, 0),
            false => (std::mem::take(&mut wire.lost), std::mem::take(&mut wire.wrong)),
        };
        if lost + wrong > 0 {
            trace::note(|| format!("{port}   {lost} bytes lost, {wrong} altered"));
            if wire.port.keeps_unread.is_some() {
                self.relay.handle(Input::Port(port, PortInput::Overrun), self.now);
            } else if wire.port.counts {
                self.relay.handle(Input::Port(port, PortInput::Garbled { lost, wrong }), self.now);
            }
        }
        if !bytes.is_empty() {
            trace::note(|| format!("{port} < {}", trace::shown(&bytes)));
            self.carried[port].1 += bytes.len() as u64;
            if self.relay.wants_port_lines(port) {
                let dcd = self.wires[port].dcd;
                self.relay.handle(Input::Port(port, PortInput::Lines { dcd }), self.now);
            }
            self.witnesses[port].host_reads(&bytes, self.now);
            self.relay.port_received(port, &bytes, self.now);
            moved = true;
        }
        moved
    }

    fn move_client(&mut self, index: usize) -> bool {
        let mut moved = false;
        let connection = &self.wiring.connections[index];
        let through = connection.names_target_in.or(connection.through).unwrap_or(index);
        if self.clients[index].is_knocking(self.start, self.now)
            && self.relay.wants_clients(&self.relay.tunnels()[through])
        {
            let tunnel = self.relay.tunnels()[through].clone();
            let peer = format!("client {index}");
            let id = match connection.names_target_in {
                Some(_) => self.relay.client_accepted_for(&tunnel, target(index), peer, self.now),
                None => self.relay.client_accepted(&tunnel, peer, self.now),
            };
            trace::note(|| format!("   client {index} accepted as {id:?}"));
            self.clients[index].accepted(id, self.now);
            moved = true;
        }
        let Some(id) = self.clients[index].id.filter(|_| self.clients[index].is_connected()) else {
            return moved;
        };
        let output = self.relay.client_output(id);
        // Who has named a server gets its answer before anything else.
        let is_answered = self.clients[index].is_open || connection.names_target_in.is_none();
        if !output.is_empty() && is_answered {
            let count = self.clients[index].write(output);
            if count > 0 {
                self.relay.client_written(id, count, self.now);
                moved = true;
            }
        }
        moved |= self.clients[index].act(self.now);
        if self.clients[index].breaks(self.now) {
            trace::note(|| format!("   client {index} resets"));
            self.clients[index].ended(Outcome::Left, self.now);
            self.relay.handle(Input::Client(id, ClientInput::Lost), self.now);
            return true;
        }
        if self.clients[index].outcome.is_some() {
            return moved;
        }
        let wanted = self.relay.wants_client_bytes(id);
        if wanted > 0 {
            let bytes = self.clients[index].read(wanted, self.now);
            if !bytes.is_empty() {
                self.relay.client_received(id, &bytes, self.now);
                moved = true;
            } else if self.clients[index].has_finished(self.now) && !self.clients[index].finish_told {
                trace::note(|| format!("   client {index} has finished"));
                self.clients[index].finish_told = true;
                self.relay.handle(Input::Client(id, ClientInput::Finished), self.now);
                moved = true;
            }
        }
        moved
    }

    fn client(&mut self, id: ClientId) -> Option<&mut Actor> {
        self.clients.iter_mut().find(|client| client.id == Some(id) && client.is_connected())
    }

    fn end_client(&mut self, id: ClientId, outcome: Outcome) {
        self.addresses.ended(id);
        let now = self.now;
        if let Some(client) = self.client(id) {
            client.ended(outcome, now);
        }
    }

    fn go_wrong(&mut self, fault: Fault) {
        trace::note(|| format!("   fault {fault:?}"));
        let now = self.now;
        match fault {
            fault if self.would_be_payload(&fault) => {}
            Fault::SendFails(count) => self.modem.fail_next_sends(count),
            Fault::CutSocket(id) => self.modem.close_socket(id, now),
            Fault::EndFarEnd(index, how) => self.fars[index].end(how),
            Fault::Say(index, bytes) => self.fars[index].say(&bytes),
            Fault::EndDatagrams(number, how) => {
                let host = DatagramTunnel::host(number);
                let records = self.network.records().iter().enumerate();
                let its = records.filter(|(_, record)| record.request.host == host.as_str());
                for record in its.map(|(record, _)| record).collect::<Vec<_>>() {
                    self.network.end(record, how, now);
                }
            }
            Fault::DropPdp => self.modem.drop_pdp(1, now),
            Fault::Network(registration) => self.modem.set_registration(registration, now),
            Fault::RequireApn(name) => self.modem.require_apn(name),
            Fault::WearOutPdp => self.modem.wear_out_pdp(1, now),
            Fault::Reboot => self.modem.reboot(now),
            Fault::OtherProgram(bytes) => {
                self.meddled_at = Some(now.max(self.stalled_until) + self.modem.answer_delay());
                let port = self.wires.len();
                self.modem.received(port, &bytes, now, &mut self.network);
            }
            Fault::Stall(time) => {
                self.stalled_until = now + time;
                self.modem.stall(now + time);
            }
            Fault::DelayAnswer(time) => self.modem.delay_next_answer(time),
            Fault::Urc(text) => self.modem.inject_urc(&text, now),
            Fault::CutUrcHead(count) => self.modem.cut_next_urc(count),
            Fault::FailOpen(code) => self.modem.fail_next_open(code),
            Fault::NeverOpen => self.modem.never_answer_next_open(),
            Fault::SpoilUploads(count) => self.modem.spoil_next_uploads(count),
            Fault::LoseSettings(count) => self.modem.lose_next_settings(count),
            Fault::ForgeFiles => self.modem.forge_files(),
            Fault::DeleteFiles => self.modem.delete_files(),
            Fault::RefuseCloses(count) => self.modem.refuse_next_closes(count),
            Fault::RefuseClosesUntilBoot => self.modem.refuse_closes_until_boot(),
            Fault::MissEscapes(count) => self.modem.miss_next_escapes(count),
            Fault::LosePort(port, time) => {
                if self.wires[port].is_open {
                    self.wires[port].cut();
                    self.relay.handle(Input::Port(port, PortInput::Lost), now);
                }
                self.wires[port].missing_until = Some(now + time);
            }
            Fault::Noise(port, bytes) => self.modem.inject(port, &bytes),
            Fault::Disturb => self.wires.iter_mut().for_each(|wire| wire.is_disturbed = true),
            Fault::Calm => {
                self.modem.calm_down();
                self.wires.iter_mut().for_each(|wire| wire.is_disturbed = false);
            }
            Fault::Shutdown => self.relay.handle(Input::Shutdown { signal: 15 }, now),
            Fault::LoseResults(count) => self.modem.lose_next_results(count),
            Fault::HoldLine(port, time) => self.wires[port].hold(now + time),
            Fault::LacksFlowControl(port) => {
                let wire = &mut self.wires[port];
                (wire.port.lacks_flow_control, wire.host_flow_control) = (true, false);
                if wire.is_open {
                    self.relay.handle(Input::Port(port, PortInput::Facts(self.port_facts(port))), now);
                }
            }
            Fault::SendFailsFor(time) => self.modem.fail_next_send_for(time),
            Fault::LosePdpSilently => self.modem.lose_pdp_silently(1, now),
            Fault::Foreign(bytes) => self.modem.inject_foreign(&bytes, now),
            Fault::Sms(text) => self.modem.receive_sms(&text, now),
            Fault::SpoilFrames(count) => self.modem.spoil_next_frames(count),
            Fault::FalsifyLength(length) => self.modem.falsify_next_frame_length(length),
            Fault::LoseInFrame(bytes) => self.modem.lose_bytes_in_next_frame(bytes),
            Fault::EndChannel(dlci, by_disc) => {
                self.modem.end_channel(0, dlci, by_disc, now, &mut self.network);
            }
            Fault::HoldChannel(dlci) => {
                self.modem.hold_channel_until_test(0, dlci, now);
            }
        }
        self.network.advance(now);
        self.modem.network_changed(now, &mut self.network);
    }

    /// Whether the modem's bytes would look like payload (docs/RELIABILITY.md). Such a fault is left out.
    fn would_be_payload(&self, fault: &Fault) -> bool {
        let boots_silently = self.wiring.modem.quirks.boots_silently;
        match fault {
            // The host still expects the payload that a modem announced before it went down; this would be part of it.
            Fault::Urc(_) | Fault::Noise(..) | Fault::Foreign(_) | Fault::Sms(_) if !self.modem.is_up() => {
                true
            }
            // The modem may boot while a port is unread; the host then does not know that the stream has ended.
            Fault::Urc(_) if boots_silently && self.can_boot_unread() => true,
            // The same holds for a stream whose `CONNECT` was on its way at the boot: its DCD was never seen on.
            Fault::Urc(_) | Fault::Foreign(_) | Fault::Sms(_) => {
                boots_silently && self.streams_ended_unseen()
            }
            // The rest of announced payload may never come.
            Fault::CutUrcHead(_) => boots_silently,
            Fault::Noise(port, _) => {
                let modem = self.relay.modem();
                modem.port_state(*port) == PortState::Data
                    || self.modem.modem_lines(*port).dcd
                    || boots_silently && modem.awaits_payload(*port)
            }
            _ => false,
        }
    }

    /// Whether a port is a stream for the host, but no longer for the modem.
    fn streams_ended_unseen(&self) -> bool {
        let is_stream = |port: usize| self.relay.modem().port_state(port) == PortState::Data;
        (0..self.wires.len()).any(|port| is_stream(port) && !self.modem.modem_lines(port).dcd)
    }

    // What must always hold.

    /// Checks that bytes come out as they went in, in order, in both directions, that no queue exceeds its limit,
    /// and that the conversation follows its rules.
    fn check(&mut self) {
        self.look_at_opens();
        // In payload, after a pause, `RDY` is taken for a reboot and another message for lost bytes. Both interrupt sends.
        let counters = self.relay.modem().counters();
        let may_be_interrupted =
            !self.wiring.faults.is_empty() || counters.reboots > 0 || counters.resyncs > 0;
        self.addresses.look_at(self.network.records(), may_be_interrupted);
        // The effects of a reboot are excused only after a reboot.
        let has_rebooted = self.modem.counters().boots > 1;
        let (garbled, echoes) = (self.can_be_garbled(), has_rebooted && self.can_be_echoed());
        let boots_unread = has_rebooted && self.can_boot_unread();
        let has_gone_down = has_rebooted || self.modem.counters().boots > 0 && !self.modem.is_up();
        // A line that is held holds DCD up as well.
        let stops_short = has_gone_down && self.wiring.ports.iter().any(|port| !port.has_dcd)
            || self.wires.iter().any(|wire| wire.was_held);
        // On a line that alters bytes and does not count it, nothing can be guaranteed.
        let alters_unseen = self.wiring.ports.iter().any(Port::alters_unseen);
        for index in 0..self.clients.len() {
            // Which of several connections is a client's only its bytes show: `assert_own_conversations`.
            if self.wiring.connections[index].through.is_some() || self.fars[index].keeps_conversations() {
                continue;
            }
            let (client, far) = (&self.clients[index], self.fars[index].memory());
            let (up, down) = &mut self.compared[index];
            if let Some(weak) = &self.weak[index] {
                let gave = client.outcome.is_none() && far.read.len() > *up;
                let got =
                    client.received.len() > *down || client.saw_end && client.outcome != Some(Outcome::Reset);
                assert!(
                    !gave && !got,
                    "connection {index}: joined to a server that was not verified: {weak}"
                );
            }
            if far.read.len() > *up {
                let (new, expected) = (&far.read[*up..], client.sent_bytes(*up, far.read.len()));
                // Only more bytes can end an interrupted send or escape, and the client has ended before they are
                // sent.
                let is_stream = self.wiring.connections[index].mode == Mode::Transparent;
                let right = match client.outcome {
                    Some(_) => is_filled_up(new, &expected),
                    // Without DCD only an escape shows whether a stream has ended, and a modem that stalls may
                    // take it for payload. After that no byte of the client may follow.
                    None if is_stream && new != expected => {
                        self.spoiled[index] = true;
                        is_filled_up(new, &expected)
                    }
                    None => !self.spoiled[index] && new == expected,
                };
                assert!(
                    right,
                    "connection {index}: upwards from byte {up}: {} instead of {}",
                    trace::shown(new),
                    trace::shown(&expected)
                );
                *up = far.read.len();
            }
            if self.spoiled[index] {
                assert_ne!(
                    client.outcome,
                    Some(Outcome::Eof),
                    "connection {index}: an end after a stray escape"
                );
            }
            let received = &client.received;
            if alters_unseen || self.met_overrun[index] {
                continue;
            }
            let boots =
                || (echoes || boots_unread) && begins_with_boot(&received[*down..], &far.said[*down..]);
            // What the server has read passed the modem, so the modem cannot have echoed it.
            let sent = || client.sent_bytes(far.read.len(), client.sent as usize);
            let stops = || stops_short && is_begun_end(&received[*down..], &far.said[*down..]);
            let is_silent = echoes && self.wiring.modem.quirks.boots_silently;
            let everything = self.wiring.modem.quirks.everything_echoed;
            let comes_back =
                || is_silent && is_echo(&received[*down..], &far.said[*down..], &sent(), everything);
            let is_unread = boots_unread && self.wiring.modem.quirks.boots_silently;
            let answers = || is_unread && begins_with_answer(&received[*down..], &far.said[*down..]);
            if received.len() > *down
                && !far.said[*down..].starts_with(&received[*down..])
                && (garbled || boots() || stops() || comes_back() || answers())
            {
                // Four things cannot be distinguished from payload: what a booting modem sends at another
                // speed, what it echoes after its boot, what it answers after a boot whose message was not
                // read, and the first letters of an end that it did not finish.
                // The client must be reset.
                assert_ne!(
                    client.outcome,
                    Some(Outcome::Eof),
                    "connection {index}: an end after a reboot's noise"
                );
                continue;
            }
            assert!(received.len() <= far.said.len(), "connection {index}: bytes were invented downwards");
            let (new, expected) = (&received[*down..], &far.said[*down..received.len()]);
            assert!(
                new == expected,
                "connection {index}: downwards from byte {down}: {} instead of {}",
                trace::shown(new),
                trace::shown(expected)
            );
            *down = received.len();
            let is_excused = self.can_end_unseen() || self.can_be_ended_by_another();
            if client.saw_end && client.outcome != Some(Outcome::Reset) && !is_excused {
                assert!(far.ended.is_some(), "connection {index}: an end that nobody made");
                // A module that reports the end on the first channel alone cannot be distinguished from one that reports
                // it on both: what looks like the end in the stream's own channel is its last payload then.
                let is_told_elsewhere = self.wiring.modem.quirks.mux_end_told_on_first_only;
                if is_told_elsewhere && far.said[received.len()..] == *NO_CARRIER {
                    continue;
                }
                assert_eq!(received.len(), far.said.len(), "connection {index}: an end before the last byte");
            }
        }
        let modem = self.relay.modem();
        for (port, witness) in self.witnesses.iter_mut().enumerate() {
            let is_unread = modem.wants_port_bytes(port) == 0;
            let (state, awaits_payload) = (modem.port_state(port), modem.awaits_payload(port));
            witness.check(state, is_unread, awaits_payload, self.relay.next_deadline(), self.now);
        }
        for socket in SocketId::all() {
            assert!(modem.received(socket).len() <= INCOMING_LIMIT_BYTES, "socket {socket}: too much held");
            assert!(modem.unsent(socket) <= OUTGOING_LIMIT_BYTES, "socket {socket}: too much held");
        }
    }

    /// A line has lost bytes for lack of room. They may belong to any client whose bytes come by it: to the
    /// client whose stream it is, or else to all connected clients that are not streams.
    fn overran(&mut self, port: usize) {
        if self.wires[port].port.counts || self.wires[port].port.keeps_unread.is_some() {
            return;
        }
        let state = self.relay.modem().port_state(port);
        for (index, client) in self.clients.iter().enumerate() {
            let is_connected = client.accepted_at().is_some() && client.outcome.is_none();
            let is_stream = self.wiring.connections[index].mode == Mode::Transparent;
            let may_be_its = (self.wires.len() == 1) || is_stream == (state == PortState::Data);
            self.met_overrun[index] |= is_connected && may_be_its;
        }
    }

    /// Checks that the configured TLS settings were in effect in the modem at each open since the last call. In
    /// transparent mode the core cannot check them after the open, so a change just before it is not noticed. It is
    /// just before it as well if the modem took its time with the open.
    fn look_at_opens(&mut self) {
        let tls = &self.wiring.tls;
        let settings::Authentication::Authorities(trusted) = &tls.authentication else { return };
        let trusted: Vec<u8> = trusted.iter().flat_map(|pem| [&pem.bytes[..], b"\n"].concat()).collect();
        let is_new = self.wiring.modem.family == emulator::Family::Eg800q;
        for record in &self.network.records()[self.opens_seen..] {
            let Some(open) = &record.request.tls else { continue };
            let mut hosts = 0..self.weak.len();
            let Some(index) = hosts.find(|index| Wiring::host(*index).as_str() == record.request.host) else {
                continue;
            };
            let is_stream = self.wiring.connections[index].mode == Mode::Transparent;
            let unseen_time = Duration::from_secs(3) + self.longest_delay();
            let unseen =
                self.meddled_at.is_some_and(|at| self.now.saturating_duration_since(at) < unseen_time);
            // The first of several authorities is set in two places.
            let mut authorities = open.authorities.clone();
            authorities.dedup();
            let wrong = open.security_level == 0
                || open.version != tls.version as u8
                || authorities.concat() != trusted
                || open.check_time.is_some() != tls.checks_time()
                || open.ignore_items != tls.ignore_certificate_items
                || open.ignore_chain != tls.ignore_chain
                || open.ignore_signature != tls.ignore_signature
                || is_new && !(open.sni && open.check_host);
            self.weak[index] = (wrong && !(is_stream && unseen)).then(|| format!("{open:?}"));
        }
        self.opens_seen = self.network.records().len();
    }

    /// The longest time by which the modem delays an answer.
    fn longest_delay(&self) -> Duration {
        let delays = self.wiring.faults.iter().filter_map(|(_, fault)| match fault {
            Fault::DelayAnswer(time) => Some(*time),
            _ => None,
        });
        delays.max().unwrap_or_default()
    }

    /// Whether a reboot can garble announced payload: a UART returns to its first speed, which is not ours.
    fn can_be_garbled(&self) -> bool {
        self.wiring.ports.iter().any(|port| port.is_uart)
            && self.wiring.settings.baud != self.wiring.modem.baud
            && self.can_reboot()
    }

    /// Whether payload can come back as echo: echo is on after a reboot, while payload is still on its way up a paced
    /// line. Without DCD nothing distinguishes the echo from payload, because only whole lines are taken for the
    /// modem's own words. A DCD that was already off when the port was read does not help either.
    fn can_be_echoed(&self) -> bool {
        let unread = self.can_boot_unread();
        self.wiring.ports.iter().any(|port| port.paced && (!port.has_dcd || unread)) && self.can_reboot()
    }

    /// Whether the modem can boot while the host reads nothing. Its words then follow announced payload without a
    /// pause.
    fn can_boot_unread(&self) -> bool {
        let boot_time = self.wiring.modem.boot_time;
        let faults = &self.wiring.faults;
        let mut holds = faults.iter().filter_map(|(at, fault)| match fault {
            Fault::HoldLine(_, time) => Some((*at, *at + *time)),
            _ => None,
        });
        holds.any(|(begins, ends)| {
            let is_unread = |at: Duration| at < ends && begins < at + boot_time;
            faults.iter().any(|(at, fault)| is_reboot(fault) && is_unread(*at))
        })
    }

    fn can_reboot(&self) -> bool {
        self.wiring.faults.iter().any(|(_, fault)| is_reboot(fault))
    }

    /// Whether another program's `closed` can look like the end of a socket whose bytes the modem holds back: it
    /// sends everything by all ports, as it was set to or by itself, and one of them may be blocked.
    fn can_be_ended_by_another(&self) -> bool {
        let is_closed = |fault: &Fault| matches!(fault, Fault::Urc(text) if text.contains("closed"));
        let sends_by_all = self.wiring.modem.quirks.urcs_by_every_port || self.modem.urc_port() == "all";
        self.wires.len() > 1 && sends_by_all && self.wiring.faults.iter().any(|(_, fault)| is_closed(fault))
    }

    /// Whether a cut can look like an end: the modem then reports `closed`, and no answer contradicts it.
    fn can_end_unseen(&self) -> bool {
        let cuts = |fault: &Fault| matches!(fault, Fault::CutSocket(_) | Fault::WearOutPdp);
        self.wiring.faults.iter().any(|(_, fault)| cuts(fault))
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        if std::thread::panicking() {
            trace::print();
            eprintln!("seed {}, {} steps, at {:?}", self.wiring.seed, self.steps, self.elapsed());
            eprintln!("ports {:?}", self.wiring.ports);
            for (index, client) in self.clients.iter().enumerate().filter(|(_, it)| it.outcome.is_none()) {
                eprintln!("client {index} has not ended: {client:?}");
            }
        }
    }
}

/// Whether the first bytes are as expected and the rest is what a stuck send is filled up with.
fn is_filled_up(bytes: &[u8], expected: &[u8]) -> bool {
    let same = bytes.iter().zip(expected).take_while(|(byte, expected)| byte == expected).count();
    bytes[same..].iter().all(|byte| FILLING.contains(byte))
}

/// Whether the received bytes first differ from the sent ones at a modem's report that it has booted, and no more
/// follows than can have been on its way to the modem.
fn begins_with_boot(received: &[u8], said: &[u8]) -> bool {
    let same = received.iter().zip(said).take_while(|(one, other)| one == other).count();
    if received.len() - same > ECHO_MAX_BYTES {
        return false;
    }
    let around = &received[same.saturating_sub(BOOT.len())..received.len().min(same + BOOT.len())];
    around.windows(BOOT.len()).any(|window| window == BOOT)
}

/// Whether the received bytes continue after the sent ones with the echo of `AT` and its answer. What follows are the
/// answers to the next commands.
fn begins_with_answer(received: &[u8], said: &[u8]) -> bool {
    let same = received.iter().zip(said).take_while(|(one, other)| one == other).count();
    let rest = &received[same..];
    (1..=ECHO_MAX_BYTES).contains(&rest.len()) && (ANSWER.starts_with(rest) || rest.starts_with(ANSWER))
}

/// Whether the received bytes continue after the sent ones with less than half of `NO CARRIER`: the modem lost
/// power before it had sent more.
fn is_begun_end(received: &[u8], said: &[u8]) -> bool {
    let same = received.iter().zip(said).take_while(|(one, other)| one == other).count();
    let rest = &received[same..];
    !rest.is_empty() && 2 * rest.len() < NO_CARRIER.len() && NO_CARRIER.starts_with(rest)
}

fn is_reboot(fault: &Fault) -> bool {
    match fault {
        Fault::OtherProgram(bytes) => !bytes.starts_with(b"AT+QSSLCFG"),
        fault => matches!(fault, Fault::Reboot),
    }
}

/// Whether the received bytes differ from those sent down, and what follows is echo of bytes that were on their way up: all
/// of them, or the beginnings of command lines in them with their answers.
fn is_echo(received: &[u8], said: &[u8], sent: &[u8], everything: bool) -> bool {
    let same = received.iter().zip(said).take_while(|(one, other)| one == other).count();
    let rest = &received[same..];
    if !(1..=ECHO_MAX_BYTES).contains(&rest.len()) {
        return false;
    }
    if everything {
        return sent.windows(rest.len()).any(|window| window == rest);
    }
    let mut sent = sent.iter();
    let mut at = 0;
    while let Some(byte) = rest.get(at) {
        if let Some(answer) = ANSWERS.iter().find(|answer| at > 0 && rest[at..].starts_with(answer)) {
            at += answer.len();
        } else if sent.any(|other| other == byte) {
            at += 1;
        } else {
            return false;
        }
    }
    rest[0].eq_ignore_ascii_case(&b'A')
}

/// The server of a connection.
fn target(connection: usize) -> settings::Target {
    settings::Target { host: Wiring::host(connection), port: SERVER_PORT }
}

fn settings(wiring: &Wiring) -> Settings {
    let port = settings::Port {
        has_candidates: wiring.identity != Identity::Any,
        identity: wiring.identity.clone(),
    };
    let tunnels = wiring.connections.iter().enumerate().map(|(index, connection)| Tunnel {
        name: format!("t{index}"),
        target: (connection.names_target_in != Some(index)).then(|| target(index)),
        mode: connection.mode,
        transport: match connection.security {
            Security::Tls => settings::Transport::Tls(wiring.tls.clone()),
            Security::Plain => settings::Transport::Tcp,
        },
        limits: connection.limits.clone(),
    });
    let datagrams = wiring.datagrams.iter().enumerate();
    let tunnels = tunnels.chain(datagrams.map(|(number, tunnel)| tunnel.tunnel(number, &wiring.tls)));
    Settings {
        ports: vec![port; wiring.ports.len()],
        modem: wiring.settings.clone(),
        tunnels: tunnels.map(Arc::new).collect(),
        shutdown_timeout: wiring.shutdown_timeout,
        is_single: wiring.is_single,
    }
}

/// The start of simulated time; nothing else in a simulation reads a clock.
#[allow(clippy::disallowed_methods)]
fn base() -> Instant {
    use std::sync::OnceLock;
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}

/// The letters of `AT`, `AT+CMEE?`, `AT+IFC=0,0`, `AT+QSSLSTATE=0`, `+++`, ESC, Ctrl-Z and filler, at the right
/// speed and at a wrong one.
const FILLING: &[u8] =
    b"AT\r+CME?IF=0,QSL123456789\x1A\x1B\x8A\xA2\xE8\xD9\x9A\xEA\xAA\xF9\xCA\xB2\xE9\x81\xE1\xD0\xD8";
const BOOT: &[u8] = b"\r\nRDY\r\n";
const ANSWERS: [&[u8]; 2] = [b"\r\nOK\r\n", b"\r\nERROR\r\n"];
const ANSWER: &[u8] = b"AT\r\r\nOK\r\n";
const NO_CARRIER: &[u8] = b"\r\nNO CARRIER\r\n";
/// Half a second of the fastest line, and the bytes that its ends hold.
const ECHO_MAX_BYTES: usize = 64 * 1024;
const SERVER_PORT: u16 = 443;
const STEPS_MAX: u64 = 20_000_000;
const IDLE_STEPS_MAX: u32 = 20;
const DRAIN_ROUNDS_MAX: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_reboot_is_excused_and_nothing_else() {
        let said = b"0123456789";
        for (received, is_excused) in [
            (&b"01234\r\nRDY\r\nwhat was sent"[..], true),
            (b"0123\r\nRDY\r\n", true),
            (b"0123456789", false),
            (b"01234what was sent", false),
            // The words must begin where the bytes differ.
            (b"01234 and much later \r\nRDY\r\n", false),
        ] {
            assert_eq!(begins_with_boot(received, said), is_excused, "{}", received.escape_ascii());
        }
        let endless = [b"01234\r\nRDY\r\n".to_vec(), vec![b'x'; ECHO_MAX_BYTES]].concat();
        assert!(!begins_with_boot(&endless, said), "more than can have been on its way");
    }

    #[test]
    fn less_than_half_of_an_end_is_excused_and_no_more() {
        let said = b"0123456789";
        for (received, is_excused) in [
            (&b"0123456789\r"[..], true),
            (b"0123\r\nNO C", true),
            (b"0123456789\r\nNO CA", false),
            (b"0123456789\r\nRDY", false),
            (b"0123", false),
        ] {
            assert_eq!(is_begun_end(received, said), is_excused, "{}", received.escape_ascii());
        }
    }

    #[test]
    fn only_who_is_connected_when_a_line_overruns_is_excused() {
        let client = |at| {
            let far_end = simulated::Behaviour::source(100_000, 1);
            wiring::Connection::new(Mode::Push).at(wiring::seconds(at)).far_end(far_end)
        };
        let port = Port { lacks_flow_control: true, ..Port::uart() };
        let mut sim = Wiring::new()
            .uart(115_200)
            .ports([port])
            .connect(client(2))
            .connect(client(60))
            .fault(wiring::seconds(6), Fault::HoldLine(0, wiring::seconds(3)))
            .start();
        sim.run_to_the_end(wiring::seconds(200));
        assert_eq!(sim.met_overrun, [true, false]);
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "whose bytes are compared");
    }

    #[test]
    fn an_echo_is_what_was_sent_in_order_and_has_gaps_only_between_commands() {
        let (said, sent) = (b"0123456789", b"all that was on its way");
        for (received, everything, commands) in [
            (&b"0123that was"[..], true, false),
            (b"all that was on its way", true, true),
            (b"0123a", true, true),
            (b"0123aaaa", false, true),
            (b"0123aa\r\nERROR\r\na", false, true),
            (b"0123\r\nERROR\r\na", false, false),
            (b"0123aaaaaa", false, false),
            (b"0123that on", false, false),
            (b"0123BADX", false, false),
            (b"0123", false, false),
        ] {
            let text = received.escape_ascii();
            assert_eq!(is_echo(received, said, sent, true), everything, "{text}");
            assert_eq!(is_echo(received, said, sent, false), commands, "{text}");
        }
        let all_arrived = is_echo(b"0123456789x", said, b"", true);
        assert!(!all_arrived, "nothing comes back");
    }
}
