//! What outlives a restart: the clock's origin and the calls that still take
//! room in a budget. Lines of JSON, appended; a torn last line is left out.
//! No link, token or secret stands here.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::call_kind::CallKind;
use crate::error::{Error, Result};
use crate::timeline::clock::{ClockOrigin, as_text, earlier};

/// Older calls take no room in any window.
const KEPT: Duration = Duration::from_secs(3600);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedLine {
    Origin(ClockOrigin),
    Call {
        kind: String,
        #[serde(with = "as_text")]
        at: Timestamp,
    },
}

/// What an earlier run left.
#[derive(Debug, Default)]
pub(crate) struct SavedState {
    pub origin: Option<ClockOrigin>,
    pub calls: Vec<(CallKind, Timestamp)>,
}

/// Reads the state of an earlier run; nothing where there is none.
pub(crate) fn read(path: &Path) -> Result<SavedState> {
    let mut kept = SavedState::default();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(kept),
        Err(source) => {
            let path = path.to_path_buf();
            return Err(Error::Read { path, source });
        }
    };
    let lines: Vec<_> = BufReader::new(file).split(b'\n').collect();
    let last = lines.len();
    for (number, line) in (1..).zip(lines) {
        let line = line.map_err(|source| Error::Read {
            path: path.to_path_buf(),
            source,
        })?;
        match serde_json::from_slice(&line) {
            Ok(SavedLine::Origin(origin)) => kept.origin = Some(origin),
            Ok(SavedLine::Call { kind, at }) => {
                let known = CallKind::ALL.iter().find(|(_, name)| *name == kind);
                kept.calls.extend(known.map(|(kind, _)| (*kind, at)));
            }
            Err(_) if number == last => {}
            Err(_) => {
                return Err(Error::State {
                    path: path.to_path_buf(),
                    line: number,
                });
            }
        }
    }
    Ok(kept)
}

/// The open state of this run.
#[derive(Debug)]
pub(crate) struct StateFile {
    file: File,
    path: PathBuf,
}

impl StateFile {
    /// Writes the file anew with what still counts at `now`.
    pub(crate) fn create(
        path: &Path,
        origin: ClockOrigin,
        calls: &[(CallKind, Timestamp)],
        now: Timestamp,
    ) -> Result<Self> {
        let failed = |source| Error::Write {
            path: path.to_path_buf(),
            source,
        };
        let fresh = path.with_extension("new");
        let mut text = line(&SavedLine::Origin(origin));
        for (kind, at) in calls.iter().filter(|(_, at)| *at > earlier(now, KEPT)) {
            text.push_str(&line(&call(*kind, *at)));
        }
        std::fs::write(&fresh, text).map_err(failed)?;
        std::fs::rename(&fresh, path).map_err(failed)?;
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
        })
    }

    /// Notes a call that takes room.
    pub(crate) fn note(&mut self, kind: CallKind, at: Timestamp) -> Result<()> {
        let text = line(&call(kind, at));
        let written = self.file.write_all(text.as_bytes());
        written.map_err(|source| Error::Write {
            path: self.path.clone(),
            source,
        })
    }
}

fn call(kind: CallKind, at: Timestamp) -> SavedLine {
    SavedLine::Call {
        kind: kind.name().into(),
        at,
    }
}

fn line(line: &SavedLine) -> String {
    // Plain structs of text and numbers: nothing here can fail to serialize.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_and_recent_calls_survive_and_a_torn_line_does_not_hurt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        assert!(read(&path).unwrap().origin.is_none());
        let origin = ClockOrigin::fresh(10.0);
        let now = origin.emulated;
        let calls = [
            (CallKind::Link, earlier(now, Duration::from_secs(4000))),
            (CallKind::Link, earlier(now, Duration::from_secs(10))),
        ];
        let mut state = StateFile::create(&path, origin, &calls, now).unwrap();
        state.note(CallKind::List, now).unwrap();
        state.file.write_all(b"{\"call\":{\"kind").unwrap();
        let kept = read(&path).unwrap();
        assert_eq!(kept.origin, Some(origin));
        assert_eq!(kept.calls, [calls[1], (CallKind::List, now)]);
    }

    #[test]
    fn a_file_that_is_no_state_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        std::fs::write(&path, "not\nstate\n").unwrap();
        assert!(matches!(read(&path), Err(Error::State { line: 1, .. })));
    }
}
