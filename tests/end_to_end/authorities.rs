//! Goal of this test: authorities that all tunnels share are in the module's one list ("cacertex"), and entries of
//! another program in that list authenticate no server.

use std::fs;

use qssl_modem_emulator::test_server::{Authority, Behaviour, CertificateRequest, ServerOptions};

use qssl_test_common::harness::{
    EG800Q, Finished, NAME, Site, ask, certificate_file, run, temporary_directory, tunnel_command,
};

fn connect(site: &Site, authorities: &[&str]) -> Finished {
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
        // The authority of the server comes second.
        let finished = connect(&site, &[second, certificate_file()]);
        assert_eq!(finished.status, 0, "{family}: {}", finished.stderr);
        let stored = ask(&site.modem, &["AT+QFLST=\"*\""]).len();
        assert_eq!(stored, if family == "eg800q" { 2 } else { 1 }, "an EC20 has them in one file");
        if family == "eg800q" {
            let chain = ask(&site.modem, &["AT+QSSLCFG=\"cacertex\""]);
            let used = chain.iter().filter(|line| line.contains("UFS:qt-")).count();
            assert_eq!((chain.len(), used), (6, 2), "{chain:?}");
        }
    }
}

#[test]
fn an_authority_that_another_program_left_vouches_for_nobody() {
    let stranger = Authority::new("stranger").expect("OpenSSL makes a root");
    let identity = stranger.issue(&CertificateRequest::server(NAME)).expect("OpenSSL signs");
    let server = ServerOptions { identity: Some(identity), ..ServerOptions::default() };
    let site = Site::with_server(server, &format!("{EG800Q} --clock host"));
    let pem = stranger.pem();
    let put = site.modem.embedded.with_modem(move |modem, _, _| modem.put_file("UFS:theirs.pem", &pem));
    assert_eq!(put, Some(true));
    ask(&site.modem, &["AT+QSSLCFG=\"cacertex\",3,\"UFS:theirs.pem\""]);
    let finished = connect(&site, &[certificate_file()]);
    assert_eq!(finished.status, 14, "{}", finished.stderr);
    assert!(ask(&site.modem, &["AT+QSSLCFG=\"cacertex\",3"])[0].ends_with("\"\""));
}
