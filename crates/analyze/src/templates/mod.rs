//! Templates: lines without their volatile parts. Lines that differ only in
//! volatile parts have the same template, so "this line is on 1 of 340 devices"
//! is one row for all process ids.
//!
//! Each rule has a name, can be switched off, and replaces a volatile part with
//! a placeholder (`<pid>`). Numbers that may carry meaning (event ids, service
//! ports, error codes) are kept: in doubt, lines stay different.
//!
//! **Invariant**: a template depends on the line, the rules and the device
//! names only, so it is the same on every thread and in every run.

mod columns;
mod labels;
mod rules;
mod scan;
mod shapes;
#[cfg(test)]
mod tests;

use memchr::memmem;
use regex::Regex;
use rustc_hash::FxHashMap;

use crate::templates::rules::RuleKind;
pub use crate::templates::rules::{RULES, RULES_VERSION, TemplateRule};

use crate::AnalyzeError;

/// A rule of the user; matches become `<name>`.
#[derive(Clone, Debug)]
struct Custom {
    name: String,
    pattern: Regex,
}

/// The rules in effect, as stored in a baseline.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RuleSet {
    pub version: u32,
    /// Names of the rules that are switched off.
    pub off: Vec<String>,
    /// Names and patterns of user rules, which are applied first.
    pub more: Vec<(String, String)>,
}

impl Default for RuleSet {
    fn default() -> Self {
        Self {
            version: RULES_VERSION,
            off: Vec::new(),
            more: Vec::new(),
        }
    }
}

impl RuleSet {
    /// No rule: lines stay unchanged.
    pub fn none() -> Self {
        Self {
            off: RULES.iter().map(|rule| rule.name.to_string()).collect(),
            ..Self::default()
        }
    }
}

/// Converts lines to templates.
#[derive(Clone, Debug)]
pub struct Templates {
    on: [bool; RULES.len()],
    more: Vec<Custom>,
    machines: Machines,
    /// End of the program name in a task list.
    program: memmem::Finder<'static>,
}

/// Limit of device names in a line. A line with more names has the same
/// template on every device.
pub(crate) const NAMED_MAX: usize = 16;
/// Longest device name.
///
/// **Units**: bytes.
const NAME_MAX: usize = 63;

/// Short names of the devices of the fleet, in lower case.
#[derive(Clone, Debug, Default)]
struct Machines {
    known: FxHashMap<Box<str>, u32>,
    /// Prefilter: for each first byte, one bit per name length; for the first
    /// two bytes, one bit if any name starts with them. Most words are not
    /// names.
    lengths: Vec<u64>,
    heads: Vec<u64>,
}

impl Machines {
    fn of<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut machines = Self {
            known: FxHashMap::default(),
            lengths: vec![0; 256],
            heads: vec![0; 1 << 10],
        };
        for name in names {
            let name = short(name).to_ascii_lowercase();
            // Shorter names would match in too many lines.
            if !(3..=NAME_MAX).contains(&name.len()) {
                continue;
            }
            let bytes = name.as_bytes();
            machines.lengths[usize::from(bytes[0])] |= 1 << name.len();
            let (word, bit) = Self::head(bytes[0], bytes[1]);
            machines.heads[word] |= bit;
            let next = machines.known.len() as u32;
            machines.known.entry(name.into()).or_insert(next);
        }
        machines
    }

    /// Position of the prefilter bit for two bytes.
    fn head(first: u8, second: u8) -> (usize, u64) {
        let [first, second] = [first, second].map(|byte| byte.to_ascii_lowercase());
        let pair = usize::from(first) << 8 | usize::from(second);
        (pair / 64, 1 << (pair % 64))
    }

    fn may_begin(&self, first: u8, second: u8) -> bool {
        let (word, bit) = Self::head(first, second);
        self.heads.get(word).is_some_and(|heads| heads & bit != 0)
    }

    fn find(&self, word: &str) -> Option<u32> {
        let first = word.as_bytes().first()?.to_ascii_lowercase();
        let lengths = self.lengths.get(usize::from(first))?;
        if word.len() > NAME_MAX || lengths >> word.len() & 1 == 0 {
            return None;
        }
        let mut low = [0u8; NAME_MAX];
        let low = low.get_mut(..word.len())?;
        low.copy_from_slice(word.as_bytes());
        low.make_ascii_lowercase();
        self.known.get(std::str::from_utf8(low).ok()?).copied()
    }
}

/// The name up to the first dot.
fn short(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

impl Templates {
    /// **Errors**: if a rule does not exist or a pattern is invalid.
    pub fn new(set: &RuleSet) -> Result<Self, AnalyzeError> {
        let mut templates = Self {
            on: [true; RULES.len()],
            more: Vec::new(),
            machines: Machines::default(),
            program: memmem::Finder::new(b".exe "),
        };
        for name in &set.off {
            let rule = RULES.iter().position(|rule| rule.name == name);
            let rule = rule.ok_or_else(|| AnalyzeError::NoRule { name: name.clone() })?;
            templates.on[rule] = false;
        }
        for (name, pattern) in &set.more {
            let pattern = Regex::new(pattern).map_err(|source| AnalyzeError::Pattern {
                name: name.clone(),
                source: Box::new(source),
            })?;
            templates.more.push(Custom {
                name: format!("<{name}>"),
                pattern,
            });
        }
        Ok(templates)
    }

    /// Sets the device names. The name of a device is volatile in its own
    /// lines.
    #[must_use]
    pub fn with_machines<'n>(mut self, names: impl Iterator<Item = &'n str>) -> Self {
        self.machines = Machines::of(names);
        self
    }

    /// Number of a device by its short name.
    pub fn machine(&self, name: &str) -> Option<u32> {
        self.machines.find(name)
    }

    /// Number of a device by its full or short name.
    pub fn machine_of(&self, device: &str) -> Option<u32> {
        self.machines.find(short(device))
    }

    /// Appends the template of a line to `out`. `own` is the device that the
    /// line is from. The devices named in the line are added to `named`; a line
    /// with more than `NAMED_MAX` names is a list and adds none.
    pub fn write(&self, line: &str, own: Option<u32>, named: &mut Vec<u32>, out: &mut String) {
        let mut line = std::borrow::Cow::Borrowed(line);
        for custom in &self.more {
            let name = regex::NoExpand(&custom.name);
            line = custom.pattern.replace_all(&line, name).into_owned().into();
        }
        let from = out.len();
        named.clear();
        crate::templates::scan::TemplateScan::new(self, &line, own, named, out).run();
        if named.len() <= NAMED_MAX {
            return;
        }
        if own.is_some() {
            out.truncate(from);
            crate::templates::scan::TemplateScan::new(self, &line, None, named, out).run();
        }
        named.clear();
    }

    /// The template of a line from the device `own`.
    pub fn of(&self, line: &str, own: Option<u32>) -> String {
        let mut out = String::with_capacity(line.len());
        self.write(line, own, &mut Vec::new(), &mut out);
        out
    }

    fn on(&self, kind: RuleKind) -> bool {
        self.on[kind as usize]
    }
}
