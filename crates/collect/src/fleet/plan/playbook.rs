//! Playbooks: the steps of a run and their variables, as a TOML file.
//!
//! ```toml
//! comment = "CASE-42"
//! devices = ["ws-1", "tag:incident"]
//!
//! [variables]
//! out = 'C:\Temp'
//!
//! [[step]]
//! put = "kape.zip"
//!
//! [[step]]
//! run = "collect.ps1"
//! args = "-Out {{out}} -Host {{device}}"
//!
//! [[step]]
//! get = '{{out}}\out.zip'
//!
//! [device.ws-1]
//! out = 'D:\Temp'
//! ```
//!
//! `{{device}}`, `{{short}}` and `{{machine}}` are predefined: full name, short
//! name and machine id of the device.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::CollectError;
use crate::fleet::plan::step::SessionStep;
use crate::fleet::plan::variables::Variables;

/// Largest playbook file. A playbook has a page or two; a larger file is a
/// mistaken path.
///
/// **Units**: bytes.
pub const PLAYBOOK_BYTES_MAX: u64 = 1024 * 1024;

/// A parsed playbook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Playbook {
    /// Comment of the run, shown in the portal and in the audit log.
    pub comment: Option<String>,
    /// Device selectors; see [`DeviceSelector`](crate::fleet::DeviceSelector).
    pub devices: Vec<String>,
    /// Steps of every session, with variables not yet substituted.
    pub steps: Vec<SessionStep>,
    /// Variables of all devices.
    pub variables: Variables,
    /// Variables of single devices by name or id, in lower case. They override
    /// [`variables`](Self::variables).
    pub by_device: BTreeMap<String, Variables>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaybookFile {
    comment: Option<String>,
    #[serde(default)]
    devices: Vec<String>,
    #[serde(default)]
    variables: Variables,
    #[serde(default)]
    step: Vec<StepTable>,
    #[serde(default)]
    device: BTreeMap<String, Variables>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepTable {
    put: Option<String>,
    run: Option<String>,
    args: Option<String>,
    get: Option<String>,
}

impl Playbook {
    /// Parses the TOML of a playbook.
    ///
    /// **Errors**: invalid TOML, or keys and steps that a playbook does not
    /// have. The message has the line or the number of the step.
    pub fn read(text: &str) -> Result<Self, CollectError> {
        let invalid = |why: String| CollectError::Playbook { why };
        let file: PlaybookFile =
            toml::from_str(text).map_err(|e| invalid(describe_toml_error(text, &e)))?;
        let steps = file
            .step
            .into_iter()
            .zip(1..)
            .map(|(table, n)| {
                let step = table.into_step();
                step.map_err(|why| invalid(format!("step {n}: {why}")))
            })
            .collect::<Result<_, _>>()?;
        let by_device = file
            .device
            .into_iter()
            .map(|(name, variables)| (name.to_lowercase(), variables))
            .collect();
        Ok(Self {
            comment: file.comment,
            devices: file.devices,
            steps,
            variables: file.variables,
            by_device,
        })
    }

    /// The value of a variable on a device with these names: its own, else the
    /// playbook's.
    pub(crate) fn variable<'a>(&'a self, names: &[&str], variable: &str) -> Option<&'a str> {
        names
            .iter()
            .filter_map(|name| self.by_device.get(&name.to_lowercase()))
            .find_map(|own| own.get(variable))
            .or_else(|| self.variables.get(variable))
            .map(String::as_str)
    }
}

/// Describes a TOML error with its line number. Does not quote the line, which
/// may contain a secret.
pub fn describe_toml_error(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', ", ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

impl StepTable {
    fn into_step(self) -> Result<SessionStep, String> {
        match (self.put, self.run, self.get, self.args) {
            (Some(file), None, None, None) => Ok(SessionStep::Put { file }),
            (None, Some(script), None, args) => Ok(SessionStep::Run { script, args }),
            (None, None, Some(path), None) => Ok(SessionStep::Get { path }),
            (_, None, _, Some(_)) => Err("`args` is only valid with `run`".into()),
            _ => Err("expected exactly one of `put`, `run` and `get`".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAYBOOK: &str = r#"
        comment = "CASE-42"
        devices = ["ws-1", "tag:incident"]
        [variables]
        out = 'C:\Temp'
        [[step]]
        put = "kape.zip"
        [[step]]
        run = "collect.ps1"
        args = "-Out {{out}}"
        [[step]]
        get = '{{out}}\out.zip'
        [device.WS-1]
        out = 'D:\Temp'
    "#;

    #[test]
    fn playbook_has_steps_in_order_and_variables_by_device() {
        let playbook = Playbook::read(PLAYBOOK).unwrap();
        let kinds: Vec<_> = playbook.steps.iter().map(SessionStep::kind).collect();
        assert_eq!(kinds, ["PutFile", "RunScript", "GetFile"]);
        assert_eq!(playbook.variable(&["x", "ws-1"], "out"), Some("D:\\Temp"));
        assert_eq!(playbook.variable(&["ws-2"], "out"), Some("C:\\Temp"));
        assert_eq!(playbook.variable(&["ws-2"], "in"), None);
    }

    #[test]
    fn error_names_the_faulty_key_step_or_line() {
        for (text, named) in [
            ("[[step]]\nrun = 'a'\nargz = 'b'", "argz"),
            ("[[steps]]\nrun = 'a'", "steps"),
            ("[[step]]\nrun = 'a'\nget = 'b'", "step 1"),
            ("[[step]]\nget = 'a'\nargs = 'b'", "`args`"),
            ("[[step]]\nget = \"C:\\Temp\"", "line 2"),
        ] {
            let error = Playbook::read(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
