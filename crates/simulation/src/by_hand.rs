//! The core with a modem that a test plays by hand. The modem gives fixed answers, as a working modem would, and a
//! test can add other bytes between them or in their place.
//!
//! It is simpler than the emulated modem: it neither follows the manuals nor remembers what it has sent. After
//! every step the limits are checked that the core must keep whatever a modem sends.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use qssl_core::Kind;
use qssl_core::at::{CommandSet, Names, SocketId};
use qssl_core::modem::{self, INCOMING_LIMIT_BYTES, OUTGOING_LIMIT_BYTES, PortFacts};
use qssl_core::relay::{Action, ClientId, Relay};
use qssl_core::settings::{self, Authentication, Limits, Mode, Settings, Tls, Tunnel};
use qssl_core::{ClientInput, Input, PortInput};

use super::wiring::Wiring;
use super::{HOST_CLOCK, Outcome, SERVER_PORT, base, trace};

/// A core, with the modem and the clients that a test plays.
pub struct ByHand {
    /// The core.
    pub relay: Relay,
    /// The time now.
    pub now: Instant,
    start: Instant,
    /// The ports, each a modem with fixed answers.
    pub ports: Vec<Rote>,
    /// The clients that connected, in order.
    pub clients: Vec<HandClient>,
    /// The status that it ended with.
    pub stopped: Option<Kind>,
    /// How often sockets could be opened for the first time.
    pub times_ready: usize,
    /// The most bytes that the core is given at once.
    pub piece_bytes: usize,
    /// How many bytes the core has taken from all ports.
    pub heard_bytes: usize,
    /// How often the core has asked for the next candidate for a device.
    pub next_devices: usize,
    idle_steps: u32,
}

/// A modem with fixed answers.
#[derive(Default)]
pub struct Rote {
    /// The core has it open.
    pub is_open: bool,
    /// It sends no messages; what a test puts on the port still passes.
    pub is_mute: bool,
    /// It answers ERROR to commands that begin with one of these.
    pub refuses: Vec<&'static str>,
    /// Commands that begin like this are answered with these bytes, once each, in this order.
    pub instead: VecDeque<(&'static str, Vec<u8>)>,
    /// What each socket has for AT+QSSLRECV.
    pub waiting: [VecDeque<u8>; 12],
    /// What each socket has taken.
    pub taken: [Vec<u8>; 12],
    /// Sockets whose server has closed: sends are refused.
    pub closed: [bool; 12],
    /// Sockets whose number is in use.
    pub in_use: [bool; 12],
    /// The socket and mode of each open.
    pub opened: Vec<(usize, u8)>,
    /// All commands that it has received.
    pub commands: Vec<String>,
    /// How many messages it has sent, answers included.
    pub messages: usize,
    /// Before the message of the first number, it reports that the server of the second, a socket, has closed.
    pub closes_before: Option<(usize, usize)>,
    /// The stored files, by name.
    files: BTreeMap<String, Vec<u8>>,
    /// The file that is being stored: its name and its length.
    upload: Option<(String, usize)>,
    /// TLS settings: key with its quotes, context, value.
    tls: BTreeMap<(String, String), String>,
    received: Vec<u8>,
    payload: Option<(usize, usize)>,
    /// The payload, as socket and length, that follows the next answer from `instead`.
    payload_next: Option<(usize, usize)>,
    stream: Option<usize>,
    to_say: VecDeque<u8>,
    dcd: bool,
}

/// A client that a test plays.
pub struct HandClient {
    /// Its id in the core; after it has ended, another client may have the same id.
    id: ClientId,
    /// What it has read.
    pub received: Vec<u8>,
    /// Whether it reads.
    pub reads: bool,
    /// The core has shut down its direction.
    pub shut: bool,
    /// How it ended.
    pub outcome: Option<Outcome>,
    finished: bool,
}

impl ByHand {
    /// A core with a tunnel for each of these modes, and this many ports. `traced`: what passes is kept, to be
    /// printed if the run fails.
    pub fn new(modes: &[Mode], ports: usize, traced: bool, change: impl FnOnce(&mut Settings)) -> ByHand {
        trace::begin(traced);
        let tunnel = |(index, mode): (usize, &Mode)| Tunnel {
            name: format!("t{index}"),
            target: Some(settings::Target { host: Wiring::host(index), port: SERVER_PORT }),
            mode: *mode,
            transport: settings::Transport::Tls(Tls::new(Authentication::Insecure)),
            limits: Limits::default(),
        };
        let mut settings = Settings {
            ports: vec![settings::Port::default(); ports],
            tunnels: modes.iter().enumerate().map(tunnel).map(Arc::new).collect(),
            ..Settings::default()
        };
        change(&mut settings);
        let now = base();
        let mut hand = ByHand {
            relay: Relay::new(settings, now),
            now,
            start: now,
            ports: (0..ports).map(|_| Rote::default()).collect(),
            clients: Vec::new(),
            stopped: None,
            times_ready: 0,
            piece_bytes: usize::MAX,
            heard_bytes: 0,
            next_devices: 0,
            idle_steps: 0,
        };
        hand.settle();
        hand
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Runs until sockets can be opened.
    pub fn run_until_ready(&mut self) {
        self.run_until("the core is ready", Duration::from_secs(600), |hand| hand.relay.modem().is_up());
    }

    /// Runs until `goal` is reached, and fails if that takes longer than `limit`.
    pub fn run_until(&mut self, what: &str, limit: Duration, goal: impl Fn(&ByHand) -> bool) {
        let end = self.now + limit;
        self.settle();
        while !goal(self) {
            assert!(self.pass(end), "{what}: not within {limit:?}");
        }
    }

    /// Lets this much time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while self.pass(end) {}
        self.now = end;
    }

    /// Moves time to the core's next deadline, but not beyond `end`; false if there is none before it.
    pub fn pass(&mut self, end: Instant) -> bool {
        let Some(due) = self.relay.next_deadline().filter(|due| *due <= end && self.stopped.is_none()) else {
            self.now = end;
            return false;
        };
        self.idle_steps = if due <= self.now { self.idle_steps + 1 } else { 0 };
        assert!(self.idle_steps < IDLE_STEPS_MAX, "a deadline passes and nothing comes of it");
        self.now = self.now.max(due);
        trace::at(self.elapsed());
        self.relay.handle(Input::Deadline, self.now);
        self.settle();
        true
    }

    /// The modem sends this on a port, as far as the core takes it: at once, or when there is room.
    pub fn says(&mut self, port: usize, bytes: &[u8]) {
        self.ports[port].to_say.extend(bytes);
        self.settle();
    }

    /// The modem sends a message as it sends its answers: `closes_before` and `is_mute` apply.
    pub fn says_message(&mut self, port: usize, bytes: &[u8]) {
        self.ports[port].message(bytes);
        self.settle();
    }

    /// The server of a socket closes, and the modem reports it.
    pub fn far_end_closes(&mut self, port: usize, socket: usize) {
        self.ports[port].closes(socket);
        self.settle();
    }

    /// The modem takes commands again on this port.
    pub fn stream_is_over(&mut self, port: usize) {
        self.ports[port].stream = None;
        self.ports[port].received.clear();
    }

    /// How many of the bytes that the modem sent have not been taken yet.
    pub fn held(&self, port: usize) -> usize {
        self.ports[port].to_say.len()
    }

    /// The modem's carrier line.
    pub fn set_dcd(&mut self, port: usize, level: bool) {
        self.ports[port].dcd = level;
        if self.ports[port].is_open {
            self.relay.handle(Input::Port(port, PortInput::Lines { dcd: level }), self.now);
        }
        self.settle();
    }

    /// The port is lost; the core may open it again at any time.
    pub fn lose_port(&mut self, port: usize) {
        if std::mem::take(&mut self.ports[port].is_open) {
            self.ports[port].to_say.clear();
            self.relay.handle(Input::Port(port, PortInput::Lost), self.now);
            self.settle();
        }
    }

    /// A client connects, if the tunnel takes one.
    pub fn connect(&mut self, tunnel: usize) -> Option<usize> {
        let tunnel = self.relay.tunnels()[tunnel].clone();
        if !self.relay.wants_clients(&tunnel) {
            return None;
        }
        let id = self.relay.client_accepted(&tunnel, format!("client {}", self.clients.len()), self.now);
        let client =
            HandClient { id, received: Vec::new(), reads: true, shut: false, outcome: None, finished: false };
        self.clients.push(client);
        self.settle();
        Some(self.clients.len() - 1)
    }

    /// A client sends as many of these bytes as the core wants; returns how many.
    pub fn send(&mut self, client: usize, bytes: &[u8]) -> usize {
        let Some(id) = self.there(client).filter(|_| !self.clients[client].finished) else { return 0 };
        let count = bytes.len().min(self.relay.wants_client_bytes(id));
        if count > 0 {
            self.relay.client_received(id, &bytes[..count], self.now);
            self.settle();
        }
        count
    }

    /// A client closes its direction; with `gone`, it also reads no more.
    pub fn finish(&mut self, client: usize, gone: bool) {
        let Some(id) = self.there(client) else { return };
        if !std::mem::replace(&mut self.clients[client].finished, true) {
            self.relay.handle(Input::Client(id, ClientInput::Finished), self.now);
            self.settle();
        }
        if gone && self.there(client).is_some() {
            self.relay.handle(Input::Client(id, ClientInput::Gone), self.now);
            self.settle();
        }
    }

    /// A client resets its connection.
    pub fn lose(&mut self, client: usize) {
        let Some(id) = self.there(client) else { return };
        self.clients[client].outcome = Some(Outcome::Left);
        self.relay.handle(Input::Client(id, ClientInput::Lost), self.now);
        self.settle();
    }

    /// A client's id, while it is connected.
    fn there(&self, client: usize) -> Option<ClientId> {
        self.clients.get(client).filter(|client| client.outcome.is_none()).map(|client| client.id)
    }

    fn client(&mut self, id: ClientId) -> Option<&mut HandClient> {
        self.clients.iter_mut().rev().find(|client| client.id == id && client.outcome.is_none())
    }

    /// Moves everything that can be moved, and checks what must always hold.
    pub fn settle(&mut self) {
        for rounds in 0.. {
            assert!(rounds < ROUNDS_MAX, "things move for ever without any time passing");
            let mut moved = self.act();
            for port in 0..self.ports.len() {
                moved |= self.move_port(port);
            }
            for client in 0..self.clients.len() {
                moved |= self.read(client);
            }
            self.check();
            if !moved {
                break;
            }
        }
    }

    fn act(&mut self) -> bool {
        let mut acted = false;
        while let Some(action) = self.relay.poll_action() {
            acted = true;
            trace::note(|| format!("   action {action:?}"));
            let now = self.now;
            match action {
                Action::Modem(modem::Action::OpenPort(port)) => {
                    let facts = PortFacts {
                        name: format!("port{port}"),
                        is_uart: true,
                        is_paced: true,
                        is_remote: false,
                        has_dcd: true,
                        dcd_is_live: true,
                        sharing: qssl_core::modem::Sharing::Alone,
                        has_dtr: true,
                        lacks_flow_control: false,
                        drops_unread: false,
                        at_port: None,
                    };
                    let rote = &mut self.ports[port];
                    rote.is_open = true;
                    rote.received.clear();
                    (rote.payload, rote.stream, rote.upload) = (None, None, None);
                    self.relay.handle(Input::Port(port, PortInput::Opened(facts)), now);
                }
                Action::Modem(modem::Action::ClosePort(port)) => {
                    self.ports[port].is_open = false;
                    self.ports[port].to_say.clear();
                }
                Action::Modem(modem::Action::SetDtr(port, false)) => self.ports[port].leaves_data_mode(),
                Action::Modem(modem::Action::AskQueue(port)) => {
                    self.relay.handle(Input::Port(port, PortInput::Queue(0)), now)
                }
                Action::Modem(modem::Action::AskLines(port)) => {
                    self.relay.handle(Input::Port(port, PortInput::Lines { dcd: self.ports[port].dcd }), now);
                }
                Action::Modem(modem::Action::TellTime) => {
                    self.relay.handle(Input::HostClock(HOST_CLOCK + self.elapsed().as_secs() as i64), now);
                }
                Action::Modem(modem::Action::NextDevice(_)) => self.next_devices += 1,
                Action::FinishClient(id) => {
                    if let Some(client) = self.client(id) {
                        client.shut = true;
                    }
                    let index = self.clients.iter().rposition(|client| client.id == id);
                    // A client that has seen the end closes.
                    self.finish_later(index);
                }
                Action::CloseClient(id) => {
                    if let Some(client) = self.client(id) {
                        client.outcome = Some(if client.shut { Outcome::Eof } else { Outcome::Left });
                    }
                }
                Action::ResetClient { client: id, rest } => {
                    if let Some(client) = self.client(id) {
                        client.received.extend(rest);
                        client.outcome = Some(Outcome::Reset);
                    }
                }
                Action::AskClient(id) => self.relay.handle(Input::Client(id, ClientInput::Queue(0)), now),
                Action::Ready => self.times_ready += 1,
                Action::Stop(status) => self.stopped = Some(status),
                _ => {}
            }
        }
        acted
    }

    fn finish_later(&mut self, index: Option<usize>) {
        let Some(index) = index.filter(|index| self.there(*index).is_some()) else { return };
        let id = self.clients[index].id;
        if !std::mem::replace(&mut self.clients[index].finished, true) {
            self.relay.handle(Input::Client(id, ClientInput::Finished), self.now);
        }
    }

    fn move_port(&mut self, port: usize) -> bool {
        let mut moved = false;
        if self.ports[port].is_open {
            let said = self.relay.port_output(port).to_vec();
            if !said.is_empty() {
                trace::note(|| format!("{port} > {}", trace::shown(&said)));
                self.relay.port_written(port, said.len(), self.now);
                self.ports[port].hears(&said);
                moved = true;
            }
        }
        let wanted = if self.ports[port].is_open { self.relay.wants_port_bytes(port) } else { 0 };
        let count = wanted.min(self.ports[port].to_say.len()).min(self.piece_bytes);
        if count > 0 {
            let bytes: Vec<u8> = self.ports[port].to_say.drain(..count).collect();
            trace::note(|| format!("{port} < {}", trace::shown(&bytes)));
            self.heard_bytes += count;
            self.relay.port_received(port, &bytes, self.now);
            moved = true;
        }
        moved
    }

    fn read(&mut self, client: usize) -> bool {
        let Some(id) = self.there(client).filter(|_| self.clients[client].reads) else { return false };
        let output = self.relay.client_output(id).to_vec();
        if !output.is_empty() {
            self.clients[client].received.extend_from_slice(&output);
            self.relay.client_written(id, output.len(), self.now);
        }
        !output.is_empty()
    }

    /// Checks that no queue exceeds its limit, whatever the modem sends.
    fn check(&self) {
        let modem = self.relay.modem();
        for socket in SocketId::all() {
            assert!(modem.received(socket).len() <= INCOMING_LIMIT_BYTES, "socket {socket}: too much held");
            assert!(modem.unsent(socket) <= OUTGOING_LIMIT_BYTES, "socket {socket}: too much held");
        }
        for port in 0..self.ports.len() {
            let waiting = self.relay.port_output(port).len();
            assert!(waiting <= PORT_OUTPUT_MAX, "port {port}: {waiting} bytes wait to be said");
        }
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        if std::thread::panicking() {
            trace::print();
            eprintln!("at {:?}", self.elapsed());
        }
    }
}

impl Rote {
    /// Handles bytes from the host.
    fn hears(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some((socket, left)) = &mut self.payload {
                self.taken[*socket].push(byte);
                *left -= 1;
                if *left == 0 {
                    self.payload = None;
                    self.say("SEND OK");
                }
                continue;
            }
            if let Some((name, length)) = &self.upload {
                let file = self.files.entry(name.clone()).or_default();
                file.push(byte);
                if file.len() == *length {
                    let told = format!("+QFUPL: {length},{:x}", checksum(file));
                    self.upload = None;
                    self.say(&told);
                    self.say("OK");
                }
                continue;
            }
            // ESC and Ctrl-Z discard the line so far; no send waits for them here.
            if self.stream.is_none() && matches!(byte, 0x1A | 0x1B) {
                self.received.clear();
                continue;
            }
            self.received.push(byte);
            if let Some(socket) = self.stream {
                // `+++` alone ends data mode; this modem knows no guard times.
                match self.received.as_slice() {
                    b"+" | b"++" => {}
                    b"+++" => self.leaves_data_mode(),
                    _ => self.taken[socket].append(&mut self.received),
                }
            } else if self.received == b"+++" {
                self.received.clear();
            } else if byte == b'\r' {
                let line = std::mem::take(&mut self.received);
                self.answer(String::from_utf8_lossy(&line).trim());
            }
            self.received.truncate(RECEIVED_MAX);
        }
    }

    fn leaves_data_mode(&mut self) {
        if self.stream.take().is_some() {
            self.received.clear();
            self.say("OK");
        }
    }

    /// Sends a message, after a `closed` that is due before it, unless the modem is mute.
    fn message(&mut self, bytes: &[u8]) {
        if self.is_mute {
            return;
        }
        if let Some((_, socket)) = self.closes_before.take_if(|(number, _)| *number == self.messages) {
            self.closes(socket);
        }
        self.messages += 1;
        self.to_say.extend(bytes);
    }

    /// This many bytes after the next answer from `instead` are payload for this socket.
    pub fn takes_payload(&mut self, socket: usize, length: usize) {
        self.payload_next = Some((socket, length));
    }

    /// The server of a socket closes.
    pub fn closes(&mut self, socket: usize) {
        self.closed[socket] = true;
        self.to_say.extend(format!("\r\n+QSSLURC: \"closed\",{socket}\r\n").bytes());
    }

    fn say(&mut self, words: &str) {
        self.message(format!("\r\n{words}\r\n").as_bytes());
    }

    fn answer(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        self.commands.push(line.to_owned());
        if self.refuses.iter().any(|start| line.starts_with(start)) {
            return self.say("ERROR");
        }
        if let Some(index) = self.instead.iter().position(|(start, _)| line.starts_with(start)) {
            let (_, bytes) = self.instead.remove(index).expect("it was just found");
            self.payload = self.payload_next.take();
            return self.message(&bytes);
        }
        let numbers: Vec<usize> = line
            .split_once('=')
            .map_or("", |(_, rest)| rest)
            .split(',')
            .map(|field| field.parse().unwrap_or(usize::MAX))
            .collect();
        let number = |index: usize| numbers.get(index).copied().unwrap_or(usize::MAX);
        let socket = |index: usize| number(index).min(11);
        let set = if line.starts_with("AT+QI") { CommandSet::Ip } else { CommandSet::Ssl };
        let Names { open, send, receive, close, state, .. } = *set.names();
        let is = |name| {
            line.strip_prefix("AT")
                .and_then(|line| line.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with('='))
        };
        // AT+QSSLOPEN names an SSL context before the socket, and AT+QIOPEN a service and a local port after it.
        let (opened, mode) =
            if set == CommandSet::Ssl { (socket(2), number(5)) } else { (socket(1), number(6)) };
        if is(send) && set == CommandSet::Ip && number(1) == 0 {
            let sent = self.taken[socket(0)].len();
            self.say(&format!("+QISEND: {sent},{sent},0"));
            self.say("OK");
        } else if is(send) {
            match self.closed[socket(0)] || !(1..=1_460).contains(&number(1)) {
                true => self.say("ERROR"),
                false => {
                    self.payload = Some((socket(0), number(1)));
                    self.message(b"\r\n> ");
                }
            }
        } else if is(receive) {
            let queue = &mut self.waiting[socket(0)];
            let count = queue.len().min(number(1)).min(1_460);
            let mut bytes = format!("\r\n{receive}: {count}\r\n").into_bytes();
            bytes.extend(queue.drain(..count));
            self.message(&bytes);
            self.say("OK");
        } else if is(open) && self.in_use[opened] && mode != 2 {
            self.say("OK");
            self.say(&format!("{open}: {opened},563"));
        } else if line == "AT+CFUN=1,1" {
            self.in_use = [false; 12];
            self.say("OK");
            self.say("RDY");
        } else if is(open) {
            let id = opened;
            (self.closed[id], self.in_use[id]) = (false, true);
            self.taken[id].clear();
            self.waiting[id].clear();
            self.opened.push((id, mode.min(255) as u8));
            if mode == 2 {
                self.stream = Some(id);
                self.say("CONNECT");
            } else {
                self.say("OK");
                self.say(&format!("{open}: {id},0"));
            }
        } else if is(state) {
            let (id, service) =
                if set == CommandSet::Ssl { (socket(0), "SSLClient") } else { (socket(1), "TCP") };
            let told = if self.closed[id] { 4 } else { 2 };
            if self.in_use[id] {
                self.say(&format!(
                    "{state}: {id},\"{service}\",\"192.0.2.2\",443,0,{told},1,{id},0,\"uart1\",0"
                ));
            }
            self.say("OK");
        } else if is(close) {
            self.in_use[socket(0)] = false;
            self.say("OK");
        } else if let Some(settings) = line.strip_prefix("AT+QSSLCFG=\"") {
            for setting in settings.split(";+QSSLCFG=\"") {
                let mut parts = setting.splitn(3, ',');
                let key = parts.next().unwrap_or("").trim_end_matches('"').to_owned();
                let context = parts.next().unwrap_or("").to_owned();
                match parts.next() {
                    Some(value) => {
                        self.tls.insert((key, context), value.to_owned());
                    }
                    None => {
                        if let Some(value) = self.tls.get(&(key.clone(), context.clone())) {
                            self.say(&format!("+QSSLCFG: \"{key}\",{context},{value}"));
                        }
                    }
                }
            }
            self.say("OK");
        } else if let Some((command, name)) =
            line.strip_prefix("AT+QF").and_then(|rest| rest.split_once("=\""))
        {
            let (name, rest) = name.split_once('"').unwrap_or((name, ""));
            self.file_command(command, name, rest);
        } else {
            for (question, lines) in KNOWN {
                if line.contains(question) {
                    self.say(lines);
                }
            }
            self.say("OK");
        }
    }
}

impl Rote {
    /// AT+QFLST, AT+QFDEL, AT+QFUPL and AT+QFDWL. There is always room for a file.
    fn file_command(&mut self, command: &str, name: &str, rest: &str) {
        let missing = b"\r\n+CME ERROR: 405\r\n";
        match (command, self.files.get(name)) {
            ("LST", _) => {
                let list: Vec<String> = self
                    .files
                    .iter()
                    .map(|(name, file)| format!("+QFLST: \"{name}\",{}", file.len()))
                    .collect();
                list.iter().for_each(|line| self.say(line));
                self.say("OK");
            }
            ("UPL", _) => {
                let length = rest.split(',').nth(1).and_then(|length| length.parse().ok()).unwrap_or(0);
                self.files.remove(name);
                self.upload = Some((name.to_owned(), length));
                self.say("CONNECT");
            }
            ("DEL", Some(_)) => {
                self.files.remove(name);
                self.say("OK");
            }
            ("DWL", Some(file)) => {
                let (length, sum) = (file.len(), checksum(file));
                let tail = format!("\r\n+QFDWL: {length},{sum:x}\r\n");
                let told = [b"\r\nCONNECT\r\n", &file[..], tail.as_bytes()].concat();
                self.message(&told);
                self.say("OK");
            }
            ("DEL" | "DWL", None) => self.message(missing),
            _ => self.say("OK"),
        }
    }
}

/// The checksum of a stored file (PROTOCOL section 5).
fn checksum(file: &[u8]) -> u16 {
    let pairs = file.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    pairs.fold(0, |sum, pair| sum ^ pair)
}

/// The fixed answers.
const KNOWN: [(&str, &str); 6] = [
    ("+CMEE?", "+CMEE: 1"),
    ("ATI", "Quectel\r\nEG800Q\r\nRevision: EG800QEULCR07A06M04"),
    ("+CPIN?", "+CPIN: READY"),
    ("+CEREG?", "+CEREG: 0,1"),
    ("+QIACT?", "+QIACT: 1,1,1,\"10.7.157.1\""),
    ("+CSQ", "+CSQ: 28,99"),
];

const IDLE_STEPS_MAX: u32 = 20;
const ROUNDS_MAX: u32 = 1_000_000;
/// Most bytes of a line; no command of the core is longer.
const RECEIVED_MAX: usize = 4_096;
/// A command line, a file being stored, or one send: 64 kB at most.
const PORT_OUTPUT_MAX: usize = 64 * 1024;
