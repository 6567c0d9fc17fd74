//! Notes: everything that qualifies an answer, as values.
//!
//! A use case returns the notes with its answer, in the order in which they are
//! shown. A front end decides which of them it shows and in what words. The
//! verdict of an answer and the caveats of a certificate are derived from the
//! same list.

use serde::Serialize;

/// A fact about an answer that its reader must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// Sealed results that are not indexed, and so not searched.
    NotIndexed { results: u64 },
    /// Problems in the evidence that hide text from any search.
    TextUnreadable { problems: u64 },
    /// Members that are excluded only because they have no time.
    WithoutTime { members: u64 },
    /// Lines and texts longer than the search window of an unbounded pattern:
    /// matches longer than the window may be missed.
    LongerThanWindow { texts: u64 },
    /// Hits of a search, or lines of a comparison at each of their places, that
    /// a baseline contains.
    HiddenByBaseline { hits: u64 },
    /// Distinct lines that were scanned, because the query has no word or
    /// 4-gram that narrows the search.
    FullScan { lines: u64 },
    /// The full text of every member was searched, because the pattern can
    /// match across line ends.
    FullTextRead,
    /// A field clause of the query, such as `device:"x"`, that no member
    /// matches.
    UnknownValue { field: String },
    /// A word of the query that looks like a field (`bogus:1`) and was searched
    /// as text.
    UnknownField { name: String },
    /// There are more hits than the limit.
    StoppedAtLimit,
    /// The archive contains nothing to search.
    EmptyArchive,
    /// Members that are excluded because their device is not known.
    WithoutDevice { members: u64 },
    /// Results that a comparison excludes because their command was run again.
    OlderResults { results: u64 },
    /// Rows of a comparison beyond the limit.
    RowsBeyondLimit { rows: u64 },
    /// A comparison has too many differences to pair changed lines.
    UnpairedChanges,
    /// Results that are not in the archive, with a recorded reason.
    Gaps { results: u64 },
    /// Results that may still be collected.
    Pending { results: u64 },
    /// A fleet run whose record cannot be read.
    UnreadableRun { run: String, why: String },
    /// A version of a baseline that cannot be read.
    UnusableBaseline { name: String, why: String },
    /// Imported files whose path names no device, although it should.
    FilesWithoutDevice { files: u64 },
}

impl Note {
    /// Whether the answer would be incomplete without its rows: no rows and
    /// such a note do not prove absence.
    pub fn affects_completeness(&self) -> bool {
        match self {
            Self::NotIndexed { .. }
            | Self::TextUnreadable { .. }
            | Self::WithoutTime { .. }
            | Self::LongerThanWindow { .. }
            | Self::HiddenByBaseline { .. }
            | Self::WithoutDevice { .. }
            | Self::UnreadableRun { .. }
            | Self::UnusableBaseline { .. } => true,
            Self::FullScan { .. }
            | Self::FullTextRead
            | Self::UnknownValue { .. }
            | Self::UnknownField { .. }
            | Self::StoppedAtLimit
            | Self::EmptyArchive
            | Self::OlderResults { .. }
            | Self::RowsBeyondLimit { .. }
            | Self::UnpairedChanges
            | Self::Gaps { .. }
            | Self::Pending { .. }
            | Self::FilesWithoutDevice { .. } => false,
        }
    }
}

/// Outcome of a search or comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Found,
    /// Not found in everything the archive contains.
    Nothing,
    /// Not found, and a note affects completeness.
    Incomplete,
}

impl Verdict {
    pub(super) fn of(found: u64, notes: &[Note]) -> Self {
        if found > 0 {
            Self::Found
        } else if notes.iter().any(Note::affects_completeness) {
            Self::Incomplete
        } else {
            Self::Nothing
        }
    }

    /// The exit code of the program.
    pub fn code(self) -> u8 {
        match self {
            Self::Found => 0,
            Self::Nothing => 1,
            Self::Incomplete => 3,
        }
    }
}

/// A list of notes under construction.
#[derive(Default)]
pub(super) struct NoteList(Vec<Note>);

impl NoteList {
    pub(super) fn push(&mut self, note: Note) {
        self.0.push(note);
    }

    pub(super) fn push_if(&mut self, applies: bool, note: Note) {
        if applies {
            self.push(note);
        }
    }

    /// Adds a note about `count` things, unless there are none.
    pub(super) fn count(&mut self, count: u64, note: impl FnOnce(u64) -> Note) {
        if count > 0 {
            self.push(note(count));
        }
    }

    pub(super) fn into_notes(self) -> Vec<Note> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rows_are_proof_of_absence_without_a_note_on_completeness() {
        let harmless = [Note::FullScan { lines: 9 }, Note::StoppedAtLimit];
        assert_eq!(Verdict::of(0, &harmless), Verdict::Nothing);
        let late = [Note::FullTextRead, Note::NotIndexed { results: 1 }];
        assert_eq!(Verdict::of(0, &late), Verdict::Incomplete);
        assert_eq!(Verdict::of(1, &late), Verdict::Found);
    }

    #[test]
    fn note_is_serialized_with_its_name_and_data() {
        let notes = [Note::NotIndexed { results: 2 }, Note::StoppedAtLimit];
        assert_eq!(
            serde_json::to_value(notes).unwrap(),
            serde_json::json!([
                {"note": "not_indexed", "results": 2},
                {"note": "stopped_at_limit"},
            ])
        );
    }
}
