//! Goal of this test: the README, and that of the emulated modem, match the programs.
//!
//! Its commands are accepted, and its links exist.
//!
//! This test runs only with every feature, so that all its commands exist.
#![cfg(feature = "emulator")]

use std::fs;
use std::path::Path;

use clap::Parser;
use qssl_modem_emulator::cli::Program;
use qssl_tunnel::cli::Cli;

const README: &str = "README.md";
const README_OF_THE_EMULATOR: &str = "crates/emulator/README.md";

#[test]
fn commands_are_accepted() {
    let readme = fs::read_to_string(README).expect("there is a README");
    let mut commands = 0;
    for line in shell_lines(&readme) {
        let words = words(line);
        let program = words.iter().position(|word| word == "qssl-tunnel");
        let after_cargo = words.iter().position(|word| word == "--").filter(|_| line.contains("emulator --"));
        let arguments = match (after_cargo, program) {
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
fn commands_of_the_emulator_are_accepted() {
    for (file, least) in [(README, 2), (README_OF_THE_EMULATOR, 15)] {
        let readme = fs::read_to_string(file).expect("there is a README");
        let mut commands = 0;
        for line in shell_lines(&readme).filter(|line| line.starts_with("qssl-modem-emulator ")) {
            let command = line.split(" #").next().unwrap_or(line).trim_end_matches(" &");
            let parsed = Program::try_parse_from(words(command));
            assert!(parsed.is_ok(), "{line}\n{}", parsed.unwrap_err());
            commands += 1;
        }
        assert!(commands >= least, "{commands} commands were found in {file}; is it written otherwise now?");
    }
}

#[test]
fn links_lead_somewhere() {
    for file in [README, README_OF_THE_EMULATOR] {
        let readme = fs::read_to_string(file).expect("there is a README");
        let folder = Path::new(file).parent().expect("a file is in a folder");
        let targets = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let missing: Vec<&str> = targets
            .filter(|target| !target.starts_with("https://") && !folder.join(target).exists())
            .collect();
        assert!(missing.is_empty(), "{file}: {missing:?}");
    }
}

/// The lines in code blocks marked `sh`.
fn shell_lines(readme: &str) -> impl Iterator<Item = &str> {
    let fences = readme.split("```sh\n").skip(1);
    fences.filter_map(|rest| rest.split("```").next()).flat_map(str::lines)
}

/// Splits a line as a shell does, with only blanks and single quotes.
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
