//! Goal of this test: a client that half-closes gets its answer; one that leaves frees its socket.

use qssl_core::settings::Mode;
use qssl_modem_emulator::network::Close;
use qssl_modem_emulator::network::simulated::{Behaviour, Ends, Says};

use qssl_simulation::wiring::{Connection, Leaves, Reads, Sends, Wiring, millis, seconds};
use qssl_simulation::{Outcome, Simulation};

const MODES: [Mode; 2] = [Mode::Push, Mode::Buffer];

fn answers_after(time: std::time::Duration) -> Behaviour {
    let says = Says::Reply { request_bytes: 1_000, response_bytes: 30_000, after: time, seed: 2 };
    Behaviour { says, ends: Ends::AfterSaying(30_000), ..Behaviour::sink() }
}

#[test]
fn the_answer_still_flows_seconds_after_the_half_close() {
    for mode in MODES {
        let connection = Connection::new(mode)
            .sends(Sends::Pattern(1_000))
            .leaves(Leaves::HalfCloses)
            .far_end(answers_after(seconds(2)));
        let mut sim = Wiring::new().connect(connection).start();
        sim.run_to_the_end(seconds(60));
        sim.assert_complete(0);
        assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    }
}

#[test]
fn a_half_close_without_any_answer_ends_at_its_timeout_from_the_last_byte() {
    for mode in MODES {
        let connection = Connection::new(mode).sends(Sends::Pattern(1_000)).leaves(Leaves::HalfCloses);
        let mut sim = Wiring::new().connect(connection).start();
        sim.run_to_the_end(seconds(120));
        assert_eq!(sim.outcome(0), Some(Outcome::Reset));
        let lived =
            sim.clients[0].ended_at.expect("it ended") - sim.clients[0].accepted_at().expect("it began");
        assert!(lived >= seconds(60) && lived < seconds(62), "{lived:?}");
    }
}

#[test]
fn a_client_that_closes_fully_frees_its_socket_once_its_bytes_are_out() {
    for mode in MODES {
        let connection = Connection::new(mode).sends(Sends::Pattern(50_000)).leaves(Leaves::WhenSent);
        let mut sim = Wiring::new().uart(115_200).connect(connection).start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.fars[0].memory().read.len(), 50_000, "everything it sent was handed over");
    }
}

#[test]
fn bytes_for_a_client_that_has_closed_are_dropped_with_its_socket() {
    for mode in MODES {
        let connection =
            Connection::new(mode).far_end(Behaviour::source(1_000_000, 1)).leaves(Leaves::WhenRead(20_000));
        let mut sim = Wiring::new().uart(115_200).connect(connection).start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.outcome(0), Some(Outcome::Left));
    }
}

#[test]
fn a_client_that_resets_frees_its_socket() {
    for mode in MODES {
        let connection = Connection::new(mode)
            .sends(Sends::Pattern(1_000_000))
            .far_end(Behaviour::echo())
            .leaves(Leaves::ResetsAfter(seconds(6)));
        let mut sim = Wiring::new().uart(115_200).connect(connection).start();
        sim.run_to_the_end(seconds(60));
    }
}

#[test]
fn where_it_cannot_be_known_that_a_client_has_left_the_half_close_timeout_ends_it() {
    let mut connection = Connection::new(Mode::Push).sends(Sends::Pattern(10)).leaves(Leaves::WhenSent);
    connection.client.is_seen_leaving = false;
    let mut sim = Wiring::new().connect(connection).start();
    sim.run_to_the_end(seconds(100));
}

#[test]
fn a_client_that_stays_after_the_end_is_let_go() {
    let connection = Connection::new(Mode::Push).far_end(Behaviour::source(1_000, 1)).leaves(Leaves::Never);
    let mut sim = Wiring::new().connect(connection).start();
    sim.run_to_the_end(seconds(60));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
}

#[test]
fn a_slow_client_gets_every_byte_of_a_server_that_closed_long_ago() {
    for mode in MODES {
        let connection = Connection::new(mode)
            .far_end(Behaviour::source(150_000, 8))
            .reads(Reads::Drip(2_000, millis(250)));
        let mut connection = connection;
        connection.client.buffer_bytes = 4_000;
        let mut sim = Wiring::new().connect(connection).start();
        sim.run_to_the_end(seconds(120));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{mode:?}");
        assert_eq!(sim.clients[0].received.len(), 150_000);
    }
}

#[test]
fn a_client_that_has_sent_everything_ended_in_order_for_the_server_whoever_else_waits() {
    for mode in [Mode::Push, Mode::Buffer, Mode::Transparent] {
        for others_wait in [false, true] {
            let connection = Connection::new(mode).sends(Sends::Pattern(1_000)).leaves(Leaves::HalfCloses);
            let connection = connection.limits(|limits| limits.half_close_timeout = seconds(10));
            let waits = Connection::new(mode).at(seconds(3)).leaves(Leaves::After(seconds(60)));
            let mut wiring = Wiring::new().uart(115_200).connect(connection);
            wiring.settings.sockets = qssl_core::at::IdSet::first(1);
            if others_wait {
                wiring = wiring.connect(waits);
            }
            let mut sim = wiring.start();
            sim.run_to_the_end(seconds(150));
            assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{mode:?}: its answer never came");
            assert_eq!(sim.fars[0].memory().read.len(), 1_000);
            assert_eq!(sim.server_saw(0), Some(Close::Orderly), "{mode:?}, others wait: {others_wait}");
        }
    }
}

#[test]
fn bytes_up_are_those_that_the_module_has_taken() {
    for mode in [Mode::Push, Mode::Buffer] {
        let resets =
            Connection::new(mode).sends(Sends::Pattern(200_000)).leaves(Leaves::ResetsAfter(seconds(5)));
        let mut sim = Wiring::new().uart(9_600).connect(resets).start();
        let taken = |sim: &Simulation| sim.relay.modem().counters().sent_bytes;
        sim.run_until("some of it is taken", seconds(60), |sim| taken(sim) > 1_000);
        let row = sim.relay.connections(sim.now)[0].clone();
        assert_eq!(row.up_bytes, taken(&sim), "{mode:?}: connections[].up_bytes");
        sim.run_until("it resets", seconds(60), |sim| sim.outcome(0).is_some());
        let at_its_end = taken(&sim);
        sim.run_to_the_end(seconds(60));
        sim.run_for(seconds(10));
        // The module may answer the last send when the client is gone.
        let counted: u64 = sim.relay.take_moved().iter().map(|(_, moved)| moved.up_bytes).sum();
        assert_eq!(counted, taken(&sim), "{mode:?}: the budget");
        let tunnel = sim.relay.tunnel_reports()[0].counters;
        assert_eq!(tunnel.up_bytes, taken(&sim), "{mode:?}: tunnels[].up_bytes");
        assert!(counted < 20_000, "{mode:?}: {counted}");
        let closing = format!(": {at_its_end} bytes up, 0 down, ");
        let lines = sim.logged();
        assert!(lines.iter().any(|line| line.contains(&closing)), "{mode:?}: {closing:?}: {lines:?}");
    }
}
