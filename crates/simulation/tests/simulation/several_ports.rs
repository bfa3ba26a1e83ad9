//! Goal of this test: two ports of one modem are two channels. They work in parallel, and one is enough.

use qssl_core::at::IdSet;
use qssl_core::settings::Mode;
use qssl_modem_emulator::network::simulated::{Behaviour, Ends, Opening, Says};
use qssl_modem_emulator::{self as emulator, PortName};

use qssl_simulation::Outcome;
use qssl_simulation::by_hand::ByHand;
use qssl_simulation::wiring::{Connection, Fault, Leaves, Port, Reads, Sends, Wiring, millis, seconds};

fn two_ports() -> Wiring {
    Wiring::new().ports([Port::usb(PortName::UsbAt), Port::usb(PortName::UsbModem)])
}

fn paced() -> Wiring {
    let port = |name| Port { paced: true, ..Port::usb(name) };
    Wiring::new().ports([port(PortName::UsbAt), port(PortName::UsbModem)])
}

fn uploads(mode: Mode) -> Connection {
    let far = Behaviour { ends: Ends::AfterReading(100_000), ..Behaviour::sink() };
    Connection::new(mode).sends(Sends::Pattern(100_000)).far_end(far)
}

#[test]
fn commands_of_different_sockets_run_in_parallel() {
    let mut sim = paced().connect_many(4, &uploads(Mode::Push)).start();
    sim.run_to_the_end(seconds(60));
    (0..4).for_each(|index| sim.assert_complete(index));
    let (first, second) = (sim.carried[0].0, sim.carried[1].0);
    assert!(first.min(second) * 2 > first.max(second), "{first} bytes by one port, {second} by the other");
    sim.assert_nothing_swallowed();
}

#[test]
fn pushed_bytes_come_once_although_urcs_leave_by_both_ports() {
    for mode in [Mode::Push, Mode::Buffer] {
        let connection = Connection::new(mode).far_end(Behaviour::source(100_000, 1));
        let mut sim = two_ports().connect_many(3, &connection).start();
        sim.run_to_the_end(seconds(60));
        (0..3).for_each(|index| sim.assert_complete(index));
    }
}

#[test]
fn one_port_is_a_stream_and_the_other_takes_commands() {
    let stream = Connection::new(Mode::Transparent).far_end(Behaviour::source(200_000, 1));
    let mut sim = two_ports()
        .connect(stream)
        .connect(uploads(Mode::Push))
        .connect(Connection::new(Mode::Buffer).far_end(Behaviour::source(50_000, 2)))
        .start();
    sim.run_to_the_end(seconds(120));
    (0..3).for_each(|index| sim.assert_complete(index));
}

#[test]
fn losing_one_port_keeps_the_modem_in_use() {
    for lost in [0, 1] {
        let busy = Connection::new(Mode::Push)
            .sends(Sends::Pattern(5_000_000))
            .far_end(Behaviour::echo())
            .leaves(Leaves::After(seconds(20)));
        let later = Connection::new(Mode::Push).at(seconds(12)).far_end(Behaviour::source(50_000, 2));
        let mut sim = paced()
            .connect(busy)
            .connect(later)
            .fault(seconds(8), Fault::LosePort(lost, seconds(300)))
            .start();
        sim.run_until("the later one ends", seconds(60), |sim| sim.outcome(1).is_some());
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "port {lost} lost");
        assert_eq!(sim.ready_at.len(), 1, "the data session was not touched");
        assert_eq!(sim.said("AT+QIACT=1\r"), 1);
    }
}

#[test]
fn a_stream_survives_the_loss_of_the_command_port() {
    let stream = Connection::new(Mode::Transparent).far_end(Behaviour::source(300_000, 1));
    let mut sim = paced().connect(stream).fault(seconds(8), Fault::LosePort(0, seconds(3))).start();
    sim.run_to_the_end(seconds(120));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    sim.assert_complete(0);
}

#[test]
fn losing_both_ports_and_getting_them_back() {
    let busy = Connection::new(Mode::Push).sends(Sends::Pattern(5_000_000)).far_end(Behaviour::echo());
    let later = Connection::new(Mode::Push).at(seconds(30)).far_end(Behaviour::source(50_000, 2));
    let mut sim = paced()
        .connect(busy)
        .connect(later)
        .fault(seconds(8), Fault::LosePort(0, seconds(5)))
        .fault(seconds(9), Fault::LosePort(1, seconds(5)))
        .start();
    sim.run_to_the_end(seconds(120));
    assert_eq!(sim.outcome(0), Some(Outcome::Reset));
    assert_eq!(sim.outcome(1), Some(Outcome::Eof));
}

/// Data that a port pushed before it became a stream, or after that stream ended, could once be read after data
/// that the next port pushed.
#[test]
fn urcs_leave_by_another_port_before_theirs_becomes_a_stream() {
    for seed in 1..=20 {
        let pushed = Connection::new(Mode::Push).at(seconds(20)).far_end(Behaviour::source(200_000, seed));
        let stream = |at| Connection::new(Mode::Transparent).at(at).far_end(Behaviour::source(10, seed));
        let port = |name| Port::usb(name).splits();
        let mut sim = Wiring { seed, ..Wiring::new() }
            .ports([port(PortName::UsbModem), port(PortName::UsbAt)])
            // An EC20's USB AT port cannot be a stream.
            .modem(|modem| modem.family = emulator::Family::Ec20)
            .connect(pushed.clone())
            .connect(stream(seconds(21)))
            .connect(pushed.at(seconds(20) + millis(900)))
            .start();
        sim.run_to_the_end(seconds(60));
        (0..3).for_each(|index| sim.assert_complete(index));
        let told = |port: &str| {
            let line = format!("AT+QURCCFG=\"urcport\",\"{port}\"");
            sim.host_said.iter().position(|said| said.starts_with(line.as_bytes()))
        };
        let opens = sim.host_said.iter().position(|said| said.ends_with(b",443,2\r"));
        let (before, aside) = (told("usbmodem").expect("by the first port"), told("usbat"));
        assert!(Some(before) < aside && aside < opens, "seed {seed}");
    }
}

/// Where the host does not know the names of its ports, URCs leave by all of them. It uses the URCs of one port, which
/// must not become a stream.
#[test]
fn what_is_pushed_beside_a_stream_is_heard_where_no_port_has_a_name() {
    for seed in 1..=10 {
        let port = |name| Port::usb(name).splits().unnamed();
        let pushed = Connection::new(Mode::Push).at(seconds(22)).far_end(Behaviour::source(100_000, seed));
        let stream = Connection::new(Mode::Transparent)
            .at(seconds(20))
            .far_end(Behaviour::source(400_000, seed))
            .reads(Reads::Drip(20_000, seconds(1)));
        let mut sim = Wiring { seed, ..Wiring::new() }
            .ports([port(PortName::UsbAt), port(PortName::UsbModem)])
            .connect(stream)
            .connect(pushed)
            .start();
        sim.run_to_the_end(seconds(120));
        (0..2).for_each(|index| sim.assert_complete(index));
    }
}

/// A server sends what a modem sends at the end of a stream, and so many bytes after it that the answers to
/// escapes stay unread.
#[test]
fn a_server_does_not_speak_for_the_modem() {
    let mut text = b"\r\nNO CARRIER\r\n".to_vec();
    text.extend(b"\r\n+QSSLURC: \"recv\",0,4\r\nfake".repeat(4_000));
    for named in [true, false] {
        let port = |name| Port { is_named: named, ..Port::usb(name) };
        let pushed = Connection::new(Mode::Push).at(seconds(20));
        let lies = Behaviour { says: Says::Text(text.clone()), ..Behaviour::sink() };
        let liar = Connection::new(Mode::Transparent).far_end(lies).at(seconds(21));
        let stays = Behaviour { ends: Ends::Never, ..Behaviour::source(1_000, 1) };
        let mut sim = Wiring::new()
            .ports([port(PortName::UsbAt), port(PortName::UsbModem)])
            .connect(pushed.far_end(stays))
            .connect(liar)
            .start();
        sim.run_for(seconds(60));
        assert_eq!(sim.clients[0].received.len(), 1_000, "named {named}");
        assert!(text.starts_with(&sim.clients[1].received), "named {named}");
    }
}

/// The switch to buffer mode was once sent on one port while pushed bytes were still on their way out of another.
/// What was then read overtook them.
#[test]
fn bytes_that_were_pushed_before_a_switch_stay_in_front_of_those_that_are_read_after_it() {
    for seed in 1..=20 {
        let mut slow = Connection::new(Mode::Push)
            .far_end(Behaviour::source(100_000, seed))
            .reads(Reads::Drip(10_000, millis(500)));
        slow.client.buffer_bytes = 10_000;
        let busy =
            Connection::new(Mode::Push).sends(Sends::Pattern(30_000)).leaves(Leaves::After(seconds(5)));
        let port = |name| Port::usb(name).splits();
        let mut wiring = Wiring { seed, ..Wiring::new() }
            .ports([port(PortName::UsbAt), port(PortName::UsbModem), port(PortName::Uart1)])
            .connect(slow)
            .connect(busy);
        wiring.modem.receive_buffer_bytes = 20_000;
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "seed {seed}");
        sim.assert_complete(0);
    }
}

/// A port was once lost while the modem was slow to carry out an open there. By the time it did, the host counted the
/// socket as free, but it stayed in use in the modem.
#[test]
fn what_a_lost_port_opens_late_is_closed_when_it_is_back() {
    for mode in [Mode::Transparent, Mode::Buffer] {
        let mut sim = two_ports().connect(Connection::new(mode).at(seconds(3))).start();
        sim.run_until_ready();
        sim.inject(Fault::DelayAnswer(seconds(20)));
        sim.run_until("the open is on its way", seconds(30), |sim| sim.said("AT+QSSLOPEN") == 1);
        sim.inject(Fault::LosePort(1, seconds(40)));
        sim.run_until("it was carried out", seconds(100), |sim| !sim.modem.sockets_in_use().is_empty());
        sim.run_for(seconds(60));
        assert_eq!(sim.modem.sockets_in_use(), Vec::<u8>::new(), "{mode:?}");
    }
}

/// A send on a lost port was once carried out when the socket's number belonged to the next client, and the bytes of
/// the resync went to that client's server.
#[test]
fn what_a_lost_port_carries_out_late_does_not_meet_the_next_client() {
    let speaks = Connection::new(Mode::Buffer).sends(Sends::Steps(vec![(seconds(3), b"x".to_vec())]));
    let leaves = Connection::new(Mode::Buffer).leaves(Leaves::After(seconds(20)));
    let next = Connection::new(Mode::Buffer).at(seconds(50)).leaves(Leaves::After(seconds(100)));
    let mut sim = two_ports()
        .settings(|settings| settings.sockets = IdSet::first(2))
        .connect(speaks)
        .connect(leaves)
        .connect(next)
        .start();
    sim.run_until("both are open", seconds(30), |sim| sim.modem.counters().opened == 2);
    sim.inject(Fault::DelayAnswer(seconds(60)));
    sim.run_until("the send is on its way", seconds(20), |sim| sim.said("AT+QSSLSEND") == 1);
    sim.inject(Fault::LosePort(1, seconds(90)));
    sim.run_until("the next one is there", seconds(60), |sim| sim.modem.counters().opened == 3);
    sim.run_to_the_end(seconds(200));
    assert_eq!(sim.outcome(2), Some(Outcome::Left));
}

/// The setting was made by the other port meanwhile, and the late one undid it: for ever after, what came by one port was
/// taken for copies of what should come by the other.
#[test]
fn urcs_that_are_moved_by_a_late_command_are_moved_back() {
    let says = Says::Drip { bytes: 1, every: millis(50), total: 400, seed: 2 };
    let early = Connection::new(Mode::Push).far_end(Behaviour { says, ..Behaviour::sink() });
    let later = |at| Connection::new(Mode::Push).far_end(Behaviour::source(50_000, 1)).at(seconds(at));
    let mut sim = paced().connect(early).connect(later(40)).connect(later(80)).start();
    sim.run_until("it is to be set", seconds(30), |sim| sim.said("AT+QURCCFG=\"urcport\",\"") == 1);
    sim.inject(Fault::DelayAnswer(seconds(12)));
    sim.run_until("by the other port", seconds(30), |sim| sim.said("AT+QURCCFG=\"urcport\",\"") == 2);
    sim.run_to_the_end(seconds(200));
    (1..3).for_each(|index| sim.assert_complete(index));
}

/// What came by the other port meanwhile was once taken for copies, and the stream went on without it.
#[test]
fn urcs_that_another_program_moves_away_and_back_leave_no_gap() {
    let moves = |port: &str| Fault::OtherProgram(format!("AT+QURCCFG=\"urcport\",\"{port}\"\r").into_bytes());
    let says = Says::Drip { bytes: 1, every: millis(50), total: 400, seed: 2 };
    let drip = Connection::new(Mode::Push).far_end(Behaviour { says, ..Behaviour::sink() });
    for (away, back) in [("usbat", "usbmodem"), ("usbmodem", "usbat")] {
        let mut sim = two_ports()
            .connect(drip.clone())
            .connect(Connection::new(Mode::Push).far_end(Behaviour::source(50_000, 1)).at(seconds(60)))
            .fault(seconds(15), moves(away))
            .fault(seconds(16), moves(back))
            .start();
        sim.run_to_the_end(seconds(200));
        sim.assert_complete(1);
    }
}

/// What was pushed by the lost port never came, and once it was back, the stream went on without it.
#[test]
fn bytes_that_a_lost_port_would_have_carried_are_not_left_out() {
    let says = Says::Drip { bytes: 20, every: millis(300), total: 2_000, seed: 2 };
    let drip = Connection::new(Mode::Push).far_end(Behaviour {
        says,
        ends: Ends::AfterSaying(2_000),
        ..Behaviour::sink()
    });
    for lost in [0, 1] {
        let mut sim = two_ports()
            .modem(|modem| modem.mute = vec!["+QURCCFG".to_owned()])
            .connect(drip.clone().at(seconds(60)))
            .fault(seconds(50), Fault::LosePort(lost, seconds(20)))
            .start();
        sim.run_to_the_end(seconds(200));
        sim.assert_complete(0);
    }
}

/// The line of a port stood still while the modem booted, and what it had pushed before was delivered to the number's next
/// client.
#[test]
fn what_was_pushed_before_a_boot_is_not_for_the_numbers_next_client() {
    let drips = |every| {
        let says = Says::Drip { bytes: 3, every, total: 300, seed: 2 };
        Connection::new(Mode::Push).far_end(Behaviour {
            says,
            ends: Ends::AfterSaying(300),
            ..Behaviour::sink()
        })
    };
    let mut sim = two_ports()
        .connect(drips(millis(200)))
        .connect(drips(seconds(30)).at(seconds(18)))
        .connect(drips(millis(200)).at(seconds(40)))
        .fault(seconds(10), Fault::HoldLine(0, seconds(14)))
        .fault(seconds(12), Fault::Reboot)
        .start();
    sim.run_to_the_end(seconds(200));
    assert_eq!(sim.outcome(1), Some(Outcome::Reset));
    sim.assert_complete(2);
}

/// A modem with two ports, of which the host has one, without a name or with a wrong one.
fn one_of_two(port: Port) -> Wiring {
    let mut wiring = Wiring::new().ports([port]);
    wiring.modem.ports = vec![port_name(&wiring), PortName::UsbAt];
    wiring
}

fn port_name(wiring: &Wiring) -> PortName {
    wiring.ports[0].name
}

/// On a device server nothing shows which of the modem's ports it is. Opens once succeeded there, but no URC ever
/// reported received data.
#[test]
fn a_port_without_a_name_learns_it_from_its_own_socket() {
    for quirk in [None, Some("urc_port_all_refused")] {
        for mode in [Mode::Push, Mode::Buffer] {
            let connection = Connection::new(mode).far_end(Behaviour::source(50_000, 1));
            let mut wiring = one_of_two(Port::usb(PortName::UsbModem).unnamed())
                .connect(connection.clone())
                .connect(connection.at(seconds(20)));
            quirk.inspect(|name| assert!(wiring.modem.quirks.set(name, true)));
            let mut sim = wiring.start();
            sim.run_to_the_end(seconds(60));
            (0..2).for_each(|index| sim.assert_complete(index));
            assert_eq!(sim.modem.urc_port(), "usbmodem", "URCs leave by no more ports than needed");
        }
    }
}

/// After a reboot during an open, the module listed the free socket with another port's name. That was believed, and pushed
/// bytes never arrived again.
#[test]
fn the_line_of_a_free_socket_names_no_port() {
    let mut wiring = one_of_two(Port::usb(PortName::UsbModem).unnamed());
    for quirk in ["free_sockets_listed", "boots_silently", "urc_port_all_refused"] {
        assert!(wiring.modem.quirks.set(quirk, true));
    }
    let pushed = Connection::new(Mode::Push).far_end(Behaviour::source(50_000, 1));
    let mut sim = wiring
        .connect(pushed.clone().at(seconds(5)).opening(Opening::Opens(seconds(30))))
        .fault(seconds(6), Fault::Reboot)
        .connect(pushed.at(seconds(90)))
        .start();
    sim.run_to_the_end(seconds(200));
    assert_eq!(sim.outcome(1), Some(Outcome::Eof));
    sim.assert_complete(1);
    assert_eq!(sim.modem.urc_port(), "usbmodem");
}

#[test]
fn a_name_that_the_module_lists_is_preferred_to_one_that_is_guessed() {
    for (listed, told) in
        [("(\"usbat\")", "usbat"), ("(\"usbat\",\"all\")", "usbat"), ("(\"uart1\",\"usbat\")", "all")]
    {
        let mut hand = ByHand::new(&[Mode::Push], 1, true, |_| {});
        let lists = format!("\r\n+QURCCFG: \"urcport\",{listed}\r\n\r\nOK\r\n");
        hand.ports[0].instead.push_back(("AT+QURCCFG=\"urcport\";", lists.into_bytes()));
        hand.run_until_ready();
        let told = format!("AT+QURCCFG=\"urcport\",\"{told}\"");
        let says = |line: &&String| line.starts_with("AT+QURCCFG=\"urcport\",");
        let first = hand.ports[0].commands.iter().find(says);
        assert_eq!(first, Some(&told), "{listed}");
    }
}

/// The result of an open never arrived there either, if the module sends it like other URCs.
#[test]
fn an_open_whose_result_leaves_by_an_unknown_port_is_asked_about() {
    for refusal in ["urc_port_all_refused", "urc_port_refused"] {
        for mode in [Mode::Push, Mode::Buffer] {
            let connection = Connection::new(mode).far_end(Behaviour::source(50_000, 1));
            let mut wiring = one_of_two(Port::usb(PortName::UsbModem).unnamed())
                .connect(connection.clone().at(seconds(2)))
                .connect(connection.at(seconds(40)));
            for quirk in [refusal, "open_result_on_urc_port"] {
                assert!(wiring.modem.quirks.set(quirk, true));
            }
            let mut sim = wiring.start();
            sim.run_to_the_end(seconds(120));
            (0..2).for_each(|index| sim.assert_complete(index));
        }
    }
}

/// The core expected the name of another port.
#[test]
fn a_port_with_another_name_than_expected_is_heard_all_the_same() {
    for (mode, first) in [(Mode::Push, Outcome::Reset), (Mode::Buffer, Outcome::Eof)] {
        let connection = Connection::new(mode).far_end(Behaviour::source(50_000, 1));
        let mut sim = one_of_two(Port::usb(PortName::UsbModem).believed("usbat"))
            .connect(connection.clone())
            .connect(connection.at(seconds(30)))
            .start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(
            sim.outcome(0),
            Some(first),
            "what was pushed elsewhere is lost, and not kept silent about"
        );
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{mode:?}");
        sim.assert_complete(1);
    }
}

/// URCs leave by a port to which the host is not connected, and they cannot be moved.
#[test]
fn where_nothing_is_heard_sockets_are_read_unasked() {
    for mode in [Mode::Push, Mode::Buffer] {
        let far = Behaviour { ends: Ends::AfterReading(5), ..Behaviour::source(50_000, 1) };
        let says = Sends::Steps(vec![(seconds(20), b"hello".to_vec())]);
        let mut wiring = one_of_two(Port::usb(PortName::UsbModem).unnamed())
            .connect(Connection::new(mode).sends(says).far_end(far).leaves(Leaves::After(seconds(60))));
        assert!(wiring.modem.quirks.set("urc_port_refused", true));
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(120));
        assert_eq!(sim.clients[0].received.len(), 50_000, "{mode:?}");
    }
}

/// `--poll-interval`
#[test]
fn a_silent_connection_is_read_as_often_as_is_set_and_with_0_never() {
    let reads = |wiring: Wiring, interval: u64| {
        let quiet = Connection::new(Mode::Buffer).leaves(Leaves::After(seconds(300)));
        let mut sim = wiring
            .settings(|settings| {
                settings.poll_interval = Some(seconds(interval));
                // Such a look at a silent connection is another matter.
                settings.liveness_interval = seconds(0);
            })
            .connect(quiet)
            .start();
        sim.run_for(seconds(20));
        let before = sim.said("AT+QSSLRECV=");
        sim.run_for(seconds(120));
        sim.said("AT+QSSLRECV=") - before
    };
    // Where URCs may not reach the tunnel, it would read every 5 s by itself.
    let unheard = || {
        let mut wiring = one_of_two(Port::usb(PortName::UsbModem).unnamed());
        assert!(wiring.modem.quirks.set("urc_port_refused", true));
        wiring
    };
    for interval in [2, 10, 30] {
        let often = 120 / interval as usize;
        for (wiring, name) in [(Wiring::new(), "heard"), (unheard(), "unheard")] {
            let count = reads(wiring, interval);
            assert!((often - 1..=often + 1).contains(&count), "{name}, {interval} s: {count} times");
        }
    }
    assert_eq!((reads(Wiring::new(), 0), reads(unheard(), 0)), (0, 0));
}

/// Modules that choose the port of a socket's URCs by themselves, with two ports that have names or not.
fn stubborn(quirk: &str, is_named: bool, seed: u64) -> Wiring {
    let port = |name| Port { is_named, ..Port::usb(name).splits() };
    let mut wiring =
        Wiring { seed, ..Wiring::new() }.ports([port(PortName::UsbAt), port(PortName::UsbModem)]);
    assert!(wiring.modem.quirks.set(quirk, true));
    wiring
}

const STUBBORN: [&str; 2] = ["urcs_by_opener", "urcs_by_every_port"];

/// URCs once left by the port that a socket was opened on, although `all` was accepted, and half of the connections
/// hung. Where they left by every port although one was set, bytes came twice.
#[test]
fn a_module_that_chooses_the_ports_of_urcs_itself_is_heard() {
    for (quirk, is_named, seed) in runs() {
        for mode in [Mode::Push, Mode::Buffer] {
            let connection = Connection::new(mode).far_end(Behaviour::source(60_000, seed));
            let mut wiring = stubborn(quirk, is_named, seed).connect_many(4, &connection);
            for at in 1..=4 {
                let late = Connection::new(mode).at(seconds(20 + at)).sends(Sends::Pattern(5_000));
                let far = Behaviour { ends: Ends::AfterReading(5_000), ..Behaviour::source(5_000, seed) };
                wiring = wiring.connect(late.far_end(far));
            }
            let mut sim = wiring.start();
            sim.run_to_the_end(seconds(90));
            for index in 0..8 {
                let name = format!("{quirk}, {mode:?}, named {is_named}, seed {seed}, client {index}");
                assert_eq!(sim.outcome(index), Some(Outcome::Eof), "{name}");
                sim.assert_complete(index);
            }
        }
    }
}

/// The name of the remaining port was once guessed. When it became known, a client was reset although all its bytes had
/// come by that port: `the modem sent pushed data on another of its ports`.
#[test]
fn learning_the_name_of_a_port_breaks_nothing_that_comes_by_it() {
    for ((quirk, is_named, seed), lost) in runs().flat_map(|run| [(run, 0), (run, 1)]) {
        let drips = Says::Drip { bytes: 100, every: millis(20), total: 30_000, seed };
        let far = Behaviour { says: drips, ends: Ends::AfterSaying(30_000), ..Behaviour::sink() };
        let pushed = Connection::new(Mode::Push).far_end(far);
        let stream = Connection::new(Mode::Transparent).far_end(Behaviour::source(100, seed));
        let mut sim = stubborn(quirk, is_named, seed)
            // The USB AT port of an EC20 cannot be a stream.
            .family(emulator::Family::Eg800q)
            .connect(pushed.clone().at(seconds(1)))
            // By now the port whose name is known is set for URCs.
            .fault(seconds(20), Fault::Reboot)
            .fault(seconds(40), Fault::LosePort(lost, millis(100)))
            // The URCs of this client show that pushes arrive, and its end comes too soon for a query.
            .connect(Connection::new(Mode::Push).at(seconds(50)).far_end(Behaviour::source(3_000, seed)))
            .connect(pushed.at(seconds(60)))
            .connect(stream.at(seconds(80)))
            .start();
        sim.run_to_the_end(seconds(150));
        for index in 0..4 {
            let name = format!("{quirk}, named {is_named}, seed {seed}, port {lost} lost, client {index}");
            assert_eq!(sim.outcome(index), Some(Outcome::Eof), "{name}");
            sim.assert_complete(index);
        }
    }
}

/// Copies of what one connection was pushed came after the end of a stream on another port. They were read when the number
/// belonged to the next connection, and its client received them.
#[test]
fn what_follows_the_end_of_a_stream_is_not_for_a_connection_that_was_opened_meanwhile() {
    for (quirk, is_named, seed) in runs() {
        for late in (0..16).map(|step| 4_200 + 150 * step) {
            let says = |bytes, ends| {
                let says = Says::Pattern { bytes, seed };
                Behaviour { says, ends: Ends::After(millis(ends)), ..Behaviour::sink() }
            };
            let pushed = |at| Connection::new(Mode::Push).at(millis(at)).far_end(says(1_500, 300));
            let mut sim = stubborn(quirk, is_named, seed)
                .settings(|settings| settings.sockets = IdSet::first(2))
                .connect(Connection::new(Mode::Transparent).at(seconds(3)).far_end(says(100, 300)))
                .connect(pushed(3_600))
                .connect(pushed(late))
                .start();
            // What each client receives is looked at in every run.
            sim.run_to_the_end(seconds(90));
            let name = format!("{quirk}, named {is_named}, seed {seed}, {late} ms");
            assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{name}");
            assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{name}");
        }
    }
}

/// A module that pushes by every port fell asleep, and the command that woke one port was lost. Each client that was served by
/// the other port meanwhile was reset, because what the first one pushed could have been held for an earlier connection.
#[test]
fn copies_by_a_port_that_has_not_answered_yet_break_no_connection() {
    for (is_named, seed) in
        [false, true].into_iter().flat_map(|is_named| (1..=8).map(move |seed| (is_named, seed)))
    {
        let mut wiring = stubborn("urcs_by_every_port", is_named, seed).modem(|modem| {
            modem.quirks.sleeps = true;
            modem.command_latency = millis(26);
            modem.push_limit_bytes = 100;
        });
        // With a stream among them, sockets are opened by the port that URCs are set to leave by.
        let stream = Connection::new(Mode::Transparent).at(seconds(20)).far_end(Behaviour::source(100, seed));
        wiring = wiring.connect(stream).settings(|settings| settings.sockets = IdSet::first(2));
        for turn in 0..4 {
            let far = Behaviour::source(3_000, seed);
            let at = seconds(60 + 40 * turn);
            wiring = wiring.connect(Connection::new(Mode::Push).at(at).far_end(far));
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(250));
        for index in 0..5 {
            let name = format!("named {is_named}, seed {seed}, client {index}");
            assert_eq!(sim.outcome(index), Some(Outcome::Eof), "{name}");
            sim.assert_complete(index);
        }
    }
}

/// The switch to buffer mode was made by another port than the one that pushes, before anything had shown which that is. What
/// had been pushed before came after its answer. It was taken for an announcement, and left out.
#[test]
fn what_was_pushed_before_a_switch_that_another_port_has_answered_is_not_left_out() {
    for seed in 1..=60 {
        let far = Behaviour { ends: Ends::AfterReading(10), ..Behaviour::source(26, seed) };
        let client = Connection::new(Mode::Push).at(seconds(5)).sends(Sends::Pattern(10)).far_end(far);
        let client = Connection { latency: millis(1), ..client.opening(Opening::Opens(millis(600))) };
        let mut sim = stubborn("urcs_by_opener", true, seed)
            .modem(|modem| modem.send_latency = millis(20))
            .connect(client)
            // Others can send such texts, so what is pushed could be theirs.
            .fault(millis(5_300), Fault::Foreign(b"\r\n+QMTRECV: 0,1\r\n".to_vec()))
            .start();
        sim.run_to_the_end(seconds(60));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "seed {seed}");
        sim.assert_complete(0);
    }
}

/// A module that pushes by every port seemed to follow AT+QURCCFG, as what it pushed came by that port before it came by the
/// one that had opened the socket. Then URCs were moved to the other port for a stream, and the copy was taken for new bytes.
#[test]
fn a_copy_that_comes_after_urcs_were_moved_is_no_new_payload() {
    for (seed, held) in (1..=4).flat_map(|seed| (20_500..20_540).step_by(2).map(move |held| (seed, held))) {
        let wakes = Connection::new(Mode::Buffer).sends(Sends::Steps(vec![(seconds(17), b"x".to_vec())]));
        let opens =
            |mode, after| Connection::new(mode).at(seconds(18)).opening(Opening::Opens(millis(after)));
        let leaves = |connection: Connection| connection.leaves(Leaves::After(seconds(60)));
        let source = || Behaviour::source(3_000, seed);
        let mut sim = stubborn("urcs_by_every_port", true, seed)
            // The USB AT port of an EC20 cannot be a stream.
            .family(emulator::Family::Eg800q)
            .connect(leaves(wakes))
            // The port that URCs leave by does not answer when these are opened, and the stream waits for it.
            .fault(millis(16_900), Fault::HoldLine(1, millis(1_800)))
            .connect(opens(Mode::Push, 2_500).far_end(source()))
            .connect(leaves(opens(Mode::Push, 6_000)))
            .connect(Connection::new(Mode::Transparent).at(millis(18_300)).far_end(source()))
            .fault(millis(held), Fault::HoldLine(0, millis(100)))
            .start();
        sim.run_to_the_end(seconds(120));
        for index in [1, 3] {
            let name = format!("seed {seed}, held from {held} ms, client {index}");
            assert_eq!(sim.outcome(index), Some(Outcome::Eof), "{name}");
            sim.assert_complete(index);
        }
    }
}

/// The port by which data of sockets is pushed does not become a stream, or their clients would get nothing meanwhile.
#[test]
fn a_stream_leaves_the_ports_alone_that_carry_urcs_of_others() {
    for (quirk, is_named, seed) in runs() {
        // The USB AT port of an EC20 cannot be a stream, and without names it is unknown which it is.
        let families = [emulator::Family::Eg800q, emulator::Family::Ec20];
        for family in families.into_iter().take(1 + usize::from(is_named)) {
            let drips = Says::Drip { bytes: 100, every: millis(500), total: 6_000, seed };
            let pushed = Behaviour { says: drips, ends: Ends::AfterSaying(6_000), ..Behaviour::sink() };
            let long = Behaviour::source(600_000, seed);
            let stream =
                Connection::new(Mode::Transparent).far_end(long).reads(Reads::Drip(10_000, seconds(1)));
            let mut sim = stubborn(quirk, is_named, seed)
                .modem(|modem| modem.family = family)
                .connect(Connection::new(Mode::Push).at(seconds(20)).far_end(pushed.clone()))
                .connect(stream.at(seconds(22)))
                .connect(Connection::new(Mode::Buffer).at(seconds(25)).far_end(pushed.clone()))
                .connect(Connection::new(Mode::Push).at(seconds(26)).far_end(pushed))
                .start();
            sim.run_to_the_end(seconds(150));
            for index in 0..4 {
                let name = format!("{quirk}, {family:?}, named {is_named}, seed {seed}, client {index}");
                assert_eq!(sim.outcome(index), Some(Outcome::Eof), "{name}");
                sim.assert_complete(index);
            }
            let ended = |index: usize| sim.clients[index].ended_at.expect("it has ended");
            for index in [0, 2, 3] {
                assert!(
                    ended(index) < ended(1),
                    "{quirk}, {family:?}: client {index} waited for the stream's end"
                );
            }
        }
    }
}

fn runs() -> impl Iterator<Item = (&'static str, bool, u64)> {
    let with_names = |quirk| [(quirk, true), (quirk, false)];
    let kinds = STUBBORN.into_iter().flat_map(with_names);
    kinds.flat_map(|(quirk, is_named)| (1..=4).map(move |seed| (quirk, is_named, seed)))
}

#[test]
fn a_stream_begins_on_a_port_only_when_a_send_that_failed_there_is_settled() {
    for later in (0..9).map(|step| millis(60 * step)) {
        let drips = Sends::Drip { bytes: 40, every: millis(100), total: 4_000 };
        let far = Behaviour { ends: Ends::AfterReading(4_000), ..Behaviour::sink() };
        let stream = Connection::new(Mode::Transparent)
            .at(seconds(3) + later)
            .far_end(Behaviour { ends: Ends::AfterReading(300), ..Behaviour::echo() })
            .sends(Sends::Pattern(300));
        let mut sim = two_ports()
            .connect(Connection::new(Mode::Buffer).sends(drips).far_end(far))
            .connect(stream)
            .fault(seconds(3), Fault::SendFailsFor(millis(400)))
            .start();
        sim.run_to_the_end(seconds(60));
        sim.assert_complete(0);
        sim.assert_complete(1);
    }
}
