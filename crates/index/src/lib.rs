//! The index: every distinct line once, and the way from it to every place.
//!
//! Fleets repeat themselves by line. A *segment* keeps each distinct line
//! once, in compressed frames; a *document* (one extracted text) is a run of
//! *chunks*, a chunk a run of lines. Terms live in a term index over distinct
//! lines. A search finds lines, verifies them on their text, and goes line to
//! chunks to documents to contents to *occurrences* without touching more
//! text. Facts (who, where, when) stand in rows of their own.
//!
//! All of it is derived. What is searchable, and up to where (*watermark*), is
//! what the manifest names; renaming the manifest into place is the only
//! commit. Readers map what it names, never lock and never write.
//!
//! This room must never know: where bytes come from (packs, zips), how texts
//! are extracted, what a terminal is.
//!
//! **Invariants**: the manifest names only files that are whole and synced; a
//! line's identity is its bytes and its terminator; a line id means nothing
//! outside its segment; a match is verified on text, so the terms may offer
//! too much and never too little; delete the folder, add the same documents:
//! the same answers in the same order.
//!
//! **Memory**, writing: distinct text of the open segment (≤ 128 MiB) + about
//! 25 bytes a distinct line (≤ 2 M) + 8 bytes a line of distinct chunks, and
//! while a segment closes up to three term writers of about 50 MiB each. Facts
//! wait in memory for the publishing, about 300 bytes an occurrence.

mod codec;
mod line_sets;
mod matcher;
mod query;
mod search;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

pub use crate::codec::error::IndexError;
pub use crate::line_sets::line_holders::{ChunkRun, FrameLines, Holder, SegmentHolders};
pub use crate::line_sets::line_position::{LinePosition, LinePositions, LocatedLine};
pub use crate::line_sets::member_set::{MemberSet, SelectedDevice, device_key};
pub use crate::line_sets::text_reader::TextReader;
pub use crate::query::ast::{Field, IpNetwork, Query, SyntaxError, Text};
pub use crate::query::parser::read_time;
pub use crate::search::hits::{Hit, HitMember};
pub use crate::search::searcher::{IndexStats, Searcher};
pub use crate::search::snippet::{Snippet, TEXT_MAX};
pub use crate::search::{HitCount, HitOrder, SearchOptions, SearchStats, TextPlan};
pub use crate::segment::metadata::{Occurrence, PlacedProblem, ResultMetadata};
pub use crate::writer::manifest::{IndexId, SCHEMA};
pub use crate::writer::{IndexSettings, IndexWriter};
