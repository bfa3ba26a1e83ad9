//! Goal of this test: git clones a repository from nginx by http:// at the tunnel's local port, in every access
//! mode.

use std::fs;
use std::path::Path;
use std::process::Command;

use qssl_test_common::harness::{
    MODES, Nginx, Through, patterned_bytes, program, rounds, run, temporary_directory,
};

#[test]
fn a_clone_in_every_mode() {
    let nginx = Nginx::start();
    let head = repository(nginx.root());
    for mode in MODES {
        let through = Through::new(nginx.address, mode);
        for round in 0..rounds(1, 40) {
            let directory = temporary_directory();
            let address = format!("http://{}/repository.git", through.tunnel.address());
            let mut command = git(directory.path());
            if mode == "transparent" {
                // In this mode a port has only one connection at a time, and git keeps its connections open.
                command.args(["-c", "http.maxRequests=1"]);
            }
            run(command.args(["clone", "--quiet", &address, "clone"])).expect_success();
            let clone = directory.path().join("clone");
            let cloned = run(git(&clone).args(["rev-parse", "HEAD"])).expect_success().text();
            assert_eq!(cloned, head, "{mode}, round {round}");
            run(git(&clone).args(["fsck", "--full", "--strict"])).expect_success();
            run(git(&clone).args(["diff", "--exit-code", "HEAD"])).expect_success();
        }
    }
}

/// Makes `repository.git` with some commits, partly packed. Returns the ID of the newest one.
pub fn repository(root: &Path) -> String {
    let work = temporary_directory();
    run(git(work.path()).args(["init", "--quiet", "--initial-branch=main"])).expect_success();
    for number in 1..=10_u64 {
        let bytes = patterned_bytes(number * 20_000);
        fs::write(work.path().join(format!("file {number}")), bytes).expect("the directory is ours");
        run(git(work.path()).args(["add", "."])).expect_success();
        run(git(work.path()).args(["commit", "--quiet", "--message", &format!("commit {number}")]))
            .expect_success();
        if number == 5 {
            run(git(work.path()).args(["gc", "--quiet"])).expect_success();
        }
    }
    let bare = root.join("repository.git");
    let bare = bare.to_str().expect("temporary paths are text");
    run(git(work.path()).args(["clone", "--quiet", "--bare", ".", bare])).expect_success();
    run(git(Path::new(bare)).arg("update-server-info")).expect_success();
    run(git(work.path()).args(["rev-parse", "HEAD"])).expect_success().text()
}

/// git in this directory, without any user's settings.
pub fn git(directory: &Path) -> Command {
    let mut command = Command::new(program("git"));
    command.current_dir(directory).env("HOME", directory).env("GIT_CONFIG_NOSYSTEM", "1");
    command.env("GIT_TERMINAL_PROMPT", "0").env("no_proxy", "*");
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "nobody")
            .env(format!("GIT_{who}_EMAIL"), "nobody@server.test");
    }
    command
}
