//! Leaves out of a program for routers what only unwinding needs.
//!
//! A release build aborts when it panics (`panic = "abort"`), and has no names for a backtrace. Yet the standard library
//! brings the tables that unwinding goes by, and the C compiler that links adds an index of them: 330 kB of flash. Test
//! builds unwind, and have the emulated modem, so they are left out only without that.

use std::env;
use std::process::Command;

/// For ld and lld, which add it to their own; others may not know it. The start files of a static program refer to theirs.
const LINKER_SCRIPT: &str =
    "SECTIONS { /DISCARD/ : { *(EXCLUDE_FILE(*crtbegin*.o *crtend.o) .eh_frame) } }\nINSERT AFTER .text;\n";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_set = |name: &str, value: &str| env::var(name).is_ok_and(|it| it == value);
    let is_for_routers = is_set("PROFILE", "release") && env::var_os("CARGO_FEATURE_EMULATOR").is_none();
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if is_for_routers && is_set("CARGO_CFG_TARGET_OS", "linux") && !flags.contains("-fuse-ld=") {
        let script = env::var("OUT_DIR").expect("cargo sets it") + "/no-unwinding.ld";
        std::fs::write(&script, LINKER_SCRIPT).expect("the folder is ours");
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        println!("cargo::rustc-link-arg-bins=-T{script}");
        for argument in SMALLER {
            if linker_takes(argument, &flags) {
                println!("cargo::rustc-link-arg-bins={argument}");
            }
        }
    }
}

/// Relocations, which a program at a random address needs, are packed (DT_RELR): 95 kB. Of functions with the same code one
/// is kept: 15 kB.
const SMALLER: [&str; 2] = ["-Wl,-z,pack-relative-relocs", "-Wl,--icf=all"];

/// Whether a program that is linked with this runs. That is known only of one for this machine; a linker that was chosen may
/// link for another C library.
fn linker_takes(argument: &str, flags: &str) -> bool {
    if env::var_os("RUSTC_LINKER").is_some() || env::var_os("HOST") != env::var_os("TARGET") {
        return false;
    }
    let folder = env::var("OUT_DIR").expect("cargo sets it");
    let (source, program) = (format!("{folder}/probe.rs"), format!("{folder}/probe"));
    std::fs::write(&source, "fn main() {}").expect("the folder is ours");
    let mut compiler = Command::new(env::var_os("RUSTC").expect("cargo sets it"));
    compiler.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    compiler.args([&source, "-o", &program, "-C", &format!("link-arg={argument}")]);
    let runs = |mut command: Command| command.output().is_ok_and(|output| output.status.success());
    runs(compiler) && runs(Command::new(program))
}
