//! The distinct lines of the open segment, each stored once and known by its
//! ordinal. A hash finds candidates, the bytes decide.

use std::collections::HashMap;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::codec::line_hash::{Hasher, spread};

/// What is unusual about a line. Most are whole and end in a line feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The bytes of the stored text that are this line's own: the rest stands
    /// in the neighbouring parts too, for matches across the cut.
    pub(crate) own_start: u32,
    pub(crate) own_end: u32,
    /// Begins the line; otherwise it goes on from another part.
    pub(crate) first: bool,
    /// Ends the line.
    pub(crate) last: bool,
    /// A line feed follows. Not so after the last line of some texts.
    pub(crate) terminated: bool,
}

impl Mark {
    pub(crate) fn is_part(&self) -> bool {
        !(self.first && self.last)
    }

    /// **Units**: bytes of the document's text.
    pub(crate) fn own_bytes(&self) -> u32 {
        self.own_end - self.own_start + u32::from(self.terminated)
    }
}

/// Lines are stored in blocks of this size, so that growing copies nothing.
/// Larger than the longest stored part of a line.
const BLOCK: usize = 4 << 20;

#[derive(Clone, Copy)]
struct Place {
    block: u32,
    start: u32,
    len: u32,
}

/// Line bytes by ordinal.
#[derive(Default)]
pub(crate) struct Lines {
    blocks: Vec<Vec<u8>>,
    places: Vec<Place>,
    pub(crate) marks: HashMap<u32, Mark>,
    bytes: u64,
}

impl Lines {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// **Units**: bytes of distinct text held.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The line without its terminator.
    pub(crate) fn get(&self, line: u32) -> &[u8] {
        let place = self.places[line as usize];
        let start = place.start as usize;
        &self.blocks[place.block as usize][start..start + place.len as usize]
    }

    pub(crate) fn get_str(&self, line: u32) -> &str {
        // Lines come from `&str` cut at character borders.
        std::str::from_utf8(self.get(line)).unwrap_or_default()
    }

    fn is(&self, line: u32, bytes: &[u8], mark: Option<Mark>) -> bool {
        self.get(line) == bytes
            && (self.marks.is_empty() && mark.is_none() || self.marks.get(&line).copied() == mark)
    }

    fn push(&mut self, bytes: &[u8]) -> u32 {
        let full = |block: &Vec<u8>| block.len() + bytes.len() > block.capacity();
        if self.blocks.last().is_none_or(full) {
            self.blocks.push(Vec::with_capacity(BLOCK.max(bytes.len())));
        }
        let block = self.blocks.len() - 1;
        let text = &mut self.blocks[block];
        self.places.push(Place {
            block: block as u32,
            start: text.len() as u32,
            len: bytes.len() as u32,
        });
        text.extend_from_slice(bytes);
        self.bytes += bytes.len() as u64 + 1;
        (self.places.len() - 1) as u32
    }
}

/// No line.
const NONE: u32 = u32::MAX;

/// The lines and the table that finds them again.
///
/// What followed a line once mostly follows it again, so the line that is
/// expected is compared first: that spares the table, whose entries lie all
/// over the memory.
pub(crate) struct Dictionary {
    lines: Lines,
    table: HashTable<(u32, u32)>,
    hasher: Hasher,
    /// For each line the one that followed it last.
    followers: Vec<u32>,
    previous: u32,
    expected: u32,
}

impl Dictionary {
    pub(crate) fn new(hasher: Hasher) -> Self {
        Self {
            lines: Lines::default(),
            table: HashTable::new(),
            hasher,
            followers: Vec::new(),
            previous: NONE,
            expected: NONE,
        }
    }

    pub(crate) fn lines(&self) -> &Lines {
        &self.lines
    }

    /// The ordinal of a line, given one where it is new.
    pub(crate) fn add(&mut self, bytes: &[u8], mark: Option<Mark>) -> u32 {
        let expected = self.expected;
        let is_expected =
            (expected as usize) < self.lines.len() && self.lines.is(expected, bytes, mark);
        let line = if is_expected {
            expected
        } else {
            self.look_up(bytes, mark)
        };
        if let Some(follower) = self.followers.get_mut(self.previous as usize) {
            *follower = line;
        }
        if line as usize == self.followers.len() {
            // In the place of the expected line stands a new one: what
            // followed that may follow this.
            let after = self.followers.get(expected as usize);
            self.followers.push(after.copied().unwrap_or(NONE));
        }
        self.expected = self.followers[line as usize];
        self.previous = line;
        line
    }

    fn look_up(&mut self, bytes: &[u8], mark: Option<Mark>) -> u32 {
        let hash = self.hasher.hash(bytes);
        let lines = &self.lines;
        let known = self.table.find(spread(hash), |(other, line)| {
            *other == hash && lines.is(*line, bytes, mark)
        });
        if let Some((_, line)) = known {
            return *line;
        }
        let line = self.lines.push(bytes);
        if let Some(mark) = mark {
            self.lines.marks.insert(line, mark);
        }
        self.table
            .insert_unique(spread(hash), (hash, line), |(hash, _)| spread(*hash));
        line
    }

    /// Forgets every line from ordinal `len` on: what an abandoned document
    /// brought.
    pub(crate) fn truncate(&mut self, len: usize) {
        for line in len..self.lines.len() {
            let hash = self.hasher.hash(self.lines.get(line as u32));
            if let Ok(entry) = self
                .table
                .find_entry(spread(hash), |(_, other)| *other == line as u32)
            {
                entry.remove();
            }
            self.lines.marks.remove(&(line as u32));
        }
        let Some(place) = self.lines.places.get(len).copied() else {
            return;
        };
        let dropped: u64 = self.lines.places[len..]
            .iter()
            .map(|place| u64::from(place.len) + 1)
            .sum();
        self.lines.bytes -= dropped;
        self.lines.places.truncate(len);
        self.followers.truncate(len);
        self.lines.blocks.truncate(place.block as usize + 1);
        if let Some(block) = self.lines.blocks.last_mut() {
            block.truncate(place.start as usize);
        }
    }

    /// The lines alone: nothing is looked up any more.
    pub(crate) fn freeze(self) -> Arc<Lines> {
        Arc::new(self.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colliding_hashes_hide_nothing() {
        for mask in [0, 1, u32::MAX] {
            let mut dictionary = Dictionary::new(Hasher::weak(mask));
            let texts: Vec<String> = (0..200).map(|n| format!("line {n}")).collect();
            for (n, text) in texts.iter().enumerate() {
                assert_eq!(dictionary.add(text.as_bytes(), None), n as u32);
            }
            for (n, text) in texts.iter().enumerate() {
                assert_eq!(dictionary.add(text.as_bytes(), None), n as u32);
                assert_eq!(dictionary.lines().get(n as u32), text.as_bytes());
            }
        }
    }

    #[test]
    fn an_expected_line_is_believed_only_where_it_is_the_same() {
        let mut dictionary = Dictionary::new(Hasher::new());
        let mut ids = HashMap::new();
        let texts = "a b c a b c a x c a b y a b c d x c";
        for text in texts.split(' ') {
            let line = dictionary.add(text.as_bytes(), None);
            assert_eq!(*ids.entry(text).or_insert(line), line, "{text}");
            assert_eq!(dictionary.lines().get(line), text.as_bytes());
        }
        assert_eq!(dictionary.lines().len(), ids.len());
    }

    #[test]
    fn a_truncated_dictionary_knows_the_older_lines_only() {
        let mut dictionary = Dictionary::new(Hasher::new());
        for n in 0..100 {
            dictionary.add(format!("{n}").as_bytes(), None);
        }
        let bytes = dictionary.lines().bytes();
        for n in 100..300 {
            dictionary.add(format!("{n}").as_bytes(), None);
        }
        dictionary.truncate(100);
        assert_eq!(dictionary.lines().bytes(), bytes);
        assert_eq!(dictionary.add(b"50", None), 50);
        assert_eq!(dictionary.add(b"250", None), 100);
        assert_eq!(dictionary.lines().get(100), b"250");
    }

    #[test]
    fn a_line_with_and_without_its_end_are_two() {
        let mut dictionary = Dictionary::new(Hasher::new());
        let mark = Mark {
            own_start: 0,
            own_end: 1,
            first: true,
            last: true,
            terminated: false,
        };
        assert_eq!(dictionary.add(b"a", None), 0);
        assert_eq!(dictionary.add(b"a", Some(mark)), 1);
        assert_eq!(dictionary.add(b"a", None), 0);
        assert_eq!(dictionary.add(b"a", Some(mark)), 1);
    }
}
