//! The configuration file: see `qssl_fuzz_targets::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_fuzz_targets::config(data));
