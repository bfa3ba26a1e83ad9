//! Goal of this test: the walls that ARCHITECTURE.md draws stand. Each crate uses only what it may, no module is in two
//! crates at once, the core shows a dozen names, and people read plain words.

use std::fs;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

/// A crate, and every package that it may use.
const MAY_USE: [(&str, &[&str]); 3] = [
    // No I/O, no clock, no command line.
    ("crates/core", &["log", "serde", "sha2", "thiserror", "time"]),
    ("crates/proxy", &["qssl-core", "thiserror"]),
    // Not the program.
    ("crates/simulation", &["log", "qssl-core", "qssl-modem-emulator"]),
];

/// Names that the core shows on its own page, beside the module `settings`.
const CORE_NAMES_MAX: usize = 12;

/// What plain technical English has other words for.
const NOT_IN_USE: [&str; 8] = [
    "from where on",
    "has met",
    "have met",
    "is mended",
    "narrow place",
    "nobody has said",
    "shall",
    "whoever",
];

#[test]
fn each_crate_uses_only_what_it_may() {
    for (package, allowed) in MAY_USE {
        let used = dependencies(package, &["dependencies"]);
        assert!(used.iter().all(|it| allowed.contains(&it.as_str())), "{package} uses {used:?}");
    }
    // One misreading of the manual must not hide on both sides.
    let used = dependencies("crates/emulator", &["dependencies", "dev-dependencies", "build-dependencies"]);
    assert!(used.iter().all(|it| !it.starts_with("qssl-")), "the emulator uses {used:?}");
}

#[test]
fn no_module_is_in_two_crates() {
    for (file, text) in
        texts(&["src/**/*.rs", "crates/**/*.rs", "tests/**/*.rs", "benches/*.rs", "fuzz/fuzz_targets/*.rs"])
    {
        let included = text.lines().find(|line| line.trim_start().starts_with("#[path"));
        assert_eq!(included, None, "{}", file.display());
    }
}

#[test]
fn the_core_shows_a_dozen_names() {
    let lib = fs::read_to_string("crates/core/src/lib.rs").expect("the core");
    let mut names: Vec<&str> = vec![];
    let mut is_hidden = false;
    for line in lib.lines() {
        if let Some(shown) = line.strip_prefix("pub use ").filter(|_| !is_hidden) {
            let list = shown.trim_end_matches([';', '}']);
            let list = list.rsplit_once('{').or(list.rsplit_once("::")).map_or(list, |(_, list)| list);
            names.extend(list.split(", "));
        } else if let Some(shown) = line.strip_prefix("pub mod ").filter(|_| !is_hidden) {
            assert_eq!(shown, "settings;");
        }
        is_hidden = line == "#[doc(hidden)]";
    }
    assert!(names.contains(&"Relay") && names.contains(&"ClientInput"), "{names:?}");
    assert!(names.len() <= CORE_NAMES_MAX, "{names:?}");
}

#[test]
fn people_read_plain_words() {
    let papers = texts(&["*.md", "docs/*.md", "man/*", "packaging/**/*.*", "src/**/*.rs", "crates/**/*.rs"]);
    for (file, text) in papers {
        // A phrase may go on in the next line of a comment.
        let is_between = |character: char| !character.is_ascii_alphanumeric() && character != '_';
        let words: Vec<&str> = text.split(is_between).filter(|word| !word.is_empty()).collect();
        let words = format!(" {} ", words.join(" ").to_lowercase());
        let found = NOT_IN_USE.iter().find(|phrase| words.contains(&format!(" {phrase} ")));
        assert_eq!(found, None, "{}", file.display());
    }
}

/// The packages that a crate names in these sections of its Cargo.toml.
fn dependencies(package: &str, sections: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(Path::new(package).join("Cargo.toml")).expect("a Cargo.toml");
    let manifest = DeTable::parse(&text).expect("TOML").into_inner();
    let tables = sections.iter().filter_map(|section| manifest.get(*section)?.get_ref().as_table());
    let names: Vec<String> = tables.flat_map(|table| table.keys().map(|name| name.to_string())).collect();
    assert!(!names.is_empty(), "{package} uses nothing");
    names
}

/// The files that these patterns name.
fn texts(patterns: &[&str]) -> Vec<(PathBuf, String)> {
    let files = |pattern| {
        let found: Vec<PathBuf> = glob::glob(pattern).expect("a pattern").flatten().collect();
        assert!(!found.is_empty(), "{pattern}");
        found.into_iter().filter(|path| path.is_file())
    };
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(&path).expect("a text"));
    patterns.iter().copied().flat_map(files).map(read).collect()
}
