//! Goal of this test: in buffer mode everything is read, whatever the `recv` URC does or does not report.

use qssl_core::settings::Mode;
use qssl_modem_emulator::network::simulated::{Behaviour, Ends, Opening, Says};

use qssl_simulation::Outcome;
use qssl_simulation::by_hand::ByHand;
use qssl_simulation::wiring::{Connection, Fault, Port, Reads, Sends, Wiring, millis, seconds};

#[test]
fn a_download_is_read_to_its_last_byte() {
    for quirk in ["", "receive_tail_short", "receive_urc_per_arrival", "closing_is_state_three"] {
        let connection = Connection::new(Mode::Buffer).far_end(Behaviour::source(100_000, 9));
        let mut wiring = Wiring::new().uart(115_200).connect(connection);
        assert!(quirk.is_empty() || wiring.modem.quirks.set(quirk, true));
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{quirk}");
        assert_eq!(sim.clients[0].received.len(), 100_000);
        sim.assert_nothing_swallowed();
    }
}

#[test]
fn bytes_that_come_while_it_is_read_are_not_forgotten() {
    // Every spacing of arrivals relative to the reads.
    for every in 1..40 {
        let says = Says::Drip { bytes: 100, every: millis(every), total: 4_000, seed: 3 };
        let far = Behaviour { says, ends: Ends::AfterSaying(4_000), ..Behaviour::sink() };
        let connection = Connection::new(Mode::Buffer).far_end(far);
        let latency = |modem: &mut qssl_modem_emulator::Config| modem.receive_latency = millis(20);
        let mut sim = Wiring::new().modem(latency).connect(connection).start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "every {every} ms");
        assert_eq!(sim.clients[0].received.len(), 4_000);
    }
}

/// The open had taken two seconds, in which a module could have booted: the text was taken for its words, and every
/// connection was reset.
#[test]
fn text_like_that_of_a_boot_is_payload_in_an_answer_to_a_read() {
    for before in 0..200 {
        let text = ["x".repeat(before).as_str(), "\r\nRDY\r\n\r\nRDY\r\n+++"].concat().into_bytes();
        let ends = Ends::AfterSaying(text.len() as u64);
        let far = Behaviour { says: Says::Text(text), ends, ..Behaviour::sink() };
        let connection = Connection::new(Mode::Buffer).far_end(far).opening(Opening::Opens(seconds(2)));
        let mut sim =
            Wiring::new().ports([Port { splits: true, ..Port::uart() }]).connect(connection).start();
        sim.run_to_the_end(seconds(60));
        sim.assert_complete(0);
    }
}

#[test]
fn a_server_that_closed_with_bytes_unread_is_read_to_the_end_first() {
    let connection =
        Connection::new(Mode::Buffer).far_end(Behaviour::source(9_000, 2)).reads(Reads::After(seconds(20)));
    let mut sim = Wiring::new().connect(connection).start();
    sim.run_to_the_end(seconds(60));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    assert_eq!(sim.clients[0].received.len(), 9_000);
}

#[test]
fn a_client_that_reads_nothing_stops_its_server_and_no_other() {
    let mut deaf =
        Connection::new(Mode::Buffer).far_end(Behaviour::source(2_000_000, 1)).reads(Reads::Nothing);
    deaf.client.buffer_bytes = 10_000;
    let fast = Connection::new(Mode::Buffer).far_end(Behaviour::source(300_000, 2));
    let mut sim = Wiring::new().connect(deaf).connect(fast).start();
    sim.run_until("the other one ends", seconds(60), |sim| sim.outcome(1).is_some());
    assert_eq!(sim.outcome(1), Some(Outcome::Eof));
    sim.run_for(seconds(60));
    assert!(sim.fars[0].memory().said.len() < 300_000, "the server is stopped");
    assert_eq!(sim.outcome(0), None, "nobody is held up, so nobody is reset");
}

#[test]
fn both_directions_share_the_channel() {
    let far = Behaviour { ends: Ends::AfterReading(100_000), ..Behaviour::echo() };
    let connection = Connection::new(Mode::Buffer).sends(Sends::Pattern(100_000)).far_end(far);
    let mut sim = Wiring::new().uart(115_200).connect(connection).start();
    sim.run_to_the_end(seconds(120));
    sim.assert_complete(0);
    sim.assert_nothing_swallowed();
}

#[test]
fn a_length_in_the_recv_urc_only_announces() {
    // AT+QICFG="recvind",1 makes the URC report a length.
    let far = Behaviour { ends: Ends::AfterReading(3_000), ..Behaviour::echo() };
    let connection = Connection::new(Mode::Buffer).at(seconds(10)).sends(Sends::Pattern(3_000)).far_end(far);
    let left_behind = Fault::OtherProgram(b"AT+QICFG=\"recvind\",1\r".to_vec());
    let mut sim = Wiring::new().connect(connection).fault(seconds(8), left_behind).start();
    sim.run_to_the_end(seconds(60));
    sim.assert_complete(0);
    assert_eq!(sim.relay.modem().counters().resyncs, 0);
    for length in [1, 700, 16_384, 99_999] {
        let mut hand = ByHand::new(&[Mode::Buffer], 1, true, |_| {});
        hand.run_until_ready();
        let client = hand.connect(0).expect("the core takes clients");
        hand.run_for(seconds(1));
        hand.ports[0].waiting[0].extend(b"answer");
        hand.says(0, format!("\r\n+QSSLURC: \"recv\",0,{length}\r\n").as_bytes());
        hand.run_for(seconds(10));
        let name = format!("a length of {length}");
        assert_eq!(hand.clients[client].received, b"answer", "{name}");
        hand.far_end_closes(0, 0);
        hand.run_until("the client ends", seconds(10), |hand| hand.clients[client].outcome.is_some());
        assert_eq!(hand.clients[client].outcome, Some(Outcome::Eof), "{name}");
    }
}
