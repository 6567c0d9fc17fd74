//! What is known of a member besides its labels, and where its name comes
//! from.

use crate::gzip;
use crate::zip::ZipEntry;
use crate::{Member, Modified};
use evidence::Layer;

/// The file name in a Content-Disposition header, or the header's text where
/// it is only that.
pub(crate) fn file_name(header: &str) -> String {
    let lower = header.to_ascii_lowercase();
    let value = match lower.find("filename") {
        Some(at) if header[at..].contains('=') => {
            let value = header[at..].split_once('=').map_or("", |(_, value)| value);
            let value = value.split(';').next().unwrap_or_default();
            value.rsplit_once("''").map_or(value, |(_, value)| value)
        }
        _ => header,
    };
    percent_decoded(value.trim().trim_matches('"'))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|e| gzip::latin1(e.as_bytes()))
}

/// What a container says of a member, apart from its labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemberFacts {
    pub raw_name: Vec<u8>,
    pub name: String,
    pub size_declared: Option<u64>,
    pub modified: Option<Modified>,
    pub encrypted: bool,
    pub symlink: bool,
}

impl MemberFacts {
    pub fn of_entry(entry: &ZipEntry, name: String) -> Self {
        Self {
            raw_name: entry.raw_name.clone(),
            name,
            size_declared: entry.size(),
            modified: entry.modified(),
            encrypted: entry.is_encrypted(),
            symlink: entry.is_symlink(),
        }
    }

    pub fn member<'a>(&'a self, layers: &'a [Layer]) -> Member<'a> {
        Member {
            layers,
            raw_name: &self.raw_name,
            name: &self.name,
            size_declared: self.size_declared,
            modified: self.modified,
            encrypted: self.encrypted,
            symlink: self.symlink,
        }
    }
}
