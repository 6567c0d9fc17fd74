//! Investigation packages: one action with one result, which the service lists
//! without commands.

use crate::settings::PACKAGE_TYPE;
use evidence::{Action, Command, CommandIndex, CommandKind};

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
