//! Transcripts, and what the flight recorder writes: see `qssl_simulation::fuzz::transcript`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_simulation::fuzz::transcript(data));
