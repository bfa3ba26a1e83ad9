//! Goal of this test: a recording that is played back leaves nothing of its port.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::host::Host;

#[test]
fn the_link_of_a_recording_that_is_played_back_goes_with_the_program() {
    let path = |name: &str| {
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("replay-{name}-{}", std::process::id()))
    };
    let (recording, link) = (path("recording"), path("link"));
    std::fs::write(&recording, "> AT\n< OK\n").expect("the directory is ours");
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qssl-modem-emulator"));
        command.arg("--replay").arg(&recording).arg("--link").arg(&link);
        let mut child = command.stdout(Stdio::null()).spawn().expect("the program starts");
        while !link.exists() {
            std::thread::yield_now();
        }
        Host::open(&link).command("AT");
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        child.wait().expect("it ends");
        assert!(std::fs::symlink_metadata(&link).is_err(), "{signal:?} leaves the link");
    }
    std::fs::remove_file(recording).expect("it is there");
}
