//! The fault rules of a running emulator and their counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::call_kind::CallKind;
use crate::faults::catalog::Fault;
use crate::faults::catalog::FaultTimes::{All, Each, Total};
use crate::faults::rule::{FaultRule, Faults};
use evidence::{ActionId, CommandIndex, ResultKey};

#[derive(Debug, Default)]
struct RuleCount {
    matched: u64,
    fired: u64,
}

#[derive(Debug, Default)]
struct SwitchState {
    seed: u64,
    /// Rules with their numbers. A number is never reused, so the random
    /// numbers of a rule do not depend on rules that were removed before it.
    rules: Vec<(u64, FaultRule)>,
    next_number: u64,
    counts: HashMap<(u64, Option<ResultKey>), RuleCount>,
    /// Total count by rule number.
    fired: HashMap<u64, u64>,
    /// Decisions for whole actions, made on the first request for an action.
    decisions: HashMap<(u64, ActionId), bool>,
}

/// The faults of a running emulator; they can be changed at any time. Clones
/// share the rules and the counts.
#[derive(Clone, Debug, Default)]
pub struct FaultSwitch(Arc<Mutex<SwitchState>>);

impl FaultSwitch {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let switch = Self::default();
        switch.state().seed = seed;
        switch.set(faults);
        switch
    }

    /// Replaces all rules and resets the counts.
    pub fn set(&self, faults: Faults) {
        let mut state = self.state();
        state.rules.clear();
        state.counts.clear();
        state.fired.clear();
        state.decisions.clear();
        for rule in faults.rules {
            state.add(rule);
        }
    }

    pub fn add(&self, rule: FaultRule) {
        self.state().add(rule);
    }

    pub fn clear(&self) {
        self.set(Faults::none());
    }

    /// How often a fault fired since the rules were last set.
    pub fn fired(&self, fault: Fault) -> u64 {
        let state = self.state();
        state
            .rules
            .iter()
            .filter(|(_, rule)| rule.fault == fault)
            .map(|(number, _)| state.fired.get(number).copied().unwrap_or(0))
            .sum()
    }

    /// Counts a request that a request fault can hit; returns the hit if the
    /// fault fires.
    pub(crate) fn fire(
        &self,
        fault: Fault,
        kind: CallKind,
        key: Option<ResultKey>,
    ) -> Option<FaultHit> {
        let mut state = self.state();
        let rules = state.rules.clone();
        rules
            .iter()
            .filter(|(_, rule)| rule.fault == fault && rule.matches(kind, key))
            .find(|(number, rule)| state.fires(*number, rule, key))
            .map(|(_, rule)| FaultHit { value: rule.value })
    }

    /// Whether a result fault affects a result, the `ordinal`th of the fleet.
    /// The answer is the same on every request.
    pub(crate) fn affects_result(&self, fault: Fault, key: ResultKey, ordinal: u64) -> bool {
        let state = self.state();
        state.rules.iter().any(|(number, rule)| {
            rule.fault == fault
                && rule.matches(CallKind::Blob, Some(key))
                && ordinal >= rule.after
                && match rule.times {
                    All | Each(_) => true,
                    Total(first) => ordinal - rule.after < first,
                }
                && draw(state.seed, *number, Some(key), 0) < rule.chance
        })
    }

    /// Whether a fault of whole actions affects an action. Decided on the
    /// first request for the action, so that TIMES counts actions, not calls.
    pub(crate) fn affects_action(
        &self,
        fault: Fault,
        kind: CallKind,
        action: ActionId,
    ) -> Option<FaultHit> {
        let mut state = self.state();
        let rules: Vec<(u64, FaultRule)> = state
            .rules
            .iter()
            .filter(|(_, rule)| rule.fault == fault && rule.matches(kind, None))
            .copied()
            .collect();
        rules
            .iter()
            .find(|(number, rule)| state.decide(*number, rule, action))
            .map(|(_, rule)| FaultHit { value: rule.value })
    }

    /// The first rule of a fault that is not counted, such as a page size.
    pub(crate) fn active(&self, fault: Fault) -> Option<FaultHit> {
        self.state()
            .rules
            .iter()
            .find(|(_, rule)| rule.fault == fault)
            .map(|(_, rule)| FaultHit { value: rule.value })
    }

    fn state(&self) -> MutexGuard<'_, SwitchState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fault that fired, with the value of its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FaultHit {
    value: Option<u64>,
}

impl FaultHit {
    pub(crate) fn value_or(self, default: u64) -> u64 {
        self.value.unwrap_or(default)
    }
}

impl SwitchState {
    fn add(&mut self, rule: FaultRule) {
        self.rules.push((self.next_number, rule));
        self.next_number += 1;
    }

    fn decide(&mut self, number: u64, rule: &FaultRule, action: ActionId) -> bool {
        if let Some(decision) = self.decisions.get(&(number, action)) {
            return *decision;
        }
        let count = self.counts.entry((number, None)).or_default();
        count.matched += 1;
        let key = ResultKey::new(action, CommandIndex(0));
        let is_hit = count.matched > rule.after
            && !matches!(rule.times, Total(limit) if count.fired >= limit)
            && draw(self.seed, number, Some(key), 0) < rule.chance;
        if is_hit {
            count.fired += 1;
            *self.fired.entry(number).or_default() += 1;
        }
        self.decisions.insert((number, action), is_hit);
        is_hit
    }

    fn fires(&mut self, number: u64, rule: &FaultRule, key: Option<ResultKey>) -> bool {
        let total_fired = self.fired.get(&number).copied().unwrap_or(0);
        let count_key = match rule.times {
            // By result, so that parallel downloads cannot change which
            // requests are hit.
            All | Each(_) => key,
            Total(_) => None,
        };
        let count = self.counts.entry((number, count_key)).or_default();
        count.matched += 1;
        let is_left = match rule.times {
            All => true,
            Each(limit) => count.fired < limit,
            Total(limit) => total_fired < limit,
        };
        let is_hit = is_left
            && count.matched > rule.after
            && draw(self.seed, number, count_key, count.matched) < rule.chance;
        if is_hit {
            count.fired += 1;
            *self.fired.entry(number).or_default() += 1;
        }
        is_hit
    }
}

/// A pseudo-random number in 0..1 that depends only on the arguments.
fn draw(seed: u64, rule: u64, key: Option<ResultKey>, count: u64) -> f64 {
    let mut hasher = blake3::Hasher::new();
    for part in [seed, rule, count] {
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

    fn fires(switch: &FaultSwitch, n: u32) -> bool {
        switch
            .fire(Fault::Cut, CallKind::Blob, Some(key(n)))
            .is_some()
    }

    #[test]
    fn rule_with_each_fires_once_for_each_result() {
        let faults = Faults::parse("cut=each").unwrap();
        let switch = FaultSwitch::new(1, faults);
        assert!(fires(&switch, 0) && fires(&switch, 1));
        assert!(!fires(&switch, 0) && !fires(&switch, 1));
        assert_eq!(switch.fired(Fault::Cut), 2);
    }

    #[test]
    fn total_is_shared_by_results_and_starts_after_the_skipped_requests() {
        let switch = FaultSwitch::new(1, Faults::parse("cut=2+1").unwrap());
        let hits: Vec<_> = (0..5).map(|n| fires(&switch, n)).collect();
        assert_eq!(hits, [false, true, true, false, false]);
    }

    #[test]
    fn chance_matches_its_percentage_and_is_repeatable_by_seed() {
        let hits = |seed| {
            let switch = FaultSwitch::new(seed, Faults::parse("cut=all%25").unwrap());
            (0..1000).map(|n| fires(&switch, n)).collect::<Vec<_>>()
        };
        let count = hits(7).iter().filter(|hit| **hit).count();
        assert!((200..300).contains(&count), "{count}");
        assert_eq!(hits(7), hits(7));
        assert_ne!(hits(7), hits(8));
    }

    #[test]
    fn result_fault_affects_the_same_results_on_every_call() {
        let switch = FaultSwitch::new(1, Faults::parse("missing=2").unwrap());
        for _ in 0..3 {
            assert!(switch.affects_result(Fault::Missing, key(0), 0));
            assert!(switch.affects_result(Fault::Missing, key(1), 1));
            assert!(!switch.affects_result(Fault::Missing, key(2), 2));
        }
    }

    #[test]
    fn action_fault_affects_the_given_number_of_actions_on_every_call() {
        let action = |n: u32| -> ResultKey {
            format!("5382f7ea-7557-4ab7-9782-{n:012x}/0")
                .parse()
                .unwrap()
        };
        let affected = |faults: &str| -> Vec<bool> {
            let switch = FaultSwitch::new(1, Faults::parse(faults).unwrap());
            let list = CallKind::List;
            let hit = |n| switch.affects_action(Fault::NotVisible, list, action(n).action);
            let first: Vec<_> = (0..200).map(|n| hit(n).is_some()).collect();
            let again: Vec<_> = (0..200).map(|n| hit(n).is_some()).collect();
            assert_eq!(first, again);
            first
        };
        assert_eq!(affected("not-visible=2+1")[..4], [false, true, true, false]);
        assert!(affected("not-visible").iter().all(|hit| *hit));
        assert!(!affected("get.not-visible").iter().any(|hit| *hit));
        let quarter = affected("not-visible%25")
            .iter()
            .filter(|hit| **hit)
            .count();
        assert!((30..70).contains(&quarter), "{quarter}");
    }

    #[test]
    fn api_fault_excludes_the_blob_host_by_default() {
        let switch = FaultSwitch::new(1, Faults::parse("503=all").unwrap());
        let hit = |kind| switch.fire(Fault::Unavailable, kind, None).is_some();
        assert!(hit(CallKind::Link) && !hit(CallKind::Blob) && !hit(CallKind::SignIn));
    }
}
