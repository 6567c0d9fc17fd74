//! The walk: from the result inwards, each wrapping peeled in turn.

mod member_facts;
mod passwords;
mod zip_members;

use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;

use crate::checked_reader::{CheckedReader, StreamEnd};
use crate::gzip;
use crate::gzip::{GzipHeader, GzipReader};
use crate::limits::READ_BYTES;
use crate::source;
use crate::source::{PeekReader, RangeReader, TraverseContext};
use crate::spool;
use crate::spool::{Spool, SpoolError};
use crate::traverse::member_facts::{MemberFacts, file_name};
use crate::zip;
use crate::{
    ContainerFormat, Member, MembersError, Modified, ReadSeek, ResultHint, ScratchFactory,
    TraverseSettings, TraverseSummary, Visitor, written,
};
use evidence::{Layer, Problem, ProblemKind};

/// Walks through everything inside `source`, whatever wraps it.
///
/// **Errors**: only failures of the world: of `source`, of a scratch file.
/// **Cost**: every byte of every wrapping is inflated once, encrypted members
/// up to twice; one scratch file per level of nested archives that do not fit
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

/// The road back: hands the bytes at `layers` to `take` (a wrapping there is
/// handed over as it is), and returns what was wrong with them.
///
/// **Errors**: those of [`walk`], and where nothing is there or nothing of it
/// can be read.
/// **Cost**: wrappings on the way are inflated as far as needed.
pub fn open(
    source: &mut dyn ReadSeek,
    hint: ResultHint<'_>,
    layers: &[Layer],
    settings: &TraverseSettings,
    scratch: &mut ScratchFactory<'_>,
    take: &mut dyn FnMut(&Member<'_>, &mut dyn Read),
) -> Result<Vec<Problem>, MembersError> {
    let mut one = SingleMember {
        layers,
        take,
        taken: false,
        problems: Vec::new(),
    };
    run(source, hint, settings, scratch, &mut one, Some(layers))?;
    if one.taken {
        return Ok(one.problems);
    }
    let what = written(layers);
    Err(match one.problems.first() {
        Some(problem) => MembersError::Unreadable {
            what,
            why: problem.message.clone(),
        },
        None => MembersError::NoSuchMember { what },
    })
}

/// Takes the one member that was asked for.
struct SingleMember<'a> {
    layers: &'a [Layer],
    take: &'a mut dyn FnMut(&Member<'_>, &mut dyn Read),
    taken: bool,
    problems: Vec<Problem>,
}

impl Visitor for SingleMember<'_> {
    fn member(&mut self, member: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
        if member.layers == self.layers {
            self.taken = true;
            (self.take)(member, bytes);
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
    let len = source
        .seek(io::SeekFrom::End(0))
        .map_err(|source| failed(&[], source))?;
    let limits = &settings.limits;
    let shared = TraverseContext::new(limits.work(len), limits.member(len));
    let mut traversal = Traversal {
        settings,
        shared: &shared,
        scratch,
        visitor,
        target,
        layers: Vec::new(),
        depth: 0,
        entries: 0,
        likely: 0,
        summary: TraverseSummary::default(),
    };
    let mut facts = MemberFacts::default();
    if let Some(name) = hint.name {
        facts.name = file_name(name);
        facts.raw_name = name.as_bytes().to_vec();
    }
    let ended = traversal.peel_seekable(source, &facts);
    let mut summary = traversal.summary;
    summary.inflated_bytes = shared.inflated.get();
    match ended {
        Ok(()) | Err(TraverseStop::Found) => Ok(summary),
        Err(TraverseStop::Visitor) => {
            summary.stopped = true;
            Ok(summary)
        }
        Err(TraverseStop::Cut) => {
            summary.cut = true;
            Ok(summary)
        }
        Err(TraverseStop::World(error)) => Err(error),
    }
}

fn failed(layers: &[Layer], source: io::Error) -> MembersError {
    MembersError::Source {
        what: written(layers),
        source,
    }
}

/// Why a walk ends early.
enum TraverseStop {
    Visitor,
    /// A limit of the whole walk; the problem has been told.
    Cut,
    /// The member that was looked for has been handed over.
    Found,
    World(MembersError),
}

type TraverseResult = Result<(), TraverseStop>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum DetectedFormat {
    Gzip,
    Zip,
    File,
}

struct Traversal<'w> {
    settings: &'w TraverseSettings,
    shared: &'w TraverseContext,
    scratch: &'w mut ScratchFactory<'w>,
    visitor: &'w mut dyn Visitor,
    target: Option<&'w [Layer]>,
    layers: Vec<Layer>,
    depth: u32,
    entries: u64,
    /// The password that opened the member before: it will open the next.
    likely: usize,
    summary: TraverseSummary,
}

impl Traversal<'_> {
    fn peel_seekable(&mut self, source: &mut dyn ReadSeek, facts: &MemberFacts) -> TraverseResult {
        let mut head = [0; source::PEEK_BYTES];
        let got = self.world(source::read_at(source, self.shared, 0, &mut head))?;
        let head = head.get(..got).unwrap_or_default();
        match self.kind(head)? {
            DetectedFormat::Gzip => {
                let window = self.world(RangeReader::new(source, self.shared, 0, u64::MAX))?;
                self.peel_gzip(BufReader::with_capacity(READ_BYTES, window), facts)
            }
            DetectedFormat::Zip => self.peel_zip(source, facts, 0),
            DetectedFormat::File => {
                let appended = self.find_appended(source, head)?;
                self.leaf_of(source, facts)?;
                match appended {
                    Some(before) => self.peel_zip(source, facts, before),
                    None => Ok(()),
                }
            }
        }
    }

    /// All of a source as it is.
    fn leaf_of(&mut self, source: &mut dyn ReadSeek, facts: &MemberFacts) -> TraverseResult {
        let shared = self.shared;
        let mut window = self.world(RangeReader::new(source, shared, 0, u64::MAX))?;
        let mut guard = CheckedReader::new(&mut window, shared);
        self.leaf(&mut guard, facts)?;
        self.settle(guard.end(), guard.made())
    }

    /// An archive hung onto something else. JSON is spared the look: it is
    /// what most results are.
    fn find_appended(
        &mut self,
        source: &mut dyn ReadSeek,
        head: &[u8],
    ) -> Result<Option<u64>, TraverseStop> {
        let deep = self.depth >= self.settings.limits.depth_max;
        if deep || self.is_target() || head.starts_with(b"{") {
            return Ok(None);
        }
        self.world(zip::find_appended(source, self.shared))
    }

    fn peel_stream(
        &mut self,
        guard: &mut CheckedReader<'_>,
        facts: &MemberFacts,
    ) -> TraverseResult {
        let peeked = PeekReader::new(guard);
        let mut peeked = self.world(peeked)?;
        match self.kind(peeked.head())? {
            DetectedFormat::File => self.leaf(&mut peeked, facts),
            DetectedFormat::Gzip => {
                self.peel_gzip(BufReader::with_capacity(READ_BYTES, peeked), facts)
            }
            DetectedFormat::Zip => {
                let mut spool = self.spool(&mut peeked)?;
                self.peel_zip(&mut spool, facts, 0)
            }
        }
    }

    /// What begins with `head`, at the depth and for the target at hand.
    fn kind(&mut self, head: &[u8]) -> Result<DetectedFormat, TraverseStop> {
        let kind = if gzip::is_gzip(head) && gzip::is_plausible(head) {
            DetectedFormat::Gzip
        } else if zip::is_zip(head) {
            DetectedFormat::Zip
        } else {
            DetectedFormat::File
        };
        if kind == DetectedFormat::File || self.is_target() {
            return Ok(DetectedFormat::File);
        }
        let depth_max = self.settings.limits.depth_max;
        if self.depth >= depth_max {
            self.problem(
                ProblemKind::LimitReached,
                format!("wrapped {depth_max} times and more (limit {depth_max}): kept as it is"),
            );
            return Ok(DetectedFormat::File);
        }
        Ok(kind)
    }

    fn leaf(&mut self, bytes: &mut dyn Read, facts: &MemberFacts) -> TraverseResult {
        if self.target.is_some_and(|target| target != self.layers) {
            return Ok(());
        }
        self.summary.members += 1;
        let flow = self.visitor.member(&facts.member(&self.layers), bytes);
        self.no_fault()?;
        match flow {
            ControlFlow::Break(()) => Err(TraverseStop::Visitor),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// Tells how a member's bytes ended, and ends the walk where that was a
    /// limit of the whole.
    fn settle(&mut self, end: Option<&StreamEnd>, made: u64) -> TraverseResult {
        match end {
            Some(StreamEnd::Damaged(why)) => self.problem(
                ProblemKind::Damaged,
                format!("breaks off: {why}; {made} bytes kept"),
            ),
            Some(StreamEnd::MemberLimit) => self.problem(
                ProblemKind::LimitReached,
                format!(
                    "member is cut after {made} bytes: limit of {}",
                    self.shared.member.why
                ),
            ),
            Some(StreamEnd::WorkLimit) => {
                let why = &self.shared.work.why;
                self.problem(
                    ProblemKind::LimitReached,
                    format!("cut after {made} bytes, and everything behind it: limit of {why}"),
                );
                return Err(TraverseStop::Cut);
            }
            Some(StreamEnd::Whole | StreamEnd::Fault) | None => {}
        }
        if self.target == Some(self.layers.as_slice()) {
            return Err(TraverseStop::Found);
        }
        Ok(())
    }

    fn peel_gzip<R: io::BufRead>(&mut self, mut input: R, facts: &MemberFacts) -> TraverseResult {
        self.announce(facts, ContainerFormat::Gzip)?;
        let header = match GzipHeader::read(&mut input) {
            Ok(header) => header,
            Err(error) => {
                self.no_fault()?;
                self.problem(
                    ProblemKind::Damaged,
                    format!("gzip header breaks off: {error}"),
                );
                return Ok(());
            }
        };
        let inner = self.gzip_facts(&header, facts);
        let named = Layer::named(&inner.name, 0);
        if !self.is_wanted(&named) {
            return Ok(());
        }
        self.enter(named);
        let flow = self.gzip_content(input, &inner);
        self.leave();
        flow
    }

    fn gzip_content<R: io::BufRead>(&mut self, input: R, facts: &MemberFacts) -> TraverseResult {
        let shared = self.shared;
        let mut gzip = GzipReader::new(input);
        let mut guard = CheckedReader::new(&mut gzip, shared);
        let flow = self.peel_stream(&mut guard, facts);
        let (end, made) = (guard.end().cloned(), guard.made());
        for problem in gzip.into_problems() {
            self.problem(problem.kind, problem.message);
        }
        flow?;
        self.settle(end.as_ref(), made)
    }

    /// A gzip layer is called what it says itself; the outermost one may be
    /// called by the name the result came under.
    fn gzip_facts(&self, header: &GzipHeader, outer: &MemberFacts) -> MemberFacts {
        let own = header.name.as_ref().filter(|name| !name.is_empty());
        let (raw_name, name) = match own {
            Some(raw) => (raw.clone(), gzip::latin1(raw)),
            None if self.layers.is_empty() => {
                let name = outer.name.as_str();
                let cut = name.len().saturating_sub(3);
                let name = match name.get(cut..) {
                    Some(end) if end.eq_ignore_ascii_case(".gz") => &name[..cut],
                    _ => name,
                };
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

    fn spool(&mut self, bytes: &mut dyn Read) -> Result<Spool, TraverseStop> {
        let limits = &self.settings.limits;
        match spool::spool(bytes, limits, self.shared, self.scratch) {
            Ok(spooled) => {
                if spooled.cut {
                    let max = limits.scratch_bytes_max;
                    self.problem(
                        ProblemKind::LimitReached,
                        format!("nested archive is longer than {max} bytes (limit): cut there"),
                    );
                }
                Ok(spooled.spool)
            }
            Err(SpoolError::Read(error)) => Err(self.broken(error)),
            Err(SpoolError::Scratch(source)) => Err(TraverseStop::World(MembersError::Scratch {
                what: written(&self.layers),
                source,
            })),
        }
    }

    fn announce(&mut self, facts: &MemberFacts, wrapping: ContainerFormat) -> TraverseResult {
        self.summary.containers += 1;
        if self.target.is_some() {
            return Ok(());
        }
        match self
            .visitor
            .container(&facts.member(&self.layers), wrapping)
        {
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

    /// Whether the walk goes on under `label`: always, unless it looks for one
    /// member.
    fn is_wanted(&self, label: &Layer) -> bool {
        self.target
            .is_none_or(|target| target.get(self.layers.len()) == Some(label))
    }

    fn problem(&mut self, kind: ProblemKind, message: String) {
        self.summary.problems += 1;
        self.visitor
            .problem(&self.layers, Problem::new(kind, message));
    }

    /// Reads from below; what fails there is the world's.
    fn world<T>(&mut self, read: io::Result<T>) -> Result<T, TraverseStop> {
        read.map_err(|error| self.broken(error))
    }

    fn no_fault(&mut self) -> TraverseResult {
        match self.shared.take_fault() {
            Some(error) => Err(self.broken(error)),
            None => Ok(()),
        }
    }

    /// Below something fails, or was read too often.
    fn broken(&mut self, error: io::Error) -> TraverseStop {
        if self.shared.is_read_out() {
            let max = self.shared.reads_max();
            self.problem(
                ProblemKind::LimitReached,
                format!(
                    "sends its readers in circles: more than {max} bytes read (limit), so that \
                     everything from here on is left out"
                ),
            );
            return TraverseStop::Cut;
        }
        let error = self.shared.take_fault().unwrap_or(error);
        TraverseStop::World(failed(&self.layers, error))
    }
}
