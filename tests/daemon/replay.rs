//! Goal of this test: with a flight recording that the emulator plays back, a tunnel behaves as it did with the modem.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::thread;

use qssl_core::at::transcript::Transcript;
use qssl_modem_emulator::cli::Options;
use qssl_modem_emulator::driver::Player;
use qssl_modem_emulator::test_server::Behaviour;

use crate::daemon::{Daemon, tunnel};
use qssl_test_common::harness::{Site, Tunnel, certificate_file, connect, temporary_directory};

#[test]
fn a_recording_is_played_back_to_a_tunnel() {
    played_back("", "", &[], 1);
}

#[test]
fn the_recordings_of_channels_are_played_back_on_one_line() {
    played_back("--tcp 127.0.0.1:0 --baud 115200", "cmux = \"on\"", &["--cmux", "on"], 4);
}

/// A client of a daemon is recorded, and one of a tunnel at the recordings, which are as many, has the same answer.
fn played_back(modem: &str, settings: &str, arguments: &[&str], recordings: usize) {
    let response = b"an answer".to_vec();
    let behaviour = Behaviour::Respond { request_bytes: 5, delay: std::time::Duration::ZERO, response };
    let directory = temporary_directory();
    {
        let site = Site::new(behaviour, modem);
        let daemon = Daemon::on(&site.modem.device(0), settings, &tunnel("web", ""), "", |_| ());
        daemon.wait_for("ready");
        daemon.tool(&["status", "--record-payload", "true"]).expect_success();
        talk(&daemon.address());
        daemon.wait_until("the client's end", |status| status.sockets.get("free") == Some(&12));
        let file = directory.path().join("recording");
        daemon.tool(&["status", "--dump-recorder", file.to_str().expect("text")]).expect_success();
    }
    let entries = fs::read_dir(directory.path()).expect("the directory is ours");
    let files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(files.len(), recordings, "{files:?}");
    for file in &files {
        let text = fs::read_to_string(file).expect("it was written");
        Transcript::parse(&text).expect("a recording is a transcript");
    }

    let options = Options::parse_text("").expect("no options are right");
    let mut player = Player::new(&options, &files).expect("recordings");
    let devices: Vec<String> = player.paths().map(|path| path.to_str().expect("text").to_owned()).collect();
    assert_eq!(devices.len(), 1, "{devices:?}");
    let stop = player.stopper();
    let playing = thread::spawn(move || player.run());
    {
        let mut all = vec!["--to", "server.test:443", "--ca", certificate_file(), "-d", &devices[0], "-v"];
        all.extend(arguments);
        let tunnel = Tunnel::listen(&all);
        talk(&tunnel.address());
    }
    stop.stop();
    playing.join().expect("no panic").expect("it was played");
}

fn talk(address: &std::net::SocketAddr) {
    let mut client = connect(*address);
    client.write_all(b"hello").expect("the tunnel reads");
    let mut answer = [0; 9];
    client.read_exact(&mut answer).expect("the server answers");
    assert_eq!(&answer, b"an answer");
}
