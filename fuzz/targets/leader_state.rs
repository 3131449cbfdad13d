//! The target `leader_state`, driven by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| plurix_fuzz::run("leader_state", bytes));
