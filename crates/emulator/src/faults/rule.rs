//! Fault rules and their syntax.

use crate::call_kind::CallKind;
use crate::error::{Error, Result};
use crate::faults::catalog::FaultTimes::{All, Each, Total};
use crate::faults::catalog::{CATALOG, Fault, FaultTimes};
use evidence::ResultKey;

/// A fault and the conditions under which it fires.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRule {
    pub fault: Fault,
    /// Only calls of this kind; `None`: the default kinds of the fault.
    pub on: Option<CallKind>,
    /// Only requests for this result.
    pub only: Option<ResultKey>,
    pub times: FaultTimes,
    /// Parameter of the fault: a byte offset, seconds or a rate; see the help.
    pub value: Option<u64>,
    /// Probability that a matching request is hit, 0 to 1.
    pub chance: f64,
    /// Number of matching requests to skip first.
    pub after: u64,
}

impl FaultRule {
    /// A rule with the defaults of the fault.
    pub fn new(fault: Fault) -> Self {
        let entry = fault.entry();
        Self {
            fault,
            on: None,
            only: None,
            times: entry.map_or(Total(1), |entry| entry.times),
            value: entry.and_then(|entry| entry.value),
            chance: 1.0,
            after: 0,
        }
    }

    pub fn times(self, times: FaultTimes) -> Self {
        Self { times, ..self }
    }

    pub fn value(self, value: u64) -> Self {
        Self {
            value: Some(value),
            ..self
        }
    }

    pub fn chance(self, chance: f64) -> Self {
        Self { chance, ..self }
    }

    pub fn after(self, after: u64) -> Self {
        Self { after, ..self }
    }

    pub fn on(self, kind: CallKind) -> Self {
        Self {
            on: Some(kind),
            ..self
        }
    }

    pub fn only(self, key: ResultKey) -> Self {
        Self {
            only: Some(key),
            ..self
        }
    }

    /// Parses `[CALLS.]NAME[=TIMES][@VALUE][%CHANCE][+AFTER]`.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |reason: String| Error::Fault {
            text: text.chars().take(80).collect(),
            reason,
        };
        let end = text.find(SEPARATORS).unwrap_or(text.len());
        let (name, mut rest) = text.split_at(end);
        let mut rule = Self::parse_name(name.trim()).map_err(&invalid)?;
        while let Some(separator) = rest.chars().next() {
            let tail = &rest[1..];
            let end = tail.find(SEPARATORS).unwrap_or(tail.len());
            let (word, next) = tail.split_at(end);
            let number = || {
                word.trim()
                    .parse::<u64>()
                    .map_err(|_| invalid(format!("invalid number `{word}`")))
            };
            match separator {
                '=' => rule.times = parse_times(word.trim()).map_err(&invalid)?,
                '@' => rule.value = Some(number()?),
                '%' => rule.chance = number()?.min(100) as f64 / 100.0,
                _ => rule.after = number()?,
            }
            rest = next;
        }
        Ok(rule)
    }

    fn parse_name(text: &str) -> std::result::Result<Self, String> {
        let (calls, name) = match text.split_once('.') {
            Some((calls, name)) => (Some(calls), name),
            None => (None, text),
        };
        let entry = CATALOG
            .iter()
            .find(|entry| entry.name == name)
            .ok_or_else(|| format!("unknown fault `{name}`"))?;
        let parse_kind = |name| {
            CallKind::from_name(name).ok_or_else(|| format!("unknown kind of call `{name}`"))
        };
        Ok(Self {
            on: calls.map(parse_kind).transpose()?,
            ..Self::new(entry.fault)
        })
    }

    pub(crate) fn matches(&self, kind: CallKind, key: Option<ResultKey>) -> bool {
        let is_kind = match self.on {
            Some(on) => on == kind,
            None => self.fault.applies_to(kind),
        };
        is_kind && (self.only.is_none() || self.only == key)
    }
}

/// Characters that begin the optional parts of a rule.
const SEPARATORS: [char; 4] = ['=', '@', '%', '+'];

fn parse_times(word: &str) -> std::result::Result<FaultTimes, String> {
    let invalid =
        |_| format!("invalid count `{word}`: expected a number, `each`, `each3` or `all`");
    Ok(match word {
        "all" => All,
        "each" => Each(1),
        _ => match word.strip_prefix("each") {
            Some(count) => Each(count.parse().map_err(invalid)?),
            None => Total(word.parse().map_err(invalid)?),
        },
    })
}

/// A list of fault rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    pub(crate) rules: Vec<FaultRule>,
}

impl Faults {
    /// Syntax of a rule, for a help page.
    pub const SYNTAX: &'static str = "[CALLS.]NAME[=TIMES][@VALUE][%CHANCE][+AFTER], separated by commas. TIMES is a number, `each` or `each3` (per result), or `all`. CALLS is token, machines, list, get, link, blob, run, cancel, package, package-link, library, upload or delete";

    pub fn none() -> Self {
        Self::default()
    }

    /// Every fault, with its defaults, that a correct client survives without
    /// a missing or different byte.
    ///
    /// Excluded: permanent refusals and missing blobs, faults that hide one
    /// action from a client that lists once, faults that take minutes of real
    /// time, and faults that change bodies.
    pub fn survivable() -> Self {
        let excluded = [
            Fault::NotListed,
            Fault::NotListedOwn,
            Fault::Refuse,
            Fault::Missing,
            Fault::Hang,
            Fault::Stall,
            Fault::NotJson,
            Fault::CutJson,
            Fault::Empty,
            Fault::Utf16,
            Fault::Gzip,
            Fault::NotGzip,
            Fault::RawLineFeed,
            Fault::NulTail,
            Fault::Utf8Bom,
        ];
        CATALOG
            .iter()
            .filter(|entry| !excluded.contains(&entry.fault))
            .map(|entry| FaultRule::new(entry.fault))
            .collect()
    }

    /// Parses rules separated by commas, such as `429=3,401=1,cut=5@1024`.
    pub fn parse(text: &str) -> Result<Self> {
        text.split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(FaultRule::parse)
            .collect()
    }

    pub fn with(mut self, rule: FaultRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds the rules of another set.
    pub fn and(mut self, other: Self) -> Self {
        self.rules.extend(other.rules);
        self
    }

    pub fn rules(&self) -> &[FaultRule] {
        &self.rules
    }

    /// Name and description of every fault, in the order of a request's life.
    pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
        CATALOG.iter().map(|entry| (entry.name, entry.help))
    }
}

impl FromIterator<FaultRule> for Faults {
    fn from_iter<I: IntoIterator<Item = FaultRule>>(rules: I) -> Self {
        Self {
            rules: rules.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_with_every_part_is_parsed() {
        let faults = Faults::parse("429=3@30, 401=1,cut=each2@1024%50+4,blob.503=all").unwrap();
        assert_eq!(
            faults.rules(),
            [
                FaultRule::new(Fault::Throttle).times(Total(3)).value(30),
                FaultRule::new(Fault::Revoke).times(Total(1)),
                FaultRule::new(Fault::Cut)
                    .times(Each(2))
                    .value(1024)
                    .chance(0.5)
                    .after(4),
                FaultRule::new(Fault::Unavailable)
                    .times(All)
                    .on(CallKind::Blob),
            ]
        );
        assert_eq!(Faults::parse(" ").unwrap(), Faults::none());
    }

    #[test]
    fn error_for_an_invalid_rule_gives_the_reason() {
        for (text, reason) in [
            ("flood", "unknown fault `flood`"),
            ("cut=often", "invalid count `often`"),
            ("cut@here", "invalid number `here`"),
            ("sky.cut", "unknown kind of call `sky`"),
            ("cut=€", "invalid count `€`"),
        ] {
            let error = Faults::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn every_fault_name_can_be_parsed() {
        for (name, help) in Faults::names() {
            assert_eq!(FaultRule::parse(name).unwrap().fault.name(), name);
            assert!(!help.is_empty());
        }
    }
}
