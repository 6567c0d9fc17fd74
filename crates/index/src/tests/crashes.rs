use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use crate::codec::directory::Done;
use crate::tests::*;

/// Adds everything, publishing now and then, until the process "ends".
fn run_until_the_end(folder: &Path, members: &[Member], operations: i64) -> Option<Seq> {
    let mut writer = IndexWriter::open(folder, identity(), tiny()).ok()?;
    writer
        .folder
        .operations_left
        .store(operations, Ordering::SeqCst);
    let done = writer.watermark();
    let mut last = done;
    for (n, member) in members.iter().enumerate().skip(done.0 as usize) {
        if add(&mut writer, member, n as u64).is_err() {
            return Some(last);
        }
        if n % 6 == 5 || n + 1 == members.len() {
            let seq = Seq(n as u64 + 1);
            if writer.publish(seq).is_err() {
                assert!(writer.publish(seq).is_err(), "writes after a failure");
                return Some(last);
            }
            last = seq;
        }
    }
    Some(last)
}

fn check(folder: &Path, members: &[Member], acknowledged: Seq) -> Seq {
    let searcher = match Searcher::open(folder, Some(&identity()), tiny().key) {
        Ok(searcher) => searcher,
        Err(IndexError::Missing { .. }) => {
            assert_eq!(acknowledged, Seq(0));
            return Seq(0);
        }
        Err(error) => panic!("{error}"),
    };
    searcher.verify().unwrap();
    let watermark = searcher.watermark();
    assert!(watermark >= acknowledged, "acknowledged is lost");
    let wanted = oracle::Wanted::Term("evil.exe".into());
    let expected = oracle::scan(&members[..watermark.0 as usize], &wanted, |_| true);
    assert_eq!(answers(&searcher, &parse("evil.exe")), expected);
    watermark
}

#[test]
fn a_crash_at_any_operation_leaves_the_last_publishing() {
    let members = members(21, 24);
    let whole = tempfile::tempdir().unwrap();
    run_until_the_end(whole.path(), &members, i64::MAX).unwrap();
    let total = {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = IndexWriter::open(folder.path(), identity(), tiny()).unwrap();
        let left = &writer.folder.operations_left.clone();
        left.store(1 << 40, Ordering::SeqCst);
        for (n, member) in members.iter().enumerate() {
            add(&mut writer, member, n as u64).unwrap();
            if n % 6 == 5 || n + 1 == members.len() {
                writer.publish(Seq(n as u64 + 1)).unwrap();
            }
        }
        (1 << 40) - left.load(Ordering::SeqCst)
    };
    let mut operations = 0;
    while operations < total {
        let folder = tempfile::tempdir().unwrap();
        let acknowledged = run_until_the_end(folder.path(), &members, operations).unwrap();
        check(folder.path(), &members, acknowledged);
        build(folder.path(), &members, tiny(), 50);
        assert_eq!(check(folder.path(), &members, Seq(24)), Seq(24));
        let names = std::fs::read_dir(folder.path()).unwrap().count() as u64;
        assert_eq!(names, open(folder.path(), &tiny()).stats().segments + 1);
        // A sample of the writes; what lies between them is lost by
        // `a_loss_of_power_...` at every step.
        operations += if exhaustive() { 1 } else { 1 + total / 40 };
    }
}

fn exhaustive() -> bool {
    std::env::var_os("AFTERACTION_EXHAUSTIVE").is_some()
}

/// A folder as a disk holds it: names, and the files behind them.
#[derive(Clone, Default)]
struct Names(BTreeMap<String, usize>);

/// What is on disk behind a number of operations: names as they are and as
/// they are sure, and of each file what was synced.
#[derive(Default)]
struct OnDisk {
    now: Names,
    sure: Names,
    files: Vec<Option<Vec<u8>>>,
}

impl OnDisk {
    fn after(done: &[Done]) -> Self {
        let mut disk = Self::default();
        for done in done {
            match done {
                Done::Created(name) => {
                    disk.now.0.insert(name.clone(), disk.files.len());
                    disk.files.push(None);
                }
                Done::Synced(name, bytes) => disk.files[disk.now.0[name]] = Some(bytes.clone()),
                Done::Renamed(from, to) => {
                    let file = disk.now.0.remove(from).unwrap();
                    disk.now.0.insert(to.clone(), file);
                }
                Done::FolderSynced => disk.sure = disk.now.clone(),
                Done::Removed(name) => {
                    disk.now.0.remove(name);
                }
            }
        }
        disk
    }

    /// Writes what is left: names as they are sure, as they are, or each by
    /// lot; what was never synced is empty, or half of a page of rubbish.
    fn lose_power(&self, variant: usize, folder: &Path) {
        let mut random = Random(variant as u64);
        let names: BTreeSet<&String> = self.now.0.keys().chain(self.sure.0.keys()).collect();
        for name in names {
            let sure = match variant % 3 {
                0 => true,
                1 => false,
                _ => random.below(2) == 0,
            };
            let names = if sure { &self.sure } else { &self.now };
            if let Some(file) = names.0.get(name) {
                let lost = vec![0xa5; random.below(2) * 2048];
                let bytes = self.files[*file].as_ref().unwrap_or(&lost);
                std::fs::write(folder.join(name), bytes).unwrap();
            }
        }
    }
}

#[test]
fn a_loss_of_power_at_any_step_of_close_merge_and_publish_leaves_the_last_publishing() {
    let members = members(31, 18);
    let folder = tempfile::tempdir().unwrap();
    let mut writer = IndexWriter::open(folder.path(), identity(), tiny()).unwrap();
    // How many operations were done when a publishing was acknowledged.
    let mut acknowledged = vec![(0, Seq(0))];
    for (n, member) in members.iter().enumerate() {
        add(&mut writer, member, n as u64).unwrap();
        let seq = Seq(n as u64 + 1);
        writer.publish(seq).unwrap();
        let done = writer.folder.done.lock().unwrap().len();
        acknowledged.push((done, seq));
    }
    let done = writer.folder.done.lock().unwrap().clone();
    let removed = done
        .iter()
        .filter(|d| matches!(d, Done::Removed(name) if name.ends_with(".segment")));
    assert!(removed.count() > 8, "nothing was merged");
    for steps in 0..=done.len() {
        let (_, seq) = acknowledged.iter().rfind(|(at, _)| *at <= steps).unwrap();
        let disk = OnDisk::after(&done[..steps]);
        for variant in 0..6 {
            if !exhaustive() && (steps + variant) % 6 != 0 {
                continue;
            }
            let left = tempfile::tempdir().unwrap();
            disk.lose_power(variant, left.path());
            check(left.path(), &members, *seq);
            build(left.path(), &members, tiny(), 18);
            assert_eq!(check(left.path(), &members, Seq(18)), Seq(18));
        }
    }
}

#[test]
fn what_is_published_is_searchable_before_it_is_merged() {
    let members = members(33, 18);
    let folder = tempfile::tempdir().unwrap();
    let mut writer = IndexWriter::open(folder.path(), identity(), tiny()).unwrap();
    let mut merged = 0;
    for (n, member) in members.iter().enumerate() {
        add(&mut writer, member, n as u64).unwrap();
        let before = writer.folder.done.lock().unwrap().len();
        writer.publish(Seq(n as u64 + 1)).unwrap();
        let done = writer.folder.done.lock().unwrap().clone();
        let named = |d: &Done| matches!(d, Done::Renamed(_, to) if to == "manifest");
        let made = |d: &Done| matches!(d, Done::Created(name) if name.ends_with(".segment"));
        let first = before + done[before..].iter().position(named).unwrap();
        if done[first..].iter().any(made) {
            assert_eq!(done[first..].iter().filter(|d| named(d)).count(), 2);
            check_at(&done[..=first], &members, Seq(n as u64 + 1));
            merged += 1;
        }
    }
    assert!(merged > 1, "{merged}");
}

/// What is on disk when so much was done, and no power was lost.
fn check_at(done: &[Done], members: &[Member], seq: Seq) {
    let left = tempfile::tempdir().unwrap();
    OnDisk::after(done).lose_power(1, left.path());
    assert_eq!(check(left.path(), members, seq), seq);
}

#[test]
fn a_reader_keeps_its_answers_while_the_writer_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let members = members(22, 30);
    let mut writer = IndexWriter::open(folder.path(), identity(), tiny()).unwrap();
    let mut before: Option<(Searcher, Vec<Answer>)> = None;
    for (n, member) in members.iter().enumerate() {
        add(&mut writer, member, n as u64).unwrap();
        writer.publish(Seq(n as u64 + 1)).unwrap();
        if let Some((searcher, expected)) = &before {
            assert_eq!(&answers(searcher, &parse("evil.exe")), expected);
        }
        if n % 7 == 0 {
            let searcher = open(folder.path(), &tiny());
            let found = answers(&searcher, &parse("evil.exe"));
            before = Some((searcher, found));
        }
    }
}

#[test]
fn another_identity_or_a_damaged_manifest_begins_anew() {
    let members = members(23, 10);
    let other = IndexId {
        generation: 2,
        ..identity()
    };
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), &members, tiny(), 10);
    assert!(matches!(
        Searcher::open(folder.path(), Some(&other), None),
        Err(IndexError::Foreign { .. })
    ));
    let mut writer = IndexWriter::open(folder.path(), other.clone(), tiny()).unwrap();
    assert_eq!(writer.watermark(), Seq(0));
    check(folder.path(), &members, Seq(10));
    writer.publish(Seq(0)).unwrap();
    let searcher = Searcher::open(folder.path(), Some(&other), tiny().key).unwrap();
    assert_eq!(searcher.stats().segments, 0);

    let manifest = folder.path().join("manifest");
    for at in [0, 40, 200] {
        let mut bytes = std::fs::read(&manifest).unwrap();
        let at = at.min(bytes.len() - 1);
        bytes[at] ^= 1;
        std::fs::write(&manifest, &bytes).unwrap();
        assert!(matches!(
            Searcher::open(folder.path(), None, None),
            Err(IndexError::Damaged { .. })
        ));
        bytes[at] ^= 1;
        std::fs::write(&manifest, &bytes).unwrap();
    }
    std::fs::write(&manifest, b"").unwrap();
    build(folder.path(), &members, tiny(), 10);
    check(folder.path(), &members, Seq(10));
}

#[test]
fn damage_anywhere_in_a_segment_is_an_error_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let members = members(24, 12);
    let settings = IndexSettings::default();
    build(folder.path(), &members, settings.clone(), 12);
    let path = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some())
        .unwrap();
    let whole = std::fs::read(&path).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let name = copy.path().join(path.file_name().unwrap());
    std::fs::copy(folder.path().join("manifest"), copy.path().join("manifest")).unwrap();
    let mut random = Random(24);
    for _ in 0..60 {
        let mut damaged = whole.clone();
        let at = random.below(damaged.len());
        damaged[at] ^= 1 << random.below(8);
        std::fs::write(&name, &damaged).unwrap();
        let Ok(searcher) = Searcher::open(copy.path(), None, None) else {
            continue;
        };
        assert!(searcher.verify().is_err());
        for query in ["the -evil.exe", "device:pc*"] {
            let options = SearchOptions {
                scan: true,
                context: 1,
                ..SearchOptions::default()
            };
            let _ = searcher.search(&parse(query), &options, &mut |_| ControlFlow::Continue(()));
        }
    }
}
