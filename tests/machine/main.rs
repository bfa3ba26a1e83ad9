//! Goal of this test: the Debian package works on a Debian with systemd as process 1, udev, and a modem at the kernel's
//! own USB serial driver: the units with their sandbox and every drop-in, the examples of the manual pages, replugging,
//! 8 MiB each way in every mode, activation, reboot, upgrade, and purge.
//!
//! The machine is emulated by QEMU. `image` builds its disk from Debian's packages. `guest` runs in it; it prints lines
//! that begin with `ok` or `not ok`, and a last one when it has finished or reboots. If QSSL_TUNNEL_MACHINE_TESTS is
//! set, it names the tests that are run, in order; most need `installed` first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use qssl_test_common::packaging::{folder, package, read, run, said, write};
use qssl_test_common::qemu::Machine;
use qssl_test_common::top;

/// Kernel, initrd and root file system, built if they do not exist.
fn image() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("machine");
    let recipe = top().join("tests/machine/image");
    // Only root can build a Debian.
    let mut command = match rustix::process::geteuid().is_root() {
        true => Command::new(recipe),
        false => {
            let mut command = Command::new("sudo");
            command.arg("-n").arg(recipe);
            command
        }
    };
    let output = run(command.arg(&folder));
    assert!(output.status.success(), "{:?}", said(&output));
    folder
}

/// The examples of a manual page, each as one text, as a reader would type them.
fn examples(page: &str) -> Vec<String> {
    let text = read(top().join("man").join(page));
    let section =
        text.split("\n.SH ").find(|section| section.starts_with("EXAMPLES")).expect("there are examples");
    let blocks = section.split("\n.RS\n").skip(1).map(|rest| rest.split("\n.RE").next().unwrap_or_default());
    let plain = |block: &str| block.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\") + "\n";
    let examples: Vec<String> = blocks.map(plain).collect();
    assert!(!examples.is_empty(), "{page}");
    examples
}

/// The lines that debhelper adds to the maintainer scripts for units that are neither enabled nor started.
fn units(script: &str) -> String {
    match script {
        "postinst" => {
            "if [ -d /run/systemd/system ]; then\n\
             systemctl --system daemon-reload >/dev/null || true\n\
             [ -z \"$2\" ] || systemctl try-restart qssl-tunnel.service >/dev/null || true\nfi\n"
        }
        "prerm" => {
            "if [ -d /run/systemd/system ] && [ \"$1\" = remove ]; then\n\
             deb-systemd-invoke stop qssl-tunnel.service qssl-tunnel.socket >/dev/null || true\nfi\n"
        }
        _ => {
            "if [ \"$1\" = remove ] && [ -d /run/systemd/system ]; then\n\
             systemctl --system daemon-reload >/dev/null || true\nfi\n\
             if [ \"$1\" = purge ]; then\n\
             deb-systemd-helper purge qssl-tunnel.service qssl-tunnel.socket >/dev/null || true\nfi\n"
        }
    }
    .to_owned()
}

/// All files for the machine, as a tar file.
fn payload(folder: &Path) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_qssl-tunnel"));
    let emulator = program.with_file_name("qssl-modem-emulator");
    assert!(emulator.exists(), "{} is missing: cargo build --workspace --all-features", emulator.display());
    let content = folder.join("payload");
    fs::create_dir(&content).expect("the folder is ours");
    // The symbols are many times as large as the programs.
    for (source, name) in [(program, "qssl-tunnel"), (emulator.as_path(), "qssl-modem-emulator")] {
        let output = run(Command::new("strip").arg(source).arg("-o").arg(content.join(name)));
        assert!(output.status.success(), "{:?}", said(&output));
    }
    for version in ["1.0-1", "1.0-2"] {
        let package = package::build(folder, version, &content.join("qssl-tunnel"), units);
        fs::rename(package, content.join(format!("{version}.deb"))).expect("the folder is ours");
    }
    fs::remove_file(content.join("qssl-tunnel")).expect("the folder is ours");
    fs::copy(top().join("tests/machine/guest"), content.join("guest")).expect("it is checked in");
    if let Ok(names) = std::env::var("QSSL_TUNNEL_MACHINE_TESTS") {
        write(content.join("tests"), names);
    }
    for (number, example) in examples("qssl-tunnel.1").into_iter().enumerate() {
        write(content.join(format!("examples/{number}")), example);
    }
    write(content.join("examples/qssl-tunnel.toml"), examples("qssl-tunnel.toml.5").concat());
    let tar = folder.join("payload.tar");
    let output = run(Command::new("tar").arg("-C").arg(&content).arg("-cf").arg(&tar).arg("."));
    assert!(output.status.success(), "{:?}", said(&output));
    tar
}

/// Starts a machine with this disk.
fn start(image: &Path, disk: &Path, payload: &Path, console: &Path) -> Machine {
    let drive =
        |file: &Path, options: &str| format!("file={},format=raw,if=virtio,{options}", file.display());
    // Not KVM, which may exist inside other virtual machines and not work.
    let processor = ["-accel", "tcg,thread=multi", "-smp", "2", "-m", "640"].map(str::to_owned);
    let drives = [("-drive", drive(disk, "cache=unsafe")), ("-drive", drive(payload, "readonly=on"))];
    let serials = [("-serial", format!("file:{}", console.display())), ("-serial", "stdio".to_owned())];
    let devices = drives.into_iter().chain(serials).flat_map(|(kind, what)| [kind.to_owned(), what]);
    Machine::start(image, "", processor.into_iter().chain(devices))
}

#[test]
fn the_package_works_on_a_debian_with_systemd() {
    let folder = folder();
    let console = folder.path().join("console");
    let payload = payload(folder.path());
    let image = image();
    let disk = folder.path().join("root.img");
    let output = run(Command::new("cp").arg("--sparse=always").arg(image.join("root.img")).arg(&disk));
    assert!(output.status.success(), "{:?}", said(&output));
    let mut failed = Vec::new();
    let mut last = "rebooting".to_owned();
    while last == "rebooting" {
        let mut machine = start(&image, &disk, &payload, &console);
        let lines = machine.lines();
        // Until it ends or is silent for too long.
        while let Ok(line) = lines.recv_timeout(SILENCE_LIMIT) {
            last = line;
            if let Some(name) = last.strip_prefix("not ok ") {
                failed.push(name.to_owned());
            }
        }
    }
    let console = fs::read(&console).unwrap_or_default();
    let console = String::from_utf8_lossy(&console);
    assert!(
        last == "through",
        "ended or was silent for {} s after {last:?}, before it was through:\n{console}",
        SILENCE_LIMIT.as_secs()
    );
    assert_eq!(failed, [""; 0]);
}

/// How long a boot or one of the tests may take if QEMU emulates the processor on a busy machine.
const SILENCE_LIMIT: Duration = Duration::from_secs(1200);
