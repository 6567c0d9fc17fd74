//! Compression methods of zip, and gzip streams.

use crate::*;

/// An archive written by the `zip` crate.
fn zip_crate_archive(method: ::zip::CompressionMethod, bytes: &[u8]) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = ::zip::write::SimpleFileOptions::default().compression_method(method);
    writer.start_file("a.log", options).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap().into_inner()
}

#[test]
fn every_supported_method_decompresses() {
    use ::zip::CompressionMethod as Method;
    let content = [text(300_000), noise(50_000, 7)].concat();
    for method in [Method::Stored, Method::Bzip2, Method::Zstd, Method::Xz] {
        let zip = zip_crate_archive(method, &content);
        let recording = record(&zip);
        assert!(recording.bytes("!a.log") == content, "{method}");
        assert_eq!(recording.problems, [], "{method}");
    }
    // A deflate stream of stored blocks is also a deflate64 stream.
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
    let recording = record(&zip);
    assert!(recording.bytes("!a.log") == content && recording.bytes("!b.log") == content);
    assert_eq!(recording.problems, []);
}

#[test]
fn unsupported_method_is_reported_and_other_members_are_read() {
    let odd = Part {
        method: 98,
        ..stored("odd", SMALL)
    };
    let recording = record(&Zip::new().add(&odd).add(&packed("b", SMALL)).finish());
    assert_eq!(recording.paths(), ["!b"]);
    assert_eq!(recording.problems[0].0, "!odd");
    assert_eq!(recording.kinds(), [ProblemKind::Unsupported]);
    assert!(recording.message().contains("PPMd"));
}

#[test]
fn lzma_dictionary_above_the_limit_is_rejected_before_allocation() {
    let mut data = vec![9, 20, 5, 0, 0x5d];
    data.extend_from_slice(&0xf000_0000u32.to_le_bytes());
    data.extend_from_slice(&[0; 64]);
    let bomb = Part {
        method: 14,
        size: 0xf000_0000,
        data,
        ..stored("bomb", b"")
    };
    let recording = record(&Zip::new().add(&bomb).finish());
    assert_eq!(recording.members, []);
    assert!(
        recording.message().contains("dictionary"),
        "{:?}",
        recording.problems
    );
}

#[test]
fn concatenated_gzip_members_are_one_content() {
    let bytes = [
        gzip(Some("a"), b"one "),
        gzip(Some("b"), b"two "),
        gzip(None, b"three"),
    ]
    .concat();
    let recording = record(&bytes);
    assert_eq!(recording.bytes("!a"), b"one two three");
    assert_eq!(recording.problems, []);
    let padded = [&bytes[..], &[0; 700]].concat();
    assert_eq!(record(&padded).problems, []);
}

#[test]
fn bytes_after_a_gzip_are_reported() {
    for tail in [&b"garbage"[..], b"\x1f\x8bX garbage", b"\0\0\0garbage"] {
        let recording = record(&[&gzip(Some("a"), SMALL), tail].concat());
        assert_eq!(recording.bytes("!a"), SMALL);
        assert_eq!(recording.kinds(), [ProblemKind::Damaged], "{tail:?}");
    }
}

#[test]
fn wrong_checksum_or_length_of_a_gzip_is_reported() {
    let mut bytes = gzip(Some("a"), SMALL);
    let crc = bytes.len() - 8;
    bytes[crc] ^= 1;
    assert_eq!(record(&bytes).kinds(), [ProblemKind::ChecksumMismatch]);
    bytes[crc] ^= 1;
    bytes[crc + 4] ^= 1;
    let recording = record(&bytes);
    assert_eq!(recording.kinds(), [ProblemKind::Lying]);
    assert_eq!(recording.bytes("!a"), SMALL);
}

#[test]
fn truncated_gzip_keeps_the_content_before_the_cut() {
    let content = text(40_000);
    let whole = gzip(Some("a"), &content);
    let mut before = 0;
    for cut in 13..whole.len() {
        let recording = record(&whole[..cut]);
        let got = recording.bytes("!a");
        assert!(content.starts_with(got));
        assert!(got.len() >= before, "cut at {cut}");
        before = got.len();
        assert_eq!(recording.kinds(), [ProblemKind::Damaged], "cut at {cut}");
    }
    assert_eq!(before, content.len());
}

#[test]
fn data_that_only_starts_like_a_container_is_read_as_a_file() {
    for bytes in [
        &b"\x1f\x8b\x08\x00\0\0\0\0\0\0\xff\xff\xff\xff not deflate"[..],
        b"PK\x03\x04 but no archive at all, just text",
        b"PK",
        b"\x1f",
    ] {
        let recording = record(bytes);
        assert_eq!(recording.bytes(""), bytes);
        assert_opens_by_default(bytes, &recording);
    }
}
