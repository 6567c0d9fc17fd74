//! Investigation packages: actions with one result, which the service lists
//! without commands.

use crate::settings::PACKAGE_TYPE;
use evidence::{Action, Command, CommandIndex, CommandKind};

pub(crate) fn is_package(action: &Action) -> bool {
    action.kind.eq_ignore_ascii_case(PACKAGE_TYPE)
}

/// Adds the one command that represents a package.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_has_one_command_that_is_completed_if_the_action_succeeded() {
        let is_completed = |kind: &str, status: &str| {
            let json = serde_json::json!({"id": "5382f7ea-7557-4ab7-9782-d50480024a4e",
                "type": kind, "status": status});
            let mut action = Action::from_value(&json).unwrap();
            add_command(&mut action);
            action.commands.first().map(Command::is_completed)
        };
        assert_eq!(is_completed(PACKAGE_TYPE, "Succeeded"), Some(true));
        assert_eq!(is_completed(PACKAGE_TYPE, "Failed"), Some(false));
        assert_eq!(is_completed("LiveResponse", "Succeeded"), None);
    }
}
