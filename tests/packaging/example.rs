//! Goal of this test: the example configuration is valid as shipped, and with every example in it uncommented.

use super::configuration::configuration;
use qssl_test_common::packaging::{folder, packaging, read, write};

fn example() -> String {
    // The tests' trust store has no real authorities.
    read(packaging().join("qssl-tunnel.toml")).replace("ISRG Root X1", "Second Root CA")
}

#[test]
fn the_example_is_accepted_as_shipped() {
    let configuration = configuration(&example()).expect("a configuration");
    let tunnel = &configuration.tunnels[0];
    assert_eq!(tunnel.settings.name, "web");
    assert!(
        tunnel.settings.target.as_ref().expect("a target").host.as_str().ends_with(".example"),
        "nobody is connected to by accident"
    );
    assert_eq!(tunnel.listen[0].to_string(), "8443", "loopback only");
}

#[test]
fn every_example_in_it_works_when_it_is_uncommented() {
    let secrets = folder();
    write(secrets.path().join("pin"), "2468\n");
    write(secrets.path().join("client-key"), read("tests/config_files/certificates/key-ec-pkcs8.pem"));
    let all: Vec<String> = example()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    let text = all
        .join("\n")
        .replace("/run/credentials/qssl-tunnel.service", &secrets.path().display().to_string())
        .replace("/etc/qssl-tunnel/client.pem", "tests/config_files/certificates/client-ec.pem");
    let configuration = configuration(&text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
    assert_eq!(configuration.tunnels[0].settings.limits.max_clients, Some(8));
    assert!(configuration.modem().settings.sim_pin.is_some());
    assert!(configuration.tunnels[0].settings.tls().is_some_and(|tls| tls.client.is_some()));
}

#[test]
fn what_it_says_of_defaults_is_so() {
    let shipped = configuration(&example()).expect("a configuration");
    let text = example().replace("#baud", "baud").replace("#shutdown-timeout", "shutdown-timeout");
    assert_eq!(configuration(&text).expect("a configuration"), shipped);
}
