//! Goal of this test: a mistake in the arguments, or in the files they name, is reported in one clear line with exit
//! status 2, before anything is opened.

use std::fs;

use qssl_test_common::harness::{certificate_file, run, temporary_directory, tunnel_command};

#[test]
fn one_line_and_status_2() {
    let directory = temporary_directory();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        fs::write(&path, content).expect("the directory is ours");
        path.to_str().expect("temporary paths are text").to_owned()
    };
    let (garbage, empty) = (file("garbage.pem", "this is no certificate\n"), file("empty.pem", ""));
    let folder = directory.path().to_str().expect("temporary paths are text");
    let target = ["--to", "server.test:443"];
    let cases: &[(&[&str], &str)] = &[
        (&[], "a command is missing"),
        (&["listne"], "unrecognized subcommand 'listne'"),
        (&["listen", "8443"], "--to: is missing: give it, or --dynamic"),
        (&["listen", "--to", "server.test:443"], "<LISTEN>"),
        (&["listen", "70000", target[0], target[1]], "`70000` is not a port: 1-65535"),
        (&["listen", "0", target[0], target[1]], "`0` is not a port"),
        (&["listen", "localhost:80", target[0], target[1]], "for loopback give the port alone: 80"),
        (&["listen", "::1:80", target[0], target[1]], "brackets: [::1]:8443"),
        (&["listen", "/tmp/socket", target[0], target[1]], "for a Unix socket write unix:/tmp/socket"),
        (&["listen", "8443", "8443", target[0], target[1]], "8443"),
        (&["listen", "8443", "--to", "server.test"], "server.test"),
        (&["listen", "8443", "--to", "server.test:0"], "`0` is not a port"),
        (&["listen", "8443", "--to", "ser\"ver:443"], "--to"),
        (&["connect", "server.test:443", "--mode", "pull"], "'pull'"),
        (&["connect", "server.test:443", "--devcie", "x"], "a similar argument exists: '--device'"),
        (&["connect", "server.test:443", "--sockets", "0-12"], "--sockets"),
        (&["connect", "server.test:443", "--connect-timeout", "soon"], "--connect-timeout"),
        (
            &["connect", "server.test:443", "--baud", "12"],
            "'--baud <BAUD>': not a whole number from 300 to 4000000",
        ),
        (
            &["connect", "server.test:443", "--max-retries", "some"],
            "'--max-retries <NUMBER>': not a whole number from 0 to 4294967295",
        ),
        (&["connect", "server.test:443", "--apn", "a;b"], "--apn"),
        (&["connect", "server.test:443", "--apn", "a\rb"], "--apn"),
        (&["connect", "server.test:443", "--ca", "/nonexistent/ca.pem"], "/nonexistent/ca.pem"),
        (&["connect", "server.test:443", "--ca", &garbage], "garbage.pem"),
        (&["connect", "server.test:443", "--ca", &empty], "empty.pem"),
        (&["connect", "server.test:443", "--ca", folder], folder),
        (&["connect", "server.test:443", "--ca", certificate_file(), "--insecure"], "--insecure"),
        (&["connect", "server.test:443", "--cert", certificate_file()], "--key"),
        (&["connect", "server.test:443", "--insecure", "--psk-identity", "me"], "--psk-key-file"),
        (&["connect", "server.test:443", "--insecure", "--dtls"], "dtls://HOST:PORT"),
        (&["connect", "udp://server.test:443"], "listen on udp:PORT"),
        (&["listen", "udp:5684", "--to", "server.test:443"], "takes datagrams"),
        (&["listen", "5684", "--to", "dtls://server.test:443", "--insecure"], "takes streams"),
        (&["listen", "udp:5684", "--to", "udp://server.test:443", "--warm", "1"], "--warm"),
        (&["connect", "server.test:443", "--insecure", "--device", "rfc2217://nowhere"], "rfc2217"),
        (
            &["connect", "server.test:443", "--ca", certificate_file(), "-d", "emulator:--fly"],
            "emulator: unexpected argument '--fly'",
        ),
        (
            &["connect", "server.test:443", "--ca", certificate_file(), "-d", "emulator:--quirk flies"],
            "flies",
        ),
        (&["run", "--config", "/nonexistent/tunnel.toml"], "/nonexistent/tunnel.toml"),
    ];
    for (arguments, said) in cases {
        let finished = run(&mut tunnel_command(arguments));
        assert_eq!(finished.status, 2, "{arguments:?}: {}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.starts_with("qssl-tunnel: "), "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.trim_end().ends_with(" [usage]"), "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(said), "{arguments:?} without {said:?}: {}", finished.stderr);
        assert_eq!(finished.text(), "", "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["-h"], &["listen", "--help"], &["connect", "-h"], &["run", "--help"]]
    {
        let finished = run(&mut tunnel_command(arguments)).expect_success();
        assert!(finished.text().contains("Usage: qssl-tunnel"), "{arguments:?}: {}", finished.text());
        assert_eq!(finished.stderr, "", "{arguments:?}");
    }
    let version = run(&mut tunnel_command(&["--version"])).expect_success().text();
    assert_eq!(version.trim(), format!("qssl-tunnel {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = taken.local_addr().expect("a bound socket has an address").to_string();
    let finished = run(&mut tunnel_command(&["listen", &address, "--to", "server.test:443", "--insecure"]));
    assert_eq!(finished.status, 1, "{}", finished.stderr);
    let said = format!("{address}: already in use");
    assert!(finished.stderr.contains(&said), "{}", finished.stderr);
}

#[test]
fn a_wrong_value_from_the_environment_names_its_variable() {
    let cases = [
        ("QSSL_TUNNEL_BAUD", "fast", "not a whole number from 300 to 4000000"),
        ("QSSL_TUNNEL_MODE", "pull", "--mode"),
        ("QSSL_TUNNEL_HEX_DUMP", "perhaps", "--hex-dump"),
        ("QSSL_TUNNEL_CA", "/nonexistent/ca.pem", "/nonexistent/ca.pem"),
        ("QSSL_TUNNEL_SIM_PIN_FILE", "/nonexistent/pin", "/nonexistent/pin"),
    ];
    for (variable, value, said) in cases {
        let mut command = tunnel_command(&["connect", "server.test:443"]);
        let finished = run(command.env(variable, value));
        assert_eq!(finished.status, 2, "{variable}: {}", finished.stderr);
        let stderr = &finished.stderr;
        assert!(stderr.contains(&format!("comes from {variable} in the environment")), "{stderr}");
        assert!(stderr.contains(said) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn a_cause_is_given_once() {
    let path = "unix:/nonexistent/tunnel.sock";
    let mut command = tunnel_command(&["listen", path, "--to", "server.test:443", "--insecure", "-q"]);
    let finished = run(command.args(["-d", "/dev/nonexistent"]));
    assert_eq!(finished.stderr.matches("No such file").count(), 1, "{}", finished.stderr);
}
