//! A modem that sends any numbers: see `qssl_fuzz_targets::answers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_fuzz_targets::answers(data));
