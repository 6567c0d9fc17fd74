//! Damaged and missing files: the damage is reported with its position, and the
//! rest of the archive stays readable.

use crate::format::frame::{FRAME, HEAD};
use crate::tests::*;

/// Creates an archive with a shared and two single-body packs, and closes it.
fn filled(disk: &MemoryDisk) -> Vec<Entry> {
    let store = open(disk).unwrap();
    let transcript = facts(ResultKind::Transcript);
    for n in 0..6 {
        let text = format!("line {n}\n").repeat(60);
        store
            .seal(key(1, n), &transcript, &now(), text.as_bytes())
            .unwrap();
    }
    store.note_gap(&gap(key(1, 7), "410")).unwrap();
    for n in 8..10 {
        stream(&store, key(1, n), &body(u64::from(n), SMALL_MAX + 5)).unwrap();
    }
    let (action, json) = action(1);
    store.note_action(&action, &json).unwrap();
    store.close().unwrap();
    entries(&catalogue(disk))
}

fn entries(catalogue: &Catalogue) -> Vec<Entry> {
    catalogue
        .entries_since(Seq::ZERO)
        .collect::<Result<_, _>>()
        .unwrap()
}

fn damage_of(disk: &MemoryDisk) -> Vec<Damage> {
    catalogue(disk).verify(|_| {}).unwrap().damage
}

#[test]
fn any_flipped_byte_of_a_pack_is_reported_with_its_position() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    filled(&disk);
    for (name, step) in [
        ("packs/00000001.pack", 37),
        ("packs/00000002.pack", 20_011),
        ("packs/00000003.pack", 50_021),
    ] {
        let len = disk.len_of(name).unwrap();
        for at in (0..len).step_by(step).chain(len - 9..len) {
            disk.flip(name, at);
            let damage = damage_of(&disk);
            let is_located = damage.iter().any(|damage| {
                let from = damage.offset as usize;
                damage.file == name && from <= at && at <= from + HEAD + FRAME
            });
            assert!(is_located, "{at} of {name}: {damage:?}");
            assert!(damage.len() <= 2, "{at} of {name}: {damage:?}");
            disk.flip(name, at);
        }
    }
    assert_eq!(damage_of(&disk), []);
}

#[test]
fn damaged_frame_fails_only_reads_of_that_frame() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    filled(&disk);
    let at = 76 + 2 * (HEAD + FRAME) + 100;
    disk.flip("packs/00000002.pack", at);
    let catalogue = catalogue(&disk);
    let id = ResultId::new(key(1, 8), Version::FIRST);
    let mut reader = catalogue.reader(id).unwrap();
    let mut part = [0; 1000];
    reader.read_exact(&mut part).unwrap();
    reader.seek(SeekFrom::Start(2 * FRAME as u64)).unwrap();
    let error = reader.read_exact(&mut part).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    let text = error.to_string();
    assert!(text.contains("evidence 01010101-"), "{text}");
    assert!(text.contains("frame 2 at byte 524"), "{text}");
    reader.seek(SeekFrom::Start(3 * FRAME as u64)).unwrap();
    reader.read_exact(&mut part).unwrap();
}

#[test]
fn pack_with_a_damaged_header_is_read_by_its_trailers() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    filled(&disk);
    for name in ["packs/00000001.pack", "packs/00000002.pack"] {
        disk.flip(name, 70);
        let damage = damage_of(&disk);
        assert_eq!(damage.len(), 1, "{damage:?}");
        assert_eq!((damage[0].file.as_str(), damage[0].offset), (name, 0));
        let store = open(&disk).unwrap();
        assert_eq!(store.gap(key(1, 7)).unwrap().unwrap().detail, "410");
        stream(&store, key(9, 9), b"stored in another pack").unwrap();
        drop(store);
        disk.flip(name, 70);
    }
}

#[test]
fn flipped_byte_of_a_pack_index_is_reported_and_repaired() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let all = filled(&disk);
    for name in ["packs/00000001.list", "packs/adopted.list"] {
        let len = disk.len_of(name).unwrap();
        for at in (0..len).step_by(103) {
            let disk = disk.copy(&home.path().join(at.to_string()));
            disk.flip(name, at);
            let visible = entries(&catalogue(&disk));
            // A reader takes a damaged last entry for an append in progress.
            assert!(visible.len() >= all.len() - 1, "{at} of {name}");
            assert!(visible.iter().all(|entry| all.contains(entry)));
            let damage = damage_of(&disk);
            assert!(
                damage.iter().any(|damage| damage.file == name),
                "{at} of {name}: {damage:?}"
            );
            drop(open(&disk).unwrap());
            assert_eq!(entries(&catalogue(&disk)), all, "{at} of {name}");
            assert_eq!(damage_of(&disk), [], "{at} of {name}");
        }
    }
}

#[test]
fn damaged_pack_index_of_a_damaged_or_missing_pack_still_opens() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let all = filled(&disk);
    disk.flip("packs/00000001.list", 200);
    disk.flip("packs/00000001.pack", 70);
    let visible = entries(&catalogue(&disk));
    assert_eq!(visible.len(), all.len() - 1);
    let files: Vec<_> = damage_of(&disk).into_iter().map(|d| d.file).collect();
    assert!(files.contains(&"packs/00000001.list".into()), "{files:?}");
    assert!(files.contains(&"packs/00000001.pack".into()), "{files:?}");
    disk.forget("packs/00000001.pack");
    assert_eq!(entries(&catalogue(&disk)), visible);
    assert!(damage_of(&disk).len() > 5);
}

#[test]
fn all_files_except_packs_can_be_lost() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(&home.path().join("a"));
    let all = filled(&disk);
    let id = catalogue(&disk).archive_id();
    for lost in [
        vec!["packs/00000001.list"],
        vec!["packs/adopted.list"],
        vec!["packs/00000001.list", "packs/adopted.list", "archive.json"],
    ] {
        let disk = disk.copy(&home.path().join("b"));
        lost.iter().for_each(|name| disk.forget(name));
        std::fs::remove_dir_all(home.path().join("b")).unwrap();
        let reader = catalogue(&disk);
        assert_eq!(entries(&reader), all, "{lost:?}");
        assert_eq!(reader.archive_id(), id, "{lost:?}");
        let store = open(&disk).unwrap();
        assert!(store.notices()[0].contains("rebuilt"), "{lost:?}");
        assert_eq!(store.latest(key(1, 9)).unwrap().unwrap().seq, Seq(9));
        reader.refresh().unwrap();
        assert_eq!(entries(&reader), all, "{lost:?}");
        let next = store.note_gap(&gap(key(3, 3), "x")).unwrap();
        assert_eq!(next, Seq(all.len() as u64 + 1));
        drop(store);
        assert_eq!(damage_of(&disk), [], "{lost:?}");
    }
}

#[test]
fn deleted_catalogue_is_rebuilt_with_the_same_content() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let all = filled(&disk);
    let before = catalogue(&disk).generation();
    std::fs::remove_dir_all(home.path().join("catalogue")).unwrap();
    let store = open(&disk).unwrap();
    for entry in &all {
        if let EntryKind::Result(record) = &entry.kind {
            let latest = store.latest(record.id.key).unwrap().unwrap();
            assert_eq!((latest.seq, latest.sha256), (record.seq, record.sha256));
        }
    }
    let again = stream(&store, key(1, 8), &body(8, SMALL_MAX + 5)).unwrap();
    assert!(matches!(again, SealReceipt::AlreadySealed(_)));
    assert_eq!(entries(&catalogue(&disk)), all);
    assert_eq!(catalogue(&disk).generation(), before);
}

#[test]
fn unreadable_catalogue_is_rebuilt_with_a_notice() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let all = filled(&disk);
    for (file, number) in [("conf", 1), ("db", 2)] {
        let path = home.path().join(format!("catalogue/{number:04}/{file}"));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes
            .iter_mut()
            .skip(3)
            .step_by(2)
            .for_each(|byte| *byte ^= 0x5a);
        std::fs::write(&path, bytes).unwrap();
        let store = open(&disk).unwrap();
        assert_eq!(store.notices().len(), 1, "{file}: {:?}", store.notices());
        assert!(store.notices()[0].contains("rebuilt from the packs"));
        assert_eq!(store.latest(key(1, 9)).unwrap().unwrap().seq, Seq(9));
        assert_eq!(entries(&catalogue(&disk)), all);
    }
}

#[test]
fn lost_entries_change_the_generation_and_their_seqs_are_not_reused() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let all = filled(&disk);
    let before = catalogue(&disk).generation();
    disk.forget("packs/adopted.list");
    disk.forget("packs/00000003.pack");
    disk.forget("packs/00000001.list");
    let len = disk.len_of("packs/00000001.pack").unwrap();
    disk.truncate("packs/00000001.pack", len - 1);
    let store = open(&disk).unwrap();
    let next = store.note_gap(&gap(key(3, 3), "x")).unwrap();
    assert_eq!(next, Seq(all.len() as u64 + 1));
    assert_ne!(catalogue(&disk).generation(), before);
}

#[test]
fn lost_entries_change_the_generation_despite_a_kill_at_any_operation() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(&home.path().join("whole"));
    filled(&disk);
    let before = catalogue(&disk).generation();
    disk.forget("packs/adopted.list");
    disk.forget("packs/00000003.pack");
    let mut kills = 0;
    loop {
        let killed = disk.copy(&home.path().join(format!("killed {kills}")));
        killed.fail_at(kills + 1);
        if open(&killed).is_ok() {
            break;
        }
        let reopened = killed.copy(&home.path().join(format!("reopened {kills}")));
        drop(open(&reopened).unwrap());
        assert_ne!(
            catalogue(&reopened).generation(),
            before,
            "operation {kills}"
        );
        kills += 1;
    }
    assert!(kills > 3, "{kills}");
}

#[test]
fn number_of_a_missing_pack_is_not_reused() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    filled(&disk);
    disk.forget("packs/00000003.pack");
    let store = open(&disk).unwrap();
    assert!(
        store
            .notices()
            .iter()
            .any(|notice| notice.contains("00000003.pack is missing"))
    );
    stream(&store, key(9, 9), &body(9, SMALL_MAX + 5)).unwrap();
    assert_eq!(disk.len_of("packs/00000003.pack"), None);
    assert!(disk.len_of("packs/00000004.pack").is_some());
}

#[test]
fn intact_copy_of_a_damaged_result_is_sealed_as_the_next_version() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    filled(&disk);
    let small = |store: &Store| {
        let text = "line 0\n".repeat(60);
        let transcript = facts(ResultKind::Transcript);
        store.seal(key(1, 0), &transcript, &now(), text.as_bytes())
    };
    let large = |store: &Store| stream(store, key(1, 8), &body(8, SMALL_MAX + 5));
    // Damage a frame of the small body and the trailer of the large one.
    disk.flip("packs/00000001.pack", 76 + HEAD + 3);
    let end = disk.len_of("packs/00000002.pack").unwrap();
    disk.flip("packs/00000002.pack", end - 60);
    let store = open(&disk).unwrap();
    for seal in [
        &small as &dyn Fn(&Store) -> Result<SealReceipt, StoreError>,
        &large,
    ] {
        let SealReceipt::Sealed(record) = seal(&store).unwrap() else {
            panic!("duplicate of a damaged result")
        };
        assert_eq!(record.id.version, Version(2));
        assert_eq!(
            bytes_of(&catalogue(&disk), record.id).len() as u64,
            record.bytes
        );
        let again = seal(&store).unwrap();
        assert!(matches!(again, SealReceipt::AlreadySealed(sealed) if sealed.id == record.id));
    }
}
