//! Goal of this test: a device server takes megabytes, but little more is on its way to the modem than the line
//! carries in half a second. The line is kept busy all the same.

use qssl_core::settings::Mode;
use qssl_modem_emulator::network::simulated::{Behaviour, Ends, pattern};

use qssl_simulation::wiring::{Connection, DeviceServer, Fault, Port, Sends, Wiring, millis, seconds};
use qssl_simulation::{Outcome, Simulation};

/// UARTs on a device server that reports what it holds, and on one that does not.
fn ports() -> [Port; 2] {
    [true, false].map(|tells| {
        let server = Some(DeviceServer { holds_bytes: 4_000_000, tells });
        Port { server, has_dcd: false, has_dtr: false, ..Port::uart() }.unnamed()
    })
}

/// The most bytes that are on their way at once, within this many seconds.
fn most_on_its_way(sim: &mut Simulation, time: u64) -> usize {
    let steps = (0..time * 20).map(|_| {
        sim.run_for(millis(50));
        sim.on_its_way(0)
    });
    steps.max().unwrap_or(0)
}

#[test]
fn an_upload_keeps_the_line_busy_and_half_a_second_ahead() {
    for (baud, port) in
        [9_600, 115_200, 921_600].into_iter().flat_map(|baud| ports().map(|port| (baud, port)))
    {
        let bytes = u64::from(baud) * 4 / 10; // 4 s
        let far = Behaviour { ends: Ends::AfterReading(bytes), ..Behaviour::sink() };
        let client =
            Connection::new(Mode::Transparent).at(seconds(30)).sends(Sends::Pattern(bytes)).far_end(far);
        let mut sim = Wiring::new().uart(baud).ports([port.clone()]).connect(client).start();
        sim.run_for(seconds(29));
        let most = most_on_its_way(&mut sim, 4);
        assert!(most <= baud as usize / 20 + 64, "{baud}: {most} bytes on their way");
        let took = sim.run_until("everything has arrived", seconds(30), |sim| {
            sim.fars[0].memory().read.len() as u64 == bytes
        });
        // The upload began about a second after the client had connected.
        assert!(took < millis(2_500), "{baud}: {took:?} more");
        sim.run_to_the_end(seconds(60));
        sim.assert_complete(0);
    }
}

#[test]
fn a_network_that_is_slower_than_the_line_gets_no_more_ahead_where_the_server_tells() {
    let [tells, _] = ports();
    let mut client = Connection::new(Mode::Transparent).at(seconds(10)).sends(Sends::Pattern(200_000));
    (client.window_bytes, client.latency) = (1_000, millis(250));
    let mut sim = Wiring::new().uart(115_200).ports([tells]).connect(client).start();
    sim.run_for(seconds(9));
    let most = most_on_its_way(&mut sim, 20);
    assert!((1_000..=5_800).contains(&most), "{most} bytes on their way");
}

#[test]
fn a_reboot_during_an_upload_leaves_half_a_second_of_payload_to_the_modem() {
    let text = b"some text and then\r\nAT+CSQ\r\nATI\r\n".iter().copied().cycle().take(400_000).collect();
    for payload in [pattern(7, 0, 400_000), text] {
        for port in ports() {
            let sends = Sends::Steps(vec![(seconds(0), payload.clone())]);
            let client = Connection::new(Mode::Transparent).at(seconds(12)).sends(sends);
            let next =
                Connection::new(Mode::Transparent).at(seconds(100)).far_end(Behaviour::source(20_000, 3));
            let mut sim = Wiring::new()
                .uart(115_200)
                .ports([port])
                .modem(|modem| modem.quirks.everything_echoed = true)
                .connect(client)
                .connect(next)
                .fault(seconds(15), Fault::Reboot)
                .start();
            sim.run_until("the modem is up again", seconds(30), |sim| sim.modem.counters().boots == 2);
            let left = sim.on_its_way(0);
            assert!(left <= 5_800, "{left} bytes go to a modem in command mode");
            let before = sim.carried[0].0;
            sim.run_until("the client hears of it", seconds(5), |sim| sim.outcome(0).is_some());
            assert_eq!(sim.outcome(0), Some(Outcome::Reset));
            assert_eq!(sim.clients[0].received, b"", "the server has said nothing");
            assert!(sim.carried[0].0 - before < 800, "{} bytes more", sim.carried[0].0 - before);
            sim.run_to_the_end(seconds(200));
            assert_eq!(sim.outcome(1), Some(Outcome::Eof));
        }
    }
}
