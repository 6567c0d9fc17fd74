//! Hits by how rare their lines are: on how many devices a line stands.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use super::IndexError;
use super::found::Found;
use super::hit::Lister;
use super::lines::without_end;
use super::search::Place;
use super::searcher::Searcher;

/// A hit in its turn.
pub(super) struct Ranked {
    /// Devices the line stands on; the most there can be for a member that is
    /// listed by its fields alone.
    devices: u64,
    /// The first place the line was met at: the same lines follow each other.
    met: u64,
    pub(super) place: Place,
    /// `None` for the member itself.
    pub(super) found: Option<Found>,
}

/// Ranks every hit of some members.
///
/// **Memory**: about 150 bytes a hit, and 16 for each device of each distinct
/// line.
pub(super) fn rank(
    searcher: &Searcher,
    lister: &mut Lister<'_>,
    places: &[Place],
) -> Result<Vec<Ranked>, IndexError> {
    let hasher = RandomState::new();
    let mut texts: HashMap<(u32, u32), u64> = HashMap::new();
    let mut lines: HashMap<u64, (u64, HashSet<u64>)> = HashMap::new();
    let mut ranked: Vec<Ranked> = Vec::new();
    for place in places {
        let device = hasher.hash_one(searcher.device_of(*place)?);
        let all = lister.lines_at(*place)?;
        if all.is_empty() {
            ranked.push(Ranked {
                devices: u64::MAX,
                met: 0,
                place: *place,
                found: None,
            });
        }
        for found in all {
            let line = (found.segment, found.line_id);
            let text = match texts.get(&line) {
                Some(text) => *text,
                None => {
                    let text = hasher.hash_one(without_end(&lister.text_of(&found)?));
                    texts.insert(line, text);
                    text
                }
            };
            let met = lines.len() as u64;
            let (_, devices) = lines.entry(text).or_insert((met, HashSet::new()));
            devices.insert(device);
            // Known when all are seen; until then its text stands here.
            ranked.push(Ranked {
                devices: text,
                met: 0,
                place: *place,
                found: Some(found),
            });
        }
    }
    for hit in ranked.iter_mut().filter(|hit| hit.found.is_some()) {
        if let Some((met, devices)) = lines.get(&hit.devices) {
            (hit.met, hit.devices) = (*met, devices.len() as u64);
        }
    }
    // Stable: the hits of a member stay in the order of its text.
    ranked.sort_by_key(|hit| (hit.devices, hit.met, hit.place));
    Ok(ranked)
}
