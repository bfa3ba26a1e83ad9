//! Goal of this test: clients that send a byte per second, or never read, or come and go, take no more than their
//! share of the line from a busy client.

use qssl_core::settings::Mode;
use qssl_modem_emulator::network::simulated::{Behaviour, Ends};

use qssl_simulation::Outcome;
use qssl_simulation::wiring::{Connection, Leaves, Reads, Sends, Wiring, millis, seconds};

#[test]
fn a_byte_a_second_from_eleven_clients_beside_one_at_work() {
    for mode in [Mode::Push, Mode::Buffer] {
        let total = 120;
        let drip = Connection::new(mode)
            .sends(Sends::Drip { bytes: 1, every: seconds(1), total })
            .far_end(Behaviour { ends: Ends::AfterReading(total), ..Behaviour::echo() });
        // Alone on the line, this takes half a minute.
        let bytes = 300_000;
        let far_end = Behaviour { ends: Ends::AfterReading(bytes), ..Behaviour::sink() };
        let work = Connection::new(mode).at(seconds(5)).sends(Sends::Pattern(bytes)).far_end(far_end);
        let mut sim = Wiring::new().uart(115_200).connect(work).connect_many(11, &drip).start();
        sim.run_to_the_end(seconds(400));
        (0..12).for_each(|index| sim.assert_complete(index));
        let ended = sim.clients[0].ended_at.zip(sim.clients[0].accepted_at());
        let took = ended.map(|(end, begin)| end - begin).expect("it ended");
        assert!(took < seconds(60), "{mode:?}: {took:?} beside clients that send next to nothing");
    }
}

#[test]
fn clients_that_never_read_or_reset_at_once_beside_one_at_work() {
    for mode in [Mode::Push, Mode::Buffer] {
        let mut deaf =
            Connection::new(mode).reads(Reads::Nothing).far_end(Behaviour::source(500_000, 3)).at(seconds(3));
        deaf.client.buffer_bytes = 4_000;
        let rude = |at: u64| {
            let far = Behaviour::source(50_000, at);
            Connection::new(mode).at(millis(at)).far_end(far).leaves(Leaves::ResetsAfter(millis(at % 700)))
        };
        let work = Connection::new(mode).at(seconds(2)).far_end(Behaviour::source(200_000, 1));
        let mut wiring = Wiring::new().uart(115_200).connect(work).connect_many(3, &deaf);
        for number in 0..100 {
            wiring = wiring.connect(rude(2_000 + number * 137));
        }
        let mut sim = wiring.start();
        sim.run_until("the one at work ends", seconds(200), |sim| sim.outcome(0).is_some());
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{mode:?}");
        sim.assert_complete(0);
    }
}
