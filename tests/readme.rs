//! Goal of this test: the README says what this program does.
//!
//! Its option lists are those of the definition; stale ones are written anew, and the test fails once so that
//! somebody looks at them. Its commands are accepted, and what it links to exists.
//!
//! Only with every feature, so that there is one text whatever a build leaves out.
#![cfg(feature = "emulator")]

use std::fs;
use std::path::Path;

use clap::{CommandFactory, Parser};
use qssl_tunnel::cli::Cli;

const README: &str = "README.md";
const WIDTH_COLUMNS: usize = 100;

#[test]
fn option_lists_are_fresh() {
    let mut command = Cli::command().term_width(WIDTH_COLUMNS);
    command.build();
    let whole = command.render_long_help().to_string();
    let listen = command.find_subcommand_mut("listen").expect("listen exists").render_help().to_string();

    let old = fs::read_to_string(README).expect("there is a README");
    let fresh = with_block(&old, "qssl-tunnel --help", &whole);
    let fresh = with_block(&fresh, "qssl-tunnel listen -h", &listen);
    if fresh != old {
        fs::write(README, fresh).expect("the checkout is writable");
        panic!("the option lists in {README} were written anew, look at them and commit them");
    }
}

/// The README with `text` between the line that names the block and the next `<!-- end -->`.
fn with_block(readme: &str, name: &str, text: &str) -> String {
    let begin = format!("<!-- written by tests/readme.rs: {name} -->\n");
    let (head, rest) = readme.split_once(&begin).unwrap_or_else(|| panic!("{README} lacks {begin}"));
    let (_, tail) = rest.split_once("<!-- end -->").expect("every block in the README has an end");
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    format!("{head}{begin}```text\n{}\n```\n<!-- end -->{tail}", lines.join("\n"))
}

#[test]
fn commands_are_accepted() {
    let readme = fs::read_to_string(README).expect("there is a README");
    let mut commands = 0;
    for line in shell_lines(&readme) {
        let words = words(line);
        let program = words.iter().position(|word| word == "qssl-tunnel");
        let behind_cargo =
            words.iter().position(|word| word == "--").filter(|_| line.contains("emulator --"));
        let arguments = match (behind_cargo, program) {
            (Some(at), _) => words[at + 1..].to_vec(),
            (None, Some(0)) => words[1..].to_vec(),
            _ => match words.iter().find_map(|word| word.strip_prefix("ProxyCommand=qssl-tunnel ")) {
                Some(inner) => self::words(&inner.replace("%h", "gateway.example")),
                None => continue,
            },
        };
        let parsed = Cli::try_parse_from(std::iter::once("qssl-tunnel".to_owned()).chain(arguments));
        assert!(parsed.is_ok(), "{line}\n{}", parsed.unwrap_err());
        commands += 1;
    }
    assert!(commands >= 5, "{commands} commands were found; is the README written otherwise now?");
}

#[test]
fn links_lead_somewhere() {
    let readme = fs::read_to_string(README).expect("there is a README");
    let targets = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let missing: Vec<&str> =
        targets.filter(|target| !target.starts_with("https://") && !Path::new(target).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What stands in fences marked `sh`.
fn shell_lines(readme: &str) -> impl Iterator<Item = &str> {
    let fences = readme.split("```sh\n").skip(1);
    fences.filter_map(|rest| rest.split("```").next()).flat_map(str::lines)
}

/// Splits as a shell does, as far as blanks and single quotes go.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![];
    let mut word = String::new();
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}
