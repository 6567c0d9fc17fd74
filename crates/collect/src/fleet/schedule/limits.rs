//! Intervals and limits of the schedule.

use std::time::Duration;

use crate::clock::Clock;
use crate::fleet::rules::FleetRules;

/// The rules of a run and the fixed intervals.
///
/// **Units**: real time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScheduleLimits {
    pub park_after: Option<Duration>,
    pub parked_max: usize,
    pub away_max: Duration,
    /// Longest time in the service's own queue. A session that is Pending for
    /// longer waits for its device.
    pub queue_time: Duration,
    pub in_doubt_after: Duration,
    /// Interval of the searches for a session in doubt (after
    /// [`in_doubt_after`](Self::in_doubt_after) they are that far apart), and of
    /// the requests for a session by its id.
    pub recheck_every: Duration,
    /// A session that no list shows for this long is requested by its id.
    pub unlisted_after: Duration,
    /// A session that is not found by its id for this long is left to a
    /// person.
    pub not_found_after: Duration,
    pub list_window: Duration,
    /// A start on a busy device, and a cancellation without effect, are
    /// repeated after this time.
    pub retry_after: Duration,
}

/// Complete lists without a session in doubt before the list of its machine is
/// requested.
pub(crate) const LISTS_MIN: u32 = 3;
/// Requests by id that must have failed before a session counts as not found.
pub(crate) const NOT_FOUND_MIN: u32 = 4;
/// With this many unlisted sessions, no further session is started: lists
/// would probably not show it either.
pub(crate) const UNLISTED_MAX: usize = 3;
/// Age up to which lists show closed sessions. Older
/// sessions are listed while they are open and are requested by id after that,
/// so that a session that waits for days does not make every list long.
pub(crate) const LIST_WINDOW: Duration = Duration::from_secs(3_600);
/// A start on a busy device is repeated after 1, 2, 4, 8 and then every 16
/// minutes.
pub(crate) const BUSY_DOUBLINGS_MAX: u32 = 4;
/// While responses are lost in a row, starts are 1, 2 and then 4 minutes
/// apart: an outage of an hour leaves about a dozen sessions in doubt.
pub(crate) const MISSING_DOUBLINGS_MAX: u32 = 2;

impl ScheduleLimits {
    pub fn new(rules: FleetRules, clock: Clock) -> Self {
        let minutes = |m: u64| clock.real(Duration::from_secs(m * 60));
        Self {
            park_after: rules.park_after.map(|after| clock.real(after)),
            parked_max: rules.parked_max,
            away_max: clock.real(rules.away_max),
            queue_time: minutes(5),
            in_doubt_after: clock.real(rules.in_doubt_after),
            recheck_every: minutes(2),
            unlisted_after: minutes(10),
            not_found_after: minutes(30),
            list_window: clock.real(LIST_WINDOW),
            retry_after: minutes(1),
        }
    }
}
