//! The target `log_segment`, driven by libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| plurix_fuzz::run("log_segment", bytes));
