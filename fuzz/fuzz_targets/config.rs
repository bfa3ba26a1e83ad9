//! The configuration file: see `config` in targets.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_simulation::fuzz::config(data));
