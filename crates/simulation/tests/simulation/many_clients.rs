//! Goal of this test: twelve clients are served at the same time, a thirteenth in its turn or not at all.

use qssl_core::settings::Mode;
use qssl_modem_emulator::network::simulated::{Behaviour, Ends};

use qssl_simulation::Outcome;
use qssl_simulation::wiring::{Connection, Leaves, Sends, Wiring, millis, seconds};

#[test]
fn twelve_handshakes_of_two_seconds_take_about_two_seconds() {
    for baud in [0, 115_200] {
        let wiring = Wiring::new().modem(|modem| modem.open_latency = seconds(2));
        let wiring = if baud == 0 { wiring } else { wiring.uart(baud) };
        let connection = Connection::new(Mode::Push).at(seconds(5));
        let mut sim = wiring.connect_many(12, &connection).start();
        sim.run_for(seconds(5));
        let took = sim.run_until("all are open", seconds(30), |sim| {
            sim.fars.iter().all(|far| far.memory().opened == 1)
        });
        assert!(took < millis(2_500), "{took:?}");
        // The server is connected before the modem reports it.
        sim.run_for(seconds(3));
        assert_eq!(sim.modem.counters().opened, 12);
    }
}

#[test]
fn a_thirteenth_waits_and_is_served() {
    let far = Behaviour { ends: Ends::After(seconds(10)), ..Behaviour::sink() };
    let first = Connection::new(Mode::Push).far_end(far);
    let late = Connection::new(Mode::Push).at(seconds(5)).far_end(Behaviour::source(2_000, 5));
    let mut sim = Wiring::new().connect_many(12, &first).connect(late).start();
    sim.run_to_the_end(seconds(60));
    assert_eq!(sim.outcome(12), Some(Outcome::Eof));
}

/// As with `--dynamic`: what the clients say to name them is read before the core knows of them.
#[test]
fn clients_of_one_tunnel_who_name_their_servers_each_get_their_own() {
    for mode in [Mode::Push, Mode::Buffer, Mode::Transparent] {
        let mut wiring = Wiring::new();
        for seed in 1..=4 {
            let far_end = Behaviour::source(3_000 * seed, seed);
            let client = Connection::new(mode).plain().at(seconds(5)).far_end(far_end);
            wiring = wiring.connect(client.names_target_in(0));
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(60));
        for client in 0..4 {
            assert_eq!(sim.outcome(client), Some(Outcome::Eof), "{mode:?}: client {client}");
            sim.assert_complete(client);
        }
    }
}

#[test]
fn whoever_waits_too_long_is_reset() {
    let first = Connection::new(Mode::Push);
    let late = Connection::new(Mode::Push).at(seconds(5));
    let mut sim = Wiring::new().connect_many(12, &first).connect(late).start();
    sim.run_until("it is reset", seconds(40), |sim| sim.outcome(12).is_some());
    assert_eq!(sim.outcome(12), Some(Outcome::Reset));
    let waited = sim.now - sim.clients[12].accepted_at().expect("it was accepted");
    assert_eq!(waited, seconds(30), "--queue-timeout");
}

#[test]
fn the_half_closed_client_that_was_quiet_longest_makes_room_for_those_who_wait() {
    let open = Connection::new(Mode::Push);
    let quiet = Connection::new(Mode::Push).sends(Sends::Pattern(10)).leaves(Leaves::HalfCloses);
    let late = Connection::new(Mode::Push).at(seconds(3)).far_end(Behaviour::source(2_000, 5));
    let mut sim = Wiring::new().connect_many(11, &open).connect(quiet).connect(late).start();
    sim.run_until("the late one is served", seconds(25), |sim| sim.outcome(12).is_some());
    assert_eq!(sim.outcome(12), Some(Outcome::Eof));
    assert_eq!(sim.outcome(11), Some(Outcome::Reset));
}

#[test]
fn a_hundred_short_connections_in_a_row_whose_clients_close_first() {
    let says = qssl_modem_emulator::network::simulated::Says::Reply {
        request_bytes: 100,
        response_bytes: 2_000,
        after: millis(20),
        seed: 4,
    };
    let far = Behaviour { says, ..Behaviour::sink() };
    let mut wiring = Wiring::new();
    for index in 0..100 {
        let connection = Connection::new(Mode::Push)
            .at(millis(400 * index))
            .sends(Sends::Pattern(100))
            .far_end(far.clone())
            .leaves(Leaves::WhenRead(2_000));
        wiring = wiring.connect(connection);
    }
    let mut sim = wiring.start();
    sim.run_to_the_end(seconds(200));
    for index in 0..100 {
        assert_eq!(sim.clients[index].received.len(), 2_000, "client {index}");
    }
    sim.assert_nothing_swallowed();
}

#[test]
fn uploads_share_the_line_fairly() {
    for mode in [Mode::Push, Mode::Buffer] {
        let upload = Connection::new(mode).sends(Sends::Pattern(1_000_000));
        let mut sim = Wiring::new().uart(115_200).connect_many(12, &upload).start();
        sim.run_until_ready();
        sim.run_for(seconds(35));
        let shares: Vec<f64> = sim.fars.iter().map(|far| far.memory().read.len() as f64).collect();
        let (sum, squares): (f64, f64) =
            (shares.iter().sum(), shares.iter().map(|share| share * share).sum());
        let jain = sum * sum / (12.0 * squares);
        assert!(jain >= 0.99, "{mode:?}: {jain} of {shares:?}");
    }
}
