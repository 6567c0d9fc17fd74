//! Timeline of an action: the time of each state change. Computed once, when
//! the action is created, and evaluated on each request.

use std::sync::OnceLock;

use jiff::Timestamp;

/// Times of the state changes of one action.
#[derive(Debug)]
pub(crate) struct ActionTimeline {
    /// Get and list show the action from this time.
    pub visible_from: Timestamp,
    /// End of `Pending`; `None` if the device never begins.
    pub started: Option<Timestamp>,
    /// One entry per command, in order; `None` for a command that is not run.
    pub commands: Vec<Option<CommandTimes>>,
    /// From this time the action has its final status.
    pub finished: Timestamp,
    cancellation: OnceLock<Cancellation>,
}

/// Times of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommandTimes {
    pub begin: Timestamp,
    pub end: Timestamp,
    /// The result has a link from this time.
    pub available: Timestamp,
}

/// Cancellation of an action.
#[derive(Debug)]
pub(crate) struct Cancellation {
    pub at: Timestamp,
    pub by: String,
    pub comment: String,
}

/// Status of an action at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActionStatus {
    Pending,
    InProgress,
    Cancelled,
    /// The action has its final status.
    Finished,
}

/// Availability of a command's result at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResultAvailability {
    NotYet,
    Available,
    /// The command was not run and will not be.
    Never,
}

impl ActionTimeline {
    pub(crate) fn new(
        visible_from: Timestamp,
        started: Option<Timestamp>,
        commands: Vec<Option<CommandTimes>>,
        finished: Timestamp,
    ) -> Self {
        Self {
            visible_from,
            started,
            commands,
            finished,
            cancellation: OnceLock::new(),
        }
    }

    pub(crate) fn cancellation(&self) -> Option<&Cancellation> {
        self.cancellation.get()
    }

    /// Cancels the action; returns false if it is already over.
    pub(crate) fn cancel(&self, cancellation: Cancellation) -> bool {
        !self.is_over(cancellation.at) && self.cancellation.set(cancellation).is_ok()
    }

    pub(crate) fn status(&self, now: Timestamp) -> ActionStatus {
        match self.cancellation.get() {
            Some(cancellation) if cancellation.at <= now => ActionStatus::Cancelled,
            _ if self.finished <= now => ActionStatus::Finished,
            _ if self.started.is_some_and(|at| at <= now) => ActionStatus::InProgress,
            _ => ActionStatus::Pending,
        }
    }

    /// Whether the action is finished or cancelled.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        matches!(
            self.status(now),
            ActionStatus::Cancelled | ActionStatus::Finished
        )
    }

    /// The end of the action as known now; a later cancellation makes it earlier.
    pub(crate) fn end(&self) -> Timestamp {
        self.cancellation.get().map_or(self.finished, |c| c.at)
    }

    /// The time until which commands were run, as of `now`.
    pub(crate) fn ran_until(&self, now: Timestamp) -> Timestamp {
        self.cancellation.get().map_or(now, |c| c.at.min(now))
    }

    /// Whether a command has begun before the action was cancelled.
    pub(crate) fn has_begun(&self, now: Timestamp) -> bool {
        let until = self.ran_until(now);
        let mut commands = self.commands.iter().flatten();
        commands.any(|command| command.begin <= until)
    }

    pub(crate) fn availability(&self, position: usize, now: Timestamp) -> ResultAvailability {
        let cancelled = self.cancellation.get().map_or(Timestamp::MAX, |c| c.at);
        match self.commands.get(position).copied().flatten() {
            Some(times) if times.end <= cancelled && times.available <= now => {
                ResultAvailability::Available
            }
            Some(times) if times.end <= cancelled => ResultAvailability::NotYet,
            _ if self.is_over(now) => ResultAvailability::Never,
            _ => ResultAvailability::NotYet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::clock::later;
    use std::time::Duration;

    fn second(n: u64) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        later(start, Duration::from_secs(n))
    }

    fn timeline() -> ActionTimeline {
        let times = |begin, end| {
            Some(CommandTimes {
                begin: second(begin),
                end: second(end),
                available: second(end + 5),
            })
        };
        let commands = vec![times(10, 20), times(20, 30), None];
        ActionTimeline::new(second(0), Some(second(10)), commands, second(33))
    }

    fn cancel(timeline: &ActionTimeline, at: u64) -> bool {
        timeline.cancel(Cancellation {
            at: second(at),
            by: String::new(),
            comment: String::new(),
        })
    }

    #[test]
    fn result_can_become_available_before_or_after_the_action_finishes() {
        let timeline = timeline();
        let results = |n| [0, 1, 2].map(|position| timeline.availability(position, second(n)));
        use ResultAvailability::{Available, Never, NotYet};
        assert_eq!(results(24), [NotYet, NotYet, NotYet]);
        assert_eq!(results(25), [Available, NotYet, NotYet]);
        assert_eq!(timeline.status(second(32)), ActionStatus::InProgress);
        assert_eq!(timeline.status(second(33)), ActionStatus::Finished);
        assert_eq!(results(34), [Available, NotYet, Never]);
        assert_eq!(results(35), [Available, Available, Never]);
    }

    #[test]
    fn command_that_ended_before_the_cancellation_keeps_its_result() {
        let timeline = timeline();
        assert!(cancel(&timeline, 22));
        assert!(!cancel(&timeline, 23), "already over");
        assert_eq!(timeline.status(second(22)), ActionStatus::Cancelled);
        use ResultAvailability::{Available, Never, NotYet};
        assert_eq!(timeline.availability(0, second(24)), NotYet);
        assert_eq!(timeline.availability(0, second(25)), Available);
        assert_eq!(timeline.availability(1, second(60)), Never);
        assert!(timeline.has_begun(second(60)));
    }

    #[test]
    fn finished_action_cannot_be_cancelled_and_cancelled_pending_action_never_begins() {
        assert!(!cancel(&timeline(), 33));
        let pending = timeline();
        assert!(cancel(&pending, 9));
        assert!(!pending.has_begun(second(60)));
    }
}
