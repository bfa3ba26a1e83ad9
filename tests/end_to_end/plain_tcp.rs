//! Goal of this test: through `--to tcp://` a client's own TLS reaches a server that demands TLS 1.3, which no module
//! offers, and plain services work beside tunnels with TLS.

use std::fs;
use std::process::Command;

use qssl_modem_emulator::test_server::Behaviour;

use qssl_test_common::harness::{
    Modem, NAME, Site, Tls13Server, Tunnel, certificate_file, connect, echo, patterned_file, program, run,
    sha256_hex, temporary_directory, tunnel_command,
};

#[test]
fn curl_speaks_tls_1_3_through_a_module_that_has_none() {
    let folder = temporary_directory();
    let file = patterned_file(folder.path(), 300_000);
    let wanted = sha256_hex(&fs::read(&file).expect("it was just written"));
    let server = Tls13Server::start(folder.path());
    let modem = Modem::start(server.address, "");
    let device = modem.device(0);
    for mode in ["push", "buffer", "transparent"] {
        let tunnel = Tunnel::listen(&["--to", "tcp://server.test:443", "--mode", mode, "-d", &device]);
        let mut curl = Command::new(program("curl"));
        curl.env_clear().args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--max-time",
            "180",
            "--tlsv1.3",
        ]);
        curl.args(["--cacert", certificate_file(), "--connect-to"]);
        curl.arg(format!("{NAME}:443:{}:{}", tunnel.address().ip(), tunnel.address().port()));
        let name = file.file_name().expect("a file").to_str().expect("text");
        let got = run(curl.arg(format!("https://{NAME}:443/{name}"))).expect_success();
        assert_eq!(sha256_hex(&got.stdout), wanted, "{mode}");
        tunnel.signal(rustix::process::Signal::TERM);
        tunnel.ends_with(0);
    }
}

#[test]
fn one_process_has_tunnels_with_and_without_tls() {
    let site = Site::new(Behaviour::Echo, "");
    let plain = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = plain.local_addr().expect("a bound socket has an address");
    std::thread::spawn(move || {
        for client in plain.incoming().flatten() {
            std::thread::spawn(move || {
                let mut from = client.try_clone().expect("a descriptor");
                let mut to = client;
                let _ = std::io::copy(&mut from, &mut to);
            });
        }
    });
    let folder = temporary_directory();
    let configuration = folder.path().join("qssl-tunnel.toml");
    let text = format!(
        "[modem]\ndevice = {:?}\n[[tunnel]]\nname = 'secure'\nlisten = '127.0.0.1:0'\nto = 'server.test:443'\nca = {:?}\n\
         [[tunnel]]\nname = 'plain'\nlisten = '127.0.0.1:0'\nto = 'tcp://{address}'\n[process]\ncontrol = 'none'\n",
        site.modem.device(0),
        certificate_file()
    );
    fs::write(&configuration, text).expect("the folder can be written");
    let path = configuration.to_str().expect("text");
    let tunnel = Tunnel::start(&mut tunnel_command(&["run", "--config", path]));
    tunnel.wait_for("has no TLS: anybody on the way can read and alter everything");
    let mut secure: Vec<_> = (0..6).map(|_| connect(tunnel.address_of(0))).collect();
    let mut plain: Vec<_> = (0..6).map(|_| connect(tunnel.address_of(1))).collect();
    for round in 0..5 {
        for (number, client) in secure.iter_mut().chain(&mut plain).enumerate() {
            echo(client, format!("client {number} in round {round}: ").repeat(150).as_bytes());
        }
    }
    assert_eq!(site.server.records().len(), 6, "the others have gone to the plain server");
}
