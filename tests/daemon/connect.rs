//! Goal of this test: `connect` uses the tunnel of a running daemon, and distinguishes an end from a cut.

use qssl_modem_emulator::test_server::Behaviour;

use crate::daemon::Daemon;
use qssl_test_common::harness::{Finished, Site, run_with_input, tunnel_command};

fn connect(daemon: &Daemon, arguments: &[&str], input: &[u8]) -> Finished {
    let mut command = tunnel_command(&[&["connect"], arguments].concat());
    run_with_input(command.env("RUNTIME_DIRECTORY", daemon.path("")), input)
}

#[test]
fn bytes_go_through_the_daemons_tunnel() {
    let response = b"an answer".to_vec();
    let behaviour = Behaviour::Respond { request_bytes: 5, delay: std::time::Duration::ZERO, response };
    let site = Site::new(behaviour, "");
    let daemon = Daemon::start(&site);
    let answer = connect(&daemon, &["server.test:443"], b"hello").expect_success();
    assert_eq!(answer.text(), "an answer");
    assert!(answer.stderr.contains("through the tunnel web"), "{}", answer.stderr);
}

#[test]
fn a_stream_that_is_cut_is_no_success() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    site.modem.embedded.with_modem(|modem, _, _| modem.fail_next_open(566)).expect("the modem runs");
    let answer = connect(&daemon, &["server.test:443"], b"hello");
    assert_eq!(answer.status, 17, "{}", answer.stderr);
}

#[test]
fn other_servers_and_other_settings_are_not_the_daemons() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let device = site.modem.device(0);
    for arguments in
        [&["other.test:443", "-d", &device][..], &["server.test:443", "--insecure", "-d", &device]]
    {
        let answer = connect(&daemon, arguments, b"");
        assert_eq!(answer.status, 6, "the port is locked by the daemon: {}", answer.stderr);
    }
}

#[test]
fn a_daemon_that_is_named_is_the_one() {
    let response = b"an answer".to_vec();
    let behaviour = Behaviour::Respond { request_bytes: 5, delay: std::time::Duration::ZERO, response };
    let site = Site::new(behaviour, "");
    let daemon = Daemon::start(&site);
    let control = daemon.path("control");
    let named = |arguments: &[&str]| {
        let mut command = tunnel_command(&["connect"]);
        run_with_input(command.args(arguments).arg("--control").arg(&control), b"hello")
    };
    assert_eq!(named(&["server.test:443"]).expect_success().text(), "an answer");
    for (arguments, status, says) in [
        (&["other.test:443"][..], 1, "has no tunnel to other.test:443 that listens on TCP"),
        (&["server.test:443", "--insecure"], 2, "the daemon's tunnel web has settings of its own"),
    ] {
        let answer = named(arguments);
        assert_eq!(answer.status, status, "{}", answer.stderr);
        assert!(answer.stderr.contains(says), "{}", answer.stderr);
    }
    let mut alone = tunnel_command(&["connect", "server.test:443", "--control", "none", "--insecure", "-d"]);
    let alone = run_with_input(alone.arg(site.modem.device(0)), b"hello");
    assert_eq!(alone.status, 6, "the daemon is not asked, and has the port: {}", alone.stderr);
}
