//! Goal of this test: in push mode every byte arrives, both ways, and the client sees the server's end.

use qssl_core::settings::Mode;
use qssl_modem_emulator::PortName;
use qssl_modem_emulator::network::simulated::{Behaviour, Ends};

use qssl_simulation::Outcome;
use qssl_simulation::by_hand::ByHand;
use qssl_simulation::wiring::{Connection, Fault, Leaves, Port, Sends, Wiring, millis, seconds};

#[test]
fn a_server_closes_after_a_large_answer() {
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

#[test]
fn what_is_announced_without_a_length_is_read() {
    for closes_at_once in [false, true] {
        let mut hand = ByHand::new(&[Mode::Push], 1, true, |_| {});
        hand.run_until_ready();
        let client = hand.connect(0).expect("the core takes clients");
        hand.run_for(seconds(1));
        hand.says(0, b"\r\n+QSSLURC: \"recv\",0,6\r\npushed");
        hand.ports[0].waiting[0].extend(b", and read");
        hand.says(0, b"\r\n+QSSLURC: \"recv\",0\r\n");
        if !closes_at_once {
            hand.run_for(seconds(1));
            hand.says(0, b"\r\n+QSSLURC: \"recv\",0,7\r\n, again");
        }
        hand.far_end_closes(0, 0);
        hand.run_until("the client ends", seconds(10), |hand| hand.clients[client].outcome.is_some());
        let expected = if closes_at_once { "pushed, and read" } else { "pushed, and read, again" };
        assert_eq!(hand.clients[client].received.escape_ascii().to_string(), expected);
        assert_eq!(hand.clients[client].outcome, Some(Outcome::Eof));
    }
}

#[test]
fn a_stray_announcement_of_a_socket_that_is_pushed_breaks_nothing() {
    let connection = Connection::new(Mode::Push).far_end(Behaviour::source(300_000, 1));
    let mut wiring = Wiring::new().uart(115_200).connect(connection);
    for second in 2..20 {
        wiring = wiring.fault(seconds(second), Fault::Urc("+QSSLURC: \"recv\",0".into()));
    }
    let mut sim = wiring.start();
    sim.run_to_the_end(seconds(120));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    sim.assert_complete(0);
}

/// A USB device keeps what its host does not read, with or without AT+IFC.
#[test]
fn a_usb_port_that_is_not_read_for_a_while_loses_nothing() {
    let port = Port { lacks_flow_control: true, ..Port::usb(PortName::UsbAt) };
    let mut sim = Wiring::new()
        .ports([port])
        .connect(Connection::new(Mode::Push).at(seconds(2)).far_end(Behaviour::source(1_000_000, 1)))
        .fault(millis(2_500), Fault::HoldLine(0, seconds(3)))
        .start();
    sim.run_to_the_end(seconds(200));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    sim.assert_complete(0);
    sim.assert_nothing_swallowed();
}
