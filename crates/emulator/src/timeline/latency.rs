//! Durations and outcomes of sessions and packages: draws the timeline of an
//! action when it is created.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;

use crate::synthetic::seeded_rng::SeededRng;
use crate::synthetic::session_command::SessionCommand;
use crate::timeline::action_timeline::{ActionTimeline, CommandTimes};
use crate::timeline::clock::later;
use crate::timeline::presence::PresenceTimetable;

/// Time in which a device that has returned begins its pending actions.
const RETURNING: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(60);

/// Durations and failure probabilities of sessions and packages, in emulated
/// time. Each duration is drawn from its range; probabilities are 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    /// From the call until a device that is online begins.
    pub queued: RangeInclusive<Duration>,
    pub put: RangeInclusive<Duration>,
    pub script: RangeInclusive<Duration>,
    pub get: RangeInclusive<Duration>,
    /// From the end of the last command to the final status.
    pub settling: RangeInclusive<Duration>,
    /// From the end of a command until its result has a link; can be before or
    /// after the end of the action.
    pub upload: RangeInclusive<Duration>,
    /// Duration of an investigation package.
    pub package: RangeInclusive<Duration>,
    /// Probability that a command fails.
    pub failing: f64,
    /// Probability that a script does not end by itself.
    pub hanging: f64,
    /// Time after which a script is stopped.
    pub script_limit: Duration,
    /// Time after which an action that no device has begun times out.
    pub queue_limit: Duration,
}

const fn seconds(from: u64, to: u64) -> RangeInclusive<Duration> {
    Duration::from_secs(from)..=Duration::from_secs(to)
}

impl Default for Latency {
    /// Ranges around values observed once (two minutes queued, 2.8 s running,
    /// 37 s until the final status), and the limits of the service. Nothing
    /// fails.
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

/// Outcome of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandOutcome {
    Completed,
    Failed,
    TimedOut,
    /// An earlier command did not complete.
    NotRun,
}

/// Timeline and outcome of a session or package.
#[derive(Debug)]
pub(crate) struct SessionPlan {
    pub timeline: ActionTimeline,
    /// One outcome per command.
    pub outcomes: Vec<CommandOutcome>,
    /// Final status of the action.
    pub status: &'static str,
}

impl Latency {
    /// Plans a session that is posted at `created`.
    pub(crate) fn plan_session(
        &self,
        rng: &mut SeededRng,
        created: Timestamp,
        presence: Option<&PresenceTimetable>,
        commands: &[SessionCommand],
    ) -> SessionPlan {
        let Some(started) = self.start_time(rng, created, presence) else {
            return self.queue_timeout(created, commands.len());
        };
        let mut now = started;
        let mut times = Vec::new();
        let mut outcomes = Vec::new();
        for command in commands {
            if outcomes
                .last()
                .is_some_and(|last| *last != CommandOutcome::Completed)
            {
                times.push(None);
                outcomes.push(CommandOutcome::NotRun);
                continue;
            }
            let (duration, outcome) = self.run_command(rng, command);
            let end = later(now, duration);
            let available = later(end, rng.duration(&self.upload));
            times.push(Some(CommandTimes {
                begin: now,
                end,
                available,
            }));
            outcomes.push(outcome);
            now = end;
        }
        let finished = later(now, rng.duration(&self.settling));
        let failure = outcomes
            .iter()
            .find(|outcome| **outcome != CommandOutcome::Completed);
        let status = match failure {
            None => "Succeeded",
            Some(CommandOutcome::TimedOut) => "TimeOut",
            Some(_) => "Failed",
        };
        SessionPlan {
            timeline: ActionTimeline::new(created, Some(started), times, finished),
            outcomes,
            status,
        }
    }

    /// Plans an investigation package that is posted at `created`.
    pub(crate) fn plan_package(
        &self,
        rng: &mut SeededRng,
        created: Timestamp,
        presence: Option<&PresenceTimetable>,
    ) -> SessionPlan {
        let Some(started) = self.start_time(rng, created, presence) else {
            return self.queue_timeout(created, 0);
        };
        let finished = later(started, rng.duration(&self.package));
        SessionPlan {
            timeline: ActionTimeline::new(created, Some(started), Vec::new(), finished),
            outcomes: Vec::new(),
            status: "Succeeded",
        }
    }

    /// The time at which the device begins; `None` if it is away for too long.
    fn start_time(
        &self,
        rng: &mut SeededRng,
        created: Timestamp,
        presence: Option<&PresenceTimetable>,
    ) -> Option<Timestamp> {
        let due = later(created, rng.duration(&self.queued));
        let online = presence.map_or(due, |presence| presence.online_from(due));
        let begin = if online > due {
            later(online, rng.duration(&RETURNING))
        } else {
            due
        };
        (begin < later(created, self.queue_limit)).then_some(begin)
    }

    fn queue_timeout(&self, created: Timestamp, commands: usize) -> SessionPlan {
        let finished = later(created, self.queue_limit);
        SessionPlan {
            timeline: ActionTimeline::new(created, None, vec![None; commands], finished),
            outcomes: vec![CommandOutcome::NotRun; commands],
            status: "TimeOut",
        }
    }

    fn run_command(
        &self,
        rng: &mut SeededRng,
        command: &SessionCommand,
    ) -> (Duration, CommandOutcome) {
        let range = match command {
            SessionCommand::PutFile { .. } => &self.put,
            SessionCommand::RunScript { .. } => &self.script,
            SessionCommand::GetFile { .. } => &self.get,
        };
        let is_script = matches!(command, SessionCommand::RunScript { .. });
        let duration = rng.duration(range);
        let fails = rng.chance(self.failing);
        let hangs = rng.chance(self.hanging) || duration > self.script_limit;
        if is_script && hangs {
            (self.script_limit, CommandOutcome::TimedOut)
        } else if fails {
            (duration, CommandOutcome::Failed)
        } else {
            (duration, CommandOutcome::Completed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::device::Presence;
    use crate::timeline::action_timeline::{ActionStatus, ResultAvailability};

    fn second(n: u64) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        later(start, Duration::from_secs(n))
    }

    fn commands() -> Vec<SessionCommand> {
        vec![
            SessionCommand::PutFile { name: "a".into() },
            SessionCommand::RunScript {
                name: "b".into(),
                args: String::new(),
            },
            SessionCommand::GetFile { path: "c".into() },
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

    fn plan(latency: &Latency, presence: Option<&PresenceTimetable>) -> SessionPlan {
        let mut rng = SeededRng::new(1, &[]);
        latency.plan_session(&mut rng, second(0), presence, &commands())
    }

    #[test]
    fn commands_run_one_after_another() {
        let plan = plan(&exact(), None);
        assert_eq!(plan.outcomes, [CommandOutcome::Completed; 3]);
        assert_eq!(plan.status, "Succeeded");
        assert_eq!(plan.timeline.finished, second(21));
        assert_eq!(
            plan.timeline.availability(2, second(16)),
            ResultAvailability::NotYet
        );
        assert_eq!(
            plan.timeline.availability(2, second(17)),
            ResultAvailability::Available
        );
    }

    #[test]
    fn commands_after_a_failed_one_are_not_run() {
        let failing = Latency {
            failing: 1.0,
            ..exact()
        };
        let plan = plan(&failing, None);
        assert_eq!(
            plan.outcomes,
            [
                CommandOutcome::Failed,
                CommandOutcome::NotRun,
                CommandOutcome::NotRun
            ]
        );
        assert_eq!(plan.status, "Failed");
        assert_eq!(
            plan.timeline.availability(1, second(60)),
            ResultAvailability::Never
        );
    }

    #[test]
    fn hanging_script_times_out_after_ten_minutes() {
        let hanging = Latency {
            hanging: 1.0,
            ..exact()
        };
        let plan = plan(&hanging, None);
        assert_eq!(
            plan.outcomes,
            [
                CommandOutcome::Completed,
                CommandOutcome::TimedOut,
                CommandOutcome::NotRun
            ]
        );
        assert_eq!(plan.status, "TimeOut");
        assert_eq!(plan.timeline.finished, second(11 + 600 + 5));
    }

    #[test]
    fn session_waits_for_an_absent_device_until_the_queue_limit() {
        let away = |until| {
            let presence = Presence {
                absences: vec![(-60, until)],
                away_health: "Inactive",
            };
            PresenceTimetable::new(presence, second(0), 0)
        };
        let back = plan(&exact(), Some(&away(7200)));
        assert_eq!(back.timeline.status(second(7204)), ActionStatus::Pending);
        let started = back.timeline.started.unwrap();
        assert!(
            (second(7205)..=second(7260)).contains(&started),
            "{started}"
        );
        assert_eq!(back.status, "Succeeded");
        let gone = plan(&exact(), Some(&away(300_000)));
        assert_eq!(gone.status, "TimeOut");
        assert_eq!(
            gone.timeline.status(second(3 * 86_400 - 1)),
            ActionStatus::Pending
        );
        assert_eq!(
            gone.timeline.status(second(3 * 86_400)),
            ActionStatus::Finished
        );
    }
}
