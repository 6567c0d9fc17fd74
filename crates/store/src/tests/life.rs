//! Full disks, failed syncs, interrupted downloads, concurrent readers, a second
//! writer, and custody events of readers.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::frame::FRAME;
use crate::tests::*;

fn options(create: bool) -> OpenOptions {
    OpenOptions {
        create,
        command: "collect --watch".into(),
    }
}

#[test]
fn concurrent_requests_share_a_commit() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let store = open(&disk).unwrap();
    let before = disk.operations();
    let pending: Vec<_> = (0..500)
        .map(|n| {
            let bytes = body(n, 100);
            store
                .submit(
                    key(1, n as u32),
                    &facts(ResultKind::Transcript),
                    &now(),
                    &bytes,
                )
                .unwrap()
        })
        .collect();
    for commit in pending {
        assert!(matches!(commit.wait().unwrap(), SealReceipt::Sealed(_)));
    }
    let operations = disk.operations() - before;
    // Two or three commits, each with a few writes and syncs.
    assert!(operations < 40, "{operations}");
}

#[test]
fn full_disk_rejects_writes_and_the_store_continues_after_it() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let store = open(&disk).unwrap();
    let transcript = facts(ResultKind::Transcript);
    store.seal(key(1, 0), &transcript, &now(), b"a").unwrap();
    for (free, writable) in [(Some(1000), None), (None, Some(40))] {
        disk.set_free(free);
        disk.set_writable(writable);
        let full = store.seal(key(1, 1), &transcript, &now(), &body(1, 900));
        assert!(full.unwrap_err().is_disk_full());
        if free.is_some() {
            // Rejected before a link is requested.
            assert!(store.download(key(1, 2)).err().unwrap().is_disk_full());
        }
        disk.set_free(None);
        disk.set_writable(None);
    }
    let sealed = store.seal(key(1, 1), &transcript, &now(), b"b").unwrap();
    assert_eq!(sealed.record().seq, Seq(2));
    assert_eq!(catalogue(&disk).verify(|_| {}).unwrap().damage, []);
}

#[test]
fn download_continues_after_a_full_disk() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let store = open(&disk).unwrap();
    let bytes = body(3, 9 * FRAME + 100);
    let mut download = store.download(key(1, 0)).unwrap();
    download.append(&bytes[..6 * FRAME]).unwrap();
    disk.set_writable(Some(1000));
    let full = download.append(&bytes[6 * FRAME..]).unwrap_err();
    assert!(full.is_disk_full());
    let at = download.offset() as usize;
    assert!(at >= 6 * FRAME);
    disk.set_writable(None);
    download.append(&bytes[at..]).unwrap();
    download.seal(&facts(ResultKind::File), &now()).unwrap();
    let id = ResultId::new(key(1, 0), Version::FIRST);
    assert_eq!(bytes_of(&catalogue(&disk), id), bytes);
}

#[test]
fn failed_sync_rejects_writes_until_the_store_is_reopened() {
    for name in [".pack", ".list", ".part"] {
        let home = tempfile::tempdir().unwrap();
        let disk = MemoryDisk::new(home.path());
        let store = open(&disk).unwrap();
        let transcript = facts(ResultKind::Transcript);
        store.seal(key(1, 0), &transcript, &now(), b"a").unwrap();
        disk.fail_sync_of(name);
        let failed = match name {
            ".part" => stream(&store, key(1, 1), &body(1, SMALL_MAX + 1)),
            _ => store.seal(key(1, 1), &transcript, &now(), b"b"),
        };
        assert!(
            matches!(failed, Err(StoreError::Poisoned { .. })),
            "{name}: {failed:?}"
        );
        let refused = store.seal(key(1, 2), &transcript, &now(), b"c");
        assert!(
            matches!(refused, Err(StoreError::Poisoned { .. })),
            "{name}"
        );
        assert!(matches!(
            store.download(key(1, 3)),
            Err(StoreError::Poisoned { .. })
        ));
        assert!(store.close().is_err());
        drop(store);
        let store = open(&disk).unwrap();
        assert!(store.latest(key(1, 0)).unwrap().is_some());
        store.seal(key(1, 2), &transcript, &now(), b"c").unwrap();
    }
}

#[test]
fn interrupted_download_resumes_and_is_sealed_unchanged() {
    use md5::Digest;
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let bytes = body(5, 11 * FRAME + 4321);
    let headers = ResponseHeaders {
        etag: Some("\"0x8D\"".into()),
        last_modified: None,
        total: Some(bytes.len() as u64),
        md5: true,
    };
    let store = open(&disk).unwrap();
    let mut download = store.download(key(1, 0)).unwrap();
    download.begin(headers.clone()).unwrap();
    download.append(&bytes[..7 * FRAME + 1000]).unwrap();
    assert!(matches!(
        store.download(key(1, 0)),
        Err(StoreError::Busy { .. })
    ));
    drop(download);
    drop(store);

    let store = open(&disk).unwrap();
    let mut download = store.download(key(1, 0)).unwrap();
    assert_eq!(download.offset(), 7 * FRAME as u64);
    assert_eq!(download.response_headers(), &headers);
    assert_eq!(download.etag(), headers.etag.as_deref());
    download.append(&bytes[7 * FRAME..]).unwrap();
    let md5: [u8; 16] = md5::Md5::digest(&bytes).into();
    assert_eq!(download.md5(), Some(md5));
    let sealing = download.seal(&facts(ResultKind::File), &now()).unwrap();
    let catalogue = catalogue(&disk);
    assert_eq!(bytes_of(&catalogue, sealing.record().id), bytes);
    assert_eq!(catalogue.verify(|_| {}).unwrap().damage, []);
}

#[test]
fn resumed_complete_download_requests_its_last_frame_again() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let bytes = body(8, 6 * crate::format::frame::FRAME);
    let headers = ResponseHeaders {
        total: Some(bytes.len() as u64),
        md5: true,
        ..ResponseHeaders::default()
    };
    {
        let store = open(&disk).unwrap();
        let mut download = store.download(key(1, 0)).unwrap();
        download.begin(headers.clone()).unwrap();
        download.append(&bytes).unwrap();
    }
    let store = open(&disk).unwrap();
    let mut download = store.download(key(1, 0)).unwrap();
    assert_eq!(download.response_headers(), &headers);
    let from = download.offset() as usize;
    assert_eq!(from, 5 * crate::format::frame::FRAME);
    download.append(&bytes[from..]).unwrap();
    let md5: [u8; 16] = <md5::Md5 as md5::Digest>::digest(&bytes).into();
    assert_eq!(download.md5(), Some(md5));
    let sealing = download.seal(&facts(ResultKind::File), &now()).unwrap();
    assert_eq!(sealing.record().sha256, Sha256::of(&bytes));
}

#[test]
fn download_resumes_before_its_first_damaged_frame_and_can_be_restarted() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let store = open(&disk).unwrap();
    let bytes = body(5, 8 * FRAME);
    let mut download = store.download(key(1, 0)).unwrap();
    download.append(&bytes).unwrap();
    drop(download);
    let partial = crate::format::layout::partial(key(1, 0));
    disk.flip(&partial, 76 + 3 * (FRAME + 16) + 50);
    let mut download = store.download(key(1, 0)).unwrap();
    assert_eq!(download.offset(), 3 * FRAME as u64);
    download.restart().unwrap();
    assert_eq!(download.offset(), 0);
    download.append(b"another body").unwrap();
    let sealed = download.seal(&facts(ResultKind::File), &now()).unwrap();
    assert_eq!(sealed.record().bytes, 12);
    let mut download = store.download(key(1, 1)).unwrap();
    download.append(&bytes).unwrap();
    download.discard().unwrap();
    assert_eq!(store.download(key(1, 1)).unwrap().offset(), 0);
    assert_eq!(disk.len_of(&partial), None);
}

#[test]
fn second_writer_gets_pid_and_command_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Store::open(dir.path(), options(false));
    assert!(matches!(missing, Err(StoreError::NoArchive { .. })));
    let archive = dir.path().join("case");
    let store = Store::open(&archive, options(true)).unwrap();
    let Err(StoreError::Locked { pid, command }) = Store::open(&archive, options(true)) else {
        panic!("two writers at once");
    };
    assert_eq!(
        (pid, command.as_str()),
        (std::process::id(), "collect --watch")
    );
    store.close().unwrap();
    Store::open(&archive, options(false)).unwrap();
}

fn event(what: &str) -> CustodyEvent {
    CustodyEvent {
        who: "analyst".into(),
        host: "ws".into(),
        version: "0.1.0".into(),
        at: now(),
        what: what.into(),
    }
}

#[test]
fn custody_events_of_readers_are_merged_once() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path(), options(true)).unwrap());
    let reader = Catalogue::open(dir.path()).unwrap();
    reader.note(&event("search mimikatz")).unwrap();
    reader.note(&event("search mimikatz")).unwrap();
    reader.note(&event("show 1")).unwrap();
    let notes = std::fs::read(dir.path().join(crate::format::layout::PENDING_CUSTODY)).unwrap();
    assert!(memchr::memmem::find(&notes, b"mimikatz").is_none());
    for _ in 0..2 {
        drop(Store::open(dir.path(), options(false)).unwrap());
    }
    reader.refresh().unwrap();
    let kinds: Vec<_> = reader
        .entries_since(Seq::ZERO)
        .map(|entry| entry.unwrap().kind)
        .collect();
    assert_eq!(
        kinds,
        [
            EntryKind::Custody(event("search mimikatz")),
            EntryKind::Custody(event("show 1")),
        ]
    );
}

#[test]
fn damaged_custody_line_is_reported_and_kept_and_other_lines_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path(), options(true)).unwrap());
    let reader = Catalogue::open(dir.path()).unwrap();
    for what in ["note a", "note b", "note c"] {
        reader.note(&event(what)).unwrap();
    }
    let notes = dir.path().join(crate::format::layout::PENDING_CUSTODY);
    let whole = std::fs::read(&notes).unwrap();
    assert_eq!(reader.verify(|_| {}).unwrap().damage, []);
    let line = whole.len() / 3;
    // Each byte of the second line and its line feed.
    for at in line + 1..2 * line {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&notes, &bytes).unwrap();
        let damage = reader.verify(|_| {}).unwrap().damage;
        assert!(!damage.is_empty(), "byte {at}");
        for damage in damage {
            assert_eq!(damage.file, crate::format::layout::PENDING_CUSTODY);
            let offset = damage.offset as usize;
            assert!(offset > line && offset <= at, "byte {at}: {damage}");
        }
    }
    let mut bytes = whole.clone();
    bytes[line + 30] = 0;
    std::fs::write(&notes, &bytes).unwrap();
    let store = Store::open(dir.path(), options(false)).unwrap();
    let notices = store.notices().join("; ");
    assert!(notices.contains("custody.notes") && notices.contains(&(line + 1).to_string()));
    drop(store);
    reader.refresh().unwrap();
    let events: Vec<_> = reader
        .entries_since(Seq::ZERO)
        .map(|entry| match entry.unwrap().kind {
            EntryKind::Custody(event) => event.what,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(events.len(), 3);
    assert_eq!(
        (events[0].as_str(), events[2].as_str()),
        ("note a", "note c")
    );
    // The event contains the damaged line.
    let (_, kept) = events[1].rsplit_once(' ').unwrap();
    let kept = data_encoding::BASE64_NOPAD.decode(kept.as_bytes());
    assert_eq!(kept.unwrap(), bytes[line + 1..2 * line - 1]);
    assert_eq!(reader.verify(|_| {}).unwrap().damage, []);
}

#[test]
fn custody_event_that_is_too_long_is_rejected_and_the_archive_opens() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path(), options(true)).unwrap());
    let reader = Catalogue::open(dir.path()).unwrap();
    assert!(reader.note(&event(&"x".repeat(1 << 20))).is_err());
    reader.note(&event(&"x".repeat(200 << 10))).unwrap();
    drop(Store::open(dir.path(), options(false)).unwrap());
    reader.refresh().unwrap();
    assert_eq!(reader.last_seq(), Seq(1));
}

#[test]
fn readers_see_a_prefix_of_the_journal_during_writes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options(true)).unwrap();
    let reader = Catalogue::open(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3u8)
            .map(|n| {
                let store = &store;
                scope.spawn(move || {
                    for index in 0..40 {
                        let len = if index % 13 == 0 { SMALL_MAX + 9 } else { 500 };
                        let bytes = body(u64::from(n) << 32 | u64::from(index), len);
                        stream(store, key(n, index), &bytes).unwrap();
                    }
                })
            })
            .collect();
        let watch = scope.spawn(|| {
            let mut refreshes = 0;
            while !done.load(Ordering::Relaxed) {
                reader.refresh().unwrap();
                let last = reader.last_seq();
                let seqs: Vec<_> = reader
                    .entries_since(Seq::ZERO)
                    .map(|entry| entry.unwrap().seq.0)
                    .take_while(|seq| *seq <= last.0)
                    .collect();
                assert_eq!(seqs, (1..=last.0).collect::<Vec<_>>());
                if let Some(record) = reader.records().next() {
                    let id = record.unwrap().id;
                    let mut reader = reader.reader(id).unwrap();
                    std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
                }
                refreshes += 1;
            }
            refreshes
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(watch.join().unwrap() > 0);
    });
    reader.refresh().unwrap();
    assert_eq!(reader.last_seq(), Seq(120));
    assert_eq!(reader.verify(|_| {}).unwrap().damage, []);
}

#[test]
fn bodies_and_facts_are_masked_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options(true)).unwrap();
    let mut facts = facts(ResultKind::File);
    facts.args = Some("Invoke-Mimikatz".into());
    let bytes = b"X5O!P%@AP-marker-".repeat(10);
    store.seal(key(1, 0), &facts, &now(), &bytes).unwrap();
    store.close().unwrap();
    for name in ["packs/00000001.pack", "packs/00000001.list"] {
        let raw = std::fs::read(dir.path().join(name)).unwrap();
        for marker in [b"marker".as_slice(), b"Mimikatz"] {
            assert!(memchr::memmem::find(&raw, marker).is_none(), "{name}");
        }
    }
}

#[test]
fn latest_note_of_each_place_of_a_fleet_run_is_returned() {
    let home = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new(home.path());
    let store = open(&disk).unwrap();
    let note = |run: u8, place, state: &str| FleetNote {
        run: [run; 8],
        place,
        value: serde_json::json!({ "state": state }),
    };
    let first = [
        note(1, 0, "head"),
        note(1, 2, "waiting"),
        note(2, 0, "other"),
    ];
    store.note_fleet(&first).unwrap();
    store.note_fleet(&[note(1, 2, "sending")]).unwrap();
    // A change back to an earlier state is noted, a repeated state is not.
    store.note_fleet(&[note(1, 2, "waiting")]).unwrap();
    store.note_fleet(&[note(1, 2, "waiting")]).unwrap();
    store.close().unwrap();
    let read = catalogue(&disk);
    assert_eq!(read.last_seq(), Seq(5));
    assert_eq!(
        read.fleet([1; 8]).unwrap(),
        [first[0].clone(), first[1].clone()]
    );
    let runs = read.fleet_runs().unwrap();
    assert_eq!(runs, [first[0].clone(), first[2].clone()]);
}
