//! Goal of this test: `status` shows what the daemon does, as a table, as JSON and as metrics.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::time::Duration;

use qssl_modem_emulator::Registration;
use qssl_modem_emulator::test_server::Behaviour;
use serde_json::Value;
use socket2::SockRef;

use crate::daemon::Daemon;
use qssl_test_common::harness::{
    Ended, Site, Tunnel, connect, read_to_end, run, temporary_directory, tunnel_command,
};

#[test]
fn what_a_client_does_shows_in_the_status() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let status = daemon.status();
    assert_eq!((status.state.as_str(), status.modem.session.as_deref()), ("up", Some("up")));
    assert!(status.modem.module.as_ref().is_some_and(|module| module.starts_with("E")), "{status:#?}");
    assert!(status.modem.signal_dbm.is_some_and(|dbm| (-113..=-51).contains(&dbm)), "{status:#?}");
    assert_eq!(status.modem.registration.as_deref(), Some("home"));
    assert!(status.modem.operator.is_some() && status.modem.address.is_some());
    assert_eq!(status.sockets.get("free"), Some(&12));

    let mut client = connect(daemon.address());
    client.write_all(&[7; 5000]).expect("the tunnel reads");
    let mut echo = [0; 5000];
    client.read_exact(&mut echo).expect("the server echoes");
    let status = daemon.status();
    let tunnel = &status.tunnels[0];
    assert_eq!(
        (tunnel.name.as_str(), tunnel.target.as_str(), tunnel.mode.as_str()),
        ("web", "server.test:443", "push")
    );
    let counters = tunnel.counters;
    assert_eq!(
        (counters.up_bytes, counters.down_bytes, counters.accepted, counters.opens),
        (5000, 5000, 1, 1)
    );
    assert_eq!((tunnel.clients.get("open"), status.sockets.get("open")), (Some(&1), Some(&1)));
    assert_eq!(
        (status.counts().modem.opens, status.counts().modem.sent_bytes, status.counts().modem.received_bytes),
        (1, 5000, 5000)
    );
    assert!(status.counts().modem.open_seconds.is_some() && status.counts().modem.wire_bytes_out > 5000);

    drop(client);
    daemon.wait_until("the client's end", |status| status.tunnels[0].clients.is_empty());
}

#[test]
fn a_connection_has_a_row_and_can_be_ended_by_its_id() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let mut client = connect(daemon.address());
    client.write_all(b"hello").expect("the tunnel reads");
    client.read_exact(&mut [0; 5]).expect("the server echoes");
    let peer = client.local_addr().expect("it is connected").to_string();
    let status = daemon.status();
    let [connection] = &status.connections[..] else { panic!("one client, one row: {status:#?}") };
    assert_eq!((connection.peer.as_str(), connection.tunnel.as_str()), (peer.as_str(), "web"));
    assert_eq!((connection.up_bytes, connection.down_bytes, connection.state.as_str()), (5, 5, "open"));
    let table = daemon.tool(&["status"]).expect_success().text();
    assert!(table.lines().any(|line| line.starts_with("1 ") && line.contains(&peer)), "{table}");

    let none = daemon.tool(&["status", "--kill", "99"]);
    assert_ne!(none.status, 0);
    assert!(none.stderr.contains("there is no connection 99"), "{}", none.stderr);
    daemon.tool(&["status", "--kill", "1"]).expect_success();
    assert_eq!(read_to_end(&mut client).2, Ended::Reset);
    assert!(daemon.status().connections.is_empty());
    daemon.wait_for("ended by status --kill");
}

#[test]
fn the_three_ways_to_show_it_agree() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let table = daemon.tool(&["status"]).expect_success().text();
    assert!(
        table.contains("qssl-tunnel ") && table.contains("web") && table.contains("server.test:443"),
        "{table}"
    );
    let json = daemon.tool(&["status", "--json"]).expect_success().text();
    let status: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(status["state"], "up");
    assert_eq!(status["tunnels"][0]["name"], "web");
    let metrics = daemon.tool(&["status", "--prometheus"]).expect_success().text();
    assert!(metrics.lines().any(|line| line == "qssl_tunnel_up 1"), "{metrics}");
}

#[test]
fn the_exit_status_says_whether_clients_are_served() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let shown = daemon.tool(&["status", "--exit-code"]).expect_success();
    assert!(shown.text().contains(", up, running for "), "{}", shown.text());
    site.modem
        .embedded
        .with_modem(|modem, _, now| modem.set_registration(Registration::Searching, now))
        .expect("the modem runs");
    daemon.wait_until("the loss of the network", |status| status.state == "waiting");
    let shown = daemon.tool(&["status", "--exit-code", "--json"]);
    assert_eq!(shown.status, 1);
    assert!(shown.stderr.contains("clients are not served: waiting: "), "{}", shown.stderr);
    assert!(shown.text().contains("\"state\": \"waiting\""), "{}", shown.text());
    daemon.signal(rustix::process::Signal::TERM);
    daemon.ends_with(0);
    let shown = daemon.tool(&["status", "--exit-code"]);
    assert_eq!((shown.status, shown.stdout.len()), (1, 0), "{}", shown.stderr);
}

#[test]
fn the_modem_is_asked_about_its_network_once_a_minute_at_most() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    for _ in 0..5 {
        assert!(daemon.status().modem.heard_seconds_ago.is_some());
    }
    // The log and the replies use different ways, so the log may come later.
    daemon.wait_for("> AT+CSQ");
    assert_eq!(daemon.log().matches("> AT+CSQ").count(), 1, "{}", daemon.log());
}

#[test]
fn in_data_mode_the_status_is_what_was_last_heard() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::with(&site, &crate::daemon::tunnel("web", "mode = \"transparent\""), "", |_| ());
    let mut client = connect(daemon.address());
    client.write_all(b"x").expect("the tunnel reads");
    client.read_exact(&mut [0]).expect("the server echoes");
    let status = daemon.status();
    assert_eq!(status.ports[0].state, "data");
    assert_eq!(status.modem.heard_seconds_ago, None);
    let (tunnel, counts) = (status.tunnels[0].counters, status.counts().modem);
    assert_eq!((tunnel.opens, tunnel.up_bytes, tunnel.down_bytes), (1, 1, 1), "streams count like any other");
    assert_eq!((counts.opens, counts.sent_bytes, counts.received_bytes), (1, 1, 1));
    let metrics = daemon.tool(&["status", "--prometheus"]).expect_success().text();
    for sample in ["opens_total 1", "sent_bytes_total 1", "received_bytes_total 1"] {
        assert!(metrics.lines().any(|line| line.ends_with(sample)), "{sample} in {metrics}");
    }
    let answer = daemon.tool(&["at", "AT+CSQ"]);
    assert!(answer.stderr.contains("busy: transparent"), "{}", answer.stderr);
    assert_ne!(answer.status, 0);
}

#[test]
fn without_a_daemon_the_modem_itself_is_asked() {
    let site = Site::new(Behaviour::Echo, "");
    let shown = run(&mut tunnel_command(&["status", "-d", &site.modem.device(0)])).expect_success();
    let text = shown.text();
    assert!(text.starts_with("daemon     none runs here") && text.contains("dBm"), "{text}");
    assert!(!text.contains("sockets") && !text.contains("TUNNEL"), "only what the modem can tell: {text}");
    let shown = run(&mut tunnel_command(&["status", "--json", "-d", &site.modem.device(0)])).expect_success();
    let json: serde_json::Value = serde_json::from_str(&shown.text()).expect("JSON");
    assert!(json["modem"]["signal_dbm"].is_number(), "{json}");
    for unknown in ["/uptime_seconds", "/counters", "/modem/session", "/modem/session_seconds"] {
        assert!(json.pointer(unknown).is_none_or(serde_json::Value::is_null), "{unknown} in {json}");
    }
}

#[test]
fn beside_a_listener_without_a_control_socket_the_error_says_what_is_missing() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnel = site.tunnel(&[]);
    tunnel.wait_until_ready();
    let device = site.modem.device(0);
    // Without -d the port is not found, because it does not belong to a USB modem.
    for arguments in
        [&["status", "-d", &device][..], &["at", "AT", "-d", &device], &["status"], &["at", "AT"]]
    {
        let finished = run(&mut tunnel_command(arguments));
        assert_ne!(finished.status, 0);
        assert!(finished.stderr.contains("start it with --control PATH"), "{}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "said once: {}", finished.stderr);
    }
}

#[test]
fn the_daemon_of_an_ordinary_user_is_found_without_a_path() {
    // A device server: ttys belong to root here.
    let site = Site::new(Behaviour::Echo, "--rfc2217 127.0.0.1:0 --port-name uart1 --baud 115200");
    let directory = temporary_directory();
    let (config, runtime) = (directory.path().join("run.toml"), directory.path().join("runtime"));
    let tunnel =
        "[[tunnel]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\nto = \"server.test:443\"\ninsecure = true\n";
    let text = format!("[modem]\ndevice = \"{}\"\n{tunnel}", site.modem.device(0));
    fs::write(&config, text).expect("the directory is ours");
    fs::create_dir(&runtime).expect("the directory is ours");
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        chown(&runtime, Some(NOBODY), Some(NOBODY)).expect("root may");
    }
    let as_user = |arguments: &[&str]| {
        let mut command = tunnel_command(arguments);
        command.env("XDG_RUNTIME_DIR", &runtime);
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    };
    let config = config.to_str().expect("temporary paths are text");
    let daemon = Tunnel::start(&mut as_user(&["run", "--config", config]));
    daemon.wait_for("ready after");
    let shown = run(&mut as_user(&["status", "--json"])).expect_success().text();
    let status: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((&status["state"], &status["tunnels"][0]["name"]), (&"up".into(), &"web".into()), "{shown}");
    assert!(runtime.join("qssl-tunnel/control").exists());
}

#[test]
fn bytes_up_of_a_client_that_resets_are_those_that_the_module_has_taken() {
    let site = Site::new(
        Behaviour::Digest { bytes: 1_000_000 },
        "--rfc2217 127.0.0.1:0 --port-name uart1 --baud 115200",
    );
    let daemon = Daemon::start(&site);
    let client = connect(daemon.address());
    (&client).write_all(&[7; 60_000]).expect("the tunnel reads");
    let status = daemon.wait_until("some bytes", |status| status.counts().modem.sent_bytes > 0);
    let up = |status: &Value, list: &str| status[list][0]["up_bytes"].as_u64();
    let json = || -> Value {
        let text = daemon.tool(&["status", "--json"]).expect_success().text();
        serde_json::from_str(&text).expect("JSON")
    };
    let now = json();
    let taken = now["counters"]["sent_bytes"].as_u64();
    assert!(taken >= Some(status.counts().modem.sent_bytes), "{now}");
    assert_eq!((up(&now, "connections"), up(&now, "tunnels")), (taken, taken), "{now}");
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("it is a socket");
    drop(client);
    let line = daemon.wait_for(" bytes up, 0 down, ");
    daemon.wait_until("a free socket", |status| status.sockets.get("free") == Some(&12));
    let after = json();
    let taken = after["counters"]["sent_bytes"].as_u64();
    assert_eq!(up(&after, "tunnels"), taken, "{after}");
    let counted =
        line.split_once(" bytes up, ").and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok());
    // The module may answer the last send when the client is gone.
    assert!(
        counted <= taken && counted.map(|up: u64| up + 1_460) >= taken && taken < Some(60_000),
        "{line}, {after}"
    );
}

/// A user without any rights.
const NOBODY: u32 = 65_534;

#[test]
fn a_control_socket_is_for_its_owner_alone_and_goes_with_the_daemon() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let path = daemon.path("control");
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    daemon.signal(rustix::process::Signal::TERM);
    daemon.ends_with(0);
    assert!(!path.exists());
}

#[test]
fn watching_shows_it_again_and_again() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let mut command = tunnel_command(&["status", "--watch", "--control"]);
    let watching = qssl_test_common::harness::Running::start(command.arg(daemon.path("control")));
    watching.log.wait_for_lines("two tables", 2, |line| line.starts_with("TUNNEL"));
    watching.wait_for("/s)");
}

#[test]
fn whatever_a_control_connection_sends_the_daemon_goes_on() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let path = daemon.path("control");
    for text in [
        &b"\n"[..],
        b"{}\n",
        b"\xff\xfe\0\n",
        b"GET / HTTP/1.0\r\n",
        b"[[[[[[[[[[\n",
        b"{\"request\":\"at\"}\n",
    ] {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).expect("the daemon listens");
        stream.write_all(text).expect("the daemon reads");
        let mut reply = [0; 29];
        stream.read_exact(&mut reply).expect("the daemon replies");
        assert_eq!(&reply, b"{\"reply\":\"error\",\"id\":\"bad-re", "{text:?}");
    }
    // Clients that disconnect in the middle of a request.
    for _ in 0..20 {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).expect("the daemon listens");
        stream.write_all(b"{\"request\":\"at\",\"command\":\"AT+COPS?\"}\n{\"req").expect("the daemon reads");
    }
    assert_eq!(daemon.status().state, "up");
}

#[test]
fn failures_are_counted_by_cause_and_a_uart_tells_how_busy_it_is() {
    let site = Site::new(Behaviour::Echo, "--rfc2217 127.0.0.1:0 --port-name uart1 --baud 115200");
    let daemon = Daemon::start(&site);
    for code in [566, 566, 565] {
        site.modem
            .embedded
            .with_modem(move |modem, _, _| modem.fail_next_open(code))
            .expect("the modem runs");
        assert_eq!(read_to_end(&mut connect(daemon.address())).2, Ended::Reset);
    }
    let mut client = connect(daemon.address());
    client.write_all(&[7; 20_000]).expect("the tunnel reads");
    client.read_exact(&mut [0; 20_000]).expect("the server echoes");
    let status = daemon.status();
    let counts = status.counts();
    let failures: Vec<(&str, u64)> =
        counts.modem.open_failures.iter().map(|(cause, count)| (cause.as_str(), *count)).collect();
    assert_eq!(failures, [("565 DNS parse failed", 1), ("566 socket connect failed", 2)]);
    assert_eq!((status.counts().modem.opens, status.ports[0].baud), (1, Some(115_200)));
    let busy = status.ports[0].utilisation.expect("a UART has a capacity");
    assert!(busy.iter().all(|share| *share > 0.01 && *share <= 1.0), "{busy:?}");
    let table = daemon.tool(&["status"]).expect_success().text();
    assert!(table.contains("2 × 566 socket connect failed\n") && table.contains("% busy up"), "{table}");
    let metrics = daemon.tool(&["status", "--prometheus"]).expect_success().text();
    for line in ["open_failures_total{cause=\"565 DNS parse failed\"} 1", "waiting_commands 0"] {
        assert!(metrics.contains(&format!("\nqssl_tunnel_{line}\n")), "{line} is missing:\n{metrics}");
    }
}

#[test]
fn whoever_reads_no_further_ends_a_watch_without_a_word() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let watch = format!(
        "{} status --watch --control {} | head -n 1",
        env!("CARGO_BIN_EXE_qssl-tunnel"),
        daemon.path("control").display()
    );
    let mut shell = std::process::Command::new("/bin/sh");
    let shown = run(shell.args(["-c", &watch])).expect_success();
    assert_eq!((shown.text().lines().count(), shown.stderr.as_str()), (1, ""));
}
