//! Goal of this test: what Cargo.toml says of the Debian package can be built into one, with everything
//! where Debian wants it.
//!
//! `cargo deb` builds the package that is shipped; it is no part of Debian, so the same tree is put together
//! here from the same metadata, and dpkg-deb has to build and read it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::de::{DeTable, DeValue};

use super::tools::{folder, packaging, read, run, said, write};

/// `[package.metadata.deb]`.
struct Metadata {
    /// Source, target in the package, and permission bits; patterns already resolved.
    assets: Vec<(PathBuf, PathBuf, u32)>,
    conf_files: Vec<String>,
    description: String,
    maintainer: String,
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn metadata() -> Metadata {
    let text = read(top().join("Cargo.toml"));
    let manifest = DeTable::parse(&text).expect("cargo has read it before").into_inner();
    let deb = ["package", "metadata", "deb"].iter().fold(&manifest, |table, key| {
        table.get(*key).and_then(|value| value.get_ref().as_table()).unwrap_or_else(|| panic!("no {key}"))
    });
    let text_of = |value: &DeValue<'_>| value.as_str().expect("a string").to_owned();
    let list = |key: &str| deb.get(key).and_then(|value| value.get_ref().as_array()).expect("an array");
    let string = |key: &str| text_of(deb.get(key).expect("a key that cargo deb needs").get_ref());

    let mut assets = Vec::new();
    for asset in list("assets") {
        let parts: Vec<String> = asset
            .get_ref()
            .as_array()
            .expect("an array of source, target and mode")
            .iter()
            .map(|part| text_of(part.get_ref()))
            .collect();
        let mode = u32::from_str_radix(&parts[2], 8).expect("permission bits");
        for source in sources(&parts[0]) {
            let name = source.file_name().expect("a file");
            let is_folder = parts[1].ends_with('/');
            let target = if is_folder { Path::new(&parts[1]).join(name) } else { parts[1].clone().into() };
            assets.push((source, target, mode));
        }
    }
    // cargo-deb installs every unit of this name that it finds in the folder.
    assert_eq!(units_folder(deb), "packaging/systemd");
    for unit in ["qssl-tunnel.service", "qssl-tunnel.socket"] {
        let source = packaging().join("systemd").join(unit);
        assets.push((source, Path::new("usr/lib/systemd/system").join(unit), 0o644));
    }
    Metadata {
        assets,
        conf_files: list("conf-files").iter().map(|value| text_of(value.get_ref())).collect(),
        description: string("extended-description"),
        maintainer: string("maintainer"),
    }
}

fn units_folder(deb: &DeTable<'_>) -> String {
    let units = deb.get("systemd-units").and_then(|units| units.get_ref().as_table()).expect("units");
    let word = |key: &str| units.get(key).and_then(|value| value.get_ref().as_str()).expect("a string");
    assert_eq!(word("unit-name"), "qssl-tunnel");
    for switch in ["enable", "start"] {
        let is_on = units.get(switch).and_then(|value| value.get_ref().as_bool());
        assert_eq!(is_on, Some(false), "{switch}: the example leads nowhere");
    }
    word("unit-scripts").to_owned()
}

/// The program is where this build has it; everything else must be in the tree.
fn sources(pattern: &str) -> Vec<PathBuf> {
    if pattern == "target/release/qssl-tunnel" {
        return vec![env!("CARGO_BIN_EXE_qssl-tunnel").into()];
    }
    let pattern = top().join(pattern);
    let found: Vec<PathBuf> = glob::glob(pattern.to_str().expect("a path in UTF-8"))
        .expect("a pattern")
        .map(|path| path.expect("a readable folder"))
        .collect();
    assert!(!found.is_empty(), "nothing is at {}", pattern.display());
    found
}

/// Builds the package and gives its file and folder.
fn package() -> (tempfile::TempDir, PathBuf) {
    let folder = folder();
    let tree = folder.path().join("tree");
    let metadata = metadata();
    for (source, target, mode) in &metadata.assets {
        let target = tree.join(target);
        fs::create_dir_all(target.parent().expect("a folder")).expect("the tree is ours");
        // The program is large, and dpkg-deb only looks at its name and mode here.
        match target.ends_with("usr/bin/qssl-tunnel") {
            true => write(&target, "#!/bin/sh\n"),
            false => write(&target, read(source)),
        }
        fs::set_permissions(&target, fs::Permissions::from_mode(*mode)).expect("the tree is ours");
    }
    let control = tree.join("DEBIAN");
    let description = metadata.description.replace('\n', "\n ");
    write(
        control.join("control"),
        format!(
            "Package: qssl-tunnel\nVersion: {}-1\nArchitecture: all\nMaintainer: {}\nDescription: {}\n {}\n",
            env!("CARGO_PKG_VERSION"),
            metadata.maintainer,
            env!("CARGO_PKG_DESCRIPTION"),
            description
        ),
    );
    write(control.join("conffiles"), metadata.conf_files.join("\n") + "\n");
    for script in SCRIPTS {
        let text = read(packaging().join("debian").join(script)).replace("#DEBHELPER#", "");
        write(control.join(script), text);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(control.join(script), mode).expect("the tree is ours");
    }
    let file = folder.path().join("qssl-tunnel.deb");
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Znone", "--build"]).arg(&tree).arg(&file);
    let output = run(&mut build);
    assert!(output.status.success() && output.stderr.is_empty(), "{:?}", said(&output));
    (folder, file)
}

/// Mode and path of every file in the package.
fn contents(package: &Path) -> BTreeSet<(String, String)> {
    let (stdout, stderr) = said(&run(Command::new("dpkg-deb").arg("--contents").arg(package)));
    assert_eq!(stderr, "");
    let entries = stdout.lines().map(|line| {
        let mut words = line.split_whitespace();
        let mode = words.next().expect("a mode").to_owned();
        let path = words.next_back().expect("a path").trim_start_matches("./").to_owned();
        (mode, path)
    });
    entries.filter(|(mode, _)| !mode.starts_with('d')).collect()
}

#[test]
fn everything_is_where_debian_wants_it() {
    let (_folder, package) = package();
    let expected = [
        ("-rwxr-xr-x", "usr/bin/qssl-tunnel"),
        ("-rw-r--r--", "etc/qssl-tunnel.toml"),
        ("-rw-r--r--", "usr/lib/systemd/system/qssl-tunnel.service"),
        ("-rw-r--r--", "usr/lib/systemd/system/qssl-tunnel.socket"),
        ("-rw-r--r--", "usr/lib/udev/rules.d/70-qssl-tunnel.rules"),
        ("-rw-r--r--", "usr/share/bash-completion/completions/qssl-tunnel"),
        ("-rw-r--r--", "usr/share/doc/qssl-tunnel/README.md"),
        ("-rw-r--r--", "usr/share/doc/qssl-tunnel/examples/lan-listeners.conf"),
        ("-rw-r--r--", "usr/share/doc/qssl-tunnel/examples/rfc2217.conf"),
        ("-rw-r--r--", "usr/share/doc/qssl-tunnel/examples/socket-owners.conf"),
        ("-rw-r--r--", "usr/share/fish/vendor_completions.d/qssl-tunnel.fish"),
        ("-rw-r--r--", "usr/share/man/man1/qssl-tunnel.1"),
        ("-rw-r--r--", "usr/share/man/man5/qssl-tunnel.toml.5"),
        ("-rw-r--r--", "usr/share/zsh/vendor-completions/_qssl-tunnel"),
    ];
    let expected = expected.map(|(mode, path)| (mode.to_owned(), path.to_owned()));
    assert_eq!(contents(&package), BTreeSet::from(expected));
}

#[test]
fn what_an_administrator_edits_and_nothing_else_is_a_conffile() {
    let (_folder, package) = package();
    let in_etc: Vec<String> = contents(&package)
        .into_iter()
        .filter_map(|(_, path)| path.starts_with("etc/").then(|| format!("/{path}")))
        .collect();
    let mut info = Command::new("dpkg-deb");
    let (conf_files, _) = said(&run(info.arg("--info").arg(&package).arg("conffiles")));
    assert_eq!(conf_files.lines().collect::<Vec<_>>(), in_etc);
}

#[test]
fn dpkg_reads_the_description_as_it_was_written() {
    let (_folder, package) = package();
    let field = |name: &str| {
        let mut command = Command::new("dpkg-deb");
        said(&run(command.arg("--field").arg(&package).arg(name))).0
    };
    assert_eq!(field("Version"), concat!(env!("CARGO_PKG_VERSION"), "-1"));
    let description = field("Description");
    assert_eq!(description.lines().next(), Some(env!("CARGO_PKG_DESCRIPTION")));
    assert!(description.lines().count() > 1, "{description}");
    assert!(field("Maintainer").contains('@'));
}

#[test]
fn maintainer_scripts_leave_room_for_the_units() {
    let text = read(top().join("Cargo.toml"));
    assert!(text.contains("maintainer-scripts = \"packaging/debian/\""), "else cargo deb leaves units alone");
    for script in SCRIPTS {
        let path = packaging().join("debian").join(script);
        let text = read(&path);
        assert!(text.starts_with("#!/bin/sh\n"), "{script}");
        assert!(text.lines().any(|line| line == "set -e"), "{script}");
        assert_eq!(text.lines().filter(|line| *line == "#DEBHELPER#").count(), 1, "{script}");
        let mode = fs::metadata(&path).expect("it was just read").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script}");
    }
}

#[test]
fn maintainer_scripts_run_on_a_machine_without_udev_and_units() {
    // Arguments with which these scripts touch nothing of the machine that runs the tests.
    for (script, argument) in [("postinst", "abort-upgrade"), ("prerm", "remove"), ("postrm", "remove")] {
        let path = packaging().join("debian").join(script);
        let output = run(Command::new("sh").arg(path).arg(argument));
        assert!(output.status.success(), "{script} {argument}: {:?}", said(&output));
        assert_eq!(said(&output), (String::new(), String::new()), "{script} {argument}");
    }
}

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
