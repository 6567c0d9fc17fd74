//! Rules: which fault, where, when, how often, and how they are written.

use crate::error::{Error, Result};
use crate::faults::FaultTimes::{All, Each, Total};
use crate::faults::{CATALOG, Fault};
use crate::state::journal::CallKind;
use evidence::ResultKey;

/// How often a rule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultTimes {
    /// At every chance.
    All,
    /// So many times in all; for standing faults: on the first n results.
    Total(u64),
    /// So many times on each result.
    Each(u64),
}

/// A fault and when it applies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRule {
    pub fault: Fault,
    /// Only these calls; `None` leaves it to the fault.
    pub on: Option<CallKind>,
    /// Only this result.
    pub only: Option<ResultKey>,
    pub times: FaultTimes,
    /// The fault's number: a byte, seconds, a rate. See the help.
    pub value: Option<u64>,
    /// How likely each chance is taken, 0 to 1.
    pub chance: f64,
    /// So many chances pass first.
    pub after: u64,
}

impl FaultRule {
    /// The fault as the help describes it.
    pub fn new(fault: Fault) -> Self {
        let known = fault.known();
        Self {
            fault,
            on: None,
            only: None,
            times: known.map_or(Total(1), |known| known.times),
            value: known.and_then(|known| known.value),
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

    /// Reads `[CALLS.]NAME[=TIMES][@VALUE][%CHANCE][+AFTER]`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| Error::Fault {
            text: text.chars().take(80).collect(),
            why,
        };
        let end = text.find(['=', '@', '%', '+']).unwrap_or(text.len());
        let (name, mut rest) = text.split_at(end);
        let mut rule = Self::named(name.trim()).map_err(&wrong)?;
        while let Some(mark) = rest.chars().next() {
            let tail = &rest[1..];
            let end = tail.find(['=', '@', '%', '+']).unwrap_or(tail.len());
            let (word, next) = tail.split_at(end);
            let number = || {
                let read = word.trim().parse::<u64>();
                read.map_err(|_| wrong(format!("`{word}` is no number")))
            };
            match mark {
                '=' => rule.times = times(word.trim()).map_err(&wrong)?,
                '@' => rule.value = Some(number()?),
                '%' => rule.chance = number()?.min(100) as f64 / 100.0,
                _ => rule.after = number()?,
            }
            rest = next;
        }
        Ok(rule)
    }

    fn named(name: &str) -> std::result::Result<Self, String> {
        let (scope, name) = match name.split_once('.') {
            Some((scope, name)) => (Some(scope), name),
            None => (None, name),
        };
        let known = CATALOG.iter().find(|known| known.name == name);
        let known = known.ok_or_else(|| format!("there is no fault `{name}`"))?;
        let kinds = CallKind::ALL;
        let on = match scope {
            None => None,
            Some(scope) => Some(
                kinds
                    .iter()
                    .find(|(_, word)| *word == scope)
                    .map(|(kind, _)| *kind)
                    .ok_or_else(|| format!("there are no calls `{scope}`"))?,
            ),
        };
        Ok(Self {
            on,
            ..Self::new(known.fault)
        })
    }

    pub(crate) fn meets(&self, kind: CallKind, key: Option<ResultKey>) -> bool {
        let kind_fits = match self.on {
            Some(on) => on == kind,
            None => self.fault.hits(kind),
        };
        kind_fits && (self.only.is_none() || self.only == key)
    }
}

fn times(word: &str) -> std::result::Result<FaultTimes, String> {
    let wrong = |_| format!("`{word}` is no count: expected a number, `each`, `each3` or `all`");
    Ok(match word {
        "all" => All,
        "each" => Each(1),
        _ => match word.strip_prefix("each") {
            Some(count) => Each(count.parse().map_err(wrong)?),
            None => Total(word.parse().map_err(wrong)?),
        },
    })
}

/// A set of rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    pub(crate) rules: Vec<FaultRule>,
}

impl Faults {
    /// The names and what they do, for a help page.
    pub const SYNTAX: &'static str = "[CALLS.]NAME[=TIMES][@VALUE][%CHANCE][+AFTER], comma separated: TIMES is a number, `each` or `each3` (for each result) or `all`; CALLS is token, machines, list, get, link, blob, run, cancel, package, package-link, library, upload or delete";

    pub fn none() -> Self {
        Self::default()
    }

    /// Every fault a good client survives with every byte as it was, each with
    /// its defaults. Left out: what is missing or refused for good, what hides one action
    /// among others from who lists once, what takes
    /// minutes of real time, and bodies that are other bytes.
    pub fn survivable() -> Self {
        let spared = [
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
        let rules = CATALOG.iter().map(|known| FaultRule::new(known.fault));
        Self {
            rules: rules.filter(|rule| !spared.contains(&rule.fault)).collect(),
        }
    }

    /// Reads rules separated by commas, as in `429=3,401=1,cut=5@1024`.
    pub fn parse(text: &str) -> Result<Self> {
        let words = text.split(',').map(str::trim).filter(|w| !w.is_empty());
        Ok(Self {
            rules: words.map(FaultRule::parse).collect::<Result<_>>()?,
        })
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

    /// Name and explanation of every fault, in the order of a request's life.
    pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
        CATALOG.iter().map(|known| (known.name, known.help))
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
    fn every_part_of_a_rule_reads() {
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
    fn what_is_no_rule_says_why() {
        for (text, why) in [
            ("flood", "there is no fault `flood`"),
            ("cut=often", "`often` is no count"),
            ("cut@here", "`here` is no number"),
            ("sky.cut", "there are no calls `sky`"),
            ("cut=€", "`€` is no count"),
        ] {
            let error = Faults::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn every_fault_has_a_name_that_reads_back() {
        for (name, help) in Faults::names() {
            assert_eq!(FaultRule::parse(name).unwrap().fault.name(), name);
            assert!(!help.is_empty());
        }
    }
}
