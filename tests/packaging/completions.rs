//! Goal of this test: completion works in the shells themselves: subcommands, every long option of each of them,
//! and the values of options and arguments that have a fixed set.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use clap::CommandFactory;
use qssl_tunnel::cli::Cli;

use qssl_test_common::packaging::{folder, read, run, said};

fn completions(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("completions").join(name)
}

/// The completions that bash offers for the last word of this line.
fn bash(line: &str) -> BTreeSet<String> {
    const SCRIPT: &str = r#"
        source "$1"
        IFS=' ' read -r -a COMP_WORDS <<<"$2"
        [[ $2 == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        registered=$(complete -p qssl-tunnel)
        [[ $registered =~ -F\ ([^ ]+) ]] || exit 1
        "${BASH_REMATCH[1]}" qssl-tunnel "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut shell = Command::new("bash");
    shell
        .args(["--norc", "--noprofile", "-c", SCRIPT, "bash"])
        .arg(completions("qssl-tunnel.bash"))
        .arg(line);
    // bash complains on standard error that there is no command line; an interactive shell has one.
    said(&run(&mut shell)).0.lines().map(str::to_owned).collect()
}

/// The completions that fish offers for the last word of this line.
fn fish(line: &str) -> BTreeSet<String> {
    const SCRIPT: &str = "source $argv[1]; complete -C $argv[2]";
    let home = folder();
    let mut shell = Command::new("fish");
    shell.env("HOME", home.path()).current_dir(home.path()).args(["--no-config", "-c", SCRIPT]);
    shell.arg(completions("qssl-tunnel.fish")).arg(line);
    let (stdout, stderr) = said(&run(&mut shell));
    assert_eq!(stderr, "", "{line}");
    // A tab is followed by the description.
    stdout.lines().filter_map(|offer| offer.split('\t').next()).map(str::to_owned).collect()
}

/// The command line in zsh after the tab key was pressed at its end.
fn zsh(line: &str) -> String {
    const SCRIPT: &str = r#"
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell "fpath=(${(q)1} \$fpath); autoload -U compinit; compinit -u -D"
        zpty -w shell "finish() { zle complete-word; print -r -- \"\$BUFFER\" >${(q)3}; kill -KILL \$\$ }"
        zpty -w shell "zle -N finish; bindkey '^I' finish"
        zpty -w -n shell "$2"$'\t'
        while zpty -r shell output; do :; done
    "#;
    let home = folder();
    let result = home.path().join("line");
    let mut shell = Command::new("zsh");
    shell.env("HOME", home.path()).current_dir(home.path());
    shell.env("TERM", "dumb").args(["-f", "-c", SCRIPT, "zsh"]);
    shell.arg(completions("")).arg(line).arg(&result);
    let output = run(&mut shell);
    assert!(result.exists(), "{line:?} was not completed: {:?}", said(&output));
    read(&result).trim_end().to_owned()
}

/// Lines, and the only word to which their last word can be completed.
const UNFINISHED: [(&str, &str); 8] = [
    ("qssl-tunnel li", "listen"),
    ("qssl-tunnel help doc", "doctor"),
    ("qssl-tunnel listen 8443 --sess", "--session-resumption"),
    ("qssl-tunnel connect --client-le", ""),
    ("qssl-tunnel listen 8443 --mode tr", "transparent"),
    ("qssl-tunnel status --prom", "--prometheus"),
    ("qssl-tunnel cert pru", "prune"),
    ("qssl-tunnel cert get --out", "--output"),
];

#[test]
fn a_word_is_completed_in_every_shell() {
    for (line, word) in UNFINISHED {
        let expected: BTreeSet<String> =
            [word.to_owned()].into_iter().filter(|word| !word.is_empty()).collect();
        let without_empty = |offers: BTreeSet<String>| -> BTreeSet<String> {
            offers.into_iter().filter(|offer| !offer.is_empty()).collect()
        };
        assert_eq!(without_empty(bash(line)), expected, "bash: {line}");
        assert_eq!(without_empty(fish(line)), expected, "fish: {line}");
        let (before, typed) = line.rsplit_once(' ').expect("several words");
        let becomes = if word.is_empty() { typed } else { word };
        let line_in_zsh = zsh(line);
        // An option that takes a value is followed by an equals sign.
        assert_eq!(line_in_zsh.trim_end_matches('='), format!("{before} {becomes}"), "zsh: {line}");
    }
}

#[test]
fn every_option_of_every_subcommand_is_offered() {
    for subcommand in Cli::command().get_subcommands() {
        let line = format!("qssl-tunnel {} --", subcommand.get_name());
        let (bash, fish) = (bash(&line), fish(&line));
        for option in subcommand.get_arguments().filter(|option| !option.is_hide_set()) {
            let Some(long) = option.get_long() else { continue };
            let long = format!("--{long}");
            assert!(bash.contains(&long), "bash does not offer {long} after {line}: {bash:?}");
            assert!(fish.contains(&long), "fish does not offer {long} after {line}: {fish:?}");
        }
    }
}
