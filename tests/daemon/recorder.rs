//! Goal of this test: the flight recorder is available on request and written after a failure, without payload and
//! secrets, and statistics are logged on SIGUSR1.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use crate::daemon::{Daemon, tunnel};
use qssl_test_common::harness::{Site, connect};

fn talk(daemon: &Daemon, text: &[u8]) {
    let mut client = connect(daemon.address());
    client.write_all(text).expect("the tunnel reads");
    client.read_exact(&mut vec![0; text.len()]).expect("the server echoes");
}

#[track_caller]
fn is_private(file: &Path) {
    assert_eq!(fs::metadata(file).expect("it is there").permissions().mode() & 0o777, 0o600, "{file:?}");
}

#[test]
fn a_recording_is_a_transcript_without_payload() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    talk(&daemon, b"a word that must not be recorded");
    let file = daemon.path("recording");
    daemon.tool(&["status", "--dump-recorder", file.to_str().expect("text")]).expect_success();
    let text = fs::read_to_string(&file).expect("it was written");
    is_private(&file);
    assert!(text.starts_with("# qssl-tunnel "), "{text}");
    for line in ["> ATE0", "> AT+QSSLSEND=", "< >", "> [32]", "< SEND OK", "< [32]"] {
        assert!(text.lines().any(|shown| shown.starts_with(line)), "{line} is missing:\n{text}");
    }
    assert!(!text.contains("recorded"), "{text}");
    let is_notation = |line: &str| ["> ", "< ", "@ +", "# "].iter().any(|sign| line.starts_with(sign));
    assert!(text.lines().all(is_notation), "{text}");

    daemon.tool(&["status", "--record-payload", "true"]).expect_success();
    talk(&daemon, b"a word that may be recorded");
    daemon.tool(&["status", "--dump-recorder", file.to_str().expect("text")]).expect_success();
    let text = fs::read_to_string(&file).expect("it was written");
    assert!(text.contains("> [27] a word that may be recorded"), "{text}");
}

#[test]
fn statistics_are_logged_on_request() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    talk(&daemon, b"hello");
    daemon.signal(Signal::USR1);
    let said = daemon.wait_for("flight recorder of");
    let name = format!("qssl-tunnel-{}-flight-recorder.txt", daemon.id());
    assert!(said.contains(&name), "{said}");
    assert!(said.contains(" info "), "it was asked for: {said}");
    let log = daemon.log();
    for part in ["session    up for", "opens      1 done, 0 failed", "TUNNEL"] {
        assert!(log.contains(part), "{part} is missing:\n{log}");
    }
    is_private(&daemon.path(&name));
}

#[test]
fn a_failure_of_the_modem_is_recorded_in_the_state_directory() {
    let site = Site::new(Behaviour::Echo, "");
    let state = qssl_test_common::harness::temporary_directory();
    let line = format!("state-directory = \"{}\"", state.path().display());
    let daemon = Daemon::with(&site, &tunnel("web", ""), &line, |_| ());
    talk(&daemon, b"hello");
    site.modem.embedded.with_modem(|modem, _, now| modem.reboot(now)).expect("the modem runs");
    let said = daemon.wait_for("flight recorder of");
    assert!(said.contains(" warn "), "{said}");
    let text = fs::read_to_string(state.path().join("flight-recorder.txt")).expect("it was written");
    assert!(text.contains("after a failure of the modem") && text.contains("> AT+QSSLOPEN="), "{text}");
}
