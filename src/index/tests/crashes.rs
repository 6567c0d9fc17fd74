use std::sync::atomic::Ordering;

use super::*;

/// Adds everything, publishing now and then, until the process "ends".
fn run_until_the_end(folder: &Path, members: &[Member], operations: i64) -> Option<Seq> {
    let mut writer = Writer::open(folder, identity(), tiny()).ok()?;
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
        let mut writer = Writer::open(folder.path(), identity(), tiny()).unwrap();
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
        // Every operation around a publishing, and a sample of the writes.
        operations += 1 + total / 40;
    }
}

#[test]
fn a_reader_keeps_its_answers_while_the_writer_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let members = members(22, 30);
    let mut writer = Writer::open(folder.path(), identity(), tiny()).unwrap();
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
    let other = Identity {
        generation: 2,
        ..identity()
    };
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), &members, tiny(), 10);
    assert!(matches!(
        Searcher::open(folder.path(), Some(&other), None),
        Err(IndexError::Foreign { .. })
    ));
    let mut writer = Writer::open(folder.path(), other.clone(), tiny()).unwrap();
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
    let settings = Settings::default();
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
            let options = Options {
                scan: true,
                context: 1,
                ..Options::default()
            };
            let _ = searcher.search(&parse(query), &options, &mut |_| ControlFlow::Continue(()));
        }
    }
}
