//! The traversal: opens the result and every container inside it, recursively.

mod member_facts;
mod passwords;
mod zip_members;

use std::io::{self, BufReader, Read, SeekFrom};
use std::ops::ControlFlow;

use crate::checked_reader::{CheckedReader, StreamEnd};
use crate::gzip;
use crate::gzip::{GzipHeader, GzipReader};
use crate::limits::{READ_BYTES, print_size};
use crate::source;
use crate::source::{PeekReader, RangeReader, TraverseContext};
use crate::traverse::member_facts::{MemberFacts, file_name};
use crate::zip;
use crate::{
    ContainerFormat, Member, MembersError, Modified, ReadSeek, ResultHint, ScratchFactory,
    TraverseSettings, TraverseSummary, Visitor, print_layers,
};
use evidence::{Layer, Problem, ProblemKind};
use util::{Spool, SpoolError, SpoolLimits};

/// Visits every member of `source` and of the containers inside it.
///
/// **Errors**: only failures of the environment: `source` or a scratch file
/// could not be read or written.
/// **Cost**: each container is decompressed once, an encrypted member up to
/// twice. One scratch file for each level of nested archives that do not fit
/// in memory.
pub fn traverse(
    source: &mut dyn ReadSeek,
    hint: ResultHint<'_>,
    settings: &TraverseSettings,
    scratch: &mut ScratchFactory<'_>,
    visitor: &mut dyn Visitor,
) -> Result<TraverseSummary, MembersError> {
    run(source, hint, settings, scratch, visitor, None)
}

/// Calls `read` with the member at `layers`, and returns the problems of the
/// member and of the containers around it. A container at `layers` is not
/// opened.
///
/// **Errors**: those of [`traverse`]; `NoSuchMember` or `Unreadable` if there
/// is no such member or none of it can be read.
/// **Cost**: containers on the path are decompressed up to the member.
pub fn open(
    source: &mut dyn ReadSeek,
    hint: ResultHint<'_>,
    layers: &[Layer],
    settings: &TraverseSettings,
    scratch: &mut ScratchFactory<'_>,
    read: &mut dyn FnMut(&Member<'_>, &mut dyn Read),
) -> Result<Vec<Problem>, MembersError> {
    let mut visitor = SingleMember {
        layers,
        read,
        is_found: false,
        problems: Vec::new(),
    };
    run(source, hint, settings, scratch, &mut visitor, Some(layers))?;
    if visitor.is_found {
        return Ok(visitor.problems);
    }
    let member = print_layers(layers);
    Err(match visitor.problems.first() {
        Some(problem) => MembersError::Unreadable {
            member,
            reason: problem.message.clone(),
        },
        None => MembersError::NoSuchMember { member },
    })
}

/// Visits the member at `layers` only.
struct SingleMember<'a> {
    layers: &'a [Layer],
    read: &'a mut dyn FnMut(&Member<'_>, &mut dyn Read),
    is_found: bool,
    problems: Vec<Problem>,
}

impl Visitor for SingleMember<'_> {
    fn member(&mut self, member: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
        if member.layers == self.layers {
            self.is_found = true;
            (self.read)(member, bytes);
        }
        ControlFlow::Continue(())
    }

    fn problem(&mut self, layers: &[Layer], problem: Problem) {
        if self.layers.starts_with(layers) {
            self.problems.push(problem);
        }
    }
}

fn run(
    source: &mut dyn ReadSeek,
    hint: ResultHint<'_>,
    settings: &TraverseSettings,
    scratch: &mut ScratchFactory<'_>,
    visitor: &mut dyn Visitor,
    target: Option<&[Layer]>,
) -> Result<TraverseSummary, MembersError> {
    let source_bytes = source
        .seek(SeekFrom::End(0))
        .map_err(|source| source_error(&[], source))?;
    let span = tracing::debug_span!(
        target: "members",
        "traverse",
        source_bytes,
        is_single = target.is_some()
    );
    let _entered = span.enter();
    let limits = &settings.limits;
    let context = TraverseContext::new(limits.total(source_bytes), limits.member(source_bytes));
    let mut traversal = Traversal {
        settings,
        context: &context,
        scratch,
        visitor,
        target,
        layers: Vec::new(),
        depth: 0,
        entries: 0,
        last_password: 0,
        summary: TraverseSummary::default(),
    };
    let result = traversal.unpack_source(source, &facts_of_result(hint));
    let mut summary = traversal.summary;
    summary.inflated_bytes = context.inflated.get();
    match result {
        Ok(()) | Err(TraverseStop::TargetRead) => {}
        Err(TraverseStop::Visitor) => summary.stopped = true,
        Err(TraverseStop::LimitReached) => summary.cut = true,
        Err(TraverseStop::Failed(error)) => return Err(error),
    }
    tracing::debug!(
        target: "members",
        members = summary.members,
        containers = summary.containers,
        inflated_bytes = summary.inflated_bytes,
        problems = summary.problems,
        locked = summary.locked,
        cut = summary.cut,
        "traversal finished"
    );
    Ok(summary)
}

fn facts_of_result(hint: ResultHint<'_>) -> MemberFacts {
    match hint.name {
        Some(name) => MemberFacts {
            name: file_name(name),
            raw_name: name.as_bytes().to_vec(),
            ..MemberFacts::default()
        },
        None => MemberFacts::default(),
    }
}

fn source_error(layers: &[Layer], source: io::Error) -> MembersError {
    MembersError::Source {
        member: print_layers(layers),
        source,
    }
}

/// Why a traversal ends early.
enum TraverseStop {
    Visitor,
    /// A limit of the whole traversal; the problem has been reported.
    LimitReached,
    /// The member to open has been read.
    TargetRead,
    Failed(MembersError),
}

type TraverseResult = Result<(), TraverseStop>;

/// The format of a member, detected from its first bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DetectedFormat {
    Gzip,
    Zip,
    /// Not a container, or one that is not opened.
    File,
}

struct Traversal<'w> {
    settings: &'w TraverseSettings,
    context: &'w TraverseContext,
    scratch: &'w mut ScratchFactory<'w>,
    visitor: &'w mut dyn Visitor,
    /// The only member to read.
    target: Option<&'w [Layer]>,
    layers: Vec<Layer>,
    depth: u32,
    entries: u64,
    /// Index of the password that opened the previous member.
    last_password: usize,
    summary: TraverseSummary,
}

impl Traversal<'_> {
    fn unpack_source(&mut self, source: &mut dyn ReadSeek, facts: &MemberFacts) -> TraverseResult {
        let mut buffer = [0; source::PEEK_BYTES];
        let got = self.check_source(source::read_at(source, self.context, 0, &mut buffer))?;
        let head = buffer.get(..got).unwrap_or_default();
        match self.detect(head)? {
            DetectedFormat::Gzip => {
                let reader =
                    self.check_source(RangeReader::new(source, self.context, 0, u64::MAX))?;
                self.unpack_gzip(BufReader::with_capacity(READ_BYTES, reader), facts)
            }
            DetectedFormat::Zip => self.unpack_zip(source, facts, 0),
            DetectedFormat::File => {
                let appended = self.find_appended(source, head)?;
                self.file_of_source(source, facts)?;
                match appended {
                    Some(bytes_before) => self.unpack_zip(source, facts, bytes_before),
                    None => Ok(()),
                }
            }
        }
    }

    /// Visits all of `source` as one file.
    fn file_of_source(&mut self, source: &mut dyn ReadSeek, facts: &MemberFacts) -> TraverseResult {
        let mut range = self.check_source(RangeReader::new(source, self.context, 0, u64::MAX))?;
        let mut reader = CheckedReader::new(&mut range, self.context);
        self.file(&mut reader, facts)?;
        self.finish_member(reader.end(), reader.bytes_read())
    }

    /// Searches for an archive appended to other data. JSON is not searched:
    /// most results are JSON.
    fn find_appended(
        &mut self,
        source: &mut dyn ReadSeek,
        head: &[u8],
    ) -> Result<Option<u64>, TraverseStop> {
        let is_too_deep = self.depth >= self.settings.limits.depth_max;
        if is_too_deep || self.is_target() || head.starts_with(b"{") {
            return Ok(None);
        }
        self.check_source(zip::find_appended(source, self.context))
    }

    fn unpack_stream(
        &mut self,
        reader: &mut CheckedReader<'_>,
        facts: &MemberFacts,
    ) -> TraverseResult {
        let mut stream = self.check_source(PeekReader::new(reader))?;
        match self.detect(stream.head())? {
            DetectedFormat::File => self.file(&mut stream, facts),
            DetectedFormat::Gzip => {
                self.unpack_gzip(BufReader::with_capacity(READ_BYTES, stream), facts)
            }
            DetectedFormat::Zip => {
                let mut spool = self.spool(&mut stream)?;
                self.unpack_zip(&mut spool, facts, 0)
            }
        }
    }

    /// Detects the format of what starts with `head`. The member to open and
    /// containers beyond the depth limit are files.
    fn detect(&mut self, head: &[u8]) -> Result<DetectedFormat, TraverseStop> {
        let format = if gzip::is_gzip(head) && gzip::is_plausible(head) {
            DetectedFormat::Gzip
        } else if zip::is_zip(head) {
            DetectedFormat::Zip
        } else {
            DetectedFormat::File
        };
        if format == DetectedFormat::File || self.is_target() {
            return Ok(DetectedFormat::File);
        }
        let depth_max = self.settings.limits.depth_max;
        if self.depth >= depth_max {
            self.report_limit(
                "depth",
                format!(
                    "nested more than {depth_max} levels deep (limit): not opened further, \
                     searched as it is"
                ),
            );
            return Ok(DetectedFormat::File);
        }
        Ok(format)
    }

    /// Visits a member that is not a container.
    fn file(&mut self, bytes: &mut dyn Read, facts: &MemberFacts) -> TraverseResult {
        if self.target.is_some_and(|target| target != self.layers) {
            return Ok(());
        }
        self.summary.members += 1;
        let flow = self.visitor.member(&facts.member(&self.layers), bytes);
        self.check_failure()?;
        match flow {
            ControlFlow::Break(()) => Err(TraverseStop::Visitor),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// Reports an early end of a member. A limit of the whole traversal ends
    /// the traversal.
    fn finish_member(&mut self, end: Option<&StreamEnd>, bytes_read: u64) -> TraverseResult {
        match end {
            Some(StreamEnd::Damaged(reason)) => self.problem(
                ProblemKind::Damaged,
                format!("damaged: {reason}; {bytes_read} bytes kept"),
            ),
            Some(StreamEnd::MemberLimit) => {
                let limit = &self.context.member_limit.description;
                self.report_limit(
                    "member bytes",
                    format!("member cut after {bytes_read} bytes: limit of {limit} reached"),
                );
            }
            Some(StreamEnd::TotalLimit) => {
                let limit = &self.context.total_limit.description;
                self.report_limit(
                    "inflated bytes",
                    format!(
                        "stopped after {bytes_read} bytes and did not read the rest of the \
                         result: limit of {limit} reached"
                    ),
                );
                return Err(TraverseStop::LimitReached);
            }
            Some(StreamEnd::Complete | StreamEnd::SourceFailure) | None => {}
        }
        if self.is_target() {
            return Err(TraverseStop::TargetRead);
        }
        Ok(())
    }

    fn unpack_gzip<R: io::BufRead>(&mut self, mut input: R, facts: &MemberFacts) -> TraverseResult {
        self.report_container(facts, ContainerFormat::Gzip)?;
        let header = match GzipHeader::read(&mut input) {
            Ok(header) => header,
            Err(error) => {
                self.check_failure()?;
                self.problem(
                    ProblemKind::Damaged,
                    format!("could not read the gzip header: {error}"),
                );
                return Ok(());
            }
        };
        let inner = self.gzip_facts(&header, facts);
        let label = Layer::named(&inner.name, 0);
        if !self.leads_to_target(&label) {
            return Ok(());
        }
        self.enter(label);
        let result = self.gzip_content(input, &inner);
        self.leave();
        result
    }

    fn gzip_content<R: io::BufRead>(&mut self, input: R, facts: &MemberFacts) -> TraverseResult {
        let mut gzip = GzipReader::new(input);
        let mut reader = CheckedReader::new(&mut gzip, self.context);
        let result = self.unpack_stream(&mut reader, facts);
        let (end, bytes_read) = (reader.end().cloned(), reader.bytes_read());
        for problem in gzip.into_problems() {
            self.problem(problem.kind, problem.message);
        }
        result?;
        self.finish_member(end.as_ref(), bytes_read)
    }

    /// The content of a gzip. Its name is the one in the header; without it,
    /// the outermost gzip has the name of the result without `.gz`.
    fn gzip_facts(&self, header: &GzipHeader, outer: &MemberFacts) -> MemberFacts {
        let header_name = header.name.as_ref().filter(|name| !name.is_empty());
        let (raw_name, name) = match header_name {
            Some(raw) => (raw.clone(), gzip::latin1(raw)),
            None if self.layers.is_empty() => {
                let name = without_gz(&outer.name);
                (name.as_bytes().to_vec(), name.to_string())
            }
            None => Default::default(),
        };
        MemberFacts {
            raw_name,
            name,
            modified: (header.mtime != 0).then(|| Modified::Unix(i64::from(header.mtime))),
            ..MemberFacts::default()
        }
    }

    /// Spools a nested archive, which is read with seeking.
    fn spool(&mut self, stream: &mut dyn Read) -> Result<Spool, TraverseStop> {
        let limits = SpoolLimits {
            memory_bytes_max: self.settings.limits.memory_bytes_max,
            bytes_max: self.settings.limits.scratch_bytes_max,
        };
        match Spool::fill(stream, limits, self.scratch) {
            Ok(spooled) => {
                if spooled.is_cut {
                    let max = print_size(limits.bytes_max);
                    self.report_limit(
                        "scratch bytes",
                        format!(
                            "nested archive is longer than {max} (limit): the rest is not read"
                        ),
                    );
                }
                Ok(spooled.spool)
            }
            Err(SpoolError::Read(error)) => Err(self.stop_at_failure(error)),
            Err(SpoolError::Scratch(source)) => {
                self.context.record_failure(&source);
                Err(TraverseStop::Failed(MembersError::Scratch {
                    archive: print_layers(&self.layers),
                    source,
                }))
            }
        }
    }

    fn report_container(&mut self, facts: &MemberFacts, format: ContainerFormat) -> TraverseResult {
        self.summary.containers += 1;
        tracing::debug!(target: "members", ?format, depth = self.depth, "container opened");
        if self.target.is_some() {
            return Ok(());
        }
        match self.visitor.container(&facts.member(&self.layers), format) {
            ControlFlow::Break(()) => Err(TraverseStop::Visitor),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    fn enter(&mut self, label: Layer) {
        self.layers.push(label);
        self.depth += 1;
    }

    fn leave(&mut self) {
        self.layers.pop();
        self.depth -= 1;
    }

    fn is_target(&self) -> bool {
        self.target == Some(self.layers.as_slice())
    }

    /// Whether to read the member `label` of the current container: all of
    /// them, or the one on the path to the target.
    fn leads_to_target(&self, label: &Layer) -> bool {
        self.target
            .is_none_or(|target| target.get(self.layers.len()) == Some(label))
    }

    fn problem(&mut self, kind: ProblemKind, message: String) {
        self.summary.problems += 1;
        self.visitor
            .problem(&self.layers, Problem::new(kind, message));
    }

    fn report_limit(&mut self, limit: &'static str, message: String) {
        tracing::info!(target: "members", limit, depth = self.depth, "limit reached");
        self.problem(ProblemKind::LimitReached, message);
    }

    /// Turns an error of the source into the end of the traversal.
    fn check_source<T>(&mut self, read: io::Result<T>) -> Result<T, TraverseStop> {
        read.map_err(|error| self.stop_at_failure(error))
    }

    /// Ends the traversal if a decoder met a failure of the source.
    fn check_failure(&mut self) -> TraverseResult {
        match self.context.take_failure() {
            Some(error) => Err(self.stop_at_failure(error)),
            None => Ok(()),
        }
    }

    /// The source failed, or the limit of reads is reached.
    fn stop_at_failure(&mut self, error: io::Error) -> TraverseStop {
        if self.context.is_read_limit_reached() {
            let max = print_size(self.context.read_bytes_max());
            self.report_limit(
                "read bytes",
                format!(
                    "archive refers to the same bytes too often: stopped after reading {max} \
                     (limit), the rest of the result is not read"
                ),
            );
            return TraverseStop::LimitReached;
        }
        let error = self.context.take_failure().unwrap_or(error);
        TraverseStop::Failed(source_error(&self.layers, error))
    }
}

/// `name` without the extension `.gz`.
fn without_gz(name: &str) -> &str {
    let stem_len = name.len().saturating_sub(3);
    match name.get(stem_len..) {
        Some(extension) if extension.eq_ignore_ascii_case(".gz") => &name[..stem_len],
        _ => name,
    }
}
