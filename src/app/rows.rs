//! Rows of the answers. The keys of a row are the same in JSON, JSON Lines and
//! CSV, and must not change.

use std::io;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use evidence::{
    ActionId, CommandIndex, GapReason, Locator, ProblemKind, ResultKey, ResultKind, Seq, Sha256,
    Time,
};
use index::Snippet;

use crate::app::columns::{Columns, columns, serialize_row};

columns! {
    /// The result or member a row is about.
    #[derive(Clone, Debug)]
    pub struct ResultPlace {
        /// Printed form of the locator, as `show` accepts it.
        pub reference: String as "ref",
        pub action_id: ActionId,
        pub command_index: CommandIndex,
        /// From 1; `None` if there are no bytes.
        pub version: Option<u32>,
        pub device: Option<String>,
        pub machine_id: Option<String>,
    }
}

impl ResultPlace {
    pub fn of(locator: &Locator, device: Option<String>, machine_id: Option<String>) -> Self {
        Self {
            reference: locator.to_string(),
            version: Some(locator.id.version.0),
            ..Self::missing(locator.id.key, device, machine_id)
        }
    }

    /// The place of a missing result.
    pub fn missing(key: ResultKey, device: Option<String>, machine_id: Option<String>) -> Self {
        Self {
            reference: key.to_string(),
            action_id: key.action,
            command_index: key.index,
            version: None,
            device,
            machine_id,
        }
    }
}

/// State of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultState {
    /// In the archive.
    Sealed,
    /// Missing, with a recorded reason.
    Gap,
    /// Not collected yet.
    Pending,
}

impl ResultState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Gap => "gap",
            Self::Pending => "pending",
        }
    }
}

columns! {
    /// One version of a result, or a missing result.
    #[derive(Clone, Debug)]
    pub struct ListRow {
        pub place: ResultPlace as flatten,
        pub kind: ResultKind,
        pub script: Option<String>,
        pub path: Option<String>,
        /// Exit code of the script; `None` until the result is indexed.
        pub exit_code: Option<i64>,
        /// End of the command, or its start if the end is not known.
        pub time: Option<Time>,
        pub requestor: Option<String>,
        pub comment: Option<String>,
        pub collected_at: Option<Time>,
        pub state: ResultState,
        /// Reason of a gap.
        pub reason: Option<GapReason>,
        /// **Units**: bytes as downloaded.
        pub bytes: Option<u64>,
        /// SHA-256 of the bytes as downloaded.
        pub sha256: Option<Sha256>,
        /// Position in the journal.
        pub seq: Option<Seq>,
    }
}

columns! {
    /// A missing result with a recorded reason.
    #[derive(Clone, Debug)]
    pub struct GapRow {
        pub place: ResultPlace as flatten,
        pub kind: ResultKind,
        pub script: Option<String>,
        pub path: Option<String>,
        pub time: Option<Time>,
        pub reason: GapReason,
        /// The attempt, and how it failed.
        pub detail: String,
        pub noted_at: Time,
        /// Whether another collection can succeed.
        pub worth_retrying: bool,
    }
}

columns! {
    /// A problem in the evidence.
    #[derive(Clone, Debug)]
    pub struct ProblemRow {
        pub place: ResultPlace as flatten,
        pub kind: ProblemKind,
        pub message: String,
        /// Whether a search can miss text because of it.
        pub hides_text: bool,
    }
}

columns! {
    /// The member of a hit. Hits of one member share it.
    #[derive(Clone, Debug)]
    pub struct MemberRow {
        pub place: ResultPlace as flatten,
        pub script: Option<String>,
        pub time: Option<Time>,
        pub member: String,
        pub member_sha256: Sha256,
    }
}

/// A line that matches a search.
#[derive(Clone, Debug)]
pub struct HitRow {
    pub member: Arc<MemberRow>,
    /// From 1, in the decoded text.
    pub line: u64,
    /// Offset of the match.
    ///
    /// **Units**: bytes in the decoded text (UTF-8), from 0.
    pub offset: u64,
    pub shown: Arc<Snippet>,
    pub before: Vec<String>,
    pub after: Vec<String>,
    /// `member` as JSON, serialized once for all its hits.
    pub(super) member_json: Arc<str>,
}

impl HitRow {
    /// **Units**: bytes of the lines it shows.
    pub(super) fn text_bytes(&self) -> usize {
        let context = self.before.iter().chain(&self.after);
        self.shown.text.len() + context.map(String::len).sum::<usize>()
    }

    /// Writes the same object as `Serialize`, faster: the member and repeated
    /// lines are serialized once for all their hits.
    pub fn write_json(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let member = self.member_json.strip_suffix('}').unwrap_or_default();
        out.extend_from_slice(member.as_bytes());
        out.extend_from_slice(b",\"line\":");
        serde_json::to_writer(&mut *out, &self.line)?;
        out.extend_from_slice(b",\"offset\":");
        serde_json::to_writer(&mut *out, &self.offset)?;
        out.extend_from_slice(b",\"text\":");
        if Arc::strong_count(&self.shown) == 1 {
            // No other hit uses the cached form.
            serde_json::to_writer(&mut *out, &self.shown.text)?;
        } else {
            out.extend_from_slice(self.shown.text_json().as_bytes());
        }
        let details = HitDetails(self);
        if details.is_empty() {
            out.push(b'}');
            return Ok(());
        }
        let object = serde_json::to_string(&details)?;
        out.push(b',');
        out.extend_from_slice(&object.as_bytes()[1..]);
        Ok(())
    }
}

impl Columns for HitRow {
    fn columns() -> Vec<&'static str> {
        let mut columns = ResultPlace::columns();
        columns.extend([
            "script",
            "time",
            "member",
            "line",
            "offset",
            "text",
            "text_truncated",
            "line_bytes",
            "member_sha256",
        ]);
        columns
    }

    fn detail_keys() -> Vec<&'static str> {
        vec!["before", "after"]
    }

    fn write_entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        self.member.write_entries(map)?;
        map.serialize_entry("line", &self.line)?;
        map.serialize_entry("offset", &self.offset)?;
        map.serialize_entry("text", &self.shown.text)?;
        HitDetails(self).write(map)
    }
}

impl Serialize for HitRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_row(self, serializer)
    }
}

/// The entries that most hits do not have.
struct HitDetails<'a>(&'a HitRow);

impl HitDetails<'_> {
    fn is_empty(&self) -> bool {
        let hit = self.0;
        !hit.shown.text_truncated
            && hit.shown.line_bytes.is_none()
            && hit.before.is_empty()
            && hit.after.is_empty()
    }

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let hit = self.0;
        if hit.shown.text_truncated {
            map.serialize_entry("text_truncated", &true)?;
        }
        // **Units**: bytes of the whole line, of which `text` is a part.
        if let Some(bytes) = hit.shown.line_bytes {
            map.serialize_entry("line_bytes", &bytes)?;
        }
        for (key, lines) in [("before", &hit.before), ("after", &hit.after)] {
            if !lines.is_empty() {
                map.serialize_entry(key, lines)?;
            }
        }
        Ok(())
    }
}

impl Serialize for HitDetails<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.write(&mut map)?;
        map.end()
    }
}

columns! {
    /// Number of hits, for one value of a field or in total.
    #[derive(Clone, Debug, Default)]
    pub struct CountRow {
        /// Empty for a member without a value, and for the total.
        pub value: String,
        /// Whether hits were counted by a field.
        pub by_field: bool as hidden,
        pub hits: u64,
        pub members: u64,
        /// Members that are excluded only because they have no time.
        pub undated: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::columns::assert_declares_all_keys;
    use evidence::{ResultId, Version};

    fn hit(shown: Snippet, before: &[&str]) -> HitRow {
        let key = ResultKey {
            action: ActionId::from_bytes([0x1c; 16]),
            index: CommandIndex(3),
        };
        let id = ResultId {
            key,
            version: Version(2),
        };
        let member = MemberRow {
            place: ResultPlace::of(&Locator::of_result(id), Some("pc\"1".into()), None),
            script: None,
            time: None,
            member: "a\\b".into(),
            member_sha256: Sha256([7; 32]),
        };
        HitRow {
            member_json: serde_json::to_string(&member).unwrap().into(),
            member: Arc::new(member),
            line: 4,
            offset: 71,
            shown: Arc::new(shown),
            before: before.iter().map(|line| line.to_string()).collect(),
            after: Vec::new(),
        }
    }

    fn truncated(text: &str) -> Snippet {
        let mut snippet = Snippet::of(text.to_string());
        (snippet.text_truncated, snippet.line_bytes) = (true, Some(99_999));
        snippet
    }

    #[test]
    fn hit_written_in_parts_equals_the_serialized_hit() {
        let text = "C:\\x \u{1b}\"é";
        let plain = Snippet::of(text.to_string());
        for (hit, keys) in [
            (hit(plain.clone(), &[]), 13),
            (hit(plain, &["be\"fore"]), 14),
            (hit(truncated(text), &["1", "2"]), 16),
        ] {
            let serialized = serde_json::to_string(&hit).unwrap();
            let mut alone = Vec::new();
            hit.write_json(&mut alone).unwrap();
            assert_eq!(String::from_utf8(alone).unwrap(), serialized);
            let _other = hit.shown.clone();
            let mut shared = Vec::new();
            hit.write_json(&mut shared).unwrap();
            assert_eq!(String::from_utf8(shared).unwrap(), serialized);
            let object: serde_json::Value = serde_json::from_str(&serialized).unwrap();
            assert_eq!(object.as_object().unwrap().len(), keys, "{serialized}");
        }
    }

    #[test]
    fn hit_declares_all_its_keys() {
        let mut hit = hit(truncated("x"), &["before"]);
        hit.after.push("after".into());
        assert_declares_all_keys(&hit);
    }
}
