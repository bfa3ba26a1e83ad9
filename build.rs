//! Leaves out of a program for routers what only unwinding needs.
//!
//! A release build aborts when it panics (`panic = "abort"`), and has no names for a backtrace. Yet the standard library
//! brings the tables that unwinding goes by, and the C compiler that links adds an index of them: 330 kB of flash. Test
//! builds unwind, and have the emulated modem, so they are left out only without that.
//!
//! Relocations, which a program at a random address needs, are packed (DT_RELR) if the C library can read them: 95 kB.

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
        if reads_packed_relocations() {
            println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        }
    }
}

/// glibc since 2.36, which must be this machine's. A linker that was chosen may link for another.
fn reads_packed_relocations() -> bool {
    if env::var_os("RUSTC_LINKER").is_some() {
        return false;
    }
    let is_for_this_machine = env::var_os("HOST") == env::var_os("TARGET");
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let version = output.ok().and_then(|it| String::from_utf8(it.stdout).ok());
    let version = version.as_deref().and_then(|it| it.trim().strip_prefix("glibc 2."));
    is_for_this_machine && version.and_then(|it| it.parse::<u32>().ok()).is_some_and(|it| it >= 36)
}
