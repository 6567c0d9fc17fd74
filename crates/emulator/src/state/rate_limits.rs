//! Rate limits of the service, on sliding windows of emulated time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::call_kind::CallKind;
use crate::timeline::clock::{earlier, later};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Limits of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    pub link_per_min: usize,
    pub link_per_hour: usize,
    /// Starts of live response sessions.
    pub runs_per_min: usize,
    /// Concurrent live response sessions, including pending ones.
    pub sessions: usize,
    pub package_link_per_min: usize,
    pub package_link_per_hour: usize,
    /// Every other kind of call, counted separately.
    pub other_per_min: usize,
    pub other_per_hour: usize,
    /// Reject no call; calls are still counted.
    pub lifted: bool,
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self {
            link_per_min: 100,
            link_per_hour: 1500,
            runs_per_min: 10,
            sessions: 25,
            package_link_per_min: 2,
            package_link_per_hour: 120,
            other_per_min: 100,
            other_per_hour: 1500,
            lifted: false,
        }
    }
}

impl ServiceLimits {
    /// Limits that reject no call, for measurements without waiting.
    pub fn lifted() -> Self {
        Self {
            lifted: true,
            ..Self::default()
        }
    }

    /// Calls per minute and per hour; `None` if the kind has no limit.
    pub(crate) fn of(&self, kind: CallKind) -> Option<(usize, usize)> {
        Some(match kind {
            CallKind::Link => (self.link_per_min, self.link_per_hour),
            CallKind::Run => (self.runs_per_min, self.runs_per_min.saturating_mul(60)),
            CallKind::PackageLink => (self.package_link_per_min, self.package_link_per_hour),
            CallKind::List
            | CallKind::Get
            | CallKind::Machines
            | CallKind::Cancel
            | CallKind::Package
            | CallKind::Library
            | CallKind::Upload
            | CallKind::Delete => (self.other_per_min, self.other_per_hour),
            CallKind::SignIn | CallKind::Blob | CallKind::Other => return None,
        })
    }
}

/// The accepted calls of the last hour, by kind. Rejected calls do not count;
/// otherwise a client that retries too early could never recover.
#[derive(Debug)]
pub(crate) struct CallWindows {
    limits: ServiceLimits,
    calls: HashMap<CallKind, VecDeque<Timestamp>>,
}

/// Rejection of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RateLimitExceeded {
    /// Emulated time after which the call is accepted.
    pub retry_after: Duration,
}

impl CallWindows {
    pub(crate) fn new(limits: ServiceLimits) -> Self {
        Self {
            limits,
            calls: HashMap::new(),
        }
    }

    /// Whether the kind has a limit.
    pub(crate) fn is_limited(&self, kind: CallKind) -> bool {
        self.limits.of(kind).is_some()
    }

    /// Counts a call at `now`, or rejects it.
    pub(crate) fn admit(
        &mut self,
        kind: CallKind,
        now: Timestamp,
    ) -> Result<(), RateLimitExceeded> {
        let Some((per_min, per_hour)) = self.limits.of(kind) else {
            return Ok(());
        };
        let calls = self.calls.entry(kind).or_default();
        let hour_ago = earlier(now, HOUR);
        while calls.front().is_some_and(|at| *at <= hour_ago) {
            calls.pop_front();
        }
        if !self.limits.lifted {
            let free_at = [(per_min, MINUTE), (per_hour, HOUR)]
                .into_iter()
                .filter_map(|(limit, window)| free_at(calls, limit, window, now))
                .max();
            if let Some(free_at) = free_at {
                return Err(RateLimitExceeded {
                    retry_after: free_at.duration_since(now).unsigned_abs(),
                });
            }
        }
        // A call counts from its arrival, but one with a large body is checked
        // after smaller ones that arrived later.
        let position = calls.partition_point(|at| *at <= now);
        calls.insert(position, now);
        Ok(())
    }

    /// Counts a call of a previous run, without checking limits.
    pub(crate) fn restore(&mut self, kind: CallKind, at: Timestamp) {
        self.calls.entry(kind).or_default().push_back(at);
    }
}

/// The time at which a full window accepts a call again; `None` if it is not
/// full. A call leaves the window exactly one window length after its arrival.
fn free_at(
    calls: &VecDeque<Timestamp>,
    limit: usize,
    window: Duration,
    now: Timestamp,
) -> Option<Timestamp> {
    let oldest = calls.len().checked_sub(limit.max(1))?;
    let free = later(*calls.get(oldest)?, window);
    (free > now).then_some(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: f64) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        later(start, Duration::from_secs_f64(n))
    }

    #[test]
    fn call_101_is_rejected_until_the_first_is_a_minute_old() {
        let mut windows = CallWindows::new(ServiceLimits::default());
        for n in 0..100 {
            assert!(
                windows
                    .admit(CallKind::Link, second(f64::from(n) * 0.1))
                    .is_ok()
            );
        }
        let rejected = windows.admit(CallKind::Link, second(59.999)).unwrap_err();
        assert_eq!(rejected.retry_after, Duration::from_millis(1));
        assert!(windows.admit(CallKind::Link, second(60.0)).is_ok());
        assert!(windows.admit(CallKind::Link, second(60.05)).is_err());
        assert!(windows.admit(CallKind::Link, second(60.1)).is_ok());
    }

    #[test]
    fn hourly_limit_applies_below_the_minute_limit() {
        let mut windows = CallWindows::new(ServiceLimits::default());
        for n in 0..1500 {
            assert!(
                windows
                    .admit(CallKind::Link, second(f64::from(n) * 0.7))
                    .is_ok()
            );
        }
        let rejected = windows.admit(CallKind::Link, second(3599.0)).unwrap_err();
        assert_eq!(rejected.retry_after, Duration::from_secs(1));
        assert!(windows.admit(CallKind::Link, second(3600.0)).is_ok());
    }

    #[test]
    fn each_kind_is_limited_separately_and_blobs_are_unlimited() {
        let mut windows = CallWindows::new(ServiceLimits::default());
        for _ in 0..100 {
            assert!(windows.admit(CallKind::List, second(0.0)).is_ok());
        }
        assert!(windows.admit(CallKind::List, second(0.0)).is_err());
        assert!(windows.admit(CallKind::Link, second(0.0)).is_ok());
        for _ in 0..500 {
            assert!(windows.admit(CallKind::Blob, second(0.0)).is_ok());
        }
    }

    #[test]
    fn lifted_limits_reject_nothing() {
        let mut windows = CallWindows::new(ServiceLimits::lifted());
        for _ in 0..5000 {
            assert!(windows.admit(CallKind::Link, second(0.0)).is_ok());
        }
    }

    #[test]
    fn call_that_is_checked_late_counts_from_its_arrival() {
        let mut windows = CallWindows::new(ServiceLimits::default());
        for n in [30.0, 0.0, 30.0, 0.0] {
            for _ in 0..25 {
                assert!(windows.admit(CallKind::Upload, second(n)).is_ok());
            }
        }
        let rejected = windows.admit(CallKind::Upload, second(40.0)).unwrap_err();
        assert_eq!(rejected.retry_after, Duration::from_secs(20));
        assert!(windows.admit(CallKind::Upload, second(60.0)).is_ok());
    }

    #[test]
    fn limits_are_10_runs_and_2_package_links_per_minute() {
        let mut windows = CallWindows::new(ServiceLimits::default());
        let mut fits = |kind, n| windows.admit(kind, second(n)).is_ok();
        assert!((0..10).all(|_| fits(CallKind::Run, 0.0)));
        assert!(!fits(CallKind::Run, 59.9) && fits(CallKind::Run, 60.0));
        assert!((0..2).all(|_| fits(CallKind::PackageLink, 0.0)));
        assert!(!fits(CallKind::PackageLink, 59.9));
        assert!(fits(CallKind::Cancel, 0.0) && fits(CallKind::Library, 0.0));
    }

    #[test]
    fn restored_calls_count_against_the_limit() {
        let mut windows = CallWindows::new(ServiceLimits::default());
        for _ in 0..100 {
            windows.restore(CallKind::Link, second(0.0));
        }
        assert!(windows.admit(CallKind::Link, second(30.0)).is_err());
        assert!(windows.admit(CallKind::Link, second(60.0)).is_ok());
    }
}
