//! Clients that name their targets: see `qssl_fuzz_targets::proxy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_fuzz_targets::proxy(data));
