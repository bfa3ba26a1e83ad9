//! Goal of this test: over one UART that carries several channels, clients get every byte and the right end, in every
//! mode, and what real modules do differently costs none of it.

use std::time::Duration;

use qssl_core::at::Command;
use qssl_core::modem::CommandOutcome;
use qssl_core::settings::Mode;
use qssl_modem_emulator::network::simulated::{Behaviour, Ending, Ends, Opening, Says};

use qssl_simulation::material::{NOISE_BETWEEN_FRAMES, mux_habits};
use qssl_simulation::wiring::{Connection, Fault, Leaves, Port, Sends, Wiring, millis, seconds};
use qssl_simulation::{Outcome, Simulation};

const MODES: [Mode; 3] = [Mode::Push, Mode::Buffer, Mode::Transparent];

fn wiring() -> Wiring {
    Wiring::new().uart(115_200).ports([Port::uart()]).cmux()
}

/// A server that sends so much and ends.
fn download(mode: Mode, bytes: u64) -> Connection {
    Connection::new(mode).far_end(Behaviour::source(bytes, 3))
}

/// A client that sends so much and closes.
fn upload(mode: Mode, bytes: u64) -> Connection {
    Connection::new(mode).sends(Sends::Pattern(bytes)).leaves(Leaves::WhenSent)
}

/// A client that leaves when all that it sent has come back.
fn echo(mode: Mode, bytes: u64) -> Connection {
    let connection = Connection::new(mode).sends(Sends::Pattern(bytes)).far_end(Behaviour::echo());
    connection.leaves(Leaves::WhenRead(bytes))
}

fn is_muxed(sim: &Simulation) -> bool {
    sim.logged().iter().any(|line| line.contains("carries 4 channels"))
}

#[test]
fn every_mode_carries_its_bytes_both_ways_and_the_end() {
    for mode in MODES {
        let wiring = wiring().connect(download(mode, 50_000)).connect(upload(mode, 50_000));
        let mut sim = wiring.connect(echo(mode, 30_000)).start();
        sim.run_to_the_end(seconds(120));
        assert!(is_muxed(&sim), "{mode:?}");
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{mode:?}");
        assert_eq!(sim.clients[0].received.len(), 50_000, "{mode:?}");
        sim.assert_complete(1);
        assert_eq!(sim.clients[2].received.len(), 30_000, "{mode:?}");
    }
}

#[test]
fn three_streams_run_beside_commands() {
    let stream = || download(Mode::Transparent, 400_000);
    let mut sim = wiring().connect(stream()).connect(stream()).connect(stream()).start();
    sim.run_until("all three run", seconds(60), |sim| {
        sim.clients.iter().all(|client| client.received.len() > 10_000)
    });
    let line = sim.relay.multiplexer(sim.now).expect("it has channels");
    let shown: Vec<_> = line.channels.iter().map(|channel| (channel.number, &*channel.state)).collect();
    assert_eq!(shown, [(1, "command"), (2, "data"), (3, "data"), (4, "data")]);
    for channel in &line.channels[1..] {
        assert_eq!(channel.lines_out, ["DTR", "RTS"]);
        assert!(channel.lines_in.contains(&"DCD".to_owned()), "{channel:?}");
    }
    assert_eq!((line.bad_frames, line.garbage_bytes), (0, 0));
    assert!(line.frames_in > 3 * 10_000 / line.frame_bytes as u64, "{line:?}");
    sim.run_to_the_end(seconds(300));
    for index in 0..3 {
        assert_eq!(sim.outcome(index), Some(Outcome::Eof));
    }
}

#[test]
fn what_modules_do_differently_costs_nothing() {
    assert!(mux_habits().len() >= 23, "what is known of modules");
    for habit in mux_habits() {
        for mode in MODES {
            let wiring = wiring().modem(|modem| assert!(modem.quirks.set(habit, true), "{habit}"));
            let wiring = wiring.connect(download(mode, 20_000)).connect(upload(mode, 20_000));
            let mut sim = wiring.connect(echo(mode, 10_000)).start();
            let name = format!("{habit} {mode:?}");
            sim.run_to_the_end(seconds(120));
            assert!(is_muxed(&sim), "{name}");
            assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{name}");
            assert_eq!(sim.clients[0].received.len(), 20_000, "{name}");
            sim.assert_complete(1);
            assert_eq!(sim.clients[2].received.len(), 10_000, "{name}");
        }
    }
}

#[test]
fn an_end_in_payload_is_no_end() {
    let text = b"\r\nNO CARRIER\r\n\r\nOK\r\n+++\xF9\r\nRDY\r\n\r\nCONNECT\r\n".repeat(20);
    for habit in ["", "mux_carrier_never", "mux_end_told_on_first_only"] {
        for pause in [millis(0), millis(700), seconds(3)] {
            let wiring = wiring().modem(|modem| {
                modem.quirks.set(habit, true);
            });
            let far = Behaviour { ends: Ends::Never, ..Behaviour::sink() };
            let mut sim = wiring.connect(Connection::new(Mode::Transparent).far_end(far)).start();
            sim.run_until("it is connected", seconds(30), |sim| sim.on_its_way(0) == 0 && is_muxed(sim));
            sim.run_for(seconds(5));
            for piece in text.chunks(text.len() / 4) {
                sim.inject(Fault::Say(0, piece.to_vec()));
                sim.run_for(pause);
            }
            sim.run_for(seconds(30));
            let name = format!("{habit} {pause:?}");
            assert_eq!(sim.outcome(0), None, "{name}");
            assert_eq!(sim.clients[0].received.len(), text.len(), "{name}");
            sim.inject(Fault::EndFarEnd(0, Ending::Closed));
            sim.run_to_the_end(seconds(30));
            assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{name}");
        }
    }
}

/// The end was told on the first channel before the host had read that there was a stream, and not believed: what looked
/// like the end on the stream's own channel was taken for it.
#[test]
fn an_end_that_overtakes_connect_is_the_streams_and_the_one_in_its_payload_is_not() {
    let text = b"payload\r\nNO CARRIER\r\n\r\nERROR\r\n".to_vec();
    let wiring = wiring().modem(|modem| {
        modem.quirks.mux_end_told_on_first_only = true;
        // The server has said everything and closed by then.
        modem.open_latency = seconds(2);
    });
    let ends = Ends::AfterSaying(text.len() as u64);
    let far = Behaviour { says: Says::Text(text), ends, ..Behaviour::sink() };
    let stream = Connection::new(Mode::Transparent).at(seconds(20)).far_end(far);
    let mut sim = wiring.connect(stream.opening(Opening::Opens(millis(500)))).start();
    sim.run_to_the_end(seconds(60));
    assert_eq!(sim.outcome(0), Some(Outcome::Reset), "which of the two words was the end is not known");
}

/// Words of a module that has booted, in the payload of a stream whose end is in doubt, were taken for the module's: every
/// client of the line was reset.
#[test]
fn what_one_stream_carries_ends_no_other_client() {
    for words in ["RDY", "POWERED DOWN", "NORMAL POWER DOWN", "+QIURC: \"pdpdeact\",1"] {
        // The end that follows seems to be pushed to another, or it is told on the first channel alone.
        let pushed = format!("payload\r\n{words}\r\n\r\n+QSSLURC: \"recv\",3,200\r\n");
        let after = format!("payload\r\nNO CARRIER\r\n\r\n{words}\r\n");
        for (text, is_told_elsewhere) in [(pushed, false), (after, true)] {
            for beside in MODES {
                let ends = Ends::AfterSaying(text.len() as u64);
                let far =
                    Behaviour { says: Says::Text(text.clone().into_bytes()), ends, ..Behaviour::sink() };
                let wiring = wiring().modem(|modem| {
                    modem.quirks.mux_end_told_on_first_only = is_told_elsewhere;
                });
                let wiring = wiring.connect(download(beside, 100_000).at(seconds(5)));
                let hostile = Connection::new(Mode::Transparent).far_end(far).at(seconds(6));
                let mut sim = wiring.connect(hostile).start();
                sim.run_to_the_end(seconds(100));
                assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{text:?}, beside {beside:?}");
                sim.assert_complete(0);
            }
        }
    }
}

/// Clients that waited for a channel were reset when a stream on another ended in doubt, as if bytes had been pushed for
/// them there.
#[test]
fn the_end_of_a_stream_in_doubt_ends_no_client_that_waits() {
    let text = b"payload\r\nNO CARRIER\r\n\r\nNO CARRIER\r\n".to_vec();
    let ends = Ends::AfterSaying(text.len() as u64);
    let far = Behaviour { says: Says::Text(text), ends, ..Behaviour::sink() };
    let hostile = Connection::new(Mode::Transparent).far_end(far).at(seconds(5));
    let waiting = download(Mode::Transparent, 50_000).at(millis(5_100));
    let mut sim = wiring().connect(hostile).connect_many(4, &waiting).start();
    sim.run_to_the_end(seconds(100));
    assert_eq!(sim.outcome(0), Some(Outcome::Reset), "which of the ends was the modem's is not known");
    for index in 1..5 {
        assert_eq!(sim.outcome(index), Some(Outcome::Eof), "connection {index}");
    }
}

/// A part of the words of an end was delivered as payload, while the rest waited for its channel's turn.
#[test]
fn the_words_of_an_end_may_be_in_two_frames_with_turns_of_others_between_them() {
    for cut in 1..14 {
        for habit in ["", "mux_carrier_never"] {
            // `CONNECT`, the payload and so much of `NO CARRIER` fill eight frames.
            let bytes = 8 * 127 - "\r\nCONNECT\r\n".len() as u64 - cut;
            let wiring = Wiring::new().uart(9_600).ports([Port::uart()]).cmux().modem(|modem| {
                modem.quirks.set(habit, true);
            });
            let wiring = wiring.connect(download(Mode::Push, 20_000).at(seconds(5)));
            let mut sim = wiring.connect(download(Mode::Transparent, bytes).at(seconds(8))).start();
            sim.run_to_the_end(seconds(120));
            for index in 0..2 {
                let name = format!("{habit}, {cut} bytes of the end in the last frame, connection {index}");
                assert_eq!(sim.outcome(index), Some(Outcome::Eof), "{name}");
                sim.assert_complete(index);
            }
        }
    }
}

/// The other way round: what begins the words of an end and is payload waits for no more than its channel's turn.
#[test]
fn payload_that_begins_an_end_comes_while_others_fill_the_line() {
    let text = b"payload\r\n".to_vec();
    let far = Behaviour { says: Says::Text(text.clone()), ends: Ends::Never, ..Behaviour::sink() };
    let wiring = Wiring::new().uart(9_600).ports([Port::uart()]).cmux();
    let wiring = wiring.connect(download(Mode::Push, 60_000).at(seconds(5)));
    let mut sim = wiring.connect(Connection::new(Mode::Transparent).far_end(far).at(seconds(8))).start();
    let is_read = |count| move |sim: &Simulation| sim.clients[1].received.len() >= count;
    sim.run_until("the first of it comes", seconds(60), is_read(1));
    sim.run_until("the line end comes", seconds(1), is_read(text.len()));
    assert_eq!(sim.outcome(0), None, "the line is still full");
}

/// After a pause of its channel, payload that looks like the words of a module that has booted was taken for them.
#[test]
fn payload_of_a_channel_that_waited_for_its_turn_is_no_boot() {
    for words in ["\r\nRDY\r\n", "\r\nPOWERED DOWN\r\n", "\r\n+CFUN: 1\r\n"] {
        for offset in 0..words.len() {
            for mode in [Mode::Push, Mode::Buffer] {
                let text = [&b"x".repeat(offset)[..], &words.as_bytes().repeat(30)].concat();
                let ends = Ends::AfterSaying(text.len() as u64);
                let far = Behaviour { says: Says::Text(text.clone()), ends, ..Behaviour::sink() };
                let wiring = Wiring::new().uart(9_600).ports([Port::uart()]).cmux().modem(|modem| {
                    modem.quirks.mux_urcs_everywhere = true;
                });
                let wiring = wiring.connect(download(Mode::Transparent, 10_000).at(seconds(5)));
                let mut sim = wiring.connect(Connection::new(mode).far_end(far).at(seconds(10))).start();
                sim.run_to_the_end(seconds(200));
                for index in 0..2 {
                    assert_eq!(sim.outcome(index), Some(Outcome::Eof), "{words:?} {offset} {mode:?} {index}");
                    sim.assert_complete(index);
                }
            }
        }
    }
}

#[test]
fn a_reboot_resets_every_client_and_the_channels_come_back() {
    for mode in MODES {
        for silent in [false, true] {
            let wiring = wiring().modem(|modem| modem.quirks.boots_silently = silent);
            let wiring = wiring.connect(echo(mode, 100_000)).connect(download(mode, 5_000).at(seconds(60)));
            let mut sim = wiring.fault(seconds(8), Fault::Reboot).start();
            sim.run_to_the_end(seconds(300));
            let name = format!("{mode:?}, silently: {silent}");
            assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{name}");
            assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{name}");
        }
    }
}

#[test]
fn the_module_takes_commands_again_at_the_end() {
    let mut sim = wiring().connect(download(Mode::Push, 5_000)).start();
    sim.run_to_the_end(seconds(60));
    sim.shutdown();
    sim.run_until("the process ends", seconds(10), |sim| sim.stopped.is_some());
    assert!(sim.modem.mux(0).is_none(), "the module has left the mode");
}

#[test]
fn what_other_clients_are_sent_is_no_payload_of_a_stream_that_has_ended() {
    for habit in ["", "mux_end_told_on_first", "mux_end_told_on_first_only", "mux_carrier_never"] {
        let wiring = wiring().modem(|modem| {
            modem.quirks.set(habit, true);
        });
        let wiring = (0..4).fold(wiring, |wiring, at| {
            wiring.connect(download(Mode::Transparent, 5_000).at(seconds(2 + 5 * at)))
        });
        let beside = Behaviour {
            says: Says::Drip { bytes: 40, every: millis(20), total: 40_000, seed: 5 },
            ..Behaviour::source(40_000, 5)
        };
        let mut sim = wiring.connect(Connection::new(Mode::Push).far_end(beside)).start();
        sim.run_to_the_end(seconds(200));
        for index in 0..5 {
            assert_eq!(sim.outcome(index), Some(Outcome::Eof), "{habit}, connection {index}");
            sim.assert_complete(index);
        }
    }
}

/// The channel that had opened the connection was the next client's stream already, and no other could close it.
#[test]
fn the_channel_of_a_stream_that_has_ended_takes_no_other_until_it_is_closed() {
    let wiring = wiring().modem(|modem| {
        modem.quirks.mux_close_by_opener_only = true;
        modem.close_latency = millis(450);
    });
    let wiring = (0..9).fold(wiring, |wiring, at| {
        wiring.connect(download(Mode::Transparent, 3_000).at(millis(5_000 + 10 * at)))
    });
    let mut sim = wiring.start();
    sim.run_to_the_end(seconds(200));
    for index in 0..9 {
        assert_eq!(sim.outcome(index), Some(Outcome::Eof), "connection {index}");
        sim.assert_complete(index);
    }
}

#[test]
fn the_first_channel_is_no_stream_even_if_all_clients_want_one() {
    let stream = |at| {
        let far = Behaviour { ends: Ends::Never, ..Behaviour::sink() };
        Connection::new(Mode::Transparent).at(seconds(at)).far_end(far).leaves(Leaves::After(seconds(30)))
    };
    let mut sim = (0..5).fold(wiring(), |wiring, at| wiring.connect(stream(2 + at))).start();
    sim.run_for(seconds(20));
    let channels = sim.modem.mux(0).expect("the line has several channels").channels;
    let streams = channels.map(|channel| channel.is_some_and(|channel| channel.is_stream));
    assert_eq!(streams, [false, true, true, true]);
    sim.run_to_the_end(seconds(200));
}

/// What goes wrong on the line or in the module, and whether clients may have to be reset.
fn damage() -> Vec<(Fault, bool)> {
    let mut faults = vec![(Fault::SpoilFrames(1), true), (Fault::SpoilFrames(20), true)];
    faults.extend([0, 1, 100, 511, 513, 2_000, 32_767].map(|length| (Fault::FalsifyLength(length), true)));
    faults.extend([1, 3, 40, 500].map(|bytes| (Fault::LoseInFrame(bytes), true)));
    faults.extend([1, 2, 4].map(|dlci| (Fault::HoldChannel(dlci), true)));
    faults.extend([1, 2, 4].map(|dlci| (Fault::EndChannel(dlci, true), true)));
    faults.extend([1, 2, 4].map(|dlci| (Fault::EndChannel(dlci, false), true)));
    faults.extend(NOISE_BETWEEN_FRAMES.map(|noise| (Fault::Noise(0, noise.to_vec()), true)));
    // Flags between frames are no damage.
    faults.push((Fault::Noise(0, vec![0xF9; 3_000]), false));
    faults
}

#[test]
fn after_damage_a_stream_is_whole_or_reset_and_new_clients_are_served() {
    for (fault, may_reset) in damage() {
        for mode in MODES {
            let wiring = wiring().connect(download(mode, 60_000)).connect(download(mode, 60_000));
            let wiring = wiring.connect(upload(mode, 40_000)).connect(download(mode, 5_000).at(seconds(40)));
            let mut sim = wiring.connect(upload(mode, 5_000).at(seconds(40))).start();
            sim.run_until("bytes flow", seconds(30), |sim| sim.clients[0].received.len() > 5_000);
            sim.inject(fault.clone());
            sim.run_to_the_end(seconds(300));
            let name = format!("{fault:?}, {mode:?}");
            for index in 0..2 {
                match sim.outcome(index) {
                    Some(Outcome::Reset) => assert!(may_reset, "{name}, connection {index}"),
                    Some(Outcome::Eof) => sim.assert_complete(index),
                    other => panic!("{name}, connection {index}: {other:?}"),
                }
            }
            for index in 3..5 {
                assert_ne!(sim.outcome(index), Some(Outcome::Reset), "{name}, connection {index}");
                sim.assert_complete(index);
            }
            assert!(is_muxed(&sim), "{name}");
        }
    }
}

/// The URC of a lost data session was in a damaged frame: the next client was reset.
#[test]
fn after_damage_the_data_session_is_asked_about() {
    for mode in MODES {
        let wiring =
            wiring().connect(download(Mode::Push, 1_000)).connect(download(mode, 1_000).at(seconds(60)));
        let wiring = wiring.fault(seconds(30), Fault::SpoilFrames(1)).fault(millis(30_100), Fault::DropPdp);
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(200));
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{mode:?}");
        sim.assert_complete(1);
    }
}

#[test]
fn a_port_that_is_lost_while_the_mode_begins_is_opened_again() {
    for at in (0..=1_000).step_by(10) {
        let wiring = wiring().connect(download(Mode::Push, 5_000).at(seconds(20)));
        let mut sim = wiring.fault(millis(at), Fault::LosePort(0, seconds(2))).start();
        sim.run_to_the_end(seconds(120));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "lost after {at} ms");
    }
}

/// The `CONNECT` was lost with a damaged frame. The resync asked whether the channel takes commands, payload answered `OK`,
/// and settings for the module went to the server.
#[test]
fn a_channel_whose_connect_may_be_lost_is_opened_anew() {
    for answered_at in (600..1_600).step_by(20) {
        let boot = (millis(100), b"\r\nRDY\r\n".to_vec());
        let says = Says::Steps(vec![boot, (millis(answered_at), b"\r\nOK\r\n".to_vec())]);
        let far = Behaviour { says, ends: Ends::Never, ..Behaviour::sink() };
        let stream = Connection::new(Mode::Transparent).far_end(far).at(seconds(20));
        let wiring = Wiring::new().uart(9_600).ports([Port::uart()]).cmux().connect(stream);
        let wiring = wiring.connect(download(Mode::Push, 1_000).at(seconds(60)));
        let mut sim = wiring.fault(millis(20_050), Fault::SpoilFrames(2)).start();
        sim.run_to_the_end(seconds(150));
        assert_ne!(sim.outcome(0), Some(Outcome::Eof), "answered after {answered_at} ms");
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "answered after {answered_at} ms");
    }
}

/// A client broke off. Its server's payload looked like the module's answer to that, and like the end of everything.
#[test]
fn payload_of_a_stream_that_is_left_ends_no_other_connection() {
    for words in ["+QIURC: \"pdpdeact\",1", "RDY", "POWERED DOWN"] {
        for after in (0..400).step_by(20) {
            let text = format!("\r\nOK\r\n\r\n{words}\r\n").repeat(20).into_bytes();
            let far = Behaviour { says: Says::Text(text), ends: Ends::Never, ..Behaviour::sink() };
            let left =
                Connection::new(Mode::Transparent).far_end(far).leaves(Leaves::ResetsAfter(millis(after)));
            let wiring = Wiring::new().uart(9_600).ports([Port::uart()]).cmux();
            let wiring = wiring.connect(download(Mode::Push, 3_000).at(seconds(20)));
            let mut sim = wiring.connect(left.at(seconds(20))).start();
            sim.run_to_the_end(seconds(120));
            assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{words}, reset after {after} ms");
            sim.assert_complete(0);
        }
    }
}

/// The module stalled while `++` and, a second later, `+` waited for it, and took them for an escape. It answered that the socket
/// is connected, and its `OK` was given to the client as payload.
#[test]
fn the_answer_to_an_escape_that_was_none_is_no_payload() {
    for stalls_at in (0..2_500).step_by(100) {
        let far = Behaviour { ends: Ends::Never, ..Behaviour::sink() };
        let stream = Connection::new(Mode::Transparent).far_end(far);
        let stream = stream.sends(Sends::Steps(vec![(seconds(15), b"+++".to_vec())]));
        let wiring = wiring().connect(stream.leaves(Leaves::After(seconds(40))));
        let wiring = wiring.connect(download(Mode::Push, 1_000).at(seconds(60)));
        let mut sim = wiring.fault(millis(15_000 + stalls_at), Fault::Stall(millis(1_800))).start();
        sim.run_to_the_end(seconds(150));
        assert_eq!(sim.clients[0].received, b"", "stalls after {stalls_at} ms");
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "stalls after {stalls_at} ms");
    }
}

/// What asks for channels of an earlier run, 1,500 flags and two frames, once went to the server of the stream.
#[test]
fn a_line_that_was_one_stream_when_it_was_lost_is_escaped_before_it_is_searched_for_channels() {
    for away in [100, 346, 5_000] {
        let far = Behaviour { ends: Ends::Never, ..Behaviour::source(1_000, 1) };
        let stream = Connection::new(Mode::Transparent).far_end(far);
        let wiring = wiring().modem(|modem| modem.mute = vec!["+CMUX".into()]);
        let wiring = wiring.connect(stream).connect(download(Mode::Push, 1_000).at(seconds(60)));
        let mut sim = wiring.fault(seconds(30), Fault::LosePort(0, millis(away))).start();
        sim.run_to_the_end(seconds(150));
        let read = &sim.fars[0].memory().read;
        assert!(read.is_empty() || read == b"+++", "{} after {away} ms", read.escape_ascii());
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "away for {away} ms");
    }
}

/// A module that has not answered TEST yet and rebooted then was believed to have several channels for ever.
#[test]
fn a_module_that_reboots_while_the_mode_begins_is_found_again() {
    for silent in [false, true] {
        for at in (0..=3_000).step_by(20) {
            let wiring = Wiring::new().uart(9_600).ports([Port::uart()]).cmux();
            let wiring = wiring.modem(|modem| modem.quirks.boots_silently = silent);
            let wiring = wiring.connect(download(Mode::Push, 1_000).at(seconds(60)));
            let mut sim = wiring.fault(millis(at), Fault::Reboot).start();
            sim.run_to_the_end(seconds(150));
            assert_eq!(sim.outcome(0), Some(Outcome::Eof), "rebooted after {at} ms, silently: {silent}");
        }
    }
}

/// A channel that the module did not open in time stayed closed for ever, if it was tried again before the others were open.
#[test]
fn a_channel_that_the_module_opens_late_is_opened() {
    for at in (0..=3_000).step_by(50) {
        let wiring = Wiring::new().uart(9_600).ports([Port::uart()]).cmux();
        let wiring = wiring.connect(download(Mode::Push, 1_000).at(seconds(30)));
        let mut sim = wiring.fault(millis(at), Fault::Stall(millis(1_800))).start();
        sim.run_to_the_end(seconds(90));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "stalled after {at} ms");
        let line = sim.relay.multiplexer(sim.now).expect("it has channels");
        let states: Vec<_> = line.channels.iter().map(|channel| &*channel.state).collect();
        assert_eq!(states, ["command"; 4], "stalled after {at} ms");
    }
}

/// The speed is part of AT+CMUX, so the line has it before.
#[test]
fn the_speed_is_raised_before_the_channels_begin() {
    let wiring = Wiring::new().uart(921_600).ports([Port::uart()]).cmux();
    let wiring = wiring.modem(|modem| modem.baud = 115_200);
    let mut sim = wiring.connect(download(Mode::Push, 200_000)).start();
    sim.run_to_the_end(seconds(60));
    assert!(is_muxed(&sim));
    assert_eq!(sim.modem.baud(0), 921_600);
    sim.assert_complete(0);
}

/// An earlier run that had raised the speed was killed.
#[test]
fn a_module_that_has_channels_at_another_speed_is_found() {
    for (before, now) in [(921_600, 115_200), (115_200, 921_600), (9_600, 115_200)] {
        let wiring = Wiring::new().uart(now).ports([Port::uart()]).cmux().modem(|modem| modem.baud = before);
        let wiring =
            wiring.typed_before(b"AT+CMUX=0\r").connect(download(Mode::Push, 5_000).at(seconds(100)));
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(200));
        assert!(is_muxed(&sim), "{before} before, {now} now");
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{before} before, {now} now");
        assert_eq!(sim.modem.baud(0), now);
    }
}

/// On a port without channels it waits for its turn as well.
#[test]
fn a_command_from_outside_waits_until_the_mode_has_begun() {
    for at in (0..=1_500).step_by(10) {
        let mut sim = wiring().start();
        sim.run_for(millis(at));
        is_answered(&mut sim, seconds(5), &format!("asked after {at} ms"));
    }
}

#[track_caller]
fn is_answered(sim: &mut Simulation, within: Duration, name: &str) {
    let now = sim.now;
    sim.relay.command(Command::line("AT+CSQ"), now).expect("none waits");
    sim.run_for(within);
    assert_eq!(sim.answers, [Some(CommandOutcome::Ok)], "{name}");
}

#[test]
fn a_command_from_outside_waits_until_lost_channels_are_back() {
    for silent in [false, true] {
        for after in (0..=2_000).step_by(50) {
            let wiring = wiring().modem(|modem| modem.quirks.boots_silently = silent);
            let mut sim = wiring.fault(seconds(8), Fault::Reboot).start();
            sim.run_until("the channels are lost", seconds(60), |sim| {
                sim.logged().iter().any(|line| line.contains("channels (CMUX) are lost"))
            });
            sim.run_for(millis(after));
            is_answered(&mut sim, seconds(20), &format!("asked {after} ms later, silently: {silent}"));
        }
    }
}

/// An earlier run was killed, and the module lets nothing come while it has that run's channels.
#[test]
fn a_module_that_has_channels_and_holds_cts_off_is_found() {
    for opened in [&b""[..], b"\xF9\x03\x3F\x01\x1C\xF9\xF9\x07\x3F\x01\xDE\xF9"] {
        let wiring = wiring().modem(|modem| modem.quirks.mux_holds_cts_off = true);
        let wiring = wiring.typed_before(&[b"AT+CMUX=0\r", opened].concat());
        let mut sim = wiring.connect(download(Mode::Push, 5_000)).start();
        sim.run_until("the mode has begun again", seconds(10), is_muxed);
        sim.run_to_the_end(seconds(30));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof));
        assert!(sim.host_flow_control(0), "it has RTS/CTS again");
    }
}

#[test]
fn a_module_that_is_deaf_after_its_speed_was_set_gets_its_channels() {
    let begun = |is_deaf| {
        let wiring = Wiring::new().uart(921_600).ports([Port::uart()]).cmux().modem(|modem| {
            modem.baud = 115_200;
            modem.quirks.deaf_after_speed = is_deaf;
        });
        let mut sim = wiring.connect(download(Mode::Push, 200_000)).start();
        sim.run_until("the mode has begun", seconds(60), is_muxed);
        let begun = sim.elapsed();
        assert_eq!((sim.modem.baud(0), sim.said("AT+IPR=921600")), (921_600, 1));
        sim.run_to_the_end(seconds(60));
        sim.assert_complete(0);
        begun
    };
    let longer = begun(true) - begun(false);
    assert!(longer > millis(400) && longer < millis(1_500), "it takes {longer:?} longer");
}

/// Every URC takes the lines of its channel away then. A stream has no URCs.
#[test]
fn a_ring_indicator_that_cannot_be_switched_off_costs_time_and_no_bytes() {
    for mode in [Mode::Push, Mode::Buffer] {
        let wiring = wiring().modem(|modem| {
            modem.quirks.mux_ring_clears_lines = true;
            modem.quirks.mux_ring_not_set = true;
        });
        let wiring = wiring.connect(download(mode, 20_000)).connect(upload(mode, 20_000));
        let mut sim = wiring.connect(echo(mode, 10_000)).start();
        sim.run_to_the_end(seconds(200));
        let line = sim.relay.multiplexer(sim.now).expect("it has channels");
        let held: f64 = line.channels.iter().map(|channel| channel.held_by_module_seconds).sum();
        // RTR that is off counts for two seconds.
        assert!(held > 1.9, "{mode:?}: held for {held} s");
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{mode:?}");
        assert_eq!(sim.clients[0].received.len(), 20_000, "{mode:?}");
        sim.assert_complete(1);
        assert_eq!(sim.clients[2].received.len(), 10_000, "{mode:?}");
    }
}

/// SIGTERM may come at any time.
#[test]
fn the_module_takes_commands_again_if_the_end_comes_while_the_mode_begins() {
    for at in (0..=1_500).step_by(10) {
        for changes in [false, true] {
            // A URC port that is not the first channel's has to be changed.
            let set: &[u8] = if changes { b"AT+QCFG=\"cmux/urcport\",3\r" } else { b"AT\r" };
            let mut sim = wiring().typed_before(set).start();
            sim.run_for(millis(at));
            sim.shutdown();
            sim.run_until("the process ends", seconds(10), |sim| sim.stopped.is_some());
            assert!(sim.modem.mux(0).is_none(), "stopped after {at} ms");
            if sim.said("AT+QCFG=\"cmux/urcport\",1") > 0 && changes {
                assert!(sim.said("AT+QCFG=\"cmux/urcport\",3") > 0, "stopped after {at} ms");
            }
        }
    }
}
