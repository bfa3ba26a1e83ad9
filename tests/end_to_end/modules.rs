//! Goal of this test: the tunnel copes with every module that the emulator has a file about. It is set up for it, and a
//! verified connection carries 20 kB both ways in every mode that the module has, on a line of its own and on channels.

use std::thread;

use qssl_modem_emulator::test_server::Behaviour;
use qssl_modem_emulator::{Config, module};
use rustix::process::Signal;

use qssl_test_common::harness::{MODES, Site, Tunnel, connect, echo, patterned_bytes};

#[test]
fn a_verified_connection_works_with_every_module_in_every_mode() {
    every_module("", "");
}

#[test]
fn a_verified_connection_works_with_every_module_on_channels() {
    every_module("--baud 921600", "cmux = \"on\"\nbaud = 921600\n");
}

/// Runs the test with each module at the same time, and names those that fail.
fn every_module(modem_options: &'static str, settings: &'static str) {
    let tests =
        module::SHIPPED.map(|(name, _)| (name, thread::spawn(move || one(name, modem_options, settings))));
    let failed = tests.into_iter().filter_map(|(name, test)| test.join().err().map(|_| name));
    let failed: Vec<&str> = failed.collect();
    assert!(failed.is_empty(), "{failed:?}");
}

fn one(name: &str, modem_options: &str, settings: &str) {
    let mut module = Config::default();
    module::read(name, &mut module).unwrap_or_else(|error| panic!("{error:#}"));
    let [buffer, push, transparent] = module.facts.limits.modes;
    let site = Site::new(Behaviour::Echo, &format!("--module {name} --clock host {modem_options}"));
    let modem = format!("device = \"{}\"\n{settings}", site.modem.device(0));
    let (tunnel, _directory) = Tunnel::of_every_mode(&modem, &["-vv"]);
    tunnel.wait_until_ready();
    let modes = MODES.iter().zip([push, buffer, transparent]).enumerate().filter(|(_, (_, has))| *has);
    let mut connections = 0;
    for (number, (mode, _)) in modes {
        echo(&mut connect(tunnel.address_of(number)), &patterned_bytes(20_000));
        connections += 1;
        assert_eq!(site.server.records().len(), connections, "{name}, {mode}: {}", tunnel.log());
    }
    tunnel.signal(Signal::TERM);
    let log = tunnel.ends_with(0);
    let identity = module.identity.expect("every file has one");
    let (_, revision) = identity.split_once(' ').expect("model and revision");
    assert!(log.contains(revision), "{name}: {log}");
    assert!(settings.is_empty() || log.contains("carries 4 channels"), "{name}: {log}");
}
