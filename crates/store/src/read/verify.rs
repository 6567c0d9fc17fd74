//! Full verification of an archive: every header, trailer and frame, the hashes
//! of every body, and the pending custody events.

use std::collections::BTreeSet;

use crate::error::IoContext;
use crate::format::archive_file::Archive;
use crate::format::entry::{EntryHeader, EntryLocation, EntryType};
use crate::format::frame::merge;
use crate::format::header::FileHeader;
use crate::format::layout;
use crate::format::pack::PackFile;
use crate::format::pack_index::PackIndexEntry;
use crate::read::reader::{Damage, RecordReader};
use crate::{Catalogue, StoreError};
use evidence::Sha256Sum;

/// Progress of a verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    pub entries: u64,
    pub entries_total: u64,
    pub results: u64,
    /// **Units**: bytes of verified bodies.
    pub bytes: u64,
    pub bytes_total: u64,
}

/// Outcome of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifySummary {
    pub progress: VerifyProgress,
    /// At most one for each entry; for a file, one for each damaged range.
    pub damage: Vec<Damage>,
}

impl Catalogue {
    /// Verifies all entries committed up to the last refresh.
    ///
    /// **Errors**: only if the pack indexes or the pending custody events cannot
    /// be read. Everything else is reported as damage.
    ///
    /// **Cost**: reads and hashes every byte of the archive.
    pub fn verify(
        &self,
        mut on_progress: impl FnMut(&VerifyProgress),
    ) -> Result<VerifySummary, StoreError> {
        let entries = self.entries();
        let mut damage = self.damaged_files(&entries)?;
        let mut progress = VerifyProgress {
            entries_total: entries.len() as u64,
            bytes_total: entries.iter().map(|entry| entry.header.bytes).sum(),
            ..VerifyProgress::default()
        };
        for entry in &entries {
            damage.extend(self.verify_entry(entry));
            progress.entries += 1;
            progress.results += u64::from(entry.header.kind == EntryType::Result);
            progress.bytes += entry.header.bytes;
            tracing::trace!(
                target: "store",
                entries = progress.entries,
                bytes = progress.bytes,
                bytes_total = progress.bytes_total,
                "verify progress"
            );
            on_progress(&progress);
        }
        damage.extend(self.damaged_custody_lines()?);
        tracing::info!(
            target: "store",
            entries = progress.entries,
            bytes = progress.bytes,
            damage = damage.len(),
            "archive verified"
        );
        Ok(VerifySummary { progress, damage })
    }

    /// Damage of `archive.json`, of pack indexes, and of pack headers, which
    /// contain the start of the keystream.
    fn damaged_files(&self, entries: &[PackIndexEntry]) -> Result<Vec<Damage>, StoreError> {
        let archive_file = Archive::file_error(&*self.disk).map(|error| {
            let found = match error {
                StoreError::NoArchive { .. } => "no such file".into(),
                error => error.to_string(),
            };
            file_damage(
                layout::ARCHIVE.into(),
                0,
                "id and key of the archive",
                found,
            )
        });
        let unreadable = self
            .unreadable_indexes()
            .into_iter()
            .map(|file| file_damage(file, 0, "a pack index", "no readable pack index".into()));
        let ranges = self
            .damaged_index_ranges()?
            .into_iter()
            .map(|(file, from, to)| {
                let found = format!("{} damaged bytes", to - from);
                file_damage(file, from, "entries of the pack index", found)
            });
        let packs: BTreeSet<u32> = entries.iter().map(|entry| entry.location.pack).collect();
        let headers = packs.into_iter().filter_map(|number| {
            let found = self.read_pack_header(number).err()?.to_string();
            Some(file_damage(
                layout::pack(number),
                0,
                "the header of a pack",
                found,
            ))
        });
        Ok(archive_file
            .into_iter()
            .chain(unreadable)
            .chain(ranges)
            .chain(headers)
            .collect())
    }

    fn read_pack_header(&self, number: u32) -> Result<FileHeader, StoreError> {
        let name = layout::pack(number);
        let file = self.disk.open(&name).attempt(|| format!("open {name}"))?;
        FileHeader::read(&*file, &name)
    }

    fn verify_entry(&self, entry: &PackIndexEntry) -> Option<Damage> {
        match self.open_pack(entry) {
            Ok(pack) => find_damage(pack, &entry.header, &entry.location),
            Err(e) => Some(unreadable(&entry.header, &entry.location, &e)),
        }
    }
}

/// The first damage of an entry; `None` if it is as sealed.
///
/// **Cost**: reads and hashes the body.
pub(crate) fn find_damage(
    pack: PackFile,
    header: &EntryHeader,
    location: &EntryLocation,
) -> Option<Damage> {
    match RecordReader::open(pack, header, location) {
        Ok(Ok(reader)) => reader
            .verify_body()
            .unwrap_or_else(|e| Some(unreadable(header, location, &e))),
        Ok(Err(damage)) => Some(damage),
        Err(e) => Some(unreadable(header, location, &e)),
    }
}

fn unreadable(
    header: &EntryHeader,
    location: &EntryLocation,
    error: &dyn std::error::Error,
) -> Damage {
    Damage {
        result: (header.kind == EntryType::Result).then(|| header.id()),
        seq: Some(header.seq),
        file: layout::pack(location.pack),
        offset: location.start,
        frame: None,
        expected: "an intact entry".into(),
        found: error.to_string(),
    }
}

impl RecordReader {
    /// Checks every frame and the hashes of the body.
    fn verify_body(&self) -> std::io::Result<Option<Damage>> {
        let mut sha256 = Sha256Sum::default();
        for frame in 0..self.frame_count() {
            match self.read_frame(frame)? {
                Ok(bytes) => sha256.update(&bytes),
                Err(damage) => return Ok(Some(damage)),
            }
        }
        let header = self.header();
        let found = sha256.finish();
        // The SHA-256 of other entries is their dedup hash.
        let has_body = matches!(header.kind, EntryType::Result | EntryType::Action);
        if has_body && found != header.sha256 {
            let expected = format!("sha256 {}", header.sha256);
            return Ok(Some(self.body_damage(expected, found.to_string())));
        }
        if merge(self.digests(), header.bytes) != header.blake3 {
            return Ok(Some(self.body_damage(
                "the blake3 of the record".into(),
                "another blake3".into(),
            )));
        }
        Ok(None)
    }
}

fn file_damage(file: String, offset: u64, expected: &str, found: String) -> Damage {
    Damage {
        result: None,
        seq: None,
        file,
        offset,
        frame: None,
        expected: expected.into(),
        found,
    }
}
