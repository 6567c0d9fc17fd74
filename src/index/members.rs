//! From matching lines to the contents that hold them.

use std::collections::{BTreeMap, HashMap};

use super::IndexError;
use super::lines::{LineSets, Read, Way};
use super::searcher::Searcher;
use crate::evidence::Sha256;

/// A content with some of the texts.
#[derive(Default)]
pub(super) struct Matched {
    /// A bit for each text of the query.
    pub(super) mask: u64,
    /// Its documents with lines to list: segment and ordinal, ascending.
    pub(super) documents: Vec<(u32, u32)>,
}

/// What matched in one segment, for listing.
#[derive(Default)]
pub(super) struct Listed {
    /// Lines that are hits, ascending.
    pub(super) lines: Vec<u32>,
    /// Chunks that hold such lines, ascending.
    pub(super) chunks: Vec<u32>,
}

/// Contents by hash, and what to list by segment.
#[derive(Default)]
pub(super) struct Matches {
    pub(super) contents: HashMap<Sha256, Matched>,
    pub(super) listed: Vec<Listed>,
    /// How each text was looked for, segment by segment.
    pub(super) ways: Vec<Vec<Way>>,
    /// How many distinct lines each text matched.
    pub(super) lines: Vec<u64>,
    pub(super) read: Read,
}

impl Matches {
    /// Adds what matched in a segment: lines to chunks, chunks to documents,
    /// documents to contents. Text is not touched.
    pub(super) fn add(
        &mut self,
        searcher: &Searcher,
        number: u32,
        found: LineSets,
        listed: u64,
    ) -> Result<(), IndexError> {
        let segment = searcher.segment(number);
        self.read.frames += found.read.frames;
        self.read.bytes += found.read.bytes;
        self.ways.push(found.ways);
        let mut chunks: BTreeMap<u32, u64> = BTreeMap::new();
        let mut lines = Vec::new();
        self.lines.resize(found.sets.len(), 0);
        for (leaf, set) in found.sets.iter().enumerate() {
            self.lines[leaf] += set.len() as u64;
            for line in set {
                segment.chunks_of_line(*line, |chunk| {
                    *chunks.entry(chunk).or_default() |= 1 << leaf;
                })?;
            }
            if listed >> leaf & 1 == 1 {
                lines.extend(set);
            }
        }
        lines.sort_unstable();
        lines.dedup();
        let mut documents: BTreeMap<u32, u64> = BTreeMap::new();
        for (chunk, mask) in &chunks {
            segment.documents_of_chunk(*chunk, |document| {
                *documents.entry(document).or_default() |= mask;
            })?;
        }
        for (document, mask) in documents {
            let content = segment.content(segment.document(document)?.content)?;
            let Some(content) = searcher.resolve(content) else {
                continue;
            };
            let matched = self.contents.entry(content).or_default();
            matched.mask |= mask;
            if mask & listed != 0 {
                matched.documents.push((number, document));
            }
        }
        let chunks = chunks
            .into_iter()
            .filter(|(_, mask)| mask & listed != 0)
            .map(|(chunk, _)| chunk)
            .collect();
        self.listed.push(Listed { lines, chunks });
        Ok(())
    }
}
