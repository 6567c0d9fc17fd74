//! Least frequency of occurrence: on how few devices a text stands.
//!
//! A line may be rare because it says something nobody else's lines say (a
//! service nobody has), or because it puts known words together in a way that
//! is rare (a service that everybody has, stopped here). Both are findings;
//! of the second kind a fleet has many, so they stand back a little: a text
//! takes its turn as if it stood on no fewer devices than an eighth of those
//! on which its rarest word stands.

use crate::groups::{Devices, First, GroupHolders, Groups};

/// A word is as rare as a text where it stands on at most this many times as
/// many devices.
const AS_RARE: u32 = 2;
/// Known words put together anew count as this part of how common they are.
const KNOWN_WORDS: u32 = 8;
/// New words of a text that are told.
const NEW_MAX: usize = 32;

/// A text in its turn, without the text: whoever shows it knows the way back.
///
/// **Memory**: about 90 bytes.
#[derive(Clone, Debug)]
pub struct RankRecord {
    pub devices: Devices,
    pub hits: u64,
    pub first: First,
    pub last: Option<u32>,
    pub variants: u32,
    /// On how many devices the rarest of its words stands, in one line.
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

    /// What it is ordered by, first to last: rare first, of those the ones
    /// with the rarest word, of those the oldest.
    pub fn turn(&self) -> (u32, u32, u32, First) {
        // What stands on no known device stands on one that is not known.
        let devices = self.devices.len().max(1);
        let weight = devices.max(self.rarest / KNOWN_WORDS);
        // A word that stands in several lines of its own devices is new too.
        let is_new = self.rarest <= devices.saturating_mul(AS_RARE);
        let rarest = if is_new { devices } else { self.rarest };
        (weight, devices, rarest, self.first)
    }
}

/// Counters of a row of the sketch: what a fleet's words need, few of which
/// then share one.
const COUNTERS: usize = 1 << 21;
/// Of a counter's 64 bits so many may be set and still tell how many devices
/// set them, to about a tenth.
const BITS_TOLD: u32 = 48;
/// So many devices set nearly all of them.
const ALL_BITS: u32 = 256;

/// Counters of words: a bit for each device by its hash, and how many devices
/// the texts with them stand on, summed.
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

    /// On how many devices, about.
    fn spread(&self, at: usize) -> u32 {
        let set = self.bits[at].count_ones();
        if set > BITS_TOLD {
            return self.sums[at];
        }
        let free = f64::from(64 - set) / 64.0;
        (-64.0 * free.ln()).round() as u32
    }
}

/// On how many devices words stand: of the few that matter nearly right, of
/// words that many have about. Only the order depends on it.
///
/// **Memory**: 48 MiB, whatever there is.
#[derive(Debug)]
pub struct Novelty {
    rows: [Counters; 2],
    fleet: u32,
    seed: [u8; 16],
}

impl Novelty {
    /// `seed` is the archive's own, so that nobody can prepare words that share
    /// counters with common ones.
    pub fn new(fleet: u32, seed: [u8; 16]) -> Self {
        Self {
            rows: [Counters::new(), Counters::new()],
            fleet,
            seed,
        }
    }

    /// Learns the words of all texts, hidden ones too.
    pub fn learn(&mut self, groups: &Groups) {
        for number in groups.all() {
            let devices = &groups.held(number, 0).devices;
            let bits = match devices.len() > ALL_BITS {
                true => u64::MAX,
                false => devices.iter().fold(0, |bits, device| bits | bit(device)),
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

    /// On how many devices the rarest word of a text stands at least; on as
    /// many as the text where it has no words.
    fn rarest(&self, text: &str, devices: u32) -> u32 {
        let rarest = words(text).map(|word| self.spread(word)).min();
        rarest.unwrap_or(devices).max(devices)
    }

    /// The words of a text that hardly anybody else has, each once.
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

    /// The record of a text whose words do not count.
    pub fn record(groups: &Groups, number: u32) -> Option<RankRecord> {
        let held = groups.held(number, 0);
        RankRecord::of(held, groups.variants(number), held.devices.len())
    }

    /// The records of all texts that stand on no more than so many devices.
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

/// Words of a text, the words that stand for volatile parts left out.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split([
        ' ', '\t', '"', '\'', ',', ';', '(', ')', '[', ']', '{', '}', '=', '|', '\\', '/',
    ]);
    let is_placeholder = |word: &&str| word.starts_with('<') && word.ends_with('>');
    parts.filter(move |word| !word.is_empty() && !is_placeholder(word))
}

/// A word's counter in each row.
fn places(seed: &[u8; 16], word: &str) -> [usize; 2] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(seed).update(word.as_bytes());
    let hash = hasher.finalize();
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    [[a, b, c, d], [e, f, g, h]].map(|part| u32::from_le_bytes(part) as usize % COUNTERS)
}

/// The bit of a device in a counter.
fn bit(device: u32) -> u64 {
    // As if drawn: numbers in a row must not fall side by side.
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
    fn who_says_much_of_something_new_does_not_make_it_common() {
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
    fn what_is_new_comes_before_known_words_put_together_anew() {
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
        records.sort_by_key(RankRecord::turn);
        let turns: Vec<_> = records.iter().map(|r| r.devices.len()).collect();
        assert_eq!(turns, [3, 1, 40, 60, 99]);
        assert_eq!(
            novelty.new_words("Running Evil relay", 3),
            ["Evil", "relay"]
        );
        assert_eq!(novelty.records(&groups, 3).len(), 2);
    }
}
