//! Goal of this test: connections that are opened ahead (`--warm`) are given to clients at once, each to one client at
//! most and only while nothing speaks against it; they are in nobody's way, and cost no more than was asked for.

use std::sync::Arc;

use qssl_core::Input;
use qssl_core::at::IdSet;
use qssl_core::modem::Reluctance;
use qssl_core::settings::{Limits, Mode, Settings, Tunnel, WhenFull};
use qssl_modem_emulator::PortName;
use qssl_modem_emulator::network::OpenFailure;
use qssl_modem_emulator::network::simulated::{Behaviour, Ends, Opening, Says};

use qssl_simulation::datagrams::{DatagramTunnel, own};
use qssl_simulation::wiring::{
    Connection, FAMILIES, Fault, Leaves, Port, Reads, Security, Sends, Wiring, millis, seconds,
};
use qssl_simulation::{Outcome, Simulation};

const MODES: [Mode; 2] = [Mode::Push, Mode::Buffer];

/// A tunnel to an echo with connections opened ahead, and a client that never comes.
fn tunnel(mode: Mode, count: usize) -> Connection {
    Connection::new(mode).far_end(Behaviour::echo()).warm(count).at(NEVER)
}

/// A client of the first tunnel that comes at this time and leaves when it has read as many bytes as it sent.
fn client(mode: Mode, at: std::time::Duration) -> Connection {
    Connection::new(mode).at(at).through(0).sends(Sends::Pattern(BYTES)).leaves(Leaves::WhenRead(BYTES))
}

fn ready(sim: &Simulation, tunnel: usize) -> usize {
    sim.relay.tunnel_reports()[tunnel].warm
}

fn served_warm(sim: &Simulation) -> u64 {
    sim.relay.tunnel_reports()[0].counters.served_warm
}

fn opens(sim: &Simulation) -> usize {
    sim.said("AT+QSSLOPEN=") + sim.said("AT+QIOPEN=")
}

fn warnings(sim: &Simulation) -> Vec<String> {
    sim.logged().into_iter().filter(|line| line.contains("WARN")).collect()
}

/// Runs until this client has ended, and asserts that it got all of its bytes back.
fn runs_well(sim: &mut Simulation, index: usize, limit: std::time::Duration) {
    sim.run_until("the client ends", limit, |sim| sim.outcome(index).is_some());
    assert_eq!(sim.clients[index].received.len() as u64, BYTES, "client {index}");
    sim.assert_own_conversations(0);
}

#[test]
fn a_client_gets_a_connection_at_once_and_another_takes_its_place() {
    for (family, mode) in FAMILIES.into_iter().flat_map(|family| MODES.map(|mode| (family, mode))) {
        for is_plain in [false, true] {
            let mut tunnel = tunnel(mode, 1).opening(Opening::Opens(seconds(5)));
            if is_plain {
                tunnel = tunnel.plain();
            }
            let wiring = Wiring::new().family(family).connect(tunnel).connect(client(mode, seconds(60)));
            let mut sim = wiring.start();
            sim.run_until("one is ready", seconds(50), |sim| ready(sim, 0) == 1);
            let until_then = seconds(60) - millis(1) - sim.elapsed();
            sim.run_for(until_then);
            let before = sim.host_said.len();
            sim.run_until("the client comes", seconds(60), |sim| sim.clients[1].id.is_some());
            let took = sim.run_until("its bytes leave", seconds(1), |sim| {
                sim.host_said[before..].iter().any(|line| is_send(line))
            });
            assert!(took <= millis(2), "{family:?}, {mode:?}: {took:?}");
            let first = &sim.host_said[before];
            assert!(is_send(first), "{family:?}, {mode:?}: {}", first.escape_ascii());
            runs_well(&mut sim, 1, seconds(10));
            assert_eq!(served_warm(&sim), 1);
            sim.run_until("another is ready", seconds(10), |sim| ready(sim, 0) == 1);
        }
    }
}

fn is_send(line: &[u8]) -> bool {
    line.starts_with(b"AT+QSSLSEND") || line.starts_with(b"AT+QISEND")
}

#[test]
fn with_handshakes_of_five_seconds_and_a_client_each_three_nearly_all_are_served_warm() {
    for mode in MODES {
        let mut wiring = Wiring::new().connect(tunnel(mode, 3).opening(Opening::Opens(seconds(5))));
        for index in 0..300 {
            wiring = wiring.connect(client(mode, seconds(30 + 3 * index)));
        }
        let mut sim = wiring.start_quietly();
        sim.run_until("all clients end", seconds(1_000), |sim| {
            sim.clients[1..].iter().all(|client| client.outcome.is_some())
        });
        sim.assert_own_conversations(0);
        assert!(served_warm(&sim) >= 297, "{mode:?}: {} of 300", served_warm(&sim));
    }
}

#[test]
fn a_client_that_finds_none_ready_takes_the_one_that_is_being_opened() {
    for mode in MODES {
        // It comes two seconds after the open has begun, which takes five.
        let tunnel = tunnel(mode, 1).opening(Opening::Opens(seconds(5)));
        let mut sim = Wiring::new().connect(tunnel).connect(client(mode, seconds(2) + millis(200))).start();
        sim.run_until("the client comes", seconds(10), |sim| sim.clients[1].id.is_some());
        assert_eq!(opens(&sim), 1, "{mode:?}");
        let took = sim.run_until("its bytes leave", seconds(10), |sim| sim.said("AT+QSSLSEND=") > 0);
        assert!(took < seconds(4), "{mode:?}: {took:?}");
        runs_well(&mut sim, 1, seconds(10));
        assert_eq!(served_warm(&sim), 0, "{mode:?}: it had to wait");
    }
}

#[test]
fn what_a_client_does_before_its_own_open_is_the_same_with_and_without() {
    for mode in MODES {
        let commands = |count| {
            let mut sim = Wiring::new().connect(tunnel(mode, count)).connect(client(mode, millis(0))).start();
            sim.run_until("it is opened", seconds(60), |sim| opens(sim) > 0);
            let first = sim.host_said.iter().position(|line| line.starts_with(b"AT+QSSLOPEN"));
            sim.host_said[..=first.expect("it is opened")].to_vec()
        };
        assert_eq!(commands(0), commands(2), "{mode:?}");
    }
}

#[test]
fn one_that_the_server_has_closed_is_given_to_no_client() {
    for mode in MODES {
        // Servers that close idle connections after 10 s, while they are replaced after 50 s.
        let far_end = Behaviour { ends: Ends::After(seconds(10)), ..Behaviour::echo() };
        let mut wiring = Wiring::new().connect(tunnel(mode, 2).far_end(far_end));
        for index in 0..60 {
            wiring = wiring.connect(client(mode, seconds(20) + millis(7_300) * index));
        }
        let mut sim = wiring.start();
        sim.run_until("all clients end", seconds(600), |sim| {
            sim.clients[1..].iter().all(|client| client.outcome.is_some())
        });
        for client in &sim.clients[1..] {
            assert_eq!(client.received.len() as u64, BYTES, "{mode:?}");
        }
        sim.assert_own_conversations(0);
        let warnings = warnings(&sim);
        assert!(warnings.len() == 1 && warnings[0].contains("set --warm-max-age below that"), "{warnings:?}");
    }
}

#[test]
fn one_is_replaced_before_it_is_too_old_and_serves_until_the_next_is_there() {
    for mode in MODES {
        let tunnel = tunnel(mode, 1)
            .opening(Opening::Opens(seconds(2)))
            .limits(|limits| limits.warm.max_age = seconds(20));
        let mut sim = Wiring::new().connect(tunnel).start();
        sim.run_until("one is ready", seconds(60), |sim| ready(sim, 0) == 1);
        for _ in 0..200 {
            sim.run_for(seconds(1));
            assert!(ready(&sim, 0) >= 1, "{mode:?}: none is ready");
            // One that is replaced, and the one that takes its place.
            assert!(sim.modem.sockets_in_use().len() <= 2, "{mode:?}");
        }
        let (opens, closes) = (opens(&sim), sim.said("AT+QSSLCLOSE="));
        assert!(
            (10..=16).contains(&opens) && opens - closes <= 2,
            "{mode:?}: {opens} opens, {closes} closes"
        );
    }
}

/// With eight, four numbers are free for those that take their places. With eleven there is one, which does not suffice:
/// eleven handshakes of five seconds take longer than a connection is kept.
#[test]
fn many_are_replaced_one_after_the_other_though_few_numbers_are_free() {
    for (mode, count, least) in MODES.into_iter().flat_map(|mode| [(mode, 8, 8), (mode, 11, 10)]) {
        let mut sim = Wiring::new().connect(tunnel(mode, count).opening(Opening::Opens(seconds(5)))).start();
        sim.run_until("all are ready", seconds(60), |sim| ready(sim, 0) == count);
        let mut fewest = count;
        for _ in 0..4_000 {
            sim.run_for(millis(100));
            fewest = fewest.min(ready(&sim, 0));
        }
        println!("{mode:?}: at least {fewest} of {count}, {} opens", opens(&sim));
        assert!(fewest >= least, "{mode:?}: {fewest} of {count}");
        // Each serves for three quarters of its time or longer.
        let most = count * 400 / 37 + 2 * count;
        assert!(opens(&sim) <= most, "{mode:?}: {} opens, not {most}", opens(&sim));
    }
}

#[test]
fn a_client_of_another_tunnel_gets_the_number() {
    for mode in MODES {
        for when_full in [WhenFull::Wait, WhenFull::Reset] {
            let other = Connection::new(mode)
                .at(seconds(30))
                .far_end(Behaviour::echo())
                .sends(Sends::Pattern(BYTES))
                .leaves(Leaves::WhenRead(BYTES))
                .limits(|limits| limits.when_full = when_full);
            let wiring = Wiring::new().settings(|modem| modem.sockets = IdSet::first(2));
            let mut sim = wiring.connect(tunnel(mode, 2)).connect(other).start();
            sim.run_until("both numbers are used", seconds(29), |sim| ready(sim, 0) == 2);
            sim.run_until("the client ends", seconds(40), |sim| sim.outcome(1).is_some());
            assert_eq!(sim.clients[1].received.len() as u64, BYTES, "{mode:?}, {when_full:?}");
            sim.run_until("both are ready again", seconds(60), |sim| ready(sim, 0) == 2);
        }
    }
}

#[test]
fn one_that_no_client_has_gives_way_before_a_session() {
    for (mode, security) in
        MODES.into_iter().flat_map(|mode| [(mode, Security::Tls), (mode, Security::Plain)])
    {
        let evicts = |limits: &mut Limits| limits.when_full = WhenFull::Evict;
        let mut sessions = DatagramTunnel::new(mode, security).limits(evicts);
        for number in 0..12 {
            let at = if number < 11 { seconds(10) } else { seconds(20) };
            sessions = sessions.sender([(at, own(number, 100))]);
        }
        let mut sim = Wiring::eg800q().connect(tunnel(mode, 1)).datagrams(sessions).start();
        sim.run_until("one is ready", seconds(9), |sim| ready(sim, 0) == 1);
        sim.run_for(seconds(19) - sim.elapsed());
        assert_eq!(ready(&sim, 0), 1, "{mode:?}, {security:?}: there are numbers for all");
        sim.run_for(seconds(10));
        let has_session = sim.addresses.all().iter().filter(|address| address.id.is_some()).count();
        assert_eq!((has_session, ready(&sim, 0)), (12, 0), "{mode:?}, {security:?}");
        assert!(!sim.logged().iter().any(|line| line.contains("--when-full evict")), "none was ended");
    }
}

#[test]
fn a_stream_gets_the_only_port_although_connections_were_opened_ahead() {
    let stream = Connection::new(Mode::Transparent).at(seconds(30)).far_end(Behaviour::source(5_000, 3));
    let mut sim = Wiring::new().uart(115_200).connect(tunnel(Mode::Push, 2)).connect(stream).start();
    sim.run_until("they are ready", seconds(29), |sim| ready(sim, 0) == 2);
    sim.run_until("the stream ends", seconds(40), |sim| sim.outcome(1).is_some());
    assert_eq!(sim.outcome(1), Some(Outcome::Eof));
    sim.assert_complete(1);
    sim.run_until("they are ready again", seconds(60), |sim| ready(sim, 0) == 2);
}

/// With the other port a stream already, none could begin, and all of them were closed for nothing.
#[test]
fn a_stream_that_has_to_wait_for_another_closes_none() {
    let stream = |at, seed| {
        let says = Says::Drip { bytes: 100, every: seconds(1), total: 1_500, seed };
        let far_end = Behaviour { says, ends: Ends::AfterSaying(1_500), ..Behaviour::sink() };
        Connection::new(Mode::Transparent).at(seconds(at)).far_end(far_end)
    };
    let ports = [Port::usb(PortName::UsbAt), Port::usb(PortName::UsbModem)];
    let wiring = Wiring::new().ports(ports).connect(tunnel(Mode::Push, 2));
    let mut sim = wiring.connect(stream(20, 1)).connect(stream(21, 2)).start();
    sim.run_until("they are ready", seconds(19), |sim| ready(sim, 0) == 2);
    sim.run_until("the first stream begins", seconds(25), |sim| sim.clients[1].id.is_some());
    let closes = sim.said("AT+QSSLCLOSE=");
    sim.run_until("the second waits", seconds(10), |sim| sim.clients[2].id.is_some());
    sim.run_until("the first ends", seconds(30), |sim| {
        assert!(sim.outcome(1).is_some() || ready(sim, 0) == 2 && sim.said("AT+QSSLCLOSE=") == closes);
        sim.outcome(1).is_some()
    });
    sim.run_until("the second ends", seconds(60), |sim| sim.outcome(2).is_some());
    for client in [1, 2] {
        assert_eq!(sim.outcome(client), Some(Outcome::Eof));
        sim.assert_complete(client);
    }
}

/// The client's own open was refused as busy, and had to wait until the other one was over.
#[test]
fn a_module_that_opens_one_at_a_time_opens_a_clients_first() {
    for mode in MODES {
        for can_be_ended in [true, false] {
            let slow = tunnel(mode, 1).opening(Opening::Opens(seconds(25)));
            let other = Connection::new(mode)
                .at(seconds(5))
                .far_end(Behaviour::echo())
                .sends(Sends::Pattern(BYTES))
                .leaves(Leaves::WhenRead(BYTES));
            let wiring = Wiring::new().modem(|modem| {
                modem.quirks.opens_busy_beyond = Some(1);
                modem.quirks.close_of_opening_refused = !can_be_ended;
            });
            let mut sim = wiring.connect(slow).connect(other).start();
            sim.run_until("it is being opened", seconds(4), |sim| opens(sim) == 1);
            sim.run_until("the client comes", seconds(5), |sim| sim.clients[1].id.is_some());
            let took = sim.run_until("it is served", seconds(60), |sim| sim.outcome(1).is_some());
            assert_eq!(sim.clients[1].received.len() as u64, BYTES, "{mode:?}, {can_be_ended}");
            // Where it cannot be ended, it is waited for.
            assert_eq!(took < seconds(5), can_be_ended, "{mode:?}: {took:?}");
            sim.run_until("the other is ready after all", seconds(60), |sim| ready(sim, 0) == 1);
        }
    }
}

#[test]
fn what_a_server_says_first_is_kept_for_the_client_or_nobody_gets_that_connection() {
    for (mode, is_kept) in MODES.into_iter().flat_map(|mode| [(mode, true), (mode, false)]) {
        let far_end = Behaviour { says: Says::Text(GREETING.to_vec()), ..Behaviour::sink() };
        let tunnel = tunnel(mode, 1).far_end(far_end).limits(|limits| limits.warm.server_first = is_kept);
        let reader = Connection::new(mode)
            .at(seconds(120))
            .through(0)
            .reads(Reads::All)
            .leaves(Leaves::WhenRead(GREETING.len() as u64));
        let mut sim = Wiring::new().connect(tunnel).connect(reader).start();
        sim.run_until("the client comes", seconds(121), |sim| sim.clients[1].id.is_some());
        let opens_before = opens(&sim);
        sim.run_until("the client ends", seconds(10), |sim| sim.outcome(1).is_some());
        assert_eq!(sim.clients[1].received, GREETING, "{mode:?}, kept: {is_kept}");
        assert_eq!(served_warm(&sim), u64::from(is_kept), "{mode:?}");
        match is_kept {
            true => assert_eq!(warnings(&sim), [""; 0], "{mode:?}"),
            false => {
                let warnings = warnings(&sim);
                assert!(warnings.len() == 1 && warnings[0].contains("--warm-server-first"), "{warnings:?}");
                assert!(opens_before <= 8, "pauses grow: {opens_before} opens");
            }
        }
    }
}

#[test]
fn more_than_is_kept_of_what_a_server_says_is_not_kept() {
    let far_end = Behaviour::source(20_000, 4);
    let far_end = Behaviour { ends: Ends::Never, ..far_end };
    let tunnel = tunnel(Mode::Push, 1).far_end(far_end).limits(|limits| limits.warm.server_first = true);
    let mut sim = Wiring::new().connect(tunnel).start();
    sim.run_for(seconds(300));
    assert_eq!(ready(&sim, 0), 0);
    assert!(opens(&sim) <= 10, "pauses grow: {} opens", opens(&sim));
}

#[test]
fn failures_are_logged_once_come_less_often_and_leave_the_data_session_alone() {
    let refused = Opening::Fails(seconds(1), OpenFailure::Refused);
    for (opening, mode) in
        [refused, Opening::Never].into_iter().flat_map(|it| MODES.map(|mode| (it.clone(), mode)))
    {
        let tunnel =
            tunnel(mode, 3).opening(opening.clone()).limits(|limits| limits.connect_timeout = seconds(10));
        let mut sim = Wiring::new().connect(tunnel).start();
        sim.run_until_ready();
        sim.run_for(seconds(1_800));
        let warnings = warnings(&sim);
        assert_eq!(warnings.len(), 1, "{opening:?}: {warnings:?}");
        assert!((4..=20).contains(&opens(&sim)), "{opening:?}: {} opens", opens(&sim));
        let recovery = sim.logged().into_iter().find(|line| line.contains("recovery"));
        assert_eq!(recovery, None, "{opening:?}, {mode:?}");
        assert_eq!(sim.said("AT+QIDEACT"), 0, "{opening:?}");
    }
}

/// More connections than a slow line can replace in time. A client's bytes take turns with them.
#[test]
fn they_leave_a_slow_line_to_clients() {
    for mode in MODES {
        let tunnel = tunnel(mode, 8).limits(|limits| limits.warm.max_age = seconds(5));
        let upload =
            Connection::new(mode).at(seconds(30)).sends(Sends::Pattern(1_000_000)).far_end(Behaviour::sink());
        let mut sim = Wiring::new().uart(9_600).connect(tunnel).connect(upload).start();
        sim.run_until("the client is served", seconds(60), |sim| sim.fars[1].memory().opened == 1);
        let (before, opens_before) = (sim.fars[1].memory().read.len(), opens(&sim));
        sim.run_for(seconds(300));
        let (sent, opened) = (sim.fars[1].memory().read.len() - before, opens(&sim) - opens_before);
        println!("{mode:?}: {sent} bytes, {opened} opens");
        assert!(opened > 20, "{mode:?}: {opened} opens");
        // A message of 1460 bytes to each open.
        assert!(sent >= 1_460 * (opened - 2), "{mode:?}: {sent} bytes, {opened} opens");
    }
}

#[test]
fn after_a_failure_they_come_back_by_themselves() {
    let mut wiring = Wiring::new().connect(tunnel(Mode::Push, 2));
    for at in [1, 2, 3] {
        wiring = wiring.fault(seconds(at), Fault::FailOpen(566));
    }
    let mut sim = wiring.start();
    sim.run_until("both are ready", seconds(120), |sim| ready(sim, 0) == 2);
    for fault in [Fault::DropPdp, Fault::Reboot, Fault::LosePort(0, seconds(3))] {
        sim.inject(fault.clone());
        assert!(ready(&sim, 0) <= 2);
        sim.run_for(seconds(20));
        sim.run_until("both are ready again", seconds(300), |sim| ready(sim, 0) == 2);
    }
}

#[test]
fn none_that_was_open_when_the_modem_was_lost_is_given_to_a_client() {
    for mode in MODES {
        // A reboot is known when the modem reports it.
        for (fault, known) in [
            (Fault::DropPdp, millis(1)),
            (Fault::LosePort(0, seconds(1)), millis(1)),
            (Fault::Reboot, seconds(5)),
        ] {
            let at = seconds(29) + known;
            let patient = tunnel(mode, 2).limits(|limits| limits.queue_timeout = seconds(180));
            let wiring = Wiring::new().connect(patient).connect(client(mode, at));
            let mut sim = wiring.fault(seconds(29), fault.clone()).start();
            sim.run_until("they are ready", seconds(28), |sim| ready(sim, 0) == 2);
            sim.run_until("the client ends", seconds(200), |sim| sim.outcome(1).is_some());
            let (got, outcome) = (sim.clients[1].received.len() as u64, sim.outcome(1));
            assert!(got == BYTES, "{fault:?}, {mode:?}: {got} bytes, {outcome:?}");
            sim.assert_own_conversations(0);
        }
    }
}

#[test]
fn while_a_budget_is_spent_none_is_opened() {
    let mut sim = Wiring::new().connect(tunnel(Mode::Push, 2)).start();
    let now = sim.now;
    sim.relay.handle(Input::OpenAhead(false), now);
    sim.run_for(seconds(300));
    assert_eq!(opens(&sim), 0);
    let now = sim.now;
    sim.relay.handle(Input::OpenAhead(true), now);
    sim.run_until("they are ready", seconds(10), |sim| ready(sim, 0) == 2);
    let counted = sim.relay.take_moved();
    assert_eq!(counted.iter().map(|(_, moved)| moved.opens).sum::<u64>(), 2, "each handshake counts");
}

/// What a reload does to a tunnel; `None` removes it.
type Change = Option<fn(&mut Tunnel)>;

/// The settings of this run with this change of the first tunnel.
fn changed(sim: &Simulation, change: Change) -> Settings {
    let mut tunnels = sim.relay.tunnels().to_vec();
    match change {
        Some(change) => change(Arc::make_mut(&mut tunnels[0])),
        None => {
            tunnels.remove(0);
        }
    }
    let modem = qssl_core::settings::Modem { sockets: IdSet::first(12), ..Default::default() };
    Settings { tunnels, modem, ..Settings::default() }
}

#[test]
fn on_a_reload_those_of_changed_tunnels_are_closed_and_others_are_kept() {
    let changes: [(Change, usize); 4] = [
        (Some(|_| {}), 2),
        (Some(|tunnel| tunnel.limits.idle_timeout = seconds(99)), 2),
        (Some(|tunnel| tunnel.limits.warm.count = 0), 0),
        (None, 0),
    ];
    for (index, (change, then)) in changes.into_iter().enumerate() {
        let mut sim = Wiring::new().connect(tunnel(Mode::Push, 2)).connect(tunnel(Mode::Buffer, 1)).start();
        sim.run_until("all are ready", seconds(60), |sim| ready(sim, 0) == 2 && ready(sim, 1) == 1);
        sim.run_for(seconds(1));
        let (before, new, now) = (opens(&sim), changed(&sim, change), sim.now);
        sim.relay.reconfigure(new, |_, _| true, now).expect("a change that can be made at once");
        sim.run_for(seconds(10));
        let is_kept = index == 0;
        assert_eq!(sim.said("AT+QSSLCLOSE="), if is_kept { 0 } else { 2 }, "change {index}");
        assert_eq!(opens(&sim) - before, if is_kept { 0 } else { then }, "change {index}");
        assert_eq!(sim.modem.sockets_in_use().len(), then + 1, "change {index}");
    }
}

/// Tunnels like the first of this run, this many, which differ in their SSL contexts.
fn different(sim: &Simulation, count: u64) -> Settings {
    let mut new = changed(sim, None);
    let first = sim.relay.tunnels()[0].clone();
    new.tunnels = (0..count).map(|_| first.clone()).collect();
    for (index, tunnel) in new.tunnels.iter_mut().enumerate() {
        let tunnel = Arc::make_mut(tunnel);
        tunnel.name = format!("tunnel {index}");
        tunnel.limits.connect_timeout = seconds(40 + index as u64);
        tunnel.limits.warm.count = 1;
    }
    new
}

/// They were once closed before it was known whether the new configuration can be taken.
#[test]
fn a_reload_that_is_refused_closes_none_of_them() {
    let mut sim = Wiring::new().connect(tunnel(Mode::Push, 2)).start();
    sim.run_until("both are ready", seconds(60), |sim| ready(sim, 0) == 2);
    let (new, now) = (different(&sim, 7), sim.now);
    let refused = sim.relay.reconfigure(new, |_, _| true, now);
    assert!(matches!(refused, Err(Reluctance::Never(_))), "{refused:?}");
    sim.run_for(seconds(5));
    assert_eq!((sim.said("AT+QSSLCLOSE="), ready(&sim, 0)), (0, 2));
}

#[test]
fn a_reload_that_needs_their_context_waits_until_they_are_closed() {
    let mut sim = Wiring::new().connect(tunnel(Mode::Push, 2)).start();
    sim.run_until("both are ready", seconds(60), |sim| ready(sim, 0) == 2);
    let (new, now) = (different(&sim, 6), sim.now);
    assert_eq!(sim.relay.reconfigure(new.clone(), |_, _| true, now), Err(Reluctance::NotNow));
    sim.run_for(seconds(1));
    let now = sim.now;
    assert_eq!(sim.relay.reconfigure(new, |_, _| true, now), Ok(()));
    sim.run_until("those of the new tunnels are ready", seconds(60), |sim| {
        (0..6).all(|tunnel| ready(sim, tunnel) == 1)
    });
}

#[test]
fn at_the_end_all_are_closed_at_once_while_clients_are_still_served() {
    for mode in MODES {
        let slow = Connection::new(mode)
            .at(seconds(20))
            .through(0)
            .sends(Sends::Drip { bytes: 10, every: seconds(1), total: 100 })
            .leaves(Leaves::WhenRead(100));
        let mut sim = Wiring::new().connect(tunnel(mode, 3)).connect(slow).start();
        sim.run_until("the client comes", seconds(21), |sim| sim.clients[1].id.is_some());
        sim.run_until("all are ready", seconds(5), |sim| ready(sim, 0) == 3);
        sim.shutdown();
        sim.run_for(seconds(2));
        assert_eq!(sim.modem.sockets_in_use().len(), 1, "{mode:?}: the client's");
        sim.run_until("the end", seconds(60), |sim| sim.stopped.is_some());
        assert_eq!(sim.clients[1].received.len(), 100, "{mode:?}");
        assert!(sim.modem.sockets_in_use().is_empty(), "{mode:?}");
    }
}

const NEVER: std::time::Duration = std::time::Duration::from_secs(1_000_000);
const BYTES: u64 = 3_000;
const GREETING: &[u8] = b"220 mail.example ESMTP\r\n";
