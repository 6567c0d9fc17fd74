//! A gram of which each character may be one of several.

use crate::segment::ngrams::{CLASS_BITS, LEN};

/// The classes a character may have: a bit each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Choice(u64);

impl Choice {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ANY: Self = Self(u64::MAX);

    pub(crate) fn of(class: u8) -> Self {
        Self(1 << class)
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, class: u32) -> bool {
        self.0.unbounded_shr(class) & 1 == 1
    }

    fn last(self) -> u32 {
        self.0.checked_ilog2().unwrap_or(0)
    }

    fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Its classes, ascending.
    fn classes(self) -> impl Iterator<Item = u32> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let class = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            (class < u64::BITS).then_some(class)
        })
    }
}

/// Four characters in a row.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Gram([Choice; LEN]);

impl Gram {
    /// `None` where there are not four.
    pub(crate) fn of(choices: &[Choice]) -> Option<Self> {
        choices.try_into().ok().map(Self)
    }

    /// How many grams it may be.
    pub(crate) fn choices(&self) -> u32 {
        self.0.iter().map(|choice| choice.count()).product()
    }

    /// Whether an end of it may be anything: that tells next to nothing.
    pub(crate) fn is_shorter(&self) -> bool {
        self.0[0] == Choice::ANY || self.0[LEN - 1] == Choice::ANY
    }

    /// How many pairs its first two characters may be.
    pub(crate) fn pairs(&self) -> u32 {
        self.0[0].count() * self.0[1].count()
    }

    /// What its first two characters may be, as one number, ascending.
    pub(crate) fn first_pairs(&self) -> impl Iterator<Item = u32> {
        let [first, second, ..] = self.0;
        let pair = |first: u32| move |second| first << CLASS_BITS | second;
        first
            .classes()
            .flat_map(move |first| second.classes().map(pair(first)))
    }

    /// Whether its last two characters may be these.
    pub(crate) fn ends_in(&self, pair: u32) -> bool {
        let (third, fourth) = (pair >> CLASS_BITS, pair & ((1 << CLASS_BITS) - 1));
        self.0[2].has(third) && self.0[3].has(fourth)
    }

    /// The last pair its last two characters may be.
    pub(crate) fn last_pair(&self) -> u32 {
        self.0[2].last() << CLASS_BITS | self.0[3].last()
    }
}

impl std::fmt::Debug for Gram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let choices = self.0.map(|choice| choice.0);
        write!(f, "{choices:x?}")
    }
}
