//! Goal of this test: systemd accepts the units and the drop-ins without warnings and reports little exposure, and the
//! unit and the program agree on times, statuses and arguments.

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Parser;
use qssl_tunnel::cli::{self, Cli};
use qssl_tunnel::config::{Listen, Process};
use qssl_tunnel::daemon::exit_status::{ExitStatus, number};

use qssl_test_common::packaging::{folder, packaging, read, run, said, write};

/// The units as installed, but with the path of this build's program.
fn installed() -> tempfile::TempDir {
    let folder = folder();
    for unit in ["qssl-tunnel.service", "qssl-tunnel.socket"] {
        let text = read(packaging().join("systemd").join(unit));
        write(folder.path().join(unit), text.replace(PROGRAM, env!("CARGO_BIN_EXE_qssl-tunnel")));
    }
    for (section, page) in [("man1", "qssl-tunnel.1"), ("man5", "qssl-tunnel.toml.5")] {
        let text = read(Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(page));
        write(folder.path().join("man").join(section).join(page), text);
    }
    folder
}

fn add_drop_in(folder: &Path, drop_in: &Path) {
    write(folder.join("qssl-tunnel.service.d").join("drop-in.conf"), read(drop_in));
}

/// The messages of `systemd-analyze verify` about a unit.
fn complaints(folder: &Path, unit: &str) -> String {
    let mut command = Command::new("systemd-analyze");
    command.arg("verify").arg(folder.join(unit)).env("MANPATH", folder.join("man"));
    let output = run(&mut command);
    let (stdout, stderr) = said(&output);
    // The exit status does not show unknown keys.
    format!("{stdout}{stderr}")
}

fn exposure(folder: &Path) -> f64 {
    let unit = folder.join("qssl-tunnel.service");
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager"]).arg(unit);
    let (stdout, stderr) = said(&run(&mut command));
    let figure = stdout.split_once("Overall exposure level for qssl-tunnel.service: ");
    let figure =
        figure.and_then(|(_, rest)| rest.split_whitespace().next()).and_then(|word| word.parse().ok());
    figure.unwrap_or_else(|| panic!("no exposure in what systemd-analyze says: {stdout}\n{stderr}"))
}

/// The values of a key, in order.
fn values(unit: &str, key: &str) -> Vec<String> {
    let text = read(packaging().join("systemd").join(unit));
    let values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

fn value(key: &str) -> String {
    let values = values("qssl-tunnel.service", key);
    assert_eq!(values.len(), 1, "{key}: {values:?}");
    values[0].clone()
}

fn drop_ins() -> Vec<std::path::PathBuf> {
    let folder = packaging().join("systemd/drop-ins");
    let entries = fs::read_dir(folder).expect("the folder exists");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn systemd_has_nothing_to_say_about_the_units() {
    let folder = installed();
    for unit in ["qssl-tunnel.service", "qssl-tunnel.socket"] {
        assert_eq!(complaints(folder.path(), unit), "", "{unit}");
    }
}

#[test]
fn systemd_would_have_said_something_about_a_slip() {
    let folder = installed();
    let unit = folder.path().join("qssl-tunnel.service");
    write(&unit, read(&unit).replace("WatchdogSec=", "WatchdogSeconds="));
    let complaints = complaints(folder.path(), "qssl-tunnel.service");
    assert!(complaints.contains("WatchdogSeconds"), "{complaints}");
}

#[test]
fn little_is_exposed() {
    let exposure = exposure(installed().path());
    assert!(exposure <= 1.6, "{exposure}");
}

#[test]
fn every_drop_in_is_accepted_and_gives_little_away() {
    let drop_ins = drop_ins();
    assert_eq!(drop_ins.len(), 3);
    for drop_in in drop_ins {
        let folder = installed();
        add_drop_in(folder.path(), &drop_in);
        let name = drop_in.display();
        assert_eq!(complaints(folder.path(), "qssl-tunnel.service"), "", "{name}");
        let exposure = exposure(folder.path());
        assert!(exposure <= 2.0, "{name}: {exposure}");

        // The commented lines work as well.
        let text = read(&drop_in);
        let all = text.lines().map(|line| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(char::is_uppercase) => setting,
            _ => line,
        });
        write(folder.path().join("all.conf"), all.collect::<Vec<_>>().join("\n"));
        add_drop_in(folder.path(), &folder.path().join("all.conf"));
        assert_eq!(complaints(folder.path(), "qssl-tunnel.service"), "", "{name}, all of it");
    }
}

#[test]
fn the_service_starts_what_the_program_understands() {
    let command = value("ExecStart");
    let cli = Cli::try_parse_from(command.split_whitespace()).expect("the program takes these arguments");
    let cli::Command::Run(args) = cli.command else { panic!("not run: {command}") };
    assert_eq!(command.split_whitespace().next(), Some(PROGRAM));
    assert_eq!(args.config.as_deref(), Some(Path::new("/etc/qssl-tunnel.toml")));
}

#[test]
fn a_reload_checks_the_same_file_first_and_says_nothing_when_it_is_right() {
    let commands = values("qssl-tunnel.service", "ExecReload");
    assert_eq!(commands.len(), 2, "{commands:?}");
    let enters = "+/usr/bin/nsenter --target $MAINPID --mount ";
    let command = commands[0].strip_prefix(enters).expect("where the credentials of the main process are");
    let cli = Cli::try_parse_from(command.split_whitespace()).expect("the program takes these arguments");
    let cli::Command::Run(args) = cli.command else { panic!("not run: {}", commands[0]) };
    assert!(args.check && args.logging.quiet, "{}", commands[0]);
    assert_eq!(args.config.as_deref(), Some(Path::new("/etc/qssl-tunnel.toml")));
    assert_eq!(commands[1], "/bin/kill -HUP $MAINPID");
}

#[test]
fn the_service_is_stopped_and_restarted_as_the_program_expects() {
    let seconds = |key| value(key).parse::<u64>().expect("seconds");
    assert!(seconds("TimeoutStopSec") > Process::default().shutdown_timeout.as_secs());
    assert_eq!(seconds("WatchdogSec"), 120);
    assert_eq!(value("Restart"), "on-failure");
    assert_eq!(value("StartLimitIntervalSec"), "0", "never give up");
    let stays = [ExitStatus::Usage, ExitStatus::SimFailed].map(|status| number(status).to_string());
    assert_eq!(value("RestartPreventExitStatus"), stays.join(" "));
    assert_eq!(value("SuccessExitStatus"), number(ExitStatus::DrainTimeout).to_string());
    assert_eq!(value("Type"), "notify");
}

#[test]
fn what_a_killed_daemon_has_counted_is_moved_to_where_the_next_one_looks() {
    let left = format!("/run/{}/volume.interim", value("RuntimeDirectory"));
    let script = format!("test ! -e {left} || mv {left} /var/lib/{}/", value("StateDirectory"));
    assert_eq!(value("ExecStopPost"), format!("-/bin/sh -c '{script}'"));
    // With DynamicUser=, other users could not reach the sockets in it.
    assert_eq!(values("qssl-tunnel.service", "RuntimeDirectoryPreserve"), [""; 0]);
}

#[test]
fn nothing_that_the_program_needs_is_taken_away() {
    let families = value("RestrictAddressFamilies");
    let mut families: Vec<_> = families.split_whitespace().collect();
    families.sort_unstable();
    assert_eq!(families, ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_UNIX"]);
    let devices = values("qssl-tunnel.service", "DeviceAllow");
    for class in ["char-ttyUSB rw", "char-ttyACM rw", "char-ttyS rw"] {
        assert!(devices.iter().any(|device| device == class), "{class}");
    }
    for key in ["PrivateDevices", "PrivateUsers", "PrivateNetwork", "BindsTo", "ProtectProc"] {
        assert_eq!(values("qssl-tunnel.service", key), [""; 0], "{key}");
    }
}

#[test]
fn the_socket_unit_listens_on_loopback_under_a_name_that_a_tunnel_can_use() {
    let name = values("qssl-tunnel.socket", "FileDescriptorName");
    assert_eq!(name, ["web"]);
    let listen = format!("systemd:{}", name[0]).parse::<Listen>();
    assert_eq!(listen.expect("a listening address"), Listen::Systemd("web".to_owned()));
    for address in values("qssl-tunnel.socket", "ListenStream") {
        let address: std::net::SocketAddr = address.parse().expect("an address");
        assert!(address.ip().is_loopback(), "{address}");
    }
}

const PROGRAM: &str = "/usr/bin/qssl-tunnel";
