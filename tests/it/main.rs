//! Tests of the program as a user runs it.

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/zips.rs"]
mod zips;

mod archive;
mod certificate;
#[cfg(feature = "emulator")]
mod collect;
mod compare;
mod damage;
mod docs;
#[cfg(feature = "emulator")]
mod fleet;
#[cfg(feature = "emulator")]
mod fleet_size;
mod hostile;
mod import;
#[cfg(all(target_os = "linux", feature = "keyring"))]
mod keyring;
mod kill;
#[cfg(feature = "emulator")]
mod memory;
mod messages;
mod old_archive;
mod place;
mod query;
mod search;
#[cfg(feature = "emulator")]
mod service;
mod sides;
mod wait;
