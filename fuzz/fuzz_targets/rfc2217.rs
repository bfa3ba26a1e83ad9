//! What a device server sends: see `qssl_simulation::fuzz::rfc2217`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_simulation::fuzz::rfc2217(data));
