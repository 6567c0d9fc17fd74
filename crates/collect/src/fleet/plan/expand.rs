//! Expands the steps of a playbook for each device: substitutes variables,
//! encodes arguments, checks the steps.

use std::collections::BTreeMap;

use crate::fleet::plan::check_steps::{check_steps, encode_args};
use crate::fleet::plan::diagnostic::Diagnostic;
use crate::fleet::plan::machine::MachineInfo;
use crate::fleet::plan::playbook::Playbook;
use crate::fleet::plan::request::FleetRequest;
use crate::fleet::plan::step::SessionStep;
use crate::fleet::plan::variables::{contains_variable, substitute};

/// Expands steps device by device and collects their diagnostics.
#[derive(Default)]
pub(crate) struct StepExpander {
    /// The steps of every device, if they contain no variables.
    shared: Option<Vec<SessionStep>>,
    /// Each diagnostic with the number of devices and the first device.
    diagnostics: BTreeMap<Diagnostic, (usize, String)>,
}

impl StepExpander {
    pub fn expand(&mut self, machine: &MachineInfo, request: &FleetRequest) -> Vec<SessionStep> {
        if let Some(shared) = &self.shared {
            return shared.clone();
        }
        let mut steps = request.playbook.steps.clone();
        let mut has_variables = false;
        for (n, step) in steps.iter_mut().enumerate() {
            for (parameter, text) in step.params_mut() {
                has_variables |= contains_variable(text);
                match substitute(text, |name| value_of(machine, &request.playbook, name)) {
                    Ok(substituted) => *text = substituted,
                    Err(why) => {
                        let subject = format!("step {} {parameter}", n + 1);
                        self.record(Diagnostic::new(subject, why), machine);
                    }
                }
                if parameter == "Args" && request.encode_args {
                    *text = encode_args(text);
                }
            }
        }
        for diagnostic in check_steps(&steps) {
            self.record(diagnostic, machine);
        }
        if !has_variables {
            self.shared = Some(steps.clone());
        }
        steps
    }

    fn record(&mut self, diagnostic: Diagnostic, machine: &MachineInfo) {
        let entry = self.diagnostics.entry(diagnostic);
        entry.or_insert_with(|| (0, machine.label().to_string())).0 += 1;
    }

    /// Every diagnostic once; if the steps differ by device, with the devices.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        let is_shared = self.shared.is_some();
        self.diagnostics
            .into_iter()
            .map(|(mut diagnostic, (count, first))| {
                if !is_shared {
                    let others = match count - 1 {
                        0 => String::new(),
                        n => format!(" and {n} more"),
                    };
                    diagnostic.message = format!("{} (on {first}{others})", diagnostic.message);
                }
                diagnostic
            })
            .collect()
    }
}

/// The value of a variable on a device: a predefined one, then the device's
/// own, then the playbook's.
fn value_of<'a>(machine: &'a MachineInfo, playbook: &'a Playbook, name: &str) -> Option<&'a str> {
    match name {
        "device" => Some(machine.label()),
        "short" => Some(machine.short()),
        "machine" => Some(&machine.id),
        _ => playbook.variable(&[&machine.id, machine.label(), machine.short()], name),
    }
}
