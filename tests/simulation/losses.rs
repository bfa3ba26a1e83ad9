//! Goal of this test: when modem, data session or port are lost, every client hears so, and work goes on after.

use std::time::Duration;

use qssl_modem_emulator::network::simulated::Behaviour;
use qssl_tunnel::config::Mode;

use crate::harness::Outcome;
use crate::harness::wiring::{Connection, Fault, Sends, Wiring, millis, seconds};

const MODES: [Mode; 3] = [Mode::Push, Mode::Buffer, Mode::Transparent];

/// A transfer both ways, a fault in its middle, and a connection afterwards.
fn survives(mode: Mode, fault: Fault) {
    let busy = Connection::new(mode).sends(Sends::Pattern(2_000_000)).far_end(Behaviour::echo());
    let later = Connection::new(mode).at(seconds(60)).far_end(Behaviour::source(10_000, 2));
    let name = format!("{mode:?}, {fault:?}");
    let mut sim =
        Wiring::new().uart(115_200).connect(busy).connect(later).fault(millis(8_123), fault).start();
    sim.run_until("the client hears of it", seconds(60), |sim| sim.outcome(0).is_some());
    assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{name}");
    sim.run_to_the_end(seconds(200));
    assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{name}");
}

#[test]
fn a_reboot_in_the_middle_of_a_transfer() {
    for mode in MODES {
        survives(mode, Fault::Reboot);
    }
}

#[test]
fn a_reboot_that_says_so() {
    for mode in MODES {
        survives(mode, Fault::OtherProgram(b"AT+CFUN=1,1\r".to_vec()));
    }
}

#[test]
fn a_data_session_that_is_lost() {
    for mode in MODES {
        survives(mode, Fault::DropPdp);
    }
}

#[test]
fn a_port_that_is_lost_and_comes_back() {
    for mode in MODES {
        survives(mode, Fault::LosePort(0, seconds(5)));
    }
}

#[test]
fn a_modem_that_stalls_for_longer_than_anybody_waits() {
    for mode in [Mode::Push, Mode::Buffer] {
        survives(mode, Fault::Stall(seconds(20)));
    }
}

#[test]
fn a_stall_that_is_shorter_than_the_patience_costs_nobody_anything() {
    for mode in MODES {
        let connection = Connection::new(mode).far_end(Behaviour::source(200_000, 1));
        let mut sim = Wiring::new()
            .uart(115_200)
            .connect(connection)
            .fault(seconds(7), Fault::Stall(seconds(4)))
            .start();
        sim.run_to_the_end(seconds(100));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{mode:?}");
    }
}

#[test]
fn a_loss_at_any_moment_of_the_set_up() {
    for ms in (0..2_000).step_by(53) {
        for fault in [Fault::Reboot, Fault::LosePort(0, seconds(2)), Fault::DropPdp] {
            let connection =
                Connection::new(Mode::Push).at(seconds(40)).far_end(Behaviour::source(10_000, 2));
            let mut sim = Wiring::new()
                .uart(115_200)
                .connect(connection)
                .fault(Duration::from_millis(ms), fault)
                .start();
            sim.run_to_the_end(seconds(120));
            assert_eq!(sim.outcome(0), Some(Outcome::Eof));
        }
    }
}
