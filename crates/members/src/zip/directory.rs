//! Which members an archive has, in the order of its directory: where each is
//! described, whether its name repeats, whether its bytes are also another's.
//!
//! The directory is read twice: once here for what only the whole can tell,
//! 64 bytes a member, and once a member at a time while they are read.

use std::io;

use crate::limits::{READ_BYTES, TraverseLimits};
use crate::source::{TraverseContext, length, read_at};
use crate::zip::entry::{CENTRAL_BYTES, ZipEntry};
use crate::zip::local_headers;
use crate::zip::local_headers::LocalHeaderRange;
use crate::zip::{CENTRAL, END, END64, LOCATOR64, u16_at, u32_at, u64_at};
use crate::{ReadSeek, limits};
use evidence::{Problem, ProblemKind};

const END_BYTES: usize = 22;
const END64_BYTES: usize = 56;
const LOCATOR64_BYTES: u64 = 20;
/// The end record's comment has 16 bits for its length.
const COMMENT_BYTES_MAX: usize = u16::MAX as usize;
/// Names, extras and comments have 16 bits each for their length.
const ENTRY_BYTES_MAX: usize = CENTRAL_BYTES + 3 * (u16::MAX as usize);

/// One member, by where it is described.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ZipMemberRef {
    place: HeaderLocation,
    start: u64,
    end: u64,
    name: [u8; 16],
    pub repeats: bool,
    pub overlaps: bool,
}

#[derive(Clone, Copy, Debug)]
enum HeaderLocation {
    Central(u64),
    Local(LocalHeaderRange),
}

/// All members of an archive.
#[derive(Debug, Default)]
pub(crate) struct ZipDirectory {
    pub slots: Vec<ZipMemberRef>,
    /// Members that are more than the limit; left out.
    pub cut: bool,
    pub problems: Vec<Problem>,
    /// Nothing says that this is an archive but its first bytes.
    pub is_doubtful: bool,
    /// Offsets in the archive count from here.
    shift: u64,
    /// Where the members end at the latest.
    end: u64,
    recovered: bool,
    window: Vec<u8>,
    window_at: u64,
}

/// The end record and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DirectoryLocation {
    at: u64,
    directory_at: u64,
    shift: u64,
    count: u64,
    /// `count` is known only modulo 65,536.
    narrow: bool,
    disks: bool,
    comment_fits: bool,
}

impl ZipDirectory {
    /// Reads the directory, and looks for local headers where it is missing
    /// or breaks off.
    pub fn read(
        source: &mut dyn ReadSeek,
        shared: &TraverseContext,
        entries_max: u64,
    ) -> io::Result<Self> {
        let len = length(source, shared)?;
        let mut catalog = Self::default();
        match find_ending(source, shared, len)? {
            Some(ending) => {
                catalog.end = ending.at;
                catalog.read_directory(source, shared, ending, entries_max)?;
            }
            None => {
                catalog.end = len;
                catalog.complain(
                    ProblemKind::Damaged,
                    "no directory at the end of the archive",
                );
                catalog.recover(source, shared, entries_max)?;
                catalog.is_doubtful = catalog.slots.is_empty();
            }
        }
        catalog.mark_repeats();
        catalog.mark_overlaps();
        Ok(catalog)
    }

    fn complain(&mut self, kind: ProblemKind, message: impl Into<String>) {
        self.problems.push(Problem::new(kind, message));
    }

    fn read_directory(
        &mut self,
        source: &mut dyn ReadSeek,
        shared: &TraverseContext,
        ending: DirectoryLocation,
        entries_max: u64,
    ) -> io::Result<()> {
        self.shift = ending.shift;
        if ending.disks {
            self.complain(
                ProblemKind::Lying,
                "archive says it is one disk of a set: read as a whole",
            );
        }
        let mut at = ending.directory_at;
        while at < ending.at {
            let Some((entry, len)) = self.central_at(source, shared, at)? else {
                break;
            };
            if self.slots.len() as u64 >= entries_max {
                self.cut = true;
                return Ok(());
            }
            self.push(HeaderLocation::Central(at), &entry);
            at = at.saturating_add(len);
        }
        let found = self.slots.len() as u64;
        let counted = if ending.narrow { found & 0xffff } else { found };
        if counted == ending.count {
            return Ok(());
        }
        let breaks_off = !self.ends_at(source, shared, at, ending.at)?;
        if !breaks_off {
            let message = format!("directory says {} members and lists {found}", ending.count);
            self.complain(ProblemKind::Lying, message);
            return Ok(());
        }
        let message = format!(
            "directory breaks off after {found} of {} members",
            ending.count
        );
        self.complain(ProblemKind::Damaged, message);
        self.recover(source, shared, entries_max)
    }

    /// Whether what stands at `at` may follow a whole directory.
    fn ends_at(
        &self,
        source: &mut dyn ReadSeek,
        shared: &TraverseContext,
        at: u64,
        end: u64,
    ) -> io::Result<bool> {
        if at >= end {
            return Ok(true);
        }
        let mut signature = [0; 4];
        let got = read_at(source, shared, at, &mut signature)?;
        Ok(got == 4 && (signature == END64 || signature == *b"PK\x05\x05"))
    }

    /// Adds the members that local headers tell of and the directory does
    /// not, once.
    pub fn recover_rest(
        &mut self,
        source: &mut dyn ReadSeek,
        shared: &TraverseContext,
        entries_max: u64,
    ) -> io::Result<()> {
        if !self.recovered {
            self.recover(source, shared, entries_max)?;
            self.mark_repeats();
        }
        Ok(())
    }

    fn recover(
        &mut self,
        source: &mut dyn ReadSeek,
        shared: &TraverseContext,
        entries_max: u64,
    ) -> io::Result<()> {
        self.recovered = true;
        let mut known: Vec<u64> = self.slots.iter().map(|slot| slot.start).collect();
        known.sort_unstable();
        let room = entries_max.saturating_sub(self.slots.len() as u64);
        let found = local_headers::scan(source, shared, self.end, &known, room)?;
        self.cut |= found.cut;
        for place in &found.headers {
            if let Some(entry) = local_headers::entry(source, shared, place)? {
                self.push(HeaderLocation::Local(*place), &entry);
            }
        }
        if !found.headers.is_empty() {
            let message = format!(
                "{} members recovered from local headers",
                found.headers.len()
            );
            self.complain(ProblemKind::Repaired, message);
        }
        Ok(())
    }

    fn push(&mut self, place: HeaderLocation, entry: &ZipEntry) {
        let mut name = [0; 16];
        // a hash that nobody can make collide: a label must not depend on luck
        if !entry.is_directory() {
            let hash = blake3::hash(entry.name().as_bytes());
            name.copy_from_slice(&hash.as_bytes()[..16]);
        }
        let end = if entry.is_directory() {
            entry.header_at
        } else {
            entry.end_at_least()
        };
        self.slots.push(ZipMemberRef {
            place,
            start: entry.header_at,
            end,
            name,
            repeats: false,
            overlaps: false,
        });
    }

    fn mark_repeats(&mut self) {
        let mut order: Vec<u32> = (0..self.slots.len() as u32).collect();
        order.sort_unstable_by_key(|&i| self.slots[i as usize].name);
        for pair in order.windows(2) {
            let (a, b) = (pair[0] as usize, pair[1] as usize);
            if self.slots[a].name == self.slots[b].name {
                self.slots[a].repeats = true;
                self.slots[b].repeats = true;
            }
        }
    }

    fn mark_overlaps(&mut self) {
        let mut order: Vec<u32> = (0..self.slots.len() as u32).collect();
        order.sort_unstable_by_key(|&i| (self.slots[i as usize].start, i));
        let mut reached = 0;
        for i in order {
            let slot = &mut self.slots[i as usize];
            slot.overlaps = slot.start < reached;
            reached = reached.max(slot.end);
        }
    }

    /// What is said of a member. `None` where the source no longer says so.
    pub fn entry(
        &mut self,
        source: &mut dyn ReadSeek,
        shared: &TraverseContext,
        slot: &ZipMemberRef,
    ) -> io::Result<Option<ZipEntry>> {
        match slot.place {
            HeaderLocation::Central(at) => {
                Ok(self.central_at(source, shared, at)?.map(|(entry, _)| entry))
            }
            HeaderLocation::Local(found) => local_headers::entry(source, shared, &found),
        }
    }

    /// The directory entry at `at` and its length, through a window that
    /// moves along.
    fn central_at(
        &mut self,
        source: &mut dyn ReadSeek,
        shared: &TraverseContext,
        at: u64,
    ) -> io::Result<Option<(ZipEntry, u64)>> {
        for wanted in [0, READ_BYTES, ENTRY_BYTES_MAX] {
            if wanted > 0 {
                self.window.resize(wanted, 0);
                let got = read_at(source, shared, at, &mut self.window)?;
                self.window.truncate(got);
                self.window_at = at;
            }
            let parsed = at
                .checked_sub(self.window_at)
                .and_then(|skip| self.window.get(usize::try_from(skip).ok()?..))
                .and_then(ZipEntry::from_central);
            if let Some((mut entry, len)) = parsed {
                entry.header_at = entry.header_at.saturating_add(self.shift);
                return Ok(Some((entry, len as u64)));
            }
            let unsigned = wanted > 0 && !self.window.starts_with(&CENTRAL);
            if unsigned {
                break;
            }
        }
        Ok(None)
    }
}

/// Finds the end record: the last one that a directory fits.
fn find_ending(
    source: &mut dyn ReadSeek,
    shared: &TraverseContext,
    len: u64,
) -> io::Result<Option<DirectoryLocation>> {
    let tail_len = (END_BYTES + COMMENT_BYTES_MAX).min(usize::try_from(len).unwrap_or(usize::MAX));
    let mut tail = vec![0; tail_len];
    let tail_at = len - tail_len as u64;
    let got = read_at(source, shared, tail_at, &mut tail)?;
    tail.truncate(got);
    let mut fallback = None;
    for at in memchr::memmem::rfind_iter(&tail, &END) {
        let Some(ending) = read_ending(source, shared, &tail, at, tail_at)? else {
            continue;
        };
        if ending.comment_fits {
            return Ok(Some(ending));
        }
        fallback = fallback.or(Some(ending));
    }
    Ok(fallback)
}

fn read_ending(
    source: &mut dyn ReadSeek,
    shared: &TraverseContext,
    tail: &[u8],
    at: usize,
    tail_at: u64,
) -> io::Result<Option<DirectoryLocation>> {
    let record = tail.get(at..).unwrap_or_default();
    let fields = (
        u16_at(record, 4),
        u16_at(record, 10),
        u32_at(record, 12),
        u32_at(record, 16),
        u16_at(record, 20),
    );
    let (Some(disk), Some(count), Some(size), Some(offset), Some(comment)) = fields else {
        return Ok(None);
    };
    let ending_at = tail_at + at as u64;
    let narrow = EndRecord {
        at: ending_at,
        count: u64::from(count),
        size: u64::from(size),
        offset: u64::from(offset),
        disks: disk != 0 && disk != u16::MAX,
        comment_fits: record.len() == END_BYTES + usize::from(comment),
    };
    if let Some(ending) = read_wide(source, shared, &narrow)? {
        return Ok(Some(ending));
    }
    place_directory(source, shared, &narrow, ending_at)
}

/// What the end record says before its directory was looked at.
struct EndRecord {
    at: u64,
    count: u64,
    size: u64,
    offset: u64,
    disks: bool,
    comment_fits: bool,
}

/// The Zip64 end record, where a locator before the end record leads to one.
fn read_wide(
    source: &mut dyn ReadSeek,
    shared: &TraverseContext,
    narrow: &EndRecord,
) -> io::Result<Option<DirectoryLocation>> {
    let Some(locator_at) = narrow.at.checked_sub(LOCATOR64_BYTES) else {
        return Ok(None);
    };
    let mut locator = [0; LOCATOR64_BYTES as usize];
    read_at(source, shared, locator_at, &mut locator)?;
    if !locator.starts_with(&LOCATOR64) {
        return Ok(None);
    }
    let stated = u64_at(&locator, 8).unwrap_or(u64::MAX);
    // where bytes were put before the archive, the record stands right before
    // its locator instead
    for at in [stated, locator_at.saturating_sub(END64_BYTES as u64)] {
        let mut record = [0; END64_BYTES];
        let got = if at < locator_at {
            read_at(source, shared, at, &mut record)?
        } else {
            0
        };
        if got < END64_BYTES || !record.starts_with(&END64) {
            continue;
        }
        let wide = EndRecord {
            count: u64_at(&record, 32).unwrap_or(0),
            size: u64_at(&record, 40).unwrap_or(0),
            offset: u64_at(&record, 48).unwrap_or(0),
            ..*narrow
        };
        if let Some(ending) = place_directory(source, shared, &wide, at)? {
            return Ok(Some(DirectoryLocation {
                narrow: false,
                ..ending
            }));
        }
    }
    Ok(None)
}

/// Where the directory stands: right before `end`, as archives with something
/// put before them have it, else where it is said to be.
fn place_directory(
    source: &mut dyn ReadSeek,
    shared: &TraverseContext,
    narrow: &EndRecord,
    end: u64,
) -> io::Result<Option<DirectoryLocation>> {
    let ending = |directory_at: u64, shift: u64| DirectoryLocation {
        at: end,
        directory_at,
        shift,
        count: narrow.count,
        narrow: true,
        disks: narrow.disks,
        comment_fits: narrow.comment_fits,
    };
    if narrow.count == 0 && narrow.size == 0 {
        return Ok(Some(ending(end, 0)));
    }
    let abutting = end.checked_sub(narrow.size);
    let shift = abutting.and_then(|at| at.checked_sub(narrow.offset));
    for (at, shift) in [(abutting, shift), (Some(narrow.offset), Some(0))] {
        let Some(at) = at.filter(|at| *at < end) else {
            continue;
        };
        let mut signature = [0; 4];
        if read_at(source, shared, at, &mut signature)? == 4 && signature == CENTRAL {
            return Ok(Some(ending(at, shift.unwrap_or(0))));
        }
    }
    Ok(None)
}

/// Bytes before an archive that ends the source, where there are any: a
/// self-extractor, or a file of another kind with an archive hung on.
pub(crate) fn find_appended(
    source: &mut dyn ReadSeek,
    shared: &TraverseContext,
) -> io::Result<Option<u64>> {
    let len = length(source, shared)?;
    let Some(ending) = find_ending(source, shared, len)? else {
        return Ok(None);
    };
    let mut catalog = ZipDirectory {
        shift: ending.shift,
        ..ZipDirectory::default()
    };
    if !ending.comment_fits || ending.directory_at >= ending.at {
        return Ok(None);
    }
    let first = catalog.central_at(source, shared, ending.directory_at)?;
    Ok(first.map(|(entry, _)| entry.header_at))
}

impl TraverseLimits {
    /// Entries that may still be listed.
    pub(crate) fn entries_left(&self, seen: u64) -> u64 {
        // ordinals are 32 bits wide
        self.members_max
            .saturating_sub(seen)
            .min(u64::from(u32::MAX))
    }
}

/// Complaints about one archive's members, up to a number of them.
#[derive(Debug, Default)]
pub(crate) struct ProblemBudget {
    made: u64,
    /// Members that are not where the directory has them.
    pub missing: u64,
}

impl ProblemBudget {
    /// Whether one more may be made.
    pub fn allow(&mut self) -> bool {
        self.made += 1;
        self.made <= limits::PROBLEMS_LISTED_MAX
    }

    pub fn swallowed(&self) -> u64 {
        self.made.saturating_sub(limits::PROBLEMS_LISTED_MAX)
    }
}
