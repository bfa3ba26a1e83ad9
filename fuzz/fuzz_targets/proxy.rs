//! Clients that name their targets: see `qssl_simulation::fuzz::proxy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_simulation::fuzz::proxy(data));
