//! Investigation packages: one action with one result, which the service lists
//! without commands.

use crate::error::clean;
use crate::fetch::retry::{Tries, Trouble};
use crate::fleet::{RunId, entities, resolve_one};
use crate::service::action::open;
use crate::service::api::{Api, Ask, CallError};
use crate::service::list::quoted;
use crate::settings::PACKAGE_TYPE;
use crate::{ApiCall, CollectError, CollectSettings};
use evidence::{Action, ActionId, Command, CommandIndex, CommandKind};

pub(crate) fn is_package(action: &Action) -> bool {
    action.kind.eq_ignore_ascii_case(PACKAGE_TYPE)
}

/// Gives a package the one command that stands for it.
pub(crate) fn add_command(action: &mut Action) {
    if !is_package(action) || !action.commands.is_empty() {
        return;
    }
    let succeeded = action.status.eq_ignore_ascii_case("Succeeded");
    action.commands.push(Command {
        index: CommandIndex(0),
        kind: CommandKind::Other(PACKAGE_TYPE.into()),
        status: if succeeded { "Completed" } else { "Created" }.into(),
        started: action.created.clone(),
        ended: action.updated.clone(),
        errors: Vec::new(),
        params: Vec::new(),
    });
}

/// Has a package collected on a device. A lost answer is resolved by looking.
pub async fn start_package(
    settings: &CollectSettings,
    device: &str,
    comment: &str,
) -> Result<ActionId, CollectError> {
    let api = open(settings).await?;
    let machine = resolve_one(&api, device).await?;
    let comment = format!("{comment} [afteraction {}]", RunId::random()?);
    let path = format!("machines/{machine}/collectInvestigationPackage");
    let body = serde_json::json!({"Comment": comment}).to_string();
    let ask = Ask::post(ApiCall::Package, api.url(&path), body.into_bytes());
    let fatal = |error: CallError| error.into_fatal(ApiCall::Package, &api.host);
    let error = match api.call_once(&ask).await {
        Ok(answer) => match Action::from_json(&answer.body) {
            Ok(action) => return Ok(action.id),
            Err(error) => CallError::Odd(clean(&error.to_string())),
        },
        Err(error) => error,
    };
    let may_have_begun = error.may_pass().is_some_and(|trouble| !trouble.is_undone());
    if may_have_begun && let Some(id) = look_for(&api, &machine, &comment).await? {
        return Ok(id);
    }
    Err(fatal(error))
}

/// The package that bears our comment, looked for as long as a fresh action
/// stays invisible.
async fn look_for(
    api: &Api,
    machine: &str,
    comment: &str,
) -> Result<Option<ActionId>, CollectError> {
    let mut url = api.url("machineactions");
    url.set_query(Some(&format!(
        "$filter=type eq '{PACKAGE_TYPE}' and machineId eq {}",
        quoted(machine)
    )));
    let mut tries = Tries::default();
    loop {
        let (values, _) = entities(api, ApiCall::List, url.clone()).await?;
        let mut actions = values
            .iter()
            .filter_map(|value| Action::from_value(value).ok());
        let ours = actions.find(|action| action.comment.as_deref() == Some(comment));
        if let Some(action) = ours {
            return Ok(Some(action.id));
        }
        match tries.next(Trouble::NotFound) {
            Some(wait) => api.clock.sleep(wait).await,
            None => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_one_command_that_tells_whether_it_is_there() {
        let command = |kind: &str, status: &str| {
            let json = serde_json::json!({"id": "5382f7ea-7557-4ab7-9782-d50480024a4e",
                "type": kind, "status": status});
            let mut action = Action::from_value(&json).unwrap();
            add_command(&mut action);
            action.commands.first().map(Command::is_completed)
        };
        assert_eq!(command(PACKAGE_TYPE, "Succeeded"), Some(true));
        assert_eq!(command(PACKAGE_TYPE, "Failed"), Some(false));
        assert_eq!(command("LiveResponse", "Succeeded"), None);
    }
}
