//! Goal of this test: sockets become free again, however the module treats AT+QSSLCLOSE.

use std::time::Duration;

use qssl_core::settings::{Mode, Recovery};
use qssl_modem_emulator::network::Close;
use qssl_modem_emulator::network::simulated::Behaviour;

use qssl_simulation::by_hand::ByHand;
use qssl_simulation::wiring::{Connection, FAMILIES, Fault, Leaves, Sends, Wiring, millis, seconds};
use qssl_simulation::{Outcome, Simulation};

/// A client that connects at this time, sends a request, gets the response, and leaves.
fn visit(mode: Mode, at: Duration) -> Connection {
    let asks = Connection::new(mode).at(at).sends(Sends::Pattern(3_000)).far_end(Behaviour::echo());
    asks.leaves(Leaves::WhenRead(3_000))
}

#[track_caller]
fn assert_served(sim: &Simulation, client: usize) {
    assert_eq!(sim.clients[client].received.len(), 3_000, "client {client}");
}

fn closes_with_a_time(sim: &Simulation) -> usize {
    let closes = sim.host_said.iter().filter(|line| line.starts_with(b"AT+QSSLCLOSE="));
    closes.filter(|line| line.contains(&b',')).count()
}

#[test]
fn a_module_without_a_close_time_serves_more_clients_than_it_has_sockets() {
    for (family, mode) in FAMILIES.into_iter().flat_map(|it| [(it, Mode::Push), (it, Mode::Buffer)]) {
        let mut wiring = Wiring::new().family(family).modem(|modem| modem.quirks.close_without_time = true);
        for turn in 0..30 {
            wiring = wiring.connect(visit(mode, seconds(2) + millis(300) * turn));
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(120));
        (0..30).for_each(|client| assert_served(&sim, client));
        assert_eq!(closes_with_a_time(&sim), 0, "{family:?}: what AT+QSSLCLOSE=? does not list is not sent");
    }
}

#[test]
fn a_module_that_lists_nothing_and_refuses_a_time_is_not_told_one_again() {
    let mut hand = ByHand::new(&[Mode::Push], 1, true, |_| {});
    hand.run_until_ready();
    hand.ports[0].instead.push_back(("AT+QSSLCLOSE=", b"\r\nERROR\r\n".to_vec()));
    let begin = hand.ports[0].commands.len();
    for _ in 0..3 {
        let client = hand.connect(0).expect("there is room");
        hand.run_for(seconds(1));
        if client == 0 {
            // The module reports the socket that it refused to close as in use.
            hand.ports[0].instead.push_back(("AT+QSSLSTATE=", IN_USE.to_vec()));
        }
        hand.finish(client, true);
        hand.run_for(seconds(5));
    }
    let closes = hand.ports[0].commands[begin..].iter().filter(|line| line.starts_with("AT+QSSLCLOSE="));
    let (with, without): (Vec<&String>, Vec<&String>) = closes.partition(|line| line.contains(','));
    assert_eq!(with.len(), 1, "{with:?}");
    assert_eq!(without.len(), 3, "{without:?}");
}

#[test]
fn a_close_that_is_refused_once_is_repeated_soon() {
    let modes = [Mode::Push, Mode::Buffer, Mode::Transparent];
    for (family, mode) in FAMILIES.into_iter().flat_map(|family| modes.map(|mode| (family, mode))) {
        let wiring = Wiring::new().family(family).uart(115_200).connect(visit(mode, seconds(2)));
        let mut sim = wiring.fault(Duration::ZERO, Fault::RefuseCloses(1)).start();
        sim.run_until("the client has left", seconds(60), |sim| sim.outcome(0).is_some());
        // For a stream, this includes the time that its end takes.
        let took =
            sim.run_until("its socket is free", seconds(60), |sim| sim.modem.sockets_in_use().is_empty());
        assert!(took < seconds(5), "{family:?}, {mode:?}: {took:?}");
        assert_eq!(sim.server_saw(0), Some(Close::Orderly), "{family:?}, {mode:?}: it had ended in order");
    }
}

#[test]
fn a_module_that_closes_nothing_any_more_is_rebooted_for_those_who_wait() {
    for family in FAMILIES {
        let mut wiring =
            Wiring::new().family(family).settings(|settings| settings.recovery = Recovery::Reboot);
        for turn in 0..15 {
            let patient = visit(Mode::Push, seconds(3) + seconds(2) * turn);
            wiring = wiring.connect(patient.limits(|limits| limits.queue_timeout = seconds(600)));
        }
        let mut sim = wiring.fault(seconds(2), Fault::RefuseClosesUntilBoot).start();
        sim.run_to_the_end(seconds(600));
        (0..15).for_each(|client| assert_served(&sim, client));
        assert_eq!(sim.said("AT+CFUN=1,1"), 1, "{family:?}");
        let said = sim.logged();
        assert!(said.iter().any(|line| line.contains("AT+QSSLCLOSE is refused")), "{family:?}: {said:#?}");
    }
}

/// A module that no longer shows the states of its sockets neither contradicts an end nor confirms it.
#[test]
fn clients_are_served_while_the_states_of_sockets_are_refused_for_ever() {
    for from_the_start in [true, false] {
        let mut hand = ByHand::new(&[Mode::Push, Mode::Buffer], 1, true, |_| {});
        let refuses = |hand: &mut ByHand| hand.ports[0].refuses = vec!["AT+QSSLSTATE"];
        if from_the_start {
            refuses(&mut hand);
        }
        hand.run_until_ready();
        refuses(&mut hand);
        for turn in 0..40 {
            is_answered(&mut hand, turn, &format!("client {turn}, refused from the start: {from_the_start}"));
            hand.run_for(seconds(20));
        }
    }
}

/// The module closes nothing and does not show its open sockets. They once looked free, and every open failed with 563.
#[test]
fn a_module_that_closes_nothing_and_shows_no_states_is_rebooted() {
    for refused in [vec!["AT+QSSLCLOSE"], vec!["AT+QSSLCLOSE", "AT+QSSLSTATE"]] {
        let reboots = |configuration: &mut qssl_core::settings::Settings| {
            configuration.modem.recovery = Recovery::Reboot;
        };
        let mut hand = ByHand::new(&[Mode::Push, Mode::Buffer], 1, true, reboots);
        hand.run_until_ready();
        hand.ports[0].refuses = refused.clone();
        for turn in 0..12 {
            is_answered(&mut hand, turn, &format!("{refused:?}, client {turn}"));
            hand.run_for(seconds(2));
        }
        let is_rebooted = |hand: &ByHand| hand.ports[0].commands.iter().any(|line| line == "AT+CFUN=1,1");
        for _ in 0..600 {
            if is_rebooted(&hand) {
                break;
            }
            if let Some(client) = hand.connect(0) {
                hand.send(client, b"question");
            }
            hand.run_for(seconds(5));
        }
        assert!(is_rebooted(&hand), "{refused:?}: nobody could be served any more");
        hand.run_until("the module is back", seconds(600), |hand| hand.relay.modem().is_up());
        hand.run_for(seconds(60));
        is_answered(&mut hand, 0, &format!("{refused:?}, after the reboot"));
    }
}

/// A client sends a request, gets the response, and leaves, or its server closes.
#[track_caller]
fn is_answered(hand: &mut ByHand, turn: usize, what: &str) {
    let tunnel = turn % 2;
    let opens = hand.ports[0].opened.len();
    let client = hand.connect(tunnel).expect("the core takes clients");
    hand.run_until("its socket opens", seconds(60), |hand| hand.ports[0].opened.len() > opens);
    let socket = hand.ports[0].opened[opens].0;
    hand.run_for(seconds(1));
    hand.send(client, b"question");
    hand.run_for(seconds(1));
    assert_eq!(hand.ports[0].taken[socket], b"question", "{what}");
    if tunnel == 0 {
        hand.says(0, format!("\r\n+QSSLURC: \"recv\",{socket},6\r\nanswer").as_bytes());
    } else {
        hand.ports[0].waiting[socket].extend(b"answer");
        hand.says(0, format!("\r\n+QSSLURC: \"recv\",{socket}\r\n").as_bytes());
    }
    hand.run_for(seconds(1));
    assert_eq!(hand.clients[client].received, b"answer", "{what}");
    match turn % 4 < 2 {
        true => hand.far_end_closes(0, socket),
        false => hand.finish(client, true),
    }
    hand.run_until("it ends", seconds(120), |hand| hand.clients[client].outcome.is_some());
}

#[test]
fn it_costs_nobody_a_connection_while_there_are_sockets() {
    let stays = Connection::new(Mode::Push).at(seconds(2)).far_end(Behaviour::echo());
    let stays = stays.sends(Sends::Drip { bytes: 10, every: seconds(1), total: 1_000_000 });
    let mut wiring = Wiring::new().settings(|settings| settings.recovery = Recovery::Reboot).connect(stays);
    for turn in 0..5 {
        wiring = wiring.connect(visit(Mode::Push, seconds(10) + seconds(2) * turn));
    }
    let mut sim = wiring.fault(seconds(9), Fault::RefuseClosesUntilBoot).start();
    sim.run_for(seconds(900));
    assert_eq!(sim.outcome(0), None, "it goes on");
    (1..=5).for_each(|client| assert_served(&sim, client));
    let closes = sim.said("AT+QSSLCLOSE");
    assert!(closes < 5 * 70, "a close that is hopeless is not repeated all the time: {closes}");
}

#[test]
fn opens_whose_clients_have_left_make_room_at_once() {
    for mode in [Mode::Push, Mode::Buffer] {
        let mut sim = starving(mode, Sends::Nothing, false).start();
        sim.run_until("the third is served", seconds(60), |sim| sim.clients[2].received.len() == 3_000);
        assert!(sim.elapsed() < seconds(8), "{mode:?}: {:?}", sim.elapsed());
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.outcome(2), Some(Outcome::Left));
    }
}

#[test]
fn what_a_client_sent_before_it_left_is_given_up_only_for_those_who_wait() {
    let mut sim = starving(Mode::Push, Sends::Pattern(100), false).start();
    sim.run_until("the third is served", seconds(60), |sim| sim.clients[2].received.len() == 3_000);
    assert!(sim.elapsed() < seconds(15), "{:?}", sim.elapsed());
    // While no other client waits, a slow open still delivers what its client sent before it left.
    let sends =
        Connection::new(Mode::Push).at(seconds(2)).sends(Sends::Pattern(100)).leaves(Leaves::WhenSent);
    let slow = qssl_modem_emulator::network::simulated::Opening::Opens(seconds(40));
    let mut sim = Wiring::new().connect(sends.opening(slow)).start();
    sim.run_to_the_end(seconds(120));
    assert_eq!(sim.fars[0].memory().read.len(), 100);
}

#[test]
fn a_module_that_does_not_close_what_it_opens_is_asked_again_only_when_somebody_waits() {
    let mut sim = starving(Mode::Push, Sends::Nothing, true).start();
    sim.run_until("the third is served", seconds(100), |sim| sim.clients[2].received.len() == 3_000);
    let closes = sim.said("AT+QSSLCLOSE");
    assert!((3..40).contains(&closes), "{closes}");
    let alone = Connection::new(Mode::Push).at(seconds(2)).leaves(Leaves::After(seconds(1)));
    let never = qssl_modem_emulator::network::simulated::Opening::Never;
    let wiring = Wiring::new().modem(|modem| modem.quirks.close_of_opening_refused = true);
    let mut sim = wiring.connect(alone.opening(never)).start();
    sim.run_for(seconds(50));
    assert_eq!(sim.said("AT+QSSLCLOSE=0"), 1, "it was tried");
}

/// Two sockets, two clients of a dead server that leave after a second, and one of another server.
fn starving(mode: Mode, sends: Sends, refuses: bool) -> Wiring {
    let never = qssl_modem_emulator::network::simulated::Opening::Never;
    let impatient = Connection::new(mode).at(seconds(2)).sends(sends).opening(never);
    let wiring = Wiring::new()
        .modem(|modem| modem.quirks.close_of_opening_refused = refuses)
        .settings(|settings| settings.sockets = qssl_core::at::IdSet::first(2));
    let other = visit(mode, seconds(4)).limits(|limits| limits.queue_timeout = seconds(200));
    wiring.connect_many(2, &impatient.leaves(Leaves::After(seconds(1)))).connect(other)
}

/// The answer to AT+QSSLSTATE while socket 0 is closing.
const IN_USE: &[u8] =
    b"\r\n+QSSLSTATE: 0,\"SSLClient\",\"192.0.2.2\",443,0,4,1,0,1,\"usbat\",1\r\n\r\nOK\r\n";
