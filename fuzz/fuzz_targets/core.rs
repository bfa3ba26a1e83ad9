//! The core and a modem that sends anything: see `qssl_fuzz_targets::core`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_fuzz_targets::core(data));
