//! `cargo bench`: measures all figures in one run and shows each beside its limit.
//!
//! Prints the table on standard output and its progress on standard error, and writes docs/bench.svg. Figures in
//! simulated time are exact; those by the wall clock are medians of rounds in which the programs take turns.

#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod bare;
mod meter;
mod modem;
mod program;
mod report;
mod rote;
mod wall_clock;

use std::path::Path;
use std::time::Duration;

use qssl_core::settings::{Cmux, Mode};
use qssl_simulation::figures::{self, Before, Failing, Way};
use qssl_simulation::wiring::{Connection, Security};
use qssl_test_common::in_memory::Rig;
use qssl_test_common::world::FarEnd;

use bare::{Bare, DatagramLink};
use program::Carried;
use report::{Bar, Limit, Report};
use wall_clock::{Link, Round, Who, median, percentile};

const MODES: [Mode; 3] = [Mode::Push, Mode::Buffer, Mode::Transparent];
const WAYS: [Way; 2] = [Way::Up, Way::Down];
/// Modes and kinds of datagrams.
const SESSIONS: [(Mode, Security); 4] = [
    (Mode::Push, Security::Plain),
    (Mode::Push, Security::Tls),
    (Mode::Buffer, Security::Plain),
    (Mode::Buffer, Security::Tls),
];
/// The tunnel as most use it, and its yardstick.
const USUAL: [Who; 2] = [Who::Tunnel(Carried::Tls), Who::Rote(Carried::Tls)];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, device, kind, mode] = &arguments[..]
        && word == "rote"
    {
        rote::run(device, kind == "tls", mode.parse().expect("the number of a mode"));
    }
    // Cargo passes --bench. The other words select parts of the bench; without any, all parts run.
    let words: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted = |part: &str| words.is_empty() || words.iter().any(|word| *word == part);
    let mut report = Report::default();
    let mut bars = Vec::new();
    if wanted("simulated") {
        in_simulated_time(&mut report);
    }
    if wanted("growth") {
        growth(&mut report);
    }
    if wanted("multiplexed") {
        multiplexed(&mut report);
    }
    if wanted("paced") {
        bars = paced(&mut report);
    }
    if wanted("unpaced") {
        unpaced(&mut report);
    }
    if wanted("plain") {
        plain(&mut report);
    }
    if wanted("latency") {
        latency(&mut report);
    }
    if wanted("datagrams") {
        datagrams(&mut report);
    }
    if wanted("warm") {
        warm(&mut report);
    }
    if wanted("footprint") {
        footprint(&mut report);
    }
    println!("{}", report.table());
    if bars.is_empty() {
        return;
    }
    let chart = report::chart(
        "Line utilisation by the wall clock: the tunnel, and below it the minimal program",
        &bars,
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bench.svg");
    std::fs::write(&file, chart).expect("docs/ can be written");
}

fn in_simulated_time(report: &mut Report) {
    for (modem, least, heading) in [
        (figures::Modem::Instant, 0.99, "Line utilisation in simulated time, of what the dialogue allows"),
        (figures::Modem::AsInTheField, 0.98, "The same with prompt 8 ms, send 16 ms, receive 20 ms"),
    ] {
        report.heading(heading);
        for security in [Security::Tls, Security::Plain] {
            let kind = if security == Security::Plain { ", plain TCP" } else { "" };
            for baud in [115_200, 921_600] {
                for (mode, way) in MODES.into_iter().flat_map(|mode| WAYS.map(|way| (mode, way))) {
                    let share = figures::utilisation(mode, security, way, baud, modem);
                    let name = format!("{mode:?} {way}, {baud} baud{kind}");
                    report.figure(&name, share, 4, "", Limit::AtLeast(least));
                }
            }
        }
    }
    report.heading(
        "Added to a datagram of 64 bytes and its echo in simulated time, 115200 baud, the most of 100",
    );
    for (mode, security) in SESSIONS {
        let kind = if security == Security::Plain { "UDP" } else { "DTLS" };
        let added = figures::added_to_a_datagram(mode, security).as_secs_f64() * 1e3;
        report.figure(&format!("{mode:?}, {kind}"), added, 3, "ms", Limit::AtMost(1.0));
    }
    report.heading("Both ways at once in simulated time, 115200 baud, of 11,520 byte/s each way");
    for mode in [Mode::Push, Mode::Buffer] {
        for ports in [1, 2] {
            let (up, down) = figures::both_ways(mode, 115_200, ports);
            let name = |way| format!("{mode:?} {way}, ports: {ports}");
            report.figure(&name("up"), up / 11_520.0, 3, "", Limit::None);
            report.figure(&name("down"), down / 11_520.0, 3, "", Limit::None);
        }
    }
    report.heading("Fairness in simulated time, 115200 baud");
    for (mode, way) in [(Mode::Push, Way::Up), (Mode::Buffer, Way::Up), (Mode::Buffer, Way::Down)] {
        let index = figures::jains_index(mode, way);
        report.figure(
            &format!("Jain's index of 12 transfers, {mode:?} {way}"),
            index,
            4,
            "",
            Limit::AtLeast(0.99),
        );
        let sparse = figures::sparse_among_bulk(mode, way);
        let name = format!("wait of a sparse client at p99 in chunk times, {mode:?} {way}");
        report.figure(&name, sparse.wait_in_chunks, 2, "", Limit::AtMost(2.0));
    }
    report.heading("The same with TLS, plain TCP, DTLS and UDP at once");
    for (mode, way) in [(Mode::Push, Way::Up), (Mode::Buffer, Way::Up), (Mode::Buffer, Way::Down)] {
        let index = figures::jains_index_of_kinds(mode, way);
        let name = format!("Jain's index of 12 transfers, three of each kind, {mode:?} {way}");
        report.figure(&name, index, 4, "", Limit::AtLeast(0.99));
        let sparse = figures::sparse_among_kinds(mode, way);
        let name = format!("wait of a sparse client at p99 in chunk times, {mode:?} {way}");
        report.figure(&name, sparse.wait_in_chunks, 2, "", Limit::AtMost(2.0));
    }
    report.heading("Two modems in simulated time, 115200 baud");
    for (failing, what, most) in [
        (Failing::Silent, "after the other has become silent", 5_000.0),
        (Failing::Gone, "after the other's port has vanished", 1_000.0),
    ] {
        let served = figures::served_by_the_other(failing, Before::Busy(Way::Up), Duration::from_millis(50));
        let name = format!("the next client is served by one {what}");
        report.figure(&name, served.as_secs_f64() * 1e3, 0, "ms", Limit::AtMost(most));
    }
    let [alone, beside] = figures::round_trips_beside_a_failing_modem().map(|time| time.as_secs_f64());
    let name = "round trips by one while the other fails, p99, of those while it is well";
    report.figure(name, beside / alone, 4, "", Limit::AtMost(1.05));
    let name = "carried by two, of what one carries";
    report.figure(name, figures::carried_by_two(), 4, "", Limit::AtLeast(1.98));
    report.heading("Start-up, EG800Q");
    let start = figures::wiring(115_200, figures::Modem::Instant).connect(Connection::new(Mode::Push));
    let start = figures::start_up(start);
    report.figure(
        "round trips until sockets can be opened",
        start.round_trips as f64,
        0,
        "",
        Limit::AtMost(15.0),
    );
    report.figure(
        "the same, time on the wire at 115200 baud",
        start.time.as_secs_f64() * 1e3,
        0,
        "ms",
        Limit::None,
    );
}

/// The core's own time per byte and per connection. It must not grow with the number of clients (1 or 12), nor
/// with the bytes and connections that went before.
fn growth(report: &mut Report) {
    let megabyte = 1_000_000;
    let long = std::env::var_os("QSSL_TUNNEL_LONG_TESTS").is_some();
    let bytes = if long { 10_000 * megabyte } else { 1_000 * megabyte };
    let connections = 10_000;
    report.heading("Growth: time of the core alone in memory, push, up");
    let [mut first, mut one, mut twelve] = [1, 1, 12].map(|clients| {
        let mut rig = Rig::new(Mode::Push, FarEnd::Sink, clients);
        rig.send(megabyte);
        rig
    });
    one.send(bytes);
    let cost = |rig: &mut Rig| {
        let before = rig.spent;
        rig.send(GROWTH_BYTES);
        (rig.spent - before).as_nanos() as f64 / GROWTH_BYTES as f64
    };
    let rounds: Vec<[f64; 3]> =
        (0..GROWTH_ROUNDS).map(|_| [cost(&mut first), cost(&mut one), cost(&mut twelve)]).collect();
    grown(report, "per byte", &rounds, &format!("after {} MB", bytes / megabyte));
    for _ in 0..connections {
        one.exchange_a_client();
    }
    let cost = |rig: &mut Rig| {
        let before = rig.spent;
        (0..GROWTH_CONNECTIONS).for_each(|_| rig.exchange_a_client());
        (rig.spent - before).as_nanos() as f64 / GROWTH_CONNECTIONS as f64
    };
    let rounds: Vec<[f64; 3]> =
        (0..GROWTH_ROUNDS).map(|_| [cost(&mut first), cost(&mut one), cost(&mut twelve)]).collect();
    grown(report, "per connection", &rounds, &format!("after {connections} connections"));
}

/// Reports a cost: of one client at first, of one client later, and of one of twelve clients.
fn grown(report: &mut Report, what: &str, rounds: &[[f64; 3]], later: &str) {
    let first = median(rounds.iter().map(|round| round[0]));
    report.figure(&format!("{what}, 1 client, at first"), first, 1, "ns", Limit::None);
    for (place, name) in [(1, later), (2, "12 clients")] {
        let ratio = median(rounds.iter().map(|round| round[place] / round[0]));
        report.figure(&format!("the same, {name}"), ratio, 2, "times", Limit::AtMost(FLAT));
    }
}

/// What frames cost: the core's own time per byte on a channel of a line with several, less that on a plain port.
fn multiplexed(report: &mut Report) {
    report.heading("A byte on a channel (CMUX) and on a plain port: time of the core alone in memory");
    for (mode, way) in MODES.into_iter().flat_map(|mode| WAYS.map(|way| (mode, way))) {
        let far_end = if way == Way::Up { FarEnd::Sink } else { FarEnd::Source };
        let [mut plain, mut channel] = [Cmux::Off, Cmux::On].map(|cmux| {
            let mut rig = Rig::on_uart(cmux, mode, far_end);
            carry(&mut rig, way, FRAMED_BYTES / 8);
            rig
        });
        let rounds: Vec<[f64; 2]> = (0..FRAMED_ROUNDS)
            .map(|_| [&mut plain, &mut channel].map(|rig| carry(rig, way, FRAMED_BYTES)))
            .collect();
        let more = || rounds.iter().map(|[plain, channel]| channel - plain);
        let name = format!("{mode:?} {way}");
        let on_plain = median(rounds.iter().map(|[plain, _]| *plain));
        report.figure(
            &format!("{name}, a plain port, median of {FRAMED_ROUNDS}"),
            on_plain,
            2,
            "ns",
            Limit::None,
        );
        report.figure(
            &format!("{name}, more on a channel, median"),
            median(more()),
            2,
            "ns",
            Limit::AtMost(1.5),
        );
        report.figure(&format!("{name}, the least"), more().fold(f64::MAX, f64::min), 2, "ns", Limit::None);
        report.figure(&format!("{name}, the most"), more().fold(f64::MIN, f64::max), 2, "ns", Limit::None);
    }
}

/// Moves this many bytes; returns the core's time for each, in nanoseconds.
fn carry(rig: &mut Rig, way: Way, bytes: u64) -> f64 {
    let before = rig.spent;
    match way {
        Way::Up => rig.send(bytes),
        Way::Down => rig.receive(bytes),
    }
    (rig.spent - before).as_nanos() as f64 / bytes as f64
}

/// The use of a line that is as slow as a UART.
fn paced(report: &mut Report) -> Vec<Bar> {
    let mut bars = Vec::new();
    for (baud, least, chunks) in [(115_200, 0.98, 24), (921_600, 0.95, 96)] {
        report
            .heading(&format!("Line utilisation by the wall clock, {baud} baud, medians of {PACED_ROUNDS}"));
        for mode in MODES {
            for way in WAYS {
                let skip = CHUNK * chunks / 6;
                let rounds = take_turns(&USUAL, mode, baud, way, PACED_ROUNDS, skip, CHUNK * chunks);
                let instant = figures::Modem::Instant;
                let least_time = figures::least_time_per_chunk(mode, Security::Tls, way, baud, instant);
                let most = CHUNK as f64 / least_time.as_secs_f64();
                let share = |who: usize| median(rounds[who].iter().map(|round| round.rate / most));
                let name = format!("{mode:?} {way}, {baud}");
                report.figure(&name, share(0), 3, "", Limit::AtLeast(least));
                let ratio = ratio(&rounds[0], &rounds[1], |round| round.rate);
                report.figure(&format!("{name}, of the minimal program"), ratio, 3, "", Limit::AtLeast(0.98));
                bars.push(Bar { name, tunnel: share(0), rote: share(1) });
            }
        }
    }
    bars
}

/// Throughput on a line without a speed limit.
fn unpaced(report: &mut Report) {
    report.heading("Without a limit of speed, over a pseudoterminal: ratios, medians of 25");
    for way in WAYS {
        let all = [USUAL[0], USUAL[1], Who::Socat];
        let rounds = take_turns(&all, Mode::Transparent, 0, way, 25, 1 << 20, 16 << 20);
        let speed = median(rounds[0].iter().map(|round| round.rate)) / 1e6;
        report.figure(&format!("Transparent {way}"), speed, 1, "MB/s", Limit::None);
        if rounds[2].is_empty() {
            eprintln!("  socat is not installed: nothing to compare with");
            continue;
        }
        let name = format!("Transparent {way}, of socat");
        report.figure(&name, ratio(&rounds[0], &rounds[2], |round| round.rate), 2, "", Limit::AtLeast(0.95));
        let name = format!("Transparent {way}, processor time per byte, of socat's");
        report.figure(&name, ratio(&rounds[0], &rounds[2], |round| round.cost), 2, "", Limit::AtMost(1.1));
    }
    for mode in [Mode::Push, Mode::Buffer] {
        for way in WAYS {
            let rounds = take_turns(&USUAL, mode, 0, way, 25, 1 << 18, 4 << 20);
            let name = format!("{mode:?} {way}, of the minimal program");
            report.figure(
                &name,
                ratio(&rounds[0], &rounds[1], |round| round.rate),
                2,
                "",
                Limit::AtLeast(0.9),
            );
            let name = format!("{mode:?} {way}, processor time per byte, of the minimal program's");
            report.figure(&name, ratio(&rounds[0], &rounds[1], |round| round.cost), 2, "", Limit::None);
        }
    }
}

/// Plain TCP without a speed limit, beside the tunnel with TLS and the minimal program with plain TCP.
fn plain(report: &mut Report) {
    report.heading("Plain TCP without a limit of speed: ratios, medians of 25");
    let all = [Who::Tunnel(Carried::Tcp), Who::Tunnel(Carried::Tls), Who::Rote(Carried::Tcp)];
    for mode in MODES {
        // A stream is faster.
        let (skip, total) = if mode == Mode::Transparent { (1 << 20, 16 << 20) } else { (1 << 18, 4 << 20) };
        for way in WAYS {
            let rounds = take_turns(&all, mode, 0, way, 25, skip, total);
            for (other, name) in [(1, "the TLS tunnel's"), (2, "the minimal program's")] {
                let of = |what: fn(&Round) -> f64| ratio(&rounds[0], &rounds[other], what);
                let limit =
                    if other == 2 && mode != Mode::Transparent { Limit::AtLeast(0.9) } else { Limit::None };
                report.figure(&format!("{mode:?} {way}, of {name} rate"), of(|it| it.rate), 2, "", limit);
                let name = format!("{mode:?} {way}, processor time per byte, of {name}");
                report.figure(&name, of(|it| it.cost), 2, "", Limit::None);
            }
        }
    }
}

/// A datagram of 64 bytes and its echo, through the tunnel and by the dialogue alone.
fn datagrams(report: &mut Report) {
    report.heading("A datagram of 64 bytes and its echo without a limit of speed: medians of 15");
    for (mode, security) in SESSIONS {
        let carried = if security == Security::Plain { Carried::Udp } else { Carried::Dtls };
        let mut link = DatagramLink::new(carried, mode);
        let mut bare = Bare::new(carried, mode);
        let mut rounds = Vec::new();
        for _ in 0..15 {
            let before = link.program.taken();
            let mut through: Vec<Duration> = (0..PINGS).map(|_| link.ping()).collect();
            let after = link.program.taken();
            let mut alone: Vec<Duration> = (0..PINGS).map(|_| bare.ping()).collect();
            let mut at =
                |share| [&mut through, &mut alone].map(|times| percentile(times, share).as_secs_f64() * 1e6);
            let each = |sum: f64| sum / PINGS as f64;
            let cost = each((after.processor - before.processor).as_nanos() as f64 / 1e3);
            rounds.push((at(0.5), at(0.99), cost, each((after.switches - before.switches) as f64)));
        }
        let kind = format!("{mode:?}, {}", if security == Security::Plain { "UDP" } else { "DTLS" });
        let mut figure = |name: &str, value: &dyn Fn(&Exchanges) -> f64, digits, unit, limit| {
            report.figure(&format!("{kind}, {name}"), median(rounds.iter().map(value)), digits, unit, limit);
        };
        figure("added, p50", &|it| it.0[0] - it.0[1], 0, "µs", Limit::AtMost(1_000.0));
        figure("added, p99", &|it| it.1[0] - it.1[1], 0, "µs", Limit::None);
        figure("p50 through the tunnel, of the dialogue's", &|it| it.0[0] / it.0[1], 2, "", Limit::None);
        figure("p50 itself", &|it| it.0[0], 0, "µs", Limit::None);
        figure("processor time of the tunnel", &|it| it.2, 1, "µs", Limit::None);
        figure("wake-ups", &|it| it.3, 1, "", Limit::None);
    }
}

/// A round: p50 and p99 in microseconds, each through the tunnel and by the dialogue alone; of each exchange, the tunnel's
/// processor time in microseconds and its wake-ups.
type Exchanges = ([f64; 2], [f64; 2], f64, f64);

/// Round trips of 64 bytes.
fn latency(report: &mut Report) {
    report.heading(
        "Ping-pong of 64 bytes without a limit of speed: ratios to the minimal program, medians of 15",
    );
    for mode in MODES {
        let mut links = USUAL
            .map(|who| Link::new(who, mode, 0, FarEnd::Echo).expect("neither of them has to be installed"));
        let mut rounds = [Vec::new(), Vec::new()];
        for _ in 0..15 {
            for (link, rounds) in links.iter_mut().zip(&mut rounds) {
                let before = link.program.taken().switches;
                let mut times = link.ping(PINGS);
                let switches = (link.program.taken().switches - before) as f64 / PINGS as f64;
                let at = |times: &mut Vec<Duration>, share| percentile(times, share).as_secs_f64();
                rounds.push([at(&mut times, 0.5), at(&mut times, 0.99), switches]);
            }
        }
        for (place, name, most) in [(0, "p50", 1.25), (1, "p99", 2.0)] {
            let ratios = rounds[0].iter().zip(&rounds[1]).map(|(tunnel, rote)| tunnel[place] / rote[place]);
            report.figure(&format!("{mode:?}, {name}"), median(ratios), 2, "", Limit::AtMost(most));
        }
        let of = |who: usize, place: usize| median(rounds[who].iter().map(|round: &[f64; 3]| round[place]));
        report.figure(&format!("{mode:?}, p50 itself"), of(0, 0) * 1e6, 0, "µs", Limit::None);
        report.figure(&format!("{mode:?}, wake-ups each, tunnel"), of(0, 2), 1, "", Limit::None);
        report.figure(&format!("{mode:?}, wake-ups each, minimal program"), of(1, 2), 1, "", Limit::None);
    }
}

/// From a client's connect to the arrival of its first bytes at the server.
fn warm(report: &mut Report) {
    report
        .heading("From a client's connect to its first byte at the server, without a limit of speed, of 200");
    for (carried, kind) in [(Carried::Tls, "TLS"), (Carried::Tcp, "plain TCP")] {
        for mode in [Mode::Push, Mode::Buffer] {
            for (is_warm, name, limit) in
                [(true, "opened ahead", Limit::AtMost(2.0)), (false, "opened for it", Limit::None)]
            {
                let mut times = wall_clock::first_bytes(carried, mode, is_warm, FIRST_BYTES);
                for (share, part, limit) in
                    [(0.5, "p50", limit), (0.0, "least", Limit::None), (1.0, "most", Limit::None)]
                {
                    let took = percentile(&mut times, share).as_secs_f64() * 1e3;
                    report.figure(&format!("{mode:?}, {kind}, {name}, {part}"), took, 3, "ms", limit);
                }
            }
        }
    }
}

/// The time and memory that the tunnel uses.
fn footprint(report: &mut Report) {
    report.heading("Footprint");
    let modem =
        modem::Modem::start(modem::Settings { baud: 0, far_end: FarEnd::Echo, direct: modem::Direct::Never });
    let tunnel = program::Program::tunnel(modem.path(), Carried::Tls, Mode::Push, 115_200);
    report.figure("from start to listening", tunnel.took.as_secs_f64() * 1e3, 1, "ms", Limit::None);
    let before = std::time::Instant::now();
    let first = tunnel.connect();
    let opened = modem.next_open().saturating_duration_since(before);
    report.figure(
        "from a client's connect to AT+QSSLOPEN on the wire",
        opened.as_secs_f64() * 1e3,
        2,
        "ms",
        Limit::None,
    );
    std::thread::sleep(Duration::from_secs(1));
    let before = tunnel.taken().switches;
    std::thread::sleep(Duration::from_secs(10));
    let switches = tunnel.taken().switches - before;
    report.figure(
        "context switches in 10 s with one silent client",
        switches as f64,
        0,
        "",
        Limit::AtMost(0.0),
    );
    let mut clients = vec![first];
    clients.extend((1..12).map(|_| tunnel.connect()));
    for _ in 1..12 {
        modem.next_open();
    }
    wall_clock::echo_through(&clients, 4 << 20);
    report.figure(
        "resident memory with 12 busy clients",
        tunnel.resident_kib() as f64 / 1024.0,
        2,
        "MiB",
        Limit::AtMost(5.0),
    );
    let size = std::fs::metadata(env!("CARGO_BIN_EXE_qssl-tunnel")).expect("it was just built").len();
    report.figure(
        "binary without the emulator, stripped",
        size as f64 / (1 << 20) as f64,
        2,
        "MiB",
        Limit::AtMost(2.25),
    );
}

/// The rounds of each of these programs, which take turns; none for a program that is not installed.
fn take_turns(
    all: &[Who],
    mode: Mode,
    baud: u32,
    way: Way,
    count: usize,
    skip: u64,
    total: u64,
) -> Vec<Vec<Round>> {
    let far_end = if way == Way::Up { FarEnd::Sink } else { FarEnd::Source };
    let mut links: Vec<Option<Link>> = all.iter().map(|who| Link::new(*who, mode, baud, far_end)).collect();
    let mut rounds = vec![Vec::new(); all.len()];
    for _ in 0..count {
        for (link, rounds) in links.iter_mut().zip(&mut rounds) {
            rounds.extend(link.as_mut().map(|link| link.transfer(way, skip, total)));
        }
    }
    rounds
}

/// The median of the ratios of paired rounds.
fn ratio(ours: &[Round], theirs: &[Round], what: impl Fn(&Round) -> f64) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| what(ours) / what(theirs)))
}

/// Clients whose first bytes are measured.
const FIRST_BYTES: usize = 200;
/// The payload of one message, in bytes.
const CHUNK: u64 = 1_460;
const PACED_ROUNDS: usize = 3;
/// Up to this ratio, nothing has grown: the core looks through all its sockets, used or not, after every event.
const FLAT: f64 = 1.25;
const GROWTH_ROUNDS: usize = 15;
const GROWTH_BYTES: u64 = 8_000_000;
const GROWTH_CONNECTIONS: usize = 500;
const FRAMED_ROUNDS: usize = 15;
const FRAMED_BYTES: u64 = 8_000_000;
const PINGS: usize = 1_000;
