//! Goal of this test: MQTT works through the tunnel to a TLS broker: a long-lived subscriber is kept alive by its own
//! pings, and gets all messages, in every access mode.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use qssl_test_common::harness::{
    MODES, Running, Through, free_address, identity, program, rounds, run, temporary_directory,
};

#[test]
fn a_subscriber_is_kept_alive_and_gets_its_messages_in_every_mode() {
    let pings = rounds(1, 40);
    let messages = rounds(2, 20);
    let broker = Broker::start();
    // All three modes at once, because a ping takes five seconds.
    let sites =
        MODES.map(|mode| (mode, Through::new(broker.address, mode), Through::new(broker.address, mode)));
    let count = messages.to_string();
    let subscribers = sites.each_ref().map(|(mode, near, _)| {
        let mut command = mosquitto("mosquitto_sub", near, mode);
        Running::start(command.args(["-i", mode, "-q", "1", "-k", "5", "-C", &count]))
    });
    for ping in 1..=pings {
        for mode in MODES {
            let text = format!("Sending PINGRESP to {mode}");
            broker.process.log.wait_for_lines(&text, ping, |line| line.contains(&text));
        }
    }
    for ((mode, _, far), subscriber) in sites.iter().zip(subscribers) {
        for number in 0..messages {
            let mut publish = mosquitto("mosquitto_pub", far, mode);
            run(publish.args(["-q", "1", "-m", &format!("message {number}")])).expect_success();
        }
        let (status, said) = subscriber.wait();
        assert_eq!(status, 0, "{mode}: {said}");
        let expected: Vec<String> = (0..messages).map(|number| format!("message {number}")).collect();
        assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{mode}");
    }
}

struct Broker {
    address: SocketAddr,
    process: Running,
    _directory: TempDir,
}

impl Broker {
    fn start() -> Broker {
        let directory = temporary_directory();
        let root = directory.path();
        fs::write(root.join("chain.pem"), identity().chain_pem()).expect("the directory is ours");
        fs::write(root.join("key.pem"), identity().key_pem()).expect("the directory is ours");
        let address = free_address();
        let configuration = format!(
            "listener {} {}\nallow_anonymous true\ncertfile {2}/chain.pem\nkeyfile {2}/key.pem\n\
             tls_version tlsv1.2\nlog_dest stderr\nlog_type all\nuser root\n",
            address.port(),
            address.ip(),
            root.display()
        );
        let file = root.join("mosquitto.conf");
        fs::write(&file, configuration).expect("the directory is ours");
        let process = Running::start(Command::new(program("mosquitto")).arg("-c").arg(file));
        process.log.wait_for("mosquitto's readiness", |line| line.ends_with(" running").then_some(()));
        Broker { address, process, _directory: directory }
    }
}

fn mosquitto(name: &str, through: &Through, topic: &str) -> Command {
    let address = through.tunnel.address();
    let mut command = Command::new(program(name));
    command.arg("-h").arg(address.ip().to_string()).arg("-p").arg(address.port().to_string());
    command.args(["-t", topic]);
    command
}
