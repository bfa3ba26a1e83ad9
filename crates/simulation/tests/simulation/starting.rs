//! Goal of this test: whatever state the modem was left in, the core sets it up to serve connections.

use qssl_core::Kind;
use qssl_core::at::{AtText, IdSet};
use qssl_core::settings::{self, Mode, Secret, Wait};
use qssl_modem_emulator::network::simulated::{Behaviour, Ends};
use qssl_modem_emulator::{Family, PortName, Sim};

use qssl_simulation::by_hand::ByHand;
use qssl_simulation::wiring::{Connection, DeviceServer, Fault, Port, Sends, Wiring, millis, seconds};
use qssl_simulation::{Outcome, Simulation};

/// Adds one connection that downloads something: if it works, everything was set up.
fn fetching(wiring: Wiring) -> Wiring {
    // It comes late, because trying every speed takes time.
    wiring.connect(Connection::new(Mode::Push).at(seconds(45)).far_end(Behaviour::source(5_000, 3)))
}

fn serves(wiring: Wiring) -> Simulation {
    let mut sim = fetching(wiring).start();
    sim.run_until_ready();
    sim.run_to_the_end(seconds(60));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    sim.assert_nothing_swallowed();
    sim
}

#[test]
fn a_fresh_modem_whose_echo_is_on() {
    serves(Wiring::new());
}

#[test]
fn a_modem_that_is_still_booting() {
    serves(Wiring::new().modem(|modem| modem.booted = false));
}

#[test]
fn a_command_half_typed() {
    serves(Wiring::new().typed_before(b"AT+QSSLCF"));
}

#[test]
fn a_send_that_waits_for_its_payload() {
    let wiring = Wiring::new()
        .typed_before(b"AT+QIACT=1\r")
        .typed_before(b"AT+QSSLOPEN=1,1,4,\"elsewhere.example\",443,1\r")
        .typed_before(b"AT+QSSLSEND=4,1460\r")
        .typed_before(b"half");
    let sim = serves(wiring);
    assert!(sim.modem.sockets_in_use().is_empty(), "the socket of an earlier run is closed");
}

#[test]
fn a_send_without_a_length_that_somebody_else_began_is_given_up() {
    let wiring = Wiring::new()
        .typed_before(b"AT+QIACT=1\r")
        .typed_before(b"AT+QSSLOPEN=1,1,4,\"elsewhere.example\",443,1\r")
        .typed_before(b"AT+QSSLSEND=4\r")
        .typed_before(b"half");
    let sim = serves(wiring);
    assert_eq!(sim.modem.counters().send_oks, 0, "what was typed there is not sent");
}

#[test]
fn a_uart_whose_rts_is_not_wired_is_named_as_such_and_the_modem_is_not_left_deaf() {
    let port = Port { without_rts: true, ..Port::uart() };
    let wiring = Wiring::new().uart(115_200).ports([port]);
    let wiring = wiring.settings(|settings| settings.wait = Wait::Not);
    let mut sim = fetching(wiring).start();
    sim.run_until("it gives up", seconds(60), |sim| sim.stopped.is_some());
    assert_eq!(sim.stopped, Some(Kind::ModemSilent));
    assert!(!sim.modem.flow_control(0).rts, "the next program hears it");
    names_the_wires(&sim);
}

#[test]
fn flow_control_that_the_driver_does_not_have_is_not_asked_of_the_modem() {
    let port = Port { lacks_flow_control: true, ..Port::uart() };
    let sim = serves(Wiring::new().uart(115_200).ports([port]));
    let flow = sim.modem.flow_control(0);
    assert!(!flow.rts && !flow.cts);
}

/// A device server answers some time after the port was opened; by then the modem may already use RTS and CTS.
#[test]
fn flow_control_that_a_device_server_refuses_is_taken_back_from_the_modem() {
    let server = Some(DeviceServer { holds_bytes: 100_000, tells: true });
    for at in [0, 20, 300, 20_000] {
        let far = Behaviour { ends: Ends::AfterReading(20_000), ..Behaviour::echo() };
        let client = Connection::new(Mode::Push).at(seconds(30)).sends(Sends::Pattern(20_000)).far_end(far);
        let mut sim = Wiring::new()
            .uart(115_200)
            .ports([Port { server, ..Port::uart() }])
            .connect(client)
            .fault(millis(at), Fault::LacksFlowControl(0))
            .start();
        sim.run_for(seconds(30));
        let flow = sim.modem.flow_control(0);
        assert!(!flow.rts && !flow.cts, "told {at} ms after the start");
        sim.run_to_the_end(seconds(60));
        sim.assert_complete(0);
    }
}

#[test]
fn a_command_that_is_never_answered_does_not_keep_the_tunnel_down_where_it_can_be_done_without() {
    for text in
        ["+QICFG", "+QURCCFG", "+QSSLCLOSE=?", "+QSSLCFG=?", "&C1", "+CMEE=1", "+IFC=", "+CCLK", "+QFLDS"]
    {
        let wiring = Wiring::new().modem(|modem| modem.mute = vec![text.to_owned()]);
        let mut sim =
            wiring.connect(Connection::new(Mode::Push).far_end(Behaviour::source(1_000, 1))).start();
        sim.run_until("it is ready", seconds(120), |sim| sim.relay.modem().is_up());
        sim.run_until("a client is served", seconds(60), |sim| sim.outcome(0).is_some());
        let again = sim.logged().iter().filter(|line| line.contains("recovery")).count();
        assert_eq!(again, 0, "{text}: {:#?}", sim.logged());
    }
}

#[test]
fn data_mode() {
    let wiring = Wiring::new()
        .uart(115_200)
        .typed_before(b"AT+QIACT=1\r")
        .typed_before(b"AT+QSSLOPEN=1,1,4,\"elsewhere.example\",443,2\r");
    let sim = serves(wiring);
    assert!(sim.modem.sockets_in_use().is_empty(), "the socket of an earlier run is closed");
}

#[test]
fn another_speed() {
    for baud in [921_600, 460_800, 57_600, 9_600] {
        let wiring = Wiring::new().uart(115_200).modem(|modem| modem.baud = baud);
        serves(wiring);
    }
}

#[test]
fn a_speed_above_the_default_is_set() {
    let sim = serves(Wiring::new().uart(921_600).modem(|modem| modem.baud = 115_200));
    assert_eq!(sim.modem.baud(0), 921_600);
    assert_eq!(sim.relay.modem().counters().resyncs, 0, "its answer was read");
}

#[test]
fn latencies_as_in_the_field() {
    let latencies = |modem: &mut qssl_modem_emulator::Config| {
        let ms = std::time::Duration::from_millis;
        (modem.command_latency, modem.prompt_latency, modem.send_latency) = (ms(15), ms(8), ms(16));
        (modem.receive_latency, modem.open_latency, modem.activation_latency) =
            (ms(20), ms(2_000), ms(1_500));
    };
    serves(Wiring::new().uart(115_200).modem(latencies));
}

#[test]
fn the_lenient_set_of_quirks_and_the_older_family() {
    serves(Wiring::new().modem(|modem| modem.quirks = qssl_modem_emulator::Quirks::field()));
    serves(Wiring::new().modem(|modem| modem.family = qssl_modem_emulator::Family::Ec20));
}

#[test]
fn sockets_of_an_earlier_run_are_closed_and_foreign_ones_are_not_touched() {
    let open = |wiring: Wiring, id: u8| {
        let line = format!("AT+QSSLOPEN=1,1,{id},\"elsewhere.example\",443,1\r");
        wiring.typed_before(line.as_bytes())
    };
    let mut wiring = Wiring::new().typed_before(b"AT+QIACT=1\r");
    for id in [0, 5, 7, 11] {
        wiring = open(wiring, id);
    }
    let mut ours = IdSet::empty();
    (4..8).for_each(|id| ours.insert(id));
    let wiring = wiring.settings(|settings| settings.sockets = ours);
    let mut sim = fetching(wiring).start();
    sim.run_until("the client ends", seconds(60), |sim| sim.outcome(0).is_some());
    sim.run_for(seconds(30));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    assert_eq!(sim.modem.sockets_in_use(), [0, 11], "5 and 7 were ours to close");
    for foreign in ["AT+QSSLCLOSE=0", "AT+QSSLCLOSE=11", "AT+QSSLSTATE=0", "AT+QSSLSTATE=11"] {
        assert_eq!(sim.said(foreign), 0, "{foreign}");
    }
}

/// The numbers of the two sets are independent, and only one of the connections was closed.
#[test]
fn a_number_that_an_earlier_run_has_left_open_with_tls_and_without_is_closed_in_both() {
    let wiring = Wiring::new()
        .typed_before(b"AT+QIACT=1\r")
        .typed_before(b"AT+QSSLOPEN=1,1,3,\"elsewhere.example\",443,1\r")
        .typed_before(b"AT+QIOPEN=1,3,\"TCP\",\"elsewhere.example\",443,0,1\r");
    let plain = Connection::new(Mode::Push).plain().far_end(Behaviour::source(100, 1));
    let mut sim = wiring.connect(plain).start();
    assert_eq!([sim.modem.sockets_in_use(), sim.modem.plain_sockets_in_use()], [[3], [3]]);
    sim.run_until("the client ends", seconds(60), |sim| sim.outcome(0).is_some());
    sim.run_for(seconds(30));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    assert_eq!([sim.modem.sockets_in_use(), sim.modem.plain_sockets_in_use()], [[], []] as [[u8; 0]; 2]);
    for command in ["AT+QSSLCLOSE=3", "AT+QICLOSE=3"] {
        assert_eq!(sim.said(command), 1, "{command}");
    }
}

#[test]
fn a_module_that_does_not_tell_its_data_sessions_serves_all_the_same() {
    type Start = fn(Wiring) -> Wiring;
    // Nothing is active; an earlier run has activated the session; or the access point is configured.
    let starts: [Start; 3] = [
        |wiring| wiring,
        |wiring| wiring.typed_before(b"AT+QIACT=1\r"),
        |wiring| {
            wiring.settings(|settings| settings.pdp.apn = Some(AtText::new("internet").expect("a text")))
        },
    ];
    for start in starts {
        for family in [Family::Ec20, Family::Eg800q] {
            let wiring = Wiring::new().modem(|modem| {
                modem.family = family;
                modem.quirks.session_query_refused = true;
            });
            serves(start(wiring));
        }
    }
}

#[test]
fn a_module_that_does_not_tell_its_data_sessions_has_a_lost_one_rebuilt() {
    let again = Connection::new(Mode::Push).at(seconds(120)).far_end(Behaviour::source(5_000, 3));
    for lost in [Fault::DropPdp, Fault::LosePdpSilently] {
        let wiring = Wiring::new().modem(|modem| modem.quirks.session_query_refused = true);
        let probe = Connection::new(Mode::Push).at(seconds(80)).far_end(Behaviour::source(5_000, 3));
        let wiring = fetching(wiring).connect(probe).connect(again.clone());
        let mut sim = wiring.fault(seconds(70), lost).start();
        sim.run_to_the_end(seconds(300));
        assert_eq!((sim.outcome(0), sim.outcome(2)), (Some(Outcome::Eof), Some(Outcome::Eof)));
    }
}

#[test]
fn an_end_with_a_lost_data_session_is_none_although_the_module_does_not_tell_its_data_sessions() {
    for family in [Family::Ec20, Family::Eg800q] {
        for is_lost in [false, true] {
            let far = Behaviour { ends: Ends::After(seconds(40)), ..Behaviour::source(5_000, 3) };
            let mut wiring = Wiring::new().modem(|modem| {
                modem.family = family;
                modem.quirks.session_query_refused = true;
            });
            if is_lost {
                wiring = wiring.fault(seconds(30), Fault::LosePdpSilently);
            }
            let mut sim = wiring.connect(Connection::new(Mode::Push).at(seconds(20)).far_end(far)).start();
            sim.run_to_the_end(seconds(200));
            let end = if is_lost { Outcome::Reset } else { Outcome::Eof };
            assert_eq!(sim.outcome(0), Some(end), "{family:?}, lost {is_lost}");
        }
    }
}

#[test]
fn without_a_sim_the_program_stays_up() {
    let wiring = Wiring::new().modem(|modem| modem.sim = Sim::Absent);
    let mut sim = wiring.connect(Connection::new(Mode::Push).at(seconds(5))).start();
    sim.run_for(seconds(3_600));
    assert_eq!(sim.stopped, None, "it waits for a SIM");
    assert_eq!(sim.outcome(0), Some(Outcome::Reset), "its client is not kept for ever");
    assert!(sim.said("AT+CPIN?") > 10 && sim.said("AT+CPIN?") < 3_600, "{}", sim.said("AT+CPIN?"));
}

#[test]
fn a_uart_whose_cts_is_not_wired_is_named_as_such() {
    let port = Port { without_cts: true, ..Port::uart() };
    let wiring = Wiring::new().uart(115_200).ports([port]);
    let wiring = wiring.settings(|settings| settings.wait = Wait::Not);
    for wiring in [wiring.clone(), wiring.cmux()] {
        let mut sim = fetching(wiring).start();
        sim.run_until("it gives up", seconds(200), |sim| sim.stopped.is_some());
        assert_eq!(sim.stopped, Some(Kind::ModemSilent));
        names_the_wires(&sim);
    }
}

#[track_caller]
fn names_the_wires(sim: &Simulation) {
    let why = &sim.relay.failure().expect("it says why").message;
    assert!(why.contains("wire RTS and CTS") && why.contains("--flow-control none"), "{why}");
}

#[test]
fn a_sim_that_is_busy_at_first_and_a_registration_that_takes_its_time() {
    let wiring = Wiring::new().modem(|modem| {
        modem.registration = qssl_modem_emulator::Registration::After(seconds(25));
    });
    serves(wiring);
}

#[test]
fn the_urcs_of_a_socket_come_although_they_were_set_to_another_port() {
    let ports = [Port::usb(PortName::UsbModem)];
    let mut wiring = Wiring::new().ports(ports);
    wiring.modem.ports.push(PortName::UsbAt);
    serves(wiring);
}

/// The settings name the modem with this IMEI; the modem has the emulator's.
fn meaning(imei: &str, wiring: Wiring) -> Wiring {
    Wiring { identity: settings::Identity::Imei(imei.to_owned()), ..wiring }
}

const ITS_IMEI: &str = "490154203237518";
const ANOTHER_IMEI: &str = "490154203237526";

#[test]
fn a_modem_named_by_its_serial_number() {
    let sim = serves(meaning(ITS_IMEI, Wiring::new()));
    assert_eq!(sim.said("AT+GSN"), 1);
}

#[test]
fn another_modem_than_the_one_that_is_named_is_left_alone() {
    let mut sim = fetching(meaning(ANOTHER_IMEI, Wiring::new())).start();
    sim.run_for(seconds(60));
    assert!(sim.ready_at.is_empty());
    assert!(sim.said("AT+GSN") > 1, "each time that the port is opened");
    for touched in ["ATI", "AT+Q", "AT+CPIN"] {
        assert_eq!(sim.said(touched), 0, "{touched}");
    }
}

#[test]
fn commands_from_outside_too_reach_only_the_modem_that_is_named() {
    for (imei, takes) in [(ITS_IMEI, true), (ANOTHER_IMEI, false)] {
        let mut sim = meaning(imei, Wiring::new()).start();
        sim.run_for(seconds(1));
        sim.relay.command(qssl_core::at::Command::line("AT+CSQ"), sim.now);
        sim.run_for(seconds(60));
        assert_eq!(sim.said("AT+CSQ"), usize::from(takes), "{imei}");
        assert_eq!(sim.relay.modem().takes_commands(), takes, "{imei}");
    }
}

#[test]
fn a_pin_is_entered_once_and_never_again_if_it_was_wrong() {
    let locked = |pin: &str| {
        let pin = Secret(AtText::new(pin).expect("digits"));
        let wiring = Wiring::new().modem(|modem| modem.sim = Sim::Pin("1234".to_owned()));
        wiring.settings(|settings| settings.sim_pin = Some(pin))
    };
    let sim = serves(locked("1234"));
    assert_eq!(sim.said("AT+CPIN="), 1);
    let mut sim = fetching(locked("0000")).fault(seconds(30), Fault::Reboot).start();
    sim.run_for(seconds(300));
    assert_eq!(sim.said("AT+CPIN="), 1);
    assert!(sim.ready_at.is_empty());
}

#[test]
fn the_last_attempt_for_a_pin_is_never_used() {
    // Where AT+QPINC is refused, AT+CPINR shows the attempts left. The last one was once used there.
    for pin_count_refused in [false, true] {
        let locked = |wrong: &[u8]| {
            let pin = Secret(AtText::new("1234").expect("digits"));
            let wiring = Wiring::new().modem(|modem| {
                modem.sim = Sim::Pin("1234".to_owned());
                modem.quirks.pin_count_refused = pin_count_refused;
            });
            wiring.settings(|settings| settings.sim_pin = Some(pin)).typed_before(wrong)
        };
        serves(locked(b"AT+CPIN=\"0000\"\r"));
        let mut sim = fetching(locked(b"AT+CPIN=\"0000\"\rAT+CPIN=\"0000\"\r")).start();
        sim.run_for(seconds(60));
        assert_eq!(sim.said("AT+CPIN="), 0);
        assert!(sim.ready_at.is_empty());
    }
}

#[test]
fn a_wrong_pin_whose_refusal_is_lost_costs_one_attempt() {
    let mut hand = by_hand_with_a_wrong_pin();
    for attempts in [3, 2] {
        let count = format!("\r\n+QPINC: \"SC\",{attempts},10\r\n\r\nOK\r\n");
        hand.ports[0].instead.push_back(("AT+QPINC", count.into_bytes()));
        hand.ports[0].instead.push_back(("AT+CPIN=", Vec::new()));
    }
    hand.run_for(seconds(100));
    assert_eq!(["AT+QPINC=", "AT+CPIN="].map(|line| times_said(&hand, line)), [2, 1]);
    assert_eq!(hand.stopped, Some(Kind::SimFailed));
}

#[test]
fn a_module_that_reports_no_attempts_is_given_the_pin_exactly_once() {
    let mut hand = by_hand_with_a_wrong_pin();
    for _ in 0..3 {
        for (line, answer) in [("AT+QPINC", "ERROR"), ("AT+CPINR", "ERROR"), ("AT+CPIN=", "+CME ERROR: 16")] {
            hand.ports[0].instead.push_back((line, format!("\r\n{answer}\r\n").into_bytes()));
        }
    }
    hand.run_for(seconds(100));
    let said = ["AT+QPINC=", "AT+CPINR=", "AT+CPIN="].map(|line| times_said(&hand, line));
    assert_eq!(said, [1, 1, 1], "{:?}", hand.ports[0].commands);
    assert_eq!(hand.stopped, Some(Kind::SimFailed));
}

/// A modem whose SIM wants its PIN, at first among other questions, and a tunnel that was given a wrong one.
fn by_hand_with_a_wrong_pin() -> ByHand {
    let pin = Secret(AtText::new("0000").expect("digits"));
    let mut hand = ByHand::new(&[Mode::Push], 1, true, |settings| {
        settings.modem.sim_pin = Some(pin);
        settings.modem.wait = Wait::Forever;
    });
    for _ in 0..3 {
        hand.ports[0].instead.push_back(("AT+CPIN?", b"\r\n+CPIN: SIM PIN\r\n\r\nOK\r\n".to_vec()));
    }
    hand
}

fn times_said(hand: &ByHand, beginning: &str) -> usize {
    hand.ports[0].commands.iter().filter(|said| said.starts_with(beginning)).count()
}

/// A SIM that wants its PUK could take a PIN for a wrong PUK.
#[test]
fn a_sim_that_wants_its_puk_is_given_nothing() {
    let pin = Secret(AtText::new("1234").expect("digits"));
    let wiring = Wiring::new()
        .modem(|modem| modem.sim = Sim::Pin("1234".to_owned()))
        .settings(|settings| settings.sim_pin = Some(pin))
        .typed_before(b"AT+CPIN=\"0000\"\rAT+CPIN=\"0000\"\rAT+CPIN=\"0000\"\r");
    let mut sim = fetching(wiring).start();
    sim.run_for(seconds(300));
    assert_eq!(sim.said("AT+CPIN="), 0);
    assert!(sim.said("AT+CPIN?") > 0 && sim.ready_at.is_empty());
}

/// Another program's settings for URCs, the form of payload and SMS are restored at the end.
#[test]
fn what_was_found_in_the_modem_is_put_back() {
    let found =
        "AT+QURCCFG=\"urcport\",\"usbmodem\";+QICFG=\"viewmode\",1;+QICFG=\"recvind\",1;+CNMI=2,2,0,1,0\r";
    let connection = Connection::new(Mode::Push).far_end(Behaviour::source(10_000, 1));
    let mut sim = Wiring::eg800q()
        .typed_before(found.as_bytes())
        .connect(connection)
        .fault(seconds(30), Fault::Shutdown)
        .start();
    sim.run_until("the client has ended", seconds(25), |sim| sim.outcome(0).is_some());
    sim.assert_complete(0);
    assert_eq!(sim.modem.urc_port(), "usbat");
    assert_eq!(sim.modem.message_indications(), [2, 1, 0, 2, 0], "messages are kept and not shown");
    sim.run_until("it has ended", seconds(60), |sim| sim.stopped.is_some());
    assert_eq!(sim.modem.urc_port(), "usbmodem");
    assert_eq!(sim.modem.message_indications(), [2, 2, 0, 1, 0]);
    for key in ["viewmode", "recvind"] {
        let put_back = format!("+QICFG=\"{key}\",1");
        let last = sim.host_said.iter().rev().find(|said| String::from_utf8_lossy(said).contains(key));
        assert!(last.is_some_and(|last| String::from_utf8_lossy(last).contains(&put_back)), "{key}");
    }
}

/// `--device auto`
fn auto(configuration: &mut settings::Settings) {
    configuration.ports[0] = settings::Port { has_candidates: true, identity: settings::Identity::Quectel };
}

/// Another program may need a port that is not the modem's AT port.
#[test]
fn a_candidate_that_does_not_answer_is_closed_before_the_next_one_is_opened() {
    let mut hand = ByHand::new(&[Mode::Push], 1, true, auto);
    hand.ports[0].is_mute = true;
    for asked in 1..=4 {
        hand.run_until("it is given up", seconds(120), |hand| hand.next_devices == asked);
        assert!(!hand.ports[0].is_open, "candidate {asked} is held");
        hand.run_until("the next one is opened", seconds(60), |hand| hand.ports[0].is_open);
    }
}

/// `--device auto` goes on to the next candidate after a silent port, and after a device of another maker.
#[test]
fn auto_goes_on_to_the_next_candidate_until_a_quectel_modem_answers() {
    for is_silent in [true, false] {
        let mut hand = ByHand::new(&[Mode::Push], 1, true, auto);
        hand.ports[0].is_mute = is_silent;
        for _ in 0..300 {
            let other = b"\r\nSIMCOM INCORPORATED\r\nA7670E\r\nRevision: A1\r\n\r\nOK\r\n".to_vec();
            hand.ports[0].instead.push_back(("ATI", other));
        }
        hand.run_for(seconds(180));
        assert!((3..200).contains(&hand.next_devices), "{} candidates in 3 minutes", hand.next_devices);
        let asks = |line: &String| line.starts_with("AT+QIACT") || line.starts_with("AT+CPIN");
        assert!(!hand.ports[0].commands.iter().any(asks), "another maker's modem is left alone");
        hand.ports[0].is_mute = false;
        hand.ports[0].instead.clear();
        hand.run_until_ready();
        let before = hand.next_devices;
        hand.run_for(seconds(600));
        assert_eq!(hand.next_devices, before, "the one that answers is kept");
    }
}

/// Such modules have no AT+QSSLOPEN, and were once taken for modules that refuse it.
#[test]
fn a_module_with_another_set_of_commands_is_named_as_such() {
    let whole = "\r\nQuectel_Ltd\r\nQuectel_BC660K-GL\r\nRevision: BC660KGLAAR01A05\r\n\r\nOK\r\n";
    let (short, more) = ("\r\nQuectel\r\n\r\nOK\r\n", "\r\nBC660K-GL\r\n\r\nBC660KGLAAR01A05\r\n\r\nOK\r\n");
    for (ati, model) in [(whole, ""), (short, more)] {
        let mut hand = ByHand::new(&[Mode::Push], 1, true, |_| {});
        hand.ports[0].refuses = vec!["AT+QSSL"];
        hand.ports[0].instead.push_back(("ATI", ati.into()));
        hand.ports[0].instead.push_back(("AT+CGMM", model.into()));
        hand.run_for(seconds(10));
        assert_eq!(hand.stopped, Some(Kind::SetUpFailed));
        let why = &hand.relay.failure().expect("it says why").message;
        assert!(why.starts_with("BC660K-GL BC660KGLAAR01A05 uses other AT commands"), "{why}");
    }
}

/// A BG770A refuses the settings of its lines, its URCs and its payload.
#[test]
fn a_module_that_refuses_every_setting_of_its_line_serves_all_the_same() {
    for mode in [Mode::Push, Mode::Buffer, Mode::Transparent] {
        let mut wiring = Wiring::new()
            .uart(115_200)
            .modem(|modem| modem.identity = Some("BG770A-GL BG770AGLAAR01A05_01.001".into()))
            .connect(Connection::new(mode).at(seconds(45)).far_end(Behaviour::source(5_000, 3)));
        for quirk in ["line_settings_refused", "urc_port_refused"] {
            assert!(wiring.modem.quirks.set(quirk, true));
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(120));
        assert_eq!(sim.outcome(0), Some(Outcome::Eof), "{mode:?}");
        sim.assert_complete(0);
    }
}
