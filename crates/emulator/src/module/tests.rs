//! Goal of these tests: each shipped file is what it says, each table has an effect that a driver notices, and a mistake in
//! a file is told in one line.

use super::*;
use crate::cli::Options;
use crate::network::simulated::{Behaviour, Plan};
use crate::ssl_settings::keys_of_manual;
use crate::testing::{Bench, milliseconds, seconds};
use crate::{Config, Family};

/// The configuration of a shipped module.
fn shipped(name: &str) -> Config {
    let mut config = Config::default();
    read(name, &mut config).unwrap_or_else(|error| panic!("{error:#}"));
    config
}

/// The outcome of a file that follows the EG800Q's manual and has these lines.
fn with(lines: &str) -> anyhow::Result<Config> {
    let text = format!("schema = 1\nname = \"X\"\nfollows = \"eg800q\"\n{lines}\n");
    let mut config = Config::default();
    reader::read("x.toml", &text, &mut config).map(|_| config)
}

fn bench(lines: &str) -> Bench {
    Bench::online(with(lines).unwrap_or_else(|error| panic!("{error:#}")))
}

#[test]
fn every_file_of_the_folder_is_shipped_and_has_or_disclaims_every_key() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("modules");
    let files = fs::read_dir(folder).expect("the folder is there");
    let names = files.map(|file| file.expect("a file").file_name().into_string().expect("text"));
    let mut names: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".toml").map(String::from)).collect();
    names.sort();
    assert_eq!(names, SHIPPED.map(|(name, _)| name));
    for name in names {
        let module = read(&name, &mut Config::default()).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(module.name.eq_ignore_ascii_case(&name), "{name}");
        let is_told = |key: &str| module.values.iter().any(|fact| fact.key.starts_with(key));
        let is_unknown = |key: &str| module.unknown.iter().any(|unknown| unknown == key);
        for schema::Key { name: key, .. } in schema::KEYS {
            let (table, _) = key.split_once('.').expect("a table and a key");
            assert!(is_told(key) || is_unknown(key) || is_unknown(table), "{name}: {key}");
        }
        for table in schema::OPEN_TABLES {
            assert!(is_told(&format!("{table}.")) || is_unknown(table), "{name}: {table}");
        }
        for Fact { key, .. } in module.values.iter().filter(|fact| fact.key.starts_with("keys.")) {
            let has_default =
                module.values.iter().any(|fact| fact.key == *key && fact.value.contains("default"));
            let is_text = module.values.iter().any(|fact| {
                fact.key == *key && (fact.value.contains("texts") || fact.value.contains("files"))
            });
            assert!(has_default || is_text || is_unknown(&format!("{key}.default")), "{name}: {key}");
        }
    }
}

#[test]
fn the_two_families_are_the_modems_of_the_manuals() {
    for (name, family) in [("ec20", Family::Ec20), ("eg800q", Family::Eg800q)] {
        let (read, plain) = (shipped(name), Config { family, ..Config::default() });
        let keys = format!("{:?}", keys_of_manual(family));
        assert_eq!(read.facts.keys.as_ref().map(|it| format!("{it:?}")), Some(keys));
        let (mut one, mut other) = (Bench::online(read.clone()), Bench::online(plain.clone()));
        for command in
            ["ATI", "AT+CGMI", "AT+CGMM", "AT+CGMR", "AT+QSSLCFG=?", "AT+QSSLOPEN=?", "AT+QSSLSEND=?"]
                .iter()
                .chain(&[
                    "AT+QSSLRECV=?",
                    "AT+QSSLCLOSE=?",
                    "AT+QSSLSTATE=?",
                    "AT+QIACT=?",
                    "AT+CMUX=?",
                    "AT+CCLK?",
                ])
        {
            assert_eq!(one.ask(command), other.ask(command), "{name}: {command}");
        }
        // Nothing else differs.
        let mut read = read;
        let limits = &mut read.facts.limits;
        assert_eq!(limits.pdp_contexts.take(), Some(plain.pdp_contexts()));
        read.facts.test_answers.clear();
        (read.identity, read.facts.product_lines, read.facts.keys) = (None, None, None);
        assert_eq!(format!("{read:?}"), format!("{plain:?}"));
    }
}

#[test]
fn a_list_of_keys_and_the_table_of_keys_agree() {
    for (name, _) in SHIPPED {
        let config = shipped(name);
        let Some(listed) = config.facts.test_answers.get("QSSLCFG") else { continue };
        let mut generated = config.clone();
        generated.facts.test_answers.clear();
        generated.quirks.cipher_codes_listed = true;
        let answer = Bench::online(generated).ask("AT+QSSLCFG=?");
        let generated: Vec<&str> = answer.lines().filter(|line| line.starts_with("+QSSLCFG")).collect();
        assert_eq!(listed.len(), generated.len(), "{name}");
        for (listed, generated) in listed.iter().zip(generated) {
            // Texts have names that a manual gives otherwise.
            let listed = listed.split('<').next().expect("the beginning").replace(' ', "");
            let generated = generated.replace(' ', "");
            assert!(generated.starts_with(&listed), "{name}: {listed} {generated}");
        }
    }
}

#[test]
fn identity_is_what_ati_answers() {
    for (name, answer) in [
        ("bg770a-gl", "Quectel\r\nBG770A-GL\r\nRevision: BG770AGLAAR01A05"),
        ("bg95-m3", "Quectel\r\nBG95-M3\r\nRevision: BG95M3LAR02A03"),
        ("bg96", "Quectel\r\nBG96\r\nRevision: BG96MAR02A07M1G"),
        ("ec20", "Quectel\r\nEC20F\r\nRevision: EC20EFAR02A04M4G"),
        ("ec25", "Quectel\r\nEC25\r\nRevision: EC25AUXGAR08A03M1G"),
        ("ec801e", "Quectel\r\nEC801E\r\nRevision: EC801E"),
        ("eg25-g", "Quectel\r\nEG25\r\nRevision: EG25GGBR07A08M2G"),
        ("eg800k", "Quectel\r\nEG800K\r\nRevision: EG800KCNGCR07A06M04"),
        ("eg800q", "Quectel\r\nEG800Q\r\nRevision: EG800QEULCR01A05M04"),
    ] {
        let mut bench = Bench::without_echo(shipped(name));
        assert_eq!(bench.ask("ATI"), format!("\r\n{answer}\r\n\r\nOK\r\n"));
        let revision = answer.rsplit(' ').next().expect("a revision");
        assert_eq!(bench.ask("AT+CGMR"), format!("\r\n{revision}\r\n\r\nOK\r\n"));
    }
    let identity = "[identity]\nmanufacturer = { value = \"Maker\", source = \"capture x\" }\n\
                    model = { value = \"M1\", source = \"capture x\" }";
    let mut bench = bench(identity);
    assert_eq!(bench.ask("AT+CGMI"), "\r\nMaker\r\n\r\nOK\r\n");
    assert_eq!(bench.ask("ATI"), "\r\nMaker\r\nM1\r\nRevision: EG800QEULCR01A05M04\r\n\r\nOK\r\n");
}

#[test]
fn usb_interfaces_decide_which_ports_there_are() {
    let folder = std::env::temp_dir().join(format!("qssl-module-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let file = folder.join("x.toml");
    let text = "schema = 1\nname = \"X\"\nfollows = \"ec20\"\n\
                [usb]\ninterfaces = { value = [\"dm\", \"at\"], source = \"capture x\" }\n";
    fs::write(&file, text).expect("the folder is ours");
    let module = format!("--module {}", file.display());
    let config = |more: &str, ports| {
        Options::parse_text(&format!("{module} {more}")).expect("options").config(ports, 0)
    };
    let ports = config("", 3).expect("three ports").ports;
    assert_eq!(ports.map_names(), ["uart1", "usbat", "uart2"]);
    let message = |config: anyhow::Result<Config>| config.expect_err("no such port").to_string();
    assert_eq!(message(config("", 4)), "a modem has at most 3 ports, 4 are asked for");
    assert_eq!(message(config("--port-name usbmodem", 1)), "the module has no port usbmodem");
    fs::remove_dir_all(&folder).expect("it is ours");
}

trait MapNames {
    fn map_names(&self) -> Vec<&'static str>;
}

impl MapNames for Vec<crate::PortName> {
    fn map_names(&self) -> Vec<&'static str> {
        self.iter().map(|port| port.name()).collect()
    }
}

#[test]
fn answers_are_given_byte_by_byte() {
    let answer = Bench::online(shipped("bg96")).ask("AT+QSSLCFG=?");
    assert!(
        answer.starts_with("\r\n+QSSLCFG: \"sslversion\",(0-5),(0-4)\r\n+QSSLCFG: \"ciphersuite\""),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n+QSSLCFG: \"negotiatetime\",(0-5),(10-300)\r\n\r\nOK\r\n"), "{answer}");
    assert!(Bench::online(shipped("eg25-g")).ask("AT+QSSLCFG=?").contains("0XC005, 0XC007"));
    let mut bench = Bench::online(shipped("bg770a-gl"));
    let open = "\r\n+QSSLOPEN: (1-5),(0-5),(0-11),<serveraddr>,<server_port>,(0-2)\r\n\r\nOK\r\n";
    assert_eq!(bench.ask("AT+QSSLOPEN=?"), open);
    assert_eq!(bench.ask("AT+QSSLSTATE=?"), "\r\nOK\r\n");
}

#[test]
fn keys_are_those_of_the_module_with_its_ranges_and_defaults() {
    let mut bench = Bench::online(shipped("bg770a-gl"));
    assert_eq!(bench.ask("AT+QSSLCFG=\"session\",1,1"), "\r\nOK\r\n");
    assert_eq!(bench.ask("AT+QSSLCFG=\"session_cache\",1,1"), "\r\nERROR\r\n");
    bench.modem.put_file("ca.pem", b"CA");
    for setting in ["\"cacert\",1,\"security/ca.pem\"", "\"seclevel\",1,1"] {
        assert_eq!(bench.ask(&format!("AT+QSSLCFG={setting}")), "\r\nOK\r\n");
    }
    let opened = |bench: &mut Bench| {
        bench.open(0, 0);
        bench.ask("AT+QSSLCLOSE=0");
        let record = bench.network.records().last().expect("a socket was opened");
        record.request.tls.clone().expect("it was a TLS socket")
    };
    let tls = opened(&mut bench);
    assert_eq!((tls.session_cache, tls.check_host, tls.cipher_suites.len()), (Some(1), false, 8));
    bench.ask("AT+QSSLCFG=\"checkhost\",1,1");
    assert!(opened(&mut bench).check_host);

    let mut own = self::bench(
        "[keys]\nnegotiatetime = { value = { range = [20, 90], default = 30 }, source = \"capture x\" }\n\
         ciphersuite = { value = { codes = [\"0XC02F\"], default = \"0XC02F\" }, source = \"capture x\" }",
    );
    let list = "\r\n+QSSLCFG: \"negotiatetime\",(0-5),(20-90)\r\n+QSSLCFG: \"ciphersuite\",(0-5),<cs_id>\r\n\r\nOK\r\n";
    assert_eq!(own.ask("AT+QSSLCFG=?"), list);
    for (asked, answer) in [
        ("\"negotiatetime\",1", "\r\n+QSSLCFG: \"negotiatetime\",1,30\r\n\r\nOK\r\n"),
        ("\"negotiatetime\",1,10", "\r\nERROR\r\n"),
        ("\"ciphersuite\",1", "\r\n+QSSLCFG: \"ciphersuite\",1,0XC02F\r\n\r\nOK\r\n"),
        ("\"ciphersuite\",1,0X002F", "\r\nERROR\r\n"),
        ("\"seclevel\",1", "\r\nERROR\r\n"),
    ] {
        assert_eq!(own.ask(&format!("AT+QSSLCFG={asked}")), answer, "{asked}");
    }
}

#[test]
fn limits_are_ranges_sizes_and_modes() {
    let limits = |lines: &str| {
        let lines = lines.replace(';', ", source = \"capture x\" }\n");
        with(&format!("[limits]\n{lines}")).unwrap_or_else(|error| panic!("{error:#}"))
    };
    let mut bench = Bench::online(limits(
        "sockets = { value = 2;ssl_contexts = { value = 2;pdp_contexts = { value = 3;send_bytes = { value = 10;\
         read_bytes = { value = 4;command_line_bytes = { value = 64;modes = { value = [\"buffer\", \"push\"];\
         storage_bytes = { value = 40960;storage_occupied_bytes = { value = 4096;",
    ));
    for (asked, answer) in [
        ("AT+QSSLOPEN=1,1,2,\"a.example\",443,0", "\r\nERROR\r\n"),
        ("AT+QSSLOPEN=1,2,0,\"a.example\",443,0", "\r\nERROR\r\n"),
        ("AT+QSSLOPEN=1,1,0,\"a.example\",443,2", "\r\nERROR\r\n"),
        ("AT+QSSLSTATE=2", "\r\nERROR\r\n"),
        ("AT+QSSLCFG=\"sni\",2", "\r\nERROR\r\n"),
        ("AT+QIACT=4", "\r\nERROR\r\n"),
        ("AT+QSSLSEND=?", "\r\n+QSSLSEND: (0-1)[,(1-10)]\r\n\r\nOK\r\n"),
        ("AT+QSSLRECV=?", "\r\n+QSSLRECV: (0-1),(1-4)\r\n\r\nOK\r\n"),
        ("AT+QFLDS=\"UFS\"", "\r\n+QFLDS: 36864,40960\r\n\r\nOK\r\n"),
    ] {
        assert_eq!(bench.ask(asked), answer, "{asked}");
    }
    let long = format!("AT+QSSLCFG=\"alpn\",1,\"{}\"", "x".repeat(60));
    assert_eq!(bench.ask(&long), "\r\nERROR\r\n");
    bench.open(0, 0);
    assert_eq!(bench.ask("AT+QSSLSEND=0,11"), "\r\nERROR\r\n");
    assert_eq!(bench.ask("AT+QISWTMD=0,2"), "\r\nERROR\r\n");
    bench.send(0, b"12345678");
    bench.pass(milliseconds(1));
    bench.output();
    assert_eq!(bench.ask("AT+QSSLRECV=0,4"), "\r\n+QSSLRECV: 4\r\n1234\r\n\r\nOK\r\n");
    assert_eq!(bench.ask("AT+QSSLRECV=0,5"), "\r\nERROR\r\n");

    let config = limits("push_bytes = { value = 3;send_buffer_bytes = { value = 1460;");
    let mut bench = Bench::with(config.clone(), Plan::new(Behaviour::deaf()).window(0)).get_online();
    bench.open(0, 1);
    assert_eq!(bench.send(0, &[b'x'; 1_460]), "\r\nSEND OK\r\n");
    assert_eq!(bench.send(0, b"x"), "\r\nSEND FAIL\r\n");
    let mut bench = Bench::with(config, Plan::new(Behaviour::sink())).get_online();
    bench.open(0, 1);
    bench.say(0, b"abcd");
    let pushed = "\r\n+QSSLURC: \"recv\",0,3\r\nabc\r\n+QSSLURC: \"recv\",0,1\r\nd";
    assert_eq!(bench.output(), pushed);
}

#[test]
fn latencies_delay_what_they_name() {
    let mut bench = Bench::new(shipped("eg800k")).get_online();
    assert_eq!(bench.ask("AT+QSSLOPEN=1,1,0,\"a.example\",443,0"), "\r\nOK\r\n");
    bench.pass(milliseconds(1_999));
    assert_eq!(bench.output(), "");
    bench.pass(milliseconds(1));
    assert_eq!(bench.output(), "\r\n+QSSLOPEN: 0,0\r\n");
    assert_eq!(bench.ask("AT+QSSLSEND=0,100"), "");
    bench.pass(milliseconds(5));
    assert_eq!(bench.output(), "");
    bench.pass(milliseconds(5));
    assert_eq!(bench.output(), "\r\n> ");
    bench.type_bytes(&[b'x'; 100]);
    bench.pass(milliseconds(9));
    assert_eq!(bench.output(), "");
    bench.pass(milliseconds(1));
    assert!(bench.output().starts_with("\r\nSEND OK\r\n"));

    let mut bench = Bench::online(shipped("bg96"));
    bench.ask("AT+CFUN=1,1");
    bench.pass(milliseconds(5_899));
    assert!(!bench.output().contains("RDY"));
    bench.pass(milliseconds(1));
    assert!(bench.output().contains("\r\nRDY\r\n"));
}

#[test]
fn habits_change_what_a_driver_sees() {
    let mut bench = Bench::online(shipped("bg770a-gl"));
    bench.open(0, 0);
    for refused in ["AT+QSSLCLOSE=0,10", "AT+QURCCFG=\"urcport\",\"uart1\"", "AT&D1"] {
        assert_eq!(bench.ask(refused), "\r\nERROR\r\n", "{refused}");
    }
    assert_eq!(bench.ask("AT+QSSLCLOSE=0"), "\r\nOK\r\n");
    let config = with(
        "[habits]\nopens_until_degraded = { value = 20, source = \"capture x\" }\n\
         dns_busy_beyond = { value = 1, source = \"capture x\" }\n\
         short_read = { value = \"drops-rest\", source = \"capture x\" }",
    );
    let quirks = config.expect("it is right").quirks;
    assert_eq!(quirks.opens_until_degraded.map(std::num::NonZero::get), Some(20));
    assert_eq!(quirks.dns_busy_beyond, Some(1));
    assert_eq!(quirks.short_read, crate::quirks::ShortRead::DropsRest);
}

#[test]
fn codes_have_the_words_of_the_module() {
    let mut bench = Bench::online(shipped("bg770a-gl"));
    assert_eq!(bench.ask("AT+QIGETERROR"), "\r\n+QIGETERROR: 0,operate successfully\r\n\r\nOK\r\n");
    let mut bench = self::bench("[codes]\n405 = { value = \"no such file\", source = \"capture x\" }");
    bench.ask("AT+CMEE=2");
    assert_eq!(bench.ask("AT+QFDEL=\"a\""), "\r\n+CME ERROR: no such file\r\n");
}

#[test]
fn cmux_answers_and_accepts_what_the_module_does() {
    let mut bench = bench(
        "[cmux]\nanswer = { value = \"+CMUX: (0),(0),(1-7),(31-512)\", source = \"capture x\" }\n\
         defaults = { value = [0, 5, 31, 10, 3, 30, 10, 2], source = \"capture x\" }\n\
         longest = { value = 512, source = \"capture x\" }",
    );
    assert_eq!(bench.ask("AT+CMUX=?"), "\r\n+CMUX: (0),(0),(1-7),(31-512)\r\n\r\nOK\r\n");
    assert_eq!(bench.ask("AT+CMUX?"), "\r\n+CMUX: 0,0,5,31,10,3,30,10,2\r\n\r\nOK\r\n");
    assert_eq!(bench.ask("AT+CMUX=0,0,5,513"), "\r\nERROR\r\n");
    assert_eq!(bench.ask("AT+CMUX=0"), "\r\nOK\r\n");
    assert_eq!(bench.modem.mux(0).map(|mux| mux.longest_bytes), Some(31));
}

#[test]
fn the_clock_has_the_form_and_the_beginning_of_the_module() {
    let mut bench = bench(
        "[clock]\nformat = { value = \"yyyy/MM/dd,hh:mm:ss±zz\", source = \"capture x\" }\n\
         unset = { value = \"1970-01-01\", source = \"capture x\" }",
    );
    assert_eq!(bench.ask("AT+CCLK?"), "\r\n+CCLK: \"1970/01/01,00:00:00+00\"\r\n\r\nOK\r\n");
}

#[test]
fn options_go_before_the_file() {
    let config =
        |text: &str| Options::parse_text(text).expect("options").config(1, 0).expect("they are right");
    let module = config("--module BG770A-GL");
    assert!(module.quirks.close_without_time && !module.quirks.line_feed_dropped);
    let changed =
        config("--module bg770a-gl --field --quirk close-without-time=off --identity A --storage 300000");
    assert!(!changed.quirks.close_without_time && changed.quirks.line_feed_dropped);
    assert_eq!((changed.storage_bytes, module.storage_bytes), (300_000, 3_776_512));
    let slow = config("--module eg800k");
    assert_eq!(slow.prompt_latency, milliseconds(8));
    assert_eq!(slow.facts.spreads.prompt, milliseconds(2));
    let even = config("--module eg800k --prompt-latency 20ms --boot-time 1");
    assert_eq!((even.prompt_latency, even.boot_time), (milliseconds(20), seconds(1)));
    assert!(even.facts.spreads.prompt.is_zero());
    let mut bench = Bench::online(config("--module bg96 --identity EC25"));
    assert_eq!(bench.ask("ATI"), "\r\nQuectel\r\nEC25\r\nRevision: EC25R01A01\r\n\r\nOK\r\n");
    let message = Options::parse_text("--family ec20 --module bg96").expect_err("both").to_string();
    assert!(message.contains("cannot be used with"), "{message}");
    let unknown = Options::parse_text("--module bg97").expect("any name is read").config(1, 0);
    assert_eq!(
        unknown.expect_err("there is none").to_string(),
        "no module is called \"bg97\": give a file or one of bg770a-gl, bg95-m3, bg96, ec20, ec25, ec801e, eg25-g, eg800k, eg800q"
    );
}

#[test]
fn a_module_is_shown_with_sources_and_what_is_unknown() {
    let shown = read("eg800k", &mut Config::default()).expect("it is right").to_string();
    assert!(shown.starts_with("EG800K\n"), "{shown}");
    assert!(shown.contains("\nlimits.storage_bytes = 286720    # capture AT+QFLDS\n"), "{shown}");
    assert!(shown.contains("\nlatencies.prompt = \"8ms\" ± \"2ms\"    # inference"), "{shown}");
    assert!(shown.contains("\nlatencies.boot    # unknown\n"), "{shown}");
}

#[test]
fn a_mistake_is_one_line_with_file_line_and_key() {
    for (lines, message) in [
        (
            "[limits]\nsocket = { value = 1, source = \"capture x\" }",
            "5: limits.socket: there is no such key",
        ),
        ("[limit]", "4: limit: there is no such key or table"),
        (
            "[limits]\nsockets = { value = \"1\", source = \"capture x\" }",
            "5: limits.sockets: a number is expected, not a value of type string",
        ),
        (
            "[limits]\nsockets = 1",
            "5: limits.sockets: { value = …, source = \"…\" } is expected, not a value of type integer",
        ),
        (
            "[limits]\nsockets = { value = 13, source = \"capture x\" }",
            "5: limits.sockets: 13 is not one of 1 to 12",
        ),
        (
            "[limits]\nsockets = { value = -1, source = \"capture x\" }",
            "5: limits.sockets: -1 is not one of 1 to 12",
        ),
        ("[limits]\nsockets = { value = 1 }", "5: limits.sockets: it has no source"),
        ("[limits]\nsockets = { source = \"capture x\" }", "5: limits.sockets: it has no value"),
        (
            "[limits]\nsockets = { value = 1, source = \"guess\" }",
            "5: limits.sockets: the source \"guess\" is not \"manual …\", \"capture …\" or \"inference …\"",
        ),
        (
            "[limits]\nsockets = { value = 1, source = \"capture x\", unit = \"1\" }",
            "5: limits.sockets: \"unit\" is not a part of { value = …, source = \"…\" }",
        ),
        (
            "[limits]\nsockets = { value = 1, source = \"capture x\", spread = \"1\" }",
            "5: limits.sockets: only latencies have a spread",
        ),
        (
            "unknown = [\n  \"limits.sockets\",\n]\n[limits]\nsockets = { value = 1, source = \"capture x\" }",
            "5: limits.sockets: it is unknown, and has a value",
        ),
        (
            "unknown = [\"keys.sni.default\"]\n[keys]\nsni = { value = { range = [0, 1], default = 1 }, source = \"capture x\" }",
            "4: keys.sni.default: it is unknown, and has a value",
        ),
        ("unknown = [\"limits.walls\"]", "4: limits.walls: there is no such key or table"),
        (
            "[latencies]\n# about\nopen = { value = \"2h\", source = \"capture x\" }",
            "6: latencies.open: \"2h\": not a time, write 500ms, 2s, 5min or plain seconds",
        ),
        (
            "[habits]\nflies = { value = true, source = \"capture x\" }",
            "5: habits.flies: there is no such habit, see --quirk help",
        ),
        (
            "[habits]\nsleeps = { value = \"on\", source = \"capture x\" }",
            "5: habits.sleeps: true or false is expected, not a value of type string",
        ),
        (
            "[answers]\nATI = { value = [], source = \"capture x\" }",
            "5: answers.ATI: the key is not of the form \"AT+NAME=?\"",
        ),
        (
            "[answers]\n\"AT+CSQ=?\" = { value = [\"a\\r\\nb\"], source = \"capture x\" }",
            "5: answers.AT+CSQ=?: a text is empty, or has more than one line",
        ),
        (
            "[keys]\nsni = { value = { range = [1, 0] }, source = \"capture x\" }",
            "5: keys.sni: the range 1 to 0 is empty",
        ),
        (
            "[keys]\nciphersuite = { value = { codes = [\"0X002F\"], default = \"0X0005\" }, source = \"capture x\" }",
            "5: keys.ciphersuite: the default is not one of the codes",
        ),
        (
            "[codes]\nfull = { value = \"x\", source = \"capture x\" }",
            "5: codes.full: the code is not a number up to 999",
        ),
        (
            "[clock]\nformat = { value = \"MM/dd\", source = \"capture x\" }",
            "5: clock.format: \"MM/dd\" is not one of yy/MM/dd,hh:mm:ss±zz, yyyy/MM/dd,hh:mm:ss±zz",
        ),
        (
            "[cmux]\ndefaults = { value = [0, 5], source = \"capture x\" }",
            "5: cmux.defaults: 8 numbers are expected, not 2",
        ),
        (
            "[limits]\nstorage_occupied_bytes = { value = 300000, source = \"capture x\" }",
            "5: limits.storage_occupied_bytes: 300000 is more than all of the storage, 286720",
        ),
        (
            "[cmux]\nlongest = { value = 64, source = \"capture x\" }",
            "5: cmux.longest: N1 of the defaults, 127, is more than the longest, 64",
        ),
        (
            "[limits]\nmodes = { value = [], source = \"capture x\" }",
            "5: limits.modes: at least 1 of buffer, push, transparent is expected",
        ),
        (
            "[identity]\nmodel = { value = \"A B\", source = \"capture x\" }",
            "5: identity.model: \"A B\" has a blank in it",
        ),
    ] {
        let error = with(lines).expect_err(lines);
        assert_eq!(format!("{error:#}"), format!("x.toml:{message}"));
    }
    let whole = |text: &str| {
        let error = reader::read("x.toml", text, &mut Config::default()).expect_err(text);
        format!("{error:#}")
    };
    let head = "schema = 1\nname = \"X\"\n";
    assert_eq!(whole("schema = 2\n"), "x.toml:1: schema: version 2 is not understood, only 1");
    assert_eq!(whole("name = \"X\"\n"), "x.toml:1: schema: it is missing, and every file has it");
    assert_eq!(
        whole(&format!("{head}follows = \"bg96\"\n")),
        "x.toml:3: follows: \"bg96\" is not one of ec20, eg800q"
    );
    let torn = whole(&format!("{head}follows = \"ec20\"\n[limits\n"));
    assert!(torn.starts_with("x.toml:4: TOML: ") && torn.lines().count() == 1, "{torn}");
}

#[test]
fn the_description_has_every_key() {
    let text = include_str!("../../modules/README.md");
    for schema::Key { name, .. } in schema::KEYS {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}
