//! Goal of this test: data volumes are counted over restarts, also after `kill -9`, and a spent budget stops further
//! clients.

use std::fs;
use std::os::unix::fs::symlink;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use crate::daemon::{Daemon, tunnel};
use qssl_test_common::harness::{Ended, Site, connect, read_to_end, temporary_directory};

#[test]
fn volumes_outlive_the_daemon() {
    let site = Site::new(Behaviour::Echo, "");
    let state = temporary_directory();
    let line = format!("state-directory = \"{}\"", state.path().display());
    for round in 1..=2 {
        let daemon = Daemon::with(&site, &tunnel("web", ""), &line, |_| ());
        daemon.echoes(1000);
        let status = daemon.status();
        assert_eq!(status.tunnels[0].counters.up_bytes, 1000);
        assert_eq!(status.tunnels[0].month_bytes, 2000 * round, "round {round}");
        daemon.signal(Signal::TERM);
        daemon.ends_with(0);
    }
}

#[test]
fn a_state_directory_that_does_not_exist_is_named_once() {
    let site = Site::new(Behaviour::Echo, "");
    let line = "state-directory = \"/nonexistent/state\"";
    let daemon = Daemon::with(&site, &tunnel("web", ""), line, |_| ());
    daemon.echoes(1000);
    let log = daemon.log();
    assert_eq!(log.matches("/nonexistent/state: there is no such directory").count(), 1, "{log}");
}

#[test]
fn volumes_outlive_a_killed_daemon() {
    let site = Site::new(Behaviour::Echo, "");
    for is_service in [true, false] {
        let state = temporary_directory();
        // It is a tmpfs on every Linux.
        let memory = tempfile::tempdir_in("/dev/shm").expect("everybody may make files in it");
        let state_line = format!("state-directory = \"{}\"", state.path().display());
        let control = memory.path().join("control");
        let start = || match is_service {
            true => Daemon::with(&site, &tunnel("web", ""), &state_line, |command| {
                command.env("RUNTIME_DIRECTORY", memory.path());
            }),
            false => {
                let process = format!("{state_line}\ncontrol = \"{}\"", control.display());
                let daemon = Daemon::with(&site, &tunnel("web", ""), &process, |_| ());
                symlink(&control, daemon.path("control")).expect("the directory is ours");
                daemon
            }
        };
        let interim =
            memory.path().join(if is_service { "volume.interim" } else { "control.volume.interim" });
        for round in 1..=2 {
            let daemon = start();
            daemon.echoes(1000);
            let counts = format!(" web {0} {0} {round}\n", 1000 * round);
            daemon.wait_until("the interim file", |_| {
                fs::read_to_string(&interim).is_ok_and(|text| text.ends_with(&counts))
            });
            daemon.signal(Signal::KILL);
            daemon.ends_with(137);
            assert!(!state.path().join("volume").exists(), "flash is not written so soon");
        }
        let daemon = start();
        assert_eq!(daemon.status().tunnels[0].month_bytes, 4000);
        daemon.signal(Signal::TERM);
        daemon.ends_with(0);
        assert!(state.path().join("volume").exists() && !interim.exists());
    }
}

#[test]
fn a_spent_budget_resets_further_clients() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::with(&site, &tunnel("web", ""), "monthly-budget = \"10kB,stop\"", |_| ());
    daemon.echoes(2000);
    daemon.wait_for("further clients are reset until the month is over");
    let mut refused = connect(daemon.address());
    assert_eq!(read_to_end(&mut refused).2, Ended::Reset);
    daemon.wait_for("the month's budget is spent");
    assert_eq!(daemon.status().tunnels[0].counters.refused, 1);
    let budget = daemon.status().counts().budget.expect("there is one");
    assert_eq!((budget.limit_bytes, budget.used_bytes), (10_000, 11_000));

    daemon.rewrite(&tunnel("web", ""), "monthly-budget = \"1MB,stop\"");
    daemon.reload("1 unchanged");
    daemon.echoes(10);
}
