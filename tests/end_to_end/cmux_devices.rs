//! Goal of this test: several channels (CMUX) work over a tty and over RFC 2217: three streams and clients of the other
//! modes get every byte at the same time, no stream is left by `+++`, and the modem takes commands afterwards.

use std::fs;
use std::thread;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use qssl_test_common::harness::{
    MODES, NAME, Site, Tunnel, ask, certificate_file, connect, echo, free_address, temporary_directory,
    tunnel_command,
};

#[test]
fn every_mode_at_once_on_a_tty_and_on_a_device_server() {
    for port in ["--baud 921600", "--rfc2217 127.0.0.1:0 --baud 921600"] {
        let site = Site::new(Behaviour::Echo, port);
        let directory = temporary_directory();
        let configuration = directory.path().join("tunnels.toml");
        let addresses = MODES.map(|_| free_address());
        let device = site.modem.device(0);
        // The module starts at the speed of its line; the tunnel has to be given the same.
        let mut text = format!("[modem]\ndevice = \"{device}\"\ncmux = \"on\"\nbaud = 921600\n");
        for (mode, address) in MODES.iter().zip(addresses) {
            let ca = certificate_file();
            text += &format!(
                "[[tunnel]]\nlisten = \"{address}\"\nto = \"{NAME}:443\"\nca = \"{ca}\"\nmode = \"{mode}\"\n"
            );
        }
        fs::write(&configuration, text).expect("the directory is ours");
        let mut command = tunnel_command(&["run", "-vv", "--config"]);
        let tunnel = Tunnel::start(command.arg(&configuration).env("TMPDIR", directory.path()));
        tunnel.wait_for("carries 4 channels");
        tunnel.wait_until_ready();
        for round in 0..2 {
            // Three of a mode that takes a channel for each connection.
            let clients = MODES.iter().zip(addresses).flat_map(|(mode, address)| {
                let count = if *mode == "transparent" { 3 } else { 2 };
                std::iter::repeat_n(address, count)
            });
            let clients: Vec<_> = clients
                .enumerate()
                .map(|(index, address)| {
                    let payload = format!("{round} {index} +++\r\nNO CARRIER\r\n").repeat(300);
                    thread::spawn(move || echo(&mut connect(address), payload.as_bytes()))
                })
                .collect();
            for client in clients {
                client.join().unwrap_or_else(|_| panic!("{port}: {}", tunnel.log()));
            }
        }
        tunnel.signal(Signal::TERM);
        let log = tunnel.ends_with(0);
        let escapes: Vec<&str> = log.lines().filter(|line| line.ends_with("> +++")).collect();
        assert!(escapes.is_empty(), "{port}: {escapes:?}");
        assert_eq!(ask(&site.modem, &["AT+CMEE?"]), ["+CMEE: 1"], "{port}: {log}");
    }
}
