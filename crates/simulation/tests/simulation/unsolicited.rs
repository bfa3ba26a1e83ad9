//! Goal of this test: URCs and other unsolicited bytes can come anywhere and do no harm.

use qssl_core::settings::{Authentication, Mode, Pem, Tls};
use qssl_modem_emulator::network::simulated::{Behaviour, Ends, Says};
use qssl_modem_emulator::{Family, PortName};

use qssl_simulation::Outcome;
use qssl_simulation::material::other_programs;
use qssl_simulation::wiring::{Connection, Fault, Leaves, Port, Sends, Wiring, millis, seconds};

const SEAMS: [&str; 4] =
    ["urc_before_echo", "urc_before_answer", "urc_before_send_result", "urc_inside_answer"];

fn exchange(mode: Mode) -> Connection {
    let far = Behaviour { ends: Ends::AfterReading(50_000), ..Behaviour::echo() };
    Connection::new(mode).sends(Sends::Pattern(50_000)).far_end(far)
}

#[test]
fn at_every_seam() {
    for seam in SEAMS {
        for mode in [Mode::Push, Mode::Buffer] {
            let latencies = |modem: &mut qssl_modem_emulator::Config| {
                (modem.command_latency, modem.prompt_latency) = (millis(15), millis(8));
                (modem.send_latency, modem.receive_latency) = (millis(16), millis(20));
            };
            let mut wiring = Wiring::new().uart(115_200).modem(latencies).connect_many(3, &exchange(mode));
            assert!(wiring.modem.quirks.set(seam, true));
            for at in 1..200 {
                let text = ["+QIND: SMS DONE", "RING", "+CREG: 1", "+CMTI: \"SM\",3", "+QIURC: \"recv\",11"];
                let text = text[at as usize % text.len()];
                wiring = wiring.fault(millis(at * 97), Fault::Urc(text.into()));
            }
            let mut sim = wiring.start();
            sim.run_to_the_end(seconds(120));
            (0..3).for_each(|index| sim.assert_complete(index));
            sim.assert_nothing_swallowed();
        }
    }
}

/// This test uses buffer mode: after pushed payload, the cut-off bytes could also be the end of that payload.
#[test]
fn with_its_head_cut_off() {
    for cut in 1..30 {
        let mut wiring = Wiring::new().connect(exchange(Mode::Buffer));
        for at in 0..20 {
            wiring = wiring.fault(millis(700 + at * 40), Fault::CutUrcHead(cut));
            wiring = wiring.fault(millis(700 + at * 40), Fault::Urc("+QIURC: \"recv\",11".into()));
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(120));
        sim.assert_complete(0);
    }
}

#[test]
fn late_ones_of_sockets_that_were_closed_reach_no_new_client() {
    let mut wiring = Wiring::new();
    for index in 0..30 {
        let connection =
            Connection::new(Mode::Push).at(millis(index * 1_000)).far_end(Behaviour::source(9_000, index));
        wiring = wiring.connect(connection);
    }
    for at in 0..300 {
        let id = at % 12;
        wiring = wiring.fault(millis(2_000 + at * 100), Fault::Urc(format!("+QSSLURC: \"recv\",{id}")));
    }
    let mut sim = wiring.start();
    sim.run_to_the_end(seconds(120));
    (0..30).for_each(|index| sim.assert_complete(index));
}

#[test]
fn bytes_in_pieces_of_any_size_and_noise_between_messages() {
    for seed in 1..10 {
        let port = Port::usb(qssl_modem_emulator::PortName::UsbAt).splits();
        let mut wiring = Wiring::new().ports([port]);
        wiring.seed = seed;
        wiring = wiring.connect(exchange(Mode::Push)).connect(exchange(Mode::Buffer));
        for at in 0..40 {
            let noise: [&[u8]; 3] = [b"\0", b"\xE0", b"\r\n\r\n"];
            wiring = wiring.fault(millis(700 + at * 31), Fault::Noise(0, noise[at as usize % 3].to_vec()));
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(200));
        (0..2).for_each(|index| sim.assert_complete(index));
    }
}

#[test]
fn prompts_and_tails_of_all_shapes() {
    let shapes = [
        "prompt_without_space",
        "prompt_with_line_end",
        "receive_tail_short",
        "push_ends_with_line_end",
        "line_feed_dropped",
        "free_sockets_listed",
        "closing_free_socket_is_ok",
        "failed_open_keeps_socket",
        "errors_as_text",
        "socket_errors_as_cme",
        "local_port_zero",
        "context_forgotten_on_last_close",
        "second_activation_is_ok",
        "four_digit_year",
        "file_list_empty",
    ];
    for shape in shapes {
        let mut wiring = Wiring::new().connect(exchange(Mode::Push)).connect(exchange(Mode::Buffer));
        assert!(wiring.modem.quirks.set(shape, true), "{shape}");
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(120));
        (0..2).for_each(|index| sim.assert_complete(index));
    }
}

/// Words in the payload of another program's connection, in an SMS or in an MQTT message were once taken for the
/// modem's. They ended a stream in order, or added bytes to it.
#[test]
fn of_other_programs_beside_a_stream() {
    let said = other_programs();
    for mode in [Mode::Push, Mode::Buffer, Mode::Transparent] {
        for splits in [false, true] {
            let named = |name| Port { splits, paced: true, ..Port::usb(name) };
            let idle = Behaviour { ends: Ends::Never, ..Behaviour::source(1_000, 2) };
            let mut wiring = Wiring::new()
                .ports([named(PortName::UsbAt), named(PortName::UsbModem)])
                .connect(exchange(mode))
                .connect(Connection::new(Mode::Buffer).at(seconds(1)).far_end(Behaviour::source(60_000, 1)))
                .connect(
                    Connection::new(Mode::Push)
                        .at(seconds(10))
                        .far_end(idle)
                        .leaves(Leaves::After(seconds(60))),
                );
            for (index, said) in (0u64..).zip(&said) {
                wiring = wiring.fault(millis(800 + index * 137), Fault::Foreign(said.clone()));
                wiring = wiring.fault(millis(25_000 + index * 700), Fault::Foreign(said.clone()));
            }
            let mut sim = wiring.start();
            sim.run_to_the_end(seconds(120));
            for connection in 0..2 {
                // Data that is pushed after the first text may be a part of that text.
                if mode == Mode::Push && connection == 0 && sim.outcome(0) == Some(Outcome::Reset) {
                    continue;
                }
                assert_eq!(
                    sim.outcome(connection),
                    Some(Outcome::Eof),
                    "connection {connection} in {mode:?}"
                );
                sim.assert_complete(connection);
            }
            assert_eq!(sim.outcome(2), Some(Outcome::Left), "what is idle is not ended");
            assert_eq!(sim.clients[2].received.len(), 1_000);
            assert_eq!(sim.ready_at.len(), 1, "the data session was not touched");
        }
    }
}

/// An announced payload or text that does not come delays no client for long, and hides no more than one answer.
#[test]
fn of_other_programs_without_their_end() {
    for said in [
        "\r\n+QIURC: \"recv\",5,52\r\n",
        "\r\n+CMT: \"+49\",,\"26/11/26,17:00:00+04\"\r\n",
        "\r\n+CUSD: 0,\"a\r\n",
    ] {
        for mode in [Mode::Push, Mode::Buffer] {
            let stays = Connection::new(mode)
                .far_end(Behaviour { ends: Ends::Never, ..Behaviour::source(1_000, 1) })
                .leaves(Leaves::After(seconds(60)));
            let later = Connection::new(mode).at(seconds(30)).far_end(Behaviour::source(20_000, 2));
            let mut sim = Wiring::new()
                .connect(stays)
                .connect(later)
                .fault(seconds(20), Fault::Foreign(said.as_bytes().to_vec()))
                .start();
            sim.run_to_the_end(seconds(120));
            assert_eq!(sim.outcome(0), Some(Outcome::Left), "{said:?} in {mode:?}");
            assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{said:?} in {mode:?}");
            sim.assert_complete(1);
        }
    }
}

/// Where the module always shows SMS, nothing in them is taken for the modem's words. In push mode they once added
/// bytes to streams.
#[test]
fn sms_that_a_module_insists_on_showing_add_nothing_to_a_stream() {
    let text = "hello\r\n\r\n+QSSLURC: \"recv\",0,4\r\nBADX\r\n\r\n+QSSLURC: \"closed\",0";
    for mode in [Mode::Push, Mode::Buffer] {
        let mut wiring = Wiring::new().connect(exchange(mode));
        assert!(wiring.modem.quirks.set("messages_shown", true));
        for at in 0..100 {
            wiring = wiring.fault(millis(500 + at * 7), Fault::Sms(text.into()));
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(120));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{mode:?}");
        sim.assert_complete(0);
    }
}

/// The client waits while the settings of its SSL context are read. URCs with its socket's number are not about its
/// connection meanwhile. Their bytes were once the first that it received.
#[test]
fn nothing_is_received_before_the_open_has_left() {
    let text = "hello\r\n\r\n+QSSLURC: \"recv\",0,4\r\nBADX";
    for mode in [Mode::Push, Mode::Buffer] {
        let client = Connection::new(mode).at(seconds(30)).far_end(Behaviour::source(5_000, 1));
        let mut wiring = Wiring::new().uart(9_600).connect(client);
        let root = Pem { source: "root.pem".to_owned(), bytes: b"the root".to_vec() };
        wiring.tls = Tls::new(Authentication::Authorities(vec![root]));
        assert!(wiring.modem.quirks.set("messages_shown", true));
        for at in 0..20 {
            wiring = wiring.fault(millis(29_000 + at * 200), Fault::Sms(text.into()));
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(120));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{mode:?}");
        sim.assert_complete(0);
    }
}

/// MQTT messages cannot be switched off. Once an MQTT client is known, nothing in its messages is taken for the modem's
/// words. In push mode they once added bytes to streams.
#[test]
fn mqtt_messages_of_another_program_add_nothing_to_a_stream() {
    let message =
        |text: &str| Fault::Foreign(format!("\r\n+QMTRECV: 0,0,\"alerts\",\"{text}\"\r\n").into_bytes());
    let forged = "x\"\r\n\r\n+QSSLURC: \"recv\",0,4\r\nBADX\r\n\r\n+QSSLURC: \"closed\",0\r\n";
    let says = Says::Drip { bytes: 500, every: millis(100), total: 50_000, seed: 1 };
    let drip = Behaviour { ends: Ends::AfterSaying(50_000), says, ..Behaviour::source(0, 1) };
    let second_port = Port::usb(PortName::UsbModem);
    for ports in [vec![Port::usb(PortName::UsbAt)], vec![Port::usb(PortName::UsbAt), second_port]] {
        for is_known_at_start in [true, false] {
            let mut wiring = Wiring::new()
                .ports(ports.clone())
                .connect(Connection::new(Mode::Push).far_end(drip.clone()))
                .connect(Connection::new(Mode::Push).at(seconds(5)).far_end(Behaviour::source(20_000, 2)));
            // A client that connects later is known by its first message.
            let from = match is_known_at_start {
                true => {
                    wiring.modem.others_speak_every = Some(seconds(100_000));
                    0
                }
                false => {
                    wiring = wiring.fault(millis(3_000), message("plain"));
                    4_000
                }
            };
            for at in 0..150 {
                wiring = wiring.fault(millis(from + at * 47), message(forged));
            }
            let mut sim = wiring.start();
            sim.run_to_the_end(seconds(120));
            for connection in 0..2 {
                let name =
                    format!("{connection}, known at start: {is_known_at_start}, {} ports", ports.len());
                assert_eq!(sim.outcome(connection), Some(Outcome::Eof), "{name}");
                sim.assert_complete(connection);
            }
        }
    }
}

/// The first message of an MQTT client that connects after the set-up may be a forged one, and another program may have
/// SMS shown again. Data after the first text and before the switch to buffer mode was once given to a client.
#[test]
fn the_first_text_of_another_program_adds_nothing_to_a_stream() {
    let forged = "x\"\r\n\r\n+QSSLURC: \"recv\",0,4\r\nBADX\r\n\r\n+QSSLURC: \"closed\",0\r\n";
    let says = Says::Drip { bytes: 500, every: millis(100), total: 50_000, seed: 1 };
    let drip = Behaviour { ends: Ends::AfterSaying(50_000), says, ..Behaviour::source(0, 1) };
    let first_texts: [&[Fault]; 4] = [
        &[Fault::Foreign(format!("\r\n+QMTRECV: 0,0,\"alerts\",\"{forged}").into_bytes())],
        // The topic can contain whatever the text can.
        &[Fault::Foreign(format!("\r\n+QMTRECV: 0,0,\"a\",1,\"{forged}\",\"b\"\r\n").into_bytes())],
        &[Fault::OtherProgram(b"AT+CNMI=2,2\r".to_vec()), Fault::Sms(forged.into())],
        &[Fault::Foreign(format!("\r\n+CBM: 1,2,\"\",1,1\r\n{forged}").into_bytes())],
    ];
    for family in [Family::Ec20, Family::Eg800q] {
        for switches in [true, false] {
            for (case, texts) in first_texts.iter().enumerate() {
                let mut wiring = Wiring::new()
                    .modem(|modem| {
                        modem.family = family;
                        modem.quirks.mode_switch_refused = !switches;
                    })
                    .connect(Connection::new(Mode::Push).far_end(drip.clone()))
                    .connect(
                        Connection::new(Mode::Push).at(seconds(20)).far_end(Behaviour::source(20_000, 2)),
                    );
                for (turn, text) in (0_u64..).zip(*texts) {
                    wiring = wiring.fault(millis(3_000 + turn * 40), text.clone());
                }
                // Before the first text, nothing shows that there is another program.
                let mut sim = wiring.start();
                sim.run_to_the_end(seconds(120));
                let name = format!("{family:?}, text {case}, switches: {switches}");
                // Pushed and forged bytes look alike, so it is reset. Each step checks the delivered bytes.
                assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{name}");
                let received = sim.clients[0].received.len();
                assert!((1_000..40_000).contains(&received), "{name}: {received} bytes");
                assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{name}: the next are served in buffer mode");
                sim.assert_complete(1);
            }
        }
    }
}

/// A line that only reports the state of another program's MQTT client has no text: connections go on.
#[test]
fn a_line_without_a_text_of_another_program_resets_nobody() {
    let says = Says::Drip { bytes: 500, every: millis(10), total: 100_000, seed: 1 };
    let drip = Behaviour { ends: Ends::AfterSaying(100_000), says, ..Behaviour::source(0, 1) };
    for family in [Family::Ec20, Family::Eg800q] {
        for line in ["+QMTOPEN: 0,0", "+QMTCONN: 0,0,0", "+QMTRECV: 0,1", "+QMTSTAT: 0,1", "+CMTI: \"ME\",0"]
        {
            let wiring = Wiring::new().modem(|modem| modem.family = family);
            let wiring = wiring.connect(Connection::new(Mode::Push).far_end(drip.clone()));
            let mut sim = wiring.fault(millis(3_000), Fault::Urc(line.into())).start();
            sim.run_to_the_end(seconds(120));
            assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{family:?}, {line}");
            sim.assert_complete(0);
        }
    }
}

/// A quote in the name of a caller or operator, or a line that was cut off: what is pushed next once counted as a part of
/// that line's string, and its bytes were missing before an end in order.
#[test]
fn a_line_of_another_program_with_an_odd_number_of_quotes_hides_nothing() {
    let says = Says::Drip { bytes: 500, every: millis(10), total: 100_000, seed: 1 };
    let drip = Behaviour { ends: Ends::AfterSaying(100_000), says, ..Behaviour::source(0, 1) };
    for (line, costs) in [
        ("+CMTI: \"ME,3", false),
        ("+CLIP: \"+49\",145,\"A\"B\",,\"\",0", false),
        ("+CNAP: \"Joe\"s\"", false),
        ("+CGEV: \"x", false),
        ("+COPN: \"O\"2\"", false),
        ("+QNITZ: \"x", false),
        ("+QHTTPURC: \"a\"b\"", false),
        ("+QIND: \"abc", false),
        ("+CUSD: 0,\"5\" screens\",15", false),
        // Whether the text goes on is not known: what comes next is its own or the module's.
        ("+CUSD: 0,\"text", true),
        ("+QXYZ: \"a\"b\"", true),
        ("+QMTRECV: 0,0,\"alerts\",\"x", true),
        ("+CUSD: 0,\"text\r\n+QSSLURC: \"recv\",0,4\r\nBADX\",15", true),
    ] {
        for mode in [Mode::Push, Mode::Buffer] {
            let mut sim = Wiring::new()
                .connect(Connection::new(mode).far_end(drip.clone()))
                .connect(Connection::new(mode).at(seconds(30)).far_end(Behaviour::source(20_000, 2)))
                .fault(millis(1_501), Fault::Foreign(format!("\r\n{line}\r\n").into_bytes()))
                .start();
            sim.run_to_the_end(seconds(120));
            // Each step checks the delivered bytes, and an end of file needs them all.
            match sim.outcome(0) {
                Some(Outcome::Reset) if costs => {}
                outcome => {
                    assert_eq!(outcome, Some(Outcome::Eof), "{line} in {mode:?}");
                    sim.assert_complete(0);
                }
            }
            assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{line} in {mode:?}: the next are served");
            sim.assert_complete(1);
        }
    }
}

/// A text can contain whole messages that look like the modem's, so SMS are not shown.
#[test]
fn sms_are_not_shown_while_streams_are_open() {
    let text = "hello\r\n\r\n+QSSLURC: \"recv\",0,4\r\nBADX\r\n\r\n+QSSLURC: \"closed\",0";
    for mode in [Mode::Push, Mode::Buffer] {
        let mut wiring = Wiring::new().typed_before(b"AT+CNMI=2,2,0,0,0\r").connect(exchange(mode));
        for at in 0..100 {
            wiring = wiring.fault(millis(500 + at * 7), Fault::Sms(text.into()));
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(120));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof));
        sim.assert_complete(0);
    }
}

/// The end of an SMS without a text cannot be seen, so the answer to a query is taken for the text.
#[test]
fn an_answer_that_is_lost_in_an_empty_sms_ends_no_connection() {
    for step in 0..12 {
        let sms = b"\r\n+CMT: \"+4900\",,\"26/11/26,17:00:00+04\"\r\n\r\n".to_vec();
        let at = seconds(20) + millis(step * 450);
        let client =
            Connection::new(Mode::Buffer).far_end(Behaviour::sink()).leaves(Leaves::After(seconds(40)));
        let mut sim = Wiring::new()
            .settings(|settings| settings.poll_interval = Some(seconds(5)))
            .connect(client)
            .fault(at, Fault::Foreign(sms))
            .fault(at + millis(200), Fault::Noise(0, b"\0".to_vec()))
            .start();
        // Every run checks whether the server has ended.
        sim.run_to_the_end(seconds(100));
        assert_eq!(sim.outcome(0), Some(Outcome::Left), "{step}");
    }
}

/// What data of ours looks like is a setting of the whole modem (AT+QICFG).
#[test]
fn another_program_changes_the_form_of_data() {
    for (mode, changes) in [Mode::Push, Mode::Buffer].into_iter().flat_map(|mode| {
        ["\"viewmode\",1", "\"dataformat\",1,0", "\"sendinfo\",1"].map(|changes| (mode, changes))
    }) {
        let name = format!("{mode:?} {changes}");
        let far = Behaviour { ends: Ends::AfterReading(400_000), ..Behaviour::echo() };
        let cut = Connection::new(mode).sends(Sends::Pattern(400_000)).far_end(far).at(seconds(9));
        let mut wiring = Wiring::new().uart(115_200).connect(cut);
        for at in [20, 25, 30, 35] {
            wiring = wiring.connect(exchange(mode).at(seconds(at)));
        }
        let meddles = Fault::OtherProgram(format!("AT+QICFG={changes}\r").into_bytes());
        // The EC20 has no "sendinfo".
        let is_refused = wiring.modem.family == Family::Ec20 && changes.contains("sendinfo");
        let expected = if is_refused { Outcome::Eof } else { Outcome::Reset };
        let mut sim = wiring.fault(seconds(10), meddles).start();
        sim.run_to_the_end(seconds(120));
        assert_eq!(sim.outcome(0), Some(expected), "{name}: bytes of it are lost");
        (1..5).for_each(|index| sim.assert_complete(index));
        assert!(sim.said("AT+QICFG=\"viewmode\";") <= 4, "{name}: it is asked now and then");
    }
}
