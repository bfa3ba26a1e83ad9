//! Goal of this test: bugs that random runs have found stay fixed. Each test builds the wiring itself, because a seed
//! gives another run as soon as a draw changes. Times that mattered are tried in steps.

use qssl_core::at::IdSet;
use qssl_core::settings::Mode;
use qssl_modem_emulator::PortName;
use qssl_modem_emulator::network::OpenFailure;
use qssl_modem_emulator::network::simulated::{Behaviour, Ends, Opening, Says};

use qssl_simulation::by_hand::ByHand;
use qssl_simulation::wiring::{Connection, FAMILIES, Fault, Leaves, Port, Sends, Wiring, millis, seconds};
use qssl_simulation::{Outcome, Simulation};

/// A UART without DCD: only the modem's words show that a stream is over.
fn without_dcd() -> Port {
    Port { has_dcd: false, ..Port::uart() }
}

fn stream() -> Connection {
    Connection::new(Mode::Transparent)
}

/// A client that is served when everything is over.
fn later(mode: Mode) -> Connection {
    Connection::new(mode).at(seconds(100)).far_end(Behaviour::source(3_000, 9))
}

/// Runs a wiring, whose last connection must be served.
fn serves(wiring: &Wiring, name: &str) -> Simulation {
    let mut sim = wiring.start();
    sim.run_to_the_end(seconds(400));
    assert_eq!(sim.outcome(wiring.connections.len() - 1), Some(Outcome::Eof), "{name}");
    sim
}

/// A line directly after pushed payload, as some modules send the result of an open, was once taken for lost bytes.
#[test]
fn the_result_of_an_open_straight_after_payload_is_no_lost_byte() {
    let pushed = Connection::new(Mode::Push).far_end(Behaviour::source(3_000, 1));
    for opens in (4_000..5_000).step_by(100) {
        let sim = serves(
            &Wiring::new()
                .uart(9_600)
                .modem(|modem| {
                    modem.quirks.open_result_without_empty_line = true;
                    modem.push_limit_bytes = 1;
                })
                .connect(pushed.clone())
                .connect(pushed.clone().at(millis(opens))),
            &format!("the second opens after {opens} ms"),
        );
        sim.assert_complete(0);
        sim.assert_complete(1);
    }
}

/// URCs of a socket are lost together with their port. The client once hung.
#[test]
fn a_push_client_hears_that_the_port_of_its_urcs_was_lost() {
    let ports = [PortName::UsbAt, PortName::UsbModem].map(Port::usb);
    for away in [1, 100, 821, 5_000] {
        let wiring = Wiring::new()
            .ports(ports.clone())
            .connect(Connection::new(Mode::Push))
            .connect(later(Mode::Transparent))
            .fault(seconds(20), Fault::LosePort(0, millis(away)));
        let sim = serves(&wiring, &format!("away for {away} ms"));
        assert_eq!(sim.outcome(0), Some(Outcome::Reset), "away for {away} ms");
    }
}

/// A module closes the channel of the URCs while a read is answered on another one. The client, which is reset, was once
/// given the next bytes without those before them, which had come in the same piece.
#[test]
fn a_channel_that_closes_beside_a_read_leaves_no_gap_before_the_reset() {
    let mut resets = 0;
    for after in (0..600).step_by(5) {
        let mut wiring = Wiring::new()
            .uart(115_200)
            .cmux()
            .settings(|settings| settings.cmux_frame = Some(31))
            .connect(Connection::new(Mode::Buffer).far_end(Behaviour::source(100_000, 1)))
            .connect(later(Mode::Buffer))
            .fault(seconds(8) + millis(after), Fault::EndChannel(1, true));
        wiring.ports[0].splits = true;
        let sim = serves(&wiring, &format!("8 s and {after} ms"));
        resets += u32::from(sim.outcome(0) == Some(Outcome::Reset));
    }
    assert!(resets > 100, "{resets}");
}

/// The words of a module that boots in the middle of announced payload were once delivered as its rest.
#[test]
fn a_reboot_in_the_middle_of_announced_payload_adds_nothing_to_it() {
    for after in (0..300).step_by(10) {
        let far = Behaviour { ends: Ends::Never, ..Behaviour::source(200_000, 1) };
        let wiring = Wiring::new()
            .uart(115_200)
            .connect(Connection::new(Mode::Push).far_end(far))
            .connect(later(Mode::Push))
            .fault(seconds(8) + millis(after), Fault::Reboot);
        let name = format!("8 s and {after} ms");
        assert_eq!(serves(&wiring, &name).outcome(0), Some(Outcome::Reset), "{name}");
    }
}

/// A module that boots silently echoes what is sent to it, and answers. Both were once delivered as the rest of
/// announced payload.
#[test]
fn nor_do_the_echo_and_the_answer_of_a_module_that_has_booted_without_a_word() {
    for (after, asks) in (0..100).step_by(4).zip((0..25).map(|turn| 1_000 + 150 * turn)) {
        let far = Behaviour { ends: Ends::Never, ..Behaviour::source(200_000, 1) };
        let reboots = seconds(8) + millis(after);
        let mut wiring = Wiring::new().uart(115_200).modem(|modem| {
            modem.quirks.boots_silently = true;
            modem.boot_time = seconds(1);
        });
        // This socket is opened, closed and queried while no payload comes.
        let other = Connection::new(Mode::Push).at(reboots + millis(asks)).leaves(Leaves::After(millis(500)));
        wiring = wiring.connect(Connection::new(Mode::Push).far_end(far)).connect(other);
        // The open of this client shows that the data session is lost.
        wiring =
            wiring.connect(Connection::new(Mode::Push).at(seconds(60)).leaves(Leaves::After(seconds(10))));
        wiring = wiring.connect(later(Mode::Push)).fault(reboots, Fault::Reboot);
        let name = format!("8 s and {after} ms, asked {asks} ms later");
        let sim = serves(&wiring, &name);
        assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{name}");
    }
}

/// A module that loses power in the middle of `NO CARRIER` does not finish it. The letters were once delivered.
#[test]
fn half_of_the_words_of_an_end_is_no_payload() {
    // `NO CARRIER` takes longer on the line than a step of this loop.
    for after in (0..400).step_by(4) {
        let far = Behaviour::source(3_000, 1);
        let wiring = Wiring::new().uart(9_600).ports([without_dcd()]);
        // The next client is served at once: the reboot is known, even if its words were not recognised.
        let wiring = wiring.connect(stream().far_end(far)).connect(later(Mode::Push));
        let mut sim = wiring.start();
        sim.run_until("most has come", seconds(60), |sim| sim.clients[0].received.len() > 2_600);
        sim.run_for(millis(after));
        sim.inject(Fault::Reboot);
        sim.run_to_the_end(seconds(400));
        assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{after} ms");
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{after} ms");
    }
}

/// While data of other sockets was pushed without a pause, the `OK` of an escape was once not recognised in time. It
/// was delivered, together with the pushed data.
#[test]
fn what_others_are_pushed_behind_the_ok_of_an_escape_is_no_payload() {
    let says = |text: &[u8]| Says::Text(text.to_vec());
    for piece in [100, 1_460, 4_000] {
        for words in (4_000..6_000).step_by(100) {
            let mut wiring = Wiring::new().ports([
                Port { paced: true, ..Port::usb(PortName::UsbAt) },
                Port { paced: true, ..Port::usb(PortName::UsbModem) },
            ]);
            wiring.modem.push_limit_bytes = piece;
            wiring.modem.quirks.urcs_by_every_port = true;
            let far = Behaviour { says: says(b"first \r\nRDY\r\n"), ends: Ends::Never, ..Behaviour::sink() };
            let bulk = Behaviour { ends: Ends::Never, ..Behaviour::source(200_000, 3) };
            wiring =
                wiring.connect(stream().at(millis(words)).far_end(far).leaves(Leaves::After(seconds(30))));
            for at in [2_000, 2_500] {
                let pushed = Connection::new(Mode::Push).far_end(bulk.clone()).at(millis(at));
                wiring = wiring.connect(pushed.leaves(Leaves::After(seconds(40))));
            }
            let sim = serves(&wiring.connect(later(Mode::Push)), &format!("pieces of {piece}, {words} ms"));
            let received = &sim.clients[0].received;
            assert!(received.starts_with(b"first "), "{}", received.escape_ascii());
        }
    }
}

/// `RING` once hid the `OK` of an escape or of a drop of DTR. The stream then ended in order, but too soon.
#[test]
fn a_word_of_the_modem_after_the_ok_of_an_escape_does_not_hide_it() {
    let words = b"\r\nERROR\r\n\r\n> \r\nNO CARRIER\r\n";
    for has_dtr in [true, false] {
        for rings in (3_500..8_000).step_by(100) {
            let far = Behaviour {
                says: Says::Text(words.to_vec()),
                ends: Ends::AfterReading(1_459),
                ..Behaviour::sink()
            };
            let suspicious = stream().at(millis(4_200)).sends(Sends::Pattern(1_459)).far_end(far);
            let wiring = Wiring::new()
                .ports([Port { has_dtr, ..without_dcd() }])
                .connect(Connection { latency: millis(300), window_bytes: 500, ..suspicious })
                .connect(later(Mode::Transparent))
                .fault(millis(rings), Fault::Urc("RING".into()));
            let name = format!("DTR {has_dtr}, RING after {rings} ms");
            let sim = serves(&wiring, &name);
            if sim.outcome(0) == Some(Outcome::Eof) {
                assert_eq!(sim.clients[0].received, words, "{name}");
            }
        }
    }
}

/// The words of a modem that reboots were once payload of a stream that had been silent.
#[test]
fn a_reboot_adds_nothing_to_a_quiet_stream() {
    for port in [Port::usb(PortName::UsbModem), without_dcd(), Port::uart()] {
        let wiring = Wiring::new()
            .ports([port.clone()])
            .connect(stream())
            .connect(later(Mode::Transparent))
            .fault(seconds(50), Fault::OtherProgram(b"AT+CFUN=1,1\r".to_vec()));
        let name = format!("{port:?}");
        let sim = serves(&wiring, &name);
        assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{name}");
        assert_eq!(sim.clients[0].received, b"", "{name}");
    }
}

/// A module that rebooted without a message while it was set up had lost the port of its URCs, and nobody noticed. Then it
/// seemed to choose the port that opens a socket, and this was believed for ever, although each connection that the other
/// port opened was cut for it.
#[test]
fn a_reboot_without_a_message_during_the_set_up_costs_later_clients_nothing() {
    for ports in [[PortName::UsbAt, PortName::UsbModem], [PortName::UsbModem, PortName::UsbAt]] {
        for reboot in (1_000..40_000).step_by(1_500) {
            let uarts = ports.map(|name| Port { name, ..Port::uart() });
            let mut wiring = Wiring::new().ports(uarts).modem(|modem| {
                modem.quirks.boots_silently = true;
                modem.quirks.sleeps = true;
                modem.mute = vec!["+QICFG".into()];
            });
            for turn in 0..4 {
                let client = Connection::new(Mode::Push).far_end(Behaviour::source(3_000, 9));
                wiring = wiring.connect(client.at(seconds(150 + 30 * turn)));
            }
            let mut sim = wiring.fault(millis(reboot), Fault::Reboot).start();
            sim.run_to_the_end(seconds(400));
            let outcomes: Vec<_> = (0..4).map(|client| sim.outcome(client)).collect();
            assert_eq!(outcomes, [Some(Outcome::Eof); 4], "{ports:?}, reboot after {reboot} ms");
        }
    }
}

/// Where DCD shows an end, all that follows is waited for. While others were pushed bytes without a pause, these were
/// delivered as soon as there were many of them.
#[test]
fn what_others_are_pushed_without_a_pause_after_an_end_is_no_payload() {
    for ends in (0..500).step_by(50) {
        // The module refuses to close these, so they are pushed bytes while the stream is opened.
        let bulk = Behaviour { ends: Ends::Never, ..Behaviour::source(100_000, 3) };
        let pushed =
            Connection::new(Mode::Push).at(seconds(5)).far_end(bulk).leaves(Leaves::After(seconds(1)));
        let far = Behaviour { ends: Ends::After(millis(ends)), ..Behaviour::source(1_000, 1) };
        let short = stream().at(seconds(6)).far_end(far).opening(Opening::Opens(seconds(3)));
        let mut wiring = Wiring::new().uart(115_200).connect(short).connect_many(3, &pushed);
        wiring.modem.receive_buffer_bytes = 20_000;
        wiring = wiring.connect(later(Mode::Push)).fault(seconds(5), Fault::RefuseCloses(3));
        let sim = serves(&wiring, &format!("ends after {ends} ms"));
        sim.assert_complete(0);
    }
}

/// A line that stands still holds up the rest of the words, and DCD with them. Nothing shows then that the first letters
/// are no payload, but the rest does.
#[test]
fn a_line_that_stands_still_in_the_words_of_an_end_resets_the_client() {
    for port in [Port::uart(), without_dcd()] {
        let mut begun = 0;
        // `CONNECT`, a byte of payload and the words of the end come one after the other.
        for after in 20_255..20_280 {
            let short = Connection { latency: millis(0), ..stream().at(seconds(20)) };
            let wiring = Wiring::new().uart(9_600).ports([port.clone()]);
            let wiring = wiring.connect(short.far_end(Behaviour::source(1, 1))).connect(later(Mode::Push));
            let mut sim = wiring.start();
            sim.run_for(millis(after));
            // What has come so far is read.
            sim.inject(Fault::HoldLine(0, millis(0)));
            sim.inject(Fault::HoldLine(0, seconds(12)));
            sim.run_to_the_end(seconds(400));
            let name = format!("DCD {}, held after {after} ms", port.has_dcd);
            if sim.clients[0].received.len() > 1 {
                begun += 1;
                assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{name}");
            }
            assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{name}");
        }
        assert!(begun >= 3, "DCD {}: {begun} clients got the first letters", port.has_dcd);
    }
}

/// While the module was slow to let URCs leave by another port, sockets were opened in push mode. What they were pushed
/// meanwhile was lost with the port, and the client got the rest.
#[test]
fn nothing_is_pushed_while_the_port_of_urcs_is_lost() {
    let ports = [PortName::UsbAt, PortName::UsbModem, PortName::Uart1].map(Port::usb);
    for (lost, opens) in (0..3).flat_map(|lost| (0..4_000).step_by(200).map(move |opens| (lost, opens))) {
        let drips = Says::Drip { bytes: 20, every: millis(100), total: 2_000, seed: 2 };
        let far = Behaviour { says: drips, ends: Ends::AfterSaying(2_000), ..Behaviour::sink() };
        let wiring = Wiring::new()
            .ports(ports.clone())
            .connect(Connection::new(Mode::Push).at(seconds(60) + millis(opens)).far_end(far))
            .connect(later(Mode::Push))
            .fault(seconds(60), Fault::LosePort(lost, seconds(20)))
            .fault(seconds(60), Fault::DelayAnswer(seconds(3)));
        serves(&wiring, &format!("port {lost} lost, opened {opens} ms later")).assert_complete(0);
    }
}

/// A module that closes no connection while it opens it kept the number of one that was opened ahead. While a client waited
/// for it, the data session was rebuilt, and another client's healthy connection was cut.
#[test]
fn an_open_that_cannot_be_ended_costs_no_other_client_its_connection() {
    for mode in [Mode::Push, Mode::Buffer] {
        let drips = Says::Drip { bytes: 20, every: seconds(1), total: 6_000, seed: 2 };
        let healthy = Behaviour { says: drips, ends: Ends::AfterSaying(6_000), ..Behaviour::sink() };
        let dead = Opening::Fails(seconds(140), OpenFailure::Refused);
        let waits = later(mode).limits(|limits| limits.queue_timeout = seconds(300));
        let wiring = Wiring::new()
            .settings(|settings| settings.sockets = IdSet::first(2))
            .modem(|modem| modem.quirks.close_of_opening_refused = true)
            .connect(Connection::new(mode).far_end(healthy))
            .connect(Connection::new(mode).warm(1).at(seconds(10_000)).opening(dead))
            .connect(waits);
        let mut sim = wiring.start();
        sim.run_until("both are served", seconds(400), |sim| {
            [0, 2].iter().all(|client| sim.outcome(*client).is_some())
        });
        assert_eq!([sim.outcome(0), sim.outcome(2)], [Some(Outcome::Eof); 2], "{mode:?}");
        sim.assert_complete(0);
        sim.assert_complete(2);
    }
}

/// The result of an open came straight after another program's text, without an empty line between them, and was taken for
/// more of the text. Whatever the module sent of the connection then, the client waited for a minute, and was reset.
#[test]
fn an_open_whose_result_is_hidden_in_a_text_is_asked_about() {
    for (family, is_plain, speaks) in FAMILIES
        .into_iter()
        .flat_map(|family| [false, true].map(|is_plain| (family, is_plain)))
        .flat_map(|(family, is_plain)| [false, true].map(|speaks| (family, is_plain, speaks)))
    {
        for after in (0..500).step_by(50) {
            let mut client = match speaks {
                true => {
                    let far = Behaviour { ends: Ends::After(seconds(3)), ..Behaviour::source(3_000, 1) };
                    Connection::new(Mode::Buffer).far_end(far)
                }
                false => {
                    let asks = Connection::new(Mode::Buffer).sends(Sends::Pattern(3_000));
                    asks.far_end(Behaviour::echo()).leaves(Leaves::WhenRead(3_000))
                }
            };
            if is_plain {
                client = client.plain();
            }
            let text = b"+CMT: \"+49\",,\"26/11/26,17:00:00+04\"\r\nhello\r\n".to_vec();
            let mut sim = Wiring::new()
                .family(family)
                .modem(|modem| modem.quirks.open_result_without_empty_line = true)
                .connect(client.at(seconds(20)).opening(Opening::Opens(millis(500))))
                .fault(seconds(20) + millis(105 + after), Fault::Foreign(text))
                .start();
            sim.run_to_the_end(seconds(400));
            let name = format!("{family:?}, plain: {is_plain}, speaks: {speaks}, the text {after} ms later");
            sim.assert_complete(0);
            let (accepted, ended) = (sim.clients[0].accepted_at(), sim.clients[0].ended_at);
            let took = accepted.zip(ended).map(|(accepted, ended)| ended - accepted);
            assert!(took.is_some_and(|took| took < seconds(10)), "{name}: {took:?}");
        }
    }
}

/// A module that was never asked how it takes AT+QSSLCLOSE, and takes no time in it, refused the first close. The client was
/// reset before the form without a time was tried.
#[test]
fn the_first_close_of_a_module_without_a_close_time_ends_in_order() {
    for mode in [Mode::Push, Mode::Buffer] {
        let client = Connection::new(mode).at(seconds(50)).far_end(Behaviour::source(3_000, 1));
        let mut sim = Wiring::new()
            .modem(|modem| {
                modem.quirks.close_without_time = true;
                modem.mute = vec!["+QSSLCLOSE=?".into()];
            })
            .connect(client)
            .connect(later(mode))
            .start();
        sim.run_to_the_end(seconds(400));
        for client in 0..2 {
            assert_eq!(sim.outcome(client), Some(Outcome::Eof), "{mode:?}, client {client}");
            sim.assert_complete(client);
        }
    }
}

/// Payload like a line of the modem, which came after a pause and in two pieces, was taken for a message after lost bytes:
/// every connection of the port was reset. Such a message is still noticed.
#[test]
fn pushed_payload_like_a_message_after_a_pause_resets_nobody() {
    let words = b"\r\n+QSSLURC: \"closed\",1\r\n";
    for (is_lost, split) in [(false, 0), (false, 9), (false, 20), (true, 9)] {
        let mut hand = ByHand::new(&[Mode::Push, Mode::Push], 1, true, |_| {});
        hand.run_until_ready();
        let clients = [0, 1].map(|tunnel| hand.connect(tunnel).expect("there is room"));
        hand.run_for(seconds(5));
        let length = words.len() + if is_lost { 40 } else { 0 };
        hand.says(0, format!("\r\n+QSSLURC: \"recv\",0,{length}\r\n").as_bytes());
        for piece in [&words[..split], &words[split..], b"\r\n+CREG: 1\r\n"] {
            hand.run_for(millis(20));
            hand.says(0, piece);
        }
        hand.run_for(seconds(2));
        let reset = is_lost.then_some(Outcome::Reset);
        assert_eq!(clients.map(|client| hand.clients[client].outcome), [reset; 2], "split at {split}");
        let received = if is_lost { &b""[..] } else { words };
        assert_eq!(hand.clients[clients[0]].received, received, "split at {split}");
    }
}

/// A module rebooted to another speed while nothing was open. What it sent was noise, from which nothing followed: the next
/// client waited in vain.
#[test]
fn a_module_that_is_back_at_another_speed_is_found_by_its_noise() {
    for splits in [false, true] {
        let mut wiring = Wiring::new().uart(921_600).modem(|modem| modem.baud = 115_200);
        wiring.ports[0].splits = splits;
        wiring = wiring.fault(seconds(100), Fault::Reboot);
        for turn in 0..80 {
            wiring = wiring.fault(seconds(115 + 2 * turn), Fault::Urc(format!("+CREG: {}", turn % 2)));
        }
        let mut sim =
            wiring.connect(Connection::new(Mode::Push).far_end(Behaviour::source(3_000, 1))).start();
        sim.run_for(seconds(100));
        let is_found =
            |sim: &Simulation| sim.logged().iter().any(|line| line.contains("back at 115200 baud"));
        let took = sim.run_until("the modem is found", seconds(100), is_found);
        assert!(took < seconds(40), "splits {splits}: {took:?}");
    }
}
