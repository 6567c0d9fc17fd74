//! Diff: the same commands on two sides, order-free.

use std::collections::{HashMap, HashSet};

use analyze::{Change, Differing, Groups, Pairing, differing};
use evidence::{Layer, Locator, ResultId, ResultKind};
use index::{Field, MemberSet, Query, ResultMetadata, SelectedDevice};

use crate::app::compare::aggregate::Side;
use crate::app::compare::rows::{DiffKind, DiffRow, SideRow};
use crate::app::compare::scope::{
    CompareCounts, CompareRequest, CompareSummary, Places, Scope, cut,
};
use crate::app::error::{Failure, FailureKind};
use crate::app::parse_args::parse_time;
use crate::app::session::ArchiveSession;
use crate::app::wait_for_index::IndexWait;

/// What is compared with what.
#[derive(Clone, Debug)]
pub enum Sides {
    /// Two devices or places (REF), each by what it is called.
    Between(String, String),
    /// A device and all others: what it has and they have not, and the other
    /// way round.
    Rest(String),
    /// A device before a time and since then.
    Since(String, String),
    /// A device's oldest result of each command and its newest.
    OverTime(String),
}

#[derive(Clone, Debug)]
pub struct DiffRequest {
    pub compare: CompareRequest,
    pub sides: Sides,
    /// All results of a side, not the newest of each command.
    pub all: bool,
    /// Whether the same text in different numbers differs.
    pub counts: bool,
    /// Against the rest: on how many of them a line may stand and be said.
    pub others_max: u32,
    pub limit: Option<u64>,
    pub context: u32,
}

impl DiffRequest {
    /// For the custody log.
    fn said(&self) -> String {
        let sides = match &self.sides {
            Sides::Between(a, b) => format!("{a} {b}"),
            Sides::Rest(device) => format!("{device} --rest"),
            Sides::Since(device, at) => format!("{device} --split {at}"),
            Sides::OverTime(device) => format!("{device} --over-time"),
        };
        let all = if self.all { " --all" } else { "" };
        format!("{sides}{all} ")
    }
}

/// What most of the rest have is missing where a device has it not: nine of
/// ten.
const MOST: (u64, u64) = (9, 10);
/// Lines of one diff; who differs in more has nothing in common.
const GROUPS_TOO_MANY: &str = "the sides hold more different lines than one diff can";

/// Compares two sides, and hands out what differs.
///
/// **Memory**: the groups of both sides, at most 128 MiB.
pub fn diff(
    session: &ArchiveSession,
    request: &DiffRequest,
    on_wait: &mut dyn FnMut(IndexWait, u64, u64),
    on_progress: &mut dyn FnMut(u64, u64),
    take: &mut dyn FnMut(DiffRow) -> Result<(), Failure>,
) -> Result<CompareSummary, Failure> {
    let mut scope = Scope::open(session, &request.compare, on_wait)?;
    let specs = specs(&request.sides, &scope)?;
    let part = part_of(&specs)?;
    if !matches!(request.sides, Sides::Rest(_)) {
        let either = specs.iter().map(Spec::query).collect();
        scope.search.restrict(Query::Or(either));
    }
    let Some(selection) = scope.select()? else {
        return Ok(scope.summary(CompareCounts::default()));
    };
    let mut counts = scope.counts(&selection)?;
    check_one(request, &selection)?;
    let picking = Picking::new(&scope, &selection, &specs)?;
    let Picked { sides, left_out } = picking.sides(request)?;
    let asked = Asked::of(&scope, request, &specs)?;
    let checked = check(&sides, &specs, request, &picking, &asked);
    checked.map_err(|failure| unless_late(failure, scope.search.not_indexed))?;
    counts.older = left_out.older;
    counts.without_time += left_out.undated;
    counts.without_device = left_out.deviceless;
    let lens = scope.lens(&selection)?;
    let pairing = pairing(request, &asked);
    let sweep = scope.sweep(&selection, &lens).of_part(part);
    let sweep = sweep.with_sides(sides);
    let mut groups = None;
    sweep.each(on_progress, &mut |pass| match sweep.is_whole() {
        true => {
            groups = Some(pass);
            Ok(())
        }
        false => Err(Failure::usage(GROUPS_TOO_MANY).hint("compare one --script at a time")),
    })?;
    let groups = groups.unwrap_or_else(|| Groups::new(0, 0..=0));
    let Differing {
        mut changes,
        same,
        unpaired,
    } = differing(&groups, &pairing);
    counts.unpaired = unpaired;
    counts.hidden = sweep.hidden();
    counts.texts = groups.numbers().count() as u64;
    counts.same = same;
    if let Some(limit) = request.limit.and_then(|limit| usize::try_from(limit).ok()) {
        counts.left_out = changes.len().saturating_sub(limit) as u64;
        changes.truncate(limit);
    }
    let mut telling = Telling {
        groups: &groups,
        places: Places::new(&selection),
        context: request.context,
    };
    for change in changes {
        let row = telling.row(change)?;
        counts.rows += 1;
        take(row)?;
    }
    scope.note(&format!("diff {}", request.said()));
    Ok(scope.summary(counts))
}

/// Against the rest: devices that were asked, whether or not they have the
/// text that was asked for.
#[derive(Default)]
struct Asked {
    own: u64,
    others: u64,
}

impl Asked {
    fn of(scope: &Scope<'_>, request: &DiffRequest, specs: &[Spec]) -> Result<Self, Failure> {
        let (Sides::Rest(_), [spec]) = (&request.sides, specs) else {
            return Ok(Self::default());
        };
        let (own, others) = scope.asked_of(spec.query())?;
        Ok(Self { own, others })
    }
}

fn pairing(request: &DiffRequest, asked: &Asked) -> Pairing {
    let plain = Pairing {
        min: [1; 2],
        max: [0; 2],
        counts: request.counts,
    };
    let Sides::Rest(_) = request.sides else {
        return plain;
    };
    let most = (asked.others * MOST.0).div_ceil(MOST.1).max(1);
    Pairing {
        min: [u32::try_from(most).unwrap_or(u32::MAX), 1],
        max: [request.others_max, 0],
        counts: false,
    }
}

/// A side, by what it is called.
enum Spec {
    Device {
        name: String,
        /// Machines it names that have results under another name, or none.
        machines: Vec<String>,
    },
    Place {
        at: Locator,
        /// The member, or what members are in.
        layers: Vec<Layer>,
        /// One text of that member alone.
        part: Option<Layer>,
    },
}

fn specs(sides: &Sides, scope: &Scope<'_>) -> Result<Vec<Spec>, Failure> {
    let device = |name: &String| -> Result<Spec, Failure> {
        let (name, machines) = (name.clone(), machines_of(name, scope)?);
        Ok(Spec::Device { name, machines })
    };
    let spec = |text: &String| match text.parse::<Locator>() {
        Ok(at) => place(at, scope),
        Err(_) => device(text),
    };
    match sides {
        Sides::Between(a, b) => Ok(vec![spec(a)?, spec(b)?]),
        Sides::Rest(name) => Ok(vec![device(name_of_device(name, "--rest")?)?]),
        Sides::Since(name, _) => Ok(vec![device(name_of_device(name, "--split")?)?]),
        Sides::OverTime(name) => Ok(vec![device(name_of_device(name, "--over-time")?)?]),
    }
}

/// A result has no rest, and none before it.
fn name_of_device<'n>(name: &'n String, option: &str) -> Result<&'n String, Failure> {
    match name.parse::<Locator>() {
        Err(_) => Ok(name),
        Ok(_) => Err(Failure::usage(format!(
            "{name} is a result, and {option} compares a device"
        ))
        .hint("name its device, or a second result")),
    }
}

/// A place ends with one text of a transcript (`!output`), unless a member has
/// that name.
fn place(at: Locator, scope: &Scope<'_>) -> Result<Spec, Failure> {
    let is_part = |layer: &&Layer| matches!(layer.as_str(), "output" | "errors" | "other");
    let mut part = at.layers.last().filter(is_part).cloned();
    if part.is_some() && is_member(&at, scope)? {
        part = None;
    }
    let mut layers = at.layers.clone();
    layers.truncate(layers.len() - usize::from(part.is_some()));
    Ok(Spec::Place { at, layers, part })
}

fn is_member(at: &Locator, scope: &Scope<'_>) -> Result<bool, Failure> {
    let Some(searcher) = &scope.search.searcher else {
        return Ok(false);
    };
    let of_action = searcher.select(&of_action(at))?;
    for rank in 0..of_action.len() as u32 {
        let (result, occurrence) = of_action.facts(rank)?;
        if result.id == at.id && occurrence.layers.starts_with(&at.layers) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn of_action(at: &Locator) -> Query {
    Query::Field(Field::Action, at.id.key.action.to_string())
}

/// The part of texts that both sides name.
fn part_of(specs: &[Spec]) -> Result<Option<Layer>, Failure> {
    match specs {
        [a, b] if a.part() != b.part() => Err(Failure::usage(format!(
            "{} and {} are not the same part of a text",
            a.said(),
            b.said()
        ))
        .hint("end both sides with the same (!output, !errors), or none")),
        [one, ..] => Ok(one.part().cloned()),
        [] => Ok(None),
    }
}

/// The machines that a name means and that have results which it does not: a
/// machine is renamed, and some results carry its id alone. Whatever is asked
/// of those, they are that machine's.
fn machines_of(name: &str, scope: &Scope<'_>) -> Result<Vec<String>, Failure> {
    let Some(searcher) = &scope.search.searcher else {
        return Ok(Vec::new());
    };
    let named = searcher.select(&Query::Field(Field::Device, name.to_string()))?;
    let (mut ids, mut met) = (HashSet::new(), HashSet::new());
    for rank in 0..named.len() as u32 {
        let (result, _) = named.facts(rank)?;
        let id = result.machine_id.map(|id| id.to_lowercase());
        ids.extend(id.clone());
        met.insert((id, result.device));
    }
    let others = searcher.results().filter_map(|result| {
        let id = result.machine_id?.to_lowercase();
        let is_other = ids.contains(&id) && !met.contains(&(Some(id.clone()), result.device));
        is_other.then_some(id)
    });
    let others: HashSet<String> = others.collect();
    Ok(others.into_iter().collect())
}

impl Spec {
    fn query(&self) -> Query {
        match self {
            Self::Device { name, machines } => {
                let called = [name].into_iter().chain(machines);
                Query::Or(
                    called
                        .map(|name| Query::Field(Field::Device, name.clone()))
                        .collect(),
                )
            }
            Self::Place { at, .. } => of_action(at),
        }
    }

    fn said(&self) -> String {
        match self {
            Self::Device { name, .. } => name.clone(),
            Self::Place { at, .. } => at.to_string(),
        }
    }

    fn part(&self) -> Option<&Layer> {
        match self {
            Self::Device { .. } => None,
            Self::Place { part, .. } => part.as_ref(),
        }
    }

    fn holds(&self, id: ResultId, of: &[Layer]) -> bool {
        match self {
            Self::Device { .. } => true,
            Self::Place { at, layers, part } => {
                let is_within = of.starts_with(layers) && (part.is_none() || of == layers);
                id == at.id && is_within
            }
        }
    }
}

type MemberId = (ResultId, Vec<Layer>);

/// A command on a device: its runs follow each other.
#[derive(PartialEq, Eq, Hash)]
struct Command {
    device: Option<u32>,
    kind: ResultKind,
    /// The script or the path, in which case does not count.
    what: String,
    /// With other arguments a script is another command.
    args: String,
}

impl Command {
    fn of(device: Option<u32>, result: ResultMetadata) -> Self {
        let what = result.script.or(result.path).unwrap_or_default();
        Self {
            device,
            kind: result.kind,
            what: what.to_lowercase(),
            args: result.args.unwrap_or_default().trim().to_string(),
        }
    }
}

/// The side of each member, by rank, and what stands on none.
struct Picked {
    sides: Vec<Side>,
    left_out: LeftOut,
}

/// What a diff leaves out.
#[derive(Default)]
struct LeftOut {
    /// Results of a command that was run again later.
    older: u64,
    /// Members that have no time where times part the sides.
    undated: u64,
    /// Members of no known device where devices do.
    deviceless: u64,
}

/// Puts members on sides.
struct Picking<'s> {
    selection: &'s MemberSet<'s>,
    /// Members of each spec.
    members: Vec<HashSet<MemberId>>,
}

impl<'s> Picking<'s> {
    fn new(
        scope: &'s Scope<'_>,
        selection: &'s MemberSet<'s>,
        specs: &[Spec],
    ) -> Result<Self, Failure> {
        let mut members = Vec::new();
        for spec in specs {
            let mut found = HashSet::new();
            if let Some(searcher) = &scope.search.searcher {
                let own = searcher.select(&scope.search.query.clone().and(spec.query()))?;
                for rank in 0..own.len() as u32 {
                    let (result, occurrence) = own.facts(rank)?;
                    if spec.holds(result.id, &occurrence.layers) {
                        found.insert((result.id, occurrence.layers));
                    }
                }
            }
            members.push(found);
        }
        Ok(Self { selection, members })
    }

    /// Whether some members are of both specs.
    fn overlaps(&self) -> bool {
        matches!(self.members.as_slice(), [a, b] if !a.is_disjoint(b))
    }

    fn sides(&self, request: &DiffRequest) -> Result<Picked, Failure> {
        let now = jiff::Timestamp::now();
        let split = match &request.sides {
            Sides::Since(_, at) => Some(parse_time(at, now, false)?),
            _ => None,
        };
        let mut sides = vec![Side::Out; self.selection.len()];
        let mut commands: HashMap<Command, Vec<(usize, ResultId)>> = HashMap::new();
        let mut left_out = LeftOut::default();
        for (rank, device) in self.selection.ranks().enumerate() {
            let (result, occurrence) = self.selection.facts(rank as u32)?;
            let time = result.time.as_ref().and_then(|time| time.instant());
            let member = (result.id, occurrence.layers);
            let is_of = |n: usize| self.members.get(n).is_some_and(|all| all.contains(&member));
            sides[rank] = match &request.sides {
                Sides::Between(..) if is_of(0) => Side::First,
                Sides::Between(..) if is_of(1) => Side::Second,
                Sides::Between(..) => Side::Out,
                Sides::Rest(_) if is_of(0) => Side::Second,
                Sides::Rest(_) if device.is_none() => {
                    left_out.deviceless += 1;
                    Side::Out
                }
                Sides::Rest(_) => Side::First,
                Sides::Since(..) | Sides::OverTime(_) if time.is_none() => {
                    left_out.undated += 1;
                    Side::Out
                }
                Sides::Since(..) if time < split => Side::First,
                Sides::Since(..) | Sides::OverTime(_) => Side::Second,
            };
            if sides[rank] != Side::Out && time.is_some() {
                let id = result.id;
                let runs = commands.entry(Command::of(device, result)).or_default();
                runs.push((rank, id));
            }
        }
        // The members of dated results, the oldest first.
        for runs in commands.values() {
            match &request.sides {
                Sides::OverTime(_) => oldest_and_newest(runs, &mut sides),
                _ if request.all => {}
                _ => left_out.older += newest_of_each_side(runs, &mut sides),
            }
        }
        Ok(Picked { sides, left_out })
    }
}

/// Leaves the newest result of each side, with all its members; returns how
/// many others there were. What has no time is no older than another.
fn newest_of_each_side(dated: &[(usize, ResultId)], sides: &mut [Side]) -> u64 {
    let mut older = HashSet::new();
    for wanted in [Side::First, Side::Second] {
        let here = dated.iter().filter(|(rank, _)| sides[*rank] == wanted);
        let here: Vec<(usize, ResultId)> = here.copied().collect();
        let newest = here.last().map(|(_, id)| *id);
        for (rank, id) in here {
            if Some(id) != newest {
                older.insert(id);
                sides[rank] = Side::Out;
            }
        }
    }
    older.len() as u64
}

fn oldest_and_newest(dated: &[(usize, ResultId)], sides: &mut [Side]) {
    let (oldest, newest) = (dated.first(), dated.last());
    let (Some((_, oldest)), Some((_, newest))) = (oldest, newest) else {
        return;
    };
    for (rank, id) in dated {
        sides[*rank] = match (id == oldest, id == newest) {
            (true, false) => Side::First,
            (false, true) => Side::Second,
            _ => Side::Out,
        };
    }
}

/// Both sides must have something, or lack what was asked of them.
fn check(
    sides: &[Side],
    specs: &[Spec],
    request: &DiffRequest,
    picking: &Picking<'_>,
    asked: &Asked,
) -> Result<(), Failure> {
    let name = |n: usize| specs.get(n).map_or(String::new(), Spec::said);
    let (first, second) = match &request.sides {
        Sides::Between(..) => (name(0), name(1)),
        Sides::Rest(_) => ("any other device".into(), name(0)),
        Sides::Since(_, at) => (
            format!("{} before {at}", name(0)),
            format!("{} since {at}", name(0)),
        ),
        Sides::OverTime(_) => {
            let twice = format!("a second result of the same command on {}", name(0));
            (twice.clone(), twice)
        }
    };
    let sides_of = [
        (Side::First, first, asked.others),
        (Side::Second, second, asked.own),
    ];
    for (side, said, asked) in sides_of {
        if sides.contains(&side) || asked > 0 {
            continue;
        }
        if picking.overlaps() {
            return Err(Failure::usage(format!(
                "{} and {} are the same: there is nothing to compare",
                name(0),
                name(1)
            )));
        }
        return Err(Failure::new(
            FailureKind::NotFound,
            format!("there is nothing of {said} to compare"),
        )
        .hint("`list` shows what there is; --script, --since and the query narrow it"));
    }
    Ok(())
}

/// Machines named where a name selects several.
const NAMED: usize = 8;

/// What is compared with itself is one machine: of two that share a name the
/// one would be told as what became of the other.
fn check_one(request: &DiffRequest, selection: &MemberSet<'_>) -> Result<(), Failure> {
    let (Sides::Since(name, _) | Sides::OverTime(name)) = &request.sides else {
        return Ok(());
    };
    let machines = machines_apart(selection.devices());
    if machines.len() <= 1 {
        return Ok(());
    }
    let called = machines.iter().take(NAMED).map(|machine| {
        let name = machine.name.as_deref().unwrap_or("no name");
        let id = machine.machine_id.as_deref().unwrap_or("no machine id");
        format!("{name} ({id})")
    });
    let more = machines.len().saturating_sub(NAMED);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(Failure::usage(format!(
        "{name} names {} machines: {}{more}",
        machines.len(),
        called.collect::<Vec<_>>().join(", ")
    ))
    .hint("name one of them, by its machine id"))
}

/// Devices without those that are known by a name alone which a machine has,
/// whole or short: what was imported under its name is not another's.
fn machines_apart(devices: &[SelectedDevice]) -> Vec<&SelectedDevice> {
    let (machines, named): (Vec<_>, Vec<_>) = devices
        .iter()
        .partition(|device| device.machine_id.is_some());
    let names = machines.iter().filter_map(|machine| machine.name.as_ref());
    let names: HashSet<String> = names
        .map(|name| name.to_lowercase())
        .flat_map(|name| [short_of(&name), name])
        .collect();
    let is_apart = |device: &&SelectedDevice| {
        let name = device.name.as_ref();
        name.is_none_or(|name| !names.contains(&name.to_lowercase()))
    };
    machines
        .iter()
        .copied()
        .chain(named.into_iter().filter(is_apart))
        .collect()
}

fn short_of(name: &str) -> String {
    name.split('.').next().unwrap_or(name).to_string()
}

/// What is not indexed yet may be what is missing.
fn unless_late(failure: Failure, unindexed: u64) -> Failure {
    let (are, them) = match unindexed {
        _ if failure.kind != FailureKind::NotFound => return failure,
        0 => return failure,
        1 => ("result is", "it"),
        _ => ("results are", "them"),
    };
    failure.hint(format!(
        "{unindexed} {are} not indexed yet: add --wait to compare {them}"
    ))
}

/// Says what differs.
struct Telling<'a> {
    groups: &'a Groups,
    places: Places<'a>,
    context: u32,
}

impl Telling<'_> {
    fn row(&mut self, change: Change) -> Result<DiffRow, Failure> {
        let (kind, before, after) = match change {
            Change::Removed(a) => (DiffKind::Removed, Some(a), None),
            Change::Added(b) => (DiffKind::Added, None, Some(b)),
            Change::Changed(a, b) => (DiffKind::Changed, Some(a), Some(b)),
            Change::Counted(a) => (DiffKind::Counted, Some(a), Some(a)),
        };
        Ok(DiffRow {
            change: kind,
            before: before.map(|number| self.side(number, 0)).transpose()?,
            after: after.map(|number| self.side(number, 1)).transpose()?,
        })
    }

    fn side(&mut self, number: u32, side: usize) -> Result<SideRow, Failure> {
        let held = self.groups.held(number, side);
        let first = held
            .first
            .ok_or_else(|| Failure::usage("a side holds no such line"))?;
        Ok(SideRow {
            value: cut(self.groups.text(number).to_string()),
            devices: u64::from(held.devices.len()),
            count: held.hits,
            example: self.places.example(first, self.context)?.shown(),
        })
    }
}
