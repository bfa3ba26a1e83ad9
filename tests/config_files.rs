//! Goal of this test: a configuration file is read correctly, and a mistake is reported with its position.
//!
//! The first line of each file in `config_files/invalid` is the expected message, from the line and column on. The
//! output of `run --check` for `config_files/valid/everything.toml` is in `everything.effective.toml`, which is a
//! file with the same meaning.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use qssl_tunnel::cli::{Cli, Command, RunArgs};
use qssl_tunnel::config::{self, Checked, Device, Environment, Verbosity, Wait};

fn run_args(args: &[&str]) -> RunArgs {
    let args = ["qssl-tunnel", "run"].iter().chain(args);
    match Cli::try_parse_from(args).expect("the arguments are right").command {
        Command::Run(args) => *args,
        other => panic!("not run: {other:?}"),
    }
}

fn read(text: &str, args: &[&str]) -> Result<Checked, String> {
    let store = "tests/config_files/certificates/store.pem";
    // 2100-01-01, when all certificates except the old one are valid.
    let around = Environment { unix_seconds: 4_102_444_800, ssl_cert_file: Some(store.into()) };
    config::from_text("FILE", text, &run_args(args), &around).map_err(|error| error.to_string())
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/config_files").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder exists")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

fn text_of(path: &str) -> String {
    fs::read_to_string(Path::new("tests/config_files").join(path)).expect("the file exists")
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let mut wrong = Vec::new();
    for path in files("invalid") {
        let text = fs::read_to_string(&path).expect("text");
        let first = text.lines().next().unwrap_or_default();
        let expected = first.strip_prefix("# expect: ").expect("the first line says what is expected");
        let said = match read(&text, &[]) {
            Ok(_) => "it was accepted".to_owned(),
            Err(said) => said.trim_start_matches("FILE:").trim_start().to_owned(),
        };
        let expected = expected.trim_start_matches(": ");
        if said != expected || said.contains('\n') {
            wrong.push(format!("{}\n  expected {expected}\n  said     {said}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_valid_file_is_accepted_and_its_rendering_means_the_same() {
    for path in files("valid") {
        let text = fs::read_to_string(&path).expect("text");
        let checked = read(&text, &[]).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let rendered = checked.configuration.render();
        let again = read(&rendered, &[]).unwrap_or_else(|error| panic!("{error} in\n{rendered}"));
        assert_eq!(again.configuration, checked.configuration, "{}", path.display());
    }
}

#[test]
fn what_is_in_effect_is_printed_whole() {
    let checked = read(&text_of("valid/everything.toml"), &[]).expect("a configuration");
    assert_eq!(checked.configuration.render(), text_of("valid/everything.effective.toml"));
    assert_eq!(checked.verbosity, Verbosity::Commands);
}

#[test]
fn every_key_that_there_is_stands_in_the_file_with_everything() {
    let everything = text_of("valid/everything.toml");
    let away_from_it = [
        // Their opposites are in the file, or they exclude other keys in it.
        "no-sni",
        "no-check-time",
        "no-wait",
        "quiet",
        "dtls",
        "dtls-version",
        // Secrets have a separate test.
        "sim-pin-file",
        "apn-user",
        "apn-password-file",
        "key-password-file",
        "psk-identity",
        "psk-key-file",
        "proxy-user-file",
    ];
    for (section, command) in config::file::sections() {
        for option in command.get_arguments() {
            let key = option.get_long().expect("a key");
            let there = everything.lines().any(|line| line.starts_with(&format!("{key} = ")));
            assert!(there || away_from_it.contains(&key), "{key} of {section} is missing");
        }
    }
}

#[test]
fn secrets_are_read_from_their_files_and_shown_nowhere() {
    let folder = std::env::temp_dir().join(format!("qssl-tunnel-secrets-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the temporary directory is writable");
    let file = |name: &str, content: &str| {
        let path = folder.join(name);
        fs::write(&path, content).expect("the folder is writable");
        path.display().to_string()
    };
    let (pin, password) = (file("pin", "2468\n"), file("password", "open sesame\n"));
    let (psk, key_password) = (file("psk", "c0ffee00c0ffee\n"), file("key", "secret\n"));
    let text = format!(
        "[modem]\nsim-pin-file = '{pin}'\napn = 'internet'\napn-user = 'alibaba'\napn-password-file = '{password}'\n\
         [[tunnel]]\nlisten = 8443\nto = 'example.org:443'\npsk-identity = 'cave'\npsk-key-file = '{psk}'\n\
         cert = 'tests/config_files/certificates/client-ec.pem'\n\
         key = 'tests/config_files/certificates/key-ec-encrypted.pem'\nkey-password-file = '{key_password}'\n"
    );
    let checked = read(&text, &[]);
    fs::remove_dir_all(&folder).expect("it was just made");
    let configuration = checked.expect("a configuration").configuration;

    let pdp_password = configuration.modem().settings.pdp.password.as_ref().expect("a password");
    assert_eq!(pdp_password.0.as_str(), "open sesame");
    assert_eq!(configuration.modem().settings.sim_pin.as_ref().expect("a PIN").0.as_str(), "2468");
    let tls = configuration.tunnels[0].settings.tls().expect("TLS");
    assert_eq!(tls.psk.as_ref().expect("a pre-shared key").key.0.as_str(), "c0ffee00c0ffee");

    for shown in [configuration.render(), format!("{configuration:?}")] {
        for secret in ["2468", "open sesame", "c0ffee00c0ffee", "\"secret\"", "PRIVATE KEY"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
    let rendered = configuration.render();
    for key in
        ["sim-pin-file", "apn-password-file", "apn-user", "psk-identity", "psk-key-file", "key-password-file"]
    {
        assert!(rendered.contains(&format!("{key} = \"***\"")), "{key} in {rendered}");
    }
}

#[test]
fn the_command_line_goes_before_modem_and_process_of_the_file() {
    const TUNNEL: &str = "[[tunnel]]\nlisten = 8443\nto = 'example.org:443'\n";
    let text = "[modem]\ndevice = '/dev/ttyUSB2'\nbaud = 9600\nno-wait = true\n[process]\nquiet = true\n"
        .to_owned()
        + TUNNEL;
    let args = ["-d", "/dev/ttyUSB5", "--retry-for", "1min", "-vv", "--shutdown-timeout", "5"];
    let checked = read(&text, &args).expect("a configuration");
    let modem = &checked.configuration.modem().settings;
    assert_eq!(checked.configuration.modem().devices, [Device::Path("/dev/ttyUSB5".into())]);
    assert_eq!(modem.baud, 9600, "what the command line does not say is the file's");
    assert_eq!(modem.wait, Wait::Limited { time: Some(std::time::Duration::from_secs(60)), retries: None });
    assert_eq!(checked.configuration.process.shutdown_timeout.as_secs(), 5);
    assert_eq!(checked.verbosity, Verbosity::Transcript);

    let error = read(&text, &["--apn-user", "me"]).unwrap_err();
    assert_eq!(error, "--apn-user: needs `apn`", "what is not in the file is not blamed on it");
    let text = format!("[modem]\nsend-timeout = 30\nreset-command = 'true'\nrecovery = 'reboot'\n{TUNNEL}");
    let error = read(&text, &["--send-timeout", "0"]).unwrap_err();
    assert_eq!(error, "--send-timeout: must be between 1s and 10min", "the file has a right one");
    let error = read(&text, &["--recovery", "port"]).unwrap_err();
    assert_eq!(error, "FILE:3:1: reset-command: needs `recovery` to be reboot", "the option is the file's");
}

#[test]
fn a_tunnel_that_trusts_anybody_is_warned_about_by_name() {
    let text =
        "[tls.spare]\nsni = true\n[[tunnel]]\nname = 'web'\nlisten = 8443\nto = 'a:1'\ninsecure = true\n";
    let warnings = read(text, &[]).expect("a configuration").warnings;
    assert_eq!(warnings[0], "FILE:1:6: no tunnel uses [tls.spare]");
    assert!(
        warnings[1].starts_with("tunnel web: `insecure`: the server is not authenticated"),
        "{warnings:?}"
    );
}

#[test]
fn a_file_cut_off_anywhere_is_refused_or_accepted_but_never_worse() {
    let everything = text_of("valid/everything.toml");
    for (end, _) in everything.char_indices() {
        if let Err(error) = read(&everything[..end], &[]) {
            assert!(error.starts_with("FILE:") && !error.contains('\n'), "{error:?} after {end} bytes");
        }
    }
}
