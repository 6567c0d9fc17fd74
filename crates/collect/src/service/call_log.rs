//! The calls of the last hour on disk, so that the budget outlives the process
//! and is shared by processes. Every look and every entry is made under the
//! lock of a file beside the log; the log itself is replaced whole when it has
//! grown, so a crash leaves the old one or the new one.
//!
//! One line a fact: `s CALL ID MICROS` a call about to be sent, `a ID MICROS`
//! its answer, `u ID` never sent after all, `h CALL MICROS` held until then.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::WallTime;
use crate::service::rate_limit::ApiCall;
use crate::system;

const HEADER: &str = "afteraction calls 1\n";
/// A longer file is rewritten without what is over, once that is half of it: an
/// hour may hold more than this, and would be rewritten at every call.
const REWRITE_BYTES: usize = 256 * 1024;
/// A call and its answer, two lines.
const BYTES_PER_CALL: usize = 85;
/// Entries may stand ahead of a look by so much of an hour: a minute.
const AHEAD_DIVISOR: u32 = 60;
/// No hour is that long: such a file is none of ours.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A call as the log knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoggedCall {
    pub id: u64,
    pub call: ApiCall,
    pub sent: WallTime,
    pub answered: Option<WallTime>,
}

/// What the log says now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CallHistory {
    pub calls: Vec<LoggedCall>,
    /// A call held back by the service until then.
    pub blocks: Vec<(ApiCall, WallTime)>,
}

/// A fact to be added.
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
    /// Entries older than this are over.
    keep: Duration,
    /// Whether an entry must survive power loss too.
    sync: bool,
}

impl CallLog {
    pub fn open(dir: &Path, name: &str, keep: Duration, sync: bool) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self {
            path: dir.join(format!("{name}.calls")),
            lock: dir.join(format!("{name}.lock")),
            keep,
            sync,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Shows the ledger to `update` and adds what it returns, all under the
    /// lock.
    ///
    /// **Errors**: `InvalidData` where the log cannot be understood; see
    /// [`CallLog::block_all`].
    pub fn update<R>(
        &self,
        now: WallTime,
        update: impl FnOnce(&CallHistory) -> (R, Option<CallLogEntry>),
    ) -> io::Result<R> {
        let _held = system::lock(&self.lock)?;
        let text = self.read()?;
        let mut ledger = parse_history(&text)?;
        let clock_set_back = ledger.expire(now, self.keep);
        let torn = !text.is_empty() && !text.ends_with('\n');
        let long = text.len() > REWRITE_BYTES.max(2 * BYTES_PER_CALL * ledger.calls.len());
        if text.is_empty() || torn || long || clock_set_back {
            system::replace(&self.path, &ledger.to_text(), self.sync)?;
        }
        let (answer, entry) = update(&ledger);
        if let Some(entry) = entry {
            self.append(entry)?;
        }
        Ok(answer)
    }

    /// Adds a fact nothing depends on: it is lost where the last line is torn,
    /// which the next decision mends.
    pub fn note(&self, entry: CallLogEntry) -> io::Result<()> {
        let _held = system::lock(&self.lock)?;
        if system::ends_with(&self.path, b'\n')? {
            self.append(entry)?;
        }
        Ok(())
    }

    /// Replaces a log nobody understands by one that holds every call back
    /// until `until`: the hour counts as spent.
    pub fn block_all(&self, until: WallTime) -> io::Result<()> {
        let _held = system::lock(&self.lock)?;
        let ledger = CallHistory {
            calls: Vec::new(),
            blocks: ApiCall::ALL.iter().map(|call| (*call, until)).collect(),
        };
        system::replace(&self.path, &ledger.to_text(), self.sync)
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

    fn append(&self, entry: CallLogEntry) -> io::Result<()> {
        let must_last = self.sync && matches!(entry, CallLogEntry::Sent { .. });
        system::append(&self.path, &format_entry(entry), must_last)
    }
}

impl CallHistory {
    /// Drops what is over. What stands far in the future was written before the
    /// clock was set back and counts from now on; `true` then, so that the log
    /// says so too and the next look does not count from its own now.
    fn expire(&mut self, now: WallTime, keep: Duration) -> bool {
        // Others note while we wait for the lock: that is no clock set back.
        let near = now.after(keep / AHEAD_DIVISOR);
        let mut clock_set_back = false;
        let mut turn = |at: &mut WallTime, latest: WallTime, to: WallTime| {
            if *at > latest {
                *at = to;
                clock_set_back = true;
            }
        };
        for call in &mut self.calls {
            turn(&mut call.sent, near, now);
            if let Some(answered) = &mut call.answered {
                turn(answered, near, now);
            }
        }
        self.calls.retain(|c| {
            c.answered
                .unwrap_or(now.min(c.sent.after(keep)))
                .after(keep)
                > now
        });
        for (_, until) in &mut self.blocks {
            turn(until, near.after(keep), now.after(keep));
        }
        self.blocks.retain(|(_, until)| *until > now);
        clock_set_back
    }

    fn to_text(&self) -> String {
        let sent = self.calls.iter().map(|c| CallLogEntry::Sent {
            call: c.call,
            id: c.id,
            at: c.sent,
        });
        let answered = self.calls.iter().filter_map(|c| {
            Some(CallLogEntry::Answered {
                id: c.id,
                at: c.answered?,
            })
        });
        let held = self
            .blocks
            .iter()
            .map(|(call, until)| CallLogEntry::Blocked {
                call: *call,
                until: *until,
            });
        let mut text = HEADER.to_string();
        text.extend(sent.chain(answered).chain(held).map(format_entry));
        text
    }
}

fn format_entry(entry: CallLogEntry) -> String {
    let mut line = String::new();
    // Writing to a String cannot fail.
    let _ = match entry {
        CallLogEntry::Sent { call, id, at } => writeln!(line, "s {} {id} {}", call.as_str(), at.0),
        CallLogEntry::Answered { id, at } => writeln!(line, "a {id} {}", at.0),
        CallLogEntry::Unsent { id } => writeln!(line, "u {id}"),
        CallLogEntry::Blocked { call, until } => writeln!(line, "h {} {}", call.as_str(), until.0),
    };
    line
}

/// Reads a log. A last line without its end was being written when its
/// process died: that call was never sent.
fn parse_history(text: &str) -> io::Result<CallHistory> {
    let mut ledger = CallHistory::default();
    if text.is_empty() {
        return Ok(ledger);
    }
    let body = text
        .strip_prefix(HEADER)
        .ok_or_else(|| invalid("it begins with no header of this version"))?;
    let whole = body
        .rfind('\n')
        .map_or("", |end| body.get(..end).unwrap_or(""));
    for line in whole.lines() {
        ledger
            .add(line)
            .ok_or_else(|| invalid("a line is none of ours"))?;
    }
    Ok(ledger)
}

impl CallHistory {
    fn add(&mut self, line: &str) -> Option<()> {
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
                self.calls.retain(|c| c.id != id);
            }
            ["h", call, until] => self
                .blocks
                .push((ApiCall::parse(call)?, WallTime(until.parse().ok()?))),
            _ => return None,
        }
        Some(())
    }

    /// Answers come soon after their calls: searched from the end.
    fn find(&mut self, id: u64) -> Option<&mut LoggedCall> {
        self.calls.iter_mut().rev().find(|c| c.id == id)
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn sent(id: u64, at: u64) -> CallLogEntry {
        CallLogEntry::Sent {
            call: ApiCall::Link,
            id,
            at: WallTime(at),
        }
    }

    fn look(log: &CallLog, now: u64) -> io::Result<CallHistory> {
        log.update(WallTime(now), |ledger| (ledger.clone(), None))
    }

    #[test]
    fn what_one_process_notes_another_sees_until_the_hour_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let open = || CallLog::open(dir.path(), "t", HOUR, true).unwrap();
        let (one, other) = (open(), open());
        one.update(WallTime(5), |_| ((), Some(sent(1, 5)))).unwrap();
        one.update(WallTime(6), |_| ((), Some(sent(2, 6)))).unwrap();
        one.note(CallLogEntry::Answered {
            id: 1,
            at: WallTime(9),
        })
        .unwrap();
        one.note(CallLogEntry::Unsent { id: 2 }).unwrap();
        let ledger = look(&other, 10).unwrap();
        assert_eq!(ledger.calls.len(), 1);
        assert_eq!(ledger.calls[0].answered, Some(WallTime(9)));
        let later = look(&other, 10 + 3_600_000_000).unwrap();
        assert_eq!(later, CallHistory::default());
    }

    #[test]
    fn a_torn_last_line_is_a_call_that_was_not_sent() {
        let dir = tempfile::tempdir().unwrap();
        let log = CallLog::open(dir.path(), "t", HOUR, true).unwrap();
        log.update(WallTime(5), |_| ((), Some(sent(1, 5)))).unwrap();
        let mut text = std::fs::read_to_string(log.path()).unwrap();
        text.push_str("s link 99");
        std::fs::write(log.path(), text).unwrap();
        log.note(CallLogEntry::Unsent { id: 1 }).unwrap();
        assert_eq!(look(&log, 6).unwrap().calls.len(), 1);
        log.update(WallTime(7), |_| ((), Some(sent(3, 7)))).unwrap();
        assert_eq!(look(&log, 8).unwrap().calls.len(), 2);
    }

    #[test]
    fn a_log_nobody_understands_is_refused_and_then_holds_everything() {
        let dir = tempfile::tempdir().unwrap();
        let log = CallLog::open(dir.path(), "t", HOUR, true).unwrap();
        for odd in ["something else\n", "afteraction calls 1\nx y\n", "\0\0\0"] {
            std::fs::write(log.path(), odd).unwrap();
            let error = look(&log, 5).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{odd:?}");
        }
        log.block_all(WallTime(77)).unwrap();
        assert_eq!(look(&log, 5).unwrap().blocks.len(), ApiCall::ALL.len());
    }

    #[test]
    fn a_clock_set_back_prolongs_no_hold_beyond_an_hour() {
        let mut ledger = CallHistory {
            calls: vec![LoggedCall {
                id: 1,
                call: ApiCall::List,
                sent: WallTime(u64::MAX),
                answered: None,
            }],
            blocks: vec![(ApiCall::List, WallTime(u64::MAX))],
        };
        assert!(ledger.expire(WallTime(10), HOUR));
        assert_eq!(ledger.calls[0].sent, WallTime(10));
        assert_eq!(ledger.blocks[0].1, WallTime(10).after(HOUR));
        assert!(!ledger.expire(WallTime(10), HOUR));
    }

    #[test]
    fn what_a_clock_ahead_wrote_is_over_an_hour_after_the_first_look() {
        let dir = tempfile::tempdir().unwrap();
        let log = CallLog::open(dir.path(), "t", HOUR, true).unwrap();
        let day = WallTime(0).after(24 * HOUR);
        let held = CallLogEntry::Blocked {
            call: ApiCall::List,
            until: day.after(HOUR),
        };
        log.update(day, |_| ((), Some(sent(1, day.0)))).unwrap();
        log.note(CallLogEntry::Answered { id: 1, at: day }).unwrap();
        log.note(held).unwrap();
        let first = look(&log, 10).unwrap();
        assert_eq!(first.calls[0].answered, Some(WallTime(10)));
        assert_eq!(first.blocks.len(), 1);
        let half = look(&log, HOUR.as_micros() as u64 / 2).unwrap();
        assert_eq!(half, first);
        let later = WallTime(11).after(HOUR);
        assert_eq!(look(&log, later.0).unwrap(), CallHistory::default());
    }

    #[test]
    fn another_call_noted_during_a_look_is_no_clock_set_back() {
        let mut ledger = CallHistory {
            calls: vec![LoggedCall {
                id: 1,
                call: ApiCall::List,
                sent: WallTime(11),
                answered: Some(WallTime(12)),
            }],
            blocks: vec![(ApiCall::List, WallTime(11).after(HOUR))],
        };
        let before = ledger.clone();
        assert!(!ledger.expire(WallTime(10), HOUR));
        assert_eq!(ledger, before);
    }

    #[test]
    fn a_long_log_of_calls_that_count_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = CallLog::open(dir.path(), "t", HOUR, true).unwrap();
        let calls = |n: u64, at: u64| {
            let lines = (0..n).map(|n| {
                let id = u64::MAX - n;
                let answer = CallLogEntry::Answered {
                    id,
                    at: WallTime(at),
                };
                format_entry(sent(id, at)) + &format_entry(answer)
            });
            lines.collect::<String>()
        };
        let now = WallTime(1_700_000_000_000_000).after(2 * HOUR);
        let [old, new] = [1_700_000_000_000_000, now.0];
        let full = format!("{HEADER}{}{}", calls(1, old), calls(4_500, new));
        assert_eq!(full.len(), HEADER.len() + 4_501 * BYTES_PER_CALL);
        assert!(full.len() > REWRITE_BYTES);
        std::fs::write(log.path(), &full).unwrap();
        assert_eq!(look(&log, now.0).unwrap().calls.len(), 4_500);
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), full);
        let stale = format!("{HEADER}{}{}", calls(6_000, old), calls(10, new));
        std::fs::write(log.path(), &stale).unwrap();
        look(&log, now.0).unwrap();
        assert!(std::fs::read_to_string(log.path()).unwrap().len() < 1_000);
    }
}
