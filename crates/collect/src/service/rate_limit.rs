//! Rate limiter: delays calls so that the service's limits for any sliding
//! minute and hour are kept, across tasks and processes.
//!
//! The limits are measured by the server's clock. A call therefore occupies
//! its windows from its sending until 60 s and 3,600 s after its response, or
//! after its timeout if there is none.

mod windows;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::api_call::ApiCall;
use crate::clock::{Clock, WallTime};
use crate::error::CollectError;
use crate::service::call_log::{CallHistory, CallLog, CallLogEntry};
use crate::service::rate_limit::windows::HOUR;
pub(crate) use crate::service::rate_limit::windows::{
    CALLS_PER_HOUR, CALLS_PER_MINUTE, CallCapacity, CallTiming, STARTS_PER_MINUTE, capacities,
    earliest,
};

/// Delay after a 429 without `Retry-After`: half a window.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(30);
/// A permit is valid for this long. An unanswered call is counted for its
/// timeout and a minute after its admission; a call that is sent within half a
/// minute is answered or timed out while it counts.
const PERMIT_VALID_FOR: Duration = Duration::from_secs(30);

const CALL_KINDS: usize = ApiCall::ALL.len();

/// Admits calls when their windows have capacity.
pub(crate) struct RateLimiter {
    timing: CallTiming,
    /// `None` if the limits are lifted: there is nothing to count.
    log: Option<Arc<CallLog>>,
    /// Waiters of each kind queue here; the first one reads the log. Without a
    /// log, the value is the time until which the kind is blocked.
    waiters: [Mutex<WallTime>; CALL_KINDS],
    next_id: AtomicU64,
    sent: [AtomicU64; CALL_KINDS],
}

/// Permission to send one call. If it is dropped, the call counts as in flight.
pub(crate) struct CallPermit {
    limiter: Arc<RateLimiter>,
    call: ApiCall,
    id: u64,
    /// Time of the log entry.
    admitted: WallTime,
}

impl RateLimiter {
    /// Opens the log `name` in `dir`. If the log is damaged, all calls are
    /// blocked for an hour; the returned notice
    /// explains it.
    pub(crate) fn open(
        clock: Clock,
        limits_lifted: bool,
        call_timeout: Duration,
        dir: &Path,
        name: &str,
    ) -> Result<(Arc<Self>, Option<String>), CollectError> {
        let (log, notice) = if limits_lifted {
            (None, None)
        } else {
            let keep = clock.real(HOUR);
            // The hour of an emulator is not worth a sync per call.
            let log = CallLog::open(dir, name, keep, !clock.is_scaled())
                .map_err(|source| log_error(&dir.join(name), source))?;
            let notice = replace_damaged(&log, clock)?;
            (Some(Arc::new(log)), notice)
        };
        let first_id = getrandom::u64()
            .map_err(|_| CollectError::Worker("the system provides no randomness".into()))?;
        let limiter = Self {
            timing: CallTiming {
                clock,
                call_timeout,
            },
            log,
            waiters: Default::default(),
            next_id: AtomicU64::new(first_id),
            sent: Default::default(),
        };
        Ok((Arc::new(limiter), notice))
    }

    /// Waits until a call may be sent, and logs it. `on_wait` is called with
    /// the end of each wait.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        call: ApiCall,
        on_wait: &(dyn Fn(WallTime) + Sync),
    ) -> Result<CallPermit, CollectError> {
        let mut blocked_until = self.waiter(call).lock().await;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let admitted = loop {
            let now = self.timing.clock.now();
            let at = match &self.log {
                Some(log) => self
                    .try_admit(log.clone(), call, id, now)
                    .await?
                    .max(*blocked_until),
                None => *blocked_until,
            };
            if at <= now {
                break now;
            }
            on_wait(at);
            self.timing.clock.sleep_until(at).await;
        };
        *blocked_until = WallTime::default();
        self.sent_counter(call).fetch_add(1, Ordering::Relaxed);
        Ok(CallPermit {
            limiter: self.clone(),
            call,
            id,
            admitted,
        })
    }

    /// Blocks a kind of call after a 429.
    pub(crate) async fn block(&self, call: ApiCall, retry_after: Option<Duration>) {
        let wait = retry_after.unwrap_or(RETRY_AFTER_DEFAULT);
        tracing::debug!(
            call = call.as_str(),
            wait_ms = wait.as_millis() as u64,
            "throttled by the service"
        );
        let until = self.timing.clock.now().after(self.timing.clock.real(wait));
        match self.log.clone() {
            // Awaited, so that the next call finds the entry.
            Some(log) => {
                let entry = CallLogEntry::Blocked { call, until };
                let _ = tokio::task::spawn_blocking(move || log.append(entry)).await;
            }
            None => {
                let mut blocked_until = self.waiter(call).lock().await;
                *blocked_until = (*blocked_until).max(until);
            }
        }
    }

    /// Checks the log. If it is damaged, all calls are blocked for an hour; the
    /// returned notice says so.
    pub(crate) fn check_log(&self) -> Result<Option<String>, CollectError> {
        match &self.log {
            Some(log) => replace_damaged(log, self.timing.clock),
            None => Ok(None),
        }
    }

    /// Calls that may be sent in the time to come, given those of all
    /// processes. If the log cannot be read, none: the next call reports it.
    pub(crate) async fn capacities(&self, call: ApiCall) -> Vec<CallCapacity> {
        let (log, timing) = (self.log.clone(), self.timing);
        let now = timing.clock.now();
        let computing = tokio::task::spawn_blocking(move || match log {
            Some(log) => log.update(now, |history| {
                (capacities(history, call, now, timing), None)
            }),
            None => Ok(capacities(&CallHistory::default(), call, now, timing)),
        });
        let none = CallCapacity {
            within: HOUR,
            calls: 0,
        };
        computing
            .await
            .ok()
            .and_then(Result::ok)
            .unwrap_or_else(|| vec![none])
    }

    /// Number of calls sent by this process.
    pub(crate) fn calls_sent(&self, call: ApiCall) -> u64 {
        self.sent_counter(call).load(Ordering::Relaxed)
    }

    /// The time at which a call may be sent. If that is now, the call is
    /// logged.
    async fn try_admit(
        &self,
        log: Arc<CallLog>,
        call: ApiCall,
        id: u64,
        now: WallTime,
    ) -> Result<WallTime, CollectError> {
        let timing = self.timing;
        let path = log.path().to_path_buf();
        let admitting = tokio::task::spawn_blocking(move || {
            log.update(now, |history| {
                let at = earliest(history, call, now, timing);
                let entry = (at <= now).then_some(CallLogEntry::Sent { call, id, at: now });
                (at, entry)
            })
        });
        admitting
            .await
            .map_err(|e| CollectError::Worker(e.to_string()))?
            .map_err(|source| log_error(&path, source))
    }

    /// Appends to the log in the background. Without this entry the log counts
    /// more calls than necessary, never fewer.
    fn append_in_background(&self, entry: CallLogEntry) {
        if let Some(log) = self.log.clone() {
            drop(tokio::task::spawn_blocking(move || log.append(entry)));
        }
    }

    fn waiter(&self, call: ApiCall) -> &Mutex<WallTime> {
        &self.waiters[call.index()]
    }

    fn sent_counter(&self, call: ApiCall) -> &AtomicU64 {
        &self.sent[call.index()]
    }
}

impl CallPermit {
    /// Whether a call that is sent now is counted until it is over.
    pub(crate) fn is_valid(&self) -> bool {
        let clock = self.limiter.timing.clock;
        clock.now() <= self.admitted.after(clock.real(PERMIT_VALID_FOR))
    }

    /// The call was answered, or will never be.
    pub(crate) fn complete(self) {
        let at = self.limiter.timing.clock.now();
        let entry = CallLogEntry::Answered { id: self.id, at };
        self.limiter.append_in_background(entry);
    }

    /// The call was not sent, or no connection was made: it is not counted.
    pub(crate) fn release_unused(self) {
        self.limiter
            .sent_counter(self.call)
            .fetch_sub(1, Ordering::Relaxed);
        let entry = CallLogEntry::Unsent { id: self.id };
        self.limiter.append_in_background(entry);
    }
}

/// Replaces a damaged log by one that blocks all calls for an hour, and returns
/// a notice.
fn replace_damaged(log: &CallLog, clock: Clock) -> Result<Option<String>, CollectError> {
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
        "the call log {} is unreadable ({error}): the calls of the last hour are unknown, no call is sent until {}",
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
mod tests {
    use super::*;
    use crate::service::rate_limit::windows::MINUTE;

    const TIMEOUT: Duration = Duration::from_secs(120);

    fn open(dir: &Path, clock: Clock) -> (Arc<RateLimiter>, Option<String>) {
        RateLimiter::open(clock, false, TIMEOUT, dir, "t").unwrap()
    }

    #[test]
    fn unreadable_call_log_blocks_calls_for_one_hour() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("t.calls"), "\0\0\0").unwrap();
        let clock = Clock::new(1.0);
        let before = clock.now();
        let (limiter, notice) = open(dir.path(), clock);
        assert!(notice.unwrap().contains("unreadable"));
        let log = limiter.log.as_ref().unwrap();
        for call in ApiCall::ALL {
            let now = clock.now();
            let next = log
                .update(now, |history| {
                    (earliest(history, call, now, limiter.timing), None)
                })
                .unwrap();
            assert!(next >= before.after(HOUR), "{call:?}");
        }
        let (_, notice) = open(dir.path(), clock);
        assert!(notice.is_none(), "the notice is given once");
    }

    /// Measures the times at which calls are admitted, at 100 times real time.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_limiters_with_one_log_keep_the_limits_and_use_them_fully() {
        const CALLS: usize = 310;
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::new(100.0);
        let limiters = [open(dir.path(), clock).0, open(dir.path(), clock).0];
        let admissions = Arc::new(std::sync::Mutex::new(Vec::new()));
        let start = std::time::Instant::now();
        let workers: Vec<_> = limiters
            .into_iter()
            .cycle()
            .take(16)
            .map(|limiter| {
                let admissions = admissions.clone();
                tokio::spawn(async move {
                    while admissions.lock().unwrap().len() < CALLS {
                        let permit = limiter.admit(ApiCall::Link, &|_| ()).await.unwrap();
                        admissions.lock().unwrap().push(start.elapsed());
                        tokio::time::sleep(Duration::from_micros(500)).await;
                        permit.complete();
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.unwrap();
        }
        let mut times = admissions.lock().unwrap().clone();
        times.sort();
        let window = clock.real(MINUTE);
        for pair in times.windows(101) {
            assert!(pair[100] - pair[0] >= window, "{:?}", pair[100] - pair[0]);
        }
        let bound = 3 * window;
        let elapsed = times[CALLS - 1];
        assert!(
            elapsed >= bound && elapsed < bound.mul_f64(1.15),
            "{elapsed:?}"
        );
    }
}
