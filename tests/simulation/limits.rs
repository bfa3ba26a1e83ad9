//! Goal of this test: every limit of a tunnel ends the clients that it is for, at its time, and no others.

use std::time::Duration;

use qssl_modem_emulator::network::simulated::Behaviour;
use qssl_tunnel::config::{Mode, OpenOn};

use crate::harness::wiring::{Connection, Leaves, Sends, Wiring, millis, seconds};
use crate::harness::{Outcome, Simulation};

const MODES: [Mode; 3] = [Mode::Push, Mode::Buffer, Mode::Transparent];

fn lived(sim: &Simulation, client: usize) -> Option<Duration> {
    let actor = &sim.clients[client];
    Some(actor.ended_at? - actor.accepted_at()?)
}

/// That the client was reset at this age, or not more than a second later.
#[track_caller]
fn assert_reset_at(sim: &Simulation, client: usize, age: Duration) {
    assert_eq!(sim.outcome(client), Some(Outcome::Reset), "client {client}");
    let lived = lived(sim, client).expect("it ended");
    assert!(lived >= age && lived <= age + seconds(1), "client {client}: {lived:?}");
}

/// A byte a second, and the same back.
fn chatting(mode: Mode) -> Connection {
    let sends = Sends::Drip { bytes: 1, every: seconds(1), total: 1_000_000 };
    Connection::new(mode).at(seconds(2)).sends(sends).far_end(Behaviour::echo())
}

#[test]
fn a_connection_that_is_too_old_is_reset_however_busy_it_is() {
    for mode in MODES {
        let old = chatting(mode).limits(|limits| limits.lifetime = seconds(90));
        let mut sim = Wiring::new().connect(old).start();
        sim.run_for(seconds(120));
        assert_reset_at(&sim, 0, seconds(90));
    }
}

#[test]
fn only_a_connection_on_which_nothing_moves_is_idle() {
    for mode in [Mode::Push, Mode::Buffer] {
        let busy = chatting(mode).limits(|limits| limits.idle_timeout = seconds(30));
        let idle = Connection::new(mode).at(seconds(2)).limits(|limits| limits.idle_timeout = seconds(30));
        let mut sim = Wiring::new().connect(busy).connect(idle).start();
        sim.run_for(seconds(300));
        assert_eq!(sim.outcome(0), None, "it goes on");
        assert_reset_at(&sim, 1, seconds(30));
    }
}

#[test]
fn a_client_that_sends_nothing_is_reset_whenever_its_connection_is_opened() {
    for open_on in [OpenOn::Accept, OpenOn::FirstByte] {
        let limited = |connection: Connection| {
            connection.limits(|limits| {
                limits.first_byte_timeout = seconds(10);
                limits.open_on = open_on;
            })
        };
        let silent = limited(Connection::new(Mode::Push).at(seconds(2)));
        let late = vec![(seconds(9), b"just in time".to_vec())];
        let late = limited(Connection::new(Mode::Push).at(seconds(2)).sends(Sends::Steps(late)));
        let mut sim = Wiring::new().connect(silent).connect(late).start();
        sim.run_for(seconds(100));
        assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{open_on:?}");
        assert!(lived(&sim, 0).is_some_and(|time| time >= seconds(10) && time < seconds(12)), "{open_on:?}");
        assert_eq!(sim.outcome(1), None, "{open_on:?}: it goes on");
        assert_eq!(sim.fars[1].memory().read, b"just in time");
    }
}

#[test]
fn a_server_that_speaks_first_does_not_save_a_client_that_never_does() {
    let connection = Connection::new(Mode::Push).at(seconds(2)).far_end(Behaviour::echo());
    let connection = connection.limits(|limits| limits.first_byte_timeout = seconds(10));
    let greeting = crate::harness::wiring::Fault::Say(0, b"220 hello".to_vec());
    let mut sim = Wiring::new().connect(connection).fault(seconds(9), greeting).start();
    sim.run_for(seconds(100));
    assert_eq!((sim.outcome(0), sim.clients[0].received.len()), (Some(Outcome::Reset), 9));
}

#[test]
fn a_port_scan_costs_no_handshake_where_opening_waits_for_the_first_byte() {
    let patient = |connection: Connection| connection.limits(|limits| limits.open_on = OpenOn::FirstByte);
    let scan = patient(Connection::new(Mode::Push).leaves(Leaves::After(millis(1))));
    let client = Connection::new(Mode::Push).at(seconds(20)).sends(Sends::Pattern(5_000));
    let client = patient(client.far_end(Behaviour::echo()).leaves(Leaves::WhenRead(5_000)));
    let mut wiring = Wiring::new().connect(client);
    for turn in 0..50 {
        wiring = wiring.connect(scan.clone().at(seconds(2) + millis(100) * turn));
    }
    let mut sim = wiring.start();
    sim.run_for(seconds(19));
    assert_eq!(sim.said("AT+QSSLOPEN"), 0);
    sim.run_to_the_end(seconds(60));
    assert_eq!((sim.said("AT+QSSLOPEN"), sim.clients[0].received.len()), (1, 5_000));
}
