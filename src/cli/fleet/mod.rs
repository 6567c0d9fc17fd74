//! Commands that run live response on devices and tell what became of it.

pub mod args;
pub mod run;
