//! Goal of this test: ssh and scp reach an sshd with a TLS front end, with `qssl-tunnel connect` as their
//! ProxyCommand, in every access mode.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use qssl_test_common::harness::{
    MODES, Modem, Running, certificate_file, digest, free_address, identity, patterned_file, program, rounds,
    run, sha256_hex, temporary_directory,
};

#[test]
fn ssh_and_scp_in_every_mode() {
    let bytes = 1024 * 1024 * rounds(1, 32) as u64;
    let gateway = Gateway::start();
    let file = patterned_file(gateway.directory.path(), bytes);
    for mode in MODES {
        let modem = Modem::start(gateway.address, "");
        let said = run(gateway.ssh(&modem, mode, "ssh").args(["server.test", "cat; echo there"]));
        assert_eq!(said.expect_success().text(), "there\n", "{mode}");

        for _ in 0..rounds(1, 5) {
            let (there, back) = (gateway.path("there"), gateway.path("back"));
            let remote = format!("server.test:{}", there.display());
            run(gateway.ssh(&modem, mode, "scp").arg(&file).arg(&remote)).expect_success();
            run(gateway.ssh(&modem, mode, "scp").arg(&remote).arg(&back)).expect_success();
            let copied = fs::read(&back).expect("scp wrote it");
            assert_eq!(sha256_hex(&copied), digest(bytes), "{mode}");
            fs::remove_file(&there).expect("scp wrote it");
            fs::remove_file(&back).expect("scp wrote it");
        }
    }
}

/// stunnel, which starts an sshd for each connection.
struct Gateway {
    address: SocketAddr,
    directory: TempDir,
    _stunnel: Running,
}

impl Gateway {
    fn start() -> Gateway {
        let directory = temporary_directory();
        let root = directory.path();
        prepare(root);
        let mut pem = identity().chain_pem();
        pem.extend(identity().key_pem());
        fs::write(root.join("front.pem"), pem).expect("the directory is ours");
        fs::set_permissions(root.join("front.pem"), fs::Permissions::from_mode(0o600)).expect("it is ours");
        let address = free_address();
        write(
            &root.join("stunnel.conf"),
            format!(
                "foreground = yes\npid =\nsyslog = no\n[ssh]\naccept = {address}\ncert = {0}/front.pem\n\
                 exec = {1}\nexecArgs = sshd -i -e -f {0}/sshd_config\n",
                root.display(),
                program("sshd").display()
            ),
        );
        let stunnel = Running::start(Command::new(program("stunnel")).arg(root.join("stunnel.conf")));
        stunnel
            .log
            .wait_for("stunnel's readiness", |line| line.contains("Configuration successful").then_some(()));
        Gateway { address, directory, _stunnel: stunnel }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// An `ssh` or `scp` command that knows the host key and uses this modem.
    fn ssh(&self, modem: &Modem, mode: &str, name: &str) -> Command {
        let proxy = format!(
            "{} connect %h:443 --ca {} -d {} --mode {mode}",
            env!("CARGO_BIN_EXE_qssl-tunnel"),
            certificate_file(),
            modem.device(0)
        );
        command(name, self.directory.path(), &proxy)
    }
}

/// Keys for both sides, and the configuration of an sshd that takes the user's.
pub fn prepare(root: &Path) {
    for key in ["host_key", "user_key"] {
        let mut keygen = Command::new(program("ssh-keygen"));
        run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(root.join(key))).expect_success();
    }
    let host_key = fs::read_to_string(root.join("host_key.pub")).expect("ssh-keygen wrote it");
    write(&root.join("known_hosts"), format!("server.test {host_key}"));
    fs::copy(root.join("user_key.pub"), root.join("authorized_keys")).expect("ssh-keygen wrote it");
    write(
        &root.join("sshd_config"),
        format!(
            "HostKey {0}/host_key\nAuthorizedKeysFile {0}/authorized_keys\nPidFile none\nStrictModes no\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             Subsystem sftp internal-sftp\n",
            root.display()
        ),
    );
    // sshd needs this directory if it runs as root; a Debian service makes it at its start.
    let _ = fs::create_dir_all("/run/sshd");
}

/// An `ssh` or `scp` command with these keys that reaches the server by this ProxyCommand.
pub fn command(name: &str, root: &Path, proxy: &str) -> Command {
    let mut command = Command::new(program(name));
    command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
    command.arg("-o").arg(format!("UserKnownHostsFile={}", root.join("known_hosts").display()));
    command.arg("-i").arg(root.join("user_key"));
    command.arg("-o").arg(format!("ProxyCommand={proxy}"));
    command
}

fn write(path: &Path, text: String) {
    fs::write(path, text).expect("the directory is ours");
}
