//! Zip archives whose headers are unusual, wrong or missing.

use crate::*;

#[test]
fn zip64_descriptors_comments_and_leading_data_are_read() {
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
        let recording = record(&bytes);
        assert_eq!(recording.paths(), ["!streamed", "!b"]);
        assert_eq!(recording.bytes("!streamed"), text(3000));
        assert_eq!(recording.problems, []);
    }
}

#[test]
fn archive_appended_to_other_data_is_found_and_both_are_read() {
    let mut wide = three_members();
    wide.zip64 = true;
    for zip in [three_members().finish(), wide.finish()] {
        let bytes = [&b"MZ this is a self-extractor"[..], &zip].concat();
        let recording = record(&bytes);
        assert_eq!(recording.paths(), ["", "!a", "!b", "!c"]);
        assert_eq!(recording.bytes(""), bytes);
        assert_eq!(recording.bytes("!b"), SMALL);
        assert_eq!(recording.kinds(), [ProblemKind::Lying]);
        assert_opens_by_default(&bytes, &recording);
    }
}

#[test]
fn wrong_member_count_is_reported_and_all_members_are_read() {
    for stated in [0, 2, 4, 60_000] {
        let recording = record(&three_members().finish_saying(stated));
        assert_eq!(recording.paths(), ["!a", "!b", "!c"], "stated {stated}");
        assert!(!recording.problems.is_empty(), "stated {stated}");
    }
}

#[test]
fn truncated_archive_yields_the_members_before_the_cut() {
    let whole = three_members().finish();
    let second = memchr::memmem::rfind(&whole, b"PK\x01\x02").unwrap();
    for cut in 60..whole.len() {
        let recording = record(&whole[..cut]);
        assert!(!recording.problems.is_empty(), "cut at {cut}");
        assert!(!recording.members.is_empty(), "cut at {cut}");
        if cut >= second {
            assert_eq!(recording.bytes("!a"), text(3000), "cut at {cut}");
            assert_eq!(recording.bytes("!b"), SMALL);
            assert_eq!(recording.bytes("!c"), b"third");
        }
        assert_opens_by_default(&whole[..cut], &recording);
    }
}

#[test]
fn members_are_recovered_after_a_wrong_size() {
    let mut wrong_size = packed("wrong_size", &text(2000));
    let data = wrong_size.data.clone();
    wrong_size.data = noise(4, 1);
    let mut bytes = Zip::new().add(&wrong_size).finish();
    // The header states four bytes, the stream is longer, and there is no
    // directory.
    let end = memchr::memmem::find(&bytes, b"PK\x01\x02").unwrap();
    bytes.truncate(end - 4);
    bytes.extend_from_slice(&data);
    let tail = Zip::new().add(&packed("after", SMALL)).finish();
    let end = memchr::memmem::find(&tail, b"PK\x01\x02").unwrap();
    bytes.extend_from_slice(&tail[..end]);
    let recording = record(&bytes);
    assert_eq!(recording.bytes("!wrong_size"), text(2000));
    assert_eq!(recording.bytes("!after"), SMALL);
}

#[test]
fn streamed_members_are_recovered_without_a_directory() {
    let mut first = packed("first", &text(9000));
    first.descriptor = true;
    let mut second = packed("second", &noise(9000, 3));
    second.descriptor = true;
    let bytes = Zip::new().add(&first).add(&second).finish();
    let end = memchr::memmem::find(&bytes, b"PK\x01\x02").unwrap();
    let recording = record(&bytes[..end]);
    assert_eq!(recording.bytes("!first"), text(9000));
    assert_eq!(recording.bytes("!second"), noise(9000, 3));
    assert_eq!(
        recording.kinds(),
        [ProblemKind::Damaged, ProblemKind::Repaired]
    );
}

#[test]
fn member_with_a_wrong_offset_is_recovered() {
    let part = packed("lost", SMALL);
    let bytes = Zip::new().add(&stored("a", SMALL)).junk(b"").add(&part);
    let mut bytes = bytes.finish();
    let last = memchr::memmem::rfind(&bytes, b"PK\x01\x02").unwrap();
    bytes[last + 42..last + 46].copy_from_slice(&0x00ff_ffffu32.to_le_bytes());
    let recording = record(&bytes);
    assert_eq!(recording.bytes("!a"), SMALL);
    assert!(
        recording
            .members
            .iter()
            .any(|(layers, b)| path(layers).starts_with("!#") && b == SMALL)
    );
    assert_opens_by_default(&bytes, &recording);
}

#[test]
fn contradicting_headers_are_reported_and_the_content_is_read() {
    let mut two_names = packed("shown", SMALL);
    two_names.central_name = Some(b"hidden".to_vec());
    let bytes = Zip::new().add(&two_names).finish();
    let recording = record(&bytes);
    assert_eq!(recording.paths(), ["!hidden"]);
    assert_eq!(recording.bytes("!hidden"), SMALL);
    assert_eq!(recording.kinds(), [ProblemKind::Lying]);
    let mut wrong = packed("a", SMALL);
    wrong.crc ^= 1;
    wrong.size += 5;
    let recording = record(&Zip::new().add(&wrong).add(&stored("b", SMALL)).finish());
    assert_eq!(recording.bytes("!a"), SMALL);
    assert_eq!(
        recording.kinds(),
        [ProblemKind::Lying, ProblemKind::ChecksumMismatch]
    );
    assert_eq!(recording.bytes("!b"), SMALL);
}

#[test]
fn overlapping_members_are_reported_and_count_against_the_limit() {
    // An overlap bomb: one kernel, many directory entries.
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
    let recording = record_with(&bytes, ResultHint::default(), &settings);
    assert!(recording.has(ProblemKind::Lying));
    assert_eq!(recording.kinds().last(), Some(&ProblemKind::LimitReached));
    assert!(recording.summary.cut);
    assert_eq!(recording.summary.inflated_bytes, 10 << 20);
}

#[test]
fn traversal_ends_when_the_same_bytes_are_read_too_often() {
    // The directory says stored, the local header deflated. To decide which
    // is right, all bytes are read although little is decompressed.
    let mut valid = packed("valid", SMALL);
    valid.data.extend(noise(1 << 20, 5));
    let mut wrong = valid.clone();
    wrong.method = 0;
    let mut zip = Zip::new().add(&valid);
    for _ in 0..60 {
        zip = zip.list(&wrong, 0);
    }
    let bytes = zip.add(&stored("last", SMALL)).finish();
    let recording = record(&bytes);
    assert_eq!(recording.members.len(), 62);
    assert!(!recording.summary.cut);
    let settings = settings(|limits| {
        limits.ratio_floor_bytes = 5 << 20;
        limits.ratio_max = 2;
    });
    let recording = record_with(&bytes, ResultHint::default(), &settings);
    assert!(
        (20..60).contains(&recording.members.len()),
        "{}",
        recording.members.len()
    );
    assert!(recording.summary.cut && recording.summary.inflated_bytes < 1 << 20);
    let (_, last) = recording.problems.last().unwrap();
    assert_eq!(last.kind, ProblemKind::LimitReached);
    assert!(last.message.contains("too often"), "{last:?}");
}
