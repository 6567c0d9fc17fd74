//! An action on the emulator's clock: what of it can be seen when, and how far
//! its commands have come.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::synthetic::action::{ActionProgress, Created, ScriptedAction};
use crate::synthetic::body::ResultBody;
use crate::timeline::action_timeline::{
    ActionStatus, ActionTimeline, CommandTimes, ResultAvailability,
};
use crate::timeline::clock::{api_time, earlier, later};
use evidence::ActionId;

/// An action placed on the emulator's clock.
#[derive(Debug)]
pub(crate) struct TimedAction {
    pub id: ActionId,
    pub bodies: BTreeMap<u32, ResultBody>,
    /// Place of its first result among all of the fleet.
    pub first_ordinal: u64,
    created: Timestamp,
    /// As it ends, if nobody cancels it.
    json: Map<String, Value>,
    /// Nothing where it was over before the emulator began.
    course: Option<ActionTimeline>,
    /// Its JSON once it was cancelled: a list of thousands would make it anew
    /// each time.
    cancelled: OnceLock<Map<String, Value>>,
}

impl TimedAction {
    pub(crate) fn place(
        action: ScriptedAction,
        start: Timestamp,
        first_ordinal: u64,
    ) -> Option<Self> {
        let mut json = action.json;
        let created = match action.created {
            Created::Given => json
                .get("creationDateTimeUtc")
                .and_then(Value::as_str)
                .and_then(|text| text.parse().ok())
                .unwrap_or(Timestamp::UNIX_EPOCH),
            Created::At(at) => at,
            Created::BeforeStart(by) => earlier(start, by),
            Created::AfterStart(by) => later(start, by),
        };
        let commands = json.get("commands").and_then(Value::as_array);
        let commands = commands.map_or(0, Vec::len) as u32;
        if !matches!(action.created, Created::Given) {
            json.insert("creationDateTimeUtc".into(), api_time(created).into());
            let progress = action.progress.unwrap_or_default();
            let course = progress.course(created, commands);
            date(&mut json, created, &course, Timestamp::MAX);
        }
        let course = action.progress.map(|p| p.course(created, commands));
        Some(Self {
            id: action.id?,
            bodies: action.bodies,
            first_ordinal,
            created,
            json,
            course,
            cancelled: OnceLock::new(),
        })
    }

    /// An action that a client started: `json` is what it ends as.
    pub(crate) fn started(
        id: ActionId,
        created: Timestamp,
        mut json: Map<String, Value>,
        bodies: BTreeMap<u32, ResultBody>,
        course: ActionTimeline,
    ) -> Self {
        date(&mut json, created, &course, Timestamp::MAX);
        Self {
            id,
            bodies,
            first_ordinal: 0,
            created,
            json,
            course: Some(course),
            cancelled: OnceLock::new(),
        }
    }

    pub(crate) fn created(&self) -> Timestamp {
        self.created
    }

    pub(crate) fn course(&self) -> Option<&ActionTimeline> {
        self.course.as_ref()
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.json.get(name).and_then(Value::as_str)
    }

    /// Whether get and list know it yet.
    pub(crate) fn is_visible(&self, now: Timestamp) -> bool {
        let visible = self.course.as_ref().map_or(self.created, |c| c.visible);
        visible <= now
    }

    /// Its JSON as of `now`.
    pub(crate) fn json(&self, now: Timestamp) -> Cow<'_, Map<String, Value>> {
        let Some(course) = &self.course else {
            return Cow::Borrowed(&self.json);
        };
        let dated = || {
            let mut json = self.json.clone();
            date(&mut json, self.created, course, now);
            json
        };
        match course.state(now) {
            ActionStatus::Settled => Cow::Borrowed(&self.json),
            ActionStatus::Cancelled => Cow::Borrowed(self.cancelled.get_or_init(dated)),
            ActionStatus::Pending | ActionStatus::InProgress => Cow::Owned(dated()),
        }
    }

    fn commands(&self) -> &[Value] {
        let commands = self.json.get("commands").and_then(Value::as_array);
        commands.map_or(&[], Vec::as_slice)
    }

    /// A command as it ends.
    pub(crate) fn command(&self, index: u32) -> Option<&Map<String, Value>> {
        self.commands().get(self.place_of(index)?)?.as_object()
    }

    /// The indexes of its commands, in their order.
    pub(crate) fn indexes(&self) -> Vec<u32> {
        let places = self.commands().iter().enumerate();
        places
            .map(|(place, command)| {
                let own = command.get("index").and_then(Value::as_u64);
                own.unwrap_or(place as u64) as u32
            })
            .collect()
    }

    fn place_of(&self, index: u32) -> Option<usize> {
        self.indexes().iter().position(|own| *own == index)
    }

    /// The indexes of those that leave a result, in their order.
    pub(crate) fn results(&self) -> Vec<u32> {
        let mut indexes = self.indexes();
        indexes.retain(|index| {
            let command = self.command(*index).and_then(|c| c.get("command"));
            command.and_then(|c| c.get("type")?.as_str()) != Some("PutFile")
        });
        indexes
    }

    /// Place of a result among all of the fleet.
    pub(crate) fn ordinal(&self, index: u32) -> u64 {
        let place = self.results().iter().position(|own| *own == index);
        self.first_ordinal + place.unwrap_or(0) as u64
    }

    /// Whether its status will not change any more.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        match &self.course {
            Some(course) => course.is_over(now),
            None => !matches!(self.text("status"), Some("Pending" | "InProgress")),
        }
    }

    /// Whether there are bytes to link to by `now`.
    pub(crate) fn has_result(&self, index: u32, now: Timestamp) -> bool {
        let ready = match self.commands().is_empty() {
            true => self.is_complete(now),
            false => self.stage(index, now) == ResultAvailability::Done,
        };
        ready && self.bodies.contains_key(&index)
    }

    /// Whether an action without commands ended well.
    pub(crate) fn is_complete(&self, now: Timestamp) -> bool {
        let settled = match &self.course {
            Some(course) => course.state(now) == ActionStatus::Settled,
            None => true,
        };
        settled && self.text("status") == Some("Succeeded")
    }

    /// How far a command has come by `now`.
    pub(crate) fn stage(&self, index: u32, now: Timestamp) -> ResultAvailability {
        match (&self.course, self.place_of(index)) {
            (None, _) => ResultAvailability::Done,
            (Some(course), Some(place)) => course.stage(place, now),
            (Some(_), None) => ResultAvailability::Never,
        }
    }
}

impl ActionProgress {
    /// The same course for each command, one after the other.
    fn course(self, created: Timestamp, commands: u32) -> ActionTimeline {
        let taken_up = later(created, self.queued);
        let end_of = |place: u32| later(taken_up, self.each_command.saturating_mul(place));
        let step = |place| {
            let (begin, end) = (end_of(place), end_of(place + 1));
            let ready = end;
            Some(CommandTimes { begin, end, ready })
        };
        let settled = later(end_of(commands), self.settling);
        let steps = (0..commands).map(step).collect();
        ActionTimeline::new(later(created, self.hidden), Some(taken_up), steps, settled)
    }
}

/// Dates the JSON of an action's end, or takes it back to `now`.
fn date(
    json: &mut Map<String, Value>,
    created: Timestamp,
    course: &ActionTimeline,
    now: Timestamp,
) {
    let ran_until = course.ran_until(now);
    let mut updated = course.taken_up.filter(|at| *at <= ran_until);
    if let Some(Value::Array(commands)) = json.get_mut("commands") {
        for (command, step) in commands.iter_mut().zip(&course.steps) {
            let (Some(command), Some(step)) = (command.as_object_mut(), step) else {
                continue;
            };
            let shown = |at: Timestamp| (at <= ran_until).then_some(at);
            let (begin, end) = (shown(step.begin), shown(step.end));
            updated = end.or(begin).or(updated);
            command.insert("startTime".into(), begin.map(api_time).into());
            command.insert("endTime".into(), end.map(api_time).into());
            if end.is_none() {
                command.insert("commandStatus".into(), "Created".into());
                command.insert("errors".into(), json!([]));
            }
        }
    }
    let mut status = |word: &str| json.insert("status".into(), word.into());
    match course.state(now) {
        ActionStatus::Pending => _ = status("Pending"),
        ActionStatus::InProgress => _ = status("InProgress"),
        ActionStatus::Settled => updated = Some(course.settled),
        ActionStatus::Cancelled => {
            status("Cancelled");
            updated = Some(course.over());
            if let Some(cancelled) = course.cancelled() {
                let at = api_time(cancelled.at);
                json.insert("cancellationDateTimeUtc".into(), at.into());
                json.insert("cancellationRequestor".into(), cancelled.by.as_str().into());
                let comment = cancelled.comment.as_str();
                json.insert("cancellationComment".into(), comment.into());
            }
        }
    }
    let updated = api_time(updated.unwrap_or(created));
    json.insert("lastUpdateDateTimeUtc".into(), updated.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::action::ScriptedCommand;
    use crate::synthetic::fleet::EmulatedFleet;
    use std::time::Duration;

    fn second(n: u64) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        later(start, Duration::from_secs(n))
    }

    fn placed(action: ScriptedAction) -> TimedAction {
        let mut fleet = EmulatedFleet::new().action(action);
        TimedAction::place(fleet.actions.remove(0), second(0), 0).unwrap()
    }

    #[test]
    fn an_action_proceeds_command_by_command() {
        let progress = ActionProgress {
            hidden: Duration::from_secs(20),
            queued: Duration::from_secs(60),
            each_command: Duration::from_secs(10),
            settling: Duration::from_secs(30),
        };
        let action = placed(
            ScriptedAction::on("ws")
                .created_after_start(Duration::from_secs(100))
                .progress(progress)
                .run_script("a.ps1", "", "{}")
                .command(ScriptedCommand::get_file("C:/x").failed("not found")),
        );
        let shown = |n| {
            let json = action.json(second(n));
            let command = |i: usize| json["commands"][i]["commandStatus"].clone();
            let status = json["status"].as_str().unwrap().to_string();
            (status, command(0).to_string(), command(1).to_string())
        };
        let expect = |status: &str, first: &str, second: &str| {
            let quoted = |word| format!("\"{word}\"");
            (status.to_string(), quoted(first), quoted(second))
        };
        assert!(!action.is_visible(second(119)) && action.is_visible(second(120)));
        assert_eq!(shown(159), expect("Pending", "Created", "Created"));
        assert_eq!(shown(160), expect("InProgress", "Created", "Created"));
        assert_eq!(shown(170), expect("InProgress", "Completed", "Created"));
        assert_eq!(shown(209), expect("InProgress", "Completed", "Failed"));
        assert_eq!(shown(210), expect("Succeeded", "Completed", "Failed"));
        assert_eq!(action.stage(0, second(169)), ResultAvailability::Waiting);
        assert_eq!(action.stage(0, second(170)), ResultAvailability::Done);
    }

    #[test]
    fn a_finished_action_is_dated_whole() {
        let action = placed(ScriptedAction::on("ws").run_script("a.ps1", "-x", "{}"));
        let json = action.json(second(0));
        assert_eq!(json["status"], "Succeeded");
        assert!(json["commands"][0]["endTime"].is_string());
        assert_eq!(json["creationDateTimeUtc"], "2025-12-31T23:00:00.0000000Z");
    }
}
