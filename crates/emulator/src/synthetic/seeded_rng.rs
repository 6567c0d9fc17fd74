//! Pseudo-random numbers that depend only on a seed and a purpose, never on the
//! order of calls.

use std::ops::RangeInclusive;
use std::time::Duration;

/// An endless stream of pseudo-random numbers for one purpose.
pub(crate) struct SeededRng(blake3::OutputReader);

impl SeededRng {
    /// The same seed and purpose give the same numbers.
    pub(crate) fn new(seed: u64, purpose: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        for part in purpose {
            // The length separates adjacent parts.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(hasher.finalize_xof())
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        let mut bits = [0u8; 8];
        self.0.fill(&mut bits);
        u64::from_le_bytes(bits)
    }

    /// A number below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end.max(1)
    }

    /// A number in 0..1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with a probability of 0 to 1.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    pub(crate) fn duration(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let (least, most) = (*range.start(), *range.end());
        least.saturating_add(most.saturating_sub(least).mul_f64(self.fraction()))
    }

    /// One of the choices; `None` if there are none.
    pub(crate) fn choose<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> Option<&'a T> {
        let index = self.below(choices.len() as u64) as usize;
        choices.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_only_on_seed_and_purpose() {
        let number = |seed, purpose: &[&str]| SeededRng::new(seed, purpose).next_u64();
        assert_eq!(number(1, &["a", "b"]), number(1, &["a", "b"]));
        assert_ne!(number(1, &["a", "b"]), number(2, &["a", "b"]));
        assert_ne!(number(1, &["a", "b"]), number(1, &["ab", ""]));
    }

    #[test]
    fn duration_is_within_its_range() {
        let range = Duration::from_secs(5)..=Duration::from_secs(7);
        let mut rng = SeededRng::new(1, &[]);
        assert!((0..1000).all(|_| range.contains(&rng.duration(&range))));
        let point = Duration::from_secs(5)..=Duration::from_secs(5);
        assert_eq!(rng.duration(&point), Duration::from_secs(5));
    }
}
