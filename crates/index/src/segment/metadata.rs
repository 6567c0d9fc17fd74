//! Who, where and when: results, the places contents were found in, and what
//! was wrong with them. Rows of small numbers over a pool of strings.

use std::collections::HashMap;

use crate::codec::varint::{Bytes, put, put_signed, u32_at};
use evidence::{
    ActionId, CommandIndex, Layer, Problem, ProblemKind, ResultId, ResultKey, ResultKind, Seq,
    Sha256, Time, Version,
};

/// One sealed result, as far as the index knows it: what `list` and the field
/// filters need without the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultMetadata {
    pub id: ResultId,
    pub seq: Seq,
    pub kind: ResultKind,
    pub device: Option<String>,
    pub machine_id: Option<String>,
    pub script: Option<String>,
    /// What the script was run with.
    pub args: Option<String>,
    /// Path on the device of a collected file, or of the imported one.
    pub path: Option<String>,
    /// The command's end, else its start.
    pub time: Option<Time>,
    pub requestor: Option<String>,
    pub comment: Option<String>,
    pub exit_code: Option<i64>,
    /// The GUID a transcript carries inside.
    pub transcript_id: Option<String>,
    /// **Units**: bytes as downloaded.
    pub bytes: u64,
    pub members: u64,
    pub problems: u64,
}

impl ResultMetadata {
    pub fn new(id: ResultId, seq: Seq, kind: ResultKind) -> Self {
        Self {
            id,
            seq,
            kind,
            device: None,
            machine_id: None,
            script: None,
            args: None,
            path: None,
            time: None,
            requestor: None,
            comment: None,
            exit_code: None,
            transcript_id: None,
            bytes: 0,
            members: 0,
            problems: 0,
        }
    }
}

/// One place where a content was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    pub id: ResultId,
    /// What was peeled off on the way in; empty for the result itself.
    pub layers: Vec<Layer>,
    /// The member's path as it is printed.
    pub member: String,
    pub content: Sha256,
    /// **Units**: bytes of the content.
    pub bytes: u64,
    /// What a transcript says of itself: its result says the same, or nothing
    /// where it holds several that differ.
    pub script: Option<String>,
    pub exit_code: Option<i64>,
}

impl Occurrence {
    /// Of a content without a name.
    pub fn new(id: ResultId, layers: Vec<Layer>, content: Sha256, bytes: u64) -> Self {
        Self {
            id,
            layers,
            member: String::new(),
            content,
            bytes,
            script: None,
            exit_code: None,
        }
    }
}

/// A problem and the place of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedProblem {
    pub id: ResultId,
    pub layers: Vec<Layer>,
    pub problem: Problem,
}

/// The facts added since the last publishing.
#[derive(Clone, Default)]
pub(crate) struct Facts {
    pub(crate) results: Vec<ResultMetadata>,
    pub(crate) occurrences: Vec<Occurrence>,
    pub(crate) problems: Vec<PlacedProblem>,
}

impl Facts {
    pub(crate) fn is_empty(&self) -> bool {
        self.results.is_empty() && self.occurrences.is_empty() && self.problems.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.results.len() + self.occurrences.len() + self.problems.len()
    }

    pub(crate) fn forget(&mut self, id: ResultId) {
        self.results.retain(|row| row.id != id);
        self.occurrences.retain(|row| row.id != id);
        self.problems.retain(|row| row.id != id);
    }
}

/// The facts as the sections of a segment file.
#[derive(Default)]
pub(crate) struct FactSections {
    pub(crate) strings: Vec<u8>,
    pub(crate) string_offsets: Vec<u8>,
    pub(crate) results: Rows,
    pub(crate) occurrences: Rows,
    pub(crate) problems: Rows,
    /// Distinct contents of the occurrences, sorted, 32 bytes each.
    pub(crate) contents: Vec<u8>,
    /// For each content and one more: its first place in `content_rows`.
    pub(crate) content_starts: Vec<u8>,
    pub(crate) content_rows: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) bytes: Vec<u8>,
    pub(crate) offsets: Vec<u8>,
}

impl Rows {
    fn begin(&mut self) -> &mut Vec<u8> {
        self.offsets.extend((self.bytes.len() as u32).to_le_bytes());
        &mut self.bytes
    }
}

#[derive(Default)]
struct Pool {
    known: HashMap<String, u64>,
    sections: (Vec<u8>, Vec<u8>),
}

impl Pool {
    fn add(&mut self, text: &str) -> u64 {
        if let Some(known) = self.known.get(text) {
            return *known;
        }
        let place = self.known.len() as u64;
        self.sections
            .1
            .extend((self.sections.0.len() as u32).to_le_bytes());
        self.sections.0.extend_from_slice(text.as_bytes());
        self.known.insert(text.to_string(), place);
        place
    }

    /// 0 for none, else one more than the string's place.
    fn add_some(&mut self, text: Option<&str>) -> u64 {
        text.map_or(0, |text| self.add(text) + 1)
    }
}

impl FactSections {
    /// Occurrences and problems point at the row of their result; one without
    /// a row gets a bare one.
    pub(crate) fn build(facts: &Facts) -> Self {
        let mut sections = Self::default();
        let mut pool = Pool::default();
        let mut rows: HashMap<ResultId, u64> = HashMap::new();
        for (row, result) in facts.results.iter().enumerate() {
            rows.insert(result.id, row as u64);
            put_result(sections.results.begin(), result, &mut pool);
        }
        let bare =
            |id: ResultId, sections: &mut Self, pool: &mut Pool, rows: &mut HashMap<_, _>| {
                let next = (sections.results.offsets.len() / 4) as u64;
                *rows.entry(id).or_insert_with(|| {
                    let result = ResultMetadata::new(id, Seq::ZERO, ResultKind::Transcript);
                    put_result(sections.results.begin(), &result, pool);
                    next
                })
            };
        let mut by_content: Vec<(Sha256, u32)> = Vec::with_capacity(facts.occurrences.len());
        for (row, occurrence) in facts.occurrences.iter().enumerate() {
            let result = bare(occurrence.id, &mut sections, &mut pool, &mut rows);
            by_content.push((occurrence.content, row as u32));
            let out = sections.occurrences.begin();
            put(out, result);
            put_layers(out, &occurrence.layers, &mut pool);
            put(out, pool.add(&occurrence.member));
            put(out, occurrence.bytes);
            out.extend(occurrence.content.0);
            put(out, pool.add_some(occurrence.script.as_deref()));
            put(out, u64::from(occurrence.exit_code.is_some()));
            if let Some(code) = occurrence.exit_code {
                put_signed(out, code);
            }
        }
        for problem in &facts.problems {
            let result = bare(problem.id, &mut sections, &mut pool, &mut rows);
            let out = sections.problems.begin();
            put(out, result);
            put_layers(out, &problem.layers, &mut pool);
            put(out, pool.add(problem.problem.kind.as_str()));
            put(out, pool.add(&problem.problem.message));
        }
        sections.sort_contents(by_content);
        (sections.strings, sections.string_offsets) = pool.sections;
        sections
    }

    fn sort_contents(&mut self, mut by_content: Vec<(Sha256, u32)>) {
        by_content.sort_unstable();
        let mut previous = None;
        for (place, (content, row)) in by_content.iter().enumerate() {
            if previous != Some(content) {
                self.contents.extend(content.0);
                self.content_starts.extend((place as u32).to_le_bytes());
                previous = Some(content);
            }
            self.content_rows.extend(row.to_le_bytes());
        }
        self.content_starts
            .extend((by_content.len() as u32).to_le_bytes());
    }
}

fn put_id(out: &mut Vec<u8>, id: ResultId) {
    out.extend(id.key.action.as_bytes());
    put(out, u64::from(id.key.index.0));
    put(out, u64::from(id.version.0));
}

fn put_layers(out: &mut Vec<u8>, layers: &[Layer], pool: &mut Pool) {
    put(out, layers.len() as u64);
    for layer in layers {
        let text = pool.add(layer.as_str());
        put(out, text);
    }
}

fn put_result(out: &mut Vec<u8>, result: &ResultMetadata, pool: &mut Pool) {
    put_id(out, result.id);
    put(out, result.seq.0);
    put(out, result.kind as u64);
    for text in [
        &result.device,
        &result.machine_id,
        &result.script,
        &result.args,
        &result.path,
        &result.requestor,
        &result.comment,
        &result.transcript_id,
    ] {
        put(out, pool.add_some(text.as_deref()));
    }
    put(out, pool.add_some(result.time.as_ref().map(Time::text)));
    put(out, u64::from(result.exit_code.is_some()));
    put_signed(out, result.exit_code.unwrap_or(0));
    put(out, result.bytes);
    put(out, result.members);
    put(out, result.problems);
}

/// The facts of a segment file, read where they stand.
#[derive(Clone, Copy)]
pub(crate) struct FactsView<'a> {
    pub(crate) strings: &'a [u8],
    pub(crate) string_offsets: &'a [u8],
    pub(crate) results: RowsView<'a>,
    pub(crate) occurrences: RowsView<'a>,
    pub(crate) problems: RowsView<'a>,
    pub(crate) contents: &'a [u8],
    pub(crate) content_starts: &'a [u8],
    pub(crate) content_rows: &'a [u8],
}

#[derive(Clone, Copy)]
pub(crate) struct RowsView<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) offsets: &'a [u8],
}

impl<'a> RowsView<'a> {
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() / 4
    }

    fn row(&self, row: usize) -> Option<Bytes<'a>> {
        let offset = u32_at(self.offsets, row)? as usize;
        Some(Bytes::new(self.bytes.get(offset..)?))
    }
}

/// An occurrence before its strings are looked up.
pub(crate) struct OccurrenceRow<'a> {
    pub(crate) result: usize,
    rest: Bytes<'a>,
}

impl<'a> FactsView<'a> {
    fn string(&self, place: u64) -> Option<&'a str> {
        let place: usize = place.try_into().ok()?;
        let start = u32_at(self.string_offsets, place)? as usize;
        let end =
            u32_at(self.string_offsets, place + 1).map_or(self.strings.len(), |end| end as usize);
        std::str::from_utf8(self.strings.get(start..end)?).ok()
    }

    fn some_string(&self, bytes: &mut Bytes<'a>) -> Option<Option<String>> {
        match bytes.next()? {
            0 => Some(None),
            place => Some(Some(self.string(place - 1)?.to_string())),
        }
    }

    fn layers(&self, bytes: &mut Bytes<'a>) -> Option<Vec<Layer>> {
        let count = bytes.next()?;
        (0..count)
            .map(|_| {
                let text = self.string(bytes.next()?)?;
                // A label was made by `Layer` and passes through it again.
                Some(read_layer(text))
            })
            .collect()
    }

    pub(crate) fn result_id(&self, row: usize) -> Option<ResultId> {
        read_id(&mut self.results.row(row)?)
    }

    pub(crate) fn result(&self, row: usize) -> Option<ResultMetadata> {
        let mut bytes = self.results.row(row)?;
        let id = read_id(&mut bytes)?;
        let seq = Seq(bytes.next()?);
        let kind = match bytes.next()? {
            0 => ResultKind::Transcript,
            1 => ResultKind::File,
            2 => ResultKind::Package,
            _ => return None,
        };
        let device = self.some_string(&mut bytes)?;
        let machine_id = self.some_string(&mut bytes)?;
        let script = self.some_string(&mut bytes)?;
        let args = self.some_string(&mut bytes)?;
        let path = self.some_string(&mut bytes)?;
        let requestor = self.some_string(&mut bytes)?;
        let comment = self.some_string(&mut bytes)?;
        let transcript_id = self.some_string(&mut bytes)?;
        let time = self.some_string(&mut bytes)?.map(Time::from_text);
        let has_exit_code = bytes.next()? == 1;
        let exit_code = bytes.signed()?;
        Some(ResultMetadata {
            id,
            seq,
            kind,
            device,
            machine_id,
            script,
            args,
            path,
            time,
            requestor,
            comment,
            exit_code: has_exit_code.then_some(exit_code),
            transcript_id,
            bytes: bytes.next()?,
            members: bytes.next()?,
            problems: bytes.next()?,
        })
    }

    pub(crate) fn occurrence_row(&self, row: usize) -> Option<OccurrenceRow<'a>> {
        let mut rest = self.occurrences.row(row)?;
        let result = rest.next()?.try_into().ok()?;
        Some(OccurrenceRow { result, rest })
    }

    pub(crate) fn occurrence(&self, row: usize) -> Option<Occurrence> {
        let OccurrenceRow { result, mut rest } = self.occurrence_row(row)?;
        let id = self.result_id(result)?;
        let layers = self.layers(&mut rest)?;
        let member = self.string(rest.next()?)?.to_string();
        let bytes = rest.next()?;
        let content = Sha256(*rest.take(32)?.first_chunk()?);
        let script = self.some_string(&mut rest)?;
        let exit_code = match rest.next()? {
            0 => None,
            _ => Some(rest.signed()?),
        };
        Some(Occurrence {
            id,
            layers,
            member,
            content,
            bytes,
            script,
            exit_code,
        })
    }

    /// The content of an occurrence, and nothing else of it.
    pub(crate) fn content_at(&self, row: usize) -> Option<Sha256> {
        let mut rest = self.occurrence_row(row)?.rest;
        let layers = rest.next()?;
        // The layers, the member's name and its bytes.
        for _ in 0..layers.checked_add(2)? {
            rest.next()?;
        }
        Some(Sha256(*rest.take(32)?.first_chunk()?))
    }

    pub(crate) fn problem(&self, row: usize) -> Option<PlacedProblem> {
        let mut bytes = self.problems.row(row)?;
        let result: usize = bytes.next()?.try_into().ok()?;
        let layers = self.layers(&mut bytes)?;
        let kind = read_problem_kind(self.string(bytes.next()?)?)?;
        let message = self.string(bytes.next()?)?;
        Some(PlacedProblem {
            id: self.result_id(result)?,
            layers,
            problem: Problem::new(kind, message),
        })
    }

    /// The occurrence rows of a content, in the order they were added. Of
    /// ascending contents each is looked for behind the one before, `from`.
    pub(crate) fn rows_of(
        &self,
        content: &Sha256,
        from: &mut usize,
    ) -> impl Iterator<Item = u32> + use<'a> {
        let place = find_content_from(self.contents, content, from);
        let bound = |place: usize| u32_at(self.content_starts, place);
        let range = place
            .and_then(|place| Some(bound(place)?..bound(place + 1)?))
            .unwrap_or(0..0);
        let rows = self.content_rows;
        range.filter_map(move |place| u32_at(rows, place as usize))
    }
}

/// Binary search in a table of sorted hashes.
pub(crate) fn find_content(table: &[u8], content: &Sha256) -> Option<usize> {
    let (rows, _) = table.as_chunks::<32>();
    rows.binary_search(&content.0).ok()
}

/// The same from a place on, in steps that grow: the next of many is near.
/// Leaves the place of the content, or of the one that stands behind it.
fn find_content_from(table: &[u8], content: &Sha256, from: &mut usize) -> Option<usize> {
    let (rows, _) = table.as_chunks::<32>();
    let is_before = |row: &[u8; 32]| *row < content.0;
    let (mut low, mut step) = (*from, 1);
    while rows.get(low + step).is_some_and(is_before) {
        low += step;
        step *= 2;
    }
    let high = rows.len().min(low + step + 1);
    *from = low + rows.get(low..high)?.partition_point(is_before);
    rows.get(*from)
        .is_some_and(|row| *row == content.0)
        .then_some(*from)
}

fn read_id(bytes: &mut Bytes<'_>) -> Option<ResultId> {
    let action = ActionId::from_bytes(*bytes.take(16)?.first_chunk()?);
    let index = CommandIndex(bytes.next_u32()?);
    let version = Version(bytes.next_u32()?);
    Some(ResultId::new(ResultKey::new(action, index), version))
}

/// A stored label is one already: `Layer` reads back from its text.
pub(crate) fn read_layer(text: &str) -> Layer {
    let numbered = text.strip_prefix('#').and_then(|n| n.parse().ok());
    match numbered {
        Some(ordinal) => Layer::numbered(ordinal),
        None => Layer::named(text, 0),
    }
}

fn read_problem_kind(word: &str) -> Option<ProblemKind> {
    use ProblemKind::*;
    [
        Damaged,
        ChecksumMismatch,
        Encrypted,
        Unsupported,
        LimitReached,
        Repaired,
        Encoding,
        Lying,
    ]
    .into_iter()
    .find(|kind| kind.as_str() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn id(n: u32) -> ResultId {
        let action = ActionId::from_bytes([n as u8; 16]);
        ResultId::new(ResultKey::new(action, CommandIndex(n)), Version(1))
    }

    fn view(sections: &FactSections) -> FactsView<'_> {
        fn rows(rows: &Rows) -> RowsView<'_> {
            RowsView {
                bytes: &rows.bytes,
                offsets: &rows.offsets,
            }
        }
        FactsView {
            strings: &sections.strings,
            string_offsets: &sections.string_offsets,
            results: rows(&sections.results),
            occurrences: rows(&sections.occurrences),
            problems: rows(&sections.problems),
            contents: &sections.contents,
            content_starts: &sections.content_starts,
            content_rows: &sections.content_rows,
        }
    }

    #[test]
    fn facts_read_back_as_they_were_added() {
        let mut facts = Facts::default();
        for n in 0..5 {
            facts.results.push(ResultMetadata {
                device: Some(format!("pc{}.contoso.example", n % 2)),
                args: (n > 0).then(|| format!("-What {n}")),
                time: (n > 1).then(|| Time::from_text("2026-02-04T15:37:00.1234567Z")),
                exit_code: (n > 2).then_some(-1),
                members: 7,
                ..ResultMetadata::new(id(n), Seq(u64::from(n)), ResultKind::File)
            });
        }
        for n in 0..6 {
            facts.occurrences.push(Occurrence {
                id: id(n),
                layers: vec![Layer::named("a.zip", 0), Layer::numbered(n)],
                member: format!("logs\\{n}.log"),
                content: Sha256([n as u8 % 3; 32]),
                bytes: 1 << n,
                script: (n > 3).then(|| "a.ps1".into()),
                exit_code: (n > 4).then_some(-7),
            });
        }
        facts.problems.push(PlacedProblem {
            id: id(3),
            layers: vec![Layer::output()],
            problem: Problem::new(ProblemKind::Lying, "says 7, has 8"),
        });
        let sections = FactSections::build(&facts);
        let view = view(&sections);
        for (row, result) in facts.results.iter().enumerate() {
            assert_eq!(view.result(row).as_ref(), Some(result));
        }
        assert_eq!(view.results.len(), 6);
        for (row, occurrence) in facts.occurrences.iter().enumerate() {
            assert_eq!(view.occurrence(row).as_ref(), Some(occurrence));
        }
        assert_eq!(view.problem(0).as_ref(), facts.problems.first());
        let rows: Vec<_> = view.rows_of(&Sha256([1; 32]), &mut 0).collect();
        assert_eq!(rows, [1, 4]);
        assert_eq!(view.rows_of(&Sha256([9; 32]), &mut 0).count(), 0);
        assert_eq!(view.occurrence(99), None);
    }

    #[test]
    fn contents_in_order_are_found_as_each_by_itself() {
        for count in [0, 1, 2, 7, 100u8] {
            let rows = (0..count).map(|n| [2 * n + 1; 32]);
            let table = rows.collect::<Vec<_>>().concat();
            for step in [1, 3, 40] {
                let mut from = 0;
                for n in (0..=255u8).step_by(step) {
                    let content = Sha256([n; 32]);
                    let found = find_content_from(&table, &content, &mut from);
                    assert_eq!(found, find_content(&table, &content), "{n} of {count}");
                }
            }
        }
    }
}
