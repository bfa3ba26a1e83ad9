//! Goal of this test: `qssl-tunnel cert` stores, lists, fetches, checks and removes certificates in the modem, and
//! prunes only files that it has stored and no tunnel uses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use qssl_modem_emulator::test_server::{Behaviour, CertificateRequest};
use qssl_test_common::harness::{self, Finished, Modem, Site, certificate_file, run, tunnel_command};

fn cert(modem: &Modem, arguments: &[&str]) -> Finished {
    let device = modem.device(0);
    run(&mut tunnel_command(&[&["cert"], arguments, &["-d", &device]].concat()))
}

fn listed(modem: &Modem) -> Vec<(String, bool)> {
    let finished = cert(modem, &["list", "--json"]).expect_success();
    let listing: serde_json::Value = serde_json::from_slice(&finished.stdout).expect("JSON");
    let files = listing["files"].as_array().expect("an array").iter();
    let name = |file: &serde_json::Value| file["name"].as_str().expect("a name").to_owned();
    files.map(|file| (name(file), file["ours"] == true)).collect()
}

#[test]
fn an_empty_modem_is_said_to_be_empty() {
    let modem = Modem::with_options("");
    assert_eq!(cert(&modem, &["check"]).expect_success().text(), "there is no certificate in the modem\n");
    assert_eq!(cert(&modem, &["check", "--json"]).expect_success().text(), "[]\n");
    assert!(cert(&modem, &["list"]).expect_success().text().starts_with("there is no file in the modem\n"));
    let pruned = cert(&modem, &["prune"]).expect_success();
    assert_eq!(
        (pruned.text().as_str(), pruned.stderr.trim()),
        ("", "qssl-tunnel: there is nothing to remove")
    );
}

fn put_foreign(modem: &Modem) {
    let put = modem.embedded.with_modem(|modem, _, _| modem.put_file("UFS:theirs.pem", b"hello"));
    assert_eq!(put, Some(true));
}

#[test]
fn a_certificate_is_stored_once_and_comes_back_byte_for_byte() {
    let modem = Modem::with_options("");
    let stored = cert(&modem, &["put", certificate_file()]).expect_success();
    let name = stored.text().trim().to_owned();
    assert!(name.starts_with("qt-") && name.ends_with(".pem"), "{name}");
    let again = cert(&modem, &["put", certificate_file()]).expect_success();
    assert_eq!(again.text(), stored.text());
    assert_eq!(listed(&modem), [(name.clone(), true)]);
    let original = fs::read(certificate_file()).expect("it exists");
    assert_eq!(cert(&modem, &["get", &name]).expect_success().stdout, original);
    let directory = harness::temporary_directory();
    let copy = directory.path().join("copy.pem");
    // The file may be a key: users who could read the old file cannot read the new one.
    fs::write(&copy, "").expect("the directory is ours");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).expect("the file is ours");
    cert(&modem, &["get", &name, "-o", copy.to_str().expect("text")]).expect_success();
    assert_eq!(fs::metadata(&copy).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(copy).expect("it was written"), original);
    cert(&modem, &["remove", &name]).expect_success();
    assert_eq!(listed(&modem), []);
    let gone = cert(&modem, &["get", &name]);
    assert_eq!(gone.status, 1);
    assert!(gone.stderr.contains("lists no file") && gone.stderr.contains("[failed]"), "{}", gone.stderr);
}

/// A BG770A accepts only names with its directory, so nothing could be stored in it.
#[test]
fn a_module_with_a_directory_for_its_files_gets_them_there_as_a_tunnel_stores_them() {
    let site = Site::new(Behaviour::Echo, "--identity BG770A-GL --quirk files_in_security --clock host");
    let name = cert(&site.modem, &["put", certificate_file()]).expect_success().text().trim().to_owned();
    assert!(name.starts_with("security/qt-"), "{name}");
    assert_eq!(cert(&site.modem, &["put", certificate_file()]).expect_success().text().trim(), name);
    assert_eq!(listed(&site.modem), [(name.clone(), true)]);
    let original = fs::read(certificate_file()).expect("it exists");
    assert_eq!(cert(&site.modem, &["get", &name]).expect_success().stdout, original);
    // A tunnel uses the same file.
    let tunnel = site.tunnel(&[]);
    tunnel.wait_until_ready();
    drop(tunnel);
    assert_eq!(listed(&site.modem), [(name.clone(), true)]);
    cert(&site.modem, &["remove", &name]).expect_success();
    assert_eq!(listed(&site.modem), []);
}

/// The model of this module does not show that it needs the directory: the refusal is reported with the file's name.
#[test]
fn a_module_that_takes_no_file_of_that_name_is_quoted() {
    let modem = Modem::with_options("--quirk files_in_security");
    let refused = cert(&modem, &["put", certificate_file()]);
    assert_eq!(refused.status, 1);
    assert!(
        refused.stderr.contains("did not store") && refused.stderr.contains("as qt-"),
        "{}",
        refused.stderr
    );
    assert_eq!(listed(&modem), []);
}

#[test]
fn a_certificate_that_was_spoilt_on_its_way_is_refused_and_not_left_there() {
    let modem = Modem::with_options("");
    modem.embedded.with_modem(|modem, _, _| modem.spoil_next_uploads(1));
    let refused = cert(&modem, &["put", certificate_file()]);
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("bytes with the checksum"), "{}", refused.stderr);
    assert_eq!(listed(&modem), []);
    cert(&modem, &["put", certificate_file()]).expect_success();
}

#[test]
fn what_does_not_fit_is_refused_with_its_size() {
    let modem = Modem::with_options("--storage 106600");
    let refused = cert(&modem, &["put", certificate_file()]);
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("the modem has 104 left"), "{}", refused.stderr);
    assert_eq!(listed(&modem), []);
}

#[test]
fn something_else_than_a_certificate_is_refused_before_a_port_is_opened() {
    let directory = harness::temporary_directory();
    let text = directory.path().join("text");
    fs::write(&text, "hello").expect("the directory is ours");
    let path = text.to_str().expect("text");
    let refused = run(&mut tunnel_command(&["cert", "put", path, "-d", "/dev/ttyNONE9"]));
    assert_eq!(refused.status, 2);
    assert!(refused.stderr.contains("no CERTIFICATE in it"), "{}", refused.stderr);
    let without = run(&mut tunnel_command(&["cert", "put", "-d", "/dev/ttyNONE9"]));
    assert_eq!(without.status, 2);
    assert!(without.stderr.contains("name the file"), "{}", without.stderr);
}

#[test]
fn prune_takes_only_what_is_ours_and_unused() {
    let directory = harness::temporary_directory();
    let unused =
        harness::authority().issue(&CertificateRequest::server("unused.test")).expect("OpenSSL signs");
    let unused_file = directory.path().join("unused.pem");
    fs::write(&unused_file, unused.certificate_pem()).expect("the directory is ours");

    let site = Site::new(Behaviour::Echo, "--clock host");
    put_foreign(&site.modem);
    let unused_name =
        cert(&site.modem, &["put", unused_file.to_str().expect("text")]).expect_success().text();
    // A tunnel stores its authority and configures it. After its end, the setting still names the file.
    let tunnel = site.tunnel(&[]);
    tunnel.wait_until_ready();
    tunnel.signal(rustix::process::Signal::TERM);
    tunnel.ends_with(0);
    assert_eq!(listed(&site.modem).len(), 3);
    let pruned = cert(&site.modem, &["prune"]).expect_success();
    assert_eq!(pruned.text(), unused_name);

    // Files that tunnels of a configuration use are kept, even if the modem has lost its settings.
    let kept = cert(&site.modem, &["put", unused_file.to_str().expect("text")]).expect_success().text();
    let config = directory.path().join("tunnels.toml");
    let text = format!(
        "[[tunnel]]\nlisten = [\"8443\"]\nto = \"a:1\"\nca = [{:?}]\n",
        unused_file.to_str().expect("text")
    );
    fs::write(&config, text).expect("the directory is ours");
    let config = config.to_str().expect("text");
    assert_eq!(cert(&site.modem, &["prune", "--config", config]).expect_success().text(), "");
    let names: Vec<String> = listed(&site.modem).into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&kept.trim().to_owned()) && names.contains(&"theirs.pem".to_owned()), "{names:?}");
}

#[test]
fn a_listing_says_whose_each_file_is() {
    let directory = harness::temporary_directory();
    let config = directory.path().join("tunnels.toml");
    let text = format!(
        "[[tunnel]]\nname = \"web\"\nlisten = [\"8443\"]\nto = \"a:1\"\nca = [{0:?}]\n\
         [[tunnel]]\nname = \"mail\"\nlisten = [\"8444\"]\nto = \"b:1\"\nca = [{0:?}]\n",
        certificate_file()
    );
    fs::write(&config, text).expect("the directory is ours");
    let config = config.to_str().expect("text");
    let unused =
        harness::authority().issue(&CertificateRequest::server("unused.test")).expect("OpenSSL signs");
    let unused_file = directory.path().join("unused.pem");
    fs::write(&unused_file, unused.certificate_pem()).expect("the directory is ours");

    let modem = Modem::with_options("");
    put_foreign(&modem);
    let ours = cert(&modem, &["put", certificate_file()]).expect_success().text().trim().to_owned();
    let unused = unused_file.to_str().expect("text");
    let unused = cert(&modem, &["put", unused]).expect_success().text().trim().to_owned();
    let line = |listing: &Finished, name: &str| {
        let text = listing.text();
        let found = text.lines().find(|line| line.contains(name)).map(str::to_owned);
        found.unwrap_or_else(|| panic!("{name} is not listed: {text}"))
    };
    let listing = cert(&modem, &["list"]).expect_success();
    assert!(line(&listing, &ours).ends_with("(of no known tunnel)"), "{}", listing.text());
    let listing = cert(&modem, &["list", "--config", config]).expect_success();
    let file = certificate_file();
    let whose = format!("(tunnel web: {file}; tunnel mail: {file})");
    assert!(line(&listing, &ours).ends_with(&whose), "{}", listing.text());
    assert!(line(&listing, &unused).ends_with("(of no known tunnel)"), "{}", listing.text());
    assert!(line(&listing, "theirs.pem").ends_with("(not of this program)"), "{}", listing.text());

    let removed = cert(&modem, &["remove", &unused]).expect_success();
    assert_eq!(removed.stderr, "", "nothing names it");

    // Settings of another program are shown as well.
    let device = modem.device(0);
    for setting in
        ["AT+QSSLCFG=\"cacert\",3,\"UFS:theirs.pem\"", "AT+QSSLCFG=\"cacertex\",0,2,\"UFS:theirs.pem\""]
    {
        run(&mut tunnel_command(&["at", "--force", setting, "-d", &device]));
    }
    let listing = cert(&modem, &["list"]).expect_success();
    let line = line(&listing, "theirs.pem");
    assert!(line.contains("not of this program; ") && line.contains("cacert of SSL context 3"), "{line}");
    let removed = cert(&modem, &["remove", "theirs.pem"]).expect_success();
    assert!(removed.stderr.contains("still named by cacert of SSL context 3"), "{}", removed.stderr);
}

#[test]
fn expired_certificates_are_found_on_the_host_and_in_the_modem() {
    let directory = harness::temporary_directory();
    let old = CertificateRequest::server("old.test").expired();
    let old = harness::authority().issue(&old).expect("OpenSSL signs");
    let file = directory.path().join("old.pem");
    fs::write(&file, old.certificate_pem()).expect("the directory is ours");
    let path = file.to_str().expect("text");

    let judged = run(&mut tunnel_command(&["cert", "check", path]));
    assert_eq!(judged.status, 1);
    assert!(judged.text().starts_with('✗') && judged.text().contains("expired on"), "{}", judged.text());
    let good = run(&mut tunnel_command(&["cert", "check", certificate_file()])).expect_success();
    assert!(good.text().starts_with('✓') && good.text().contains("authority"), "{}", good.text());

    let modem = Modem::with_options("");
    let stored = cert(&modem, &["put", path]).expect_success();
    assert!(stored.stderr.contains("expired on"), "{}", stored.stderr);
    let in_modem = cert(&modem, &["check"]);
    assert_eq!(in_modem.status, 1);
    assert!(in_modem.text().contains(stored.text().trim()), "{}", in_modem.text());
}
