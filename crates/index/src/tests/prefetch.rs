//! Hits that are listed ahead of who takes them: as many as are asked for, in
//! order, and those before an error.

use crate::tests::*;

/// Takes so many hits of a query.
fn take(searcher: &Searcher, query: &Query, count: usize) -> (Vec<Hit>, Result<bool, IndexError>) {
    let mut taken = Vec::new();
    let found = searcher.search(query, &SearchOptions::default(), &mut |hit| {
        taken.push(hit);
        match taken.len() < count {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    (taken, found.map(|summary| summary.stopped))
}

#[test]
fn whoever_stops_has_the_first_hits_wherever_that_is() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), &members(31, 400), tiny(), 150);
    let searcher = open(folder.path(), &tiny());
    let query = Query::regex("[a-z]", false);
    let (all, whole) = take(&searcher, &query, usize::MAX);
    assert!(!whole.unwrap());
    // More than all that wait together.
    assert!(all.len() > 4_000, "{}", all.len());
    for count in [1, 2, 511, 512, 513, 1_700, all.len() - 1] {
        let (taken, stopped) = take(&searcher, &query, count);
        assert!(stopped.unwrap());
        assert!(taken == all[..count], "{count}");
        let options = SearchOptions {
            limit: Some(count as u64),
            ..SearchOptions::default()
        };
        assert!(hits(&searcher, &query, &options) == all[..count], "{count}");
    }
}

fn copy_all(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn hits_before_damage_are_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), &members(32, 60), tiny(), 15);
    // Of members that match by their fields text is read only to be listed.
    let query = parse("device:pc*");
    let searcher = open(folder.path(), &tiny());
    let (all, _) = take(&searcher, &query, usize::MAX);
    assert_eq!(all.len(), 60);
    let mut before = 0;
    for segment in searcher.segments() {
        let copy = tempfile::tempdir().unwrap();
        copy_all(folder.path(), copy.path());
        let path = copy.path().join(segment.meta.file_name());
        let mut damaged = std::fs::read(&path).unwrap();
        damaged[segment.file().range(segment::tag::FRAMES)].fill(0);
        std::fs::write(&path, damaged).unwrap();
        let (taken, found) = take(&open(copy.path(), &tiny()), &query, usize::MAX);
        assert!(found.is_err(), "{}", path.display());
        assert!(taken == all[..taken.len()]);
        before = before.max(taken.len());
    }
    assert!(before > 0);
}
