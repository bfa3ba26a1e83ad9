//! Goal of this test: texts of the modem, the network and files are printed on terminals, in the log, in the recorder,
//! in metrics and in JSON without characters that a terminal would act on.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::daemon::{Daemon, tunnel};
use qssl_test_common::harness::{Finished, run, tunnel_command};

/// The name of a hostile network: it clears the screen by C0 and by C1, hides and reverses text, beeps, and deletes.
const NASTY: &str = "Net\u{1b}[2J\u{9b}2J\u{7}\u{7f}\u{202e}ten\u{2066}\u{200b}End";

/// A modem that answers every command, with this text wherever an answer can have text.
fn modem() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.expect("a connection")));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while let Ok(1) = stream.read(&mut byte) {
        if byte[0] != b'\r' {
            line.push(byte[0]);
            continue;
        }
        let command = String::from_utf8_lossy(&line).trim().to_owned();
        line.clear();
        let lines = match command.as_str() {
            "ATI" => format!("Quectel\r\nEC25{NASTY}\r\nRevision: EC25{NASTY}"),
            "AT+COPS?" => format!("+COPS: 0,0,\"{NASTY}\",7"),
            "AT+CSQ" => "+CSQ: 28,99".to_owned(),
            "AT+CPIN?" => format!("+CPIN: {NASTY}"),
            "AT+CEREG?" => "+CEREG: 0,1".to_owned(),
            "AT+QFLST=\"*\"" => format!("+QFLST: \"UFS:{NASTY}.pem\",5"),
            "AT+QFLDS=\"UFS\"" => "+QFLDS: 1000,2000".to_owned(),
            _ => String::new(),
        };
        let end = if command == "AT+NASTY" { format!("+CME ERROR: {NASTY}") } else { "OK".to_owned() };
        if stream.write_all(format!("\r\n{lines}\r\n\r\n{end}\r\n").as_bytes()).is_err() {
            return;
        }
    }
}

/// Asserts that all of the text except line ends is printable, and that the name is in it.
#[track_caller]
fn is_clean(what: &str, text: &str) {
    let bad = |c: char| c != '\n' && (c.is_control() || "\u{202e}\u{2066}\u{200b}".contains(c));
    assert!(!text.contains(bad), "{what}: {text:?}");
    assert!(text.contains("Net") && text.contains("End"), "{what} shows none of it: {text:?}");
}

#[track_caller]
fn shows_clean(what: &str, finished: &Finished) {
    is_clean(what, &(finished.text() + &finished.stderr));
}

#[test]
fn the_words_of_the_modem_are_shown_escaped() {
    let address = modem();
    let device = format!("tcp://{address}");
    let tool = |arguments: &[&str]| run(tunnel_command(arguments).args(["-d", &device]));
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["status", "--prometheus"],
        &["cert", "list"],
        &["cert", "list", "--json"],
        &["cert", "remove", "Net\u{1b}[2JEnd"],
        &["doctor"],
        &["doctor", "--json"],
    ] {
        shows_clean(&arguments.join(" "), &tool(arguments));
    }
    // Only on a terminal: a script gets what the modem sent.
    let bare = tool(&["at", "AT+COPS?"]).text();
    assert!(bare.contains(NASTY), "{bare:?}");
    for command in ["AT+COPS?", "AT+NASTY"] {
        let program = env!("CARGO_BIN_EXE_qssl-tunnel");
        let line = format!("{program} at --force '{command}' -d {device}");
        let shown = run(std::process::Command::new("script").args(["-qec", &line, "/dev/null"]));
        is_clean(&format!("at on a terminal, {command}"), &shown.text().replace("\r\n", "\n"));
    }
}

#[test]
fn the_words_of_the_modem_are_escaped_by_the_daemon() {
    let daemon = Daemon::on(&format!("tcp://{}", modem()), "", &tunnel("web", ""), "", |_| ());
    daemon.wait_for("AT+CPIN?");
    daemon.wait_until("the operator", |status| status.modem.operator.is_some());
    for arguments in [&["status"][..], &["status", "--json"], &["status", "--prometheus"]] {
        shows_clean(&arguments.join(" "), &daemon.tool(arguments));
    }
    let file = daemon.path("recorder");
    daemon.tool(&["status", "--dump-recorder", file.to_str().expect("text")]).expect_success();
    is_clean("the recorder", &std::fs::read_to_string(&file).expect("it was written"));
    // Without the client's code, as with socat.
    let mut control = std::os::unix::net::UnixStream::connect(daemon.path("control"))
        .expect("the daemon has a control socket");
    control.write_all(b"{\"request\":\"at\",\"command\":\"AT+COPS?\"}\n").expect("it reads");
    control.shutdown(std::net::Shutdown::Write).expect("it is connected");
    let mut reply = String::new();
    control.read_to_string(&mut reply).expect("text");
    is_clean("the control socket", &reply);
    let read: serde_json::Value = serde_json::from_str(&reply).expect("JSON");
    assert_eq!(read["lines"][0], format!("+COPS: 0,0,\"{NASTY}\",7"), "it means the same");
    is_clean("the log", &daemon.log());
}
