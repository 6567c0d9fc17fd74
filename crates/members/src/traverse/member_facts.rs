//! The description of a member without its labels, and the name of the result.

use percent_encoding::percent_decode_str;

use crate::gzip;
use crate::zip::ZipEntry;
use crate::{Member, Modified};
use evidence::Layer;

/// The file name in a Content-Disposition header. A header that has no
/// `filename` parameter is the name.
pub(crate) fn file_name(header: &str) -> String {
    let name = file_name_parameter(header).unwrap_or(header);
    let bytes: Vec<u8> = percent_decode_str(name.trim().trim_matches('"')).collect();
    String::from_utf8(bytes).unwrap_or_else(|e| gzip::latin1(e.as_bytes()))
}

/// The value of `filename=` or `filename*=`, without a charset (`UTF-8''`).
fn file_name_parameter(header: &str) -> Option<&str> {
    let at = header.to_ascii_lowercase().find("filename")?;
    let (_, after) = header[at..].split_once('=')?;
    let value = after.split(';').next()?;
    Some(value.rsplit_once("''").map_or(value, |(_, name)| name))
}

/// A member as its container describes it, without the labels.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_read_from_content_disposition() {
        for (header, name) in [
            ("plain.log", "plain.log"),
            ("attachment; filename=\"a b.zip\"; size=3", "a b.zip"),
            ("attachment; filename*=UTF-8''a%C3%BC.log", "aü.log"),
            ("attachment; FILENAME=Case%207.zip", "Case 7.zip"),
            ("100%.txt", "100%.txt"),
            ("%fc.txt", "ü.txt"),
        ] {
            assert_eq!(file_name(header), name);
        }
    }
}
