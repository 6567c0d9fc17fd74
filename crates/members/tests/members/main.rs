//! Tests of the public interface, on archives built here and on real ones.

mod directories;
mod failures;
mod formats;
mod labels;
mod limits;
mod passwords;
mod real_archives;
mod recording;
mod robustness;
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
use recording::{
    Recording, assert_opens, assert_opens_by_default, open_at, path, record, record_with, scratch,
};
use zips::{Part, Zip, gzip, packed, stored};

const SMALL: &[u8] = b"small content of a member\r\n";

fn settings(change: impl FnOnce(&mut TraverseLimits)) -> TraverseSettings {
    let mut settings = TraverseSettings::default();
    change(&mut settings.limits);
    settings
}

fn with_passwords(list: &[&str]) -> TraverseSettings {
    TraverseSettings {
        passwords: list.iter().map(|p| p.to_string()).collect(),
        ..TraverseSettings::default()
    }
}

/// Pseudo-random bytes, which do not compress.
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

/// Repeated lines of a log.
fn text(len: usize) -> Vec<u8> {
    let line = b"2026-02-04 15:36:52 svchost.exe started by services.exe, pid 4711\r\n";
    line.iter().copied().cycle().take(len).collect()
}

/// An archive of `a` (3000 bytes, compressed), `b` (stored) and `c`.
fn three_members() -> Zip {
    Zip::new()
        .add(&packed("a", &text(3000)))
        .add(&stored("b", SMALL))
        .add(&packed("c", b"third"))
}

/// An archive of two encrypted members, `one` and `two`.
fn encrypted_zip(
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
