//! Goal of this test: a client sees an end of file only when nothing contradicts it, at whatever moment it comes.

use std::collections::VecDeque;
use std::time::Duration;

use qssl_core::settings::{Mode, OnClosed};
use qssl_modem_emulator::network::simulated::{Behaviour, Ending, Ends, Says};
use qssl_modem_emulator::{Family, PortName};

use qssl_simulation::Outcome;
use qssl_simulation::by_hand::ByHand;
use qssl_simulation::wiring::{
    Connection, FAMILIES, Fault, Leaves, Port, Reads, Sends, Wiring, millis, seconds,
};

const MODES: [Mode; 2] = [Mode::Push, Mode::Buffer];

/// Every mode with every family.
fn of_each_family() -> impl Iterator<Item = (Family, Mode)> {
    FAMILIES.into_iter().flat_map(|family| MODES.map(|mode| (family, mode)))
}

#[test]
fn strict_users_get_a_reset_for_every_closed() {
    for (family, mode) in of_each_family() {
        let connection = Connection::new(mode)
            .far_end(Behaviour::source(1_000, 1))
            .limits(|limits| limits.on_closed = OnClosed::Reset);
        let mut sim = Wiring::new().family(family).connect(connection).start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{family:?}, {mode:?}");
        assert_eq!(sim.clients[0].received.len(), 1_000, "and every byte that came before it");
    }
}

#[test]
fn closed_and_a_lost_data_session_is_a_reset() {
    for (family, mode) in of_each_family() {
        let connection = Connection::new(mode).far_end(Behaviour::source(1_000_000, 1));
        let wiring = Wiring::new().family(family).uart(115_200).connect(connection);
        let mut sim = wiring.fault(seconds(6), Fault::DropPdp).start();
        sim.run_until("the client ends", seconds(60), |sim| sim.outcome(0).is_some());
        assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{family:?}, {mode:?}");
        sim.run_until("the session is back", seconds(120), |sim| sim.relay.modem().is_up());
    }
}

#[test]
fn closed_that_comes_before_the_loss_is_told_is_a_reset() {
    // The modem reports `closed` for every socket, but the loss of the data session only when asked.
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
fn a_server_that_closes_at_any_moment_of_an_exchange_leaves_no_client_hanging() {
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
fn several_servers_that_close_at_once_are_judged_together() {
    let far = Behaviour { ends: Ends::AfterSaying(5_000), ..Behaviour::source(5_000, 1) };
    let connection = Connection::new(Mode::Push).far_end(far);
    for family in FAMILIES {
        let mut sim = Wiring::new().family(family).connect_many(12, &connection).start();
        sim.run_to_the_end(seconds(60));
        for index in 0..12 {
            assert_eq!(sim.outcome(index), Some(Outcome::Eof), "{family:?}, client {index}");
        }
    }
}

/// A `closed` URC without an end of a connection, as another program's text could contain it.
fn stray_closed(socket: u8) -> Fault {
    Fault::Urc(format!("+QSSLURC: \"closed\",{socket}"))
}

#[test]
fn a_closed_that_the_module_does_not_confirm_ends_nothing() {
    for (family, mode) in of_each_family() {
        let says = Says::Drip { bytes: 400, every: millis(100), total: 30_000, seed: 7 };
        let far = Behaviour { says, ends: Ends::AfterReading(60_000), ..Behaviour::sink() };
        let connection = Connection::new(mode)
            .sends(Sends::Drip { bytes: 300, every: millis(40), total: 60_000 })
            .far_end(far);
        let mut wiring = Wiring::new().family(family).uart(115_200).connect(connection);
        for ms in (2_500..9_000).step_by(333) {
            wiring = wiring.fault(millis(ms), stray_closed(0));
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(120));
        sim.assert_complete(0);
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{family:?}, {mode:?}: and its own end is one");
        let warnings = sim.logged().iter().filter(|line| line.contains("its stream goes on")).count();
        assert!((1..=3).contains(&warnings), "{family:?}, {mode:?}: {warnings} warnings");
    }
}

#[test]
fn a_quiet_stream_survives_it_too_and_is_not_asked_about_for_ever() {
    for mode in MODES {
        let connection = Connection::new(mode).far_end(Behaviour::sink()).leaves(Leaves::After(seconds(600)));
        let mut sim = Wiring::new().connect(connection).fault(seconds(5), stray_closed(0)).start();
        sim.run_for(seconds(400));
        assert_eq!(sim.outcome(0), None, "{mode:?}");
        let asked = sim.said("AT+QSSLSTATE=0\r");
        // It is asked within a minute after that `closed`, and then once in each minute of silence.
        assert!((2..=16).contains(&asked), "{mode:?}: asked {asked} times");
    }
}

#[test]
fn a_foreign_closed_is_no_end_while_the_module_still_pushes_what_came_before_the_real_one() {
    // The server has closed long before everything has passed the line. With a second port, the socket's state can be
    // read while the first port is busy with a long push.
    for (count, push_limit) in [(1, 1_460), (2, 1_460), (2, 16_384)] {
        for ms in (1_000..8_000).step_by(100) {
            let names = [PortName::UsbAt, PortName::UsbModem];
            let ports = names.map(|name| Port { paced: true, is_named: true, ..Port::usb(name) });
            let wiring = match count {
                1 => Wiring::new().uart(57_600),
                _ => Wiring::new().ports(ports).settings(|settings| settings.baud = 57_600),
            };
            let mut sim = wiring
                .modem(|modem| {
                    modem.baud = 57_600;
                    modem.receive_buffer_bytes = 40_000;
                    modem.push_limit_bytes = push_limit;
                })
                .connect(Connection::new(Mode::Push).far_end(Behaviour::source(60_000, 7)))
                .fault(millis(ms), stray_closed(0))
                .start();
            sim.run_to_the_end(seconds(120));
            let name = format!("{count} ports, pushes of {push_limit}, at {ms} ms");
            assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{name}");
            sim.assert_complete(0);
        }
    }
}

/// The state was once read on the other port, which answered at once.
#[test]
fn nor_where_the_port_of_the_pushes_stands_still_just_after_it() {
    for ms in [6_000, 6_500, 7_000] {
        for later in (2_000..3_500).step_by(25) {
            let names = [PortName::UsbAt, PortName::UsbModem];
            let mut sim = Wiring::new()
                .ports(names.map(|name| Port { paced: true, ..Port::usb(name) }))
                .settings(|settings| settings.baud = 9_600)
                .modem(|modem| {
                    modem.baud = 9_600;
                    modem.receive_buffer_bytes = 40_000;
                    modem.push_limit_bytes = 1_460;
                })
                .connect(Connection::new(Mode::Push).far_end(Behaviour::source(20_000, 7)))
                .fault(millis(ms), stray_closed(0))
                .fault(millis(ms + later), Fault::HoldLine(0, seconds(2)))
                .start();
            sim.run_to_the_end(seconds(120));
            assert_eq!(sim.outcome(0), Some(Outcome::Eof), "at {ms} ms, {later} ms later");
            sim.assert_complete(0);
        }
    }
}

#[test]
fn a_module_whose_state_lags_behind_its_closed_gives_an_end() {
    for mode in MODES {
        let mut hand = ByHand::new(&[mode], 1, true, |_| {});
        hand.run_until_ready();
        let client = hand.connect(0).expect("the core takes clients");
        hand.run_for(seconds(1));
        hand.ports[0].instead = answered_alike("AT+QSSLSTATE=0", &state_line(443, 2), 3);
        hand.far_end_closes(0, 0);
        hand.run_until("the client ends", seconds(10), |hand| hand.clients[client].outcome.is_some());
        assert_eq!(hand.clients[client].outcome, Some(Outcome::Eof), "{mode:?}");
    }
}

#[test]
fn without_a_witness_the_end_is_a_reset() {
    let somebody_else = state_line(8_883, 2);
    let opening = state_line(443, 1);
    for mode in MODES {
        for answer in [b"\r\nERROR\r\n".to_vec(), somebody_else.clone(), opening.clone()] {
            let mut hand = ByHand::new(&[mode], 1, true, |_| {});
            hand.run_until_ready();
            let client = hand.connect(0).expect("the core takes clients");
            hand.run_for(seconds(1));
            hand.ports[0].instead = answered_alike("AT+QSSLSTATE=0", &answer, 1);
            hand.far_end_closes(0, 0);
            hand.run_until("the client ends", seconds(60), |hand| hand.clients[client].outcome.is_some());
            let outcome = hand.clients[client].outcome;
            assert_eq!(outcome, Some(Outcome::Reset), "{mode:?}: {}", answer.escape_ascii());
        }
    }
}

/// Such a text can contain an `OK`. It is taken for the answer to the command in flight, whose own `OK` then looks like
/// the answer to the query of the state.
#[test]
fn where_texts_of_others_are_shown_an_ok_alone_confirms_no_end() {
    for mode in [Mode::Push, Mode::Buffer, Mode::Transparent] {
        for (is_text, outcome) in [(false, Outcome::Eof), (true, Outcome::Reset)] {
            let mut hand = ByHand::new(&[mode], 1, true, |_| {});
            hand.run_until_ready();
            if is_text {
                hand.says(0, b"\r\n+QMTRECV: 0,0,\"alerts\",\"plain\"\r\n");
                hand.run_for(seconds(1));
            }
            let client = hand.connect(0).expect("the core takes clients");
            hand.set_dcd(0, mode == Mode::Transparent);
            hand.run_for(seconds(1));
            hand.ports[0].instead = answered_alike("AT+QSSLSTATE=0", b"\r\nOK\r\n", 1);
            if mode == Mode::Transparent {
                hand.set_dcd(0, false);
                hand.says(0, b"\r\nNO CARRIER\r\n");
                hand.stream_is_over(0);
            } else {
                hand.far_end_closes(0, 0);
            }
            hand.run_until("the client ends", seconds(60), |hand| hand.clients[client].outcome.is_some());
            assert_eq!(hand.clients[client].outcome, Some(outcome), "{mode:?}, a text: {is_text}");
        }
    }
}

#[test]
fn a_line_that_cannot_be_read_confirms_no_end() {
    for mode in MODES {
        for altered in ["443,0,?,1,0,1,\"uart1\",0", "44?,0,4,1,0,1,\"uart1\",0", "443,0,260", "443"] {
            let mut hand = ByHand::new(&[mode], 1, true, |_| {});
            hand.run_until_ready();
            let client = hand.connect(0).expect("the core takes clients");
            hand.run_for(seconds(1));
            let answer = format!("\r\n+QSSLSTATE: 0,\"SSLClient\",\"192.0.2.2\",{altered}\r\n\r\nOK\r\n");
            hand.ports[0].instead = answered_alike("AT+QSSLSTATE=0", answer.as_bytes(), 1);
            hand.far_end_closes(0, 0);
            hand.run_until("the client ends", seconds(60), |hand| hand.clients[client].outcome.is_some());
            assert_eq!(hand.clients[client].outcome, Some(Outcome::Reset), "{mode:?}: {altered}");
        }
    }
}

#[test]
fn a_witness_that_is_silent_at_first_is_asked_again() {
    let mut hand = ByHand::new(&[Mode::Push], 1, true, |_| {});
    hand.run_until_ready();
    let client = hand.connect(0).expect("the core takes clients");
    hand.run_for(seconds(1));
    hand.ports[0].instead = answered_alike("AT+QSSLSTATE=0", b"", 1);
    hand.far_end_closes(0, 0);
    hand.run_until("the client ends", seconds(60), |hand| hand.clients[client].outcome.is_some());
    assert_eq!(hand.clients[client].outcome, Some(Outcome::Eof));
}

#[test]
fn an_end_costs_one_question_about_the_socket() {
    for mode in MODES {
        let connection = Connection::new(mode).far_end(Behaviour::source(5_000, 1));
        let mut sim = Wiring::new().connect(connection).start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof));
        // The second query comes after the close, to check that the socket's number is free.
        assert_eq!(sim.said("AT+QSSLSTATE=0\r"), 2, "{mode:?}");
    }
}

#[test]
fn what_a_server_says_before_it_closes_on_an_upload_arrives() {
    // An HTTP server that answers 413 and closes: sends are refused before the rest of its answer has come.
    for mode in MODES {
        for (baud, answer) in [(115_200, 300), (115_200, 30_000), (921_600, 60_000), (9_600, 4_000)] {
            for reads in [Reads::All, Reads::Drip(700, millis(100))] {
                for ends_ms in [300, 1_000] {
                    let name = format!("{mode:?}, {baud}, {answer} bytes, {reads:?}, after {ends_ms} ms");
                    let says = Says::Pattern { bytes: answer, seed: 3 };
                    let far = Behaviour { says, ends: Ends::After(millis(ends_ms)), ..Behaviour::sink() };
                    let connection =
                        Connection::new(mode).sends(Sends::Pattern(2_000_000)).reads(reads).far_end(far);
                    let mut sim = Wiring::new()
                        .uart(baud)
                        .modem(|modem| modem.receive_buffer_bytes = 100_000)
                        .connect(connection)
                        .start();
                    sim.run_to_the_end(seconds(600));
                    let said = sim.fars[0].memory().said.len();
                    assert_eq!(sim.clients[0].received.len(), said, "{name}: what it said before");
                    assert!(sim.clients[0].saw_end, "{name}: and its end");
                    let lost = sim.logged().iter().any(|line| line.contains("did not take the last"));
                    assert!(lost, "{name}: {:?}", sim.logged());
                }
            }
        }
    }
}

/// The send had been refused, the module reported the socket as closed, and still pushed what it held: another's `closed`
/// counted as the second witness, and the client read an end too early.
#[test]
fn a_foreign_closed_is_no_end_while_a_server_that_has_refused_more_still_sends() {
    for mode in MODES {
        for ms in (1_000..6_000).step_by(100) {
            let name = format!("{mode:?}, {ms} ms");
            let says = Says::Pattern { bytes: 30_000, seed: 3 };
            let far = Behaviour { says, ends: Ends::After(millis(300)), ..Behaviour::sink() };
            let connection = Connection::new(mode).sends(Sends::Pattern(200_000)).far_end(far);
            let mut sim = Wiring::new()
                .uart(115_200)
                .modem(|modem| modem.receive_buffer_bytes = 100_000)
                .connect(connection)
                .fault(millis(ms), stray_closed(0))
                .start();
            sim.run_to_the_end(seconds(600));
            assert_eq!(sim.clients[0].received.len(), sim.fars[0].memory().said.len(), "{name}");
            assert!(sim.clients[0].saw_end, "{name}");
        }
    }
}

#[test]
fn a_refused_send_whose_closed_never_comes_is_a_reset() {
    for mode in MODES {
        let mut hand = ByHand::new(&[mode], 1, true, |_| {});
        hand.run_until_ready();
        let client = hand.connect(0).expect("the core takes clients");
        hand.run_for(seconds(1));
        hand.ports[0].closed[0] = true;
        hand.send(client, b"too late");
        hand.run_until("the client ends", seconds(60), |hand| hand.clients[client].outcome.is_some());
        assert_eq!(hand.clients[client].outcome, Some(Outcome::Reset), "{mode:?}");
    }
}

#[test]
fn a_send_that_a_connected_module_refuses_breaks_the_stream_and_is_not_repeated() {
    for mode in MODES {
        let mut hand = ByHand::new(&[mode], 1, true, |_| {});
        hand.run_until_ready();
        let client = hand.connect(0).expect("the core takes clients");
        hand.run_for(seconds(1));
        hand.ports[0].instead = answered_alike("AT+QSSLSEND=0", b"\r\nERROR\r\n", 1);
        hand.send(client, b"refused");
        hand.run_until("the client ends", seconds(60), |hand| hand.clients[client].outcome.is_some());
        assert_eq!(hand.clients[client].outcome, Some(Outcome::Reset), "{mode:?}");
        let sends = hand.ports[0].commands.iter().filter(|line| line.starts_with("AT+QSSLSEND")).count();
        assert_eq!(sends, 1, "{mode:?}");
        assert!(hand.ports[0].taken[0].is_empty(), "{mode:?}");
    }
}

/// The answer about socket 0, with the port of its server and its state.
fn state_line(port: u16, state: u8) -> Vec<u8> {
    format!("\r\n+QSSLSTATE: 0,\"SSLClient\",\"192.0.2.2\",{port},0,{state},1,0,1,\"uart1\",0\r\n\r\nOK\r\n")
        .into_bytes()
}

/// The next answers to a command, all of them equal.
fn answered_alike(command: &'static str, answer: &[u8], times: usize) -> VecDeque<(&'static str, Vec<u8>)> {
    (0..times).map(|_| (command, answer.to_vec())).collect()
}

#[test]
fn the_end_of_a_stream_needs_the_same_witness() {
    for (state, outcome) in [(4, Outcome::Eof), (2, Outcome::Reset)] {
        let mut hand = ByHand::new(&[Mode::Transparent], 1, true, |_| {});
        hand.run_until_ready();
        let client = hand.connect(0).expect("the core takes clients");
        hand.set_dcd(0, true);
        hand.run_for(seconds(1));
        hand.ports[0].instead = answered_alike("AT+QSSLSTATE=0", &state_line(443, state), 10);
        hand.set_dcd(0, false);
        hand.says(0, b"\r\nNO CARRIER\r\n");
        hand.stream_is_over(0);
        hand.run_until("the client ends", seconds(60), |hand| hand.clients[client].outcome.is_some());
        assert_eq!(hand.clients[client].outcome, Some(outcome), "state {state}");
    }
}

/// Its own connection has our number from then on, with the end that we are told of.
#[test]
fn of_a_connection_that_another_program_has_opened_under_our_number() {
    let other = |line: &str| Fault::OtherProgram(format!("{line}\r").into_bytes());
    let mut sim = Wiring::new()
        .uart(115_200)
        .connect(Connection::new(Mode::Push).at(seconds(9)).far_end(Behaviour::source(400_000, 1)))
        .connect(Connection::new(Mode::Push).at(seconds(40)).far_end(Behaviour::source(9_000, 2)))
        .fault(seconds(15), other("AT+QSSLCLOSE=0,0"))
        .fault(seconds(18), other("AT+QSSLOPEN=1,3,0,\"elsewhere.example\",443,1"))
        .fault(seconds(24), Fault::CutSocket(0))
        .start();
    sim.run_until("both have ended", seconds(120), |sim| sim.outcome(1).is_some());
    assert_eq!(sim.outcome(0), Some(Outcome::Reset), "that end is another's");
    assert_eq!(sim.said("AT+QSSLCLOSE=0"), 0, "it is not ours to close");
    sim.assert_complete(1);
}
