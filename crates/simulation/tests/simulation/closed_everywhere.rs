//! Goal of this test: the server may close at any moment. Wherever `closed` comes between the messages of an
//! exchange, the client gets every byte that came, in order. It gets an end of file only if its own bytes were
//! taken too.

use qssl_core::settings::Mode;

use qssl_simulation::Outcome;
use qssl_simulation::by_hand::ByHand;
use qssl_simulation::wiring::{millis, seconds};

/// What a client sends, which needs several sends.
const UP_BYTES: usize = 3_500;
/// What its server sends, one push or arrival for each.
const PIECES: [usize; 3] = [700, 1, 1_600];

/// The outcome of an exchange.
struct Came {
    /// How many messages the modem sent.
    messages: usize,
    outcome: Option<Outcome>,
}

/// An exchange in which the server closes before the message of this number, or at the end.
fn exchange(mode: Mode, closes_before: usize, piece_bytes: usize, leaves: bool) -> Came {
    let name = format!("{mode:?}, closed before message {closes_before}, leaves {leaves}");
    let mut hand = ByHand::new(&[mode], 1, true, |_| {});
    hand.run_until_ready();
    hand.piece_bytes = piece_bytes;
    hand.ports[0].messages = 0;
    hand.ports[0].closes_before = Some((closes_before, 0));
    let client = hand.connect(0).expect("the core takes clients");
    let sent: Vec<u8> = (0..UP_BYTES).map(|index| (index % 251) as u8).collect();
    let mut up = hand.send(client, &sent);
    let mut said = Vec::new();
    for (number, length) in PIECES.into_iter().enumerate() {
        hand.run_for(millis(50));
        up += hand.send(client, &sent[up..]);
        // A server that has closed sends nothing.
        if hand.ports[0].closed[0] || hand.ports[0].opened.is_empty() {
            continue;
        }
        let bytes = vec![b'a' + number as u8; length];
        if mode == Mode::Push {
            let messages = hand.ports[0].messages;
            if hand.ports[0].closes_before.is_some_and(|(before, _)| before == messages) {
                hand.ports[0].closes_before = None;
                hand.far_end_closes(0, 0);
                continue;
            }
            said.extend_from_slice(&bytes);
            let head = format!("\r\n+QSSLURC: \"recv\",0,{length}\r\n").into_bytes();
            hand.says_message(0, &[head, bytes].concat());
        } else {
            said.extend_from_slice(&bytes);
            hand.ports[0].waiting[0].extend(bytes);
            hand.says_message(0, b"\r\n+QSSLURC: \"recv\",0\r\n");
        }
    }
    if leaves {
        hand.finish(client, true);
    }
    hand.run_for(seconds(2));
    let messages = hand.ports[0].messages;
    if !hand.ports[0].closed[0] && !leaves {
        hand.ports[0].closes_before = None;
        hand.ports[0].closes(0);
    }
    hand.run_until(&format!("the client ends: {name}"), seconds(120), |hand| {
        hand.clients[client].outcome.is_some()
    });
    hand.run_for(seconds(30));

    let (received, taken) = (&hand.clients[client].received, &hand.ports[0].taken[0]);
    let outcome = hand.clients[client].outcome;
    assert!(sent.starts_with(taken), "{name}: up");
    assert!(said.starts_with(received), "{name}: down");
    if !leaves {
        assert_eq!(received.len(), said.len(), "{name}: what came was not delivered");
        let expected = if taken.len() == up { Outcome::Eof } else { Outcome::Reset };
        assert_eq!(outcome, Some(expected), "{name}: {} of {up} bytes were taken", taken.len());
    }

    // The socket is free again, and the next client gets no bytes of the old one.
    hand.ports[0].closes_before = None;
    let opens = hand.ports[0].opened.len();
    let next = hand.connect(0).expect("the core takes clients");
    hand.run_until(&format!("the next one is served: {name}"), seconds(60), |hand| {
        hand.ports[0].opened.len() > opens
    });
    hand.send(next, b"next");
    hand.run_for(seconds(2));
    let socket = hand.ports[0].opened[opens].0;
    assert_eq!(hand.ports[0].taken[socket], b"next", "{name}");
    assert!(hand.clients[next].received.is_empty() && hand.clients[next].outcome.is_none(), "{name}");
    Came { messages, outcome }
}

#[test]
fn before_every_message_of_an_exchange() {
    for mode in [Mode::Push, Mode::Buffer] {
        for piece_bytes in [usize::MAX, 1] {
            let whole = exchange(mode, usize::MAX, piece_bytes, false);
            assert_eq!(whole.outcome, Some(Outcome::Eof), "{mode:?}: an exchange that nothing disturbs");
            assert!(whole.messages >= 10, "{mode:?}: {} messages", whole.messages);
            let mut ends = 0;
            for closes_before in 0..whole.messages {
                let came = exchange(mode, closes_before, piece_bytes, false);
                ends += usize::from(came.outcome == Some(Outcome::Eof));
            }
            assert!(ends > 0 && ends < whole.messages, "{mode:?}: {ends} ends of {}", whole.messages);
        }
    }
}

#[test]
fn before_every_message_when_the_client_leaves_first() {
    for mode in [Mode::Push, Mode::Buffer] {
        // The answers to the close and to what follows it are messages as well.
        let whole = exchange(mode, usize::MAX, usize::MAX, true);
        for closes_before in 0..whole.messages + 3 {
            exchange(mode, closes_before, usize::MAX, true);
        }
    }
}
