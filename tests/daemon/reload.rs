//! Goal of this test: SIGHUP applies a new configuration as a whole or not at all, and open connections go on.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use qssl_modem_emulator::test_server::Behaviour;

use crate::daemon::{Daemon, SOCKS_GREETED, SOCKS_GREETING, SOCKS_REQUEST, proxy, socks_reply, tunnel};
use qssl_test_common::harness::{EG800Q, Ended, SetAtTheEnd, Site, connect, echo, read_to_end};

#[test]
fn tunnels_come_and_go_and_connections_stay() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let mut old = connect(daemon.address());
    echo(&mut old, b"before");

    daemon.rewrite(&(tunnel("web", "") + &tunnel("more", "")), "");
    daemon.reload("1 unchanged, 0 changed, 1 added, 0 removed");
    echo(&mut old, b"after");
    let mut new = connect(daemon.address_of(1));
    echo(&mut new, b"new");
    echo(&mut connect(daemon.address()), b"as before");

    daemon.rewrite(&tunnel("more", ""), "");
    daemon.reload("1 unchanged, 0 changed, 0 added, 1 removed");
    daemon.wait_for(&format!("{} takes no more clients", daemon.address()));
    assert!(TcpStream::connect(daemon.address()).is_err(), "nobody listens there any more");
    echo(&mut old, b"still there");
    echo(&mut new, b"still there");
    let names: Vec<String> = daemon.status().tunnels.into_iter().map(|tunnel| tunnel.name).collect();
    assert_eq!(names, ["more"]);
}

#[test]
fn a_changed_tunnel_serves_new_clients_under_new_settings_at_the_same_address() {
    let site = Site::new(Behaviour::Echo, EG800Q);
    let daemon = Daemon::start(&site);
    let mut old = connect(daemon.address());
    echo(&mut old, b"push");
    // The TLS settings differ, so another SSL context is used.
    daemon.rewrite(&tunnel("web", "mode = \"buffer\"\nalpn = \"h2\""), "");
    daemon.reload("0 unchanged, 1 changed, 0 added, 0 removed");
    echo(&mut connect(daemon.address()), b"buffer");
    echo(&mut old, b"push still");
    daemon.wait_for("+QSSLCFG=\"alpn\",1,\"h2\"");
    assert_eq!(daemon.status().tunnels[0].mode, "buffer");
    // Under both settings it is one tunnel.
    daemon.wait_until("the old client is in its row", |status| {
        let tunnel = &status.tunnels[0];
        let counters = (tunnel.counters.accepted, tunnel.counters.opens, tunnel.counters.up_bytes);
        counters == (2, 2, 20) && tunnel.clients.get("open") == Some(&1)
    });
}

/// A client that has named its target gets that or nothing, and only if it still may.
#[test]
fn a_client_that_is_not_connected_yet_is_never_connected_to_what_it_did_not_ask_for() {
    let site = Site::new(Behaviour::Echo, "");
    let plain = proxy("web", "").replace("dynamic-tls = true", "");
    let plain: String =
        plain.lines().filter(|line| !line.starts_with("ca =")).map(|line| format!("{line}\n")).collect();
    // What the one that waits and the one that has only greeted then get; `None` for the latter: a reset.
    let cases = [
        (proxy("web", "idle-timeout = 99"), 0, Some(0)),
        (proxy("web", "allow-target = [\"server.test:443\", \"*:80\"]"), 0, Some(0)),
        (proxy("web", "allow-target = \"*.example:443\""), 1, Some(2)),
        (proxy("web", "proxy-user-file = \"USERS\""), 1, None),
        (plain, 1, None),
        (tunnel("web", ""), 1, None),
        (String::new(), 1, None),
    ];
    for (after, waiting_gets, greeted_gets) in cases {
        let other = tunnel("other", "");
        let before = other.clone() + &proxy("web", "");
        let daemon = Daemon::on(&site.modem.device(0), "sockets = \"3\"", &before, "", |_| ());
        daemon.wait_for("ready");
        let mut served = connect(daemon.address());
        echo(&mut served, b"the only socket");
        let greet = || {
            let (mut client, mut answer) = (connect(daemon.address_of(1)), SOCKS_GREETED);
            client.write_all(SOCKS_GREETING).expect("it is read");
            client.read_exact(&mut answer).expect("it is answered");
            client
        };
        let (mut waiting, mut greeted) = (greet(), greet());
        waiting.write_all(SOCKS_REQUEST).expect("it is read");
        daemon.wait_until("it waits", |status| status.counts().waiting_clients == 1);
        let users = daemon.path("users");
        fs::write(&users, "user:secret\n").expect("the directory is ours");
        let after = after.replace("USERS", &users.display().to_string());
        daemon.rewrite(&(other + &after), "");
        daemon.reload("configuration reloaded");
        drop(served);
        let gets = |client: &mut TcpStream| {
            let mut reply = [0; 10];
            client.read_exact(&mut reply).map(|()| reply).map_err(|error| error.kind())
        };
        assert_eq!(gets(&mut waiting), Ok(socks_reply(waiting_gets)), "{after}{}", daemon.log());
        if waiting_gets == 0 {
            echo(&mut waiting, b"connected");
        }
        drop(waiting);
        if greeted_gets.is_some() {
            greeted.write_all(SOCKS_REQUEST).expect("it is read");
        }
        let expected = greeted_gets.map(socks_reply).ok_or(ErrorKind::ConnectionReset);
        assert_eq!(gets(&mut greeted), expected, "{after}{}", daemon.log());
    }
}

#[test]
fn a_client_that_waits_for_tls_is_not_given_to_a_proxy() {
    let site = Site::new(Behaviour::Echo, "");
    let (other, before) = (tunnel("other", ""), tunnel("web", ""));
    let device = site.modem.device(0);
    let daemon = Daemon::on(&device, "sockets = \"3\"", &(other.clone() + &before), "", |_| ());
    daemon.wait_for("ready");
    let mut served = connect(daemon.address());
    echo(&mut served, b"the only socket");
    let mut waiting = connect(daemon.address_of(1));
    daemon.wait_until("it waits", |status| status.counts().waiting_clients == 1);
    daemon.rewrite(&(other + &proxy("web", "")), "");
    daemon.reload("configuration reloaded");
    drop(served);
    assert_eq!(read_to_end(&mut waiting).2, Ended::Reset, "{}", daemon.log());
}

#[test]
fn a_bad_file_changes_nothing() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let mut client = connect(daemon.address());
    echo(&mut client, b"before");
    let before = daemon.status().tunnels[0].clone();
    for text in ["", "[[tunnel]]\nlisten = 1\n", "nonsense", "[modem]\nbaud = \"fast\"\n"] {
        daemon.rewrite_whole(text);
        daemon.reload("the old configuration stays");
    }
    // The configuration is valid, but its address cannot be bound.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = taken.local_addr().expect("it is bound");
    let other = tunnel("other", "").replace("127.0.0.1:0", &address.to_string());
    daemon.rewrite(&(tunnel("web", "idle-timeout = 5") + &other), "");
    daemon.reload("the old configuration stays");
    echo(&mut client, b"after");
    echo(&mut connect(daemon.address()), b"after");
    let after = daemon.status().tunnels;
    assert_eq!((after.len(), &after[0].name, &after[0].mode), (1, &before.name, &before.mode));
}

#[test]
fn under_load_no_byte_is_lost() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let address = daemon.address();
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = SetAtTheEnd(&ends);
        for number in 0..4_u8 {
            let ends = &ends;
            scope.spawn(move || {
                let mut client = connect(address);
                while !ends.load(Ordering::Relaxed) {
                    echo(&mut client, &vec![number; 10_000]);
                }
            });
        }
        for round in 0..10 {
            let more = if round % 2 == 0 { tunnel("more", "mode = \"buffer\"") } else { String::new() };
            daemon.rewrite(&(tunnel("web", "") + &more), "");
            daemon.reload("configuration reloaded");
        }
    });
    let status = daemon.status();
    assert_eq!((status.tunnels[0].counters.accepted, status.tunnels[0].counters.resets), (4, 0));
}

#[test]
fn settings_of_the_modem_say_what_they_wait_for() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let device = site.modem.device(0);
    daemon.rewrite_whole(&format!(
        "[modem]\ndevice = \"{device}\"\nbaud = 9600\nntp = \"time.test\"\nrecovery = \"port\"\n{}",
        tunnel("web", "")
    ));
    daemon.reload("1 unchanged");
    daemon.wait_for("baud, control: the change waits for a restart");
    daemon.wait_for("ntp: the change waits for the next data session");
}

#[test]
fn a_reload_while_the_modem_is_being_set_up_is_made_up_for() {
    let site = Site::new(Behaviour::Echo, &format!("{EG800Q} --command-latency 30ms"));
    let daemon = Daemon::launch(&site, &tunnel("web", ""), "", |_| ());
    daemon.wait_for("uploading");
    daemon.rewrite(&(tunnel("web", "") + &tunnel("more", "alpn = \"h2\"")), "");
    daemon.reload("1 unchanged, 0 changed, 1 added, 0 removed");
    echo(&mut connect(daemon.address()), b"old");
    echo(&mut connect(daemon.address_of(1)), b"new");
}

#[test]
fn while_draining_nothing_is_reloaded() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let mut client = connect(daemon.address());
    echo(&mut client, b"before");
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait_for("waiting for 1 connection to end");
    daemon.rewrite(&tunnel("other", ""), "");
    daemon.reload("ignoring SIGHUP: draining");
    echo(&mut client, b"still served");
    drop(client);
    daemon.ends_with(0);
}
