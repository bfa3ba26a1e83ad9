//! Goal of this test: several channels (CMUX) work over a tty and over RFC 2217: three streams and clients of the other
//! modes get every byte at the same time, no stream is left by `+++`, and the modem takes commands afterwards.

use std::thread;

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use qssl_test_common::harness::{MODES, Site, Tunnel, ask, connect, echo};

#[test]
fn every_mode_at_once_on_a_tty_and_on_a_device_server() {
    for port in ["--baud 921600", "--rfc2217 127.0.0.1:0 --baud 921600"] {
        let site = Site::new(Behaviour::Echo, port);
        // The module starts at the speed of its line; the tunnel has to be given the same.
        let device = site.modem.device(0);
        let modem = format!("device = \"{device}\"\ncmux = \"on\"\nbaud = 921600");
        let (tunnel, _directory) = Tunnel::of_every_mode(&modem, &["-vv"]);
        tunnel.wait_for("carries 4 channels");
        tunnel.wait_until_ready();
        for round in 0..2 {
            // Three of a mode that takes a channel for each connection.
            let clients = MODES.iter().enumerate().flat_map(|(number, mode)| {
                let count = if *mode == "transparent" { 3 } else { 2 };
                std::iter::repeat_n(tunnel.address_of(number), count)
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
