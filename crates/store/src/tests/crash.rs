//! Power loss at every disk operation while entries are written.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::disk::memory::{SledAfterCrash, UnsyncedBytes};
use crate::tests::*;

/// Everything that the store acknowledged or a reader saw. All of it must
/// survive the power loss.
#[derive(Default)]
struct Acknowledged {
    results: BTreeMap<ResultId, (Seq, Vec<u8>)>,
    gaps: BTreeMap<ResultKey, Seq>,
    /// Entries that a reader saw.
    visible: BTreeMap<Seq, EntryKind>,
}

impl Acknowledged {
    fn result(&mut self, outcome: SealReceipt, bytes: Vec<u8>) {
        let record = outcome.into_record();
        if let Some((seq, _)) = self.results.insert(record.id, (record.seq, bytes)) {
            assert_eq!(seq, record.seq, "sealed again with another Seq");
        }
    }

    fn read(&mut self, disk: &MemoryDisk) {
        let Ok(catalogue) = Catalogue::open_on(Arc::new(disk.clone()), Path::new("x")) else {
            return;
        };
        for entry in catalogue.entries_since(Seq::ZERO) {
            let entry = entry.unwrap();
            self.visible.insert(entry.seq, entry.kind);
        }
    }

    fn check(&self, disk: &MemoryDisk, context: &str) {
        let catalogue = catalogue(disk);
        for (id, (seq, bytes)) in &self.results {
            let record = catalogue.record(*id).unwrap();
            let record = record.unwrap_or_else(|| panic!("{context}: {id} is missing"));
            assert_eq!(record.seq, *seq, "{context}: {id}");
            assert_eq!(bytes_of(&catalogue, *id), *bytes, "{context}: {id}");
        }
        let entries: BTreeMap<_, _> = catalogue
            .entries_since(Seq::ZERO)
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.seq, entry.kind))
            .collect();
        for (seq, kind) in &self.visible {
            assert_eq!(entries.get(seq), Some(kind), "{context}: {seq}");
        }
        for (key, seq) in &self.gaps {
            let is_gap = matches!(&entries[seq], EntryKind::Gap(gap) if gap.key == *key);
            assert!(is_gap, "{context}: gap {key}");
        }
        assert_eq!(catalogue.verify(|_| {}).unwrap().damage, [], "{context}");
    }
}

const LARGE: usize = SMALL_MAX + 70_000;

/// Writes fifty entries, one by one and in groups, until the first error.
fn ingest(store: &Store, acknowledged: &mut Acknowledged) -> Result<(), StoreError> {
    let transcript = facts(ResultKind::Transcript);
    for round in 0..5u8 {
        let (action, json) = action(round);
        store.note_action(&action, &json)?;
        let pending: Vec<_> = (0..4)
            .map(|n| {
                let bytes = body(u64::from(round) * 100 + n, 300 * n as usize);
                let commit = store.submit(key(round, n as u32), &transcript, &now(), &bytes);
                (commit, bytes)
            })
            .collect();
        for (commit, bytes) in pending {
            acknowledged.result(commit?.wait()?, bytes);
        }
        for n in 4..6 {
            let bytes = body(u64::from(round) * 100 + n, 7000);
            let outcome = store.seal(key(round, n as u32), &transcript, &now(), &bytes)?;
            acknowledged.result(outcome, bytes);
        }
        let seq = store.note_gap(&gap(key(round, 6), "410"))?;
        acknowledged.gaps.insert(key(round, 6), seq);
        let bytes = body(u64::from(round) * 100 + 7, LARGE);
        acknowledged.result(stream(store, key(round, 7), &bytes)?, bytes);
        store.note_setting("round", serde_json::json!(round))?;
    }
    Ok(())
}

fn crash_at(operation: u64, unsynced: UnsyncedBytes, sled: SledAfterCrash) {
    let context = format!("operation {operation}, {unsynced:?}, sled {sled:?}");
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(&home.path().join("a"));
    disk.fail_at(operation);
    let mut acknowledged = Acknowledged::default();
    if let Ok(store) = open(&disk) {
        let _ = ingest(&store, &mut acknowledged);
        acknowledged.read(&disk);
    }
    let disk = disk.after_power_loss(&home.path().join("b"), unsynced, sled);
    let store = open(&disk).unwrap_or_else(|e| panic!("{context}: {e}"));
    acknowledged.check(&disk, &context);
    ingest(&store, &mut acknowledged).unwrap_or_else(|e| panic!("{context}: {e}"));
    acknowledged.check(&disk, &context);
    assert_eq!(acknowledged.results.len(), 35, "{context}");
}

/// Runs `crash` for every operation if `AFTERACTION_EXHAUSTIVE` is set, which
/// takes minutes; otherwise for every `step`-th one.
fn every_operation(step: usize, crash: impl FnMut(u64)) {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let store = open(&disk).unwrap();
    ingest(&store, &mut Acknowledged::default()).unwrap();
    store.close().unwrap();
    let operations = disk.operations();
    assert!(operations > 150, "{operations}");
    let is_exhaustive = std::env::var_os("AFTERACTION_EXHAUSTIVE").is_some();
    let step = if is_exhaustive { 1 } else { step };
    (1..=operations).step_by(step).for_each(crash);
}

#[test]
fn power_loss_at_any_operation_keeps_acknowledged_entries() {
    every_operation(23, |operation| {
        crash_at(operation, UnsyncedBytes::Lost, SledAfterCrash::LastSync);
    });
}

#[test]
fn power_loss_that_empties_sled_keeps_acknowledged_entries() {
    every_operation(29, |operation| {
        crash_at(operation, UnsyncedBytes::Lost, SledAfterCrash::Empty);
    });
}

#[test]
fn power_loss_that_leaves_torn_bytes_keeps_acknowledged_entries() {
    every_operation(31, |operation| {
        crash_at(
            operation,
            UnsyncedBytes::Torn(operation),
            SledAfterCrash::LastSync,
        );
    });
}
