//! The zip format, as far as it is needed to find members: directory, local
//! headers and names, and the contradictions between them. `crate::decode`
//! decodes the members.
//!
//! **Source**: PKWARE APPNOTE 6.3.10 and the Info-ZIP extra fields. The
//! directory is not read with the `zip` crate's archive type, which has one
//! entry per name: repeated names would be lost.

mod directory;
mod entry;
mod local_headers;
mod name;

pub(crate) use crate::zip::directory::{ProblemBudget, ZipDirectory, ZipMemberRef, find_appended};
pub(crate) use crate::zip::entry::{AesParameters, LocalHeader, ZipEntry, read_local};

pub(crate) const LOCAL: [u8; 4] = *b"PK\x03\x04";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const END64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR64: [u8; 4] = *b"PK\x06\x07";
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
const DIGITAL_SIGNATURE: [u8; 4] = *b"PK\x05\x05";

/// Whether `head` is the start of an archive: a member, an end record, or the
/// signature of a spanned archive before the first member.
pub(crate) fn is_zip(head: &[u8]) -> bool {
    head.starts_with(&LOCAL)
        || head.starts_with(&END)
        || head.starts_with(b"PK\x07\x08PK\x03\x04")
        || head.starts_with(b"PK00PK\x03\x04")
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
