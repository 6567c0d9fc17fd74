//! One member, as the directory and its local header describe it.

use std::io;

use crate::source::{TraverseContext, read_at};
use crate::zip::{CENTRAL, LOCAL, name, u16_at, u32_at, u64_at};
use crate::{Modified, ReadSeek};

pub(crate) const CENTRAL_BYTES: usize = 46;
pub(crate) const LOCAL_BYTES: usize = 30;

const ENCRYPTED: u16 = 1;
const DESCRIPTOR_FOLLOWS: u16 = 1 << 3;
const STRONG: u16 = 1 << 6;
/// The content of a 32-bit field if its value is in the Zip64 field.
const IN_ZIP64: u32 = u32::MAX;

/// The description of a member. Offsets count from the start of the source.
#[derive(Clone, Debug, Default)]
pub(crate) struct ZipEntry {
    pub raw_name: Vec<u8>,
    pub flags: u16,
    pub method: u16,
    pub time: u16,
    pub date: u16,
    pub crc: u32,
    pub compressed: u64,
    pub inflated: u64,
    pub header_at: u64,
    pub external: u32,
    pub made_by: u16,
    extra: ExtraFields,
    /// The entry was made from a local header. The sizes may be unknown.
    pub recovered: bool,
}

/// WinZip AES encryption, from its extra field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AesParameters {
    /// Version 2 has no CRC.
    pub version: u16,
    /// 1 to 3: 128, 192, 256 bits.
    pub strength: u8,
    /// Compression method of the decrypted data.
    pub method: u16,
}

#[derive(Clone, Debug, Default)]
struct ExtraFields {
    zip64: Option<Vec<u8>>,
    unicode_name: Option<(u32, String)>,
    aes: Option<AesParameters>,
    mtime: Option<i64>,
}

impl ExtraFields {
    /// Reads fields until one does not fit; a damaged rest is ignored.
    fn read(mut bytes: &[u8]) -> Self {
        let mut extra = Self::default();
        while let (Some(id), Some(len)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
            let Some(field) = bytes.get(4..4 + usize::from(len)) else {
                break;
            };
            extra.read_field(id, field);
            bytes = bytes.get(4 + field.len()..).unwrap_or_default();
        }
        extra
    }

    fn read_field(&mut self, id: u16, field: &[u8]) {
        match id {
            0x0001 => self.zip64 = Some(field.to_vec()),
            0x7075 => {
                self.unicode_name = u32_at(field, 1).and_then(|crc| {
                    let text = String::from_utf8(field.get(5..)?.to_vec()).ok()?;
                    (field.first() == Some(&1)).then_some((crc, text))
                });
            }
            0x9901 => {
                self.aes = (|| {
                    Some(AesParameters {
                        version: u16_at(field, 0)?,
                        strength: *field.get(4)?,
                        method: u16_at(field, 5)?,
                    })
                })();
            }
            0x5455 if field.first().is_some_and(|flags| flags & 1 != 0) => {
                self.mtime = u32_at(field, 1).map(|t| i64::from(t as i32));
            }
            // NTFS: units of 100 ns since 1601, modification time first.
            0x000a if self.mtime.is_none() && u16_at(field, 4) == Some(1) => {
                self.mtime = u64_at(field, 8)
                    .and_then(|t| i64::try_from(t / 10_000_000).ok())
                    .map(|t| t - 11_644_473_600);
            }
            _ => {}
        }
    }

    /// Replaces the values that do not fit in 32 bits with those of the Zip64
    /// field, which contains them in this order.
    fn apply_zip64(&self, values: [&mut u64; 3]) {
        let Some(zip64) = &self.zip64 else { return };
        let mut at = 0;
        for value in values {
            if *value == u64::from(IN_ZIP64)
                && let Some(wide) = u64_at(zip64, at)
            {
                *value = wide;
                at += 8;
            }
        }
    }
}

impl ZipEntry {
    /// Parses a directory entry; returns it with its length.
    pub fn from_central(bytes: &[u8]) -> Option<(Self, usize)> {
        if !bytes.starts_with(&CENTRAL) {
            return None;
        }
        let [name_len, extra_len, comment_len] =
            [u16_at(bytes, 28)?, u16_at(bytes, 30)?, u16_at(bytes, 32)?].map(usize::from);
        let raw_name = bytes.get(CENTRAL_BYTES..CENTRAL_BYTES + name_len)?;
        let extra_at = CENTRAL_BYTES + name_len;
        let extra = ExtraFields::read(bytes.get(extra_at..extra_at + extra_len)?);
        let mut entry = Self {
            raw_name: raw_name.to_vec(),
            made_by: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 8)?,
            method: u16_at(bytes, 10)?,
            time: u16_at(bytes, 12)?,
            date: u16_at(bytes, 14)?,
            crc: u32_at(bytes, 16)?,
            compressed: u64::from(u32_at(bytes, 20)?),
            inflated: u64::from(u32_at(bytes, 24)?),
            external: u32_at(bytes, 38)?,
            header_at: u64::from(u32_at(bytes, 42)?),
            extra,
            recovered: false,
        };
        entry.extra.apply_zip64([
            &mut entry.inflated,
            &mut entry.compressed,
            &mut entry.header_at,
        ]);
        Some((entry, extra_at + extra_len + comment_len))
    }

    /// Parses the local header at `header_at`; returns the entry and the length
    /// of the header.
    pub fn from_local(bytes: &[u8], header_at: u64) -> Option<(Self, usize)> {
        let [name_len, extra_len] = [u16_at(bytes, 26)?, u16_at(bytes, 28)?].map(usize::from);
        let raw_name = bytes.get(LOCAL_BYTES..LOCAL_BYTES + name_len)?;
        let extra_at = LOCAL_BYTES + name_len;
        let extra = ExtraFields::read(
            bytes
                .get(extra_at..)
                .map(|b| &b[..b.len().min(extra_len)])?,
        );
        let mut entry = Self {
            raw_name: raw_name.to_vec(),
            flags: u16_at(bytes, 6)?,
            method: u16_at(bytes, 8)?,
            time: u16_at(bytes, 10)?,
            date: u16_at(bytes, 12)?,
            crc: u32_at(bytes, 14)?,
            compressed: u64::from(u32_at(bytes, 18)?),
            inflated: u64::from(u32_at(bytes, 22)?),
            header_at,
            extra,
            recovered: true,
            ..Self::default()
        };
        entry
            .extra
            .apply_zip64([&mut entry.inflated, &mut entry.compressed, &mut 0]);
        Some((entry, extra_at + extra_len))
    }

    /// The decoded name: the Info-ZIP Unicode name if its CRC is that of the
    /// raw name, otherwise the raw name.
    pub fn name(&self) -> String {
        match &self.extra.unicode_name {
            Some((crc, text)) if *crc == crc32fast::hash(&self.raw_name) => text.clone(),
            _ => name::decode(&self.raw_name),
        }
    }

    pub fn is_directory(&self) -> bool {
        let ends_in_separator = self.raw_name.ends_with(b"/") || self.raw_name.ends_with(b"\\");
        let has_dos_attribute = self.external & 0x10 != 0;
        self.inflated == 0 && (ends_in_separator || has_dos_attribute) && !self.is_encrypted()
    }

    pub fn is_symlink(&self) -> bool {
        let from_unix = matches!(self.made_by >> 8, 3 | 19);
        from_unix && (self.external >> 16) & 0o170_000 == 0o120_000
    }

    /// The same member with another compression method.
    pub fn with_method(&self, method: u16) -> Self {
        Self {
            method,
            ..self.clone()
        }
    }

    /// The same member without the encryption flag.
    pub fn unencrypted(&self) -> Self {
        Self {
            flags: self.flags & !ENCRYPTED,
            ..self.clone()
        }
    }

    pub fn is_encrypted(&self) -> bool {
        self.flags & ENCRYPTED != 0
    }

    pub fn is_strongly_encrypted(&self) -> bool {
        self.flags & STRONG != 0
    }

    /// Whether sizes and CRC can be in a descriptor after the data.
    pub fn has_descriptor(&self) -> bool {
        self.flags & DESCRIPTOR_FOLLOWS != 0
    }

    /// Whether LZMA data has an end mark.
    pub fn has_end_mark(&self) -> bool {
        self.flags & 2 != 0
    }

    pub fn aes(&self) -> Option<AesParameters> {
        self.extra.aes.filter(|_| self.method == 99)
    }

    /// The compression method of the decrypted data.
    pub fn inner_method(&self) -> u16 {
        self.aes().map_or(self.method, |aes| aes.method)
    }

    /// The CRC of the content; `None` if it is not recorded.
    pub fn crc(&self) -> Option<u32> {
        let is_omitted = self.aes().is_some_and(|aes| aes.version == 2);
        let is_unknown = self.recovered && self.has_descriptor() && self.crc == 0;
        (!is_omitted && !is_unknown).then_some(self.crc)
    }

    /// The size of the content; `None` if it is not recorded.
    pub fn size(&self) -> Option<u64> {
        let is_unknown = self.recovered && self.has_descriptor() && self.inflated == 0;
        (!is_unknown).then_some(self.inflated)
    }

    pub fn modified(&self) -> Option<Modified> {
        if let Some(seconds) = self.extra.mtime {
            return Some(Modified::Unix(seconds));
        }
        let (date, time) = (self.date, self.time);
        (date != 0).then_some(Modified::Local {
            year: 1980 + (date >> 9),
            month: (date >> 5 & 15) as u8,
            day: (date & 31) as u8,
            hour: (time >> 11) as u8,
            minute: (time >> 5 & 63) as u8,
            second: ((time & 31) * 2) as u8,
        })
    }

    /// Lower bound of the member's end, computed from the directory entry.
    pub fn end_at_least(&self) -> u64 {
        self.header_at
            .saturating_add((LOCAL_BYTES + self.raw_name.len()) as u64)
            .saturating_add(self.compressed)
    }
}

/// The parts of a local header that the directory does not have or that differ
/// from it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LocalHeader {
    pub data_at: u64,
    pub method: u16,
    /// `None` if it is in the Zip64 field.
    pub compressed: Option<u64>,
    /// The differences from the directory, for a message.
    pub differs: Vec<String>,
}

/// Reads the local header of `entry`; `None` if there is none at its offset.
pub(crate) fn read_local(
    source: &mut dyn ReadSeek,
    context: &TraverseContext,
    entry: &ZipEntry,
) -> io::Result<Option<LocalHeader>> {
    let mut bytes = vec![0; LOCAL_BYTES + entry.raw_name.len()];
    let got = read_at(source, context, entry.header_at, &mut bytes)?;
    bytes.truncate(got);
    let has_signature = bytes.starts_with(&LOCAL);
    let (Some(name_len), Some(extra_len)) = (u16_at(&bytes, 26), u16_at(&bytes, 28)) else {
        return Ok(None);
    };
    let has_same_name = usize::from(name_len) == entry.raw_name.len()
        && bytes.get(LOCAL_BYTES..) == Some(&entry.raw_name);
    if !has_signature && !has_same_name {
        return Ok(None);
    }
    let mut differs = Vec::new();
    if !has_signature {
        differs.push("signature".to_string());
    }
    if !has_same_name {
        differs.push("name".to_string());
    }
    let method = u16_at(&bytes, 8);
    let compressed = u32_at(&bytes, 18);
    if let (Some(flags), Some(method), Some(crc), Some(compressed), Some(inflated)) = (
        u16_at(&bytes, 6),
        method,
        u32_at(&bytes, 14),
        compressed,
        u32_at(&bytes, 22),
    ) {
        compare(entry, flags, method, &mut differs);
        if flags & DESCRIPTOR_FOLLOWS == 0 {
            compare_sizes(entry, crc, compressed, inflated, &mut differs);
        }
    }
    let header_len = (LOCAL_BYTES + usize::from(name_len) + usize::from(extra_len)) as u64;
    Ok(Some(LocalHeader {
        data_at: entry.header_at.saturating_add(header_len),
        method: method.unwrap_or(entry.method),
        compressed: compressed.filter(|size| *size != IN_ZIP64).map(u64::from),
        differs,
    }))
}

fn compare(entry: &ZipEntry, flags: u16, method: u16, differs: &mut Vec<String>) {
    if method != entry.method {
        differs.push(format!("method {method} instead of {}", entry.method));
    }
    if (flags ^ entry.flags) & ENCRYPTED != 0 {
        differs.push("encryption flag".to_string());
    }
}

fn compare_sizes(
    entry: &ZipEntry,
    crc: u32,
    compressed: u32,
    inflated: u32,
    differs: &mut Vec<String>,
) {
    if crc != entry.crc {
        differs.push(format!("CRC {crc:08x} instead of {:08x}", entry.crc));
    }
    for (field, local, central) in [
        ("compressed size", compressed, entry.compressed),
        ("size", inflated, entry.inflated),
    ] {
        if local != IN_ZIP64 && u64::from(local) != central {
            differs.push(format!("{field} {local} instead of {central}"));
        }
    }
}
