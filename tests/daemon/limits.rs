//! Goal of this test: only allowed clients connect, their number is limited, and the daemon copes with a lack of
//! descriptors.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::{Pid, Resource, Rlimit, Signal, getgid, getuid, prlimit};

use crate::daemon::{Daemon, SOCKS_GREETING, SOCKS_REQUEST, proxy, tunnel};
use qssl_test_common::harness::{
    Ended, PATIENCE, Site, connect, echo, read_to_end, run, temporary_directory, tunnel_command,
};
use qssl_tunnel::daemon::status::Status;

#[test]
fn peers_outside_the_allowed_networks_are_reset_and_counted() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::with(&site, &tunnel("web", "allow = [\"192.0.2.0/24\", \"::1\"]"), "", |_| ());
    for _ in 0..3 {
        assert_eq!(read_to_end(&mut connect(daemon.address())).2, Ended::Reset);
    }
    daemon.wait_for("may not connect (--allow)");
    let status = daemon.status();
    assert_eq!(
        (
            status.tunnels[0].counters.refused,
            status.tunnels[0].counters.accepted,
            status.counts().modem.opens
        ),
        (3, 0, 0)
    );

    daemon.rewrite(&tunnel("web", "allow = \"127.0.0.0/8\""), "");
    daemon.reload("0 unchanged, 1 changed");
    echo(&mut connect(daemon.address()), b"hello");
}

#[test]
fn no_more_clients_of_a_tunnel_are_accepted_than_it_may_have() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnels = tunnel("small", "max-clients = 2") + &tunnel("other", "");
    let daemon = Daemon::with(&site, &tunnels, "", |_| ());
    let mut clients: Vec<TcpStream> = (0..3).map(|_| connect(daemon.address())).collect();
    echo(&mut clients[0], b"hello");
    echo(&mut clients[1], b"hello");
    echo(&mut connect(daemon.address_of(1)), b"hello");
    assert_eq!(daemon.status().tunnels[0].counters.accepted, 2, "the third waits outside");
    drop(clients.remove(0));
    echo(&mut clients[1], b"hello");
}

/// A client that has only begun to name its target is one as well.
#[test]
fn clients_that_name_their_own_targets_count_from_the_first() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::with(&site, &proxy("small", "max-clients = 1"), "", |_| ());
    let (mut first, mut second) = (connect(daemon.address()), connect(daemon.address()));
    let request = [SOCKS_GREETING, SOCKS_REQUEST].concat();
    second.write_all(&request).expect("the kernel takes it");
    first.write_all(&request).expect("the kernel takes it");
    let mut answer = [0; 12];
    first.read_exact(&mut answer).expect("the first is served");
    echo(&mut first, b"hello");
    assert_eq!(daemon.status().tunnels[0].counters.accepted, 1, "the second waits outside");
    drop(first);
    second.read_exact(&mut answer).expect("the second is served");
    echo(&mut second, b"hello");
}

#[test]
fn a_unix_socket_without_a_mode_is_for_owner_and_group_whatever_the_umask() {
    use std::os::unix::process::CommandExt as _;
    let site = Site::new(Behaviour::Echo, "");
    for mask in [0o000, 0o022, 0o177] {
        let directory = temporary_directory();
        let path = directory.path().join("web");
        let section = tunnel("web", "").replace("127.0.0.1:0", &format!("unix:{}", path.display()));
        let daemon = Daemon::with(&site, &section, "", |command| {
            let set = move || {
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
                Ok(())
            };
            // SAFETY: the closure makes one system call, and touches no memory of the parent.
            unsafe { command.pre_exec(set) };
        });
        let mode =
            |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o660, "umask {mask:03o}");
        assert_eq!(mode(&daemon.path("control")), 0o600, "umask {mask:03o}");
        daemon.signal(Signal::TERM);
        daemon.wait();
    }
}

#[test]
fn the_second_daemon_on_a_control_path_says_who_has_it() {
    let site = Site::new(Behaviour::Echo, "");
    let first = Daemon::start(&site);
    let control = first.path("control");
    let section = tunnel("web", "");
    let config = first.path("second.toml");
    let text = format!(
        "[modem]\ndevice = \"{}\"\n[process]\ncontrol = \"{}\"\n{section}",
        site.modem.device(0),
        control.display()
    );
    fs::write(&config, text).expect("the directory is ours");
    let mut command = tunnel_command(&["run", "--config"]);
    let second = run(command.arg(&config));
    assert_ne!(second.status, 0, "{}", second.stderr);
    let named = format!("{}: qssl-tunnel (pid {}) listens on this socket", control.display(), first.id());
    assert!(second.stderr.contains(&named), "{}", second.stderr);
    assert_eq!(first.status().state, "up", "the first goes on");
}

#[test]
fn a_unix_socket_has_the_mode_and_the_owner_that_were_asked_for() {
    let site = Site::new(Behaviour::Echo, "");
    let directory = temporary_directory();
    let path = directory.path().join("web");
    // A user who is not root can set only that user as owner.
    let (owner, group) = match getuid().is_root() {
        true => (65_534, 65_533),
        false => (getuid().as_raw(), getgid().as_raw()),
    };
    let listen = format!("unix:{},mode=0620,owner={owner},group={group}", path.display());
    let section = tunnel("web", "").replace("127.0.0.1:0", &listen);
    let daemon = Daemon::with(&site, &section, "", |_| ());
    let metadata = fs::metadata(&path).expect("it is there");
    assert_eq!(
        (metadata.permissions().mode() & 0o777, metadata.uid(), metadata.gid()),
        (0o620, owner, group)
    );
    echo(&mut UnixStream::connect(&path).expect("the tunnel listens"), b"hello");

    // The file that a killed daemon leaves does not prevent the next one from listening.
    daemon.signal(Signal::KILL);
    daemon.wait();
    assert!(path.exists());
    let daemon = Daemon::with(&site, &section, "", |_| ());
    echo(&mut UnixStream::connect(&path).expect("the tunnel listens"), b"hello");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().0, 0);
    assert!(!path.exists());
}

#[test]
fn limits_of_time_hold_in_a_running_daemon() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnels = tunnel("old", "lifetime = \"300ms\"")
        + &tunnel("idle", "idle-timeout = \"300ms\"")
        + &tunnel("silent", "first-byte-timeout = \"300ms\"\nopen-on = \"first-byte\"");
    let daemon = Daemon::with(&site, &tunnels, "", |_| ());
    for (place, why) in
        ["too old (--lifetime)", "idle (--idle-timeout)", "nothing in time (--first-byte-timeout)"]
            .into_iter()
            .enumerate()
    {
        assert_eq!(read_to_end(&mut connect(daemon.address_of(place))).2, Ended::Reset);
        daemon.wait_for(why);
    }
    let opens: Vec<u64> = daemon.status().tunnels.iter().map(|tunnel| tunnel.counters.opens).collect();
    assert_eq!(opens, [1, 1, 0], "a client that sends nothing costs no handshake");
}

#[test]
fn without_descriptors_the_listener_neither_spins_nor_dies() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let address = daemon.address();
    let mut served = connect(address);
    echo(&mut served, b"hello");
    // The numbers below the limit are in use, so no descriptor is left.
    limit_descriptors(&daemon, 4);
    let before = processor_ticks(&daemon);
    let mut waiting = connect(address);
    waiting.write_all(b"hello").expect("the kernel takes it");
    daemon.wait_for("cannot accept clients for now");
    let mut more: Vec<TcpStream> = (0..6).map(|_| connect(address)).collect();
    let mut asks = UnixStream::connect(daemon.path("control")).expect("the kernel takes it");
    asks.write_all(b"{\"request\":\"status\"}\n").expect("the kernel takes it");
    // The client is not served for two seconds, and the daemon does not retry all the time.
    waiting.set_read_timeout(Some(Duration::from_secs(2))).expect("the limit is not zero");
    let nothing = waiting.read(&mut [0; 5]).expect_err("there is no descriptor for it");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock, "{}", daemon.log());
    let ticks = processor_ticks(&daemon) - before;
    assert!(ticks < TICKS_PER_SECOND / 2, "{ticks} ticks in two seconds");
    echo(&mut served, b"hello");

    limit_descriptors(&daemon, 1024);
    waiting.set_read_timeout(Some(PATIENCE)).expect("the limit is not zero");
    waiting.read_exact(&mut [0; 5]).unwrap_or_else(|error| panic!("{error}: {}", daemon.log()));
    echo(&mut connect(address), b"hello");
    more.iter_mut().for_each(|client| echo(client, b"hello"));
    // No further connection to the control socket is needed for the one that waits.
    asks.set_read_timeout(Some(PATIENCE)).expect("the limit is not zero");
    asks.read_exact(&mut [0; 10]).unwrap_or_else(|error| panic!("{error}: {}", daemon.log()));
    assert_eq!(
        daemon.status().tunnels[0].counters.refused,
        7,
        "so many could not be accepted when they came"
    );
}

#[test]
fn clients_that_use_up_all_descriptors_are_served_when_others_have_left() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let address = daemon.address();
    echo(&mut connect(address), b"hello");
    let mut control = daemon.control();
    daemon.wait_over(&mut control, "no client", |status| clients(status) == 0);
    // A few more than the daemon needs for itself, which the clients use up.
    let own = fs::read_dir(format!("/proc/{}/fd", daemon.id())).expect("it runs").count() as u64;
    limit_descriptors(&daemon, own + 5);
    let refused = |status: &Status| status.tunnels[0].counters.refused;
    let mut all_refused = 0;
    for turn in 0..3 {
        let mut crowd: Vec<TcpStream> = (0..CROWD).map(|_| connect(address)).collect();
        for client in &mut crowd {
            client.write_all(b"hello").expect("the kernel takes it");
        }
        // Nobody leaves, so who is not accepted counts. One that counts is still accepted if a descriptor becomes free.
        let is_counted = |status: &Status| refused(status) >= all_refused + CROWD - clients(status);
        let status = daemon.wait_over(&mut control, "every client counted", is_counted);
        assert!((1..CROWD).contains(&clients(&status)), "{status:#?}");
        assert!(refused(&status) <= all_refused + CROWD, "none counts twice: {status:#?}");
        all_refused = refused(&status);
        // Each client leaves when it was served, which frees a descriptor for the next.
        for (number, mut client) in crowd.into_iter().enumerate() {
            client.read_exact(&mut [0; 5]).unwrap_or_else(|error| {
                panic!("client {number} in turn {turn}: {error}: {}", daemon.log());
            });
        }
        daemon.wait_over(&mut control, "no client", |status| clients(status) == 0);
    }
    daemon.wait_for("cannot accept clients for now");
    daemon.wait_for("clients are accepted again");
    limit_descriptors(&daemon, 1024);
    echo(&mut connect(address), b"hello");
    assert_eq!(refused(&daemon.status()), all_refused, "none counts twice");
}

/// How many come at once.
const CROWD: u64 = 40;

/// How many clients the daemon has.
fn clients(status: &Status) -> u64 {
    status.tunnels[0].clients.values().sum::<usize>() as u64
}

fn limit_descriptors(daemon: &Daemon, count: u64) {
    let pid = i32::try_from(daemon.id()).ok().and_then(Pid::from_raw);
    let limit = Rlimit { current: Some(count), maximum: Some(1024) };
    prlimit(pid, Resource::Nofile, limit).expect("it is our child");
}

/// The processor time that the daemon has used: fields 14 and 15 of proc_pid_stat(5).
fn processor_ticks(daemon: &Daemon) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.id())).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    let fields = fields.split_ascii_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<u64>().expect("a number")).sum()
}

/// USER_HZ, the same on every Linux.
const TICKS_PER_SECOND: u64 = 100;
