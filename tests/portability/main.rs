//! Goal of this test: the program works on the processors of routers, which are 32-bit, big-endian, or both.
//!
//! `build` compiles it for each of [`TARGETS`], and QEMU's user mode runs it on this machine's kernel. The modem is on a
//! device server, because QEMU's user mode lacks an ioctl that ttys need.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use qssl_modem_emulator::test_server::Behaviour;

use qssl_test_common::harness::{
    MODES, Site, Tunnel, curl, digest, patterned_file, run, sha256_hex, temporary_directory,
};
use qssl_test_common::top;

/// A processor with its C library.
struct Target {
    name: &'static str,
    /// The GNU name, which Debian's cross compilers have.
    gnu: &'static str,
    qemu: &'static str,
}

const TARGETS: [Target; 2] = [
    // 32-bit, big-endian.
    Target { name: "mips-unknown-linux-gnu", gnu: "mips-linux-gnu", qemu: "qemu-mips" },
    // 32-bit, little-endian.
    Target { name: "armv7-unknown-linux-gnueabihf", gnu: "arm-linux-gnueabihf", qemu: "qemu-arm" },
];

/// What is carried each way in each mode.
const BYTES: u64 = 300_000;

impl Target {
    /// The program for this processor.
    fn build(&self) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("portability");
        let mut command = Command::new(top().join("tests/portability/build"));
        command.arg(self.name).arg(format!("{}-gcc", self.gnu)).arg(&folder);
        let status = command.status().expect("the script is checked in");
        assert!(status.success(), "{command:?}");
        folder.join(self.name).join("release/qssl-tunnel")
    }

    /// A command that runs the program.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(self.qemu);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(["-L", &format!("/usr/{}", self.gnu)]).arg(program);
        command
    }
}

#[test]
fn payload_is_the_same_on_every_processor_in_every_mode() {
    for target in TARGETS {
        let program = target.build();
        println!("ok {}: {} bytes", target.name, program.metadata().expect("it is built").len());
        for mode in MODES {
            let since = Instant::now();
            let site = Site::new(Behaviour::Http, "--rfc2217 127.0.0.1:0");
            let device = site.modem.device(0);
            let mut command = target.command(&program);
            command.args(["listen", "127.0.0.1:0", "--mode", mode]).args(site.usual(&device));
            let tunnel = Tunnel::start(&mut command);
            let directory = temporary_directory();
            let file = patterned_file(directory.path(), BYTES);
            let answer = run(curl(&tunnel, "/").arg("--upload-file").arg(file)).expect_success();
            assert_eq!(answer.text().trim(), digest(BYTES), "{} {mode}: {}", target.name, tunnel.log());
            let body = run(&mut curl(&tunnel, &format!("/bytes/{BYTES}"))).expect_success().stdout;
            assert_eq!(sha256_hex(&body), digest(BYTES), "{} {mode}: {}", target.name, tunnel.log());
            let took = since.elapsed().as_secs_f64();
            println!("ok {}, {mode}: {BYTES} bytes each way, equal, {took:.1} s", target.name);
        }
    }
}
