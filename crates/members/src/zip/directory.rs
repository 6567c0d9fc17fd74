//! The members of an archive in directory order: the location of each header,
//! whether its name repeats, and whether its bytes overlap with another
//! member's.
//!
//! The directory is read twice: here, for the facts that need the whole
//! directory, with 64 bytes of memory per member; and again, entry by entry,
//! while the members are read.

use std::io;

use crate::ReadSeek;
use crate::limits::{PROBLEMS_LISTED_MAX, READ_BYTES};
use crate::source::{TraverseContext, length, read_at};
use crate::zip::entry::{CENTRAL_BYTES, ZipEntry};
use crate::zip::local_headers;
use crate::zip::local_headers::LocalHeaderRange;
use crate::zip::{CENTRAL, DIGITAL_SIGNATURE, END, END64, LOCATOR64, u16_at, u32_at, u64_at};
use evidence::{Problem, ProblemKind};

const END_BYTES: usize = 22;
const END64_BYTES: usize = 56;
const LOCATOR64_BYTES: u64 = 20;
/// The comment of the end record has a 16-bit length.
const COMMENT_BYTES_MAX: usize = u16::MAX as usize;
/// Name, extra fields and comment have 16-bit lengths.
const ENTRY_BYTES_MAX: usize = CENTRAL_BYTES + 3 * (u16::MAX as usize);

/// One member, by the location of its header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ZipMemberRef {
    location: HeaderLocation,
    start: u64,
    end: u64,
    name_hash: [u8; 16],
    pub name_repeats: bool,
    pub overlaps: bool,
}

#[derive(Clone, Copy, Debug)]
enum HeaderLocation {
    /// A directory entry at this offset.
    Central(u64),
    /// A local header that the directory does not refer to.
    Local(LocalHeaderRange),
}

/// All members of an archive.
#[derive(Debug, Default)]
pub(crate) struct ZipDirectory {
    pub members: Vec<ZipMemberRef>,
    /// There are more members than the limit.
    pub cut: bool,
    pub problems: Vec<Problem>,
    /// Only the first bytes are those of an archive.
    pub is_doubtful: bool,
    /// Added to every offset in the archive.
    shift: u64,
    /// Upper bound of the members' end.
    end: u64,
    recovered: bool,
    window: Vec<u8>,
    window_at: u64,
}

/// The location of a directory, derived from an end record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DirectoryLocation {
    end_record_at: u64,
    directory_at: u64,
    shift: u64,
    count: u64,
    /// `count` is the number of members modulo 65,536.
    count_is_16_bit: bool,
    is_multi_disk: bool,
    comment_fits: bool,
}

impl ZipDirectory {
    /// Reads the directory. If it is missing or truncated, searches for local
    /// headers.
    pub fn read(
        source: &mut dyn ReadSeek,
        context: &TraverseContext,
        entries_max: u64,
    ) -> io::Result<Self> {
        let len = length(source, context)?;
        let mut directory = Self::default();
        match locate_directory(source, context, len)? {
            Some(location) => {
                directory.end = location.end_record_at;
                directory.read_entries(source, context, location, entries_max)?;
            }
            None => {
                directory.end = len;
                directory.report(
                    ProblemKind::Damaged,
                    "no directory at the end of the archive",
                );
                directory.recover(source, context, entries_max)?;
                directory.is_doubtful = directory.members.is_empty();
            }
        }
        directory.find_repeated_names();
        directory.find_overlaps();
        Ok(directory)
    }

    fn report(&mut self, kind: ProblemKind, message: impl Into<String>) {
        self.problems.push(Problem::new(kind, message));
    }

    fn read_entries(
        &mut self,
        source: &mut dyn ReadSeek,
        context: &TraverseContext,
        location: DirectoryLocation,
        entries_max: u64,
    ) -> io::Result<()> {
        self.shift = location.shift;
        if location.is_multi_disk {
            self.report(
                ProblemKind::Lying,
                "header states that the archive is one disk of a set: read as a whole archive",
            );
        }
        let mut at = location.directory_at;
        while at < location.end_record_at {
            let Some((entry, len)) = self.central_at(source, context, at)? else {
                break;
            };
            if self.members.len() as u64 >= entries_max {
                self.cut = true;
                return Ok(());
            }
            self.push(HeaderLocation::Central(at), &entry);
            at = at.saturating_add(len);
        }
        let listed = self.members.len() as u64;
        let counted = if location.count_is_16_bit {
            listed & 0xffff
        } else {
            listed
        };
        if counted == location.count {
            return Ok(());
        }
        let stated = location.count;
        if is_directory_end(source, context, at, location.end_record_at)? {
            let message = format!("directory states {stated} members but lists {listed}");
            self.report(ProblemKind::Lying, message);
            return Ok(());
        }
        let message = format!("directory is truncated after {listed} of {stated} members");
        self.report(ProblemKind::Damaged, message);
        self.recover(source, context, entries_max)
    }

    /// Adds the members that have a local header but no directory entry.
    /// Further calls do nothing.
    pub fn recover_rest(
        &mut self,
        source: &mut dyn ReadSeek,
        context: &TraverseContext,
        entries_max: u64,
    ) -> io::Result<()> {
        if !self.recovered {
            self.recover(source, context, entries_max)?;
            self.find_repeated_names();
        }
        Ok(())
    }

    fn recover(
        &mut self,
        source: &mut dyn ReadSeek,
        context: &TraverseContext,
        entries_max: u64,
    ) -> io::Result<()> {
        self.recovered = true;
        let mut known: Vec<u64> = self.members.iter().map(|member| member.start).collect();
        known.sort_unstable();
        let headers_max = entries_max.saturating_sub(self.members.len() as u64);
        let scan = local_headers::scan(source, context, self.end, &known, headers_max)?;
        self.cut |= scan.cut;
        for range in &scan.headers {
            if let Some(entry) = local_headers::entry(source, context, range)? {
                self.push(HeaderLocation::Local(*range), &entry);
            }
        }
        if !scan.headers.is_empty() {
            let message = format!(
                "{} members recovered from local headers",
                scan.headers.len()
            );
            self.report(ProblemKind::Repaired, message);
        }
        Ok(())
    }

    fn push(&mut self, location: HeaderLocation, entry: &ZipEntry) {
        let is_directory = entry.is_directory();
        let mut name_hash = [0; 16];
        if !is_directory {
            // A cryptographic hash: labels depend on it, so an attacker must
            // not be able to make names collide.
            let hash = blake3::hash(entry.name().as_bytes());
            name_hash.copy_from_slice(&hash.as_bytes()[..16]);
        }
        self.members.push(ZipMemberRef {
            location,
            start: entry.header_at,
            end: if is_directory {
                entry.header_at
            } else {
                entry.end_at_least()
            },
            name_hash,
            name_repeats: false,
            overlaps: false,
        });
    }

    fn find_repeated_names(&mut self) {
        let members = &mut self.members;
        let mut order: Vec<u32> = (0..members.len() as u32).collect();
        order.sort_unstable_by_key(|&i| members[i as usize].name_hash);
        for pair in order.windows(2) {
            let (a, b) = (pair[0] as usize, pair[1] as usize);
            if members[a].name_hash == members[b].name_hash {
                members[a].name_repeats = true;
                members[b].name_repeats = true;
            }
        }
    }

    fn find_overlaps(&mut self) {
        let members = &mut self.members;
        let mut order: Vec<u32> = (0..members.len() as u32).collect();
        order.sort_unstable_by_key(|&i| (members[i as usize].start, i));
        let mut end = 0;
        for i in order {
            let member = &mut members[i as usize];
            member.overlaps = member.start < end;
            end = end.max(member.end);
        }
    }

    /// Reads the entry of a member; `None` if the source has changed.
    pub fn entry(
        &mut self,
        source: &mut dyn ReadSeek,
        context: &TraverseContext,
        member: &ZipMemberRef,
    ) -> io::Result<Option<ZipEntry>> {
        match member.location {
            HeaderLocation::Central(at) => {
                let found = self.central_at(source, context, at)?;
                Ok(found.map(|(entry, _)| entry))
            }
            HeaderLocation::Local(range) => local_headers::entry(source, context, &range),
        }
    }

    /// The directory entry at `at` and its length, read through a window that
    /// moves forward.
    fn central_at(
        &mut self,
        source: &mut dyn ReadSeek,
        context: &TraverseContext,
        at: u64,
    ) -> io::Result<Option<(ZipEntry, u64)>> {
        // First the window as it is, then a new one, then one for the longest
        // entry.
        for wanted in [0, READ_BYTES, ENTRY_BYTES_MAX] {
            if wanted > 0 {
                self.window.resize(wanted, 0);
                let got = read_at(source, context, at, &mut self.window)?;
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
            if wanted > 0 && !self.window.starts_with(&CENTRAL) {
                break;
            }
        }
        Ok(None)
    }
}

/// Whether a complete directory can end at `at`.
fn is_directory_end(
    source: &mut dyn ReadSeek,
    context: &TraverseContext,
    at: u64,
    end_record_at: u64,
) -> io::Result<bool> {
    if at >= end_record_at {
        return Ok(true);
    }
    let mut signature = [0; 4];
    let got = read_at(source, context, at, &mut signature)?;
    Ok(got == 4 && (signature == END64 || signature == DIGITAL_SIGNATURE))
}

/// Searches for the last end record that has a directory, and prefers one
/// whose comment ends at the end of the source.
fn locate_directory(
    source: &mut dyn ReadSeek,
    context: &TraverseContext,
    len: u64,
) -> io::Result<Option<DirectoryLocation>> {
    let tail_len = (END_BYTES + COMMENT_BYTES_MAX).min(usize::try_from(len).unwrap_or(usize::MAX));
    let mut tail = vec![0; tail_len];
    let tail_at = len - tail_len as u64;
    let got = read_at(source, context, tail_at, &mut tail)?;
    tail.truncate(got);
    let mut fallback = None;
    for offset in memchr::memmem::rfind_iter(&tail, &END) {
        let record = tail.get(offset..).unwrap_or_default();
        let Some(end_record) = EndRecord::parse(record, tail_at + offset as u64) else {
            continue;
        };
        let Some(location) = end_record.locate_directory(source, context)? else {
            continue;
        };
        if location.comment_fits {
            return Ok(Some(location));
        }
        fallback = fallback.or(Some(location));
    }
    Ok(fallback)
}

/// The fields of an end record, or of a Zip64 end record.
struct EndRecord {
    at: u64,
    count: u64,
    size: u64,
    offset: u64,
    is_multi_disk: bool,
    comment_fits: bool,
}

impl EndRecord {
    /// Parses the record at `at`. `bytes` continue to the end of the source.
    fn parse(bytes: &[u8], at: u64) -> Option<Self> {
        let disk = u16_at(bytes, 4)?;
        let comment_len = usize::from(u16_at(bytes, 20)?);
        Some(Self {
            at,
            count: u64::from(u16_at(bytes, 10)?),
            size: u64::from(u32_at(bytes, 12)?),
            offset: u64::from(u32_at(bytes, 16)?),
            is_multi_disk: disk != 0 && disk != u16::MAX,
            comment_fits: bytes.len() == END_BYTES + comment_len,
        })
    }

    fn locate_directory(
        &self,
        source: &mut dyn ReadSeek,
        context: &TraverseContext,
    ) -> io::Result<Option<DirectoryLocation>> {
        if let Some(location) = self.locate_zip64_directory(source, context)? {
            return Ok(Some(location));
        }
        self.find_directory_before(source, context, self.at)
    }

    /// Follows the Zip64 locator before this record, if there is one.
    fn locate_zip64_directory(
        &self,
        source: &mut dyn ReadSeek,
        context: &TraverseContext,
    ) -> io::Result<Option<DirectoryLocation>> {
        let Some(locator_at) = self.at.checked_sub(LOCATOR64_BYTES) else {
            return Ok(None);
        };
        let mut locator = [0; LOCATOR64_BYTES as usize];
        read_at(source, context, locator_at, &mut locator)?;
        if !locator.starts_with(&LOCATOR64) {
            return Ok(None);
        }
        let stated = u64_at(&locator, 8).unwrap_or(u64::MAX);
        // If other data precedes the archive, the stated offset is wrong and
        // the record is directly before its locator.
        for at in [stated, locator_at.saturating_sub(END64_BYTES as u64)] {
            if at >= locator_at {
                continue;
            }
            let mut record = [0; END64_BYTES];
            let got = read_at(source, context, at, &mut record)?;
            if got < END64_BYTES || !record.starts_with(&END64) {
                continue;
            }
            let zip64 = Self {
                count: u64_at(&record, 32).unwrap_or(0),
                size: u64_at(&record, 40).unwrap_or(0),
                offset: u64_at(&record, 48).unwrap_or(0),
                ..*self
            };
            if let Some(location) = zip64.find_directory_before(source, context, at)? {
                return Ok(Some(DirectoryLocation {
                    count_is_16_bit: false,
                    ..location
                }));
            }
        }
        Ok(None)
    }

    /// Finds the directory: directly before `end`, even if other data precedes
    /// the archive, or else at the stated offset.
    fn find_directory_before(
        &self,
        source: &mut dyn ReadSeek,
        context: &TraverseContext,
        end: u64,
    ) -> io::Result<Option<DirectoryLocation>> {
        let location = |directory_at: u64, shift: u64| DirectoryLocation {
            end_record_at: end,
            directory_at,
            shift,
            count: self.count,
            count_is_16_bit: true,
            is_multi_disk: self.is_multi_disk,
            comment_fits: self.comment_fits,
        };
        if self.count == 0 && self.size == 0 {
            return Ok(Some(location(end, 0)));
        }
        let adjacent = end.checked_sub(self.size);
        let shift = adjacent.and_then(|at| at.checked_sub(self.offset));
        for (at, shift) in [(adjacent, shift), (Some(self.offset), Some(0))] {
            let Some(at) = at.filter(|at| *at < end) else {
                continue;
            };
            let mut signature = [0; 4];
            if read_at(source, context, at, &mut signature)? == 4 && signature == CENTRAL {
                return Ok(Some(location(at, shift.unwrap_or(0))));
            }
        }
        Ok(None)
    }
}

/// If the source ends with an archive, returns the number of bytes before the
/// archive: a self-extractor, or a file of another kind.
pub(crate) fn find_appended(
    source: &mut dyn ReadSeek,
    context: &TraverseContext,
) -> io::Result<Option<u64>> {
    let len = length(source, context)?;
    let Some(location) = locate_directory(source, context, len)? else {
        return Ok(None);
    };
    if !location.comment_fits || location.directory_at >= location.end_record_at {
        return Ok(None);
    }
    let mut directory = ZipDirectory {
        shift: location.shift,
        ..ZipDirectory::default()
    };
    let first = directory.central_at(source, context, location.directory_at)?;
    Ok(first.map(|(entry, _)| entry.header_at))
}

/// Counts the header problems of an archive and limits how many are reported.
#[derive(Debug, Default)]
pub(crate) struct ProblemBudget {
    counted: u64,
    /// Members without a local header at the offset in the directory.
    pub missing: u64,
}

impl ProblemBudget {
    /// Counts a problem; returns whether to report it.
    pub fn allow(&mut self) -> bool {
        self.counted += 1;
        self.counted <= PROBLEMS_LISTED_MAX
    }

    /// Problems that were counted but not reported.
    pub fn unreported(&self) -> u64 {
        self.counted.saturating_sub(PROBLEMS_LISTED_MAX)
    }
}
