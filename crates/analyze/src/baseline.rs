//! Baseline: a named, exact set of templates of known-good devices, which other
//! commands can hide.
//!
//! Its file has the same format in an archive and as an export: one line of
//! JSON (who learned it, from what, with which rules, and a SHA-256 of the
//! rest), then the sorted templates, one per line.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use crate::AnalyzeError;
use crate::templates::{RULES_VERSION, RuleSet, Templates};
use evidence::{Sha256, Time};

/// Version of the file format.
const FORMAT: u32 = 1;
/// Limit of the templates, all of which are in memory.
///
/// **Units**: bytes.
const BYTES_MAX: usize = 128 << 20;
/// Limit of the first line.
///
/// **Units**: bytes.
pub const HEAD_MAX: usize = 1 << 20;
/// Limit of a baseline file.
///
/// **Units**: bytes.
pub const PAGE_MAX: usize = HEAD_MAX + BYTES_MAX;

/// Origin of a baseline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineFacts {
    pub name: String,
    /// From 1; learning or importing the same name creates the next version.
    pub version: u32,
    pub learned_at: Time,
    pub learned_by: String,
    /// Query and options as entered.
    pub learned_from: String,
    pub devices: u64,
    pub members: u64,
    pub rules: RuleSet,
}

#[derive(Serialize, Deserialize)]
struct BaselineHeader {
    afteraction_baseline: u32,
    #[serde(flatten)]
    facts: BaselineFacts,
    lines: u64,
    sha256: Sha256,
}

/// Collects the templates of a baseline.
#[derive(Debug, Default)]
pub struct Learner {
    /// Distinct templates: learning more repeats most of what is known.
    lines: HashSet<Box<str>>,
    bytes: usize,
}

impl Learner {
    /// **Errors**: if the templates exceed the limit.
    pub fn add(&mut self, template: &str) -> Result<(), AnalyzeError> {
        if self.lines.contains(template) {
            return Ok(());
        }
        self.bytes += template.len() + 1;
        if self.bytes > BYTES_MAX {
            return Err(AnalyzeError::BaselineTooLarge { limit: BYTES_MAX });
        }
        self.lines.insert(template.into());
        Ok(())
    }

    /// The baseline with these templates.
    pub fn learned(self, facts: BaselineFacts) -> Result<Baseline, AnalyzeError> {
        let mut lines: Vec<_> = self.lines.into_iter().collect();
        lines.sort_unstable();
        let mut body = String::with_capacity(self.bytes);
        for line in lines {
            body.push_str(&line);
            body.push('\n');
        }
        Baseline::over(facts, body)
    }
}

/// A set of known templates.
#[derive(Debug)]
pub struct Baseline {
    facts: BaselineFacts,
    body: String,
    /// Start of each line in the body.
    table: HashTable<u32>,
    hasher: RandomState,
    templates: Templates,
}

impl Baseline {
    fn over(facts: BaselineFacts, body: String) -> Result<Self, AnalyzeError> {
        if facts.rules.version != RULES_VERSION {
            return Err(AnalyzeError::BaselineRules {
                found: facts.rules.version,
                wanted: RULES_VERSION,
            });
        }
        let hasher = RandomState::new();
        let mut table = HashTable::new();
        let (mut at, mut before) = (0, None);
        for line in body.split_terminator('\n') {
            if before.replace(line).is_some_and(|before| before >= line) {
                return Err(damaged("its lines are not in order, each once"));
            }
            let hash = hasher.hash_one(line);
            table.insert_unique(hash, at as u32, |at| hasher.hash_one(line_at(&body, *at)));
            at += line.len() + 1;
        }
        Ok(Self {
            templates: Templates::new(&facts.rules)?,
            facts,
            body,
            table,
            hasher,
        })
    }

    /// Parses a baseline file.
    ///
    /// **Errors**: if the file has another format, is truncated or modified, or
    /// was learned with rules of another version.
    pub fn read(page: &[u8]) -> Result<Self, AnalyzeError> {
        let (head, body) = read_head(page)?;
        if body.len() > BYTES_MAX {
            return Err(AnalyzeError::BaselineTooLarge { limit: BYTES_MAX });
        }
        if Sha256::of(body) != head.sha256 {
            return Err(damaged("its lines are not those it was written with"));
        }
        let body = String::from_utf8(body.to_vec()).map_err(|_| damaged("it is no text"))?;
        Self::over(head.facts, body)
    }

    /// Origin and number of templates, from the start of a baseline file.
    pub fn read_facts(page: &[u8]) -> Result<(BaselineFacts, u64), AnalyzeError> {
        let (head, _) = read_head(page)?;
        Ok((head.facts, head.lines))
    }

    /// The file, as stored and exported.
    pub fn page(&self) -> Vec<u8> {
        let head = BaselineHeader {
            afteraction_baseline: FORMAT,
            facts: self.facts.clone(),
            lines: self.lines(),
            sha256: Sha256::of(self.body.as_bytes()),
        };
        let mut page = serde_json::to_vec(&head).unwrap_or_default();
        page.push(b'\n');
        page.extend_from_slice(self.body.as_bytes());
        page
    }

    pub fn facts(&self) -> &BaselineFacts {
        &self.facts
    }

    /// Copy with another name and version.
    #[must_use]
    pub fn as_of(mut self, name: &str, version: u32) -> Self {
        self.facts.name = name.into();
        self.facts.version = version;
        self
    }

    /// Sets the device names. The name of a device is volatile in its own
    /// lines.
    #[must_use]
    pub fn with_machines<'n>(mut self, names: impl Iterator<Item = &'n str>) -> Self {
        self.templates = self.templates.with_machines(names);
        self
    }

    pub fn lines(&self) -> u64 {
        self.table.len() as u64
    }

    /// The templates, sorted.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        self.body.split_terminator('\n')
    }

    /// Whether the baseline contains a template.
    pub fn has(&self, template: &str) -> bool {
        let hash = self.hasher.hash_one(template);
        let is = |at: &u32| line_at(&self.body, *at) == template;
        self.table.find(hash, is).is_some()
    }

    /// Whether the baseline contains the template of a line of a device.
    pub fn knows(&self, line: &str, device: Option<&str>) -> bool {
        let own = device.and_then(|device| self.templates.machine_of(device));
        self.has(&self.templates.of(line, own))
    }

    /// The template rules it was learned with.
    pub fn maker(&self) -> &Templates {
        &self.templates
    }
}

fn damaged(what: &str) -> AnalyzeError {
    AnalyzeError::Baseline { what: what.into() }
}

fn read_head(page: &[u8]) -> Result<(BaselineHeader, &[u8]), AnalyzeError> {
    let first = page.get(..HEAD_MAX).unwrap_or(page);
    let end = memchr::memchr(b'\n', first).ok_or_else(|| damaged("it has no first line"))?;
    let (head, body) = (&page[..end], &page[end + 1..]);
    let format = serde_json::from_slice::<serde_json::Value>(head).ok();
    let format = format.and_then(|head| head.get("afteraction_baseline")?.as_u64());
    match format {
        None => return Err(damaged("its first line does not say what it is")),
        Some(found) if found != u64::from(FORMAT) => {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            let wanted = FORMAT;
            return Err(AnalyzeError::BaselineFormat { found, wanted });
        }
        Some(_) => {}
    }
    let head = serde_json::from_slice(head);
    let head = head.map_err(|e| damaged(&format!("its first line: {e}")))?;
    Ok((head, body))
}

fn line_at(body: &str, at: u32) -> &str {
    let rest = body.get(at as usize..).unwrap_or("");
    let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
    &rest[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(lines: &[&str]) -> Baseline {
        let mut learner = Learner::default();
        lines.iter().for_each(|line| learner.add(line).unwrap());
        let facts = BaselineFacts {
            name: "golden".into(),
            version: 3,
            learned_at: Time::from_text("2026-02-03T00:00:00Z"),
            learned_by: "me".into(),
            learned_from: "script:a".into(),
            devices: 2,
            members: 4,
            rules: RuleSet::default(),
        };
        learner.learned(facts).unwrap()
    }

    #[test]
    fn repeated_templates_take_no_space() {
        let half = "x".repeat(BYTES_MAX / 2 + 1);
        let mut learner = Learner::default();
        for _ in 0..1_000 {
            learner.add(&half).unwrap();
        }
        let other = half.replace('x', "y");
        assert!(learner.add(&other).is_err());
    }

    #[test]
    fn baseline_contains_exactly_what_it_learned() {
        let baseline = learned(&["b <pid>", "a", "", "a", "c\r"]);
        assert_eq!(
            baseline.templates().collect::<Vec<_>>(),
            ["", "a", "b <pid>", "c\r"]
        );
        for (template, known) in [
            ("a", true),
            ("", true),
            ("aa", false),
            ("b", false),
            ("c\r", true),
        ] {
            assert_eq!(baseline.has(template), known, "{template:?}");
        }
        assert!(baseline.knows("  a ", None));
    }

    #[test]
    fn file_round_trips_and_modified_file_is_rejected() {
        let baseline = learned(&["a", "b"]);
        let page = baseline.page();
        let again = Baseline::read(&page).unwrap();
        assert_eq!(again.facts(), baseline.facts());
        assert_eq!(again.page(), page);
        for cut in [0, 5, page.len() - 1] {
            assert!(Baseline::read(&page[..cut]).is_err(), "{cut}");
        }
        let mut changed = page.clone();
        *changed.last_mut().unwrap() = b'x';
        let error = Baseline::read(&changed).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
        let other = String::from_utf8(page)
            .unwrap()
            .replace("\"afteraction_baseline\":1", "\"afteraction_baseline\":2");
        let error = Baseline::read(other.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("format 2"), "{error}");
    }
}
