//! What a host types into the emulated modem: see `qssl_simulation::fuzz::emulator`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_simulation::fuzz::emulator(data));
