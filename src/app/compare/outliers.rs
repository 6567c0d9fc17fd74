//! Twins: a fleet as distances, the outlier first, with the lines that make
//! it one.

use std::collections::{HashMap, HashSet};

use analyze::{First, Groups, Sketches};
use index::{Field, MemberSet, Query, SelectedDevice};

use crate::app::compare::aggregate::{Side, Sweep};
use crate::app::compare::normalizer::Lens;
use crate::app::compare::rows::{TwinLine, TwinRow};
use crate::app::compare::scope::{
    CompareCounts, CompareRequest, CompareSummary, Places, Scope, cut,
};
use crate::app::error::Failure;
use crate::app::session::ArchiveSession;
use crate::app::wait_for_index::IndexWait;

#[derive(Clone, Debug)]
pub struct TwinsRequest {
    pub compare: CompareRequest,
    pub limit: Option<u64>,
    /// Lines told of each device.
    pub lines: u32,
}

/// Compares all devices with all, and hands them out, the outlier first.
///
/// **Memory**: the groups of a pass (128 MiB), 1 KiB a device, and the lines
/// that are told.
pub fn twins(
    session: &ArchiveSession,
    request: &TwinsRequest,
    on_wait: &mut dyn FnMut(IndexWait, u64, u64),
    on_progress: &mut dyn FnMut(u64, u64),
    take: &mut dyn FnMut(TwinRow) -> Result<(), Failure>,
) -> Result<CompareSummary, Failure> {
    let scope = Scope::open(session, &request.compare, on_wait)?;
    let Some(selection) = scope.select()? else {
        return Ok(scope.summary(CompareCounts::default()));
    };
    let mut counts = scope.counts(&selection)?;
    let lens = scope.lens(&selection)?;
    let sweep = scope.sweep(&selection, &lens);
    let fleet = selection.devices().len();
    counts.without_device = selection.ranks().filter(Option::is_none).count() as u64;
    let mut sketches = Sketches::new(fleet);
    let mut rarest = Rarest::new(fleet, request.lines as usize);
    sweep.each(on_progress, &mut |groups| {
        sketches.add(&groups);
        rarest.add(&groups);
        counts.texts += groups.numbers().count() as u64;
        Ok(())
    })?;
    counts.hidden = sweep.hidden();
    let mut ranked = sketches.rank(sweep.threads);
    if let Some(limit) = request.limit.and_then(|limit| usize::try_from(limit).ok()) {
        counts.left_out = ranked.len().saturating_sub(limit) as u64;
        ranked.truncate(limit);
    }
    let places = Places::new(&selection);
    for twin in ranked {
        let device = selection.devices()[twin.device as usize].clone();
        let wanted = std::mem::take(&mut rarest.lines[twin.device as usize]);
        counts.rows += 1;
        take(TwinRow {
            lines: lines_of(&scope, &lens, &device, wanted)?,
            device: device.name,
            machine_id: device.machine_id,
            distance: rounded(twin.distance),
            nearest: twin.nearest.and_then(|(other, _)| places.device(other)),
            nearest_distance: twin.nearest.map(|(_, distance)| rounded(distance)),
            texts: u64::from(twin.texts),
        })?;
    }
    counts.unknown_values = scope.unknown_values(counts.rows)?;
    scope.note("twins ");
    Ok(scope.summary(counts))
}

/// Sketches say no more than this.
fn rounded(distance: f64) -> f64 {
    (distance * 1_000.0).round() / 1_000.0
}

/// A line by how many devices have it: the hash of its template stands for it.
type Rare = (u32, First, [u8; 32]);

/// The rarest lines of each device.
///
/// **Memory**: 64 bytes a line.
struct Rarest {
    lines: Vec<Vec<Rare>>,
    most: usize,
}

fn hash_of(text: &str) -> [u8; 32] {
    *blake3::hash(text.as_bytes()).as_bytes()
}

impl Rarest {
    fn new(fleet: usize, most: usize) -> Self {
        Self {
            lines: vec![Vec::new(); fleet],
            most,
        }
    }

    fn add(&mut self, groups: &Groups) {
        let fleet = self.lines.len() as u32;
        let turn = |number: &u32| {
            let held = groups.held(*number, 0);
            Some((held.devices.len(), held.first?))
        };
        let mut numbers: Vec<u32> = groups.numbers().collect();
        // What most have makes none an outlier.
        let few = |number: &u32| groups.held(*number, 0).devices.len() <= fleet / 2;
        numbers.retain(few);
        numbers.sort_by_key(turn);
        let mut added = vec![0; self.lines.len()];
        for number in numbers {
            let Some((count, first)) = turn(&number) else {
                continue;
            };
            let mut hash = None;
            for device in groups.held(number, 0).devices.iter() {
                let device = device as usize;
                if added[device] < self.most {
                    added[device] += 1;
                    let hash = *hash.get_or_insert_with(|| hash_of(groups.text(number)));
                    self.lines[device].push((count, first, hash));
                }
            }
        }
        for lines in &mut self.lines {
            lines.sort();
            lines.truncate(self.most);
        }
    }
}

/// Where a device has some lines: looked up among its own results alone.
fn lines_of(
    scope: &Scope<'_>,
    lens: &Lens,
    device: &SelectedDevice,
    wanted: Vec<Rare>,
) -> Result<Vec<TwinLine>, Failure> {
    let called = device.machine_id.as_ref().or(device.name.as_ref());
    let (Some(called), Some(searcher)) = (called, &scope.search.searcher) else {
        return Ok(Vec::new());
    };
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let query = Query::Field(Field::Device, called.clone());
    let selection = searcher.select(&scope.search.query.clone().and(query))?;
    let mut firsts = firsts_of(&selection, lens, device, &wanted)?;
    let mut places = Places::new(&selection);
    let mut lines = Vec::new();
    for (devices, _, hash) in wanted {
        let Some((value, first)) = firsts.remove(&hash) else {
            continue;
        };
        let example = places.example(first, 0)?;
        lines.push(TwinLine {
            value: cut(value),
            devices: u64::from(devices),
            reference: example.place.reference,
            line: example.line,
        });
    }
    Ok(lines)
}

/// The templates of some lines, and where the device has each first. A name
/// selects other devices, too, whose short name it is.
fn firsts_of(
    selection: &MemberSet<'_>,
    lens: &Lens,
    device: &SelectedDevice,
    wanted: &[Rare],
) -> Result<HashMap<[u8; 32], (String, First)>, Failure> {
    let own = selection
        .devices()
        .iter()
        .position(|one| one.is_same(device));
    let sides = selection
        .ranks()
        .map(|of| match own == of.map(|n| n as usize) {
            true => Side::First,
            false => Side::Out,
        });
    let wanted: HashSet<[u8; 32]> = wanted.iter().map(|(_, _, hash)| *hash).collect();
    let mut firsts = HashMap::new();
    let sweep = Sweep::new(selection, lens).with_sides(sides.collect());
    sweep.each(&mut |_, _| {}, &mut |groups| {
        for number in groups.numbers() {
            let text = groups.text(number);
            let (hash, first) = (hash_of(text), groups.held(number, 0).first);
            if let Some(first) = first.filter(|_| wanted.contains(&hash)) {
                firsts.insert(hash, (text.to_string(), first));
            }
        }
        Ok(())
    })?;
    Ok(firsts)
}
