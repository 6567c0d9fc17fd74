//! State file: the clock origin and the calls that count against a rate limit,
//! saved across restarts.
//!
//! Lines of JSON, appended. An incomplete last line is ignored. The file never
//! contains a link, a token or a secret.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::call_kind::CallKind;
use crate::error::{Error, Result};
use crate::timeline::clock::{ClockOrigin, as_text, earlier};

/// Longest window of a rate limit; older calls do not count.
const CALL_AGE_MAX: Duration = Duration::from_secs(3600);

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

/// The state that a previous run saved.
#[derive(Debug, Default)]
pub(crate) struct SavedState {
    pub origin: Option<ClockOrigin>,
    pub calls: Vec<(CallKind, Timestamp)>,
}

/// Reads the state of a previous run. A missing file is an empty state.
pub(crate) fn read(path: &Path) -> Result<SavedState> {
    let mut saved = SavedState::default();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(saved),
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
            Ok(SavedLine::Origin(origin)) => saved.origin = Some(origin),
            Ok(SavedLine::Call { kind, at }) => {
                let kind = CallKind::from_name(&kind);
                saved.calls.extend(kind.map(|kind| (kind, at)));
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
    Ok(saved)
}

/// The state file of this run.
#[derive(Debug)]
pub(crate) struct StateFile {
    file: File,
    path: PathBuf,
}

impl StateFile {
    /// Replaces the file; keeps the calls that still count at `now`.
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
        let temporary = path.with_extension("new");
        let mut text = line(&SavedLine::Origin(origin));
        for (kind, at) in calls
            .iter()
            .filter(|(_, at)| *at > earlier(now, CALL_AGE_MAX))
        {
            text.push_str(&line(&call(*kind, *at)));
        }
        std::fs::write(&temporary, text).map_err(failed)?;
        std::fs::rename(&temporary, path).map_err(failed)?;
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
        })
    }

    /// Appends a call that counts against a rate limit.
    pub(crate) fn append(&mut self, kind: CallKind, at: Timestamp) -> Result<()> {
        let text = line(&call(kind, at));
        self.file
            .write_all(text.as_bytes())
            .map_err(|source| Error::Write {
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
    // Serializing texts and numbers cannot fail.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_and_recent_calls_survive_and_an_incomplete_line_is_ignored() {
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
        state.append(CallKind::List, now).unwrap();
        state.file.write_all(b"{\"call\":{\"kind").unwrap();
        let saved = read(&path).unwrap();
        assert_eq!(saved.origin, Some(origin));
        assert_eq!(saved.calls, [calls[1], (CallKind::List, now)]);
    }

    #[test]
    fn file_that_is_not_a_state_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        std::fs::write(&path, "not\nstate\n").unwrap();
        assert!(matches!(read(&path), Err(Error::State { line: 1, .. })));
    }
}
