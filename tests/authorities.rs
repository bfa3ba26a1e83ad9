//! Goal of this test: authorities that all tunnels share stand in the module's one list ("cacertex"), and what
//! another program left in that list vouches for nobody.

#[allow(dead_code, unused_imports, reason = "shared with tests that need other parts of it")]
#[path = "end_to_end/harness/mod.rs"]
mod harness;

use std::fs;

use harness::{Site, certificate_file, run, temporary_directory, tunnel_command};
use qssl_core::at::Command;
use qssl_core::settings;
use qssl_modem_emulator::test_server::{Authority, Behaviour, CertificateRequest, ServerOptions};
use qssl_tunnel::config::{Configuration, Process};
use qssl_tunnel::conversation::{Access, Conversation};

/// What the modem answers to this line, through its port.
fn ask(site: &Site, line: &str) -> Vec<String> {
    let device = site.modem.device(0).parse().expect("a device");
    let modem = settings::Modem { wait: settings::Wait::Not, ..Default::default() };
    let configuration = Configuration {
        devices: vec![device],
        reset_command: None,
        modem,
        tunnels: Vec::new(),
        process: Process::default(),
    };
    let access = Access { device_is_given: true, ..Access::default() };
    let mut conversation = Conversation::open(&configuration, &access).expect("the port is free");
    conversation.ask(Command::line(line)).expect("it answers").lines
}

fn connect(site: &Site, authorities: &[&str]) -> harness::Finished {
    let device = site.modem.device(0);
    let mut arguments = vec!["connect", "server.test:443", "-d", &device];
    for authority in authorities {
        arguments.extend(["--ca", authority]);
    }
    run(&mut tunnel_command(&arguments))
}

#[test]
fn several_authorities_have_a_file_each_in_the_modules_list() {
    let directory = temporary_directory();
    let second = directory.path().join("second.pem");
    fs::write(&second, Authority::new("second").expect("OpenSSL makes a root").pem()).expect("ours");
    let second = second.to_str().expect("text");
    for family in ["eg800q", "ec20"] {
        let site = Site::new(Behaviour::Source { bytes: 10 }, &format!("--family {family} --clock host"));
        // The one that counts is behind the other.
        let finished = connect(&site, &[second, certificate_file()]);
        assert_eq!(finished.status, 0, "{family}: {}", finished.stderr);
        let stored = ask(&site, "AT+QFLST=\"*\"").len();
        assert_eq!(stored, if family == "eg800q" { 2 } else { 1 }, "an EC20 has them in one file");
        if family == "eg800q" {
            let chain = ask(&site, "AT+QSSLCFG=\"cacertex\"");
            let used = chain.iter().filter(|line| line.contains("UFS:qt-")).count();
            assert_eq!((chain.len(), used), (6, 2), "{chain:?}");
        }
    }
}

#[test]
fn an_authority_that_another_program_left_vouches_for_nobody() {
    let stranger = Authority::new("stranger").expect("OpenSSL makes a root");
    let identity = stranger.issue(&CertificateRequest::server(harness::NAME)).expect("OpenSSL signs");
    let server = ServerOptions { identity: Some(identity), ..ServerOptions::default() };
    let site = Site::with_server(server, "--clock host");
    let pem = stranger.pem();
    let put = site.modem.embedded.with_modem(move |modem, _, _| modem.put_file("UFS:theirs.pem", &pem));
    assert_eq!(put, Some(true));
    ask(&site, "AT+QSSLCFG=\"cacertex\",3,\"UFS:theirs.pem\"");
    let finished = connect(&site, &[certificate_file()]);
    assert_eq!(finished.status, 14, "{}", finished.stderr);
    assert!(ask(&site, "AT+QSSLCFG=\"cacertex\",3")[0].ends_with("\"\""));
}
