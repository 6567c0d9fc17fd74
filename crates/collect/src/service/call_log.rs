//! Call log: the calls of the last hour, on disk, so that rate limits are kept
//! across processes.
//!
//! Every read and every entry is made under the lock of a file next to the
//! log. When the log has grown, it is replaced atomically; a crash leaves the
//! old or the new one.
//!
//! **Format**: one entry per line. `s CALL ID MICROS`: a call is about to be
//! sent. `a ID MICROS`: it was answered. `u ID`: it was not sent. `h CALL
//! MICROS`: calls of this kind are blocked until this time.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::api_call::ApiCall;
use crate::clock::WallTime;
use crate::system;

const HEADER: &str = "afteraction calls 1\n";
/// A longer log is rewritten without expired entries, if these are half of it.
/// The calls of an hour may need more; they are not rewritten on every call.
const REWRITE_BYTES: usize = 256 * 1024;
/// Length of the two lines of a call and its answer.
const BYTES_PER_CALL: usize = 85;
/// Entries may be in the future by this fraction of an hour, that is a minute:
/// other processes write while this one waits for the lock.
const AHEAD_DIVISOR: u32 = 60;
/// A longer file is not a call log: the calls of an hour need less.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A call in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoggedCall {
    pub id: u64,
    pub call: ApiCall,
    pub sent: WallTime,
    pub answered: Option<WallTime>,
}

/// The content of the log without expired entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallHistory {
    pub calls: Vec<LoggedCall>,
    /// Kinds of calls that the service has throttled, with the end of the wait.
    pub blocks: Vec<(ApiCall, WallTime)>,
}

/// An entry to be appended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CallLogEntry {
    Sent {
        call: ApiCall,
        id: u64,
        at: WallTime,
    },
    Answered {
        id: u64,
        at: WallTime,
    },
    Unsent {
        id: u64,
    },
    Blocked {
        call: ApiCall,
        until: WallTime,
    },
}

pub(crate) struct CallLog {
    path: PathBuf,
    lock: PathBuf,
    /// Age at which an entry expires.
    keep: Duration,
    /// Whether an entry must survive a power loss.
    sync: bool,
}

impl CallLog {
    pub(crate) fn open(dir: &Path, name: &str, keep: Duration, sync: bool) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self {
            path: dir.join(format!("{name}.calls")),
            lock: dir.join(format!("{name}.lock")),
            keep,
            sync,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Passes the history to `decide` and appends the entry that it returns,
    /// all under the lock.
    ///
    /// **Errors**: `InvalidData` if the log is damaged; see
    /// [`CallLog::block_all`].
    pub(crate) fn update<R>(
        &self,
        now: WallTime,
        decide: impl FnOnce(&CallHistory) -> (R, Option<CallLogEntry>),
    ) -> io::Result<R> {
        let _lock = system::lock(&self.lock)?;
        let text = self.read()?;
        let mut history = parse_history(&text)?;
        let was_clock_set_back = history.expire(now, self.keep);
        let is_torn = !text.is_empty() && !text.ends_with('\n');
        let is_long = text.len() > REWRITE_BYTES.max(2 * BYTES_PER_CALL * history.calls.len());
        if text.is_empty() || is_torn || is_long || was_clock_set_back {
            system::replace(&self.path, &history.to_text(), self.sync)?;
        }
        let (decision, entry) = decide(&history);
        if let Some(entry) = entry {
            self.write(entry)?;
        }
        Ok(decision)
    }

    /// Appends an entry that no decision depends on. It is dropped if the last
    /// line is torn; the next update repairs the log.
    pub(crate) fn append(&self, entry: CallLogEntry) -> io::Result<()> {
        let _lock = system::lock(&self.lock)?;
        if system::ends_with(&self.path, b'\n')? {
            self.write(entry)?;
        }
        Ok(())
    }

    /// Replaces a damaged log by one that blocks all calls until `until`,
    /// because the calls of the last hour are unknown.
    pub(crate) fn block_all(&self, until: WallTime) -> io::Result<()> {
        let _lock = system::lock(&self.lock)?;
        let history = CallHistory {
            calls: Vec::new(),
            blocks: ApiCall::ALL.iter().map(|call| (*call, until)).collect(),
        };
        system::replace(&self.path, &history.to_text(), self.sync)
    }

    fn read(&self) -> io::Result<String> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            Err(e) => return Err(e),
        };
        let mut bytes = Vec::new();
        file.take(LOG_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LOG_BYTES_MAX {
            return Err(invalid("too long"));
        }
        String::from_utf8(bytes).map_err(|_| invalid("not text"))
    }

    /// Writes an entry; the lock is held by the caller.
    fn write(&self, entry: CallLogEntry) -> io::Result<()> {
        let sync = self.sync && matches!(entry, CallLogEntry::Sent { .. });
        system::append(&self.path, &format_entry(entry), sync)
    }
}

impl CallHistory {
    /// Removes expired entries. An entry that is far in the future was written
    /// before the clock was set back; it expires as if it were written now.
    /// Returns whether there was one: the log is rewritten then, so that the
    /// next read does not start its expiry again.
    fn expire(&mut self, now: WallTime, keep: Duration) -> bool {
        let latest = now.after(keep / AHEAD_DIVISOR);
        let mut was_clock_set_back = false;
        let mut limit = |at: &mut WallTime, latest: WallTime, replacement: WallTime| {
            if *at > latest {
                *at = replacement;
                was_clock_set_back = true;
            }
        };
        for call in &mut self.calls {
            limit(&mut call.sent, latest, now);
            if let Some(answered) = &mut call.answered {
                limit(answered, latest, now);
            }
        }
        self.calls.retain(|call| {
            call.answered
                .unwrap_or(now.min(call.sent.after(keep)))
                .after(keep)
                > now
        });
        for (_, until) in &mut self.blocks {
            limit(until, latest.after(keep), now.after(keep));
        }
        self.blocks.retain(|(_, until)| *until > now);
        was_clock_set_back
    }

    fn to_text(&self) -> String {
        let sent = self.calls.iter().map(|call| CallLogEntry::Sent {
            call: call.call,
            id: call.id,
            at: call.sent,
        });
        let answered = self.calls.iter().filter_map(|call| {
            Some(CallLogEntry::Answered {
                id: call.id,
                at: call.answered?,
            })
        });
        let blocked = self
            .blocks
            .iter()
            .map(|(call, until)| CallLogEntry::Blocked {
                call: *call,
                until: *until,
            });
        let mut text = HEADER.to_string();
        text.extend(sent.chain(answered).chain(blocked).map(format_entry));
        text
    }

    /// Adds a line of the log; `None` if it is malformed.
    fn add_line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["s", call, id, at] => self.calls.push(LoggedCall {
                id: id.parse().ok()?,
                call: ApiCall::parse(call)?,
                sent: WallTime(at.parse().ok()?),
                answered: None,
            }),
            ["a", id, at] => {
                let (id, at) = (id.parse().ok()?, WallTime(at.parse().ok()?));
                if let Some(call) = self.find(id) {
                    call.answered = Some(at);
                }
            }
            ["u", id] => {
                let id: u64 = id.parse().ok()?;
                self.calls.retain(|call| call.id != id);
            }
            ["h", call, until] => self
                .blocks
                .push((ApiCall::parse(call)?, WallTime(until.parse().ok()?))),
            _ => return None,
        }
        Some(())
    }

    /// Searches from the end: answers follow soon after their calls.
    fn find(&mut self, id: u64) -> Option<&mut LoggedCall> {
        self.calls.iter_mut().rev().find(|call| call.id == id)
    }
}

fn format_entry(entry: CallLogEntry) -> String {
    let mut line = String::new();
    // Writing to a String cannot fail.
    let _ = match entry {
        CallLogEntry::Sent { call, id, at } => writeln!(line, "s {} {id} {}", call.as_str(), at.0),
        CallLogEntry::Answered { id, at } => writeln!(line, "a {id} {}", at.0),
        CallLogEntry::Unsent { id } => writeln!(line, "u {id}"),
        CallLogEntry::Blocked { call, until } => {
            writeln!(line, "h {} {}", call.as_str(), until.0)
        }
    };
    line
}

/// Parses a log. A last line without a line end was being written when its
/// process died: that call was not sent.
fn parse_history(text: &str) -> io::Result<CallHistory> {
    let mut history = CallHistory::default();
    if text.is_empty() {
        return Ok(history);
    }
    let body = text
        .strip_prefix(HEADER)
        .ok_or_else(|| invalid("unknown header or version"))?;
    let complete_lines = body
        .rfind('\n')
        .map_or("", |end| body.get(..end).unwrap_or(""));
    for line in complete_lines.lines() {
        history
            .add_line(line)
            .ok_or_else(|| invalid("malformed line"))?;
    }
    Ok(history)
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn open(dir: &tempfile::TempDir) -> CallLog {
        CallLog::open(dir.path(), "t", HOUR, true).unwrap()
    }

    fn sent(id: u64, at: u64) -> CallLogEntry {
        CallLogEntry::Sent {
            call: ApiCall::Link,
            id,
            at: WallTime(at),
        }
    }

    fn read(log: &CallLog, now: u64) -> io::Result<CallHistory> {
        log.update(WallTime(now), |history| (history.clone(), None))
    }

    #[test]
    fn entries_are_visible_to_other_processes_for_one_hour() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (open(&dir), open(&dir));
        one.update(WallTime(5), |_| ((), Some(sent(1, 5)))).unwrap();
        one.update(WallTime(6), |_| ((), Some(sent(2, 6)))).unwrap();
        one.append(CallLogEntry::Answered {
            id: 1,
            at: WallTime(9),
        })
        .unwrap();
        one.append(CallLogEntry::Unsent { id: 2 }).unwrap();
        let history = read(&other, 10).unwrap();
        assert_eq!(history.calls.len(), 1);
        assert_eq!(history.calls[0].answered, Some(WallTime(9)));
        let later = read(&other, 10 + 3_600_000_000).unwrap();
        assert_eq!(later, CallHistory::default());
    }

    #[test]
    fn torn_last_line_is_a_call_that_was_not_sent() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir);
        log.update(WallTime(5), |_| ((), Some(sent(1, 5)))).unwrap();
        let mut text = std::fs::read_to_string(log.path()).unwrap();
        text.push_str("s link 99");
        std::fs::write(log.path(), text).unwrap();
        log.append(CallLogEntry::Unsent { id: 1 }).unwrap();
        assert_eq!(read(&log, 6).unwrap().calls.len(), 1);
        log.update(WallTime(7), |_| ((), Some(sent(3, 7)))).unwrap();
        assert_eq!(read(&log, 8).unwrap().calls.len(), 2);
    }

    #[test]
    fn unreadable_log_is_an_error_until_all_calls_are_blocked() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir);
        for text in ["something else\n", "afteraction calls 1\nx y\n", "\0\0\0"] {
            std::fs::write(log.path(), text).unwrap();
            let error = read(&log, 5).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text:?}");
        }
        log.block_all(WallTime(77)).unwrap();
        assert_eq!(read(&log, 5).unwrap().blocks.len(), ApiCall::ALL.len());
    }

    #[test]
    fn clock_set_back_extends_no_block_beyond_an_hour() {
        let mut history = CallHistory {
            calls: vec![LoggedCall {
                id: 1,
                call: ApiCall::List,
                sent: WallTime(u64::MAX),
                answered: None,
            }],
            blocks: vec![(ApiCall::List, WallTime(u64::MAX))],
        };
        assert!(history.expire(WallTime(10), HOUR));
        assert_eq!(history.calls[0].sent, WallTime(10));
        assert_eq!(history.blocks[0].1, WallTime(10).after(HOUR));
        assert!(!history.expire(WallTime(10), HOUR));
    }

    #[test]
    fn log_entries_from_the_future_expire_one_hour_after_first_read() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir);
        let day = WallTime(0).after(24 * HOUR);
        log.update(day, |_| ((), Some(sent(1, day.0)))).unwrap();
        log.append(CallLogEntry::Answered { id: 1, at: day })
            .unwrap();
        log.append(CallLogEntry::Blocked {
            call: ApiCall::List,
            until: day.after(HOUR),
        })
        .unwrap();
        let first = read(&log, 10).unwrap();
        assert_eq!(first.calls[0].answered, Some(WallTime(10)));
        assert_eq!(first.blocks.len(), 1);
        let half = read(&log, HOUR.as_micros() as u64 / 2).unwrap();
        assert_eq!(half, first);
        let later = WallTime(11).after(HOUR);
        assert_eq!(read(&log, later.0).unwrap(), CallHistory::default());
    }

    #[test]
    fn entry_slightly_in_the_future_is_not_a_clock_set_back() {
        let mut history = CallHistory {
            calls: vec![LoggedCall {
                id: 1,
                call: ApiCall::List,
                sent: WallTime(11),
                answered: Some(WallTime(12)),
            }],
            blocks: vec![(ApiCall::List, WallTime(11).after(HOUR))],
        };
        let before = history.clone();
        assert!(!history.expire(WallTime(10), HOUR));
        assert_eq!(history, before);
    }

    #[test]
    fn long_log_is_rewritten_only_if_half_of_it_is_expired() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir);
        let calls = |count: u64, at: u64| -> String {
            (0..count)
                .map(|n| {
                    let id = u64::MAX - n;
                    let at = WallTime(at);
                    format_entry(sent(id, at.0)) + &format_entry(CallLogEntry::Answered { id, at })
                })
                .collect()
        };
        let old = 1_700_000_000_000_000;
        let now = WallTime(old).after(2 * HOUR).0;
        let full = format!("{HEADER}{}{}", calls(1, old), calls(4_500, now));
        assert_eq!(full.len(), HEADER.len() + 4_501 * BYTES_PER_CALL);
        assert!(full.len() > REWRITE_BYTES);
        std::fs::write(log.path(), &full).unwrap();
        assert_eq!(read(&log, now).unwrap().calls.len(), 4_500);
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), full);
        let stale = format!("{HEADER}{}{}", calls(6_000, old), calls(10, now));
        std::fs::write(log.path(), &stale).unwrap();
        read(&log, now).unwrap();
        assert!(std::fs::read_to_string(log.path()).unwrap().len() < 1_000);
    }
}
