//! Goal of this test: in push mode every byte arrives, both ways, and the end is an end.

use qssl_modem_emulator::network::simulated::{Behaviour, Ends};
use qssl_tunnel::config::Mode;

use crate::harness::Outcome;
use crate::harness::wiring::{Connection, Leaves, Sends, Wiring, seconds};

#[test]
fn a_far_end_closes_after_a_large_answer() {
    let connection = Connection::new(Mode::Push).far_end(Behaviour::source(300_000, 7));
    let mut sim = Wiring::new().uart(115_200).connect(connection).start();
    sim.run_to_the_end(seconds(120));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    assert_eq!(sim.clients[0].received.len(), 300_000);
    sim.assert_nothing_swallowed();
}

#[test]
fn an_upload_is_read_to_its_last_byte() {
    let far = Behaviour { ends: Ends::AfterReading(200_000), ..Behaviour::sink() };
    let connection = Connection::new(Mode::Push).sends(Sends::Pattern(200_000)).far_end(far);
    let mut sim = Wiring::new().uart(115_200).connect(connection).start();
    sim.run_to_the_end(seconds(120));
    sim.assert_complete(0);
    sim.assert_nothing_swallowed();
}

#[test]
fn both_directions_at_once() {
    let far = Behaviour { ends: Ends::AfterReading(100_000), ..Behaviour::echo() };
    let connection =
        Connection::new(Mode::Push).sends(Sends::Pattern(100_000)).far_end(far).leaves(Leaves::HalfCloses);
    let mut sim = Wiring::new().connect(connection).start();
    sim.run_to_the_end(seconds(120));
    sim.assert_complete(0);
    sim.assert_nothing_swallowed();
}
