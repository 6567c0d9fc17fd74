//! Groups of equal texts with the holders of each. A hash finds candidates and
//! the bytes decide, because an attacker controls part of the evidence.

use std::hash::BuildHasher;
use std::ops::RangeInclusive;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// Position of a line, opaque to this crate. Ordered as the lines are read.
pub type LineRef = (u32, u32, u64);

/// Limit for counting the raw texts of one template (8 bytes each). A count of
/// one more means "more".
pub const VARIANTS_COUNTED: usize = 32;

/// Block size of the text storage, so that growing copies nothing.
///
/// **Units**: bytes.
const BLOCK: usize = 1 << 20;
/// Largest set stored as a list; larger sets use one bit per device of the
/// fleet.
const FEW: usize = 6;

/// Hash function for texts, seeded with a random number of the archive, so that
/// an attacker cannot prepare collisions.
#[derive(Clone, Debug)]
pub struct GroupKeys(FixedState);

/// Hash of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupKey(u64);

impl GroupKey {
    pub fn of_number(number: u64) -> Self {
        Self(number)
    }

    pub fn number(self) -> u64 {
        self.0
    }
}

impl GroupKeys {
    pub fn new(seed: [u8; 16]) -> Self {
        let mixed = blake3::hash(&seed);
        let (seed, _) = mixed
            .as_bytes()
            .split_first_chunk()
            .unwrap_or((&[0; 8], &[]));
        Self(FixedState::with_seed(u64::from_le_bytes(*seed)))
    }

    pub fn of(&self, text: &str) -> GroupKey {
        GroupKey(self.0.hash_one(text))
    }
}

/// Set of device numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Devices {
    Few { len: u8, ids: [u32; FEW] },
    Many { len: u32, bits: Box<[u64]> },
}

impl Default for Devices {
    fn default() -> Self {
        Self::Few {
            len: 0,
            ids: [0; FEW],
        }
    }
}

impl Devices {
    /// A set of devices of a fleet with `fleet` devices.
    pub fn of(devices: impl IntoIterator<Item = u32>, fleet: u32) -> Self {
        let mut set = Self::default();
        devices
            .into_iter()
            .for_each(|device| set.add(device, fleet));
        set
    }

    pub fn len(&self) -> u32 {
        match self {
            Self::Few { len, .. } => u32::from(*len),
            Self::Many { len, .. } => *len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The devices in ascending order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match self {
            Self::Few { len, ids } => {
                let mut ids = ids[..usize::from(*len)].to_vec();
                ids.sort_unstable();
                Box::new(ids.into_iter())
            }
            Self::Many { bits, .. } => {
                let words = (0u32..).zip(bits.iter());
                Box::new(words.flat_map(|(n, word)| {
                    let bits = (0..64).filter(move |bit| word >> bit & 1 == 1);
                    bits.map(move |bit| n * 64 + bit)
                }))
            }
        }
    }

    /// Adds a device of a fleet with `fleet` devices.
    pub fn add(&mut self, device: u32, fleet: u32) {
        match self {
            Self::Few { len, ids } => {
                let count = usize::from(*len);
                if ids[..count].contains(&device) {
                    return;
                }
                if count < FEW {
                    ids[count] = device;
                    *len += 1;
                    return;
                }
                let largest = ids.iter().copied().max().unwrap_or(0).max(device);
                let words = (fleet.max(largest + 1) as usize).div_ceil(64);
                let mut many = Self::Many {
                    len: 0,
                    bits: vec![0; words].into(),
                };
                for id in ids.iter().copied().chain([device]) {
                    many.add(id, fleet);
                }
                *self = many;
            }
            Self::Many { len, bits } => {
                if let Some(word) = bits.get_mut(device as usize / 64) {
                    let bit = 1 << (device % 64);
                    *len += u32::from(*word & bit == 0);
                    *word |= bit;
                }
            }
        }
    }

    /// Adds all devices of another set of the same fleet.
    pub fn add_all(&mut self, others: &Self, fleet: u32) {
        match (&mut *self, others) {
            (Self::Many { len, bits }, Self::Many { bits: others, .. })
                if bits.len() == others.len() =>
            {
                for (word, other) in bits.iter_mut().zip(others) {
                    *len += (other & !*word).count_ones();
                    *word |= other;
                }
            }
            (Self::Few { .. }, Self::Many { .. }) => {
                let few = std::mem::replace(self, others.clone());
                few.iter().for_each(|device| self.add(device, fleet));
            }
            (_, Self::Few { len, ids }) => {
                let ids = &ids[..usize::from(*len)];
                ids.iter().for_each(|device| self.add(*device, fleet));
            }
            _ => others.iter().for_each(|device| self.add(device, fleet)),
        }
    }

    /// Heap memory of the set.
    ///
    /// **Units**: bytes.
    fn bytes(&self) -> usize {
        match self {
            Self::Few { .. } => 0,
            Self::Many { bits, .. } => size_of_val::<[u64]>(bits),
        }
    }
}

/// First occurrence of a text: the first member in search order, and the
/// position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct First {
    /// Ordinal of the member: oldest first, members without a time last.
    pub rank: u32,
    pub place: LineRef,
}

/// Holders of a text that are added to a group.
#[derive(Clone, Copy, Debug)]
pub struct Holding<'a> {
    pub devices: &'a Devices,
    /// Number of occurrences.
    pub hits: u64,
    pub first: First,
    /// Last member with a time.
    pub last: Option<u32>,
}

/// All holders of a text.
#[derive(Clone, Debug, Default)]
pub struct GroupHolders {
    pub devices: Devices,
    pub hits: u64,
    pub first: Option<First>,
    pub last: Option<u32>,
}

impl GroupHolders {
    /// The holders, or `None` if there are none.
    pub fn holding(&self) -> Option<Holding<'_>> {
        Some(Holding {
            devices: &self.devices,
            hits: self.hits,
            first: self.first?,
            last: self.last,
        })
    }

    /// Returns the bytes of memory added.
    pub fn add(&mut self, holding: &Holding<'_>, fleet: u32) -> usize {
        let before = self.devices.bytes();
        self.hits += holding.hits;
        if self.first.is_none_or(|first| holding.first < first) {
            self.first = Some(holding.first);
        }
        self.last = self.last.max(holding.last);
        self.devices.add_all(holding.devices, fleet);
        self.devices.bytes() - before
    }
}

/// A text with its holders on each of two sides.
#[derive(Clone, Debug)]
struct Group {
    key: u64,
    /// Block, start, length.
    text: (u32, u32, u32),
    /// Found in a baseline: counted but not printed.
    hidden: bool,
    sides: [GroupHolders; 2],
    variants: Vec<u64>,
}

/// Groups by number.
///
/// **Memory**: the texts, 200 bytes each, 8 bytes for each raw text counted,
/// and one bit per device of the fleet for texts on more than a few devices.
#[derive(Debug)]
pub struct Groups {
    table: HashTable<u32>,
    groups: Vec<Group>,
    blocks: Vec<String>,
    /// Only texts with a hash in this range are stored.
    range: RangeInclusive<u64>,
    fleet: u32,
    /// Estimated memory.
    ///
    /// **Units**: bytes.
    bytes: usize,
}

impl Groups {
    /// Groups for a fleet with `fleet` devices, restricted to texts with a hash
    /// in `range`.
    pub fn new(fleet: u32, range: RangeInclusive<u64>) -> Self {
        Self {
            table: HashTable::new(),
            groups: Vec::new(),
            blocks: Vec::new(),
            range,
            fleet,
            bytes: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Estimated memory.
    ///
    /// **Units**: bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of a text; `None` if its hash is outside the range. A text
    /// that is both visible and hidden has two numbers.
    pub fn number(&mut self, key: GroupKey, text: &str, hidden: bool) -> Option<u32> {
        let GroupKey(key) = key;
        if !self.range.contains(&key) {
            return None;
        }
        let Self {
            table,
            groups,
            blocks,
            ..
        } = self;
        let is = |number: &u32| {
            let group = &groups[*number as usize];
            group.key == key && group.hidden == hidden && text_in(blocks, group.text) == text
        };
        if let Some(known) = table.find(key, is) {
            return Some(*known);
        }
        let number = groups.len() as u32;
        let place = self.keep(text);
        self.groups.push(Group {
            key,
            text: place,
            hidden,
            sides: Default::default(),
            variants: Vec::new(),
        });
        let groups = &self.groups;
        let rehash = |number: &u32| groups[*number as usize].key;
        self.table.insert_unique(key, number, rehash);
        self.bytes += size_of::<Group>() + 8 + text.len();
        Some(number)
    }

    fn keep(&mut self, text: &str) -> (u32, u32, u32) {
        let full = |block: &String| block.len() + text.len() > block.capacity();
        if self.blocks.last().is_none_or(full) {
            self.blocks
                .push(String::with_capacity(BLOCK.max(text.len())));
        }
        let number = self.blocks.len() - 1;
        let block = &mut self.blocks[number];
        let start = block.len();
        block.push_str(text);
        (number as u32, start as u32, text.len() as u32)
    }

    /// Records that a raw text has this template.
    pub fn add_variant(&mut self, number: u32, raw: GroupKey) {
        let variants = &mut self.groups[number as usize].variants;
        if variants.len() <= VARIANTS_COUNTED && !variants.contains(&raw.0) {
            variants.push(raw.0);
            self.bytes += size_of::<u64>();
        }
    }

    /// Adds holders of a text on one side.
    pub fn add(&mut self, number: u32, side: usize, holding: &Holding<'_>) {
        let group = &mut self.groups[number as usize];
        self.bytes += group.sides[side].add(holding, self.fleet);
    }

    pub fn text(&self, number: u32) -> &str {
        text_in(&self.blocks, self.groups[number as usize].text)
    }

    pub fn held(&self, number: u32, side: usize) -> &GroupHolders {
        &self.groups[number as usize].sides[side]
    }

    /// Number of different raw texts, at most [`VARIANTS_COUNTED`] + 1.
    pub fn variants(&self, number: u32) -> u32 {
        self.groups[number as usize].variants.len() as u32
    }

    /// Numbers of the visible texts that have a holder.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.all().filter(|number| {
            let group = &self.groups[*number as usize];
            !group.hidden && group.sides.iter().any(|side| side.hits > 0)
        })
    }

    /// Numbers of all texts.
    pub fn all(&self) -> std::ops::Range<u32> {
        0..self.groups.len() as u32
    }

    /// Number of occurrences of hidden texts.
    pub fn hidden_hits(&self) -> u64 {
        let hidden = self.groups.iter().filter(|group| group.hidden);
        hidden
            .flat_map(|group| &group.sides)
            .map(|side| side.hits)
            .sum()
    }
}

fn text_in(blocks: &[String], (block, start, len): (u32, u32, u32)) -> &str {
    let (start, len) = (start as usize, len as usize);
    let block = blocks.get(block as usize);
    block.and_then(|b| b.get(start..start + len)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_set_contains_each_device_once() {
        let set = Devices::of([9, 3, 9, 70, 1, 2, 4, 130, 130, 199, 0], 200);
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 9, 70, 130, 199]
        );
        assert_eq!(set.len(), 9);
        let few = Devices::of([7, 5], 200);
        assert_eq!(few.iter().collect::<Vec<_>>(), [5, 7]);
        assert_eq!(few.len(), 2);
    }

    #[test]
    fn device_sets_of_all_sizes_are_joined() {
        let set = |devices: &[u32]| Devices::of(devices.iter().copied(), 200);
        let sets: [&[u32]; 5] = [
            &[],
            &[7, 199],
            &[1, 2, 3, 4, 5, 6],
            &[0, 7, 64, 65, 66, 67, 198, 199],
            &[9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 128],
        ];
        for a in sets {
            for b in sets {
                let mut both = set(a);
                both.add_all(&set(b), 200);
                let wanted: std::collections::BTreeSet<u32> = a.iter().chain(b).copied().collect();
                assert_eq!(both.iter().collect::<Vec<_>>(), Vec::from_iter(wanted));
                assert_eq!(both.len() as usize, both.iter().count());
            }
        }
    }

    #[test]
    fn texts_with_equal_hashes_stay_apart() {
        let mut groups = Groups::new(3, 0..=u64::MAX);
        let a = groups.number(GroupKey(7), "a", false);
        let b = groups.number(GroupKey(7), "b", false);
        let hidden = groups.number(GroupKey(7), "a", true);
        assert_eq!((a, b, hidden), (Some(0), Some(1), Some(2)));
        assert_eq!(groups.number(GroupKey(7), "a", false), Some(0));
        // No text has a holder yet.
        assert_eq!((groups.all(), groups.numbers().count()), (0..3, 0));
        let mut half = Groups::new(3, 0..=6);
        assert_eq!(half.number(GroupKey(7), "a", false), None);
    }

    #[test]
    fn first_occurrence_is_independent_of_input_order() {
        let [one, two, three] = [vec![1], vec![1, 2], vec![3]].map(|set| Devices::of(set, 4));
        let holding = |rank, devices, last| Holding {
            devices,
            hits: 2,
            first: First {
                rank,
                place: (0, rank, 1),
            },
            last,
        };
        let mut held = GroupHolders::default();
        held.add(&holding(5, &one, Some(9)), 4);
        held.add(&holding(2, &two, None), 4);
        held.add(&holding(7, &three, Some(4)), 4);
        assert_eq!((held.devices.len(), held.hits), (3, 6));
        assert_eq!(held.first.map(|first| first.rank), Some(2));
        assert_eq!(held.last, Some(9));
    }
}
