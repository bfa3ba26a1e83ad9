//! Goal of this test: data volumes are counted over restarts, and a spent budget stops further clients.

use std::io::{Read as _, Write as _};

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use crate::daemon::{Daemon, tunnel};
use qssl_test_common::harness::{Ended, Site, connect, read_to_end, temporary_directory};

fn talk(daemon: &Daemon, bytes: usize) {
    let mut client = connect(daemon.address());
    client.write_all(&vec![1; bytes]).expect("the tunnel reads");
    client.read_exact(&mut vec![0; bytes]).expect("the server echoes");
}

#[test]
fn volumes_outlive_the_daemon() {
    let site = Site::new(Behaviour::Echo, "");
    let state = temporary_directory();
    let line = format!("state-directory = \"{}\"", state.path().display());
    for round in 1..=2 {
        let daemon = Daemon::with(&site, &tunnel("web", ""), &line, |_| ());
        talk(&daemon, 1000);
        let status = daemon.status();
        assert_eq!(status.tunnels[0].counters.up_bytes, 1000);
        assert_eq!(status.tunnels[0].month_bytes, 2000 * round, "round {round}");
        daemon.signal(Signal::TERM);
        daemon.ends_with(0);
    }
}

#[test]
fn a_spent_budget_resets_further_clients() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::with(&site, &tunnel("web", ""), "monthly-budget = \"10kB,stop\"", |_| ());
    talk(&daemon, 2000);
    daemon.wait_for("further clients are reset until the month is over");
    let mut refused = connect(daemon.address());
    assert_eq!(read_to_end(&mut refused).2, Ended::Reset);
    daemon.wait_for("the month's budget is spent");
    assert_eq!(daemon.status().tunnels[0].counters.refused, 1);
    let budget = daemon.status().counts().budget.expect("there is one");
    assert_eq!((budget.limit_bytes, budget.used_bytes), (10_000, 11_000));

    daemon.rewrite(&tunnel("web", ""), "monthly-budget = \"1MB,stop\"");
    daemon.reload("1 unchanged");
    talk(&daemon, 10);
}
