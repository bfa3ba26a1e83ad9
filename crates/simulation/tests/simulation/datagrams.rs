//! Goal of this test: datagrams are carried whole or not at all, each by the session of its address, and what is dropped
//! is counted by cause. A session ends as it should, and leaves nothing behind.

use std::time::Duration;

use qssl_core::Kind;
use qssl_core::relay::{Datagrams, Dropped};
use qssl_core::settings::{Mode, WhenFull};
use qssl_modem_emulator::network::OpenFailure;
use qssl_modem_emulator::network::simulated::{Behaviour, DatagramBehaviour, DatagramSays, Ending, Opening};
use qssl_modem_emulator::{Family, PortName};

use qssl_simulation::datagrams::{DatagramTunnel, own};
use qssl_simulation::material::NASTY;
use qssl_simulation::wiring::{Connection, Fault, Port, Security, Wiring, millis, seconds};
use qssl_simulation::{Outcome, Simulation};

/// Both modes with both kinds.
fn kinds() -> impl Iterator<Item = (Mode, Security)> {
    let modes = [Mode::Push, Mode::Buffer].into_iter();
    modes.flat_map(|mode| [Security::Plain, Security::Tls].map(|security| (mode, security)))
}

/// `count` datagrams of 100 bytes from this time on, one after the other.
fn sends(number: u64, count: u64, from: Duration, every: Duration) -> Vec<(Duration, Vec<u8>)> {
    (0..count).map(|at| (from + every * at as u32, own(number * 100_000 + at, 100))).collect()
}

fn counted(sim: &Simulation) -> Datagrams {
    sim.relay.tunnel_reports().last().expect("a tunnel").counters.datagrams.expect("it carries datagrams")
}

fn dropped(sim: &Simulation) -> Dropped {
    counted(sim).dropped
}

/// How many sockets of the modem are not free.
fn in_use(sim: &Simulation) -> usize {
    sim.modem.sockets_in_use().len() + sim.modem.plain_sockets_in_use().len()
}

#[test]
fn datagrams_of_every_length_go_and_come_back_whole() {
    for (mode, security) in kinds() {
        let of_each_length =
            (1..=1_460).map(|length| (seconds(5) + millis(50) * length, own(length.into(), length as usize)));
        let tunnel = DatagramTunnel::new(mode, security).sender(of_each_length);
        let mut sim = Wiring::eg800q().datagrams(tunnel).start_quietly();
        sim.run_to_the_end(seconds(200));
        let Datagrams { up, down, dropped } = counted(&sim);
        assert_eq!((up, down, dropped), (1_460, 1_460, Dropped::default()), "{mode:?}, {security:?}");
        let received = &sim.addresses.all()[0].received;
        let lengths = received.iter().map(Vec::len);
        assert!(lengths.eq(1..=1_460), "in order, where the network keeps it");
        assert_eq!(sim.addresses.all()[0].sessions, 1);
    }
}

#[test]
fn what_looks_like_the_modems_words_is_a_datagram_as_any_other() {
    for (mode, security) in kinds() {
        let words = NASTY.iter().zip(5..).map(|(bytes, at)| (seconds(at), bytes.to_vec()));
        let urcs =
            [&b"+QIURC: \"closed\",0\r\n"[..], b"\r\n+QIURC: \"recv\",0,4\r\nBADX", b"\r\n+QIRD: 4\r\n"];
        let urcs = urcs.iter().zip(30..).map(|(bytes, at)| (seconds(at), bytes.to_vec()));
        let tunnel = DatagramTunnel::new(mode, security).sender(words.chain(urcs));
        let mut sim = Wiring::eg800q().uart(115_200).datagrams(tunnel).start();
        sim.run_to_the_end(seconds(200));
        assert_eq!((counted(&sim).down, dropped(&sim)), (NASTY.len() as u64 + 3, Dropped::default()));
    }
}

#[test]
fn twelve_sessions_at_once_beside_a_stream_of_another_time() {
    for (mode, security) in kinds() {
        let mut tunnel = DatagramTunnel::new(mode, security);
        for number in 0..12 {
            tunnel = tunnel.sender(sends(number, 40, seconds(5), millis(250)));
        }
        let late = Connection::new(mode).at(seconds(100)).far_end(Behaviour::source(20_000, 1));
        let mut sim = Wiring::eg800q().uart(921_600).connect(late).datagrams(tunnel).start_quietly();
        sim.run_to_the_end(seconds(200));
        assert_eq!(counted(&sim).down, 12 * 40, "{mode:?}, {security:?}: {:?}", dropped(&sim));
        assert!(
            sim.addresses.all().iter().all(|address| address.sessions == 1 && address.received.len() == 40)
        );
        assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    }
}

#[test]
fn loss_delay_and_doubling_on_the_way_are_passed_on_as_they_are() {
    for (mode, security) in kinds() {
        for behaviour in [
            DatagramBehaviour::echo().losing(200, 7),
            DatagramBehaviour::echo().late(200, millis(700), 7),
            DatagramBehaviour::echo().doubling(200, millis(300), 7),
        ] {
            let tunnel = DatagramTunnel::new(mode, security).behaviour(behaviour.clone());
            let tunnel = tunnel.sender(sends(0, 200, seconds(5), millis(100)));
            let mut sim = Wiring::eg800q().datagrams(tunnel).start_quietly();
            sim.run_to_the_end(seconds(200));
            let Datagrams { up, down, dropped } = counted(&sim);
            assert_eq!((up, dropped), (200, Dropped::default()), "{behaviour:?}");
            match () {
                () if behaviour.lost_of_1000 > 0 => assert!((90..160).contains(&down), "{down}"),
                () if behaviour.twice_of_1000 > 0 => assert!((250..330).contains(&down), "{down}"),
                () => {
                    let received = &sim.addresses.all()[0].received;
                    let in_order = sends(0, 200, seconds(0), millis(0));
                    assert_eq!(down, 200);
                    assert!(
                        !received.iter().eq(in_order.iter().map(|(_, bytes)| bytes)),
                        "some were overtaken"
                    );
                }
            }
        }
    }
}

#[test]
fn a_source_of_datagrams_is_heard_in_order() {
    for (mode, security) in kinds() {
        let says = DatagramSays::Source { datagrams: 300, bytes: 1_200, every: millis(20) };
        let behaviour = DatagramBehaviour { says, ..DatagramBehaviour::sink() };
        let tunnel = DatagramTunnel::new(mode, security).behaviour(behaviour);
        let tunnel = tunnel.sender([(seconds(5), own(0, 20))]);
        let mut sim = Wiring::eg800q().datagrams(tunnel).start_quietly();
        sim.run_to_the_end(seconds(200));
        assert_eq!((counted(&sim).up, counted(&sim).down), (1, 300), "{mode:?}, {security:?}");
    }
}

/// A message each ten minutes for a day, as with CoAP's observe. The network takes the data session away five times, and each
/// time the modem has another address afterwards.
#[test]
fn a_day_of_messages_goes_on_over_lost_data_sessions() {
    for (mode, security) in kinds() {
        let tunnel = DatagramTunnel::new(mode, security)
            .limits(|limits| limits.idle_timeout = seconds(24 * 3_600))
            .sender(sends(0, 144, seconds(60), seconds(600)));
        let mut wiring = Wiring::eg800q().datagrams(tunnel);
        for hour in [3, 6, 9, 15, 20] {
            wiring = wiring.fault(seconds(hour * 3_600), Fault::DropPdp);
        }
        let mut sim = wiring.start_quietly();
        sim.run_for(seconds(24 * 3_600 + 120));
        let address = &sim.addresses.all()[0];
        assert_eq!(address.received.len(), 144, "{mode:?}, {security:?}: {:?}", counted(&sim));
        assert_eq!(address.sessions, 6, "each data session has another");
        assert_eq!((address.id.is_some(), in_use(&sim)), (true, 1), "one is open, and no more");
    }
}

/// A day of CoAP's observe. The client registers with one datagram, and the server sends a notification each five minutes.
/// Five times the client gets another address, and registers again. The server gives up each registration after five hours.
#[test]
fn a_day_of_notifications_goes_to_the_address_that_has_registered() {
    let notifications = 60;
    let says = DatagramSays::Notifies { datagrams: notifications, every: seconds(300) };
    let registers = [0, 4, 8, 13, 17, 20].map(|hour| seconds(60 + hour * 3_600));
    let end = seconds(24 * 3_600 + 30);
    // It has lost its address a while before it notices.
    let loses = registers[1..].iter().map(|at| *at - seconds(30)).chain([end]);
    for (mode, security) in kinds() {
        let mut tunnel = DatagramTunnel::new(mode, security)
            .behaviour(DatagramBehaviour { says: says.clone(), ..DatagramBehaviour::sink() })
            .limits(|limits| limits.idle_timeout = seconds(3_600));
        let mut expected = Vec::new();
        for (number, (at, gone_at)) in registers.into_iter().zip(loses.clone()).enumerate() {
            let registration = own(number as u64, 40);
            let times = (0..notifications).filter(|passed| at + seconds(300) * (*passed as u32) < gone_at);
            expected
                .push(times.map(|it| [&registration[..], &it.to_be_bytes()].concat()).collect::<Vec<_>>());
            tunnel = tunnel.sender([(at, registration)]);
            tunnel.addresses[number].gone_at = Some(gone_at);
        }
        let mut sim = Wiring::eg800q().datagrams(tunnel).start_quietly();
        sim.run_for(end);
        for (address, expected) in sim.addresses.all().iter().zip(&expected) {
            assert!(address.received == *expected, "{mode:?}, {security:?}: {}", address.received.len());
            assert_eq!(address.sessions, 1, "{mode:?}, {security:?}");
        }
        let delivered: usize = expected.iter().map(Vec::len).sum();
        // The last registration has a client until the end.
        let undelivered = expected[..5].iter().map(|it| notifications - it.len() as u64).sum();
        assert_eq!(dropped(&sim), Dropped { undelivered, ..Dropped::default() }, "{mode:?}, {security:?}");
        assert_eq!(counted(&sim).down, delivered as u64);
        assert_eq!(in_use(&sim), 1, "what the server has given up is closed");
    }
}

/// Many sessions, some at once; and what is held at the end. `./check --long` has 100,000 of each kind.
#[test]
fn sessions_leave_nothing_behind() {
    let is_long = std::env::var_os("QSSL_TUNNEL_LONG_TESTS").is_some();
    let count: u64 = if is_long { 100_000 } else { 1_500 };
    for security in [Security::Plain, Security::Tls] {
        let mut tunnel =
            DatagramTunnel::new(Mode::Push, security).limits(|limits| limits.idle_timeout = seconds(1));
        let addresses = 10;
        for number in 0..addresses {
            let says = sends(number, count / addresses, seconds(5) + millis(400) * number as u32, seconds(4));
            tunnel = tunnel.sender(says);
        }
        let mut sim = Wiring::eg800q().datagrams(tunnel).start_quietly();
        sim.run_to_the_end(seconds(10 + 4 * count));
        let sessions: u64 = sim.addresses.all().iter().map(|address| address.sessions).sum();
        assert_eq!((sessions, dropped(&sim)), (count, Dropped::default()), "{security:?}");
        assert_eq!(counted(&sim).down, count);
        assert!(sim.relay.connections(sim.now).is_empty() && sim.relay.waiting_clients() == 0);
        assert!(in_use(&sim) == 0);
        let greatest = sim.addresses.all().iter().filter_map(|address| address.greatest_id).max();
        assert!(greatest.is_some_and(|id| id.0 < addresses as usize), "{greatest:?}");
    }
}

#[test]
fn what_is_empty_or_too_long_is_dropped_and_counted() {
    for (mode, security) in kinds() {
        let says = [(5, 1_461), (6, 0), (7, 1_460), (8, 65_507), (9, 0), (10, 0)];
        let says = says.map(|(at, length)| (seconds(at), own(at, length)));
        let mut sim = Wiring::eg800q().datagrams(DatagramTunnel::new(mode, security).sender(says)).start();
        sim.run_to_the_end(seconds(200));
        assert_eq!(counted(&sim).up, 1);
        assert_eq!(dropped(&sim), Dropped { empty: 3, long: 2, ..Dropped::default() });
        let logged = sim.logged();
        let account =
            |line: &&String| line.contains("1 datagram (1460 bytes) up, 1 datagram (1460 bytes) down");
        let line = logged.iter().find(account).unwrap_or_else(|| panic!("{logged:#?}"));
        assert!(line.contains("3 dropped (empty), 2 dropped (long)") && line.contains("idle"), "{line}");
    }
}

#[test]
fn what_finds_no_room_while_a_connection_is_opened_is_dropped_and_counted() {
    for (mode, security) in kinds() {
        let wiring = Wiring::eg800q().modem(|modem| modem.open_latency = seconds(8));
        let tunnel = DatagramTunnel::new(mode, security).sender(sends(0, 20, seconds(5), millis(1)));
        let mut sim = wiring.datagrams(tunnel).start();
        sim.run_to_the_end(seconds(200));
        assert_eq!((counted(&sim).up, counted(&sim).down), (8, 8), "{mode:?}, {security:?}");
        assert_eq!(dropped(&sim), Dropped { full: 12, ..Dropped::default() });
        let first = sends(0, 8, seconds(0), millis(0));
        assert!(sim.addresses.all()[0].received.iter().eq(first.iter().map(|(_, bytes)| bytes)));
    }
}

#[test]
fn what_the_host_cannot_deliver_is_dropped_and_counted() {
    for (mode, security) in kinds() {
        let mut tunnel = DatagramTunnel::new(mode, security).sender(sends(0, 20, seconds(5), millis(200)));
        tunnel.addresses[0].blocks_one_of = 4;
        let mut sim = Wiring::eg800q().datagrams(tunnel).start();
        sim.run_to_the_end(seconds(200));
        assert_eq!((counted(&sim).up, counted(&sim).down), (20, 15));
        assert_eq!(dropped(&sim), Dropped { undelivered: 5, ..Dropped::default() });
    }
}

#[test]
fn a_connection_that_cannot_be_opened_ends_the_session_and_its_datagrams_are_counted() {
    for (mode, security) in kinds() {
        let mut tunnel = DatagramTunnel::new(mode, security).sender(sends(0, 3, seconds(5), millis(1)));
        let failure = qssl_modem_emulator::network::OpenFailure::Dns;
        tunnel.plan.opening = Opening::Fails(seconds(1), failure);
        let mut sim = Wiring::eg800q().datagrams(tunnel).start();
        sim.run_to_the_end(seconds(200));
        assert_eq!(dropped(&sim), Dropped { unsent: 3, ..Dropped::default() }, "{mode:?}, {security:?}");
        assert_eq!(counted(&sim).up + counted(&sim).down, 0);
    }
}

#[test]
fn a_failed_send_is_sent_again() {
    for (mode, security) in kinds() {
        let tunnel = DatagramTunnel::new(mode, security).sender(sends(0, 20, seconds(5), millis(500)));
        let mut sim = Wiring::eg800q().datagrams(tunnel).fault(seconds(7), Fault::SendFails(3)).start();
        sim.run_to_the_end(seconds(200));
        assert_eq!((counted(&sim).down, dropped(&sim)), (20, Dropped::default()), "{mode:?}, {security:?}");
        assert_eq!(sim.addresses.all()[0].sessions, 1);
    }
}

#[test]
fn a_send_without_a_result_is_not_repeated_and_ends_the_session() {
    for (mode, security) in kinds() {
        let tunnel = DatagramTunnel::new(mode, security).sender(sends(0, 40, seconds(5), seconds(10)));
        let mut sim = Wiring::eg800q().datagrams(tunnel).fault(seconds(34), Fault::LoseResults(1)).start();
        sim.run_to_the_end(seconds(800));
        let Datagrams { up, dropped, .. } = counted(&sim);
        assert!(dropped.unsent >= 1 && sim.addresses.all()[0].sessions == 2, "{:?}", counted(&sim));
        assert_eq!(up + dropped.unsent + dropped.full, 40);
        assert!(sim.addresses.all()[0].received.len() as u64 >= up, "its server had it, and no other twice");
    }
}

#[test]
fn closed_ends_a_session_and_the_next_datagram_begins_another() {
    for (mode, security) in kinds() {
        let tunnel = DatagramTunnel::new(mode, security).sender(sends(0, 10, seconds(5), seconds(2)));
        let mut sim = Wiring::eg800q()
            .datagrams(tunnel)
            .fault(millis(8_500), Fault::EndDatagrams(0, Ending::Closed))
            .fault(millis(14_500), Fault::EndDatagrams(0, Ending::Cut))
            .start();
        sim.run_for(seconds(4));
        let asked = sim.said("AT+QIACT?");
        sim.run_for(millis(4_900));
        assert!(sim.addresses.all()[0].id.is_none() && in_use(&sim) == 0);
        sim.run_to_the_end(seconds(200));
        assert_eq!((counted(&sim).down, dropped(&sim)), (10, Dropped::default()), "{mode:?}, {security:?}");
        assert_eq!(sim.addresses.all()[0].sessions, 3);
        assert_eq!(sim.relay.tunnel_reports()[0].counters.resets, 0, "it was no fault of anybody");
        // Nothing depends on how it ended, so nothing is asked.
        assert_eq!(sim.said("AT+QIACT?"), asked);
    }
}

#[test]
fn the_session_that_was_idle_longest_makes_room_and_no_stream_does() {
    for (mode, security) in kinds() {
        let evicts = |limits: &mut qssl_core::settings::Limits| limits.when_full = WhenFull::Evict;
        let mut tunnel = DatagramTunnel::new(mode, security).limits(evicts);
        for number in 0..13 {
            let mut says = sends(number, 1, seconds(10) + millis(500) * number as u32, millis(0));
            if number == 0 {
                // It is not the one that was idle longest.
                says.push((seconds(15), own(9_999, 50)));
            }
            tunnel = tunnel.sender(says);
        }
        let stream = Connection::new(mode).at(seconds(3));
        let mut sim = Wiring::eg800q().connect(stream).datagrams(tunnel).start();
        sim.run_for(seconds(25));
        let has_session: Vec<bool> = sim.addresses.all().iter().map(|address| address.id.is_some()).collect();
        let evicted: Vec<usize> = (0..13).filter(|number| !has_session[*number]).collect();
        assert_eq!(evicted, [1, 2], "{mode:?}, {security:?}");
        assert_eq!(sim.outcome(0), None, "the stream goes on");
        assert_eq!((counted(&sim).up, counted(&sim).down), (14, 14), "{:?}", counted(&sim));
        let is_evicted = |line: &String| line.contains("--when-full evict");
        assert_eq!(sim.logged().iter().filter(|line| is_evicted(line)).count(), 2);
    }
}

#[test]
fn a_tunnel_that_makes_room_keeps_to_its_own_limit() {
    let mut tunnel = DatagramTunnel::new(Mode::Push, Security::Plain).limits(|limits| {
        limits.when_full = WhenFull::Evict;
        limits.max_clients = Some(3);
    });
    for number in 0..6 {
        tunnel = tunnel.sender(sends(number, 1, seconds(10) + seconds(1) * number as u32, millis(0)));
    }
    let mut sim = Wiring::eg800q().datagrams(tunnel).start();
    sim.run_for(seconds(20));
    let open = sim.addresses.all().iter().filter(|address| address.id.is_some()).count();
    assert_eq!((open, counted(&sim).down, dropped(&sim).refused), (3, 6, 0));
}

#[test]
fn a_tunnel_that_makes_no_room_refuses_and_counts() {
    let mut tunnel =
        DatagramTunnel::new(Mode::Push, Security::Plain).limits(|limits| limits.max_clients = Some(3));
    for number in 0..6 {
        tunnel = tunnel.sender(sends(number, 2, seconds(10) + seconds(1) * number as u32, millis(10)));
    }
    let mut sim = Wiring::eg800q().datagrams(tunnel).start();
    sim.run_to_the_end(seconds(200));
    assert_eq!((counted(&sim).down, dropped(&sim).refused), (6, 6));
}

#[test]
fn sessions_end_soon_when_the_process_is_to_end() {
    for (mode, security) in kinds() {
        let tunnel = DatagramTunnel::new(mode, security)
            .limits(|limits| limits.idle_timeout = seconds(3_600))
            .sender(sends(0, 3, seconds(5), millis(500)));
        let mut sim = Wiring::eg800q().datagrams(tunnel).start();
        sim.run_for(seconds(6) + millis(20));
        sim.shutdown();
        let took = sim.run_until("it stops", seconds(30), |sim| sim.stopped.is_some());
        assert!(took < seconds(10), "{took:?}");
        assert_eq!(sim.stopped, Some(Kind::Done));
        assert_eq!(counted(&sim).down, 3, "the answer was on its way");
        assert!(in_use(&sim) == 0);
    }
}

#[test]
fn a_module_without_dtls_serves_nobody() {
    let dtls = || DatagramTunnel::new(Mode::Push, Security::Tls).sender(sends(0, 1, seconds(5), millis(0)));
    let stream = Connection::new(Mode::Push).at(seconds(5)).far_end(Behaviour::source(10, 1));
    let mut sim = Wiring::eg800q().family(Family::Ec20).connect(stream).datagrams(dtls()).start();
    sim.run_for(seconds(60));
    assert_eq!(sim.stopped, Some(Kind::Usage));
    let logged = sim.relay.failure().expect("it has given up").to_string();
    assert!(logged.contains("has no DTLS (no setting \"dtls\"), which dtls:// needs"), "{logged}");
    assert_eq!(sim.said("AT+QSSLOPEN"), 0);
    // Plain datagrams every module has.
    let udp = DatagramTunnel::new(Mode::Push, Security::Plain).sender(sends(0, 1, seconds(5), millis(0)));
    let mut sim = Wiring::eg800q().family(Family::Ec20).datagrams(udp).start();
    sim.run_to_the_end(seconds(200));
    assert_eq!(counted(&sim).down, 1);
}

/// Another program has left DTLS on in every context, and the module answers the next settings with OK without storing them.
#[test]
fn no_stream_is_opened_on_a_context_that_has_dtls_and_no_datagrams_on_one_that_has_not() {
    for lost in [0, 1] {
        let stream = Connection::new(Mode::Push).at(seconds(5)).far_end(Behaviour::source(1_000, 1));
        let dtls =
            DatagramTunnel::new(Mode::Push, Security::Tls).sender(sends(0, 3, seconds(10), seconds(20)));
        let mut wiring = Wiring::eg800q().connect(stream).datagrams(dtls);
        for context in 0..6 {
            wiring = wiring.typed_before(format!("AT+QSSLCFG=\"dtls\",{context},1\r").as_bytes());
        }
        if lost > 0 {
            wiring = wiring.fault(millis(1), Fault::LoseSettings(lost));
        }
        // Once more, between two opens.
        let on = |context| Fault::OtherProgram(format!("AT+QSSLCFG=\"dtls\",{context},1\r").into_bytes());
        let late = Connection::new(Mode::Push).at(seconds(40)).far_end(Behaviour::source(1_000, 2));
        let mut sim = wiring.connect(late).fault(seconds(37), on(0)).fault(seconds(37), on(1)).start();
        sim.run_to_the_end(seconds(300));
        // That each was opened with the right transport is checked at each open.
        assert_eq!((sim.outcome(0), sim.outcome(1)), (Some(Outcome::Eof), Some(Outcome::Eof)));
        assert_eq!(counted(&sim).down, 3);
    }
}

/// The module put the settings of the context back when an open failed, DTLS among them, and the next open left before that
/// result had come. What it opened was a stream, and datagrams were sent on it, as there was no authentication.
#[test]
fn no_datagrams_are_sent_on_a_stream_that_a_forgotten_context_has_opened() {
    for (held, opens) in
        [0, 1].into_iter().flat_map(|held| (10_300..11_500).step_by(50).map(move |at| (held, at)))
    {
        let mut wiring = Wiring::eg800q().ports([PortName::UsbAt, PortName::UsbModem].map(Port::usb));
        wiring.modem.quirks.context_forgotten_on_last_close = true;
        wiring.modem.quirks.failed_open_keeps_socket = false;
        let dtls = || DatagramTunnel::new(Mode::Push, Security::Tls);
        let mut refused = dtls().sender(sends(0, 1, seconds(10), Duration::ZERO));
        refused.plan.opening = Opening::Fails(millis(300), OpenFailure::Refused);
        let other = dtls().sender(sends(1, 20, millis(opens), seconds(2)));
        let wiring = wiring.datagrams(refused).datagrams(other);
        // Every run checks that datagrams are sent by UDP.
        let mut sim = wiring.fault(millis(10_200), Fault::HoldLine(held, seconds(2))).start();
        sim.run_to_the_end(seconds(200));
        let down = counted(&sim).down;
        assert!(down >= 15, "port {held} held, opened at {opens} ms: {down} came back");
    }
}

/// Assumptions of docs/PROTOCOL.md: where one is wrong, one mode joins datagrams, and the other does not.
#[test]
fn where_a_module_joins_datagrams_in_one_mode_the_other_keeps_their_boundaries() {
    for (mode, quirk) in [(Mode::Buffer, "pushed_datagrams_joined"), (Mode::Push, "read_datagrams_joined")] {
        for keeps in [true, false] {
            let says = DatagramSays::Source { datagrams: 40, bytes: 300, every: Duration::ZERO };
            let behaviour = DatagramBehaviour { says, ..DatagramBehaviour::sink() };
            let other = if mode == Mode::Push { Mode::Buffer } else { Mode::Push };
            let tunnel = DatagramTunnel::new(if keeps { mode } else { other }, Security::Plain);
            let tunnel = tunnel.behaviour(behaviour).sender([(seconds(5), own(0, 20))]);
            let wiring = Wiring::eg800q().modem(|modem| {
                assert!(modem.quirks.set(quirk, true));
                modem.receive_buffer_datagrams = 64;
                modem.receive_buffer_bytes = 64 * 1_024;
            });
            let mut wiring = wiring.datagrams(tunnel);
            if !keeps {
                // What is joined is not what anybody sent: only the number is looked at.
                wiring.datagrams[0].addresses[0].blocks_one_of = 1;
            }
            let mut sim = wiring.start();
            sim.run_to_the_end(seconds(200));
            let Datagrams { down, dropped, .. } = counted(&sim);
            match keeps {
                true => assert_eq!(down, 40, "{quirk}"),
                false => assert!(dropped.undelivered < 40, "{quirk}: the switch joins them"),
            }
        }
    }
}

#[test]
#[should_panic(expected = "has received what nobody sent")]
fn a_module_that_splits_what_it_is_to_send_is_noticed_by_the_server_alone() {
    let says = [(seconds(5), own(0, 500)), (seconds(6), own(1, 600))];
    let tunnel = DatagramTunnel::new(Mode::Push, Security::Plain).behaviour(DatagramBehaviour::sink());
    let wiring = Wiring::eg800q().modem(|modem| modem.quirks.sent_datagrams_split = true);
    let mut sim = wiring.datagrams(tunnel.sender(says)).start();
    sim.run_until("the short one is sent", seconds(6), |sim| counted(sim).up == 1);
    sim.run_to_the_end(seconds(200));
}

#[test]
fn a_close_of_dtls_that_a_module_does_not_tell_of_leaves_the_session_until_it_is_idle() {
    for mode in [Mode::Push, Mode::Buffer] {
        let mut says = sends(0, 10, seconds(5), seconds(2));
        says.push((seconds(120), own(50, 100)));
        let tunnel = DatagramTunnel::new(mode, Security::Tls).sender(says);
        let mut sim = Wiring::eg800q()
            .modem(|modem| modem.quirks.dtls_close_untold = true)
            .datagrams(tunnel)
            .fault(millis(8_500), Fault::EndDatagrams(0, Ending::Closed))
            .start();
        sim.run_until("all ten are sent", seconds(30), |sim| counted(sim).up == 10);
        sim.run_for(seconds(55));
        assert_eq!(
            (sim.addresses.all()[0].sessions, in_use(&sim)),
            (1, 1),
            "{mode:?}: nothing tells of its end"
        );
        sim.run_to_the_end(seconds(300));
        // The server has answered two before its end, and the one of the next session.
        assert_eq!((counted(&sim).up, counted(&sim).down), (11, 3), "{mode:?}");
        assert_eq!((sim.addresses.all()[0].sessions, dropped(&sim)), (2, Dropped::default()), "{mode:?}");
    }
}

#[test]
fn empty_datagrams_that_a_module_tells_of_are_delivered_to_nobody() {
    for (mode, security) in kinds() {
        let says = DatagramSays::Source { datagrams: 5, bytes: 0, every: seconds(1) };
        let behaviour = DatagramBehaviour { says, ..DatagramBehaviour::sink() };
        let tunnel = DatagramTunnel::new(mode, security).behaviour(behaviour);
        let tunnel = tunnel.sender(sends(0, 10, seconds(5), seconds(1)));
        let wiring = Wiring::eg800q().modem(|modem| modem.quirks.empty_datagrams_told = true);
        let mut sim = wiring.datagrams(tunnel).start();
        sim.run_to_the_end(seconds(200));
        assert_eq!((counted(&sim).up, counted(&sim).down), (10, 0), "{mode:?}, {security:?}");
        assert_eq!((sim.addresses.all()[0].sessions, dropped(&sim)), (1, Dropped::default()));
    }
}
