//! The configuration file: see `qssl_simulation::fuzz::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_simulation::fuzz::config(data));
