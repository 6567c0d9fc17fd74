//! Fuzz target of the traversal of containers.
#![no_main]

#[path = "../bodies/members.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::run(bytes));
