//! Faults on request: which, where, when, how often. Deterministic by seed, so
//! that a failing run can be had again.
//!
//! Two families. *Striking* faults hit single requests and, by default, end:
//! a client that does as DEFENDER.md says reaches every result. *Standing*
//! faults belong to results (a body that is no JSON, a blob that is missing)
//! and are the same at every request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::{Error, Result};
use super::journal::CallKind;
use crate::evidence::ResultKey;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    // answers of the API
    NotVisible,
    NotReady,
    Throttle,
    ThrottleDate,
    Revoke,
    Refuse,
    ServerError,
    Unavailable,
    Hang,
    LostCall,
    LostAnswer,
    LateError,
    // lists
    SmallPages,
    Reordered,
    Duplicates,
    // links
    BornExpired,
    ExpireMidway,
    AmpLink,
    QuotedLink,
    // blobs
    Cut,
    Slow,
    Stall,
    ChangedEtag,
    WrongMd5,
    IgnoreRange,
    Unsatisfiable,
    Missing,
    Bom,
    // bodies
    RawLineFeed,
    NulTail,
    NotJson,
    CutJson,
    Utf8Bom,
    Utf16,
    Empty,
    Gzip,
    NotGzip,
}

/// How often a rule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// At every chance.
    All,
    /// So many times in all; for standing faults: on the first n results.
    Total(u64),
    /// So many times on each result.
    Each(u64),
}

/// One line of the help.
struct Known {
    name: &'static str,
    fault: Fault,
    times: Times,
    value: Option<u64>,
    help: &'static str,
}

const fn known(
    name: &'static str,
    fault: Fault,
    times: Times,
    value: Option<u64>,
    help: &'static str,
) -> Known {
    Known {
        name,
        fault,
        times,
        value,
        help,
    }
}

use Times::{All, Each, Total};

#[rustfmt::skip]
const KNOWN: &[Known] = &[
    known("not-visible", Fault::NotVisible, All, Some(120), "actions answer 404 and are not listed until @ emulated seconds after their creation or the start"),
    known("not-ready", Fault::NotReady, Each(1), None, "link: 400, the result is not there yet"),
    known("429", Fault::Throttle, Total(1), Some(5), "429 with Retry-After: @ emulated seconds"),
    known("429-date", Fault::ThrottleDate, Total(1), Some(5), "429 with Retry-After as an HTTP date, @ emulated seconds ahead"),
    known("401", Fault::Revoke, Total(1), None, "every token issued so far is revoked in mid-run"),
    known("403", Fault::Refuse, Total(1), None, "the link of a result is refused for good (on the first TIMES results)"),
    known("500", Fault::ServerError, Total(1), None, "internal server error"),
    known("503", Fault::Unavailable, Total(1), None, "service unavailable"),
    known("hang", Fault::Hang, Total(1), Some(60), "no answer for @ real seconds"),
    known("lost-call", Fault::LostCall, Total(1), None, "the connection ends with no answer, and nothing was done"),
    known("lost-answer", Fault::LostAnswer, Total(1), None, "what was asked for is done, and the connection ends with no answer"),
    known("500-late", Fault::LateError, Total(1), None, "what was asked for is done, and the answer is an internal server error"),
    known("small-pages", Fault::SmallPages, All, None, "lists: pages of 1 to @ entries (a quarter of all), whatever was asked"),
    known("reordered", Fault::Reordered, All, None, "lists: another order at each call, unless $orderby is given"),
    known("duplicates", Fault::Duplicates, All, Some(2), "lists: a page begins with the last @ entries of the one before"),
    known("born-expired", Fault::BornExpired, Each(1), Some(41), "link: its `se` lies @ emulated seconds back"),
    known("expire-midway", Fault::ExpireMidway, Each(1), Some(2), "link: lives @ emulated seconds (half a real one at least); its body breaks off halfway, when it is dead"),
    known("amp-link", Fault::AmpLink, All, None, "link: `&` written as `&amp;`"),
    known("quoted-link", Fault::QuotedLink, All, None, "link: a quoted string inside the string"),
    known("cut", Fault::Cut, Each(1), None, "body: the connection drops at byte @ (the middle where that is not within)"),
    known("slow", Fault::Slow, Total(1), Some(64), "body: @ KiB in a real second"),
    known("stall", Fault::Stall, Total(1), None, "body: stops at byte @ (the middle) and never goes on"),
    known("etag", Fault::ChangedEtag, Each(1), None, "blob: the ETag changes before a range is answered: 412 with If-Match"),
    known("md5", Fault::WrongMd5, Each(1), None, "blob: a Content-MD5 that does not fit"),
    known("no-range", Fault::IgnoreRange, Each(1), None, "blob: Range ignored, 200 with the whole body"),
    known("416", Fault::Unsatisfiable, Each(1), None, "blob: a good range answered 416"),
    known("missing", Fault::Missing, Total(1), None, "blob: 404 BlobNotFound for good (the first TIMES results)"),
    known("bom", Fault::Bom, All, None, "blob: a byte order mark before the error XML"),
    known("raw-line-feed", Fault::RawLineFeed, All, None, "transcript: line feeds stand raw inside its strings"),
    known("nul-tail", Fault::NulTail, All, None, "transcript: the output ends in \\u0000\\u0000\\u0000"),
    known("not-json", Fault::NotJson, All, None, "transcript: its bare output, no JSON"),
    known("cut-json", Fault::CutJson, All, None, "transcript: stops after two thirds"),
    known("utf8-bom", Fault::Utf8Bom, All, None, "transcript: begins with a byte order mark"),
    known("utf16", Fault::Utf16, All, None, "transcript: UTF-16, little endian, with a mark"),
    known("empty", Fault::Empty, All, None, "transcript: no bytes at all"),
    known("gzip", Fault::Gzip, All, None, "every body: wrapped in gzip if it is not"),
    known("not-gzip", Fault::NotGzip, All, None, "every body: its gzip taken off (up to 16 MiB)"),
];

impl Fault {
    pub fn name(self) -> &'static str {
        self.known().map_or("", |known| known.name)
    }

    fn known(self) -> Option<&'static Known> {
        KNOWN.iter().find(|known| known.fault == self)
    }

    /// The calls a fault can hit where nothing narrower was asked.
    fn hits(self, kind: CallKind) -> bool {
        match self {
            Self::Throttle
            | Self::ThrottleDate
            | Self::Revoke
            | Self::ServerError
            | Self::Unavailable
            | Self::Hang => !matches!(
                kind,
                CallKind::SignIn | CallKind::Machines | CallKind::Blob | CallKind::Other
            ),
            Self::LostCall | Self::LostAnswer | Self::LateError => {
                matches!(kind, CallKind::Run | CallKind::Cancel | CallKind::Package)
            }
            _ => true,
        }
    }
}

/// A fault and when it applies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    pub fault: Fault,
    /// Only these calls; `None` leaves it to the fault.
    pub on: Option<CallKind>,
    /// Only this result.
    pub only: Option<ResultKey>,
    pub times: Times,
    /// The fault's number: a byte, seconds, a rate. See the help.
    pub value: Option<u64>,
    /// How likely each chance is taken, 0 to 1.
    pub chance: f64,
    /// So many chances pass first.
    pub after: u64,
}

impl Rule {
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

    pub fn times(self, times: Times) -> Self {
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
        let known = KNOWN.iter().find(|known| known.name == name);
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

    fn meets(&self, kind: CallKind, key: Option<ResultKey>) -> bool {
        let kind_fits = match self.on {
            Some(on) => on == kind,
            None => self.fault.hits(kind),
        };
        kind_fits && (self.only.is_none() || self.only == key)
    }
}

fn times(word: &str) -> std::result::Result<Times, String> {
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
    rules: Vec<Rule>,
}

impl Faults {
    /// The names and what they do, for a help page.
    pub const SYNTAX: &'static str = "[CALLS.]NAME[=TIMES][@VALUE][%CHANCE][+AFTER], comma separated: TIMES is a number, `each` or `each3` (for each result) or `all`; CALLS is token, machines, list, get, link, blob, run, cancel, package, package-link, library, upload or delete";

    pub fn none() -> Self {
        Self::default()
    }

    /// Every fault a good client survives with every byte as it was, each with
    /// its defaults. Left out: what is missing or refused for good, what takes
    /// minutes of real time, and bodies that are other bytes.
    pub fn survivable() -> Self {
        let spared = [
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
        let rules = KNOWN.iter().map(|known| Rule::new(known.fault));
        Self {
            rules: rules.filter(|rule| !spared.contains(&rule.fault)).collect(),
        }
    }

    /// Reads rules separated by commas, as in `429=3,401=1,cut=5@1024`.
    pub fn parse(text: &str) -> Result<Self> {
        let words = text.split(',').map(str::trim).filter(|w| !w.is_empty());
        Ok(Self {
            rules: words.map(Rule::parse).collect::<Result<_>>()?,
        })
    }

    pub fn with(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds the rules of another set.
    pub fn and(mut self, other: Self) -> Self {
        self.rules.extend(other.rules);
        self
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Name and explanation of every fault, in the order of a request's life.
    pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
        KNOWN.iter().map(|known| (known.name, known.help))
    }
}

impl FromIterator<Rule> for Faults {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        Self {
            rules: rules.into_iter().collect(),
        }
    }
}

#[derive(Debug, Default)]
struct Count {
    seen: u64,
    fired: u64,
}

#[derive(Debug, Default)]
struct Armed {
    seed: u64,
    /// Rules by the order they came in; a number is never given twice, so
    /// that the chances of a rule do not depend on others removed before it.
    rules: Vec<(u64, Rule)>,
    next: u64,
    counts: HashMap<(u64, Option<ResultKey>), Count>,
    fired: HashMap<u64, u64>,
}

/// The faults of a running emulator; may be changed at any time. Every clone
/// is the same switch.
#[derive(Clone, Debug, Default)]
pub struct FaultSwitch(Arc<Mutex<Armed>>);

impl FaultSwitch {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        let switch = Self::default();
        switch.armed().seed = seed;
        switch.set(faults);
        switch
    }

    /// Replaces every rule; counts begin anew.
    pub fn set(&self, faults: Faults) {
        let mut armed = self.armed();
        armed.rules.clear();
        armed.counts.clear();
        armed.fired.clear();
        for rule in faults.rules {
            armed.add(rule);
        }
    }

    pub fn add(&self, rule: Rule) {
        self.armed().add(rule);
    }

    pub fn clear(&self) {
        self.set(Faults::none());
    }

    /// How often a fault fired since its rules were set.
    pub fn fired(&self, fault: Fault) -> u64 {
        let armed = self.armed();
        let of_fault = armed.rules.iter().filter(|(_, rule)| rule.fault == fault);
        of_fault
            .map(|(number, _)| armed.fired.get(number).copied().unwrap_or(0))
            .sum()
    }

    /// Whether a striking fault hits this request, and its number if so.
    pub(super) fn strikes(
        &self,
        fault: Fault,
        kind: CallKind,
        key: Option<ResultKey>,
    ) -> Option<Struck> {
        let mut armed = self.armed();
        let rules = armed.rules.clone();
        rules
            .iter()
            .filter(|(_, rule)| rule.fault == fault && rule.meets(kind, key))
            .find(|(number, rule)| armed.fires(*number, rule, key))
            .map(|(_, rule)| Struck { value: rule.value })
    }

    /// Whether a standing fault belongs to this result, the `ordinal`th of the
    /// fleet: the same answer at every call.
    pub(super) fn stands(&self, fault: Fault, key: ResultKey, ordinal: u64) -> bool {
        let armed = self.armed();
        armed.rules.iter().any(|(number, rule)| {
            rule.fault == fault
                && rule.meets(CallKind::Blob, Some(key))
                && ordinal >= rule.after
                && match rule.times {
                    All | Each(_) => true,
                    Total(first) => ordinal - rule.after < first,
                }
                && lot(armed.seed, *number, Some(key), 0) < rule.chance
        })
    }

    /// The value of a rule that holds always, such as a page size.
    pub(super) fn holds(&self, fault: Fault) -> Option<Struck> {
        let armed = self.armed();
        let mut rules = armed.rules.iter().map(|(_, rule)| rule);
        rules
            .find(|rule| rule.fault == fault)
            .map(|rule| Struck { value: rule.value })
    }

    fn armed(&self) -> MutexGuard<'_, Armed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fault that fired, with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Struck {
    value: Option<u64>,
}

impl Struck {
    pub(super) fn value(self, otherwise: u64) -> u64 {
        self.value.unwrap_or(otherwise)
    }
}

impl Armed {
    fn add(&mut self, rule: Rule) {
        self.rules.push((self.next, rule));
        self.next += 1;
    }

    fn fires(&mut self, number: u64, rule: &Rule, key: Option<ResultKey>) -> bool {
        let fired_in_all = self.fired.get(&number).copied().unwrap_or(0);
        let counted_by = match rule.times {
            // by result, so that parallel downloads cannot change who is hit
            All | Each(_) => key,
            Total(_) => None,
        };
        let count = self.counts.entry((number, counted_by)).or_default();
        count.seen += 1;
        let left = match rule.times {
            All => true,
            Each(limit) => count.fired < limit,
            Total(limit) => fired_in_all < limit,
        };
        let hit = left
            && count.seen > rule.after
            && lot(self.seed, number, counted_by, count.seen) < rule.chance;
        if hit {
            count.fired += 1;
            *self.fired.entry(number).or_default() += 1;
        }
        hit
    }
}

/// A number in 0..1 that depends on nothing but its arguments.
fn lot(seed: u64, number: u64, key: Option<ResultKey>, chance: u64) -> f64 {
    let mut hasher = blake3::Hasher::new();
    for part in [seed, number, chance] {
        hasher.update(&part.to_le_bytes());
    }
    if let Some(key) = key {
        hasher.update(&key.to_bytes());
    }
    let mut bits = [0u8; 8];
    hasher.finalize_xof().fill(&mut bits);
    (u64::from_le_bytes(bits) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> ResultKey {
        format!("5382f7ea-7557-4ab7-9782-d50480024a4e/{n}")
            .parse()
            .unwrap()
    }

    fn strikes(switch: &FaultSwitch, n: u32) -> bool {
        switch
            .strikes(Fault::Cut, CallKind::Blob, Some(key(n)))
            .is_some()
    }

    #[test]
    fn every_part_of_a_rule_reads() {
        let faults = Faults::parse("429=3@30, 401=1,cut=each2@1024%50+4,blob.503=all").unwrap();
        assert_eq!(
            faults.rules(),
            [
                Rule::new(Fault::Throttle).times(Total(3)).value(30),
                Rule::new(Fault::Revoke).times(Total(1)),
                Rule::new(Fault::Cut)
                    .times(Each(2))
                    .value(1024)
                    .chance(0.5)
                    .after(4),
                Rule::new(Fault::Unavailable).times(All).on(CallKind::Blob),
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
            assert_eq!(Rule::parse(name).unwrap().fault.name(), name);
            assert!(!help.is_empty());
        }
    }

    #[test]
    fn a_rule_for_each_result_fires_once_on_each_and_ends() {
        let faults = Faults::parse("cut=each").unwrap();
        let switch = FaultSwitch::new(1, faults);
        assert!(strikes(&switch, 0) && strikes(&switch, 1));
        assert!(!strikes(&switch, 0) && !strikes(&switch, 1));
        assert_eq!(switch.fired(Fault::Cut), 2);
    }

    #[test]
    fn a_total_is_shared_and_begins_after_the_chances_let_pass() {
        let switch = FaultSwitch::new(1, Faults::parse("cut=2+1").unwrap());
        let hits: Vec<_> = (0..5).map(|n| strikes(&switch, n)).collect();
        assert_eq!(hits, [false, true, true, false, false]);
    }

    #[test]
    fn a_chance_is_taken_as_often_as_it_says_and_the_same_way_again() {
        let draw = |seed| {
            let switch = FaultSwitch::new(seed, Faults::parse("cut=all%25").unwrap());
            (0..1000).map(|n| strikes(&switch, n)).collect::<Vec<_>>()
        };
        let hits = draw(7).iter().filter(|hit| **hit).count();
        assert!((200..300).contains(&hits), "{hits}");
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_standing_fault_answers_the_same_at_every_call() {
        let switch = FaultSwitch::new(1, Faults::parse("missing=2").unwrap());
        for _ in 0..3 {
            assert!(switch.stands(Fault::Missing, key(0), 0));
            assert!(switch.stands(Fault::Missing, key(1), 1));
            assert!(!switch.stands(Fault::Missing, key(2), 2));
        }
    }

    #[test]
    fn a_fault_of_the_api_spares_the_blob_host_unless_told() {
        let switch = FaultSwitch::new(1, Faults::parse("503=all").unwrap());
        let hit = |kind| switch.strikes(Fault::Unavailable, kind, None).is_some();
        assert!(hit(CallKind::Link) && !hit(CallKind::Blob) && !hit(CallKind::SignIn));
    }
}
