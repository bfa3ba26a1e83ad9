//! Goal of this test: recovery climbs as far as it is allowed and no further, and waits between costly steps. It gives
//! up only where that is configured, with the status of the cause.

use std::time::Duration;

use qssl_core::Kind;
use qssl_core::at::Command;
use qssl_core::settings::{Mode, Recovery, Wait};
use qssl_modem_emulator::network::simulated::Behaviour;
use qssl_modem_emulator::{PortName, Registration, Sim};

use qssl_simulation::by_hand::ByHand;
use qssl_simulation::wiring::{Connection, Fault, Leaves, Port, Wiring, millis, seconds};
use qssl_simulation::{Outcome, Simulation};

const SILENT_FROM: Duration = seconds(10);
const SILENT_FOR: Duration = seconds(3600);

/// A modem that sends nothing for an hour, and a client that comes when it answers again.
fn silent_for_an_hour(recovery: Recovery, has_reset_command: bool) -> Simulation {
    let client = Connection::new(Mode::Push).at(SILENT_FROM + SILENT_FOR + seconds(1));
    let mut sim = Wiring::new()
        .settings(|settings| {
            settings.recovery = recovery;
            settings.has_reset_command = has_reset_command;
        })
        .connect(client.far_end(Behaviour::source(1_000, 2)))
        .fault(SILENT_FROM, Fault::Stall(SILENT_FOR))
        .start();
    sim.run_for(SILENT_FROM + SILENT_FOR);
    sim.run_until("the client is served", seconds(60), |sim| sim.outcome(0) == Some(Outcome::Eof));
    sim
}

#[test]
fn a_silent_modem_is_reset_by_the_users_command_in_growing_intervals() {
    let sim = silent_for_an_hour(Recovery::Reboot, true);
    let times = &sim.reset_commands;
    let first = times.first().expect("it is run").duration_since(sim.ready_at[0]);
    // The liveness probe comes after a minute.
    assert!(first < SILENT_FROM + seconds(200), "{first:?}");
    let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| *pause >= seconds(40)), "a modem needs time to boot: {pauses:?}");
    assert!((4..=12).contains(&times.len()), "{pauses:?}");
}

#[test]
fn a_silent_modem_is_waited_for_where_nothing_else_can_be_done() {
    for recovery in [Recovery::Resync, Recovery::Port, Recovery::Session, Recovery::Reboot] {
        let sim = silent_for_an_hour(recovery, false);
        assert!(sim.reset_commands.is_empty());
        let log: Vec<String> =
            sim.logged().into_iter().filter(|line| line.contains("does not answer")).collect();
        assert!(!log.is_empty(), "{recovery:?}: the reason is said");
    }
}

#[test]
fn a_dead_data_session_is_left_where_only_the_port_may_be_opened_anew() {
    for (recovery, rebuilt) in [(Recovery::Port, 0), (Recovery::Session, 1)] {
        let client = Connection::new(Mode::Push).far_end(Behaviour::source(1_000, 2));
        let mut wiring = Wiring::new().settings(|settings| settings.recovery = recovery);
        for turn in 0..5 {
            wiring = wiring.connect(client.clone().at(seconds(20 + 10 * turn)));
        }
        let mut sim = wiring.fault(seconds(10), Fault::WearOutPdp).start();
        sim.run_for(seconds(100));
        assert_eq!(sim.said("AT+QIDEACT=1"), rebuilt, "{recovery:?}");
        let last = if rebuilt > 0 { Outcome::Eof } else { Outcome::Reset };
        assert_eq!(sim.outcome(4), Some(last), "{recovery:?}");
    }
}

/// A module that activates its data session by itself may have rebooted silently. The other settings that a reboot
/// resets were once not set again.
#[test]
fn a_data_session_is_rebuilt_from_the_first_step_on() {
    let mut hand = ByHand::new(&[Mode::Push], 1, true, |_| {});
    hand.run_until_ready();
    let set = |hand: &ByHand, line: &str| {
        hand.ports[0].commands.iter().filter(|said| said.starts_with(line)).count()
    };
    let lines = ["AT+QURCCFG=\"urcport\"", "AT+QICFG="];
    let before = lines.map(|line| set(&hand, line));
    for socket in 0..3 {
        let dns_fails = format!("\r\nOK\r\n\r\n+QSSLOPEN: {socket},565\r\n");
        hand.ports[0].instead.push_back(("AT+QSSLOPEN=", dns_fails.into_bytes()));
        let client = hand.connect(0).expect("it is accepted");
        hand.run_for(seconds(20));
        assert_eq!(hand.clients[client].outcome, Some(Outcome::Reset));
    }
    hand.run_until_ready();
    for (line, before) in lines.into_iter().zip(before) {
        assert!(before > 0 && set(&hand, line) == 2 * before, "{line}: {before}, {}", set(&hand, line));
    }
}

/// The next client once found the data session lost, and was reset.
#[test]
fn a_reboot_without_a_word_is_noticed_by_its_echo_before_a_client_comes() {
    for echo_stays in [false, true] {
        let ports = [PortName::UsbAt, PortName::UsbModem].map(Port::usb);
        let mut sim = Wiring::new()
            .ports(ports)
            .modem(|modem| {
                modem.quirks.boots_silently = true;
                modem.quirks.echo_stays = echo_stays;
            })
            .connect(Connection::new(Mode::Push).at(seconds(200)).far_end(Behaviour::source(3_000, 1)))
            .fault(seconds(30), Fault::Reboot)
            .start();
        sim.run_to_the_end(seconds(300));
        // Where commands are always echoed, an echo shows nothing.
        let outcome = if echo_stays { Outcome::Reset } else { Outcome::Eof };
        assert_eq!(sim.outcome(0), Some(outcome), "echo stays: {echo_stays}");
        // The session is set up twice, and not again and again.
        assert_eq!(sim.said("AT+QIACT=1\r"), 2, "echo stays: {echo_stays}");
    }
}

/// Only the data session was once set up again, so a line that was not read for a moment lost bytes.
#[test]
fn after_a_reboot_without_a_word_the_line_has_flow_control_again() {
    for mode in [Mode::Push, Mode::Buffer] {
        let client = |at| Connection::new(mode).at(seconds(at)).far_end(Behaviour::source(100_000, 1));
        let mut sim = Wiring::new()
            .uart(115_200)
            .modem(|modem| modem.quirks.boots_silently = true)
            // The data session is lost, so the open of this client fails.
            .connect(client(40))
            .connect(client(70))
            .fault(seconds(30), Fault::Reboot)
            .fault(seconds(75), Fault::HoldLine(0, seconds(3)))
            .start();
        sim.run_to_the_end(seconds(200));
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{mode:?}");
        sim.assert_complete(1);
    }
}

#[test]
fn whoever_does_not_want_to_wait_is_told_the_cause() {
    let no_sim = || Wiring::new().modem(|modem| modem.sim = Sim::Absent);
    let no_network = || Wiring::new().modem(|modem| modem.registration = Registration::Denied);
    let no_session = || Wiring::new().modem(|modem| modem.required_apn = Some("another".into()));
    let client = Connection::new(Mode::Push);
    for (wiring, status) in [
        (no_sim(), Kind::SimFailed),
        (no_network(), Kind::NoRegistration),
        (no_session(), Kind::NoDataSession),
        (Wiring::new().fault(Duration::ZERO, Fault::Stall(seconds(100_000))), Kind::ModemSilent),
    ] {
        for (wait, least, most) in [
            (Wait::Not, 0, 60),
            (Wait::Limited { time: None, retries: Some(3) }, 10, 400),
            (Wait::Limited { time: Some(seconds(300)), retries: None }, 300, 450),
        ] {
            let wiring = wiring.clone().settings(|settings| settings.wait = wait).connect(client.clone());
            let mut sim = wiring.start();
            let took = sim.run_until("it gives up", seconds(500), |sim| sim.stopped.is_some());
            assert_eq!(sim.stopped, Some(status), "{wait:?}");
            assert!(took >= seconds(least) && took <= seconds(most), "{status:?}, {wait:?}: {took:?}");
        }
        // And a client that may wait waits.
        let mut sim =
            wiring.clone().settings(|settings| settings.wait = Wait::Forever).connect(client.clone()).start();
        sim.run_for(seconds(3600));
        assert_eq!(sim.stopped, None, "{status:?}");
    }
}

/// The USB side of a modem failed, its port vanished, and only a power cycle helped. The reset command was once run
/// only for modems whose ports could be opened.
#[test]
fn the_reset_command_is_run_for_a_modem_that_stays_away() {
    let away_at = |at, reset_after, time| {
        let mut sim = Wiring::new()
            .settings(|settings| {
                settings.recovery = Recovery::Reboot;
                settings.has_reset_command = true;
                settings.reset_after = reset_after;
            })
            .connect(Connection::new(Mode::Push).leaves(Leaves::After(seconds(5))))
            .fault(at, Fault::LosePort(0, time))
            .start();
        sim.run_for(seconds(320));
        let lost_at = sim.now - sim.elapsed() + at;
        sim.reset_commands.iter().map(|at| at.duration_since(lost_at).as_secs()).collect::<Vec<_>>()
    };
    let away = |reset_after, time| away_at(seconds(20), reset_after, time);
    // The modem may have failed before this program was started.
    for at in [seconds(0), seconds(20)] {
        let times = away_at(at, seconds(60), seconds(290));
        assert!(times.first().is_some_and(|first| (60..=64).contains(first)), "lost after {at:?}: {times:?}");
    }
    let times = away(seconds(60), seconds(290));
    assert_eq!(times.len(), 2, "{times:?}");
    assert!((60..=64).contains(&times[0]) && (179..=188).contains(&times[1]), "{times:?}");
    assert_eq!(away(seconds(60), seconds(40)), [] as [u64; 0], "it came back by itself");
    assert_eq!(away(seconds(0), seconds(290)), [] as [u64; 0], "never is wanted");
}

/// Who had asked waited without end.
#[test]
fn a_command_from_outside_that_a_reboot_interrupts_has_no_answer() {
    for silent in [false, true] {
        let wiring = Wiring::new().modem(|modem| {
            modem.command_latency = millis(300);
            modem.quirks.boots_silently = silent;
        });
        let mut sim = wiring.fault(millis(20_100), Fault::Reboot).start();
        sim.run_for(seconds(20));
        let now = sim.now;
        sim.relay.command(Command::line("AT+CSQ"), now).expect("none waits");
        sim.run_for(seconds(40));
        assert_eq!(sim.answers, [None], "silent: {silent}");
    }
}
