//! Comparison of two sides, independent of line order: lines on one side only,
//! lines with different counts, and changed lines.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::groups::Groups;

/// Two lines are paired as changed if they share this fraction of their words.
const ALIKE: f64 = 0.7;
/// Words found in more lines than this are not used to find pairs.
const COMMON: usize = 64;
/// Candidates for pairing per line: those that share the most rare words.
const CANDIDATES: usize = 32;
/// Lines considered for pairing. A side that differs in more lines was not
/// changed but replaced.
const PAIRED_MAX: usize = 20_000;

/// A difference between two sides, by group number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only on the first side.
    Removed(u32),
    /// Only on the second side.
    Added(u32),
    /// The first on the first side, the second on the second side.
    Changed(u32, u32),
    /// On both sides, with different counts.
    Counted(u32),
}

/// Criteria for a difference: one side has the line on at least `min` devices,
/// the other on at most `max`.
#[derive(Clone, Copy, Debug)]
pub struct Pairing {
    pub min: [u32; 2],
    pub max: [u32; 2],
    /// Whether different counts are a difference.
    pub counts: bool,
}

/// Differences between two sides.
#[derive(Clone, Debug, Default)]
pub struct Differing {
    pub changes: Vec<Change>,
    /// Number of lines on both sides.
    pub same: u64,
    /// Whether there were too many differences to look for pairs.
    pub unpaired: bool,
}

/// Finds the differences: changed, removed, added, then counted, each in the
/// order of first occurrence.
///
/// **Cost**: proportional to the words of the differences.
pub fn differing(groups: &Groups, how: &Pairing) -> Differing {
    let mut found = Differing::default();
    let (mut removed, mut added, mut counted) = (Vec::new(), Vec::new(), Vec::new());
    for number in groups.numbers() {
        let sides = [groups.held(number, 0), groups.held(number, 1)];
        // A side can be a member without a known device.
        let on = sides.map(|side| side.devices.len().max(u32::from(side.hits > 0)));
        let is_both = sides.iter().all(|side| side.hits > 0);
        if on[0] >= how.min[0] && on[1] <= how.max[1] {
            removed.push(number);
        } else if on[1] >= how.min[1] && on[0] <= how.max[0] {
            added.push(number);
        } else if is_both && how.counts && sides[0].hits != sides[1].hits {
            counted.push(number);
        } else if is_both {
            found.same += 1;
        }
    }
    let place = |side: usize| move |number: &u32| groups.held(*number, side).first;
    removed.sort_by_key(place(0));
    added.sort_by_key(place(1));
    counted.sort_by_key(place(0));
    found.unpaired = removed.len().max(added.len()) > PAIRED_MAX;
    let pairs = if found.unpaired {
        Vec::new()
    } else {
        pairs(groups, &removed, &added)
    };
    let paired: FxHashSet<u32> = pairs.iter().flat_map(|(a, b)| [*a, *b]).collect();
    let alone = |number: &&u32| !paired.contains(*number);
    let mut changes: Vec<Change> = pairs.iter().map(|(a, b)| Change::Changed(*a, *b)).collect();
    changes.extend(removed.iter().filter(alone).map(|n| Change::Removed(*n)));
    changes.extend(added.iter().filter(alone).map(|n| Change::Added(*n)));
    changes.extend(counted.into_iter().map(Change::Counted));
    found.changes = changes;
    found
}

/// Pairs of similar lines: the most similar first, each line once, in the order
/// of the first side.
fn pairs(groups: &Groups, removed: &[u32], added: &[u32]) -> Vec<(u32, u32)> {
    let mut ids: FxHashMap<&str, u32> = FxHashMap::default();
    let removed_words = words_of(groups, removed, &mut ids);
    let added_words = words_of(groups, added, &mut ids);
    let mut holding: Vec<Vec<u32>> = vec![Vec::new(); ids.len()];
    for (n, words) in (0u32..).zip(&removed_words) {
        for word in words {
            holding[*word as usize].push(n);
        }
    }
    let mut alike: Vec<(f64, usize, usize)> = Vec::new();
    let mut shares = vec![0u32; removed.len()];
    for (n, words) in added_words.iter().enumerate() {
        for other in likely(words, &holding, &mut shares) {
            let share = shared(&removed_words[other], words);
            if share >= ALIKE {
                alike.push((share, other, n));
            }
        }
    }
    alike.sort_by(|a, b| {
        b.0.total_cmp(&a.0)
            .then_with(|| (a.1, a.2).cmp(&(b.1, b.2)))
    });
    let (mut taken, mut given) = (vec![false; removed.len()], vec![false; added.len()]);
    let mut pairs = Vec::new();
    for (_, a, b) in alike {
        if !taken[a] && !given[b] {
            (taken[a], given[b]) = (true, true);
            pairs.push((a, b));
        }
    }
    pairs.sort_unstable();
    pairs
        .into_iter()
        .map(|(a, b)| (removed[a], added[b]))
        .collect()
}

/// Distinct words of each line, as sorted numbers.
fn words_of<'g>(
    groups: &'g Groups,
    numbers: &[u32],
    ids: &mut FxHashMap<&'g str, u32>,
) -> Vec<Vec<u32>> {
    let is_end =
        |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '"' | '\\' | '=' | '<' | '>');
    let of = |number: &u32| {
        let words = groups.text(*number).split(is_end);
        let words = words.filter(|word| !word.is_empty()).map(|word| {
            let next = ids.len() as u32;
            *ids.entry(word).or_insert(next)
        });
        let mut words: Vec<u32> = words.collect();
        words.sort_unstable();
        words.dedup();
        words
    };
    numbers.iter().map(of).collect()
}

/// Lines that share the most rare words, in ascending order.
fn likely(words: &[u32], holding: &[Vec<u32>], shares: &mut [u32]) -> Vec<usize> {
    let few = words.iter().map(|word| &holding[*word as usize]);
    let mut met = Vec::new();
    for other in few.filter(|texts| texts.len() <= COMMON).flatten() {
        let share = &mut shares[*other as usize];
        if *share == 0 {
            met.push(*other as usize);
        }
        *share += 1;
    }
    met.sort_unstable_by_key(|other| (std::cmp::Reverse(shares[*other]), *other));
    met.iter().for_each(|other| shares[*other] = 0);
    met.truncate(CANDIDATES);
    met.sort_unstable();
    met
}

/// Fraction of words that two lines share; both lists are sorted.
fn shared(a: &[u32], b: &[u32]) -> f64 {
    let (mut both, mut rest) = (0, b.iter().peekable());
    for word in a {
        while rest.next_if(|other| *other < word).is_some() {}
        both += u32::from(rest.next_if_eq(&word).is_some());
    }
    2.0 * f64::from(both) / (a.len() + b.len()).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::{Devices, First, GroupKeys, Holding};

    fn groups(sides: [&[&str]; 2]) -> Groups {
        let keys = GroupKeys::new([7; 16]);
        let mut groups = Groups::new(2, 0..=u64::MAX);
        for (side, lines) in sides.into_iter().enumerate() {
            for (n, line) in lines.iter().enumerate() {
                let number = groups.number(keys.of(line), line, false).unwrap();
                groups.add(
                    number,
                    side,
                    &Holding {
                        devices: &Devices::of([side as u32], 2),
                        hits: 1,
                        first: First {
                            rank: side as u32,
                            place: (0, side as u32, n as u64),
                        },
                        last: None,
                    },
                );
            }
        }
        groups
    }

    const PAIRING: Pairing = Pairing {
        min: [1; 2],
        max: [0; 2],
        counts: true,
    };

    fn said(groups: &Groups, change: Change) -> String {
        match change {
            Change::Removed(a) => format!("-{}", groups.text(a)),
            Change::Added(b) => format!("+{}", groups.text(b)),
            Change::Changed(a, b) => format!("{} -> {}", groups.text(a), groups.text(b)),
            Change::Counted(a) => format!("#{}", groups.text(a)),
        }
    }

    #[test]
    fn line_order_is_ignored_and_changed_lines_are_paired() {
        let groups = groups([
            &["one", "tool version 1.0 x y z", "gone", "two", "two"],
            &["two", "one", "new here", "tool version 1.1 x y z"],
        ]);
        let found = differing(&groups, &PAIRING);
        let said: Vec<_> = found.changes.iter().map(|c| said(&groups, *c)).collect();
        assert_eq!(
            said,
            [
                "tool version 1.0 x y z -> tool version 1.1 x y z",
                "-gone",
                "+new here",
                "#two"
            ]
        );
        assert_eq!(found.same, 1);
        let uncounted = Pairing {
            counts: false,
            ..PAIRING
        };
        assert_eq!(differing(&groups, &uncounted).same, 2);
    }
}
