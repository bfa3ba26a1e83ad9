//! What the modem says: see `decoder` in targets.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_simulation::fuzz::decoder(data));
