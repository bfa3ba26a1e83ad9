//! The core, an emulated modem, and faults between them: see `qssl_fuzz_targets::simulation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_fuzz_targets::simulation(data));
