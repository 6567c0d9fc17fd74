//! Formats of results: transcript documents, gzip and zip. Without clock and
//! random numbers, so equal content gives equal bytes.

use std::io::{self, Cursor, Write};

use flate2::{Compression, GzBuilder};
use serde::Serialize;
use zip::write::SimpleFileOptions;
use zip::{AesSalt, CompressionMethod, DateTime, System, ZipWriter};

use crate::clock::UnixTime;

/// Below the default of 6, because half of the time is spent in deflate and the
/// measured readers hardly depend on it. Levels below 4 were not faster, only
/// larger.
const LEVEL: u32 = 4;

/// Compressed data is stored.
const LEVEL_OF_ARCHIVES: u32 = 0;

/// Result document of a RunScript, with the field order of the service.
#[derive(Serialize)]
pub(crate) struct Transcript<'a> {
    pub script_name: &'a str,
    pub exit_code: i32,
    pub script_output: &'a str,
    pub script_errors: &'a str,
}

impl Transcript<'_> {
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and numbers always serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A file of an archive.
pub(crate) struct Packed<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
    pub modified: UnixTime,
}

/// gzip as GetFile returns it, with the name of the file if there is one.
pub(crate) fn gzip(name: Option<&str>, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let level = if bytes.starts_with(b"PK") {
        LEVEL_OF_ARCHIVES
    } else {
        LEVEL
    };
    let mut header = GzBuilder::new().mtime(0).operating_system(FAT);
    if let Some(name) = name {
        header = header.filename(name);
    }
    let room = Vec::with_capacity(bytes.len() / 3 + 64);
    let mut gzip = header.write(room, Compression::new(level));
    gzip.write_all(bytes)?;
    gzip.finish()
}

/// Code for Windows in the gzip header.
const FAT: u8 = 0;

/// A zip with deflated members.
pub(crate) fn zip(members: &[Packed<'_>]) -> io::Result<Vec<u8>> {
    zip_with(members, |options| options)
}

/// An encrypted zip (AES-256). The salt is fixed, so that the bytes are
/// reproducible; nothing here is secret.
pub(crate) fn locked_zip(members: &[Packed<'_>], password: &str) -> io::Result<Vec<u8>> {
    zip_with(members, |options| {
        let salt = AesSalt::Aes256(*b"afteraction/zip\0");
        options.with_aes_encryption_and_salt(password.as_bytes(), salt)
    })
}

fn zip_with<'a>(
    members: &[Packed<'_>],
    adapt: impl Fn(SimpleFileOptions) -> zip::write::FileOptions<'a, 'static, ()>,
) -> io::Result<Vec<u8>> {
    let room = members.iter().map(|m| m.bytes.len()).sum::<usize>() / 3 + 1024;
    let mut zip = ZipWriter::new(Cursor::new(Vec::with_capacity(room)));
    for member in members {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(i64::from(LEVEL)))
            .system(System::Dos)
            .external_attributes(ARCHIVE_ATTRIBUTE)
            .last_modified_time(dos_time(member.modified));
        zip.start_file(member.name, adapt(options))?;
        zip.write_all(member.bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// The archive attribute of ordinary files on Windows.
const ARCHIVE_ATTRIBUTE: u32 = 0x20;

fn dos_time(moment: UnixTime) -> DateTime {
    let t = moment.civil();
    DateTime::from_date_and_time(
        t.year() as u16,
        t.month() as u8,
        t.day() as u8,
        t.hour() as u8,
        t.minute() as u8,
        t.second() as u8 & !1,
    )
    .unwrap_or_default()
}

/// UTF-16LE with a byte order mark, as `>` writes it in Windows PowerShell.
pub(crate) fn utf16(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * text.len() + 2);
    bytes.extend_from_slice(&[0xff, 0xfe]);
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    bytes
}
