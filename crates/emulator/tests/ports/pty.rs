//! Goal of this test: a program on the host opens a pseudoterminal like any serial port and finds a modem
//! there that makes real TLS connections, at a serial line's pace and with its losses if asked.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use qssl_modem_emulator::cli::Options;
use qssl_modem_emulator::driver::{Embedded, spawn};
use qssl_modem_emulator::test_server::{
    Authority, Behaviour, CertificateRequest, Ending, ServerOptions, TestServer, fill_pattern,
};

use crate::host::{Host, eventually, now};

const NAME: &str = "server.example";

/// A server, a modem that reaches it under [`NAME`], and the authority to trust.
struct Site {
    server: TestServer,
    modem: Embedded,
    authority: Authority,
}

impl Site {
    fn new(behaviour: Behaviour, ending: Ending, options: &str) -> Site {
        let authority = Authority::new("test root").expect("a root");
        let identity = authority.issue(&CertificateRequest::server(NAME)).expect("a certificate");
        let server_options =
            ServerOptions { identity: Some(identity), behaviour, ending, ..ServerOptions::default() };
        let server = TestServer::start(server_options).expect("the server starts");
        let modem = modem(&format!("--map {NAME}:443={} --clock host {options}", server.address()), 1);
        Site { server, modem, authority }
    }

    /// A host at the first port, with echo off, a data session, and the authority in the modem.
    fn host(&self) -> Host<std::fs::File> {
        let mut host = Host::open(&self.modem.paths()[0]);
        host.command("ATE0");
        host.command("AT+QIACT=1");
        let pem = self.authority.pem();
        host.send(format!("AT+QFUPL=\"ca.pem\",{}\r", pem.len()).as_bytes());
        host.expect(b"\r\nCONNECT\r\n");
        host.send(&pem);
        host.until(b"\r\nOK\r\n");
        host.command("AT+QSSLCFG=\"sslversion\",1,3");
        host.command("AT+QSSLCFG=\"ciphersuite\",1,0XFFFF");
        host.command("AT+QSSLCFG=\"cacert\",1,\"ca.pem\"");
        host.command("AT+QSSLCFG=\"seclevel\",1,1");
        host.command("AT+QSSLCFG=\"ignorelocaltime\",1,0");
        host
    }
}

fn modem(options: &str, ports: usize) -> Embedded {
    spawn(Options::parse_text(options).expect("the options are right"), ports).expect("the modem starts")
}

/// A directory of this test's own, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory can be made");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_modem_answers_with_echo_as_after_power_up() {
    let modem = modem("", 1);
    let mut host = Host::open(&modem.paths()[0]);
    host.send(b"AT\r");
    host.expect(b"AT\r\r\nOK\r\n");
}

#[test]
fn a_verified_connection_echoes_in_buffer_mode() {
    let site = Site::new(Behaviour::Echo, Ending::Orderly, "");
    let mut host = site.host();
    host.send(format!("AT+QSSLOPEN=1,1,4,\"{NAME}\",443,0\r").as_bytes());
    host.expect(b"\r\nOK\r\n\r\n+QSSLOPEN: 4,0\r\n");
    host.send(b"AT+QSSLSEND=4,6\r");
    host.expect(b"\r\n> ");
    host.send(b"\r\nOK\r\n");
    host.expect(b"\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",4\r\n");
    host.send(b"AT+QSSLRECV=4,1500\r");
    host.expect(b"\r\n+QSSLRECV: 6\r\n\r\nOK\r\n\r\n\r\nOK\r\n");
    host.command("AT+QSSLCLOSE=4");
    let records = site.server.wait_for(|records| records[0].over);
    assert_eq!(records[0].received_bytes, 6);
}

#[test]
fn a_verified_connection_echoes_in_push_mode_and_reports_its_end() {
    let response = b"pushed, and more".to_vec();
    let behaviour = Behaviour::Respond { request_bytes: 5, delay: Duration::ZERO, response };
    let site = Site::new(behaviour, Ending::Orderly, "");
    let mut host = site.host();
    host.send(format!("AT+QSSLOPEN=1,1,0,\"{NAME}\",443,1\r").as_bytes());
    host.expect(b"\r\nOK\r\n\r\n+QSSLOPEN: 0,0\r\n");
    host.send(b"AT+QSSLSEND=0,5\r");
    host.expect(b"\r\n> ");
    host.send(b"hello");
    host.expect(b"\r\nSEND OK\r\n\r\n+QSSLURC: \"recv\",0,16\r\npushed, and more");
    host.until(b"\r\n+QSSLURC: \"closed\",0\r\n");
}

#[test]
fn a_name_that_is_not_in_the_certificate_is_refused() {
    let site = Site::new(Behaviour::Echo, Ending::Orderly, "");
    let mut host = site.host();
    let port = site.server.address().port();
    host.send(format!("AT+QSSLOPEN=1,1,4,\"127.0.0.1\",{port},0\r").as_bytes());
    host.expect(b"\r\nOK\r\n\r\n+QSSLOPEN: 4,566\r\n");
}

#[test]
fn a_mebibyte_passes_through_data_mode_unchanged() {
    let site = Site::new(Behaviour::Echo, Ending::Orderly, "");
    let mut host = site.host();
    host.send(format!("AT+QSSLOPEN=1,1,2,\"{NAME}\",443,2\r").as_bytes());
    host.expect(b"\r\nCONNECT\r\n");
    let mut payload = vec![0; 1 << 20];
    fill_pattern(0, &mut payload);
    for chunk in payload.chunks(8192) {
        host.send(chunk);
        let echoed = host.take(chunk.len());
        assert!(echoed == chunk, "the echo differs from what was sent");
    }
}

#[test]
fn at_115200_baud_bytes_take_their_time() {
    let bytes = 4_000;
    let site = Site::new(Behaviour::Source { bytes }, Ending::Wait, "--baud 115200");
    let mut host = site.host();
    // Before the first byte can leave: a host that is scheduled late finds many at once.
    let begin = now();
    host.send(format!("AT+QSSLOPEN=1,1,2,\"{NAME}\",443,2\r").as_bytes());
    host.expect(b"\r\nCONNECT\r\n");
    host.take(bytes as usize);
    let least = Duration::from_micros(bytes * 10_000_000 / 115_200);
    assert!(now() - begin >= least, "{bytes} bytes took {:?}", now() - begin);
}

#[test]
fn a_host_that_does_not_read_loses_bytes_only_without_flow_control() {
    for (flow_control, loses) in [("AT+IFC=0,0", true), ("AT+IFC=2,2", false)] {
        let bytes = 200_000;
        let site = Site::new(Behaviour::Source { bytes }, Ending::Wait, "--baud 3000000");
        let mut host = site.host();
        host.command(flow_control);
        host.send(format!("AT+QSSLOPEN=1,1,2,\"{NAME}\",443,2\r").as_bytes());
        host.expect(b"\r\nCONNECT\r\n");
        let lost = || site.modem.report().expect("the modem runs").losses[0].not_taken_bytes;
        if loses {
            eventually("a loss", || lost() > 0);
        } else {
            let received = host.take(bytes as usize);
            let mut expected = vec![0; bytes as usize];
            fill_pattern(0, &mut expected);
            assert!(received == expected, "what was received differs from what was sent");
            assert_eq!(lost(), 0);
        }
    }
}

#[test]
fn bytes_at_another_speed_are_lost_if_speeds_are_checked() {
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
    let modem = modem("--baud 115200 --check-speed", 1);
    let mut host = Host::open(&modem.paths()[0]);
    let set_speed = |host: &Host<std::fs::File>, baud| {
        let mut attributes = tcgetattr(&host.stream).expect("a tty has attributes");
        attributes.set_speed(baud).expect("a speed there is");
        tcsetattr(&host.stream, OptionalActions::Now, &attributes).expect("a tty takes attributes");
    };
    set_speed(&host, 9600);
    host.send(b"AT\r");
    let lost = || modem.report().expect("the modem runs").losses[0].wrong_speed_bytes;
    eventually("the loss", || lost() == 3);
    set_speed(&host, 115_200);
    host.send(b"ATE0\r");
    host.expect(b"ATE0\r\r\nOK\r\n");
    // The answer still comes at the old speed.
    host.send(b"AT+IPR=921600\r");
    host.expect(b"\r\nOK\r\n");
    set_speed(&host, 921_600);
    host.send(b"AT\r");
    host.expect(b"\r\nOK\r\n");
}

#[test]
fn the_modem_inside_can_be_made_to_reboot() {
    let modem = modem("--boot-time 1ms", 2);
    let mut hosts: Vec<_> = modem.paths().iter().map(|path| Host::open(path)).collect();
    hosts[1].command("ATE0");
    modem.with_modem(|modem, _, now| modem.reboot(now)).expect("the modem runs");
    hosts[0].until(b"\r\nRDY\r\n");
    hosts[1].send(b"AT\r");
    // Echo is on again.
    hosts[1].until(b"AT\r\r\nOK\r\n");
}

#[test]
fn the_claim_of_a_host_ends_when_it_closes_the_port() {
    use rustix::termios::ioctl_tiocexcl;
    let modem = modem("", 1);
    let mut host = Host::open(&modem.paths()[0]);
    ioctl_tiocexcl(&host.stream).expect("a tty can be claimed");
    host.send(b"AT\r");
    host.expect(b"AT\r\r\nOK\r\n");
    drop(host);
    eventually("the end of the claim", || !claimed(&Host::open(&modem.paths()[0]).stream));
}

/// Whether somebody has claimed the tty; the superuser can open it all the same.
fn claimed(tty: &std::fs::File) -> bool {
    const TIOCGEXCL: rustix::ioctl::Opcode = 0x8004_5440;
    // SAFETY: TIOCGEXCL writes one int to its argument.
    let getter = unsafe { rustix::ioctl::Getter::<TIOCGEXCL, i32>::new() };
    // SAFETY: `tty` is a tty, and there the number means TIOCGEXCL.
    unsafe { rustix::ioctl::ioctl(tty, getter) }.expect("a tty tells") != 0
}

#[test]
fn a_link_is_made_replaced_and_removed_but_a_file_is_left_alone() {
    let directory = Directory::new("links");
    let link = directory.0.join("tty");
    std::os::unix::fs::symlink("nowhere", &link).expect("a link can be made");
    let options = format!("--link {}", link.display());
    let first = modem(&options, 1);
    assert_eq!(first.paths(), [link.as_path()]);
    Host::open(&link).command("AT");
    drop(first);
    assert!(!link.is_symlink(), "the link is still there");

    std::fs::write(&link, "precious").expect("a file can be written");
    let error = spawn(Options::parse_text(&options).expect("the options are right"), 1);
    let error = error.err().expect("a file is in the way").to_string();
    assert!(error.contains("is not a symbolic link"), "{error}");
    assert_eq!(std::fs::read_to_string(&link).expect("the file is there"), "precious");
}

#[test]
fn the_program_prints_its_port_serves_it_and_ends_on_a_signal() {
    let directory = Directory::new("program");
    let (link, transcript) = (directory.0.join("tty"), directory.0.join("transcript"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_qssl-modem-emulator"))
        .arg("--link")
        .arg(&link)
        .arg("--transcript")
        .arg(&transcript)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut output = BufReader::new(program.stdout.take().expect("it is piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line comes");
    assert_eq!(line.trim_end(), link.to_str().expect("the path is text"));
    Host::open(&link).command("ATI");

    let id = rustix::process::Pid::from_child(&program);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it can be signalled");
    let output = program.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(report.contains("boots 1"), "{report}");
    assert!(!link.is_symlink(), "the link is still there");
    let transcript = std::fs::read_to_string(&transcript).expect("the transcript is there");
    assert!(transcript.starts_with("> ATI\n< ATI\n< Quectel\n"), "{transcript}");
}

#[test]
fn the_program_leaves_no_link_when_its_terminal_is_gone_and_outlives_it_under_nohup() {
    let directory = Directory::new("hangup");
    for (is_ignored, before) in [(false, ""), (true, "trap '' HUP; ")] {
        let link = directory.0.join("tty");
        let mut program = Command::new("sh")
            .args(["-c", &format!("{before}exec \"$@\""), "sh", env!("CARGO_BIN_EXE_qssl-modem-emulator")])
            .arg("--link")
            .arg(&link)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut output = BufReader::new(program.stdout.take().expect("it is piped"));
        output.read_line(&mut String::new()).expect("a line comes");
        let id = rustix::process::Pid::from_child(&program);
        let signal = |signal| rustix::process::kill_process(id, signal).expect("it can be signalled");
        signal(rustix::process::Signal::HUP);
        if is_ignored {
            Host::open(&link).command("ATI");
            signal(rustix::process::Signal::TERM);
        }
        assert!(program.wait().expect("it ends").success(), "{before}");
        assert!(!link.is_symlink(), "the link is still there");
    }
}

#[test]
fn a_recording_ends_on_a_signal_and_leaves_no_link() {
    let directory = Directory::new("replay");
    let (link, recording) = (directory.0.join("tty"), directory.0.join("recording"));
    std::fs::write(&recording, "> AT\n< OK\n").expect("a file can be written");
    let mut program = Command::new(env!("CARGO_BIN_EXE_qssl-modem-emulator"))
        .arg("--link")
        .arg(&link)
        .arg("--replay")
        .arg(&recording)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut output = BufReader::new(program.stdout.take().expect("it is piped"));
    output.read_line(&mut String::new()).expect("a line comes");
    assert!(link.is_symlink());
    let id = rustix::process::Pid::from_child(&program);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it can be signalled");
    assert!(program.wait().expect("it ends").success());
    assert!(!link.is_symlink(), "the link is still there");
}

#[test]
fn a_mapped_server_is_shown_with_the_port_that_was_asked_for_and_can_be_reached_by_that_address() {
    let site = Site::new(Behaviour::Echo, Ending::Orderly, "");
    let mut host = site.host();
    host.send(format!("AT+QIDNSGIP=1,\"{NAME}\"\r").as_bytes());
    host.until(b"+QIURC: \"dnsgip\",0,1,600\r\n");
    host.until(b"+QIURC: \"dnsgip\",\"192.0.2.1\"\r\n");
    for (id, name) in [(0, NAME), (1, "192.0.2.1")] {
        host.send(format!("AT+QSSLOPEN=1,0,{id},\"{name}\",443,0\r").as_bytes());
        host.until(format!("+QSSLOPEN: {id},0\r\n").as_bytes());
        let state = host.command(&format!("AT+QSSLSTATE={id}"));
        assert!(state.contains(",\"192.0.2.1\",443,"), "{state}");
    }
    host.send(b"AT+QIDNSGIP=1,\"localhost\"\r");
    host.until(b"+QIURC: \"dnsgip\",0,");
    host.until(b"\r\n+QIURC: \"dnsgip\",\"");
}
