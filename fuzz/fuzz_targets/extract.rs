//! Fuzz target of the extraction of text.
#![no_main]

#[path = "../bodies/extract.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::run(bytes));
