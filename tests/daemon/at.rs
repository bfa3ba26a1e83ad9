//! Goal of this test: `at` sends one command between those of the tunnel and shows the answer. A command that would
//! break the tunnel is refused.

use std::io::{Read as _, Write as _};
use std::thread;

use qssl_core::at::CommandOutcome;
use qssl_modem_emulator::test_server::Behaviour;
use qssl_tunnel::daemon::control::{ControlError, Reply, Request};

use crate::daemon::Daemon;
use qssl_test_common::harness::{Site, connect, run, tunnel_command};

fn at(command: &str) -> Request {
    Request::At { command: command.into(), force: false, timeout_seconds: None }
}

#[test]
fn the_answer_and_the_exit_status_are_the_modems() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let answer = daemon.tool(&["at", "AT+CSQ"]).expect_success();
    assert!(answer.text().starts_with("+CSQ: ") && answer.text().ends_with("\nOK\n"), "{:?}", answer.text());
    let refused = daemon.tool(&["at", "AT+NONSENSE?"]);
    assert_eq!(refused.status, 1, "{}", refused.stderr);
    assert!(refused.text().contains("ERROR"), "{:?}", refused.text());
}

#[test]
fn without_a_daemon_the_port_is_opened() {
    let site = Site::new(Behaviour::Echo, "");
    let answer = run(&mut tunnel_command(&["at", "ATI", "-d", &site.modem.device(0)])).expect_success();
    assert!(answer.text().contains("Quectel") && answer.text().ends_with("OK\n"), "{:?}", answer.text());
}

/// Commands were refused only by a running daemon: without one, the same line reached the modem.
#[test]
fn without_a_daemon_too_only_what_asks_is_said_unless_forced() {
    let site = Site::new(Behaviour::Echo, "--sim-pin 1234");
    let at = |arguments: &[&str]| {
        let mut command = tunnel_command(&["at", "-d", &site.modem.device(0)]);
        run(command.args(arguments))
    };
    for command in
        ["AT+CPIN=\"0000\"", "AT+CFUN=1,1", "AT+CSQ;+CPIN=\"0000\"", "ATZ", "AT+QSSLCFG=\"seclevel\",0,0"]
    {
        let refused = at(&[command]);
        assert_eq!(refused.status, 1, "{command}: {}", refused.stderr);
        assert!(
            refused.stderr.contains("--force") && refused.text().is_empty(),
            "{command}: {}",
            refused.stderr
        );
        assert!(!refused.stderr.contains("0000"), "a PIN is not shown: {}", refused.stderr);
    }
    let attempts = |left: u8| format!("+QPINC: \"SC\",{left},10\nOK\n");
    assert_eq!(at(&["AT+QPINC=\"SC\""]).expect_success().text(), attempts(3), "no PIN has reached the SIM");
    assert_eq!(at(&["--force", "AT+CPIN=\"0000\""]).status, 1, "the SIM refuses it");
    assert_eq!(at(&["AT+QPINC=\"SC\""]).expect_success().text(), attempts(2));
    let boots = site.modem.embedded.with_modem(|modem, _, _| modem.counters().boots);
    assert_eq!(boots, Some(1));
}

#[test]
fn what_would_break_the_tunnel_is_refused_unless_forced() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    for command in [
        "AT+CFUN=0",
        "AT+QSSLCLOSE=0",
        "AT+QSSLSEND=10",
        "ATZ",
        "AT+QIDEACT=1",
        "ATE1",
        "AT+QPING=1,\"a;+CFUN=0",
    ] {
        match daemon.ask(&at(command)) {
            Err(ControlError::Refused { id, message }) => {
                assert_eq!(id, "refused");
                assert!(message.contains(command), "{message}");
            }
            other => panic!("{command}: {other:?}"),
        }
    }
    for command in ["AT+CSQ\r\nAT+CFUN=0", "", "CSQ", "AT\u{1a}"] {
        match daemon.ask(&at(command)) {
            Err(ControlError::Refused { id, .. }) => assert_eq!(id, "bad-request", "{command:?}"),
            other => panic!("{command:?}: {other:?}"),
        }
    }
    let forced = Request::At { command: "AT+QSSLCLOSE=11".into(), force: true, timeout_seconds: None };
    assert!(matches!(daemon.ask(&forced), Ok(Reply::Answer { .. })));
    assert!(!daemon.log().contains("> AT+CFUN"), "{}", daemon.log());
}

#[test]
fn answers_are_not_mixed_up_under_load() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let address = daemon.address();
    let client = thread::spawn(move || {
        let mut client = connect(address);
        let mut echo = vec![0; 20_000];
        for round in 0..20_u8 {
            client.write_all(&vec![round; 20_000]).expect("the tunnel reads");
            client.read_exact(&mut echo).expect("the server echoes");
            assert!(echo.iter().all(|byte| *byte == round), "somebody else's bytes");
        }
    });
    thread::scope(|scope| {
        for (command, begins) in [("AT+CSQ", "+CSQ: "), ("AT+COPS?", "+COPS: "), ("AT+CCLK?", "+CCLK: ")] {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut control = daemon.control();
                for _ in 0..30 {
                    match control.ask(&at(command), qssl_test_common::harness::PATIENCE) {
                        Ok(Reply::Answer { outcome: CommandOutcome::Ok, lines, .. }) => {
                            assert!(lines.len() == 1 && lines[0].starts_with(begins), "{command}: {lines:?}");
                        }
                        other => panic!("{command}: {other:?}\n{}", daemon.log()),
                    }
                }
            });
        }
    });
    client.join().expect("its bytes came back");
}

#[test]
fn files_go_to_the_modem_and_back() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let content: Vec<u8> = (0..3000_u32).map(|number| (number % 251) as u8).collect();
    let upload =
        Request::Upload { name: "a.bin".into(), content: qssl_tunnel::daemon::control::to_hex(&content) };
    match daemon.ask(&upload) {
        Ok(Reply::Answer { outcome: CommandOutcome::Ok, lines, .. }) => {
            assert!(lines[0].starts_with("+QFUPL: 3000,"), "{lines:?}");
        }
        other => panic!("{other:?}\n{}", daemon.log()),
    }
    match daemon.ask(&Request::Download { name: "a.bin".into(), size: 3000 }) {
        Ok(Reply::Answer { outcome: CommandOutcome::Ok, content: hex, .. }) => {
            assert_eq!(qssl_tunnel::daemon::control::from_hex(&hex), Some(content));
        }
        other => panic!("{other:?}\n{}", daemon.log()),
    }
}

/// Commands that end at once leave the line as others expect it: with one channel.
#[test]
fn commands_of_a_moment_begin_no_channels() {
    let site = Site::new(Behaviour::Echo, "--tcp 127.0.0.1:0 --baud 115200");
    let device = site.modem.device(0);
    for tool in [&["at", "AT+CSQ"][..], &["cert", "list"], &["doctor"], &["status"]] {
        let mut command = tunnel_command(tool);
        run(command.args(["-d", &device, "--cmux", "on"])).expect_success();
        let mut plain = tunnel_command(&["at", "AT+CSQ", "-d", &device]);
        let answer = run(plain.args(["--command-timeout", "3s"])).expect_success();
        assert!(answer.text().contains("+CSQ: "), "after {tool:?}");
    }
}
