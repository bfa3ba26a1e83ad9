//! The core and a modem that sends anything: see `qssl_simulation::fuzz::core`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_simulation::fuzz::core(data));
