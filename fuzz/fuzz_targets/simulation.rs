//! A heart, an emulated modem, and what goes wrong between them: see `simulation` in targets.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_simulation::fuzz::simulation(data));
