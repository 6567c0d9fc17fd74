//! What the use cases answer with: one struct a row, the same names in JSON,
//! CSV, the page and the terminal. These names stay.

use std::io;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use evidence::{
    ActionId, CommandIndex, GapReason, Locator, ProblemKind, ResultKey, ResultKind, Seq, Sha256,
    Time,
};
use index::Snippet;

/// Which result or member a row is about, in the same words in every answer.
#[derive(Clone, Debug, Serialize)]
pub struct ResultPlace {
    /// The printed form, which `show` takes.
    #[serde(rename = "ref")]
    pub reference: String,
    pub action_id: ActionId,
    pub command_index: CommandIndex,
    /// From 1; null where there are no bytes.
    pub version: Option<u32>,
    pub device: Option<String>,
    pub machine_id: Option<String>,
}

impl ResultPlace {
    pub fn of(at: &Locator, device: Option<String>, machine_id: Option<String>) -> Self {
        Self {
            reference: at.to_string(),
            version: Some(at.id.version.0),
            ..Self::missing(at.id.key, device, machine_id)
        }
    }

    /// Of a result that is not there.
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

/// Where a result stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultState {
    /// In the archive, whole.
    Sealed,
    /// Not there, and it is known why.
    Gap,
    /// Not there yet.
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

/// A result: one version of it, or its absence.
#[derive(Clone, Debug, Serialize)]
pub struct ListRow {
    #[serde(flatten)]
    pub place: ResultPlace,
    pub kind: ResultKind,
    pub script: Option<String>,
    pub path: Option<String>,
    /// Of the script; null until the result is indexed.
    pub exit_code: Option<i64>,
    /// The command's end, else its start.
    pub time: Option<Time>,
    pub requestor: Option<String>,
    pub comment: Option<String>,
    pub collected_at: Option<Time>,
    pub state: ResultState,
    /// Why it is not there.
    pub reason: Option<GapReason>,
    /// **Units**: bytes as downloaded.
    pub bytes: Option<u64>,
    /// Of the bytes as downloaded.
    pub sha256: Option<Sha256>,
    /// ResultPlace in the journal.
    pub seq: Option<Seq>,
}

/// A result that is not there.
#[derive(Clone, Debug, Serialize)]
pub struct GapRow {
    #[serde(flatten)]
    pub place: ResultPlace,
    pub kind: ResultKind,
    pub script: Option<String>,
    pub path: Option<String>,
    pub time: Option<Time>,
    pub reason: GapReason,
    /// What was attempted and what came back.
    pub detail: String,
    pub noted_at: Time,
    /// Whether collecting again may still bring it.
    pub worth_retrying: bool,
}

/// Something wrong inside the evidence.
#[derive(Clone, Debug, Serialize)]
pub struct ProblemRow {
    #[serde(flatten)]
    pub place: ResultPlace,
    pub kind: ProblemKind,
    pub message: String,
    /// Whether a search may have missed something because of it.
    pub hides_text: bool,
}

/// The text a hit stands in; shared by the hits of it.
#[derive(Clone, Debug, Serialize)]
pub struct MemberRow {
    #[serde(flatten)]
    pub place: ResultPlace,
    pub script: Option<String>,
    pub time: Option<Time>,
    pub member: String,
    pub member_sha256: Sha256,
}

/// A place where a search matched.
#[derive(Clone, Debug)]
pub struct HitRow {
    pub member: Arc<MemberRow>,
    /// From 1, in the decoded text.
    pub line: u64,
    /// Of the match: bytes in the decoded text (UTF-8), from 0.
    pub offset: u64,
    pub shown: Arc<Snippet>,
    pub before: Vec<String>,
    pub after: Vec<String>,
    /// `member` as JSON, written once for all its hits.
    pub(super) member_json: Arc<str>,
}

impl HitRow {
    /// **Units**: bytes of the lines it shows.
    pub(super) fn text_bytes(&self) -> usize {
        let context = self.before.iter().chain(&self.after);
        self.shown.text.len() + context.map(String::len).sum::<usize>()
    }

    /// The same object as by `Serialize`. Most of it is the same for all hits
    /// of a member, and millions are listed: that part is written once, and so
    /// is a line that comes again.
    pub fn write_json(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let member = self.member_json.strip_suffix('}').unwrap_or_default();
        out.extend_from_slice(member.as_bytes());
        out.extend_from_slice(b",\"line\":");
        serde_json::to_writer(&mut *out, &self.line)?;
        out.extend_from_slice(b",\"offset\":");
        serde_json::to_writer(&mut *out, &self.offset)?;
        out.extend_from_slice(b",\"text\":");
        match Arc::strong_count(&self.shown) {
            // Nobody keeps it for another hit.
            1 => serde_json::to_writer(&mut *out, &self.shown.text)?,
            _ => out.extend_from_slice(self.shown.text_json().as_bytes()),
        }
        let rest = RestOfHit::of(self);
        if rest.is_empty() {
            out.push(b'}');
            return Ok(());
        }
        let rest = serde_json::to_string(&rest)?;
        out.push(b',');
        out.extend_from_slice(&rest.as_bytes()[1..]);
        Ok(())
    }
}

impl Serialize for HitRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Object<'a> {
            #[serde(flatten)]
            member: &'a MemberRow,
            line: u64,
            offset: u64,
            text: &'a str,
            #[serde(flatten)]
            rest: RestOfHit<'a>,
        }
        let object = Object {
            member: &self.member,
            line: self.line,
            offset: self.offset,
            text: &self.shown.text,
            rest: RestOfHit::of(self),
        };
        object.serialize(serializer)
    }
}

/// What most hits do not have.
#[derive(Serialize)]
struct RestOfHit<'a> {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    text_truncated: bool,
    /// **Units**: bytes of the whole line, where `text` is not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    line_bytes: Option<u64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    before: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    after: &'a [String],
}

impl<'a> RestOfHit<'a> {
    fn of(hit: &'a HitRow) -> Self {
        Self {
            text_truncated: hit.shown.text_truncated,
            line_bytes: hit.shown.line_bytes,
            before: &hit.before,
            after: &hit.after,
        }
    }

    fn is_empty(&self) -> bool {
        !self.text_truncated
            && self.line_bytes.is_none()
            && self.before.is_empty()
            && self.after.is_empty()
    }
}

/// How many hits, for one value of a field or for all.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CountRow {
    /// Empty where a member has none, or where nothing was counted by.
    pub value: String,
    #[serde(skip)]
    pub by_field: bool,
    pub hits: u64,
    pub members: u64,
    /// Members that match but for the time asked for, and have none.
    pub undated: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn a_hit_written_in_pieces_is_the_object_that_is_serialized() {
        let text = "C:\\x \u{1b}\"é".to_string();
        let plain = Snippet::of(text.clone());
        let mut cut = Snippet::of(text);
        (cut.text_truncated, cut.line_bytes) = (true, Some(99_999));
        for (hit, keys) in [
            (hit(plain.clone(), &[]), 13),
            (hit(plain, &["be\"fore"]), 14),
            (hit(cut, &["1", "2"]), 16),
        ] {
            let mut written = Vec::new();
            hit.write_json(&mut written).unwrap();
            let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
            assert_eq!(written, serde_json::to_value(&hit).unwrap());
            assert_eq!(written.as_object().unwrap().len(), keys, "{written}");
            let kept = hit.shown.clone();
            let mut again = Vec::new();
            hit.write_json(&mut again).unwrap();
            let again: serde_json::Value = serde_json::from_slice(&again).unwrap();
            assert_eq!(again, written, "{kept:?}");
        }
    }
}
