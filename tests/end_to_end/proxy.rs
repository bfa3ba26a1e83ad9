//! Goal of this test: clients that name their own targets (`--dynamic`) reach what is allowed and nothing else, with
//! programs as they are, and learn why where they do not.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::{Pid, Signal, kill_process};

use qssl_test_common::harness::{
    Modem, NAME, Site, Tls13Server, Tunnel, certificate_file, connect, echo, program, run,
    temporary_directory, tunnel_command,
};
use qssl_test_common::program_under_test;

/// A modem that knows `server.test` port 80 as this server, and a proxy through it.
fn proxy(server: SocketAddr, arguments: &[&str]) -> (Modem, Tunnel) {
    let modem = Modem::with_options(&format!("--map {NAME}:80={server}"));
    let device = modem.device(0);
    let tunnel = Tunnel::listen(&[&["-d", &device, "--allow-target", "*.test:80"], arguments].concat());
    (modem, tunnel)
}

fn curl(arguments: &[&str]) -> Command {
    let mut curl = Command::new(program("curl"));
    curl.env_clear().args(["--silent", "--show-error", "--max-time", "60"]).args(arguments);
    curl
}

#[test]
fn curl_reaches_a_name_that_the_modem_looks_up() {
    let server = plain_page();
    let (_modem, tunnel) = proxy(server, &["--dynamic", "auto"]);
    tunnel.wait_until_ready();
    tunnel.wait_for("--dynamic makes plain TCP connections: anybody on the way");
    let address = tunnel.address();
    for protocol in ["socks5h", "http"] {
        let proxy = format!("{protocol}://{address}");
        let mut command = curl(&["--proxy", &proxy, "--proxytunnel"]);
        let page = run(command.arg(format!("http://{NAME}:80/"))).expect_success();
        assert_eq!(page.text(), "a page", "{protocol}");
    }
    tunnel.wait_for("to tcp://server.test:80: open after");
}

#[test]
fn twelve_clients_at_once_reach_two_servers() {
    let server = plain_page();
    let (_modem, tunnel) = proxy(server, &["--dynamic", "socks5"]);
    tunnel.wait_until_ready();
    let proxy = format!("socks5h://{}", tunnel.address());
    let clients: Vec<_> = (0..12)
        .map(|_| {
            let mut command = curl(&["--proxy", &proxy]);
            command.arg(format!("http://{NAME}:80/"));
            std::thread::spawn(move || run(&mut command).expect_success().text())
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().expect("curl ran"), "a page");
    }
}

#[test]
fn what_is_not_allowed_or_not_there_is_answered_with_its_reason() {
    let server = plain_page();
    let (_modem, tunnel) = proxy(
        server,
        &["--dynamic", "auto", "--allow-target", "192.0.2.1:9", "--allow-target", "127.0.0.1:1"],
    );
    tunnel.wait_until_ready();
    let request = |target: &str| {
        let mut client = connect(tunnel.address());
        client.write_all(format!("CONNECT {target} HTTP/1.1\r\n\r\n").as_bytes()).expect("it is read");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("the proxy closes in order");
        answer
    };
    assert!(request("other.example:443").starts_with("HTTP/1.1 403 "));
    tunnel.wait_for("other.example:443 is not allowed (--allow-target)");
    assert!(request("nobody.test:80").starts_with("HTTP/1.1 502 "), "a name that is unknown");
    assert!(request("127.0.0.1:1").starts_with("HTTP/1.1 502 "), "a port that is closed");
    let mut client = connect(tunnel.address());
    client.write_all(b"\x05\x01\0\x05\x01\0\x03\x0bnobody.test\0\x50").expect("it is read");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("the proxy closes in order");
    assert_eq!(answer, b"\x05\0\x05\x04\0\x01\0\0\0\0\0\0", "host unreachable");
}

/// A tunnel has many servers, and a connection one.
#[test]
fn status_shows_the_server_that_a_client_has_named() {
    let directory = temporary_directory();
    let control = directory.path().join("control");
    let control = control.to_str().expect("temporary paths are text");
    let server = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = server.local_addr().expect("a bound socket has an address");
    let (_modem, tunnel) = proxy(address, &["--dynamic", "auto", "--control", control]);
    let mut client = connect(tunnel.address());
    client.write_all(format!("CONNECT {NAME}:80 HTTP/1.1\r\n\r\n").as_bytes()).expect("it is read");
    let mut answer = [0; 12];
    client.read_exact(&mut answer).expect("the connection is open");
    assert_eq!(&answer, b"HTTP/1.1 200");
    let status = |form: &[&str]| {
        run(&mut tunnel_command(&[&["status", "--control", control], form].concat())).expect_success().text()
    };
    let json = status(&["--json"]);
    assert!(json.contains("\"server\": \"tcp://server.test:80\""), "{json}");
    let table = status(&[]);
    assert!(table.ends_with("\n  1: → tcp://server.test:80\n"), "{table}");
}

/// A client that speaks without waiting for answers must find each of them all the same.
#[test]
fn a_target_that_is_not_allowed_is_the_last_of_the_answers_to_what_came_in_one_piece() {
    let folder = temporary_directory();
    let users = folder.path().join("users");
    fs::write(&users, "user:secret\n").expect("the folder can be written");
    let users = users.to_str().expect("text");
    let cases: [(&[&str], &[u8], &[u8]); 2] = [
        (&[], b"\x05\x01\0", b"\x05\0"),
        (&["--proxy-user-file", users], b"\x05\x01\x02\x01\x04user\x06secret", b"\x05\x02\x01\0"),
    ];
    for (arguments, greeting, answers) in cases {
        let (_modem, tunnel) = proxy(plain_page(), &[&["--dynamic", "socks5"], arguments].concat());
        let mut client = connect(tunnel.address());
        let said = [greeting, b"\x05\x01\0\x03\x0dother.example\x01\xbb"].concat();
        client.write_all(&said).expect("it is read");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("the proxy closes in order");
        assert_eq!(answer, [answers, b"\x05\x02\0\x01\0\0\0\0\0\0"].concat(), "{arguments:?}");
    }
}

#[test]
fn a_client_of_a_modem_that_is_not_ready_is_told_so() {
    let modem = Modem::with_options("--registration-denied");
    let device = modem.device(0);
    let answer = |tunnel: &Tunnel, request: &[u8]| {
        let (mut client, mut answer) = (connect(tunnel.address()), Vec::new());
        client.write_all(request).expect("it is read");
        client.read_to_end(&mut answer).expect("the proxy closes in order");
        answer
    };
    let socks = b"\x05\x01\0\x05\x01\0\x03\x0bserver.test\0\x50";
    let unreachable = b"\x05\0\x05\x03\0\x01\0\0\0\0\0\0";
    let http = format!("CONNECT {NAME}:80 HTTP/1.1\r\n\r\n");
    let unready = "HTTP/1.1 503 The modem is not ready\r\n";
    let usual = ["--dynamic", "auto", "--allow-target", "*.test:80", "-d", &device];
    for arguments in [["--queue-timeout", "300ms"], ["--when-full", "reset"]] {
        let tunnel = Tunnel::listen(&[&usual[..], &arguments].concat());
        assert_eq!(answer(&tunnel, socks), unreachable, "{arguments:?}: {}", tunnel.log());
        let by_http = answer(&tunnel, http.as_bytes());
        assert!(by_http.starts_with(unready.as_bytes()), "{arguments:?}: {}", tunnel.log());
        assert!(!tunnel.log().contains("sockets are busy"), "{}", tunnel.log());
    }
}

#[test]
fn bytes_that_follow_the_request_at_once_reach_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("the modem connects");
        let mut from = client.try_clone().expect("a descriptor");
        let _ = std::io::copy(&mut from, &mut client);
    });
    let (_modem, tunnel) = proxy(address, &["--dynamic", "socks5"]);
    let mut client = connect(tunnel.address());
    client.write_all(b"\x05\x01\0\x05\x01\0\x03\x0bserver.test\0\x50early").expect("it is read");
    let mut answer = [0; 12 + 5];
    client.read_exact(&mut answer).expect("the connection is open");
    assert_eq!(&answer, b"\x05\0\x05\0\0\x01\0\0\0\0\0\0early");
    echo(&mut client, b"and more");
}

#[test]
fn users_need_their_password_and_the_modem_can_do_the_tls() {
    let site = Site::new(Behaviour::Echo, "--family eg800q");
    let folder = temporary_directory();
    let users = folder.path().join("users");
    fs::write(&users, "# who\nuser:secret\n").expect("the folder can be written");
    let (users, device) = (users.to_str().expect("text"), site.modem.device(0));
    let tunnel = Tunnel::listen(&[
        "--dynamic",
        "http",
        "--dynamic-tls",
        "--ca",
        certificate_file(),
        "--allow-target",
        "*:443",
        "--proxy-user-file",
        users,
        "-d",
        &device,
    ]);
    let ask = |authorization: &str| {
        let mut client = connect(tunnel.address());
        let request = format!("CONNECT {NAME}:443 HTTP/1.1\r\n{authorization}\r\n");
        client.write_all(request.as_bytes()).expect("it is read");
        let mut answer = [0; 12];
        client.read_exact(&mut answer).expect("it is answered");
        (String::from_utf8_lossy(&answer).into_owned(), client)
    };
    assert_eq!(ask("").0, "HTTP/1.1 407");
    assert_eq!(ask("Proxy-Authorization: Basic dXNlcjp3cm9uZw==\r\n").0, "HTTP/1.1 407");
    let (answer, mut client) = ask("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n");
    assert_eq!(answer, "HTTP/1.1 200");
    let handshakes = site.server.wait_for(|records| records.iter().any(|record| record.handshake.is_some()));
    let handshake = handshakes[0].handshake.clone().expect("it is over").expect("the server is trusted");
    assert_eq!(handshake.server_name.as_deref(), Some(NAME), "the name that the client gave");
    let mut rest = [0; " Connection established\r\n\r\n".len()];
    client.read_exact(&mut rest).expect("the rest of the answer");
    echo(&mut client, b"over the modem's TLS");
}

#[test]
fn curl_reaches_a_server_of_tls_1_3_by_either_protocol() {
    let folder = temporary_directory();
    fs::write(folder.path().join("page"), "a page").expect("the folder can be written");
    let server = Tls13Server::start(folder.path());
    let modem = Modem::start(server.address, "");
    let device = modem.device(0);
    let usual = ["--dynamic", "auto", "--allow-target", "server.test:443", "-d", &device];
    let tunnel = Tunnel::listen(&usual);
    tunnel.wait_until_ready();
    for protocol in ["socks5h", "http"] {
        let proxy = format!("{protocol}://{}", tunnel.address());
        let mut command = curl(&["--proxy", &proxy, "--tlsv1.3", "--cacert", certificate_file()]);
        let page = run(command.arg(format!("https://{NAME}/page"))).expect_success();
        assert_eq!(page.text(), "a page", "{protocol}");
    }
}

#[test]
fn wget_takes_it_as_its_proxy_for_tls_1_3_and_no_name_is_looked_up_here() {
    let folder = temporary_directory();
    fs::write(folder.path().join("page"), "a page").expect("the folder can be written");
    let server = Tls13Server::start(folder.path());
    let modem = Modem::start(server.address, "");
    let (device, calls) = (modem.device(0), folder.path().join("calls"));
    let mut traced = Command::new(program("strace"));
    traced
        .args(["-f", "-e", "trace=openat,connect,sendto,sendmsg", "-o"])
        .arg(&calls)
        .arg(program_under_test());
    traced.args([
        "listen",
        "127.0.0.1:0",
        "--dynamic",
        "http",
        "--allow-target",
        "server.test:443",
        "-d",
        &device,
    ]);
    let tunnel = Tunnel::start(&mut traced);
    let mut wget = Command::new(program("wget"));
    wget.env_clear().env("https_proxy", format!("http://{}", tunnel.address()));
    wget.args(["--no-verbose", "--tries=1", "--ca-certificate", certificate_file(), "-O", "-"]);
    let page = run(wget.arg(format!("https://{NAME}/page"))).expect_success();
    assert_eq!(page.text(), "a page");
    // A signal to strace would end strace alone.
    let children = format!("/proc/{0}/task/{0}/children", tunnel.id());
    let child = fs::read_to_string(children).expect("strace has a child");
    let child = Pid::from_raw(child.trim().parse().expect("one process")).expect("a process");
    kill_process(child, Signal::TERM).expect("it is ours");
    tunnel.ends_with(0);
    let calls = fs::read_to_string(&calls).expect("strace has written it");
    assert!(calls.contains("openat("), "{calls}");
    for of_look_ups in ["resolv.conf", "nsswitch.conf", "sin_port=htons(53)"] {
        assert!(!calls.contains(of_look_ups), "{of_look_ups}: {calls}");
    }
}

#[test]
fn a_proxy_for_others_must_name_them() {
    let usual = ["listen", "0.0.0.0:0", "--dynamic", "socks5", "--allow-target", "*:443"];
    let refused = run(&mut tunnel_command(&usual));
    assert_eq!(refused.status, 2);
    assert!(
        refused.stderr.contains("--dynamic: other machines can connect to 0.0.0.0:0"),
        "{}",
        refused.stderr
    );
    let by_systemd = ["listen", "systemd:proxy", "--dynamic", "socks5", "--allow-target", "*:443"];
    let refused = run(&mut tunnel_command(&by_systemd));
    assert!(refused.stderr.contains("can connect to systemd:proxy"), "{}", refused.stderr);
    let waits = ["listen", "1080", "--dynamic", "http", "--allow-target", "*:443", "--open-on", "first-byte"];
    let refused = run(&mut tunnel_command(&waits));
    assert!(refused.stderr.contains("--open-on: clients of --dynamic send nothing"), "{}", refused.stderr);
    let refused = run(&mut tunnel_command(&["listen", "1080", "--dynamic", "socks5"]));
    assert!(refused.stderr.contains("--dynamic: needs --allow-target"), "{}", refused.stderr);
    let refused = run(&mut tunnel_command(&[
        "listen",
        "1080",
        "--dynamic",
        "socks5",
        "--allow-target",
        "*:1",
        "--to",
        "a:1",
    ]));
    assert!(refused.stderr.contains("contradicts --to"), "{}", refused.stderr);
}

/// A server without TLS that gives every request the same page.
fn plain_page() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound socket has an address");
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut request = [0; 4_096];
                let _ = client.read(&mut request);
                let _ = client.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\na page");
            });
        }
    });
    address
}
