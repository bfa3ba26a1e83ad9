//! Goal of this test: `qssl-tunnel survey` writes a module file as which the emulator behaves like the surveyed module,
//! leaves the modem as it was, and tells nothing personal.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use qssl_modem_emulator::Config;
use qssl_modem_emulator::module::{self, Module, SHIPPED};
use qssl_modem_emulator::replay::Replay;
use qssl_modem_emulator::test_server::Behaviour;
use qssl_test_common::harness::{
    self, Finished, Modem, NAME, Running, Site, ask, run, temporary_directory, tunnel_command,
};
use rustix::process::Signal;

/// Surveys this modem.
fn survey(modem: &Modem, output: &Path) -> Finished {
    let device = modem.device(0);
    let output = output.to_str().expect("text");
    run(&mut tunnel_command(&["survey", "-o", output, "-d", &device]))
}

/// Surveys it with connections to the server.
fn survey_with_server(modem: &Modem, output: &Path, arguments: &[&str]) -> Finished {
    let (device, target) = (modem.device(0), format!("{NAME}:443"));
    let output = output.to_str().expect("text");
    run(&mut tunnel_command(&[&["survey", &target, "-o", output, "-d", &device], arguments].concat()))
}

/// Whether the file has this habit; `None`: it does not say.
fn habit(path: &Path, name: &str) -> Option<bool> {
    let (module, _) = read_file(path);
    let fact = module.values.iter().find(|fact| fact.key == format!("habits.{name}"));
    fact.map(|fact| fact.value == "true")
}

/// Surveys a modem with these options.
fn surveyed(directory: &Path, name: &str, options: &str) -> PathBuf {
    let output = directory.join(format!("{name}.toml"));
    survey(&Modem::with_options(options), &output).expect_success();
    output
}

/// What a file says, and the modem that it makes.
#[track_caller]
fn read(module: &str) -> (Module, Config) {
    let mut config = Config::default();
    let module = module::read(module, &mut config).unwrap_or_else(|error| panic!("{error:#}"));
    (module, config)
}

fn read_file(path: &Path) -> (Module, Config) {
    read(path.to_str().expect("text"))
}

/// The file without latencies, which every run measures anew. There is none of the activation where the context is active
/// already, and nothing shows whether the network or another program has done that.
fn lasting(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("it was written");
    let measured_anew = [
        "spread = ",
        "latencies.command",
        "latencies.activation",
        "send_byte = ",
        "escape = ",
        "# There and back",
    ];
    let is_lasting = |line: &&str| !measured_anew.iter().any(|part| line.contains(part));
    text.lines().filter(is_lasting).collect::<Vec<_>>().join("\n")
}

/// A key of AT+QSSLCFG, line by line. The order of codes cannot be asked where the module does not list them.
fn in_any_order(key: &impl std::fmt::Debug) -> Vec<String> {
    let mut lines: Vec<String> = format!("{key:#?}").lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_survey_of_every_shipped_module_makes_a_file_that_is_that_module() {
    let directory = temporary_directory();
    for (name, _) in SHIPPED {
        let first = surveyed(directory.path(), name, &format!("--module {name}"));
        let (_, shipped) = read(name);
        let (module, measured) = read_file(&first);
        assert_eq!(measured.family, shipped.family, "{name}");
        for (command, lines) in &shipped.facts.test_answers {
            assert_eq!(measured.facts.test_answers.get(command), Some(lines), "{name}: {command}");
        }
        if let Some(keys) = &shipped.facts.keys {
            let measured = measured.facts.keys.as_ref().expect("the module lists them");
            let sorted = |keys: &[_]| keys.iter().map(in_any_order).collect::<Vec<_>>();
            assert_eq!(sorted(measured), sorted(keys), "{name}");
        }
        let mut limits = shipped.facts.limits.clone();
        limits.pdp_contexts = measured.facts.limits.pdp_contexts;
        assert_eq!(measured.facts.limits, limits, "{name}");
        let storage = |config: &Config| (config.storage_bytes, config.storage_occupied_bytes);
        assert_eq!(storage(&measured), storage(&shipped), "{name}");
        assert_eq!(measured.quirks.four_digit_year, shipped.quirks.four_digit_year, "{name}");
        let quirks = format!("{:?}", shipped.quirks);
        for fact in &module.values {
            if let Some(habit) = fact.key.strip_prefix("habits.") {
                assert!(
                    quirks.contains(&format!(" {habit}: {}", fact.value)),
                    "{name}: {habit} {}",
                    fact.value
                );
            }
        }
        let second =
            surveyed(directory.path(), &format!("{name}-again"), &format!("--module {}", first.display()));
        assert_eq!(lasting(&second), lasting(&first), "{name}");
    }
}

/// What a survey could have changed: TLS settings, files, and settings of the modem.
fn state(modem: &Modem) -> Vec<String> {
    let mut questions: Vec<String> = [
        "AT+QFLST=\"*\"",
        "AT+QFLDS=\"UFS\"",
        "AT+QSSLSTATE",
        "AT+QISTATE",
        "AT+QURCCFG=\"urcport\"",
        "AT+QIACT?",
    ]
    .map(str::to_owned)
    .into();
    let keys = [
        "sslversion",
        "ciphersuite",
        "cacert",
        "clientcert",
        "clientkey",
        "seclevel",
        "negotiatetime",
        "sni",
    ];
    for key in keys {
        questions.extend((0..6).map(|context| format!("AT+QSSLCFG=\"{key}\",{context}")));
    }
    ask(modem, &questions.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn nothing_is_left_changed_in_the_modem() {
    let directory = temporary_directory();
    for options in ["--module ec20", "--module eg800q", "--module bg770a-gl"] {
        let modem = Modem::with_options(options);
        let theirs = if options.contains("bg770a") { "security/theirs.pem" } else { "UFS:theirs.pem" };
        modem.embedded.with_modem(|modem, _, _| modem.put_file(theirs, b"hello"));
        let changed = ["AT+QSSLCFG=\"ciphersuite\",5,0X002F", "AT+QSSLCFG=\"cacert\",5,\"theirs.pem\""];
        ask(&modem, &changed);
        let before = state(&modem);
        assert!(before.iter().any(|line| line.ends_with("5,0X002F")), "{before:?}");
        survey(&modem, &directory.path().join("report.toml")).expect_success();
        assert_eq!(state(&modem), before, "{options}");
    }
}

#[test]
fn habits_that_differ_from_the_manual_are_told_and_written() {
    let directory = temporary_directory();
    for quirk in [
        "close_without_time",
        "line_settings_refused",
        "urc_port_refused",
        "urc_port_all_refused",
        "session_query_refused",
        "pin_count_refused",
        "file_download_refused",
        "file_list_empty",
        "setting_values_quoted",
        "errors_as_text",
        "free_sockets_listed",
        "socket_errors_as_cme",
        "mux_urc_key_differs",
        "mux_ring_not_set",
        "echo_stays",
        "everything_echoed",
        "mux_begins_silently",
        "mux_close_down_unanswered",
    ] {
        let output = directory.path().join(format!("{quirk}.toml"));
        let finished = survey(&Modem::with_options(&format!("--quirk {quirk}")), &output).expect_success();
        let told = finished.text();
        assert!(told.lines().any(|line| line.starts_with(quirk) && line.ends_with("yes")), "{quirk}: {told}");
        assert_eq!(habit(&output, quirk), Some(true), "{quirk}");
    }
    // A tunnel goes by the model.
    let output = directory.path().join("files_in_security.toml");
    let told = survey(&Modem::with_options("--quirk files_in_security"), &output).expect_success().text();
    assert!(told.lines().any(|line| line.starts_with("files_in_security") && line.ends_with("no")), "{told}");
    assert_eq!(habit(&output, "files_in_security"), Some(true));
    for quirk in ["quoted_numbers", "typed_state_query", "closing_free_socket_is_ok", "cipher_codes_listed"] {
        let output = surveyed(directory.path(), quirk, &format!("--family eg800q --quirk {quirk}"));
        assert_eq!(habit(&output, quirk), Some(true), "{quirk}");
    }
}

#[test]
fn a_module_as_in_its_manual_has_no_differences() {
    let directory = temporary_directory();
    let finished = survey(&Modem::with_options("--family ec20"), &directory.path().join("report.toml"));
    let told = finished.expect_success().text();
    assert!(told.contains("\nnothing that was measured differs from the manual\n"), "{told}");
}

#[test]
fn numbers_of_the_module_are_masked() {
    let directory = temporary_directory();
    let file = directory.path().join("talkative.toml");
    let talkative = "schema = 1\nname = \"X\"\nfollows = \"ec20\"\n[identity]\n\
         lines = { value = [\"Quectel\", \"EC25\", \"Revision: EC25X\", \"IMEI: 867698041234567\"], source = \"capture x\" }\n\
         [answers]\n\"AT+QIACT=?\" = { value = [\"+QIACT: (1-7),10.64.3.7\"], source = \"capture x\" }\n";
    fs::write(&file, talkative).expect("the directory is ours");
    let modem = Modem::with_options(&format!("--module {}", file.display()));
    let output = directory.path().join("report.toml");
    let finished = survey(&modem, &output).expect_success();
    let written = fs::read_to_string(&output).expect("it was written");
    assert!(written.contains("IMEI: xxxxxxxxxxxxxxx") && written.contains("(1-7),xx.xx.x.x"), "{written}");
    let dialogue = fs::read_to_string(output.with_extension("txt")).expect("it was written");
    assert!(dialogue.contains("\n> ATI\n") && dialogue.contains("\n< IMEI: xxxxxxxxxxxxxxx\n"), "{dialogue}");
    // The port's name may have an address in it, or a user.
    for personal in ["867698041234567", "10.64.3.7", &modem.device(0)] {
        for told in [&written, &dialogue, &finished.text()] {
            assert!(!told.contains(personal), "{told}");
        }
    }
}

#[test]
fn a_message_that_comes_while_bytes_are_compared_is_not_in_the_table() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let modem = Modem::with_options("--family ec20 --command-latency 40ms");
    let (device, path) = (modem.device(0), output.to_str().expect("text"));
    let running = Running::start(&mut tunnel_command(&["survey", "-vvv", "-o", path, "-d", &device]));
    // AT is under way then.
    running.wait_for("survey: > ATE1");
    let call = "+CLIP: \"+4915112345678\",145";
    modem.embedded.with_modem(move |modem, _, now| modem.inject_urc(call, now));
    let (status, text) = running.wait();
    assert_eq!(status, 0, "{text}");
    let table: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("what ")).collect();
    assert!(table.len() > 3 && !table.iter().any(|line| line.contains("4915112345678")), "{table:#?}");
}

#[test]
fn names_of_files_are_masked() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let site = Site::new(Behaviour::EchoUntilTold, "--module ec20 --clock host");
    site.modem.embedded.with_modem(|modem, _, _| modem.put_file("UFS:miller.pem", b"hello"));
    ask(&site.modem, &["AT+QSSLCFG=\"cacert\",5,\"miller.pem\""]);
    survey_with_server(&site.modem, &output, &["--ca", harness::certificate_file()]).expect_success();
    let dialogue = fs::read_to_string(output.with_extension("txt")).expect("it was written");
    assert!(dialogue.contains("\n< +QFLST: ") && !dialogue.contains("miller"), "{dialogue}");
    let written = fs::read_to_string(&output).expect("it was written");
    assert!(!written.contains("miller"), "{written}");
}

/// What the modem answers to a terminal program, byte by byte.
fn typed(modem: &Modem, lines: &[&str]) -> String {
    let device = modem.device(0);
    if let Some(address) = device.strip_prefix("rfc2217://") {
        return typed_to(TcpStream::connect(address).expect("it listens"), lines);
    }
    let port = fs::OpenOptions::new().read(true).write(true).open(device).expect("the port is free");
    let mut settings = rustix::termios::tcgetattr(&port).expect("a tty");
    settings.make_raw();
    rustix::termios::tcsetattr(&port, rustix::termios::OptionalActions::Now, &settings).expect("a tty");
    typed_to(port, lines)
}

fn typed_to(mut port: impl Read + Write, lines: &[&str]) -> String {
    let mut heard = Vec::new();
    for (line, count) in lines.iter().zip(1..) {
        port.write_all(format!("{line}\r").as_bytes()).expect("it takes them");
        while String::from_utf8_lossy(&heard).matches("OK\r\n").count() < count {
            let mut bytes = [0; 256];
            let count = port.read(&mut bytes).expect("an answer");
            heard.extend(&bytes[..count]);
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}

#[test]
fn the_settings_of_the_line_are_put_back() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    for settings in ["ATE1+CMEE=2;+IFC=2,2", "ATE0&C0&D1+CMEE=0;+IFC=0,0"] {
        let modem = Modem::with_options("--family ec20");
        typed(&modem, &[settings]);
        let questions = ["AT+CMEE?", "AT+IFC?", "AT&V"];
        let before = typed(&modem, &questions);
        assert_eq!(before.contains("AT+IFC?"), settings.starts_with("ATE1"), "{before}");
        survey(&modem, &output).expect_success();
        assert_eq!(typed(&modem, &questions), before);
    }
}

#[test]
fn the_settings_of_the_line_are_put_back_also_if_a_command_is_cut_off() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let modem = Modem::with_options("--family ec20 --command-latency 100ms");
    typed(&modem, &["ATE1+CMEE=2;+IFC=0,0"]);
    let questions = ["AT+CMEE?", "AT+IFC?"];
    let before = typed(&modem, &questions);
    let (device, path) = (modem.device(0), output.to_str().expect("text"));
    let running = Running::start(&mut tunnel_command(&["survey", "-vvv", "-o", path, "-d", &device]));
    // The next question is under way then, and the modem takes nothing else meanwhile.
    running.wait_for("survey: > AT+CGMI");
    running.signal(Signal::INT);
    let (status, told) = running.wait();
    assert_eq!(status, 130, "{told}");
    assert_eq!(typed(&modem, &questions), before);
}

#[test]
fn an_answer_that_is_lost_while_something_is_put_back_is_asked_for_again() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let modem = Modem::with_options("--family ec20 --command-latency 100ms");
    let kept = state(&modem);
    typed(&modem, &["ATE1+CMEE=2;+IFC=0,0"]);
    let questions = ["AT+CMEE?", "AT+IFC?"];
    let before = typed(&modem, &questions);
    let (device, path) = (modem.device(0), output.to_str().expect("text"));
    let running = Running::start(&mut tunnel_command(&["survey", "-vvv", "-o", path, "-d", &device]));
    // The next command removes the file, and cannot be repeated.
    running.wait_for_count("survey: > AT+QFUPL=\"", 12);
    modem.embedded.with_modem(|modem, _, _| modem.lose_next_results(1));
    running.wait_for("survey: > zzAT");
    running.wait_for("survey: > ATE0");
    modem.embedded.with_modem(|modem, _, _| modem.lose_next_results(1));
    // Then comes AT+IFC.
    running.wait_for("survey: > AT&C");
    modem.embedded.with_modem(|modem, _, _| modem.lose_next_results(1));
    let (status, text) = running.wait();
    assert_eq!((status, told(&text)), (0, vec![]), "{text}");
    assert_eq!((typed(&modem, &questions), state(&modem)), (before, kept));
}

#[test]
fn a_file_that_the_user_has_not_named_is_not_replaced() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let theirs = output.with_extension("txt");
    fs::write(&theirs, "my notes\n").expect("the directory is ours");
    let modem = Modem::with_options("--family ec20");
    let finished = survey(&modem, &output);
    assert!(finished.status == 2 && finished.stderr.contains("report.txt"), "{}", finished.stderr);
    assert_eq!(fs::read_to_string(&theirs).expect("it is there"), "my notes\n");
    assert!(!output.exists());
    fs::remove_file(&theirs).expect("it is ours");
    survey(&modem, &output).expect_success();
    // Its own may be.
    survey(&modem, &output).expect_success();
}

#[test]
fn the_module_file_can_go_to_standard_output() {
    let directory = temporary_directory();
    let modem = Modem::with_options("--family ec20");
    let mut command = tunnel_command(&["survey", "-o", "-", "-d", &modem.device(0)]);
    let finished = run(command.current_dir(directory.path())).expect_success();
    assert!(finished.text().starts_with("# Measured by qssl-tunnel survey "), "{}", finished.text());
    assert!(finished.stderr.contains("nothing that was measured differs"), "{}", finished.stderr);
    let file = directory.path().join("piped.toml");
    fs::write(&file, &finished.stdout).expect("the directory is ours");
    assert!(read_file(&file).0.values.len() > 50);
    assert_eq!(fs::read_dir(directory.path()).expect("it is ours").count(), 1);
}

#[test]
fn a_latency_is_measured() {
    let directory = temporary_directory();
    let output = directory.path().join("slow.toml");
    let modem = Modem::with_options("--family ec20 --command-latency 30ms");
    let told = survey(&modem, &output).expect_success().text();
    let (_, config) = read_file(&output);
    let measured = config.command_latency.as_millis();
    assert!((30..60).contains(&measured), "{measured} ms");
    for command in ["AT+QFUPL", "AT+QFLST", "AT+QFDWL", "AT+QFDEL"] {
        let line = row(&told, &format!("{command} takes "));
        let (_, time) = line.split_once(" s ").expect("how long the tunnel waits");
        let (median, most) = time.split_once("ms, p99 ").expect("two times");
        let median: f64 = median.trim().parse().expect("a number");
        assert!(median >= 30.0 && most.ends_with("ms  yes"), "{line}");
    }
}

#[test]
fn a_modem_without_tls_of_its_own_gets_no_file() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let finished = survey(&Modem::with_options("--identity BC66-NA"), &output);
    assert_ne!(finished.status, 0);
    assert!(finished.stderr.contains("other AT commands"), "{}", finished.stderr);
    assert!(!output.exists());
    assert!(output.with_extension("txt").exists(), "the dialogue is needed most now");
}

#[test]
fn the_file_of_every_shipped_module_has_its_habits_of_connections_too() {
    let directory = temporary_directory();
    let survey_twice = |name: &str| {
        let [first, second] =
            ["first", "second"].map(|turn| directory.path().join(format!("{name}-{turn}.toml")));
        let under = |module: &str, output: &Path| {
            let site = Site::new(Behaviour::EchoUntilTold, &format!("--module {module}"));
            survey_with_server(&site.modem, output, &[]).expect_success();
        };
        under(name, &first);
        let (module, _) = read_file(&first);
        let quirks = format!("{:?}", read(name).1.quirks);
        for habit_name in CONNECTION_HABITS.iter().chain(&PAYLOAD_HABITS) {
            let fact = module.values.iter().find(|fact| fact.key == format!("habits.{habit_name}"));
            let fact = fact.unwrap_or_else(|| panic!("{name}: {habit_name}"));
            assert!(quirks.contains(&format!(" {habit_name}: {}", fact.value)), "{name}: {habit_name}");
        }
        under(first.to_str().expect("text"), &second);
        assert_eq!(lasting(&second), lasting(&first), "{name}");
    };
    // Most of a survey is waiting.
    std::thread::scope(|scope| {
        for (name, _) in SHIPPED {
            scope.spawn(|| survey_twice(name));
        }
    });
}

/// What only payload shows; the last two need transparent mode.
const PAYLOAD_HABITS: [&str; 11] = [
    "open_result_before_ok",
    "open_result_without_empty_line",
    "closing_is_state_three",
    "prompt_without_space",
    "prompt_with_line_end",
    "receive_tail_short",
    "receive_urc_per_arrival",
    "push_ends_with_line_end",
    "leftovers_held",
    "ok_before_connect",
    "return_unreliable",
];

const CONNECTION_HABITS: [&str; 9] = [
    "context_forgotten_on_last_close",
    "local_port_zero",
    "unread_query",
    "long_reads",
    "mode_switch_refused",
    "used_socket_refused_at_once",
    "plain_sockets_unlisted",
    "urc_failures_forgotten",
    "failed_open_keeps_socket",
];

#[test]
fn connections_show_latencies_and_habits_and_change_nothing() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let module = directory.path().join("slow.toml");
    let mut text = "schema = 1\nname = \"X\"\nfollows = \"ec20\"\n[latencies]\n".to_owned();
    for (key, time) in [("open", "300ms"), ("close", "40ms"), ("receive", "20ms"), ("activation", "100ms")] {
        text.push_str(&format!("{key} = {{ value = \"{time}\", source = \"capture x\" }}\n"));
    }
    fs::write(&module, text).expect("the directory is ours");
    let site = Site::new(Behaviour::EchoUntilTold, &format!("--module {}", module.display()));
    let before = state(&site.modem);
    let finished = survey_with_server(&site.modem, &output, &[]).expect_success();
    assert_eq!(state(&site.modem), before, "the data session has ended, and no socket is open");
    let dialogue = fs::read_to_string(output.with_extension("txt")).expect("it was written");
    assert!(Replay::new(&dialogue).is_ok(), "a recording that can be played back: {dialogue}");
    assert!(dialogue.contains(",\"server.example\",443,0\n") && !dialogue.contains(NAME), "{dialogue}");
    let (_, config) = read_file(&output);
    let is_about = |time: std::time::Duration, least: u128| (least..least + 200).contains(&time.as_millis());
    assert!(is_about(config.open_latency, 300), "{:?}", config.open_latency);
    assert!(is_about(config.close_latency, 40), "{:?}", config.close_latency);
    assert!(is_about(config.receive_latency, 20), "{:?}", config.receive_latency);
    assert!(is_about(config.activation_latency, 100), "{:?}", config.activation_latency);
    for name in CONNECTION_HABITS {
        assert_eq!(habit(&output, name), Some(false), "{name}: {}", finished.text());
    }
}

#[test]
fn habits_of_connections_are_found() {
    let directory = temporary_directory();
    for name in CONNECTION_HABITS {
        let output = directory.path().join(format!("{name}.toml"));
        let site = Site::new(Behaviour::Echo, &format!("--family ec20 --quirk {name}"));
        // Enough for connections, and for no payload.
        survey_with_server(&site.modem, &output, &["--budget", "55kB"]).expect_success();
        assert_eq!(habit(&output, name), Some(true), "{name}");
    }
}

#[test]
fn habits_of_payload_are_found_and_told() {
    let directory = temporary_directory();
    let find = |quirk: &str| {
        let output = directory.path().join(format!("{quirk}.toml"));
        let site = Site::new(Behaviour::EchoUntilTold, &format!("--family ec20 --quirk {quirk}"));
        let told = survey_with_server(&site.modem, &output, &[]).expect_success().text();
        assert_eq!(habit(&output, quirk), Some(true), "{quirk}");
        assert!(told.lines().any(|line| line.starts_with(quirk) && line.ends_with("yes")), "{quirk}: {told}");
    };
    std::thread::scope(|scope| {
        for quirk in &PAYLOAD_HABITS {
            scope.spawn(|| find(quirk));
        }
    });
}

#[test]
fn payload_shows_latencies_throughput_and_the_ends_of_connections() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let module = directory.path().join("slow.toml");
    let mut text = "schema = 1\nname = \"X\"\nfollows = \"eg800q\"\n[latencies]\n".to_owned();
    for (key, time) in [("prompt", "20ms"), ("send", "30ms"), ("send_byte", "0.02ms"), ("escape", "700ms")] {
        text.push_str(&format!("{key} = {{ value = \"{time}\", source = \"capture x\" }}\n"));
    }
    fs::write(&module, text).expect("the directory is ours");
    let site = Site::new(Behaviour::EchoUntilTold, &format!("--module {}", module.display()));
    let before = state(&site.modem);
    let told = survey_with_server(&site.modem, &output, &[]).expect_success().text();
    assert_eq!(state(&site.modem), before);
    let (_, config) = read_file(&output);
    let least = |time: std::time::Duration, least: u128| assert!(time.as_millis() >= least, "{time:?}");
    least(config.prompt_latency, 20);
    least(config.send_latency, 25);
    least(config.escape_guard, 700);
    assert!(config.send_latency_per_byte.as_nanos() > 0, "long sends take longer");
    for row in
        ["buffer mode, there and back", "push mode, there and back", "transparent mode, there and back"]
    {
        let line = told.lines().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("{row}: {told}"));
        assert!(line.contains(" kB/s ") && line.ends_with("yes"), "{line}");
    }
    for row in [
        "close_notify",
        "FIN",
        "RST",
        "SEND FAIL",
        "longest send",
        "longest read",
        "+++",
        "ATO",
        "multiplexer",
    ] {
        assert!(told.lines().any(|line| line.starts_with(row) && line.ends_with("yes")), "{row}: {told}");
    }
    let dialogue = fs::read_to_string(output.with_extension("txt")).expect("it was written");
    assert!(Replay::new(&dialogue).is_ok(), "a recording that can be played back: {dialogue}");
    assert!(!dialogue.contains(NAME), "{dialogue}");
}

#[test]
fn a_port_with_wires_shows_what_dtr_does_to_a_stream() {
    let directory = temporary_directory();
    let find = |quirk: &str, shows: &str| {
        let output = directory.path().join(format!("report{}.toml", quirk.len()));
        let site = Site::new(Behaviour::EchoUntilTold, &format!("--family ec20 {WIRES} {quirk}"));
        // A module that refuses AT&D refuses AT&V.
        let question = if quirk.is_empty() { "AT&V" } else { "AT" };
        let before = typed(&site.modem, &[question]);
        let told = survey_with_server(&site.modem, &output, &[]).expect_success().text();
        let line = row(&told, "loss of DTR");
        assert!(line.contains(shows) && line.ends_with("yes"), "{line}");
        assert!(row(&told, "transparent to buffer").ends_with("yes"), "{told}");
        assert!(row(&told, "RI at closed").contains(" not seen "), "{told}");
        assert_eq!(typed(&site.modem, &[question]), before);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| find("", " leaves data mode after "));
        scope.spawn(|| find("--quirk line-settings-refused", " AT&D1 is refused "));
    });
}

/// A port on a device server, which has wires.
const WIRES: &str = "--rfc2217 127.0.0.1:0 --port-name uart1";

/// A device server before the modem's, which raises RI before the end of socket 11 is told.
fn device_server_with_ri(modem: &Modem) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let behind = modem.device(0).replace("rfc2217://", "");
    std::thread::spawn(move || {
        let (mut host, _) = listener.accept().expect("the survey connects");
        let mut port = TcpStream::connect(behind).expect("it listens");
        let (mut from, mut to) = (host.try_clone().expect("a socket"), port.try_clone().expect("a socket"));
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let (mut heard, mut bytes) = (String::new(), [0; 256]);
        // CTS and DSR.
        let mut lines = 0x30;
        while let Ok(count @ 1..) = port.read(&mut bytes) {
            heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
            if heard.contains("\"closed\",11") {
                // RI changes with each, as one may come before the one that is waited for.
                lines ^= 0x40;
                // IAC SB COM-PORT-OPTION NOTIFY-MODEMSTATE, IAC SE.
                host.write_all(&[255, 250, 44, 107, lines, 255, 240]).expect("the survey goes on");
                heard.clear();
            }
            host.write_all(&bytes[..count]).expect("the survey goes on");
        }
    });
    format!("rfc2217://{address}")
}

#[test]
fn a_ring_indicator_that_moves_with_a_message_is_told() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let site = Site::new(Behaviour::EchoUntilTold, &format!("--family ec20 {WIRES}"));
    let (device, target) = (device_server_with_ri(&site.modem), format!("{NAME}:443"));
    let arguments = ["survey", &target, "-o", output.to_str().expect("text"), "-d", &device];
    let told = run(&mut tunnel_command(&arguments)).expect_success().text();
    let line = row(&told, "RI at closed");
    assert!(line.contains(" moves ") && line.ends_with("yes"), "{line}");
}

#[test]
fn a_survey_that_is_stopped_in_the_middle_of_payload_puts_everything_back() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let path = output.to_str().expect("text");
    let slow = "--family eg800q --prompt-latency 300ms --send-latency 300ms";
    // In the middle of a send, and in data mode; by Ctrl-C, and because the terminal was closed.
    for (at, signal) in [
        ("AT+QSSLSEND=11,20", Signal::INT),
        ("\"server.example\",443,2", Signal::INT),
        ("AT+QSSLSEND=11,20", Signal::HUP),
    ] {
        let options = if at.ends_with(",2") { "--family eg800q" } else { slow };
        let site = Site::new(Behaviour::EchoUntilTold, options);
        let before = state(&site.modem);
        let (device, target) = (site.modem.device(0), format!("{NAME}:443"));
        let arguments = ["survey", &target, "-vvv", "-o", path, "-d", &device];
        let running = Running::start(&mut tunnel_command(&arguments));
        running.wait_for(at);
        running.signal(signal);
        let (status, told) = running.wait();
        assert!(status == 128 + signal.as_raw() && told.contains("stopped by a signal"), "{at}: {told}");
        assert!(!told.contains("could not be put back"), "{at}: {told}");
        assert_eq!(state(&site.modem), before, "{at}");
        assert!(!output.exists());
        let dialogue = fs::read_to_string(output.with_extension("txt")).expect("it is kept");
        assert!(dialogue.contains(at) && told.contains("the dialogue is in "), "{told}");
    }
}

#[test]
fn what_is_verified_is_told_and_nothing_of_it_stays() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let year = |modem: &Modem| ask(modem, &["AT+CCLK?"])[0].chars().take(10).collect::<String>();
    for (options, name) in [
        ("--clock host", "566"),
        ("--module bg770a-gl --clock host", "566"),
        ("--module ec20 --clock host", "connected"),
    ] {
        let site = Site::new(Behaviour::EchoUntilTold, options);
        let before = (state(&site.modem), year(&site.modem));
        let arguments = ["--ca", harness::certificate_file()];
        let told = survey_with_server(&site.modem, &output, &arguments).expect_success().text();
        for (row, measured) in [
            ("the server's certificate", "connected"),
            ("another authority", "566"),
            ("another name", name),
            ("an expired certificate", "566"),
        ] {
            let line = told.lines().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("{told}"));
            assert!(line.contains(measured) && line.ends_with("yes"), "{line}");
        }
        assert_eq!((state(&site.modem), year(&site.modem)), before);
    }
}

/// The rows of a table that begin with these words.
fn row<'a>(table: &'a str, what: &str) -> &'a str {
    table.lines().find(|line| line.starts_with(what)).unwrap_or_else(|| panic!("{what}: {table}"))
}

#[test]
fn what_is_verified_is_told_whatever_the_module_forgets_and_wherever_it_has_its_files() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    for quirk in ["context-forgotten-on-last-close", "files-in-security"] {
        let site = Site::new(Behaviour::EchoUntilTold, &format!("--quirk {quirk} --clock host"));
        let told = survey_with_server(&site.modem, &output, &["--ca", harness::certificate_file()]);
        let told = told.expect_success().text();
        for what in ["another authority", "another name", "an expired certificate"] {
            let line = row(&told, what);
            assert!(line.contains("566 ") && line.ends_with("yes"), "{quirk}: {line}");
        }
    }
}

#[test]
fn a_failure_that_is_no_verification_counts_as_nothing() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let site = Site::new(Behaviour::EchoUntilTold, "--clock host");
    let (device, target) = (site.modem.device(0), format!("{NAME}:443"));
    let (path, authority) = (output.to_str().expect("text"), harness::certificate_file());
    let arguments = ["survey", &target, "-vvv", "-o", path, "-d", &device, "--ca", authority];
    let running = Running::start(&mut tunnel_command(&arguments));
    // The second one has signed nothing.
    running.wait_for_count("survey: > AT+QFUPL=\"qt-survey-ca.pem\"", 2);
    site.modem.embedded.with_modem(|modem, _, _| modem.fail_next_open(565));
    let (status, told) = running.wait();
    assert_eq!(status, 0, "{told}");
    let line = row(&told, "another authority");
    assert!(line.contains("565 ") && line.ends_with("unknown"), "{line}");
    assert!(row(&told, "another name").ends_with("yes"), "{told}");
}

#[test]
fn a_wrong_authority_is_told_and_the_tunnel_is_not_blamed() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let site = Site::new(Behaviour::EchoUntilTold, "--family ec20 --clock host");
    let arguments = ["--ca", "src/commands/survey/nobody.pem"];
    let told = survey_with_server(&site.modem, &output, &arguments).expect_success().text();
    assert!(row(&told, "the server's certificate").ends_with("unknown"), "{told}");
    assert!(row(&told, "Verification was left out").contains("--ca FILE"), "{told}");
    assert!(!told.contains("does not cope"), "{told}");
}

#[test]
fn a_clock_that_was_never_set_leaves_out_only_what_needs_it() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let site = Site::new(Behaviour::EchoUntilTold, "");
    let arguments = ["--ca", harness::certificate_file()];
    let told = survey_with_server(&site.modem, &output, &arguments).expect_success().text();
    assert!(row(&told, "another authority").ends_with("yes"), "{told}");
    assert!(row(&told, "An expired certificate was left out").contains("clock is not set"), "{told}");
}

#[test]
fn the_clock_goes_on_also_if_the_survey_is_stopped_while_it_is_set_to_another_time() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let site = Site::new(Behaviour::EchoUntilTold, "--clock host");
    let other = Modem::with_options("--clock host");
    let clock = |modem: &Modem| modem.embedded.with_modem(|modem, _, now| modem.clock(now)).expect("it runs");
    let difference = || clock(&site.modem) - clock(&other);
    let before = difference();
    let (device, target) = (site.modem.device(0), format!("{NAME}:443"));
    let (path, authority) = (output.to_str().expect("text"), harness::certificate_file());
    let arguments = ["survey", &target, "-vvv", "-o", path, "-d", &device, "--ca", authority];
    let running = Running::start(&mut tunnel_command(&arguments));
    running.wait_for("survey: > AT+CCLK=\"49/");
    let next = "survey: > AT+QFDEL=";
    let before_it = running.log().matches(next).count();
    let pause = std::time::Duration::from_secs(4);
    site.modem.embedded.with_modem(move |modem, _, now| modem.stall(now + pause));
    running.wait_for_count(next, before_it + 2);
    running.signal(Signal::INT);
    let (status, told) = running.wait();
    assert_eq!(status, 130, "{told}");
    assert!((before - difference()).abs() <= 1, "{} {before}", difference());
}

#[test]
fn a_server_that_returns_nothing_is_told_and_the_rest_is_written() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let site = Site::new(Behaviour::Silent, "--family ec20");
    let before = state(&site.modem);
    let finished = survey_with_server(&site.modem, &output, &[]);
    let lines: Vec<&str> = finished.stderr.lines().filter(|line| line.starts_with("qssl-tunnel: ")).collect();
    assert!(lines.len() == 1 && lines[0].contains("does not return what it receives"), "{}", finished.stderr);
    assert_eq!(habit(&output, "local_port_zero"), Some(false));
    assert_eq!(state(&site.modem), before);
}

#[test]
fn a_budget_ends_the_connections_and_the_rest_is_written() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let site = Site::new(Behaviour::Echo, "--family ec20");
    survey_with_server(&site.modem, &output, &["--budget", "15kB"]).expect_success();
    let written = fs::read_to_string(&output).expect("it was written");
    assert!(written.contains("# Connections were left out: --budget is spent."), "{written}");
    assert_eq!(habit(&output, "unread_query"), Some(false), "one connection was affordable");
    assert_eq!(habit(&output, "failed_open_keeps_socket"), None);
}

#[test]
fn a_server_that_is_not_there_is_told_and_the_rest_is_written() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let modem = Modem::start(qssl_test_common::harness::free_address(), "--family ec20");
    let before = state(&modem);
    let finished = survey_with_server(&modem, &output, &[]);
    assert!(finished.status != 0 && finished.stderr.contains("cannot be reached"), "{}", finished.stderr);
    assert!(read_file(&output).0.values.len() > 50);
    assert_eq!(state(&modem), before);
}

#[test]
fn a_running_daemon_is_asked_and_its_connections_go_on() {
    let site = Site::new(Behaviour::Echo, "--family eg800q --clock host");
    let directory = temporary_directory();
    let socket = directory.path().join("control");
    let socket = socket.to_str().expect("text");
    let tunnel = site.tunnel(&["--control", socket]);
    tunnel.wait_until_ready();
    let mut client = harness::connect(tunnel.address());
    harness::echo(&mut client, b"before");
    let output = directory.path().join("report.toml");
    let path = output.to_str().expect("text");
    let settings = ["at", "AT+QSSLCFG=\"seclevel\",5", "--control", socket];
    let before = run(&mut tunnel_command(&settings)).expect_success().text();
    run(&mut tunnel_command(&["survey", "-o", path, "--control", socket])).expect_success();
    assert_eq!(run(&mut tunnel_command(&settings)).expect_success().text(), before);
    let written = fs::read_to_string(&output).expect("it was written");
    assert!(
        written.starts_with("# Measured by qssl-tunnel survey ") && written.contains(", through a daemon.\n")
    );
    assert_eq!(habit(&output, "closing_free_socket_is_ok"), None, "the daemon may use any socket");
    assert_eq!(habit(&output, "file_download_refused"), Some(false));
    assert!(written.contains("# Beside a daemon, what needs the port or a socket was left out"), "{written}");
    assert!(!tunnel.log().contains(" warn "), "a survey is no reason to warn: {}", tunnel.log());
    let target = format!("{NAME}:443");
    let refused = run(&mut tunnel_command(&["survey", &target, "-o", path, "--control", socket]));
    assert!(refused.status == 2 && refused.stderr.contains("stop the daemon"), "{}", refused.stderr);
    harness::echo(&mut client, b"after");
}

#[test]
fn a_module_that_lists_odd_ranges_is_surveyed_to_the_end() {
    let directory = temporary_directory();
    let file = directory.path().join("odd.toml");
    let odd = "schema = 1\nname = \"X\"\nfollows = \"ec20\"\n[answers]\n\
         \"AT+QSSLOPEN=?\" = { value = [\"+QSSLOPEN: (1-16),(0-4294967295),(0-4294967295),<a>,<p>[,(0-2)]\"], source = \"capture x\" }\n\
         \"AT+QSSLSEND=?\" = { value = [\"+QSSLSEND: (0-11),(1-10)\"], source = \"capture x\" }\n";
    fs::write(&file, odd).expect("the directory is ours");
    let site = Site::new(Behaviour::EchoUntilTold, &format!("--module {}", file.display()));
    let before = state(&site.modem);
    let output = directory.path().join("report.toml");
    survey_with_server(&site.modem, &output, &["--budget", "80kB"]).expect_success();
    assert_eq!(state(&site.modem), before);
}

#[test]
fn values_that_the_module_shows_in_quotes_are_put_back() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let site =
        Site::new(Behaviour::EchoUntilTold, "--module eg800q --quirk setting_values_quoted --clock host");
    let before = state(&site.modem);
    survey_with_server(&site.modem, &output, &["--ca", harness::certificate_file()]).expect_success();
    assert_eq!(state(&site.modem), before);
}

/// Starts a survey with connections, and waits for this text in its log.
fn survey_up_to(modem: &Modem, output: &Path, text: &str) -> Running {
    let (device, target) = (modem.device(0), format!("{NAME}:443"));
    let output = output.to_str().expect("text");
    let running =
        Running::start(&mut tunnel_command(&["survey", &target, "-vvv", "-o", output, "-d", &device]));
    running.wait_for(text);
    running
}

/// The lines that a user reads without a log.
fn told(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("qssl-tunnel: ")).collect()
}

#[test]
fn a_close_that_is_refused_is_sent_again_and_a_socket_that_stays_open_is_told() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let site = Site::new(Behaviour::EchoUntilTold, "--family ec20");
    let before = state(&site.modem);
    site.modem.embedded.with_modem(|modem, _, _| modem.refuse_next_closes(2));
    let finished = survey_with_server(&site.modem, &output, &[]);
    finished.expect_success();
    assert_eq!(state(&site.modem), before);
    let running = survey_up_to(&site.modem, &output, "AT+QSSLSEND=11,20");
    site.modem.embedded.with_modem(|modem, _, _| modem.refuse_next_closes(1_000));
    let (status, text) = running.wait();
    let lines = told(&text);
    assert!(status != 0 && lines.len() == 1, "{status}: {lines:?}");
    assert!(lines[0].contains("socket 11 is still open") && lines[0].contains("AT+CFUN=1,1"), "{}", lines[0]);
}

#[test]
fn no_socket_stays_open_if_the_survey_is_stopped_right_after_its_open() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    for open in ["AT+QIOPEN=1,11,", "AT+QSSLOPEN=1,5,11,\"server.example\",1,"] {
        let quirk = "--quirk failed-open-keeps-socket";
        let site =
            Site::new(Behaviour::EchoUntilTold, &format!("--family ec20 --command-latency 100ms {quirk}"));
        let running = survey_up_to(&site.modem, &output, &format!("survey: > {open}"));
        // Its result has come, and the next question is under way.
        running.signal(Signal::INT);
        let (status, text) = running.wait();
        assert_eq!(status, 130, "{text}");
        assert_eq!(ask(&site.modem, &["AT+QSSLSTATE", "AT+QISTATE"]), [] as [&str; 0], "{open}");
    }
}

#[test]
fn a_reboot_of_the_modem_ends_the_survey() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    // A command of the core, and a byte of the port itself.
    for (options, at) in [
        ("--family ec20 --boot-time 2s --command-latency 100ms", "AT+QFLDS=\"RAM\""),
        ("--family ec20 --boot-time 2s --send-latency 300ms", "AT+QSSLSEND=11,20"),
    ] {
        let site = Site::new(Behaviour::EchoUntilTold, options);
        let questions = ["AT+CMEE?", "AT+IFC?", "AT&V"];
        let before = typed(&site.modem, &questions);
        let running = survey_up_to(&site.modem, &output, at);
        site.modem.embedded.with_modem(|modem, _, now| modem.reboot(now));
        let (status, text) = running.wait();
        let lines = told(&text);
        assert!(
            status != 0 && lines.len() == 1 && lines[0].contains("the modem rebooted"),
            "{at}: {lines:?}"
        );
        // Where something was put back, the modem has booted, and was spoken to.
        if at.contains("SEND") {
            assert_eq!(typed(&site.modem, &questions), before);
        }
    }
}

#[test]
fn a_connection_that_ends_is_not_measured_any_further() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    for (at, what) in
        [("AT+QSSLSEND=11,1460", "the connection ended"), ("\"server.example\",443,2", "transparent")]
    {
        let site = Site::new(Behaviour::EchoUntilTold, "--family ec20");
        let before = state(&site.modem);
        let running = survey_up_to(&site.modem, &output, at);
        site.modem.embedded.with_modem(|modem, _, now| modem.close_socket(11, now));
        let (status, text) = running.wait();
        let lines = told(&text);
        assert!(status != 0 && lines.len() == 1 && lines[0].contains(what), "{at}: {lines:?}");
        assert_eq!(state(&site.modem), before, "{at}");
    }
}

#[test]
fn the_end_of_another_programs_connection_ends_no_measurement() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let site = Site::new(Behaviour::EchoUntilTold, "--family ec20");
    let running = survey_up_to(&site.modem, &output, "AT+QSSLSEND=11,1460");
    site.modem.embedded.with_modem(|modem, _, now| modem.inject_urc("+QSSLURC: \"closed\",1", now));
    let (status, text) = running.wait();
    assert_eq!(status, 0, "{text}");
}

#[test]
fn a_connection_that_ends_does_not_keep_the_socket_that_verification_needs() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let site = Site::new(Behaviour::EchoUntilTold, "--family ec20 --clock host");
    let (device, target) = (site.modem.device(0), format!("{NAME}:443"));
    let (path, authority) = (output.to_str().expect("text"), harness::certificate_file());
    let arguments = ["survey", &target, "-vvv", "-o", path, "-d", &device, "--ca", authority];
    let running = Running::start(&mut tunnel_command(&arguments));
    running.wait_for("AT+QSSLSEND=11,1460");
    site.modem.embedded.with_modem(|modem, _, now| modem.close_socket(11, now));
    let (_, text) = running.wait();
    assert!(row(&text, "the server's certificate").ends_with("yes"), "{text}");
    assert!(row(&text, "another authority").ends_with("yes"), "{text}");
}

// Nothing is told between the two commands, so it waits for a time.
#[allow(clippy::disallowed_methods)]
#[test]
fn a_survey_that_is_stopped_on_the_way_into_the_multiplexer_leaves_it() {
    let directory = temporary_directory();
    let output = directory.path().join("report.toml");
    let modem = Modem::with_options("--family eg800q");
    let (device, path) = (modem.device(0), output.to_str().expect("text"));
    // From the last lines before AT+CMUX=0 to the way out.
    for after in [480, 540, 600, 660, 720] {
        let running = Running::start(&mut tunnel_command(&["survey", "-vvv", "-o", path, "-d", &device]));
        running.wait_for("zzAT");
        std::thread::sleep(std::time::Duration::from_millis(after));
        running.signal(Signal::INT);
        let (status, text) = running.wait();
        assert!(status == 130 || text.contains(" values of "), "{text}");
        assert_eq!(ask(&modem, &["AT+QSSLCFG=\"seclevel\",5"]).len(), 1, "{after}: it takes commands");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_is_measured() {
    let directory = temporary_directory();
    for output in [directory.path().to_owned(), directory.path().join("none/report.toml")] {
        let path = output.to_str().expect("text");
        let finished = run(&mut tunnel_command(&["survey", "-o", path, "-d", "/dev/none"]));
        assert!(finished.status != 0 && finished.stderr.contains("cannot write "), "{}", finished.stderr);
    }
}
