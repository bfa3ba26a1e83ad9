//! Goal of this test: what a line with several channels (CMUX) does is shown by status and recorded for each channel, and a
//! modem without it changes nothing of that.

use std::fs;
use std::io::{Read as _, Write as _};

use qssl_modem_emulator::test_server::Behaviour;
use rustix::process::Signal;

use crate::daemon::{Daemon, tunnel};
use qssl_test_common::harness::{Site, connect};

/// A daemon that wants channels, and has served a client.
fn daemon(site: &Site) -> Daemon {
    let daemon = Daemon::on(&site.modem.device(0), "cmux = \"on\"", &tunnel("web", ""), "", |_| ());
    daemon.wait_for("ready");
    let mut client = connect(daemon.address());
    client.write_all(b"hello").expect("the tunnel reads");
    client.read_exact(&mut [0; 5]).expect("the server echoes");
    daemon
}

#[test]
fn status_shows_the_channels_of_a_line() {
    let site = Site::new(Behaviour::Echo, "--tcp 127.0.0.1:0 --baud 115200");
    let daemon = daemon(&site);
    // The first one serves while the others are still woken.
    daemon.wait_until("every channel takes commands", |status| {
        let line = status.ports[0].multiplexer.as_ref();
        line.is_some_and(|line| line.channels.iter().all(|channel| channel.state == "command"))
    });
    let json = daemon.tool(&["status", "--json"]).expect_success().text();
    let status: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(status["ports"].as_array().map(Vec::len), Some(1), "{json}");
    let port = &status["ports"][0];
    assert_eq!(port["state"], "channels", "{json}");
    let line = &port["multiplexer"];
    for (field, least) in [("frame_bytes", 512), ("frames_out", 20), ("frames_in", 20)] {
        assert!(line[field].as_u64() >= Some(least), "{field}: {json}");
    }
    assert_eq!(line["bad_frames"], 0, "{json}");
    let channels = line["channels"].as_array().expect("a list");
    let numbers: Vec<_> = channels.iter().filter_map(|channel| channel["number"].as_u64()).collect();
    assert_eq!(numbers, [1, 2, 3, 4], "{json}");
    for channel in channels {
        assert_eq!(channel["state"], "command", "{json}");
        assert_eq!(channel["lines_out"], serde_json::json!(["DTR", "RTS"]), "{json}");
    }

    let text = daemon.tool(&["status"]).expect_success().text();
    for part in ["frames ", "of at most 512 bytes; 0 bad", "channel    1 (command", "channel    4 (command"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    let metrics = daemon.tool(&["status", "--prometheus"]).expect_success().text();
    for part in [
        "qssl_tunnel_frames_total{port=",
        "qssl_tunnel_bad_frames_total{port=",
        "qssl_tunnel_channel_held_seconds_total{port=",
        "qssl_tunnel_garbage_bytes_total{port=",
        "qssl_tunnel_line_held_seconds_total{port=",
        "qssl_tunnel_channel_info{port=",
        "lines_shown=\"DTR RTS\"",
        ",channel=\"4\",",
    ] {
        assert!(metrics.contains(part), "{part} is missing:\n{metrics}");
    }
}

#[test]
fn each_channel_has_a_recording() {
    let site = Site::new(Behaviour::Echo, "--tcp 127.0.0.1:0 --baud 115200");
    let daemon = daemon(&site);
    let recording = daemon.path("recording");
    daemon.tool(&["status", "--dump-recorder", recording.to_str().expect("text")]).expect_success();
    let recorded: Vec<String> = fs::read_dir(daemon.path("."))
        .expect("the directory is ours")
        .filter_map(|entry| fs::read_to_string(entry.expect("an entry").path()).ok())
        .filter(|text| text.starts_with("# qssl-tunnel "))
        .collect();
    for channel in 1..=4 {
        let name = format!("channel {channel},");
        assert!(recorded.iter().any(|text| text.contains(&name)), "{name} {recorded:?}");
    }
    assert!(recorded.iter().any(|text| text.contains("> AT+QSSLSEND=")), "{recorded:?}");
    // How the mode was entered is with the first channel.
    let first = recorded.iter().find(|text| text.contains("channel 1,")).expect("it was found above");
    for line in [
        "> AT+CMUX=?\n",
        "< +CMUX: ",
        "> AT+CMUX=0,0,5,512\n",
        "# the channel is open\n",
        "# lines of the modem: DSR CTS\n",
    ] {
        assert!(first.contains(line), "{line} {first}");
    }
}

#[test]
fn a_modem_without_channels_is_recorded_as_one_port() {
    let site = Site::new(Behaviour::Echo, "--port-name usbat");
    let daemon = daemon(&site);
    daemon.signal(Signal::USR1);
    daemon.wait_for("flight recorder of");
    let json = daemon.tool(&["status", "--json"]).expect_success().text();
    let status: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(status["ports"][0]["state"], "command", "{json}");
    assert_eq!(status["ports"][0]["multiplexer"], serde_json::Value::Null, "{json}");
}
