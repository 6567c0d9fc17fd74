//! Reading an index: opening what the manifest names, looking things up.
//! Never writes, never locks, never waits for the writer.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::IndexError;
use crate::codec::mask;
use crate::line_sets::member_set::device_key;
use crate::search::Place;
use crate::segment::Segment;
use crate::segment::metadata::{Occurrence, PlacedProblem, ResultMetadata};
use crate::writer::manifest::{IndexId, Manifest};
use crate::writer::open_segments;
use evidence::{ResultId, ResultKey, Seq, Sha256, Time};

/// How often opening begins again because the writer replaced what the
/// manifest named a moment ago.
const ATTEMPTS: usize = 20;

/// An index as it was at one moment; a writer that goes on publishing changes
/// nothing in it.
pub struct Searcher {
    manifest: Manifest,
    segments: Vec<Segment>,
    /// Tickets of texts larger than a segment, and the contents they became.
    tickets: HashMap<Sha256, Sha256>,
    /// Results whose rows in segments below a number no longer count.
    forgotten: HashMap<(ResultKey, u32), u64>,
    /// Read when they are first asked for.
    names: OnceLock<Arc<HashMap<String, String>>>,
}

/// How large an index is, and how much its text repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    pub segments: u64,
    pub documents: u64,
    pub contents: u64,
    pub occurrences: u64,
    pub results: u64,
    pub problems: u64,
    pub lines: u64,
    pub distinct_lines: u64,
    /// **Units**: bytes of all extracted text.
    pub text_bytes: u64,
    /// **Units**: bytes of distinct lines, summed over segments.
    pub distinct_bytes: u64,
    /// **Units**: bytes on disk.
    pub file_bytes: u64,
    /// **Units**: bytes on disk, by what they are for.
    pub parts: Vec<(&'static str, u64)>,
}

impl Searcher {
    /// Opens the index in `folder`, of `identity` where one is given.
    ///
    /// **Cost**: maps each segment's file; reads tables when they are needed.
    pub fn open(
        folder: &Path,
        identity: Option<&IndexId>,
        key: Option<[u8; 32]>,
    ) -> Result<Self, IndexError> {
        let key = key.map(mask::Key::new);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let manifest = Manifest::read(folder)?.ok_or_else(|| IndexError::Missing {
                path: folder.to_path_buf(),
            })?;
            if identity.is_some_and(|identity| *identity != manifest.identity) {
                return Err(IndexError::Foreign {
                    path: folder.to_path_buf(),
                });
            }
            match open_segments(folder, &manifest, key.as_ref()) {
                Ok(segments) => return Ok(Self::over(manifest, segments)),
                Err(IndexError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn over(manifest: Manifest, segments: Vec<Segment>) -> Self {
        let tickets = manifest
            .spans
            .iter()
            .map(|span| (span.ticket, span.content))
            .collect();
        let forgotten = manifest
            .forgotten
            .iter()
            .map(|row| ((row.key, row.version), row.before))
            .collect();
        Self {
            manifest,
            segments,
            tickets,
            forgotten,
            names: OnceLock::new(),
        }
    }

    /// Everything sealed up to here is searched.
    pub fn watermark(&self) -> Seq {
        self.manifest.watermark
    }

    pub fn identity(&self) -> &IndexId {
        &self.manifest.identity
    }

    /// **Cost**: reads the tables of all segments, no text.
    pub fn stats(&self) -> IndexStats {
        let mut stats = IndexStats {
            segments: self.segments.len() as u64,
            ..IndexStats::default()
        };
        let mut contents: HashSet<Sha256> = HashSet::new();
        for segment in &self.segments {
            let (meta, facts) = (&segment.meta, segment.facts());
            stats.documents += meta.documents;
            stats.lines += meta.lines;
            stats.distinct_lines += meta.distinct_lines;
            stats.text_bytes += meta.text_bytes;
            stats.distinct_bytes += meta.distinct_bytes;
            stats.file_bytes += meta.file_bytes;
            contents.extend(segment.contents().filter_map(|c| self.resolve(c)));
            let alive = |id: Option<ResultId>| id.is_some_and(|id| self.counts(segment, id));
            stats.results += (0..facts.results.len())
                .filter(|row| alive(facts.result_id(*row)))
                .count() as u64;
        }
        stats.occurrences = self.members();
        stats.contents = contents.len() as u64;
        stats.problems = self.problems().count() as u64;
        stats.parts = self.sizes();
        stats
    }

    /// Members that count: those of forgotten results do not.
    ///
    /// **Cost**: none where nothing was forgotten, else a look at every row.
    pub(crate) fn members(&self) -> u64 {
        let members = self.segments.iter().map(|segment| {
            let facts = segment.facts();
            let rows = 0..facts.occurrences.len();
            if self.forgotten.is_empty() {
                return rows.len();
            }
            let id = |row| facts.result_id(facts.occurrence_row(row)?.result);
            rows.filter_map(id)
                .filter(|id| self.counts(segment, *id))
                .count()
        });
        members.sum::<usize>() as u64
    }

    fn sizes(&self) -> Vec<(&'static str, u64)> {
        let mut sizes = vec![
            ("text", 0),
            ("terms", 0),
            ("4-grams", 0),
            ("documents", 0),
            ("lines", 0),
            ("facts", 0),
        ];
        for (tag, len) in self.segments.iter().flat_map(|s| s.file().sizes()) {
            let part = match &tag[..4] {
                b"fram" => 0,
                b"term" => 1,
                b"gram" | b"grou" => 2,
                b"chun" | b"docs" | b"cont" => 3,
                b"leng" | b"mark" | b"line" => 4,
                _ => 5,
            };
            sizes[part].1 += len as u64;
        }
        sizes
    }

    /// Compares every checksum.
    pub fn verify(&self) -> Result<(), IndexError> {
        self.segments
            .iter()
            .try_for_each(|segment| segment.file().verify())
    }

    /// Every sealed result that is indexed, in the order of the journal's
    /// publishing.
    pub fn results(&self) -> impl Iterator<Item = ResultMetadata> {
        self.segments.iter().flat_map(|segment| {
            let facts = segment.facts();
            (0..facts.results.len())
                .filter_map(move |row| facts.result(row))
                .filter(|result| self.counts(segment, result.id))
        })
    }

    /// The name of each device, by its key: that of its newest result that has
    /// one, what has no time last. A machine may be renamed, and has one name
    /// all the same, whatever is asked for.
    ///
    /// **Cost**: reads every result, once.
    ///
    /// **Memory**: 200 bytes a device.
    pub fn names(&self) -> Arc<HashMap<String, String>> {
        Arc::clone(self.names.get_or_init(|| Arc::new(self.newest_names())))
    }

    fn newest_names(&self) -> HashMap<String, String> {
        let mut newest = HashMap::new();
        for result in self.results() {
            let key = device_key(result.machine_id.as_deref(), result.device.as_deref());
            let (Some(key), Some(name)) = (key, result.device) else {
                continue;
            };
            let time = result.time.as_ref().and_then(Time::nanoseconds);
            let turn = (time.unwrap_or(i64::MAX), result.id);
            let known = newest.entry(key).or_insert_with(|| (turn, name.clone()));
            if known.0 < turn {
                *known = (turn, name);
            }
        }
        let names = newest.into_iter().map(|(key, (_, name))| (key, name));
        names.collect()
    }

    /// Every problem and its place.
    pub fn problems(&self) -> impl Iterator<Item = PlacedProblem> {
        self.segments.iter().flat_map(|segment| {
            let facts = segment.facts();
            (0..facts.problems.len())
                .filter_map(move |row| facts.problem(row))
                .filter(|problem| self.counts(segment, problem.id))
        })
    }

    pub(crate) fn counts(&self, segment: &Segment, id: ResultId) -> bool {
        let before = self.forgotten.get(&(id.key, id.version.0));
        before.is_none_or(|before| segment.meta.number >= *before)
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(crate) fn segment(&self, number: u32) -> &Segment {
        &self.segments[number as usize]
    }

    /// Gives the memory of all maps back.
    pub(crate) fn release(&self) {
        self.segments.iter().for_each(Segment::release);
    }

    /// The facts of a matching member.
    pub(crate) fn facts_of(
        &self,
        place: Place,
    ) -> Result<(ResultMetadata, Occurrence), IndexError> {
        let segment = self.segment(place.segment);
        let facts = segment.facts();
        let row = place.row as usize;
        let read = || {
            let result = facts.result(facts.occurrence_row(row)?.result)?;
            Some((result, facts.occurrence(row)?))
        };
        read().ok_or_else(|| segment.file().damaged("an occurrence cannot be read"))
    }

    /// What tells the device of a matching member from others.
    pub(crate) fn device_of(&self, place: Place) -> Result<Option<String>, IndexError> {
        let segment = self.segment(place.segment);
        let facts = segment.facts();
        let row = facts.occurrence_row(place.row as usize);
        let result = row.and_then(|row| facts.result(row.result));
        let result =
            result.ok_or_else(|| segment.file().damaged("an occurrence cannot be read"))?;
        Ok(device_key(
            result.machine_id.as_deref(),
            result.device.as_deref(),
        ))
    }

    /// The content a document belongs to: itself, or what a ticket became.
    /// `None` for a piece of a text that was taken back.
    pub(crate) fn resolve(&self, name: Sha256) -> Option<Sha256> {
        match self.tickets.get(&name) {
            Some(content) => Some(*content),
            None if crate::writer::line_splitter::is_ticket(&name) => None,
            None => Some(name),
        }
    }

    /// Every document of a content: segment and ordinal, in reading order.
    pub(crate) fn documents_of(&self, content: &Sha256) -> Vec<(u32, u32)> {
        let tickets = self.tickets.iter().filter(|(_, known)| *known == content);
        let names: Vec<Sha256> = tickets
            .map(|(ticket, _)| *ticket)
            .chain([*content])
            .collect();
        let mut documents = Vec::new();
        for (number, segment) in self.segments.iter().enumerate() {
            let here = documents.len();
            for name in &names {
                documents.extend(segment.documents_of(name).map(|d| (number as u32, d)));
            }
            documents[here..].sort_unstable();
        }
        documents
    }
}
