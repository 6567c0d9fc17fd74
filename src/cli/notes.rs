//! The notes of an answer as text.

use crate::app::Note;
use crate::cli::args::Global;
use crate::cli::output::{counted, visible};
use crate::cli::say;

/// The answer that notes qualify: some notes are worded for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualified {
    Search,
    Comparison,
    /// Lists of problems, baselines, runs and imported files.
    Listing,
}

/// Prints notes to stderr, unless told to be quiet.
pub fn print_notes<'n>(
    global: &Global,
    answer: Qualified,
    notes: impl IntoIterator<Item = &'n Note>,
) {
    for note in notes {
        let text = text(note, answer);
        if is_printed_always(note, answer) {
            eprintln!("{text}");
        } else {
            say(global, &text);
        }
    }
}

/// Lines that a comparison hides, and baselines that cannot be used.
fn is_printed_always(note: &Note, answer: Qualified) -> bool {
    match note {
        Note::HiddenByBaseline { .. } => answer == Qualified::Comparison,
        Note::UnusableBaseline { .. } => true,
        _ => false,
    }
}

/// A note as a line for a terminal.
pub fn text(note: &Note, answer: Qualified) -> String {
    let label = match note {
        Note::UnusableBaseline { .. } => "warning",
        _ => "note",
    };
    format!("{label}: {}", message(note, answer))
}

fn message(note: &Note, answer: Qualified) -> String {
    let is_search = answer == Qualified::Search;
    match note {
        Note::NotIndexed { results } => {
            let results = counted(*results, "result");
            let rest = match answer {
                Qualified::Search => "not searched; run `index`, or search with --wait",
                Qualified::Comparison => "not compared; run `index`, or add --wait",
                Qualified::Listing => "its problems not known; run `index`",
            };
            format!("{results} not indexed yet and {rest}")
        }
        Note::TextUnreadable { problems } => {
            let problems = counted(*problems, "problem");
            if is_search {
                format!("text is hidden by {problems}; `problems` names them")
            } else {
                format!(
                    "{problems} that hide text: what is told of devices may be wrong for theirs; `problems` names them"
                )
            }
        }
        Note::WithoutTime { members } => {
            let members = counted(*members, "member");
            if is_search {
                format!(
                    "left out {members} that would match but have no time; search without since and until to see them"
                )
            } else {
                format!(
                    "{members} left out for want of a time; leave --since and --until away to see them"
                )
            }
        }
        Note::LongerThanWindow { texts } => {
            let texts = counted(*texts, "line or text");
            if is_search {
                format!(
                    "searched {texts} window by window, being too long for this pattern; a match longer than a window may be missed (`help query`)"
                )
            } else {
                format!(
                    "{texts} searched window by window, being too long for this pattern; a longer match may be missed"
                )
            }
        }
        Note::HiddenByBaseline { hits } if is_search => {
            let hits = counted(*hits, "hit");
            format!("left out {hits} that the baseline knows")
        }
        Note::HiddenByBaseline { hits } => {
            let lines = counted(*hits, "line");
            format!("{lines} left out that the baseline knows")
        }
        Note::FullScan { lines } => {
            let lines = counted(*lines, "distinct line");
            format!(
                "read {lines} one by one: neither words nor 4-grams of the query narrow them down"
            )
        }
        Note::FullTextRead => {
            "built every text again, since the pattern may match over line ends".into()
        }
        Note::UnknownValue { field } => format!(
            "no member is of {field}; `list` shows devices and scripts, `help query` how values are written"
        ),
        Note::UnknownField { name } => {
            format!("there is no field {name}:, searched as text; `help query` lists the fields")
        }
        Note::StoppedAtLimit => "stopped at --limit; there are more".into(),
        Note::EmptyArchive => "nothing is in this archive to search".into(),
        Note::WithoutDevice { members } => {
            let members = counted(*members, "member");
            format!("{members} left out, since their device is not known")
        }
        Note::OlderResults { results } => {
            let results = counted(*results, "older result");
            format!("{results} of a command that was run again left out; --all compares them")
        }
        Note::RowsBeyondLimit { rows } => {
            format!("{} more behind --limit", counted(*rows, "row"))
        }
        Note::UnpairedChanges => {
            "too many differences to tell which are one line changed: each stands alone".into()
        }
        Note::Gaps { results } => format!("{} missing", counted(*results, "result")),
        Note::Pending { results } => format!("{} pending", counted(*results, "result")),
        Note::UnreadableRun { why, .. } => visible(why).into_owned(),
        // A file in the directory of the baselines may have any name.
        Note::UnusableBaseline { name, why } => {
            visible(&format!("{name} cannot be used: {why}")).into_owned()
        }
        Note::FilesWithoutDevice { files } => {
            let files = counted(*files, "file");
            format!(
                "{files} of no device: no path below what was named has one; comparisons leave them out"
            )
        }
    }
}
