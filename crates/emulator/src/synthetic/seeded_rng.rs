//! Drawing lots: numbers that look random and depend on the seed and on what
//! they are drawn for, never on the order of calls.

use std::ops::RangeInclusive;
use std::time::Duration;

/// An endless draw for one purpose.
pub(crate) struct SeededRng(blake3::OutputReader);

impl SeededRng {
    /// `parts` say what is drawn for; the same parts draw the same lots.
    pub(crate) fn of(seed: u64, parts: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        for part in parts {
            // The length keeps neighbouring parts apart.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Self(hasher.finalize_xof())
    }

    pub(crate) fn number(&mut self) -> u64 {
        let mut bits = [0u8; 8];
        self.0.fill(&mut bits);
        u64::from_le_bytes(bits)
    }

    /// Below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether something of a likelihood of 0 to 1 happens.
    pub(crate) fn happens(&mut self, likelihood: f64) -> bool {
        self.share() < likelihood
    }

    pub(crate) fn within(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let (least, most) = (*range.start(), *range.end());
        let room = most.saturating_sub(least);
        least.saturating_add(room.mul_f64(self.share()))
    }

    pub(crate) fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> Option<&'a T> {
        let place = self.below(choices.len() as u64) as usize;
        choices.get(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lots_depend_on_their_purpose_and_on_nothing_else() {
        let draw = |seed, parts: &[&str]| SeededRng::of(seed, parts).number();
        assert_eq!(draw(1, &["a", "b"]), draw(1, &["a", "b"]));
        assert_ne!(draw(1, &["a", "b"]), draw(2, &["a", "b"]));
        assert_ne!(draw(1, &["a", "b"]), draw(1, &["ab", ""]));
    }

    #[test]
    fn a_draw_stays_within_its_range() {
        let range = Duration::from_secs(5)..=Duration::from_secs(7);
        let mut lots = SeededRng::of(1, &[]);
        assert!((0..1000).all(|_| range.contains(&lots.within(&range))));
        let point = Duration::from_secs(5)..=Duration::from_secs(5);
        assert_eq!(lots.within(&point), Duration::from_secs(5));
    }
}
