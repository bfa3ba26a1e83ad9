//! A heart and a modem that says anything: see `heart` in targets.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_simulation::fuzz::heart(data));
