//! Every limit of a traversal, and the problem that reports it.

use crate::*;

#[test]
fn member_limit_is_shared_by_nested_directories() {
    let six = |part: &dyn Fn(u8) -> Part| {
        let zip = (0..6).fold(Zip::new(), |zip, n| zip.add(&part(n)));
        zip.finish()
    };
    let inner = six(&|n| stored(&format!("inner {n}"), SMALL));
    let outer = six(&|n| match n {
        0 => stored("a.zip", &inner),
        n => stored(&format!("outer {n}"), SMALL),
    });
    assert_eq!(record(&outer).members.len(), 11);
    let recording = record_with(
        &outer,
        ResultHint::default(),
        &settings(|limits| limits.members_max = 10),
    );
    assert_eq!(recording.members.len(), 4);
    assert_eq!(recording.kinds(), [ProblemKind::LimitReached]);
}

#[test]
fn decompression_bomb_is_cut_at_the_ratio_limit() {
    let zeros = vec![0; 12 << 20];
    for bomb in [
        gzip(None, &zeros),
        Zip::new().add(&packed("z", &zeros)).finish(),
    ] {
        let settings = settings(|limits| limits.ratio_floor_bytes = 4 << 20);
        let recording = record_with(&bomb, ResultHint::default(), &settings);
        assert_eq!(recording.members[0].1.len(), 4 << 20);
        assert_eq!(recording.kinds(), [ProblemKind::LimitReached]);
        assert!(
            recording.message().contains("ratio 200"),
            "{:?}",
            recording.problems
        );
        let recording = record(&bomb);
        assert_eq!(recording.members[0].1.len(), 12 << 20);
        assert_eq!(recording.problems, []);
    }
}

#[test]
fn members_after_a_bomb_are_read() {
    let bomb = packed("bomb", &vec![0; 12 << 20]);
    let zip = Zip::new().add(&bomb).add(&stored("b", SMALL)).finish();
    let settings = settings(|limits| limits.ratio_floor_bytes = 4 << 20);
    let recording = record_with(&zip, ResultHint::default(), &settings);
    assert_eq!(recording.bytes("!bomb").len(), 4 << 20);
    assert_eq!(recording.bytes("!b"), SMALL);
    assert_eq!(recording.kinds(), [ProblemKind::LimitReached]);
    assert!(!recording.summary.cut);
}

/// Counts bytes without storing them.
#[derive(Default)]
struct ByteCounter {
    bytes: u64,
    problems: Vec<Problem>,
}

impl Visitor for ByteCounter {
    fn member(&mut self, _: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
        self.bytes += io::copy(bytes, &mut io::sink()).unwrap();
        ControlFlow::Continue(())
    }

    fn problem(&mut self, _: &[Layer], problem: Problem) {
        self.problems.push(problem);
    }
}

fn count(bytes: &[u8]) -> ByteCounter {
    let mut counts = ByteCounter::default();
    let mut scratch = || -> io::Result<Box<dyn afteraction_members::Scratch>> {
        Ok(Box::new(Cursor::new(Vec::new())))
    };
    traverse(
        &mut Cursor::new(bytes),
        ResultHint::default(),
        &TraverseSettings::default(),
        &mut scratch,
        &mut counts,
    )
    .unwrap();
    counts
}

/// Concatenated gzip streams of `unit`.
fn gzip_of(unit: &[u8], times: usize) -> Vec<u8> {
    gzip(None, unit).repeat(times)
}

#[test]
fn repetitive_log_is_read_completely_and_a_run_of_zeros_is_cut() {
    let len = 300 << 20;
    let log = gzip_of(&b"ok\r\n".repeat(1 << 18), 300);
    assert!(len / log.len() as u64 > 200, "{} bytes", log.len());
    let counts = count(&log);
    assert_eq!(counts.bytes, len);
    assert_eq!(counts.problems, []);

    let counts = count(&gzip_of(&[0; 1 << 20], 600));
    assert_eq!(counts.bytes, 512 << 20);
    assert_eq!(counts.problems.len(), 1);
    let message = &counts.problems[0].message;
    assert!(message.contains("ratio 200 above 512 MiB"), "{message}");
}

#[test]
fn total_limit_counts_all_members_and_ends_the_traversal() {
    let zip = three_members().finish();
    let settings = settings(|limits| limits.inflated_bytes_max = 3005);
    let recording = record_with(&zip, ResultHint::default(), &settings);
    assert_eq!(recording.bytes("!a").len(), 3000);
    assert_eq!(recording.bytes("!b").len(), 5);
    assert_eq!(recording.members.len(), 2);
    assert!(recording.summary.cut);
    // A limit that is reached exactly cuts nothing.
    let exact = record_with(&zip, ResultHint::default(), &{
        let mut settings = settings.clone();
        settings.limits.inflated_bytes_max = 3000 + SMALL.len() as u64 + 5;
        settings
    });
    assert_eq!(exact.problems, []);
}

#[test]
fn member_above_the_size_limit_is_cut_and_others_are_read() {
    let settings = settings(|limits| limits.member_bytes_max = 1000);
    let recording = record_with(&three_members().finish(), ResultHint::default(), &settings);
    assert_eq!(recording.bytes("!a"), &text(3000)[..1000]);
    assert_eq!(recording.bytes("!c"), b"third");
    assert_eq!(recording.kinds(), [ProblemKind::LimitReached]);
}

#[test]
fn members_above_the_count_limit_are_reported_and_not_read() {
    let settings = settings(|limits| limits.members_max = 2);
    let recording = record_with(&three_members().finish(), ResultHint::default(), &settings);
    assert_eq!(recording.paths(), ["!a", "!b"]);
    assert_eq!(recording.kinds(), [ProblemKind::LimitReached]);
    assert!(recording.message().contains("more than 2 members"));
}

#[test]
fn containers_beyond_the_depth_limit_are_read_as_files() {
    let mut bytes = SMALL.to_vec();
    for depth in 0..6 {
        bytes = gzip(Some(&format!("{depth}")), &bytes);
    }
    let settings = settings(|limits| limits.depth_max = 4);
    let recording = record_with(&bytes, ResultHint::default(), &settings);
    assert_eq!(recording.paths(), ["!5!4!3!2"]);
    assert!(recording.members[0].1.starts_with(b"\x1f\x8b"));
    assert_eq!(recording.kinds(), [ProblemKind::LimitReached]);
    assert_opens(&bytes, ResultHint::default(), &settings, &recording);
}

#[test]
fn only_large_nested_archives_use_a_scratch_file() {
    let inner = Zip::new()
        .add(&stored("x", &noise(30_000, 9)))
        .add(&packed("y", SMALL))
        .finish();
    let bytes = gzip(Some("inner.zip"), &inner);
    for (memory, scratches) in [(1 << 20, 0), (10_000, 1), (inner.len() as u64, 0)] {
        let settings = settings(|limits| limits.memory_bytes_max = memory);
        let recording = record_with(&bytes, ResultHint::default(), &settings);
        assert_eq!(recording.scratch_files, scratches, "memory {memory}");
        assert_eq!(recording.bytes("!inner.zip!x"), noise(30_000, 9));
        assert_eq!(recording.problems, []);
    }
    // A stored archive is read in place.
    let outer = Zip::new().add(&stored("inner.zip", &inner)).finish();
    let settings = settings(|limits| limits.memory_bytes_max = 10);
    let recording = record_with(&outer, ResultHint::default(), &settings);
    assert_eq!((recording.scratch_files, recording.paths().len()), (0, 2));
    assert_opens(&outer, ResultHint::default(), &settings, &recording);
}

#[test]
fn nested_archive_above_the_scratch_limit_is_cut_and_recovered() {
    let inner = Zip::new()
        .add(&packed("first", SMALL))
        .add(&stored("long", &noise(50_000, 9)))
        .finish();
    let settings = settings(|limits| {
        limits.memory_bytes_max = 1000;
        limits.scratch_bytes_max = 20_000;
    });
    let recording = record_with(&gzip(Some("i"), &inner), ResultHint::default(), &settings);
    assert_eq!(recording.bytes("!i!first"), SMALL);
    assert!(noise(50_000, 9).starts_with(recording.bytes("!i!long")));
    assert!(recording.has(ProblemKind::LimitReached) && recording.has(ProblemKind::Damaged));
}

#[test]
fn deeply_nested_archive_stops_at_the_member_limit() {
    // Each level contains the previous one twice.
    let mut bytes = Zip::new().add(&packed("leaf", SMALL)).finish();
    for _ in 0..20 {
        bytes = Zip::new()
            .add(&packed("l", &bytes))
            .add(&packed("r", &bytes))
            .finish();
    }
    let settings = settings(|limits| {
        limits.depth_max = 30;
        limits.members_max = 500;
    });
    let recording = record_with(&bytes, ResultHint::default(), &settings);
    assert!(recording.summary.cut);
    assert!(recording.has(ProblemKind::LimitReached));
}
