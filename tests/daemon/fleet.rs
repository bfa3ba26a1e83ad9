//! Goal of this test: a daemon with two modems goes on with one of them when the other fails, and each can be seen and
//! asked by its name.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use qssl_modem_emulator::test_server::Behaviour;
use qssl_tunnel::daemon::control::{Reply, Request};
use qssl_tunnel::daemon::status::Status;
use rustix::process::Signal;

use crate::daemon::{Daemon, tunnel};
use qssl_test_common::harness::{
    Ended, Modem, Site, connect, echo, patterned_bytes, read_to_end, temporary_directory,
};

/// Two modems that reach the same server, called `a` and `b`, and their daemon.
struct Fleet {
    /// The server, and modem `a`.
    site: Site,
    /// Modem `b`.
    second: Option<Modem>,
    daemon: Daemon,
}

impl Fleet {
    /// With a tunnel `web`, and these lines of it.
    fn start(behaviour: Behaviour, more: &str) -> Fleet {
        let site = Site::new(behaviour, "");
        let second = Modem::start(site.server.address(), "");
        let sections = sections(&[("a", &site.modem), ("b", &second)]);
        let daemon = Daemon::of_modems(sections, &tunnel("web", more), "", |_| ());
        daemon.wait_for("a: ready");
        daemon.wait_for("b: ready");
        Fleet { site, second: Some(second), daemon }
    }

    /// Which of the modems carry connections, in the order of the clients.
    fn carriers(&self) -> Vec<String> {
        let all = self.daemon.status().connections;
        all.into_iter().map(|connection| connection.modem).collect()
    }
}

/// Four clients in the middle of an echo, by the two modems in turn.
struct Transfers {
    clients: Vec<TcpStream>,
    sent: Vec<u8>,
}

impl Transfers {
    fn start(fleet: &Fleet) -> Transfers {
        let daemon = &fleet.daemon;
        let mut clients: Vec<TcpStream> = (0..4).map(|_| connect(daemon.address())).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            echo(client, &[number as u8; 100]);
        }
        assert_eq!(fleet.carriers(), ["a", "b", "a", "b"], "{}", daemon.log());
        let sent = patterned_bytes(300_000);
        let mut first = vec![0; FIRST];
        for client in &mut clients {
            let (mut writer, payload) = (client.try_clone().expect("a descriptor"), sent.clone());
            thread::spawn(move || writer.write_all(&payload));
            client.read_exact(&mut first).expect("its bytes come back");
            assert!(sent.starts_with(&first), "somebody else's bytes");
        }
        Transfers { clients, sent }
    }

    /// Those of `a` get everything; those of `b` get what came in order, and no end in order.
    fn end_with_those_of_b_reset(&mut self) {
        let rest = &self.sent[FIRST..];
        for (number, client) in self.clients.iter_mut().enumerate() {
            let mut received = Vec::new();
            let read = client.take(rest.len() as u64).read_to_end(&mut received);
            assert!(rest.starts_with(&received), "client {number}: other bytes");
            match number % 2 {
                0 => assert_eq!(read.map_err(|error| error.kind()), Ok(rest.len()), "client {number}"),
                _ => assert_eq!(
                    read.map_err(|error| error.kind()),
                    Err(ErrorKind::ConnectionReset),
                    "{number}"
                ),
            }
        }
    }
}

const FIRST: usize = 5_000;

fn sections(modems: &[(&str, &Modem)]) -> String {
    let section = |(name, modem): &(&str, &Modem)| {
        format!("[[modem]]\nname = \"{name}\"\ndevice = \"{}\"\n", modem.device(0))
    };
    modems.iter().map(section).collect()
}

fn states(status: &Status) -> Vec<(&str, &str)> {
    status.modems.iter().map(|modem| (&*modem.name, &*modem.state)).collect()
}

#[test]
fn one_is_unplugged_in_mid_transfer_and_the_clients_of_the_other_lose_nothing() {
    let mut fleet = Fleet::start(Behaviour::Echo, "policy = \"balance\"");
    let daemon = &fleet.daemon;
    let mut transfers = Transfers::start(&fleet);
    fleet.second = None;
    transfers.end_with_those_of_b_reset();
    // New ones are served, although fewer connections of that modem are free.
    for _ in 0..3 {
        echo(&mut connect(daemon.address()), b"served");
    }
    let status = daemon.status();
    assert_eq!(states(&status), [("a", "up"), ("b", "waiting")]);
    assert_eq!(status.state, "up");
    let shown = daemon.tool(&["status"]).text();
    assert!(shown.contains("modem      a (up), ") && shown.contains("modem      b (waiting), "), "{shown}");
}

/// It is there, and neither answers nor sends: no error of the system shows it.
#[test]
fn one_falls_silent_in_mid_transfer_and_is_used_again_when_it_answers() {
    let fleet = Fleet::start(Behaviour::Echo, "policy = \"balance\"");
    let daemon = &fleet.daemon;
    let second = &fleet.second.as_ref().expect("it is there").embedded;
    let mut transfers = Transfers::start(&fleet);
    let stall = |seconds| {
        let silence = Duration::from_secs(seconds);
        second.with_modem(move |modem, _, now| modem.stall(now + silence)).expect("the modem runs");
    };
    stall(3_600);

    let mut next = [(); 2].map(|()| connect(daemon.address()));
    for client in &mut next {
        echo(client, b"served meanwhile");
    }
    assert_eq!(fleet.carriers()[4..], ["a", "a"], "{}", daemon.log());
    transfers.end_with_those_of_b_reset();

    stall(0);
    daemon.wait_until("it is used again", |status| {
        echo(&mut connect(daemon.address()), b"served");
        status.modems[1].counts().modem.opens > 2
    });
    assert_eq!(states(&daemon.status()), [("a", "up"), ("b", "up")]);
    for client in &mut next {
        echo(client, b"goes on where it was");
    }
}

#[test]
fn a_client_waits_for_no_modem_that_is_missing() {
    let site = Site::new(Behaviour::Echo, "");
    let directory = temporary_directory();
    let sections = format!(
        "[[modem]]\nname = \"a\"\ndevice = \"{}\"\n[[modem]]\nname = \"b\"\ndevice = \"{}\"\n",
        directory.path().join("missing").display(),
        directory.path().join("late").display()
    );
    let daemon = Daemon::of_modems(sections, &tunnel("web", ""), "", |_| ());
    daemon.wait_for("a: ");
    // Neither can serve it: it waits for the first one that can.
    let mut client = connect(daemon.address());
    daemon.wait_until("it waits", |status| status.counts().waiting_clients == 1);
    let _late =
        Modem::start(site.server.address(), &format!("--link {}", directory.path().join("late").display()));
    echo(&mut client, b"served by the other");
    assert_eq!(states(&daemon.status()), [("a", "waiting"), ("b", "up")]);
    daemon.wait_for("comes from a, which cannot serve it now");
}

#[test]
fn each_is_asked_by_its_name() {
    let fleet = Fleet::start(Behaviour::Echo, "");
    let answer = |arguments: &[&str]| {
        let finished = fleet.daemon.tool(arguments);
        (finished.status, finished.text() + &finished.stderr)
    };
    for name in ["a", "b"] {
        let (status, said) = answer(&["at", "AT+CSQ", "--modem", name]);
        assert!(status == 0 && said.contains("+CSQ: "), "{said}");
        fleet.daemon.wait_for(&format!("{name}: > AT+CSQ"));
    }
    let (status, said) = answer(&["at", "AT+CSQ"]);
    assert!(status == 1 && said.contains("which modem is meant? --modem takes one of a, b"), "{said}");
    let (status, said) = answer(&["at", "AT+CSQ", "--modem", "c"]);
    assert!(status == 1 && said.contains("no modem is called c: there is a, b"), "{said}");
    let (status, said) = answer(&["cert", "list", "--modem", "b"]);
    assert!(status == 0 && said.contains("web"), "{said}");
    match fleet.daemon.ask(&Request::Transcript { payload: None }) {
        Ok(Reply::Transcript { ports }) => assert_eq!(ports.len(), 2),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_modem_is_given_up_alone_and_the_last_one_ends_the_daemon() {
    // Names of their own, as the system gives those of ttys to the next one that is made.
    let directory = temporary_directory();
    let link = |name: &str| directory.path().join(name).display().to_string();
    let site = Site::new(Behaviour::Echo, &format!("--link {}", link("a")));
    let second = Modem::start(site.server.address(), &format!("--link {}", link("b")));
    let section =
        |name: &str| format!("[[modem]]\nname = \"{name}\"\ndevice = \"{}\"\nmax-retries = 0\n", link(name));
    let tunnels = tunnel("web", "modems = [\"b\", \"a\"]");
    let daemon = Daemon::of_modems(section("a") + &section("b"), &tunnels, "", |_| ());
    daemon.wait_for("a: ready");
    daemon.wait_for("b: ready");
    let mut fleet = Fleet { site, second: Some(second), daemon };
    let mut client = connect(fleet.daemon.address());
    echo(&mut client, b"through b");
    assert_eq!(fleet.carriers(), ["b"]);
    fleet.second = None;
    let daemon = &fleet.daemon;
    assert!(matches!(read_to_end(&mut client).2, Ended::Reset));
    daemon.wait_for("this modem is given up, the others go on");
    echo(&mut connect(daemon.address()), b"through a");
    assert_eq!(states(&daemon.status()), [("a", "up"), ("b", "given up")]);
    let Fleet { site, daemon, .. } = fleet;
    drop(site.modem);
    daemon.ends_with(7);
}

#[test]
fn a_reload_changes_tunnels_on_both() {
    let fleet = Fleet::start(Behaviour::Echo, "");
    let daemon = &fleet.daemon;
    let mut old = connect(daemon.address());
    echo(&mut old, b"by the first");
    daemon.rewrite(&tunnel("web", "modems = [\"b\"]"), "");
    daemon.reload("0 unchanged, 1 changed, 0 added, 0 removed");
    echo(&mut old, b"goes on there");
    echo(&mut connect(daemon.address()), b"by the second");
    let opens =
        |status: &Status| status.modems.iter().map(|modem| modem.counts().modem.opens).collect::<Vec<_>>();
    assert_eq!(opens(&daemon.status()), [1, 1]);
}

#[test]
fn a_modem_that_no_tunnel_could_use_is_set_up_when_a_reload_gives_it_one() {
    let site = Site::new(Behaviour::Echo, "");
    let second = Modem::start(site.server.address(), "");
    let both = sections(&[("a", &site.modem), ("b", &second)]);
    let daemon = Daemon::of_modems(both, &tunnel("web", "modems = [\"a\"]"), "", |_| ());
    daemon.wait_for("a: ready");
    daemon.rewrite(&tunnel("web", "modems = [\"b\"]"), "");
    daemon.reload("0 unchanged, 1 changed, 0 added, 0 removed");
    daemon.wait_for("b: ready");
    echo(&mut connect(daemon.address()), b"by b");
    assert_eq!(states(&daemon.status()), [("a", "up"), ("b", "up")]);
}

impl Fleet {
    /// Reads the file again, with these modems.
    fn reload_with(&self, modems: &[(&str, &Modem)]) {
        let text = fs::read_to_string(self.daemon.path("run.toml")).expect("it is ours");
        let rest = text.find("\n[process]").expect("it has the section");
        self.daemon.rewrite_whole(&(sections(modems) + &text[rest..]));
        self.daemon.reload("1 unchanged, 0 changed, 0 added, 0 removed");
    }
}

#[test]
fn a_modem_joins_another_leaves_and_comes_back_by_reloads() {
    let fleet = Fleet::start(Behaviour::Echo, "policy = \"balance\"");
    let (daemon, first) = (&fleet.daemon, &fleet.site.modem);
    let second = fleet.second.as_ref().expect("it is there");
    let third = Modem::start(fleet.site.server.address(), "");
    let served = |count: usize| -> Vec<TcpStream> {
        let clients = (0..count).map(|_| {
            let mut client = connect(daemon.address());
            echo(&mut client, b"served");
            client
        });
        clients.collect()
    };
    let mut old = served(2);
    assert_eq!(fleet.carriers(), ["a", "b"]);

    fleet.reload_with(&[("b", second), ("c", &third)]);
    daemon.wait_for("c: ready");
    let _new = served(5);
    let carriers = fleet.carriers();
    let is_new = |carrier: &String| carrier == "b" || carrier == "c";
    assert!(carriers.len() == 7 && carriers[2..].iter().all(is_new), "{carriers:?}");
    assert!(carriers.iter().any(|carrier| carrier == "c"), "{carriers:?}");
    echo(&mut old[0], b"goes on until it ends");
    let status = daemon.status();
    assert_eq!(states(&status), [("b", "up"), ("c", "up"), ("a", "draining")]);
    assert_eq!(status.state, "up");
    let mut numbers: Vec<u64> = status.connections.iter().map(|connection| connection.id).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 7, "{status:#?}");
    old.remove(0);
    daemon.wait_for("a: this modem is no longer used");
    assert_eq!(states(&daemon.status()), [("b", "up"), ("c", "up")]);

    fleet.reload_with(&[("a", first), ("b", second), ("c", &third)]);
    daemon.wait_for_count("a: ready", 2);
    let _more = served(1);
    let status = daemon.status();
    assert_eq!(states(&status), [("a", "up"), ("b", "up"), ("c", "up")]);
    assert_eq!(status.connections.last().map(|it| &*it.modem), Some("a"), "{}", daemon.log());
    echo(&mut old[0], b"as before");
}

#[test]
fn a_client_that_waits_goes_to_a_modem_that_joins() {
    let site = Site::new(Behaviour::Echo, "");
    let directory = temporary_directory();
    let device = directory.path().join("missing");
    let missing = format!("[[modem]]\nname = \"a\"\ndevice = \"{}\"\n", device.display());
    let daemon = Daemon::of_modems(missing.clone(), &tunnel("web", ""), "", |_| ());
    daemon.wait_for("waiting for it");
    let mut client = connect(daemon.address());
    daemon.wait_until("it waits", |status| status.counts().waiting_clients == 1);
    let text = fs::read_to_string(daemon.path("run.toml")).expect("it is ours");
    daemon.rewrite_whole(&text.replace(&missing, &sections(&[("b", &site.modem)])));
    daemon.reload("1 unchanged, 0 changed, 0 added, 0 removed");
    echo(&mut client, b"served by the one that came");
    assert_eq!(states(&daemon.status()), [("b", "up")]);
}

/// The port of the one that leaves is free when its last connection has ended.
#[test]
fn a_modem_that_gets_another_name_joins_when_its_connections_have_ended() {
    let fleet = Fleet::start(Behaviour::Echo, "");
    let (daemon, first) = (&fleet.daemon, &fleet.site.modem);
    let mut client = connect(daemon.address());
    echo(&mut client, b"by a");
    fleet.reload_with(&[("new", first)]);
    daemon.wait_for("b: this modem is no longer used");
    // It waits, as no modem can serve it yet.
    let mut next = connect(daemon.address());
    next.write_all(b"early").expect("the tunnel takes it");
    echo(&mut client, b"still by a");
    drop(client);
    daemon.wait_for("new: ready");
    next.read_exact(&mut [0; 5]).expect("it is served");
    let answer = daemon.tool(&["at", "AT+CSQ"]).expect_success().text();
    assert!(answer.contains("+CSQ: "), "only one is left to be meant: {answer}");
}

#[test]
fn the_first_signal_does_not_cut_connections_of_a_modem_that_leaves() {
    let fleet = Fleet::start(Behaviour::Echo, "");
    let second = fleet.second.as_ref().expect("it is there");
    let mut client = connect(fleet.daemon.address());
    echo(&mut client, b"by a");
    fleet.reload_with(&[("b", second)]);
    fleet.daemon.signal(Signal::TERM);
    fleet.daemon.wait_until("the other has ended", |status| states(status)[0] == ("b", "given up"));
    echo(&mut client, b"not cut");
    drop(client);
    let Fleet { daemon, site: _site, .. } = fleet;
    daemon.ends_with(0);
}

/// All that runs then is a modem that leaves, which is not the end of the process.
#[test]
fn another_modem_joins_after_the_last_one_was_given_up() {
    let directory = temporary_directory();
    let link = directory.path().join("b").display().to_string();
    let site = Site::new(Behaviour::Echo, "");
    let second = Modem::start(site.server.address(), &format!("--link {link}"));
    let third = Modem::start(site.server.address(), "");
    let section = format!("[[modem]]\nname = \"b\"\ndevice = \"{link}\"\nmax-retries = 0\n");
    let both = sections(&[("a", &site.modem)]) + &section;
    let daemon = Daemon::of_modems(both.clone(), &tunnel("web", ""), "", |_| ());
    daemon.wait_for("a: ready");
    daemon.wait_for("b: ready");
    let mut client = connect(daemon.address());
    echo(&mut client, b"by a");
    let text = fs::read_to_string(daemon.path("run.toml")).expect("it is ours");
    let reload_with = |sections: &str| {
        daemon.rewrite_whole(&text.replace(&both, sections));
        daemon.reload("1 unchanged, 0 changed, 0 added, 0 removed");
    };
    reload_with(&section);
    drop(second);
    daemon.wait_for("this modem is given up, the others go on");
    reload_with(&sections(&[("c", &third)]));
    echo(&mut connect(daemon.address()), b"by the one that came");
    echo(&mut client, b"goes on until it ends");
    daemon.signal(Signal::TERM);
    daemon.wait_until("the other has ended", |status| states(status)[0] == ("c", "given up"));
    echo(&mut client, b"not cut");
}

#[test]
fn a_limit_of_clients_is_that_of_the_tunnel_and_not_of_each_modem() {
    let fleet = Fleet::start(Behaviour::Echo, "policy = \"balance\"\nmax-clients = 1\nwhen-full = \"evict\"");
    let daemon = &fleet.daemon;
    let mut first = connect(daemon.address());
    echo(&mut first, b"by a");
    let mut second = connect(daemon.address());
    assert_eq!(fleet.carriers(), ["a"]);
    drop(first);
    echo(&mut second, b"its turn");
}

/// A counter that goes backwards counts as a restart: what it has then would be counted twice.
#[test]
fn no_counter_goes_backwards_while_a_modem_leaves_and_when_it_comes_back() {
    let fleet = Fleet::start(Behaviour::Echo, "policy = \"balance\"");
    let (daemon, first) = (&fleet.daemon, &fleet.site.modem);
    let second = fleet.second.as_ref().expect("it is there");
    let mut clients = [(); 4].map(|()| connect(daemon.address()));
    for client in &mut clients {
        echo(client, b"counted");
    }
    assert_eq!(fleet.carriers(), ["a", "b", "a", "b"]);
    drop(clients);
    daemon.wait_until("they have ended", |status| status.connections.is_empty());
    // What is opened and moved for clients; the daemon itself adds to the bytes on the wire.
    let counted = |status: &Status| {
        let (tunnel, all) = (&status.tunnels[0].counters, &status.counts().modem);
        [tunnel.accepted, tunnel.opens, tunnel.up_bytes, all.opens, all.sent_bytes]
    };
    let once = [4, 4, 28, 4, 28];
    assert_eq!(counted(&daemon.status()), once);
    fleet.reload_with(&[("a", first)]);
    daemon.wait_for("b: this modem is no longer used");
    assert_eq!(counted(&daemon.status()), once);
    fleet.reload_with(&[("a", first), ("b", second)]);
    daemon.wait_for_count("b: ready", 2);
    let status = daemon.status();
    assert_eq!(counted(&status), once);
    assert_eq!(status.modems[1].counts().modem.opens, 2);
    let _next = connect(daemon.address());
    let numbers = daemon.wait_until("it is served", |status| !status.connections.is_empty()).connections;
    assert!(numbers[0].id > 4, "no number is used again: {numbers:?}");
}

#[test]
fn a_command_does_not_wait_for_a_modem_that_has_left() {
    let site = Site::new(Behaviour::Echo, "");
    let second = Modem::start(site.server.address(), "");
    let both = sections(&[("a", &site.modem), ("b", &second)]);
    let process = "shutdown-timeout = \"1s\"";
    let daemon = Daemon::of_modems(both, &tunnel("web", ""), process, |_| ());
    daemon.wait_for("b: ready");
    let fleet = Fleet { site, second: Some(second), daemon };
    let silence = Duration::from_secs(3_600);
    let second = fleet.second.as_ref().expect("it is there");
    second.embedded.with_modem(move |modem, _, now| modem.stall(now + silence)).expect("the modem runs");
    let asks = || fleet.daemon.tool(&["at", "AT+CSQ", "--modem", "b", "--timeout", "10min"]);
    thread::scope(|scope| {
        let asking = scope.spawn(asks);
        fleet.daemon.wait_for("b: > AT+CSQ");
        fleet.reload_with(&[("a", &fleet.site.modem)]);
        let answer = asking.join().expect("it ends");
        assert!(answer.stderr.contains("the modem is no longer used"), "{}", answer.stderr);
    });
}

/// Its clients are neither kept nor counted, and the next ones do not wait for ever.
#[test]
fn a_tunnel_whose_modems_were_all_given_up_refuses_its_clients() {
    let site = Site::new(Behaviour::Echo, "");
    let directory = temporary_directory();
    let missing = directory.path().join("missing").display().to_string();
    let both = sections(&[("a", &site.modem)])
        + &format!("[[modem]]\nname = \"b\"\ndevice = \"{missing}\"\nmax-retries = 3\n");
    let by = |modem: &str| tunnel("web", &format!("modems = [\"{modem}\"]\nmax-clients = 1"));
    let daemon = Daemon::of_modems(both, &by("b"), "", |_| ());
    let mut early = connect(daemon.address());
    daemon.wait_for("its modem was given up");
    assert!(matches!(read_to_end(&mut early).2, Ended::Reset));
    assert!(matches!(read_to_end(&mut connect(daemon.address())).2, Ended::Reset));
    daemon.wait_for("is not served: every modem that its tunnel may use was given up; reset");
    let status = daemon.status();
    assert!(status.connections.is_empty() && status.counts().waiting_clients == 0, "{status:#?}");
    assert_eq!((status.tunnels[0].clients.len(), status.tunnels[0].counters.refused), (0, 1));
    daemon.rewrite(&by("a"), "");
    daemon.reload("0 unchanged, 1 changed, 0 added, 0 removed");
    daemon.wait_for("a: ready");
    let mut client = connect(daemon.address());
    client.write_all(b"there is room for it").expect("it is accepted");
    client.read_exact(&mut [0; 20]).unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
}
