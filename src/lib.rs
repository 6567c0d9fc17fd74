//! afteraction keeps and searches what Microsoft Defender live response
//! brought back.

pub mod evidence;
pub mod index;
