//! The service's limits on calls, judged on sliding windows of emulated time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::call_kind::CallKind;
use crate::timeline::clock::{earlier, later};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// How many calls of one kind the service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    pub link_per_min: usize,
    pub link_per_hour: usize,
    /// Runs of live response commands.
    pub runs_per_min: usize,
    /// Live response sessions at the same time, those that wait included.
    pub sessions: usize,
    pub package_link_per_min: usize,
    pub package_link_per_hour: usize,
    /// Every other call, each for itself.
    pub other_per_min: usize,
    pub other_per_hour: usize,
    /// No call is refused; all are counted nevertheless.
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
    /// Nothing is refused: for measuring everything but the waiting.
    pub fn lifted() -> Self {
        Self {
            lifted: true,
            ..Self::default()
        }
    }

    /// Calls in a minute and in an hour; nothing where they are not counted.
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

/// The calls of the last hour, by kind. Only answered calls stand here: a
/// refused one takes no room, or a client that hurries could never recover.
#[derive(Debug)]
pub(crate) struct CallWindows {
    limits: ServiceLimits,
    calls: HashMap<CallKind, VecDeque<Timestamp>>,
}

/// A call beyond the budget may come again after this emulated time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RateLimitExceeded {
    pub again_after: Duration,
}

impl CallWindows {
    pub(crate) fn new(limits: ServiceLimits) -> Self {
        Self {
            limits,
            calls: HashMap::new(),
        }
    }

    /// Whether the kind is counted at all.
    pub(crate) fn counts(&self, kind: CallKind) -> bool {
        self.limits.of(kind).is_some()
    }

    /// Counts a call at `now`, or refuses it.
    pub(crate) fn take(&mut self, kind: CallKind, now: Timestamp) -> Result<(), RateLimitExceeded> {
        let Some((per_min, per_hour)) = self.limits.of(kind) else {
            return Ok(());
        };
        let calls = self.calls.entry(kind).or_default();
        let hour_ago = earlier(now, HOUR);
        while calls.front().is_some_and(|at| *at <= hour_ago) {
            calls.pop_front();
        }
        if !self.limits.lifted {
            let full = [(per_min, MINUTE), (per_hour, HOUR)]
                .into_iter()
                .filter_map(|(limit, window)| room_at(calls, limit, window, now))
                .max();
            if let Some(free) = full {
                let wait = free.duration_since(now).unsigned_abs();
                return Err(RateLimitExceeded { again_after: wait });
            }
        }
        // A call counts from its arrival, and a large one is judged later than
        // small ones that came after it.
        let place = calls.partition_point(|at| *at <= now);
        calls.insert(place, now);
        Ok(())
    }

    /// Counts a call of an earlier run, whatever the limits say.
    pub(crate) fn remember(&mut self, kind: CallKind, at: Timestamp) {
        self.calls.entry(kind).or_default().push_back(at);
    }
}

/// When the window has room again; `None` where it has room now. A call leaves
/// its window exactly one window after it came.
fn room_at(
    calls: &VecDeque<Timestamp>,
    limit: usize,
    window: Duration,
    now: Timestamp,
) -> Option<Timestamp> {
    let oldest_of_full = calls.len().checked_sub(limit.max(1))?;
    let free = later(*calls.get(oldest_of_full)?, window);
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
    fn the_hundred_and_first_call_waits_until_the_first_is_a_minute_old() {
        let mut budgets = CallWindows::new(ServiceLimits::default());
        for n in 0..100 {
            assert!(
                budgets
                    .take(CallKind::Link, second(f64::from(n) * 0.1))
                    .is_ok()
            );
        }
        let refused = budgets.take(CallKind::Link, second(59.999)).unwrap_err();
        assert_eq!(refused.again_after, Duration::from_millis(1));
        assert!(budgets.take(CallKind::Link, second(60.0)).is_ok());
        assert!(budgets.take(CallKind::Link, second(60.05)).is_err());
        assert!(budgets.take(CallKind::Link, second(60.1)).is_ok());
    }

    #[test]
    fn the_hour_binds_when_the_minute_does_not() {
        let mut budgets = CallWindows::new(ServiceLimits::default());
        for n in 0..1500 {
            assert!(
                budgets
                    .take(CallKind::Link, second(f64::from(n) * 0.7))
                    .is_ok()
            );
        }
        let refused = budgets.take(CallKind::Link, second(3599.0)).unwrap_err();
        assert_eq!(refused.again_after, Duration::from_secs(1));
        assert!(budgets.take(CallKind::Link, second(3600.0)).is_ok());
    }

    #[test]
    fn each_kind_of_call_has_its_own_budget_and_blobs_have_none() {
        let mut budgets = CallWindows::new(ServiceLimits::default());
        for _ in 0..100 {
            assert!(budgets.take(CallKind::List, second(0.0)).is_ok());
        }
        assert!(budgets.take(CallKind::List, second(0.0)).is_err());
        assert!(budgets.take(CallKind::Link, second(0.0)).is_ok());
        for _ in 0..500 {
            assert!(budgets.take(CallKind::Blob, second(0.0)).is_ok());
        }
    }

    #[test]
    fn lifted_limits_refuse_nothing() {
        let mut budgets = CallWindows::new(ServiceLimits::lifted());
        for _ in 0..5000 {
            assert!(budgets.take(CallKind::Link, second(0.0)).is_ok());
        }
    }

    #[test]
    fn a_call_that_is_judged_late_counts_from_its_arrival() {
        let mut budgets = CallWindows::new(ServiceLimits::default());
        for n in [30.0, 0.0, 30.0, 0.0] {
            for _ in 0..25 {
                assert!(budgets.take(CallKind::Upload, second(n)).is_ok());
            }
        }
        let refused = budgets.take(CallKind::Upload, second(40.0)).unwrap_err();
        assert_eq!(refused.again_after, Duration::from_secs(20));
        assert!(budgets.take(CallKind::Upload, second(60.0)).is_ok());
    }

    #[test]
    fn runs_have_ten_a_minute_and_package_links_two() {
        let mut budgets = CallWindows::new(ServiceLimits::default());
        let mut fits = |kind, n| budgets.take(kind, second(n)).is_ok();
        assert!((0..10).all(|_| fits(CallKind::Run, 0.0)));
        assert!(!fits(CallKind::Run, 59.9) && fits(CallKind::Run, 60.0));
        assert!((0..2).all(|_| fits(CallKind::PackageLink, 0.0)));
        assert!(!fits(CallKind::PackageLink, 59.9));
        assert!(fits(CallKind::Cancel, 0.0) && fits(CallKind::Library, 0.0));
    }

    #[test]
    fn calls_of_an_earlier_run_take_room() {
        let mut budgets = CallWindows::new(ServiceLimits::default());
        for _ in 0..100 {
            budgets.remember(CallKind::Link, second(0.0));
        }
        assert!(budgets.take(CallKind::Link, second(30.0)).is_err());
        assert!(budgets.take(CallKind::Link, second(60.0)).is_ok());
    }
}
