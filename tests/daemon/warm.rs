//! Goal of this test: with `--warm` the program opens connections ahead, gives each to one client, counts them, and closes
//! them at a reload and at the end; options that contradict it are refused.

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use crate::daemon::{Daemon, tunnel};
use qssl_test_common::harness::{Ended, Site, connect, read_to_end, run, tunnel_command};

#[test]
fn clients_get_what_was_opened_ahead_and_a_reload_and_the_end_close_the_rest() {
    for mode in ["push", "buffer"] {
        let site = Site::new(Behaviour::Echo, "");
        let options = format!("mode = \"{mode}\"\nwarm = 2");
        let daemon = Daemon::with(&site, &tunnel("web", &options), "", |_| ());
        for client in 1..=4 {
            daemon.wait_until("both are ready", |status| status.tunnels[0].warm == 2);
            daemon.echoes(1000);
            let status = daemon.status();
            assert_eq!(status.tunnels[0].counters.served_warm, client, "{mode}");
        }
        daemon.wait_until("both are ready", |status| status.tunnels[0].warm == 2);
        let table = daemon.tool(&["status"]).expect_success().text();
        assert!(table.contains("2 warm"), "{table}");
        let metrics = daemon.tool(&["status", "--prometheus"]).expect_success().text();
        assert!(metrics.contains("qssl_tunnel_tunnel_served_warm_total{tunnel=\"web\"} 4"), "{metrics}");

        daemon.rewrite(&tunnel("web", &format!("mode = \"{mode}\"")), "");
        daemon.reload("1 changed");
        daemon.wait_until("none is left", |status| {
            status.tunnels[0].warm == 0
                && !status.sockets.contains_key("warm")
                && status.sockets.get("closing").is_none_or(|it| *it == 0)
        });
        daemon.echoes(1000);
        daemon.rewrite(&tunnel("web", &options), "");
        daemon.reload("1 changed");
        daemon.wait_until("both are ready", |status| status.tunnels[0].warm == 2);
        daemon.signal(Signal::TERM);
        daemon.ends_with(0);
    }
}

#[test]
fn opens_ahead_count_for_a_budget_and_a_spent_one_stops_them() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::with(&site, &tunnel("web", "warm = 3"), "monthly-budget = \"10kB,stop\"", |_| ());
    daemon.wait_for("further clients are reset until the month is over");
    let mut refused = connect(daemon.address());
    assert_eq!(read_to_end(&mut refused).2, Ended::Reset);
    let status = daemon.wait_until("they are open", |status| !status.sockets.contains_key("opening"));
    let used = status.counts().budget.expect("there is one").used_bytes;
    assert_eq!(used, 7_000 * status.tunnels[0].counters.opens, "each handshake is estimated");
    assert_eq!(status.tunnels[0].counters.served_warm, 0);
}

#[test]
fn it_is_refused_where_it_cannot_work() {
    for (arguments, reason) in [
        (
            &["--to", "a.example:443", "--insecure", "--warm", "1", "--mode", "transparent"][..],
            "a transparent connection occupies its port",
        ),
        (
            &["--dynamic", "socks5", "--allow-target", "*:443", "--warm", "1"],
            "name their servers, so none can be opened ahead",
        ),
        (&["--to", "a.example:443", "--insecure", "--warm-max-age", "20s"], "needs --warm"),
        (
            &["--to", "a.example:443", "--insecure", "--warm", "1", "--warm-max-age", "1s"],
            "must be 5s or more",
        ),
        (
            &["--to", "a.example:443", "--insecure", "--warm", "2", "--sockets", "0-1"],
            "would leave none of the 2 of --sockets free",
        ),
    ] {
        let refused = run(tunnel_command(&["listen", "8443"]).args(arguments));
        assert_eq!(refused.status, 2, "{arguments:?}");
        assert!(refused.stderr.contains(reason), "{arguments:?}: {}", refused.stderr);
    }
}
