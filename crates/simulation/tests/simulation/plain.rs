//! Goal of this test: plain TCP connections (`tcp://`) are carried in every mode as TLS ones are: same order, same
//! limits, same ends; and neither kind is taken for the other, whatever its number.

use qssl_core::settings::Mode;
use qssl_modem_emulator::Family;
use qssl_modem_emulator::network::simulated::{Behaviour, Ending, Ends, Reads};

use qssl_simulation::Outcome;
use qssl_simulation::datagrams::{DatagramTunnel, own};
use qssl_simulation::wiring::{
    Connection, FAMILIES, Fault, Leaves, Security, Sends, Wiring, millis, seconds,
};

const MODES: [Mode; 3] = [Mode::Push, Mode::Buffer, Mode::Transparent];

/// Every mode with every family.
fn of_each_family() -> impl Iterator<Item = (Family, Mode)> {
    FAMILIES.into_iter().flat_map(|family| MODES.map(|mode| (family, mode)))
}

#[test]
fn a_download_arrives_whole_and_ends_in_order() {
    for (family, mode) in of_each_family() {
        let connection = Connection::new(mode).plain().far_end(Behaviour::source(300_000, 1));
        let mut sim = Wiring::new().family(family).uart(921_600).connect(connection).start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{family:?}, {mode:?}");
        sim.assert_complete(0);
    }
}

#[test]
fn an_upload_arrives_whole_and_its_echo_comes_back() {
    for (family, mode) in of_each_family() {
        let connection =
            Connection::new(mode).plain().sends(Sends::Pattern(200_000)).far_end(Behaviour::echo());
        let mut sim = Wiring::new().family(family).uart(921_600).connect(connection).start();
        sim.run_until("all came back", seconds(120), |sim| sim.clients[0].received.len() >= 200_000);
        sim.assert_nothing_swallowed();
    }
}

#[test]
fn a_broken_connection_is_a_reset() {
    for (family, mode) in of_each_family() {
        let far = Behaviour { how: Ending::Cut, ..Behaviour::source(50_000, 1) };
        let connection = Connection::new(mode).plain().far_end(far);
        let mut sim = Wiring::new().family(family).connect(connection).start();
        sim.run_to_the_end(seconds(60));
        // `closed` does not distinguish a cut from an end, and a stream's end neither.
        assert!(sim.outcome(0).is_some(), "{family:?}, {mode:?}");
        let connection = Connection::new(mode).plain().far_end(Behaviour::source(1_000_000, 1));
        let wiring = Wiring::new().family(family).uart(115_200).connect(connection);
        let mut sim = wiring.fault(seconds(6), Fault::DropPdp).start();
        sim.run_until("the client ends", seconds(60), |sim| sim.outcome(0).is_some());
        assert_eq!(sim.outcome(0), Some(Outcome::Reset), "{family:?}, {mode:?}");
    }
}

/// The budget charges 7 kB for each handshake.
#[test]
fn what_is_opened_without_tls_is_no_handshake() {
    let served = |connection: Connection| connection.far_end(Behaviour::source(100, 1));
    let warm = Connection::new(Mode::Push).plain().far_end(Behaviour::echo()).warm(2).at(seconds(1_000));
    let mut wiring = Wiring::eg800q()
        .connect(served(Connection::new(Mode::Push)))
        .connect(served(Connection::new(Mode::Push)).plain())
        .connect(warm);
    for security in [Security::Tls, Security::Plain] {
        let tunnel = DatagramTunnel::new(Mode::Push, security).sender([(seconds(5), own(1, 100))]);
        wiring = wiring.datagrams(tunnel);
    }
    let mut sim = wiring.start();
    sim.run_for(seconds(20));
    let opens = sim.relay.tunnel_reports().iter().map(|report| report.counters.opens).collect::<Vec<_>>();
    assert_eq!(opens[..2], [1, 1]);
    assert!(opens[2] >= 2 && opens[3..] == [1, 1], "{opens:?}");
    let moved = sim.relay.take_moved();
    let handshakes: Vec<(&str, u64)> =
        moved.iter().map(|(name, moved)| (&**name, moved.opens)).filter(|(_, opens)| *opens > 0).collect();
    assert_eq!(handshakes, [("t0", 1), ("d0", 1)]);
}

#[test]
fn both_kinds_share_one_port_and_its_numbers() {
    for (family, mode) in
        FAMILIES.into_iter().flat_map(|family| [(family, Mode::Push), (family, Mode::Buffer)])
    {
        let mut wiring = Wiring::new().family(family).uart(921_600);
        for index in 0..40 {
            let connection =
                Connection::new(mode).at(millis(200 * index)).far_end(Behaviour::source(20_000, index));
            wiring = wiring.connect(if index % 2 == 0 { connection.plain() } else { connection });
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(300));
        for index in 0..40 {
            assert_eq!(sim.outcome(index), Some(Outcome::Eof), "{family:?}, {mode:?}, {index}");
            sim.assert_complete(index);
        }
    }
}

/// Of TLS no module tells it.
#[test]
fn the_line_of_a_closed_connection_has_what_the_server_has_acknowledged() {
    for family in FAMILIES {
        for mode in [Mode::Push, Mode::Buffer] {
            for plain in [true, false] {
                let sends = Connection::new(mode).sends(Sends::Pattern(20_000));
                let leaves = sends.clone().leaves(Leaves::WhenSent).far_end(Behaviour::sink());
                let served =
                    sends.far_end(Behaviour { ends: Ends::AfterReading(20_000), ..Behaviour::sink() });
                for connection in [leaves, served] {
                    let connection = if plain { connection.plain() } else { connection };
                    let mut sim = Wiring::new().family(family).uart(921_600).connect(connection).start();
                    sim.run_to_the_end(seconds(60));
                    let account = |line: &&String| line.contains("bytes up");
                    let line = sim.logged().iter().find(account).cloned().expect("it is logged");
                    let delivered = line.contains("20000 bytes up (20000 delivered), 0 down");
                    assert_eq!(delivered, plain, "{family:?}, {mode:?}: {line}");
                    assert_eq!(sim.said("AT+QISEND=0,0") > 0, plain);
                }
            }
        }
    }
}

/// A client that is done once made room at once, and nobody knew whether its last bytes had arrived.
#[test]
fn a_client_that_has_closed_keeps_its_connection_until_its_bytes_are_delivered() {
    // The server's system has no room for more.
    let far = Behaviour { reads: Reads::Nothing, ..Behaviour::sink() };
    let connection =
        Connection::new(Mode::Push).plain().sends(Sends::Pattern(3_000)).leaves(Leaves::WhenSent);
    let connection = Connection { window_bytes: 1_000, ..connection.far_end(far) };
    let mut sim = Wiring::new().connect(connection).start();
    sim.run_until("the module has all", seconds(60), |sim| sim.said("AT+QISEND=0,0") > 0);
    sim.run_for(seconds(5));
    assert!(sim.said("AT+QISEND=0,0") > 1 && sim.said("AT+QICLOSE") == 0, "it is asked again");
    sim.run_for(seconds(30));
    assert_eq!(sim.said("AT+QICLOSE"), 1, "and not for ever");
    let logged = sim.logged();
    let line = logged.iter().find(|line| line.contains("bytes up")).expect("it is logged");
    assert!(line.contains("3000 bytes up (at least 1000 delivered), 0 down"), "{line}");
}

/// What was acknowledged since the last answer is not known where a connection is broken off.
#[test]
fn the_line_of_a_connection_that_is_broken_off_has_a_lower_bound() {
    for (mode, words) in [
        (Mode::Push, "6000 bytes up (at least 2000 delivered), 0 down"),
        (Mode::Buffer, "6000 bytes up (at least 2000 delivered), 0 down"),
        (Mode::Transparent, "6000 bytes up, 0 down"),
    ] {
        // It is asked 2 s after the first bytes, and 2 s after the first bytes since then.
        let steps = [(seconds(1), vec![b'a'; 2_000]), (seconds(10), vec![b'b'; 4_000])];
        let connection = Connection::new(mode).plain().sends(Sends::Steps(steps.into()));
        let connection = connection.far_end(Behaviour::sink()).limits(|limits| limits.lifetime = seconds(11));
        let mut sim = Wiring::new().connect(connection).start();
        sim.run_to_the_end(seconds(60));
        let logged = sim.logged();
        let line = logged.iter().find(|line| line.contains("bytes up")).expect("it is logged");
        assert!(line.contains(words) && line.contains("--lifetime"), "{mode:?}: {line}");
    }
}

#[test]
fn at_the_end_the_log_tells_what_servers_have_not_acknowledged() {
    let far = Behaviour { reads: Reads::Nothing, ..Behaviour::sink() };
    let sends = Connection::new(Mode::Push).sends(Sends::Pattern(3_000)).far_end(far);
    let sends = Connection { window_bytes: 1_000, ..sends };
    for (connection, words) in [
        (
            sends.clone().plain(),
            "waiting for 1 connection to end (a second signal stops at once); servers may not have acknowledged 2000 bytes",
        ),
        (sends, "waiting for 1 connection to end (a second signal stops at once)"),
    ] {
        let mut sim = Wiring::new().connect(connection).start();
        sim.run_for(seconds(20));
        sim.shutdown();
        let logged = sim.logged();
        assert!(logged.iter().any(|line| line.ends_with(words)), "{logged:?}");
    }
}
