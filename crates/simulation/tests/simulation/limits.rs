//! Goal of this test: every limit of a tunnel ends the clients that it applies to, at its time, and no others.

use std::time::Duration;

use qssl_core::settings::{Mode, OpenOn};
use qssl_modem_emulator::network::simulated::{Behaviour, Ends, Opening, Says};

use qssl_simulation::wiring::{Connection, Leaves, Sends, Wiring, millis, seconds};
use qssl_simulation::{Outcome, Simulation};

const MODES: [Mode; 3] = [Mode::Push, Mode::Buffer, Mode::Transparent];

fn lived(sim: &Simulation, client: usize) -> Option<Duration> {
    let actor = &sim.clients[client];
    Some(actor.ended_at? - actor.accepted_at()?)
}

/// Asserts that the client was reset at this age, or not more than a second later.
#[track_caller]
fn assert_reset_at(sim: &Simulation, client: usize, age: Duration) {
    assert_eq!(sim.outcome(client), Some(Outcome::Reset), "client {client}");
    let lived = lived(sim, client).expect("it ended");
    assert!(lived >= age && lived <= age + seconds(1), "client {client}: {lived:?}");
}

/// One byte per second, and its echo.
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

/// A handshake takes up to 15 s on real modules. With a shorter limit every client was reset as soon as it was served.
#[test]
fn a_client_that_waits_for_its_connection_is_not_idle() {
    for mode in MODES {
        let client = Connection::new(mode).opening(Opening::Opens(seconds(12)));
        let client = client.far_end(Behaviour::source(1_000, 1));
        let mut sim = Wiring::new().connect(client.limits(|limits| limits.idle_timeout = seconds(5))).start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{mode:?}");
        sim.assert_complete(0);
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
    let greeting = qssl_simulation::wiring::Fault::Say(0, b"220 hello".to_vec());
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

#[test]
fn an_upload_that_moves_is_not_idle_however_seldom_more_is_taken_of_its_client() {
    for mode in [Mode::Push, Mode::Buffer] {
        let uploads = Connection::new(mode).at(seconds(2)).sends(Sends::Pattern(80_000));
        let far = Behaviour { ends: Ends::AfterReading(80_000), ..Behaviour::sink() };
        let uploads = uploads.far_end(far).limits(|limits| limits.idle_timeout = seconds(10));
        let mut sim = Wiring::new().uart(115_200).connect_many(12, &uploads).start();
        sim.run_to_the_end(seconds(300));
        for client in 0..12 {
            assert_eq!(sim.outcome(client), Some(Outcome::Eof), "{mode:?}, client {client}");
            sim.assert_complete(client);
        }
    }
}

#[test]
fn the_rest_of_an_upload_goes_out_before_a_half_close_counts() {
    for mode in MODES {
        let says = Says::Reply { request_bytes: 30_000, response_bytes: 1_000, after: seconds(3), seed: 2 };
        let far = Behaviour { says, ends: Ends::AfterSaying(1_000), ..Behaviour::sink() };
        let client = Connection::new(mode).at(seconds(2)).sends(Sends::Pattern(30_000));
        let client = client.far_end(far).leaves(Leaves::HalfCloses);
        let client = client.limits(|limits| limits.half_close_timeout = seconds(5));
        let mut sim = Wiring::new().uart(9_600).connect(client).start();
        sim.run_to_the_end(seconds(120));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{mode:?}");
        sim.assert_complete(0);
    }
}

#[test]
fn a_half_closed_client_of_whom_nothing_is_taken_any_more_is_reset() {
    for mode in [Mode::Push, Mode::Buffer] {
        let deaf = Connection::new(mode).at(seconds(2)).sends(Sends::Pattern(200_000));
        let mut deaf = deaf.far_end(Behaviour::deaf()).leaves(Leaves::HalfClosesAfter(seconds(1)));
        // Modem and core can hold all of this, so that the client can half-close.
        deaf.client.sends = Sends::Pattern(60_000);
        deaf.window_bytes = 20_000;
        let mut sim = Wiring::new().modem(|modem| modem.send_buffer_bytes = 20_000).connect(deaf).start();
        sim.run_to_the_end(seconds(300));
        assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{mode:?}");
    }
}

#[test]
fn every_socket_ends_at_once_when_all_are_too_old() {
    for mode in [Mode::Push, Mode::Buffer] {
        let old = chatting(mode).limits(|limits| limits.lifetime = seconds(60));
        let young = chatting(mode).at(seconds(90)).limits(|limits| limits.lifetime = seconds(60));
        let mut sim = Wiring::new().connect_many(12, &old).connect_many(12, &young).start();
        sim.run_for(seconds(110));
        (0..12).for_each(|client| assert_reset_at(&sim, client, seconds(60)));
        for client in 12..24 {
            assert_eq!(sim.outcome(client), None, "{mode:?}, client {client}");
            assert!(sim.clients[client].received.len() > 10, "{mode:?}, client {client} is served");
        }
        sim.run_to_the_end(seconds(120));
    }
}
