//! What a request must have besides good steps: a comment, files in the
//! library, permissions, variables that belong to somebody.

use std::collections::{HashMap, HashSet};

use crate::fleet::plan::variables::has_any;
use crate::fleet::{
    Diagnostic, FleetInventory, FleetRequest, PlannedDevice, Playbook, SessionStep,
};

pub(crate) fn comment(request: &FleetRequest) -> &str {
    let own = request.comment.as_deref();
    own.or(request.playbook.comment.as_deref())
        .unwrap_or("")
        .trim()
}

pub(crate) fn check_comment(request: &FleetRequest) -> Vec<Diagnostic> {
    let comment = comment(request);
    let mut wrong = Vec::new();
    if comment.is_empty() {
        wrong.push(
            Diagnostic::new("comment", "the service wants one with every session")
                .hint("add --comment CASE-42"),
        );
    }
    if comment.chars().any(char::is_control) {
        wrong.push(Diagnostic::new("comment", "holds a control character"));
    }
    wrong
}

/// Variables given to a device that takes no part are a misspelled name.
pub(crate) fn check_variables_names(
    playbook: &Playbook,
    survey: &FleetInventory,
    places: &[usize],
) -> Vec<Diagnostic> {
    let taking_part: HashSet<String> = places
        .iter()
        .filter_map(|place| survey.machines.get(*place))
        .flat_map(|m| {
            [
                m.id.to_lowercase(),
                m.label().to_lowercase(),
                m.short().to_lowercase(),
            ]
        })
        .collect();
    let names = playbook.by_device.keys();
    names
        .filter(|name| !taking_part.contains(*name))
        .map(|name| {
            Diagnostic::new(
                format!("[device.{name}]"),
                "has variables and takes no part in the run",
            )
            .hint("name it as the service does, by id, full or short name")
        })
        .collect()
}

pub(crate) fn check_library(
    devices: &[PlannedDevice],
    request: &FleetRequest,
    survey: &FleetInventory,
) -> Vec<Diagnostic> {
    let Some(library) = &survey.library else {
        return vec![
            Diagnostic::new(
                "library",
                "could not be looked at, so its files are not checked",
            )
            .hint("grant the application Library.Manage")
            .warning(),
        ];
    };
    let held: HashSet<String> = library.iter().map(|name| name.to_lowercase()).collect();
    let planned = devices.iter().flat_map(|device| &device.steps);
    // Where no device is known, as written.
    let written = request.playbook.steps.iter().filter(|_| devices.is_empty());
    let mut missing: HashMap<&str, usize> = HashMap::new();
    for name in planned.chain(written).filter_map(SessionStep::library_file) {
        if !name.trim().is_empty() && !has_any(name) && !held.contains(&name.to_lowercase()) {
            *missing.entry(name).or_default() += 1;
        }
    }
    let mut missing: Vec<&str> = missing.into_keys().collect();
    missing.sort_unstable();
    let wrong = missing.into_iter().map(|name| {
        Diagnostic::new("library", format!("holds no file {name}"))
            .hint("`library upload FILE` puts it there")
    });
    wrong.collect()
}

pub(crate) fn check_permissions(survey: &FleetInventory) -> Option<Diagnostic> {
    let missing = &survey.missing_permissions;
    (!missing.is_empty()).then(|| {
        Diagnostic::new(
            "permissions",
            format!("the token does not seem to hold {}", missing.join(", ")),
        )
        .hint("grant them to the application and consent; only the service's own refusal stops the run")
        .warning()
    })
}
