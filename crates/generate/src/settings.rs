//! Settings of a collection.

use crate::needle::{PlantedNeedle, usual};
use crate::plan::Shape;

/// Size, shape, seed and needles of a collection.
#[derive(Clone, Debug)]
pub struct GenerateSettings {
    pub seed: u64,
    pub devices: u64,
    /// Approximate amount of decoded text.
    ///
    /// **Units**: bytes.
    pub text_bytes: u64,
    pub shape: Shape,
    /// Needles to plant.
    pub hidden: Vec<PlantedNeedle>,
}

impl GenerateSettings {
    /// Settings with the default needles that the shape has a place for.
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
