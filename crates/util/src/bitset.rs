//! Bit set over `u32` numbers, in 64-bit words.
//!
//! The words are plain: they can be written to a file and tested in place with
//! [`test_bit`] and [`ones`], without copying them into a [`BitSet`].

/// A set of numbers below a fixed length.
///
/// **Memory**: one bit for each number below the length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BitSet {
    words: Vec<u64>,
}

impl BitSet {
    /// An empty set for numbers below `len`.
    pub fn new(len: usize) -> Self {
        Self {
            words: vec![0; len.div_ceil(64)],
        }
    }

    /// Adds a number; returns whether it was new. A number outside the length
    /// is ignored.
    pub fn insert(&mut self, number: u32) -> bool {
        let (at, mask) = position(number);
        let Some(word) = self.words.get_mut(at) else {
            return false;
        };
        let is_new = *word & mask == 0;
        *word |= mask;
        is_new
    }

    /// Removes a number.
    pub fn remove(&mut self, number: u32) {
        let (at, mask) = position(number);
        if let Some(word) = self.words.get_mut(at) {
            *word &= !mask;
        }
    }

    pub fn contains(&self, number: u32) -> bool {
        test_bit(&self.words, number)
    }

    /// The numbers of the set, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        ones(&self.words)
    }

    /// How many numbers the set holds.
    ///
    /// **Cost**: one pass over the words.
    pub fn count(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Adds every number of another set. Numbers outside the length are
    /// ignored.
    pub fn union_with(&mut self, other: &BitSet) {
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// Keeps only the numbers that another set holds too.
    pub fn intersect_with(&mut self, other: &BitSet) {
        let rest = std::iter::repeat(&0);
        for (word, mask) in self.words.iter_mut().zip(other.words.iter().chain(rest)) {
            *word &= mask;
        }
    }

    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

impl From<Vec<u64>> for BitSet {
    fn from(words: Vec<u64>) -> Self {
        Self { words }
    }
}

/// Whether `words` holds a number. A number outside of them is not held.
pub fn test_bit(words: &[u64], number: u32) -> bool {
    let (at, mask) = position(number);
    words.get(at).is_some_and(|word| word & mask != 0)
}

/// The numbers that `words` holds, in ascending order.
pub fn ones(words: &[u64]) -> impl Iterator<Item = u32> + '_ {
    words.iter().enumerate().flat_map(|(at, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let bit = rest.trailing_zeros();
            (rest != 0).then(|| {
                rest &= rest - 1;
                at as u32 * 64 + bit
            })
        })
    })
}

fn position(number: u32) -> (usize, u64) {
    (number as usize / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_holds_what_was_inserted() {
        let mut set = BitSet::new(130);
        for number in [0, 63, 64, 129] {
            assert!(set.insert(number));
            assert!(!set.insert(number));
        }
        assert!(!set.insert(200), "outside the length");
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert_eq!(set.count(), 4);
        set.remove(64);
        assert!(!set.contains(64));
        assert!(set.contains(129));
        assert!(!set.contains(100_000));
    }

    #[test]
    fn sets_are_combined_word_by_word() {
        let of = |numbers: &[u32]| {
            let mut set = BitSet::new(200);
            for number in numbers {
                set.insert(*number);
            }
            set
        };
        let mut union = of(&[1, 70]);
        union.union_with(&of(&[70, 150]));
        assert_eq!(union, of(&[1, 70, 150]));
        let mut common = of(&[1, 70, 150]);
        common.intersect_with(&BitSet::from(vec![0b10, 0b100_0000]));
        assert_eq!(common, of(&[1, 70]));
        assert!(BitSet::new(10).is_empty());
    }
}
