//! What a host types into the emulated modem: see `qssl_fuzz_targets::emulator`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_fuzz_targets::emulator(data));
