//! Goal of this test: with a flight recording that the emulator plays back, a tunnel behaves as it did with the modem.

use std::fs;
use std::io::{Read as _, Write as _};
use std::thread;

use qssl_core::at::transcript::Transcript;
use qssl_modem_emulator::cli::Options;
use qssl_modem_emulator::driver::Player;
use qssl_modem_emulator::test_server::Behaviour;

use crate::daemon::Daemon;
use qssl_test_common::harness::{Site, Tunnel, certificate_file, connect, temporary_directory};

#[test]
fn a_recording_is_played_back_to_a_tunnel() {
    let response = b"an answer".to_vec();
    let behaviour = Behaviour::Respond { request_bytes: 5, delay: std::time::Duration::ZERO, response };
    let directory = temporary_directory();
    let file = directory.path().join("recording");
    {
        let site = Site::new(behaviour, "");
        let daemon = Daemon::start(&site);
        daemon.tool(&["status", "--record-payload", "true"]).expect_success();
        talk(&daemon.address());
        daemon.wait_until("the client's end", |status| status.sockets.get("free") == Some(&12));
        daemon.tool(&["status", "--dump-recorder", file.to_str().expect("text")]).expect_success();
    }
    let text = fs::read_to_string(&file).expect("it was written");
    Transcript::parse(&text).expect("a recording is a transcript");

    let options = Options::parse_text("").expect("no options are right");
    let mut player = Player::new(&options, &file).expect("a recording");
    let device = player.path().to_str().expect("text").to_owned();
    let stop = player.stopper();
    let playing = thread::spawn(move || player.run());
    {
        let tunnel =
            Tunnel::listen(&["--to", "server.test:443", "--ca", certificate_file(), "-d", &device, "-v"]);
        talk(&tunnel.address());
    }
    stop.stop();
    playing.join().expect("no panic").expect("it was played");
}

fn talk(address: &std::net::SocketAddr) {
    let mut client = connect(*address);
    client.write_all(b"hello").expect("the tunnel reads");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("it ends in order");
    assert_eq!(answer, "an answer");
}
