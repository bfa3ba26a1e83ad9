//! Leaves out of a program for routers what only unwinding needs.
//!
//! A release build aborts when it panics (`panic = "abort"`), and has no names for a backtrace. Yet the standard library
//! brings the tables that unwinding goes by, and the C compiler that links adds an index of them: 330 kB of flash. Test
//! builds unwind, and have the emulated modem, so they are left out only without that.

use std::env;

/// For ld and lld, which add it to their own; others may not know it.
const LINKER_SCRIPT: &str = "SECTIONS { /DISCARD/ : { *(.eh_frame) } }\nINSERT AFTER .text;\n";

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
    }
}
