//! What a device server sends: see `qssl_fuzz_targets::rfc2217`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_fuzz_targets::rfc2217(data));
