//! What comparisons answer with. These names stay.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::app::rows::ResultPlace;
use evidence::{ActionId, CommandIndex, ResultKey, Time};
use index::TEXT_MAX;

use crate::app::compare::scope::cut;

/// Where a text stands: one place of it, which `show` takes.
#[derive(Clone, Debug, Serialize)]
pub struct Example {
    #[serde(flatten)]
    pub place: ResultPlace,
    pub script: Option<String>,
    pub member: String,
    /// From 1, in the decoded text; null where the member itself is meant.
    pub line: Option<u64>,
    /// Of the line: bytes in the decoded text (UTF-8), from 0.
    pub offset: Option<u64>,
    /// The line as it stands.
    pub text: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub text_truncated: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub before: Vec<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub after: Vec<String>,
}

impl Example {
    /// What of its line is shown.
    pub(super) fn shown(mut self) -> Self {
        self.text_truncated = self.text.len() > TEXT_MAX;
        self.text = cut(self.text);
        self
    }

    /// Says nothing yet.
    pub(super) fn default_of() -> Self {
        let nowhere = ResultKey::new(ActionId::from_bytes([0; 16]), CommandIndex(0));
        Self {
            place: ResultPlace::missing(nowhere, None, None),
            script: None,
            member: String::new(),
            line: None,
            offset: None,
            text: String::new(),
            text_truncated: false,
            before: Vec::new(),
            after: Vec::new(),
        }
    }
}

/// A text and on how many devices it stands.
#[derive(Clone, Debug, Serialize)]
pub struct StackRow {
    /// The template, or the value that was stacked by.
    pub value: String,
    pub devices: u64,
    /// Devices that were asked: those whose results the fields of the query
    /// select.
    pub of_devices: u64,
    /// How many times it stands somewhere.
    pub count: u64,
    /// Different lines with this template; 33 where there are more than 32.
    pub variants: u64,
    pub first_seen: Option<Time>,
    pub last_seen: Option<Time>,
    /// Devices it stands on, the first few by the order of their results.
    pub on: Vec<String>,
    /// Words of it that hardly any other device has.
    pub rare_words: Vec<String>,
    /// The oldest place of it.
    #[serde(flatten)]
    pub example: Example,
    /// The lines as they are, where they were asked for.
    #[serde(skip_serializing_if = "<[RawRow]>::is_empty")]
    pub raw: Vec<RawRow>,
    /// Raw lines that were left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub raw_left_out: u64,
}

/// One raw line of a template.
#[derive(Clone, Debug, Serialize)]
pub struct RawRow {
    pub text: String,
    pub devices: u64,
    pub count: u64,
    #[serde(rename = "ref")]
    pub reference: String,
    pub line: Option<u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What kind of difference a row tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DiffKind {
    /// The first side has it, the second not.
    Removed,
    /// The second side has it, the first not.
    Added,
    /// The first side has the one, the second the other.
    Changed,
    /// Both have it, in different numbers.
    Counted,
}

/// What one side has.
#[derive(Clone, Debug)]
pub struct SideRow {
    pub value: String,
    pub devices: u64,
    pub count: u64,
    pub example: Example,
}

/// A difference between two sides.
#[derive(Clone, Debug)]
pub struct DiffRow {
    pub change: DiffKind,
    pub before: Option<SideRow>,
    pub after: Option<SideRow>,
}

impl Serialize for DiffRow {
    /// Flat, for tables: `before`, `before_ref`, … `after`, `after_ref`, …
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_map(None)?;
        row.serialize_entry("change", &self.change)?;
        for (side, has) in [("before", &self.before), ("after", &self.after)] {
            let has = has.as_ref();
            let example = has.map(|side| &side.example);
            let place = example.map(|example| &example.place);
            row.serialize_entry(side, &has.map(|side| &side.value))?;
            let mut put = |key: &str, value: serde_json::Value| {
                row.serialize_entry(&format!("{side}_{key}"), &value)
            };
            put(
                "device",
                place.and_then(|place| place.device.clone()).into(),
            )?;
            put("devices", has.map(|side| side.devices).into())?;
            put("count", has.map(|side| side.count).into())?;
            put("ref", place.map(|place| place.reference.clone()).into())?;
            put("line", example.and_then(|example| example.line).into())?;
            put("offset", example.and_then(|example| example.offset).into())?;
            put("text", example.map(|example| example.text.clone()).into())?;
            if example.is_some_and(|example| example.text_truncated) {
                put("text_truncated", true.into())?;
            }
            let context = |lines: fn(&Example) -> &Vec<String>| {
                serde_json::Value::from(example.map(|example| lines(example).clone()))
            };
            put("lines_above", context(|example| &example.before))?;
            put("lines_below", context(|example| &example.after))?;
        }
        row.end()
    }
}

/// A line that makes a device an outlier.
#[derive(Clone, Debug, Serialize)]
pub struct TwinLine {
    pub value: String,
    pub devices: u64,
    #[serde(rename = "ref")]
    pub reference: String,
    pub line: Option<u64>,
}

/// A device and how far it is from the others.
#[derive(Clone, Debug, Serialize)]
pub struct TwinRow {
    pub device: Option<String>,
    pub machine_id: Option<String>,
    /// Mean distance to its nearest five: 0 is the same, 1 nothing in common.
    pub distance: f64,
    pub nearest: Option<String>,
    pub nearest_distance: Option<f64>,
    /// Different texts it holds.
    pub texts: u64,
    /// What it holds and the fewest others do.
    pub lines: Vec<TwinLine>,
}
