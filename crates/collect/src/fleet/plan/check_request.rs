//! Checks of a request apart from its steps: comment, names in
//! `[device.NAME]`, library files, permissions.

use std::collections::{BTreeSet, HashSet};

use crate::fleet::plan::diagnostic::Diagnostic;
use crate::fleet::plan::machine::{FleetInventory, MachineInfo};
use crate::fleet::plan::playbook::Playbook;
use crate::fleet::plan::step::SessionStep;
use crate::fleet::plan::variables::contains_variable;

pub(crate) fn check_comment(comment: &str) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    if comment.is_empty() {
        diagnostics.push(
            Diagnostic::new("comment", "the service requires one for every session")
                .hint("pass --comment CASE-42, or set `comment` in the playbook"),
        );
    }
    if comment.chars().any(char::is_control) {
        diagnostics.push(Diagnostic::new("comment", "contains a control character"));
    }
    diagnostics
}

/// Reports variables of devices that are not selected: their names are
/// probably misspelled.
pub(crate) fn check_device_names<'a>(
    playbook: &Playbook,
    selected: impl Iterator<Item = &'a MachineInfo>,
) -> Vec<Diagnostic> {
    let names: HashSet<String> = selected
        .flat_map(|machine| [&machine.id, machine.label(), machine.short()].map(str::to_lowercase))
        .collect();
    playbook
        .by_device
        .keys()
        .filter(|name| !names.contains(*name))
        .map(|name| {
            Diagnostic::new(
                format!("[device.{name}]"),
                "sets variables for a device that is not selected",
            )
            .hint("use the id, full name or short name of a selected device")
        })
        .collect()
}

/// Reports library files that do not exist. File names with variables are
/// skipped.
pub(crate) fn check_library<'a>(
    steps: impl Iterator<Item = &'a SessionStep>,
    inventory: &FleetInventory,
) -> Vec<Diagnostic> {
    let Some(library) = &inventory.library else {
        return vec![
            Diagnostic::new("library", "could not be listed: its files are not checked")
                .hint("grant the application the permission Library.Manage")
                .warning(),
        ];
    };
    let existing: HashSet<String> = library.iter().map(|name| name.to_lowercase()).collect();
    let missing: BTreeSet<&str> = steps
        .filter_map(SessionStep::library_file)
        .filter(|name| !name.trim().is_empty() && !contains_variable(name))
        .filter(|name| !existing.contains(&name.to_lowercase()))
        .collect();
    missing
        .into_iter()
        .map(|name| {
            Diagnostic::new("library", format!("no file `{name}`"))
                .hint(format!("upload it with `library upload {name}`"))
        })
        .collect()
}

pub(crate) fn check_permissions(inventory: &FleetInventory) -> Option<Diagnostic> {
    let missing = &inventory.missing_permissions;
    (!missing.is_empty()).then(|| {
        Diagnostic::new(
            "permissions",
            format!("the access token seems to lack {}", missing.join(", ")),
        )
        .hint("grant them to the application with admin consent; the run continues until the service rejects a call")
        .warning()
    })
}
