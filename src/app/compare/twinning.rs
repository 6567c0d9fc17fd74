//! Twins: a fleet as distances, the outlier first, with the lines that make
//! it one.

use std::collections::HashSet;
use std::path::Path;

use crate::analyze::{First, Groups, Sketches};
use crate::index::{Field, Query, Selection};

use super::lens::Lens;
use super::rows::{TwinLine, TwinRow};
use super::scope::{CompareRequest, CompareSummary, Places, Scope, cut};
use super::sweep::Sweep;
use crate::app::failure::Failure;
use crate::app::waiting::Waiting;

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
    archive: &Path,
    request: &TwinsRequest,
    on_wait: &mut dyn FnMut(Waiting, u64, u64),
    on_progress: &mut dyn FnMut(u64, u64),
    take: &mut dyn FnMut(TwinRow) -> Result<(), Failure>,
) -> Result<CompareSummary, Failure> {
    let scope = Scope::open(archive, &request.compare, on_wait)?;
    let Some(selection) = scope.select()? else {
        return scope.summary(None);
    };
    let mut summary = scope.summary(Some(&selection))?;
    let lens = scope.lens(&selection)?;
    let sweep = Sweep::new(&selection, &lens);
    let fleet = selection.devices().len();
    let mut sketches = Sketches::new(fleet);
    let mut rarest = Rarest::new(fleet, request.lines as usize);
    sweep.each(on_progress, &mut |groups| {
        sketches.add(&groups);
        rarest.add(&groups);
        summary.texts += groups.numbers().count() as u64;
        Ok(())
    })?;
    summary.hidden = sweep.hidden();
    let mut ranked = sketches.rank(sweep.threads);
    if let Some(limit) = request.limit.and_then(|limit| usize::try_from(limit).ok()) {
        summary.left_out = ranked.len().saturating_sub(limit) as u64;
        ranked.truncate(limit);
    }
    let places = Places::new(&selection);
    for twin in ranked {
        let device = selection.devices()[twin.device as usize].clone();
        let wanted = std::mem::take(&mut rarest.lines[twin.device as usize]);
        let called = device.machine_id.clone().or_else(|| device.name.clone());
        summary.rows += 1;
        take(TwinRow {
            lines: lines_of(&scope, &lens, called.as_deref(), wanted)?,
            device: device.name,
            machine_id: device.machine_id,
            distance: rounded(twin.distance),
            nearest: twin.nearest.and_then(|(other, _)| places.device(other)),
            nearest_distance: twin.nearest.map(|(_, distance)| rounded(distance)),
            texts: u64::from(twin.texts),
        })?;
    }
    scope.note("twins");
    Ok(summary)
}

/// Sketches say no more than this.
fn rounded(distance: f64) -> f64 {
    (distance * 1_000.0).round() / 1_000.0
}

/// A line by how many devices have it.
type Rare = (u32, First, String);

/// The rarest lines of each device.
struct Rarest {
    lines: Vec<Vec<Rare>>,
    most: usize,
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
            for device in groups.held(number, 0).devices.iter() {
                let device = device as usize;
                if added[device] < self.most {
                    added[device] += 1;
                    let text = groups.text(number).to_string();
                    self.lines[device].push((count, first, text));
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
    device: Option<&str>,
    wanted: Vec<Rare>,
) -> Result<Vec<TwinLine>, Failure> {
    let (Some(device), Some(searcher)) = (device, &scope.search.searcher) else {
        return Ok(Vec::new());
    };
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let query = Query::Field(Field::Device, device.to_string());
    let selection = searcher.select(&scope.search.query.clone().and(query))?;
    let firsts = firsts_of(&selection, lens, &wanted)?;
    let mut places = Places::new(&selection);
    let mut lines = Vec::new();
    for (devices, _, value) in wanted {
        let Some((_, first)) = firsts.iter().find(|(text, _)| *text == value) else {
            continue;
        };
        let example = places.example(*first, 0)?;
        lines.push(TwinLine {
            value: cut(value),
            devices: u64::from(devices),
            reference: example.place.reference,
            line: example.line,
        });
    }
    Ok(lines)
}

fn firsts_of(
    selection: &Selection<'_>,
    lens: &Lens,
    wanted: &[Rare],
) -> Result<Vec<(String, First)>, Failure> {
    let wanted: HashSet<&str> = wanted.iter().map(|(_, _, text)| text.as_str()).collect();
    let mut firsts = Vec::new();
    Sweep::new(selection, lens).each(&mut |_, _| {}, &mut |groups| {
        let numbers = groups
            .numbers()
            .filter(|n| wanted.contains(groups.text(*n)));
        firsts.extend(numbers.filter_map(|number| {
            let first = groups.held(number, 0).first?;
            Some((groups.text(number).to_string(), first))
        }));
        Ok(())
    })?;
    Ok(firsts)
}
