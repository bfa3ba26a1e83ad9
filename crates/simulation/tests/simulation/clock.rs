//! Goal of this test: where dates are checked, the modem's clock is set right before the first connection, from the
//! network's time or the host's, and none of that takes too long.

use std::time::Duration;

use qssl_core::at::AtText;
use qssl_core::settings::{Authentication, Mode, Pem};
use qssl_modem_emulator::TimeService;
use qssl_modem_emulator::network::simulated::Behaviour;

use qssl_simulation::wiring::{Connection, Fault, Wiring, millis, seconds};
use qssl_simulation::{HOST_CLOCK, Outcome, Simulation};

/// A modem whose clock was never set, and a tunnel that checks dates.
fn unset() -> Wiring {
    let mut wiring = Wiring::new().modem(|modem| modem.clock = None);
    wiring.tls.check_time = Some(true);
    wiring.connect(Connection::new(Mode::Push).far_end(Behaviour::source(1_000, 3)))
}

fn with_time_server(change: impl FnOnce(&mut qssl_modem_emulator::Config)) -> Wiring {
    let server = AtText::new("time.example").expect("a name");
    unset().modem(change).settings(|settings| settings.ntp = Some(server))
}

/// Runs it, and returns how long the set-up took.
fn runs(wiring: &Wiring) -> (Simulation, Duration) {
    let mut sim = wiring.start();
    let took = sim.run_until_ready();
    let host_clock = HOST_CLOCK + sim.elapsed().as_secs() as i64;
    assert!(sim.modem.clock(sim.now).abs_diff(host_clock) <= 1, "the clock is right");
    sim.run_to_the_end(seconds(60));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    (sim, took)
}

#[test]
fn the_host_sets_it() {
    let (sim, _) = runs(&unset());
    assert_eq!(sim.said("AT+CCLK="), 1);
    // Where no dates are checked, the clock is not read.
    let mut careless = unset();
    careless.tls.check_time = Some(false);
    let mut sim = careless.start();
    sim.run_until_ready();
    assert_eq!(sim.said("AT+CCLK"), 0);
}

#[test]
fn the_network_sets_it_once_its_answer_has_come() {
    for latency in [Duration::ZERO, millis(700), seconds(9)] {
        let (sim, took) = runs(&with_time_server(|modem| modem.time_latency = latency));
        assert_eq!((sim.said("AT+QNTP=1,\"time.example\""), sim.said("AT+CCLK=")), (1, 0));
        assert!(took >= latency && took < latency + seconds(10), "{latency:?}: {took:?}");
    }
}

#[test]
fn the_host_sets_it_where_the_network_does_not() {
    let fails = |modem: &mut qssl_modem_emulator::Config| modem.time_service = TimeService::Fails;
    let (sim, took) = runs(&with_time_server(fails));
    assert_eq!((sim.said("AT+QNTP"), sim.said("AT+CCLK=")), (1, 1));
    assert!(took < seconds(10), "{took:?}");

    let silent = |modem: &mut qssl_modem_emulator::Config| modem.time_service = TimeService::Silent;
    let (sim, took) = runs(&with_time_server(silent));
    assert_eq!((sim.said("AT+QNTP"), sim.said("AT+CCLK=")), (1, 1));
    assert!(took > seconds(15) && took < seconds(25), "{took:?}");

    // It comes too late for any client.
    let late = |modem: &mut qssl_modem_emulator::Config| modem.time_latency = seconds(20);
    let (sim, _) = runs(&with_time_server(late));
    assert_eq!((sim.said("AT+QNTP"), sim.said("AT+CCLK=")), (1, 1));
}

#[test]
fn of_two_plausible_clocks_the_later_wins() {
    const YEAR: i64 = 365 * 86_400;
    for (ahead, set) in [(YEAR, 0), (-YEAR, 1)] {
        let mut sim = unset().modem(|modem| modem.clock = Some(HOST_CLOCK + ahead)).start();
        sim.run_until_ready();
        assert_eq!(sim.said("AT+CCLK="), set, "{ahead}");
        let expected = HOST_CLOCK + ahead.max(0);
        assert!(sim.modem.clock(sim.now).abs_diff(expected) <= 2, "{ahead}");
    }
}

#[test]
fn a_jump_of_the_hosts_clock_is_noticed() {
    let mut sim = unset().start();
    sim.run_until_ready();
    sim.run_for(seconds(10));
    sim.host_clock_ahead = 86_400;
    sim.run_for(seconds(120));
    let host_clock = HOST_CLOCK + 86_400 + sim.elapsed().as_secs() as i64;
    assert!(sim.modem.clock(sim.now).abs_diff(host_clock) <= 1);
}

/// With the wrong clock, the certificates of all servers are refused.
#[test]
fn a_clock_that_another_program_has_changed_is_set_right_when_an_open_fails() {
    for code in [566, 552] {
        let root = Pem { source: "root.pem".to_owned(), bytes: b"the root".to_vec() };
        let mut wiring = unset().connect(Connection::new(Mode::Push).at(seconds(40)));
        wiring.tls.authentication = Authentication::Authorities(vec![root]);
        let changes = Fault::OtherProgram(b"AT+CCLK=\"20/01/01,00:00:00+00\"\r".to_vec());
        let mut sim = wiring.fault(seconds(20), changes).fault(seconds(30), Fault::FailOpen(code)).start();
        sim.run_for(seconds(45));
        assert_eq!(sim.outcome(1), Some(Outcome::Reset), "{code}");
        let host_clock = HOST_CLOCK + sim.elapsed().as_secs() as i64;
        assert!(sim.modem.clock(sim.now).abs_diff(host_clock) <= 1, "{code}");
    }
}
