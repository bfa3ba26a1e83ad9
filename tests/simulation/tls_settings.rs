//! Goal of this test: no connection is ever opened without the TLS settings of its tunnel, whatever the modem has
//! forgotten meanwhile; tunnels share an SSL context where they can, and there are never too many.

use qssl_modem_emulator::network::simulated::Behaviour;
use qssl_tunnel::config::{Authentication, Mode, Pem, Tls, Wait};
use qssl_tunnel::exit_status::ExitStatus;

use crate::harness::Outcome;
use crate::harness::wiring::{Connection, Fault, Wiring, seconds};

/// Tunnels that trust one authority.
fn trusting() -> Wiring {
    let root = Pem { source: "root.pem".to_owned(), bytes: b"the root".to_vec() };
    let mut wiring = Wiring::new();
    wiring.tls = Tls::new(Authentication::Authorities(vec![root]));
    wiring
}

fn fetches() -> Connection {
    Connection::new(Mode::Push).far_end(Behaviour::source(2_000, 5))
}

/// Everything is fetched, and every open found the authority in place.
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
        // Others come while one is being closed.
        wiring = wiring.connect(fetches().at(seconds(60))).connect(fetches().at(seconds(61)));
        stays_authenticated(wiring);
    }
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

#[test]
fn an_authority_that_was_spoilt_on_its_way_is_never_trusted_here_or_in_a_later_run() {
    let spoilt = || Fault::SpoilUploads(1);
    stays_authenticated(trusting().connect(fetches()).fault(seconds(0), spoilt()));
    // Whoever does not wait leaves nothing behind that the next run would take for the right file.
    let wiring = trusting().settings(|settings| settings.wait = Wait::Not).connect(fetches());
    let mut sim = wiring.fault(seconds(0), spoilt()).start();
    sim.run_until("it gives up", seconds(60), |sim| sim.stopped.is_some());
    assert_eq!(sim.stopped, Some(ExitStatus::SetUpFailed));
    assert_eq!((sim.said("AT+QFUPL"), sim.said("AT+QFDEL")), (1, 1));
    assert_eq!(sim.settings_at_opens(), []);
}

/// So many tunnels that differ.
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
        assert_eq!(sim.stopped, Some(ExitStatus::Usage));
        assert_eq!(sim.said("AT+QSSLCFG=\"s"), 0, "nothing was written");
    }
}
