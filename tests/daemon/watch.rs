//! Goal of this test: `status --watch` on a terminal is a screen of its own, with keys, and leaves the terminal as it was,
//! however it ends. A daemon that goes away and comes back does not end it.

use std::process::Command;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use crate::daemon::{Daemon, tunnel};
use qssl_test_common::harness::{Site, Terminal, Tunnel, tunnel_command};

/// The command that watches this daemon.
fn watch(daemon: &Daemon) -> Command {
    let mut command = tunnel_command(&["status", "--watch", "--control"]);
    command.arg(daemon.path("control")).env("TERM", "xterm-256color");
    command
}

/// A terminal with the screen of a daemon.
fn watching(daemon: &Daemon) -> Terminal {
    let terminal = Terminal::start(&watch(daemon), 80, 24);
    terminal.wait_for_frame("a first frame", |frame| frame.len() == 24);
    terminal
}

/// Whether the terminal shows its usual screen, with a cursor and its own line breaks.
fn is_as_usual(output: &str) -> bool {
    [("?1049l", "?1049h"), ("?25h", "?25l"), ("?7h", "?7l")].iter().all(|(usual, other)| {
        let [usual, other] = [usual, other].map(|mode| output.rfind(&format!("\x1b[{mode}")));
        usual >= other
    })
}

#[test]
fn keys_sort_it_and_quit() {
    let site = Site::new(Behaviour::Echo, "");
    let tunnels = tunnel("web", "") + &tunnel("mail", "");
    let daemon = Daemon::with(&site, &tunnels, "", |_| ());
    let terminal = Terminal::start(&watch(&daemon), 80, 24);
    let is_first = |name: &'static str| {
        move |frame: &[String]| {
            let head = frame.iter().position(|line| line.starts_with("TUNNEL "));
            head.is_some_and(|head| frame[head + 1].starts_with(name))
        }
    };
    terminal.wait_for_frame("the order of the configuration", is_first("web "));
    terminal.press(b"n");
    terminal.wait_for_frame("the order of names", is_first("mail "));
    daemon.echoes(5_000);
    terminal.press(b"\x1b[At");
    terminal.wait_for_frame("the order of what was carried", is_first("web "));
    let has_event =
        |line: &String| line.get(2..3) == Some(":") && line.contains("server.test:443: open after");
    let frame = terminal.wait_for_frame("the event", |frame| frame.iter().any(has_event));
    assert_eq!(frame.len(), 24, "{frame:#?}");
    assert!(frame[0].contains("● up, running for ") && frame[2].contains("dBm"), "{frame:#?}");
    terminal.resize(40, 10);
    let frame = terminal.wait_for_frame("the other size", |frame| frame.len() == 10);
    assert!(frame.iter().all(|line| line.chars().count() == 40), "{frame:#?}");
    terminal.press(b"q");
    terminal.ends_with(0);
    let output = terminal.wait_for_output("the usual screen", is_as_usual);
    let (_, frames) = output.split_once("\x1b[?2026h").expect("it was drawn");
    assert!(!frames.contains("\x1b[2J"), "the screen is never cleared while it is shown");
}

#[test]
fn the_terminal_is_left_as_it_was_however_it_ends() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    // By keys, and by signals of others.
    for (keys, signal, status) in [
        (&b"q"[..], None, 0),
        (b"\x03", None, 130),
        (b"\x1c", None, 131),
        (b"", Some(Signal::INT), 130),
        (b"", Some(Signal::QUIT), 131),
        (b"", Some(Signal::TERM), 143),
        (b"", Some(Signal::HUP), 129),
    ] {
        let terminal = watching(&daemon);
        let plain = Terminal::start(&tunnel_command(&["--version"]), 80, 24);
        plain.ends_with(0);
        assert_ne!(terminal.modes(), plain.modes(), "keys are read one by one");
        terminal.press(keys);
        if let Some(signal) = signal {
            terminal.signal(signal);
        }
        terminal.ends_with(status);
        assert_eq!(terminal.modes(), plain.modes(), "{keys:?} {signal:?}");
        terminal.wait_for_output("the usual screen", is_as_usual);
    }
}

#[test]
fn a_stopped_screen_leaves_the_terminal_and_comes_back() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let terminal = watching(&daemon);
    let modes = terminal.modes();
    terminal.press(b"\x1a");
    terminal.wait_until_stopped();
    terminal.wait_for_output("the usual screen", is_as_usual);
    terminal.signal(Signal::CONT);
    let begins = |output: &str| output.matches("\x1b[?1049h").count();
    terminal.wait_for_output("the screen again", |output| begins(output) == 2);
    terminal.press(b"n");
    terminal.press(b"q");
    terminal.ends_with(0);
    assert_ne!(terminal.modes(), modes);
    terminal.wait_for_output("the usual screen", is_as_usual);
}

#[test]
fn a_daemon_may_go_and_come_back() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let terminal = watching(&daemon);
    // It hangs: keys are read all the same.
    daemon.signal(Signal::STOP);
    terminal.press(b"n");
    terminal.wait_for_frame("silence", |frame| frame[0].contains("● no answer for "));
    daemon.signal(Signal::CONT);
    terminal.wait_for_frame("an answer", |frame| frame[0].contains("● up, running for "));
    daemon.signal(Signal::KILL);
    daemon.ends_with(137);
    let frame = terminal
        .wait_for_frame("the end of the daemon", |frame| frame[0].contains("s: no daemon answers at"));
    assert!(frame.iter().any(|line| line.starts_with("web ")), "what was known stays: {frame:#?}");
    let again = Tunnel::start(tunnel_command(&["run", "--config"]).arg(daemon.path("run.toml")));
    terminal.wait_for_frame("the next daemon", |frame| frame[0].contains("● up, running for "));
    terminal.press(b"q");
    terminal.ends_with(0);
    drop(again);
}

#[test]
fn it_shows_what_the_terminal_can() {
    let site = Site::new(Behaviour::Echo, "");
    let daemon = Daemon::start(&site);
    let mut command = watch(&daemon);
    command.env("LANG", "C").env("NO_COLOR", "1");
    let terminal = Terminal::start(&command, 80, 24);
    let frame = terminal.wait_for_frame("a frame", |frame| frame[0].contains("* up, running for "));
    assert!(frame.concat().is_ascii(), "{frame:#?}");
    let output = terminal.wait_for_output("a frame", |output| output.contains("\x1b[1m"));
    assert!(!output.contains("\x1b[3") && !output.contains("\x1b[1;3"), "{output:?}");
    // A terminal that cannot go back gets the table again and again.
    let mut command = watch(&daemon);
    command.env("TERM", "dumb");
    let terminal = Terminal::start(&command, 80, 24);
    let tables = |output: &str| output.matches("TUNNEL ").count();
    let output = terminal.wait_for_output("two tables", |output| tables(output) == 2);
    assert!(!output.contains('\x1b'), "{output:?}");
}
