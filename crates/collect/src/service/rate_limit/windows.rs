//! Sliding windows of the rate limits: when the next call may be sent, and how
//! many calls may be sent in the time to come. Pure.

use std::time::Duration;

use crate::api_call::ApiCall;
use crate::clock::{Clock, WallTime};
use crate::service::call_log::CallHistory;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// Limits of most calls, link requests among them. **Source**: the API page of
/// each call.
pub(crate) const CALLS_PER_MINUTE: usize = 100;
pub(crate) const CALLS_PER_HOUR: usize = 1_500;
/// Session starts per minute. The service has no hourly limit for them.
pub(crate) const STARTS_PER_MINUTE: usize = 10;

/// Horizons for which the capacity is computed, in seconds: a minute, and the
/// hour in steps, because its window may open late.
const HORIZONS: [u64; 13] = [
    60, 300, 600, 900, 1_200, 1_500, 1_800, 2_100, 2_400, 2_700, 3_000, 3_300, 3_600,
];

/// Maximum number of calls in any time span of this length.
struct CallLimit {
    calls: usize,
    span: Duration,
}

const fn limit(calls: usize, span: Duration) -> CallLimit {
    CallLimit { calls, span }
}

const DEFAULT_LIMITS: &[CallLimit] =
    &[limit(CALLS_PER_MINUTE, MINUTE), limit(CALLS_PER_HOUR, HOUR)];
const RUN_LIMITS: &[CallLimit] = &[limit(STARTS_PER_MINUTE, MINUTE)];
const PACKAGE_LINK_LIMITS: &[CallLimit] = &[limit(2, MINUTE), limit(120, HOUR)];

fn limits_of(call: ApiCall) -> &'static [CallLimit] {
    match call {
        ApiCall::Run => RUN_LIMITS,
        ApiCall::PackageLink => PACKAGE_LINK_LIMITS,
        _ => DEFAULT_LIMITS,
    }
}

/// The clock of the windows, and the timeout of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallTiming {
    pub clock: Clock,
    /// **Units**: real time.
    pub call_timeout: Duration,
}

/// Time at which the next call may be sent. The end of a call in flight is not
/// known, so the time may become later.
pub(crate) fn earliest(
    history: &CallHistory,
    call: ApiCall,
    now: WallTime,
    timing: CallTiming,
) -> WallTime {
    let mut ends = ends_of(history, call, now, timing);
    ends.sort_unstable();
    let allowed = limits_of(call)
        .iter()
        .filter_map(|limit| {
            // The call that must leave the window before another one fits.
            let blocking = ends.len().checked_sub(limit.calls)?;
            Some(ends.get(blocking)?.after(timing.clock.real(limit.span)))
        })
        .max();
    let unblocked = history
        .blocks
        .iter()
        .filter(|(blocked, _)| *blocked == call)
        .map(|(_, until)| *until)
        .max();
    allowed.max(unblocked).unwrap_or(now).max(now)
}

/// The times at which calls of a kind ended, or will end at the latest.
fn ends_of(
    history: &CallHistory,
    call: ApiCall,
    now: WallTime,
    timing: CallTiming,
) -> Vec<WallTime> {
    history
        .calls
        .iter()
        .filter(|logged| logged.call == call)
        .map(|logged| {
            logged
                .answered
                .unwrap_or(logged.sent.after(timing.call_timeout).min(now))
        })
        .collect()
}

/// Number of calls of a kind that may be sent within a time from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallCapacity {
    /// **Units**: service time.
    pub within: Duration,
    pub calls: usize,
}

/// The capacity within each of the [`HORIZONS`].
pub(crate) fn capacities(
    history: &CallHistory,
    call: ApiCall,
    now: WallTime,
    timing: CallTiming,
) -> Vec<CallCapacity> {
    let ends = ends_of(history, call, now, timing);
    let capacity = |seconds| {
        let within = Duration::from_secs(seconds);
        let until = now.after(timing.clock.real(within));
        let remaining = |limit: &CallLimit| {
            let span = timing.clock.real(limit.span);
            let in_window = ends.iter().filter(|end| end.after(span) > until).count();
            let spans = (within.as_secs() / limit.span.as_secs()).max(1) as usize;
            (limit.calls * spans).saturating_sub(in_window)
        };
        let is_blocked = history
            .blocks
            .iter()
            .any(|(blocked, end)| *blocked == call && *end > until);
        let calls = limits_of(call).iter().map(remaining).min();
        CallCapacity {
            within,
            calls: calls.filter(|_| !is_blocked).unwrap_or(0),
        }
    };
    HORIZONS.map(capacity).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::call_log::LoggedCall;

    fn timing() -> CallTiming {
        CallTiming {
            clock: Clock::new(1.0),
            call_timeout: Duration::from_secs(120),
        }
    }

    fn seconds(s: u64) -> WallTime {
        WallTime(s * 1_000_000)
    }

    fn answered(at_s: u64) -> LoggedCall {
        LoggedCall {
            id: at_s,
            call: ApiCall::Link,
            sent: seconds(at_s),
            answered: Some(seconds(at_s)),
        }
    }

    fn history(calls: Vec<LoggedCall>) -> CallHistory {
        CallHistory {
            calls,
            blocks: Vec::new(),
        }
    }

    fn next_link(calls: Vec<LoggedCall>, now: u64) -> WallTime {
        earliest(&history(calls), ApiCall::Link, seconds(now), timing())
    }

    #[test]
    fn minute_window_allows_a_burst_and_then_slides() {
        let calls: Vec<_> = (0..99).map(answered).collect();
        assert_eq!(next_link(calls.clone(), 99), seconds(99));
        let full: Vec<_> = (0..100).map(|_| answered(10)).collect();
        assert_eq!(next_link(full, 20), seconds(70));
    }

    #[test]
    fn hour_window_limits_when_the_minute_does_not() {
        let calls: Vec<_> = (0..1_500).map(|n| answered(n * 2)).collect();
        assert_eq!(next_link(calls, 3_100), seconds(3_600));
    }

    #[test]
    fn each_kind_has_its_own_limits() {
        let next = |call, calls: usize, now| {
            let sent = |_| LoggedCall {
                call,
                ..answered(10)
            };
            let history = history((0..calls).map(sent).collect());
            earliest(&history, call, seconds(now), timing())
        };
        assert_eq!(next(ApiCall::Run, 9, 20), seconds(20));
        assert_eq!(next(ApiCall::Run, 10, 20), seconds(70));
        assert_eq!(next(ApiCall::PackageLink, 2, 20), seconds(70));
        assert_eq!(next(ApiCall::PackageLink, 120, 100), seconds(3_610));
        assert_eq!(next(ApiCall::Cancel, 99, 20), seconds(20));
    }

    #[test]
    fn call_in_flight_counts_until_its_timeout() {
        let mut calls: Vec<_> = (0..99).map(|_| answered(1)).collect();
        calls.push(LoggedCall {
            answered: None,
            ..answered(1)
        });
        assert_eq!(next_link(calls.clone(), 10), seconds(61));
        let unanswered: Vec<_> = (0..100).map(|_| calls[99]).collect();
        assert_eq!(next_link(unanswered.clone(), 100), seconds(160));
        assert_eq!(next_link(unanswered, 150), seconds(181));
    }

    #[test]
    fn block_of_one_kind_does_not_delay_another() {
        let history = CallHistory {
            blocks: vec![(ApiCall::Link, seconds(500))],
            ..history((0..100).map(|_| answered(10)).collect())
        };
        let next = |call| earliest(&history, call, seconds(20), timing());
        assert_eq!(next(ApiCall::List), seconds(20));
        assert_eq!(next(ApiCall::Link), seconds(500));
    }

    #[test]
    fn capacity_excludes_calls_that_are_still_in_the_window() {
        let calls = |history: &CallHistory, now| -> Vec<usize> {
            capacities(history, ApiCall::Link, seconds(now), timing())
                .iter()
                .filter(|c| matches!(c.within.as_secs(), 60 | 900 | 1_800 | 2_700 | 3_600))
                .map(|capacity| capacity.calls)
                .collect()
        };
        let unused = CallHistory::default();
        assert_eq!(calls(&unused, 0), [100, 1_500, 1_500, 1_500, 1_500]);
        let mut used = history((0..1_500).map(|n| answered(n * 2)).collect());
        // The calls of the first 900 seconds leave the window until 4,500 s.
        assert_eq!(calls(&used, 3_600), [31, 451, 901, 1_351, 1_500]);
        assert_eq!(calls(&used, 3_000), [0, 151, 601, 1_051, 1_500]);
        used.blocks.push((ApiCall::Link, seconds(4_000)));
        assert_eq!(calls(&used, 3_600), [0, 451, 901, 1_351, 1_500]);
    }
}
