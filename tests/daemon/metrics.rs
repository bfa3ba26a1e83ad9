//! Goal of this test: what the modem reports about its cell shows in the status, and all metrics are served over HTTP: in a
//! form that Prometheus likes, to those who ask for them, and at no client's expense.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;

use qssl_modem_emulator::Cell;
use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;
use serde_json::Value;

use crate::daemon::{Daemon, tunnel};
use qssl_test_common::harness::{
    Ended, Site, connect, echo, program, read_to_end, run, run_with_input, tunnel_command,
};

/// A daemon that serves metrics on a free port, and asks about the cell.
fn start(site: &Site, process: &str) -> (Daemon, SocketAddr) {
    let process = format!("metrics = \"127.0.0.1:0\"\n{process}");
    let daemon = Daemon::on(&site.modem.device(0), "radio = true", &tunnel("web", ""), &process, |_| ());
    daemon.wait_for("ready");
    let line = daemon.wait_for("metrics at ");
    let address = line.rsplit(' ').next().and_then(|address| address.parse().ok());
    (daemon, address.expect("it says where"))
}

/// A modem whose cell has these values, on a line that counts its bytes.
fn site(cell: Cell) -> Site {
    let site = Site::new(Behaviour::Echo, "--rfc2217 127.0.0.1:0 --port-name uart1 --baud 115200");
    site.modem.embedded.with_modem(move |modem, _, _| *modem.cell_mut() = cell).expect("the modem runs");
    site
}

/// What the server answers to these bytes: the head, and what follows it.
fn asked(mut stream: impl Read + Write, request: &str) -> (String, String) {
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an orderly end");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    assert!(head.ends_with("Connection: close"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    (head.to_owned(), body.to_owned())
}

fn scrape(address: SocketAddr) -> String {
    let (head, body) = asked(connect(address), "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; "), "{head}");
    body
}

fn has(metrics: &str, sample: &str) -> bool {
    metrics.lines().any(|line| line.strip_prefix("qssl_tunnel_") == Some(sample))
}

#[test]
fn the_cell_shows_in_the_status_and_in_the_metrics() {
    let site = site(Cell { rsrp: Some(-101), sinr: -3, band: 20, ..Cell::default() });
    let (daemon, address) = start(&site, "");
    // Signal, technology and the rest of what one answer has; the next question is due in a minute.
    let status = daemon.wait_until("an answer", |status| {
        status.modem.radio.as_ref().is_some_and(|cell| cell.rsrp_dbm.is_some())
    });
    let cell = status.modem.radio.expect("it was asked for");
    assert_eq!(
        (cell.technology.as_deref(), cell.rsrp_dbm, cell.rsrq_db),
        (Some("LTE"), Some(-101), Some(-11))
    );
    assert_eq!((cell.sinr_db, cell.identity, cell.imei), (Some(-3.0), None, None));
    let json: Value =
        serde_json::from_str(&daemon.tool(&["status", "--json"]).expect_success().text()).expect("JSON");
    assert_eq!(
        (&json["modem"]["radio"]["rsrp_dbm"], &json["modem"]["radio"]["band"]),
        (&(-101).into(), &Value::Null)
    );
    let metrics = scrape(address);
    for sample in ["radio_rsrp_dbm -101", "radio_rsrq_db -11", "radio_sinr_db -3", "signal_dbm -57"] {
        assert!(has(&metrics, sample), "{sample} is missing:\n{metrics}");
    }
    assert!(has(&metrics, "radio_info{technology=\"LTE\"} 1"), "{metrics}");
    let table = daemon.tool(&["status"]).expect_success().text();
    assert!(table.contains("LTE, RSRP -101 dBm, RSRQ -11 dB, SINR -3 dB"), "{table}");
    assert_eq!(daemon.log().matches("> AT+QCSQ").count(), 1, "{}", daemon.log());
}

#[test]
fn without_the_option_the_cell_is_not_asked_about() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let status = daemon.status();
    assert!(status.modem.radio.is_none() && status.modem.signal_dbm.is_some(), "{status:#?}");
    assert!(!daemon.log().contains("QCSQ") && !daemon.log().contains("QENG"), "{}", daemon.log());
}

#[test]
fn promtool_has_nothing_to_say_about_the_metrics_of_a_busy_daemon() {
    let site = site(Cell::default());
    let (daemon, address) = start(&site, "monthly-budget = \"1GB\"");
    let mut client = connect(daemon.address());
    for _ in 0..4 {
        echo(&mut client, &[7; 5_000]);
    }
    site.modem.embedded.with_modem(|modem, _, _| modem.fail_next_open(566)).expect("the modem runs");
    assert_eq!(read_to_end(&mut connect(daemon.address())).2, Ended::Reset);
    // In the middle of a transfer.
    client.write_all(&[7; 20_000]).expect("the tunnel reads");
    let served = scrape(address);
    let printed = daemon.tool(&["status", "--prometheus"]).expect_success().text();
    for text in [&served, &printed] {
        for sample in [
            "open_failures_total{cause=\"566 socket connect failed\"} 1",
            "tunnel_accepted_total{tunnel=\"web\"} 2",
        ] {
            assert!(has(text, sample), "{sample} is missing:\n{text}");
        }
        assert!(text.contains("qssl_tunnel_radio_rsrp_dbm -85\n"), "{text}");
        let checked =
            run_with_input(Command::new(program("promtool")).args(["check", "metrics"]), text.as_bytes());
        let said = (checked.status, checked.text(), checked.stderr);
        assert_eq!(said, (0, String::new(), String::new()), "promtool check metrics, of:\n{text}");
    }
    let mut rest = [0; 20_000];
    client.read_exact(&mut rest).expect("the server echoes");
    assert!(rest == [7; 20_000]);
}

#[test]
fn only_the_metrics_are_there_and_only_to_be_read() {
    let site = Site::new(Behaviour::Echo, "");
    let (daemon, address) = start(&site, "");
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET /metrics/../etc/passwd HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "405 Method Not Allowed"),
        ("DELETE /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        ("nonsense\r\n\r\n", "400 Bad Request"),
        ("\r\n\r\n", "400 Bad Request"),
    ] {
        let (head, body) = asked(connect(address), request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {head}");
        assert!(head.contains("\r\nAllow: GET\r\n") && body == format!("{status}\n"), "{request:?}: {head}");
    }
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n", "x".repeat(9_000));
    assert!(asked(connect(address), &long).0.starts_with("HTTP/1.1 431 "));
    let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4";
    let (head, body) = asked(connect(address), &format!("GET /metrics HTTP/1.1\r\n{accept}\r\n\r\n"));
    assert!(
        head.contains("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    assert!(body.contains("# TYPE qssl_tunnel_opens counter\n") && body.ends_with("\n# EOF\n"), "{body}");
    let curl = run(Command::new(program("curl")).env_clear().args([
        "-sS",
        "--noproxy",
        "*",
        &format!("http://{address}/metrics"),
    ]));
    assert!(has(&curl.expect_success().text(), "up 1"));
    assert_eq!(daemon.status().state, "up");
}

#[test]
fn scrapers_that_are_stuck_delay_no_client_and_not_each_other() {
    let site = Site::new(Behaviour::Echo, "");
    let (daemon, address) = start(&site, "");
    let mut stuck: Vec<TcpStream> = (0..8).map(|_| connect(address)).collect();
    for stream in &mut stuck[1..] {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").expect("it reads");
    }
    let mut waiting = connect(address);
    waiting.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").expect("the kernel takes it");
    daemon.echoes(100_000);
    assert_eq!(daemon.status().state, "up");
    // There is room again once one of them leaves.
    drop(stuck.pop());
    let mut text = String::new();
    waiting.read_to_string(&mut text).expect("an orderly end");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    // The others have ten seconds.
    for mut stream in stuck {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    assert!(has(&scrape(address), "up 1"));
}

#[test]
fn a_socket_of_the_metrics_is_in_the_sandbox_and_goes_with_the_daemon() {
    let site = Site::new(Behaviour::Echo, "");
    let directory = qssl_test_common::harness::temporary_directory();
    let path = directory.path().join("metrics");
    let process = format!("metrics = \"unix:{},mode=0600\"", path.display());
    let daemon = Daemon::with(&site, &tunnel("web", ""), &process, |_| ());
    let get = "GET /metrics HTTP/1.1\r\n\r\n";
    let (_, body) = asked(UnixStream::connect(&path).expect("it listens"), get);
    assert!(has(&body, "up 1"), "{body}");
    daemon.signal(Signal::TERM);
    daemon.ends_with(0);
    assert!(!path.exists());
}

#[test]
fn an_address_that_is_taken_ends_the_start_with_the_reason() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = taken.local_addr().expect("it is bound").to_string();
    let site = Site::new(Behaviour::Echo, "");
    let arguments =
        ["listen", "127.0.0.1:0", "--to", "server.test:443", "--insecure", "-d", &site.modem.device(0)];
    let ended = run(tunnel_command(&arguments).args(["--metrics", &address]));
    assert_ne!(ended.status, 0);
    assert!(ended.stderr.contains(&format!("metrics: {address}: already in use")), "{}", ended.stderr);
}

#[test]
fn the_dashboard_shows_metrics_that_there_are() {
    let dashboard = include_str!("../../packaging/grafana/qssl-tunnel.json");
    let dashboard: Value = serde_json::from_str(dashboard).expect("JSON");
    assert!(
        dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 36),
        "of Grafana 9 or later"
    );
    assert!(dashboard["id"].is_null() && dashboard["uid"].is_string() && dashboard["title"].is_string());
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().expect("a number")).collect();
    assert_eq!(ids.len(), panels.len(), "each has an id of its own");
    let places: Vec<[u64; 4]> = panels
        .iter()
        .map(|panel| ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a number")))
        .collect();
    for (index, [x, y, w, h]) in places.iter().enumerate() {
        assert!(*w > 0 && *h > 0 && x + w <= 24, "panel {index} is as wide as the page at most");
        let overlaps = |[a, b, c, d]: &[u64; 4]| a < &(x + w) && x < &(a + c) && b < &(y + h) && y < &(b + d);
        assert!(!places[..index].iter().any(overlaps), "panel {index} covers another");
    }

    // A daemon that has met everything that the panels show.
    let site = site(Cell::default());
    let (daemon, address) = start(&site, "monthly-budget = \"1GB\"");
    daemon.echoes(1_000);
    site.modem.embedded.with_modem(|modem, _, _| modem.fail_next_open(566)).expect("the modem runs");
    assert_eq!(read_to_end(&mut connect(daemon.address())).2, Ended::Reset);
    daemon.wait_until("the cell", |status| {
        status.modem.radio.as_ref().is_some_and(|cell| cell.rsrp_dbm.is_some())
    });
    let metrics = scrape(address);
    let names: BTreeSet<&str> = metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let mut shown = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(panel["title"].is_string() && panel["datasource"]["uid"] == "${datasource}", "{panel}");
        let targets = panel["targets"].as_array().expect("queries");
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            let expression = target["expr"].as_str().expect("an expression");
            let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let used: Vec<&str> = words.filter(|word| word.starts_with("qssl_tunnel_")).collect();
            assert!(!used.is_empty(), "{expression}");
            for name in used {
                // It is asked for in a later minute.
                let is_later = name == "qssl_tunnel_radio_temperature_celsius";
                assert!(is_later || names.contains(name), "{name} of {expression} is no metric");
                shown.insert(name.to_owned());
            }
        }
    }
    for name in [
        "radio_rsrp_dbm",
        "tunnel_down_bytes_total",
        "sockets",
        "line_utilisation_ratio",
        "budget_used_bytes",
        "open_failures_total",
    ] {
        assert!(shown.contains(&format!("qssl_tunnel_{name}")), "{name} is not shown: {shown:?}");
    }
}
