//! Goal of this test: opens run in parallel, are repeated where that helps, and fail so that the client notices.

use qssl_core::at::IdSet;
use qssl_core::settings::{Mode, WhenFull};
use qssl_modem_emulator::network::OpenFailure;
use qssl_modem_emulator::network::simulated::{Behaviour, Opening};

use qssl_simulation::Outcome;
use qssl_simulation::wiring::{Connection, Fault, Leaves, Sends, Wiring, millis, seconds};

fn fetches() -> Connection {
    Connection::new(Mode::Push).far_end(Behaviour::source(2_000, 5))
}

#[test]
fn a_refused_open_is_a_reset() {
    let fails = Opening::Fails(millis(500), OpenFailure::Refused);
    let mut sim = Wiring::new().connect(fetches().opening(fails)).start();
    sim.run_to_the_end(seconds(30));
    assert_eq!(sim.outcome(0), Some(Outcome::Reset));
}

#[test]
fn an_open_that_is_refused_with_an_error_is_a_reset() {
    let quirks = |modem: &mut qssl_modem_emulator::Config| {
        modem.quirks.failed_open_keeps_socket = true;
        modem.quirks.used_socket_refused_at_once = true;
    };
    let fails = Opening::Fails(millis(500), OpenFailure::Dns);
    let mut sim = Wiring::new().modem(quirks).connect(fetches().opening(fails)).start();
    sim.run_to_the_end(seconds(30));
    assert_eq!(sim.outcome(0), Some(Outcome::Reset));
}

#[test]
fn an_open_of_which_nothing_is_heard_ends_at_the_connect_timeout_and_its_number_comes_back() {
    let connection = fetches().limits(|limits| limits.connect_timeout = seconds(20));
    let mut sim = Wiring::new()
        .connect(connection)
        .connect(fetches().at(seconds(40)))
        .fault(millis(0), Fault::NeverOpen)
        .start();
    let took = sim.run_until("it is reset", seconds(60), |sim| sim.outcome(0).is_some());
    assert_eq!(sim.outcome(0), Some(Outcome::Reset));
    assert!(took >= seconds(20) && took < seconds(23), "{took:?}");
    sim.run_to_the_end(seconds(60));
    assert_eq!(sim.outcome(1), Some(Outcome::Eof));
}

#[test]
fn an_open_that_a_reboot_cuts_off_counts_as_failed() {
    let slow = fetches().opening(Opening::Opens(seconds(30)));
    let mut sim = Wiring::new().connect(slow).fault(seconds(15), Fault::Reboot).start();
    sim.run_to_the_end(seconds(60));
    assert_eq!(sim.outcome(0), Some(Outcome::Reset));
    let counts = &sim.relay.modem().counters().open_failures;
    assert_eq!(counts.values().sum::<u64>(), 1, "{counts:?}");
}

#[test]
fn dns_busy_is_tried_once_more_alone() {
    let quirks = |modem: &mut qssl_modem_emulator::Config| {
        modem.quirks.dns_busy_beyond = Some(3);
        modem.open_latency = seconds(1);
    };
    let mut sim = Wiring::new().modem(quirks).connect_many(5, &fetches()).start();
    sim.run_to_the_end(seconds(60));
    for index in 0..5 {
        assert_eq!(sim.outcome(index), Some(Outcome::Eof), "client {index}");
    }
}

#[test]
fn operation_busy_is_tried_once_more_alone() {
    let quirks = |modem: &mut qssl_modem_emulator::Config| {
        modem.quirks.opens_busy_beyond = Some(2);
        modem.open_latency = millis(700);
    };
    let mut sim = Wiring::new().modem(quirks).connect_many(12, &fetches()).start();
    sim.run_to_the_end(seconds(60));
    for index in 0..12 {
        assert_eq!(sim.outcome(index), Some(Outcome::Eof), "client {index}");
    }
}

#[test]
fn a_number_that_is_taken_is_closed_and_tried_once_more() {
    let mut sim =
        Wiring::new().connect(fetches().at(seconds(5))).fault(seconds(4), Fault::FailOpen(563)).start();
    sim.run_to_the_end(seconds(60));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    assert_eq!(sim.said("AT+QSSLOPEN"), 2);
    let mut twice = Wiring::new()
        .connect(fetches().at(seconds(5)))
        .fault(seconds(4), Fault::FailOpen(563))
        .fault(seconds(4), Fault::FailOpen(563))
        .start();
    twice.run_to_the_end(seconds(60));
    assert_eq!(twice.outcome(0), Some(Outcome::Reset), "once more, and no more");
}

#[test]
fn the_result_of_an_open_may_come_in_any_shape() {
    for quirk in ["open_result_before_ok", "open_result_without_empty_line", "open_result_on_urc_port"] {
        for mode in [Mode::Push, Mode::Buffer] {
            let mut wiring = Wiring::new().connect(Connection { mode, ..fetches() });
            assert!(wiring.modem.quirks.set(quirk, true));
            let mut sim = wiring.start();
            sim.run_to_the_end(seconds(60));
            assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{quirk}");
        }
    }
}

#[test]
fn a_client_that_leaves_while_its_socket_opens_gives_it_back_when_the_modem_has_answered() {
    let leaves = [Leaves::After(millis(500)), Leaves::ResetsAfter(millis(500)), Leaves::WhenSent];
    for how in leaves {
        let connection = fetches().sends(Sends::Pattern(10)).leaves(how);
        let mut sim =
            Wiring::new().modem(|modem| modem.open_latency = seconds(5)).connect(connection).start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.said("AT+QSSLCLOSE=0"), 1, "{how:?}");
    }
}

#[test]
fn where_all_sockets_are_busy_a_client_can_be_reset_at_once() {
    let busy = Connection::new(Mode::Push);
    let late = fetches().at(seconds(10)).limits(|limits| limits.when_full = WhenFull::Reset);
    let mut sim = Wiring::new().connect_many(12, &busy).connect(late).start();
    sim.run_until("it is reset", seconds(12), |sim| sim.outcome(12).is_some());
    assert_eq!(sim.outcome(12), Some(Outcome::Reset));
}

/// After 566, `connect` tries a plain connection.
#[test]
fn the_cause_of_a_failed_open_is_looked_for_by_a_number_that_is_ours_and_free() {
    let only = |number| {
        let mut ours = IdSet::empty();
        ours.insert(number);
        ours
    };
    // Where the module shows what is in use, and where it does not.
    let cases = [
        (IdSet::first(12), &["AT+QIOPEN=1,10,"][..], &["AT+QIOPEN=1,11,", "AT+QIOPEN=1,10,"][..]),
        (IdSet::first(4), &["AT+QIOPEN=1,2,"], &["AT+QIOPEN=1,3,", "AT+QIOPEN=1,2,"]),
        (only(5), &["AT+QIOPEN=1,5,"], &["AT+QIOPEN=1,5,"]),
        (only(3), &[], &["AT+QIOPEN=1,3,"]),
    ];
    let cases = cases
        .into_iter()
        .flat_map(|(ours, shown, hidden)| [(ours, false, shown), (ours, true, hidden)])
        .flat_map(|case| [(case, false), (case, true)]);
    for ((ours, is_hidden, tried), is_at_once) in cases {
        let refused = Opening::Fails(seconds(1), OpenFailure::Refused);
        let quirks = |modem: &mut qssl_modem_emulator::Config| {
            modem.quirks.used_socket_refused_at_once = is_at_once;
            modem.quirks.plain_sockets_unlisted = is_hidden;
        };
        let wiring = failing(refused).modem(quirks).settings(|modem| modem.sockets = ours);
        let mut sim = wiring
            .typed_before(b"AT+QIACT=1\r")
            .typed_before(b"AT+QIOPEN=1,3,\"TCP\",\"elsewhere.example\",443,0,1\r")
            .typed_before(b"AT+QIOPEN=1,11,\"TCP\",\"elsewhere.example\",443,0,1\r")
            .start();
        sim.run_until("the process ends", seconds(60), |sim| sim.stopped.is_some());
        assert_eq!(sim.modem.plain_sockets_in_use(), [3, 11], "{tried:?}: they are another program's");
        assert_eq!(sim.said("AT+QIOPEN="), tried.len(), "{tried:?}");
        assert!(tried.iter().all(|open| sim.said(open) == 1), "{tried:?}");
    }
}

/// A process with one client, as `connect`, to a server to which connections are opened in this way.
fn failing(opening: Opening) -> Wiring {
    let mut wiring = Wiring::new().connect(Connection::new(Mode::Push).at(seconds(5)).opening(opening));
    wiring.is_single = true;
    wiring
}

/// The plain connection that is tried after 566 may come to be when nobody waits for it any more. It once stayed open.
#[test]
fn a_connection_that_comes_to_be_too_late_is_closed() {
    let opens = |time| failing(Opening::Opens(time)).fault(seconds(4), Fault::FailOpen(566));
    let keeps_opening = |wiring: Wiring| wiring.modem(|modem| modem.quirks.close_of_opening_refused = true);
    let mut leaves = opens(seconds(60));
    leaves.connections[0].client.leaves = Leaves::After(seconds(8));
    for (name, wiring, closes, outcome) in [
        ("in time", opens(seconds(3)), 1, Outcome::Reset),
        ("later than anybody waits", opens(seconds(60)), 1, Outcome::Reset),
        ("the client has left", leaves, 1, Outcome::Left),
        ("it cannot be closed while it is opened", keeps_opening(opens(seconds(23))), 2, Outcome::Reset),
    ] {
        let mut sim = wiring.start();
        sim.run_until("the process ends", seconds(60), |sim| sim.stopped.is_some());
        assert_eq!(sim.outcome(0), Some(outcome), "{name}");
        assert_eq!((sim.said("AT+QIOPEN="), sim.said("AT+QICLOSE=")), (1, closes), "{name}");
        assert_eq!(sim.modem.plain_sockets_in_use(), [0_u8; 0], "{name}");
    }
}
