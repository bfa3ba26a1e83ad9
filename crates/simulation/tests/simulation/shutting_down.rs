//! Goal of this test: the shutdown is orderly. Clients are served to their end, and the modem is left as it was
//! found.

use qssl_core::Kind;
use qssl_core::at::IdSet;
use qssl_core::settings::{Mode, OpenOn};
use qssl_modem_emulator::network::simulated::{Behaviour, Opening};
use qssl_modem_emulator::{Registration, Sim};

use qssl_simulation::Outcome;
use qssl_simulation::wiring::{Connection, Fault, Leaves, Wiring, millis, seconds};

#[test]
fn clients_are_served_to_their_end() {
    for mode in [Mode::Push, Mode::Buffer, Mode::Transparent] {
        let connection = Connection::new(mode).far_end(Behaviour::source(200_000, 1));
        let mut sim = Wiring::new().uart(115_200).connect(connection).start();
        sim.run_for(seconds(8));
        sim.shutdown();
        sim.run_until("it stops", seconds(60), |sim| sim.stopped.is_some());
        assert_eq!(sim.stopped, Some(Kind::Done));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{mode:?}");
        assert_eq!(sim.clients[0].received.len(), 200_000);
        assert!(sim.modem.sockets_in_use().is_empty());
        assert!(!sim.modem.pdp_active(1), "we activated it");
    }
}

#[test]
fn whoever_does_not_end_in_time_is_reset() {
    for mode in [Mode::Push, Mode::Buffer, Mode::Transparent] {
        let mut sim = Wiring::new().uart(115_200).connect(Connection::new(mode)).start();
        sim.run_for(seconds(8));
        sim.shutdown();
        let took = sim.run_until("it stops", seconds(60), |sim| sim.stopped.is_some());
        assert_eq!(sim.stopped, Some(Kind::DrainTimeout));
        assert_eq!(sim.outcome(0), Some(Outcome::Reset));
        assert!(took >= seconds(30) && took < seconds(36), "{took:?}");
        assert!(sim.modem.sockets_in_use().is_empty(), "{mode:?}");
        assert!(!sim.modem.pdp_active(1), "{mode:?}");
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut sim = Wiring::new().connect(Connection::new(Mode::Push)).start();
    sim.run_for(seconds(8));
    sim.shutdown();
    sim.shutdown();
    assert_eq!(sim.stopped, Some(Kind::Signal(15)));
    assert_eq!(sim.outcome(0), Some(Outcome::Reset));
}

#[test]
fn a_data_session_that_was_there_before_us_stays() {
    let later = Connection::new(Mode::Push).at(seconds(100));
    let mut sim = Wiring::new().typed_before(b"AT+QIACT=1\r").connect(later).start();
    sim.run_until_ready();
    sim.shutdown();
    sim.run_until("it stops at once", seconds(1), |sim| sim.stopped.is_some());
    assert_eq!(sim.stopped, Some(Kind::Done));
    assert!(sim.modem.pdp_active(1));
    assert_eq!(sim.said("AT+QIDEACT"), 0);
}

#[test]
fn at_any_moment_of_the_set_up_it_stops_and_leaves_no_data_session_behind() {
    for ms in (0..3_000).step_by(31) {
        let wiring = Wiring::new().uart(115_200).modem(|modem| modem.activation_latency = seconds(1));
        let later = Connection::new(Mode::Push).at(seconds(100));
        let mut sim = wiring.connect(later).fault(millis(ms), Fault::Shutdown).start();
        sim.run_until("it stops", seconds(60), |sim| sim.stopped.is_some());
        sim.run_for(seconds(5));
        assert!(!sim.modem.pdp_active(1), "after {ms} ms");
    }
}

#[test]
fn an_open_that_hangs_keeps_nothing_from_stopping_in_time() {
    for mode in [Mode::Push, Mode::Buffer, Mode::Transparent] {
        for (leaves, limit) in [(Leaves::After(seconds(2)), seconds(2)), (Leaves::Never, seconds(35))] {
            let waits = Connection::new(mode).at(seconds(2)).opening(Opening::Never).leaves(leaves);
            let mut sim = Wiring::new().connect(waits).start();
            sim.run_for(seconds(5));
            sim.shutdown();
            let took = sim.run_until("it stops", seconds(100), |sim| sim.stopped.is_some());
            // The open of a stream blocks its port, so no command can be sent there.
            let limit = if mode == Mode::Transparent { seconds(35) } else { limit };
            assert!(took <= limit, "{mode:?}, {leaves:?}: {took:?}");
            if mode != Mode::Transparent {
                assert!(sim.modem.sockets_in_use().is_empty(), "{mode:?}, {leaves:?}");
                assert!(!sim.modem.pdp_active(1), "{mode:?}, {leaves:?}");
            }
        }
    }
}

#[test]
fn a_module_that_closes_nothing_is_left_in_time_and_without_its_data_session() {
    for refuses_opening in [true, false] {
        let fault = if refuses_opening { Fault::NeverOpen } else { Fault::RefuseClosesUntilBoot };
        let wiring = Wiring::new().modem(|modem| modem.quirks.close_of_opening_refused = refuses_opening);
        let mut sim =
            wiring.connect(Connection::new(Mode::Push).at(seconds(2))).fault(seconds(1), fault).start();
        sim.run_for(seconds(8));
        sim.shutdown();
        let took = sim.run_until("it stops", seconds(100), |sim| sim.stopped.is_some());
        assert!(took <= seconds(35), "{took:?}");
        assert!(!sim.modem.pdp_active(1));
    }
}

/// It was waited for until the time for draining was over, though no client was left.
#[test]
fn a_connection_that_the_module_does_not_close_delays_nothing_once_its_client_has_left() {
    let fetches = Connection::new(Mode::Push).at(seconds(2)).far_end(Behaviour::source(5_000, 1));
    let mut sim = Wiring::new().connect(fetches).fault(seconds(1), Fault::RefuseClosesUntilBoot).start();
    sim.run_for(seconds(20));
    assert!(!sim.modem.sockets_in_use().is_empty(), "its close is refused");
    sim.shutdown();
    sim.run_until("it stops", seconds(5), |sim| sim.stopped.is_some());
    assert_eq!(sim.stopped, Some(Kind::Done));
    assert!(!sim.modem.pdp_active(1));
}

#[test]
fn a_client_that_stays_after_its_end_delays_nothing() {
    for mode in [Mode::Push, Mode::Buffer, Mode::Transparent] {
        let stays = Connection::new(mode).far_end(Behaviour::source(1_000, 1)).leaves(Leaves::Never);
        let mut sim = Wiring::new().uart(115_200).connect(stays).start();
        sim.run_until("its end", seconds(60), |sim| sim.clients[0].shut);
        sim.run_for(millis(500));
        sim.shutdown();
        let took = sim.run_until("it stops", seconds(60), |sim| sim.stopped.is_some());
        assert!(took < seconds(4), "{mode:?}: {took:?}");
        assert_eq!((sim.stopped, sim.outcome(0)), (Some(Kind::Done), Some(Outcome::Eof)), "{mode:?}");
    }
}

/// Such a client once delayed the end by --shutdown-timeout, although nothing of it could ever be sent.
#[test]
fn a_client_that_only_waits_for_an_unusable_modem_delays_nothing() {
    let no_sim = Wiring::new().modem(|modem| modem.sim = Sim::Absent);
    let no_network = Wiring::new().modem(|modem| modem.registration = Registration::Denied);
    let no_port = Wiring::new().fault(millis(0), Fault::LosePort(0, seconds(1000)));
    let is_lost = Wiring::new().fault(seconds(30), Fault::LosePort(0, seconds(1000)));
    let is_silent = Wiring::new().fault(seconds(0), Fault::Stall(seconds(1000)));
    for (name, wiring) in [
        ("SIM", no_sim),
        ("network", no_network),
        ("port", no_port),
        ("lost", is_lost),
        ("silent", is_silent),
    ] {
        for open_on in [OpenOn::Accept, OpenOn::FirstByte] {
            let waits = Connection::new(Mode::Push).at(seconds(80)).limits(|limits| limits.open_on = open_on);
            let mut sim = wiring.clone().connect(waits.clone()).connect(waits).start();
            sim.run_for(seconds(90));
            assert_eq!(sim.outcome(0), None, "{name}, {open_on:?}: it waits");
            sim.shutdown();
            let took = sim.run_until("it stops", seconds(60), |sim| sim.stopped.is_some());
            assert!(took <= seconds(2), "{name}, {open_on:?}: {took:?}");
            assert_eq!(sim.stopped, Some(Kind::Done), "{name}, {open_on:?}");
            assert_eq!((sim.outcome(0), sim.outcome(1)), (Some(Outcome::Reset), Some(Outcome::Reset)));
        }
    }
}

#[test]
fn a_client_that_waits_for_another_to_end_is_served_before_the_end() {
    let busy = Connection::new(Mode::Push).at(seconds(8)).far_end(Behaviour::source(100_000, 1));
    let waits = busy.clone().at(seconds(9));
    let wiring = Wiring::new().uart(115_200).settings(|settings| settings.sockets = IdSet::first(1));
    let mut sim = wiring.connect(busy).connect(waits).start();
    sim.run_for(seconds(10));
    assert_eq!((sim.outcome(0), sim.outcome(1)), (None, None));
    sim.shutdown();
    sim.run_until("it stops", seconds(60), |sim| sim.stopped.is_some());
    assert_eq!((sim.outcome(0), sim.outcome(1)), (Some(Outcome::Eof), Some(Outcome::Eof)));
}

/// After the loss, the waiting clients have no modem.
#[test]
fn a_modem_that_is_lost_while_clients_are_served_to_their_end_delays_nothing() {
    let busy = Connection::new(Mode::Push).at(seconds(2));
    let waits = busy.clone().at(seconds(5));
    let wiring = Wiring::new().settings(|settings| settings.sockets = IdSet::first(1));
    let wiring = wiring.connect(busy).connect(waits).fault(seconds(15), Fault::LosePort(0, seconds(1000)));
    let mut sim = wiring.start();
    sim.run_for(seconds(10));
    sim.shutdown();
    let took = sim.run_until("it stops", seconds(60), |sim| sim.stopped.is_some());
    assert!(took <= seconds(7), "{took:?}");
    assert_eq!((sim.outcome(0), sim.outcome(1)), (Some(Outcome::Reset), Some(Outcome::Reset)));
}
