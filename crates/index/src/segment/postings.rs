//! Which owners hold an item: line to chunks, chunk to documents. Items are
//! numbered in the order of their first owner, so the first owner costs a
//! small difference, and only re-occurrences cost more.

use crate::codec::varint::{Bytes, put, u32_at, unzigzag};

/// Items between two entries of the offset table: a look-up decodes at most
/// this many records.
const BLOCK: usize = 64;

/// The lists on disk: records, and the offset of each block of them.
#[derive(Default)]
pub(crate) struct Inverse {
    pub(crate) records: Vec<u8>,
    pub(crate) offsets: Vec<u8>,
}

impl Inverse {
    /// `owners` lists the items of each owner, in the owners' order.
    pub(crate) fn build<'a>(items: usize, owners: impl Iterator<Item = &'a [u32]> + Clone) -> Self {
        let mut starts = vec![0u32; items + 1];
        let mut last = vec![u32::MAX; items];
        let distinct = |last: &mut Vec<u32>, each: &mut dyn FnMut(usize, u32)| {
            last.fill(u32::MAX);
            for (owner, held) in owners.clone().enumerate() {
                for &item in held {
                    let item = item as usize;
                    if last[item] != owner as u32 {
                        last[item] = owner as u32;
                        each(item, owner as u32);
                    }
                }
            }
        };
        distinct(&mut last, &mut |item, _| starts[item + 1] += 1);
        for item in 0..items {
            starts[item + 1] += starts[item];
        }
        let mut next = starts.clone();
        let mut lists = vec![0u32; starts[items] as usize];
        distinct(&mut last, &mut |item, owner| {
            lists[next[item] as usize] = owner;
            next[item] += 1;
        });
        let mut inverse = Self::default();
        let mut previous = 0;
        for item in 0..items {
            if item % BLOCK == 0 {
                let offset = inverse.records.len() as u32;
                inverse.offsets.extend(offset.to_le_bytes());
                previous = 0;
            }
            let list = &lists[starts[item] as usize..starts[item + 1] as usize];
            previous = inverse.add(list, previous);
        }
        inverse
    }

    /// Every item has an owner: what only an abandoned document held is cut
    /// off with it. An item without one would be given its predecessor's.
    fn add(&mut self, list: &[u32], previous: u32) -> u32 {
        let first = list.first().copied().unwrap_or(previous);
        let more = list.len().saturating_sub(1) as u64;
        let step = i64::from(first) - i64::from(previous);
        let zigzag = ((step << 1) ^ (step >> 63)) as u64;
        put(&mut self.records, zigzag << 1 | u64::from(more > 0));
        if more > 0 {
            put(&mut self.records, more);
            for pair in list.windows(2) {
                put(&mut self.records, u64::from(pair[1] - pair[0]));
            }
        }
        first
    }
}

/// Looks owners up. Of ascending items each record is read once at most.
pub(crate) struct Owners<'a> {
    records: &'a [u8],
    offsets: &'a [u8],
    /// What comes next in `rest`.
    next: usize,
    first: i64,
    rest: Option<Bytes<'a>>,
}

impl<'a> Owners<'a> {
    pub(crate) fn new(records: &'a [u8], offsets: &'a [u8]) -> Self {
        Self {
            records,
            offsets,
            next: 0,
            first: 0,
            rest: None,
        }
    }

    /// Calls `each` with every owner of `item`; `None` where they cannot be
    /// read, behind which the others cannot either.
    pub(crate) fn each(&mut self, item: u32, mut each: impl FnMut(u32)) -> Option<()> {
        let item = item as usize;
        let mut bytes = self.open(item)?;
        for place in self.next..=item {
            let head = bytes.next()?;
            self.first = self.first.checked_add(unzigzag(head >> 1))?;
            let more = if head & 1 == 1 { bytes.next()? } else { 0 };
            if place < item {
                bytes.skip(more.try_into().ok()?)?;
                continue;
            }
            let mut owner: u32 = self.first.try_into().ok()?;
            each(owner);
            for _ in 0..more {
                owner = owner.checked_add(bytes.next_u32()?)?;
                each(owner);
            }
        }
        (self.next, self.rest) = (item + 1, Some(bytes));
        Some(())
    }

    /// Goes on where the last item ended, if this one's block is not behind.
    fn open(&mut self, item: usize) -> Option<Bytes<'a>> {
        let block = item / BLOCK;
        let ahead = self.next <= item && self.next > block * BLOCK;
        if let Some(bytes) = self.rest.take().filter(|_| ahead) {
            return Some(bytes);
        }
        (self.next, self.first) = (block * BLOCK, 0);
        let start = u32_at(self.offsets, block)? as usize;
        Some(Bytes::new(self.records.get(start..)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_owner_of_every_item_is_named_once() {
        let owners_of: Vec<Vec<u32>> = (0..300u32)
            .map(|owner| {
                (0..200)
                    .filter(|item| *item == owner || (owner * 7 + item) % 31 == 0)
                    .chain([owner % 200])
                    .collect()
            })
            .collect();
        let inverse = Inverse::build(200, owners_of.iter().map(Vec::as_slice));
        let mut ascending = Owners::new(&inverse.records, &inverse.offsets);
        let mut leaping = Owners::new(&inverse.records, &inverse.offsets);
        for item in 0..200u32 {
            let mut found = Vec::new();
            ascending.each(item, |owner| found.push(owner)).unwrap();
            for (owners, other) in [(&mut leaping, item), (&mut ascending, item)] {
                // In between another one, before it or behind.
                owners.each(item * 7 % 200, |_| ()).unwrap();
                let mut again = Vec::new();
                owners.each(other, |owner| again.push(owner)).unwrap();
                assert_eq!(again, found, "{item}");
            }
            let expected: Vec<u32> = (0..300u32)
                .filter(|owner| owners_of[*owner as usize].contains(&item))
                .collect();
            assert_eq!(found, expected, "{item}");
        }
    }
}
