//! Least frequency of occurrence: ranks texts by the number of devices they are
//! found on.
//!
//! A line is rare for one of two reasons: it contains a rare word (a service
//! that no other device has), or it combines common words in a rare way (a
//! common service, stopped on this device). The second kind is frequent and is
//! ranked lower: a text counts as if it were on at least 1/8 of the devices of
//! its rarest word.

use crate::groups::{Devices, First, GroupHolders, Groups};

/// A word is as rare as its text if it is found on at most this many times as
/// many devices.
const AS_RARE: u32 = 2;
/// Divisor of the device count of the rarest word of a text.
const KNOWN_WORDS: u32 = 8;
/// Limit of rare words reported for a text.
const NEW_MAX: usize = 32;

/// Rank of a text, without the text itself.
///
/// **Memory**: about 90 bytes.
#[derive(Clone, Debug)]
pub struct RankRecord {
    pub devices: Devices,
    pub hits: u64,
    pub first: First,
    pub last: Option<u32>,
    pub variants: u32,
    /// Estimated number of devices of its rarest word.
    pub rarest: u32,
}

impl RankRecord {
    fn of(held: &GroupHolders, variants: u32, rarest: u32) -> Option<Self> {
        Some(Self {
            devices: held.devices.clone(),
            hits: held.hits,
            first: held.first?,
            last: held.last,
            variants,
            rarest,
        })
    }

    /// Sort key: fewest devices first, then the rarest word, then the oldest.
    pub fn sort_key(&self) -> (u32, u32, u32, First) {
        // A text on no known device counts as on one.
        let devices = self.devices.len().max(1);
        let weight = devices.max(self.rarest / KNOWN_WORDS);
        // A word in several lines of the same devices is rare too.
        let is_new = self.rarest <= devices.saturating_mul(AS_RARE);
        let rarest = if is_new { devices } else { self.rarest };
        (weight, devices, rarest, self.first)
    }
}

/// Counters of a row of the sketch: enough for the words of a fleet with few
/// collisions.
const COUNTERS: usize = 1 << 21;
/// Number of set bits of a 64-bit counter up to which it estimates the devices
/// to about a tenth.
const BITS_USABLE: u32 = 48;
/// A counter with this many devices has nearly all bits set.
const ALL_BITS: u32 = 256;

/// Word counters: one bit per device by its hash, and the sum of the device
/// counts of the texts with the word.
#[derive(Debug)]
struct Counters {
    bits: Vec<u64>,
    sums: Vec<u32>,
}

impl Counters {
    fn new() -> Self {
        Self {
            bits: vec![0; COUNTERS],
            sums: vec![0; COUNTERS],
        }
    }

    fn add(&mut self, at: usize, bits: u64, devices: u32) {
        self.bits[at] |= bits;
        self.sums[at] = self.sums[at].saturating_add(devices);
    }

    /// Estimated number of devices.
    fn spread(&self, at: usize) -> u32 {
        let set = self.bits[at].count_ones();
        if set > BITS_USABLE {
            return self.sums[at];
        }
        let free = f64::from(64 - set) / 64.0;
        (-64.0 * free.ln()).round() as u32
    }
}

/// Estimates the number of devices of each word. Accurate for rare words and
/// rough for common ones; only the order of rows depends on it.
///
/// **Memory**: 48 MiB in every case.
#[derive(Debug)]
pub struct Novelty {
    rows: [Counters; 2],
    fleet: u32,
    seed: [u8; 16],
}

impl Novelty {
    /// `seed` is the random number of the archive, so that an attacker cannot
    /// prepare words that share counters with common ones.
    pub fn new(fleet: u32, seed: [u8; 16]) -> Self {
        Self {
            rows: [Counters::new(), Counters::new()],
            fleet,
            seed,
        }
    }

    /// Counts the words of all texts, hidden ones included.
    pub fn learn(&mut self, groups: &Groups) {
        for number in groups.all() {
            let devices = &groups.held(number, 0).devices;
            let bits = if devices.len() > ALL_BITS {
                u64::MAX
            } else {
                devices.iter().fold(0, |bits, device| bits | bit(device))
            };
            for word in words(groups.text(number)) {
                for (row, at) in self.rows.iter_mut().zip(places(&self.seed, word)) {
                    row.add(at, bits, devices.len());
                }
            }
        }
    }

    fn spread(&self, word: &str) -> u32 {
        let places = places(&self.seed, word);
        let spreads = self.rows.iter().zip(places).map(|(row, at)| row.spread(at));
        spreads.min().unwrap_or(0).min(self.fleet)
    }

    /// Estimated devices of the rarest word of a text; at least the devices of
    /// the text.
    fn rarest(&self, text: &str, devices: u32) -> u32 {
        let rarest = words(text).map(|word| self.spread(word)).min();
        rarest.unwrap_or(devices).max(devices)
    }

    /// Distinct words of a text that hardly occur elsewhere.
    pub fn new_words<'t>(&self, text: &'t str, devices: u32) -> Vec<&'t str> {
        let most = devices.max(1).saturating_mul(AS_RARE);
        let mut new: Vec<&str> = Vec::new();
        for word in words(text).filter(|word| self.spread(word) <= most) {
            if new.len() < NEW_MAX && !new.contains(&word) {
                new.push(word);
            }
        }
        new
    }

    /// Rank of a text without regard to its words.
    pub fn record(groups: &Groups, number: u32) -> Option<RankRecord> {
        let held = groups.held(number, 0);
        RankRecord::of(held, groups.variants(number), held.devices.len())
    }

    /// Ranks of all texts on at most `devices_max` devices.
    pub fn records(&self, groups: &Groups, devices_max: u32) -> Vec<RankRecord> {
        let few = |number: &u32| groups.held(*number, 0).devices.len() <= devices_max;
        let records = groups.numbers().filter(few).filter_map(|number| {
            let held = groups.held(number, 0);
            let rarest = self.rarest(groups.text(number), held.devices.len());
            RankRecord::of(held, groups.variants(number), rarest)
        });
        records.collect()
    }
}

/// Words of a text without the placeholders of volatile parts.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split([
        ' ', '\t', '"', '\'', ',', ';', '(', ')', '[', ']', '{', '}', '=', '|', '\\', '/',
    ]);
    let is_placeholder = |word: &&str| word.starts_with('<') && word.ends_with('>');
    parts.filter(move |word| !word.is_empty() && !is_placeholder(word))
}

/// Counter of a word in each row.
fn places(seed: &[u8; 16], word: &str) -> [usize; 2] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(seed).update(word.as_bytes());
    let hash = hasher.finalize();
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    [[a, b, c, d], [e, f, g, h]].map(|part| u32::from_le_bytes(part) as usize % COUNTERS)
}

/// Bit of a device in a counter.
fn bit(device: u32) -> u64 {
    // Mixes the bits, so that consecutive numbers do not share bits.
    let mut mixed = u64::from(device).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    1 << (mixed >> 58)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::{GroupKeys, Holding};

    fn groups(lines: &[(&str, std::ops::Range<u32>)]) -> Groups {
        let keys = GroupKeys::new([7; 16]);
        let mut groups = Groups::new(100, 0..=u64::MAX);
        for (rank, (text, devices)) in (0u32..).zip(lines) {
            let number = groups.number(keys.of(text), text, false).unwrap();
            groups.add_variant(number, keys.of(text));
            let devices = Devices::of(devices.clone(), 100);
            groups.add(
                number,
                0,
                &Holding {
                    devices: &devices,
                    hits: u64::from(devices.len()),
                    first: First {
                        rank,
                        place: (0, 0, u64::from(rank)),
                    },
                    last: Some(rank),
                },
            );
        }
        groups
    }

    #[test]
    fn repeating_a_new_word_does_not_make_it_common() {
        let lines: Vec<String> = (0..400).map(|n| format!("evilsvc alpha{n}")).collect();
        let mut texts: Vec<_> = lines.iter().map(|line| (line.as_str(), 7..8)).collect();
        texts.push(("Running Tool", 0..40));
        texts.push(("Running BITS", 0..99));
        let groups = groups(&texts);
        let mut novelty = Novelty::new(100, [7; 16]);
        novelty.learn(&groups);
        assert_eq!(novelty.new_words("evilsvc Running", 1), ["evilsvc"]);
        let spread = novelty.spread("Tool");
        assert!((30..=50).contains(&spread), "{spread}");
        let spread = novelty.spread("Running");
        assert!((75..=100).contains(&spread), "{spread}");
    }

    #[test]
    fn new_words_rank_before_new_combinations_of_known_words() {
        let groups = groups(&[
            ("Running Spooler", 0..99),
            ("Stopped BITS", 0..60),
            ("Stopped Spooler", 0..1),
            ("Running Evil relay", 3..6),
            ("Running Tool", 0..40),
        ]);
        let mut novelty = Novelty::new(100, [7; 16]);
        novelty.learn(&groups);
        let mut records = novelty.records(&groups, u32::MAX);
        records.sort_by_key(RankRecord::sort_key);
        let counts: Vec<_> = records.iter().map(|r| r.devices.len()).collect();
        assert_eq!(counts, [3, 1, 40, 60, 99]);
        assert_eq!(
            novelty.new_words("Running Evil relay", 3),
            ["Evil", "relay"]
        );
        assert_eq!(novelty.records(&groups, 3).len(), 2);
    }
}
