//! Goal of this test: the multiplexer's frames byte by byte, its channels as conversations and streams, flow control,
//! and each habit of a module that a switch turns on.

use std::time::Duration;

use crate::line::Line;
use crate::mux::frame::{Decoder, Found, Frame, Kind};
use crate::network::simulated::{Behaviour, Ending, Plan, Reads, pattern};
use crate::testing::{Bench, milliseconds, seconds};
use crate::{Config, Family, PortName, Quirks};

/// A host that has entered the multiplexer of port 0.
struct Host {
    bench: Bench,
    decoder: Decoder,
    /// Frames that have arrived, without payload.
    others: Vec<Frame>,
    /// Payload that has arrived, by channel.
    payload: [Vec<u8>; 5],
    /// The channel of each frame with payload, and its length.
    turns: Vec<(u8, usize)>,
}

/// Bytes as the standard writes them.
fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("two digits")).collect()
}

fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// A modem that has just answered AT+CMUX.
fn entered(config: Config, command: &str) -> Bench {
    entered_by(Bench::with(config, Plan::new(Behaviour::sink())), command)
}

fn entered_by(mut bench: Bench, command: &str) -> Bench {
    bench.ask("ATE0");
    assert_eq!(bench.ask(command), "\r\nOK\r\n");
    bench
}

/// Sends frames and returns what comes back, both in hexadecimal digits.
fn exchange(bench: &mut Bench, frames: &str) -> String {
    bench.type_bytes(&hex(frames));
    shown(&bench.output_bytes(0))
}

fn frame(dlci: u8, kind: Kind, information: &[u8]) -> Vec<u8> {
    let poll = !matches!(kind, Kind::Uih | Kind::Ui);
    Frame { dlci, command: true, kind, poll, information: information.to_vec() }.encoded()
}

impl Host {
    /// A modem with a data session, and with channels 1 to `channels` open and silent.
    fn new(bench: Bench, command: &str, channels: u8) -> Host {
        let mut bench = bench.get_online();
        let answer = bench.ask(command);
        assert!(answer == "\r\nOK\r\n" || answer.is_empty(), "{answer:?}");
        let mut host = Host {
            bench,
            decoder: Decoder::default(),
            others: Vec::new(),
            payload: Default::default(),
            turns: Vec::new(),
        };
        for dlci in 0..=channels {
            host.send(&frame(dlci, Kind::Sabm, b""));
            if dlci > 0 {
                host.say(dlci, b"ATE0\r");
            }
        }
        host.bench.pass(seconds(5));
        host.listen();
        host.others.clear();
        host.turns.clear();
        host.payload = Default::default();
        host
    }

    fn simple(config: Config, channels: u8) -> Host {
        Host::new(Bench::with(config, Plan::new(Behaviour::sink())), "AT+CMUX=0", channels)
    }

    fn quirky(switch: &str, channels: u8) -> Host {
        let mut config = Config::default();
        assert!(config.quirks.set(switch, true), "{switch}");
        Host::simple(config, channels)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.bench.type_bytes(bytes);
        self.listen();
    }

    fn say(&mut self, dlci: u8, bytes: &[u8]) {
        for piece in bytes.chunks(127) {
            self.send(&frame(dlci, Kind::Uih, piece));
        }
    }

    /// Sorts what the modem has sent.
    fn listen(&mut self) {
        let output = self.bench.output_bytes(0);
        self.decoder.push(&output);
        while let Some(found) = self.decoder.next(4_096) {
            let Found::Frame(frame) = found else { panic!("{found:?} in {}", shown(&output)) };
            match frame.dlci {
                0 => self.others.push(frame),
                _ if frame.information.is_empty() => self.others.push(frame),
                dlci => {
                    self.turns.push((dlci, frame.information.len()));
                    self.payload[usize::from(dlci)].extend(&frame.information);
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.bench.pass(time);
        self.listen();
    }

    fn output_bytes(&mut self, dlci: u8) -> Vec<u8> {
        self.listen();
        std::mem::take(&mut self.payload[usize::from(dlci)])
    }

    fn output(&mut self, dlci: u8) -> String {
        String::from_utf8_lossy(&self.output_bytes(dlci)).into_owned()
    }

    fn ask(&mut self, dlci: u8, command: &str) -> String {
        self.say(dlci, format!("{command}\r").as_bytes());
        self.output(dlci)
    }

    /// Messages and frames without payload since the last call, in hexadecimal digits.
    fn others(&mut self) -> Vec<String> {
        self.listen();
        let others = std::mem::take(&mut self.others);
        others.iter().map(|frame| shown(&frame.encoded())).collect()
    }

    /// The V.24 octets of the MSCs for a channel since the last call.
    fn told(&mut self, dlci: u8) -> Vec<u8> {
        self.listen();
        let others = std::mem::take(&mut self.others);
        let messages = others.iter().filter_map(|frame| match frame.information[..] {
            [0xE3, _, channel, v24, ..] if channel >> 2 == dlci => Some(v24),
            _ => None,
        });
        messages.collect()
    }

    /// MSC of the host.
    fn set_lines(&mut self, dlci: u8, v24: u8) {
        self.send(&frame(0, Kind::Uih, &[0xE3, 5, dlci << 2 | 3, v24]));
    }

    fn open(&mut self, dlci: u8, id: u8, mode: u8) {
        let answer = self.ask(dlci, &format!("AT+QSSLOPEN=1,1,{id},\"a.example\",443,{mode}"));
        let expected = match mode {
            2 => "\r\nCONNECT\r\n".into(),
            _ => format!("\r\nOK\r\n\r\n+QSSLOPEN: {id},0\r\n"),
        };
        assert_eq!(answer, expected);
    }

    fn far_end_says(&mut self, record: usize, bytes: &[u8]) {
        self.bench.say(record, bytes);
        self.listen();
    }

    fn received(&self, record: usize) -> &[u8] {
        &self.bench.network.records()[record].received
    }
}

#[test]
fn at_cmux_has_the_ranges_and_defaults_of_the_ec25() {
    for family in [Family::Ec20, Family::Eg800q] {
        let mut bench = Bench::without_echo(Config { family, ..Config::default() });
        assert_eq!(
            bench.ask("AT+CMUX=?"),
            "\r\n+CMUX: (0),(0-2),(1-8),(1-32768),(1-255),(0-100),(2-255),(1-255),(1-7)\r\n\r\nOK\r\n"
        );
        assert_eq!(bench.ask("AT+CMUX?"), "\r\n+CMUX: 0,0,5,127,10,3,30,10,2\r\n\r\nOK\r\n");
        for wrong in ["1", "0,3", "0,0,9", "0,0,5,0", "0,0,5,32769", "0,0,5,127,0", "0,,,,,,,,8", ""] {
            assert_eq!(bench.ask(&format!("AT+CMUX={wrong}")), "\r\nERROR\r\n", "{wrong}");
        }
        // A line that fails does not begin a multiplexer.
        assert_eq!(bench.ask("AT+CMUX=0;+NONSENSE"), "\r\nERROR\r\n");
        assert_eq!(bench.ask("AT"), "\r\nOK\r\n");
        assert_eq!(bench.ask("AT+CMUX=0,0,8,512"), "\r\nOK\r\n");
        assert_eq!(bench.modem.mux(0).map(|mux| mux.longest_bytes), Some(512));
    }
}

#[test]
fn only_a_uart_is_multiplexed_and_only_once() {
    let ports = vec![PortName::UsbAt, PortName::Uart1];
    let mut bench = Bench::with(Config { ports, ..Config::default() }, Plan::new(Behaviour::sink()));
    bench.ask("ATE0");
    for command in ["AT+CMUX=0", "AT+CMUX=?", "AT+CMUX?"] {
        assert_eq!(bench.ask(command), "\r\n+CME ERROR: 3\r\n");
    }
    bench.ask("AT+CMEE=2");
    assert_eq!(bench.ask("AT+CMUX=0"), "\r\n+CME ERROR: operation not allowed\r\n");
    bench.ask_on(1, "ATE0");
    assert_eq!(bench.ask_on(1, "AT+CMUX=0"), "\r\nOK\r\n");
    assert!(bench.modem.mux(1).is_some());
    assert_eq!(bench.ask_on(0, "AT"), "\r\nOK\r\n");

    let mut host = Host::new(Bench::new(Config::default()), "AT+CMUX=0,0,8,1509", 1);
    assert_eq!(host.ask(1, "AT+CMUX=0"), "\r\n+CME ERROR: 3\r\n");
    assert_eq!(host.ask(1, "AT+IPR=9600"), "\r\n+CME ERROR: 3\r\n");
    assert_eq!(host.ask(1, "AT+CMUX?"), "\r\n+CMUX: 0,0,8,1509,10,3,30,10,2\r\n\r\nOK\r\n");
}

#[test]
fn golden_frames_byte_by_byte() {
    let mut bench = entered(Config::default(), "AT+CMUX=0");
    for (sent, output) in [
        ("f9 03 3f 01 1c f9", "f9 03 73 01 d7 f9"),
        ("f9 07 3f 01 de f9", "f9 07 73 01 15 f9 f9 01 ef 09 e3 05 07 0d 9a f9"),
        ("f9 0b 3f 01 59 f9", "f9 0b 73 01 92 f9 f9 01 ef 09 e3 05 0b 0d 9a f9"),
        ("f9 0f 3f 01 9b f9", "f9 0f 73 01 50 f9 f9 01 ef 09 e3 05 0f 0d 9a f9"),
        ("f9 13 3f 01 96 f9", "f9 13 73 01 5d f9 f9 01 ef 09 e3 05 13 0d 9a f9"),
        // DTR and RTS of the host, and its DCD.
        ("f9 03 ef 09 e3 05 07 0d fb f9", "f9 01 ef 09 e1 05 07 0d 9a f9"),
        ("f9 03 ef 09 e3 05 07 8d fb f9", "f9 01 ef 09 e1 05 07 8d 9a f9"),
        ("f9 03 ef 0b 23 07 61 62 63 18 f9", "f9 01 ef 0b 21 07 61 62 63 79 f9"),
        ("f9 03 ef 05 43 01 f2 f9", "f9 01 ef 05 41 01 93 f9"),
        ("f9 03 ef 05 63 01 f2 f9", "f9 01 ef 05 61 01 93 f9"),
        ("f9 03 ef 05 a3 01 f2 f9", "f9 01 ef 05 a1 01 93 f9"),
        ("f9 07 ef 05 41 54 30 f9", "f9 05 ef 05 41 54 51 f9"),
        ("f9 0b ef 05 0d 0a b7 f9", ""),
        ("f9 07 53 01 3f f9", "f9 07 73 01 15 f9"),
        ("f9 0b 53 01 b8 f9", "f9 0b 73 01 92 f9"),
        // Data, and DISC, on a closed channel.
        ("f9 07 ef 07 41 54 0d d3 f9", "f9 07 1f 01 f4 f9"),
        ("f9 07 53 01 3f f9", "f9 07 1f 01 f4 f9"),
        ("f9 03 ef 05 c3 01 f2 f9", "f9 01 ef 05 c1 01 93 f9"),
    ] {
        assert_eq!(exchange(&mut bench, sent), output, "after {sent}");
    }
    assert_eq!(bench.ask("AT"), "\r\nOK\r\n");
}

#[test]
fn a_command_in_one_frame_is_answered_in_one_frame() {
    let mut bench = entered(Config::default(), "AT+CMUX=0");
    exchange(&mut bench, "f9 03 3f 01 1c f9 f9 07 3f 01 de f9");
    bench.type_bytes(&hex("f9 07 ef 07 41 54 0d d3 f9"));
    // The echo of a new channel, and OK.
    let information = hex("41 54 0d 0d 0a 4f 4b 0d 0a");
    let answer = Frame { dlci: 1, command: false, kind: Kind::Uih, poll: false, information };
    assert_eq!(bench.output_bytes(0), answer.encoded());
    assert_eq!(answer.encoded()[..4], hex("f9 05 ef 13"));
}

#[test]
fn a_frame_of_two_octets_of_length_reaches_its_channel() {
    let mut host = Host::new(Bench::new(Config::default()), "AT+CMUX=0,0,5,1509", 2);
    host.open(2, 0, 2);
    let mut bytes = hex("f9 0b ef 68 0b");
    let payload = pattern(7, 0, 1_460);
    bytes.extend(&payload);
    bytes.extend(hex("71 f9"));
    host.send(&bytes);
    assert_eq!(host.received(0), payload);
}

#[test]
fn golden_frames_of_a_module_that_sets_the_command_bit() {
    let config =
        Config { quirks: Quirks { mux_command_bit_set: true, ..Quirks::strict() }, ..Config::default() };
    let mut bench = entered(config, "AT+CMUX=0");
    exchange(&mut bench, "f9 03 3f 01 1c f9");
    assert_eq!(exchange(&mut bench, "f9 07 3f 01 de f9"), "f9 07 73 01 15 f9 f9 03 ef 09 e3 05 07 0d fb f9");
    assert_eq!(exchange(&mut bench, "f9 07 ef 05 41 54 30 f9"), "f9 07 ef 05 41 54 30 f9");
    assert_eq!(exchange(&mut bench, "f9 03 ef 05 c3 01 f2 f9"), "f9 03 ef 05 c1 01 f2 f9");
}

#[test]
fn disc_of_channel_0_ends_the_multiplexer() {
    let mut bench = entered(Config::default(), "AT+CMUX=0");
    assert_eq!(exchange(&mut bench, "f9 03 53 01 fd f9"), "f9 03 1f 01 36 f9");
    exchange(&mut bench, "f9 03 3f 01 1c f9");
    assert_eq!(exchange(&mut bench, "f9 03 53 01 fd f9"), "f9 03 73 01 d7 f9");
    assert_eq!(bench.ask("AT"), "\r\nOK\r\n");
    assert_eq!(bench.modem.mux(0), None);
}

#[test]
fn there_are_four_channels_and_none_before_channel_0() {
    let mut bench = entered(Config::default(), "AT+CMUX=0");
    assert_eq!(exchange(&mut bench, "f9 07 3f 01 de f9"), "f9 07 1f 01 f4 f9");
    exchange(&mut bench, "f9 03 3f 01 1c f9");
    bench.type_bytes(&frame(5, Kind::Sabm, b""));
    let expected = Frame { dlci: 5, command: true, kind: Kind::Dm, poll: true, information: Vec::new() };
    assert_eq!(bench.output_bytes(0), expected.encoded());
}

#[test]
fn sabm_of_an_open_channel_changes_nothing() {
    let mut host = Host::simple(Config::default(), 2);
    host.open(2, 0, 2);
    host.others();
    for dlci in [0, 2] {
        host.send(&frame(dlci, Kind::Sabm, b""));
        assert_eq!(host.others(), [shown(&frame(dlci, Kind::Ua, b""))]);
    }
    host.say(2, b"still a stream");
    assert_eq!(host.received(0), b"still a stream");
    assert_eq!(host.ask(1, "AT"), "\r\nOK\r\n");
}

#[test]
fn channels_have_settings_of_their_own() {
    let mut host = Host::simple(Config::default(), 3);
    host.ask(1, "AT+CMEE=2");
    host.ask(2, "ATV0");
    assert_eq!(host.ask(1, "AT+CPIN=1"), "\r\n+CME ERROR: operation not allowed\r\n");
    assert_eq!(host.ask(2, "AT"), "0\r");
    assert_eq!(host.ask(3, "AT+CPIN=1"), "\r\n+CME ERROR: 3\r\n");
    // An answer that is under way on one channel does not hold another.
    host.bench.modem.delay_next_answer(seconds(3));
    assert_eq!(host.ask(1, "AT+CSQ"), "");
    assert_eq!(host.ask(3, "AT"), "\r\nOK\r\n");
    host.pass(seconds(3));
    assert_eq!(host.output(1), "\r\n+CSQ: 28,99\r\n\r\nOK\r\n");
    // A channel that is closed and opened again begins anew.
    host.send(&frame(2, Kind::Disc, b""));
    host.send(&frame(2, Kind::Sabm, b""));
    assert_eq!(host.ask(2, "AT"), "AT\r\r\nOK\r\n");
}

#[test]
fn messages_are_answered_and_unknown_ones_named() {
    let mut host = Host::simple(Config::default(), 1);
    for (sent, answer) in [
        // PN: N1 no longer than AT+CMUX set it, nothing that this module does not have.
        ("83 11 01 10 07 0a 00 02 03 07", "81 11 01 00 07 0a 7f 00 00 00"),
        ("83 11 01 00 07 0a 40 00 00 00", "81 11 01 00 07 0a 40 00 00 00"),
        ("93 03 07", "91 11 07 07 03 00 11 13 00 00"),
        ("53 05 07 03", "51 05 07 03"),
        ("d3 05 07 01", "d1 05 07 01"),
        ("e3 07 07 0d 01", "e1 07 07 0d 01"),
        ("3b 01", "11 03 3b"),
        // Two messages in one frame; what answers a message is not answered.
        ("43 01 e1 05 07 0d 23 03 41", "41 01"),
    ] {
        host.send(&frame(0, Kind::Uih, &hex(sent)));
        let others: Vec<String> = host.others.drain(..).map(|frame| shown(&frame.information)).collect();
        assert_eq!(others[0], answer, "{sent}");
        assert_eq!(others.len(), if sent.starts_with("43") { 2 } else { 1 }, "{sent}");
    }
    // The second PN holds for the module too.
    host.bench.modem.inject_urc(&"x".repeat(200), host.bench.now);
    host.turns.clear();
    host.bench.look();
    host.listen();
    assert_eq!(host.turns, [(1, 64), (1, 64), (1, 64), (1, 12)]);
}

#[test]
fn a_long_test_comes_back_whole() {
    let mut host = Host::new(Bench::new(Config::default()), "AT+CMUX=0,0,5,512", 1);
    for count in [0_usize, 127, 128, 500] {
        let value = pattern(1, 0, count);
        let length = match count {
            0..128 => vec![(count as u8) << 1 | 1],
            _ => vec![((count & 0x7F) as u8) << 1, ((count >> 7) as u8) << 1 | 1],
        };
        host.send(&frame(0, Kind::Uih, &[&[0x23], &length[..], &value].concat()));
        assert_eq!(host.others.pop().map(|it| it.information), Some([&[0x21], &length[..], &value].concat()));
    }
}

#[test]
fn what_passes_on_one_channel_keeps_the_others_awake() {
    let mut host = Host::quirky("sleeps", 2);
    // It has fallen asleep since channel 2 was opened.
    host.ask(1, "AT");
    for _ in 0..3 {
        host.pass(seconds(3));
        assert_eq!(host.ask(1, "AT"), "\r\nOK\r\n");
    }
    assert_eq!(host.ask(2, "AT"), "\r\nOK\r\n");
    host.pass(seconds(5));
    assert_eq!((host.ask(2, "AT"), host.ask(2, "AT")), (String::new(), "\r\nOK\r\n".into()));
}

#[test]
fn garbage_between_frames_and_frames_with_a_wrong_check_are_passed_over() {
    let mut host = Host::simple(Config::default(), 1);
    host.send(b"AT\r\r\nRING\r\n\xF9\xF9\xF9\xF9");
    assert_eq!(host.ask(1, "AT"), "\r\nOK\r\n");
    let mut spoiled = frame(1, Kind::Uih, b"AT+CSQ\r");
    let check = spoiled.len() - 2;
    spoiled[check] ^= 1;
    host.send(&spoiled);
    assert_eq!(host.output(1), "");
    assert_eq!(host.ask(1, "AT"), "\r\nOK\r\n");
    // The header claims more than there is: the search goes on at the byte after its flag.
    let mut swallowing = frame(1, Kind::Uih, b"x");
    swallowing[3] = 40 << 1 | 1;
    swallowing.extend(frame(1, Kind::Uih, b"AT\r"));
    swallowing.extend(frame(
        0,
        Kind::Uih,
        b"\x23\x81abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl",
    ));
    host.send(&swallowing);
    assert_eq!(host.output(1), "\r\nOK\r\n");
    assert!(host.bench.modem.counters().mux_flags_without_frame >= 3);
}

#[test]
fn a_frame_longer_than_n1_is_dropped_and_counted() {
    let mut host = Host::simple(Config::default(), 2);
    host.send(&frame(1, Kind::Uih, &[b'A'; 128]));
    host.send(&frame(1, Kind::Uih, &[b'A'; 1_500]));
    assert_eq!(host.ask(1, "AT"), "\r\nOK\r\n");
    assert_eq!(host.bench.modem.counters().mux_frames_too_long, 2);
}

#[test]
fn ardupilots_beginning() {
    // SABM 0, 1 and 2 in one burst, P/F set in every frame, no MSC; a stream on channel 2, commands on channel 1.
    let plan = Plan::new(Behaviour::echo());
    let mut host = Host::new(Bench::with(Config::default(), plan), "AT+CMUX=0", 0);
    let burst = hex("f9 03 3f 01 1c f9 f9 07 3f 01 de f9 f9 0b 3f 01 59 f9");
    host.send(&burst);
    let opened: Vec<String> = host.others().into_iter().filter(|frame| frame.contains("73")).collect();
    assert_eq!(opened, ["f9 03 73 01 d7 f9", "f9 07 73 01 15 f9", "f9 0b 73 01 92 f9"]);
    let poll_set = |dlci, text: &str| {
        let information = text.as_bytes().to_vec();
        Frame { dlci, command: true, kind: Kind::Uih, poll: true, information }.encoded()
    };
    host.send(&poll_set(1, "ATE0\r"));
    assert_eq!(host.output(1), "ATE0\r\r\nOK\r\n");
    host.send(&poll_set(2, "ATE0\r"));
    host.output(2);
    for (open, close) in [
        ("AT+QIOPEN=1,0,\"TCP\",\"a.example\",443,0,2\r", "AT+QICLOSE=0\r"),
        ("AT+QSSLOPEN=1,1,0,\"a.example\",443,2\r", "AT+QSSLCLOSE=0\r"),
    ] {
        host.send(&poll_set(2, open));
        assert_eq!(host.output(2), "\r\nCONNECT\r\n");
        for second in 0..20 {
            let payload = format!("second {second}");
            host.send(&poll_set(2, &payload));
            host.send(&poll_set(1, "AT+CSQ\r"));
            assert_eq!(host.output(2), payload);
            assert_eq!(host.output(1), "\r\n+CSQ: 28,99\r\n\r\nOK\r\n");
            host.pass(seconds(1));
        }
        host.send(&poll_set(1, close));
        assert_eq!(host.output(1), "\r\nOK\r\n");
        assert_eq!(host.output(2), "\r\nNO CARRIER\r\n");
    }
    assert_eq!(host.bench.modem.counters().mux_frames_too_long, 0);
}

#[test]
fn a_verified_tls_session_is_a_stream_beside_commands() {
    let mut host = Host::new(Bench::new(Config::default()), "AT+CMUX=0,0,5,512", 2);
    assert_eq!(host.ask(1, "AT+QFUPL=\"ca.pem\",11,60"), "\r\nCONNECT\r\n");
    host.say(1, b"certificate");
    assert!(host.output(1).ends_with("OK\r\n"));
    for setting in ["\"cacert\",1,\"ca.pem\"", "\"seclevel\",1,1", "\"ignorelocaltime\",1,1"] {
        assert_eq!(host.ask(1, &format!("AT+QSSLCFG={setting}")), "\r\nOK\r\n");
    }
    host.open(2, 3, 2);
    let tls = host.bench.network.records()[0].request.tls.clone().expect("a TLS connection");
    assert_eq!((tls.security_level, tls.authorities), (1, vec![b"certificate".to_vec()]));
    let all = pattern(5, 0, 60_000);
    let mut echoed = Vec::new();
    for piece in all.chunks(2_000) {
        host.say(2, piece);
        assert_eq!(host.ask(1, "AT+CSQ"), "\r\n+CSQ: 28,99\r\n\r\nOK\r\n");
        host.pass(milliseconds(1));
        echoed.extend(host.output_bytes(2));
    }
    assert_eq!(echoed, all);
    assert!(host.ask(1, "AT+QSSLSTATE=3").contains(",2,1,3,2,\"cmux2\",1\r\n"));
}

#[test]
fn push_mode_on_two_channels_at_once() {
    let mut host = Host::simple(Config::default(), 3);
    host.ask(1, "AT+QCFG=\"cmux/urcport\",1");
    for (dlci, id) in [(2, 0), (3, 1)] {
        host.open(dlci, id, 1);
    }
    host.say(2, b"AT+QSSLSEND=0,5\r");
    host.say(3, b"AT+QSSLSEND=1,6\r");
    assert_eq!((host.output(2), host.output(3)), ("\r\n> ".into(), "\r\n> ".into()));
    host.say(3, b"thre");
    host.far_end_says(0, b"pushed");
    assert_eq!(host.output(1), "\r\n+QSSLURC: \"recv\",0,6\r\npushed");
    host.say(2, b"first");
    host.say(3, b"ee");
    assert_eq!((host.output(2), host.output(3)), ("\r\nSEND OK\r\n".into(), "\r\nSEND OK\r\n".into()));
    assert_eq!((host.received(0), host.received(1)), (&b"first"[..], &b"threee"[..]));
    host.bench.network.end(0, Ending::Closed, host.bench.now);
    host.bench.look();
    assert_eq!(host.output(1), "\r\n+QSSLURC: \"closed\",0\r\n");
    assert_eq!((host.output(2), host.output(3)), (String::new(), String::new()));
}

#[test]
fn urcs_leave_by_the_channel_that_cmux_urcport_names_and_by_all_for_0() {
    for (set, hears) in
        [("0", [true, true, true]), ("2", [false, true, false]), ("3,1", [false, false, true])]
    {
        let mut host = Host::simple(Config::default(), 3);
        assert_eq!(host.ask(1, "AT+QCFG=\"cmux/urcport\""), "\r\n+QCFG: \"cmux/urcport\",0\r\n\r\nOK\r\n");
        assert_eq!(host.ask(1, &format!("AT+QCFG=\"cmux/urcport\",{set}")), "\r\nOK\r\n");
        let shown = format!("\r\n+QCFG: \"cmux/urcport\",{set}\r\n\r\nOK\r\n");
        assert_eq!(host.ask(1, "AT+QCFG=\"cmux/urcport\""), shown);
        host.bench.modem.inject_urc("+QIND: x", host.bench.now);
        host.bench.look();
        for (dlci, hears) in (1..).zip(hears) {
            assert_eq!(
                host.output(dlci),
                if hears { "\r\n+QIND: x\r\n" } else { "" },
                "{set}, channel {dlci}"
            );
        }
    }
    let mut bench = Bench::without_echo(Config::default());
    assert_eq!(bench.ask("AT+QCFG=\"cmux/urcport\",5"), "\r\nERROR\r\n");
    for key in ["urc/ri/other", "urc/ri/ring", "urc/ri/smsincoming"] {
        assert_eq!(bench.ask(&format!("AT+QCFG=\"{key}\",\"off\"")), "\r\nOK\r\n");
        let shown = format!("\r\n+QCFG: \"{key}\",\"off\"\r\n\r\nOK\r\n");
        assert_eq!(bench.ask(&format!("AT+QCFG=\"{key}\"")), shown);
    }
}

#[test]
fn the_key_of_the_urc_channel_differs_by_a_switch() {
    let mut host = Host::simple(Config::default(), 1);
    assert_eq!(host.ask(1, "AT+QCFG=\"emux/urcport\",2"), "\r\nERROR\r\n");
    let mut host = Host::quirky("mux_urc_key_differs", 2);
    assert_eq!(host.ask(1, "AT+QCFG=\"cmux/urcport\",2"), "\r\nERROR\r\n");
    assert_eq!(host.ask(1, "AT+QCFG=\"emux/urcport\",\"2\""), "\r\nERROR\r\n");
    assert_eq!(host.ask(1, "AT+QCFG=\"emux/urcport\",2"), "\r\nOK\r\n");
    host.bench.modem.inject_urc("+QIND: x", host.bench.now);
    host.bench.look();
    assert_eq!((host.output(1), host.output(2)), (String::new(), "\r\n+QIND: x\r\n".into()));
}

#[test]
fn a_urc_waits_for_an_open_channel_and_does_not_enter_a_stream() {
    let mut host = Host::simple(Config::default(), 0);
    host.bench.modem.inject_urc("+QIND: early", host.bench.now);
    host.bench.look();
    assert!(host.others().is_empty());
    host.send(&frame(1, Kind::Sabm, b""));
    assert_eq!(host.output(1), "\r\n+QIND: early\r\n");
    host.send(&frame(2, Kind::Sabm, b""));
    host.ask(2, "ATE0");
    host.open(2, 0, 2);
    host.bench.modem.inject_urc("+QIND: late", host.bench.now);
    host.far_end_says(0, b"payload");
    assert_eq!((host.output(1), host.output(2)), ("\r\n+QIND: late\r\n".into(), "payload".into()));
}

#[test]
fn dv_rises_with_connect_and_falls_after_the_last_byte() {
    let mut host = Host::simple(Config::default(), 2);
    host.open(2, 0, 2);
    assert_eq!(host.told(2), [0x8D]);
    host.bench.network.say(0, b"last", host.bench.now);
    host.bench.network.end(0, Ending::Closed, host.bench.now);
    host.bench.look();
    let output = host.bench.output_bytes(0);
    let mut expected = Frame {
        dlci: 2,
        command: false,
        kind: Kind::Uih,
        poll: false,
        information: b"last\r\nNO CARRIER\r\n".to_vec(),
    }
    .encoded();
    expected.extend(hex("f9 01 ef 09 e3 05 0b 0d 9a f9"));
    assert_eq!(shown(&output), shown(&expected));
}

#[test]
fn dtr_by_msc_and_disc_hang_up() {
    for by_disc in [false, true] {
        let mut host = Host::simple(Config::default(), 2);
        host.open(2, 0, 2);
        host.say(2, b"bytes");
        host.others();
        match by_disc {
            true => host.send(&frame(2, Kind::Disc, b"")),
            false => host.set_lines(2, 0x09),
        }
        assert_eq!(host.output(2), if by_disc { "" } else { "\r\nNO CARRIER\r\n" });
        assert_eq!(host.bench.network.open_connections(), 0);
        assert_eq!(host.received(0), b"bytes");
        assert!(host.ask(1, "AT+QSSLSTATE=0").contains(",4,1,0,2,\"cmux2\",1\r\n"));
        let view = host.bench.modem.mux(0).expect("the multiplexer goes on");
        assert_eq!(view.channels[1].is_none(), by_disc);
        assert!(view.channels[1].is_none_or(|channel| !channel.dtr));
    }
    // A channel that waits for its open gives it up.
    let plan = Plan::new(Behaviour::sink()).opening(crate::network::simulated::Opening::Never);
    let mut host = Host::new(Bench::with(Config::default(), plan), "AT+CMUX=0", 2);
    assert_eq!(host.ask(2, "AT+QSSLOPEN=1,1,0,\"a.example\",443,2"), "");
    host.send(&frame(2, Kind::Disc, b""));
    assert!(host.bench.modem.sockets_in_use().is_empty());
}

#[test]
fn fc_of_the_host_holds_one_channel() {
    let mut host = Host::simple(Config::default(), 3);
    host.open(2, 0, 2);
    host.open(3, 1, 2);
    host.set_lines(2, 0x0F);
    host.far_end_says(0, &pattern(1, 0, 5_000));
    host.far_end_says(1, b"other");
    assert_eq!((host.output(2), host.output(3)), (String::new(), "other".into()));
    assert_eq!(host.ask(1, "AT"), "\r\nOK\r\n");
    assert!(host.bench.modem.mux(0).expect("a multiplexer").channels[1].is_some_and(|it| it.held_by_host));
    host.set_lines(2, 0x0D);
    assert_eq!(host.output_bytes(2), pattern(1, 0, 5_000));
    // FCoff holds all payload, FCon lets it go.
    host.send(&frame(0, Kind::Uih, &[0x63, 1]));
    assert_eq!(host.ask(1, "AT"), "");
    host.send(&frame(0, Kind::Uih, &[0xA3, 1]));
    assert_eq!(host.output(1), "\r\nOK\r\n");
}

#[test]
fn the_module_sets_fc_when_a_stream_has_no_room_and_loses_nothing() {
    let every = milliseconds(10);
    let slow = Behaviour { reads: Reads::Drip { bytes: 500, every }, ..Behaviour::sink() };
    let plan = Plan::new(slow).window(1_000);
    let config = Config { send_buffer_bytes: 2_000, ..Config::default() };
    let mut host = Host::new(Bench::with(config, plan), "AT+CMUX=0", 2);
    host.open(2, 0, 2);
    host.others();
    let all = pattern(2, 0, 60_000);
    let (mut rest, mut stops, mut is_held) = (&all[..], 0, false);
    while !rest.is_empty() {
        // The host heeds FC late: 30 frames later.
        for _ in 0..if is_held { 0 } else { 30 } {
            let count = rest.len().min(127);
            host.send(&frame(2, Kind::Uih, &rest[..count]));
            rest = &rest[count..];
        }
        for v24 in host.told(2) {
            stops += usize::from(v24 & 2 != 0);
            is_held = v24 & 2 != 0;
        }
        assert_eq!(host.ask(1, "AT"), "\r\nOK\r\n");
        host.pass(every);
    }
    host.pass(seconds(9));
    assert!(stops > 5, "{stops} stops");
    assert_eq!(host.received(0), all);
    assert_eq!(host.bench.modem.counters().bytes_lost_without_flow_control, 0);
    assert_eq!(host.told(2).last().map(|v24| v24 & 2), Some(0));
}

#[test]
fn channels_take_turns_and_no_frame_is_made_ahead() {
    let mut host = Host::simple(Config::default(), 4);
    for dlci in 2..=4 {
        host.open(dlci, dlci, 2);
    }
    host.turns.clear();
    host.bench.host_reads(0, false);
    for record in 0..3 {
        host.far_end_says(record, &pattern(record as u64, 0, 5_000));
    }
    assert_eq!(host.bench.modem.output(0).len(), 127 + 6);
    host.say(1, b"AT\r");
    assert_eq!(host.bench.modem.output(0).len(), 127 + 6);
    host.bench.host_reads(0, true);
    host.listen();
    // The answer waits for the turns before its own, and not for what they still have.
    let place = host.turns.iter().position(|(dlci, _)| *dlci == 1).expect("the answer");
    assert!(place <= 3, "{:?}", host.turns);
    host.bench.look();
    host.listen();
    let streams: Vec<u8> = host.turns.iter().map(|turn| turn.0).filter(|dlci| *dlci != 1).collect();
    for three in streams[..90].chunks(3) {
        assert_eq!(three.iter().map(|dlci| u32::from(*dlci)).sum::<u32>(), 9, "{streams:?}");
    }
    for (record, dlci) in (2..=4).enumerate() {
        assert_eq!(host.output_bytes(dlci), pattern(record as u64, 0, 5_000));
    }
}

#[test]
fn a_command_beside_a_saturated_stream_waits_for_one_frame() {
    let plan = Plan::new(Behaviour::source(1_000_000, 3));
    let mut host = Host::new(Bench::with(Config::default(), plan), "AT+CMUX=0,0,5,512", 2);
    host.bench.host_reads(0, false);
    host.bench.type_bytes(&frame(2, Kind::Uih, b"AT+QSSLOPEN=1,1,0,\"a.example\",443,2\r"));
    // The modem's UART holds 16 bytes, which is what 1 ms takes and a little more.
    let mut line = Line::new(115_200, 16);
    let (mut asked, mut slowest) = (None, Duration::ZERO);
    for step in 0..10_000 {
        if step % 103 == 0 && asked.is_none() {
            host.bench.type_bytes(&frame(1, Kind::Uih, b"AT\r"));
            asked = Some(host.bench.now);
        }
        while let taken @ 1.. = line.push(host.bench.modem.output(0), host.bench.now) {
            host.bench.modem.written(0, taken, host.bench.now);
        }
        host.bench.pass(milliseconds(1));
        let arrived = line.arrived(host.bench.now).to_vec();
        line.consume(arrived.len());
        host.decoder.push(&arrived);
        while let Some(Found::Frame(frame)) = host.decoder.next(512) {
            host.payload[usize::from(frame.dlci)].extend(&frame.information);
            if frame.dlci == 1 {
                assert_eq!(frame.information, b"\r\nOK\r\n");
                let asked = asked.take().expect("an answer follows a question");
                slowest = slowest.max(host.bench.now - asked);
            }
        }
    }
    // A frame of 512 bytes and its 7 octets take 45 ms.
    assert!(slowest <= milliseconds(50), "{slowest:?}");
    assert!(slowest > milliseconds(40), "{slowest:?}");
    let share = host.payload[2].len() as f64 / 115_200.0;
    assert!(share > 0.97, "{share} of the line");
    let stream = host.payload[2].strip_prefix(b"\r\nCONNECT\r\n").expect("a stream");
    assert_eq!(stream, pattern(3, 0, stream.len()));
}

#[test]
fn leaving_ends_streams_and_a_host_can_come_back() {
    let mut host = Host::simple(Config::default(), 2);
    host.open(2, 0, 2);
    host.others();
    let mut farewell = hex("f9 03 ef 05 c3 01 f2 f9");
    farewell.extend(b"AT\r");
    host.bench.type_bytes(&farewell);
    assert_eq!(
        shown(&host.bench.output_bytes(0)),
        shown(&[hex("f9 01 ef 05 c1 01 93 f9"), b"\r\nOK\r\n".to_vec()].concat())
    );
    assert_eq!(host.bench.network.open_connections(), 0);
    assert!(host.bench.ask("AT+QSSLSTATE=0").contains(",4,1,0,2,\"cmux2\",1\r\n"));
    assert_eq!(host.bench.ask("AT+QSSLCLOSE=0"), "\r\nOK\r\n");
    assert_eq!(host.bench.ask("AT+CMUX=0"), "\r\nOK\r\n");
    exchange(&mut host.bench, "f9 03 3f 01 1c f9 f9 0b 3f 01 59 f9");
    host.decoder = Decoder::default();
    assert_eq!(host.ask(2, "AT"), "AT\r\r\nOK\r\n");
    // Sockets of a channel are told about on the line once the multiplexer has ended.
    host.ask(2, "ATE0");
    host.open(2, 1, 1);
    exchange(&mut host.bench, "f9 03 ef 05 c3 01 f2 f9");
    host.bench.say(1, b"later");
    assert_eq!(host.bench.output(), "\r\n+QSSLURC: \"recv\",1,5\r\nlater");
}

#[test]
fn a_boot_ends_the_multiplexer_with_plain_words() {
    let mut host = Host::simple(Config::default(), 2);
    host.open(2, 0, 2);
    host.bench.modem.reboot(host.bench.now);
    host.bench.pass(seconds(4));
    assert_eq!(host.bench.output(), "\r\nRDY\r\n\r\n+CFUN: 1\r\n");
    assert_eq!(host.bench.ask("AT"), "AT\r\r\nOK\r\n");

    let mut host = Host::simple(Config::default(), 1);
    assert_eq!(host.ask(1, "AT+CFUN=1,1"), "\r\nOK\r\n\r\nPOWERED DOWN\r\n");
    host.bench.pass(seconds(4));
    assert_eq!(host.bench.output(), "\r\nRDY\r\n\r\n+CFUN: 1\r\n");
}

#[test]
fn a_guarded_escape_leaves_the_stream_and_not_the_multiplexer() {
    let mut host = Host::simple(Config::default(), 2);
    host.open(2, 0, 2);
    host.pass(seconds(1));
    host.say(2, b"+++");
    host.pass(seconds(1));
    assert_eq!(host.output(2), "\r\nOK\r\n");
    assert_eq!(host.ask(1, "AT"), "\r\nOK\r\n");
    assert_eq!(host.ask(2, "ATO"), "\r\nCONNECT\r\n");
}

#[test]
fn p_f_is_set_cleared_or_copied_by_switches() {
    // SABM, TEST with P/F set, a command: the control octets of what comes back.
    let script = |switch: &str| {
        let mut config = Config::default();
        assert!(switch.is_empty() || config.quirks.set(switch, true));
        let mut bench = entered(config, "AT+CMUX=0");
        bench.type_bytes(&frame(0, Kind::Sabm, b""));
        let test =
            Frame { dlci: 0, command: true, kind: Kind::Uih, poll: true, information: hex("23 03 41") };
        bench.type_bytes(&test.encoded());
        let mut output = bench.output_bytes(0);
        bench.type_bytes(&frame(1, Kind::Sabm, b""));
        bench.output_bytes(0);
        bench.type_bytes(&frame(1, Kind::Uih, b"AT\r"));
        output.extend(bench.output_bytes(0));
        let controls: Vec<u8> =
            output.split(|byte| *byte == 0xF9).filter(|part| !part.is_empty()).map(|part| part[1]).collect();
        shown(&controls)
    };
    assert_eq!(script(""), "73 ef ef");
    assert_eq!(script("mux_final_always"), "73 ff ff");
    assert_eq!(script("mux_final_never"), "63 ef ef");
    assert_eq!(script("mux_final_in_kind"), "73 ff ef");
}

#[test]
fn some_modules_want_p_f_clear_for_disc_and_cld() {
    let mut host = Host::quirky("mux_wants_poll_clear", 1);
    host.send(&hex("f9 07 53 01 3f f9"));
    assert!(host.others().is_empty());
    let without = |dlci, kind, information: &[u8]| {
        Frame { dlci, command: true, kind, poll: false, information: information.to_vec() }.encoded()
    };
    host.send(&without(1, Kind::Disc, b""));
    assert_eq!(host.others(), [shown(&without(1, Kind::Ua, b""))]);
    let cld = Frame { dlci: 0, command: true, kind: Kind::Uih, poll: true, information: hex("c3 01") };
    host.send(&cld.encoded());
    assert!(host.bench.modem.mux(0).is_some());
    host.send(&frame(0, Kind::Uih, &hex("c3 01")));
    assert_eq!(host.bench.modem.mux(0), None);
}

#[test]
fn two_answers_to_sabm_and_a_sabm_of_the_module() {
    let mut host = Host::quirky("mux_answers_sabm_twice", 0);
    host.send(&frame(1, Kind::Sabm, b""));
    assert_eq!(host.others()[..2], ["f9 07 73 01 15 f9", "f9 07 73 01 15 f9"]);
    let mut host = Host::quirky("mux_sends_sabm", 0);
    host.send(&frame(1, Kind::Sabm, b""));
    let own = Frame { dlci: 1, command: false, kind: Kind::Sabm, poll: true, information: Vec::new() };
    assert_eq!(host.others()[..2], ["f9 07 73 01 15 f9".to_owned(), shown(&own.encoded())]);
    host.send(&frame(1, Kind::Ua, b""));
    assert_eq!(host.ask(1, "AT"), "AT\r\r\nOK\r\n");
}

#[test]
fn msc_has_other_lengths_by_switches() {
    for (switch, message) in
        [("mux_msc_with_break", "e3 07 07 0d 01"), ("mux_long_msc", "e3 11 07 0d 01 01 01 01 01 01")]
    {
        let mut host = Host::quirky(switch, 0);
        host.send(&frame(1, Kind::Sabm, b""));
        assert_eq!(shown(&host.others[1].information), message);
    }
}

#[test]
fn an_msc_without_an_answer_is_repeated_and_payload_waits() {
    let mut host = Host::quirky("mux_awaits_msc_answer", 0);
    host.send(&frame(1, Kind::Sabm, b""));
    host.send(&frame(2, Kind::Sabm, b""));
    assert_eq!(host.ask(1, "ATE0"), "");
    assert_eq!(host.told(1), [0x0D]);
    host.pass(milliseconds(1_000));
    assert_eq!(host.told(1), [0x0D]);
    host.send(&frame(0, Kind::Uih, &hex("e1 05 07 0d")));
    assert_eq!(host.output(1), "ATE0\r\r\nOK\r\n");
    // After N2 repeats the payload of the other channel goes as well.
    host.ask(2, "AT");
    host.pass(milliseconds(2_999));
    assert_eq!((host.told(2), host.output(2)), (vec![0x0D; 2], String::new()));
    host.pass(milliseconds(1));
    assert_eq!(host.output(2), "AT\r\r\nOK\r\n");
    assert_eq!(host.bench.modem.next_deadline(), None);
}

#[test]
fn a_urc_by_ri_clears_the_lines_unless_it_is_off() {
    let mut host = Host::quirky("mux_ring_clears_lines", 1);
    host.bench.modem.inject_urc("RING", host.bench.now);
    host.pass(milliseconds(119));
    assert_eq!(host.told(1), [0x41]);
    host.pass(milliseconds(1));
    assert_eq!(host.told(1), [0x01]);
    host.set_lines(1, 0x0D);
    assert_eq!(host.told(1), [0x0D]);
    host.bench.modem.inject_urc("+QIND: x", host.bench.now);
    host.pass(seconds(1));
    assert_eq!(host.told(1), [0x41, 0x01]);
    host.send(&frame(0, Kind::Uih, &hex("23 03 41")));
    assert_eq!(host.told(1), [0x0D]);
    for (key, urc) in [("ring", "RING"), ("smsincoming", "+CMTI: \"ME\",0"), ("other", "+QIND: x")] {
        host.ask(1, &format!("AT+QCFG=\"urc/ri/{key}\",\"off\""));
        host.bench.modem.inject_urc(urc, host.bench.now);
        host.pass(seconds(1));
        assert_eq!(host.told(1), [0_u8; 0], "{key}");
    }
}

#[test]
fn too_long_a_frame_freezes_some_modules_until_a_boot() {
    let mut host = Host::quirky("mux_freezes_on_long_frame", 1);
    host.send(&frame(1, Kind::Uih, &[b'A'; 200]));
    assert_eq!(host.ask(1, "AT"), "");
    host.send(&frame(0, Kind::Sabm, b""));
    host.pass(seconds(60));
    assert!(host.others().is_empty());
    host.bench.modem.reboot(host.bench.now);
    host.bench.pass(seconds(5));
    host.bench.output();
    assert_eq!(host.bench.ask("AT"), "AT\r\r\nOK\r\n");
}

#[test]
fn some_modules_send_frames_longer_than_n1() {
    let mut host = Host::quirky("mux_exceeds_frame_length", 2);
    host.open(2, 0, 2);
    host.turns.clear();
    let all = pattern(3, 0, 100_000);
    for piece in all.chunks(10_000) {
        host.far_end_says(0, piece);
    }
    let longest = host.turns.iter().map(|turn| turn.1).max();
    assert_eq!(longest, Some(127 + 64));
    assert_eq!(host.output_bytes(2), all);
}

#[test]
fn some_modules_do_not_answer_at_cmux_and_some_not_cld() {
    let mut host = Host::quirky("mux_begins_silently", 1);
    assert_eq!(host.ask(1, "AT"), "\r\nOK\r\n");
    let mut host = Host::quirky("mux_close_down_unanswered", 1);
    host.send(&frame(0, Kind::Uih, &hex("c3 01")));
    assert!(host.others().is_empty());
    assert_eq!(host.bench.ask("AT"), "\r\nOK\r\n");
}

#[test]
fn dv_stays_clear_by_a_switch() {
    let mut host = Host::quirky("mux_carrier_never", 2);
    host.open(2, 0, 2);
    host.far_end_says(0, b"x");
    assert_eq!(host.told(2), [0_u8; 0]);
}

#[test]
fn a_close_across_channels_works_or_is_refused() {
    for (switch, output, stream) in [
        ("mux_long_msc", "\r\nOK\r\n", "\r\nNO CARRIER\r\n"),
        ("mux_close_by_opener_only", "\r\nERROR\r\n", ""),
    ] {
        let mut host = Host::quirky(switch, 2);
        host.open(2, 0, 2);
        assert_eq!(host.ask(1, "AT+QSSLCLOSE=0"), output);
        assert_eq!(host.output(2), stream);
    }
    let mut host = Host::quirky("mux_close_by_opener_only", 2);
    host.open(2, 0, 0);
    assert_eq!(host.ask(2, "AT+QSSLCLOSE=0"), "\r\nOK\r\n");
}

#[test]
fn urcs_leave_by_every_channel_by_a_switch() {
    let mut host = Host::quirky("mux_urcs_everywhere", 3);
    host.ask(1, "AT+QCFG=\"cmux/urcport\",1");
    host.open(1, 0, 1);
    host.far_end_says(0, b"abc");
    for dlci in 1..=3 {
        assert_eq!(host.output(dlci), "\r\n+QSSLURC: \"recv\",0,3\r\nabc");
    }
}

#[test]
fn the_end_of_a_stream_is_told_on_channel_1_by_switches() {
    for (switch, own) in [("mux_end_told_on_first", "\r\nNO CARRIER\r\n"), ("mux_end_told_on_first_only", "")]
    {
        let mut host = Host::quirky(switch, 3);
        host.open(3, 0, 2);
        host.others();
        host.bench.network.end(0, Ending::Closed, host.bench.now);
        host.bench.look();
        assert_eq!((host.output(1), host.output(3)), ("\r\nNO CARRIER\r\n".into(), own.into()));
        assert_eq!(host.told(3), [0x0D]);
    }
}

#[test]
fn some_modules_read_nothing_for_100_ms_after_their_ok() {
    let quirks = Quirks { mux_needs_pause: true, ..Quirks::strict() };
    let mut bench = entered(Config { quirks, ..Config::default() }, "AT+CMUX=0");
    bench.pass(milliseconds(99));
    assert_eq!(exchange(&mut bench, "f9 03 3f 01 1c f9"), "");
    bench.pass(milliseconds(1));
    assert_eq!(exchange(&mut bench, "f9 03 3f 01 1c f9"), "f9 03 73 01 d7 f9");
}

#[test]
fn faults_reach_the_next_frame_alone() {
    let mut host = Host::simple(Config::default(), 1);
    let mut answer_to_test = |prepare: &dyn Fn(&mut crate::Modem)| {
        prepare(&mut host.bench.modem);
        let output = exchange(&mut host.bench, "f9 03 ef 0b 23 07 61 62 63 18 f9");
        assert_eq!(exchange(&mut host.bench, "f9 03 ef 05 43 01 f2 f9"), "f9 01 ef 05 41 01 93 f9");
        output
    };
    assert_eq!(answer_to_test(&|modem| modem.spoil_next_frames(1)), "f9 01 ef 0b 21 07 61 62 63 2c f9");
    assert_eq!(
        answer_to_test(&|modem| modem.falsify_next_frame_length(1_000)),
        "f9 01 ef d0 07 21 07 61 62 63 79 f9"
    );
    assert_eq!(answer_to_test(&|modem| modem.lose_bytes_in_next_frame(2)), "f9 01 ef 0b 61 62 63 79 f9");
}

#[test]
fn the_module_can_close_a_channel_and_open_it_again_when_asked() {
    for (by_disc, kind) in [(true, Kind::Disc), (false, Kind::Dm)] {
        let mut host = Host::simple(Config::default(), 2);
        assert_eq!(host.ask(2, "AT"), "\r\nOK\r\n");
        let before = host.others().len();
        let bench = &mut host.bench;
        assert!(!bench.modem.end_channel(0, 3, by_disc, bench.now, &mut bench.network), "it is not open");
        assert!(bench.modem.end_channel(0, 2, by_disc, bench.now, &mut bench.network));
        host.pass(seconds(1));
        let own = Frame { dlci: 2, command: !by_disc, kind, poll: by_disc, information: Vec::new() };
        assert_eq!(host.others()[before..], [shown(&own.encoded())]);
        host.send(&frame(2, Kind::Sabm, b""));
        assert_eq!(host.ask(2, "AT"), "AT\r\r\nOK\r\n");
    }
}

#[test]
fn fc_can_stay_set_until_test() {
    let mut host = Host::simple(Config::default(), 2);
    assert!(!host.bench.modem.hold_channel_until_test(0, 3, host.bench.now));
    assert!(host.bench.modem.hold_channel_until_test(0, 2, host.bench.now));
    host.pass(seconds(60));
    assert_eq!(host.told(2), [0x0F]);
    host.send(&frame(0, Kind::Uih, &hex("23 03 41")));
    assert_eq!(host.told(2), [0x0D]);
    host.bench.modem.hold_channel_until_test(0, 2, host.bench.now);
    host.pass(seconds(1));
    host.bench.modem.calm_down();
    host.bench.look();
    assert_eq!(host.told(2), [0x0F, 0x0D]);
}

#[test]
fn a_stalled_modem_answers_its_frames_when_it_goes_on() {
    let mut host = Host::simple(Config::default(), 1);
    host.bench.modem.stall(host.bench.now + seconds(7));
    assert_eq!(host.ask(1, "AT"), "");
    host.pass(seconds(7));
    assert_eq!(host.output(1), "\r\nOK\r\n");
}

#[test]
fn some_modules_want_the_command_bit() {
    let mut host = Host::quirky("mux_wants_command_bit", 1);
    let command = |command| {
        let information = b"AT\r".to_vec();
        Frame { dlci: 1, command, kind: Kind::Uih, poll: false, information }.encoded()
    };
    host.send(&command(false));
    assert_eq!(host.output(1), "");
    host.send(&command(true));
    assert_eq!(host.output(1), "\r\nOK\r\n");
}

/// Whatever a host sends, in any pieces, with any switches: nothing panics, no queue grows without limit, and after a
/// boot the modem answers.
#[test]
fn nothing_that_is_sent_breaks_the_multiplexer() {
    let mut number = 12_345_u64;
    let mut roll = |sides: u64| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (number >> 33) % sides
    };
    let mut taken = 0;
    for run in 0..150 {
        let mut config = Config { command_latency: milliseconds(roll(3) * 10), ..Config::default() };
        for (name, _) in Quirks::SWITCHES.iter().filter(|(name, _)| name.starts_with("mux_")) {
            config.quirks.set(name, roll(6) == 0);
        }
        let behaviour = [Behaviour::echo(), Behaviour::source(20_000, run), Behaviour::deaf()];
        let plan = Plan::new(behaviour[roll(3) as usize].clone()).window(5_000);
        let mut bench = Bench::with(config, plan);
        let lines = ["AT+QIACT=1\r", "AT+CMUX=0,0,5,100\r"];
        for line in lines {
            bench.type_bytes(line.as_bytes());
            bench.pass(milliseconds(20));
        }
        for _ in 0..300 {
            let dlci = roll(6) as u8;
            let kind = [Kind::Sabm, Kind::Disc, Kind::Ua, Kind::Dm, Kind::Ui][roll(5) as usize];
            let message =
                [0xE3, 0xC3, 0x23, 0x63, 0xA3, 0x83, 0x93, 0x53, 0xD3, 0x13, 0xE1, 0x43][roll(12) as usize];
            let commands: [&[u8]; 8] = [
                b"AT+QSSLOPEN=1,0,0,\"a\",1,2\r",
                b"AT+QSSLOPEN=1,0,1,\"a\",1,1\r",
                b"AT+QSSLCLOSE=0\r",
                b"AT+QSSLSEND=1,50\r",
                b"AT+CMUX=0\r",
                b"AT+QCFG=\"cmux/urcport\",2\r",
                &[b'x'; 90],
                &[b'y'; 120],
            ];
            let mut bytes = match roll(12) {
                0 if roll(4) == 0 => frame(dlci, kind, b""),
                0 | 1 => frame(dlci, Kind::Sabm, b""),
                2 => {
                    let value = [roll(64) as u8, roll(256) as u8, roll(256) as u8];
                    let length = [1, 3, 5, 7, 0][roll(5) as usize];
                    let sent = [&[message, length][..], &value].concat();
                    // Most of the time without the end of everything.
                    frame(0, Kind::Uih, if message == 0xC3 && roll(5) > 0 { &[] } else { &sent })
                }
                3 => frame(dlci, Kind::Uih, &[roll(256) as u8; 3]),
                _ => frame(dlci, Kind::Uih, commands[roll(8) as usize]),
            };
            if roll(10) == 0 {
                let at = roll(bytes.len() as u64) as usize;
                bytes[at] = roll(256) as u8;
            }
            let split = roll(bytes.len() as u64) as usize;
            bench.type_bytes(&bytes[..split]);
            bench.type_bytes(&bytes[split..]);
            match roll(20) {
                0 => bench.host_reads(0, roll(2) == 0),
                1 => bench.modem.inject_urc("RING", bench.now),
                2 => bench.lines(0, roll(2) == 0, true),
                3 => bench.modem.stall(bench.now + milliseconds(roll(99))),
                4 if roll(20) == 0 => bench.modem.reboot(bench.now),
                5 => bench.type_bytes(b"AT+CMUX=0\r"),
                6 => bench.modem.close_socket(roll(2) as u8, bench.now),
                _ => bench.pass(milliseconds(roll(300))),
            }
            assert!(bench.modem.output(0).len() <= 1 << 21, "run {run}");
        }
        taken += bench.modem.counters().mux_frames_taken;
        bench.host_reads(0, true);
        bench.lines(0, true, true);
        bench.modem.reboot(bench.now);
        bench.pass(seconds(30));
        bench.output();
        bench.type_bytes(b"AT\r");
        bench.pass(milliseconds(20));
        assert_eq!(bench.output(), "AT\r\r\nOK\r\n", "run {run}");
    }
    assert!(taken > 10_000, "{taken} frames");
}
