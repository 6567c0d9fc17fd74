//! Encrypted members.

use crate::*;

#[test]
fn encrypted_members_open_with_a_password_of_the_list() {
    use ::zip::{AesMode, CompressionMethod as Method};
    for aes in [None, Some(AesMode::Aes128), Some(AesMode::Aes256)] {
        for method in [
            Method::Stored,
            Method::Deflated,
            Method::Zstd,
            Method::Bzip2,
        ] {
            let bytes = encrypted_zip("infected", aes, method);
            let settings = with_passwords(&["wrong", "", "infected", "other"]);
            let recording = record_with(&bytes, ResultHint::default(), &settings);
            assert_eq!(recording.bytes("!one"), text(20_000), "{aes:?} {method}");
            assert_eq!(recording.bytes("!two"), text(20_000));
            assert_eq!(recording.problems, [], "{aes:?} {method}");
            assert_opens(&bytes, ResultHint::default(), &settings, &recording);
            let recording =
                record_with(&bytes, ResultHint::default(), &with_passwords(&["a", "b"]));
            assert_eq!(recording.members, []);
            assert_eq!(recording.kinds(), [ProblemKind::Encrypted; 2]);
            assert!(recording.message().contains("none of 2 passwords"));
            assert_eq!(recording.summary.locked, 2);
            assert_eq!(recording.problems[1].0, "!two");
        }
    }
}

#[test]
fn wrong_password_that_passes_the_header_check_is_rejected() {
    use ::zip::CompressionMethod as Method;
    let wrong: Vec<String> = (0..1200).map(|i| format!("wrong{i}")).collect();
    for method in [Method::Stored, Method::Deflated] {
        let bytes = encrypted_zip("right", None, method);
        let list: Vec<&str> = wrong.iter().map(String::as_str).chain(["right"]).collect();
        let recording = record_with(&bytes, ResultHint::default(), &with_passwords(&list));
        assert_eq!(recording.bytes("!one"), text(20_000));
        assert_eq!(recording.problems, []);
        let without = record_with(
            &bytes,
            ResultHint::default(),
            &with_passwords(&list[..1200]),
        );
        assert_eq!(without.members, []);
        assert!(
            without.problems[0]
                .1
                .message
                .contains("passed the header check")
        );
    }
}

#[test]
fn damage_after_the_right_password_is_reported_as_damage() {
    use ::zip::{AesMode, CompressionMethod as Method};
    let mut bytes = encrypted_zip("infected", Some(AesMode::Aes256), Method::Stored);
    bytes[5000] ^= 1;
    let recording = record_with(&bytes, ResultHint::default(), &TraverseSettings::default());
    assert_eq!(recording.kinds(), [ProblemKind::Damaged]);
    assert_eq!(recording.paths(), ["!one", "!two"]);
}

#[test]
fn member_with_a_wrong_encryption_flag_is_read() {
    let mut unencrypted = packed("unencrypted", SMALL);
    unencrypted.flags |= 1;
    let recording = record(&Zip::new().add(&unencrypted).finish());
    assert_eq!(recording.bytes("!unencrypted"), SMALL);
    assert!(recording.has(ProblemKind::Lying));
}
