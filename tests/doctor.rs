//! Goal of this test: `qssl-tunnel doctor` finds the fault of a modem, a network or a server, exits with the status of
//! the first failure, and leaves the modem as it was.

use std::fs;
use std::io::Write as _;
use std::net::UdpSocket;
use std::process::Command;

use qssl_modem_emulator::test_server::{
    Authority, Behaviour, CertificateRequest, ServerOptions, SslVersion, TestServer,
};
use qssl_test_common::harness::{
    self, Finished, Modem, NAME, Running, Site, Tunnel, UdpEcho, ask, authority, certificate_file,
    free_address, identity, program, run, temporary_directory, tunnel_command,
};
use rustix::process::Signal;

/// Runs the doctor on this modem.
fn doctor(modem: &Modem, arguments: &[&str]) -> Finished {
    let device = modem.device(0);
    run(&mut tunnel_command(&[&["doctor", "-d", &device], arguments].concat()))
}

/// Runs it for the server, with the authority of the server's good certificate.
fn doctor_to_server(modem: &Modem, arguments: &[&str]) -> Finished {
    let target = format!("{NAME}:443");
    doctor(modem, &[&[target.as_str(), "--ca", certificate_file(), "-w", "20s"], arguments].concat())
}

/// The lines of a check: what was seen, and the advice.
#[track_caller]
fn line<'a>(report: &'a str, check: &str) -> &'a str {
    let begins = |line: &str| !line.starts_with(' ') && line.split_whitespace().nth(1) == Some(check);
    let mut at = 0;
    for line in report.split_inclusive('\n') {
        if begins(line) {
            let rest = &report[at..];
            let after_first = rest.find('\n').map_or(rest.len(), |end| end + 1);
            let further = rest[after_first..].split_inclusive('\n').take_while(|line| line.starts_with(' '));
            let length = after_first + further.map(str::len).sum::<usize>();
            return rest[..length].trim_end();
        }
        at += line.len();
    }
    panic!("no line for {check}:\n{report}")
}

#[track_caller]
fn failed(finished: &Finished, status: i32, check: &str, words: &[&str]) {
    let report = finished.text();
    let line = line(&report, check);
    assert!(line.starts_with('✗'), "{report}\n{}", finished.stderr);
    for word in words {
        assert!(line.contains(word), "{word:?} is not in: {line}");
    }
    assert_eq!(finished.status, status, "{report}\n{}", finished.stderr);
}

fn server(identity: &CertificateRequest) -> ServerOptions {
    let identity = authority().issue(identity).expect("OpenSSL signs");
    ServerOptions { identity: Some(identity), ..ServerOptions::default() }
}

#[test]
fn a_modem_that_is_well_gets_a_tick_at_every_check() {
    let site = Site::new(Behaviour::Echo, "--clock host");
    let finished = doctor_to_server(&site.modem, &[]);
    let report = finished.text();
    let checks: Vec<&str> = report.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(
        checks,
        [
            "port",
            "modem",
            "identity",
            "sim",
            "signal",
            "registration",
            "session",
            "dns",
            "clock",
            "certificates",
            "tcp",
            "tls"
        ],
        "{report}{}",
        finished.stderr
    );
    assert!(report.lines().all(|line| line.starts_with('✓')), "{report}");
    assert_eq!((finished.status, finished.stderr.as_str()), (0, ""));
    assert!(line(&report, "identity").contains("12 connections, 6 SSL contexts, 1460 bytes per send"));
    assert!(line(&report, "signal").contains("-57 dBm"));
    assert!(line(&report, "registration").contains("at home in Emulated"));
    assert!(line(&report, "session").contains("address 10.7.157.1"));
    assert!(line(&report, "tls").contains("server.test port 443 is connected"));
}

#[test]
fn the_settings_of_a_tunnel_are_taken_from_its_file() {
    let site = Site::new(Behaviour::Echo, "--clock host --required-apn internet");
    let folder = temporary_directory();
    let file = folder.path().join("tunnels.toml");
    let (device, ca) = (site.modem.device(0), certificate_file());
    let text = format!(
        "[modem]\ndevice = [\"{device}\"]\napn = \"internet\"\n\
         [[tunnel]]\nlisten = [\"8000\"]\ndynamic = \"socks5\"\nallow-target = [\"*:443\"]\n\
         [[tunnel]]\nlisten = [\"8001\"]\nto = \"{NAME}:443\"\nca = [\"{ca}\"]\n\
         [[tunnel]]\nlisten = [\"8002\"]\nto = \"tcp://{NAME}:443\"\n"
    );
    fs::write(&file, text).expect("the folder can be written");
    let file = file.to_str().expect("a path in UTF-8");
    let report = |arguments: &[&str]| {
        run(&mut tunnel_command(&[&["doctor", "--config", file, "-w", "20s"], arguments].concat()))
    };
    let server = format!("{NAME}:443");
    for named in [&[][..], &[server.as_str()]] {
        let finished = report(named);
        assert_eq!(finished.status, 0, "{}{}", finished.text(), finished.stderr);
        assert!(line(&finished.text(), "tls").contains("server.test port 443 is connected"));
    }
    let finished = report(&[&format!("tcp://{NAME}:443")]);
    assert_eq!(finished.status, 0, "{}{}", finished.text(), finished.stderr);
    assert!(line(&finished.text(), "tls").contains("tcp:// has none"), "{}", finished.text());
    let insecure = report(&[server.as_str(), "--insecure"]);
    assert!(line(&insecure.text(), "tls").contains("not authenticated (--insecure)"), "{}", insecure.text());
}

#[test]
fn a_server_without_tls_is_examined_as_far_as_it_goes() {
    let plain = ServerOptions { plain: true, ..ServerOptions::default() };
    let site = Site::with_server(plain, "--clock host");
    let finished = doctor(&site.modem, &[&format!("tcp://{NAME}:443")]);
    assert_eq!(finished.status, 0, "{}", finished.text());
    assert!(line(&finished.text(), "tcp").contains("server.test port 443 answers"), "{}", finished.text());
    assert!(line(&finished.text(), "tls").contains("tcp:// has none"), "{}", finished.text());
    assert!(site.server.records().iter().all(|record| record.received_bytes == 0), "it is sent nothing");

    let modem = Modem::with_options(&format!("--clock host --map {NAME}:443={}", free_address()));
    let finished = doctor(&modem, &[&format!("tcp://{NAME}:443")]);
    failed(&finished, 13, "tcp", &["refuses the connection or cannot be reached"]);
}

#[test]
fn servers_of_datagrams_are_examined_by_dtls_or_left_in_peace() {
    let plain = UdpEcho::start();
    let modem = Modem::with_options(&format!("--clock host --map {NAME}:7={}", plain.address));
    let finished = doctor(&modem, &[&format!("udp://{NAME}:7")]);
    assert_eq!(finished.status, 0, "{}", finished.text());
    assert!(
        line(&finished.text(), "tcp").contains("server.test port 7 takes datagrams"),
        "{}",
        finished.text()
    );
    assert!(line(&finished.text(), "tls").contains("udp:// has none"));
    assert_eq!(plain.client_count(), 0, "it is sent nothing");

    let folder = temporary_directory();
    let (certificate, key) = (folder.path().join("server.pem"), folder.path().join("server.key"));
    fs::write(&certificate, identity().certificate_pem()).expect("the folder can be written");
    fs::write(&key, identity().key_pem()).expect("the folder can be written");
    let address = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = address.expect("loopback has free ports");
    let mut server = Command::new(program("openssl"));
    server.args(["s_server", "-dtls1", "-cipher", "ALL:@SECLEVEL=0", "-accept", &address.to_string()]);
    let (_server, _input) =
        Running::start_with_input(server.arg("-cert").arg(&certificate).arg("-key").arg(&key));
    let modem = Modem::with_options(&format!("--clock host --map {NAME}:5684={address}"));
    let target = format!("dtls://{NAME}:5684");
    let usual = [target.as_str(), "--ca", certificate_file(), "-w", "20s"];
    failed(&doctor(&modem, &usual), 14, "tls", &["does not speak the TLS version", "--tls-version any"]);
    let old = doctor(&modem, &[&usual[..], &["--tls-version", "1.0"]].concat());
    assert!(line(&old.text(), "tls").contains("server.test port 5684 is connected"), "{}", old.text());
    let settings = ask(&modem, &["AT+QSSLCFG=\"dtls\",5", "AT+QSSLCFG=\"dtlsversion\",5"]);
    assert!(settings[0].ends_with(",5,0"), "put back: {settings:?}");
}

#[test]
fn the_modem_is_left_as_it_was_found() {
    let site = Site::with_server(server(&CertificateRequest::server(NAME).expired()), "--clock host");
    let keys = [
        "sslversion",
        "ciphersuite",
        "cacert",
        "seclevel",
        "ignorelocaltime",
        "negotiatetime",
        "sni",
        "alpn",
    ];
    let mut questions: Vec<String> = Vec::new();
    for context in 0..6 {
        questions.extend(keys.map(|key| format!("AT+QSSLCFG=\"{key}\",{context}")));
    }
    questions.extend(["AT+QIACT?", "AT+QFLST=\"*\"", "AT+QSSLSTATE", "AT+QISTATE"].map(str::to_owned));
    let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
    let before = ask(&site.modem, &questions);
    assert_eq!(before.len(), 6 * keys.len(), "{before:?}");
    failed(&doctor_to_server(&site.modem, &[]), 14, "tls", &["expired"]);
    assert_eq!(ask(&site.modem, &questions), before);
}

#[test]
fn json_has_the_same_findings() {
    let modem = Modem::with_options("--no-sim --clock host");
    let finished = doctor(&modem, &["--json"]);
    let findings: serde_json::Value = serde_json::from_slice(&finished.stdout).expect("JSON");
    let sim = findings.as_array().expect("an array").iter().find(|one| one["check"] == "sim");
    let sim = sim.expect("the SIM is checked");
    assert_eq!((sim["verdict"].as_str(), sim["id"].as_str()), (Some("failed"), Some("sim-failed")));
    assert_eq!(finished.status, 9);
}

#[test]
fn no_port_and_a_silent_port_are_told_apart() {
    let missing = run(&mut tunnel_command(&["doctor", "-d", "/dev/ttyNONE9"]));
    failed(&missing, 7, "port", &["/dev/ttyNONE9", "plugged in", "port-unavailable"]);
    let text = missing.text();
    assert_eq!(text.lines().filter(|line| line.starts_with('–')).count(), 1, "{text}");
    assert!(text.contains("– not tried     modem, identity, sim, signal,"), "{text}");
    assert!(!text.contains("tls"), "no server was named");
}

#[test]
fn a_sim_that_wants_its_pin_costs_none_of_its_attempts() {
    let modem = Modem::with_options("--sim-pin 1234 --clock host");
    failed(&doctor(&modem, &[]), 9, "sim", &["requires its PIN, 3 attempts left", "--sim-pin-file"]);
    let directory = harness::temporary_directory();
    let pin = directory.path().join("pin");
    let pin_file = pin.to_str().expect("text");
    for content in ["0000\n", "1234\n"] {
        fs::write(&pin, content).expect("the directory is ours");
        let said = ["requires its PIN, 3 attempts left", "a tunnel with --sim-pin-file enters it"];
        failed(&doctor(&modem, &["--sim-pin-file", pin_file]), 9, "sim", &said);
    }
    assert_eq!(ask(&modem, &["AT+CPIN?", "AT+QPINC=\"SC\""]), ["+CPIN: SIM PIN", "+QPINC: \"SC\",3,10"]);
}

#[test]
fn a_pin_that_a_tunnel_was_refused_is_known_to_be_wrong() {
    let modem = Modem::with_options("--sim-pin 1234 --clock host");
    let directory = harness::temporary_directory();
    let pin = directory.path().join("pin");
    let pin_file = pin.to_str().expect("text");
    let with_state = |arguments: &[&str]| {
        let device = modem.device(0);
        let mut command = tunnel_command(arguments);
        command.args(["-d", &device, "--sim-pin-file", pin_file]);
        run(command.env("QSSL_TUNNEL_STATE_DIRECTORY", directory.path()))
    };
    fs::write(&pin, "0000\n").expect("the directory is ours");
    let connected = with_state(&["connect", "server.test:443", "--insecure"]);
    assert_eq!(connected.status, 9, "{}", connected.stderr);
    let said = [
        "requires its PIN, 2 attempts left",
        "refused the PIN of --sim-pin-file before",
        "give the right one",
    ];
    failed(&with_state(&["doctor"]), 9, "sim", &said);
    // The service's directory is known to a tunnel that has none.
    let device = modem.device(0);
    let mut again = tunnel_command(&["connect", "server.test:443", "--insecure", "-d", &device]);
    let again = run(again.args(["--sim-pin-file", pin_file]).env("STATE_DIRECTORY", directory.path()));
    assert_eq!(again.status, 9, "{}", again.stderr);
    assert_eq!(ask(&modem, &["AT+QPINC=\"SC\""]), ["+QPINC: \"SC\",2,10"]);
    // After the second wrong PIN one attempt is left, which only the user may use.
    fs::write(&pin, "1111\n").expect("the directory is ours");
    assert_eq!(with_state(&["connect", "server.test:443", "--insecure"]).status, 9);
    fs::write(&pin, "1234\n").expect("the directory is ours");
    let said = ["requires its PIN, 1 attempt left", "does not use the last one", "by hand"];
    failed(&with_state(&["doctor"]), 9, "sim", &said);
    assert_eq!(ask(&modem, &["AT+QPINC=\"SC\""]), ["+QPINC: \"SC\",1,10"]);
}

#[test]
fn a_stored_file_with_other_bytes_is_named_and_not_trusted() {
    let site = Site::new(Behaviour::Echo, "--clock host");
    let device = site.modem.device(0);
    let put = run(&mut tunnel_command(&["cert", "put", certificate_file(), "-d", &device])).expect_success();
    let name = put.text().trim().to_owned();
    let original = fs::read(certificate_file()).expect("it exists");
    // A file with the same name, size and checksum: two pairs of bytes are swapped.
    let mut other = original.clone();
    other.swap(100, 102);
    other.swap(101, 103);
    assert_ne!(other, original);
    let path = format!("UFS:{name}");
    let put = site.modem.embedded.with_modem(move |modem, _, _| modem.put_file(&path, &other));
    assert_eq!(put, Some(true));
    let finished = doctor_to_server(&site.modem, &[]);
    failed(
        &finished,
        8,
        "certificates",
        &["not the bytes that this program has stored", &name, "cert remove"],
    );
    // The server is checked with the right bytes, which stay stored.
    assert!(line(&finished.text(), "tls").starts_with('✓'), "{}", finished.text());
    let kept = run(&mut tunnel_command(&["cert", "get", &name, "-d", &device])).expect_success();
    assert_eq!(kept.stdout, original);
    let again = doctor_to_server(&site.modem, &[]);
    assert_eq!(again.status, 0, "{}", again.text());
    assert!(line(&again.text(), "certificates").contains("is there"), "{}", again.text());
}

#[test]
fn a_module_with_another_set_of_commands_is_named_as_such() {
    let modem = Modem::with_options("--identity BC660K-GL --clock host");
    failed(&doctor(&modem, &[]), 8, "identity", &["BC660K-GL", "uses other AT commands for TLS"]);
}

#[test]
fn a_network_that_denies_the_modem_is_named() {
    let modem = Modem::with_options("--registration-denied --clock host");
    let finished = doctor(&modem, &[]);
    failed(&finished, 10, "registration", &["the network denies it", "no-registration"]);
    assert!(line(&finished.text(), "session").contains("not tried"));
}

#[test]
fn an_access_point_that_is_missing_is_named_and_one_that_is_given_is_used() {
    let modem = Modem::with_options("--required-apn internet --clock host");
    let said = ["cannot be activated", "573 APN not configured", "--apn"];
    failed(&doctor(&modem, &[]), 11, "session", &said);
    let said = ["cannot be activated", "561 open PDP context failed", "--apn"];
    failed(&doctor(&modem, &["--apn", "other"]), 11, "session", &said);
    let finished = doctor(&modem, &["--apn", "internet"]);
    assert_eq!(finished.status, 0, "{}", finished.text());
    // The setting of --apn was restored.
    failed(&doctor(&modem, &[]), 11, "session", &["cannot be activated"]);
}

#[test]
fn a_name_that_cannot_be_resolved_is_told_from_a_server_that_refuses() {
    let modem = Modem::with_options("--dns-fails --clock host");
    let finished = doctor_to_server(&modem, &[]);
    failed(&finished, 12, "dns", &["server.test cannot be resolved"]);
    assert!(line(&finished.text(), "tls").contains("not tried"));

    let address = free_address();
    let modem = Modem::start(address, "--clock host");
    let finished = doctor_to_server(&modem, &[]);
    failed(&finished, 13, "tcp", &["refuses the connection"]);
    assert!(line(&finished.text(), "dns").starts_with('✓'));
}

/// Another program has connection 3 of a modem with these options: it is refused to doctor, which then makes its own by
/// number 2.
fn beside_a_connection_of_another_program(options: &str) -> (std::net::TcpListener, Modem, Finished) {
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    let modem = Modem::with_options(&format!("--clock host {options} --map {NAME}:80={address}"));
    let others = format!("AT+QIOPEN=1,3,\"TCP\",\"{NAME}\",80,0,0");
    ask(&modem, &["AT+QIACT=1", &others]);
    let target = format!("tcp://{NAME}:80");
    failed(&doctor(&modem, &[&target, "--sockets", "3"]), 1, "tcp", &["563"]);
    let finished = doctor(&modem, &[&target, "--sockets", "2-3"]);
    assert_eq!(finished.status, 0, "{}", finished.text());
    (server, modem, finished)
}

#[test]
fn a_plain_connection_is_made_by_a_number_of_ours_and_leaves_those_of_others() {
    let (_server, modem, finished) = beside_a_connection_of_another_program("");
    assert!(line(&finished.text(), "tcp").contains("server.test port 80 answers"), "{}", finished.text());
    let states = ask(&modem, &["AT+QISTATE"]);
    assert!(matches!(&states[..], [only] if only.starts_with("+QISTATE: 3,\"TCP\"")), "{states:?}");
}

/// AT+QISTATE does not show the connection, but its number is refused. It once would have been closed then.
#[test]
fn a_number_that_turns_out_to_be_in_use_is_left_alone() {
    let (_server, modem, _) = beside_a_connection_of_another_program("--quirk plain-sockets-unlisted");
    assert_eq!(ask(&modem, &["AT+QISEND=3,0"]), ["+QISEND: 0,0,0"], "it is still connected");
}

#[test]
fn a_port_behind_which_there_is_no_tls_is_recognised_as_such() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let modem = Modem::start(mute.local_addr().expect("an address"), "--clock host");
    let target = format!("{NAME}:443");
    let finished = doctor(&modem, &[&target, "--insecure", "-w", "10s"]);
    failed(&finished, 13, "tls", &["569", "is this its TLS port?"]);
}

#[test]
fn a_wrong_clock_is_set_and_the_server_is_judged_by_the_right_one() {
    let site = Site::new(Behaviour::Echo, "");
    let finished = doctor_to_server(&site.modem, &[]);
    assert_eq!(finished.status, 0, "{}", finished.text());
    let report = finished.text();
    assert!(line(&report, "clock").contains("was 1980-01-06"), "{report}");
    assert!(line(&report, "clock").contains("set from this machine's"), "{report}");

    // A wrong host name and an expired certificate are not confused.
    let other = Site::with_server(server(&CertificateRequest::server("other.test")), "");
    failed(&doctor_to_server(&other.modem, &[]), 14, "tls", &["for another name"]);
    let old = Site::with_server(server(&CertificateRequest::server(NAME).expired()), "");
    failed(&doctor_to_server(&old.modem, &[]), 14, "tls", &["expired or is not valid yet"]);
}

#[test]
fn a_key_with_a_wrong_password_is_not_blamed_on_the_server() {
    let site = Site::new(Behaviour::Echo, "--clock host");
    let client = authority().issue(&CertificateRequest::client("device")).expect("OpenSSL signs");
    let directory = harness::temporary_directory();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, content).expect("the directory is ours");
        path.to_str().expect("text").to_owned()
    };
    let certificate = file("device.pem", &client.certificate_pem());
    let key = file("device.key", &client.encrypted_key_pem("right"));
    let password = file("password", b"wrong\n");
    let options = ["--cert", &certificate, "--key", &key, "--key-password-file", &password];
    failed(
        &doctor_to_server(&site.modem, &options),
        14,
        "tls",
        &["cannot use the client certificate", "password"],
    );
}

#[test]
fn a_port_that_speaks_something_else_than_tls_is_suspected() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.write_all(b"220 mail.test ESMTP\r\n");
        }
    });
    let modem = Modem::start(address, "--clock host");
    failed(&doctor_to_server(&modem, &[]), 14, "tls", &["port 443 does not speak TLS"]);
}

#[test]
fn the_c_locale_gets_plain_ascii() {
    let modem = Modem::with_options("--no-sim --clock host");
    let device = modem.device(0);
    let finished = run(tunnel_command(&["doctor", "-d", &device]).env("LC_ALL", "C"));
    assert!(finished.text().is_ascii(), "{}", finished.text());
    assert!(
        finished
            .text()
            .contains("x sim           not inserted [sim-failed]\n                -> insert one\n")
    );
}

#[test]
fn the_cause_of_a_566_is_named() {
    let host = "--clock host";
    let old = Site::with_server(server(&CertificateRequest::server(NAME).expired()), host);
    failed(&doctor_to_server(&old.modem, &[]), 14, "tls", &["expired or is not valid yet"]);

    let other = Site::with_server(server(&CertificateRequest::server("other.test")), host);
    failed(&doctor_to_server(&other.modem, &[]), 14, "tls", &["for another name"]);

    let stranger = Authority::new("a stranger").expect("OpenSSL makes a root");
    let identity = stranger.issue(&CertificateRequest::server(NAME)).expect("OpenSSL signs");
    let strange =
        Site::with_server(ServerOptions { identity: Some(identity), ..ServerOptions::default() }, host);
    failed(&doctor_to_server(&strange.modem, &[]), 14, "tls", &["do not vouch for the server", "--ca"]);

    let narrow =
        ServerOptions { cipher_list: Some("ECDHE-RSA-AES128-GCM-SHA256".into()), ..ServerOptions::default() };
    let narrow = Site::with_server(narrow, host);
    let one = ["--cipher", "TLS_RSA_WITH_AES_128_CBC_SHA"];
    failed(&doctor_to_server(&narrow.modem, &one), 14, "tls", &["does not take the one cipher suite"]);
}

#[test]
fn a_server_that_wants_its_name_or_an_older_version_is_recognised_as_such() {
    let named = ServerOptions { demands_name: true, ..ServerOptions::default() };
    let named = Site::with_server(named, "--clock host");
    failed(&doctor_to_server(&named.modem, &["--no-sni"]), 14, "tls", &["requires the host name (SNI)"]);
    assert_eq!(doctor_to_server(&named.modem, &[]).status, 0);

    // On a terminal, each trial is shown while it runs, and then erased.
    let program = env!("CARGO_BIN_EXE_qssl-tunnel");
    let (ca, device) = (certificate_file(), named.modem.device(0));
    let line = format!("stty cols 100; {program} doctor {NAME}:443 --ca {ca} -w 20s --no-sni -d {device}");
    let mut script = std::process::Command::new("script");
    let shown = run(script.env("TERM", "xterm").args(["-qec", &line, "/dev/null"])).text();
    let (_, tried) = shown.split_once("tls fails: trying sni = 1 (").expect("it is shown");
    assert!(tried.contains("\r\x1b[K") && tried.contains("(SNI)"), "{shown:?}");

    let old = ServerOptions { highest_version: Some(SslVersion::TLS1_1), ..ServerOptions::default() };
    let old = Site::with_server(old, "--clock host");
    failed(
        &doctor_to_server(&old.modem, &[]),
        14,
        "tls",
        &["does not speak the TLS version", "--tls-version"],
    );

    let site = Site::with_server(
        ServerOptions { demands_name: true, ..ServerOptions::default() },
        "--clock host --family ec20",
    );
    failed(
        &doctor_to_server(&site.modem, &[]),
        14,
        "tls",
        &["with every setting that was tried", "(SNI), which EC20F"],
    );
}

#[test]
fn a_certificate_that_is_wrong_twice_is_not_blamed_on_its_authority() {
    let bad = server(&CertificateRequest::server("other.test").expired());
    let site = Site::with_server(bad, "--clock host");
    failed(&doctor_to_server(&site.modem, &[]), 14, "tls", &["wrong in more than one way"]);
}

/// A tunnel sends AT+CGPADDR if a module refuses AT+QIACT?. The doctor found no data session there.
#[test]
fn a_module_that_refuses_the_question_for_its_data_session_is_well_all_the_same() {
    for is_active in [false, true] {
        let site = Site::new(Behaviour::Echo, "--clock host --quirk session_query_refused");
        if is_active {
            ask(&site.modem, &["AT+QIACT=1"]);
        }
        let finished = doctor_to_server(&site.modem, &[]);
        let report = finished.text();
        assert_eq!(finished.status, 0, "{report}");
        assert!(line(&report, "session").contains("address 10.7.157.1"), "{report}");
        assert_eq!(line(&report, "session").contains("can be activated"), !is_active, "{report}");
    }
}

#[test]
fn a_data_session_that_was_there_before_and_carries_nothing_comes_under_suspicion() {
    let site = Site::new(Behaviour::Echo, "--clock host");
    ask(&site.modem, &["AT+QIACT=1"]);
    site.modem.embedded.with_modem(|modem, _, now| modem.wear_out_pdp(1, now));
    let finished = doctor_to_server(&site.modem, &[]);
    failed(
        &finished,
        12,
        "dns",
        &["cannot be resolved", "the data session, which was active before", "--apn"],
    );
}

#[test]
fn an_ec20_at_a_server_with_ecdhe_only_hears_of_the_cipher_suites() {
    let narrow = ServerOptions {
        cipher_list: Some("ECDHE-RSA-AES128-GCM-SHA256".into()),
        highest_version: Some(SslVersion::TLS1_2),
        ..ServerOptions::default()
    };
    let site = Site::with_server(narrow, "--family ec20 --clock host");
    let finished = doctor_to_server(&site.modem, &[]);
    failed(&finished, 14, "tls", &["no common cipher suite", "has no ECDHE"]);
}

#[test]
fn certificates_that_do_not_fit_are_named_with_their_sizes() {
    let server = TestServer::start(ServerOptions {
        identity: Some(harness::identity().clone()),
        ..ServerOptions::default()
    })
    .expect("the server starts");
    let modem = Modem::start(server.address(), "--clock host --storage 106600");
    let finished = doctor_to_server(&modem, &[]);
    failed(&finished, 8, "certificates", &["104 of 106600 bytes free", "--ca"]);
    let report = finished.text();
    assert!(line(&report, "tls").contains("not tried: the modem has no room"), "said once: {report}");
}

#[test]
fn a_certificate_that_was_spoilt_on_its_way_is_named_and_taken_away() {
    let site = Site::new(Behaviour::Echo, "--clock host");
    site.modem.embedded.with_modem(|modem, _, _| modem.spoil_next_uploads(1));
    let finished = doctor_to_server(&site.modem, &[]);
    failed(&finished, 8, "tls", &["did not store", "another checksum"]);
    assert!(!finished.text().contains("restore"), "{}", finished.text());
    assert_eq!(doctor_to_server(&site.modem, &[]).status, 0);
}

#[test]
fn a_running_daemon_is_asked_and_its_connections_go_on() {
    let site = Site::new(Behaviour::Echo, "--clock host");
    let directory = harness::temporary_directory();
    let socket = directory.path().join("control");
    let socket = socket.to_str().expect("text");
    let tunnel = site.tunnel(&["--control", socket]);
    tunnel.wait_until_ready();
    let mut client = harness::connect(tunnel.address());
    harness::echo(&mut client, b"before");

    let target = format!("{NAME}:443");
    let arguments = ["doctor", &target, "--ca", certificate_file(), "-w", "20s", "--control", socket];
    let finished = run(&mut tunnel_command(&arguments));
    let report = finished.text();
    assert_eq!(finished.status, 0, "{report}{}\n{}", finished.stderr, tunnel.log());
    assert!(line(&report, "port").contains("through the daemon at"), "{report}");
    assert!(line(&report, "tls").starts_with('✓'), "{report}");

    // Without TLS options, the tunnel's own settings are examined.
    let finished = run(&mut tunnel_command(&["doctor", &target, "--control", socket]));
    let report = finished.text();
    assert_eq!(finished.status, 0, "{report}{}\n{}", finished.stderr, tunnel.log());
    assert!(line(&report, "tls").contains("with the settings of the daemon's tunnel"), "{report}");
    assert!(!tunnel.log().contains(" warn "), "a doctor's visit is no reason to warn: {}", tunnel.log());

    // The certificate is the tunnel's, and stays stored.
    let listed = run(&mut tunnel_command(&["cert", "list", "--control", socket])).expect_success();
    assert!(listed.text().contains("qt-"), "{}", listed.text());
    let pruned = run(&mut tunnel_command(&["cert", "prune", "--control", socket])).expect_success();
    assert_eq!(pruned.text(), "");

    harness::echo(&mut client, b"after");
}

#[test]
fn a_server_is_examined_as_clients_of_a_daemon_that_may_name_it_would_reach_it() {
    let directory = harness::temporary_directory();
    let socket = directory.path().join("control");
    let socket = socket.to_str().expect("text");
    let target = format!("{NAME}:443");
    let tls = ["--dynamic-tls", "--ca", certificate_file()];
    for (options, seen) in [
        (&[][..], "not tried: the daemon's tunnel leaves it to its clients"),
        (&tls, "with the settings of the daemon's tunnel"),
    ] {
        let site = Site::new(Behaviour::Echo, "--clock host");
        let device = site.modem.device(0);
        let usual = ["--dynamic", "auto", "--allow-target", "*.test:443", "-d", &device, "--control", socket];
        let tunnel = Tunnel::listen(&[&usual, options].concat());
        tunnel.wait_until_ready();
        let finished = run(&mut tunnel_command(&["doctor", &target, "-w", "20s", "--control", socket]));
        let report = finished.text();
        assert_eq!(finished.status, 0, "{report}{}\n{}", finished.stderr, tunnel.log());
        assert!(line(&report, "tcp").contains(" allows it"), "{report}");
        assert!(line(&report, "tls").contains(seen), "{report}");
        let other = run(&mut tunnel_command(&["doctor", "127.0.0.1:1", "-w", "20s", "--control", socket]));
        failed(&other, 13, "tcp", &["does not allow 127.0.0.1:1", "--allow-target"]);
        tunnel.signal(Signal::TERM);
        tunnel.ends_with(0);
    }
}

#[test]
fn a_failing_examination_through_a_daemon_costs_it_no_connection() {
    let stranger = Authority::new("a stranger").expect("OpenSSL makes a root");
    let identity = stranger.issue(&CertificateRequest::server(NAME)).expect("OpenSSL signs");
    let server = ServerOptions { identity: Some(identity), ..ServerOptions::default() };
    let site = Site::with_server(server, "--clock host");
    let directory = harness::temporary_directory();
    let socket = directory.path().join("control");
    let socket = socket.to_str().expect("text");
    let tunnel = site.tunnel(&["--control", socket]);
    tunnel.wait_until_ready();
    let target = format!("{NAME}:443");
    for _ in 0..2 {
        failed(&run(&mut tunnel_command(&["doctor", &target, "--control", socket])), 14, "tls", &[]);
    }
    assert!(!tunnel.log().contains(" warn "), "{}", tunnel.log());
    // The daemon queries each socket before it counts as free, and answers requests in the meantime.
    assert!((0..200).any(|_| free_sockets(socket) == 12), "{}", tunnel.log());
}

#[test]
fn an_interrupted_examination_through_a_daemon_costs_it_no_connection() {
    // It accepts connections and never sends anything.
    let silent = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).expect("there is a port");
    let target = format!("localhost:{}", silent.local_addr().expect("it has an address").port());
    let directory = harness::temporary_directory();
    let socket = directory.path().join("control");
    let socket = socket.to_str().expect("text");
    let tunnel =
        Tunnel::listen(&["--to", &target, "--insecure", "--device", "emulator", "--control", socket]);
    tunnel.wait_until_ready();
    let doctor = Running::start(&mut tunnel_command(&["doctor", &target, "--control", socket]));
    doctor.wait_for("\u{2713} tcp");
    doctor.signal(Signal::TERM);
    doctor.wait_for("stopped by a signal");
    assert!((0..200).any(|_| free_sockets(socket) == 12), "{}", tunnel.log());
}

/// How many sockets of the modem the daemon counts as free.
fn free_sockets(socket: &str) -> u64 {
    let status = run(&mut tunnel_command(&["status", "--json", "--control", socket])).expect_success().text();
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    status["sockets"]["free"].as_u64().unwrap_or(0)
}
