//! Goal of this test: `-v` shows what a host and the modem say to each other, with time and port.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::host::Host;

#[test]
fn what_passes_on_every_port_is_shown_with_time_and_port() {
    let link = |name: &str| {
        let name = format!("dialogue-{name}-{}", std::process::id());
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
    };
    let (first, second) = (link("first"), link("second"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_qssl-modem-emulator"));
    command.arg("-v").arg("--link").arg(&first).arg("--link").arg(&second);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    while !(first.exists() && second.exists()) {
        std::thread::yield_now();
    }
    Host::open(&first).command("AT+CGMI");
    Host::open(&second).command("AT+CSQ");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    let shown = String::from_utf8_lossy(&output.stderr);
    let has = |words: &str| {
        shown.lines().any(|line| {
            let (time, rest) = line.trim_start().split_once(' ').unwrap_or_default();
            time.parse::<f64>().is_ok() && rest == words
        })
    };
    for words in ["uart1 > AT+CGMI", "uart1 < Quectel", "uart1 < OK", "usbmodem > AT+CSQ", "usbmodem < OK"] {
        assert!(has(words), "{words}: {shown}");
    }
}
