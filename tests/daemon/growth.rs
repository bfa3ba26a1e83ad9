//! Goal of this test: thousands of connections, one after the other, leak no memory and no descriptors.

use std::fs;
use std::time::Duration;

use qssl_modem_emulator::test_server::Behaviour;

use crate::daemon::Daemon;
use qssl_test_common::harness::{Ended, Site, connect, read_to_end, rounds};

#[test]
fn connections_in_sequence_leave_nothing_behind() {
    let count = rounds(2_000, 10_000);
    let grown_kilobytes_max = rounds(512, 1_024) as u64;
    let site = Site::new(Behaviour::Source { bytes: 1000 }, "");
    let daemon = Daemon::start(&site);
    let address = daemon.address();
    let one = || {
        let mut client = connect(address);
        let (bytes, _, ended) = read_to_end(&mut client);
        assert_eq!((bytes, ended), (1000, Ended::InOrder));
    };
    // One-time allocations are made within the first connections.
    for _ in 0..WARM_UP {
        one();
    }
    wait_for_the_end_of_all(&daemon);
    let before = Footprint::of(&daemon);
    for _ in 0..count {
        one();
    }
    wait_for_the_end_of_all(&daemon);
    // The control connection of the last request may not be closed yet.
    let mut after = Footprint::of(&daemon);
    for _ in 0..100 {
        if after.descriptors <= before.descriptors {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(100));
        after = Footprint::of(&daemon);
    }
    assert!(after.descriptors <= before.descriptors, "{before:?} {after:?}");
    assert!(after.kilobytes <= before.kilobytes + grown_kilobytes_max, "{before:?} {after:?}");
}

const WARM_UP: u32 = 1_000;

#[derive(Debug)]
struct Footprint {
    descriptors: usize,
    kilobytes: u64,
}

fn wait_for_the_end_of_all(daemon: &Daemon) {
    daemon.wait_until("the end of every client", |status| {
        status.tunnels[0].clients.is_empty() && status.sockets.get("free") == Some(&12)
    });
}

impl Footprint {
    fn of(daemon: &Daemon) -> Footprint {
        let folder = format!("/proc/{}", daemon.id());
        let status = fs::read_to_string(format!("{folder}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has it");
        Footprint {
            descriptors: fs::read_dir(format!("{folder}/fd")).expect("it is ours").count(),
            kilobytes: line.trim().trim_end_matches(" kB").parse().expect("a number"),
        }
    }
}
