//! The header of packs, pack indexes and partial downloads, all of which are
//! masked.

use crate::StoreError;
use crate::disk::system;
use crate::disk::{DiskFile, read_exact_at};
use crate::error::IoContext;
use crate::format::mask::Mask;

/// Content of a file after its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Shared pack: many entries.
    Shared = 1,
    /// Single-body pack: one entry. A partial download becomes one when its
    /// trailer is appended.
    Single = 2,
    PackIndex = 3,
}

/// ```text
/// 0  magic     8  "AFTRACT\x01"; the last byte is the format
/// 8  kind      1
/// 9  zero      3
/// 12 archive  16  id
/// 28 key      32  of the keystream, not encrypted
/// 60 nonce    12  of this file
/// 72 crc32     4  of the 72 bytes before
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) kind: FileKind,
    pub(crate) archive: [u8; 16],
    pub(crate) mask: Mask,
}

/// **Units**: bytes.
pub(crate) const FILE_HEADER_LEN: u64 = 76;
const MAGIC: &[u8; 8] = b"AFTRACT\x01";

impl FileHeader {
    /// A header with a random nonce.
    pub(crate) fn new(
        kind: FileKind,
        archive: [u8; 16],
        key: [u8; 32],
    ) -> Result<Self, StoreError> {
        let nonce = system::random_bytes().attempt(|| "generate a nonce".into())?;
        Ok(Self {
            kind,
            archive,
            mask: Mask { key, nonce },
        })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FILE_HEADER_LEN as usize);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[self.kind as u8, 0, 0, 0]);
        bytes.extend_from_slice(&self.archive);
        bytes.extend_from_slice(&self.mask.key);
        bytes.extend_from_slice(&self.mask.nonce);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` if the bytes are not a valid header.
    fn from_bytes(bytes: &[u8; FILE_HEADER_LEN as usize]) -> Option<Self> {
        let (body, crc) = bytes.split_at(72);
        if crc32fast::hash(body).to_le_bytes() != crc || !body.starts_with(MAGIC) {
            return None;
        }
        let kind = match body.get(8)? {
            1 => FileKind::Shared,
            2 => FileKind::Single,
            3 => FileKind::PackIndex,
            _ => return None,
        };
        Some(Self {
            kind,
            archive: body.get(12..28)?.try_into().ok()?,
            mask: Mask {
                key: body.get(28..60)?.try_into().ok()?,
                nonce: body.get(60..72)?.try_into().ok()?,
            },
        })
    }

    /// Reads the header of the file `name`.
    ///
    /// **Errors**: `Damaged` if the file has no valid header.
    pub(crate) fn read(file: &dyn DiskFile, name: &str) -> Result<Self, StoreError> {
        let mut bytes = [0; FILE_HEADER_LEN as usize];
        match read_exact_at(file, &mut bytes, 0) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(StoreError::damaged(name, "it ends inside its header"));
            }
            Err(e) => return Err(StoreError::io(format!("read {name}"), e)),
        }
        Self::from_bytes(&bytes)
            .ok_or_else(|| StoreError::damaged(name, "no valid header at byte 0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_reads_back_and_any_flipped_byte_is_detected() {
        let header = FileHeader::new(FileKind::Single, [3; 16], [4; 32]).unwrap();
        let bytes: [u8; FILE_HEADER_LEN as usize] = header.to_bytes().try_into().unwrap();
        assert_eq!(FileHeader::from_bytes(&bytes), Some(header));
        for at in 0..bytes.len() {
            let mut flipped = bytes;
            flipped[at] ^= 0x10;
            assert_eq!(FileHeader::from_bytes(&flipped), None, "{at}");
        }
    }
}
