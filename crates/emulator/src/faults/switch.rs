//! The rules of a running emulator: what fires, and how often it did.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::faults::FaultTimes::{All, Each, Total};
use crate::faults::{Fault, FaultRule, Faults};
use crate::state::journal::CallKind;
use evidence::{ActionId, CommandIndex, ResultKey};

#[derive(Debug, Default)]
struct Count {
    seen: u64,
    fired: u64,
}

#[derive(Debug, Default)]
struct SwitchState {
    seed: u64,
    /// Rules by the order they came in; a number is never given twice, so
    /// that the chances of a rule do not depend on others removed before it.
    rules: Vec<(u64, FaultRule)>,
    next: u64,
    counts: HashMap<(u64, Option<ResultKey>), Count>,
    fired: HashMap<u64, u64>,
    /// What was decided for actions when they were first met.
    marked: HashMap<(u64, ActionId), bool>,
}

/// The faults of a running emulator; may be changed at any time. Every clone
/// is the same switch.
#[derive(Clone, Debug, Default)]
pub struct FaultSwitch(Arc<Mutex<SwitchState>>);

impl FaultSwitch {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
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
        armed.marked.clear();
        for rule in faults.rules {
            armed.add(rule);
        }
    }

    pub fn add(&self, rule: FaultRule) {
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
    pub(crate) fn strikes(
        &self,
        fault: Fault,
        kind: CallKind,
        key: Option<ResultKey>,
    ) -> Option<FaultHit> {
        let mut armed = self.armed();
        let rules = armed.rules.clone();
        rules
            .iter()
            .filter(|(_, rule)| rule.fault == fault && rule.meets(kind, key))
            .find(|(number, rule)| armed.fires(*number, rule, key))
            .map(|(_, rule)| FaultHit { value: rule.value })
    }

    /// Whether a standing fault belongs to this result, the `ordinal`th of the
    /// fleet: the same answer at every call.
    pub(crate) fn stands(&self, fault: Fault, key: ResultKey, ordinal: u64) -> bool {
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

    /// Whether a fault that belongs to whole actions belongs to this one: as
    /// decided when it was first met, so that TIMES counts actions, not calls.
    pub(crate) fn marks(&self, fault: Fault, kind: CallKind, action: ActionId) -> Option<FaultHit> {
        let mut armed = self.armed();
        let meant = armed
            .rules
            .iter()
            .filter(|(_, rule)| rule.fault == fault && rule.meets(kind, None));
        let meant: Vec<(u64, FaultRule)> = meant.copied().collect();
        meant
            .iter()
            .find(|(number, rule)| armed.marks(*number, rule, action))
            .map(|(_, rule)| FaultHit { value: rule.value })
    }

    /// The value of a rule that holds always, such as a page size.
    pub(crate) fn holds(&self, fault: Fault) -> Option<FaultHit> {
        let armed = self.armed();
        let mut rules = armed.rules.iter().map(|(_, rule)| rule);
        rules
            .find(|rule| rule.fault == fault)
            .map(|rule| FaultHit { value: rule.value })
    }

    fn armed(&self) -> MutexGuard<'_, SwitchState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fault that fired, with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FaultHit {
    value: Option<u64>,
}

impl FaultHit {
    pub(crate) fn value(self, otherwise: u64) -> u64 {
        self.value.unwrap_or(otherwise)
    }
}

impl SwitchState {
    fn add(&mut self, rule: FaultRule) {
        self.rules.push((self.next, rule));
        self.next += 1;
    }

    fn marks(&mut self, number: u64, rule: &FaultRule, action: ActionId) -> bool {
        if let Some(known) = self.marked.get(&(number, action)) {
            return *known;
        }
        let count = self.counts.entry((number, None)).or_default();
        count.seen += 1;
        let key = ResultKey::new(action, CommandIndex(0));
        let hit = count.seen > rule.after
            && !matches!(rule.times, Total(most) if count.fired >= most)
            && lot(self.seed, number, Some(key), 0) < rule.chance;
        if hit {
            count.fired += 1;
            *self.fired.entry(number).or_default() += 1;
        }
        self.marked.insert((number, action), hit);
        hit
    }

    fn fires(&mut self, number: u64, rule: &FaultRule, key: Option<ResultKey>) -> bool {
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
    fn a_fault_of_whole_actions_hits_as_many_as_it_says_and_the_same_at_every_call() {
        let action = |n: u32| -> ResultKey {
            format!("5382f7ea-7557-4ab7-9782-{n:012x}/0")
                .parse()
                .unwrap()
        };
        let marks = |faults: &str| -> Vec<bool> {
            let switch = FaultSwitch::new(1, Faults::parse(faults).unwrap());
            let list = CallKind::List;
            let mark = |n| switch.marks(Fault::NotVisible, list, action(n).action);
            let first: Vec<_> = (0..200).map(|n| mark(n).is_some()).collect();
            let again: Vec<_> = (0..200).map(|n| mark(n).is_some()).collect();
            assert_eq!(first, again);
            first
        };
        assert_eq!(marks("not-visible=2+1")[..4], [false, true, true, false]);
        assert!(marks("not-visible").iter().all(|hit| *hit));
        assert!(!marks("get.not-visible").iter().any(|hit| *hit));
        let quarter = marks("not-visible%25").iter().filter(|hit| **hit).count();
        assert!((30..70).contains(&quarter), "{quarter}");
    }

    #[test]
    fn a_fault_of_the_api_spares_the_blob_host_unless_told() {
        let switch = FaultSwitch::new(1, Faults::parse("503=all").unwrap());
        let hit = |kind| switch.strikes(Fault::Unavailable, kind, None).is_some();
        assert!(hit(CallKind::Link) && !hit(CallKind::Blob) && !hit(CallKind::SignIn));
    }
}
