//! Hits by how rare their lines are: on how many devices a line stands.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use rustc_hash::FxHashMap;

use crate::IndexError;
use crate::search::Place;
use crate::search::cross_line_phrases::Crossed;
use crate::search::hit_lines::Found;
use crate::search::hits::Lister;
use crate::search::multiline::Start;
use crate::search::searcher::Searcher;

/// In place of a text: the member is listed by its fields alone.
const BARE: u32 = u32::MAX;
/// In place of what goes on behind a line's end: nothing does.
const NOTHING: u32 = u32::MAX;

/// Every hit of some members, the rarest first. There may be millions, so
/// little is kept of each.
pub(crate) struct Ranking<'p> {
    places: &'p [Place],
    hits: Vec<Ranked>,
    /// What begins in a line and goes on behind its end: few hits have that.
    over: Vec<(Option<Crossed>, Option<Start>)>,
}

/// A [`Found`] of a member, by its numbers.
struct Ranked {
    /// In the order the texts of lines were met.
    text: u32,
    place: u32,
    segment: u32,
    document: u32,
    line_id: u32,
    over: u32,
    index: u64,
    line: u64,
    offset: u64,
}

/// Ranks every hit of some members, which are in order. Among lines on as many
/// devices the same lines follow each other, and hits stay in order.
///
/// **Memory**: 48 bytes a hit; about 50 a distinct line, and a bit for each
/// device where there are several.
pub(crate) fn rank<'p>(
    searcher: &Searcher,
    lister: &mut Lister<'_>,
    places: &'p [Place],
) -> Result<Ranking<'p>, IndexError> {
    let mut texts = Texts::default();
    let (mut devices, mut holders) = (HashMap::new(), Holders::default());
    let mut ranking = Ranking {
        places,
        hits: Vec::new(),
        over: Vec::new(),
    };
    for (n, place) in places.iter().enumerate() {
        let next = devices.len() as u32;
        let device = *devices.entry(searcher.device_of(*place)?).or_insert(next);
        let lines = lister.lines_at(*place)?;
        if lines.is_empty() {
            ranking.add(n, BARE, None);
        }
        for found in lines {
            let text = texts.number(lister, &found)?;
            holders.add(text, device);
            ranking.add(n, text, Some(found));
        }
    }
    drop(texts);
    let counts = holders.counts();
    ranking.hits.sort_unstable_by_key(|hit| {
        let devices = counts.get(hit.text as usize).copied();
        let within = (hit.segment, hit.document, hit.index);
        // The most there can be for members that are listed by their fields.
        (devices.unwrap_or(u32::MAX), hit.text, hit.place, within)
    });
    Ok(ranking)
}

impl Ranking<'_> {
    fn add(&mut self, place: usize, text: u32, found: Option<Found>) {
        let of = |get: fn(&Found) -> u32| found.as_ref().map_or(0, get);
        let at = |get: fn(&Found) -> u64| found.as_ref().map_or(0, get);
        let over = found.map_or((None, None), |found| (found.crossed, found.start));
        self.hits.push(Ranked {
            text,
            place: place as u32,
            segment: of(|found| found.segment),
            document: of(|found| found.document),
            line_id: of(|found| found.line_id),
            over: match over {
                (None, None) => NOTHING,
                _ => self.over.len() as u32,
            },
            index: at(|found| found.index),
            line: at(|found| found.line),
            offset: at(|found| found.offset),
        });
        if over != (None, None) {
            self.over.push(over);
        }
    }

    /// The member of each hit and where in it; nowhere for the member itself.
    pub(crate) fn hits(&self) -> impl Iterator<Item = (Place, Option<Found>)> {
        self.hits.iter().map(|hit| {
            let place = self.places[hit.place as usize];
            (place, (hit.text != BARE).then(|| self.found(hit)))
        })
    }

    fn found(&self, hit: &Ranked) -> Found {
        let over = self.over.get(hit.over as usize).copied();
        let (crossed, start) = over.unwrap_or_default();
        Found {
            segment: hit.segment,
            document: hit.document,
            line_id: hit.line_id,
            index: hit.index,
            line: hit.line,
            offset: hit.offset,
            crossed,
            start,
        }
    }
}

/// Numbers the texts of lines: the same line of two segments is one text.
#[derive(Default)]
struct Texts {
    /// By segment and line.
    lines: FxHashMap<(u32, u32), u32>,
    /// By hash, which nobody who writes lines can foresee.
    texts: FxHashMap<u64, u32>,
    hasher: RandomState,
}

impl Texts {
    fn number(&mut self, lister: &mut Lister<'_>, found: &Found) -> Result<u32, IndexError> {
        let line = (found.segment, found.line_id);
        if let Some(number) = self.lines.get(&line) {
            return Ok(*number);
        }
        let line_text = lister.text_of(found)?;
        let text = self.hasher.hash_one(&line_text);
        let next = self.texts.len() as u32;
        let number = *self.texts.entry(text).or_insert(next);
        self.lines.insert(line, number);
        Ok(number)
    }
}

/// On which devices each text stands: most of them on one.
#[derive(Default)]
struct Holders {
    first: Vec<u32>,
    /// All devices of a text that stands on several, a bit each.
    several: FxHashMap<u32, Vec<u64>>,
}

impl Holders {
    /// `text` was met before, or is the next one.
    fn add(&mut self, text: u32, device: u32) {
        let Some(first) = self.first.get(text as usize).copied() else {
            self.first.push(device);
            return;
        };
        if first == device {
            return;
        }
        let devices = self.several.entry(text).or_default();
        for device in [first, device] {
            let word = device as usize / 64;
            devices.resize(devices.len().max(word + 1), 0);
            devices[word] |= 1 << (device % 64);
        }
    }

    /// How many devices each text stands on.
    fn counts(self) -> Vec<u32> {
        let mut counts = vec![1; self.first.len()];
        for (text, devices) in self.several {
            counts[text as usize] = devices.iter().map(|word| word.count_ones()).sum();
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_counts_once_for_each_text_whatever_the_order() {
        let mut holders = Holders::default();
        for (text, device) in [(0, 3), (0, 3), (1, 70), (0, 64), (1, 70), (0, 3), (0, 500)] {
            holders.add(text, device);
        }
        assert_eq!(holders.counts(), [3, 1]);
    }

    #[test]
    fn little_is_kept_of_a_hit() {
        assert_eq!(size_of::<Ranked>(), 48);
    }
}
