//! Goal of this test: ten minutes without network do no lasting harm. Clients are reset, the modem is not asked too
//! often, the log stays readable, and a client that comes afterwards is served soon.

use std::time::Duration;

use qssl_core::settings::Mode;
use qssl_modem_emulator::network::simulated::Behaviour;
use qssl_modem_emulator::{Registration, Sim};

use qssl_simulation::wiring::{Connection, Fault, Sends, Wiring, seconds};
use qssl_simulation::{Outcome, Simulation};

const GONE: Duration = seconds(60);
const BACK: Duration = seconds(660);

/// A client in the middle of a transfer when the network is lost, one every ten seconds while it is lost, and one
/// that comes when it is back.
fn ten_minutes(seed: u64, gone: Fault, back: Fault) -> Simulation {
    let transfer = Connection::new(Mode::Push)
        .at(seconds(30))
        .sends(Sends::Drip { bytes: 100, every: seconds(1), total: 1_000_000 })
        .far_end(Behaviour::echo());
    let download = Connection::new(Mode::Push).far_end(Behaviour::source(1_000, 2));
    let mut wiring = Wiring { seed, ..Wiring::new() }.connect(transfer);
    for turn in 0..60 {
        wiring = wiring.connect(download.clone().at(GONE + seconds(1 + 10 * turn)));
    }
    let mut sim = wiring.connect(download.at(BACK + seconds(1))).fault(GONE, gone).fault(BACK, back).start();
    sim.run_for(BACK - seconds(1));
    assert_eq!(sim.outcome(0), Some(Outcome::Reset), "the one that was being served");
    for waiting in 1..=56 {
        assert_eq!(sim.outcome(waiting), Some(Outcome::Reset), "{waiting}: nobody waits for ever");
        let client = &sim.clients[waiting];
        let waited = client.ended_at.zip(client.accepted_at()).map(|(end, start)| end - start);
        assert!(waited.is_some_and(|time| time <= seconds(31)), "{waiting}: {waited:?}");
    }
    sim
}

/// When the tunnel began to serve again, counted from a second before the network was back.
fn served_after(sim: &mut Simulation, limit: Duration) -> Duration {
    let took = sim.run_until("the next client is served", limit, |sim| sim.relay.modem().is_up());
    let last = sim.clients.len() - 1;
    sim.run_until("every client ends", seconds(60), |sim| sim.clients.iter().all(|it| it.outcome.is_some()));
    assert_eq!(sim.outcome(last), Some(Outcome::Eof));
    took
}

#[test]
fn out_of_coverage() {
    let mut sim = ten_minutes(
        1,
        Fault::Network(Registration::Searching),
        Fault::Network(Registration::After(Duration::ZERO)),
    );
    // The query causes no radio traffic, so it is sent every two seconds, but not more often.
    assert!(sim.said("AT+CEREG?") < 310, "{}", sim.said("AT+CEREG?"));
    assert_eq!(sim.said("AT+QSSLOPEN"), 1, "nothing is opened without network");
    let log: Vec<String> = sim.logged().into_iter().filter(|line| !line.contains("client ")).collect();
    assert!(log.len() < 15, "{log:#?}");
    assert!(log.iter().any(|line| line.contains("searches for a network")), "{log:#?}");
    let clients = sim.logged().into_iter().filter(|line| line.contains("to s9.example"));
    let why = "cannot connect: the modem searches for a network; see: qssl-tunnel doctor s9.example:443 [no-registration]";
    assert!(clients.clone().all(|line| line.contains(why)), "{:#?}", clients.collect::<Vec<_>>());
    assert!(served_after(&mut sim, seconds(10)) < seconds(5));
}

#[test]
fn a_network_that_refuses_and_thinks_better_of_it() {
    let mut sim = ten_minutes(
        1,
        Fault::Network(Registration::Denied),
        Fault::Network(Registration::After(Duration::ZERO)),
    );
    let log: Vec<String> = sim.logged().into_iter().filter(|line| !line.contains("client ")).collect();
    assert!(log.len() < 15, "{log:#?}");
    assert!(log.iter().any(|line| line.contains("denied the registration")), "{log:#?}");
    assert!(served_after(&mut sim, seconds(10)) < seconds(5));
}

/// How often AT+QIACT=1 was sent.
fn attempts(sim: &Simulation) -> usize {
    sim.said("AT+QIACT=1")
}

#[test]
fn registered_but_without_a_data_session() {
    let gone = || Fault::RequireApn(Some("another".into()));
    let mut counts = Vec::new();
    let mut times = Vec::new();
    for seed in 1..=8 {
        let transfer = Connection::new(Mode::Push).far_end(Behaviour::echo());
        let late = Connection::new(Mode::Push).at(BACK + seconds(1)).far_end(Behaviour::source(1_000, 2));
        let mut sim = Wiring { seed, ..Wiring::new() }
            .connect(transfer)
            .connect(late.limits(|limits| limits.queue_timeout = seconds(200)))
            .fault(GONE, gone())
            .fault(GONE, Fault::DropPdp)
            .fault(BACK, Fault::RequireApn(None))
            .start();
        sim.run_for(BACK);
        counts.push(attempts(&sim));
        times.push(sim.run_until("it serves again", seconds(130), |sim| sim.relay.modem().is_up()));
        sim.run_until("every client ends", seconds(60), |sim| {
            sim.clients.iter().all(|it| it.outcome.is_some())
        });
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "seed {seed}");
        let log: Vec<String> = sim.logged().into_iter().filter(|line| !line.contains("client ")).collect();
        assert!(log.len() < 20, "{log:#?}");
        assert!(log.iter().any(|line| line.contains("check --apn")), "{log:#?}");
    }
    // The pauses are 5, 10, 20, … 120 s, because each attempt loads the network.
    assert!(counts.iter().all(|count| (6..=30).contains(count)), "{counts:?}");
    // Devices that lost the network at the same time do not try again at the same time.
    times.sort_unstable();
    times.dedup();
    assert_eq!(times.len(), 8, "{times:?}");
}

#[test]
fn a_client_that_waited_in_vain_hears_the_modems_reason_once() {
    let client = Connection::new(Mode::Push);
    let mut sim =
        Wiring::new().modem(|modem| modem.sim = Sim::Absent).connect(client.at(seconds(20))).start();
    sim.run_until("it gives up waiting", seconds(60), |sim| sim.outcome(0) == Some(Outcome::Reset));
    let lines: Vec<String> =
        sim.logged().into_iter().filter(|line| line.contains("cannot connect")).collect();
    let [line] = &lines[..] else { panic!("one line: {lines:#?}") };
    let why = "30.0 s: cannot connect: the SIM cannot be used: CME error 10 SIM not inserted; see: qssl-tunnel doctor \
               s0.example:443 [sim-failed]";
    assert!(line.ends_with(why), "{line}");
}
