//! Commands that run live response on devices and tell what became of it.

pub mod args;
pub mod coverage;
mod grid;
mod render;
pub mod run;
pub mod status;
mod view;
