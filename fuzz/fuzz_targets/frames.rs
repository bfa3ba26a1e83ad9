//! What the modem sends: see `qssl_simulation::fuzz::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_simulation::fuzz::frames(data));
