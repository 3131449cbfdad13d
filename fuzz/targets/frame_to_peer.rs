//! The target `frame_to_peer`, driven by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| plurix_fuzz::run("frame_to_peer", bytes));
