//! What opening an archive for writing does before anything is written: lists
//! the entries that a kill left unlisted, cuts torn tails, and never cuts
//! anything behind which a whole entry stands.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::StoreError;
use crate::disk::{Disk, DiskFile};
use crate::error::Attempt;
use crate::format::archive_file::Archive;
use crate::format::header::{FILE_HEADER_LEN, FileHeader, FileKind};
use crate::format::layout;
use crate::format::mask::Mask;
use crate::format::pack::single_entry;
use crate::format::pack_index::{PackIndex, PackIndexEntry};
use crate::format::pack_scan;
use crate::format::pack_scan::Found;

/// **Units**: bytes. A shared pack this long gets no more entries.
pub(crate) const PACK_MAX: u64 = 4 << 30;
/// Entries listed at once while a pack is read anew.
const LIST_BATCH: usize = 1_000;

/// A shared pack that still takes entries.
pub(crate) struct ActivePack {
    pub(crate) number: u32,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) mask: Mask,
    pub(crate) end: u64,
    pub(crate) list: PackIndex,
}

/// An archive made ready for writing.
pub(crate) struct RecoveredArchive {
    /// The whole journal, in order.
    pub(crate) slots: Vec<PackIndexEntry>,
    pub(crate) active: Option<ActivePack>,
    pub(crate) adopted: PackIndex,
    pub(crate) next_pack: u32,
    /// What was found amiss, for a person.
    pub(crate) notices: Vec<String>,
}

pub(crate) fn recover(disk: &dyn Disk, archive: &Archive) -> Result<RecoveredArchive, StoreError> {
    let mut work = Recovery {
        disk,
        archive,
        slots: Vec::new(),
        notices: Vec::new(),
    };
    let names = disk
        .list(layout::PACKS)
        .attempt(|| "read the archive's folder".into())?;
    let numbers = |extension| -> BTreeSet<u32> {
        names
            .iter()
            .filter_map(|name| layout::number(name, extension))
            .collect()
    };
    let (packs, lists) = (numbers("pack"), numbers("list"));

    let adopted = work.adopted_list()?;
    let known: BTreeSet<u32> = work.slots.iter().map(|slot| slot.place.pack).collect();
    let mut active = None;
    let mut singles = Vec::new();
    for number in packs
        .iter()
        .copied()
        .filter(|number| !known.contains(number))
    {
        match work.unlisted_kind(number, lists.contains(&number))? {
            Some(FileKind::Shared) => active = work.shared(number)?,
            Some(FileKind::Single) => singles.push(number),
            _ => {}
        }
    }
    let adopted = work.adopt_unlisted(adopted, &singles)?;
    work.drop_adopted_names()?;
    for missing in lists.union(&known).filter(|number| !packs.contains(number)) {
        work.notices
            .push(format!("{} is missing", layout::pack(*missing)));
    }
    let mut slots = work.slots;
    slots.sort_by_key(|slot| slot.card.seq);
    Ok(RecoveredArchive {
        slots,
        active,
        adopted,
        // That of a pack that is missing is not given to another one either.
        next_pack: [&packs, &lists, &known]
            .iter()
            .filter_map(|numbers| numbers.last())
            .max()
            .map_or(1, |last| last + 1),
        notices: work.notices,
    })
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    archive: &'a Archive,
    slots: Vec<PackIndexEntry>,
    notices: Vec<String>,
}

impl Recovery<'_> {
    /// What an unlisted pack is; `None` where it holds nothing or cannot be
    /// used.
    fn unlisted_kind(
        &mut self,
        number: u32,
        has_list: bool,
    ) -> Result<Option<FileKind>, StoreError> {
        if has_list {
            return Ok(Some(FileKind::Shared));
        }
        let name = layout::pack(number);
        let file = self.open(&name)?;
        if file.len().attempt(|| format!("read {name}"))? <= FILE_HEADER_LEN {
            // Created and never written to before the end came.
            self.disk
                .remove(&name)
                .attempt(|| format!("remove {name}"))?;
            return Ok(None);
        }
        match FileHeader::read(&*file, &name) {
            Ok(header) => Ok(Some(header.kind)),
            Err(StoreError::Damaged { what, detail }) => {
                self.notices.push(format!("{what} {detail}"));
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>, StoreError> {
        self.disk.write(name).attempt(|| format!("open {name}"))
    }

    /// Opens a list, reading what is listed; `None` where it has to be made
    /// anew.
    fn list(
        &mut self,
        number: u32,
        name: &str,
    ) -> Result<Option<(PackIndex, Vec<PackIndexEntry>)>, StoreError> {
        let file = match self.disk.write(name) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::io(format!("open {name}"), e)),
        };
        let mut list = match PackIndex::open(number, name.to_string(), file) {
            Ok(list) => list,
            Err(StoreError::Damaged { .. }) => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut slots = Vec::new();
        list.read_new(&mut slots)?;
        if !list.holes.is_empty() {
            return Ok(None);
        }
        list.cut()?;
        Ok(Some((list, slots)))
    }

    /// A fresh list under another name, to be renamed once it is filled.
    fn fresh_list(&self, number: u32, name: &str) -> Result<PackIndex, StoreError> {
        let header = self.archive.header(FileKind::PackIndex);
        PackIndex::create(self.disk, number, format!("{name}.new"), &header)
    }

    fn publish(&self, mut list: PackIndex, name: &str) -> Result<PackIndex, StoreError> {
        let attempt = || format!("replace {name}");
        self.disk.rename(&list.name, name).attempt(attempt)?;
        self.disk.sync_folder(layout::PACKS).attempt(attempt)?;
        list.name = name.to_string();
        Ok(list)
    }

    /// Brings the list of a shared pack up to what the pack holds, and cuts
    /// the pack's torn tail. Returns the pack where it can take more.
    fn shared(&mut self, number: u32) -> Result<Option<ActivePack>, StoreError> {
        let (pack_name, list_name) = (layout::pack(number), layout::list(number));
        let file = self.open(&pack_name)?;
        let header = match FileHeader::read(&*file, &pack_name) {
            Ok(header) => Some(header),
            Err(StoreError::Damaged { what, detail }) => {
                self.notices.push(format!("{what} {detail}"));
                None
            }
            Err(e) => return Err(e),
        };
        let listed = self.list(number, &list_name)?;
        let Some(header) = header else {
            // The keystream's start is lost: what is listed stays listed.
            self.slots
                .extend(listed.into_iter().flat_map(|(_, slots)| slots));
            return Ok(None);
        };
        let bump_generation = listed.is_none();
        let (list, slots) = match listed {
            Some(listed) => listed,
            None => (self.fresh_list(number, &list_name)?, Vec::new()),
        };
        let mut pack = ActivePack {
            number,
            mask: header.mask,
            end: slots.last().map_or(FILE_HEADER_LEN, PackIndexEntry::end),
            list,
            file,
        };
        self.slots.extend(slots);
        let whole = self.list_the_rest(&mut pack)?;
        if bump_generation {
            pack.list = self.publish(pack.list, &list_name)?;
        }
        let takes_more = whole && pack.end < PACK_MAX;
        Ok(takes_more.then_some(pack))
    }

    /// Lists what stands in the pack behind its listed entries. Whether the
    /// pack ends with a whole entry then.
    fn list_the_rest(&mut self, pack: &mut ActivePack) -> Result<bool, StoreError> {
        let name = layout::pack(pack.number);
        let attempt = || format!("read {name}");
        let len = pack.file.len().attempt(attempt)?;
        if len < pack.end {
            self.notices.push(format!(
                "{name} has {len} bytes, its list says {}",
                pack.end
            ));
            return Ok(false);
        }
        let mut batch = Vec::new();
        while pack.end < len {
            let found = match pack_scan::entry_at(&*pack.file, &pack.mask, pack.number, pack.end)
                .attempt(attempt)?
            {
                Ok(found) => Some(found),
                Err(_) => self.skip_damage(pack, &name)?,
            };
            let Some(found) = found else { break };
            pack.end = found.end;
            batch.push((found.card, found.place, found.json));
            if batch.len() == LIST_BATCH {
                self.slots
                    .extend(pack.list.append(&std::mem::take(&mut batch))?);
            }
        }
        if !batch.is_empty() {
            self.slots.extend(pack.list.append(&batch)?);
        }
        if pack.end < len {
            let attempt = || format!("cut the torn end of {name}");
            pack.file.set_len(pack.end).attempt(attempt)?;
            pack.file.sync().attempt(attempt)?;
        }
        Ok(true)
    }

    fn skip_damage(&mut self, pack: &ActivePack, name: &str) -> Result<Option<Found>, StoreError> {
        let found = pack_scan::next_entry(&*pack.file, &pack.mask, pack.number, pack.end)
            .attempt(|| format!("read {name}"))?;
        if let Some(found) = &found {
            self.notices.push(format!(
                "{name} holds no whole entry between bytes {} and {}",
                pack.end, found.place.start
            ));
        }
        Ok(found)
    }

    /// The list of adopted packs; `None` where it has to be made anew.
    fn adopted_list(&mut self) -> Result<Option<PackIndex>, StoreError> {
        Ok(self.list(0, layout::ADOPTED)?.map(|(list, slots)| {
            self.slots.extend(slots);
            list
        }))
    }

    /// Removes names under `incoming/` that belong to an adopted pack: a power
    /// loss between the two halves of a rename may leave both, and resuming
    /// such a download would cut the pack.
    fn drop_adopted_names(&self) -> Result<(), StoreError> {
        let attempt = || format!("read {}", layout::INCOMING);
        let mut dropped = false;
        for name in self.disk.list(layout::INCOMING).attempt(attempt)? {
            let name = format!("{}/{name}", layout::INCOMING);
            if !name.ends_with(".part") {
                continue;
            }
            let entry = match single_entry(self.disk, self.archive.key(), &name, 0)? {
                Ok((card, _, _)) => card,
                Err(_) => continue,
            };
            if self.slots.iter().any(|slot| slot.card == entry) {
                self.disk
                    .remove(&name)
                    .attempt(|| format!("remove {name}"))?;
                dropped = true;
            }
        }
        if dropped {
            self.disk.sync_folder(layout::INCOMING).attempt(attempt)?;
        }
        Ok(())
    }

    /// Lists adopted packs that are not.
    fn adopt_unlisted(
        &mut self,
        listed: Option<PackIndex>,
        singles: &[u32],
    ) -> Result<PackIndex, StoreError> {
        let bump_generation = listed.is_none();
        let mut list = match listed {
            Some(list) => list,
            None => self.fresh_list(0, layout::ADOPTED)?,
        };
        let key = self.archive.key();
        let mut found = Vec::new();
        for number in singles {
            match single_entry(self.disk, key, &layout::pack(*number), *number)? {
                Ok(entry) => found.push(entry),
                Err(why) => self.notices.push(why),
            }
        }
        found.sort_by_key(|(card, _, _)| card.seq);
        if !found.is_empty() {
            self.slots.extend(list.append(&found)?);
        }
        if bump_generation {
            list = self.publish(list, layout::ADOPTED)?;
        }
        Ok(list)
    }
}
