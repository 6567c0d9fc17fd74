//! When what happens to an action. Worked out once, when the action is made,
//! and looked up whenever it is asked about: nothing waits, nothing ticks.

use std::sync::OnceLock;

use jiff::Timestamp;

/// The events of one action.
#[derive(Debug)]
pub(crate) struct ActionTimeline {
    /// Unknown to get and list before.
    pub visible: Timestamp,
    /// `Pending` before; nothing where the machine never takes it up.
    pub taken_up: Option<Timestamp>,
    /// By command, in order; nothing for one that is not run.
    pub steps: Vec<Option<CommandTimes>>,
    /// From then on its status is the one it ends with.
    pub settled: Timestamp,
    cancelled: OnceLock<Cancelled>,
}

/// One command's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommandTimes {
    pub begin: Timestamp,
    pub end: Timestamp,
    /// Its result can be linked to.
    pub ready: Timestamp,
}

/// Who ended an action before its time.
#[derive(Debug)]
pub(crate) struct Cancelled {
    pub at: Timestamp,
    pub by: String,
    pub comment: String,
}

/// Where an action stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActionStatus {
    Pending,
    InProgress,
    Cancelled,
    Settled,
}

/// How far one command has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResultAvailability {
    Waiting,
    /// Whatever it leaves can be had.
    Done,
    /// It was not run and will not be.
    Never,
}

impl ActionTimeline {
    pub(crate) fn new(
        visible: Timestamp,
        taken_up: Option<Timestamp>,
        steps: Vec<Option<CommandTimes>>,
        settled: Timestamp,
    ) -> Self {
        Self {
            visible,
            taken_up,
            steps,
            settled,
            cancelled: OnceLock::new(),
        }
    }

    pub(crate) fn cancelled(&self) -> Option<&Cancelled> {
        self.cancelled.get()
    }

    /// Ends it at `cancelled.at`; false where it is over already.
    pub(crate) fn cancel(&self, cancelled: Cancelled) -> bool {
        let state = self.state(cancelled.at);
        let running = matches!(state, ActionStatus::Pending | ActionStatus::InProgress);
        running && self.cancelled.set(cancelled).is_ok()
    }

    pub(crate) fn state(&self, now: Timestamp) -> ActionStatus {
        match self.cancelled.get() {
            Some(cancelled) if cancelled.at <= now => ActionStatus::Cancelled,
            _ if self.settled <= now => ActionStatus::Settled,
            _ if self.taken_up.is_some_and(|at| at <= now) => ActionStatus::InProgress,
            _ => ActionStatus::Pending,
        }
    }

    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        matches!(
            self.state(now),
            ActionStatus::Cancelled | ActionStatus::Settled
        )
    }

    /// When it is or was over, as far as is known now.
    pub(crate) fn over(&self) -> Timestamp {
        self.cancelled.get().map_or(self.settled, |c| c.at)
    }

    /// Up to where its commands were run, seen from `now`.
    pub(crate) fn ran_until(&self, now: Timestamp) -> Timestamp {
        self.cancelled.get().map_or(now, |c| c.at.min(now))
    }

    /// Whether a command began before it was cancelled.
    pub(crate) fn began(&self, now: Timestamp) -> bool {
        let until = self.ran_until(now);
        let mut steps = self.steps.iter().flatten();
        steps.any(|step| step.begin <= until)
    }

    pub(crate) fn stage(&self, place: usize, now: Timestamp) -> ResultAvailability {
        let cut = self.cancelled.get().map_or(Timestamp::MAX, |c| c.at);
        match self.steps.get(place).copied().flatten() {
            Some(step) if step.end <= cut && step.ready <= now => ResultAvailability::Done,
            Some(step) if step.end <= cut => ResultAvailability::Waiting,
            _ if self.is_over(now) => ResultAvailability::Never,
            _ => ResultAvailability::Waiting,
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

    fn course() -> ActionTimeline {
        let step = |begin, end| {
            let (begin, end, ready) = (second(begin), second(end), second(end + 5));
            Some(CommandTimes { begin, end, ready })
        };
        let steps = vec![step(10, 20), step(20, 30), None];
        ActionTimeline::new(second(0), Some(second(10)), steps, second(33))
    }

    fn cancel(course: &ActionTimeline, at: u64) -> bool {
        course.cancel(Cancelled {
            at: second(at),
            by: String::new(),
            comment: String::new(),
        })
    }

    #[test]
    fn a_result_may_be_ready_before_and_after_the_action_is_over() {
        let course = course();
        let stages = |n| [0, 1, 2].map(|place| course.stage(place, second(n)));
        use ResultAvailability::{Done, Never, Waiting};
        assert_eq!(stages(24), [Waiting, Waiting, Waiting]);
        assert_eq!(stages(25), [Done, Waiting, Waiting]);
        assert_eq!(course.state(second(32)), ActionStatus::InProgress);
        assert_eq!(course.state(second(33)), ActionStatus::Settled);
        assert_eq!(stages(34), [Done, Waiting, Never]);
        assert_eq!(stages(35), [Done, Done, Never]);
    }

    #[test]
    fn what_had_ended_when_it_was_cancelled_keeps_its_result() {
        let course = course();
        assert!(cancel(&course, 22));
        assert!(!cancel(&course, 23), "it is over");
        assert_eq!(course.state(second(22)), ActionStatus::Cancelled);
        assert_eq!(course.stage(0, second(24)), ResultAvailability::Waiting);
        assert_eq!(course.stage(0, second(25)), ResultAvailability::Done);
        assert_eq!(course.stage(1, second(60)), ResultAvailability::Never);
        assert!(course.began(second(60)));
    }

    #[test]
    fn a_settled_action_cannot_be_cancelled_and_a_waiting_one_never_begins() {
        assert!(!cancel(&course(), 33));
        let waiting = course();
        assert!(cancel(&waiting, 9));
        assert!(!waiting.began(second(60)));
    }
}
