//! Leaves out of a program for routers what only unwinding needs.
//!
//! A release build aborts when it panics (`panic = "abort"`), and has no names for a backtrace. Yet the C compiler that
//! links it adds an index of the tables that unwinding goes by: 40 kB of flash. Test builds unwind, and have the emulated
//! modem, so the index is left out only without that.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_set = |name: &str, value: &str| std::env::var(name).is_ok_and(|it| it == value);
    let is_for_routers = is_set("PROFILE", "release") && std::env::var_os("CARGO_FEATURE_EMULATOR").is_none();
    if is_for_routers && is_set("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    }
}
