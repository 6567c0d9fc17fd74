//! The service's budgets: so many calls of each kind in any sliding minute and
//! in any sliding hour. The server's clock counts, so a call occupies its
//! windows from its sending until 60 s and 3,600 s after its answer, or after
//! the time by which it would have been given up.

mod capacity;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::CollectError;
use crate::clock::{Clock, WallTime};
use crate::service::call_log::{CallHistory, CallLog, CallLogEntry};

pub(crate) use crate::service::rate_limit::capacity::{CallCapacity, capacities};

/// What a 429 without `Retry-After` holds: half a window.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
/// Since its leave an unanswered call is counted for its timeout and a minute:
/// one that leaves within half of that is answered or given up while it counts.
const PERMIT_VALID_FOR: Duration = Duration::from_secs(30);

/// The kinds of calls; each has a budget of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApiCall {
    /// List actions.
    List,
    /// Ask for a result's link.
    Link,
    /// Start a live response session.
    Run,
    /// List machines.
    Machines,
    /// Look at one action.
    Action,
    /// Cancel an action.
    Cancel,
    /// Look at, add to or take from the library.
    Library,
    /// Have an investigation package collected.
    Package,
    /// Ask for an investigation package's link.
    PackageLink,
}

/// So many calls in any such span.
struct CallLimit {
    calls: usize,
    span: Duration,
}

const fn call_limit(calls: usize, span: Duration) -> CallLimit {
    CallLimit { calls, span }
}

/// Of most calls, links among them. **Source**: the API page of each.
pub(crate) const CALLS_PER_MINUTE: usize = 100;
pub(crate) const CALLS_PER_HOUR: usize = 1_500;
const USUAL: &[CallLimit] = &[
    call_limit(CALLS_PER_MINUTE, MINUTE),
    call_limit(CALLS_PER_HOUR, HOUR),
];
/// Starts a minute, and in any hour as many as its minutes allow.
pub(crate) const STARTS_PER_MINUTE: usize = 10;
const RUN: &[CallLimit] = &[call_limit(STARTS_PER_MINUTE, MINUTE)];
const PACKAGE_LINK: &[CallLimit] = &[call_limit(2, MINUTE), call_limit(120, HOUR)];

const CALL_KINDS: usize = ApiCall::ALL.len();

impl ApiCall {
    pub const ALL: [Self; 9] = [
        Self::List,
        Self::Link,
        Self::Run,
        Self::Machines,
        Self::Action,
        Self::Cancel,
        Self::Library,
        Self::Package,
        Self::PackageLink,
    ];

    fn limits(self) -> &'static [CallLimit] {
        match self {
            Self::Run => RUN,
            Self::PackageLink => PACKAGE_LINK,
            _ => USUAL,
        }
    }

    /// Place in [`ApiCall::ALL`].
    fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Link => "link",
            Self::Run => "run",
            Self::Machines => "machines",
            Self::Action => "action",
            Self::Cancel => "cancel",
            Self::Library => "library",
            Self::Package => "package",
            Self::PackageLink => "package-link",
        }
    }

    pub(crate) fn parse(as_str: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|call| call.as_str() == as_str)
    }

    /// For messages: "could not …".
    pub fn description(self) -> &'static str {
        match self {
            Self::List => "list actions",
            Self::Link => "ask for a result's link",
            Self::Run => "start a live response session",
            Self::Machines => "list machines",
            Self::Action => "look at an action",
            Self::Cancel => "cancel an action",
            Self::Library => "use the library",
            Self::Package => "have a package collected",
            Self::PackageLink => "ask for a package's link",
        }
    }
}

/// The clock that counts, and when a call without an answer is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallTiming {
    pub clock: Clock,
    /// **Units**: real time.
    pub call_timeout: Duration,
}

/// When the next call may leave. In flight means not yet answered: its end is
/// not known, so what is said then is the earliest it could be.
pub(crate) fn earliest(
    ledger: &CallHistory,
    call: ApiCall,
    now: WallTime,
    timing: CallTiming,
) -> WallTime {
    let mut window_starts = window_starts(ledger, call, now, timing);
    window_starts.sort_unstable();
    let free = call
        .limits()
        .iter()
        .filter_map(|call_limit| {
            // The call that must be over before one more fits.
            let blocking = window_starts.len().checked_sub(call_limit.calls)?;
            Some(
                window_starts
                    .get(blocking)?
                    .after(timing.clock.real(call_limit.span)),
            )
        })
        .max();
    let held = ledger
        .blocks
        .iter()
        .filter(|(held, _)| *held == call)
        .map(|(_, until)| *until)
        .max();
    free.max(held).unwrap_or(now).max(now)
}

/// When the calls of a kind were over, or will be.
fn window_starts(
    ledger: &CallHistory,
    call: ApiCall,
    now: WallTime,
    timing: CallTiming,
) -> Vec<WallTime> {
    let of_kind = ledger.calls.iter().filter(|c| c.call == call);
    of_kind
        .map(|c| {
            c.answered
                .unwrap_or(c.sent.after(timing.call_timeout).min(now))
        })
        .collect()
}

/// Lets calls go when their windows have room.
pub(crate) struct RateLimiter {
    timing: CallTiming,
    /// `None` with limits lifted: there is nothing to count.
    log: Option<Arc<CallLog>>,
    /// Who waits for a kind waits in line: the first in line asks the log.
    waiters: [Mutex<WallTime>; CALL_KINDS],
    next_id: AtomicU64,
    counts: [AtomicU64; CALL_KINDS],
}

/// A call that was let go. Dropped without a word it counts as in flight.
pub(crate) struct CallPermit {
    rate_limiter: Arc<RateLimiter>,
    call: ApiCall,
    id: u64,
    /// When the log noted it.
    at: WallTime,
}

impl RateLimiter {
    /// Opens the log of `name` in `dir`. Where it cannot be understood, the
    /// hour counts as spent, and that is the returned notice.
    pub fn open(
        clock: Clock,
        lifted: bool,
        call_timeout: Duration,
        dir: &Path,
        name: &str,
    ) -> Result<(Arc<Self>, Option<String>), CollectError> {
        let (log, notice) = if lifted {
            (None, None)
        } else {
            let keep = clock.real(HOUR);
            // An emulator's hour is not worth a sync for each call.
            let log = CallLog::open(dir, name, keep, !clock.is_scaled())
                .map_err(|source| log_error(&dir.join(name), source))?;
            let notice = check_log(&log, clock)?;
            (Some(Arc::new(log)), notice)
        };
        let rate_limiter = Self {
            timing: CallTiming {
                clock,
                call_timeout,
            },
            log,
            waiters: Default::default(),
            next_id: AtomicU64::new(RandomState::new().hash_one(std::process::id())),
            counts: Default::default(),
        };
        Ok((Arc::new(rate_limiter), notice))
    }

    /// Waits until a call may leave and notes that it does. `on_wait` hears of
    /// every wait, with its end.
    pub async fn admit(
        self: &Arc<Self>,
        call: ApiCall,
        on_wait: &(dyn Fn(WallTime) + Sync),
    ) -> Result<CallPermit, CollectError> {
        let mut held_until = self.waiter(call).lock().await;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let at = loop {
            let now = self.timing.clock.now();
            let until = match &self.log {
                Some(log) => self
                    .try_admit(log.clone(), call, id, now)
                    .await?
                    .max(*held_until),
                None => *held_until,
            };
            if until <= now {
                break now;
            }
            on_wait(until);
            self.timing.clock.sleep_until(until).await;
        };
        *held_until = WallTime::default();
        self.counter(call).fetch_add(1, Ordering::Relaxed);
        Ok(CallPermit {
            rate_limiter: self.clone(),
            call,
            id,
            at,
        })
    }

    /// A 429 moves the schedule of the whole kind, not of one call.
    pub async fn block(&self, call: ApiCall, retry_after: Option<Duration>) {
        let wait = retry_after.unwrap_or(RETRY_AFTER_DEFAULT);
        let until = self.timing.clock.now().after(self.timing.clock.real(wait));
        match self.log.clone() {
            // Awaited, so that whoever asks next finds it there.
            Some(log) => {
                let entry = CallLogEntry::Blocked { call, until };
                let _ = tokio::task::spawn_blocking(move || log.note(entry)).await;
            }
            None => {
                let mut held = self.waiter(call).lock().await;
                *held = (*held).max(until);
            }
        }
    }

    /// Looks whether the log can be understood; where it cannot, the hour
    /// counts as spent from now on, and that is the returned notice.
    pub fn check_log(&self) -> Result<Option<String>, CollectError> {
        match &self.log {
            Some(log) => check_log(log, self.timing.clock),
            None => Ok(None),
        }
    }

    /// What may leave in the time to come, calls of other processes counted;
    /// nothing where the log cannot be read, which the next call meets.
    pub async fn capacities(&self, call: ApiCall) -> Vec<CallCapacity> {
        let (log, timing) = (self.log.clone(), self.timing);
        let now = timing.clock.now();
        let looked = tokio::task::spawn_blocking(move || match log {
            Some(log) => log.update(now, |ledger| (capacities(ledger, call, now, timing), None)),
            None => Ok(capacities(&CallHistory::default(), call, now, timing)),
        });
        let none = CallCapacity {
            within: HOUR,
            calls: 0,
        };
        let known = looked.await.ok().and_then(Result::ok);
        known.unwrap_or_else(|| vec![none])
    }

    /// Calls sent by this run.
    pub fn calls_sent(&self, call: ApiCall) -> u64 {
        self.counter(call).load(Ordering::Relaxed)
    }

    /// Room now: the moment the log gives, and the call noted if that is now.
    async fn try_admit(
        &self,
        log: Arc<CallLog>,
        call: ApiCall,
        id: u64,
        now: WallTime,
    ) -> Result<WallTime, CollectError> {
        let timing = self.timing;
        let path = log.path().to_path_buf();
        let decided = tokio::task::spawn_blocking(move || {
            log.update(now, |ledger| {
                let at = earliest(ledger, call, now, timing);
                let entry = (at <= now).then_some(CallLogEntry::Sent { call, id, at: now });
                (at, entry)
            })
        });
        decided
            .await
            .map_err(|e| CollectError::Worker(e.to_string()))?
            .map_err(|source| log_error(&path, source))
    }

    /// Adds a fact behind the caller's back: without it the log is only more
    /// careful than it need be.
    fn note(&self, entry: CallLogEntry) {
        if let Some(log) = self.log.clone() {
            drop(tokio::task::spawn_blocking(move || log.note(entry)));
        }
    }

    fn waiter(&self, call: ApiCall) -> &Mutex<WallTime> {
        &self.waiters[call.index()]
    }

    fn counter(&self, call: ApiCall) -> &AtomicU64 {
        &self.counts[call.index()]
    }
}

impl CallPermit {
    /// Whether a request that leaves now is counted until it is over.
    pub fn is_valid(&self) -> bool {
        let clock = self.rate_limiter.timing.clock;
        clock.now() <= self.at.after(clock.real(PERMIT_VALID_FOR))
    }

    /// The answer is here, or will never be.
    pub fn complete(self) {
        let at = self.rate_limiter.timing.clock.now();
        self.rate_limiter
            .note(CallLogEntry::Answered { id: self.id, at });
    }

    /// No connection came about: the service has seen nothing.
    pub fn release_unused(self) {
        let count = self.rate_limiter.counter(self.call);
        count.fetch_sub(1, Ordering::Relaxed);
        self.rate_limiter.note(CallLogEntry::Unsent { id: self.id });
    }
}

fn check_log(log: &CallLog, clock: Clock) -> Result<Option<String>, CollectError> {
    let now = clock.now();
    let error = match log.update(now, |_| ((), None)) {
        Ok(()) => return Ok(None),
        Err(error) => error,
    };
    let failed = |e| log_error(log.path(), e);
    if error.kind() != io::ErrorKind::InvalidData {
        return Err(failed(error));
    }
    let until = now.after(clock.real(HOUR));
    log.block_all(until).map_err(failed)?;
    Ok(Some(format!(
        "the call log {} is unreadable ({error}): this hour's budget counts as spent until {}",
        log.path().display(),
        until.timestamp()
    )))
}

fn log_error(path: &Path, source: io::Error) -> CollectError {
    CollectError::CallLog {
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::service::call_log::LoggedCall;

    const TIMEOUT: Duration = Duration::from_secs(120);

    pub fn timing() -> CallTiming {
        CallTiming {
            clock: Clock::new(1.0),
            call_timeout: TIMEOUT,
        }
    }

    pub fn answered(at_s: u64) -> LoggedCall {
        LoggedCall {
            id: at_s,
            call: ApiCall::Link,
            sent: seconds(at_s),
            answered: Some(seconds(at_s)),
        }
    }

    pub fn seconds(s: u64) -> WallTime {
        WallTime(s * 1_000_000)
    }

    fn next(calls: Vec<LoggedCall>, now: u64) -> WallTime {
        let ledger = CallHistory {
            calls,
            blocks: Vec::new(),
        };
        earliest(&ledger, ApiCall::Link, seconds(now), timing())
    }

    #[test]
    fn a_minute_bursts_to_its_limit_and_slides() {
        let calls: Vec<_> = (0..99).map(answered).collect();
        assert_eq!(next(calls.clone(), 99), seconds(99));
        let full: Vec<_> = (0..100).map(|_| answered(10)).collect();
        assert_eq!(next(full, 20), seconds(70));
    }

    #[test]
    fn an_hour_binds_when_the_minute_does_not() {
        let calls: Vec<_> = (0..1_500).map(|n| answered(n * 2)).collect();
        assert_eq!(next(calls, 3_100), seconds(3_600));
    }

    #[test]
    fn each_kind_has_limits_of_its_own() {
        let free = |call, calls: usize, now| {
            let sent = |_| LoggedCall {
                call,
                ..answered(10)
            };
            let ledger = CallHistory {
                calls: (0..calls).map(sent).collect(),
                blocks: Vec::new(),
            };
            earliest(&ledger, call, seconds(now), timing())
        };
        assert_eq!(free(ApiCall::Run, 9, 20), seconds(20));
        assert_eq!(free(ApiCall::Run, 10, 20), seconds(70));
        assert_eq!(free(ApiCall::PackageLink, 2, 20), seconds(70));
        assert_eq!(free(ApiCall::PackageLink, 120, 100), seconds(3_610));
        assert_eq!(free(ApiCall::Cancel, 99, 20), seconds(20));
        for (index, call) in ApiCall::ALL.into_iter().enumerate() {
            assert_eq!(
                (call.index(), ApiCall::parse(call.as_str())),
                (index, Some(call))
            );
        }
    }

    #[test]
    fn a_call_in_flight_occupies_until_it_would_be_given_up() {
        let mut calls: Vec<_> = (0..99).map(|_| answered(1)).collect();
        calls.push(LoggedCall {
            answered: None,
            ..answered(1)
        });
        assert_eq!(next(calls.clone(), 10), seconds(61));
        let lost: Vec<_> = (0..100).map(|_| calls[99]).collect();
        assert_eq!(next(lost.clone(), 100), seconds(160));
        assert_eq!(next(lost, 150), seconds(181));
    }

    #[test]
    fn the_other_kind_of_call_is_not_held() {
        let ledger = CallHistory {
            calls: (0..100).map(|_| answered(10)).collect(),
            blocks: vec![(ApiCall::Link, seconds(500))],
        };
        let at = |call| earliest(&ledger, call, seconds(20), timing());
        assert_eq!(at(ApiCall::List), seconds(20));
        assert_eq!(at(ApiCall::Link), seconds(500));
    }

    #[test]
    fn a_log_nobody_understands_counts_as_a_spent_hour() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("t.calls"), "\0\0\0").unwrap();
        let clock = Clock::new(1.0);
        let before = clock.now();
        let (rate_limiter, notice) =
            RateLimiter::open(clock, false, TIMEOUT, dir.path(), "t").unwrap();
        assert!(notice.unwrap().contains("unreadable"));
        let free = |call| {
            let log = rate_limiter.log.as_ref().unwrap();
            let now = clock.now();
            log.update(now, |ledger| (earliest(ledger, call, now, timing()), None))
                .unwrap()
        };
        for call in ApiCall::ALL {
            assert!(free(call) >= before.after(HOUR), "{call:?}");
        }
        let again = RateLimiter::open(clock, false, TIMEOUT, dir.path(), "t").unwrap();
        assert!(again.1.is_none(), "what was said once is in the log");
    }

    /// A server that keeps its own windows, at a hundred times real time.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn n_calls_take_as_long_as_they_must_and_never_overspend() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::new(100.0);
        let open = || {
            RateLimiter::open(clock, false, TIMEOUT, dir.path(), "t")
                .unwrap()
                .0
        };
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let start = std::time::Instant::now();
        // Two budgets on one log: two processes of one application.
        let workers: Vec<_> = (0..16)
            .map(|n| (n % 2, seen.clone()))
            .zip([open(), open()].into_iter().cycle())
            .map(|((_, seen), rate_limiter)| {
                tokio::spawn(async move {
                    loop {
                        if seen.lock().unwrap().len() >= 310 {
                            return;
                        }
                        let permit = rate_limiter.admit(ApiCall::Link, &|_| ()).await.unwrap();
                        seen.lock().unwrap().push(start.elapsed());
                        tokio::time::sleep(Duration::from_micros(500)).await;
                        permit.complete();
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.unwrap();
        }
        let mut times = seen.lock().unwrap().clone();
        times.sort();
        let window = clock.real(MINUTE);
        for pair in times.windows(101) {
            assert!(pair[100] - pair[0] >= window, "{:?}", pair[100] - pair[0]);
        }
        let bound = 3 * window;
        let taken = times[309];
        assert!(taken >= bound && taken < bound.mul_f64(1.15), "{taken:?}");
    }
}
