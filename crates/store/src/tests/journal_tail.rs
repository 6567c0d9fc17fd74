//! A journal tail has the same results after its checkpoint as the whole
//! catalogue.

use crate::disk::{Disk, replace};
use crate::tests::*;

fn tail(disk: &MemoryDisk) -> JournalTail {
    JournalTail::open_on(Arc::new(disk.clone()), Path::new("x")).unwrap()
}

/// Writes small results, some large ones in single-body packs, and gaps.
fn fill(store: &Store, from: u8, count: u8) {
    for n in from..from + count {
        let len = if n % 3 == 0 { SMALL_MAX + 9 } else { 900 };
        stream(store, key(n, 0), &body(n.into(), len)).unwrap();
        store.note_gaps(&[gap(key(n, 1), "late")]).unwrap();
    }
}

/// Compares the tail with the whole catalogue. Returns the Seq from which the
/// tail has all results.
fn tail_start(disk: &MemoryDisk) -> Seq {
    let (tail, whole) = (tail(disk), catalogue(disk));
    assert_eq!(tail.last_seq(), whole.last_seq());
    assert_eq!(tail.generation(), whole.generation());
    let mut start = None;
    for seq in (0..=whole.last_seq().0).map(Seq) {
        match tail.results_since(seq) {
            Some(results) => assert_eq!(results, whole.results_since(seq), "{seq:?}"),
            None => assert_eq!(start, None, "{seq:?}"),
        }
        start = start.or(tail.results_since(seq).map(|_| seq));
    }
    start.unwrap()
}

#[test]
fn tail_has_all_results_after_its_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    fill(&open(&disk).unwrap(), 1, 5);
    assert_eq!(tail_start(&disk), Seq::ZERO);
    let end = catalogue(&disk).last_seq().0;
    for seq in (0..=end).map(Seq) {
        catalogue(&disk).write_checkpoint(seq).unwrap();
        assert_eq!(tail_start(&disk), seq);
    }
    fill(&open(&disk).unwrap(), 6, 4);
    assert_eq!(tail_start(&disk), Seq(end));
    catalogue(&disk).write_checkpoint(Seq(end + 2)).unwrap();
    assert_eq!(tail_start(&disk), Seq(end + 2));
}

#[test]
fn invalid_checkpoint_causes_a_full_read() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    fill(&open(&disk).unwrap(), 1, 5);
    let whole = catalogue(&disk);
    let end = whole.last_seq();
    let write =
        |bytes: &[u8]| replace(&disk, "", crate::format::layout::CHECKPOINT, bytes).unwrap();
    let good = serde_json::to_string(&whole.checkpoint(end).unwrap()).unwrap();
    write(good.as_bytes());
    assert_eq!(tail_start(&disk), end);
    for bad in [
        "{",
        &good[..good.len() - 2],
        &good.replace("\"at\":", "\"at\":9"),
        &good.replace("\"nonce\":[", "\"nonce\":[1,"),
        &good.replace("\"archive\":[", "\"archive\":[1,"),
    ] {
        write(bad.as_bytes());
        assert_eq!(tail_start(&disk), Seq::ZERO, "{bad}");
    }
    let mut shifted = whole.checkpoint(Seq(2)).unwrap();
    shifted.lists[0].at += 1;
    write(&serde_json::to_vec(&shifted).unwrap());
    assert_eq!(tail_start(&disk), Seq::ZERO);
}

#[test]
fn missing_or_rebuilt_pack_index_invalidates_the_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    fill(&open(&disk).unwrap(), 1, 5);
    let end = catalogue(&disk).last_seq();
    catalogue(&disk).write_checkpoint(end).unwrap();
    disk.remove(crate::format::layout::SINGLE_BODY_INDEX)
        .unwrap();
    assert_eq!(tail_start(&disk), Seq::ZERO);
    // The writer rebuilds the pack index.
    drop(open(&disk).unwrap());
    assert_eq!(tail_start(&disk), Seq::ZERO);
    catalogue(&disk).write_checkpoint(end).unwrap();
    assert_eq!(tail_start(&disk), end);
}
