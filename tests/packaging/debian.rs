//! Goal of this test: a Debian package can be built from Cargo.toml, with every file where Debian requires it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use qssl_test_common::packaging::package::{self, SCRIPTS};
use qssl_test_common::packaging::{folder, packaging, read, run, said, write};
use qssl_test_common::top;

/// Builds the package. Returns its folder and file.
fn package() -> (tempfile::TempDir, PathBuf) {
    let folder = folder();
    // A small script instead of the program: only its name and mode matter here.
    let program = folder.path().join("program");
    write(&program, "#!/bin/sh\n");
    let version = concat!(env!("CARGO_PKG_VERSION"), "-1");
    let file = package::build(folder.path(), version, &program, |_| String::new());
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
        ("-rw-r--r--", "usr/share/doc/qssl-tunnel/changelog.Debian.gz"),
        ("-rw-r--r--", "usr/share/doc/qssl-tunnel/copyright"),
        ("-rw-r--r--", "usr/share/doc/qssl-tunnel/examples/qssl-tunnel.json"),
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

/// Debian wants both in every package: who made it under which licence, and what came with this version.
#[test]
fn copyright_and_changelog_are_those_of_this_version() {
    let (_folder, package) = package();
    let in_it = |path: &str| {
        let script = format!("dpkg-deb --fsys-tarfile \"$1\" | tar -xO ./usr/share/doc/qssl-tunnel/{path}");
        let mut shell = Command::new("sh");
        said(&run(shell.arg("-c").arg(script).arg("sh").arg(&package))).0
    };
    let copyright = in_it("copyright");
    assert!(
        copyright.starts_with("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/")
    );
    assert!(copyright.contains("\nFiles: *\nCopyright: 2026 The qssl-tunnel authors\n"), "{copyright}");
    let changelog = in_it("changelog.Debian.gz | gzip -d");
    let this_version = concat!("qssl-tunnel (", env!("CARGO_PKG_VERSION"), "-1) ");
    assert!(changelog.starts_with(this_version), "{changelog}");
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
    // With these arguments, the scripts change nothing on the machine that runs the tests.
    for (script, argument) in [("postinst", "abort-upgrade"), ("prerm", "remove"), ("postrm", "upgrade")] {
        let path = packaging().join("debian").join(script);
        let output = run(Command::new("sh").arg(path).arg(argument));
        assert!(output.status.success(), "{script} {argument}: {:?}", said(&output));
        assert_eq!(said(&output), (String::new(), String::new()), "{script} {argument}");
    }
}

#[test]
fn licences_are_listed_for_every_crate_that_is_linked_in() {
    let script = packaging().join("debian/make-copyright");
    let output = run(Command::new(&script).arg("--names"));
    let (names, errors) = said(&output);
    assert!(output.status.success(), "{errors}");
    let copyright = read(packaging().join("debian/copyright"));
    let listed = copyright.lines().filter_map(|line| line.strip_prefix("Files: ")?.strip_suffix("/*"));
    let linked: BTreeSet<&str> = names.lines().collect();
    assert!(linked.len() > 30, "{linked:?}");
    assert_eq!(listed.collect::<BTreeSet<_>>(), linked, "run {}", script.display());
}
