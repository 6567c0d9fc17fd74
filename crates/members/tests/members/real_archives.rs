//! Archives of other projects (set AFTERACTION_REAL_DATA).

use crate::*;

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

/// Path and entry count of the files that all tools in the list read without
/// an error.
fn undisputed(folder: &Path) -> Vec<(PathBuf, u64)> {
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

/// Passwords of the samples.
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
    let mut settings = with_passwords(&REAL_PASSWORDS);
    settings.limits.ratio_floor_bytes = 64 << 20;
    settings
}

#[test]
fn real_archives_have_the_entry_count_of_other_tools() {
    let Some(folder) = real_data() else { return };
    let files = undisputed(&folder);
    assert!(files.len() > 40, "only {} files", files.len());
    for (file, count) in files {
        let bytes = std::fs::read(&file).unwrap();
        let recording = record_with(&bytes, ResultHint::default(), &real_settings());
        if recording.containers.len() == 1 {
            assert_eq!(
                recording.summary.members + recording.summary.directories,
                count,
                "{file:?}"
            );
            let bad = recording
                .problems
                .iter()
                .any(|(_, p)| p.kind.hides_text() || p.kind == ProblemKind::ChecksumMismatch);
            assert!(!bad, "{file:?}: {:?}", recording.problems);
        }
    }
}

#[test]
fn every_hostile_archive_yields_members_or_a_problem() {
    let Some(folder) = real_data() else { return };
    for file in files_below(&folder.join("hostile_zip")) {
        let bytes = std::fs::read(&file).unwrap();
        let recording = record_with(&bytes, ResultHint::default(), &real_settings());
        let entries = recording.summary.members
            + recording.summary.directories
            + recording.summary.containers;
        assert!(
            entries > 0 || !recording.problems.is_empty(),
            "{file:?} yields nothing"
        );
        if recording.members.len() < 20 && !recording.summary.cut {
            assert_opens(&bytes, ResultHint::default(), &real_settings(), &recording);
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
        let recording = record_with(&bytes, ResultHint::default(), &real_settings());
        assert_eq!(recording.bytes(member).len(), len, "{file}");
        assert!(
            !recording.has(ProblemKind::Encrypted),
            "{file}: {:?}",
            recording.problems
        );
        let locked = record_with(
            &bytes,
            ResultHint::default(),
            &with_passwords(&["none of them"]),
        );
        assert!(locked.has(ProblemKind::Encrypted), "{file}");
    }
}
