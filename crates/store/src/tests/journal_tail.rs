//! A tail says what the whole says of what is behind its bookmark.

use crate::disk::{Disk, replace};
use crate::tests::*;

fn tail(disk: &MemoryDisk) -> JournalTail {
    JournalTail::open_on(Arc::new(disk.clone()), Path::new("x")).unwrap()
}

/// Small results and large ones, which have packs of their own, in turns.
fn fill(store: &Store, from: u8, count: u8) {
    for n in from..from + count {
        let len = if n % 3 == 0 { SMALL_MAX + 9 } else { 900 };
        stream(store, key(n, 0), &body(n.into(), len)).unwrap();
        store.note_gaps(&[gap(key(n, 1), "late")]).unwrap();
    }
}

/// From which Seq on the tail knows all, after comparing what it knows.
fn known_from(disk: &MemoryDisk) -> Seq {
    let (tail, whole) = (tail(disk), catalogue(disk));
    assert_eq!(tail.last_seq(), whole.last_seq());
    assert_eq!(tail.generation(), whole.generation());
    let mut known = None;
    for seq in (0..=whole.last_seq().0).map(Seq) {
        match tail.results_since(seq) {
            Some(results) => assert_eq!(results, whole.results_since(seq), "{seq:?}"),
            None => assert_eq!(known, None, "{seq:?}"),
        }
        known = known.or(tail.results_since(seq).map(|_| seq));
    }
    known.unwrap()
}

#[test]
fn a_tail_knows_what_came_behind_its_bookmark_and_no_less() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    fill(&open(&disk).unwrap(), 1, 5);
    assert_eq!(known_from(&disk), Seq::ZERO);
    let end = catalogue(&disk).last_seq().0;
    for seq in (0..=end).map(Seq) {
        catalogue(&disk).write_checkpoint(seq).unwrap();
        assert_eq!(known_from(&disk), seq);
    }
    fill(&open(&disk).unwrap(), 6, 4);
    assert_eq!(known_from(&disk), Seq(end));
    catalogue(&disk).write_checkpoint(Seq(end + 2)).unwrap();
    assert_eq!(known_from(&disk), Seq(end + 2));
}

#[test]
fn a_bookmark_that_does_not_fit_costs_a_reading_of_all() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    fill(&open(&disk).unwrap(), 1, 5);
    let whole = catalogue(&disk);
    let end = whole.last_seq();
    let write = |bytes: &[u8]| replace(&disk, "", crate::format::layout::BOOKMARK, bytes).unwrap();
    let good = serde_json::to_string(&whole.checkpoint(end).unwrap()).unwrap();
    write(good.as_bytes());
    assert_eq!(known_from(&disk), end);
    for bad in [
        "{",
        &good[..good.len() - 2],
        &good.replace("\"at\":", "\"at\":9"),
        &good.replace("\"nonce\":[", "\"nonce\":[1,"),
        &good.replace("\"archive\":[", "\"archive\":[1,"),
    ] {
        write(bad.as_bytes());
        assert_eq!(known_from(&disk), Seq::ZERO, "{bad}");
    }
    let mut elsewhere = whole.checkpoint(Seq(2)).unwrap();
    elsewhere.lists[0].at += 1;
    write(&serde_json::to_vec(&elsewhere).unwrap());
    assert_eq!(known_from(&disk), Seq::ZERO);
}

#[test]
fn lists_that_are_lost_or_written_anew_end_a_bookmark() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    fill(&open(&disk).unwrap(), 1, 5);
    let end = catalogue(&disk).last_seq();
    catalogue(&disk).write_checkpoint(end).unwrap();
    disk.remove(crate::format::layout::ADOPTED).unwrap();
    assert_eq!(known_from(&disk), Seq::ZERO);
    // The writer makes it anew.
    drop(open(&disk).unwrap());
    assert_eq!(known_from(&disk), Seq::ZERO);
    catalogue(&disk).write_checkpoint(end).unwrap();
    assert_eq!(known_from(&disk), end);
}
