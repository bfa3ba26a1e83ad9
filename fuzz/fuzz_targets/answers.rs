//! A modem that sends any numbers: see `qssl_simulation::fuzz::answers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_simulation::fuzz::answers(data));
