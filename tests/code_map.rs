//! Goal of this test: the code maps in the `lib.rs` of program and core list every module with the first sentence of its
//! own documentation. A stale map is rewritten, and the test fails once.

use std::fs;
use std::path::Path;

const BEGIN: &str = "//! | module | what it is |\n//! |---|---|\n";

#[test]
fn the_code_maps_are_fresh() {
    for source in ["src", "crates/core/src"] {
        look_at(&Path::new(env!("CARGO_MANIFEST_DIR")).join(source));
    }
}

fn look_at(source: &Path) {
    let mut rows: Vec<(String, String)> = Vec::new();
    for entry in fs::read_dir(source).expect("src can be read").flatten() {
        let path = entry.path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let file = if path.is_dir() { path.join("mod.rs") } else { path.clone() };
        if name == "lib" || name == "test_clock" || !file.exists() {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file can be read");
        rows.push((name, first_sentence(&text)));
    }
    rows.sort();
    let lib = source.join("lib.rs");
    let text = fs::read_to_string(&lib).expect("lib.rs can be read");
    // Only public modules can be linked.
    let is_public = |name: &str| text.lines().any(|line| line == format!("pub mod {name};"));
    let map: String = rows
        .iter()
        .map(|(name, sentence)| match is_public(name) {
            true => format!("//! | [`{name}`] | {sentence} |\n"),
            false => format!("//! | `{name}` | {sentence} |\n"),
        })
        .collect();

    let begin = text.find(BEGIN).expect("lib.rs has a code map") + BEGIN.len();
    let length: usize =
        text[begin..].split_inclusive('\n').take_while(|line| line.starts_with("//! |")).map(str::len).sum();
    if text[begin..begin + length] != map {
        fs::write(&lib, format!("{}{map}{}", &text[..begin], &text[begin + length..]))
            .expect("lib.rs can be written");
        panic!("the code map in {} was stale; it has been rewritten, run the test again", lib.display());
    }
}

/// The first sentence of the `//!` text at the top of a file.
fn first_sentence(text: &str) -> String {
    let lines = text.lines().take_while(|line| line.starts_with("//!")).map(|line| line[3..].trim());
    let paragraph: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    let paragraph = paragraph.join(" ");
    assert!(!paragraph.is_empty(), "every file begins with a sentence on what it is");
    let end = paragraph.find(". ").map_or(paragraph.len(), |end| end + 1);
    paragraph[..end].trim_end_matches('.').replace('|', "\\|")
}
