//! Goal of this test: if a server answers and closes while its client still uploads (HTTP 413), every client, fast or
//! slow, gets the whole answer and an orderly end, as through stunnel.

use std::fs;
use std::net::SocketAddr;
use std::thread;

use qssl_test_common::harness::Step::{Finish, ReadToEnd, ReadToEndSlowly, Receive, Send, SendMeanwhile};
use qssl_test_common::harness::{
    FarEnd, Nginx, Step, Stunnel, Through, Told, curl_at, digest, patterned_file, play_client, run,
    sha256_hex, temporary_directory,
};

/// The number of clients of each kind.
const CLIENTS: usize = 5;
/// More than the buffers in between hold for a client that reads nothing.
const ANSWER_BYTES: u64 = 300_000;
/// More than server, modem, tunnel and kernel can hold, so that no upload ends before the answer.
const FAST: &[Step] = &[SendMeanwhile(16 << 20), ReadToEnd];
const SLOW: &[Step] = &[SendMeanwhile(16 << 20), ReadToEndSlowly];
/// Answers, ends its direction, and reads on, so that no reset discards the answer.
const SERVER: &[Step] = &[Receive(1_000), Send(ANSWER_BYTES), Finish, ReadToEnd];

#[test]
fn everyone_gets_the_whole_answer_of_a_server_that_closes() {
    let whole = vec![format!("{ANSWER_BYTES} bytes, end of file"); 2 * CLIENTS];
    let server = far_end();
    let stunnel = Stunnel::start(server.address());
    assert_eq!(everyone(stunnel.address), whole, "stunnel");
    for mode in ["push", "buffer"] {
        let server = far_end();
        let through = Through::new(server.address(), mode);
        let tunnel = &through.tunnel;
        assert_eq!(everyone(tunnel.address()), whole, "{mode}: {}", tunnel.log());
        // The bytes that did not reach the server are reported.
        tunnel.wait_for("the server closed the connection and did not take the last");
    }
}

#[test]
fn curl_gets_the_whole_answer_of_nginx() {
    let nginx = Nginx::with("location = /upload { client_max_body_size 1k; error_page 413 /too-large.bin; }");
    let answer = patterned_file(nginx.root(), ANSWER_BYTES);
    fs::rename(answer, nginx.root().join("too-large.bin")).expect("the directory is ours");
    let stunnel = Stunnel::start(nginx.address);
    uploads_by_curl(stunnel.address, "stunnel");
    for mode in ["push", "buffer"] {
        let through = Through::new(nginx.address, mode);
        uploads_by_curl(through.tunnel.address(), mode);
    }
}

fn far_end() -> FarEnd {
    let mut server = FarEnd::down(SERVER, Told::default());
    server.start();
    server
}

/// Runs fast and slow clients at the same time. Returns what they saw.
fn everyone(address: SocketAddr) -> Vec<String> {
    thread::scope(|scope| {
        let play = |steps| scope.spawn(move || play_client(address, steps, Told::default()).to_string());
        let clients: Vec<_> = (0..CLIENTS).flat_map(|_| [FAST, SLOW]).map(play).collect();
        clients.into_iter().map(|client| client.join().expect("a client does not panic")).collect()
    })
}

fn uploads_by_curl(address: SocketAddr, through: &str) {
    let directory = temporary_directory();
    let body = patterned_file(directory.path(), 1 << 20);
    let upload = || {
        let mut command = curl_at(address, "/upload");
        command.args(["--header", "Expect:", "--write-out", "%{stderr}%{http_code}"]);
        command.arg("--data-binary").arg(format!("@{}", body.display()));
        let finished = run(&mut command).expect_success();
        (finished.stderr, sha256_hex(&finished.stdout))
    };
    thread::scope(|scope| {
        let uploads: Vec<_> = (0..2 * CLIENTS).map(|_| scope.spawn(upload)).collect();
        for upload in uploads {
            let (status, sha256) = upload.join().expect("curl succeeds");
            assert_eq!((status.as_str(), sha256), ("413", digest(ANSWER_BYTES)), "{through}");
        }
    });
}
