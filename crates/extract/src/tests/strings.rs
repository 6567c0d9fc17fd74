//! Strings of binary data.

use crate::tests::*;

/// Bytes that are not text and contain no strings.
pub(crate) fn binary() -> Vec<u8> {
    let mut bytes = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff".to_vec();
    bytes.extend((0..600u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 & 0x9f | 0x80));
    bytes
}

#[test]
fn binary_data_yields_ascii_and_utf16_strings() {
    let mut bytes = binary();
    bytes.extend_from_slice(b"\x01!This program cannot be run\0abc\xff\xff");
    bytes.extend_from_slice(&utf16("CompanyName\0Größe Служба\0ab\0", false));
    bytes.push(0xff);
    bytes.extend_from_slice(&utf16("odd offset", false));
    let recording = file(&bytes);
    let lines: Vec<&str> = recording.whole().lines().collect();
    assert_eq!(
        lines,
        [
            "!This program cannot be run",
            "CompanyName",
            "Größe Служба",
            "odd offset"
        ]
    );
    assert_eq!(recording.documents[0].head.form, TextForm::Strings);
    assert_eq!(recording.problems, []);
}

#[test]
fn string_longer_than_the_window_is_one_line() {
    let mut bytes = binary();
    bytes.extend(std::iter::repeat_n(b'A', 200_000));
    bytes.push(0);
    bytes.extend_from_slice(&utf16(&"B".repeat(100_000), false));
    let recording = file(&bytes);
    let lengths: Vec<usize> = recording.whole().lines().map(str::len).collect();
    assert_eq!(lengths, [200_000, 100_000]);
}

#[test]
fn nuls_yield_no_strings() {
    let recording = file(&[0; 300_000]);
    assert_eq!(recording.whole(), "");
    assert_eq!(recording.documents[0].head.form, TextForm::Strings);
}
