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

use crate::clock::Moment;
use crate::service::rate_limit::ApiCall;
use crate::system;

const HEADER: &str = "afteraction calls 1\n";
/// A longer file is rewritten without what is over, once that is half of it: an
/// hour may hold more than this, and would be rewritten at every call.
const REWRITE_BYTES: usize = 256 * 1024;
/// A call and its answer, two lines.
const CALL_BYTES: usize = 85;
/// Entries may stand ahead of a look by so much of an hour: a minute.
const AHEAD_PART: u32 = 60;
/// No hour is that long: such a file is none of ours.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A call as the log knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub id: u64,
    pub call: ApiCall,
    pub sent: Moment,
    pub answered: Option<Moment>,
}

/// What the log says now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub calls: Vec<Logged>,
    /// A call held back by the service until then.
    pub holds: Vec<(ApiCall, Moment)>,
}

/// A fact to be added.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry {
    Sent { call: ApiCall, id: u64, at: Moment },
    Answered { id: u64, at: Moment },
    Unsent { id: u64 },
    Held { call: ApiCall, until: Moment },
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

    /// Shows the ledger to `decide` and adds what it returns, all under the
    /// lock.
    ///
    /// **Errors**: `InvalidData` where the log cannot be understood; see
    /// [`CallLog::start_over`].
    pub fn decide<R>(
        &self,
        now: Moment,
        decide: impl FnOnce(&Ledger) -> (R, Option<Entry>),
    ) -> io::Result<R> {
        let _held = system::lock(&self.lock)?;
        let text = self.read()?;
        let mut ledger = read_ledger(&text)?;
        let turned_back = ledger.forget_before(now, self.keep);
        let torn = !text.is_empty() && !text.ends_with('\n');
        let long = text.len() > REWRITE_BYTES.max(2 * CALL_BYTES * ledger.calls.len());
        if text.is_empty() || torn || long || turned_back {
            system::replace(&self.path, &ledger.to_text(), self.sync)?;
        }
        let (answer, entry) = decide(&ledger);
        if let Some(entry) = entry {
            self.append(entry)?;
        }
        Ok(answer)
    }

    /// Adds a fact nothing depends on: it is lost where the last line is torn,
    /// which the next decision mends.
    pub fn note(&self, entry: Entry) -> io::Result<()> {
        let _held = system::lock(&self.lock)?;
        if system::ends_with(&self.path, b'\n')? {
            self.append(entry)?;
        }
        Ok(())
    }

    /// Replaces a log nobody understands by one that holds every call back
    /// until `until`: the hour counts as spent.
    pub fn start_over(&self, until: Moment) -> io::Result<()> {
        let _held = system::lock(&self.lock)?;
        let ledger = Ledger {
            calls: Vec::new(),
            holds: ApiCall::ALL.iter().map(|call| (*call, until)).collect(),
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

    fn append(&self, entry: Entry) -> io::Result<()> {
        let must_last = self.sync && matches!(entry, Entry::Sent { .. });
        system::append(&self.path, &line_of(entry), must_last)
    }
}

impl Ledger {
    /// Drops what is over. What stands far in the future was written before the
    /// clock was set back and counts from now on; `true` then, so that the log
    /// says so too and the next look does not count from its own now.
    fn forget_before(&mut self, now: Moment, keep: Duration) -> bool {
        // Others note while we wait for the lock: that is no clock set back.
        let near = now.after(keep / AHEAD_PART);
        let mut turned_back = false;
        let mut turn = |at: &mut Moment, latest: Moment, to: Moment| {
            if *at > latest {
                *at = to;
                turned_back = true;
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
        for (_, until) in &mut self.holds {
            turn(until, near.after(keep), now.after(keep));
        }
        self.holds.retain(|(_, until)| *until > now);
        turned_back
    }

    fn to_text(&self) -> String {
        let sent = self.calls.iter().map(|c| Entry::Sent {
            call: c.call,
            id: c.id,
            at: c.sent,
        });
        let answered = self.calls.iter().filter_map(|c| {
            Some(Entry::Answered {
                id: c.id,
                at: c.answered?,
            })
        });
        let held = self.holds.iter().map(|(call, until)| Entry::Held {
            call: *call,
            until: *until,
        });
        let mut text = HEADER.to_string();
        text.extend(sent.chain(answered).chain(held).map(line_of));
        text
    }
}

fn line_of(entry: Entry) -> String {
    let mut line = String::new();
    // Writing to a String cannot fail.
    let _ = match entry {
        Entry::Sent { call, id, at } => writeln!(line, "s {} {id} {}", call.word(), at.0),
        Entry::Answered { id, at } => writeln!(line, "a {id} {}", at.0),
        Entry::Unsent { id } => writeln!(line, "u {id}"),
        Entry::Held { call, until } => writeln!(line, "h {} {}", call.word(), until.0),
    };
    line
}

/// Reads a log. A last line without its end was being written when its
/// process died: that call was never sent.
fn read_ledger(text: &str) -> io::Result<Ledger> {
    let mut ledger = Ledger::default();
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

impl Ledger {
    fn add(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["s", call, id, at] => self.calls.push(Logged {
                id: id.parse().ok()?,
                call: ApiCall::from_word(call)?,
                sent: Moment(at.parse().ok()?),
                answered: None,
            }),
            ["a", id, at] => {
                let (id, at) = (id.parse().ok()?, Moment(at.parse().ok()?));
                if let Some(call) = self.find(id) {
                    call.answered = Some(at);
                }
            }
            ["u", id] => {
                let id: u64 = id.parse().ok()?;
                self.calls.retain(|c| c.id != id);
            }
            ["h", call, until] => self
                .holds
                .push((ApiCall::from_word(call)?, Moment(until.parse().ok()?))),
            _ => return None,
        }
        Some(())
    }

    /// Answers come soon after their calls: searched from the end.
    fn find(&mut self, id: u64) -> Option<&mut Logged> {
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

    fn sent(id: u64, at: u64) -> Entry {
        Entry::Sent {
            call: ApiCall::Link,
            id,
            at: Moment(at),
        }
    }

    fn look(log: &CallLog, now: u64) -> io::Result<Ledger> {
        log.decide(Moment(now), |ledger| (ledger.clone(), None))
    }

    #[test]
    fn what_one_process_notes_another_sees_until_the_hour_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let open = || CallLog::open(dir.path(), "t", HOUR, true).unwrap();
        let (one, other) = (open(), open());
        one.decide(Moment(5), |_| ((), Some(sent(1, 5)))).unwrap();
        one.decide(Moment(6), |_| ((), Some(sent(2, 6)))).unwrap();
        one.note(Entry::Answered {
            id: 1,
            at: Moment(9),
        })
        .unwrap();
        one.note(Entry::Unsent { id: 2 }).unwrap();
        let ledger = look(&other, 10).unwrap();
        assert_eq!(ledger.calls.len(), 1);
        assert_eq!(ledger.calls[0].answered, Some(Moment(9)));
        let later = look(&other, 10 + 3_600_000_000).unwrap();
        assert_eq!(later, Ledger::default());
    }

    #[test]
    fn a_torn_last_line_is_a_call_that_was_not_sent() {
        let dir = tempfile::tempdir().unwrap();
        let log = CallLog::open(dir.path(), "t", HOUR, true).unwrap();
        log.decide(Moment(5), |_| ((), Some(sent(1, 5)))).unwrap();
        let mut text = std::fs::read_to_string(log.path()).unwrap();
        text.push_str("s link 99");
        std::fs::write(log.path(), text).unwrap();
        log.note(Entry::Unsent { id: 1 }).unwrap();
        assert_eq!(look(&log, 6).unwrap().calls.len(), 1);
        log.decide(Moment(7), |_| ((), Some(sent(3, 7)))).unwrap();
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
        log.start_over(Moment(77)).unwrap();
        assert_eq!(look(&log, 5).unwrap().holds.len(), ApiCall::ALL.len());
    }

    #[test]
    fn a_clock_set_back_prolongs_no_hold_beyond_an_hour() {
        let mut ledger = Ledger {
            calls: vec![Logged {
                id: 1,
                call: ApiCall::List,
                sent: Moment(u64::MAX),
                answered: None,
            }],
            holds: vec![(ApiCall::List, Moment(u64::MAX))],
        };
        assert!(ledger.forget_before(Moment(10), HOUR));
        assert_eq!(ledger.calls[0].sent, Moment(10));
        assert_eq!(ledger.holds[0].1, Moment(10).after(HOUR));
        assert!(!ledger.forget_before(Moment(10), HOUR));
    }

    #[test]
    fn what_a_clock_ahead_wrote_is_over_an_hour_after_the_first_look() {
        let dir = tempfile::tempdir().unwrap();
        let log = CallLog::open(dir.path(), "t", HOUR, true).unwrap();
        let day = Moment(0).after(24 * HOUR);
        let held = Entry::Held {
            call: ApiCall::List,
            until: day.after(HOUR),
        };
        log.decide(day, |_| ((), Some(sent(1, day.0)))).unwrap();
        log.note(Entry::Answered { id: 1, at: day }).unwrap();
        log.note(held).unwrap();
        let first = look(&log, 10).unwrap();
        assert_eq!(first.calls[0].answered, Some(Moment(10)));
        assert_eq!(first.holds.len(), 1);
        let half = look(&log, HOUR.as_micros() as u64 / 2).unwrap();
        assert_eq!(half, first);
        let later = Moment(11).after(HOUR);
        assert_eq!(look(&log, later.0).unwrap(), Ledger::default());
    }

    #[test]
    fn another_call_noted_during_a_look_is_no_clock_set_back() {
        let mut ledger = Ledger {
            calls: vec![Logged {
                id: 1,
                call: ApiCall::List,
                sent: Moment(11),
                answered: Some(Moment(12)),
            }],
            holds: vec![(ApiCall::List, Moment(11).after(HOUR))],
        };
        let before = ledger.clone();
        assert!(!ledger.forget_before(Moment(10), HOUR));
        assert_eq!(ledger, before);
    }

    #[test]
    fn a_long_log_of_calls_that_count_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = CallLog::open(dir.path(), "t", HOUR, true).unwrap();
        let calls = |n: u64, at: u64| {
            let lines = (0..n).map(|n| {
                let id = u64::MAX - n;
                let answer = Entry::Answered { id, at: Moment(at) };
                line_of(sent(id, at)) + &line_of(answer)
            });
            lines.collect::<String>()
        };
        let now = Moment(1_700_000_000_000_000).after(2 * HOUR);
        let [old, new] = [1_700_000_000_000_000, now.0];
        let full = format!("{HEADER}{}{}", calls(1, old), calls(4_500, new));
        assert_eq!(full.len(), HEADER.len() + 4_501 * CALL_BYTES);
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
