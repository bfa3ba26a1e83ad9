//! Goal of this test: failures that fuzzing has found stay fixed, and a few thousand further inputs cause none. Each
//! target of crates/fuzz/src/lib.rs takes its corpus, and mutations of it that follow from a seed.
//!
//! To repeat an input that cargo-fuzz has found, with a trace, copy it into `fuzz/corpus/TARGET`.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::atomic::Ordering;

use qssl_fuzz_targets::{Chance, TARGETS, TRACED, Target};

/// The checked-in inputs of a target, in the order of their names.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let read = |file: &Path| fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    files.iter().map(|file| (file.display().to_string(), read(file))).collect()
}

#[test]
fn the_corpus_of_every_target() {
    TRACED.store(true, Ordering::Relaxed);
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has no corpus");
        for (file, data) in corpus {
            assert!(catch_unwind(|| target(&data)).is_ok(), "{file}");
        }
    }
}

#[test]
fn every_target_is_fuzzed_at_night_and_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |name: &str| fs::read_to_string(root.join(name)).expect("it is in the repository");
    let mut names = TARGETS.map(|(name, _)| name);
    names.sort_unstable();
    let nightly = text(".github/workflows/nightly.yml");
    assert!(nightly.contains(&format!("target: [{}]", names.join(", "))), "nightly.yml: {names:?}");
    let contributing = text("CONTRIBUTING.md").replace('\n', " ");
    assert!(contributing.contains(&format!(": {}. Their corpus", names.join(", "))), "CONTRIBUTING.md");
    // Every kind of seed that the table explains runs there as well.
    let (_, kinds) = contributing.split_once("Seeds are of these kinds:").expect("the table of seeds");
    let kinds: Vec<&str> = kinds
        .split('|')
        .filter_map(|cell| cell.split_once("2^3")?.1.split_once('(')?.1.trim().strip_suffix(')'))
        .collect();
    assert!(kinds.len() >= 7, "{kinds:?}");
    assert!(nightly.contains(&format!("[0, {}]", kinds.join(", "))), "nightly.yml: {kinds:?}");
}

#[test]
fn mutations_of_the_corpus() {
    std::thread::scope(|scope| {
        for ((name, target), runs) in TARGETS.into_iter().zip(RUNS) {
            scope.spawn(move || mutations(name, target, runs));
        }
    });
}

fn mutations(name: &str, target: Target, runs: u64) {
    let corpus: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, data)| data).collect();
    for seed in 0..runs {
        let data = mutated(&corpus, &mut Chance::new(seed));
        let passes = catch_unwind(|| target(&data)).is_ok();
        assert!(passes, "{name}, seed {seed}: \"{}\"", data.escape_ascii());
    }
}

/// One input of the corpus with some bytes changed.
fn mutated(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut data = chance.pick(corpus).clone();
    for _ in 0..chance.within(1..=8) {
        let at = chance.below(data.len() as u64 + 1) as usize;
        let end = (at + chance.within(1..=8) as usize).min(data.len());
        match chance.below(6) {
            0 => data[at..end].iter_mut().for_each(|byte| *byte = chance.number() as u8),
            1 => data[at..end].iter_mut().for_each(|byte| *byte ^= 1 << chance.below(8)),
            2 => drop(data.drain(at..end)),
            3 => {
                let again = data[at..end].to_vec();
                data.splice(at..at, again);
            }
            4 => {
                let bytes: Vec<u8> = (0..chance.within(1..=8)).map(|_| chance.number() as u8).collect();
                data.splice(at..at, bytes);
            }
            _ => {
                let other = chance.pick(corpus);
                let from = chance.below(other.len() as u64 + 1) as usize;
                let until = (from + chance.within(1..=64) as usize).min(other.len());
                data.splice(at..at, other[from..until].iter().copied());
            }
        }
    }
    data
}

/// Mutations for each target, in the order of [`TARGETS`]: some seconds of a debug build.
const RUNS: [u64; 11] = [200, 2_000, 5_000, 1_000, 5_000, 400, 5_000, 20_000, 5_000, 60, 2_000];
