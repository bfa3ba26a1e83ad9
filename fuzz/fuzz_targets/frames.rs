//! What the modem sends: see `qssl_fuzz_targets::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_fuzz_targets::frames(data));
