//! The store as a whole, over memory that forgets.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use super::memory::{KeyedAfter, Leaves, Memory};
use super::*;
use crate::evidence::{
    Action, ActionId, CommandIndex, Facts, Gap, GapReason, Origin, ResultId, ResultKey, ResultKind,
    Seq, Time, Version,
};

fn key(n: u8, index: u32) -> ResultKey {
    ResultKey::new(ActionId::from_bytes([n; 16]), CommandIndex(index))
}

fn facts(kind: ResultKind) -> Facts {
    let mut facts = Facts::new(
        kind,
        Origin::Api {
            host: "api.example".into(),
        },
    );
    facts.device = Some("ws-07.contoso.example".into());
    facts
}

fn now() -> Time {
    Time::from_text("2026-02-04T15:37:00Z")
}

/// Bytes that differ from place to place.
fn body(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

fn gap(key: ResultKey, detail: &str) -> Gap {
    Gap {
        key,
        reason: GapReason::Expired,
        detail: detail.into(),
        noted_at: now(),
        facts: facts(ResultKind::Transcript),
    }
}

fn action(n: u8) -> (Action, Vec<u8>) {
    let id = ActionId::from_bytes([n; 16]);
    let json = format!(r#"{{"id":"{id}","type":"LiveResponse","status":"Succeeded"}}"#);
    (Action::from_json(json.as_bytes()).unwrap(), json.into())
}

fn open(disk: &Memory) -> Result<Store, StoreError> {
    Store::open_on(Arc::new(disk.clone()), Path::new("x"), true, None)
}

fn catalogue(disk: &Memory) -> Catalogue {
    Catalogue::open_on(Arc::new(disk.clone()), Path::new("x")).unwrap()
}

fn bytes_of(catalogue: &Catalogue, id: ResultId) -> Vec<u8> {
    let mut bytes = Vec::new();
    catalogue
        .reader(id)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn stream(store: &Store, key: ResultKey, bytes: &[u8]) -> Result<Sealing, StoreError> {
    let mut download = store.download(key)?;
    let from = download.offset() as usize;
    for part in bytes[from..].chunks(100_000) {
        download.append(part)?;
    }
    download.seal(&facts(ResultKind::File), &now())
}

#[test]
fn what_is_sealed_reads_back_whole_and_in_ranges() {
    let home = tempfile::tempdir().unwrap();
    let disk = Memory::new(home.path());
    let store = open(&disk).unwrap();
    let lengths = [0, 1, 5_000, SMALL_MAX, SMALL_MAX + 1, 3 * SMALL_MAX + 77];
    for (n, len) in lengths.into_iter().enumerate() {
        let sealed = stream(&store, key(n as u8, 0), &body(n as u64, len)).unwrap();
        assert!(matches!(sealed, Sealing::Sealed(_)), "{len}");
        assert_eq!(sealed.record().bytes, len as u64);
    }
    let text = "the same line again and again\n".repeat(30_000);
    store
        .seal(
            key(9, 1),
            &facts(ResultKind::Transcript),
            &now(),
            text.as_bytes(),
        )
        .unwrap();
    let catalogue = catalogue(&disk);
    for (n, len) in lengths.into_iter().enumerate() {
        let id = ResultId::new(key(n as u8, 0), Version::FIRST);
        let bytes = body(n as u64, len);
        assert_eq!(bytes_of(&catalogue, id), bytes, "{len}");
        let mut reader = catalogue.reader(id).unwrap();
        for at in [0, len / 2, len.saturating_sub(3), len] {
            reader.seek(SeekFrom::Start(at as u64)).unwrap();
            let mut part = vec![0; 1000.min(len - at)];
            reader.read_exact(&mut part).unwrap();
            assert_eq!(part, bytes[at..at + part.len()]);
        }
    }
    let id = ResultId::new(key(9, 1), Version::FIRST);
    assert_eq!(bytes_of(&catalogue, id), text.as_bytes());
    assert!(disk.len_of("packs/00000001.pack").unwrap() < SMALL_MAX * 3 / 2);
    let checked = catalogue.verify(|_| {}).unwrap();
    assert_eq!(checked.damage, []);
    assert_eq!(checked.progress.results, 7);
}

#[test]
fn the_same_bytes_add_nothing_and_others_are_the_next_version() {
    let home = tempfile::tempdir().unwrap();
    let disk = Memory::new(home.path());
    let store = open(&disk).unwrap();
    let big = body(1, SMALL_MAX * 2);
    for (bytes, version, fresh) in [
        (b"first".as_slice(), 1, true),
        (b"first", 1, false),
        (b"second", 2, true),
        (&big, 3, true),
        (&big, 3, false),
        (b"first", 1, false),
    ] {
        let sealing = stream(&store, key(1, 0), bytes).unwrap();
        assert_eq!(matches!(sealing, Sealing::Sealed(_)), fresh);
        assert_eq!(sealing.record().id.version, Version(version));
    }
    assert_eq!(
        store.latest(key(1, 0)).unwrap().unwrap().version,
        Version(3)
    );
    assert_eq!(catalogue(&disk).versions(key(1, 0)).unwrap().len(), 3);
    let left = disk::Disk::list(&disk, layout::INCOMING).unwrap();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn facts_are_noted_once_and_a_result_supersedes_its_gap() {
    let home = tempfile::tempdir().unwrap();
    let disk = Memory::new(home.path());
    let store = open(&disk).unwrap();
    let (noted, json) = action(1);
    let first = store.note_action(&noted, &json).unwrap();
    assert_eq!(store.note_action(&noted, &json).unwrap(), first);
    let changed = [json.as_slice(), b" "].concat();
    assert!(store.note_action(&noted, &changed).unwrap() > first);
    let at = store.note_gap(&gap(key(1, 0), "404")).unwrap();
    assert_eq!(store.note_gap(&gap(key(1, 0), "404")).unwrap(), at);
    store.note_gap(&gap(key(1, 1), "410")).unwrap();
    assert_eq!(store.gap(key(1, 0)).unwrap().unwrap().detail, "404");
    store
        .seal(key(1, 0), &facts(ResultKind::Transcript), &now(), b"late")
        .unwrap();
    assert_eq!(store.gap(key(1, 0)).unwrap(), None);
    store
        .note_setting("passwords", serde_json::json!(["a"]))
        .unwrap();
    let both = serde_json::json!(["a", "b"]);
    let seq = store.note_setting("passwords", both.clone()).unwrap();
    assert_eq!(store.note_setting("passwords", both.clone()).unwrap(), seq);
    assert_eq!(store.setting("passwords").unwrap(), Some(both.clone()));

    let catalogue = catalogue(&disk);
    let gaps = catalogue.gaps().unwrap();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].key, key(1, 1));
    assert_eq!(catalogue.action_json(noted.id).unwrap().unwrap(), changed);
    assert_eq!(catalogue.actions().unwrap(), [noted]);
    assert_eq!(catalogue.settings().unwrap()["passwords"], both);
    let seqs: Vec<_> = catalogue
        .entries_since(first)
        .map(|entry| entry.unwrap().seq.0)
        .collect();
    assert_eq!(seqs, (first.0 + 1..=seq.0).collect::<Vec<_>>());
}

/// Everything a run acknowledged: what must be there whatever happens next.
#[derive(Default)]
struct Acknowledged {
    results: BTreeMap<ResultId, (Seq, Vec<u8>)>,
    gaps: BTreeMap<ResultKey, Seq>,
    /// Every place in the journal a reader has seen.
    seen: BTreeMap<Seq, EntryKind>,
}

impl Acknowledged {
    fn result(&mut self, sealing: Sealing, bytes: Vec<u8>) {
        let record = sealing.into_record();
        if let Some((seq, _)) = self.results.insert(record.id, (record.seq, bytes)) {
            assert_eq!(seq, record.seq, "sealed anew at another place");
        }
    }

    fn look(&mut self, disk: &Memory) {
        let Ok(catalogue) = Catalogue::open_on(Arc::new(disk.clone()), Path::new("x")) else {
            return;
        };
        for entry in catalogue.entries_since(Seq::ZERO) {
            let entry = entry.unwrap();
            self.seen.insert(entry.seq, entry.kind);
        }
    }

    fn check(&self, disk: &Memory, context: &str) {
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

fn crash_at(operation: u64, leaves: Leaves, keyed: KeyedAfter) {
    let context = format!("operation {operation}, {leaves:?}, sled {keyed:?}");
    let home = tempfile::tempdir().unwrap();
    let disk = Memory::new(&home.path().join("a"));
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
fn every_operation(mut at: impl FnMut(u64)) {
    let home = tempfile::tempdir().unwrap();
    let disk = Memory::new(home.path());
    let store = open(&disk).unwrap();
    ingest(&store, &mut Acknowledged::default()).unwrap();
    store.close().unwrap();
    let operations = disk.operations();
    assert!(operations > 150, "{operations}");
    let exhaustive = std::env::var_os("AFTERACTION_EXHAUSTIVE").is_some();
    let step = if exhaustive { 1 } else { 17 };
    (1..=operations).step_by(step).for_each(&mut at);
}

#[test]
fn a_power_loss_at_any_operation_keeps_what_was_acknowledged() {
    every_operation(|operation| {
        let keyed = if operation % 2 == 0 {
            KeyedAfter::LastSync
        } else {
            KeyedAfter::Empty
        };
        crash_at(operation, Leaves::Nothing, keyed);
    });
}
