//! Goal of this test: `qssl-tunnel demo`, the first command of a new user, works and reports what it did.
//!
//! The program runs as in the README, with `--once`, and also without, as a user would try and end it.
#![cfg(feature = "emulator")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qssl-tunnel"));
    // The environment of the user who runs the tests must have no effect.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("QSSL_TUNNEL_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.arg("demo").args(arguments).stdin(Stdio::null());
    command
}

#[test]
fn once_moves_data_both_ways_and_ends_well() {
    let output = demo(&["--once"]).output().expect("the program starts");
    let said = String::from_utf8(output.stdout).expect("the demo prints text");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}{complaints}");
    assert_eq!(complaints, "", "a quiet log, and no progress bar where there is no terminal");

    assert!(said.contains("the modem authenticated the server; TLSv1.2"), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let checksums = ["up", "down"].map(|direction| {
        let at = lines.iter().position(|line| line.starts_with(&format!("{direction}: ")));
        let at = at.unwrap_or_else(|| panic!("nothing about {direction} in {said}"));
        assert!(lines[at].contains(" 8.00 MiB in "), "{said}");
        assert!(lines[at].ends_with("/s; the checksums agree, SHA-256"), "{said}");
        lines[at + 1].trim()
    });
    assert!(checksums.iter().all(|sum| sum.len() == 64), "{said}");
    assert_ne!(checksums[0], checksums[1], "what comes down is not what went up");
    assert!(!said.contains("curl"), "nothing is left to be tried: {said}");
}

#[test]
fn the_printed_curl_command_works_and_sigint_ends_the_demo() {
    let child = demo(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut child = Running(child);
    let mut output = BufReader::new(child.0.stdout.take().expect("it is piped"));
    let curl = loop {
        let mut line = String::new();
        let count = output.read_line(&mut line).expect("the demo prints text");
        assert!(count > 0, "the demo ended without a curl command: {:?}", child.0.wait());
        if line.trim_start().starts_with("curl ") {
            break line;
        }
    };

    let page = Command::new("sh").args(["-c", &format!("{} -sS --max-time 60", curl.trim())]).output();
    let page = page.expect("a shell starts");
    let complaints = String::from_utf8_lossy(&page.stderr);
    assert_eq!(String::from_utf8_lossy(&page.stdout), "hello from the server\n", "{curl}{complaints}");

    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it still runs");
    let status = child.0.wait().expect("it is our child");
    assert_eq!(status.code(), Some(0), "a drained demo is a success");
}

/// A program that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // After a successful test it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The transfer was cut after a second, with an error that blamed the tunnel.
#[test]
fn ctrl_c_lets_the_transfer_end() {
    let child = demo(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut child = Running(child);
    let mut lines = BufReader::new(child.0.stdout.take().expect("it is piped")).lines();
    let is_carrying = |line: std::io::Result<String>| line.is_ok_and(|line| line.contains("authenticated"));
    assert!(lines.any(is_carrying), "the demo ended early: {:?}", child.0.wait());
    let process = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(process, rustix::process::Signal::INT).expect("it runs");
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let mut complaints = String::new();
    let stderr = child.0.stderr.as_mut().expect("it is piped");
    std::io::Read::read_to_string(stderr, &mut complaints).expect("it is text");
    let status = child.0.wait().expect("it ends");
    assert_eq!((status.code(), complaints.as_str()), (Some(0), ""), "{rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("down: ")), "{rest:?}");
    assert!(!rest.iter().any(|line| line.contains("curl")), "nothing is there to be tried: {rest:?}");
}
