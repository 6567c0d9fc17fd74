//! The program as a user runs it.

#[path = "../support/mod.rs"]
mod support;

mod archive;
#[cfg(feature = "emulator")]
mod collect;
mod hostile;
mod import;
mod kill;
#[cfg(feature = "emulator")]
mod memory;
mod search;
