//! Goal of this test: `./check` installs the packages of missing programs and no others, and leaves no service enabled or
//! running that was not before, also when the installation fails.
//!
//! The script runs in a folder, with a PATH that has nothing but harmless tools of this machine and stand-ins for the
//! others. The stand-in of apt-get enables and starts a service, and that of cargo fails at the tests, which come next.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use qssl_test_common::harness::program;
use qssl_test_common::packaging::{folder, packaging, read, run, said, write};

/// What the script itself needs.
const TOOLS: [&str; 13] =
    ["awk", "cat", "chmod", "cp", "date", "dirname", "env", "grep", "mktemp", "rm", "sed", "tee", "true"];

/// A machine on which the script runs as an ordinary user who may use sudo.
struct Machine(tempfile::TempDir);

impl Machine {
    /// With all programs but these.
    fn without(missing: &[&str]) -> Machine {
        let machine = Machine(folder());
        fs::create_dir_all(machine.path("bin")).expect("the folder is ours");
        let script = read(packaging().join("../check"));
        for line in ["POLICY=/usr/sbin/", "PATH=$PATH:", "[ -d /run/systemd/system ]"] {
            assert!(script.contains(line), "{line} is replaced below");
        }
        let here = machine.0.path().display();
        let mine = script
            .replace("POLICY=/usr/sbin/", &format!("POLICY={here}/"))
            .replace("PATH=$PATH:", "unused=")
            .replace("/run/systemd/system", &here.to_string());
        machine.program("../check", &mine);
        for tool in TOOLS {
            symlink(program(tool), machine.path("bin").join(tool)).expect("the folder is ours");
        }
        let list = script.split("PROGRAMS='\n").nth(1).and_then(|rest| rest.split('\'').next());
        let programs = list.expect("the script has a list").lines().filter_map(|line| line.split(' ').next());
        for program in programs.filter(|program| !missing.contains(program)) {
            machine.program(program, "#!/bin/sh\n");
        }
        machine.program("id", "#!/bin/sh\necho 1000\n");
        machine.program("sudo", "#!/bin/sh\n[ \"$1\" != -n ] || shift\nexec \"$@\"\n");
        machine.program("cargo", "#!/bin/sh\n[ \"$2\" = --version ] || [ \"$1\" = --version ]\n");
        machine.program("systemctl", &SYSTEMCTL.replace("HERE", &here.to_string()));
        machine.program("apt-get", &APT_GET.replace("HERE", &here.to_string()));
        write(machine.path("enabled"), "ssh.service\n");
        write(machine.path("running"), "ssh.service\n");
        write(machine.path("calls"), "");
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        write(&path, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the folder is ours");
    }

    /// Runs the script to its failure. Returns what it said, and the calls of apt-get.
    fn check(&self, apt_fails: bool) -> (String, String) {
        let mut command = Command::new(self.path("check"));
        command.env_clear().env("PATH", self.path("bin")).env("APT_FAILS", if apt_fails { "1" } else { "0" });
        let output = run(&mut command);
        assert!(!output.status.success());
        let (stdout, stderr) = said(&output);
        (stdout + &stderr, read(self.path("calls")))
    }

    /// Nothing of the machine's services has changed.
    #[track_caller]
    fn assert_as_before(&self) {
        for list in ["enabled", "running"] {
            assert_eq!(read(self.path(list)), "ssh.service\n", "{list}");
        }
        assert!(!self.path("policy-rc.d").exists(), "services can be started again");
    }
}

const SYSTEMCTL: &str = r#"#!/bin/sh
without() {
	grep -vxF "$2" "HERE/$1" >"HERE/new"
	cp "HERE/new" "HERE/$1"
}
for unit; do :; done
case $* in
*list-unit-files*) sed 's/$/ enabled enabled/' HERE/enabled ;;
*list-units*) sed 's/$/ loaded active/' HERE/running ;;
*disable*) without enabled "$unit" ;;
*stop*) without running "$unit" ;;
esac
"#;

const APT_GET: &str = r#"#!/bin/sh
echo "$*" >>HERE/calls
case $* in
*install*)
	[ -x HERE/policy-rc.d ] || echo nginx.service >>HERE/running
	echo nginx.service >>HERE/enabled
	# A socket that its package starts in spite of the policy.
	echo other.socket >>HERE/enabled
	echo other.socket >>HERE/running
	[ "$APT_FAILS" = 0 ] || exit 100
	for name in nginx socat; do
		cp HERE/bin/curl "HERE/bin/$name"
	done
	;;
esac
"#;

#[test]
fn only_what_is_missing_is_installed_and_no_service_stays() {
    let machine = Machine::without(&["nginx", "socat"]);
    let (output, calls) = machine.check(false);
    assert!(output.contains("check: FAILED at: cargo test,"), "{output}");
    assert_eq!(calls, "-q update\n-q -y install --no-install-recommends nginx socat\n");
    machine.assert_as_before();
    let (output, again) = machine.check(false);
    assert!(output.contains("check: FAILED at: cargo test,"), "{output}");
    assert_eq!(again, calls, "nothing is missing any more");
}

#[test]
fn no_service_stays_where_the_installation_fails() {
    let machine = Machine::without(&["nginx"]);
    let (output, _) = machine.check(true);
    assert!(output.contains("check: FAILED at: programs,"), "{output}");
    machine.assert_as_before();
}
