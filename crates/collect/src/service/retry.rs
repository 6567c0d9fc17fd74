//! Retry policies: how often an operation is retried after each class of
//! error, and after which delays.

use std::collections::HashMap;
use std::time::Duration;

/// Class of an error that another attempt may resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ErrorClass {
    /// 429. The rate limiter already delays the next call.
    Throttled,
    /// 400: the result is not available yet. Uploads were observed to take up
    /// to a minute.
    NotReady,
    /// 404 of the API: observed for up to two minutes after the creation of an
    /// action.
    NotFound,
    /// 5xx, or an unexpected response.
    Server,
    /// The connection broke, or the body ended early.
    Interrupted,
    /// No connection was made. The circuit breaker delays attempts as well.
    NoConnection,
    LinkExpired,
    /// The blob was replaced during the download.
    BlobChanged,
    /// Hash or length differ from those given by the server.
    Damaged,
    /// 404 of the blob host.
    BlobMissing,
    /// The login host did not respond, or responded with 5xx.
    SignIn,
}

/// Exponential backoff with a maximum delay.
///
/// **Units**: service time.
struct RetryPolicy {
    retries: u32,
    first_delay: Duration,
    max_delay: Duration,
}

const fn policy(retries: u32, first_delay_ms: u64, max_delay_s: u64) -> RetryPolicy {
    RetryPolicy {
        retries,
        first_delay: Duration::from_millis(first_delay_ms),
        max_delay: Duration::from_secs(max_delay_s),
    }
}

impl ErrorClass {
    /// Whether the service cannot have processed the request.
    pub(crate) fn is_surely_unprocessed(self) -> bool {
        matches!(self, Self::Throttled | Self::NoConnection)
    }

    /// The longest delay, without jitter.
    pub(crate) fn max_delay(self) -> Duration {
        self.policy().max_delay
    }

    fn policy(self) -> RetryPolicy {
        match self {
            Self::Throttled => policy(60, 100, 5),
            // 5 + 10 + … + 160 + 160 s: eight minutes in total.
            Self::NotReady => policy(7, 5_000, 160),
            // 15 + 45 + 120 s would suffice; doubling from 12 s waits 180 s.
            Self::NotFound => policy(4, 12_000, 96),
            Self::Server => policy(8, 1_000, 60),
            // Reset by every byte that is received.
            Self::Interrupted => policy(8, 250, 30),
            Self::NoConnection => policy(60, 1_000, 60),
            Self::LinkExpired => policy(8, 250, 30),
            Self::BlobChanged => policy(5, 250, 5),
            Self::Damaged => policy(3, 500, 5),
            Self::BlobMissing => policy(3, 5_000, 30),
            Self::SignIn => policy(6, 1_000, 30),
        }
    }
}

/// Even delays are used for the first minute: uploads were observed to take up
/// to a minute.
const EVEN_FOR: Duration = Duration::from_secs(60);
/// The longest delay after that, and the total of all delays. Both are those
/// of [`ErrorClass::NotReady`].
const EVEN_MAX_DELAY: Duration = Duration::from_secs(160);
const EVEN_TOTAL: Duration = Duration::from_secs(475);

/// Retries of one operation so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct RetryState {
    errors: HashMap<ErrorClass, u32>,
    /// Total of all even delays.
    even_total: Duration,
}

impl RetryState {
    /// Counts an error and returns the delay before the next attempt, with
    /// jitter so that concurrent tasks do not retry together; `None` if the
    /// retries are exhausted.
    ///
    /// **Units**: service time.
    pub(crate) fn next_delay(&mut self, class: ErrorClass) -> Option<Duration> {
        let count = self.errors.entry(class).or_insert(0);
        *count = count.saturating_add(1);
        delay(class.policy(), *count, jitter())
    }

    /// Like [`RetryState::next_delay`], but if `forever` is set, exhausted
    /// retries continue with the longest delay.
    pub(crate) fn next_delay_or_longest(
        &mut self,
        class: ErrorClass,
        forever: bool,
    ) -> Option<Duration> {
        self.next_delay(class)
            .or_else(|| forever.then(|| class.max_delay()))
    }

    /// Returns the next of even delays of `interval`, which double after a
    /// minute; `None` if the retries are exhausted.
    ///
    /// **Units**: service time.
    pub(crate) fn next_even_delay(&mut self, interval: Duration) -> Option<Duration> {
        let delay = even_delay(interval, self.even_total)?;
        self.even_total += delay;
        Some(delay)
    }

    /// Forgets the errors of a class.
    pub(crate) fn reset(&mut self, class: ErrorClass) {
        self.errors.remove(&class);
    }
}

/// The delay before retry `nth`, extended by up to a quarter. It is never
/// shortened: the service may not accept an earlier call.
fn delay(policy: RetryPolicy, nth: u32, jitter: f64) -> Option<Duration> {
    if nth > policy.retries {
        return None;
    }
    let doubled = policy.first_delay.saturating_mul(1 << (nth - 1).min(20));
    Some(doubled.min(policy.max_delay).mul_f64(1.0 + jitter / 4.0))
}

fn even_delay(interval: Duration, total: Duration) -> Option<Duration> {
    if total >= EVEN_TOTAL {
        None
    } else if total < EVEN_FOR {
        Some(interval)
    } else {
        Some(total.min(EVEN_MAX_DELAY).max(interval))
    }
}

/// A random number from 0 to 1; 1, the longest delay, if the system has no
/// randomness.
fn jitter() -> f64 {
    getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_maximum_and_end() {
        let delays: Vec<_> = (1..)
            .map_while(|nth| delay(ErrorClass::NotReady.policy(), nth, 0.0))
            .map(|delay| delay.as_secs())
            .collect();
        assert_eq!(delays, [5, 10, 20, 40, 80, 160, 160]);
        let with_jitter = delay(ErrorClass::NotReady.policy(), 1, 1.0).unwrap();
        assert_eq!(with_jitter, Duration::from_millis(6_250));
    }

    #[test]
    fn even_delays_double_after_a_minute_and_have_the_same_total() {
        let delays = |interval| {
            let mut retries = RetryState::default();
            let next = || retries.next_even_delay(Duration::from_secs(interval));
            std::iter::from_fn(next)
                .map(|delay| delay.as_secs())
                .collect::<Vec<_>>()
        };
        assert_eq!(delays(20), [20, 20, 20, 60, 120, 160, 160]);
        assert_eq!(delays(5)[11..], [5, 60, 120, 160, 160]);
        assert_eq!(delays(200), [200, 200, 200]);
    }

    #[test]
    fn new_action_is_looked_for_longer_than_it_stays_invisible() {
        let mut retries = RetryState::default();
        let total: Duration = std::iter::from_fn(|| retries.next_delay(ErrorClass::NotFound)).sum();
        assert!(total > Duration::from_secs(150), "{total:?}");
    }

    #[test]
    fn retries_of_every_class_end_unless_forever() {
        use ErrorClass::*;
        for class in [
            Throttled,
            NotReady,
            NotFound,
            Server,
            Interrupted,
            NoConnection,
            LinkExpired,
            BlobChanged,
            Damaged,
            BlobMissing,
            SignIn,
        ] {
            let mut retries = RetryState::default();
            let count = (0..1_000)
                .take_while(|_| retries.next_delay_or_longest(class, false).is_some())
                .count();
            assert!(count < 100, "{class:?}");
            let longest = retries.next_delay_or_longest(class, true);
            assert_eq!(longest, Some(class.policy().max_delay));
        }
    }
}
