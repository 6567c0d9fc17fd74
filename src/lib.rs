#![doc = include_str!("../ARCHITECTURE.md")]

pub mod analyze;
pub mod app;
pub mod cli;
pub mod collect;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod evidence;
pub mod extract;
pub mod generate;
pub mod index;
pub mod members;
pub mod store;
