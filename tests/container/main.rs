//! Goal of this test: the image that `packaging/container/build` makes has the static program and nothing else, is small,
//! carries bytes as a user without rights in a container that cannot be written, reports its health, and drains when it is
//! stopped.
//!
//! podman builds and runs it, in a storage of the test's own, without a network of its own and without a registry. The modem
//! is emulated, at a device server or at a pseudoterminal that is passed in.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use qssl_modem_emulator::Registration;
use qssl_modem_emulator::test_server::Behaviour;
use qssl_test_common::harness::{
    Finished, Running, Site, Tunnel, certificate_file, connect, echo, program, run, run_with_input,
    temporary_directory,
};
use qssl_test_common::top;
use rustix::fs::{Gid, chown};
use tempfile::TempDir;

/// The image, built once.
static IMAGE: LazyLock<&str> = LazyLock::new(|| {
    let mut command = Command::new(top().join("packaging/container/build"));
    let podman = podman(&[]);
    let words = std::iter::once(podman.get_program()).chain(podman.get_args());
    let words: Vec<&str> = words.map(|word| word.to_str().expect("paths of the checkout are text")).collect();
    command.arg(NAME).env("BUILDER", words.join(" ")).env("BUILDAH_ISOLATION", "chroot");
    let status = command.status().expect("the script is checked in");
    assert!(status.success(), "{command:?}");
    NAME
});

const NAME: &str = "localhost/qssl-tunnel-test";

/// What the image may take.
const IMAGE_BYTES_MAX: u64 = 6_000_000;

/// podman with a storage of its own. Only root can run containers everywhere.
fn podman(arguments: &[&str]) -> Command {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("container");
    let mut command = match rustix::process::geteuid().is_root() {
        true => Command::new(program("podman")),
        false => {
            let mut command = Command::new("sudo");
            command.args(["-n", "podman"]);
            command
        }
    };
    command.arg("--root").arg(folder.join("storage")).arg("--runroot").arg(folder.join("run"));
    // Neither systemd nor the file systems that are stacked are needed. crun refuses machines with both kinds of cgroups.
    command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", "runc"]);
    command.args(arguments);
    command
}

/// A container that runs a tunnel. Dropping it removes it.
struct Container {
    tunnel: Tunnel,
    name: String,
    _directory: TempDir,
}

impl Container {
    /// Starts one that has this device, with further options of podman.
    fn start(name: &str, device: &str, options: &[&str]) -> Container {
        let directory = temporary_directory();
        let file = |name: &str, text: &str| -> String {
            let path: PathBuf = directory.path().join(name);
            fs::write(&path, text).expect("the directory is ours");
            fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("it is ours");
            format!("{}:/etc/{name}:ro", path.display())
        };
        let ca = fs::read_to_string(certificate_file()).expect("it is there");
        let ca = file("server.pem", &ca);
        let configuration = format!(
            "[modem]\ndevice = \"{device}\"\n\n[[tunnel]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n\
             to = \"server.test:443\"\nca = \"/etc/server.pem\"\n"
        );
        let configuration = file("qssl-tunnel.toml", &configuration);
        // What an earlier run has left.
        run(&mut podman(&["rm", "--force", "--ignore", name]));
        let mut command = podman(&["run", "--name", name, "--network", "host", "--read-only"]);
        command.args(["--cap-drop", "all", "--security-opt", "no-new-privileges"]);
        // The usual limits are more than some machines allow.
        command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
        // The state has a volume, which is as the image has its folder.
        command.args(["--volume", "/var/lib/qssl-tunnel", "--volume", &configuration, "--volume", &ca]);
        command.args(options).arg(*IMAGE);
        let tunnel = Tunnel::start(&mut command);
        Container { tunnel, name: name.to_owned(), _directory: directory }
    }

    /// What podman's health check says.
    fn health(&self) -> Finished {
        run(&mut podman(&["healthcheck", "run", &self.name]))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        run(&mut podman(&["rm", "--force", "--ignore", "--volumes", "--time", "0", &self.name]));
    }
}

#[test]
fn the_image_is_small_and_has_the_program_alone() {
    let inspected = run(&mut podman(&["image", "inspect", "--format", "{{.Size}} {{.User}}", *IMAGE]));
    let text = inspected.expect_success().text();
    let (size, user) = text.trim().split_once(' ').expect("a size and a user");
    println!("ok the image has {size} bytes");
    assert!(size.parse::<u64>().is_ok_and(|size| size <= IMAGE_BYTES_MAX), "{size} bytes");
    assert_eq!(user, "65532:65532");
    run(&mut podman(&["rm", "--force", "--ignore", "files"]));
    run(&mut podman(&["create", "--name", "files", *IMAGE])).expect_success();
    let exported = run(&mut podman(&["export", "files"])).expect_success().stdout;
    run(&mut podman(&["rm", "files"])).expect_success();
    let listed = run_with_input(Command::new("tar").arg("-t"), &exported);
    let listed = listed.expect_success().text();
    let mut files: Vec<&str> = listed.lines().filter(|name| !name.ends_with('/')).collect();
    // Mount points that podman makes.
    files.retain(|name| {
        !matches!(*name, "etc/hosts" | "etc/resolv.conf" | "etc/hostname" | "run/.containerenv")
    });
    assert_eq!(files, ["usr/bin/qssl-tunnel"]);
}

#[test]
fn it_carries_bytes_and_reports_its_health() {
    let site = Site::new(Behaviour::Echo, "--rfc2217 127.0.0.1:0");
    let container = Container::start("health", &site.modem.device(0), &[]);
    container.tunnel.wait_for("ready after");
    echo(&mut connect(container.tunnel.address()), &[7; 100_000]);
    let healthy = container.health();
    assert_eq!(healthy.status, 0, "{healthy:?}\n{}", container.tunnel.log());
    site.modem
        .embedded
        .with_modem(|modem, _, now| modem.set_registration(Registration::Searching, now))
        .expect("the modem runs");
    container.tunnel.wait_for("waiting: ");
    let unhealthy = container.health();
    assert_eq!(unhealthy.status, 1, "{unhealthy:?}\n{}", container.tunnel.log());
    assert!(unhealthy.text().contains("unhealthy"), "{unhealthy:?}");
}

#[test]
fn a_port_is_passed_in() {
    let site = Site::new(Behaviour::Echo, "");
    let path = fs::canonicalize(site.modem.device(0)).expect("a pseudoterminal");
    // As `dialout` has it; in the container the number is enough.
    chown(&path, None, Some(Gid::from_raw(PORT_GROUP))).expect("it is ours");
    fs::set_permissions(&path, Permissions::from_mode(0o660)).expect("it is ours");
    // A pseudoterminal is in a file system of its own, so that it cannot be made anew like other devices.
    let volume = format!("{}:/dev/modem", path.display());
    let group = PORT_GROUP.to_string();
    let container = Container::start("port", "/dev/modem", &["--volume", &volume, "--group-add", &group]);
    container.tunnel.wait_for("ready after");
    echo(&mut connect(container.tunnel.address()), &[7; 100_000]);
    assert_eq!(container.health().status, 0, "{}", container.tunnel.log());
}

#[test]
fn other_devices_are_made_anew() {
    // A machine for tests has no serial port. What this shows is that the program can open what `--device` names.
    let container = Container::start("device", "/dev/modem", &["--device", "/dev/null:/dev/modem"]);
    container.tunnel.wait_for("/dev/modem: not a serial device");
}

#[test]
fn it_drains_when_it_is_stopped() {
    let site = Site::new(Behaviour::Echo, "--rfc2217 127.0.0.1:0 --port-name uart1 --baud 115200");
    let container = Container::start("stopped", &site.modem.device(0), &[]);
    container.tunnel.wait_for("ready after");
    let mut client = connect(container.tunnel.address());
    let mut other = client.try_clone().expect("a descriptor is free");
    let sending = std::thread::spawn(move || other.write_all(&[7; 60_000]));
    client.read_exact(&mut [0; 1_000]).expect("the server echoes");
    let stopping = Running::start(&mut podman(&["stop", "--time", "120", "stopped"]));
    container.tunnel.wait_for("waiting for 1 connection to end");
    sending.join().expect("no panic").expect("the tunnel reads");
    let mut rest = vec![0; 59_000];
    client.read_exact(&mut rest).expect("what was under way arrives");
    assert!(rest.iter().all(|byte| *byte == 7));
    drop(client);
    stopping.ends_with(0);
    let log = container.tunnel.ends_with(0);
    assert!(!log.contains("cannot be written"), "{log}");
}

/// A group that no one has otherwise.
const PORT_GROUP: u32 = 20_020;
