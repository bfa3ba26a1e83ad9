//! Goal of this test: a lost answer is noticed in time, whatever else comes in meanwhile, and a pause of the
//! line harms no client.

use std::time::Duration;

use qssl_core::settings::Mode;
use qssl_modem_emulator::network::simulated::{Behaviour, Ends, Says};

use qssl_simulation::Outcome;
use qssl_simulation::wiring::{Connection, Fault, Reads, Sends, Wiring, millis, seconds};

/// A server that sends more than the line can carry, for as long as its client reads.
fn endless() -> Connection {
    let says = Says::Drip { bytes: 4_000, every: millis(100), total: 1_000_000_000, seed: 1 };
    let far = Behaviour { says, ends: Ends::Never, ..Behaviour::sink() };
    Connection::new(Mode::Push).far_end(far)
}

fn downloads(bytes: u64) -> Connection {
    Connection::new(Mode::Push).far_end(Behaviour::source(bytes, 7))
}

fn uploads(bytes: u64) -> Connection {
    let far = Behaviour { ends: Ends::AfterReading(bytes), ..Behaviour::sink() };
    Connection::new(Mode::Push).sends(Sends::Pattern(bytes)).far_end(far)
}

#[test]
fn a_lost_result_is_noticed_while_payload_is_pushed_without_a_pause() {
    let usb = Wiring::new();
    let uart = Wiring::new().uart(115_200);
    for (wiring, name) in [(usb, "USB"), (uart, "UART")] {
        let mut sim = wiring
            .connect(endless())
            .connect(downloads(1_000).at(seconds(20)))
            .connect(downloads(1_000).at(seconds(30)))
            .fault(millis(19_900), Fault::LoseResults(1))
            .start();
        sim.run_for(seconds(90));
        assert_eq!(sim.outcome(2), Some(Outcome::Eof), "{name}: a new client is served");
        assert!(sim.seen().given_up > 0, "{name}: the command was given up");
    }
}

#[test]
fn a_pause_inside_pushed_payload_costs_nothing() {
    for pause in [1, 3, 6, 12] {
        for moment in (5_000..5_200).step_by(20).map(millis) {
            let wiring = Wiring::new().uart(115_200).connect(downloads(100_000));
            let mut sim = wiring.fault(moment, Fault::HoldLine(0, seconds(pause))).start();
            sim.run_to_the_end(seconds(60));
            assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{pause} s at {moment:?}");
            sim.assert_complete(0);
        }
    }
}

#[test]
fn a_reboot_inside_pushed_payload_is_heard_however_quick_it_is() {
    for boot_time in [700, 1_500, 3_000, 10_000].map(millis) {
        for moment in (5_000..5_200).step_by(20).map(millis) {
            let mut sim = Wiring::new()
                .uart(115_200)
                .modem(|modem| modem.boot_time = boot_time)
                .connect(downloads(200_000))
                .connect(downloads(1_000).at(seconds(40)))
                .fault(moment, Fault::Reboot)
                .start();
            sim.run_to_the_end(seconds(100));
            let outcomes = [sim.outcome(0), sim.outcome(1)];
            assert_eq!(outcomes, [Some(Outcome::Reset), Some(Outcome::Eof)], "{boot_time:?} at {moment:?}");
            let words = sim.clients[0].received.windows(3).any(|window| window == b"RDY");
            assert!(!words, "{boot_time:?} at {moment:?}: the words of the modem are no payload");
            let log = sim.logged().join("\n");
            assert!(log.contains("the modem rebooted; every connection is reset"), "{log}");
        }
    }
}

/// What the modem had sent before it booted comes with the rest that was held, and ends in the middle of a payload. What
/// it answers then is none of it.
#[test]
fn a_reboot_while_the_line_is_held_up_adds_nothing_to_payload() {
    for moment in (5_000..5_400).step_by(20).map(millis) {
        let mut sim = Wiring::new()
            .uart(115_200)
            .modem(|modem| modem.quirks.boots_silently = true)
            .connect(downloads(200_000))
            .connect(downloads(200_000))
            .connect(uploads(200_000))
            // Its open shows that there is no data session any more.
            .connect(downloads(1_000).at(seconds(60)))
            .connect(downloads(1_000).at(seconds(90)))
            .fault(moment, Fault::HoldLine(0, seconds(11)))
            .fault(moment + seconds(4), Fault::Reboot)
            .start();
        sim.run_to_the_end(seconds(200));
        assert_eq!(sim.outcome(0), Some(Outcome::Reset), "held at {moment:?}");
        assert_eq!(sim.outcome(4), Some(Outcome::Eof), "held at {moment:?}");
    }
}

#[test]
fn send_fail_that_is_followed_by_send_ok_is_not_sent_again() {
    for late in [0, 20, 200, 480].map(millis) {
        let mut wiring = Wiring::new().uart(115_200).connect(uploads(60_000)).connect(uploads(20_000));
        for round in 1..12u64 {
            wiring = wiring.fault(seconds(1) + millis(round * 600), Fault::SendFailsFor(late));
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(100));
        sim.assert_complete(0);
        sim.assert_complete(1);
    }
}

/// A modem that stands still at that time answers the question before it says what was due first.
#[test]
fn send_ok_that_is_held_up_with_the_modem_is_not_sent_again() {
    for stalls_after in (100..700).step_by(20).map(millis) {
        let mut wiring = Wiring::new().uart(115_200).connect(uploads(100_000));
        for round in 1..8 {
            let at = seconds(4 * round);
            wiring = wiring.fault(at, Fault::SendFailsFor(millis(480)));
            wiring = wiring.fault(at + stalls_after, Fault::Stall(millis(2_500)));
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(100));
        sim.assert_complete(0);
    }
}

#[test]
fn a_modem_may_take_as_long_to_answer_as_it_is_given() {
    for (command_timeout, resyncs) in [(seconds(5), 1), (seconds(30), 0)] {
        let drips = Sends::Drip { bytes: 10, every: seconds(1), total: 300 };
        let far = Behaviour { ends: Ends::AfterReading(300), ..Behaviour::echo() };
        let mut sim = Wiring::new()
            .settings(|settings| settings.command_timeout = command_timeout)
            .connect(Connection::new(Mode::Buffer).at(seconds(2)).sends(drips).far_end(far))
            .fault(seconds(10), Fault::DelayAnswer(seconds(9)))
            .start();
        sim.run_to_the_end(seconds(100));
        assert_eq!(sim.relay.modem().counters().resyncs, resyncs, "{command_timeout:?}");
    }
}

#[test]
fn an_open_that_is_refused_for_want_of_a_data_session_settles_whether_it_stands() {
    let idle = Connection::new(Mode::Push);
    let mut sim = Wiring::new()
        .connect(idle)
        .connect(downloads(1_000).at(seconds(30)))
        .connect(downloads(1_000).at(seconds(40)))
        .fault(seconds(20), Fault::LosePdpSilently)
        .start();
    sim.run_for(seconds(60));
    assert_eq!(sim.outcome(1), Some(Outcome::Reset), "the one that showed it");
    assert_eq!(sim.outcome(2), Some(Outcome::Eof), "the next one is served");
    assert_eq!(sim.outcome(0), Some(Outcome::Reset), "its connection is gone with the session");
}

/// A client that reads nothing until `until`, with `under_way` bytes in the modem.
fn asleep(under_way: usize, until: Duration) -> (Wiring, Connection) {
    let wiring = Wiring::new().modem(|modem| {
        modem.port_buffer_bytes = under_way;
        modem.command_latency = millis(20);
    });
    let mut slow = downloads(1_000_000).reads(Reads::After(until));
    slow.window_bytes = under_way;
    slow.client.buffer_bytes = 1_000;
    (wiring, slow)
}

#[test]
fn what_is_under_way_for_a_client_that_does_not_read_finds_room() {
    let (wiring, slow) = asleep(110_000, seconds(20));
    let mut sim = wiring.connect(slow).connect(downloads(10_000).at(seconds(5))).start();
    sim.run_until("its neighbour is served", seconds(8), |sim| sim.outcome(1) == Some(Outcome::Eof));
    sim.run_to_the_end(seconds(100));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    sim.assert_complete(0);
}

#[test]
fn a_client_for_whom_too_much_is_under_way_is_reset_alone() {
    let (wiring, slow) = asleep(400_000, seconds(20));
    let mut sim = wiring.connect(slow).connect(downloads(10_000).at(seconds(5))).start();
    sim.run_until("its neighbour is served", seconds(8), |sim| sim.outcome(1) == Some(Outcome::Eof));
    assert_eq!(sim.outcome(0), Some(Outcome::Reset));
}
