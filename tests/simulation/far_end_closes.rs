//! Goal of this test: an end is given only when nothing speaks against it, at whatever moment it comes.

use std::time::Duration;

use qssl_modem_emulator::network::simulated::{Behaviour, Ending, Ends, Says};
use qssl_tunnel::config::{Mode, OnClosed};

use crate::harness::Outcome;
use crate::harness::wiring::{Connection, Fault, Sends, Wiring, millis, seconds};

const MODES: [Mode; 2] = [Mode::Push, Mode::Buffer];

#[test]
fn strict_users_get_a_reset_for_every_closed() {
    for mode in MODES {
        let connection = Connection::new(mode)
            .far_end(Behaviour::source(1_000, 1))
            .limits(|limits| limits.on_closed = OnClosed::Reset);
        let mut sim = Wiring::new().connect(connection).start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.outcome(0), Some(Outcome::Reset));
        assert_eq!(sim.clients[0].received.len(), 1_000, "and every byte that came before it");
    }
}

#[test]
fn closed_and_a_lost_data_session_is_a_reset() {
    for mode in MODES {
        let connection = Connection::new(mode).far_end(Behaviour::source(1_000_000, 1));
        let mut sim =
            Wiring::new().uart(115_200).connect(connection).fault(seconds(6), Fault::DropPdp).start();
        sim.run_until("the client ends", seconds(60), |sim| sim.outcome(0).is_some());
        assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{mode:?}");
        sim.run_until("the session is back", seconds(120), |sim| sim.relay.modem().is_up());
    }
}

#[test]
fn closed_that_comes_before_the_loss_is_told_is_a_reset() {
    // The modem says `closed` for every socket, and of the data session only when asked.
    let connection = Connection::new(Mode::Push).far_end(Behaviour::source(1_000_000, 1));
    let mut sim = Wiring::new()
        .uart(115_200)
        .connect(connection)
        .fault(millis(5_999), Fault::CutUrcHead(12))
        .fault(seconds(6), Fault::DropPdp)
        .start();
    sim.run_until("the client ends", seconds(60), |sim| sim.outcome(0).is_some());
    assert_eq!(sim.outcome(0), Some(Outcome::Reset));
}

#[test]
fn a_far_end_that_closes_at_any_moment_of_an_exchange_leaves_nobody_hanging() {
    for mode in MODES {
        for ms in (0..400).step_by(7) {
            let says = Says::Drip { bytes: 700, every: millis(11), total: 1_000_000, seed: 3 };
            let far = Behaviour { says, ends: Ends::After(millis(ms)), ..Behaviour::sink() };
            let connection = Connection::new(mode).sends(Sends::Pattern(100_000)).far_end(far);
            let mut sim =
                Wiring::new().modem(|modem| modem.send_latency = millis(5)).connect(connection).start();
            sim.run_to_the_end(seconds(60));
        }
    }
}

#[test]
fn the_same_with_a_cut() {
    for mode in MODES {
        for ms in (0..400).step_by(13) {
            let says = Says::Drip { bytes: 700, every: millis(11), total: 1_000_000, seed: 3 };
            let far =
                Behaviour { says, ends: Ends::After(millis(ms)), how: Ending::Cut, ..Behaviour::sink() };
            let connection = Connection::new(mode).sends(Sends::Pattern(100_000)).far_end(far);
            let mut sim = Wiring::new().uart(115_200).connect(connection).start();
            sim.run_to_the_end(seconds(60));
        }
    }
}

#[test]
fn a_close_that_the_modem_refuses_is_no_end() {
    let connection = Connection::new(Mode::Push).far_end(Behaviour::source(1_000, 1));
    let mut sim = Wiring::new().connect(connection).fault(Duration::ZERO, Fault::RefuseCloses(1)).start();
    sim.run_to_the_end(seconds(120));
    assert_eq!(sim.outcome(0), Some(Outcome::Reset));
}

#[test]
fn several_far_ends_that_close_at_once_are_judged_together() {
    let far = Behaviour { ends: Ends::AfterSaying(5_000), ..Behaviour::source(5_000, 1) };
    let connection = Connection::new(Mode::Push).far_end(far);
    let mut sim = Wiring::new().connect_many(12, &connection).start();
    sim.run_to_the_end(seconds(60));
    for index in 0..12 {
        assert_eq!(sim.outcome(index), Some(Outcome::Eof), "client {index}");
    }
}
