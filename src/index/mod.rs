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

mod ahead;
mod alike;
mod border;
mod candidates;
mod close;
mod crossing;
mod dictionary;
mod document;
mod error;
mod facts;
mod folder;
mod found;
mod glob;
mod grams;
mod hash;
mod held;
mod hit;
mod inverse;
mod lines;
mod long;
mod manifest;
mod mask;
mod matcher;
mod members;
mod merge;
mod near;
mod needed;
mod network;
mod open;
mod parse;
mod pattern;
mod phrase;
mod plan;
mod query;
mod rarity;
mod search;
mod searcher;
mod sections;
mod segment;
mod selection;
mod shown;
mod spot;
mod system;
mod terms;
#[cfg(test)]
mod tests;
mod text;
mod token;
mod varint;
mod whole;
mod window;
mod within;
mod writer;

pub use error::IndexError;
pub use facts::{Occurrence, PlacedProblem, ResultFacts};
pub use held::{FrameLines, Held, Holder, Run};
pub use hit::{Hit, HitMember};
pub use manifest::{Identity, SCHEMA};
pub use parse::read_time;
pub use query::{Field, Network, Query, SyntaxError, Text};
pub use search::{Count, Options, Order, Summary, TextPlan};
pub use searcher::{Searcher, Stats};
pub use selection::{Device, Selection, device_key};
pub use shown::{Shown, TEXT_MAX};
pub use spot::{Located, Spot, Spots};
pub use text::TextReader;
pub use writer::{Settings, Writer};
