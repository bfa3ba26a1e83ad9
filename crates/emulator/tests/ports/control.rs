//! Goal of this test: a script makes a running modem fail in the ways that its options cannot, by
//! `qssl-modem-emulator ctl`, and is told in one line what does not work.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::host::Host;

/// The program with a link and a control socket in a directory of its own.
struct Running {
    directory: PathBuf,
    child: Child,
}

impl Running {
    fn new(name: &str, options: &[&str]) -> Running {
        let directory =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory can be made");
        let mut child = Command::new(env!("CARGO_BIN_EXE_qssl-modem-emulator"))
            .arg("--link")
            .arg(directory.join("modem"))
            .arg("--control")
            .arg(directory.join("control"))
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut first = String::new();
        let out = child.stdout.take().expect("it is a pipe");
        BufReader::new(out).read_line(&mut first).expect("it prints where its port is");
        Running { directory, child }
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("control")
    }

    fn host(&self) -> Host<std::fs::File> {
        Host::open(&self.directory.join("modem"))
    }

    fn ctl(&self, words: &[&str]) -> String {
        let output = ctl(&self.socket(), words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn refuses(&self, words: &[&str]) -> String {
        let output = ctl(&self.socket(), words);
        assert!(!output.status.success(), "{words:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn ctl(socket: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qssl-modem-emulator"))
        .args(["ctl", "--control"])
        .arg(socket)
        .args(words)
        .output()
        .expect("the program starts")
}

#[test]
fn what_a_script_asks_for_is_what_the_host_sees() {
    let modem = Running::new("ctl", &["--boot-time", "200ms"]);
    let mut host = modem.host();
    host.command("ATE0");
    modem.ctl(&["urc", "+QIND:", "SMS", "DONE"]);
    host.expect(b"\r\n+QIND: SMS DONE\r\n");
    modem.ctl(&["bytes", "0", r"\x00noise\r\n"]);
    host.expect(b"\0noise\r\n");
    modem.ctl(&["signal", "7"]);
    assert_eq!(host.command("AT+CSQ"), "\r\n+CSQ: 7,99\r\n");
    modem.ctl(&["cell", "--rsrp", "-110", "--sinr=-3", "--temperature", "61"]);
    assert_eq!(host.command("AT+QCSQ"), "\r\n+QCSQ: \"LTE\",-99,-110,85,-11\r\n");
    assert_eq!(host.command("AT+QTEMP"), "\r\n+QTEMP: 61,59,60\r\n");
    host.command("AT+QIACT=1");
    modem.ctl(&["pdpdeact"]);
    host.expect(b"\r\n+QIURC: \"pdpdeact\",1\r\n");
    modem.ctl(&["network", "denied"]);
    assert_eq!(host.command("AT+CEREG?"), "\r\n+CEREG: 0,3\r\n");
    modem.ctl(&["network", "roaming"]);
    assert_eq!(host.command("AT+CEREG?"), "\r\n+CEREG: 0,5\r\n");
    modem.ctl(&["clock", "1795694400"]);
    assert!(host.command("AT+CCLK?").contains("26/11/26,"));
    modem.ctl(&["reboot"]);
    host.until(b"\r\nRDY\r\n");
    let status = modem.ctl(&["status"]);
    assert!(status.starts_with("up\nport 0 at ") && status.contains("boots 2"), "{status}");
}

#[test]
fn a_modem_that_is_unplugged_takes_its_port_away_and_boots_when_it_is_back() {
    let second = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("second-{}", std::process::id()));
    let modem =
        Running::new("unplugged", &["--boot-time", "100ms", "--link", second.to_str().expect("text")]);
    let link = modem.directory.join("modem");
    let mut host = modem.host();
    host.command("AT");
    modem.ctl(&["unplug", "300ms"]);
    assert!(std::fs::symlink_metadata(&link).is_err(), "the link is gone");
    assert!(std::fs::symlink_metadata(&second).is_err(), "that of its second port, too");
    // As with a real tty that is gone: an end, or an error.
    let gone = std::io::Read::read(&mut host.stream, &mut [0; 16]);
    assert!(matches!(gone, Ok(0) | Err(_)), "{gone:?}");
    while std::fs::symlink_metadata(&link).is_err() {
        std::thread::yield_now();
    }
    modem.host().until(b"\r\nRDY\r\n");
    drop(modem);
    let _ = std::fs::remove_file(second);
}

#[test]
fn what_does_not_work_is_told_in_a_line() {
    let modem = Running::new("refusing", &[]);
    let mode = std::fs::metadata(modem.socket()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only its owner may use it");
    assert!(modem.refuses(&["close", "3"]).ends_with("ctl: socket 3 is free\n"));
    assert!(modem.refuses(&["pdpdeact", "2"]).ends_with("PDP context 2 is not active\n"));
    assert!(modem.refuses(&["bytes", "4", "x"]).contains("there is no port 4"));
    assert!(modem.refuses(&["bytes", "0", r"\q"]).contains("is not one of"));
    assert!(modem.refuses(&["signal", "40"]).contains("write 0 to 31"));
    let second = Command::new(env!("CARGO_BIN_EXE_qssl-modem-emulator"))
        .arg("--control")
        .arg(modem.socket())
        .output()
        .expect("the program starts");
    assert!(String::from_utf8_lossy(&second.stderr).contains("of another emulated modem that runs"));
    let socket = modem.socket();
    drop(modem);
    let gone = ctl(&socket, &["status"]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no emulated modem answers at"));
}

#[test]
fn what_another_program_writes_to_the_socket_harms_nobody() {
    let modem = Running::new("garbage", &[]);
    let written = |line: &[u8]| {
        let mut stream = UnixStream::connect(modem.socket()).expect("it takes clients");
        stream.write_all(line).expect("it reads");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("it replies, or ends");
        reply
    };
    for line in [
        &br#"{"stall":{"time":{"secs":18446744073709551615,"nanos":0}}}"#[..],
        br#"{"unplug":{"time":{"secs":18446744073709551615,"nanos":0}}}"#,
        br#"{"delay":{"time":{"secs":18446744073709551615,"nanos":0}}}"#,
        br#"{"cell":{"rsrp":2147483647,"rsrq":-2147483648,"sinr":2147483647}}"#,
        br#"{"clock":{"seconds":9223372036854775807}}"#,
        br#"{"signal":{"value":255}}"#,
        b"\xff\xfe",
    ] {
        let reply = written(&[line, b"\n"].concat());
        assert!(reply.starts_with("{\"Err\":"), "{}: {reply:?}", line.escape_ascii());
    }
    // Some that say nothing, and one that still is served.
    let silent: Vec<UnixStream> =
        (0..8).map(|_| UnixStream::connect(modem.socket()).expect("it takes clients")).collect();
    assert!(modem.ctl(&["status"]).starts_with("up\n"));
    assert!(modem.refuses(&["clock", "9223372036854775807"]).contains("up to the year 9999"));
    assert!(modem.refuses(&["lose-pdp"]).ends_with("PDP context 1 is not active\n"));
    drop(silent);
    let mut host = modem.host();
    host.command("ATE0");
    assert_eq!(host.command("AT+CSQ"), "\r\n+CSQ: 28,99\r\n");
}
