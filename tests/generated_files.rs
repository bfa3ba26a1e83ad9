//! Goal of this test: the manual pages and the completions that are checked in are those of this program.
//!
//! A stale file is written anew, and the test fails once so that somebody looks at it. What is generated
//! carries no date. Sections that no definition knows of are in `generated_files/*.roff`.
//!
//! Only with every feature, so that there is one text whatever a build leaves out.
#![cfg(feature = "emulator")]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use qssl_tunnel::cli::Cli;
use qssl_tunnel::{config, exit_status};

#[test]
fn manual_pages_and_completions_are_fresh() {
    let generated = [
        ("man/qssl-tunnel.1", program_page()),
        ("man/qssl-tunnel.toml.5", file_page()),
        ("completions/qssl-tunnel.bash", completion(Shell::Bash)),
        ("completions/_qssl-tunnel", completion(Shell::Zsh)),
        ("completions/qssl-tunnel.fish", completion(Shell::Fish)),
    ];
    let stale: Vec<&str> =
        generated.iter().filter(|(path, text)| !holds(path, text)).map(|(path, _)| *path).collect();
    assert!(stale.is_empty(), "written anew, look at them and commit them: {}", stale.join(", "));
}

/// A shell's completions, with what clap_complete gets wrong put right.
fn completion(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(&Cli::command()), "qssl-tunnel", &mut script);
    let script = String::from_utf8(script).expect("completions are text");
    match shell {
        // A program whose name has a hyphen has one name where subcommands are recognised and another one where
        // their options are listed.
        Shell::Bash => script.replace("qssl__subcmd__tunnel", "qssl__tunnel"),
        Shell::Fish => fish_help(&script) + &fish_arguments(),
        // After an argument that may be repeated, two colons would let options be offered no more.
        Shell::Zsh => script.replace("'*::", "'*:"),
        _ => script,
    }
}

/// What follows `help` is offered unless a subcommand was seen, and `help` itself counts as one.
fn fish_help(script: &str) -> String {
    let lines = script.lines().map(|line| match line.contains("_using_subcommand help; and not") {
        true => line.replacen(" help\" -f", "\" -f", 1) + "\n",
        false => line.to_owned() + "\n",
    });
    lines.collect()
}

/// The values of arguments that are no options, which clap_complete does not write for fish.
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

/// The definition without what is hidden, which the completions would offer.
fn shown(command: &Command) -> Command {
    let mut shown = Command::new(command.get_name().to_owned()).version(env!("CARGO_PKG_VERSION"));
    shown = shown.disable_version_flag(command.get_version().is_none());
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    shown.args(arguments).subcommands(command.get_subcommands().map(self::shown))
}

/// Whether the file holds `text`; if not, it does afterwards.
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
        writeln!(page, ".TP\n.B {}\n{} ({})", row.number, escaped(row.meaning), escaped(row.id))
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
    page + include_str!("generated_files/program_tail.roff")
}

#[test]
fn every_id_of_an_error_stands_in_the_manual_page() {
    let page = fs::read_to_string("man/qssl-tunnel.1").expect("it is checked in");
    let table = page.split(".SH EXIT STATUS").nth(1).and_then(|rest| rest.split(".SH ").next());
    let table = table.expect("there is such a section");
    let ids = exit_status::TABLE.iter().map(|row| row.id).chain([exit_status::SIGNAL_ID]);
    for id in ids {
        assert!(table.contains(&format!("({})\n", escaped(id))), "{id}");
    }
    for (id, _) in exit_status::REPLY_IDS {
        assert!(table.contains(&format!(".B {}\n", escaped(id))), "{id}");
    }
}

/// How fast each access mode was: what the README says of it, its table as aligned columns.
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

/// A key of the file. Its help is the option's, in which other options are called by their keys.
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

/// What a renderer writes, without the preamble that it puts before every piece.
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
