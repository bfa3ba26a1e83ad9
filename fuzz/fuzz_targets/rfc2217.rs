//! What a device server says: see `rfc2217` in targets.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_simulation::fuzz::rfc2217(data));
