//! The members of a zip, one after the other: which headers are believed, and
//! whether the bytes are what was promised.

use std::io::{self, BufReader, Read};

use crate::checked_reader::{CheckedReader, StreamEnd};
use crate::decode;
use crate::limits::READ_BYTES;
use crate::source;
use crate::source::{RangeReader, SourceSlice};
use crate::traverse::member_facts::MemberFacts;
use crate::traverse::{DetectedFormat, Traversal, TraverseResult, TraverseStop};
use crate::zip;
use crate::zip::{LocalHeader, ProblemBudget, ZipDirectory, ZipEntry, ZipMemberRef};
use crate::{ContainerFormat, ReadSeek};
use evidence::{Layer, ProblemKind};

/// Where a member's packed bytes stand.
#[derive(Clone, Copy)]
pub(crate) struct PackedRange {
    pub at: u64,
    pub len: u64,
}

impl<'w> Traversal<'w> {
    /// The bytes of a stretch, from its start.
    fn packed<'s>(
        &mut self,
        source: &'s mut dyn ReadSeek,
        stretch: PackedRange,
    ) -> Result<BufReader<RangeReader<'s>>, TraverseStop>
    where
        'w: 's,
    {
        let window = self.world(RangeReader::new(
            source,
            self.shared,
            stretch.at,
            stretch.len,
        ))?;
        let len = buffer_len(stretch.len);
        Ok(BufReader::with_capacity(len, window))
    }

    pub(crate) fn peel_zip(
        &mut self,
        source: &mut dyn ReadSeek,
        facts: &MemberFacts,
        before: u64,
    ) -> TraverseResult {
        let room = self.settings.limits.entries_left(self.entries);
        let mut catalog = self.world(ZipDirectory::read(source, self.shared, room))?;
        // While this directory is open, those of archives inside have less.
        let listed = catalog.slots.len();
        self.entries += listed as u64;
        if catalog.is_doubtful {
            self.problem(
                ProblemKind::Damaged,
                "begins like a zip archive and holds no member: kept as it is".into(),
            );
            return self.leaf_of(source, facts);
        }
        self.announce(facts, ContainerFormat::Zip)?;
        if before > 0 {
            self.problem(
                ProblemKind::Lying,
                format!(
                    "a zip archive stands behind {before} bytes of something else: both are read"
                ),
            );
        }
        let mut complaints = ProblemBudget::default();
        self.zip_entries(source, &mut catalog, 0, &mut complaints)?;
        if complaints.missing > 0 || self.target.is_some() {
            self.world(catalog.recover_rest(source, self.shared, room))?;
            self.entries += (catalog.slots.len() - listed) as u64;
            self.zip_entries(source, &mut catalog, listed, &mut complaints)?;
        }
        self.end_zip(&catalog, &complaints)
    }

    /// Goes through the members from `first` on.
    fn zip_entries(
        &mut self,
        source: &mut dyn ReadSeek,
        catalog: &mut ZipDirectory,
        first: usize,
        complaints: &mut ProblemBudget,
    ) -> TraverseResult {
        for problem in std::mem::take(&mut catalog.problems) {
            self.problem(problem.kind, problem.message);
        }
        for ordinal in first..catalog.slots.len() {
            let Some(slot) = catalog.slots.get(ordinal).copied() else {
                break;
            };
            let entry = self.world(catalog.entry(source, self.shared, &slot))?;
            if let Some(entry) = entry {
                self.zip_entry(source, &entry, &slot, ordinal as u32, complaints)?;
            }
        }
        Ok(())
    }

    fn end_zip(&mut self, catalog: &ZipDirectory, complaints: &ProblemBudget) -> TraverseResult {
        if complaints.swallowed() > 0 {
            self.problem(
                ProblemKind::Lying,
                format!("{} more headers that disagree", complaints.swallowed()),
            );
        }
        if !catalog.cut {
            return Ok(());
        }
        let members_max = self.settings.limits.members_max;
        self.problem(
            ProblemKind::LimitReached,
            format!("more than {members_max} members (limit): the rest is not read"),
        );
        Err(TraverseStop::Cut)
    }

    fn zip_entry(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        slot: &ZipMemberRef,
        ordinal: u32,
        complaints: &mut ProblemBudget,
    ) -> TraverseResult {
        if entry.is_directory() {
            self.summary.directories += 1;
            return Ok(());
        }
        let name = entry.name();
        let label = if slot.repeats {
            Layer::numbered(ordinal)
        } else {
            Layer::named(&name, ordinal)
        };
        if !self.is_wanted(&label) {
            return Ok(());
        }
        self.enter(label);
        let flow = self.zip_member(source, entry, name, slot.overlaps, complaints);
        self.leave();
        flow
    }

    fn zip_member(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        name: String,
        overlaps: bool,
        complaints: &mut ProblemBudget,
    ) -> TraverseResult {
        let Some(local) = self.world(zip::read_local(source, self.shared, entry))? else {
            complaints.missing += 1;
            if complaints.allow() {
                self.problem(
                    ProblemKind::Damaged,
                    format!(
                        "no member at offset {}, where the directory has one",
                        entry.header_at
                    ),
                );
            }
            return Ok(());
        };
        if !local.differs.is_empty() && complaints.allow() {
            let what = local.differs.join(", ");
            self.problem(
                ProblemKind::Lying,
                format!("local header differs from the directory: {what}"),
            );
        }
        if overlaps && complaints.allow() {
            self.problem(
                ProblemKind::Lying,
                "shares its bytes with another member".into(),
            );
        }
        let facts = MemberFacts::of_entry(entry, name);
        if entry.is_strongly_encrypted() && entry.is_encrypted() {
            self.problem(
                ProblemKind::Unsupported,
                "locked with PKWARE strong encryption, which this build cannot read".into(),
            );
            return Ok(());
        }
        let stretch = PackedRange {
            at: local.data_at,
            len: entry.compressed,
        };
        let (entry, stretch) = self.settle_headers(source, entry, &local, stretch)?;
        let entry = &entry;
        let method = entry.inner_method();
        if !decode::is_supported(method) {
            self.problem(
                ProblemKind::Unsupported,
                format!(
                    "packed with {}, which this build cannot read",
                    decode::method_name(method)
                ),
            );
            return Ok(());
        }
        if entry.is_encrypted() {
            self.locked_member(source, entry, &facts, stretch)
        } else if decode::is_stored(entry) {
            self.stored_member(source, entry, &facts, stretch)
        } else {
            self.plain_member(source, entry, &facts, stretch)
        }
    }

    /// Where the two headers disagree, the directory is believed unless its
    /// method makes no sense of the bytes and the other one does; of two sizes
    /// the longer is taken where the stream finds its own end.
    fn settle_headers(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        local: &LocalHeader,
        mut stretch: PackedRange,
    ) -> Result<(ZipEntry, PackedRange), TraverseStop> {
        let mut settled = entry.clone();
        if entry.is_encrypted() || local.differs.is_empty() {
            return Ok((settled, stretch));
        }
        if local.method != entry.method && decode::is_supported(local.method) {
            let other = entry.with_method(local.method);
            if !self.makes_sense(source, entry, stretch)?
                && self.makes_sense(source, &other, stretch)?
            {
                settled = other;
            }
        }
        if decode::ends_by_itself(settled.method) {
            stretch.len = stretch.len.max(local.compressed.unwrap_or(0));
        }
        Ok((settled, stretch))
    }

    pub(crate) fn makes_sense(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        stretch: PackedRange,
    ) -> Result<bool, TraverseStop> {
        if !decode::is_supported(entry.inner_method()) {
            return Ok(false);
        }
        let mut input = self.packed(source, stretch)?;
        let makes_sense = decode::makes_sense(self.shared, entry, &mut input);
        self.no_fault()?;
        Ok(makes_sense)
    }

    /// A stored archive needs no scratch file: it is read where it stands.
    /// Its own members have checksums, so its checksum is not computed.
    fn stored_member(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        facts: &MemberFacts,
        stretch: PackedRange,
    ) -> TraverseResult {
        let mut head = [0; source::PEEK_BYTES];
        let len = usize::try_from(stretch.len)
            .unwrap_or(usize::MAX)
            .min(head.len());
        let got = source::read_at(source, self.shared, stretch.at, &mut head[..len]);
        let got = self.world(got)?;
        let head = head.get(..got).unwrap_or_default();
        if !zip::is_zip(head) || self.kind(head)? != DetectedFormat::Zip {
            return self.plain_member(source, entry, facts, stretch);
        }
        let mut part = self.world(SourceSlice::new(
            source,
            self.shared,
            stretch.at,
            stretch.len,
        ))?;
        self.peel_zip(&mut part, facts, 0)
    }

    pub(crate) fn plain_member(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        facts: &MemberFacts,
        stretch: PackedRange,
    ) -> TraverseResult {
        let mut input = self.packed(source, stretch)?;
        let shared = self.shared;
        let opened = decode::inflate(shared, entry, &mut input, |bytes| {
            self.content(bytes, entry, facts)
        });
        self.settle_opened(opened)
    }

    /// A decoder that would not even begin leaves an empty member behind.
    pub(crate) fn settle_opened(&mut self, opened: io::Result<TraverseResult>) -> TraverseResult {
        match opened {
            Ok(flow) => flow,
            Err(error) => {
                self.no_fault()?;
                self.problem(ProblemKind::Damaged, format!("cannot be unpacked: {error}"));
                Ok(())
            }
        }
    }

    /// The plain bytes of a zip member: what they are, and whether they are
    /// what was promised.
    pub(crate) fn content(
        &mut self,
        bytes: &mut dyn Read,
        entry: &ZipEntry,
        facts: &MemberFacts,
    ) -> TraverseResult {
        let shared = self.shared;
        let mut guard = CheckedReader::new(bytes, shared);
        self.peel_stream(&mut guard, facts)?;
        if guard.end() == Some(&StreamEnd::Whole) {
            let (made, crc) = (guard.made(), guard.crc());
            self.compare(entry, made, crc);
        }
        self.settle(guard.end(), guard.made())
    }

    fn compare(&mut self, entry: &ZipEntry, made: u64, crc: u32) {
        let size_differs = entry.size().filter(|size| *size != made);
        if let Some(size) = size_differs {
            self.problem(
                ProblemKind::Lying,
                format!("holds {made} bytes, its header says {size}"),
            );
        }
        if let Some(said) = entry.crc().filter(|said| *said != crc) {
            self.problem(
                ProblemKind::ChecksumMismatch,
                format!("has CRC {crc:08x} over {made} bytes, its header says {said:08x}"),
            );
        }
    }
}

/// Small members are many: no more buffer than they fill.
fn buffer_len(len: u64) -> usize {
    usize::try_from(len)
        .unwrap_or(READ_BYTES)
        .clamp(64, READ_BYTES)
}
