//! A host that cannot be reached is out of reach for every slot: one schedule
//! for all, so that an hour without network costs tens of attempts and no
//! result its patience.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::{Clock, WallTime};
use crate::service::retry::{ErrorClass, RetryState};

/// Whether a lost connection is waited out however long it takes: what watches
/// outlives a night without network, what collects once tells after an hour.
#[derive(Clone, Default)]
pub(crate) struct RetryForever(Arc<AtomicBool>);

impl RetryForever {
    pub fn set(&self, endless: bool) {
        self.0.store(endless, Ordering::Relaxed);
    }

    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub(crate) struct CircuitBreaker {
    endless: RetryForever,
    state: Mutex<BreakerState>,
}

#[derive(Default)]
struct BreakerState {
    tries: RetryState,
    until: WallTime,
}

/// What a lost connection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutageState {
    /// The first slot to notice: worth telling.
    Started(WallTime),
    /// Others noticed before, or it was told for an hour.
    Continues(WallTime),
    /// Tried long enough.
    GaveUp,
}

impl CircuitBreaker {
    pub fn new(endless: RetryForever) -> Self {
        Self {
            endless,
            state: Mutex::default(),
        }
    }

    /// A connection failed. Failures of slots that set out together count once.
    pub fn record_failure(&self, clock: Clock) -> OutageState {
        let now = clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now < state.until {
            return OutageState::Continues(state.until);
        }
        let wait = state.tries.next_delay(ErrorClass::NoConnection);
        let is_news = wait.is_some();
        let longest = self
            .endless
            .get()
            .then(|| ErrorClass::NoConnection.max_delay());
        match wait.or(longest) {
            Some(wait) => {
                state.until = now.after(clock.real(wait));
                if is_news {
                    OutageState::Started(state.until)
                } else {
                    OutageState::Continues(state.until)
                }
            }
            None => OutageState::GaveUp,
        }
    }

    /// A connection came about.
    pub fn record_success(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = BreakerState::default();
    }

    /// Waits while the host is out of reach.
    pub async fn wait(&self, clock: Clock) {
        let until = self
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .until;
        clock.sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn slots_that_fail_together_count_once() {
        let breaker = CircuitBreaker::default();
        let clock = Clock::new(1.0);
        let OutageState::Started(until) = breaker.record_failure(clock) else {
            panic!("the first failure is news");
        };
        assert_eq!(breaker.record_failure(clock), OutageState::Continues(until));
        breaker.record_success();
        assert!(matches!(
            breaker.record_failure(clock),
            OutageState::Started(_)
        ));
    }

    #[test]
    fn what_watches_waits_on_at_the_longest_pause_and_says_no_more() {
        let endless = RetryForever::default();
        let breaker = CircuitBreaker::new(endless.clone());
        let clock = Clock::new(1.0);
        let fail = || {
            breaker.state.lock().unwrap().until = WallTime::default();
            breaker.record_failure(clock)
        };
        let told = (0..1_000)
            .take_while(|_| matches!(fail(), OutageState::Started(_)))
            .count();
        assert_eq!(fail(), OutageState::GaveUp);
        endless.set(true);
        for _ in 0..2 * told {
            let OutageState::Continues(until) = fail() else {
                panic!("given up, or told once more");
            };
            assert!(until >= clock.now().after(Duration::from_secs(59)));
        }
        endless.set(false);
        assert_eq!(fail(), OutageState::GaveUp);
    }
}
