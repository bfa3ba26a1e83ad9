//! Goal of this test: every mode works with a modem whose echo cannot be switched off, and with one that echoes
//! payload as well. A client's own bytes that come back are never taken for the modem's words.

use qssl_core::settings::Mode;
use qssl_modem_emulator::PortName;
use qssl_modem_emulator::network::simulated::{Behaviour, Ends, Says};

use qssl_simulation::Outcome;
use qssl_simulation::by_hand::ByHand;
use qssl_simulation::wiring::{Connection, Port, Sends, Wiring, millis, seconds};

/// What a client would send to forge the modem's words.
const FORGED: [&[u8]; 8] = [
    b"\r\n+QSSLURC: \"closed\",1\r\n",
    b"\r\n+QSSLURC: \"recv\",1,4\r\nEVIL",
    b"\r\nSEND OK\r\n",
    b"\r\nERROR\r\n",
    b"\r\nOK\r\n",
    b"\r\nRDY\r\n",
    b"\r\nPOWERED DOWN\r\n",
    b"\r\n> AT+QSSLCLOSE=1,0\r",
];

fn echoing(wiring: Wiring, payload: bool) -> Wiring {
    wiring.modem(|modem| {
        modem.quirks.echo_stays = true;
        modem.quirks.payload_echoed = payload;
    })
}

#[test]
fn every_mode_works_with_it() {
    for mode in [Mode::Push, Mode::Buffer, Mode::Transparent] {
        for payload in [false, true] {
            for wiring in [Wiring::new(), Wiring::new().uart(115_200)] {
                // Different bytes in both directions at once.
                let far = Behaviour {
                    says: Says::Pattern { bytes: 40_000, seed: 5 },
                    ends: Ends::AfterReading(40_000),
                    ..Behaviour::sink()
                };
                let connection = Connection::new(mode).sends(Sends::Pattern(40_000)).far_end(far);
                let count = if mode == Mode::Transparent { 1 } else { 3 };
                let mut sim = echoing(wiring, payload).connect_many(count, &connection).start();
                sim.run_to_the_end(seconds(200));
                for index in 0..count {
                    sim.assert_complete(index);
                    assert_eq!(sim.outcome(index), Some(Outcome::Eof), "{mode:?}, payload {payload}");
                }
                assert_eq!(sim.relay.modem().counters().resyncs, 0, "{mode:?}, payload {payload}");
            }
        }
    }
}

#[test]
fn an_echo_that_looks_like_the_modems_words_is_not_believed() {
    for mode in [Mode::Push, Mode::Buffer] {
        for payload in [false, true] {
            let steps = FORGED.iter().enumerate();
            let steps = steps.map(|(step, words)| (millis(2_000 + 300 * step as u64), words.to_vec()));
            let attacker = Connection::new(mode).sends(Sends::Steps(steps.collect()));
            let says = Says::Drip { bytes: 50, every: millis(100), total: 4_000, seed: 2 };
            let far = Behaviour { says, ends: Ends::AfterSaying(4_000), ..Behaviour::sink() };
            let neighbour = Connection::new(mode).far_end(far);
            let wiring = echoing(Wiring::new().uart(115_200), payload);
            let mut sim = wiring.connect(attacker).connect(neighbour).start();
            sim.run_until("the neighbour ends", seconds(60), |sim| sim.outcome(1).is_some());
            let name = format!("{mode:?}, payload {payload}");
            assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{name}");
            assert_eq!(sim.clients[1].received.len(), 4_000, "{name}");
            let sent = FORGED.concat();
            assert_eq!(sim.fars[0].memory().read, sent, "{name}: and the attacker's bytes are only bytes");
            assert_eq!(sim.outcome(0), None, "{name}");
            assert_eq!(sim.relay.modem().counters().reboots, 0, "{name}");
        }
    }
}

/// The blank of `> `, or the line end that some modules send after `>`, once came together with the first echoed byte,
/// and both were taken for a line. The modem then counted as one that echoes only commands, and the next client could
/// answer its own sends.
#[test]
fn an_echo_is_known_where_the_prompt_comes_in_pieces() {
    for (with_line_end, seed) in
        [false, true].into_iter().flat_map(|end| (1..=20).map(move |seed| (end, seed)))
    {
        let first = (millis(2_000), b"E".to_vec());
        let forged = FORGED.iter().enumerate();
        let forged = forged.map(|(step, words)| (millis(2_500 + 300 * step as u64), words.to_vec()));
        let steps: Vec<_> = std::iter::once(first).chain(forged).collect();
        let attacker = Connection::new(Mode::Push).sends(Sends::Steps(steps)).far_end(Behaviour::sink());
        let mut wiring = Wiring { seed, ..Wiring::new() }.ports([Port::usb(PortName::UsbAt).splits()]);
        wiring.modem.quirks.prompt_with_line_end = with_line_end;
        let mut sim = echoing(wiring, true).connect(attacker).start();
        sim.run_for(seconds(12));
        let name = format!("line end {with_line_end}, seed {seed}");
        assert_eq!(sim.fars[0].memory().read, [&b"E"[..], &FORGED.concat()].concat(), "{name}");
        assert_eq!(sim.outcome(0), None, "{name}");
    }
}

#[test]
fn an_echo_straight_after_pushed_payload_is_no_lost_byte() {
    // As seen in the field: AT+QSSLSEND comes back after pushed payload, without a line end between them.
    let mut hand = ByHand::new(&[Mode::Push], 1, true, |_| {});
    hand.run_until_ready();
    let client = hand.connect(0).expect("the core takes clients");
    hand.run_for(seconds(1));
    // After a pause nothing would be sent before the payload is whole.
    hand.says(0, b"\r\nRING\r\n");
    hand.run_for(millis(200));
    hand.says(0, b"\r\n+QSSLURC: \"recv\",0,4\r\n");
    let prompt = b"dataAT+QSSLSEND=0,5\r\r\n> ".to_vec();
    hand.ports[0].instead.push_back(("AT+QSSLSEND=0,5", prompt));
    hand.ports[0].takes_payload(0, 5);
    hand.send(client, b"hello");
    hand.run_for(seconds(2));
    assert_eq!(hand.clients[client].received, b"data");
    assert_eq!(hand.clients[client].outcome, None);
    assert_eq!(hand.relay.modem().counters().resyncs, 0);
}

#[test]
fn the_rest_of_an_echo_that_comes_late_is_not_believed_either() {
    // The modem echoes the first byte of a payload, falls silent until the send is given up, and goes on.
    for words in FORGED {
        let mut hand = ByHand::new(&[Mode::Push, Mode::Push], 1, true, |_| {});
        hand.run_until_ready();
        let (attacker, neighbour) = (hand.connect(0).unwrap(), hand.connect(1).unwrap());
        hand.run_for(seconds(1));
        let length = words.len() + 1;
        let command = format!("AT+QSSLSEND=0,{length}");
        hand.ports[0].instead.push_back(("AT+QSSLSEND=0", format!("{command}\r\r\n> ").into_bytes()));
        hand.ports[0].takes_payload(0, usize::MAX);
        hand.send(attacker, &[b"x", words].concat());
        hand.says(0, b"x");
        hand.run_until("the send is given up", seconds(90), |hand| hand.relay.modem().counters().resyncs > 0);
        hand.says(0, words);
        hand.run_for(seconds(60));
        assert!(hand.clients[neighbour].received.is_empty(), "{}", words.escape_ascii());
        assert_ne!(hand.clients[neighbour].outcome, Some(Outcome::Eof), "{}", words.escape_ascii());
    }
}
