//! Goal of this test: 4 MiB in each direction (16 MiB under `./check --long`) arrive with the same SHA-256 at full speed, in each access mode and over
//! each kind of port.

use qssl_modem_emulator::test_server::Behaviour;

use qssl_test_common::harness::{
    Site, Tunnel, curl, digest, much_bytes, patterned_file, run, sha256_hex, temporary_directory,
};

#[test]
fn push_over_a_pty() {
    both_ways("push", "");
}

#[test]
fn buffer_over_a_pty() {
    both_ways("buffer", "");
}

#[test]
fn transparent_over_a_pty() {
    both_ways("transparent", "");
}

#[test]
fn push_over_rfc2217() {
    both_ways("push", "--rfc2217 127.0.0.1:0");
}

#[test]
fn buffer_over_rfc2217() {
    both_ways("buffer", "--rfc2217 127.0.0.1:0");
}

#[test]
fn transparent_over_rfc2217() {
    both_ways("transparent", "--rfc2217 127.0.0.1:0");
}

#[test]
fn push_over_tcp() {
    both_ways("push", "--tcp 127.0.0.1:0");
}

#[test]
fn buffer_over_tcp() {
    both_ways("buffer", "--tcp 127.0.0.1:0");
}

#[test]
fn transparent_over_tcp() {
    both_ways("transparent", "--tcp 127.0.0.1:0");
}

fn both_ways(mode: &str, modem_options: &str) {
    let site = Site::new(Behaviour::Http, modem_options);
    let tunnel = site.tunnel(&["--mode", mode]);
    up(&tunnel);
    down(&tunnel);
}

fn up(tunnel: &Tunnel) {
    let directory = temporary_directory();
    let bytes = much_bytes();
    let file = patterned_file(directory.path(), bytes);
    let answer = run(curl(tunnel, "/").arg("--upload-file").arg(file)).expect_success();
    assert_eq!(answer.text().trim(), digest(bytes), "{}", tunnel.log());
}

fn down(tunnel: &Tunnel) {
    let bytes = much_bytes();
    let body = run(&mut curl(tunnel, &format!("/bytes/{bytes}"))).expect_success().stdout;
    assert_eq!(body.len() as u64, bytes, "{}", tunnel.log());
    assert_eq!(sha256_hex(&body), digest(bytes));
}
