//! What to make.

use crate::needle::{PlantedNeedle, usual};
use crate::plan::Shape;

/// Size, shape and seed of a collection, and what is hidden in it.
#[derive(Clone, Debug)]
pub struct GenerateSettings {
    pub seed: u64,
    pub devices: u64,
    /// How much text to make, as a search sees it: decoded and unpacked. What
    /// is made comes near it.
    ///
    /// **Units**: bytes.
    pub text_bytes: u64,
    pub shape: Shape,
    /// What to hide in it.
    pub hidden: Vec<PlantedNeedle>,
}

impl GenerateSettings {
    /// The usual needles in a collection of `shape`, those that it has a place
    /// for.
    pub fn new(shape: Shape, devices: u64, text_bytes: u64) -> Self {
        let mut hidden = usual();
        hidden.retain(|hidden| shape.prints(hidden.section));
        Self {
            seed: 1,
            devices,
            text_bytes,
            shape,
            hidden,
        }
    }
}
