//! The core, an emulated modem, and faults between them: see `qssl_simulation::fuzz::simulation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_simulation::fuzz::simulation(data));
