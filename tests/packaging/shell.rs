//! Goal of this test: shellcheck finds nothing in any shell script of the project.

use std::path::Path;
use std::process::Command;

use qssl_test_common::packaging::{folder, packaging, run, said, write};

fn complaints(script: &Path) -> String {
    let (stdout, stderr) = said(&run(Command::new("shellcheck").arg(script)));
    format!("{stdout}{stderr}")
}

#[test]
fn shellcheck_has_nothing_to_say() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let openwrt = packaging().join("openwrt/files/etc");
    let scripts = [
        top.join("check"),
        top.join(".ci/run"),
        top.join("docs/make-terminal-picture"),
        top.join("docs/make-watch-picture"),
        packaging().join("container/build"),
        packaging().join("debian/postinst"),
        packaging().join("debian/prerm"),
        packaging().join("debian/postrm"),
        packaging().join("debian/make-copyright"),
        top.join("tests/line_discipline/image"),
        top.join("tests/machine/image"),
        top.join("tests/machine/guest"),
        top.join("tests/portability/build"),
        openwrt.join("init.d/qssl-tunnel"),
        openwrt.join("hotplug.d/tty/70-qssl-tunnel"),
    ];
    for script in scripts {
        assert_eq!(complaints(&script), "", "{}", script.display());
    }
}

#[test]
fn shellcheck_would_have_said_something_about_a_slip() {
    let folder = folder();
    let script = folder.path().join("script");
    write(&script, "#!/bin/sh\nrm $1/*\n");
    assert!(complaints(&script).contains("SC2086"));
}
