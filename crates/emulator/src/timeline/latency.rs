//! How long things take on a machine and how they go: from an order to its
//! course, by lot.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;

use crate::http::run_request;
use crate::synthetic::seeded_rng::SeededRng;
use crate::timeline::action_timeline::{ActionTimeline, CommandTimes};
use crate::timeline::clock::later;
use crate::timeline::presence::PresenceTimetable;

/// A machine that is back takes up what waits for it within this.
const RETURNING: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(60);

/// How what a client starts proceeds, in emulated time; each span is drawn by
/// lot. Likelihoods are 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    /// From the call until a machine that is there takes it up.
    pub queued: RangeInclusive<Duration>,
    pub put: RangeInclusive<Duration>,
    pub script: RangeInclusive<Duration>,
    pub get: RangeInclusive<Duration>,
    /// From the last command until the action says so.
    pub settling: RangeInclusive<Duration>,
    /// From a command's end until its result can be linked to: before or
    /// after the action is over.
    pub upload: RangeInclusive<Duration>,
    /// How long an investigation package takes.
    pub package: RangeInclusive<Duration>,
    /// How likely a command fails.
    pub failing: f64,
    /// How likely a script never ends by itself.
    pub hanging: f64,
    /// A script is ended then.
    pub script_limit: Duration,
    /// An action nobody took up is given up then.
    pub queue_limit: Duration,
}

const fn seconds(from: u64, to: u64) -> RangeInclusive<Duration> {
    Duration::from_secs(from)..=Duration::from_secs(to)
}

impl Default for Latency {
    /// Around what was seen once (two minutes queued, 2.8 s running, 37 s
    /// settling), with the service's own limits; nothing fails.
    fn default() -> Self {
        Self {
            queued: seconds(60, 180),
            put: seconds(1, 4),
            script: seconds(2, 30),
            get: seconds(1, 10),
            settling: seconds(20, 50),
            upload: seconds(2, 60),
            package: seconds(60, 300),
            failing: 0.0,
            hanging: 0.0,
            script_limit: Duration::from_secs(10 * 60),
            queue_limit: Duration::from_secs(3 * 24 * 3600),
        }
    }
}

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandOutcome {
    Completed,
    Failed,
    TimedOut,
    /// One before it did not complete.
    NotRun,
}

/// What will come of an order.
#[derive(Debug)]
pub(crate) struct SessionPlan {
    pub course: ActionTimeline,
    /// By command.
    pub ends: Vec<CommandOutcome>,
    pub status: &'static str,
}

impl Latency {
    /// The course of a session ordered at `created`.
    pub(crate) fn session(
        &self,
        lots: &mut SeededRng,
        created: Timestamp,
        table: Option<&PresenceTimetable>,
        steps: &[run_request::SessionCommand],
    ) -> SessionPlan {
        let Some(taken_up) = self.taken_up(lots, created, table) else {
            return self.given_up(created, steps.len());
        };
        let mut now = taken_up;
        let mut turns = Vec::new();
        let mut ends = Vec::new();
        for step in steps {
            if ends
                .last()
                .is_some_and(|end| *end != CommandOutcome::Completed)
            {
                turns.push(None);
                ends.push(CommandOutcome::NotRun);
                continue;
            }
            let (takes, how) = self.turn(lots, step);
            let end = later(now, takes);
            let ready = later(end, lots.within(&self.upload));
            turns.push(Some(CommandTimes {
                begin: now,
                end,
                ready,
            }));
            ends.push(how);
            now = end;
        }
        let settled = later(now, lots.within(&self.settling));
        let status = match ends.iter().find(|end| **end != CommandOutcome::Completed) {
            None => "Succeeded",
            Some(CommandOutcome::TimedOut) => "TimeOut",
            Some(_) => "Failed",
        };
        let course = ActionTimeline::new(created, Some(taken_up), turns, settled);
        SessionPlan {
            course,
            ends,
            status,
        }
    }

    /// The course of an action without commands.
    pub(crate) fn package(
        &self,
        lots: &mut SeededRng,
        created: Timestamp,
        table: Option<&PresenceTimetable>,
    ) -> SessionPlan {
        let Some(taken_up) = self.taken_up(lots, created, table) else {
            return self.given_up(created, 0);
        };
        let settled = later(taken_up, lots.within(&self.package));
        SessionPlan {
            course: ActionTimeline::new(created, Some(taken_up), Vec::new(), settled),
            ends: Vec::new(),
            status: "Succeeded",
        }
    }

    /// When the machine begins; nothing where it is away for too long.
    fn taken_up(
        &self,
        lots: &mut SeededRng,
        created: Timestamp,
        table: Option<&PresenceTimetable>,
    ) -> Option<Timestamp> {
        let due = later(created, lots.within(&self.queued));
        let there = table.map_or(due, |table| table.there_from(due));
        let begin = match there > due {
            true => later(there, lots.within(&RETURNING)),
            false => due,
        };
        (begin < later(created, self.queue_limit)).then_some(begin)
    }

    fn given_up(&self, created: Timestamp, commands: usize) -> SessionPlan {
        let settled = later(created, self.queue_limit);
        SessionPlan {
            course: ActionTimeline::new(created, None, vec![None; commands], settled),
            ends: vec![CommandOutcome::NotRun; commands],
            status: "TimeOut",
        }
    }

    fn turn(
        &self,
        lots: &mut SeededRng,
        step: &run_request::SessionCommand,
    ) -> (Duration, CommandOutcome) {
        let span = match step {
            run_request::SessionCommand::Put { .. } => &self.put,
            run_request::SessionCommand::Script { .. } => &self.script,
            run_request::SessionCommand::Get { .. } => &self.get,
        };
        let is_script = matches!(step, run_request::SessionCommand::Script { .. });
        let takes = lots.within(span);
        let fails = lots.happens(self.failing);
        let hangs = lots.happens(self.hanging) || takes > self.script_limit;
        match (is_script && hangs, fails) {
            (true, _) => (self.script_limit, CommandOutcome::TimedOut),
            (false, true) => (takes, CommandOutcome::Failed),
            (false, false) => (takes, CommandOutcome::Completed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::action_timeline::{ActionStatus, ResultAvailability};
    use crate::timeline::presence::Presence;

    fn second(n: u64) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        later(start, Duration::from_secs(n))
    }

    fn steps() -> Vec<run_request::SessionCommand> {
        vec![
            run_request::SessionCommand::Put { file: "a".into() },
            run_request::SessionCommand::Script {
                name: "b".into(),
                args: String::new(),
            },
            run_request::SessionCommand::Get { path: "c".into() },
        ]
    }

    fn exact() -> Latency {
        Latency {
            queued: seconds(10, 10),
            put: seconds(1, 1),
            script: seconds(2, 2),
            get: seconds(3, 3),
            settling: seconds(5, 5),
            upload: seconds(1, 1),
            ..Latency::default()
        }
    }

    fn plan(pace: &Latency, table: Option<&PresenceTimetable>) -> SessionPlan {
        pace.session(&mut SeededRng::of(1, &[]), second(0), table, &steps())
    }

    #[test]
    fn commands_run_one_after_the_other() {
        let plan = plan(&exact(), None);
        assert_eq!(plan.ends, [CommandOutcome::Completed; 3]);
        assert_eq!(plan.status, "Succeeded");
        assert_eq!(plan.course.settled, second(21));
        assert_eq!(
            plan.course.stage(2, second(16)),
            ResultAvailability::Waiting
        );
        assert_eq!(plan.course.stage(2, second(17)), ResultAvailability::Done);
    }

    #[test]
    fn a_failing_command_leaves_the_rest_unrun() {
        let failing = Latency {
            failing: 1.0,
            ..exact()
        };
        let plan = plan(&failing, None);
        assert_eq!(
            plan.ends,
            [
                CommandOutcome::Failed,
                CommandOutcome::NotRun,
                CommandOutcome::NotRun
            ]
        );
        assert_eq!(plan.status, "Failed");
        assert_eq!(plan.course.stage(1, second(60)), ResultAvailability::Never);
    }

    #[test]
    fn a_script_without_an_end_is_ended_after_ten_minutes() {
        let hanging = Latency {
            hanging: 1.0,
            ..exact()
        };
        let plan = plan(&hanging, None);
        assert_eq!(
            plan.ends,
            [
                CommandOutcome::Completed,
                CommandOutcome::TimedOut,
                CommandOutcome::NotRun
            ]
        );
        assert_eq!(plan.status, "TimeOut");
        assert_eq!(plan.course.settled, second(11 + 600 + 5));
    }

    #[test]
    fn an_order_waits_for_a_machine_that_is_away_and_not_for_ever() {
        let away = |until| {
            let presence = Presence {
                absences: vec![(-60, until)],
                away_health: "Inactive",
            };
            presence.placed(second(0), 0)
        };
        let back = plan(&exact(), Some(&away(7200)));
        assert_eq!(back.course.state(second(7204)), ActionStatus::Pending);
        let begun = back.course.taken_up.unwrap();
        assert!((second(7205)..=second(7260)).contains(&begun), "{begun}");
        assert_eq!(back.status, "Succeeded");
        let gone = plan(&exact(), Some(&away(300_000)));
        assert_eq!(gone.status, "TimeOut");
        assert_eq!(
            gone.course.state(second(3 * 86_400 - 1)),
            ActionStatus::Pending
        );
        assert_eq!(gone.course.state(second(3 * 86_400)), ActionStatus::Settled);
    }
}
