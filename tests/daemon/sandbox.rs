//! Goal of this test: a running daemon can open what its configuration names, also under a new name, and nothing else.
//! What the sandbox itself allows is tested in `src/daemon/sandbox.rs`.

use std::fs;

use qssl_modem_emulator::test_server::Behaviour;

use crate::daemon::{Daemon, tunnel};
use qssl_test_common::harness::{Site, certificate_file, connect, echo, temporary_directory};

/// Whether the daemon is in a sandbox; the reason is logged.
fn is_confined(daemon: &Daemon) -> bool {
    let is_confined = daemon.log().contains("in a sandbox");
    if !is_confined {
        assert!(daemon.log().contains("no sandbox: the kernel has no Landlock"), "{}", daemon.log());
        eprintln!("skipped: this kernel has no Landlock");
    }
    is_confined
}

#[test]
fn a_reload_reads_no_file_outside() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    if !is_confined(&daemon) {
        return;
    }
    let mut client = connect(daemon.address());
    let elsewhere = temporary_directory();
    let outside = elsewhere.path().join("ca.pem");
    let inside = daemon.path("ca.pem");
    for file in [&outside, &inside] {
        fs::copy(certificate_file(), file).expect("the directories are ours");
    }
    let with_ca = |file: &std::path::Path| {
        tunnel("web", "mode = \"buffer\"").replace(certificate_file(), &file.display().to_string())
    };
    daemon.rewrite(&with_ca(&outside), "");
    let log = daemon.reload("the old configuration stays");
    assert!(log.contains("ca.pem: permission denied (the sandbox allows"), "{log}");
    assert_eq!(daemon.status().tunnels[0].mode, "push");
    echo(&mut client, b"it goes on");

    // Neither of the files was there at the start: editors replace a file by a new one.
    fs::rename(daemon.path("run.toml"), daemon.path("run.toml.old")).expect("the directory is ours");
    daemon.rewrite(&with_ca(&inside), "");
    daemon.reload("0 unchanged, 1 changed, 0 added, 0 removed");
    echo(&mut connect(daemon.address()), b"as before");

    let text = fs::read_to_string(daemon.path("run.toml")).expect("it is ours");
    let modem = format!("[[modem]]\nname = \"b\"\ndevice = \"{}\"\n", elsewhere.path().join("tty").display());
    daemon.rewrite_whole(&text.replace("[modem]", &format!("{modem}[[modem]]\nname = \"modem\"")));
    daemon.reload(
        "modem b: its device is outside of the sandbox: this needs a restart; the old configuration stays",
    );

    daemon.rewrite_whole(&format!(
        "[modem]\nrecovery = \"reboot\"\nreset-command = \"true\"\n{}",
        tunnel("web", "")
    ));
    daemon.reload("reset-command: the sandbox runs no other program: restart; the old configuration stays");
}

#[test]
fn without_a_sandbox_any_file_is_read_and_a_reset_command_needs_that() {
    let site = Site::new(Behaviour::Echo, "");
    let elsewhere = temporary_directory();
    let outside = elsewhere.path().join("ca.pem");
    fs::copy(certificate_file(), &outside).expect("the directory is ours");
    for (modem, process) in
        [("", "no-sandbox = true"), ("recovery = \"reboot\"\nreset-command = \"true\"", "")]
    {
        let device = site.modem.device(0);
        let daemon = Daemon::on(&device, modem, &tunnel("web", ""), process, |_| ());
        daemon.wait_for("ready");
        assert_eq!(daemon.log().contains("no sandbox: --reset-command starts"), process.is_empty());
        assert!(!daemon.log().contains("in a sandbox"), "{}", daemon.log());
        let changed = tunnel("web", "mode = \"buffer\"");
        daemon.rewrite(&changed.replace(certificate_file(), &outside.display().to_string()), process);
        daemon.reload("0 unchanged, 1 changed, 0 added, 0 removed");
    }
}
