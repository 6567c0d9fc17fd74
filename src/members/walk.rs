//! The walk: from the result inwards, each wrapping peeled in turn.

use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;

use super::decode::{self, Check, UnlockError};
use super::guard::{End, Guard};
use super::gzip::{self, Gzip, Header};
use super::limits::{LOCKED_LISTED_MAX, READ_BYTES};
use super::source::{self, Part, Peeked, Shared, Window};
use super::spool::{self, Spool, SpoolError};
use super::zip::{self, Catalog, Complaints, Entry, Local, Slot};
use super::{
    Hint, Member, MembersError, Modified, ReadSeek, ScratchFactory, Settings, Summary, Visitor,
    Wrapping, written,
};
use crate::evidence::{Layer, Problem, ProblemKind};

/// Walks through everything inside `source`, whatever wraps it.
///
/// **Errors**: only failures of the world: of `source`, of a scratch file.
/// **Cost**: every byte of every wrapping is inflated once, encrypted members
/// up to twice; one scratch file per level of nested archives that do not fit
/// in memory.
pub fn walk(
    source: &mut dyn ReadSeek,
    hint: Hint<'_>,
    settings: &Settings,
    scratch: &mut ScratchFactory<'_>,
    visitor: &mut dyn Visitor,
) -> Result<Summary, MembersError> {
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
    hint: Hint<'_>,
    layers: &[Layer],
    settings: &Settings,
    scratch: &mut ScratchFactory<'_>,
    take: &mut dyn FnMut(&Member<'_>, &mut dyn Read),
) -> Result<Vec<Problem>, MembersError> {
    let mut one = One {
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
struct One<'a> {
    layers: &'a [Layer],
    take: &'a mut dyn FnMut(&Member<'_>, &mut dyn Read),
    taken: bool,
    problems: Vec<Problem>,
}

impl Visitor for One<'_> {
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
    hint: Hint<'_>,
    settings: &Settings,
    scratch: &mut ScratchFactory<'_>,
    visitor: &mut dyn Visitor,
    target: Option<&[Layer]>,
) -> Result<Summary, MembersError> {
    let len = source
        .seek(io::SeekFrom::End(0))
        .map_err(|source| failed(&[], source))?;
    let shared = Shared::new(settings.limits.work(len));
    let mut walk = Walk {
        settings,
        shared: &shared,
        scratch,
        visitor,
        target,
        layers: Vec::new(),
        depth: 0,
        entries: 0,
        likely: 0,
        summary: Summary::default(),
    };
    let mut facts = Facts::default();
    if let Some(name) = hint.name {
        facts.name = file_name(name);
        facts.raw_name = name.as_bytes().to_vec();
    }
    let ended = walk.peel_seekable(source, &facts);
    let mut summary = walk.summary;
    summary.inflated_bytes = shared.inflated.get();
    match ended {
        Ok(()) | Err(Stop::Found) => Ok(summary),
        Err(Stop::Visitor) => {
            summary.stopped = true;
            Ok(summary)
        }
        Err(Stop::Cut) => {
            summary.cut = true;
            Ok(summary)
        }
        Err(Stop::World(error)) => Err(error),
    }
}

fn failed(layers: &[Layer], source: io::Error) -> MembersError {
    MembersError::Source {
        what: written(layers),
        source,
    }
}

/// The file name in a Content-Disposition header, or the header's text where
/// it is only that.
fn file_name(header: &str) -> String {
    let lower = header.to_ascii_lowercase();
    let value = match lower.find("filename") {
        Some(at) if header[at..].contains('=') => {
            let value = header[at..].split_once('=').map_or("", |(_, value)| value);
            let value = value.split(';').next().unwrap_or_default();
            value.rsplit_once("''").map_or(value, |(_, value)| value)
        }
        _ => header,
    };
    percent_decoded(value.trim().trim_matches('"'))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|e| gzip::latin1(e.as_bytes()))
}

/// What a container says of a member, apart from its labels.
#[derive(Clone, Debug, Default)]
struct Facts {
    raw_name: Vec<u8>,
    name: String,
    size_declared: Option<u64>,
    modified: Option<Modified>,
    encrypted: bool,
    symlink: bool,
}

impl Facts {
    fn of_entry(entry: &Entry, name: String) -> Self {
        Self {
            raw_name: entry.raw_name.clone(),
            name,
            size_declared: entry.size(),
            modified: entry.modified(),
            encrypted: entry.is_encrypted(),
            symlink: entry.is_symlink(),
        }
    }

    fn member<'a>(&'a self, layers: &'a [Layer]) -> Member<'a> {
        Member {
            layers,
            raw_name: &self.raw_name,
            name: &self.name,
            size_declared: self.size_declared,
            modified: self.modified,
            encrypted: self.encrypted,
            symlink: self.symlink,
        }
    }
}

/// Why a walk ends early.
enum Stop {
    Visitor,
    /// A limit of the whole walk; the problem has been told.
    Cut,
    /// The member that was looked for has been handed over.
    Found,
    World(MembersError),
}

type Flow = Result<(), Stop>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gzip,
    Zip,
    Leaf,
}

struct Walk<'w> {
    settings: &'w Settings,
    shared: &'w Shared,
    scratch: &'w mut ScratchFactory<'w>,
    visitor: &'w mut dyn Visitor,
    target: Option<&'w [Layer]>,
    layers: Vec<Layer>,
    depth: u32,
    entries: u64,
    /// The password that opened the member before: it will open the next.
    likely: usize,
    summary: Summary,
}

impl Walk<'_> {
    // ---- what is where -------------------------------------------------

    fn peel_seekable(&mut self, source: &mut dyn ReadSeek, facts: &Facts) -> Flow {
        let mut head = [0; source::PEEK_BYTES];
        let got = self.world(source::read_at(source, self.shared, 0, &mut head))?;
        let head = head.get(..got).unwrap_or_default();
        match self.kind(head)? {
            Kind::Gzip => {
                let window = self.world(Window::new(source, self.shared, 0, u64::MAX))?;
                self.peel_gzip(BufReader::with_capacity(READ_BYTES, window), facts)
            }
            Kind::Zip => self.peel_zip(source, facts, 0),
            Kind::Leaf => {
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
    fn leaf_of(&mut self, source: &mut dyn ReadSeek, facts: &Facts) -> Flow {
        let shared = self.shared;
        let mut window = self.world(Window::new(source, shared, 0, u64::MAX))?;
        let mut guard = Guard::new(&mut window, shared, &self.settings.limits);
        self.leaf(&mut guard, facts)?;
        self.settle(guard.end(), guard.made())
    }

    /// An archive hung onto something else. JSON is spared the look: it is
    /// what most results are.
    fn find_appended(
        &mut self,
        source: &mut dyn ReadSeek,
        head: &[u8],
    ) -> Result<Option<u64>, Stop> {
        let deep = self.depth >= self.settings.limits.depth_max;
        if deep || self.is_target() || head.starts_with(b"{") {
            return Ok(None);
        }
        self.world(zip::find_appended(source, self.shared))
    }

    fn peel_stream(&mut self, guard: &mut Guard<'_>, facts: &Facts) -> Flow {
        let peeked = Peeked::new(guard);
        let mut peeked = self.world(peeked)?;
        match self.kind(peeked.head())? {
            Kind::Leaf => self.leaf(&mut peeked, facts),
            Kind::Gzip => self.peel_gzip(BufReader::with_capacity(READ_BYTES, peeked), facts),
            Kind::Zip => {
                let mut spool = self.spool(&mut peeked)?;
                self.peel_zip(&mut spool, facts, 0)
            }
        }
    }

    /// What begins with `head`, at the depth and for the target at hand.
    fn kind(&mut self, head: &[u8]) -> Result<Kind, Stop> {
        let kind = if gzip::is_gzip(head) && gzip::is_plausible(head) {
            Kind::Gzip
        } else if zip::is_zip(head) {
            Kind::Zip
        } else {
            Kind::Leaf
        };
        if kind == Kind::Leaf || self.is_target() {
            return Ok(Kind::Leaf);
        }
        let depth_max = self.settings.limits.depth_max;
        if self.depth >= depth_max {
            self.problem(
                ProblemKind::LimitReached,
                format!("wrapped {depth_max} times and more (limit {depth_max}): kept as it is"),
            );
            return Ok(Kind::Leaf);
        }
        Ok(kind)
    }

    // ---- leaves --------------------------------------------------------

    fn leaf(&mut self, bytes: &mut dyn Read, facts: &Facts) -> Flow {
        if self.target.is_some_and(|target| target != self.layers) {
            return Ok(());
        }
        self.summary.members += 1;
        let flow = self.visitor.member(&facts.member(&self.layers), bytes);
        if let Some(error) = self.shared.take_fault() {
            return Err(Stop::World(failed(&self.layers, error)));
        }
        match flow {
            ControlFlow::Break(()) => Err(Stop::Visitor),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// Tells how a member's bytes ended, and ends the walk where that was a
    /// limit of the whole.
    fn settle(&mut self, end: Option<&End>, made: u64) -> Flow {
        match end {
            Some(End::Damaged(why)) => self.problem(
                ProblemKind::Damaged,
                format!("breaks off: {why}; {made} bytes kept"),
            ),
            Some(End::MemberLimit) => self.problem(
                ProblemKind::LimitReached,
                format!("member is longer than {made} bytes (limit): the rest is not read"),
            ),
            Some(End::WorkLimit) => {
                let why = self.shared.inflated_why.clone();
                self.problem(
                    ProblemKind::LimitReached,
                    format!("cut after {made} bytes, and everything behind it: limit of {why}"),
                );
                return Err(Stop::Cut);
            }
            Some(End::Whole | End::Fault) | None => {}
        }
        if self.target == Some(self.layers.as_slice()) {
            return Err(Stop::Found);
        }
        Ok(())
    }

    // ---- gzip ----------------------------------------------------------

    fn peel_gzip<R: io::BufRead>(&mut self, mut input: R, facts: &Facts) -> Flow {
        self.announce(facts, Wrapping::Gzip)?;
        let header = match Header::read(&mut input) {
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

    fn gzip_content<R: io::BufRead>(&mut self, input: R, facts: &Facts) -> Flow {
        let shared = self.shared;
        let mut gzip = Gzip::new(input);
        let mut guard = Guard::new(&mut gzip, shared, &self.settings.limits);
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
    fn gzip_facts(&self, header: &Header, outer: &Facts) -> Facts {
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
        Facts {
            raw_name,
            name,
            modified: (header.mtime != 0).then(|| Modified::Unix(i64::from(header.mtime))),
            ..Facts::default()
        }
    }

    // ---- zip -----------------------------------------------------------

    fn peel_zip(&mut self, source: &mut dyn ReadSeek, facts: &Facts, before: u64) -> Flow {
        let room = self.settings.limits.entries_left(self.entries);
        let mut catalog = self.world(Catalog::read(source, self.shared, room))?;
        if catalog.is_doubtful {
            self.problem(
                ProblemKind::Damaged,
                "begins like a zip archive and holds no member: kept as it is".into(),
            );
            return self.leaf_of(source, facts);
        }
        self.announce(facts, Wrapping::Zip)?;
        if before > 0 {
            self.problem(
                ProblemKind::Lying,
                format!(
                    "a zip archive stands behind {before} bytes of something else: both are read"
                ),
            );
        }
        let mut complaints = Complaints::default();
        let listed = self.zip_entries(source, &mut catalog, 0, &mut complaints)?;
        if complaints.missing > 0 || self.target.is_some() {
            self.world(catalog.recover_rest(source, self.shared, room))?;
            self.zip_entries(source, &mut catalog, listed, &mut complaints)?;
        }
        self.entries += catalog.slots.len() as u64;
        self.end_zip(&catalog, &complaints)
    }

    /// Goes through the members from `first` on; where they end.
    fn zip_entries(
        &mut self,
        source: &mut dyn ReadSeek,
        catalog: &mut Catalog,
        first: usize,
        complaints: &mut Complaints,
    ) -> Result<usize, Stop> {
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
        Ok(catalog.slots.len())
    }

    fn end_zip(&mut self, catalog: &Catalog, complaints: &Complaints) -> Flow {
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
        Err(Stop::Cut)
    }

    fn zip_entry(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &Entry,
        slot: &Slot,
        ordinal: u32,
        complaints: &mut Complaints,
    ) -> Flow {
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
        entry: &Entry,
        name: String,
        overlaps: bool,
        complaints: &mut Complaints,
    ) -> Flow {
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
        let facts = Facts::of_entry(entry, name);
        if entry.is_strongly_encrypted() && entry.is_encrypted() {
            self.problem(
                ProblemKind::Unsupported,
                "locked with PKWARE strong encryption, which this build cannot read".into(),
            );
            return Ok(());
        }
        let stretch = Stretch {
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
        entry: &Entry,
        local: &Local,
        mut stretch: Stretch,
    ) -> Result<(Entry, Stretch), Stop> {
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

    fn makes_sense(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &Entry,
        stretch: Stretch,
    ) -> Result<bool, Stop> {
        if !decode::is_supported(entry.inner_method()) {
            return Ok(false);
        }
        let window = self.world(Window::new(source, self.shared, stretch.at, stretch.len))?;
        let mut input = BufReader::with_capacity(buffer_len(stretch.len), window);
        let makes_sense = decode::makes_sense(entry, &mut input);
        self.no_fault()?;
        Ok(makes_sense)
    }

    /// A stored archive needs no scratch file: it is read where it stands.
    /// Its own members have checksums, so its checksum is not computed.
    fn stored_member(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &Entry,
        facts: &Facts,
        stretch: Stretch,
    ) -> Flow {
        let mut head = [0; source::PEEK_BYTES];
        let len = usize::try_from(stretch.len)
            .unwrap_or(usize::MAX)
            .min(head.len());
        let got = source::read_at(source, self.shared, stretch.at, &mut head[..len]);
        let got = self.world(got)?;
        let head = head.get(..got).unwrap_or_default();
        if !zip::is_zip(head) || self.kind(head)? != Kind::Zip {
            return self.plain_member(source, entry, facts, stretch);
        }
        let mut part = self.world(Part::new(source, self.shared, stretch.at, stretch.len))?;
        self.peel_zip(&mut part, facts, 0)
    }

    fn plain_member(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &Entry,
        facts: &Facts,
        stretch: Stretch,
    ) -> Flow {
        let window = self.world(Window::new(source, self.shared, stretch.at, stretch.len))?;
        let mut input = BufReader::with_capacity(buffer_len(stretch.len), window);
        let opened = decode::inflate(entry, &mut input, |bytes| self.content(bytes, entry, facts));
        self.settle_opened(opened)
    }

    /// A decoder that would not even begin leaves an empty member behind.
    fn settle_opened(&mut self, opened: io::Result<Flow>) -> Flow {
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
    fn content(&mut self, bytes: &mut dyn Read, entry: &Entry, facts: &Facts) -> Flow {
        let shared = self.shared;
        let mut guard = Guard::new(bytes, shared, &self.settings.limits);
        self.peel_stream(&mut guard, facts)?;
        if guard.end() == Some(&End::Whole) {
            let (made, crc) = (guard.made(), guard.crc());
            self.compare(entry, made, crc);
        }
        self.settle(guard.end(), guard.made())
    }

    fn compare(&mut self, entry: &Entry, made: u64, crc: u32) {
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

    // ---- passwords -----------------------------------------------------

    fn locked_member(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &Entry,
        facts: &Facts,
        stretch: Stretch,
    ) -> Flow {
        let Some((check, password)) = self.find_password(source, entry, stretch)? else {
            return Ok(());
        };
        if check == Check::None {
            self.problem(ProblemKind::Lying, "says it is encrypted and is not".into());
            return self.plain_member(source, &entry.unencrypted(), facts, stretch);
        }
        let settings = self.settings;
        let Some(password) = settings.passwords.get(password) else {
            return Ok(());
        };
        let mut window = self.world(Window::new(source, self.shared, stretch.at, stretch.len))?;
        let unlocked = decode::unlock(entry, check, password, &mut window, |plain| {
            decode::inflate(entry, plain, |bytes| self.content(bytes, entry, facts))
        });
        match unlocked {
            Ok(opened) => self.settle_opened(opened),
            Err(UnlockError::WrongPassword) => Ok(()),
            Err(UnlockError::Damaged(why)) => self.settle_opened(Err(io::Error::other(why))),
        }
    }

    /// The check and password that open a member; where there is none, that
    /// is told.
    fn find_password(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &Entry,
        stretch: Stretch,
    ) -> Result<Option<(Check, usize)>, Stop> {
        let settings = self.settings;
        let count = settings.passwords.len();
        let mut passed_check = 0;
        for turn in 0..count {
            // the likely one first, then all in order
            let index = match turn {
                0 => self.likely,
                t if t <= self.likely => t - 1,
                t => t,
            };
            let Some(password) = settings.passwords.get(index) else {
                continue;
            };
            for check in decode::checks(entry) {
                match self.try_password(source, entry, stretch, check, password)? {
                    Attempt::Opens => {
                        self.likely = index;
                        return Ok(Some((check, index)));
                    }
                    Attempt::PassesCheckOnly => passed_check += 1,
                    Attempt::Refused => {}
                    Attempt::Damaged(why) => {
                        self.problem(
                            ProblemKind::Damaged,
                            format!("encrypted bytes break off: {why}"),
                        );
                        return Ok(None);
                    }
                }
            }
        }
        let plain = entry.unencrypted();
        if entry.aes().is_none()
            && entry.crc().is_some()
            && self.makes_sense(source, &plain, stretch)?
        {
            return Ok(Some((Check::None, 0)));
        }
        self.lock();
        let mut message = format!("none of {count} passwords opens it");
        if passed_check > 0 {
            message.push_str(&format!(
                " ({passed_check} passed the first check, but the bytes made no sense)"
            ));
        }
        self.problem(ProblemKind::Encrypted, message);
        Ok(None)
    }

    fn try_password(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &Entry,
        stretch: Stretch,
        check: Check,
        password: &str,
    ) -> Result<Attempt, Stop> {
        let mut window = self.world(Window::new(source, self.shared, stretch.at, stretch.len))?;
        let proven = decode::unlock(entry, check, password, &mut window, |plain| {
            decode::proves(entry, check, plain)
        });
        self.no_fault()?;
        Ok(match proven {
            Ok(true) => Attempt::Opens,
            Ok(false) => Attempt::PassesCheckOnly,
            Err(UnlockError::WrongPassword) => Attempt::Refused,
            Err(UnlockError::Damaged(why)) => Attempt::Damaged(why),
        })
    }

    fn lock(&mut self) {
        self.summary.locked += 1;
        if self.summary.locked_layers.len() < LOCKED_LISTED_MAX {
            self.summary.locked_layers.push(self.layers.clone());
        }
    }

    // ---- small things --------------------------------------------------

    fn spool(&mut self, bytes: &mut dyn Read) -> Result<Spool, Stop> {
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
            Err(SpoolError::Scratch(source)) => Err(Stop::World(MembersError::Scratch {
                what: written(&self.layers),
                source,
            })),
        }
    }

    fn announce(&mut self, facts: &Facts, wrapping: Wrapping) -> Flow {
        self.summary.containers += 1;
        if self.target.is_some() {
            return Ok(());
        }
        match self
            .visitor
            .container(&facts.member(&self.layers), wrapping)
        {
            ControlFlow::Break(()) => Err(Stop::Visitor),
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
    fn world<T>(&mut self, read: io::Result<T>) -> Result<T, Stop> {
        read.map_err(|error| self.broken(error))
    }

    fn broken(&mut self, error: io::Error) -> Stop {
        let error = self.shared.take_fault().unwrap_or(error);
        Stop::World(failed(&self.layers, error))
    }

    fn no_fault(&mut self) -> Flow {
        match self.shared.take_fault() {
            Some(error) => Err(Stop::World(failed(&self.layers, error))),
            None => Ok(()),
        }
    }
}

/// Where a member's packed bytes stand.
#[derive(Clone, Copy)]
struct Stretch {
    at: u64,
    len: u64,
}

enum Attempt {
    Opens,
    PassesCheckOnly,
    Refused,
    Damaged(String),
}

/// Small members are many: no more buffer than they fill.
fn buffer_len(len: u64) -> usize {
    usize::try_from(len)
        .unwrap_or(READ_BYTES)
        .clamp(64, READ_BYTES)
}
