//! Goal of this test: what a client sends is handed over once, in full chunks under load and at once when idle. It
//! is never sent again when it is unknown whether it was sent.

use qssl_core::settings::Mode;
use qssl_modem_emulator::PortName;
use qssl_modem_emulator::network::simulated::{Behaviour, Ends, Reads as FarReads};

use qssl_simulation::Outcome;
use qssl_simulation::wiring::{Connection, FAMILIES, Fault, Leaves, Port, Sends, Wiring, millis, seconds};

fn far_that_reads(bytes: u64) -> Behaviour {
    Behaviour { ends: Ends::AfterReading(bytes), ..Behaviour::sink() }
}

fn uploads(bytes: u64) -> Connection {
    Connection::new(Mode::Push).sends(Sends::Pattern(bytes)).far_end(far_that_reads(bytes))
}

#[test]
fn chunks_are_full_under_load_and_never_longer() {
    for family in FAMILIES {
        let mut sim = Wiring::new().family(family).uart(115_200).connect(uploads(146_000)).start();
        sim.run_to_the_end(seconds(60));
        sim.assert_complete(0);
        let full = sim.said("AT+QSSLSEND=0,1460\r");
        assert!(full >= 99, "{family:?}: {full} of 100 chunks are full");
        assert!(sim.said("AT+QSSLSEND") <= 102, "{family:?}: {}", sim.said("AT+QSSLSEND"));
    }
}

#[test]
fn a_single_byte_goes_out_at_once_when_nothing_else_is_under_way() {
    let connection = uploads(1).at(seconds(5));
    let at_once = |modem: &mut qssl_modem_emulator::Config| modem.open_latency = millis(0);
    let mut sim = Wiring::new().uart(115_200).modem(at_once).connect(connection).start();
    sim.run_until_ready();
    let opened = |sim: &qssl_simulation::Simulation| sim.fars[0].memory().opened > 0;
    sim.run_until("it is open", seconds(10), opened);
    let took = sim.run_until("it arrives", seconds(10), |sim| sim.fars[0].memory().read.len() == 1);
    // The time is that of the open's result, command, prompt and byte on the line, and 30 ms of the network.
    assert!(took < millis(50), "{took:?}");
}

#[test]
fn a_storm_of_send_fails_loses_nothing_and_doubles_nothing() {
    for family in FAMILIES {
        let mut wiring = Wiring::new().family(family).connect(uploads(200_000)).connect(uploads(50_000));
        for round in 1..60u64 {
            wiring = wiring.fault(millis(round * 100), Fault::SendFails(1 + (round % 5) as u32));
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(300));
        sim.assert_complete(0);
        sim.assert_complete(1);
        sim.assert_nothing_swallowed();
        assert!(sim.modem.counters().send_fails > 20, "{family:?}");
    }
}

#[test]
fn a_full_send_buffer_delays_one_socket_and_not_its_neighbour() {
    let slow =
        Behaviour { reads: FarReads::Drip { bytes: 1_000, every: millis(200) }, ..far_that_reads(60_000) };
    let slow = Connection { window_bytes: 2_000, ..uploads(60_000).far_end(slow) };
    let mut sim = Wiring::new().connect(slow).connect(uploads(60_000)).start();
    sim.run_until("the fast one ends", seconds(5), |sim| sim.outcome(1).is_some());
    sim.run_to_the_end(seconds(60));
    sim.assert_complete(0);
    sim.assert_complete(1);
}

#[test]
fn send_fail_for_two_minutes_without_progress_ends_in_a_reset() {
    let far = Behaviour::deaf();
    let connection = Connection { window_bytes: 2_000, ..uploads(60_000).far_end(far) };
    for family in FAMILIES {
        let mut sim = Wiring::new().family(family).connect(connection.clone()).start();
        let took = sim.run_until("it is reset", seconds(300), |sim| sim.outcome(0).is_some());
        assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{family:?}");
        assert!(took > seconds(120) && took < seconds(130), "{family:?}: {took:?}");
        // The first pause is 500 ms, the longest 1 s.
        assert!(sim.said("AT+QSSLSEND") < 160, "{family:?}: {}", sim.said("AT+QSSLSEND"));
    }
}

#[test]
fn a_socket_that_is_cut_after_the_payload_left_is_reset_and_nothing_is_sent_again() {
    let mut sim = Wiring::new()
        .modem(|modem| modem.send_latency = millis(50))
        .connect(uploads(100_000))
        .fault(millis(1_500), Fault::CutSocket(0))
        .start();
    sim.run_until("it is reset", seconds(60), |sim| sim.outcome(0).is_some());
    assert_eq!(sim.outcome(0), Some(Outcome::Reset));
    sim.run_for(seconds(30));
    assert_eq!(sim.fars[0].memory().opened, 1);
    assert!(sim.modem.sockets_in_use().is_empty());
}

#[test]
fn silence_after_the_payload_is_never_answered_by_sending_it_again() {
    let mut sim =
        Wiring::new().modem(|modem| modem.send_latency = seconds(100)).connect(uploads(3_000)).start();
    sim.run_until("it is reset", seconds(90), |sim| sim.outcome(0).is_some());
    assert_eq!(sim.outcome(0), Some(Outcome::Reset));
    sim.run_for(seconds(180));
    assert_eq!(sim.said("AT+QSSLSEND"), 1);
    assert!(sim.fars[0].memory().read.len() <= 1_460, "at most what was sent once");
    assert!(sim.modem.sockets_in_use().is_empty());
}

#[test]
fn send_ok_that_waits_for_the_server_is_waited_for() {
    let connection = uploads(6_000);
    let mut sim = Wiring::new().modem(|modem| modem.send_latency = seconds(13)).connect(connection).start();
    sim.run_to_the_end(seconds(100));
    sim.assert_complete(0);
}

#[test]
fn a_module_that_sleeps_and_loses_the_command_that_wakes_it_costs_no_stream() {
    let drips = |mode, bytes| {
        let total = 20 * bytes;
        let far = Behaviour { ends: Ends::AfterReading(total), ..Behaviour::echo() };
        let sends = Sends::Drip { bytes, every: seconds(7), total };
        Connection::new(mode).sends(sends).far_end(far).limits(|limits| limits.idle_timeout = seconds(600))
    };
    for mode in [Mode::Push, Mode::Buffer] {
        for bytes in [1, 3, 40, 1_000] {
            let mut sim = Wiring::new()
                .modem(|modem| modem.quirks.sleeps = true)
                .connect(drips(mode, bytes))
                .connect(drips(mode, bytes).at(seconds(63)))
                .start();
            sim.run_to_the_end(seconds(600));
            for connection in [0, 1] {
                assert_eq!(sim.outcome(connection), Some(Outcome::Eof), "{mode:?}, {bytes} bytes");
                sim.assert_complete(connection);
            }
            let log = sim.logged().join("\n");
            assert!(!log.contains("recovery"), "{log}");
        }
    }
}

#[test]
fn a_prompt_that_comes_too_late_swallows_nothing_that_counts() {
    let other = Connection::new(Mode::Push).at(seconds(40)).far_end(Behaviour::source(10_000, 1));
    let mut sim = Wiring::new()
        .modem(|modem| modem.prompt_latency = seconds(8))
        .connect(uploads(3_000))
        .connect(other)
        .start();
    sim.run_until("it is reset", seconds(60), |sim| sim.outcome(0).is_some());
    assert_eq!(sim.outcome(0), Some(Outcome::Reset));
    assert_eq!(sim.fars[0].memory().read.len(), 0);
    sim.run_until("the next one is served", seconds(120), |sim| sim.outcome(1).is_some());
    assert_eq!(sim.outcome(1), Some(Outcome::Eof));
}

#[test]
fn a_late_answer_never_becomes_that_of_the_next_command() {
    // Each of these answers comes after its time limit, while another command is in flight.
    for at in [700, 900, 1_100, 1_300, 1_500, 2_000] {
        let mut sim = Wiring::new()
            .modem(|modem| modem.send_latency = millis(20))
            .connect(uploads(200_000))
            .connect(Connection::new(Mode::Push).far_end(Behaviour::source(50_000, 1)))
            .connect(Connection::new(Mode::Buffer).far_end(Behaviour::source(50_000, 2)))
            .fault(millis(at), Fault::DelayAnswer(seconds(7)))
            .start();
        // The bytes are checked at every step; here, only that every client ends.
        sim.run_to_the_end(seconds(200));
    }
}

#[test]
fn what_a_client_sends_before_its_socket_is_open_is_not_lost() {
    let connection = uploads(40_000).leaves(Leaves::HalfCloses);
    let mut sim = Wiring::new().modem(|modem| modem.open_latency = seconds(9)).connect(connection).start();
    sim.run_to_the_end(seconds(60));
    sim.assert_complete(0);
}

#[test]
fn send_ok_that_waits_behind_other_bytes_after_send_fail_still_says_that_the_bytes_were_taken() {
    let downloads = Connection::new(Mode::Push).far_end(Behaviour::source(40_000, 1));
    let mut wiring = Wiring::new()
        .uart(9_600)
        .modem(|modem| modem.push_limit_bytes = 1_460)
        .connect(uploads(6_000))
        .connect(downloads);
    for at in 3..30 {
        wiring = wiring.fault(seconds(at), Fault::SendFailsFor(millis(400)));
    }
    let mut sim = wiring.start();
    sim.run_to_the_end(seconds(200));
    sim.assert_complete(0);
    sim.assert_complete(1);
}

#[test]
fn a_module_whose_ports_fall_asleep_by_turns_is_set_up_and_frees_its_sockets() {
    let mut wiring = Wiring::new()
        .ports([Port::usb(PortName::UsbAt), Port::usb(PortName::UsbModem)])
        .modem(|modem| modem.quirks.sleeps = true);
    for turn in 0..6 {
        let at = seconds(20 * turn);
        wiring = wiring.connect(Connection::new(Mode::Push).at(at).leaves(Leaves::After(seconds(7 + turn))));
    }
    let mut sim = wiring.fault(seconds(150), Fault::Reboot).start();
    sim.run_for(seconds(240));
    assert!(sim.relay.modem().is_up(), "it is set up again after a reboot");
    sim.run_to_the_end(seconds(10));
}
