//! Circuit breaker of a host. All tasks share one retry schedule: an hour
//! without network costs tens of attempts in total, and no result its retries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::{Clock, WallTime};
use crate::service::retry::{ErrorClass, RetryState};

/// Whether to retry a lost connection without limit. Set for `--watch`;
/// without it, collection gives up after about an hour.
#[derive(Clone, Default)]
pub(crate) struct RetryForever(Arc<AtomicBool>);

impl RetryForever {
    pub(crate) fn set(&self, forever: bool) {
        self.0.store(forever, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub(crate) struct CircuitBreaker {
    retry_forever: RetryForever,
    state: Mutex<BreakerState>,
}

#[derive(Default)]
struct BreakerState {
    retries: RetryState,
    open_until: WallTime,
}

/// State of an outage after a failed connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutageState {
    /// The first failure since the last attempt; the user is notified.
    Started(WallTime),
    /// Another task has reported the failure, or the outage has lasted so long
    /// that it is no longer reported.
    Continues(WallTime),
    /// The retries are exhausted.
    GaveUp,
}

impl CircuitBreaker {
    pub(crate) fn new(retry_forever: RetryForever) -> Self {
        Self {
            retry_forever,
            state: Mutex::default(),
        }
    }

    /// Records a failed connection. Concurrent failures count once.
    pub(crate) fn record_failure(&self, clock: Clock) -> OutageState {
        let now = clock.now();
        let mut state = self.lock();
        if now < state.open_until {
            return OutageState::Continues(state.open_until);
        }
        let next = state.retries.next_delay(ErrorClass::NoConnection);
        let longest = self
            .retry_forever
            .get()
            .then(|| ErrorClass::NoConnection.max_delay());
        let Some(delay) = next.or(longest) else {
            return OutageState::GaveUp;
        };
        tracing::debug!(delay_ms = delay.as_millis() as u64, "host unreachable");
        state.open_until = now.after(clock.real(delay));
        if next.is_some() {
            OutageState::Started(state.open_until)
        } else {
            OutageState::Continues(state.open_until)
        }
    }

    /// Records a successful connection.
    pub(crate) fn record_success(&self) {
        *self.lock() = BreakerState::default();
    }

    /// Waits until the next attempt is due.
    pub(crate) async fn wait(&self, clock: Clock) {
        let until = self.lock().open_until;
        clock.sleep_until(until).await;
    }

    fn lock(&self) -> MutexGuard<'_, BreakerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn concurrent_failures_count_once() {
        let breaker = CircuitBreaker::default();
        let clock = Clock::new(1.0);
        let OutageState::Started(until) = breaker.record_failure(clock) else {
            panic!("the first failure is reported");
        };
        assert_eq!(breaker.record_failure(clock), OutageState::Continues(until));
        breaker.record_success();
        assert!(matches!(
            breaker.record_failure(clock),
            OutageState::Started(_)
        ));
    }

    #[test]
    fn watch_retries_forever_with_the_longest_delay_and_without_reports() {
        let forever = RetryForever::default();
        let breaker = CircuitBreaker::new(forever.clone());
        let clock = Clock::new(1.0);
        let fail = || {
            breaker.lock().open_until = WallTime::default();
            breaker.record_failure(clock)
        };
        let reported = (0..1_000)
            .take_while(|_| matches!(fail(), OutageState::Started(_)))
            .count();
        assert_eq!(fail(), OutageState::GaveUp);
        forever.set(true);
        for _ in 0..2 * reported {
            let OutageState::Continues(until) = fail() else {
                panic!("gave up, or reported again");
            };
            assert!(until >= clock.now().after(Duration::from_secs(59)));
        }
        forever.set(false);
        assert_eq!(fail(), OutageState::GaveUp);
    }
}
