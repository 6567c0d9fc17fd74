//! Members, from outside: archives built here, and real ones.

mod seen;
#[path = "../../../../tests/support/zips.rs"]
mod zips;

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use afteraction_members::{
    ContainerFormat, Member, MembersError, Modified, ResultHint, TraverseLimits, TraverseSettings,
    Visitor, traverse,
};
use evidence::{Layer, Problem, ProblemKind};
use seen::{Seen, assert_opens, look, open_at, path, scratch, see};
use zips::{Part, Zip, gzip, packed, stored};

const SMALL: &[u8] = b"small content of a member\r\n";

fn settings(change: impl FnOnce(&mut TraverseLimits)) -> TraverseSettings {
    let mut settings = TraverseSettings::default();
    change(&mut settings.limits);
    settings
}

fn passwords(list: &[&str]) -> TraverseSettings {
    TraverseSettings {
        passwords: list.iter().map(|p| p.to_string()).collect(),
        ..TraverseSettings::default()
    }
}

/// Seeded bytes that do not compress.
fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    (0..len)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed as u8
        })
        .collect()
}

fn text(len: usize) -> Vec<u8> {
    let line = b"2026-02-04 15:36:52 svchost.exe started by services.exe, pid 4711\r\n";
    line.iter().copied().cycle().take(len).collect()
}

// ---- layers and labels -------------------------------------------------

#[test]
fn a_result_without_wrapping_is_its_only_member() {
    let seen = look(b"plain bytes");
    assert_eq!(seen.paths(), [""]);
    assert_eq!(seen.bytes(""), b"plain bytes");
    assert_eq!(seen.problems, []);
    assert_opens(
        b"plain bytes",
        ResultHint::default(),
        &TraverseSettings::default(),
        &seen,
    );
}

#[test]
fn a_zip_in_a_gzip_in_a_zip_is_read_to_its_leaves() {
    let inner = Zip::new()
        .add(&packed("logs/a.log", &text(5000)))
        .add(&stored("b.txt", SMALL))
        .finish();
    let outer = Zip::new()
        .add(&packed(
            "evidence.zip.gz",
            &gzip(Some("evidence.zip"), &inner),
        ))
        .add(&stored("note", SMALL))
        .finish();
    let result = gzip(None, &outer);
    let hint = ResultHint {
        name: Some("attachment; filename=\"Case%207.zip.gz\""),
    };
    let seen = see(&result, hint, &TraverseSettings::default());
    let inside = "!Case 7.zip!evidence.zip.gz!evidence.zip";
    assert_eq!(
        seen.paths(),
        [
            format!("{inside}!logs/a.log"),
            format!("{inside}!b.txt"),
            "!Case 7.zip!note".into()
        ]
    );
    assert_eq!(seen.bytes(&format!("{inside}!logs/a.log")), text(5000));
    let kinds: Vec<_> = seen.containers.iter().map(|(_, kind)| *kind).collect();
    assert_eq!(
        kinds,
        [
            ContainerFormat::Gzip,
            ContainerFormat::Zip,
            ContainerFormat::Gzip,
            ContainerFormat::Zip
        ]
    );
    assert_eq!(seen.problems, []);
    assert_opens(&result, hint, &TraverseSettings::default(), &seen);
    // a wrapping on the way opens as it is
    let layers = &seen.members[0].0[..3];
    let opened = open_at(&result, hint, layers, &TraverseSettings::default()).unwrap();
    assert_eq!(opened, inner);
}

#[test]
fn a_gzip_layer_is_called_by_its_header_the_result_or_its_place() {
    for (own, hint, label) in [
        (Some("own.txt"), Some("other.gz"), "!own.txt"),
        (None, Some("other.TXT.GZ"), "!other.TXT"),
        (
            None,
            Some("attachment; filename*=UTF-8''a%C3%BC.log.gz"),
            "!aü.log",
        ),
        (None, None, "!#0"),
        (Some("a!b"), None, "!#0"),
    ] {
        let seen = see(
            &gzip(own, SMALL),
            ResultHint { name: hint },
            &TraverseSettings::default(),
        );
        assert_eq!(seen.paths(), [label]);
        assert_eq!(seen.bytes(label), SMALL);
    }
}

#[test]
fn repeated_empty_and_unspeakable_names_give_way_to_their_ordinals() {
    let zip = Zip::new()
        .add(&stored("same", b"first"))
        .add(&stored("dir/", b""))
        .add(&stored("same", b"second"))
        .add(&stored("", b"third"))
        .add(&stored("a!b", b"fourth"))
        .add(&stored("unique", b"fifth"))
        .finish();
    let seen = look(&zip);
    assert_eq!(seen.paths(), ["!#0", "!#2", "!#3", "!#4", "!unique"]);
    assert_eq!(seen.bytes("!#0"), b"first");
    assert_eq!(seen.bytes("!#2"), b"second");
    assert_eq!(seen.summary.directories, 1);
    assert_eq!(seen.names, ["same", "same", "", "a!b", "unique"]);
    assert_opens(
        &zip,
        ResultHint::default(),
        &TraverseSettings::default(),
        &seen,
    );
    let named = open_at(
        &zip,
        ResultHint::default(),
        &[Layer::named("same", 0)],
        &TraverseSettings::default(),
    );
    assert!(matches!(named, Err(MembersError::NoSuchMember { .. })));
}

#[test]
fn hostile_names_are_labels_and_nothing_else() {
    let names = [
        "../../etc/passwd",
        "/abs",
        "C:\\Windows\\x",
        "a/../b",
        "CON",
        "x\u{202e}gnp.exe",
    ];
    let zip = names
        .iter()
        .fold(Zip::new(), |zip, name| zip.add(&stored(name, SMALL)))
        .finish();
    let seen = look(&zip);
    assert_eq!(
        seen.paths(),
        [
            "!../../etc/passwd",
            "!/abs",
            "!C:\\Windows\\x",
            "!a/../b",
            "!CON",
            "!#5"
        ]
    );
    assert_eq!(seen.names[5], names[5]);
    assert_opens(
        &zip,
        ResultHint::default(),
        &TraverseSettings::default(),
        &seen,
    );
}

#[test]
fn names_decode_by_flag_extra_field_or_code_page() {
    let mut old = stored("", SMALL);
    old.flags = 0;
    old.name = b"Gr\x81\xe1e.txt".to_vec();
    let mut unicode = stored("plain.txt", SMALL);
    let name = "файл.txt".as_bytes();
    unicode.extra = [
        &[0x75, 0x70][..],
        &(5 + name.len() as u16).to_le_bytes(),
        &[1],
    ]
    .concat();
    unicode
        .extra
        .extend_from_slice(&crc32fast::hash(b"plain.txt").to_le_bytes());
    unicode.extra.extend_from_slice(name);
    let zip = Zip::new().add(&old).add(&unicode).finish();
    assert_eq!(look(&zip).paths(), ["!Grüße.txt", "!файл.txt"]);
}

#[test]
fn times_and_symlinks_are_told() {
    struct First(Option<(Option<Modified>, bool, Option<u64>)>);
    impl Visitor for First {
        fn member(&mut self, member: &Member<'_>, _: &mut dyn Read) -> ControlFlow<()> {
            self.0 = Some((member.modified, member.symlink, member.size_declared));
            ControlFlow::Break(())
        }
        fn problem(&mut self, _: &[Layer], _: Problem) {}
    }
    let mut link = stored("link", b"../target");
    link.external = 0o120_777 << 16;
    let zip = Zip::new().add(&link).add(&stored("b", SMALL)).finish();
    let mut first = First(None);
    let summary = traverse(
        &mut Cursor::new(&zip),
        ResultHint::default(),
        &TraverseSettings::default(),
        &mut scratch(Default::default()),
        &mut first,
    )
    .unwrap();
    let modified = Modified::Local {
        year: 2025,
        month: 1,
        day: 1,
        hour: 12,
        minute: 0,
        second: 0,
    };
    assert_eq!(first.0, Some((Some(modified), true, Some(9))));
    assert!(summary.stopped);
    assert_eq!(summary.members, 1);
}

// ---- methods -----------------------------------------------------------

fn through_crate(method: ::zip::CompressionMethod, bytes: &[u8]) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = ::zip::write::SimpleFileOptions::default().compression_method(method);
    writer.start_file("a.log", options).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap().into_inner()
}

#[test]
fn every_method_gives_its_bytes() {
    use ::zip::CompressionMethod as Method;
    let content = [text(300_000), noise(50_000, 7)].concat();
    for method in [Method::Stored, Method::Bzip2, Method::Zstd, Method::Xz] {
        let zip = through_crate(method, &content);
        let seen = look(&zip);
        assert!(seen.bytes("!a.log") == content, "{method}");
        assert_eq!(seen.problems, [], "{method}");
    }
    // a deflate stream of stored blocks is a deflate64 stream too
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(&content).unwrap();
    let deflate64 = Part {
        method: 9,
        data: encoder.finish().unwrap(),
        ..stored("a.log", &content)
    };
    let zip = Zip::new()
        .add(&deflate64)
        .add(&packed("b.log", &content))
        .finish();
    let seen = look(&zip);
    assert!(seen.bytes("!a.log") == content && seen.bytes("!b.log") == content);
    assert_eq!(seen.problems, []);
}

#[test]
fn a_method_that_cannot_be_read_is_told_and_the_others_go_on() {
    let odd = Part {
        method: 98,
        ..stored("odd", SMALL)
    };
    let seen = look(&Zip::new().add(&odd).add(&packed("b", SMALL)).finish());
    assert_eq!(seen.paths(), ["!b"]);
    assert_eq!(seen.problems[0].0, "!odd");
    assert_eq!(seen.kinds(), [ProblemKind::Unsupported]);
    assert!(seen.problems[0].1.message.contains("PPMd"));
}

#[test]
fn a_dictionary_beyond_the_limit_is_refused_before_it_is_made() {
    let mut data = vec![9, 20, 5, 0, 0x5d];
    data.extend_from_slice(&0xf000_0000u32.to_le_bytes());
    data.extend_from_slice(&[0; 64]);
    let bomb = Part {
        method: 14,
        size: 0xf000_0000,
        data,
        ..stored("bomb", b"")
    };
    let seen = look(&Zip::new().add(&bomb).finish());
    assert_eq!(seen.members, []);
    assert!(
        seen.problems[0].1.message.contains("dictionary"),
        "{:?}",
        seen.problems
    );
}

// ---- gzip --------------------------------------------------------------

#[test]
fn gzip_members_one_after_the_other_are_one_content() {
    let bytes = [
        gzip(Some("a"), b"one "),
        gzip(Some("b"), b"two "),
        gzip(None, b"three"),
    ]
    .concat();
    let seen = look(&bytes);
    assert_eq!(seen.bytes("!a"), b"one two three");
    assert_eq!(seen.problems, []);
    let padded = [&bytes[..], &[0; 700]].concat();
    assert_eq!(look(&padded).problems, []);
}

#[test]
fn bytes_behind_a_gzip_are_told() {
    for tail in [&b"garbage"[..], b"\x1f\x8bX garbage", b"\0\0\0garbage"] {
        let seen = look(&[&gzip(Some("a"), SMALL), tail].concat());
        assert_eq!(seen.bytes("!a"), SMALL);
        assert_eq!(seen.kinds(), [ProblemKind::Damaged], "{tail:?}");
    }
}

#[test]
fn a_wrong_checksum_or_length_of_a_gzip_is_told() {
    let mut bytes = gzip(Some("a"), SMALL);
    let crc = bytes.len() - 8;
    bytes[crc] ^= 1;
    assert_eq!(look(&bytes).kinds(), [ProblemKind::ChecksumMismatch]);
    bytes[crc] ^= 1;
    bytes[crc + 4] ^= 1;
    let seen = look(&bytes);
    assert_eq!(seen.kinds(), [ProblemKind::Lying]);
    assert_eq!(seen.bytes("!a"), SMALL);
}

#[test]
fn a_gzip_cut_anywhere_keeps_what_it_gave_and_says_so() {
    let content = text(40_000);
    let whole = gzip(Some("a"), &content);
    let mut before = 0;
    for cut in 13..whole.len() {
        let seen = look(&whole[..cut]);
        let got = seen.bytes("!a");
        assert!(content.starts_with(got));
        assert!(got.len() >= before, "cut at {cut}");
        before = got.len();
        assert_eq!(seen.kinds(), [ProblemKind::Damaged], "cut at {cut}");
    }
    assert_eq!(before, content.len());
}

#[test]
fn what_only_begins_like_a_wrapping_is_kept_as_it_is() {
    for bytes in [
        &b"\x1f\x8b\x08\x00\0\0\0\0\0\0\xff\xff\xff\xff not deflate"[..],
        b"PK\x03\x04 but no archive at all, just text",
        b"PK",
        b"\x1f",
    ] {
        let seen = look(bytes);
        assert_eq!(seen.bytes(""), bytes);
        assert_opens(
            bytes,
            ResultHint::default(),
            &TraverseSettings::default(),
            &seen,
        );
    }
}

// ---- directories that lie ----------------------------------------------

fn three() -> Zip {
    Zip::new()
        .add(&packed("a", &text(3000)))
        .add(&stored("b", SMALL))
        .add(&packed("c", b"third"))
}

#[test]
fn zip64_descriptors_comments_and_things_before_an_archive_are_read() {
    let mut wide = Zip::new();
    wide.zip64 = true;
    let mut streamed = packed("streamed", &text(3000));
    streamed.descriptor = true;
    let mut commented = Zip::new();
    commented.comment = b"a comment with PK\x05\x06 inside and more than twenty-two bytes".to_vec();
    for zip in [
        wide,
        commented,
        Zip::new(),
        Zip::new().junk(b"PK\x03\x04junk"),
    ] {
        let bytes = zip.add(&streamed).add(&stored("b", SMALL)).finish();
        let seen = look(&bytes);
        assert_eq!(seen.paths(), ["!streamed", "!b"]);
        assert_eq!(seen.bytes("!streamed"), text(3000));
        assert_eq!(seen.problems, []);
    }
}

#[test]
fn an_archive_behind_something_else_is_found_and_both_are_read() {
    let mut wide = three();
    wide.zip64 = true;
    for zip in [three().finish(), wide.finish()] {
        let bytes = [&b"MZ this is a self-extractor"[..], &zip].concat();
        let seen = look(&bytes);
        assert_eq!(seen.paths(), ["", "!a", "!b", "!c"]);
        assert_eq!(seen.bytes(""), bytes);
        assert_eq!(seen.bytes("!b"), SMALL);
        assert_eq!(seen.kinds(), [ProblemKind::Lying]);
        assert_opens(
            &bytes,
            ResultHint::default(),
            &TraverseSettings::default(),
            &seen,
        );
    }
}

#[test]
fn a_count_that_lies_changes_nothing() {
    for said in [0, 2, 4, 60_000] {
        let seen = look(&three().finish_saying(said));
        assert_eq!(seen.paths(), ["!a", "!b", "!c"], "said {said}");
        assert!(!seen.problems.is_empty(), "said {said}");
    }
}

#[test]
fn an_archive_cut_anywhere_gives_the_members_before_the_cut() {
    let whole = three().finish();
    let second = memchr::memmem::rfind(&whole, b"PK\x01\x02").unwrap();
    for cut in 60..whole.len() {
        let seen = look(&whole[..cut]);
        assert!(!seen.problems.is_empty(), "cut at {cut}");
        assert!(!seen.members.is_empty(), "cut at {cut}");
        if cut >= second {
            assert_eq!(seen.bytes("!a"), text(3000), "cut at {cut}");
            assert_eq!(seen.bytes("!b"), SMALL);
            assert_eq!(seen.bytes("!c"), b"third");
        }
        assert_opens(
            &whole[..cut],
            ResultHint::default(),
            &TraverseSettings::default(),
            &seen,
        );
    }
}

#[test]
fn members_are_recovered_past_a_size_that_lies() {
    let mut liar = packed("liar", &text(2000));
    let data = liar.data.clone();
    liar.data = noise(4, 1);
    let mut bytes = Zip::new().add(&liar).finish();
    // the header says four bytes; the stream is longer, the directory is gone
    let end = memchr::memmem::find(&bytes, b"PK\x01\x02").unwrap();
    bytes.truncate(end - 4);
    bytes.extend_from_slice(&data);
    let tail = Zip::new().add(&packed("after", SMALL)).finish();
    let end = memchr::memmem::find(&tail, b"PK\x01\x02").unwrap();
    bytes.extend_from_slice(&tail[..end]);
    let seen = look(&bytes);
    assert_eq!(seen.bytes("!liar"), text(2000));
    assert_eq!(seen.bytes("!after"), SMALL);
}

#[test]
fn streamed_members_are_recovered_without_their_directory() {
    let mut first = packed("first", &text(9000));
    first.descriptor = true;
    let mut second = packed("second", &noise(9000, 3));
    second.descriptor = true;
    let bytes = Zip::new().add(&first).add(&second).finish();
    let end = memchr::memmem::find(&bytes, b"PK\x01\x02").unwrap();
    let seen = look(&bytes[..end]);
    assert_eq!(seen.bytes("!first"), text(9000));
    assert_eq!(seen.bytes("!second"), noise(9000, 3));
    assert_eq!(seen.kinds(), [ProblemKind::Damaged, ProblemKind::Repaired]);
}

#[test]
fn a_member_that_is_not_where_it_is_said_to_be_is_looked_for() {
    let part = packed("lost", SMALL);
    let bytes = Zip::new().add(&stored("a", SMALL)).junk(b"").add(&part);
    let mut bytes = bytes.finish();
    let last = memchr::memmem::rfind(&bytes, b"PK\x01\x02").unwrap();
    bytes[last + 42..last + 46].copy_from_slice(&0x00ff_ffffu32.to_le_bytes());
    let seen = look(&bytes);
    assert_eq!(seen.bytes("!a"), SMALL);
    assert!(
        seen.members
            .iter()
            .any(|(layers, b)| path(layers).starts_with("!#") && b == SMALL)
    );
    assert_opens(
        &bytes,
        ResultHint::default(),
        &TraverseSettings::default(),
        &seen,
    );
}

#[test]
fn headers_that_disagree_are_told_and_the_bytes_are_read() {
    let mut two_names = packed("shown", SMALL);
    two_names.central_name = Some(b"hidden".to_vec());
    let bytes = Zip::new().add(&two_names).finish();
    let seen = look(&bytes);
    assert_eq!(seen.paths(), ["!hidden"]);
    assert_eq!(seen.bytes("!hidden"), SMALL);
    assert_eq!(seen.kinds(), [ProblemKind::Lying]);
    let mut wrong = packed("a", SMALL);
    wrong.crc ^= 1;
    wrong.size += 5;
    let seen = look(&Zip::new().add(&wrong).add(&stored("b", SMALL)).finish());
    assert_eq!(seen.bytes("!a"), SMALL);
    assert_eq!(
        seen.kinds(),
        [ProblemKind::Lying, ProblemKind::ChecksumMismatch]
    );
    assert_eq!(seen.bytes("!b"), SMALL);
}

#[test]
fn members_that_share_bytes_are_told_and_counted_as_work() {
    // one kernel, many directory entries: the classic overlap bomb
    let kernel = packed("kernel", &text(1 << 20));
    let mut zip = Zip::new().add(&kernel);
    for _ in 0..40 {
        zip = zip.list(&kernel, 0);
    }
    let bytes = zip.finish();
    let settings = settings(|limits| {
        limits.ratio_floor_bytes = 5 << 20;
        limits.ratio_max = 2;
    });
    let seen = see(&bytes, ResultHint::default(), &settings);
    assert!(seen.has(ProblemKind::Lying));
    assert_eq!(seen.kinds().last(), Some(&ProblemKind::LimitReached));
    assert!(seen.summary.cut);
    assert_eq!(seen.summary.inflated_bytes, 10 << 20);
}

#[test]
fn members_that_have_the_same_bytes_read_again_and_again_end_the_walk() {
    // The directory says stored, the header before the bytes deflated: to know
    // which one speaks the truth, all of the bytes are read and little comes
    // out of them.
    let mut truth = packed("truth", SMALL);
    truth.data.extend(noise(1 << 20, 5));
    let mut lie = truth.clone();
    lie.method = 0;
    let mut zip = Zip::new().add(&truth);
    for _ in 0..60 {
        zip = zip.list(&lie, 0);
    }
    let bytes = zip.add(&stored("last", SMALL)).finish();
    let seen = look(&bytes);
    assert_eq!(seen.members.len(), 62);
    assert!(!seen.summary.cut);
    let settings = settings(|limits| {
        limits.ratio_floor_bytes = 5 << 20;
        limits.ratio_max = 2;
    });
    let seen = see(&bytes, ResultHint::default(), &settings);
    assert!(
        (20..60).contains(&seen.members.len()),
        "{}",
        seen.members.len()
    );
    assert!(seen.summary.cut && seen.summary.inflated_bytes < 1 << 20);
    let (_, last) = seen.problems.last().unwrap();
    assert_eq!(last.kind, ProblemKind::LimitReached);
    assert!(last.message.contains("in circles"), "{last:?}");
}

// ---- limits ------------------------------------------------------------

#[test]
fn open_directories_share_the_members_that_may_be_listed() {
    let six = |part: &dyn Fn(u8) -> Part| {
        let zip = (0..6).fold(Zip::new(), |zip, n| zip.add(&part(n)));
        zip.finish()
    };
    let inner = six(&|n| stored(&format!("inner {n}"), SMALL));
    let outer = six(&|n| match n {
        0 => stored("a.zip", &inner),
        n => stored(&format!("outer {n}"), SMALL),
    });
    assert_eq!(look(&outer).members.len(), 11);
    let seen = see(
        &outer,
        ResultHint::default(),
        &settings(|limits| limits.members_max = 10),
    );
    assert_eq!(seen.members.len(), 4);
    assert_eq!(seen.kinds(), [ProblemKind::LimitReached]);
}

#[test]
fn a_bomb_is_cut_where_its_ratio_says_so() {
    let zeros = vec![0; 12 << 20];
    for bomb in [
        gzip(None, &zeros),
        Zip::new().add(&packed("z", &zeros)).finish(),
    ] {
        let settings = settings(|limits| limits.ratio_floor_bytes = 4 << 20);
        let seen = see(&bomb, ResultHint::default(), &settings);
        assert_eq!(seen.members[0].1.len(), 4 << 20);
        assert_eq!(seen.kinds(), [ProblemKind::LimitReached]);
        assert!(
            seen.problems[0].1.message.contains("ratio 200"),
            "{:?}",
            seen.problems
        );
        let seen = look(&bomb);
        assert_eq!(seen.members[0].1.len(), 12 << 20);
        assert_eq!(seen.problems, []);
    }
}

#[test]
fn what_stands_behind_a_bomb_is_read() {
    let bomb = packed("bomb", &vec![0; 12 << 20]);
    let zip = Zip::new().add(&bomb).add(&stored("b", SMALL)).finish();
    let settings = settings(|limits| limits.ratio_floor_bytes = 4 << 20);
    let seen = see(&zip, ResultHint::default(), &settings);
    assert_eq!(seen.bytes("!bomb").len(), 4 << 20);
    assert_eq!(seen.bytes("!b"), SMALL);
    assert_eq!(seen.kinds(), [ProblemKind::LimitReached]);
    assert!(!seen.summary.cut);
}

/// Counts what it is given and holds none of it.
#[derive(Default)]
struct Counts {
    bytes: u64,
    problems: Vec<Problem>,
}

impl Visitor for Counts {
    fn member(&mut self, _: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
        self.bytes += io::copy(bytes, &mut io::sink()).unwrap();
        ControlFlow::Continue(())
    }

    fn problem(&mut self, _: &[Layer], problem: Problem) {
        self.problems.push(problem);
    }
}

fn count(bytes: &[u8]) -> Counts {
    let mut counts = Counts::default();
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

/// A gzip of `unit` so many times, each a stream of its own.
fn gzip_of(unit: &[u8], times: usize) -> Vec<u8> {
    gzip(None, unit).repeat(times)
}

#[test]
fn a_log_that_repeats_is_read_whole_and_endless_zeros_are_not() {
    let len = 300 << 20;
    let log = gzip_of(&b"ok\r\n".repeat(1 << 18), 300);
    assert!(len / log.len() as u64 > 200, "{} bytes", log.len());
    let counts = count(&log);
    assert_eq!(counts.bytes, len);
    assert_eq!(counts.problems, []);

    let counts = count(&gzip_of(&[0; 1 << 20], 600));
    assert_eq!(counts.bytes, 512 << 20);
    assert_eq!(counts.problems.len(), 1);
    let said = &counts.problems[0].message;
    assert!(said.contains("ratio 200 beyond 536870912 bytes"), "{said}");
}

#[test]
fn work_is_counted_over_all_members_and_ends_the_walk() {
    let zip = three().finish();
    let settings = settings(|limits| limits.inflated_bytes_max = 3005);
    let seen = see(&zip, ResultHint::default(), &settings);
    assert_eq!(seen.bytes("!a").len(), 3000);
    assert_eq!(seen.bytes("!b").len(), 5);
    assert_eq!(seen.members.len(), 2);
    assert!(seen.summary.cut);
    // exactly enough is no cut
    let exact = see(&zip, ResultHint::default(), &{
        let mut settings = settings.clone();
        settings.limits.inflated_bytes_max = 3000 + SMALL.len() as u64 + 5;
        settings
    });
    assert_eq!(exact.problems, []);
}

#[test]
fn a_member_too_long_is_cut_and_the_others_go_on() {
    let settings = settings(|limits| limits.member_bytes_max = 1000);
    let seen = see(&three().finish(), ResultHint::default(), &settings);
    assert_eq!(seen.bytes("!a"), &text(3000)[..1000]);
    assert_eq!(seen.bytes("!c"), b"third");
    assert_eq!(seen.kinds(), [ProblemKind::LimitReached]);
}

#[test]
fn members_beyond_the_number_are_told_and_left() {
    let settings = settings(|limits| limits.members_max = 2);
    let seen = see(&three().finish(), ResultHint::default(), &settings);
    assert_eq!(seen.paths(), ["!a", "!b"]);
    assert_eq!(seen.kinds(), [ProblemKind::LimitReached]);
    assert!(seen.problems[0].1.message.contains("more than 2 members"));
}

#[test]
fn wrappings_beyond_the_depth_are_kept_as_they_are() {
    let mut bytes = SMALL.to_vec();
    for depth in 0..6 {
        bytes = gzip(Some(&format!("{depth}")), &bytes);
    }
    let settings = settings(|limits| limits.depth_max = 4);
    let seen = see(&bytes, ResultHint::default(), &settings);
    assert_eq!(seen.paths(), ["!5!4!3!2"]);
    assert!(seen.members[0].1.starts_with(b"\x1f\x8b"));
    assert_eq!(seen.kinds(), [ProblemKind::LimitReached]);
    assert_opens(&bytes, ResultHint::default(), &settings, &seen);
}

#[test]
fn large_nested_archives_use_a_scratch_file_and_small_ones_do_not() {
    let inner = Zip::new()
        .add(&stored("x", &noise(30_000, 9)))
        .add(&packed("y", SMALL))
        .finish();
    let bytes = gzip(Some("inner.zip"), &inner);
    for (memory, scratches) in [(1 << 20, 0), (10_000, 1), (inner.len() as u64, 0)] {
        let settings = settings(|limits| limits.memory_bytes_max = memory);
        let seen = see(&bytes, ResultHint::default(), &settings);
        assert_eq!(seen.scratches, scratches, "memory {memory}");
        assert_eq!(seen.bytes("!inner.zip!x"), noise(30_000, 9));
        assert_eq!(seen.problems, []);
    }
    // stored where it stands, it needs none
    let outer = Zip::new().add(&stored("inner.zip", &inner)).finish();
    let settings = settings(|limits| limits.memory_bytes_max = 10);
    let seen = see(&outer, ResultHint::default(), &settings);
    assert_eq!((seen.scratches, seen.paths().len()), (0, 2));
    assert_opens(&outer, ResultHint::default(), &settings, &seen);
}

#[test]
fn a_nested_archive_too_long_for_its_scratch_file_is_cut_and_recovered() {
    let inner = Zip::new()
        .add(&packed("first", SMALL))
        .add(&stored("long", &noise(50_000, 9)))
        .finish();
    let settings = settings(|limits| {
        limits.memory_bytes_max = 1000;
        limits.scratch_bytes_max = 20_000;
    });
    let seen = see(&gzip(Some("i"), &inner), ResultHint::default(), &settings);
    assert_eq!(seen.bytes("!i!first"), SMALL);
    assert!(noise(50_000, 9).starts_with(seen.bytes("!i!long")));
    assert!(seen.has(ProblemKind::LimitReached) && seen.has(ProblemKind::Damaged));
}

#[test]
fn an_archive_that_holds_itself_ends() {
    // each level holds the one before twice
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
    let seen = see(&bytes, ResultHint::default(), &settings);
    assert!(seen.summary.cut);
    assert!(seen.has(ProblemKind::LimitReached));
}

// ---- passwords ---------------------------------------------------------

fn locked(
    password: &str,
    aes: Option<::zip::AesMode>,
    method: ::zip::CompressionMethod,
) -> Vec<u8> {
    use ::zip::unstable::write::FileOptionsExt;
    let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["one", "two"] {
        let options = ::zip::write::SimpleFileOptions::default().compression_method(method);
        let options = match aes {
            Some(mode) => options.with_aes_encryption(mode, password),
            None => options
                .with_deprecated_encryption(password.as_bytes())
                .unwrap(),
        };
        writer.start_file(name, options).unwrap();
        writer.write_all(&text(20_000)).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn locked_members_open_with_a_password_of_the_list() {
    use ::zip::{AesMode, CompressionMethod as Method};
    for aes in [None, Some(AesMode::Aes128), Some(AesMode::Aes256)] {
        for method in [
            Method::Stored,
            Method::Deflated,
            Method::Zstd,
            Method::Bzip2,
        ] {
            let bytes = locked("infected", aes, method);
            let settings = passwords(&["wrong", "", "infected", "other"]);
            let seen = see(&bytes, ResultHint::default(), &settings);
            assert_eq!(seen.bytes("!one"), text(20_000), "{aes:?} {method}");
            assert_eq!(seen.bytes("!two"), text(20_000));
            assert_eq!(seen.problems, [], "{aes:?} {method}");
            assert_opens(&bytes, ResultHint::default(), &settings, &seen);
            let seen = see(&bytes, ResultHint::default(), &passwords(&["a", "b"]));
            assert_eq!(seen.members, []);
            assert_eq!(seen.kinds(), [ProblemKind::Encrypted; 2]);
            assert!(seen.problems[0].1.message.contains("none of 2 passwords"));
            assert_eq!(seen.summary.locked, 2);
            assert_eq!(seen.problems[1].0, "!two");
        }
    }
}

#[test]
fn a_wrong_password_that_passes_the_one_byte_check_opens_nothing() {
    use ::zip::CompressionMethod as Method;
    let wrong: Vec<String> = (0..1200).map(|i| format!("wrong{i}")).collect();
    for method in [Method::Stored, Method::Deflated] {
        let bytes = locked("right", None, method);
        let list: Vec<&str> = wrong.iter().map(String::as_str).chain(["right"]).collect();
        let seen = see(&bytes, ResultHint::default(), &passwords(&list));
        assert_eq!(seen.bytes("!one"), text(20_000));
        assert_eq!(seen.problems, []);
        let without = see(&bytes, ResultHint::default(), &passwords(&list[..1200]));
        assert_eq!(without.members, []);
        assert!(
            without.problems[0]
                .1
                .message
                .contains("passed the first check")
        );
    }
}

#[test]
fn damage_behind_the_right_password_is_damage() {
    use ::zip::{AesMode, CompressionMethod as Method};
    let mut bytes = locked("infected", Some(AesMode::Aes256), Method::Stored);
    bytes[5000] ^= 1;
    let seen = see(&bytes, ResultHint::default(), &TraverseSettings::default());
    assert_eq!(seen.kinds(), [ProblemKind::Damaged]);
    assert_eq!(seen.paths(), ["!one", "!two"]);
}

#[test]
fn a_member_that_only_says_it_is_encrypted_is_read() {
    let mut liar = packed("liar", SMALL);
    liar.flags |= 1;
    let seen = look(&Zip::new().add(&liar).finish());
    assert_eq!(seen.bytes("!liar"), SMALL);
    assert!(seen.has(ProblemKind::Lying));
}

// ---- failures of the world ---------------------------------------------

/// Fails to read beyond a place.
struct Failing {
    inner: Cursor<Vec<u8>>,
    beyond: u64,
}

impl Read for Failing {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.beyond.saturating_sub(self.inner.position());
        if left == 0 && self.inner.position() < self.inner.get_ref().len() as u64 {
            return Err(io::Error::other("the disk is gone"));
        }
        let wanted = buf.len().min(left as usize);
        self.inner.read(&mut buf[..wanted])
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn a_failure_of_the_source_is_an_error_and_never_damage() {
    struct Takes(Seen);
    impl Visitor for Takes {
        fn member(&mut self, _: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
            let _ = bytes.read_to_end(&mut Vec::new());
            ControlFlow::Continue(())
        }
        fn problem(&mut self, layers: &[Layer], problem: Problem) {
            self.0.problem(layers, problem);
        }
    }
    let inner = Zip::new().add(&packed("x", &noise(300_000, 5))).finish();
    let zip = Zip::new()
        .add(&packed("i.zip", &inner))
        .add(&stored("n", &noise(90_000, 8)))
        .finish();
    for bytes in [gzip(Some("g"), &zip), zip, noise(300_000, 1)] {
        for beyond in [0, 10, 600, 70_000, 200_000, bytes.len() as u64 - 1] {
            let mut source = Failing {
                inner: Cursor::new(bytes.clone()),
                beyond,
            };
            let mut takes = Takes(Seen::default());
            let result = traverse(
                &mut source,
                ResultHint::default(),
                &TraverseSettings::default(),
                &mut scratch(Default::default()),
                &mut takes,
            );
            assert!(
                matches!(result, Err(MembersError::Source { .. })),
                "beyond {beyond}: {result:?}"
            );
            assert_eq!(takes.0.problems, [], "beyond {beyond}");
        }
    }
}

#[test]
fn a_scratch_file_that_fails_is_an_error() {
    let inner = Zip::new().add(&stored("x", &noise(30_000, 9))).finish();
    let settings = settings(|limits| limits.memory_bytes_max = 100);
    let result = traverse(
        &mut Cursor::new(gzip(Some("i"), &inner)),
        ResultHint::default(),
        &settings,
        &mut || Err(io::Error::other("no room")),
        &mut Seen::default(),
    );
    let Err(error) = result else {
        panic!("no error")
    };
    assert_eq!(
        error.to_string(),
        "could not use a scratch file for the archive !i"
    );
}

// ---- anything ----------------------------------------------------------

#[test]
fn mutated_archives_never_panic_and_open_as_they_walk() {
    let mut wide = three();
    wide.zip64 = true;
    let mut streamed = packed("s", &text(2000));
    streamed.descriptor = true;
    let inner = three().add(&streamed).finish();
    let originals = [
        inner.clone(),
        wide.finish(),
        gzip(Some("n"), &inner),
        Zip::new()
            .add(&packed("i.zip", &inner))
            .add(&stored("j.zip", &inner))
            .finish(),
        locked("infected", None, ::zip::CompressionMethod::Deflated),
    ];
    let settings = settings(|limits| {
        limits.ratio_floor_bytes = 4 << 20;
        limits.ratio_max = 10;
    });
    let mut dice = noise(60_000, 77).into_iter();
    let mut roll =
        move || usize::from(dice.next().unwrap()) << 8 | usize::from(dice.next().unwrap());
    for round in 0..500 {
        let mut bytes = originals[round % originals.len()].clone();
        for _ in 0..1 + roll() % 6 {
            let at = roll() % bytes.len();
            match roll() % 4 {
                0 => bytes[at] = roll() as u8,
                1 => bytes[at] ^= 1 << (roll() % 8),
                2 => bytes.truncate(at.max(1)),
                _ => bytes[at] = 0xff,
            }
        }
        let seen = see(&bytes, ResultHint::default(), &settings);
        if !seen.summary.cut {
            assert_opens(&bytes, ResultHint::default(), &settings, &seen);
        }
    }
}

#[test]
fn arbitrary_bytes_with_signatures_never_panic() {
    let signatures: [&[u8]; 7] = [
        b"PK\x03\x04",
        b"PK\x01\x02",
        b"PK\x05\x06",
        b"PK\x06\x06",
        b"PK\x06\x07",
        b"PK\x07\x08",
        b"\x1f\x8b\x08",
    ];
    for round in 0..400u64 {
        let mut bytes = noise(600, round + 1);
        for i in 0..6 {
            let at = usize::from(bytes[i]) * 2;
            let signature = signatures[usize::from(bytes[i + 10]) % signatures.len()];
            bytes[at..at + signature.len()].copy_from_slice(signature);
        }
        let start = signatures[round as usize % signatures.len()];
        bytes[..start.len()].copy_from_slice(start);
        if round % 2 == 0 {
            let zeros = bytes.len() - 60;
            bytes[zeros..].fill(0);
        }
        see(&bytes, ResultHint::default(), &TraverseSettings::default());
    }
}

// ---- real archives -----------------------------------------------------

fn real_data() -> Option<PathBuf> {
    let folder = std::env::var_os("AFTERACTION_REAL_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: AFTERACTION_REAL_DATA is not set");
    }
    folder
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Entries of the files on which every tool of the list agreed: path, count.
fn agreed(folder: &Path) -> Vec<(PathBuf, u64)> {
    let list = std::fs::read_to_string(folder.join("README.md")).unwrap();
    list.lines()
        .filter(|line| line.contains("testzip ok; unzip -t 0, 7z t 0, bsdtar -t 0"))
        .filter_map(|line| {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            let count = columns.get(6)?.split_once(" entries")?.0.parse().ok()?;
            Some((folder.join(columns.get(1)?), count))
        })
        .collect()
}

/// What the upstream projects lock their samples with.
const REAL_PASSWORDS: [&str; 9] = [
    "infected",
    "foofoofoo",
    "1234",
    "helloworld",
    "12345678",
    "password",
    "foo",
    "a",
    "crypt",
];

fn real_settings() -> TraverseSettings {
    let mut settings = passwords(&REAL_PASSWORDS);
    settings.limits.ratio_floor_bytes = 64 << 20;
    settings
}

#[test]
fn real_archives_have_the_members_that_all_tools_agree_on() {
    let Some(folder) = real_data() else { return };
    let agreed = agreed(&folder);
    assert!(agreed.len() > 40, "only {} files agreed", agreed.len());
    for (file, count) in agreed {
        let bytes = std::fs::read(&file).unwrap();
        let seen = see(&bytes, ResultHint::default(), &real_settings());
        if seen.containers.len() == 1 {
            assert_eq!(
                seen.summary.members + seen.summary.directories,
                count,
                "{file:?}"
            );
            let bad = seen
                .problems
                .iter()
                .any(|(_, p)| p.kind.hides_text() || p.kind == ProblemKind::ChecksumMismatch);
            assert!(!bad, "{file:?}: {:?}", seen.problems);
        }
    }
}

#[test]
fn every_hostile_archive_is_walked_and_opens_as_it_walked() {
    let Some(folder) = real_data() else { return };
    for file in files_below(&folder.join("hostile_zip")) {
        let bytes = std::fs::read(&file).unwrap();
        let seen = see(&bytes, ResultHint::default(), &real_settings());
        let said = !seen.problems.is_empty();
        let read = seen.summary.members + seen.summary.directories + seen.summary.containers;
        assert!(said || read > 0, "{file:?} gives nothing and no reason");
        if seen.members.len() < 20 && !seen.summary.cut {
            assert_opens(&bytes, ResultHint::default(), &real_settings(), &seen);
        }
    }
}

#[test]
fn real_encrypted_archives_open_with_their_passwords() {
    let Some(folder) = real_data() else { return };
    let folder = folder.join("hostile_zip");
    for (file, member, len) in [
        ("libzip/encrypt-1234.zip", "!sample.txt", 282),
        ("libzip/encrypt-aes128.zip", "!encrypted", 10),
        ("libzip/encrypt-aes192.zip", "!encrypted", 10),
        ("libzip/encrypt-aes256.zip", "!encrypted", 10),
        ("libzip/encrypt.zip", "!encrypted", 4),
        (
            "libarchive/test_read_format_zip_winzip_aes256.zip",
            "!README",
            6818,
        ),
        (
            "libarchive/test_read_format_zip_traditional_encryption_data.zip",
            "!bar.txt",
            495,
        ),
        ("yauzl/traditional-encryption.zip", "!a.txt", 6),
        (
            "yauzl/traditional-encryption-and-compression.zip",
            "!a.bin",
            1000,
        ),
        ("zip2/aes_archive.zip", "!secret_data_256", 26),
    ] {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let seen = see(&bytes, ResultHint::default(), &real_settings());
        assert_eq!(seen.bytes(member).len(), len, "{file}");
        assert!(
            !seen.has(ProblemKind::Encrypted),
            "{file}: {:?}",
            seen.problems
        );
        let locked = see(&bytes, ResultHint::default(), &passwords(&["none of them"]));
        assert!(locked.has(ProblemKind::Encrypted), "{file}");
    }
}
