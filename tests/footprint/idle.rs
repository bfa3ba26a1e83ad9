//! Goal of this test: a tunnel with a silent client sleeps, without regular wake-ups.

#![allow(clippy::disallowed_methods, reason = "that nothing happens shows only after a while")]

use std::thread::sleep;
use std::time::Duration;

use qssl_modem_emulator::test_server::Behaviour;

use crate::of_process;
use qssl_test_common::harness::{MODES, Site, Tunnel, connect, echo};

#[test]
fn an_idle_tunnel_does_not_wake_up() {
    // All modes at once, so that they are observed at the same time.
    let sites = MODES.map(|mode| {
        let site = Site::new(Behaviour::Echo, "");
        let tunnel = site.tunnel(&["--mode", mode, "--liveness-interval", "0"]);
        let mut client = connect(tunnel.address());
        echo(&mut client, b"Is anybody there?");
        (mode, site, tunnel, client)
    });
    let tunnels = sites.each_ref().map(|(mode, _, tunnel, _)| (*mode, tunnel));
    settle(&tunnels);
    let before = tunnels.map(|(_, tunnel)| sleeps(tunnel));
    sleep(OBSERVED);
    for ((mode, tunnel), before) in tunnels.into_iter().zip(before) {
        assert_eq!(sleeps(tunnel) - before, 0, "wake-ups in {OBSERVED:?}, {mode} mode:\n{}", tunnel.log());
    }
}

/// Waits until none of them has done anything for a second. Endless activity is found by the caller.
fn settle(tunnels: &[(&str, &Tunnel)]) {
    let all = || tunnels.iter().map(|(_, tunnel)| sleeps(tunnel)).sum::<u64>();
    for _ in 0..SETTLING_ROUNDS {
        let before = all();
        sleep(Duration::from_secs(1));
        if all() == before {
            return;
        }
    }
}

/// How often its threads have gone to sleep.
fn sleeps(tunnel: &Tunnel) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", tunnel.id())).expect("it runs").flatten();
    let ids = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
    ids.map(|id| of_process(id, "voluntary_ctxt_switches")).sum()
}

/// The time of observation. It is not a limit for any work.
const OBSERVED: Duration = Duration::from_secs(10);

const SETTLING_ROUNDS: u32 = 20;
