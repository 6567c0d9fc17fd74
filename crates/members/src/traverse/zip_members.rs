//! The members of a zip in order: which header is used if two differ, and
//! whether the content is as described.

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

/// The location of a member's compressed data.
#[derive(Clone, Copy)]
pub(crate) struct PackedRange {
    pub at: u64,
    pub len: u64,
}

impl<'w> Traversal<'w> {
    fn packed_reader<'s>(
        &mut self,
        source: &'s mut dyn ReadSeek,
        range: PackedRange,
    ) -> Result<BufReader<RangeReader<'s>>, TraverseStop>
    where
        'w: 's,
    {
        let reader =
            self.check_source(RangeReader::new(source, self.context, range.at, range.len))?;
        Ok(BufReader::with_capacity(buffer_len(range.len), reader))
    }

    /// Unpacks the archive that ends `source`, after `bytes_before` bytes of
    /// other data.
    pub(crate) fn unpack_zip(
        &mut self,
        source: &mut dyn ReadSeek,
        facts: &MemberFacts,
        bytes_before: u64,
    ) -> TraverseResult {
        let entries_max = self.settings.limits.entries_left(self.entries);
        let mut directory =
            self.check_source(ZipDirectory::read(source, self.context, entries_max))?;
        // Entries of this directory count against the limit of the archives
        // inside, which are read while it is open.
        let listed = directory.members.len();
        self.entries += listed as u64;
        if directory.is_doubtful {
            self.problem(
                ProblemKind::Damaged,
                "starts like a zip archive but has no members: read as a file".into(),
            );
            return self.file_of_source(source, facts);
        }
        self.report_container(facts, ContainerFormat::Zip)?;
        if bytes_before > 0 {
            self.problem(
                ProblemKind::Lying,
                format!(
                    "zip archive starts after {bytes_before} bytes of other data: both are read"
                ),
            );
        }
        let mut budget = ProblemBudget::default();
        self.zip_entries(source, &mut directory, 0, &mut budget)?;
        if budget.missing > 0 || self.target.is_some() {
            self.check_source(directory.recover_rest(source, self.context, entries_max))?;
            self.entries += (directory.members.len() - listed) as u64;
            self.zip_entries(source, &mut directory, listed, &mut budget)?;
        }
        self.finish_zip(&directory, &budget)
    }

    /// Reads the members from index `first` on.
    fn zip_entries(
        &mut self,
        source: &mut dyn ReadSeek,
        directory: &mut ZipDirectory,
        first: usize,
        budget: &mut ProblemBudget,
    ) -> TraverseResult {
        for problem in std::mem::take(&mut directory.problems) {
            self.problem(problem.kind, problem.message);
        }
        for ordinal in first..directory.members.len() {
            let Some(member) = directory.members.get(ordinal).copied() else {
                break;
            };
            if let Some(entry) =
                self.check_source(directory.entry(source, self.context, &member))?
            {
                self.zip_entry(source, &entry, &member, ordinal as u32, budget)?;
            }
        }
        Ok(())
    }

    fn finish_zip(&mut self, directory: &ZipDirectory, budget: &ProblemBudget) -> TraverseResult {
        tracing::debug!(
            target: "members",
            depth = self.depth,
            members = directory.members.len(),
            unreported_problems = budget.unreported(),
            "zip archive read"
        );
        if budget.unreported() > 0 {
            self.problem(
                ProblemKind::Lying,
                format!("{} more header problems not listed", budget.unreported()),
            );
        }
        if !directory.cut {
            return Ok(());
        }
        let members_max = self.settings.limits.members_max;
        self.report_limit(
            "members",
            format!("more than {members_max} members (limit): the rest is not read"),
        );
        Err(TraverseStop::LimitReached)
    }

    fn zip_entry(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        member: &ZipMemberRef,
        ordinal: u32,
        budget: &mut ProblemBudget,
    ) -> TraverseResult {
        if entry.is_directory() {
            self.summary.directories += 1;
            return Ok(());
        }
        let name = entry.name();
        let label = if member.name_repeats {
            Layer::numbered(ordinal)
        } else {
            Layer::named(&name, ordinal)
        };
        if !self.leads_to_target(&label) {
            return Ok(());
        }
        self.enter(label);
        let result = self.zip_member(source, entry, name, member.overlaps, budget);
        self.leave();
        result
    }

    fn zip_member(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        name: String,
        overlaps: bool,
        budget: &mut ProblemBudget,
    ) -> TraverseResult {
        let Some(local) = self.check_source(zip::read_local(source, self.context, entry))? else {
            budget.missing += 1;
            if budget.allow() {
                let at = entry.header_at;
                self.problem(
                    ProblemKind::Damaged,
                    format!("directory refers to offset {at}, where there is no member"),
                );
            }
            return Ok(());
        };
        self.report_header_problems(&local, overlaps, budget);
        let facts = MemberFacts::of_entry(entry, name);
        if entry.is_strongly_encrypted() && entry.is_encrypted() {
            self.problem(
                ProblemKind::Unsupported,
                "encrypted with PKWARE strong encryption, which is not supported".into(),
            );
            return Ok(());
        }
        let stated = PackedRange {
            at: local.data_at,
            len: entry.compressed,
        };
        let (entry, range) = self.resolve_headers(source, entry, &local, stated)?;
        let method = entry.inner_method();
        if !decode::is_supported(method) {
            self.problem(
                ProblemKind::Unsupported,
                format!(
                    "compressed with {}, which is not supported",
                    decode::method_name(method)
                ),
            );
            return Ok(());
        }
        if entry.is_encrypted() {
            self.encrypted_member(source, &entry, &facts, range)
        } else if decode::is_stored(&entry) {
            self.stored_member(source, &entry, &facts, range)
        } else {
            self.plain_member(source, &entry, &facts, range)
        }
    }

    fn report_header_problems(
        &mut self,
        local: &LocalHeader,
        overlaps: bool,
        budget: &mut ProblemBudget,
    ) {
        if !local.differs.is_empty() && budget.allow() {
            self.problem(
                ProblemKind::Lying,
                format!(
                    "local header differs from the directory: {}",
                    local.differs.join(", ")
                ),
            );
        }
        if overlaps && budget.allow() {
            self.problem(
                ProblemKind::Lying,
                "shares its bytes with another member".into(),
            );
        }
    }

    /// Chooses between the two headers of a member. The directory is used,
    /// unless the data is invalid with its method and valid with the other
    /// one. Of two sizes, the larger one is used if the stream has an end mark.
    fn resolve_headers(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        local: &LocalHeader,
        mut range: PackedRange,
    ) -> Result<(ZipEntry, PackedRange), TraverseStop> {
        let mut resolved = entry.clone();
        if entry.is_encrypted() || local.differs.is_empty() {
            return Ok((resolved, range));
        }
        if local.method != entry.method && decode::is_supported(local.method) {
            let other = entry.with_method(local.method);
            if !self.is_valid(source, entry, range)? && self.is_valid(source, &other, range)? {
                resolved = other;
            }
        }
        if decode::has_stream_end(resolved.method) {
            range.len = range.len.max(local.compressed.unwrap_or(0));
        }
        Ok((resolved, range))
    }

    /// Whether the beginning of the data decompresses as the entry describes.
    pub(crate) fn is_valid(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        range: PackedRange,
    ) -> Result<bool, TraverseStop> {
        if !decode::is_supported(entry.inner_method()) {
            return Ok(false);
        }
        let mut packed = self.packed_reader(source, range)?;
        let is_valid = decode::is_valid(self.context, entry, &mut packed);
        self.check_failure()?;
        Ok(is_valid)
    }

    /// A stored archive is read in place, without a scratch file. Its CRC is
    /// not computed, because each of its members has one.
    fn stored_member(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        facts: &MemberFacts,
        range: PackedRange,
    ) -> TraverseResult {
        let mut buffer = [0; source::PEEK_BYTES];
        let len = usize::try_from(range.len)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let got = self.check_source(source::read_at(
            source,
            self.context,
            range.at,
            &mut buffer[..len],
        ))?;
        let head = buffer.get(..got).unwrap_or_default();
        if !zip::is_zip(head) || self.detect(head)? != DetectedFormat::Zip {
            return self.plain_member(source, entry, facts, range);
        }
        let mut slice =
            self.check_source(SourceSlice::new(source, self.context, range.at, range.len))?;
        self.unpack_zip(&mut slice, facts, 0)
    }

    pub(crate) fn plain_member(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        facts: &MemberFacts,
        range: PackedRange,
    ) -> TraverseResult {
        let mut packed = self.packed_reader(source, range)?;
        let context = self.context;
        let decoded = decode::inflate(context, entry, &mut packed, |bytes| {
            self.zip_content(bytes, entry, facts)
        });
        self.finish_decoding(decoded)
    }

    /// Reports an error if the decoder could not be created; the member is
    /// then missing.
    pub(crate) fn finish_decoding(
        &mut self,
        decoded: io::Result<TraverseResult>,
    ) -> TraverseResult {
        match decoded {
            Ok(result) => result,
            Err(error) => {
                self.check_failure()?;
                self.problem(
                    ProblemKind::Damaged,
                    format!("could not decompress: {error}"),
                );
                Ok(())
            }
        }
    }

    /// Reads the content of a zip member, and compares it with its entry.
    pub(crate) fn zip_content(
        &mut self,
        bytes: &mut dyn Read,
        entry: &ZipEntry,
        facts: &MemberFacts,
    ) -> TraverseResult {
        let mut reader = CheckedReader::new(bytes, self.context);
        self.unpack_stream(&mut reader, facts)?;
        if reader.end() == Some(&StreamEnd::Complete) {
            self.compare_content(entry, reader.bytes_read(), reader.crc());
        }
        self.finish_member(reader.end(), reader.bytes_read())
    }

    fn compare_content(&mut self, entry: &ZipEntry, size: u64, crc: u32) {
        if let Some(stated) = entry.size()
            && stated != size
        {
            self.problem(
                ProblemKind::Lying,
                format!("contains {size} bytes, its header states {stated}"),
            );
        }
        if let Some(stated) = entry.crc()
            && stated != crc
        {
            self.problem(
                ProblemKind::ChecksumMismatch,
                format!("has CRC {crc:08x} over {size} bytes, its header states {stated:08x}"),
            );
        }
    }
}

/// Size of the read buffer: small members are frequent and need less.
fn buffer_len(len: u64) -> usize {
    usize::try_from(len)
        .unwrap_or(READ_BYTES)
        .clamp(64, READ_BYTES)
}
