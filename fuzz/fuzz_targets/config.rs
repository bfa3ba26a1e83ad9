//! The configuration file: see `config` in targets.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qssl_tunnel_fuzz::config(data));
