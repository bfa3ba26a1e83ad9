//! Goal of this test: the manual pages and the completions that are checked in are those of these programs.
//!
//! A stale file is rewritten, and the test fails once so that the change is reviewed. Generated files have no date.
//! Sections that are not generated are in `generated_files/*.roff`.
//!
//! This test runs only with every feature, so that the texts do not depend on the build.
#![cfg(feature = "emulator")]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use qssl_core::radio::Cell;
use qssl_core::recorder;
use qssl_core::relay::{Datagrams, TunnelCounters};
use qssl_modem_emulator::cli::{Program, quirks_in_words};
use qssl_tunnel::cli::Cli;
use qssl_tunnel::config;
use qssl_tunnel::daemon::control::{self, Request};
use qssl_tunnel::daemon::{exit_status, status};

#[test]
fn manual_pages_and_completions_are_fresh() {
    let generated = [
        ("man/qssl-tunnel.1", program_page()),
        ("man/qssl-tunnel.toml.5", file_page()),
        ("man/qssl-modem-emulator.1", emulator_page()),
        ("completions/qssl-tunnel.bash", completion(Shell::Bash)),
        ("completions/_qssl-tunnel", completion(Shell::Zsh)),
        ("completions/qssl-tunnel.fish", completion(Shell::Fish)),
    ];
    let stale: Vec<&str> =
        generated.iter().filter(|(path, text)| !holds(path, text)).map(|(path, _)| *path).collect();
    assert!(stale.is_empty(), "written anew, look at them and commit them: {}", stale.join(", "));
}

/// A shell's completions, with the errors of clap_complete fixed.
fn completion(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(&Cli::command()), "qssl-tunnel", &mut script);
    let script = String::from_utf8(script).expect("completions are text");
    match shell {
        // If a program's name has a hyphen, the part that recognises subcommands and the part that lists their
        // options use different names.
        Shell::Bash => script.replace("qssl__subcmd__tunnel", "qssl__tunnel"),
        Shell::Fish => fish_help(&script) + &fish_arguments(),
        // With two colons, no options would be offered after an argument that may be repeated.
        Shell::Zsh => script.replace("'*::", "'*:"),
        _ => script,
    }
}

/// The subcommands after `help` are offered only if no subcommand was seen, but `help` itself counts as one.
fn fish_help(script: &str) -> String {
    let lines = script.lines().map(|line| match line.contains("_using_subcommand help; and not") {
        true => line.replacen(" help\" -f", "\" -f", 1) + "\n",
        false => line.to_owned() + "\n",
    });
    lines.collect()
}

/// The values of positional arguments, which clap_complete does not write for fish.
fn fish_arguments() -> String {
    let mut script = String::new();
    for subcommand in shown(&Cli::command()).get_subcommands() {
        for argument in subcommand.get_positionals() {
            for value in argument.get_possible_values() {
                let help = value.get_help().map(ToString::to_string).unwrap_or_default();
                writeln!(
                    script,
                    "complete -c qssl-tunnel -n \"__fish_qssl_tunnel_using_subcommand {}\" -a '{}' -d '{}'",
                    subcommand.get_name(),
                    value.get_name(),
                    help.replace('\'', "\\'")
                )
                .expect("a string");
            }
        }
    }
    script
}

/// The definition without hidden arguments, which the completions would offer.
fn shown(command: &Command) -> Command {
    let mut shown = Command::new(command.get_name().to_owned()).version(env!("CARGO_PKG_VERSION"));
    shown = shown.disable_version_flag(command.get_version().is_none());
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    shown.args(arguments).subcommands(command.get_subcommands().map(self::shown))
}

/// Whether the file contains `text`; if not, writes it.
fn holds(path: &str, text: &str) -> bool {
    let fresh = fs::read_to_string(path).is_ok_and(|old| old == text);
    if !fresh {
        let folder = Path::new(path).parent().expect("generated files are in folders");
        fs::create_dir_all(folder).and_then(|()| fs::write(path, text)).expect("the checkout is writable");
    }
    fresh
}

/// qssl-tunnel(1)
fn program_page() -> String {
    let mut command = Cli::command();
    command.build();
    let mut page = include_str!("generated_files/program_head.roff").to_owned();
    page += &measured_modes();
    page += ".SH COMMANDS\n";
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(page, ".SS {}\n{}", escaped(subcommand.get_name()), escaped(&about)).expect("a string");
        let own = subcommand.get_arguments().filter(|option| option.get_help_heading().is_none());
        page += &options(own.filter(|option| option.get_id() != "help")).replace(".SH OPTIONS\n", "");
        let mut headings: Vec<&str> = subcommand.get_arguments().filter_map(Arg::get_help_heading).collect();
        headings.dedup();
        writeln!(page, ".PP\nTakes: {}.", escaped(&headings.join(", "))).expect("a string");
    }
    let listen = command.find_subcommand("listen").expect("listen has every group of options");
    page += &options(listen.get_arguments().filter(|option| option.get_help_heading().is_some()));
    page += ".SH EXIT STATUS\n";
    for row in exit_status::TABLE {
        writeln!(page, ".TP\n.B {}\n{} ({})", row.number, escaped(row.meaning), escaped(row.id()))
            .expect("a string");
    }
    let (meaning, id) = (exit_status::SIGNAL_MEANING, exit_status::SIGNAL_ID);
    writeln!(page, ".TP\n.B 128+\\fIn\\fR\n{}; \\fIn\\fR is its number ({id})", escaped(meaning))
        .expect("a string");
    page += ".PP\nThe word in brackets is the same in logs, in JSON, and in messages. Replies of the control socket \
             have these besides:\n";
    for (id, meaning) in exit_status::REPLY_IDS {
        writeln!(page, ".TP\n.B {}\n{}", escaped(id), escaped(meaning)).expect("a string");
    }
    page += include_str!("generated_files/program_signals.roff");
    page += include_str!("generated_files/program_status.roff");
    let status = STATUS_FILES.iter().flat_map(|path| documented(path)).collect::<Vec<_>>();
    page += &fields("Status", &status, "");
    page += include_str!("generated_files/program_metrics.roff");
    page += &metrics();
    page += include_str!("generated_files/program_control.roff");
    let control = documented("src/daemon/control/mod.rs");
    page += &messages("Request", "request", &control);
    page += &messages("Reply", "reply", &control);
    page += include_str!("generated_files/program_stored.roff");
    page + include_str!("generated_files/program_tail.roff")
}

/// A struct or an enum, with the doc comments of its source.
struct Documented {
    name: String,
    members: Vec<Member>,
}

/// A field, or a variant with its fields.
struct Member {
    name: String,
    kind: String,
    words: String,
    fields: Vec<Member>,
    /// Its fields take its place.
    is_flattened: bool,
}

/// The files that define a status.
const STATUS_FILES: [&str; 5] = [
    "src/daemon/status/mod.rs",
    "crates/core/src/modem/counters.rs",
    "crates/core/src/radio.rs",
    "crates/core/src/relay/report.rs",
    "crates/core/src/shared_port/report.rs",
];

/// The public structs and enums of a source file.
fn documented(path: &str) -> Vec<Documented> {
    let source = fs::read_to_string(path).expect("it is checked in");
    let source = source.split("#[cfg(test)]").next().expect("a file begins somewhere");
    let mut all: Vec<Documented> = Vec::new();
    let mut words = String::new();
    let (mut is_flattened, mut is_written_otherwise) = (false, false);
    let (mut depth, mut is_struct) = (0, false);
    for line in source.lines() {
        let text = line.trim();
        if let Some(doc) = text.strip_prefix("///") {
            words += doc;
            continue;
        }
        if text == "#[serde(flatten)]" {
            is_flattened = true;
        }
        // What it is written as has no fields of its own to be listed.
        is_written_otherwise |= text.contains("serde(with = ");
        let begins = ["pub struct ", "pub enum "].iter().find_map(|begin| line.strip_prefix(begin));
        if let Some(name) = begins.and_then(|rest| rest.strip_suffix(" {")) {
            all.push(Documented { name: name.to_owned(), members: Vec::new() });
            (depth, is_struct) = (1, line.starts_with("pub struct "));
        } else if depth > 0 && text.starts_with('}') {
            depth -= 1;
        } else if depth > 0
            && !text.starts_with("#[")
            && !text.is_empty()
            && (!is_struct || text.starts_with("pub "))
        {
            let is_block = text.ends_with('{');
            let text = text.trim_start_matches("pub ").trim_end_matches([',', '{', ' ']);
            let (name, kind) = text.split_once(": ").unwrap_or((text, ""));
            let kind = if std::mem::take(&mut is_written_otherwise) { "" } else { kind };
            let (name, kind) = (name.to_owned(), kind.to_owned());
            let is_flattened = std::mem::take(&mut is_flattened);
            let member = Member { name, kind, words: plain(&words), fields: Vec::new(), is_flattened };
            let members = &mut all.last_mut().expect("something has begun").members;
            match depth {
                1 => members.push(member),
                _ => members.last_mut().expect("a variant has begun").fields.push(member),
            }
            depth += usize::from(is_block);
        }
        if !text.starts_with("#[") {
            words.clear();
        }
    }
    all
}

/// The text of a comment without the markup of rustdoc, and with numbers in place of constants.
fn plain(words: &str) -> String {
    let words = words
        .replace("[`COMMAND_LIMIT_BYTES`]", &format!("{} bytes", control::COMMAND_LIMIT_BYTES))
        .replace("[`FILE_LIMIT_BYTES`]", &format!("{} bytes", control::FILE_LIMIT_BYTES))
        .replace("[`qssl_core::recorder::LIMIT_BYTES`]", &format!("{} bytes", recorder::LIMIT_BYTES))
        .replace(", one of [`exit_status::REPLY_IDS`] or of [`exit_status::TABLE`]", ", see EXIT STATUS")
        .replace("[`NO_DAEMON`]", status::NO_DAEMON)
        .replace("`None`", "null")
        .replace('`', "");
    assert!(!words.contains('['), "a link that a manual page cannot have: {words}");
    words.trim().to_owned()
}

/// The fields of a struct and of the structs in it, each under its path in the JSON.
fn fields(name: &str, all: &[Documented], prefix: &str) -> String {
    let structure = all.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("no {name}"));
    let mut page = String::new();
    for member in &structure.members {
        if member.is_flattened {
            page += &fields(&member.kind, all, prefix);
            continue;
        }
        let path = format!("{prefix}{}", member.name);
        let inner =
            member.kind.trim_start_matches("Option<").trim_start_matches("Vec<").trim_end_matches('>');
        writeln!(page, ".TP\n.B {}\n{}", escaped(&path), escaped(&member.words)).expect("a string");
        // Each modem of a status is such a status itself.
        if inner != name && all.iter().any(|one| one.name == inner) {
            let list = if member.kind.starts_with("Vec<") { "[]" } else { "" };
            page += &fields(inner, all, &format!("{path}{list}."));
        }
    }
    page
}

/// The variants of an enum that is sent as JSON, with their fields.
fn messages(name: &str, tag: &str, all: &[Documented]) -> String {
    let messages = all.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("no {name}"));
    let mut page = format!(".PP\nEvery {tag} has a field {tag} with its name, and these fields:\n");
    for message in &messages.members {
        let mut kebab = String::new();
        for letter in message.name.chars() {
            if letter.is_ascii_uppercase() && !kebab.is_empty() {
                kebab.push('-');
            }
            kebab.push(letter.to_ascii_lowercase());
        }
        writeln!(page, ".TP\n\\fB{}\\fR ({tag})\n{}", escaped(&kebab), escaped(&message.words))
            .expect("a string");
        if message.fields.is_empty() {
            continue;
        }
        page += ".RS\n";
        for field in &message.fields {
            writeln!(page, ".TP\n.B {}\n{}", escaped(&field.name), escaped(&field.words)).expect("a string");
        }
        page += ".RE\n";
    }
    page
}

/// The metrics of a daemon for which every value is known.
fn metrics() -> String {
    let one = |name: &str| [(name.to_owned(), 1)].into();
    let mut full = status::Status::default();
    full.modem.signal_dbm = Some(-57);
    full.modem.heard_seconds_ago = Some(0.0);
    let text = || Some("text".to_owned());
    full.modem.radio = Some(Cell {
        technology: text(),
        band: Some(3),
        rsrp_dbm: Some(-85),
        rsrq_db: Some(-11),
        sinr_db: Some(12.0),
        temperature_celsius: Some(34),
        identity: text(),
        imei: text(),
    });
    full.sockets = one("open");
    let channels = vec![status::LineChannel::default()];
    full.ports = vec![status::Port {
        overruns: Some(0),
        utilisation: Some([0.0; 2]),
        multiplexer: Some(status::Multiplexer { channels, ..status::Multiplexer::default() }),
        ..status::Port::default()
    }];
    let counters = TunnelCounters { datagrams: Some(Datagrams::default()), ..TunnelCounters::default() };
    full.tunnels = vec![status::Tunnel { counters, clients: one("open"), ..status::Tunnel::default() }];
    full.uptime_seconds = Some(0.0);
    let mut counts = status::Counts::default();
    counts.modem.open_failures = [("cause".to_owned(), 1)].into();
    counts.modem.open_seconds = Some([0.0; 3]);
    counts.budget = Some(status::Budget::default());
    full.counters = Some(counts);
    let text = status::metrics(&full, status::Format::Text);
    let mut page = String::new();
    for line in text.lines() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let sample = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
        let labels: Vec<&str> = sample
            .and_then(|rest| rest.split('}').next())
            .map(|labels| labels.split(',').filter_map(|label| label.split('=').next()).collect())
            .unwrap_or_default();
        let labels = if labels.is_empty() { String::new() } else { format!(" {{{}}}", labels.join(", ")) };
        writeln!(page, ".TP\n\\fB{}\\fR{}\n{}", escaped(name), escaped(&labels), escaped(help))
            .expect("a string");
    }
    page
}

#[test]
fn the_synopsis_lists_every_subcommand() {
    let page = fs::read_to_string("man/qssl-tunnel.1").expect("it is checked in");
    let synopsis = page.split(".SH ").find(|section| section.starts_with("SYNOPSIS")).expect("there is one");
    let mut command = Cli::command();
    command.build();
    for subcommand in command.get_subcommands() {
        let line = escaped(&format!("qssl-tunnel {}", subcommand.get_name()));
        assert!(synopsis.lines().any(|listed| listed.starts_with(&format!(".B {line}"))), "{line}");
    }
}

#[test]
fn what_programs_read_stands_in_the_manual_page() {
    let page = fs::read_to_string("man/qssl-tunnel.1").expect("it is checked in");
    let mut status = status::Status::default();
    let channels = vec![status::LineChannel::default()];
    let multiplexer = Some(status::Multiplexer { channels, ..status::Multiplexer::default() });
    status.modem.radio = Some(Cell::default());
    status.ports.push(status::Port { multiplexer, ..status::Port::default() });
    status.tunnels.push(status::Tunnel::default());
    status.connections.push(status::Connection::default());
    let json = serde_json::to_value(&status).expect("plain data");
    let mut missing = Vec::new();
    unnamed(&json, "", &page, &mut missing);
    assert_eq!(missing, [""; 0], "fields of the JSON");
    for request in [Request::Status, Request::AwaitOpen { timeout_seconds: 1 }] {
        let json = serde_json::to_value(&request).expect("plain data");
        let name = json["request"].as_str().expect("it has a name");
        assert!(page.contains(&format!("\\fB{}\\fR (request)\n", escaped(name))), "{name}");
    }
}

/// Collects the paths of the fields that the page does not have.
fn unnamed(value: &serde_json::Value, prefix: &str, page: &str, missing: &mut Vec<String>) {
    let Some(object) = value.as_object() else { return };
    for (key, value) in object {
        let path = format!("{prefix}{key}");
        if !page.contains(&format!(".B {}\n", escaped(&path))) {
            missing.push(path.clone());
        }
        match value.as_array().and_then(|list| list.first()) {
            Some(first) => unnamed(first, &format!("{path}[]."), page, missing),
            None => unnamed(value, &format!("{path}."), page, missing),
        }
    }
}

#[test]
fn every_id_of_an_error_stands_in_the_manual_page() {
    let page = fs::read_to_string("man/qssl-tunnel.1").expect("it is checked in");
    let table = page.split(".SH EXIT STATUS").nth(1).and_then(|rest| rest.split(".SH ").next());
    let table = table.expect("there is such a section");
    let ids = exit_status::TABLE.iter().map(|row| row.id()).chain([exit_status::SIGNAL_ID]);
    for id in ids {
        assert!(table.contains(&format!("({})\n", escaped(id))), "{id}");
    }
    for (id, _) in exit_status::REPLY_IDS {
        assert!(table.contains(&format!(".B {}\n", escaped(id))), "{id}");
    }
}

/// The measured speed of each access mode: the README's text, with its table as aligned columns.
fn measured_modes() -> String {
    let readme = fs::read_to_string("README.md").expect("there is a README");
    let begin = "<!-- tests/generated_files.rs takes this into the manual page -->\n";
    let (_, rest) = readme.split_once(begin).expect("the README has the measured modes");
    let (text, _) = rest.split_once("<!-- end -->").expect("every block in the README has an end");
    let mut page = String::new();
    for paragraph in text.trim().split("\n\n") {
        page += ".PP\n";
        if !paragraph.starts_with('|') {
            page += &paragraph.lines().map(|line| escaped(line) + "\n").collect::<String>();
            continue;
        }
        let rows = paragraph.lines().filter(|line| !line.starts_with("|-"));
        let rows: Vec<Vec<String>> = rows.map(cells).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        page += ".nf\n";
        for row in &rows {
            let columns = row.iter().enumerate().map(|(at, cell)| format!("{cell:0$}", width(at)));
            let line = columns.collect::<Vec<_>>().join("  ");
            writeln!(page, "{}", escaped(line.trim_end())).expect("a string");
        }
        page += ".fi\n";
    }
    page
}

/// The cells of a line of a Markdown table, as plain text.
fn cells(line: &str) -> Vec<String> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()
}

/// qssl-tunnel.toml(5)
fn file_page() -> String {
    let mut page = include_str!("generated_files/file_head.roff").to_owned();
    page += ".SH SECTIONS\n";
    for (head, section) in config::file::sections() {
        writeln!(page, ".SS {}", escaped(head)).expect("a string");
        page += match head {
            "[modem]" => "The modem, its ports and its data session. Optional.\n",
            "[[tunnel]]" => {
                "One for each tunnel, at least one. Besides the keys below, those of [tls.NAME] may stand here.\n"
            }
            "[tls.NAME]" => {
                "TLS settings that tunnels refer to by NAME. As many as there are different ones.\n"
            }
            _ => "The process as a whole. Optional.\n",
        };
        let repeated =
            |option: &&Arg| head == "[[tunnel]]" && option.get_help_heading() == Some("TLS options");
        for option in section.get_arguments().filter(|option| !option.is_hide_set() && !repeated(option)) {
            page += &key(option);
        }
    }
    page + include_str!("generated_files/file_tail.roff")
}

/// qssl-modem-emulator(1)
fn emulator_page() -> String {
    let mut command = Program::command();
    command.build();
    let mut page = include_str!("generated_files/emulator_head.roff").to_owned();
    let shown = |option: &&Arg| !["help", "version"].contains(&option.get_id().as_str());
    page += &options(command.get_arguments().filter(shown));
    let ctl = command.find_subcommand("ctl").expect("the modem can be told to fail");
    page += ".SH CTL\nOne of these words after ctl has the modem that runs with the same\n.B \\-\\-control\ndo something. \
             QSSL_MODEM_EMULATOR_CONTROL may hold the path instead.\n";
    for action in ctl.get_subcommands().filter(|action| action.get_name() != "help") {
        let about = action.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(page, ".SS {}\n{}", escaped(&usage(action)), escaped(&about)).expect("a string");
        let own = action.get_arguments().filter(shown);
        page += &options(own).replace(".SH OPTIONS\n", "");
    }
    page += ".SH QUIRKS\nWhat\n.B \\-\\-quirk\ntakes:\n";
    for (name, meaning) in quirks_in_words() {
        writeln!(page, ".TP\n.B {}\n{}", escaped(&name), escaped(meaning)).expect("a string");
    }
    page + include_str!("generated_files/emulator_tail.roff")
}

/// A command's name and its arguments.
fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let own = usage.split_once(" ctl ").map_or(usage.as_str(), |(_, own)| own);
    own.trim_start_matches("--control <PATH> ").to_owned()
}

/// A key of the file. Its help is that of the option, with other options named by their keys.
fn key(option: &Arg) -> String {
    let name = option.get_long().expect("every key is a long option");
    let help = option.get_long_help().or(option.get_help()).map(ToString::to_string).unwrap_or_default();
    let help = help.replace(" --", " ").replace("\n\n", "\n.sp\n");
    let values: Vec<String> =
        option.get_possible_values().iter().map(|value| format!("\"{}\"", value.get_name())).collect();
    let kind = match config::file::value_in_words(option) {
        "a string" if !values.is_empty() && values[0] != "\"true\"" => values.join(" | "),
        words => words.to_owned(),
    };
    let lines: Vec<String> =
        help.lines().map(|line| if line == ".sp" { line.to_owned() } else { escaped(line) }).collect();
    format!(".TP\n\\fB{}\\fR = {}\n{}\n", escaped(name), escaped(&kind), lines.join("\n"))
}

/// The options as sections of a manual page.
fn options<'a>(options: impl Iterator<Item = &'a Arg>) -> String {
    let man = clap_mangen::Man::new(Command::new("qssl-tunnel").disable_help_flag(true).args(options));
    rendered(|out| man.render_options_section(out))
}

/// The output of a renderer, without the preamble that it writes before every piece.
fn rendered(render: impl Fn(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    render(&mut bytes).expect("writing to memory cannot fail");
    let text = String::from_utf8(bytes).expect("manual pages are text");
    let preamble = |line: &&str| line.starts_with(".ie \\n(.g") || line.starts_with(".el .ds Aq");
    text.lines().filter(|line| !preamble(line)).map(|line| line.replace("\\*(Aq", "\\(aq") + "\n").collect()
}

/// Plain text for roff.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}
