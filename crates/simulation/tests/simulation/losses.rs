//! Goal of this test: when the modem, the data session or a port is lost, every client ends, and later ones are served.

use std::time::Duration;

use qssl_core::at::AtText;
use qssl_core::settings::Mode;
use qssl_modem_emulator::PortName;
use qssl_modem_emulator::network::OpenFailure;
use qssl_modem_emulator::network::simulated::{Behaviour, Opening};

use qssl_simulation::wiring::{Connection, Fault, Sends, Wiring, millis, seconds};
use qssl_simulation::{Outcome, Simulation};

const MODES: [Mode; 3] = [Mode::Push, Mode::Buffer, Mode::Transparent];

/// A transfer both ways, a fault in its middle, and a connection afterwards.
fn survives(mode: Mode, fault: Fault) {
    let busy = Connection::new(mode).sends(Sends::Pattern(2_000_000)).far_end(Behaviour::echo());
    let later = Connection::new(mode).at(seconds(60)).far_end(Behaviour::source(10_000, 2));
    let name = format!("{mode:?}, {fault:?}");
    let mut sim = Wiring::new()
        .uart(115_200)
        .settings(|settings| settings.send_timeout = seconds(10))
        .connect(busy)
        .connect(later)
        .fault(millis(8_123), fault)
        .start();
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

/// From some time on, `recv` and `closed` leave by a port that is not read, as after an unnoticed reboot.
#[test]
fn words_that_leave_by_another_port_leave_no_client_waiting() {
    for (mode, outcome) in [(Mode::Push, Outcome::Reset), (Mode::Buffer, Outcome::Eof)] {
        let astray = Fault::OtherProgram(b"AT+QURCCFG=\"urcport\",\"usbat\"\r".to_vec());
        let fetches = |at| Connection::new(mode).at(seconds(at)).far_end(Behaviour::source(10_000, 2));
        let wiring = Wiring::new().uart(115_200).fault(seconds(20), astray);
        let mut sim = wiring.connect(fetches(40)).connect(fetches(200)).start();
        sim.run_until("the client hears of the end", seconds(150), |sim| sim.outcome(0).is_some());
        assert_eq!(sim.outcome(0), Some(outcome), "{mode:?}");
        sim.run_for(seconds(220) - sim.elapsed());
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{mode:?}: it was told again");
    }
}

#[test]
fn after_a_reboot_without_a_word_nothing_counts_as_set() {
    for (mode, refuses_all) in
        [Mode::Push, Mode::Buffer].into_iter().flat_map(|mode| [(mode, false), (mode, true)])
    {
        let fetches = |at| Connection::new(mode).at(seconds(at)).far_end(Behaviour::source(10_000, 2));
        let mut wiring = Wiring::new().uart(115_200).fault(seconds(20), Fault::Reboot);
        // After a boot, the module's URCs leave by a port that is not read.
        wiring.modem.ports.push(PortName::UsbAt);
        wiring.modem.quirks.boots_silently = true;
        wiring.modem.quirks.urc_port_all_refused = refuses_all;
        // The first client shows that the data session is lost.
        let mut sim = wiring.connect(fetches(40)).connect(fetches(100)).start();
        sim.run_for(seconds(120));
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{mode:?}, all refused: {refuses_all}");
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

/// Clients that come one after the other while no traffic gets through the data session, and one at the end.
fn in_a_session_that_lies(wiring: Wiring) -> Simulation {
    let client = Connection::new(Mode::Push).far_end(Behaviour::source(1_000, 2));
    let wiring = (0..4).fold(wiring, |wiring, turn| wiring.connect(client.clone().at(seconds(5 + turn))));
    let mut sim = wiring.connect(client.at(seconds(60))).fault(seconds(4), Fault::WearOutPdp).start();
    sim.run_until("every client ends", seconds(200), |sim| {
        sim.clients.iter().all(|client| client.outcome.is_some())
    });
    sim
}

#[test]
fn a_data_session_of_ours_that_carries_nothing_is_set_up_again() {
    let sim = in_a_session_that_lies(Wiring::new());
    assert_eq!(sim.outcome(0), Some(Outcome::Reset));
    assert_eq!(sim.outcome(4), Some(Outcome::Eof));
    assert_eq!(sim.said("AT+QIDEACT=1"), 1);
}

#[test]
fn a_data_session_that_others_may_use_is_set_up_again_only_where_apn_makes_it_ours() {
    let found_active = || Wiring::new().typed_before(b"AT+QIACT=1\r");
    let mut sim = in_a_session_that_lies(found_active());
    assert_eq!(sim.outcome(4), Some(Outcome::Reset));
    sim.shutdown();
    sim.run_until("it stops", seconds(60), |sim| sim.stopped.is_some());
    assert_eq!(sim.said("AT+QIDEACT=1"), 0);

    let apn = AtText::new("internet").expect("a name");
    let mut sim = in_a_session_that_lies(found_active().settings(|settings| settings.pdp.apn = Some(apn)));
    assert_eq!(sim.outcome(4), Some(Outcome::Eof));
    sim.shutdown();
    sim.run_until("it stops", seconds(60), |sim| sim.stopped.is_some());
    assert_eq!(sim.said("AT+QIDEACT=1"), 1);
    assert!(sim.modem.pdp_active(1), "as it was found");
}

#[test]
fn a_data_session_with_another_access_point_is_set_up_anew_with_the_right_one() {
    for (active, times) in [("internet", 0), ("elsewhere", 1)] {
        let before = format!("AT+QICSGP=1,1,\"{active}\",\"\",\"\",0\r");
        let apn = AtText::new("internet").expect("a name");
        let mut sim = Wiring::new()
            .typed_before(before.as_bytes())
            .typed_before(b"AT+QIACT=1\r")
            .settings(|settings| settings.pdp.apn = Some(apn))
            .connect(Connection::new(Mode::Push).far_end(Behaviour::source(1_000, 2)))
            .start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{active}");
        for line in ["AT+QIDEACT=1", "AT+QICSGP=1,1,\"internet\"", "AT+QIACT=1"] {
            assert_eq!(sim.said(line), times, "{active}: {line}");
        }
    }
}

#[test]
fn servers_whose_names_do_not_exist_cost_nobody_else_a_connection() {
    let lives = Connection::new(Mode::Push).far_end(Behaviour::echo()).sends(Sends::Drip {
        bytes: 10,
        every: seconds(60),
        total: 60,
    });
    let lost = Connection::new(Mode::Push).opening(Opening::Fails(millis(100), OpenFailure::Dns));
    let mut wiring = Wiring::new().connect(lives);
    for turn in 0..50 {
        wiring = wiring.connect(lost.clone().at(seconds(10 + 5 * turn)));
    }
    let mut sim = wiring.start();
    sim.run_for(seconds(290));
    assert_eq!(sim.outcome(0), None, "it goes on");
    assert!(sim.clients[1..].iter().all(|client| client.outcome == Some(Outcome::Reset)));
}
