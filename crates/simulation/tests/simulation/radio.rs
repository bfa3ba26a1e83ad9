//! Goal of this test: the modem is asked about its cell beside the traffic, and never in its way. There is one question a
//! minute at most, and none while the only port is a stream.

use std::time::Duration;

use qssl_core::Input;
use qssl_core::at::answers::Registration as Registered;
use qssl_core::modem::PortState;
use qssl_core::settings::{Mode, Radio};
use qssl_modem_emulator::network::simulated::{Behaviour, Ends};
use qssl_modem_emulator::{PortName, Registration};

use qssl_simulation::by_hand::ByHand;
use qssl_simulation::wiring::{Connection, Fault, Leaves, Port, Sends, Wiring, millis, seconds};
use qssl_simulation::{Outcome, Simulation};

const QUESTIONS: [&str; 6] = ["AT+QCSQ", "AT+QENG", "AT+COPS?", "AT+CEREG?\r", "AT+QTEMP", "AT+GSN"];

fn wiring() -> Wiring {
    Wiring::new().uart(115_200).settings(|modem| modem.radio = Radio::On)
}

/// The same with a tunnel whose client never comes.
fn idle() -> Wiring {
    wiring().connect(Connection::new(Mode::Push).at(seconds(100_000)))
}

/// How many questions have left. The set-up has asked for the registration as well, so that one may be left out.
fn asked(sim: &Simulation) -> usize {
    QUESTIONS.iter().filter(|question| !question.starts_with("AT+CEREG")).map(|it| sim.said(it)).sum()
}

/// Runs for so many minutes; returns the most questions that left within one.
fn most_in_a_minute(sim: &mut Simulation, minutes: u64) -> usize {
    let mut counts = vec![asked(sim)];
    for _ in 0..minutes * 6 {
        sim.run_for(seconds(10));
        counts.push(asked(sim));
    }
    counts.windows(7).map(|minute| minute[6] - minute[0]).max().expect("more than a minute")
}

#[test]
fn an_idle_modem_is_asked_one_question_a_minute_and_all_of_them_in_turn() {
    let mut sim = idle().modem(|modem| modem.cell.rsrp = Some(-101)).start();
    sim.run_until_ready();
    // The registration has a minute of its own.
    assert_eq!(most_in_a_minute(&mut sim, 30), 1);
    for question in ["AT+QCSQ", "AT+QENG", "AT+COPS?", "AT+QTEMP"] {
        let count = sim.said(question);
        assert!((5..=7).contains(&count), "{question} {count} times in half an hour");
    }
    assert_eq!((sim.said("AT+CSQ"), sim.said("AT+GSN")), (0, 0));
    let (facts, answered_at) = sim.relay.modem().network();
    assert!(answered_at.is_some_and(|at| sim.now - at <= seconds(60)));
    let cell = &facts.cell;
    assert_eq!((cell.technology.as_deref(), cell.band), (Some("LTE"), Some(3)));
    assert_eq!((cell.rsrp_dbm, cell.rsrq_db, cell.sinr_db), (Some(-101), Some(-11), Some(12.0)));
    assert_eq!((facts.signal_dbm, cell.temperature_celsius), (Some(-57), Some(34)));
    assert_eq!((facts.operator.as_deref(), &cell.identity, &cell.imei), (Some("Emulated"), &None, &None));
}

#[test]
fn without_the_option_nothing_is_asked() {
    let mut sim = idle().settings(|modem| modem.radio = Radio::Off).start();
    sim.run_for(seconds(1_800));
    assert_eq!((asked(&sim), sim.said("AT+CSQ")), (0, 0));
}

#[test]
fn nothing_is_asked_while_the_only_port_is_a_stream() {
    let connection = Connection::new(Mode::Transparent)
        .sends(Sends::Drip { bytes: 1, every: seconds(5), total: 300 })
        .far_end(Behaviour { ends: Ends::AfterReading(300), ..Behaviour::echo() });
    let mut sim = wiring().connect(connection).start();
    sim.run_until("the stream", seconds(60), |sim| sim.relay.modem().port_state(0) == PortState::Data);
    let before = asked(&sim);
    sim.run_for(seconds(1_200));
    assert_eq!(sim.relay.modem().port_state(0), PortState::Data, "it goes on");
    assert_eq!(asked(&sim), before);
    sim.run_to_the_end(seconds(600));
    sim.assert_complete(0);
    sim.run_for(seconds(70));
    assert!(asked(&sim) > before, "the port takes commands again");
}

#[test]
fn another_port_is_asked_beside_a_stream() {
    let connection = Connection::new(Mode::Transparent)
        .sends(Sends::Drip { bytes: 100, every: seconds(5), total: 30_000 })
        .far_end(Behaviour { ends: Ends::AfterReading(30_000), ..Behaviour::echo() });
    let mut sim = wiring()
        .ports([Port::usb(PortName::UsbAt), Port::usb(PortName::UsbModem)])
        .connect(connection)
        .start();
    sim.run_until("the stream", seconds(60), |sim| {
        (0..2).any(|port| sim.relay.modem().port_state(port) == PortState::Data)
    });
    let before = asked(&sim);
    assert_eq!(most_in_a_minute(&mut sim, 10), 1);
    assert!(asked(&sim) >= before + 7);
    sim.run_to_the_end(seconds(1_200));
    sim.assert_complete(0);
}

#[test]
fn no_question_leaves_while_bytes_wait() {
    for mode in [Mode::Push, Mode::Buffer] {
        let far = Behaviour { ends: Ends::AfterReading(2_000_000), ..Behaviour::sink() };
        let connection = Connection::new(mode).sends(Sends::Pattern(2_000_000)).far_end(far);
        let mut sim = wiring().connect(connection).start();
        sim.run_until("it carries", seconds(60), |sim| sim.said("AT+QSSLSEND") > 2);
        let before = asked(&sim);
        sim.run_for(seconds(150));
        assert_eq!((sim.outcome(0), asked(&sim)), (None, before), "{mode:?}: in the middle of the upload");
        sim.run_to_the_end(seconds(600));
        sim.assert_complete(0);
    }
}

#[test]
fn a_client_that_waits_for_the_session_comes_before_the_first_question() {
    for mode in [Mode::Push, Mode::Transparent] {
        let mut sim = wiring().connect(Connection::new(mode).far_end(Behaviour::source(1_000, 1))).start();
        sim.run_to_the_end(seconds(60));
        sim.run_for(seconds(1));
        let first = |beginning: &str| {
            sim.host_said.iter().position(|said| said.starts_with(beginning.as_bytes())).expect("it was said")
        };
        assert!(first("AT+QSSLOPEN=1,") < first("AT+QCSQ"), "{mode:?}");
    }
}

#[test]
fn questions_change_no_byte_of_what_is_pushed_meanwhile() {
    // The answers come between pieces of a download that never pauses for a minute.
    let far = Behaviour { ends: Ends::AfterReading(100_000), ..Behaviour::echo() };
    let connection = Connection::new(Mode::Push)
        .sends(Sends::Drip { bytes: 500, every: seconds(3), total: 100_000 })
        .leaves(Leaves::HalfCloses)
        .far_end(far);
    let mut sim = wiring().modem(|modem| modem.command_latency = millis(300)).connect(connection).start();
    sim.run_to_the_end(seconds(1_200));
    sim.assert_complete(0);
    sim.assert_nothing_swallowed();
    assert!(asked(&sim) >= 7, "{}", asked(&sim));
}

#[test]
fn a_question_that_is_refused_twice_is_given_up() {
    let mut sim = idle().modem(|modem| modem.cell.temperature = None).start();
    sim.run_for(seconds(3_600));
    assert_eq!(sim.said("AT+QTEMP"), 2);
    assert_eq!(sim.relay.modem().network().0.cell.temperature_celsius, None);
    assert!(sim.said("AT+QCSQ") > 10);
}

#[test]
fn a_search_for_a_network_is_watched() {
    let mut sim = idle().modem(|modem| modem.registration = Registration::Searching).start();
    sim.run_for(seconds(400));
    assert!(!sim.relay.modem().is_up());
    let (facts, answered_at) = sim.relay.modem().network();
    assert!(answered_at.is_some_and(|at| sim.now - at <= seconds(70)), "{answered_at:?}");
    assert_eq!((facts.cell.band, facts.cell.temperature_celsius), (None, Some(34)));
    assert_eq!(facts.registration, Some(Registered::Searching));
    sim.inject(Fault::Network(Registration::After(Duration::ZERO)));
    sim.run_until("it serves again", seconds(60), |sim| sim.relay.modem().is_up());
}

/// The module sends no URC for it, and no client comes.
#[test]
fn a_network_that_is_lost_without_a_word_is_noticed_by_what_is_asked_anyway() {
    let mut sim = idle().start();
    sim.run_until_ready();
    sim.run_for(seconds(400));
    sim.inject(Fault::LosePdpSilently);
    sim.inject(Fault::Network(Registration::Searching));
    let before = asked(&sim);
    let took = sim.run_until("it is noticed", seconds(200), |sim| sim.relay.state() == "waiting");
    let questions = asked(&sim) - before;
    assert!(questions <= 1 + took.as_secs() as usize / 60, "{questions} questions in {took:?}");
    sim.inject(Fault::Network(Registration::After(Duration::ZERO)));
    sim.run_until("it serves again", seconds(60), |sim| sim.relay.state() == "up");
}

#[test]
fn a_status_notices_it_with_the_questions_that_it_asks() {
    let mut sim = idle().settings(|modem| modem.radio = Radio::Off).start();
    sim.run_until_ready();
    sim.inject(Fault::LosePdpSilently);
    sim.inject(Fault::Network(Registration::Searching));
    sim.run_for(seconds(600));
    sim.relay.handle(Input::AskNetwork, sim.now);
    sim.run_until("it is noticed", seconds(5), |sim| sim.relay.state() == "waiting");
}

/// A module may be registered for another service, and what looks like an answer may be another program's text.
#[test]
fn a_session_that_the_modem_confirms_goes_on() {
    let mut hand = ByHand::new(&[Mode::Push], 1, true, |settings| settings.modem.radio = Radio::On);
    hand.run_until_ready();
    let client = hand.connect(0).expect("the core takes clients");
    hand.run_until("the socket opens", seconds(60), |hand| !hand.ports[0].opened.is_empty());
    hand.ports[0].instead.push_back(("AT+CEREG?", b"\r\n+CEREG: 0,0\r\n\r\nOK\r\n".to_vec()));
    let confirmed = |hand: &ByHand| {
        hand.ports[0].commands.iter().filter(|command| command.starts_with("AT+QIACT?")).count()
    };
    let before = confirmed(&hand);
    hand.run_for(seconds(300));
    assert!(hand.ports[0].instead.is_empty(), "it was asked");
    assert_eq!((confirmed(&hand), hand.relay.state()), (before + 1, "up"));
    assert_eq!(hand.clients[client].outcome, None);
}

/// Such a module once counted as not registered.
#[test]
fn in_a_3g_network_the_registration_is_asked_for_by_its_service() {
    let mut hand = ByHand::new(&[Mode::Push], 1, true, |settings| settings.modem.radio = Radio::On);
    for (command, answer) in [
        ("AT+CPIN?;", &b"\r\nERROR\r\n"[..]),
        ("AT+CEREG?", b"\r\n+CEREG: 0,0\r\n\r\nOK\r\n"),
        ("AT+CGREG?", b"\r\n+CGREG: 0,5\r\n\r\nOK\r\n"),
        ("AT+CGREG?", b"\r\n+CGREG: 0,5\r\n\r\nOK\r\n"),
    ] {
        hand.ports[0].instead.push_back((command, answer.to_vec()));
    }
    hand.run_until_ready();
    hand.run_for(seconds(300));
    assert!(hand.ports[0].instead.is_empty(), "it was asked");
    assert_eq!(hand.relay.modem().network().0.registration, Some(Registered::Roaming));
}

#[test]
fn facts_go_with_the_port() {
    let mut sim = idle().fault(seconds(400), Fault::LosePort(0, seconds(100))).start();
    sim.run_for(seconds(390));
    assert!(sim.relay.modem().network().1.is_some());
    sim.run_for(seconds(20));
    let (facts, answered_at) = sim.relay.modem().network();
    assert_eq!((facts, answered_at), (&Default::default(), None));
}

#[test]
fn a_status_asks_at_once_and_once_a_minute_with_and_without_the_option() {
    for radio in [Radio::Off, Radio::On] {
        let connection =
            Connection::new(Mode::Push).sends(Sends::Pattern(500_000)).far_end(Behaviour::sink());
        let mut sim = wiring().settings(|modem| modem.radio = radio).connect(connection).start();
        sim.run_until("it carries", seconds(60), |sim| sim.said("AT+QSSLSEND") > 2);
        for _ in 0..5 {
            sim.relay.handle(Input::AskNetwork, sim.now);
            sim.run_for(seconds(2));
        }
        let (facts, answered_at) = sim.relay.modem().network();
        assert!(answered_at.is_some(), "{radio:?}");
        assert_eq!((sim.said("AT+CSQ"), sim.said("AT+COPS?")), (1, 1), "{radio:?}");
        assert_eq!((facts.signal_dbm, facts.operator.as_deref()), (Some(-57), Some("Emulated")));
        assert_eq!(sim.outcome(0), None, "{radio:?}");
    }
    // Nobody waits for a modem that is not there.
    let mut sim = Wiring::new().start();
    sim.relay.handle(Input::AskNetwork, sim.now);
    let told = |action: &qssl_core::Action| {
        *action == qssl_core::Action::Modem(qssl_core::ModemAction::NetworkAnswered)
    };
    let mut actions = std::iter::from_fn(|| sim.relay.poll_action());
    assert!(actions.any(|action| told(&action)));
}

#[test]
fn a_module_that_sleeps_is_woken_for_it_and_no_connection_pays() {
    let far = Behaviour { ends: Ends::AfterReading(2_000), ..Behaviour::echo() };
    let connection = Connection::new(Mode::Push)
        .sends(Sends::Drip { bytes: 200, every: seconds(55), total: 2_000 })
        .leaves(Leaves::HalfCloses)
        .far_end(far);
    let mut sim = wiring().modem(|modem| modem.quirks.sleeps = true).connect(connection).start();
    sim.run_to_the_end(seconds(1_200));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
    sim.assert_complete(0);
    assert!(asked(&sim) >= 5);
}
