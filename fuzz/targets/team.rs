//! The target `team`, driven by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| plurix_fuzz::run("team", bytes));
