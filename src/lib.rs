//! afteraction keeps and searches what Microsoft Defender live response
//! brought back.

pub mod collect;
pub mod evidence;
pub mod extract;
pub mod members;
