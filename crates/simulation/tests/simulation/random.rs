//! Goal of this test: in any combination of clients, modules and faults, no byte is lost or invented and every client
//! ends. Once the faults are over, new clients are served.
//!
//! `SIMULATION_SEED=N cargo test -p qssl-simulation --test simulation random` repeats one run exactly and prints its
//! trace. `SIMULATION_RUNS=N` makes more runs than usual, `SIMULATION_FIRST=N` begins with another seed; with
//! `--nocapture` the sums over all runs are printed. In runs of seeds above 2^32 the core does not know which of the
//! modem's ports it has. In runs of seeds above 2^33 other programs use the same modem and change its settings, and
//! modules differ more. In runs of seeds above 3 * 2^33 one UART carries several channels (CMUX). In runs of seeds above
//! 4 * 2^33 some connections have no TLS, in part of them with several channels or other programs; in those above
//! 5 * 2^33 some are also opened ahead of their clients, and in those above 6 * 2^33 some tunnels carry datagrams as well.
//! Seeds above 7 * 2^33 are as those above 2^33, with a module of the family EC20. Runs of seeds above 8 * 2^33 are short and
//! have several channels again, with payload that looks like words of the module and like frames. In runs of seeds above
//! 16 * 2^33 all kinds of connections are drawn together, over channels or ports, with other programs on the modem.

mod datagrams;
mod every_kind;
mod hostile;
mod multiplexed;

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::time::Duration;

use qssl_core::at::IdSet;
use qssl_core::settings::{Authentication, Cmux, Mode, Pem, Radio, Recovery, Tls};
use qssl_modem_emulator as emulator;
use qssl_modem_emulator::PortName;
use qssl_modem_emulator::network::OpenFailure;
use qssl_modem_emulator::network::simulated::{Behaviour, Ending, Ends, Opening, Reads as FarReads, Says};

use qssl_simulation::material::{NASTY, NOISE, UNFAIR, URCS, other_programs};
use qssl_simulation::wiring::{
    Connection, DeviceServer, Fault, Leaves, Port, Reads, Security, Sends, Wiring, millis, seconds,
};
use qssl_simulation::{Chance, Outcome, Simulation, trace};

#[test]
fn runs_of_many_seeds() {
    if let Some(seed) = number("SIMULATION_SEED") {
        let wiring = draw(seed);
        eprintln!("{wiring:#?}");
        run(&wiring, true);
        trace::print();
        return;
    }
    let runs = number("SIMULATION_RUNS").unwrap_or(RUNS);
    let first = number("SIMULATION_FIRST").unwrap_or(1);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let seeds: Vec<u64> = match number("SIMULATION_RUNS") {
        None => {
            let unnamed = UNNAMED_ABOVE + first..UNNAMED_ABOVE + first + UNNAMED_RUNS;
            let shared = SHARED_ABOVE + first..SHARED_ABOVE + first + SHARED_RUNS;
            let multiplexed = MULTIPLEXED_ABOVE + first..MULTIPLEXED_ABOVE + first + MULTIPLEXED_RUNS;
            let plain = PLAIN_ABOVE + first..PLAIN_ABOVE + first + PLAIN_RUNS;
            let warm = WARM_ABOVE + first..WARM_ABOVE + first + WARM_RUNS;
            let datagrams = DATAGRAMS_ABOVE + first..DATAGRAMS_ABOVE + first + DATAGRAM_RUNS;
            (first..first + runs)
                .chain(datagrams)
                .chain(unnamed)
                .chain(shared)
                .chain(multiplexed)
                .chain(plain)
                .chain(warm)
                .chain(EC20_ABOVE + first..EC20_ABOVE + first + EC20_RUNS)
                .chain(HOSTILE_ABOVE + first..HOSTILE_ABOVE + first + HOSTILE_RUNS)
                .chain(EVERY_KIND_ABOVE + first..EVERY_KIND_ABOVE + first + EVERY_KIND_RUNS)
                .collect()
        }
        Some(_) => (first..first + runs).collect(),
    };
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (tally, seeds) = (&tally, &seeds);
            scope.spawn(move || {
                for seed in seeds.iter().filter(|seed| *seed % threads == thread) {
                    try_seed(*seed, tally);
                }
            });
        }
    });
    let tally = tally.into_inner().expect("no thread has panicked outside of a run");
    println!("{tally:#?}");
    assert_eq!(tally.failed, 0, "of {} runs so many failed", seeds.len());
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// The sums over all runs.
#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    failed: u64,
    connections: usize,
    resets: usize,
    bytes_up: u64,
    bytes_down: u64,
    datagrams_up: u64,
    datagrams_down: u64,
    datagrams_dropped: u64,
    commands: u64,
    payloads: u64,
    commands_given_up: u64,
    simulated_hours: f64,
    /// How many faults of each kind.
    faults: BTreeMap<String, usize>,
}

impl Tally {
    fn add(&mut self, wiring: &Wiring, sim: &Simulation) {
        let count = wiring.connections.len();
        self.connections += count;
        self.resets += (0..count).filter(|index| sim.outcome(*index) == Some(Outcome::Reset)).count();
        self.bytes_up += sim.clients.iter().map(|client| client.sent).sum::<u64>();
        self.bytes_down += sim.clients.iter().map(|client| client.received.len() as u64).sum::<u64>();
        for report in sim.relay.tunnel_reports() {
            let datagrams = report.counters.datagrams.unwrap_or_default();
            self.datagrams_up += datagrams.up;
            self.datagrams_down += datagrams.down;
            self.datagrams_dropped += datagrams.dropped.total();
        }
        let seen = sim.seen();
        self.commands += seen.commands;
        self.payloads += seen.payloads;
        self.commands_given_up += seen.given_up;
        self.simulated_hours += sim.elapsed().as_secs_f64() / 3_600.0;
        for (_, fault) in &wiring.faults {
            let name = format!("{fault:?}");
            let kind = name.split(['(', ' ']).next().unwrap_or_default();
            *self.faults.entry(kind.to_owned()).or_default() += 1;
        }
    }
}

/// Runs a seed; if it fails, runs it once more with a trace.
fn try_seed(seed: u64, tally: &Mutex<Tally>) {
    let wiring = draw(seed);
    let result = catch_unwind(|| run(&wiring, false));
    let mut tally = tally.lock().expect("runs do not panic while they hold it");
    tally.runs += 1;
    match result {
        Ok(sim) => tally.add(&wiring, &sim),
        Err(_) => {
            tally.failed += 1;
            eprintln!("SIMULATION_SEED={seed} repeats this failure");
            if tally.failed == 1 {
                eprintln!("{wiring:#?}");
                let _ = catch_unwind(|| run(&wiring, true));
            }
        }
    }
    if tally.runs.is_multiple_of(REPORT_EVERY) {
        eprintln!("{} runs, {} failed", tally.runs, tally.failed);
    }
}

fn run(wiring: &Wiring, traced: bool) -> Simulation {
    let mut sim = if traced { wiring.start() } else { wiring.start_quietly() };
    sim.run_to_the_end(seconds(1_500));
    let last = wiring.connections.len() - 1;
    assert_eq!(sim.outcome(last), Some(Outcome::Eof), "after everything went wrong, a new client is served");
    let served = sim.clients[last].ended_at.zip(sim.clients[last].accepted_at());
    let took = served.map(|(end, begin)| end - begin);
    assert!(took.is_some_and(|took| took < seconds(120) + late_work(wiring)), "and in time: {took:?}");
    datagrams::assert_late_ones_served(wiring, &sim);
    for index in 0..wiring.connections.len() {
        sim.assert_nothing_mixed(index);
    }
    if wiring.seed > EVERY_KIND_ABOVE {
        every_kind::assert_heard_one(wiring, &sim);
    } else if wiring.seed > HOSTILE_ABOVE {
        hostile::assert_payload_ends_nothing(wiring, &sim);
    }
    if wiring.faults.is_empty() && !is_found_late(wiring) {
        for (index, connection) in wiring.connections.iter().enumerate() {
            if !is_of_several(connection)
                && is_simple(connection)
                && everybody_reads(wiring)
                && work(wiring) < LIFETIME / 2
            {
                assert_eq!(sim.outcome(index), Some(Outcome::Eof), "connection {index} meets no trouble");
                sim.assert_complete(index);
            }
        }
        // With copies of everything that is pushed, answers wait for longer than any deadline on a slow line.
        if !has_streams(wiring) && !wiring.modem.quirks.mux_urcs_everywhere {
            sim.assert_nothing_swallowed();
        }
        if wiring.settings.cmux == Cmux::On {
            assert!(sim.modem.mux(0).is_some(), "several channels are in use");
        }
    }
    sim
}

/// How long the line is busy with the late clients' bytes, when the module pushes them in its smallest pieces.
fn late_work(wiring: &Wiring) -> Duration {
    line_time(wiring, LATE_CLIENTS.len() as u64 * late_bytes(wiring))
}

/// What each of them gets. Where a module pushes single bytes on a slow line it is less: while the line is full of one
/// client's bytes, reading the TLS settings for the next one takes longer than it waits.
fn late_bytes(wiring: &Wiring) -> u64 {
    if line_time(wiring, LATE_BYTES) > seconds(20) { LATE_BYTES / 10 } else { LATE_BYTES }
}

/// Likewise with everything that all clients and servers send.
fn work(wiring: &Wiring) -> Duration {
    let said = |connection: &Connection| {
        let up = sent(connection);
        let down = match &connection.far_end.says {
            Says::Nothing => 0,
            Says::Echo => up,
            Says::Text(text) => text.len() as u64,
            Says::Steps(steps) => steps.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
            Says::Pattern { bytes, .. } | Says::Drip { total: bytes, .. } => *bytes,
            Says::Reply { response_bytes, .. } => *response_bytes,
        };
        up + down
    };
    line_time(wiring, wiring.connections.iter().map(said).sum())
}

/// How many bytes its client sends.
fn sent(connection: &Connection) -> u64 {
    match &connection.client.sends {
        Sends::Nothing => 0,
        Sends::Pattern(bytes) | Sends::Drip { total: bytes, .. } => *bytes,
        Sends::Steps(steps) => steps.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
    }
}

fn line_time(wiring: &Wiring, bytes: u64) -> Duration {
    let head = "\r\n+QSSLURC: \"recv\",11,1460\r\n\r\n".len() as u64;
    let pieces = bytes.div_ceil(wiring.modem.push_limit_bytes as u64);
    let bits = (bytes + pieces * head) * 10;
    Duration::from_micros(bits * 1_000_000 / u64::from(wiring.settings.baud))
}

/// Whether a module that is left in the mode of several channels has another speed: it is looked for at every speed, for longer
/// than a client waits.
fn is_found_late(wiring: &Wiring) -> bool {
    !wiring.typed_before.is_empty() && wiring.modem.baud != wiring.settings.baud
}

/// Whether nothing in this connection keeps it from ending in order.
fn is_simple(connection: &Connection) -> bool {
    let stays = matches!(connection.client.leaves, Leaves::AtTheEnd);
    let ends = match (&connection.far_end.says, connection.far_end.ends) {
        (Says::Pattern { .. } | Says::Text(_) | Says::Steps(_), Ends::AfterSaying(_)) => {
            matches!(connection.client.sends, Sends::Nothing)
        }
        _ => false,
    };
    let opens = matches!(connection.opening, Opening::Opens(time) if time < seconds(10));
    stays && ends && opens && connection.far_end.how == Ending::Closed
}

/// Whether no client holds up another: a client that waits longer than the queue timeout is reset.
fn everybody_reads(wiring: &Wiring) -> bool {
    let reads = |connection: &Connection| connection.client.reads == Reads::All;
    wiring.connections.len() <= 12
        && wiring
            .connections
            .iter()
            .all(|connection| connection.mode != Mode::Transparent && reads(connection))
}

/// The wiring of a seed.
fn draw(seed: u64) -> Wiring {
    if seed > EVERY_KIND_ABOVE {
        every_kind::draw(seed)
    } else if seed > HOSTILE_ABOVE {
        hostile::draw(seed)
    } else if seed > EC20_ABOVE {
        let mut wiring = draw_single(seed);
        make_ec20(&mut wiring);
        wiring
    } else if seed > WARM_ABOVE {
        let mut wiring = draw_single(seed);
        draw_uncommon_module(&mut wiring, &mut Chance::new(seed.rotate_left(47)));
        draw_plain(&mut wiring, &mut Chance::new(seed.rotate_left(13)));
        draw_warm(&mut wiring, &mut Chance::new(seed.rotate_left(19)));
        if seed > DATAGRAMS_ABOVE {
            datagrams::draw(&mut wiring, &mut Chance::new(seed.rotate_left(7)));
        }
        wiring
    } else if seed > PLAIN_ABOVE {
        draw_plain_with_others(seed)
    } else if seed > MULTIPLEXED_ABOVE {
        multiplexed::draw(seed)
    } else {
        draw_single(seed)
    }
}

/// With one channel a port.
fn draw_single(seed: u64) -> Wiring {
    let chance = &mut Chance::new(seed);
    let mut wiring = Wiring { seed, ..Wiring::new() };
    draw_ports(&mut wiring, chance);
    draw_modem(&mut wiring, chance);
    let modes: &[Mode] = match chance.below(6) {
        0 => &[Mode::Push],
        1 => &[Mode::Buffer],
        2 => &[Mode::Transparent],
        3 => &[Mode::Push, Mode::Buffer],
        _ => &[Mode::Push, Mode::Buffer, Mode::Transparent],
    };
    for _ in 0..chance.within(1..=14) {
        wiring.connections.push(draw_connection(*chance.pick(modes), chance));
    }
    let last_fault = seconds(60);
    if !chance.once_in(4) {
        for _ in 0..chance.within(1..=6) {
            let at = Duration::from_micros(chance.below(last_fault.as_micros() as u64));
            let fault = draw_fault(&wiring, chance);
            wiring.faults.push((at, fault));
        }
        wiring.faults.push((seconds(120), Fault::Calm));
        // After a missed escape, an `OK` from the server cannot be distinguished from the escape's answer. A modem that
        // stalls may miss one, too.
        if wiring.faults.iter().any(|(_, fault)| matches!(fault, Fault::MissEscapes(_) | Fault::Stall(_))) {
            let is_ok = |fault: &Fault| matches!(fault, Fault::Say(_, words) if words == b"\r\nOK\r\n");
            wiring.faults.retain(|(_, fault)| !is_ok(fault));
        }
    }
    draw_late_clients(&mut wiring, modes, chance);
    let is_shared = SHARED_ABOVE + 1..=MULTIPLEXED_ABOVE;
    if is_shared.contains(&seed) || (EC20_ABOVE + 1..=HOSTILE_ABOVE).contains(&seed) {
        draw_shared_modem(&mut wiring, &mut Chance::new(seed.rotate_left(17)));
    }
    wiring
}

/// The module is an EC20. Its USB AT port has no transparent mode (docs/PROTOCOL.md, 3), so that port is another one.
fn make_ec20(wiring: &mut Wiring) {
    wiring.modem.family = emulator::Family::Ec20;
    let is_free = |name| !wiring.ports.iter().any(|port| port.name == name);
    let other = if is_free(PortName::Uart1) { PortName::Uart1 } else { PortName::Uart2 };
    let names = wiring.ports.iter_mut().map(|port| &mut port.name).chain(&mut wiring.modem.ports);
    for name in names.filter(|name| **name == PortName::UsbAt) {
        *name = other;
    }
}

/// Connections without TLS, in some runs over several channels on one UART, and in some with the words of other
/// programs, which have connections of their own.
fn draw_plain_with_others(seed: u64) -> Wiring {
    let chance = &mut Chance::new(seed.rotate_left(13));
    let mut wiring = if chance.once_in(3) { multiplexed::draw(seed) } else { draw_single(seed) };
    draw_plain(&mut wiring, chance);
    if chance.once_in(3) {
        return wiring;
    }
    draw_other_programs(&mut wiring, chance);
    draw_closed_of_both(&mut wiring, chance);
    wiring.settings.sockets = IdSet::first(OWN_SOCKETS);
    wiring
}

/// `closed` for sockets with and without TLS, as other programs' texts may contain it.
fn draw_closed_of_both(wiring: &mut Wiring, chance: &mut Chance) {
    // In a stream it would be payload that no server sent.
    if has_streams(wiring) {
        return;
    }
    for _ in 0..chance.below(6) {
        let head = *chance.pick(&["+QSSLURC", "+QIURC"]);
        let urc = format!("{head}: \"closed\",{}", chance.below(12));
        wiring.faults.push((millis(chance.below(60_000)), Fault::Urc(urc)));
    }
}

/// Takes the TLS from some connections, or from all.
fn draw_plain(wiring: &mut Wiring, chance: &mut Chance) {
    let all = chance.once_in(4);
    for connection in &mut wiring.connections {
        if all || chance.once_in(2) {
            connection.security = Security::Plain;
        }
    }
}

/// Opens connections ahead in some tunnels, each of which has several clients then. They can be told apart by what they
/// send.
fn draw_warm(wiring: &mut Wiring, chance: &mut Chance) {
    let first_late = wiring.connections.len() - LATE_CLIENTS.len();
    let mut more = Vec::new();
    for (index, connection) in wiring.connections[..first_late].iter_mut().enumerate() {
        if connection.mode == Mode::Transparent || chance.once_in(3) {
            continue;
        }
        let warm = &mut connection.limits.warm;
        warm.count = chance.within(1..=3) as usize;
        warm.max_age = seconds(chance.within(5..=60));
        warm.server_first = chance.once_in(2);
        connection.client.sends = Sends::Pattern(chance.within(20..=3_000));
        // A long answer to each byte would be megabytes, which a module may push one byte at a time.
        if let Says::Reply { request_bytes, .. } = &mut connection.far_end.says {
            *request_bytes = (*request_bytes).max(1_000);
        }
        for _ in 0..chance.within(1..=6) {
            let mut client = connection.client.clone();
            client.at = millis(chance.below(100_000));
            client.sends = Sends::Pattern(chance.within(20..=3_000));
            let own = Connection { client, through: Some(index), ..connection.clone() };
            more.push(own.warm(0));
        }
    }
    if chance.once_in(3) {
        wiring.settings.sockets = IdSet::first(chance.within(2..=4) as usize);
    }
    wiring.connections.splice(first_late..first_late, more);
}

/// Whether which of several servers is a client's is not fixed.
fn is_of_several(connection: &Connection) -> bool {
    connection.through.is_some() || connection.limits.warm.count > 0
}

/// Clients that come after all faults. That no traffic gets through a data session is noticed when opens fail.
fn draw_late_clients(wiring: &mut Wiring, modes: &[Mode], chance: &mut Chance) {
    for at in LATE_CLIENTS {
        let far_end = Behaviour::source(late_bytes(wiring), wiring.seed);
        let late = Connection::new(*chance.pick(modes)).at(seconds(at)).far_end(far_end);
        let patience = seconds(50) + late_work(wiring);
        wiring.connections.push(late.limits(|limits| limits.queue_timeout = patience));
    }
}

/// Adds other programs on the modem, changed settings and uncommon modules. They are drawn separately, so that other
/// seeds keep their meaning.
fn draw_shared_modem(wiring: &mut Wiring, chance: &mut Chance) {
    draw_lost_answers(wiring, chance);
    draw_other_programs(wiring, chance);
    draw_port_names(wiring, chance);
    draw_stray_closed(wiring, chance);
    draw_closes(wiring, &mut Chance::new(wiring.seed.rotate_left(41)));
    draw_echo(wiring, chance);
    draw_recv_forms(wiring, chance);
    draw_trust(wiring, &mut Chance::new(wiring.seed.rotate_left(29)));
    draw_late_room(wiring, &mut Chance::new(wiring.seed.rotate_left(17)));
    draw_stubborn_urcs(wiring, &mut Chance::new(wiring.seed.rotate_left(53)));
    draw_device_servers(wiring, &mut Chance::new(wiring.seed.rotate_left(11)));
    draw_silent_boots(wiring, &mut Chance::new(wiring.seed.rotate_left(23)));
    draw_refused_questions(wiring, &mut Chance::new(wiring.seed.rotate_left(37)));
    draw_radio(wiring, &mut Chance::new(wiring.seed.rotate_left(43)));
}

/// Questions about the cell, some of which the module may refuse.
fn draw_radio(wiring: &mut Wiring, chance: &mut Chance) {
    wiring.settings.radio = *chance.pick(&[Radio::Off, Radio::On, Radio::Identity]);
    if chance.once_in(2) {
        wiring.modem.cell.temperature = None;
    }
}

/// Another family, TLS settings that others change, and some of what else is drawn for a modem that is shared.
fn draw_uncommon_module(wiring: &mut Wiring, chance: &mut Chance) {
    if chance.once_in(3) {
        make_ec20(wiring);
    }
    if chance.once_in(2) {
        draw_trust(wiring, chance);
        // Who has no TLS does not notice that a file is gone, so the last client would be the first that does.
        wiring.faults.retain(|(_, fault)| !matches!(fault, Fault::DeleteFiles | Fault::ForgeFiles));
    }
    if chance.once_in(2) {
        draw_port_names(wiring, chance);
        draw_closes(wiring, chance);
        draw_late_room(wiring, chance);
        draw_device_servers(wiring, chance);
        draw_refused_questions(wiring, chance);
    }
}

/// Device servers, which hold much more than a tty. Some are reached by plain TCP, which transmits nothing but bytes.
fn draw_device_servers(wiring: &mut Wiring, chance: &mut Chance) {
    if !chance.once_in(4) {
        return;
    }
    let server =
        DeviceServer { holds_bytes: *chance.pick(&[8_192, 100_000, 4_000_000]), tells: chance.once_in(2) };
    for port in wiring.ports.iter_mut().filter(|port| port.is_uart) {
        port.server = Some(server);
        port.has_dcd &= server.tells;
        port.has_dtr &= server.tells;
    }
}

/// Modules that send nothing when they boot.
fn draw_silent_boots(wiring: &mut Wiring, chance: &mut Chance) {
    // Without DCD, what such a module sends later on a port that was a quiet stream looks like payload.
    let has_dcd = wiring.ports.iter().all(|port| port.has_dcd && port.server.is_none());
    wiring.modem.quirks.boots_silently = chance.once_in(8) && (has_dcd || !has_streams(wiring));
}

/// Modules that do not report their data sessions, or that show every SMS.
fn draw_refused_questions(wiring: &mut Wiring, chance: &mut Chance) {
    wiring.modem.quirks.session_query_refused = chance.once_in(6);
    wiring.modem.quirks.messages_shown = chance.once_in(6);
}

/// Kernels that take nothing more for a client before a third of what they hold for it has been read.
fn draw_late_room(wiring: &mut Wiring, chance: &mut Chance) {
    for connection in &mut wiring.connections {
        if chance.once_in(3) {
            connection.client.room_min_bytes = connection.client.buffer_bytes / 3;
        }
    }
}

/// Modules that choose the ports of a socket's URCs themselves.
fn draw_stubborn_urcs(wiring: &mut Wiring, chance: &mut Chance) {
    if wiring.ports.len() == 1 || !chance.once_in(3) {
        return;
    }
    let quirk = *chance.pick(&["urcs_by_opener", "urcs_by_every_port"]);
    wiring.modem.quirks.set(quirk, true);
    let is_named = chance.once_in(2);
    for port in &mut wiring.ports {
        port.is_named &= is_named;
    }
}

/// `recv` with a length where nothing is pushed, and without one where everything is.
fn draw_recv_forms(wiring: &mut Wiring, chance: &mut Chance) {
    let all_are = |mode| wiring.connections.iter().all(|connection| connection.mode == mode);
    let at = millis(chance.below(60_000));
    let fault = match (all_are(Mode::Buffer), all_are(Mode::Push)) {
        (true, _) => Fault::OtherProgram(b"AT+QICFG=\"recvind\",1\r".to_vec()),
        (_, true) => Fault::Urc(format!("+QSSLURC: \"recv\",{}", chance.below(12))),
        _ => return,
    };
    wiring.faults.push((at, fault));
}

/// Echo that cannot be switched off, of payload too.
fn draw_echo(wiring: &mut Wiring, chance: &mut Chance) {
    // The echo of a modem that has left a stream by itself cannot be distinguished from payload.
    if has_streams(wiring) || !chance.once_in(3) {
        return;
    }
    wiring.modem.quirks.echo_stays = true;
    wiring.modem.quirks.payload_echoed = chance.once_in(2);
}

/// Modules that close in uncommon ways, or not at all.
fn draw_closes(wiring: &mut Wiring, chance: &mut Chance) {
    wiring.modem.quirks.close_without_time = chance.once_in(4);
    if chance.once_in(4) {
        wiring.modem.quirks.close_of_opening_refused = true;
        // If an open never ended, only a reboot would free its socket.
        wiring.faults.retain(|(_, fault)| !matches!(fault, Fault::NeverOpen));
        for connection in &mut wiring.connections {
            if connection.opening == Opening::Never {
                connection.opening = Opening::Fails(seconds(30), OpenFailure::Refused);
            }
        }
    }
    if chance.once_in(8) && wiring.connections.len() >= 8 {
        // With few sockets, none is left soon, and recovery climbs its ladder. How soon depends on the other faults,
        // so a reboot is set before the last clients come.
        wiring.settings.sockets = IdSet::first(2);
        wiring.settings.recovery = Recovery::Reboot;
        wiring.faults.push((millis(chance.below(60_000)), Fault::RefuseClosesUntilBoot));
        wiring.faults.push((seconds(300), Fault::Reboot));
    }
}

/// Lost results while payload is pushed, pauses in its middle, quicker reboots, and SEND FAIL followed by SEND OK.
fn draw_lost_answers(wiring: &mut Wiring, chance: &mut Chance) {
    wiring.modem.boot_time = millis(chance.within(700..=6_000));
    wiring.modem.quirks.sleeps = chance.once_in(5);
    if chance.once_in(8) {
        let never = ["+QICFG", "+QURCCFG", "+QSSLCLOSE=?", "&C1", "+CMEE=1", "+CCLK"];
        wiring.modem.mute.push(chance.pick(&never).to_string());
    }
    for _ in 0..chance.below(4) {
        let port = chance.below(wiring.ports.len() as u64) as usize;
        let at = Duration::from_micros(chance.below(60_000_000));
        let fault = match chance.below(5) {
            // A stream begins with the result of its open, so that is not lost.
            0 | 1 if !has_streams(wiring) => Fault::LoseResults(chance.within(1..=3) as u32),
            0..=2 => Fault::SendFailsFor(millis(chance.within(1..=400))),
            3 => Fault::HoldLine(port, millis(chance.below(14_000))),
            _ => Fault::LosePdpSilently,
        };
        wiring.faults.push((at, fault));
    }
    if wiring.faults.iter().all(|(_, fault)| !matches!(fault, Fault::Calm)) {
        wiring.faults.push((seconds(120), Fault::Calm));
    }
}

/// Single ports whose name the core does not know, and modules that do not let URCs be moved.
fn draw_port_names(wiring: &mut Wiring, chance: &mut Chance) {
    let is_only = wiring.ports.len() == 1;
    if is_only && chance.once_in(3) {
        wiring.ports[0].is_named = false;
        let refusal = *chance.pick(&["urc_port_refused", "urc_port_all_refused", "local_port_zero"]);
        wiring.modem.quirks.set(refusal, true);
        // An open whose result the core never receives cannot be distinguished from one that never ends.
        wiring.modem.quirks.open_result_on_urc_port = false;
        // The modem has another port, to which the host is not connected.
        let name = wiring.ports[0].name;
        wiring.modem.ports =
            vec![name, if name == PortName::UsbAt { PortName::Uart1 } else { PortName::UsbAt }];
    }
}

/// What other programs make the modem send, and texts that anyone can send it.
fn draw_other_programs(wiring: &mut Wiring, chance: &mut Chance) {
    // A message that lost its head can be anything.
    if chance.once_in(3) || wiring.faults.iter().any(|(_, fault)| matches!(fault, Fault::CutUrcHead(_))) {
        return;
    }
    let said = other_programs();
    for _ in 0..chance.within(1..=12) {
        let at = Duration::from_micros(chance.below(60_000_000));
        let fault = match chance.below(4) {
            0 => {
                Fault::Sms("hello\r\n\r\n+QSSLURC: \"closed\",0\r\n\r\n+QSSLURC: \"recv\",0,4\r\nBADX".into())
            }
            _ => Fault::Foreign(chance.pick(&said).clone()),
        };
        wiring.faults.push((at, fault));
    }
}

/// `closed` for connected sockets, as other programs' texts may contain it.
fn draw_stray_closed(wiring: &mut Wiring, chance: &mut Chance) {
    // In a stream it would be payload that no server sent.
    if has_streams(wiring) || !chance.once_in(2) {
        return;
    }
    for _ in 0..chance.within(1..=6) {
        let at = millis(chance.below(60_000));
        let urc = format!("+QSSLURC: \"closed\",{}", chance.below(12));
        wiring.faults.push((at, Fault::Urc(urc)));
    }
}

/// Tunnels that verify their servers, while settings are changed or not stored, and files are replaced or deleted.
fn draw_trust(wiring: &mut Wiring, chance: &mut Chance) {
    if chance.once_in(3) {
        return;
    }
    let pem = |name: &str| Pem { source: format!("{name}.pem"), bytes: name.as_bytes().to_vec() };
    let roots = if chance.once_in(3) { vec![pem("the root"), pem("another")] } else { vec![pem("the root")] };
    wiring.tls = Tls::new(Authentication::Authorities(roots));
    // The EC20's USB AT port has no transparent mode (docs/PROTOCOL.md, 3), and every wiring with USB has it. Seeds that do not
    // come here are of the other family, because a further draw would make another run of each.
    if chance.once_in(4) && !has_streams(wiring) {
        wiring.modem.family = emulator::Family::Ec20;
    }
    let quirks = &mut wiring.modem.quirks;
    for quirk in [
        &mut quirks.file_download_refused,
        &mut quirks.setting_values_quoted,
        &mut quirks.key_list_short,
        &mut quirks.joined_settings_lost,
    ] {
        *quirk |= chance.once_in(5);
    }
    for _ in 0..chance.below(5) {
        let at = Duration::from_micros(chance.below(60_000_000));
        match chance.below(6) {
            0 => wiring.faults.push((at, Fault::LoseSettings(chance.within(1..=4) as u32))),
            1 => wiring.faults.push((at, Fault::DeleteFiles)),
            2 => {
                // The core checks the bytes of files only once per session, so a reboot follows.
                wiring.faults.push((at, Fault::ForgeFiles));
                wiring.faults.push((at, Fault::Reboot));
            }
            _ => {
                let line = chance.pick(&MEDDLING).replace('N', &chance.below(3).to_string());
                wiring.faults.push((at, Fault::OtherProgram(line.into_bytes())));
            }
        }
        wiring.faults.push((seconds(120), Fault::Calm));
    }
}

/// What another program may set, for itself or on purpose.
const MEDDLING: [&str; 8] = [
    "AT+QSSLCFG=\"seclevel\",N,0\r",
    "AT+QSSLCFG=\"ignorelocaltime\",N,1\r",
    "AT+QSSLCFG=\"ignorecertitem\",N,1048575\r",
    "AT+QSSLCFG=\"ignoreinvalidcertsign\",N,1\r",
    "AT+QSSLCFG=\"ignoremulticertchainverify\",N,1\r",
    "AT+QSSLCFG=\"sslversion\",N,0\r",
    "AT+QSSLCFG=\"cacert\",N,\"UFS:theirs.pem\"\r",
    "AT+QSSLCFG=\"cacertex\",N,\"UFS:theirs.pem\"\r",
];

fn draw_ports(wiring: &mut Wiring, chance: &mut Chance) {
    let uart = chance.once_in(2);
    if uart {
        let baud = *chance.pick(&[9_600, 57_600, 115_200, 115_200, 460_800, 921_600]);
        wiring.settings.baud = baud;
        wiring.modem.baud = if chance.once_in(6) { 115_200 } else { baud };
        let port = Port { has_dcd: !chance.once_in(3), has_dtr: !chance.once_in(3), ..Port::uart() };
        wiring.ports = vec![Port { splits: chance.once_in(2), ..port }];
    } else {
        let names = [PortName::UsbAt, PortName::UsbModem, PortName::Uart1];
        let count = chance.within(1..=3) as usize;
        let paced = chance.once_in(3);
        let splits = chance.once_in(2);
        let is_named = wiring.seed <= UNNAMED_ABOVE || wiring.seed > SHARED_ABOVE;
        let port = |name| Port { paced, splits, is_named, ..Port::usb(name) };
        wiring.ports = names[..count].iter().map(|name| port(*name)).collect();
    }
    wiring.modem.ports = wiring.ports.iter().map(|port| port.name).collect();
}

fn draw_modem(wiring: &mut Wiring, chance: &mut Chance) {
    let modem = &mut wiring.modem;
    let mut latency = |most: u64| match chance.below(3) {
        0 => Duration::ZERO,
        _ => Duration::from_micros(chance.below(most * 1_000)),
    };
    modem.command_latency = latency(30);
    modem.prompt_latency = latency(20);
    modem.send_latency = latency(40);
    modem.receive_latency = latency(40);
    modem.open_latency = latency(3_000);
    modem.close_latency = latency(500);
    modem.activation_latency = latency(3_000);
    modem.escape_guard = millis(1_000) + latency(100);
    modem.send_buffer_bytes = chance.within(1_460..=20_000) as usize;
    modem.receive_buffer_bytes = chance.within(500..=20_000) as usize;
    modem.push_limit_bytes = *chance.pick(&[1, 100, 1_460, 1_500, 4_000, 16_384]);
    modem.booted = !chance.once_in(8);
    if chance.once_in(2) {
        for (name, _) in &emulator::Quirks::SWITCHES[..COMMON_SWITCHES] {
            if chance.once_in(6) && !UNFAIR.contains(name) {
                modem.quirks.set(name, true);
            }
        }
    }
    if chance.once_in(4) {
        modem.quirks = emulator::Quirks::field();
    }
}

fn draw_connection(mode: Mode, chance: &mut Chance) -> Connection {
    let mut connection = Connection::new(mode).at(millis(chance.below(50_000)));
    let bytes = *chance.pick(&[1, 10, 1_459, 1_460, 1_461, 5_000, 20_000]);
    let every = millis(chance.within(1..=900));
    let nasty: Vec<u8> = (0..chance.within(1..=4)).flat_map(|_| chance.pick(&NASTY).to_vec()).collect();
    connection.client.sends = match chance.below(6) {
        0 => Sends::Nothing,
        1 => Sends::Drip { bytes: chance.within(1..=200), every, total: bytes.min(2_000) },
        2 => Sends::Steps((0..3).map(|step| (every * step, nasty.clone())).collect()),
        _ => Sends::Pattern(bytes),
    };
    connection.client.reads = match chance.below(8) {
        0 => Reads::After(millis(chance.below(20_000))),
        1 => Reads::Drip(chance.within(1..=2_000) as usize, every),
        2 => Reads::Nothing,
        _ => Reads::All,
    };
    connection.client.leaves = match chance.below(10) {
        0 => Leaves::HalfCloses,
        1 => Leaves::HalfClosesAfter(millis(chance.below(10_000))),
        2 => Leaves::WhenSent,
        3 => Leaves::WhenRead(bytes),
        4 => Leaves::After(millis(chance.below(20_000))),
        5 => Leaves::ResetsAfter(millis(chance.below(20_000))),
        6 => Leaves::Never,
        _ => Leaves::AtTheEnd,
    };
    connection.client.buffer_bytes = *chance.pick(&[1_000, 20_000, 100_000]);
    connection.client.is_seen_leaving = !chance.once_in(3);
    let said = *chance.pick(&[1, 100, 1_460, 9_000, 60_000]);
    let seed = chance.number();
    let says = match chance.below(7) {
        0 => Says::Nothing,
        1 => Says::Echo,
        2 => Says::Text(nasty.clone()),
        3 => Says::Drip { bytes: chance.within(1..=500), every, total: said.min(3_000), seed },
        4 => Says::Reply { request_bytes: bytes, response_bytes: said, after: every, seed },
        _ => Says::Pattern { bytes: said, seed },
    };
    let all = match &says {
        Says::Text(text) => text.len() as u64,
        Says::Drip { total, .. } => *total,
        _ => said,
    };
    let ends = match chance.below(5) {
        0 => Ends::Never,
        1 => Ends::AfterReading(bytes),
        2 => Ends::After(millis(chance.below(20_000))),
        _ => Ends::AfterSaying(all),
    };
    let reads = match chance.below(8) {
        // A stream whose server reads nothing would block its port without limit.
        _ if mode == Mode::Transparent => FarReads::All,
        0 => FarReads::Nothing,
        1 => FarReads::Drip { bytes: chance.within(1..=2_000) as usize, every },
        _ => FarReads::All,
    };
    let how = if chance.once_in(4) { Ending::Cut } else { Ending::Closed };
    connection.far_end = Behaviour { reads, says, ends, how };
    connection.opening = match chance.below(12) {
        0 => Opening::Fails(millis(chance.below(4_000)), OpenFailure::Refused),
        // A stream's open blocks its port until the module itself gives up, after minutes.
        1 if mode != Mode::Transparent => Opening::Never,
        _ => Opening::Opens(millis(chance.below(3_000))),
    };
    connection.latency = millis(*chance.pick(&[0, 1, 30, 300]));
    connection.window_bytes = *chance.pick(&[500, 5_000, 65_536]);
    let limits = &mut connection.limits;
    // Each value needs an SSL context of its own.
    limits.connect_timeout = seconds(*chance.pick(&[8, 20]));
    limits.half_close_timeout = seconds(chance.within(5..=30));
    limits.idle_timeout = seconds(chance.within(20..=60));
    limits.stall_timeout = seconds(chance.within(5..=30));
    limits.queue_timeout = seconds(chance.within(10..=60));
    limits.close_timeout = seconds(chance.within(0..=10));
    limits.lifetime = LIFETIME;
    connection
}

fn draw_fault(wiring: &Wiring, chance: &mut Chance) -> Fault {
    let connection = chance.below(wiring.connections.len() as u64) as usize;
    let port = chance.below(wiring.ports.len() as u64) as usize;
    match chance.below(22) {
        0 | 1 => Fault::SendFails(chance.within(1..=20) as u32),
        2 | 3 => Fault::CutSocket(chance.below(12) as u8),
        4 => Fault::EndFarEnd(connection, Ending::Closed),
        5 => Fault::EndFarEnd(connection, Ending::Cut),
        6 => Fault::Say(connection, chance.pick(&NASTY).to_vec()),
        7 => Fault::DropPdp,
        8 | 9 => Fault::Reboot,
        10 => Fault::Stall(millis(chance.below(30_000))),
        11 | 12 => Fault::DelayAnswer(millis(chance.below(15_000))),
        13 => Fault::Urc(chance.pick(&URCS).to_string()),
        // After the end of a stream, what is left of a URC without its head looks like payload.
        14 if !has_streams(wiring) => Fault::CutUrcHead(chance.below(40) as usize),
        15 => Fault::FailOpen(*chance.pick(&[550, 552, 563, 564, 565, 566, 568, 569])),
        // Only its answer ends the open of a stream.
        16 if !has_streams(wiring) => Fault::NeverOpen,
        17 => Fault::RefuseCloses(chance.within(1..=3) as u32),
        // An escape that the module takes for payload reaches the server, and no stream could be left without that.
        18 if !wiring.modem.quirks.missed_escape_is_payload => {
            // A module that misses all escapes cannot be distinguished from one that has left data mode.
            Fault::MissEscapes((chance.within(1..=4) as u32).min(2))
        }
        19 => Fault::LosePort(port, millis(chance.below(20_000))),
        20 => Fault::OtherProgram(b"AT+CFUN=1,1\r".to_vec()),
        _ => Fault::Noise(port, chance.pick(&NOISE).to_vec()),
    }
}

fn has_streams(wiring: &Wiring) -> bool {
    wiring.connections.iter().any(|connection| connection.mode == Mode::Transparent)
}

/// When clients come after all faults, in seconds, and how many bytes each of them gets at most.
const LATE_CLIENTS: [u64; 4] = [400, 430, 460, 500];
const LATE_BYTES: u64 = 3_000;

/// How long a connection may last.
const LIFETIME: Duration = seconds(200);

/// Runs of an ordinary `cargo test`, and further runs with ports whose names the core does not know.
const RUNS: u64 = 3_000;
const UNNAMED_RUNS: u64 = 500;
const UNNAMED_ABOVE: u64 = 1 << 32;

/// Further runs with a modem that other programs use too.
const SHARED_RUNS: u64 = 500;
const SHARED_ABOVE: u64 = 1 << 33;

/// Further runs with several channels on one UART.
const MULTIPLEXED_RUNS: u64 = 200;
const MULTIPLEXED_ABOVE: u64 = 3 << 33;

/// Further runs in which some connections have no TLS.
const PLAIN_RUNS: u64 = 300;
const PLAIN_ABOVE: u64 = 4 << 33;

/// Further runs in which some connections are opened ahead, too.
const WARM_RUNS: u64 = 200;
const WARM_ABOVE: u64 = 5 << 33;

/// Further runs in which some tunnels carry datagrams, too.
const DATAGRAM_RUNS: u64 = 300;
const DATAGRAMS_ABOVE: u64 = 6 << 33;

/// Further runs with a modem that other programs use too, an EC20.
const EC20_RUNS: u64 = 300;
const EC20_ABOVE: u64 = 7 << 33;

/// Further runs with several channels on one UART, short and hostile.
const HOSTILE_RUNS: u64 = 500;
const HOSTILE_ABOVE: u64 = 8 << 33;

/// Further runs with connections of every kind at once.
const EVERY_KIND_RUNS: u64 = 300;
const EVERY_KIND_ABOVE: u64 = 16 << 33;

/// A connection has one number, and what the modem pushes for another program's would be taken for ours: its numbers are
/// not in --sockets, which are so many.
const OWN_SOCKETS: usize = 5;

/// The emulated modem's first switches, from which every seed draws. Later ones belong to `draw_shared_modem`.
const COMMON_SWITCHES: usize = 39;

/// Long series report their progress after this many runs.
const REPORT_EVERY: u64 = 10_000;
