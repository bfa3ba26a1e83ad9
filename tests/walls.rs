//! Goal of this test: the walls that ARCHITECTURE.md draws stand. Each crate uses only what it may, no module is in two
//! crates at once, the core shows a dozen names, and people read plain words.

use std::fs;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

/// A crate, and every package that it may use.
const MAY_USE: [(&str, &[&str]); 2] = [
    // No I/O, no clock, no command line.
    ("crates/core", &["log", "serde", "sha2", "thiserror", "time"]),
    ("crates/proxy", &["qssl-core", "thiserror"]),
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
    for (file, text) in texts(&["src", "crates", "tests", "benches", "fuzz"], &["rs"]) {
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
    let papers = texts(&["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"], &["md"])
        .chain(texts(&["docs", "man", "packaging"], &["md", "1", "5", "toml", "service", "conf", "rules"]))
        .chain(texts(&["src", "crates"], &["rs"]));
    for (file, text) in papers {
        // A sentence may go on in the next line of a comment.
        let words = text.replace("\n//", " ").replace(['\n', '/'], " ").to_lowercase();
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        for phrase in NOT_IN_USE {
            let found = words.match_indices(phrase).find(|(at, _)| {
                let is_letter =
                    |byte: Option<&u8>| byte.is_some_and(|it| it.is_ascii_alphanumeric() || *it == b'_');
                let bytes = words.as_bytes();
                !is_letter(at.checked_sub(1).and_then(|before| bytes.get(before)))
                    && !is_letter(bytes.get(at + phrase.len()))
            });
            assert_eq!(found, None, "{}", file.display());
        }
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

/// The files with one of these endings, in and below these places.
fn texts(places: &[&str], endings: &[&str]) -> impl Iterator<Item = (PathBuf, String)> {
    let mut left: Vec<PathBuf> = places.iter().map(PathBuf::from).collect();
    let mut found = vec![];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            // What is built below fuzz is not ours.
            let inside = fs::read_dir(&path).expect("a directory").flatten().map(|entry| entry.path());
            left.extend(inside.filter(|it| !it.ends_with("target")));
        } else if path.extension().is_some_and(|ending| endings.iter().any(|it| ending == *it)) {
            let text = fs::read_to_string(&path).expect("a text");
            found.push((path, text));
        }
    }
    assert!(!found.is_empty(), "{places:?}");
    found.into_iter()
}
