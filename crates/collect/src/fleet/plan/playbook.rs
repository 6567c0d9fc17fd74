//! What is to be run, as a person writes it down.
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

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::CollectError;
use crate::fleet::SessionStep;
use crate::fleet::plan::variables::Variables;

/// A playbook is a page; a longer file is a mistaken path.
pub const PLAYBOOK_BYTES_MAX: u64 = 1024 * 1024;

/// Steps in order, and the variables in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Playbook {
    pub comment: Option<String>,
    /// Devices it names itself; see [`super::DeviceSelector`].
    pub devices: Vec<String>,
    pub steps: Vec<SessionStep>,
    pub variables: Variables,
    /// By the name or id a person wrote, in lower case.
    pub by_device: BTreeMap<String, Variables>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    comment: Option<String>,
    #[serde(default)]
    devices: Vec<String>,
    #[serde(default)]
    variables: Variables,
    #[serde(default)]
    step: Vec<WrittenStep>,
    #[serde(default)]
    device: BTreeMap<String, Variables>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStep {
    put: Option<String>,
    run: Option<String>,
    args: Option<String>,
    get: Option<String>,
}

impl Playbook {
    /// Reads TOML.
    ///
    /// **Errors**: what TOML or the playbook does not allow, with its place.
    pub fn read(text: &str) -> Result<Self, CollectError> {
        let refuse = |why: String| CollectError::Playbook { why };
        let written: Written =
            toml::from_str(text).map_err(|e| refuse(describe_toml_error(text, &e)))?;
        let steps = written
            .step
            .into_iter()
            .enumerate()
            .map(|(n, step)| {
                step.read()
                    .map_err(|why| refuse(format!("step {}: {why}", n + 1)))
            })
            .collect::<Result<_, _>>()?;
        let by_device = written
            .device
            .into_iter()
            .map(|(name, variables)| (name.to_lowercase(), variables));
        Ok(Self {
            comment: written.comment,
            devices: written.devices,
            steps,
            variables: written.variables,
            by_device: by_device.collect(),
        })
    }

    /// The variables of a device known by any of `names`, its own before the
    /// playbook's.
    pub(crate) fn value<'a>(&'a self, names: &[&str], variable: &str) -> Option<&'a str> {
        let own = names
            .iter()
            .filter_map(|name| self.by_device.get(&name.to_lowercase()))
            .find_map(|own| own.get(variable));
        own.or_else(|| self.variables.get(variable))
            .map(String::as_str)
    }
}

/// What is wrong in a page of TOML and in which line, without quoting it: a
/// line may hold a secret.
pub fn describe_toml_error(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', ", ");
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

impl WrittenStep {
    fn read(self) -> Result<SessionStep, String> {
        match (self.put, self.run, self.get, self.args) {
            (Some(file), None, None, None) => Ok(SessionStep::Put { file }),
            (None, Some(script), None, args) => Ok(SessionStep::Run { script, args }),
            (None, None, Some(path), None) => Ok(SessionStep::Get { path }),
            (_, None, _, Some(_)) => Err("`args` belong to a `run`".into()),
            _ => Err("expected one of `put`, `run` and `get`".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"
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
    fn a_playbook_reads_with_steps_in_order_and_variables_by_device() {
        let playbook = Playbook::read(PAGE).unwrap();
        let kinds: Vec<_> = playbook.steps.iter().map(SessionStep::kind).collect();
        assert_eq!(kinds, ["PutFile", "RunScript", "GetFile"]);
        assert_eq!(playbook.value(&["x", "ws-1"], "out"), Some("D:\\Temp"));
        assert_eq!(playbook.value(&["ws-2"], "out"), Some("C:\\Temp"));
        assert_eq!(playbook.value(&["ws-2"], "in"), None);
    }

    #[test]
    fn what_is_misspelled_is_refused_with_its_place() {
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
