//! Hits by how rare their lines are: on how many devices a line stands.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use super::IndexError;
use super::hit::Lister;
use super::lines::without_end;
use super::search::Place;
use super::searcher::Searcher;

/// A hit in its turn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ranked {
    /// Devices the line stands on; the most there can be for a member that is
    /// listed by its fields alone.
    devices: u64,
    /// The first place the line was met at: the same lines follow each other.
    met: u64,
    pub(super) place: Place,
    /// Which of the member's hits it is.
    pub(super) nth: usize,
}

/// Ranks every hit of some members.
///
/// **Memory**: about 60 bytes a hit, and as much again for each device of
/// each distinct line.
pub(super) fn rank(
    searcher: &Searcher,
    lister: &mut Lister<'_>,
    places: &[Place],
) -> Result<Vec<Ranked>, IndexError> {
    let hasher = RandomState::new();
    let mut texts: HashMap<(u32, u32), u64> = HashMap::new();
    let mut lines: HashMap<u64, (u64, HashSet<u64>)> = HashMap::new();
    let mut ranked: Vec<(Option<u64>, Place, usize)> = Vec::new();
    for place in places {
        let device = hasher.hash_one(searcher.device_of(*place)?);
        let found = lister.lines_at(*place)?;
        if found.is_empty() {
            ranked.push((None, *place, 0));
        }
        for (nth, line) in found.iter().enumerate() {
            let text = match texts.get(line) {
                Some(text) => *text,
                None => {
                    let text = hasher.hash_one(without_end(&lister.text_of(*line)?));
                    texts.insert(*line, text);
                    text
                }
            };
            let met = lines.len() as u64;
            let (_, devices) = lines.entry(text).or_insert((met, HashSet::new()));
            devices.insert(device);
            ranked.push((Some(text), *place, nth));
        }
    }
    let ranked = ranked.into_iter().map(|(text, place, nth)| {
        let line = text.and_then(|text| lines.get(&text));
        let (met, devices) = line.map_or((0, u64::MAX), |(met, all)| (*met, all.len() as u64));
        Ranked {
            devices,
            met,
            place,
            nth,
        }
    });
    let mut ranked: Vec<Ranked> = ranked.collect();
    ranked.sort_unstable();
    Ok(ranked)
}
