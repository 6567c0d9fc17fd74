//! What comparisons answer with. These names stay.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::app::columns::{Columns, columns, serialize_row};
use crate::app::rows::ResultPlace;
use evidence::{ActionId, CommandIndex, ResultKey, Time};
use index::TEXT_MAX;

use crate::app::compare::scope::cut;

columns! {
    /// Where a text stands: one place of it, which `show` takes.
    #[derive(Clone, Debug)]
    pub struct Example {
        pub place: ResultPlace as flatten,
        pub script: Option<String>,
        pub member: String,
        /// From 1, in the decoded text; null where the member itself is meant.
        pub line: Option<u64>,
        /// Of the line: bytes in the decoded text (UTF-8), from 0.
        pub offset: Option<u64>,
        /// The line as it stands.
        pub text: String,
        pub text_truncated: bool as rare,
        pub before: Vec<String> as rare,
        pub after: Vec<String> as rare,
    }
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

columns! {
    /// A text and on how many devices it stands.
    #[derive(Clone, Debug)]
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
        pub rare_words: Vec<String> as detail,
        /// The oldest place of it.
        pub example: Example as flatten,
        /// The lines as they are, where they were asked for.
        pub raw: Vec<RawRow> as rare,
        /// Raw lines that were left out.
        pub raw_left_out: u64 as rare,
    }
}

/// One raw line of a template.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RawRow {
    pub text: String,
    pub devices: u64,
    pub count: u64,
    #[serde(rename = "ref")]
    pub reference: String,
    pub line: Option<u64>,
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

impl Columns for DiffRow {
    fn columns() -> Vec<&'static str> {
        vec![
            "change",
            "before",
            "after",
            "before_device",
            "before_devices",
            "before_count",
            "before_ref",
            "before_line",
            "before_offset",
            "before_text",
            "after_device",
            "after_devices",
            "after_count",
            "after_ref",
            "after_line",
            "after_offset",
            "after_text",
            "before_text_truncated",
            "after_text_truncated",
        ]
    }

    fn detail_keys() -> Vec<&'static str> {
        vec![
            "before_lines_above",
            "before_lines_below",
            "after_lines_above",
            "after_lines_below",
        ]
    }

    /// Flat: `before`, `before_ref`, ... `after`, `after_ref`, ...
    fn write_entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("change", &self.change)?;
        write_side("before", self.before.as_ref(), map)?;
        write_side("after", self.after.as_ref(), map)
    }
}

fn write_side<M: SerializeMap>(
    name: &str,
    side: Option<&SideRow>,
    map: &mut M,
) -> Result<(), M::Error> {
    let example = side.map(|side| &side.example);
    let place = example.map(|example| &example.place);
    let key = |key: &str| format!("{name}_{key}");
    map.serialize_entry(name, &side.map(|side| &side.value))?;
    let device = place.and_then(|place| place.device.as_ref());
    map.serialize_entry(&key("device"), &device)?;
    map.serialize_entry(&key("devices"), &side.map(|side| side.devices))?;
    map.serialize_entry(&key("count"), &side.map(|side| side.count))?;
    map.serialize_entry(&key("ref"), &place.map(|place| &place.reference))?;
    map.serialize_entry(&key("line"), &example.and_then(|example| example.line))?;
    map.serialize_entry(&key("offset"), &example.and_then(|example| example.offset))?;
    map.serialize_entry(&key("text"), &example.map(|example| &example.text))?;
    if example.is_some_and(|example| example.text_truncated) {
        map.serialize_entry(&key("text_truncated"), &true)?;
    }
    map.serialize_entry(&key("lines_above"), &example.map(|example| &example.before))?;
    map.serialize_entry(&key("lines_below"), &example.map(|example| &example.after))
}

impl Serialize for DiffRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_row(self, serializer)
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

columns! {
    /// A device and how far it is from the others.
    #[derive(Clone, Debug)]
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::columns::assert_declares_all_keys;

    #[test]
    fn difference_declares_all_its_keys() {
        let side = SideRow {
            value: "x".into(),
            devices: 1,
            count: 1,
            example: Example {
                text_truncated: true,
                ..Example::default_of()
            },
        };
        assert_declares_all_keys(&DiffRow {
            change: DiffKind::Changed,
            before: Some(side.clone()),
            after: Some(side),
        });
    }
}
