//! Goal of this test: no connection is ever opened without the TLS settings of its tunnel, whatever settings the modem
//! has lost meanwhile. Tunnels share an SSL context where they can, and there are never too many.

use std::time::Duration;

use qssl_core::Kind;
use qssl_core::at::{AtText, Command, IdSet};
use qssl_core::settings::{Authentication, ClientCertificate, Mode, Pem, Tls, Wait};
use qssl_modem_emulator::network::simulated::{Behaviour, Ends, Opening};
use qssl_modem_emulator::network::{OpenFailure, TlsParameters};
use qssl_modem_emulator::{Family, PortName};

use qssl_simulation::wiring::{Connection, Fault, Leaves, Port, Sends, Wiring, millis, seconds};
use qssl_simulation::{Outcome, Simulation};

/// Tunnels that trust one authority.
fn trusting() -> Wiring {
    let root = Pem { source: "root.pem".to_owned(), bytes: b"the root".to_vec() };
    let mut wiring = Wiring::eg800q();
    wiring.tls = Tls::new(Authentication::Authorities(vec![root]));
    wiring
}

fn fetches() -> Connection {
    Connection::new(Mode::Push).far_end(Behaviour::source(2_000, 5))
}

/// All clients end in order, and the authority was set at every open.
fn stays_authenticated(wiring: Wiring) {
    let count = wiring.connections.len();
    let mut sim = wiring.start();
    sim.run_to_the_end(seconds(300));
    for index in 0..count {
        assert_eq!(sim.outcome(index), Some(Outcome::Eof), "client {index}");
    }
    let opens = sim.settings_at_opens();
    assert!(opens.len() >= count, "{}", opens.len());
    for open in opens {
        assert_eq!((open.security_level, open.version), (1, 3));
        assert_eq!(open.authorities, [b"the root\n".to_vec()]);
        assert!(open.sni && open.check_host && open.check_time.is_some());
    }
}

#[test]
fn a_module_that_forgets_a_context_with_its_last_socket_is_told_again() {
    for mode in [Mode::Push, Mode::Buffer] {
        let mut wiring = trusting().modem(|modem| modem.quirks.context_forgotten_on_last_close = true);
        for turn in 0..4 {
            wiring = wiring.connect(Connection { mode, ..fetches().at(seconds(5 + 10 * turn)) });
        }
        // These two come while another is being closed.
        wiring = wiring.connect(fetches().at(seconds(60))).connect(fetches().at(seconds(61)));
        stays_authenticated(wiring);
    }
}

/// On a line that is busy with pushed data, reading each setting takes seconds. When another connection was closed, all
/// settings were once read again, and the client was reset at its time limit.
#[test]
fn closing_one_connection_does_not_begin_the_verification_of_another_anew() {
    for bytes in (1_000..2_400).step_by(200) {
        let pushed = |bytes| fetches().far_end(Behaviour::source(bytes, 5));
        let second = pushed(3_000).at(seconds(15)).limits(|limits| limits.connect_timeout = seconds(50));
        let first = pushed(bytes).at(seconds(10)).limits(|limits| limits.connect_timeout = seconds(50));
        let mut sim = trusting()
            .uart(9_600)
            .modem(|modem| {
                modem.quirks.joined_settings_lost = true;
                modem.push_limit_bytes = 1;
            })
            .connect(first)
            .connect(second)
            .start();
        sim.run_to_the_end(seconds(400));
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "the first is given {bytes} bytes");
    }
}

/// A BG770A has its files in a directory, lists them without their storage, and refuses much of what others take.
#[test]
fn a_module_with_its_files_in_a_directory_is_verified_all_the_same() {
    for mode in [Mode::Push, Mode::Buffer, Mode::Transparent] {
        let mut wiring = trusting().uart(115_200).modem(|modem| {
            modem.identity = Some("BG770A-GL BG770AGLAAR01A05_01.001".into());
        });
        let quirks = ["files_in_security", "line_settings_refused", "urc_port_refused", "close_without_time"];
        for quirk in quirks {
            assert!(wiring.modem.quirks.set(quirk, true));
        }
        for at in [60, 200, 280] {
            wiring = wiring.connect(Connection { mode, ..fetches().at(seconds(at)) });
        }
        stays_authenticated(wiring.fault(seconds(100), Fault::ForgeFiles).fault(seconds(110), Fault::Reboot));
    }
}

#[test]
fn a_stream_is_not_opened_by_what_a_module_has_forgotten_with_a_failed_open() {
    // The socket's number is free at once, so closing it is refused, and the context's settings are reset.
    let mut wiring = trusting().uart(115_200).modem(|modem| {
        modem.quirks.context_forgotten_on_last_close = true;
        modem.quirks.closing_free_socket_is_ok = false;
        modem.quirks.failed_open_keeps_socket = false;
    });
    for turn in 0..6 {
        let stream = Connection { mode: Mode::Transparent, ..fetches().at(millis(5_000 + turn)) };
        let refused = Opening::Fails(millis(300), OpenFailure::Refused);
        wiring = wiring.connect(if turn % 2 == 0 { stream.opening(refused) } else { stream });
    }
    // Every run checks the settings of each open.
    let mut sim = wiring.start();
    sim.run_to_the_end(seconds(200));
    for served in [1, 3, 5] {
        assert_eq!(sim.outcome(served), Some(Outcome::Eof), "client {served}");
    }
}

/// The next open once did not wait until the failed one's socket was closed.
#[test]
fn nor_is_one_that_waited_for_the_same_port_as_the_failed_open() {
    for held in [0, 1] {
        let mut wiring = trusting().ports([Port::usb(PortName::UsbAt), Port::usb(PortName::UsbModem)]);
        wiring.modem.quirks.context_forgotten_on_last_close = true;
        wiring.modem.quirks.failed_open_keeps_socket = false;
        let stream = |at| Connection { mode: Mode::Transparent, ..fetches().at(millis(at)) };
        // Both wait while no port takes commands.
        wiring = wiring.fault(millis(9_000), Fault::Stall(millis(2_000))).connect(stream(10_000));
        wiring = wiring.connect(stream(10_010)).connect(stream(10_020));
        wiring = wiring.fault(millis(9_500), Fault::FailOpen(564));
        wiring = wiring.fault(millis(9_500), Fault::HoldLine(held, millis(20_000)));
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(200));
        for index in 0..3 {
            assert_eq!(sim.outcome(index), Some(Outcome::Eof), "held {held}, client {index}");
        }
    }
}

/// The module reset the settings when an open failed, and a stream was opened before the host received that result. The
/// stream was once given to its client.
#[test]
fn nor_is_one_given_to_its_client_that_another_open_has_failed_beside() {
    let mut wiring = trusting().ports([Port::usb(PortName::UsbAt), Port::usb(PortName::UsbModem)]);
    wiring.modem.quirks.context_forgotten_on_last_close = true;
    wiring.modem.quirks.failed_open_keeps_socket = false;
    let stream = |at| Connection { mode: Mode::Transparent, ..fetches().at(millis(at)) };
    let refused = Opening::Fails(millis(300), OpenFailure::Refused);
    let slow = Opening::Opens(seconds(5));
    wiring = wiring.connect(fetches().at(millis(10_000)).opening(refused));
    wiring = wiring.connect(stream(10_500).opening(slow)).connect(stream(60_000));
    // The URC of the failure comes late.
    let mut sim = wiring.fault(millis(10_200), Fault::HoldLine(0, seconds(2))).start();
    sim.run_to_the_end(seconds(200));
    let weak = sim.settings_at_opens().iter().filter(|open| open.security_level == 0).count();
    assert_eq!(weak, 1, "the stream was opened without a check of its server");
    assert_eq!((sim.outcome(1), sim.clients[1].received.len()), (Some(Outcome::Reset), 0));
    assert_eq!(sim.outcome(2), Some(Outcome::Eof));
}

/// The module shows on each port that a closed socket is free. The last of these answers once made the settings
/// unconfirmed while the next stream was being opened, and that stream was refused.
#[test]
fn a_stream_goes_on_though_the_other_port_shows_only_now_that_the_last_one_is_closed() {
    for opening in (50..400).step_by(10) {
        let port = |name| Port { has_dcd: false, ..Port::usb(name) };
        let mut wiring = trusting().ports([port(PortName::UsbAt), port(PortName::UsbModem)]);
        wiring.modem.command_latency = millis(3);
        for turn in 0..5 {
            let stream = Connection { mode: Mode::Transparent, ..fetches().at(millis(10_000 + turn)) };
            wiring = wiring.connect(stream.opening(Opening::Opens(millis(opening))));
        }
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(200));
        for index in 0..5 {
            assert_eq!(sim.outcome(index), Some(Outcome::Eof), "opened within {opening} ms, client {index}");
        }
    }
}

/// Its result was once taken for that of another program's open.
#[test]
fn nor_by_what_was_forgotten_with_an_open_that_had_been_given_up_long_before() {
    for opens_at in (39_800..40_400).step_by(10) {
        let port = |name| Port { paced: true, ..Port::usb(name) };
        let mut wiring = trusting().ports([port(PortName::UsbAt), port(PortName::UsbModem)]);
        wiring.modem.quirks.context_forgotten_on_last_close = true;
        wiring.modem.quirks.failed_open_keeps_socket = false;
        wiring.modem.quirks.close_of_opening_refused = true;
        let given_up = fetches().at(seconds(10)).opening(Opening::Fails(seconds(30), OpenFailure::Refused));
        wiring = wiring.connect(given_up.limits(|limits| limits.connect_timeout = seconds(15)));
        let stream = Connection { mode: Mode::Transparent, ..fetches().at(millis(opens_at)) };
        wiring = wiring.connect(stream.limits(|limits| limits.connect_timeout = seconds(15)));
        // Every run checks the settings of each open.
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(300));
        assert!(sim.outcome(1).is_some(), "{opens_at}");
    }
}

/// Where channels share a line, the settings are read while the stream waits for its client. It was once reset, as on a
/// port of its own.
#[test]
fn beside_other_channels_a_stream_goes_on_though_another_connection_ends_while_it_is_opened() {
    for ends_at in (0..600).step_by(20) {
        let mut wiring = trusting().uart(115_200).ports([Port::uart()]).cmux();
        let first = Connection { mode: Mode::Transparent, ..fetches().at(seconds(10)) };
        let first = first.leaves(Leaves::After(millis(5_000 + ends_at)));
        let second = Connection::new(Mode::Transparent).at(seconds(15)).opening(Opening::Opens(millis(600)));
        let second = second.sends(Sends::Pattern(3_000)).far_end(Behaviour::echo());
        wiring =
            wiring.connect(first.far_end(Behaviour::sink())).connect(second.leaves(Leaves::WhenRead(3_000)));
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(200));
        assert_eq!(
            sim.clients[1].received.len(),
            3_000,
            "the first ends {ends_at} ms after the second began"
        );
    }
}

#[test]
fn beside_other_channels_nothing_is_sent_to_a_server_that_was_not_verified() {
    let mut unverified = 0;
    for opens_at in 10_330..10_370 {
        let mut wiring = trusting().uart(115_200).ports([Port::uart()]).cmux();
        wiring.modem.quirks.context_forgotten_on_last_close = true;
        wiring.modem.quirks.failed_open_keeps_socket = false;
        let stream = |at| Connection { mode: Mode::Transparent, ..fetches().at(millis(at)) };
        let refused = Opening::Fails(millis(300), OpenFailure::Refused);
        wiring = wiring.connect(fetches().at(millis(10_000)).opening(refused));
        wiring = wiring.connect(stream(opens_at).sends(Sends::Pattern(3_000))).connect(stream(60_000));
        let mut sim = wiring.start();
        sim.run_to_the_end(seconds(200));
        let weak = sim.settings_at_opens().iter().filter(|open| open.security_level == 0).count();
        if weak > 0 {
            assert_eq!((sim.outcome(1), sim.clients[1].received.len()), (Some(Outcome::Reset), 0));
            assert_eq!(sim.fars[1].memory().read.len(), 0, "{opens_at}");
        }
        assert_eq!(sim.outcome(2), Some(Outcome::Eof), "{opens_at}");
        unverified += weak;
    }
    assert!(unverified >= 3, "{unverified}: streams that were opened without a check of their server");
}

/// A command from before the loss of its port, or before a stall, is carried out late and can overwrite what another
/// port has stored meanwhile. The authority was once an empty file, or a file with the bytes of a resync.
#[test]
fn a_file_is_not_trusted_while_a_transfer_that_was_given_up_may_still_change_it() {
    let lost = Fault::LosePort(0, seconds(40));
    let stalls = Fault::Stall(seconds(19));
    for (fault, after) in [(&lost, 0), (&lost, 15), (&lost, 25), (&stalls, 0), (&stalls, 15), (&stalls, 25)] {
        let mut wiring = trusting().ports([Port::usb(PortName::UsbAt), Port::usb(PortName::UsbModem)]);
        wiring.modem.command_latency = millis(10);
        wiring.modem.prompt_latency = millis(10);
        for at in [1, 20, 30, 45] {
            wiring =
                wiring.connect(fetches().at(seconds(at)).limits(|limits| limits.queue_timeout = seconds(60)));
        }
        let mut sim = wiring.start();
        sim.run_until("a file is stored", seconds(30), |sim| sim.said("AT+QFUPL") > 0);
        sim.run_for(millis(after));
        sim.inject(fault.clone());
        // Every run checks the trusted authorities at each open.
        sim.run_to_the_end(seconds(200));
        for index in 0..4 {
            assert_eq!(sim.outcome(index), Some(Outcome::Eof), "{fault:?} {after} ms later: client {index}");
        }
    }
}

/// A text that looked like `RDY` came during an upload. The file was stored on the other port. Then the escapes that left
/// data mode on the first port became its content.
#[test]
fn a_transfer_may_still_change_a_file_after_a_reboot_that_was_none() {
    for after in (0..40).step_by(4) {
        let mut wiring = trusting().ports([Port::usb(PortName::UsbAt), Port::usb(PortName::UsbModem)]);
        wiring.modem.command_latency = millis(20);
        wiring.modem.prompt_latency = millis(20);
        for at in [1, 20, 45] {
            wiring = wiring.connect(fetches().at(seconds(at)));
        }
        let mut sim = wiring.start();
        sim.run_until("a file is stored", seconds(30), |sim| sim.said("AT+QFUPL") > 0);
        sim.run_for(millis(after));
        sim.inject(Fault::Noise(1, b"\r\nRDY\r\n".to_vec()));
        // What was trusted at each open is looked at in every run.
        sim.run_to_the_end(seconds(200));
        assert_eq!(sim.outcome(2), Some(Outcome::Eof), "{after} ms later");
    }
}

/// An authority was deleted, and the modem stalled while the file was stored again. The bytes of the resync became its
/// content, and the file with the right name and size was once not compared.
#[test]
fn a_file_that_was_stored_anew_and_given_up_is_compared() {
    for stall in 19..28 {
        let mut wiring = trusting().uart(115_200).fault(seconds(11), Fault::DeleteFiles);
        for at in [1, 15, 20, 60, 90] {
            let patient = fetches().at(seconds(at)).limits(|limits| limits.queue_timeout = seconds(60));
            wiring = wiring.connect(patient);
        }
        let mut sim = wiring.start();
        sim.run_until("the file is stored again", seconds(30), |sim| sim.said("AT+QFUPL") > 1);
        sim.inject(Fault::Stall(seconds(stall)));
        // Every run checks the trusted authorities at each open.
        sim.run_to_the_end(seconds(200));
        for index in [3, 4] {
            assert_eq!(sim.outcome(index), Some(Outcome::Eof), "a stall of {stall} s: client {index}");
        }
    }
}

/// Settings are read one by one, and slowly, and another program changes one at this time. The second client is served, and
/// no connection is opened by what the other program set.
fn notices_a_change(wiring: Wiring, at: Duration, name: &str) {
    let wiring = wiring.modem(|modem| {
        modem.quirks.joined_settings_lost = true;
        modem.command_latency = millis(20);
    });
    let meddles = b"AT+QSSLCFG=\"sslversion\",0,0\r".to_vec();
    let mut sim = wiring.fault(at, Fault::OtherProgram(meddles)).start();
    sim.run_to_the_end(seconds(200));
    assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{name}");
    assert!(sim.settings_at_opens().iter().all(|open| open.version == 3), "{name}");
}

/// Settings that were read for a client that left were once not read again for the next one.
#[test]
fn settings_that_are_changed_after_a_reading_that_nobody_waited_for_any_more_are_noticed() {
    for leaves in [30, 60, 90, 120, 200, 300] {
        let stream = Connection { mode: Mode::Transparent, ..fetches() };
        let hasty = stream.clone().at(seconds(20)).leaves(Leaves::ResetsAfter(millis(leaves)));
        let wiring = trusting().uart(115_200).connect(hasty).connect(stream.at(seconds(60)));
        notices_a_change(wiring, seconds(30), &format!("{leaves} ms"));
    }
}

/// A client left while settings were read for it, and what had been read counted for the next one.
#[test]
fn settings_that_are_changed_after_a_client_has_left_their_reading_are_noticed() {
    let meddles = b"AT+QSSLCFG=\"sslversion\",0,0\r".to_vec();
    for leaves in (20..600).step_by(40) {
        let mut wiring = trusting().ports([Port::usb(PortName::UsbAt), Port::usb(PortName::UsbModem)]);
        wiring = wiring.modem(|modem| {
            modem.quirks.joined_settings_lost = true;
            modem.quirks.sleeps = true;
            modem.command_latency = millis(20);
        });
        let stream = Connection { mode: Mode::Transparent, ..fetches() };
        let impatient = stream.clone().at(seconds(5)).leaves(Leaves::ResetsAfter(millis(leaves)));
        wiring = wiring.connect(impatient).connect(stream.at(seconds(15)));
        // The port that cannot become the stream is awake, and is not the one that the open waits for.
        wiring = wiring.fault(millis(14_900), Fault::Foreign(b"\r\n+CMTI: \"ME\",1\r\n".to_vec()));
        let mut sim = wiring.fault(seconds(10), Fault::OtherProgram(meddles.clone())).start();
        sim.run_to_the_end(seconds(200));
        assert_eq!(sim.outcome(1), Some(Outcome::Eof), "it left after {leaves} ms");
        let opens = sim.settings_at_opens();
        assert!(opens.iter().all(|open| open.version == 3), "it left after {leaves} ms");
    }
}

/// The line stood still while settings were read. What had been read before was not read again, and another program had
/// changed it meanwhile.
#[test]
fn settings_that_are_changed_while_a_reading_is_interrupted_are_noticed() {
    for held in (100..1_500).step_by(40) {
        let stream = Connection { mode: Mode::Transparent, ..fetches() };
        let wiring = trusting().connect(stream.clone().at(seconds(2))).connect(stream.at(seconds(60)));
        let wiring = wiring.fault(millis(held), Fault::HoldLine(0, seconds(11)));
        notices_a_change(wiring, seconds(6), &format!("held after {held} ms"));
    }
}

#[test]
fn a_question_about_settings_that_is_never_answered_counts_as_refused() {
    let mut wiring = trusting().connect(fetches().at(seconds(1)).limits(|limits| {
        limits.queue_timeout = seconds(200);
    }));
    wiring.modem.mute = vec!["+QSSLCFG=\"cacertex\"".to_owned()];
    let mut sim = wiring.start();
    sim.run_to_the_end(seconds(300));
    assert_eq!(sim.outcome(0), Some(Outcome::Eof));
}

#[test]
fn a_module_that_has_rebooted_is_told_again() {
    let wiring = trusting().connect(fetches().at(seconds(5))).connect(fetches().at(seconds(60)));
    stays_authenticated(wiring.fault(seconds(20), Fault::Reboot));
}

#[test]
fn settings_that_another_program_has_overwritten_are_noticed_before_the_next_open() {
    let wiring = trusting().connect(fetches().at(seconds(5))).connect(fetches().at(seconds(60)));
    let meddles = b"AT+QSSLCFG=\"seclevel\",0,0\r".to_vec();
    stays_authenticated(wiring.fault(seconds(30), Fault::OtherProgram(meddles)));
}

/// Tunnels that also have a client certificate.
fn known_by_name() -> Wiring {
    let pem = |name: &str| Pem { source: format!("{name}.pem"), bytes: format!("the {name}\n").into_bytes() };
    let mut wiring = trusting();
    wiring.tls.client =
        Some(ClientCertificate { certificate: pem("name"), key: pem("key"), key_password: None });
    wiring
}

/// Runs a wiring; each connection must be opened with the same settings and the same files.
fn stays_as_it_was(wiring: Wiring, name: &str) -> Simulation {
    let count = wiring.connections.len();
    let mut sim = wiring.start();
    sim.run_to_the_end(seconds(300));
    let opens = sim.settings_at_opens();
    assert_eq!(opens.len(), count, "{name}");
    assert_eq!(opens[0].authorities, [b"the root\n".to_vec()]);
    assert_eq!(opens[0].client_certificate.as_deref(), Some(&b"the name\n"[..]));
    assert_eq!(opens[0].client_key.as_deref(), Some(&b"the key\n"[..]));
    for (index, open) in opens.iter().enumerate() {
        let first = TlsParameters { check_time: open.check_time, ..opens[0].clone() };
        assert_eq!(*open, first, "{name}, client {index}");
        assert!(open.check_time.is_some(), "{name}");
        assert_eq!(sim.outcome(index), Some(Outcome::Eof), "{name}, client {index}");
    }
    sim
}

#[test]
fn each_setting_that_trust_depends_on_is_read_again_before_the_next_open() {
    let of_both = [
        "\"seclevel\",0,0",
        "\"sslversion\",0,0",
        "\"cacert\",0,\"UFS:theirs.pem\"",
        "\"clientcert\",0,\"UFS:theirs.pem\"",
        "\"clientkey\",0,\"UFS:theirs.pem\"",
        "\"ignorelocaltime\",0,1",
    ];
    let of_the_newer = [
        "\"cacertex\",2,\"UFS:theirs.pem\"",
        "\"ignoremulticertchainverify\",0,1",
        "\"ignoreinvalidcertsign\",0,1",
        "\"ignorecertitem\",0,1048575",
        "\"sni\",0,0",
    ];
    let of_a_bg96 = ["\"checkhost\",0,0", "\"ignorecertchain\",0,1"];
    let newer = of_the_newer.map(|setting| (Family::Eg800q, false, setting));
    let families = [Family::Eg800q, Family::Ec20];
    let both = families.into_iter().flat_map(|family| of_both.map(|setting| (family, false, setting)));
    let bg96 = of_a_bg96.map(|setting| (Family::Eg800q, true, setting));
    for (family, host_check_set, setting) in both.chain(newer).chain(bg96) {
        let mut wiring = known_by_name().connect(fetches().at(seconds(5))).connect(fetches().at(seconds(60)));
        wiring.modem.family = family;
        wiring.modem.quirks.host_check_set = host_check_set;
        let meddles = format!("AT+QSSLCFG={setting}\r").into_bytes();
        let sim = stays_as_it_was(wiring.fault(seconds(30), Fault::OtherProgram(meddles)), setting);
        let warned = sim.logged().iter().any(|line| line.contains("another program has changed it"));
        assert!(warned, "{family:?}, {setting}: {:?}", sim.logged());
        let checks = sim.settings_at_opens().iter().all(|open| open.check_host);
        assert_eq!(checks, family == Family::Eg800q, "{family:?}, {setting}");
    }
}

#[test]
fn an_authority_that_was_spoilt_on_its_way_is_never_trusted_here_or_in_a_later_run() {
    let spoilt = || Fault::SpoilUploads(1);
    stays_authenticated(trusting().connect(fetches()).fault(seconds(0), spoilt()));
    // A run that does not wait leaves no file that the next run would take for the right one.
    let wiring = trusting().settings(|settings| settings.wait = Wait::Not).connect(fetches());
    let mut sim = wiring.fault(seconds(0), spoilt()).start();
    sim.run_until("it gives up", seconds(60), |sim| sim.stopped.is_some());
    assert_eq!(sim.stopped, Some(Kind::SetUpFailed));
    assert_eq!((sim.said("AT+QFUPL"), sim.said("AT+QFDEL")), (1, 1));
    assert_eq!(sim.settings_at_opens(), []);
}

/// Runs until the core gives up because of the TLS settings, with no connection opened. Returns its message.
fn refuses(wiring: Wiring) -> String {
    let mut sim = wiring.settings(|settings| settings.wait = Wait::Not).start();
    sim.run_until("it gives up", seconds(60), |sim| sim.stopped.is_some());
    assert_eq!(sim.stopped, Some(Kind::SetUpFailed));
    assert_eq!(sim.settings_at_opens(), []);
    sim.relay.failure().expect("it says why").message.clone()
}

#[test]
fn a_setting_that_is_taken_and_not_stored_is_an_error_that_names_it() {
    let loses =
        |count| trusting().connect(fetches().at(seconds(40))).fault(seconds(0), Fault::LoseSettings(count));
    assert!(refuses(loses(u32::MAX)).contains("\"sslversion\""));
    // Where the tunnel does not give up, clients wait, and are served when the fault is over.
    stays_authenticated(loses(u32::MAX).fault(seconds(20), Fault::Calm));
    for count in 1..6 {
        stays_authenticated(loses(count));
    }
}

#[test]
fn an_ignored_error_that_cannot_be_reset_is_an_error_that_names_it() {
    let leftover = || {
        let wiring = trusting().connect(fetches());
        wiring.typed_before(b"AT+QSSLCFG=\"ignorecertitem\",0,1048575\r")
    };
    stays_authenticated(leftover());
    let kept =
        refuses(leftover().typed_before(b"AT\r").modem(|modem| modem.quirks.ignored_items_stay = true));
    assert!(kept.contains("1048575 for the TLS setting \"ignorecertitem\""), "{kept}");
}

#[test]
fn while_ignored_errors_are_not_reset_no_client_is_served_however_long_it_waits() {
    for error in [false, true] {
        let wiring = trusting().connect(fetches()).typed_before(b"AT+QSSLCFG=\"ignorecertitem\",0,1048575\r");
        // Without an ERROR, settings after the line above are answered with OK but not stored.
        let wiring = match error {
            true => wiring.typed_before(b"AT\r").modem(|modem| modem.quirks.ignored_items_stay = true),
            false => wiring.fault(seconds(0), Fault::LoseSettings(u32::MAX)),
        };
        let mut sim = wiring.start();
        sim.run_for(seconds(300));
        assert_eq!((sim.stopped, sim.outcome(0)), (None, Some(Outcome::Reset)), "error: {error}");
        assert!(sim.clients[0].received.is_empty(), "error: {error}");
        assert_eq!(sim.settings_at_opens(), [], "error: {error}");
    }
}

#[test]
fn modules_that_list_take_and_tell_settings_in_another_way_are_verified_all_the_same() {
    type Quirk = fn(&mut qssl_modem_emulator::Quirks);
    let quirks: [Quirk; 4] = [
        |quirks| quirks.key_list_short = true,
        |quirks| quirks.joined_settings_lost = true,
        |quirks| quirks.setting_values_quoted = true,
        |quirks| quirks.file_download_refused = true,
    ];
    for quirk in quirks {
        let wiring = trusting().modem(|modem| quirk(&mut modem.quirks));
        let wiring = wiring.typed_before(b"AT+QSSLCFG=\"ignorecertitem\",0,1048575\r");
        let wiring = wiring.typed_before(b"AT+QSSLCFG=\"cacertex\",2,\"UFS:theirs.pem\"\r");
        stays_authenticated(wiring.connect(fetches()).connect(fetches().at(seconds(30))));
    }
}

#[test]
fn no_client_gets_a_connection_that_was_opened_while_the_settings_were_changed() {
    for mode in [Mode::Push, Mode::Buffer] {
        for step in 0..60 {
            let connection = || Connection { mode, ..fetches() };
            let meddles = Fault::OtherProgram(b"AT+QSSLCFG=\"seclevel\",0,0\r".to_vec());
            let wiring = trusting().modem(|modem| modem.command_latency = millis(20));
            let wiring = wiring.connect(connection()).connect(connection().at(seconds(5)));
            let wiring = wiring.connect(connection().at(seconds(20)));
            let mut sim = wiring.fault(seconds(5) + millis(10 * step), meddles).start();
            // Every step checks that clients get only verified connections.
            sim.run_to_the_end(seconds(60));
            let outcome = |client| sim.outcome(client);
            // The middle client may come at that moment, so it may also be reset.
            assert!(outcome(1).is_some(), "{mode:?}, step {step}");
            if outcome(1) == Some(Outcome::Reset) {
                assert!(
                    sim.clients[1].received.is_empty(),
                    "{mode:?}, step {step}: bytes of an unverified server"
                );
            }
            for client in [0, 2] {
                assert_eq!(outcome(client), Some(Outcome::Eof), "{mode:?}, step {step}, client {client}");
            }
        }
    }
}

#[test]
fn a_file_of_the_right_name_size_and_checksum_is_compared_byte_for_byte() {
    let wiring = trusting().connect(fetches()).connect(fetches().at(seconds(60)));
    let wiring = wiring.fault(seconds(30), Fault::ForgeFiles).fault(seconds(30), Fault::Reboot);
    stays_authenticated(wiring.clone());
    // The same holds for client certificate and key. Each file is handled once per session.
    let mut all = known_by_name();
    for at in [5, 20, 60, 80] {
        all = all.connect(fetches().at(seconds(at)));
    }
    let mut sim = stays_as_it_was(
        all.fault(seconds(30), Fault::ForgeFiles).fault(seconds(30), Fault::Reboot),
        "forged files",
    );
    assert_eq!([sim.said("AT+QFDWL="), sim.said("AT+QFDEL="), sim.said("AT+QFUPL=")], [3, 3, 6]);
    // A file that cannot be read back is stored anew once per session.
    sim = wiring.modem(|modem| modem.quirks.file_download_refused = true).start();
    sim.run_to_the_end(seconds(300));
    assert_eq!((sim.said("AT+QFDEL"), sim.said("AT+QFUPL")), (1, 2));
}

/// Files are compared once for each data session, and again when a command from outside may have changed them: through
/// the daemon's control socket, an authority was once replaced unnoticed until the next session.
#[test]
fn a_file_that_is_changed_by_a_command_from_outside_is_compared_before_the_next_open() {
    for mode in [Mode::Push, Mode::Buffer, Mode::Transparent] {
        for is_removed in [false, true] {
            let wiring = trusting().connect(Connection { mode, ..fetches().at(seconds(5)) });
            let mut sim = wiring.connect(Connection { mode, ..fetches().at(seconds(30)) }).start();
            sim.run_until("the first is served", seconds(25), |sim| sim.outcome(0).is_some());
            let (name, now) = (AtText::new("another.pem").expect("a name"), sim.now);
            let command = match is_removed {
                true => Command::line("AT+QFDEL=\"*\""),
                false => Command::Upload { name, content: b"another".to_vec() },
            };
            if !is_removed {
                // As if that were the name of ours.
                sim.modem.forge_files();
            }
            sim.relay.command(command, now).expect("none waits");
            sim.run_to_the_end(seconds(200));
            assert_eq!(sim.outcome(1), Some(Outcome::Eof), "{mode:?}, removed: {is_removed}");
            let opens = sim.settings_at_opens();
            assert!(opens.iter().all(|open| open.authorities == [b"the root\n".to_vec()]), "{mode:?}");
        }
    }
}

#[test]
fn an_authority_that_vanishes_is_restored_within_two_failed_opens() {
    for mode in [Mode::Push, Mode::Buffer, Mode::Transparent] {
        let wiring = (0..4).fold(trusting(), |wiring, turn| {
            wiring.connect(Connection { mode, ..fetches().at(seconds(5 + 20 * turn)) })
        });
        let mut sim = wiring.fault(seconds(15), Fault::DeleteFiles).start();
        sim.run_to_the_end(seconds(200));
        assert_eq!(sim.outcome(3), Some(Outcome::Eof), "{mode:?}");
        let failed = (0..4).filter(|index| sim.outcome(*index) != Some(Outcome::Eof)).count();
        assert!(failed <= 2, "{mode:?}: {failed}");
    }
}

/// After a failed open the files are compared again. While that lasted, the daemon once counted as not up, although a
/// connection carried bytes.
#[test]
fn a_daemon_stays_up_while_its_files_are_compared_after_a_failed_open() {
    let carries = Connection::new(Mode::Push)
        .sends(Sends::Drip { bytes: 100, every: seconds(5), total: 3_000 })
        .far_end(Behaviour { ends: Ends::AfterReading(3_000), ..Behaviour::echo() });
    let fails = fetches().at(seconds(60)).opening(Opening::Fails(millis(500), OpenFailure::Refused));
    let slow = trusting().modem(|modem| modem.command_latency = millis(100));
    let mut sim = slow.connect(carries).connect(fails).start();
    sim.run_until("the open fails", seconds(90), |sim| sim.outcome(1).is_some());
    sim.run_until("the files are compared", seconds(10), |sim| !sim.relay.modem().is_up());
    assert_eq!(sim.relay.state(), "up");
    sim.run_to_the_end(seconds(300));
    sim.assert_complete(0);
}

#[test]
fn an_authority_of_another_program_is_taken_away_or_refused() {
    let foreign = || {
        let wiring = trusting().connect(fetches());
        wiring.typed_before(b"AT+QSSLCFG=\"cacertex\",3,\"UFS:theirs.pem\"\r")
    };
    stays_authenticated(foreign());
    let shared = foreign().settings(|settings| settings.ssl_contexts = IdSet::first(2));
    let why = refuses(shared);
    assert!(why.contains("theirs.pem") && why.contains("cacertex"), "{why}");
}

/// This many tunnels with different settings.
fn different(count: u64) -> Wiring {
    let tunnel = |index| fetches().limits(|limits| limits.connect_timeout = seconds(20 + index));
    (0..count).fold(trusting(), |wiring, index| wiring.connect(tunnel(index)))
}

#[test]
fn tunnels_share_a_context_where_they_agree() {
    let mut sim = different(2).connect(fetches().limits(|it| it.connect_timeout = seconds(20))).start();
    sim.run_to_the_end(seconds(60));
    let of = |context: u8| sim.said(&format!("AT+QSSLCFG=\"sslversion\",{context},"));
    assert_eq!([of(0), of(1), of(2)], [1, 1, 0]);
}

#[test]
fn there_are_six_contexts_and_one_too_many_is_an_error_at_the_start() {
    stays_authenticated(different(6));
    for wait in [Wait::Not, Wait::Forever] {
        let mut sim = different(7).settings(|settings| settings.wait = wait).start();
        sim.run_until("it gives up", seconds(60), |sim| sim.stopped.is_some());
        assert_eq!(sim.stopped, Some(Kind::Usage));
        assert_eq!(sim.said("AT+QSSLCFG=\"s"), 0, "nothing was written");
    }
}
