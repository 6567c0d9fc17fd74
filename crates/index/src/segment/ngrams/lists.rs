//! For each gram the groups that hold it: built from the lines of some
//! thousand groups at a time, and read where it stands in the mapped file.
//!
//! A list of a gram is left out where more than half of the groups hold it
//! (it tells little), a bitmap where more than an eighth do, else the steps
//! from group to group. The lists are in the order of grams; a table says
//! where those of each two first characters begin.

use std::cell::Cell;

use crate::codec::varint::{Bytes, put, u32_at};
use crate::segment::ngrams::gram::Gram;
use crate::segment::ngrams::{COUNT, GramQuery, each_gram};

/// Groups in one table of lists. Bounds the memory of the building, 32 bytes
/// a group's distinct gram: about 40 MiB for unique text.
pub(crate) const GROUPS_AT_ONCE: usize = 4096;

/// Grams with the same two first characters stand together.
const BUCKETS: usize = 1 << 12;
const LOW_BITS: u32 = 12;
const LOW: u32 = (1 << LOW_BITS) - 1;
/// Lists of this many groups carry their length, so that they are skipped in
/// one step.
const LONG: u64 = 8;
/// Grams looked up for one literal: more narrow it no further.
const GRAMS_MAX: usize = 16;

/// Builds the lists of some groups, each a run of lines.
///
/// **Cost**: about 8 ns a byte.
pub(crate) fn build<'a, L>(groups: impl ExactSizeIterator<Item = L>) -> Vec<u8>
where
    L: Iterator<Item = &'a [u8]>,
{
    let count = groups.len();
    let mut buckets: Vec<Vec<u32>> = vec![Vec::new(); BUCKETS];
    let mut seen = vec![0u64; COUNT / 64];
    let mut grams: Vec<u32> = Vec::new();
    for (group, lines) in groups.enumerate() {
        for line in lines {
            each_gram(line, |gram| {
                let (word, bit) = (gram as usize / 64, 1 << (gram % 64));
                if seen[word] & bit == 0 {
                    seen[word] |= bit;
                    grams.push(gram);
                }
            });
        }
        for gram in grams.drain(..) {
            seen[gram as usize / 64] = 0;
            buckets[(gram >> LOW_BITS) as usize].push((gram & LOW) << LOW_BITS | group as u32);
        }
    }
    drop(seen);
    write(count, buckets)
}

fn write(count: usize, buckets: Vec<Vec<u32>>) -> Vec<u8> {
    let mut table = Vec::with_capacity((BUCKETS + 1) * 4);
    let mut records = Vec::new();
    let mut sorted = Vec::new();
    for mut bucket in buckets {
        table.extend((records.len() as u32).to_le_bytes());
        sort(&mut bucket, &mut sorted);
        let mut previous = 0;
        for list in bucket.chunk_by(|a, b| a >> LOW_BITS == b >> LOW_BITS) {
            let low = list[0] >> LOW_BITS;
            put(&mut records, u64::from(low - previous));
            previous = low;
            put_list(&mut records, count, list);
        }
    }
    table.extend((records.len() as u32).to_le_bytes());
    let mut out = Vec::with_capacity(4 + table.len() + records.len());
    out.extend((count as u32).to_le_bytes());
    out.extend(table);
    out.extend(records);
    out
}

/// By the gram, groups staying in their order: two passes of six bits.
fn sort(entries: &mut Vec<u32>, spare: &mut Vec<u32>) {
    if entries.is_empty() {
        return;
    }
    for shift in [LOW_BITS, LOW_BITS + 6] {
        let mut starts = [0u32; 65];
        for entry in entries.iter() {
            starts[(entry >> shift & 63) as usize + 1] += 1;
        }
        for n in 0..64 {
            starts[n + 1] += starts[n];
        }
        spare.clear();
        spare.resize(entries.len(), 0);
        for entry in entries.iter() {
            let place = &mut starts[(entry >> shift & 63) as usize];
            spare[*place as usize] = *entry;
            *place += 1;
        }
        std::mem::swap(entries, spare);
    }
}

fn is_everywhere(len: u64, count: usize) -> bool {
    len * 2 > count as u64
}

fn is_bitmap(len: u64, count: usize) -> bool {
    len * 8 > count as u64
}

fn put_list(records: &mut Vec<u8>, count: usize, list: &[u32]) {
    let len = list.len() as u64;
    put(records, len);
    if is_everywhere(len, count) {
        return;
    }
    if is_bitmap(len, count) {
        let start = records.len();
        records.resize(start + count.div_ceil(8), 0);
        for entry in list {
            let group = entry & LOW;
            records[start + group as usize / 8] |= 1 << (group % 8);
        }
        return;
    }
    let mut steps = Vec::with_capacity(list.len() + 8);
    let mut previous = 0;
    for entry in list {
        let group = entry & LOW;
        put(&mut steps, u64::from(group - previous));
        previous = group;
    }
    if len >= LONG {
        put(records, steps.len() as u64);
    }
    records.extend(steps);
}

/// Some groups of a table, a bit each.
type Groups = Vec<u64>;

/// The lists of some groups, as they stand in the file.
pub(crate) struct Lists<'a> {
    count: usize,
    table: &'a [u8],
    records: &'a [u8],
    looked_up: Cell<usize>,
}

impl<'a> Lists<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Option<Self> {
        let count = u32_at(bytes, 0)? as usize;
        let (table, records) = bytes.get(4..)?.split_at_checked((BUCKETS + 1) * 4)?;
        (count <= GROUPS_AT_ONCE).then_some(Self {
            count,
            table,
            records,
            looked_up: Cell::new(0),
        })
    }

    /// At how many places lists were read.
    pub(crate) fn looked_up(&self) -> usize {
        self.looked_up.get()
    }

    /// The groups that may hold what is needed, ascending. `None` where the
    /// lists are damaged.
    pub(crate) fn find(&self, needed: &GramQuery) -> Option<Vec<u32>> {
        let found = self.groups(needed)?;
        let groups = (0..self.count as u32).filter(|group| has(&found, *group));
        Some(groups.collect())
    }

    fn groups(&self, needed: &GramQuery) -> Option<Groups> {
        match needed {
            GramQuery::Anything => Some(self.all()),
            GramQuery::Literal(grams) => {
                let mut found = self.all();
                let step = grams.len().div_ceil(GRAMS_MAX).max(1);
                for gram in grams.iter().step_by(step).chain(grams.last()) {
                    self.keep(gram, &mut found)?;
                    if found.iter().all(|word| *word == 0) {
                        break;
                    }
                }
                Some(found)
            }
            GramQuery::Every(parts) => {
                let mut found = self.all();
                for part in parts {
                    let here = self.groups(part)?;
                    found.iter_mut().zip(here).for_each(|(a, b)| *a &= b);
                    if found.iter().all(|word| *word == 0) {
                        break;
                    }
                }
                Some(found)
            }
            GramQuery::Either(parts) => {
                let mut found = vec![0; self.count.div_ceil(64)];
                for part in parts {
                    let here = self.groups(part)?;
                    found.iter_mut().zip(here).for_each(|(a, b)| *a |= b);
                    if found.iter().all(|word| *word == u64::MAX) {
                        break;
                    }
                }
                Some(found)
            }
        }
    }

    fn all(&self) -> Groups {
        vec![u64::MAX; self.count.div_ceil(64)]
    }

    /// Keeps the groups that hold a gram.
    fn keep(&self, gram: &Gram, found: &mut Groups) -> Option<()> {
        let mut here: Groups = vec![0; found.len()];
        for pair in gram.first_pairs() {
            if !self.gather(pair, gram, &mut here)? {
                return Some(());
            }
        }
        found.iter_mut().zip(here).for_each(|(a, b)| *a &= b);
        Some(())
    }

    /// Puts the groups that hold a gram of these first two characters into
    /// `here`; false where that may be all of them.
    fn gather(&self, pair: u32, gram: &Gram, here: &mut Groups) -> Option<bool> {
        self.looked_up.set(self.looked_up() + 1);
        let bucket = pair as usize;
        let (start, end) = (u32_at(self.table, bucket)?, u32_at(self.table, bucket + 1)?);
        let mut bytes = Bytes::new(self.records.get(start as usize..end as usize)?);
        let last = u64::from(gram.last_pair());
        let mut low = 0u64;
        while let Some(step) = bytes.next() {
            low = low.checked_add(step)?;
            let len = bytes.next()?;
            let is_wanted = low <= last && gram.ends_in(low as u32);
            if is_everywhere(len, self.count) {
                if is_wanted {
                    return Some(false);
                }
            } else if is_bitmap(len, self.count) {
                let bitmap = bytes.take(self.count.div_ceil(8))?;
                if is_wanted {
                    put_bitmap(bitmap, here);
                }
            } else if is_wanted {
                put_steps(&mut bytes, len, here)?;
            } else if len >= LONG {
                let skipped = bytes.next()?.try_into().ok()?;
                bytes.take(skipped)?;
            } else {
                for _ in 0..len {
                    bytes.next()?;
                }
            }
            if low >= last {
                break;
            }
        }
        Some(true)
    }
}

fn put_steps(bytes: &mut Bytes<'_>, len: u64, here: &mut Groups) -> Option<()> {
    if len >= LONG {
        bytes.next()?;
    }
    let mut group = 0u64;
    for _ in 0..len {
        group = group.checked_add(bytes.next()?)?;
        *here.get_mut(group as usize / 64)? |= 1 << (group % 64);
    }
    Some(())
}

fn has(groups: &Groups, group: u32) -> bool {
    let word = groups.get(group as usize / 64).copied().unwrap_or(0);
    word >> (group % 64) & 1 == 1
}

fn put_bitmap(bitmap: &[u8], here: &mut Groups) {
    for (n, word) in here.iter_mut().enumerate() {
        let mut bytes = [0u8; 8];
        let here = bitmap.get(n * 8..).unwrap_or(&[]);
        let len = here.len().min(8);
        bytes[..len].copy_from_slice(&here[..len]);
        *word |= u64::from_le_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists_of(groups: &[Vec<String>]) -> Vec<u8> {
        build(
            groups
                .iter()
                .map(|lines| lines.iter().map(String::as_bytes)),
        )
    }

    fn literal(text: &str) -> GramQuery {
        GramQuery::of_text(text)
    }

    fn pattern(text: &str) -> GramQuery {
        GramQuery::of_pattern(&regex_syntax::parse(text).unwrap())
    }

    /// Groups with text of every frequency: everywhere, often, at times, once.
    fn groups(count: usize) -> Vec<Vec<String>> {
        let lines = |n: usize| {
            let mut lines = vec!["common line".to_string(), format!("own{n:05}x")];
            for (every, text) in [(3, "third"), (5, "fifth"), (40, "fortieth")] {
                if n.is_multiple_of(every) {
                    lines.push(format!("every {text} group"));
                }
            }
            lines
        };
        (0..count).map(lines).collect()
    }

    #[test]
    fn every_gram_is_found_in_the_groups_that_hold_it_and_few_others() {
        for count in [1, 7, 64, 65, 1000, GROUPS_AT_ONCE] {
            let groups = groups(count);
            let bytes = lists_of(&groups);
            let lists = Lists::open(&bytes).unwrap();
            for text in ["common", "third", "every fifth", "fortieth", "own00006x"] {
                let found = lists.find(&literal(text)).unwrap();
                let holds = |n: &u32| groups[*n as usize].iter().any(|line| line.contains(text));
                let expected: Vec<u32> = (0..count as u32).filter(holds).collect();
                assert!(expected.iter().all(|n| found.contains(n)), "{text} {count}");
                if count > 64 && text != "common" {
                    assert_eq!(found, expected, "{text} {count}");
                }
            }
            assert_eq!(lists.find(&literal("absent")).unwrap(), [0u32; 0]);
            assert_eq!(lists.find(&GramQuery::Anything).unwrap().len(), count);
        }
    }

    #[test]
    fn lists_join_as_the_query_says() {
        let bytes = lists_of(&groups(1000));
        let lists = Lists::open(&bytes).unwrap();
        let both = GramQuery::Every(vec![literal("third"), literal("fifth")]);
        let found = lists.find(&both).unwrap();
        assert!(found.iter().all(|n| n % 15 == 0) && found.len() == 67);
        let either = GramQuery::Either(vec![literal("third"), literal("fifth")]);
        assert_eq!(lists.find(&either).unwrap().len(), 334 + 200 - 67);
    }

    #[test]
    fn what_may_be_several_characters_is_found_in_the_groups_that_hold_any() {
        let groups = groups(1000);
        let bytes = lists_of(&groups);
        let lists = Lists::open(&bytes).unwrap();
        for text in ["[0-4]{2}[13]x", "[f-o][o-r][r-t]t[gi]e[ty]h", "[aeiou]rd g"] {
            let regex = regex::Regex::new(text).unwrap();
            let holds = |n: &u32| groups[*n as usize].iter().any(|line| regex.is_match(line));
            let expected: Vec<u32> = (0..1000).filter(holds).collect();
            let needed = pattern(text);
            assert!(needed.narrows(), "{text}");
            assert_eq!(lists.find(&needed).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn damaged_lists_are_no_panic() {
        let bytes = lists_of(&groups(200));
        for at in (0..bytes.len()).step_by(97) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            if let Some(lists) = Lists::open(&damaged) {
                let _ = lists.find(&literal("every fifth"));
                let _ = lists.find(&pattern("[aeiou].[a-f]"));
            }
            if let Some(lists) = Lists::open(&bytes[..at]) {
                let _ = lists.find(&literal("every fifth"));
                let _ = lists.find(&pattern("[aeiou]{4}"));
            }
        }
    }

    #[test]
    fn a_gram_is_four_characters_of_six_bits() {
        assert_eq!(COUNT, BUCKETS << LOW_BITS);
        assert_eq!(COUNT, 64usize.pow(crate::segment::ngrams::LEN as u32));
    }
}
