//! Steps with the variables of each device filled in.

use std::collections::BTreeMap;

use crate::fleet::plan::check_steps::{check_steps, encoded};
use crate::fleet::plan::variables::{fill, has_any};
use crate::fleet::{Diagnostic, FleetRequest, MachineInfo, Playbook, SessionStep};

/// Steps with their variables filled in, and what was wrong with them.
#[derive(Default)]
pub(crate) struct Filled {
    /// Of steps without variables: the same for all.
    shared: Option<Vec<SessionStep>>,
    /// What is wrong, on how many devices, and the first of them.
    wrong: BTreeMap<Diagnostic, (usize, String)>,
}

impl Filled {
    pub fn steps_of(&mut self, machine: &MachineInfo, request: &FleetRequest) -> Vec<SessionStep> {
        if let Some(shared) = &self.shared {
            return shared.clone();
        }
        let mut steps = request.playbook.steps.clone();
        let mut has_variables = false;
        for (n, step) in steps.iter_mut().enumerate() {
            for (parameter, text) in step.texts_mut() {
                has_variables |= has_any(text);
                match fill(text, |name| value(machine, &request.playbook, name)) {
                    Ok(filled) => *text = filled,
                    Err(why) => {
                        let place = format!("step {} {parameter}", n + 1);
                        self.note(Diagnostic::new(place, why), machine);
                    }
                }
                if parameter == "Args" && request.encode_args {
                    *text = encoded(text);
                }
            }
        }
        for wrong in check_steps(&steps) {
            self.note(wrong, machine);
        }
        if !has_variables {
            self.shared = Some(steps.clone());
        }
        steps
    }

    fn note(&mut self, wrong: Diagnostic, machine: &MachineInfo) {
        let met = self.wrong.entry(wrong);
        met.or_insert_with(|| (0, machine.label().to_string())).0 += 1;
    }

    pub fn wrong(self) -> Vec<Diagnostic> {
        let is_shared = self.shared.is_some();
        let said = self.wrong.into_iter().map(|(mut wrong, (count, first))| {
            if !is_shared {
                let others = match count - 1 {
                    0 => String::new(),
                    n => format!(" and {n} more"),
                };
                wrong.message = format!("{} (on {first}{others})", wrong.message);
            }
            wrong
        });
        said.collect()
    }
}

/// A variable's value on a device: what every device has, then its own, then
/// the playbook's.
fn value<'a>(machine: &'a MachineInfo, playbook: &'a Playbook, name: &str) -> Option<&'a str> {
    match name {
        "device" => Some(machine.label()),
        "short" => Some(machine.short()),
        "machine" => Some(&machine.id),
        _ => playbook.value(&[&machine.id, machine.label(), machine.short()], name),
    }
}
