//! Templates: a line without its volatile parts. Lines that differ in nothing
//! else have one template, and so "this line is on 1 of 340 devices" is one
//! row, whatever its process ids.
//!
//! Each rule has a name, can be switched off, and replaces what it takes away
//! by a word that says so (`<pid>`). Numbers that may say something (an event
//! id, a service's port, an error code) are left: where it is not certain that
//! a part is volatile, lines stay apart.
//!
//! **Invariant**: a template depends on the line, the rules and the names of
//! machines alone, so that it is the same on every thread and in every run.

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

use crate::templates::rules::Kind;
pub use crate::templates::rules::{RULES, RULES_VERSION, TemplateRule};

use crate::AnalyzeError;

type Placeholder = &'static str;

/// A rule of the user: what matches becomes `<name>`.
#[derive(Clone, Debug)]
struct Custom {
    name: String,
    pattern: Regex,
}

/// Which rules hold, as a baseline keeps it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RuleSet {
    pub version: u32,
    /// Names of the rules that are switched off.
    pub off: Vec<String>,
    /// Name and pattern of the user's own, which go first.
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
    /// Every rule switched off: lines as they are.
    pub fn none() -> Self {
        Self {
            off: RULES.iter().map(|rule| rule.name.to_string()).collect(),
            ..Self::default()
        }
    }
}

/// Makes templates.
#[derive(Clone, Debug)]
pub struct Templates {
    on: [bool; RULES.len()],
    more: Vec<Custom>,
    machines: Machines,
    /// What ends the name of a program in a list of tasks.
    program: memmem::Finder<'static>,
}

/// Machines that a line may name and still be looked at by who says it: each is
/// a template of its own.
pub(crate) const NAMED_MAX: usize = 16;
/// **Units**: bytes. A name of a machine is no longer.
const NAME_MAX: usize = 63;

/// Short names of the fleet's machines, in small letters.
#[derive(Clone, Debug, Default)]
struct Machines {
    known: FxHashMap<Box<str>, u32>,
    /// By first byte, a bit for each length there is, and by the first two a
    /// bit for whether any begins so: most words are no name.
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
            // Shorter names would be found in every other line.
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

    /// Where it stands whether a name begins with two bytes.
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

/// The name before the first dot.
fn short(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

impl Templates {
    /// **Errors**: a rule that is not there; a pattern that cannot be read.
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

    /// The same with the names of the machines that are asked, each of which
    /// is volatile in what it says of itself.
    #[must_use]
    pub fn with_machines<'n>(mut self, names: impl Iterator<Item = &'n str>) -> Self {
        self.machines = Machines::of(names);
        self
    }

    /// The number by which a machine's name is noted.
    pub fn machine(&self, name: &str) -> Option<u32> {
        self.machines.find(name)
    }

    /// The number of a device by its name, whole or short.
    pub fn machine_of(&self, device: &str) -> Option<u32> {
        self.machines.find(short(device))
    }

    /// Writes the template of a line behind `out`. `own` is the machine that
    /// said it; all that it names are noted in `named`. A line that names more
    /// than [`NAMED_MAX`] is a list of machines, and says of none that it is
    /// itself: then none is noted.
    pub fn write(&self, line: &str, own: Option<u32>, named: &mut Vec<u32>, out: &mut String) {
        let mut line = std::borrow::Cow::Borrowed(line);
        for custom in &self.more {
            let name = regex::NoExpand(&custom.name);
            line = custom.pattern.replace_all(&line, name).into_owned().into();
        }
        let from = out.len();
        named.clear();
        crate::templates::scan::Scan::new(self, &line, own, named, out).run();
        if named.len() <= NAMED_MAX {
            return;
        }
        if own.is_some() {
            out.truncate(from);
            crate::templates::scan::Scan::new(self, &line, None, named, out).run();
        }
        named.clear();
    }

    /// The template of a line that `own` said.
    pub fn of(&self, line: &str, own: Option<u32>) -> String {
        let mut out = String::with_capacity(line.len());
        self.write(line, own, &mut Vec::new(), &mut out);
        out
    }

    fn on(&self, kind: Kind) -> bool {
        self.on[kind as usize]
    }
}
