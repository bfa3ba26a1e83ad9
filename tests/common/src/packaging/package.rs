//! Builds the Debian package from Cargo.toml as cargo-deb does it: cargo-deb is not part of Debian.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::de::{DeTable, DeValue};

use super::{packaging, read, run, said, write};
use crate::{program_under_test, top};

/// `[package.metadata.deb]`.
struct Metadata {
    /// Source, target in the package, and permission bits; patterns already resolved.
    assets: Vec<(PathBuf, PathBuf, u32)>,
    conf_files: Vec<String>,
    /// Its licence and those of the crates in the program, in Debian's format.
    copyright: PathBuf,
    changelog: PathBuf,
    summary: String,
    description: String,
    maintainer: String,
}

fn metadata() -> Metadata {
    let text = read(top().join("Cargo.toml"));
    let manifest = DeTable::parse(&text).expect("cargo has read it before").into_inner();
    let table = |keys: &[&str]| {
        keys.iter().fold(&manifest, |table, key| {
            table.get(*key).and_then(|value| value.get_ref().as_table()).unwrap_or_else(|| panic!("no {key}"))
        })
    };
    let deb = table(&["package", "metadata", "deb"]);
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
        copyright: top().join(string("license-file")),
        changelog: top().join(string("changelog")),
        conf_files: list("conf-files").iter().map(|value| text_of(value.get_ref())).collect(),
        summary: text_of(table(&["package"]).get("description").expect("cargo asks for it").get_ref()),
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

/// The files of this pattern. The program is taken from this build; everything else must be in the tree.
fn sources(pattern: &str) -> Vec<PathBuf> {
    if pattern == "target/release/qssl-tunnel" {
        return vec![program_under_test()];
    }
    let pattern = top().join(pattern);
    let found: Vec<PathBuf> = glob::glob(pattern.to_str().expect("a path in UTF-8"))
        .expect("a pattern")
        .map(|path| path.expect("a readable folder"))
        .collect();
    assert!(!found.is_empty(), "nothing is at {}", pattern.display());
    found
}

/// Builds the package of this version with this program in this folder. `units` returns the lines of debhelper for the
/// units, which go into the maintainer script of the given name.
pub fn build(folder: &Path, version: &str, program: &Path, units: impl Fn(&str) -> String) -> PathBuf {
    let tree = folder.join(format!("tree-{version}"));
    let metadata = metadata();
    let mut assets = metadata.assets;
    for (source, name) in [(metadata.copyright, "copyright"), (metadata.changelog, "changelog.Debian")] {
        assets.push((source, Path::new("usr/share/doc/qssl-tunnel").join(name), 0o644));
    }
    for (source, target, mode) in &assets {
        let target = tree.join(target);
        fs::create_dir_all(target.parent().expect("a folder")).expect("the tree is ours");
        let source = if target.ends_with("usr/bin/qssl-tunnel") { program } else { source };
        fs::copy(source, &target).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        fs::set_permissions(&target, fs::Permissions::from_mode(*mode)).expect("the tree is ours");
    }
    let changelog = tree.join("usr/share/doc/qssl-tunnel/changelog.Debian");
    let output = run(Command::new("gzip").arg("-9n").arg(changelog));
    assert!(output.status.success(), "{:?}", said(&output));
    let control = tree.join("DEBIAN");
    let description = metadata.description.replace('\n', "\n ");
    write(
        control.join("control"),
        format!(
            "Package: qssl-tunnel\nVersion: {version}\nArchitecture: all\nMaintainer: {}\nDescription: {}\n {}\n",
            metadata.maintainer, metadata.summary, description
        ),
    );
    write(control.join("conffiles"), metadata.conf_files.join("\n") + "\n");
    for script in SCRIPTS {
        let text = read(packaging().join("debian").join(script)).replace("#DEBHELPER#", &units(script));
        write(control.join(script), text);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(control.join(script), mode).expect("the tree is ours");
    }
    let file = folder.join(format!("qssl-tunnel_{version}.deb"));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Znone", "--build"]).arg(&tree).arg(&file);
    let output = run(&mut build);
    assert!(output.status.success() && output.stderr.is_empty(), "{:?}", said(&output));
    file
}

/// The maintainer scripts.
pub const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
