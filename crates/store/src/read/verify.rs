//! The full check: every header, trailer and frame, every record's hash
//! against what the side files say, and what readers have noted since.

use std::collections::BTreeSet;

use crate::error::Attempt;
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

/// How far a check has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    pub entries: u64,
    pub entries_total: u64,
    pub results: u64,
    /// **Units**: bytes of bodies, checked.
    pub bytes: u64,
    pub bytes_total: u64,
}

/// What a check came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifySummary {
    pub progress: VerifyProgress,
    /// At most one for each entry and each file.
    pub damage: Vec<Damage>,
}

impl Catalogue {
    /// Checks everything committed up to the last refresh.
    ///
    /// **Errors**: only where the side files or the notes cannot be read;
    /// whatever else is wrong is damage.
    ///
    /// **Cost**: reads and hashes every byte of the archive.
    pub fn verify(
        &self,
        mut on_progress: impl FnMut(&VerifyProgress),
    ) -> Result<VerifySummary, StoreError> {
        let slots = self.slots();
        let mut checked = VerifySummary {
            damage: self.damaged_files(&slots)?,
            ..VerifySummary::default()
        };
        checked.progress.entries_total = slots.len() as u64;
        checked.progress.bytes_total = slots.iter().map(|slot| slot.card.bytes).sum();
        for slot in &slots {
            if let Some(damage) = self.check(slot) {
                checked.damage.push(damage);
            }
            checked.progress.entries += 1;
            checked.progress.results += u64::from(slot.card.kind == EntryType::Result);
            checked.progress.bytes += slot.card.bytes;
            on_progress(&checked.progress);
        }
        checked.damage.extend(self.damaged_notes()?);
        Ok(checked)
    }

    /// Damage to side files, and to headers, without which a pack's keystream
    /// is lost.
    fn damaged_files(&self, slots: &[PackIndexEntry]) -> Result<Vec<Damage>, StoreError> {
        let own = Archive::lost(&*self.disk).map(|error| {
            let found = match error {
                StoreError::NoArchive { .. } => "no such file".into(),
                error => error.to_string(),
            };
            file_damage(
                layout::ARCHIVE.into(),
                0,
                "who the archive is".into(),
                found,
            )
        });
        let lost = self.lost_lists().into_iter().map(|file| {
            file_damage(
                file,
                0,
                "a side file".into(),
                "none that can be read".into(),
            )
        });
        let lists = self.list_holes()?.into_iter().map(|(file, from, to)| {
            let found = format!("{} bytes that are none", to - from);
            file_damage(file, from, "records of the side file".into(), found)
        });
        let packs: BTreeSet<u32> = slots.iter().map(|slot| slot.place.pack).collect();
        let headers = packs.into_iter().filter_map(|number| {
            let found = self.header_of(number).err()?.to_string();
            Some(file_damage(
                layout::pack(number),
                0,
                "the header of a pack".into(),
                found,
            ))
        });
        Ok(own
            .into_iter()
            .chain(lost)
            .chain(lists)
            .chain(headers)
            .collect())
    }

    fn header_of(&self, number: u32) -> Result<FileHeader, StoreError> {
        let name = layout::pack(number);
        let file = self.disk.read(&name).attempt(|| format!("open {name}"))?;
        FileHeader::read(&*file, &name)
    }

    fn check(&self, slot: &PackIndexEntry) -> Option<Damage> {
        match self.pack(slot) {
            Ok(pack) => find_damage(pack, &slot.card, &slot.place),
            Err(e) => Some(unreadable(&slot.card, &slot.place, &e)),
        }
    }
}

/// What of an entry is not as it was sealed.
///
/// **Cost**: reads and hashes it.
pub(crate) fn find_damage(
    (file, mask): PackFile,
    card: &EntryHeader,
    place: &EntryLocation,
) -> Option<Damage> {
    match RecordReader::open(file, mask, card, place) {
        Ok(Ok(reader)) => reader
            .check_all()
            .unwrap_or_else(|e| Some(unreadable(card, place, &e))),
        Ok(Err(damage)) => Some(damage),
        Err(e) => Some(unreadable(card, place, &e)),
    }
}

fn unreadable(card: &EntryHeader, place: &EntryLocation, error: &dyn std::error::Error) -> Damage {
    Damage {
        result: (card.kind == EntryType::Result).then(|| card.id()),
        seq: Some(card.seq),
        file: layout::pack(place.pack),
        offset: place.start,
        frame: None,
        expected: "a whole entry".into(),
        found: error.to_string(),
    }
}

impl RecordReader {
    /// Checks every frame and the hashes of the whole.
    fn check_all(&self) -> std::io::Result<Option<Damage>> {
        let mut sha256 = Sha256Sum::default();
        for frame in 0..self.frames() {
            match self.check_frame(frame)? {
                Ok(bytes) => sha256.update(&bytes),
                Err(damage) => return Ok(Some(damage)),
            }
        }
        let card = self.card();
        let found = sha256.finish();
        if matches!(card.kind, EntryType::Result | EntryType::Action) && found != card.sha256 {
            return Ok(Some(self.whole_damage(
                format!("sha256 {}", card.sha256),
                found.to_string(),
            )));
        }
        if merge(self.digests(), card.bytes) != card.blake3 {
            return Ok(Some(self.whole_damage(
                "the blake3 of the record".into(),
                "another one".into(),
            )));
        }
        Ok(None)
    }
}

fn file_damage(file: String, offset: u64, expected: String, found: String) -> Damage {
    Damage {
        result: None,
        seq: None,
        file,
        offset,
        frame: None,
        expected,
        found,
    }
}
