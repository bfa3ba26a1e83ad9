//! Addresses that send datagrams, what came back to them, and a witness: every datagram that arrives is equal to one that
//! was sent for its session, and none arrives more often than the line made it. What is missing is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use qssl_core::at::AtText;
use qssl_core::relay::{ClientId, Datagrams};
use qssl_core::settings::{self, Mode};
use qssl_core::{ClientInput, Input, Relay};
use qssl_modem_emulator::network::Transport;
use qssl_modem_emulator::network::simulated::{
    DatagramBehaviour, DatagramPlan, DatagramSays, Record, pattern,
};

use super::wiring::Security;
use super::{is_filled_up, trace};

/// A tunnel that carries datagrams, its server, and the addresses that send to it.
#[derive(Clone, Debug)]
pub struct DatagramTunnel {
    /// The tunnel's mode.
    pub mode: Mode,
    /// DTLS or plain UDP.
    pub security: Security,
    /// The limits of the tunnel.
    pub limits: settings::Limits,
    /// The server, and the way to it.
    pub plan: DatagramPlan,
    /// Who sends.
    pub addresses: Vec<Sender>,
}

/// An address that sends datagrams.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    /// When from the start it sends what, in order.
    pub says: Vec<(Duration, Vec<u8>)>,
    /// One of this many datagrams for it cannot be delivered; 0: all can.
    pub blocks_one_of: u64,
    /// From this time on none can: its client has another address now.
    pub gone_at: Option<Duration>,
}

impl DatagramTunnel {
    /// A tunnel to a server that sends everything back, whose sessions end when they are idle for 60 s.
    pub fn new(mode: Mode, security: Security) -> Self {
        let limits =
            settings::Limits { idle_timeout: Duration::from_secs(60), ..settings::Limits::default() };
        let plan = DatagramPlan::new(DatagramBehaviour::echo()).latency(Duration::from_millis(30));
        DatagramTunnel { mode, security, limits, plan, addresses: Vec::new() }
    }

    /// With one more address.
    pub fn sender(mut self, says: impl IntoIterator<Item = (Duration, Vec<u8>)>) -> Self {
        self.addresses.push(Sender { says: says.into_iter().collect(), ..Sender::default() });
        self
    }

    /// With another server, or way to it.
    pub fn behaviour(mut self, behaviour: DatagramBehaviour) -> Self {
        self.plan.behaviour = behaviour;
        self
    }

    /// With other limits.
    pub fn limits(mut self, change: impl FnOnce(&mut settings::Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// The settings of the core.
    pub(super) fn tunnel(&self, number: usize, tls: &settings::Tls) -> settings::Tunnel {
        settings::Tunnel {
            name: format!("d{number}"),
            target: Some(settings::Target { host: DatagramTunnel::host(number), port: SERVER_PORT }),
            mode: self.mode,
            transport: match self.security {
                Security::Tls => settings::Transport::Dtls(tls.clone()),
                Security::Plain => settings::Transport::Udp,
            },
            limits: self.limits.clone(),
        }
    }

    /// The host of its server.
    pub fn host(number: usize) -> AtText {
        AtText::new(format!("{HOST_PREFIX}{number}.example")).expect("letters, digits and a dot")
    }
}

/// The datagram of this length that nobody else sends, unless it is very short.
pub fn own(number: u64, length: usize) -> Vec<u8> {
    pattern(number ^ 0x6461_7461, 0, length)
}

/// The addresses of a run.
#[derive(Debug)]
pub struct Addresses {
    all: Vec<Address>,
    /// The tunnels, by number.
    tunnels: Vec<Tunnel>,
    /// How many tunnels of streams come before them.
    first: usize,
    /// How many records were looked at already, and how many datagrams of each.
    looked_at: Vec<usize>,
    /// Connections before this one are closed and were looked at.
    closed: usize,
}

#[derive(Debug)]
struct Tunnel {
    says: DatagramSays,
    seed: u64,
    /// The network may deliver a datagram twice, each way.
    doubles: bool,
}

/// An address, and what happened to it.
#[derive(Debug)]
pub struct Address {
    tunnel: usize,
    plan: Sender,
    next: usize,
    /// Its session, while it has one.
    pub id: Option<ClientId>,
    /// The greatest that any of its sessions had.
    pub greatest_id: Option<ClientId>,
    /// How many sessions it had.
    pub sessions: u64,
    /// What it sent while there was a session or room for one, and how often.
    sent: BTreeMap<Vec<u8>, u64>,
    /// How many datagrams that was.
    pub sent_count: u64,
    /// How many found neither.
    pub refused_count: u64,
    /// What came, in order.
    pub received: Vec<Vec<u8>>,
    got: BTreeMap<Vec<u8>, u64>,
    /// How many datagrams were for it, delivered or not.
    offered: u64,
}

impl Addresses {
    pub(super) fn new(tunnels: &[DatagramTunnel], first: usize) -> Self {
        let mut all = Vec::new();
        for (number, tunnel) in tunnels.iter().enumerate() {
            all.extend(tunnel.addresses.iter().map(|plan| Address::new(number, plan.clone())));
        }
        let tunnels = tunnels.iter().map(|tunnel| Tunnel {
            says: tunnel.plan.behaviour.says.clone(),
            seed: tunnel.plan.behaviour.seed,
            doubles: tunnel.plan.behaviour.twice_of_1000 > 0,
        });
        Addresses { all, tunnels: tunnels.collect(), first, looked_at: Vec::new(), closed: 0 }
    }

    /// All of them, tunnel after tunnel.
    pub fn all(&self) -> &[Address] {
        &self.all
    }

    /// Whether everybody has sent everything.
    pub fn are_done(&self) -> bool {
        self.all.iter().all(|address| address.next == address.plan.says.len())
    }

    pub(super) fn next_deadline(&self, start: Instant, now: Instant) -> Option<Instant> {
        let next = |address: &Address| address.plan.says.get(address.next).map(|(at, _)| start + *at);
        self.all.iter().filter_map(next).filter(|at| *at > now).min()
    }

    /// Whether this was a session, which is over.
    pub(super) fn ended(&mut self, id: ClientId) {
        if let Some(address) = self.all.iter_mut().find(|address| address.id == Some(id)) {
            address.id = None;
        }
    }

    /// Sends and delivers what is due. Returns whether anything moved.
    pub(super) fn act(&mut self, relay: &mut Relay, start: Instant, now: Instant) -> bool {
        let mut moved = false;
        for (number, address) in self.all.iter_mut().enumerate() {
            while let Some((_, bytes)) = address.plan.says.get(address.next).filter(|it| start + it.0 <= now)
            {
                let tunnel = relay.tunnels()[self.first + address.tunnel].clone();
                if address.id.is_none() {
                    if moved {
                        // What is to be done comes first, as it does in the program.
                        return true;
                    }
                    if relay.wants_clients(&tunnel) {
                        address.id = Some(relay.client_accepted(&tunnel, format!("address {number}"), now));
                        address.greatest_id = address.greatest_id.max(address.id);
                        address.sessions += 1;
                    }
                }
                trace::note(|| format!("   address {number} sends {}", trace::shown(bytes)));
                match address.id {
                    Some(id) => {
                        *address.sent.entry(bytes.clone()).or_default() += 1;
                        address.sent_count += 1;
                        relay.client_received(id, bytes, now);
                    }
                    None => {
                        address.refused_count += 1;
                        relay.datagram_refused(&tunnel);
                    }
                }
                address.next += 1;
                moved = true;
            }
            let Some(id) = address.id else { continue };
            let output = relay.client_output(id).to_vec();
            if output.is_empty() {
                continue;
            }
            moved = true;
            address.offered += 1;
            let Sender { blocks_one_of, gone_at, .. } = address.plan;
            let is_gone = gone_at.is_some_and(|at| start + at <= now);
            if is_gone || blocks_one_of > 0 && address.offered.is_multiple_of(blocks_one_of) {
                relay.handle(Input::Client(id, ClientInput::NotDelivered), now);
                continue;
            }
            relay.client_written(id, output.len(), now);
            *address.got.entry(output.clone()).or_default() += 1;
            self.tunnels[address.tunnel].check(address, number, &output);
            address.received.push(output);
        }
        moved
    }

    /// Checks what servers have received since the last call. `may_be_filled_up`: a send can have been interrupted.
    pub(super) fn look_at(&mut self, records: &[Record], may_be_filled_up: bool) {
        self.looked_at.resize(records.len(), 0);
        // A run of many sessions would otherwise look through all of them at every step.
        for (record, looked_at) in records.iter().zip(&mut self.looked_at).skip(self.closed) {
            let number =
                record.request.host.strip_prefix(HOST_PREFIX).and_then(|rest| rest.split('.').next());
            let Some(number) = number.and_then(|number| number.parse::<usize>().ok()) else {
                assert_eq!(record.request.transport, Transport::Tcp, "a stream needs TCP");
                continue;
            };
            if record.request.transport != Transport::Udp {
                // The module has forgotten that this SSL context is for DTLS. No client may be given that connection.
                assert_eq!(record.received_bytes, 0, "datagrams need UDP");
                continue;
            }
            let of_tunnel = || self.all.iter().enumerate().filter(|(_, address)| address.tunnel == number);
            for bytes in &record.received_datagrams[*looked_at..] {
                let is_sent = of_tunnel().any(|(_, address)| address.sent.contains_key(bytes));
                let is_filled = || {
                    let is_begun = |sent: &Vec<u8>| sent.len() == bytes.len() && is_filled_up(bytes, sent);
                    of_tunnel().any(|(_, address)| address.sent.keys().any(is_begun))
                };
                assert!(
                    is_sent || may_be_filled_up && is_filled(),
                    "the server of datagram tunnel {number} has received what nobody sent: {}",
                    trace::shown(bytes)
                );
            }
            if record.received_datagrams.len() > *looked_at && !may_be_filled_up {
                let mut senders: BTreeSet<usize> = of_tunnel().map(|(index, _)| index).collect();
                for bytes in &record.received_datagrams {
                    senders.retain(|index| self.all[*index].sent.contains_key(bytes));
                }
                assert!(!senders.is_empty(), "a server of datagram tunnel {number} has heard two sessions");
            }
            *looked_at = record.received_datagrams.len();
        }
        self.closed += records[self.closed..].iter().take_while(|record| record.closed.is_some()).count();
    }

    /// Checks, once all sessions are over, that each datagram was carried or is counted. `are_lossless`: the network loses
    /// none, and nothing went wrong.
    pub(super) fn settle(&self, relay: &Relay, records: &[Record], are_lossless: bool) {
        for report in relay.tunnel_reports().iter().take(self.first) {
            assert_eq!(report.counters.datagrams, None, "a tunnel of streams");
        }
        for (number, report) in relay.tunnel_reports().iter().skip(self.first).enumerate() {
            let counts = report.counters.datagrams.expect("it carries datagrams");
            let Datagrams { up, down, dropped } = counts;
            let of_tunnel = || self.all.iter().filter(|address| address.tunnel == number);
            let sum = |count: fn(&Address) -> u64| of_tunnel().map(count).sum::<u64>();
            let (sent, refused) = (sum(|it| it.sent_count), sum(|it| it.refused_count));
            assert_eq!(dropped.refused, refused, "datagram tunnel {number}: refused");
            let at_most = up + dropped.empty + dropped.long + dropped.full + dropped.unsent;
            assert!(
                at_most - dropped.full <= sent && sent <= at_most,
                "datagram tunnel {number}: {sent} were sent, and not {counts:?}"
            );
            assert_eq!(down, sum(|it| it.received.len() as u64), "datagram tunnel {number}: delivered");
            assert!(down + dropped.undelivered >= sum(|it| it.offered), "datagram tunnel {number}: offered");
            for (index, address) in of_tunnel().enumerate() {
                let most = if self.tunnels[number].doubles { 4 } else { 1 };
                for (bytes, count) in &address.got {
                    let sent = match self.tunnels[number].says {
                        // Short ones are alike.
                        DatagramSays::Source { datagrams, bytes: length, .. } => {
                            let parts = (0..datagrams).map(|at| self.tunnels[number].part(at, length));
                            address.sessions * parts.filter(|part| part == bytes).count() as u64
                        }
                        DatagramSays::Notifies { .. } => address.sessions,
                        _ => address.sent.get(bytes).copied().unwrap_or(u64::MAX),
                    };
                    assert!(*count <= sent.saturating_mul(most), "address {index} got one {count} times");
                }
            }
            let host = DatagramTunnel::host(number);
            let its = || records.iter().filter(|record| record.request.host == host.as_str());
            let arrived: usize = its().map(|record| record.received_datagrams.len()).sum();
            if are_lossless && !self.tunnels[number].doubles {
                assert_eq!(arrived as u64, up, "datagram tunnel {number}: what was sent has arrived");
            }
        }
    }
}

impl Tunnel {
    /// A datagram of a server that sends without being asked.
    fn part(&self, at: u64, length: usize) -> Vec<u8> {
        pattern(self.seed, at * length as u64, length)
    }

    fn check(&self, address: &Address, number: usize, bytes: &[u8]) {
        let is_right = match &self.says {
            DatagramSays::Nothing => false,
            DatagramSays::Echo => address.sent.contains_key(bytes),
            DatagramSays::Source { datagrams, bytes: length, .. } => {
                (0..*datagrams).any(|at| self.part(at, *length) == bytes)
            }
            DatagramSays::Notifies { .. } => {
                bytes.split_last_chunk::<8>().is_some_and(|(first, _)| address.sent.contains_key(first))
            }
        };
        assert!(is_right, "address {number} has received what was not for it: {}", trace::shown(bytes));
    }
}

impl Address {
    fn new(tunnel: usize, plan: Sender) -> Self {
        Address {
            tunnel,
            plan,
            next: 0,
            id: None,
            greatest_id: None,
            sessions: 0,
            sent: BTreeMap::new(),
            sent_count: 0,
            refused_count: 0,
            received: Vec::new(),
            got: BTreeMap::new(),
            offered: 0,
        }
    }
}

/// What the hosts of servers of datagrams begin with.
const HOST_PREFIX: &str = "d";
pub(super) const SERVER_PORT: u16 = 5_684;
