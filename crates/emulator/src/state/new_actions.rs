//! Creates the actions that clients start: sessions and investigation packages.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::state::fleet_state::FleetState;
use crate::state::service::Service;
use crate::state::sessions::SessionRequest;
use crate::synthetic::action::action_template;
use crate::synthetic::body::ResultBody;
use crate::synthetic::ids::guid_from_name;
use crate::synthetic::seeded_rng::SeededRng;
use crate::synthetic::session_command::SessionCommand;
use crate::synthetic::synthetic_results::SyntheticResult;
use crate::timeline::clock::api_time;
use crate::timeline::latency::{CommandOutcome, SessionPlan};
use crate::timeline::timeline_view::TimedAction;

/// `type` of an investigation package.
pub(crate) const PACKAGE_TYPE: &str = "CollectInvestigationPackage";

/// Creates a session: draws its timeline and creates the bodies of its results.
pub(crate) fn new_session(
    service: &Service,
    fleet: &mut FleetState,
    machine: &str,
    request: &SessionRequest,
    now: Timestamp,
) -> TimedAction {
    let number = fleet.sessions.next_number(machine).to_string();
    let mut rng = SeededRng::new(service.seed, &["session", machine, &number]);
    let timed_machine = fleet.machine(machine);
    let presence = timed_machine.and_then(|machine| machine.presence.as_ref());
    let commands = &request.commands;
    let plan = service
        .latency
        .plan_session(&mut rng, now, presence, commands);
    let device = timed_machine
        .and_then(|machine| machine.text("computerDnsName"))
        .unwrap_or_default();
    let bodies = session_bodies(service.seed, device, commands, &plan.outcomes);
    let id = guid_from_name(&format!("run {machine} {number} {now}"));
    let machine = (machine, device);
    let mut json = new_json(service, "LiveResponse", machine, &request.comment, now);
    json.insert("id".into(), id.to_string().into());
    json.insert("status".into(), plan.status.into());
    json.insert("commands".into(), commands_json(commands, &plan));
    TimedAction::started(id, now, json, bodies, plan.timeline)
}

/// Creates an investigation package.
pub(crate) fn new_package(
    service: &Service,
    fleet: &mut FleetState,
    machine: &str,
    comment: &str,
    now: Timestamp,
) -> TimedAction {
    let number = fleet.sessions.next_number(machine).to_string();
    let mut rng = SeededRng::new(service.seed, &["package", machine, &number]);
    let timed_machine = fleet.machine(machine);
    let presence = timed_machine.and_then(|machine| machine.presence.as_ref());
    let plan = service.latency.plan_package(&mut rng, now, presence);
    let device = timed_machine
        .and_then(|machine| machine.text("computerDnsName"))
        .unwrap_or_default();
    let mut bodies = BTreeMap::new();
    if plan.status == "Succeeded" {
        let package = SyntheticResult::Package {
            seed: service.seed,
            device: device.to_string(),
        };
        bodies.insert(0, ResultBody::synthetic(package));
    }
    let id = guid_from_name(&format!("package {machine} {number} {now}"));
    let mut json = new_json(service, PACKAGE_TYPE, (machine, device), comment, now);
    json.insert("id".into(), id.to_string().into());
    json.insert("status".into(), plan.status.into());
    TimedAction::started(id, now, json, bodies, plan.timeline)
}

/// JSON of an action without id, final status and commands.
fn new_json(
    service: &Service,
    kind: &str,
    (machine, device): (&str, &str),
    comment: &str,
    now: Timestamp,
) -> Map<String, Value> {
    let requestor = service.tokens.client_id();
    let mut json = action_template(kind, (machine, device), requestor, comment);
    json.insert("creationDateTimeUtc".into(), api_time(now).into());
    json
}

fn commands_json(commands: &[SessionCommand], plan: &SessionPlan) -> Value {
    commands
        .iter()
        .zip(&plan.outcomes)
        .enumerate()
        .map(|(index, (command, outcome))| {
            let (status, errors) = match outcome {
                CommandOutcome::Completed => ("Completed", Vec::new()),
                CommandOutcome::Failed => ("Failed", vec![error_message(command)]),
                CommandOutcome::TimedOut => {
                    ("Failed", vec!["The script ran for longer than 10 minutes."])
                }
                CommandOutcome::NotRun => ("Created", Vec::new()),
            };
            json!({
                "index": index,
                "startTime": null,
                "endTime": null,
                "commandStatus": status,
                "errors": errors,
                "command": command.json(),
            })
        })
        .collect()
}

fn error_message(command: &SessionCommand) -> &'static str {
    match command {
        SessionCommand::PutFile { .. } => "The file could not be placed on the device.",
        SessionCommand::RunScript { .. } => "The script ended with exit code 1.",
        SessionCommand::GetFile { .. } => "The file was not found on the device.",
    }
}

fn session_bodies(
    seed: u64,
    device: &str,
    commands: &[SessionCommand],
    outcomes: &[CommandOutcome],
) -> BTreeMap<u32, ResultBody> {
    use CommandOutcome::{Completed, Failed};
    let result = |command: &SessionCommand, outcome: &CommandOutcome| match (command, outcome) {
        (SessionCommand::RunScript { name, args }, Completed | Failed) => {
            Some(SyntheticResult::Transcript {
                seed,
                device: device.to_string(),
                script: name.clone(),
                args: args.clone(),
                exit_code: i32::from(*outcome == Failed),
            })
        }
        (SessionCommand::GetFile { path }, Completed) => Some(SyntheticResult::File {
            seed,
            device: device.to_string(),
            path: path.clone(),
        }),
        _ => None,
    };
    (0..)
        .zip(commands.iter().zip(outcomes))
        .filter_map(|(index, (command, outcome))| {
            Some((index, ResultBody::synthetic(result(command, outcome)?)))
        })
        .collect()
}
