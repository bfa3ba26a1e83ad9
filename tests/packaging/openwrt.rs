//! Goal of this test: on OpenWrt, the daemon runs with the configuration in UCI, a mistake in it changes nothing, and
//! the hotplug script names the right port.
//!
//! The init script is run by a real shell, with `uci.sh` in place of OpenWrt's functions, and with this build's program
//! to check the written file.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::{Arg, ArgAction};
use qssl_tunnel::config::file;

use super::configuration::configuration;
use qssl_test_common::harness::{Modem, ask};
use qssl_test_common::packaging::{folder, packaging, read, run, said, write};

/// A router: a folder with the scripts, changed so that they use only this folder.
struct Router(tempfile::TempDir);

impl Router {
    fn new(uci: &str) -> Router {
        let router = Router(folder());
        let script = read(packaging().join("openwrt/files/etc/init.d/qssl-tunnel"));
        let config_file = router.path("run/qssl-tunnel.toml");
        let script = script
            .replace("PROGRAM=/usr/bin/", &format!("PROGRAM={}/", router.path("bin").display()))
            .replace("/var/etc/qssl-tunnel.toml", &config_file.display().to_string());
        write(router.path("init"), script);
        fs::create_dir_all(router.path("bin")).expect("the folder is ours");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_qssl-tunnel"), router.path("bin/qssl-tunnel"))
            .expect("the folder is ours");
        router.set_uci(uci);
        router
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn set_uci(&self, uci: &str) {
        write(self.path("uci/qssl-tunnel"), uci);
    }

    /// Calls a function of the init script. Returns its calls of procd and the log.
    fn call(&self, function: &str, is_running: bool) -> Vec<String> {
        let calls = self.path("calls");
        write(&calls, "");
        let mut shell = Command::new("sh");
        shell.arg("tests/packaging/uci.sh").arg(self.path("init")).arg(function);
        shell.env("CALLS", &calls).env("UCI", self.path("uci"));
        shell.env("RUNNING", if is_running { "1" } else { "0" });
        shell.env("SSL_CERT_FILE", "tests/config_files/certificates/store.pem");
        let output = run(&mut shell);
        assert_eq!(said(&output), (String::new(), String::new()));
        read(&calls).lines().map(str::to_owned).collect()
    }

    /// The configuration file that the daemon would read.
    fn config_file(&self) -> Option<String> {
        fs::read_to_string(self.path("run/qssl-tunnel.toml")).ok()
    }
}

const GOOD: &str =
    "config tunnel 'web'\n\toption listen '8443'\n\toption to 'a.example:443'\n\toption insecure '1'\n";
const BAD: &str = "config tunnel 'web'\n\toption listen '8443'\n\toption too 'a.example:443'\n";

fn is_complaint(call: &str) -> bool {
    call.starts_with("logger -s -t qssl-tunnel -p daemon.err ")
}

#[test]
fn procd_runs_the_daemon_for_ever_and_logs_what_it_says() {
    let router = Router::new(GOOD);
    let command =
        format!("{} run --config {}", router.path("bin/qssl-tunnel").display(), router.path("run").display());
    let expected = [
        "procd_open_instance".to_owned(),
        format!("procd_set_param command {command}/qssl-tunnel.toml"),
        "procd_set_param respawn 3600 5 0".to_owned(),
        format!("procd_set_param env STATE_DIRECTORY={}", router.path("run").display()),
        "procd_set_param stdout 1".to_owned(),
        "procd_set_param stderr 1".to_owned(),
        "procd_set_param term_timeout 45".to_owned(),
        "procd_close_instance".to_owned(),
    ];
    assert_eq!(router.call("start_service", false), expected);
    assert_eq!(router.call("service_triggers", false), ["procd_add_reload_trigger qssl-tunnel"]);
}

/// procd starts the daemon again whatever its exit status was.
#[test]
fn a_wrong_pin_is_tried_once_however_often_procd_starts_it() {
    let modem = Modem::with_options("--sim-pin 4711");
    let router = Router::new("");
    write(router.path("pin"), "0815\n");
    let of_the_modem = format!(
        "config process\n\toption control 'none'\nconfig modem\n\tlist device '{}'\n\toption sim_pin_file '{}'\n",
        modem.device(0),
        router.path("pin").display()
    );
    router.set_uci(&(of_the_modem + &GOOD.replace("'8443'", "'127.0.0.1:0'")));
    let calls = router.call("start_service", false);
    let parameter = |name: &str| {
        let start = format!("procd_set_param {name} ");
        let line = calls.iter().find_map(|call| call.strip_prefix(&start)).expect("procd is told");
        line.split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    let (command, environment) = (parameter("command"), parameter("env"));
    for start in 1..=3 {
        let mut started = Command::new(&command[0]);
        started.args(&command[1..]).envs(environment.iter().filter_map(|word| word.split_once('=')));
        let output = run(&mut started);
        assert_eq!(output.status.code(), Some(9), "start {start}: {:?}", said(&output));
        let left = ask(&modem, &["AT+QPINC=\"SC\""]);
        assert_eq!(left, ["+QPINC: \"SC\",2,10"], "start {start}: {:?}", said(&output));
    }
}

#[test]
fn what_is_shipped_is_off_and_right_once_it_is_on() {
    let shipped = read(packaging().join("openwrt/files/etc/config/qssl-tunnel"));
    let shipped = shipped.replace("/etc/qssl-tunnel/ca.pem", "tests/config_files/certificates/root.pem");
    let router = Router::new(&shipped);
    assert_eq!(router.call("start_service", false), [""; 0]);

    router.set_uci(&shipped.replacen("option enabled '0'", "option enabled '1'", 1));
    assert_eq!(router.call("start_service", false).len(), 8);
    let configuration = configuration(&router.config_file().expect("a file")).expect("a configuration");
    assert_eq!(configuration.tunnels[0].settings.name, "web");
    assert_eq!(
        configuration.tunnels[0].settings.server().expect("a server").to_string(),
        "server.example:443"
    );
    assert_eq!(configuration.tunnels[0].listen[0].to_string(), "8443");
}

#[test]
fn every_kind_of_option_arrives_as_it_was_meant() {
    let router = Router::new(
        r#"
config process 'process'
	option enabled '1'
	option verbose '2'
	option hex_dump 'on'

config modem 'modem'
	list device '/dev/ttyUSB2'
	list device '/dev/ttyUSB3'
	list dns '192.0.2.53'
	option baud '921600'
	option pdp_context '2'
	option apn '1234'
	option sockets '0-5,7'
	option no_wait '0'

config tls 'strict'
	option ca 'tests/config_files/certificates/root.pem'
	option sni 'yes'
	option alpn 'back\slash'
	list ignore_certificate 'common-name'
	list ignore_certificate 'key-usage'

config tunnel
	list listen '8443'
	list listen 'unix:/run/web.sock,mode=0660'
	option to '[2001:db8::1]:443'
	option tls 'strict'
	option idle_timeout '2h'
	option max_clients '7'

config tunnel 'off'
	option enabled '0'
	option listen '8443'
	option to 'b.example:443'

config tunnel 'mqtt'
	option listen '1883'
	option to 'c.example:8883'
	option insecure '1'
	option check_time 'off'
"#,
    );
    assert_eq!(router.call("start_service", false).len(), 8);
    let expected = r#"
[process]
verbose = 2
hex-dump = true
[modem]
device = ["/dev/ttyUSB2", "/dev/ttyUSB3"]
dns = ["192.0.2.53"]
baud = 921600
pdp-context = 2
apn = "1234"
sockets = "0-5,7"
no-wait = false
[tls.strict]
ca = "tests/config_files/certificates/root.pem"
sni = true
alpn = "back\\slash"
ignore-certificate = ["common-name", "key-usage"]
[[tunnel]]
listen = ["8443", "unix:/run/web.sock,mode=0660"]
to = "[2001:db8::1]:443"
tls = "strict"
idle-timeout = "2h"
max-clients = 7
[[tunnel]]
name = "mqtt"
listen = "1883"
to = "c.example:8883"
insecure = true
check-time = false
"#;
    let written = router.config_file().expect("a file");
    assert_eq!(configuration(&written), configuration(expected), "{written}");
    assert!(configuration(expected).is_ok());
}

#[test]
fn each_modem_has_the_name_of_its_section() {
    let modem = |name: &str, tty: &str| format!("config modem '{name}'\n\tlist device '{tty}'\n");
    let modems = modem("main", "/dev/ttyUSB2") + &modem("backup", "/dev/ttyUSB6");
    let router = Router::new(&(modems + GOOD + "\tlist modems 'backup'\n\tlist modems 'main'\n"));
    assert_eq!(router.call("start_service", false).len(), 8);
    let configuration = configuration(&router.config_file().expect("a file")).expect("a configuration");
    let names: Vec<&str> = configuration.modems.iter().map(|modem| &*modem.name).collect();
    assert_eq!(names, ["main", "backup"]);
    assert_eq!(configuration.tunnels[0].modems.names, ["backup", "main"]);
}

#[test]
fn the_script_knows_every_number_and_every_switch_and_nothing_else() {
    let script = read(packaging().join("openwrt/files/etc/init.d/qssl-tunnel")).replace("\\\n", "");
    let words = |name: &str| {
        let line = script.lines().find_map(|line| line.strip_prefix(&format!("{name}=\"")));
        let words = line.expect("the script has the list").trim_end_matches('"').split_whitespace();
        words.map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let keys = |is_meant: &dyn Fn(&Arg) -> bool| {
        let sections = file::sections();
        let options = sections.iter().flat_map(|(_, command)| command.get_arguments());
        let keys = options.filter(|option| is_meant(option)).map(|option| option.get_long().expect("a key"));
        keys.map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let numbers = keys(&|option| {
        matches!(option.get_action(), ArgAction::Count) || file::value_in_words(option) == "a whole number"
    });
    let switches = keys(&|option| matches!(option.get_action(), ArgAction::SetTrue));
    assert!(numbers.contains("baud"));
    assert_eq!(words("NUMBERS"), numbers, "NUMBERS of the init script");
    assert_eq!(words("SWITCHES"), switches, "SWITCHES of the init script");
}

#[test]
fn quotes_cannot_break_out_of_a_value() {
    let router = Router::new(
        "config modem 'modem'\n\toption apn 'x\"\nbaud = 9600\n'\nconfig tunnel\n\toption listen '1'\n\
         \toption to 'a:1'\n\toption insecure '1'\n",
    );
    let calls = router.call("start_service", false);
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(is_complaint(&calls[0]));
    assert_eq!(router.config_file(), None);
}

#[test]
fn a_mistake_is_named_and_the_old_configuration_stays() {
    let router = Router::new(BAD);
    let calls = router.call("start_service", false);
    assert_eq!(calls.len(), 1, "nothing is started: {calls:?}");
    assert!(is_complaint(&calls[0]) && calls[0].contains("too") && calls[0].contains("to"), "{calls:?}");

    router.set_uci(GOOD);
    router.call("start_service", false);
    let good = router.config_file();
    assert!(good.is_some());
    router.set_uci(BAD);
    let calls = router.call("reload_service", true);
    assert!(calls.len() == 2 && calls.iter().all(|call| is_complaint(call)), "{calls:?}");
    assert_eq!(router.config_file(), good);
    // procd would end a service that registers no instance.
    let calls = router.call("start_service", true);
    assert_eq!(calls.iter().filter(|call| !is_complaint(call)).count(), 8, "{calls:?}");
    assert_eq!(router.config_file(), good);
}

#[test]
fn reload_signals_a_daemon_that_runs_starts_one_that_does_not_and_stops_what_is_off() {
    let router = Router::new(GOOD);
    assert_eq!(router.call("reload_service", true), ["procd_send_signal qssl-tunnel * HUP"]);
    assert_eq!(router.call("reload_service", false), ["start"]);
    router.set_uci(&format!("config process\n\toption enabled '0'\n{GOOD}"));
    assert_eq!(router.call("reload_service", true), ["stop"]);
}

#[test]
fn what_is_written_is_for_root_alone() {
    use std::os::unix::fs::PermissionsExt;
    let router = Router::new(GOOD);
    router.call("start_service", false);
    let metadata = fs::metadata(router.path("run/qssl-tunnel.toml")).expect("a file");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

/// Runs the hotplug script for a tty of interface `interface` of such a device. Returns the target of the link.
fn hotplug(
    router: &Router,
    action: &str,
    tty: &str,
    vendor: &str,
    maker: &str,
    interface: &str,
) -> Option<String> {
    let device = "devices/platform/usb1/1-1";
    let sys = router.path("sys");
    write(sys.join(device).join("idVendor"), format!("{vendor}\n"));
    write(sys.join(device).join("manufacturer"), format!("{maker}\n"));
    write(sys.join(device).join("1-1:1.x/bInterfaceNumber"), format!("{interface}\n"));
    fs::create_dir_all(router.path("dev")).expect("the folder is ours");
    let script = read(packaging().join("openwrt/files/etc/hotplug.d/tty/70-qssl-tunnel"))
        .replace("\"/sys", &format!("\"{}", sys.display()))
        .replace("/dev/", &format!("{}/", router.path("dev").display()));
    write(router.path("hotplug"), script);
    let mut shell = Command::new("sh");
    shell.arg(router.path("hotplug")).env("ACTION", action).env("DEVNAME", tty);
    shell.env("DEVPATH", format!("/{device}/1-1:1.x/{tty}/tty/{tty}"));
    assert_eq!(said(&run(&mut shell)), (String::new(), String::new()));
    let link = fs::read_link(router.path("dev/qssl-tunnel")).ok()?;
    Some(link.display().to_string())
}

#[test]
fn the_at_port_has_its_name_for_as_long_as_it_is_there() {
    let router = Router::new(GOOD);
    let to = |tty: &str| Some(tty.to_owned());
    assert_eq!(hotplug(&router, "add", "ttyUSB0", "2c7c", "Quectel", "00"), None);
    assert_eq!(hotplug(&router, "add", "ttyUSB2", "2c7c", "Quectel", "02"), to("ttyUSB2"));
    assert_eq!(hotplug(&router, "add", "ttyUSB3", "2c7c", "Quectel", "03"), to("ttyUSB2"));
    assert_eq!(hotplug(&router, "add", "ttyUSB9", "0403", "FTDI", "02"), to("ttyUSB2"));
    assert_eq!(hotplug(&router, "remove", "ttyUSB3", "2c7c", "Quectel", "03"), to("ttyUSB2"));
    assert_eq!(hotplug(&router, "add", "ttyUSB6", "05c6", "Quectel, Incorporated", "02"), to("ttyUSB6"));
    assert_eq!(hotplug(&router, "remove", "ttyUSB6", "05c6", "Quectel, Incorporated", "02"), None);
}
