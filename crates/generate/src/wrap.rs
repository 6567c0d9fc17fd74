//! The wrappings results come in: transcript documents, gzip, zip. All of
//! them without clock or chance, so that the same content is the same bytes.

use std::io::{self, Cursor, Write};

use flate2::{Compression, GzBuilder};
use serde::Serialize;
use zip::write::SimpleFileOptions;
use zip::{AesSalt, CompressionMethod, DateTime, System, ZipWriter};

use crate::clock::Moment;

/// Half of the time goes into deflate, so a level below the usual 6: what is
/// measured with these files is reading, which hardly cares. Levels below 4
/// were no faster, only larger.
const LEVEL: u32 = 4;

/// What is compressed already is stored, as a better deflate would decide.
const LEVEL_OF_ARCHIVES: u32 = 0;

/// A RunScript's result document, fields in the order the service writes.
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

/// One file for an archive.
pub(crate) struct Packed<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
    pub modified: Moment,
}

/// gzip as GetFile brings it: the file's name within, where there is one.
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

/// The gzip header's word for Windows.
const FAT: u8 = 0;

/// A zip of deflated members.
pub(crate) fn zip(members: &[Packed<'_>]) -> io::Result<Vec<u8>> {
    zip_with(members, |options| options)
}

/// The same under a password (AES-256). The salt is fixed: nothing is secret
/// here, and the bytes must not change from run to run.
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

/// The attribute Windows gives to every ordinary file.
const ARCHIVE_ATTRIBUTE: u32 = 0x20;

fn dos_time(moment: Moment) -> DateTime {
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

/// UTF-16LE with its mark, as `>` in Windows PowerShell writes a file.
pub(crate) fn utf16(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * text.len() + 2);
    bytes.extend_from_slice(&[0xff, 0xfe]);
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    bytes
}
