//! afteraction keeps and searches what Microsoft Defender live response
//! brought back.

pub mod collect;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod evidence;
