//! Delay of the first request for a result after the end of its command, and
//! interval of the following requests. Pure, except for [`ResultPacing`].
//!
//! Link requests have the scarcest rate limit; the calls left in the hour
//! decide. A result that is requested every `s` seconds and becomes available
//! `d` seconds after the end of its command, on average, takes `d / s + 1/2`
//! calls and is downloaded `s / 2` seconds late. The calls available for a
//! result therefore determine the interval.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::service::rate_limit::CallCapacity;

/// Shortest interval. Lists that show the end of a command are not read more
/// often.
const INTERVAL_MIN: Duration = Duration::from_secs(5);
/// Delay until the first results have been measured. Uploads were observed to
/// take at most a minute.
const DELAY_INITIAL: Duration = Duration::from_secs(30);
/// A longer measured delay is mostly time spent waiting for the rate limit.
const DELAY_MAX: Duration = Duration::from_secs(120);
/// Number of results with about as much weight as all earlier ones together.
const DELAY_MEMORY: u32 = 32;

/// Results that may have to be requested.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpectedResults {
    /// Results of completed commands.
    pub queued: u64,
    /// Results of sessions in progress and to be started.
    pub later: u64,
    /// Upper limit of the later results per minute.
    pub per_minute_max: f64,
}

impl ExpectedResults {
    fn within(self, time: Duration) -> f64 {
        let max = self.per_minute_max * time.as_secs_f64() / 60.0;
        self.queued as f64 + max.min(self.later as f64)
    }
}

/// Delay of the first request and interval of the following ones. If there is
/// less than one call per result, each result is requested once, when most are
/// available.
///
/// **Units**: service time.
fn request_interval(
    capacities: &[CallCapacity],
    expected: ExpectedResults,
    delay: Duration,
) -> Duration {
    let calls_per_result =
        |capacity: &CallCapacity| capacity.calls as f64 / expected.within(capacity.within).max(1.0);
    let calls = capacities
        .iter()
        .map(calls_per_result)
        .fold(f64::INFINITY, f64::min);
    delay.div_f64(calls.max(1.0) - 0.5).max(INTERVAL_MIN)
}

/// Mean time between the end of a command and the availability of its result,
/// learned from requests.
#[derive(Clone, Copy, Debug)]
struct ResultDelay {
    mean: Duration,
}

impl Default for ResultDelay {
    fn default() -> Self {
        Self {
            mean: DELAY_INITIAL,
        }
    }
}

impl ResultDelay {
    /// A result was `available` that long after the end of its command, and
    /// not yet at `last_miss`: it became available in between.
    fn record(&mut self, last_miss: Option<Duration>, available: Duration) {
        let estimate = match last_miss {
            Some(last_miss) => (last_miss + available) / 2,
            // It may have been available long before: no reason to ask later.
            None => (available / 2).min(self.mean),
        };
        let others = self.mean * (DELAY_MEMORY - 1);
        self.mean = (others + estimate.min(DELAY_MAX)) / DELAY_MEMORY;
    }
}

/// Current request interval and the delays measured so far.
#[derive(Default)]
pub(crate) struct ResultPacing {
    state: Mutex<PacingState>,
}

#[derive(Default)]
struct PacingState {
    /// `None` if results are requested as soon as their command is completed.
    interval: Option<Duration>,
    delay: ResultDelay,
}

impl ResultPacing {
    /// Computes and returns the request interval.
    ///
    /// **Units**: service time.
    pub(crate) fn update(
        &self,
        capacities: &[CallCapacity],
        expected: ExpectedResults,
    ) -> Duration {
        let mut state = self.lock();
        let interval = request_interval(capacities, expected, state.delay.mean);
        state.interval = Some(interval);
        interval
    }

    pub(crate) fn interval(&self) -> Option<Duration> {
        self.lock().interval
    }

    /// See [`ResultDelay::record`].
    pub(crate) fn record_delay(&self, last_miss: Option<Duration>, available: Duration) {
        self.lock().delay.record(last_miss, available);
    }

    fn lock(&self) -> MutexGuard<'_, PacingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ApiCall;
    use crate::clock::{Clock, WallTime};
    use crate::service::call_log::{CallHistory, LoggedCall};
    use crate::service::rate_limit::{CallTiming, capacities, earliest};
    use crate::service::retry::RetryState;

    /// A fleet run whose sessions end one after the other, 25 at a time.
    struct SimulatedRun {
        sessions: u64,
        results_per_session: u64,
        /// Shortest and longest duration of an upload, in seconds.
        upload: (u64, u64),
        /// Link requests of other processes in the half hour before.
        calls_before: u64,
    }

    struct SimulatedResult {
        ended: u64,
        available: u64,
        request_at: u64,
        last_miss: Option<u64>,
        retries: RetryState,
    }

    struct Measured {
        calls_per_result: f64,
        mean_lateness: f64,
        p90_lateness: u64,
        /// Lateness of the last result.
        last_lateness: u64,
    }

    const BEGIN: u64 = 10_000;
    const LIST_INTERVAL: u64 = 3;

    fn at(second: u64) -> WallTime {
        WallTime(second * 1_000_000)
    }

    fn link_call(id: u64, second: u64) -> LoggedCall {
        LoggedCall {
            id,
            call: ApiCall::Link,
            sent: at(second),
            answered: Some(at(second)),
        }
    }

    impl SimulatedRun {
        fn results(&self) -> Vec<SimulatedResult> {
            let mut seed = 7u64;
            let mut random = |(from, to): (u64, u64)| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                from + (seed >> 33) % (to - from + 1)
            };
            let ends_of_session = |n: u64| {
                (0..self.results_per_session).map(move |nth| BEGIN + n * 64 / 10 + nth * 5)
            };
            (0..self.sessions)
                .flat_map(ends_of_session)
                .map(|ended| SimulatedResult {
                    ended,
                    available: ended + random(self.upload),
                    request_at: u64::MAX,
                    last_miss: None,
                    retries: RetryState::default(),
                })
                .collect()
        }

        fn run(&self) -> Measured {
            let timing = CallTiming {
                clock: Clock::new(1.0),
                call_timeout: Duration::from_secs(120),
            };
            let seconds = Duration::from_secs;
            let mut history = CallHistory {
                calls: (0..self.calls_before)
                    .map(|n| link_call(n, BEGIN - 1_800 + n % 1_800))
                    .collect(),
                blocks: Vec::new(),
            };
            let (mut results, mut lateness) = (self.results(), Vec::new());
            let mut calls = 0;
            let mut delay = ResultDelay::default();
            let mut interval = INTERVAL_MIN;
            for now in BEGIN.. {
                if now % LIST_INTERVAL == 0 {
                    let queued = results.iter().filter(|r| r.ended <= now).count() as u64;
                    let expected = ExpectedResults {
                        queued,
                        later: results.len() as u64 - queued,
                        per_minute_max: self.results_per_session as f64 * 25.0 * 60.0 / 160.0,
                    };
                    history
                        .calls
                        .retain(|call| at(now).since(call.sent) < seconds(3_600));
                    interval = request_interval(
                        &capacities(&history, ApiCall::Link, at(now), timing),
                        expected,
                        delay.mean,
                    );
                    for result in &mut results {
                        if result.ended <= now && result.request_at == u64::MAX {
                            result.request_at = now.max(result.ended + interval.as_secs());
                        }
                    }
                }
                for result in results.iter_mut().filter(|r| r.request_at <= now) {
                    if earliest(&history, ApiCall::Link, at(now), timing) > at(now) {
                        break;
                    }
                    calls += 1;
                    history.calls.push(link_call(calls + 10_000, now));
                    if result.available <= now {
                        lateness.push(now - result.available);
                        let last_miss = result.last_miss.map(|t| seconds(t - result.ended));
                        delay.record(last_miss, seconds(now - result.ended));
                        result.ended = 0;
                    } else {
                        result.last_miss = Some(now);
                        let wait = result.retries.next_even_delay(interval).expect("a retry");
                        result.request_at = now + wait.as_secs();
                    }
                }
                results.retain(|result| result.ended > 0);
                if results.is_empty() {
                    break;
                }
            }
            self.measure(calls, lateness)
        }

        fn measure(&self, calls: u64, mut lateness: Vec<u64>) -> Measured {
            let last_lateness = lateness.last().copied().unwrap();
            lateness.sort_unstable();
            let measured = Measured {
                calls_per_result: calls as f64 / lateness.len() as f64,
                mean_lateness: lateness.iter().sum::<u64>() as f64 / lateness.len() as f64,
                p90_lateness: lateness[lateness.len() * 9 / 10],
                last_lateness,
            };
            println!(
                "{} sessions with {} results, uploads of {:?} s, {} earlier calls: {:.1} calls \
                 per result, late by {:.1} s on average, p90 {} s, last result {} s",
                self.sessions,
                self.results_per_session,
                self.upload,
                self.calls_before,
                measured.calls_per_result,
                measured.mean_lateness,
                measured.p90_lateness,
                measured.last_lateness
            );
            measured
        }
    }

    const USUAL: SimulatedRun = SimulatedRun {
        sessions: 300,
        results_per_session: 1,
        upload: (2, 60),
        calls_before: 0,
    };

    #[test]
    fn few_results_are_requested_within_seconds_of_their_availability() {
        let measured = USUAL.run();
        assert!(measured.mean_lateness < 6.0 && measured.p90_lateness <= 11);
        assert!(measured.calls_per_result < 6.0);
    }

    #[test]
    fn many_results_are_requested_as_early_as_the_hourly_limit_allows() {
        let one_each = SimulatedRun {
            sessions: 2_000,
            ..USUAL
        };
        let measured = one_each.run();
        assert!(measured.mean_lateness < 10.0 && measured.p90_lateness <= 20);
        let two_each = SimulatedRun {
            results_per_session: 2,
            ..one_each
        };
        let measured = two_each.run();
        assert!(measured.mean_lateness < 25.0 && measured.p90_lateness <= 45);
        assert!(measured.last_lateness < 180, "it delays the end of the run");
        let after_other_calls = SimulatedRun {
            calls_before: 1_100,
            ..USUAL
        };
        let measured = after_other_calls.run();
        assert!(measured.mean_lateness < 25.0 && measured.p90_lateness <= 45);
    }

    #[test]
    fn result_costs_one_call_if_uploads_are_quick() {
        let quick = SimulatedRun {
            sessions: 2_000,
            results_per_session: 2,
            upload: (1, 3),
            calls_before: 0,
        };
        let measured = quick.run();
        assert!(measured.calls_per_result < 1.2 && measured.mean_lateness < 8.0);
    }

    #[test]
    fn interval_grows_until_each_result_is_requested_once() {
        let expected = ExpectedResults {
            queued: 10,
            later: 1_000,
            per_minute_max: 10.0,
        };
        let interval_s = |calls| {
            let capacity = CallCapacity {
                within: Duration::from_secs(3_600),
                calls,
            };
            request_interval(&[capacity], expected, DELAY_INITIAL).as_secs()
        };
        let calls = [0, 610, 1_220, 100_000];
        assert_eq!(calls.map(interval_s), [60, 60, 20, 5]);
    }
}
