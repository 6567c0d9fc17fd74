//! Tests of the store as a whole, mostly on a disk in memory that loses
//! unsynced data.

mod crash;
mod damage;
mod journal_tail;
mod life;

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use crate::disk::memory::MemoryDisk;
use crate::*;
use evidence::{
    Action, ActionId, CommandIndex, Facts, Gap, GapReason, Origin, ResultId, ResultKey, ResultKind,
    Seq, Sha256, Time, Version,
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

/// Pseudo-random bytes.
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

fn open(disk: &MemoryDisk) -> Result<Store, StoreError> {
    Store::open_on(Arc::new(disk.clone()), Path::new("x"), true, None)
}

fn catalogue(disk: &MemoryDisk) -> Catalogue {
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

fn stream(store: &Store, key: ResultKey, bytes: &[u8]) -> Result<SealReceipt, StoreError> {
    let mut download = store.download(key)?;
    let from = download.offset() as usize;
    for part in bytes[from..].chunks(100_000) {
        download.append(part)?;
    }
    download.seal(&facts(ResultKind::File), &now())
}

#[test]
fn sealed_bodies_read_back_completely_and_in_ranges() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let store = open(&disk).unwrap();
    let lengths = [0, 1, 5_000, SMALL_MAX, SMALL_MAX + 1, 3 * SMALL_MAX + 77];
    for (n, len) in lengths.into_iter().enumerate() {
        let sealed = stream(&store, key(n as u8, 0), &body(n as u64, len)).unwrap();
        assert!(matches!(sealed, SealReceipt::Sealed(_)), "{len}");
        assert_eq!(sealed.record().bytes, len as u64);
    }
    let text = "the same line repeated\n".repeat(30_000);
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
    let summary = catalogue.verify(|_| {}).unwrap();
    assert_eq!(summary.damage, []);
    assert_eq!(summary.progress.results, 7);
}

#[test]
fn same_bytes_are_a_duplicate_and_other_bytes_the_next_version() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let store = open(&disk).unwrap();
    let big = body(1, SMALL_MAX * 2);
    for (bytes, version, is_new) in [
        (b"first".as_slice(), 1, true),
        (b"first", 1, false),
        (b"second", 2, true),
        (&big, 3, true),
        (&big, 3, false),
        (b"first", 1, false),
    ] {
        let outcome = stream(&store, key(1, 0), bytes).unwrap();
        assert_eq!(matches!(outcome, SealReceipt::Sealed(_)), is_new);
        assert_eq!(outcome.record().id.version, Version(version));
    }
    assert_eq!(
        store.latest(key(1, 0)).unwrap().unwrap().version,
        Version(3)
    );
    assert_eq!(catalogue(&disk).versions(key(1, 0)).unwrap().len(), 3);
    let leftovers = disk::Disk::list(&disk, crate::format::layout::INCOMING).unwrap();
    assert_eq!(leftovers, Vec::<String>::new());
}

#[test]
fn notes_are_deduplicated_and_a_result_replaces_its_gap() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let store = open(&disk).unwrap();
    let (action, json) = action(1);
    let first = store.note_action(&action, &json).unwrap();
    assert_eq!(store.note_action(&action, &json).unwrap(), first);
    let changed = [json.as_slice(), b" "].concat();
    assert!(store.note_action(&action, &changed).unwrap() > first);
    let gap_seq = store.note_gap(&gap(key(1, 0), "404")).unwrap();
    assert_eq!(store.note_gap(&gap(key(1, 0), "404")).unwrap(), gap_seq);
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
    assert_eq!(catalogue.action_json(action.id).unwrap().unwrap(), changed);
    assert_eq!(catalogue.actions().unwrap(), [action]);
    assert_eq!(catalogue.settings().unwrap()["passwords"], both);
    let seqs: Vec<_> = catalogue
        .entries_since(first)
        .map(|entry| entry.unwrap().seq.0)
        .collect();
    assert_eq!(seqs, (first.0 + 1..=seq.0).collect::<Vec<_>>());
}
