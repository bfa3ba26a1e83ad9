//! Transcripts, and what the flight recorder writes: see `qssl_fuzz_targets::transcript`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_fuzz_targets::transcript(data));
