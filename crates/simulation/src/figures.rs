//! Figures in simulated time, from core, line and emulated modem alone, so that they are exact.
//!
//! The program's bench prints them, and its `tests/figures.rs` asserts them.

use std::fmt;
use std::time::{Duration, Instant};

use qssl_core::at::Command;
use qssl_core::fleet::Policy;
use qssl_core::settings::{Authentication, Mode, Pem, Tls};
use qssl_modem_emulator::PortName;
use qssl_modem_emulator::network::Transport;
use qssl_modem_emulator::network::simulated::{Behaviour, DatagramBehaviour, DatagramSays};

use crate::Simulation;
use crate::datagrams::{DatagramTunnel, own};
use crate::fleet::Fleet;
use crate::wiring::{Connection, Fault, Leaves, Port, Security, Sends, Wiring, millis, seconds};

/// The direction of payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if *self == Way::Up { "up" } else { "down" })
    }
}

/// The time that the modem itself needs, in addition to the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modem {
    /// Nothing.
    Instant,
    /// 8 ms for the prompt, 16 ms for a send, 20 ms for a receive.
    AsInTheField,
    /// 20 ms for every answer.
    Slow,
}

/// The payload of one message, in bytes.
const CHUNK: u64 = 1_460;

/// The bytes on the line of one message of `payload` bytes, beside the payload: echo off, ids of one digit.
#[derive(Clone, Copy, Debug)]
struct Dialogue {
    /// AT+QSSLSEND, and the prompt.
    before_send: usize,
    /// SEND OK.
    after_send: usize,
    /// The URC that comes before bytes in push mode.
    pushed: usize,
    /// The URC that announces bytes in buffer mode.
    announced: usize,
    /// AT+QSSLRECV and the header of its answer.
    before_read: usize,
    /// OK.
    after_read: usize,
}

impl Dialogue {
    fn of(security: Security, payload: u64) -> Dialogue {
        let (send, receive, urc) = match security {
            Security::Tls => ("QSSLSEND", "QSSLRECV", "QSSLURC"),
            Security::Plain => ("QISEND", "QIRD", "QIURC"),
        };
        // Both ask for 1460 or 1500 bytes, whatever comes.
        let read = format!("AT+{receive}=0,1460\r") + &format!("\r\n+{receive}: {payload}\r\n");
        Dialogue {
            before_send: format!("AT+{send}=0,{payload}\r").len() + "\r\n> ".len(),
            after_send: "\r\nSEND OK\r\n".len(),
            pushed: format!("\r\n+{urc}: \"recv\",0,{payload}\r\n").len(),
            announced: format!("\r\n+{urc}: \"recv\",0\r\n").len(),
            before_read: read.len(),
            after_read: "\r\n\r\nOK\r\n".len(),
        }
    }
}

/// The time of so many bytes on the wire, at ten bits each.
fn on_the_wire(bytes: usize, baud: u32) -> Duration {
    Duration::from_nanos(bytes as u64 * 10 * 1_000_000_000 / u64::from(baud))
}

/// The least time of one chunk: its bytes on the wire, and the modem's own time.
pub fn least_time_per_chunk(mode: Mode, security: Security, way: Way, baud: u32, modem: Modem) -> Duration {
    let dialogue = Dialogue::of(security, CHUNK);
    let (bytes, latency) = match (mode, way) {
        (Mode::Push | Mode::Buffer, Way::Up) => (dialogue.before_send + dialogue.after_send, millis(8 + 16)),
        (Mode::Push, Way::Down) => (dialogue.pushed, Duration::ZERO),
        (Mode::Buffer, Way::Down) => (dialogue.before_read + dialogue.after_read, millis(20)),
        (Mode::Transparent, _) => (0, Duration::ZERO),
    };
    let latency = if modem == Modem::AsInTheField { latency } else { Duration::ZERO };
    on_the_wire(bytes + CHUNK as usize, baud) + latency
}

/// Goodput ÷ what the dialogue allows, for one client that always has something to send or to receive.
pub fn utilisation(mode: Mode, security: Security, way: Way, baud: u32, modem: Modem) -> f64 {
    let connection = Connection { security, ..endless(mode, way) };
    let mut sim = wiring(baud, modem).connect(near(connection)).start_quietly();
    let (bytes, time) = steady(&mut sim, way);
    let least = least_time_per_chunk(mode, security, way, baud, modem).as_secs_f64();
    least * bytes as f64 / CHUNK as f64 / time.as_secs_f64()
}

/// The time that a datagram of 64 bytes and its echo take beyond what their dialogue and the network need: of the worst of
/// a hundred, at 115200 baud.
pub fn added_to_a_datagram(mode: Mode, security: Security) -> Duration {
    let datagram = |number: u64| own(number, DATAGRAM_BYTES as usize);
    // No two at the same time of the core's own questions.
    let every = millis(537);
    let says = (0..DATAGRAMS).map(|number| (DATAGRAMS_FROM + every * number as u32, datagram(number)));
    let tunnel = DatagramTunnel::new(mode, security).sender(says);
    let network = tunnel.plan.latency * 2;
    let mut sim = wiring(BAUD, Modem::Instant).datagrams(tunnel).start_quietly();
    let begin = sim.now;
    let dialogue = Dialogue::of(security, DATAGRAM_BYTES);
    let payload = DATAGRAM_BYTES as usize;
    let down = match mode {
        Mode::Push => dialogue.pushed + payload,
        // The simulated line hands bytes over in steps, and the OK with the payload before it.
        _ => dialogue.announced + dialogue.before_read + payload + dialogue.after_read,
    };
    let least = on_the_wire(dialogue.before_send + payload + down, BAUD) + network;
    let times = (0..DATAGRAMS).map(|number| {
        sim.run_until("the echo comes", seconds(120), |sim| {
            sim.addresses.all()[0].received.len() > number as usize
        });
        sim.now - (begin + DATAGRAMS_FROM + every * number as u32)
    });
    // The first waits for its connection.
    times.skip(1).max().expect("there are a hundred").saturating_sub(least)
}

/// Both ways at once in byte/s: on one port, or on two of which the second gets no URCs.
pub fn both_ways(mode: Mode, baud: u32, ports: usize) -> (f64, f64) {
    let (up, down) = (endless(mode, Way::Up), endless(mode, Way::Down));
    let wiring = wiring(baud, Modem::Instant).ports(paced_ports(ports));
    let mut sim = wiring.connect(near(up)).connect(near(down)).start_quietly();
    sim.run_until_ready();
    sim.run_for(seconds(3));
    let state =
        |sim: &Simulation| (sim.fars[0].memory().read.len() as f64, sim.clients[1].received.len() as f64);
    let before = state(&sim);
    sim.run_for(BOTH_WAYS_TIME);
    let after = state(&sim);
    let time = BOTH_WAYS_TIME.as_secs_f64();
    ((after.0 - before.0) / time, (after.1 - before.1) / time)
}

/// Which clients a UART with several channels has, each with endless payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clients {
    /// Those that send.
    pub up: usize,
    /// Those that receive.
    pub down: usize,
}

/// What these clients get at once on a UART with several channels, as shares of the line up and down. `frame_bytes`: N1.
pub fn multiplexed(mode: Mode, clients: Clients, frame_bytes: u16, modem: Modem) -> (f64, f64) {
    let wiring = wiring(BAUD, modem).ports([Port::uart()]).cmux();
    let wiring = wiring.settings(|settings| settings.cmux_frame = Some(frame_bytes));
    let wiring = wiring.connect_many(clients.up, &near(endless(mode, Way::Up)));
    let mut sim = wiring.connect_many(clients.down, &near(endless(mode, Way::Down))).start_quietly();
    all_open(&mut sim);
    let state = |sim: &Simulation| {
        let up: usize = sim.fars[..clients.up].iter().map(|far| far.memory().read.len()).sum();
        let down: usize = sim.clients[clients.up..].iter().map(|client| client.received.len()).sum();
        (up as f64, down as f64)
    };
    let before = state(&sim);
    sim.run_for(BOTH_WAYS_TIME);
    let after = state(&sim);
    let line = BOTH_WAYS_TIME.as_secs_f64() * f64::from(BAUD) / 10.0;
    ((after.0 - before.0) / line, (after.1 - before.1) / line)
}

/// One way alone on a UART with several channels, in transparent mode, as a share of the line.
pub fn one_way_multiplexed(way: Way, frame_bytes: u16) -> f64 {
    let connection = endless(Mode::Transparent, way);
    let wiring = wiring(BAUD, Modem::Instant).ports([Port::uart()]).cmux();
    let wiring = wiring.settings(|settings| settings.cmux_frame = Some(frame_bytes));
    let mut sim = wiring.connect(near(connection)).start_quietly();
    let (bytes, time) = steady(&mut sim, way);
    bytes as f64 / time.as_secs_f64() * 10.0 / f64::from(BAUD)
}

/// How long 99 of 100 commands take at most on the first channel of a UART, beside a stream up and one down that fill the
/// line.
pub fn command_beside_streams(frame_bytes: u16) -> Duration {
    let wiring = wiring(BAUD, Modem::Instant).ports([Port::uart()]).cmux();
    let wiring = wiring.settings(|settings| settings.cmux_frame = Some(frame_bytes));
    let wiring = wiring.connect(near(endless(Mode::Transparent, Way::Up)));
    let mut sim = wiring.connect(near(endless(Mode::Transparent, Way::Down))).start_quietly();
    all_open(&mut sim);
    sim.run_for(seconds(5));
    let mut times: Vec<Duration> = (0..COMMANDS)
        .map(|count| {
            // At ever other places of the frames.
            sim.run_for(millis(101 + count % 37));
            let (asked, answered) = (sim.now, sim.answers.len());
            let now = sim.now;
            assert!(sim.relay.command(Command::line("AT+CSQ"), now).is_some(), "none waits");
            sim.run_until("the command is answered", seconds(5), |sim| sim.answers.len() > answered);
            sim.now - asked
        })
        .collect();
    times.sort();
    times[times.len() * 99 / 100 - 1]
}

/// How long a transparent connection on one of several channels takes, beyond what the module itself needs.
#[derive(Clone, Copy, Debug)]
pub struct StreamTimes {
    /// From the client's arrival to the first byte that it is given.
    pub open: Duration,
    /// From the last byte that the server sends to the end of file.
    pub end_by_server: Duration,
    /// From the client's last byte, with which it leaves, to the end that the server sees.
    pub end_by_client: Duration,
}

/// Opens and closes verified streams, one after the other.
pub fn stream_times() -> StreamTimes {
    let mut wiring = wiring(BAUD, Modem::Instant).ports([Port::uart()]).cmux();
    let root = Pem { source: "root.pem".to_owned(), bytes: b"the root".to_vec() };
    wiring.tls = Tls::new(Authentication::Authorities(vec![root]));
    let module = wiring.modem.open_latency;
    let fetch = Connection::new(Mode::Transparent).far_end(Behaviour::source(1, 1)).at(seconds(20));
    let send = Connection::new(Mode::Transparent).sends(Sends::Pattern(1)).leaves(Leaves::WhenSent);
    let mut sim = wiring.connect(near(fetch)).connect(near(send.at(seconds(40)))).start_quietly();
    sim.run_for(seconds(20));
    let limit = seconds(10);
    let open = sim.run_until("the first byte comes", limit, |sim| !sim.clients[0].received.is_empty());
    let end_by_server = sim.run_until("the end comes", limit, |sim| sim.outcome(0).is_some());
    sim.run_until("the last byte leaves", seconds(30), |sim| !sim.fars[1].memory().read.is_empty());
    let end_by_client = sim.run_until("the server sees the end", limit, |sim| sim.server_saw(1).is_some());
    StreamTimes { open: open - module, end_by_server, end_by_client }
}

/// Jain's index of three streams over 30 s on one UART.
pub fn jains_index_of_streams(way: Way) -> f64 {
    let connection = endless(Mode::Transparent, way);
    let wiring = wiring(BAUD, Modem::Instant).ports([Port::uart()]).cmux();
    equality(&mut wiring.connect_many(3, &near(connection)).start_quietly(), way)
}

/// Jain's index of twelve bulk transfers over 30 s at 115200 baud: 1 means equal shares, 1/12 all for one.
pub fn jains_index(mode: Mode, way: Way) -> f64 {
    let connection = endless(mode, way);
    let wiring = wiring(115_200, Modem::Instant).connect_many(12, &near(connection));
    equality(&mut wiring.start_quietly(), way)
}

/// Jain's index of bulk transfers of every kind at once, over 60 s at 115200 baud: three each over TLS, plain TCP, DTLS
/// and UDP.
pub fn jains_index_of_kinds(mode: Mode, way: Way) -> f64 {
    let all = |sim: &Simulation| [carried(sim, way), in_datagrams(sim, way)].concat();
    equality_of(&mut bulk_of_kinds(mode, way, 3).start_quietly(), seconds(60), all)
}

/// Three bulk transfers each over plain TCP, DTLS and UDP, and so many over TLS. Datagrams are as long as what a stream sends
/// at once.
fn bulk_of_kinds(mode: Mode, way: Way, over_tls: usize) -> Wiring {
    let stream = near(endless(mode, way));
    let plain = stream.clone().plain();
    let mut wiring = wiring(BAUD, Modem::Instant).connect_many(over_tls, &stream).connect_many(3, &plain);
    // More than there is room for: what finds none is dropped.
    let (datagrams, every) = (400, millis(250));
    let source = DatagramSays::Source { datagrams, bytes: CHUNK as usize, every };
    let (sent, server) = match way {
        Way::Up => (datagrams, DatagramBehaviour::sink()),
        Way::Down => (1, DatagramBehaviour { says: source, ..DatagramBehaviour::sink() }),
    };
    let says = || (0..sent).map(|number| (every * number as u32, own(number, CHUNK as usize)));
    for security in [Security::Tls, Security::Plain] {
        let tunnel = DatagramTunnel::new(mode, security).behaviour(server.clone());
        wiring = wiring.datagrams((0..3).fold(tunnel, |tunnel, _| tunnel.sender(says())));
    }
    wiring
}

/// How many bytes each receiver of datagrams has: the server of each session, or each address.
fn in_datagrams(sim: &Simulation, way: Way) -> Vec<usize> {
    match way {
        Way::Up => {
            let records = sim.network.records().iter();
            let sessions = records.filter(|record| record.request.transport == Transport::Udp);
            sessions.map(|record| record.received_bytes as usize).collect()
        }
        Way::Down => {
            let addresses = sim.addresses.all().iter();
            addresses.map(|address| address.received.iter().map(Vec::len).sum()).collect()
        }
    }
}

/// Jain's index of what all connections get in 30 s.
fn equality(sim: &mut Simulation, way: Way) -> f64 {
    equality_of(sim, seconds(30), |sim| carried(sim, way))
}

/// The same of what is carried so far in this time, once all are open.
fn equality_of(sim: &mut Simulation, time: Duration, carried: impl Fn(&Simulation) -> Vec<usize>) -> f64 {
    all_open(sim);
    let before = carried(sim);
    sim.run_for(time);
    let shares: Vec<f64> =
        carried(sim).iter().zip(&before).map(|(after, before)| (after - before) as f64).collect();
    let (sum, squares): (f64, f64) = (shares.iter().sum(), shares.iter().map(|share| share * share).sum());
    sum * sum / (shares.len() as f64 * squares)
}

/// A connection that always has something to send or to receive.
fn endless(mode: Mode, way: Way) -> Connection {
    match way {
        Way::Up => Connection::new(mode).sends(Sends::Pattern(ENDLESS)),
        Way::Down => Connection::new(mode).far_end(Behaviour::source(ENDLESS, 7)),
    }
}

/// The effects of a sparse client and eleven bulk clients on each other.
#[derive(Clone, Copy, Debug)]
pub struct Sparse {
    /// The 99th percentile of the sparse client's wait, in times of one chunk: from its bytes to their arrival,
    /// without the network's time and the time that its own message needs on an idle line.
    pub wait_in_chunks: f64,
    /// The bulk clients' throughput, as a fraction of that without the sparse client, whose share of the wire is
    /// deducted.
    pub bulk: f64,
}

/// 64 bytes every 500 ms among eleven bulk transfers, at 115200 baud.
pub fn sparse_among_bulk(mode: Mode, way: Way) -> Sparse {
    sparse_among(&wiring(BAUD, Modem::Instant).connect_many(11, &near(endless(mode, way))), mode, way)
}

/// The same among two bulk transfers over TLS and three each over plain TCP, DTLS and UDP.
pub fn sparse_among_kinds(mode: Mode, way: Way) -> Sparse {
    sparse_among(&bulk_of_kinds(mode, way, 2), mode, way)
}

/// A sparse client over TLS among these.
fn sparse_among(bulk: &Wiring, mode: Mode, way: Way) -> Sparse {
    let place = bulk.connections.len();
    let sparse = match way {
        Way::Up => {
            Connection::new(mode).sends(Sends::Drip { bytes: 64, every: SPARSE_INTERVAL, total: ENDLESS })
        }
        Way::Down => Connection::new(mode),
    };
    let of_bulk = |sim: &Simulation| -> usize {
        carried(sim, way)[..place].iter().chain(&in_datagrams(sim, way)).sum()
    };
    let mut alone = bulk.start_quietly();
    all_open(&mut alone);
    let before = of_bulk(&alone);
    alone.run_for(SPARSE_TIME);
    let undisturbed = of_bulk(&alone) - before;

    let mut sim = bulk.clone().connect(near(sparse)).start_quietly();
    all_open(&mut sim);
    let before = of_bulk(&sim);
    let begin = sim.now;
    let mut waits = Vec::new();
    let rounds = (SPARSE_TIME.as_nanos() / SPARSE_INTERVAL.as_nanos()) as u32;
    for round in 0..rounds {
        let there = carried(&sim, way)[place];
        let due = match way {
            Way::Up => {
                // It sends at whole intervals, counted from when it was accepted.
                let since = sim.clients[place].accepted_at().expect("it is connected");
                let spoken =
                    (sim.now.saturating_duration_since(since).as_nanos() / SPARSE_INTERVAL.as_nanos()) as u32;
                since + SPARSE_INTERVAL * (spoken + 1)
            }
            Way::Down => {
                sim.fars[place].say(&[b'.'; 64]);
                sim.now
            }
        };
        sim.run_until("the sparse bytes arrive", seconds(20), |sim| carried(sim, way)[place] >= there + 64);
        waits.push(sim.now - due);
        let next = begin + SPARSE_INTERVAL * (round + 1);
        sim.run_for(next.saturating_duration_since(sim.now));
    }
    sim.run_for((begin + SPARSE_TIME).saturating_duration_since(sim.now));
    let disturbed = of_bulk(&sim) - before;
    waits.sort();
    // Up 64 bytes and the 34 of their dialogue; down the URC of 22 before them and 46 of dialogue, and then the
    // 41 of an empty read.
    let (message, all) = if way == Way::Up { (98, 98) } else { (22 + 46 + 64, 22 + 46 + 64 + 41) };
    let line = |bytes: u32| Duration::from_secs(1) * bytes / 11_520;
    let p99 = waits[(waits.len() * 99).div_ceil(100) - 1].saturating_sub(NETWORK_LATENCY + line(message));
    let chunk = least_time_per_chunk(mode, Security::Tls, way, 115_200, Modem::Instant);
    let left = SPARSE_TIME.as_secs_f64() - (line(all) * rounds).as_secs_f64();
    Sparse {
        wait_in_chunks: p99.as_secs_f64() / chunk.as_secs_f64(),
        bulk: disturbed as f64 / undisturbed as f64 * SPARSE_TIME.as_secs_f64() / left,
    }
}

/// From the opening of the port to readiness.
#[derive(Clone, Copy, Debug)]
pub struct StartUp {
    /// Questions that were answered.
    pub round_trips: usize,
    /// The time at 115200 baud.
    pub time: Duration,
}

/// Measures the start-up dialogue with this module, which has its files already or needs none.
pub fn start_up(wiring: Wiring) -> StartUp {
    let mut sim = wiring.start_quietly();
    let time = sim.run_until_ready();
    StartUp { round_trips: sim.said("AT"), time }
}

/// A UART at this speed.
pub fn wiring(baud: u32, modem: Modem) -> Wiring {
    Wiring::new().uart(baud).modem(|config| {
        (config.prompt_latency, config.send_latency, config.receive_latency) = match modem {
            Modem::Instant => return,
            Modem::AsInTheField => (millis(8), millis(16), millis(20)),
            Modem::Slow => (millis(20), millis(20), millis(20)),
        };
    })
}

// Several modems.

/// What a modem does when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// It says nothing more.
    Silent,
    /// Its port vanishes.
    Gone,
}

/// What the modem did before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing for long.
    Idle,
    /// It has just opened a connection.
    Opened,
    /// It carried bytes, this way.
    Busy(Way),
}

/// How long after the first of two modems has failed, or after it was accepted if that is later, a client that is accepted
/// `later` gets its first byte.
pub fn served_by_the_other(failing: Failing, before: Before, later: Duration) -> Duration {
    let fails_at = seconds(30);
    let first = match before {
        Before::Idle => near(Connection::new(Mode::Push)).at(seconds(10)),
        Before::Opened => near(Connection::new(Mode::Push)).at(fails_at - millis(900)),
        Before::Busy(way) => near(endless(Mode::Push, way)).at(seconds(10)),
    };
    let next = Connection::new(Mode::Push).far_end(Behaviour::source(100, 1));
    let wiring = wiring(BAUD, Modem::AsInTheField).connect(first).connect(near(next.at(fails_at + later)));
    let mut fleet = Fleet::start(&wiring, 2, Policy::Failover);
    fleet.run_for(fails_at);
    assert_eq!(fleet.at[0], Some(0), "the first serves");
    let hour = seconds(3_600);
    match failing {
        Failing::Silent => fleet.inject(0, Fault::Stall(hour)),
        Failing::Gone => fleet.inject(0, Fault::LosePort(0, hour)),
    }
    fleet.run_for(later);
    fleet.run_until("it is served", seconds(60), |fleet| fleet.received(1) > 0)
}

/// How long 99 of 100 round trips take at most on one of two modems, while the other is well, and while it fails again and
/// again.
pub fn round_trips_beside_a_failing_modem() -> [Duration; 2] {
    [false, true].map(|fails| {
        let drip = Sends::Drip { bytes: 100, every: millis(200), total: 100 * TRIPS };
        let bulk = endless(Mode::Push, Way::Up);
        let echo = Connection::new(Mode::Push).sends(drip).far_end(Behaviour::echo());
        let wiring = wiring(BAUD, Modem::AsInTheField).connect(near(bulk.at(seconds(10))));
        let wiring = wiring.connect(near(echo.at(seconds(20))));
        let mut fleet = Fleet::start(&wiring, 2, Policy::Balance);
        fleet.run_for(seconds(20));
        let faults = [Fault::Stall(seconds(20)), Fault::LosePort(0, seconds(3)), Fault::Reboot];
        for fault in faults.into_iter().cycle().take(12) {
            if fails {
                fleet.inject(0, fault);
            }
            fleet.run_for(seconds(10));
        }
        assert_eq!(fleet.at, [Some(0), Some(1)]);
        let client = &fleet.modems[1].clients[1];
        let (begin, progress) = (client.accepted_at().expect("it was"), &client.progress);
        // The first wait for the connection.
        let mut trips: Vec<Duration> = (20..TRIPS)
            .filter_map(|trip| {
                let sent = begin + millis(200) * (trip as u32 + 1);
                let come = progress.iter().find(|(_, bytes)| *bytes >= 100 * (trip + 1))?;
                Some(come.0.saturating_duration_since(sent))
            })
            .collect();
        assert_eq!(trips.len() as u64, TRIPS - 20, "all have come back");
        trips.sort();
        trips[trips.len() * 99 / 100 - 1]
    })
}

/// What two modems carry up, as a multiple of what one does.
pub fn carried_by_two() -> f64 {
    let carried = |modems: usize| {
        let bulk = near(endless(Mode::Push, Way::Up)).at(seconds(10));
        let wiring = wiring(BAUD, Modem::AsInTheField).connect_many(2, &bulk);
        let mut fleet = Fleet::start(&wiring, modems, Policy::Balance);
        fleet.run_for(seconds(20));
        let read = |fleet: &Fleet| fleet.read(0) + fleet.read(1);
        let before = read(&fleet);
        fleet.run_for(seconds(30));
        (read(&fleet) - before) as f64
    };
    carried(2) / carried(1)
}

/// Round trips of a figure.
const TRIPS: u64 = 500;

/// The bytes after the warm-up and their time, measured at the receiver.
fn steady(sim: &mut Simulation, way: Way) -> (usize, Duration) {
    sim.run_until_ready();
    let mut reach = |bytes: usize| -> (usize, Instant) {
        sim.run_until("the bytes arrive", seconds(600), |sim| carried(sim, way)[0] >= bytes);
        (carried(sim, way)[0], sim.now)
    };
    let (first, begin) = reach(WARM_UP_CHUNKS * CHUNK as usize);
    let (last, end) = reach((WARM_UP_CHUNKS + STEADY_CHUNKS) * CHUNK as usize);
    (last - first, end - begin)
}

/// How many bytes each receiver has.
fn carried(sim: &Simulation, way: Way) -> Vec<usize> {
    match way {
        Way::Up => sim.fars.iter().map(|far| far.memory().read.len()).collect(),
        Way::Down => sim.clients.iter().map(|client| client.received.len()).collect(),
    }
}

fn all_open(sim: &mut Simulation) {
    sim.run_until("all are open", seconds(60), |sim| sim.fars.iter().all(|far| far.memory().opened == 1));
    sim.run_for(seconds(5));
}

fn paced_ports(count: usize) -> Vec<Port> {
    let names = [PortName::Uart1, PortName::Uart2];
    names.into_iter().take(count).map(|name| Port { name, ..Port::uart() }).collect()
}

/// A connection through a network with little latency.
fn near(connection: Connection) -> Connection {
    Connection { latency: NETWORK_LATENCY, ..connection }
}

/// Commands of a figure.
const COMMANDS: u64 = 200;

/// Datagrams of a figure.
const DATAGRAMS: u64 = 101;
const DATAGRAM_BYTES: u64 = 64;
const DATAGRAMS_FROM: Duration = seconds(10);

const BAUD: u32 = 115_200;
const ENDLESS: u64 = 1 << 40;
const NETWORK_LATENCY: Duration = millis(1);
const WARM_UP_CHUNKS: usize = 20;
const STEADY_CHUNKS: usize = 100;
const BOTH_WAYS_TIME: Duration = seconds(10);
const SPARSE_INTERVAL: Duration = millis(500);
const SPARSE_TIME: Duration = seconds(60);
