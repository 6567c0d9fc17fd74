//! Power loss at every operation of an ingest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::disk::memory::{SledAfterCrash, UnsyncedBytes};
use crate::tests::*;

/// Everything a run acknowledged: what must be there whatever happens next.
#[derive(Default)]
struct Acknowledged {
    results: BTreeMap<ResultId, (Seq, Vec<u8>)>,
    gaps: BTreeMap<ResultKey, Seq>,
    /// Every place in the journal a reader has seen.
    seen: BTreeMap<Seq, EntryKind>,
}

impl Acknowledged {
    fn result(&mut self, sealing: SealOutcome, bytes: Vec<u8>) {
        let record = sealing.into_record();
        if let Some((seq, _)) = self.results.insert(record.id, (record.seq, bytes)) {
            assert_eq!(seq, record.seq, "sealed anew at another place");
        }
    }

    fn look(&mut self, disk: &MemoryDisk) {
        let Ok(catalogue) = Catalogue::open_on(Arc::new(disk.clone()), Path::new("x")) else {
            return;
        };
        for entry in catalogue.entries_since(Seq::ZERO) {
            let entry = entry.unwrap();
            self.seen.insert(entry.seq, entry.kind);
        }
    }

    fn check(&self, disk: &MemoryDisk, context: &str) {
        let catalogue = catalogue(disk);
        for (id, (seq, bytes)) in &self.results {
            let record = catalogue.record(*id).unwrap();
            let record = record.unwrap_or_else(|| panic!("{context}: {id} is gone"));
            assert_eq!(record.seq, *seq, "{context}: {id}");
            assert_eq!(bytes_of(&catalogue, *id), *bytes, "{context}: {id}");
        }
        let entries: BTreeMap<_, _> = catalogue
            .entries_since(Seq::ZERO)
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.seq, entry.kind))
            .collect();
        for (seq, kind) in &self.seen {
            assert_eq!(entries.get(seq), Some(kind), "{context}: {seq}");
        }
        for (key, seq) in &self.gaps {
            let there = matches!(&entries[seq], EntryKind::Gap(gap) if gap.key == *key);
            assert!(there, "{context}: gap {key}");
        }
        assert_eq!(catalogue.verify(|_| {}).unwrap().damage, [], "{context}");
    }
}

const LARGE: usize = SMALL_MAX + 70_000;

/// Fifty items, one after the other and in groups, until something fails.
fn ingest(store: &Store, acknowledged: &mut Acknowledged) -> Result<(), StoreError> {
    let transcript = facts(ResultKind::Transcript);
    for round in 0..5u8 {
        let (noted, json) = action(round);
        store.note_action(&noted, &json)?;
        let tickets: Vec<_> = (0..4)
            .map(|n| {
                let bytes = body(u64::from(round) * 100 + n, 300 * n as usize);
                let ticket = store.submit(key(round, n as u32), &transcript, &now(), &bytes);
                (ticket, bytes)
            })
            .collect();
        for (ticket, bytes) in tickets {
            acknowledged.result(ticket?.wait()?, bytes);
        }
        for n in 4..6 {
            let bytes = body(u64::from(round) * 100 + n, 7000);
            let sealing = store.seal(key(round, n as u32), &transcript, &now(), &bytes)?;
            acknowledged.result(sealing, bytes);
        }
        let seq = store.note_gap(&gap(key(round, 6), "410"))?;
        acknowledged.gaps.insert(key(round, 6), seq);
        let bytes = body(u64::from(round) * 100 + 7, LARGE);
        acknowledged.result(stream(store, key(round, 7), &bytes)?, bytes);
        store.note_setting("round", serde_json::json!(round))?;
    }
    Ok(())
}

fn crash_at(operation: u64, leaves: UnsyncedBytes, keyed: SledAfterCrash) {
    let context = format!("operation {operation}, {leaves:?}, sled {keyed:?}");
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(&home.path().join("a"));
    disk.fail_at(operation);
    let mut acknowledged = Acknowledged::default();
    if let Ok(store) = open(&disk) {
        let _ = ingest(&store, &mut acknowledged);
        acknowledged.look(&disk);
    }
    let disk = disk.after_power_loss(&home.path().join("b"), leaves, keyed);
    let store = open(&disk).unwrap_or_else(|e| panic!("{context}: {e}"));
    acknowledged.check(&disk, &context);
    ingest(&store, &mut acknowledged).unwrap_or_else(|e| panic!("{context}: {e}"));
    acknowledged.check(&disk, &context);
    assert_eq!(acknowledged.results.len(), 35, "{context}");
}

/// The exhaustive loop takes minutes; without it, some places are tried.
fn every_operation(exhaustive_step: usize, step: usize, mut at: impl FnMut(u64)) {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let store = open(&disk).unwrap();
    ingest(&store, &mut Acknowledged::default()).unwrap();
    store.close().unwrap();
    let operations = disk.operations();
    assert!(operations > 150, "{operations}");
    let exhaustive = std::env::var_os("AFTERACTION_EXHAUSTIVE").is_some();
    let step = if exhaustive { exhaustive_step } else { step };
    (1..=operations).step_by(step).for_each(&mut at);
}

#[test]
fn a_power_loss_at_any_operation_keeps_what_was_acknowledged() {
    every_operation(1, 23, |operation| {
        crash_at(operation, UnsyncedBytes::Nothing, SledAfterCrash::LastSync);
    });
}

#[test]
fn a_power_loss_that_takes_sled_along_keeps_it_too() {
    every_operation(1, 29, |operation| {
        crash_at(operation, UnsyncedBytes::Nothing, SledAfterCrash::Empty);
    });
}

#[test]
fn a_power_loss_that_leaves_torn_bytes_keeps_it_too() {
    every_operation(1, 31, |operation| {
        crash_at(
            operation,
            UnsyncedBytes::Some(operation),
            SledAfterCrash::LastSync,
        );
    });
}
