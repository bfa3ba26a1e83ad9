//! Goal of this test: every kind of server is tested with every setting that affects it, on both families of modules:
//! whether it is accepted or refused, and the message for the user.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use qssl_modem_emulator::test_server::{
    Authority, Behaviour, CertificateRequest, Identity, KeyKind, ServerOptions, SslVersion,
};
use tempfile::TempDir;

use qssl_test_common::harness::{
    NAME, Site, authority, certificate_file, identity, patterned_bytes, run, temporary_directory,
    tunnel_command,
};

const BYTES: u64 = 1_000;
const EC20: &str = "ec20";
const EG800Q: &str = "eg800q";
const BOTH: &[&str] = &[EC20, EG800Q];

/// The expected result of a connection.
enum Verdict {
    /// All bytes come, without a warning.
    Accepted,
    /// All bytes come, with this warning.
    AcceptedWith(&'static str),
    /// The handshake fails: status 14, no payload, and the usual message as changed by these settings.
    Refused(&'static [Because]),
    /// The module does not support it: status 2, and a message with this text.
    Unsupported(&'static str),
    /// The server closes after the handshake without sending a byte, and the module does not report why.
    NothingComes,
    /// The same, and the module refuses to read from the socket.
    Cut,
}

use Verdict::{Accepted, AcceptedWith, Cut, NothingComes, Refused, Unsupported};

/// A setting that makes other causes likely than usual.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Because {
    /// `--cipher`
    OneCipher,
    /// `--cert`
    ClientCertificate,
    /// `--psk-identity`
    SharedKey,
    /// `--alpn`
    Protocol,
    /// `--tls-version` below 1.2
    OldVersion,
}

use Because::{ClientCertificate, OldVersion, OneCipher, Protocol, SharedKey};

/// The causes that `-v` names, word for word.
fn likely_causes(family: &str, because: &[Because]) -> String {
    let ec20 = family == EC20;
    let has = |one| because.contains(&one);
    let mut causes = Vec::new();
    if has(OneCipher) {
        causes.push("the server does not take the cipher suite of --cipher");
    } else if ec20 {
        causes.push("no common cipher suite: EC20F EC20EFAR02A04M4G has no ECDHE, which most servers demand");
    }
    if ec20 {
        causes.push("the server requires its name (SNI), which EC20F EC20EFAR02A04M4G cannot send");
    }
    causes.push(match ec20 {
        true => {
            "the server's certificate: signed by another than --ca, or an incomplete chain, or expired (or the modem's \
             clock is wrong)"
        }
        false => {
            "the server's certificate: signed by another than --ca, or an incomplete chain, or expired (or the modem's \
             clock is wrong), or for another name"
        }
    });
    causes.push(match has(ClientCertificate) {
        true => "the server does not accept the client certificate of --cert",
        false => "the server demands a client certificate (--cert, --key)",
    });
    if has(SharedKey) {
        causes.push("the server knows another identity or key than --psk-identity and --psk-key-file");
    }
    if has(Protocol) {
        causes.push("the server does not speak the protocol of --alpn");
    }
    causes.push(match has(OldVersion) {
        true => "the server does not speak the version of --tls-version",
        false => "the server speaks TLS 1.3 only",
    });
    let causes = causes.join("; or ");
    format!("if TLS fails at server.test:443, then likely {causes}")
}

const INSECURE: &str = "--insecure: the server is not authenticated";

#[test]
fn a_good_server() {
    let server = server(identity().clone());
    judge(&server, BOTH, &[], &Accepted);
    judge(&server, BOTH, &["--tls-version", "any"], &Accepted);
    judge_insecure(&server, BOTH, &AcceptedWith(INSECURE));
}

#[test]
fn an_expired_certificate() {
    let server = server(issued(&CertificateRequest::server(NAME).expired()));
    judge(&server, BOTH, &[], &Refused(&[]));
    judge(&server, BOTH, &["--no-check-time"], &Accepted);
    judge(&server, &[EG800Q], &["--ignore-certificate", "expired"], &AcceptedWith("expired"));
    judge(&server, &[EC20], &["--ignore-certificate", "expired"], &Unsupported("ignorecertitem"));
    judge_insecure(&server, BOTH, &AcceptedWith(INSECURE));
}

#[test]
fn a_certificate_that_is_not_yet_valid() {
    let server = server(issued(&CertificateRequest::server(NAME).not_yet_valid()));
    judge(&server, BOTH, &[], &Refused(&[]));
    judge(&server, BOTH, &["--no-check-time"], &Accepted);
    judge_insecure(&server, BOTH, &AcceptedWith(INSECURE));
}

#[test]
fn a_certificate_for_another_host() {
    let server = server(issued(&CertificateRequest::server("elsewhere.test")));
    judge(&server, &[EC20], &[], &AcceptedWith("does not compare the server's certificate with its name"));
    judge(&server, &[EG800Q], &[], &Refused(&[]));
    judge(&server, &[EG800Q], &["--ignore-certificate", "common-name"], &AcceptedWith("common-name"));
    judge_insecure(&server, BOTH, &AcceptedWith(INSECURE));
}

#[test]
fn a_self_signed_certificate() {
    let own = CertificateRequest::server(NAME).self_signed().expect("OpenSSL signs");
    let file = file("self-signed.pem", &own.certificate_pem());
    let server = server(own);
    judge(&server, BOTH, &[], &Refused(&[]));
    judge_with(&server, BOTH, &["--ca", &file], &AcceptedWith("self-signed.pem"));
    judge_insecure(&server, BOTH, &AcceptedWith(INSECURE));
}

#[test]
fn a_certificate_of_an_untrusted_root() {
    let stranger = Authority::new("stranger").expect("OpenSSL makes a root");
    let server = server(stranger.issue(&CertificateRequest::server(NAME)).expect("OpenSSL signs"));
    judge(&server, BOTH, &[], &Refused(&[]));
    judge(&server, &[EG800Q], &["--ignore-certificate", "untrusted"], &AcceptedWith("untrusted"));
    judge_insecure(&server, BOTH, &AcceptedWith(INSECURE));
}

#[test]
fn a_server_that_forgets_its_intermediate_certificate() {
    let between = authority().intermediate("between").expect("OpenSSL signs");
    let identity = between.issue(&CertificateRequest::server(NAME)).expect("OpenSSL signs");
    let file = file("between.pem", &between.pem());
    judge(&server(identity.clone()), BOTH, &[], &Accepted);
    let server = server(identity.without_intermediates());
    judge(&server, BOTH, &[], &Refused(&[]));
    judge(&server, BOTH, &["--ca", &file], &Accepted);
    judge(&server, &[EG800Q], &["--ignore-chain"], &AcceptedWith("--ignore-chain"));
    judge_insecure(&server, BOTH, &AcceptedWith(INSECURE));
}

#[test]
fn a_server_that_demands_a_client_certificate() {
    let client = CertificateRequest::client("a client");
    let ours = authority().issue(&client).expect("OpenSSL signs");
    let stranger = Authority::new("stranger").expect("OpenSSL makes a root");
    let theirs = stranger.issue(&client).expect("OpenSSL signs");
    let server = ServerOptions {
        client_authority: Some(authority().certificate().clone()),
        ..server(identity().clone())
    };
    let certificate = file("client.pem", &ours.chain_pem());
    let key = file("client-key.pem", &ours.key_pem());
    let locked = file("client-key-locked.pem", &ours.encrypted_key_pem("secret"));
    let password = file("password", b"secret\n");
    let (strange, strange_key) =
        (file("strange.pem", &theirs.chain_pem()), file("strange-key.pem", &theirs.key_pem()));

    judge(&server, BOTH, &[], &Refused(&[]));
    judge(&server, BOTH, &["--cert", &certificate, "--key", &key], &Accepted);
    judge(&server, BOTH, &["--cert", &strange, "--key", &strange_key], &Refused(&[ClientCertificate]));
    let with_password = ["--cert", &certificate, "--key", &locked, "--key-password-file", &password];
    judge(&server, &[EG800Q], &with_password, &AcceptedWith("cannot be determined"));
    judge(&server, &[EC20], &with_password, &Unsupported("--key-password-file"));
}

#[test]
fn a_client_certificate_with_an_ed25519_key() {
    let root = Authority::with_key("ed25519 root", KeyKind::Ed25519).expect("OpenSSL makes a root");
    let client = CertificateRequest::client("a client").with_key(KeyKind::Ed25519);
    let (ours, theirs) = (root.issue(&client), authority().issue(&client));
    let (ours, theirs) = (ours.expect("OpenSSL signs"), theirs.expect("OpenSSL signs"));
    let server = ServerOptions {
        client_authority: Some(root.certificate().clone()),
        lowest_version: Some(SslVersion::TLS1_2),
        ..server(identity().clone())
    };
    let certificate = file("client-ed25519.pem", &ours.chain_pem());
    let key = file("client-ed25519-key.pem", &ours.key_pem());
    let other_key = file("other-ed25519-key.pem", &theirs.key_pem());
    let strange = file("strange-ed25519.pem", &theirs.chain_pem());

    judge(&server, BOTH, &[], &Refused(&[]));
    // Such a key does not contain its public half, so only the server notices a wrong key.
    let unknown = "cannot be determined";
    judge(&server, BOTH, &["--cert", &certificate, "--key", &key], &AcceptedWith(unknown));
    judge(&server, BOTH, &["--cert", &strange, "--key", &other_key], &Refused(&[ClientCertificate]));
    let mixed = ["--cert", &certificate, "--key", &other_key];
    judge(&server, BOTH, &mixed, &Refused(&[ClientCertificate]));
}

#[test]
fn a_server_that_knows_a_shared_key_only() {
    let key = "0123456789abcdef";
    let server = ServerOptions {
        identity: None,
        psk: Some(("the modem".to_owned(), key.as_bytes().to_vec())),
        highest_version: Some(SslVersion::TLS1_2),
        ..server(identity().clone())
    };
    let (right, wrong) = (file("psk", key.as_bytes()), file("other-psk", b"fedcba9876543210"));
    judge(&server, BOTH, &[], &Refused(&[]));
    let with = |file| ["--psk-identity", "the modem", "--psk-key-file", file];
    judge(&server, &[EG800Q], &with(&right), &Accepted);
    judge(&server, &[EG800Q], &with(&wrong), &Refused(&[SharedKey]));
    judge(&server, &[EC20], &with(&right), &Unsupported("psk"));
}

#[test]
fn a_server_of_one_version() {
    let of = |version| ServerOptions {
        lowest_version: Some(version),
        highest_version: Some(version),
        ..server(identity().clone())
    };
    judge(&of(SslVersion::TLS1_2), BOTH, &[], &Accepted);
    let other = Refused(&[OldVersion]);
    judge(&of(SslVersion::TLS1_2), BOTH, &["--tls-version", "1.0"], &other);
    judge(&of(SslVersion::TLS1), BOTH, &["--tls-version", "1.0"], &Accepted);
    judge(&of(SslVersion::TLS1_1), BOTH, &["--tls-version", "any"], &Accepted);
    judge(&of(SslVersion::TLS1_3), BOTH, &[], &Refused(&[]));
    judge(&of(SslVersion::TLS1_3), BOTH, &["--tls-version", "any"], &Refused(&[]));
}

#[test]
fn a_server_of_few_cipher_suites() {
    let of = |list: &str| ServerOptions {
        cipher_list: Some(list.to_owned()),
        highest_version: Some(SslVersion::TLS1_2),
        ..server(identity().clone())
    };
    let rsa = of("AES128-SHA");
    judge(&rsa, BOTH, &[], &Accepted);
    judge(&rsa, BOTH, &["--cipher", "TLS_RSA_WITH_AES_128_CBC_SHA"], &Accepted);
    let other = Refused(&[OneCipher]);
    judge(&rsa, BOTH, &["--cipher", "TLS_RSA_WITH_AES_256_CBC_SHA"], &other);

    let ecdhe = of("ECDHE+AESGCM");
    judge(&ecdhe, &[EG800Q], &[], &Accepted);
    judge(&ecdhe, &[EG800Q], &["--cipher", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"], &Accepted);
    judge(&ecdhe, &[EC20], &[], &Refused(&[]));
}

#[test]
fn a_server_with_an_elliptic_key() {
    let server = server(issued(&CertificateRequest::server(NAME).with_key(KeyKind::Ec)));
    judge(&server, &[EG800Q], &[], &Accepted);
    judge(&server, &[EC20], &[], &Refused(&[]));
}

#[test]
fn a_server_that_insists_on_a_protocol() {
    let server = ServerOptions { alpn: Some("mqtt".to_owned()), ..server(identity().clone()) };
    judge(&server, &[EG800Q], &[], &Cut);
    judge(&server, &[EC20], &[], &NothingComes);
    judge(&server, &[EG800Q], &["--alpn", "mqtt"], &Accepted);
    judge(&server, &[EG800Q], &["--alpn", "http/1.1"], &Refused(&[Protocol]));
    judge(&server, &[EC20], &["--alpn", "mqtt"], &Unsupported("alpn"));
}

/// A server that sends a thousand bytes to every client that completes the handshake.
fn server(identity: Identity) -> ServerOptions {
    let behaviour = Behaviour::Source { bytes: BYTES };
    ServerOptions { identity: Some(identity), behaviour, ..ServerOptions::default() }
}

fn issued(request: &CertificateRequest) -> Identity {
    authority().issue(request).expect("OpenSSL signs")
}

/// Tests with the authority of the good certificates, and these options.
fn judge(server: &ServerOptions, families: &[&str], options: &[&str], verdict: &Verdict) {
    judge_with(server, families, &[&["--ca", certificate_file()], options].concat(), verdict);
}

fn judge_insecure(server: &ServerOptions, families: &[&str], verdict: &Verdict) {
    judge_with(server, families, &["--insecure"], verdict);
}

#[track_caller]
fn judge_with(server: &ServerOptions, families: &[&str], options: &[&str], verdict: &Verdict) {
    for family in families {
        let site = Site::with_options(server.clone(), &format!("--family {family}"));
        let device = site.modem.device(0);
        let arguments = [&["connect", "server.test:443", "-v", "-d", &device], options].concat();
        let finished = run(&mut tunnel_command(&arguments));
        let said = &finished.stderr;
        let (status, bytes, words) = match verdict {
            Accepted => (0, BYTES, ""),
            AcceptedWith(warning) => (0, BYTES, *warning),
            Refused(_) => (14, 0, "[tls-failed]"),
            Unsupported(setting) => (2, 0, *setting),
            NothingComes => (0, 0, ""),
            Cut => (17, 0, "[stream-cut]"),
        };
        assert_eq!(finished.status, status, "{family} {options:?}: {said}");
        assert!(finished.stdout == patterned_bytes(bytes), "{family} {options:?}: {said}");
        assert!(said.contains(words), "{family} {options:?}: {words:?} is not said: {said}");
        if matches!(verdict, Accepted) && *family == EG800Q {
            assert!(!said.contains(" warn "), "{options:?}: {said}");
        }
        if let Refused(because) = verdict {
            let failure = "cannot connect: the TLS handshake failed; see: qssl-tunnel doctor server.test:443 \
                           [tls-failed]";
            for message in [failure, &likely_causes(family, because)] {
                let mut lines = said.lines().filter(|line| line.ends_with(message));
                let line =
                    lines.next().unwrap_or_else(|| panic!("{family} {options:?}: no {message:?}: {said}"));
                assert_eq!(lines.next(), None, "once: {said}");
                assert!(message != failure || line.len() < 200, "{line}");
            }
        }
    }
}

/// Writes a file that exists until the test program ends.
fn file(name: &str, content: &[u8]) -> String {
    static DIRECTORY: LazyLock<TempDir> = LazyLock::new(temporary_directory);
    let path: &Path = &DIRECTORY.path().join(name);
    fs::write(path, content).expect("the directory is ours");
    path.to_str().expect("temporary paths are text").to_owned()
}
