//! Goal of this test: in transparent mode no byte of payload is lost, added or misread, and none is taken for an
//! escape.

use std::time::Duration;

use qssl_core::Kind;
use qssl_core::settings::{Mode, Wait};
use qssl_modem_emulator::network::simulated::{Behaviour, Ending, Ends, Opening, Says, pattern};
use qssl_modem_emulator::{Family, PortName};

use qssl_simulation::Outcome;
use qssl_simulation::wiring::{Connection, Fault, Leaves, Port, Reads, Sends, Wiring, millis, seconds};

/// Ports with all modem lines, without DCD, and with neither DCD nor DTR.
fn ports() -> [Port; 3] {
    [
        Port::uart(),
        Port { has_dcd: false, ..Port::uart() },
        Port { has_dcd: false, has_dtr: false, ..Port::uart() },
    ]
}

fn wiring(port: Port) -> Wiring {
    Wiring::new().uart(115_200).ports([port])
}

fn stream() -> Connection {
    Connection::new(Mode::Transparent)
}

#[test]
fn a_download_to_its_last_byte_and_its_end() {
    for port in ports() {
        let connection = stream().far_end(Behaviour::source(200_000, 1));
        let mut sim = wiring(port).connect(connection).start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof));
        assert_eq!(sim.clients[0].received.len(), 200_000);
        sim.assert_nothing_swallowed();
    }
}

/// Without DCD, `NO CARRIER` can be payload, so the modem is asked. The end does not wait for three missed escapes.
#[test]
fn without_dcd_an_end_reaches_the_client_within_three_seconds() {
    for port in ports().into_iter().filter(|port| !port.has_dcd) {
        for quiet in [seconds(0), seconds(10)] {
            let far = Behaviour { ends: Ends::Never, ..Behaviour::source(20_000, 1) };
            let mut sim = wiring(port.clone()).connect(stream().far_end(far)).start();
            sim.run_until("all is there", seconds(30), |sim| sim.clients[0].received.len() == 20_000);
            sim.run_for(quiet);
            let name = format!("dtr {}, after {quiet:?}", port.has_dtr);
            assert_eq!(sim.outcome(0), None, "{name}");
            sim.inject(Fault::EndFarEnd(0, Ending::Closed));
            let took = sim.run_until("the client hears of it", seconds(60), |sim| sim.outcome(0).is_some());
            assert!(took <= seconds(3), "{name}: {took:?}");
            assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{name}");
        }
    }
}

#[test]
fn an_upload_and_both_ways_at_once() {
    for port in ports() {
        let far = Behaviour { ends: Ends::AfterReading(150_000), ..Behaviour::echo() };
        let connection = stream().sends(Sends::Pattern(150_000)).far_end(far);
        let mut sim = wiring(port).connect(connection).start();
        sim.run_to_the_end(seconds(120));
        sim.assert_complete(0);
        sim.assert_nothing_swallowed();
    }
}

#[test]
fn a_client_that_half_closes_gets_its_answer() {
    for port in ports() {
        let says = Says::Reply { request_bytes: 5_000, response_bytes: 20_000, after: seconds(2), seed: 1 };
        let far = Behaviour { says, ends: Ends::AfterSaying(20_000), ..Behaviour::sink() };
        let connection = stream().sends(Sends::Pattern(5_000)).leaves(Leaves::HalfCloses).far_end(far);
        let mut sim = wiring(port).connect(connection).start();
        sim.run_to_the_end(seconds(60));
        sim.assert_complete(0);
    }
}

#[test]
fn a_client_that_leaves_and_another_that_comes_after_it() {
    for port in ports() {
        for missed in 0..3 {
            let first = stream().sends(Sends::Pattern(50_000)).leaves(Leaves::WhenSent);
            let second = stream().at(seconds(7)).far_end(Behaviour::source(20_000, 3));
            let mut sim = wiring(port.clone())
                .connect(first)
                .connect(second)
                .fault(seconds(1), Fault::MissEscapes(missed))
                .start();
            sim.run_to_the_end(seconds(120));
            assert_eq!(sim.fars[0].memory().read.len(), 50_000);
            assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{missed} escapes missed");
            assert_eq!(sim.ready_at.len(), 1);
        }
    }
}

/// Anyone can send the modem an SMS that contains an `OK`, and another program may have it shown.
#[test]
fn a_text_with_an_ok_in_it_is_not_payload_when_it_comes_while_an_end_is_unconfirmed() {
    let text = b"\r\n+CMT: \"+490000000\",,\"26/11/26,17:00:00+04\"\r\n> \r\nOK\r\n";
    for port in ports() {
        for after in (0..3_500).step_by(50).map(millis) {
            let far = Behaviour { ends: Ends::Never, ..Behaviour::source(1_000, 1) };
            let next = stream().at(seconds(20)).far_end(Behaviour::source(20_000, 3));
            let mut sim = wiring(port.clone())
                .connect(stream().at(seconds(3)).far_end(far))
                .connect(next)
                .fault(seconds(8), Fault::EndFarEnd(0, Ending::Closed))
                .fault(seconds(8) + after, Fault::Foreign(text.to_vec()))
                .start();
            sim.run_to_the_end(seconds(120));
            let name = format!("dcd {} dtr {}, after {after:?}", port.has_dcd, port.has_dtr);
            assert_eq!(sim.clients[0].received.len(), 1_000, "{name}");
            assert!(sim.outcome(0).is_some(), "{name}");
            assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{name}");
        }
    }
}

/// The end of the text is hidden by noise, so `CONNECT` is taken for text, and what the server sends first for the answer:
/// a command that asks for the reason would be the client's bytes.
#[test]
fn no_command_reaches_a_server_whose_connect_was_taken_for_another_programs_text() {
    let text = b"\r\n+CMT: \"+490000000\",,\"26/11/26,17:00:00+04\"\r\nhello\r\n";
    for port in ports() {
        for says in ["\r\nERROR\r\n", "\r\nNO CARRIER\r\n", "\r\n+CME ERROR: 3\r\n", "\r\n\r\n"] {
            let far = Behaviour { says: Says::Text(says.into()), ends: Ends::Never, ..Behaviour::sink() };
            let mut sim = wiring(port.clone())
                .connect(stream().at(seconds(6)).far_end(far))
                .connect(stream().at(seconds(200)).far_end(Behaviour::source(1_000, 3)))
                .fault(millis(5_600), Fault::Foreign(text.to_vec()))
                .fault(millis(5_900), Fault::Noise(0, vec![224, 255]))
                .start();
            // Every run checks what the servers have read.
            sim.run_to_the_end(seconds(300));
            let name = format!("dcd {} dtr {}, {says:?}", port.has_dcd, port.has_dtr);
            assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{name}");
            assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{name}");
        }
    }
}

/// The modem misses the escapes, so nothing comes back until it reports the real end with the same words.
#[test]
fn an_end_that_comes_while_the_same_words_in_the_payload_are_unconfirmed_is_not_given_in_their_place() {
    for port in ports().into_iter().filter(|port| !port.has_dcd) {
        for ends_after in (0..9_000).step_by(100).map(millis) {
            let says = Says::Text(b"\r\nNO CARRIER\r\n".to_vec());
            let far = Behaviour { says, ends: Ends::After(ends_after), ..Behaviour::sink() };
            let mut sim = wiring(port.clone())
                .modem(|modem| modem.quirks.missed_escape_is_payload = true)
                .connect(stream().at(seconds(3)).far_end(far))
                .fault(seconds(2), Fault::MissEscapes(3))
                .start();
            sim.run_to_the_end(seconds(120));
            let name = format!("dtr {}, ends after {ends_after:?}", port.has_dtr);
            let (received, said) = (sim.clients[0].received.len(), sim.fars[0].memory().said.len());
            assert!(
                sim.outcome(0) == Some(Outcome::Reset) || received == said,
                "{name}: {received} of {said}"
            );
        }
    }
}

#[test]
fn a_modem_that_stalls_while_an_end_is_unconfirmed_breaks_the_stream() {
    for stall in [6, 10, 13] {
        let far = Behaviour { says: Says::Text(b"\r\nNO CARRIER\r\n".to_vec()), ..Behaviour::sink() };
        let far = Behaviour { ends: Ends::After(seconds(40)), ..far };
        let unconfirmed = stream().at(seconds(10)).far_end(far);
        let later = stream().at(seconds(60)).far_end(Behaviour::source(20_000, 3));
        let port = Port { has_dcd: false, has_dtr: false, ..Port::uart() };
        let mut sim = wiring(port).connect(unconfirmed).connect(later);
        sim = sim.fault(millis(11_000), Fault::Stall(seconds(stall)));
        let mut sim = sim.start();
        sim.run_to_the_end(seconds(120));
        // The escapes that waited in the modem reached the server as payload.
        assert_ne!(sim.fars[0].memory().read, b"", "{stall} s");
        assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{stall} s");
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{stall} s");
    }
}

#[test]
fn a_server_that_ends_in_such_a_stall_is_no_end_if_it_got_an_escape() {
    // With the second text, the end is taken for announced payload.
    for text in [&b"\r\nNO CARRIER\r\n"[..], b"\r\nNO CARRIER\r\n\r\n+QSSLURC: \"recv\",0,4\r\n"] {
        let mut spoiled = 0;
        for (stall, ends) in (5..13).flat_map(|stall| (1..18).map(move |ends| (stall, ends))) {
            let far = Behaviour { says: Says::Text(text.to_vec()), ..Behaviour::sink() };
            let far = Behaviour { ends: Ends::After(seconds(ends)), ..far };
            let port = Port { has_dcd: false, has_dtr: false, ..Port::uart() };
            let unconfirmed = wiring(port).connect(stream().at(seconds(10)).far_end(far));
            let mut sim = unconfirmed.fault(millis(11_000), Fault::Stall(seconds(stall))).start();
            sim.run_to_the_end(seconds(120));
            if !sim.fars[0].memory().read.is_empty() {
                spoiled += 1;
                assert_eq!(
                    sim.outcome(0),
                    Some(Outcome::Reset),
                    "stalled for {stall} s, ended after {ends} s"
                );
            }
        }
        assert!(spoiled > 30, "{spoiled}");
    }
}

#[test]
fn a_stream_that_comes_when_its_open_has_been_given_up_is_left_and_nothing_in_it_believed() {
    for port in ports() {
        // The shortest stall is just longer than the open may take. The longest outlasts every resync step but
        // other speeds.
        for stall in (15_000..25_000).step_by(410).map(millis) {
            // The server's bytes would answer the `AT` of the resync, and end the other connection.
            let words = b"\r\nOK\r\n\r\n+QSSLURC: \"closed\",0\r\n".repeat(9);
            let late = stream()
                .at(seconds(3))
                .limits(|limits| limits.connect_timeout = seconds(10))
                .leaves(Leaves::After(seconds(60)))
                .far_end(Behaviour { says: Says::Text(words), ..Behaviour::sink() });
            let other = Connection::new(Mode::Push).far_end(Behaviour {
                says: Says::Drip { bytes: 50, every: seconds(1), total: 5_000, seed: 2 },
                ends: Ends::AfterSaying(5_000),
                ..Behaviour::sink()
            });
            let next = stream().at(seconds(90)).far_end(Behaviour::source(20_000, 3));
            let mut sim = wiring(port.clone())
                .ports([Port::usb(PortName::UsbAt), port.clone()])
                .connect(late)
                .connect(other)
                .connect(next)
                .fault(millis(2_900), Fault::Stall(stall))
                .start();
            sim.run_to_the_end(seconds(200));
            assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{stall:?}");
            assert_eq!(sim.outcome(2), Some(Outcome::Eof), "{stall:?}");
        }
    }
}

#[test]
fn a_stream_that_comes_behind_an_ok_that_was_taken_for_a_sign_of_life_gets_no_commands() {
    for port in ports() {
        for stall in (15_000..32_000).step_by(410).map(millis) {
            let late = stream()
                .at(seconds(10))
                .limits(|limits| limits.connect_timeout = seconds(10))
                .opening(Opening::Opens(millis(2_500)))
                .leaves(Leaves::After(seconds(60)))
                .far_end(Behaviour { says: Says::Text(b"\r\nERROR\r\n".repeat(9)), ..Behaviour::sink() });
            let next = stream().at(seconds(90)).far_end(Behaviour::source(20_000, 3));
            let mut sim = wiring(port.clone())
                .modem(|modem| modem.quirks.ok_before_connect = true)
                .connect(late)
                .connect(next)
                .fault(millis(9_900), Fault::Stall(stall))
                .start();
            sim.run_to_the_end(seconds(200));
            assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{stall:?}");
        }
    }
}

#[test]
fn a_stream_whose_port_was_lost_is_left_before_anything_is_asked() {
    for port in ports() {
        for says in [&b""[..], b"\r\nOK\r\n"] {
            let next = stream().at(seconds(30)).far_end(Behaviour::source(20_000, 3));
            let mut sim = wiring(port.clone()).connect(stream()).connect(next).start();
            sim.run_for(seconds(8));
            sim.inject(Fault::LosePort(0, seconds(2)));
            sim.run_for(seconds(4));
            sim.fars[0].say(says);
            sim.run_to_the_end(seconds(120));
            assert_eq!(sim.fars[0].memory().read, b"");
            assert_eq!(sim.outcome(1), Some(Outcome::Eof));
        }
    }
}

#[test]
fn data_that_arrives_while_escaping_harms_nobody() {
    for port in ports() {
        for every in [3, 150, 400, 900, 1_100, 1_300] {
            let says = Says::Drip { bytes: 50, every: millis(every), total: 1_000_000, seed: 1 };
            let first = stream()
                .sends(Sends::Pattern(500))
                .leaves(Leaves::After(seconds(8)))
                .far_end(Behaviour { says, ..Behaviour::sink() });
            let second = stream().at(seconds(9)).far_end(Behaviour::source(20_000, 3));
            let mut sim = wiring(port.clone()).connect(first).connect(second).start();
            sim.run_to_the_end(seconds(200));
            assert_eq!(sim.outcome(1), Some(Outcome::Eof), "every {every} ms");
        }
    }
}

/// What a client sends, in pieces at these times.
fn steps(pieces: &[(u64, &[u8])]) -> Sends {
    Sends::Steps(pieces.iter().map(|(at, bytes)| (millis(*at), bytes.to_vec())).collect())
}

fn arrives_as_it_is(port: Port, sends: Sends) {
    let name = format!("{sends:?}");
    let total = match &sends {
        Sends::Steps(steps) => steps.iter().map(|(_, bytes)| bytes.len()).sum(),
        _ => 0,
    };
    let far = Behaviour { ends: Ends::AfterReading(total as u64), ..Behaviour::echo() };
    let mut sim = wiring(port).connect(stream().at(seconds(3)).sends(sends).far_end(far)).start();
    sim.run_until("the client ends", seconds(120), |sim| sim.outcome(0).is_some());
    assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{name}");
    sim.run_for(seconds(30));
    assert!(sim.modem.sockets_in_use().is_empty(), "{name}");
    sim.assert_complete(0);
    sim.assert_nothing_swallowed();
}

#[test]
fn three_pluses_alone_between_long_pauses_are_payload() {
    for port in ports() {
        for text in [&b"+"[..], b"++", b"+++", b"++++", b"++++++", b"+++++++++++++++++++++"] {
            arrives_as_it_is(port.clone(), steps(&[(4_000, b"before"), (8_000, text), (12_000, b"after")]));
            arrives_as_it_is(port.clone(), steps(&[(4_000, text)]));
            arrives_as_it_is(port.clone(), steps(&[(4_000, text), (8_000, text)]));
        }
    }
}

#[test]
fn pluses_that_come_one_after_the_other_in_every_timing() {
    let times = [0, 1, 50, 300, 600, 999, 1_000, 1_001, 1_199, 1_200, 1_201, 1_500, 2_400, 3_000];
    for port in [Port::uart(), Port { has_dcd: false, has_dtr: false, ..Port::uart() }] {
        for first in times {
            for second in times {
                let (one, two) = (4_000 + first, 4_000 + first + second);
                arrives_as_it_is(port.clone(), steps(&[(4_000, b"+"), (one, b"+"), (two, b"+")]));
            }
            arrives_as_it_is(port.clone(), steps(&[(4_000, b"++"), (4_000 + first, b"+")]));
            arrives_as_it_is(port.clone(), steps(&[(4_000, b"+"), (4_000 + first, b"++")]));
            arrives_as_it_is(port.clone(), steps(&[(4_000, b"x"), (4_000 + first, b"+++")]));
            arrives_as_it_is(port.clone(), steps(&[(4_000, b"+++"), (4_000 + first, b"x")]));
        }
    }
}

#[test]
fn an_escape_at_every_offset_of_a_payload() {
    for length in [5, 9, 64] {
        for offset in 0..=length {
            let mut payload = vec![b'p'; length];
            payload.splice(offset..offset, *b"+++");
            arrives_as_it_is(
                Port { has_dcd: false, ..Port::uart() },
                steps(&[(4_000, &payload), (8_000, &payload)]),
            );
        }
    }
}

#[test]
fn the_words_of_an_end_inside_the_payload_are_payload_at_every_split() {
    let text = b"\r\nNO CARRIER\r\n";
    for port in ports() {
        for split in 0..=text.len() {
            for pause in [0, 20, 150, 700] {
                let (head, tail) = text.split_at(split);
                let far = Behaviour { ends: Ends::After(seconds(20)), ..Behaviour::sink() };
                let mut sim = wiring(port.clone())
                    .connect(stream().at(seconds(3)).far_end(far))
                    .fault(millis(5_000), Fault::Say(0, b"before".to_vec()))
                    .fault(millis(6_000), Fault::Say(0, head.to_vec()))
                    .fault(millis(6_000 + pause), Fault::Say(0, tail.to_vec()))
                    .fault(millis(14_000), Fault::Say(0, b"after".to_vec()))
                    .start();
                sim.run_to_the_end(seconds(60));
                let name = format!("dcd {} dtr {} split {split} pause {pause}", port.has_dcd, port.has_dtr);
                assert_eq!(sim.clients[0].received, b"before\r\nNO CARRIER\r\nafter", "{name}");
                assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{name}");
            }
        }
    }
}

#[test]
fn the_words_of_a_reboot_inside_the_payload_are_payload() {
    for port in ports() {
        for words in ["\r\nRDY\r\n", "\r\nPOWERED DOWN\r\n", "\r\nNORMAL POWER DOWN\r\n", "\r\nOK\r\n"] {
            let far = Behaviour { ends: Ends::After(seconds(20)), ..Behaviour::sink() };
            let mut sim = wiring(port.clone())
                .connect(stream().at(seconds(3)).sends(steps(&[(9_000, b"up")])).far_end(far))
                .fault(millis(6_000), Fault::Say(0, words.into()))
                .fault(millis(6_100), Fault::Say(0, words.into()))
                .start();
            sim.run_to_the_end(seconds(60));
            assert_eq!(sim.clients[0].received, words.repeat(2).as_bytes());
            assert_eq!(sim.outcome(0), Some(Outcome::Eof));
            assert_eq!(sim.fars[0].memory().read, b"up");
            assert_eq!(sim.ready_at.len(), 1);
        }
    }
}

#[test]
fn the_words_of_an_end_inside_the_payload_just_before_the_end_itself() {
    for port in ports() {
        for pause in [0, 10, 99, 100, 101, 299, 300, 301, 1_000, 1_499, 1_501, 2_600, 3_000, 4_000] {
            let mut sim = wiring(port.clone())
                .connect(stream().at(seconds(3)))
                .fault(millis(6_000), Fault::Say(0, b"x\r\nNO CARRIER\r\ny\r\nNO CARRIER\r\n".to_vec()))
                .fault(millis(6_000 + pause), Fault::EndFarEnd(0, Ending::Closed))
                .start();
            sim.run_to_the_end(seconds(60));
            let name = format!("dcd {} dtr {} pause {pause}", port.has_dcd, port.has_dtr);
            if sim.outcome(0) == Some(Outcome::Eof) {
                assert_eq!(sim.clients[0].received, b"x\r\nNO CARRIER\r\ny\r\nNO CARRIER\r\n", "{name}");
            }
        }
    }
}

#[test]
fn a_server_that_closes_at_any_moment() {
    for port in ports() {
        for ms in (0..600).step_by(29) {
            let says = Says::Drip { bytes: 90, every: millis(11), total: 1_000_000, seed: 3 };
            let far = Behaviour { says, ends: Ends::After(millis(ms)), ..Behaviour::sink() };
            let connection = stream().sends(Sends::Pattern(100_000)).far_end(far);
            let mut sim = wiring(port.clone()).connect(connection).start();
            sim.run_to_the_end(seconds(60));
        }
    }
}

#[test]
fn a_slow_client_slows_its_server_and_loses_nothing() {
    let mut connection =
        stream().far_end(Behaviour::source(200_000, 3)).reads(Reads::Drip(2_000, millis(400)));
    connection.client.buffer_bytes = 4_000;
    let mut sim = wiring(Port::uart()).connect(connection).start();
    sim.run_to_the_end(seconds(200));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    assert_eq!(sim.clients[0].received.len(), 200_000);
    sim.assert_nothing_swallowed();
}

/// USB ports behind a driver that takes everything: with DTR, which leaves a stream at once, and without.
fn dropping_ports() -> [Port; 2] {
    let usb = Port { is_named: false, ..Port::usb(PortName::UsbModem) }.dropping_unread(60_000);
    [Port { has_dtr: true, ..usb.clone() }, usb]
}

/// In data mode nothing would stop the modem. In buffer mode it is asked for as much as there is room for.
#[test]
fn a_slow_client_loses_nothing_where_the_driver_drops_what_is_not_read() {
    for port in dropping_ports() {
        for reads in [Reads::Drip(20_000, millis(400)), Reads::After(seconds(30))] {
            // 50 kB/s, which is 100 kB in the two seconds that an escape takes.
            let mut connection = stream().far_end(Behaviour::source(600_000, 3)).reads(reads);
            connection.client.buffer_bytes = 4_000;
            (connection.window_bytes, connection.latency) = (5_000, millis(50));
            let mut sim = Wiring::new().ports([port.clone()]).connect(connection).start();
            sim.run_to_the_end(seconds(200));
            assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{reads:?}");
            assert_eq!(sim.clients[0].received.len(), 600_000, "{reads:?}");
            sim.assert_nothing_swallowed();
        }
    }
}

/// More may have come than the driver keeps, while the host slept or until the stream was left: that is no end in order.
#[test]
fn what_a_driver_may_have_dropped_resets_the_client() {
    for port in dropping_ports() {
        let far = || Behaviour::source(600_000, 3);
        let mut sleeps = stream().far_end(far());
        (sleeps.window_bytes, sleeps.latency) = (20_000, millis(50));
        let mut fast = stream().far_end(far()).reads(Reads::After(seconds(30)));
        fast.client.buffer_bytes = 4_000;
        let (has_dtr, ports) = (port.has_dtr, || Wiring::new().ports([port.clone()]));
        let mut sims = vec![ports().connect(sleeps).fault(millis(800), Fault::HoldLine(0, seconds(2)))];
        // By DTR it would be left in time.
        sims.extend((!has_dtr).then(|| ports().connect(fast)));
        for wiring in sims {
            let mut sim = wiring.start();
            sim.run_to_the_end(seconds(200));
            assert_eq!(sim.outcome(0), Some(Outcome::Reset));
        }
    }
}

#[test]
fn a_slow_server_slows_its_client_and_loses_nothing() {
    let far = Behaviour {
        reads: qssl_modem_emulator::network::simulated::Reads::Drip { bytes: 1_000, every: millis(300) },
        ends: Ends::AfterReading(60_000),
        ..Behaviour::sink()
    };
    let connection =
        Connection { window_bytes: 2_000, ..stream().sends(Sends::Pattern(60_000)).far_end(far) };
    let mut sim = wiring(Port::uart()).connect(connection).start();
    sim.run_to_the_end(seconds(200));
    sim.assert_complete(0);
    sim.assert_nothing_swallowed();
}

#[test]
fn connect_in_its_shapes() {
    for quirk in ["ok_before_connect", "return_unreliable", "missed_escape_is_payload"] {
        let connection = stream().far_end(Behaviour::source(20_000, 3));
        let mut wiring = wiring(Port::uart()).connect(connection);
        assert!(wiring.modem.quirks.set(quirk, true));
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{quirk}");
    }
}

#[test]
fn streams_on_one_port_take_turns() {
    let connection = stream().far_end(Behaviour::source(20_000, 3));
    let mut sim = wiring(Port::uart()).connect_many(4, &connection).start();
    sim.run_to_the_end(seconds(120));
    (0..4).for_each(|index| sim.assert_complete(index));
}

#[test]
fn a_refused_open_is_a_reset_and_the_port_takes_commands_again() {
    let fails = Opening::Fails(seconds(1), qssl_modem_emulator::network::OpenFailure::Refused);
    let later = stream().at(seconds(10)).far_end(Behaviour::source(20_000, 3));
    let mut sim = wiring(Port::uart()).connect(stream().opening(fails)).connect(later).start();
    sim.run_to_the_end(seconds(60));
    assert_eq!(sim.outcome(0), Some(Outcome::Reset));
    assert_eq!(sim.outcome(1), Some(Outcome::Eof));
}

#[test]
fn the_usb_at_port_of_an_ec20_cannot_and_says_so() {
    let mut sim = Wiring::new()
        .ports([Port::usb(PortName::UsbAt)])
        .modem(|modem| modem.family = Family::Ec20)
        .settings(|settings| settings.wait = Wait::Not)
        .connect(stream())
        .start();
    sim.run_until("it gives up", seconds(60), |sim| sim.stopped.is_some());
    assert_eq!(sim.stopped, Some(Kind::Usage));
}

#[test]
fn a_connection_without_a_word_for_an_hour_is_left_alone() {
    let far = Behaviour { ends: Ends::After(Duration::from_secs(3_600)), ..Behaviour::sink() };
    let mut sim = wiring(Port::uart()).connect(stream().far_end(far)).start();
    sim.run_for(seconds(10));
    let carried = sim.carried[0];
    sim.run_for(seconds(3_000));
    assert_eq!(sim.carried[0], carried, "nothing is said in data mode");
    sim.run_to_the_end(seconds(700));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
}

#[test]
fn opens_and_bytes_of_streams_are_counted_like_any_others() {
    for port in ports() {
        let far = Behaviour { ends: Ends::AfterReading(30_000), ..Behaviour::echo() };
        let mut sim = wiring(port).connect(stream().sends(Sends::Pattern(30_000)).far_end(far)).start();
        sim.run_to_the_end(seconds(60));
        let counters = sim.relay.modem().counters();
        assert_eq!((counters.opens, counters.sent_bytes, counters.received_bytes), (1, 30_000, 30_000));
        assert!(counters.open_seconds.is_some_and(|[.., longest]| longest >= 0.2));
    }
}

/// Failed opens of streams once added up, whatever came between them, and the data session was rebuilt.
#[test]
fn a_stream_that_opens_shows_that_the_data_session_carries() {
    for (comes, rebuilds) in [(true, 0), (false, 1)] {
        let mut wiring = Wiring::new().uart(115_200);
        for at in [10, 20, 40] {
            wiring = wiring.fault(seconds(at - 1), Fault::FailOpen(565)).connect(stream().at(seconds(at)));
        }
        if comes {
            wiring = wiring.connect(stream().at(seconds(30)).far_end(Behaviour::source(1_000, 1)));
        }
        let mut sim = wiring.start();
        sim.run_for(seconds(60));
        assert_eq!(sim.said("AT+QIDEACT=1"), rebuilds, "a stream came: {comes}");
    }
}

/// Payload that a modem in command mode would take for commands.
fn commanding_payload(bytes: usize) -> Vec<u8> {
    b"some text and then\r\nAT+CSQ\r\nATI\r\nAT+QSSLURC\r\n".iter().copied().cycle().take(bytes).collect()
}

#[test]
fn a_reboot_with_echo_during_an_upload_is_a_reset_soon_and_stops_the_upload() {
    let usb = Port { paced: true, ..Port::usb(PortName::UsbModem) };
    for port in ports().into_iter().chain([usb]) {
        for (everything_echoed, payload) in [
            (true, pattern(7, 0, 120_000)),
            (true, commanding_payload(120_000)),
            (false, commanding_payload(120_000)),
        ] {
            let client = stream().at(seconds(12)).sends(Sends::Steps(vec![(Duration::ZERO, payload)]));
            let next = stream().at(seconds(100)).far_end(Behaviour::source(20_000, 3));
            let mut sim = wiring(port.clone())
                .modem(|modem| modem.quirks.everything_echoed = everything_echoed)
                .connect(client)
                .connect(next)
                .fault(seconds(15), Fault::Reboot)
                .start();
            let name = format!("dcd {} dtr {} {everything_echoed}", port.has_dcd, port.has_dtr);
            sim.run_until("the modem is up again", seconds(30), |sim| sim.modem.counters().boots == 2);
            let carried = sim.carried[0].0;
            sim.run_until("the client hears of it", seconds(5), |sim| sim.outcome(0).is_some());
            assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{name}");
            assert_eq!(sim.clients[0].received, b"", "{name}: the server has said nothing");
            assert!(sim.carried[0].0 - carried < 100, "{name}: {}", sim.carried[0].0 - carried);
            sim.run_to_the_end(seconds(200));
            assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{name}");
        }
    }
}

#[test]
fn a_reboot_without_a_word_that_only_echoes_is_a_reset_soon() {
    for port in ports() {
        let sends = Sends::Drip { bytes: 300, every: millis(100), total: 400_000 };
        let far = Behaviour { ends: Ends::After(seconds(300)), ..Behaviour::sink() };
        let client = stream().at(seconds(12)).sends(sends).far_end(far);
        // By then the loss of the data session is known.
        let later = stream().at(seconds(100)).far_end(Behaviour::source(20_000, 3));
        let mut sim = wiring(port.clone())
            .modem(|modem| (modem.quirks.boots_silently, modem.quirks.everything_echoed) = (true, true))
            .connect(client)
            .connect(later)
            .fault(seconds(20), Fault::Reboot)
            .start();
        let name = format!("dcd {} dtr {}", port.has_dcd, port.has_dtr);
        sim.run_until("the modem is up again", seconds(60), |sim| sim.modem.counters().boots == 2);
        sim.run_until("the client hears of it", seconds(12), |sim| sim.outcome(0).is_some());
        assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{name}");
        let echoed = sim.clients[0].received.len();
        assert!(echoed <= 6_000, "{name}: {echoed} bytes of its own upload");
        sim.run_to_the_end(seconds(300));
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{name}");
    }
}

#[test]
fn a_server_that_echoes_words_of_ends_in_bulk_keeps_its_stream() {
    let words =
        ["\r\nNO CARRIER\r\n", "\r\nRDY\r\n", "\r\nPOWERED DOWN\r\n", "some text\r\nOK\r\nAT+CSQ\r\n"];
    for port in ports() {
        for text in [words.concat(), words[0].repeat(4), format!("{}{}", "x".repeat(3_000), words[0])] {
            // Such words directly before the end would make the end uncertain.
            let mut bytes: Vec<u8> = text.bytes().cycle().take(12_000).collect();
            bytes.extend(b"... and no more");
            let far = Behaviour { ends: Ends::After(seconds(60)), ..Behaviour::echo() };
            let sends = Sends::Steps(vec![(Duration::ZERO, bytes)]);
            let mut sim = wiring(port.clone()).connect(stream().sends(sends).far_end(far)).start();
            sim.run_to_the_end(seconds(400));
            let name = format!("dcd {} dtr {} {:?}", port.has_dcd, port.has_dtr, &text[..20]);
            assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{name}");
            sim.assert_complete(0);
        }
    }
}

/// Its open never left, and the time of waiting had ended with the socket that it got.
#[test]
fn a_client_that_comes_while_a_stream_is_left_waits_no_longer_than_the_queue_timeout() {
    for comes in (5_000..8_000).step_by(100) {
        let visit = |at| Connection::new(Mode::Transparent).at(millis(at));
        let short = visit(5_000).far_end(Behaviour::source(100, 5));
        let patient =
            |at| visit(at).limits(|limits| limits.queue_timeout = seconds(5)).far_end(Behaviour::sink());
        let mut sim = Wiring::eg800q()
            .uart(115_200)
            .connect(short)
            .connect(patient(comes).leaves(Leaves::After(seconds(500))))
            .connect(patient(comes + 10))
            .start();
        sim.run_until("one of them is turned away", seconds(40), |sim| sim.outcome(2).is_some());
        assert_eq!(sim.outcome(2), Some(Outcome::Reset), "came at {comes} ms");
    }
}
