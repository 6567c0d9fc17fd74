//! Stack: texts by the number of devices they stand on, rare first.

use rustc_hash::FxHashMap;

use analyze::{Devices, First, Groups, Holding, Novelty, RankRecord};
use evidence::Layer;
use index::{MemberSet, Occurrence, ResultMetadata};

use crate::app::compare::aggregate::Sweep;
use crate::app::compare::normalizer::Lens;
use crate::app::compare::rows::{Example, RawRow, StackRow};
use crate::app::compare::scope::{
    CompareCounts, CompareRequest, CompareSummary, Places, Scope, cut, value_at,
};
use crate::app::error::Failure;
use crate::app::session::ArchiveSession;
use crate::app::wait_for_index::IndexWait;

/// What is stacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    #[default]
    Line,
    /// Lines of what scripts wrote to their errors.
    Error,
    /// SHA-256 of members.
    Hash,
    /// Names of members, without their folders.
    Name,
    /// Paths of members.
    Path,
    /// Exit codes of scripts.
    Exit,
}

#[derive(Clone, Debug, Default)]
pub struct StackRequest {
    pub compare: CompareRequest,
    pub by: By,
    /// Only what stands on at most so many devices.
    pub devices_max: Option<u32>,
    pub limit: Option<u64>,
    /// Raw lines listed below each row; none without.
    pub raw_max: Option<u32>,
    pub context: u32,
}

impl StackRequest {
    /// For the custody log.
    fn said(&self) -> String {
        let by = match self.by {
            By::Line => "",
            By::Error => "--by error ",
            By::Hash => "--by hash ",
            By::Name => "--by name ",
            By::Path => "--by path ",
            By::Exit => "--by exit ",
        };
        let most = self.devices_max;
        let most = most.map_or(String::new(), |most| format!("--max-devices {most} "));
        format!("stack {by}{most}")
    }
}

/// Devices named in a row.
const NAMED: usize = 8;
/// Rare words named in a row.
const WORDS: usize = 8;

/// Stacks, and hands out the rows, rare first.
///
/// **Memory**: the groups of a pass (128 MiB), 48 MiB of how rare words are,
/// and about 90 bytes a row with a bit for each device where many have it.
pub fn stack(
    session: &ArchiveSession,
    request: &StackRequest,
    on_wait: &mut dyn FnMut(IndexWait, u64, u64),
    on_progress: &mut dyn FnMut(u64, u64),
    take: &mut dyn FnMut(StackRow) -> Result<(), Failure>,
) -> Result<CompareSummary, Failure> {
    let knows_lines = matches!(request.by, By::Line | By::Error);
    if !knows_lines && !request.compare.search.exclude_baseline.is_empty() {
        return Err(
            Failure::usage("a baseline knows lines, and no files or codes")
                .hint("leave --exclude-baseline away, or stack by line or error"),
        );
    }
    let scope = Scope::open(session, &request.compare, on_wait)?;
    let Some(selection) = scope.select()? else {
        return Ok(scope.summary(CompareCounts::default()));
    };
    let mut counts = scope.counts(&selection)?;
    let lens = scope.lens(&selection)?;
    let stacking = Stacking::new(request, &scope, &selection, &lens)?;
    let (mut records, novelty, texts) = stacking.records(on_progress)?;
    counts.hidden = stacking.sweep.hidden();
    counts.texts = texts;
    records.sort_unstable_by_key(RankRecord::sort_key);
    if let Some(limit) = request.limit.and_then(|limit| usize::try_from(limit).ok()) {
        counts.left_out = records.len().saturating_sub(limit) as u64;
        records.truncate(limit);
    }
    let mut raw = stacking.raw_of(&scope, &records)?;
    let mut places = Places::new(&selection);
    for (n, record) in records.iter().enumerate() {
        let mut row = stacking.row(record, &novelty, &mut places)?;
        if let Some((lines, left_out)) = raw.remove(&n) {
            row.raw_left_out = left_out;
            row.raw = stacking.raw_rows(&lines, &mut places)?;
        }
        counts.rows += 1;
        take(row)?;
    }
    counts.unknown_values = scope.unknown_values(counts.rows)?;
    scope.note(&request.said());
    Ok(scope.summary(counts))
}

/// Raw lines of a row, and how many were left out.
type RawRecords = (Vec<RankRecord>, u64);

struct Stacking<'a> {
    request: &'a StackRequest,
    selection: &'a MemberSet<'a>,
    lens: &'a Lens,
    sweep: Sweep<'a>,
    /// Devices that were asked.
    asked: u64,
    seed: [u8; 16],
}

impl<'a> Stacking<'a> {
    fn new(
        request: &'a StackRequest,
        scope: &Scope<'_>,
        selection: &'a MemberSet<'a>,
        lens: &'a Lens,
    ) -> Result<Self, Failure> {
        let part = (request.by == By::Error).then(Layer::errors);
        Ok(Self {
            request,
            selection,
            lens,
            sweep: scope.sweep(selection, lens).of_part(part),
            asked: scope.asked(selection)?,
            seed: scope.search.archive_id(),
        })
    }

    fn is_by_line(&self) -> bool {
        matches!(self.request.by, By::Line | By::Error)
    }

    /// Those that are asked for, how rare their words are, and how many texts
    /// there are in all.
    fn records(
        &self,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Vec<RankRecord>, Novelty, u64), Failure> {
        let fleet = self.selection.devices().len() as u32;
        let mut novelty = Novelty::new(fleet, self.seed);
        let most = self.request.devices_max.unwrap_or(u32::MAX);
        let (mut only, mut texts) = (None, 0);
        if !self.is_by_line() {
            let mut records = Vec::new();
            // Values are whole: none of their words is looked at.
            self.sweep
                .passes(&mut |groups| self.by_member(groups), &mut |groups| {
                    texts += groups.numbers().count() as u64;
                    records.extend(novelty.records(&groups, most));
                    Ok(())
                })?;
            return Ok((records, novelty, texts));
        }
        self.sweep.each(on_progress, &mut |groups| {
            novelty.learn(&groups);
            texts += groups.numbers().count() as u64;
            only = self.sweep.is_whole().then_some(groups);
            Ok(())
        })?;
        let mut records = Vec::new();
        match only {
            Some(groups) => records = novelty.records(&groups, most),
            // How rare a word is was known only after the last pass.
            None => self.sweep.each(on_progress, &mut |groups| {
                records.extend(novelty.records(&groups, most));
                Ok(())
            })?,
        }
        Ok((records, novelty, texts))
    }

    /// Groups of what members are, not of what they hold.
    fn by_member(&self, groups: &mut Groups) -> Result<(), Failure> {
        let fleet = self.selection.devices().len() as u32;
        let keys = &self.lens.keys;
        for (rank, device) in (0u32..).zip(self.selection.ranks()) {
            if self.sweep.is_full(groups) {
                return Ok(());
            }
            let (result, occurrence) = self.selection.facts(rank)?;
            let Some(raw) = self.value_of(&result, &occurrence) else {
                continue;
            };
            let value = match self.request.by {
                By::Name | By::Path => self.lens.text(&raw, self.sweep.own_of(device)),
                _ => raw.clone(),
            };
            let Some(number) = groups.number(keys.of(&value), &value, false) else {
                continue;
            };
            groups.add_variant(number, keys.of(&raw));
            groups.add(
                number,
                0,
                &Holding {
                    devices: &Devices::of(device, fleet),
                    hits: 1,
                    first: First {
                        rank,
                        place: (0, 0, 0),
                    },
                    last: (rank < self.selection.timed()).then_some(rank),
                },
            );
        }
        Ok(())
    }

    /// What a member is stacked by; `None` where it has no such thing.
    fn value_of(&self, result: &ResultMetadata, occurrence: &Occurrence) -> Option<String> {
        let path = || match occurrence.member.is_empty() {
            false => Some(occurrence.member.clone()),
            true => result.path.clone(),
        };
        match self.request.by {
            By::Hash => Some(occurrence.content.to_string()),
            By::Path => path(),
            By::Name => path().map(|path| {
                let name = path.rsplit(['\\', '/']).next();
                name.unwrap_or(&path).to_string()
            }),
            By::Exit => {
                let code = result.exit_code.or(occurrence.exit_code);
                code.map(|code| code.to_string())
            }
            By::Line | By::Error => None,
        }
    }

    fn row(
        &self,
        record: &RankRecord,
        novelty: &Novelty,
        places: &mut Places<'_>,
    ) -> Result<StackRow, Failure> {
        let (value, example) = self.shown(record, places)?;
        let devices = record.devices.len();
        let mut rare_words: Vec<String> = Vec::new();
        if self.is_by_line() && u64::from(devices) < self.asked {
            let words = novelty.new_words(&value, devices).into_iter();
            rare_words.extend(words.take(WORDS).map(str::to_string));
        }
        let on = record.devices.iter().take(NAMED);
        Ok(StackRow {
            value: cut(value),
            devices: u64::from(devices),
            of_devices: self.asked,
            count: record.hits,
            variants: u64::from(record.variants),
            first_seen: places.time(Some(record.first.rank))?,
            last_seen: places.time(record.last)?,
            on: on.filter_map(|device| places.device(device)).collect(),
            rare_words,
            example: example.shown(),
            raw: Vec::new(),
            raw_left_out: 0,
        })
    }

    /// What stands for a record, and one place of it.
    fn shown(
        &self,
        record: &RankRecord,
        places: &mut Places<'_>,
    ) -> Result<(String, Example), Failure> {
        let rank = record.first.rank;
        let device = self.sweep.device_of(rank);
        if self.is_by_line() {
            let example = places.example(record.first, self.request.context)?;
            let value = value_at(&self.sweep, self.lens, &example.text, device);
            return Ok((value, example));
        }
        let (result, occurrence) = self.selection.facts(rank)?;
        let mut example = places.member(rank, None)?;
        example.text = self.value_of(&result, &occurrence).unwrap_or_default();
        let value = match self.request.by {
            By::Name | By::Path => value_at(&self.sweep, self.lens, &example.text, device),
            _ => example.text.clone(),
        };
        Ok((value, example))
    }

    /// The raw lines of each row, by its place in the list.
    fn raw_of(
        &self,
        scope: &Scope<'_>,
        records: &[RankRecord],
    ) -> Result<FxHashMap<usize, RawRecords>, Failure> {
        let mut found: FxHashMap<usize, RawRecords> = FxHashMap::default();
        let Some(most) = self.request.raw_max.filter(|_| self.is_by_line()) else {
            return Ok(found);
        };
        let mut places = Places::new(self.selection);
        let mut wanted = FxHashMap::default();
        for (n, record) in (0u32..).zip(records) {
            wanted.insert(self.shown(record, &mut places)?.0, n);
        }
        let lens = scope.lens(self.selection)?.for_raw(wanted);
        let part = (self.request.by == By::Error).then(Layer::errors);
        let sweep = Sweep::new(self.selection, &lens).of_part(part);
        let most = most as usize;
        sweep.each(&mut |_, _| {}, &mut |groups| {
            for number in groups.numbers() {
                let row = groups.text(number).split('\n').next();
                let row: Option<usize> = row.and_then(|row| row.parse().ok());
                let one = Novelty::record(&groups, number);
                let (Some(row), Some(one)) = (row, one) else {
                    continue;
                };
                let (lines, left_out) = found.entry(row).or_default();
                let at = lines.partition_point(|line| line.sort_key() <= one.sort_key());
                lines.insert(at, one);
                *left_out += lines.len().saturating_sub(most) as u64;
                lines.truncate(most);
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn raw_rows(
        &self,
        lines: &[RankRecord],
        places: &mut Places<'_>,
    ) -> Result<Vec<RawRow>, Failure> {
        let rows = lines.iter().map(|record| {
            let example = places.example(record.first, 0)?;
            Ok(RawRow {
                text: cut(example.text),
                devices: u64::from(record.devices.len()),
                count: record.hits,
                reference: example.place.reference,
                line: example.line,
            })
        });
        rows.collect()
    }
}
