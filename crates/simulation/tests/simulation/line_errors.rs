//! Goal of this test: where the UART counts lost and altered bytes, they harm no client unnoticed. Where it does
//! not, the tunnel still serves when the line is good again.
//!
//! These runs are separate: the other runs check every byte, which such a line cannot deliver.

use qssl_core::settings::Mode;
use qssl_modem_emulator::network::simulated::Behaviour;

use qssl_simulation::wiring::{Connection, Fault, Port, Sends, Wiring, millis, seconds};
use qssl_simulation::{Chance, Outcome};

/// Some clients on a line that is bad for a minute, and two afterwards.
fn draw(seed: u64, counts: bool) -> Wiring {
    let chance = &mut Chance::new(seed);
    let every = chance.within(100..=20_000);
    let (loses_one_of, alters_one_of) = *chance.pick(&[(every, 0), (0, every), (every, every)]);
    let port = Port { loses_one_of, alters_one_of, counts, splits: chance.once_in(2), ..Port::uart() };
    let mut wiring = Wiring { seed, ..Wiring::new() }.ports([port]);
    for _ in 0..chance.within(1..=6) {
        let mode = *chance.pick(&[Mode::Push, Mode::Buffer]);
        let far_end = match chance.below(3) {
            0 => Behaviour::echo(),
            1 => Behaviour::source(chance.within(1..=100_000), seed),
            _ => Behaviour::sink(),
        };
        let connection = Connection::new(mode)
            .at(millis(chance.below(40_000)))
            .sends(Sends::Pattern(chance.below(50_000)))
            .far_end(far_end)
            .limits(|limits| limits.idle_timeout = seconds(20));
        wiring = wiring.connect(connection);
    }
    for (mode, at) in [(Mode::Push, 300), (Mode::Buffer, 330)] {
        wiring =
            wiring.connect(Connection::new(mode).at(seconds(at)).far_end(Behaviour::source(10_000, seed)));
    }
    // If the first answers were altered, the module would be taken for another one, which may lack what is needed.
    wiring.fault(seconds(5), Fault::Disturb).fault(seconds(60), Fault::Calm)
}

fn survives(seed: u64, counts: bool) -> usize {
    let wiring = draw(seed, counts);
    let mut sim = wiring.start_quietly();
    sim.run_to_the_end(seconds(900));
    let count = wiring.connections.len();
    // An address that was altered unnoticed when the data session was set up costs one more client.
    let served = if counts { 2 } else { 1 };
    for late in count - served..count {
        assert_eq!(sim.outcome(late), Some(Outcome::Eof), "seed {seed}: the line is good again");
        if counts {
            sim.assert_complete(late);
        }
    }
    (0..count).filter(|index| sim.outcome(*index) == Some(Outcome::Reset)).count()
}

#[test]
fn what_the_uart_counts_is_delivered_to_nobody_and_ends_nothing_in_order() {
    // Each step checks that every delivered byte is right and every end is true.
    let resets: usize = (1..=RUNS).map(|seed| survives(seed, true)).sum();
    assert!(resets > RUNS as usize / 4, "clients were reset: {resets}");
}

#[test]
fn where_nobody_counts_everybody_comes_to_an_end_and_work_goes_on() {
    for seed in 1..=RUNS {
        survives(seed, false);
    }
}

const RUNS: u64 = 60;
